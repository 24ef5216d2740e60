//! The 24 workloads of a suite of CPU tensor peers (NumPy, PyTorch, JAX and others), each as a user of this library writes
//! it ([`functions`]).
//!
//! `cargo bench --bench peers` runs them on random inputs and prints a table. Its limit is the longer of two times: that of
//! the least memory traffic at the rate of a copy, and that of the matrix products at the rate of the best large product,
//! both of this process and measured all along the run. So a ratio says how far a workload is from what this library does
//! best, on whatever machine. Results are checked against the same function in `f64`, op by op, on the same inputs; a
//! workload that fails has no time. After `--`, `--json FILE` writes the times in the suite's form,
//! `--workloads softmax,jacobi` selects, `--seconds 0.3` says how long to take samples of each.
//!
//! With the argument `worker` the program answers the commands of the suite's driver instead, which gives it inputs, checks
//! its results against NumPy and times it in turns with the others. `cargo bench --bench peers --no-run` names the program.

mod functions;
mod job;
mod worker;
mod workloads;

use job::{Warm, median, us};
use serde_json::{Map, json};
use std::error::Error;
use tensorc::dtype::F32;
use tensorc::{Tensor, jit, rand, zeros};
use workloads::{WORKLOADS, Workload};

/// The largest error, relative to the largest number of a result, that is still a right result; the suite's.
const TOLERANCE: f64 = 2e-5;

/// What a workload gave.
struct Row {
    workload: &'static Workload,
    first_ms: f64,
    second_ms: f64,
    steady_us: f64,
    error: f64,
}

/// The best rates seen so far.
#[derive(Default)]
struct Rates {
    /// Bytes read and written by a copy, per microsecond.
    copy: f64,
    /// Floating point operations of a matrix product, per microsecond.
    product: f64,
}

impl Rates {
    /// Looks once more. What is compiled for it is gone afterwards, so no workload finds its kernels ready.
    fn measure(&mut self) -> tensorc::Result<()> {
        let (n, m) = (1 << 24, 1024);
        let (x, y) = (rand(&[n], Some(1))?, zeros(&[n], F32)?);
        let copy = jit(|(x, y): (Tensor, Tensor)| y.copy_(&x).map(drop));
        let (a, b) = (rand(&[m, m], Some(1))?, rand(&[m, m], Some(2))?);
        let product = jit(|(a, b): (Tensor, Tensor)| a.matmul(&b));
        for _ in 0..5 {
            let t = us(|| copy.call((x.clone(), y.clone())))?;
            self.copy = self.copy.max(8.0 * n as f64 / t);
            let t = us(|| product.call((a.clone(), b.clone())).map(drop))?;
            self.product = self.product.max(2.0 * (m as f64).powi(3) / t);
        }
        Ok(())
    }

    /// The least time for a workload in microseconds, with what sets it; `None` if it fits into caches.
    fn limit(&self, w: &Workload) -> Option<(f64, &'static str)> {
        let times = [(w.bytes / self.copy, "memory"), (w.flops / self.product, "products")];
        times.into_iter().filter(|t| t.0 > 0.0).max_by(|a, b| a.0.total_cmp(&b.0))
    }
}

fn run(workload: &'static Workload, seconds: f64) -> Result<Row, Box<dyn Error>> {
    let find = |inputs: &[Tensor]| functions::job(workload.function, inputs)?.ok_or(no_such(workload.function));
    let mut first: Vec<Vec<f32>> = Vec::new();
    let (first_ms, second_ms, steady_us) = {
        let mut warm = Warm::up(find(&workload.inputs()?)?, |results| -> Result<(), Box<dyn Error>> {
            for t in results {
                first.push(t.to(F32)?.to_vec()?);
            }
            Ok(())
        })?;
        (warm.first_ms, warm.second_ms, median(warm.samples(seconds)?))
    };
    let reference = find(&workload.wide_inputs()?)?.op_by_op()?;
    Ok(Row { workload, first_ms, second_ms, steady_us, error: error(&first, &reference)? })
}

/// The largest difference from the reference over the largest number of the reference, of all results; infinite if they
/// are not even of the same form, or not finite.
fn error(results: &[Vec<f32>], reference: &[Tensor]) -> tensorc::Result<f64> {
    if results.len() != reference.len() {
        return Ok(f64::INFINITY);
    }
    let mut worst = 0.0f64;
    for (x, y) in results.iter().zip(reference) {
        let y = y.to(tensorc::dtype::F64)?.to_vec::<f64>()?;
        if x.len() != y.len() || x.iter().any(|v| !v.is_finite()) {
            return Ok(f64::INFINITY);
        }
        let largest = y.iter().fold(1e-30, |m: f64, v| m.max(v.abs()));
        let off = x.iter().zip(&y).fold(0.0, |m: f64, (x, y)| m.max((*x as f64 - y).abs()));
        worst = worst.max(off / largest);
    }
    Ok(worst)
}

fn no_such(name: &str) -> Box<dyn Error> {
    format!("there is no workload `{name}`").into()
}

/// A number in at most seven characters.
fn short(v: f64) -> String {
    if v < 10.0 {
        format!("{v:.2}")
    } else if v < 1000.0 {
        format!("{v:.1}")
    } else {
        format!("{v:.0}")
    }
}

fn print(rows: &[Row], rates: &Rates) {
    println!(
        "\nlimits: a copy at {:.1} GB/s, matrix products at {:.1} GFLOP/s; check: the largest difference from f64, op by op,\non all of the inputs, over the largest number\n",
        rates.copy / 1e3,
        rates.product / 1e3
    );
    println!(
        "{:16} {:>10} {:>10} {:>10} {:>10} {:>7}  {:9} {:>8}",
        "workload", "steady us", "first ms", "second ms", "limit us", "ratio", "limit by", "check"
    );
    for r in rows {
        let (limit, ratio, by) = match rates.limit(r.workload) {
            Some((t, by)) => (short(t), short(r.steady_us / t), by),
            None => ("-".into(), "-".into(), "-"),
        };
        let steady = if r.error <= TOLERANCE { short(r.steady_us) } else { "wrong".into() };
        let (first, second) = (short(r.first_ms), short(r.second_ms));
        let name = r.workload.name;
        println!("{name:16} {steady:>10} {first:>10} {second:>10} {limit:>10} {ratio:>7}  {by:9} {:>8.0e}", r.error);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "worker") {
        return worker::serve();
    }
    let option = |name: &str| args.iter().skip_while(|a| *a != name).nth(1).map(String::as_str);
    let seconds: f64 = option("--seconds").unwrap_or("0.5").parse()?;
    let chosen: Vec<&'static Workload> = match option("--workloads") {
        None => WORKLOADS.iter().collect(),
        Some(names) => names
            .split(',')
            .map(|n| WORKLOADS.iter().find(|w| w.name == n).ok_or_else(|| no_such(n)))
            .collect::<Result<_, _>>()?,
    };
    let (mut rates, mut rows) = (Rates::default(), Vec::new());
    for workload in chosen {
        rates.measure()?;
        eprintln!("{}", workload.name);
        rows.push(run(workload, seconds)?);
    }
    rates.measure()?;
    print(&rows, &rates);
    if let Some(path) = option("--json") {
        let mut all = Map::new();
        for r in rows.iter().filter(|r| r.error <= TOLERANCE) {
            let times = json!({"steady_us": r.steady_us, "first_call_ms": r.first_ms, "second_call_ms": r.second_ms, "check_rel_err": r.error});
            all.insert(r.workload.name.into(), times);
        }
        std::fs::write(path, serde_json::to_string_pretty(&all)?)?;
    }
    let wrong: Vec<&str> = rows.iter().filter(|r| r.error > TOLERANCE).map(|r| r.workload.name).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("wrong results: {}", wrong.join(", ")).into()) }
}

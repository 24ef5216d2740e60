//! The 24 workloads of a suite of CPU tensor peers (NumPy, PyTorch, JAX and others), each as a user of this library writes
//! it ([`functions`]).
//!
//! `cargo bench --bench peers` runs them on random inputs and prints a table. Its limit is the longer of two times: that of
//! the least memory traffic at the rate of a copy, and that of the matrix products at the rate of a large product, the best
//! of this process, looked for all along the run. So a ratio says how far a workload is from what this library does best,
//! on whatever machine; it may be below 1 where little is written or caches hold a part. Results are checked against the
//! same function in `f64`, op by op, on the same inputs; a workload that fails has no time. After `--`, `--json FILE` writes
//! the times in the suite's form, `--workloads softmax,jacobi` selects, `--seconds 0.3` says how long to take samples of each.
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
    /// Looks once more for the rate of a copy. What is compiled for it is gone afterwards, as for every job here, so no
    /// workload finds its kernels ready.
    fn measure_copy(&mut self) -> tensorc::Result<()> {
        let n = 1 << 24;
        let (x, y) = (rand(&[n], Some(1))?, zeros(&[n], F32)?);
        let copy = jit(|(x, y): (Tensor, Tensor)| y.copy_(&x).map(drop));
        for _ in 0..5 {
            let t = us(|| copy.call((x.clone(), y.clone())))?;
            self.copy = self.copy.max(8.0 * n as f64 / t);
        }
        Ok(())
    }

    /// Looks once more for the rate of products. Their code stays for the life of the process, so this is for after a
    /// workload that has them: its first call is to compile it.
    fn measure_product(&mut self) -> tensorc::Result<()> {
        let n = 1024;
        let (a, b) = (rand(&[n, n], Some(1))?, rand(&[n, n], Some(2))?);
        let product = jit(|(a, b): (Tensor, Tensor)| a.matmul(&b));
        for _ in 0..5 {
            let t = us(|| product.call((a.clone(), b.clone())).map(drop))?;
            self.product = self.product.max(2.0 * (n as f64).powi(3) / t);
        }
        Ok(())
    }

    /// The least time for a workload in microseconds, with what sets it; `None` if it fits into caches.
    fn limit(&self, w: &Workload) -> Option<(f64, &'static str)> {
        let times = [(w.bytes, self.copy, "memory"), (w.flops, self.product, "products")];
        let times = times.into_iter().filter(|(work, ..)| *work > 0.0);
        times.map(|(work, rate, by)| (work / rate, by)).max_by(|a, b| a.0.total_cmp(&b.0))
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

/// A number with three digits, or more before the point.
fn short(v: f64) -> String {
    let digits = if v > 0.0 { 2.0 - v.log10().floor() } else { 0.0 };
    format!("{v:.*}", digits.clamp(0.0, 6.0) as usize)
}

fn print(rows: &[Row], rates: &Rates) {
    println!(
        "\nlimits: a copy at {} GB/s, matrix products at {} GFLOP/s",
        short(rates.copy / 1e3),
        short(rates.product / 1e3)
    );
    println!("check: the largest difference from f64, op by op, on all of the inputs, over the largest number\n");
    let line = |cells: [&str; 8]| {
        let [name, steady, first, second, limit, ratio, by, check] = cells;
        println!("{name:16} {steady:>10} {first:>9} {second:>9} {limit:>9} {ratio:>7}  {by:8} {check:>6}");
    };
    line(["workload", "steady us", "first ms", "second ms", "limit us", "ratio", "by", "check"]);
    for r in rows {
        let right = r.error <= TOLERANCE;
        let time = |v: f64| if right { short(v) } else { "wrong".into() };
        let limit = rates.limit(r.workload);
        let (limit, ratio, by) = match limit {
            Some((t, by)) => (short(t), time(r.steady_us / t), by),
            None => ("-".into(), "-".into(), "-"),
        };
        let (steady, first, second) = (time(r.steady_us), time(r.first_ms), time(r.second_ms));
        line([r.workload.name, &steady, &first, &second, &limit, &ratio, by, &format!("{:.0e}", r.error)]);
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
        rates.measure_copy()?;
        eprintln!("{}", workload.name);
        rows.push(run(workload, seconds)?);
        if workload.flops > 0.0 {
            rates.measure_product()?;
        }
    }
    rates.measure_copy()?;
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

//! The figures that the project promises, measured in one run, as ratios where a ratio is what is promised.
//!
//! `cargo bench --bench figures` prints a table; with `-- --record` it also appends a row for each figure to
//! `benches/record/cpu.csv`, with the commit and the machine. Each time is the median of several runs.

mod train;

use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;
use tensorc::dtype::F32;
use tensorc::{Result, Tensor, call, jit, rand, tensor, zeros};

/// The median time of one call in microseconds, over `runs` batches of `calls`.
fn median_us(runs: usize, calls: usize, mut f: impl FnMut() -> Result<()>) -> Result<f64> {
    f()?;
    let mut times = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        for _ in 0..calls {
            f()?;
        }
        times.push(start.elapsed().as_secs_f64() * 1e6 / calls as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[runs / 2])
}

/// Ten additions, products and maxima.
fn chain(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let a = x.add(y)?.mul(x)?.maximum(y)?.add(x)?.mul(y)?;
    a.maximum(x)?.add(y)?.mul(x)?.maximum(y)?.add(x)
}

/// The first call of a jitted function: trace, passes, machine code and result. In milliseconds: the first in the
/// process, and the median.
fn first_call() -> Result<(f64, f64)> {
    let mut times = Vec::new();
    for n in 0..9 {
        // Another number of columns each time gives another program but the same kernels; what is dropped is compiled
        // anew.
        let (x, y) = (rand(&[64, 128 + n], Some(1))?, rand(&[64, 128 + n], Some(2))?);
        let f = jit(|(x, y): (Tensor, Tensor)| (&x * &y)?.add(1.0)?.softmax(-1)?.relu()?.sum());
        let start = Instant::now();
        f.call((x, y))?.item::<f32>()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        drop(f);
    }
    let first = times[0];
    times.sort_by(f64::total_cmp);
    Ok((first, times[times.len() / 2]))
}

/// What sizes cost, in microseconds: a call at a size seen before with that axis dynamic, and calls with a size that is new,
/// by binding it and by tracing the function again; the medians.
fn sizes() -> Result<(f64, f64, f64)> {
    let tiny = rand(&[8], Some(1))?;
    let f = jit(|x: Tensor| x.add(1.0)).dynamic(0, 0, "n");
    let warm = median_us(21, 2000, || f.call(tiny.clone()).map(drop))?;
    let net = |(x, w): (Tensor, Tensor)| x.matmul(&w)?.add(1.0)?.softmax(-1)?.relu()?.sum();
    let (once, each) = (jit(net).dynamic(0, 0, "batch"), jit(net));
    let w = rand(&[16, 16], Some(2))?;
    let xs = (1..60).map(|n| rand(&[n, 16], Some(3))).collect::<Result<Vec<_>>>()?;
    let new_sizes = |call: &dyn Fn(&Tensor) -> Result<()>| {
        let mut xs = xs.iter();
        median_us(xs.len() - 1, 1, || xs.next().map_or(Ok(()), call))
    };
    let bound = new_sizes(&|x| once.call((x.clone(), w.clone())).map(drop))?;
    let traced = new_sizes(&|x| each.call((x.clone(), w.clone())).map(drop))?;
    Ok((warm, bound, traced))
}

/// A row of 1,024 numbers written to a cache of 16,384 of them, whose place is known when it is compiled or is an argument;
/// in microseconds.
fn cache_writes() -> Result<(f64, f64)> {
    let (cache, row) = (zeros(&[16384, 1024], F32)?, rand(&[1024], Some(1))?);
    let at = tensor([77i64])?;
    let known = jit(|(cache, row): (Tensor, Tensor)| cache.i(77)?.copy_(&row).map(drop));
    let computed = jit(|(cache, row, at): (Tensor, Tensor, Tensor)| {
        call(
            "index_copy_",
            &[(None, cache.into()), (None, 0i64.into()), (None, at.into()), (None, row.view([1, 1024])?.into())],
        )
        .map(drop)
    });
    let a = median_us(21, 200, || known.call((cache.clone(), row.clone())))?;
    let b = median_us(21, 200, || computed.call((cache.clone(), row.clone(), at.clone())))?;
    Ok((a, b))
}

/// Steps of the 5-point Jacobi method on a grid of 4096 by 4096, in place, and copies of that grid; in microseconds.
fn jacobi() -> Result<(f64, f64)> {
    let (x, y) = (rand(&[4096, 4096], Some(1))?, zeros(&[4096, 4096], F32)?);
    let step = jit(|x: Tensor| {
        let (all, low, high) = (1..4095i64, 0..4094i64, 2..4096i64);
        let sum = x.i((all.clone(), all.clone()))?.add(&x.i((low.clone(), all.clone()))?)?;
        let sum = sum.add(&x.i((high.clone(), all.clone()))?)?;
        let sum = sum.add(&x.i((all.clone(), low))?)?.add(&x.i((all.clone(), high))?)?;
        x.set((all.clone(), all), sum.mul(0.2)?)
    });
    let a = median_us(11, 3, || step.call(x.clone()))?;
    let b = median_us(11, 3, || y.copy_(&x).map(drop))?;
    Ok((a, b))
}

/// Steps of AdamW over 40 tensors of 250,000 numbers, in place; in microseconds.
fn adamw() -> Result<f64> {
    let some = |seed: i64| (0..40i64).map(|i| rand(&[250_000], Some(seed + i))).collect::<Result<Vec<_>>>();
    let (w, m, v, g) = (some(0)?, some(100)?, some(200)?, some(300)?);
    let step = jit(|(w, m, v, g): (Vec<Tensor>, Vec<Tensor>, Vec<Tensor>, Vec<Tensor>)| {
        for (((w, m), v), g) in w.iter().zip(&m).zip(&v).zip(&g) {
            m.mul_(0.9)?.add_(&g.mul(0.1)?)?;
            v.mul_(0.999)?.add_(&g.mul(g)?.mul(0.001)?)?;
            w.mul_(0.99999)?.sub_(&m.mul(0.01)?.div(&v.mul(1.5)?.sqrt()?.add(1e-8)?)?)?;
        }
        Ok(())
    });
    median_us(11, 2, || step.call((w.clone(), m.clone(), v.clone(), g.clone())))
}

fn main() -> Result<()> {
    let mut rows: Vec<(&str, f64, &str)> = Vec::new();
    let (first, median) = first_call()?;
    rows.push(("first call of jit(softmax(x*y + 1).relu().sum()), 64x128", median, "ms"));
    rows.push(("the same, the first program of the process", first, "ms"));

    let tiny = rand(&[8], Some(1))?;
    let f = jit(|x: Tensor| x.add(1.0));
    rows.push(("jitted call on 8 numbers", median_us(21, 2000, || f.call(tiny.clone()).map(drop))?, "us"));
    rows.push(("eager op on 8 numbers", median_us(21, 2000, || tiny.add(1.0).map(drop))?, "us"));

    let (warm, bound, traced) = sizes()?;
    rows.push(("jitted call on 8 numbers, a dynamic axis", warm, "us"));
    rows.push(("call with a new size, dynamic axis", bound, "us"));
    rows.push(("call with a new size, traced anew", traced, "us"));

    let (x, y) = (rand(&[1 << 20], Some(1))?, rand(&[1 << 20], Some(2))?);
    let fused = jit(|(x, y): (Tensor, Tensor)| chain(&x, &y));
    let eager_us = median_us(15, 3, || chain(&x, &y).map(drop))?;
    let fused_us = median_us(15, 3, || fused.call((x.clone(), y.clone())).map(drop))?;
    rows.push(("chain of ten on 1M f32, eager", eager_us, "us"));
    rows.push(("chain of ten on 1M f32, fused", fused_us, "us"));
    rows.push(("chain of ten on 1M f32, eager / fused", eager_us / fused_us, "x"));

    let (a, b) = (rand(&[512, 512], Some(1))?, rand(&[512, 512], Some(2))?);
    let mm = median_us(15, 3, || a.matmul(&b).map(drop))?;
    rows.push(("matmul 512x512x512 f32", 2.0 * 512f64.powi(3) / mm / 1e3, "GFLOP/s"));
    let z = Tensor::zeros_like(&x)?;
    rows.push(("copy 1M f32", 8.0 * (1 << 20) as f64 / median_us(15, 5, || z.copy_(&x).map(drop))? / 1e3, "GB/s"));

    let (row, rows_at) = cache_writes()?;
    rows.push(("jitted write of a row of 64 MB, the row known", row, "us"));
    rows.push(("jitted write of a row of 64 MB, the row computed", rows_at, "us"));

    let (step, copy) = jacobi()?;
    rows.push(("Jacobi step of 4096x4096 f32 in place", step, "us"));
    rows.push(("copy of 4096x4096 f32", copy, "us"));
    rows.push(("Jacobi step / copy of the grid", step / copy, "x"));
    // Four tensors are read and three written, where a copy reads one and writes one.
    let (adam, traffic) = (adamw()?, copy * 7.0 / 2.0 * 10e6 / (4096.0 * 4096.0));
    rows.push(("AdamW step of 40 tensors of 250,000 f32 in place", adam, "us"));
    rows.push(("AdamW step / its memory traffic at a copy's speed", adam / traffic, "x"));

    let (op, pass) = train::tape()?;
    rows.push(("eager op on 8 numbers, recorded", op, "us"));
    rows.push(("ten of them, a sum and backward", pass, "us"));
    let (step_us, products, traffic, recorded) = train::perceptron(8.0 * 4096.0 * 4096.0 / copy)?;
    rows.push(("training step 784-512-512-10, batch 256, jitted", step_us, "us"));
    rows.push(("its matrix products alone", products, "us"));
    rows.push(("the step / its products and memory traffic", step_us / (products + traffic), "x"));
    rows.push(("the same step op by op with backward / jitted", recorded / step_us, "x"));
    let depths = [3, 6, 12, 24].map(|n| Ok((n, train::transformer(n)?))).into_iter().collect::<Result<Vec<_>>>()?;
    let names: Vec<String> =
        depths.iter().map(|(n, _)| format!("first call of a transformer's step, {n} layers")).collect();
    rows.extend(names.iter().zip(&depths).map(|(name, (_, ms))| (name.as_str(), *ms, "ms")));

    for (name, value, unit) in &rows {
        println!("{name:60} {value:10.2} {unit}");
    }
    if std::env::args().any(|a| a == "--record") {
        record(&rows)?;
    }
    Ok(())
}

/// Appends rows of date, commit, machine, figure, value, unit.
fn record(rows: &[(&str, f64, &str)]) -> Result<()> {
    let output = |program: &str, args: &[&str]| {
        let out = Command::new(program).args(args).output();
        out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default()
    };
    let commit = output("git", &["rev-parse", "--short", "HEAD"]);
    let date = output("date", &["-u", "+%Y-%m-%d"]);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu =
        cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("", |l| l.trim_start_matches(['\t', ':', ' ']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/record/cpu.csv");
    let io = |e: std::io::Error| tensorc_ir::error::err::io(format!("{path}: {e}"));
    let mut text = match std::fs::read_to_string(path) {
        Ok(t) => t,
        Err(_) => "date,commit,machine,figure,value,unit\n".to_string(),
    };
    for (name, value, unit) in rows {
        let _ = writeln!(text, "{date},{commit},{cpu} x{cores},\"{name}\",{value:.3},{unit}");
    }
    std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/record")).map_err(io)?;
    std::fs::write(path, text).map_err(io)
}

//! Functions by example: short programs with their results, beside those of the golden cases.
//!
//! What is not obvious is computed a second way: by loops, as an adjoint, by central differences.

mod contract;
mod gradient;
mod heads;
mod index;
mod layers;
mod loss;
mod margin;
mod order;
mod pool;
mod random;
mod reduce;
mod resize;
mod robust;
mod sampled;
mod scatter;
mod shape;
mod statistic;
mod views;

use tensorc_ir::interp::{Array, run};
use tensorc_ir::passes::run_all;
use tensorc_ir::text::Module;
use tensorc_ir::{DType, Error, Kind, Result, Scalar};

/// Runs `body` with parameters such as `x: f32[2, 3]`, after all passes; gives the results.
fn run_body(body: &str, inputs: &[(&str, &[f64])]) -> Result<Vec<Array>> {
    let params: Vec<&str> = inputs.iter().map(|(p, _)| *p).collect();
    let first = |e: Vec<Error>| e.into_iter().next().expect("an error");
    let m = Module::parse("test", format!("fn f({}) {{ {body} }}", params.join(", "))).map_err(first)?;
    let f = m.main()?;
    let sizes = m.sizes(f, &[])?;
    let types = m.param_types(f, &sizes)?;
    let g = run_all(&m.trace(f, &sizes, None).map_err(first)?)?;
    let arrays: Vec<Array> = types
        .iter()
        .zip(inputs)
        .map(|(t, (p, v))| {
            let shape = t.extents().expect("known sizes");
            assert_eq!(shape.iter().product::<usize>(), v.len(), "elements for {p}");
            Array::from_scalars(t.dtype, &shape, v.iter().map(|v| Scalar::from_f64(t.dtype, *v)))
        })
        .collect();
    run(&g, &arrays)
}

/// The elements of all results, one list for each.
fn all(body: &str, inputs: &[(&str, &[f64])]) -> Vec<Vec<f64>> {
    let results = run_body(body, inputs).unwrap_or_else(|e| panic!("{body}: {e}"));
    results.iter().map(|a| a.scalars().into_iter().map(Scalar::to_f64).collect()).collect()
}

/// The elements of the one result.
fn eval(body: &str, inputs: &[(&str, &[f64])]) -> Vec<f64> {
    let mut r = all(body, inputs);
    assert_eq!(r.len(), 1, "{body} has several results");
    r.remove(0)
}

/// Dtype and shape of the one result.
fn type_of(body: &str, inputs: &[(&str, &[f64])]) -> (DType, Vec<usize>) {
    let r = run_body(body, inputs).unwrap_or_else(|e| panic!("{body}: {e}"));
    (r[0].dtype, r[0].shape().to_vec())
}

/// The kind of the error that refuses the program or its run.
fn refused(body: &str, inputs: &[(&str, &[f64])]) -> Kind {
    match run_body(body, inputs) {
        Ok(_) => panic!("{body} was not refused"),
        Err(e) => e.kind(),
    }
}

/// A program, its inputs, and its results as PyTorch 2.15 computes them.
type Case = (&'static str, &'static [(&'static str, &'static [f64])], &'static [&'static [f64]]);

/// Asserts that programs give those results, to about single precision.
#[track_caller]
fn check_cases(cases: &[Case]) {
    for (body, inputs, want) in cases {
        let got = all(body, inputs);
        assert_eq!(got.len(), want.len(), "{body} has other results");
        for (g, w) in got.iter().zip(*want) {
            assert!(is_close(g, w), "{body}: got {g:?}, expected {w:?}");
        }
    }
}

fn is_close(got: &[f64], want: &[f64]) -> bool {
    let close = |(g, w): (&f64, &f64)| g == w || g.is_nan() && w.is_nan() || (g - w).abs() <= 1e-5 * (1.0 + w.abs());
    got.len() == want.len() && got.iter().zip(want).all(close)
}

/// Asserts that two lists are equal to about single precision.
#[track_caller]
fn assert_close(got: &[f64], want: &[f64]) {
    assert!(is_close(got, want), "got {got:?}, expected {want:?}");
}

/// Numbers without pattern in `-2..2`.
fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..n).map(|_| 4.0 * next() - 2.0).collect()
}

/// 0, 1, 2, ….
fn counting(n: usize) -> Vec<f64> {
    (0..n).map(|i| i as f64).collect()
}

//! The examples of the table as tests run them: operands that are all different, runs in all modes, results to the bit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use tensorc::program::{Mode, Program};
use tensorc::{DType, Error, Tensor};
use tensorc_ir::describe::Param;
use tensorc_ir::ops::registry::{Entry, entries};
use tensorc_ir::{Scalar, Type};

/// All ways to run a program.
pub const MODES: [Mode; 3] = [Mode::Interpret, Mode::Eager, Mode::Fused];

/// Where the numbers of an operand lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// On both sides of 0.
    Signed,
    /// Where the function is defined: the domain of an elementwise row, else between 0 and 1; positive integers.
    Domain,
}

/// The elements of an operand: all different where the dtype allows it, also from those of the other operands, so that
/// there are no ties.
pub fn numbers(param: usize, count: usize, dtype: DType, values: Values, (low, high): (f64, f64)) -> Vec<f64> {
    let one = |i: usize| {
        let turn = (i * 37 + param * 23 + 11) % 97;
        let unit = (turn as f64 + 0.1 + 0.17 * param as f64) / 97.5;
        match (dtype.is_float(), values) {
            (true, Values::Signed) => 4.0 * unit - 2.0,
            (true, Values::Domain) => low + (high - low) * unit,
            (false, Values::Signed) if dtype == DType::Bool => (turn % 3).min(1) as f64,
            (false, Values::Domain) if dtype == DType::Bool => 1.0,
            // No zeros: they may stand in divisors.
            (false, Values::Signed) if dtype != DType::U8 => [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0][turn % 6],
            (false, _) => 1.0 + (turn % 4) as f64,
        }
    };
    (0..count).map(one).collect()
}

/// A tensor of these numbers.
pub fn tensor(ty: &Type, numbers: &[f64]) -> Tensor {
    let mut bytes = vec![0; numbers.len() * ty.dtype.size()];
    for (v, out) in numbers.iter().zip(bytes.chunks_mut(ty.dtype.size())) {
        Scalar::from_f64(ty.dtype, *v).write(out);
    }
    Tensor::from_bytes(ty.dtype, &ty.extents().unwrap(), &bytes).unwrap()
}

/// The number of elements.
pub fn count(ty: &Type) -> usize {
    ty.extents().unwrap().iter().product()
}

/// Where a function is defined.
pub fn domain(e: &Entry) -> (f64, f64) {
    e.row.map_or((0.04, 0.96), |r| r.0.domain)
}

/// Numbers for all parameters of an example.
pub fn arguments(e: &Entry, params: &[Param], values: Values) -> Vec<Vec<f64>> {
    let domain = domain(e);
    params.iter().enumerate().map(|(i, p)| numbers(i, count(&p.ty), p.ty.dtype, values, domain)).collect()
}

/// Holds every `of`-th function from that number on against `check`, which gives what is wrong with one. EXAMPLE names a
/// single function.
pub fn part(number: usize, of: usize, check: impl Fn(&Entry) -> Vec<String>) {
    let only = std::env::var("EXAMPLE").ok();
    let mine = entries().into_iter().filter(|e| e.alias_of.is_none()).enumerate();
    let mine = mine.filter(|(i, e)| i % of == number && only.as_ref().is_none_or(|n| n == e.name));
    let failed: Vec<String> = mine.flat_map(|(_, e)| check(&e)).collect();
    assert!(failed.is_empty(), "{} fail:\n{}", failed.len(), failed.join("\n"));
}

/// What is wrong, if anything, after the name of what was tried; a panic is.
pub fn tried(what: &str, check: impl FnOnce() -> Result<(), String>) -> Option<String> {
    let result = catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| Err("it panicked".into()));
    result.err().map(|why| format!("{what}: {why}"))
}

/// Results and arguments afterwards, or the first error.
pub fn run(p: &Program, name: &str, params: &[Param], args: &[Vec<f64>], mode: Mode) -> Result<Vec<Tensor>, Error> {
    let args: Vec<Tensor> = params.iter().zip(args).map(|(p, a)| tensor(&p.ty, a)).collect();
    let results = p.run(Some(name), &args, mode).map_err(|e| e[0].clone())?;
    Ok(results.into_iter().chain(args).collect())
}

/// Whether two tensors are equal to the bit; any NaN equals any other.
pub fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    let (x, y) = (a.scalars().unwrap(), b.scalars().unwrap());
    let same = |(x, y): (&Scalar, &Scalar)| {
        let bits = |s: &Scalar| {
            let mut out = vec![0; a.dtype().size()];
            s.write(&mut out);
            out
        };
        bits(x) == bits(y) || x.to_f64().is_nan() && y.to_f64().is_nan()
    };
    a.dtype() == b.dtype() && a.shape() == b.shape() && x.iter().zip(&y).all(same)
}

/// Runs a function in all modes, which must agree to the bit or in the error.
pub fn agree(
    p: &Program,
    name: &str,
    params: &[Param],
    args: &[Vec<f64>],
) -> Result<Result<Vec<Tensor>, Error>, String> {
    let truth = run(p, name, params, args, MODES[0]);
    for mode in &MODES[1..] {
        match (&truth, run(p, name, params, args, *mode)) {
            (Ok(a), Ok(b)) => {
                if a.len() != b.len() {
                    return Err(format!("{name}: {} results, {mode:?} has {}", a.len(), b.len()));
                }
                if let Some(i) = a.iter().zip(&b).position(|(a, b)| !same_bits(a, b)) {
                    return Err(format!("{name}: {mode:?} has other bits: {} and {}", b[i], a[i]));
                }
            }
            (Err(a), Err(b)) if a.kind() == b.kind() && a.diagnostic().message == b.diagnostic().message => {}
            (Err(a), Err(b)) => return Err(format!("{name}: {mode:?} has another error: {b}, not {a}")),
            (Ok(_), Err(b)) => return Err(format!("{name}: {mode:?} fails: {b}")),
            (Err(a), Ok(_)) => return Err(format!("{name}: {mode:?} does not fail: {a}")),
        }
    }
    Ok(truth)
}

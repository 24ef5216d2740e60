//! Running extremes and `logcumsumexp`: combiners that are associative but no op of their own.
//!
//! They are composed by doubling: after the step of width `d`, an element holds what its `2 d` last elements combine to,
//! so the graph grows with the logarithm of the length.

use super::unit;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::ops::registry::{Args, FnDef, Out, require_float};
use crate::types::{Range, axis};

/// The elements `d` places before along an axis; `fill` where there are none.
fn behind<'b>(x: Ex<'b>, dim: usize, d: usize, fill: Scalar) -> Ex<'b> {
    let b = x.builder();
    let shape = x.shape();
    let mut to: Vec<Range> = shape.iter().map(|n| Range::all(*n)).collect();
    to[dim] = Range { start: d, len: shape[dim] - d, step: 1 };
    b.full(fill, &shape).slice_update(&to, x.narrow(dim, 0, shape[dim] - d))
}

/// Widths 1, 2, 4, … below the length.
pub fn widths(n: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1usize), |d| d.checked_mul(2)).take_while(move |d| *d < n)
}

/// `cummax`, `cummin`: the running extreme and the position of its last occurrence; NaN wins over numbers.
fn extreme<'b>(b: &'b Builder, a: &Args<'b>, better: fn(Ex<'b>, Ex<'b>) -> Ex<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let dim = axis(a.int(1)?, x.rank())?;
    if x.rank() == 0 {
        let zero = b.constant(Scalar::from_i64(DType::I64, 0));
        return Ok(Out::Many(vec![x.copy(), zero.copy()]));
    }
    let keys = if x.dtype() == DType::Bool { x.cast(DType::U8) } else { x };
    let n = x.shape()[dim];
    let place = b.iota(n).laid_along(dim, x.rank()).expand(&x.shape());
    let (mut v, mut at) = (keys, place);
    for d in widths(n) {
        let before = behind(v, dim, d, Scalar::from_i64(v.dtype(), 0));
        // The later one stays unless the earlier one is strictly better.
        let mine = better(v, before);
        let mine = if v.dtype().is_float() { v.isnan().logical_or(mine.logical_and(before.eq(before))) } else { mine };
        let first = place.lt(b.number(Scalar::from_i64(DType::I64, d as i64)));
        let keep = mine.logical_or(first);
        at = keep.select(at, behind(at, dim, d, Scalar::from_i64(DType::I64, 0)));
        v = keep.select(v, before);
    }
    Ok(Out::Many(vec![x.gather(dim, at), at.copy()]))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "cummax",
        sig: "x, dim: int",
        example: "x: D[2, 3] => cummax(x, 1)",
        doc: "The running largest along a dimension (NaN once there was one) and its position (i64), the last of equal \
              ones, to which the gradient goes.",
        build: |b, a| extreme(b, a, Ex::ge),
    },
    FnDef {
        name: "cummin",
        sig: "x, dim: int",
        example: "x: D[2, 3] => cummin(x, 1)",
        doc: "The running smallest along a dimension (NaN once there was one) and its position (i64), the last of \
              equal ones, to which the gradient goes.",
        build: |b, a| extreme(b, a, Ex::le),
    },
    FnDef {
        name: "logcumsumexp",
        sig: "x, dim: int",
        example: "x: D[2, 3] => logcumsumexp(x, 1)",
        doc: "log of the running sum of e^x along a dimension, without overflow. Floats only.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            require_float("logcumsumexp", x)?;
            let dim = axis(a.int(1)?, x.rank())?;
            if x.rank() == 0 {
                return Ok(x.copy().into());
            }
            let n = x.shape()[dim];
            if n < 2 {
                return Ok(x.copy().into());
            }
            Ok(unit([x], |[x]| {
                let low = Scalar::from_f64(x.dtype(), f64::NEG_INFINITY);
                widths(n).fold(x, |y, d| logaddexp(y, behind(y, dim, d, low)))
            })
            .into())
        },
    },
];

/// `logaddexp` whose gradient at two minus infinities is 0 for the fill, not NaN.
fn logaddexp<'b>(x: Ex<'b>, before: Ex<'b>) -> Ex<'b> {
    let low = x.number(f64::NEG_INFINITY);
    let none = before.eq(low);
    let safe = none.select(x.zeros(), before);
    none.select(x, x.map("logaddexp", &[safe]))
}

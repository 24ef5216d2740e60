//! `poisson`: random counts, drawn until each one is accepted.
//!
//! Rates from 10 on by transformed rejection with squeeze (PTRS: Hörmann, "The transformed rejection method for generating
//! Poisson random variables", 1993), smaller ones by counting factors until a product of uniform numbers falls below
//! `e^-rate` (Knuth, "The Art of Computer Programming", volume 2, 3.4.1). Attempt `i` for an element takes the words of
//! Philox4x32-10 ([`super::random`]) for its place and `i`, so that what others draw has no say in it. All in `f64`.

use super::random::{attempt, seed, uniform};
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, product};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::Op;
use crate::ops::control::{Body, While};
use crate::ops::elementwise::range::held;
use crate::ops::reduce::ReduceKind;
use crate::ops::registry::{Args, FnDef, require_float};
use crate::types::{Type, checked_count};

/// From which rate on counts are drawn by rejection.
const LARGE: f64 = 10.0;

/// An attempt of transformed rejection for rates of at least 10: the count, and whether it is accepted.
fn rejection<'b>(rate: Ex<'b>, u: Ex<'b>, v: Ex<'b>) -> (Ex<'b>, Ex<'b>) {
    let number = |n: f64| rate.number(n);
    let b = rate.sqrt() * 2.53 + 0.931;
    let a = b * 0.02483 - 0.059;
    let inverse = 1.1328 / (b - 3.4) + 1.1239;
    let squeeze = 0.9277 - 3.6224 / (b - 2.0);
    let u = u - 0.5;
    let us = 0.5 - u.abs();
    let k = ((a * 2.0 / us + b) * u + rate + 0.43).floor();
    let inside = us.ge(number(0.07)).logical_and(v.le(squeeze));
    let outside = k.lt(number(0.0)).logical_or(us.lt(number(0.013)).logical_and(v.gt(us)));
    let safe = outside.select(number(0.0), k);
    let left = v.log() + inverse.log() - (a / (us * us) + b).log();
    let right = safe * rate.log() - rate - (safe + 1.0).map("lgamma", &[]);
    (k, inside.logical_or(outside.logical_not().logical_and(left.le(right))))
}

/// Another attempt for every element that is open. Carries: the number of the attempt, counts, products, what is open.
fn more<'b>(b: &'b Builder, x: &[Ex<'b>]) -> Result<Vec<Ex<'b>>> {
    let [i, count, factors, open, rate, seed] = *x else {
        return Err(err::internal("`poisson_draw` has six parameters"));
    };
    let [w0, w1, w2, w3] = attempt(b, b.iota(rate.count()), i, seed);
    let (u, v) = (uniform([w0, w1, w2, w3], DType::F64), uniform([w2, w3, w0, w1], DType::F64));
    let large = rate.ge(rate.number(LARGE));
    // Where it is not wanted, any rate does.
    let (k, accepted) = rejection(large.select(rate, rate.number(LARGE)), u, v);
    let next = factors * u;
    let goes_on = next.gt((-rate).exp());
    let counted = large.select(k, goes_on.select(count + 1.0, count));
    let closes = large.logical_and(accepted).logical_or(large.logical_or(goes_on).logical_not());
    let stays = open.logical_and(closes.logical_not());
    Ok(vec![i + b.number(Scalar::from_i64(DType::I64, 1)), open.select(counted, count), next, stays])
}

fn poisson<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    require_float("poisson", x)?;
    let (dims, n) = (x.dims(), product(&x.dims()));
    checked_count(&dims)?;
    let rate = x.apply(Op::Detach, &[]).cast(DType::F64).reshape(&[n]);
    let rate = held("check_rate", rate.ge(rate.number(0.0)), rate, 0.0);
    let endless = rate.eq(rate.number(f64::INFINITY));
    let rate = endless.select(rate.number(0.0), rate);
    let scalar = |dtype: DType| Type::new(dtype, [Dim::ONE; 0]);
    let of = |dtype: DType| Type::new(dtype, [n]);
    let params = [
        ("i", scalar(DType::I64)),
        ("count", of(DType::F64)),
        ("factors", of(DType::F64)),
        ("open", of(DType::Bool)),
        ("rate", of(DType::F64)),
        ("seed", scalar(DType::I64)),
    ];
    let test = Body::written("poisson_open", &params, |_, x| Ok(vec![x[3].reduce(ReduceKind::Sum, &[0], false)]))?;
    let body = Body::written("poisson_draw", &params, more)?;
    let start = b.constant(Scalar::from_i64(DType::I64, 0));
    let full = |v: f64| b.full(Scalar::from_f64(DType::F64, v), &[n]);
    let open = b.full(Scalar::from_bool(true), &[n]);
    let drawn = [start, full(0.0), full(1.0), open, rate, seed(b, a, 1)?];
    let values = drawn.iter().map(|e| e.value()).collect::<Result<Vec<_>>>()?;
    let node = b.emit_all(Op::While(While { test, body }), &values)?;
    let count = b.ex(b.results(node)[1]);
    Ok(endless.select(count.number(f64::INFINITY), count).reshape(&dims).cast(x.dtype()))
}

/// The functions.
pub static FNS: &[FnDef] = &[FnDef {
    name: "poisson",
    sig: "x, seed: tensor? = None",
    example: "x: D[2, 3] => poisson(x, seed=7)",
    doc: "Poisson counts at the rates x, of the shape and dtype of x. Floats; a negative or NaN rate is an error. By transformed \
          rejection (Hörmann, 1993) for rates from 10 on, else by a product of uniform numbers (Knuth). No gradient.",
    build: |b, a| Ok(poisson(b, a)?.into()),
}];

//! Division: the true quotient, and the integer ones with their remainders. Division of integers by zero is a failure
//! that depends on the data ([`Fault::DivByZero`]).

use super::{RowDef, Rule};
use crate::builder::Ex;
use crate::scalar::{Block, Fault, V, math};

/// The divisor with 0 replaced by 1, after recording the fault.
fn checked_divisor(b: &mut Block, y: V) -> V {
    let zero = b.int(b.ty(y), 0);
    let bad = b.eq(y, zero);
    b.check(Fault::DivByZero, bad);
    let one = b.int(b.ty(y), 1);
    b.select(bad, one, y)
}

/// Whether a remainder `r` is not 0 and has another sign than the divisor: the quotient was truncated upward.
fn rounded_up(b: &mut Block, r: V, y: V) -> V {
    let zero = b.int(b.ty(y), 0);
    let (some, neg_r, neg_y) = (b.ne(r, zero), b.lt(r, zero), b.lt(y, zero));
    let differ = b.xor(neg_r, neg_y);
    b.and(some, differ)
}

fn fmod(b: &mut Block, x: V, y: V) -> V {
    if b.ty(x).is_float() {
        return math::fmod(b, x, y);
    }
    let y = checked_divisor(b, y);
    b.rem(x, y)
}

fn remainder(b: &mut Block, x: V, y: V) -> V {
    if b.ty(x).is_float() {
        return math::remainder(b, x, y);
    }
    let y = checked_divisor(b, y);
    let r = b.rem(x, y);
    let up = rounded_up(b, r, y);
    let moved = b.add(r, y);
    b.select(up, moved, r)
}

fn trunc_divide(b: &mut Block, x: V, y: V) -> V {
    if b.ty(x).is_float() {
        let q = b.div(x, y);
        return b.trunc(q);
    }
    let y = checked_divisor(b, y);
    b.div(x, y)
}

fn floor_divide(b: &mut Block, x: V, y: V) -> V {
    let ty = b.ty(x);
    if ty.is_float() {
        return math::floor_divide(b, x, y);
    }
    let y = checked_divisor(b, y);
    let (q, r) = (b.div(x, y), b.rem(x, y));
    let up = rounded_up(b, r, y);
    let one = b.int(ty, 1);
    let lower = b.sub(q, one);
    b.select(up, lower, q)
}

fn flat<'b>(x: &[Ex<'b>], dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
    vec![Some(dy.zeros()); x.len()]
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    RowDef {
        name: "div",
        doc: "x / y, in floating point also for integers.",
        args: &["x", "other"],
        rule: Rule::Float,
        lower: |b, x| b.div(x[0], x[1]),
        vjp: Some(|x, y, dy| {
            let d = dy / x[1];
            vec![Some(d), Some(-(d * y))]
        }),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "trunc_divide",
        doc: "x / y rounded toward zero (`rounding_mode=\"trunc\"`). Integers: an error if y is 0.",
        args: &["x", "other"],
        rule: Rule::NoBool(""),
        lower: |b, x| trunc_divide(b, x[0], x[1]),
        vjp: Some(|x, _, dy| flat(x, dy)),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "floor_divide",
        doc: "x / y rounded down. Integers: an error if y is 0.",
        args: &["x", "other"],
        rule: Rule::NoBool(""),
        lower: |b, x| floor_divide(b, x[0], x[1]),
        vjp: Some(|x, _, dy| flat(x, dy)),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "fmod",
        doc: "Remainder with the sign of x. Integers: an error if y is 0.",
        args: &["x", "other"],
        rule: Rule::NoBool(""),
        lower: |b, x| fmod(b, x[0], x[1]),
        vjp: Some(|x, _, dy| vec![Some(dy), Some(-(dy * (x[0] / x[1]).trunc()))]),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "remainder",
        doc: "Remainder with the sign of y. Integers: an error if y is 0.",
        args: &["x", "other"],
        rule: Rule::NoBool(""),
        lower: |b, x| remainder(b, x[0], x[1]),
        vjp: Some(|x, _, dy| vec![Some(dy), Some(-(dy * x[0].floor_divide(x[1])))]),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "reciprocal",
        doc: "1 / x, in floating point also for integers.",
        args: &["x"],
        rule: Rule::Float,
        lower: |b, x| {
            let one = b.float(b.ty(x[0]), 1.0);
            b.div(one, x[0])
        },
        vjp: Some(|_, y, dy| vec![Some(-(dy * y * y))]),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
];

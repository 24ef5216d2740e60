//! Division: the true quotient, and the integer ones with their remainders. Division of integers by zero is a failure
//! that depends on the data ([`Fault::DivByZero`]).

use super::{RowDef, Rule};
use crate::builder::Ex;
use crate::scalar::{Block, Fault, Reg, V, math};

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

/// Magnitude; the least integer is itself.
pub(super) fn magnitude(b: &mut Block, x: V) -> V {
    if b.ty(x) == Reg::U8 { x } else { b.abs(x) }
}

/// Euclid's algorithm, `(a, b)` to `(b rem a, a)` until `a` is 0, as many steps as the type can need: consecutive numbers
/// of Fibonacci take the most, about 1.44 for each bit, and the least integer, which has no magnitude, one more.
fn gcd(b: &mut Block, x: V, y: V) -> V {
    let ty = b.ty(x);
    let (zero, one) = (b.int(ty, 0), b.int(ty, 1));
    let (mut a, mut c) = (magnitude(b, x), magnitude(b, y));
    for _ in 0..ty.bits() * 3 / 2 + 2 {
        let end = b.eq(a, zero);
        let divisor = b.select(end, one, a);
        let rest = b.rem(c, divisor);
        // At the end the rest by 1 keeps a at 0.
        c = b.select(end, c, a);
        a = rest;
    }
    c
}

fn lcm(b: &mut Block, x: V, y: V) -> V {
    let ty = b.ty(x);
    let (g, zero, one) = (gcd(b, x, y), b.int(ty, 0), b.int(ty, 1));
    let none = b.eq(g, zero);
    let divisor = b.select(none, one, g);
    let q = b.div(x, divisor);
    // As in C, narrow integers are multiplied in 32 bits: the magnitude is that of the whole product, which then wraps.
    let wide = if matches!(ty, Reg::I8 | Reg::I16) { Reg::I32 } else { ty };
    let (q, y) = (b.convert(wide, q), b.convert(wide, y));
    let p = b.mul(q, y);
    let p = magnitude(b, p);
    let p = b.convert(ty, p);
    b.select(none, zero, p)
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
        // The quotient anew: of half floats it is not yet rounded.
        vjp: Some(|x, _, dy| {
            let d = dy / x[1];
            vec![Some(d), Some(-(d * (x[0] / x[1])))]
        }),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "trunc_divide",
        doc: "x / other without its fraction, toward zero: `div(x, other, rounding_mode=\"trunc\")`. Integers: an \
              error of the run if other is 0. Not bool. No gradient flows.",
        args: &["x", "other"],
        rule: Rule::NoBool(""),
        lower: |b, x| trunc_divide(b, x[0], x[1]),
        vjp: Some(|x, _, dy| flat(x, dy)),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "floor_divide",
        doc: "The largest integer not above x / other. Integers: an error of the run if other is 0. Not bool. No \
              gradient flows.",
        args: &["x", "other"],
        rule: Rule::NoBool(""),
        lower: |b, x| floor_divide(b, x[0], x[1]),
        vjp: Some(|x, _, dy| flat(x, dy)),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "fmod",
        doc: "x - trunc(x / other) * other exactly, with the sign of x; NaN if other is 0. Integers: an error of the \
              run if other is 0. Not bool. The gradient by x is 1, by other -trunc(x / other).",
        args: &["x", "other"],
        rule: Rule::NoBool(""),
        lower: |b, x| fmod(b, x[0], x[1]),
        vjp: Some(|x, _, dy| vec![Some(dy), Some(-(dy * (x[0] / x[1]).trunc()))]),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "remainder",
        doc: "x - floor(x / other) * other, with the sign of other; NaN if other is 0. Integers: an error of the run \
              if other is 0. Not bool. The gradient by x is 1, by other -floor(x / other).",
        args: &["x", "other"],
        rule: Rule::NoBool(""),
        lower: |b, x| remainder(b, x[0], x[1]),
        vjp: Some(|x, _, dy| vec![Some(dy), Some(-(dy * x[0].floor_divide(x[1])))]),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "gcd",
        doc: "The greatest common divisor of two integers, not negative (but for the least integer, which has no \
              magnitude); gcd(0, 0) is 0.",
        args: &["x", "other"],
        rule: Rule::Integer,
        lower: |b, x| gcd(b, x[0], x[1]),
        vjp: None,
        domain: (-100.0, 100.0),
        ulp: 0.0,
    },
    RowDef {
        name: "lcm",
        doc: "The least common multiple of two integers, not negative unless it wraps; 0 if one is 0.",
        args: &["x", "other"],
        rule: Rule::Integer,
        lower: |b, x| lcm(b, x[0], x[1]),
        vjp: None,
        domain: (-100.0, 100.0),
        ulp: 0.0,
    },
    RowDef {
        name: "reciprocal",
        doc: "1 / x, in f32 for integers and bool; infinite at 0. The derivative is -1 / x^2.",
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

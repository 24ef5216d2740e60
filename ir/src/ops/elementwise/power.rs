//! Powers and functions of two floats that come from them.

use super::{RowDef, Rule};
use crate::builder::Ex;
use crate::scalar::{Block, V, math};

/// `x^n` for integers by repeated squaring, wrapping. For negative `n` the true power cut off: 1 for 1, ±1 for -1, else 0
/// (also for 0).
fn int_pow(b: &mut Block, x: V, n: V) -> V {
    let ty = b.ty(x);
    let (zero, one, minus) = (b.int(ty, 0), b.int(ty, 1), b.int(ty, -1));
    let mut power = one;
    let mut square = x;
    for i in 0..ty.bits() - (ty != crate::scalar::Reg::U8) as u32 {
        if i > 0 {
            square = b.mul(square, square);
        }
        let bit = b.int(ty, 1i64 << i);
        let bit = b.and(n, bit);
        let set = b.ne(bit, zero);
        let times = b.mul(power, square);
        power = b.select(set, times, power);
    }
    let low = b.and(n, one);
    let (odd, is_one, is_minus) = (b.ne(low, zero), b.eq(x, one), b.eq(x, minus));
    let sign = b.select(odd, minus, one);
    let cut = b.select(is_minus, sign, zero);
    let cut = b.select(is_one, one, cut);
    let negative = b.lt(n, zero);
    b.select(negative, cut, power)
}

/// d x^n: n x^(n-1), but 0 where n is 0; x^n log x, but 0 where x is 0 and n is not negative.
fn pow_vjp<'b>(x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
    let (base, n) = (x[0], x[1]);
    let zero = base.number(0.0);
    let dx = n.eq(zero).select(dy.zeros(), dy * (n * base.pow(n - 1.0)));
    let flat = base.eq(zero).logical_and(n.ge(zero));
    let dn = dy * flat.select(dy.zeros(), y * base.log());
    vec![Some(dx), Some(dn)]
}

/// x log y, but 0 where x is 0 and y is not NaN.
fn xlogy(b: &mut Block, x: V, y: V, log: fn(&mut Block, V) -> V) -> V {
    let zero = b.float(b.ty(x), 0.0);
    let l = log(b, y);
    let p = b.mul(x, l);
    let flat = b.eq(x, zero);
    let v = b.select(flat, zero, p);
    let nan = b.ne(y, y);
    b.select(nan, y, v)
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    RowDef {
        name: "pow",
        doc: "x to the power y. Integers wrap; a negative integer power is cut off to an integer.",
        args: &["x", "exponent"],
        rule: Rule::NoBool(""),
        lower: |b, x| if b.ty(x[0]).is_float() { math::pow(b, x[0], x[1]) } else { int_pow(b, x[0], x[1]) },
        vjp: Some(pow_vjp),
        domain: (0.5, 3.0),
        ulp: 1.0,
    },
    RowDef {
        name: "square",
        doc: "x * x.",
        args: &["x"],
        rule: Rule::NoBool(""),
        lower: |b, x| b.mul(x[0], x[0]),
        vjp: Some(|x, _, dy| vec![Some(dy * (x[0] * 2.0))]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "cube",
        doc: "x * x * x, rounded twice: what `x ** 3` computes. Not for bool.",
        args: &["x"],
        rule: Rule::NoBool(""),
        lower: |b, x| {
            let s = b.mul(x[0], x[0]);
            b.mul(s, x[0])
        },
        vjp: Some(|x, _, dy| vec![Some(dy * (x[0] * x[0] * 3.0))]),
        domain: (-4.0, 4.0),
        ulp: 2.0,
    },
    RowDef {
        name: "hypot",
        doc: "sqrt(x^2 + other^2) without overflow or underflow on the way. Floats only. The gradient at (0, 0) is \
              NaN.",
        args: &["x", "other"],
        rule: Rule::FloatOnly,
        lower: |b, x| math::hypot(b, x[0], x[1]),
        vjp: Some(|x, y, dy| vec![Some(dy * (x[0] / y)), Some(dy * (x[1] / y))]),
        domain: (-4.0, 4.0),
        ulp: 1.0,
    },
    RowDef {
        name: "atan2",
        doc: "The angle in -pi..pi of the point (other, x) against the first axis, in the right quadrant; the signs of \
              zeros count. The gradient at (0, 0) is 0.",
        args: &["x", "other"],
        rule: Rule::Float,
        lower: |b, x| math::atan2(b, x[0], x[1]),
        vjp: Some(|x, _, dy| {
            let n = x[0] * x[0] + x[1] * x[1];
            let zero = n.number(0.0);
            let d = n.eq(zero).select(zero, dy / n);
            vec![Some(d * x[1]), Some(-(d * x[0]))]
        }),
        domain: (0.5, 4.0),
        ulp: 1.0,
    },
    RowDef {
        name: "logaddexp",
        doc: "log(e^x + e^other) without overflow. Floats only. The gradients are the two shares of the sum.",
        args: &["x", "other"],
        rule: Rule::FloatOnly,
        lower: |b, x| math::logaddexp(b, x[0], x[1]),
        vjp: Some(|x, _, dy| vec![Some(dy * (x[0] - x[1]).sigmoid()), Some(dy * (x[1] - x[0]).sigmoid())]),
        domain: (-4.0, 4.0),
        ulp: 1.0,
    },
    RowDef {
        name: "logaddexp2",
        doc: "log2(2^x + 2^other) without overflow. Floats only. The gradients are the two shares of the sum.",
        args: &["x", "other"],
        rule: Rule::FloatOnly,
        lower: |b, x| math::logaddexp2(b, x[0], x[1]),
        vjp: Some(|x, _, dy| {
            let d = (x[0] - x[1]) * std::f64::consts::LN_2;
            vec![Some(dy * d.sigmoid()), Some(dy * (-d).sigmoid())]
        }),
        domain: (-4.0, 4.0),
        ulp: 1.0,
    },
    RowDef {
        name: "xlogy",
        doc: "x log(other), but 0 where x is 0, unless other is NaN. Integers become f32.",
        args: &["x", "other"],
        rule: Rule::Float,
        lower: |b, x| xlogy(b, x[0], x[1], math::log),
        vjp: Some(|x, _, dy| {
            let zero = dy.number(0.0);
            let flat = x[0].eq(zero).logical_and(x[1].le(zero));
            vec![Some(flat.select(zero, dy * x[1].log())), Some(dy * x[0] / x[1])]
        }),
        domain: (0.5, 4.0),
        ulp: 2.0,
    },
    RowDef {
        name: "xlog1py",
        doc: "x log(1 + other), but 0 where x is 0, unless other is NaN. Integers become f32.",
        args: &["x", "other"],
        rule: Rule::Float,
        lower: |b, x| xlogy(b, x[0], x[1], math::log1p),
        vjp: Some(|x, _, dy| {
            let zero = dy.number(0.0);
            let flat = x[0].eq(zero).logical_and(x[1].le(dy.number(-1.0)));
            vec![Some(flat.select(zero, dy * x[1].log1p())), Some(dy * x[0] / (x[1] + 1.0))]
        }),
        domain: (0.5, 4.0),
        ulp: 2.0,
    },
];

//! Special functions of floats: the gamma function's relatives, Bessel functions, the normal distribution, and the two
//! parts of a float. Integers and bool become `f32`. The bodies are in [`crate::scalar::math`].

use super::float::unary;
use super::{RowDef, Rule};
use crate::builder::Ex;
use crate::scalar::{Block, V, math};
use std::f64::consts::{FRAC_2_SQRT_PI, PI};

/// `-x log x`, 0 at 0, minus infinity below.
fn entr(b: &mut Block, x: V) -> V {
    let ty = b.ty(x);
    let (zero, low) = (b.float(ty, 0.0), b.float(ty, f64::NEG_INFINITY));
    let l = math::log(b, x);
    let p = b.mul(x, l);
    let p = b.neg(p);
    let (flat, below) = (b.eq(x, zero), b.lt(x, zero));
    let y = b.select(flat, zero, p);
    b.select(below, low, y)
}

/// The `n`-th derivative of `digamma`: `(-1)^(n+1) n! zeta(n + 1, x)`. Below 0 by reflection, `polygamma(n, x) = (-1)^n
/// polygamma(n, 1 - x) - d`, where `d` is the `n`-th derivative of `pi cot(pi x)`: `pi^(n+1)` times a polynomial `P` in
/// `c = cot(pi x)`, the next one of which is `-(1 + c^2) P'`.
pub fn polygamma(n: u32, x: Ex<'_>) -> Ex<'_> {
    if n == 0 {
        return x.map("digamma", &[]);
    }
    let sign = |k: u32| if k.is_multiple_of(2) { 1.0 } else { -1.0 };
    let factorial: f64 = (1..=n).map(f64::from).product();
    let mut p = vec![0.0, 1.0];
    for _ in 0..n {
        let mut next = vec![0.0; p.len() + 1];
        for (k, c) in p.iter().enumerate().skip(1) {
            next[k - 1] -= k as f64 * c;
            next[k + 1] -= k as f64 * c;
        }
        p = next;
    }
    let negative = x.lt(x.number(0.0));
    let mirrored = negative.select(1.0 - x, x);
    let plain = x.number(f64::from(n + 1)).map("zeta", &[mirrored]) * (sign(n + 1) * factorial);
    // The distance to the nearest integer is exact; where it is not wanted, any other one does.
    let off = x - x.round();
    let pole = negative.logical_and(off.eq(off.number(0.0)));
    let d = pole.logical_or(negative.logical_not()).select(x.number(0.25), off);
    let cot = 1.0 / (d * PI).tan();
    let slope = p.iter().rev().fold(cot.zeros(), |s, c| s * cot + *c) * PI.powi(n as i32 + 1);
    let y = negative.select(plain * sign(n) - slope, plain);
    // At a negative integer as at 0, which is its limit from the right.
    pole.select(x.number(sign(n + 1) * f64::INFINITY), y)
}

/// `(cos(pi x) - sinc(x)) / x`, near 0 by its series.
fn sinc_slope<'b>(x: Ex<'b>, y: Ex<'b>) -> Ex<'b> {
    let near = x.abs().lt(x.number(0.02));
    let safe = near.select(x.number(1.0), x);
    // The cosine's argument by whole turns, exactly.
    let turn = safe - (safe * 0.5).round() * 2.0;
    let far = ((turn * PI).cos() - y) / safe;
    let z = near.select(x, x.zeros()) * PI;
    let s = z * z;
    let series = z * (((s * (1.0 / 45360.0) - 1.0 / 840.0) * s + 1.0 / 30.0) * s - 1.0 / 3.0) * PI;
    near.select(series, far)
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    unary(
        "lgamma",
        "log |gamma(x)|; infinite at 0, -1, -2, ... and for infinities. Near a zero below 0 the accuracy is that of \
         the terms. The derivative is digamma(x).",
        |b, x| math::lgamma(b, x[0]),
        |x, _, dy| vec![Some(dy * x[0].map("digamma", &[]))],
        (0.3, 6.0),
    ),
    unary(
        "digamma",
        "The derivative of lgamma; minus infinity at 0 (infinity at -0), NaN at -1, -2, .... Near a zero below 0 the \
         accuracy is that of the terms. Its derivatives are the polygamma functions.",
        |b, x| math::digamma(b, x[0]),
        |x, _, dy| vec![Some(dy * polygamma(1, x[0]))],
        (0.3, 6.0),
    ),
    RowDef {
        name: "zeta",
        doc: "Hurwitz' zeta function, the sum of (other + k)^-x over k = 0, 1, ... for x above 1 and positive other; \
               infinite for other = 0, -1, ..., NaN for other negative ones. The derivative by other is -x zeta(x + 1, \
               other); none flows to x. The accuracy is that for x up to 30.",
        args: &["x", "other"],
        rule: Rule::Float,
        lower: |b, x| math::zeta(b, x[0], x[1]),
        vjp: Some(|x, _, dy| vec![None, Some(-(dy * x[0] * (x[0] + 1.0).map("zeta", &[x[1]])))]),
        domain: (1.5, 6.0),
        ulp: 16.0,
    },
    unary(
        "i0",
        "The modified Bessel function of the first kind of order 0; NaN at infinity, as in PyTorch. The derivative is i1(x).",
        |b, x| math::i0(b, x[0]),
        |x, _, dy| vec![Some(dy * x[0].map("i1", &[]))],
        (-12.0, 12.0),
    )
    .within(4.0),
    unary(
        "i1",
        "The modified Bessel function of the first kind of order 1; NaN at infinity, as in PyTorch. The derivative is \
         i0(x) - y / x, 1/2 at 0.",
        |b, x| math::i1(b, x[0]),
        |x, y, dy| {
            let zero = x[0].eq(x[0].number(0.0));
            let safe = zero.select(x[0].number(1.0), x[0]);
            vec![Some(dy * zero.select(x[0].number(0.5), x[0].map("i0", &[]) - y / safe))]
        },
        (-12.0, 12.0),
    )
    .within(4.0),
    unary(
        "i0e",
        "e^-|x| times the modified Bessel function of the first kind of order 0.",
        |b, x| math::i0e(b, x[0]),
        |x, y, dy| vec![Some(dy * (x[0].map("i1e", &[]) - x[0].sign() * y))],
        (-12.0, 12.0),
    )
    .within(4.0),
    unary(
        "i1e",
        "e^-|x| times the modified Bessel function of the first kind of order 1.",
        |b, x| math::i1e(b, x[0]),
        |x, y, dy| {
            let zero = x[0].eq(x[0].number(0.0));
            let safe = zero.select(x[0].number(1.0), x[0]);
            let slope = x[0].map("i0e", &[]) - y * (safe.sign() + 1.0 / safe);
            vec![Some(dy * zero.select(x[0].number(0.5), slope))]
        },
        (-12.0, 12.0),
    )
    .within(4.0),
    unary(
        "sinc",
        "sin(pi x) / (pi x), 1 at 0 and exactly 0 at the other integers. The derivative at 0 is 0.",
        |b, x| math::sinc(b, x[0]),
        |x, y, dy| vec![Some(dy * sinc_slope(x[0], y))],
        (-4.0, 4.0),
    ),
    unary(
        "ndtr",
        "The distribution function of the standard normal distribution, erfc(-x / sqrt(2)) / 2.",
        |b, x| math::ndtr(b, x[0]),
        |x, _, dy| vec![Some(dy * (x[0] * x[0] * -0.5).exp() * (2.0 * PI).powf(-0.5))],
        (-4.0, 4.0),
    ),
    unary(
        "ndtri",
        "The inverse of ndtr: where the standard normal distribution function is x. Minus infinity at 0, infinity at 1, NaN \
         outside.",
        |b, x| math::ndtri(b, x[0]),
        |_, y, dy| vec![Some(dy * (y * y * 0.5).exp() * (2.0 * PI).sqrt())],
        (0.01, 0.99),
    )
    .within(5.0),
    unary(
        "erfcx",
        "e^(x^2) erfc(x), which does not overflow above 0. The derivative is 2 x y - 2 / sqrt(pi).",
        |b, x| math::erfcx(b, x[0]),
        |x, y, dy| vec![Some(dy * (x[0] * y * 2.0 - FRAC_2_SQRT_PI))],
        (-2.0, 12.0),
    )
    .within(2.0),
    unary(
        "entr",
        "-x log(x), 0 at 0 and minus infinity below. The derivative is -log(x) - 1.",
        |b, x| entr(b, x[0]),
        |x, _, dy| vec![Some(dy * (-x[0].log() - 1.0))],
        (0.1, 4.0),
    )
    .within(2.0),
    RowDef {
        name: "frexp_mantissa",
        doc: "x times the power of two that brings its magnitude into 1/2..1; zeros, infinities and NaN stay. The \
              first result of `frexp`, whose derivative is that power.",
        args: &["x"],
        rule: Rule::FloatOnly,
        lower: |b, x| math::frexp_mantissa(b, x[0]),
        vjp: Some(|x, _, dy| vec![Some(dy / x[0].map("frexp_exponent", &[]).map("exp2", &[]))]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "frexp_exponent",
        doc: "The exponent n of x = m 2^n with m in 1/2..1, as a float; 0 for zeros, infinities and NaN. The second \
              result of `frexp`. No gradient flows.",
        args: &["x"],
        rule: Rule::FloatOnly,
        lower: |b, x| math::frexp_exponent(b, x[0]),
        vjp: Some(|_, _, dy| vec![Some(dy.zeros())]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
];

//! Functions of one float: roots, exponentials, logarithms, trigonometry. Integers and bool become `f32`. The bodies of
//! the elementary ones are in [`crate::scalar::math`].

use super::{RowDef, Rule, Vjp};
use crate::scalar::{Block, V, math};
use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LN_10};

/// A row for a unary function with an accuracy of one unit in the last place.
pub(super) const fn unary(
    name: &'static str,
    doc: &'static str,
    lower: fn(&mut Block, &[V]) -> V,
    vjp: Vjp,
    domain: (f64, f64),
) -> RowDef {
    RowDef { name, doc, args: &["x"], rule: Rule::Float, lower, vjp: Some(vjp), domain, ulp: 1.0 }
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    unary(
        "sqrt",
        "The square root, correctly rounded; NaN below 0. The derivative at 0 is infinite.",
        |b, x| b.sqrt(x[0]),
        |_, y, dy| vec![Some(dy / (y * 2.0))],
        (0.0, 10.0),
    )
    .within(0.0),
    unary(
        "rsqrt",
        "1 / sqrt(x); infinite at 0, NaN below. The derivative is -x^(-3/2) / 2.",
        |b, x| math::rsqrt(b, x[0]),
        |_, y, dy| vec![Some(dy * -0.5 * (y * y * y))],
        (0.1, 10.0),
    ),
    unary(
        "exp",
        "e^x. Infinite or 0 where the dtype holds no such number.",
        |b, x| math::exp(b, x[0]),
        |_, y, dy| vec![Some(dy * y)],
        (-4.0, 4.0),
    ),
    unary(
        "exp2",
        "2^x. Infinite or 0 where the dtype holds no such number.",
        |b, x| math::exp2(b, x[0]),
        |_, y, dy| vec![Some(dy * y * LN_2)],
        (-4.0, 4.0),
    ),
    unary(
        "expm1",
        "e^x - 1, accurate near 0 too.",
        |b, x| math::expm1(b, x[0]),
        |_, y, dy| vec![Some(dy * (y + 1.0))],
        (-4.0, 4.0),
    ),
    unary(
        "log",
        "The natural logarithm; minus infinity at 0, NaN below. The derivative at 0 is infinite.",
        |b, x| math::log(b, x[0]),
        |x, _, dy| vec![Some(dy / x[0])],
        (0.1, 10.0),
    ),
    unary(
        "log2",
        "The logarithm to base 2; minus infinity at 0, NaN below.",
        |b, x| math::log2(b, x[0]),
        |x, _, dy| vec![Some(dy / (x[0] * LN_2))],
        (0.1, 10.0),
    ),
    unary(
        "log10",
        "The logarithm to base 10; minus infinity at 0, NaN below.",
        |b, x| math::log10(b, x[0]),
        |x, _, dy| vec![Some(dy / (x[0] * LN_10))],
        (0.1, 10.0),
    ),
    unary(
        "log1p",
        "log(1 + x), accurate near 0 too; minus infinity at -1, NaN below.",
        |b, x| math::log1p(b, x[0]),
        |x, _, dy| vec![Some(dy / (x[0] + 1.0))],
        (-0.9, 10.0),
    ),
    unary(
        "sinh",
        "(e^x - e^-x) / 2, the hyperbolic sine.",
        |b, x| math::sinh(b, x[0]),
        |x, _, dy| vec![Some(dy * x[0].cosh())],
        (-4.0, 4.0),
    ),
    unary(
        "cosh",
        "(e^x + e^-x) / 2, the hyperbolic cosine.",
        |b, x| math::cosh(b, x[0]),
        |x, _, dy| vec![Some(dy * x[0].sinh())],
        (-4.0, 4.0),
    ),
    unary(
        "tanh",
        "(e^x - e^-x) / (e^x + e^-x), the hyperbolic tangent. The derivative is 1 - tanh(x)^2.",
        |b, x| math::tanh(b, x[0]),
        |_, y, dy| vec![Some(dy * (1.0 - y * y))],
        (-4.0, 4.0),
    ),
    unary(
        "asinh",
        "log(x + sqrt(x^2 + 1)), the inverse hyperbolic sine.",
        |b, x| math::asinh(b, x[0]),
        |x, _, dy| vec![Some(dy * (x[0] * x[0] + 1.0).rsqrt())],
        (-4.0, 4.0),
    ),
    unary(
        "acosh",
        "log(x + sqrt(x^2 - 1)), the inverse hyperbolic cosine from 0 on; NaN below 1. The derivative at 1 is \
         infinite.",
        |b, x| math::acosh(b, x[0]),
        |x, _, dy| vec![Some(dy * (x[0] * x[0] - 1.0).rsqrt())],
        (1.1, 10.0),
    ),
    unary(
        "atanh",
        "log((1 + x) / (1 - x)) / 2, the inverse hyperbolic tangent; infinite at -1 and 1, NaN beyond.",
        |b, x| math::atanh(b, x[0]),
        |x, _, dy| vec![Some(dy / (1.0 - x[0] * x[0]))],
        (-0.9, 0.9),
    ),
    unary(
        "sigmoid",
        "1 / (1 + e^-x), without overflow. The derivative is y (1 - y).",
        |b, x| math::sigmoid(b, x[0]),
        |_, y, dy| vec![Some(dy * (y * (1.0 - y)))],
        (-4.0, 4.0),
    ),
    unary(
        "sin",
        "The sine of an angle in radians, however large; NaN for infinities.",
        |b, x| math::sin(b, x[0]),
        |x, _, dy| vec![Some(dy * x[0].cos())],
        (-4.0, 4.0),
    ),
    unary(
        "cos",
        "The cosine of an angle in radians, however large; NaN for infinities.",
        |b, x| math::cos(b, x[0]),
        |x, _, dy| vec![Some(-(dy * x[0].sin()))],
        (-4.0, 4.0),
    ),
    unary(
        "tan",
        "The tangent of an angle in radians, however large; NaN for infinities.",
        |b, x| math::tan(b, x[0]),
        |_, y, dy| vec![Some(dy * (y * y + 1.0))],
        (-1.4, 1.4),
    ),
    unary(
        "asin",
        "The angle in -pi/2..pi/2 whose sine is x; NaN outside -1..1. The derivative 1 / sqrt(1 - x^2) is infinite at \
         the ends.",
        |b, x| math::asin(b, x[0]),
        |x, _, dy| vec![Some(dy * (1.0 - x[0] * x[0]).rsqrt())],
        (-0.9, 0.9),
    ),
    unary(
        "acos",
        "The angle in 0..pi whose cosine is x; NaN outside -1..1. The derivative -1 / sqrt(1 - x^2) is infinite at the \
         ends.",
        |b, x| math::acos(b, x[0]),
        |x, _, dy| vec![Some(-(dy * (1.0 - x[0] * x[0]).rsqrt()))],
        (-0.9, 0.9),
    ),
    unary(
        "atan",
        "The angle in -pi/2..pi/2 whose tangent is x. The derivative is 1 / (1 + x^2).",
        |b, x| math::atan(b, x[0]),
        |x, _, dy| vec![Some(dy / (x[0] * x[0] + 1.0))],
        (-4.0, 4.0),
    ),
    unary(
        "erf",
        "2 / sqrt(pi) times the integral of e^(-t^2) over t from 0 to x, the error function.",
        |b, x| math::erf(b, x[0]),
        |x, _, dy| vec![Some(dy * FRAC_2_SQRT_PI * (-(x[0] * x[0])).exp())],
        (-3.0, 3.0),
    ),
    unary(
        "erfc",
        "1 - erf(x), accurate where that is small.",
        |b, x| math::erfc(b, x[0]),
        |x, _, dy| vec![Some(dy * -FRAC_2_SQRT_PI * (-(x[0] * x[0])).exp())],
        (-3.0, 3.0),
    ),
    unary(
        "erfinv",
        "The x whose erf is given; infinite at -1 and 1, NaN beyond.",
        |b, x| math::erfinv(b, x[0]),
        |_, y, dy| vec![Some(dy / FRAC_2_SQRT_PI * (y * y).exp())],
        (-0.9, 0.9),
    ),
];

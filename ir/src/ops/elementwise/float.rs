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
    unary("sqrt", "Square root; NaN below 0.", |b, x| b.sqrt(x[0]), |_, y, dy| vec![Some(dy / (y * 2.0))], (0.0, 10.0))
        .within(0.0),
    unary(
        "rsqrt",
        "1 / sqrt(x).",
        |b, x| math::rsqrt(b, x[0]),
        |_, y, dy| vec![Some(dy * -0.5 * (y * y * y))],
        (0.1, 10.0),
    ),
    unary("exp", "e^x.", |b, x| math::exp(b, x[0]), |_, y, dy| vec![Some(dy * y)], (-4.0, 4.0)),
    unary("exp2", "2^x.", |b, x| math::exp2(b, x[0]), |_, y, dy| vec![Some(dy * y * LN_2)], (-4.0, 4.0)),
    unary("expm1", "e^x - 1.", |b, x| math::expm1(b, x[0]), |_, y, dy| vec![Some(dy * (y + 1.0))], (-4.0, 4.0)),
    unary("log", "Natural logarithm.", |b, x| math::log(b, x[0]), |x, _, dy| vec![Some(dy / x[0])], (0.1, 10.0)),
    unary(
        "log2",
        "Logarithm to base 2.",
        |b, x| math::log2(b, x[0]),
        |x, _, dy| vec![Some(dy / (x[0] * LN_2))],
        (0.1, 10.0),
    ),
    unary(
        "log10",
        "Logarithm to base 10.",
        |b, x| math::log10(b, x[0]),
        |x, _, dy| vec![Some(dy / (x[0] * LN_10))],
        (0.1, 10.0),
    ),
    unary("log1p", "log(1 + x).", |b, x| math::log1p(b, x[0]), |x, _, dy| vec![Some(dy / (x[0] + 1.0))], (-0.9, 10.0)),
    unary("sinh", "Hyperbolic sine.", |b, x| math::sinh(b, x[0]), |x, _, dy| vec![Some(dy * x[0].cosh())], (-4.0, 4.0)),
    unary(
        "cosh",
        "Hyperbolic cosine.",
        |b, x| math::cosh(b, x[0]),
        |x, _, dy| vec![Some(dy * x[0].sinh())],
        (-4.0, 4.0),
    ),
    unary(
        "tanh",
        "Hyperbolic tangent.",
        |b, x| math::tanh(b, x[0]),
        |_, y, dy| vec![Some(dy * (1.0 - y * y))],
        (-4.0, 4.0),
    ),
    unary(
        "asinh",
        "Inverse hyperbolic sine.",
        |b, x| math::asinh(b, x[0]),
        |x, _, dy| vec![Some(dy * (x[0] * x[0] + 1.0).rsqrt())],
        (-4.0, 4.0),
    ),
    unary(
        "acosh",
        "Inverse hyperbolic cosine; NaN below 1.",
        |b, x| math::acosh(b, x[0]),
        |x, _, dy| vec![Some(dy * (x[0] * x[0] - 1.0).rsqrt())],
        (1.1, 10.0),
    ),
    unary(
        "atanh",
        "Inverse hyperbolic tangent; NaN outside -1..1.",
        |b, x| math::atanh(b, x[0]),
        |x, _, dy| vec![Some(dy / (1.0 - x[0] * x[0]))],
        (-0.9, 0.9),
    ),
    unary(
        "sigmoid",
        "1 / (1 + e^-x).",
        |b, x| math::sigmoid(b, x[0]),
        |_, y, dy| vec![Some(dy * (y * (1.0 - y)))],
        (-4.0, 4.0),
    ),
    unary("sin", "Sine.", |b, x| math::sin(b, x[0]), |x, _, dy| vec![Some(dy * x[0].cos())], (-4.0, 4.0)),
    unary("cos", "Cosine.", |b, x| math::cos(b, x[0]), |x, _, dy| vec![Some(-(dy * x[0].sin()))], (-4.0, 4.0)),
    unary("tan", "Tangent.", |b, x| math::tan(b, x[0]), |_, y, dy| vec![Some(dy * (y * y + 1.0))], (-1.4, 1.4)),
    unary(
        "asin",
        "Inverse sine; NaN outside -1..1.",
        |b, x| math::asin(b, x[0]),
        |x, _, dy| vec![Some(dy * (1.0 - x[0] * x[0]).rsqrt())],
        (-0.9, 0.9),
    ),
    unary(
        "acos",
        "Inverse cosine; NaN outside -1..1.",
        |b, x| math::acos(b, x[0]),
        |x, _, dy| vec![Some(-(dy * (1.0 - x[0] * x[0]).rsqrt()))],
        (-0.9, 0.9),
    ),
    unary(
        "atan",
        "Inverse tangent.",
        |b, x| math::atan(b, x[0]),
        |x, _, dy| vec![Some(dy / (x[0] * x[0] + 1.0))],
        (-4.0, 4.0),
    ),
    unary(
        "erf",
        "The error function.",
        |b, x| math::erf(b, x[0]),
        |x, _, dy| vec![Some(dy * FRAC_2_SQRT_PI * (-(x[0] * x[0])).exp())],
        (-3.0, 3.0),
    ),
    unary(
        "erfc",
        "1 - erf(x), without the cancellation.",
        |b, x| math::erfc(b, x[0]),
        |x, _, dy| vec![Some(dy * -FRAC_2_SQRT_PI * (-(x[0] * x[0])).exp())],
        (-3.0, 3.0),
    ),
    unary(
        "erfinv",
        "The inverse of erf; infinite at -1 and 1, NaN beyond.",
        |b, x| math::erfinv(b, x[0]),
        |_, y, dy| vec![Some(dy / FRAC_2_SQRT_PI * (y * y).exp())],
        (-0.9, 0.9),
    ),
];

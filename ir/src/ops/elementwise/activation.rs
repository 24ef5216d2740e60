//! Activations: functions of one float, some with parameters (which are operands, so that a slope may change at run time).
//!
//! Each is one row, so a half float is rounded once, and its derivative is written out: it never multiplies an infinity
//! of the branch that was not taken by 0.

use super::{RowDef, Rule, Vjp};
use crate::builder::Ex;
use crate::scalar::{Block, V, math};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// A row for an activation of floats with an accuracy of one unit in the last place.
const fn float(
    name: &'static str,
    doc: &'static str,
    args: &'static [&'static str],
    lower: fn(&mut Block, &[V]) -> V,
    vjp: Vjp,
) -> RowDef {
    RowDef { name, doc, args, rule: Rule::FloatOnly, lower, vjp: Some(vjp), domain: (-4.0, 4.0), ulp: 1.0 }
}

/// Where `x > 0`: `a`, else `c`.
fn above_zero(b: &mut Block, x: V, a: V, c: V) -> V {
    let zero = b.float(b.ty(x), 0.0);
    let above = b.lt(zero, x);
    b.select(above, a, c)
}

/// `x` where it is not above 0, else 0: keeps the exponential of the other branch finite.
fn below<'b>(x: Ex<'b>) -> Ex<'b> {
    positive(x).select(x.zeros(), x)
}

fn positive<'b>(x: Ex<'b>) -> Ex<'b> {
    x.gt(x.number(0.0))
}

fn softplus(b: &mut Block, x: V, beta: V, threshold: V) -> V {
    let (z, s) = (b.mul(x, beta), math::softplus(b, x, beta));
    let linear = b.lt(threshold, z);
    b.select(linear, x, s)
}

const CUBIC: f64 = 0.044_715;
const SQRT_2_PI: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

/// The slope `a` below 0 of the scaled exponential linear unit, and its scale.
const SELU: (f64, f64) = (1.673_263_242_354_377_3, 1.050_700_987_355_480_5);

/// `scale * (x if x > 0 else alpha (e^(x / width) - 1))`.
fn elu(b: &mut Block, x: V, alpha: V, width: Option<V>) -> V {
    let z = width.map_or(x, |w| b.div(x, w));
    let e = math::expm1(b, z);
    let e = b.mul(alpha, e);
    above_zero(b, x, x, e)
}

/// `clamp(x + 3, 0, 6)`.
fn ramp(b: &mut Block, x: V) -> V {
    let ty = b.ty(x);
    let (zero, three, six) = (b.float(ty, 0.0), b.float(ty, 3.0), b.float(ty, 6.0));
    let r = b.add(x, three);
    // In this operand order NaN stays NaN.
    let r = b.max(zero, r);
    b.min(six, r)
}

/// A sixth of `x` times the ramp. As in PyTorch, the product overflows for the largest `x`.
fn times_ramp(b: &mut Block, x: V) -> V {
    let (r, six) = (ramp(b, x), b.float(b.ty(x), 6.0));
    let y = b.mul(x, r);
    b.div(y, six)
}

/// Cotangent of a function that is `x` above 0 and 0 below, so that NaN passes it on.
fn gate<'b>(y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
    vec![Some(y.le(y.number(0.0)).select(dy.zeros(), dy))]
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    RowDef {
        name: "relu",
        doc: "x above 0, else 0; NaN stays. Not bool. The derivative at 0 is 0.",
        args: &["x"],
        rule: Rule::NoBool("bool inputs are not supported for relu"),
        lower: |b, x| {
            let zero = b.int(b.ty(x[0]), 0);
            // Not `<=`: -0.0 stays, and NaN too.
            let below = b.lt(x[0], zero);
            b.select(below, zero, x[0])
        },
        vjp: Some(|_, y, dy| gate(y, dy)),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    float(
        "leaky_relu",
        "x above 0, else x * negative_slope, also the gradient at 0.",
        &["x", "negative_slope"],
        |b, x| {
            let low = b.mul(x[0], x[1]);
            above_zero(b, x[0], x[0], low)
        },
        |x, _, dy| {
            let up = positive(x[0]);
            vec![Some(up.select(dy, dy * x[1])), Some(up.select(dy.zeros(), dy * x[0]))]
        },
    )
    .within(0.0),
    float(
        "silu",
        "x * sigmoid(x), also known as swish. Floats only.",
        &["x"],
        |b, x| math::silu(b, x[0]),
        |x, _, dy| {
            let s = x[0].sigmoid();
            vec![Some(dy * (s * (x[0] * (1.0 - s) + 1.0)))]
        },
    ),
    float(
        "gelu",
        "x times the normal distribution function: x (1 + erf(x / sqrt 2)) / 2.",
        &["x"],
        |b, x| math::gelu(b, x[0]),
        |x, _, dy| {
            let cdf = (x[0] * -FRAC_1_SQRT_2).map("erfc", &[]) * 0.5;
            let pdf = (x[0] * x[0] * -0.5).exp() * (FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * 0.5);
            vec![Some(dy * (cdf + x[0] * pdf))]
        },
    ),
    float(
        "gelu_tanh",
        "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2: what `gelu(x, approximate=\"tanh\")` computes (Hendrycks \
         and Gimpel, 2016). Floats only.",
        &["x"],
        |b, x| math::gelu_tanh(b, x[0]),
        |x, _, dy| {
            let x = x[0];
            let t = ((x + x * x * x * CUBIC) * SQRT_2_PI).tanh();
            let slope = (x * x * (3.0 * CUBIC) + 1.0) * SQRT_2_PI;
            vec![Some(dy * ((t + 1.0) * 0.5 + x * 0.5 * (1.0 - t * t) * slope))]
        },
    ),
    float(
        "mish",
        "x * tanh(log(1 + e^x)). Floats only.",
        &["x"],
        |b, x| math::mish(b, x[0]),
        |x, _, dy| {
            let t = x[0].map("logaddexp", &[x[0].number(0.0)]).tanh();
            vec![Some(dy * (t + x[0] * x[0].sigmoid() * (1.0 - t * t)))]
        },
    ),
    float(
        "softplus",
        "log(1 + e^(beta x)) / beta, and x itself where beta x is above the threshold.",
        &["x", "beta", "threshold"],
        |b, x| softplus(b, x[0], x[1], x[2]),
        |x, _, dy| {
            let z = x[0] * x[1];
            vec![Some(z.gt(x[2]).select(dy, dy * z.sigmoid())), None, None]
        },
    )
    .within(2.0),
    float(
        "logsigmoid",
        "log(sigmoid(x)) = -log(1 + e^-x) without overflow. Floats only.",
        &["x"],
        |b, x| math::logsigmoid(b, x[0]),
        |x, _, dy| vec![Some(dy * (-x[0]).sigmoid())],
    ),
    float(
        "elu",
        "x above 0, else alpha (e^x - 1).",
        &["x", "alpha"],
        |b, x| elu(b, x[0], x[1], None),
        |x, _, dy| {
            let (up, z) = (positive(x[0]), below(x[0]));
            vec![Some(up.select(dy, dy * x[1] * z.exp())), Some(dy * z.expm1())]
        },
    )
    .within(2.0),
    float(
        "celu",
        "x above 0, else alpha (e^(x / alpha) - 1).",
        &["x", "alpha"],
        |b, x| elu(b, x[0], x[1], Some(x[1])),
        |x, _, dy| {
            let e = (below(x[0]) / x[1]).exp();
            vec![Some(positive(x[0]).select(dy, dy * e)), None]
        },
    )
    .within(2.0),
    float(
        "selu",
        "1.0507 x above 0, else 1.0507 * 1.6733 (e^x - 1): Klambauer et al., Self-Normalizing Neural Networks (2017). \
         Floats only.",
        &["x"],
        |b, x| {
            let ty = b.ty(x[0]);
            let (alpha, scale) = (b.float(ty, SELU.0), b.float(ty, SELU.1));
            let e = elu(b, x[0], alpha, None);
            b.mul(scale, e)
        },
        |x, _, dy| {
            let low = dy * (SELU.0 * SELU.1) * below(x[0]).exp();
            vec![Some(positive(x[0]).select(dy * SELU.1, low))]
        },
    )
    .within(3.0),
    float(
        "hardsigmoid",
        "clamp(x + 3, 0, 6) / 6. Floats only. The derivative at both edges is 0.",
        &["x"],
        |b, x| {
            let (r, six) = (ramp(b, x[0]), b.float(b.ty(x[0]), 6.0));
            b.div(r, six)
        },
        |x, _, dy| {
            let inside = x[0].abs().lt(x[0].number(3.0));
            vec![Some(inside.select(dy / 6.0, dy.zeros()))]
        },
    ),
    float(
        "hardswish",
        "x clamp(x + 3, 0, 6) / 6. Floats only. The derivative at -3 is 0, at 3 it is 1.",
        &["x"],
        |b, x| times_ramp(b, x[0]),
        |x, _, dy| {
            let (low, high) = (x[0].le(x[0].number(-3.0)), x[0].ge(x[0].number(3.0)));
            let middle = dy * (x[0] / 3.0 + 0.5);
            vec![Some(low.select(dy.zeros(), high.select(dy, middle)))]
        },
    )
    .within(2.0),
    float(
        "softsign",
        "x / (1 + |x|).",
        &["x"],
        |b, x| {
            let (m, one) = (b.abs(x[0]), b.float(b.ty(x[0]), 1.0));
            let d = b.add(m, one);
            b.div(x[0], d)
        },
        |x, _, dy| {
            let d = x[0].abs() + 1.0;
            vec![Some(dy / (d * d))]
        },
    )
    .within(1.5),
    float(
        "tanhshrink",
        "x - tanh(x).",
        &["x"],
        |b, x| math::tanhshrink(b, x[0]),
        |x, _, dy| {
            let t = x[0].tanh();
            vec![Some(dy * (t * t))]
        },
    ),
    RowDef {
        name: "bce",
        doc: "-(target log x + (1 - target) log(1 - x)) of a probability x and a target, with logarithms of at least \
              -100: an element of `binary_cross_entropy`. Floats only.",
        args: &["x", "target"],
        rule: Rule::FloatOnly,
        lower: |b, x| {
            let (one, bound) = (b.float(b.ty(x[0]), 1.0), b.float(b.ty(x[0]), -100.0));
            let (minus, l) = (b.neg(x[0]), math::log(b, x[0]));
            let r = math::log1p(b, minus);
            // In this operand order NaN stays NaN.
            let (l, r) = (b.max(bound, l), b.max(bound, r));
            let rest = b.sub(x[1], one);
            let (p, q) = (b.mul(rest, r), b.mul(x[1], l));
            b.sub(p, q)
        },
        vjp: Some(|x, _, dy| {
            let (p, t) = (x[0], x[1]);
            let spread = ((1.0 - p) * p).map("clamp_min", &[p.number(1e-12)]);
            vec![Some(dy * (p - t) / spread), Some(dy * ((-p).log1p() - p.log()))]
        }),
        domain: (0.1, 0.9),
        ulp: 4.0,
    },
];

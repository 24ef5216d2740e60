//! What each row is measured against: the same operations for exact rows, else a real function by its `f64` value.
//!
//! The functions of pxfm (BSD-3-Clause OR Apache-2.0; pure Rust) are within about half a unit in `f64`, far below a unit
//! in `f32`. CORE-MATH is correctly rounded, but its crate builds C code, which the tests of a project in Rust alone do
//! without. Formulas composed from several functions are written so that they cancel nowhere; their own error, a few
//! units in `f64`, is a part of what is measured there.

use crate::measure::{finite, i1};
use crate::units::{digamma, exp, lgamma, logistic, ndtri};
use pxfm::*;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// The value of a function.
pub enum Value {
    /// The same bits, in `f32` and `f64`.
    Exact(fn(&[f32]) -> f32, fn(&[f64]) -> f64),
    /// The real function, rounded to `f64` or close to it.
    Real(fn(&[f64]) -> f64),
}

type Ranges = &'static [(f64, f64)];

/// A function with what tests need to know about it.
pub struct Reference {
    pub name: &'static str,
    pub value: Value,
    /// A correctly rounded `f32` function, for sweeps.
    pub quick: Option<fn(f32) -> f32>,
    /// Intervals that get dense samples.
    pub ranges: Ranges,
    /// Whether operands outside the intervals say nothing.
    pub inside: bool,
    /// The values of operands after the first, where they are settings.
    pub settings: &'static [&'static [f64]],
    /// How many units the `f64` value itself may be off, where the formula has several steps.
    pub own: f64,
    /// The magnitude of the terms, where the function is allowed to cancel.
    pub terms: Option<fn(&[f64]) -> f64>,
    /// PyTorch's formula has the result times this on its way: where that overflows, so does the result.
    pub factor: f64,
}

impl Reference {
    /// A power of two: results below are measured in its units.
    pub fn terms(&self, x: &[f64]) -> f64 {
        self.terms.map_or(0.0, |f| f(x).abs().clamp(1e-300, 1e300).log2().floor().exp2())
    }

    /// The value in a type whose largest number is `max`.
    pub fn within(&self, y: f64, max: f64) -> f64 {
        if (y * self.factor).abs() > max { y * f64::INFINITY } else { y }
    }

    const fn overflows(self, factor: f64) -> Reference {
        Reference { factor, ..self }
    }

    const fn settings(self, settings: &'static [&'static [f64]]) -> Reference {
        Reference { settings, ..self }
    }

    const fn steps(self, own: f64) -> Reference {
        Reference { own, ..self }
    }

    const fn cancels(self, terms: fn(&[f64]) -> f64) -> Reference {
        Reference { terms: Some(terms), ..self }
    }

    const fn inside(self) -> Reference {
        Reference { inside: true, ..self }
    }
}

const fn new(name: &'static str, value: Value, quick: Option<fn(f32) -> f32>, ranges: Ranges) -> Reference {
    Reference { name, value, quick, ranges, inside: false, settings: &[], own: 0.0, terms: None, factor: 1.0 }
}

const fn one(name: &'static str, quick: fn(f32) -> f32, f: fn(&[f64]) -> f64, ranges: Ranges) -> Reference {
    new(name, Value::Real(f), Some(quick), ranges)
}

const fn real(name: &'static str, f: fn(&[f64]) -> f64, ranges: Ranges) -> Reference {
    new(name, Value::Real(f), None, ranges)
}

/// The same closure for both types.
macro_rules! exact {
    ($name:literal, $ranges:expr, $f:expr) => {
        new($name, Value::Exact($f, $f), None, $ranges)
    };
}

const GAMMA: Ranges = &[(0.0, 3.2), (-10.0, 10.0), (0.0, 1e6), (0.9, 1.1), (1.4, 1.5), (1.9, 2.1), (-300.0, 0.0)];
const SMALL: Ranges = &[(-9.0, 9.0)];

/// The reference of a row.
pub fn find(name: &str) -> Option<&'static Reference> {
    REFERENCES.iter().find(|r| r.name == name)
}

static REFERENCES: &[Reference] = &[
    exact!("add", SMALL, |x| x[0] + x[1]),
    exact!("sub", SMALL, |x| x[0] - x[1]),
    exact!("mul", SMALL, |x| x[0] * x[1]),
    exact!("div", SMALL, |x| x[0] / x[1]),
    exact!("neg", SMALL, |x| -x[0]),
    exact!("abs", SMALL, |x| x[0].abs()),
    exact!("sign", SMALL, |x| if x[0] > 0.0 {
        1.0
    } else if x[0] < 0.0 {
        -1.0
    } else {
        0.0
    }),
    // Two zeros give the second one.
    exact!("maximum", SMALL, |x| if x[0] > x[1] || x[0].is_nan() { x[0] } else { x[1] }),
    exact!("minimum", SMALL, |x| if x[0] < x[1] || x[0].is_nan() { x[0] } else { x[1] }),
    exact!("fmax", SMALL, |x| if x[0] > x[1] || x[1].is_nan() { x[0] } else { x[1] }),
    exact!("fmin", SMALL, |x| if x[0] < x[1] || x[1].is_nan() { x[0] } else { x[1] }),
    exact!("clamp_min", SMALL, |x| if x[0] > x[1] || x[0].is_nan() { x[0] } else { x[1] }),
    exact!("clamp_max", SMALL, |x| if x[0] < x[1] || x[0].is_nan() { x[0] } else { x[1] }),
    exact!("copysign", SMALL, |x| x[0].copysign(x[1])),
    exact!("nextafter", &[(-2.0, 2.0), (-1e-44, 1e-44)], |x| match x[0].partial_cmp(&x[1]) {
        None => x[0] + x[1],
        Some(std::cmp::Ordering::Equal) => x[1],
        Some(std::cmp::Ordering::Less) => x[0].next_up(),
        Some(std::cmp::Ordering::Greater) => x[0].next_down(),
    }),
    exact!("trunc_divide", SMALL, |x| (x[0] / x[1]).trunc()),
    exact!("fmod", &[(-9.0, 9.0), (-1e30, 1e30)], |x| x[0] % x[1]),
    exact!("remainder", &[(-9.0, 9.0), (-1e30, 1e30)], |x| {
        let r = x[0] % x[1];
        if r != 0.0 && (r < 0.0) != (x[1] < 0.0) { r + x[1] } else { r }
    }),
    exact!("floor_divide", &[(-9.0, 9.0), (-1e30, 1e30)], |x| {
        if x[1] == 0.0 {
            return x[0] / x[1];
        }
        let r = x[0] % x[1];
        let q = (x[0] - r) / x[1];
        let q = if r != 0.0 && (r < 0.0) != (x[1] < 0.0) { q - 1.0 } else { q };
        if q == 0.0 {
            return (x[0] / x[1]).signum() * 0.0;
        }
        if q - q.floor() > 0.5 { q.floor() + 1.0 } else { q.floor() }
    }),
    exact!("reciprocal", SMALL, |x| 1.0 / x[0]),
    exact!("floor", SMALL, |x| x[0].floor()),
    exact!("ceil", SMALL, |x| x[0].ceil()),
    exact!("trunc", SMALL, |x| x[0].trunc()),
    exact!("round", SMALL, |x| x[0].round_ties_even()),
    exact!("frac", SMALL, |x| x[0] - x[0].trunc()),
    exact!("square", SMALL, |x| x[0] * x[0]),
    exact!("sqrt", &[(0.0, 10.0)], |x| x[0].sqrt()),
    exact!("relu", SMALL, |x| if x[0] < 0.0 { 0.0 } else { x[0] }),
    exact!("leaky_relu", SMALL, |x| if x[0] > 0.0 { x[0] } else { x[0] * x[1] }).settings(&[&[0.0078125, 0.25, 1.0]]),
    real("cube", |x| x[0] * x[0] * x[0], SMALL),
    one("rsqrt", f_rsqrtf, |x| f_rsqrt(x[0]), &[(0.0, 4.0)]),
    one("exp", f_expf, |x| exp(x[0]), &[(-104.0, 89.0), (-746.0, 710.0), (-1.0, 1.0)]),
    one("exp2", f_exp2f, |x| f_exp2(x[0]), &[(-151.0, 129.0), (-1076.0, 1025.0), (-1.0, 1.0)]),
    one("expm1", f_expm1f, |x| f_expm1(x[0]), &[(-20.0, 89.0), (-40.0, 710.0), (-1.0, 1.0)]),
    one("sigmoid", f_logisticf, |x| logistic(x[0]), &[(-110.0, 20.0), (-746.0, 40.0), (-3.0, 3.0)]),
    one("tanh", f_tanhf, |x| f_tanh(x[0]), &[(-10.0, 10.0), (-20.0, 20.0), (-1.0, 1.0)]),
    one("sinh", f_sinhf, |x| odd(x[0], f_sinh), &[(-90.0, 90.0), (-711.0, 711.0), (-1.0, 1.0)]),
    one("cosh", f_coshf, |x| f_cosh(x[0]), &[(-90.0, 90.0), (-711.0, 711.0), (-1.0, 1.0)]),
    one("log", f_logf, |x| f_log(x[0]), &[(0.0, 3.0), (0.99, 1.01)]),
    one("log2", f_log2f, |x| f_log2(x[0]), &[(0.0, 3.0), (0.99, 1.01)]),
    one("log10", f_log10f, |x| f_log10(x[0]), &[(0.0, 3.0), (0.99, 1.01)]),
    one("log1p", f_log1pf, |x| f_log1p(x[0]), &[(-1.0, 3.0), (-0.01, 0.01)]),
    one("asinh", f_asinhf, |x| f_asinh(x[0]), &[(-10.0, 10.0), (-0.1, 0.1)]),
    one("acosh", f_acoshf, |x| f_acosh(x[0]), &[(1.0, 10.0), (1.0, 1.01)]),
    one("atanh", f_atanhf, |x| f_atanh(x[0]), &[(-1.0, 1.0), (-0.1, 0.1)]),
    one("sin", f_sinf, |x| f_sin(x[0]), &[(-4.0, 4.0), (-1e4, 1e4), (-1e9, 1e9)]),
    one("cos", f_cosf, |x| f_cos(x[0]), &[(-4.0, 4.0), (-1e4, 1e4), (-1e9, 1e9)]),
    one("tan", f_tanf, |x| f_tan(x[0]), &[(-4.0, 4.0), (-1e4, 1e4), (-1e9, 1e9)]),
    one("asin", f_asinf, |x| f_asin(x[0]), &[(-1.0, 1.0), (0.49, 0.51)]),
    one("acos", f_acosf, |x| f_acos(x[0]), &[(-1.0, 1.0), (0.49, 0.51)]),
    one("atan", f_atanf, |x| f_atan(x[0]), &[(-3.0, 3.0), (0.41, 0.42), (0.99, 1.01)]),
    one("erf", f_erff, |x| f_erf(x[0]), &[(-4.0, 4.0), (-6.0, 6.0), (-1.0, 1.0)]),
    one("erfc", f_erfcf, |x| f_erfc(x[0]), &[(-4.0, 10.5), (-6.0, 28.0), (-1.0, 1.0)]),
    real("erfinv", |x| odd(x[0], f_erfinv), &[(-1.0, 1.0), (0.999, 1.0), (-1.0, -0.9999999)]),
    real("pow", |x| pow(x[0], x[1]), &[(0.0, 10.0), (0.9, 1.1), (-300.0, 300.0), (0.0, 1e9)]),
    real("hypot", |x| f_hypot(x[0], x[1]), &[(-3.0, 3.0), (0.0, 1e20), (-1e-30, 1e-30)]),
    real("atan2", |x| atan2(x[0], x[1]), &[(-3.0, 3.0), (0.9, 1.1), (-1e6, 1e6)]),
    real("logaddexp", |x| logaddexp(x[0], x[1]), &[(-10.0, 10.0), (-1.0, 1.0), (-200.0, 200.0)]).cancels(|_| 0.25),
    real("xlogy", |x| xlog(x[0], x[1], f_log(x[1])), &[(0.0, 3.0), (0.99, 1.01), (0.0, 1e9)]),
    real("xlog1py", |x| xlog(x[0], x[1], f_log1p(x[1])), &[(-1.0, 3.0), (-0.01, 0.01), (0.0, 1e9)]),
    exact!("fma", SMALL, |x| x[0].mul_add(x[1], x[2])),
    exact!("heaviside", SMALL, |x| if x[0] > 0.0 {
        1.0
    } else if x[0] == 0.0 {
        x[1]
    } else {
        0.0
    }),
    new("frexp_mantissa", Value::Exact(|x| frexp(x[0].into()).0 as f32, |x| frexp(x[0]).0), None, SMALL),
    new("frexp_exponent", Value::Exact(|x| frexp(x[0].into()).1 as f32, |x| frexp(x[0]).1.into()), None, SMALL),
    real("logaddexp2", |x| logaddexp2(x[0], x[1]), &[(-10.0, 10.0), (-1.0, 1.0), (-200.0, 200.0)]).cancels(|_| 0.25),
    real("lgamma", |x| lgamma(x[0]), GAMMA).cancels(|x| if x[0] < 0.0 { f_lgamma(-x[0]).max(1.0) } else { 0.0 }),
    real("digamma", |x| digamma(x[0]), GAMMA)
        .cancels(|x| if x[0] < 0.0 { f_digamma(1.0 - x[0]).max(1.0) } else { 0.0 }),
    real("zeta", |x| zeta(x[0], x[1]), &[(1.0, 9.0), (1.0, 30.0), (0.0, 2.0), (1.0, 30.0)])
        .steps(8.0)
        .cancels(zeta_terms),
    one("i0", |x| finite(x, f_i0f), |x| finite(x[0], f_i0), &[(-10.0, 10.0), (-92.0, 92.0), (-714.0, 714.0)]),
    one("i1", |x| finite(x, f_i1f), |x| finite(x[0], i1), &[(-10.0, 10.0), (-92.0, 92.0), (-714.0, 714.0)]),
    one("i0e", f_i0ef, |x| f_i0e(x[0]), &[(-10.0, 10.0), (-92.0, 92.0), (-1e4, 1e4)]),
    real("i1e", |x| f_i1e(x[0].abs()).copysign(x[0]), &[(-10.0, 10.0), (-92.0, 92.0), (-1e4, 1e4)]),
    real("ndtri", |x| ndtri(x[0]), &[(0.0, 1.0), (0.4, 0.6), (0.0, 1e-9)]).steps(2.0),
    one("sinc", f_sincpif, |x| sinc(x[0]), &[(-3.0, 3.0), (-1000.0, 1000.0)]),
    real("ndtr", |x| normal(x[0], 1.0), &[(-15.0, 8.0), (-39.0, 8.0), (-3.0, 3.0)]).steps(6.0),
    one("erfcx", f_erfcxf, |x| erfcx(x[0]), &[(-9.4, 12.0), (-26.7, 30.0), (-1.0, 1.0)]),
    real("entr", |x| entr(x[0]), &[(0.0, 3.0), (0.99, 1.01)]),
    real("silu", |x| silu(x[0]), &[(-110.0, 20.0), (-746.0, 40.0), (-3.0, 3.0)]).steps(2.0),
    real("gelu", |x| gelu(x[0]), &[(-15.0, 8.0), (-39.0, 8.0), (-3.0, 3.0)]).steps(6.0).overflows(2.0),
    real("gelu_tanh", |x| gelu_tanh(x[0]), &[(-11.0, 8.0), (-22.0, 8.0), (-3.0, 3.0)]).steps(4.0),
    real("mish", |x| mish(x[0]), &[(-110.0, 20.0), (-746.0, 40.0), (-3.0, 3.0)]).steps(4.0),
    real("softplus", softplus, &[(-110.0, 20.0), (-746.0, 40.0), (-3.0, 3.0)])
        .settings(&[&[1.0, 0.5, 3.0, 0.7], &[20.0]]),
    real("logsigmoid", |x| -log1pexp(-x[0], 0.0), &[(-20.0, 110.0), (-40.0, 746.0), (-3.0, 3.0)]),
    real("elu", |x| elu(x[0], x[1], 1.0), &[(-20.0, 3.0), (-1.0, 0.0)]).settings(&[&[1.0, 0.7, 3.0]]),
    real("celu", |x| elu(x[0], x[1], x[1]), &[(-20.0, 3.0), (-1.0, 0.0)]).settings(&[&[1.0, 0.7, 3.0]]),
    real("selu", |x| selu(x[0]), &[(-20.0, 3.0), (-1.0, 0.0)]),
    real("hardsigmoid", |x| (x[0] + 3.0).clamp(0.0, 6.0) / 6.0, &[(-4.0, 4.0)]),
    real("hardswish", |x| x[0] * ((x[0] + 3.0).clamp(0.0, 6.0) / 6.0), &[(-4.0, 4.0)]).overflows(6.0),
    real("softsign", |x| x[0] / (1.0 + x[0].abs()), &[(-4.0, 4.0)]),
    real("tanhshrink", |x| tanhshrink(x[0]), &[(-10.0, 10.0), (-1.0, 1.0)]).steps(6.0),
    real("bce", |x| bce(x[0], x[1]), &[(0.0, 1.0)]).inside(),
];

/// pxfm gives 0 for -0 here.
fn odd(x: f64, f: fn(f64) -> f64) -> f64 {
    if x == 0.0 { x } else { f(x) }
}

/// The quotient where it is so small that its arctangent is itself; pxfm loses its sign.
fn atan2(y: f64, x: f64) -> f64 {
    if x > 0.0 && (y / x).abs() < 1e-300 { y / x } else { f_atan2(y, x) }
}

/// pxfm gives NaN for 1 to the power NaN, and infinity for the largest numbers to small negative powers.
fn pow(x: f64, y: f64) -> f64 {
    if x == 1.0 || y == 0.0 {
        1.0
    } else if x.abs() > 1e300 && x.is_finite() && y.abs() < 2.0 {
        // A power of a power of two is exact, or rounded once.
        f_pow(x * 2f64.powi(-512), y) * f_exp2(512.0 * y)
    } else {
        f_pow(x, y)
    }
}

/// `x e^x` for `x` far below 0, also where `e^x` is subnormal.
fn times_exp(x: f64) -> f64 {
    if x < -700.0 { x * exp(x + 100.0) * exp(-50.0) * exp(-50.0) } else { x * exp(x) }
}

fn silu(x: f64) -> f64 {
    match x {
        f64::INFINITY => x,
        f64::NEG_INFINITY => f64::NAN,
        _ if x < -40.0 => times_exp(x),
        _ => x * f_logistic(x),
    }
}

/// `scale erfc(-x / sqrt 2) / 2`, as `e^(-s^2) erfcx(s)` where `s` is large; `s` and its square are sums of two, since
/// the exponential makes much of their errors.
fn normal(x: f64, scale: f64) -> f64 {
    let s = -x * FRAC_1_SQRT_2;
    // 1/sqrt(2) is FRAC_1_SQRT_2 and this.
    let rest = (-x).mul_add(FRAC_1_SQRT_2, -s) + x * 4.833_646_656_726_457e-17;
    if !(0.5..40.0).contains(&s) {
        let slope = if s.abs() < 6.0 { rest * FRAC_2_SQRT_PI * exp(-s * s) } else { 0.0 };
        return scale * 0.5 * (f_erfc(s) - slope);
    }
    let square = s * s;
    let low = s.mul_add(s, -square) + 2.0 * s * rest;
    let half = exp(-square / 2.0);
    let t = f_erfcx(s) - rest * (FRAC_2_SQRT_PI - 2.0 * s * f_erfcx(s));
    scale * 0.5 * t * half * (1.0 - low) * half
}

fn gelu(x: f64) -> f64 {
    // PyTorch multiplies infinity by zero, at both.
    if x.is_infinite() { f64::NAN } else { normal(x, x) }
}

/// A sum of two, for arguments of exponentials.
#[derive(Clone, Copy)]
struct Two(f64, f64);

impl Two {
    fn mul(self, o: Two) -> Two {
        let p = self.0 * o.0;
        Two(p, self.0.mul_add(o.0, -p) + (self.0 * o.1 + self.1 * o.0))
    }

    fn add(self, o: Two) -> Two {
        let s = self.0 + o.0;
        let b = s - self.0;
        Two(s, (self.0 - (s - b)) + (o.0 - b) + (self.1 + o.1))
    }
}

fn gelu_tanh(x: f64) -> f64 {
    // sqrt(8 / pi), and 0.044715 times it.
    let (slope, cubic) = (
        Two(1.595_769_121_605_730_8, -9.969_308_809_110_92e-17),
        Two(0.071_354_816_272_600_25, -6.175_149_918_155_315e-19),
    );
    if x.is_infinite() || x.is_nan() {
        return if x > 0.0 { x } else { f64::NAN };
    }
    let b = Two(x.clamp(-100.0, 100.0), 0.0);
    let z = b.mul(slope.add(b.mul(b).mul(cubic)));
    if z.0 < -40.0 {
        x * exp(z.0 / 2.0) * (1.0 + z.1) * exp(z.0 / 2.0)
    } else {
        x * (logistic(z.0) * (1.0 + z.1 * logistic(-z.0)))
    }
}

fn mish(x: f64) -> f64 {
    if x == f64::NEG_INFINITY {
        return f64::NAN;
    }
    if x < -40.0 {
        return times_exp(x);
    }
    if x < 0.0 {
        let e = exp(x);
        x * (e * (e + 2.0) / (e * (e + 2.0) + 2.0))
    } else {
        let n = exp(-x);
        x * ((1.0 + 2.0 * n) / (1.0 + 2.0 * n + 2.0 * n * n))
    }
}

/// `log(1 + e^(z + rest))`.
fn log1pexp(z: f64, rest: f64) -> f64 {
    let y = if z == f64::INFINITY { z } else { z.max(0.0) + f_log1p(exp(-z.abs())) };
    if z.is_nan() {
        z
    } else if rest == 0.0 || z.is_infinite() {
        y
    } else {
        y + rest * logistic(z)
    }
}

fn softplus(x: &[f64]) -> f64 {
    let z = x[0] * x[1];
    if z > x[2] { x[0] } else { log1pexp(z, x[0].mul_add(x[1], -z)) / x[1] }
}

fn elu(x: f64, alpha: f64, width: f64) -> f64 {
    if x > 0.0 { x } else { alpha * f_expm1(x / width) }
}

fn selu(x: f64) -> f64 {
    let (alpha, scale) = (1.673_263_242_354_377_3, 1.050_700_987_355_480_5);
    scale * elu(x, alpha, 1.0)
}

/// `(x cosh x - sinh x) / cosh x`, whose numerator is the sum of `2k x^(2k+1) / (2k+1)!`.
fn tanhshrink(x: f64) -> f64 {
    if x.abs() > 1.0 || x.is_nan() {
        return x - f_tanh(x);
    }
    let factorial = |n: i32| (1..=n).map(f64::from).product::<f64>();
    let series = (1..12).rev().fold(0.0, |p, k| p * (x * x) + 2.0 * f64::from(k) / factorial(2 * k + 1));
    x * ((x * x) * series / f_cosh(x))
}

fn bce(x: f64, target: f64) -> f64 {
    -(target * f_log(x).max(-100.0) + (1.0 - target) * f_log1p(-x).max(-100.0))
}

fn logaddexp(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    if x == y && x.is_infinite() { x } else { x.max(y) + f_log1p(exp(-(x - y).abs())) }
}

fn xlog(x: f64, y: f64, log: f64) -> f64 {
    if y.is_nan() {
        y
    } else if x == 0.0 {
        0.0
    } else {
        x * log
    }
}

/// pxfm gives -0 at some integers.
fn sinc(x: f64) -> f64 {
    if x != 0.0 && x.is_finite() && x.trunc() == x { 0.0 } else { f_sincpi(x) }
}

/// pxfm gives NaN far below 0, where `2 e^(x^2)` is all there is, and for the largest numbers.
fn erfcx(x: f64) -> f64 {
    if x < -30.0 {
        f64::INFINITY
    } else if x < -20.0 {
        let square = x * x;
        2.0 * exp(square) * (1.0 + x.mul_add(x, -square).clamp(-1.0, 1.0))
    } else if x > 1e100 {
        0.5 * FRAC_2_SQRT_PI / x
    } else {
        f_erfcx(x)
    }
}

fn logaddexp2(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    if x == y && x.is_infinite() { x } else { x.max(y) + f_log2p1(f_exp2(-(x - y).abs())) }
}

fn entr(x: f64) -> f64 {
    if x == 0.0 {
        0.0
    } else if x < 0.0 {
        f64::NEG_INFINITY
    } else {
        -(x * f_log(x))
    }
}

/// C's `frexp`.
fn frexp(x: f64) -> (f64, i32) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let (x, down) = if x.abs() < f64::MIN_POSITIVE { (x * 2f64.powi(54), 54) } else { (x, 0) };
    let e = (x.to_bits() >> 52 & 0x7ff) as i32 - 1022;
    (f64::from_bits(x.to_bits() & !(0x7ff << 52) | 0x3fe << 52), e - down)
}

/// The sums of the terms on both sides of 0, which cancel for odd powers.
fn zeta_terms(x: &[f64]) -> f64 {
    let (s, q) = (x[0], x[1]);
    if !(s > 1.0 && q < 0.0 && q.floor() != q) {
        return 0.0;
    }
    let f = -q - (-q).floor();
    zeta(s, f).max(zeta(s, 1.0 - f))
}

/// The sum of `(q + k)^-s` up to `k` = 29, and Euler and Maclaurin's formula.
fn zeta(s: f64, q: f64) -> f64 {
    if s.is_nan() || q.is_nan() || s < 1.0 && q > 0.0 {
        return f64::NAN;
    }
    if s == 1.0 {
        return f64::INFINITY;
    }
    if s > 1.0 && s.floor() == s && q < 0.0 && q.floor() != q {
        // The terms below 0 are those of -q, every other power with the other sign.
        let (f, even) = (-q - (-q).floor(), (s * 0.5).floor() == s * 0.5);
        let (below, above) = (zeta(s, f) - zeta(s, 1.0 - q), zeta(s, 1.0 - f));
        let below = if even { below } else { -below };
        // Of two infinite parts the one with the smaller base counts.
        return match below.is_infinite() && above.is_infinite() && f != 0.5 {
            true if f < 0.5 => below,
            true => above,
            false => above + below,
        };
    }
    if s < 1.0 || q <= 0.0 {
        return if s >= 1.0 && q.floor() == q { f64::INFINITY } else { f64::NAN };
    }
    if q == f64::INFINITY {
        return 0.0;
    }
    let w = q + 30.0;
    // w^-s may underflow where w times it does not.
    let root = pow(w, -s * 0.5);
    let power = root * root;
    if root == 0.0 || s > 1e6 {
        // The first terms are all there is.
        return (0..30).rev().map(|k| pow(q + f64::from(k), -s)).sum();
    }
    let numbers =
        [1.0 / 12.0, -1.0 / 720.0, 1.0 / 30240.0, -1.0 / 1_209_600.0, 1.0 / 47_900_160.0, -5.284_190_138_687_493e-10];
    let (mut factor, mut tail) = (s * power / w, 0.0);
    for (k, c) in numbers.iter().enumerate() {
        tail += factor * c;
        let n = (2 * k) as f64;
        factor = factor * ((s + (n + 1.0)) / w) * ((s + (n + 2.0)) / w);
    }
    let rest = root * w * root / (s - 1.0) + 0.5 * power + tail;
    (0..30).rev().map(|k| pow(q + f64::from(k), -s)).fold(rest, |sum, t| sum + t)
}

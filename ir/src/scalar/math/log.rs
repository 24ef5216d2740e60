//! The logarithm and what is made of it: `log`, `log2`, `log10`, `log1p`, `asinh`, `acosh`, `atanh`, `logaddexp`.
//!
//! `x = 2^k m` with `m` in `[sqrt(1/2), sqrt(2))` by integer arithmetic on the bits. With `f = m - 1`, `s = f / (2 +
//! f)` and `z = s^2`, `log m = 2 atanh(s) = f - f^2/2 + s (f^2/2 + z L(z))` (the arrangement of fdlibm's `e_log.c`),
//! where `L` is a polynomial fitted by `tools/fit/fits.py log`. `f - f^2/2` is kept with its rounding error, so the sum
//! is a pair, good to about three bits more than the type. An argument may itself be a pair, `log(u + v) = log u +
//! v/u`; that makes `log1p` and the inverse hyperbolic functions direct.

use super::df::{Pair, fast_two_sum, two_prod, two_sum};
use super::exp;
use super::expr::Expr;

/// ln2 in two parts, the first short enough that `k` times it is exact.
const LN2: ((f64, f64), (f64, f64)) =
    ((0.693145751953125, 0.6931471805598903), (1.4286068203094173e-06, 5.497923018708371e-14));
/// log10(2) likewise.
const LOG10_2: ((f64, f64), (f64, f64)) =
    ((0.30103302001953125, 0.30102999566395283), (-3.0243555500547862e-06, 2.8363394551044964e-14));
/// 1/ln2 and 1/ln10 rounded to the type, and the rest.
const LOG2_E: ((f64, f64), (f64, f64)) =
    ((1.4426950216293335, 1.4426950408889634), (1.9259629911266175e-08, 2.0355273740931033e-17));
const LOG10_E: ((f64, f64), (f64, f64)) =
    ((0.4342944920063019, 0.4342944819032518), (-1.0103050052231683e-08, 1.098319650216765e-17));

const L32: [f64; 3] = [0.66666776, 0.3997759, 0.29870573];
const L64: [f64; 7] = [
    0.6666666666666736,
    0.39999999999405483,
    0.28571428744061894,
    0.22222198426151224,
    0.18183571057432849,
    0.15313895728652202,
    0.1479736350587642,
];

/// `x = 2^k m`, `m` in `[sqrt(1/2), sqrt(2))`, for positive normal `x`; `k` gets `shift` subtracted.
fn split<'a>(x: Expr<'a>, shift: Expr<'a>) -> (Expr<'a>, Expr<'a>) {
    let c = x.ctx;
    let root = c.pick(0x3f35_04f3, 0x3fe6_a09e_667f_3bcd);
    let i = x.bits() + (c.one_bits() - root);
    // The exponent becomes a float by standing in the low bits of 2^mantissa.
    let k = (i.ushr(c.mantissa()) + c.pick(0x4b00_0000, 0x4330_0000_0000_0000)).float();
    let bias = c.pick(8_388_608.0 + 127.0, 4_503_599_627_370_496.0 + 1023.0);
    let m = ((i & ((1 << c.mantissa()) - 1)) + root).float();
    ((k - bias) - shift, m)
}

/// `log m` as a pair, for `m` from [`split`].
fn near_one<'a>(m: Expr<'a>) -> Pair<'a> {
    let f = m - 1.0;
    let s = f / (f + 2.0);
    let z = s * s;
    let h = f * -0.5;
    let hi = h.fma(f, f);
    let lo = h.fma(f, f - hi);
    Pair { hi, lo: s.fma((-h).fma(f, z.poly(&L32, &L64) * z), lo) }
}

/// `k` and `m` with `x = 2^k m`, for positive `x`, also subnormal.
pub(super) fn normalise<'a>(x: Expr<'a>) -> (Expr<'a>, Expr<'a>) {
    let c = x.ctx;
    let small = x.lt(c.pick(f32::MIN_POSITIVE as f64, f64::MIN_POSITIVE));
    let up = c.pick(24, 53);
    let scaled = small.select(x * f64::powi(2.0, up), x);
    split(scaled, small.select(up as f64, 0.0))
}

/// `k` and `log m`.
fn parts<'a>(x: Expr<'a>) -> (Expr<'a>, Pair<'a>) {
    let (k, m) = normalise(x);
    (k, near_one(m))
}

/// `k` and `log m` for a positive normal pair.
fn parts_of_pair<'a>(u: Pair<'a>) -> (Expr<'a>, Pair<'a>) {
    let (k, m) = split(u.hi, u.hi.ctx.f(0.0));
    let p = near_one(m);
    (k, Pair { hi: p.hi, lo: p.lo + u.lo / u.hi })
}

/// The natural logarithm of a positive float, also a subnormal one, as a pair.
pub(super) fn of_any<'a>(x: Expr<'a>) -> Pair<'a> {
    let (k, p) = parts(x);
    with_exponent(k, LN2, p)
}

/// The natural logarithm of a positive normal pair.
pub(super) fn of_pair<'a>(u: Pair<'a>) -> Pair<'a> {
    let (k, p) = parts_of_pair(u);
    with_exponent(k, LN2, p)
}

/// `k * constant + p`; `k` is zero or the product is larger than `p`.
fn with_exponent<'a>(k: Expr<'a>, constant: ((f64, f64), (f64, f64)), p: Pair<'a>) -> Pair<'a> {
    let c = k.ctx;
    let (hi, lo) = (c.pick(constant.0.0, constant.0.1), c.pick(constant.1.0, constant.1.1));
    let s = fast_two_sum(k * hi, p.hi);
    Pair { hi: s.hi, lo: k.fma(lo, s.lo + p.lo) }
}

/// Puts in what `y`, a logarithm of `x`, is outside the positive finite numbers.
fn special<'a>(x: Expr<'a>, y: Expr<'a>) -> Expr<'a> {
    let c = x.ctx;
    let outside = x.eq(0.0).select(f64::NEG_INFINITY, f64::NAN);
    let y = c.f(0.0).lt(x).select(y, outside);
    x.eq(f64::INFINITY).select(x, y)
}

/// `log x`.
pub(super) fn log<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    special(x, of_any(x).sum())
}

/// `log2 x = k + log m / ln2`, exact for powers of two.
pub(super) fn log2<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (k, p) = parts(x);
    special(x, base_2(k, p).sum())
}

/// `k + log m / ln2`.
fn base_2<'a>(k: Expr<'a>, p: Pair<'a>) -> Pair<'a> {
    let c = k.ctx;
    let p = p.times_constant(c.pick(LOG2_E.0.0, LOG2_E.0.1), c.pick(LOG2_E.1.0, LOG2_E.1.1));
    let s = fast_two_sum(k, p.hi);
    Pair { hi: s.hi, lo: s.lo + p.lo }
}

/// `log10 x = k log10(2) + log m / ln10`.
pub(super) fn log10<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (k, p) = parts(x);
    let p = p.times_constant(x.ctx.pick(LOG10_E.0.0, LOG10_E.0.1), x.ctx.pick(LOG10_E.1.0, LOG10_E.1.1));
    special(x, with_exponent(k, LOG10_2, p).sum())
}

/// `log(1 + x)`: `1 + x` is taken as an exact pair. Below `2^-25` (`2^-54`) it is `x`.
pub(super) fn log1p<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = x.ctx;
    let u = two_sum(c.f(1.0), x);
    let (k, p) = parts_of_pair(u);
    let y = special(u.hi, with_exponent(k, LN2, p).sum());
    x.abs().lt(c.pick(f64::powi(2.0, -25), f64::powi(2.0, -54))).select(x, y)
}

/// The square root of a pair that is positive or zero, as a pair.
pub(super) fn sqrt<'a>(x: Pair<'a>) -> Pair<'a> {
    let hi = x.hi.sqrt();
    let rest = (-hi).fma(hi, x.hi) + x.lo;
    Pair { hi, lo: rest / (hi + hi).at_least(f32::MIN_POSITIVE as f64) }
}

/// Beyond this `x^2 + 1` is `x^2`, which may overflow.
const LARGE: f64 = 1_099_511_627_776.0;

/// `log(2a)` where `a` is [`LARGE`], else `log u`; for positive `u`.
fn log_or_double<'a>(a: Expr<'a>, u: Pair<'a>) -> Expr<'a> {
    let large = a.ctx.f(LARGE).lt(a);
    let u = fast_two_sum(u.hi, u.lo);
    let (k, p) = parts_of_pair(Pair { hi: large.select(a, u.hi), lo: large.select(0.0, u.lo) });
    with_exponent(k + large.select(1.0, 0.0), LN2, p).sum()
}

/// `log(a + sqrt(a^2 + 1))` with `a = |x|`, with the sign of `x`.
pub(super) fn asinh<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (c, a) = (x.ctx, x.abs());
    let square = two_prod(a, a);
    let d = two_sum(c.f(1.0), square.hi);
    let root = sqrt(Pair { hi: d.hi, lo: d.lo + square.lo });
    let u = fast_two_sum(root.hi, a);
    let y = log_or_double(a, Pair { hi: u.hi, lo: u.lo + root.lo });
    let y = a.lt(f64::INFINITY).select(y, a);
    a.lt(c.pick(exp::TINY.0, exp::TINY.1)).select(x, y.flip(x.sign()))
}

/// `log(x + sqrt(x^2 - 1))`, NaN below 1.
pub(super) fn acosh<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = x.ctx;
    let square = two_prod(x, x);
    let d = fast_two_sum(square.hi, c.f(-1.0));
    let root = sqrt(Pair { hi: d.hi, lo: d.lo + square.lo });
    let u = fast_two_sum(x, root.hi);
    let y = log_or_double(x, Pair { hi: u.hi, lo: u.lo + root.lo });
    let y = x.lt(f64::INFINITY).select(y, x);
    c.f(1.0).le(x).select(y, f64::NAN)
}

/// `log((1 + a) / (1 - a)) / 2` with `a = |x|`, with the sign of `x`.
pub(super) fn atanh<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (c, a) = (x.ctx, x.abs());
    let q = fast_two_sum(c.f(1.0), a).ratio(fast_two_sum(c.f(1.0), -a));
    let (k, p) = parts_of_pair(q.normal());
    let y = with_exponent(k, LN2, p).sum() * 0.5;
    let edge = a.eq(1.0).select(f64::INFINITY, f64::NAN);
    let y = a.lt(1.0).select(y, edge).flip(x.sign());
    a.lt(c.pick(exp::TINY.0, exp::TINY.1)).select(x, y)
}

/// `log(e^x + e^y) = m + log(1 + e^-d)`, `m` the larger operand and `d` their distance, all as pairs; an infinite
/// operand that is the larger, and two equal infinities, give that infinity.
pub(super) fn logaddexp<'a>(x: [Expr<'a>; 2]) -> Expr<'a> {
    add_exponentials(x, (104.0, 746.0), exp::parts_of_pair, of_pair)
}

/// `log2(2^x + 2^y)`, likewise with powers of two.
pub(super) fn logaddexp2<'a>(x: [Expr<'a>; 2]) -> Expr<'a> {
    add_exponentials(x, (152.0, 1076.0), exp::parts2, |u| {
        let (k, p) = parts_of_pair(u);
        base_2(k, p)
    })
}

/// `m + log(1 + b^-d)` for a base `b` with its exponential and logarithm; at `far` nothing is left of a power.
fn add_exponentials<'a>(
    [x, y]: [Expr<'a>; 2],
    far: (f64, f64),
    power: impl Fn(Pair<'a>) -> exp::Scaled<'a>,
    log: impl Fn(Pair<'a>) -> Pair<'a>,
) -> Expr<'a> {
    let c = x.ctx;
    let m = y.lt(x).select(x, y);
    let d = two_sum(m, -y.lt(x).select(y, x));
    // Beyond the range of b^-d the low part plays no role (and is NaN if an operand is infinite).
    let far = c.pick(far.0, far.1);
    let near = d.hi.lt(far);
    let e = power(Pair { hi: near.select(-d.hi, -far), lo: near.select(-d.lo, 0.0) });
    let [hi, lo] = exp::scale([e.pair.hi, e.pair.lo], e.t);
    let u = fast_two_sum(c.f(1.0), hi);
    let l = log(Pair { hi: u.hi, lo: u.lo + lo });
    let s = two_sum(m, l.hi);
    let sum = s.hi + (s.lo + l.lo);
    let sum = m.abs().eq(f64::INFINITY).select(m, sum);
    (x.eq(x) & y.eq(y)).select(sum, f64::NAN)
}

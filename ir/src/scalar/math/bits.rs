//! Functions of the representation, and exact or nearly exact ones: `copysign`, `nextafter`, `rsqrt`, `hypot`, and the
//! remainders `fmod`, `remainder`, `floor_divide`.

use super::df::{fast_two_sum, two_prod};
use super::expr::Expr;

/// The magnitude of `x` with the sign of `y`.
pub(super) fn copysign<'a>([x, y]: [Expr<'a>; 2]) -> Expr<'a> {
    x.copysign(y)
}

/// The neighbour of `x` on the side of `y`; `y` if they are equal. Floats of one sign are ordered as their bits.
pub(super) fn nextafter<'a>([x, y]: [Expr<'a>; 2]) -> Expr<'a> {
    let c = x.ctx;
    let away = (x.lt(y) & c.f(0.0).lt(x)) | (y.lt(x) & x.lt(0.0));
    let up = (x.bits() + 1i64).float();
    let down = (x.bits() - 1i64).float();
    let smallest = (c.i(1) | y.sign()).float();
    let step = x.eq(0.0).select(smallest, away.select(up, down));
    let r = x.eq(y).select(y, step);
    (x.eq(x) & y.eq(y)).select(r, f64::NAN)
}

/// The bits of `x` without the exponent, and the exponent `n` with `x = m 2^n`, `m` in `[1/2, 1)`; for finite `x` not 0.
fn split<'a>(x: Expr<'a>) -> (Expr<'a>, Expr<'a>) {
    let c = x.ctx;
    let small = x.abs().lt(c.pick(f32::MIN_POSITIVE as f64, f64::MIN_POSITIVE));
    let up = c.pick(24, 54);
    let bits = small.select(x * f64::powi(2.0, up), x).bits();
    let mask: i64 = c.pick(0xff << 23, 0x7ff << 52);
    // The exponent becomes a float by standing in the low bits of 2^mantissa.
    let e = ((bits & mask).ushr(c.mantissa()) + c.pick(0x4b00_0000, 0x4330_0000_0000_0000)).float();
    let bias = c.pick(8_388_608.0 + 126.0, 4_503_599_627_370_496.0 + 1022.0);
    (bits & !mask, (e - bias) - small.select(up as f64, 0.0))
}

/// Whether `frexp` takes `x` apart; zeros, infinities and NaN stay as they are, with the exponent 0.
fn splits<'a>(x: Expr<'a>) -> Expr<'a> {
    x.ne(0.0) & x.abs().lt(f64::INFINITY)
}

/// The mantissa of C's `frexp`: `x` times a power of two, its magnitude in `[1/2, 1)`.
pub(super) fn frexp_mantissa<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let half = x.ctx.f(0.5).bits();
    splits(x).select((split(x).0 | half).float(), x)
}

/// The exponent of C's `frexp`.
pub(super) fn frexp_exponent<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    splits(x).select(split(x).1, 0.0)
}

/// `1 / sqrt(x)`: with `s` the rounded root, `y = 1 / s` and their remainders `r = x - s^2` and `e = 1 - s y`, one step
/// `y + y (e - r y^2 / 2)` of Newton's. Small operands are scaled by a power of four, so that `r` is exact.
pub(super) fn rsqrt<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = x.ctx;
    let small = x.lt(c.pick(f64::powi(2.0, -80), f64::powi(2.0, -900)));
    let scale = |up: i32, by: i32| small.select(c.pick(f64::powi(2.0, up), f64::powi(2.0, by)), 1.0);
    let x = x * scale(64, 128);
    let s = x.sqrt();
    let y = c.f(1.0) / s;
    let (r, e) = ((-s).fma(s, x), (-s).fma(y, 1.0));
    let better = y.fma((r * y).fma(y * -0.5, e), y);
    // At 0 and infinity the quotient is exact and the remainders are not numbers.
    (c.f(0.0).lt(x) & x.lt(f64::INFINITY)).select(better, y) * scale(32, 64)
}

/// `sqrt(x^2 + y^2)`, scaled by a power of two where the squares would leave the range; infinite if an operand is.
pub(super) fn hypot<'a>([x, y]: [Expr<'a>; 2]) -> Expr<'a> {
    let c = x.ctx;
    let (ax, ay) = (x.abs(), y.abs());
    let swap = ax.lt(ay);
    let (a, b) = (swap.select(ay, ax), swap.select(ax, ay));
    let (low, high, by) = (c.pick(-40, -400), c.pick(60, 500), c.pick(80, 600));
    let power = |n: i32| f64::powi(2.0, n);
    let (small, large) = (a.lt(power(low)), c.f(power(high)).lt(a));
    let scale = |s: i32| small.select(power(s), large.select(power(-s), 1.0));
    let (a, b) = (a * scale(by), b * scale(by));
    let (p, q) = (two_prod(a, a), two_prod(b, b));
    let square = fast_two_sum(p.hi, q.hi);
    let rest = square.lo + (p.lo + q.lo);
    let root = square.hi.sqrt();
    let error = ((-root).fma(root, square.hi) + rest) / (root + root).at_least(f32::MIN_POSITIVE as f64);
    let r = (root + error) * scale(-by);
    (ax.eq(f64::INFINITY) | ay.eq(f64::INFINITY)).select(f64::INFINITY, r)
}

/// `x - trunc(x/y) y`, exact, with the sign of `x`: the instruction.
pub(super) fn fmod<'a>([x, y]: [Expr<'a>; 2]) -> Expr<'a> {
    x.rem(y)
}

/// Whether `fmod`'s result has to be moved by `y` to get the sign of `y`.
fn crosses<'a>(r: Expr<'a>, y: Expr<'a>) -> Expr<'a> {
    r.ne(0.0) & (r.lt(0.0) ^ y.lt(0.0))
}

/// The remainder with the sign of `y`: PyTorch's `remainder`, Python's `%` (but a zero keeps the sign of `x`).
pub(super) fn remainder<'a>([x, y]: [Expr<'a>; 2]) -> Expr<'a> {
    let r = x.rem(y);
    crosses(r, y).select(r + y, r)
}

/// `floor(x / y)` by PyTorch's rule, which goes through the exact remainder: `inf // 1 = nan`, `-1 // inf = -1`,
/// `x // 0 = x / 0`.
pub(super) fn floor_divide<'a>([x, y]: [Expr<'a>; 2]) -> Expr<'a> {
    let c = x.ctx;
    let r = x.rem(y);
    let q = (x - r) / y;
    let q = crosses(r, y).select(q - 1.0, q);
    let f = q.floor();
    let f = c.f(0.5).lt(q - f).select(f + 1.0, f);
    let plain = x / y;
    let f = q.eq(0.0).select(c.f(0.0).copysign(plain), f);
    y.eq(0.0).select(plain, f)
}

//! `atan`, `atan2`, `asin` and `acos`.
//!
//! `atan` of a quotient `n / d <= 1` is taken as `atan n/d`, or `pi/4 + atan (n - d)/(n + d)` where `n/d` is above
//! `tan(pi/8)`, so that the argument `q` of the polynomial is at most `tan(pi/8)`: `atan q = q + q z P(z)`, `z = q^2`.
//! Octants are put together with one sum `m pi/4 +- atan q`, `m` a small integer, in which the quotient's remainder,
//! the low part of `m pi/4` and the rounding error are carried.
//!
//! `asin x = x + x z P(z)` with `z = x^2` for `|x| <= 1/2`, else `pi/2 - 2 asin sqrt((1 - |x|)/2)` (fdlibm's
//! `e_asin.c`). Both polynomials come from `tools/fit/fits.py atan asin`.

use super::df::{Pair, fast_two_sum};
use super::expr::Expr;

const ATAN32: [f64; 5] = [-0.33333313, 0.19998385, -0.14242113, 0.105843745, -0.060562722];
const ATAN64: [f64; 11] = [
    -0.33333333333333187,
    0.1999999999995089,
    -0.14285714279944678,
    0.11111110771614496,
    -0.0909089743446564,
    0.07692054723372672,
    -0.06663044144148472,
    0.05847469349172749,
    -0.05037475695957979,
    0.03801952351361466,
    -0.017859299845983313,
];
const ASIN32: [f64; 6] = [0.1666666, 0.075005144, 0.044515636, 0.03181553, 0.014416952, 0.037539285];
const ASIN64: [f64; 13] = [
    0.1666666666666676,
    0.07499999999971174,
    0.044642857174112135,
    0.03038194273578786,
    0.02237221412861531,
    0.017351628227432116,
    0.013980620480784398,
    0.011400575398670357,
    0.01077086315672477,
    0.003741919380549942,
    0.021621309496905414,
    -0.020877916868953638,
    0.03255350820524457,
];
/// pi/4 rounded to the type, and the rest.
const PI_4: ((f64, f64), (f64, f64)) =
    ((0.7853981852531433, 0.7853981633974483), (-2.1855695000931213e-08, 3.061616997868383e-17));
const TAN_PI_8: f64 = 0.4142135623730951;

/// `m pi/4 + sign * (hi + lo)`, where `m` is 0 or the first term is the larger one. `sign` is a sign bit or zero.
fn octants<'a>(m: Expr<'a>, sign: Expr<'a>, hi: Expr<'a>, lo: Expr<'a>) -> Expr<'a> {
    let c = m.ctx;
    let pi_4 = c.pick(PI_4.0.0, PI_4.0.1);
    let base = m * pi_4;
    let rest = m.fma(c.pick(PI_4.1.0, PI_4.1.1), m.fma(pi_4, -base));
    let s = fast_two_sum(base, hi.flip(sign));
    s.hi + (s.lo + (rest + lo.flip(sign)))
}

/// The angle of a point in the plane. `n / d` is its smaller coordinate over its larger one, as magnitudes; `swap` is
/// true where the larger one is `y`, and `left` holds a sign bit where `x` is negative. Without `y`'s sign.
fn angle<'a>(n: Expr<'a>, d: Expr<'a>, swap: Expr<'a>, left: Option<Expr<'a>>) -> Expr<'a> {
    let c = n.ctx;
    let big = (d * TAN_PI_8).lt(n);
    let (minus, plus) = (fast_two_sum(d, -n), fast_two_sum(d, n));
    let (n, n_lo) = (big.select(-minus.hi, n), big.select(-minus.lo, 0.0));
    let (d, d_lo) = (big.select(plus.hi, d), big.select(plus.lo, 0.0));
    let q = n / d;
    let q_lo = ((-q).fma(d, n) + (-q).fma(d_lo, n_lo)) / d;
    let z = q * q;
    let lo = (q * z).fma(z.poly(&ATAN32, &ATAN64), q_lo);
    // m counts eighths of a turn: 0 or 1, reflected at 2 if swapped, at 4 if on the left.
    let m = big.select(1.0, swap.select(2.0, 0.0));
    let sign = c.f(-0.0).bits() & swap.select(-0.0, 0.0).bits();
    match left {
        None => octants(m, sign, q, lo),
        Some(left) => octants(left.eq(0).select(m, c.f(4.0) - m), sign ^ left, q, lo),
    }
}

/// `atan x`.
pub(super) fn atan<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = x.ctx;
    // From 2^60 on the result is pi/2.
    let a = x.abs().at_most(f64::powi(2.0, 60));
    let swap = c.f(1.0).lt(a);
    angle(swap.select(1.0, a), swap.select(a, 1.0), swap, None).flip(x.sign())
}

/// The angle of `(x, y)`, for all signed zeros and infinities as in C99.
pub(super) fn atan2<'a>([y, x]: [Expr<'a>; 2]) -> Expr<'a> {
    let c = x.ctx;
    let (ay, ax) = (y.abs(), x.abs());
    let swap = ax.lt(ay);
    let (n, d) = (swap.select(ax, ay), swap.select(ay, ax));
    // Infinity over infinity is 1, anything else over infinity is 0, and so is 0/0.
    let infinite = d.eq(f64::INFINITY);
    let n = infinite.select(n.eq(f64::INFINITY).select(1.0, 0.0), n);
    let d = (infinite | d.eq(0.0)).select(1.0, d);
    // Away from the ends of the exponent range, so that the quotient's remainder is exact and sums do not overflow.
    let (low, high, by) = (c.pick(-60, -500), c.pick(100, 1000), c.pick(64, 512));
    let power = |n: i32| f64::powi(2.0, n);
    let scale = d.lt(power(low)).select(power(by), c.f(power(high)).lt(d).select(power(-by), 1.0));
    let r = angle(n * scale, d * scale, swap, Some(x.sign())).flip(y.sign());
    (x.eq(x) & y.eq(y)).select(r, f64::NAN)
}

/// `hi` and `lo` with `asin(hi) = hi + lo`, where `hi` is `a` or, above 1/2, `sqrt((1 - a)/2)`; and whether it is.
fn half_angle<'a>(a: Expr<'a>) -> (Pair<'a>, Expr<'a>) {
    let c = a.ctx;
    let big = c.f(0.5).lt(a);
    let z = big.select((c.f(1.0) - a) * 0.5, a * a);
    let root = z.sqrt();
    let rest = (-root).fma(root, z) / (root + root).at_least(f32::MIN_POSITIVE as f64);
    let hi = big.select(root, a);
    let lo = big.select(rest, 0.0);
    (Pair { hi, lo: (hi * z).fma(z.poly(&ASIN32, &ASIN64), lo) }, big)
}

/// `asin x`, NaN beyond 1.
pub(super) fn asin<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = x.ctx;
    let (p, big) = half_angle(x.abs());
    let factor = big.select(-2.0, 1.0);
    octants(big.select(2.0, 0.0), c.i(0), p.hi * factor, p.lo * factor).flip(x.sign())
}

/// `acos x`: `2 asin sqrt((1 - x)/2)` above 1/2, `pi` minus that of `-x` below -1/2, else `pi/2 - asin x`.
pub(super) fn acos<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = x.ctx;
    let (p, big) = half_angle(x.abs());
    let negative = x.lt(0.0);
    let m = big.select(negative.select(4.0, 0.0), 2.0);
    let factor = big.select(2.0, 1.0);
    let sign = big.select(negative.select(-0.0, 0.0), negative.select(0.0, -0.0)).bits();
    octants(m, sign & c.f(-0.0).bits(), p.hi * factor, p.lo * factor)
}

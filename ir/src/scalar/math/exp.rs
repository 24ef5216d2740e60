//! The exponential and what is made of it: `exp`, `exp2`, `expm1`, `sigmoid`, `tanh`, `sinh`, `cosh`.
//!
//! All share one core. `x = k ln2 + r` with `|r| <= ln2/2` by Cody and Waite's two-part `ln2` (W. J. Cody, W. Waite,
//! *Software Manual for the Elementary Functions*, 1980); `k` is rounded by adding `1.5 * 2^mantissa`, so it stands in
//! the low bits of that sum and becomes an exponent by one shift. `e^r = 1 + r + r^2 q(r)`, `q` a polynomial fitted by
//! `tools/fit/fits.py exp`. The value is kept as a pair `hi + lo`, so that the functions built on it lose nothing to
//! it.

use super::df::{Pair, fast_two_sum, two_sum};
use super::expr::Expr;

const LN2_HI: (f64, f64) = (0.693145751953125, 0.6931471803691238);
const LN2_LO: (f64, f64) = (1.4286068203094173e-6, 1.9082149292705877e-10);
/// ln2 rounded to the type, and the rest.
const LN2: (f64, f64) = (0.6931472, std::f64::consts::LN_2);
const LN2_REST: (f64, f64) = (-1.904654299957768e-9, 2.3190468138462996e-17);

/// `q` to about 2^-28 (2^-57) of `e^r`: enough where only the value is wanted.
const Q32: [f64; 5] = [0.49999988, 0.16666518, 0.041669652, 0.008368953, 0.0013745059];
const Q64: [f64; 10] = [
    0.5000000000000013,
    0.1666666666666649,
    0.04166666666651215,
    0.008333333333445603,
    0.0013888888947649982,
    0.00019841269610468499,
    2.480148942451215e-05,
    2.7557494816438805e-06,
    2.763143310281207e-07,
    2.5028743300104997e-08,
];
/// `q` to about 2^-33 (2^-63), for pairs.
const FINE32: [f64; 6] = [0.5, 0.16666664, 0.041666456, 0.008333889, 0.0013935763, 0.00019576249];
const FINE64: [f64; 11] = [
    0.5,
    0.16666666666666685,
    0.041666666666666526,
    0.008333333333315983,
    0.001388888888896801,
    0.00019841269898562968,
    2.480158715528519e-05,
    2.7557232976642465e-06,
    2.755741760561271e-07,
    2.511261961121433e-08,
    2.0871118996516387e-09,
];

/// Below this an odd function `x + c x^3` with `|c| <= 1/3` is `x` to within a twelfth of a unit: 2^-13 (2^-28).
pub(super) const TINY: (f64, f64) = (0.0001220703125, 3.725290298461914e-9);

/// `(hi + lo) * 2^k`, with `k` in the low bits of the float `t = magic + k`.
#[derive(Clone, Copy)]
pub(super) struct Scaled<'a> {
    pub(super) pair: Pair<'a>,
    pub(super) t: Expr<'a>,
}

impl<'a> Scaled<'a> {
    /// `2^(k + add)`, for results that are normal numbers.
    pub(super) fn power(self, add: i64) -> Expr<'a> {
        let m = self.t.ctx.mantissa();
        (self.t.bits().shl(m) + (self.t.ctx.one_bits() + (add << m))).float()
    }
}

/// `x * 2^k` for each `x`, with `k` in the low bits of `t`: two factors, so that overflow and subnormal results come
/// out right (the first product is exact, the second rounds once).
pub(super) fn scale<'a, const N: usize>(x: [Expr<'a>; N], t: Expr<'a>) -> [Expr<'a>; N] {
    let (m, one) = (t.ctx.mantissa(), t.ctx.one_bits());
    let half = t.bits().ushr(1);
    let a = (half.shl(m) + one).float();
    let b = ((t.bits() - half).shl(m) + one).float();
    x.map(|x| x * a * b)
}

/// `e^(r + rest)` for `|r| <= 0.35` and `rest` below a unit in its last place.
pub(super) fn reduced<'a>(r: Expr<'a>, rest: Expr<'a>) -> Pair<'a> {
    let q = r.poly(&FINE32, &FINE64);
    let p = fast_two_sum(r.ctx.f(1.0), r);
    let rest = rest.fma(r, rest);
    fast_two_sum(p.hi, (r * r).fma(q, p.lo + rest))
}

/// `e^x` for `x` that the caller has kept within the range of exponents it can use.
pub(super) fn parts<'a>(x: Expr<'a>) -> Scaled<'a> {
    let (c, magic) = (x.ctx, x.ctx.magic());
    let t = x.fma(std::f64::consts::LOG2_E, magic);
    let k = t - magic;
    let lo = -c.pick(LN2_LO.0, LN2_LO.1);
    let first = k.fma(-c.pick(LN2_HI.0, LN2_HI.1), x);
    let r = k.fma(lo, first);
    let rest = k.fma(lo, first - r);
    Scaled { pair: reduced(r, rest), t }
}

/// `e^(hi + lo)` likewise.
pub(super) fn parts_of_pair<'a>(x: Pair<'a>) -> Scaled<'a> {
    let e = parts(x.hi);
    Scaled { pair: Pair { hi: e.pair.hi, lo: x.lo.fma(e.pair.hi, e.pair.lo) }, t: e.t }
}

/// `2^(hi + lo)` likewise.
pub(super) fn parts2<'a>(x: Pair<'a>) -> Scaled<'a> {
    let (c, magic) = (x.hi.ctx, x.hi.ctx.magic());
    let t = x.hi + magic;
    let f = fast_two_sum(x.hi - (t - magic), x.lo);
    let r = f.times_constant(c.pick(LN2.0, LN2.1), c.pick(LN2_REST.0, LN2_REST.1));
    Scaled { pair: reduced(r.hi, r.lo), t }
}

/// `e^x`. Results below the normal range are rounded once; above about 88.7 (709.8) they are infinite.
pub(super) fn exp<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (c, magic) = (x.ctx, x.ctx.magic());
    let x = x.at_least(c.pick(-104.0, -746.0)).at_most(c.pick(89.0, 710.0));
    let t = x.fma(std::f64::consts::LOG2_E, magic);
    let k = t - magic;
    let r = k.fma(-c.pick(LN2_HI.0, LN2_HI.1), x);
    let r = k.fma(-c.pick(LN2_LO.0, LN2_LO.1), r);
    let p = fast_two_sum(c.f(1.0), r);
    let [y] = scale([p.hi + (r * r).fma(r.poly(&Q32, &Q64), p.lo)], t);
    y
}

/// `2^x`, exact for integers.
pub(super) fn exp2<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (c, magic) = (x.ctx, x.ctx.magic());
    let x = x.at_least(c.pick(-151.0, -1076.0)).at_most(c.pick(129.0, 1025.0));
    let t = x + magic;
    let f = x - (t - magic);
    let ln2 = c.pick(LN2.0, LN2.1);
    let r = f * ln2;
    let rest = f.fma(c.pick(LN2_REST.0, LN2_REST.1), f.fma(ln2, -r));
    let p = fast_two_sum(c.f(1.0), r);
    let [y] = scale([p.hi + (r * r).fma(r.poly(&Q32, &Q64), p.lo + rest)], t);
    y
}

/// `e^x - 1`: `2 (2^(k-1) e^r - 1/2)`, the difference taken with its error. Below `2^-25` (`2^-54`) it is `x`.
pub(super) fn expm1<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = x.ctx;
    let e = parts(x.at_least(c.pick(-18.0, -40.0)).at_most(c.pick(89.0, 710.0)));
    let a = e.pair.scaled(e.power(-1));
    let d = two_sum(a.hi, c.f(-0.5));
    let y = d.hi + (d.lo + a.lo);
    x.abs().lt(c.pick(f64::powi(2.0, -25), f64::powi(2.0, -54))).select(x, y + y)
}

/// `1 / (1 + e^-x)`, as `e^x / (1 + e^x)` for negative `x`, so that small results keep their precision.
pub(super) fn sigmoid<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = x.ctx;
    let e = parts((-x.abs()).at_least(c.pick(-104.0, -746.0)));
    let [hi, lo] = scale([e.pair.hi, e.pair.lo], e.t);
    let d = fast_two_sum(c.f(1.0), hi);
    let negative = x.lt(0.0);
    let n = Pair { hi: negative.select(hi, 1.0), lo: negative.select(lo, 0.0) };
    n.over(Pair { hi: d.hi, lo: d.lo + lo })
}

/// `(1 - e^-2a) / (1 + e^-2a)` for `a >= 0`.
pub(super) fn tanh_pair<'a>(a: Expr<'a>) -> Pair<'a> {
    let c = a.ctx;
    let e = parts(a.at_most(c.pick(10.0, 20.0)) * -2.0);
    let e = e.pair.scaled(e.power(0));
    let (n, d) = (fast_two_sum(c.f(1.0), -e.hi), fast_two_sum(c.f(1.0), e.hi));
    Pair { hi: n.hi, lo: n.lo - e.lo }.ratio(Pair { hi: d.hi, lo: d.lo + e.lo })
}

/// `tanh |x|` with the sign of `x`.
pub(super) fn tanh<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let y = tanh_pair(x.abs()).sum().flip(x.sign());
    x.abs().lt(x.ctx.pick(TINY.0, TINY.1)).select(x, y)
}

/// `e^a` and `e^-a`, both over `2^k`, for `a = |x|`; and `magic + k - 1`.
fn both<'a>(x: Expr<'a>) -> (Pair<'a>, Pair<'a>, Expr<'a>) {
    let c = x.ctx;
    let e = parts(x.abs().at_most(c.pick(90.0, 711.0)));
    let r = c.f(1.0) / e.pair.hi;
    let rest = (-r).fma(e.pair.hi, 1.0) - r * e.pair.lo;
    // 2^-2k; where k is large it does not matter any more.
    let k = e.t.at_most(c.magic() + c.pick(40.0, 100.0));
    let w = (c.i(c.one_bits()) - k.bits().shl(c.mantissa() + 1)).float();
    (e.pair, Pair { hi: r, lo: r * rest }.scaled(w), e.t - 1.0)
}

/// `(e^a - e^-a) / 2` with `a = |x|`, with the sign of `x`.
pub(super) fn sinh<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (up, down, t) = both(x);
    let d = fast_two_sum(up.hi, -down.hi);
    let [y] = scale([d.hi + (d.lo + (up.lo - down.lo))], t);
    x.abs().lt(x.ctx.pick(TINY.0, TINY.1)).select(x, y.flip(x.sign()))
}

/// `(e^a + e^-a) / 2` with `a = |x|`.
pub(super) fn cosh<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (up, down, t) = both(x);
    let d = fast_two_sum(up.hi, down.hi);
    let [y] = scale([d.hi + (d.lo + (up.lo + down.lo))], t);
    y
}

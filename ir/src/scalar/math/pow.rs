//! `pow`: `|x|^y = 2^(y log2|x|)` with the logarithm and the product as pairs, then the special cases of C99 Annex F.
//!
//! The exponent `y log2|x|` may be as large as the type's exponent range and its absolute error becomes the relative
//! error of the result, so the logarithm needs about 8 (11) bits more than the type. With `s = f/(2+f)` a pair and `z =
//! s^2`, `log2 m = s (c0 + z (c1 + z Q(z)))`: the terms with `c0 = 2/ln2` and `c1 = c0/3` are computed in pairs, the
//! rest, below 2^-12 of the whole, in the type (`tools/fit/fits.py pow`; the idea is that of fdlibm's `e_pow.c`).

use super::df::{Pair, fast_two_sum, two_prod};
use super::expr::Expr;
use super::{exp, log};

const C0: ((f64, f64), (f64, f64)) =
    ((2.885390043258667, 2.8853900817779268), (3.851926067000022e-08, 4.0710547481862066e-17));
const C1: ((f64, f64), (f64, f64)) =
    ((0.9617967009544373, 0.9617966939259756), (-7.028461812552678e-09, 5.0577616648125907e-17));
const Q32: [f64; 3] = [0.57708025, 0.41184482, 0.33792645];
const Q64: [f64; 7] = [
    0.5770780163556196,
    0.4121985830912715,
    0.32059890237693867,
    0.2623076931105486,
    0.22198433024081415,
    0.19124810347423718,
    0.19044570792356064,
];

/// `log2 a` for positive finite `a`, to a relative error of about 2^-36 (2^-66).
fn log2<'a>(a: Expr<'a>) -> Pair<'a> {
    let c = a.ctx;
    let (k, m) = log::normalise(a);
    let f = m - 1.0;
    let d = f + 2.0;
    let s = Pair { hi: f, lo: c.f(0.0) }.ratio(Pair { hi: d, lo: f - (d - 2.0) });
    let z = s.times_pair(s);
    let tail = z.hi * z.hi.poly(&Q32, &Q64);
    let inner = fast_two_sum(c.f(c.pick(C1.0.0, C1.0.1)), tail);
    let inner = Pair { hi: inner.hi, lo: inner.lo + c.pick(C1.1.0, C1.1.1) }.times_pair(z);
    let outer = fast_two_sum(c.f(c.pick(C0.0.0, C0.0.1)), inner.hi);
    let l = Pair { hi: outer.hi, lo: outer.lo + (inner.lo + c.pick(C0.1.0, C0.1.1)) }.times_pair(s);
    let sum = fast_two_sum(k, l.hi);
    Pair { hi: sum.hi, lo: sum.lo + l.lo }
}

/// `x^y` with all the special cases of C99: `1^y = x^0 = 1` also for NaN, a negative base needs an integer exponent,
/// and so on.
pub(super) fn pow<'a>([x, y]: [Expr<'a>; 2]) -> Expr<'a> {
    let (c, a) = (x.ctx, x.abs());
    let l = log2(a);
    // Zero and infinity have infinite logarithms; the rest follows.
    let infinite = a.eq(f64::INFINITY);
    let hi = a.eq(0.0).select(f64::NEG_INFINITY, infinite.select(f64::INFINITY, l.hi));
    let e = two_prod(y, hi);
    let inside = e.hi.abs().lt(c.pick(200.0, 1100.0));
    let e = Pair { hi: e.hi, lo: inside.select(y.fma(l.lo, e.lo), 0.0) };
    let e = Pair { hi: e.hi.at_least(c.pick(-151.0, -1076.0)).at_most(c.pick(129.0, 1025.0)), lo: e.lo };
    let p = exp::parts2(e);
    let [power] = exp::scale([p.pair.sum()], p.t);
    // (-1)^inf = 1.
    let power = a.eq(1.0).select(1.0, power);

    let integer = y.nearest().eq(y);
    let half = y * 0.5;
    let odd = integer & half.nearest().ne(half);
    let power = odd.select(power.flip(x.sign()), power);
    let undefined = x.lt(0.0) & !infinite & !integer;
    let power = (undefined | x.ne(x) | y.ne(y)).select(f64::NAN, power);
    (y.eq(0.0) | x.eq(1.0)).select(1.0, power)
}

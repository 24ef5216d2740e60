//! `erf`, `erfc` and `erfinv`.
//!
//! `erf x = x + x P(x^2)` up to about 1 and one minus a fitted tail above. `erfc t = e^(-t^2) P(u) / (1 + 2t)` for `t
//! >= 1/2`, `u` a fraction of `t` that makes the rest nearly constant (the form of N. Juffa's `erfcx`), with `t^2`, the
//! exponential and the quotient as pairs. `erfinv x = x P(w)` with `w = -log(1 - x^2)` or its root (M. Giles,
//! *Approximating the erfinv function*, GPU Computing Gems, 2011). The polynomials are ours, in [`super::erf_tables`].

use super::df::{Pair, fast_two_sum, poly_pair, two_prod};
use super::erf_tables::*;
use super::expr::Expr;
use super::{exp, log};

/// `erf x`, for magnitudes above 3.93 (5.93) one.
pub(super) fn erf<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (c, a) = (x.ctx, x.abs());
    let small = x.fma((x * x).poly(&ERF32, &ERF64), x);
    let tail =
        if c.is32() { c.f(1.0) - (a - 2.25).poly(&TAIL32, &[]) } else { c.f(1.0) - exp::exp([-a.poly(&[], &TAIL64)]) };
    let tail = c.f(c.pick(3.93, 5.93)).le(a).select(1.0, tail);
    a.lt(1.0).select(small, tail.flip(x.sign()))
}

/// `1 - erf x`, also where that is small.
pub(super) fn erfc<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (c, a) = (x.ctx, x.abs());
    let z = x * x;
    let near = fast_two_sum(c.f(1.0), -x);
    let near = near.hi + (-x).fma(z.poly(&ERF32, &ERF64), near.lo);

    let (q, t) = tail(Pair { hi: a.at_most(c.pick(10.1, 27.3)), lo: c.f(0.0) });
    let [far] = exp::scale([q.sum()], t);
    let far = x.lt(0.0).select(c.f(2.0) - far, far);
    a.lt(0.65).select(near, far)
}

/// `erfc t` for `t` from 1/2 to about 10.4 (27.5): a pair to be multiplied by `2^k`, `k` in the low bits of the second.
pub(super) fn tail<'a>(t: Pair<'a>) -> (Pair<'a>, Expr<'a>) {
    let square = two_prod(t.hi, t.hi);
    let square = Pair { hi: square.hi, lo: (t.hi + t.hi).fma(t.lo, square.lo) };
    let e = exp::parts_of_pair(Pair { hi: -square.hi, lo: -square.lo });
    (e.pair.times_pair(erfcx_ratio(t)), e.t)
}

/// `e^(t^2) erfc t` likewise.
fn erfcx_ratio<'a>(t: Pair<'a>) -> Pair<'a> {
    let c = t.hi.ctx;
    let centre = c.pick(3.0, 4.0);
    let u = (t.hi - centre) / (t.hi + centre);
    let p = poly_pair(u, &ERFC32, &ERFC64, c.pick(ERFC_0.0, ERFC_0.1));
    let d = fast_two_sum(t.hi + t.hi, c.f(1.0));
    p.ratio(Pair { hi: d.hi, lo: d.lo + (t.lo + t.lo) })
}

/// `1 / sqrt(pi)` in two parts, and the series of `sqrt(pi) t e^(t^2) erfc t` in `1/t^2` for large `t`, less 1.
const ROOT_PI: ((f64, f64), (f64, f64)) =
    ((0.564189612865448, 0.5641895835477563), (-2.9317691385699618e-08, 7.66772980658294e-18));
const LARGE: [f64; 7] = [-0.5, 0.75, -1.875, 6.5625, -29.53125, 162.421875, -1055.7421875];

/// `e^(x^2) erfc x`.
pub(super) fn erfcx<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (c, a) = (x.ctx, x.abs());
    let b = a.at_most(c.pick(9.6, 26.8));
    let square = two_prod(b, b);
    let e = exp::parts_of_pair(square);
    // Normal, so that the larger part alone does not overflow where the sum does not.
    let e_pair = e.pair.normal();
    let one = fast_two_sum(c.f(1.0), -x);
    let one = Pair { hi: one.hi, lo: (-x).fma((x * x).poly(&ERF32, &ERF64), one.lo) };
    let [near] = exp::scale([e_pair.times_pair(one).sum()], e.t);

    let t = a.at_least(0.5);
    let end = c.pick(10.1, 27.3);
    let middle = erfcx_ratio(Pair { hi: t.at_most(end), lo: c.f(0.0) });
    let r = c.f(1.0) / t;
    let v = r * r;
    let root = c.pick(ROOT_PI.0.0, ROOT_PI.0.1);
    let series = (v * v.poly(&LARGE, &LARGE)).fma(root, c.pick(ROOT_PI.1.0, ROOT_PI.1.1));
    let large = fast_two_sum(c.f(root), series);
    let far = c.f(end).lt(t);
    let above = Pair { hi: far.select(large.hi / t, middle.hi), lo: far.select(large.lo / t, middle.lo) };

    let [hi, lo] = exp::scale([e_pair.hi + e_pair.hi, e_pair.lo + e_pair.lo], e.t);
    let below = hi + (lo - above.hi);
    a.lt(0.65).select(near, x.lt(0.0).select(below, above.sum()))
}

/// The inverse of `erf`: infinite at 1, NaN beyond.
pub(super) fn erfinv<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (c, a) = (x.ctx, x.abs());
    let square = two_prod(x, x);
    let d = fast_two_sum(c.f(1.0), -square.hi);
    let l = log::of_pair(Pair { hi: d.hi, lo: d.lo - square.lo });
    let w = fast_two_sum(-l.hi, -l.lo);
    let s = log::sqrt(w);

    let end = c.pick(5.0, 6.25);
    let from_centre = fast_two_sum(c.f(end * -0.5), w.hi);
    let inner = poly_pair(from_centre.hi, &CENTRE32, &CENTRE64, c.pick(CENTRE_0.0, CENTRE_0.1));
    let outer = poly_pair(s.hi - c.pick(3.0, 3.25), &OUTER32, &OUTER64, c.pick(OUTER_0.0, OUTER_0.1));
    // The slope of the inner one is about 1/4, that of the outer one about 1.
    let is_inner = w.hi.lt(end);
    let mut p = Pair {
        hi: is_inner.select(inner.hi, outer.hi),
        lo: is_inner.select((w.lo + from_centre.lo).fma(0.25, inner.lo), outer.lo + s.lo),
    };
    if !c.is32() {
        let outest = poly_pair(s.hi - 5.0, &OUTEST64, &OUTEST64, OUTEST_0);
        let is_outest = c.f(16.0).lt(w.hi);
        p = Pair { hi: is_outest.select(outest.hi, p.hi), lo: is_outest.select(outest.lo + s.lo, p.lo) };
    }
    // Scaled where the product with the low part would underflow.
    let tiny = a.lt(c.pick(f64::powi(2.0, -60), f64::powi(2.0, -500)));
    let (up, down) = c.pick((f64::powi(2.0, 64), f64::powi(2.0, -64)), (f64::powi(2.0, 512), f64::powi(2.0, -512)));
    let scaled = tiny.select(x * up, x);
    let y = scaled.fma(p.hi, scaled * p.lo) * tiny.select(down, 1.0);
    let edge = a.eq(1.0).select(c.inf().copysign(x), f64::NAN);
    let y = a.lt(1.0).select(y, edge);
    x.eq(0.0).select(x, y)
}

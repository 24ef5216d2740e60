//! `lgamma` and `digamma`.
//!
//! For positive operands: around the zeros (1 and 2 of `lgamma`, 1.4616 of `digamma`) the distance to the zero times a
//! polynomial, so that the result is accurate relative to itself; above that Stirling's series, its remainder a fitted
//! polynomial in `1/x^2`; below, one step of the recurrence (`lgamma x = lgamma(1 + x) - log x`). Negative operands by
//! reflection: `lgamma(-a) = -log(a sin(pi a)/pi) - lgamma(a)` and `digamma(-a) = digamma(1 + a) + pi cot(pi a)`, with
//! the distance from `a` to the nearest integer exact. There the two terms can cancel: near a zero at negative `x` the
//! error is small only against the terms. The polynomials are in [`super::gamma_tables`].

use super::df::{Pair, fast_two_sum, poly_pair, two_prod, two_sum};
use super::expr::Expr;
use super::gamma_tables::*;
use super::log;

/// The logarithm of `|gamma(x)|`; infinite at zero and negative integers and at both infinities.
pub(super) fn lgamma<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (c, a) = (x.ctx, x.abs());
    let zero = || c.f(0.0);
    let negative = x.lt(0.0);
    let l = log::of_any(a);

    // Below 3. What follows counts on the sign of 1 + 1/2: 0.5 and 0.8 separate the two polynomials and the recurrence.
    let half = a.lt(0.5);
    let y = half.select(a, a.lt(1.5).select(a - 1.0, a - 2.0));
    let first = half | (!a.lt(0.8) & a.lt(1.5));
    let one = poly_pair(y, &NEAR1_32, &NEAR1_64, c.pick(NEAR1_0.0, NEAR1_0.1));
    let two = poly_pair(y, &NEAR2_32, &NEAR2_64, c.pick(NEAR2_0.0, NEAR2_0.1));
    let p = Pair { hi: first.select(one.hi, two.hi), lo: first.select(one.lo, two.lo) };
    let t = two_prod(y, p.hi);
    let recur = a.lt(0.8) & !(negative & half);
    let near = fast_two_sum(recur.select(-l.hi, zero()), t.hi);
    let near = Pair { hi: near.hi, lo: near.lo + (y.fma(p.lo, t.lo) + recur.select(-l.lo, zero())) };

    // (a - 1/2) (log a - 1) + (log(2 pi) - 1)/2 + S(1/a^2)/a
    let m = fast_two_sum(l.hi, c.f(-1.0));
    let main = fast_two_sum(m.hi, m.lo + l.lo).times_pair(fast_two_sum(a, c.f(-0.5)));
    let r = c.f(1.0) / a;
    let rest = (r * r).poly(&STIRLING32, &STIRLING64).fma(r, main.lo) + c.pick(OFFSET.1.0, OFFSET.1.1);
    let s = two_sum(main.hi, c.f(c.pick(OFFSET.0.0, OFFSET.0.1)));
    let finite = main.hi.lt(f64::INFINITY);
    let small = a.lt(3.0);
    let g = Pair {
        hi: small.select(near.hi, finite.select(s.hi, main.hi)),
        lo: small.select(near.lo, finite.select(s.lo + rest, 0.0)),
    };

    // sin(pi a)/pi is w = d sinc(d), d the distance to the nearest integer; for a < 1/2 the factor a is left out here,
    // as the recurrence's logarithm above.
    let d = (a - a.nearest()).abs();
    let sinc = poly_pair(d * d, &SINC32, &SINC64, 0.0);
    let w = two_prod(d, half.select(1.0, a)).times_pair(sinc);
    let lw = log::of_any(w.hi);
    let sum = two_sum(lw.hi, g.hi);
    let reflected = -(sum.hi + (sum.lo + (g.lo + lw.lo + w.lo / w.hi)));
    let y = negative.select(reflected, g.hi + g.lo);
    let pole = a.eq(f64::INFINITY) | a.eq(0.0) | (negative & d.eq(0.0));
    pole.select(f64::INFINITY, y)
}

/// The derivative of `lgamma`; `-1/x` at zero, NaN at negative integers.
pub(super) fn digamma<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let (c, a) = (x.ctx, x.abs());
    let negative = x.lt(0.0);
    let below_one = a.lt(1.0);

    // On [1, 2], by the distance y from the zero; for a < 1 of 1 + a.
    let shifted = fast_two_sum(c.f(1.0), a);
    let u = Pair { hi: below_one.select(shifted.hi, a), lo: below_one.select(shifted.lo, 0.0) };
    let y = fast_two_sum(u.hi - c.pick(ZERO.0.0, ZERO.0.1), u.lo - c.pick(ZERO.1.0, ZERO.1.1));
    let p = poly_pair(y.hi, &DIGAMMA32, &DIGAMMA64, c.pick(DIGAMMA_0.0, DIGAMMA_0.1));
    let near = p.times_pair(y);

    // log a - 1/2a - D(1/a^2)/a^2
    let l = log::of_any(a);
    let r = c.f(1.0) / a;
    let r_rest = (-r).fma(a, 1.0) * r;
    let v = r * r;
    let far = fast_two_sum(l.hi, r * -0.5);
    let far_rest = (-v).fma(v.poly(&TAIL32, &TAIL64), r_rest.fma(-0.5, far.lo + l.lo));
    let small = a.lt(2.0);
    let base = Pair { hi: small.select(near.hi, far.hi), lo: small.select(near.lo, far_rest) };

    // 1/a is taken off for 0 < x < 1, and added for x <= -1, where digamma(1 + a) is wanted.
    let factor = negative.select(below_one.select(0.0, 1.0), below_one.select(-1.0, 0.0));
    let sum = two_sum(r * factor, base.hi);
    let value = Pair { hi: sum.hi, lo: sum.lo + r_rest.fma(factor, base.lo) };

    let d = a - a.nearest();
    // The polynomial's slope is between -3.3 and -5; -4 times the error of the square is good enough.
    let z = two_prod(d, d);
    let n = poly_pair(z.hi, &COT32, &COT64, 0.0);
    let n = fast_two_sum(n.hi, z.lo.fma(-4.0, n.lo));
    let cot = n.ratio(Pair { hi: d, lo: c.f(0.0) });
    let sum = two_sum(value.hi, cot.hi);
    let reflected = sum.hi + (sum.lo + (value.lo + cot.lo));
    let y = negative.select(reflected, value.hi + value.lo);
    let y = (negative & d.eq(0.0)).select(f64::NAN, y);
    let y = x.eq(f64::INFINITY).select(x, y);
    // Near zero -1/x is all there is, also where it overflows.
    a.lt(c.pick(f64::powi(2.0, -27), f64::powi(2.0, -56))).select(c.f(-1.0) / x, y)
}

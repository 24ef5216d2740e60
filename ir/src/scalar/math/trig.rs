//! `sin`, `cos` and `tan`, after the reduction of [`super::reduce`], which is exact for every finite operand.
//!
//! On `|r| <= pi/4`, with `z = r^2`: `sin r = r + r z S(z)` and `cos r = 1 - z/2 + z^2 C(z)`, polynomials fitted by
//! `tools/fit/fits.py sin`, with the low part of `r` and the rounding error of `1 - z/2` carried along (as in fdlibm's
//! `k_sin.c` and `k_cos.c`). Operands below 2^-13 (2^-28) are answered without the reduction.

use super::df::{Pair, fast_two_sum};
use super::exp::TINY;
use super::expr::Expr;
use super::reduce::{Reduced, reduce};

const S32: [f64; 3] = [-0.16666655, 0.008332191, -0.00019518599];
const S64: [f64; 6] = [
    -0.1666666666666663,
    0.00833333333332196,
    -0.0001984126982950486,
    2.755731360004322e-06,
    -2.5050745165624864e-08,
    1.5896106131534069e-10,
];
const C32: [f64; 3] = [0.041666646, -0.0013887313, 2.4432959e-05];
const C64: [f64; 6] = [
    0.041666666666666595,
    -0.0013888888888873448,
    2.480158728910544e-05,
    -2.755731425306134e-07,
    2.0875710774542552e-09,
    -1.1359041439039709e-11,
];

/// `sin r` and `cos r`, not normalised.
fn both<'a>(r: Pair<'a>) -> (Pair<'a>, Pair<'a>) {
    let c = r.hi.ctx;
    let z = r.hi * r.hi;
    let h = r.hi * -0.5;
    let sin = Pair { hi: r.hi, lo: (r.hi * z).fma(z.poly(&S32, &S64), (h * r.hi).fma(r.lo, r.lo)) };
    let hi = h.fma(r.hi, 1.0);
    let rest = h.fma(r.hi, c.f(1.0) - hi);
    let cos = Pair { hi, lo: (z * z).fma(z.poly(&C32, &C64), (-r.hi).fma(r.lo, rest)) };
    (sin, cos)
}

/// Whether the quadrant is odd, and its second bit, in the place of the sign, after adding `plus`.
fn quadrant<'a>(r: &Reduced<'a>, plus: i64) -> (Expr<'a>, Expr<'a>) {
    let c = r.quadrant.ctx;
    let n = r.quadrant.bits();
    ((n & 1).eq(1), (n + plus).shl(c.mantissa() + c.pick(7, 10)) & c.f(-0.0).bits())
}

/// `sin x`, NaN at infinity.
pub(super) fn sin<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let reduced = reduce(x);
    let (sin, cos) = both(reduced.r);
    let (odd, sign) = quadrant(&reduced, 0);
    let y = odd.select(cos.sum(), sin.sum()).flip(sign);
    x.abs().lt(x.ctx.pick(TINY.0, TINY.1)).select(x, y)
}

/// `cos x`, NaN at infinity.
pub(super) fn cos<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let reduced = reduce(x);
    let (sin, cos) = both(reduced.r);
    let (odd, sign) = quadrant(&reduced, 1);
    let y = odd.select(sin.sum(), cos.sum()).flip(sign);
    x.abs().lt(x.ctx.pick(TINY.0, TINY.1)).select(1.0, y)
}

/// `sin r / cos r`, or `-cos r / sin r` in odd quadrants; NaN at infinity.
pub(super) fn tan<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let reduced = reduce(x);
    let (sin, cos) = both(reduced.r);
    let (sin, cos) = (fast_two_sum(sin.hi, sin.lo), fast_two_sum(cos.hi, cos.lo));
    let (odd, _) = quadrant(&reduced, 0);
    let n = Pair { hi: odd.select(-cos.hi, sin.hi), lo: odd.select(-cos.lo, sin.lo) };
    let d = Pair { hi: odd.select(sin.hi, cos.hi), lo: odd.select(sin.lo, cos.lo) };
    x.abs().lt(x.ctx.pick(TINY.0, TINY.1)).select(x, n.over(d))
}

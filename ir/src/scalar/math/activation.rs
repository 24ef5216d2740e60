//! Activations in one formula each: `silu`, `gelu` and its approximation, `mish`, `softplus`, `tanhshrink`, and the
//! normal distribution function `ndtr`.
//!
//! Composed from rounded steps these lose whole digits in their tails: the exponential turns a relative error of its
//! argument into one `|argument|` times as large, a subnormal factor has few bits, and `x - tanh x` cancels. So the
//! argument and the factors stay pairs, and the power of two of a small exponential is applied after `x` has been
//! multiplied. Below about -100 (-750) a result is zero; at minus infinity `x` times zero is NaN, as in PyTorch.

use super::df::{Pair, fast_two_sum, poly_pair, two_prod, two_sum};
use super::erf_tables::{ERF32, ERF64};
use super::expr::Expr;
use super::{erf, exp, log};

/// `(hi + lo) * 2^k`, with `k` in the low bits of `t`: a factor that is not yet rounded.
struct Factor<'a> {
    p: Pair<'a>,
    t: Expr<'a>,
}

impl<'a> Factor<'a> {
    /// `x` times the factor, rounded once; `x` below the range of exponentials counts as its end.
    fn times(self, x: Expr<'a>) -> Expr<'a> {
        let bounded = x.at_least(-2000.0);
        let [y] = exp::scale([bounded.fma(self.p.hi, bounded * self.p.lo)], self.t);
        // The low part may have the other sign than a zero.
        let y = x.eq(0.0).select(x, y);
        let edge = x.lt(0.0).select(f64::NAN, x);
        x.abs().eq(f64::INFINITY).select(edge, y)
    }
}

/// `e^-|z|`: as [`exp::Scaled`] and as a plain pair. At `end` it is zero for every use.
fn decay<'a>(z: Pair<'a>) -> (exp::Scaled<'a>, Pair<'a>) {
    let c = z.hi.ctx;
    let end = c.pick(112.0, 760.0);
    let near = z.hi.abs().lt(end);
    // NaN stays NaN.
    let hi = (-z.hi.abs()).at_least(-end);
    let e = exp::parts_of_pair(Pair { hi, lo: near.select(-z.lo.flip(z.hi.sign()), 0.0) });
    let [hi, lo] = exp::scale([e.pair.hi, e.pair.lo], e.t);
    (e, Pair { hi, lo })
}

/// `1 / (1 + e^-z)`.
fn logistic<'a>(z: Pair<'a>) -> Factor<'a> {
    let c = z.hi.ctx;
    let (e, plain) = decay(z);
    let d = fast_two_sum(c.f(1.0), plain.hi);
    let negative = z.hi.lt(0.0);
    let n = Pair { hi: negative.select(e.pair.hi, 1.0), lo: negative.select(e.pair.lo, 0.0) };
    Factor { p: n.ratio(Pair { hi: d.hi, lo: d.lo + plain.lo }), t: negative.select(e.t, c.magic()) }
}

/// `x / (1 + e^-x)`.
pub(super) fn silu<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    logistic(Pair { hi: x, lo: x.ctx.f(0.0) }).times(x)
}

/// `sqrt(8 / pi)` in two parts, and 0.044715 times it.
const SLOPE: ((f64, f64), (f64, f64)) =
    ((1.5957691669464111, 1.5957691216057308), (-4.534068054340423e-08, -9.96930880911092e-17));
const CUBIC: ((f64, f64), (f64, f64)) =
    ((0.07135481387376785, 0.07135481627260025), (2.3988324659995897e-09, -6.175149918155315e-19));

/// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`, which is `x / (1 + e^-2z)` for `z` the argument of `tanh`.
pub(super) fn gelu_tanh<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = x.ctx;
    let b = x.at_least(-100.0).at_most(100.0);
    let cubic = two_prod(b, b).times_constant(c.pick(CUBIC.0.0, CUBIC.0.1), c.pick(CUBIC.1.0, CUBIC.1.1));
    let s = two_sum(c.f(c.pick(SLOPE.0.0, SLOPE.0.1)), cubic.hi);
    let s = Pair { hi: s.hi, lo: s.lo + (cubic.lo + c.pick(SLOPE.1.0, SLOPE.1.1)) };
    logistic(s.times_pair(Pair { hi: b, lo: c.f(0.0) })).times(x)
}

/// `1 / sqrt(2)` in two parts.
const ROOT_HALF: ((f64, f64), (f64, f64)) =
    ((0.7071067690849304, 0.7071067811865476), (1.2101617485882343e-08, -4.833646656726457e-17));

/// The normal distribution function: `erfc(-x / sqrt 2) / 2`, and `1 - erfc(x / sqrt 2) / 2` above 0.
fn normal<'a>(x: Expr<'a>) -> Factor<'a> {
    let c = x.ctx;
    let end = c.pick(14.7, 38.9);
    let b = x.at_least(-end).at_most(end);
    let root = c.pick(ROOT_HALF.0.0, ROOT_HALF.0.1);
    let s = two_prod(b, root);
    let s = Pair { hi: s.hi, lo: b.fma(c.pick(ROOT_HALF.1.0, ROOT_HALF.1.1), s.lo) };

    // (1 + erf s) / 2
    let h = fast_two_sum(c.f(1.0), s.hi);
    let p = poly_pair(s.hi * s.hi, &ERF32, &ERF64, 0.0);
    let rest = s.hi.fma(p.hi, s.hi.fma(p.lo, s.lo));
    let near = Pair { hi: h.hi * 0.5, lo: (h.lo + rest) * 0.5 };

    let sign = s.hi.sign();
    let (far, t) = erf::tail(Pair { hi: s.hi.abs(), lo: s.lo.flip(sign) });
    let far = far.scaled(0.5);
    let [hi, lo] = exp::scale([far.hi, far.lo], t);
    let rest = fast_two_sum(c.f(1.0), -hi);

    let (is_near, negative) = (s.hi.abs().lt(0.65), x.lt(0.0));
    let pick = |near: Expr<'a>, low: Expr<'a>, high: Expr<'a>| is_near.select(near, negative.select(low, high));
    Factor {
        p: Pair { hi: pick(near.hi, far.hi, rest.hi), lo: pick(near.lo, far.lo, rest.lo - lo) },
        t: pick(c.f(c.magic()), t, c.f(c.magic())),
    }
}

/// `x` times the normal distribution function.
pub(super) fn gelu<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    // PyTorch halves last, so that the largest x overflow, and infinity becomes NaN. Elsewhere this changes nothing.
    (normal(x).times(x) * 2.0 + x * 0.0) * 0.5
}

/// The normal distribution function.
pub(super) fn ndtr<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let f = normal(x);
    let [y] = exp::scale([f.p.sum()], f.t);
    y
}

/// `x tanh(log(1 + e^x))`. With `e = e^x` that is `x e (e + 2) / (e (e + 2) + 2)`; with `n = e^-x`, `x (1 + 2n) / (1 +
/// 2n + 2n^2)`.
pub(super) fn mish<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = x.ctx;
    let (e, plain) = decay(Pair { hi: x, lo: c.f(0.0) });
    let a = fast_two_sum(c.f(2.0), plain.hi);
    let a = Pair { hi: a.hi, lo: a.lo + plain.lo };
    let (top, whole) = (e.pair.times_pair(a), plain.times_pair(a));
    let below = fast_two_sum(c.f(2.0), whole.hi);

    let twice = plain.scaled(2.0);
    let one = two_sum(c.f(1.0), twice.hi);
    let one = Pair { hi: one.hi, lo: one.lo + twice.lo };
    let square = plain.times_pair(twice);
    let more = fast_two_sum(one.hi, square.hi);

    let negative = x.lt(0.0);
    let n = Pair { hi: negative.select(top.hi, one.hi), lo: negative.select(top.lo, one.lo) };
    let d = Pair {
        hi: negative.select(below.hi, more.hi),
        lo: negative.select(below.lo + whole.lo, more.lo + (one.lo + square.lo)),
    };
    Factor { p: n.ratio(d), t: negative.select(e.t, c.magic()) }.times(x)
}

/// `log(1 + e^z)`: the larger of `z` and 0, and the logarithm of `1 + e^-|z|`.
fn log1pexp<'a>(z: Pair<'a>) -> Expr<'a> {
    let c = z.hi.ctx;
    let (_, e) = decay(z);
    let u = fast_two_sum(c.f(1.0), e.hi);
    let l = log::of_pair(Pair { hi: u.hi, lo: u.lo + e.lo });
    // Of a small e the sum with 1 has lost bits.
    let small = e.hi.lt(c.pick(f64::powi(2.0, -13), f64::powi(2.0, -28)));
    let l = Pair { hi: small.select(e.hi, l.hi), lo: small.select((e.hi * -0.5).fma(e.hi, e.lo), l.lo) };
    let above = c.f(0.0).lt(z.hi);
    let m = above.select(z.hi, 0.0);
    let s = two_sum(m, l.hi);
    let y = s.hi + (s.lo + (l.lo + above.select(z.lo, 0.0)));
    let y = m.eq(f64::INFINITY).select(m, y);
    z.hi.eq(z.hi).select(y, f64::NAN)
}

/// `log(1 + e^(beta x)) / beta`.
pub(super) fn softplus<'a>([x, beta]: [Expr<'a>; 2]) -> Expr<'a> {
    log1pexp(two_prod(x, beta)) / beta
}

/// `-log(1 + e^-x)`.
pub(super) fn logsigmoid<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    -log1pexp(Pair { hi: -x, lo: x.ctx.f(0.0) })
}

/// `(r - tanh r) / r^3` in `r^2`, up to 0.6, and what the first coefficient lacks (`tools/fit/fits.py tanhshrink`).
const SHRINK32: [f64; 6] = [0.33333333, -0.13333312, 0.053961292, -0.021786379, 0.008404104, -0.002364307];
const SHRINK64: [f64; 12] = [
    0.3333333333333333,
    -0.13333333333333203,
    0.05396825396808131,
    -0.021869488527193642,
    0.0088632352888993,
    -0.003592124199078512,
    0.001455795471528592,
    -0.0005897659382593255,
    0.00023794476798586254,
    -9.330923864601004e-05,
    3.206886990695726e-05,
    -6.925032475468939e-06,
];
const SHRINK_0: (f64, f64) = (-1.0990815e-08, 1.685863807292196e-17);

/// `x - tanh x`: `x^3` times a polynomial up to 0.6.
pub(super) fn tanhshrink<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let a = x.abs();
    let t = exp::tanh_pair(a);
    let d = fast_two_sum(a, -t.hi);
    let far = (d.hi + (d.lo - t.lo)).flip(x.sign());
    let z = two_prod(x, x);
    let p = poly_pair(z.hi, &SHRINK32, &SHRINK64, x.ctx.pick(SHRINK_0.0, SHRINK_0.1));
    let p = z.times_pair(p);
    // Scaled where the product with the low part would underflow.
    let (tiny, c) = (a.lt(x.ctx.pick(f64::powi(2.0, -30), f64::powi(2.0, -300))), x.ctx);
    let scaled = tiny.select(x * c.pick(f64::powi(2.0, 32), f64::powi(2.0, 256)), x);
    let down = tiny.select(c.pick(f64::powi(2.0, -32), f64::powi(2.0, -256)), 1.0);
    let near = scaled.fma(p.hi, scaled * p.lo) * down;
    let far = a.eq(f64::INFINITY).select(x, far);
    a.lt(0.6).select(near, far)
}

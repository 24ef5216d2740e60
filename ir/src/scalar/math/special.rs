//! Special functions: `sinc`, the modified Bessel functions `i0` and `i1` and these times `e^-|x|`, and Hurwitz' `zeta`.
//!
//! `sinc x` is `sin(pi d)/pi` over `x`, `d` the exact distance to the nearest integer, so it is accurate for every `x` and
//! zero at integers. `i0` and `i1` are polynomials in `(x/2)^2` up to 8 (all their terms are positive), and above it
//! `e^x / sqrt(x)` times one in `16/x - 1`, the arrangement of Cephes (S. L. Moshier) with polynomials of our own
//! (`tools/fit/fits.py bessel`). `zeta` is its first terms and Euler and Maclaurin's formula for the rest.

use super::df::{Pair, fast_two_sum, poly_pair, two_prod, two_sum};
use super::expr::Expr;
use super::gamma_tables::{SINC32, SINC64};
use super::{exp, log, pow};

/// `sin(pi x) / (pi x)`, 1 at 0.
pub(super) fn sinc<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let a = x.abs();
    let whole = a.nearest();
    let d = a - whole;
    let p = poly_pair(d * d, &SINC32, &SINC64, 0.0);
    let w = two_prod(d, p.hi);
    let w = Pair { hi: w.hi, lo: d.fma(p.lo, w.lo) };
    // The sine changes its sign from one integer to the next.
    let half = whole * 0.5;
    let sign = half.nearest().eq(half).select(0.0, -0.0).bits();
    // The sum with 0 makes a zero positive; huge numbers are integers.
    let far = w.hi / a + (w.lo + (-(w.hi / a)).fma(a, w.hi)) / a;
    let far = far.flip(sign) + 0.0;
    a.lt(0.5).select(p.hi + p.lo, far)
}

/// The tables of one Bessel function: near, far and what the first far coefficient lacks, for `f32` and `f64`.
struct Bessel {
    near: (&'static [f64], &'static [f64]),
    far: (&'static [f64], &'static [f64]),
    rest: (f64, f64),
}

const I0: Bessel = Bessel {
    near: (
        &[
            1.0,
            1.0,
            0.25,
            0.02777777,
            0.0017361223,
            6.943785e-05,
            1.9310028e-06,
            3.902557e-08,
            6.497768e-10,
            5.5669245e-12,
            1.3730969e-13,
        ],
        &[
            1.0,
            1.0,
            0.25,
            0.027777777777777776,
            0.001736111111111117,
            6.944444444443467e-05,
            1.9290123456880998e-06,
            3.9367598885964226e-08,
            6.151187349278545e-10,
            7.594057759577072e-12,
            7.594073102075734e-14,
            6.275839589351069e-16,
            4.361403859227691e-18,
            2.5504712596800565e-20,
            1.517840210029684e-22,
            -4.761866116463801e-25,
            4.2218838702275074e-26,
            -1.0106613097315958e-27,
            1.5786298266286745e-29,
            -1.1161645684534233e-31,
        ],
    ),
    far: (
        &[0.4021765, 0.0033605555, 0.00013615604, 1.1112878e-05, 1.6391234e-06, 3.6209747e-07],
        &[
            0.4021765094450081,
            0.0033605519836677504,
            0.0001362160743898574,
            1.1143033800712697e-05,
            1.483847664722605e-06,
            2.973596045979973e-07,
            8.872035011607811e-08,
            3.932889421102206e-08,
            2.156620114986199e-08,
            7.534353729071668e-09,
            -6.849103261028688e-09,
            -1.3326088317959552e-08,
            -5.0387904173585885e-09,
            7.335957390238161e-09,
            6.561417337683793e-09,
            -3.1346140377673618e-09,
            -4.5770888165380565e-09,
            1.1050456684547195e-09,
            2.198036949674451e-09,
            -2.8033384680095766e-10,
            -6.638110672852792e-10,
            3.6292747401763395e-11,
            9.373862936489667e-11,
        ],
    ),
    rest: (1.34479565e-08, -1.685810640852965e-17),
};

const I1: Bessel = Bessel {
    near: (
        &[
            1.0,
            0.5,
            0.083333336,
            0.0069444394,
            0.0003472261,
            1.1572553e-05,
            2.7591852e-07,
            4.873048e-09,
            7.2445334e-11,
            5.505037e-13,
            1.25426445e-14,
        ],
        &[
            1.0,
            0.5,
            0.08333333333333333,
            0.006944444444444468,
            0.0003472222222221717,
            1.1574074074133467e-05,
            2.7557319219554974e-07,
            4.92094988399448e-09,
            6.834651763612103e-11,
            7.594080469059672e-13,
            6.903245257103741e-15,
            5.236875071532568e-17,
            3.2728809025596072e-19,
            2.554843654310378e-21,
            -3.945406909244573e-23,
            2.4623556413845442e-24,
            -8.772009872361625e-26,
            2.164627317385775e-27,
            -3.244773000128466e-29,
            2.234150421886628e-31,
        ],
    ),
    far: (
        &[0.38939846, -0.009749582, -0.00021916808, -1.5001444e-05, -2.0097941e-06, -4.2300252e-07],
        &[
            0.38939845902587233,
            -0.009749577193235635,
            -0.00021923576383169624,
            -1.5038547209502046e-05,
            -1.8349102370177743e-06,
            -3.483853437919021e-07,
            -1.0001093909270294e-07,
            -4.313196506481001e-08,
            -2.3392643749470943e-08,
            -8.409180956242165e-09,
            6.840792199880865e-09,
            1.3958546974400974e-08,
            5.591470295871164e-09,
            -7.444432393632476e-09,
            -6.9802913432180865e-09,
            3.086874038440805e-09,
            4.806340457097099e-09,
            -1.0594436636780133e-09,
            -2.2938330691100657e-09,
            2.6340265803319244e-10,
            6.903740530495904e-10,
            -3.365330710261976e-11,
            -9.728132619664922e-11,
        ],
    ),
    rest: (-3.95924e-10, -1.3534365945415334e-17),
};

/// The near polynomial, and `e^a / sqrt(a)` times the far one, for `a >= 0`.
fn bessel<'a>(a: Expr<'a>, t: &Bessel) -> (Pair<'a>, Expr<'a>) {
    let c = a.ctx;
    let half = a.at_most(8.0) * 0.5;
    let near = poly_pair(half * half, t.near.0, t.near.1, 0.0);
    // Beyond the end the result is infinite.
    let b = a.at_least(1.0).at_most(c.pick(100.0, 720.0));
    let e = exp::parts(b);
    let p = poly_pair(c.f(16.0) / b - 1.0, t.far.0, t.far.1, c.pick(t.rest.0, t.rest.1));
    let far = e.pair.times_pair(p).ratio(log::sqrt(Pair { hi: b, lo: c.f(0.0) }));
    let [far] = exp::scale([far.sum()], e.t);
    (near, far)
}

/// The modified Bessel function of the first kind of order 0; NaN at infinity, as in PyTorch, where it is computed as
/// infinity over infinity.
pub(super) fn i0<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let a = x.abs();
    let (near, far) = bessel(a, &I0);
    let far = a.eq(f64::INFINITY).select(f64::NAN, far);
    a.lt(8.0).select(near.sum(), far)
}

/// The modified Bessel function of the first kind of order 1; NaN at infinity, see [`i0`].
pub(super) fn i1<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let a = x.abs();
    let (near, far) = bessel(a, &I1);
    let far = a.eq(f64::INFINITY).select(f64::NAN, far);
    let h = x * 0.5;
    let near = h.fma(near.hi, h * near.lo);
    let near = x.eq(0.0).select(x, near);
    a.lt(8.0).select(near, far.flip(x.sign()))
}

/// `e^-a` times the near polynomial, with its power of two left out, and the far one over `sqrt(a)`, for `a >= 0`.
fn scaled_bessel<'a>(a: Expr<'a>, t: &Bessel) -> (exp::Scaled<'a>, Expr<'a>) {
    let c = a.ctx;
    let small = a.at_most(8.0);
    let half = small * 0.5;
    let e = exp::parts(-small);
    let near = e.pair.times_pair(poly_pair(half * half, t.near.0, t.near.1, 0.0));
    let b = a.at_least(1.0);
    let p = poly_pair(c.f(16.0) / b - 1.0, t.far.0, t.far.1, c.pick(t.rest.0, t.rest.1));
    let far = p.ratio(log::sqrt(Pair { hi: b, lo: c.f(0.0) })).sum();
    (exp::Scaled { pair: near, t: e.t }, a.eq(f64::INFINITY).select(0.0, far))
}

/// `e^-|x|` times [`i0`].
pub(super) fn i0e<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let a = x.abs();
    let (near, far) = scaled_bessel(a, &I0);
    let [near] = exp::scale([near.pair.sum()], near.t);
    a.lt(8.0).select(near, far)
}

/// `e^-|x|` times [`i1`].
pub(super) fn i1e<'a>([x]: [Expr<'a>; 1]) -> Expr<'a> {
    let a = x.abs();
    let (near, far) = scaled_bessel(a, &I1);
    let h = a * 0.5;
    let [near] = exp::scale([h.fma(near.pair.hi, h * near.pair.lo)], near.t);
    a.lt(8.0).select(near, far).flip(x.sign())
}

/// The terms that are summed one by one.
const TERMS: i32 = 9;
/// `(2k)! / B_2k`, the divisors in Euler and Maclaurin's formula.
const BERNOULLI: [f64; 12] = [
    12.0,
    -720.0,
    30240.0,
    -1209600.0,
    47900160.0,
    -1892437580.3183792,
    74724249600.0,
    -2950130727918.164,
    116467828143500.67,
    -4597978722407473.0,
    1.8152105401943546e+17,
    -7.166165256175667e+18,
];

/// The sum of `(q + k)^-s` over `k = 0, 1, ...` for `s > 1`: infinite at `q` = 0, -1, ..., NaN for other negative `q` and
/// for `s < 1`.
pub(super) fn zeta<'a>([s, q]: [Expr<'a>; 2]) -> Expr<'a> {
    let c = s.ctx;
    let minus = -s;
    let w = q + f64::from(TERMS);
    // w^-s may underflow where w times it does not.
    let root = pow::pow([w, minus * 0.5]);
    let b = root * root;
    // w^(1-s) / (s - 1) + w^-s / 2 + sum of s (s+1) ... (s+2k-2) w^(-s-2k+1) B_2k / (2k)!
    let count = c.pick(4, BERNOULLI.len());
    let (mut factor, mut tail) = (s * (b / w), b * 0.5);
    for (k, divisor) in BERNOULLI.iter().enumerate().take(count) {
        tail = tail + factor / *divisor;
        let n = f64::from(2 * k as u32);
        factor = (factor * ((s + (n + 1.0)) * (s + (n + 2.0)))) / (w * w);
    }
    // Of a power that is 0 nothing is left, however large s is.
    let gone = root.eq(0.0);
    let main = (root * w) * root / (s - 1.0);
    let mut sum = two_sum(gone.select(0.0, main), gone.select(0.0, tail));
    for k in (0..TERMS).rev() {
        let term = pow::pow([q + f64::from(k), minus]);
        let next = fast_two_sum(term, sum.hi);
        sum = Pair { hi: next.hi, lo: next.lo + sum.lo };
    }
    // Where a term is infinite the low parts are not numbers.
    let y = sum.hi.eq(f64::INFINITY).select(sum.hi, sum.hi + sum.lo);
    let pole = q.floor().eq(q).select(f64::INFINITY, f64::NAN);
    let y = q.eq(f64::INFINITY).select(0.0, q.le(0.0).select(pole, y));
    let y = s.eq(1.0).select(f64::INFINITY, s.lt(1.0).select(f64::NAN, y));
    (s.eq(s) & q.eq(q)).select(y, f64::NAN)
}

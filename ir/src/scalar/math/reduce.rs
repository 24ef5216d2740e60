//! Range reduction of `sin`, `cos` and `tan`: `x = (n + 4 m) pi/2 + r` with `|r| <= pi/4`, for every finite `x`.
//!
//! Payne and Hanek's idea (M. Payne, R. Hanek, *Radian reduction for trigonometric functions*, SIGNUM 18, 1983) in
//! floating point: `x / 2pi` modulo 1 is computed in turns from an exact expansion. With `p` the bits of the type,
//! `2/pi` is cut into chunks of `p` bits. Chunk `c` times `x` is a whole number of turns if `|x| >= 2^(p + 1 + p (c +
//! 1))`, so such chunks are skipped; the five chunks from there on give `x / 2pi` to about `2^-4p`, while no `x` of the
//! type comes closer to a multiple of `pi/2` than about `2^-31` (`2^-62`), relative to which the result is then good to
//! twice the type's bits.
//!
//! How many chunks to skip is found by halving: "at least 16? then 8? ...", each step a comparison, a scaling of `x` by
//! a power of two, and a select for every constant still in play. Each product of a chunk and `x` is an exact pair;
//! whole turns are dropped from its parts, exactly. The parts are added from the largest down with the rounding errors
//! collected; the quarter turns are taken off first, so that where the result is small the sums are exact.

use super::df::{Pair, fast_two_sum, two_prod, two_sum};
use super::expr::Expr;

/// The bits of 2/pi in chunks of 24, each as a number in `[0, 1)` (`tools/fit/fits.py reduction`).
const CHUNKS32: [f64; 9] = [
    0.6366197466850281,
    0.4308817386627197,
    0.0826718807220459,
    0.15368372201919556,
    0.9578378796577454,
    0.7533475160598755,
    0.584369421005249,
    0.2639198899269104,
    0.9934293627738953,
];
/// The same in chunks of 53.
const CHUNKS64: [f64; 23] = [
    0.6366197723675813,
    0.6455004762340146,
    0.8260347502167291,
    0.6177029686506639,
    0.22946046207480975,
    0.28461387860774945,
    0.006138546976630632,
    0.5660391411155584,
    0.16270821739654884,
    0.6478181222020806,
    0.752362340216695,
    0.7848375294503177,
    0.2882121784458589,
    0.3143043483578357,
    0.505462883924126,
    0.35474129975356194,
    0.495348441190541,
    0.9093006150323975,
    0.7102755855591438,
    0.9716433593102769,
    0.645159640989469,
    0.38377539675336436,
    0.7971457910852385,
];
/// 2 pi rounded to the type, and the rest.
const TWO_PI: ((f64, f64), (f64, f64)) =
    ((6.2831854820251465, 6.283185307179586), (-1.7484555314695172e-07, 2.4492935982947064e-16));

/// The chunks used for one `x`.
const WINDOW: usize = 5;

/// The quadrant `n` in the low bits of a float `magic + n`, and `r`. NaN for infinities.
pub(super) struct Reduced<'a> {
    pub(super) quadrant: Expr<'a>,
    pub(super) r: Pair<'a>,
}

/// `x` divided by `2^(p s)`, where the `s` first chunks do not matter, and the [`WINDOW`] chunks after them.
fn window<'a>(mut x: Expr<'a>) -> (Expr<'a>, Vec<Expr<'a>>) {
    let c = x.ctx;
    let p = c.mantissa() as i32 + 1;
    let table: &[f64] = c.pick(&CHUNKS32, &CHUNKS64);
    let mut chunks: Vec<Expr<'a>> = table.iter().map(|v| c.f(*v)).collect();
    let first = c.pick(4, 16);
    let steps = std::iter::successors(Some(first), |s| (*s > 1).then_some(s / 2));
    for step in steps {
        let skip = c.f(f64::powi(2.0, p + 1 + p * step as i32)).le(x.abs());
        x = skip.select(x * f64::powi(2.0, -p * step as i32), x);
        chunks = (0..WINDOW + step - 1)
            .map(|i| chunks.get(i + step).map_or(chunks[i], |later| skip.select(*later, chunks[i])))
            .collect();
    }
    (x, chunks)
}

/// `t` less the nearest whole number; exact.
fn fraction<'a>(t: Expr<'a>) -> Expr<'a> {
    t - t.nearest()
}

/// Reduces `x`. Good for `|x| >= 2^-20`; below that the low part may underflow.
pub(super) fn reduce<'a>(x: Expr<'a>) -> Reduced<'a> {
    let c = x.ctx;
    let p = c.mantissa() as i32 + 1;
    let (x, chunks) = window(x);
    // In turns: x/2pi = sum of x 2^(-2 - p j) chunk[j].
    let product = |j: usize| two_prod(x * f64::powi(2.0, -2 - p * j as i32), chunks[j]);
    let (t0, t1, t2, t3) = (product(0), product(1), product(2), product(3));
    let last = x * f64::powi(2.0, -2 - p * 4) * chunks[4];
    // |x| < 2^(2p + 1), so only the first three parts can hold whole turns.
    let parts = [fraction(t0.hi), fraction(t0.lo), fraction(t1.hi), t1.lo, t2.hi, t2.lo, t3.hi];
    let about = (parts[0] + parts[1]) + ((parts[2] + parts[3]) + parts[4]);
    let quadrant = about.fma(4.0, c.magic());
    let quarters = quadrant - c.magic();
    let start = quarters.fma(-0.25, parts[0]);
    let (mut sum, mut errors) = (start, None::<Expr<'a>>);
    for part in &parts[1..] {
        let s = two_sum(sum, *part);
        sum = s.hi;
        errors = Some(errors.map_or(s.lo, |e| e + s.lo));
    }
    let low = errors.map_or(t3.lo, |e| e + t3.lo) + last;
    let turns = fast_two_sum(sum, low);
    Reduced { quadrant, r: turns.times_constant(c.pick(TWO_PI.0.0, TWO_PI.0.1), c.pick(TWO_PI.1.0, TWO_PI.1.1)) }
}

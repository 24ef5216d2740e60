//! Operands: special values, edges, and dense samples, the same in every run.
//!
//! Functions with settings (the slope of `leaky_relu`) take them from the reference's list, all other operands are drawn
//! from bit patterns and from the intervals where the function is interesting.

use crate::reference::Reference;

/// Bit patterns spread over all of 64 bits: Weyl's sequence with the golden ratio, mixed a little.
pub fn spread(i: u64) -> u64 {
    let z = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 32)
}

/// Zeros, infinities, NaN, the ends of the ranges, small integers and halves, and some others, with both signs.
pub fn specials(max: f64, tiny: f64, least: f64, eps: f64) -> Vec<f64> {
    let positive = [
        0.0,
        1.0,
        2.0,
        3.0,
        0.5,
        1.5,
        2.5,
        7.0,
        8.0,
        100.5,
        1e10,
        1e-10,
        f64::INFINITY,
        f64::NAN,
        max,
        tiny,
        least,
        1.0 + eps,
        1.0 - eps / 2.0,
        tiny - least,
        std::f64::consts::PI,
        std::f64::consts::LN_2,
        1.0 / eps,
        2.0 / eps,
        1.0 / eps - 1.0,
    ];
    positive.iter().flat_map(|x| [*x, -*x]).collect()
}

/// The `i`-th operand at position `k`: settings in turn, else a third over all bit patterns and the rest over intervals.
fn operand(i: u64, k: usize, r: &Reference, bits: impl Fn(u64) -> f64) -> f64 {
    let z = spread(i ^ (k as u64) << 40);
    if let Some(s) = k.checked_sub(1).and_then(|k| r.settings.get(k)) {
        return s[(z >> 7) as usize % s.len()];
    }
    if (i.is_multiple_of(3) && !r.inside) || r.ranges.is_empty() {
        return bits(z);
    }
    let (a, b) = r.ranges[(i / 3 % r.ranges.len() as u64) as usize];
    a + (b - a) * ((z >> 11) as f64 * 2f64.powi(-53))
}

/// All combinations of special values, settings in the place of those that have some.
fn combinations(arity: usize, r: &Reference, specials: &[f64]) -> Vec<Vec<f64>> {
    let mut all: Vec<Vec<f64>> = vec![vec![]];
    for k in 0..arity {
        let here = k.checked_sub(1).and_then(|k| r.settings.get(k)).copied().unwrap_or(specials);
        // Three operands have too many combinations for all of them.
        let here = if arity == 3 && r.settings.is_empty() { &here[..26] } else { here };
        all = all.iter().flat_map(|head| here.iter().map(|x| [&head[..], &[*x]].concat())).collect();
    }
    all
}

/// Special values; for one operand also the neighbours of powers of two and of multiples of a right angle, and subnormals.
pub fn special_f32(arity: usize, r: &Reference) -> impl Iterator<Item = Vec<f32>> {
    let list = specials(f32::MAX as f64, f32::MIN_POSITIVE as f64, f32::from_bits(1) as f64, f32::EPSILON as f64);
    let list: Vec<Vec<f64>> = if r.inside { vec![] } else { combinations(arity, r, &list) };
    let one = arity == 1;
    let powers = (0..256u32).filter(move |_| one).flat_map(|e| (-3..=3i64).map(move |d| ((e as i64) << 23) + d));
    let subnormals = (0..20_000i64).filter(move |_| one).map(|i| 1 + i * 419);
    let angles = (1..4000).filter(move |_| one).flat_map(|k| {
        let x = (k as f64 * std::f64::consts::FRAC_PI_2) as f32;
        (-2..=2i64).map(move |d| x.to_bits() as i64 + d)
    });
    // The hardest operand of f32 for a reduction by pi/2 (J.-M. Muller, Elementary Functions).
    let hardest = (-2..=2i64).filter(move |_| one);
    let hardest = hardest.map(|d| ((16_367_173.0 * 2f64.powi(72)) as f32).to_bits() as i64 + d);
    let bits = powers.chain(subnormals).chain(angles).chain(hardest).filter(|b| *b >= 0).map(|b| b as u32);
    let signed = bits.flat_map(|b| [f32::from_bits(b), -f32::from_bits(b)]).map(|x| vec![x]);
    list.into_iter().map(|x| x.into_iter().map(|v| v as f32).collect()).chain(signed.filter(|_| !r.inside))
}

/// The same in `f64`.
pub fn special_f64(arity: usize, r: &Reference) -> impl Iterator<Item = Vec<f64>> {
    let list = specials(f64::MAX, f64::MIN_POSITIVE, f64::from_bits(1), f64::EPSILON);
    let list: Vec<Vec<f64>> = if r.inside { vec![] } else { combinations(arity, r, &list) };
    let one = arity == 1;
    let powers = (0..2047i64).filter(move |_| one).flat_map(|e| (-1..=1i64).map(move |d| (e << 52) + d));
    let subnormals = (0..5000i64).filter(move |_| one).map(|i| 1 + i * 900_719_925_474);
    let angles = (1..4000).filter(move |_| one).flat_map(|k| {
        let x = k as f64 * std::f64::consts::FRAC_PI_2;
        (-1..=1i64).map(move |d| x.to_bits() as i64 + d)
    });
    let hardest = (-2..=2i64).filter(move |_| one);
    let hardest = hardest.map(|d| (6_381_956_970_095_103.0 * 2f64.powi(797)).to_bits() as i64 + d);
    let bits = powers.chain(subnormals).chain(angles).chain(hardest).filter(|b| *b >= 0).map(|b| b as u64);
    let signed = bits.flat_map(|b| [f64::from_bits(b), -f64::from_bits(b)]).map(|x| vec![x]);
    list.into_iter().chain(signed.filter(|_| !r.inside))
}

/// Samples; ten times as many in a sweep.
pub fn dense_f32(arity: usize, r: &'static Reference, whole: bool) -> impl Iterator<Item = Vec<f32>> {
    let n = if whole { 4_000_000 } else { 400_000 };
    let bits = |z: u64| f32::from_bits((z >> 32) as u32) as f64;
    (0..n).map(move |i| (0..arity).map(|k| operand(i, k, r, bits) as f32).collect())
}

/// Samples; ten times as many in a sweep.
pub fn dense_f64(arity: usize, r: &'static Reference, whole: bool) -> impl Iterator<Item = Vec<f64>> {
    let n = if whole { 1_000_000 } else { 100_000 };
    (0..n).map(move |i| (0..arity).map(|k| operand(i, k, r, f64::from_bits)).collect())
}

//! Random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", 2011),
//! written over integer ops of the graph.
//!
//! The counter is the element's row-major index and the key is the seed, so an element's number depends on nothing else:
//! not on fusion, threads or the device.

use crate::builder::{Builder, Ex};
use crate::dim::{Dims, product};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef};
use crate::types::checked_numel;

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "rand",
        sig: "size: ints, seed: tensor, dtype: dtype? = None",
        doc: "Uniform numbers in [0, 1): 24 random bits of f32, 53 of f64. `seed` is an i64 scalar.",
        build: |b, a| {
            let (shape, words) = words(b, a, 0, 1)?;
            let dtype = float(a, 2)?;
            Ok(uniform(words, dtype).cast(dtype).reshape(&shape).into())
        },
    },
    FnDef {
        name: "randn",
        sig: "size: ints, seed: tensor, dtype: dtype? = None",
        doc: "Normal numbers of mean 0 and variance 1, by Box and Muller's transform. `seed` is an i64 scalar.",
        build: |b, a| {
            let (shape, [w0, w1, w2, w3]) = words(b, a, 0, 1)?;
            let dtype = float(a, 2)?;
            let work = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            // 1 - u is in (0, 1], where the logarithm is finite.
            let radius = (-2.0 * (1.0 - uniform([w0, w1, w2, w3], work)).log()).sqrt();
            let angle = uniform([w2, w3, w0, w1], work) * std::f64::consts::TAU;
            Ok((radius * angle.cos()).cast(dtype).reshape(&shape).into())
        },
    },
    FnDef {
        name: "randint",
        sig: "low: int, high: int, size: ints, seed: tensor",
        doc: "Uniform i64 numbers in low..high. `seed` is an i64 scalar.",
        build: |b, a| {
            let (low, high) = (a.int(0)?, a.int(1)?);
            let span = high.checked_sub(low).filter(|s| *s > 0 && *s <= 1 << 31);
            let Some(span) = span else {
                return Err(err::index(format!("`randint`: no range {low}..{high} of at most 2^31 numbers")));
            };
            let (shape, [w0, ..]) = words(b, a, 2, 3)?;
            // The upper half of a 32 by 32 bit product: uniform to within 2^-32 of the span.
            let scaled = shift(w0 * int(b, span), 32);
            Ok((scaled + int(b, low)).reshape(&shape).into())
        },
    },
    FnDef {
        name: "rand_like",
        sig: "x, seed: tensor, dtype: dtype? = None",
        doc: "Uniform numbers in [0, 1) of the shape and dtype of x.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let dtype = if a.is_none(2) { x.dtype() } else { float(a, 2)? };
            if !dtype.is_float() {
                return Err(err::dtype(format!("random numbers of {dtype}: only floating point dtypes")));
            }
            let words = philox(b, b.iota(x.count()), seed(b, a, 1)?);
            Ok(uniform(words, dtype).cast(dtype).reshape(&x.dims()).into())
        },
    },
    FnDef {
        name: "bernoulli",
        sig: "p, seed: tensor",
        doc: "1 with the probability that each element says, else 0, in the dtype of p.",
        build: |b, a| {
            let p = a.tensor(b, 0)?;
            crate::ops::registry::require_float("bernoulli", p)?;
            let u = uniform(philox(b, b.iota(p.count()), seed(b, a, 1)?), DType::F32).reshape(&p.dims());
            Ok(u.lt(p.cast(DType::F32)).cast(p.dtype()).into())
        },
    },
    FnDef {
        name: "randperm",
        sig: "n: int, seed: tensor",
        doc: "The numbers 0..n in random order, i64.",
        build: |b, a| {
            let n = usize::try_from(a.int(0)?).map_err(|_| err::shape("`randperm`: n must not be negative"))?;
            checked_numel(&[n])?;
            let [w0, w1, ..] = philox(b, b.iota(n), seed(b, a, 1)?);
            // 63 bits: equal keys, which keep their order, do not happen.
            let keys = w0.map("bitwise_right_shift", &[int(b, 1)]) * int(b, 1 << 32) + w1;
            Ok(super::sort::order(keys, 0, false).into())
        },
    },
    FnDef {
        name: "dropout",
        sig: "x, p: float = 0.5, training: bool = true, seed: tensor? = None",
        doc: "When training, each element is 0 with probability p, else divided by 1 - p; needs a seed. Floats only.",
        build: |b, a| {
            let (x, p) = (a.tensor(b, 0)?, a.float(1)?);
            crate::ops::registry::require_float("dropout", x)?;
            if !(0.0..=1.0).contains(&p) {
                return Err(err::ty(format!("`dropout`: the probability has to be between 0 and 1, got {p}")));
            }
            if !a.bool(2)? || p == 0.0 {
                return Ok(x.copy().into());
            }
            if a.is_none(3) {
                return Err(err::ty("`dropout` needs a `seed` when training").help("give an i64 scalar: `seed=…`"));
            }
            let u = uniform(philox(b, b.iota(x.count()), seed(b, a, 3)?), DType::F32).reshape(&x.dims());
            let keep = u.ge(b.number(Scalar::from_f64(DType::F64, p)));
            let scaled = if p == 1.0 { x.zeros() } else { super::unit([x], |[x]| x / (1.0 - p)) };
            Ok(keep.select(scaled, x.zeros()).into())
        },
    },
    FnDef {
        name: "fold_in",
        sig: "seed: tensor, data: tensor",
        doc: "Another seed, for a number: independent streams for steps, layers, workers. i64 scalars.",
        build: |b, a| {
            let (seed, data) = (seed(b, a, 0)?, seed(b, a, 1)?);
            let [w0, w1, ..] = philox(b, data, seed);
            Ok((w0 + w1 * int(b, 1 << 32)).into())
        },
    },
];

fn int(b: &Builder, v: i64) -> Ex<'_> {
    b.number(Scalar::from_i64(DType::I64, v))
}

fn seed<'b>(b: &'b Builder, a: &Args<'b>, i: usize) -> Result<Ex<'b>> {
    let s = a.tensor(b, i)?;
    if s.dtype() != DType::I64 || s.rank() != 0 {
        return Err(err::dtype(format!("the seed is {}, expected an i64 scalar", s.ty())));
    }
    Ok(s.cast(DType::I64))
}

fn float(a: &Args<'_>, i: usize) -> Result<DType> {
    let dtype = a.opt_dtype(i)?.unwrap_or(DType::F32);
    if !dtype.is_float() {
        return Err(err::dtype(format!("random numbers of {dtype}: only floating point dtypes")));
    }
    Ok(dtype)
}

/// The shape, and four random words for each element, flat.
fn words<'b>(b: &'b Builder, a: &Args<'b>, size: usize, seed_at: usize) -> Result<(Dims, [Ex<'b>; 4])> {
    let shape = super::create::sizes(&a.dims(size)?)?;
    let n = product(&shape);
    Ok((shape, philox(b, b.iota(n), seed(b, a, seed_at)?)))
}

/// The lower 32 bits.
fn low(x: Ex<'_>) -> Ex<'_> {
    x.map("bitwise_and", &[int(x.builder(), 0xffff_ffff)])
}

/// Bits from `by` on, without sign, of 64-bit numbers whose upper 32 are wanted.
fn shift(x: Ex<'_>, by: i64) -> Ex<'_> {
    low(x.map("bitwise_right_shift", &[int(x.builder(), by)]))
}

fn xor<'b>(x: Ex<'b>, y: Ex<'b>) -> Ex<'b> {
    x.map("bitwise_xor", &[y])
}

/// Ten rounds of Philox4x32 on counters `(low, high, 0, 0)` with the key's two halves. Words are `i64` in `0..2^32`.
fn philox<'b>(b: &'b Builder, counter: Ex<'b>, key: Ex<'b>) -> [Ex<'b>; 4] {
    let zero = counter.zeros();
    let mut c = [low(counter), shift(counter, 32), zero, zero];
    let mut k = [low(key), shift(key, 32)];
    for _ in 0..10 {
        let (p, q) = (c[0] * int(b, 0xd251_1f53), c[2] * int(b, 0xcd9e_8d57));
        c = [xor(xor(shift(q, 32), c[1]), k[0]), low(q), xor(xor(shift(p, 32), c[3]), k[1]), low(p)];
        k = [low(k[0] + int(b, 0x9e37_79b9)), low(k[1] + int(b, 0xbb67_ae85))];
    }
    c
}

/// Uniform in [0, 1): the upper 24 bits of the first word, or for f64 53 bits of the first two.
fn uniform<'b>([w0, w1, ..]: [Ex<'b>; 4], dtype: DType) -> Ex<'b> {
    let b = w0.builder();
    if dtype == DType::F64 {
        let bits =
            w0.map("bitwise_right_shift", &[int(b, 5)]) * int(b, 1 << 26) + w1.map("bitwise_right_shift", &[int(b, 6)]);
        return bits.cast(DType::F64) * 2f64.powi(-53);
    }
    w0.map("bitwise_right_shift", &[int(b, 8)]).cast(DType::F32) * 2f64.powi(-24)
}

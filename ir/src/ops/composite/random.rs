//! Random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", 2011),
//! written over integer ops of the graph.
//!
//! The counter is the element's row-major index and the key is the seed, so an element's number depends on nothing else:
//! not on fusion, threads or the device. Every function takes `seed`, an i64 scalar; distributions are in
//! [`super::distribution`].

use super::pool;
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, Dims, product};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Arg, Args, FnDef, require_float};
use crate::types::checked_count;

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "rand",
        sig: "size: ints, seed: tensor? = None, dtype: dtype? = None",
        example: "=> rand([2, 3], seed=7, dtype=D)",
        doc: "Uniform numbers in [0, 1): 53 random bits of f64, 24 of f32, 11 of f16, 8 of bf16; f32 if no dtype is \
              given. `seed` is an i64 scalar; equal seeds give equal numbers. Floats.",
        build: |b, a| {
            let (shape, dtype) = (size(a, 0)?, float(a, 2)?);
            Ok(draw(b, a, 1, &shape, |w| uniform(w, dtype))?.into())
        },
    },
    FnDef {
        name: "randn",
        sig: "size: ints, seed: tensor? = None, dtype: dtype? = None",
        example: "=> randn([2, 3], seed=7, dtype=D)",
        doc: "Normal numbers of mean 0 and variance 1, by Box and Muller's transform; f32 if no dtype is given. `seed` \
              is an i64 scalar; equal seeds give equal numbers. Floats.",
        build: |b, a| {
            let (shape, dtype) = (size(a, 0)?, float(a, 2)?);
            Ok(draw(b, a, 1, &shape, |w| normal(w, dtype))?.into())
        },
    },
    FnDef {
        name: "randint",
        sig: "low: any = 0, high: any = None, size: any = None, seed: tensor? = None, dtype: dtype? = None",
        example: "=> randint(0, 2, [2, 3], seed=7, dtype=D)",
        doc: "Uniform integers in low..high (0..high if one bound is given), i64 if no dtype is. `seed` is an i64 \
              scalar; equal seeds give equal numbers. An error if the range is empty.",
        build: |b, a| {
            // `randint(high, size)` as well as `randint(low, high, size)`.
            let (low, high, shape) = match (a.raw(1), a.raw(2)) {
                (Arg::List(_), Arg::None) => (0, a.int(0)?, size(a, 1)?),
                (Arg::None, _) => (0, a.int(0)?, size(a, 2)?),
                _ => (a.int(0)?, a.int(1)?, size(a, 2)?),
            };
            let dtype = a.opt_dtype(4)?.unwrap_or(DType::I64);
            let span = span(a.name(), low, high, dtype)?;
            Ok(draw(b, a, 3, &shape, |w| integer(w, low, span))?.cast(dtype).into())
        },
    },
    FnDef {
        name: "rand_like",
        sig: "x, seed: tensor? = None, dtype: dtype? = None",
        example: "x: D[2, 3] => rand_like(x, seed=7)",
        doc: "Uniform numbers in [0, 1) of the shape of x, and of its dtype if none is given, as `rand`; needs a seed. \
              Floats.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let dtype = like(a, x, 2)?;
            Ok(draw(b, a, 1, &x.dims(), |w| uniform(w, dtype))?.into())
        },
    },
    FnDef {
        name: "randn_like",
        sig: "x, seed: tensor? = None, dtype: dtype? = None",
        example: "x: D[2, 3] => randn_like(x, seed=7)",
        doc: "Normal numbers of mean 0 and variance 1 of the shape of x, and of its dtype if none is given, as \
              `randn`; needs a seed. Floats.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let dtype = like(a, x, 2)?;
            Ok(draw(b, a, 1, &x.dims(), |w| normal(w, dtype))?.into())
        },
    },
    FnDef {
        name: "randint_like",
        sig: "x, low: int = 0, high: int? = None, seed: tensor? = None, dtype: dtype? = None",
        example: "x: D[2, 3] => randint_like(x, 0, 2, seed=7)",
        doc: "Uniform integers in low..high (0..low if one bound is given), of the shape of x, and of its dtype if \
              none is given. Needs a seed.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let (low, high) = a.opt_int(2)?.map_or((0, a.int(1)?), |h| (a.int(1).unwrap_or(0), h));
            let dtype = a.opt_dtype(4)?.unwrap_or(x.dtype());
            let span = span(a.name(), low, high, dtype)?;
            Ok(draw(b, a, 3, &x.dims(), |w| integer(w, low, span))?.cast(dtype).into())
        },
    },
    FnDef {
        name: "randperm",
        sig: "n: int, seed: tensor? = None, dtype: dtype? = None",
        example: "=> randperm(4, seed=7, dtype=D)",
        doc: "The numbers 0..n in random order, i64 if no dtype is given: the positions that sort random keys. Needs a \
              seed.",
        build: |b, a| {
            let n = usize::try_from(a.int(0)?).map_err(|_| err::shape("`randperm`: n must not be negative"))?;
            // 63 bits: equal keys, which keep their order, do not happen.
            let keys = draw(b, a, 1, &[n.into()], wide)?;
            Ok(super::sort::order(keys, 0, false).cast(a.opt_dtype(2)?.unwrap_or(DType::I64)).into())
        },
    },
    FnDef {
        name: "fold_in",
        sig: "seed: tensor, data: tensor",
        example: "=> fold_in(7, 1)",
        doc: "Another seed, made of a seed and a number: independent streams for steps, layers, workers. i64 scalars.",
        build: |b, a| {
            let (seed, data) = (seed(b, a, 0)?, seed(b, a, 1)?);
            let [w0, w1, ..] = philox(b, data, seed);
            Ok((w0 + w1 * int(b, 1 << 32)).into())
        },
    },
];

/// Numbers of that shape from four random words for each element.
///
/// # Errors
/// `type` if there is no seed, `dtype` if it is no i64 scalar, `shape` if the shape is too large.
pub fn draw<'b>(
    b: &'b Builder,
    a: &Args<'b>,
    seed_at: usize,
    shape: &[Dim],
    f: impl FnOnce([Ex<'b>; 4]) -> Ex<'b>,
) -> Result<Ex<'b>> {
    checked_count(shape)?;
    Ok(f(philox(b, b.iota(product(shape)), seed(b, a, seed_at)?)).reshape(shape))
}

fn int(b: &Builder, v: i64) -> Ex<'_> {
    b.number(Scalar::from_i64(DType::I64, v))
}

/// The seed among the arguments.
///
/// # Errors
/// `type` if there is none, `dtype` if it is no i64 scalar.
pub fn seed<'b>(b: &'b Builder, a: &Args<'b>, i: usize) -> Result<Ex<'b>> {
    if a.is_none(i) {
        return Err(err::ty(format!("`{}` needs a `seed`", a.name()))
            .help("give an i64 scalar, which may be a parameter: `seed=…`; `fold_in(seed, i)` derives others"));
    }
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

/// The dtype given, or that of a tensor of floats.
fn like<'b>(a: &Args<'b>, x: Ex<'b>, i: usize) -> Result<DType> {
    if a.is_none(i) {
        require_float(a.name(), x)?;
        return Ok(x.dtype());
    }
    float(a, i)
}

fn size(a: &Args<'_>, i: usize) -> Result<Dims> {
    super::create::sizes(&a.dims(i)?)
}

/// How many numbers there are in a range.
///
/// # Errors
/// `index` if there is none, or one that the dtype does not have.
pub fn span(name: &str, low: i64, high: i64, dtype: DType) -> Result<i64> {
    let span = high.checked_sub(low).filter(|s| *s > 0);
    let span = span.ok_or_else(|| {
        err::index(format!("`{name}` expects 'from' to be less than 'to', but got from={low} >= to={high}"))
    })?;
    let (least, most) = (pool::least(dtype), pool::greatest(dtype));
    let fits = |v: i64| match dtype.is_float() {
        true => v.unsigned_abs() as f64 <= dtype.largest(),
        false => (least.to_i64()..=most.to_i64()).contains(&v),
    };
    for (v, what) in [(low, "from"), (high - 1, "to - 1")] {
        if !fits(v) {
            return Err(err::index(format!("`{name}`: {what} is out of bounds for {dtype}: {v}")));
        }
    }
    Ok(span)
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

/// Random words for counters `(low, high, 0, 0)`, the two halves of an `i64`, with the key's two halves.
fn philox<'b>(b: &'b Builder, counter: Ex<'b>, key: Ex<'b>) -> [Ex<'b>; 4] {
    let zero = counter.zeros();
    rounds(b, [low(counter), shift(counter, 32), zero, zero], [low(key), shift(key, 32)])
}

/// Random words for attempt `i`, below 2^32, at a place: counters `(low, high, i, 0)`.
pub fn attempt<'b>(b: &'b Builder, place: Ex<'b>, i: Ex<'b>, key: Ex<'b>) -> [Ex<'b>; 4] {
    let zero = place.zeros();
    rounds(b, [low(place), shift(place, 32), zero + low(i), zero], [low(key), shift(key, 32)])
}

/// Ten rounds of Philox4x32. Words are `i64` in `0..2^32`.
fn rounds<'b>(b: &'b Builder, mut c: [Ex<'b>; 4], mut k: [Ex<'b>; 2]) -> [Ex<'b>; 4] {
    for _ in 0..10 {
        let (p, q) = (c[0] * int(b, 0xd251_1f53), c[2] * int(b, 0xcd9e_8d57));
        c = [xor(xor(shift(q, 32), c[1]), k[0]), low(q), xor(xor(shift(p, 32), c[3]), k[1]), low(p)];
        k = [low(k[0] + int(b, 0x9e37_79b9)), low(k[1] + int(b, 0xbb67_ae85))];
    }
    c
}

/// The upper bits of a word.
fn upper(w: Ex<'_>, bits: i64) -> Ex<'_> {
    w.map("bitwise_right_shift", &[int(w.builder(), 32 - bits)])
}

/// 63 random bits.
fn wide<'b>([w0, w1, ..]: [Ex<'b>; 4]) -> Ex<'b> {
    upper(w0, 31) * int(w0.builder(), 1 << 32) + w1
}

/// Uniform in [0, 1): as many random bits as the dtype has in its significand, so that 1 is never rounded to.
pub fn uniform<'b>([w0, w1, ..]: [Ex<'b>; 4], dtype: DType) -> Ex<'b> {
    let bits = match dtype {
        DType::F64 => {
            let all = upper(w0, 27) * int(w0.builder(), 1 << 26) + upper(w1, 26);
            return all.cast(DType::F64) * 2f64.powi(-53);
        }
        DType::F16 => 11,
        DType::BF16 => 8,
        _ => 24,
    };
    (upper(w0, bits).cast(DType::F32) * 2f64.powi(-bits as i32)).cast(dtype)
}

/// Normal of mean 0 and variance 1: Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958.
pub fn normal<'b>([w0, w1, w2, w3]: [Ex<'b>; 4], dtype: DType) -> Ex<'b> {
    let work = dtype.compute();
    // 1 - u is in (0, 1], where the logarithm is finite.
    let radius = (-2.0 * (1.0 - uniform([w0, w1, w2, w3], work)).log()).sqrt();
    let angle = uniform([w2, w3, w0, w1], work) * std::f64::consts::TAU;
    (radius * angle.cos()).cast(dtype)
}

/// Uniform in `low..low + span`.
pub fn integer<'b>(w: [Ex<'b>; 4], low: i64, span: i64) -> Ex<'b> {
    let b = w[0].builder();
    let i = match span {
        // The upper half of a 32 by 32 bit product: uniform to within 2^-32 of the span.
        s if s <= 1 << 31 => shift(w[0] * int(b, s), 32),
        s => wide(w).remainder(int(b, s)),
    };
    i + int(b, low)
}

#[cfg(test)]
mod tests {
    use super::{int, philox, rounds};
    use crate::builder::Builder;
    use crate::dtype::Scalar;
    use crate::interp::run;

    /// The words that the graph computes.
    fn words(f: impl for<'b> FnOnce(&'b Builder) -> [crate::Ex<'b>; 4]) -> Vec<u32> {
        let b = Builder::new("f");
        let outputs = f(&b).iter().map(|e| e.value().expect("no error")).collect();
        b.with_graph(|g| g.outputs = outputs);
        let out = run(&b.finish().expect("a graph"), &[]).expect("runs");
        out.iter().flat_map(|a| a.scalars().into_iter().map(Scalar::to_i64)).map(|v| v as u32).collect()
    }

    /// The known answers of `kat_vectors` in Random123 (D. E. Shaw Research): counter, key, words.
    const KNOWN: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];

    #[test]
    fn philox_gives_the_known_answers() {
        for (counter, key, want) in KNOWN {
            let got = words(|b| {
                let word = |v: u32| int(b, v.into()).cast(crate::DType::I64);
                rounds(b, counter.map(word), key.map(word))
            });
            assert_eq!(got, want);
        }
    }

    #[test]
    fn counters_and_keys_have_64_bits() {
        let (counter, key) = (0x1234_5678_9abc_def0_i64, -2i64);
        let long = words(|b| philox(b, int(b, counter).cast(crate::DType::I64), int(b, key).cast(crate::DType::I64)));
        let split = words(|b| {
            let word = |v: i64| int(b, v & 0xffff_ffff).cast(crate::DType::I64);
            rounds(b, [word(counter), word(counter >> 32), word(0), word(0)], [word(key), word(key >> 32)])
        });
        assert_eq!(long, split);
    }
}

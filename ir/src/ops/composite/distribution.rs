//! Random numbers of other distributions, and what draws at random: `normal`, `exponential`, `bernoulli`, `multinomial`,
//! dropout. Made from the words of [`super::random`]; every function takes `seed`, an i64 scalar.
//!
//! The functions that take `x` first give numbers of its shape and dtype, so that `x.uniform_(0, 1, seed=…)` fills it.
//! Half floats are computed in `f32` and rounded once. Counts that take a number of draws which depends on what is drawn are
//! in [`super::poisson`].

use super::arith::common;
use super::random::{draw, integer, normal, span, uniform};
use super::{row, unit};
use crate::builder::{Builder, Ex};
use crate::dim::Dim;
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::elementwise::range::held;
use crate::ops::registry::{Args, FnDef, require_float};
use crate::types::broadcast;

/// Numbers of the shape and dtype of the first argument, by a formula of uniform numbers in [0, 1) and the argument's
/// compute dtype.
fn filled<'b>(b: &'b Builder, a: &Args<'b>, seed: usize, f: impl FnOnce(Ex<'b>) -> Ex<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    require_float(a.name(), x)?;
    drawn(b, a, seed, x.dtype().compute(), f)
}

/// What `f` makes of uniform numbers of that dtype, of the shape and dtype of the first argument.
fn drawn<'b>(
    b: &'b Builder,
    a: &Args<'b>,
    seed: usize,
    dtype: DType,
    f: impl FnOnce(Ex<'b>) -> Ex<'b>,
) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    Ok(draw(b, a, seed, &x.dims(), |w| f(uniform(w, dtype)))?.cast(x.dtype()))
}

fn positive(a: &Args<'_>, i: usize, what: &str) -> Result<f64> {
    let v = a.float(i)?;
    // Also NaN.
    if v > 0.0 { Ok(v) } else { Err(err::ty(format!("`{}` expects {what} > 0.0, but found {what}={v}", a.name()))) }
}

/// `mean + std * n` for normal `n`; the two are numbers or tensors that broadcast.
fn normal_of<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (mean, std) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    let shape = match a.is_none(2) {
        false if mean.rank() == 0 && std.rank() == 0 => super::create::sizes(&a.dims(2)?)?,
        false => return Err(err::ty("`normal` takes a size only with two numbers")),
        true => broadcast(&mean.dims(), &std.dims())
            .ok_or_else(|| crate::builder::broadcast_error("normal", &[mean.ty(), std.ty()]))?,
    };
    if super::arith::constant(std).is_some_and(|s| s.to_f64() < 0.0) {
        return Err(err::ty("`normal` expects all elements of std >= 0.0"));
    }
    let dtype = a.opt_dtype(4)?.unwrap_or(common(&[mean, std]).to_float());
    if !dtype.is_float() {
        return Err(err::dtype(format!("random numbers of {dtype}: only floating point dtypes")));
    }
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    let n = draw(b, a, 3, &shape, |w| normal(w, dtype.compute()))?;
    let mut std = wide(std);
    if super::arith::constant(std).is_none() {
        std = held("check_deviation", std.ge(std.number(0.0)), std, 0.0);
    }
    Ok((n * std + wide(mean)).cast(dtype))
}

fn bernoulli<'b>(b: &'b Builder, a: &Args<'b>, p: Ex<'b>, shape: &[Dim], seed: usize) -> Result<Ex<'b>> {
    if let Some(v) = super::arith::constant(p).map(|c| c.to_f64()).filter(|v| !(0.0..=1.0).contains(v)) {
        return Err(err::ty(format!("`{}` expects p to be in [0, 1], but got p={v}", a.name())));
    }
    let work = if p.dtype() == DType::F64 && !p.ty().weak { DType::F64 } else { DType::F32 };
    let u = draw(b, a, seed, shape, |w| uniform(w, work))?;
    if broadcast(&p.dims(), shape).as_deref() != Some(shape) {
        return Err(err::shape(format!("`{}`: the probabilities {} do not broadcast to the tensor", a.name(), p.ty())));
    }
    let p = p.cast(work);
    if super::arith::constant(p).is_some() {
        return Ok(u.lt(p));
    }
    let inside = p.ge(p.number(0.0)).logical_and(p.le(p.number(1.0)));
    Ok(u.lt(held("check_probability", inside, p, 0.0)))
}

/// Categories by their weights: without replacement the largest of weights over exponential numbers, else places in the
/// running sum of the weights.
fn multinomial<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, n, again) = (a.tensor(b, 0)?, a.int(1)?, a.bool(2)?);
    require_float("multinomial", x)?;
    if x.rank() == 0 || x.rank() > 2 {
        return Err(err::shape("`multinomial`: prob_dist must be 1 or 2 dim"));
    }
    let n = usize::try_from(n).ok().filter(|n| *n > 0);
    let n = n.ok_or_else(|| err::shape("`multinomial`: cannot sample n_sample <= 0 samples"))?;
    let last = x.rank() - 1;
    let c = x.shape()[last];
    if !again && n > c {
        return Err(err::shape(
            "`multinomial`: cannot sample n_sample > prob_dist.size(-1) samples without replacement",
        ));
    }
    if c == 0 {
        return Err(err::shape("`multinomial`: there is no category"));
    }
    let work = x.dtype().compute();
    let p = x.cast(work);
    let p = held("check_weight", p.ge(p.number(0.0)).logical_and(p.lt(p.number(f64::INFINITY))), p, 0.0);
    let total = p.sum(&[last], true);
    // The sum is only looked at: weights whose sum is 0 are all 0, and any others do.
    let p = held("check_sum", total.gt(total.number(0.0)).expand(&p.dims()), p, 1.0);
    if !again {
        let e = draw(b, a, 3, &x.dims(), |w| -(1.0 - uniform(w, work)).log())?;
        return Ok(super::sort::order(p / e, last, true).narrow(last, 0, n).copy());
    }
    let mut shape = x.dims();
    shape[last] = n.into();
    let u = draw(b, a, 3, &shape, |w| uniform(w, work))?;
    let sums = p.scan(crate::ops::scan::ScanKind::Sum, last);
    let total = sums.narrow(last, c - 1, 1).copy();
    // Rounding must not lead behind the last category.
    let at = super::sort::searchsorted(sums, row("mul", &[u, total])?, true)?;
    Ok(at.minimum(b.number(Scalar::from_i64(DType::I64, c as i64 - 1))))
}

/// Whether each place of the shape is kept, with probability 1 - p; `None` if nothing is to be dropped.
fn kept<'b>(b: &'b Builder, a: &Args<'b>, shape: &[Dim]) -> Result<Option<Ex<'b>>> {
    let (x, p) = (a.tensor(b, 0)?, a.float(1)?);
    require_float(a.name(), x)?;
    if !(0.0..=1.0).contains(&p) {
        return Err(err::ty(format!("`{}`: dropout probability has to be between 0 and 1, but got {p}", a.name())));
    }
    if !a.bool(2)? || p == 0.0 {
        return Ok(None);
    }
    let u = draw(b, a, 3, shape, |w| uniform(w, DType::F32))?;
    Ok(Some(u.ge(b.number(Scalar::from_f64(DType::F64, p)))))
}

/// Elements where `keep` (which broadcasts) holds divided by 1 - p, the others 0.
fn dropped<'b>(b: &'b Builder, a: &Args<'b>, shape: &[Dim]) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    let Some(keep) = kept(b, a, shape)? else { return Ok(x.copy()) };
    let p = a.float(1)?;
    let scaled = if p == 1.0 { x.zeros() } else { unit([x], |[x]| x / (1.0 - p)) };
    row("where", &[keep, scaled, x.zeros()])
}

/// Dropout that keeps mean 0 and variance 1: what is dropped becomes the least value of `selu`, then all is scaled
/// (Klambauer, Unterthiner, Mayr and Hochreiter, "Self-Normalizing Neural Networks", 2017).
fn alpha_dropped<'b>(b: &'b Builder, a: &Args<'b>, shape: &[Dim]) -> Result<Ex<'b>> {
    const LEAST: f64 = -1.758_099_340_847_376_6;
    let x = a.tensor(b, 0)?;
    let Some(keep) = kept(b, a, shape)? else { return Ok(x.copy()) };
    let p = a.float(1)?;
    if p == 1.0 {
        return Ok(x.zeros().copy());
    }
    let scale = 1.0 / ((LEAST * LEAST * p + 1.0) * (1.0 - p)).sqrt();
    let y = row("where", &[keep, super::widen(x), x.number(LEAST)])?;
    Ok((y * scale + (-scale * LEAST * p)).cast(x.dtype()))
}

/// The shape of `[batch, channel, ..]` with one place for each channel.
fn channels<'b>(b: &'b Builder, a: &Args<'b>, ranks: &[usize]) -> Result<Vec<Dim>> {
    let x = a.tensor(b, 0)?;
    if !ranks.contains(&x.rank()) {
        return Err(err::shape(format!("`{}` takes {ranks:?} dimensions, got {}", a.name(), x.ty())));
    }
    // Without a batch the channels are dimension 0.
    let lead = if ranks.len() == 2 && x.rank() == ranks[0] { 1 } else { 2 };
    Ok(x.dims().iter().enumerate().map(|(i, n)| if i < lead { *n } else { Dim::ONE }).collect())
}

fn rrelu<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, low, high) = (a.tensor(b, 0)?, a.float(1)?, a.float(2)?);
    require_float("rrelu", x)?;
    if low > high || low.is_nan() || high.is_nan() {
        return Err(err::ty("`rrelu`: lower bound should be less than or equal to the upper bound"));
    }
    let work = x.dtype().compute();
    let slope = match a.bool(3)? {
        false => x.number((low + high) / 2.0).cast(work),
        true => draw(b, a, 4, &x.dims(), |w| uniform(w, work) * (high - low) + low)?,
    };
    Ok(unit([x], |[x]| x.gt(x.number(0.0)).select(x, x * slope)))
}

/// One place for each element.
fn every<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Vec<Dim>> {
    Ok(a.tensor(b, 0)?.dims().to_vec())
}

macro_rules! dropout {
    ($name:literal, $more:literal, $training:literal, $f:ident, $shape:expr, $doc:literal) => {
        FnDef {
            name: $name,
            sig: concat!("x, p: float = 0.5, training: bool = ", $training, ", seed: tensor? = None"),
            example: concat!("x: D[2, 3, 2", $more, "] => ", $name, "(x, 0.5, true, seed=7)"),
            doc: $doc,
            build: |b, a| Ok($f(b, a, &$shape(b, a)?)?.into()),
        }
    };
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "normal",
        sig: "mean: number, std: number = 1.0, size: ints? = None, seed: tensor? = None, dtype: dtype? = None",
        example: "mean: D[2, 3], std: D[3] => normal(mean, exp(std), seed=7)",
        doc: "Normal numbers: for each element of mean and std, which broadcast, or of that size for two numbers; \
              needs a seed. f32 if no operand says else. In place, `x.normal_(mean=0, std=1, seed=…)` fills x.",
        build: |b, a| Ok(normal_of(b, a)?.into()),
    },
    FnDef {
        name: "normal_fill",
        sig: "x, mean: float = 0.0, std: float = 1.0, seed: tensor? = None",
        example: "x: D[2, 3] => normal_fill(x, seed=7)",
        doc: "Normal numbers of the shape and dtype of x: what `x.normal_` writes. Needs a seed. Floats only.",
        build: |b, a| {
            let (x, mean, std) = (a.tensor(b, 0)?, a.float(1)?, a.float(2)?);
            require_float("normal_", x)?;
            if std.is_nan() || std < 0.0 {
                return Err(err::ty(format!("`normal_` expects std >= 0.0, but found std {std}")));
            }
            let n = draw(b, a, 3, &x.dims(), |w| normal(w, x.dtype().compute()))?;
            Ok((n * std + mean).cast(x.dtype()).into())
        },
    },
    FnDef {
        name: "uniform",
        sig: "x, from: float = 0.0, to: float = 1.0, seed: tensor? = None",
        example: "x: D[2, 3] => uniform(x, seed=7)",
        doc: "Uniform numbers in [from, to) of the shape and dtype of x; needs a seed. Floats only. In place, \
              `x.uniform_(seed=...)` fills x.",
        build: |b, a| {
            let (from, to) = (a.float(1)?, a.float(2)?);
            let x = a.tensor(b, 0)?;
            require_float("uniform", x)?;
            let most = x.dtype().largest();
            for (v, name) in [(from, "from"), (to, "to")] {
                if v.abs() > most || v.is_nan() {
                    return Err(err::ty(format!("`uniform`: {name}={v} is out of bounds for {}", x.dtype())));
                }
            }
            if from > to {
                return Err(err::ty(format!(
                    "`uniform` expects to return a [from, to) range, but found from={from} > to={to}"
                )));
            }
            if to - from > most {
                return Err(err::ty(format!(
                    "`uniform` expects to-from to be at most the largest {}, but found to={to:e} and from={from:e}",
                    x.dtype()
                )));
            }
            // In the dtype itself, so that halves are rounded once; the upper bound may be met where it rounds to it.
            let u = draw(b, a, 3, &x.dims(), |w| uniform(w, x.dtype()).cast(x.dtype().compute()))?;
            Ok((u * (to - from) + from).cast(x.dtype()).into())
        },
    },
    FnDef {
        name: "exponential",
        sig: "x, lambd: float = 1.0, seed: tensor? = None",
        example: "x: D[2, 3] => exponential(x, seed=7)",
        doc: "Exponential numbers of rate lambd, -log(1 - u) / lambd of uniform u, of the shape and dtype of x; needs \
              a seed. Floats only.",
        build: |b, a| {
            let rate = positive(a, 1, "lambda")?;
            Ok(filled(b, a, 2, |u| -(1.0 - u).log() / rate)?.into())
        },
    },
    FnDef {
        name: "geometric",
        sig: "x, p: float, seed: tensor? = None",
        example: "x: D[2, 3] => geometric(x, 0.5, seed=7)",
        doc: "How many trials of probability p, in 0..1, there are up to the first success, ceil(log(1 - u) / log(1 - \
              p)) of uniform u, of the shape and dtype of x; needs a seed. Not for bool.",
        build: |b, a| {
            let (x, p) = (a.tensor(b, 0)?, a.float(1)?);
            // Also NaN.
            if !(0.0 < p && p < 1.0) {
                return Err(err::ty(format!("`geometric` expects p to be in (0, 1), but got p={p}")));
            }
            let one = b.number(Scalar::from_i64(DType::I64, 1));
            let dtype = match x.dtype() {
                DType::Bool => return Err(err::dtype("`geometric` is not defined for bool")),
                d if d.is_float() => d.compute(),
                _ => DType::F64,
            };
            Ok(drawn(b, a, 2, dtype, |u| ((1.0 - u).log() / (-p).ln_1p()).ceil().map("clamp_min", &[one]))?.into())
        },
    },
    FnDef {
        name: "cauchy",
        sig: "x, median: float = 0.0, sigma: float = 1.0, seed: tensor? = None",
        example: "x: D[2, 3] => cauchy(x, seed=7)",
        doc: "Cauchy numbers, median + sigma tan(pi (u - 1/2)) of uniform u, of the shape and dtype of x; needs a \
              seed. Floats only.",
        build: |b, a| {
            let (median, sigma) = (a.float(1)?, positive(a, 2, "sigma")?);
            Ok(filled(b, a, 3, |u| ((u - 0.5) * std::f64::consts::PI).tan() * sigma + median)?.into())
        },
    },
    FnDef {
        name: "log_normal",
        sig: "x, mean: float = 1.0, std: float = 2.0, seed: tensor? = None",
        example: "x: D[2, 3] => log_normal(x, seed=7)",
        doc: "e to normal numbers of that mean and deviation, of the shape and dtype of x; needs a seed. Floats only.",
        build: |b, a| {
            let (x, mean, std) = (a.tensor(b, 0)?, a.float(1)?, positive(a, 2, "std")?);
            require_float("log_normal", x)?;
            let n = draw(b, a, 3, &x.dims(), |w| normal(w, x.dtype().compute()))?;
            Ok((n * std + mean).exp().cast(x.dtype()).into())
        },
    },
    FnDef {
        name: "random",
        sig: "x, from: int = 0, to: int? = None, seed: tensor? = None",
        example: "x: D[2, 3] => random(x, 0, 2, seed=7)",
        doc: "Uniform integers in from..to (0..from if one bound is given), of the shape and dtype of x; without \
              bounds all that the dtype holds exactly from 0 on. Needs a seed.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let most = match x.dtype() {
                DType::F64 => 1 << 53,
                DType::F32 => 1 << 24,
                DType::F16 => 1 << 11,
                DType::BF16 | DType::U8 => 1 << 8,
                DType::I64 => i64::MAX,
                DType::I32 => 1 << 31,
                DType::I16 => 1 << 15,
                DType::I8 => 1 << 7,
                DType::Bool => 2,
            };
            let (low, high) = match (a.int(1)?, a.opt_int(2)?) {
                (low, Some(high)) => (low, high),
                (0, None) => (0, most),
                (high, None) => (0, high),
            };
            let span = span("random", low, high, x.dtype())?;
            Ok(draw(b, a, 3, &x.dims(), |w| integer(w, low, span))?.cast(x.dtype()).into())
        },
    },
    FnDef {
        name: "bernoulli",
        sig: "x, p: number? = None, seed: tensor? = None",
        example: "x: D[2, 3] => bernoulli(x, seed=7)",
        doc: "1 with the probability that each element of x says (or p, in the shape of x), else 0, in the dtype of x; \
              needs a seed. A probability outside of 0..1 is an error. In place, `x.bernoulli_(p=0.5, seed=…)` fills x. \
              Floats. No gradient flows.",
        build: |b, a| {
            let (x, p) = (a.tensor(b, 0)?, a.opt_tensor(b, 1)?);
            if p.is_none() {
                require_float("bernoulli", x)?;
            }
            Ok(bernoulli(b, a, p.unwrap_or(x), &x.dims(), 2)?.cast(x.dtype()).into())
        },
    },
    FnDef {
        name: "bernoulli_fill",
        sig: "x, p: number = 0.5, seed: tensor? = None",
        example: "x: D[2, 3] => bernoulli_fill(x, 0.3, seed=7)",
        doc: "1 with probability p, a number or a tensor that broadcasts, else 0, of the shape and dtype of x: what \
              `x.bernoulli_` writes. Needs a seed.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(bernoulli(b, a, a.tensor(b, 1)?, &x.dims(), 2)?.cast(x.dtype()).into())
        },
    },
    FnDef {
        name: "multinomial",
        sig: "x, num_samples: int, replacement: bool = false, seed: tensor? = None",
        example: "x: D[2, 4] => multinomial(x, 2, seed=7)",
        doc: "Categories drawn by their weights x, [c] or [m, c], as i64 [num_samples] or [m, num_samples]; without \
              replacement all different. Needs a seed. Weights that are negative, infinite or NaN, or that are all 0, are \
              an error. Floats only. No gradient flows.",
        build: |b, a| Ok(multinomial(b, a)?.into()),
    },
    FnDef {
        name: "rrelu",
        sig: "x, lower: float = 0.125, upper: float = 0.3333333333333333, training: bool = false, seed: tensor? = None",
        example: "x: D[2, 3] => rrelu(x)",
        doc: "x above 0, else x times a slope: the mean of the bounds, or when training a random number between them, \
              which needs a seed. Floats.",
        build: |b, a| Ok(rrelu(b, a)?.into()),
    },
    dropout!(
        "dropout",
        "",
        "true",
        dropped,
        every,
        "When training, each element is 0 with probability p, else divided by 1 - p; needs a seed then. Else x. Floats \
         only. The gradient is 0 where x was dropped."
    ),
    dropout!(
        "dropout1d",
        "",
        "true",
        dropped,
        |b, a| channels(b, a, &[2, 3]),
        "As `dropout`, with all of a channel of [batch, channel, n] (or without batch) kept or dropped together."
    ),
    dropout!(
        "dropout2d",
        ", 2",
        "true",
        dropped,
        |b, a| channels(b, a, &[4]),
        "As `dropout`, with all of a channel of [batch, channel, h, w] kept or dropped together."
    ),
    dropout!(
        "dropout3d",
        ", 2, 1",
        "true",
        dropped,
        |b, a| channels(b, a, &[4, 5]),
        "As `dropout`, with all of a channel of [batch, channel, d, h, w] (or without batch) kept or dropped together."
    ),
    dropout!(
        "alpha_dropout",
        "",
        "false",
        alpha_dropped,
        every,
        "Dropout for `selu`: when training, elements with probability p become its least value, and all are scaled so \
         that mean 0 and variance 1 stay (Klambauer et al., 2017); needs a seed then. Else x. Floats only."
    ),
    dropout!(
        "feature_alpha_dropout",
        "",
        "false",
        alpha_dropped,
        |b, a| channels(b, a, &[2, 3, 4, 5]),
        "As `alpha_dropout`, with all of a channel (dimension 1) kept or dropped together. Needs two dimensions."
    ),
];

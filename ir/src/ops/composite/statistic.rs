//! Statistics of samples: covariance, the most frequent value, medians without NaN, histograms, integrals of samples.

use super::sort::{kth, lifted, sorted};
use super::{row, unit};
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::elementwise::range::held;
use crate::ops::gather::ScatterMode;
use crate::ops::reduce::ReduceKind;
use crate::ops::registry::{Args, FnDef, Out, require_float};
use crate::ops::scan::ScanKind;
use crate::types::{axis, checked_numel};

/// Integers in the default float dtype.
fn float(x: Ex<'_>) -> Ex<'_> {
    x.cast(x.dtype().to_float())
}

/// The covariance of variables (rows) over observations (columns), weighted or not.
fn covariance<'b>(x: Ex<'b>, correction: f64, weights: [Option<Ex<'b>>; 2]) -> Ex<'b> {
    let x = if x.rank() < 2 { x.reshape(&[1, x.numel()]) } else { x };
    let n = x.shape()[1];
    let [f, a] = weights.map(|w| w.map(|w| w.cast(x.dtype())));
    let w = match (f, a) {
        (Some(f), Some(a)) => Some(f * a),
        (f, a) => f.or(a),
    };
    let (mean, factor) = match w {
        None => (x.sum(&[1], true) / n as f64, (x.number(n as f64) - correction).cast(x.dtype())),
        Some(w) => {
            let total = w.sum_all();
            let lost = a.filter(|_| correction != 0.0).map(|a| (w * a).sum_all() / total * correction);
            let lost = lost.unwrap_or_else(|| x.number(correction).cast(x.dtype()));
            ((x * w).sum(&[1], true) / total, total - lost)
        }
    };
    // Nothing is left of the observations: divide by 0, as PyTorch does.
    let factor = factor.map("clamp_min", &[x.number(0.0)]);
    let d = x - mean;
    let weighted = w.map_or(d, |w| d * w);
    let c = d.unsqueeze(0).bmm(weighted.transpose(0, 1).unsqueeze(0)) / factor;
    let m = x.shape()[0];
    if m == 1 { c.reshape::<usize>(&[]) } else { c.reshape(&[m, m]) }
}

fn samples<'b>(name: &str, x: Ex<'b>) -> Result<Ex<'b>> {
    if x.rank() > 2 {
        return Err(err::shape(format!(
            "`{name}`: expected input to have two or fewer dimensions but got an input with {} dimensions",
            x.rank()
        )));
    }
    if x.dtype() == DType::Bool {
        return Err(err::dtype(format!("`{name}`: bool dtype is not supported for input")));
    }
    Ok(float(x))
}

fn cov<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = samples("cov", a.tensor(b, 0)?)?;
    let n = if x.rank() < 2 { x.numel() } else { x.shape()[1] };
    let (f, w) = (a.opt_tensor(b, 2)?, a.opt_tensor(b, 3)?);
    for (name, e) in [("fweights", f), ("aweights", w)] {
        let Some(e) = e else { continue };
        let (shape, whole) = (e.shape(), name == "fweights");
        if shape.len() > 1 {
            return Err(err::shape(format!(
                "`cov`: expected {name} to have one or fewer dimensions but got {name} with {} dimensions",
                shape.len()
            )));
        }
        if if whole { !e.dtype().is_int() } else { !e.dtype().is_float() } {
            return Err(err::dtype(format!(
                "`cov`: expected {name} to have {} dtype but got {name} with {} dtype",
                if whole { "integral" } else { "floating point" },
                e.dtype().torch_name()
            )));
        }
        if e.numel() != n {
            return Err(err::shape(format!(
                "`cov`: expected {name} to have the same numel as there are observations in the input but got {} != {n}",
                e.numel()
            )));
        }
    }
    let [f, w] = [f, w].map(|e| e.map(|e| e.reshape(&[n])));
    let correction = a.float(1)?;
    // Not less than 0, and not NaN.
    let weights = [f, w].map(|e| e.map(|e| held("check_observation", e.ge(b.int(0)), e, 0.0)));
    Ok(unit([x], |[x]| covariance(x, correction, weights)))
}

fn corrcoef<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = samples("corrcoef", a.tensor(b, 0)?)?;
    Ok(unit([x], |[x]| {
        let c = covariance(x, 1.0, [None, None]);
        if c.rank() == 0 {
            return c.map("div", &[c]);
        }
        let m = c.shape()[0];
        let own = b.iota(m).unsqueeze(1).eq(b.iota(m));
        let d = own.select(c, c.zeros()).sum(&[1], false).sqrt();
        let r = c / d.unsqueeze(1) / d;
        r.map("clamp_min", &[r.number(-1.0)]).map("clamp_max", &[r.number(1.0)])
    }))
}

/// The smallest of the most frequent elements along an axis, and its last position: the first longest run of a sort.
fn mode_along<'b>(x: Ex<'b>, d: usize, keepdim: bool) -> Result<Vec<Ex<'b>>> {
    let (b, n) = (x.builder(), x.shape()[d]);
    if n == 0 {
        return Err(err::index(format!("`mode`: expected reduction dim {d} to have non-zero size")));
    }
    let (v, at) = sorted(x, d, false);
    let v = if x.dtype() == DType::Bool { v.cast(DType::U8) } else { v };
    let new = v.narrow(d, 1, n - 1).ne(v.narrow(d, 0, n - 1)).cast(DType::I64);
    let zero = new.builder().full(Scalar::from_i64(DType::I64, 0), &x.shape()).narrow(d, 0, 1);
    // The run that each element of the order is in, the runs' lengths, and where the first longest one ends.
    let run = super::join::cat(b, &[zero, new], d as i64)?.scan(ScanKind::Sum, d);
    let one = b.full(Scalar::from_i64(DType::I64, 1), &x.shape());
    let lengths = one.zeros().scatter(d, ScatterMode::Add, run, one);
    let longest = lengths.reduce(ReduceKind::ArgMax, &[d], true);
    let end = lengths.scan(ScanKind::Sum, d).gather(d, longest) - b.int(1);
    let (place, v) = super::reduce::at_place(x, d, at.gather(d, end), keepdim);
    Ok(vec![v, place])
}

/// The lower median of what is not NaN along an axis, and its position; NaN and the first one if there is nothing else.
fn nanmedian_along<'b>(x: Ex<'b>, d: usize, keepdim: bool) -> Result<Vec<Ex<'b>>> {
    let b = x.builder();
    if x.shape()[d] == 0 {
        return Err(err::index(format!("`nanmedian`: expected dimension {d} to have non-zero size")));
    }
    let count = x.eq(x).cast(DType::I64).sum(&[d], true);
    let k = (count - b.int(1)).maximum(b.int(0)).floor_divide(b.int(2));
    Ok(kth(x, d, k, keepdim))
}

fn nanmedian<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let (x, keepdim) = (a.tensor(b, 0)?, a.bool(2)?);
    if x.dtype() == DType::Bool {
        return Err(err::dtype("`nanmedian` is not implemented for bool"));
    }
    if let Some(d) = a.opt_int(1)? {
        return Ok(Out::Many(lifted(x, d, |x, d| nanmedian_along(x, d, keepdim))?));
    }
    let n = x.numel();
    if n == 0 && x.dtype().is_float() {
        return Ok(b.full(Scalar::from_f64(x.dtype(), f64::NAN), &[0usize; 0]).copy().into());
    }
    Ok(nanmedian_along(x.reshape(&[n]), 0, false)?[0].into())
}

/// Counts of equal bins between two bounds, or between the extremes if those are equal.
fn histc<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, bins, low, high) = (a.tensor(b, 0)?, a.int(1)?, a.float(2)?, a.float(3)?);
    require_float("histc", x)?;
    let bins = usize::try_from(bins).ok().filter(|n| *n > 0).ok_or_else(|| err::shape("`histc`: bins must be > 0"))?;
    checked_numel(&[bins])?;
    if !low.is_finite() || !high.is_finite() {
        return Err(err::ty(format!("`histc`: range of [{low}, {high}] is not finite")));
    }
    if low > high {
        return Err(err::ty("`histc`: max must be larger than min"));
    }
    let dtype = x.dtype();
    let x = x.cast(dtype.compute()).reshape(&[x.numel()]);
    let zeros = b.full(Scalar::from_f64(dtype, 0.0), &[bins]);
    if x.numel() == 0 {
        return Ok(zeros.copy());
    }
    let (mut low, mut high) = (x.number(low).cast(x.dtype()), x.number(high).cast(x.dtype()));
    if a.float(2)? == a.float(3)? {
        (low, high) = match a.float(2)? {
            0.0 => (x.reduce(ReduceKind::Min, &[0], false), x.reduce(ReduceKind::Max, &[0], false)),
            _ => (low, high),
        };
        let flat = low.eq(high);
        (low, high) = (flat.select(low - 1.0, low), flat.select(high + 1.0, high));
    }
    let inside = row("logical_and", &[x.ge(low), x.le(high)])?;
    let place = ((x - low) * bins as f64 / (high - low)).map("trunc", &[]);
    let place = inside.select(place, place.zeros()).cast(DType::I64).minimum(b.int(bins as i64 - 1));
    let ones = inside.cast(dtype.compute());
    Ok(zeros.cast(dtype.compute()).scatter(0, ScatterMode::Add, place.maximum(b.int(0)), ones).cast(dtype))
}

/// The areas between neighbouring samples along an axis: means of neighbours times their distances.
fn areas<'b>(b: &'b Builder, a: &Args<'b>, name: &str) -> Result<(Ex<'b>, DType, usize)> {
    let (y, x) = (a.tensor(b, 0)?, a.opt_tensor(b, 1)?);
    if y.rank() == 0 {
        return Err(err::index(format!("`{name}`: dimension specified as {} but tensor has no dimensions", a.int(3)?)));
    }
    let dtype = super::arith::common(&[Some(y), x].into_iter().flatten().collect::<Vec<_>>()).to_float();
    let (d, dx) = (axis(a.int(3)?, y.rank())?, if a.is_none(2) { 1.0 } else { a.float(2)? });
    if x.is_some() && !a.is_none(2) {
        return Err(err::ty(format!("`{name}` takes one of `x` and `dx`")));
    }
    let n = y.shape()[d];
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    let pairs = |e: Ex<'b>, d: usize| {
        let n = e.shape()[d];
        (e.narrow(d, 0, n.saturating_sub(1)), e.narrow(d, n.min(1), n.saturating_sub(1)))
    };
    let (p, q) = pairs(wide(y), d);
    let Some(x) = x else { return Ok(((p + q) * (dx / 2.0), dtype, d)) };
    // With places, integers are computed in their dtype, where they wrap.
    let ints = !x.dtype().is_float() && !y.dtype().is_float();
    let (x, (p, q)) = if ints { (x, pairs(y, d)) } else { (wide(x), (p, q)) };
    let gaps = if x.rank() == 1 {
        if x.shape()[0] != n {
            return Err(err::shape(format!(
                "`{name}`: there must be one `x` value for each sample point, got {} for {}",
                x.ty(),
                y.ty()
            )));
        }
        let (p, q) = pairs(x, 0);
        (q - p).laid_along(d, y.rank())
    } else {
        let lead = y.rank().checked_sub(x.rank()).filter(|_| x.rank() > 0);
        let lead = lead.ok_or_else(|| err::shape(format!("`{name}`: x {} for y {}", x.ty(), y.ty())))?;
        let shape: Vec<usize> = std::iter::repeat_n(1, lead).chain(x.shape()).collect();
        let (p, q) = pairs(x.reshape(&shape), d);
        q - p
    };
    Ok((row("mul", &[p + q, gaps])?.cast(dtype.compute()) / 2.0, dtype, d))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "cov",
        sig: "x, correction: int = 1, fweights = None, aweights = None",
        example: "x: D[2, 4] => cov(x)",
        doc: "The covariance matrix [n, n] of n variables (rows) over observations (columns), with a divisor of the \
              sum of weights - correction; fweights, integers, count observations, aweights weigh them; a negative one is \
              an error. A vector is one variable, whose result is 0-d. Integers become f32; not bool.",
        build: |b, a| Ok(cov(b, a)?.into()),
    },
    FnDef {
        name: "corrcoef",
        sig: "x",
        example: "x: D[2, 4] => corrcoef(x)",
        doc: "Pearson's correlation coefficients [n, n] of n variables (rows), held in -1..1: `cov` divided by the \
              deviations of both. A vector gives 1, 0-d.",
        build: |b, a| Ok(corrcoef(b, a)?.into()),
    },
    FnDef {
        name: "mode",
        sig: "x, dim: int = -1, keepdim: bool = false",
        example: "x: D[2, 3] => mode(x)",
        doc: "The most frequent element along a dimension (the smallest of several), and the position (i64) of its \
              last occurrence, to which the gradient goes.",
        build: |b, a| {
            let keepdim = a.bool(2)?;
            Ok(Out::Many(lifted(a.tensor(b, 0)?, a.int(1)?, |x, d| mode_along(x, d, keepdim))?))
        },
    },
    FnDef {
        name: "nanmedian",
        sig: "x, dim: int? = None, keepdim: bool = false",
        example: "x: D[2, 3] => nanmedian(x, 1)",
        doc: "The lower median of what is not NaN, of all elements, or along a dimension with its position (i64); NaN \
              if there is nothing. The gradient goes to the element picked. Not bool.",
        build: nanmedian,
    },
    FnDef {
        name: "histc",
        sig: "x, bins: int = 100, min: float = 0, max: float = 0",
        example: "x: D[6] => histc(x, 4, 0.0, 1.0)",
        doc: "How many elements lie in each of bins equal parts from min to max (from the smallest to the largest \
              element if both are 0), [bins], in the dtype of x; the last part has its end, others and NaN do not \
              count. Floats only; no gradient flows.",
        build: |b, a| Ok(histc(b, a)?.into()),
    },
    FnDef {
        name: "trapezoid",
        sig: "y, x: tensor? = None, dx: float? = None, dim: int = -1",
        example: "y: D[2, 3], x: D[3] => trapezoid(y, x)",
        doc: "The integral of samples y along a dimension by the trapezoidal rule, sum (y[i] + y[i + 1]) (x[i + 1] - \
              x[i]) / 2, at the places x (a vector, or broadcasting to y) or at equal distances dx (1). Integers \
              become f32; not bool.",
        build: |b, a| {
            let (parts, dtype, d) = areas(b, a, "trapezoid")?;
            Ok(parts.sum(&[d], false).cast(dtype).into())
        },
    },
    FnDef {
        name: "cumulative_trapezoid",
        sig: "y, x: tensor? = None, dx: float? = None, dim: int = -1",
        example: "y: D[2, 3] => cumulative_trapezoid(y)",
        doc: "The running integral of samples along a dimension, one element shorter; see `trapezoid`.",
        build: |b, a| {
            let (parts, dtype, d) = areas(b, a, "cumulative_trapezoid")?;
            Ok(parts.scan(ScanKind::Sum, d).cast(dtype).into())
        },
    },
];

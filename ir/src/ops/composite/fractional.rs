//! Fractional max pooling: `fractional_max_pool2d`, `fractional_max_pool3d` (Graham, "Fractional Max-Pooling", 2015).
//!
//! Windows of one size whose starts are nearly evenly spread, shifted by one random number for each image, channel and
//! dimension: for a dimension of `n` elements and `out` windows of `k`, window `i` starts at `trunc((i + u) a) - trunc(u a)`
//! with `a = (n - k) / (out - 1)`, and the last one at `n - k`. As in PyTorch this is computed in the dtype of the input.

use super::conv::spatial;
use super::pool::largest;
use super::random::{draw, uniform};
use crate::builder::{Builder, Ex};
use crate::dim::Dim;
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Arg, Args, FnDef, Out, require_float};
use crate::types::checked_numel;

/// The sizes of the result: `output_size`, or `output_ratio` of the input's extents.
fn sizes(a: &Args<'_>, name: &str, inside: &[usize]) -> Result<Vec<usize>> {
    let n = inside.len();
    if let Some(given) = a.opt_ints(2)? {
        return spatial(name, "output_size", &given, n, 0);
    }
    let ratio = |v: &Arg<'_>| match v {
        Arg::Float(f) => Some(*f),
        Arg::Int(i) => Some(*i as f64),
        _ => None,
    };
    let ratios: Option<Vec<f64>> = match a.raw(3) {
        Arg::None => {
            return Err(err::ty(format!("`{name}` requires specifying either an output_size or an output_ratio")));
        }
        Arg::List(l) if l.len() == n => l.iter().map(ratio).collect(),
        v => (0..n).map(|_| ratio(v)).collect(),
    };
    let ratios = ratios.ok_or_else(|| err::ty(format!("`{name}`: output_ratio is one number, or {n}")))?;
    let given: Vec<i64> = inside.iter().zip(&ratios).map(|(n, r)| (*n as f64 * r) as i64).collect();
    spatial(name, "output_size", &given, n, 0)
}

/// The random numbers `[batch, channel, dimension]`, given or drawn.
fn samples<'b>(b: &'b Builder, a: &Args<'b>, x: Ex<'b>, [batch, channels]: [usize; 2], n: usize) -> Result<Ex<'b>> {
    let name = a.name();
    let Some(u) = a.opt_tensor(b, 5)? else {
        let shape = [batch, channels, n].map(Dim::from);
        return draw(b, a, 6, &shape, |w| uniform(w, x.dtype()));
    };
    super::same_dtype(name, &[x, u])?;
    let s = u.shape();
    if s.len() != 3 || s[0] < batch || s[1] != channels {
        return Err(err::shape(format!(
            "`{name}`: expected _random_samples [{batch}, {channels}, {n}], got {}",
            u.ty()
        )));
    }
    if s[2] != n {
        return Err(err::shape(format!("`{name}`: Expect _random_samples.size(2) equals to {n}; got {}", s[2])));
    }
    Ok(u.narrow(0, 0, batch))
}

/// Where the windows of one dimension start, `i64[planes, out]`, by the random numbers `[planes]`.
fn starts<'b>(b: &'b Builder, u: Ex<'b>, n: usize, out: usize, kernel: usize) -> Ex<'b> {
    let room = (n - kernel) as i64;
    let planes = u.shape()[0];
    if out < 2 {
        return b.full(Scalar::from_i64(DType::I64, room), &[planes, out]);
    }
    let number = |v: i64| b.constant(Scalar::from_i64(DType::I64, v).cast(u.dtype()));
    // Each step is one of the dtype's own operations.
    let step = number(room) / number(out as i64 - 1);
    let i = b.iota(out);
    let u = u.unsqueeze(1);
    let at = ((i.cast(u.dtype()) + u) * step).cast(DType::I64) - (u * step).cast(DType::I64);
    let last = i.eq(b.int(out as i64 - 1));
    // Random numbers outside of 0..1 lead nowhere else.
    last.select(b.int(room), at.maximum(b.int(0)).minimum(b.int(room)))
}

fn fractional<'b>(b: &'b Builder, a: &Args<'b>, n: usize) -> Result<Out<'b>> {
    let (x, name) = (a.tensor(b, 0)?, a.name());
    require_float(name, x)?;
    let s = x.shape();
    if s.len() != n + 1 && s.len() != n + 2 {
        return Err(err::shape(format!("`{name}`: expected a {}D or {}D tensor, but got {}", n + 1, n + 2, x.ty())));
    }
    let lead = s.len() - n;
    super::unpool::not_empty(name, x, n)?;
    let kernel = spatial(name, "kernel_size", &a.ints(1)?, n, 1)?;
    let out = sizes(a, name, &s[lead..])?;
    for i in 0..n {
        if out[i] + kernel[i] > s[lead + i] + 1 {
            let what = ["time", "height", "width"][3 - n + i];
            return Err(err::shape(format!(
                "`{name}`: pool {what} {} too large relative to input {what} {} for an output of {}",
                kernel[i],
                s[lead + i],
                out[i]
            )));
        }
    }
    let batch = if lead == 2 { s[0] } else { 1 };
    let planes = batch * s[lead - 1];
    let u = samples(b, a, x, [batch, s[lead - 1]], n)?.reshape(&[planes, n]);
    // The position of every element of every window in the flattened image: [plane, o.., k..].
    let mut at = b.constant(Scalar::from_i64(DType::I64, 0));
    for i in 0..n {
        // In the plane the first random number is the last dimension's.
        let sample = u.narrow(1, if n == 2 { 1 - i } else { i }, 1).reshape(&[planes]);
        let mut shape = vec![1; 2 * n + 1];
        (shape[0], shape[1 + i]) = (planes, out[i]);
        let start = starts(b, sample, s[lead + i], out[i], kernel[i]).reshape(&shape);
        at = at * b.int(s[lead + i]) + start + b.iota(kernel[i]).laid_along(1 + n + i, 2 * n + 1);
    }
    let (o, k): (usize, usize) = (out.iter().product(), kernel.iter().product());
    checked_numel(&[planes, o, k])?;
    let flat = x.reshape(&[planes, s[lead..].iter().product()]);
    let at = at.reshape(&[planes, o * k]);
    let shape = [&s[..lead], &out[..]].concat();
    if o == 0 || planes == 0 {
        let none = b.full(Scalar::from_f64(x.dtype(), 0.0), &shape).copy();
        return Ok(if a.bool(4)? { Out::Many(vec![none, none.cast(DType::I64)]) } else { none.into() });
    }
    let place = largest(flat.gather(1, at).reshape(&[planes, o, k]), 2, None, a.bool(4)?);
    let places = at.reshape(&[planes, o, k]).gather(2, place).reshape(&[planes, o]);
    let y = flat.gather(1, places).reshape(&shape);
    Ok(if a.bool(4)? { Out::Many(vec![y, places.reshape(&shape)]) } else { y.into() })
}

macro_rules! pooling {
    ($name:literal, $n:literal, $x:literal) => {
        FnDef {
            name: $name,
            sig: "x, kernel_size: ints, output_size: ints? = None, output_ratio: any = None, return_indices: bool = false, \
                  _random_samples = None, seed: tensor? = None",
            example: concat!("x: D[1, 2", $x, "] => ", $name, "(x, 2, 2, seed=7)"),
            doc: "The largest elements of output_size windows (or that ratio of the extents) of each spatial dimension of \
                  [batch, channel, ..] (or without batch), whose starts are nearly evenly spread and shifted by random \
                  numbers: _random_samples [batch, channel, dimensions] of the dtype of x, from 0 to 1, or drawn by the \
                  seed. With return_indices also their positions in the flattened dimensions, i64. The gradient goes to \
                  the first largest. Floats only. Graham, \"Fractional Max-Pooling\", 2015.",
            build: |b, a| fractional(b, a, $n),
        }
    };
}

/// The functions.
pub static FNS: &[FnDef] =
    &[pooling!("fractional_max_pool2d", 2, ", 4, 3"), pooling!("fractional_max_pool3d", 3, ", 3, 4, 3")];

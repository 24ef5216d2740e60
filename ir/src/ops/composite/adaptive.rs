//! Adaptive pooling: the largest or the mean of so many nearly equal parts of each spatial dimension. Half floats are
//! rounded once.

use super::unit;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Arg, Args, FnDef, Out, require_float};
use crate::types::{ShapeText, checked_numel};

/// For each of `out` parts of `n` elements, `floor(i n / out) .. ceil((i + 1) n / out)`, the positions in it, padded to the
/// longest part by its last one: `i64[out, longest]`.
fn parts(b: &Builder, n: usize, out: usize) -> (Ex<'_>, usize) {
    let divisor = out.max(1);
    let longest = (0..out).map(|i| ((i + 1) * n).div_ceil(out) - i * n / out).max().unwrap_or(0);
    let i = b.iota(out).unsqueeze(1);
    let start = (i * b.int(n)).floor_divide(b.int(divisor));
    let end = ((i + b.int(1)) * b.int(n) + b.int(divisor - 1)).floor_divide(b.int(divisor));
    ((start + b.iota(longest)).minimum(end - b.int(1)), longest)
}

/// The largest element of each part and, if asked, its position in the flattened spatial dimensions.
fn adaptive_max<'b>(b: &'b Builder, a: &Args<'b>, n: usize) -> Result<Out<'b>> {
    let (x, name) = (a.tensor(b, 0)?, a.name());
    require_float(name, x)?;
    let s = x.shape();
    if s.len() != n + 1 && s.len() != n + 2 {
        return Err(not_adaptive(name, x, n));
    }
    let lead = s.len() - n;
    let lead_sizes = s[..lead].iter().map(|n| *n as i64);
    // The sizes of the result, so that the error of a negative one shows them.
    let whole: Vec<i64> = lead_sizes.chain(sizes(name, a, x, n)?).collect();
    let out = super::create::known_sizes(&whole)?[lead..].to_vec();
    super::pool::check_elements(name, x, n)?;
    // The position of every element of every part in the flattened image: [o.., k..].
    let mut at = b.constant(Scalar::from_i64(DType::I64, 0));
    let mut kernel = Vec::new();
    for i in 0..n {
        if out[i] > 1 << 24 {
            return Err(err::shape(format!("`{name}`: the output size {out:?} is too large")));
        }
        let (p, longest) = parts(b, s[lead + i], out[i]);
        let mut shape = vec![1; 2 * n];
        (shape[i], shape[n + i]) = (out[i], longest);
        at = at * b.int(s[lead + i]) + p.reshape(&shape);
        kernel.push(longest);
    }
    let (c, o, k): (usize, usize, usize) = (s[..lead].iter().product(), out.iter().product(), kernel.iter().product());
    checked_numel(&[c, o, k])?;
    let flat = x.reshape(&[c, s[lead..].iter().product()]);
    let at = at.reshape(&[1, o * k]).expand(&[c, o * k]);
    let cols = flat.gather(1, at).reshape(&[c, o, k]);
    if o == 0 {
        let none = flat.gather(1, at).reshape(&[&s[..lead], &out[..]].concat());
        return Ok(if a.bool(2)? { Out::Many(vec![none, none.cast(DType::I64)]) } else { none.into() });
    }
    // The first largest one, in the order of the image.
    let place = super::pool::largest(cols, 2, None, a.bool(2)?);
    let places = at.reshape(&[c, o, k]).gather(2, place).reshape(&[c, o]);
    let shape = [&s[..lead], &out[..]].concat();
    let y = flat.gather(1, places).reshape(&shape);
    Ok(if a.bool(2)? { Out::Many(vec![y, places.reshape(&shape)]) } else { y.into() })
}

/// The error of an input of another rank than an adaptive pool takes.
fn not_adaptive(name: &str, x: Ex<'_>, n: usize) -> crate::Error {
    let (low, high, s) = (n + 1, n + 2, x.shape());
    err::shape(format!(
        "`{name}`: Input dimension should be at least {low}: expected {low}D or {high}D tensor, but got {}",
        ShapeText(&s)
    ))
}

fn adaptive_avg<'b>(b: &'b Builder, a: &Args<'b>, name: &str, n: usize) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    require_float(name, x)?;
    if x.rank() != n + 1 && x.rank() != n + 2 {
        return Err(not_adaptive(name, x, n));
    }
    let lead = x.rank() - n;
    let given = sizes(name, a, x, n)?;
    let out: Option<Vec<usize>> = given.iter().map(|v| usize::try_from(*v).ok().filter(|v| *v < 1 << 40)).collect();
    let out = out.ok_or_else(|| {
        let got = given.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        err::shape(format!(
            "`{name}`: elements of output_size must be greater than or equal to 0 but received {{{got}}}"
        ))
    })?;
    super::pool::check_elements(name, x, n)?;
    Ok(unit([x], |[x]| means(b, x, lead, &out)))
}

/// The `output_size` argument: one number, or one for each spatial dimension, which stays as it is where that is `None`.
fn sizes(name: &str, a: &Args<'_>, x: Ex<'_>, n: usize) -> Result<Vec<i64>> {
    let size = |v: &Arg<'_>, i: usize| match v {
        Arg::None => Ok(x.shape()[x.rank() - n + i] as i64),
        Arg::Int(v) => Ok(*v),
        Arg::Size(d) => Err(crate::dim::needs_sizes(&d.to_string())),
        _ => Err(err::ty(format!("`{name}`: the elements of output_size must be int or None"))),
    };
    match a.raw(1) {
        Arg::List(l) if l.len() == n => l.iter().enumerate().map(|(i, v)| size(v, i)).collect(),
        Arg::List(l) => Err(err::shape(match n {
            1 => format!("`{name}`: argument `output_size` should contain one int (got {})", l.len()),
            _ => format!("`{name}`: output_size must be {n} numbers, or one (got {})", l.len()),
        })),
        v => (0..n).map(|i| size(v, i)).collect(),
    }
}

/// The means of nearly equal parts of the dimensions from `lead` on: part `i` of `out` is
/// `floor(i n / out) .. ceil((i + 1) n / out)`.
pub fn means<'b>(b: &'b Builder, x: Ex<'b>, lead: usize, out: &[usize]) -> Ex<'b> {
    let mut y = x;
    for (i, o) in out.iter().enumerate() {
        let (d, len) = (lead + i, x.shape()[lead + i]);
        let mut s = y.shape();
        s[d] = *o;
        if *o == 0 {
            y = b.full(Scalar::from_f64(x.dtype(), 0.0), &s);
        } else if len % o == 0 {
            s.insert(d + 1, len / o);
            y = y.reshape(&s).sum(&[d + 1], false) / (len / o) as f64;
        } else {
            y = weighted(b, y, d, len, *o);
        }
    }
    y
}

/// Means of unequal parts along one dimension, as the product with a matrix of weights.
fn weighted<'b>(b: &'b Builder, x: Ex<'b>, d: usize, len: usize, out: usize) -> Ex<'b> {
    let i = b.iota(out);
    let start = (i * b.int(len)).floor_divide(b.int(out));
    let end = (i * b.int(len) + b.int(len + out - 1)).floor_divide(b.int(out));
    let at = b.iota(len).unsqueeze(1);
    let inside = at.ge(start).logical_and(at.lt(end)).cast(x.dtype());
    let weights = inside / (end - start).cast(x.dtype());
    super::resize::by_matrix(x, d, [len, out], weights)
}

macro_rules! pooling {
    ($max:literal, $avg:literal, $n:literal, $x:literal) => {
        [
            FnDef {
                name: $max,
                sig: "x, output_size: any, return_indices: bool = false",
                example: concat!("x: D[1, 2", $x, "] => ", $max, "(x, 2)"),
                doc: "The largest element of output_size nearly equal parts of each spatial dimension of [batch, \
                      channel, ..] (or without batch), the parts of `adaptive_avg_pool1d`; None leaves an extent as it \
                      is. With return_indices also its position (i64) in the flattened spatial dimensions. Floats only. \
                      The gradient goes to the first largest.",
                build: |b, a| adaptive_max(b, a, $n),
            },
            FnDef {
                name: $avg,
                sig: "x, output_size: any",
                example: concat!("x: D[1, 2", $x, "] => ", $avg, "(x, 2)"),
                doc: "The means of output_size nearly equal parts of each spatial dimension of [batch, channel, ..] \
                      (or without batch), part i of n reaching from floor(i len / n) to ceil((i + 1) len / n); None \
                      leaves an extent as it is. Floats only.",
                build: |b, a| Ok(adaptive_avg(b, a, $avg, $n)?.into()),
            },
        ]
    };
}

static ALL: [[FnDef; 2]; 3] = [
    pooling!("adaptive_max_pool1d", "adaptive_avg_pool1d", 1, ", 4"),
    pooling!("adaptive_max_pool2d", "adaptive_avg_pool2d", 2, ", 4, 3"),
    pooling!("adaptive_max_pool3d", "adaptive_avg_pool3d", 3, ", 3, 2, 3"),
];

/// The functions.
pub static FNS: &[FnDef] = ALL.as_flattened();

//! Several tensors, or copies of one, as one: `cat`, `stack`, `repeat`, `roll`, `flip`, `pad`. Results are new memory.

use super::arith::common;
use super::create::sizes;
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, Dims, at_most};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::elementwise::range::held;
use crate::ops::registry::{Arg, Args, FnDef};
use crate::types::{Shape, ShapeText, Span, axis, checked_count};

/// The tensors one after the other along a dimension; all other extents are equal, the dtypes promote.
///
/// # Errors
/// `shape` if they do not fit.
pub fn cat<'b>(b: &'b Builder, parts: &[Ex<'b>], dim: i64) -> Result<Ex<'b>> {
    if parts.is_empty() {
        return Err(err::shape("`cat`: expected a non-empty list of Tensors"));
    }
    if let Some(i) = parts.iter().position(|p| p.rank() == 0) {
        return Err(err::shape(format!("zero-dimensional tensor (at position {i}) cannot be concatenated")));
    }
    let dtype = common(parts);
    // A 1-d tensor without elements fits everything, as in PyTorch.
    let nothing = |p: &Ex<'b>| p.dims().as_slice() == [Dim::ZERO];
    let real: Vec<Ex<'b>> = parts.iter().copied().filter(|p| !nothing(p)).collect();
    let Some(first) = real.first() else { return Ok(parts[0].cast(dtype).copy()) };
    let d = axis(dim, first.rank())?;
    let mut shape = first.dims();
    for (at, p) in parts.iter().enumerate().filter(|(_, p)| !nothing(p)).skip(1) {
        let s = p.dims();
        if s.len() != shape.len() {
            return Err(err::shape(format!(
                "`cat`: Tensors must have same number of dimensions: got {} and {}",
                shape.len(),
                s.len()
            )));
        }
        if let Some(i) = (0..s.len()).find(|i| *i != d && s[*i] != shape[*i]) {
            return Err(err::shape(format!(
                "`cat`: Sizes of tensors must match except in dimension {d}. Expected size {} but got size {} for tensor number \
                 {at} in the list",
                shape[i], s[i]
            )));
        }
        shape[d] = shape[d] + s[d];
    }
    checked_count(&shape)?;
    let mut out = b.full(Scalar::from_i64(dtype, 0), &shape);
    let mut spans: Vec<Span> = shape.iter().map(|n| Span::all(*n)).collect();
    for p in &real {
        spans[d].len = p.dims()[d];
        out = out.slice_update(&spans, p.cast(dtype));
        spans[d].start = spans[d].start + spans[d].len;
    }
    Ok(out)
}

/// The tensors of `hstack` and its like.
fn stacked<'b>(a: &Args<'b>) -> Result<Vec<Ex<'b>>> {
    let parts = a.tensors(0)?;
    match parts.is_empty() {
        true => Err(err::shape(format!("`{}` expects a non-empty TensorList", a.name()))),
        false => Ok(parts),
    }
}

/// The tensors along a new dimension.
///
/// # Errors
/// `shape` if their shapes differ.
pub fn stack<'b>(b: &'b Builder, parts: &[Ex<'b>], dim: i64) -> Result<Ex<'b>> {
    let Some(first) = parts.first() else {
        return Err(err::shape("`stack` expects a non-empty TensorList"));
    };
    if let Some((at, p)) = parts.iter().enumerate().find(|(_, p)| p.dims() != first.dims()) {
        let (want, got) = (first.dims(), p.dims());
        return Err(err::shape(format!(
            "`stack` expects each tensor to be equal size, but got {} at entry 0 and {} at entry {at}",
            ShapeText(&want),
            ShapeText(&got)
        )));
    }
    let d = axis(dim, first.rank() + 1)?;
    let rows: Vec<Ex<'b>> = parts.iter().map(|p| p.unsqueeze(d)).collect();
    cat(b, &rows, d as i64)
}

/// Every dimension laid out that many times; leading ones are added.
fn repeat<'b>(x: Ex<'b>, times: &[Dim]) -> Result<Ex<'b>> {
    let times = sizes(times)?;
    let Some(lead) = times.len().checked_sub(x.rank()) else {
        let (n, ty) = (times.len(), x.ty());
        return Err(err::shape(format!(
            "`repeat`: Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: {n} repeats for {ty}"
        )));
    };
    // [a, b] repeated (r, s) is [1, a, 1, b] expanded to [r, a, s, b], merged.
    let from = x.dims();
    let (mut thin, mut wide, mut out) = (Dims::new(), Dims::new(), Dims::new());
    for (i, r) in times.iter().enumerate() {
        let n = i.checked_sub(lead).map_or(Dim::ONE, |j| from[j]);
        thin.extend([Dim::ONE, n]);
        wide.extend([*r, n]);
        out.push(*r * n);
    }
    checked_count(&out)?;
    Ok(x.reshape(&thin).expand(&wide).copy().reshape(&out))
}

/// The dimension with its elements in reverse order, in new memory.
fn flipped<'b>(x: Ex<'b>, axes: &[usize]) -> Ex<'b> {
    let range = |(i, n): (usize, &Dim)| match axes.contains(&i) {
        true => Span { start: n.max(Dim::ONE) - 1, len: *n, step: -1 },
        false => Span::all(*n),
    };
    x.slice(&x.dims().iter().enumerate().map(range).collect::<Vec<_>>()).copy()
}

fn roll<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    let shifts = a.ints(1)?;
    let Some(dims) = a.opt_ints(2)?.filter(|d| !d.is_empty()) else {
        if shifts.len() != 1 {
            return Err(err::shape(match shifts.len() {
                0 => "`roll`: `shifts` required".into(),
                n => format!("`roll`: shifts and dimensions must align. shifts: {n}, dims: 0"),
            }));
        }
        let flat = x.reshape(&[x.numel()]);
        return Ok(rolled(b, flat, shifts[0], 0)?.reshape(&x.shape()));
    };
    if dims.len() != shifts.len() {
        return Err(err::shape(format!(
            "`roll`: shifts and dimensions must align. shifts: {}, dims: {}",
            shifts.len(),
            dims.len()
        )));
    }
    if x.rank() == 0 {
        return Err(err::index(format!("Dimension specified as {} but tensor has no dimensions", dims[0])));
    }
    let mut out = x;
    for (s, d) in shifts.iter().zip(&dims) {
        out = rolled(b, out, *s, axis(*d, x.rank())?)?;
    }
    Ok(out)
}

fn rolled<'b>(b: &'b Builder, x: Ex<'b>, shift: i64, d: usize) -> Result<Ex<'b>> {
    let n = x.shape().get(d).copied().unwrap_or(0);
    let k = if n == 0 { 0 } else { shift.rem_euclid(n as i64) as usize };
    if k == 0 {
        return Ok(x.copy());
    }
    cat(b, &[x.narrow(d, n - k, k), x.narrow(d, 0, n - k)], d as i64)
}

/// How `pad` fills what is outside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Reflect,
    Replicate,
    Circular,
}

/// The index into `0..n` of each element of a padded dimension, as an `i64` vector.
fn source<'b>(b: &'b Builder, mode: Mode, n: i64, before: i64, len: usize) -> Ex<'b> {
    let i = b.iota(len) + b.number(Scalar::from_i64(DType::I64, -before));
    match mode {
        Mode::Replicate => i.maximum(b.int(0)).minimum(b.int(n - 1)),
        Mode::Circular => i.remainder(b.int(n)),
        Mode::Reflect => {
            let last = b.int(n - 1);
            last - (i.abs() - last).abs()
        }
    }
}

/// `x` with `before` and `after` elements added to each dimension, those outside being `value`. Negative ones cut.
pub fn pad_constant<'b>(b: &'b Builder, x: Ex<'b>, pads: &[(i64, i64)], value: Scalar) -> Result<Ex<'b>> {
    let from = x.dims();
    let (mut shape, mut inner, mut outer) = (Vec::new(), Vec::new(), Vec::new());
    for (n, (before, after)) in from.iter().zip(pads) {
        let len = *n + *before + *after;
        if !at_most(0i64, len)? {
            return Err(err::shape(format!("`pad`: {before} and {after} leave nothing of a dimension of extent {n}")));
        }
        let rest = *n + *before.min(&0) + *after.min(&0);
        let keep = if at_most(0i64, rest)? { rest } else { Dim::ZERO };
        inner.push(Span { start: (-before).max(0).into(), len: keep, step: 1 });
        outer.push(Span { start: (*before).max(0).into(), len: keep, step: 1 });
        shape.push(len);
    }
    checked_count(&shape)?;
    Ok(b.full(value, &shape).slice_update(&outer, x.slice(&inner)))
}

fn pad<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    let given = a.ints(1)?;
    let rank = x.rank();
    if given.len() % 2 == 1 || given.len() / 2 > rank {
        let (n, ty) = (given.len(), x.ty());
        return Err(err::shape(format!(
            "`pad`: Padding length must be divisible by 2 and less than or equal to two times the input dimension, but got \
             padding length {n} and input of dimension {rank} ({ty})"
        )));
    }
    if given.iter().any(|p| p.unsigned_abs() > 1 << 47) {
        return Err(err::shape("`pad`: the result is too large"));
    }
    let mut pads = vec![(0, 0); rank];
    for (i, p) in given.chunks(2).enumerate() {
        pads[rank - 1 - i] = (p[0], p[1]);
    }
    let mode = match a.str(2)? {
        "constant" => {
            let v = if a.is_none(3) { 0.0 } else { a.float(3)? };
            return pad_constant(b, x, &pads, Scalar::from_f64(x.dtype(), v));
        }
        "reflect" => Mode::Reflect,
        "replicate" => Mode::Replicate,
        "circular" => Mode::Circular,
        other => return Err(err::ty(format!("`pad`: Unrecognised padding mode {other}"))),
    };
    let mut out = x.copy();
    for (d, (before, after)) in pads.iter().enumerate().filter(|(_, p)| **p != (0, 0)) {
        let n = x.shape()[d] as i64;
        // Of a circle, what is cut off does not come back on the other side.
        let cut = |p: i64| if mode == Mode::Circular { (-p).max(0) } else { 0 };
        let low = cut(*before);
        let rest = n - low - cut(*after);
        let limit = match mode {
            Mode::Reflect => rest - 1,
            Mode::Circular => rest,
            Mode::Replicate => i64::MAX,
        };
        let len = n + before + after;
        if *before > limit || *after > limit || len < 0 || rest <= 0 {
            return Err(err::shape(format!(
                "`pad`: Padding size should be less than the corresponding input dimension, but got: padding ({before}, \
                 {after}) at dimension {d} of input {}",
                x.ty()
            )));
        }
        let part = if rest == n { out } else { out.narrow(d, low, rest) };
        let index = source(b, mode, rest, before + low, len as usize);
        out = super::pick::along(part, d, index);
    }
    Ok(out)
}

/// Tensors of at least `rank` dimensions: `atleast(x)`.
pub fn at_least<'b>(x: Ex<'b>, rank: usize) -> Ex<'b> {
    match (rank, x.rank()) {
        (r, n) if n >= r => x,
        (3, 2) => x.unsqueeze(2),
        (3, 1) => x.unsqueeze(0).unsqueeze(2),
        (r, _) => {
            let mut shape = Shape::from_elem(1, r - x.rank());
            shape.extend(x.shape());
            x.reshape(&shape)
        }
    }
}

/// Every element of a dimension as often as `counts` says, `n` in all, which is checked when it runs.
fn repeat_each<'b>(b: &'b Builder, x: Ex<'b>, d: usize, counts: Ex<'b>, n: usize) -> Result<Ex<'b>> {
    let len = x.shape()[d];
    if !matches!(counts.dtype(), DType::I64 | DType::I32) {
        return Err(err::dtype(format!("repeats has to be Long or Int tensor, got {}", counts.dtype())));
    }
    if counts.rank() > 1 || counts.numel() != 1 && counts.numel() != len {
        let c = counts.ty();
        return Err(err::shape(format!(
            "repeats must have the same size as input along dim, but got repeats {c} and input.size = {len}"
        )));
    }
    let counts = counts.cast(DType::I64).reshape(&[counts.numel()]).expand(&[len]);
    // Nothing of an empty result is computed, so nothing is checked either.
    if n == 0 {
        let mut shape = x.shape();
        shape[d] = 0;
        return Ok(b.full(Scalar::from_i64(x.dtype(), 0), &shape).copy());
    }
    if len == 0 {
        return Err(err::shape("allocated size does not match required size: there is nothing to repeat"));
    }
    let counts = held("check_repeats", counts.ge(b.int(0)), counts, 0.0);
    let sum = counts.sum(&[0], false);
    // 0, and none of the rest can do without it, so that the check stays.
    let wrong = held("check_total", sum.eq(b.int(n)), sum, n as f64) - b.int(n);
    // Element `i` of the result is of the first one whose counts, summed up to it, exceed `i`.
    let ends = counts.scan(crate::ops::scan::ScanKind::Sum, 0) + wrong;
    let at = ends.le(b.iota(n).unsqueeze(1)).cast(DType::I64).sum(&[1], false);
    Ok(super::pick::along(x, d, at.minimum(b.int(len - 1))))
}

fn repeat_interleave<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    let (x, d) = match a.opt_int(2)? {
        Some(d) => (at_least(x, 1), axis(d, x.rank())?),
        None => (x.reshape(&[x.count()]), 0),
    };
    let times = match a.raw(1) {
        Arg::Int(n) if *n < 0 => return Err(err::shape("Repeats must be non-negative")),
        Arg::Int(_) | Arg::Size(_) => sizes(&[a.dim(1)?])?[0],
        Arg::Tensor(counts) => {
            let Some(n) = a.opt_int(3)? else {
                return Err(err::unsupported(
                    "`repeat_interleave` with a tensor of counts: the size depends on the data",
                )
                .help("give it: `output_size=n`"));
            };
            if n < 0 {
                return Err(err::shape("`repeat_interleave`: output_size must not be negative"));
            }
            return repeat_each(b, x, d, *counts, n as usize);
        }
        _ => return Err(err::ty("`repeat_interleave`: repeats is a number or a tensor of integers")),
    };
    let mut wide = x.dims();
    wide.insert(d + 1, times);
    let mut out = x.dims();
    out[d] = out[d] * times;
    checked_count(&out)?;
    Ok(x.unsqueeze(d + 1).expand(&wide).copy().reshape(&out))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "cat",
        sig: "tensors: tensors, dim: int = 0",
        example: "a: D[2, 3], b: D[1, 3] => cat([a, b], 0)",
        doc: "Tensors one after the other along a dimension; the other extents are equal, dtypes promote. A tensor [0] \
              is left out.",
        build: |b, a| Ok(cat(b, &a.tensors(0)?, a.int(1)?)?.into()),
    },
    FnDef {
        name: "stack",
        sig: "tensors: tensors, dim: int = 0",
        example: "a: D[3], b: D[3] => stack([a, b], 1)",
        doc: "n tensors of one shape along a new dimension of extent n, before dim; dtypes promote.",
        build: |b, a| Ok(stack(b, &a.tensors(0)?, a.int(1)?)?.into()),
    },
    FnDef {
        name: "hstack",
        sig: "tensors: tensors",
        example: "a: D[2, 3], b: D[2, 1] => hstack([a, b])",
        doc: "Tensors one after the other along dimension 1 (0 for vectors; scalars are vectors); dtypes promote.",
        build: |b, a| {
            let parts: Vec<_> = stacked(a)?.into_iter().map(|p| at_least(p, 1)).collect();
            Ok(cat(b, &parts, parts.first().is_some_and(|p| p.rank() > 1) as i64)?.into())
        },
    },
    FnDef {
        name: "vstack",
        sig: "tensors: tensors",
        example: "a: D[3], b: D[3] => vstack([a, b])",
        doc: "Tensors one above the other: along dimension 0, vectors and scalars as rows; dtypes promote.",
        build: |b, a| {
            let parts: Vec<_> = stacked(a)?.into_iter().map(|p| at_least(p, 2)).collect();
            Ok(cat(b, &parts, 0)?.into())
        },
    },
    FnDef {
        name: "dstack",
        sig: "tensors: tensors",
        example: "a: D[2, 3], b: D[2, 3] => dstack([a, b])",
        doc: "Tensors one behind the other: along dimension 2, after `atleast_3d`; dtypes promote.",
        build: |b, a| {
            let parts: Vec<_> = stacked(a)?.into_iter().map(|p| at_least(p, 3)).collect();
            Ok(cat(b, &parts, 2)?.into())
        },
    },
    FnDef {
        name: "column_stack",
        sig: "tensors: tensors",
        example: "a: D[2], b: D[2, 3] => column_stack([a, b])",
        doc: "Tensors beside each other: along dimension 1, vectors and scalars as columns; dtypes promote.",
        build: |b, a| {
            let mut parts = a.tensors(0)?;
            for p in &mut parts {
                *p = if p.rank() < 2 { p.reshape(&[p.numel(), 1]) } else { *p };
            }
            Ok(cat(b, &parts, 1)?.into())
        },
    },
    FnDef {
        name: "repeat",
        sig: "x, repeats: ints",
        example: "x: D[2, 3] => repeat(x, 2, 1)",
        doc: "x laid out repeats[i] times along each dimension, in new memory; more numbers than dimensions add \
              leading ones, fewer are an error. The gradient is summed.",
        build: |b, a| Ok(repeat(a.tensor(b, 0)?, &a.dims(1)?)?.into()),
    },
    FnDef {
        name: "tile",
        sig: "x, dims: ints",
        example: "x: D[2, 3] => tile(x, 2)",
        doc: "`repeat`, where fewer numbers than dimensions leave the leading ones alone.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let dims = a.dims(1)?;
            let mut all = vec![Dim::ONE; x.rank().saturating_sub(dims.len())];
            all.extend(dims);
            Ok(repeat(x, &all)?.into())
        },
    },
    FnDef {
        name: "repeat_interleave",
        sig: "x, repeats: any, dim: int? = None, output_size: int? = None",
        example: "x: D[2, 3] => repeat_interleave(x, 2, 1)",
        doc: "Every element repeats times in a row, along a dimension or of the flattened tensor. A tensor of counts, \
              one for each element, needs output_size, their sum; another sum is an error of the run.",
        build: |b, a| Ok(repeat_interleave(b, a)?.into()),
    },
    FnDef {
        name: "flip",
        sig: "x, dims: ints",
        example: "x: D[2, 3] => flip(x, [0, 1])",
        doc: "The elements of these dimensions in reverse order, copied. No dimension stands twice.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let dims = a.ints(1)?;
            let axes = if dims.is_empty() { vec![] } else { a.axes(1, x.rank())? };
            Ok(flipped(x, &axes).into())
        },
    },
    FnDef {
        name: "fliplr",
        sig: "x",
        example: "x: D[2, 3] => fliplr(x)",
        doc: "Dimension 1 in reverse order, copied; an error for fewer than two.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            if x.rank() < 2 {
                return Err(err::shape("`fliplr`: input must be >= 2-d"));
            }
            Ok(flipped(x, &[1]).into())
        },
    },
    FnDef {
        name: "flipud",
        sig: "x",
        example: "x: D[2, 3] => flipud(x)",
        doc: "Dimension 0 in reverse order, copied; an error for scalars.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            if x.rank() < 1 {
                return Err(err::shape("`flipud`: input must be >= 1-d"));
            }
            Ok(flipped(x, &[0]).into())
        },
    },
    FnDef {
        name: "roll",
        sig: "x, shifts: ints, dims: ints? = None",
        example: "x: D[2, 3] => roll(x, 1, 1)",
        doc: "Elements moved by shifts along as many dimensions, those that leave at the end coming in at the start; \
              without dims along the flattened tensor. Copied.",
        build: |b, a| Ok(roll(b, a)?.into()),
    },
    FnDef {
        name: "pad",
        sig: "x, pad: ints, mode: str = constant, value: float? = None",
        example: "x: D[2, 3] => pad(x, [1, 2])",
        doc: "Elements added before and after the last dimensions, in pairs, the last dimension first; negative \
              numbers take away. Modes: \"constant\" (of that value, 0 if none), \"reflect\", \"replicate\" and \
              \"circular\", which repeat x.",
        build: |b, a| Ok(pad(b, a)?.into()),
    },
];

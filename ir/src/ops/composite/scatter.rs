//! Elements written by an index tensor: `scatter`, `scatter_reduce`, `index_add`, `index_put`, `put`, `masked_scatter`.
//!
//! All go over the index in row-major order, so duplicates are deterministic: of values that are set the last one stays,
//! others are combined in that order. An index out of range is an error when the program runs. `x.NAME_(…)` writes the
//! result into the memory of x. Half floats that are combined are rounded once.

use super::index::{IndexItem, replaced};
use super::pick::{index_of, operands};
use super::row;
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, at_most};
use crate::dtype::{Category, DType, Scalar};
use crate::error::{Result, err};
use crate::ops::gather::ScatterMode;
use crate::ops::registry::{Arg, Args, FnDef};
use crate::types::{ShapeText, axis};

fn same<'b>(name: &str, x: Ex<'b>, src: Ex<'b>) -> Result<()> {
    if src.dtype() == x.dtype() {
        return Ok(());
    }
    let (s, x) = (src.dtype(), x.dtype());
    Err(err::dtype(format!("`{name}`: Expected self.dtype to be equal to src.dtype, got {x} and {s}")))
}

/// The part of `src` that an index of that shape takes.
fn part<'b>(name: &str, src: Ex<'b>, index: Ex<'b>) -> Result<Ex<'b>> {
    let src = if src.rank() == 0 { src.reshape(&[1]) } else { src };
    if src.rank() != index.rank() {
        let (s, i) = (src.ty(), index.ty());
        return Err(err::shape(format!(
            "`{name}`: Index tensor must have the same number of dimensions as src tensor, got {i} for {s}"
        )));
    }
    let mut fits = true;
    for (s, n) in src.dims().iter().zip(index.dims()) {
        fits = fits && at_most(n, *s)?;
    }
    if !fits {
        let (s, i) = (src.ty(), index.ty());
        return Err(err::shape(format!("`{name}`: Expected index {i} to be no larger size than src {s}")));
    }
    let cut = |e: Ex<'b>, (k, n): (usize, &Dim)| if e.dims()[k] == *n { e } else { e.narrow(k, 0, *n) };
    Ok(index.dims().iter().enumerate().fold(src, cut))
}

fn scatter<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let shape = a.tensor(b, 0)?.dims();
    let (x, d, i) = operands(b, a, "scatter")?;
    let src = match (a.opt_tensor(b, 3)?, a.opt_tensor(b, 5)?) {
        (Some(s), None) | (None, Some(s)) => s,
        _ => return Err(err::ty("`scatter` takes one of `src` and `value`")),
    };
    let mode = match a.raw(4) {
        Arg::None => ScatterMode::Set,
        _ => match a.str(4)? {
            "add" => ScatterMode::Add,
            "multiply" => ScatterMode::Mul,
            other => {
                return Err(err::ty(format!("`scatter`: reduce argument must be either add or multiply, got {other}")));
            }
        },
    };
    let src = if src.ty().weak {
        src.cast(x.dtype()).expand(&i.dims())
    } else {
        same("scatter", x, src)?;
        part("scatter", src, i)?
    };
    Ok(combined(x, d, mode, i, src).reshape(&shape))
}

/// One rounding for all that half floats are combined with.
fn combined<'b>(x: Ex<'b>, d: usize, mode: ScatterMode, i: Ex<'b>, src: Ex<'b>) -> Ex<'b> {
    match mode {
        ScatterMode::Add | ScatterMode::Mul => super::unit([x, src], |[x, s]| x.scatter(d, mode, i, s)),
        ScatterMode::Set | ScatterMode::Max | ScatterMode::Min => x.scatter(d, mode, i, src),
    }
}

/// `x` with `src` combined at the places of the index; without `include_self` what is there does not count.
fn reduced<'b>(name: &str, how: &str, x: Ex<'b>, d: usize, i: Ex<'b>, src: Ex<'b>, include: bool) -> Result<Ex<'b>> {
    let dtype = x.dtype();
    let (mode, identity) = match how {
        "sum" | "mean" => (ScatterMode::Add, Scalar::from_i64(dtype, 0)),
        "prod" => (ScatterMode::Mul, Scalar::from_i64(dtype, 1)),
        "amax" => (ScatterMode::Max, super::pool::least(dtype)),
        _ => (ScatterMode::Min, super::pool::greatest(dtype)),
    };
    if how == "mean" && dtype == DType::Bool {
        return Err(err::dtype(format!("`{name}`: mean is not implemented for bool")));
    }
    let b = x.builder();
    let start = if include { x } else { x.scatter(d, ScatterMode::Set, i, b.full(identity, &i.dims())) };
    if how != "mean" {
        return Ok(combined(start, d, mode, i, src));
    }
    let one = |e: Ex<'b>| b.full(Scalar::from_i64(DType::I64, 1), &e.dims());
    let before = if include { one(x) } else { one(x).zeros() };
    let count = before.scatter(d, ScatterMode::Add, i, one(src));
    let count = count.map("clamp_min", &[b.number(Scalar::from_i64(DType::I64, 1))]);
    if dtype.category() == Category::Float {
        return Ok(super::unit([start, src], |[x, s]| {
            let sum = x.scatter(d, mode, i, s);
            sum / count.cast(sum.dtype())
        }));
    }
    row("floor_divide", &[start.scatter(d, mode, i, src), count.cast(dtype)])
}

fn reduction<'a>(name: &str, a: &'a Args<'_>, i: usize, known: &[&str]) -> Result<&'a str> {
    let how = a.str(i)?;
    if known.contains(&how) {
        return Ok(how);
    }
    Err(err::ty(format!("`{name}`: reduce argument must be one of {}, got {how}", known.join(", "))))
}

/// The index vector of an `index_…` function, stretched to the shape of its source; a scalar counts as a vector.
fn vector<'b>(b: &'b Builder, a: &Args<'b>, name: &str) -> Result<(Ex<'b>, usize, Ex<'b>, Ex<'b>)> {
    let (x, i, src) = (a.tensor(b, 0)?, index_of(name, a.tensor(b, 2)?)?, a.tensor(b, 3)?);
    let d = axis(a.int(1)?, x.rank())?;
    if i.rank() > 1 {
        return Err(err::index(format!("`{name}`: Index is supposed to be a vector, but got {}", i.ty())));
    }
    same(name, x, src)?;
    let up = |e: Ex<'b>| if e.rank() == 0 { e.reshape(&[1]) } else { e };
    let (x, src) = (up(x), up(src));
    let mut want = x.dims();
    want[d] = i.count();
    if src.dims() != want {
        let (xs, s) = (x.dims(), src.dims());
        let apart = s.len() != xs.len() || (0..s.len()).any(|i| i != d && s[i] != xs[i]);
        return Err(err::shape(if apart {
            format!(
                "`{name}`: source tensor shape must match self tensor shape, excluding the specified dimension. Got \
                 self.shape = {} source.shape = {}",
                ShapeText(&xs),
                ShapeText(&s)
            )
        } else {
            format!(
                "`{name}`: Number of indices ({}) should be equal to source.size(dim): ({}), for dim: {d}",
                i.count(),
                s[d]
            )
        }));
    }
    Ok((x, d, i.laid_along(d, x.rank()).expand(&want), src))
}

fn index_add<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let shape = a.tensor(b, 0)?.dims();
    let (x, d, i, src) = vector(b, a, "index_add")?;
    let alpha = a.tensor(b, 4)?;
    if alpha.dtype().category() > x.dtype().category() && alpha.dtype() != DType::I64 {
        return Err(super::arith::scale_error("index_add", "alpha", x.dtype(), alpha.dtype()));
    }
    let unscaled = super::arith::constant(alpha).is_some_and(|c| c.to_f64() == 1.0);
    Ok(super::unit([x, src], |[x, s]| {
        x.scatter(d, ScatterMode::Add, i, if unscaled { s } else { (s * alpha).cast(x.dtype()) })
    })
    .reshape(&shape))
}

fn index_fill<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, v) = (a.tensor(b, 0)?, a.tensor(b, 3)?);
    let (shape, i) = (x.dims(), index_of("index_fill", a.tensor(b, 2)?)?);
    let d = axis(a.int(1)?, x.rank())?;
    if i.rank() > 1 {
        return Err(err::index("`index_fill`: Index has to be a vector or a scalar"));
    }
    if v.rank() > 0 {
        let n = v.rank();
        return Err(err::shape(format!(
            "`index_fill` only supports a 0-dimensional value tensor, but got tensor with {n} dimension(s)"
        )));
    }
    let x = if x.rank() == 0 { x.reshape(&[1]) } else { x };
    let (n, extent) = (i.count(), x.dims()[d]);
    let at = row("wrap_index", &[i, b.int(extent)])?;
    // Which indices of the dimension are named, however often: the value gets the gradient of each once.
    let of = |v: bool, len: Dim| b.full(Scalar::from_bool(v), &[len]);
    let named = of(false, extent).scatter(0, ScatterMode::Set, at.reshape(&[n]), of(true, n));
    Ok(row("where", &[named.laid_along(d, x.rank()), v.cast(x.dtype()), x])?.reshape(&shape))
}

fn index_put<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, values) = (a.tensor(b, 0)?, a.tensor(b, 2)?);
    let Arg::List(list) = a.raw(1) else {
        return Err(err::ty("`index_put`: indices must be a list of tensors and None"));
    };
    let item = |i: &Arg<'b>| match i {
        Arg::Tensor(t) => Ok(IndexItem::Tensor(*t)),
        Arg::None => Ok(IndexItem::Slice { start: None, stop: None, step: None }),
        _ => Err(err::ty("`index_put`: indices must be a list of tensors and None")),
    };
    let items = list.iter().map(item).collect::<Result<Vec<_>>>()?;
    if values.dtype() != x.dtype() && !values.ty().weak {
        let (x, v) = (x.dtype().torch_name(), values.dtype().torch_name());
        return Err(err::dtype(format!(
            "Index put requires the source and destination dtypes match, got {x} for the destination and {v} for the source"
        )));
    }
    let mode = if a.bool(3)? { ScatterMode::Add } else { ScatterMode::Set };
    replaced(b, x, &items, values, mode)
}

fn put<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, i, src) = (a.tensor(b, 0)?, index_of("put", a.tensor(b, 1)?)?, a.tensor(b, 2)?);
    same("put", x, src)?;
    let (n, count) = (x.numel(), i.numel());
    if src.numel() != count {
        let s = src.numel();
        return Err(err::shape(format!(
            "`put`: expected source and index to have the same number of elements, but got source.numel() = {s}, \
             index.numel() = {count}"
        )));
    }
    let i = row("wrap_index", &[i, b.number(Scalar::from_i64(DType::I64, n as i64))])?.reshape(&[count]);
    let mode = if a.bool(3)? { ScatterMode::Add } else { ScatterMode::Set };
    Ok(combined(x.reshape(&[n]), 0, mode, i, src.reshape(&[count])).reshape(&x.dims()))
}

fn masked_scatter<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, mask, src) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?);
    if mask.dtype() != DType::Bool {
        return Err(err::dtype(format!(
            "`masked_scatter` only supports boolean masks, but got mask with dtype {}",
            mask.dtype()
        )));
    }
    same("masked_scatter", x, src)?;
    let shape = crate::types::broadcast(&x.dims(), &mask.dims())
        .ok_or_else(|| crate::builder::broadcast_error("masked_scatter", &[mask.ty(), x.ty()]))?;
    super::index::placed(x.expand(&shape), mask.expand(&shape), src, false)
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "scatter",
        sig: "x, dim: int, index, src: number? = None, reduce: str? = None, value: number? = None",
        example: "x: D[2, 3], src: D[2, 2] => scatter(x, 1, tensor([[0, 2], [1, 0]]), src)",
        doc: "x with src[.., i, ..] (or one value) at [.., index[.., i, ..], ..]; of duplicates the last one stays. \
              reduce \"add\" or \"multiply\" combines it with what is there. index has no larger extents than src, nor \
              than x but along dim; one out of range is an error of the run. src has the dtype of x. Of duplicates all get the gradient.",
        build: |b, a| Ok(scatter(b, a)?.into()),
    },
    FnDef {
        name: "scatter_add",
        sig: "x, dim: int, index, src",
        example: "x: D[2, 3], src: D[2, 2] => scatter_add(x, 1, tensor([[0, 2], [1, 1]]), src)",
        doc: "x with src[.., i, ..] added at [.., index[.., i, ..], ..], in the order of the index; shapes as in \
              `scatter`. An index out of range is an error of the run. The gradient by src is gathered.",
        build: |b, a| {
            let (shape, src) = (a.tensor(b, 0)?.dims(), a.tensor(b, 3)?);
            let (x, d, i) = operands(b, a, "scatter_add")?;
            same("scatter_add", x, src)?;
            Ok(combined(x, d, ScatterMode::Add, i, part("scatter_add", src, i)?).reshape(&shape).into())
        },
    },
    FnDef {
        name: "scatter_reduce",
        sig: "x, dim: int, index, src, reduce: str, include_self: bool = true",
        example: "x: D[2, 3], src: D[2, 2] => scatter_reduce(x, 1, tensor([[0, 2], [1, 1]]), src, \"amax\")",
        doc: "x with src[.., i, ..] combined at [.., index[.., i, ..], ..] by \"sum\", \"prod\", \"mean\", \"amax\" or \
              \"amin\"; without include_self what was there does not count. Shapes as in `scatter`. Equal extremes share the \
              gradient.",
        build: |b, a| {
            let (shape, src) = (a.tensor(b, 0)?.dims(), a.tensor(b, 3)?);
            let how = reduction("scatter_reduce", a, 4, &["sum", "prod", "mean", "amax", "amin"])?;
            let (x, d, i) = operands(b, a, "scatter_reduce")?;
            same("scatter_reduce", x, src)?;
            let src = part("scatter_reduce", src, i)?;
            Ok(reduced("scatter_reduce", how, x, d, i, src, a.bool(5)?)?.reshape(&shape).into())
        },
    },
    FnDef {
        name: "index_add",
        sig: "x, dim: int, index, source, alpha: number = 1",
        example: "x: D[2, 3], source: D[2, 2] => index_add(x, 1, tensor([0, 2]), source)",
        doc: "x with alpha times the rows of source added at the indices of dim that a vector names. source has the \
              shape and dtype of x, but along dim the index's length. An index out of range is an error of the run; \
              negative ones too.",
        build: |b, a| Ok(index_add(b, a)?.into()),
    },
    FnDef {
        name: "index_copy",
        sig: "x, dim: int, index, source",
        example: "x: D[2, 3], source: D[2, 2] => index_copy(x, 1, tensor([0, 2]), source)",
        doc: "x with the rows of source at the indices of dim that a vector names; of duplicates the last one stays, and all get the gradient. Shapes and errors as in `index_add`.",
        build: |b, a| {
            let shape = a.tensor(b, 0)?.dims();
            let (x, d, i, src) = vector(b, a, "index_copy")?;
            Ok(x.scatter(d, ScatterMode::Set, i, src).reshape(&shape).into())
        },
    },
    FnDef {
        name: "index_reduce",
        sig: "x, dim: int, index, source, reduce: str, include_self: bool = true",
        example: "x: D[2, 3], source: D[2, 2] => index_reduce(x, 1, tensor([0, 2]), source, \"amax\")",
        doc: "x with the rows of source combined at the indices of dim that a vector names, by \"prod\", \"mean\", \
              \"amax\" or \"amin\"; without include_self what was there does not count. Shapes and errors as in \
              `index_add`. Equal extremes share the gradient.",
        build: |b, a| {
            let shape = a.tensor(b, 0)?.dims();
            let how = reduction("index_reduce", a, 4, &["prod", "mean", "amax", "amin"])?;
            let (x, d, i, src) = vector(b, a, "index_reduce")?;
            Ok(reduced("index_reduce", how, x, d, i, src, a.bool(5)?)?.reshape(&shape).into())
        },
    },
    FnDef {
        name: "index_fill",
        sig: "x, dim: int, index, value: number",
        example: "x: D[2, 3] => index_fill(x, 1, tensor([0, 2]), 1)",
        doc: "x with one value, a number or a tensor of no dimension, at the indices of a dimension that a vector \
              names; negative ones count from the end, one out of range is an error of the run.",
        build: |b, a| Ok(index_fill(b, a)?.into()),
    },
    FnDef {
        name: "index_put",
        sig: "x, indices: any, values: number, accumulate: bool = false",
        example: "x: D[2, 3], values: D[2] => index_put(x, [tensor([0, 1]), tensor([2, 0])], values)",
        doc: "x with values at x[indices], a list of index tensors, masks and None for whole dimensions; values \
              broadcast to that part, and are added if accumulate. Of duplicates the last one stays. An index out of \
              range is an error of the run.",
        build: |b, a| Ok(index_put(b, a)?.into()),
    },
    FnDef {
        name: "put",
        sig: "x, index, source, accumulate: bool = false",
        example: "x: D[2, 3], source: D[2] => put(x, tensor([0, -1]), source)",
        doc: "x with the elements of source at positions of the flattened tensor, or added there if accumulate; \
              negative indices count from the end, one out of range is an error of the run. As many indices as \
              elements of source, of the dtype of x.",
        build: |b, a| Ok(put(b, a)?.into()),
    },
    FnDef {
        name: "masked_scatter",
        sig: "x, mask, source",
        example: "x: D[2, 3], source: D[4] => masked_scatter(x, tensor([true, false, true]), source)",
        doc: "x with the elements of source, in order, where the bool mask holds; more of those than elements of \
              source are an error of the run. x and the mask broadcast; the dtypes of x and source are one.",
        build: |b, a| Ok(masked_scatter(b, a)?.into()),
    },
];

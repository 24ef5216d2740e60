//! Elements picked by a condition or an index tensor: `where`, `masked_fill`, `gather`, `scatter`, triangles.
//!
//! Indices are checked when the program runs; one out of range is an error of kind `data`.

use super::row;
use crate::builder::{Builder, Ex};
use crate::dtype::{Category, DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef, Out};
use crate::types::{axis, broadcast};

/// An index tensor in `i64`.
///
/// # Errors
/// `dtype` if it is not of integers.
pub fn index_of<'b>(name: &str, i: Ex<'b>) -> Result<Ex<'b>> {
    match i.dtype() {
        DType::I64 | DType::I32 => Ok(i.cast(DType::I64)),
        // Nothing is picked, so nothing depends on the dtype.
        d if d.is_int() && i.ty().is_empty() => Ok(i.cast(DType::I64)),
        d => Err(err::dtype(format!("`{name}`: Expected dtype i32 or i64 for index, got {d}"))),
    }
}

/// The elements of one dimension that a vector of indices names, in its order. The indices are in range.
pub fn along<'b>(x: Ex<'b>, dim: usize, index: Ex<'b>) -> Ex<'b> {
    let mut wide = x.dims();
    wide[dim] = index.count();
    x.gather(dim, index.laid_along(dim, x.rank()).expand(&wide))
}

/// The operand, an axis of it, and an index tensor with as many dimensions.
///
/// # Errors
/// `dtype`, `index` or `shape`.
pub fn operands<'b>(b: &'b Builder, a: &Args<'b>, name: &str) -> Result<(Ex<'b>, usize, Ex<'b>)> {
    let (x, i) = (a.tensor(b, 0)?, index_of(name, a.tensor(b, 2)?)?);
    let d = axis(a.int(1)?, x.rank())?;
    // Scalars count as vectors of one element.
    let up = |e: Ex<'b>| if e.rank() == 0 { e.reshape(&[1]) } else { e };
    let (x, i) = (up(x), up(i));
    if x.rank() != i.rank() {
        let (x, i) = (x.ty(), i.ty());
        let what = if name == "gather" { "input" } else { "self" };
        return Err(err::shape(format!(
            "`{name}`: Index tensor must have the same number of dimensions as {what} tensor, got {i} for {x}"
        )));
    }
    Ok((x, d, i))
}

/// `x` where `keep(column, row + k)` holds, else 0.
fn triangle<'b>(b: &'b Builder, a: &Args<'b>, keep: fn(Ex<'b>, Ex<'b>) -> Ex<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    if x.rank() < 2 {
        return Err(err::shape(format!(
            "`{}`: input tensor must have at least 2 dimensions, got {}",
            a.name(),
            x.ty()
        )));
    }
    let (rows, columns) = (x.dims()[x.rank() - 2], x.dims()[x.rank() - 1]);
    let edge = b.iota(rows).unsqueeze(1) + b.number(Scalar::from_i64(DType::I64, a.int(1)?));
    Ok(row("where", &[keep(b.iota(columns), edge), x, x.zeros()])?.into())
}

fn masked_fill<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, mask, value) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?);
    if mask.dtype() != DType::Bool {
        return Err(err::dtype(format!(
            "`masked_fill` only supports boolean masks, but got mask with dtype {}",
            mask.dtype()
        )));
    }
    if value.rank() > 0 {
        return Err(err::shape(format!(
            "`masked_fill` only supports a 0-dimensional value tensor, but got tensor with {} dimension(s)",
            value.rank()
        )));
    }
    row("where", &[mask, value.cast(x.dtype()), x])
}

/// `where`: also in the order of the method form, `x.where(condition, other)`.
fn select<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (mut c, mut x, other) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?);
    if c.dtype().category() != Category::Bool && x.dtype() == DType::Bool && !x.ty().weak {
        std::mem::swap(&mut c, &mut x);
    }
    row("where", &[c, x, other])
}

fn one_hot<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    if x.dtype() != DType::I64 {
        return Err(err::dtype(format!("`one_hot` is only applicable to an i64 index tensor, got {}", x.dtype())));
    }
    let n = a.int(1)?;
    if n == -1 {
        return Err(err::unsupported("`one_hot` without `num_classes`: the size depends on the data"));
    }
    let n = usize::try_from(n).map_err(|_| err::shape("`one_hot`: num_classes must not be negative"))?;
    let size = b.number(Scalar::from_i64(DType::I64, n as i64));
    let i = row("check_class", &[x, size])?;
    Ok(i.unsqueeze(x.rank()).eq(b.iota(n)).cast(DType::I64))
}

fn take_along_dim<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, i) = (a.tensor(b, 0)?, index_of("take_along_dim", a.tensor(b, 1)?)?);
    let wrapped = |n: usize| row("wrap_index", &[i, b.number(Scalar::from_i64(DType::I64, n as i64))]);
    let Some(d) = a.opt_int(2)? else {
        let flat = |e: Ex<'b>| e.reshape(&[e.numel()]);
        return Ok(flat(x).gather(0, flat(wrapped(x.numel())?)));
    };
    let d = axis(d, x.rank())?;
    if x.rank() != i.rank() || x.rank() == 0 {
        return Err(err::shape(format!("`take_along_dim`: {} and the index {} differ in rank", x.ty(), i.ty())));
    }
    let (mut xs, mut is) = (x.shape(), i.shape());
    (xs[d], is[d]) = (1, 1);
    let mut shape = broadcast(&xs, &is)
        .ok_or_else(|| err::shape(format!("`take_along_dim`: {}", crate::types::unequal(&xs, &is))))?;
    shape[d] = x.shape()[d];
    let at = wrapped(shape[d])?;
    let x = x.expand(&shape);
    shape[d] = i.shape()[d];
    Ok(x.gather(d, at.expand(&shape)))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "where",
        sig: "condition, x, other",
        example: "condition: bool[2, 3], x: D[2, 3], other: D[3] => where(condition, x, other)",
        doc: "x where the bool condition holds, else other; all three broadcast, x and other promote. The gradient \
              goes to the one that was taken. NaN of the other side's derivative stays NaN.",
        build: |b, a| Ok(select(b, a)?.into()),
    },
    FnDef {
        name: "masked_fill",
        sig: "x, mask, value: number",
        example: "x: D[2, 3], mask: bool[3] => masked_fill(x, mask, 0)",
        doc: "x with one value, a number or a tensor of no dimension, where the bool mask holds; they broadcast, the \
              dtype is that of x. No gradient flows where it holds.",
        build: |b, a| Ok(masked_fill(b, a)?.into()),
    },
    FnDef {
        name: "tril",
        sig: "x, diagonal: int = 0",
        example: "x: D[2, 3] => tril(x)",
        doc: "The lower triangle of matrices [.., m, n], 0 above the k-th diagonal.",
        build: |b, a| triangle(b, a, Ex::le),
    },
    FnDef {
        name: "triu",
        sig: "x, diagonal: int = 0",
        example: "x: D[2, 3] => triu(x)",
        doc: "The upper triangle of matrices [.., m, n], 0 below the k-th diagonal.",
        build: |b, a| triangle(b, a, Ex::ge),
    },
    FnDef {
        name: "gather",
        sig: "x, dim: int, index, sparse_grad: bool = false",
        example: "x: D[2, 3] => gather(x, 1, tensor([[0, 2], [1, 1]]))",
        doc: "out[.., i, ..] = x[.., index[.., i, ..], ..] along a dimension, in the shape of the index, whose other \
              extents are not larger than those of x. An index out of range is an error of the run; negative ones too. \
              The gradient is added up at the places. sparse_grad means nothing here.",
        build: |b, a| {
            let index = a.tensor(b, 2)?;
            if index.numel() == 0 && index.dtype().is_int() {
                // Nothing is picked, whatever the rank.
                return Ok(b.full(Scalar::from_i64(a.tensor(b, 0)?.dtype(), 0), &index.shape()).copy().into());
            }
            let scalar = index.rank() == 0;
            let (x, d, i) = operands(b, a, "gather")?;
            let out = x.gather(d, i);
            Ok(if scalar { out.reshape::<usize>(&[]) } else { out }.into())
        },
    },
    FnDef {
        name: "index_select",
        sig: "x, dim: int, index",
        example: "x: D[2, 3] => index_select(x, 1, tensor([0, 2]))",
        doc: "The indices of a dimension that a vector (or scalar) names: [.., n, ..]. One out of range is an error of \
              the run; negative ones too. The gradient is added up at the places.",
        build: |b, a| {
            let (x, i) = (a.tensor(b, 0)?, index_of("index_select", a.tensor(b, 2)?)?);
            let d = axis(a.int(1)?, x.rank())?;
            if i.rank() > 1 {
                return Err(err::index(format!("`index_select`: Index is supposed to be a vector, got {}", i.ty())));
            }
            if x.rank() == 0 {
                return Ok(x.reshape(&[1]).gather(0, i.reshape(&[1])).reshape::<usize>(&[]).into());
            }
            Ok(along(x, d, i).into())
        },
    },
    FnDef {
        name: "take",
        sig: "x, index",
        example: "x: D[2, 3] => take(x, tensor([0, 5, -1]))",
        doc: "Elements of the flattened tensor, in the shape of the index; negative ones count from the end, one out \
              of range is an error of the run. The gradient is added up at the places.",
        build: |b, a| {
            let (x, i) = (a.tensor(b, 0)?, index_of("take", a.tensor(b, 1)?)?);
            let n = x.numel();
            let i = row("wrap_index", &[i, b.number(Scalar::from_i64(DType::I64, n as i64))])?;
            let shape = i.shape();
            Ok(x.reshape(&[n]).gather(0, i.reshape::<usize>(&[shape.iter().product()])).reshape(&shape).into())
        },
    },
    FnDef {
        name: "take_along_dim",
        sig: "x, indices, dim: int? = None",
        example: "x: D[2, 3] => take_along_dim(x, tensor([[2, 0, 1]]), 1)",
        doc: "`gather` with the other dimensions broadcast and negative indices from the end; without a dimension, of \
              the flattened tensors.",
        build: |b, a| Ok(take_along_dim(b, a)?.into()),
    },
    FnDef {
        name: "embedding",
        sig: "input, weight, padding_idx: int? = None, max_norm: float? = None, norm_type: float = 2.0, \
              scale_grad_by_freq: bool = false, sparse: bool = false",
        example: "weight: D[4, 3] => embedding(tensor([0, 3]), weight)",
        doc: "Rows of weight [n, d] that an integer tensor names, as [.., d]; one out of range is an error of the run. \
              No gradient goes to row padding_idx. With max_norm the rows that are read are first scaled down to that \
              norm, in place; with scale_grad_by_freq the gradient of a row is divided by how often it is read. sparse \
              means nothing here.",
        build: |b, a| Ok(super::embedding::embedding(b, a)?.into()),
    },
    FnDef {
        name: "one_hot",
        sig: "x, num_classes: int = -1",
        example: "=> one_hot(tensor([0, 2], dtype=D), 3)",
        doc: "A new last dimension with a 1 at the class of each element, i64 of i64. A class out of range is an error \
              of the run. Compiled functions need num_classes.",
        build: |b, a| Ok(one_hot(b, a)?.into()),
    },
];

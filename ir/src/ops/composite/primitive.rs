//! The ops of the graph under their own names, so that every printed graph is a program: one call appends one node.
//!
//! Most of PyTorch's names already do that (`view`, `permute`, `clone`, the elementwise rows); here are the ones that have
//! no such name or whose PyTorch function does more. People seldom write them. A row's name is also the name of the
//! function around it, which may take numbers, widen half floats or choose a cheaper row; so printed graphs are read by
//! [`call`], which takes the row itself.

use crate::builder::{Builder, Ex};
use crate::dim::{Dim, at_most};
use crate::error::{Result, err};
use crate::graph::Value;
use crate::layout::Layout;
use crate::ops::elementwise::Row;
use crate::ops::gather::{Gather, Scatter, ScatterMode};
use crate::ops::merge::Merge;
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::registry::{self, Arg, Args, FnDef, Out};
use crate::ops::scan::{Scan, ScanKind};
use crate::ops::strided::{Bitcast, Strided, ViewDtype};
use crate::ops::view::{Slice, SliceUpdate};
use crate::ops::{Op, literal};
use crate::types::{Span, axis};

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "slice",
        sig: "x, start: ints, len: ints, step: ints",
        example: "x: D[2, 3] => slice(x, start=[0, 1], len=[2, 1], step=[1, 2])",
        doc: "len elements of each dimension, from start on, every step-th, as a view. The node of `x[a:b:c]`; lists \
              of the rank of x. An error if they reach beyond.",
        build: |b, a| {
            let (x, ranges) = (a.tensor(b, 0)?, ranges(a, 1)?);
            one(x, Op::Slice(Slice(ranges.into())), &[])
        },
    },
    FnDef {
        name: "barrier",
        sig: "x, before",
        example: "x: D[2, 3], before: D[2] => barrier(x, before)",
        doc: "x, computed after `before`, and not taken for a value that is equal to it. What is computed again behind it, \
              to save memory, stays so; `checkpoint` is made of it.",
        build: |b, a| one(a.tensor(b, 0)?, Op::Barrier, &[a.tensor(b, 1)?]),
    },
    FnDef {
        name: "slice_update",
        sig: "x, update, start: ints, len: ints, step: ints",
        example: "x: D[2, 3], update: D[2, 1] => slice_update(x, update, start=[0, 1], len=[2, 1], step=[1, 1])",
        doc: "A new tensor: x with a slice of it replaced by update, of the slice's shape. The node that a write \
              through a view becomes.",
        build: |b, a| {
            let (x, update, ranges) = (a.tensor(b, 0)?, a.tensor(b, 1)?, ranges(a, 2)?);
            one(x, Op::SliceUpdate(SliceUpdate(Slice(ranges.into()))), &[update])
        },
    },
    FnDef {
        name: "kept",
        sig: "x, value",
        example: "x: D[2, 3], value: D[2, 3] => kept(x, value)",
        doc: "value, which the caller says is the value of x. The node by which a backward pass reads what was kept of an \
              op, in a parameter, instead of computing it again; no derivative flows.",
        build: |b, a| one(a.tensor(b, 0)?, Op::Kept, &[a.tensor(b, 1)?]),
    },
    reduction(
        "reduce_sum",
        "x: D[2, 3] => reduce_sum(x, dim=[1])",
        "The sum over dimensions, in the dtype of x. The node of which `sum` \
                                                 is made.",
        |b, a| reduce(b, a, ReduceKind::Sum),
    ),
    reduction(
        "reduce_prod",
        "x: D[2, 3] => reduce_prod(x, dim=[1])",
        "The product over dimensions, in the dtype of x. The node of which \
                                                  `prod` is made.",
        |b, a| reduce(b, a, ReduceKind::Prod),
    ),
    reduction(
        "reduce_max",
        "x: D[2, 3] => reduce_max(x, dim=[1])",
        "The largest over dimensions, NaN if any is. The node of which `amax` \
                                                 is made; equal ones share the gradient.",
        |b, a| reduce(b, a, ReduceKind::Max),
    ),
    reduction(
        "reduce_min",
        "x: D[2, 3] => reduce_min(x, dim=[1])",
        "The smallest over dimensions, NaN if any is. The node of which `amin` \
                                                 is made; equal ones share the gradient.",
        |b, a| reduce(b, a, ReduceKind::Min),
    ),
    reduction(
        "reduce_argmax",
        "x: D[2, 3] => reduce_argmax(x, dim=[1])",
        "The place (i64) of the first largest, counted over the dimensions in row-major order. The node of which \
         `argmax` is made.",
        |b, a| reduce(b, a, ReduceKind::ArgMax),
    ),
    reduction(
        "reduce_argmin",
        "x: D[2, 3] => reduce_argmin(x, dim=[1])",
        "The place (i64) of the first smallest, counted over the dimensions in row-major order. The node of which \
         `argmin` is made.",
        |b, a| reduce(b, a, ReduceKind::ArgMin),
    ),
    FnDef {
        name: "scan_sum",
        sig: "x, dim: int",
        example: "x: D[2, 3] => scan_sum(x, 1)",
        doc: "The running sum along a dimension, in the dtype of x. The node of which `cumsum` is made.",
        build: |b, a| scan(b, a, ScanKind::Sum),
    },
    FnDef {
        name: "scan_prod",
        sig: "x, dim: int",
        example: "x: D[2, 3] => scan_prod(x, 1)",
        doc: "The running product along a dimension, in the dtype of x. The node of which `cumprod` is made; its \
              gradient is exact with zeros.",
        build: |b, a| scan(b, a, ScanKind::Prod),
    },
    scatter(
        "scatter_mul",
        "x: D[2, 3], src: D[2, 2] => scatter_mul(x, 1, tensor([[0, 2], [1, 1]]), src)",
        "x with src multiplied in at \
                                                                                         the places of the index; the \
                                                                                         node of `scatter_reduce` with \
                                                                                         \"prod\". Shapes as in \
                                                                                         `scatter`.",
        |b, a| combine(b, a, ScatterMode::Mul),
    ),
    scatter(
        "scatter_max",
        "x: D[2, 3], src: D[2, 2] => scatter_max(x, 1, tensor([[0, 2], [1, 1]]), src)",
        "x with the larger of it and \
                                                                                         src at the places of the \
                                                                                         index; the node of \
                                                                                         `scatter_reduce` with \
                                                                                         \"amax\". Shapes as in \
                                                                                         `scatter`.",
        |b, a| combine(b, a, ScatterMode::Max),
    ),
    scatter(
        "scatter_min",
        "x: D[2, 3], src: D[2, 2] => scatter_min(x, 1, tensor([[0, 2], [1, 1]]), src)",
        "x with the smaller of it and \
                                                                                         src at the places of the \
                                                                                         index; the node of \
                                                                                         `scatter_reduce` with \
                                                                                         \"amin\". Shapes as in \
                                                                                         `scatter`.",
        |b, a| combine(b, a, ScatterMode::Min),
    ),
    FnDef {
        name: "merge_runs",
        sig: "x, order, dim: int, width: int, descending: bool = false",
        example: "x: D[4] => merge_runs(x, tensor([0, 1, 2, 3]), 0, 1)",
        doc: "One pass of a merge sort: of positions (i64) along a dimension that sort the elements of x in runs of \
              width, those that sort runs of twice that width. Stable; NaN is the largest. Positions outside count as \
              the ends. The node of which `sort` is made.",
        build: |b, a| {
            let (x, order) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            let axis = axis(a.int(2)?, x.rank())?;
            let width = usize::try_from(a.int(3)?).map_err(|_| err::shape("`merge_runs`: a negative width"))?;
            one(x, Op::Merge(Merge { axis, width, descending: a.bool(4)? }), &[order])
        },
    },
    FnDef {
        name: "strided",
        sig: "x, size: ints, stride: ints, offset: int",
        example: "x: D[2, 3] => strided(x, [2, 2], [3, 1], 1)",
        doc: "Elements of x, counted in row-major order, at offset + index * stride, as a view. x must lie row-major. \
              The node of which `as_strided` is made.",
        build: |b, a| {
            let (size, strides, offset) = (super::create::known_sizes(&a.ints(1)?)?, a.ints(2)?, a.int(3)?);
            let strides = strides.iter().map(|s| *s as isize).collect();
            let offset = usize::try_from(offset).map_err(|_| err::index("`strided`: a negative offset"))?;
            one(a.tensor(b, 0)?, Op::Strided(Strided { layout: Layout { shape: size, strides, offset } }), &[])
        },
    },
    FnDef {
        name: "view_dtype",
        sig: "x, dtype: dtype",
        example: "x: D[2, 3] => view_dtype(x, D)",
        doc: "The bits of the elements as elements of another dtype, sharing memory: `x.view(dtype)`. If these are smaller \
              or larger, the last dimension has more of them or fewer, the lowest bytes first; then x is no scalar, its \
              last stride is 1, and what larger ones are made of must divide into them: the last extent, the other \
              strides and the offset. Such a view is for reading: a program that writes through it is refused. No gradient \
              flows.",
        build: |b, a| {
            let (x, d) =
                (a.tensor(b, 0)?, a.opt_dtype(1)?.ok_or_else(|| err::internal("`view_dtype` without a dtype"))?);
            one(x, Op::ViewDtype(ViewDtype { from: x.dtype(), to: d }), &[])
        },
    },
    FnDef {
        name: "bitcast",
        sig: "x, dtype: dtype",
        example: "x: D[2, 3] => bitcast(x, D)",
        doc: "The bits of the elements as elements of another dtype of the same size, in new memory. No gradient \
              flows. The node that a read through `view_dtype` becomes.",
        build: |b, a| {
            let (x, d) = (a.tensor(b, 0)?, a.opt_dtype(1)?.ok_or_else(|| err::internal("`bitcast` without a dtype"))?);
            one(x, Op::Bitcast(Bitcast(d)), &[])
        },
    },
    FnDef {
        name: "iota",
        sig: "n: int",
        example: "=> iota(4)",
        doc: "0 to n - 1, in i64. The node of which `arange` is made; an error if n is negative.",
        build: |b, a| {
            let n = a.dim(0)?;
            if !at_most(0i64, n)? {
                return Err(err::shape("`iota`: n must not be negative"));
            }
            Ok(b.ex(b.emit(Op::Iota(literal::Iota(n)), &[])?).into())
        },
    },
    FnDef {
        name: "extent",
        sig: "n: int",
        example: "=> extent(4)",
        doc: "An expression of symbolic sizes as an i64 scalar. The node that a size in an expression becomes.",
        build: |b, a| Ok(b.extent(a.dim(0)?, crate::DType::I64).into()),
    },
    FnDef {
        name: "write_",
        sig: "x, value",
        example: "x: mut D[2, 3], value: D[2, 3] => write_(x, value)",
        doc: "Writes value into the memory of x. Both have the same dtype and shape: nothing is cast or stretched. The \
              node of every in-place form.",
        build: |b, a| {
            let (x, value) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            b.emit_all(Op::Write, &[x.value()?, value.value()?])?;
            Ok(x.into())
        },
    },
];

/// A call as a printed graph has it: one node. A name that is an elementwise row's, on tensors that fit it exactly, is
/// that row; anything else is the function of that name.
///
/// # Errors
/// As [`registry::call`].
pub fn call<'b>(b: &'b Builder, name: &str, args: Vec<(Option<&str>, Arg<'b>)>) -> Result<Out<'b>> {
    let tensor = |(name, a): &(Option<&str>, Arg<'b>)| match (name, a) {
        (None, Arg::Tensor(e)) => e.value().ok(),
        _ => None,
    };
    let operands = args.iter().map(tensor).collect::<Option<Vec<Value>>>();
    if let (Some(row), Some(operands)) = (Row::find(name), operands)
        && let Ok(v) = b.emit(Op::Map(row), &operands)
    {
        return Ok(b.ex(v).into());
    }
    // As PyTorch's function, of an index without elements it would be zeros and no `gather`.
    if let ("gather", [(None, Arg::Tensor(x)), (Some("dim"), Arg::Int(d)), (Some("index"), Arg::Tensor(i))]) =
        (name, args.as_slice())
        && let (Ok(axis), Ok(x), Ok(i)) = (usize::try_from(*d), x.value(), i.value())
        && let Ok(v) = b.emit(Op::Gather(Gather { axis }), &[x, i])
    {
        return Ok(b.ex(v).into());
    }
    registry::call(b, name, args)
}

const fn reduction(
    name: &'static str,
    example: &'static str,
    doc: &'static str,
    build: for<'b> fn(&'b Builder, &Args<'b>) -> Result<Out<'b>>,
) -> FnDef {
    FnDef { name, sig: "x, dim: ints", example, doc, build }
}

const fn scatter(
    name: &'static str,
    example: &'static str,
    doc: &'static str,
    build: for<'b> fn(&'b Builder, &Args<'b>) -> Result<Out<'b>>,
) -> FnDef {
    FnDef { name, sig: "x, dim: int, index, src", example, doc, build }
}

fn combine<'b>(b: &'b Builder, a: &Args<'b>, mode: ScatterMode) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let axis = axis(a.int(1)?, x.rank())?;
    one(x, Op::Scatter(Scatter { axis, mode }), &[a.tensor(b, 2)?, a.tensor(b, 3)?])
}

fn one<'b>(x: Ex<'b>, op: Op, more: &[Ex<'b>]) -> Result<Out<'b>> {
    Ok(x.builder().ex(x.apply(op, more).value()?).into())
}

fn reduce<'b>(b: &'b Builder, a: &Args<'b>, kind: ReduceKind) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let mut axes = a.ints(1)?.iter().map(|d| axis(*d, x.rank())).collect::<Result<Vec<_>>>()?;
    axes.sort_unstable();
    one(x, Op::Reduce(Reduce { kind, axes: axes.into() }), &[])
}

fn scan<'b>(b: &'b Builder, a: &Args<'b>, kind: ScanKind) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    one(x, Op::Scan(Scan { kind, axis: axis(a.int(1)?, x.rank())? }), &[])
}

/// The spans that the lists `start`, `len` and `step` say, which stand at arguments `i`, `i + 1` and `i + 2`.
fn ranges(a: &Args<'_>, i: usize) -> Result<Vec<Span>> {
    let (start, len, step) = (a.dims(i)?, a.dims(i + 1)?, a.ints(i + 2)?);
    if start.len() != len.len() || len.len() != step.len() {
        return Err(err::shape("`start`, `len` and `step` are not equally long"));
    }
    let size = |v: Dim| match at_most(0i64, v)? {
        true => Ok(v),
        false => Err(err::index(format!("{v} for a start or a length"))),
    };
    let one = |((s, n), t): ((&Dim, &Dim), &i64)| Ok(Span { start: size(*s)?, len: size(*n)?, step: *t });
    start.iter().zip(&len).zip(&step).map(one).collect()
}

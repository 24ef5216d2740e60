//! A reduction of everything to one number, in blocks that threads can share.
//!
//! The defined order is partial results of blocks of [`BLOCK`] elements, combined in order. So the blocks are rows of a
//! reduction of their own, and a second one combines them, as rows of one number, so in one lane of one block. The bits are
//! the same: a partial result that is added to 0 once more, or multiplied by 1, is what it was but for the sign of a zero,
//! which adding it to the sum so far forgets.

use crate::DType;
use crate::builder::Builder;
use crate::dim::{Dim, Dims};
use crate::error::Result;
use crate::graph::Value;
use crate::ops::Op;
use crate::ops::reduce::{BLOCK, Reduce, ReduceKind, block_rows};
use crate::ops::view::Reshape;

/// The fewest elements that are worth more than one kernel.
const FEWEST: usize = 1 << 17;

/// The most elements: partial results are one block of the second reduction, which combines them one after the other.
const MOST: usize = BLOCK * BLOCK;

/// The reduction of `x` in blocks, if it is one of all of many elements and its blocks are whole. `in_memory` says that `x` is
/// there whatever reads it: then a block that is not whole is reduced apart, from a part of `x`.
pub(super) fn in_blocks(b: &Builder, x: Value, r: &Reduce, in_memory: bool) -> Result<Option<Value>> {
    let ty = b.ty(x);
    let Some(shape) = ty.shape.iter().map(|d| d.extent()).collect::<Option<Vec<usize>>>() else { return Ok(None) };
    let count: usize = shape.iter().product();
    let all = r.axes.len() == shape.len() && (FEWEST..=MOST).contains(&count);
    if !all || r.kind.is_arg() || ty.dtype.is_half() {
        return Ok(None);
    }
    let last = shape.len() - 1;
    // The axis that is cut, and how much of it is a block.
    let (axis, step) = match shape[last] {
        n if n >= BLOCK => (last, BLOCK),
        n if last > 0 => (last - 1, block_rows(n)),
        _ => return Ok(None),
    };
    let (whole, rest) = (shape[axis] / step * step, shape[axis] % step);
    if rest == 0 {
        return combined(b, blocks(b, x, r, axis, step)?, r).map(Some);
    }
    let join = match r.kind {
        ReduceKind::Sum => "add",
        ReduceKind::Prod => "mul",
        _ => return Ok(None),
    };
    if !in_memory || ty.dtype == DType::Bool || whole == 0 || shape[..axis].iter().any(|d| *d != 1) {
        return Ok(None);
    }
    let part = |start: usize, len: usize| b.ex(x).narrow(axis, start, len).value();
    let (front, back) = (part(0, whole)?, part(whole, rest)?);
    let front = combined(b, blocks(b, front, r, axis, step)?, r)?;
    let back = b.emit(Op::Reduce(r.clone()), &[back])?;
    b.ex(front).map(join, &[b.ex(back)]).value().map(Some)
}

/// The partial results of blocks that are whole.
fn blocks(b: &Builder, x: Value, r: &Reduce, axis: usize, step: usize) -> Result<Value> {
    let mut shape: Dims = b.ty(x).shape.iter().copied().collect();
    shape.insert(axis + 1, Dim::from(step));
    shape[axis] = shape[axis].floor_div(step.into());
    let axes = (axis + 1..shape.len()).collect();
    let x = b.emit(Op::Reshape(Reshape(shape)), &[x])?;
    b.emit(Op::Reduce(Reduce { kind: r.kind, axes }), &[x])
}

/// Partial results combined in order: as rows of one number, of which one block is made.
fn combined(b: &Builder, parts: Value, r: &Reduce) -> Result<Value> {
    let n = crate::dim::product(&b.ty(parts).shape);
    let column = b.emit(Op::Reshape(Reshape([n, Dim::ONE].into_iter().collect())), &[parts])?;
    b.emit(Op::Reduce(Reduce { kind: r.kind, axes: [0, 1].into_iter().collect() }), &[column])
}

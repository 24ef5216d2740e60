//! The op table: everything a node can be.
//!
//! Two kinds of op. *Elementwise functions* are rows ([`elementwise::Row`]) and reach the graph as [`Op::Map`].
//! *Structural ops* are one file each, a struct with its attributes that implements [`Structural`]. What users call
//! (`softmax`, `view`, `add_`) are the functions of [`registry`], written over the [`crate::builder::Builder`].

pub mod barrier;
pub mod composite;
pub mod contract;
pub mod control;
pub mod effect;
pub mod elementwise;
pub mod gather;
mod lanes;
pub mod literal;
pub mod merge;
pub mod reduce;
pub mod registry;
pub mod scan;
pub mod strided;
pub mod view;

pub use lanes::Lanes;

use crate::builder::Ex;
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::interp::Array;
use crate::layout::{Layout, Strided};
use crate::types::Type;
use elementwise::Row;
use smallvec::SmallVec;

/// What a node does.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Parameter of that number.
    Input(u32),
    /// A 0-d constant.
    Const(Scalar),
    /// A constant tensor.
    Literal(literal::Literal),
    /// `i64[n]`: 0, 1, …
    Iota(literal::Iota),
    /// An expression of symbolic sizes as an `i64` scalar.
    Size(literal::Size),
    /// An elementwise function; operands and result have one shape.
    Map(Row),
    /// The elements in another dtype.
    Cast(DType),
    /// A new contiguous tensor with the operand's elements.
    Copy,
    /// The same elements in another shape, sharing memory.
    Reshape(view::Reshape),
    /// Dimensions in another order, sharing memory.
    Permute(view::Permute),
    /// Dimensions of extent 1 stretched, and leading ones added, sharing memory.
    Expand(view::Expand),
    /// Some elements of each dimension, sharing memory.
    Slice(view::Slice),
    /// A diagonal as last dimension, sharing memory.
    Diagonal(view::Diagonal),
    /// Elements at strides, sharing memory.
    Strided(strided::Strided),
    /// Windows along an axis as last dimension, sharing memory.
    Unfold(strided::Unfold),
    /// The same bits as another dtype, sharing memory.
    ViewDtype(strided::ViewDtype),
    /// The same bits as another dtype, in new memory.
    Bitcast(strided::Bitcast),
    /// The same tensor, sharing memory; its gradient stops here.
    Detach,
    /// The second operand holds the value of the first; see [`effect::Kept`].
    Kept,
    /// The first operand with a slice of it replaced by the second; no memory is shared.
    SliceUpdate(view::SliceUpdate),
    /// Sum, product, extremes along axes.
    Reduce(reduce::Reduce),
    /// Batched matrix product.
    Dot,
    /// Elements picked by an index tensor along an axis.
    Gather(gather::Gather),
    /// Elements written or added by an index tensor along an axis.
    Scatter(gather::Scatter),
    /// Running sum, product, extremes along an axis.
    Scan(scan::Scan),
    /// One pass of a merge sort.
    Merge(merge::Merge),
    /// One of two bodies.
    Cond(control::Cond),
    /// A body repeated while a test says so.
    While(control::While),
    /// A body for each slice of some operands, carrying values along: `scan` in text.
    Loop(control::Scan),
    /// The first operand, computed no earlier than the second, and equal to nothing else.
    Barrier,
    /// A body with a derivative of its own.
    Custom(control::Custom),
    /// A body for each element along the first axis of some operands, independent of each other.
    Vmap(control::Vmap),
    /// Writes the second operand into the memory of the first. No result.
    Write,
    /// The gradient of the first operand; see [`effect::Grad`].
    Grad(effect::Grad),
    /// The derivative of values along a direction; see [`effect::Jvp`].
    Jvp(effect::Jvp),
}

/// What an op does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Its results are new.
    Fresh,
    /// Its result shares the memory of its first operand.
    View,
    /// It writes through its first operand.
    Write,
}

/// The tangents of an op that is linear in its first operand, which alone may move: the op itself on the tangent.
pub(crate) fn linear<'b>(op: Op, x: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
    Some(vec![t[0].map(|t| t.apply(op, &x[1..]))])
}

/// The tangent, or zeros where there is none.
pub(crate) fn or_zeros<'b>(t: Option<Ex<'b>>, x: Ex<'b>) -> Ex<'b> {
    t.unwrap_or_else(|| x.zeros())
}

/// A structural op: its type rule, meaning, derivative and text.
///
/// `loops` (how a kernel computes it) is in `codegen/src/lower`, which may look at nothing but the op and its types.
pub trait Structural {
    /// The types of the results, or what is wrong with the operands.
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>>;

    /// The meaning, on arrays. The types have been checked.
    fn eval(&self, x: &[Array]) -> Result<Array>;

    /// The meaning, with all results.
    fn eval_all(&self, x: &[Array]) -> Result<Vec<Array>> {
        Ok(vec![self.eval(x)?])
    }

    /// The cotangents of the operands, given the operands, the result and its cotangent. `None`: no derivative flows.
    fn vjp<'b>(&self, x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>>;

    /// As [`Structural::vjp`] for ops of several results, of which some have a cotangent; only the cotangents of operands
    /// that `needs` names are of use.
    fn vjp_all<'b>(&self, x: &[Ex<'b>], y: &[Ex<'b>], dy: &[Option<Ex<'b>>], _needs: &[bool]) -> Vec<Option<Ex<'b>>> {
        match (y, dy) {
            ([y], [Some(dy)]) => self.vjp(x, *y, *dy),
            _ => vec![None; x.len()],
        }
    }

    /// The tangents of the results, given the operands, the results and the tangents of the operands that move; `None` for
    /// a result that does not move. An op without a rule of its own gives `None` for all of it, and its derivative is
    /// transposed ([`transposed`](crate::passes::autodiff::forward::transposed)): right for any op, and shorter to say
    /// for those whose derivative is neither elementwise nor the op itself.
    fn jvp_all<'b>(&self, _x: &[Ex<'b>], _y: &[Ex<'b>], _t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        None
    }

    /// The op for many elements at once: operands that are marked in `lanes` have one axis more, the first, which counts the
    /// elements, and so have all results. Never called where no operand has it, except for ops that may fail.
    fn batch<'b>(&self, x: &[Ex<'b>], _lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        if let Some(x) = x.first() {
            x.builder().fail(crate::error::err::internal("an op without a rule for many elements at once"));
        }
        Vec::new()
    }

    /// Attributes as they stand in text, after the operands: `dim=[0, 1], step=2`.
    fn attrs(&self) -> String {
        String::new()
    }

    /// Fresh, view or write.
    fn effect(&self) -> Effect {
        Effect::Fresh
    }

    /// For views: where the result's elements lie, given where the operand's do. `None` if strides cannot say it.
    ///
    /// # Errors
    /// One that says that sizes must be known to tell.
    fn layout(&self, _x: &Strided) -> Result<Option<Strided>> {
        Ok(None)
    }
}

impl Op {
    /// The op's name in text.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input(_) => "input",
            Op::Const(_) => "const",
            Op::Literal(_) => "tensor",
            Op::Iota(_) => "iota",
            Op::Size(_) => "extent",
            Op::Map(row) => row.name(),
            Op::Cast(_) => "to",
            Op::Copy => "clone",
            Op::Reshape(_) => "view",
            Op::Permute(_) => "permute",
            Op::Expand(_) => "expand",
            Op::Slice(_) => "slice",
            Op::Diagonal(_) => "diagonal",
            Op::Strided(_) => "strided",
            Op::Unfold(_) => "unfold",
            Op::ViewDtype(_) => "view_dtype",
            Op::Bitcast(_) => "bitcast",
            Op::Detach => "detach",
            Op::Kept => "kept",
            Op::SliceUpdate(_) => "slice_update",
            Op::Reduce(r) => r.kind.name(),
            Op::Dot => "bmm",
            Op::Gather(_) => "gather",
            Op::Scatter(s) => s.mode.name(),
            Op::Scan(s) => s.name(),
            Op::Merge(_) => "merge_runs",
            Op::Cond(_) => "cond",
            Op::While(_) => "while_loop",
            Op::Loop(_) => "scan",
            Op::Barrier => "barrier",
            Op::Custom(c) => c.name(),
            Op::Vmap(_) => "vmap",
            Op::Write => "write_",
            Op::Grad(_) => "grad",
            Op::Jvp(_) => "jvp",
        }
    }

    /// The definition that stands in the op's own file.
    pub fn structural(&self) -> &dyn Structural {
        match self {
            Op::Input(_) => &literal::Input,
            Op::Const(c) => c,
            Op::Literal(l) => l,
            Op::Iota(n) => n,
            Op::Size(n) => n,
            Op::Map(row) => row,
            Op::Cast(d) => d,
            Op::Copy => &view::Copy,
            Op::Reshape(s) => s,
            Op::Permute(p) => p,
            Op::Expand(s) => s,
            Op::Slice(s) => s,
            Op::Diagonal(d) => d,
            Op::Strided(s) => s,
            Op::Unfold(u) => u,
            Op::ViewDtype(d) => d,
            Op::Bitcast(d) => d,
            Op::Detach => &view::Detach,
            Op::Kept => &effect::Kept,
            Op::SliceUpdate(s) => s,
            Op::Reduce(r) => r,
            Op::Dot => &contract::Dot,
            Op::Gather(g) => g,
            Op::Scatter(s) => s,
            Op::Scan(s) => s,
            Op::Merge(m) => m,
            Op::Cond(c) => c,
            Op::While(w) => w,
            Op::Loop(s) => s,
            Op::Barrier => &barrier::Barrier,
            Op::Custom(c) => c,
            Op::Vmap(v) => v,
            Op::Write => &effect::Write,
            Op::Grad(g) => g,
            Op::Jvp(j) => j,
        }
    }

    /// Fresh, view or write.
    pub fn effect(&self) -> Effect {
        self.structural().effect()
    }

    /// Whether the result shares the first operand's memory.
    pub fn is_view(&self) -> bool {
        self.effect() == Effect::View
    }

    /// For views: [`Structural::layout`] where all is known.
    pub fn layout(&self, x: &Layout) -> Option<Layout> {
        x.through(|l| self.structural().layout(l))
    }

    /// Whether it writes through its first operand.
    pub fn writes(&self) -> bool {
        matches!(self, Op::Write)
    }
}

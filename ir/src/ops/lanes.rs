//! Many elements at once: what a rule of [`Structural::batch`](super::Structural::batch) is given and builds with.
//!
//! A *lane* is one element of what `vmap` goes along; values that differ between lanes have a first axis that counts them.
//! A rule gives every lane the bits that the op alone would give: orders of sums run over the same elements in the same
//! order, since the new axis is never reduced and comes first.

use crate::builder::Ex;
use crate::dim::{Dim, Dims};
use crate::types::Span;

/// The lanes of one op.
#[derive(Clone, Copy)]
pub struct Lanes<'a, 'b> {
    /// For each operand, whether it has the axis of the lanes.
    pub on: &'a [bool],
    /// How many lanes there are.
    pub size: Dim,
    /// The lanes whose results count, as `bool[size]`; in the others nothing may fail. All if there is none.
    pub mask: Option<Ex<'b>>,
}

impl<'b> Lanes<'_, 'b> {
    /// The shape with the axis of the lanes before it.
    pub fn shape(&self, shape: &[Dim]) -> Dims {
        std::iter::once(self.size).chain(shape.iter().copied()).collect()
    }

    /// A slice of every lane.
    pub fn spans(&self, slice: &super::view::Slice) -> Vec<Span> {
        std::iter::once(Span::all(self.size)).chain(slice.0.iter().copied()).collect()
    }

    /// An operand with the axis of the lanes.
    pub fn one(&self, x: Ex<'b>, on: bool) -> Ex<'b> {
        if on { x } else { x.unsqueeze(0).expand(&self.shape(&x.dims())) }
    }

    /// All operands with the axis of the lanes.
    pub fn all(&self, x: &[Ex<'b>]) -> Vec<Ex<'b>> {
        x.iter().zip(self.on).map(|(x, on)| self.one(*x, *on)).collect()
    }

    /// One bool for each lane, stretched over the elements of a value that has the axis.
    pub fn stretched(&self, mask: Ex<'b>, like: Ex<'b>) -> Ex<'b> {
        let shape = like.dims();
        let mut thin: Dims = shape.iter().map(|_| Dim::ONE).collect();
        thin[0] = self.size;
        mask.reshape(&thin).expand(&shape)
    }

    /// An operand that has the axis, with a harmless number in the lanes that do not count.
    pub fn harmless(&self, x: Ex<'b>, number: f64) -> Ex<'b> {
        let Some(mask) = self.mask else { return x };
        let other = x.builder().full(crate::Scalar::from_f64(x.dtype(), number), &x.dims());
        self.stretched(mask, x).select(x, other)
    }
}

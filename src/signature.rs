//! Signatures of calls: what tells two calls apart of which each needs a program of its own.
//!
//! That is the structure of the argument, dtype, extents and strides of its tensors, and which of them share elements, and
//! how. A call compares its arguments with those that a program was made for as they are; a hash of the numbers leads it
//! to the program. Neither allocates.

use crate::sharing::{Words, sharing};
use crate::table::Mixed;
use crate::tensor::concrete::Concrete;
use crate::tensor::{Repr, Tensor};
use crate::trace;
use crate::tree::{Part, Tree};
use smallvec::SmallVec;
use std::sync::Arc;
use tensorc_ir::DType;
use tensorc_ir::types::{Shape, Strides};
use tensorc_runtime::executable::{Args, View, same, share_storage};

/// Concrete tensors.
pub(crate) type Leaves<'t> = SmallVec<[&'t Arc<Concrete>; 8]>;

/// The tensors of an argument, and a hash of its structure so far as it is quickly seen. `None` if the call is a part of
/// a program that is being traced.
pub(crate) fn leaves<A: Tree>(args: &A) -> Option<(Leaves<'_>, Mixed)> {
    let (mut leaves, mut mixed, mut traced) = (Leaves::new(), Mixed::new(), trace::is_active());
    args.walk(&mut |part| match part {
        Part::Tensor(Tensor(Repr::Concrete(c))) => leaves.push(c),
        Part::Tensor(Tensor(Repr::Traced(_))) => traced = true,
        Part::Number(n) => mixed.add(n),
    });
    (!traced).then_some((leaves, mixed))
}

/// The memory of tensors.
pub(crate) fn views<'t>(leaves: &Leaves<'t>) -> Args<'t> {
    let mut views = Args::new();
    leaves.iter().for_each(|c| views.push(&c.view));
    views
}

/// Arguments that a program was made for: how they lie, and how they share elements.
pub(crate) struct Signature {
    each: Vec<(DType, Shape, Strides)>,
    sharing: Words,
}

impl Signature {
    pub(crate) fn of(views: &[&View]) -> Signature {
        let lies = |v: &&View| (v.dtype, v.layout.shape.clone(), v.layout.strides.clone());
        Signature { each: views.iter().map(lies).collect(), sharing: shared(views) }
    }

    /// Whether it is that of these arguments, which share elements so ([`shared`]).
    pub(crate) fn is_of(&self, views: &[&View], shared: &Words) -> bool {
        let lies = |((dtype, shape, strides), v): (&(DType, Shape, Strides), &&View)| {
            *dtype == v.dtype && same(shape, &v.layout.shape) && same(strides, &v.layout.strides)
        };
        self.each.len() == views.len() && self.each.iter().zip(views).all(lies) && self.sharing == *shared
    }
}

/// Which earlier arguments each one shares elements with, and at which distance.
pub(crate) fn shared(views: &[&View]) -> Words {
    let mut words = Words::new();
    if share_storage(views.iter().copied()) {
        for (i, v) in views.iter().enumerate() {
            sharing(v, &views[..i], &mut words);
            words.push(u64::MAX);
        }
    }
    words
}

/// The hash of a signature.
pub(crate) fn hash(mut mixed: Mixed, views: &[&View]) -> u64 {
    for v in views {
        mixed.add((v.dtype as u64) << 8 | v.layout.shape.len() as u64);
        v.layout.shape.iter().for_each(|n| mixed.add(*n as u64));
        v.layout.strides.iter().for_each(|s| mixed.add(*s as u64));
    }
    mixed.hash()
}

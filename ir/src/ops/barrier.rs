//! `Op::Barrier`: a value as it is, but computed after another one, and never taken for a value that is equal.
//!
//! What is computed a second time so that it need not be kept ([`Custom`](super::control::Custom)) would else be merged with
//! the first by `cleanup`, or computed in one kernel with it. It keeps the two apart and costs nothing by itself: a kernel
//! reads the operand in its place.

use super::{Lanes, Op, Structural, linear};
use crate::builder::Ex;
use crate::error::Result;
use crate::interp::Array;
use crate::types::Type;
use smallvec::{SmallVec, smallvec};

/// Operands: the value, and what is computed before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Barrier;

impl Structural for Barrier {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        Ok(smallvec![Type::new(x[0].dtype, x[0].shape.iter().copied())])
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        Ok(x[0].copied())
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![Some(dy), None]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        linear(Op::Barrier, x, t)
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![lanes.one(x[0], lanes.on[0]).apply(Op::Barrier, &[x[1]])]
    }
}

/// Whether a value depends on no parameter.
fn is_constant(x: Ex<'_>) -> bool {
    let Ok(v) = x.value() else { return true };
    x.builder().with_graph(|g| {
        let (mut seen, mut open) = (std::collections::HashSet::new(), vec![v.node]);
        while let Some(n) = open.pop() {
            if matches!(g.op(n), Op::Input(_)) {
                return false;
            }
            if seen.insert(n) {
                open.extend(g.operands(n).iter().map(|v| v.node));
            }
        }
        true
    })
}

/// `x`, computed after the first of these that is computed at all.
pub fn after<'b>(x: Ex<'b>, all: impl IntoIterator<Item = Ex<'b>>) -> Ex<'b> {
    match all.into_iter().find(|e| !is_constant(*e)) {
        Some(before) => x.apply(Op::Barrier, &[before]),
        None => x.apply(Op::Barrier, &[x]),
    }
}

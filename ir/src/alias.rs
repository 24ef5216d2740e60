//! Who shares memory with whom: for each value of a graph under construction, its base storage and where it lies in it.
//!
//! A value is new (its own base, row-major) or a view of a base through a [`Layout`]. Parameters have the layout of the
//! caller's memory. Writes are checked here: a write may not go to memory that several indices share, nor read what it
//! is half-way through overwriting.

use crate::error::{Loc, Result, err};
use crate::graph::{Graph, NodeId, Value};
use crate::ops::Op;
use crate::types::{Layout, ShapeText};
use smallvec::{SmallVec, smallvec};
use std::collections::HashSet;

/// Base and layout of every value of one graph.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    // By node and result.
    entries: Vec<SmallVec<[(Value, Layout); 1]>>,
}

impl Aliases {
    /// The base of a value and its place in it.
    pub fn get(&self, v: Value) -> (Value, Layout) {
        self.entries[v.node.0 as usize][v.result as usize].clone()
    }

    /// Records a node; `alias` for views, `None` for new results.
    pub fn push(&mut self, g: &Graph, n: NodeId, alias: Option<(Value, Layout)>) {
        debug_assert_eq!(self.entries.len(), n.0 as usize);
        self.entries.push(match alias {
            Some(a) => smallvec![a],
            None => g.results(n).map(|v| (v, Layout::contiguous(&g.ty(v).shape))).collect(),
        });
    }

    /// Where a view of `base` by `op` lies.
    ///
    /// # Errors
    /// `shape` if strides cannot say it.
    pub fn view(&self, op: &Op, base: Value) -> Result<(Value, Layout)> {
        let (root, layout) = self.get(base);
        match op.structural().layout(&layout) {
            Some(l) => Ok((root, l)),
            None => Err(err::shape(format!(
                "`{}`: view size is not compatible with input tensor's size {} and stride {:?} (at least one dimension \
                 spans across two contiguous subspaces)",
                op.name(),
                ShapeText(&layout.shape),
                layout.strides.as_slice()
            ))
            .help("use `reshape`, which copies where it must")),
        }
    }

    /// Whether a write of `value` through `dst` is allowed.
    ///
    /// # Errors
    /// `alias`, naming the place where the memory comes from.
    pub fn check_write(&self, g: &Graph, dst: Value, value: Value) -> Result<()> {
        let (root, to) = self.get(dst);
        if let Op::Input(i) = g.op(root.node) {
            let p = &g.params[*i as usize];
            if !p.mutable {
                return Err(err::alias(format!("a write to parameter `{}`, which is not `mut`", p.name))
                    .note(g.loc(root), format!("`{}` is declared here", p.name))
                    .help(format!("declare it `{}: mut …`, or write to a copy: `{}.clone()`", p.name, p.name)));
            }
        }
        if to.overlaps_itself() {
            return Err(err::alias(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory location",
            )
            .note(g.loc(dst), "it was expanded here")
            .help("clone the tensor before the write"));
        }
        self.check_partial(g, dst, value)
    }

    /// Whether `value` may be read while `dst` is written: it must not overlap it, or be exactly the same elements.
    ///
    /// # Errors
    /// `alias` on a partial overlap.
    pub fn check_partial(&self, g: &Graph, dst: Value, value: Value) -> Result<()> {
        let ((root, to), (from_root, from)) = (self.get(dst), self.get(value));
        if root != from_root || to == from || !overlap(&to, &from) {
            return Ok(());
        }
        let e = err::alias(
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory \
             location",
        );
        let e = if g.loc(root) == Loc::Unknown { e } else { e.note(g.loc(root), "both are views of this") };
        Err(e.help("clone the input before the write"))
    }
}

/// Whether two layouts of one storage have an element in common.
pub fn overlap(a: &Layout, b: &Layout) -> bool {
    let (Some((al, ah)), Some((bl, bh))) = (a.bounds(), b.bounds()) else { return false };
    if ah < bl || bh < al {
        return false;
    }
    let seen: HashSet<usize> = a.indices().into_iter().collect();
    b.indices().iter().any(|i| seen.contains(i))
}

//! Who shares memory with whom: for each value of a graph under construction, its base storage and where it lies in it.
//!
//! A value is new (its own base, row-major) or a view of a base through a [`Layout`]. Parameters have the layout of the
//! caller's memory. Writes are checked here: a write may not go to memory that several indices share, nor read what it
//! is half-way through overwriting.

use crate::dim::Dim;
use crate::error::{Loc, Result, err};
use crate::graph::{Graph, NodeId, Value};
use crate::layout::{Layout, Strided};
use crate::ops::Op;
use crate::types::ShapeText;
use smallvec::{SmallVec, smallvec};

/// Base and layout of every value of one graph.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    // By node and result.
    entries: Vec<SmallVec<[(Value, Strided); 1]>>,
}

impl Aliases {
    /// The base of a value and its place in it.
    pub fn get(&self, v: Value) -> (Value, Strided) {
        self.entries[v.node.0 as usize][v.result as usize].clone()
    }

    /// Records a node; `alias` for views, `None` for new results.
    pub fn push(&mut self, g: &Graph, n: NodeId, alias: Option<(Value, Strided)>) {
        debug_assert_eq!(self.entries.len(), n.0 as usize);
        self.entries.push(match alias {
            Some(a) => smallvec![a],
            None => g.results(n).map(|v| (v, Strided::contiguous(&g.ty(v).shape))).collect(),
        });
    }

    /// Where a view of `base` by `op` lies.
    ///
    /// # Errors
    /// `shape` if strides cannot say it.
    pub fn view(&self, op: &Op, base: Value) -> Result<(Value, Strided)> {
        let (root, layout) = self.get(base);
        match (op.structural().layout(&layout)?, op) {
            (Some(l), _) => Ok((root, l)),
            (None, Op::ViewDtype(d)) => Err(d.refused(&layout)),
            (None, _) => Err(err::shape(format!(
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
        let (dtype, held) = (g.ty(dst).dtype, g.ty(root).dtype);
        if dtype.size() != held.size() {
            return Err(err::unsupported(format!(
                "a write through a view that has elements of another size: {dtype} in the memory of {held}"
            ))
            .note(g.loc(root), "it is a view of this")
            .help(format!("write {held} elements, or to a copy of the view: `.clone()`")));
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

    /// The first write after node `since` to an element of `v`, if there is one.
    ///
    /// # Errors
    /// One that says that sizes must be known to tell.
    pub fn written_since(&self, g: &Graph, since: NodeId, v: Value) -> Result<Option<NodeId>> {
        let (root, read) = self.get(v);
        for n in g.nodes().filter(|n| *n > since && matches!(g.op(*n), Op::Write)) {
            let (of, written) = self.get(g.operands(n)[0]);
            if of == root && meet(&written, &read)? {
                return Ok(Some(n));
            }
        }
        Ok(None)
    }

    /// Whether `value` may be read while `dst` is written: it must not overlap it, or be exactly the same elements.
    ///
    /// # Errors
    /// `alias` on a partial overlap.
    pub fn check_partial(&self, g: &Graph, dst: Value, value: Value) -> Result<()> {
        let ((root, mut to), (from_root, mut from)) = (self.get(dst), self.get(value));
        let sizes = [dst, value].map(|v| g.ty(v).dtype.size());
        if root == from_root && sizes[0] != sizes[1] {
            (to, from) = (to.in_bytes(sizes[0]), from.in_bytes(sizes[1]));
        }
        if root != from_root || to == from || !meet(&to, &from)? {
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

/// Whether two layouts of one storage, whose sizes may be symbolic, have an element in common.
///
/// # Errors
/// One that says that sizes must be known to tell.
fn meet(a: &Strided, b: &Strided) -> Result<bool> {
    if let (Ok(a), Ok(b)) = (a.known(), b.known()) {
        return Ok(overlap(&a, &b));
    }
    let below = |a: &Strided, b: &Strided| {
        let reach = |l: &Strided, up: bool| {
            l.shape.iter().zip(&l.strides).try_fold(l.offset, |at, (d, s)| {
                let step = s.least().filter(|v| *v >= 0).map(|_| *s)?;
                Some(if up { at + (*d - 1) * step } else { at })
            })
        };
        let gap = reach(a, true).zip(reach(b, false)).map(|(high, low)| low - high - 1);
        gap.and_then(Dim::least).is_some_and(|v| v >= 0)
    };
    if below(a, b) || below(b, a) {
        return Ok(false);
    }
    // Elements of both are a sum of strides apart.
    let strides = || a.shape.iter().zip(&a.strides).chain(b.shape.iter().zip(&b.strides)).filter(|(d, _)| !d.is(1));
    let common = strides().try_fold(0, |g, (_, s)| s.known().map(|s| gcd(g, i128::from(s.abs()))));
    if let (Some(common), Some(apart)) = (common.filter(|c| *c > 0), (a.offset - b.offset).known())
        && i128::from(apart) % common != 0
    {
        return Ok(false);
    }
    Err(crate::dim::needs_sizes(&(a.offset - b.offset + strides().fold(Dim::ZERO, |n, (d, _)| n + *d)).to_string()))
}

/// Whether two layouts of one storage have an element in common. Exact, unless that takes very long: then yes.
pub fn overlap(a: &Layout, b: &Layout) -> bool {
    let (Some((al, ah)), Some((bl, bh))) = (a.bounds(), b.bounds()) else { return false };
    if ah < bl || bh < al {
        return false;
    }
    // Some element is in both if `b.offset - a.offset` is a sum of steps, one for each dimension of both: a multiple
    // `0..extent` of a's strides, minus such multiples of b's. Negative steps are turned around by starting at the end.
    let mut target = b.offset as i128 - a.offset as i128;
    let mut steps: Vec<(i128, i128)> = Vec::new();
    let dims = |l: &Layout, sign: i128| -> Vec<(i128, i128)> {
        l.strides.iter().zip(&l.shape).map(|(s, d)| (sign * *s as i128, *d as i128 - 1)).collect()
    };
    for (stride, most) in dims(a, 1).into_iter().chain(dims(b, -1)) {
        if stride < 0 {
            target -= stride * most;
        }
        let stride = stride.abs();
        match steps.iter_mut().find(|(s, _)| *s == stride) {
            _ if stride == 0 || most == 0 => {}
            Some((_, m)) => *m += most,
            None => steps.push((stride, most)),
        }
    }
    steps.sort_unstable_by_key(|(s, _)| std::cmp::Reverse(*s));
    reaches(target, &steps, &mut 100_000)
}

/// Whether `target` is a sum of `0..=most` times each step, the largest step first. True if `budget` runs out.
fn reaches(target: i128, steps: &[(i128, i128)], budget: &mut u32) -> bool {
    let Some(((step, most), rest)) = steps.split_first() else { return target == 0 };
    let below: i128 = rest.iter().map(|(s, m)| s * m).sum();
    let gcd = rest.iter().fold(0, |g, (s, _)| gcd(g, *s));
    // What the smaller steps must make is between 0 and their sum, and a multiple of their common divisor.
    let first = ((target - below).max(0) + step - 1) / step;
    let last = target.div_euclid(*step).min(*most);
    let mut n = first;
    while n <= last {
        if *budget == 0 {
            return true;
        }
        *budget -= 1;
        let left = target - n * step;
        if (gcd == 0 && left == 0 || gcd != 0 && left % gcd == 0) && reaches(left, rest, budget) {
            return true;
        }
        n += 1;
    }
    false
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn layout() -> impl Strategy<Value = Layout> {
        (proptest::collection::vec((0usize..5, -7isize..8), 0..4), 0usize..12).prop_map(|(dims, offset)| {
            let reach: isize = dims.iter().map(|(d, s)| (*d as isize - 1).max(0) * (-s).max(0)).sum();
            Layout {
                shape: dims.iter().map(|(d, _)| *d).collect(),
                strides: dims.iter().map(|(_, s)| *s).collect(),
                offset: offset + reach as usize,
            }
        })
    }

    proptest! {
        #[test]
        fn overlap_is_that_of_the_sets_of_elements(a in layout(), b in layout()) {
            let of_a: HashSet<usize> = a.indices().into_iter().collect();
            prop_assert_eq!(overlap(&a, &b), b.indices().iter().any(|i| of_a.contains(i)));
        }
    }

    #[test]
    fn overlap_of_large_views_takes_no_time() {
        let x = Layout::contiguous(&[1 << 12, 1 << 12, 1 << 12]);
        let every = |start| {
            let all = crate::types::Range::all(1 << 12);
            let part = [all, all, crate::types::Range { start, len: 1 << 11, step: 2 }];
            x.slice(&part)
        };
        assert!(!overlap(&every(0), &every(1)));
        assert!(overlap(&every(0), &every(0)));
        assert!(overlap(&x, &x.permute(&[2, 1, 0])));
    }
}

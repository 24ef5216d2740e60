//! Which values are written in place: over what they update, or in the memory of a parameter whose final value they are,
//! its *home*. Each refusal has its reason, which `tensorc explain` shows.
//!
//! A value may be stored over another one if nobody reads that one later, and if the kernel that stores it reads from
//! there only the very element that it stores next, or none that it stores at all. So a chain of updates of a parameter
//! runs in its memory and touches what it writes and nothing else.
//!
//! A call that fails must leave the caller's memory as it was. So everything that may fail runs before the first kernel
//! that writes there: what does not by itself has its checks run ahead, by a kernel that computes and stores nothing; where
//! that is impossible the parameter has no home, and its final value is copied there at the end.

use super::Planner;
use crate::lower::{Aside, Chunks};
use crate::program::{Place, Why};
use std::collections::HashMap;
use tensorc_ir::dim::{Dims, product};
use tensorc_ir::error::Loc;
use tensorc_ir::interp::may_fail;
use tensorc_ir::ops::Op;
use tensorc_ir::passes::fuse::{
    DimMap, GroupKind, Level, Overwritten, is_affine, is_point, needs_memory, source, through,
};
use tensorc_ir::{Dim, Graph, NodeId, Strided, Value};

/// The nodes that live in a parameter's memory, and where in it.
type Home = Vec<(NodeId, Strided)>;

/// How deeply kernels that compute a whole value from what was there may follow each other at home.
const MOST_DEEP: usize = 200;

fn is_update(g: &Graph, n: NodeId) -> bool {
    matches!(g.op(n), Op::SliceUpdate(_) | Op::Scatter(_))
}

fn is_param(g: &Graph, n: NodeId, param: usize) -> bool {
    matches!(g.op(n), Op::Input(i) if *i as usize == param)
}

impl Planner<'_> {
    /// Finds the values that live in parameters' memory, and those that live in results'.
    pub(super) fn find_homes(&mut self) {
        let g = self.g;
        let mut homes: Vec<(usize, Home)> = Vec::new();
        for (param, v) in &g.mutated {
            match self.home(*param, *v) {
                Ok(home) => homes.push((*param, home)),
                Err(why) => {
                    self.away.insert(*param, why);
                }
            }
        }
        let group = |n: &NodeId| self.fusion.group_of[n.0 as usize];
        let first = |home: &Home| home.iter().filter_map(|(n, _)| group(n)).min();
        let faulty: Vec<(usize, Loc)> = g
            .nodes()
            .filter(|n| group(n).is_some() && may_fail(g, *n))
            .filter_map(|n| Some((group(&n)?, g.node(n).loc)))
            .collect();
        let start = loop {
            let Some(start) = homes.iter().filter_map(|(_, home)| first(home)).min() else { break None };
            // The last kernel that may fail after something was written, and whose checks cannot run ahead.
            let late = |(k, _): &&(usize, Loc)| *k >= start && !self.is_checked_ahead(*k, start);
            let Some((k, loc)) = faulty.iter().filter(late).max_by_key(|(k, _)| *k) else { break Some(start) };
            homes.retain(|(param, home)| {
                let after = first(home) > Some(*k);
                if !after {
                    self.away.insert(*param, Why::MayFail(*loc));
                }
                after
            });
        };
        if let Some(start) = start {
            let mut ahead: Vec<usize> = faulty.iter().map(|(k, _)| *k).filter(|k| *k >= start).collect();
            ahead.sort_unstable();
            ahead.dedup();
            self.ahead = Some((start, ahead));
        }
        for (param, home) in homes {
            self.at_home.extend(home.into_iter().map(|(n, layout)| (n, (param, layout))));
        }
        self.find_leaving();
    }

    /// Bases of updates that are results: they are made in the result's memory.
    fn find_leaving(&mut self) {
        for n in self.g.nodes().rev() {
            let leaves = self.leaves(n.into()) && is_update(self.g, n) && self.fusion.group_of[n.0 as usize].is_some();
            if leaves
                && let Ok((base, views)) = self.over(n)
                && views.is_empty()
                && self.is_own(base).is_ok()
            {
                self.leaving.insert(base);
            }
        }
    }

    /// Whether a value has memory that goes to the caller.
    pub(super) fn leaves(&self, v: Value) -> bool {
        self.leaves.roots.contains(&v) || self.leaving.contains(&v)
    }

    /// Whether a value is a result with memory of its own.
    fn is_output(&self, v: Value) -> bool {
        self.leaves.outputs.contains(&v)
    }

    /// Whether a value has memory of its own that may be written.
    fn is_own(&self, v: Value) -> Result<(), Why> {
        match self.g.op(v.node) {
            Op::Input(_) => Err(Why::OfCaller),
            Op::Const(_) | Op::Literal(_) => Err(Why::Constant),
            _ if self.leaves.roots.contains(&v) => Err(Why::IsResult),
            _ if self.at_home.contains_key(&v.node) => Err(Why::OfCaller),
            _ if !self.fusion.stored[v.node.0 as usize] => Err(Why::Elsewhere),
            _ => Ok(()),
        }
    }

    /// The stored value whose buffer an update takes over, if it does.
    pub(super) fn takes_over(&self, n: NodeId) -> Result<Value, Why> {
        if !is_update(self.g, n) {
            return Err(Why::Elsewhere);
        }
        let (base, views) = self.over(n)?;
        self.is_own(base)?;
        self.seen_in(n, self.versions.place(n).ok_or(Why::Elsewhere)?)?;
        // A result has memory of its own, in row-major order.
        match self.leaves(n.into()) {
            true if !views.is_empty() || !self.leaving.contains(&base) => Err(Why::IsResult),
            false if self.leaves(base) => Err(Why::IsResult),
            _ => Ok(base),
        }
    }

    /// The value that an update may be stored over, and the views of it that the update sees, outermost first.
    fn over(&self, n: NodeId) -> Result<(Value, Vec<NodeId>), Why> {
        let g = self.g;
        let (root, views) = source(g, g.operands(n)[0]);
        let k = self.fusion.group_of[n.0 as usize].ok_or(Why::Elsewhere)?;
        let written = self.versions.written(n).ok_or(Why::Elsewhere)?;
        for v in self.versions.back(root) {
            let late = |(j, r): &&(usize, NodeId)| *j > k && !self.versions.is_apart(*r, v, &written);
            if let Some((_, r)) = self.readers[v.node.0 as usize].iter().find(late) {
                return Err(Why::ReadLater(g.node(*r).loc));
            }
        }
        // Another update of an older version may be in this memory too, and what it left alone is read from here.
        let line: Vec<NodeId> = self.versions.back(root).map(|v| v.node).collect();
        let others = line.last().and_then(|oldest| self.sharing.get(oldest)).into_iter().flatten();
        for w in others.filter(|w| !line.contains(w)) {
            let late = |(j, r): &&(usize, NodeId)| *j > k && !self.versions.is_apart(*r, (*w).into(), &written);
            if let Some((_, r)) = self.readers[w.0 as usize].iter().find(late) {
                return Err(Why::ReadLater(g.node(*r).loc));
            }
        }
        let inside = |m: NodeId| self.fusion.group_of[m.0 as usize] == Some(k);
        match self.versions.overwritten(n, inside) {
            Some(Overwritten { reader, window: None }) => Err(Why::ReadLater(g.node(reader).loc)),
            _ => Ok((root, views)),
        }
    }

    /// Notes that an update is stored over its base.
    pub(super) fn note_in_place(&mut self, n: NodeId) {
        self.in_place.insert(n);
        if let Some(oldest) = self.versions.back(n.into()).last() {
            self.sharing.entry(oldest.node).or_default().push(n);
        }
    }

    /// Memory for the window of rows of an update in place, if it needs one.
    pub(super) fn assign_aside(&mut self, k: usize, n: NodeId) {
        let inside = |m: NodeId| self.fusion.group_of[m.0 as usize] == Some(k);
        let Some(Overwritten { window: Some(window), .. }) = self.versions.overwritten(n, inside) else { return };
        let ty = self.g.ty(self.g.operands(n)[1]).clone();
        // Windows are of known sizes.
        let Some(rows) = ty.shape[window.axis].known() else { return };
        let (chunks, tail) = (Chunks::of(window, rows as usize), &ty.shape[window.axis + 1..]);
        let mut place = |lead: &[usize]| {
            let shape: Dims = lead.iter().map(|n| Dim::from(*n)).chain(tail.iter().copied()).collect();
            let buffer = self.temporary(ty.dtype, product(&shape), k);
            Place { buffer, layout: Strided::contiguous(&shape) }
        };
        let [edges, kept, fresh] = chunks.extents().map(|lead| place(&lead));
        self.aside.insert(n, Aside { chunks, edges, kept, fresh });
    }

    /// The nodes that are computed in the memory of a parameter whose final value is `v`.
    fn home(&self, param: usize, v: Value) -> Result<Home, Why> {
        let g = self.g;
        let whole = &self.params[param];
        if whole.overlaps_itself() {
            return Err(Why::OnItself);
        }
        let (at, above) = source(g, v);
        if self.leaves.finals.get(&at) != Some(&1) {
            return Err(Why::OfSeveral);
        }
        let chain = self.chain(at, param, 0, &mut HashMap::new())?;
        let lies =
            |layout: Strided, views: &[NodeId]| through(g, Some(layout), views).ok().flatten().ok_or(Why::Elsewhere);
        let mut layout = whole.clone();
        let mut home = Home::new();
        for (n, views) in chain {
            layout = lies(layout, &views)?;
            self.seen_in(n, &layout)?;
            home.push((n, layout.clone()));
        }
        match lies(layout, &above)? == *whole {
            true => Ok(home),
            false => Err(Why::Elsewhere),
        }
    }

    /// Whether whoever reads `n` in another shape can do so where it lies like `layout`.
    fn seen_in(&self, n: NodeId, layout: &Strided) -> Result<(), Why> {
        let g = self.g;
        if layout.is_contiguous() {
            return Ok(());
        }
        let mut unseen = self.reshaped.get(&n).into_iter().flatten().filter(|views| {
            let to = |v: &NodeId| &g.ty((*v).into()).shape;
            let affine = views.first().is_none_or(|v| is_affine(&g.ty(g.operands(*v)[0]).shape, to(v)));
            !affine && through(g, Some(layout.clone()), views).ok().flatten().is_none()
        });
        if unseen.next().is_none() { Ok(()) } else { Err(Why::Elsewhere) }
    }

    /// The values that follow each other in the parameter's memory up to `at`, oldest first, each with the views of the
    /// one before that it is an update of.
    fn chain(
        &self,
        mut at: Value,
        param: usize,
        depth: usize,
        failed: &mut HashMap<NodeId, Why>,
    ) -> Result<Vec<(NodeId, Vec<NodeId>)>, Why> {
        let g = self.g;
        let mut chain = Vec::new();
        while !is_param(g, at.node, param) {
            let last = depth == 0 && chain.is_empty();
            let kept = if last { self.is_output(at) } else { self.leaves.roots.contains(&at) };
            if kept {
                return Err(Why::IsResult);
            }
            if is_update(g, at.node) {
                let (root, views) = self.over(at.node)?;
                chain.push((at.node, views));
                at = root;
                continue;
            }
            if let Some(why) = failed.get(&at.node) {
                return Err(*why);
            }
            let before = self.before(at.node, param).and_then(|all| {
                let mut why = Why::Elsewhere;
                for root in all.into_iter().filter(|_| depth < MOST_DEEP) {
                    match self.chain(root, param, depth + 1, failed) {
                        Ok(before) => return Ok(before),
                        Err(e) => why = e,
                    }
                }
                Err(why)
            });
            if let Err(why) = before {
                failed.insert(at.node, why);
            }
            let before = before?;
            chain.push((at.node, Vec::new()));
            chain.extend(before.into_iter().rev());
            break;
        }
        chain.reverse();
        Ok(chain)
    }

    /// The values that a kernel of maps, or of rows for what it computes of each, may store `n` over: their other readers
    /// run before, and the kernel itself reads them only where it stores. Those that it reads come first, and the parameter last.
    fn before(&self, n: NodeId, param: usize) -> Result<Vec<Value>, Why> {
        let g = self.g;
        let k = self.fusion.group_of[n.0 as usize].ok_or(Why::Elsewhere)?;
        let group = &self.fusion.groups[k];
        let ty = g.ty(n.into());
        let possible = match (group.kind, self.fusion.level[n.0 as usize]) {
            (GroupKind::Map | GroupKind::Rows, Some(Level::Full)) => ty.shape == group.domain,
            (GroupKind::Rows, Some(Level::Outer)) => !matches!(g.op(n), Op::Reduce(_)),
            _ => false,
        };
        if !possible {
            return Err(Why::Elsewhere);
        }
        let outside = |v: Value| {
            let s = source(g, v).0;
            (self.fusion.group_of[s.node.0 as usize] != Some(k) && !matches!(g.op(s.node), Op::Const(_))).then_some(s)
        };
        let mut all: Vec<Value> = group.nodes.iter().flat_map(|m| g.operands(*m)).filter_map(outside).collect();
        all.sort_unstable();
        all.dedup();
        all.reverse();
        all.retain(|s| g.ty(*s) == ty && !matches!(g.op(s.node), Op::Input(_)));
        all.extend(g.nodes().find(|m| is_param(g, *m, param)).map(Value::from));
        let mut why = Why::Elsewhere;
        all.retain(|s| match self.versions.back(*s).find_map(|v| self.is_read_after(v, n)) {
            Some(r) => {
                why = Why::ReadLater(g.node(r).loc);
                false
            }
            None => g.ty(*s).shape == ty.shape,
        });
        if all.is_empty() { Err(why) } else { Ok(all) }
    }

    /// Who reads a value after the kernel of `n` has stored over it: a later kernel, or it itself at other indices.
    fn is_read_after(&self, s: Value, n: NodeId) -> Option<NodeId> {
        let g = self.g;
        let (k, level) = (self.fusion.group_of[n.0 as usize], self.fusion.level[n.0 as usize]);
        let shape = &g.ty(n.into()).shape;
        let same_index = |r: NodeId| {
            let op = g.op(r);
            // Rows are reduced before anything of them is stored.
            let reduces = matches!(op, Op::Reduce(_)) && level == Some(Level::Full);
            let maps = is_point(op) && self.fusion.level[r.0 as usize] == level && g.ty(r.into()).shape == *shape;
            (maps || reduces)
                && g.operands(r).into_iter().enumerate().all(|(i, v)| {
                    let (t, views) = source(g, v);
                    let fits = || g.ty(v).shape == *shape && !needs_memory(op, i);
                    t.node != s.node || fits() && DimMap::through(g, shape, &views).is_identity(shape)
                })
        };
        let late = |(j, r): &&(usize, NodeId)| Some(*j) > k || (Some(*j) == k && !same_index(*r));
        self.readers[s.node.0 as usize].iter().find(late).map(|(_, r)| *r)
    }

    /// Whether the checks of group `k` can run before group `start`: all that it reads is there by then.
    fn is_checked_ahead(&self, k: usize, start: usize) -> bool {
        let g = self.g;
        let group = &self.fusion.groups[k];
        let there = |v: Value| {
            let s = source(g, v).0.node;
            self.fusion.group_of[s.0 as usize].is_none_or(|j| j < start || j == k)
        };
        // The base of an update is only written.
        let read = |n: &NodeId| g.operands(*n).into_iter().skip(is_update(g, *n) as usize).collect::<Vec<_>>();
        matches!(group.kind, GroupKind::Map | GroupKind::SliceUpdate | GroupKind::Scatter)
            && group.nodes.iter().flat_map(read).all(there)
    }
}

//! Step 2 of fusion: a point node whose readers are all in one later group moves there, and is computed in place.
//!
//! It moves only if nothing has to be stored in its stead: what it is computed from in its own group moves along. Nor does
//! it if its new kernel would then read too many values from memory, all of which live until it runs: of a sum of many
//! products (the gradient of a weight that is used at each step of a loop) sixteen are added at a time.

use super::siblings::{MOST_STREAMS, is_read_in_step};
use super::{Fusion, Level, is_leaf, is_point, needs_memory, source};
use crate::graph::{Graph, NodeId};
use crate::ops::Op;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The most nodes that move to another group together.
const MOST_MOVING: usize = 64;

/// Moves what can move. Groups that all have left are empty.
pub(super) fn sink(g: &Graph, f: &mut Fusion, live: &[bool], forced: &[bool]) {
    let mut s = Sink { g, f, forced, readers: super::readers(g, live), streams: HashMap::new() };
    for n in g.nodes().rev() {
        if let Some(to) = s.reading_group(n)
            && let Some(outside) = s.outside(n, to)
            && s.fits(n, to, &outside)
        {
            s.go(n, to);
        }
    }
}

struct Sink<'a> {
    g: &'a Graph,
    f: &'a mut Fusion,
    forced: &'a [bool],
    readers: Vec<Vec<(NodeId, usize)>>,
    /// What the groups that something has moved to read from memory.
    streams: HashMap<usize, HashSet<NodeId>>,
}

impl Sink<'_> {
    fn group(&self, n: NodeId) -> Option<usize> {
        self.f.group_of[n.0 as usize]
    }

    /// The one other group that reads node `n`, at whatever index.
    fn reading_group(&self, n: NodeId) -> Option<usize> {
        let i = n.0 as usize;
        let home = self.group(n)?;
        if !is_point(self.g.op(n)) || self.forced[i] {
            return None;
        }
        let to = self.group(self.readers[i].first()?.0)?;
        let all = self.readers[i].iter().all(|(r, operand)| {
            // The base of an update is copied on its own, or taken over.
            let base = matches!(self.g.op(*r), Op::SliceUpdate(_) | Op::Scatter(_)) && *operand == 0;
            !needs_memory(self.g.op(*r), *operand) && !base && self.group(*r) == Some(to)
        });
        (all && to != home).then_some(to)
    }

    /// The nodes that `n` is computed from, behind views.
    fn sources(&self, n: NodeId) -> impl Iterator<Item = NodeId> + use<'_> {
        let all = self.g.operands(n).into_iter().map(|v| source(self.g, v).0.node);
        all.filter(|s| !matches!(self.g.op(*s), Op::Const(_)))
    }

    /// If `n` can move to group `to` and nothing that stays behind in its group has to be stored in its stead: what it and
    /// what moves along read of other groups.
    fn outside(&self, n: NodeId, to: usize) -> Option<HashSet<NodeId>> {
        // Last first, so that all that may read a node has been seen before it.
        let (mut moving, mut open, mut outside) = (Vec::new(), BTreeSet::from([n]), HashSet::new());
        while let Some(m) = open.pop_last() {
            let i = m.0 as usize;
            let there = |r: &NodeId| moving.contains(r) || self.group(*r) == Some(to);
            let moves =
                m == n || is_point(self.g.op(m)) && !self.forced[i] && self.readers[i].iter().all(|(r, _)| there(r));
            if !moves || moving.len() == MOST_MOVING {
                return None;
            }
            moving.push(m);
            for s in self.sources(m) {
                if self.group(s) == self.group(n) && !is_leaf(self.g.op(s)) {
                    open.insert(s);
                } else {
                    outside.insert(s);
                }
            }
        }
        Some(outside)
    }

    /// Whether group `to` can take `n`, which reads these, without reading too much at once.
    fn fits(&mut self, n: NodeId, to: usize, outside: &HashSet<NodeId>) -> bool {
        if outside.len() <= 1 {
            return true;
        }
        let (g, f) = (self.g, &*self.f);
        let reads = self.streams.entry(to).or_insert_with(|| {
            let all = f.groups[to].nodes.iter().flat_map(|m| g.operands(*m)).map(|v| source(g, v).0.node);
            all.filter(|s| f.group_of[s.0 as usize] != Some(to) && !matches!(g.op(*s), Op::Const(_))).collect()
        });
        reads.iter().filter(|s| **s != n).chain(outside.iter().filter(|s| !reads.contains(s))).count() <= MOST_STREAMS
    }

    fn go(&mut self, n: NodeId, to: usize) {
        let i = n.0 as usize;
        if let Some(home) = self.group(n) {
            self.f.groups[home].nodes.retain(|m| *m != n);
        }
        self.f.groups[to].nodes.push(n);
        self.f.group_of[i] = Some(to);
        self.f.level[i] = is_read_in_step(self.g, self.f, n, to, &self.readers[i]).then_some(Level::Full);
        let sources: Vec<NodeId> = self.sources(n).filter(|s| self.group(*s) != Some(to)).collect();
        if let Some(reads) = self.streams.get_mut(&to) {
            reads.remove(&n);
            reads.extend(sources);
        }
    }
}

//! Step 3 of fusion: kernels of maps over one domain that read the same memory become one, which reads it once.
//!
//! Two groups may become one if what the later reads of the earlier it reads at the index at which it is computed, and if
//! one of them can move to the other: no group between stands in the way, by what it reads or by the memory that it may
//! write in place. Reads at another index of what the kernel itself may write in place keep them apart: one more pass over
//! memory costs less than a copy.

use super::{DimMap, Fusion, GroupKind, Level, Versions, is_leaf, needs_memory, source};
use crate::graph::{Graph, NodeId, Value};
use crate::ops::Op;
use crate::passes::parameter_nodes;
use std::collections::{HashMap, HashSet};

/// The most values that one kernel reads from memory and writes to it: more streams than that are no longer prefetched.
pub(super) const MOST_STREAMS: usize = 16;
/// The most nodes of one kernel.
pub(super) const MOST_NODES: usize = 256;
/// The most groups between two that become one, and the most that are tried for each.
pub(super) const MOST_BETWEEN: usize = 64;
pub(super) const MOST_TRIED: usize = 8;

/// Merges what can be merged. Groups that have moved elsewhere are left empty.
pub(super) fn merge(g: &Graph, f: &mut Fusion, live: &[bool]) {
    let params = parameter_nodes(g).unwrap_or_default();
    let finals = |(param, v): &(usize, Value)| Some((source(g, *v).0.node, *params.get(*param)?));
    let siblings = Siblings {
        g,
        readers: super::readers(g, live),
        versions: Versions::new(g),
        finals: g.mutated.iter().filter_map(finals).collect(),
    };
    let mut all: Vec<Summary> = (0..f.groups.len()).map(|k| siblings.summary(f, k)).collect();
    // For each value in memory, the groups that read it or compute it.
    let mut users: HashMap<NodeId, Vec<usize>> = HashMap::new();
    for k in 0..f.groups.len() {
        let mut at = k;
        if f.groups[k].kind == GroupKind::Map {
            while let Some(to) = siblings.merge_one(f, at, &mut all, &users) {
                at = to;
            }
        }
        for s in &all[at].streams {
            users.entry(*s).or_default().push(at);
        }
    }
    super::rows::merge(&siblings, f, &mut all);
}

pub(super) struct Siblings<'g> {
    pub(super) g: &'g Graph,
    pub(super) readers: Vec<Vec<(NodeId, usize)>>,
    versions: Versions<'g>,
    /// For each final value of a parameter, the parameter.
    finals: HashMap<NodeId, NodeId>,
}

/// What a group does with memory.
#[derive(Default)]
pub(super) struct Summary {
    /// The values that it reads from memory or computes for it.
    pub(super) streams: HashSet<NodeId>,
    /// The memory that it reads; by the oldest value there.
    pub(super) reads: HashSet<NodeId>,
    /// What of it is read at other indices than the loops'.
    pub(super) elsewhere: HashSet<NodeId>,
    /// The memory that it may write in place.
    pub(super) writes: HashSet<NodeId>,
}

impl Siblings<'_> {
    /// The memory that a value lies in, if all that can be is in place: the oldest value there.
    fn memory(&self, s: NodeId) -> NodeId {
        let oldest = self.versions.back(s.into()).last().map_or(s, |v| v.node);
        self.finals.get(&s).or(self.finals.get(&oldest)).copied().unwrap_or(oldest)
    }

    pub(super) fn summary(&self, f: &Fusion, k: usize) -> Summary {
        let g = self.g;
        let mut all = Summary::default();
        for n in &f.groups[k].nodes {
            for (i, v) in g.operands(*n).into_iter().enumerate() {
                let (s, views) = source(g, v);
                if f.group_of[s.node.0 as usize] == Some(k) || matches!(g.op(s.node), Op::Const(_)) {
                    continue;
                }
                all.streams.insert(s.node);
                all.reads.insert(self.memory(s.node));
                if !self.is_at_own_index(f, k, *n, i, s, &views) {
                    all.elsewhere.insert(self.memory(s.node));
                }
            }
            let read_outside = self.readers[n.0 as usize].iter().any(|(r, _)| f.group_of[r.0 as usize] != Some(k));
            if read_outside || self.finals.contains_key(n) {
                all.streams.insert(*n);
            }
            let updates = matches!(g.op(*n), Op::SliceUpdate(_) | Op::Scatter(_));
            if updates || self.finals.contains_key(n) {
                all.writes.insert(self.memory(*n));
            }
        }
        all
    }

    /// Whether node `n` of group `k` reads `s` at the index of the loops.
    fn is_at_own_index(&self, f: &Fusion, k: usize, n: NodeId, operand: usize, s: Value, views: &[NodeId]) -> bool {
        let (g, domain) = (self.g, &f.groups[k].domain);
        f.level[n.0 as usize] == Some(Level::Full)
            && !needs_memory(g.op(n), operand)
            && g.ty(n.into()).shape == *domain
            && g.ty(s).shape == *domain
            && DimMap::through(g, domain, views).is_identity(domain)
    }

    /// Merges group `k` with some earlier one; the number of the result.
    fn merge_one(
        &self,
        f: &mut Fusion,
        k: usize,
        all: &mut [Summary],
        users: &HashMap<NodeId, Vec<usize>>,
    ) -> Option<usize> {
        let near = |j: &usize| *j < k && k - *j <= MOST_BETWEEN;
        let mut tried: Vec<usize> =
            all[k].streams.iter().filter_map(|s| users.get(s)).flatten().copied().filter(near).collect();
        tried.sort_unstable();
        tried.dedup();
        for j in tried.into_iter().rev().take(MOST_TRIED) {
            if let Some(to) = self.place(f, j, k, all) {
                let from = if to == k { j } else { k };
                let nodes = std::mem::take(&mut f.groups[from].nodes);
                nodes.iter().for_each(|n| f.group_of[n.0 as usize] = Some(to));
                f.groups[to].nodes.extend(nodes);
                all[to] = self.summary(f, to);
                return Some(to);
            }
        }
        None
    }

    /// Where groups `j < k` can become one: at the place of one of them, if at all.
    fn place(&self, f: &Fusion, j: usize, k: usize, all: &[Summary]) -> Option<usize> {
        let g = self.g;
        let (first, second) = (&f.groups[j], &f.groups[k]);
        let possible = first.kind == GroupKind::Map
            && !first.nodes.is_empty()
            && first.domain == second.domain
            && first.nodes.len() + second.nodes.len() <= MOST_NODES;
        if !possible {
            return None;
        }
        let (other, own) = (&all[j], &all[k]);
        let apart = |a: &HashSet<NodeId>, b: &HashSet<NodeId>| a.is_disjoint(b);
        // A value that only the other one reads is no longer a stream; that is left out of account.
        let fits = own.streams.union(&other.streams).count() <= MOST_STREAMS;
        if !fits || !apart(&own.writes, &other.elsewhere) || !apart(&other.writes, &own.elsewhere) {
            return None;
        }
        for n in &second.nodes {
            for (i, v) in g.operands(*n).into_iter().enumerate() {
                let (s, views) = source(g, v);
                let of_first = f.group_of[s.node.0 as usize] == Some(j);
                let computed = f.level[s.node.0 as usize] == Some(Level::Full);
                if of_first && !(computed && self.is_at_own_index(f, k, *n, i, s, &views)) {
                    return None;
                }
            }
        }
        let reads_from = |reader: usize, k: usize| {
            let all = f.groups[reader].nodes.iter().flat_map(|n| g.operands(*n));
            all.into_iter().any(|v| f.group_of[source(g, v).0.node.0 as usize] == Some(k))
        };
        let between: Vec<usize> = (j + 1..k).filter(|c| !f.groups[*c].nodes.is_empty()).collect();
        // What moves must not pass a group that reads what it writes, or writes what it reads.
        let passes = |s: &Summary| {
            between.iter().all(|c| {
                let c = &all[*c];
                apart(&c.reads, &s.writes) && apart(&c.writes, &s.reads) && apart(&c.writes, &s.writes)
            })
        };
        if !between.iter().any(|c| reads_from(*c, j)) && passes(other) {
            return Some(k);
        }
        if !between.iter().any(|c| reads_from(k, *c)) && passes(own) {
            return Some(j);
        }
        None
    }
}

/// Whether all that a value's readers in its own group need of it is its element at the index of the loops.
pub(super) fn is_read_in_step(g: &Graph, f: &Fusion, n: NodeId, k: usize, readers: &[(NodeId, usize)]) -> bool {
    let group = &f.groups[k];
    let in_loops = matches!(group.kind, GroupKind::Map | GroupKind::Rows);
    let whole = g.ty(n.into()).shape == group.domain;
    in_loops
        && whole
        && !is_leaf(g.op(n))
        && readers.iter().all(|(r, operand)| {
            let reduces = matches!(g.op(*r), Op::Reduce(_));
            let in_step = f.level[r.0 as usize] == Some(Level::Full) && g.ty((*r).into()).shape == group.domain;
            let views = source(g, g.operands(*r)[*operand]).1;
            (in_step || reduces) && DimMap::through(g, &group.domain, &views).is_identity(&group.domain)
        })
}

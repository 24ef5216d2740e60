//! The decision: which values are kept, and which are computed again, as a minimum cut.
//!
//! The network has two nodes for each value, one before and one behind it. The edge between them is to keep the value, an
//! edge from the source to the first is to compute it again, and one of no limit leads from behind an operand to before
//! what is computed of it. So what is on the side of the sink is at hand in late kernels: kept where the cut goes through
//! it, computed again where it goes before it.

use super::cost::{bytes, count, work};
use super::flow::{NEVER, Network, Point};
use crate::graph::{Graph, NodeId, Value};
use crate::interp::may_fail;
use crate::ops::Op;
use crate::passes::fuse::{Fusion, GroupKind, Level, Mode, fuse, is_affine, is_point, needs_memory, source};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What is kept between the forward and the backward computation, and what is computed again.
#[derive(Debug, Default)]
pub struct Partition {
    /// Values that are in memory for late kernels. Ascending; parameters are not among them.
    pub kept: BTreeSet<Value>,
    /// Values that late kernels compute themselves.
    pub again: BTreeSet<Value>,
    /// The late kernel of a node.
    pub(super) kernel: HashMap<NodeId, usize>,
    /// The kernel that begins with a node.
    pub(super) first: HashMap<NodeId, usize>,
    /// What a late kernel computes itself and reads, by kernel.
    pub(super) needs: HashMap<usize, Vec<Value>>,
}

impl Partition {
    /// Whether node `n` is of a late kernel that computes the node's operand `i` itself, up to views.
    pub(super) fn computes(&self, g: &Graph, n: NodeId, i: usize) -> bool {
        if !self.kernel.contains_key(&n) {
            return false;
        }
        let (s, views) = source(g, g.operands(n)[i]);
        self.again.contains(&s) && !in_memory(g, n, i, &views)
    }
}

/// Decides it for a graph whose derivatives are worked out; empty if there are none.
pub fn decide(g: &Graph) -> Partition {
    let Some(begin) = g.backward.filter(|n| (n.0 as usize) < g.len()) else { return Partition::default() };
    let kernels = Kernels::of(g, begin);
    let needs = kernels.needs();
    kernels.partition(kernels.cut(needs))
}

/// Whether operand `i` of node `n`, read through these views, must be in memory.
fn in_memory(g: &Graph, n: NodeId, i: usize, views: &[NodeId]) -> bool {
    let base = matches!(g.op(n), Op::SliceUpdate(_) | Op::Scatter(_)) && i == 0;
    base || needs_memory(g.op(n), i) || !follows(g, views)
}

/// Whether an index can be followed through these views.
fn follows(g: &Graph, views: &[NodeId]) -> bool {
    views.iter().all(|n| match g.op(*n) {
        Op::Reshape(r) => is_affine(&g.ty(g.operands(*n)[0]).shape, &r.0),
        _ => true,
    })
}

/// What fusion makes of the graph, early and late.
struct Kernels<'g> {
    g: &'g Graph,
    fusion: Fusion,
    begin: NodeId,
    live: Vec<bool>,
    /// For each group, whether it computes what forward results need.
    early: Vec<bool>,
    /// Values that are in memory whatever is decided: early kernels or the caller read them there.
    stored: HashSet<Value>,
    /// Values that are in memory as long as late kernels run.
    held: HashSet<Value>,
}

impl<'g> Kernels<'g> {
    fn of(g: &'g Graph, begin: NodeId) -> Kernels<'g> {
        let (fusion, live) = (fuse(g, Mode::Fused), g.computed());
        let roots: HashSet<Value> = g.computed_roots().map(|v| source(g, v).0).collect();
        // Nodes that forward results need: not those that have moved to a late kernel.
        let mut forward = vec![false; g.len()];
        for n in g.nodes().rev().filter(|n| live[n.0 as usize] && *n < begin) {
            let i = n.0 as usize;
            forward[i] |= g.results(n).any(|v| roots.contains(&v)) || !is_point(g.op(n)) && !g.op(n).is_view();
            if forward[i] {
                g.operands(n).into_iter().for_each(|v| forward[v.node.0 as usize] = true);
            }
        }
        let early = fusion.groups.iter().map(|k| k.nodes.iter().any(|n| forward[n.0 as usize])).collect();
        let mut all = Kernels { g, fusion, begin, live, early, stored: roots.clone(), held: roots };
        let reads: Vec<_> = all.reads().collect();
        for (n, i, s, views) in reads {
            let (from, to) = (all.group(s.node), all.group(n));
            let must = in_memory(g, n, i, &views);
            let Some(from) = from else { continue };
            let own =
                !matches!(all.fusion.groups[from].kind, GroupKind::Map | GroupKind::Rows) && !is_point(g.op(s.node));
            let late = to.is_some_and(|k| !all.early[k]);
            if own || must || (Some(from) != to && !late) {
                all.stored.insert(s);
            }
            if must && late {
                all.held.insert(s);
            }
        }
        all
    }

    fn group(&self, n: NodeId) -> Option<usize> {
        self.fusion.group_of[n.0 as usize]
    }

    fn is_early(&self, v: Value) -> bool {
        self.group(v.node).is_some_and(|k| self.early[k])
    }

    /// Every operand of every kernel: reader, position, the value behind views, the views.
    fn reads(&self) -> impl Iterator<Item = (NodeId, usize, Value, Vec<NodeId>)> + '_ {
        let g = self.g;
        let of = move |n: NodeId| {
            g.operands(n).into_iter().enumerate().map(move |(i, v)| {
                let (s, views) = source(g, v);
                (n, i, s, views)
            })
        };
        g.nodes().filter(|n| self.live[n.0 as usize] && self.group(*n).is_some()).flat_map(of)
    }

    /// What late kernels read of early ones and need not read from memory, and how many elements of it.
    fn needs(&self) -> BTreeMap<Value, f64> {
        let mut all: BTreeMap<(usize, Value), f64> = BTreeMap::new();
        for (n, i, value, views) in self.reads() {
            let Some(kernel) = self.group(n).filter(|k| !self.early[*k]) else { continue };
            if !self.is_early(value) || in_memory(self.g, n, i, &views) {
                continue;
            }
            let shape = match self.g.op(n) {
                Op::Reduce(_) => &self.g.ty(self.g.operands(n)[0]).shape,
                _ => &self.g.node(n).types[0].shape,
            };
            let full = self.fusion.level[n.0 as usize] != Some(Level::Outer);
            let count = count(shape) * if full { self.passes(kernel) } else { 1.0 };
            let most = all.entry((kernel, value)).or_default();
            *most = most.max(count);
        }
        let mut needs = BTreeMap::new();
        all.into_iter().for_each(|((_, value), count)| *needs.entry(value).or_default() += count);
        needs
    }

    /// How often a kernel goes over its domain, roughly: rows are summed up, and then used for what comes after.
    fn passes(&self, k: usize) -> f64 {
        let group = &self.fusion.groups[k];
        let sums = group.nodes.iter().filter(|n| matches!(self.g.op(**n), Op::Reduce(_))).count();
        let stored =
            |n: &NodeId| self.fusion.stored[n.0 as usize] && self.fusion.level[n.0 as usize] == Some(Level::Full);
        if sums > 1 || sums == 1 && group.nodes.iter().any(stored) { 2.0 } else { 1.0 }
    }

    /// Whether a late kernel may compute what this node computes.
    fn may_repeat(&self, n: NodeId) -> bool {
        let g = self.g;
        let simple = matches!(g.op(n), Op::Map(_) | Op::Cast(_) | Op::Bitcast(_) | Op::Copy | Op::Iota(_));
        simple && self.is_early(n.into()) && !may_fail(g, n)
    }

    /// What it costs to keep a value for late kernels, in bytes.
    fn keep(&self, v: Value) -> f64 {
        let times = match self.g.op(v.node) {
            // Its memory may be written by then.
            Op::Input(i) if self.g.mutated.iter().any(|(k, _)| *k == *i as usize) => return f64::INFINITY,
            Op::Input(_) | Op::Literal(_) => 1.0,
            _ => 1.0 + f64::from(u8::from(!self.stored.contains(&v))) + f64::from(u8::from(!self.held.contains(&v))),
        };
        times * bytes(self.g, v)
    }

    /// The values to compute again.
    fn cut(&self, needs: BTreeMap<Value, f64>) -> BTreeSet<Value> {
        let g = self.g;
        let mut net = Network::new();
        let mut ends: HashMap<Value, [Point; 2]> = HashMap::new();
        let ends_of = |net: &mut Network, v: Value, ends: &mut HashMap<Value, [Point; 2]>| {
            *ends.entry(v).or_insert_with(|| [net.point(), net.point()])
        };
        for v in needs.keys() {
            let [_, behind] = ends_of(&mut net, *v, &mut ends);
            net.edge(behind, net.sink, NEVER);
        }
        // How many elements of a value late kernels would compute.
        let mut counts = needs;
        let mut done = Value { node: NodeId(u32::MAX), result: 0 };
        // Operands come before what is computed of them, so all that asks for a value has been seen.
        while let Some((v, times)) = counts.range(..done).next_back().map(|(v, n)| (*v, *n)) {
            done = v;
            let [before, behind] = ends_of(&mut net, v, &mut ends);
            net.edge(before, behind, capacity(self.keep(v)));
            if !self.may_repeat(v.node) {
                net.edge(net.source, before, NEVER);
                continue;
            }
            net.edge(net.source, before, capacity(times * work(g, v.node)));
            for x in g.operands(v.node) {
                let (s, views) = source(g, x);
                if matches!(g.op(s.node), Op::Const(_)) {
                    continue;
                }
                let [at, operand] = ends_of(&mut net, s, &mut ends);
                net.edge(operand, before, NEVER);
                if !follows(g, &views) {
                    net.edge(net.source, at, NEVER);
                }
                let most = counts.entry(s).or_default();
                *most = most.max(times);
            }
        }
        let side = net.sink_side();
        let repeated = |(v, [before, _]): (&Value, &[Point; 2])| side.contains(before).then_some(*v);
        ends.iter().filter_map(repeated).filter(|v| self.may_repeat(v.node)).collect()
    }

    fn partition(&self, again: BTreeSet<Value>) -> Partition {
        let g = self.g;
        let mut p = Partition { again, ..Partition::default() };
        for (k, group) in self.fusion.groups.iter().enumerate().filter(|(k, _)| !self.early[*k]) {
            p.kernel.extend(group.nodes.iter().map(|n| (*n, k)));
            if let Some(n) = group.nodes.iter().find(|n| **n >= self.begin) {
                p.first.insert(*n, k);
            }
        }
        let mut open = Vec::new();
        for (n, i, s, _) in self.reads() {
            let Some(k) = p.kernel.get(&n).copied().filter(|_| self.is_early(s)) else { continue };
            if p.computes(g, n, i) {
                p.needs.entry(k).or_default().push(s);
                open.push(s);
            } else {
                p.kept.insert(s);
            }
        }
        let mut seen = HashSet::new();
        while let Some(v) = open.pop() {
            for s in g.operands(v.node).into_iter().map(|x| source(g, x).0) {
                if p.again.contains(&s) {
                    open.extend(seen.insert(s).then_some(s));
                } else if self.is_early(s) {
                    p.kept.insert(s);
                }
            }
        }
        seen.extend(p.needs.values().flatten().copied());
        p.again.retain(|v| seen.contains(v));
        p
    }
}

/// A cost as a capacity.
fn capacity(cost: f64) -> u64 {
    ((cost * 16.0).min(NEVER as f64) as u64).max(1)
}

//! A part of step 3 of fusion: kernels of rows become one with others over the same rows.
//!
//! What joins only its last operand's group may leave two kernels that both go over the rows of one array: a loss and its
//! gradient, with the sum of all samples' weights between them; a layer's forward and backward computation; two sums of
//! the same columns. Such groups become one if no way leads from the first through a third to the second. What of the
//! groups between them needs the first then comes after both, and the rest before.
//!
//! The order of groups is a list apart while that goes on, so a group keeps its number until the end.

use super::siblings::{MOST_BETWEEN, MOST_NODES, MOST_STREAMS, MOST_TRIED, Siblings, Summary};
use super::{DimMap, Fusion, Group, GroupKind, Level, domain_axes, kept, needs_memory, source};
use crate::dim::Dims;
use crate::graph::NodeId;
use crate::interp::may_fail;
use crate::ops::Op;
use crate::ops::reduce::{BLOCK, LANES};
use crate::passes::partition::count;
use std::collections::{BTreeSet, HashMap};

/// That many rows keep all threads busy.
const ENOUGH_ROWS: f64 = 64.0;

/// Merges what can be merged, large arrays first: of two merges that exclude each other, that is the better one.
pub(super) fn merge(s: &Siblings<'_>, f: &mut Fusion, all: &mut [Summary]) {
    let mut domains: HashMap<Dims, Vec<usize>> = HashMap::new();
    f.groups.iter_mut().for_each(|group| group.nodes.sort_unstable());
    let groups = f.groups.clone();
    for (k, group) in groups.iter().enumerate().filter(|(_, group)| goes_over_rows(group)) {
        domains.entry(group.domain.clone()).or_default().push(k);
    }
    let mut domains: Vec<Vec<usize>> = domains.into_values().filter(|of| of.len() > 1).collect();
    let size = |k: &usize| count(&groups[*k].domain);
    domains.sort_by(|a, b| size(&b[0]).total_cmp(&size(&a[0])).then(a[0].cmp(&b[0])));
    let mut rows = Rows { s, f, all, order: (0..groups.len()).collect() };
    for of in domains {
        for (i, k) in of.iter().enumerate() {
            let earlier = of[..i].iter().rev().filter(|j| *k - **j <= MOST_BETWEEN).take(MOST_TRIED);
            for j in earlier {
                if rows.merge_two(*j, *k) {
                    break;
                }
            }
        }
    }
    rows.finish();
}

fn goes_over_rows(group: &Group) -> bool {
    matches!(group.kind, GroupKind::Map | GroupKind::Rows) && !group.nodes.is_empty()
}

/// Whether what goes over all elements may as well go over these rows: they are rows in memory, not too short for vectors
/// and enough for all threads, or so few elements that one more kernel costs more.
fn is_worth_rows(group: &Group) -> bool {
    let in_memory = group.axes.last().is_some_and(|axis| axis + 1 == group.domain.len());
    let reduced: Dims = group.axes.iter().map(|axis| group.domain[*axis]).collect();
    let (length, rows) = (count(&reduced), count(&kept(group)));
    in_memory && (length >= LANES as f64 && rows >= ENOUGH_ROWS || length * rows <= BLOCK as f64)
}

struct Rows<'a, 'g> {
    s: &'a Siblings<'g>,
    f: &'a mut Fusion,
    all: &'a mut [Summary],
    /// The groups as they will run.
    order: Vec<usize>,
}

impl Rows<'_, '_> {
    /// Merges group `k` with `j`; whether it did.
    fn merge_two(&mut self, j: usize, k: usize) -> bool {
        let place = |k: usize| self.order.iter().position(|c| *c == k);
        let (Some(mut at), Some(mut to)) = (place(j), place(k)) else { return false };
        let (mut j, mut k) = (j, k);
        if at > to {
            ((j, k), (at, to)) = ((k, j), (to, at));
        }
        if !self.fit(j, k) || !self.reads_in_step(j, k) {
            return false;
        }
        let Some(order) = self.ordered(j, k, &self.order[at + 1..to]) else { return false };
        let f = &mut *self.f;
        let nodes = std::mem::take(&mut f.groups[k].nodes);
        nodes.iter().for_each(|n| f.group_of[n.0 as usize] = Some(j));
        f.groups[j].nodes.extend(nodes);
        f.groups[j].nodes.sort_unstable();
        if f.groups[k].kind == GroupKind::Rows {
            (f.groups[j].kind, f.groups[j].axes) = (GroupKind::Rows, f.groups[k].axes.clone());
        }
        self.order.splice(at..=to, order);
        self.all[j] = self.s.summary(self.f, j);
        self.all[k] = Summary::default();
        true
    }

    /// Whether the two go over the same rows, of one array at least, and are not too large together.
    fn fit(&self, j: usize, k: usize) -> bool {
        let (first, second) = (&self.f.groups[j], &self.f.groups[k]);
        let (a, b) = (&self.all[j], &self.all[k]);
        let g = self.s.g;
        if !goes_over_rows(first) || !goes_over_rows(second) || first.domain != second.domain {
            return false;
        }
        let maps = [first, second].into_iter().filter(|group| group.kind == GroupKind::Map);
        let rows = match (first.kind, second.kind) {
            (GroupKind::Rows, GroupKind::Rows) if first.axes != second.axes => return false,
            (GroupKind::Rows, _) => first,
            (_, GroupKind::Rows) => second,
            _ => return false,
        };
        for map in maps {
            // Before a parameter is written the checks of maps can run ahead of them, those of rows cannot.
            let writes = !g.mutated.is_empty();
            if !is_worth_rows(rows) || writes && map.nodes.iter().any(|n| may_fail(g, *n)) {
                return false;
            }
        }
        let whole = |n: &&NodeId| g.node(**n).types.iter().any(|ty| ty.shape == first.domain);
        first.nodes.len() + second.nodes.len() <= MOST_NODES
            && a.streams.union(&b.streams).count() <= MOST_STREAMS
            && a.streams.intersection(&b.streams).any(|n| whole(&n))
            && a.writes.is_disjoint(&b.elsewhere)
            && b.writes.is_disjoint(&a.elsewhere)
    }

    /// Whether what group `k` reads of group `j` it reads at the index at which `j` computes it.
    fn reads_in_step(&self, j: usize, k: usize) -> bool {
        let (g, f) = (self.s.g, &*self.f);
        let domain = &f.groups[j].domain;
        let axes = if f.groups[j].kind == GroupKind::Rows { &f.groups[j].axes } else { &f.groups[k].axes };
        let rows = Group { axes: axes.clone(), ..f.groups[j].clone() };
        let indices = self.indices(k);
        let every: Vec<usize> = (0..domain.len()).collect();
        f.groups[k].nodes.iter().all(|n| {
            g.operands(*n).into_iter().enumerate().all(|(i, v)| {
                let (s, views) = source(g, v);
                if f.group_of[s.node.0 as usize] != Some(j) {
                    return true;
                }
                let Some(index) = indices.get(n).filter(|_| !needs_memory(g.op(*n), i)) else { return false };
                let index = index.then(g, &views);
                match f.level[s.node.0 as usize] {
                    Some(Level::Full) => index.is_identity(domain),
                    Some(Level::Outer) => index.agrees(&every, &domain_axes(&rows, &g.ty(s).shape), &rows.axes),
                    None => false,
                }
            })
        })
    }

    /// For each node of a group the index at which it asks for its operands, in terms of the group's domain, if it is one.
    fn indices(&self, k: usize) -> HashMap<NodeId, DimMap> {
        let (g, f) = (self.s.g, &*self.f);
        let group = &f.groups[k];
        let mut all: HashMap<NodeId, DimMap> = HashMap::new();
        // Readers come after what they read.
        for n in group.nodes.iter().rev() {
            let shape = &g.node(*n).types[0].shape;
            let index = match (g.op(*n), f.level[n.0 as usize]) {
                (Op::Reduce(_), _) | (_, Some(Level::Full)) => Some(DimMap::identity(&group.domain)),
                (_, Some(Level::Outer)) => Some(DimMap::along(&domain_axes(group, shape), shape)),
                (_, None) => {
                    let inside = |(r, _): &&(NodeId, usize)| f.group_of[r.0 as usize] == Some(k);
                    let asked = |(r, i): &(NodeId, usize)| {
                        let views = source(g, g.operands(*r)[*i]).1;
                        all.get(r).filter(|_| !needs_memory(g.op(*r), *i)).map(|index| index.then(g, &views))
                    };
                    let mut every = self.s.readers[n.0 as usize].iter().filter(inside).map(asked);
                    every.next().flatten().filter(|first| every.all(|other| other.as_ref() == Some(first)))
                }
            };
            all.extend(index.map(|index| (*n, index)));
        }
        all
    }

    /// The order of two groups that become one and those between them; `None` if one of those must be between, by what it
    /// reads or by the memory that it may write.
    fn ordered(&self, j: usize, k: usize, between: &[usize]) -> Option<Vec<usize>> {
        let reads: HashMap<usize, BTreeSet<usize>> = between.iter().chain([&k]).map(|c| (*c, self.reads(*c))).collect();
        let mut late = BTreeSet::from([j]);
        for c in between {
            if !reads[c].is_disjoint(&late) {
                late.insert(*c);
            }
        }
        late.remove(&j);
        if !reads[&k].is_disjoint(&late) {
            return None;
        }
        let (after, before): (Vec<usize>, Vec<usize>) = between.iter().partition(|c| late.contains(c));
        // What changes places: the first goes behind those before, the second ahead of those after, and these past each other.
        let free = |a: usize, b: usize| {
            let (a, b) = (&self.all[a], &self.all[b]);
            a.writes.is_disjoint(&b.writes) && a.writes.is_disjoint(&b.reads) && a.reads.is_disjoint(&b.writes)
        };
        let stays = before.iter().all(|b| free(j, *b) && after.iter().all(|a| free(*a, *b)))
            && after.iter().all(|a| free(k, *a));
        stays.then(|| before.into_iter().chain([j]).chain(after).chain([k]).collect())
    }

    /// The groups that a group reads from.
    fn reads(&self, k: usize) -> BTreeSet<usize> {
        let (g, f) = (self.s.g, &*self.f);
        let of = |n: &NodeId| g.operands(*n).into_iter().filter_map(|v| f.group_of[source(g, v).0.node.0 as usize]);
        f.groups[k].nodes.iter().flat_map(of).collect()
    }

    /// Puts the groups into the order found.
    fn finish(self) {
        let f = self.f;
        let mut number = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(at, k)| number[*k] = at);
        f.groups = self.order.iter().map(|k| f.groups[*k].clone()).collect();
        f.group_of.iter_mut().flatten().for_each(|k| *k = number[*k]);
    }
}

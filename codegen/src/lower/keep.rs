//! What a kernel of rows need not compute again: values that one pass over a row computes and a later pass needs wait in
//! the row of a result that is not stored yet.
//!
//! A softmax sums the exponentials of a row and then divides them by the sum. They are stored in the result's row as they
//! are added, and read back, from a cache, as they are divided: the last pass stores over each element what it makes of
//! it. That is done where computing a value again takes longer than moving it there and back, and where nothing is lost by
//! it: the value has the result's dtype, and the result's memory is nobody else's while the kernel runs. Half floats are
//! left out, whose functions compute in `f32` and round once.

use super::Lower;
use super::groups::Store;
use crate::program::{BufferId, Place};
use std::collections::{HashMap, HashSet};
use tensorc_ir::ops::Op;
use tensorc_ir::passes::fuse::{DimMap, Group, Level, source};
use tensorc_ir::passes::partition::work;
use tensorc_ir::{DType, NodeId, Value};

/// For each stage of reductions, the values that it puts into rows of results.
pub(super) type Keeping = Vec<Vec<(NodeId, Place)>>;

/// The passes over a row: one for each stage, and a last one for results.
struct Passes<'l, 'a> {
    l: &'l Lower<'a>,
    group: &'l Group,
    /// What each pass computes: operands of reductions, or results.
    roots: Vec<Vec<Value>>,
}

/// A row that values may wait in.
struct Slot {
    result: NodeId,
    place: Place,
    kept: Option<NodeId>,
}

/// Decides it for a group with these stages and these results of its full level.
pub(super) fn keeping(l: &Lower<'_>, group: &Group, stages: &[Vec<NodeId>], results: &[Store]) -> Keeping {
    let g = l.g;
    let operands = |stage: &Vec<NodeId>| stage.iter().map(|n| g.operands(*n)[0]).collect();
    let roots = stages.iter().map(operands).chain([results.iter().map(|s| s.value).collect()]).collect();
    let passes = Passes { l, group, roots };
    let mut slots = slots(l, group, results);
    let mut kept: HashSet<NodeId> = HashSet::new();
    let mut all = Keeping::new();
    for (s, stage) in stages.iter().enumerate() {
        let mut here = Vec::new();
        // What finds the places of extremes goes over the row on its own.
        let sums = stage.iter().filter(|n| !matches!(g.op(**n), Op::Reduce(r) if r.kind.is_arg()));
        let sums: Vec<Value> = sums.map(|n| g.operands(*n)[0]).collect();
        let computed = passes.computed(&sums, &kept);
        for _ in 0..computed.len() {
            let Some((n, slot)) = passes.best(s, &computed, &kept, &slots) else { break };
            let slot = &mut slots[slot];
            if let Some(old) = slot.kept.replace(n) {
                kept.remove(&old);
                here.retain(|(m, _)| *m != old);
            }
            kept.insert(n);
            here.push((n, slot.place.clone()));
        }
        all.push(here);
    }
    all
}

/// The rows of results that are nobody else's: no other result lies in that memory, and nothing that the group reads.
fn slots(l: &Lower<'_>, group: &Group, results: &[Store]) -> Vec<Slot> {
    let (g, mut uses) = (l.g, HashMap::<BufferId, usize>::new());
    let places = |v: Value| l.places.get(&v).map(|p| p.buffer);
    let outside = |v: Value| l.fusion.group_of[v.node.0 as usize] != Some(l.group);
    let mut read: Vec<Value> = group.nodes.iter().flat_map(|n| g.operands(*n)).map(|v| source(g, v).0).collect();
    read.retain(|v| outside(*v));
    read.sort_unstable();
    read.dedup();
    let stored = group.nodes.iter().filter(|n| l.fusion.stored[n.0 as usize]).map(|n| Value::from(*n));
    for buffer in read.into_iter().chain(stored).filter_map(places) {
        *uses.entry(buffer).or_default() += 1;
    }
    let fits = |s: &&Store| {
        let exact = matches!(g.ty(s.value).dtype, DType::F32 | DType::F64);
        exact && uses.get(&s.place.buffer) == Some(&1)
    };
    let slot = |s: &Store| Slot { result: s.value.node, place: s.place.clone(), kept: None };
    results.iter().filter(fits).map(slot).collect()
}

impl Passes<'_, '_> {
    /// The node that computes a value at the index of the loops, if one of the group does.
    fn node(&self, v: Value) -> Option<NodeId> {
        let (g, f, domain) = (self.l.g, self.l.fusion, &self.group.domain);
        let (s, views) = source(g, v);
        let i = s.node.0 as usize;
        let here = f.group_of[i] == Some(self.l.group) && f.level[i] == Some(Level::Full);
        let point = matches!(g.op(s.node), Op::Map(_) | Op::Cast(_) | Op::Bitcast(_) | Op::Copy | Op::Barrier);
        (here && point && DimMap::through(g, domain, &views).is_identity(domain)).then_some(s.node)
    }

    /// The nodes that a pass computes for these values, where some need not be computed.
    fn computed(&self, roots: &[Value], kept: &HashSet<NodeId>) -> HashSet<NodeId> {
        let mut all = HashSet::new();
        let mut open: Vec<Value> = roots.to_vec();
        while let Some(v) = open.pop() {
            if let Some(n) = self.node(v)
                && !kept.contains(&n)
                && all.insert(n)
            {
                open.extend(self.l.g.operands(n));
            }
        }
        all
    }

    /// The nodes of `of` that a pass asks for, those behind others of them left out.
    fn asked(&self, roots: &[Value], of: &HashSet<NodeId>, kept: &HashSet<NodeId>) -> HashSet<NodeId> {
        let (mut seen, mut asked) = (HashSet::new(), HashSet::new());
        let mut open: Vec<Value> = roots.to_vec();
        while let Some(v) = open.pop() {
            let Some(n) = self.node(v) else { continue };
            if of.contains(&n) {
                asked.insert(n);
            } else if !kept.contains(&n) && seen.insert(n) {
                open.extend(self.l.g.operands(n));
            }
        }
        asked
    }

    /// Of what stage `s` computes the value that is most worth keeping, with the slot for it.
    fn best(
        &self,
        s: usize,
        computed: &HashSet<NodeId>,
        kept: &HashSet<NodeId>,
        slots: &[Slot],
    ) -> Option<(NodeId, usize)> {
        let g = self.l.g;
        let of: HashSet<NodeId> = computed.difference(kept).copied().collect();
        let mut times: HashMap<NodeId, usize> = HashMap::new();
        for roots in &self.roots[s + 1..] {
            self.asked(roots, &of, kept).into_iter().for_each(|n| *times.entry(n).or_default() += 1);
        }
        let gain = |(n, times): (NodeId, usize)| {
            let slot = self.slot(n, s, kept, slots)?;
            let again: f64 = self.computed(&[n.into()], kept).into_iter().map(|n| work(g, n)).sum();
            let moves = times + (slots[slot].result != n) as usize;
            let gain = again * times as f64 - (moves * g.ty(n.into()).dtype.size()) as f64;
            (gain > 0.0).then_some((gain, n, slot))
        };
        let best = times.into_iter().filter_map(gain).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        best.map(|(_, n, slot)| (n, slot))
    }

    /// A row for node `n` after stage `s`: its own, if it is a result, else that of another result in which nothing waits,
    /// or nothing that is asked for once `n` is there.
    fn slot(&self, n: NodeId, s: usize, kept: &HashSet<NodeId>, slots: &[Slot]) -> Option<usize> {
        let g = self.l.g;
        let free = |slot: &Slot| match slot.kept {
            None => true,
            Some(old) if old == slot.result => false,
            Some(old) => {
                let mut then: HashSet<NodeId> = kept.iter().copied().filter(|m| *m != old).collect();
                then.insert(n);
                let of = HashSet::from([old]);
                self.roots[s + 1..].iter().all(|roots| self.asked(roots, &of, &then).is_empty())
            }
        };
        let fits = |i: &usize| g.ty(slots[*i].result.into()).dtype == g.ty(n.into()).dtype && free(&slots[*i]);
        let own = slots.iter().position(|slot| slot.result == n);
        match own {
            Some(i) => Some(i).filter(fits),
            None => (0..slots.len()).find(fits),
        }
    }
}

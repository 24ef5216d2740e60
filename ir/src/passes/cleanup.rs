//! `cleanup`: what nothing uses goes away, and what is computed twice is computed once.
//!
//! Two nodes are the same if their ops with all attributes and their operands are; constants and literals are compared by
//! their bits, so `0.0` and `-0.0` stay apart. Parameters stay, used or not, since they are the signature. Results may
//! become the same value; each is still memory of its own for the caller. Control ops lose what nothing uses (`trim`).

use super::{Rebuild, trim};
use crate::error::Result;
use crate::graph::{Graph, NodeId, Phase, Value, Values};
use crate::ops::Op;
use smallvec::SmallVec;
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

/// New nodes with their ops.
type Known = SmallVec<[(NodeId, Op); 1]>;

/// Removes dead and repeated nodes of a differentiated graph.
///
/// # Errors
/// None for verified graphs.
pub fn cleanup(g: &Graph) -> Result<Graph> {
    let mut r = Rebuild::new(g, Phase::Differentiated, cleanup)?;
    let mut trimmed = false;
    let live = g.computed();
    let operands = g.nodes().filter(|n| live[n.0 as usize]).flat_map(|n| g.operands(n));
    let used: HashSet<Value> = operands.chain(g.computed_roots()).collect();
    let mut seen: HashMap<(u64, Values), Known> = HashMap::new();
    for n in g.nodes().filter(|n| live[n.0 as usize]) {
        if matches!(g.op(n), Op::Input(_)) {
            continue;
        }
        let read = |i: usize| used.contains(&Value { node: n, result: i as u16 });
        let (op, numbers) = trim::results(g.op(n), &read);
        let op = r.rebuilt(&op)?;
        let operands = r.operands(n)?;
        let (op, stay) = trim::operands(op, operands.len())?;
        trimmed |= stay.len() < operands.len();
        let key = (fingerprint(&op), stay.iter().map(|i| operands[*i]).collect::<Values>());
        let same = seen.entry(key.clone()).or_default();
        let new = match same.iter().find(|(_, other)| *other == op) {
            Some((m, _)) => *m,
            None => {
                r.b.set_loc(g.node(n).loc);
                let m = r.b.emit_all(op.clone(), &key.1)?;
                same.push((m, op));
                m
            }
        };
        let of = |i: usize| Value { node: new, result: numbers.get(i).copied().unwrap_or(i) as u16 };
        r.set(n, (0..g.node(n).types.len()).map(of));
    }
    // What made an operand that is gone may be dead now.
    let g = r.finish()?;
    if trimmed { cleanup(&g) } else { Ok(g) }
}

/// A hash of an op: equal ops have equal ones.
fn fingerprint(op: &Op) -> u64 {
    let mut h = DefaultHasher::new();
    op.name().hash(&mut h);
    match op {
        Op::Const(c) => c.hash(&mut h),
        Op::Literal(l) => (l.dtype, &l.shape, &l.values).hash(&mut h),
        // Attributes as text are a little coarser than equality at worst.
        op => op.structural().attrs().hash(&mut h),
    }
    h.finish()
}

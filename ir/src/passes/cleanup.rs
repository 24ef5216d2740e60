//! `cleanup`: what nothing uses goes away, and what is computed twice is computed once.
//!
//! Two nodes are the same if their ops with all attributes and their operands are; constants and literals are compared by
//! their bits, so `0.0` and `-0.0` stay apart. Parameters stay, used or not, since they are the signature. Results may
//! become the same value; each is still memory of its own for the caller.

use super::Rebuild;
use crate::error::Result;
use crate::graph::{Graph, NodeId, Phase, Values};
use crate::ops::Op;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// Removes dead and repeated nodes of a differentiated graph.
///
/// # Errors
/// None for verified graphs.
pub fn cleanup(g: &Graph) -> Result<Graph> {
    let mut r = Rebuild::new(g, Phase::Differentiated)?;
    let live = g.computed();
    let mut seen: HashMap<(u64, Values), SmallVec<[NodeId; 1]>> = HashMap::new();
    for n in g.nodes().filter(|n| live[n.0 as usize]) {
        if matches!(g.op(n), Op::Input(_)) {
            continue;
        }
        let key = (fingerprint(g.op(n)), r.operands(n)?);
        let same = seen.entry(key).or_default();
        match same.iter().find(|m| g.op(**m) == g.op(n)) {
            Some(m) => r.map[n.0 as usize] = r.map[m.0 as usize].clone(),
            None => {
                same.push(n);
                r.copy(n)?;
            }
        }
    }
    r.finish()
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

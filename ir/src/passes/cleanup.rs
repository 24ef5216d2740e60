//! `cleanup`: what nothing uses goes away, and what is computed twice is computed once.
//!
//! Two nodes are the same if their ops with all attributes and their operands are; constants and literals are compared by
//! their bits, so `0.0` and `-0.0` stay apart. Parameters stay, used or not, since they are the signature. Results may
//! become the same value; each is still memory of its own for the caller.

use super::Rebuild;
use crate::error::Result;
use crate::graph::{Graph, NodeId, Phase, Value, Values};
use crate::ops::Op;
use crate::ops::control::Scan;
use smallvec::SmallVec;
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

/// Removes dead and repeated nodes of a differentiated graph.
///
/// # Errors
/// None for verified graphs.
pub fn cleanup(g: &Graph) -> Result<Graph> {
    let mut r = Rebuild::new(g, Phase::Differentiated, cleanup)?;
    let live = g.computed();
    let operands = g.nodes().filter(|n| live[n.0 as usize]).flat_map(|n| g.operands(n));
    let used: HashSet<Value> = operands.chain(g.computed_roots()).collect();
    let mut seen: HashMap<(u64, Values), SmallVec<[(NodeId, Op); 1]>> = HashMap::new();
    for n in g.nodes().filter(|n| live[n.0 as usize]) {
        if matches!(g.op(n), Op::Input(_)) {
            continue;
        }
        let op = r.op(n)?;
        let op = if let Op::Loop(scan) = op { Op::Loop(unsaved(g, n, scan, &used)) } else { op };
        let key = (fingerprint(&op), r.operands(n)?);
        let same = seen.entry(key).or_default();
        match same.iter().find(|(_, other)| *other == op) {
            Some((m, _)) => r.map[n.0 as usize] = r.map[m.0 as usize].clone(),
            None => {
                same.push((n, op.clone()));
                r.copy_as(n, op)?;
            }
        }
    }
    r.finish()
}

/// A scan that keeps the carries of its steps for nobody does not keep them.
fn unsaved(g: &Graph, n: NodeId, scan: Scan, used: &HashSet<Value>) -> Scan {
    let save = scan.save && g.results(n).skip(scan.body.outputs.len()).any(|v| used.contains(&v));
    Scan { save, ..scan }
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

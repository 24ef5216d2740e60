//! `partition`: what a backward computation needs of the forward one is kept in memory, or computed again from what is.
//!
//! The idea: kernels are what fusion makes of the graph. Those with a node that forward results need are *early*, those
//! after the derivative began are *late*. A late kernel that reads what an early one computes from other values may compute
//! it itself. Which values are kept is a minimum cut ([`decide`]) between the parameters and what late kernels read. To keep
//! a value costs its bytes once for being read, once for being written if only late kernels need it in memory, and once
//! for being held if nothing else holds it. To compute it costs its instructions, in bytes that could have been moved in
//! their time. Products, reductions and what may fail are never done twice, nor is what a late kernel reads from memory in
//! any case (an operand of a product).
//!
//! A kernel computes its own copy of the nodes, from a `Barrier` over what is kept, so fusion puts them into that kernel
//! and brings them together with nothing else.

mod cost;
mod cut;
mod flow;

use super::Rebuild;
use super::fuse::source;
use crate::error::Result;
use crate::graph::{Graph, NodeId, Phase, Value, Values};
use crate::ops::Op;
pub use cost::{count, work};
pub use cut::{Partition, decide};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Computes again what is not worth being kept.
///
/// # Errors
/// None for verified graphs.
pub fn partition(g: &Graph) -> Result<Graph> {
    parted(g, &decide(g))
}

/// The graph as it was decided.
///
/// # Errors
/// None for verified graphs and what was decided for them.
pub fn parted(g: &Graph, decision: &Partition) -> Result<Graph> {
    let inside = g.nodes().any(|n| g.op(n).bodies().iter().any(|b| b.backward.is_some()));
    if !inside && decision.again.is_empty() {
        return Ok(g.clone());
    }
    let r = Rebuild::new(g, Phase::Differentiated, partition)?;
    let mut p = Parted { r, decision, made: HashMap::new() };
    let needed = needed(g, decision);
    for n in g.nodes() {
        // Before the kernel's own nodes, so that they come together with these and not the other way round.
        if let Some(k) = decision.first.get(&n)
            && let Some(needs) = decision.needs.get(k)
        {
            p.make(*k, n, needs)?;
        }
        match decision.kernel.get(&n) {
            _ if !needed[n.0 as usize] => {}
            Some(k) => p.late(n, *k)?,
            None => p.r.copy(n)?,
        }
    }
    p.r.finish()
}

/// The nodes that are needed still, where late kernels compute what they do.
fn needed(g: &Graph, decision: &Partition) -> Vec<bool> {
    let (mut needed, mut repeated) = (vec![false; g.len()], HashSet::new());
    let mut open: Vec<NodeId> = g.computed_roots().map(|v| v.node).collect();
    while let Some(n) = open.pop() {
        if std::mem::replace(&mut needed[n.0 as usize], true) {
            continue;
        }
        for (i, v) in g.operands(n).into_iter().enumerate() {
            if !decision.computes(g, n, i) {
                open.push(v.node);
                continue;
            }
            let mut own = vec![source(g, v).0];
            while let Some(s) = own.pop() {
                if !decision.again.contains(&s) {
                    open.push(s.node);
                } else if repeated.insert(s) {
                    own.extend(g.operands(s.node).into_iter().map(|x| source(g, x).0));
                }
            }
        }
    }
    needed
}

/// The graph in which late kernels compute some values of their own.
struct Parted<'g> {
    r: Rebuild<'g>,
    decision: &'g Partition,
    /// For each late kernel and value: its own copy of it, or of the barrier over it.
    made: HashMap<(usize, Value), Value>,
}

impl Parted<'_> {
    /// The copies that kernel `k` needs of these values, as far as what they are computed from is there before node `at`.
    fn make(&mut self, k: usize, at: NodeId, needs: &[Value]) -> Result<()> {
        let g = self.r.old;
        let (mut all, mut open) = (BTreeSet::new(), needs.to_vec());
        while let Some(v) = open.pop() {
            if self.decision.again.contains(&v) && !self.made.contains_key(&(k, v)) && all.insert(v) {
                open.extend(g.operands(v.node).into_iter().map(|x| source(g, x).0));
            }
        }
        for v in all {
            let operands = g.operands(v.node);
            let there = |x: &Value| {
                let s = source(g, *x).0;
                self.made.contains_key(&(k, s)) || (!self.decision.again.contains(&s) && s.node < at)
            };
            if !operands.iter().all(there) {
                continue;
            }
            let x = operands.into_iter().map(|x| self.own(k, x)).collect::<Result<Vec<_>>>()?;
            self.r.b.set_loc(g.node(v.node).loc);
            let new = self.r.b.emit(g.op(v.node).clone(), &x)?;
            self.made.insert((k, v), new);
        }
        Ok(())
    }

    /// A value as kernel `k` computes it itself: views of its copy, or of what is kept.
    fn own(&mut self, k: usize, v: Value) -> Result<Value> {
        let g = self.r.old;
        let (s, views) = source(g, v);
        let base = match self.made.get(&(k, s)) {
            Some(made) => *made,
            None => {
                let kept = self.r.value(s)?;
                self.r.b.set_loc(g.node(s.node).loc);
                let own = match g.op(s.node) {
                    Op::Input(_) | Op::Const(_) | Op::Literal(_) => kept,
                    _ => self.r.b.emit(Op::Barrier, &[kept, kept])?,
                };
                self.made.insert((k, s), own);
                own
            }
        };
        views.into_iter().rev().try_fold(base, |v, view| {
            self.r.b.set_loc(g.node(view).loc);
            self.r.b.emit(g.op(view).clone(), &[v])
        })
    }

    /// A node of late kernel `k`.
    fn late(&mut self, n: NodeId, k: usize) -> Result<()> {
        let g = self.r.old;
        let mut operands = Values::new();
        for (i, v) in g.operands(n).into_iter().enumerate() {
            operands.push(if self.decision.computes(g, n, i) {
                self.make(k, n, &[source(g, v).0])?;
                self.own(k, v)?
            } else {
                self.r.value(v)?
            });
        }
        let op = self.r.op(n)?;
        self.r.emit(n, op, &operands)
    }
}

//! Which check of a pure graph fails, in words.
//!
//! A kernel only records that one of its checks has failed. So that the error names the index and the extent, and the same
//! ones whatever the mode and the number of threads, what the checks depend on is then computed here once more: the first
//! check that fails, in the order of nodes, is the error. Nothing else is computed, so a bad class in a large step costs no
//! more than reading the classes.

use super::Array;
use super::run::{Values, get, step};
use crate::error::Result;
use crate::graph::{Graph, NodeId, Value};
use crate::ops::{Op, gather};
use crate::scalar::{Block, Inst, V};
use smallvec::SmallVec;

/// Whether a node checks its operands (an index, an integer divisor), so that it can fail.
pub fn may_fail(g: &Graph, n: NodeId) -> bool {
    match g.op(n) {
        Op::Gather(_) | Op::Scatter(_) => true,
        Op::Cond(_) | Op::While(_) | Op::Loop(_) | Op::Custom(_) => {
            g.op(n).bodies().into_iter().any(|body| body.nodes().any(|n| may_fail(body, n)))
        }
        Op::Map(row) => {
            let mut b = Block::new();
            let x: Vec<V> = g.operands(n).into_iter().map(|v| b.param(g.ty(v).dtype.reg())).collect();
            // Floats have nothing to check, and are most of all nodes.
            if x.iter().all(|v| b.ty(*v).is_float()) {
                return false;
            }
            row.lower(&mut b, &x, g.node(n).types[0].dtype);
            b.insts().iter().any(|(_, i)| matches!(i, Inst::Check(..)))
        }
        _ => false,
    }
}

/// The operand that the op checks against an extent, with its name and axis.
fn index(op: &Op) -> Option<(&'static str, usize)> {
    match op {
        Op::Gather(g) => Some(("gather", g.axis)),
        Op::Scatter(s) => Some((s.mode.name(), s.axis)),
        _ => None,
    }
}

/// Runs the checks of a pure graph, and what they depend on.
///
/// # Errors
/// `data`, by the first check that fails; what `input` refuses.
pub fn checks(g: &Graph, input: impl Fn(usize) -> Result<Array>) -> Result<()> {
    let mut needed = vec![false; g.len()];
    for n in g.nodes().rev() {
        let operands = g.operands(n);
        let read: SmallVec<[Value; 4]> = match (needed[n.0 as usize], index(g.op(n))) {
            (true, _) => operands.into_iter().collect(),
            (false, Some(_)) => operands.into_iter().skip(1).take(1).collect(),
            (false, None) if may_fail(g, n) => operands.into_iter().collect(),
            _ => continue,
        };
        read.into_iter().for_each(|v| needed[v.node.0 as usize] = true);
    }
    let mut values = Values::new();
    for n in g.nodes() {
        match index(g.op(n)) {
            _ if needed[n.0 as usize] => step(g, n, &mut values, &input)?,
            Some((name, axis)) => {
                let operands = g.operands(n);
                let extent = g.ty(operands[0]).shape[axis].value()?;
                gather::in_range(name, axis, extent, &get(&values, operands[1])?).map_err(|e| e.at(g.node(n).loc))?;
            }
            None if may_fail(g, n) => step(g, n, &mut values, &input)?,
            None => {}
        }
    }
    Ok(())
}

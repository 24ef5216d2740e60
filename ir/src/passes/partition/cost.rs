//! What it costs to keep a value and to compute one, in bytes.

use crate::dim::{Dim, hint};
use crate::graph::{Graph, NodeId, Value};
use crate::ops::{Op, strided};
use crate::scalar::{Block, Inst, V};

/// How many instructions on an element take as long as moving it to or from memory: 3 to 5 were measured with vectors of 128
/// bits on two cores of a server, `f32` and `f64`. Chains of less than eight are hidden behind the memory entirely, which is
/// left out of account.
const INSTRUCTIONS_PER_MOVE: f64 = 4.0;

/// What stands for a size that is not known and of which there is no example.
const SOME: f64 = 64.0;

/// The number of elements, for the sizes at hand.
pub fn count(shape: &[Dim]) -> f64 {
    shape.iter().map(|d| hint(*d).map_or(SOME, |n| n as f64)).product()
}

/// The bytes of a value, for the sizes at hand.
pub fn bytes(g: &Graph, v: Value) -> f64 {
    let ty = g.ty(v);
    count(&ty.shape) * ty.dtype.size() as f64
}

/// The cost of one element of a point op.
pub fn work(g: &Graph, n: NodeId) -> f64 {
    let mut b = Block::new();
    let x = g.operands(n);
    let args: Vec<V> = x.iter().map(|v| b.param(g.ty(*v).dtype.reg())).collect();
    let out = g.node(n).types[0].dtype;
    match g.op(n) {
        Op::Map(row) => {
            row.lower(&mut b, &args, out);
        }
        Op::Cast(to) => {
            let v = b.convert(to.reg(), args[0]);
            b.round_to(*to, v);
        }
        Op::Bitcast(to) => {
            strided::bitcast(&mut b, g.ty(x[0]).dtype, to.0, args[0]);
        }
        _ => {}
    }
    // A wider element takes as much longer to move as to compute: fewer fit into a register.
    let size = g.ty(n.into()).dtype.reg().bits().max(8) as f64 / 8.0;
    // Constants are set up outside of loops.
    let all = b.insts().iter().filter(|(_, i)| !matches!(i, Inst::Param(_) | Inst::Const(..))).count();
    all as f64 * size / INSTRUCTIONS_PER_MOVE
}

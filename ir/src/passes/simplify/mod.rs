//! `simplify`: local rewrites that keep every bit.
//!
//! The idea: nodes are rebuilt in order, and before a node is appended the rules for its op look at its (already
//! simplified) operands. A rule either gives a value that exists, or appends ops that cost no more than what they
//! replace, through the same door; so one pass is enough and it ends. Each rule stands under its equation. Two NaNs count
//! as the same. Nothing here may reassociate, contract or change a rounding: `x + 0.0` is not `x` (for `-0.0`), and
//! `x / c` is not `x * (1 / c)`.

mod arith;
mod consts;
mod picks;
mod updates;
mod views;

use super::Rebuild;
use crate::builder::Builder;
use crate::dim::{Dim, Dims};
use crate::dtype::Scalar;
use crate::error::{Result, err};
use crate::graph::{Graph, Phase, Value};
use crate::ops::Op;
use crate::ops::elementwise::Row;
use crate::types::Type;
use std::collections::HashMap;

/// Simplifies a differentiated graph.
///
/// # Errors
/// None for verified graphs.
pub fn simplify(g: &Graph) -> Result<Graph> {
    if let Some(inlined) = without_custom(g)? {
        return simplify(&inlined);
    }
    let mut r = Rebuild::new(g, Phase::Differentiated, simplify)?;
    let kept = kept(g);
    for (v, s) in kept.iter().filter(|(v, _)| matches!(g.op(v.node), Op::Input(_))) {
        let s = r.value(*s)?;
        r.set(v.node, [s]);
    }
    let live = g.computed();
    for n in g.nodes().filter(|n| live[n.0 as usize]) {
        if g.node(n).types.len() != 1 {
            r.copy(n)?;
            for v in g.results(n) {
                if let Some(s) = kept.get(&v) {
                    let s = r.value(*s)?;
                    r.map[n.0 as usize][v.result as usize] = s;
                }
            }
            continue;
        }
        if matches!(g.op(n), Op::Input(_)) {
            continue;
        }
        r.b.set_loc(g.node(n).loc);
        let operands = r.operands(n)?;
        let op = r.op(n)?;
        let v = match kept.get(&n.into()) {
            Some(s) => r.value(*s)?,
            None => Rules { b: &r.b }.make(op, &operands)?,
        };
        r.set(n, [v]);
    }
    r.finish()
}

/// The values that are said to be at hand in a parameter, each with it. Now that derivatives are worked out nothing else
/// tells the two apart, so the parameter takes the place of what would compute it.
fn kept(g: &Graph) -> HashMap<Value, Value> {
    let mut kept = HashMap::new();
    for n in g.nodes().filter(|n| matches!(g.op(*n), Op::Kept)) {
        let x = g.operands(n);
        if matches!(g.op(x[1].node), Op::Input(_)) {
            // The first of several is as good as the others.
            kept.entry(x[0]).or_insert(x[1]);
        }
    }
    kept
}

/// The graph with the bodies of functions that had a derivative of their own in their place; `None` if there are none.
fn without_custom(g: &Graph) -> Result<Option<Graph>> {
    if !g.nodes().any(|n| matches!(g.op(n), Op::Custom(_))) {
        return Ok(None);
    }
    let mut r = Rebuild::new(g, Phase::Differentiated, |g| Ok(g.clone()))?;
    for n in g.nodes() {
        match g.op(n) {
            Op::Custom(c) => {
                let values = r.b.inline(&c.forward, &r.operands(n)?, |op| op)?;
                r.set(n, values);
            }
            _ => r.copy(n)?,
        }
    }
    r.finish().map(Some)
}

/// What a rule gives: a value equal to the op's, if it applies.
type Rewrite = Result<Option<Value>>;

/// The rules, over the graph that is being built.
#[derive(Clone, Copy)]
struct Rules<'b> {
    b: &'b Builder,
}

impl<'b> Rules<'b> {
    /// The value of an op on these operands: by the first rule that applies, else by appending it.
    fn make(self, op: Op, x: &[Value]) -> Result<Value> {
        if let Some(v) = self.rewrite(&op, x)? {
            return Ok(v);
        }
        let n = self.b.emit_all(op, x)?;
        Ok(self.b.results(n)[0])
    }

    fn rewrite(self, op: &Op, x: &[Value]) -> Rewrite {
        if let Some(v) = consts::nothing(self, op, x)? {
            return Ok(Some(v));
        }
        match op {
            Op::Map(row) => {
                if let Some(v) = arith::identities(self, row.name(), x)? {
                    return Ok(Some(v));
                }
                consts::fold(self, op, x)
            }
            Op::Cast(d) => {
                if let Some(v) = arith::cast(self, *d, x[0])? {
                    return Ok(Some(v));
                }
                consts::fold(self, op, x)
            }
            // In a pure graph nothing shares memory, and after autodiff nothing is a gradient asked of.
            Op::Copy | Op::Detach => Ok(Some(x[0])),
            Op::Kept => Ok(Some(x[1])),
            Op::Reshape(_) | Op::Permute(_) | Op::Expand(_) | Op::Slice(_) | Op::Diagonal(_) => {
                if self.number(x[0]).is_some() {
                    return consts::view(self, op, x);
                }
                views::view(self, op, x[0])
            }
            Op::SliceUpdate(s) => updates::slice_update(self, &s.0, x[0], x[1]),
            Op::Reduce(r) => match views::reduce(self, r, x[0])? {
                None => picks::sum(self, r, x[0]),
                v => Ok(v),
            },
            Op::Gather(g) => picks::gather(self, *g, x[0], x[1]),
            Op::Scatter(s) => picks::scatter(self, *s, x),
            Op::Literal(l) => consts::literal(self, l),
            Op::Input(_)
            | Op::Strided(_)
            | Op::Unfold(_)
            | Op::ViewDtype(_)
            | Op::Bitcast(_)
            | Op::Const(_)
            | Op::Iota(_)
            | Op::Size(_)
            | Op::Dot
            | Op::Scan(_)
            | Op::Merge(_)
            | Op::Cond(_)
            | Op::While(_)
            | Op::Loop(_)
            | Op::Barrier
            | Op::Custom(_)
            | Op::Vmap(_)
            | Op::Write
            | Op::Grad(_)
            | Op::Jvp(_) => Ok(None),
        }
    }

    fn op(self, v: Value) -> Op {
        self.b.with_graph(|g| g.op(v.node).clone())
    }

    fn operand(self, v: Value, i: usize) -> Value {
        self.b.with_graph(|g| g.operands(v.node)[i])
    }

    fn ty(self, v: Value) -> Type {
        self.b.ty(v)
    }

    fn shape(self, v: Value) -> Dims {
        self.b.with_graph(|g| g.ty(v).shape.clone())
    }

    /// The op that made the value, if it has one operand, with that operand.
    fn unary(self, v: Value) -> Option<(Op, Value)> {
        self.b.with_graph(|g| match g.operands(v.node).as_slice() {
            [x] => Some((g.op(v.node).clone(), *x)),
            _ => None,
        })
    }

    /// The one number that all elements are, if it is known: `c` or `expand(c)`.
    fn number(self, v: Value) -> Option<Scalar> {
        self.b.with_graph(|g| match g.op(v.node) {
            Op::Const(c) => Some(*c),
            Op::Expand(_) => match g.op(g.operands(v.node)[0].node) {
                Op::Const(c) => Some(*c),
                _ => None,
            },
            _ => None,
        })
    }

    /// A tensor of one number.
    fn full(self, c: Scalar, shape: &[Dim]) -> Rewrite {
        self.b.full(c, shape).value().map(Some)
    }

    /// An elementwise function of operands of one shape.
    fn map(self, name: &str, x: &[Value]) -> Result<Value> {
        let row = Row::find(name).ok_or_else(|| err::internal(format!("no elementwise function `{name}`")))?;
        self.make(Op::Map(row), x)
    }

    fn reshape(self, v: Value, shape: &[Dim]) -> Result<Value> {
        self.make(Op::Reshape(crate::ops::view::Reshape(shape.into())), &[v])
    }
}

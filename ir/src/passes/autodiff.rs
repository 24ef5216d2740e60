//! `autodiff`: every `grad` of a pure graph becomes the ops that compute it, by reverse accumulation, and every `jvp`, by
//! forward accumulation ([`forward`]); the body of every `vmap` is appended for all elements at once.
//!
//! The idea: nodes are copied in order, so when a `grad` comes up everything it depends on, inner `grad`s included, is
//! plain ops already. Its nodes are walked once from `y` back to the earliest `x`. Each node's derivative rule turns the
//! cotangent of its result into cotangents of its operands, and the cotangents of a value that is used several times are
//! added in reverse order of use. Only nodes on a way from some `x` to `y` take part. New nodes have the place in the
//! user's text of the node they come from.

pub mod forward;

use super::Rebuild;
use crate::Ex;
use crate::builder::Builder;
use crate::dtype::Scalar;
use crate::error::{Loc, Result, err};
use crate::graph::{Graph, NodeId, Phase, Value, Values};
use crate::ops::composite::widen;
use crate::ops::control::Vmap;
use crate::ops::control::batch::batch;
use crate::ops::effect::Grad;
use crate::ops::{Lanes, Op};
use crate::types::Type;
use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};

/// Removes every `grad`, `jvp` and `vmap`.
///
/// # Errors
/// `grad` if `y` does not use an `x` and unused ones are not allowed.
pub fn autodiff(g: &Graph) -> Result<Graph> {
    // Gradients that are differentiated by must be values of their own, as they were when they were results of a node.
    let mut wanted = HashSet::new();
    for n in g.nodes() {
        match g.op(n) {
            Op::Grad(grad) => wanted.extend(g.operands(n).into_iter().skip(grad.lead())),
            Op::Jvp(jvp) => wanted.extend(jvp.parts(&g.operands(n)).1),
            _ => {}
        }
    }
    let mut r = Rebuild::new(g, Phase::Differentiated, autodiff)?;
    let mut begun = None;
    let some = g.nodes().any(|n| matches!(g.op(n), Op::Grad(_)));
    for n in g.nodes() {
        let loc = g.node(n).loc;
        let derivatives = match g.op(n) {
            Op::Grad(grad) => {
                let operands = r.operands(n)?;
                // Gradients of several values follow one another; one that needs others makes all before it forward.
                if begun.is_none_or(|first| operands[0].node >= first) {
                    begun = Some(NodeId(r.b.with_graph(|g| g.len()) as u32));
                }
                backward(&r.b, *grad, &operands, loc)?
            }
            Op::Jvp(jvp) => forward::forward(&r.b, *jvp, &r.operands(n)?, loc)?,
            Op::Vmap(_) => {
                let op = r.op(n)?;
                vmap(&r.b, &op, &r.operands(n)?, loc)?
            }
            _ => {
                let op = r.op(n)?;
                // `cleanup` takes back what no gradient has asked for.
                r.copy_as(n, if some { op.saving() } else { op })?;
                continue;
            }
        };
        r.b.set_loc(loc);
        let own = |(old, new): (Value, Value)| if wanted.contains(&old) { r.b.emit(Op::Copy, &[new]) } else { Ok(new) };
        let values = g.results(n).zip(derivatives).map(own).collect::<Result<Values>>()?;
        r.set(n, values);
    }
    let mut g = r.finish()?;
    g.backward = begun;
    Ok(g)
}

/// The results of a `vmap` whose body is past derivatives: its nodes for all elements at once.
fn vmap(b: &Builder, op: &Op, operands: &[Value], loc: Loc) -> Result<Values> {
    let Op::Vmap(vmap) = op else { return Ok(Values::new()) };
    let types: Vec<Type> = operands.iter().map(|v| b.ty(*v)).collect();
    let size = Vmap::size(&types.iter().take(vmap.xs).collect::<Vec<_>>())?;
    let args: Vec<_> = operands.iter().enumerate().map(|(i, v)| (b.ex(*v), i < vmap.xs)).collect();
    let results = batch(b, &vmap.body, &args, size, None)?;
    b.set_loc(loc);
    let lanes = Lanes { on: &[], size, mask: None };
    results.into_iter().map(|(e, on)| lanes.one(e, on).value()).collect()
}

/// The gradients that a `grad` on these operands stands for.
fn backward(b: &Builder, grad: Grad, operands: &[Value], loc: Loc) -> Result<Values> {
    let (y, wrt) = (operands[0], &operands[grad.lead()..]);
    b.set_loc(loc);
    let seed = if grad.seeded {
        b.ex(operands[1])
    } else {
        let ty = b.ty(y);
        b.full(Scalar::from_f64(ty.dtype, 1.0), &ty.shape)
    };
    let before = b.set_strong_zero(grad.strong_zero);
    let all = pull(b, &[(y, seed)], wrt);
    b.set_strong_zero(before);
    let all = all?;
    b.set_loc(loc);
    let mut gradients = Values::new();
    for (x, d) in wrt.iter().zip(all) {
        gradients.push(match d {
            Some(d) => d.value()?,
            None if grad.allow_unused => b.zeros(&b.ty(*x)).value()?,
            None => return Err(unused(b, *x, loc)),
        });
    }
    Ok(gradients)
}

/// The derivative rule of a node. On half floats a rule that computes does so in `f32`, and each cotangent is rounded once.
fn derivative<'b>(op: &Op, x: &[Ex<'b>], y: &[Ex<'b>], dy: &[Option<Ex<'b>>], needs: &[bool]) -> Vec<Option<Ex<'b>>> {
    let computes = matches!(op, Op::Map(_) | Op::Reduce(_) | Op::Gather(_) | Op::Scan(_));
    if !computes || !x.iter().any(|e| e.dtype().is_half()) {
        return op.structural().vjp_all(x, y, dy, needs);
    }
    let wide = |all: &[Ex<'b>]| all.iter().map(|e| widen(*e)).collect::<SmallVec<[Ex<'b>; 3]>>();
    let dy: SmallVec<[Option<Ex<'b>>; 3]> = dy.iter().map(|d| d.map(widen)).collect();
    let dx = op.structural().vjp_all(&wide(x), &wide(y), &dy, needs);
    dx.into_iter().zip(x).map(|(d, x)| d.map(|d| if x.dtype().is_half() { d.cast(x.dtype()) } else { d })).collect()
}

/// The cotangents of `wrt`, given cotangents of other values: the sums over all ways from one to another. `None` where
/// there is no way.
///
/// # Errors
/// `grad` if a derivative on a way is not known.
pub(crate) fn pull<'b>(b: &'b Builder, seeds: &[(Value, Ex<'b>)], wrt: &[Value]) -> Result<Vec<Option<Ex<'b>>>> {
    let (loc, strong_zero) = (b.loc(), b.strong_zero());
    let mut cotangents = Sums::of(seeds);
    let ys: Vec<Value> = seeds.iter().map(|(y, _)| *y).collect();
    let path = Path::new(b, &ys, wrt);
    for n in path.nodes() {
        let node = b.node(n);
        let results = b.results(n);
        let dy: SmallVec<[Option<Ex<'_>>; 3]> = results.iter().map(|v| cotangents.get(*v)).collect();
        if dy.iter().all(Option::is_none) {
            continue;
        }
        b.set_loc(if node.loc == Loc::Unknown { loc } else { node.loc });
        let operands = b.with_graph(|g| g.operands(n));
        let x: SmallVec<[Ex<'_>; 3]> = operands.iter().map(|v| b.ex(*v)).collect();
        let y: SmallVec<[Ex<'_>; 3]> = results.iter().map(|v| b.ex(*v)).collect();
        let needs: SmallVec<[bool; 3]> = operands.iter().map(|v| path.leads_to(*v)).collect();
        let mut dx = derivative(&node.op, &x, &y, &dy, &needs);
        if let (true, Op::Map(_), [Some(dy)]) = (strong_zero, &node.op, dy.as_slice()) {
            let zero = b.zeros(&dy.ty());
            let masked = dy.map("eq", &[zero]);
            dx.iter_mut().flatten().for_each(|d| *d = masked.map("where", &[b.zeros(&d.ty()), *d]));
        }
        b.check()?;
        for (i, (v, d)) in operands.iter().zip(dx).enumerate() {
            let Some(d) = d.filter(|_| needs[i]) else { continue };
            cotangents.derived(b, *v, d, || format!("`{}`: the derivative of operand {i}", node.op.name()), loc)?;
        }
        b.check()?;
    }
    Ok(wrt.iter().map(|x| cotangents.get(*x)).collect())
}

/// Cotangents or tangents of values, each the sum of what comes by several ways.
struct Sums<'b>(HashMap<Value, Ex<'b>>);

impl<'b> Sums<'b> {
    fn of(seeds: &[(Value, Ex<'b>)]) -> Sums<'b> {
        let mut sums = Sums(HashMap::new());
        seeds.iter().for_each(|(v, d)| sums.add(*v, *d));
        sums
    }

    fn get(&self, v: Value) -> Option<Ex<'b>> {
        self.0.get(&v).copied()
    }

    fn add(&mut self, v: Value, d: Ex<'b>) {
        let sum = self.get(v).map_or(d, |before| before + d);
        self.0.insert(v, sum);
    }

    /// Adds what a rule gives for `v`; values that are no floats have none.
    ///
    /// # Errors
    /// `grad` if it is of another type than `v`; `what` says what it is.
    fn derived(&mut self, b: &Builder, v: Value, d: Ex<'b>, what: impl Fn() -> String, loc: Loc) -> Result<()> {
        let ty = b.ty(v);
        if !ty.dtype.is_float() {
            return Ok(());
        }
        if d.dims() != ty.shape || d.dtype() != ty.dtype {
            return Err(err::grad(format!("{}, a {ty}, is a {}", what(), d.ty())).at(loc));
        }
        self.add(v, d);
        Ok(())
    }
}

fn unused(b: &Builder, x: Value, loc: Loc) -> crate::Error {
    let (what, at) = b.with_graph(|g| match g.op(x.node) {
        Op::Input(i) => (g.params.get(*i as usize).map(|p| format!("`{}`", p.name)), g.loc(x)),
        _ => (None, g.loc(x)),
    });
    let what = what.unwrap_or_else(|| "a value to differentiate by".into());
    let e = err::grad(format!("`grad`: {what} appears to not have been used in the graph of `y`"))
        .at(loc)
        .help("with `allow_unused=true` its gradient is zeros");
    if at == Loc::Unknown { e } else { e.note(at, "it is made here") }
}

/// The nodes between the earliest `x` and the last `y`, and which of them lie on a way from some `x` to some `y`.
struct Path {
    first: u32,
    on: Vec<bool>,
    wrt: HashSet<Value>,
}

impl Path {
    fn new(b: &Builder, ys: &[Value], wrt: &[Value]) -> Path {
        let last = ys.iter().map(|v| v.node.0).max();
        let first = wrt.iter().map(|v| v.node.0).min();
        let wrt: HashSet<Value> = wrt.iter().copied().collect();
        let (Some(first), Some(last)) = (first, last) else { return Path { first: 0, on: Vec::new(), wrt } };
        if first > last {
            return Path { first, on: Vec::new(), wrt };
        }
        let at = |v: Value| v.node.0.checked_sub(first).map(|i| i as usize);
        let mut on = vec![false; (last - first) as usize + 1];
        ys.iter().filter_map(|v| at(*v)).for_each(|i| on[i] = true);
        b.with_graph(|g| {
            // Backward: what some `y` depends on. Then forward: what of that depends on some `x`.
            for i in (0..on.len()).rev() {
                if on[i] {
                    g.operands(NodeId(first + i as u32)).into_iter().filter_map(at).for_each(|i| on[i] = true);
                }
            }
            // A way ends where nothing flows: at integers, and at what is cut off.
            let flows = |n: NodeId| {
                let node = g.node(n);
                !matches!(node.op, Op::Detach) && node.types.iter().any(|t| t.dtype.is_float())
            };
            for i in 0..on.len() {
                let n = NodeId(first + i as u32);
                let from = |v: &Value| wrt.contains(v) || at(*v).is_some_and(|i| on[i]);
                on[i] = on[i] && flows(n) && g.operands(n).iter().any(from);
            }
        });
        Path { first, on, wrt }
    }

    /// The nodes on a way, last first.
    fn nodes(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        (0..self.on.len()).rev().filter(|i| self.on[*i]).map(|i| NodeId(self.first + i as u32))
    }

    /// Whether a cotangent of this value is of use.
    fn leads_to(&self, v: Value) -> bool {
        let on = v.node.0.checked_sub(self.first).and_then(|i| self.on.get(i as usize)).copied();
        on.unwrap_or(false) || self.wrt.contains(&v)
    }
}

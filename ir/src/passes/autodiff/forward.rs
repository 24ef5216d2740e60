//! Forward accumulation: tangents of values, given those of others.
//!
//! The idea: the nodes between are walked once, in order, and each one's rule ([`Structural::jvp_all`]) turns the tangents
//! of its operands into those of its results. Elementwise rows and linear ops have the rule at hand, and control flow
//! carries tangents along in its own bodies. What has none is transposed: the cotangent of the operands is linear in that
//! of the results, u ↦ Jᵀu, so the derivative of <Jᵀu, t> with respect to u is Jt. That takes no new formula, whatever
//! the op, and u itself is in nothing of what is left.
//!
//! [`Structural::jvp_all`]: crate::ops::Structural::jvp_all

use super::{Path, Sums, derivative, pull};
use crate::Ex;
use crate::builder::Builder;
use crate::error::{Loc, Result};
use crate::graph::{Value, Values};
use crate::ops::Op;
use crate::ops::effect::Jvp;
use smallvec::SmallVec;

/// The tangents that a `jvp` on these operands stands for.
pub(super) fn forward(b: &Builder, jvp: Jvp, operands: &[Value], loc: Loc) -> Result<Values> {
    let (y, x, t) = jvp.parts(operands);
    b.set_loc(loc);
    let seeds: Vec<(Value, Ex<'_>)> = x.iter().zip(t).map(|(x, t)| (*x, b.ex(*t))).collect();
    let tangents = push(b, &seeds, y)?;
    b.set_loc(loc);
    tangents.into_iter().zip(y).map(|(t, y)| t.unwrap_or_else(|| b.zeros(&b.ty(*y))).value()).collect()
}

/// The tangents of `of`, given tangents of other values: the sums over all ways from one to another. `None` where there is
/// no way.
///
/// # Errors
/// `grad` if a derivative on a way is not known.
pub(crate) fn push<'b>(b: &'b Builder, seeds: &[(Value, Ex<'b>)], of: &[Value]) -> Result<Vec<Option<Ex<'b>>>> {
    let loc = b.loc();
    let mut tangents = Sums::of(seeds);
    let wrt: Vec<Value> = seeds.iter().map(|(x, _)| *x).collect();
    let path = Path::new(b, of, &wrt);
    let nodes: Vec<_> = path.nodes().collect();
    for n in nodes.into_iter().rev() {
        let node = b.node(n);
        let (operands, results) = (b.with_graph(|g| g.operands(n)), b.results(n));
        let t: SmallVec<[Option<Ex<'b>>; 3]> = operands.iter().map(|v| tangents.get(*v)).collect();
        if t.iter().all(Option::is_none) {
            continue;
        }
        b.set_loc(if node.loc == Loc::Unknown { loc } else { node.loc });
        let x: SmallVec<[Ex<'b>; 3]> = operands.iter().map(|v| b.ex(*v)).collect();
        let y: SmallVec<[Ex<'b>; 3]> = results.iter().map(|v| b.ex(*v)).collect();
        let ty = tangent(&node.op, &x, &y, &t)?;
        b.check()?;
        for (v, t) in results.iter().zip(ty) {
            let Some(t) = t else { continue };
            tangents.derived(b, *v, t, || format!("`{}`: the tangent of the result", node.op.name()), loc)?;
        }
        b.check()?;
    }
    Ok(of.iter().map(|y| tangents.get(*y)).collect())
}

/// The rule of a node.
fn tangent<'b>(op: &Op, x: &[Ex<'b>], y: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Result<Vec<Option<Ex<'b>>>> {
    match op.structural().jvp_all(x, y, t) {
        Some(own) => Ok(own),
        None => transposed(op, x, y, t),
    }
}

/// The derivative along tangents by transposing the one in reverse twice.
///
/// # Errors
/// `grad` if there is none in reverse.
pub fn transposed<'b>(op: &Op, x: &[Ex<'b>], y: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Result<Vec<Option<Ex<'b>>>> {
    let b = y[0].builder();
    let needs: SmallVec<[bool; 3]> = t.iter().map(Option::is_some).collect();
    // A copy, since the cast of a constant is another constant, which is no way to this one.
    let u: Vec<Option<Ex<'b>>> = y.iter().map(|y| y.dtype().is_float().then(|| y.zeros().copy())).collect();
    let dx = derivative(op, x, y, &u, &needs);
    b.check()?;
    let mut seeds = Vec::new();
    for (d, t) in dx.into_iter().zip(t) {
        if let (Some(d), Some(t)) = (d, t) {
            seeds.push((d.value()?, *t));
        }
    }
    let wrt = u.iter().flatten().map(|u| u.value()).collect::<Result<Vec<_>>>()?;
    let mut tangents = pull(b, &seeds, &wrt)?.into_iter();
    Ok(u.into_iter().map(|u| u.and_then(|_| tangents.next().flatten())).collect())
}

//! `Op::Cond`: one of two bodies, by a bool of one element. The other one does not run.
//!
//! The derivative is a `cond` on the same predicate whose branches are the derivatives of the branches. They compute
//! their branch again: what its derivative needs of it has other types in each branch, so it is not kept.

use super::body::Draft;
use super::{Body, batch, decides, forward, is_true, run, same, takes, types_text};
use crate::builder::Ex;
use crate::error::{Result, err};
use crate::graph::{Value, Values};
use crate::interp::Array;
use crate::ops::{Lanes, Op, Structural};
use crate::passes::autodiff::pull;
use crate::types::Type;
use smallvec::SmallVec;

/// Operands: the predicate, then the operands of the branches. Results: those of the branch that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Cond {
    /// What runs if the predicate is true, and if it is false.
    pub branches: [Body; 2],
}

impl Structural for Cond {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        decides("cond", "the predicate", x[0])?;
        self.branches.iter().try_for_each(|f| takes("cond", f, &x[1..]))?;
        let [f, g] = &self.branches;
        let (a, b) = (f.result_types(), g.result_types());
        if same(&a, &b) {
            return Ok(a.into());
        }
        Err(err::ty(format!(
            "`cond`: `{}` gives {}, `{}` gives {}; both branches give the same types",
            f.name,
            types_text(&a),
            g.name,
            types_text(&b)
        )))
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        self.eval_all(x)?.into_iter().next().ok_or_else(|| err::internal("a `cond` without a result"))
    }

    fn eval_all(&self, x: &[Array]) -> Result<Vec<Array>> {
        run(&self.branches[!is_true(&x[0]) as usize], &x[1..])
    }

    fn jvp_all<'b>(&self, x: &[Ex<'b>], y: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        Some(forward::cond(self, x, y, t))
    }

    fn vjp<'b>(&self, x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        self.vjp_all(x, &[y], &[Some(dy)], &vec![true; x.len()])
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        batch::made(x, batch::cond(self, x, lanes))
    }

    fn vjp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], dy: &[Option<Ex<'b>>], needs: &[bool]) -> Vec<Option<Ex<'b>>> {
        let mut out = vec![None; x.len()];
        let wanted: Vec<usize> = (1..x.len()).filter(|i| needs[*i] && x[*i].dtype().is_float()).collect();
        let b = x[0].builder();
        let made = || -> Result<Values> {
            let branch = |f: &Body| derivative(f, dy, &wanted, b.strong_zero());
            let branches = [branch(&self.branches[0])?, branch(&self.branches[1])?];
            let operands = x.iter().chain(dy.iter().flatten()).map(|e| e.value()).collect::<Result<Vec<_>>>()?;
            let node = b.emit_all(Op::Cond(Cond { branches }), &operands)?;
            Ok(b.results(node))
        };
        match made() {
            Ok(values) => wanted.iter().zip(values).for_each(|(i, v)| out[*i] = Some(b.ex(v))),
            Err(e) => b.fail(e),
        }
        out
    }
}

/// The body that takes the operands and the cotangents that there are, and gives the gradients of the wanted operands
/// (counted with the predicate).
fn derivative(f: &Body, dy: &[Option<Ex<'_>>], wanted: &[usize], strong_zero: bool) -> Result<Body> {
    let draft = Draft::of(f, "vjp");
    draft.b.set_strong_zero(strong_zero);
    let x = draft.params("x", &f.param_types());
    let types: Vec<Type> = dy.iter().flatten().map(|d| d.ty()).collect();
    let seeds = draft.params("dy", &types);
    let y = draft.b.inline(f, &x, Op::saving)?;
    let seeded = dy.iter().zip(y).filter(|(d, _)| d.is_some()).map(|(_, y)| y);
    let seeds: Vec<(Value, Ex<'_>)> = seeded.zip(seeds.into_iter().map(|d| draft.b.ex(d))).collect();
    let wrt: Vec<Value> = wanted.iter().map(|i| x[i - 1]).collect();
    let dx = pull(&draft.b, &seeds, &wrt)?;
    let dx = dx.into_iter().zip(&wrt).map(|(d, x)| draft.or_zeros(d, &draft.b.ty(*x)).value());
    let dx = dx.collect::<Result<Vec<_>>>()?;
    draft.finish(dx)
}

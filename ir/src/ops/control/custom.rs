//! `Op::Custom`: a body with a derivative of its own: one that the user gives (`custom_vjp`), or one that computes the body
//! again in place of keeping what it computed (`checkpoint`).
//!
//! The op stands until all derivatives have been worked out; then `simplify` puts the body in its place. In between it means
//! what its body means. The derivative is plain ops, so it has derivatives in turn; forward, the rule in reverse is
//! transposed. What is computed again starts from operands behind a [`Barrier`](crate::ops::barrier::Barrier), which comes
//! after the cotangents: so it is not merged with the first time, and nothing of the first time is kept for it.

use super::batch::batch;
use super::body::Draft;
use super::{Body, or_failed, run, takes};
use crate::builder::Ex;
use crate::error::{Result, err};
use crate::graph::Value;
use crate::interp::Array;
use crate::ops::barrier::after;
use crate::ops::{Lanes, Op, Structural};
use crate::passes::autodiff::forward::push;
use crate::passes::autodiff::pull;
use crate::types::Type;
use smallvec::SmallVec;

/// Operands: those that have a derivative, then constants. Results: those of the body.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    /// What it computes, of all operands.
    pub forward: Body,
    /// Its derivative: takes the first operands, the results, a cotangent for each result of floats, and the constants, and
    /// gives a cotangent for each of the first operands that is of floats. Without it the body's own derivative is taken, and
    /// the body computed again.
    pub backward: Option<Body>,
    /// The number of operands that have a derivative by `backward`.
    pub args: usize,
}

impl Custom {
    /// The name in text.
    pub fn name(&self) -> &'static str {
        if self.backward.is_some() { "custom_vjp" } else { "checkpoint" }
    }

    /// The types that `backward` takes, given those of the operands and results.
    fn backward_types<'a>(&self, x: &[&'a Type], y: &'a [Type]) -> Vec<&'a Type> {
        let (args, consts) = x.split_at(self.args.min(x.len()));
        let dy = y.iter().filter(|t| t.dtype.is_float());
        args.iter().copied().chain(y).chain(dy).chain(consts.iter().copied()).collect()
    }

    /// The cotangents by the rule that was given.
    fn given<'b>(
        &self,
        rule: &Body,
        x: &[Ex<'b>],
        y: &[Ex<'b>],
        dy: &[Option<Ex<'b>>],
        needs: &[bool],
    ) -> Result<Vec<Option<Ex<'b>>>> {
        let b = x[0].builder();
        let float = |i: &usize| x[*i].dtype().is_float();
        if let Some(i) = (self.args..x.len()).find(|i| needs[*i] && float(i)) {
            let e = format!("`custom_vjp`: a gradient with respect to a {} that the function captures", x[i].ty());
            return Err(
                err::grad(e).help("hand it to the function as an argument; `backward` says only what those have")
            );
        }
        let cotangents =
            y.iter().zip(dy).filter(|(y, _)| y.dtype().is_float()).map(|(y, d)| d.unwrap_or_else(|| y.zeros()));
        let args: Vec<Ex<'b>> =
            x[..self.args].iter().chain(y).copied().chain(cotangents).chain(x[self.args..].iter().copied()).collect();
        let args = args.into_iter().map(Ex::value).collect::<Result<Vec<_>>>()?;
        let dx = b.inline(rule, &args, Op::saving)?;
        let mut out = vec![None; x.len()];
        (0..self.args).filter(float).zip(dx).for_each(|(i, d)| out[i] = Some(b.ex(d)));
        Ok(out)
    }

    /// The cotangents by the body's own derivative, of a body computed again.
    fn again<'b>(
        &self,
        x: &[Ex<'b>],
        y: &[Ex<'b>],
        dy: &[Option<Ex<'b>>],
        needs: &[bool],
    ) -> Result<Vec<Option<Ex<'b>>>> {
        let b = x[0].builder();
        let before: Vec<Ex<'b>> = dy.iter().flatten().chain(y).copied().collect();
        let own = x.iter().map(|x| after(*x, before.iter().copied()).value()).collect::<Result<Vec<_>>>()?;
        let results = b.inline(&self.forward, &own, Op::saving)?;
        let seeds: Vec<(Value, Ex<'b>)> = results.into_iter().zip(dy).filter_map(|(y, d)| Some((y, (*d)?))).collect();
        let wrt: Vec<usize> = (0..x.len()).filter(|i| needs[*i] && x[*i].dtype().is_float()).collect();
        let dx = pull(b, &seeds, &wrt.iter().map(|i| own[*i]).collect::<Vec<_>>())?;
        let mut out = vec![None; x.len()];
        wrt.into_iter().zip(dx).for_each(|(i, d)| out[i] = d);
        Ok(out)
    }

    /// The tangents of the results of a checkpoint: those of its body, which keep nothing.
    fn along<'b>(&self, x: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Result<Vec<Option<Ex<'b>>>> {
        let b = x[0].builder();
        let args = x.iter().map(|x| x.value()).collect::<Result<Vec<_>>>()?;
        // Variables of its own, so that ways around the body do not count.
        let args = args.iter().map(|v| b.emit(Op::Copy, &[*v])).collect::<Result<Vec<_>>>()?;
        let y = b.inline(&self.forward, &args, Op::saving)?;
        let seeds: Vec<(Value, Ex<'b>)> = args.iter().zip(t).filter_map(|(v, t)| Some((*v, (*t)?))).collect();
        push(b, &seeds, &y)
    }

    fn batched<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Result<Vec<Ex<'b>>> {
        let b = x[0].builder();
        let all = vec![true; self.forward.outputs.len()];
        let forward = super::batch::body(&self.forward, lanes.on, &all, lanes)?;
        let backward = self.backward.as_ref().map(|f| self.batched_rule(f, lanes)).transpose()?;
        let operands: Vec<Ex<'b>> = x.iter().copied().chain(lanes.mask).collect();
        super::batch::emit(b, Op::Custom(Custom { forward, backward, args: self.args }), &operands)
    }

    /// The rule for all lanes: an operand that is the same for all of them gets the sum of their cotangents.
    fn batched_rule(&self, rule: &Body, lanes: &Lanes<'_, '_>) -> Result<Body> {
        let draft = Draft::of(rule, "vmap");
        let inner = rule.params.len() - lanes.on.len();
        let on: Vec<bool> = lanes.on[..self.args]
            .iter()
            .copied()
            .chain(std::iter::repeat_n(true, inner))
            .chain(lanes.on[self.args..].iter().copied())
            .collect();
        let (args, mask) = super::batch::params(&draft, rule, &on, lanes);
        let here = Lanes { on: &on, size: lanes.size, mask };
        let dx = batch(&draft.b, rule, &args, lanes.size, mask)?;
        let floats = rule.param_types();
        let floats = (0..self.args).filter(|i| floats[*i].dtype.is_float());
        let one = |((d, has), i): ((Ex<'_>, bool), usize)| {
            let all = here.one(d, has);
            if lanes.on[i] { all.value() } else { all.sum(&[0], false).value() }
        };
        let dx = dx.into_iter().zip(floats).map(one).collect::<Result<Vec<_>>>()?;
        draft.finish(dx)
    }
}

impl Structural for Custom {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        takes(self.name(), &self.forward, x)?;
        let y = self.forward.result_types();
        if let Some(rule) = &self.backward {
            takes("custom_vjp", rule, &self.backward_types(x, &y))?;
            let want = x[..self.args.min(x.len())].iter().copied().filter(|t| t.dtype.is_float());
            let got = rule.result_types();
            if !super::same(&got, want.clone()) {
                return Err(err::ty(format!(
                    "`custom_vjp`: `{}` gives {}, the arguments of floats are {}",
                    rule.name,
                    super::types_text(&got),
                    super::types_text(want)
                )));
            }
        }
        Ok(y.into())
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        self.eval_all(x)?.into_iter().next().ok_or_else(|| err::internal("a function without a result"))
    }

    fn eval_all(&self, x: &[Array]) -> Result<Vec<Array>> {
        run(&self.forward, x)
    }

    fn vjp<'b>(&self, x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        self.vjp_all(x, &[y], &[Some(dy)], &vec![true; x.len()])
    }

    fn vjp_all<'b>(&self, x: &[Ex<'b>], y: &[Ex<'b>], dy: &[Option<Ex<'b>>], needs: &[bool]) -> Vec<Option<Ex<'b>>> {
        or_failed(x, x.len(), || match &self.backward {
            Some(rule) => self.given(rule, x, y, dy, needs),
            None => self.again(x, y, dy, needs),
        })
    }

    fn jvp_all<'b>(&self, x: &[Ex<'b>], y: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        self.backward.is_none().then(|| or_failed(x, y.len(), || self.along(x, t)))
    }

    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        super::batch::made(x, self.batched(x, lanes))
    }
}

//! What optimisers and clipping do with a tree: to each tensor the same, all of it one program.
//!
//! An update is recorded like the function of a `grad`: inside a trace it is a part of it, outside it is compiled once
//! and then runs as one fused program. It may write to the tensors it gets.

use crate::autograd::no_grad;
use crate::once::run_recorded;
use crate::tensor::{Argument, Operand, Tensor};
use crate::tree::Tree;
use tensorc_ir::dtype::DType;
use tensorc_ir::error::err;
use tensorc_ir::{Loc, Result};

/// The tensors of a tree.
pub(super) fn leaves<P: Tree>(tree: &P) -> Vec<Tensor> {
    let mut all = Vec::new();
    tree.take_apart(&mut all);
    all
}

/// A tree of the same structure from other tensors.
pub(super) fn like<P: Tree>(tree: &P, tensors: &mut dyn Iterator<Item = Tensor>) -> Result<P> {
    P::put_together(&tree.take_apart(&mut Vec::new()), tensors)
}

/// A number that may be a tensor, as one.
fn number(name: &str, v: impl Operand) -> Result<Tensor> {
    match v.into_argument()? {
        Argument::Tensor(t) if t.dim() == 0 => Ok(t),
        Argument::Tensor(t) => {
            Err(err::shape(format!("`{name}` must be a number or a 0-d tensor, got one of {} dimensions", t.dim())))
        }
        Argument::Float(v) => Tensor::scalar(v),
        Argument::Int(v) => Tensor::scalar(v as f64),
        _ => Err(err::ty(format!("`{name}` must be a number or a 0-d tensor"))),
    }
}

/// The dtype that is computed in where a tensor is stored: half floats are rounded once, at the end.
pub(super) fn wide(t: &Tensor) -> DType {
    if t.dtype().size() < 4 { DType::F32 } else { t.dtype() }
}

/// A tree of zeros like these parameters.
pub(super) fn zeros<P: Tree>(params: &P) -> Result<P> {
    let zeros = leaves(params).iter().map(Tensor::zeros_like).collect::<Result<Vec<_>>>()?;
    like(params, &mut zeros.into_iter())
}

/// What belongs to one parameter: the tensors of several trees at one position.
///
/// # Errors
/// `type` if the trees differ in their number of tensors, `shape` or `dtype` if tensors at one position differ, or are
/// not floats.
fn rows(op: &str, names: &[&str], trees: &[Vec<Tensor>]) -> Result<()> {
    let first = &trees[0];
    for (name, tree) in names.iter().zip(trees).skip(1) {
        if tree.len() != first.len() {
            return Err(err::ty(format!(
                "`{op}`: {} tensors in `{name}`, but {} in `{}`",
                tree.len(),
                first.len(),
                names[0]
            )));
        }
        for (i, (a, b)) in tree.iter().zip(first).enumerate() {
            if a.strided().shape != b.strided().shape {
                let (a, b) = (a.size(), b.size());
                return Err(err::shape(format!(
                    "`{op}`: tensor {i} of `{name}` is {a}, that of `{}` is {b}",
                    names[0]
                )));
            }
            if a.dtype() != b.dtype() {
                let (a, b) = (a.dtype(), b.dtype());
                return Err(err::dtype(format!(
                    "`{op}`: tensor {i} of `{name}` is {a}, that of `{}` is {b}",
                    names[0]
                )));
            }
        }
    }
    match first.iter().position(|t| !t.dtype().is_float()) {
        Some(i) => {
            Err(err::dtype(format!("`{op}`: tensor {i} of `{}` is {}, expected floats", names[0], first[i].dtype())))
        }
        None => Ok(()),
    }
}

/// One step of an optimiser on trees (parameters, gradients, then what it remembers): the new count and the new tensors
/// but for gradients, tree by tree; nothing if they are written in place.
pub(super) struct Step<'a> {
    pub(super) op: &'a str,
    /// What the trees are called.
    pub(super) names: &'a [&'a str],
    pub(super) trees: Vec<Vec<Tensor>>,
    /// Steps so far.
    pub(super) count: &'a Tensor,
    pub(super) in_place: bool,
    pub(super) loc: Loc,
}

/// What an update is made of: the learning rate, the steps before it, and those with it.
pub(super) struct Now<'a> {
    pub(super) lr: &'a Tensor,
    pub(super) before: &'a Tensor,
    pub(super) step: &'a Tensor,
}

impl Step<'_> {
    /// Takes the step. `update` gets what the trees have for each parameter, and gives what it becomes: all but the
    /// gradient.
    pub(super) fn run(
        self,
        lr: impl Operand,
        update: impl Fn(Now<'_>, &[Vec<&Tensor>]) -> Result<Vec<Vec<Tensor>>>,
    ) -> Result<Vec<Tensor>> {
        let Step { op, names, trees, count, in_place, loc } = self;
        rows(op, names, &trees)?;
        let (params, kept) = (trees[0].len(), trees.len() - 1);
        let head = [number("lr", lr)?, count.clone()];
        let all: Vec<Tensor> = head.into_iter().chain(trees.into_iter().flatten()).collect();
        as_one(op, &all, loc, |all| {
            let (lr, before, all) = (&all[0], &all[1], &all[2..]);
            let step = before.add(1i64)?;
            let rows: Vec<Vec<&Tensor>> = (0..params).map(|i| all.iter().skip(i).step_by(params).collect()).collect();
            let mut by_tree: Vec<Vec<Tensor>> = vec![Vec::with_capacity(params); kept];
            for row in update(Now { lr, before, step: &step }, &rows)? {
                by_tree.iter_mut().zip(row).for_each(|(tree, t)| tree.push(t));
            }
            let new: Vec<Tensor> = std::iter::once(step).chain(by_tree.into_iter().flatten()).collect();
            if !in_place {
                return Ok(new);
            }
            let old = std::iter::once(before).chain(&all[..params]).chain(&all[2 * params..]);
            old.zip(&new).try_for_each(|(old, new)| old.copy_(new).map(drop))?;
            Ok(Vec::new())
        })
    }
}

/// Runs `f` on tensors as one program; `f` may write to them. As in PyTorch, autograd records nothing of it.
pub(super) fn as_one(
    name: &str,
    tensors: &[Tensor],
    loc: Loc,
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Tensor>> {
    no_grad(|| run_recorded(name, tensors, loc, |_, tensors| f(tensors)))
}

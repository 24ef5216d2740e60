//! What optimisers and clipping do with a tree: to each tensor the same, all of it one program.
//!
//! An update is recorded like the function of a `grad`: inside a trace it is a part of it, outside it is compiled once
//! and then runs as one fused program. It may write to the tensors it gets.

use crate::autograd::no_grad;
use crate::jit::run_recorded;
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
pub(super) fn number(name: &str, v: impl Operand) -> Result<Tensor> {
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

/// The dtype that updates of a parameter are computed in: half floats are rounded once, when they are stored.
pub(super) fn wide(t: &Tensor) -> DType {
    if t.dtype().size() < 4 { DType::F32 } else { t.dtype() }
}

/// What belongs to one parameter: the tensors of several trees at one position.
///
/// # Errors
/// `type` if the trees differ in their number of tensors, `shape` or `dtype` if tensors at one position differ, or are
/// not floats.
pub(super) fn rows(op: &str, names: &[&str], trees: &[Vec<Tensor>]) -> Result<()> {
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

/// Runs `f` on tensors as one program; `f` may write to them. As in PyTorch, autograd records nothing of it.
pub(super) fn as_one(
    name: &str,
    tensors: &[Tensor],
    loc: Loc,
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Tensor>> {
    no_grad(|| run_recorded(name, tensors, loc, |_, tensors| f(tensors)))
}

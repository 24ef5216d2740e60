//! Clipping of gradients, as `torch.nn.utils.clip_grad_norm_` and `clip_grad_value_`, but pure: new trees are given.

use super::leaves::{as_one, leaves, like, wide};
use crate::tensor::{Argument, Tensor, call, one};
use crate::tree::Tree;
use tensorc_ir::error::err;
use tensorc_ir::{Loc, Result};

/// The norm of all elements of a tree taken together, a 0-d tensor: `norm_type` is 2 for the Euclidean one, infinity for
/// the largest magnitude, or any other order. It is computed as the norm of the norms of the tensors, in `f32` for half
/// floats; 0 for a tree without tensors.
///
/// # Errors
/// `dtype` if a tensor is not floating point.
#[track_caller]
pub fn total_norm<G: Tree>(grads: &G, norm_type: f64) -> Result<Tensor> {
    let loc = Loc::caller();
    let norm = as_one("total_norm", &leaves(grads), loc, |all| Ok(vec![norm(all, norm_type)?]));
    norm.and_then(one).map_err(|e| e.at(loc))
}

fn norm(tensors: &[Tensor], norm_type: f64) -> Result<Tensor> {
    let order = |t: &Tensor| -> Result<Tensor> {
        one(call("vector_norm", &[(None, t.into()), (None, Argument::Float(norm_type))])?)
    };
    let Some(widest) = tensors.iter().max_by_key(|t| t.dtype().size()) else { return Tensor::scalar(0f32) };
    let dtype = wide(widest);
    let norms = tensors
        .iter()
        .map(|t| match t.dtype().is_float() {
            true => order(&t.to(dtype)?),
            false => Err(err::dtype(format!("the norm of gradients of {}: expected floats", t.dtype()))),
        })
        .collect::<Result<Vec<_>>>()?;
    let all: Argument = Argument::List(norms.into_iter().map(Argument::Tensor).collect());
    order(&one(call("stack", &[(None, all)])?)?)
}

/// Scales a tree of gradients by one number, so that its [`total_norm`] is at most `max_norm`; gives it with the norm
/// before. The number is `max_norm / (norm + 1e-6)`, at most 1 (Pascanu, Mikolov and Bengio, 2013). A norm that is not
/// finite is not refused: look at the result.
///
/// # Errors
/// `dtype` if a tensor is not floating point.
#[track_caller]
pub fn clip_grad_norm<G: Tree>(grads: &G, max_norm: f64, norm_type: f64) -> Result<(G, Tensor)> {
    let loc = Loc::caller();
    let clip = || {
        let mut results = as_one("clip_grad_norm", &leaves(grads), loc, |all| {
            let norm = norm(all, norm_type)?;
            let by = Tensor::scalar(max_norm)?.to(norm.dtype())?.div(norm.add(1e-6)?)?;
            let by = one(call("clamp", &[(None, by.into()), (Some("max"), 1.0.into())])?)?;
            let mut results = vec![norm];
            for t in all {
                results.push(t.mul(by.to(t.dtype())?)?);
            }
            Ok(results)
        })?
        .into_iter();
        let norm = results.next().ok_or_else(|| err::internal("clipping without its norm"))?;
        Ok((like(grads, &mut results)?, norm))
    };
    clip().map_err(|e: tensorc_ir::Error| e.at(loc))
}

/// Limits every element of a tree of gradients to `-clip_value..=clip_value`.
///
/// # Errors
/// `dtype` if a tensor is no number.
#[track_caller]
pub fn clip_grad_value<G: Tree>(grads: &G, clip_value: f64) -> Result<G> {
    let loc = Loc::caller();
    let clipped = as_one("clip_grad_value", &leaves(grads), loc, |all| {
        all.iter().map(|t| t.clamp(-clip_value, clip_value)).collect()
    });
    clipped.and_then(|all| like(grads, &mut all.into_iter())).map_err(|e| e.at(loc))
}

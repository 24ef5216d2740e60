//! [`custom_vjp`], [`checkpoint`] and [`stop_gradient`]: functions whose derivative is not that of what they compute.

use crate::control::{Arg, Traced, apart, emit, together, transformed, unite, whole};
use crate::tensor::{Tensor, op};
use crate::tree::Tree;
use tensorc_ir::error::err;
use tensorc_ir::ops::control::Custom;
use tensorc_ir::{Loc, Op, Result};

/// A function with a derivative that is given: `backward(x, y, dy)` gets the argument, the result and a cotangent of the
/// result, and gives the cotangent of the argument; as JAX's `custom_vjp`. It is written of the same ops and is not looked
/// into before a gradient is asked for.
///
/// Trees keep their structure: what is not floating point in `dy` is zeros, and what is not in the result of `backward` is
/// not looked at. Tensors that the functions capture are constants, of which a gradient is refused. What `backward`
/// gives is differentiated in turn; forward mode takes its transpose, so it must be linear in `dy`.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// use tensorc::{Tensor, custom_vjp, grad, tensor};
/// // The identity, through which gradients pass no larger than 1.
/// let clip = custom_vjp(|x: Tensor| x.copy(), |_, _, dy: Tensor| dy.clamp(-1.0, 1.0));
/// let loss = |x: Tensor| clip(x)?.mul(tensor([0.5f32, 3.0])?)?.sum();
/// assert_eq!(grad(loss)(tensor([1.0f32, 1.0])?)?.to_vec::<f32>()?, [0.5, 1.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The returned function gives `type` if `backward` gives a tree of another structure than the argument, or other shapes or
/// dtypes; `alias` if one of the functions writes to a tensor from outside; and what they give.
#[track_caller]
pub fn custom_vjp<A, R, F, B>(f: F, backward: B) -> impl Fn(A) -> Result<R>
where
    A: Tree,
    R: Tree,
    F: Fn(A) -> Result<R>,
    B: Fn(A, R, R) -> Result<A>,
{
    let loc = Loc::caller();
    move |args: A| {
        transformed("custom_vjp", &args, loc, |trace, leaves, structure| {
            let own: Vec<Arg> = leaves.iter().map(whole).collect();
            let forward = Traced::new(trace, "f", &own, |x| apart(f(together(structure, x)?)?))?;
            let results = forward.results();
            let float: Vec<bool> = results.iter().map(|a| a.dtype.is_float()).collect();
            let (n, m) = (own.len(), results.len());
            let cotangents = results.iter().filter(|a| a.dtype.is_float()).cloned();
            let all: Vec<Arg> = own.into_iter().chain(results.iter().cloned()).chain(cotangents).collect();
            let rule = Traced::new(trace, "backward", &all, |mut x| {
                let given = x.split_off(n + m);
                let y = x.split_off(n);
                let mut given = given.into_iter();
                let mut dy = |(y, float): (&Tensor, &bool)| match if *float { given.next() } else { None } {
                    Some(dy) => Ok(dy),
                    None => op("zeros_like", [y.into()]),
                };
                let dy = y.iter().zip(&float).map(&mut dy).collect::<Result<Vec<_>>>()?;
                let inputs: Vec<bool> = x.iter().map(|t| t.dtype().is_float()).collect();
                let of = &forward.structure;
                let (dx, found) = apart(backward(together(structure, x)?, together(of, y)?, together(of, dy)?)?)?;
                if found != *structure {
                    let e = "`custom_vjp`: `backward` gives a tree of another structure than the argument";
                    return Err(err::ty(e).at(loc));
                }
                Ok((dx.into_iter().zip(inputs).filter(|(_, float)| *float).map(|(d, _)| d).collect(), ()))
            })?;
            let counts = [n, all.len()];
            let captured = [forward.captured, rule.captured];
            let ([f, rule], captured) = unite([forward.graph, rule.graph], counts, captured)?;
            let op = Op::Custom(Custom { forward: f, backward: Some(rule), args: n });
            Ok((emit(trace, op, leaves.iter().chain(&captured), loc)?, forward.structure))
        })
    }
}

/// The function, whose gradient computes it again in place of keeping what it computed; as JAX's `checkpoint`. Around
/// each of many layers it makes memory that of one layer and its borders, for one more run of the function.
///
/// Values and derivatives are the same to the bit. Of what the function captures there are gradients too.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// use tensorc::{Tensor, checkpoint, grad, tensor};
/// let layer = checkpoint(|x: Tensor| x.sin()?.exp()?.tanh());
/// let loss = |x: Tensor| layer(layer(x)?)?.sum();
/// let dx = grad(loss)(tensor([0.5f32, -1.0])?)?;
/// assert_eq!(dx.shape(), [2]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The returned function gives `alias` if `f` writes to a tensor from outside, and what `f` gives.
#[track_caller]
pub fn checkpoint<A: Tree, R: Tree, F: Fn(A) -> Result<R>>(f: F) -> impl Fn(A) -> Result<R> {
    let loc = Loc::caller();
    move |args: A| {
        transformed("checkpoint", &args, loc, |trace, leaves, structure| {
            let own: Vec<Arg> = leaves.iter().map(whole).collect();
            let traced = Traced::new(trace, "f", &own, |x| apart(f(together(structure, x)?)?))?;
            let ([f], captured) = unite([traced.graph], [own.len()], [traced.captured])?;
            let op = Op::Custom(Custom { forward: f, backward: None, args: leaves.len() });
            Ok((emit(trace, op, leaves.iter().chain(&captured), loc)?, traced.structure))
        })
    }
}

/// The tensors of a tree, the same memory, through which no derivative flows: [`Tensor::detach`] for all of them, by its
/// name in JAX.
///
/// # Errors
/// None for tensors that are in use.
#[track_caller]
pub fn stop_gradient<A: Tree>(x: A) -> Result<A> {
    let (leaves, structure) = apart(x)?;
    together(&structure, leaves.iter().map(Tensor::detach).collect::<Result<_>>()?)
}

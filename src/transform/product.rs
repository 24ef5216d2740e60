//! [`jvp`], [`vjp`] and [`hvp`]: products with the matrix of all derivatives, without the matrix.

use crate::grad::{function, grad, gradients};
use crate::once::run_recorded;
use crate::tensor::Tensor;
use crate::trace::Trace;
use crate::tree::Tree;
use std::cell::RefCell;
use std::sync::Arc;
use tensorc_ir::error::err;
use tensorc_ir::ops::Op;
use tensorc_ir::ops::effect::Jvp;
use tensorc_ir::{Loc, Result, Value};

/// The value of a function together with its derivative along a direction (forward mode): `jvp(f)(x, t)` gives `f(x)` and
/// what it changes by, to first order, when `x` changes by `t`.
///
/// The program is about twice that of the function, whatever the number of its results, and keeps nothing for later; it
/// goes through [`while_loop`](crate::while_loop), which [`grad`] does not. Tensors that are not floating point do not
/// move: their tangents are not looked at, and results that are not floating point have tangents of zeros.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// use tensorc::{Tensor, jvp, tensor};
/// let f = |x: Tensor| x.mul(&x)?.sum();
/// let (y, dy) = jvp(f)(tensor([1.0f32, 2.0])?, tensor([0.5f32, 1.0])?)?;
/// assert_eq!((y.item::<f32>()?, dy.item::<f32>()?), (5.0, 5.0));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The returned function gives `type` if the trees differ in structure, `grad` if a tangent has another shape or dtype than
/// what moves by it, or if the function writes to a tensor that it is differentiated by.
#[track_caller]
pub fn jvp<A: Tree, R: Tree, F: Fn(A) -> Result<R>>(f: F) -> impl Fn(A, A) -> Result<(R, R)> {
    let loc = Loc::caller();
    move |primals, tangents| {
        let mut leaves = Vec::new();
        let structure = primals.take_apart(&mut leaves);
        let count = leaves.len();
        if tangents.take_apart(&mut leaves) != structure || leaves.len() != 2 * count {
            return Err(err::ty("`jvp`: the tangents are a tree of another structure than the argument").at(loc));
        }
        let made = RefCell::new(None);
        let results = run_recorded("jvp", &leaves, loc, |trace, leaves| {
            let (x, t) = leaves.split_at(count);
            let (x, y, of) = function(&f, trace, &structure, x, loc)?;
            made.replace(Some(of));
            let moving: Vec<usize> =
                (0..count).filter(|i| t[*i].dtype().is_float() && leaves[*i].dtype().is_float()).collect();
            let values = y.iter().map(|y| trace.value_of(y)).collect::<Result<Vec<_>>>()?;
            let mut operands = values.clone();
            operands.extend(moving.iter().map(|i| x[*i]));
            for i in &moving {
                operands.push(trace.value_of(&t[*i])?);
            }
            let dy = trace.with(|b| {
                b.set_loc(loc);
                if moving.is_empty() || values.is_empty() {
                    return values.iter().map(|v| b.zeros(&b.ty(*v)).value()).collect::<Result<Vec<_>>>();
                }
                let node = b.emit_all(Op::Jvp(Jvp { results: values.len() }), &operands)?;
                Ok(b.results(node).to_vec())
            })??;
            let dy = dy.into_iter().map(|v| trace.tensor(v)).collect::<Result<Vec<_>>>()?;
            Ok(y.into_iter().chain(dy).collect())
        })?;
        let structure = made.into_inner().ok_or_else(|| err::internal("a function that was not traced"))?;
        let mut results = results.into_iter();
        let y = R::put_together(&structure, &mut results)?;
        Ok((y, R::put_together(&structure, &mut results)?))
    }
}

/// The value of a function together with its derivatives weighted by a cotangent of the value (reverse mode):
/// `vjp(f)(x, u)` gives `f(x)` and the gradient of the sum of `f(x) * u`.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// use tensorc::{Tensor, tensor, vjp};
/// let f = |x: Tensor| x.mul(&x);
/// let (y, dx) = vjp(f)(tensor([1.0f32, 2.0])?, tensor([10.0f32, 1.0])?)?;
/// assert_eq!((y.to_vec::<f32>()?, dx.to_vec::<f32>()?), (vec![1.0, 4.0], vec![20.0, 4.0]));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The returned function gives `type` if the value and its cotangent differ in structure, and `grad` as [`grad`] does.
#[track_caller]
pub fn vjp<A: Tree, R: Tree, F: Fn(A) -> Result<R>>(f: F) -> impl Fn(A, R) -> Result<(R, A)> {
    let loc = Loc::caller();
    move |primals, cotangents| {
        let mut leaves = Vec::new();
        let structure = primals.take_apart(&mut leaves);
        let count = leaves.len();
        let seeds = cotangents.take_apart(&mut leaves);
        let results = run_recorded("vjp", &leaves, loc, |trace, leaves| {
            let (x, u) = leaves.split_at(count);
            let (x, y, of) = function(&f, trace, &structure, x, loc)?;
            if of != seeds || y.len() != u.len() {
                return Err(err::ty("`vjp`: the cotangents are a tree of another structure than the result").at(loc));
            }
            let dx = pulled(trace, &y, u, &x, loc)?;
            Ok(y.into_iter().chain(dx).collect())
        })?;
        let mut results = results.into_iter();
        let y = R::put_together(&seeds, &mut results)?;
        Ok((y, A::put_together(&structure, &mut results)?))
    }
}

/// The product of the Hessian of a scalar function with a direction: `hvp(f)(x, v)` is the derivative of the gradient at `x`
/// along `v`, forward over reverse, so it costs a few times the function and never makes the matrix.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// use tensorc::{Tensor, hvp, tensor};
/// let f = |x: Tensor| x.pow(3)?.sum();
/// let hv = hvp(f)(tensor([1.0f32, 2.0])?, tensor([1.0f32, 10.0])?)?;
/// assert_eq!(hv.to_vec::<f32>()?, [6.0, 120.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`grad`] and [`jvp`].
#[track_caller]
pub fn hvp<A: Tree, F: Fn(A) -> Result<Tensor>>(f: F) -> impl Fn(A, A) -> Result<A> {
    let along = jvp(grad(f));
    move |x, v| Ok(along(x, v)?.1)
}

/// The cotangents of `x`, given those of `y`: one gradient for each `y`, added up.
fn pulled(trace: &Arc<Trace>, y: &[Tensor], u: &[Tensor], x: &[Value], loc: Loc) -> Result<Vec<Tensor>> {
    let pairs = y.iter().zip(u).map(|(y, u)| Ok((trace.value_of(y)?, trace.value_of(u)?)));
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    let dx = trace.with(|b| {
        b.set_loc(loc);
        let floats = pairs.into_iter().filter(|(y, _)| b.ty(*y).dtype.is_float());
        gradients(b, floats, x, false)
    })??;
    dx.into_iter().map(|v| trace.tensor(v)).collect()
}

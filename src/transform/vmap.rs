//! [`vmap`]: a function of one element as a function of many; and what is made of it: [`jacobian`] and [`hessian`].

use super::{jvp, vjp};
use crate::control::{Traced, apart, emit, moved, slice, together, transformed, unite, whole};
use crate::grad::grad;
use crate::once::run_traced;
use crate::tensor::{Tensor, op};
use crate::tree::Tree;
use tensorc_ir::error::err;
use tensorc_ir::ops::control::Vmap;
use tensorc_ir::types::axis;
use tensorc_ir::{Loc, Op, Result};

/// How [`vmap_with`] goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmapOptions {
    /// For each tensor of the argument, in order, the dimension to go along, from the end if it is negative; `None` for a
    /// tensor that every call gets whole. Without it all go along their first dimension.
    pub in_dims: Option<Vec<Option<i64>>>,
    /// The dimension of the results that counts the elements; from the end if it is negative.
    pub out_dim: i64,
}

/// The function for each element along the first dimension of all tensors of its argument, the results stacked along a new
/// first dimension; as `torch.vmap`.
///
/// The function is traced once, for one element, and becomes one program for all of them: no element sees another, and each
/// gets the bits that a loop over the elements would give. What it captures is the same for all elements. It nests with
/// derivatives in both directions: the `vmap` of a gradient gives gradients of each example. A `cond` on which elements
/// decide differently computes both branches, and a `while_loop` runs until it has ended for all elements.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// use tensorc::{Tensor, grad, tensor, vmap};
/// let w = tensor([1.0f32, -1.0])?;
/// let dot = |x: Tensor| x.mul(&w)?.sum();
/// let xs = tensor([[1.0f32, 2.0], [5.0, 3.0]])?;
/// assert_eq!(vmap(dot)(xs.clone())?.to_vec::<f32>()?, [-1.0, 2.0]);
/// // The gradient for each element.
/// let squared = |x: Tensor| dot(x)?.square();
/// assert_eq!(vmap(grad(squared))(xs)?.to_vec::<f32>()?, [-2.0, 2.0, 4.0, -4.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The returned function gives `shape` if the tensors are not of equally many elements or there is none, `alias` if the
/// function writes to a tensor from outside, and what it gives.
#[track_caller]
pub fn vmap<A: Tree, R: Tree, F: Fn(A) -> Result<R>>(f: F) -> impl Fn(A) -> Result<R> {
    vmap_with(VmapOptions::default(), f)
}

/// As [`vmap`], along other dimensions.
///
/// # Errors
/// As [`vmap`]; `index` if there is no such dimension, `type` if `in_dims` are not as many as the tensors.
#[track_caller]
pub fn vmap_with<A: Tree, R: Tree, F: Fn(A) -> Result<R>>(options: VmapOptions, f: F) -> impl Fn(A) -> Result<R> {
    let loc = Loc::caller();
    move |args: A| {
        transformed("vmap", &args, loc, |trace, leaves, structure| {
            let dims = match &options.in_dims {
                None => vec![Some(0); leaves.len()],
                Some(dims) if dims.len() == leaves.len() => dims.clone(),
                Some(dims) => {
                    let (got, want) = (dims.len(), leaves.len());
                    return Err(err::ty(format!("`vmap`: {got} `in_dims` for an argument of {want} tensors")).at(loc));
                }
            };
            let (mut xs, mut consts, mut order) = (Vec::new(), Vec::new(), Vec::new());
            for (t, dim) in leaves.iter().zip(&dims) {
                // Its place among the parameters: first what has elements, then what has none.
                order.push((dim.is_none(), if dim.is_none() { consts.len() } else { xs.len() }));
                match dim {
                    Some(_) if t.dim() == 0 => {
                        let e = "`vmap`: a tensor without dimensions has none to go along";
                        return Err(err::shape(e).at(loc).help("`in_dims` may hand it on whole"));
                    }
                    Some(d) => xs.push(moved(t, axis(*d, t.dim())?, 0)?),
                    None => consts.push(t.clone()),
                }
            }
            if xs.is_empty() {
                return Err(err::shape("`vmap` goes along no tensor").at(loc));
            }
            let args: Vec<_> = xs.iter().map(slice).chain(consts.iter().map(whole)).collect();
            let (count, args_count) = (xs.len(), args.len());
            let traced = Traced::new(trace, "f", &args, |given| {
                let at = |(is_const, i): &(bool, usize)| given[if *is_const { count + i } else { *i }].clone();
                apart(f(together(structure, order.iter().map(at).collect())?)?)
            })?;
            let ([body], captured) = unite([traced.graph], [args_count], [traced.captured])?;
            let operands = xs.iter().chain(&consts).chain(&captured);
            let results = emit(trace, Op::Vmap(Vmap { body, xs: count }), operands, loc)?;
            let results = results.iter().map(|y| moved(y, 0, axis(options.out_dim, y.dim())?));
            Ok((results.collect::<Result<_>>()?, traced.structure))
        })
    }
}

/// The matrix of all derivatives of a function of one tensor, by rows: element `[i.., j..]` of the result, which has the
/// shape of `f(x)` followed by that of `x`, is the derivative of element `i..` of `f(x)` by element `j..` of `x`.
/// As `torch.func.jacrev`: one gradient for each element of the result, all in one program. For a function of few
/// elements with many results [`jacfwd`] costs less.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// use tensorc::{Tensor, jacobian, tensor};
/// let f = |x: Tensor| x.square();
/// let j = jacobian(f)(tensor([1.0f32, 3.0])?)?;
/// assert_eq!((j.shape(), j.to_vec::<f32>()?), (&[2, 2][..], vec![2.0, 0.0, 0.0, 6.0]));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The returned function gives those of [`grad`].
#[track_caller]
pub fn jacobian<F: Fn(Tensor) -> Result<Tensor>>(f: F) -> impl Fn(Tensor) -> Result<Tensor> {
    jacrev(f)
}

/// As [`jacobian`], by its name in `torch.func`.
///
/// # Errors
/// As [`jacobian`].
#[track_caller]
pub fn jacrev<F: Fn(Tensor) -> Result<Tensor>>(f: F) -> impl Fn(Tensor) -> Result<Tensor> {
    let loc = Loc::caller();
    move |x: Tensor| {
        let all = run_traced("jacrev", &[x], loc, |_, leaves| {
            let x = &leaves[0];
            let y = f(x.clone())?;
            // What is computed here once more is the same for every row.
            let row = |u: Tensor| Ok(vjp(&f)(x.clone(), u)?.1);
            let rows = vmap(row)(directions(&y)?)?;
            Ok(vec![shaped(&rows, &[y.shape(), x.shape()].concat())?])
        })?;
        together(&(), all)
    }
}

/// As [`jacobian`], by columns: one derivative along a direction for each element of `x`. As `torch.func.jacfwd`.
///
/// # Errors
/// The returned function gives those of [`jvp`].
#[track_caller]
pub fn jacfwd<F: Fn(Tensor) -> Result<Tensor>>(f: F) -> impl Fn(Tensor) -> Result<Tensor> {
    let loc = Loc::caller();
    move |x: Tensor| {
        let all = run_traced("jacfwd", &[x], loc, |_, leaves| {
            let x = &leaves[0];
            let column = |t: Tensor| Ok(jvp(&f)(x.clone(), t)?.1);
            let options = VmapOptions { out_dim: -1, ..VmapOptions::default() };
            let columns = vmap_with(options, column)(directions(x)?)?;
            let rank = columns.dim() - 1;
            Ok(vec![shaped(&columns, &[&columns.shape()[..rank], x.shape()].concat())?])
        })?;
        together(&(), all)
    }
}

/// The matrix of second derivatives of a scalar function of one tensor, of the shape of `x` twice; forward over reverse, as
/// `torch.func.hessian`. A product with it is cheaper by [`hvp`](crate::hvp).
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// use tensorc::{Tensor, hessian, tensor};
/// let f = |x: Tensor| x.prod();
/// let h = hessian(f)(tensor([2.0f32, 3.0, 5.0])?)?;
/// assert_eq!(h.to_vec::<f32>()?, [0.0, 5.0, 3.0, 5.0, 0.0, 2.0, 3.0, 2.0, 0.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The returned function gives those of [`grad`] and [`jvp`].
#[track_caller]
pub fn hessian<F: Fn(Tensor) -> Result<Tensor>>(f: F) -> impl Fn(Tensor) -> Result<Tensor> {
    jacfwd(grad(f))
}

/// For each element of a tensor a tensor of its shape with 1 there and 0 elsewhere, stacked.
fn directions(like: &Tensor) -> Result<Tensor> {
    let n: usize = like.shape().iter().product();
    let ones = op("to", [(&op("eye", [n.into()])?).into(), like.dtype().into()])?;
    shaped(&ones, &[&[n], like.shape()].concat())
}

fn shaped(t: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let shape: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
    op("reshape", [t.into(), shape.as_slice().into()])
}

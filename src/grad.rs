//! [`grad`] and [`value_and_grad`]: functions that give the gradient of a function.
//!
//! They append the op `grad` to the program being traced; the pass `autodiff` works it out. So they nest, inside and
//! outside [`jit`](crate::jit). Outside, on concrete tensors, the call traces the function, compiles it with its
//! gradient, and keeps the code for programs of the same text.

use crate::jit::finish_once;
use crate::tensor::{Repr, Tensor};
use crate::trace::{self, Trace};
use crate::tree::Tree;
use std::sync::Arc;
use tensorc_ir::error::err;
use tensorc_ir::ops::{Op, effect::Grad};
use tensorc_ir::{Loc, Result, Strided, Value};
use tensorc_runtime::executable::View;

/// The gradient of a scalar function with respect to all tensors of its argument: a tree of the argument's structure.
/// A tensor that the function does not use has a gradient of zeros. What shall not be differentiated is captured by
/// the closure.
///
/// # Errors
/// The returned function gives `grad` if the result is not a floating point scalar or some tensor is not floating point.
#[track_caller]
pub fn grad<A: Tree, F: Fn(A) -> Result<Tensor>>(f: F) -> impl Fn(A) -> Result<A> {
    let both = value_and_grad(f);
    move |args| Ok(both(args)?.1)
}

/// The value of a scalar function together with its gradient; see [`grad`].
///
/// # Errors
/// As [`grad`].
#[track_caller]
pub fn value_and_grad<A: Tree, F: Fn(A) -> Result<Tensor>>(f: F) -> impl Fn(A) -> Result<(Tensor, A)> {
    let loc = Loc::caller();
    move |args: A| {
        let mut leaves = Vec::new();
        let structure = args.take_apart(&mut leaves);
        let inside = leaves.iter().find_map(|t| if let Repr::Traced(t) = &t.0 { Some(t.trace.clone()) } else { None });
        if let Some(trace) = inside.or_else(trace::current) {
            let (y, dx) = differentiate::<A, F>(&f, &trace, &structure, &leaves, loc)?;
            return Ok((y, A::put_together(&structure, &mut dx.into_iter())?));
        }
        let trace = Trace::new("grad");
        let views: Vec<View> = leaves.iter().map(|t| Ok((**t.view_of("grad")?).clone())).collect::<Result<_>>()?;
        let mut inputs = Vec::new();
        for (i, v) in views.iter().enumerate() {
            inputs.push(trace.input(&format!("arg{i}"), v.dtype, &Strided::from(&v.layout))?);
        }
        let (y, dx) = trace.within(|| differentiate::<A, F>(&f, &trace, &structure, &inputs, loc))?;
        let results: Vec<Tensor> = std::iter::once(y).chain(dx).collect();
        let (exe, captured) = finish_once(&trace, &results, &views)?;
        let args: Vec<View> = views.into_iter().chain(captured.iter().map(|v| (**v).clone())).collect();
        let mut results = exe.call(&args, loc)?.into_iter().map(Tensor::concrete);
        let y = results.next().ok_or_else(|| err::grad("a program without its value"))?;
        Ok((y, A::put_together(&structure, &mut results)?))
    }
}

/// Records `f` and its gradient.
fn differentiate<A: Tree, F: Fn(A) -> Result<Tensor>>(
    f: &F,
    trace: &Arc<Trace>,
    structure: &A::Structure,
    leaves: &[Tensor],
    loc: Loc,
) -> Result<(Tensor, Vec<Tensor>)> {
    // A tensor that occurs twice is two variables: each gets a node of its own.
    let mut x: Vec<Value> = Vec::new();
    for t in leaves {
        let v = trace.value_of(t).map_err(|e| e.at(loc))?;
        let own = trace.with(|b| {
            b.set_loc(loc);
            let shape = b.ty(v).shape;
            b.emit(Op::Reshape(tensorc_ir::ops::view::Reshape(shape)), &[v])
        })??;
        x.push(own);
    }
    let args = x.iter().map(|v| trace.tensor(*v)).collect::<Result<Vec<_>>>()?;
    let y = trace.within(|| f(A::put_together(structure, &mut args.into_iter())?))?;
    let mut operands = vec![trace.value_of(&y)?];
    operands.extend(&x);
    let node = trace.with(|b| {
        b.set_loc(loc);
        b.emit_all(Op::Grad(Grad { seeded: false, allow_unused: true }), &operands)
    })??;
    let dx = (0..x.len() as u16).map(|result| trace.tensor(Value { node, result })).collect::<Result<_>>()?;
    Ok((y, dx))
}

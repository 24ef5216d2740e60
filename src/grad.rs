//! [`grad`] and [`value_and_grad`]: functions that give the gradient of a function.
//!
//! They append the op `grad` to the program being traced; the pass `autodiff` works it out. So they nest, inside and
//! outside [`jit`](crate::jit). Outside, on concrete tensors, the call traces the function, compiles it with its
//! gradient, and keeps the code for programs of the same text.

use crate::once::run_recorded;
use crate::tensor::{Tensor, one};
use crate::trace::Trace;
use crate::tree::Tree;
use std::sync::Arc;
use tensorc_ir::error::err;
use tensorc_ir::ops::{Op, effect::Grad};
use tensorc_ir::{Builder, Ex, Loc, Result, Value};

/// The gradient of a scalar function with respect to all tensors of its argument: a tree of the argument's structure.
/// A tensor that the function does not use has a gradient of zeros. What shall not be differentiated is captured by
/// the closure.
///
/// # Errors
/// The returned function gives `grad` if the result is not a floating point scalar, if some tensor is not floating point,
/// or if the function writes to a tensor that it is differentiated by.
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
    with_options(f, false, Loc::caller())
}

/// As [`value_and_grad`], but a cotangent of zero stays zero through elementwise functions: the branch that a `where` does not
/// take has no part in the gradient, also if its slope is infinite or NaN there.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// use tensorc::{Tensor, grad, value_and_grad_strong_zero};
/// let f = |x: Tensor| x.gt(0.0)?.where_(x.sqrt(), 0.0)?.sum();
/// let x = tensorc::tensor([-1.0f32, 4.0])?;
/// assert!(grad(f)(x.clone())?.to_vec::<f32>()?[0].is_nan(), "as in PyTorch");
/// assert_eq!(value_and_grad_strong_zero(f)(x)?.1.to_vec::<f32>()?, [0.0, 0.25]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`grad`].
#[track_caller]
pub fn value_and_grad_strong_zero<A: Tree, F: Fn(A) -> Result<Tensor>>(f: F) -> impl Fn(A) -> Result<(Tensor, A)> {
    with_options(f, true, Loc::caller())
}

fn with_options<A: Tree, F: Fn(A) -> Result<Tensor>>(
    f: F,
    strong_zero: bool,
    loc: Loc,
) -> impl Fn(A) -> Result<(Tensor, A)> {
    move |args: A| {
        let mut leaves = Vec::new();
        let structure = args.take_apart(&mut leaves);
        let results = run_recorded("grad", &leaves, loc, |trace, leaves| {
            let (y, dx) = differentiate::<A, F>(&f, trace, &structure, leaves, strong_zero, loc)?;
            Ok(std::iter::once(y).chain(dx).collect())
        })?;
        let mut results = results.into_iter();
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
    strong_zero: bool,
    loc: Loc,
) -> Result<(Tensor, Vec<Tensor>)> {
    let (x, y, ()) = function(f, trace, structure, leaves, loc)?;
    let y = one(y)?;
    let mut operands = vec![trace.value_of(&y)?];
    operands.extend(&x);
    let node = trace.with(|b| {
        b.set_loc(loc);
        b.emit_all(Op::Grad(Grad { seeded: false, allow_unused: true, strong_zero }), &operands)
    })??;
    let dx = (0..x.len() as u16).map(|result| trace.tensor(Value { node, result })).collect::<Result<_>>()?;
    Ok((y, dx))
}

/// A function as it is recorded to be differentiated: its variables, its results, and their structure.
type Recorded<S> = (Vec<Value>, Vec<Tensor>, S);

/// Records `f` of variables, to which it must not write.
pub(crate) fn function<A: Tree, R: Tree, F: Fn(A) -> Result<R>>(
    f: &F,
    trace: &Arc<Trace>,
    structure: &A::Structure,
    leaves: &[Tensor],
    loc: Loc,
) -> Result<Recorded<R::Structure>> {
    let x = variables(trace, leaves, loc)?;
    let args = x.iter().map(|v| trace.tensor(*v)).collect::<Result<Vec<_>>>()?;
    let result = trace.within(|| f(A::put_together(structure, &mut args.into_iter())?))?;
    unwritten(trace, &x, loc)?;
    let mut y = Vec::new();
    let structure = result.take_apart(&mut y);
    Ok((x, y, structure))
}

/// The gradients of values, each with its cotangent, by `wrt`: of several, the sums; zeros of none.
pub(crate) fn gradients(
    b: &Builder,
    ys: impl IntoIterator<Item = (Value, Value)>,
    wrt: &[Value],
    strong_zero: bool,
) -> Result<Vec<Value>> {
    let mut sums: Vec<Option<Ex<'_>>> = vec![None; wrt.len()];
    for (y, seed) in ys {
        let given: Vec<Value> = [y, seed].into_iter().chain(wrt.iter().copied()).collect();
        let n = b.emit_all(Op::Grad(Grad { seeded: true, allow_unused: true, strong_zero }), &given)?;
        for (sum, d) in sums.iter_mut().zip(b.results(n)) {
            let d = b.ex(d);
            *sum = Some(sum.map_or(d, |before| before + d));
        }
    }
    sums.into_iter().zip(wrt).map(|(d, x)| d.unwrap_or_else(|| b.zeros(&b.ty(*x))).value()).collect()
}

/// A node of its own for each tensor: one that occurs twice is two variables.
fn variables(trace: &Arc<Trace>, leaves: &[Tensor], loc: Loc) -> Result<Vec<Value>> {
    let one = |t: &Tensor| {
        let v = trace.value_of(t).map_err(|e| e.at(loc))?;
        trace.with(|b| {
            b.set_loc(loc);
            let shape = b.ty(v).shape;
            b.emit(Op::Reshape(tensorc_ir::ops::view::Reshape(shape)), &[v])
        })?
    };
    leaves.iter().map(one).collect()
}

/// Refuses a function that has written to what it is differentiated by.
fn unwritten(trace: &Arc<Trace>, x: &[Value], loc: Loc) -> Result<()> {
    for own in x {
        if let Some(write) = trace.with(|b| b.written_since(own.node, *own))?? {
            let e = err::grad("a leaf Variable that requires grad is being used in an in-place operation.").at(loc);
            return Err(e.note(write, "the argument is written here").help("write to a copy: `x.copy()?`"));
        }
    }
    Ok(())
}

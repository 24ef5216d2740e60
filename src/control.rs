//! Control flow over trees of tensors: [`cond`], [`while_loop`] and [`scan`].
//!
//! The functions given are traced, each once, and become bodies of one op; so they see no elements, and the same code
//! runs inside and outside of [`jit`](crate::jit). What a function captures, traced or concrete, is handed to it as an
//! operand that stays the same. It may write to tensors that it makes, but to none from outside. Outside of a trace the
//! op is compiled at once, and the code is kept for programs of the same text.

use crate::once::run_traced;
use crate::tensor::{Tensor, op};
use crate::trace::Trace;
use crate::tree::Tree;
use std::sync::Arc;
use tensorc_ir::error::err;
use tensorc_ir::ops::control::{Body, Cond, Scan, While};
use tensorc_ir::types::axis;
use tensorc_ir::{DType, Dim, Graph, Loc, Op, Result, Strided};

/// One of two functions, by a bool tensor of one element; as PyTorch's `cond`. Only the one runs.
///
/// Both give trees of the same structure, with tensors of the same shapes and dtypes. The derivative is that of the
/// function that ran; a tensor that it does not use has a gradient of zeros.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// let x = tensorc::tensor([1.0f32, -3.0])?;
/// let small = x.sum()?.lt(0.0)?;
/// let y = tensorc::cond(&small, |x: tensorc::Tensor| x.exp(), |x| x.mul(2.0), x)?;
/// assert_eq!(y.shape(), [2]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `type` if the predicate is not one bool or the functions' results differ, `alias` if one writes to a tensor from
/// outside, and what they give.
#[track_caller]
pub fn cond<A: Tree, R: Tree>(
    pred: &Tensor,
    true_fn: impl FnOnce(A) -> Result<R>,
    false_fn: impl FnOnce(A) -> Result<R>,
    operands: A,
) -> Result<R> {
    let loc = Loc::caller();
    let mut leaves = vec![pred.clone()];
    let structure = operands.take_apart(&mut leaves);
    let mut made = None;
    let results = run_traced("cond", &leaves, loc, |trace, leaves| {
        let (pred, operands) = (&leaves[0], &leaves[1..]);
        let args: Vec<Arg> = operands.iter().map(whole).collect();
        let f = Traced::new(trace, "true_fn", &args, |x| apart(true_fn(together(&structure, x)?)?))?;
        let g = Traced::new(trace, "false_fn", &args, |x| apart(false_fn(together(&structure, x)?)?))?;
        if f.structure != g.structure {
            return Err(err::ty("`cond`: the two functions give trees of different structure").at(loc));
        }
        made = Some(f.structure.clone());
        let (bodies, captured) = unite([f.graph, g.graph], [args.len(); 2], [f.captured, g.captured])?;
        let operands = std::iter::once(pred).chain(operands).chain(&captured);
        emit(trace, Op::Cond(Cond { branches: bodies }), operands, loc)
    })?;
    put_together(made, results)
}

/// The function `body_fn` of its own result, as long as `cond_fn` of it gives true; as PyTorch's `while_loop`.
///
/// The result of `body_fn` has the structure, shapes and dtypes of `init`. There is no derivative: the number of steps is
/// not known before they have run.
///
/// # Errors
/// `type` if `cond_fn` does not give one bool or `body_fn` something else than it takes, `alias` if one writes to a tensor
/// from outside, `grad` if a gradient is asked of it, and what they give.
#[track_caller]
pub fn while_loop<C: Tree>(
    cond_fn: impl FnOnce(C) -> Result<Tensor>,
    body_fn: impl FnOnce(C) -> Result<C>,
    init: C,
) -> Result<C> {
    let loc = Loc::caller();
    let mut leaves = Vec::new();
    let structure = init.take_apart(&mut leaves);
    let results = run_traced("while_loop", &leaves, loc, |trace, leaves| {
        let args: Vec<Arg> = leaves.iter().map(carried).collect();
        let test = Traced::new(trace, "cond_fn", &args, |x| apart(cond_fn(together(&structure, x)?)?))?;
        let body = Traced::new(trace, "body_fn", &args, |x| apart(body_fn(together(&structure, x)?)?))?;
        same_structure("while_loop", &body.structure, &structure, loc)?;
        let (bodies, captured) = unite([test.graph, body.graph], [args.len(); 2], [test.captured, body.captured])?;
        let [test, body] = bodies;
        emit(trace, Op::While(While { test, body }), leaves.iter().chain(&captured), loc)
    })?;
    put_together(Some(structure), results)
}

/// How [`scan_with`] goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// The dimension to go along; from the end if it is negative.
    pub dim: i64,
    /// Whether to go from the last slice to the first.
    pub reverse: bool,
    /// The number of steps. It is known from `xs` unless there is no tensor in it.
    pub length: Option<usize>,
}

/// Goes along the first dimension of the tensors in `xs`, carrying values from step to step; as PyTorch's `scan`.
///
/// `combine_fn(carry, x)` gives the next carry and a result; the last carry is returned with the results of all steps,
/// stacked. A carry keeps its structure, shapes and dtypes. The derivative keeps the carries of all steps.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// use tensorc::Tensor;
/// let xs = tensorc::tensor([1.0f32, 2.0, 3.0])?;
/// let zero = Tensor::scalar(0.0f32)?;
/// let (last, sums) = tensorc::scan(
///     |sum: Tensor, x: Tensor| {
///         let sum = sum.add(&x)?;
///         Ok((sum.clone(), sum))
///     },
///     zero,
///     xs,
/// )?;
/// assert_eq!((last.item::<f32>()?, sums.to_vec::<f32>()?), (6.0, vec![1.0, 3.0, 6.0]));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `type` if the carry changes its type, `shape` if the slices are not equally many, `alias` if the function writes to a
/// tensor from outside, and what it gives.
#[track_caller]
pub fn scan<C: Tree, X: Tree, Y: Tree>(
    combine_fn: impl FnOnce(C, X) -> Result<(C, Y)>,
    init: C,
    xs: X,
) -> Result<(C, Y)> {
    scan_with(ScanOptions::default(), combine_fn, init, xs)
}

/// As [`scan`], with options.
///
/// # Errors
/// As [`scan`]; `index` if there is no such dimension.
#[track_caller]
pub fn scan_with<C: Tree, X: Tree, Y: Tree>(
    options: ScanOptions,
    combine_fn: impl FnOnce(C, X) -> Result<(C, Y)>,
    init: C,
    xs: X,
) -> Result<(C, Y)> {
    let loc = Loc::caller();
    let mut leaves = Vec::new();
    let carry = init.take_apart(&mut leaves);
    let carries = leaves.len();
    let slices = xs.take_apart(&mut leaves);
    let dim = axis(options.dim, leaves.get(carries).map_or(1, Tensor::dim)).map_err(|e| e.at(loc))?;
    let extent = |t: &Tensor| t.strided().shape.get(dim).copied();
    let given = options.length.map(Dim::from);
    let length = match (leaves.get(carries), given) {
        (Some(x), _) => extent(x),
        (None, n) => n,
    };
    let Some(length) = length else {
        if let Some(x) = leaves.get(carries) {
            return Err(err::shape(format!("`scan`: a tensor of shape {:?} has no dimension {dim}", x.shape())).at(loc));
        }
        return Err(err::ty("`scan`: there is no tensor to go along").at(loc).help("say how often with `length`"));
    };
    let wrong = |t: &&Tensor| extent(t) != Some(length) || given.is_some_and(|n| n != length);
    if let Some(t) = leaves[carries..].iter().find(wrong) {
        let e = format!("`scan`: a tensor of shape {:?} has no {length} slices along dimension {dim}", t.shape());
        return Err(err::shape(e).at(loc));
    }
    let mut made = None;
    let results = run_traced("scan", &leaves, loc, |trace, leaves| {
        let (init, xs) = leaves.split_at(carries);
        let xs = xs.iter().map(|x| moved(x, dim, 0)).collect::<Result<Vec<_>>>()?;
        let args: Vec<Arg> = init.iter().map(carried).chain(xs.iter().map(slice)).collect();
        let f = Traced::new(trace, "combine_fn", &args, |mut x| {
            let slice = x.split_off(carries);
            let (next, y) = combine_fn(together(&carry, x)?, together(&slices, slice)?)?;
            let (mut results, structure) = apart(next)?;
            let (ys, y) = apart(y)?;
            results.extend(ys);
            Ok((results, (structure, y)))
        })?;
        same_structure("scan", &f.structure.0, &carry, loc)?;
        made = Some(f.structure.clone());
        let ys = f.graph.outputs.len() - carries;
        let ([body], captured) = unite([f.graph], [args.len()], [f.captured])?;
        let op = Scan { body, carries, xs: xs.len(), length, reverse: options.reverse, save: false };
        let operands = init.iter().chain(&xs).chain(&captured);
        let mut results = emit(trace, Op::Loop(op), operands, loc)?;
        for y in &mut results[carries..carries + ys] {
            // The stacked dimension goes to where it was in what it was taken from.
            *y = moved(y, 0, dim.min(y.dim() - 1))?;
        }
        Ok(results)
    })?;
    put_together(made, results)
}

/// How an argument of a body lies in memory.
#[derive(Clone)]
pub(crate) struct Arg {
    pub(crate) dtype: DType,
    layout: Strided,
}

/// An argument that is handed on as it is.
pub(crate) fn whole(t: &Tensor) -> Arg {
    Arg { dtype: t.dtype(), layout: t.strided().from_start() }
}

/// A carry is row-major from the second step on, so it is taken for that from the first.
fn carried(t: &Tensor) -> Arg {
    Arg { dtype: t.dtype(), layout: Strided::contiguous(&t.strided().shape) }
}

/// One slice along the first dimension.
pub(crate) fn slice(t: &Tensor) -> Arg {
    Arg { dtype: t.dtype(), layout: t.strided().first_slice() }
}

/// The tensor with dimension `from` at the place `to`.
pub(crate) fn moved(t: &Tensor, from: usize, to: usize) -> Result<Tensor> {
    if from == to {
        return Ok(t.clone());
    }
    let mut order: Vec<i64> = (0..t.dim() as i64).collect();
    let dim = order.remove(from);
    order.insert(to, dim);
    op("permute", [t.into(), order.as_slice().into()])
}

/// A function as it was traced.
pub(crate) struct Traced<S> {
    pub(crate) graph: Graph,
    /// The tensors from outside, in the order of the parameters behind the arguments.
    pub(crate) captured: Vec<Tensor>,
    pub(crate) structure: S,
}

impl<S> Traced<S> {
    pub(crate) fn new(
        outer: &Arc<Trace>,
        name: &str,
        args: &[Arg],
        f: impl FnOnce(Vec<Tensor>) -> Result<(Vec<Tensor>, S)>,
    ) -> Result<Traced<S>> {
        let trace = Trace::inside(name, outer)?;
        let inputs = args.iter().enumerate().map(|(i, a)| trace.input(&format!("x{i}"), a.dtype, &a.layout));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let (results, structure) = trace.within(|| f(inputs))?;
        let values = results.iter().map(|t| trace.value_of(t)).collect::<Result<Vec<_>>>()?;
        let own = trace.with(|b| Body::own_results(b, &values))??;
        let (graph, captured) = trace.finish(own)?;
        Ok(Traced { graph, captured, structure })
    }
}

impl<S> Traced<S> {
    /// Its results as arguments of another function, row-major.
    pub(crate) fn results(&self) -> Vec<Arg> {
        let types = self.graph.outputs.iter().map(|v| self.graph.ty(*v));
        types.map(|t| Arg { dtype: t.dtype, layout: Strided::contiguous(&t.shape) }).collect()
    }
}

/// Functions with parameters of the same end: each its own arguments, so many, then what any of them captures.
pub(crate) fn unite<const N: usize>(
    graphs: [Graph; N],
    args: [usize; N],
    captured: [Vec<Tensor>; N],
) -> Result<([Body; N], Vec<Tensor>)> {
    let mut all: Vec<Tensor> = Vec::new();
    // For each function, its parameter for each of all captured tensors.
    let mut places: Vec<Vec<Option<usize>>> = Vec::new();
    for (list, args) in captured.iter().zip(args) {
        let mut own = vec![None; all.len()];
        for (i, t) in list.iter().enumerate() {
            let k = all.iter().position(|u| u.is(t)).unwrap_or_else(|| {
                all.push(t.clone());
                own.push(None);
                all.len() - 1
            });
            own[k] = Some(args + i);
        }
        places.push(own);
    }
    let types: Vec<_> = all.iter().map(|t| (t.dtype(), t.strided().shape)).collect();
    let mut bodies = Vec::new();
    for ((g, mut own), args) in graphs.into_iter().zip(places).zip(args) {
        own.resize(all.len(), None);
        bodies.push(Body::with_params(&g, args, &own, &types)?);
    }
    let bodies = bodies.try_into().map_err(|_| err::ty("a function was lost"))?;
    Ok((bodies, all))
}

/// Appends a control op.
pub(crate) fn emit<'a>(
    trace: &Arc<Trace>,
    op: Op,
    operands: impl Iterator<Item = &'a Tensor>,
    loc: Loc,
) -> Result<Vec<Tensor>> {
    let values = operands.map(|t| trace.value_of(t)).collect::<Result<Vec<_>>>().map_err(|e| e.at(loc))?;
    let results = trace.with(|b| {
        b.set_loc(loc);
        let node = b.emit_all(op, &values)?;
        Ok::<_, tensorc_ir::Error>(b.results(node))
    })??;
    results.into_iter().map(|v| trace.tensor(v)).collect()
}

fn same_structure<S: PartialEq>(op: &str, got: &S, want: &S, loc: Loc) -> Result<()> {
    if got == want {
        return Ok(());
    }
    Err(err::ty(format!("`{op}`: the carry that the function gives has another structure than the one it takes"))
        .at(loc))
}

pub(crate) fn together<T: Tree>(structure: &T::Structure, leaves: Vec<Tensor>) -> Result<T> {
    T::put_together(structure, &mut leaves.into_iter())
}

/// The tensors of a tree, with its structure.
pub(crate) fn apart<T: Tree>(tree: T) -> Result<(Vec<Tensor>, T::Structure)> {
    let mut leaves = Vec::new();
    let structure = tree.take_apart(&mut leaves);
    Ok((leaves, structure))
}

/// Traces `f` of the tensors of an argument, which gives results and their structure, and runs what it has recorded.
pub(crate) fn transformed<A: Tree, R: Tree>(
    name: &str,
    args: &A,
    loc: Loc,
    f: impl FnOnce(&Arc<Trace>, &[Tensor], &A::Structure) -> Result<(Vec<Tensor>, R::Structure)>,
) -> Result<R> {
    let mut leaves = Vec::new();
    let structure = args.take_apart(&mut leaves);
    let mut made = None;
    let results = run_traced(name, &leaves, loc, |trace, leaves| {
        let (results, found) = f(trace, leaves, &structure)?;
        made = Some(found);
        Ok(results)
    })?;
    put_together(made, results)
}

/// The results in the structure that was found while tracing.
pub(crate) fn put_together<T: Tree>(structure: Option<T::Structure>, results: Vec<Tensor>) -> Result<T> {
    let structure = structure.ok_or_else(|| err::ty("a function that was not traced"))?;
    together(&structure, results)
}

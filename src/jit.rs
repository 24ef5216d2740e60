//! [`jit`]: a closure over trees of tensors, traced and compiled once for each signature of its arguments.
//!
//! The signature is the structure of the argument, and dtype, shape and strides of its tensors, and which of them share
//! elements and how: a function that writes is another program then ([`crate::sharing`]). A warm call looks the signature
//! up, binds memory and runs kernels; the closure does not run again. It takes no lock, so threads that call one function
//! do not wait for each other. Concrete tensors that the closure has captured are arguments that are not passed: they are
//! read and written at each call. What the closure itself makes is made at each call.

use crate::autograd;
use crate::autograd::program::Differentiable;
use crate::donate::{reuse, unless_copied};
use crate::dynamic::{self, Variant};
use crate::sharing::{Params, Words, record, writes_to_shared};
use crate::signature::{self, Signature, leaves, views};
use crate::table::Table;
use crate::tensor::concrete::Concrete;
use crate::tensor::{Tensor, compile_traced};
use crate::trace::Trace;
use crate::tree::Tree;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tensorc_ir::dim::Sizes;
use tensorc_ir::error::err;
use tensorc_ir::{Dim, Error, Graph, Layout, Loc, Result, Strided, Value};
use tensorc_runtime::executable::{Args, Executable, Options, Results, View};

/// A function that is compiled for each signature it is called with.
pub struct Jit<A: Tree, R: Tree, F> {
    f: F,
    compiled: Table<Compiled<A, R>>,
    /// Axes whose extents are symbolic: argument, axis, name.
    marks: Vec<(usize, usize, String)>,
    /// Arguments whose memory belongs to the call.
    donated: Vec<usize>,
    dynamic: dynamic::Table<Key<A>, Kept<R>>,
    /// Programs with symbolic extents that have run, bound to extents: [`MOST_BOUND`] of them and some.
    bound: Table<Bound<A, R>>,
    bindings: AtomicUsize,
    compilations: AtomicUsize,
    _argument: PhantomData<fn(A) -> R>,
}

/// What tells two signatures apart.
type Key<A> = (<A as Tree>::Structure, Vec<u64>);

/// The program of one signature, and of one way of sharing elements with captured tensors.
struct Compiled<A: Tree, R: Tree> {
    argument: A::Structure,
    signature: Signature,
    exe: Executable,
    params: Params,
    /// How the arguments share elements with captured tensors.
    sharing: Words,
    /// The donated parameters.
    donated: Vec<usize>,
    structure: R::Structure,
    traced: Differentiable,
}

/// The most bound programs that are found without a lock. What is bound later takes the longer way each time.
const MOST_BOUND: usize = 256;

/// A program with symbolic extents for the arguments of one signature. It has captured nothing.
struct Bound<A: Tree, R: Tree> {
    argument: A::Structure,
    signature: Signature,
    exe: Arc<Executable>,
    of: Arc<Variant<Kept<R>>>,
}

/// What belongs to a program with symbolic extents: what it captured, and the structure of its result.
type Kept<R> = (Vec<Arc<Concrete>>, <R as Tree>::Structure);

/// Makes a function that traces `f` at its first call with each signature, and from then on runs compiled code.
///
/// In-place ops on arguments change the caller's tensors; results that are views of arguments are views.
pub fn jit<A: Tree, R: Tree, F: Fn(A) -> Result<R>>(f: F) -> Jit<A, R, F> {
    Jit {
        f,
        compiled: Table::default(),
        marks: Vec::new(),
        donated: Vec::new(),
        dynamic: Mutex::default(),
        bound: Table::default(),
        bindings: AtomicUsize::new(0),
        compilations: AtomicUsize::new(0),
        _argument: PhantomData,
    }
}

impl<A: Tree, R: Tree, F: Fn(A) -> Result<R>> Jit<A, R, F> {
    /// Makes the extent of one axis of one argument symbolic, by a name: the function is then compiled once for all of
    /// its values, 0 and 1 included. Arguments count from 0 over all tensors of the argument tree. Axes of one name have
    /// one extent; axes of different names do not broadcast with each other, whatever their extents are.
    ///
    /// What is decided by the extent while the function is traced is assumed of later calls; a call that is not as assumed
    /// compiles another program ([`Jit::assumptions`]). A function that asks for the number itself (by `shape`), or does
    /// something that takes one, is compiled for each extent, as without the mark. Arguments that are not row-major are too.
    ///
    /// ```
    /// use tensorc::{Tensor, dtype::F32, jit, ones};
    ///
    /// # fn main() -> tensorc::Result<()> {
    /// let f = jit(|(x, w): (Tensor, Tensor)| x.matmul(&w)?.relu()?.mean()).dynamic(0, 0, "batch");
    /// let w = ones(&[3, 2], F32)?;
    /// for batch in [8, 1, 0, 100] {
    ///     f.call((ones(&[batch, 3], F32)?, w.clone()))?;
    /// }
    /// assert_eq!(f.compilations(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn dynamic(mut self, argument: usize, axis: usize, name: &str) -> Jit<A, R, F> {
        self.marks.push((argument, axis, name.to_string()));
        self
    }

    /// Gives the memory of one argument to each call: a result of its dtype and shape, if there is one, is stored in it.
    /// After a call that succeeds, that tensor and all that share its memory are of no more use: each use is an error
    /// that names the call. One that fails leaves it as it was. Arguments count from 0 over all tensors of the argument
    /// tree. In a function that is itself traced this changes nothing.
    ///
    /// A call gives the error `alias` if the argument shares its memory with another one or with a captured tensor, or if
    /// that is lent for a scope or lent to read only.
    ///
    /// ```
    /// use tensorc::{Tensor, dtype::F32, jit, ones};
    ///
    /// # fn main() -> tensorc::Result<()> {
    /// let step = jit(|(w, dw): (Tensor, Tensor)| w.sub(&dw.mul(0.1)?)).donate(0);
    /// let (mut w, dw) = (ones(&[1000], F32)?, ones(&[1000], F32)?);
    /// let before = w.clone();
    /// for _ in 0..10 {
    ///     w = step.call((w, dw.clone()))?;
    /// }
    /// assert!(before.sum().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn donate(mut self, argument: usize) -> Jit<A, R, F> {
        if !self.donated.contains(&argument) {
            self.donated.push(argument);
        }
        self
    }

    /// What the compiled programs assume of symbolic extents, one list for each program, as `10 <= batch`; a function
    /// that is compiled for each extent has one that says why.
    pub fn assumptions(&self) -> Vec<Vec<String>> {
        let dynamic = self.dynamic.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::new();
        for d in dynamic.values() {
            out.extend(d.each(|v| v.assumptions().iter().map(ToString::to_string).collect::<Vec<_>>()));
            out.extend(d.refused().map(|e| vec![e.diagnostic().message.clone()]));
        }
        out
    }

    /// Calls the function.
    ///
    /// # Errors
    /// At the first call of a signature, whatever the closure gives, and what cannot be compiled; at each call, `alias`
    /// if an argument is in use elsewhere, `data` if a check fails, and then no argument has changed.
    #[track_caller]
    pub fn call(&self, args: A) -> Result<R> {
        let loc = Loc::caller();
        // What the closure refuses has its own line.
        self.called(args, loc).map_err(|e| e.at(loc))
    }

    fn called(&self, args: A, loc: Loc) -> Result<R> {
        let Some((leaves, mixed)) = leaves(&args) else {
            // Inside another trace this function is a part of that program.
            return (self.f)(args);
        };
        let views = views(&leaves);
        let (hash, shared) = (signature::hash(mixed, &views), signature::shared(&views));
        if !self.marks.is_empty() && !autograd::records(leaves.iter().copied()) {
            let fits = |b: &Bound<A, R>| b.signature.is_of(&views, &shared) && args.has_structure(&b.argument);
            if let Some(b) = self.bound.find(hash, fits) {
                let mut results = b.exe.call_donating(&views, &self.donated, loc, Tensor::concrete)?;
                return R::put_together(&b.of.with.1, &mut results.drain(..));
            }
            if let Some(result) = self.call_dynamic(&args, &views, hash, loc)? {
                return Ok(result);
            }
        }
        let compiled = match self.compiled.find(hash, |c| c.fits(&args, &views, &shared)) {
            Some(compiled) => compiled,
            None => self.compiled.add(hash, self.compile(&args, &views)?),
        };
        let (bases, all);
        let args: &[&View] = match compiled.params.are_arguments() {
            true => &views,
            false => {
                bases = compiled.params.bases(&views);
                all = compiled.params.of(&views, &bases);
                &all
            }
        };
        let mut results: Results<Tensor>;
        if autograd::records(leaves.iter().copied().chain(&compiled.params.captured)) {
            let run = || Ok(compiled.exe.call_donating(args, &compiled.donated, loc, |v| v)?.into_vec());
            results = compiled.traced.run("jit", compiled.params.tensors(&leaves), loc, run)?.into();
        } else {
            results = compiled.exe.call_donating(args, &compiled.donated, loc, Tensor::concrete)?;
        }
        R::put_together(&compiled.structure, &mut results.drain(..))
    }

    /// How many signatures have been compiled.
    pub fn compilations(&self) -> usize {
        self.compilations.load(Ordering::Relaxed)
    }

    /// A call through a program with symbolic extents; `None` if there is none for these arguments.
    fn call_dynamic(&self, args: &A, given: &[&View], hash: u64, loc: Loc) -> Result<Option<R>> {
        let structure = &args.take_apart(&mut Vec::new());
        let mut views: Vec<View> = Vec::with_capacity(given.len());
        for v in given {
            // Strides of dimensions of one element may be anything; here they are what they are for any extent.
            let layout = match v.layout.is_contiguous() {
                true => Layout { offset: v.layout.offset, ..Layout::contiguous(&v.layout.shape) },
                false => v.layout.clone(),
            };
            views.push(View { storage: v.storage.clone(), dtype: v.dtype, layout });
        }
        let mut sizes: Vec<(&str, i64)> = Vec::new();
        for (argument, axis, name) in &self.marks {
            let extent = views.get(*argument).and_then(|v| v.layout.shape.get(*axis));
            let Some(extent) = extent else {
                let e = err::index(format!("there is no axis {axis} of argument {argument} to be `{name}`"));
                return Err(e.at(loc));
            };
            match sizes.iter().find(|(n, _)| n == name) {
                Some((_, before)) if *before != *extent as i64 => {
                    let e =
                        err::shape(format!("`{name}` is {before} in one argument and {extent} in argument {argument}"));
                    return Err(e.at(loc).help("axes of one name have one extent"));
                }
                Some(_) => {}
                None => sizes.push((name, *extent as i64)),
            }
        }
        let shared = |i: usize| views[..i].iter().any(|v| v.overlaps(&views[i]));
        if self.marks.iter().any(|(a, ..)| !views[*a].layout.is_contiguous()) || (0..views.len()).any(shared) {
            return Ok(None);
        }
        let marked = |argument, axis| self.marks.iter().any(|(a, k, _)| (*a, *k) == (argument, axis));
        let key = (structure.clone(), signature(&views, marked));
        let variants = self.dynamic.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let lent: Args<'_> = views.iter().collect();
        let args =
            |(captured, _): &Kept<R>| views.iter().chain(captured.iter().map(|c| &c.view)).cloned().collect::<Vec<_>>();
        let make = |reuses: bool| {
            Variant::compile(&Sizes::new(sizes.clone()), Options::default(), || {
                let layouts: Vec<Strided> = (0..views.len()).map(|i| self.symbolic(i, &views[i].layout)).collect();
                let trace = Trace::new("jit");
                let inputs = inputs(&trace, &lent, &layouts)?;
                let (leaves, structure) = self.trace(&trace, inputs, structure, reuses)?;
                let (graph, captured) = end(&trace, &leaves, views.len())?;
                let all: Vec<&View> = views.iter().chain(captured.iter().map(|c| &c.view)).collect();
                if writes_to_shared(&all, &graph.written()) {
                    return Err(
                        err::alias("a captured tensor shares memory with one that is written").waiting_for_sizes()
                    );
                }
                let layouts = layouts.into_iter().chain(captured.iter().map(|v| Strided::from(&v.layout))).collect();
                Ok::<_, Error>((graph, layouts, (captured, structure)))
            })
        };
        let make = || {
            let made = unless_copied(make, |v| v.writes_back(&self.donated))?;
            self.compilations.fetch_add(1, Ordering::Relaxed);
            Ok(made)
        };
        let Some(found) = variants.find_or_make(args, make)? else { return Ok(None) };
        let (captured, result) = &found.variant.with;
        if autograd::records(captured) || captured.iter().any(|c| views.iter().any(|v| v.overlaps(c))) {
            return Ok(None);
        }
        let args: Args<'_> = found.args.iter().collect();
        let results = found.exe.call_donating(&args, &self.donated, loc, Tensor::concrete)?;
        let as_they_are = given.iter().zip(&views).all(|(a, b)| a.layout == b.layout);
        if captured.is_empty() && as_they_are && self.bindings.load(Ordering::Relaxed) < MOST_BOUND {
            self.bindings.fetch_add(1, Ordering::Relaxed);
            let (argument, signature) = (structure.clone(), Signature::of(given));
            self.bound.add(hash, Bound { argument, signature, exe: found.exe.clone(), of: found.variant.clone() });
        }
        R::put_together(result, &mut results.into_iter()).map(Some)
    }

    /// How an argument lies when its marked extents are symbolic.
    fn symbolic(&self, argument: usize, layout: &Layout) -> Strided {
        let mut s = Strided::from(layout);
        for (_, axis, name) in self.marks.iter().filter(|(a, ..)| *a == argument) {
            s.shape[*axis] = Dim::size(name);
        }
        if s.shape.iter().all(|d| d.known().is_some()) { s } else { Strided::contiguous(&s.shape) }
    }

    fn compile(&self, args: &A, views: &[&View]) -> Result<Compiled<A, R>> {
        let argument = &args.take_apart(&mut Vec::new());
        let make = |reuses: bool| {
            let (graph, params, structure) = record(views, |trace, args| self.trace(trace, args, argument, reuses))?;
            let bases = params.bases(views);
            let layouts: Vec<Layout> = params.of(views, &bases).iter().map(|v| v.layout.clone()).collect();
            let exe = compile_traced(&graph, &layouts, Options::default())?;
            let donated = self.donated.iter().map(|i| params.position(*i)).collect::<Result<Vec<_>>>()?;
            let (signature, sharing, traced) =
                (Signature::of(views), params.sharing(views), Differentiable::new(graph));
            let argument = argument.clone();
            Ok::<_, Error>(Compiled { argument, signature, exe, params, sharing, donated, structure, traced })
        };
        let compiled = unless_copied(make, |c| c.exe.program().writes_back(&c.donated))?;
        self.compilations.fetch_add(1, Ordering::Relaxed);
        Ok(compiled)
    }

    /// Runs the closure on tensors of a trace: its results, and their structure. With `reuses` they lie in donated
    /// arguments where they can.
    fn trace(
        &self,
        trace: &Arc<Trace>,
        args: Vec<Tensor>,
        structure: &A::Structure,
        reuses: bool,
    ) -> Result<(Vec<Tensor>, R::Structure)> {
        let given = A::put_together(structure, &mut args.iter().cloned())?;
        let result = trace.within(|| (self.f)(given))?;
        let mut leaves = Vec::new();
        let structure = result.take_apart(&mut leaves);
        if reuses {
            reuse(trace, &args, &self.donated, &mut leaves)?;
        }
        Ok((leaves, structure))
    }
}

impl<A: Tree, R: Tree> Compiled<A, R> {
    /// Whether it is the program for these arguments.
    fn fits(&self, args: &A, views: &[&View], shared: &Words) -> bool {
        self.signature.is_of(views, shared)
            && args.has_structure(&self.argument)
            && (self.params.captured.is_empty() || self.sharing == self.params.sharing(views))
    }
}

/// The words of a signature with marked axes: dtypes, extents but for those of marked axes, strides of arguments without one. They share no
/// elements.
fn signature(views: &[View], marked: impl Fn(usize, usize) -> bool) -> Vec<u64> {
    let mut words = Vec::with_capacity(views.len() * 6);
    for (i, v) in views.iter().enumerate() {
        words.push((v.dtype as u64) << 8 | v.layout.shape.len() as u64);
        let mut any = false;
        for (k, n) in v.layout.shape.iter().enumerate() {
            let symbolic = marked(i, k);
            any |= symbolic;
            words.push(if symbolic { u64::MAX } else { *n as u64 });
        }
        if !any {
            words.extend(v.layout.strides.iter().map(|s| *s as u64));
        }
    }
    words
}

/// Inputs of a trace that lie like these arguments.
pub(crate) fn inputs(trace: &Arc<Trace>, views: &[&View], layouts: &[Strided]) -> Result<Vec<Tensor>> {
    let input = |(i, (v, l)): (usize, (&&View, &Strided))| trace.input(&format!("arg{i}"), v.dtype, l);
    views.iter().zip(layouts).enumerate().map(input).collect()
}

/// Ends a trace of so many parameters: its graph, and what it captured.
pub(crate) fn end(trace: &Arc<Trace>, results: &[Tensor], params: usize) -> Result<(Graph, Vec<Arc<Concrete>>)> {
    let values: Vec<Value> = results.iter().map(|t| trace.value_of(t)).collect::<Result<_>>()?;
    let (graph, captured) = trace.finish(values)?;
    let captured = captured.iter().map(|t| t.concrete_for("jit").cloned()).collect::<Result<Vec<_>>>()?;
    if graph.params.len() != params + captured.len() {
        return Err(err::ty("a traced function has lost a parameter"));
    }
    Ok((graph, captured))
}

//! [`jit`]: a closure over trees of tensors, traced and compiled once for each signature of its arguments.
//!
//! The signature is the structure of the argument, and dtype, shape, strides and sharing of its tensors. A warm call
//! looks the signature up, binds memory and runs kernels; the closure does not run again. Concrete tensors that the
//! closure has captured are read at each call, so changes to them are seen.

use crate::tensor::{Repr, Tensor, compile_traced};
use crate::trace::{self, Trace};
use crate::tree::Tree;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tensorc_ir::error::err;
use tensorc_ir::{Graph, Layout, Loc, Result, Value};
use tensorc_runtime::executable::{Executable, Options, View};

/// A function that is compiled for each signature it is called with.
pub struct Jit<A: Tree, R: Tree, F> {
    f: F,
    compiled: Mutex<HashMap<Key<A>, Arc<Compiled<R>>>>,
    compilations: AtomicUsize,
    _argument: PhantomData<fn(A) -> R>,
}

/// What tells two signatures apart.
type Key<A> = (<A as Tree>::Structure, Vec<u64>);

struct Compiled<R: Tree> {
    exe: Executable,
    captured: Vec<Arc<View>>,
    structure: R::Structure,
}

/// Makes a function that traces `f` at its first call with each signature, and from then on runs compiled code.
///
/// In-place ops on arguments change the caller's tensors; results that are views of arguments are views.
pub fn jit<A: Tree, R: Tree, F: Fn(A) -> Result<R>>(f: F) -> Jit<A, R, F> {
    Jit { f, compiled: Mutex::default(), compilations: AtomicUsize::new(0), _argument: PhantomData }
}

impl<A: Tree, R: Tree, F: Fn(A) -> Result<R>> Jit<A, R, F> {
    /// Calls the function.
    ///
    /// # Errors
    /// At the first call of a signature, whatever the closure gives, and what cannot be compiled; at each call, `alias`
    /// if an argument is in use elsewhere, `data` if a check fails, and then no argument has changed.
    #[track_caller]
    pub fn call(&self, args: A) -> Result<R> {
        let loc = Loc::caller();
        let mut leaves = Vec::with_capacity(8);
        let structure = args.take_apart(&mut leaves);
        // Inside another trace this function is a part of that program.
        if trace::body().is_some() || leaves.iter().any(|t| matches!(t.0, Repr::Traced(_))) {
            return (self.f)(args);
        }
        let mut views: Vec<View> = Vec::with_capacity(leaves.len());
        let mut words = Vec::with_capacity(leaves.len() * 6);
        for t in &leaves {
            let v = t.view_of("jit")?;
            words.push((v.dtype as u64) << 8 | v.layout.shape.len() as u64);
            words.extend(v.layout.shape.iter().map(|d| *d as u64));
            words.extend(v.layout.strides.iter().map(|s| *s as u64));
            // Which earlier argument it shares storage with, and at which distance.
            let first = views.iter().position(|w| w.storage.same(&v.storage));
            if let Some(i) = first {
                words.extend([1 << 40 | i as u64, v.layout.offset.wrapping_sub(views[i].layout.offset) as u64]);
            }
            views.push((**v).clone());
        }
        let key = (structure, words);
        let hit = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let compiled = match hit {
            Some(c) => c,
            None => {
                let c = Arc::new(self.compile(&key.0, &views)?);
                self.compiled.lock().unwrap_or_else(PoisonError::into_inner).insert(key, c.clone());
                c
            }
        };
        views.extend(compiled.captured.iter().map(|v| (**v).clone()));
        let results = compiled.exe.call(&views, loc)?;
        R::put_together(&compiled.structure, &mut results.into_iter().map(Tensor::concrete))
    }

    /// How many signatures have been compiled.
    pub fn compilations(&self) -> usize {
        self.compilations.load(Ordering::Relaxed)
    }

    fn compile(&self, structure: &A::Structure, views: &[View]) -> Result<Compiled<R>> {
        let trace = Trace::new("jit");
        let inputs = inputs(&trace, views)?;
        let args = A::put_together(structure, &mut inputs.into_iter())?;
        let result = trace.within(|| (self.f)(args))?;
        let mut leaves = Vec::new();
        let structure = result.take_apart(&mut leaves);
        let (exe, captured) = finish(&trace, &leaves, views)?;
        self.compilations.fetch_add(1, Ordering::Relaxed);
        Ok(Compiled { exe, captured, structure })
    }
}

/// Inputs of a trace that lie like these arguments. The same tensor twice is one value.
fn inputs(trace: &Arc<Trace>, views: &[View]) -> Result<Vec<Tensor>> {
    let mut inputs: Vec<Tensor> = Vec::new();
    for (i, v) in views.iter().enumerate() {
        inputs.push(trace.input(&format!("arg{i}"), v.dtype, &v.layout)?);
    }
    Ok(inputs)
}

/// Ends a trace whose parameters are `views` and compiles it.
fn finish(trace: &Arc<Trace>, results: &[Tensor], views: &[View]) -> Result<(Executable, Vec<Arc<View>>)> {
    let (graph, layouts, captured) = end(trace, results, views)?;
    Ok((compile_traced(&graph, &layouts, Options::default())?, captured))
}

/// The most programs that are kept for calls without a [`Jit`] of their own; with more the table starts anew.
const MOST_PROGRAMS: usize = 512;

/// Records ops on tensors: in the trace that they belong to, or in one of its own that is compiled and run at once.
/// `record` gives the results, of which there may be any number.
pub(crate) fn run_traced(
    name: &str,
    leaves: &[Tensor],
    loc: Loc,
    record: impl FnOnce(&Arc<Trace>, &[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Tensor>> {
    if let Some(trace) = trace::of(leaves).or_else(trace::current) {
        return trace.within(|| record(&trace, leaves));
    }
    let trace = Trace::new(name);
    let mut views = leaves.iter().map(|t| Ok((**t.view_of(name)?).clone())).collect::<Result<Vec<View>>>()?;
    let inputs = inputs(&trace, &views)?;
    let results = trace.within(|| record(&trace, &inputs))?;
    let (exe, captured) = finish_once(&trace, &results, &views)?;
    views.extend(captured.iter().map(|v| (**v).clone()));
    Ok(exe.call(&views, loc)?.into_iter().map(Tensor::concrete).collect())
}

/// As [`finish`], for a function that is traced at every call: a program of the same text is compiled once.
fn finish_once(trace: &Arc<Trace>, results: &[Tensor], views: &[View]) -> Result<(Arc<Executable>, Vec<Arc<View>>)> {
    static PROGRAMS: OnceLock<Mutex<HashMap<String, Arc<Executable>>>> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(Mutex::default);
    let (graph, layouts, captured) = end(trace, results, views)?;
    let strides: Vec<&[isize]> = layouts.iter().map(|l| l.strides.as_slice()).collect();
    let key = format!("{strides:?}\n{}", tensorc_ir::text::print::print(&graph));
    if let Some(exe) = programs.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok((exe.clone(), captured));
    }
    let exe = Arc::new(compile_traced(&graph, &layouts, Options::default())?);
    let mut programs = programs.lock().unwrap_or_else(PoisonError::into_inner);
    if programs.len() >= MOST_PROGRAMS {
        programs.clear();
    }
    programs.insert(key, exe.clone());
    Ok((exe, captured))
}

/// Ends a trace: its graph, the layouts of its parameters, and what it captured.
fn end(trace: &Arc<Trace>, results: &[Tensor], views: &[View]) -> Result<(Graph, Vec<Layout>, Vec<Arc<View>>)> {
    let values: Vec<Value> = results.iter().map(|t| trace.value_of(t)).collect::<Result<_>>()?;
    let (graph, captured) = trace.finish(values)?;
    let captured = captured.iter().map(|t| t.view_of("jit").cloned()).collect::<Result<Vec<_>>>()?;
    let layouts: Vec<Layout> =
        views.iter().map(|v| v.layout.clone()).chain(captured.iter().map(|v| v.layout.clone())).collect();
    if graph.params.len() != layouts.len() {
        return Err(err::ty("a traced function has lost a parameter"));
    }
    Ok((graph, layouts, captured))
}

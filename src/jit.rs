//! [`jit`]: a closure over trees of tensors, traced and compiled once for each signature of its arguments.
//!
//! The signature is the structure of the argument, and dtype, shape, strides and sharing of its tensors. A warm call
//! looks the signature up, binds memory and runs kernels; the closure does not run again. Concrete tensors that the
//! closure has captured are read at each call, so changes to them are seen.

use crate::dynamic::{Table, Variant};
use crate::tensor::{Repr, Tensor, compile_traced};
use crate::trace::{self, Trace};
use crate::tree::Tree;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tensorc_ir::dim::Sizes;
use tensorc_ir::error::err;
use tensorc_ir::{Dim, Error, Graph, Layout, Loc, Result, Strided, Value};
use tensorc_runtime::executable::{Executable, Options, View};

/// A function that is compiled for each signature it is called with.
pub struct Jit<A: Tree, R: Tree, F> {
    f: F,
    compiled: Mutex<HashMap<Key<A>, Arc<Compiled<R>>>>,
    /// Axes whose extents are symbolic: argument, axis, name.
    marks: Vec<(usize, usize, String)>,
    dynamic: Table<Key<A>, Kept<R>>,
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

/// What belongs to a program with symbolic extents: what it captured, and the structure of its result.
type Kept<R> = (Vec<Arc<View>>, <R as Tree>::Structure);

/// Makes a function that traces `f` at its first call with each signature, and from then on runs compiled code.
///
/// In-place ops on arguments change the caller's tensors; results that are views of arguments are views.
pub fn jit<A: Tree, R: Tree, F: Fn(A) -> Result<R>>(f: F) -> Jit<A, R, F> {
    Jit {
        f,
        compiled: Mutex::default(),
        marks: Vec::new(),
        dynamic: Mutex::default(),
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
        let mut leaves = Vec::with_capacity(8);
        let structure = args.take_apart(&mut leaves);
        // Inside another trace this function is a part of that program.
        if trace::body().is_some() || leaves.iter().any(|t| matches!(t.0, Repr::Traced(_))) {
            return (self.f)(args);
        }
        if !self.marks.is_empty()
            && let Some(result) = self.call_dynamic(&structure, &leaves, loc)?
        {
            return Ok(result);
        }
        let mut views = leaves.iter().map(|t| Ok((**t.view_of("jit")?).clone())).collect::<Result<Vec<View>>>()?;
        let key = (structure, signature(&views, |_, _| false));
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

    /// A call through a program with symbolic extents; `None` if there is none for these arguments.
    fn call_dynamic(&self, structure: &A::Structure, leaves: &[Tensor], loc: Loc) -> Result<Option<R>> {
        let mut views: Vec<View> = Vec::with_capacity(leaves.len());
        for t in leaves {
            let v = t.view_of("jit")?;
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
        if self.marks.iter().any(|(a, ..)| !views[*a].layout.is_contiguous()) {
            return Ok(None);
        }
        let marked = |argument, axis| self.marks.iter().any(|(a, k, _)| (*a, *k) == (argument, axis));
        let key = (structure.clone(), signature(&views, marked));
        let variants = self.dynamic.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let args = |(captured, _): &Kept<R>| {
            views.iter().cloned().chain(captured.iter().map(|v| (**v).clone())).collect::<Vec<_>>()
        };
        let make = || {
            let made = Variant::compile(&Sizes::new(sizes), Options::default(), || {
                let layouts: Vec<Strided> = (0..views.len()).map(|i| self.symbolic(i, &views[i].layout)).collect();
                let trace = Trace::new("jit");
                let inputs = inputs(&trace, &views, &layouts)?;
                let args = A::put_together(structure, &mut inputs.into_iter())?;
                let result = trace.within(|| (self.f)(args))?;
                let mut leaves = Vec::new();
                let structure = result.take_apart(&mut leaves);
                let (graph, captured) = end(&trace, &leaves, views.len())?;
                let layouts = layouts.into_iter().chain(captured.iter().map(|v| Strided::from(&v.layout))).collect();
                Ok::<_, Error>((graph, layouts, (captured, structure)))
            })?;
            self.compilations.fetch_add(1, Ordering::Relaxed);
            Ok(made)
        };
        let Some(found) = variants.find_or_make(args, make)? else { return Ok(None) };
        let results = found.exe.call(&found.args, loc)?;
        let (_, structure) = &found.variant.with;
        R::put_together(structure, &mut results.into_iter().map(Tensor::concrete)).map(Some)
    }

    /// How an argument lies when its marked extents are symbolic.
    fn symbolic(&self, argument: usize, layout: &Layout) -> Strided {
        let mut s = Strided::from(layout);
        for (_, axis, name) in self.marks.iter().filter(|(a, ..)| *a == argument) {
            s.shape[*axis] = Dim::size(name);
        }
        if s.shape.iter().all(|d| d.known().is_some()) { s } else { Strided::contiguous(&s.shape) }
    }

    fn compile(&self, structure: &A::Structure, views: &[View]) -> Result<Compiled<R>> {
        let trace = Trace::new("jit");
        let layouts: Vec<Strided> = views.iter().map(|v| Strided::from(&v.layout)).collect();
        let inputs = inputs(&trace, views, &layouts)?;
        let args = A::put_together(structure, &mut inputs.into_iter())?;
        let result = trace.within(|| (self.f)(args))?;
        let mut leaves = Vec::new();
        let structure = result.take_apart(&mut leaves);
        let (exe, captured) = finish(&trace, &leaves, views)?;
        self.compilations.fetch_add(1, Ordering::Relaxed);
        Ok(Compiled { exe, captured, structure })
    }
}

/// The words of a signature: dtypes, extents but for those of marked axes, strides of arguments without one, and which
/// earlier argument an argument shares storage with, at which distance.
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
        if let Some(j) = views[..i].iter().position(|w| w.storage.same(&v.storage)) {
            words.extend([1 << 40 | j as u64, v.layout.offset.wrapping_sub(views[j].layout.offset) as u64]);
        }
    }
    words
}

/// Inputs of a trace that lie like these arguments. The same tensor twice is one value.
fn inputs(trace: &Arc<Trace>, views: &[View], layouts: &[Strided]) -> Result<Vec<Tensor>> {
    let input = |(i, (v, l)): (usize, (&View, &Strided))| trace.input(&format!("arg{i}"), v.dtype, l);
    views.iter().zip(layouts).enumerate().map(input).collect()
}

/// Ends a trace whose parameters are `views` and compiles it.
fn finish(trace: &Arc<Trace>, results: &[Tensor], views: &[View]) -> Result<(Executable, Vec<Arc<View>>)> {
    let (graph, captured) = end(trace, results, views.len())?;
    Ok((compile_traced(&graph, &layouts(views, &captured), Options::default())?, captured))
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
    recorded(name, leaves, loc, record).map_err(|e| e.at(loc))
}

fn recorded(
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
    let layouts: Vec<Strided> = views.iter().map(|v| Strided::from(&v.layout)).collect();
    let inputs = inputs(&trace, &views, &layouts)?;
    let results = trace.within(|| record(&trace, &inputs))?;
    let (exe, captured) = finish_once(&trace, &results, &views)?;
    views.extend(captured.iter().map(|v| (**v).clone()));
    Ok(exe.call(&views, loc)?.into_iter().map(Tensor::concrete).collect())
}

/// As [`finish`], for a function that is traced at every call: a program of the same text is compiled once.
fn finish_once(trace: &Arc<Trace>, results: &[Tensor], views: &[View]) -> Result<(Arc<Executable>, Vec<Arc<View>>)> {
    static PROGRAMS: OnceLock<Mutex<HashMap<String, Arc<Executable>>>> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(Mutex::default);
    let (graph, captured) = end(trace, results, views.len())?;
    let layouts = layouts(views, &captured);
    let strides: Vec<&[isize]> = layouts.iter().map(|l| l.strides.as_slice()).collect();
    // The lines are a part of it: errors name them.
    let locs: Vec<String> = graph.nodes().map(|n| graph.node(n).loc.to_string()).collect();
    let key = format!("{strides:?}\n{locs:?}\n{}", tensorc_ir::text::print::print(&graph));
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

/// Ends a trace of so many parameters: its graph, and what it captured.
fn end(trace: &Arc<Trace>, results: &[Tensor], params: usize) -> Result<(Graph, Vec<Arc<View>>)> {
    let values: Vec<Value> = results.iter().map(|t| trace.value_of(t)).collect::<Result<_>>()?;
    let (graph, captured) = trace.finish(values)?;
    let captured = captured.iter().map(|t| t.view_of("jit").cloned()).collect::<Result<Vec<_>>>()?;
    if graph.params.len() != params + captured.len() {
        return Err(err::ty("a traced function has lost a parameter"));
    }
    Ok((graph, captured))
}

/// How the parameters of a program lie: its arguments, then what it captured.
fn layouts(views: &[View], captured: &[Arc<View>]) -> Vec<Layout> {
    views.iter().map(|v| v.layout.clone()).chain(captured.iter().map(|v| v.layout.clone())).collect()
}

//! Functions without a [`Jit`](crate::Jit) of their own, as `grad`, `cond` or `scan` outside of one: they are traced at every
//! call, since nobody holds what was compiled before, and a program of the same text is compiled once.

use crate::autograd::program::Differentiable;
use crate::jit::{end, inputs};
use crate::sharing::record;
use crate::signature::{Leaves, views};
use crate::tensor::concrete::Concrete;
use crate::tensor::{Tensor, compile_traced};
use crate::trace::{self, Trace};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tensorc_ir::{Graph, Layout, Loc, Result, Strided};
use tensorc_runtime::executable::{Executable, Options, View};

/// The most programs that are kept for calls without a [`Jit`] of their own; with more the table starts anew.
const MOST_PROGRAMS: usize = 512;

/// Records ops on tensors: in the trace that they belong to, or in one of its own that is compiled and run at once.
/// `f` gives the results, of which there may be any number; it writes to no tensor that it has not made.
pub(crate) fn run_traced(
    name: &str,
    leaves: &[Tensor],
    loc: Loc,
    f: impl FnOnce(&Arc<Trace>, &[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Tensor>> {
    traced(name, leaves, loc, f).map_err(|e| e.at(loc))
}

fn traced(
    name: &str,
    leaves: &[Tensor],
    loc: Loc,
    f: impl FnOnce(&Arc<Trace>, &[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Tensor>> {
    if let Some(trace) = trace::of(leaves).or_else(trace::current) {
        return trace.within(|| f(&trace, leaves));
    }
    let trace = Trace::new(name);
    let leaves = concrete(name, leaves)?;
    let views = views(&leaves);
    let layouts: Vec<Strided> = views.iter().map(|v| Strided::from(&v.layout)).collect();
    let inputs = inputs(&trace, &views, &layouts)?;
    let results = trace.within(|| f(&trace, &inputs))?;
    let (graph, captured) = end(&trace, &results, views.len())?;
    let all: Vec<&View> = views.iter().copied().chain(captured.iter().map(|c| &c.view)).collect();
    let tensors = || leaves.iter().copied().chain(&captured).cloned().map(Some).collect();
    run_once(name, &graph, &all, tensors, loc)
}

/// As [`run_traced`], for a function that may write to its tensors, and may be traced more than once.
pub(crate) fn run_recorded(
    name: &str,
    leaves: &[Tensor],
    loc: Loc,
    f: impl Fn(&Arc<Trace>, &[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Tensor>> {
    let run = || {
        if let Some(trace) = trace::of(leaves).or_else(trace::current) {
            return trace.within(|| f(&trace, leaves));
        }
        let leaves = concrete(name, leaves)?;
        let views = views(&leaves);
        let (graph, params, ()) = record(&views, |trace, args| Ok((trace.within(|| f(trace, &args))?, ())))?;
        let bases = params.bases(&views);
        run_once(name, &graph, &params.of(&views, &bases), || params.tensors(&leaves), loc)
    };
    run().map_err(|e| e.at(loc))
}

/// A program that is traced at every call, with its text.
type Once = Arc<(Executable, Differentiable)>;

/// Runs a program that is traced at every call: one of the same text is compiled once.
fn run_once(
    name: &str,
    graph: &Graph,
    args: &[&View],
    tensors: impl FnOnce() -> Vec<Option<Arc<Concrete>>>,
    loc: Loc,
) -> Result<Vec<Tensor>> {
    static PROGRAMS: OnceLock<Mutex<HashMap<String, Once>>> = OnceLock::new();
    let programs = || PROGRAMS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let layouts: Vec<Layout> = args.iter().map(|v| v.layout.clone()).collect();
    let strides: Vec<&[isize]> = layouts.iter().map(|l| l.strides.as_slice()).collect();
    // The lines are a part of it: errors name them.
    let locs: Vec<String> = graph.nodes().map(|n| graph.node(n).loc.to_string()).collect();
    let key = format!("{strides:?}\n{locs:?}\n{}", tensorc_ir::text::print::print(graph));
    let found = programs().get(&key).cloned();
    let exe = match found {
        Some(exe) => exe,
        None => {
            let exe = compile_traced(graph, &layouts, Options::default())?;
            let exe = Arc::new((exe, Differentiable::new(graph.clone())));
            let mut programs = programs();
            if programs.len() >= MOST_PROGRAMS {
                programs.clear();
            }
            programs.insert(key, exe.clone());
            exe
        }
    };
    let (exe, traced) = &*exe;
    traced.run(name, tensors(), loc, || Ok(exe.call_donating(args, &[], loc, |v| v)?.into_vec()))
}

/// Concrete tensors as such.
fn concrete<'t>(name: &str, tensors: &'t [Tensor]) -> Result<Leaves<'t>> {
    tensors.iter().map(|t| t.concrete_for(name)).collect()
}

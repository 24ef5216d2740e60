//! Compiled functions on the tape: a call of a jitted function, or of what `grad`, `cond` or `scan` has traced, is one
//! recorded op whose formula is the traced program. Its derivative computes again what it reads of the inside.

use super::rule::{Formula, Rules};
use super::tape::Recording;
use super::variable::{ViewOfParam, views_of_params};
use crate::tensor::Tensor;
use crate::tensor::concrete::Concrete;
use std::sync::{Arc, OnceLock};
use tensorc_ir::error::err;
use tensorc_ir::passes::run_named;
use tensorc_ir::{Graph, Loc, Result};
use tensorc_runtime::executable::View;

/// A traced program that may come to the tape.
pub(crate) struct Differentiable {
    graph: Arc<Graph>,
    rules: Rules,
    id: u64,
    /// The results that are views of parameters, once somebody has asked.
    views: OnceLock<Vec<Option<ViewOfParam>>>,
}

impl Differentiable {
    pub(crate) fn new(graph: Graph) -> Differentiable {
        let (rules, id) = (Rules::default(), super::next_id());
        Differentiable { graph: Arc::new(graph), rules, id, views: OnceLock::new() }
    }

    fn views(&self) -> Result<&[Option<ViewOfParam>]> {
        if let Some(views) = self.views.get() {
            return Ok(views);
        }
        let pure = run_named(&self.graph, &["functionalize"])?;
        Ok(self.views.get_or_init(|| views_of_params(&pure)))
    }

    /// Runs the program, and records it if a gradient flows through it. `tensors` are those of its parameters.
    ///
    /// # Errors
    /// What `run` gives; `unsupported` if a gradient flows through a program that writes to its parameters or takes memory
    /// that several of its arguments share.
    pub(crate) fn run(
        &self,
        name: &str,
        tensors: Vec<Option<Arc<Concrete>>>,
        loc: Loc,
        run: impl FnOnce() -> Result<Vec<View>>,
    ) -> Result<Vec<Tensor>> {
        if !super::records(tensors.iter().flatten()) {
            return Ok(run()?.into_iter().map(Tensor::concrete).collect());
        }
        if !self.graph.written().is_empty() {
            return Err(err::unsupported(
                "a compiled function that writes to its arguments was called with a tensor that requires grad",
            )
            .help("call it under `no_grad`, or let it return new tensors"));
        }
        let all: Option<Vec<&Arc<Concrete>>> = tensors.iter().map(Option::as_ref).collect();
        let all = all.ok_or_else(|| err::internal("memory of several arguments in a program that writes to none"))?;
        let name: Arc<str> = name.into();
        let formula = || Formula::Program(self.graph.clone());
        let recording = Recording::begin(&name, formula, false, &all, &[], &self.rules, loc)?;
        let results = run()?;
        // Results in the memory of an argument are views of it.
        let views = self.views()?;
        let mut out = Vec::with_capacity(results.len());
        for (k, v) in results.into_iter().enumerate() {
            let of = views.get(k).and_then(Option::as_ref);
            out.push(match of.and_then(|(param, ops)| Some((all.get(*param)?, ops))) {
                None => Tensor::concrete(v),
                Some((base, ops)) => Tensor::viewing(base, v, ops, self.id, (&name, k)),
            });
        }
        if let Some(r) = recording {
            let fresh = |k: usize| views.get(k).is_none_or(Option::is_none);
            r.finish(&out, fresh)?;
        }
        Ok(out)
    }
}

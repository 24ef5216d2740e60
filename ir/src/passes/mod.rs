//! Graph passes: the pipeline from a traced program to pure, differentiated, simplified ops, as one list.
//!
//! A pass is a [`Pass`] record whose one name is its file, its flag, its test header and its timing key. Passes never
//! change a graph: each builds a new one through the [`Builder`], and the phase only moves forward. In builds with debug
//! assertions (so in tests) the verifier looks at what every pass gives.
//!
//! What all of them keep: the parameters are the first nodes, in order; a result that is a view of a parameter
//! ([`Graph::output_views`]) is rebuilt at the very end, over the parameter's final value, so that its nodes are the last
//! ones; every other result is new memory for the caller, so it is never a parameter or a view of one (a `clone` stands
//! between). Nor is a final value a parameter that is written itself, or a view of one: so the final values can be
//! stored one after the other.

pub mod autodiff;
pub mod cleanup;
pub mod functionalize;
pub mod fuse;
pub mod partition;
pub mod region;
pub mod simplify;
mod trim;

use crate::builder::Builder;
use crate::error::{Result, err};
use crate::graph::{Graph, NodeId, OutputView, Phase, Value, Values};
use crate::ops::Op;
use crate::ops::control::Body;
use crate::timing;
use crate::verify::verify;
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;

/// A step of the pipeline.
pub struct Pass {
    /// Its one name.
    pub name: &'static str,
    /// What it does to a graph.
    pub run: fn(&Graph) -> Result<Graph>,
    /// The phase that it takes.
    pub from: Phase,
    /// The phase that it gives.
    pub to: Phase,
    /// Whether it is for programs that are fused, and none else.
    pub for_fusion: bool,
    /// One line for people.
    pub doc: &'static str,
}

/// All passes, in order.
pub static PASSES: &[Pass] = &[
    Pass {
        name: "functionalize",
        run: functionalize::functionalize,
        from: Phase::Traced,
        to: Phase::Pure,
        for_fusion: false,
        doc: "views and writes in program order become pure ops and final values of parameters",
    },
    Pass {
        name: "autodiff",
        run: autodiff::autodiff,
        from: Phase::Pure,
        to: Phase::Differentiated,
        for_fusion: false,
        doc: "every `grad` becomes the ops that compute it, by reverse accumulation",
    },
    Pass {
        name: "simplify",
        run: simplify::simplify,
        from: Phase::Differentiated,
        to: Phase::Differentiated,
        for_fusion: false,
        doc: "local rewrites that keep every bit",
    },
    Pass {
        name: "cleanup",
        run: cleanup::cleanup,
        from: Phase::Differentiated,
        to: Phase::Differentiated,
        for_fusion: false,
        doc: "what nothing uses goes away, what is computed twice is computed once",
    },
    Pass {
        name: "partition",
        run: partition::partition,
        from: Phase::Differentiated,
        to: Phase::Differentiated,
        for_fusion: true,
        doc: "what costs less to compute again than to keep for the backward computation is computed there again",
    },
];

impl Pass {
    /// Runs the pass, and in builds with debug assertions the verifier on what it gives.
    ///
    /// # Errors
    /// What the pass finds wrong with the program; `type` if the graph is not in the phase it takes.
    pub fn apply(&self, g: &Graph) -> Result<Graph> {
        if g.phase != self.from {
            return Err(err::ty(format!(
                "the pass `{}` takes a graph in phase {}, this one is {}",
                self.name,
                self.from.name(),
                g.phase.name()
            )));
        }
        let out = timing::part(self.name, || (self.run)(g))?;
        if cfg!(debug_assertions) {
            verify(&out).map_err(|e| err::ty(format!("after the pass `{}`: {e}", self.name)))?;
        }
        Ok(out)
    }
}

/// Runs all passes that are left for a graph in its phase.
///
/// # Errors
/// What a pass finds wrong with the program, such as a gradient that does not exist.
pub fn run_all(g: &Graph) -> Result<Graph> {
    run_for(g, fuse::Mode::Fused)
}

/// As [`run_all`], for programs that are fused or not: where each op is a kernel, there is nothing to compute again in one.
///
/// # Errors
/// Those of [`run_all`].
pub fn run_for(g: &Graph, mode: fuse::Mode) -> Result<Graph> {
    let mut g = g.clone();
    for pass in PASSES {
        if g.phase <= pass.from && (mode == fuse::Mode::Fused || !pass.for_fusion) {
            g = pass.apply(&g)?;
        }
    }
    Ok(g)
}

/// Runs the passes of these names, in the order given.
///
/// # Errors
/// `name` if there is no such pass, `type` if the graph is not in the phase that one takes, and what a pass finds.
pub fn run_named(g: &Graph, names: &[&str]) -> Result<Graph> {
    let mut g = g.clone();
    for name in names {
        let pass = PASSES.iter().find(|p| p.name == *name).ok_or_else(|| {
            let all: Vec<&str> = PASSES.iter().map(|p| p.name).collect();
            err::name(format!("there is no pass `{name}`")).help(format!("the passes are {}", all.join(", ")))
        })?;
        g = pass.apply(&g)?;
    }
    Ok(g)
}

/// The graph without parameters that nothing reads, and the numbers of those that stay.
///
/// # Errors
/// `internal` if a parameter is written, or given back as a view.
pub fn without_unused_params(g: &Graph) -> Result<(Graph, Vec<usize>)> {
    if !g.mutated.is_empty() || g.output_views.iter().any(Option::is_some) {
        return Err(err::internal("a program that shares its parameters' memory keeps all of them"));
    }
    Ok(trim::used_params(g))
}

/// A pass's new graph beside the old one, with the new value of every old one.
pub(crate) struct Rebuild<'g> {
    old: &'g Graph,
    b: Builder,
    inputs: Vec<Value>,
    map: Vec<SmallVec<[Value; 1]>>,
    /// What the pass does to a body.
    pass: fn(&Graph) -> Result<Graph>,
    /// The bodies that it has done: copies of an op share them.
    bodies: Bodies,
}

impl<'g> Rebuild<'g> {
    /// Starts a graph in that phase with the old one's parameters as its first nodes. Bodies of control ops become what
    /// `pass` makes of them.
    pub(crate) fn new(old: &'g Graph, phase: Phase, pass: fn(&Graph) -> Result<Graph>) -> Result<Rebuild<'g>> {
        let b = Builder::over(old.like(phase));
        let mut map = vec![SmallVec::new(); old.len()];
        let mut inputs = Vec::new();
        for (i, at) in parameter_nodes(old)?.into_iter().enumerate() {
            b.set_loc(old.node(at).loc);
            let v = b.input_node(i as u32, old.ty(at.into()).clone());
            map[at.0 as usize] = smallvec![v];
            inputs.push(v);
        }
        Ok(Rebuild { old, b, inputs, map, pass, bodies: HashMap::new() })
    }

    /// The new value of an old one.
    pub(crate) fn value(&self, v: Value) -> Result<Value> {
        let values = &self.map[v.node.0 as usize];
        values
            .get(v.result as usize)
            .copied()
            .ok_or_else(|| err::ty(format!("a pass lost the value of node {}", v.node.0)))
    }

    /// The new values of a node's operands.
    fn operands(&self, n: NodeId) -> Result<Values> {
        self.old.operands(n).into_iter().map(|v| self.value(v)).collect()
    }

    /// Records the new values of an old node's results.
    fn set(&mut self, n: NodeId, values: impl IntoIterator<Item = Value>) {
        self.map[n.0 as usize] = values.into_iter().collect();
    }

    /// The op of an old node, with its bodies rebuilt.
    pub(crate) fn op(&mut self, n: NodeId) -> Result<Op> {
        let old = self.old;
        self.rebuilt(old.op(n))
    }

    /// The same node over the new operands. Parameters are there already.
    pub(crate) fn copy(&mut self, n: NodeId) -> Result<()> {
        let op = self.op(n)?;
        self.copy_as(n, op)
    }

    /// An op with its bodies rebuilt.
    fn rebuilt(&mut self, op: &Op) -> Result<Op> {
        with_bodies(op, self.pass, &mut self.bodies)
    }

    /// As [`Rebuild::copy`] with another op, whose first results are the old ones'.
    fn copy_as(&mut self, n: NodeId, op: Op) -> Result<()> {
        if matches!(op, Op::Input(_)) {
            return Ok(());
        }
        let operands = self.operands(n)?;
        self.emit(n, op, &operands)
    }

    /// Appends what stands for node `n`: an op over new operands, whose first results are the old ones'.
    fn emit(&mut self, n: NodeId, op: Op, operands: &[Value]) -> Result<()> {
        self.b.set_loc(self.old.node(n).loc);
        let new = self.b.emit_all(op, operands)?;
        self.set(n, self.b.results(new));
        Ok(())
    }

    /// The finished graph, with the old one's results and final values.
    fn finish(self) -> Result<Graph> {
        let old = self.old;
        let mut mutated = old.mutated.iter().map(|(i, v)| Ok((*i, self.value(*v)?))).collect::<Result<Vec<_>>>()?;
        // A parameter that ends as it began was not written.
        mutated.retain(|(i, v)| self.inputs.get(*i) != Some(v));
        self.finish_with(mutated, old.output_views.clone())
    }

    /// The finished graph, with the old one's results, some of them views of parameters.
    pub(crate) fn finish_with(self, mutated: Vec<(usize, Value)>, views: Vec<Option<OutputView>>) -> Result<Graph> {
        let value = |(k, v): (usize, &Value)| match views.get(k) {
            // Rebuilt over the parameter, so the old value may be gone.
            Some(Some(_)) => Ok(None),
            _ => self.value(*v).map(Some),
        };
        let outputs = self.old.outputs.iter().enumerate().map(value).collect::<Result<Vec<_>>>()?;
        let backward = self.backward();
        let mut g = finish(self.b, &self.inputs, &outputs, mutated, views)?;
        g.backward = backward;
        Ok(g)
    }

    /// Where the backward computation begins now: behind all that stands for what was before it.
    fn backward(&self) -> Option<NodeId> {
        let before = &self.map[..self.old.backward?.0 as usize];
        Some(NodeId(before.iter().flatten().map(|v| v.node.0 + 1).max().unwrap_or(0)))
    }
}

/// Bodies before and after a pass, by the address of the old one, which is held so that no other gets it.
type Bodies = HashMap<usize, [Body; 2]>;

/// An op whose bodies are what `pass` makes of them; those that it has made before are in `done`.
fn with_bodies(op: &Op, pass: fn(&Graph) -> Result<Graph>, done: &mut Bodies) -> Result<Op> {
    op.with_bodies(|body| {
        if let Some([_, new]) = done.get(&body.address()) {
            return Ok(new.clone());
        }
        let new = body.map(pass)?;
        done.insert(body.address(), [body.clone(), new.clone()]);
        Ok(new)
    })
}

/// Sets results and final values. A result of `None` is the view that `views` says.
fn finish(
    b: Builder,
    inputs: &[Value],
    outputs: &[Option<Value>],
    mut mutated: Vec<(usize, Value)>,
    mut views: Vec<Option<OutputView>>,
) -> Result<Graph> {
    views.resize(outputs.len(), None);
    // New results first, views of parameters last.
    let cloned = |v: Value| {
        b.set_loc(b.node(v.node).loc);
        b.emit(Op::Copy, &[v])
    };
    let written: Vec<usize> = mutated.iter().map(|(i, _)| *i).collect();
    for (_, v) in &mut mutated {
        if b.with_graph(|g| g.parameter_of(*v)).is_some_and(|i| written.contains(&i)) {
            *v = cloned(*v)?;
        }
    }
    let fresh = |v: &Option<Value>| match v {
        Some(v) if b.with_graph(|g| g.parameter_of(*v)).is_some() => cloned(*v).map(Some),
        v => Ok(*v),
    };
    let outputs = outputs.iter().map(fresh).collect::<Result<Vec<_>>>()?;
    let mut last = Vec::with_capacity(outputs.len());
    for (v, view) in outputs.into_iter().zip(&views) {
        last.push(match (v, view) {
            (_, Some(view)) => {
                let end = mutated.iter().find(|(i, _)| *i == view.param).map(|(_, v)| *v);
                let input = inputs.get(view.param).copied();
                let base = end.or(input).ok_or_else(|| err::ty("a result is a view of no parameter"))?;
                b.set_loc(b.node(base.node).loc);
                view.views.iter().try_fold(base, |v, op| b.emit(op.clone(), &[v]))?
            }
            (Some(v), None) => v,
            (None, None) => return Err(err::ty("a result has no value")),
        });
    }
    let mut g = b.finish()?;
    g.outputs = last;
    g.output_views = views;
    g.mutated = mutated;
    Ok(g)
}

/// The node of every parameter.
fn parameter_nodes(g: &Graph) -> Result<Vec<NodeId>> {
    let mut at = vec![None; g.params.len()];
    for n in g.nodes() {
        if let Op::Input(i) = g.op(n) {
            *at.get_mut(*i as usize).ok_or_else(|| err::ty("a node reads a parameter that is not declared"))? = Some(n);
        }
    }
    at.into_iter().collect::<Option<_>>().ok_or_else(|| err::ty(format!("a parameter of `{}` has no node", g.name)))
}

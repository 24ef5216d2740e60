//! [`Body`]: a graph that a control op runs.

use crate::builder::{Builder, Ex};
use crate::dim::Dims;
use crate::dtype::DType;
use crate::error::{Loc, Result, err};
use crate::graph::{Graph, Param, Phase, Value};
use crate::ops::Op;
use crate::types::Type;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

/// A graph inside of an op, shared by the copies of the op. It keeps the rules of [`super`].
#[derive(Clone, Debug)]
pub struct Body(Arc<Graph>);

impl Deref for Body {
    type Target = Graph;

    fn deref(&self) -> &Graph {
        &self.0
    }
}

/// Bodies are equal if they compute the same; names and places in the text do not count.
impl PartialEq for Body {
    fn eq(&self, other: &Body) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        // Whether a constant is a plain number is of interest to who makes the next node only.
        let types = |n| super::same(&a.node(n).types, &b.node(n).types);
        let node = |n| a.op(n) == b.op(n) && a.operands(n) == b.operands(n) && types(n);
        self.is(other)
            || (a.phase == b.phase
                && a.params.len() == b.params.len()
                && a.outputs == b.outputs
                && a.len() == b.len()
                && a.nodes().all(node))
    }
}

impl Body {
    /// A graph as a body. Its results are a tuple unless there is exactly one.
    pub fn new(mut g: Graph) -> Body {
        g.tuple = g.outputs.len() != 1;
        Body(Arc::new(g))
    }

    /// The body that a composite writes: `f` gets its parameters, of those types, and gives its results.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn written(
        name: &str,
        params: &[(&str, Type)],
        f: impl for<'b> FnOnce(&'b Builder, &[Ex<'b>]) -> Result<Vec<Ex<'b>>>,
    ) -> Result<Body> {
        let b = Builder::new(name);
        let outputs = {
            let given: Vec<Ex<'_>> = params.iter().map(|(n, t)| b.ex(b.input(*n, t.clone(), false, None))).collect();
            f(&b, &given)?.into_iter().map(Ex::value).collect::<Result<Vec<_>>>()
        };
        b.check()?;
        let outputs = Body::own_results(&b, &outputs?)?;
        b.with_graph(|g| {
            g.output_views = vec![None; outputs.len()];
            g.outputs = outputs;
        });
        Ok(Body::new(b.finish()?))
    }

    /// Whether both are one graph in memory.
    pub fn is(&self, other: &Body) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A number that tells graphs in memory apart, as long as they live.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Another graph in its place.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: impl FnOnce(&Graph) -> Result<Graph>) -> Result<Body> {
        f(&self.0).map(Body::new)
    }

    /// The graph of a traced function as a body: a result that shares memory with a parameter or with a result before it
    /// becomes a copy. Called while the builder still knows who shares memory with whom.
    ///
    /// # Errors
    /// None for values of the builder.
    pub fn own_results(b: &Builder, outputs: &[Value]) -> Result<Vec<Value>> {
        let mut roots: Vec<Value> = Vec::new();
        let mut own = Vec::new();
        for v in outputs {
            let (root, _) = b.storage(*v);
            let shared = b.with_graph(|g| matches!(g.op(root.node), Op::Input(_))) || roots.contains(&root);
            roots.push(root);
            own.push(if shared { b.emit(Op::Copy, &[*v])? } else { *v });
        }
        Ok(own)
    }

    /// A traced graph as a body with other parameters: its first `args` ones, then for each entry of `captured`, of which
    /// `types` has dtype and shape, the parameter of that number, or one that it does not use.
    ///
    /// # Errors
    /// `type` if a parameter is missing.
    pub fn with_params(g: &Graph, args: usize, captured: &[Option<usize>], types: &[(DType, Dims)]) -> Result<Body> {
        let lost = || err::internal(format!("`{}` lost a parameter", g.name));
        let mut new = Graph::new(g.name.clone());
        new.phase = g.phase;
        let mut map: HashMap<Value, Value> = HashMap::new();
        let old = (0..args).map(Some).chain(captured.iter().copied());
        for (i, from) in old.enumerate() {
            let node = from.and_then(|p| g.nodes().find(|n| matches!(g.op(*n), Op::Input(k) if *k as usize == p)));
            let (ty, loc) = match (node, i.checked_sub(args).and_then(|k| types.get(k))) {
                (Some(n), _) => (g.ty(n.into()).clone(), g.node(n).loc),
                (None, Some((dtype, shape))) => (Type::new(*dtype, shape.iter().copied()), Loc::Unknown),
                (None, None) => return Err(lost()),
            };
            let v: Value = new.push(Op::Input(i as u32), &[], [ty], loc).into();
            new.params.push(Param { name: format!("x{i}"), mutable: false });
            map.extend(node.map(|n| (Value::from(n), v)));
        }
        let value = |map: &HashMap<Value, Value>, v: &Value| map.get(v).copied().ok_or_else(lost);
        for n in g.nodes().filter(|n| !matches!(g.op(*n), Op::Input(_))) {
            let node = g.node(n);
            let operands = g.operands(n).iter().map(|v| value(&map, v)).collect::<Result<Vec<_>>>()?;
            let m = new.push(node.op.clone(), &operands, node.types.iter().cloned(), node.loc);
            map.extend(g.results(n).map(|v| (v, Value { node: m, result: v.result })));
        }
        new.outputs = g.outputs.iter().map(|v| value(&map, v)).collect::<Result<_>>()?;
        Ok(Body::new(new))
    }

    /// Whether a result lies in memory that is not its own, which a body may not do.
    pub(crate) fn shares(&self) -> bool {
        self.outputs.iter().any(|v| self.parameter_of(*v).is_some())
    }

    /// The types of its parameters.
    pub fn param_types(&self) -> Vec<Type> {
        let mut types: Vec<Option<Type>> = vec![None; self.params.len()];
        for n in self.nodes() {
            if let (Op::Input(i), Some(t)) = (self.op(n), self.node(n).types.first())
                && let Some(slot) = types.get_mut(*i as usize)
            {
                *slot = Some(t.clone());
            }
        }
        types.into_iter().flatten().collect()
    }

    /// The types of its results.
    pub fn result_types(&self) -> Vec<Type> {
        self.outputs.iter().map(|v| Type::new(self.ty(*v).dtype, self.ty(*v).shape.iter().copied())).collect()
    }

    /// For each result, whether it depends on a parameter that is marked.
    pub(crate) fn depends(&self, marked: &[bool]) -> Vec<bool> {
        let mut on = vec![false; self.len()];
        for n in self.nodes() {
            on[n.0 as usize] = match self.op(n) {
                Op::Input(i) => marked.get(*i as usize).copied().unwrap_or(false),
                _ => self.operands(n).iter().any(|v| on[v.node.0 as usize]),
            };
        }
        self.outputs.iter().map(|v| on[v.node.0 as usize]).collect()
    }

    /// The carries that depend on what is marked after any number of steps: the body's first parameters, each of which
    /// becomes the result of the same number. Marks them too.
    pub(crate) fn mark_carries(&self, marked: &mut [bool], may: impl Fn(usize) -> bool) {
        let carries = marked.len().min(self.outputs.len());
        loop {
            let next = self.depends(marked);
            let new = (0..carries).find(|i| next[*i] && !marked[*i] && may(*i));
            let Some(i) = new else { return };
            marked[i] = true;
        }
    }
}

/// A body under construction that is made of another one: its derivative, or itself for many elements at once.
pub(super) struct Draft {
    pub(super) b: Builder,
}

impl Draft {
    /// An empty body in the phase of `of`, past derivatives, with a name made from its.
    pub(super) fn of(of: &Body, what: &str) -> Draft {
        let mut g = Graph::new(format!("{}_{what}", of.name));
        g.phase = of.phase.max(Phase::Differentiated);
        Draft { b: Builder::over(g) }
    }

    /// The next parameters, called by a letter and their number.
    pub(super) fn params<'a>(&self, letter: &str, types: impl IntoIterator<Item = &'a Type>) -> Vec<Value> {
        let plain = |t: &Type| Type::new(t.dtype, t.shape.iter().copied());
        let one = |(i, t): (usize, &Type)| self.b.input(format!("{letter}{i}"), plain(t), false, None);
        types.into_iter().enumerate().map(one).collect()
    }

    /// The value, or zeros of that type.
    pub(super) fn or_zeros<'b>(&'b self, v: Option<Ex<'b>>, ty: &Type) -> Ex<'b> {
        v.unwrap_or_else(|| self.b.zeros(ty))
    }

    /// The body with these results. One that is a parameter becomes a copy of it.
    pub(super) fn finish(self, outputs: Vec<Value>) -> Result<Body> {
        self.b.check()?;
        let own = |v: Value| match self.b.with_graph(|g| g.parameter_of(v)) {
            Some(_) => self.b.emit(Op::Copy, &[v]),
            None => Ok(v),
        };
        let outputs = outputs.into_iter().map(own).collect::<Result<Vec<_>>>()?;
        self.b.with_graph(|g| {
            g.output_views = vec![None; outputs.len()];
            g.outputs = outputs;
        });
        Ok(Body::new(self.b.finish()?))
    }
}

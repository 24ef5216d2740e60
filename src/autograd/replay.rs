//! The recorded ops that a gradient goes through, as one program.
//!
//! The ops are put into a builder in the order in which they ran, views and writes included, so what comes of them is the
//! program that would have been traced; passes see to the rest. Beside it stand the kept values ([`Op::Kept`]), which then
//! take the place of what would be computed again. A program of the same structure is compiled once: the structure is a
//! list of numbers ([`Replay::words`]) that is made without a builder.

use super::tape::{Node, Value as KeptValue};
use super::variable::{Link, Root, ViewOf};
use crate::grad::gradients;
use crate::tensor::concrete::Concrete;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tensorc_ir::error::err;
use tensorc_ir::{Builder, DType, Graph, Layout, Loc, Op, Result, Scalar, Strided, Type, Value};

/// Where a value of the replay comes from.
#[derive(Clone, Copy)]
enum Place {
    Root(usize),
    View(usize),
}

/// One step of the replay.
enum Step {
    /// A root that no recorded op has made, as a parameter; what may be written is a copy of it.
    Root {
        param: usize,
        copied: bool,
    },
    View {
        of: Place,
        view: Arc<ViewOf>,
    },
    Op {
        node: Arc<Node>,
        operands: Vec<From>,
        results: Vec<Made>,
    },
}

/// An operand of a step.
#[derive(Clone, Copy)]
enum From {
    /// A plain number, in a parameter.
    Number(usize),
    /// A tensor to which no gradient flows, in a parameter.
    Constant(usize),
    /// A value of the replay, and the parameter in which it was kept.
    Linked(Place, Option<usize>),
}

/// A result of a step: the root that it is, and the parameter in which it was kept.
type Made = (Option<usize>, Option<usize>);

/// What a parameter is bound to.
pub(super) struct Param {
    pub(super) dtype: DType,
    pub(super) layout: Layout,
    pub(super) bound: Bound,
}

pub(super) enum Bound {
    /// A kept value, by a node that reads it; or, without one, a leaf as it was first met.
    Value(KeptValue, Option<Arc<Node>>),
    Number(Scalar),
    /// The cotangent of that output.
    Seed(usize),
    /// Nothing: no derivative reads it.
    Nothing,
}

/// See the module's description.
#[derive(Default)]
pub(super) struct Replay {
    steps: Vec<Step>,
    pub(super) params: Vec<Param>,
    /// What tells two structures apart.
    pub(super) words: Vec<u64>,
    roots: HashMap<*const Root, usize>,
    views: HashMap<*const ViewOf, usize>,
    /// The parameters of kept values, by address, version, dtype and layout.
    known: HashMap<(usize, u64, DType, Layout), usize>,
    /// The leaves that were met.
    pub(super) leaves: Vec<Arc<Concrete>>,
    /// The ops, in order.
    pub(super) nodes: Vec<Arc<Node>>,
}

/// Something that is put into the builder, in order.
enum Item {
    Op(Arc<Node>),
    View(Arc<ViewOf>, Arc<Root>, Option<(Arc<Concrete>, u64)>),
}

impl Replay {
    /// The replay of everything that these links depend on.
    ///
    /// # Errors
    /// `grad` if there is no derivative, or if kept values were given back.
    pub(super) fn of(links: &[&Link]) -> Result<Replay> {
        let mut items: Vec<(u64, Item)> = Vec::new();
        let mut nodes: HashSet<*const Node> = HashSet::new();
        let mut views: HashSet<*const ViewOf> = HashSet::new();
        let mut see = |l: &Link, items: &mut Vec<(u64, Item)>| {
            let mut view = l.view.as_ref();
            while let Some(v) = view.filter(|v| views.insert(Arc::as_ptr(v))) {
                items.push((v.place, Item::View(v.clone(), l.root.clone(), l.leaf.clone())));
                view = v.parent.as_ref();
            }
        };
        let mut left: Vec<Arc<Node>> = Vec::new();
        for l in links {
            see(l, &mut items);
            left.extend(l.creator.iter().chain(&l.after).cloned());
        }
        while let Some(n) = left.pop() {
            if nodes.insert(Arc::as_ptr(&n)) {
                n.operands.iter().filter_map(|o| o.link.as_ref()).for_each(|l| see(l, &mut items));
                left.extend(n.before().cloned());
                items.push((n.place, Item::Op(n)));
            }
        }
        items.sort_unstable_by_key(|(place, _)| *place);
        let mut r = Replay::default();
        for (_, item) in items {
            match item {
                Item::Op(n) => r.op(n)?,
                Item::View(v, root, leaf) => r.view(v, &root, leaf.as_ref()),
            }
        }
        for l in links {
            r.place(l);
        }
        Ok(r)
    }

    fn param(&mut self, dtype: DType, layout: &Layout, bound: Bound) -> usize {
        let layout = Layout { offset: 0, ..layout.clone() };
        // What the structure does not say by itself: how a kept value lies.
        self.words.push((dtype as u64) << 8 | layout.shape.len() as u64);
        self.words.extend(layout.shape.iter().map(|n| *n as u64));
        self.words.extend(layout.strides.iter().map(|n| *n as u64));
        self.params.push(Param { dtype, layout, bound });
        self.params.len() - 1
    }

    fn root(&mut self, root: &Arc<Root>, leaf: Option<&(Arc<Concrete>, u64)>) -> usize {
        if let Some(i) = self.roots.get(&Arc::as_ptr(root)) {
            return *i;
        }
        self.words.push(if leaf.is_some() { 1 } else { 2 });
        let bound = match leaf {
            Some((leaf, version)) => {
                self.leaves.push(leaf.clone());
                Bound::Value(KeptValue { view: leaf.view.clone(), version: *version }, None)
            }
            None => Bound::Nothing,
        };
        let param = self.param(root.dtype, &root.layout, bound);
        self.steps.push(Step::Root { param, copied: leaf.is_none() });
        self.new_root(root)
    }

    fn new_root(&mut self, root: &Arc<Root>) -> usize {
        let i = self.roots.len();
        self.roots.insert(Arc::as_ptr(root), i);
        i
    }

    /// Where the value of a link is, at this point of the replay.
    fn place(&mut self, l: &Link) -> Place {
        let root = self.root(&l.root, l.leaf.as_ref());
        match l.view.as_ref().and_then(|v| self.views.get(&Arc::as_ptr(v))) {
            Some(i) => Place::View(*i),
            None => Place::Root(root),
        }
    }

    fn view(&mut self, v: Arc<ViewOf>, root: &Arc<Root>, leaf: Option<&(Arc<Concrete>, u64)>) {
        let root = self.root(root, leaf);
        let of = match v.parent.as_ref().and_then(|p| self.views.get(&Arc::as_ptr(p))) {
            Some(i) => Place::View(*i),
            None => Place::Root(root),
        };
        self.words.extend([3, v.id, of.word()]);
        self.views.insert(Arc::as_ptr(&v), self.views.len());
        self.steps.push(Step::View { of, view: v });
    }

    fn op(&mut self, node: Arc<Node>) -> Result<()> {
        if let Some(e) = &node.rule.refused {
            return Err(e.clone());
        }
        let kept = node.kept();
        if kept.is_none() && node.rule.reads() {
            return Err(given_back());
        }
        let mut operands = Vec::with_capacity(node.operands.len());
        self.words.extend([4, node.rule.id]);
        for (i, o) in node.operands.iter().enumerate() {
            let value = kept.as_ref().and_then(|k| k.operands.get(i)).and_then(Option::as_ref);
            operands.push(match (&o.link, o.number) {
                (_, Some(n)) => From::Number(self.param(o.dtype, &o.layout, Bound::Number(n))),
                (Some(l), _) => {
                    let place = self.place(l);
                    self.words.push(place.word());
                    From::Linked(place, value.map(|v| self.kept(v, &node)))
                }
                (None, _) => From::Constant(match value {
                    Some(v) => self.kept(v, &node),
                    None => self.param(o.dtype, &o.layout, Bound::Nothing),
                }),
            });
        }
        let mut results = Vec::with_capacity(node.results.len());
        for (k, root) in node.results.iter().enumerate() {
            let root = root.as_ref().map(|r| self.new_root(r));
            let value = kept.as_ref().and_then(|kept| kept.results.get(k)).and_then(Option::as_ref);
            results.push((root, value.map(|v| self.kept(v, &node))));
        }
        drop(kept);
        self.nodes.push(node.clone());
        self.steps.push(Step::Op { node, operands, results });
        Ok(())
    }

    /// The parameter of a kept value; one for the same elements at the same time.
    fn kept(&mut self, v: &KeptValue, node: &Arc<Node>) -> usize {
        let (address, layout) = (v.view.storage.as_ptr().addr(), v.view.layout.clone());
        let key = (address, v.version, v.view.dtype, layout);
        let param = match self.known.get(&key) {
            Some(i) => *i,
            None => {
                let i = self.param(v.view.dtype, &v.view.layout, Bound::Value(v.clone(), Some(node.clone())));
                self.known.insert(key, i);
                i
            }
        };
        self.words.extend([5, param as u64]);
        param
    }

    /// Whether the outputs may depend on it.
    pub(super) fn has(&self, l: &Link) -> bool {
        match &l.view {
            Some(v) => self.views.contains_key(&Arc::as_ptr(v)),
            None => self.roots.contains_key(&Arc::as_ptr(&l.root)),
        }
    }

    /// Says what is asked of the replay: gradients of `ys` by `wrt`. Parameters for the cotangents are added.
    pub(super) fn ask(&mut self, ys: &[&Link], seeds: &[Arc<Concrete>], wrt: &[&Link], strong_zero: bool) {
        self.words.push(strong_zero as u64);
        for (k, (l, seed)) in ys.iter().zip(seeds).enumerate() {
            let place = self.place(l);
            self.words.extend([6, place.word()]);
            self.param(seed.view.dtype, &seed.view.layout, Bound::Seed(k));
        }
        for l in wrt {
            let place = self.place(l);
            self.words.extend([7, place.word()]);
        }
    }

    /// The program that was asked for.
    ///
    /// # Errors
    /// What a formula gives, and `grad` if memory was written that a gradient is asked of.
    pub(super) fn program(&self, ys: &[&Link], wrt: &[&Link], strong_zero: bool, loc: Loc) -> Result<Graph> {
        let seeds = self.params.len() - ys.len();
        let b = Builder::new("backward");
        let mut inputs = Vec::with_capacity(self.params.len());
        for p in &self.params {
            let ty = match p.bound {
                Bound::Number(n) => Type::number(n.dtype),
                _ => Type::new(p.dtype, p.layout.shape.iter().copied()),
            };
            inputs.push(b.input(format!("p{}", inputs.len()), ty, false, Some(Strided::from(&p.layout))));
        }
        let mut values = Values::default();
        for step in &self.steps {
            values.step(&b, &inputs, step)?;
        }
        b.set_loc(loc);
        let at = |links: &[&Link]| links.iter().map(|l| values.at(self.found(l)?)).collect::<Result<Vec<_>>>();
        let ys = at(ys)?.into_iter().zip(inputs[seeds..].iter().copied());
        let all = gradients(&b, ys, &at(wrt)?, strong_zero)?;
        b.with_graph(|g| g.outputs = all);
        b.finish()
    }

    fn found(&self, l: &Link) -> Result<Place> {
        let view = l.view.as_ref().and_then(|v| self.views.get(&Arc::as_ptr(v))).map(|i| Place::View(*i));
        let root = || self.roots.get(&Arc::as_ptr(&l.root)).map(|i| Place::Root(*i));
        view.or_else(root).ok_or_else(|| err::internal("a replay without one of its tensors"))
    }
}

impl Place {
    fn word(self) -> u64 {
        match self {
            Place::Root(i) => (i as u64) << 1,
            Place::View(i) => (i as u64) << 1 | 1,
        }
    }
}

pub(super) fn given_back() -> tensorc_ir::Error {
    err::grad(
        "Trying to backward through the graph a second time (or directly access saved tensors after they have already \
         been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). \
         Specify retain_graph=True if you need to backward through the graph a second time or if you need to access \
         saved tensors after calling backward.",
    )
}

/// The values of a replay while it is put into a builder.
#[derive(Default)]
struct Values {
    roots: Vec<Value>,
    views: Vec<Value>,
}

impl Values {
    fn at(&self, place: Place) -> Result<Value> {
        let found = match place {
            Place::Root(i) => self.roots.get(i),
            Place::View(i) => self.views.get(i),
        };
        found.copied().ok_or_else(|| err::internal("a replay uses a value before it is made"))
    }

    fn step(&mut self, b: &Builder, inputs: &[Value], step: &Step) -> Result<()> {
        match step {
            Step::Root { param, copied } => {
                let v = inputs[*param];
                self.roots.push(if *copied { b.emit(Op::Copy, &[v])? } else { v });
            }
            Step::View { of, view } => {
                let v = view.ops.iter().try_fold(self.at(*of)?, |v, op| b.emit(op.clone(), &[v]))?;
                self.views.push(v);
            }
            Step::Op { node, operands, results } => {
                b.set_loc(node.loc);
                let mut given = Vec::with_capacity(operands.len());
                for o in operands {
                    given.push(match *o {
                        From::Number(p) => inputs[p],
                        From::Constant(p) if node.formula.may_write() => b.emit(Op::Copy, &[inputs[p]])?,
                        From::Constant(p) => inputs[p],
                        From::Linked(place, kept) => {
                            let v = self.at(place)?;
                            if let Some(p) = kept {
                                b.emit(Op::Kept, &[v, inputs[p]])?;
                            }
                            v
                        }
                    });
                }
                let made = node.formula.emit(b, &given)?;
                for ((v, value), (root, kept)) in made.into_iter().zip(results) {
                    if let Some(p) = kept {
                        b.emit(Op::Kept, &[value, inputs[*p]])?;
                    }
                    if root.is_some() {
                        self.roots.push(v);
                    }
                }
            }
        }
        Ok(())
    }
}

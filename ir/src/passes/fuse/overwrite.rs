//! Whether an update may be stored over its base: whether the kernel that stores it still reads what it has overwritten.
//!
//! The kernel computes one element of the new part after the other, in some order, and stores it. That is harmless if it
//! reads the base only at the element that it stores next, or where it stores nothing. `x[1:] = x[:-1].clone()` is not.

use super::window::Window;
use super::{source, through};
use crate::alias;
use crate::graph::{Graph, NodeId, Value};
use crate::layout::{Layout, Strided};
use crate::ops::Op;
use std::collections::{HashMap, HashSet};

/// An update that is stored over what its own kernel still reads.
pub struct Overwritten {
    /// The first node that reads it; the update itself if strides cannot say what it writes.
    pub reader: NodeId,
    /// The window of rows with which it can be stored there all the same.
    pub window: Option<Window>,
}

/// The values that would share memory if all updates were stored over their bases, each with where it lies in the memory
/// of the oldest.
pub struct Versions<'g> {
    g: &'g Graph,
    updates: HashMap<NodeId, (Value, Strided)>,
}

impl<'g> Versions<'g> {
    /// Those of a graph.
    pub fn new(g: &'g Graph) -> Versions<'g> {
        let mut all = Versions { g, updates: HashMap::new() };
        for n in g.nodes().filter(|n| matches!(g.op(*n), Op::SliceUpdate(_) | Op::Scatter(_))) {
            let (base, views) = source(g, g.operands(n)[0]);
            // Behind a view that strides cannot say, or that shows elements twice, a new memory begins: no update is stored
            // through one.
            if let Some(layout) = all.seen(base, &views).filter(|l| !l.overlaps_itself()) {
                all.updates.insert(n, (base, layout));
            }
        }
        all
    }

    /// Where a version lies.
    fn layout(&self, v: Value) -> Strided {
        match self.updates.get(&v.node) {
            Some((_, layout)) => layout.clone(),
            None => Strided::contiguous(&self.g.ty(v).shape),
        }
    }

    /// Where a version lies when it is seen through views, outermost first; `None` if strides cannot say it.
    fn seen(&self, v: Value, views: &[NodeId]) -> Option<Strided> {
        through(self.g, Some(self.layout(v)), views).ok().flatten()
    }

    /// A version and all that are older, newest first.
    pub fn back(&self, v: Value) -> impl Iterator<Item = Value> + '_ {
        std::iter::successors(Some(v), |v| self.updates.get(&v.node).map(|(base, _)| *base))
    }

    /// Where an update lies if it is stored over its base.
    pub fn place(&self, n: NodeId) -> Option<&Strided> {
        self.updates.get(&n).map(|(_, layout)| layout)
    }

    /// What an update stores. What a scatter stores is known when it runs, so that is all of the base. `None` if strides
    /// cannot say it.
    pub fn written(&self, n: NodeId) -> Option<Strided> {
        let (_, base) = self.updates.get(&n)?;
        match self.g.op(n) {
            // Two updates of nothing would both be apart from everything, and then share one memory.
            Op::SliceUpdate(s) if s.0.0.iter().all(|r| !r.len.is(0)) => Some(base.slice(&s.0.0)),
            _ => Some(base.clone()),
        }
    }

    /// Whether a node never reads what is `written` to the memory of version `v`, as far as that is known.
    pub fn is_apart(&self, reader: NodeId, v: Value, written: &Strided) -> bool {
        self.g.operands(reader).into_iter().all(|x| {
            let (s, views) = source(self.g, x);
            s.node != v.node || self.seen(s, &views).is_some_and(|read| apart(&read, written))
        })
    }

    /// What reads what update `n` has overwritten, if its operands are computed by a kernel that `inside` is in.
    pub fn overwritten(&self, n: NodeId, inside: impl Fn(NodeId) -> bool) -> Option<Overwritten> {
        let Some(written) = self.written(n) else { return Some(Overwritten { reader: n, window: None }) };
        let x = self.g.operands(n);
        let root = source(self.g, x[0]).0;
        let mut walk = Walk { all: self, root, inside, seen: HashSet::new(), reads: Vec::new() };
        for v in &x[1..] {
            walk.visit(n, *v, &mut Vec::new());
        }
        walk.reads.retain(|(_, read)| !self.is_harmless(n, read, &written));
        let reader = walk.reads.first()?.0;
        let window = matches!(self.g.op(n), Op::SliceUpdate(_)).then(|| {
            let reads = walk.reads.into_iter().map(|(_, read)| read?.known().ok());
            Window::of(&written.known().ok()?, &reads.collect::<Option<Vec<Layout>>>()?)
        });
        Some(Overwritten { reader, window: window.flatten() })
    }

    fn is_harmless(&self, n: NodeId, read: &Option<Strided>, written: &Strided) -> bool {
        let in_order = matches!(self.g.op(n), Op::SliceUpdate(_));
        match read {
            Some(read) => in_order && read == written || apart(read, written),
            None => false,
        }
    }
}

/// Whether two layouts of one memory have no element in common, as far as that is known.
fn apart(a: &Strided, b: &Strided) -> bool {
    matches!((a.known(), b.known()), (Ok(a), Ok(b)) if !alias::overlap(&a, &b))
}

struct Walk<'a, 'g, F> {
    all: &'a Versions<'g>,
    /// The newest version that is overwritten.
    root: Value,
    inside: F,
    seen: HashSet<(Value, Vec<NodeId>)>,
    /// Readers of a version, each with the place from which it reads, by the index of the kernel's loops; `None` for one
    /// that is known when it runs.
    reads: Vec<(NodeId, Option<Strided>)>,
}

impl<F: Fn(NodeId) -> bool> Walk<'_, '_, F> {
    fn is_version(&self, v: Value) -> bool {
        self.all.back(self.root).any(|w| w.node == v.node)
    }

    /// What `reader` reads to get `v`, which it sees through the views `above`, outermost first.
    fn visit(&mut self, reader: NodeId, v: Value, above: &mut Vec<NodeId>) {
        let g = self.all.g;
        if !self.seen.insert((v, above.clone())) {
            return;
        }
        let (s, views) = source(g, v);
        let depth = above.len();
        above.extend(views);
        if self.is_version(s) {
            self.reads.push((reader, self.all.seen(s, above)));
        } else if (self.inside)(s.node) {
            for (i, x) in g.operands(s.node).into_iter().enumerate() {
                if i > 0 || !matches!(g.op(s.node), Op::Gather(_)) {
                    self.visit(s.node, x, above);
                } else if self.is_version(source(g, x).0) {
                    self.reads.push((s.node, None));
                }
            }
        }
        above.truncate(depth);
    }
}

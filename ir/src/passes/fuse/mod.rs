//! Fusion: which nodes are computed together in one kernel, and which values go through memory.
//!
//! The result is a [`Fusion`]: groups in an order in which they can run. A value is *stored* if another group or the
//! caller needs it; everything else is computed where it is used, by following index maps back through views. Three steps:
//!
//! 1. *Join*, forward: a node joins the last of the groups it reads from if it iterates over that group's domain, so
//!    that they share loops. Because a node only ever joins the last one, the order of groups stays valid. A reduction
//!    turns a group of elementwise nodes into a group of *rows*: nodes at the *full* level run over all axes, reductions
//!    and what is computed from them run at the *outer* level, over the kept axes.
//! 2. *Sink*, backward: a node whose readers are all in one later group moves there and is computed in place, at whatever
//!    index it is asked for (`sink.rs`).
//! 3. *Merge*: groups over one domain that read the same memory become one (`siblings.rs`).
//!
//! What only says where products of matrices find their elements is in no group then (`windows.rs`).
//!
//! For every pair of neighbours left apart there is a reason ([`Fusion::apart`]).

mod blocks;
mod index;
mod legalize;
mod overwrite;
mod rows;
mod siblings;
mod sink;
mod window;
mod windows;

pub use index::{Along, DimMap, blocks, is_affine};
pub use legalize::{layout_of, legalize, own_results, through};
pub use overwrite::{Overwritten, Versions};
pub use window::Window;
pub use windows::{Atom, Windows};

use crate::dim::{Dim, Dims};
use crate::graph::{Graph, NodeId, Value};
use crate::ops::Op;
use smallvec::SmallVec;
use std::collections::HashMap;

/// Whether to fuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One group for each op.
    Eager,
    /// As much as the rules allow.
    Fused,
}

/// What kind of kernel a group becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Loops over `domain`, computing every node at each index.
    Map,
    /// Loops over the kept axes of `domain`, with loops over the reduced `axes` inside.
    Rows,
    /// A slice of a base replaced; `domain` is the slice's shape.
    SliceUpdate,
    /// Elements written through an index tensor, in order; `domain` is the index's shape.
    Scatter,
    /// A running combination along one axis of `domain`.
    Scan,
    /// One pass of a merge sort along one axis of `domain`.
    Merge,
    /// A batched matrix product.
    Dot,
    /// A constant tensor.
    Literal,
    /// A control op, whose bodies are programs of their own; `domain` is empty.
    Control,
}

impl GroupKind {
    /// The name that `explain` and dumps print.
    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Map => "map",
            GroupKind::Rows => "rows",
            GroupKind::SliceUpdate => "slice_update",
            GroupKind::Scatter => "scatter",
            GroupKind::Scan => "scan",
            GroupKind::Merge => "merge",
            GroupKind::Dot => "dot",
            GroupKind::Literal => "literal",
            GroupKind::Control => "control",
        }
    }
}

/// Nodes computed by one kernel.
#[derive(Clone, Debug)]
pub struct Group {
    /// What kind of kernel.
    pub kind: GroupKind,
    /// The iteration space.
    pub domain: Dims,
    /// For rows: the reduced axes of the domain.
    pub axes: SmallVec<[usize; 4]>,
    /// Its nodes, ascending.
    pub nodes: Vec<NodeId>,
}

/// The level at which a node of a group of rows runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Over the whole domain.
    Full,
    /// Over the kept axes.
    Outer,
}

/// Which nodes run together.
#[derive(Clone, Debug, Default)]
pub struct Fusion {
    /// The groups, in an order in which they can run.
    pub groups: Vec<Group>,
    /// For each node, its group; `None` for parameters, constants and views.
    pub group_of: Vec<Option<usize>>,
    /// For each node, its level in its group.
    pub level: Vec<Option<Level>>,
    /// For each node, whether its result goes through memory.
    pub stored: Vec<bool>,
    /// For each reader and what it reads from another group: why they are apart.
    pub apart: Vec<(NodeId, NodeId, &'static str)>,
    /// Gathers that are no more than places that products of matrices read from.
    pub windows: HashMap<NodeId, Windows>,
}

impl Fusion {
    /// The nodes, and what they read that belongs to no group: views and constants. Ascending.
    pub fn with_views(&self, g: &Graph, nodes: &[NodeId]) -> Vec<NodeId> {
        let mut all = nodes.to_vec();
        let mut next = 0;
        while let Some(n) = all.get(next).copied() {
            next += 1;
            for v in g.operands(n) {
                let free = self.group_of[v.node.0 as usize].is_none() && !matches!(g.op(v.node), Op::Input(_));
                if free && !all.contains(&v.node) {
                    all.push(v.node);
                }
            }
        }
        all.sort_unstable();
        all
    }
}

/// The node that computes a value, behind views, with the views passed on the way (from the value inwards).
pub fn source(g: &Graph, v: Value) -> (Value, Vec<NodeId>) {
    let mut views = Vec::new();
    let mut v = v;
    while g.op(v.node).is_view() {
        views.push(v.node);
        v = g.operands(v.node)[0];
    }
    (v, views)
}

/// Groups the live nodes of a pure graph.
pub fn fuse(g: &Graph, mode: Mode) -> Fusion {
    let live = g.computed();
    let mut f = Fusion {
        groups: Vec::new(),
        group_of: vec![None; g.len()],
        level: vec![None; g.len()],
        stored: vec![false; g.len()],
        apart: Vec::new(),
        windows: HashMap::new(),
    };
    let forced = forced_stores(g, &live);
    for n in g.nodes().filter(|n| live[n.0 as usize]) {
        place(g, &mut f, n, mode);
    }
    if mode == Mode::Fused {
        sink::sink(g, &mut f, &live, &forced);
        siblings::merge(g, &mut f, &live);
    }
    f.groups.iter_mut().for_each(|group| group.nodes.sort_unstable());
    store(g, &mut f, &live, &forced);
    if mode == Mode::Fused {
        windows::find(g, &mut f, &live);
    }
    drop_empty(&mut f);
    // Sinking may have brought together what joining left apart.
    let group_of = &f.group_of;
    f.apart.retain(|(reader, read, _)| group_of[reader.0 as usize] != group_of[read.0 as usize]);
    f.apart.dedup();
    f
}

/// What must be in memory whatever the groups: what leaves the graph, what is read through a reshape that index arithmetic
/// cannot undo, and what is to be written over something that it is still computed from.
fn forced_stores(g: &Graph, live: &[bool]) -> Vec<bool> {
    let mut forced = vec![false; g.len()];
    let (readers, versions) = (readers(g, live), Versions::new(g));
    for v in g.computed_roots() {
        forced[source(g, v).0.node.0 as usize] = true;
    }
    for n in g.nodes().filter(|n| live[n.0 as usize]) {
        if let Op::SliceUpdate(_) = g.op(n)
            && may_be_overwritten(&versions, g, n, &readers)
            && versions.overwritten(n, |m| is_point(g.op(m))).is_some_and(|o| o.window.is_none())
        {
            forced[source(g, g.operands(n)[1]).0.node.0 as usize] = true;
        }
        if let Op::Reshape(r) = g.op(n) {
            let x = g.operands(n)[0];
            if !is_affine(&g.ty(x).shape, &r.0) {
                forced[source(g, x).0.node.0 as usize] = true;
            }
        }
    }
    forced
}

/// Whether the memory of what update `n` updates may be used for it: nobody reads what it overwrites later, and it is not
/// the caller's for good.
fn may_be_overwritten(versions: &Versions<'_>, g: &Graph, n: NodeId, readers: &[Vec<(NodeId, usize)>]) -> bool {
    let v = source(g, g.operands(n)[0]).0;
    let kept = match g.op(v.node) {
        Op::Input(i) => g.mutated.iter().all(|(k, _)| *k != *i as usize),
        _ => g.computed_roots().any(|r| source(g, r).0 == v),
    };
    let Some(written) = versions.written(n) else { return false };
    !kept && readers[v.node.0 as usize].iter().all(|(r, _)| *r <= n || versions.is_apart(*r, v, &written))
}

fn is_leaf(op: &Op) -> bool {
    matches!(op, Op::Input(_) | Op::Const(_))
}

/// Whether a node is computed at any index it is asked for, from its operands at indices given by it.
pub fn is_point(op: &Op) -> bool {
    matches!(op, Op::Map(_) | Op::Cast(_) | Op::Bitcast(_) | Op::Copy | Op::Barrier | Op::Iota(_) | Op::Gather(_))
}

/// Operands that a node reads from memory at other places than its own index, and so must be stored.
pub fn needs_memory(op: &Op, operand: usize) -> bool {
    match op {
        Op::Gather(_) => operand == 0,
        Op::Barrier => operand == 1,
        Op::Dot | Op::Merge(_) | Op::Cond(_) | Op::While(_) | Op::Loop(_) => true,
        _ => false,
    }
}

fn new_group(g: &Graph, f: &mut Fusion, n: NodeId) {
    let x = |i: usize| g.ty(g.operands(n)[i]).shape.clone();
    let out = || g.node(n).types[0].shape.clone();
    let (kind, domain, axes) = match g.op(n) {
        Op::Reduce(r) => (GroupKind::Rows, x(0), r.axes.clone()),
        Op::SliceUpdate(_) => (GroupKind::SliceUpdate, x(1), SmallVec::new()),
        Op::Scatter(_) => (GroupKind::Scatter, x(1), SmallVec::new()),
        Op::Scan(_) => (GroupKind::Scan, out(), SmallVec::new()),
        Op::Merge(_) => (GroupKind::Merge, out(), SmallVec::new()),
        Op::Dot => (GroupKind::Dot, out(), SmallVec::new()),
        Op::Literal(_) => (GroupKind::Literal, out(), SmallVec::new()),
        Op::Cond(_) | Op::While(_) | Op::Loop(_) => (GroupKind::Control, Dims::new(), SmallVec::new()),
        _ => (GroupKind::Map, out(), SmallVec::new()),
    };
    f.group_of[n.0 as usize] = Some(f.groups.len());
    f.level[n.0 as usize] = Some(if matches!(g.op(n), Op::Reduce(_)) { Level::Outer } else { Level::Full });
    f.groups.push(Group { kind, domain, axes, nodes: vec![n] });
}

/// Step 1 for one node.
fn place(g: &Graph, f: &mut Fusion, n: NodeId, mode: Mode) {
    let op = g.op(n);
    if is_leaf(op) || op.is_view() {
        return;
    }
    let sources: Vec<(usize, NodeId, Vec<NodeId>)> = g
        .operands(n)
        .into_iter()
        .enumerate()
        .map(|(i, v)| {
            let (s, views) = source(g, v);
            (i, s.node, views)
        })
        .collect();
    let last = sources.iter().filter_map(|(_, s, _)| f.group_of[s.0 as usize]).max();
    let joined = match (mode, last) {
        (Mode::Fused, Some(k)) => match joins(g, f, n, k, &sources) {
            Ok(level) => {
                if let Op::Reduce(r) = op {
                    f.groups[k].kind = GroupKind::Rows;
                    f.groups[k].axes = r.axes.clone();
                }
                f.group_of[n.0 as usize] = Some(k);
                f.level[n.0 as usize] = Some(level);
                f.groups[k].nodes.push(n);
                true
            }
            Err(why) => {
                for (_, s, _) in &sources {
                    if f.group_of[s.0 as usize] == Some(k) {
                        f.apart.push((n, *s, why));
                    }
                }
                false
            }
        },
        _ => false,
    };
    if !joined {
        new_group(g, f, n);
    }
}

/// Whether `n` may join group `k`, and at which level; or why not.
fn joins(
    g: &Graph,
    f: &Fusion,
    n: NodeId,
    k: usize,
    sources: &[(usize, NodeId, Vec<NodeId>)],
) -> Result<Level, &'static str> {
    let group = &f.groups[k];
    let op = g.op(n);
    if !matches!(group.kind, GroupKind::Map | GroupKind::Rows) {
        return Err("the producer is a kernel of its own kind");
    }
    if matches!(op, Op::Barrier) {
        return Err("it is computed again, after what the producer computes");
    }
    if !is_point(op) && !matches!(op, Op::Reduce(_)) {
        return Err("the reader is a kernel of its own kind");
    }
    // The index space that operands are read in: the operand's for a reduction, the result's else.
    let space = match op {
        Op::Reduce(_) => g.ty(g.operands(n)[0]).shape.clone(),
        _ => g.node(n).types[0].shape.clone(),
    };
    let inner_only = matches!(op, Op::Reduce(_)) || group.kind != GroupKind::Rows;
    let level = if space == group.domain {
        Level::Full
    } else if !inner_only && (space == kept(group) || space == keepdim(group)) {
        Level::Outer
    } else {
        return Err("they iterate over different shapes");
    };
    for (i, s, views) in sources {
        if f.group_of[s.0 as usize] != Some(k) {
            continue;
        }
        if needs_memory(op, *i) {
            return Err("it is read at computed places");
        }
        let map = DimMap::through(g, &space, views);
        let source = &g.node(*s).types[0].shape;
        let ok = match (level, f.level[s.0 as usize]) {
            (Level::Full, Some(Level::Full)) => map.is_identity(&space),
            (_, Some(Level::Outer)) => {
                map.agrees(&domain_axes(group, &space), &domain_axes(group, source), &group.axes)
            }
            _ => false,
        };
        if !ok {
            return Err("it is read at another index than it is computed at");
        }
    }
    match op {
        Op::Reduce(r) if group.kind == GroupKind::Rows && r.axes != group.axes => Err("they reduce different axes"),
        Op::Reduce(r) if goes_with_rows(g, f, k, &r.axes) => Err("the producer goes with rows over other axes"),
        Op::Reduce(_) => Ok(Level::Outer),
        _ => Ok(level),
    }
}

/// Whether a map reads what rows over its domain, and over other axes than these, compute: it may become one with them.
fn goes_with_rows(g: &Graph, f: &Fusion, k: usize, axes: &[usize]) -> bool {
    let group = &f.groups[k];
    let read = |n: &NodeId| g.operands(*n).into_iter().filter_map(|v| f.group_of[source(g, v).0.node.0 as usize]);
    group.kind == GroupKind::Map
        && group
            .nodes
            .iter()
            .flat_map(read)
            .map(|j| &f.groups[j])
            .any(|rows| rows.kind == GroupKind::Rows && rows.domain == group.domain && rows.axes.as_slice() != axes)
}

/// A group's domain with its reduced extents replaced by 1: the shape of reductions that keep their dimensions.
pub fn keepdim(group: &Group) -> Dims {
    (0..group.domain.len()).map(|d| if group.axes.contains(&d) { Dim::ONE } else { group.domain[d] }).collect()
}

/// Which axis of the group's domain each dimension of a shape of the group is: the domain's own or `keepdim`'s
/// dimensions in order, or the kept ones.
fn domain_axes(group: &Group, shape: &[Dim]) -> Vec<usize> {
    let all = 0..group.domain.len();
    if shape.len() == group.domain.len() { all.collect() } else { all.filter(|d| !group.axes.contains(d)).collect() }
}

/// The kept extents of a group's domain.
pub fn kept(group: &Group) -> Dims {
    (0..group.domain.len()).filter(|d| !group.axes.contains(d)).map(|d| group.domain[d]).collect()
}

/// For each node, the nodes that read it, views looked through, with the operand position and the views in between.
fn readers(g: &Graph, live: &[bool]) -> Vec<Vec<(NodeId, usize)>> {
    let mut out = vec![Vec::new(); g.len()];
    for n in g.nodes().filter(|n| live[n.0 as usize] && !g.op(*n).is_view()) {
        for (i, v) in g.operands(n).into_iter().enumerate() {
            out[source(g, v).0.node.0 as usize].push((n, i));
        }
    }
    out
}

/// Which results go through memory: those that another group reads, and those that must.
fn store(g: &Graph, f: &mut Fusion, live: &[bool], forced: &[bool]) {
    for n in g.nodes().filter(|n| live[n.0 as usize]) {
        if let Some(k) = f.group_of[n.0 as usize]
            && (forced[n.0 as usize]
                || !matches!(f.groups[k].kind, GroupKind::Map | GroupKind::Rows) && !is_point(g.op(n)))
        {
            f.stored[n.0 as usize] = true;
        }
        if g.op(n).is_view() {
            continue;
        }
        for (i, v) in g.operands(n).into_iter().enumerate() {
            let s = source(g, v).0.node;
            let (a, b) = (f.group_of[s.0 as usize], f.group_of[n.0 as usize]);
            if a.is_some() && (a != b || needs_memory(g.op(n), i)) {
                f.stored[s.0 as usize] = true;
            }
        }
    }
}

/// Removes groups whose nodes have all moved away.
fn drop_empty(f: &mut Fusion) {
    let mut number = vec![None; f.groups.len()];
    let mut next = 0;
    for (k, group) in f.groups.iter().enumerate() {
        if !group.nodes.is_empty() {
            number[k] = Some(next);
            next += 1;
        }
    }
    f.groups.retain(|group| !group.nodes.is_empty());
    for k in &mut f.group_of {
        *k = k.and_then(|k| number[k]);
    }
}

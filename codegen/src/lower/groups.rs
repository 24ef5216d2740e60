//! The drivers: which loops each kind of group opens, and what it stores in them.

use super::keep::keeping;
use super::{Ix, Lin, Lower, Places};
use crate::loopnest::{AccId, Coef, Combine, Extent, LoopKind, Stmt};
use crate::program::{LoopStep, Place};
use tensorc_ir::layout::row_major_dims;
use tensorc_ir::ops::Op;
use tensorc_ir::ops::reduce::{BLOCK, LANES, Reduce, ReduceKind};
use tensorc_ir::passes::fuse::{Fusion, Group, GroupKind, Level, kept, source};
use tensorc_ir::scalar::V;
use tensorc_ir::{DType, Dim, Dims, Graph, NodeId, Result, Value, error::err};

/// A value to be stored at a place of its shape.
#[derive(Clone, Debug)]
pub struct Store {
    /// What.
    pub value: Value,
    /// Where.
    pub place: Place,
}

/// A nest that loops over `domain` and stores values of that shape. `group` is the group they are computed in.
///
/// # Errors
/// `unsupported` if a value cannot be pulled.
pub fn lower_stores(
    g: &Graph,
    fusion: &Fusion,
    places: &Places,
    group: usize,
    domain: &[Dim],
    stores: &[Store],
) -> Result<Option<LoopStep>> {
    if domain.contains(&Dim::ZERO) {
        return Ok(None);
    }
    let mut l = Lower::new(g, fusion, places, group);
    let ix = l.loops(domain, true);
    l.store_all(stores, &ix)?;
    Ok(Some(l.finish()))
}

/// The nests of a group whose stored results have their places; copies of bases are up to the caller.
///
/// # Errors
/// `unsupported` if a value cannot be pulled.
pub fn lower_group(g: &Graph, fusion: &Fusion, places: &Places, k: usize) -> Result<Option<LoopStep>> {
    let group = &fusion.groups[k];
    let stored = |n: &&NodeId| fusion.stored[n.0 as usize];
    let store = |n: &NodeId| Ok(Store { value: (*n).into(), place: stored_at(places, *n)? });
    match group.kind {
        GroupKind::Map => {
            let stores = group.nodes.iter().filter(stored).map(store).collect::<Result<Vec<_>>>()?;
            lower_stores(g, fusion, places, k, &group.domain, &stores)
        }
        GroupKind::SliceUpdate => lower_stores(g, fusion, places, k, &group.domain, &[updated(g, places, group)?]),
        GroupKind::Rows => rows(Lower::new(g, fusion, places, k), group),
        GroupKind::Scan => scan(Lower::new(g, fusion, places, k), group),
        GroupKind::Scatter => scatter(Lower::new(g, fusion, places, k), group),
        GroupKind::Merge => super::sort::merge(Lower::new(g, fusion, places, k), group),
        GroupKind::Dot | GroupKind::Literal | GroupKind::Control => Ok(None),
    }
}

/// A nest that computes what a group of maps or an update computes, for its checks, and stores nothing.
///
/// # Errors
/// `unsupported` if a value cannot be pulled.
pub fn lower_checks(g: &Graph, fusion: &Fusion, places: &Places, k: usize) -> Result<Option<LoopStep>> {
    let group = &fusion.groups[k];
    if group.domain.contains(&Dim::ZERO) {
        return Ok(None);
    }
    let mut l = Lower::new(g, fusion, places, k);
    let ix = l.loops(&group.domain, group.kind != GroupKind::Scatter);
    match group.kind {
        GroupKind::Map => {
            for n in group.nodes.iter().filter(|n| fusion.stored[n.0 as usize]) {
                l.eval((*n).into(), &ix)?;
            }
        }
        _ => {
            let n = root(g, group)?;
            let x = g.operands(n);
            if let Op::Scatter(s) = g.op(n) {
                let index = l.eval(x[1], &ix)?;
                l.checked_index(index, g.ty(n.into()).shape[s.axis]);
            }
            for v in x.iter().skip(1 + matches!(g.op(n), Op::Scatter(_)) as usize) {
                l.eval(*v, &ix)?;
            }
        }
    }
    Ok(Some(l.finish()))
}

/// The node that gives a group of its own kind its kind; the others were sunk into it.
pub(super) fn root(g: &Graph, group: &Group) -> Result<NodeId> {
    let own = |n: &&NodeId| matches!(g.op(**n), Op::SliceUpdate(_) | Op::Scatter(_) | Op::Scan(_) | Op::Merge(_));
    group.nodes.iter().rev().find(own).copied().ok_or_else(|| err::internal("a group without its root"))
}

fn stored_at(places: &Places, n: NodeId) -> Result<Place> {
    places.get(&n.into()).cloned().ok_or_else(|| err::internal("a stored value has no place"))
}

/// What a group of a slice update stores, and where.
pub(super) fn updated(g: &Graph, places: &Places, group: &Group) -> Result<Store> {
    let n = root(g, group)?;
    let Op::SliceUpdate(s) = g.op(n) else { return Err(err::internal("no slice update")) };
    let whole = stored_at(places, n)?;
    Ok(Store { value: g.operands(n)[1], place: Place { buffer: whole.buffer, layout: whole.layout.slice(&s.0.0) } })
}

impl Lower<'_> {
    /// Opens loops over a shape and gives its index; extents of 1 need no loop.
    pub(super) fn loops(&mut self, shape: &[Dim], vector: bool) -> Ix {
        let last = shape.iter().rposition(|d| !d.is(1));
        let mut ix = Ix::new();
        for (i, d) in shape.iter().enumerate() {
            let kind = if vector && Some(i) == last { LoopKind::Vector } else { LoopKind::Serial };
            ix.push(if d.is(1) { Lin::default() } else { Lin::var(self.open_whole(*d, kind)) });
        }
        ix
    }

    /// Computes all values first, then stores them: a store may go to memory that another one's load reads.
    fn store_all(&mut self, stores: &[Store], ix: &Ix) -> Result<()> {
        let values = stores.iter().map(|s| self.eval(s.value, ix)).collect::<Result<Vec<V>>>()?;
        for (s, value) in stores.iter().zip(values) {
            self.store(&s.place, self.g.ty(s.value).dtype, ix, value);
        }
        Ok(())
    }
}

fn combine(kind: ReduceKind, dtype: DType) -> Combine {
    match kind {
        ReduceKind::Sum if dtype == DType::Bool => Combine::Max,
        ReduceKind::Prod if dtype == DType::Bool => Combine::Min,
        ReduceKind::Sum => Combine::Sum,
        ReduceKind::Prod => Combine::Prod,
        ReduceKind::Max => Combine::Max,
        ReduceKind::Min => Combine::Min,
        ReduceKind::ArgMax => Combine::ArgMax,
        ReduceKind::ArgMin => Combine::ArgMin,
    }
}

/// The index of the full domain from an index of the kept axes and one of the reduced axes.
fn full_index(group: &Group, outer: &Ix, inner: &Ix) -> Ix {
    let (mut o, mut r) = (outer.iter(), inner.iter());
    (0..group.domain.len())
        .map(|d| if group.axes.contains(&d) { r.next() } else { o.next() }.cloned().unwrap_or_default())
        .collect()
}

/// Kept axes outside, one set of loops over the reduced axes for each stage of reductions, one more for results at the
/// full level.
fn rows(mut l: Lower<'_>, group: &Group) -> Result<Option<LoopStep>> {
    let outer_shape = kept(group);
    if outer_shape.contains(&Dim::ZERO) {
        return Ok(None);
    }
    let reduced: Dims = group.axes.iter().map(|a| group.domain[*a]).collect();
    let lanes = if group.axes.last().is_some_and(|a| a + 1 == group.domain.len()) { LANES } else { 1 };
    let outer = l.loops(&outer_shape, lanes == 1);
    let store = |l: &Lower<'_>, level: Level| -> Vec<Store> {
        let here = |n: &&NodeId| l.fusion.stored[n.0 as usize] && l.fusion.level[n.0 as usize] == Some(level);
        let place = |n: &NodeId| l.places.get(&Value::from(*n)).map(|p| Store { value: (*n).into(), place: p.clone() });
        group.nodes.iter().filter(here).filter_map(place).collect()
    };
    let mut full = store(&l, Level::Full);
    let stages = stages(l.g, group);
    let keeping = keeping(&l, group, &stages, &full);
    for (stage, keep) in stages.iter().zip(&keeping) {
        reduce_stage(&mut l, group, stage, keep, &outer, &reduced, lanes)?;
    }
    full.retain(|s| l.kept.get(&s.value.node).is_none_or(|p| p.buffer != s.place.buffer));
    if !full.is_empty() && !reduced.contains(&Dim::ZERO) {
        let depth = l.scopes.len();
        let inner = l.loops(&reduced, lanes > 1);
        let ix = full_index(group, &outer, &inner);
        l.store_all(&full, &ix)?;
        l.close_to(depth);
    }
    // Values of the outer level have the kept dimensions, or all of them with one element where they are reduced.
    let zeros: Ix = reduced.iter().map(|_| Lin::default()).collect();
    let keepdim = full_index(group, &outer, &zeros);
    let (flat, wide): (Vec<Store>, Vec<Store>) =
        store(&l, Level::Outer).into_iter().partition(|s| s.place.layout.shape.len() == outer.len());
    l.store_all(&flat, &outer)?;
    l.store_all(&wide, &keepdim)?;
    Ok(Some(l.finish()))
}

/// Reductions in the order they depend on each other; those of one stage share their loops.
fn stages(g: &Graph, group: &Group) -> Vec<Vec<NodeId>> {
    let inside = |n: NodeId| group.nodes.binary_search(&n).is_ok();
    let mut stage: std::collections::HashMap<NodeId, usize> = std::collections::HashMap::new();
    let mut out: Vec<Vec<NodeId>> = Vec::new();
    // Ascending order, so operands come first. Counts the reductions on the way.
    for n in &group.nodes {
        let before = g
            .operands(*n)
            .into_iter()
            .map(|v| source(g, v).0.node)
            .filter(|s| inside(*s))
            .filter_map(|s| stage.get(&s).copied())
            .max()
            .unwrap_or(0);
        let is_reduce = matches!(g.op(*n), Op::Reduce(_));
        stage.insert(*n, before + is_reduce as usize);
        if is_reduce {
            out.resize(out.len().max(before + 1), Vec::new());
            out[before].push(*n);
        }
    }
    out
}

fn reduce_stage(
    l: &mut Lower<'_>,
    group: &Group,
    stage: &[NodeId],
    keep: &[(NodeId, Place)],
    outer: &Ix,
    reduced: &[Dim],
    lanes: usize,
) -> Result<()> {
    let kind = |l: &Lower<'_>, n: NodeId| match l.g.op(n) {
        Op::Reduce(Reduce { kind, .. }) => *kind,
        _ => ReduceKind::Sum,
    };
    let (args, sums): (Vec<NodeId>, Vec<NodeId>) = stage.iter().partition(|n| kind(l, **n).is_arg());
    if !sums.is_empty() {
        ordered(l, group, &sums, keep, outer, reduced, lanes)?;
    }
    // What waited in the same memory before is gone.
    l.kept.retain(|_, old| keep.iter().all(|(_, new)| new.buffer != old.buffer));
    l.kept.extend(keep.iter().cloned());
    if !args.is_empty() {
        positions(l, group, &args, outer, reduced)?;
    }
    Ok(())
}

fn declare(l: &mut Lower<'_>, nodes: &[NodeId], lanes: usize) -> Vec<AccId> {
    nodes
        .iter()
        .map(|n| {
            let Op::Reduce(r) = l.g.op(*n) else { return AccId(0) };
            let dtype = l.g.ty(l.g.operands(*n)[0]).dtype;
            let acc = l.acc();
            l.push(Stmt::Acc { acc, combine: combine(r.kind, dtype), reg: dtype.reg(), lanes: lanes as u32 });
            acc
        })
        .collect()
}

fn update(l: &mut Lower<'_>, accs: &[AccId], values: &[V]) {
    for (acc, value) in accs.iter().zip(values) {
        l.push(Stmt::Update { acc: *acc, value: *value, index: None });
    }
}

fn read(l: &mut Lower<'_>, accs: &[AccId], nodes: &[NodeId]) -> Vec<V> {
    accs.iter()
        .zip(nodes)
        .map(|(acc, n)| {
            let ty = l.g.ty((*n).into());
            let dst = l.define(ty.dtype.reg(), l.here());
            l.push(Stmt::Read { dst, acc: *acc });
            dst
        })
        .collect()
}

/// The defined order of `tensorc_ir::ops::reduce`: blocks of rows, or of a long row, each reduced on its own, then
/// combined in order.
fn ordered(
    l: &mut Lower<'_>,
    group: &Group,
    nodes: &[NodeId],
    keep: &[(NodeId, Place)],
    outer: &Ix,
    reduced: &[Dim],
    lanes: usize,
) -> Result<()> {
    let totals = declare(l, nodes, 1);
    if !reduced.contains(&Dim::ZERO) {
        let kind = if lanes > 1 { LoopKind::Vector } else { LoopKind::Serial };
        let (n, more) = reduced.split_last().map_or((Dim::ONE, reduced), |(n, more)| (*n, more));
        let (rows, outermost) = more.split_last().map_or((None, more), |(m, o)| (Some(*m), o));
        let long = n.known().map(|n| n >= BLOCK as i64);
        // A long row is cut into blocks of elements, and short rows are taken several at a time. A row of a length that
        // is not known yet gets the loops of both, of which one then has a single block.
        let (cut, several) = (long != Some(false), long != Some(true));
        let mut inner: Ix = Ix::new();
        let mut opened = 0;
        let whole = |l: &mut Lower<'_>, d: Dim, opened: &mut usize| {
            *opened += !d.is(1) as usize;
            if d.is(1) { Lin::default() } else { Lin::var(l.open_whole(d, LoopKind::Serial)) }
        };
        // The blocks of a dimension of extent `d`, with the extent of the loop inside a block.
        let blocks = |l: &mut Lower<'_>, d: Dim, step: Dim| {
            let block = l.open_whole(d.ceil_div(step), LoopKind::Serial);
            let (s, t): (Coef, Coef) = (l.coef(step), l.coef(d));
            (Lin::var(block).scale(step), Extent::Block { var: block, step: s, total: t })
        };
        for d in outermost {
            inner.push(whole(l, *d, &mut opened));
        }
        let row_block = match rows {
            Some(rows) if several => {
                opened += 1;
                Some(blocks(l, rows, rows_of(n)))
            }
            Some(rows) => {
                inner.push(whole(l, rows, &mut opened));
                None
            }
            None => None,
        };
        let column_block = cut.then(|| {
            opened += 1;
            blocks(l, n, BLOCK.into())
        });
        let parts = declare(l, nodes, lanes);
        let mut inside = 1;
        if let Some((first, extent)) = row_block {
            let mut at = first;
            at.add(&Lin::var(l.open(extent, LoopKind::Serial)));
            inner.push(at);
            inside += 1;
        }
        inner.push(match column_block {
            Some((first, extent)) => {
                let mut at = first;
                at.add(&Lin::var(l.open(extent, kind)));
                at
            }
            None => Lin::var(l.open_whole(n, kind)),
        });
        let ix = full_index(group, outer, &inner);
        let values = operands(l, nodes, &ix)?;
        update(l, &parts, &values);
        let kept = keep.iter().map(|(n, place)| Store { value: (*n).into(), place: place.clone() });
        l.store_all(&kept.collect::<Vec<_>>(), &ix)?;
        for _ in 0..inside {
            l.close();
        }
        let partial = read(l, &parts, nodes);
        update(l, &totals, &partial);
        for _ in 0..opened {
            l.close();
        }
    }
    let values = read(l, &totals, nodes);
    for (n, v) in nodes.iter().zip(values) {
        let dtype = l.g.ty((*n).into()).dtype;
        let v = l.code(|b| b.round_to(dtype, v));
        l.reduced.insert(*n, v);
    }
    Ok(())
}

/// [`block_rows`](tensorc_ir::ops::reduce::block_rows) of a row whose length may be symbolic.
fn rows_of(n: Dim) -> Dim {
    Dim::from(BLOCK).floor_div(n.max(Dim::ONE)).max(Dim::ONE)
}

fn operands(l: &mut Lower<'_>, nodes: &[NodeId], ix: &Ix) -> Result<Vec<V>> {
    nodes.iter().map(|n| l.eval(l.g.operands(*n)[0], ix)).collect()
}

/// Positions of extremes: plain loops in row-major order.
fn positions(l: &mut Lower<'_>, group: &Group, nodes: &[NodeId], outer: &Ix, reduced: &[Dim]) -> Result<()> {
    let accs = declare(l, nodes, 1);
    let depth = l.scopes.len();
    let inner = l.loops(reduced, false);
    let mut position = Lin::default();
    for (lin, s) in inner.iter().zip(row_major_dims(reduced)) {
        position.add(&lin.scale(s));
    }
    let values = operands(l, nodes, &full_index(group, outer, &inner))?;
    let index = l.index_value(&position);
    for (acc, value) in accs.iter().zip(values) {
        l.push(Stmt::Update { acc: *acc, value, index: Some(index) });
    }
    l.close_to(depth);
    for (n, v) in nodes.iter().zip(read(l, &accs, nodes)) {
        l.reduced.insert(*n, v);
    }
    Ok(())
}

/// The other axes outside (the last one in lanes, if it is not the scanned one), the scanned axis inside.
fn scan(mut l: Lower<'_>, group: &Group) -> Result<Option<LoopStep>> {
    let n = root(l.g, group)?;
    let Op::Scan(s) = l.g.op(n) else { return Err(err::internal("no scan")) };
    if group.domain.contains(&Dim::ZERO) {
        return Ok(None);
    }
    let mut others = group.domain.clone();
    others.remove(s.axis);
    let mut ix = l.loops(&others, s.axis + 1 != group.domain.len());
    let dtype = l.g.ty(n.into()).dtype;
    let acc = l.acc();
    l.push(Stmt::Acc { acc, combine: combine(s.kind.combiner(), dtype), reg: dtype.reg(), lanes: 1 });
    let i = l.open_whole(group.domain[s.axis], LoopKind::Serial);
    ix.insert(s.axis, Lin::var(i));
    let value = l.eval(l.g.operands(n)[0], &ix)?;
    l.push(Stmt::Update { acc, value, index: None });
    let dst = l.define(dtype.reg(), l.here());
    l.push(Stmt::Read { dst, acc });
    let place = stored_at(l.places, n)?;
    l.store(&place, dtype, &ix, dst);
    Ok(Some(l.finish()))
}

/// One loop after the other in row-major order of the index: duplicates are deterministic.
fn scatter(mut l: Lower<'_>, group: &Group) -> Result<Option<LoopStep>> {
    let n = root(l.g, group)?;
    let Op::Scatter(s) = l.g.op(n) else { return Err(err::internal("no scatter")) };
    if group.domain.contains(&Dim::ZERO) {
        return Ok(None);
    }
    let x = l.g.operands(n);
    let ty = l.g.ty(n.into()).clone();
    let ix = l.loops(&group.domain, false);
    let index = l.eval(x[1], &ix)?;
    let at = l.checked_index(index, ty.shape[s.axis]);
    let source = l.eval(x[2], &ix)?;
    let place = stored_at(l.places, n)?;
    let mut to = ix.clone();
    to[s.axis] = Lin { dynamic: Some(at), ..Lin::default() };
    let value = match s.mode.combiner() {
        None => source,
        Some(kind) => {
            // Not `load`: the element changes from one iteration to the next even where its address does not.
            let (buf, at, _) = l.access(&place, ty.dtype, &to, true);
            let old = l.define(ty.dtype.reg(), l.here());
            l.push(Stmt::Load { dst: old, buf, at });
            l.code(|b| {
                let both = kind.combine(b, old, source);
                b.round_to(ty.dtype, both)
            })
        }
    };
    l.store(&place, ty.dtype, &to, value);
    Ok(Some(l.finish()))
}

//! The plan: which buffer every stored value lives in, and in which order the kernels run.
//!
//! A value that leaves goes to a new buffer, a value that stays inside to the arena, where buffers whose last reader has
//! run are used again. Writes come back in place where nothing can see the difference: a `slice_update` or `scatter`
//! whose base nobody reads any more stores into the base's buffer; the final value of a written parameter is computed in
//! the parameter's memory if every other reader of it has run before. A program with checks computes aside and writes
//! back at its end, so that a failed call leaves the caller's memory as it was.

mod control;

use crate::lower::{Places, Store, lower_group, lower_stores};
use crate::program::{BufferDecl, BufferId, BufferKind, DotStep, Output, Place, Program, Step};
use std::collections::HashMap;
use tensorc_ir::interp::may_fail;
use tensorc_ir::ops::Op;
use tensorc_ir::passes::fuse::{Fusion, GroupKind, Mode, fuse, legalize, source, through};
use tensorc_ir::{DType, Dim, Graph, NodeId, Result, Strided, Value, error::err};

/// Compiles a pure graph to a program for parameters that lie as `params` say.
///
/// # Errors
/// `unsupported` if a value cannot be computed by a kernel.
pub fn plan(g: &Graph, params: &[Strided], mode: Mode) -> Result<Program> {
    let g = &legalize(g, params)?;
    let fusion = fuse(g, mode);
    let mut p = Planner::new(g, &fusion, params, mode);
    p.declare_params(params);
    p.assign()?;
    for k in 0..fusion.groups.len() {
        p.group_steps(k)?;
    }
    p.write_back()?;
    p.outputs()?;
    Ok(p.program)
}

struct Planner<'a> {
    g: &'a Graph,
    fusion: &'a Fusion,
    params: &'a [Strided],
    places: Places,
    program: Program,
    /// For each node, the last group that reads its memory, through whatever views.
    last_reader: Vec<Option<usize>>,
    /// For each node, every group that reads its memory and the readers' nodes.
    readers: Vec<Vec<(usize, NodeId)>>,
    /// Bytes of the arena that are free again, as (offset, size).
    free: Vec<(Dim, Dim)>,
    /// Buffers of the arena to free after a group.
    expire: HashMap<usize, Vec<(Dim, Dim)>>,
    in_place: HashMap<NodeId, Value>,
    at_home: HashMap<NodeId, usize>,
    mode: Mode,
    /// Control steps that are planned, with the copies that come before them.
    controls: HashMap<NodeId, Vec<Step>>,
}

fn is_root(g: &Graph, value: Value) -> bool {
    g.computed_roots().any(|v| source(g, v).0 == value)
}

impl<'a> Planner<'a> {
    fn new(g: &'a Graph, fusion: &'a Fusion, params: &'a [Strided], mode: Mode) -> Planner<'a> {
        let mut readers: Vec<Vec<(usize, NodeId)>> = vec![Vec::new(); g.len()];
        let live = g.computed();
        for n in g.nodes().filter(|n| live[n.0 as usize]) {
            let Some(k) = fusion.group_of[n.0 as usize] else { continue };
            for v in g.operands(n) {
                readers[source(g, v).0.node.0 as usize].push((k, n));
            }
        }
        let last_reader = readers.iter().map(|r| r.iter().map(|(k, _)| *k).max()).collect();
        Planner {
            g,
            fusion,
            params,
            places: Places::new(),
            program: Program::default(),
            last_reader,
            readers,
            free: Vec::new(),
            expire: HashMap::new(),
            in_place: HashMap::new(),
            at_home: HashMap::new(),
            mode,
            controls: HashMap::new(),
        }
    }

    fn buffer(&mut self, decl: BufferDecl) -> BufferId {
        self.program.buffers.push(decl);
        BufferId(self.program.buffers.len() as u32 - 1)
    }

    fn declare_params(&mut self, params: &[Strided]) {
        let mut types: Vec<Option<DType>> = vec![None; params.len()];
        let inputs: Vec<(NodeId, usize)> = self
            .g
            .nodes()
            .filter_map(|n| if let Op::Input(i) = self.g.op(n) { Some((n, *i as usize)) } else { None })
            .collect();
        for (n, i) in &inputs {
            types[*i] = Some(self.g.ty((*n).into()).dtype);
        }
        for (i, layout) in params.iter().enumerate() {
            let numel = reach(layout);
            let dtype = types[i].unwrap_or(DType::F32);
            self.buffer(BufferDecl { dtype, numel, kind: BufferKind::Param(i) });
        }
        for (n, i) in inputs {
            self.places.insert(n.into(), Place { buffer: BufferId(i as u32), layout: params[i].clone() });
        }
    }

    /// Whether some kernel may record a fault.
    fn may_fail(&self) -> bool {
        self.g.nodes().any(|n| may_fail(self.g, n))
    }

    /// Chains of updates that end in a parameter's final value, and elementwise results that are one, live in the
    /// parameter's memory.
    fn find_homes(&mut self) {
        if self.may_fail() {
            return;
        }
        for (param, v) in self.g.mutated.clone() {
            let mut chain = Vec::new();
            let mut n = v.node;
            let is_view = |i: usize| matches!(self.g.output_views.get(i), Some(Some(_)));
            if (self.g.outputs.iter().enumerate()).any(|(i, o)| !is_view(i) && source(self.g, *o).0.node == n)
                || self.params[param].overlaps_itself()
                || self.g.mutated.iter().filter(|(_, w)| source(self.g, *w).0.node == n).count() != 1
            {
                continue;
            }
            while matches!(self.g.op(n), Op::SliceUpdate(_)) && (n == v.node || !is_root(self.g, n.into())) {
                chain.push(n);
                let base = self.g.operands(n)[0];
                let group = self.fusion.group_of[n.0 as usize];
                if !self.readers[base.node.0 as usize].iter().all(|(k, r)| *r == n || Some(*k) < group) {
                    break;
                }
                n = base.node;
            }
            let input = |m: NodeId| matches!(self.g.op(m), Op::Input(i) if *i as usize == param);
            let reached = input(n) && !chain.is_empty();
            let computed = chain.is_empty() && self.updates_elementwise(n, param);
            if reached {
                chain.iter().for_each(|m| {
                    self.at_home.insert(*m, param);
                });
            } else if computed {
                self.at_home.insert(n, param);
            }
        }
    }

    /// Whether a map kernel may store `n` over the parameter: its other readers run before, and the kernel itself reads
    /// the parameter only where it stores.
    fn updates_elementwise(&self, n: NodeId, param: usize) -> bool {
        use tensorc_ir::passes::fuse::DimMap;
        let Some(k) = self.fusion.group_of[n.0 as usize] else { return false };
        let group = &self.fusion.groups[k];
        let Some(input) = self.g.nodes().find(|m| matches!(self.g.op(*m), Op::Input(i) if *i as usize == param)) else {
            return false;
        };
        let shape = &self.g.ty(n.into()).shape;
        group.kind == GroupKind::Map
            && *shape == group.domain
            && self.g.ty(input.into()).shape == *shape
            && self.readers[input.0 as usize].iter().all(|(j, r)| {
                let same_index = || {
                    self.fusion.level[r.0 as usize].is_some()
                        && self.g.operands(*r).into_iter().all(|v| {
                            let (s, views) = source(self.g, v);
                            s.node != input || DimMap::through(self.g, shape, &views).is_identity(shape)
                        })
                };
                *j < k || (*j == k && same_index())
            })
            && self.g.mutated.iter().all(|(i, v)| {
                let s = source(self.g, *v).0.node;
                *i == param || s != input
            })
    }

    /// The stored node whose buffer `n` may take over: an update whose base nobody else reads later.
    fn takes_over(&self, n: NodeId) -> Option<Value> {
        if !matches!(self.g.op(n), Op::SliceUpdate(_) | Op::Scatter(_)) {
            return None;
        }
        let base = self.g.operands(n)[0];
        let group = self.fusion.group_of[n.0 as usize];
        let mine = self.fusion.stored[base.node.0 as usize]
            && !is_root(self.g, base)
            && !matches!(self.g.op(base.node), Op::Input(_) | Op::Literal(_))
            && !self.at_home.contains_key(&base.node);
        let readers = &self.readers[base.node.0 as usize];
        (mine
            && readers
                .iter()
                .all(|(k, r)| (*r == n && readers.iter().filter(|(_, m)| *m == n).count() == 1) || Some(*k) < group))
        .then_some(base)
    }

    /// Gives every stored node its place.
    fn assign(&mut self) -> Result<()> {
        self.find_homes();
        for k in 0..self.fusion.groups.len() {
            for n in self.fusion.groups[k].nodes.clone() {
                if self.fusion.stored[n.0 as usize] {
                    self.assign_node(k, n)?;
                }
                if self.fusion.groups[k].kind == GroupKind::Control {
                    let steps = self.control(k, n)?;
                    self.controls.insert(n, steps);
                }
            }
            for (at, size) in self.expire.remove(&k).unwrap_or_default() {
                self.free.push((at, size));
            }
        }
        Ok(())
    }

    fn assign_node(&mut self, k: usize, n: NodeId) -> Result<()> {
        if self.fusion.groups[k].kind == GroupKind::Control {
            self.g.results(n).for_each(|v| self.assign_new(k, v));
            return Ok(());
        }
        let ty = self.g.ty(n.into()).clone();
        if let Some(param) = self.at_home.get(&n) {
            let place = Place { buffer: BufferId(*param as u32), layout: self.params[*param].clone() };
            self.places.insert(n.into(), place);
            return Ok(());
        }
        if let (Some(base), false) = (self.takes_over(n), is_root(self.g, n.into())) {
            let place = self.places[&base].clone();
            self.in_place.insert(n, base);
            // The buffer now lives as long as its new value.
            if let BufferKind::Temp(at) = self.program.buffers[place.buffer.0 as usize].kind {
                let size = round_up(ty.count() * ty.dtype.size());
                let end = self.last_reader[n.0 as usize].unwrap_or(k);
                for v in self.expire.values_mut() {
                    v.retain(|(a, _)| *a != at);
                }
                self.expire.entry(end).or_default().push((at, size));
            }
            self.places.insert(n.into(), place);
            return Ok(());
        }
        self.assign_new(k, n.into());
        Ok(())
    }

    /// Gives a value of group `k` memory of its own.
    fn assign_new(&mut self, k: usize, v: Value) {
        let ty = self.g.ty(v).clone();
        let buffer = match self.g.op(v.node) {
            Op::Literal(l) => {
                let kind = BufferKind::Literal(l.clone());
                self.buffer(BufferDecl { dtype: ty.dtype, numel: ty.count(), kind })
            }
            _ if is_root(self.g, v) => {
                self.buffer(BufferDecl { dtype: ty.dtype, numel: ty.count(), kind: BufferKind::Output })
            }
            _ => self.temporary(ty.dtype, ty.count(), self.last_reader[v.node.0 as usize].unwrap_or(k)),
        };
        self.places.insert(v, Place { buffer, layout: Strided::contiguous(&ty.shape) });
    }

    /// A buffer of the arena that is free again after group `end`.
    fn temporary(&mut self, dtype: DType, numel: Dim, end: usize) -> BufferId {
        let size = round_up(numel * dtype.size());
        let at = self.arena(size);
        self.expire.entry(end).or_default().push((at, size));
        self.buffer(BufferDecl { dtype, numel, kind: BufferKind::Temp(at) })
    }

    /// Best fit among free pieces, else the end of the arena.
    fn arena(&mut self, size: Dim) -> Dim {
        // Pieces that are large enough whatever the sizes.
        let fits = |i: &usize| (self.free[*i].1 - size).least().is_some_and(|left| left >= 0);
        let best = (0..self.free.len()).filter(fits).min_by_key(|i| self.free[*i].1.known().unwrap_or(i64::MAX));
        if let Some(i) = best {
            let (at, have) = self.free.swap_remove(i);
            if have != size {
                self.free.push((at + size, have - size));
            }
            return at;
        }
        let at = self.program.arena;
        self.program.arena = at + size;
        at
    }

    /// Where a value lies, views included.
    fn place(&self, v: Value) -> Result<Place> {
        let (s, views) = source(self.g, v);
        let base = self.places.get(&s).ok_or_else(|| err::unsupported("a value that is needed is not stored"))?;
        let layout = through(self.g, Some(base.layout.clone()), &views)?;
        let layout = layout.ok_or_else(|| err::unsupported("a view that strides cannot say"))?;
        Ok(Place { buffer: base.buffer, layout })
    }

    fn group_steps(&mut self, k: usize) -> Result<()> {
        let group = &self.fusion.groups[k];
        if let (GroupKind::Control, Some(n)) = (group.kind, group.nodes.first()) {
            self.program.steps.extend(self.controls.remove(n).unwrap_or_default());
            return Ok(());
        }
        let root = group
            .nodes
            .iter()
            .copied()
            .find(|n| matches!(self.g.op(*n), Op::SliceUpdate(_) | Op::Scatter(_) | Op::Dot));
        if let (GroupKind::Dot, Some(n)) = (group.kind, root) {
            let x = self.g.operands(n);
            let step = DotStep {
                dtype: self.g.ty(n.into()).dtype,
                a: self.place(x[0])?,
                b: self.place(x[1])?,
                c: self.place(n.into())?,
                group: k,
                loc: self.g.node(n).loc,
            };
            if !self.g.ty(n.into()).is_empty() {
                self.program.steps.push(Step::Dot(Box::new(step)));
            }
            return Ok(());
        }
        let updates = matches!(group.kind, GroupKind::SliceUpdate | GroupKind::Scatter);
        if let (true, Some(n)) = (updates, root)
            && !self.in_place.contains_key(&n)
        {
            let (base, place) = (self.g.operands(n)[0], self.place(n.into())?);
            let already = self.at_home.contains_key(&n);
            if !already {
                let domain = self.g.ty(n.into()).shape.clone();
                let copy = Store { value: base, place };
                let step = lower_stores(self.g, self.fusion, &self.places, k, &domain, &[copy])?;
                self.program.steps.extend(step.map(Step::Loops));
            }
        }
        let step = lower_group(self.g, self.fusion, &self.places, k)?;
        self.program.steps.extend(step.map(Step::Loops));
        Ok(())
    }

    fn write_back(&mut self) -> Result<()> {
        for (param, v) in &self.g.mutated {
            self.program.mutated.push(*param);
            if self.at_home.contains_key(&v.node) {
                continue;
            }
            let place = Place { buffer: BufferId(*param as u32), layout: self.params[*param].clone() };
            let domain = self.g.ty(*v).shape.clone();
            // No group: everything is read from memory.
            let copy = Store { value: *v, place };
            let step = lower_stores(self.g, self.fusion, &self.places, usize::MAX, &domain, &[copy])?;
            self.program.write_back.extend(step.map(Step::Loops));
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<()> {
        for (i, v) in self.g.outputs.iter().enumerate() {
            let view = self.g.output_views.get(i).and_then(Option::as_ref);
            let out = match view {
                Some(view) => {
                    let base = self.params.get(view.param).cloned();
                    let layout = view.views.iter().try_fold(base, |l, op| match l {
                        Some(l) => op.structural().layout(&l),
                        None => Ok(None),
                    })?;
                    let layout = layout.ok_or_else(|| err::shape("a returned view is impossible"))?;
                    Output::View(view.param, self.g.ty(*v).dtype, layout)
                }
                None => Output::Place(self.place(*v)?),
            };
            self.program.outputs.push(out);
        }
        Ok(())
    }
}

fn round_up(bytes: Dim) -> Dim {
    bytes.ceil_div(64.into()) * 64
}

/// How many elements from the start of its storage a parameter spans.
fn reach(layout: &Strided) -> Dim {
    if let Ok(l) = layout.known() {
        return l.bounds().map_or(Dim::ZERO, |(_, hi)| Dim::from(hi) + 1);
    }
    layout.shape.iter().zip(&layout.strides).fold(layout.offset + 1, |n, (d, s)| n + (*d - 1) * *s)
}

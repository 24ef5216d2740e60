//! The plan: which buffer every stored value lives in, and in which order the kernels run.
//!
//! A value that leaves goes to a new buffer, a value that stays inside to the arena, where buffers whose last reader has
//! run are used again. Writes come back in place where nothing can see the difference: a `slice_update` or `scatter`
//! whose base nobody reads any more stores into the base's buffer; the final value of a written parameter is computed in
//! the parameter's memory if every other reader of it has run before. A program with checks computes aside and writes
//! back at its end, so that a failed call leaves the caller's memory as it was.

mod control;
mod in_place;
mod windows;

use crate::lower::{Aside, Places, Store, lower_checks, lower_group, lower_stores, lower_window};
use crate::program::{BufferDecl, BufferId, BufferKind, Copied, DotStep, Offsets, Output, Place, Program, Step, Why};
use std::collections::{HashMap, HashSet};
use tensorc_ir::ops::Op;
use tensorc_ir::passes::fuse::{Fusion, GroupKind, Mode, Versions, fuse, legalize, source, through};
use tensorc_ir::timing;
use tensorc_ir::{DType, Dim, Graph, NodeId, Result, Strided, Value, error::err};

/// Compiles a pure graph to a program for parameters that lie as `params` say.
///
/// # Errors
/// `unsupported` if a value cannot be computed by a kernel.
pub fn plan(g: &Graph, params: &[Strided], mode: Mode) -> Result<Program> {
    timing::part("plan", || planned(g, params, mode))
}

fn planned(g: &Graph, params: &[Strided], mode: Mode) -> Result<Program> {
    let g = &timing::part("fuse", || legalize(g, params))?;
    let fusion = timing::part("fuse", || fuse(g, mode));
    let mut p = Planner::new(g, &fusion, params, mode);
    p.declare_params(params);
    p.assign()?;
    for k in 0..fusion.groups.len() {
        p.checks_ahead(k)?;
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
    versions: Versions<'a>,
    leaves: Leaves,
    /// For each value that is read in another shape, the views on the ways to those, outermost first.
    reshaped: HashMap<NodeId, Vec<Vec<NodeId>>>,
    /// Bytes of the arena that are free again, as (offset, size).
    free: Vec<(Dim, Dim)>,
    /// Buffers of the arena to free after a group.
    expire: HashMap<usize, Vec<(Dim, Dim)>>,
    /// Updates that are stored over their bases.
    in_place: HashSet<NodeId>,
    /// Those, by the oldest value in the same memory.
    sharing: HashMap<NodeId, Vec<NodeId>>,
    /// Values that live in the memory of a parameter, and where in it.
    at_home: HashMap<NodeId, (usize, Strided)>,
    /// Values that become results by updates in place.
    leaving: HashSet<Value>,
    /// The first group that writes to a parameter's memory, and the groups whose checks run before it.
    ahead: Option<(usize, Vec<usize>)>,
    /// For each written parameter whose final value is computed elsewhere, why.
    away: HashMap<usize, Why>,
    /// Updates that go over what they read with a window of rows, and their memory.
    aside: HashMap<NodeId, Aside>,
    mode: Mode,
    /// Control steps that are planned, with the copies that come before them.
    controls: HashMap<NodeId, Vec<Step>>,
}

/// What leaves the graph, behind views.
struct Leaves {
    /// Results with memory of their own, and final values.
    roots: HashSet<Value>,
    outputs: HashSet<Value>,
    /// Of how many parameters a value is the final one.
    finals: HashMap<Value, usize>,
}

impl Leaves {
    fn of(g: &Graph) -> Leaves {
        let is_view = |k: usize| g.output_views.get(k).is_some_and(Option::is_some);
        let mut finals = HashMap::new();
        g.mutated.iter().for_each(|(_, v)| *finals.entry(source(g, *v).0).or_default() += 1);
        Leaves {
            roots: g.computed_roots().map(|v| source(g, v).0).collect(),
            outputs: g.outputs.iter().enumerate().filter(|(k, _)| !is_view(*k)).map(|(_, v)| source(g, *v).0).collect(),
            finals,
        }
    }
}

impl<'a> Planner<'a> {
    fn new(g: &'a Graph, fusion: &'a Fusion, params: &'a [Strided], mode: Mode) -> Planner<'a> {
        let mut readers: Vec<Vec<(usize, NodeId)>> = vec![Vec::new(); g.len()];
        let live = g.computed();
        for n in g.nodes().filter(|n| live[n.0 as usize]) {
            let Some(k) = fusion.group_of[n.0 as usize] else { continue };
            for v in g.operands(n) {
                let mut s = source(g, v).0.node;
                while let Some(w) = fusion.windows.get(&s) {
                    s = source(g, w.from).0.node;
                }
                readers[s.0 as usize].push((k, n));
            }
        }
        let mut reshaped: HashMap<NodeId, Vec<Vec<NodeId>>> = HashMap::new();
        for n in g.nodes().filter(|n| matches!(g.op(*n), Op::Reshape(_))) {
            let (s, views) = source(g, n.into());
            reshaped.entry(s.node).or_default().push(views);
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
            versions: Versions::new(g),
            leaves: Leaves::of(g),
            reshaped,
            free: Vec::new(),
            expire: HashMap::new(),
            in_place: HashSet::new(),
            sharing: HashMap::new(),
            at_home: HashMap::new(),
            leaving: HashSet::new(),
            ahead: None,
            away: HashMap::new(),
            aside: HashMap::new(),
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
        if let Some((param, layout)) = self.at_home.get(&n) {
            let place = Place { buffer: BufferId(*param as u32), layout: layout.clone() };
            self.places.insert(n.into(), place);
            self.assign_aside(k, n);
            return Ok(());
        }
        if let Ok(base) = self.takes_over(n) {
            let place = self.place(self.g.operands(n)[0])?;
            self.note_in_place(n);
            // The buffer now lives as long as its new value.
            if let BufferKind::Temp(at) = self.program.buffers[place.buffer.0 as usize].kind {
                let old = self.g.ty(base);
                let size = round_up(old.count() * old.dtype.size());
                // Parts of older versions that it left alone may be read longer.
                let read = |v: Value| self.last_reader[v.node.0 as usize];
                let end = self.versions.back(n.into()).filter_map(read).max().unwrap_or(k).max(k);
                for v in self.expire.values_mut() {
                    v.retain(|(a, _)| *a != at);
                }
                self.expire.entry(end).or_default().push((at, size));
            }
            self.places.insert(n.into(), place);
            self.assign_aside(k, n);
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
            _ if self.leaves(v) => {
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

    /// Notes a copy of a value's memory, for people.
    fn copied(&mut self, v: Value, param: Option<usize>, why: Why) {
        let ty = self.g.ty(v);
        let bytes = ty.count() * ty.dtype.size();
        self.program.copies.push(Copied { value: v, param, bytes, loc: self.g.loc(v), why });
    }

    /// Where a value lies, views included.
    fn place(&self, v: Value) -> Result<Place> {
        let (s, views) = source(self.g, v);
        let base = self.places.get(&s).ok_or_else(|| err::internal("a value that is needed is not stored"))?;
        let layout = through(self.g, Some(base.layout.clone()), &views)?;
        let layout = layout.ok_or_else(|| err::internal("a view that strides cannot say"))?;
        Ok(Place { buffer: base.buffer, layout })
    }

    /// Before the first group that writes to a parameter's memory, the checks of those that come later.
    fn checks_ahead(&mut self, k: usize) -> Result<()> {
        if let Some((start, groups)) = &self.ahead
            && *start == k
        {
            for k in groups {
                let step = lower_checks(self.g, self.fusion, &self.places, *k)?;
                self.program.steps.extend(step.map(Step::Loops));
            }
        }
        Ok(())
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
            let mut windows = None;
            let mut operand = |v: Value, second: bool| match self.windows(v)? {
                Some((place, rows, columns)) => {
                    windows = Some(Offsets { second, rows, columns });
                    Ok(place)
                }
                None => self.place(v),
            };
            let (a, b) = (operand(x[0], false)?, operand(x[1], true)?);
            let step = DotStep {
                dtype: self.g.ty(n.into()).dtype,
                a,
                b,
                windows,
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
            && !self.in_place.contains(&n)
        {
            let (base, place) = (self.g.operands(n)[0], self.place(n.into())?);
            let already = self.at_home.contains_key(&n);
            if !already {
                if let Err(why) = self.takes_over(n) {
                    self.copied(n.into(), None, why);
                }
                let domain = self.g.ty(n.into()).shape.clone();
                let copy = Store { value: base, place };
                let step = lower_stores(self.g, self.fusion, &self.places, k, &domain, &[copy])?;
                self.program.steps.extend(step.map(Step::Loops));
            }
        }
        if let Some(aside) = root.and_then(|n| self.aside.get(&n)) {
            let steps = lower_window(self.g, self.fusion, &self.places, k, aside)?;
            self.program.steps.extend(steps.into_iter().map(Step::Loops));
            return Ok(());
        }
        let step = lower_group(self.g, self.fusion, &self.places, k)?;
        self.program.steps.extend(step.map(Step::Loops));
        Ok(())
    }

    fn write_back(&mut self) -> Result<()> {
        let g = self.g;
        for (param, v) in &g.mutated {
            self.program.mutated.push(*param);
            if self.at_home.contains_key(&v.node) {
                continue;
            }
            if let Some(why) = self.away.get(param) {
                self.copied(*v, Some(*param), *why);
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
                    let layout = layout.ok_or_else(|| err::internal("a returned view is impossible"))?;
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

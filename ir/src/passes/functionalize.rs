//! `functionalize`: a traced program, with views that share memory and writes in program order, as pure ops.
//!
//! The idea: memory belongs to a *root* (a parameter or a new value), and what it holds now is one pure value of the whole
//! root. A write replaces that value by itself with the written region updated (`Region::update`), and a read of a view
//! whose root was written since applies the view ops anew to what the root holds now. The same node serves every read
//! until the next write, and a view of memory that is never written keeps its one node, also if it is an identity: a
//! gradient may be asked of it. Final values of written parameters and results that are views of parameters are recorded
//! ([`Graph::mutated`], [`Graph::output_views`]).
//!
//! `grad(y, x)` means the value bound to `x` now. Reads of `x` before and after a write that left its elements alone are
//! the same value, so the gradients of both are added. A write to its elements between makes another value; if `y` uses
//! only the older one, that is an error which shows the write. What is written through a `detach` is a constant. So it is
//! for `jvp(y, x, t)`: each of the same values moves by `t`.
//!
//! Results that share memory with each other but not with a parameter are separate values from here on: who wants one to
//! change with the other cannot see it after the program has ended.

use super::region::Region;
use super::{Bodies, finish};
use crate::Ex;
use crate::builder::Builder;
use crate::error::{Loc, Result, err};
use crate::graph::{Graph, NodeId, OutputView, Phase, Value, Values};
use crate::layout::Strided;
use crate::ops::effect::Jvp;
use crate::ops::gather::ScatterMode;
use crate::ops::strided::{self, Bitcast, numbers};
use crate::ops::{Effect, Op};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Makes a traced graph pure.
///
/// # Errors
/// `grad` if a gradient is asked of memory that was written since it was used.
pub fn functionalize(g: &Graph) -> Result<Graph> {
    let mut f =
        Functionalize { old: g, b: Builder::over(g.like(Phase::Pure)), values: HashMap::new(), bodies: HashMap::new() };
    let mut inputs = Vec::new();
    for (i, at) in super::parameter_nodes(g)?.into_iter().enumerate() {
        f.b.set_loc(g.node(at).loc);
        let v = f.b.input_node(i as u32, g.ty(at.into()).clone());
        f.fresh(at.into(), v);
        inputs.push((at, v));
    }
    for n in g.nodes() {
        f.b.set_loc(g.node(n).loc);
        f.node(n)?;
        f.b.check()?;
    }
    let mut outputs = Vec::new();
    let mut views = Vec::new();
    for v in &g.outputs {
        let view = f.output_view(*v)?;
        f.b.set_loc(g.loc(*v));
        outputs.push(if view.is_some() { None } else { Some(f.read(*v)?) });
        views.push(view);
    }
    let mut mutated = Vec::new();
    for (i, (at, _)) in inputs.iter().enumerate() {
        let place = f.place(Value::from(*at))?;
        if let Some(memory) = place.memory.as_ref().filter(|m| !m.writes.is_empty()) {
            mutated.push((i, memory.current));
        }
    }
    let inputs: Vec<Value> = inputs.into_iter().map(|(_, v)| v).collect();
    finish(f.b, &inputs, &outputs, mutated, views)
}

struct Functionalize<'g> {
    old: &'g Graph,
    b: Builder,
    values: HashMap<Value, Place>,
    /// Bodies of control ops that are done.
    bodies: Bodies,
}

/// Where a value of the old graph lies, and the new nodes that stood for it.
struct Place {
    root: Value,
    /// The region of `anchor` that it is. The anchor is the root, or the last view on the way that has no region.
    anchor: Value,
    region: Region,
    /// Where it lies in a row-major root, if strides can say it.
    layout: Option<Strided>,
    /// The new nodes that read it, each with the number of writes to the root before it.
    reads: Vec<(usize, Value)>,
    /// What the root holds, if this is a root.
    memory: Option<Memory>,
}

struct Memory {
    current: Value,
    writes: Vec<Written>,
}

struct Written {
    anchor: Value,
    region: Region,
    loc: Loc,
}

impl Functionalize<'_> {
    fn node(&mut self, n: NodeId) -> Result<()> {
        let old = self.old;
        let (op, operands) = (old.op(n), old.operands(n));
        match (op, op.effect()) {
            (Op::Input(_), _) => {}
            (_, Effect::View) => {
                let place = self.view_place(n, op, operands[0])?;
                self.values.insert(n.into(), place);
                self.read(n.into())?;
            }
            (_, Effect::Write) => self.write(operands[0], operands[1], old.node(n).loc)?,
            (Op::Grad(_), _) => self.grad(n, &operands)?,
            (Op::Jvp(jvp), _) => self.jvp(n, *jvp, &operands)?,
            (op, Effect::Fresh) => {
                let operands: Values = operands.iter().map(|v| self.read(*v)).collect::<Result<_>>()?;
                let op = super::with_bodies(op, functionalize, &mut self.bodies)?;
                let new = self.b.emit_all(op, &operands)?;
                for (v, new) in old.results(n).zip(self.b.results(new)) {
                    self.fresh(v, new);
                }
            }
        }
        Ok(())
    }

    fn place(&self, v: Value) -> Result<&Place> {
        self.values.get(&v).ok_or_else(|| err::ty("functionalize met a value before its node"))
    }

    fn place_mut(&mut self, v: Value) -> Result<&mut Place> {
        self.values.get_mut(&v).ok_or_else(|| err::ty("functionalize met a value before its node"))
    }

    fn memory(&self, root: Value) -> Result<&Memory> {
        self.place(root)?.memory.as_ref().ok_or_else(|| err::ty("functionalize took a view for a root"))
    }

    /// The views between the root and `v`, first applied first.
    fn chain(&self, v: Value) -> Result<Vec<Value>> {
        let root = self.place(v)?.root;
        let mut chain = Vec::new();
        let mut at = v;
        while at != root {
            chain.push(at);
            at = self.old.operands(at.node)[0];
        }
        chain.reverse();
        Ok(chain)
    }

    /// Records a value with memory of its own.
    fn fresh(&mut self, v: Value, new: Value) {
        let place = Place {
            root: v,
            anchor: v,
            region: Region::whole(&self.old.ty(v).shape),
            layout: Some(Strided::contiguous(&self.old.ty(v).shape)),
            reads: vec![(0, new)],
            memory: Some(Memory { current: new, writes: Vec::new() }),
        };
        self.values.insert(v, place);
    }

    fn view_place(&self, n: NodeId, op: &Op, of: Value) -> Result<Place> {
        let base = self.place(of)?;
        let shape = &self.old.ty(n.into()).shape;
        let (anchor, region) = match base.region.through(op, shape)? {
            Some(region) => (base.anchor, region),
            None => (n.into(), Region::whole(shape)),
        };
        let layout = match &base.layout {
            Some(l) => op.structural().layout(l)?,
            None => None,
        };
        Ok(Place { root: base.root, anchor, region, layout, reads: Vec::new(), memory: None })
    }

    /// The new value of an old one as its memory is now.
    fn read(&mut self, v: Value) -> Result<Value> {
        let memory = self.memory(self.place(v)?.root)?;
        let (current, version) = (memory.current, memory.writes.len());
        let mut stale = Vec::new();
        let mut at = v;
        let mut new = loop {
            let place = self.place(at)?;
            match place.reads.last() {
                Some((k, new)) if *k == version => break *new,
                _ => stale.push(at),
            }
            if at == place.root {
                break current;
            }
            at = self.old.operands(at.node)[0];
        };
        for at in stale.into_iter().rev() {
            let op = self.old.op(at.node);
            if op.is_view() {
                let loc = self.b.loc();
                self.b.set_loc(self.old.loc(at));
                new = strided::pure(op, self.b.ex(new)).value()?;
                self.b.set_loc(loc);
            }
            self.place_mut(at)?.reads.push((version, new));
        }
        Ok(new)
    }

    fn write(&mut self, dst: Value, value: Value, loc: Loc) -> Result<()> {
        if self.old.ty(dst).is_empty() {
            return Ok(());
        }
        let mut value = self.read(value)?;
        if self.chain(dst)?.iter().any(|v| matches!(self.old.op(v.node), Op::Detach)) {
            value = self.b.emit(Op::Detach, &[value])?;
        }
        let dtype = self.old.ty(self.place(dst)?.root).dtype;
        if self.b.ty(value).dtype != dtype {
            // Through a view of another dtype: the memory holds the bits.
            value = self.b.emit(Op::Bitcast(Bitcast(dtype)), &[value])?;
        }
        let place = self.place(dst)?;
        let (root, layout) = (place.root, place.layout.clone());
        let written = Written { anchor: place.anchor, region: place.region.clone(), loc };
        let current = match (self.one_by_one(dst)?, layout) {
            (true, _) => self.replaced(root, &written, value)?,
            (false, layout) => {
                let base = self.read(root)?;
                let base = self.b.ex(base);
                let index = match layout {
                    Some(layout) => numbers(base, &layout),
                    None => self.positions(dst)?,
                };
                scatter_update(base, index, self.b.ex(value)).value()?
            }
        };
        if let Some(memory) = &mut self.place_mut(root)?.memory {
            memory.current = current;
            memory.writes.push(written);
        }
        Ok(())
    }

    /// Whether a write to `v` is an update of one slice after another: no element stands twice on the way to the root,
    /// and no diagonal lies there.
    fn one_by_one(&self, v: Value) -> Result<bool> {
        let mut place = self.place(v)?;
        loop {
            if place.region.repeats() {
                return Ok(false);
            }
            if place.anchor == place.root {
                return Ok(true);
            }
            let op = self.old.op(place.anchor.node);
            if matches!(op, Op::Diagonal(_)) || strided::needs_memory(op) {
                return Ok(false);
            }
            place = self.place(self.old.operands(place.anchor.node)[0])?;
        }
    }

    /// The number in the root of every element of a view that strides cannot say, as an `i64` vector: the root's elements
    /// are counted, and the views pick from the counts.
    fn positions(&self, v: Value) -> Result<Ex<'_>> {
        let shape = self.old.ty(self.place(v)?.root).shape.clone();
        let mut at = self.b.iota(crate::dim::product(&shape)).reshape(&shape);
        for step in self.chain(v)? {
            match self.old.op(step.node) {
                Op::ViewDtype(d) if d.resizes() => {
                    return Err(err::unsupported(format!(
                        "a write through views of {} and {} elements of a tensor that does not lie row-major",
                        d.from, d.to
                    )));
                }
                Op::Detach | Op::ViewDtype(_) => {}
                op => at = strided::pure(op, at),
            }
        }
        Ok(at.reshape(&[at.count()]))
    }

    /// What the root holds when `value` is written there, from the inside out.
    fn replaced(&mut self, root: Value, written: &Written, mut value: Value) -> Result<Value> {
        let (mut anchor, mut region) = (written.anchor, written.region.clone());
        loop {
            let base = self.read(anchor)?;
            value = region.update(self.b.ex(base), self.b.ex(value)).value()?;
            if anchor == root {
                return Ok(value);
            }
            // The anchor is a view in another shape: undo it, and go on with what it is a view of.
            let of = self.old.operands(anchor.node)[0];
            value = self.b.ex(value).reshape(&self.old.ty(of).shape).value()?;
            let place = self.place(of)?;
            (anchor, region) = (place.anchor, place.region.clone());
        }
    }

    fn grad(&mut self, n: NodeId, operands: &[Value]) -> Result<()> {
        let Op::Grad(grad) = *self.old.op(n) else { return Ok(()) };
        let lead = grad.lead();
        let mut new: Values = operands[..lead].iter().map(|v| self.read(*v)).collect::<Result<_>>()?;
        let mut uses = Uses { of: vec![new[0]], ancestors: None };
        // For each gradient asked for, how many values it is the sum over.
        let mut parts = Vec::new();
        for x in &operands[lead..] {
            let same = self.differentiated(*x, &mut uses, n)?;
            parts.push(same.len());
            new.extend(same);
        }
        let node = self.b.emit_all(Op::Grad(grad), &new)?;
        let mut all = self.b.results(node).into_iter();
        for (v, count) in self.old.results(n).zip(parts) {
            let mut sum: Option<Ex<'_>> = None;
            for d in all.by_ref().take(count) {
                let d = self.b.ex(d);
                sum = Some(sum.map_or(d, |before| before + d));
            }
            let sum = sum.ok_or_else(|| err::ty("a gradient without a value"))?.value()?;
            self.fresh(v, sum);
        }
        Ok(())
    }

    fn jvp(&mut self, n: NodeId, jvp: Jvp, operands: &[Value]) -> Result<()> {
        let (y, x, t) = jvp.parts(operands);
        let mut new: Values = y.iter().map(|v| self.read(*v)).collect::<Result<_>>()?;
        let mut uses = Uses { of: new.to_vec(), ancestors: None };
        let mut tangents = Values::new();
        for (x, t) in x.iter().zip(t) {
            let t = self.read(*t)?;
            for x in self.differentiated(*x, &mut uses, n)? {
                new.push(x);
                tangents.push(t);
            }
        }
        new.extend(tangents);
        let node = self.b.emit_all(Op::Jvp(jvp), &new)?;
        for (v, new) in self.old.results(n).zip(self.b.results(node)) {
            self.fresh(v, new);
        }
        Ok(())
    }

    /// The new values that stand for `x` in a derivative.
    fn differentiated(&mut self, x: Value, uses: &mut Uses, n: NodeId) -> Result<Values> {
        let now = self.read(x)?;
        let same = match self.memory(self.place(x)?.root)?.writes.is_empty() {
            true => Values::new(),
            false => {
                let Uses { of, ancestors: known } = uses;
                let uses = known.get_or_insert_with(|| ancestors(&self.b, of));
                self.same_value(x, uses, n)?
            }
        };
        Ok(if same.is_empty() { SmallVec::from_elem(now, 1) } else { same })
    }

    /// The reads of `x` that `y` uses (by `uses`) and that give the elements it has now, oldest first.
    ///
    /// # Errors
    /// `grad` if `y` uses `x` only as it was before a write.
    fn same_value(&self, x: Value, uses: &[bool], grad: NodeId) -> Result<Values> {
        let place = self.place(x)?;
        let writes = &self.memory(place.root)?.writes;
        let touches = |w: &Written| w.anchor != place.anchor || w.region.overlaps(&place.region);
        let last_write = writes.iter().rposition(touches);
        let used = |v: &Value| uses.get(v.node.0 as usize).copied().unwrap_or(false);
        // A read has seen as many writes as its number says, so those after the last one that matters are still good.
        let good = |k: usize| last_write.is_none_or(|w| k > w);
        let same: Values = place.reads.iter().filter(|(k, v)| good(*k) && used(v)).map(|(_, v)| *v).collect();
        if !same.is_empty() {
            return Ok(same);
        }
        let older = place.reads.iter().rev().find(|(k, v)| !good(*k) && used(v));
        let Some((k, _)) = older else { return Ok(same) };
        let write = writes[*k..].iter().find(|w| touches(w));
        let name = self.old.op(grad).name();
        let e =
            err::grad(format!("`{name}`: the memory of the value to differentiate by was written since `y` used it"))
                .at(self.old.node(grad).loc)
                .help("take the derivative before the write, or write to a copy: `x.clone()`");
        Err(match write {
            Some(w) => e.note(w.loc, "it is written here"),
            None => e,
        })
    }

    /// The parameter and the view ops that a result comes down to, if it shares a parameter's memory.
    fn output_view(&self, v: Value) -> Result<Option<OutputView>> {
        let root = self.place(v)?.root;
        let Op::Input(param) = self.old.op(root.node) else { return Ok(None) };
        let views = self.chain(v)?.into_iter().map(|v| self.old.op(v.node).clone()).collect();
        Ok(Some(OutputView { param: *param as usize, views }))
    }
}

/// `base` with the elements of those numbers replaced.
fn scatter_update<'b>(base: Ex<'b>, numbers: Ex<'b>, value: Ex<'b>) -> Ex<'b> {
    let flat = |e: Ex<'b>| e.reshape(&[e.count()]);
    flat(base).scatter(0, ScatterMode::Set, numbers, flat(value)).reshape(&base.dims())
}

/// The values that are differentiated, and what they depend on once somebody has asked.
struct Uses {
    of: Vec<Value>,
    ancestors: Option<Vec<bool>>,
}

/// For each node, whether one of `ys` depends on it.
fn ancestors(b: &Builder, ys: &[Value]) -> Vec<bool> {
    b.with_graph(|g| {
        let last = ys.iter().map(|y| y.node.0 as usize).max().unwrap_or(0);
        let mut uses = vec![false; last + 1];
        ys.iter().for_each(|y| uses[y.node.0 as usize] = true);
        for n in (0..uses.len()).rev() {
            if uses[n] {
                for v in g.operands(NodeId(n as u32)) {
                    uses[v.node.0 as usize] = true;
                }
            }
        }
        uses
    })
}

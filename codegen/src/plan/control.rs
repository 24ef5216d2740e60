//! Control steps: the programs of the bodies, and how they are bound to buffers of the program around them.
//!
//! A body is planned on its own, for parameters that lie as its operands do: a constant like the operand, a slice like the
//! operand without its first axis, a carry row-major. Its results are row-major and each computed on its own
//! ([`own_results`]), so each can be stored at any address: in a result of the step, in a slice of one, in the buffer of
//! the next carry. The bodies' temporary buffers lie in one piece of this program's arena, so a call allocates once.

use super::{Planner, plan};
use crate::lower::{Store, lower_stores};
use crate::program::{BufferArg, BufferId, Carry, Control, ControlStep, Place, Program, Slices, Step};
use tensorc_ir::dim::product;
use tensorc_ir::ops::Op;
use tensorc_ir::ops::control::Body;
use tensorc_ir::passes::fuse::own_results;
use tensorc_ir::{DType, Dim, NodeId, Result, Strided, Value, error::err};

fn arg(place: &Place) -> BufferArg {
    BufferArg { buffer: place.buffer, offset: place.layout.offset }
}

impl Planner<'_> {
    /// The step of a control op whose results have their places, behind copies of the first carries.
    pub(super) fn control(&mut self, k: usize, n: NodeId) -> Result<Vec<Step>> {
        let g = self.g;
        let x = g.operands(n);
        let places = x.iter().map(|v| self.place(*v)).collect::<Result<Vec<_>>>()?;
        let results = g.results(n).map(|v| self.place(v)).collect::<Result<Vec<_>>>()?;
        let whole = |p: &Place| p.layout.from_start();
        let carried = |p: &Place| Strided::contiguous(&p.layout.shape);
        let mut steps = Vec::new();
        let (control, arena) = match g.op(n) {
            Op::Cond(c) => {
                let layouts: Vec<Strided> = places[1..].iter().map(whole).collect();
                let branches = [self.body(&c.branches[0], &layouts)?, self.body(&c.branches[1], &layouts)?];
                let arena = branches[0].arena.max(branches[1].arena);
                let control = Control::Cond {
                    pred: arg(&places[0]),
                    operands: places[1..].iter().map(arg).collect(),
                    results: results.iter().map(arg).collect(),
                    branches: Box::new(branches),
                };
                (control, arena)
            }
            Op::While(w) => {
                let count = w.carries();
                let layouts: Vec<Strided> =
                    places[..count].iter().map(carried).chain(places[count..].iter().map(whole)).collect();
                let programs = [self.body(&w.test, &layouts)?, self.body(&w.body, &layouts)?];
                let arena = programs[0].arena.max(programs[1].arena);
                let carries = self.carries(k, &x[..count], &results, &mut steps)?;
                let verdict = BufferArg { buffer: self.temporary(DType::Bool, Dim::ONE, k), offset: Dim::ZERO };
                let consts = places[count..].iter().map(arg).collect();
                (Control::While { carries, consts, verdict, programs: Box::new(programs) }, arena)
            }
            Op::Loop(s) => {
                let (n, m) = (s.carries, s.xs);
                let layouts = places[..n].iter().map(carried);
                let layouts = layouts.chain(places[n..n + m].iter().map(|p| p.layout.first_slice()));
                let layouts: Vec<Strided> = layouts.chain(places[n + m..].iter().map(whole)).collect();
                let body = self.body(&s.body, &layouts)?;
                let carries = self.carries(k, &x[..n], &results, &mut steps)?;
                let slices = |p: &Place| {
                    let size = self.program.buffers[p.buffer.0 as usize].dtype.size();
                    let bytes = product(&p.layout.shape[1..]) * size;
                    Slices { first: arg(p), stride: p.layout.strides[0], bytes }
                };
                let control = Control::Scan {
                    carries,
                    xs: places[n..n + m].iter().map(slices).collect(),
                    consts: places[n + m..].iter().map(arg).collect(),
                    ys: results[n..n + s.ys()].iter().map(slices).collect(),
                    saved: results[n + s.ys()..].iter().map(slices).collect(),
                    length: s.length,
                    reverse: s.reverse,
                    body: Box::new(body.clone()),
                };
                (control, body.arena)
            }
            op => return Err(err::internal(format!("`{}` is no control op", op.name()))),
        };
        let scratch = self.temporary(DType::U8, arena, k);
        let step = ControlStep { control, scratch, group: k, loc: g.node(n).loc };
        steps.push(Step::Control(Box::new(step)));
        Ok(steps)
    }

    fn body(&self, body: &Body, layouts: &[Strided]) -> Result<Program> {
        plan(&own_results(body), layouts, self.mode)
    }

    /// The buffers of carries: the result, into which the first value is copied, and a second one.
    fn carries(&mut self, k: usize, init: &[Value], results: &[Place], steps: &mut Vec<Step>) -> Result<Vec<Carry>> {
        let mut carries = Vec::new();
        for (v, place) in init.iter().zip(results) {
            let ty = self.g.ty(*v).clone();
            let store = Store { value: *v, place: place.clone() };
            // No group: everything is read from memory.
            let copy = lower_stores(self.g, self.fusion, &self.places, usize::MAX, &ty.shape, &[store])?;
            steps.extend(copy.map(Step::Loops));
            let other: BufferId = self.temporary(ty.dtype, ty.count(), k);
            carries.push(Carry { at: place.buffer, other, bytes: ty.count() * ty.dtype.size() });
        }
        Ok(carries)
    }
}

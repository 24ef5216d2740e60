//! Vector loops on 512-bit vectors, for machines that have AVX-512.
//!
//! Cranelift's vectors have 128 bits. So a vector loop becomes a function of its own, of bytes, that Cranelift's code calls:
//! the loops around it, what is the same for all its iterations and the last steps of reductions stay with Cranelift. The
//! call passes a *frame* of addresses and numbers, each written where the outermost loop that changes it starts.
//!
//! [`select`] writes the statements as instructions on virtual registers, [`legal`] makes them such as the machine has,
//! [`alloc`] gives them registers, [`write`] the bytes. A loop that has something in it that they cannot do (remainders of
//! floats, 64-bit division, single bytes here and there) is Cranelift's, as all are on other machines. What is computed,
//! and in which order, is the same for both, to the bit.

mod acc;
mod alloc;
mod body;
mod convert;
mod encode;
mod inst;
mod legal;
mod machine;
mod memory;
mod select;
mod turn;
mod write;

use super::asm::Asm;
use super::emit::{Emitter, has};
use super::value::{Scope, Val};
use super::vector::parts_of;
use crate::loopnest::{AccId, Buf, Coef, Extent, Loop, Stmt};
pub(super) use body::Outer;
use body::{Body, GROUP, Slot};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use machine::{Def, File, Node};
use select::Select;
use std::collections::HashMap;
use tensorc_ir::error::err;
use tensorc_ir::scalar::{Reg, V};
use tensorc_ir::{Error, Result};
use write::{Function, Part};

/// A function that the emitted code calls by name.
pub struct Bytes {
    /// Its name.
    pub name: String,
    /// Position-independent machine code, from its entry on.
    pub code: Vec<u8>,
}

/// What of AVX-512 is used here came to processors at the same time but for its foundation; no name is asked for that
/// Cranelift does not know. The masks of rests are made by an instruction of BMI2.
pub(super) fn available(isa: &dyn TargetIsa) -> bool {
    let features = ["has_avx512f", "has_avx512dq", "has_avx512vl", "has_bmi2"];
    isa.name() == "x64"
        && isa.default_call_conv() == CallConv::SystemV
        && features.iter().all(|feature| has(isa, feature))
}

/// The instructions of a body for each access with a stride from which on the vectors' width makes up for what such an
/// access costs more than elements one by one: it is some eleven itself.
const WORTH: usize = 20;

/// The body of a loop as a function, with what it expects in its frame.
struct Made<'a> {
    code: Vec<u8>,
    slots: Vec<Slot>,
    uniform: Vec<&'a Stmt>,
    /// Whether it may store past the caches.
    streams: bool,
}

impl Emitter<'_> {
    /// Writes a vector loop as a call, if it can be done.
    pub(super) fn wide_loop(
        &mut self,
        l: &Loop,
        start: Value,
        limit: Value,
        known: Option<i64>,
        carried: &[AccId],
    ) -> Result<bool> {
        if !self.wide || known.is_some_and(|n| n < GROUP as i64) || (l.parallel && !carried.is_empty()) {
            return Ok(false);
        }
        let outer: Option<Vec<Outer>> = carried.iter().map(|a| self.wide_acc(*a)).collect();
        let Some(outer) = outer else { return Ok(false) };
        let Some(made) = self.make(l, known, &outer)? else { return Ok(false) };
        self.to_slots(carried);
        let (inside, exit) = (self.new_block(), self.new_block());
        if known.is_none() {
            let before = self.new_block();
            let any = self.cur().ins().icmp(IntCC::SignedLessThan, start, limit);
            self.branch(any, (before, &[]), (exit, &[]));
            self.switch_to(before);
        }
        let anchor = self.jump(inside, &[]);
        self.switch_to(inside);
        self.scopes.push(Scope { var: None, counter: start, anchor });
        // Every iteration would find the same, so it is found once.
        for stmt in &made.uniform {
            self.stmt(stmt, 0)?;
        }
        let frame = self.stack((made.slots.len() as u32 * 8).max(8), 3);
        for (n, slot) in made.slots.iter().enumerate() {
            self.fill(slot, frame, n as i32 * 8);
        }
        let name = format!("{}_loop{}", self.name, self.bytes.len());
        let function = self.import(&name, &[types::I64; 3], &[]);
        self.cur().ins().call(function, &[frame, start, limit]);
        self.streams |= made.streams;
        self.bytes.push(Bytes { name, code: made.code });
        self.jump(exit, &[]);
        let scope = self.scope();
        self.scopes.pop();
        self.forget(scope);
        self.switch_to(exit);
        self.from_slots(carried);
        Ok(true)
    }

    /// The loop as bytes; `None` if it has something in it that is not done here.
    fn make<'a>(&self, l: &'a Loop, known: Option<i64>, outer: &[Outer]) -> Result<Option<Made<'a>>>
    where
        Self: 'a,
    {
        let (mut written, mut read) = (Vec::new(), Vec::new());
        accesses(&l.body, &mut written, &mut Vec::new());
        accesses(&self.nest.body, &mut Vec::new(), &mut read);
        let lookup = |v: V| match self.val(v) {
            Val::Const(_, bits) => Some(*bits),
            _ => None,
        };
        let (mut asm, mut slots) = (Asm::new(), Vec::new());
        let mut body = |groups: usize, rest: bool| -> Option<Body<'a>> {
            let s = Select::new(self.nest, l.var, &lookup, &mut asm, &mut slots, [&written, &read], groups, rest);
            s.body(l, outer)
        };
        let Some(one) = body(1, true) else { return Ok(None) };
        let most = known.map_or(i64::MAX, |n| n / GROUP as i64);
        // Lanes from outside get what one group has for them before what the next one has.
        let mut updates = 0;
        count_updates(&l.body, &mut updates);
        let in_order = !outer.is_empty() && (one.loops > 0 || updates > outer.len());
        let groups = if in_order { 1 } else { groups(&one).min(most.max(1) as usize) };
        let uniform = one.uniform.clone();
        let Some(all) = body(groups, false) else { return Ok(None) };
        if all.nodes.len() < all.strided * WORTH {
            return Ok(None);
        }
        let streams = all.nodes.iter().any(|n| matches!(n, Node::Op(op) if op.streams));
        let streams = streams.then(|| {
            slots.extend([Slot::Streams, Slot::Room(0)]);
            slots.len() as i32 * 8 - 16
        });
        let whole = known.is_some_and(|n| n % (groups * GROUP) as i64 == 0);
        let Some(f) = placed(all, (!whole).then_some(one), groups, outer, streams) else { return Ok(None) };
        let code = write::write(asm, &f).map_err(|e| -> Error { err::internal(format!("a vector loop: {e}")) })?;
        Ok(code.map(|code| Made { code, slots, uniform, streams: streams.is_some() }))
    }

    /// Writes a slot of the frame, in front of the outermost loop that does not change it.
    fn fill(&mut self, slot: &Slot, frame: Value, offset: i32) {
        let (value, level) = match slot {
            Slot::Pointer { buf, outer, dynamic } => {
                let at = crate::loopnest::Access { affine: outer.clone(), dynamic: *dynamic };
                let (base, offset, level) = self.address(*buf, &at);
                debug_assert_eq!(offset, 0, "constant offsets are in the instructions");
                (base, level)
            }
            Slot::Value(v) => {
                // A constant is made here.
                let constant = matches!(self.val(*v), Val::Const(..));
                let (level, value) = (if constant { self.scope() } else { self.level(*v) }, self.scalar(*v));
                let value = if self.reg(*v) == Reg::Bool {
                    self.at_level(level, |e| {
                        let wide = e.cur().ins().uextend(types::I64, value);
                        e.cur().ins().ineg(wide)
                    })
                } else {
                    value
                };
                (value, level)
            }
            Slot::Step(coef @ Coef::Const(_), scale) => (self.stride(*coef, *scale), self.scope()),
            Slot::Step(coef, scale) => (self.stride(*coef, *scale), 0),
            Slot::Index(affine) => {
                let sum = self.sum(None, affine, 1);
                let value = self.at_level(sum.level, |e| match sum.value {
                    Some(value) => e.cur().ins().iadd_imm_s(value, sum.offset),
                    None => e.constant(types::I64, sum.offset as u64),
                });
                (value, sum.level)
            }
            Slot::Lanes(acc, index) => (self.acc_slot(*acc, *index).unwrap_or(frame), 0),
            Slot::Count(Extent::Whole(Coef::Param(p))) => (self.parameter(*p), 0),
            Slot::Count(extent) => (self.extent(*extent), self.scope()),
            Slot::Room(_) => {
                let zero = self.at_level(0, |e| e.constant(types::I64, 0));
                (zero, 0)
            }
            Slot::Streams => (self.argument(self.streams_word()), 0),
            Slot::Word => (self.argument(self.error_word()), 0),
        };
        self.at_level(level, |e| e.cur().ins().store(MemFlagsData::trusted(), value, frame, offset));
    }
}

/// How many updates of accumulators there are.
fn count_updates(stmts: &[Stmt], updates: &mut usize) {
    for s in stmts {
        match s {
            Stmt::Update { .. } => *updates += 1,
            Stmt::For(l) => count_updates(&l.body, updates),
            _ => {}
        }
    }
}

/// The buffers that statements store to, and those that they load from.
fn accesses(stmts: &[Stmt], stored: &mut Vec<Buf>, loaded: &mut Vec<Buf>) {
    for s in stmts {
        match s {
            Stmt::Store { buf, .. } => stored.push(*buf),
            Stmt::Load { buf, .. } => loaded.push(*buf),
            Stmt::For(l) => accesses(&l.body, stored, loaded),
            _ => {}
        }
    }
}

/// How many groups a turn of the main loop does: several of short bodies, which hides the loop's own cost, and where inner
/// loops walk down columns, since then more of each row's cache lines is used at once.
fn groups(one: &Body<'_>) -> usize {
    let variables = one.infos.iter().filter(|i| i.def == Def::Variable && i.file == File::Vector).count();
    match one.nodes.len() {
        // Tiles are turned for one.
        _ if one.loops > 0 && one.strided > 0 => 1,
        0..=24 if one.loops > 0 => (24 / variables.max(3)).clamp(1, 8),
        0..=10 => 4,
        11..=200 if one.loops == 0 => 2,
        _ => 1,
    }
}

/// The machine registers of accumulators from outside: vectors from the last on, masks from the fifth down.
fn outer_registers(outer: &[Outer]) -> Vec<Vec<u8>> {
    let (mut vectors, mut masks) = ((0..32u8).rev(), (1..6u8).rev());
    outer
        .iter()
        .map(|o| {
            let indices = if super::acc::has_index(o.combine) { 2 } else { 0 };
            let own = if o.reg == Reg::Bool { 0 } else { parts_of(o.reg) };
            let mask = if o.reg == Reg::Bool { masks.next() } else { None };
            let nans = acc::nans(o.combine, o.reg);
            mask.into_iter().chain(vectors.by_ref().take(own + indices + nans)).collect()
        })
        .collect()
}

/// The two bodies with their registers; `None` if there are too few.
fn placed<'a>(
    main: Body<'a>,
    rest: Option<Body<'a>>,
    groups: usize,
    outer: &[Outer],
    streams: Option<i32>,
) -> Option<Function<'a>> {
    let outer = outer_registers(outer);
    let part = |body: Body<'a>| {
        let placed = alloc::place(&body, &fixed(&body, &outer))?;
        Some(Part { body, placed })
    };
    let main = part(main)?;
    let rest = match rest {
        Some(rest) => Some(part(rest)?),
        None => None,
    };
    Some(Function { main, groups, rest, outer, streams })
}

/// The virtual registers of a body that have machine registers from the start.
fn fixed(body: &Body<'_>, numbers: &[Vec<u8>]) -> HashMap<machine::R, u8> {
    let mut fixed = HashMap::new();
    for (o, numbers) in body.outer.iter().zip(numbers) {
        fixed.extend(o.pair.all().zip(numbers.iter().copied()));
    }
    if let Some(tail) = body.tail {
        fixed.extend(tail.into_iter().zip(write::TAIL));
    }
    fixed
}

//! Loops as blocks: counted loops, and vector loops as a main loop on lanes and a scalar tail.
//!
//! A loop tests in its header and has a preheader that runs only if there is an iteration:
//!
//! ```text
//!   here:      brif start < n, pre, exit(start, accs)
//!   pre:       invariant code; jump header(start, accs)
//!   header(i): brif i < n, body, exit(i, accs)
//!   body:      ...; jump header(i + step, accs')
//! ```
//!
//! The test in the header costs a jump, but then the accumulators have one use on the way round, which lets Cranelift
//! fold loads into the instructions that use them.

use super::acc::AccPlace;
use super::emit::Emitter;
use super::value::Scope;
use super::vector::{LANES, parts_of};
use crate::loopnest::{AccId, Coef, Combine, Extent, Loop, LoopKind, Stmt, Var};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use tensorc_ir::Result;
use tensorc_ir::scalar::Inst;

/// A vector loop being written on lanes.
pub(super) struct Vector {
    /// Its variable.
    pub(super) var: Var,
    /// The scope of its body.
    pub(super) scope: usize,
    /// Groups of four lanes that one iteration runs.
    pub(super) groups: usize,
}

/// The range of a counted loop.
#[derive(Clone, Copy)]
struct Range {
    start: Value,
    limit: Value,
    step: i64,
    /// Whether it is known to have an iteration.
    runs: bool,
}

impl Emitter<'_> {
    /// Writes a loop.
    pub(super) fn for_loop(&mut self, l: &Loop) -> Result<()> {
        let known = match (l.parallel, l.extent) {
            (false, Extent::Whole(Coef::Const(n))) => Some(n),
            _ => None,
        };
        if known.is_some_and(|n| n <= 0) {
            return Ok(());
        }
        let (start, limit) =
            if l.parallel { (self.begin, self.end) } else { (self.constant(types::I64, 0), self.extent(l.extent)) };
        let carried = self.updated(&l.body);
        if l.kind == LoopKind::Vector && self.vector.is_none() {
            return self.vector_loop(l, start, limit, known, &carried);
        }
        let range = Range { start, limit, step: 1, runs: known.is_some() };
        self.counted(l.var, range, &carried, |e| e.body(&l.body))?;
        Ok(())
    }

    fn extent(&mut self, extent: Extent) -> Value {
        match extent {
            Extent::Whole(n) => self.coef(n),
            Extent::Block { var, step, total } => {
                let block = self.scopes.iter().rev().find(|s| s.var == Some(var)).map_or(self.args, |s| s.counter);
                let (step, total) = (self.coef(step), self.coef(total));
                let before = self.cur().ins().imul(block, step);
                let left = self.cur().ins().isub(total, before);
                self.cur().ins().smin(step, left)
            }
        }
    }

    /// The accumulators from outside that are updated in `stmts`.
    fn updated(&self, stmts: &[Stmt]) -> Vec<AccId> {
        fn walk(stmts: &[Stmt], own: &mut Vec<AccId>, out: &mut Vec<AccId>) {
            for s in stmts {
                match s {
                    Stmt::Acc { acc, .. } => own.push(*acc),
                    Stmt::Update { acc, .. } if !own.contains(acc) && !out.contains(acc) => out.push(*acc),
                    Stmt::For(l) => walk(&l.body, own, out),
                    _ => {}
                }
            }
        }
        let mut out = Vec::new();
        walk(stmts, &mut Vec::new(), &mut out);
        out.retain(|a| self.acc_exists(*a));
        out
    }

    /// Writes a counted loop around what `body` writes, and gives the counter's value after it.
    fn counted(
        &mut self,
        var: Var,
        range: Range,
        carried: &[AccId],
        body: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Value> {
        let (header, inside, exit) = (self.new_block(), self.new_block(), self.new_block());
        let mut entering = vec![range.start];
        self.carried_values(carried, &mut entering);
        let inner = self.params_like(header, &entering);
        let after = self.params_like(exit, &entering);
        if !range.runs {
            let pre = self.new_block();
            let any = self.cur().ins().icmp(IntCC::SignedLessThan, range.start, range.limit);
            self.branch(any, (pre, &[]), (exit, &entering));
            self.switch_to(pre);
        }
        let anchor = self.jump(header, &entering);
        self.switch_to(header);
        let more = self.cur().ins().icmp(IntCC::SignedLessThan, inner[0], range.limit);
        self.branch(more, (inside, &[]), (exit, &inner));
        self.switch_to(inside);
        self.set_carried(carried, &inner[1..]);
        self.scopes.push(Scope { var: Some(var), counter: inner[0], anchor });
        body(self)?;
        let mut round = vec![self.cur().ins().iadd_imm_s(inner[0], range.step)];
        self.carried_values(carried, &mut round);
        self.jump(header, &round);
        let scope = self.scope();
        self.scopes.pop();
        self.forget(scope);
        self.switch_to(exit);
        self.set_carried(carried, &after[1..]);
        Ok(after[0])
    }

    fn vector_loop(
        &mut self,
        l: &Loop,
        start: Value,
        limit: Value,
        known: Option<i64>,
        carried: &[AccId],
    ) -> Result<()> {
        let (groups, in_registers) = self.shape(l, carried);
        if !in_registers {
            self.to_slots(carried);
        }
        let width = (groups * LANES) as i64;
        let mut next = start;
        if known.is_none_or(|n| n >= width) {
            let main_limit = match known {
                Some(n) => self.constant(types::I64, (n - width + 1) as u64),
                None => self.cur().ins().iadd_imm_s(limit, 1 - width),
            };
            let range = Range { start, limit: main_limit, step: width, runs: known.is_some() };
            next = self.counted(l.var, range, carried, |e| {
                e.vector = Some(Vector { var: l.var, scope: e.scope(), groups });
                let result = e.body(&l.body);
                e.vector = None;
                result
            })?;
        }
        if known.is_none_or(|n| n % width != 0) {
            self.tail_loop(l, next, limit, known.is_some(), carried)?;
        }
        self.from_slots(carried);
        Ok(())
    }

    /// What the main loop leaves over, one iteration at a time. Accumulators with lanes are in memory here, because the
    /// lane is not known; if they are in registers before it and there is nothing left over, they stay there.
    fn tail_loop(&mut self, l: &Loop, start: Value, limit: Value, runs: bool, carried: &[AccId]) -> Result<()> {
        let saved = self.tail.replace(self.scope() + 1);
        let in_registers = carried.iter().any(|a| self.acc_place(*a) == AccPlace::Registers);
        if in_registers {
            let (some, done) = (self.new_block(), self.new_block());
            let mut values = Vec::new();
            self.carried_values(carried, &mut values);
            let after = self.params_like(done, &values);
            let any = self.cur().ins().icmp(IntCC::SignedLessThan, start, limit);
            self.branch(any, (some, &[]), (done, &values));
            self.switch_to(some);
            self.to_slots(carried);
            let range = Range { start, limit, step: 1, runs: true };
            self.counted(l.var, range, &[], |e| e.body(&l.body))?;
            self.from_slots(carried);
            values.clear();
            self.carried_values(carried, &mut values);
            self.jump(done, &values);
            self.switch_to(done);
            self.set_carried(carried, &after);
        } else {
            self.counted(l.var, Range { start, limit, step: 1, runs }, &[], |e| e.body(&l.body))?;
        }
        self.tail = saved;
        Ok(())
    }

    /// How many groups one iteration of a vector loop runs, and whether its accumulators with lanes stay in registers.
    ///
    /// Short bodies run four groups, which hides the loop's own cost; long ones run one, since the processor overlaps
    /// iterations anyway and code size is compile time. Lanes in registers need all four groups at once; in a long body
    /// the trip through memory is hidden.
    fn shape(&self, l: &Loop, carried: &[AccId]) -> (usize, bool) {
        let mut count = Count::default();
        count.stmts(self, &l.body);
        let by_length = match count.insts {
            0..=9 => 4,
            10..=24 => 2,
            _ => 1,
        };
        if !carried.is_empty() {
            let parts: usize = carried.iter().map(|a| self.acc_parts(*a)).sum();
            let in_registers = parts <= 12 && count.insts <= 12;
            return (if in_registers { 4 } else { by_length.min(2) }, in_registers);
        }
        if count.loops {
            // The accumulators of the inner loops, for all groups, should fit the sixteen registers.
            return (if count.insts > 24 { 1 } else { (8 / count.acc_parts.max(2)).clamp(1, 4) }, true);
        }
        (if count.wide { by_length.min(2) } else { by_length }, true)
    }
}

/// What a loop body consists of.
#[derive(Default)]
struct Count {
    insts: usize,
    loops: bool,
    /// Whether it computes on 64-bit registers.
    wide: bool,
    /// Machine values of one group of its accumulators.
    acc_parts: usize,
}

impl Count {
    fn stmts(&mut self, e: &Emitter<'_>, stmts: &[Stmt]) {
        for s in stmts {
            match s {
                Stmt::Inst(_, Inst::Const(..)) => {}
                Stmt::Inst(v, _) => {
                    self.insts += 1;
                    self.wide |= e.reg(*v).bits() == 64;
                }
                Stmt::Load { dst, .. } => {
                    self.insts += 1;
                    self.wide |= e.reg(*dst).bits() == 64;
                }
                Stmt::For(l) => {
                    self.loops = true;
                    self.stmts(e, &l.body);
                }
                Stmt::Acc { combine, reg, .. } => {
                    let index = matches!(combine, Combine::ArgMax | Combine::ArgMin);
                    self.acc_parts += parts_of(*reg) + if index { 2 } else { 0 };
                }
                Stmt::Index(..) | Stmt::Store { .. } | Stmt::Update { .. } | Stmt::Read { .. } => self.insts += 1,
            }
        }
    }
}

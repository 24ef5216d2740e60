//! Loops as blocks: counted loops, and vector loops as a main loop of several groups, one of single groups, and a scalar
//! tail.
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
use tensorc_ir::DType;
use tensorc_ir::Result;
use tensorc_ir::scalar::{Bin, Inst, Reg};

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

    pub(super) fn extent(&mut self, extent: Extent) -> Value {
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
        // The way that ends up right behind the branch in the machine code is the second.
        let done = self.cur().ins().icmp(IntCC::SignedGreaterThanOrEqual, inner[0], range.limit);
        self.branch(done, (exit, &inner), (inside, &[]));
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
        if self.wide_loop(l, start, limit, known, carried)? {
            return Ok(());
        }
        let (groups, in_registers) = self.shape(l, carried);
        if !in_registers {
            self.to_slots(carried);
        }
        let width = (groups * LANES) as i64;
        let mut next = start;
        if known.is_none_or(|n| n >= width) {
            next = self.lanes_loop(l, start, limit, known, groups, carried)?;
        }
        if known.is_none_or(|n| n % width != 0) {
            self.rest(l, next, limit, known.map(|n| n % width), groups, carried)?;
        }
        self.from_slots(carried);
        Ok(())
    }

    /// The iterations of a vector loop from `start` that make whole steps of `groups` groups; gives the next one.
    fn lanes_loop(
        &mut self,
        l: &Loop,
        start: Value,
        limit: Value,
        known: Option<i64>,
        groups: usize,
        carried: &[AccId],
    ) -> Result<Value> {
        let step = (groups * LANES) as i64;
        let limit = self.cur().ins().iadd_imm_s(limit, 1 - step);
        let range = Range { start, limit, step, runs: known.is_some() };
        self.counted(l.var, range, carried, |e| {
            e.vector = Some(Vector { var: l.var, scope: e.scope(), groups });
            let result = e.body(&l.body);
            e.vector = None;
            result
        })
    }

    /// What the main loop leaves over: single groups if it runs several, then one iteration at a time. Accumulators with
    /// lanes are in memory here, because the lane is not known; if they are in registers before it and nothing is left
    /// over, they stay there. `known` is the number of iterations left, if that is known.
    fn rest(
        &mut self,
        l: &Loop,
        start: Value,
        limit: Value,
        known: Option<i64>,
        groups: usize,
        carried: &[AccId],
    ) -> Result<()> {
        let in_registers = carried.iter().any(|a| self.acc_place(*a) == AccPlace::Registers);
        let mut done = None;
        if in_registers && known.is_none() {
            let (some, end) = (self.new_block(), self.new_block());
            let mut values = Vec::new();
            self.carried_values(carried, &mut values);
            done = Some((end, self.params_like(end, &values)));
            let any = self.cur().ins().icmp(IntCC::SignedLessThan, start, limit);
            self.branch(any, (some, &[]), (end, &values));
            self.switch_to(some);
        }
        self.to_slots(carried);
        let mut next = start;
        // A loop that runs once does not spend its time here, and code is compile time.
        let singles = groups > 1 && self.scope() > 0;
        if singles && known.is_none_or(|n| n >= LANES as i64) {
            next = self.lanes_loop(l, start, limit, known, 1, &[])?;
        }
        if !singles || known.is_none_or(|n| n % LANES as i64 != 0) {
            let saved = self.tail.replace(self.scope() + 1);
            let range = Range { start: next, limit, step: 1, runs: known.is_some() };
            self.counted(l.var, range, &[], |e| e.body(&l.body))?;
            self.tail = saved;
        }
        if in_registers {
            self.from_slots(carried);
        }
        if let Some((end, after)) = done {
            let mut values = Vec::new();
            self.carried_values(carried, &mut values);
            self.jump(end, &values);
            self.switch_to(end);
            self.set_carried(carried, &after);
        }
        Ok(())
    }

    /// How many groups one iteration of a vector loop runs, and whether its accumulators with lanes stay in registers.
    ///
    /// Short bodies run four groups, which hides the loop's own cost; long ones run one, since the processor overlaps
    /// iterations anyway and code size is compile time. Lanes in registers need all four groups at once; in a long body
    /// the trip through memory is hidden.
    fn shape(&self, l: &Loop, carried: &[AccId]) -> (usize, bool) {
        let mut count = Count::default();
        count.stmts(self, &l.body, false);
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
            // The accumulators of the inner loops, for all groups, should fit the sixteen registers. The inner loop often
            // walks down a column, and then every group more is more of a cache line's neighbourhood used at once.
            let most = match count.insts {
                0..=6 => 8,
                7..=24 => 4,
                _ => 1,
            };
            return ((8 / count.carried_parts().max(1)).clamp(1, most), true);
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
    /// Its accumulators, with the machine values of one group.
    accs: Vec<(AccId, usize)>,
    /// Those that its inner loops update.
    updated: Vec<AccId>,
}

impl Count {
    /// Machine values of one group that the inner loops carry.
    fn carried_parts(&self) -> usize {
        self.accs.iter().filter(|(a, _)| self.updated.contains(a)).map(|(_, parts)| parts).sum()
    }

    fn stmts(&mut self, e: &Emitter<'_>, stmts: &[Stmt], inner: bool) {
        for s in stmts {
            match s {
                Stmt::Inst(_, Inst::Const(..)) => {}
                Stmt::Inst(v, inst) => {
                    self.insts += cost(e, *inst);
                    self.wide |= e.reg(*v).bits() == 64;
                }
                Stmt::Load { dst, buf, .. } => {
                    self.insts += if e.nest.bufs[buf.0 as usize].dtype == DType::F16 { 10 } else { 1 };
                    self.wide |= e.reg(*dst).bits() == 64;
                }
                Stmt::For(l) => {
                    self.loops = true;
                    self.stmts(e, &l.body, true);
                }
                Stmt::Acc { acc, combine, reg, .. } => {
                    let index = matches!(combine, Combine::ArgMax | Combine::ArgMin);
                    self.accs.push((*acc, parts_of(*reg) + if index { 2 } else { 0 }));
                }
                Stmt::Update { acc, .. } => {
                    self.insts += 1;
                    if inner {
                        self.updated.push(*acc);
                    }
                }
                Stmt::Index(..) | Stmt::Store { .. } | Stmt::Read { .. } => self.insts += 1,
            }
        }
    }
}

/// About how many machine instructions an instruction becomes on four lanes.
fn cost(e: &Emitter<'_>, inst: Inst) -> usize {
    match inst {
        Inst::Bin(Bin::Div | Bin::Rem, a, _) if !e.reg(a).is_float() => 40,
        Inst::Bin(Bin::Rem, ..) => 40,
        Inst::Convert(to, a) if e.reg(a).is_float() && to == Reg::I64 => 20,
        Inst::Round(DType::F16, _) => 20,
        Inst::Round(..) => 6,
        _ => 1,
    }
}

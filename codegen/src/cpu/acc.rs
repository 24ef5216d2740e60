//! Accumulators.
//!
//! An accumulator is a list of machine values that loops carry as block parameters. Inside a vector loop each iteration
//! has its own, so the list has every group's parts. One with sixteen lanes, set up outside the vector loop that
//! updates it, has four groups, and iteration `i` belongs to lane `i % 16`: in a main loop of four groups that is known
//! when the code is written, otherwise (and in the scalar tail) the lanes are in a stack slot.

use super::emit::Emitter;
use super::value::Parts;
use super::vector::{LANES, lane_type, parts_of};
use super::wide::Outer;
use crate::loopnest::{AccId, Combine};
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use smallvec::smallvec;
use tensorc_ir::scalar::{Bin, Cmp, Reg, V};

/// Where the lanes of an accumulator are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccPlace {
    /// In machine values.
    Registers,
    /// In its stack slot.
    Slot,
}

/// An accumulator that has been set up.
pub(super) struct Acc {
    combine: Combine,
    reg: Reg,
    /// Whether it has sixteen lanes.
    lanes: bool,
    /// Groups of values, and (for `ArgMax` and `ArgMin`) of indices; one group with one scalar outside vector loops.
    groups: Vec<Pair>,
    place: AccPlace,
    /// Whether nothing has been combined into it.
    fresh: bool,
    /// The addresses of the slots of the values and the indices.
    slots: Option<(Value, Option<Value>)>,
}

/// A group of values with the group of their indices; without indices that is empty.
#[derive(Clone)]
struct Pair {
    value: Parts,
    index: Parts,
}

const STACK: MemFlagsData = MemFlagsData::trusted();

pub(super) fn has_index(combine: Combine) -> bool {
    matches!(combine, Combine::ArgMax | Combine::ArgMin)
}

/// The bits of the value that `combine` starts from.
pub(super) fn identity(combine: Combine, reg: Reg) -> u64 {
    let signed = |bits: u32| if combine_is_max(combine) { i64::MIN >> (64 - bits) } else { i64::MAX >> (64 - bits) };
    match (combine, reg) {
        (Combine::Sum, _) => 0,
        (Combine::Prod, Reg::F64) => 1f64.to_bits(),
        (Combine::Prod, Reg::F32) => u64::from(1f32.to_bits()),
        (Combine::Prod, _) => 1,
        (c, Reg::F64) => (if combine_is_max(c) { f64::NEG_INFINITY } else { f64::INFINITY }).to_bits(),
        (c, Reg::F32) => u64::from((if combine_is_max(c) { f32::NEG_INFINITY } else { f32::INFINITY }).to_bits()),
        (c, Reg::Bool) => u64::from(!combine_is_max(c)),
        (c, Reg::U8) => {
            if combine_is_max(c) {
                0
            } else {
                255
            }
        }
        (_, Reg::I64 | Reg::I32 | Reg::I16 | Reg::I8) => signed(reg.bits()) as u64,
    }
}

fn combine_is_max(combine: Combine) -> bool {
    matches!(combine, Combine::Max | Combine::ArgMax)
}

impl Emitter<'_> {
    fn acc_at(&self, acc: AccId) -> Option<&Acc> {
        self.accs.get(acc.0 as usize).and_then(Option::as_ref)
    }

    /// Whether the accumulator has been set up (and its loop not left).
    pub(super) fn acc_exists(&self, acc: AccId) -> bool {
        self.acc_at(acc).is_some()
    }

    /// Where its lanes are.
    pub(super) fn acc_place(&self, acc: AccId) -> AccPlace {
        self.acc_at(acc).map_or(AccPlace::Registers, |a| a.place)
    }

    /// It as the code of wide vectors needs it, if it has lanes.
    pub(super) fn wide_acc(&self, acc: AccId) -> Option<Outer> {
        let a = self.acc_at(acc).filter(|a| a.lanes)?;
        Some(Outer { acc, combine: a.combine, reg: a.reg, fresh: a.fresh })
    }

    /// The address of its lanes in memory, or of their indices.
    pub(super) fn acc_slot(&self, acc: AccId, index: bool) -> Option<Value> {
        let (values, indices) = self.acc_at(acc)?.slots?;
        if index { indices } else { Some(values) }
    }

    /// How many machine values it has.
    pub(super) fn acc_parts(&self, acc: AccId) -> usize {
        self.acc_at(acc).map_or(0, |a| a.groups.iter().map(|p| p.value.len() + p.index.len()).sum())
    }

    /// Sets up an accumulator.
    pub(super) fn acc(&mut self, acc: AccId, combine: Combine, reg: Reg, lanes: u32, g: usize) {
        if g > 0 {
            return;
        }
        let (groups, vector) = match &self.vector {
            Some(v) => (v.groups, true),
            None if lanes > 1 => (4, true),
            None => (1, false),
        };
        let start = |e: &mut Self, reg: Reg, bits: u64| -> Parts {
            if vector {
                let bits = if reg == Reg::Bool && bits != 0 { u64::MAX } else { bits };
                Parts::from_elem(e.vector_constant(lane_type(reg), bits), parts_of(reg))
            } else {
                smallvec![e.constant(Self::scalar_type(reg), bits)]
            }
        };
        let value = start(self, reg, identity(combine, reg));
        let index = if has_index(combine) { start(self, Reg::I64, i64::MAX as u64) } else { Parts::new() };
        let state = Acc {
            combine,
            reg,
            lanes: lanes > 1,
            groups: vec![Pair { value, index }; groups],
            place: AccPlace::Registers,
            fresh: true,
            slots: None,
        };
        if self.accs.len() <= acc.0 as usize {
            self.accs.resize_with(acc.0 as usize + 1, || None);
        }
        self.accs[acc.0 as usize] = Some(state);
    }

    /// Appends the machine values of those of `accs` that are in registers.
    pub(super) fn carried_values(&self, accs: &[AccId], out: &mut Vec<Value>) {
        for a in accs.iter().filter_map(|a| self.acc_at(*a)).filter(|a| a.place == AccPlace::Registers) {
            for p in &a.groups {
                out.extend(p.value.iter().chain(&p.index));
            }
        }
    }

    /// Gives those accumulators the machine values `values`, in the order of [`Self::carried_values`].
    pub(super) fn set_carried(&mut self, accs: &[AccId], values: &[Value]) {
        let mut values = values.iter();
        for id in accs {
            let Some(a) = self.accs[id.0 as usize].as_mut().filter(|a| a.place == AccPlace::Registers) else {
                continue;
            };
            a.fresh = false;
            for p in &mut a.groups {
                for (slot, v) in p.value.iter_mut().chain(&mut p.index).zip(&mut values) {
                    *slot = *v;
                }
            }
        }
    }

    /// Moves accumulators with lanes to their stack slots.
    pub(super) fn to_slots(&mut self, accs: &[AccId]) {
        for id in accs {
            let Some(a) = self.acc_at(*id).filter(|a| a.lanes && a.place == AccPlace::Registers) else { continue };
            let (groups, reg, slots, index) = (a.groups.clone(), a.reg, a.slots, has_index(a.combine));
            let (values, indices) = match slots {
                Some(s) => s,
                None => (self.slot(lane_type(reg)), index.then(|| self.slot(types::I64X2))),
            };
            for (g, p) in groups.iter().enumerate() {
                self.store_parts(&p.value, values, g);
                if let Some(indices) = indices {
                    self.store_parts(&p.index, indices, g);
                }
            }
            if let Some(a) = self.accs[id.0 as usize].as_mut() {
                a.slots = Some((values, indices));
                a.place = AccPlace::Slot;
            }
        }
    }

    /// Moves accumulators with lanes back from their stack slots.
    pub(super) fn from_slots(&mut self, accs: &[AccId]) {
        for id in accs {
            let Some(a) = self.acc_at(*id).filter(|a| a.place == AccPlace::Slot) else { continue };
            let (reg, Some((values, indices))) = (a.reg, a.slots) else { continue };
            let groups =
                (0..4).map(|g| self.load_pair(reg, values, indices, (g * LANES * 4 * parts_of(reg)) as i32, g));
            let groups = groups.collect();
            if let Some(a) = self.accs[id.0 as usize].as_mut() {
                a.groups = groups;
                a.place = AccPlace::Registers;
                a.fresh = false;
            }
        }
    }

    fn load_pair(&mut self, reg: Reg, values: Value, indices: Option<Value>, offset: i32, g: usize) -> Pair {
        let load = |e: &mut Self, reg: Reg, slot: Value, offset: i32| -> Parts {
            let ty = lane_type(reg);
            (0..parts_of(reg)).map(|i| e.cur().ins().load(ty, STACK, slot, offset + 16 * i as i32)).collect()
        };
        let value = load(self, reg, values, offset);
        let index = indices.map_or(Parts::new(), |i| load(self, Reg::I64, i, (g * LANES * 8) as i32));
        Pair { value, index }
    }

    fn store_parts(&mut self, parts: &Parts, slot: Value, g: usize) {
        for (i, p) in parts.iter().enumerate() {
            let offset = ((g * parts.len() + i) * 16) as i32;
            self.cur().ins().store(STACK, *p, slot, offset);
        }
    }

    /// A new stack slot for sixteen lanes of type `ty`, as its address.
    fn slot(&mut self, ty: types::Type) -> Value {
        self.stack(16 * ty.lane_bits() / 8, 4)
    }

    /// Combines `value` into an accumulator.
    pub(super) fn update(&mut self, acc: AccId, value: V, index: Option<V>, g: usize) {
        let Some(a) = self.acc_at(acc) else { return };
        let (combine, reg, lanes, slots) = (a.combine, a.reg, a.lanes, a.slots);
        if self.acc_place(acc) == AccPlace::Slot {
            let Some((values, indices)) = slots else { return };
            return self.update_slot(combine, reg, values, indices, value, index, g);
        }
        let g = if lanes || self.vector.is_some() { g } else { 0 };
        let old = a.groups[g].clone();
        let new = self.operand(value, index, g, self.vector.is_some());
        let new = self.combine(combine, reg, &old, &new);
        if let Some(a) = self.accs[acc.0 as usize].as_mut() {
            a.groups[g] = new;
            a.fresh = false;
        }
    }

    /// Group `g` of an update's operands, or their scalars.
    fn operand(&mut self, value: V, index: Option<V>, g: usize, vector: bool) -> Pair {
        let mut get = |v: V| if vector { self.group(v, g) } else { smallvec![self.scalar(v)] };
        let value = get(value);
        Pair { value, index: index.map_or(Parts::new(), get) }
    }

    /// An update of lanes in a stack slot: the group's four lanes, or in a scalar tail one.
    #[expect(clippy::too_many_arguments, reason = "the parts of one accumulator, taken apart to end its borrow")]
    fn update_slot(
        &mut self,
        combine: Combine,
        reg: Reg,
        values: Value,
        indices: Option<Value>,
        value: V,
        index: Option<V>,
        g: usize,
    ) {
        let vector = self.vector.as_ref().map(|v| v.scope);
        let Some(scope) = vector.or(self.tail) else { return };
        let counter = self.scopes[scope].counter;
        let lane = self.cur().ins().band_imm_u(counter, 15);
        let mut at = |slot: Value, reg: Reg| {
            let offset = self.times(lane, i64::from(lane_type(reg).lane_bits() / 8));
            self.cur().ins().iadd(slot, offset)
        };
        let (values, indices) = (at(values, reg), indices.map(|i| at(i, Reg::I64)));
        let new = self.operand(value, index, g, vector.is_some());
        if vector.is_some() {
            let offset = (g * LANES * 4 * parts_of(reg)) as i32;
            let old = self.load_pair(reg, values, indices, offset, g);
            let new = self.combine(combine, reg, &old, &new);
            self.store_parts(&new.value, values, g);
            if let Some(indices) = indices {
                self.store_parts(&new.index, indices, g);
            }
            return;
        }
        // A lane of a mask in memory is 0 or -1.
        let memory = if reg == Reg::Bool { types::I32 } else { Self::scalar_type(reg) };
        let old = self.cur().ins().load(memory, STACK, values, 0);
        let old = if reg == Reg::Bool { self.cur().ins().ireduce(types::I8, old) } else { old };
        let old = if reg == Reg::Bool { self.cur().ins().band_imm_u(old, 1) } else { old };
        let old_index = indices.map(|i| self.cur().ins().load(types::I64, STACK, i, 0));
        let old = Pair { value: smallvec![old], index: old_index.into_iter().collect() };
        let new = self.combine(combine, reg, &old, &new);
        let result = if reg == Reg::Bool { self.scalar_to_mask_lane(new.value[0]) } else { new.value[0] };
        self.cur().ins().store(STACK, result, values, 0);
        if let (Some(i), Some(x)) = (indices, new.index.first()) {
            self.cur().ins().store(STACK, *x, i, 0);
        }
    }

    /// The accumulator's result so far.
    pub(super) fn read(&mut self, dst: V, acc: AccId, g: usize) {
        let Some(a) = self.acc_at(acc) else { return };
        let (combine, reg, lanes) = (a.combine, a.reg, a.lanes);
        let level = self.scope();
        let result = |p: &Pair| if has_index(combine) { p.index.clone() } else { p.value.clone() };
        if !lanes {
            if self.is_vector(a.groups[0].value[0]) {
                let parts = result(&a.groups[g]);
                return self.define_lanes(dst, g, parts, level);
            }
            let value = result(&a.groups[0])[0];
            return self.define(dst, value, level);
        }
        if g > 0 {
            return;
        }
        let groups = a.groups.clone();
        let low = self.combine(combine, reg, &groups[0], &groups[2]);
        let high = self.combine(combine, reg, &groups[1], &groups[3]);
        let four = self.combine(combine, reg, &low, &high);
        let lane = |e: &mut Self, n: usize| {
            let value = smallvec![e.extract(reg, &four.value, n)];
            let index =
                if four.index.is_empty() { Parts::new() } else { smallvec![e.extract(Reg::I64, &four.index, n)] };
            Pair { value, index }
        };
        let lanes: [Pair; LANES] = std::array::from_fn(|n| lane(self, n));
        let even = self.combine(combine, reg, &lanes[0], &lanes[2]);
        let odd = self.combine(combine, reg, &lanes[1], &lanes[3]);
        let all = self.combine(combine, reg, &even, &odd);
        self.define(dst, result(&all)[0], level);
    }

    fn combine(&mut self, combine: Combine, reg: Reg, old: &Pair, new: &Pair) -> Pair {
        let (mut a, mut x) = (old.value.clone(), new.value.clone());
        if reg == Reg::Bool {
            (a, x) = (self.mask(&a, 1), self.mask(&x, 1));
        }
        let each = |e: &mut Self, f: &mut dyn FnMut(&mut Self, Value, Value) -> Value| -> Parts {
            (0..a.len()).map(|i| f(e, a[i], x[i])).collect()
        };
        let value = match combine {
            Combine::Sum => each(self, &mut |e, a, x| e.bin(Bin::Add, reg, a, x)),
            Combine::Prod => each(self, &mut |e, a, x| e.bin(Bin::Mul, reg, a, x)),
            Combine::Max | Combine::Min if reg.is_float() => {
                // `bin` takes its second operand if either is NaN; what remains is a NaN in `x`.
                let op = if combine == Combine::Max { Bin::Max } else { Bin::Min };
                each(self, &mut |e, a, x| {
                    let best = e.bin(op, reg, x, a);
                    let nan = e.cur().ins().fcmp(FloatCC::Unordered, x, x);
                    e.pick(nan, x, best)
                })
            }
            Combine::Max => each(self, &mut |e, a, x| e.bin(Bin::Max, reg, a, x)),
            Combine::Min => each(self, &mut |e, a, x| e.bin(Bin::Min, reg, a, x)),
            Combine::ArgMax | Combine::ArgMin => {
                let better = self.arg_better(combine, reg, &a, &x, &old.index, &new.index);
                let value = self.pick_group(reg, &better, &x, &a);
                let index = self.pick_group(Reg::I64, &better, &new.index, &old.index);
                return Pair { value, index };
            }
        };
        Pair { value, index: Parts::new() }
    }

    /// Whether `x` with index `xi` replaces `a` with index `ai`: it is better (or the first NaN), or equal (or both are
    /// NaN) with a lower index.
    fn arg_better(&mut self, combine: Combine, reg: Reg, a: &Parts, x: &Parts, ai: &Parts, xi: &Parts) -> Parts {
        let n = a.len();
        let earlier: Parts = (0..ai.len()).map(|i| self.cmp(Cmp::Lt, Reg::I64, xi[i], ai[i])).collect();
        let earlier = self.mask(&earlier, n);
        (0..n)
            .map(|i| {
                let (a, x) = (a[i], x[i]);
                let mut better = match combine {
                    Combine::ArgMax => self.cmp(Cmp::Lt, reg, a, x),
                    _ => self.cmp(Cmp::Lt, reg, x, a),
                };
                let mut equal = self.cmp(Cmp::Eq, reg, a, x);
                if reg.is_float() {
                    let a_nan = self.cur().ins().fcmp(FloatCC::Unordered, a, a);
                    let x_nan = self.cur().ins().fcmp(FloatCC::Unordered, x, x);
                    let both = self.cur().ins().band(a_nan, x_nan);
                    equal = self.cur().ins().bor(equal, both);
                    let first = self.cur().ins().band_not(x_nan, a_nan);
                    better = self.cur().ins().bor(better, first);
                }
                let tie = self.cur().ins().band(equal, earlier[i]);
                self.cur().ins().bor(better, tie)
            })
            .collect()
    }
}

//! Accumulators: variables in registers.
//!
//! One that is set up outside has sixteen lanes, which is a group, so all groups of a turn go into the same vectors, in
//! order. One that is set up in the vector loop has its own vectors for each group.

use super::body::{Acc, Pair, Parts};
use super::inst::code;
use super::machine::{Def, File, Node, Op, R, Width};
use super::select::Select;
use crate::cpu::acc::{has_index, identity};
use crate::cpu::vector::parts_of;
use crate::loopnest::{AccId, Combine};
use iced_x86::Code;
use smallvec::smallvec;
use tensorc_ir::scalar::{Cmp, Reg, V};

/// How many vectors keep NaNs apart.
pub(super) fn nans(combine: Combine, reg: Reg) -> usize {
    if matches!(combine, Combine::Max | Combine::Min) && reg.is_float() { parts_of(reg) } else { 0 }
}

impl Select<'_, '_> {
    /// New variables for the lanes of an accumulator.
    pub(super) fn pair(&mut self, combine: Combine, reg: Reg) -> Pair {
        let file = if reg == Reg::Bool { File::Mask } else { File::Vector };
        let value = (0..parts_of(reg)).map(|_| self.register(file, Def::Variable)).collect();
        let n = if has_index(combine) { 2 } else { 0 };
        let index = (0..n).map(|_| self.register(File::Vector, Def::Variable)).collect();
        Pair { value, index, nan: Parts::new() }
    }

    /// New variables for an accumulator from outside.
    pub(super) fn outer_pair(&mut self, combine: Combine, reg: Reg) -> Pair {
        let mut pair = self.pair(combine, reg);
        for _ in 0..nans(combine, reg) {
            pair.nan.push(self.register(File::Vector, Def::Variable));
        }
        pair
    }

    /// Sets up an accumulator of the vector loop's own.
    pub(super) fn acc(&mut self, acc: AccId, combine: Combine, reg: Reg) -> Option<()> {
        let groups: Vec<Pair> = (0..self.groups).map(|_| self.pair(combine, reg)).collect();
        let value = self.constant(reg, identity(combine, reg));
        let index = self.constant(Reg::I64, i64::MAX as u64);
        for pair in &groups {
            pair.value.iter().zip(&value).for_each(|(to, from)| self.set(reg, *to, *from, None));
            pair.index.iter().zip(&index).for_each(|(to, from)| self.set(Reg::I64, *to, *from, None));
        }
        self.accs.insert(acc, Acc { combine, reg, groups });
        Some(())
    }

    /// Gives a variable another value, in the lanes of `mask`.
    fn set(&mut self, reg: Reg, to: R, from: R, mask: Option<R>) {
        let (code, width) = match reg {
            Reg::Bool => (Code::VEX_Kmovw_kr_km16, Width::K),
            _ if reg.bits() == 64 => (Code::EVEX_Vmovupd_zmm_k1z_zmmm512, Width::Z),
            _ => (Code::EVEX_Vmovups_zmm_k1z_zmmm512, Width::Z),
        };
        let tied = mask.map(|_| to);
        let op = Op { dst: Some((to, width)), args: smallvec![(from, width)], mask, tied, ..Op::new(code) };
        self.nodes.push(Node::Op(op));
    }

    /// `to = to op from`, or the other way round, in the lanes that have an iteration.
    fn apply(&mut self, code: Code, to: R, args: [R; 2], mask: Option<R>) {
        let args = args.iter().map(|r| (*r, Width::Z)).collect();
        let tied = mask.map(|_| to);
        self.nodes.push(Node::Op(Op { dst: Some((to, Width::Z)), args, mask, tied, ..Op::new(code) }));
    }

    pub(super) fn update(&mut self, acc: AccId, value: V, index: Option<V>, g: usize) -> Option<()> {
        let x = self.group(value, g)?;
        let xi = match index {
            Some(v) => self.group(v, g)?,
            None => Parts::new(),
        };
        let a = self.accs.get(&acc)?;
        let (combine, reg, pair) = (a.combine, a.reg, a.groups[if a.groups.len() > 1 { g } else { 0 }].clone());
        match combine {
            Combine::ArgMax | Combine::ArgMin => self.update_best(combine, reg, &pair, &x, &xi),
            _ if reg == Reg::Bool => self.update_bool(combine, pair.value[0], x[0])?,
            Combine::Max | Combine::Min if reg.is_float() => self.update_extreme(combine, reg, &pair, &x)?,
            _ => {
                let code = code(combine.op()?, reg)?;
                for i in 0..x.len() {
                    let (to, mask) = (pair.value[i], self.tail_part(i));
                    if matches!(reg, Reg::I16 | Reg::I8 | Reg::U8) && matches!(combine, Combine::Sum | Combine::Prod) {
                        let r = self.whole(code, 4, &[to, x[i]], None);
                        let r = self.wrap(reg, smallvec![r]);
                        self.set(reg, to, r[0], mask);
                    } else {
                        self.apply(code, to, [to, x[i]], mask);
                    }
                }
            }
        }
        Some(())
    }

    fn update_bool(&mut self, combine: Combine, to: R, x: R) -> Option<()> {
        let r = self.bin(combine.op()?, Reg::Bool, &smallvec![to], &smallvec![x])?;
        let r = match self.tail_part(0) {
            Some(tail) => self.pick(Reg::Bool, tail, &r, &smallvec![to]),
            None => r,
        };
        self.set(Reg::Bool, to, r[0], None);
        Some(())
    }

    /// The instruction gives its second operand if one is NaN; what remains is a NaN in `x`.
    fn update_extreme(&mut self, combine: Combine, reg: Reg, pair: &Pair, x: &Parts) -> Option<()> {
        let code = code(combine.op()?, reg)?;
        let nan = self.unordered(reg, x);
        for i in 0..x.len() {
            let (to, mask) = (pair.value[i], self.tail_part(i));
            self.apply(code, to, [x[i], to], mask);
            let nan = match mask {
                Some(mask) => self.mask_op(Code::VEX_Kandw_kr_kr_kr, &[nan[i], mask]),
                None => nan[i],
            };
            self.set(reg, pair.nan.get(i).copied().unwrap_or(to), x[i], Some(nan));
        }
        Some(())
    }

    /// `x` with its index replaces what is there if it is better (or the first NaN), or equal (or both are NaN) with a lower
    /// index.
    fn update_best(&mut self, combine: Combine, reg: Reg, pair: &Pair, x: &Parts, xi: &Parts) {
        let a = &pair.value;
        let earlier = self.cmp_parts(Cmp::Lt, Reg::I64, xi, &pair.index);
        let earlier: Parts = if a.len() == 2 { earlier } else { smallvec![self.joined(&earlier)] };
        let mut better = match combine {
            Combine::ArgMax => self.cmp_parts(Cmp::Lt, reg, a, x),
            _ => self.cmp_parts(Cmp::Lt, reg, x, a),
        };
        let mut equal = self.cmp_parts(Cmp::Eq, reg, a, x);
        if reg.is_float() {
            let (a_nan, x_nan) = (self.unordered(reg, a), self.unordered(reg, x));
            for i in 0..a.len() {
                let both = self.mask_op(Code::VEX_Kandw_kr_kr_kr, &[a_nan[i], x_nan[i]]);
                equal[i] = self.mask_op(Code::VEX_Korw_kr_kr_kr, &[equal[i], both]);
                let first = self.mask_op(Code::VEX_Kandnw_kr_kr_kr, &[a_nan[i], x_nan[i]]);
                better[i] = self.mask_op(Code::VEX_Korw_kr_kr_kr, &[better[i], first]);
            }
        }
        for i in 0..a.len() {
            let tie = self.mask_op(Code::VEX_Kandw_kr_kr_kr, &[equal[i], earlier[i]]);
            better[i] = self.mask_op(Code::VEX_Korw_kr_kr_kr, &[better[i], tie]);
            if let Some(tail) = self.tail_part(i) {
                better[i] = self.mask_op(Code::VEX_Kandw_kr_kr_kr, &[better[i], tail]);
            }
        }
        if reg == Reg::Bool {
            let r = self.pick(Reg::Bool, better[0], x, a);
            self.set(Reg::Bool, a[0], r[0], None);
        } else {
            (0..a.len()).for_each(|i| self.set(reg, a[i], x[i], Some(better[i])));
        }
        for i in 0..2 {
            let mask = if better.len() == 2 { better[i] } else { self.part(better[0], i) };
            self.set(Reg::I64, pair.index[i], xi[i], Some(mask));
        }
    }

    /// A copy of the result so far, since the accumulator may go on.
    pub(super) fn read(&mut self, acc: AccId, g: usize) -> Option<Parts> {
        let a = self.accs.get(&acc)?;
        let pair = a.groups.get(g)?.clone();
        let (parts, reg) = if has_index(a.combine) { (pair.index, Reg::I64) } else { (pair.value, a.reg) };
        let copy = |s: &mut Self, x: &R| match reg {
            Reg::Bool => s.mask_op(Code::VEX_Kmovw_kr_km16, &[*x]),
            _ => s.whole(Code::EVEX_Vmovups_zmm_k1z_zmmm512, 0, &[*x], None),
        };
        Some(parts.iter().map(|x| copy(self, x)).collect())
    }
}

//! Scalar-IR instructions as Cranelift instructions, on scalars and on groups of lanes.
//!
//! Most Cranelift instructions take either shape, so one function writes both; what differs is chosen by the type of
//! the operand. What has no vector form (integer division, shifts by a different amount in each lane, `fmod`) goes lane
//! by lane. Every instruction gives exactly what [`tensorc_ir::scalar::eval`] gives.

use super::emit::{Emitter, FMOD, FMODF};
use super::value::{Parts, Val};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use smallvec::{SmallVec, smallvec};
use tensorc_ir::Result;
use tensorc_ir::scalar::{Bin, Cmp, Inst, Reg, Un, V};

impl Emitter<'_> {
    /// Writes the instruction that defines `v`, for group `g`.
    pub(super) fn inst(&mut self, v: V, inst: Inst, g: usize) -> Result<()> {
        if let Inst::Const(reg, bits) = inst {
            self.regs[v.0 as usize] = Val::Const(reg, bits);
            return Ok(());
        }
        let args = operands(inst);
        let level = args.iter().map(|a| self.level(*a)).max().unwrap_or(0);
        let varies = args.iter().any(|a| self.varies(*a));
        if let Inst::Check(fault, c) = inst {
            if varies || g == 0 {
                self.check(fault, c, g);
            }
        } else if varies {
            // Several lanes exist only inside the vector loop, so their level is at least its scope.
            let parts = self.at_level(level, |e| e.inst_lanes(inst, g));
            self.define_lanes(v, g, parts, level);
        } else if g == 0 {
            let value = self.at_level(level, |e| e.inst_scalar(inst));
            self.define(v, value, level);
        }
        Ok(())
    }

    fn inst_scalar(&mut self, inst: Inst) -> Value {
        match inst {
            Inst::Un(op, a) => {
                let x = self.scalar(a);
                self.un(op, self.reg(a), x)
            }
            Inst::Bin(op, a, b) => {
                let (x, y) = (self.scalar(a), self.scalar(b));
                self.bin_scalar(op, self.reg(a), x, y, self.known(b))
            }
            Inst::Cmp(op, a, b) => {
                let (x, y) = (self.scalar(a), self.scalar(b));
                self.cmp(op, self.reg(a), x, y)
            }
            Inst::Fma(a, b, c) => {
                let (x, y, z) = (self.scalar(a), self.scalar(b), self.scalar(c));
                self.cur().ins().fma(x, y, z)
            }
            Inst::Select(c, a, b) => {
                let (c, x, y) = (self.scalar(c), self.scalar(a), self.scalar(b));
                self.pick(c, x, y)
            }
            Inst::Convert(to, a) => {
                let x = self.scalar(a);
                self.convert_scalar(self.reg(a), to, x)
            }
            Inst::Bitcast(to, a) => {
                let x = self.scalar(a);
                self.cast(Self::scalar_type(to), x)
            }
            Inst::Round(dtype, a) => {
                let x = self.scalar(a);
                self.round_half(dtype, x)
            }
            // Not reached: `inst` writes them, and the verifier excludes parameters.
            Inst::Const(..) | Inst::Param(_) | Inst::Check(..) => self.constant(types::I8, 0),
        }
    }

    fn inst_lanes(&mut self, inst: Inst, g: usize) -> Parts {
        match inst {
            Inst::Un(op, a) => {
                let (reg, x) = (self.reg(a), self.group(a, g));
                x.iter().map(|x| self.un(op, reg, *x)).collect()
            }
            Inst::Bin(op, a, b) => self.bin_lanes(op, a, b, g),
            Inst::Cmp(op, a, b) => {
                let (reg, x, y) = (self.reg(a), self.group(a, g), self.group(b, g));
                let (x, y) = self.same_width(x, y);
                (0..x.len()).map(|i| self.cmp(op, reg, x[i], y[i])).collect()
            }
            Inst::Fma(a, b, c) => {
                let (x, y, z) = (self.group(a, g), self.group(b, g), self.group(c, g));
                (0..x.len()).map(|i| self.cur().ins().fma(x[i], y[i], z[i])).collect()
            }
            Inst::Select(c, a, b) => {
                let (c, x, y) = (self.group(c, g), self.group(a, g), self.group(b, g));
                self.pick_group(self.reg(a), &c, &x, &y)
            }
            Inst::Convert(to, a) => self.convert_lanes(to, a, g),
            Inst::Bitcast(to, a) => {
                let ty = super::vector::lane_type(to);
                self.group(a, g).iter().map(|x| self.cast(ty, *x)).collect()
            }
            Inst::Round(dtype, a) => {
                let x = self.group(a, g);
                x.iter().map(|x| self.round_half(dtype, *x)).collect()
            }
            Inst::Const(..) | Inst::Param(_) | Inst::Check(..) => smallvec![],
        }
    }

    fn bin_lanes(&mut self, op: Bin, a: V, b: V, g: usize) -> Parts {
        let reg = self.reg(a);
        let shift = matches!(op, Bin::Shl | Bin::Shr | Bin::UShr) && reg != Reg::Bool;
        let divide = matches!(op, Bin::Div | Bin::Rem) && !reg.is_float() && reg != Reg::Bool;
        if shift && !self.varies(b) {
            let (x, amount) = (self.group(a, g), self.scalar(b));
            return x.iter().map(|x| self.shift(op, reg, *x, amount)).collect();
        }
        if shift || divide || (op == Bin::Rem && reg.is_float()) {
            let known = self.known(b);
            return self.lane_by_lane(reg, &[a, b], g, |e, x| e.bin_scalar(op, reg, x[0], x[1], known));
        }
        let (x, y) = (self.group(a, g), self.group(b, g));
        let (x, y) = self.same_width(x, y);
        (0..x.len()).map(|i| self.bin(op, reg, x[i], y[i])).collect()
    }

    /// The bits of a register that is a constant.
    fn known(&self, v: V) -> Option<u64> {
        match self.val(v) {
            Val::Const(_, bits) => Some(*bits),
            Val::None | Val::Uniform(..) | Val::Lanes(..) => None,
        }
    }

    fn un(&mut self, op: Un, reg: Reg, x: Value) -> Value {
        let mut c = self.cur();
        let r = match (op, reg.is_float()) {
            (Un::Neg, true) => c.ins().fneg(x),
            (Un::Abs, true) => c.ins().fabs(x),
            (Un::Sqrt, true) => c.ins().sqrt(x),
            (Un::Floor, true) => c.ins().floor(x),
            (Un::Ceil, true) => c.ins().ceil(x),
            (Un::Trunc, true) => c.ins().trunc(x),
            (Un::Nearest, true) => c.ins().nearest(x),
            (Un::Not, false) if reg == Reg::Bool => return self.not(x),
            (Un::Not, false) if reg == Reg::U8 => {
                let all = self.constant_like(x, 0xff);
                return self.cur().ins().bxor(x, all);
            }
            (Un::Not, false) => c.ins().bnot(x),
            // Modulo 2 a truth value is its own negative.
            (Un::Neg | Un::Abs, false) if reg == Reg::Bool => x,
            (Un::Abs, false) if reg == Reg::U8 => x,
            (Un::Neg, false) => c.ins().ineg(x),
            (Un::Abs, false) => c.ins().iabs(x),
            // The verifier refuses the rest.
            (Un::Sqrt | Un::Floor | Un::Ceil | Un::Trunc | Un::Nearest, false) | (Un::Not, true) => x,
        };
        self.wrap(reg, r)
    }

    /// Brings the low bits of a 32-bit integer into the form in which type `reg` is held.
    pub(super) fn wrap(&mut self, reg: Reg, x: Value) -> Value {
        match reg {
            Reg::U8 => {
                let low = self.constant_like(x, 0xff);
                self.cur().ins().band(x, low)
            }
            Reg::I16 | Reg::I8 if self.is_vector(x) => {
                let by = i64::from(32 - reg.bits());
                let amount = self.constant(types::I32, by as u64);
                let up = self.cur().ins().ishl(x, amount);
                self.cur().ins().sshr(up, amount)
            }
            Reg::I16 | Reg::I8 => {
                let narrow = if reg == Reg::I16 { types::I16 } else { types::I8 };
                let low = self.cur().ins().ireduce(narrow, x);
                self.cur().ins().sextend(types::I32, low)
            }
            Reg::F64 | Reg::F32 | Reg::I64 | Reg::I32 | Reg::Bool => x,
        }
    }

    /// A binary instruction on scalars; `known` are the bits of `y` if it is a constant.
    fn bin_scalar(&mut self, op: Bin, reg: Reg, x: Value, y: Value, known: Option<u64>) -> Value {
        match op {
            Bin::Rem if reg.is_float() => {
                let f = self.helper(if reg == Reg::F32 { FMODF } else { FMOD }, Self::scalar_type(reg));
                let call = self.cur().ins().call(f, &[x, y]);
                self.func.dfg.first_result(call)
            }
            Bin::Div | Bin::Rem if !reg.is_float() && reg != Reg::Bool => self.divide(op, reg, x, y, known),
            Bin::Shl | Bin::Shr | Bin::UShr if reg != Reg::Bool => self.shift(op, reg, x, y),
            _ => self.bin(op, reg, x, y),
        }
    }

    /// Integer division of scalars that never traps: by 0 it gives 0 (as the remainder), and it wraps.
    fn divide(&mut self, op: Bin, reg: Reg, x: Value, y: Value, known: Option<u64>) -> Value {
        let wide = |e: &mut Self, v| if reg == Reg::I64 { v } else { e.cur().ins().sextend(types::I64, v) };
        let (x, y) = (wide(self, x), wide(self, y));
        let quotient = |e: &mut Self, y| match op {
            Bin::Div => e.cur().ins().sdiv(x, y),
            _ => e.cur().ins().srem(x, y),
        };
        let r = if known.is_some_and(|k| k != 0 && k as i64 != -1) {
            quotient(self, y)
        } else {
            let (zero, one) = (self.constant(types::I64, 0), self.constant(types::I64, 1));
            let none = self.cur().ins().icmp(IntCC::Equal, y, zero);
            if reg == Reg::I64 {
                // MIN / -1 would trap: divide by 1 and negate.
                let neg = self.cur().ins().icmp_imm_s(IntCC::Equal, y, -1);
                let unsafe_divisor = self.cur().ins().bor(none, neg);
                let by = self.cur().ins().select(unsafe_divisor, one, y);
                let q = quotient(self, by);
                let minus = if op == Bin::Div { self.cur().ins().ineg(q) } else { zero };
                let q = self.cur().ins().select(neg, minus, q);
                self.cur().ins().select(none, zero, q)
            } else {
                let by = self.cur().ins().select(none, one, y);
                let q = quotient(self, by);
                self.cur().ins().select(none, zero, q)
            }
        };
        if reg == Reg::I64 {
            return r;
        }
        let r = self.cur().ins().ireduce(types::I32, r);
        self.wrap(reg, r)
    }

    /// A shift of a scalar or of all lanes by one scalar amount.
    fn shift(&mut self, op: Bin, reg: Reg, x: Value, amount: Value) -> Value {
        let r = match op {
            Bin::Shl => self.cur().ins().ishl(x, amount),
            Bin::Shr => self.cur().ins().sshr(x, amount),
            _ => {
                let narrow = matches!(reg, Reg::I16 | Reg::I8);
                let x = if narrow {
                    let low = self.constant_like(x, (1 << reg.bits()) - 1);
                    self.cur().ins().band(x, low)
                } else {
                    x
                };
                self.cur().ins().ushr(x, amount)
            }
        };
        self.wrap(reg, r)
    }

    /// A binary instruction that has the same form on scalars and lanes.
    pub(super) fn bin(&mut self, op: Bin, reg: Reg, x: Value, y: Value) -> Value {
        if reg == Reg::Bool {
            return self.bin_bool(op, x, y);
        }
        let float = reg.is_float();
        let r = match op {
            Bin::Add if float => self.cur().ins().fadd(x, y),
            Bin::Sub if float => self.cur().ins().fsub(x, y),
            Bin::Mul if float => self.cur().ins().fmul(x, y),
            Bin::Div if float => self.cur().ins().fdiv(x, y),
            // These two shapes are single instructions on x86.
            Bin::Min if float => {
                let c = self.cur().ins().fcmp(FloatCC::LessThan, x, y);
                return self.pick(c, x, y);
            }
            Bin::Max if float => {
                let c = self.cur().ins().fcmp(FloatCC::LessThan, y, x);
                return self.pick(c, x, y);
            }
            Bin::Add => self.cur().ins().iadd(x, y),
            Bin::Sub => self.cur().ins().isub(x, y),
            Bin::Mul => self.cur().ins().imul(x, y),
            Bin::Min => return self.cur().ins().smin(x, y),
            Bin::Max => return self.cur().ins().smax(x, y),
            Bin::And => return self.cur().ins().band(x, y),
            Bin::Or => return self.cur().ins().bor(x, y),
            Bin::Xor => return self.cur().ins().bxor(x, y),
            // Handled by `bin_scalar` and `bin_lanes`.
            Bin::Div | Bin::Rem | Bin::Shl | Bin::Shr | Bin::UShr => x,
        };
        self.wrap(reg, r)
    }

    /// Arithmetic modulo 2, where a shift by one and a remainder leave 0 (a quotient by 0 is 0).
    fn bin_bool(&mut self, op: Bin, x: Value, y: Value) -> Value {
        match op {
            Bin::Add | Bin::Sub | Bin::Xor => self.cur().ins().bxor(x, y),
            Bin::Mul | Bin::Min | Bin::And | Bin::Div => self.cur().ins().band(x, y),
            Bin::Max | Bin::Or => self.cur().ins().bor(x, y),
            Bin::Rem => self.cur().ins().bxor(x, x),
            Bin::Shl | Bin::Shr | Bin::UShr => {
                let no = self.not(y);
                self.cur().ins().band(x, no)
            }
        }
    }

    /// A comparison: a truth value of the operands' shape.
    pub(super) fn cmp(&mut self, op: Cmp, reg: Reg, x: Value, y: Value) -> Value {
        if reg.is_float() {
            let cc = match op {
                Cmp::Eq => FloatCC::Equal,
                Cmp::Ne => FloatCC::NotEqual,
                Cmp::Lt => FloatCC::LessThan,
                Cmp::Le => FloatCC::LessThanOrEqual,
            };
            return self.cur().ins().fcmp(cc, x, y);
        }
        // A mask is 0 or -1, which has the order the other way round from false and true.
        let (x, y) = if reg == Reg::Bool && self.is_vector(x) { (y, x) } else { (x, y) };
        let cc = match op {
            Cmp::Eq => IntCC::Equal,
            Cmp::Ne => IntCC::NotEqual,
            Cmp::Lt => IntCC::SignedLessThan,
            Cmp::Le => IntCC::SignedLessThanOrEqual,
        };
        self.cur().ins().icmp(cc, x, y)
    }
}

/// The registers an instruction reads.
pub(super) fn operands(inst: Inst) -> SmallVec<[V; 3]> {
    match inst {
        Inst::Param(_) | Inst::Const(..) => smallvec![],
        Inst::Un(_, a) | Inst::Convert(_, a) | Inst::Bitcast(_, a) | Inst::Round(_, a) | Inst::Check(_, a) => {
            smallvec![a]
        }
        Inst::Bin(_, a, b) | Inst::Cmp(_, a, b) => smallvec![a, b],
        Inst::Fma(a, b, c) | Inst::Select(a, b, c) => smallvec![a, b, c],
    }
}

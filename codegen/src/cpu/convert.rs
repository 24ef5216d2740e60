//! Conversions between register types, on scalars and on groups of lanes.
//!
//! Float to integer follows the one rule of casts (truncate; NaN and what does not fit `i64` give `i64::MIN`; narrower
//! integers wrap), which no machine instruction does for lanes; see [`Emitter::float_lanes_to_int`] for how `F32` to
//! 32 bits stays on lanes all the same. From and to `i64`, floats go lane by lane.

use super::emit::{Emitter, IntLanes};
use super::value::Parts;
use super::vector::{lane_type, parts_of};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use smallvec::smallvec;
use tensorc_ir::scalar::{Reg, V};

impl Emitter<'_> {
    /// The scalar `x` of type `from` as type `to`.
    pub(super) fn convert_scalar(&mut self, from: Reg, to: Reg, x: Value) -> Value {
        let ty = Self::scalar_type(to);
        if from == to {
            return x;
        }
        match (from, to) {
            (Reg::F32, Reg::F64) => self.cur().ins().fpromote(ty, x),
            (Reg::F64, Reg::F32) => self.cur().ins().fdemote(ty, x),
            (Reg::F64 | Reg::F32, Reg::Bool) => self.is_not_zero(from, x),
            (Reg::F64 | Reg::F32, _) => {
                let i = self.float_to_i64(x);
                self.convert_scalar(Reg::I64, to, i)
            }
            (Reg::Bool, Reg::F64 | Reg::F32) => {
                let i = self.cur().ins().uextend(types::I32, x);
                self.cur().ins().fcvt_from_sint(ty, i)
            }
            (_, Reg::F64 | Reg::F32) => self.cur().ins().fcvt_from_sint(ty, x),
            (Reg::Bool, _) => self.cur().ins().uextend(ty, x),
            (_, Reg::Bool) => self.is_not_zero(from, x),
            (_, Reg::I64) => self.cur().ins().sextend(ty, x),
            (Reg::I64, _) => {
                let low = self.cur().ins().ireduce(ty, x);
                self.wrap(to, low)
            }
            (_, _) => self.wrap(to, x),
        }
    }

    /// Truncates; NaN and what does not fit give the least integer.
    fn float_to_i64(&mut self, x: Value) -> Value {
        let two63 = match self.func.dfg.value_type(x) {
            types::F32 => 0x5f00_0000,
            _ => 0x43e0_0000_0000_0000,
        };
        let top = self.constant_like(x, two63);
        let fits = self.cur().ins().fcmp(FloatCC::LessThan, x, top);
        let bottom = self.cur().ins().fneg(top);
        let x = self.cur().ins().select(fits, x, bottom);
        self.cur().ins().fcvt_to_sint_sat(types::I64, x)
    }

    fn is_not_zero(&mut self, from: Reg, x: Value) -> Value {
        let zero = self.constant_like(x, 0);
        if from.is_float() {
            self.cur().ins().fcmp(FloatCC::NotEqual, x, zero)
        } else {
            self.cur().ins().icmp(IntCC::NotEqual, x, zero)
        }
    }

    /// Group `g` of `a` as type `to`.
    pub(super) fn convert_lanes(&mut self, to: Reg, a: V, g: usize) -> Parts {
        let from = self.reg(a);
        let x = self.group(a, g);
        if from == to {
            return x;
        }
        match (from, to) {
            (Reg::Bool, _) => {
                // The ones of the mask select the bits of one.
                let one = match to {
                    Reg::F64 => 1f64.to_bits(),
                    Reg::F32 => u64::from(1f32.to_bits()),
                    _ => 1,
                };
                let one = self.vector_constant(lane_type(to), one);
                let mask = self.mask(&x, parts_of(to));
                let mask = mask.iter().map(|m| self.cast(lane_type(to), *m)).collect::<Parts>();
                mask.iter().map(|m| self.cur().ins().band(*m, one)).collect()
            }
            (_, Reg::Bool) => x.iter().map(|x| self.is_not_zero(from, *x)).collect(),
            (Reg::F32, Reg::F64) => {
                let bytes = self.cast(types::I8X16, x[0]);
                let high = self.shuffle(bytes, bytes, [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15]);
                let high = self.cast(types::F32X4, high);
                [x[0], high].iter().map(|x| self.cur().ins().fvpromote_low(*x)).collect()
            }
            (Reg::F64, Reg::F32) => {
                let lo = self.cur().ins().fvdemote(x[0]);
                let hi = self.cur().ins().fvdemote(x[1]);
                let (lo, hi) = (self.cast(types::I8X16, lo), self.cast(types::I8X16, hi));
                let r = self.shuffle(lo, hi, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);
                smallvec![self.cast(types::F32X4, r)]
            }
            (Reg::F32, Reg::I32 | Reg::I16 | Reg::I8 | Reg::U8) if self.int_lanes != IntLanes::None => {
                let i = self.float_lanes_to_int(x[0]);
                smallvec![self.wrap(to, i)]
            }
            (Reg::F64 | Reg::F32, _) | (Reg::I64, Reg::F64 | Reg::F32) => {
                self.lane_by_lane(to, &[a], g, |e, x| e.convert_scalar(from, to, x[0]))
            }
            (_, Reg::F32) => smallvec![self.cur().ins().fcvt_from_sint(types::F32X4, x[0])],
            (_, Reg::F64) => {
                let wide = self.widen(x[0]);
                wide.iter().map(|x| self.cur().ins().fcvt_from_sint(types::F64X2, *x)).collect()
            }
            (_, Reg::I64) => self.widen(x[0]),
            (Reg::I64, _) => {
                let low = self.low_halves(&x);
                smallvec![self.wrap(to, low)]
            }
            (_, _) => smallvec![self.wrap(to, x[0])],
        }
    }

    /// `F32` lanes truncated and wrapped to 32 bits. With `q` the nearest integer to `x / 2^32`, the remainder
    /// `r = x - q * 2^32` is exact, lies in `[-2^31, 2^31]` and is `x` itself where that is small, so that truncating
    /// it wraps. From `2^63` on `x` is a multiple of `2^32`, so the result 0 is that of `i64::MIN`; of NaN likewise.
    fn float_lanes_to_int(&mut self, x: Value) -> Value {
        let down = self.constant_like(x, u64::from((1f32 / 4294967296.0).to_bits()));
        let up = self.constant_like(x, u64::from(4294967296f32.to_bits()));
        let q = self.cur().ins().fmul(x, down);
        let q = self.cur().ins().nearest(q);
        let q = self.cur().ins().fmul(q, up);
        let r = self.cur().ins().fsub(x, q);
        if self.int_lanes == IntLanes::X86 {
            // Gives the least integer for 2^31, which is the same modulo 2^32, and for NaN, which becomes 0 here.
            let i = self.cur().ins().x86_cvtt2dq(types::I32X4, r);
            let known = self.cur().ins().fcmp(FloatCC::Ordered, r, r);
            self.cur().ins().band(i, known)
        } else {
            let two31 = self.constant_like(x, u64::from(2147483648f32.to_bits()));
            let over = self.cur().ins().fcmp(FloatCC::Equal, r, two31);
            let negative = self.cur().ins().fneg(r);
            let r = self.pick(over, negative, r);
            self.cur().ins().fcvt_to_sint_sat(types::I32X4, r)
        }
    }
}

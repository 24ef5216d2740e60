//! `f16` and `bf16` by integer instructions, on one scalar or on four lanes alike.
//!
//! No instruction set that Cranelift knows converts them. Rounding is to nearest, ties to even; every value of the
//! narrow format comes back unchanged, denormals included, and a NaN stays a NaN.

use super::emit::Emitter;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use tensorc_ir::DType;

/// The bits of infinity in binary32.
const INF: u64 = 0x7f80_0000;

impl Emitter<'_> {
    /// The binary32 value (or four of them) rounded to the values of `dtype`; unchanged unless `dtype` is a half float.
    pub(super) fn round_half(&mut self, dtype: DType, x: Value) -> Value {
        if !dtype.is_half() {
            return x;
        }
        let bits = self.to_half(dtype, x);
        self.from_half(dtype, bits)
    }

    /// The 16 bits of the binary32 value `x` rounded to `dtype`, in 32-bit integers.
    pub(super) fn to_half(&mut self, dtype: DType, x: Value) -> Value {
        if let Some((_, bits)) = self.half_bits.get(&x).filter(|(d, _)| *d == dtype) {
            return *bits;
        }
        if dtype == DType::F16 {
            return self.to_f16(x);
        }
        let bits = self.rounded_bf16(x);
        self.shift_right(bits, 16)
    }

    /// The binary32 value of 16 bits of `dtype`, zero-extended to 32 bits. That it came from them is remembered, for a
    /// store of it; the value is available nowhere that the bits are not.
    pub(super) fn from_half(&mut self, dtype: DType, bits: Value) -> Value {
        let value = if dtype == DType::F16 {
            self.from_f16(bits)
        } else {
            let upper = self.shift_left(bits, 16);
            self.float_bits(upper)
        };
        self.half_bits.insert(value, (dtype, bits));
        value
    }

    /// Bits whose upper half is `x` rounded to `bf16`: half a unit of the last place less one, plus the last bit kept,
    /// carries exactly when rounding to even goes up.
    fn rounded_bf16(&mut self, x: Value) -> Value {
        let bits = self.int_bits(x);
        let last = self.shift_right(bits, 16);
        let last = self.and(last, 1);
        let half = self.constant_like(bits, 0x7fff);
        let up = self.cur().ins().iadd(bits, half);
        let up = self.cur().ins().iadd(up, last);
        // A NaN's payload might round to that of an infinity.
        let nan = self.cur().ins().fcmp(FloatCC::Unordered, x, x);
        let quiet = self.constant_like(bits, 0x0040_0000);
        let quiet = self.cur().ins().bor(bits, quiet);
        self.pick(nan, quiet, up)
    }

    fn from_f16(&mut self, bits: Value) -> Value {
        let magnitude = self.and(bits, 0x7fff);
        let sign = self.and(bits, 0x8000);
        let sign = self.shift_left(sign, 16);
        // Read as binary32 the exponent is 112 too low; multiplying by 2^112 is exact and normalises denormals.
        let small = self.shift_left(magnitude, 13);
        let small = self.float_bits(small);
        let scale = self.constant_like(small, 0x7780_0000);
        let value = self.cur().ins().fmul(small, scale);
        let value = self.int_bits(value);
        let max = self.constant_like(magnitude, 0x7bff);
        let special = self.cur().ins().icmp(IntCC::SignedGreaterThan, magnitude, max);
        let inf = self.constant_like(value, INF);
        let with_inf = self.cur().ins().bor(value, inf);
        let value = self.pick(special, with_inf, value);
        let value = self.cur().ins().bor(value, sign);
        self.float_bits(value)
    }

    fn to_f16(&mut self, x: Value) -> Value {
        let (magnitude, sign) = self.magnitude_and_sign(x);
        // Normal: rebias the exponent, round to even by carrying.
        let last = self.shift_right(magnitude, 13);
        let last = self.and(last, 1);
        let rebias = self.constant_like(magnitude, u64::from(0xfffu32.wrapping_sub(112 << 23)));
        let normal = self.cur().ins().iadd(magnitude, rebias);
        let normal = self.cur().ins().iadd(normal, last);
        let normal = self.shift_right(normal, 13);
        // Below 2^-14: adding 0.5, whose last place is the least denormal, lets the adder round.
        let value = self.float_bits(magnitude);
        let half = self.constant_like(value, 0x3f00_0000);
        let sum = self.cur().ins().fadd(value, half);
        let sum = self.int_bits(sum);
        let half = self.constant_like(sum, 0x3f00_0000);
        let denormal = self.cur().ins().isub(sum, half);
        let least = self.constant_like(magnitude, 0x3880_0000);
        let is_denormal = self.cur().ins().icmp(IntCC::SignedLessThan, magnitude, least);
        let finite = self.pick(is_denormal, denormal, normal);
        // What is 2^16 or more has become more than the bits of infinity. (What lies between 65520 and 2^16 has been
        // rounded to infinity.)
        let inf = self.constant_like(finite, 0x7c00);
        let finite = self.cur().ins().smin(finite, inf);
        let is_nan = self.cur().ins().fcmp(FloatCC::Unordered, x, x);
        let nan = self.constant_like(finite, 0x7e00);
        let bits = self.pick(is_nan, nan, finite);
        self.cur().ins().bor(bits, sign)
    }

    /// The bits of `x` without the sign, and the sign at bit 15.
    fn magnitude_and_sign(&mut self, x: Value) -> (Value, Value) {
        let bits = self.int_bits(x);
        let magnitude = self.and(bits, 0x7fff_ffff);
        let sign = self.shift_right(bits, 16);
        (magnitude, self.and(sign, 0x8000))
    }

    fn int_bits(&mut self, x: Value) -> Value {
        let ty = if self.is_vector(x) { types::I32X4 } else { types::I32 };
        self.cast(ty, x)
    }

    fn float_bits(&mut self, x: Value) -> Value {
        let ty = if self.is_vector(x) { types::F32X4 } else { types::F32 };
        self.cast(ty, x)
    }

    fn and(&mut self, x: Value, bits: u64) -> Value {
        let bits = self.constant_like(x, bits);
        self.cur().ins().band(x, bits)
    }

    pub(super) fn shift_left(&mut self, x: Value, by: u64) -> Value {
        let by = self.constant(types::I32, by);
        self.cur().ins().ishl(x, by)
    }

    fn shift_right(&mut self, x: Value, by: u64) -> Value {
        let by = self.constant(types::I32, by);
        self.cur().ins().ushr(x, by)
    }
}

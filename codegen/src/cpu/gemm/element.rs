//! The element types: how a run of elements is loaded, multiplied, added and stored.
//!
//! A *register* here is one Cranelift value of [`Element::lanes`] elements: a 128-bit vector for floats and the integers
//! that have a vector multiply, a scalar for `i64`. `i8` and `u8` are held as 16-bit lanes, since there is no 8-bit
//! multiply; wrapping arithmetic does not mind.

use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value, types};
use tensorc_ir::error::err;
use tensorc_ir::{DType, Result};

use super::emit::{Emit, MEM};

/// One dtype's registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    /// The dtype, one of those that [`Element::new`] takes.
    pub(super) dtype: DType,
    /// Bytes of one element in memory.
    pub(super) size: i64,
    /// Elements in one register.
    pub(super) lanes: i64,
    /// The register.
    register: Type,
    /// One element in memory.
    scalar: Type,
}

impl Element {
    pub(super) fn new(dtype: DType) -> Result<Element> {
        let (register, scalar) = match dtype {
            DType::F64 => (types::F64X2, types::F64),
            DType::F32 => (types::F32X4, types::F32),
            DType::I64 => (types::I64, types::I64),
            DType::I32 => (types::I32X4, types::I32),
            DType::I16 => (types::I16X8, types::I16),
            DType::I8 | DType::U8 => (types::I16X8, types::I8),
            DType::F16 | DType::BF16 | DType::Bool => {
                return Err(err::internal(format!(
                    "matmul of {dtype} has no kernel of its own: cast the operands first"
                )));
            }
        };
        let lanes = if register.is_vector() { register.lane_count() as i64 } else { 1 };
        Ok(Element { dtype, size: dtype.size() as i64, lanes, register, scalar })
    }

    /// The Cranelift type of one register.
    pub(super) fn register(&self) -> Type {
        self.register
    }

    fn is_byte(&self) -> bool {
        self.scalar == types::I8
    }

    pub(super) fn zero(&self, e: &mut Emit) -> Value {
        match self.dtype {
            DType::F64 | DType::F32 => {
                let zero = self.scalar_zero(e);
                e.b.ins().splat(self.register, zero)
            }
            _ if self.lanes == 1 => e.int(0),
            _ => {
                let zero = e.b.ins().iconst(self.register.lane_type(), 0);
                e.b.ins().splat(self.register, zero)
            }
        }
    }

    /// The elements at `p + offset` bytes.
    pub(super) fn load(&self, e: &mut Emit, p: Value, offset: i64) -> Value {
        if self.is_byte() {
            e.b.ins().uload8x8(MEM, p, offset as i32)
        } else {
            e.b.ins().load(self.register, MEM, p, offset as i32)
        }
    }

    /// The element at `p + offset` bytes, in every lane.
    pub(super) fn broadcast(&self, e: &mut Emit, p: Value, offset: i64) -> Value {
        let one = if self.is_byte() {
            e.b.ins().uload8(types::I16, MEM, p, offset as i32)
        } else {
            e.b.ins().load(self.scalar, MEM, p, offset as i32)
        };
        if self.lanes == 1 { one } else { e.b.ins().splat(self.register, one) }
    }

    /// `acc + x * y`, rounded once for floats, wrapping for integers.
    pub(super) fn mul_add(&self, e: &mut Emit, x: Value, y: Value, acc: Value) -> Value {
        if self.dtype.is_float() {
            e.b.ins().fma(x, y, acc)
        } else {
            let product = e.b.ins().imul(x, y);
            e.b.ins().iadd(acc, product)
        }
    }

    /// `x + y` of two registers or two scalars.
    pub(super) fn sum(&self, e: &mut Emit, x: Value, y: Value) -> Value {
        if self.dtype.is_float() { e.b.ins().fadd(x, y) } else { e.b.ins().iadd(x, y) }
    }

    pub(super) fn store(&self, e: &mut Emit, v: Value, p: Value, offset: i64) {
        if !self.is_byte() {
            e.b.ins().store(MEM, v, p, offset as i32);
            return;
        }
        // Keep the low byte of each lane. Cleared high bytes are what makes the saturating narrowing exact.
        let mask = e.b.ins().iconst(types::I16, 0xff);
        let mask = e.b.ins().splat(types::I16X8, mask);
        let low = e.b.ins().band(v, mask);
        let bytes = e.b.ins().unarrow(low, low);
        let words = e.b.ins().bitcast(types::I64X2, little_endian(), bytes);
        let word = e.b.ins().extractlane(words, 0);
        e.b.ins().store(MEM, word, p, offset as i32);
    }

    /// One element as it lies in memory.
    pub(super) fn load_scalar(&self, e: &mut Emit, p: Value) -> Value {
        e.b.ins().load(self.scalar, MEM, p, 0)
    }

    pub(super) fn store_scalar(&self, e: &mut Emit, v: Value, p: Value) {
        e.b.ins().store(MEM, v, p, 0);
    }

    pub(super) fn scalar_zero(&self, e: &mut Emit) -> Value {
        match self.dtype {
            DType::F64 => e.b.ins().f64const(0.0),
            DType::F32 => e.b.ins().f32const(0.0),
            _ => e.b.ins().iconst(self.scalar, 0),
        }
    }

    /// Whether blocks of `lanes` by `lanes` elements can be transposed in registers.
    pub(super) fn can_transpose(&self) -> bool {
        self.lanes > 1 && !self.is_byte()
    }

    /// Transposes a square of elements, one register a row.
    ///
    /// With `n` lanes, `log2 n` rounds of `(row[i], row[i + n/2]) -> (low half, high half) of their interleaving`:
    /// each round moves one bit of the row's number to the lane's number.
    pub(super) fn transpose(&self, e: &mut Emit, mut rows: Vec<Value>) -> Vec<Value> {
        for _ in 0..self.lanes.trailing_zeros() {
            let (top, bottom) = rows.split_at(rows.len() / 2);
            let mut next = Vec::with_capacity(rows.len());
            for (&x, &y) in top.iter().zip(bottom) {
                next.push(self.interleave(e, x, y, 0));
                next.push(self.interleave(e, x, y, self.lanes / 2));
            }
            rows = next;
        }
        rows
    }

    /// `x[from], y[from], x[from+1], y[from+1], …`: one instruction, if the mask is spelt as Cranelift knows it.
    fn interleave(&self, e: &mut Emit, x: Value, y: Value, from: i64) -> Value {
        let mut mask = [0u8; 16];
        for (byte, m) in mask.iter_mut().enumerate() {
            let (lane, within) = (byte as i64 / self.size, byte as i64 % self.size);
            let source = (from + lane / 2) * self.size + within;
            *m = (source + 16 * (lane % 2)) as u8;
        }
        let mask = e.b.func.dfg.immediates.push(mask.to_vec().into());
        let x = e.b.ins().bitcast(types::I8X16, little_endian(), x);
        let y = e.b.ins().bitcast(types::I8X16, little_endian(), y);
        let both = e.b.ins().shuffle(x, y, mask);
        e.b.ins().bitcast(self.register, little_endian(), both)
    }
}

/// Lane order is that of memory on a little-endian machine; vector bitcasts must say so.
fn little_endian() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}

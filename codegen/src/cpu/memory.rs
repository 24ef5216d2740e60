//! Addresses, loads and stores.
//!
//! An address is the buffer's pointer plus the terms of its affine index from the outermost loop inwards, so that every
//! partial sum sits in front of the first loop that it does not depend on; equal sums are made once. Constant parts go
//! into the instruction. In a vector loop an access with stride 1 is one vector access per group, one that does not
//! depend on the lane is made once, and any other goes lane by lane in ascending order.

use super::emit::Emitter;
use super::value::{Parts, Pos, Val};
use super::vector::{LANES, LITTLE, lane_type};
use crate::loopnest::{Access, Affine, Buf, Coef};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use smallvec::{SmallVec, smallvec};
use tensorc_ir::DType;
use tensorc_ir::scalar::{Reg, V};

/// Memory the kernel may touch; elements are not aligned by promise.
const PLAIN: MemFlagsData = MemFlagsData::new().with_notrap();

/// The argument words: written by no one during a call.
pub(super) const ARGS: MemFlagsData = MemFlagsData::trusted().with_readonly().with_can_move();

/// A partial sum of an affine expression: of the pointer (or 0), the offset and the terms of the outer scopes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct AddressKey {
    buf: Option<Buf>,
    scale: u32,
    offset: Option<u32>,
    terms: SmallVec<[(usize, Coef); 4]>,
}

/// A partial sum that has been written.
pub(super) struct Address {
    key: AddressKey,
    value: Value,
    pub(super) valid: usize,
}

/// The value of an affine expression: `value + offset` (in units of the scale), where `value` has that level.
pub(super) struct Sum {
    pub(super) value: Option<Value>,
    pub(super) offset: i64,
    pub(super) level: usize,
}

impl Emitter<'_> {
    /// Argument word `index`, loaded once at the function's start.
    pub(super) fn argument(&mut self, index: usize) -> Value {
        if let Some((_, value)) = self.arguments.iter().find(|(i, _)| *i == index) {
            return *value;
        }
        let (args, anchor) = (self.args, self.scopes[0].anchor);
        let offset = i32::try_from(index * 8).unwrap_or(i32::MAX);
        let value = self.at(Pos::Before(anchor), |e| e.cur().ins().load(types::I64, ARGS, args, offset));
        self.arguments.push((index, value));
        value
    }

    /// The value of run-time parameter `p`.
    pub(super) fn parameter(&mut self, p: u32) -> Value {
        self.argument(self.nest.bufs.len() + p as usize)
    }

    /// A coefficient as a value.
    pub(super) fn coef(&mut self, c: Coef) -> Value {
        match c {
            Coef::Const(c) => self.constant(types::I64, c as u64),
            Coef::Param(p) => self.parameter(p),
        }
    }

    /// `scale * affine`, plus the pointer of `buf` if there is one.
    pub(super) fn sum(&mut self, buf: Option<Buf>, affine: &Affine, scale: u32) -> Sum {
        let mut offset = 0;
        let mut key = AddressKey { buf, scale, offset: None, terms: SmallVec::new() };
        let mut value = buf.map(|b| self.argument(b.0 as usize));
        match affine.offset {
            Coef::Const(c) => offset = c.wrapping_mul(i64::from(scale)),
            Coef::Param(p) => {
                key.offset = Some(p);
                value = Some(self.partial(&key, 0, |e| {
                    let p = e.parameter(p);
                    let p = e.times(p, i64::from(scale));
                    e.plus(value, p)
                }));
            }
        }
        let mut level = 0;
        for scope in 1..self.scopes.len() {
            let Some(var) = self.scopes[scope].var else { continue };
            let coef = affine.stride(var);
            if coef == Coef::Const(0) {
                continue;
            }
            key.terms.push((scope, coef));
            level = scope;
            value = Some(self.partial(&key, level, |e| {
                let counter = e.scopes[scope].counter;
                let term = match coef {
                    Coef::Const(c) => e.times(counter, c.wrapping_mul(i64::from(scale))),
                    Coef::Param(_) => {
                        let stride = e.stride(coef, scale);
                        e.cur().ins().imul(counter, stride)
                    }
                };
                e.plus(value, term)
            }));
        }
        Sum { value, offset, level }
    }

    /// A stride in units of the scale, as a value made once at the function's start.
    pub(super) fn stride(&mut self, coef: Coef, scale: u32) -> Value {
        match coef {
            Coef::Const(c) => self.constant(types::I64, c.wrapping_mul(i64::from(scale)) as u64),
            Coef::Param(p) => {
                let key = AddressKey { buf: None, scale, offset: Some(p), terms: SmallVec::new() };
                self.partial(&key, 0, |e| {
                    let p = e.parameter(p);
                    e.times(p, i64::from(scale))
                })
            }
        }
    }

    fn partial(&mut self, key: &AddressKey, level: usize, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if let Some(a) = self.addresses.iter().find(|a| a.key == *key) {
            return a.value;
        }
        // What depends on no loop goes to the function's start, where it is available to everything.
        let (pos, valid) = if level == 0 { (Pos::Before(self.scopes[0].anchor), 0) } else { self.place(level) };
        let value = self.at(pos, make);
        self.addresses.push(Address { key: key.clone(), value, valid });
        value
    }

    fn plus(&mut self, a: Option<Value>, b: Value) -> Value {
        match a {
            Some(a) => self.cur().ins().iadd(a, b),
            None => b,
        }
    }

    /// `x * by` for an integer of 64 bits.
    pub(super) fn times(&mut self, x: Value, by: i64) -> Value {
        if by == 1 {
            x
        } else if by > 0 && by.count_ones() == 1 {
            self.cur().ins().ishl_imm_u(x, i64::from(by.trailing_zeros()))
        } else {
            self.cur().ins().imul_imm_s(x, by)
        }
    }

    /// `base + offset` with what does not fit an instruction's offset added.
    pub(super) fn fold_offset(&mut self, base: Value, offset: i64) -> (Value, i32) {
        match i32::try_from(offset) {
            Ok(offset) => (base, offset),
            Err(_) => (self.cur().ins().iadd_imm_s(base, offset), 0),
        }
    }

    /// The value of an affine expression as a register.
    pub(super) fn index(&mut self, v: V, affine: &Affine, g: usize) {
        let stride = self.vector.as_ref().map_or(Coef::Const(0), |l| affine.stride(l.var));
        if stride == Coef::Const(0) && g > 0 {
            return;
        }
        let Sum { value, offset, level } = self.sum(None, affine, 1);
        let Some(sum) = value else {
            self.regs[v.0 as usize] = Val::Const(Reg::I64, offset as u64);
            return;
        };
        let sum = if offset == 0 { sum } else { self.at_level(level, |e| e.cur().ins().iadd_imm_s(sum, offset)) };
        if stride == Coef::Const(0) {
            return self.define(v, sum, level);
        }
        let parts = self.at_level(level, |e| {
            let base = e.splat(Reg::I64, sum, level);
            let parts = (0..2).map(|part| {
                let first = (g * LANES + part * 2) as i64;
                let step = e.at_level(e.splat_level(0), |e| e.lane_steps(stride, first));
                e.cur().ins().iadd(base, step)
            });
            parts.collect::<Parts>()
        });
        self.define_lanes(v, g, parts, level);
    }

    /// `[first * stride, (first + 1) * stride]`.
    fn lane_steps(&mut self, stride: Coef, first: i64) -> Value {
        let literal = |e: &mut Self, a: i64, b: i64| {
            let bytes = ((b as u64 as u128) << 64 | a as u64 as u128).to_le_bytes();
            e.vector_literal(types::I64X2, bytes)
        };
        match stride {
            Coef::Const(c) => literal(self, first.wrapping_mul(c), (first + 1).wrapping_mul(c)),
            Coef::Param(p) => {
                let p = self.parameter(p);
                let p = self.splat(Reg::I64, p, 0);
                let n = literal(self, first, first + 1);
                self.cur().ins().imul(p, n)
            }
        }
    }

    /// Whether an access differs from lane to lane.
    fn access_varies(&self, at: &Access) -> bool {
        self.vector.as_ref().is_some_and(|l| at.affine.stride(l.var) != Coef::Const(0))
            || at.dynamic.is_some_and(|d| self.varies(d))
    }

    /// The address of an access that is the same for all lanes, or of the first lane of a contiguous one; and its level.
    pub(super) fn address(&mut self, buf: Buf, at: &Access) -> (Value, i64, usize) {
        let size = self.nest.bufs[buf.0 as usize].dtype.size() as u32;
        let Sum { value, offset, mut level } = self.sum(Some(buf), &at.affine, size);
        let mut base = value.unwrap_or(self.args);
        if let Some(d) = at.dynamic {
            level = level.max(self.level(d));
            base = self.at_level(level, |e| {
                let d = e.scalar(d);
                let d = e.times(d, i64::from(size));
                e.cur().ins().iadd(base, d)
            });
        }
        (base, offset, level)
    }

    /// The addresses of the four lanes of group `g`.
    fn lane_addresses(&mut self, buf: Buf, at: &Access, g: usize) -> [(Value, i32); LANES] {
        let size = self.nest.bufs[buf.0 as usize].dtype.size() as u32;
        let Sum { value, offset, .. } = self.sum(Some(buf), &at.affine, size);
        let base = value.unwrap_or(self.args);
        let stride = self.vector.as_ref().map_or(Coef::Const(0), |l| at.affine.stride(l.var));
        let mut running = None;
        std::array::from_fn(|lane| {
            let nth = (g * LANES + lane) as i64;
            let (mut address, mut offset) = (base, offset);
            match stride {
                Coef::Const(c) => {
                    offset = offset.wrapping_add(nth.wrapping_mul(c).wrapping_mul(i64::from(size)));
                }
                Coef::Param(_) => {
                    let step = self.stride(stride, size);
                    address = match running {
                        Some(last) => self.cur().ins().iadd(last, step),
                        None if nth == 0 => base,
                        None => {
                            let skip = self.times(step, nth);
                            self.cur().ins().iadd(base, skip)
                        }
                    };
                    running = Some(address);
                }
            }
            if let Some(d) = at.dynamic {
                let d = self.lane(d, g, lane);
                let d = self.times(d, i64::from(size));
                address = self.cur().ins().iadd(address, d);
            }
            self.fold_offset(address, offset)
        })
    }

    /// Whether the access is to consecutive elements in consecutive lanes.
    fn contiguous(&self, at: &Access) -> bool {
        let stride = self.vector.as_ref().map(|l| at.affine.stride(l.var));
        stride == Some(Coef::Const(1)) && !at.dynamic.is_some_and(|d| self.varies(d))
    }

    /// Reads group `g` of `dst`.
    pub(super) fn load(&mut self, dst: V, buf: Buf, at: &Access, g: usize) {
        let decl = self.nest.bufs[buf.0 as usize];
        if !self.access_varies(at) {
            if g > 0 {
                return;
            }
            let (base, offset, level) = self.address(buf, at);
            // A loop does not change what it does not write; its preheader runs only if the load does.
            let out = !decl.written && level < self.scope();
            let level = if out { self.scope() - 1 } else { self.scope() };
            let value = self.at_level(level, |e| {
                let (base, offset) = e.fold_offset(base, offset);
                e.load_scalar(decl.dtype, base, offset)
            });
            return self.define(dst, value, level);
        }
        let parts = if self.contiguous(at) {
            let (base, offset, _) = self.address(buf, at);
            let (base, offset) = self.fold_offset(base, offset.wrapping_add((g * LANES * decl.dtype.size()) as i64));
            self.load_group(decl.dtype, base, offset)
        } else {
            let lanes =
                self.lane_addresses(buf, at, g).map(|(base, offset)| self.load_scalar(decl.dtype, base, offset));
            self.pack(decl.dtype.reg(), lanes)
        };
        let level = self.scope();
        self.define_lanes(dst, g, parts, level);
    }

    fn load_scalar(&mut self, dtype: DType, p: Value, offset: i32) -> Value {
        let mut c = self.cur();
        match dtype {
            DType::F64 | DType::F32 | DType::I64 | DType::I32 => {
                c.ins().load(Self::scalar_type(dtype.reg()), PLAIN, p, offset)
            }
            DType::I16 => c.ins().sload16(types::I32, PLAIN, p, offset),
            DType::I8 => c.ins().sload8(types::I32, PLAIN, p, offset),
            DType::U8 => c.ins().uload8(types::I32, PLAIN, p, offset),
            DType::Bool => {
                let byte = c.ins().uload8(types::I32, PLAIN, p, offset);
                c.ins().icmp_imm_s(IntCC::NotEqual, byte, 0)
            }
            DType::F16 | DType::BF16 => {
                let bits = c.ins().uload16(types::I32, PLAIN, p, offset);
                self.from_half(dtype, bits)
            }
        }
    }

    fn load_group(&mut self, dtype: DType, p: Value, offset: i32) -> Parts {
        let ty = lane_type(dtype.reg());
        let mut c = self.cur();
        match dtype {
            DType::F32 | DType::I32 => smallvec![c.ins().load(ty, PLAIN, p, offset)],
            DType::F64 | DType::I64 => {
                let lo = c.ins().load(ty, PLAIN, p, offset);
                let (p, offset) = self.fold_offset(p, i64::from(offset) + 16);
                smallvec![lo, self.cur().ins().load(ty, PLAIN, p, offset)]
            }
            DType::F16 | DType::BF16 => {
                let bits = c.ins().uload16x4(PLAIN, p, offset);
                smallvec![self.from_half(dtype, bits)]
            }
            DType::I16 => smallvec![c.ins().sload16x4(PLAIN, p, offset)],
            DType::I8 | DType::U8 | DType::Bool => {
                let word = c.ins().load(types::I32, PLAIN, p, offset);
                let word = c.ins().scalar_to_vector(types::I32X4, word);
                let bytes = c.ins().bitcast(types::I8X16, LITTLE, word);
                let wide = if dtype == DType::I8 {
                    let half = c.ins().swiden_low(bytes);
                    c.ins().swiden_low(half)
                } else {
                    let half = c.ins().uwiden_low(bytes);
                    c.ins().uwiden_low(half)
                };
                if dtype != DType::Bool {
                    return smallvec![wide];
                }
                let zero = self.constant_like(wide, 0);
                smallvec![self.cur().ins().icmp(IntCC::NotEqual, wide, zero)]
            }
        }
    }

    /// Writes group `g` of `value`.
    pub(super) fn store(&mut self, buf: Buf, at: &Access, value: V, g: usize) {
        let dtype = self.nest.bufs[buf.0 as usize].dtype;
        if !self.access_varies(at) && !self.varies(value) {
            if g > 0 {
                return;
            }
            let (base, offset, _) = self.address(buf, at);
            let (base, offset) = self.fold_offset(base, offset);
            let x = self.scalar(value);
            return self.store_scalar(dtype, x, base, offset);
        }
        if self.contiguous(at) {
            let (base, offset, _) = self.address(buf, at);
            let (base, offset) = self.fold_offset(base, offset.wrapping_add((g * LANES * dtype.size()) as i64));
            let parts = self.group(value, g);
            return self.store_group(dtype, &parts, base, offset);
        }
        for (lane, (base, offset)) in self.lane_addresses(buf, at, g).into_iter().enumerate() {
            let x = self.lane(value, g, lane);
            self.store_scalar(dtype, x, base, offset);
        }
    }

    fn store_scalar(&mut self, dtype: DType, x: Value, p: Value, offset: i32) {
        let x = if dtype.is_half() { self.to_half(dtype, x) } else { x };
        let mut c = self.cur();
        match dtype {
            DType::F64 | DType::F32 | DType::I64 | DType::I32 | DType::Bool => c.ins().store(PLAIN, x, p, offset),
            DType::F16 | DType::BF16 | DType::I16 => c.ins().istore16(PLAIN, x, p, offset),
            DType::I8 | DType::U8 => c.ins().istore8(PLAIN, x, p, offset),
        };
    }

    fn store_group(&mut self, dtype: DType, parts: &Parts, p: Value, offset: i32) {
        let x = if dtype == DType::Bool { self.mask(parts, 1)[0] } else { parts[0] };
        match dtype {
            DType::F32 | DType::I32 => {
                self.cur().ins().store(PLAIN, x, p, offset);
            }
            DType::F64 | DType::I64 => {
                self.cur().ins().store(PLAIN, x, p, offset);
                let (p, offset) = self.fold_offset(p, i64::from(offset) + 16);
                self.cur().ins().store(PLAIN, parts[1], p, offset);
            }
            DType::F16 | DType::BF16 => {
                let bits = self.to_half(dtype, x);
                let narrow = self.cur().ins().unarrow(bits, bits);
                self.store_low(types::F64X2, narrow, p, offset);
            }
            DType::I16 => {
                let narrow = self.cur().ins().snarrow(x, x);
                self.store_low(types::F64X2, narrow, p, offset);
            }
            DType::I8 | DType::U8 | DType::Bool => {
                let half = self.cur().ins().snarrow(x, x);
                let narrow = match dtype {
                    DType::U8 => self.cur().ins().unarrow(half, half),
                    _ => self.cur().ins().snarrow(half, half),
                };
                let narrow = if dtype == DType::Bool {
                    let one = self.constant_like(narrow, 1);
                    self.cur().ins().band(narrow, one)
                } else {
                    narrow
                };
                self.store_low(types::F32X4, narrow, p, offset);
            }
        }
    }

    /// Stores lane 0 of `x` taken as type `ty`.
    fn store_low(&mut self, ty: types::Type, x: Value, p: Value, offset: i32) {
        let x = self.cast(ty, x);
        let low = self.cur().ins().extractlane(x, 0);
        self.cur().ins().store(PLAIN, low, p, offset);
    }
}

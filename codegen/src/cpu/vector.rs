//! Values of four lanes on 128-bit registers: types, constants, splats, masks, single lanes.
//!
//! A vector loop works on groups of four iterations. In a group a 32-bit register is one 128-bit value and a 64-bit one
//! is two; 8- and 16-bit integers are held in 32-bit lanes, sign- or zero-extended as their type says. A truth value is
//! a mask with all bits of a lane equal, in 32-bit lanes or (from comparing 64-bit values) in 64-bit lanes; it changes
//! width only when it meets the other kind.

use super::emit::Emitter;
use super::value::{Parts, Val};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Value, types};
use smallvec::smallvec;
use tensorc_ir::scalar::{Reg, V};

/// Lanes of a group.
pub(super) const LANES: usize = 4;

/// Bitcasts between vectors count lanes from the low end.
pub(super) const LITTLE: MemFlagsData = MemFlagsData::new().with_endianness(Endianness::Little);

/// A vector made from a scalar or a constant in front of the vector loop, to be used again.
pub(super) struct Splat {
    pub(super) what: SplatOf,
    pub(super) value: Value,
    /// The scope that has to be open for the value to be available.
    pub(super) valid: usize,
}

/// What a [`Splat`] was made from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SplatOf {
    Scalar(Value),
    Constant(types::Type, u64),
}

/// The vector type of a register's lanes (masks: the 32-bit form).
pub(super) fn lane_type(reg: Reg) -> types::Type {
    match reg {
        Reg::F64 => types::F64X2,
        Reg::F32 => types::F32X4,
        Reg::I64 => types::I64X2,
        Reg::I32 | Reg::I16 | Reg::I8 | Reg::U8 | Reg::Bool => types::I32X4,
    }
}

/// How many values a group of that register type has.
pub(super) fn parts_of(reg: Reg) -> usize {
    if reg.bits() == 64 { 2 } else { 1 }
}

impl Emitter<'_> {
    /// Whether `v` has several lanes.
    pub(super) fn is_vector(&self, v: Value) -> bool {
        self.func.dfg.value_type(v).is_vector()
    }

    /// The level of code that is written once per vector loop, in its preheader.
    pub(super) fn splat_level(&self, level: usize) -> usize {
        self.vector.as_ref().map_or(self.scope(), |v| level.max(v.scope - 1))
    }

    /// All lanes of vector type `ty` set to the bits `bits`; in a vector loop made in front of it.
    pub(super) fn vector_constant(&mut self, ty: types::Type, bits: u64) -> Value {
        let what = SplatOf::Constant(ty, bits);
        let level = self.splat_level(0);
        self.cached_splat(what, level, |e| {
            let lane = &bits.to_le_bytes()[..ty.lane_bits() as usize / 8];
            let constant = e.func.dfg.constants.insert(ConstantData::from(&lane.repeat(16 / lane.len())[..]));
            e.cur().ins().vconst(ty, constant)
        })
    }

    fn cached_splat(&mut self, what: SplatOf, level: usize, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if self.vector.is_none() {
            return make(self);
        }
        if let Some(s) = self.splats.iter().find(|s| s.what == what) {
            return s.value;
        }
        let (_, valid) = self.place(level);
        let value = self.at_level(level, make);
        self.splats.push(Splat { what, value, valid });
        value
    }

    /// A vector constant with its own bits in every lane.
    pub(super) fn vector_literal(&mut self, ty: types::Type, bytes: [u8; 16]) -> Value {
        let constant = self.func.dfg.constants.insert(ConstantData::from(&bytes[..]));
        self.cur().ins().vconst(ty, constant)
    }

    /// The scalar `value` of type `reg` in all lanes.
    pub(super) fn splat(&mut self, reg: Reg, value: Value, level: usize) -> Value {
        let level = self.splat_level(level);
        self.cached_splat(SplatOf::Scalar(value), level, |e| {
            let value = if reg == Reg::Bool { e.scalar_to_mask_lane(value) } else { value };
            e.cur().ins().splat(lane_type(reg), value)
        })
    }

    /// Group `g` of a register, as lanes whatever it is.
    pub(super) fn group(&mut self, v: V, g: usize) -> Parts {
        let reg = self.reg(v);
        let one = match self.val(v) {
            Val::Lanes(groups, _) => return groups[g].clone(),
            Val::Const(_, bits) => {
                let bits = if reg == Reg::Bool && *bits != 0 { u64::MAX } else { *bits };
                self.vector_constant(lane_type(reg), bits)
            }
            Val::Uniform(value, level) => {
                let (value, level) = (*value, *level);
                self.splat(reg, value, level)
            }
            Val::None => self.vector_constant(lane_type(reg), 0),
        };
        Parts::from_elem(one, parts_of(reg))
    }

    /// Lane `lane` of group `g` of a register, as a scalar.
    pub(super) fn lane(&mut self, v: V, g: usize, lane: usize) -> Value {
        match self.val(v) {
            Val::Lanes(groups, _) => {
                let parts = groups[g].clone();
                self.extract(self.reg(v), &parts, lane)
            }
            Val::None | Val::Const(..) | Val::Uniform(..) => self.scalar(v),
        }
    }

    /// Lane `lane` of a group of type `reg`, as a scalar.
    pub(super) fn extract(&mut self, reg: Reg, parts: &Parts, lane: usize) -> Value {
        let per = LANES / parts.len();
        let x = self.cur().ins().extractlane(parts[lane / per], (lane % per) as u8);
        if reg != Reg::Bool {
            return x;
        }
        self.cur().ins().icmp_imm_s(IntCC::NotEqual, x, 0)
    }

    /// A group of type `reg` from four scalars.
    pub(super) fn pack(&mut self, reg: Reg, lanes: [Value; LANES]) -> Parts {
        let ty = lane_type(reg);
        let lanes = if reg == Reg::Bool { lanes.map(|x| self.scalar_to_mask_lane(x)) } else { lanes };
        let per = ty.lane_count() as usize;
        let pack = |e: &mut Self, lanes: &[Value]| {
            let mut v = e.cur().ins().scalar_to_vector(ty, lanes[0]);
            for (i, x) in lanes.iter().enumerate().skip(1) {
                v = e.cur().ins().insertlane(v, *x, i as u8);
            }
            v
        };
        lanes.chunks(per).map(|chunk| pack(self, chunk)).collect()
    }

    /// A truth value 0 or 1 as 0 or -1 in 32 bits.
    pub(super) fn scalar_to_mask_lane(&mut self, x: Value) -> Value {
        self.cur().ins().bmask(types::I32, x)
    }

    /// The two values of `parts` at lanes 0 and 2 of each, as one value of 32-bit lanes: the low halves of four 64-bit
    /// lanes.
    pub(super) fn low_halves(&mut self, parts: &Parts) -> Value {
        let (a, b) = (self.cast(types::I8X16, parts[0]), self.cast(types::I8X16, parts[1]));
        let r = self.shuffle(a, b, [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27]);
        self.cast(types::I32X4, r)
    }

    /// A byte shuffle of two `I8X16`.
    pub(super) fn shuffle(&mut self, a: Value, b: Value, bytes: [u8; 16]) -> Value {
        let mask = self.func.dfg.immediates.push(ConstantData::from(&bytes[..]));
        self.cur().ins().shuffle(a, b, mask)
    }

    /// The bits of `v` as machine type `ty`.
    pub(super) fn cast(&mut self, ty: types::Type, v: Value) -> Value {
        let from = self.func.dfg.value_type(v);
        if from == ty {
            v
        } else if ty.is_vector() {
            self.cur().ins().bitcast(ty, LITTLE, v)
        } else {
            self.cur().ins().bitcast(ty, MemFlagsData::new(), v)
        }
    }

    /// Two parts of 64-bit integers from the four sign-extended lanes of one of 32-bit integers.
    pub(super) fn widen(&mut self, v: Value) -> Parts {
        let lo = self.cur().ins().swiden_low(v);
        let hi = self.cur().ins().swiden_high(v);
        smallvec![lo, hi]
    }

    /// A mask (or a scalar truth value, unchanged) as a group of `n` parts.
    pub(super) fn mask(&mut self, m: &Parts, n: usize) -> Parts {
        match (m.len(), n) {
            (1, 2) if self.is_vector(m[0]) => self.widen(m[0]),
            (2, 1) => smallvec![self.low_halves(m)],
            _ => m.clone(),
        }
    }

    /// Brings two masks to the same width.
    pub(super) fn same_width(&mut self, a: Parts, b: Parts) -> (Parts, Parts) {
        if a.len() == b.len() { (a, b) } else { (self.mask(&a, 1), self.mask(&b, 1)) }
    }

    /// `if c { a } else { b }` on one value, where `c` is a truth value of the same shape.
    pub(super) fn pick(&mut self, c: Value, a: Value, b: Value) -> Value {
        if !self.is_vector(c) {
            return self.cur().ins().select(c, a, b);
        }
        let ty = self.func.dfg.value_type(a);
        let c = self.cast(ty, c);
        self.cur().ins().bitselect(c, a, b)
    }

    /// `if c { a } else { b }` on groups of type `reg`.
    pub(super) fn pick_group(&mut self, reg: Reg, c: &Parts, a: &Parts, b: &Parts) -> Parts {
        let (a, b) = if reg == Reg::Bool { self.same_width(a.clone(), b.clone()) } else { (a.clone(), b.clone()) };
        let c = self.mask(c, a.len());
        (0..a.len()).map(|i| self.pick(c[i], a[i], b[i])).collect()
    }

    /// Not of a truth value of either shape.
    pub(super) fn not(&mut self, c: Value) -> Value {
        if self.is_vector(c) { self.cur().ins().bnot(c) } else { self.cur().ins().bxor_imm_u(c, 1) }
    }

    /// Runs `f` for each lane of group `g` with the scalars of `args`, and packs what it gives.
    pub(super) fn lane_by_lane(
        &mut self,
        out: Reg,
        args: &[V],
        g: usize,
        mut f: impl FnMut(&mut Self, &[Value]) -> Value,
    ) -> Parts {
        let lanes = std::array::from_fn(|lane| {
            let args: smallvec::SmallVec<[Value; 3]> = args.iter().map(|a| self.lane(*a, g, lane)).collect();
            f(self, &args)
        });
        self.pack(out, lanes)
    }
}

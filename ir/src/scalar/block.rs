//! [`Block`]: a list of scalar instructions that grows by methods with the instructions' names.
//!
//! Pure instructions are hash-consed within the block's current scope, so asking twice for `exp(x)` or for a constant
//! gives the same register. Constants do not fold here: what a row writes is what runs, in every backend.

use super::{Bin, Cmp, Fault, Inst, Reg, Un, V};
use crate::dtype::{DType, Scalar};
use std::collections::HashMap;

/// Straight-line scalar code under construction.
#[derive(Clone, Debug, Default)]
pub struct Block {
    types: Vec<Reg>,
    insts: Vec<(V, Inst)>,
    seen: HashMap<Inst, V>,
}

impl Block {
    /// An empty block.
    pub fn new() -> Block {
        Block::default()
    }

    /// The instructions written so far and not taken, in order.
    pub fn insts(&self) -> &[(V, Inst)] {
        &self.insts
    }

    /// Takes the instructions written since the last call; their registers stay valid.
    pub fn take(&mut self) -> Vec<(V, Inst)> {
        std::mem::take(&mut self.insts)
    }

    /// The table of expressions already written; save it before a nested scope and give it back after with
    /// [`Block::restore`], so that nothing computed inside is reused outside.
    pub fn save(&self) -> HashMap<Inst, V> {
        self.seen.clone()
    }

    /// Forgets what was written since [`Block::save`].
    pub fn restore(&mut self, seen: HashMap<Inst, V>) {
        self.seen = seen;
    }

    /// The type of a register.
    pub fn ty(&self, v: V) -> Reg {
        self.types[v.0 as usize]
    }

    /// The number of registers so far.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether no register exists yet.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// A new register that some statement outside this block defines (a load, a loop index, an accumulator).
    pub fn fresh(&mut self, ty: Reg) -> V {
        self.types.push(ty);
        V(self.types.len() as u32 - 1)
    }

    fn push(&mut self, ty: Reg, inst: Inst) -> V {
        if let Some(v) = self.seen.get(&inst) {
            return *v;
        }
        let v = self.fresh(ty);
        self.insts.push((v, inst));
        self.seen.insert(inst, v);
        v
    }

    /// A value from outside; each call is a new one.
    pub fn param(&mut self, ty: Reg) -> V {
        let v = self.fresh(ty);
        self.insts.push((v, Inst::Param(ty)));
        v
    }

    /// The constant `v` in type `ty`.
    pub fn scalar(&mut self, ty: Reg, v: Scalar) -> V {
        if ty.is_float() { self.float(ty, v.to_f64()) } else { self.int(ty, v.to_i64()) }
    }

    /// A float constant of type `ty`, rounded to it; if `ty` is an integer type, the truncated value.
    pub fn float(&mut self, ty: Reg, v: f64) -> V {
        match ty {
            Reg::F64 => self.push(ty, Inst::Const(ty, v.to_bits())),
            Reg::F32 => self.push(ty, Inst::Const(ty, (v as f32).to_bits() as u64)),
            _ => self.int(ty, v as i64),
        }
    }

    /// An integer constant of type `ty`, wrapped to it; if `ty` is a float type, the rounded value.
    pub fn int(&mut self, ty: Reg, v: i64) -> V {
        let bits = match ty {
            Reg::F64 => (v as f64).to_bits(),
            Reg::F32 => (v as f32).to_bits() as u64,
            Reg::I64 => v as u64,
            Reg::I32 => v as i32 as i64 as u64,
            Reg::I16 => v as i16 as i64 as u64,
            Reg::I8 => v as i8 as i64 as u64,
            Reg::U8 => v as u8 as u64,
            Reg::Bool => (v != 0) as u64,
        };
        self.push(ty, Inst::Const(ty, bits))
    }

    /// A truth value.
    pub fn bool(&mut self, v: bool) -> V {
        self.push(Reg::Bool, Inst::Const(Reg::Bool, v as u64))
    }

    fn un(&mut self, op: Un, a: V) -> V {
        self.push(self.ty(a), Inst::Un(op, a))
    }

    fn bin(&mut self, op: Bin, a: V, b: V) -> V {
        debug_assert_eq!(self.ty(a), self.ty(b), "{op:?}");
        self.push(self.ty(a), Inst::Bin(op, a, b))
    }

    fn cmp(&mut self, op: Cmp, a: V, b: V) -> V {
        debug_assert_eq!(self.ty(a), self.ty(b), "{op:?}");
        self.push(Reg::Bool, Inst::Cmp(op, a, b))
    }

    /// `a * b + c`, rounded once.
    pub fn fma(&mut self, a: V, b: V, c: V) -> V {
        self.push(self.ty(a), Inst::Fma(a, b, c))
    }

    /// `if c { a } else { b }`.
    pub fn select(&mut self, c: V, a: V, b: V) -> V {
        debug_assert_eq!(self.ty(a), self.ty(b), "select");
        self.push(self.ty(a), Inst::Select(c, a, b))
    }

    /// `a` as a number of type `ty`; `a` itself if it has that type.
    pub fn convert(&mut self, ty: Reg, a: V) -> V {
        if self.ty(a) == ty { a } else { self.push(ty, Inst::Convert(ty, a)) }
    }

    /// The bits of `a` as type `ty` of the same width.
    pub fn bitcast(&mut self, ty: Reg, a: V) -> V {
        debug_assert_eq!(self.ty(a).bits(), ty.bits(), "bitcast");
        if self.ty(a) == ty { a } else { self.push(ty, Inst::Bitcast(ty, a)) }
    }

    /// `a` (of type `F32`) rounded to `f16` or `bf16`; `a` itself for any other dtype.
    pub fn round_to(&mut self, dtype: DType, a: V) -> V {
        if dtype.is_half() { self.push(Reg::F32, Inst::Round(dtype, a)) } else { a }
    }

    /// Records `fault` if `cond` is true.
    pub fn check(&mut self, fault: Fault, cond: V) {
        self.push(Reg::Bool, Inst::Check(fault, cond));
    }
}

macro_rules! methods {
    ($kind:ident, $op:ident: $($(#[$doc:meta])* $name:ident = $variant:ident($($arg:ident),*);)*) => {
        impl Block {
            $($(#[$doc])* pub fn $name(&mut self, $($arg: V),*) -> V {
                self.$kind($op::$variant, $($arg),*)
            })*
        }
    };
}

methods! { un, Un:
    /// [`Un::Neg`].
    neg = Neg(a);
    /// [`Un::Abs`].
    abs = Abs(a);
    /// [`Un::Sqrt`].
    sqrt = Sqrt(a);
    /// [`Un::Floor`].
    floor = Floor(a);
    /// [`Un::Ceil`].
    ceil = Ceil(a);
    /// [`Un::Trunc`].
    trunc = Trunc(a);
    /// [`Un::Nearest`].
    nearest = Nearest(a);
    /// [`Un::Not`].
    not = Not(a);
}

methods! { bin, Bin:
    /// [`Bin::Add`].
    add = Add(a, b);
    /// [`Bin::Sub`].
    sub = Sub(a, b);
    /// [`Bin::Mul`].
    mul = Mul(a, b);
    /// [`Bin::Div`].
    div = Div(a, b);
    /// [`Bin::Rem`].
    rem = Rem(a, b);
    /// [`Bin::Min`].
    min = Min(a, b);
    /// [`Bin::Max`].
    max = Max(a, b);
    /// [`Bin::And`].
    and = And(a, b);
    /// [`Bin::Or`].
    or = Or(a, b);
    /// [`Bin::Xor`].
    xor = Xor(a, b);
    /// [`Bin::Shl`].
    shl = Shl(a, b);
    /// [`Bin::Shr`].
    shr = Shr(a, b);
    /// [`Bin::UShr`].
    ushr = UShr(a, b);
}

methods! { cmp, Cmp:
    /// [`Cmp::Eq`].
    eq = Eq(a, b);
    /// [`Cmp::Ne`].
    ne = Ne(a, b);
    /// [`Cmp::Lt`].
    lt = Lt(a, b);
    /// [`Cmp::Le`].
    le = Le(a, b);
}

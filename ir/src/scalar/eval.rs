//! The meaning of the scalar IR: evaluates instructions one element at a time.
//!
//! This is the truth that every backend is tested against. Values are 64 bits as in [`Inst::Const`]. Faults are
//! collected, not thrown, so that the caller decides what is lost.

use super::{Bin, Cmp, Fault, Inst, Reg, Un, V};
use crate::dtype::{DType, Scalar, float_to_i64};

/// The bits of an element in its register.
pub fn to_bits(s: Scalar) -> u64 {
    match s.dtype.reg() {
        Reg::F64 => s.to_f64().to_bits(),
        Reg::F32 => (s.to_f64() as f32).to_bits() as u64,
        _ => s.to_i64() as u64,
    }
}

/// The element of dtype `dtype` held in register bits `b`.
pub fn from_bits(dtype: DType, b: u64) -> Scalar {
    match dtype.reg() {
        Reg::F64 => Scalar::from_f64(dtype, f64::from_bits(b)),
        Reg::F32 => Scalar::from_f64(dtype, f32::from_bits(b as u32) as f64),
        _ => Scalar::from_i64(dtype, b as i64),
    }
}

/// Evaluates `insts` into `regs` (indexed by register); `Param`s are read from `regs` where the caller put them.
/// Returns the first fault, if any check failed.
pub fn run(insts: &[(V, Inst)], types: impl Fn(V) -> Reg, regs: &mut [u64]) -> Option<Fault> {
    let mut fault = None;
    for (v, inst) in insts {
        let get = |x: V| regs[x.0 as usize];
        let r = match *inst {
            Inst::Param(_) => continue,
            Inst::Const(_, bits) => bits,
            Inst::Un(op, a) => unary(op, types(a), get(a)),
            Inst::Bin(op, a, b) => binary(op, types(a), get(a), get(b)),
            Inst::Cmp(op, a, b) => compare(op, types(a), get(a), get(b)) as u64,
            Inst::Fma(a, b, c) => match types(a) {
                Reg::F32 => f32s(get(a)).mul_add(f32s(get(b)), f32s(get(c))).to_bits() as u64,
                _ => f64::from_bits(get(a)).mul_add(f64::from_bits(get(b)), f64::from_bits(get(c))).to_bits(),
            },
            Inst::Select(c, a, b) => {
                if get(c) != 0 {
                    get(a)
                } else {
                    get(b)
                }
            }
            Inst::Convert(to, a) => convert(types(a), to, get(a)),
            Inst::Bitcast(to, a) => match to {
                Reg::I32 => get(a) as u32 as i32 as i64 as u64,
                Reg::F32 => get(a) as u32 as u64,
                _ => get(a),
            },
            Inst::Round(dtype, a) => round_half(dtype, f32s(get(a))).to_bits() as u64,
            Inst::Check(f, c) => {
                if get(c) != 0 && fault.is_none() {
                    fault = Some(f);
                }
                0
            }
        };
        regs[v.0 as usize] = r;
    }
    fault
}

fn f32s(b: u64) -> f32 {
    f32::from_bits(b as u32)
}

/// `v` rounded to `f16` or `bf16`, nearest even, as an `f32`.
pub fn round_half(dtype: DType, v: f32) -> f32 {
    if dtype == DType::F16 { half::f16::from_f32(v).to_f32() } else { half::bf16::from_f32(v).to_f32() }
}

/// Wraps an integer to the type's width, extended back to 64 bits.
pub fn wrap(ty: Reg, v: i64) -> u64 {
    (match ty {
        Reg::I32 => v as i32 as i64,
        Reg::I16 => v as i16 as i64,
        Reg::I8 => v as i8 as i64,
        Reg::U8 => v as u8 as i64,
        Reg::Bool => v & 1,
        _ => v,
    }) as u64
}

fn unary(op: Un, ty: Reg, a: u64) -> u64 {
    match ty {
        Reg::F32 => {
            let x = f32s(a);
            let r = match op {
                Un::Neg => -x,
                Un::Abs => x.abs(),
                Un::Sqrt => x.sqrt(),
                Un::Floor => x.floor(),
                Un::Ceil => x.ceil(),
                Un::Trunc => x.trunc(),
                Un::Nearest => x.round_ties_even(),
                Un::Not => return !a & 0xffff_ffff,
            };
            r.to_bits() as u64
        }
        Reg::F64 => {
            let x = f64::from_bits(a);
            let r = match op {
                Un::Neg => -x,
                Un::Abs => x.abs(),
                Un::Sqrt => x.sqrt(),
                Un::Floor => x.floor(),
                Un::Ceil => x.ceil(),
                Un::Trunc => x.trunc(),
                Un::Nearest => x.round_ties_even(),
                Un::Not => return !a,
            };
            r.to_bits()
        }
        _ => {
            let x = a as i64;
            match op {
                Un::Neg => wrap(ty, x.wrapping_neg()),
                Un::Abs => wrap(ty, x.wrapping_abs()),
                Un::Not if ty == Reg::Bool => (x == 0) as u64,
                Un::Not => wrap(ty, !x),
                Un::Sqrt | Un::Floor | Un::Ceil | Un::Trunc | Un::Nearest => a,
            }
        }
    }
}

macro_rules! float_bin {
    ($op:expr, $x:expr, $y:expr) => {
        match $op {
            Bin::Add => $x + $y,
            Bin::Sub => $x - $y,
            Bin::Mul => $x * $y,
            Bin::Div => $x / $y,
            Bin::Rem => $x % $y,
            Bin::Min => {
                if $x < $y {
                    $x
                } else {
                    $y
                }
            }
            Bin::Max => {
                if $y < $x {
                    $x
                } else {
                    $y
                }
            }
            Bin::And | Bin::Or | Bin::Xor | Bin::Shl | Bin::Shr | Bin::UShr => $y,
        }
    };
}

fn binary(op: Bin, ty: Reg, a: u64, b: u64) -> u64 {
    match ty {
        Reg::F32 => float_bin!(op, f32s(a), f32s(b)).to_bits() as u64,
        Reg::F64 => float_bin!(op, f64::from_bits(a), f64::from_bits(b)).to_bits(),
        _ => {
            let (x, y) = (a as i64, b as i64);
            let r = match op {
                Bin::Add => x.wrapping_add(y),
                Bin::Sub => x.wrapping_sub(y),
                Bin::Mul => x.wrapping_mul(y),
                Bin::Div => x.checked_div(y).unwrap_or(if y == 0 { 0 } else { i64::MIN }),
                Bin::Rem => x.checked_rem(y).unwrap_or(0),
                Bin::Min => {
                    if x < y {
                        x
                    } else {
                        y
                    }
                }
                Bin::Max => {
                    if y < x {
                        x
                    } else {
                        y
                    }
                }
                Bin::And => x & y,
                Bin::Or => x | y,
                Bin::Xor => x ^ y,
                Bin::Shl => x.wrapping_shl(y as u32),
                Bin::Shr => x.wrapping_shr(y as u32),
                Bin::UShr => {
                    let mask = if ty.bits() == 64 { u64::MAX } else { (1u64 << ty.bits()) - 1 };
                    ((a & mask) >> (y as u32 & 63)) as i64
                }
            };
            wrap(ty, r)
        }
    }
}

fn compare(op: Cmp, ty: Reg, a: u64, b: u64) -> bool {
    macro_rules! cmp {
        ($x:expr, $y:expr) => {
            match op {
                Cmp::Eq => $x == $y,
                Cmp::Ne => $x != $y,
                Cmp::Lt => $x < $y,
                Cmp::Le => $x <= $y,
            }
        };
    }
    match ty {
        Reg::F32 => cmp!(f32s(a), f32s(b)),
        Reg::F64 => cmp!(f64::from_bits(a), f64::from_bits(b)),
        _ => cmp!(a as i64, b as i64),
    }
}

fn convert(from: Reg, to: Reg, a: u64) -> u64 {
    match (from, to) {
        (Reg::F32, Reg::F64) => (f32s(a) as f64).to_bits(),
        (Reg::F64, Reg::F32) => (f64::from_bits(a) as f32).to_bits() as u64,
        (Reg::F32, Reg::Bool) => (f32s(a) != 0.0) as u64,
        (Reg::F64, Reg::Bool) => (f64::from_bits(a) != 0.0) as u64,
        (Reg::F32, Reg::F32) | (Reg::F64, Reg::F64) => a,
        (Reg::F32, _) => wrap(to, float_to_i64(f32s(a) as f64)),
        (Reg::F64, _) => wrap(to, float_to_i64(f64::from_bits(a))),
        (_, Reg::F32) => (a as i64 as f32).to_bits() as u64,
        (_, Reg::F64) => (a as i64 as f64).to_bits(),
        (_, Reg::Bool) => (a != 0) as u64,
        (_, _) => wrap(to, a as i64),
    }
}

//! Accuracy and special values of every elementary function, by running its code in the interpreter.
//!
//! `f32` results are measured against binary64 functions of pxfm (error far below a unit in the last place of `f32`),
//! so their error is a real number; `f64` results against the same functions, which are within about half a unit, so
//! their error is counted in whole units.

mod seams;
mod special;
mod ulp;
mod units;

use super::MATH;
use crate::scalar::{Bin, Block, Inst, Reg, V};

/// Vector units have no integer multiplication of 64 bits, no conversion between `f64` and integers and no shift by a
/// different amount in each lane; the functions do without, and without leaving their type's width.
#[test]
fn code_uses_only_what_vectors_have() {
    for f in MATH {
        for ty in [Reg::F32, Reg::F64] {
            let mut b = Block::new();
            let args: Vec<V> = (0..f.arity).map(|_| b.param(ty)).collect();
            let result = (f.f)(&mut b, &args);
            assert_eq!(b.ty(result), ty, "{}", f.name);
            let is_constant = |v: V| b.insts().iter().any(|(w, i)| *w == v && matches!(i, Inst::Const(..)));
            for (v, inst) in b.insts() {
                let fine = match inst {
                    Inst::Convert(..) | Inst::Round(..) | Inst::Check(..) => false,
                    Inst::Bin(Bin::Mul | Bin::Div | Bin::Shr, ..) => b.ty(*v).is_float(),
                    Inst::Bin(Bin::Shl | Bin::UShr, _, by) => is_constant(*by),
                    Inst::Bin(Bin::Rem, ..) => ["fmod", "remainder", "floor_divide"].contains(&f.name),
                    Inst::Param(_)
                    | Inst::Const(..)
                    | Inst::Un(..)
                    | Inst::Bin(..)
                    | Inst::Cmp(..)
                    | Inst::Fma(..)
                    | Inst::Select(..)
                    | Inst::Bitcast(..) => true,
                };
                assert!(fine && [ty.bits(), 8].contains(&b.ty(*v).bits()), "{}: {v} = {inst}", f.name);
            }
        }
    }
}

/// Code is shared: a second use of a function costs nothing, and sine and cosine share the reduction.
#[test]
fn equal_code_is_written_once() {
    let mut b = Block::new();
    let x = b.param(Reg::F32);
    let s = super::sin(&mut b, x);
    let n = b.len();
    assert_eq!(super::sin(&mut b, x), s);
    assert_eq!(b.len(), n);
    super::cos(&mut b, x);
    assert!(b.len() - n < 12, "{} more instructions", b.len() - n);
}

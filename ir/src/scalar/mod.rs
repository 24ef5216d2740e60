//! The scalar IR: straight-line code on single elements, the one language in which every elementwise function is defined.
//!
//! A row of the op table (`exp`, `tanh`, `maximum`, …) is a function that appends instructions to a [`Block`]; the
//! reference interpreter evaluates those instructions ([`eval`]), the code generators spell them. So no backend knows
//! `tanh`, and all of them agree to the bit: every instruction here is exact or correctly rounded in IEEE 754.
//!
//! Registers hold [`Reg`] types. `f16` and `bf16` have no registers: they are widened to `f32` on load and rounded by
//! [`Inst::Round`]. Integers narrower than 32 bits have registers and wrap. The block hash-conses, so a constant or a
//! shared subexpression is written once.

mod block;
pub mod eval;
#[expect(clippy::approx_constant, reason = "constants rounded for f32, and split into sums of two")]
pub mod math;
pub mod print;

pub use block::Block;

use crate::dtype::DType;
use std::fmt;

/// A register: an index into [`Block`]'s values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct V(pub u32);

impl fmt::Debug for V {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// The type of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reg {
    /// binary64.
    F64,
    /// binary32; also holds `f16` and `bf16` values.
    F32,
    /// 64-bit integer, wrapping.
    I64,
    /// 32-bit integer, wrapping.
    I32,
    /// 16-bit integer, wrapping.
    I16,
    /// 8-bit integer, wrapping.
    I8,
    /// Unsigned 8-bit integer, wrapping.
    U8,
    /// Truth value.
    Bool,
}

impl Reg {
    /// The name printed in loop nests.
    pub fn name(self) -> &'static str {
        match self {
            Reg::F64 => "f64",
            Reg::F32 => "f32",
            Reg::I64 => "i64",
            Reg::I32 => "i32",
            Reg::I16 => "i16",
            Reg::I8 => "i8",
            Reg::U8 => "u8",
            Reg::Bool => "bool",
        }
    }

    /// Whether this is `F64` or `F32`.
    pub fn is_float(self) -> bool {
        matches!(self, Reg::F64 | Reg::F32)
    }

    /// Bits of the type's value (8 for bool).
    pub fn bits(self) -> u32 {
        match self {
            Reg::F64 | Reg::I64 => 64,
            Reg::F32 | Reg::I32 => 32,
            Reg::I16 => 16,
            Reg::I8 | Reg::U8 | Reg::Bool => 8,
        }
    }
}

impl DType {
    /// The register type that holds an element of this dtype.
    pub fn reg(self) -> Reg {
        match self {
            DType::F64 => Reg::F64,
            DType::F32 | DType::F16 | DType::BF16 => Reg::F32,
            DType::I64 => Reg::I64,
            DType::I32 => Reg::I32,
            DType::I16 => Reg::I16,
            DType::I8 => Reg::I8,
            DType::U8 => Reg::U8,
            DType::Bool => Reg::Bool,
        }
    }
}

/// Instructions with one operand. The result has the operand's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Un {
    /// Negation: flips a float's sign bit (also of NaN and zero); wraps on integers.
    Neg,
    /// Clears a float's sign bit; wraps on integers (`abs(MIN) = MIN`).
    Abs,
    /// Square root, floats only, correctly rounded.
    Sqrt,
    /// Round toward minus infinity, floats only.
    Floor,
    /// Round toward plus infinity, floats only.
    Ceil,
    /// Round toward zero, floats only.
    Trunc,
    /// Round to nearest, ties to even, floats only.
    Nearest,
    /// Bitwise complement on integers, logical not on bool.
    Not,
}

/// Instructions with two operands of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bin {
    /// Addition; integers wrap.
    Add,
    /// Subtraction; integers wrap.
    Sub,
    /// Multiplication; integers wrap.
    Mul,
    /// Floats: division. Integers: quotient truncated toward zero; the divisor must not be 0, and `MIN / -1` is `MIN`.
    Div,
    /// Integers: remainder of [`Bin::Div`] (sign of the dividend); the divisor must not be 0, and `MIN % -1` is 0.
    /// Floats: C's `fmod`, exact, with the sign of the dividend.
    Rem,
    /// `if a < b { a } else { b }`: the second operand when either is NaN or both are zero. Not IEEE minimum.
    Min,
    /// `if b < a { a } else { b }`: the second operand when either is NaN or both are zero. Not IEEE maximum.
    Max,
    /// Bitwise and; logical on bool. Not on floats.
    And,
    /// Bitwise or; logical on bool. Not on floats.
    Or,
    /// Bitwise exclusive or; logical on bool. Not on floats.
    Xor,
    /// Integers: shift left. The amount is in `0..bits`.
    Shl,
    /// Integers: shift right, filling with the sign (signed) or zeros (`u8`). The amount is in `0..bits`.
    Shr,
    /// Integers: shift right, filling with zeros. The amount is in `0..bits`.
    UShr,
}

/// Comparisons; the result is bool. On floats they are ordered: false when either is NaN, except `Ne`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cmp {
    /// `a == b`.
    Eq,
    /// `a != b`, true when either is NaN.
    Ne,
    /// `a < b`.
    Lt,
    /// `a <= b`.
    Le,
}

/// What a [`Inst::Check`] found; the code goes into the program's error word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Integer division or remainder by zero.
    DivByZero,
    /// An index outside its dimension.
    Index,
    /// A class index outside the classes.
    Target,
    /// An integer raised to a negative power where that is refused.
    NegativePower,
    /// A probability outside 0..1.
    Probability,
    /// A weight of a category that is negative, infinite or NaN.
    Weight,
    /// Weights of categories that are all zero.
    NoWeight,
    /// A negative variance.
    Variance,
    /// A standard deviation that is negative or NaN.
    Deviation,
    /// A rate that is negative or NaN.
    Rate,
    /// A negative weight of an observation.
    Observation,
    /// A negative number of repetitions.
    Repeats,
    /// Repetitions that are more or fewer than the result has room for.
    Total,
    /// Fewer elements than places for them.
    Source,
}

impl Fault {
    /// All faults; the position plus one is the code in the error word.
    pub const ALL: [Fault; 14] = [
        Fault::DivByZero,
        Fault::Index,
        Fault::Target,
        Fault::NegativePower,
        Fault::Probability,
        Fault::Weight,
        Fault::NoWeight,
        Fault::Variance,
        Fault::Deviation,
        Fault::Rate,
        Fault::Observation,
        Fault::Repeats,
        Fault::Total,
        Fault::Source,
    ];

    /// The code kernels record, never 0.
    pub fn code(self) -> u32 {
        Fault::ALL.iter().position(|f| *f == self).map_or(0, |i| i as u32 + 1)
    }

    /// The fault of a recorded code.
    pub fn from_code(code: u32) -> Option<Fault> {
        Fault::ALL.get((code as usize).checked_sub(1)?).copied()
    }
}

/// One instruction. Operands are earlier values of the same block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inst {
    /// A value given from outside: a loaded element, an argument of a row.
    Param(Reg),
    /// A constant, by the bits of its type (a float's IEEE bits; integers extended to 64 bits; bool 0 or 1).
    Const(Reg, u64),
    /// One operand.
    Un(Un, V),
    /// Two operands of one type.
    Bin(Bin, V, V),
    /// A comparison.
    Cmp(Cmp, V, V),
    /// `a * b + c` with one rounding, floats only.
    Fma(V, V, V),
    /// `if c { a } else { b }`, on bits.
    Select(V, V, V),
    /// A number in another type. Float to integer by the rule of casts: truncate; NaN and out of `i64` give
    /// `i64::MIN`; narrower ones wrap from the `i64`. Integer to integer wraps; to bool is `!= 0`; to float rounds to
    /// nearest even (from `i64` to `f32` in one step).
    Convert(Reg, V),
    /// The same bits in another type of the same width: `F32`–`I32`, `F64`–`I64`.
    Bitcast(Reg, V),
    /// The `f32` operand rounded to the values of `f16` or `bf16` (nearest even), still in an `F32` register.
    Round(DType, V),
    /// Records `Fault` in the error word when the bool operand is true. No value (its register is not to be read).
    Check(Fault, V),
}

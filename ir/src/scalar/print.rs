//! The scalar IR as text, for dumps: one instruction a line, `%3 = fma %1, %2, %0`.
//!
//! The text is exact and needs no context: parameters, constants and conversions name their type, every other
//! instruction has the type of its operands. A float is printed as the shortest decimal that reads back as the same
//! number (`0.1`, `1e-30`, `-0.0`, `inf`), or by its bits (`0x7fc00001`) where it is a NaN.

use super::{Bin, Block, Cmp, Fault, Inst, Reg, Un, V};
use std::fmt;

impl Un {
    /// The instruction's name in text.
    pub fn name(self) -> &'static str {
        match self {
            Un::Neg => "neg",
            Un::Abs => "abs",
            Un::Sqrt => "sqrt",
            Un::Floor => "floor",
            Un::Ceil => "ceil",
            Un::Trunc => "trunc",
            Un::Nearest => "nearest",
            Un::Not => "not",
        }
    }
}

impl Bin {
    /// The instruction's name in text.
    pub fn name(self) -> &'static str {
        match self {
            Bin::Add => "add",
            Bin::Sub => "sub",
            Bin::Mul => "mul",
            Bin::Div => "div",
            Bin::Rem => "rem",
            Bin::Min => "min",
            Bin::Max => "max",
            Bin::And => "and",
            Bin::Or => "or",
            Bin::Xor => "xor",
            Bin::Shl => "shl",
            Bin::Shr => "shr",
            Bin::UShr => "ushr",
        }
    }
}

impl Cmp {
    /// The instruction's name in text.
    pub fn name(self) -> &'static str {
        match self {
            Cmp::Eq => "eq",
            Cmp::Ne => "ne",
            Cmp::Lt => "lt",
            Cmp::Le => "le",
        }
    }
}

impl Fault {
    /// The fault's name in text.
    pub fn name(self) -> &'static str {
        match self {
            Fault::DivByZero => "div_by_zero",
            Fault::Index => "index",
            Fault::Target => "target",
            Fault::NegativePower => "negative_power",
            Fault::Probability => "probability",
            Fault::Weight => "weight",
            Fault::NoWeight => "no_weight",
            Fault::Variance => "variance",
            Fault::Deviation => "deviation",
            Fault::Rate => "rate",
            Fault::Observation => "observation",
            Fault::Repeats => "repeats",
            Fault::Total => "total",
            Fault::Source => "source",
        }
    }
}

impl fmt::Display for V {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// The value of a constant with these register bits, as it stands in text.
pub fn constant(ty: Reg, bits: u64) -> String {
    match ty {
        Reg::F64 if f64::from_bits(bits).is_nan() => format!("{bits:#018x}"),
        Reg::F64 => format!("{:?}", f64::from_bits(bits)),
        Reg::F32 if f32::from_bits(bits as u32).is_nan() => format!("{bits:#010x}"),
        Reg::F32 => format!("{:?}", f32::from_bits(bits as u32)),
        Reg::Bool => format!("{}", bits != 0),
        Reg::I64 | Reg::I32 | Reg::I16 | Reg::I8 | Reg::U8 => format!("{}", bits as i64),
    }
}

impl fmt::Display for Inst {
    /// The right-hand side, without the register it defines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Inst::Param(ty) => write!(f, "param {}", ty.name()),
            Inst::Const(ty, bits) => write!(f, "const {} {}", ty.name(), constant(ty, bits)),
            Inst::Un(op, a) => write!(f, "{} {a}", op.name()),
            Inst::Bin(op, a, b) => write!(f, "{} {a}, {b}", op.name()),
            Inst::Cmp(op, a, b) => write!(f, "{} {a}, {b}", op.name()),
            Inst::Fma(a, b, c) => write!(f, "fma {a}, {b}, {c}"),
            Inst::Select(c, a, b) => write!(f, "select {c}, {a}, {b}"),
            Inst::Convert(ty, a) => write!(f, "convert {} {a}", ty.name()),
            Inst::Bitcast(ty, a) => write!(f, "bitcast {} {a}", ty.name()),
            Inst::Round(dtype, a) => write!(f, "round {} {a}", dtype.name()),
            Inst::Check(fault, c) => write!(f, "check {} {c}", fault.name()),
        }
    }
}

/// One instruction as a line of text: `%3 = add %1, %2`, or `check index %4`, which defines nothing.
pub fn line(v: V, inst: &Inst) -> String {
    match inst {
        Inst::Check(..) => inst.to_string(),
        Inst::Param(_)
        | Inst::Const(..)
        | Inst::Un(..)
        | Inst::Bin(..)
        | Inst::Cmp(..)
        | Inst::Fma(..)
        | Inst::Select(..)
        | Inst::Convert(..)
        | Inst::Bitcast(..)
        | Inst::Round(..) => format!("{v} = {inst}"),
    }
}

impl fmt::Display for Block {
    /// The instructions not taken yet, one a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.insts().iter().try_for_each(|(v, inst)| writeln!(f, "{}", line(*v, inst)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn a_block_prints_one_instruction_a_line() {
        let mut b = Block::new();
        let x = b.param(Reg::F32);
        let half = b.float(Reg::F32, 0.1);
        let y = b.fma(x, half, x);
        let below = b.lt(y, x);
        b.check(Fault::Index, below);
        let z = b.select(below, x, y);
        let z = b.sqrt(z);
        let z = b.round_to(DType::BF16, z);
        let i = b.bitcast(Reg::I32, z);
        let three = b.int(Reg::I32, -3);
        let i = b.ushr(i, three);
        b.convert(Reg::F64, i);
        let want = "\
%0 = param f32
%1 = const f32 0.1
%2 = fma %0, %1, %0
%3 = lt %2, %0
check index %3
%5 = select %3, %0, %2
%6 = sqrt %5
%7 = round bf16 %6
%8 = bitcast i32 %7
%9 = const i32 -3
%10 = ushr %8, %9
%11 = convert f64 %10
";
        assert_eq!(b.to_string(), want);
    }

    #[test]
    fn constants_read_back_as_the_same_bits() {
        for v in [0.0f64, -0.0, 0.1, 1e300, 5e-324, f64::INFINITY, f64::NEG_INFINITY, -1.0 / 3.0] {
            let text = constant(Reg::F64, v.to_bits());
            assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(v.to_bits()), "{text}");
            let narrow = v as f32;
            let text = constant(Reg::F32, narrow.to_bits() as u64);
            assert_eq!(text.parse::<f32>().map(f32::to_bits), Ok(narrow.to_bits()), "{text}");
        }
        assert_eq!(constant(Reg::F32, 0x7fc0_0001), "0x7fc00001");
        assert_eq!(constant(Reg::F64, 0x7ff8_0000_0000_0000), "0x7ff8000000000000");
        assert_eq!(constant(Reg::I8, -5i64 as u64), "-5");
        assert_eq!(constant(Reg::Bool, 1), "true");
    }
}

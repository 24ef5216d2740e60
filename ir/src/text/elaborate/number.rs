//! Numbers that are known while a program is elaborated: literals, sizes, and arithmetic on them.
//!
//! Arithmetic folds as Python's does: integers stay integers (exactly: what does not fit in 64 bits is an error), `/`
//! gives a float, bools count as 0 and 1. Floats follow IEEE 754 where Python raises, so `1 / 0` is `inf`, as it is for
//! tensors. A number that meets a tensor is a plain number and takes part in promotion by its category only.

use crate::dim::{Dim, at_most, needs_sizes};
use crate::dtype::{Category, DType, Scalar, float_to_i64};
use crate::error::{Result, err};
use crate::text::ast::{BinaryOp, UnaryOp};

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Num {
    /// An integer.
    Int(i64),
    /// An expression of symbolic sizes.
    Size(Dim),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl Num {
    pub(super) fn category(self) -> Category {
        match self {
            Num::Int(_) | Num::Size(_) => Category::Int,
            Num::Float(_) => Category::Float,
            Num::Bool(_) => Category::Bool,
        }
    }

    /// The value as an integer; bools are 0 and 1.
    fn int(self) -> Option<i64> {
        match self {
            Num::Int(v) => Some(v),
            Num::Bool(v) => Some(v as i64),
            Num::Float(_) | Num::Size(_) => None,
        }
    }

    fn float(self) -> Result<f64> {
        match self {
            Num::Int(v) => Ok(v as f64),
            Num::Float(v) => Ok(v),
            Num::Bool(v) => Ok(v as i64 as f64),
            Num::Size(d) => Err(needs_sizes(&d.to_string())),
        }
    }

    /// The value as an extent, a bound or an index.
    pub(super) fn dim(self) -> Option<Dim> {
        match self {
            Num::Int(v) => Some(v.into()),
            Num::Size(d) => Some(d),
            Num::Float(_) | Num::Bool(_) => None,
        }
    }

    /// An extent as a number.
    pub(super) fn of(d: Dim) -> Num {
        d.known().map_or(Num::Size(d), Num::Int)
    }

    /// The dtype of a tensor made of it: `i64`, `f32` or `bool`.
    pub(super) fn default_dtype(self) -> DType {
        DType::default_of(self.category())
    }

    /// How messages name it.
    pub(super) fn describe(self) -> String {
        match self {
            Num::Int(_) => format!("the integer {}", self.text()),
            Num::Size(_) => format!("the size {}", self.text()),
            Num::Float(_) => format!("the float {}", self.text()),
            Num::Bool(_) => format!("`{}`", self.text()),
        }
    }

    /// How it is written.
    pub(super) fn text(self) -> String {
        match self {
            Num::Int(v) => v.to_string(),
            Num::Size(d) => d.to_string(),
            Num::Float(v) => format!("{v:?}"),
            Num::Bool(v) => v.to_string(),
        }
    }

    /// The number as a value of that dtype, where a type says so: `let x: f16 = 1;`. The category may not fall.
    ///
    /// # Errors
    /// `dtype` if the dtype's category is lower, or an integer does not fit.
    pub(super) fn typed(self, dtype: DType) -> Result<Scalar> {
        if self.category() > dtype.category() {
            return Err(err::dtype(format!("{} is no {dtype}", self.describe())));
        }
        self.element(dtype)
    }

    /// The number as an element of `tensor(…, dtype=…)`, where floats are cut off to integers.
    ///
    /// # Errors
    /// `dtype` if the value does not fit in an integer dtype.
    pub(super) fn element(self, dtype: DType) -> Result<Scalar> {
        let whole = match self {
            Num::Float(v) if dtype.is_float() => return Ok(Scalar::from_f64(dtype, v)),
            Num::Float(v) if dtype == DType::Bool => return Ok(Scalar::from_bool(v != 0.0)),
            Num::Float(v) => Some(float_to_i64(v)).filter(|i| *i as f64 == v.trunc()),
            Num::Size(d) => return Err(needs_sizes(&d.to_string())),
            n => n.int(),
        };
        match whole {
            Some(v) if dtype == DType::Bool => Ok(Scalar::from_bool(v != 0)),
            Some(v) if dtype.is_float() || Scalar::from_i64(dtype, v).to_i64() == v => Ok(Scalar::from_i64(dtype, v)),
            _ => Err(err::dtype(format!("{} does not fit in {dtype}", self.describe()))),
        }
    }
}

/// The function that an operator stands for.
pub(super) fn function(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Pow => "pow",
        BinaryOp::MatMul => "matmul",
        BinaryOp::Mul => "mul",
        BinaryOp::Div => "div",
        BinaryOp::Rem => "remainder",
        BinaryOp::Add => "add",
        BinaryOp::Sub => "sub",
        BinaryOp::Shl => "bitwise_left_shift",
        BinaryOp::Shr => "bitwise_right_shift",
        BinaryOp::And => "bitwise_and",
        BinaryOp::Xor => "bitwise_xor",
        BinaryOp::Or => "bitwise_or",
        BinaryOp::Eq => "eq",
        BinaryOp::Ne => "ne",
        BinaryOp::Lt => "lt",
        BinaryOp::Le => "le",
        BinaryOp::Gt => "gt",
        BinaryOp::Ge => "ge",
    }
}

/// `a op b`.
///
/// # Errors
/// `type` if the operator is not defined for these numbers, `data` for what Python raises on integers.
pub(super) fn binary(op: BinaryOp, a: Num, b: Num) -> Result<Num> {
    match (op, a, b) {
        (BinaryOp::MatMul, _, _) => Err(err::ty("`@` multiplies tensors, not numbers")),
        (BinaryOp::Div, _, _) => Ok(Num::Float(a.float()? / b.float()?)),
        (BinaryOp::And, Num::Bool(a), Num::Bool(b)) => Ok(Num::Bool(a & b)),
        (BinaryOp::Or, Num::Bool(a), Num::Bool(b)) => Ok(Num::Bool(a | b)),
        (BinaryOp::Xor, Num::Bool(a), Num::Bool(b)) => Ok(Num::Bool(a ^ b)),
        _ => match (a.int(), b.int(), a.dim(), b.dim()) {
            (Some(x), Some(y), _, _) => ints(op, x, y),
            (_, _, Some(x), Some(y)) => sizes(op, x, y),
            _ => floats(op, a, b),
        },
    }
}

/// Where one of both is symbolic.
fn sizes(op: BinaryOp, x: Dim, y: Dim) -> Result<Num> {
    match op {
        BinaryOp::Add => Ok(Num::of(x + y)),
        BinaryOp::Sub => Ok(Num::of(x - y)),
        BinaryOp::Mul => Ok(Num::of(x * y)),
        BinaryOp::Eq if x == y => Ok(Num::Bool(true)),
        BinaryOp::Ne if x == y => Ok(Num::Bool(false)),
        BinaryOp::Le => at_most(x, y).map(Num::Bool),
        BinaryOp::Ge => at_most(y, x).map(Num::Bool),
        BinaryOp::Lt => at_most(x + 1, y).map(Num::Bool),
        BinaryOp::Gt => at_most(y + 1, x).map(Num::Bool),
        _ => Err(needs_sizes(&if x.known().is_none() { x } else { y }.to_string())),
    }
}

fn ints(op: BinaryOp, x: i64, y: i64) -> Result<Num> {
    let exact = |v: Option<i64>| {
        v.map(Num::Int).ok_or_else(|| err::ty(format!("`{x} {} {y}` does not fit in 64 bits", op.symbol())))
    };
    let shift = |y: i64| {
        u32::try_from(y).map_err(|_| err::ty(format!("`{x} {} {y}`: the shift count is negative", op.symbol())))
    };
    match op {
        BinaryOp::Add => exact(x.checked_add(y)),
        BinaryOp::Sub => exact(x.checked_sub(y)),
        BinaryOp::Mul => exact(x.checked_mul(y)),
        BinaryOp::Rem if y == 0 => Err(err::data("integer division or modulo by zero (ZeroDivisionError)")),
        // The sign is the divisor's.
        BinaryOp::Rem => Ok(Num::Int(x.wrapping_rem(y).wrapping_add(y).wrapping_rem(y))),
        BinaryOp::Pow if y < 0 => Ok(Num::Float((x as f64).powf(y as f64))),
        BinaryOp::Pow => exact(match (x, u32::try_from(y)) {
            (0 | 1, _) => Some(if y == 0 { 1 } else { x }),
            (-1, _) => Some(if y % 2 == 0 { 1 } else { -1 }),
            (_, Ok(y)) => x.checked_pow(y),
            _ => None,
        }),
        BinaryOp::Shl => {
            let y = shift(y)?;
            exact(if x == 0 { Some(0) } else { x.checked_shl(y).filter(|v| y < 64 && v >> y == x) })
        }
        BinaryOp::Shr => Ok(Num::Int(x >> shift(y)?.min(63))),
        BinaryOp::And => Ok(Num::Int(x & y)),
        BinaryOp::Xor => Ok(Num::Int(x ^ y)),
        BinaryOp::Or => Ok(Num::Int(x | y)),
        BinaryOp::Eq => Ok(Num::Bool(x == y)),
        BinaryOp::Ne => Ok(Num::Bool(x != y)),
        BinaryOp::Lt => Ok(Num::Bool(x < y)),
        BinaryOp::Le => Ok(Num::Bool(x <= y)),
        BinaryOp::Gt => Ok(Num::Bool(x > y)),
        BinaryOp::Ge => Ok(Num::Bool(x >= y)),
        BinaryOp::Div | BinaryOp::MatMul => Err(err::internal("not an operation on integers")),
    }
}

fn floats(op: BinaryOp, a: Num, b: Num) -> Result<Num> {
    let (x, y) = (a.float()?, b.float()?);
    match op {
        BinaryOp::Add => Ok(Num::Float(x + y)),
        BinaryOp::Sub => Ok(Num::Float(x - y)),
        BinaryOp::Mul => Ok(Num::Float(x * y)),
        BinaryOp::Div => Ok(Num::Float(x / y)),
        BinaryOp::Rem => {
            let r = x % y;
            Ok(Num::Float(if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }))
        }
        BinaryOp::Pow => Ok(Num::Float(x.powf(y))),
        BinaryOp::Eq => Ok(Num::Bool(x == y)),
        BinaryOp::Ne => Ok(Num::Bool(x != y)),
        BinaryOp::Lt => Ok(Num::Bool(x < y)),
        BinaryOp::Le => Ok(Num::Bool(x <= y)),
        BinaryOp::Gt => Ok(Num::Bool(x > y)),
        BinaryOp::Ge => Ok(Num::Bool(x >= y)),
        BinaryOp::Shl | BinaryOp::Shr | BinaryOp::And | BinaryOp::Xor | BinaryOp::Or | BinaryOp::MatMul => {
            Err(err::ty(format!("`{}` is not defined for {} and {}", op.symbol(), a.describe(), b.describe())))
        }
    }
}

/// `op a`.
///
/// # Errors
/// `type` if the operator is not defined for the number.
pub(super) fn unary(op: UnaryOp, a: Num) -> Result<Num> {
    match (op, a) {
        (UnaryOp::Neg, Num::Int(v)) => {
            v.checked_neg().map(Num::Int).ok_or_else(|| err::ty(format!("`-({v})` does not fit in 64 bits")))
        }
        (UnaryOp::Neg, Num::Float(v)) => Ok(Num::Float(-v)),
        (UnaryOp::Neg, Num::Size(d)) => Ok(Num::of(-d)),
        (UnaryOp::Not, Num::Size(d)) => Ok(Num::of(-d - 1)),
        (UnaryOp::Not, Num::Bool(v)) => Ok(Num::Bool(!v)),
        (UnaryOp::Not, Num::Int(v)) => Ok(Num::Int(!v)),
        (UnaryOp::Neg, Num::Bool(_)) => {
            Err(err::ty("`-` is not defined for bool").help("write `!` for the other truth value"))
        }
        (UnaryOp::Not, Num::Float(_)) => Err(err::ty(format!("`!` is not defined for {}", a.describe()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Num::{Bool, Float, Int};

    #[test]
    fn arithmetic_folds_as_python_does() {
        let of = |op, a, b| binary(op, a, b).unwrap();
        assert_eq!(of(BinaryOp::Add, Int(2), Int(3)), Int(5));
        assert_eq!(of(BinaryOp::Div, Int(7), Int(2)), Float(3.5));
        assert_eq!(of(BinaryOp::Rem, Int(-7), Int(3)), Int(2));
        assert_eq!(of(BinaryOp::Rem, Int(7), Int(-3)), Int(-2));
        assert_eq!(of(BinaryOp::Rem, Float(-7.0), Int(3)), Float(2.0));
        assert_eq!(of(BinaryOp::Pow, Int(2), Int(10)), Int(1024));
        assert_eq!(of(BinaryOp::Pow, Int(2), Int(-1)), Float(0.5));
        assert_eq!(of(BinaryOp::Mul, Bool(true), Int(3)), Int(3));
        assert_eq!(of(BinaryOp::And, Bool(true), Bool(false)), Bool(false));
        assert_eq!(of(BinaryOp::Lt, Int(1), Float(1.5)), Bool(true));
        assert_eq!(of(BinaryOp::Shl, Int(3), Int(4)), Int(48));
        assert_eq!(of(BinaryOp::Shr, Int(-1), Int(100)), Int(-1));
    }

    #[test]
    fn integers_that_do_not_fit_are_errors() {
        for (op, a, b) in [
            (BinaryOp::Add, i64::MAX, 1),
            (BinaryOp::Mul, i64::MIN, -1),
            (BinaryOp::Pow, 3, 100),
            (BinaryOp::Pow, 2, i64::MAX),
            (BinaryOp::Shl, 1, 63),
            (BinaryOp::Shl, 1, 1 << 40),
            (BinaryOp::Rem, 1, 0),
        ] {
            assert!(binary(op, Int(a), Int(b)).is_err(), "{a} {} {b}", op.symbol());
        }
        assert!(unary(UnaryOp::Neg, Int(i64::MIN)).is_err());
    }

    #[test]
    fn a_typed_number_keeps_its_category() {
        assert_eq!(Int(3).typed(DType::F16).unwrap(), Scalar::from_f64(DType::F16, 3.0));
        assert!(Float(1.5).typed(DType::I64).is_err());
        assert!(Int(300).typed(DType::I8).is_err());
        assert_eq!(Float(1.7).element(DType::I32).unwrap(), Scalar::from_i64(DType::I32, 1));
        assert!(Float(f64::NAN).element(DType::I32).is_err());
        assert!(Int(300).element(DType::U8).is_err());
    }
}

//! Rules about elementwise functions and casts.

use super::{Rewrite, Rules};
use crate::dtype::{Category, DType, Scalar};
use crate::graph::Value;
use crate::ops::Op;

/// Identities of single functions. Operands and result have one type in the graph, so an operand can stand for the result.
pub fn identities(r: Rules<'_>, name: &str, x: &[Value]) -> Rewrite {
    let is = |v: Value, want: f64| r.number(v).is_some_and(|c| is_exactly(c, want));
    let truth = |v: Value| r.number(v).filter(|c| c.dtype == DType::Bool).map(Scalar::to_bool);
    let dtype = |v: Value| r.ty(v).dtype;
    let float = |v: Value| dtype(v).is_float();
    Ok(match (name, x) {
        // x * 1 = x, also for NaN, infinities and both zeros; on bool, x and true = x.
        ("mul", [x, one]) | ("mul", [one, x]) if is(*one, 1.0) => Some(*x),
        // x / 1 = x.
        ("div", [x, one]) if float(*x) && is(*one, 1.0) => Some(*x),
        // x + (-0.0) = x in every rounding to nearest (x + 0.0 is not: it turns -0.0 into 0.0). Integers: x + 0 = x.
        // On bool, x or false = x.
        ("add", [x, zero]) | ("add", [zero, x]) if is(*zero, if float(*x) { -0.0 } else { 0.0 }) => Some(*x),
        // x - 0.0 = x (x - (-0.0) is not).
        ("sub", [x, zero]) if is(*zero, 0.0) => Some(*x),
        // -(-x) = x. Integers wrap both times.
        ("neg", [x]) => inner(r, "neg", *x),
        // not not x = x on bool.
        ("logical_not", [x]) if dtype(*x) == DType::Bool => inner(r, "logical_not", *x),
        // The larger and the smaller of x and x is x.
        ("maximum" | "minimum", [x, y]) if x == y => Some(*x),
        // where(true, x, y) = x; where(false, x, y) = y; where(c, x, x) = x.
        ("where", [c, x, y]) => match truth(*c) {
            Some(true) => Some(*x),
            Some(false) => Some(*y),
            None => (x == y).then_some(*x),
        },
        _ => None,
    })
}

/// `x` if the value is `name(x)`.
fn inner(r: Rules<'_>, name: &str, v: Value) -> Option<Value> {
    match r.unary(v) {
        Some((Op::Map(row), x)) if row.name() == name => Some(x),
        _ => None,
    }
}

/// Whether a constant is this number, with its sign if it is zero.
fn is_exactly(c: Scalar, want: f64) -> bool {
    match c.dtype.category() {
        Category::Float => c.to_f64().to_bits() == want.to_bits(),
        Category::Int | Category::Bool => c == Scalar::from_f64(c.dtype, want),
    }
}

/// `to(to(x, b), c) = to(x, c)` if every value of x's dtype is a value of `b`, and `to(x, d) = x` if `x` has that dtype.
pub fn cast(r: Rules<'_>, to: DType, x: Value) -> Rewrite {
    let from = r.ty(x).dtype;
    if from == to {
        return Ok(Some(x));
    }
    match r.unary(x) {
        Some((Op::Cast(_), inner)) if widens(r.ty(inner).dtype, from) => r.make(Op::Cast(to), &[inner]).map(Some),
        _ => Ok(None),
    }
}

/// Whether every value of `a` is a value of `b`, so that a cast from `a` to `b` loses nothing.
pub fn widens(a: DType, b: DType) -> bool {
    // Bits of the significand (of the magnitude, for integers).
    let digits = |d: DType| match d {
        DType::F64 => 53,
        DType::F32 => 24,
        DType::F16 => 11,
        DType::BF16 => 8,
        DType::I64 => 63,
        DType::I32 => 31,
        DType::I16 => 15,
        DType::I8 => 7,
        DType::U8 => 8,
        DType::Bool => 1,
    };
    match (a.category(), b.category()) {
        _ if a == b => true,
        (Category::Bool, _) => true,
        (_, Category::Bool) => false,
        // u8 and i8 do not hold each other; the smallest value of a signed integer is a power of two, so a float that
        // holds its digits holds it, and f16 reaches 65504.
        (Category::Int, Category::Int) => digits(a) < digits(b) && b != DType::U8,
        (Category::Int, Category::Float) => digits(a) <= digits(b),
        (Category::Float, Category::Int) => false,
        (Category::Float, Category::Float) => b == DType::F64 || b == DType::F32 && a.is_half(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_widening_cast_loses_no_value() {
        // The extremes and their neighbours tell.
        for a in DType::ALL {
            for b in DType::ALL {
                let samples: Vec<Scalar> = if a.is_float() {
                    [1.0 / 3.0, 1e300, 65504.0, 255.5, -1e-300, 1e30].iter().map(|v| Scalar::from_f64(a, *v)).collect()
                } else {
                    [0, 1, -1, 127, 255, -128, 32767, -32768, 2147483647, i64::MAX, i64::MIN, 2049]
                        .iter()
                        .map(|v| Scalar::from_i64(a, *v))
                        .collect()
                };
                let exact = samples.iter().all(|v| v.cast(b).cast(a) == *v && v.cast(b).to_f64() == v.to_f64());
                // Float to int: the samples have fractions. i64 to f64 rounds i64::MAX.
                assert_eq!(widens(a, b), exact, "{a} to {b}");
            }
        }
    }
}

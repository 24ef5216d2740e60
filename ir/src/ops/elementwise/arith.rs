//! Arithmetic rows: the four operations, division with its roundings, extremes, sign and bits.

use super::{RowDef, Rule};
use crate::builder::Ex;
use crate::scalar::{Block, Fault, V};

const BOOL_SUB: &str = "use `logical_xor` or `^`";
const BOOL_NEG: &str = "use `logical_not`";

/// The larger of two, NaN if either is.
pub fn maximum(b: &mut Block, x: V, y: V) -> V {
    let m = b.max(x, y);
    nan_or(b, x, m)
}

/// The smaller of two, NaN if either is.
pub fn minimum(b: &mut Block, x: V, y: V) -> V {
    let m = b.min(x, y);
    nan_or(b, x, m)
}

/// `x` if it is NaN, else `m` (`min` and `max` already give the second operand when that is NaN).
fn nan_or(b: &mut Block, x: V, m: V) -> V {
    if !b.ty(x).is_float() {
        return m;
    }
    let nan = b.ne(x, x);
    b.select(nan, x, m)
}

/// The divisor with 0 replaced by 1, after recording the fault.
fn checked_divisor(b: &mut Block, y: V) -> V {
    let zero = b.int(b.ty(y), 0);
    let bad = b.eq(y, zero);
    b.check(Fault::DivByZero, bad);
    let one = b.int(b.ty(y), 1);
    b.select(bad, one, y)
}

/// Half of `dy` to each of two tied operands, all of it to the one that was picked.
fn picked<'b>(x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
    let tie = x[0].eq(x[1]);
    let half = dy * 0.5;
    let side = |e: Ex<'b>| tie.select(half, e.eq(y).select(dy, dy.zeros()));
    vec![Some(side(x[0])), Some(side(x[1]))]
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    RowDef {
        name: "add",
        doc: "x + y. On bool: or.",
        args: &["x", "other"],
        rule: Rule::Any,
        lower: |b, x| if b.ty(x[0]) == crate::scalar::Reg::Bool { b.or(x[0], x[1]) } else { b.add(x[0], x[1]) },
        vjp: Some(|_, _, dy| vec![Some(dy), Some(dy)]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "sub",
        doc: "x - y.",
        args: &["x", "other"],
        rule: Rule::NoBool(BOOL_SUB),
        lower: |b, x| b.sub(x[0], x[1]),
        vjp: Some(|_, _, dy| vec![Some(dy), Some(-dy)]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "mul",
        doc: "x * y. On bool: and.",
        args: &["x", "other"],
        rule: Rule::Any,
        lower: |b, x| if b.ty(x[0]) == crate::scalar::Reg::Bool { b.and(x[0], x[1]) } else { b.mul(x[0], x[1]) },
        vjp: Some(|x, _, dy| vec![Some(dy * x[1]), Some(dy * x[0])]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "div",
        doc: "x / y, in floating point also for integers.",
        args: &["x", "other"],
        rule: Rule::Float,
        lower: |b, x| b.div(x[0], x[1]),
        vjp: Some(|x, y, dy| vec![Some(dy / x[1]), Some(-(dy * y / x[1]))]),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "maximum",
        doc: "The larger of two elements; NaN if either is NaN. A tie gives half the gradient to each.",
        args: &["x", "other"],
        rule: Rule::Any,
        lower: |b, x| maximum(b, x[0], x[1]),
        vjp: Some(picked),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "minimum",
        doc: "The smaller of two elements; NaN if either is NaN. A tie gives half the gradient to each.",
        args: &["x", "other"],
        rule: Rule::Any,
        lower: |b, x| minimum(b, x[0], x[1]),
        vjp: Some(picked),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "neg",
        doc: "-x.",
        args: &["x"],
        rule: Rule::NoBool(BOOL_NEG),
        lower: |b, x| b.neg(x[0]),
        vjp: Some(|_, _, dy| vec![Some(-dy)]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "fmod",
        doc: "Remainder with the sign of x. Integers: an error if y is 0.",
        args: &["x", "other"],
        rule: Rule::NoBool(""),
        lower: |b, x| {
            if b.ty(x[0]).is_float() {
                b.rem(x[0], x[1])
            } else {
                let y = checked_divisor(b, x[1]);
                b.rem(x[0], y)
            }
        },
        vjp: Some(|x, _, dy| vec![Some(dy), Some(-(dy * (x[0] / x[1]).trunc()))]),
        domain: (0.5, 4.0),
        ulp: 0.0,
    },
];

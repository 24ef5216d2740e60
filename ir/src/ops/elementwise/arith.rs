//! Arithmetic: sums, products, extremes and signs. Division and its roundings are in [`super::divide`].

use super::{RowDef, Rule};
use crate::builder::Ex;
use crate::scalar::{Block, Reg, V, math};

const BOOL_SUB: &str = "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a \
                        mask, use the `!` or `logical_not()` operator instead; the difference of two masks is `^`";
const BOOL_NEG: &str = "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, \
                        use the `!` or `logical_not()` operator instead";

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

/// The cotangents of an extreme: half of `dy` to each of two tied operands, else all of it to the one that won, which
/// `loses(a, b)` tells. NaN neither ties nor loses, so both operands get all of `dy`, as in PyTorch.
fn picked<'b>(x: &[Ex<'b>], dy: Ex<'b>, loses: fn(Ex<'b>, Ex<'b>) -> Ex<'b>) -> Vec<Option<Ex<'b>>> {
    let tie = x[0].eq(x[1]);
    let zero = dy.zeros();
    let side = |a, b| tie.select(dy * 0.5, loses(a, b).select(zero, dy));
    vec![Some(side(x[0], x[1])), Some(side(x[1], x[0]))]
}

/// The cotangents of `fmax` and `fmin`, where NaN loses against every number.
fn picked_number<'b>(x: &[Ex<'b>], dy: Ex<'b>, wins: fn(Ex<'b>, Ex<'b>) -> Ex<'b>) -> Vec<Option<Ex<'b>>> {
    let tie = x[0].eq(x[1]);
    let zero = dy.zeros();
    let first = wins(x[0], x[1]).logical_or(x[1].isnan());
    let (half, one) = (dy * 0.5, dy);
    vec![Some(tie.select(half, first.select(one, zero))), Some(tie.select(half, first.select(zero, one)))]
}

/// `y` where `x` is NaN, else `m`.
fn unless_nan(b: &mut Block, x: V, y: V, m: V) -> V {
    if !b.ty(x).is_float() {
        return m;
    }
    let nan = b.ne(x, x);
    b.select(nan, y, m)
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    RowDef {
        name: "add",
        doc: "x + y. On bool: or.",
        args: &["x", "other"],
        rule: Rule::Any,
        lower: |b, x| if b.ty(x[0]) == Reg::Bool { b.or(x[0], x[1]) } else { b.add(x[0], x[1]) },
        vjp: Some(|_, _, dy| vec![Some(dy), Some(dy)]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "sub",
        doc: "x - y.",
        args: &["x", "other"],
        rule: Rule::NeverBool(BOOL_SUB),
        lower: |b, x| b.sub(x[0], x[1]),
        vjp: Some(|_, _, dy| vec![Some(dy), Some(-dy)]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "mul",
        doc: "x * other; integers wrap. On bool: and.",
        args: &["x", "other"],
        rule: Rule::Any,
        lower: |b, x| if b.ty(x[0]) == Reg::Bool { b.and(x[0], x[1]) } else { b.mul(x[0], x[1]) },
        vjp: Some(|x, _, dy| vec![Some(dy * x[1]), Some(dy * x[0])]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "maximum",
        doc: "The larger of two elements; NaN if either is NaN. On bool: or. At a tie each gets half of the gradient.",
        args: &["x", "other"],
        rule: Rule::Any,
        lower: |b, x| maximum(b, x[0], x[1]),
        vjp: Some(|x, _, dy| picked(x, dy, Ex::lt)),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "minimum",
        doc: "The smaller of two elements; NaN if either is NaN. On bool: and. At a tie each gets half of the \
              gradient.",
        args: &["x", "other"],
        rule: Rule::Any,
        lower: |b, x| minimum(b, x[0], x[1]),
        vjp: Some(|x, _, dy| picked(x, dy, Ex::gt)),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "neg",
        doc: "-x. Integers wrap, also unsigned ones. Not for bool, where `logical_not` says what is meant.",
        args: &["x"],
        rule: Rule::NoBool(BOOL_NEG),
        lower: |b, x| b.neg(x[0]),
        vjp: Some(|_, _, dy| vec![Some(-dy)]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "fmax",
        doc: "The larger of two elements, or the one that is not NaN. At a tie each gets half of the gradient.",
        args: &["x", "other"],
        rule: Rule::Any,
        lower: |b, x| {
            let m = b.max(x[0], x[1]);
            unless_nan(b, x[1], x[0], m)
        },
        vjp: Some(|x, _, dy| picked_number(x, dy, Ex::gt)),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "fmin",
        doc: "The smaller of two elements, or the one that is not NaN. At a tie each gets half of the gradient.",
        args: &["x", "other"],
        rule: Rule::Any,
        lower: |b, x| {
            let m = b.min(x[0], x[1]);
            unless_nan(b, x[1], x[0], m)
        },
        vjp: Some(|x, _, dy| picked_number(x, dy, Ex::lt)),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "clamp_min",
        doc: "x, but at least the bound; NaN if either is NaN. No gradient flows at or below the bound, nor to it.",
        args: &["x", "min"],
        rule: Rule::Any,
        lower: |b, x| maximum(b, x[0], x[1]),
        vjp: Some(|x, _, dy| {
            let zero = dy.zeros();
            vec![Some(x[0].gt(x[1]).select(dy, zero)), Some(x[0].lt(x[1]).select(dy, zero))]
        }),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "clamp_max",
        doc: "x, but at most the bound; NaN if either is NaN. No gradient flows at or above the bound, nor to it.",
        args: &["x", "max"],
        rule: Rule::Any,
        lower: |b, x| minimum(b, x[0], x[1]),
        vjp: Some(|x, _, dy| {
            let zero = dy.zeros();
            vec![Some(x[0].lt(x[1]).select(dy, zero)), Some(x[0].gt(x[1]).select(dy, zero))]
        }),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "abs",
        doc: "|x|. The least integer of a dtype is itself, having no magnitude. The derivative is the sign of x, 0 at \
              0. Not for bool.",
        args: &["x"],
        rule: Rule::NoBool(""),
        lower: |b, x| super::divide::magnitude(b, x[0]),
        vjp: Some(|x, _, dy| vec![Some(dy * x[0].sign())]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "sign",
        doc: "-1, 0 or 1, the sign of x; 0 for NaN. On bool: x itself. No gradient flows.",
        args: &["x"],
        rule: Rule::Any,
        lower: |b, x| {
            let ty = b.ty(x[0]);
            if ty == Reg::Bool {
                return x[0];
            }
            let (zero, one) = (b.int(ty, 0), b.int(ty, 1));
            let (above, below) = (b.lt(zero, x[0]), b.lt(x[0], zero));
            let minus = b.int(ty, -1);
            let low = b.select(below, minus, zero);
            b.select(above, one, low)
        },
        vjp: Some(|_, _, dy| vec![Some(dy.zeros())]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "copysign",
        doc: "The magnitude of x with the sign of other, also of a zero or NaN. Integers and bool become f32. The \
              gradient by x changes its sign where the signs differ, and is 0 at 0; none flows to other.",
        args: &["x", "other"],
        rule: Rule::Float,
        lower: |b, x| math::copysign(b, x[0], x[1]),
        vjp: Some(|x, y, dy| {
            let ratio = x[0].eq(x[0].number(0.0)).select(x[0].number(0.0), y / x[0]);
            vec![Some(dy * ratio), Some(dy.zeros())]
        }),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "fma",
        doc: "x * y + z with one rounding (half floats: one in f32, then theirs). Floats only.",
        args: &["x", "y", "z"],
        rule: Rule::FloatOnly,
        lower: |b, x| b.fma(x[0], x[1], x[2]),
        vjp: Some(|x, _, dy| vec![Some(dy * x[1]), Some(dy * x[0]), Some(dy)]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "heaviside",
        doc: "0 below 0, 1 above, the second operand at 0; 0 for NaN.",
        args: &["x", "values"],
        rule: Rule::Any,
        lower: |b, x| {
            let ty = b.ty(x[0]);
            if ty == Reg::Bool {
                return b.or(x[0], x[1]);
            }
            let (zero, one) = (b.int(ty, 0), b.int(ty, 1));
            let (above, at) = (b.lt(zero, x[0]), b.eq(x[0], zero));
            let low = b.select(at, x[1], zero);
            b.select(above, one, low)
        },
        vjp: Some(|x, _, dy| vec![Some(dy.zeros()), Some(x[0].eq(x[0].number(0.0)).select(dy, dy.zeros()))]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
    RowDef {
        name: "nextafter",
        doc: "The next float after x on the side of y, in the dtype's own steps (not for half floats).",
        args: &["x", "other"],
        rule: Rule::FloatOnly,
        lower: |b, x| math::nextafter(b, x[0], x[1]),
        // As PyTorch has it: that of x, but where the two are equal.
        vjp: Some(|x, _, dy| vec![Some(x[0].ne(x[1]).select(dy, dy.zeros())), None]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
];

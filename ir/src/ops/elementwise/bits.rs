//! Bits of integers, which on bool are logic. Shifts are total: every amount has a defined result.

use super::{RowDef, Rule};
use crate::scalar::{Block, Reg, V};

macro_rules! bitwise {
    ($name:literal, $doc:literal, $inst:ident) => {
        RowDef {
            name: $name,
            doc: $doc,
            args: &["x", "other"],
            rule: Rule::Bits,
            lower: |b, x| b.$inst(x[0], x[1]),
            vjp: None,
            domain: (-100.0, 100.0),
            ulp: 0.0,
        }
    };
}

/// Whether the shift amount is in `0..width`, and the amount with others replaced by 0.
fn amount(b: &mut Block, y: V) -> (V, V) {
    let ty = b.ty(y);
    let (zero, width) = (b.int(ty, 0), b.int(ty, ty.bits() as i64));
    let (low, high) = (b.le(zero, y), b.lt(y, width));
    let inside = b.and(low, high);
    (inside, b.select(inside, y, zero))
}

fn shift_left(b: &mut Block, x: V, y: V) -> V {
    let (inside, n) = amount(b, y);
    let shifted = b.shl(x, n);
    let zero = b.int(b.ty(x), 0);
    b.select(inside, shifted, zero)
}

fn shift_right(b: &mut Block, x: V, y: V) -> V {
    let ty = b.ty(x);
    let (inside, n) = amount(b, y);
    let shifted = b.shr(x, n);
    let far = if ty == Reg::U8 {
        b.int(ty, 0)
    } else {
        let last = b.int(ty, ty.bits() as i64 - 1);
        b.shr(x, last)
    };
    b.select(inside, shifted, far)
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    bitwise!("bitwise_and", "Bits that are set in both; on bool: and. Not for floats.", and),
    bitwise!("bitwise_or", "Bits that are set in one or both; on bool: or. Not for floats.", or),
    bitwise!("bitwise_xor", "Bits that are set in one of the two; on bool: exclusive or. Not for floats.", xor),
    RowDef {
        name: "bitwise_not",
        doc: "Every bit flipped, -x - 1 for signed integers; on bool: not. Not for floats.",
        args: &["x"],
        rule: Rule::Bits,
        lower: |b, x| b.not(x[0]),
        vjp: None,
        domain: (-100.0, 100.0),
        ulp: 0.0,
    },
    RowDef {
        name: "bitwise_left_shift",
        doc: "x shifted left by other bits; 0 if other is negative or not below the width of the dtype. Integers only.",
        args: &["x", "other"],
        rule: Rule::Integer,
        lower: |b, x| shift_left(b, x[0], x[1]),
        vjp: None,
        domain: (0.0, 10.0),
        ulp: 0.0,
    },
    RowDef {
        name: "bitwise_right_shift",
        doc: "x shifted right by other bits, filling with the sign; only the sign is left if other is negative or not \
              below the width of the dtype. Integers only.",
        args: &["x", "other"],
        rule: Rule::Integer,
        lower: |b, x| shift_right(b, x[0], x[1]),
        vjp: None,
        domain: (0.0, 10.0),
        ulp: 0.0,
    },
];

//! Rounding to integers. Integers are themselves; the derivatives are 0.

use super::{RowDef, Rule};
use crate::scalar::{Block, V};

macro_rules! rounding {
    ($name:literal, $doc:literal, $inst:ident) => {
        RowDef {
            name: $name,
            doc: $doc,
            args: &["x"],
            rule: Rule::NoBool(""),
            lower: |b, x| if b.ty(x[0]).is_float() { b.$inst(x[0]) } else { x[0] },
            vjp: Some(|_, _, dy| vec![Some(dy.zeros())]),
            domain: (-4.0, 4.0),
            ulp: 0.0,
        }
    };
}

fn frac(b: &mut Block, x: V) -> V {
    let whole = b.trunc(x);
    b.sub(x, whole)
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    rounding!("floor", "The largest integer not above x. Integers are themselves; not bool. No gradient flows.", floor),
    rounding!("ceil", "The least integer not below x. Integers are themselves; not bool. No gradient flows.", ceil),
    rounding!(
        "trunc",
        "x without its fraction, toward zero. Integers are themselves; not bool. No gradient flows.",
        trunc
    ),
    rounding!("round", "To the nearest integer, ties to even. Integers are themselves.", nearest),
    RowDef {
        name: "frac",
        doc: "x - trunc(x), which has the sign of x; NaN for infinities. Floats only. The derivative is 1.",
        args: &["x"],
        rule: Rule::FloatOnly,
        lower: |b, x| frac(b, x[0]),
        vjp: Some(|_, _, dy| vec![Some(dy)]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
];

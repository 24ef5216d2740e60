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
    rounding!("floor", "The next integer below. Integers are themselves.", floor),
    rounding!("ceil", "The next integer above. Integers are themselves.", ceil),
    rounding!("trunc", "Toward zero. Integers are themselves.", trunc),
    rounding!("round", "To the nearest integer, ties to even. Integers are themselves.", nearest),
    RowDef {
        name: "frac",
        doc: "x - trunc(x); NaN for infinities.",
        args: &["x"],
        rule: Rule::FloatOnly,
        lower: |b, x| frac(b, x[0]),
        vjp: Some(|_, _, dy| vec![Some(dy)]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
];

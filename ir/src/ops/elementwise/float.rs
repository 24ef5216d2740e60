//! Functions of floats: powers, exponentials, trigonometry. Their bodies are in [`crate::scalar::math`].

use super::{RowDef, Rule};

/// The rows.
pub static ROWS: &[RowDef] = &[
    RowDef {
        name: "sqrt",
        doc: "Square root; NaN below 0.",
        args: &["x"],
        rule: Rule::Float,
        lower: |b, x| b.sqrt(x[0]),
        vjp: Some(|_, y, dy| vec![Some(dy / (2.0 * y))]),
        domain: (0.0, 10.0),
        ulp: 0.0,
    },
    RowDef {
        name: "trunc",
        doc: "Toward zero. Integers are themselves.",
        args: &["x"],
        rule: Rule::NoBool(""),
        lower: |b, x| if b.ty(x[0]).is_float() { b.trunc(x[0]) } else { x[0] },
        vjp: Some(|_, _, dy| vec![Some(dy.zeros())]),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
];

//! Comparisons, logic and selection.

use super::{RowDef, Rule};

macro_rules! comparison {
    ($name:literal, $doc:literal, $lower:expr) => {
        RowDef {
            name: $name,
            doc: $doc,
            args: &["x", "other"],
            rule: Rule::Compare,
            lower: $lower,
            vjp: None,
            domain: (-4.0, 4.0),
            ulp: 0.0,
        }
    };
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    comparison!("eq", "x == y.", |b, x| b.eq(x[0], x[1])),
    comparison!("ne", "x != y; true if either is NaN.", |b, x| b.ne(x[0], x[1])),
    comparison!("lt", "x < y.", |b, x| b.lt(x[0], x[1])),
    comparison!("le", "x <= y.", |b, x| b.le(x[0], x[1])),
    comparison!("gt", "x > y.", |b, x| b.lt(x[1], x[0])),
    comparison!("ge", "x >= y.", |b, x| b.le(x[1], x[0])),
    RowDef {
        name: "where",
        doc: "y where the bool condition holds, else z.",
        args: &["condition", "x", "other"],
        rule: Rule::Select,
        lower: |b, x| b.select(x[0], x[1], x[2]),
        vjp: Some(|x, _, dy| {
            let zero = dy.zeros();
            vec![None, Some(x[0].select(dy, zero)), Some(x[0].select(zero, dy))]
        }),
        domain: (-4.0, 4.0),
        ulp: 0.0,
    },
];

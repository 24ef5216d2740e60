//! Comparisons, logic, classes of floats, and selection.

use super::{RowDef, Rule};
use crate::scalar::{Block, Reg, V};

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

macro_rules! logical {
    ($name:literal, $doc:literal, $args:expr, $lower:expr) => {
        RowDef {
            name: $name,
            doc: $doc,
            args: $args,
            rule: Rule::Logical,
            lower: $lower,
            vjp: None,
            domain: (-1.0, 1.0),
            ulp: 0.0,
        }
    };
}

macro_rules! class {
    ($name:literal, $doc:literal, $lower:expr) => {
        RowDef {
            name: $name,
            doc: $doc,
            args: &["x"],
            rule: Rule::Compare,
            lower: $lower,
            vjp: None,
            domain: (-4.0, 4.0),
            ulp: 0.0,
        }
    };
}

/// Compares |x| with infinity; integers and bool are finite.
fn finite(b: &mut Block, x: V) -> V {
    if !b.ty(x).is_float() {
        return b.bool(true);
    }
    let (m, inf) = (b.abs(x), b.float(b.ty(x), f64::INFINITY));
    b.lt(m, inf)
}

fn signbit(b: &mut Block, x: V) -> V {
    let bits = match b.ty(x) {
        Reg::F32 => b.bitcast(Reg::I32, x),
        Reg::F64 => b.bitcast(Reg::I64, x),
        _ => x,
    };
    let zero = b.int(b.ty(bits), 0);
    b.lt(bits, zero)
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    comparison!("eq", "Whether x == other, after promotion; false if either is NaN.", |b, x| b.eq(x[0], x[1])),
    comparison!("ne", "Whether x != other, after promotion; true if either is NaN.", |b, x| b.ne(x[0], x[1])),
    comparison!("lt", "Whether x < other, after promotion; false if either is NaN.", |b, x| b.lt(x[0], x[1])),
    comparison!("le", "Whether x <= other, after promotion; false if either is NaN.", |b, x| b.le(x[0], x[1])),
    comparison!("gt", "Whether x > other, after promotion; false if either is NaN.", |b, x| b.lt(x[1], x[0])),
    comparison!("ge", "Whether x >= other, after promotion; false if either is NaN.", |b, x| b.le(x[1], x[0])),
    logical!("logical_and", "Whether both are not 0; NaN is not 0.", &["x", "other"], |b, x| b.and(x[0], x[1])),
    logical!("logical_or", "Whether one of the two is not 0; NaN is not 0.", &["x", "other"], |b, x| b.or(x[0], x[1])),
    logical!("logical_xor", "Whether exactly one of the two is not 0; NaN is not 0.", &["x", "other"], |b, x| b
        .xor(x[0], x[1])),
    logical!("logical_not", "Whether x is 0; NaN is not.", &["x"], |b, x| b.not(x[0])),
    class!("isnan", "Whether x is NaN; never for integers and bool.", |b, x| b.ne(x[0], x[0])),
    class!("isfinite", "Whether x is neither infinite nor NaN; always for integers and bool.", |b, x| finite(b, x[0])),
    class!("isinf", "Whether x is infinite; never for integers and bool.", |b, x| {
        let (finite, number) = (finite(b, x[0]), b.eq(x[0], x[0]));
        let infinite = b.not(finite);
        b.and(infinite, number)
    }),
    class!(
        "signbit",
        "Whether the sign bit is set, also of -0 and NaN; never for unsigned integers and bool. bool.",
        |b, x| signbit(b, x[0])
    ),
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

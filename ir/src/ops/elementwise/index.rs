//! Indices: rows that check an integer against an extent, so that a bad one is an error and never an access.
//!
//! The second operand is the extent (a constant of the graph). Results are always in range, also after a fault.

use super::{RowDef, Rule};
use crate::scalar::{Block, Fault, V};

/// `i` if it is in `0..n`, else 0 after recording the fault.
fn checked(b: &mut Block, fault: Fault, i: V, n: V) -> V {
    let zero = b.int(b.ty(i), 0);
    let (below, above) = (b.lt(i, zero), b.le(n, i));
    let bad = b.or(below, above);
    b.check(fault, bad);
    b.select(bad, zero, i)
}

macro_rules! check {
    ($name:literal, $doc:literal, $lower:expr) => {
        RowDef {
            name: $name,
            doc: $doc,
            args: &["x", "size"],
            rule: Rule::Integer,
            lower: $lower,
            vjp: None,
            domain: (0.0, 10.0),
            ulp: 0.0,
        }
    };
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    check!(
        "check_index",
        "x, if it is in 0..size; else an error of the run, of the kind `data`. Integers only.",
        |b, x| checked(b, Fault::Index, x[0], x[1])
    ),
    check!(
        "check_target",
        "The class x, if it is in 0..size; else an error of the run, of the kind `data`. Integers \
                            only.",
        |b, x| checked(b, Fault::Target, x[0], x[1])
    ),
    check!(
        "wrap_index",
        "x, or x + size if x is negative; an error of the run, of the kind `data`, if that is not in \
                          0..size. Integers only.",
        |b, x| {
            let zero = b.int(b.ty(x[0]), 0);
            let (below, wrapped) = (b.lt(x[0], zero), b.add(x[0], x[1]));
            let i = b.select(below, wrapped, x[0]);
            checked(b, Fault::Index, i, x[1])
        }
    ),
];

//! Indices: rows that check an integer against an extent, so that a bad one is an error and never an access.
//!
//! The second operand is the extent (a constant of the graph). Results are always in range, also after a fault.

use super::{RowDef, Rule};
use crate::interp::Array;
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

/// What is wrong with the first element that a check of this row refuses, if the row is one of these.
pub fn wrong(row: &str, x: &[Array]) -> Option<String> {
    let [index, size] = x else { return None };
    let least = |n: i64| if row == "wrap_index" { -n } else { 0 };
    let pairs = index.bits().into_iter().zip(size.bits()).map(|(i, n)| (i as i64, n as i64));
    let (i, n) = pairs.into_iter().find(|(i, n)| *i < least(*n) || i >= n)?;
    match row {
        "check_index" | "wrap_index" => Some(format!("index {i} is out of bounds for a dimension with size {n}")),
        "check_target" => Some(format!("Target {i} is out of bounds: there are {n} classes")),
        _ => None,
    }
}

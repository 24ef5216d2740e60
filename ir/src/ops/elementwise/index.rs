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

/// A check of another kind of number, in other words.
macro_rules! named {
    ($name:literal, $fault:ident, $doc:literal) => {
        check!($name, $doc, |b, x| checked(b, Fault::$fault, x[0], x[1]))
    };
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    named!(
        "check_index",
        Index,
        "x, if it is in 0..size; else an error of the run, of the kind `data`. Integers only."
    ),
    named!(
        "check_target",
        Target,
        "The class x, if it is in 0..size; else an error of the run, of the kind `data`. Integers \
                            only."
    ),
    named!("check_class", Target, "`check_index` of a class that `one_hot` places."),
    named!("check_size", Index, "`check_index` of a number of elements, for which there are size - 1 places."),
    named!("check_values", Index, "`check_index` of a number of values, for which a mask has size - 1 places."),
    named!("check_places", Index, "`check_index` of the places of a mask, for which there are size - 1 values."),
    named!("check_max_index", Index, "`check_index` of a place that `max_unpool2d` and its like write to."),
    named!("check_offset", Index, "`check_index` of where a bag begins among size - 1 indices."),
    named!("check_length", Index, "`check_index` of the length of a sequence, which is at most size - 1."),
    named!("check_pivot", Index, "`check_index` of a column in elimination, to which size is added if its pivot is 0."),
    RowDef {
        args: &["x", "size", "dim"],
        ..check!("check_place", "`check_index` of a place along dimension dim that `scatter_add` writes to.", |b, x| {
            checked(b, Fault::Index, x[0], x[1])
        })
    },
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

/// Whether what this row gives is in `0..size`, its second operand.
pub fn is_check(row: &str) -> bool {
    ROWS.iter().any(|r| r.name == row)
}

/// What is wrong with the first element that a check of this row refuses, if the row is one of these.
pub fn wrong(row: &str, x: &[Array]) -> Option<String> {
    let [index, size, rest @ ..] = x else { return None };
    let least = |n: i64| if row == "wrap_index" { n.wrapping_neg() } else { 0 };
    let pairs = index.bits().into_iter().zip(size.bits()).map(|(i, n)| (i as i64, n as i64));
    let (i, n) = pairs.into_iter().find(|(i, n)| *i < least(*n) || i >= n)?;
    let most = n.wrapping_sub(1);
    let broadcast = |values: i64, places: i64| {
        format!(
            "shape mismatch: value tensor of shape [{values}] cannot be broadcast to indexing result of shape [{places}]"
        )
    };
    match row {
        "check_index" | "wrap_index" => Some(format!("index {i} is out of bounds for a dimension with size {n}")),
        "check_place" => {
            let dim = rest.first()?.bits().first().copied()?;
            Some(format!("`scatter_add`: index {i} is out of bounds for dimension {dim} with size {n}"))
        }
        "check_target" => Some(format!("Target {i} is out of bounds: there are {n} classes")),
        "check_class" if i < 0 => Some(format!("Class values must be non-negative, got {i}")),
        "check_class" => Some(format!("Class values must be smaller than num_classes, {n}, got {i}")),
        "check_size" => Some(format!("the result has {i} elements, more than `size={most}`")),
        "check_values" => Some(broadcast(i, most)),
        "check_places" => Some(broadcast(most, i)),
        "check_max_index" => Some(format!("Found an invalid max index: {i} (output volumes are of size {n})")),
        "check_offset" => Some(format!("offsets can not be greater than input's length {most} but got {i}")),
        "check_pivot" => Some(format!(
            "The diagonal element {} is zero, the inversion could not be completed because the input matrix is singular",
            i.wrapping_sub(n).wrapping_add(1)
        )),
        "check_length" => {
            let (side, bound) = if i < 0 { ("least", 0) } else { ("most", most) };
            Some(format!("Expected lengths to have value at {side} {bound}, but got value {i}"))
        }
        _ => None,
    }
}

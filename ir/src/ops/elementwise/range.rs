//! Conditions on data: rows that give a truth value as it is, and record a fault where it is false.
//!
//! The composites say what must hold of their operands, and go on with harmless numbers where it does not ([`held`]).

use super::{RowDef, Rule};
use crate::builder::Ex;
use crate::scalar::{Block, Fault, V};

/// `x` where the condition `good` holds, else `other`, after the row of that name has recorded its fault.
pub fn held<'b>(row: &'static str, good: Ex<'b>, x: Ex<'b>, other: f64) -> Ex<'b> {
    let other = if x.dtype().is_float() { x.number(other) } else { x.builder().int(other as i64) };
    good.map(row, &[]).select(x, other)
}

fn holds(b: &mut Block, fault: Fault, good: V) -> V {
    let zero = b.int(b.ty(good), 0);
    let bad = b.eq(good, zero);
    b.check(fault, bad);
    good
}

macro_rules! condition {
    ($name:literal, $fault:ident, $what:literal) => {
        RowDef {
            name: $name,
            doc: concat!("x, which says whether ", $what, ": an error where it is false."),
            args: &["x"],
            rule: Rule::Logical,
            lower: |b, x| holds(b, Fault::$fault, x[0]),
            vjp: None,
            domain: (0.5, 1.0),
            ulp: 0.0,
        }
    };
}

/// The rows.
pub static ROWS: &[RowDef] = &[
    condition!("check_probability", Probability, "a probability is in 0..1"),
    condition!("check_weight", Weight, "a weight is not negative, infinite or NaN"),
    condition!("check_sum", NoWeight, "the sum of weights is above 0"),
    condition!("check_variance", Variance, "a variance is not negative"),
    condition!("check_deviation", Deviation, "a standard deviation is at least 0"),
    condition!("check_rate", Rate, "a rate is at least 0"),
    condition!("check_observation", Observation, "the weight of an observation is not negative"),
    condition!("check_repeats", Repeats, "a number of repetitions is not negative"),
    condition!("check_total", Total, "repetitions are as many as the result has room for"),
    condition!("check_source", Source, "there are as many elements as places for them"),
];

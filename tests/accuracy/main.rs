//! Every elementwise function of floats against a reference, as users run it: eager kernels, in `f32` and `f64`.
//!
//! A row of the op table promises an accuracy (`ulp`); a function without a reference in [`reference`] fails. The ordinary
//! run takes dense samples, the neighbours of powers of two, subnormals, huge operands and all pairs of special values.
//! `TENSORC_SWEEP=all cargo test --release --test accuracy NAME` takes all 2^32 operands of `f32` instead (one or two
//! minutes a function; functions of several operands are sampled) and writes what it finds into `docs/accuracy.md`;
//! `TENSORC_SWEEP=samples` writes the lines of functions that have not been swept.

mod docs;
mod measure;
mod numpy;
mod reference;
mod samples;
mod special;
#[path = "../../ir/src/scalar/math/tests/units.rs"]
mod units;

use libtest_mimic::{Arguments, Failed, Trial};
use measure::{Worst, f32_at, f64_at, whole_f32};
use reference::Reference;
use tensorc_ir::ops::elementwise::{Row, Rule, rows};

/// Whether a row computes on floats: rows of integers, comparisons and logic are tested in `ir/tests/rows.rs`.
fn is_of_floats(row: &Row) -> bool {
    matches!(row.0.rule, Rule::Any | Rule::NoBool(_) | Rule::NeverBool(_) | Rule::Float | Rule::FloatOnly)
}

/// What a run takes on.
#[derive(Clone, Copy, PartialEq)]
enum Extent {
    /// The ordinary run.
    Some,
    /// Ten times as many samples, written into the table.
    Samples,
    /// Every operand of `f32`, written into the table.
    All,
}

fn check(row: Row, reference: &'static Reference, extent: Extent) -> Result<(), Failed> {
    let whole = extent != Extent::Some;
    let (arity, promise) = (row.0.args.len(), row.0.ulp as f64);
    let mut narrow = Worst::default();
    if extent == Extent::All && arity == 1 {
        whole_f32(row.name(), reference, &mut narrow)?;
    }
    let edges = samples::special_f32(arity, reference).chain(samples::dense_f32(arity, reference, whole));
    f32_at(row.name(), reference, edges, &mut narrow)?;
    let mut wide = Worst::default();
    let edges = samples::special_f64(arity, reference).chain(samples::dense_f64(arity, reference, whole));
    f64_at(row.name(), reference, edges, &mut wide)?;
    println!("{:16} f32 {:8.4} at {:?}, f64 {:6.2} at {:?}", row.name(), narrow.ulp, narrow.at, wide.ulp, wide.at);
    if whole {
        docs::record(row.name(), extent == Extent::All && arity == 1, &narrow, &wide)?;
    }
    if narrow.ulp > promise {
        return Err(format!("f32: {} units at {:?}, {promise} promised", narrow.ulp, narrow.at).into());
    }
    if wide.ulp > row.ulp64() + reference.own {
        return Err(format!("f64: {} units at {:?}, {} promised", wide.ulp, wide.at, row.ulp64()).into());
    }
    Ok(())
}

fn main() {
    let args = Arguments::from_args();
    let extent = match std::env::var("TENSORC_SWEEP").as_deref() {
        Ok("all") => Extent::All,
        Ok("samples") => Extent::Samples,
        _ => Extent::Some,
    };
    let whole = extent != Extent::Some;
    if !whole && !args.list {
        println!("accuracy: samples only; TENSORC_SWEEP=all takes all operands of f32, best with --release");
    }
    if whole {
        println!("accuracy: measuring commit {}", docs::commit());
    }
    let mut trials: Vec<Trial> = rows()
        .filter(is_of_floats)
        .map(|row| {
            Trial::test(row.name(), move || match reference::find(row.name()) {
                Some(r) => check(row, r, extent),
                None => Err(format!("tests/accuracy/reference.rs has no reference for `{}`", row.name()).into()),
            })
        })
        .collect();
    if !whole {
        trials.extend(numpy::trials());
        trials.extend(special::trials());
        trials.push(Trial::test("docs", docs::check));
    }
    libtest_mimic::run(&args, trials).exit();
}

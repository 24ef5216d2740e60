//! NumPy's validation sets, a second yardstick: operands its developers found hard, with results from higher precision.

use crate::measure::apply;
use crate::units::ulps64;
use flate2::read::GzDecoder;
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeMap;
use std::io::Read;

/// What NumPy names and the op list does not have.
const ABSENT: &[&str] = &["cbrt"];

/// Operand and result as bits, and the allowed error.
type Cases = Vec<(u64, u64, f64)>;

/// The cases by function and whether they are of `f32`.
fn read() -> Result<BTreeMap<(String, bool), Cases>, Failed> {
    let mut text = String::new();
    GzDecoder::new(&include_bytes!("data/numpy-umath.csv.gz")[..]).read_to_string(&mut text)?;
    let mut all: BTreeMap<(String, bool), Cases> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split(',').collect();
        let [name, dtype, x, y, ulp] = cells[..] else { return Err(format!("a line of {}", cells.len()).into()) };
        let bits = |s: &str| u64::from_str_radix(s, 16);
        all.entry((name.into(), dtype == "f32")).or_default().push((bits(x)?, bits(y)?, ulp.parse()?));
    }
    Ok(all)
}

/// No result may be farther from NumPy's than it allows, nor than one number: what is within a unit of the exact result
/// is the rounded one or its neighbour.
fn check(name: &str, narrow: bool, cases: &Cases) -> Result<(), Failed> {
    let errors: Vec<f64> = if narrow {
        let float = |bits: u64| f32::from_bits(bits as u32);
        let y = apply(name, &[cases.iter().map(|c| float(c.0)).collect()])?;
        y.iter().zip(cases).map(|(y, c)| between(*y, float(c.1))).collect()
    } else {
        let y = apply(name, &[cases.iter().map(|c| f64::from_bits(c.0)).collect()])?;
        y.iter().zip(cases).map(|(y, c)| ulps64(*y, f64::from_bits(c.1), 0.0)).collect()
    };
    match errors.iter().zip(cases).find(|(e, (_, _, allowed))| **e > allowed.min(1.0)) {
        Some((e, (x, _, _))) => Err(format!("{name} of the operand {x:x} is {e} numbers away").into()),
        None => Ok(()),
    }
}

/// The number of `f32` values between two.
fn between(a: f32, b: f32) -> f64 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() && b.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let ordered = |v: f32| {
        let b = i64::from(v.to_bits() as i32);
        if b < 0 { i64::from(i32::MIN) - b } else { b }
    };
    ordered(a).abs_diff(ordered(b)) as f64
}

/// A test for each function and dtype.
pub fn trials() -> Vec<Trial> {
    let all = match read() {
        Ok(all) => all,
        Err(e) => return vec![Trial::test("numpy", move || Err(e))],
    };
    let known = all.into_iter().filter(|((name, _), _)| !ABSENT.contains(&name.as_str()));
    known
        .map(|((name, narrow), cases)| {
            let dtype = if narrow { "f32" } else { "f64" };
            Trial::test(format!("numpy/{name}/{dtype}"), move || check(&name, narrow, &cases))
        })
        .collect()
}

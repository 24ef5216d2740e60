//! Special values of functions of two operands: every pair of zeros, ones, infinities, NaN, the ends of the range, against
//! PyTorch 2.15 (and so C99's Annex F for `pow`, `atan2`, `hypot` and `fmod`).

use crate::measure::{apply, different};
use flate2::read::GzDecoder;
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeMap;
use std::io::Read;

/// Operands and result as bits of `f32`.
type Cases = Vec<[u32; 3]>;

fn read() -> Result<BTreeMap<String, Cases>, Failed> {
    let mut text = String::new();
    GzDecoder::new(&include_bytes!("data/special.csv.gz")[..]).read_to_string(&mut text)?;
    let mut all: BTreeMap<String, Cases> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split(',').collect();
        let [name, x, y, z] = cells[..] else { return Err(format!("a line of {} cells", cells.len()).into()) };
        let bits = |s: &str| u32::from_str_radix(s, 16);
        all.entry(name.into()).or_default().push([bits(x)?, bits(y)?, bits(z)?]);
    }
    Ok(all)
}

/// Where another result than PyTorch's is right.
fn differs(name: &str, x: f32, y: f32, ours: f32, theirs: f32) -> bool {
    match name {
        // Which of two zeros is larger is not promised.
        "maximum" | "minimum" | "fmax" | "fmin" => x == 0.0 && y == 0.0 && ours == 0.0 && theirs == 0.0,
        _ => false,
    }
}

fn check(name: &str, cases: &Cases) -> Result<(), Failed> {
    let column = |k: usize| cases.iter().map(|c| f32::from_bits(c[k])).collect::<Vec<f32>>();
    let mut wrong = Vec::new();
    for (ours, [x, y, z]) in apply(name, &[column(0), column(1)])?.into_iter().zip(cases) {
        let (x, y, theirs) = (f32::from_bits(*x), f32::from_bits(*y), f32::from_bits(*z));
        let same = different(ours.into(), theirs.into()) == 0.0;
        if !same && !differs(name, x, y, ours, theirs) {
            wrong.push(format!("{name}({x:?}, {y:?}) is {ours:?}, in PyTorch {theirs:?}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// A test for each function.
pub fn trials() -> Vec<Trial> {
    match read() {
        Ok(all) => all
            .into_iter()
            .map(|(name, cases)| Trial::test(format!("special/{name}"), move || check(&name, &cases)))
            .collect(),
        Err(e) => vec![Trial::test("special", move || Err(e))],
    }
}

//! The golden cases (what PyTorch 2.15 computes for two thousand small programs) through the interpreter and compiled
//! code; see `cases`. The folder is the one named by `GOLDEN_DIR`, or else `tests/golden`.

mod cases;

/// Cases that are not reproduced, with the reason.
///
/// `1 % -1e-40` is NaN where PyTorch's vector loop computes it (its `fmod` loses tiny divisors) and a number in the loop's
/// scalar tail. Here the remainder is exact everywhere.
const EXCEPTIONS: &[&str] = &["remainder special"];

fn golden(name: &str) {
    cases::group(&cases::folder("GOLDEN_DIR", "golden"), name, EXCEPTIONS);
}

#[test]
fn unary() {
    golden("unary");
}

#[test]
fn binary() {
    golden("binary");
}

#[test]
fn reduce() {
    golden("reduce");
}

#[test]
fn view() {
    golden("view");
}

#[test]
fn contract() {
    golden("contract");
}

#[test]
fn alias() {
    golden("alias");
}

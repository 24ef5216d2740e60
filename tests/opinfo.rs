//! The samples by which PyTorch tests its own operators (OpInfo), with what PyTorch 2.15 computes for them, through the
//! interpreter and compiled code; see `cases`, and `tests/opinfo/README.md` for how they were made. The folder is the one
//! named by `OPINFO_DIR`, or else `tests/opinfo`.

mod cases;

/// Cases that are not reproduced: `tests/opinfo/exceptions.txt` has them with their reasons, in sections that open with
/// `# reason`.
fn exceptions() -> Vec<&'static str> {
    include_str!("opinfo/exceptions.txt").lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect()
}

fn opinfo(name: &str) {
    // Other samples have other numbers, so the exceptions are for the project's own.
    let exceptions = if std::env::var_os("OPINFO_DIR").is_some() { Vec::new() } else { exceptions() };
    cases::group(&cases::folder("OPINFO_DIR", "opinfo"), name, &exceptions);
}

#[test]
fn unary() {
    opinfo("unary");
}

#[test]
fn binary() {
    opinfo("binary");
}

#[test]
fn reduction() {
    opinfo("reduction");
}

#[test]
fn functional() {
    opinfo("functional");
}

#[test]
fn general() {
    opinfo("general");
}

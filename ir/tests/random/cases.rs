//! How long random tests go on.

/// How many cases to run: `TENSORC_CASES`, or `debug` in a build with debug assertions and `release` without.
pub fn cases(debug: u32, release: u32) -> u32 {
    let asked = std::env::var("TENSORC_CASES").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { debug } else { release })
}

//! Errors in units in the last place, and pxfm's functions where they need help. A file for the tests of the workspace
//! too: `tests/accuracy`.

/// `|got - exact|` in units in the last place of `exact` (or of `terms`, if that is larger) as an `f32`; infinity
/// counts as 2^128. NaN matches NaN only, an exact zero needs a zero of the same sign.
pub fn ulps32(got: f32, exact: f64, terms: f64) -> f64 {
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if exact == 0.0 && terms == 0.0 {
        let same = got == 0.0 && got.is_sign_negative() == exact.is_sign_negative();
        return if same { 0.0 } else { f64::INFINITY };
    }
    let top = 2f64.powi(128);
    let finite = |v: f64| v.clamp(-top, top);
    let exponent = ((exact.abs().max(terms).to_bits() >> 52) as i32 - 1023).clamp(-126, 127);
    (finite(got as f64) - finite(exact)).abs() / 2f64.powi(exponent - 23)
}

/// The number of `f64` values between `got` and `want`, or `|got - want|` in units in the last place of `terms` if that
/// is larger than `want`.
pub fn ulps64(got: f64, want: f64, terms: f64) -> f64 {
    if got.is_nan() || want.is_nan() {
        return if got.is_nan() && want.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if want.abs() < terms {
        return (got - want).abs() / (terms * f64::EPSILON);
    }
    if want == 0.0 && got == 0.0 && got.is_sign_negative() != want.is_sign_negative() {
        return f64::INFINITY;
    }
    let ordered = |v: f64| {
        let b = v.to_bits() as i64;
        if b < 0 { i64::MIN - b } else { b }
    };
    ordered(got).abs_diff(ordered(want)) as f64
}

/// pxfm is wrong for some subnormal results (by a factor at -709.67).
pub fn exp(x: f64) -> f64 {
    if x < -700.0 { pxfm::f_exp(x / 2.0) * pxfm::f_exp(x / 2.0) } else { pxfm::f_exp(x) }
}

/// pxfm's function is only good down to about -700.
pub fn logistic(x: f64) -> f64 {
    if x < -40.0 { exp(x) } else { pxfm::f_logistic(x) }
}

/// pxfm gives NaN for huge operands, where the first terms of the series are all there is.
pub fn lgamma(x: f64) -> f64 {
    if x > 1e200 && x < 1e306 { x * (pxfm::f_log(x) - 1.0) } else { pxfm::f_lgamma(x) }
}

pub fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return -1.0 / x;
    }
    if x > 1e200 { pxfm::f_log(x) } else { pxfm::f_digamma(x) }
}

/// The inverse of the normal distribution function; of small numbers, where pxfm's inverse loses digits, with one step
/// of Newton's method for the logarithm.
pub fn ndtri(p: f64) -> f64 {
    // Taken from 0, so that it is no negative zero in the middle.
    let x = 0.0 - std::f64::consts::SQRT_2 * pxfm::f_erfcinv(2.0 * p);
    if p == 0.0 || p >= 1e-8 || p.is_nan() {
        return x;
    }
    let tail = pxfm::f_erfcx(-x * std::f64::consts::FRAC_1_SQRT_2);
    let excess = (tail * 0.5).ln() - x * x * 0.5 - p.ln();
    x - excess * tail / (2.0 / std::f64::consts::PI).sqrt()
}

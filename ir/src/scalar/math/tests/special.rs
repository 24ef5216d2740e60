//! Special values: signed zeros, infinities, NaN, the ends of the ranges, subnormals, in both types.

use super::ulp::{Compiled, row};
use crate::scalar::Reg;
use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// Whether `f(x)` is `want` in both types: the same bits after rounding `want` to the type, or both NaN.
fn check(name: &str, x: &[f64], want: f64) {
    let wide = Compiled::new(row(name), Reg::F64);
    let got = wide.f64(&mut wide.regs(), x);
    assert!(same(got, want), "{name}{x:?} in f64 is {got:?}, not {want:?}");
    let narrow = Compiled::new(row(name), Reg::F32);
    let x: Vec<f32> = x.iter().map(|x| *x as f32).collect();
    let got = narrow.f32(&mut narrow.regs(), &x);
    assert!(same(got as f64, want as f32 as f64), "{name}{x:?} in f32 is {got:?}, not {want:?}");
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// A function of one operand with its values at some points.
type Unary = (&'static str, &'static [(f64, f64)]);

#[test]
fn functions_of_one_operand() {
    let table: &[Unary] = &[
        ("exp", &[(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (1e9, INF), (-1e9, 0.0)]),
        (
            "exp2",
            &[(0.0, 1.0), (INF, INF), (-INF, 0.0), (10.0, 1024.0), (-126.0, 1.1754943508222875e-38), (0.5, SQRT_2)],
        ),
        ("expm1", &[(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (-1e9, -1.0), (1e-40, 1e-40)]),
        ("sigmoid", &[(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (1e9, 1.0), (-1e9, 0.0)]),
        ("tanh", &[(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (50.0, 1.0), (-1e-40, -1e-40)]),
        ("sinh", &[(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (-1e9, -INF), (1e-40, 1e-40)]),
        ("cosh", &[(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, INF), (-1e9, INF)]),
        ("log", &[(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (-1.0, NAN), (INF, INF), (-INF, NAN), (-1e-40, NAN)]),
        ("log2", &[(1.0, 0.0), (0.0, -INF), (-1.0, NAN), (INF, INF), (1024.0, 10.0), (1.401298464324817e-45, -149.0)]),
        ("log10", &[(1.0, 0.0), (0.0, -INF), (-1.0, NAN), (INF, INF), (1000.0, 3.0), (1e10, 10.0)]),
        ("log1p", &[(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-1.5, NAN), (-INF, NAN), (INF, INF), (1e-40, 1e-40)]),
        ("asinh", &[(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (-1e-40, -1e-40)]),
        ("acosh", &[(1.0, 0.0), (0.5, NAN), (-2.0, NAN), (-INF, NAN), (INF, INF)]),
        ("atanh", &[(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (1.5, NAN), (INF, NAN), (1e-40, 1e-40)]),
        ("sin", &[(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (-1e-40, -1e-40)]),
        ("cos", &[(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN), (1e-40, 1.0)]),
        ("tan", &[(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (1e-40, 1e-40)]),
        ("asin", &[(0.0, 0.0), (-0.0, -0.0), (1.0, FRAC_PI_2), (-1.0, -FRAC_PI_2), (1.5, NAN), (-INF, NAN)]),
        ("acos", &[(1.0, 0.0), (-1.0, PI), (0.0, FRAC_PI_2), (-0.0, FRAC_PI_2), (1.5, NAN), (-INF, NAN)]),
        ("atan", &[(0.0, 0.0), (-0.0, -0.0), (INF, FRAC_PI_2), (-INF, -FRAC_PI_2), (1.0, FRAC_PI_4), (1e-40, 1e-40)]),
        ("rsqrt", &[(0.0, INF), (-0.0, -INF), (4.0, 0.5), (-1.0, NAN), (INF, 0.0)]),
        ("erf", &[(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (7.0, 1.0)]),
        ("erfc", &[(0.0, 1.0), (-0.0, 1.0), (INF, 0.0), (-INF, 2.0), (-7.0, 2.0), (30.0, 0.0)]),
        (
            "lgamma",
            &[(1.0, 0.0), (2.0, 0.0), (0.0, INF), (-0.0, INF), (-3.0, INF), (INF, INF), (-INF, INF), (-1e30, INF)],
        ),
        ("digamma", &[(0.0, -INF), (-0.0, INF), (-3.0, NAN), (INF, INF), (-INF, NAN), (-1e30, NAN)]),
        ("erfinv", &[(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (1.5, NAN), (INF, NAN)]),
    ];
    for (name, rows) in table {
        for (x, want) in *rows {
            check(name, &[*x], *want);
        }
        check(name, &[NAN], NAN);
    }
}

const SQRT_2: f64 = std::f64::consts::SQRT_2;

#[test]
fn pow_follows_c99() {
    let rows: &[(f64, f64, f64)] = &[
        // x^0 and 1^y are 1 for everything.
        (NAN, 0.0, 1.0),
        (NAN, -0.0, 1.0),
        (0.0, 0.0, 1.0),
        (INF, 0.0, 1.0),
        (1.0, NAN, 1.0),
        (1.0, INF, 1.0),
        (-1.0, INF, 1.0),
        (-1.0, -INF, 1.0),
        // Zeros: the sign survives odd integers only.
        (0.0, 3.0, 0.0),
        (-0.0, 3.0, -0.0),
        (-0.0, 2.0, 0.0),
        (-0.0, 2.5, 0.0),
        (0.0, -1.0, INF),
        (-0.0, -1.0, -INF),
        (-0.0, -2.0, INF),
        (-0.0, -0.5, INF),
        (-0.0, -INF, INF),
        (0.0, INF, 0.0),
        // Negative bases.
        (-8.0, 1.0 / 3.0, NAN),
        (-8.0, 3.0, -512.0),
        (-2.0, -3.0, -0.125),
        (-2.0, 10.0, 1024.0),
        (-2.0, 1e30, INF),
        (-3.0, 127.0, -INF),
        (-1.0, 16_777_215.0, -1.0),
        (-1.0, 16_777_216.0, 1.0),
        // Infinities.
        (INF, 2.0, INF),
        (INF, -2.0, 0.0),
        (-INF, 3.0, -INF),
        (-INF, 2.0, INF),
        (-INF, 0.5, INF),
        (-INF, -3.0, -0.0),
        (-INF, -2.0, 0.0),
        (2.0, INF, INF),
        (2.0, -INF, 0.0),
        (0.5, INF, 0.0),
        (0.5, -INF, INF),
        (-0.5, -INF, INF),
        (-INF, INF, INF),
        (-INF, -INF, 0.0),
        // NaN.
        (NAN, 1.0, NAN),
        (2.0, NAN, NAN),
        (-1.0, NAN, NAN),
        (0.0, NAN, NAN),
        (NAN, INF, NAN),
        // Exact powers and the ends of the range.
        (2.0, 100.0, 1.267_650_600_228_229_4e30),
        (3.0, 4.0, 81.0),
        (10.0, 10.0, 1e10),
        (9.0, 0.5, 3.0),
        (2.0, -126.0, f32::MIN_POSITIVE as f64),
        (2.0, 2000.0, INF),
        (2.0, -2000.0, 0.0),
        (-2.0, -2001.0, -0.0),
    ];
    // In f32 an exponent of 127 of 3 overflows, in f64 not.
    for (x, y, want) in rows.iter().filter(|r| r.0 != -3.0) {
        check("pow", &[*x, *y], *want);
    }
    let narrow = Compiled::new(row("pow"), Reg::F32);
    assert_eq!(narrow.f32(&mut narrow.regs(), &[-3.0, 127.0]), f32::NEG_INFINITY);
    assert_eq!(narrow.f32(&mut narrow.regs(), &[2.0, -149.0]), f32::from_bits(1));
    let wide = Compiled::new(row("pow"), Reg::F64);
    assert_eq!(wide.f64(&mut wide.regs(), &[2.0, -1074.0]), f64::from_bits(1));
}

#[test]
fn atan2_knows_all_quadrants_zeros_and_infinities() {
    let q3 = 3.0 * FRAC_PI_4;
    let rows: &[(f64, f64, f64)] = &[
        (0.0, 0.0, 0.0),
        (-0.0, 0.0, -0.0),
        (0.0, -0.0, PI),
        (-0.0, -0.0, -PI),
        (0.0, 1.0, 0.0),
        (-0.0, 1.0, -0.0),
        (0.0, -1.0, PI),
        (-0.0, -1.0, -PI),
        (1.0, 0.0, FRAC_PI_2),
        (1.0, -0.0, FRAC_PI_2),
        (-1.0, 0.0, -FRAC_PI_2),
        (1.0, 1.0, FRAC_PI_4),
        (-1.0, 1.0, -FRAC_PI_4),
        (1.0, -1.0, q3),
        (-1.0, -1.0, -q3),
        (INF, INF, FRAC_PI_4),
        (INF, -INF, q3),
        (-INF, INF, -FRAC_PI_4),
        (-INF, -INF, -q3),
        (INF, 1.0, FRAC_PI_2),
        (-INF, -1.0, -FRAC_PI_2),
        (1.0, INF, 0.0),
        (-1.0, INF, -0.0),
        (1.0, -INF, PI),
        (-1.0, -INF, -PI),
        (0.0, INF, 0.0),
        (NAN, 1.0, NAN),
        (1.0, NAN, NAN),
        (NAN, INF, NAN),
        // Quotients that neither overflow nor underflow, of operands that nearly do.
        (1e-40, 1e-40, FRAC_PI_4),
        (3e38, 3e38, FRAC_PI_4),
        (1e-40, -3e38, PI),
    ];
    for (y, x, want) in rows {
        check("atan2", &[*y, *x], *want);
    }
}

#[test]
fn other_functions_of_two_operands() {
    let rows: &[(&str, f64, f64, f64)] = &[
        ("logaddexp", INF, INF, INF),
        ("logaddexp", -INF, -INF, -INF),
        ("logaddexp", -INF, 3.0, 3.0),
        ("logaddexp", 3.0, -INF, 3.0),
        ("logaddexp", INF, -INF, INF),
        ("logaddexp", 1e9, 1.0, 1e9),
        ("logaddexp", NAN, INF, NAN),
        ("logaddexp", 1.0, NAN, NAN),
        ("hypot", 3.0, -4.0, 5.0),
        ("hypot", 0.0, -0.0, 0.0),
        ("hypot", NAN, -INF, INF),
        ("hypot", INF, NAN, INF),
        ("hypot", NAN, 1.0, NAN),
        ("hypot", 3.0 * f64::powi(2.0, 120), 4.0 * f64::powi(2.0, 120), 5.0 * f64::powi(2.0, 120)),
        ("hypot", 3.0 * f64::powi(2.0, -140), 4.0 * f64::powi(2.0, -140), 5.0 * f64::powi(2.0, -140)),
        ("fmod", 5.5, 2.0, 1.5),
        ("fmod", -5.5, 2.0, -1.5),
        ("fmod", -4.0, 2.0, -0.0),
        ("fmod", 1.0, INF, 1.0),
        ("fmod", INF, 1.0, NAN),
        ("fmod", 1.0, 0.0, NAN),
        ("remainder", -5.5, 2.0, 0.5),
        ("remainder", 5.5, -2.0, -0.5),
        ("remainder", -1.0, INF, INF),
        ("remainder", 1.0, 0.0, NAN),
        ("floor_divide", 7.0, 2.0, 3.0),
        ("floor_divide", -7.0, 2.0, -4.0),
        ("floor_divide", INF, 1.0, NAN),
        ("floor_divide", -1.0, INF, -1.0),
        ("floor_divide", 1.0, INF, 0.0),
        ("floor_divide", 1.0, 0.0, INF),
        ("floor_divide", -1.0, 0.0, -INF),
        ("floor_divide", 0.0, 0.0, NAN),
        ("floor_divide", -0.0, 1.0, -0.0),
        ("copysign", 2.0, -0.0, -2.0),
        ("copysign", -INF, 1.0, INF),
        ("nextafter", 1.0, 1.0, 1.0),
        ("nextafter", 0.0, -0.0, -0.0),
        ("nextafter", INF, INF, INF),
        ("nextafter", NAN, 1.0, NAN),
        ("nextafter", 1.0, NAN, NAN),
    ];
    for (name, x, y, want) in rows {
        check(name, &[*x, *y], *want);
    }
    let next = Compiled::new(row("nextafter"), Reg::F32);
    let f = |x: f32, y: f32| next.f32(&mut next.regs(), &[x, y]);
    assert_eq!(f(0.0, -1.0), -f32::from_bits(1));
    assert_eq!(f(f32::MAX, f32::INFINITY), f32::INFINITY);
    assert_eq!(f(f32::NEG_INFINITY, 0.0), f32::MIN);
}

/// The last operand with a finite result and the first one with an infinite one are neighbours.
#[test]
fn results_overflow_at_the_right_operand() {
    let table: &[(&str, f32, f64)] = &[
        ("exp", 88.722_83, 709.782_712_893_384),
        ("exp2", 127.999_99, 1_023.999_999_999_999_9),
        ("expm1", 88.722_83, 709.782_712_893_384),
        ("sinh", 89.415_985, 710.475_860_073_943_9),
        ("cosh", 89.415_985, 710.475_860_073_943_9),
        ("lgamma", 4.085_003e36, 2.559_983_327_851_638_3e305),
    ];
    for (name, last32, last64) in table {
        let code = Compiled::new(row(name), Reg::F32);
        let f = |x: f32| code.f32(&mut code.regs(), &[x]);
        assert!(f(*last32).is_finite() && f(last32.next_up()).is_infinite(), "{name} in f32: {}", f(*last32));
        let code = Compiled::new(row(name), Reg::F64);
        let f = |x: f64| code.f64(&mut code.regs(), &[x]);
        assert!(f(*last64).is_finite() && f(last64.next_up()).is_infinite(), "{name} in f64: {}", f(*last64));
    }
}

/// The distance to the zero is taken from the zero's true value, not from its rounded one.
#[test]
fn digamma_is_accurate_next_to_its_zero() {
    let code = Compiled::new(row("digamma"), Reg::F64);
    let got = code.f64(&mut code.regs(), &[1.461_632_144_968_339_8]);
    let exact = -2.179_391_920_038_835e-14;
    assert!((got / exact - 1.0).abs() <= f64::EPSILON, "{got:?}");
}

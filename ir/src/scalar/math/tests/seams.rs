//! Accuracy where samples at random would hardly look: neighbouring numbers on both sides of every seam between two
//! formulas, subnormal operands and results, and the operands nearest to multiples of `pi/2`.

use super::ulp::{Compiled, floor, reference, row};
use super::units::{ulps32, ulps64};
use crate::scalar::Reg;
use crate::scalar::math::MATH;

/// Checks a function of one operand at these operands, in the type that `narrow` says.
fn check(name: &str, narrow: bool, operands: impl Iterator<Item = f64>) {
    let f = row(name);
    let Some(g) = reference(name) else { panic!("{name} has no reference") };
    let code = Compiled::new(f, if narrow { Reg::F32 } else { Reg::F64 });
    let mut regs = code.regs();
    for x in operands {
        if narrow {
            let x = x as f32;
            let (got, want) = (code.f32(&mut regs, &[x]), g(x as f64));
            let error = ulps32(got, want, floor(name, x as f64));
            assert!(error <= f.ulp_f32, "{name}({x:?}) in f32 is {got:?}, not {want:?}: {error} ulp");
        } else {
            let (got, want) = (code.f64(&mut regs, &[x]), g(x));
            let error = ulps64(got, want, floor(name, x));
            assert!(error <= f.ulp_f64, "{name}({x:?}) in f64 is {got:?}, not {want:?}: {error} ulp");
        }
    }
}

/// `n` numbers of the type on each side of `x`, which is rounded to it.
fn around(x: f64, narrow: bool, n: i64) -> impl Iterator<Item = f64> {
    (-n..=n).map(move |i| {
        if narrow {
            f32::from_bits(((x as f32).to_bits() as i64 + i) as u32) as f64
        } else {
            f64::from_bits((x.to_bits() as i64 + i) as u64)
        }
    })
}

#[test]
fn both_sides_of_every_seam() {
    let ln2 = std::f64::consts::LN_2;
    let table: &[(&str, &[f64])] = &[
        ("exp", &[0.5 * ln2, 1.5 * ln2, -0.5 * ln2, 20.5 * ln2]),
        ("exp2", &[0.5, -0.5, 1.5, -149.5]),
        ("expm1", &[0.5 * ln2, 1.5 * ln2, -0.5 * ln2, f64::powi(2.0, -25), f64::powi(2.0, -54), -17.4, -37.0]),
        ("sigmoid", &[0.5 * ln2, -0.5 * ln2, 17.0, -87.3, -103.5]),
        ("tanh", &[f64::powi(2.0, -13), f64::powi(2.0, -28), 0.25 * ln2, 0.75 * ln2, 9.01, 10.0, 19.06, 20.0]),
        ("sinh", &[f64::powi(2.0, -13), f64::powi(2.0, -28), 0.5 * ln2, 20.5 * ln2, 40.5 * ln2, 100.5 * ln2]),
        ("cosh", &[0.5 * ln2, 1.5 * ln2, 40.5 * ln2, 100.5 * ln2]),
        ("log", &[std::f64::consts::SQRT_2, std::f64::consts::FRAC_1_SQRT_2, 1.0, f64::powi(2.0, -126)]),
        ("log2", &[std::f64::consts::SQRT_2, std::f64::consts::FRAC_1_SQRT_2, 1.0, f64::powi(2.0, -126)]),
        ("log10", &[std::f64::consts::SQRT_2, std::f64::consts::FRAC_1_SQRT_2, 1.0, f64::powi(2.0, -126)]),
        ("log1p", &[f64::powi(2.0, -25), f64::powi(2.0, -54), 0.4142, -0.2929, -0.9999]),
        ("asinh", &[f64::powi(2.0, -13), f64::powi(2.0, -28), f64::powi(2.0, 40), 0.3536]),
        ("acosh", &[1.001, 1.06, f64::powi(2.0, 40)]),
        ("atanh", &[f64::powi(2.0, -13), f64::powi(2.0, -28), 0.1716, 0.999]),
        (
            "sin",
            &[f64::powi(2.0, -13), f64::powi(2.0, -28), f64::powi(2.0, 49), f64::powi(2.0, 73), f64::powi(2.0, 107)],
        ),
        ("cos", &[f64::powi(2.0, -13), f64::powi(2.0, -28), f64::powi(2.0, 97), f64::powi(2.0, 121)]),
        ("tan", &[f64::powi(2.0, -13), f64::powi(2.0, -28), 0.7853981633974483, f64::powi(2.0, 49)]),
        ("asin", &[0.5, -0.5, 0.9999]),
        ("acos", &[0.5, -0.5, 0.9999, -0.9999]),
        ("atan", &[0.41421356, 1.0, 2.41421356, -1.0, f64::powi(2.0, 60)]),
        ("erf", &[1.0, -1.0, 3.93, 5.93]),
        ("erfc", &[0.75, -0.75, 10.05, 26.54]),
        ("erfcx", &[0.65, -0.65, 10.1, 27.3, -9.3]),
        ("sinc", &[0.5, -0.5, 1.5, 100.5]),
        ("i0", &[8.0, -8.0, 88.0]),
        ("i1", &[8.0, -8.0, 88.0]),
        ("i0e", &[8.0, -8.0, 88.0]),
        ("i1e", &[8.0, -8.0, 88.0]),
        ("ndtri", &[0.135_335_283_236_612_7, 0.864_664_716_763_387_3, 1e-14]),
        ("lgamma", &[0.5, 0.8, 1.0, 1.5, 2.0, 3.0, -0.5, -1.5, -2.5, -3.0, -1e-30]),
        ("digamma", &[1.0, 1.4616322, 2.0, -0.5, -1.0, f64::powi(2.0, -27), f64::powi(2.0, -56)]),
        ("erfinv", &[0.9965, 0.998, 0.99999994, -0.9999]),
    ];
    for (name, points) in table {
        for narrow in [true, false] {
            for x in *points {
                check(name, narrow, around(*x, narrow, 100));
            }
        }
    }
}

#[test]
fn subnormal_operands() {
    for f in MATH.iter().filter(|f| reference(f.name).is_some()) {
        let small32 = (0..200).map(|i| f32::from_bits(1 + i * 41_943) as f64);
        check(f.name, true, small32.clone().chain(small32.map(|x| -x)));
        let small64 = (0..200).map(|i| f64::from_bits(1 + i * 22_517_998_136_852));
        check(f.name, false, small64.clone().chain(small64.map(|x| -x)));
    }
}

/// The result is nearly zero or nearly infinite at the numbers next to multiples of `pi/2`; two of them are the hardest
/// of their types (J.-M. Muller, *Elementary Functions*).
#[test]
fn trigonometric_functions_near_multiples_of_a_right_angle() {
    let right = std::f64::consts::FRAC_PI_2;
    for name in ["sin", "cos", "tan"] {
        let multiples = (1..400).chain((0..200).map(|i| 1_234_567 + i * 987_654_321));
        for x in multiples.map(|k: i64| k as f64 * right) {
            check(name, true, around(x, true, 1));
            check(name, false, around(x, false, 1));
        }
        check(name, true, around(16_367_173.0 * f64::powi(2.0, 72), true, 3));
        check(name, false, around(6_381_956_970_095_103.0 * f64::powi(2.0, 797), false, 3));
        check(name, true, (24..128).map(|e| -1.7 * f64::powi(2.0, e)));
        check(name, false, (50..1024).map(|e| 1.3 * f64::powi(2.0, e)));
    }
}

//! Every row of the op table: its values against plain Rust in `f64`, and special values that its doc promises. (The
//! derivatives are tested in `gradients.rs`.)

use std::collections::HashMap;
use std::f64::consts::PI;
use tensorc_ir::interp::{Array, run};
use tensorc_ir::ops::elementwise::{Row, rows};
use tensorc_ir::ops::registry::{self, Arg, Out};
use tensorc_ir::{Builder, DType, Op, Result, Scalar, Type};

type Reference = fn(&[f64]) -> f64;

fn bool(v: bool) -> f64 {
    v as u8 as f64
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn gcd(x: f64, y: f64) -> f64 {
    if y == 0.0 { x.abs() } else { gcd(y, x % y) }
}

fn erf(x: f64) -> f64 {
    pxfm::f_erf(x)
}

/// What each row computes, on operands inside its domain.
const REFERENCES: &[(&str, Reference)] = &[
    ("add", |x| x[0] + x[1]),
    ("sub", |x| x[0] - x[1]),
    ("mul", |x| x[0] * x[1]),
    ("maximum", |x| x[0].max(x[1])),
    ("minimum", |x| x[0].min(x[1])),
    ("neg", |x| -x[0]),
    ("fmax", |x| x[0].max(x[1])),
    ("fmin", |x| x[0].min(x[1])),
    ("clamp_min", |x| x[0].max(x[1])),
    ("clamp_max", |x| x[0].min(x[1])),
    ("abs", |x| x[0].abs()),
    ("sign", |x| bool(x[0] > 0.0) - bool(x[0] < 0.0)),
    ("copysign", |x| x[0].copysign(x[1])),
    ("nextafter", |x| if x[1] > x[0] { x[0].next_up() } else { x[0].next_down() }),
    ("div", |x| x[0] / x[1]),
    ("trunc_divide", |x| (x[0] / x[1]).trunc()),
    ("floor_divide", |x| (x[0] / x[1]).floor()),
    ("fmod", |x| x[0] % x[1]),
    ("remainder", |x| x[0].rem_euclid(x[1])),
    ("reciprocal", |x| 1.0 / x[0]),
    ("floor", |x| x[0].floor()),
    ("ceil", |x| x[0].ceil()),
    ("trunc", |x| x[0].trunc()),
    ("round", |x| x[0].round_ties_even()),
    ("frac", |x| x[0].fract()),
    ("eq", |x| bool(x[0] == x[1])),
    ("ne", |x| bool(x[0] != x[1])),
    ("lt", |x| bool(x[0] < x[1])),
    ("le", |x| bool(x[0] <= x[1])),
    ("gt", |x| bool(x[0] > x[1])),
    ("ge", |x| bool(x[0] >= x[1])),
    ("logical_and", |x| bool(x[0] != 0.0 && x[1] != 0.0)),
    ("logical_or", |x| bool(x[0] != 0.0 || x[1] != 0.0)),
    ("logical_xor", |x| bool((x[0] != 0.0) != (x[1] != 0.0))),
    ("logical_not", |x| bool(x[0] == 0.0)),
    ("isnan", |x| bool(x[0].is_nan())),
    ("isfinite", |x| bool(x[0].is_finite())),
    ("isinf", |x| bool(x[0].is_infinite())),
    ("signbit", |x| bool(x[0].is_sign_negative())),
    ("where", |x| if x[0] != 0.0 { x[1] } else { x[2] }),
    ("bitwise_and", |x| (x[0] as i64 & x[1] as i64) as f64),
    ("bitwise_or", |x| (x[0] as i64 | x[1] as i64) as f64),
    ("bitwise_xor", |x| (x[0] as i64 ^ x[1] as i64) as f64),
    ("bitwise_not", |x| !(x[0] as i64) as f64),
    ("bitwise_left_shift", |x| ((x[0] as i64) << x[1] as i64) as f64),
    ("bitwise_right_shift", |x| (x[0] as i64 >> x[1] as i64) as f64),
    ("pow", |x| x[0].powf(x[1])),
    ("square", |x| x[0] * x[0]),
    ("cube", |x| x[0] * x[0] * x[0]),
    ("hypot", |x| x[0].hypot(x[1])),
    ("logaddexp", |x| x[0].max(x[1]) + (-(x[0] - x[1]).abs()).exp().ln_1p()),
    ("atan2", |x| x[0].atan2(x[1])),
    ("xlogy", |x| x[0] * x[1].ln()),
    ("xlog1py", |x| x[0] * x[1].ln_1p()),
    ("sqrt", |x| x[0].sqrt()),
    ("rsqrt", |x| 1.0 / x[0].sqrt()),
    ("exp", |x| x[0].exp()),
    ("exp2", |x| x[0].exp2()),
    ("expm1", |x| x[0].exp_m1()),
    ("log", |x| x[0].ln()),
    ("log2", |x| x[0].log2()),
    ("log10", |x| x[0].log10()),
    ("log1p", |x| x[0].ln_1p()),
    ("sinh", |x| x[0].sinh()),
    ("cosh", |x| x[0].cosh()),
    ("tanh", |x| x[0].tanh()),
    ("asinh", |x| pxfm::f_asinh(x[0])),
    ("acosh", |x| pxfm::f_acosh(x[0])),
    ("atanh", |x| pxfm::f_atanh(x[0])),
    ("sigmoid", |x| sigmoid(x[0])),
    ("sin", |x| x[0].sin()),
    ("cos", |x| x[0].cos()),
    ("tan", |x| x[0].tan()),
    ("asin", |x| x[0].asin()),
    ("acos", |x| x[0].acos()),
    ("atan", |x| x[0].atan()),
    ("erf", |x| erf(x[0])),
    ("erfc", |x| pxfm::f_erfc(x[0])),
    ("erfinv", |x| pxfm::f_erfinv(x[0])),
    ("fma", |x| x[0].mul_add(x[1], x[2])),
    ("heaviside", |x| if x[0] > 0.0 { 1.0 } else { 0.0 }),
    ("gcd", |x| gcd(x[0], x[1])),
    ("lcm", |x| if x[0] == 0.0 || x[1] == 0.0 { 0.0 } else { (x[0] * x[1]).abs() / gcd(x[0], x[1]) }),
    ("logaddexp2", |x| (x[0].exp2() + x[1].exp2()).log2()),
    ("lgamma", |x| pxfm::f_lgamma(x[0])),
    ("digamma", |x| pxfm::f_digamma(x[0])),
    ("zeta", |x| {
        // The sum up to 200, and the integral of the rest with two corrections.
        let (s, w) = (x[0], x[1] + 200.0);
        let tail = w.powf(1.0 - s) / (s - 1.0) + 0.5 * w.powf(-s) + s * w.powf(-s - 1.0) / 12.0
            - s * (s + 1.0) * (s + 2.0) * w.powf(-s - 3.0) / 720.0;
        (0..200).rev().map(|k| (x[1] + k as f64).powf(-s)).sum::<f64>() + tail
    }),
    ("i0", |x| pxfm::f_i0(x[0])),
    ("i1", |x| pxfm::f_i1(x[0])),
    ("i0e", |x| pxfm::f_i0e(x[0])),
    ("i1e", |x| pxfm::f_i1e(x[0])),
    ("ndtri", |x| -std::f64::consts::SQRT_2 * pxfm::f_erfcinv(2.0 * x[0])),
    ("sinc", |x| (PI * x[0]).sin() / (PI * x[0])),
    ("ndtr", |x| 0.5 * pxfm::f_erfc(-x[0] / 2f64.sqrt())),
    ("erfcx", |x| pxfm::f_erfcx(x[0])),
    ("entr", |x| -x[0] * x[0].ln()),
    ("frexp_mantissa", |x| x[0] / x[0].abs().log2().floor().exp2() / 2.0),
    ("frexp_exponent", |x| x[0].abs().log2().floor() + 1.0),
    ("relu", |x| x[0].max(0.0)),
    ("leaky_relu", |x| if x[0] > 0.0 { x[0] } else { x[0] * x[1] }),
    ("silu", |x| x[0] * sigmoid(x[0])),
    ("gelu", |x| 0.5 * x[0] * pxfm::f_erfc(-x[0] / 2f64.sqrt())),
    ("gelu_tanh", |x| {
        let t = ((2.0 / std::f64::consts::PI).sqrt() * (x[0] + 0.044715 * x[0].powi(3))).tanh();
        0.5 * x[0] * (1.0 + t)
    }),
    ("mish", |x| x[0] * softplus(x[0]).tanh()),
    // With beta between -4 and 4 and the threshold too, both branches are met.
    ("softplus", |x| if x[0] * x[1] > x[2] { x[0] } else { softplus(x[0] * x[1]) / x[1] }),
    ("logsigmoid", |x| -softplus(-x[0])),
    ("elu", |x| if x[0] > 0.0 { x[0] } else { x[1] * x[0].exp_m1() }),
    ("celu", |x| if x[0] > 0.0 { x[0] } else { x[1] * (x[0] / x[1]).exp_m1() }),
    ("selu", |x| {
        let (alpha, scale) = (1.673_263_242_354_377_3, 1.050_700_987_355_480_5);
        scale * if x[0] > 0.0 { x[0] } else { alpha * x[0].exp_m1() }
    }),
    ("hardsigmoid", |x| (x[0] + 3.0).clamp(0.0, 6.0) / 6.0),
    ("hardswish", |x| x[0] * (x[0] + 3.0).clamp(0.0, 6.0) / 6.0),
    ("softsign", |x| x[0] / (1.0 + x[0].abs())),
    ("tanhshrink", |x| x[0] - x[0].tanh()),
    ("bce", |x| -(x[1] * x[0].ln() + (1.0 - x[1]) * (-x[0]).ln_1p())),
    ("check_index", |x| x[0].trunc()),
    ("check_target", |x| x[0].trunc()),
    ("check_class", |x| x[0].trunc()),
    ("check_size", |x| x[0].trunc()),
    ("check_values", |x| x[0].trunc()),
    ("check_places", |x| x[0].trunc()),
    ("check_max_index", |x| x[0].trunc()),
    ("check_offset", |x| x[0].trunc()),
    ("check_length", |x| x[0].trunc()),
    ("check_pivot", |x| x[0].trunc()),
    ("check_place", |x| x[0].trunc()),
    ("wrap_index", |x| x[0].trunc()),
    ("check_probability", |_| 1.0),
    ("check_weight", |_| 1.0),
    ("check_sum", |_| 1.0),
    ("check_variance", |_| 1.0),
    ("check_deviation", |_| 1.0),
    ("check_rate", |_| 1.0),
    ("check_observation", |_| 1.0),
    ("check_repeats", |_| 1.0),
    ("check_total", |_| 1.0),
    ("check_source", |_| 1.0),
];

/// Draws that are the same in every run, in `low..high`.
fn draws(n: usize, low: f64, high: f64, seed: u64) -> Vec<f64> {
    let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..n).map(|_| low + (high - low) * next()).collect()
}

/// The dtype a row's `k`-th operand is drawn in.
fn operand_dtype(row: Row, k: usize) -> DType {
    if row.name() == "where" && k == 0 {
        return DType::Bool;
    }
    let float = Type::new(DType::F64, [1]);
    match row.dtypes(&vec![&float; row.0.args.len()]) {
        Ok((d, _)) => d[k],
        // Rows of integers refuse floats; `where` wants a bool.
        Err(_) if row.name() == "where" => DType::F64,
        Err(_) => DType::I64,
    }
}

/// Operands inside the row's domain; sizes are above all indices.
fn operands(row: Row, n: usize) -> Vec<Vec<f64>> {
    let (low, high) = row.0.domain;
    (0..row.0.args.len())
        .map(|k| {
            let mut x = draws(n, low, high, 7 + k as u64);
            if row.0.args[k] == "size" {
                x.fill(10.0);
            }
            x
        })
        .collect()
}

fn array(dtype: DType, x: &[f64]) -> Array {
    Array::from_scalars(dtype, &[x.len()], x.iter().map(|v| Scalar::from_f64(dtype, *v)))
}

#[test]
fn every_row_computes_its_reference() {
    let references: HashMap<&str, Reference> = REFERENCES.iter().copied().collect();
    for row in rows() {
        let reference = references.get(row.name()).unwrap_or_else(|| panic!("no reference for `{}`", row.name()));
        let x = operands(row, 64);
        let inputs: Vec<Array> = x.iter().enumerate().map(|(k, x)| array(operand_dtype(row, k), x)).collect();
        let got = Op::Map(row).structural().eval(&inputs).unwrap_or_else(|e| panic!("{}: {e}", row.name())).scalars();
        for i in 0..64 {
            let at: Vec<f64> = inputs.iter().map(|a| a.scalars()[i].to_f64()).collect();
            let (got, want) = (got[i].to_f64(), reference(&at));
            let close = got == want || (got - want).abs() <= 1e-14 + 1e-13 * want.abs();
            assert!(close, "{}({at:?}) is {got}, expected {want}", row.name());
        }
    }
    assert_eq!(references.len(), rows().count(), "a reference without a row");
}

/// Calls a function on tensors of one dtype and gives its elements.
fn call(name: &str, dtype: DType, x: &[&[f64]]) -> Result<Vec<f64>> {
    let b = Builder::new("f");
    let inputs: Vec<Array> = x.iter().map(|x| array(dtype, x)).collect();
    let args = inputs.iter().map(|a| {
        let v = b.input("x", Type::new(dtype, a.shape().iter().copied()), false, None);
        (None, Arg::Tensor(b.ex(v)))
    });
    let Out::One(y) = registry::call(&b, name, args.collect())? else { panic!("one result") };
    let y = y.value()?;
    b.with_graph(|g| g.outputs = vec![y]);
    let g = b.finish()?;
    Ok(run(&g, &inputs)?[0].scalars().into_iter().map(Scalar::to_f64).collect())
}

#[test]
fn integers_divide_downward_and_wrap() -> Result<()> {
    let min = i32::MIN as f64;
    assert_eq!(call("floor_divide", DType::I32, &[&[-7.0, 7.0, min], &[2.0, -2.0, -1.0]])?, [-4.0, -4.0, min]);
    assert_eq!(call("remainder", DType::I32, &[&[-7.0, 7.0, min], &[2.0, -2.0, -1.0]])?, [1.0, -1.0, 0.0]);
    assert_eq!(call("fmod", DType::I32, &[&[-7.0, 7.0, min], &[2.0, -2.0, -1.0]])?, [-1.0, 1.0, 0.0]);
    assert_eq!(call("abs", DType::I32, &[&[min]])?, [min]);
    assert_eq!(call("abs", DType::U8, &[&[200.0]])?, [200.0]);
    for name in ["floor_divide", "remainder", "fmod", "trunc_divide"] {
        let e = call(name, DType::I64, &[&[1.0, 2.0], &[1.0, 0.0]]).expect_err("a division by zero");
        assert_eq!(e.kind(), tensorc_ir::Kind::Data, "{name}");
    }
    Ok(())
}

#[test]
fn integer_powers_wrap_and_negative_ones_are_cut_off() -> Result<()> {
    assert_eq!(call("pow", DType::I64, &[&[3.0, -2.0, 2.0], &[4.0, 3.0, 62.0]])?, [81.0, -8.0, 2f64.powi(62)]);
    assert_eq!(call("pow", DType::I8, &[&[2.0, 3.0], &[7.0, 5.0]])?, [-128.0, -13.0]);
    assert_eq!(call("pow", DType::U8, &[&[2.0, 3.0], &[7.0, 200.0]])?, [128.0, 161.0]);
    assert_eq!(
        call("pow", DType::I32, &[&[1.0, -1.0, -1.0, 2.0, 0.0], &[-3.0, -3.0, -2.0, -1.0, -1.0]])?,
        [1.0, -1.0, 1.0, 0.0, 0.0]
    );
    Ok(())
}

#[test]
fn shifts_are_total() -> Result<()> {
    let by = [0.0, 7.0, 8.0, 100.0, -1.0];
    assert_eq!(call("bitwise_left_shift", DType::I8, &[&[1.0; 5], &by])?, [1.0, -128.0, 0.0, 0.0, 0.0]);
    assert_eq!(call("bitwise_right_shift", DType::I8, &[&[-128.0; 5], &by])?, [-128.0, -1.0, -1.0, -1.0, -1.0]);
    assert_eq!(
        call("bitwise_right_shift", DType::U8, &[&[128.0; 5], &[0.0, 7.0, 8.0, 100.0, 255.0]])?,
        [128.0, 1.0, 0.0, 0.0, 0.0]
    );
    Ok(())
}

#[test]
fn nan_spreads_where_pytorch_spreads_it() -> Result<()> {
    let nan = f64::NAN;
    let is_nan = |v: Vec<f64>| v.into_iter().map(f64::is_nan).collect::<Vec<bool>>();
    let pair: [&[f64]; 2] = [&[nan, 1.0, nan], &[1.0, nan, nan]];
    assert_eq!(is_nan(call("maximum", DType::F32, &pair)?), [true, true, true]);
    assert_eq!(is_nan(call("fmax", DType::F32, &pair)?), [false, false, true]);
    assert_eq!(is_nan(call("clamp_min", DType::F32, &pair)?), [true, true, true]);
    assert_eq!(is_nan(call("relu", DType::F32, &[&[nan, -1.0]])?), [true, false]);
    assert_eq!(call("sign", DType::F32, &[&[nan, -0.0]])?, [0.0, 0.0]);
    assert_eq!(call("xlogy", DType::F32, &[&[0.0, 0.0], &[0.0, f64::INFINITY]])?, [0.0, 0.0]);
    Ok(())
}

#[test]
fn bool_is_refused_where_pytorch_refuses_it() {
    for name in ["neg", "abs", "floor", "relu", "sub"] {
        let x: [&[f64]; 2] = [&[1.0], &[1.0]];
        let n = if name == "sub" { 2 } else { 1 };
        let e = call(name, DType::Bool, &x[..n]).expect_err("a refusal");
        assert_eq!(e.kind(), tensorc_ir::Kind::Dtype, "{name}");
    }
    for name in ["silu", "gelu", "leaky_relu", "elu", "softplus", "frac", "hypot"] {
        let x: [&[f64]; 2] = [&[1.0], &[1.0]];
        let n = if name == "hypot" { 2 } else { 1 };
        let e = call(name, DType::I64, &x[..n]).expect_err("a refusal");
        assert_eq!(e.kind(), tensorc_ir::Kind::Dtype, "{name}");
    }
}

//! Reductions, moments, norms, softmax.

use super::*;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

#[test]
fn integers_sum_in_i64_and_bytes_stay_bytes() {
    let x: (&str, &[f64]) = ("x: u8[2]", &[200.0, 100.0]);
    assert_eq!((type_of("sum(x)", &[x]).0, eval("sum(x)", &[x])), (DType::I64, vec![300.0]));
    assert_eq!(type_of("any(x)", &[x]).0, DType::U8);
    assert_eq!(type_of("cumprod(x, 0)", &[x]).0, DType::I64);
    assert_eq!(eval("count_nonzero(x)", &[x]), [2.0]);
    assert_eq!(refused("mean(x)", &[x]), Kind::Dtype);
    assert_eq!(eval("mean(x, dtype=f32)", &[x]), [150.0]);
}

#[test]
fn half_floats_accumulate_in_single_precision() {
    // One after the other in f16, 2048 + 1 is 2048.
    let x = vec![1.0; 4096];
    assert_eq!(eval("sum(x)", &[("x: f16[4096]", &x)]), [4096.0]);
    assert_eq!(eval("cumsum(x, 0)[4095]", &[("x: f16[4096]", &x)]), [4096.0]);
    assert_eq!(eval("mean(x)", &[("x: f16[4096]", &x)]), [1.0]);
}

#[test]
fn axes_are_checked() {
    let x: (&str, &[f64]) = ("x: f32[2, 2]", &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(eval("sum(x, dim=-1)", &[x]), [3.0, 7.0]);
    assert_eq!(eval("sum(x, axis=0, keepdims=true)", &[x]), [4.0, 6.0]);
    assert_eq!(type_of("sum(x, [0, 1], keepdim=true)", &[x]).1, [1, 1]);
    for body in ["sum(x, 2)", "sum(x, [0, -2])", "amax(x, -3)", "softmax(x, 2)"] {
        assert_eq!(refused(body, &[x]), Kind::Index, "{body}");
    }
    assert_eq!(eval("sum(x, 0)", &[("x: f32[]", &[5.0])]), [5.0]);
}

#[test]
fn nothing_has_a_sum_but_no_maximum() {
    let x: (&str, &[f64]) = ("x: f32[0]", &[]);
    assert_eq!(eval("sum(x)", &[x]), [0.0]);
    assert_eq!(eval("prod(x)", &[x]), [1.0]);
    assert!(eval("mean(x)", &[x])[0].is_nan());
    assert_eq!(eval("all(x)", &[x]), [1.0]);
    assert_eq!(eval("logsumexp(x, 0)", &[x]), [-INF]);
    assert_eq!(refused("max(x)", &[x]), Kind::Shape);
    assert_eq!(refused("argmax(x)", &[x]), Kind::Shape);
}

#[test]
fn max_along_an_axis_gives_positions_and_of_two_tensors_the_larger() {
    let x: (&str, &[f64]) = ("x: f32[2, 3]", &[1.0, 5.0, 5.0, NAN, 2.0, NAN]);
    let r = all("max(x, dim=1)", &[x]);
    assert_eq!(r[0][0], 5.0);
    assert!(r[0][1].is_nan());
    assert_eq!(r[1], [1.0, 0.0], "the first of the largest, or the first NaN");
    assert_eq!(type_of("max(x, 1, true)", &[x]).1, [2, 1]);
    assert_eq!(eval("min(x[0], x[0, 1])", &[x]), [1.0, 5.0, 5.0]);
    assert_eq!(all("max(b, 0)", &[("b: bool[3]", &[0.0, 1.0, 1.0])]), [[1.0], [1.0]]);
}

#[test]
fn variance_divides_by_what_the_correction_leaves() {
    let x: (&str, &[f64]) = ("x: f32[4]", &[1.0, 2.0, 3.0, 6.0]);
    assert_close(&eval("var(x)", &[x]), &[14.0 / 3.0]);
    assert_close(&eval("var(x, unbiased=false)", &[x]), &[3.5]);
    assert_close(&eval("var(x, false)", &[x]), &[3.5]);
    assert_close(&eval("var(x, 0, correction=2)", &[x]), &[7.0]);
    assert_close(&eval("std(x, 0, false, true)", &[x]), &[3.5f64.sqrt()]);
    assert!(eval("var(x[:1])", &[x])[0].is_nan());
    let both = all("var_mean(x)", &[x]);
    assert_close(&[both[0][0], both[1][0]], &[14.0 / 3.0, 3.0]);
}

#[test]
fn norms_of_every_exponent() {
    let x: (&str, &[f64]) = ("x: f32[3]", &[3.0, 0.0, -4.0]);
    assert_close(&eval("norm(x)", &[x]), &[5.0]);
    assert_close(&eval("norm(x, 1)", &[x]), &[7.0]);
    assert_close(&eval("norm(x, 0)", &[x]), &[2.0]);
    assert_close(&eval("norm(x, inf)", &[x]), &[4.0]);
    assert_close(&eval("norm(x, -inf)", &[x]), &[0.0]);
    assert_close(&eval("norm(x, 3.0)", &[x]), &[(27.0f64 + 64.0).cbrt()]);
    assert_close(&eval("normalize(x, dim=0)", &[x]), &[0.6, 0.0, -0.8]);
    assert_close(&eval("cosine_similarity(x, 2 * x, dim=0)", &[x]), &[1.0]);
}

#[test]
fn softmax_takes_the_largest_out_first() {
    let x: (&str, &[f64]) = ("x: f32[3]", &[1000.0, 1000.0, -1000.0]);
    assert_eq!(eval("softmax(x, 0)", &[x]), [0.5, 0.5, 0.0]);
    assert_close(&eval("logsumexp(x, 0)", &[x]), &[1000.0 + 2f64.ln()]);
    let low: (&str, &[f64]) = ("x: f32[2]", &[-INF, 0.0]);
    assert_eq!(eval("log_softmax(x, 0)", &[low]), [-INF, 0.0]);
    let none: (&str, &[f64]) = ("x: f32[2]", &[-INF, -INF]);
    assert!(eval("softmax(x, 0)", &[none]).iter().all(|v| v.is_nan()));
    assert_eq!(eval("logsumexp(x, 0)", &[none]), [-INF]);
    assert_eq!(refused("softmax(x, 0)", &[("x: i64[2]", &[1.0, 2.0])]), Kind::Dtype);
}

#[test]
fn powers_and_blends() {
    let x: (&str, &[f64]) = ("x: f32[2]", &[4.0, 9.0]);
    assert_eq!(eval("x ** 0.5", &[x]), [2.0, 3.0]);
    assert_eq!(eval("x ** -2", &[x]), [1.0 / 16.0, (1.0f32 / 81.0) as f64]);
    assert_eq!(eval("2 ** x", &[x]), [16.0, 512.0]);
    let i: (&str, &[f64]) = ("i: i64[2]", &[-3.0, 2.0]);
    assert_eq!(eval("i ** 3", &[i]), [-27.0, 8.0]);
    assert_eq!(refused("i ** -1", &[i]), Kind::Dtype);
    assert_eq!(type_of("i ** 2.0", &[i]).0, DType::F32);
    assert_eq!(eval("i.div(2, rounding_mode=\"floor\")", &[i]), [-2.0, 1.0]);
    assert_eq!(eval("i.div(2, rounding_mode=\"trunc\")", &[i]), [-1.0, 1.0]);
    assert_eq!(eval("add(x, x, alpha=2)", &[x]), [12.0, 27.0]);
    assert_eq!(eval("lerp(x, x * 2, 0.25)", &[x]), [5.0, 11.25]);
    assert_eq!(eval("addcmul(x, x, x, value=0.5)", &[x]), [12.0, 49.5]);
    assert_eq!(eval("round(x / 7, decimals=2)", &[x]), [(0.57f32) as f64, (1.29f32) as f64]);
    assert_eq!(eval("clamp(x, max=5)", &[x]), [4.0, 5.0]);
    assert_eq!(type_of("clamp(i, min=0.5)", &[i]).0, DType::F32);
    assert_eq!(refused("clamp(x)", &[x]), Kind::Type);
    assert_eq!(eval("nan_to_num(x / 0 - x / 0, 3.0)", &[x]), [3.0, 3.0]);
    assert_eq!(eval("isclose(x, x + 1e-6)", &[x]), [1.0, 1.0]);
}

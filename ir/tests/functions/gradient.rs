//! Gradients of composites: against central differences in `f64`, and at the places where they are not smooth.

use super::*;

/// The gradient of `sum(body * w)` for fixed weights, by the rule and by differences.
fn check(body: &str, ty: &str, n: usize) {
    let x = numbers(n, 21);
    let param = format!("x: f64[{ty}]");
    let weighted =
        |e: &str| format!("let y = {e}; sum(y * (0.5 + 0.25 * sin(arange(float_count(y)).view_as(y) * 1.7)))");
    // Weights without pattern keep gradients from cancelling.
    let weighted = weighted(body).replace("float_count(y)", &count(body, &param, &x).to_string());
    let program = weighted.replace("sum(y *", "let z = sum(y *") + "; grad(z, x)";
    let got = eval(&program, &[(&param, &x)]);
    const H: f64 = 1e-5;
    for i in 0..n {
        let at = |by: f64| {
            let mut x = x.clone();
            x[i] += by;
            eval(&weighted, &[(&param, &x)])[0]
        };
        let want = (at(H) - at(-H)) / (2.0 * H);
        let close = (got[i] - want).abs() <= 1e-5 * (1.0 + want.abs());
        assert!(close, "{body}: element {i} of the gradient is {}, differences give {want}", got[i]);
    }
}

fn count(body: &str, param: &str, x: &[f64]) -> usize {
    eval(body, &[(param, x)]).len()
}

#[test]
fn composites_have_the_derivatives_of_their_functions() {
    for body in [
        "softmax(x, 1)",
        "log_softmax(x, 0)",
        "logsumexp(x, [0, 1])",
        "var(x, 1)",
        "std(x, 0)",
        "norm(x, 3.0)",
        "norm(x, 1, dim=0)",
        "normalize(x)",
        "prod(x, 1)",
        "cumprod(x, 1)",
        "cumsum(x, 0)",
        "max(x, dim=1)[0]",
        "sort(x, 1)[0]",
        "median(x, 0)[0]",
        "diff(x)",
        "cummax(x, 1)[0]",
        "logcumsumexp(x, 0)",
        "cdist(x, x[:2] * 2)",
        "layer_norm(x, [4], x[0], x[1])",
        "rms_norm(x, [4], x[2])",
        "gelu(x) + gelu(x, approximate=\"tanh\")",
        "softplus(x, beta=2.0) + elu(x, 0.7) + celu(x, 0.7) + selu(x) + mish(x)",
        "hardswish(x) + hardsigmoid(x) + logsigmoid(x) + softsign(x) + tanhshrink(x)",
        "leaky_relu(x, 0.2) + softshrink(x) + hardshrink(x) + glu(x).repeat(1, 2)",
        "clamp(x, -1.0, 0.5) + hardtanh(x) + relu6(x)",
        "lerp(x, x * x, 0.3) + addcmul(x, x, x, value=2) + addcdiv(x, x, x * x + 1)",
        "x ** 3 + (x * x + 1) ** -0.5 + (x * x + 1) ** 1.7",
        "fmod(x, 0.7) + remainder(x, -0.6)",
    ] {
        check(body, "3, 4", 12);
    }
}

#[test]
fn picks_and_moves_have_the_derivatives_of_their_functions() {
    for body in [
        "roll(x, 1, 1) * x",
        "flip(x, 0) * x",
        "pad(x, [1, 2], mode=\"reflect\") ** 2",
        "pad(x, [-1, 2, 1, 0], value=0.5) ** 2",
        "tril(x) * x.sum()",
        "x.T.reshape(12) ** 2",
        "x[1:, ::2] ** 2",
        "repeat(x, 2, 1) ** 2",
        "repeat_interleave(x, 2, 0) ** 2",
        "where(x > 0, x * x, -x)",
        "x[arange(3), arange(3)] ** 2",
        "x[:, arange(2)] ** 2",
        "index_add(x, 0, arange(2), x[:2] * x[1:])",
        "scatter(x * x, 1, arange(4)[None], x[:1])",
        "cat([x * x, x], 1)",
        "diagonal(x @ x.T) ** 2",
    ] {
        check(body, "3, 4", 12);
    }
}

#[test]
fn products_layers_and_windows_have_the_derivatives_of_their_functions() {
    for body in [
        "x @ x.T @ x",
        "einsum(\"ij,kj,kl->il\", x, x, x)",
        "linear(x, x * x, x[0, :3])",
        "conv1d(x[None], x.view(2, 3, 2), stride=2, padding=1)",
        "conv2d(x.view(1, 2, 3, 2), x.view(3, 2, 2, 1), padding=1)",
        "conv2d(x.view(2, 3, 2), x[0].view(2, 1, 1, 2), groups=2)",
        "conv_transpose1d(x, x.view(3, 2, 2), stride=2)",
        "max_pool1d(x, 2)",
        "avg_pool1d(x, 3, stride=1, padding=1, count_include_pad=false)",
        "adaptive_avg_pool1d(x, 3)",
        "group_norm(x.view(2, 3, 2), 3, x[0, :3], x[1, :3])",
        "batch_norm(x, None, None, training=true)",
        "scaled_dot_product_attention(x[None], x[None] * 0.5, x[None], is_causal=true)",
        "cross_entropy(x, arange(3))",
        "cross_entropy(x, arange(3), x[0] ** 2 + 1, label_smoothing=0.2)",
        "mse_loss(x, x * x) + smooth_l1_loss(x, x * x) + huber_loss(x, x * x, delta=0.5)",
        "binary_cross_entropy(sigmoid(x), sigmoid(x * x))",
        "binary_cross_entropy_with_logits(x, sigmoid(x * x), pos_weight=x[0] ** 2)",
        "kl_div(log_softmax(x, 1), softmax(x * x, 1), reduction=\"batchmean\")",
        "cosine_similarity(x, x.flip(1))",
    ] {
        check(body, "3, 4", 12);
    }
}

#[test]
fn gradients_at_kinks_are_pytorchs() {
    let at = |body: &str, x: f64| eval(&format!("grad({body}, x)"), &[("x: f32[]", &[x])])[0];
    let inf = f64::INFINITY;
    for (body, x, want) in [
        ("abs(x)", 0.0, 0.0),
        ("relu(x)", 0.0, 0.0),
        ("relu(x)", f64::NAN, 1.0),
        ("sqrt(x)", 0.0, inf),
        ("rsqrt(x)", 0.0, -inf),
        ("log(x)", 0.0, inf),
        ("acos(x)", 1.0, -inf),
        ("clamp(x, 0.0, 1.0)", 0.0, 0.0),
        ("clamp(x, 0.0, 1.0)", 1.0, 0.0),
        ("clamp(x, 0.0, 1.0)", f64::NAN, 0.0),
        ("relu6(x)", 6.0, 0.0),
        ("hardtanh(x)", -1.0, 0.0),
        ("hardsigmoid(x)", 3.0, 0.0),
        ("leaky_relu(x, 0.1)", 0.0, 0.1f32 as f64),
        ("x ** 2", 0.0, 0.0),
        ("x ** 0", 0.0, 0.0),
        ("pow(x, x * 0)", 0.0, 0.0),
        ("norm(x)", 0.0, 0.0),
        ("maximum(x, x * 1.0)", 2.0, 1.0),
        ("fmod(x, 0.75)", 2.0, 1.0),
        ("atan2(x, x)", 0.0, 0.0),
        ("floor(x) + round(x) + sign(x)", 1.5, 0.0),
        ("elu(x)", 200.0, 1.0),
        ("softplus(x)", 1000.0, 1.0),
        ("where(x > 0, x, exp(-x))", 200.0, 1.0),
    ] {
        let got = at(body, x);
        assert!(got == want || got.is_nan() && want.is_nan(), "{body} at {x}: {got}, expected {want}");
    }
    assert!(at("where(x > 0, sqrt(x), 0)", -1.0).is_nan(), "the branch not taken is differentiated too");
    let pair = |body: &str, x: &[f64]| eval(&format!("grad({body}, x)"), &[(&format!("x: f32[{}]", x.len()), x)]);
    assert_eq!(pair("max(x)", &[1.0, 3.0, 3.0]), [0.0, 0.5, 0.5]);
    assert_eq!(pair("max(x, 0)[0]", &[1.0, 3.0, 3.0]), [0.0, 1.0, 0.0]);
    assert_eq!(pair("maximum(x[0], x[1])", &[2.0, 2.0]), [0.5, 0.5]);
    assert_eq!(pair("clamp(x[0], min=x[1])", &[2.0, 2.0]), [0.5, 0.5]);
    assert_eq!(pair("prod(x)", &[0.0, 3.0, 2.0]), [6.0, 0.0, 0.0]);
    assert_eq!(pair("std(x)", &[2.0, 2.0, 2.0]), [0.0, 0.0, 0.0]);
    assert!(pair("std(x)", &[2.0])[0].is_nan());
    assert!(pair("logsumexp(x, 0)", &[-inf, -inf]).iter().all(|v| v.is_nan()));
}

#[test]
fn half_floats_round_once_in_a_composite() {
    // In f16, 1 + 1e-4 is 1, and exp of a rounded difference is off; the composite computes in f32.
    let x: (&str, &[f64]) = ("x: f16[3]", &[0.1, 0.2, 10.0]);
    let wide = "x.to(f32)";
    for body in ["softmax(x, 0)", "gelu(x)", "leaky_relu(x, 0.01)", "std(x)", "logsumexp(x, 0)", "layer_norm(x, [3])"] {
        let once = format!("{}.to(f16)", body.replace('x', "w").replace("softmaw", "softmax").replace("ewp", "exp"));
        let once = format!("let w = {wide}; {once}");
        assert_eq!(eval(body, &[x]), eval(&once, &[x]), "{body}");
        let gradient = format!("grad(sum({body} * {body}), x)");
        assert_eq!(type_of(&gradient, &[x]).0, DType::F16, "{body}");
    }
}

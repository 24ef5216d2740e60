//! Losses, layers and attention.

use super::*;

/// Weights, as PyTorch 2.15 computes with them.
#[rustfmt::skip]
const CASES: &[Case] = &[
        ("mse_loss(x, t, reduction=\"mean\", weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[11.2333336]]),
        ("mse_loss(x, t, reduction=\"sum\", weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[84.25]]),
        ("mse_loss(x, t, reduction=\"none\", weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[0.25, 8.0, 0.0, 0.0, 1.0, 75.0]]),
        ("grad(mse_loss(x, t, weight=w), x)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[0.13333334, -1.06666672, 0.0, 0.0, -0.266666681, 4.00000048]]),
        ("grad(mse_loss(x, t, weight=w), w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[-1.46444452, -0.964444458, -1.46444452, -1.49777782, -1.36444449, 1.83555567]]),
        ("mse_loss(x, t[:1], weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[6.98333311]]),
        ("l1_loss(x, t, reduction=\"mean\", weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[2.73333335]]),
        ("l1_loss(x, t, reduction=\"sum\", weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[20.5]]),
        ("l1_loss(x, t, reduction=\"none\", weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[0.5, 4.0, 0.0, 0.0, 1.0, 15.0]]),
        ("grad(l1_loss(x, t, weight=w), x)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[0.13333334, -0.266666681, 0.0, 0.0, -0.13333334, 0.400000036]]),
        ("grad(l1_loss(x, t, weight=w), w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[-0.297777772, -0.0977777541, -0.297777772, -0.364444435, -0.231111094, 0.302222252]]),
        ("l1_loss(x, t[:1], weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[2.4333334]]),
        ("huber_loss(x, t, reduction=\"mean\", weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[2.85416675]]),
        ("huber_loss(x, t, reduction=\"sum\", weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[17.125]]),
        ("huber_loss(x, t, reduction=\"none\", weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[0.125, 3.0, 0.0, 0.0, 0.5, 13.5]]),
        ("grad(huber_loss(x, t, weight=w), x)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[0.0833333358, -0.333333343, 0.0, 0.0, -0.166666672, 0.5]]),
        ("grad(huber_loss(x, t, weight=w), w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[0.020833334, 0.25, 0.020833334, 0.0, 0.0833333358, 0.75]]),
        ("huber_loss(x, t[:1], weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[2.4375]]),
        ("huber_loss(x, t, delta=0.5, weight=w)", &[("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]), ("t: f32[2, 3]", &[0.5, 4.0, 0.0, -1.0, 1.0, -2.0]), ("w: f32[2, 3]", &[1.0, 2.0, 0.0, 0.5, 1.0, 3.0])], &[&[1.5625]]),
];

const LOGITS: (&str, &[f64]) = ("x: f32[2, 3]", &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]);

/// `-log softmax` of a row at a class.
fn nll(row: &[f64], class: usize) -> f64 {
    row.iter().map(|v| v.exp()).sum::<f64>().ln() - row[class]
}

#[test]
fn cross_entropy_weighs_ignores_and_smooths() {
    let (a, b) = (nll(&LOGITS.1[..3], 1), nll(&LOGITS.1[3..], 0));
    let t: (&str, &[f64]) = ("t: i64[2]", &[1.0, 0.0]);
    let w: (&str, &[f64]) = ("w: f32[3]", &[2.0, 1.0, 0.5]);
    assert_close(&eval("cross_entropy(x, t)", &[LOGITS, t]), &[(a + b) / 2.0]);
    assert_close(&eval("cross_entropy(x, t, reduction=\"none\")", &[LOGITS, t]), &[a, b]);
    assert_close(&eval("cross_entropy(x, t, w)", &[LOGITS, t, w]), &[(a + 2.0 * b) / 3.0]);
    assert_close(&eval("cross_entropy(x, t, ignore_index=0)", &[LOGITS, t]), &[a]);
    let even = |row: &[f64]| (0..3).map(|c| nll(row, c)).sum::<f64>() / 3.0;
    let smooth = 0.9 * (a + b) / 2.0 + 0.1 * (even(&LOGITS.1[..3]) + even(&LOGITS.1[3..])) / 2.0;
    assert_close(&eval("cross_entropy(x, t, label_smoothing=0.1)", &[LOGITS, t]), &[smooth]);
    let p: (&str, &[f64]) = ("p: f32[2, 3]", &[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    assert_close(&eval("cross_entropy(x, p)", &[LOGITS, p]), &[(a + b) / 2.0]);
}

#[test]
fn a_class_outside_is_an_error_when_it_runs() {
    for (class, kind) in [(3.0, Kind::Data), (-1.0, Kind::Data)] {
        let t = [1.0, class];
        assert_eq!(refused("cross_entropy(x, t)", &[LOGITS, ("t: i64[2]", &t)]), kind);
    }
    assert!(eval("cross_entropy(x, t)", &[LOGITS, ("t: i64[2]", &[-100.0, -100.0])])[0].is_nan());
    assert_eq!(refused("cross_entropy(x, t)", &[LOGITS, ("t: i64[3]", &[0.0; 3])]), Kind::Shape);
    assert_eq!(refused("cross_entropy(x, t)", &[LOGITS, ("t: i32[2]", &[0.0; 2])]), Kind::Dtype);
    assert_eq!(refused("mse_loss(x, x, reduction=\"all\")", &[LOGITS]), Kind::Type);
}

#[test]
fn distances() {
    let x: (&str, &[f64]) = ("x: f32[2]", &[0.5, 3.0]);
    let t: (&str, &[f64]) = ("t: f32[2]", &[0.0, 0.0]);
    let of = |body: &str| eval(body, &[x, t]);
    assert_close(&of("mse_loss(x, t, reduction=\"sum\")"), &[9.25]);
    assert_close(&of("l1_loss(x, t)"), &[1.75]);
    assert_close(&of("smooth_l1_loss(x, t, reduction=\"none\")"), &[0.125, 2.5]);
    assert_close(&of("smooth_l1_loss(x, t, beta=0.0)"), &[1.75]);
    assert_close(&of("huber_loss(x, t, reduction=\"none\", delta=2.0)"), &[0.125, 4.0]);
    assert_close(&of("binary_cross_entropy_with_logits(x, t)"), &[(0.5f64.exp().ln_1p() + 3f64.exp().ln_1p()) / 2.0]);
    let p: (&str, &[f64]) = ("p: f32[2]", &[1.0, 0.5]);
    assert_close(&eval("binary_cross_entropy(p, t, reduction=\"none\")", &[p, t]), &[100.0, 2f64.ln()]);
    let q: (&str, &[f64]) = ("q: f32[2]", &[0.25, 0.0]);
    assert_close(&eval("kl_div(log(p), q, reduction=\"sum\")", &[p, q]), &[0.25 * 0.25f64.ln()]);
}

#[test]
fn normalising_layers_give_mean_0_and_variance_1() {
    let v = numbers(24, 1);
    let x = ("x: f32[2, 3, 4]", v.as_slice());
    for body in ["layer_norm(x, [4])", "layer_norm(x, [3, 4])", "instance_norm(x)", "group_norm(x, 3)"] {
        let y = eval(body, &[x]);
        let n = if body.contains("3, 4") { 12 } else { 4 };
        for row in y.chunks(n) {
            let mean: f64 = row.iter().sum::<f64>() / n as f64;
            let var: f64 = row.iter().map(|v| v * v).sum::<f64>() / n as f64;
            assert!(mean.abs() < 1e-5 && (var - 1.0).abs() < 1e-2, "{body}: mean {mean}, variance {var}");
        }
    }
    let r = eval("rms_norm(x, [4])", &[x]);
    assert_close(&[r[..4].iter().map(|v| v * v).sum::<f64>() / 4.0], &[1.0]);
    assert_eq!(refused("layer_norm(x, [3])", &[x]), Kind::Shape);
    assert_eq!(refused("layer_norm(x, [4], w)", &[x, ("w: f64[4]", &[1.0; 4])]), Kind::Dtype);
    assert_eq!(refused("group_norm(x, 2)", &[x]), Kind::Shape);
}

#[test]
fn batch_norm_blends_its_statistics_when_training() {
    let x: (&str, &[f64]) = ("x: f32[4, 1]", &[1.0, 2.0, 3.0, 6.0]);
    let m: (&str, &[f64]) = ("m: mut f32[1]", &[0.0]);
    let v: (&str, &[f64]) = ("v: mut f32[1]", &[1.0]);
    let r = all("let y = batch_norm(x, m, v, training=true); (y, m, v)", &[x, m, v]);
    assert_close(&r[1], &[0.3]);
    assert_close(&r[2], &[0.9 + 0.1 * 14.0 / 3.0]);
    assert_close(&[r[0].iter().sum::<f64>()], &[0.0]);
    assert_eq!(
        eval("batch_norm(x, m, v, eps=0.0)", &[x, ("m: f32[1]", &[1.0]), ("v: f32[1]", &[4.0])]),
        [0.0, 0.5, 1.0, 2.5]
    );
}

#[test]
fn attention_masks_and_groups() {
    let (q, k, v) = (numbers(16, 2), numbers(16, 3), numbers(16, 4));
    let inputs =
        [("q: f32[2, 2, 4]", q.as_slice()), ("k: f32[2, 2, 4]", k.as_slice()), ("v: f32[2, 2, 4]", v.as_slice())];
    let plain = eval("softmax(q @ k.mT / 2, dim=-1) @ v", &inputs);
    assert_close(&eval("scaled_dot_product_attention(q, k, v)", &inputs), &plain);
    let mask: (&str, &[f64]) = ("m: bool[2, 2]", &[1.0, 0.0, 0.0, 0.0]);
    let mut masked = inputs.to_vec();
    masked.push(mask);
    let y = eval("scaled_dot_product_attention(q, k, v, attn_mask=m)", &masked);
    assert_close(&y[..4], &v[..4]);
    assert_eq!(y[4..8], [0.0; 4], "a query that may see nothing");
    let causal = eval("scaled_dot_product_attention(q, k, v, is_causal=true)", &inputs);
    assert_close(&causal[..4], &v[..4]);
    assert_close(&causal[4..8], &plain[4..8]);
    // Two query heads share one key head.
    let shared = eval("scaled_dot_product_attention(q, k[:1], v[:1], enable_gqa=true)", &inputs);
    assert_close(&shared, &eval("softmax(q @ k[:1].mT / 2, dim=-1) @ v[:1]", &inputs));
}

#[test]
fn weights_of_the_shape_of_the_input() {
    check_cases(CASES);
    assert_eq!(refused("mse_loss(x, x, weight=x[0])", &[LOGITS]), Kind::Shape);
    assert_eq!(refused("mse_loss(x, x, reduction=\"batchmean\")", &[LOGITS]), Kind::Type);
    assert_eq!(refused("l1_loss(i, i, weight=i)", &[("i: i64[1]", &[1.0])]), Kind::Dtype);
}

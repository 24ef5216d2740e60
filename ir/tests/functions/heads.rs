//! `multi_head_attention_forward` and losses of sequences and classes, beside what PyTorch 2.15 computes.

use super::*;

const CALL: &str = "let q = (arange(12.0).double() * 0.7).sin().reshape(3, 2, 2); \
    let w = (arange(12.0).double() * 1.3).cos().reshape(6, 2); let b = (arange(6.0).double() * 0.9).sin(); \
    let o = (arange(4.0).double() * 1.1).cos().reshape(2, 2); multi_head_attention_forward(q, q, q, 2, 2, ";

/// Results within the rounding of the `f32` arguments.
#[track_caller]
fn same(body: &str, inputs: &[(&str, &[f64])], want: &[&[f64]]) {
    let got = all(body, inputs);
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert_close(g, w);
    }
}

const OUT: (&str, &[f64]) = ("bo: f64[2]", &[0.1, -0.2]);

#[test]
fn heads_attend_and_say_how() {
    let rest = "w, b, None, None, false, 0.0, o, bo)";
    let y = [
        -0.6893079553664985,
        1.0303232546370145,
        -0.46215765516205787,
        0.5285281253729286,
        -0.6688401836964862,
        0.9943450429031857,
        -1.170541396734077,
        1.670046614428162,
        -0.7045369125350954,
        0.9812993086192208,
        -0.4905899240194974,
        0.5814260298963292,
    ];
    let p = [
        0.3244723564210523,
        0.3503758078326259,
        0.3251518357463218,
        0.2996257081042353,
        0.3811046369415533,
        0.31926965495421156,
        0.18835812518198286,
        0.45464481250508815,
        0.35699706231292905,
        0.4565290644699457,
        0.07615928076468614,
        0.4673116547653682,
        0.0338220937769385,
        0.9346694868922185,
        0.03150841933084282,
        0.44230414408431096,
        0.10848311400982923,
        0.4492127419058598,
    ];
    same(&format!("{CALL}{rest}"), &[OUT], &[&y, &p]);
    let alone = rest.replace("bo)", "bo, need_weights=false)");
    same(&format!("{CALL}{alone}"), &[OUT], &[&y]);
    // Three weights in place of one.
    let parts = "None, b, None, None, false, 0.0, o, bo, need_weights=false, use_separate_proj_weight=true, \
                 q_proj_weight=w[:2], k_proj_weight=w[2:4], v_proj_weight=w[4:])";
    same(&format!("{CALL}{parts}"), &[OUT], &[&y]);
    let whole = rest.replace("bo)", "bo, average_attn_weights=false)");
    assert_eq!(all(&format!("{CALL}{whole}"), &[OUT])[1].len(), 36);
}

#[test]
fn masks_biases_and_zeros_join_in() {
    let rest = "w, b, k, v, true, 0.0, o, bo, key_padding_mask=hidden, attn_mask=ones([3, 3]).triu(1).to(bool))";
    let inputs = [
        OUT,
        ("k: f64[1, 1, 2]", &[0.5, -0.5][..]),
        ("v: f64[1, 1, 2]", &[-0.3, 0.7][..]),
        ("hidden: bool[2, 3]", &[0.0, 0.0, 1.0, 0.0, 1.0, 0.0][..]),
    ];
    let y = [
        -0.07438336899946218,
        0.0116631567067505,
        -0.21265487375174966,
        -0.15449442013515818,
        -0.3572076500525573,
        0.3286838972390406,
        0.007554541072875912,
        -0.19510817342061249,
        -0.3740392898170094,
        0.39083989936143054,
        -0.19379723313941968,
        -0.019206273334793328,
    ];
    let p = [
        0.36205531840241634,
        0.0,
        0.0,
        0.3125263772283201,
        0.32541830436926367,
        0.2531526929567057,
        0.3317802815607218,
        0.0,
        0.19621263602774067,
        0.21885438945483177,
        0.1450197495833547,
        0.38580140538698376,
        0.0,
        0.18607171338535744,
        0.28310713164430423,
        0.5963851174075971,
        0.0,
        0.0,
        0.2408696488373917,
        0.16274523375501118,
        0.1536120986366272,
        0.0,
        0.0,
        0.2633826876452587,
        0.5830052137181139,
        0.34355423561676823,
        0.0,
        0.3459843944185528,
        0.1779749645600796,
        0.13248640540459938,
    ];
    same(&format!("{CALL}{rest}"), &inputs, &[&y, &p]);
    let lone = rest.replace("k, v", "k, None");
    assert_eq!(refused(&format!("{CALL}{lone}"), &inputs), Kind::Type);
    let random = "w, b, None, None, false, 0.5, o, bo, need_weights=false";
    assert_eq!(refused(&format!("{CALL}{random})"), &[OUT]), Kind::Type);
    assert_eq!(eval(&format!("{CALL}{random}, seed=3)"), &[OUT]).len(), 12);
}

#[test]
fn a_loss_of_scores_that_are_made_on_the_way() {
    let base = "let w = (arange(12.0).double() * 0.4).cos().reshape(4, 3); \
                let x = (arange(6.0).double() * 0.6).sin().reshape(2, 3); ";
    let each = "linear_cross_entropy(x, w, tensor([1, 3]), label_smoothing=0.1, reduction=\"none\")";
    assert_close(&eval(&format!("{base}{each}"), &[]), &[1.9321082707328228, 3.22410614445176]);
    let b = ("b: f64[2, 2]", &[0.1, 0.2, 0.3, 0.4][..]);
    let deep = "linear_cross_entropy(x, w.reshape(2, 2, 3), tensor([[1, 0], [0, 1]]), linear_bias=b)";
    assert_close(&eval(&format!("{base}{deep}"), &[b]), &[1.219938433672862]);
    let soft = "linear_cross_entropy(x, w, ones([2, 4]).double() / 4.0, ignore_index=1)";
    assert_eq!(refused(&format!("{base}{soft}"), &[]), Kind::Type);
}

#[test]
fn alignments_of_a_target() {
    let base = "let l = log_softmax(arange(24.0).double().reshape(4, 2, 3).sin(), 2); ";
    let of = |rest: &str| format!("{base}ctc_loss(l, {rest})");
    let all = "tensor([[1, 2], [1, 1]]), [3, 4], [2, 1]";
    let one = [1.2609817160012546, 1.1788017881989934];
    assert_close(&eval(&of(&format!("{all}, reduction=\"none\"")), &[]), &one);
    assert_close(&eval(&of(all), &[]), &[0.9046463230998103]);
    assert_close(&eval(&of(&format!("{all}, reduction=\"sum\"")), &[]), &[2.439783504200248]);
    // The same in one vector, and with lengths that are known only when it runs.
    assert_close(&eval(&of("tensor([1, 2, 1]), [3, 4], [2, 1]"), &[]), &[0.9046463230998103]);
    let n = [("i: i64[2]", &[3.0, 4.0][..]), ("t: i64[2]", &[2.0, 1.0][..])];
    assert_close(&eval(&of("tensor([1, 2, 1]), i, t"), &n), &[0.9046463230998103]);
    let long = [("i: i64[2]", &[5.0, 4.0][..]), n[1]];
    assert_eq!(refused(&of("tensor([1, 2, 1]), i, t"), &long), Kind::Data);
    assert_eq!(refused(&of("tensor([[1, 5], [1, 1]]), [3, 4], [2, 1]"), &[]), Kind::Data);
    let gradient = [
        0.01247102499382758,
        -0.11943526276375947,
        0.10696423776993194,
        -0.06721882338015206,
        -0.028414627536168163,
        0.09563345091632025,
        0.007332911122008456,
        -0.011910234904400907,
        0.004577323782392478,
        -0.004551416506431538,
        -0.0702730840039489,
        0.07482450051038059,
        0.008954627553527175,
        0.0792848130516655,
        -0.08823944060519265,
        0.0067167081161266795,
        -0.06943365035650081,
        0.06271694224037408,
        0.0,
        0.0,
        0.0,
        -0.036787608330531685,
        -0.020741247076358132,
        0.05752885540688976,
    ];
    assert_close(&eval(&format!("{base}grad(ctc_loss(l, {all}), l)"), &[]), &gradient);
    // What cannot be spelled: two equal labels need a blank between.
    let short = "tensor([[1, 1], [1, 1]]), [2, 0], [2, 0], reduction=\"none\"";
    assert_eq!(eval(&of(short), &[]), [f64::INFINITY, 0.0]);
    let none = format!("{base}grad(sum(ctc_loss(l, {short}, zero_infinity=true)), l)");
    assert_eq!(eval(&none, &[]), [0.0; 24]);
}

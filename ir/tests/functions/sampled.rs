//! What PyTorch's samples brought to light, in small: optional arguments, dtypes, and values at the edges.

use super::{all, assert_close, counting, eval, refused, type_of};
use tensorc_ir::{DType, Kind};

#[test]
fn unique_says_where_and_how_often() {
    let x = ("x: i64[5]", &[3.0, 1.0, 3.0, 2.0, 1.0][..]);
    let got = all("unique(x, return_inverse=true, return_counts=true, size=3)", &[x]);
    assert_eq!(got, [vec![1.0, 2.0, 3.0], vec![2.0, 0.0, 2.0, 1.0, 0.0], vec![2.0, 1.0, 2.0]]);
    let rows = ("x: i64[3, 2]", &[2.0, 1.0, 0.0, 5.0, 2.0, 1.0][..]);
    assert_eq!(eval("unique(x, dim=0, size=2)", &[rows]), [0.0, 5.0, 2.0, 1.0]);
    assert_eq!(refused("unique(x, size=2)", &[x]), Kind::Data);
}

#[test]
fn quantiles_of_a_vector_come_first() {
    let x = ("x: f64[2, 3]", &[3.0, 1.0, 2.0, 6.0, 4.0, 5.0][..]);
    let q = ("q: f64[2]", &[0.0, 0.25][..]);
    assert_eq!(type_of("quantile(x, q, dim=1)", &[x, q]).1, [2, 2]);
    assert_close(&eval("quantile(x, q, dim=1)", &[x, q]), &[1.0, 4.0, 1.5, 4.5]);
    assert_eq!(eval("quantile(x, 0.25, dim=1, interpolation=\"higher\")", &[x]), [2.0, 5.0]);
}

#[test]
fn integers_have_meanings_of_their_own() {
    let x = ("x: i64[1, 1, 4]", &[-3.0, 0.0, 5.0, 2.0][..]);
    assert_eq!(eval("avg_pool1d(x, 2)", &[x]), [-1.0, 3.0]);
    assert_eq!(eval("conv1d(x, tensor([[[1, 2]]]))", &[x]), [-3.0, 10.0, 9.0]);
    let v = ("x: i32[2]", &[1.0, 2.0][..]);
    assert_eq!(type_of("einsum(\"i->\", [x])", &[v]).0, DType::I64);
    let (m, u) = (("m: i32[2, 2]", &[1.0, 2.0, 3.0, 4.0][..]), ("u: u8[2]", &[1.0, 3.0][..]));
    assert_eq!(eval("addmv(x, m, x, beta=0.9, alpha=1.9)", &[v, m]), [5.0, 11.0]);
    assert_close(&eval("softmin(u, 0, dtype=f64)", &[u]), &[0.880797, 0.119203]);
}

#[test]
fn bounds_that_cross_and_paddings_that_cut() {
    let x = ("x: f64[3]", &[0.1, 0.5, 0.9][..]);
    let high = (0.6f64 / 0.4).ln();
    assert_close(&eval("logit(x, 0.6)", &[x]), &[high, high, -high]);
    let r = ("x: f32[1, 1, 4]", &[1.0, 2.0, 3.0, 4.0][..]);
    assert_eq!(eval("pad(x, [-1, 2], \"circular\")", &[r]), [2.0, 3.0, 4.0, 2.0, 3.0]);
}

#[test]
fn the_next_half_float() {
    for (dtype, above, below, least) in [
        ("f16", 1.0 + 2f64.powi(-10), 1.0 - 2f64.powi(-11), 2f64.powi(-24)),
        ("bf16", 1.0 + 2f64.powi(-7), 1.0 - 2f64.powi(-8), 2f64.powi(-133)),
    ] {
        let x = (&*format!("x: {dtype}[4]"), &[1.0, 1.0, 0.0, 2.0][..]);
        let y = (&*format!("y: {dtype}[4]"), &[2.0, -1.0, 1.0, 2.0][..]);
        assert_eq!(eval("nextafter(x, y)", &[x, y]), [above, below, least, 2.0], "{dtype}");
    }
}

#[test]
fn counts_in_a_tensor_need_their_sum() {
    let (x, n) = (("x: f32[3]", &[1.0, 2.0, 3.0][..]), ("n: i64[3]", &[2.0, 0.0, 1.0][..]));
    assert_eq!(eval("repeat_interleave(x, n, output_size=3)", &[x, n]), [1.0, 1.0, 3.0]);
    assert_eq!(refused("repeat_interleave(x, n, output_size=4)", &[x, n]), Kind::Data);
    assert_eq!(refused("repeat_interleave(x, n)", &[x, n]), Kind::Unsupported);
}

#[test]
fn special_functions_at_their_edges() {
    let (high, nan) = (f64::INFINITY, f64::NAN);
    let s = ("s: f64[6]", &[2.0, 2.0, 3.0, 4.0, 2.5, 2.0][..]);
    let q = ("q: f64[6]", &[-0.5, -1.5, -1.5, -2.7, -1.5, -1.0][..]);
    let want = [8.934802200544679, 9.379246644989124, 0.11810202582086413, 128.16043918592035, nan, high];
    assert_close(&eval("zeta(s, q)", &[s, q]), &want);
    // The derivative of the sum is the sum of the derivatives, also of the terms below 0.
    let slope = eval("grad(sum(zeta(s, q)[:4]), q)[:4]", &[s, q]);
    assert_close(&slope, &eval("(-s * zeta(s + 1.0, q))[:4]", &[s, q]));
    let x = ("x: f64[4]", &[0.0, -1.0, -3.0, -1.5][..]);
    assert_close(&eval("polygamma(1, x)", &[x]), &[high, high, high, 9.37924664484954]);
    assert_close(&eval("polygamma(2, x)", &[x]), &[-high, -high, -high, -0.23620405164172825]);
    let far = ("x: f32[4]", &[high, -high, f64::from(f32::MAX), 1e38][..]);
    // As PyTorch's, which divide infinities.
    let (i0, i1) = (eval("i0(x)", &[far]), eval("i1(x)", &[far]));
    assert!(i0[..2].iter().chain(&i1[..2]).all(|v| v.is_nan()) && i0[2..] == [high; 2] && i1[2..] == [high; 2]);
    assert_eq!(eval("cat([i0e(x)[:2], i1e(x)[:2]])", &[far]), [0.0; 4]);
    let g = eval("gelu(x)", &[far]);
    // As PyTorch's, whose product with 1 + erf overflows above half of the largest float.
    assert!(g[0].is_nan() && g[1].is_nan() && g[2..] == [high, f64::from(1e38f32)], "{g:?}");
}

#[test]
fn constants_stand_for_integers() {
    let x = ("x: f64[5]", &counting(5)[..]);
    assert_eq!(eval("narrow(x, 0, tensor(1), 2)", &[x]), [1.0, 2.0]);
    assert_eq!(all("tensor_split(x, tensor([1, 3]))", &[x]), [vec![0.0], vec![1.0, 2.0], vec![3.0, 4.0]]);
    assert_eq!(all("tensor_split(x, tensor(2))", &[x]), [vec![0.0, 1.0, 2.0], vec![3.0, 4.0]]);
    let i = ("i: i64", &[1.0][..]);
    assert_eq!(refused("narrow(x, 0, i, 2)", &[x, i]), Kind::Type);
}

#[test]
fn nothing_is_above_nan_among_the_keys() {
    let keys = ("s: f32[3]", &[1.0, 2.0, f64::NAN][..]);
    let v = ("v: f32[5]", &[f64::NAN, 0.0, 2.0, 4.0, f64::INFINITY][..]);
    assert_eq!(eval("searchsorted(s, v)", &[keys, v]), [3.0, 0.0, 1.0, 3.0, 3.0]);
    assert_eq!(eval("searchsorted(s, v, right=true)", &[keys, v]), [3.0, 0.0, 3.0, 3.0, 3.0]);
}

#[test]
fn bags_are_bounded_and_weighed_by_frequency() {
    let w = ("w: mut f64[3, 2]", &[3.0, 4.0, 0.3, 0.4, 6.0, 8.0][..]);
    let i = ("i: i64[1, 3]", &[0.0, 0.0, 1.0][..]);
    assert_close(&eval("embedding_bag(i, w, max_norm=1.0, mode=\"sum\")", &[w, i]), &[1.5, 2.0]);
    assert_close(&eval("let y = embedding_bag(i, w, max_norm=1.0); w", &[w, i]), &[0.6, 0.8, 0.3, 0.4, 6.0, 8.0]);
    let of = |mode: &str| format!("grad(sum(embedding_bag(i, w, scale_grad_by_freq=true, mode=\"{mode}\")), w)");
    let w = ("w: f64[3, 2]", w.1);
    assert_close(&eval(&of("sum"), &[w, i]), &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    assert_close(&eval(&of("mean"), &[w, i]), &[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
    assert_eq!(refused(&of("max"), &[w, i]), Kind::Type);
    let p = ("p: f64[1, 3]", &[1.0; 3][..]);
    let by = "grad(sum(embedding_bag(i, w, scale_grad_by_freq=true, mode=\"sum\", per_sample_weights=p)), p)";
    assert_close(&eval(by, &[w, i, p]), &[7.0, 7.0, 0.7]);
}

#[test]
fn old_names_of_interpolate() {
    let x = ("x: f64[1, 1, 3]", &[1.0, 2.0, 3.0][..]);
    assert_eq!(eval("upsample_nearest(x, size=5)", &[x]), [1.0, 1.0, 2.0, 2.0, 3.0]);
    assert_eq!(eval("upsample(x, scale_factor=2)", &[x]), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    let y = ("y: f64[1, 1, 2, 2]", &[1.0, 2.0, 3.0, 4.0][..]);
    let want = [1.0, 1.5, 2.0, 2.0, 2.5, 3.0, 3.0, 3.5, 4.0];
    assert_close(&eval("upsample_bilinear(y, scale_factor=1.5)", &[y]), &want);
}

#[test]
fn a_quotient_of_halves_is_differentiated_unrounded() {
    // x/b is 1.3359 or 1.3398 with 8 bits, 1.33764 in truth: the gradient, -x/b^2, is rounded once.
    let (x, b) = (("x: bf16", &[6.09375][..]), ("b: bf16", &[4.5625][..]));
    let exact = -6.09375f64 / (4.5625 * 4.5625);
    let got = eval("grad(x / b, b)", &[x, b])[0];
    assert!((got - exact).abs() <= exact.abs() / 512.0, "{got} for {exact}");
}

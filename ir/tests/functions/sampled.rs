//! What PyTorch's samples brought to light, in small: optional arguments, dtypes, and values at the edges.

use super::{all, assert_close, eval, refused, type_of};
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

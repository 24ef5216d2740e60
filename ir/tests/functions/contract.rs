//! Products, einsum, convolution, pooling.

use super::*;

#[test]
fn matmul_refuses_what_does_not_fit() {
    let x: (&str, &[f64]) = ("x: f32[2, 2]", &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(refused("x @ x[0, 0]", &[x]), Kind::Shape);
    assert_eq!(refused("x @ x[:1]", &[x]), Kind::Shape);
    assert_eq!(refused("x @ x.to(f16)", &[x]), Kind::Dtype);
    assert_eq!(refused("mm(x, x[0])", &[x]), Kind::Shape);
    assert_eq!(refused("bmm(x, x)", &[x]), Kind::Shape);
    assert_eq!(refused("x @ 2", &[x]), Kind::Shape);
    assert_eq!(eval("addmm(x, x, x, beta=0.5, alpha=2)", &[x]), [14.5, 21.0, 31.5, 46.0]);
    assert_eq!(eval("dot(x[0], x[1])", &[x]), [11.0]);
    assert_eq!(eval("outer(x[0], x[1])", &[x]), [3.0, 4.0, 6.0, 8.0]);
    assert_eq!(eval("linear(x, x[0], x[0, 0])", &[x]), [6.0, 12.0]);
}

#[test]
fn einsum_says_what_other_functions_do() {
    let (a, b) = (numbers(12, 5), numbers(12, 6));
    let (x, y) = (("x: f32[3, 4]", a.as_slice()), ("y: f32[4, 3]", b.as_slice()));
    let same = |e: &str, f: &str| assert_close(&eval(e, &[x, y]), &eval(f, &[x, y]));
    same("einsum(\"ij,jk->ik\", x, y)", "x @ y");
    same("einsum(\"ij,jk\", x, y)", "x @ y");
    same("einsum(\"ij,jk->ki\", [x, y])", "(x @ y).T");
    same("einsum(\"ij->\", x)", "sum(x)");
    same("einsum(\"ij->j\", x)", "sum(x, 0)");
    same("einsum(\"ij,ji->\", x, y)", "sum(x * y.T)");
    same("einsum(\"i,j->ij\", x[:, 0], y[0])", "outer(x[:, 0], y[0])");
    same("einsum(\"ii->i\", x @ y)", "diagonal(x @ y)");
    same("einsum(\"ii\", x @ y)", "trace(x @ y)");
    same("einsum(\"...ij,...jk->...ik\", x[None], y)", "(x @ y)[None]");
    same("einsum(\"ij,jk,kl->il\", x, y, x)", "x @ y @ x");
    same("einsum(\"ij , ij -> ij\", x, x)", "x * x");
    same("tensordot(x, y, 1)", "x @ y");
    for (e, kind) in [
        ("einsum(\"ij,jk->il\", x, y)", Kind::Type),
        ("einsum(\"ij,kk->i\", x, y)", Kind::Shape),
        ("einsum(\"ijk->i\", x)", Kind::Shape),
        ("einsum(\"ij\", x, y)", Kind::Type),
        ("einsum(\"i*->i\", x)", Kind::Type),
    ] {
        assert_eq!(refused(e, &[x, y]), kind, "{e}");
    }
}

/// A 2-d convolution by its definition. Extents: input `[2, c, 5, 4]`, weight `[4, c / groups, 3, 2]`.
fn convolution(x: &[f64], w: &[f64], c: usize, groups: usize, stride: usize, pad: i64, dilation: usize) -> Vec<f64> {
    let (h, wd) = (5i64, 4i64);
    let out = |n: i64, k: usize| (n + 2 * pad - (dilation * (k - 1)) as i64 - 1) / stride as i64 + 1;
    let per = c / groups;
    let mut y = Vec::new();
    for b in 0..2 {
        for o in 0..4 {
            for i in 0..out(h, 3) {
                for j in 0..out(wd, 2) {
                    let mut sum = 0.0;
                    for q in 0..per {
                        for (r, s) in (0..3).flat_map(|r| (0..2).map(move |s| (r, s))) {
                            let (u, v) = (
                                i * stride as i64 - pad + (r * dilation) as i64,
                                j * stride as i64 - pad + (s * dilation) as i64,
                            );
                            if (0..h).contains(&u) && (0..wd).contains(&v) {
                                let channel = o / (4 / groups) * per + q;
                                let at = ((b * c + channel) as i64 * h + u) * wd + v;
                                sum += x[at as usize] * w[((o * per + q) * 3 + r) * 2 + s];
                            }
                        }
                    }
                    y.push(sum);
                }
            }
        }
    }
    y
}

#[test]
fn convolutions_follow_their_definition() {
    let x = numbers(2 * 4 * 20, 7);
    for (groups, stride, pad, dilation) in [(1, 1, 0, 1), (1, 2, 1, 1), (2, 1, 1, 1), (4, 1, 2, 2), (1, 2, 2, 2)] {
        let w = numbers(4 * 4 / groups * 6, 8);
        let weight = format!("w: f32[4, {}, 3, 2]", 4 / groups);
        let body = format!("conv2d(x, w, stride={stride}, padding={pad}, dilation={dilation}, groups={groups})");
        let got = eval(&body, &[("x: f32[2, 4, 5, 4]", &x), (&weight, &w)]);
        assert_close(&got, &convolution(&x, &w, 4, groups, stride, pad, dilation));
    }
}

#[test]
fn a_transposed_convolution_is_the_adjoint() {
    // <conv(x), y> = <x, conv_transpose(y)>.
    for (options, out) in [("", "3, 3"), ("stride=2, padding=1", "3, 3"), ("groups=2, padding=1", "5, 5")] {
        let (x, y) = (numbers(2 * 4 * 20, 9), numbers(400, 10));
        let groups = if options.contains("groups") { 2 } else { 1 };
        let w = numbers(6 * 4 / groups * 6, 11);
        let shapes = [
            "x: f64[2, 4, 5, 4]".to_string(),
            format!("w: f64[6, {}, 3, 2]", 4 / groups),
            format!("y: f64[2, 6, {out}]"),
        ];
        let size: usize = out.split(", ").map(|v| v.parse::<usize>().expect("a number")).product::<usize>() * 12;
        let inputs = [(shapes[0].as_str(), x.as_slice()), (&shapes[1], &w), (&shapes[2], &y[..size])];
        let left = eval(&format!("sum(conv2d(x, w, {options}) * y)"), &inputs);
        let right = eval(&format!("sum(conv_transpose2d(y, w, {options}) * x)"), &inputs);
        assert_close(&left, &right);
    }
}

#[test]
fn padding_names_and_unbatched_inputs() {
    let v = numbers(12, 12);
    let x = ("x: f32[3, 4]", v.as_slice());
    let w: (&str, &[f64]) = ("w: f32[2, 3, 2]", &[1.0; 12]);
    assert_eq!(type_of("conv1d(x, w, padding=\"same\")", &[x, w]).1, [2, 4]);
    assert_eq!(type_of("conv1d(x, w, padding=\"valid\")", &[x, w]).1, [2, 3]);
    assert_eq!(type_of("conv_transpose1d(x, w.permute(1, 0, 2), stride=2)", &[x, w]).1, [2, 8]);
    assert_eq!(refused("conv1d(x, w, padding=\"same\", stride=2)", &[x, w]), Kind::Shape);
    assert_eq!(refused("conv1d(x[:2], w)", &[x, w]), Kind::Shape);
    assert_eq!(refused("conv1d(x, w, dilation=9)", &[x, w]), Kind::Shape);
    assert_eq!(refused("conv1d(x, w.to(f64))", &[x, w]), Kind::Dtype);
    assert_eq!(refused("conv1d(x, w, stride=0)", &[x, w]), Kind::Shape);
}

#[test]
fn pools_take_the_largest_or_the_mean_of_windows() {
    let v = counting(16);
    let x = ("x: f32[1, 4, 4]", v.as_slice());
    assert_eq!(eval("max_pool2d(x, 2)", &[x]), [5.0, 7.0, 13.0, 15.0]);
    assert_eq!(eval("max_pool2d(x, 3, stride=1, padding=1)[0, 0]", &[x]), [5.0, 6.0, 7.0, 7.0]);
    assert_eq!(eval("avg_pool2d(x, 2)", &[x]), [2.5, 4.5, 10.5, 12.5]);
    let row: (&str, &[f64]) = ("x: f32[1, 5]", &[1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(eval("max_pool1d(x, 2, ceil_mode=true)", &[row]), [2.0, 4.0, 5.0]);
    assert_eq!(eval("avg_pool1d(x, 2, ceil_mode=true)", &[row]), [1.5, 3.5, 5.0]);
    assert_eq!(eval("avg_pool1d(x, 2, padding=1)", &[row]), [0.5, 2.5, 4.5]);
    assert_eq!(eval("avg_pool1d(x, 2, padding=1, count_include_pad=false)", &[row]), [1.0, 2.5, 4.5]);
    assert_eq!(eval("avg_pool1d(x, 2, divisor_override=1)", &[row]), [3.0, 7.0]);
    assert_eq!(eval("adaptive_avg_pool1d(x, 5)", &[row]), row.1);
    assert_eq!(eval("adaptive_avg_pool1d(x, 3)", &[row]), [1.5, 3.0, 4.5]);
    assert_eq!(eval("adaptive_avg_pool2d(x, 1)", &[x]), [7.5]);
    assert_eq!(refused("max_pool2d(x, 5)", &[x]), Kind::Shape);
    assert_eq!(refused("max_pool2d(x, 2, padding=2)", &[x]), Kind::Shape);
    assert_eq!(eval("grad(sum(max_pool1d(x * 0, 5)), x) + 1", &[row]), [1.0; 5], "0 everywhere");
    assert_eq!(eval("let y = x * 0; grad(sum(max_pool1d(y, 5)), y)", &[row]), [1.0, 0.0, 0.0, 0.0, 0.0]);
}

//! Pooling: what is put back, fractional windows, and places of windows without a number above the rest. Results are
//! PyTorch 2.15's.

use super::*;

#[test]
fn the_largest_go_back_to_where_they_came_from() {
    let x = ("x: f64[1, 1, 4]", &[1.0, 2.0, 3.0, 4.0][..]);
    let i = ("i: i64[1, 1, 4]", &[0.0, 2.0, 4.0, 6.0][..]);
    assert_eq!(eval("max_unpool1d(x, i, 2)", &[x, i]), [1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0]);
    assert_eq!(type_of("max_unpool1d(x, i, 2, output_size=[9])", &[x, i]).1, [1, 1, 9]);
    assert_eq!(refused("max_unpool1d(x, i, 2, output_size=[10])", &[x, i]), Kind::Shape);
    assert_eq!(refused("max_unpool1d(x, i + 2, 2)", &[x, i]), Kind::Data);
    assert_eq!(refused("max_unpool1d(x, i.int(), 2)", &[x, i]), Kind::Dtype);
    // Of positions that are there twice the last counts, and each has the gradient of its place.
    let twice = ("i: i64[1, 1, 4]", &[0.0, 2.0, 2.0, 2.0][..]);
    assert_eq!(eval("max_unpool1d(x, i, 2)", &[x, twice]), [1.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let g = eval("grad(sum(max_unpool1d(x, i, 2) * arange(8.0)), x)", &[x, twice]);
    assert_eq!(g, [0.0, 2.0, 2.0, 2.0]);
    let y = ("y: f64[2, 1, 4, 6]", &numbers(48, 7)[..]);
    for pool in ["max_pool2d(y, 2, return_indices=true)", "max_pool2d(y, [1, 3], [2, 3], return_indices=true)"] {
        let kernel = if pool.contains("[1, 3]") { "[1, 3], [2, 3], output_size=[4, 6]" } else { "2" };
        let back = format!(
            "let (v, i) = {pool}; let z = max_unpool2d(v, i, {kernel}); (sum(z), sum(v), sum(z * y), sum(v * v))"
        );
        let all: Vec<f64> = super::all(&back, &[y]).concat();
        assert_close(&[all[0], all[2]], &[all[1], all[3]]);
    }
    let v = ("v: f32[1, 2, 2, 2]", &counting(8)[..]);
    let at = ("i: i64[1, 2, 2, 2]", &[0.0, 3.0, 20.0, 63.0, 1.0, 2.0, 3.0, 4.0][..]);
    assert_eq!(type_of("max_unpool3d(v, i, 2)", &[v, at]).1, [1, 4, 4, 4]);
}

#[test]
fn fractional_windows_are_those_of_the_samples() {
    let x = ("x: f64[1, 1, 4, 4]", &counting(16).iter().map(|v| v.sin()).collect::<Vec<_>>()[..]);
    let u = ("u: f64[1, 1, 2]", &[0.3, 0.8][..]);
    let of = |n: usize| {
        all(&format!("fractional_max_pool2d(x, 2, output_size={n}, return_indices=true, _random_samples=u)"), &[x, u])
    };
    assert_eq!(of(2)[1], [1.0, 2.0, 8.0, 14.0]);
    assert_eq!(of(3)[1], [1.0, 2.0, 2.0, 8.0, 9.0, 7.0, 8.0, 14.0, 14.0]);
    assert_eq!(of(2)[0], [1usize, 2, 8, 14].map(|i| x.1[i]));
    let ratio = "fractional_max_pool2d(x, 2, output_ratio=0.5, _random_samples=u)";
    assert_eq!(eval(ratio, &[x, u]), of(2)[0]);
    let g = eval(&format!("grad(sum({ratio}), x)"), &[x, u]);
    assert_eq!(g.iter().sum::<f64>(), 4.0);
    assert_eq!((g[1], g[2], g[8], g[14]), (1.0, 1.0, 1.0, 1.0));
    assert_eq!(refused("fractional_max_pool2d(x, 3, output_size=3, _random_samples=u)", &[x, u]), Kind::Shape);
    assert_eq!(refused("fractional_max_pool2d(x, 2, output_size=2)", &[x]), Kind::Type);
    // Samples beyond 1 lead to no place outside.
    let far = ("u: f64[1, 1, 2]", &[1e9, f64::NAN][..]);
    assert!(of(2)[0].contains(&eval(ratio, &[x, far])[3]));
    let z = ("z: f32[2, 3, 5, 5, 5]", &numbers(750, 3)[..]);
    let drawn = "fractional_max_pool3d(z, 2, output_size=[2, 3, 4], seed=1)";
    assert_eq!(type_of(drawn, &[z]).1, [2, 3, 2, 3, 4]);
    assert!(eval(drawn, &[z]).iter().all(|v| z.1.iter().any(|w| (*w as f32) as f64 == *v)));
}

#[test]
fn places_where_nothing_is_above_the_rest() {
    let (low, nan) = (f64::NEG_INFINITY, f64::NAN);
    let x = ("x: f32[1, 4]", &[low; 4][..]);
    assert_eq!(all("max_pool1d(x, 2, padding=1, return_indices=true)", &[x])[1], [0.0, 1.0, 3.0]);
    assert_eq!(eval("grad(sum(max_pool1d(x, 2, padding=1)), x)", &[x]), [1.0, 1.0, 0.0, 1.0]);
    let y = ("y: f32[1, 4, 4]", &[low; 16][..]);
    assert_eq!(all("max_pool2d(y, 4, padding=2, return_indices=true)", &[y])[1], [0.0, 2.0, 8.0, 10.0]);
    assert_eq!(all("max_pool2d(y, 2, padding=1, dilation=2, return_indices=true)", &[y])[1], [5.0; 4]);
    let n = ("n: f32[1, 4]", &[1.0, nan, 2.0, nan][..]);
    assert_eq!(all("max_pool1d(n, 4, return_indices=true)", &[n])[1], [3.0]);
    assert_eq!(all("max_pool1d(n, 4, padding=1, return_indices=true)", &[n])[1], [1.0]);
    assert_eq!(all("adaptive_max_pool1d(n, 1, return_indices=true)", &[n])[1], [3.0]);
}

#[test]
fn adaptive_sizes_are_read_alike() {
    let x = ("x: f32[1, 1, 4, 4]", &counting(16)[..]);
    for f in ["adaptive_avg_pool2d", "adaptive_max_pool2d"] {
        assert_eq!(type_of(&format!("{f}(x, [None, 2])"), &[x]).1, [1, 1, 4, 2]);
        assert_eq!(type_of(&format!("{f}(x, 3)"), &[x]).1, [1, 1, 3, 3]);
        for wrong in ["[3]", "[2, 3, 4]", "-1"] {
            assert_eq!(refused(&format!("{f}(x, {wrong})"), &[x]), Kind::Shape, "{f} {wrong}");
        }
    }
}

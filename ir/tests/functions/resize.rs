//! `interpolate`: what follows from the definition of each mode, without another implementation.

use super::{all, assert_close, counting, eval, numbers, refused, type_of};
use tensorc_ir::{DType, Kind};

#[test]
fn a_ramp_stays_a_ramp() {
    // With aligned corners the ends stay, and a linear function is reproduced by every smooth mode.
    let x = ("x: f64[1, 1, 5]", &counting(5)[..]);
    let fine: Vec<f64> = (0..9).map(|i| i as f64 / 2.0).collect();
    assert_close(&eval("interpolate(x, [9], mode=\"linear\", align_corners=true)", &[x]), &fine);
    let plane: Vec<f64> = (0..16).map(|i| (i / 4 * 10 + i % 4) as f64).collect();
    let y = eval("interpolate(x, [7, 7], mode=\"bilinear\", align_corners=true)", &[("x: f64[1, 1, 4, 4]", &plane)]);
    let want: Vec<f64> = (0..49).map(|i| (i / 7) as f64 * 5.0 + (i % 7) as f64 / 2.0).collect();
    assert_close(&y, &want);
}

#[test]
fn a_constant_stays_constant() {
    let ones = [1.0; 16];
    for options in
        ["mode=\"bicubic\"", "mode=\"bilinear\", antialias=true", "mode=\"bicubic\", antialias=true", "mode=\"area\""]
    {
        let y = eval(&format!("interpolate(x, [3, 7], {options})"), &[("x: f64[1, 1, 4, 4]", &ones)]);
        assert_close(&y, &[1.0; 21]);
    }
}

#[test]
fn nearest_takes_any_dtype_and_area_takes_means() {
    let x = ("x: i16[1, 1, 4]", &counting(4)[..]);
    assert_eq!(eval("interpolate(x, [6])", &[x]), [0.0, 0.0, 1.0, 2.0, 2.0, 3.0]);
    assert_eq!(eval("interpolate(x, [3], mode=\"nearest-exact\")", &[x]), [0.0, 2.0, 3.0]);
    assert_eq!(type_of("interpolate(x, scale_factor=2.0)", &[x]), (DType::I16, vec![1, 1, 8]));
    assert_close(&eval("interpolate(x, [2], mode=\"area\")", &[("x: f32[1, 1, 4]", &counting(4))]), &[0.5, 2.5]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = ("x: f32[1, 1, 4]", &numbers(4, 1)[..]);
    for body in [
        "interpolate(x, [2], mode=\"bilinear\")",
        "interpolate(x, [2, 2])",
        "interpolate(x, scale_factor=0.1)",
        "interpolate(x, [2], mode=\"no\")",
    ] {
        assert_eq!(refused(body, &[x]), Kind::Shape, "{body}");
    }
    for body in ["interpolate(x)", "interpolate(x, [2], 2.0)", "interpolate(x, [2], align_corners=true)"] {
        assert_eq!(refused(body, &[x]), Kind::Type, "{body}");
    }
}

#[test]
fn pooling_knows_where_its_results_stood() {
    let x = ("x: f32[1, 1, 4, 4]", &numbers(16, 3)[..]);
    let got = all("max_pool2d(x, 2, return_indices=true)", &[x]);
    let picked: Vec<f64> = got[1].iter().map(|i| (x.1[*i as usize] as f32) as f64).collect();
    assert_eq!(got[0], picked);
}

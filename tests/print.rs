//! Tensors print as PyTorch prints them; only the names of dtypes are ours.

use tensorc::dtype::*;
use tensorc::{Result, Tensor, arange, eye, ones, tensor, zeros};

fn prints(t: Result<Tensor>, want: &str) {
    assert_eq!(t.unwrap().to_string(), want);
}

#[test]
fn columns_have_one_width() {
    prints(tensor(3.0f32), "tensor(3.)");
    prints(tensor([1i64, -20, 3]), "tensor([  1, -20,   3])");
    prints(tensor([true, false]), "tensor([ True, False])");
    prints(tensor([-1.5f32, 2.25]), "tensor([-1.5000,  2.2500])");
    prints(tensor([1.5f32, f32::NAN, f32::NEG_INFINITY]), "tensor([1.5000,    nan,   -inf])");
    prints(eye(2), "tensor([[1., 0.],\n        [0., 1.]])");
    prints(zeros(&[2, 1, 2], F32), "tensor([[[0., 0.]],\n\n        [[0., 0.]]])");
}

#[test]
fn whole_numbers_end_in_a_point() {
    prints(tensor([1.0f32, f32::NAN]), "tensor([1., nan])");
    // The width is that of the nonzero finite elements.
    prints(tensor([-0.0f32, 1.0]), "tensor([-0., 1.])");
    prints(tensor([100.0f32, 2.0]), "tensor([100.,   2.])");
}

#[test]
fn wide_ranges_are_scientific() {
    prints(tensor([0.1f32, 1000.5]), "tensor([1.0000e-01, 1.0005e+03])");
    prints(tensor([1e-5f32]), "tensor([1.0000e-05])");
    prints(tensor([2e9f32, 1e9]), "tensor([2.0000e+09, 1.0000e+09])");
    prints(tensor([0.0f32, 1e-5, f32::INFINITY]), "tensor([0.0000e+00, 1.0000e-05,        inf])");
}

#[test]
fn long_rows_break_and_long_tensors_are_summarised() {
    prints(
        arange(30),
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])",
    );
    prints(arange(1001.0), "tensor([   0.,    1.,    2.,  ...,  998.,  999., 1000.])");
    let row = "[1., 1., 1.,  ..., 1., 1., 1.]";
    let want = format!(
        "tensor([{row},\n        {row},\n        {row},\n        ...,\n        {row},\n        {row},\n        {row}])"
    );
    prints(ones(&[40, 40], F32), &want);
    // A thousand elements are not too many.
    assert!(!zeros(&[1000], F32).unwrap().to_string().contains("..."));
}

#[test]
fn what_is_not_the_default_is_said() {
    prints(tensor([1i32]), "tensor([1], dtype=tensorc.i32)");
    prints(ones(&[2], F16), "tensor([1., 1.], dtype=tensorc.f16)");
    prints(tensor([1.5f64]), "tensor([1.5000], dtype=tensorc.f64)");
    prints(zeros(&[0], F32), "tensor([])");
    prints(zeros(&[0], I64), "tensor([], dtype=tensorc.i64)");
    prints(zeros(&[2, 0], F32), "tensor([], size=(2, 0))");
    prints(zeros(&[0, 3], I64), "tensor([], size=(0, 3), dtype=tensorc.i64)");
    // Where the line is full the suffix goes to the next one.
    prints(
        arange(18).unwrap().to(I32),
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17],\n       dtype=tensorc.i32)",
    );
    assert_eq!(eye(3).unwrap().size().to_string(), "tensorc.Size([3, 3])");
}

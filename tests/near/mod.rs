//! Elements as numbers, and how near they are to what they should be.

use tensorc::{DType, Tensor};

/// The elements as `f64`.
pub fn numbers(t: &Tensor) -> Vec<f64> {
    t.to(DType::F64).unwrap().to_vec::<f64>().unwrap()
}

/// Holds a tensor of `f64` against numbers, to a few units in the last place.
#[track_caller]
pub fn close(got: &Tensor, want: &[f64]) {
    let got = numbers(got);
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= 1e-12 * (1.0 + w.abs()), "{got:?}, expected {want:?}");
    }
}

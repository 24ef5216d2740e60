//! Arrays of the crate `ndarray` and tensors in one memory: `cargo run --features ndarray --example ndarray`.
//!
//! Each line's effect is asserted.

use ndarray::{Ix2, array, s};
use tensorc::{Result, Tensor, jit, with_ndarray, with_ndarray_mut};

fn main() -> Result<()> {
    // An array's view is a tensor for a scope, with the view's strides; what is written is written to the array.
    let mut a = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let step = jit(|x: Tensor| x.mul_(10.0).map(|_| ()));
    with_ndarray_mut(a.slice_mut(s![.., ..;-2]), |t| step.call(t.clone()))?;
    assert_eq!(a, array![[10.0, 2.0, 30.0], [40.0, 5.0, 60.0]]);

    // A view that is read-only in its type makes a tensor that is read-only.
    let sum = with_ndarray(a.view(), |t| {
        assert!(t.add_(1.0).is_err());
        t.sum()?.item::<f32>()
    })?;
    assert_eq!(sum, 147.0);

    // A tensor's memory as an array, in place: a guard, that can be written.
    let t = tensorc::arange(6)?.view([2, 3])?;
    let mut guard = t.view_ndarray_mut::<i64, Ix2>()?;
    guard.view_mut().column_mut(0).fill(-1);
    drop(guard);
    assert_eq!(t.to_vec::<i64>()?, [-1, 1, 2, -1, 4, 5]);
    assert_eq!(t.t()?.view_ndarray::<i64, Ix2>()?.view(), array![[-1, -1], [1, 4], [2, 5]]);

    // An owned array's memory is taken over; `to_ndarray` copies.
    let t = Tensor::from_ndarray(a)?;
    let copy = t.to_ndarray::<f32, Ix2>()?;
    t.zero_()?;
    assert_eq!((copy[[0, 0]], t.sum()?.item::<f32>()?), (10.0, 0.0));
    println!("arrays and tensors have shared their memory");
    Ok(())
}

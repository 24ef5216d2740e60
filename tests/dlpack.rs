//! DLPack from and to tensors: ops on imported memory, what the two sides see of each other, and what a use that conflicts
//! with an export says. Producers made by hand are tested in `runtime/tests/dlpack.rs`.

use dlpark::DlpackFlags;
use tensorc::{Kind, Result, Tensor, arange, jit, tensor};

#[test]
fn a_round_trip_is_the_same_memory() -> Result<()> {
    let t = arange(12)?.view([3, 4])?.t()?.i((1.., ..))?;
    let at = t.read_strided::<i64>()?.as_ptr();
    let home = Tensor::from_dlpack(t.to_dlpack()?)?;
    assert_eq!((home.shape(), home.strides(), home.dtype()), (t.shape(), t.strides(), t.dtype()));
    assert_eq!(home.to_vec::<i64>()?, [1, 5, 9, 2, 6, 10, 3, 7, 11]);
    assert!(!home.shares_storage(&t));
    home.i(0)?.mul_(10)?;
    jit(|x: Tensor| x.i(1)?.zero_().map(|_| ())).call(home.clone())?;
    assert_eq!(home.i((0, 0))?.read::<i64>()?.as_ptr(), at);
    drop(home);
    assert_eq!(t.to_vec::<i64>()?, [10, 50, 90, 0, 0, 0, 3, 7, 11]);
    Ok(())
}

#[test]
fn every_dtype_comes_back() -> Result<()> {
    for dtype in tensorc::DType::ALL {
        let t = tensor([0i64, 1, 2])?.to(dtype)?;
        let home = Tensor::from_dlpack(t.to_dlpack()?)?;
        assert_eq!((home.dtype(), home.shape()), (dtype, &[3][..]));
        let bytes = home.to_bytes()?;
        drop(home);
        assert_eq!(t.to_bytes()?, bytes);
    }
    Ok(())
}

#[test]
fn an_export_holds_the_memory_and_the_error_names_it() -> Result<()> {
    let t = tensor([1.0f32, 2.0])?;
    let line = line!() + 1;
    let exported = t.to_dlpack()?;
    for r in [t.add_(1.0), t.sum(), t.copy(), t.view([2, 1])?.relu()] {
        let e = r.map(|_| ()).unwrap_err();
        assert_eq!(e.kind(), Kind::Alias);
        assert!(e.to_string().contains(&format!("dlpack.rs:{line}")), "{e}");
    }
    assert!(t.to_dlpack().is_err() && t.to_dlpack_read_only().is_err() && t.read::<f32>().is_err());
    drop(exported);
    t.add_(1.0)?;

    let (first, second) = (t.to_dlpack_read_only()?, t.to_dlpack_read_only()?);
    assert_eq!(first.flags(), DlpackFlags::READ_ONLY);
    let seen = Tensor::from_dlpack(first)?;
    assert_eq!((seen.to_vec::<f32>()?, t.to_vec::<f32>()?), (vec![2.0, 3.0], vec![2.0, 3.0]));
    let e = seen.add_(1.0).map(|_| ()).unwrap_err();
    assert!(e.to_string().contains("to read only"), "{e}");
    assert_eq!(t.add_(1.0).map(|_| ()).unwrap_err().kind(), Kind::Alias);
    assert!(seen.to_dlpack().is_err());
    drop((seen, second));
    t.add_(1.0)?;
    Ok(())
}

#[test]
fn the_exported_memory_outlives_the_tensor() -> Result<()> {
    let t = tensor([[1.0f32, 2.0], [3.0, 4.0]])?;
    let exported = t.t()?.to_dlpack()?;
    drop(t);
    let home = Tensor::from_dlpack(exported)?;
    let w = home.copy()?;
    let f = jit(move |x: Tensor| home.add_(&x)?.matmul(&x));
    assert_eq!(f.call(w)?.to_vec::<f32>()?, [2.0 + 12.0, 6.0 + 24.0, 4.0 + 16.0, 12.0 + 32.0]);
    Ok(())
}

#[test]
fn what_cannot_be_exported() -> Result<()> {
    let wide = tensor([1.0f32])?.expand([4])?;
    assert_eq!(wide.to_dlpack().map(|_| ()).unwrap_err().kind(), Kind::Alias);
    assert_eq!(Tensor::from_dlpack(wide.to_dlpack_read_only()?)?.to_vec::<f32>()?, [1.0; 4]);
    let mut a = [1.0f32, 2.0];
    let e = tensorc::with_borrowed(&mut a, &[2], |t| t.to_dlpack_read_only().map(|_| ())).unwrap_err();
    assert!(e.to_string().contains("may outlive the scope") && e.to_string().contains("dlpack.rs"), "{e}");
    let f = jit(|x: Tensor| {
        assert_eq!(x.to_dlpack().map(|_| ()).unwrap_err().kind(), Kind::Type);
        x.neg_()
    });
    f.call(tensor([1.0f32])?)?;
    Ok(())
}

/// jax#19123, jax#37830: whether memory is shared must not depend on what has been done with the tensor before.
#[test]
fn looking_at_a_tensor_does_not_change_what_it_shares() -> Result<()> {
    let t = tensor([[1.0f32, 2.0], [3.0, 4.0]])?;
    let home = Tensor::from_dlpack(t.t()?.to_dlpack()?)?;
    assert_eq!(home.to_string(), "tensor([[1., 3.],\n        [2., 4.]])");
    assert_eq!((home.sum()?.item::<f32>()?, home.contiguous()?.shares_storage(&home)), (10.0, false));
    home.i(0)?.add_(10.0)?;
    assert_eq!(home.to_string(), "tensor([[11., 13.],\n        [ 2.,  4.]])");
    drop(home);
    assert_eq!(t.to_vec::<f32>()?, [11.0, 2.0, 13.0, 4.0]);
    Ok(())
}

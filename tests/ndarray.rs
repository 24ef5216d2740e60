//! Memory shared with arrays of the crate `ndarray`: any strides, both directions, read-only kept read-only, and what lies
//! between the elements of a view left alone.

use ndarray::{
    Array, Array1, Array2, ArrayBase, ArrayD, ArrayView, ArrayView2, ArrayViewMut2, Axis, Ix1, Ix2, Ix3, IxDyn,
    RawData, ShapeBuilder, Slice, array, s,
};
use proptest::prelude::*;
use tensorc::dtype::{F32, U8};
use tensorc::{Element, Kind, Result, Tensor, arange, jit, tensor, with_ndarray, with_ndarray_mut};

fn kind<T>(r: Result<T>) -> Kind {
    r.map(|_| ()).unwrap_err().kind()
}

fn numbers(shape: &[usize]) -> ArrayD<f32> {
    Array::from_iter((0..shape.iter().product()).map(|i: usize| i as f32)).into_shape_with_order(shape).unwrap()
}

#[test]
fn an_array_s_view_is_a_tensor_for_a_scope() -> Result<()> {
    let mut a = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    with_ndarray_mut(a.view_mut(), |t| {
        assert_eq!((t.shape(), t.strides()), (&[2, 3][..], vec![3, 1]));
        t.i((.., 1))?.mul_(10.0)?;
        t.with_view_ndarray_mut(|mut v: ArrayViewMut2<'_, f32>| v[[0, 0]] = -1.0)?;
        assert_eq!(t.i((0, 0))?.item::<f32>()?, -1.0);
        Ok(())
    })?;
    assert_eq!(a, array![[-1.0, 20.0, 3.0], [4.0, 50.0, 6.0]]);
    // Columns first, then from the end, then every second one.
    with_ndarray_mut(a.view_mut().reversed_axes(), |t| t.i(0)?.fill_(7.0))?;
    with_ndarray_mut(a.slice_mut(s![..;-1, ..]), |t| t.i(0)?.add_(0.5))?;
    with_ndarray_mut(a.slice_mut(s![1, ..;-2]), |t| t.copy_(&tensor([60.0f32, 70.0])?))?;
    assert_eq!(a, array![[7.0, 20.0, 3.0], [70.0, 50.5, 60.0]]);
    Ok(())
}

#[test]
fn a_view_that_is_read_only_stays_so() -> Result<()> {
    let a = array![[1.0f32, 2.0], [3.0, 4.0]];
    let escaped = with_ndarray(a.t(), |t| {
        assert_eq!(t.to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
        let f = jit(|x: Tensor| x.i(0)?.zero_().map(|_| ()));
        for k in [
            kind(t.add_(1.0)),
            kind(t.i(0)?.zero_()),
            kind(f.call(t.clone())),
            kind(t.with_view_ndarray_mut(|_: ArrayViewMut2<'_, f32>| ())),
        ] {
            assert_eq!(k, Kind::Alias);
        }
        assert_eq!(t.with_view_ndarray(|v: ArrayView2<'_, f32>| v.as_ptr())?, a.as_ptr());
        assert_eq!(kind(t.view_ndarray::<f32, Ix2>()), Kind::Alias, "a guard could outlive the scope");
        t.add(1.0)?.mul_(2.0)?;
        Ok(t.clone())
    })?;
    assert_eq!(kind(escaped.sum()), Kind::Alias);
    assert_eq!(a, array![[1.0, 2.0], [3.0, 4.0]]);
    // Elements that are shown twice can be read, and be written by nobody.
    let row = array![1.0f32, 2.0];
    with_ndarray(row.broadcast((3, 2)).unwrap(), |t| {
        assert_eq!(t.strides(), [0, 1]);
        assert_eq!(t.sum_dim(0, false)?.to_vec::<f32>()?, [3.0, 6.0]);
        assert_eq!(kind(t.add_(1.0)), Kind::Alias);
        Ok(())
    })
}

#[test]
fn an_owned_array_s_memory_is_taken_over() -> Result<()> {
    let a = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let at = a.as_ptr();
    let t = Tensor::from_ndarray(a)?;
    assert_eq!(t.read::<f32>()?.as_ptr(), at);
    t.add_(1.0)?;
    assert_eq!(t.to_ndarray::<f32, Ix2>()?, array![[2.0, 3.0, 4.0], [5.0, 6.0, 7.0]]);
    // In column order, from the end, and a part of a larger allocation.
    let f = Array2::from_shape_vec((2, 3).f(), vec![1i64, 2, 3, 4, 5, 6]).unwrap();
    let expected = f.clone();
    assert_eq!(Tensor::from_ndarray(f)?.to_ndarray::<i64, Ix2>()?, expected);
    let mut part = Array1::from_iter(0..10i64);
    part.slice_collapse(s![2..9;3]);
    part.invert_axis(Axis(0));
    let t = Tensor::from_ndarray(part)?;
    assert_eq!((t.strides(), t.to_vec::<i64>()?), (vec![-3], vec![8, 5, 2]));
    t.mul_(2)?;
    assert_eq!(t.view_ndarray::<i64, Ix1>()?.view(), array![16, 10, 4]);
    let empty = Tensor::from_ndarray(Array2::<f32>::zeros((0, 4)))?;
    assert_eq!((empty.shape(), empty.to_ndarray::<f32, Ix2>()?.dim()), (&[0, 4][..], (0, 4)));
    assert_eq!(Tensor::from_ndarray(ndarray::arr0(3.0f64))?.item::<f64>()?, 3.0);
    Ok(())
}

#[test]
fn a_tensor_is_seen_as_an_array() -> Result<()> {
    let t = arange(24)?.view([2, 3, 4])?;
    let part = t.permute([2, 0, 1])?.i((1.., .., ..2))?;
    let guard = part.view_ndarray::<i64, Ix3>()?;
    assert_eq!(guard.view().strides(), [1, 12, 4]);
    assert_eq!(guard.view(), part.to_ndarray::<i64, Ix3>()?);
    assert_eq!(guard.view()[[2, 1, 1]], 19);
    let e = t.add_(1).unwrap_err();
    assert!(e.to_string().contains("cannot be written while it is being read"), "{e}");
    drop(guard);
    let mut guard = part.view_ndarray_mut::<i64, IxDyn>()?;
    guard.view_mut().fill(-1);
    assert_eq!(guard.view().sum(), -12);
    assert_eq!(kind(t.sum()), Kind::Alias);
    drop(guard);
    assert_eq!(t.sum()?.item::<i64>()?, 276 - (1 + 2 + 3 + 5 + 6 + 7 + 13 + 14 + 15 + 17 + 18 + 19) - 12);
    // Stretched: to read.
    let wide = tensor([1i64, 2])?.expand([3, 2])?;
    assert_eq!(wide.view_ndarray::<i64, Ix2>()?.view(), array![[1, 2], [1, 2], [1, 2]]);
    assert_eq!(kind(wide.view_ndarray_mut::<i64, Ix2>()), Kind::Alias);
    let windows = arange(5)?.unfold(0, 3, 1)?;
    assert_eq!(windows.view_ndarray::<i64, Ix2>()?.view()[[2, 2]], 4);
    let e = windows.view_ndarray_mut::<i64, Ix2>().map(|_| ()).unwrap_err().to_string();
    let text = "more than one index of this tensor refers to a single memory location, so it cannot be lent to write";
    assert!(e.contains(text), "{e}");
    // What does not fit.
    for e in [
        t.view_ndarray::<i64, Ix2>().err(),
        t.view_ndarray_mut::<i64, Ix2>().err(),
        t.to_ndarray::<i64, Ix2>().err().map(|e| e.help("")),
    ] {
        let e = e.unwrap();
        assert_eq!(e.kind(), Kind::Shape, "{e}");
        assert!(e.to_string().contains("[2, 3, 4]"), "{e}");
    }
    let e = t.view_ndarray::<f32, Ix3>().map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("i64 as f32") && e.contains("ndarray.rs"), "{e}");
    Ok(())
}

fn dtype<T: Element + PartialEq + std::fmt::Debug>(values: [T; 4]) -> Result<()> {
    let mut a = Array2::from_shape_vec((2, 2), values.to_vec()).unwrap();
    let expected = a.slice(s![..;-1, ..]).to_owned();
    let t = with_ndarray_mut(a.slice_mut(s![..;-1, ..]), |t| t.copy())?;
    assert_eq!(t.dtype(), T::DTYPE);
    assert_eq!(t.view_ndarray::<T, Ix2>()?.view(), expected);
    assert_eq!(t.to_ndarray::<T, IxDyn>()?, expected.clone().into_dyn());
    assert_eq!(Tensor::from_ndarray(a)?.to_vec::<T>()?, values);
    assert_eq!(with_ndarray(expected.view(), |u| u.to_vec::<T>())?, t.to_vec::<T>()?);
    Ok(())
}

#[test]
fn every_dtype() -> Result<()> {
    use half::{bf16, f16};
    dtype([1.5f64, 2.0, -0.0, 4.0])?;
    dtype([1.5f32, 2.0, -0.0, 4.0])?;
    dtype([1.5, 2.0, -0.0, 4.0].map(f16::from_f32))?;
    dtype([1.5, 2.0, -0.0, 4.0].map(bf16::from_f32))?;
    dtype([1i64, -2, 3, i64::MIN])?;
    dtype([1i32, -2, 3, i32::MIN])?;
    dtype([1i16, -2, 3, i16::MIN])?;
    dtype([1i8, -2, 3, i8::MIN])?;
    dtype([1u8, 2, 3, 255])?;
    dtype([true, false, false, true])
}

#[test]
fn bools_between_others_stay_bools() -> Result<()> {
    let mut a = array![[false, true, false], [true, false, true]];
    with_ndarray_mut(a.slice_mut(s![.., ..;2]), |t| {
        t.view_dtype(U8)?.fill_(9)?;
        assert_eq!(kind(t.with_view_ndarray(|_: ArrayView2<'_, bool>| ())), Kind::Data);
        Ok(())
    })?;
    assert_eq!(a.mapv(u8::from), array![[1, 1, 1], [1, 0, 1]]);
    Ok(())
}

/// Two views of one array that lie between each other, on two threads: neither reads nor writes the other's elements.
#[test]
fn what_lies_between_belongs_to_others() -> Result<()> {
    let mut a = Array2::<f32>::zeros((64, 6));
    let (even, odd) = a.multi_slice_mut((s![.., ..;2], s![.., 1..;2]));
    let count = |view: ArrayViewMut2<'_, f32>, by: f32| {
        with_ndarray_mut(view, |t| {
            let step = jit(|(x, by): (Tensor, Tensor)| x.add_(&by)?.i(..32)?.add_(&by).map(|_| ()));
            for _ in 0..200 {
                step.call((t.clone(), tensor([by])?))?;
                t.add_(-by)?;
            }
            assert_eq!(t.i((40, 0))?.item::<f32>()?, 0.0);
            t.copy().map(|_| ())
        })
    };
    std::thread::scope(|threads| {
        let other = threads.spawn(|| count(odd, 2.0));
        count(even, 1.0)?;
        other.join().unwrap()
    })?;
    for ((i, j), v) in a.indexed_iter() {
        let by = if j % 2 == 0 { 1.0 } else { 2.0 };
        assert_eq!(*v, if i < 32 { 200.0 * by } else { 0.0 }, "{i} {j}");
    }
    // A program would take two overlapping parts as one piece of memory, and rewrite what lies between: refused.
    with_ndarray_mut(a.slice_mut(s![.., ..;2]), |t| {
        let f = jit(|(x, y): (Tensor, Tensor)| x.add_(&y).map(|_| ()));
        let parts = (t.i(..40)?, t.i(24..)?);
        let e = f.call((parts.0, parts.1.i(..40)?)).unwrap_err();
        let text = "arguments share lent memory with gaps, which belong to others, and one is written";
        assert!(e.to_string().contains(text), "{e}");
        // Apart they are fine, and one tensor is its own part.
        f.call((t.i(..20)?, t.i(20..40)?))?;
        f.call((t.clone(), t.clone()))
    })?;
    assert!(a.column(1).iter().all(|v| [400.0, 0.0].contains(v)), "left alone");
    Ok(())
}

/// An array of up to four dimensions, and how to look at it: order of dimensions, and start, end and step of each.
fn looks() -> impl Strategy<Value = (Vec<usize>, Vec<usize>, Vec<Slice>)> {
    proptest::collection::vec(0usize..5, 0..5).prop_flat_map(|shape| {
        let slices: Vec<_> = shape
            .iter()
            .map(|n| {
                let step = prop_oneof![Just(-3isize), Just(-2), Just(-1), Just(1), Just(2), Just(3)];
                (0..=*n as isize, 0..=*n as isize, step)
                    .prop_map(|(i, j, step)| Slice::new(i.min(j), Some(i.max(j)), step))
            })
            .collect();
        let order = Just((0..shape.len()).collect::<Vec<_>>()).prop_shuffle();
        (Just(shape), order, slices)
    })
}

fn look<S: RawData>(a: ArrayBase<S, IxDyn>, order: &[usize], slices: &[Slice]) -> ArrayBase<S, IxDyn> {
    let mut a = a.permuted_axes(IxDyn(order));
    for (k, d) in order.iter().enumerate() {
        a.slice_axis_inplace(Axis(k), slices[*d]);
    }
    a
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Any view is a tensor of the same elements at the same places, in both directions; ops on it give what they give on a
    /// copy, and writes reach the elements of the view and no others.
    #[test]
    fn any_strides((shape, order, slices) in looks(), repeat in 0usize..3) {
        let whole = numbers(&shape);
        let view = look(whole.view(), &order, &slices);
        let seen = view.to_owned();
        let expected: Vec<f32> = seen.iter().copied().collect();

        // Read.
        let mut changed = whole.clone();
        let check = |t: &Tensor| {
            assert_eq!(t.shape(), seen.shape());
            assert_eq!(t.to_vec::<f32>()?, expected);
            assert_eq!(t.mul(2.0)?.to_vec::<f32>()?, expected.iter().map(|v| v * 2.0).collect::<Vec<_>>());
            let rank = t.dim() as i64;
            assert_eq!(t.sum()?.item::<f32>()?, t.copy()?.sum()?.item::<f32>()?);
            if rank > 0 {
                assert_eq!(t.sum_dim(0, false)?.to_vec::<f32>()?, t.copy()?.sum_dim(0, false)?.to_vec::<f32>()?);
                assert_eq!(t.transpose(0, -1)?.reshape([-1])?.to_vec::<f32>().ok(), t.copy()?.transpose(0, -1)?.reshape([-1])?.to_vec::<f32>().ok());
            }
            t.with_view_ndarray(|v: ndarray::ArrayViewD<'_, f32>| assert_eq!(v, seen))
        };
        if !expected.is_empty() {
            with_ndarray(view.view(), check).unwrap();
        }
        // Repeated along a new dimension: stride 0.
        let wide: Vec<usize> = [&[repeat][..], view.shape()].concat();
        let wide = view.broadcast(IxDyn(&wide)).unwrap();
        with_ndarray(wide.view(), |t| {
            assert_eq!(t.to_vec::<f32>()?, wide.iter().copied().collect::<Vec<_>>());
            t.with_view_ndarray(|v: ndarray::ArrayViewD<'_, f32>| assert_eq!(v, wide))
        }).unwrap();

        // Written: the elements of the view, and no others.
        let mut target = whole.clone();
        with_ndarray_mut(look(target.view_mut(), &order, &slices), |t| {
            t.mul_(10.0)?;
            jit(|(x, y): (Tensor, Tensor)| x.add_(&y)?.mul_(0.5)?.add_(1.0).map(|_| ())).call((t.clone(), t.clone()))?;
            t.with_view_ndarray_mut(|mut v: ndarray::ArrayViewMutD<'_, f32>| v += 0.5)
        }).unwrap();
        look(changed.view_mut(), &order, &slices).mapv_inplace(|v| v * 10.0 + 1.5);
        prop_assert_eq!(&target, &changed);

        // The same view of a tensor's own memory, guarded.
        let t = Tensor::from_ndarray(seen.clone()).unwrap();
        let guard = t.view_ndarray::<f32, IxDyn>().unwrap();
        prop_assert_eq!(guard.view(), seen.view());
        prop_assert_eq!(&t.to_ndarray::<f32, IxDyn>().unwrap(), &seen);
    }
}

#[test]
fn the_tensor_has_the_strides_of_the_view() -> Result<()> {
    let a = numbers(&[4, 6]).into_dimensionality::<Ix2>().unwrap();
    with_ndarray(a.slice(s![..;-1, ..;-2]), |t| {
        assert_eq!(t.strides(), [-6, -2]);
        assert_eq!(t.dtype(), F32);
        t.with_view_ndarray(|v: ArrayView2<'_, f32>| {
            assert_eq!(v.strides(), [-6, -2]);
            assert_eq!(v.as_ptr(), a.slice(s![..;-1, ..;-2]).as_ptr(), "the same memory");
        })
    })?;
    let flat = ArrayView::from_shape((2, 2).strides((1, 1)), &[1.0f32, 2.0, 3.0]).unwrap();
    assert_eq!(with_ndarray(flat, |t| t.to_vec::<f32>())?, [1.0, 2.0, 2.0, 3.0]);
    Ok(())
}

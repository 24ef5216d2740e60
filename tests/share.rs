//! Memory shared with slices and vectors: writes are seen on both sides, copies are independent, a conflicting use is an
//! error that names both, and nothing that escapes a scope reaches memory that is gone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use tensorc::dtype::{Bool, F32, I64, U8};
use tensorc::{Element, Kind, Result, Tensor, jit, tensor, with_borrowed, with_borrowed_ref, zeros};

fn kind<T>(r: Result<T>) -> Kind {
    r.map(|_| ()).unwrap_err().kind()
}

fn text<T>(r: Result<T>) -> String {
    r.map(|_| ()).unwrap_err().to_string()
}

fn round_trip<T: Element + PartialEq + std::fmt::Debug>(values: &[T]) -> Result<()> {
    let shape = [values.len()];
    let (copy, taken) = (Tensor::from_slice(values, &shape)?, Tensor::from_vec(values.to_vec(), &shape)?);
    assert_eq!(copy.dtype(), T::DTYPE);
    assert_eq!(copy.to_vec::<T>()?, values);
    assert_eq!(taken.to_vec::<T>()?, values);
    assert_eq!(*taken.read::<T>()?, *values);
    // Not in order: every element on its own.
    let (n, backwards) = (values.len(), values.iter().rev().copied().collect::<Vec<T>>());
    let mirrored = copy.view([n, 1])?.i(tensorc::IndexItem::Slice(None, None, 1))?.flip([0])?;
    assert_eq!(mirrored.view([n])?.to_vec::<T>()?, backwards);
    let rows = copy.view([n, 1])?.expand([n as i64, 3])?;
    assert_eq!(rows.to_vec::<T>()?, values.iter().flat_map(|v| [*v; 3]).collect::<Vec<T>>());
    let mut lent = values.to_vec();
    with_borrowed(&mut lent, &shape, |t| t.copy_(&mirrored.view([n])?))?;
    assert_eq!(lent, backwards);
    assert_eq!(with_borrowed_ref(&lent, &shape, |t| t.to_vec::<T>())?, backwards);
    assert_eq!(copy.to_vec::<T>()?, values, "a copy");
    Ok(())
}

#[test]
fn every_dtype_goes_in_and_out() -> Result<()> {
    use half::{bf16, f16};
    round_trip(&[1.5f64, -2.0, f64::INFINITY])?;
    round_trip(&[1.5f32, -0.0, 3.0e-40])?;
    round_trip(&[f16::from_f32(1.5), f16::MIN])?;
    round_trip(&[bf16::from_f32(1.5), bf16::MIN])?;
    round_trip(&[i64::MIN, 0, i64::MAX])?;
    round_trip(&[i32::MIN, 0, i32::MAX])?;
    round_trip(&[i16::MIN, 0, i16::MAX])?;
    round_trip(&[i8::MIN, 0, i8::MAX])?;
    round_trip(&[u8::MIN, 7, u8::MAX])?;
    round_trip(&[true, false, false])
}

#[test]
fn a_vector_s_memory_is_taken_over_and_a_slice_s_copied() -> Result<()> {
    let values = vec![1.0f32, 2.0, 3.0, 4.0];
    let at = values.as_ptr();
    let t = Tensor::from_vec(values, &[2, 2])?;
    assert_eq!(t.read::<f32>()?.as_ptr(), at);
    t.add_(1.0)?;
    assert_eq!(t.to_vec::<f32>()?, [2.0, 3.0, 4.0, 5.0]);
    let mut source = [1i64, 2];
    let u = Tensor::from_slice(&source, &[2])?;
    source[0] = 9;
    u.i(1)?.fill_(5)?;
    assert_eq!((u.to_vec::<i64>()?, source), (vec![1, 5], [9, 2]));
    for wrong in [&[3usize][..], &[], &[2, 2], &[usize::MAX, 2]] {
        assert_eq!(kind(Tensor::from_slice(&source, wrong)), Kind::Shape, "{wrong:?}");
        assert_eq!(kind(Tensor::from_vec(source.to_vec(), wrong)), Kind::Shape);
        assert_eq!(kind(with_borrowed_ref(&source, wrong, |_| Ok(()))), Kind::Shape);
        assert_eq!(kind(with_borrowed(&mut source.to_vec(), wrong, |_| Ok(()))), Kind::Shape);
    }
    assert!(text(Tensor::from_slice(&source, &[3])).contains("share.rs"), "the caller's line");
    Ok(())
}

#[test]
fn nothing_is_shared_too() -> Result<()> {
    let mut none: [f32; 0] = [];
    with_borrowed(&mut none, &[0, 3], |t| {
        t.add_(1.0)?;
        assert_eq!(t.sum()?.item::<f32>()?, 0.0);
        t.with_write(|s: &mut [f32]| assert!(s.is_empty()))
    })?;
    let t = Tensor::from_vec(Vec::<bool>::new(), &[0])?;
    assert!(t.read::<bool>()?.is_empty() && t.to_vec::<bool>()?.is_empty());
    assert!(zeros(&[2, 0], F32)?.t()?.write::<f32>()?.is_empty());
    // A number has one element and no dimension.
    let mut one = [3i64];
    with_borrowed(&mut one, &[], |t| t.add_(4))?;
    assert_eq!(one, [7]);
    Ok(())
}

#[test]
fn writes_are_seen_on_both_sides() -> Result<()> {
    let mut a = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let step = jit(|(x, y): (Tensor, Tensor)| {
        x.add_(&y)?;
        x.i(0)?.mul_(10.0)?;
        x.sum()
    });
    let sum = with_borrowed(&mut a, &[2, 3], |t| {
        // The tensor's side writes, then the slice's.
        t.t()?.i(0)?.fill_(-1.0)?;
        t.with_write(|s: &mut [f32]| {
            assert_eq!(s, [-1.0, 2.0, 3.0, -1.0, 5.0, 6.0]);
            s[5] = 60.0;
        })?;
        assert_eq!(t.i((1, 2))?.item::<f32>()?, 60.0);
        let copy = t.copy()?;
        step.call((t.clone(), tensor([1.0f32, 0.0, 0.0])?))?.item::<f32>().inspect(|_| {
            assert_eq!(copy.i((0, 1)).unwrap().item::<f32>().unwrap(), 2.0, "a copy is independent");
        })
    })?;
    assert_eq!(a, [0.0, 20.0, 30.0, 0.0, 5.0, 60.0]);
    assert_eq!(sum, 115.0);
    // Two scopes, one in the other.
    let (mut x, y) = ([0i64; 3], [1i64, 2, 3]);
    with_borrowed(&mut x, &[3], |x| with_borrowed_ref(&y, &[3], |y| x.add_(y)?.add_(y)))?;
    assert_eq!(x, [2, 4, 6]);
    Ok(())
}

#[test]
fn memory_lent_to_read_is_never_written() -> Result<()> {
    let a = [1.0f32, 2.0, 3.0];
    with_borrowed_ref(&a, &[3], |t| {
        let f = jit(|x: Tensor| x.mul_(2.0).map(|_| ()));
        for r in [
            t.add_(1.0).map(|_| ()),
            t.i(0)?.fill_(0).map(|_| ()),
            t.view([3, 1])?.zero_().map(|_| ()),
            f.call(t.clone()),
        ] {
            let e = text(r);
            assert!(e.contains("lent to read only") && e.contains("share.rs"), "{e}");
        }
        assert_eq!(kind(t.with_write(|s: &mut [f32]| s[0] = 0.0)), Kind::Alias);
        assert_eq!(t.with_read(|s: &[f32]| s.as_ptr())?, a.as_ptr());
        // What is made of it may be written.
        assert_eq!(t.mul(2.0)?.add_(1.0)?.to_vec::<f32>()?, [3.0, 5.0, 7.0]);
        t.copy()?.zero_()
    })?;
    assert_eq!(a, [1.0, 2.0, 3.0]);
    Ok(())
}

#[test]
fn a_guard_holds_the_memory_and_the_error_names_both_uses() -> Result<()> {
    let t = tensor([[1.0f32, 2.0], [3.0, 4.0]])?;
    let line = line!() + 1;
    let elements = t.read::<f32>()?;
    assert_eq!((elements.shape(), elements.strides(), elements.offset()), (&[2, 2][..], &[2, 1][..], 0));
    assert_eq!(t.sum()?.item::<f32>()?, 10.0, "reads go on");
    let second = t.i(1)?.read::<f32>()?;
    assert_eq!((&*second, second.offset()), (&[3.0, 4.0][..], 0));
    let e = text(t.view([4])?.add_(1.0));
    assert!(e.contains("cannot be written while it is being read"), "{e}");
    assert!(e.contains(&format!("share.rs:{line}")) && e.contains(&format!("share.rs:{}", line + 5)), "{e}");
    assert_eq!(kind(t.write::<f32>()), Kind::Alias);
    drop((elements, second));
    let mut elements = t.write::<f32>()?;
    elements[3] = 40.0;
    elements.iter_mut().for_each(|v| *v += 1.0);
    let e = text(t.to_vec::<f32>());
    assert!(e.contains("cannot be read while it is being written"), "{e}");
    assert!(kind(t.read::<f32>()) == Kind::Alias && kind(t.copy()) == Kind::Alias);
    // The guard keeps the memory when all tensors are gone.
    drop(t);
    assert_eq!(*elements, [2.0, 3.0, 4.0, 41.0]);
    Ok(())
}

#[test]
fn a_forgotten_guard_holds_for_good_and_harms_nothing() -> Result<()> {
    let t = tensor([1.0f32, 2.0])?;
    std::mem::forget(t.read::<f32>()?);
    assert_eq!(t.to_vec::<f32>()?, [1.0, 2.0]);
    assert_eq!(kind(t.add_(1.0)), Kind::Alias);
    t.copy()?.add_(1.0)?;
    Ok(())
}

#[test]
fn guards_are_of_the_tensor_s_dtype_and_in_order() -> Result<()> {
    let t = tensor([[1i64, 2, 3], [4, 5, 6]])?;
    for e in [text(t.read::<f64>()), text(t.write::<f64>()), text(t.to_vec::<f64>())] {
        assert!(e.starts_with("error[dtype]") && e.contains("i64 as f64"), "{e}");
    }
    let turned = t.t()?;
    for e in [text(turned.read::<i64>()), text(turned.write::<i64>()), text(turned.with_read(|_: &[i64]| ()))] {
        assert!(
            e.starts_with("error[shape]") && e.contains("` of a tensor of shape [3, 2] with strides [1, 3]"),
            "{e}"
        );
    }
    let part = t.i((.., 1..))?.t()?;
    let guard = part.read_strided::<i64>()?;
    assert_eq!(
        (&*guard, guard.shape(), guard.strides(), guard.offset()),
        (&[2, 3, 4, 5, 6][..], &[2, 2][..], &[1, 3][..], 0)
    );
    drop(guard);
    let mut guard = part.write_strided::<i64>()?;
    let (i, j) = (1, 1);
    let at = guard.offset() + i * guard.strides()[0] as usize + j * guard.strides()[1] as usize;
    guard[at] = 60;
    drop(guard);
    assert_eq!(t.to_vec::<i64>()?, [1, 2, 3, 4, 5, 60]);
    let f = jit(|x: Tensor| {
        assert_eq!(kind(x.read::<f32>()), Kind::Type, "a traced tensor has no elements");
        x.add(1.0)
    });
    f.call(zeros(&[1], F32)?)?;
    Ok(())
}

#[test]
fn a_handle_that_escapes_is_an_error() -> Result<()> {
    let mut a = [1.0f32, 2.0];
    let line = line!() + 1;
    let escaped = with_borrowed(&mut a, &[2], |t| Ok(t.clone()))?;
    a[0] = 5.0;
    for e in [
        text(escaped.to_vec::<f32>()),
        text(escaped.add_(1.0)),
        text(escaped.copy()),
        text(escaped.i(0)?.item::<f32>()),
    ] {
        assert!(e.contains("a scope that has ended") && e.contains(&format!("share.rs:{line}")), "{e}");
    }
    assert_eq!(kind(escaped.with_read(|_: &[f32]| ())), Kind::Alias);
    assert_eq!(a, [5.0, 2.0]);
    // Also one that a view or a result that shares memory hides.
    let view = with_borrowed(&mut a, &[2], |t| jit(|x: Tensor| x.view([2, 1])).call(t.clone()))?;
    assert_eq!(kind(view.sum()), Kind::Alias);
    Ok(())
}

#[test]
fn what_a_jitted_function_captured_is_gone_with_its_scope() -> Result<()> {
    let mut a = [1.0f32, 2.0];
    let f = with_borrowed(&mut a, &[2], |t| {
        let t = t.clone();
        let f = jit(move |x: Tensor| {
            t.add_(1.0)?;
            x.add(&t)
        });
        assert_eq!(f.call(tensor([10.0f32, 10.0])?)?.to_vec::<f32>()?, [12.0, 13.0]);
        assert_eq!(f.call(tensor([10.0f32, 10.0])?)?.to_vec::<f32>()?, [13.0, 14.0]);
        Ok(f)
    })?;
    assert_eq!(a, [3.0, 4.0]);
    assert!(text(f.call(tensor([10.0f32, 10.0])?)).contains("a scope that has ended"));
    assert_eq!(a, [3.0, 4.0]);
    // A scope inside of a traced function has ended when the program runs.
    let g = jit(|x: Tensor| with_borrowed_ref(&[1.0f32, 2.0], &[2], |t| x.add(t)));
    assert!(text(g.call(tensor([1.0f32, 1.0])?)).contains("a scope that has ended"));
    Ok(())
}

/// A guard could outlive the scope, whose end would then wait for ever or let the memory go under it.
#[test]
fn lent_memory_gives_no_guards() -> Result<()> {
    let mut a = [1.0f32, 2.0];
    let kept = Mutex::new(None);
    with_borrowed(&mut a, &[2], |t| {
        for e in [
            text(t.read::<f32>()),
            text(t.write::<f32>()),
            text(t.i(0)?.read_strided::<f32>()),
            text(t.write_strided::<f32>()),
        ] {
            assert!(e.contains("` of memory that is lent for a scope, which the guard could outlive"), "{e}");
            assert!(e.contains("use `"), "{e}");
        }
        // Of a copy there are; it may be kept.
        *kept.lock().unwrap() = Some(t.copy()?.write::<f32>()?);
        t.with_write(|s: &mut [f32]| s[1] = 7.0)
    })?;
    assert_eq!((a, &**kept.lock().unwrap().as_ref().unwrap()), ([1.0, 7.0], &[1.0, 2.0][..]));
    Ok(())
}

#[test]
fn a_panic_ends_the_scope() {
    let (mut a, kept) = ([1.0f32; 2], Mutex::new(None));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        with_borrowed(&mut a, &[2], |t| -> Result<()> {
            *kept.lock().unwrap() = Some(t.clone());
            t.with_write(|s: &mut [f32]| {
                s[0] = 3.0;
                std::panic::resume_unwind(Box::new("over"));
            })
        })
    }));
    assert!(caught.is_err());
    let t = kept.into_inner().unwrap().unwrap();
    assert_eq!((a, kind(t.to_vec::<f32>())), ([3.0, 1.0], Kind::Alias));
}

#[test]
fn the_end_of_a_scope_waits_for_a_use_on_another_thread() {
    let done = AtomicBool::new(false);
    let mut a = [1.0f32; 64];
    std::thread::scope(|threads| {
        with_borrowed(&mut a, &[64], |t| {
            let (t, done, (started, wait)) = (t.clone(), &done, mpsc::channel());
            threads.spawn(move || {
                t.with_write(|s: &mut [f32]| {
                    started.send(()).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    s.fill(2.0);
                    done.store(true, Ordering::Relaxed);
                })
            });
            wait.recv().unwrap();
            Ok(())
        })
        .unwrap();
        assert!(done.load(Ordering::Relaxed));
    });
    assert_eq!(a, [2.0; 64]);
}

/// A view of another dtype can put any byte into a `bool`, and Rust has only two of them.
#[test]
fn bools_stay_bools() -> Result<()> {
    let mut a = [false, true, false];
    with_borrowed(&mut a, &[3], |t| {
        t.view_dtype(U8)?.copy_(&tensor([2u8, 0, 255])?)?;
        let e = text(t.with_read(|_: &[bool]| ()));
        assert!(e.contains("this bool tensor has a byte that is neither 0 nor 1"), "{e}");
        assert_eq!(t.to_vec::<bool>()?, [true, false, true]);
        Ok(())
    })?;
    assert_eq!(a.map(u8::from), [1, 0, 1]);
    let t = Tensor::from_bytes(Bool, &[2], &[3, 0])?;
    assert_eq!((kind(t.read::<bool>()), kind(t.write::<bool>())), (Kind::Data, Kind::Data));
    t.copy_(&tensor([true, true])?)?;
    t.write::<bool>()?[1] = false;
    assert_eq!(t.to_bytes()?, [1, 0]);
    Ok(())
}

#[test]
fn numbers_made_in_a_traced_function_are_new_at_each_call() -> Result<()> {
    let f = jit(|x: Tensor| {
        let counts = Tensor::from_slice(&[1i64, 2], &[2])?;
        counts.add_(&x)?;
        counts.add(Tensor::from_vec(vec![10i64, 20], &[2]))
    });
    for _ in 0..2 {
        assert_eq!(f.call(zeros(&[2], I64)?)?.to_vec::<i64>()?, [11, 22]);
    }
    Ok(())
}

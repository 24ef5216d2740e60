//! Shared memory and its borrow word: who may use it when, what the errors say, and memory lent for a scope.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use tensorc_ir::{Kind, Loc};
use tensorc_runtime::storage::{Access, Borrows, Storage, with_borrowed, with_borrowed_ref};

#[test]
fn bytes_go_in_and_out() {
    let s = Storage::from_bytes(&[1, 2, 3, 4]).unwrap();
    s.copy_in(1, &[9, 8], Loc::caller()).unwrap();
    let mut out = [0; 3];
    s.copy_out(1, &mut out, Loc::caller()).unwrap();
    assert_eq!(out, [9, 8, 4]);
    for e in [s.copy_in(3, &[1, 1], Loc::caller()), s.copy_out(usize::MAX, &mut out, Loc::caller())] {
        assert_eq!(e.unwrap_err().kind(), Kind::Index);
    }
    assert_eq!(&*s.read(Loc::caller()).unwrap(), &[1, 9, 8, 4]);
    assert!(Storage::alloc_zeroed(100).unwrap().read(Loc::caller()).unwrap().iter().all(|&b| b == 0));
    assert_eq!(Storage::alloc(7).unwrap().len(), 7);
    assert!(Storage::alloc(usize::MAX).is_err());
}

#[test]
fn values_are_typed() {
    let s = Storage::from_slice(&[1.5f32, -2.0]).unwrap();
    s.write(Loc::caller()).unwrap().values::<f32>().unwrap()[0] = 4.0;
    let guard = s.read(Loc::caller()).unwrap();
    assert_eq!(guard.values::<f32>(), Some(&[4.0, -2.0][..]));
    assert_eq!(guard.values::<u64>().map(<[u64]>::len), Some(1));
}

#[test]
fn an_error_names_both_uses() {
    let s = Storage::alloc(8).unwrap();
    let other = s.clone();
    let guard = s.read(Loc::text(3..9)).unwrap();
    let second = other.read(Loc::Unknown).unwrap();
    let e = other.write(Loc::text(20..25)).map(|_| ()).unwrap_err();
    assert_eq!(
        e.to_string(),
        "error[alias]: this tensor cannot be written while it is being read\n  at bytes 20..25\n  \
         note: it is being read here (at bytes 3..9)"
    );
    drop((guard, second));
    let here = Loc::caller();
    let guard = s.write(here).unwrap();
    let e = other.read(Loc::text(20..25)).map(|_| ()).unwrap_err();
    assert_eq!(e.diagnostic().notes, [(here, "it is being written here".to_owned())]);
    drop(guard);
    other.write(Loc::Unknown).unwrap();
}

#[test]
fn a_call_takes_each_storage_once_and_all_or_none() {
    let [x, y, z] = [0; 3].map(|_| Storage::alloc(8).unwrap());
    let x2 = x.clone();
    // x += y + x: read and written by the same call.
    let call = Borrows::take([(&x, Access::Read), (&y, Access::Read), (&x2, Access::Write)], Loc::text(1..2)).unwrap();
    assert!(x.read(Loc::Unknown).is_err() && y.write(Loc::Unknown).is_err());
    y.read(Loc::Unknown).unwrap();
    // z comes free again when x or y cannot be had.
    let uses = [(&z, Access::Write), (&y, Access::Write), (&x, Access::Read)];
    let e = Borrows::take(uses, Loc::text(5..6)).map(|_| ()).unwrap_err();
    assert_eq!(e.diagnostic().notes[0].0, Loc::text(1..2));
    z.write(Loc::Unknown).unwrap();
    drop(call);
    Borrows::take(uses, Loc::Unknown).unwrap();
    Borrows::take([], Loc::Unknown).unwrap();
}

#[test]
fn lent_memory_is_revoked() {
    let mut values = [1.0f32, 2.0];
    let scope = Loc::text(7..8);
    let escaped = with_borrowed(&mut values, scope, |s| {
        s.write(Loc::Unknown).unwrap().values::<f32>().unwrap()[1] = 5.0;
        s.clone()
    });
    assert_eq!(values, [1.0, 5.0]);
    for e in [escaped.read(Loc::Unknown).map(|_| ()), escaped.write(Loc::Unknown).map(|_| ())] {
        let e = e.unwrap_err();
        assert_eq!((e.kind(), e.diagnostic().notes[0].0), (Kind::Alias, scope));
    }
}

#[test]
fn memory_lent_to_read_cannot_be_written() {
    let values = [1u8, 2];
    let escaped = with_borrowed_ref(&values, Loc::Unknown, |s| {
        assert_eq!(&*s.read(Loc::Unknown).unwrap(), &values);
        assert!(s.write(Loc::Unknown).is_err());
        s.clone()
    });
    assert!(escaped.read(Loc::Unknown).is_err());
}

#[test]
fn a_scope_that_panics_revokes_too() {
    let mut kept = None;
    let mut values = [0u8; 4];
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        with_borrowed(&mut values, Loc::Unknown, |s| {
            kept = Some(s.clone());
            std::panic::resume_unwind(Box::new(()));
        })
    }));
    assert!(result.is_err());
    assert!(kept.unwrap().read(Loc::Unknown).is_err());
}

#[test]
fn the_end_of_a_scope_waits_for_another_thread() {
    let done = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        let mut values = [0u8; 64];
        with_borrowed(&mut values, Loc::Unknown, |s| {
            let mut guard = s.write(Loc::Unknown).unwrap();
            let done = &done;
            threads.spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(5));
                guard.fill(3);
                done.store(1, Ordering::Relaxed);
            });
        });
        assert_eq!(done.load(Ordering::Relaxed), 1);
        assert_eq!(values, [3; 64]);
    });
}

#[test]
fn another_owner_s_memory_stays_until_the_last_handle_goes() {
    let mut owner: Vec<u8> = vec![1, 2, 3];
    let start = NonNull::new(owner.as_mut_ptr()).unwrap();
    // SAFETY: the bytes live on the heap as long as the vector, and nothing else uses them.
    let s = unsafe { Storage::from_owner(start, 3, false, true, Box::new(owner)) };
    let t = s.clone();
    assert!(!s.is_unique() && s.same(&t));
    drop(s);
    assert!(t.is_unique());
    assert_eq!(&*t.read(Loc::Unknown).unwrap(), &[1, 2, 3]);
    assert!(t.write(Loc::Unknown).is_err());
}

#[test]
fn threads_never_see_each_other_write() {
    let s = Storage::alloc_zeroed(16).unwrap();
    let writes: usize = std::thread::scope(|threads| {
        let workers: Vec<_> = (0..4)
            .map(|t| {
                let s = s.clone();
                threads.spawn(move || {
                    let mut wrote = 0;
                    for i in 0..2000 {
                        if (i + t) % 3 == 0 {
                            if let Ok(mut guard) = s.write(Loc::Unknown) {
                                let values = guard.values::<u64>().unwrap();
                                values[0] += 1;
                                values[1] += 1;
                                wrote += 1;
                            }
                        } else if let Ok(guard) = s.read(Loc::Unknown) {
                            let values = guard.values::<u64>().unwrap();
                            assert_eq!(values[0], values[1]);
                        }
                    }
                    wrote
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    let guard = s.read(Loc::Unknown).unwrap();
    assert_eq!(guard.values::<u64>().unwrap(), [writes as u64; 2]);
}

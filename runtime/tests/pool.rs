//! The thread pool: every chunk once, whatever else happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tensorc_runtime::jit::KernelPtr;
use tensorc_runtime::launch::Work;
use tensorc_runtime::pool::Pool;

/// The sum of the chunk numbers, each added by its own task.
fn sum(pool: &Pool, chunks: usize) -> usize {
    let sum = AtomicUsize::new(0);
    pool.run(chunks, &|chunk| {
        sum.fetch_add(chunk, Ordering::Relaxed);
    });
    sum.into_inner()
}

#[test]
fn every_chunk_runs_once() {
    for threads in [0, 1, 2, 3, 5] {
        let pool = Pool::new(threads);
        assert_eq!(pool.threads(), threads.max(1));
        for chunks in [0, 1, 2, 7, 100] {
            let counts: Vec<_> = (0..chunks).map(|_| AtomicU64::new(0)).collect();
            pool.run(chunks, &|chunk| {
                counts[chunk].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.into_iter().all(|c| c.into_inner() == 1), "{threads} threads, {chunks} chunks");
        }
    }
}

#[test]
fn plain_writes_of_a_task_are_seen_afterwards() {
    let pool = Pool::new(3);
    let mut values = vec![0u64; 999];
    for round in 1..50 {
        let parts: Vec<_> = values.chunks_mut(10).map(std::sync::Mutex::new).collect();
        pool.run(parts.len(), &|chunk| parts[chunk].lock().unwrap().iter_mut().for_each(|v| *v += round));
    }
    assert!(values.iter().all(|&v| v == (1..50).sum::<u64>()));
}

#[test]
fn both_threads_take_part() {
    let pool = Pool::new(2);
    let threads = std::sync::Mutex::new(std::collections::HashSet::new());
    pool.run(2, &|_| {
        threads.lock().unwrap().insert(std::thread::current().id());
        // Long enough for the other thread to wake up and take the second chunk.
        while threads.lock().unwrap().len() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert!(threads.into_inner().unwrap().contains(&std::thread::current().id()));
}

#[test]
fn many_short_loops() {
    let pool = Pool::new(3);
    for i in 0..20_000 {
        assert_eq!(sum(&pool, 3), 3, "{i}");
    }
}

#[test]
fn loops_between_which_the_workers_sleep() {
    let pool = Pool::new(3);
    for _ in 0..30 {
        assert_eq!(sum(&pool, 8), 28);
        std::thread::sleep(Duration::from_micros(300));
    }
}

#[test]
fn a_loop_in_a_task_is_serial() {
    let pool = Pool::new(3);
    let total = AtomicUsize::new(0);
    pool.run(4, &|_| {
        let here = std::thread::current().id();
        pool.run(5, &|chunk| {
            assert_eq!(std::thread::current().id(), here);
            total.fetch_add(chunk, Ordering::Relaxed);
        });
        assert!(pool.set_threads(1).is_err(), "it would wait for itself");
    });
    assert_eq!(total.into_inner(), 40);
}

#[test]
fn several_callers_share_the_pool() {
    let pool = Pool::new(2);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| (0..500).for_each(|_| assert_eq!(sum(&pool, 4), 6)));
        }
    });
}

#[test]
fn a_panic_comes_out_when_all_have_ended() {
    let pool = Pool::new(3);
    for _ in 0..20 {
        let running = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(100, &|chunk| {
                running.fetch_add(1, Ordering::Relaxed);
                if chunk == 5 {
                    running.fetch_sub(1, Ordering::Relaxed);
                    std::panic::resume_unwind(Box::new("chunk five"));
                }
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }));
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"chunk five"));
        assert_eq!(running.into_inner(), 0);
        assert_eq!(sum(&pool, 10), 45, "the pool is as before");
    }
}

#[test]
fn the_number_of_threads_changes() {
    let pool = Pool::new(2);
    for threads in [3, 1, 2, 0, 4] {
        pool.set_threads(threads).unwrap();
        assert_eq!(pool.threads(), threads.max(1));
        assert_eq!(sum(&pool, 10), 45);
    }
    assert!(Pool::global().threads() >= 1);
    assert_eq!(sum(Pool::global(), 10), 45);
}

#[test]
fn pools_come_and_go() {
    for i in 0..50 {
        let pool = Pool::new(3);
        if i % 2 == 0 {
            assert_eq!(sum(&pool, 4), 6);
        }
    }
}

/// `args = [x, calls]`: adds 1 to `x[begin..end]`, and counts its calls.
unsafe extern "C" fn increment(args: *const u64, begin: u64, end: u64) {
    // SAFETY: the test below passes the addresses of an array of that many elements and of an atomic.
    unsafe {
        let x = *args as *mut u32;
        (begin..end).for_each(|i| *x.add(i as usize) += 1);
        (*(*args.add(1) as *const AtomicU64)).fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_kernel_runs_in_chunks_if_it_is_worth_it() {
    let pool = Pool::new(2);
    for (total, item_ns, calls) in [(1000, 0.1, 1), (1000, 100.0, 8), (0, 1.0, 0)] {
        let mut x = vec![0u32; total];
        let count = AtomicU64::new(0);
        let args = [x.as_mut_ptr() as u64, &raw const count as u64];
        let work = Work { total: total as u64, grain: 16, item_ns };
        // SAFETY: the kernel adds to the elements of its own range only; both arguments outlive the call.
        unsafe { pool.launch(KernelPtr::from_fn(increment), args.as_ptr(), work) };
        assert!(x.iter().all(|&v| v == 1));
        assert_eq!(count.into_inner(), calls);
    }
}

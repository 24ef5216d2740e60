//! The models: small programs of two or three threads that must hold in every interleaving.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use tensorc_ir::Loc;
use tensorc_loom::{Access, Word, pool};

/// All interleavings with at most `preemptions` switches away from a thread that could go on.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Memory that loom watches: a read beside a write, or a write not ordered before a read, is reported.
#[derive(Default)]
struct Cell(UnsafeCell<usize>);

// SAFETY: loom checks every access.
unsafe impl Sync for Cell {}
// SAFETY: as above.
unsafe impl Send for Cell {}

impl Cell {
    fn get(&self) -> usize {
        // SAFETY: loom checks that nobody writes meanwhile.
        self.0.with(|p| unsafe { *p })
    }

    fn add(&self) {
        // SAFETY: loom checks that nobody reads or writes meanwhile.
        self.0.with_mut(|p| unsafe { *p += 1 });
    }
}

#[test]
fn readers_and_writers_never_meet() {
    check(3, || {
        let shared = Arc::new((Word::default(), Cell::default()));
        let other = shared.clone();
        let use_it = |(word, cell): &(Word, Cell)| {
            let mut wrote = 0;
            if word.acquire(Access::Write, Loc::Unknown) {
                cell.add();
                word.release(Access::Write);
                wrote += 1;
            }
            if word.acquire(Access::Read, Loc::Unknown) {
                cell.get();
                word.release(Access::Read);
            }
            wrote
        };
        let thread = thread::spawn(move || use_it(&other));
        let wrote = use_it(&shared) + thread.join().unwrap();
        assert!(shared.0.acquire(Access::Read, Loc::Unknown));
        assert_eq!(shared.1.get(), wrote);
    });
}

#[test]
fn after_a_revocation_nobody_comes_in() {
    check(3, || {
        let shared = Arc::new((Word::default(), Cell::default()));
        let other = shared.clone();
        let thread = thread::spawn(move || {
            if other.0.acquire(Access::Read, Loc::Unknown) {
                other.1.get();
                other.0.release(Access::Read);
            }
        });
        if shared.0.revoke() {
            // As a scope's end: the memory goes back to whoever lent it, who writes it.
            shared.1.add();
            assert!(!shared.0.acquire(Access::Read, Loc::Unknown));
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_loop_of_two_threads_ends_with_all_done() {
    check(3, || {
        let pool = pool(2);
        let cells = [Cell::default(), Cell::default()];
        pool.run(2, &|chunk| cells[chunk].add());
        // The caller may read and write what the tasks wrote: ordered, and each done once.
        assert_eq!(cells.each_ref().map(Cell::get), [1, 1]);
    });
}

#[test]
fn loops_follow_each_other() {
    check(2, || {
        let pool = pool(2);
        let cells = [Cell::default(), Cell::default()];
        pool.run(2, &|chunk| cells[chunk].add());
        cells.iter().for_each(Cell::add);
        pool.run(2, &|chunk| cells[1 - chunk].add());
        assert_eq!(cells.each_ref().map(Cell::get), [3, 3]);
    });
}

#[test]
fn two_workers_and_fewer_chunks() {
    check(1, || {
        let pool = pool(3);
        let cells = [Cell::default(), Cell::default()];
        pool.run(2, &|chunk| cells[chunk].add());
        assert_eq!(cells.each_ref().map(Cell::get), [1, 1]);
    });
}

#[test]
fn two_callers() {
    check(2, || {
        let shared = Arc::new((pool(2), AtomicUsize::new(0)));
        let other = shared.clone();
        let use_it = |shared: &(tensorc_loom::Pool, AtomicUsize)| {
            shared.0.run(2, &|_| {
                shared.1.fetch_add(1, Ordering::Relaxed);
            });
        };
        let thread = thread::spawn(move || use_it(&other));
        use_it(&shared);
        thread.join().unwrap();
        assert_eq!(shared.1.load(Ordering::Relaxed), 4);
    });
}

#[test]
fn a_panic_comes_out_after_the_others_have_ended() {
    check(2, || {
        let pool = pool(2);
        let cell = Cell::default();
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(2, &|chunk| match chunk {
                0 => resume_unwind(Box::new(())),
                _ => cell.add(),
            });
        }));
        assert!(result.is_err());
        // Whether the other chunk ran or not, it is not running now.
        assert!(cell.get() <= 1);
    });
}

//! `crate::sync` for the model checker: loom's types, and a futex made of its mutex and condition variable.
//!
//! The futex is exact: a waiter compares and goes to sleep in one step, and wakes only when a wake-up of its own
//! address has chosen it. So a wake-up that the code under test forgets is a deadlock here, which loom reports.

pub(crate) use loom::hint::spin_loop;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
pub(crate) use loom::thread::{Builder, JoinHandle};
pub(crate) use std::sync::TryLockError;

/// Loom's knows no constant initialisers.
macro_rules! per_thread {
    ($(#[$attr:meta])* static $name:ident: $ty:ty = const { $init:expr };) => {
        loom::thread_local! { $(#[$attr])* static $name: $ty = $init; }
    };
}
pub(crate) use per_thread;

#[derive(Default)]
struct Sleepers {
    tickets: u64,
    asleep: Vec<(u64, usize)>,
}

loom::lazy_static! {
    static ref SLEEPERS: Mutex<Sleepers> = Mutex::new(Sleepers::default());
    static ref WOKEN: Condvar = Condvar::new();
}

/// Sleeps if the value is `value`.
pub(crate) fn wait(atomic: &AtomicU32, value: u32) {
    let mut sleepers = SLEEPERS.lock().unwrap();
    if atomic.load(Ordering::Acquire) != value {
        return;
    }
    let ticket = sleepers.tickets;
    sleepers.tickets += 1;
    sleepers.asleep.push((ticket, std::ptr::from_ref(atomic).addr()));
    while sleepers.asleep.iter().any(|(t, _)| *t == ticket) {
        sleepers = WOKEN.wait(sleepers).unwrap();
    }
}

/// Wakes one that sleeps on this.
pub(crate) fn wake_one(atomic: *const AtomicU32) {
    let mut sleepers = SLEEPERS.lock().unwrap();
    if let Some(i) = sleepers.asleep.iter().position(|(_, a)| *a == atomic.addr()) {
        sleepers.asleep.remove(i);
    }
    WOKEN.notify_all();
}

/// Wakes all that sleep on this.
pub(crate) fn wake_all(atomic: *const AtomicU32) {
    let mut sleepers = SLEEPERS.lock().unwrap();
    sleepers.asleep.retain(|(_, a)| *a != atomic.addr());
    WOKEN.notify_all();
}

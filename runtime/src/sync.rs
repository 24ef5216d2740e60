//! The atomics, waits and threads that the lock-free parts are written in.
//!
//! [`crate::borrow`] and [`crate::pool`] share memory between threads through these names alone, so that the model
//! checker in `loom/` can compile the very same files against its own.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
pub(crate) use std::thread::{Builder, JoinHandle};
pub(crate) use std::thread_local as per_thread;

pub(crate) use atomic_wait::{wait, wake_all, wake_one};

//! What a compiled program needs while it runs: machine code made executable, memory, borrow words and threads.
//!
//! This is the only crate of tensorc with `unsafe` code; each block says why it is sound. Everything that can go wrong
//! on a bad program or input is an error, not a panic. It decides nothing about what to compute: that is the part of
//! the crates `ir` and `codegen`, whose output it loads and runs.

mod borrow;
pub mod buffer;
mod call;
mod control;
#[cfg(feature = "dlpack")]
pub mod dlpack;
pub mod elements;
pub mod executable;
pub mod jit;
mod kept;
pub mod kernels;
pub mod launch;
pub mod lend;
mod link;
#[cfg(feature = "ndarray")]
pub mod ndarray;
pub mod plain;
pub mod pool;
mod step;
pub mod storage;
mod sync;
mod system;

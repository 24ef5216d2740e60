//! Loop nests to machine code for CPUs, through Cranelift.
//!
//! [`emit`] spells one [`LoopNest`](crate::loopnest::LoopNest) as one Cranelift function. It decides three things only:
//! how many iterations of a vector loop run at once, where loop-invariant code goes, and which machine types hold the
//! values. What is computed, and in which order, the loop nest has fixed; nothing here may change a bit of a result.

#![expect(
    clippy::wrong_self_convention,
    reason = "`to_` and `from_` say what the emitted code converts, not the emitter"
)]

mod acc;
mod asm;
mod convert;
mod emit;
pub mod gemm;
mod half;
mod inst;
mod loops;
mod memory;
mod value;
mod vector;
mod wide;

pub use emit::{Emitted, FMOD, FMODF, emit};
pub use wide::Bytes;

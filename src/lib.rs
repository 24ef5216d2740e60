//! tensorc: a compiler from tensor expressions to native kernels.
//!
//! Write tensor programs as in PyTorch; run them op by op, or trace a closure once and run it as fused machine code:
//!
//! ```
//! use tensorc::{Tensor, jit, value_and_grad};
//!
//! # fn main() -> tensorc::Result<()> {
//! let f = jit(|(x, w): (Tensor, Tensor)| x.matmul(&w)?.add(1.0)?.relu());
//! let x = tensorc::tensor([[1.0f32, 2.0], [3.0, 4.0]])?;
//! let w = tensorc::tensor([[1.0f32], [-1.0]])?;
//! assert_eq!(f.call((x.clone(), w.clone()))?.to_vec::<f32>()?, [0.0, 0.0]);
//!
//! // Derivatives of any order; inside `jit` they are part of the one fused program.
//! let (value, slope) = value_and_grad(|x: Tensor| x.mul(&x)?.sum())(x)?;
//! assert_eq!(value.item::<f32>()?, 30.0);
//! assert_eq!(slope.to_vec::<f32>()?, [2.0, 4.0, 6.0, 8.0]);
//! # Ok(())
//! # }
//! ```
//!
//! Every method returns a [`Result`] whose error carries the op, the shapes and the caller's line. `clone` makes another
//! handle on the same memory, as assignment does in Python; [`Tensor::copy`] copies.
//!
//! Memory is shared with the rest of a program without a copy: [`with_borrowed`] lends a slice for a scope,
//! [`Tensor::from_vec`] takes a vector over, [`Tensor::read`] and [`Tensor::write`] give slices; the features `ndarray` and
//! `dlpack` do the same for arrays of the crate `ndarray` and for other libraries.
//!
//! [`train`] has optimisers, learning rates, clipping, initial values and files for trees of parameters.

pub mod autograd;
#[cfg(feature = "cli")]
pub mod cli;
mod control;
pub mod display;
mod donate;
mod dynamic;
#[cfg(feature = "safetensors")]
mod files;
mod grad;
mod jit;
mod once;
pub mod program;
mod share;
mod sharing;
mod signature;
mod table;
mod tensor;
mod trace;
pub mod train;
mod transform;
mod tree;

pub use autograd::{enable_grad, no_grad};
pub use control::{ScanOptions, cond, scan, scan_with, while_loop};
pub use grad::{grad, value_and_grad, value_and_grad_strong_zero};
pub use jit::{Jit, jit};
#[cfg(feature = "ndarray")]
pub use share::{ArrayGuard, ArrayGuardMut, with_ndarray, with_ndarray_mut};
pub use share::{Elements, ElementsMut, with_borrowed, with_borrowed_ref};
pub use tensor::create::{
    Nested, arange, arange_step, empty, eye, full, linspace, manual_seed, ones, rand, randn, tensor, zeros,
};
pub use tensor::{Argument, Element, Operand, Size, Tensor, call, index::Index, index::IndexItem, index::Indices};
pub use tensor::{add, div, mul, rem, sub};
pub use tensorc_ir::{DType, Error, Kind, Loc, Result};
pub use transform::{VmapOptions, hessian, hvp, jacfwd, jacobian, jacrev, jvp, vjp, vmap, vmap_with};
pub use transform::{checkpoint, custom_vjp, stop_gradient};
pub use tree::{Part, Tree};

/// The dtypes by their short names: `tensorc::dtype::F32`.
pub mod dtype {
    pub use tensorc_ir::DType::*;
}

/// The Rust in README.md is compiled and run with the other examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

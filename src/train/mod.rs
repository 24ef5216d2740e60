//! What training takes besides a gradient, as plain functions over trees of tensors: optimisers, learning rates, clipping,
//! first values of parameters, and files of trees.
//!
//! Nothing here is known to the compiler: all of it is ops on tensors, so inside [`jit`](crate::jit) it is part of the one
//! program of a training step. Names, defaults and formulas are PyTorch's (`torch.optim`, `torch.optim.lr_scheduler`,
//! `torch.nn.utils`, `torch.nn.init`), which the tests compare it with. A tree of parameters is any
//! [`Tree`](crate::Tree); its gradients and an optimiser's state have the same structure.
//!
//! ```
//! use tensorc::dtype::F32;
//! use tensorc::train::AdamW;
//! use tensorc::{Tensor, jit, tensor, value_and_grad, zeros};
//!
//! # fn main() -> tensorc::Result<()> {
//! let (x, y) = (tensor([1.0f32, 2.0, 3.0])?, tensor([3.0f32, 5.0, 7.0])?);
//! let adamw = AdamW { weight_decay: 0.0, ..AdamW::default() };
//! let step = jit(|(params, state, lr): ((Tensor, Tensor), _, Tensor)| {
//!     let loss = |(w, b): (Tensor, Tensor)| x.mul(&w)?.add(&b)?.sub(&y)?.square()?.mean();
//!     let (loss, grads) = value_and_grad(loss)(params.clone())?;
//!     adamw.step_(&params, &grads, &state, &lr)?;
//!     Ok(loss)
//! });
//! let params = (zeros(&[], F32)?, zeros(&[], F32)?);
//! let state = adamw.init(&params)?;
//! for _ in 0..1000 {
//!     step.call((params.clone(), state.clone(), Tensor::scalar(0.1f32)?))?;
//! }
//! assert!((params.0.item::<f32>()? - 2.0).abs() < 0.01 && (params.1.item::<f32>()? - 1.0).abs() < 0.01);
//! assert_eq!(step.compilations(), 1);
//! # Ok(())
//! # }
//! ```

mod adam;
mod clip;
pub mod init;
mod leaves;
#[cfg(feature = "safetensors")]
mod save;
pub mod schedule;
mod sgd;

pub use adam::{Adam, AdamState, AdamW};
pub use clip::{clip_grad_norm, clip_grad_value, total_norm};
#[cfg(feature = "safetensors")]
pub use save::{load, save};
pub use sgd::{Sgd, SgdState};

//! Transforms of functions over trees of tensors, beside [`grad`](crate::grad()): derivatives along a direction ([`jvp`]),
//! of many results ([`vjp`]), products with the Hessian ([`hvp`]), all derivatives ([`jacobian`], [`hessian`]), and many
//! elements at once ([`vmap`]).
//!
//! Each traces the function and appends ops that passes work out, so they nest, inside and outside of
//! [`jit`](crate::jit), in any order.

mod custom;
mod product;
mod vmap;

pub use custom::{checkpoint, custom_vjp, stop_gradient};
pub use product::{hvp, jvp, vjp};
pub use vmap::{VmapOptions, hessian, jacfwd, jacobian, jacrev, vmap, vmap_with};

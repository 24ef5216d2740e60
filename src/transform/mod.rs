//! Transforms of functions over trees of tensors, beside [`grad`](crate::grad()): derivatives along a direction ([`jvp`]),
//! of many results ([`vjp`]), products with the Hessian ([`hvp`]).
//!
//! Each traces the function and appends ops that passes work out, so they nest, inside and outside of
//! [`jit`](crate::jit), in any order.

mod product;

pub use product::{hvp, jvp, vjp};

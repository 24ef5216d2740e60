//! Composite functions: everything users call that is not an elementwise row, written over the builder.
//!
//! Each is declared once with PyTorch's name and argument order, and its definition is the decomposition into primitive
//! ops. On half floats a composite computes in `f32` and rounds once, at its end.

pub mod shape;

use super::registry::FnDef;

/// All composites.
pub fn all() -> impl Iterator<Item = &'static FnDef> {
    [shape::FNS].into_iter().flatten()
}

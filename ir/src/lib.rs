//! The intermediate representation of tensorc: types, the op table, the graph, text, the reference interpreter and the
//! graph passes. It knows no backend.

pub mod dtype;
pub mod error;
pub mod scalar;
pub mod text;

pub use dtype::{Category, DType, Scalar};
pub use error::{Error, Kind, Loc, Result};

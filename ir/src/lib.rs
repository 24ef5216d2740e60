//! The intermediate representation of tensorc: types, the op table, the graph, text, the reference interpreter and the
//! graph passes. It knows no backend.

pub mod alias;
pub mod builder;
pub mod describe;
pub mod dim;
pub mod dtype;
pub mod error;
pub mod graph;
pub mod interp;
pub mod layout;
pub mod ops;
pub mod passes;
pub mod scalar;
pub mod text;
pub mod timing;
pub mod types;
pub mod verify;

pub use builder::{Builder, Ex};
pub use dim::{Dim, Dims};
pub use dtype::{Category, DType, Scalar};
pub use error::{Error, Kind, Loc, Result};
pub use graph::{Graph, NodeId, Value};
pub use layout::{Layout, Strided};
pub use ops::Op;
pub use types::{Shape, Type};

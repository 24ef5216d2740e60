//! Graph passes.

pub mod fuse;

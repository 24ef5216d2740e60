//! Graphs as text.

pub mod print;

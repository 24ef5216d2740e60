//! Machine code of loop nests against their interpreter, bit for bit.

#[path = "../../../ir/tests/random/cases.rs"]
mod cases;
mod data;
mod instructions;
mod machine;
mod random;
mod shapes;

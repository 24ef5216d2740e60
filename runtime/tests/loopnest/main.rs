//! Machine code of loop nests against their interpreter, bit for bit.

mod data;
mod instructions;
mod machine;
mod random;
mod shapes;

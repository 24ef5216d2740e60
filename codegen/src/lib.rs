//! From fused programs to loop nests, and from loop nests to machine code. No I/O, and the same bytes for the same input.

pub mod cpu;
pub mod launches;
pub mod loopnest;
pub mod lower;
pub mod plan;
pub mod program;

//! Derivatives of every function of the table against what they must be: differences of the function, to second order;
//! in narrow dtypes those in `f64`; at kinks those of PyTorch; and of functions whose Hessians are known, those.

#[path = "../calls/mod.rs"]
mod calls;
mod differences;
mod dtypes;
mod hessians;
mod kinks;
#[path = "../near/mod.rs"]
#[allow(dead_code)]
mod near;
#[path = "../table/mod.rs"]
#[allow(dead_code)]
mod table;

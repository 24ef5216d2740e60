//! Accuracy and special values of every elementary function, by running its code in the interpreter.
//!
//! `f32` results are measured against binary64 functions of pxfm (error far below a unit in the last place of `f32`),
//! so their error is a real number; `f64` results against the same functions, which are within about half a unit, so
//! their error is counted in whole units. `TENSORC_SWEEP=n` makes n samples a function instead of the default.

mod ulp;

//! Elementary functions written in the scalar IR: `exp`, `log`, `tanh`, `sin`, `pow`, ….
//!
//! Each function appends straight-line code to a [`Block`] for an operand of type `F32` or `F64` and returns the
//! register of the result. There are no branches, no tables in memory and no library calls: special cases are selects,
//! range reduction is exact arithmetic on floats and constant shifts on their bits, the rest are polynomials and a few
//! pairs `hi + lo` where one rounding too many would show. So the same bits come out of the interpreter and of every
//! backend, at any vector width. Subnormal operands and results are computed, not flushed; any NaN stands for any other.
//!
//! [`MATH`] lists all of them with the accuracy that tests hold them to. The operands must be registers of `b`, all of
//! one float type.

mod arc;
mod bits;
mod df;
mod erf;
mod erf_tables;
mod exp;
mod expr;
mod log;
mod pow;
mod reduce;
#[cfg(test)]
mod tests;
mod trig;

use super::{Block, Reg, V};

/// An elementary function: a row that tests iterate over.
pub struct MathFn {
    /// The function's name, as in the op table.
    pub name: &'static str,
    /// The number of operands.
    pub arity: usize,
    /// Appends the function to a block; takes `arity` registers of one float type.
    pub f: fn(&mut Block, &[V]) -> V,
    /// The largest error for `f32`, in units in the last place of the exact result.
    pub ulp_f32: f64,
    /// The largest error for `f64`.
    pub ulp_f64: f64,
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),*) = $path:path, $ulp32:expr, $ulp64:expr;)*) => {
        $($(#[$doc])* pub fn $name(b: &mut Block, $($arg: V),*) -> V {
            expr::with(b, [$($arg),*], $path)
        })*

        /// Every function of this module.
        pub static MATH: &[MathFn] = &[$(MathFn {
            name: stringify!($name),
            arity: [$(stringify!($arg)),*].len(),
            f: |b, args| match *args {
                [$($arg),*] => $name(b, $($arg),*),
                _ => {
                    debug_assert!(false, "{} with {} operands", stringify!($name), args.len());
                    b.float(Reg::F32, f64::NAN)
                }
            },
            ulp_f32: $ulp32,
            ulp_f64: $ulp64,
        }),*];
    };
}

functions! {
    /// `e^x`.
    exp(x) = exp::exp, 1.0, 1.0;
    /// `2^x`.
    exp2(x) = exp::exp2, 1.0, 1.0;
    /// `e^x - 1`.
    expm1(x) = exp::expm1, 1.0, 1.0;
    /// `1 / (1 + e^-x)`.
    sigmoid(x) = exp::sigmoid, 1.0, 1.0;
    /// Hyperbolic tangent.
    tanh(x) = exp::tanh, 1.0, 1.0;
    /// Hyperbolic sine.
    sinh(x) = exp::sinh, 1.0, 1.0;
    /// Hyperbolic cosine.
    cosh(x) = exp::cosh, 1.0, 1.0;
    /// Natural logarithm.
    log(x) = log::log, 1.0, 1.0;
    /// Logarithm to base 2.
    log2(x) = log::log2, 1.0, 1.0;
    /// Logarithm to base 10.
    log10(x) = log::log10, 1.0, 1.0;
    /// `log(1 + x)`.
    log1p(x) = log::log1p, 1.0, 1.0;
    /// Inverse hyperbolic sine.
    asinh(x) = log::asinh, 1.0, 1.0;
    /// Inverse hyperbolic cosine.
    acosh(x) = log::acosh, 1.0, 1.0;
    /// Inverse hyperbolic tangent.
    atanh(x) = log::atanh, 1.0, 1.0;
    /// `log(e^x + e^y)`.
    logaddexp(x, y) = log::logaddexp, 1.0, 2.0;
    /// `x^y`, with the special cases of C99.
    pow(x, y) = pow::pow, 1.0, 1.0;
    /// Sine.
    sin(x) = trig::sin, 1.0, 1.0;
    /// Cosine.
    cos(x) = trig::cos, 1.0, 1.0;
    /// Tangent.
    tan(x) = trig::tan, 1.0, 1.0;
    /// Inverse sine.
    asin(x) = arc::asin, 1.0, 1.0;
    /// Inverse cosine.
    acos(x) = arc::acos, 1.0, 1.0;
    /// Inverse tangent.
    atan(x) = arc::atan, 1.0, 1.0;
    /// The angle of the point `(x, y)`.
    atan2(y, x) = arc::atan2, 1.0, 1.0;
    /// `1 / sqrt(x)`.
    rsqrt(x) = bits::rsqrt, 1.5, 1.0;
    /// `sqrt(x^2 + y^2)`.
    hypot(x, y) = bits::hypot, 1.0, 1.0;
    /// The magnitude of `x` with the sign of `y`.
    copysign(x, y) = bits::copysign, 0.0, 0.0;
    /// The neighbour of `x` on the side of `y`.
    nextafter(x, y) = bits::nextafter, 0.0, 0.0;
    /// C's `fmod`.
    fmod(x, y) = bits::fmod, 0.0, 0.0;
    /// PyTorch's `remainder`, with the sign of `y`.
    remainder(x, y) = bits::remainder, 0.0, 0.0;
    /// PyTorch's `floor_divide` of floats.
    floor_divide(x, y) = bits::floor_divide, 0.0, 0.0;
    /// The error function.
    erf(x) = erf::erf, 1.0, 1.0;
    /// `1 - erf x`.
    erfc(x) = erf::erfc, 1.0, 1.0;
    /// The inverse of `erf`.
    erfinv(x) = erf::erfinv, 1.0, 2.0;
}

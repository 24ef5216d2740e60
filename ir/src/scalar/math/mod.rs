//! Elementary functions written in the scalar IR: `exp`, `log`, `tanh`, `sin`, `pow`, ….
//!
//! Each function appends straight-line code to a [`Block`] for an operand of type `F32` or `F64` and returns the
//! register of the result. There are no branches, no tables in memory and no library calls: special cases are selects,
//! range reduction is exact arithmetic on floats and constant shifts on their bits, the rest are polynomials and a few
//! pairs `hi + lo` where one rounding too many would show. So the same bits come out of the interpreter and of every
//! backend, at any vector width. Subnormal operands and results are computed, not flushed; any NaN stands for any
//! other.
//!
//! [`MATH`] lists all of them with the accuracy that tests hold them to. The operands must be registers of the block,
//! all of one float type. Errors given below are in units in the last place, for `f64` over about a thousand operands
//! checked with 40 digits; `docs/accuracy.md` has the largest errors over all `f32`.

mod activation;
mod arc;
mod bits;
mod df;
mod erf;
mod erf_tables;
mod exp;
mod expr;
mod gamma;
mod gamma_tables;
mod log;
mod ndtri;
mod pow;
mod reduce;
mod special;
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
    /// `e^x`. f32 0.79, f64 0.68 ulp.
    exp(x) = exp::exp, 1.0, 1.0;
    /// `2^x`. f32 0.78, f64 0.60 ulp.
    exp2(x) = exp::exp2, 1.0, 1.0;
    /// `e^x - 1`. f32 0.85, f64 0.60 ulp.
    expm1(x) = exp::expm1, 1.0, 1.0;
    /// `1 / (1 + e^-x)`. f32 0.75, f64 0.53 ulp.
    sigmoid(x) = exp::sigmoid, 1.0, 1.0;
    /// Hyperbolic tangent. f32 0.73, f64 0.64 ulp.
    tanh(x) = exp::tanh, 1.0, 1.0;
    /// Hyperbolic sine. f32 0.75, f64 0.54 ulp.
    sinh(x) = exp::sinh, 1.0, 1.0;
    /// Hyperbolic cosine. f32 0.59, f64 0.54 ulp.
    cosh(x) = exp::cosh, 1.0, 1.0;
    /// Natural logarithm. f32 0.62, f64 0.51 ulp.
    log(x) = log::log, 1.0, 1.0;
    /// Logarithm to base 2. f32 0.72, f64 0.59 ulp.
    log2(x) = log::log2, 1.0, 1.0;
    /// Logarithm to base 10. f32 0.64, f64 0.58 ulp.
    log10(x) = log::log10, 1.0, 1.0;
    /// `log(1 + x)`. f32 0.67, f64 0.52 ulp.
    log1p(x) = log::log1p, 1.0, 1.0;
    /// Inverse hyperbolic sine. f32 0.63, f64 0.51 ulp.
    asinh(x) = log::asinh, 1.0, 1.0;
    /// Inverse hyperbolic cosine. f32 0.58, f64 0.51 ulp.
    acosh(x) = log::acosh, 1.0, 1.0;
    /// Inverse hyperbolic tangent. f32 0.62, f64 0.54 ulp.
    atanh(x) = log::atanh, 1.0, 1.0;
    /// `log(e^x + e^y)`. f32 0.65 ulp. Where the result is below 1/4, units of 1/4.
    logaddexp(x, y) = log::logaddexp, 1.0, 2.0;
    /// `log2(2^x + 2^y)`. Where the result is below 1/4, units of 1/4.
    logaddexp2(x, y) = log::logaddexp2, 1.0, 2.0;
    /// `x^y`, with the special cases of C99. f32 0.75 ulp.
    pow(x, y) = pow::pow, 1.0, 1.0;
    /// Sine. f32 0.74, f64 0.63 ulp. NaN at infinity.
    sin(x) = trig::sin, 1.0, 1.0;
    /// Cosine. f32 0.74, f64 0.56 ulp. NaN at infinity.
    cos(x) = trig::cos, 1.0, 1.0;
    /// Tangent. f32 0.91, f64 0.58 ulp. NaN at infinity.
    tan(x) = trig::tan, 1.0, 1.0;
    /// Inverse sine. f32 0.61, f64 0.57 ulp.
    asin(x) = arc::asin, 1.0, 1.0;
    /// Inverse cosine. f32 0.59, f64 0.52 ulp.
    acos(x) = arc::acos, 1.0, 1.0;
    /// Inverse tangent. f32 0.82, f64 0.70 ulp.
    atan(x) = arc::atan, 1.0, 1.0;
    /// The angle of the point `(x, y)`. f32 0.84 ulp.
    atan2(y, x) = arc::atan2, 1.0, 1.0;
    /// `1 / sqrt(x)`.
    rsqrt(x) = bits::rsqrt, 1.0, 1.0;
    /// `sqrt(x^2 + y^2)`. f32 0.51 ulp.
    hypot(x, y) = bits::hypot, 1.0, 1.0;
    /// The magnitude of `x` with the sign of `y`. Exact.
    copysign(x, y) = bits::copysign, 0.0, 0.0;
    /// The neighbour of `x` on the side of `y`. Exact.
    nextafter(x, y) = bits::nextafter, 0.0, 0.0;
    /// C's `fmod`. Exact.
    fmod(x, y) = bits::fmod, 0.0, 0.0;
    /// PyTorch's `remainder`, with the sign of `y`. The operations of its definition, to the bit.
    remainder(x, y) = bits::remainder, 0.0, 0.0;
    /// PyTorch's `floor_divide` of floats. The operations of its definition, to the bit.
    floor_divide(x, y) = bits::floor_divide, 0.0, 0.0;
    /// The error function. f32 0.99, f64 0.78 ulp.
    erf(x) = erf::erf, 1.0, 1.0;
    /// `1 - erf x`. f32 0.80, f64 0.59 ulp.
    erfc(x) = erf::erfc, 1.0, 1.0;
    /// The inverse of `erf`. f32 0.78, f64 0.56 ulp.
    erfinv(x) = erf::erfinv, 1.0, 2.0;
    /// `e^(x^2) erfc x`.
    erfcx(x) = erf::erfcx, 1.0, 2.0;
    /// `sin(pi x) / (pi x)`.
    sinc(x) = special::sinc, 1.0, 2.0;
    /// The modified Bessel function of order 0.
    i0(x) = special::i0, 4.0, 8.0;
    /// The modified Bessel function of order 1.
    i1(x) = special::i1, 4.0, 8.0;
    /// `e^-|x|` times the modified Bessel function of order 0.
    i0e(x) = special::i0e, 4.0, 8.0;
    /// `e^-|x|` times the modified Bessel function of order 1.
    i1e(x) = special::i1e, 4.0, 8.0;
    /// The inverse of the normal distribution function.
    ndtri(p) = ndtri::ndtri, 5.0, 10.0;
    /// Hurwitz' zeta function, the sum of `(q + k)^-s`.
    zeta(s, q) = special::zeta, 16.0, 32.0;
    /// The mantissa of C's `frexp`. Exact.
    frexp_mantissa(x) = bits::frexp_mantissa, 0.0, 0.0;
    /// The exponent of C's `frexp`. Exact.
    frexp_exponent(x) = bits::frexp_exponent, 0.0, 0.0;
    /// The normal distribution function.
    ndtr(x) = activation::ndtr, 1.0, 2.0;
    /// `x / (1 + e^-x)`.
    silu(x) = activation::silu, 1.0, 2.0;
    /// `x ndtr(x)`.
    gelu(x) = activation::gelu, 1.0, 4.0;
    /// Its approximation by `tanh`.
    gelu_tanh(x) = activation::gelu_tanh, 1.0, 2.0;
    /// `x tanh(log(1 + e^x))`.
    mish(x) = activation::mish, 1.0, 2.0;
    /// `log(1 + e^(beta x)) / beta`.
    softplus(x, beta) = activation::softplus, 2.0, 4.0;
    /// `-log(1 + e^-x)`.
    logsigmoid(x) = activation::logsigmoid, 1.0, 2.0;
    /// `x - tanh x`.
    tanhshrink(x) = activation::tanhshrink, 2.0, 4.0;
    /// The logarithm of the magnitude of the gamma function. f32 0.81, f64 0.54 ulp. Near a zero at negative `x` the
    /// error is against the size of the terms.
    lgamma(x) = gamma::lgamma, 1.0, 2.0;
    /// The derivative of `lgamma`. f32 0.69, f64 0.52 ulp. Near a zero at negative `x` the error is
    /// against the size of the terms.
    digamma(x) = gamma::digamma, 1.0, 2.0;
}

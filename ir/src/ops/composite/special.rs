//! Special functions with an integer parameter, with two results, or put together from rows.

use super::{row, same_dtype, unit};
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::ops::elementwise::special;
use crate::ops::registry::{FnDef, Out, require_float};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// An order from 0 to 50: beyond, factorials and powers of pi leave `f32`.
fn order(name: &str, n: i64, least: i64) -> Result<u32> {
    if !(least..=50).contains(&n) {
        return Err(err::index(format!("`{name}`: the order must be from {least} to 50, got {n}")));
    }
    Ok(n as u32)
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "polygamma",
        sig: "n: int, x",
        example: "x: D[2, 3] => polygamma(1, x)",
        doc: "The n-th derivative of digamma, (-1)^(n + 1) n! zeta(n + 1, x), n from 0 to 50. Integers become f32. The \
              derivative is polygamma(n + 1, x).",
        build: |b, a| {
            let (n, x) = (order("polygamma", a.int(0)?, 0)?, a.tensor(b, 1)?);
            Ok(unit([x.cast(x.dtype().to_float())], |[x]| special::polygamma(n, x)).into())
        },
    },
    FnDef {
        name: "mvlgamma",
        sig: "x, p: int",
        example: "x: D[2, 3] => mvlgamma(x, 2)",
        doc: "The logarithm of the multivariate gamma function of dimension p: p (p - 1) / 4 log(pi) plus the sum of \
              lgamma(x - j / 2) over j from 0 to p - 1; for x above (p - 1) / 2. Integers become f32.",
        build: |b, a| {
            let (x, p) = (a.tensor(b, 0)?, order("mvlgamma", a.int(1)?, 1)?);
            let constant = f64::from(p * (p - 1)) / 4.0 * PI.ln();
            Ok(unit([x.cast(x.dtype().to_float())], |[x]| {
                let first = x.map("lgamma", &[]);
                (1..p).fold(first, |s, j| s + (x - f64::from(j) * 0.5).map("lgamma", &[])) + constant
            })
            .into())
        },
    },
    FnDef {
        name: "ldexp",
        sig: "x, other",
        example: "x: D[2, 3] => ldexp(x, tensor([0, 1, 2]))",
        doc: "x * 2^other, as PyTorch computes it: a power of integers is f32, and infinite from 128 on. Half floats keep their \
              dtype beside integers; x of integers gives f32. The gradient of other is x 2^other log(2) if it is of floats.",
        build: |b, a| {
            let (x, n) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            let y = row("mul", &[x, row("exp2", &[n])?])?;
            let keeps = x.dtype().is_half() && !n.dtype().is_float();
            Ok(if keeps { y.cast(x.dtype()) } else { y }.into())
        },
    },
    FnDef {
        name: "frexp",
        sig: "x",
        example: "x: D[2, 3] => frexp(x)",
        doc: "Mantissa and exponent (i32): x = mantissa 2^exponent with the mantissa's magnitude in 1/2..1; of zeros, \
              infinities and NaN themselves and 0. Floats only. The gradient by x of the mantissa is 2^-exponent.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            require_float("frexp", x)?;
            Ok(Out::Many(vec![row("frexp_mantissa", &[x])?, row("frexp_exponent", &[x])?.cast(DType::I32)]))
        },
    },
    FnDef {
        name: "heaviside",
        sig: "x, values",
        example: "x: D[2, 3], values: D[3] => heaviside(x, values)",
        doc: "0 where x is below 0, 1 above, the element of values at 0; 0 for NaN. Operands of one dtype that \
              broadcast. No gradient flows.",
        build: |b, a| {
            let (x, values) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            same_dtype("heaviside", &[x, values])?;
            Ok(row("heaviside", &[x, values])?.into())
        },
    },
    FnDef {
        name: "log_ndtr",
        sig: "x",
        example: "x: D[2, 3] => log_ndtr(x)",
        doc: "The logarithm of the standard normal distribution function, also where that is small. Integers become \
              f32.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(unit([x.cast(x.dtype().to_float())], |[x]| {
                // Each branch gets operands that do it no harm where it is not taken.
                let low = x.lt(x.number(-1.0));
                let (down, up) = (low.select(x, x.number(-1.0)), low.select(x.zeros(), x));
                let tail = ((down * -FRAC_1_SQRT_2).map("erfcx", &[]) * 0.5).log() - down * down * 0.5;
                let near = ((up * FRAC_1_SQRT_2).map("erfc", &[]) * -0.5).log1p();
                low.select(tail, near)
            })
            .into())
        },
    },
];

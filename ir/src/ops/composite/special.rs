//! Special functions with an integer parameter, with two results, or put together from rows.

use super::{row, same_dtype, unit};
use crate::builder::Ex;
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::ops::elementwise::special;
use crate::ops::registry::{Arg, FnDef, Out, require_float};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// An order from 0 to 50: beyond, factorials and powers of pi leave `f32`.
fn order(name: &str, n: i64, least: i64) -> Result<u32> {
    if !(least..=50).contains(&n) {
        return Err(err::index(format!("`{name}`: the order must be from {least} to 50, got {n}")));
    }
    Ok(n as u32)
}

/// Hurwitz' zeta function, below 0 too for an integer `s`: `zeta(s, q)` is `zeta(s, 1 - f)` and the terms of negative `q + k`,
/// which are `(-1)^s (zeta(s, f) - zeta(s, 1 - q))`, with `f` the fraction of `-q`.
fn zeta<'b>(s: Ex<'b>, q: Ex<'b>) -> Ex<'b> {
    let of = |q: Ex<'b>| s.map("zeta", &[q]);
    let m = q.abs();
    let f = m - m.floor();
    let whole = |e: Ex<'b>| e.eq(e.floor());
    let below = q.lt(q.number(0.0)).logical_and(whole(q).logical_not()).logical_and(whole(s));
    let below = below.logical_and(s.gt(s.number(1.0)));
    // Where it is not wanted, any operand does.
    let f = below.select(f, f.number(0.5));
    let rest = of(f) - of(below.select(1.0 - q, q.number(1.5)));
    // Of two infinite parts the one with the smaller base counts.
    let (near, high) = (of(1.0 - f), f.number(f64::INFINITY));
    let both = near.eq(high).logical_and(rest.eq(high));
    let of_half = |x: Ex<'b>, loses: Ex<'b>| both.logical_and(loses).select(x.number(0.0), x);
    let (near, rest) = (of_half(near, f.lt(f.number(0.5))), of_half(rest, f.gt(f.number(0.5))));
    let low = near + whole(s * 0.5).select(rest, -rest);
    below.select(low, of(below.select(q.number(1.0), q)))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "zeta",
        sig: "x, other",
        example: "x: D[2, 3], other: D[2, 3] => zeta(x, other)",
        doc: "Hurwitz' zeta function, the sum of (other + k)^-x over k = 0, 1, ... for x above 1; infinite for other = \
              0, -1, .... For other negative ones x must be an integer, NaN else, and the accuracy is that of the terms. \
              They broadcast; integers become f32. A gradient flows to other only, and is -x zeta(x + 1, other).",
        build: |b, a| {
            let (s, q) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            let dtype = super::arith::common(&[s, q]).to_float();
            let wide = |e: Ex<'_>| e.ty().weak || e.dtype() == dtype.compute();
            let [s, q] = [s, q].map(|e| if wide(e) { e } else { e.cast(dtype.compute()) });
            Ok(zeta(s, q).cast(dtype).into())
        },
    },
    FnDef {
        name: "polygamma",
        sig: "n: any, x: any",
        example: "x: D[2, 3] => polygamma(1, x)",
        doc: "The n-th derivative of digamma, (-1)^(n + 1) n! zeta(n + 1, x), n from 0 to 50; as a method \
              x.polygamma(n). Infinite at 0, -1, .... Integers become f32. The derivative is polygamma(n + 1, x).",
        build: |b, a| {
            let method = matches!(a.raw(0), Arg::Tensor(_));
            let (n, x) = (order("polygamma", a.int(method as usize)?, 0)?, a.tensor(b, !method as usize)?);
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

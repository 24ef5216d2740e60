//! Activations with parameters: the rows of [`crate::ops::elementwise::activation`] with PyTorch's defaults, and those
//! that are a comparison away.

use super::{row, unit, widen};
use crate::builder::{Builder, Ex};
use crate::dtype::Category;
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef, Out, require_float};
use crate::types::axis;

/// A row of floats whose parameters are the arguments after `x`. On half floats they are not rounded to the half type.
fn activation<'b>(b: &'b Builder, a: &Args<'b>, name: &'static str, n: usize) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    require_float(name, x)?;
    let mut operands = vec![widen(x)];
    for i in 1..n {
        operands.push(a.tensor(b, i)?);
    }
    Ok(row(name, &operands)?.cast(x.dtype()).into())
}

/// `x` held between two numbers; no gradient flows at or beyond them.
fn between<'b>(name: &str, x: Ex<'b>, low: Ex<'b>, high: Ex<'b>) -> Result<Ex<'b>> {
    if x.dtype().category() == Category::Bool {
        return Err(err::dtype(format!("`{name}` is not implemented for bool")));
    }
    Ok(unit([x, low, high], |[x, low, high]| x.map("clamp_min", &[low]).map("clamp_max", &[high])))
}

/// A row of floats, of integers as `f32`.
fn float_of<'b>(x: Ex<'b>, name: &'static str) -> Result<Out<'b>> {
    let x = if x.dtype().is_int() { x.cast(x.dtype().to_float()) } else { x };
    Ok(row(name, &[x])?.into())
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "leaky_relu",
        sig: "x, negative_slope: number = 0.01",
        example: "x: D[2, 3] => leaky_relu(x, 0.1)",
        doc: "x above 0, else x * negative_slope. Floats only. The derivative at 0 is the slope.",
        build: |b, a| activation(b, a, "leaky_relu", 2),
    },
    FnDef {
        name: "elu",
        sig: "x, alpha: number = 1.0",
        example: "x: D[2, 3] => elu(x)",
        doc: "x above 0, else alpha (e^x - 1). Floats only. The derivative at 0 is alpha.",
        build: |b, a| activation(b, a, "elu", 2),
    },
    FnDef {
        name: "celu",
        sig: "x, alpha: number = 1.0",
        example: "x: D[2, 3] => celu(x)",
        doc: "x above 0, else alpha (e^(x / alpha) - 1); alpha is not 0. Floats only.",
        build: |b, a| activation(b, a, "celu", 2),
    },
    FnDef {
        name: "softplus",
        sig: "x, beta: number = 1.0, threshold: number = 20.0",
        example: "x: D[2, 3] => softplus(x, beta=2.0)",
        doc: "log(1 + e^(beta x)) / beta; x itself where beta x is above the threshold. Floats only.",
        build: |b, a| activation(b, a, "softplus", 3),
    },
    FnDef {
        name: "gelu",
        sig: "x, approximate: str = none",
        example: "x: D[2, 3] => gelu(x)",
        doc: "x times the normal distribution function of x; with approximate=\"tanh\" its approximation `gelu_tanh` \
              (Hendrycks and Gimpel, 2016). Floats only.",
        build: |b, a| {
            let name = match a.str(1)? {
                "none" => "gelu",
                "tanh" => "gelu_tanh",
                other => {
                    return Err(err::ty(format!(
                        "`gelu`: approximate argument must be either \"none\" or \"tanh\", got {other:?}"
                    )));
                }
            };
            Ok(row(name, &[a.tensor(b, 0)?])?.into())
        },
    },
    FnDef {
        name: "relu6",
        sig: "x",
        example: "x: D[2, 3] => relu6(x)",
        doc: "x held between 0 and 6. Not bool. The derivative at both is 0.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let bound = |v| b.number(crate::Scalar::from_i64(crate::DType::I64, v));
            Ok(between("relu6", x, bound(0), bound(6))?.into())
        },
    },
    FnDef {
        name: "hardtanh",
        sig: "x, min_val: number = -1.0, max_val: number = 1.0",
        example: "x: D[2, 3] => hardtanh(x)",
        doc: "x held between min_val and max_val, which is larger. Not bool. The derivative at both is 0.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let (low, high) = (a.tensor(b, 1)?, a.tensor(b, 2)?);
            let number = |e| super::arith::constant(e).map_or(f64::NAN, |c| c.to_f64());
            if number(low) > number(high) {
                return Err(err::data("min_val cannot be greater than max_val"));
            }
            // Integers keep their dtype: the bounds are taken in it.
            let int = x.dtype().is_int();
            let (low, high) = if int { (low.cast(x.dtype()), high.cast(x.dtype())) } else { (low, high) };
            Ok(between("hardtanh", x, low, high)?.into())
        },
    },
    FnDef {
        name: "threshold",
        sig: "x, threshold: number, value: number",
        example: "x: D[2, 3] => threshold(x, 0.1, 20)",
        doc: "x where it is above the threshold, else the value, in the dtype of x. The derivative at the threshold is \
              0.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let (t, v) = (a.tensor(b, 1)?, a.tensor(b, 2)?);
            Ok(unit([x, t, v], |[x, t, v]| x.le(t).select(v.cast(x.dtype()), x)).into())
        },
    },
    FnDef {
        name: "hardshrink",
        sig: "x, lambd: number = 0.5",
        example: "x: D[2, 3] => hardshrink(x)",
        doc: "x where |x| > lambd, else 0. Floats only. The derivative at ±lambd is 0.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            require_float("hardshrink", x)?;
            Ok(unit([x, a.tensor(b, 1)?], |[x, l]| x.abs().le(l).select(x.zeros(), x)).into())
        },
    },
    FnDef {
        name: "softshrink",
        sig: "x, lambd: number = 0.5",
        example: "x: D[2, 3] => softshrink(x)",
        doc: "x - lambd above lambd, x + lambd below -lambd, 0 between; lambd is not negative. Floats only. The \
              derivative at ±lambd is 0.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            require_float("softshrink", x)?;
            let l = a.tensor(b, 1)?;
            if let Some(v) = super::arith::constant(l).map(|c| c.to_f64()).filter(|v| *v < 0.0) {
                let (dtype, most) = (x.dtype(), x.dtype().largest());
                return Err(err::data(format!(
                    "`softshrink`: lambda must be in range [0, {most:.5e}] for input dtype {dtype}, but found {v}"
                )));
            }
            Ok(unit([x, l], |[x, l]| {
                let low = x.lt(-l).select(x + l, x * 0.0);
                x.gt(l).select(x - l, low)
            })
            .into())
        },
    },
    FnDef {
        name: "softsign",
        sig: "x",
        example: "x: D[2, 3] => softsign(x)",
        doc: "x / (1 + |x|). Integers become f32; not bool. The derivative at 0 is 1.",
        build: |b, a| float_of(a.tensor(b, 0)?, "softsign"),
    },
    FnDef {
        name: "tanhshrink",
        sig: "x",
        example: "x: D[2, 3] => tanhshrink(x)",
        doc: "x - tanh(x). Integers become f32; not bool.",
        build: |b, a| float_of(a.tensor(b, 0)?, "tanhshrink"),
    },
    FnDef {
        name: "prelu",
        sig: "x, weight",
        example: "x: D[2, 3], weight: D[3] => prelu(x, weight)",
        doc: "x above 0, else x * weight, with one weight (0-d or [1]) or one for each channel (dimension 1). Floats \
              of one dtype. The derivative by x at 0 is the weight.",
        build: |b, a| {
            let (x, w) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            require_float("prelu", x)?;
            if w.dtype() != x.dtype() {
                let (w, x) = (w.dtype(), x.dtype());
                return Err(err::dtype(format!("`prelu`: Type promoting not supported. Got {x} and {w}")));
            }
            if w.rank() > 1 {
                return Err(err::shape(format!(
                    "`prelu`: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {}",
                    w.rank()
                )));
            }
            let channels = if x.rank() < 2 { 1 } else { x.shape()[1] };
            if w.numel() != 1 && x.rank() == 0 {
                return Err(err::shape(format!("`prelu`: Not allow zero-dim input tensor for a weight {}", w.ty())));
            }
            if w.numel() != 1 && w.numel() != channels {
                return Err(err::shape(format!(
                    "`prelu`: Mismatch of parameter numbers and input channel size. Found parameter numbers = {} and channel \
                     size = {channels}",
                    w.numel()
                )));
            }
            let mut shape = vec![1; x.rank()];
            if w.numel() != 1 {
                shape[1] = channels;
            }
            Ok(row("leaky_relu", &[x, w.reshape(&shape)])?.into())
        },
    },
    FnDef {
        name: "glu",
        sig: "x, dim: int = -1",
        example: "x: D[2, 4] => glu(x)",
        doc: "a sigmoid(b) for the halves a and b of a dimension, whose extent must be even: [.., 2 n, ..] gives [.., \
              n, ..]. Floats only.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            require_float("glu", x)?;
            let d = axis(a.int(1)?, x.rank())?;
            let n = x.shape().get(d).copied().unwrap_or(1);
            if x.rank() == 0 || n % 2 == 1 {
                return Err(err::shape(match x.rank() {
                    0 => "`glu` does not support scalars because halving size must be even".into(),
                    _ => format!("`glu`: Halving dimension must be even, but dimension {d} is size {n}"),
                }));
            }
            Ok(unit([x], |[x]| x.narrow(d, 0, n / 2) * x.narrow(d, n / 2, n / 2).sigmoid()).into())
        },
    },
];

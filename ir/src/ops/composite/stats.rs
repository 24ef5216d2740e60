//! Moments and norms: variance, standard deviation, `logsumexp`, vector norms and what is made of them.

use super::reduce::{count, mean};
use super::{unit, widen};
use crate::builder::{Builder, Ex};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::ops::Op;
use crate::ops::reduce::ReduceKind;
use crate::ops::registry::{Arg, Args, FnDef, Out, require_float};

/// The square root whose gradient at 0 is 0 (of a sum of squares: the limit from every side of its mean).
pub fn root<'b>(v: Ex<'b>) -> Ex<'b> {
    let zero = v.eq(v.number(0.0));
    zero.select(v.zeros(), zero.select(v.number(1.0), v).sqrt())
}

/// Variance over axes with `correction` taken from the count; NaN (or infinite) if nothing is left of it.
pub fn variance<'b>(x: Ex<'b>, axes: &[usize], correction: f64, keepdim: bool) -> Ex<'b> {
    let d = x - mean(x, axes, true).expand(&x.dims());
    let squares = (d * d).sum(axes, keepdim);
    let n = count(x, axes);
    match n.known() {
        Some(n) => squares / (n as f64 - correction).max(0.0),
        None => {
            let left = x.builder().extent(n, DType::F64) - correction;
            squares / left.maximum(left.number(0.0)).cast(x.dtype())
        }
    }
}

/// Arguments of the `var` family: `x, dim, unbiased, keepdim, correction`, also `x, unbiased`.
struct Moment<'b> {
    x: Ex<'b>,
    axes: Vec<usize>,
    correction: f64,
    keepdim: bool,
}

fn moment<'b>(b: &'b Builder, a: &Args<'b>, name: &str) -> Result<Moment<'b>> {
    let x = a.tensor(b, 0)?;
    require_float(name, x)?;
    let flag = |i: usize| if let Arg::Bool(v) = a.raw(i) { Some(*v) } else { None };
    let axes = if flag(1).is_some() { (0..x.rank()).collect() } else { a.axes(1, x.rank())? };
    let correction = match (a.raw(4), flag(1).or(flag(2))) {
        (Arg::None, unbiased) => unbiased.unwrap_or(true) as i64 as f64,
        _ => a.float(4)?,
    };
    Ok(Moment { x, axes, correction, keepdim: a.bool(3)? })
}

/// The exponents of a norm: a number, or `"fro"`.
fn exponent(a: &Args<'_>, i: usize) -> Result<f64> {
    match a.raw(i) {
        Arg::None => Ok(2.0),
        Arg::Str(s) if s == "fro" => Ok(2.0),
        Arg::Str(s) => Err(err::unsupported(format!("the norm {s:?}"))),
        _ => a.float(i),
    }
}

/// The `p`-norm of vectors along axes.
pub fn vector_norm<'b>(x: Ex<'b>, p: f64, axes: &[usize], keepdim: bool) -> Ex<'b> {
    unit([x], |[x]| {
        if p == f64::INFINITY {
            x.abs().reduce(ReduceKind::Max, axes, keepdim)
        } else if p == f64::NEG_INFINITY {
            x.abs().reduce(ReduceKind::Min, axes, keepdim)
        } else if p == 0.0 {
            x.ne(x.number(0.0)).cast(x.dtype()).sum(axes, keepdim)
        } else if p == 1.0 {
            x.abs().sum(axes, keepdim)
        } else if p == 2.0 {
            root((x * x).sum(axes, keepdim))
        } else {
            let s = x.abs().pow(x.number(p)).sum(axes, keepdim);
            let zero = s.eq(s.number(0.0));
            zero.select(s.zeros(), zero.select(s.number(1.0), s).pow(s.number(1.0 / p)))
        }
    })
}

fn norm<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let x = a.opt_dtype(4)?.map_or(x, |d| x.cast(d));
    require_float("norm", x)?;
    Ok(vector_norm(x, exponent(a, 1)?, &a.axes(2, x.rank())?, a.bool(3)?).into())
}

/// `log(sum(e^x))`: the largest element, if finite, is taken out first. No gradient flows through that shift.
pub fn logsumexp<'b>(x: Ex<'b>, axes: &[usize], keepdim: bool) -> Ex<'b> {
    unit([x], |[x]| {
        if x.ty().is_empty() {
            return x.exp().sum(axes, keepdim).log();
        }
        let m = x.reduce(ReduceKind::Max, axes, true).apply(Op::Detach, &[]);
        let m = m.map("isfinite", &[]).select(m, m.zeros());
        let s = (x - m.expand(&x.dims())).exp().sum(axes, true).log() + m;
        if keepdim {
            return s;
        }
        let dims = x.dims();
        let kept: Vec<Dim> = (0..x.rank()).filter(|i| !axes.contains(i)).map(|i| dims[i]).collect();
        s.reshape(&kept)
    })
}

fn cosine_similarity<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    let dtype = super::arith::common(&[x, y]);
    let both = super::row("mul", &[x, y])?;
    require_float("cosine_similarity", both)?;
    let axes = super::reduce::one_axis(a.int(2)?, both.rank())?;
    let (shape, eps) = (both.dims(), a.float(3)?);
    let unitary = |e: Ex<'b>| {
        let e = widen(e.cast(dtype)).expand(&shape);
        let n = vector_norm(e, 2.0, &axes, true);
        e / n.map("clamp_min", &[n.number(eps)])
    };
    Ok((unitary(x) * unitary(y)).sum(&axes, false).cast(dtype).into())
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "var",
        sig: "x, dim: any = None, unbiased: any = None, keepdim: bool = false, correction: any = None",
        example: "x: D[2, 3] => var(x, 1)",
        doc: "The sum of squared differences from the mean over dim, or over all dimensions, divided by n - \
              correction; the correction is 1, or 0 with unbiased=false. NaN if the divisor is not positive. Floats \
              only.",
        build: |b, a| {
            let m = moment(b, a, "var")?;
            Ok(unit([m.x], |[x]| variance(x, &m.axes, m.correction, m.keepdim)).into())
        },
    },
    FnDef {
        name: "std",
        sig: "x, dim: any = None, unbiased: any = None, keepdim: bool = false, correction: any = None",
        example: "x: D[2, 3] => std(x, 1)",
        doc: "The square root of `var`. Floats only. The gradient is 0 where all elements are equal.",
        build: |b, a| {
            let m = moment(b, a, "std")?;
            Ok(unit([m.x], |[x]| root(variance(x, &m.axes, m.correction, m.keepdim))).into())
        },
    },
    FnDef {
        name: "var_mean",
        sig: "x, dim: any = None, unbiased: any = None, keepdim: bool = false, correction: any = None",
        example: "x: D[2, 3] => var_mean(x, 1)",
        doc: "`var` and the mean, in that order.",
        build: |b, a| {
            let m = moment(b, a, "var_mean")?;
            let v = unit([m.x], |[x]| variance(x, &m.axes, m.correction, m.keepdim));
            Ok(Out::Many(vec![v, mean(m.x, &m.axes, m.keepdim)]))
        },
    },
    FnDef {
        name: "std_mean",
        sig: "x, dim: any = None, unbiased: any = None, keepdim: bool = false, correction: any = None",
        example: "x: D[2, 3] => std_mean(x, 1)",
        doc: "`std` and the mean, in that order.",
        build: |b, a| {
            let m = moment(b, a, "std_mean")?;
            let v = unit([m.x], |[x]| root(variance(x, &m.axes, m.correction, m.keepdim)));
            Ok(Out::Many(vec![v, mean(m.x, &m.axes, m.keepdim)]))
        },
    },
    FnDef {
        name: "logsumexp",
        sig: "x, dim: ints, keepdim: bool = false",
        example: "x: D[2, 3] => logsumexp(x, 1)",
        doc: "log(sum(e^x)) over dim without overflow; minus infinity for nothing. Integers become f32. The gradient \
              is the softmax.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let x = x.cast(x.dtype().to_float());
            Ok(logsumexp(x, &a.axes(1, x.rank())?, a.bool(2)?).into())
        },
    },
    FnDef {
        name: "norm",
        sig: "x, p: any = None, dim: ints? = None, keepdim: bool = false, dtype: dtype? = None",
        example: "x: D[2, 3] => norm(x, 2, 1)",
        doc: "(sum |x|^p)^(1 / p) over dim, or over all dimensions, p = 2 if it is None or \"fro\"; p = inf is the \
              largest magnitude, -inf the smallest, 0 counts what is not 0. A dtype that is given is taken first. \
              Floats only. The gradient of the 2-norm at 0 is 0; equal extremes share it.",
        build: norm,
    },
    FnDef {
        name: "vector_norm",
        sig: "x, ord: any = None, dim: ints? = None, keepdim: bool = false, dtype: dtype? = None",
        example: "x: D[2, 3] => vector_norm(x, 3, 1)",
        doc: "`norm` under the name and with the parameters of torch.linalg.",
        build: norm,
    },
    FnDef {
        name: "dist",
        sig: "x, other, p: float = 2.0",
        example: "x: D[2, 3], other: D[2, 3] => dist(x, other)",
        doc: "The p-norm of x - other, which broadcast: one number. Floats only. The gradient at equal operands is 0.",
        build: |b, a| {
            let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            let d = super::row("sub", &[x, y])?;
            require_float("dist", d)?;
            let (axes, p): (Vec<usize>, f64) = ((0..d.rank()).collect(), a.float(2)?);
            Ok(vector_norm(d, p, &axes, false).into())
        },
    },
    FnDef {
        name: "normalize",
        sig: "x, p: float = 2.0, dim: ints = 1, eps: float = 1e-12",
        example: "x: D[2, 3] => normalize(x)",
        doc: "x / max(norm(x, p), eps) with the norm over dim. Floats only.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            require_float("normalize", x)?;
            let (p, axes, eps) = (a.float(1)?, a.axes(2, x.rank())?, a.float(3)?);
            Ok(unit([x], |[x]| {
                let n = vector_norm(x, p, &axes, true);
                x / n.map("clamp_min", &[n.number(eps)])
            })
            .into())
        },
    },
    FnDef {
        name: "cosine_similarity",
        sig: "x, other, dim: int = 1, eps: float = 1e-8",
        example: "x: D[2, 3], other: D[2, 3] => cosine_similarity(x, other)",
        doc: "sum(x other) / (max(|x|, eps) max(|other|, eps)) over a dimension, of vectors that broadcast. Floats \
              only.",
        build: cosine_similarity,
    },
];

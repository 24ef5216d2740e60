//! Normalising layers: rows, groups or channels moved to mean 0 and variance 1, then scaled and shifted.

use super::conv::{Axis, windows};
use super::reduce::mean;
use super::stats::variance;
use super::{same_dtype, unit};
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, at_most, product};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::Op;
use crate::ops::registry::{Args, FnDef, require_float, write};
use crate::types::ShapeText;

/// `x * scale + shift`, each possibly absent, in that shape; operands in the dtype computed in.
fn affine<'b>(x: Ex<'b>, weight: Option<Ex<'b>>, bias: Option<Ex<'b>>, shape: &[Dim]) -> Ex<'b> {
    let at = |e: Ex<'b>| e.cast(x.dtype()).reshape(shape);
    let x = weight.map_or(x, |w| x * at(w));
    bias.map_or(x, |b| x + at(b))
}

/// Moved to mean 0 and variance 1 over axes.
fn standard<'b>(x: Ex<'b>, axes: &[usize], eps: f64) -> Ex<'b> {
    let d = x - mean(x, axes, true).expand(&x.dims());
    let v = mean(d * d, axes, true);
    d * (v + eps).rsqrt().expand(&x.dims())
}

/// The parameters must have the dtype of `x` and that shape.
fn check_parameters(name: &str, x: Ex<'_>, parameters: &[Option<Ex<'_>>], shape: &[Dim]) -> Result<()> {
    require_float(name, x)?;
    for p in parameters.iter().flatten() {
        same_dtype(name, &[x, *p])?;
        if p.dims().as_slice() != shape {
            let (p, want) = (p.dims(), ShapeText(shape));
            let p = ShapeText(&p);
            return Err(err::shape(format!(
                "`{name}`: Expected weight and bias to be of same shape as normalized_shape or the channels, but got a \
                 parameter of shape {p} and expected shape = {want}"
            )));
        }
    }
    Ok(())
}

/// The axes that `normalized_shape` stands for: the last ones, with these extents.
fn row_axes(name: &str, x: Ex<'_>, shape: &[Dim]) -> Result<(Vec<usize>, Vec<Dim>)> {
    let s = x.dims();
    let fits = !shape.is_empty() && s.len() >= shape.len() && s[s.len() - shape.len()..] == *shape;
    if !fits {
        let want = ShapeText(shape);
        let inner: Vec<String> = shape.iter().map(Dim::to_string).collect();
        return Err(err::shape(match shape {
            [] => format!(
                "`{name}`: Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but \
                 got normalized_shape = []"
            ),
            _ => format!(
                "`{name}`: Given normalized_shape={want}, expected input with shape [*, {}], but got input of size {}",
                inner.join(", "),
                ShapeText(&s)
            ),
        }));
    }
    let first = s.len() - shape.len();
    Ok(((first..s.len()).collect(), s[first..].to_vec()))
}

fn layer_norm<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    let (axes, shape) = row_axes("layer_norm", x, &a.dims(1)?)?;
    let (w, bias, eps) = (a.opt_tensor(b, 2)?, a.opt_tensor(b, 3)?, a.float(4)?);
    check_parameters("layer_norm", x, &[w, bias], &shape)?;
    Ok(unit([x], |[x]| affine(standard(x, &axes, eps), w, bias, &shape)))
}

fn rms_norm<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    let (axes, shape) = row_axes("rms_norm", x, &a.dims(1)?)?;
    let w = a.opt_tensor(b, 2)?;
    check_parameters("rms_norm", x, &[w], &shape)?;
    // Without one, eps is the dtype's distance from 1 to the next number.
    let eps = match (a.is_none(3), x.dtype()) {
        (false, _) => a.float(3)?,
        (_, DType::F64) => f64::EPSILON,
        (_, _) => f32::EPSILON as f64,
    };
    Ok(unit([x], |[x]| {
        let r = (mean(x * x, &axes, true) + eps).rsqrt();
        affine(x * r.expand(&x.dims()), w, None, &shape)
    }))
}

/// A shape with `n` in dimension 1, to broadcast over channels.
fn channel_shape(x: Ex<'_>, n: Dim) -> Vec<Dim> {
    let mut shape = vec![Dim::ONE; x.rank()];
    shape[1] = n;
    shape
}

fn channels(name: &str, x: Ex<'_>) -> Result<Dim> {
    match x.dims().get(1) {
        Some(c) => Ok(*c),
        None => Err(err::shape(format!(
            "`{name}`: Expected at least 2 dimensions for input tensor but received {}",
            x.rank()
        ))),
    }
}

/// Blends a running statistic with a batch's: its memory is written, and no gradient flows.
fn update<'b>(b: &'b Builder, running: Ex<'b>, now: Ex<'b>, momentum: f64) -> Result<()> {
    let now = now.apply(Op::Detach, &[]).cast(running.dtype());
    write(b, "batch_norm", running, unit([running, now], |[r, n]| r * (1.0 - momentum) + n * momentum))
}

/// Channels moved by running statistics.
fn by_running<'b>(x: Ex<'b>, rm: Ex<'b>, rv: Ex<'b>, weight: Option<Ex<'b>>, bias: Option<Ex<'b>>, eps: f64) -> Ex<'b> {
    let shape = channel_shape(x, x.dims()[1]);
    unit([x, rm, rv], |[x, rm, rv]| {
        let r = (rv + eps).rsqrt().reshape(&shape);
        affine((x - rm.reshape(&shape)) * r, weight, bias, &shape)
    })
}

fn batch_norm<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    if x.rank() == 1 && x.ty().is_empty() {
        return Ok(x.copy());
    }
    let c = channels("batch_norm", x)?;
    let (rm, rv, w, bias) = (a.opt_tensor(b, 1)?, a.opt_tensor(b, 2)?, a.opt_tensor(b, 3)?, a.opt_tensor(b, 4)?);
    let (training, momentum, eps) = (a.bool(5)?, a.float(6)?, a.float(7)?);
    check_parameters("batch_norm", x, &[rm, rv, w, bias], &[c])?;
    let shape = channel_shape(x, c);
    if !training {
        let (Some(rm), Some(rv)) = (rm, rv) else {
            return Err(err::ty("`batch_norm`: expected running_mean and running_var to be given when training=false"));
        };
        return Ok(by_running(x, rm, rv, w, bias, eps));
    }
    let axes: Vec<usize> = (0..x.rank()).filter(|d| *d != 1).collect();
    if !at_most(2i64, super::reduce::count(x, &axes))? {
        let ty = x.ty();
        return Err(err::shape(format!(
            "`batch_norm`: Expected more than 1 value per channel when training, got input size {ty}"
        )));
    }
    if let Some(rm) = rm {
        update(b, rm, unit([x], |[x]| mean(x, &axes, false)), momentum)?;
    }
    if let Some(rv) = rv {
        update(b, rv, unit([x], |[x]| variance(x, &axes, 1.0, false)), momentum)?;
    }
    Ok(unit([x], |[x]| affine(standard(x, &axes, eps), w, bias, &shape)))
}

fn group_norm<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    let c = channels("group_norm", x)?;
    let (w, bias, eps) = (a.opt_tensor(b, 2)?, a.opt_tensor(b, 3)?, a.float(4)?);
    check_parameters("group_norm", x, &[w, bias], &[c])?;
    let g = Some(Dim::from(a.int(1)?)).filter(|g| g.known().is_some_and(|g| g > 0) && c.exact_div(*g).is_some());
    let groups = a.int(1)?;
    let g = g.ok_or_else(|| {
        err::shape(format!(
            "`group_norm`: Expected number of channels in input to be divisible by num_groups, but got input of shape {} and \
             num_groups={groups}",
            ShapeText(&x.dims())
        ))
    })?;
    let (full, shape) = (x.dims(), channel_shape(x, c));
    let rest = product(&full[2..]);
    if c.is(0) || rest.is(0) {
        let what = if c.is(0) { "number of channels" } else { "HxW" };
        return Err(err::shape(format!("Expected {what} to be greater than 0, got 0")));
    }
    Ok(unit([x], |[x]| {
        let y = standard(x.reshape(&[full[0], g, c.floor_div(g) * rest]), &[2], eps);
        affine(y.reshape(&full), w, bias, &shape)
    }))
}

fn instance_norm<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    let c = channels("instance_norm", x)?;
    let (rm, rv, w, bias) = (a.opt_tensor(b, 1)?, a.opt_tensor(b, 2)?, a.opt_tensor(b, 3)?, a.opt_tensor(b, 4)?);
    let (fresh, momentum, eps) = (a.bool(5)?, a.float(6)?, a.float(7)?);
    check_parameters("instance_norm", x, &[rm, rv, w, bias], &[c])?;
    if x.rank() < 3 {
        return Err(err::shape(format!(
            "`instance_norm`: Expected more than 1 spatial element when training, got input size {}: there are no dimensions \
             behind [batch, channel]",
            ShapeText(&x.dims())
        )));
    }
    let axes: Vec<usize> = (2..x.rank()).collect();
    let shape = channel_shape(x, c);
    if !fresh {
        let (Some(rm), Some(rv)) = (rm, rv) else {
            return Err(err::ty("Expected running_mean and running_var to be defined when use_input_stats is false"));
        };
        return Ok(by_running(x, rm, rv, w, bias, eps));
    }
    // The running statistics get the mean over the batch of what each sample has.
    if let Some(rm) = rm {
        update(b, rm, unit([x], |[x]| mean(mean(x, &axes, false), &[0], false)), momentum)?;
    }
    if let Some(rv) = rv {
        update(b, rv, unit([x], |[x]| mean(variance(x, &axes, 1.0, false), &[0], false)), momentum)?;
    }
    Ok(unit([x], |[x]| affine(standard(x, &axes, eps), w, bias, &shape)))
}

fn local_response_norm<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, size) = (a.tensor(b, 0)?, a.int(1)?);
    let (alpha, beta, k) = (a.float(2)?, a.float(3)?, a.float(4)?);
    let s = x.shape();
    if s.len() < 3 {
        return Err(err::shape(format!(
            "`local_response_norm`: expected 3D or higher dimensionality input (got {} dimensions)",
            s.len()
        )));
    }
    let size = usize::try_from(size).ok().filter(|n| *n > 0 && *n < 1 << 24);
    let size = size.ok_or_else(|| err::shape("`local_response_norm`: size must be positive"))?;
    let rest: usize = s[2..].iter().product();
    let across = Axis { kernel: size, stride: 1, dilation: 1, pad: (size / 2, (size - 1) / 2) };
    let along = Axis { kernel: 1, stride: 1, dilation: 1, pad: (0, 0) };
    if x.numel() == 0 {
        return Ok(x.copy());
    }
    let dtype = x.dtype();
    let x = x.cast(dtype.compute());
    if !dtype.is_float() && dtype != DType::I64 {
        return Err(err::dtype(format!("`local_response_norm` is not implemented for {dtype}")));
    }
    let image = (x * x).reshape(&[s[0], 1, s[1], rest]);
    let (cols, _) = windows(b, image, &[across, along], Scalar::from_f64(x.dtype(), 0.0))?;
    let sum = cols.sum(&[2], false);
    // The mean of integers is one, as PyTorch's pooling has it.
    let mean = if dtype.is_float() { sum / size as f64 } else { sum.floor_divide(b.int(size)) };
    let div = (mean * alpha + k).map("pow", &[x.number(beta)]);
    Ok((x / div.reshape(&s)).cast(dtype.to_float()))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "layer_norm",
        sig: "x, normalized_shape: ints, weight = None, bias = None, eps: float = 1e-5",
        example: "x: D[2, 3], weight: D[3], bias: D[3] => layer_norm(x, [3], weight, bias)",
        doc: "(x - mean) / sqrt(var + eps) * weight + bias with mean and (biased) variance over the last dimensions, \
              whose extents normalized_shape repeats and weight and bias have. Floats of one dtype.",
        build: |b, a| Ok(layer_norm(b, a)?.into()),
    },
    FnDef {
        name: "rms_norm",
        sig: "x, normalized_shape: ints, weight = None, eps: float? = None",
        example: "x: D[2, 3], weight: D[3] => rms_norm(x, [3], weight)",
        doc: "x / sqrt(mean(x^2) + eps) * weight over the last dimensions, whose extents normalized_shape repeats and \
              weight has; eps is the dtype's epsilon if not given. Floats of one dtype.",
        build: |b, a| Ok(rms_norm(b, a)?.into()),
    },
    FnDef {
        name: "batch_norm",
        sig: "x, running_mean: tensor?, running_var: tensor?, weight = None, bias = None, training: bool = false, momentum: float = 0.1, \
              eps: float = 1e-5",
        example: "x: D[4, 2], weight: D[2], bias: D[2] => batch_norm(x, None, None, weight, bias, training=true)",
        doc: "(x - mean) / sqrt(var + eps) * weight + bias for each channel (dimension 1): by the running statistics, \
              or when training by the batch's, which are then blended into the running ones in place with momentum \
              (the variance with a divisor of n - 1). The others are [channels]. Floats of one dtype.",
        build: |b, a| Ok(batch_norm(b, a)?.into()),
    },
    FnDef {
        name: "group_norm",
        sig: "x, num_groups: int, weight = None, bias = None, eps: float = 1e-5",
        example: "x: D[2, 4, 3], weight: D[4], bias: D[4] => group_norm(x, 2, weight, bias)",
        doc: "(x - mean) / sqrt(var + eps) * weight + bias with mean and (biased) variance of each of num_groups \
              groups of channels (dimension 1, which they divide) of each sample; weight and bias are [channels]. \
              Floats of one dtype.",
        build: |b, a| Ok(group_norm(b, a)?.into()),
    },
    FnDef {
        name: "instance_norm",
        sig: "x, running_mean = None, running_var = None, weight = None, bias = None, use_input_stats: bool = true, \
              momentum: float = 0.1, eps: float = 1e-5",
        example: "x: D[2, 3, 4] => instance_norm(x)",
        doc: "(x - mean) / sqrt(var + eps) * weight + bias for each channel of each sample of [batch, channel, ..]: by \
              its own statistics, whose means over the batch are blended into the running ones in place, or by the \
              running ones. The others are [channels]. Floats of one dtype.",
        build: |b, a| Ok(instance_norm(b, a)?.into()),
    },
    FnDef {
        name: "local_response_norm",
        sig: "x, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0",
        example: "x: D[2, 4, 3] => local_response_norm(x, 2)",
        doc: "x / (k + alpha * the mean square of size neighbouring channels)^beta, for [batch, channel, ..] \
              (Krizhevsky et al., 2012). Floats, and i64, which gives f32.",
        build: |b, a| Ok(local_response_norm(b, a)?.into()),
    },
];

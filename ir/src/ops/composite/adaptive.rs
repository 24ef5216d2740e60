//! Pooling beyond plain windows: the largest of nearly equal parts, power means of windows, and the normalisation of
//! neighbouring channels. Half floats are rounded once.

use super::conv::{Axis, spatial, windows};
use super::unit;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Arg, Args, FnDef, Out, require_float};
use crate::types::checked_numel;

/// For each of `out` parts of `n` elements, `floor(i n / out) .. ceil((i + 1) n / out)`, the positions in it, padded to the
/// longest part by its last one: `i64[out, longest]`.
fn parts(b: &Builder, n: usize, out: usize) -> (Ex<'_>, usize) {
    let divisor = out.max(1);
    let longest = (0..out).map(|i| ((i + 1) * n).div_ceil(out) - i * n / out).max().unwrap_or(0);
    let i = b.iota(out).unsqueeze(1);
    let start = (i * b.int(n)).floor_divide(b.int(divisor));
    let end = ((i + b.int(1)) * b.int(n) + b.int(divisor - 1)).floor_divide(b.int(divisor));
    ((start + b.iota(longest)).minimum(end - b.int(1)), longest)
}

/// The largest element of each part and, if asked, its position in the flattened spatial dimensions.
fn adaptive_max<'b>(b: &'b Builder, a: &Args<'b>, n: usize) -> Result<Out<'b>> {
    let (x, name) = (a.tensor(b, 0)?, a.name());
    require_float(name, x)?;
    let s = x.shape();
    if s.len() != n + 1 && s.len() != n + 2 {
        return Err(err::shape(format!("`{name}`: expected {}D or {}D tensor, but got {}", n + 1, n + 2, x.ty())));
    }
    let lead = s.len() - n;
    let given = match a.raw(1) {
        Arg::List(l) => (0..l.len()).map(|i| if let Arg::Int(v) = l[i] { Some(v) } else { None }).collect(),
        _ => vec![Some(a.int(1)?); n],
    };
    if given.len() != n {
        return Err(err::shape(format!("`{name}`: output_size must be one number, or {n}")));
    }
    let out = given.iter().enumerate().map(|(i, o)| o.unwrap_or(s[lead + i] as i64)).collect::<Vec<_>>();
    let out = super::create::known_sizes(&out)?;
    if s[lead - 1..].contains(&0) {
        return Err(err::shape(format!(
            "`{name}`: expected input to have non-zero size for non-batch dimensions, but it is {}",
            x.ty()
        )));
    }
    // The position of every element of every part in the flattened image: [o.., k..].
    let mut at = b.constant(Scalar::from_i64(DType::I64, 0));
    let mut kernel = Vec::new();
    for i in 0..n {
        if out[i] > 1 << 24 {
            return Err(err::shape(format!("`{name}`: the output size {out:?} is too large")));
        }
        let (p, longest) = parts(b, s[lead + i], out[i]);
        let mut shape = vec![1; 2 * n];
        (shape[i], shape[n + i]) = (out[i], longest);
        at = at * b.int(s[lead + i]) + p.reshape(&shape);
        kernel.push(longest);
    }
    let (c, o, k): (usize, usize, usize) = (s[..lead].iter().product(), out.iter().product(), kernel.iter().product());
    checked_numel(&[c, o, k])?;
    let flat = x.reshape(&[c, s[lead..].iter().product()]);
    let at = at.reshape(&[1, o * k]).expand(&[c, o * k]);
    let cols = flat.gather(1, at).reshape(&[c, o, k]);
    if o == 0 {
        let none = flat.gather(1, at).reshape(&[&s[..lead], &out[..]].concat());
        return Ok(if a.bool(2)? { Out::Many(vec![none, none.cast(DType::I64)]) } else { none.into() });
    }
    // The first largest one, in the order of the image.
    let place = super::pool::largest(cols, 2, None, a.bool(2)?);
    let places = at.reshape(&[c, o, k]).gather(2, place).reshape(&[c, o]);
    let shape = [&s[..lead], &out[..]].concat();
    let y = flat.gather(1, places).reshape(&shape);
    Ok(if a.bool(2)? { Out::Many(vec![y, places.reshape(&shape)]) } else { y.into() })
}

/// `(Σ x^p)^(1/p)` over windows, with PyTorch's sign for odd powers.
fn lp_pool<'b>(b: &'b Builder, a: &Args<'b>, n: usize) -> Result<Ex<'b>> {
    let (x, p, name) = (a.tensor(b, 0)?, a.float(1)?, a.name());
    require_float(name, x)?;
    let s = x.shape();
    if s.len() != n + 1 && s.len() != n + 2 {
        return Err(err::shape(format!("`{name}`: an input {} for {n} spatial dimensions", x.ty())));
    }
    let kernel = spatial(name, "kernel_size", &a.ints(2)?, n, 1)?;
    let stride = match a.opt_ints(3)?.filter(|s| !s.is_empty()) {
        Some(s) => spatial(name, "stride", &s, n, 1)?,
        None => kernel.clone(),
    };
    let lead = s.len() - n;
    let ceil = a.bool(4)?;
    let axis = |i: usize| {
        let a = Axis { kernel: kernel[i], stride: stride[i], dilation: 1, pad: (0, 0) };
        if ceil { a.ceil(s[lead + i]) } else { a }
    };
    let axes: Vec<Axis> = (0..n).map(axis).collect();
    let whole: f64 = kernel.iter().map(|k| *k as f64).product();
    let dtype = x.dtype();
    let wide = x.cast(dtype.compute());
    let image = if lead == 2 { wide } else { wide.unsqueeze(0) };
    let powers = image.map("pow", &[image.number(p)]);
    let (cols, out) = windows(b, powers, &axes, Scalar::from_f64(image.dtype(), 0.0))?;
    // The mean over what is inside, times the size of a window.
    let inside = super::pool::window_counts(&axes, &s[lead..], &out, false);
    let inside = inside.iter().map(|v| Scalar::from_f64(image.dtype(), *v)).collect();
    let mean = cols.sum(&[2], false) / super::create::vector(b, image.dtype(), inside)?;
    let y = (mean.sign() * mean.abs().map("relu", &[]) * whole).map("pow", &[mean.number(1.0 / p)]);
    Ok(y.reshape(&[&s[..lead], &out[..]].concat()).cast(dtype))
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
        return Err(err::dtype(format!("`local_response_norm` is not defined for {dtype}")));
    }
    let image = (x * x).reshape(&[s[0], 1, s[1], rest]);
    let (cols, _) = windows(b, image, &[across, along], Scalar::from_f64(x.dtype(), 0.0))?;
    let sum = cols.sum(&[2], false);
    // The mean of integers is one, as PyTorch's pooling has it.
    let mean = if dtype.is_float() { sum / size as f64 } else { sum.floor_divide(b.int(size)) };
    let div = (mean * alpha + k).map("pow", &[x.number(beta)]);
    Ok((x / div.reshape(&s)).cast(dtype.to_float()))
}

/// `y[o] = x1 W[o] x2 + bias[o]`.
fn bilinear<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, y, w, bias) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?, a.opt_tensor(b, 3)?);
    super::same_dtype("bilinear", &[x, y, w, bias.unwrap_or(w)])?;
    if x.dtype() == DType::Bool {
        return Err(err::dtype("`bilinear` is not defined for bool"));
    }
    let (xs, ys) = (x.shape(), y.shape());
    let lead = &xs[..xs.len().saturating_sub(1)];
    if xs.is_empty() || xs.len() != ys.len() || lead != &ys[..ys.len() - 1] {
        return Err(err::shape(format!(
            "`bilinear`: input batch dimensions do not match: got {} and {}",
            x.ty(),
            y.ty()
        )));
    }
    let [o, p, q] = *w.shape().as_slice() else {
        return Err(err::shape(format!("`bilinear`: a weight {}, expected [out, in1, in2]", w.ty())));
    };
    if xs[xs.len() - 1] != p || ys[ys.len() - 1] != q || bias.is_some_and(|b| b.shape().as_slice() != [o]) {
        let (x, y, w) = (x.ty(), y.ty(), w.ty());
        return Err(err::shape(format!("`bilinear`: inputs {x} and {y}, or the bias, do not fit the weight {w}")));
    }
    let n: usize = lead.iter().product();
    let dtype = x.dtype();
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    // [n, in1] @ [in1, out * in2], then the product with the second input summed over in2.
    let turned = wide(w).transpose(0, 1).reshape(&[1, p, o * q]);
    let left = wide(x).reshape(&[1, n, p]).bmm(turned).reshape(&[n, o, q]);
    let z = (left * wide(y).reshape(&[n, 1, q])).sum(&[2], false);
    let z = bias.map_or(z, |b| z + wide(b));
    Ok(z.cast(dtype).reshape(&[lead, &[o]].concat()))
}

/// Rotary position embedding (Su et al., "RoFormer", 2021): pairs of features turned by an angle.
fn rotary<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, cos, sin, pairs) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?, a.bool(3)?);
    super::same_dtype("rotary", &[x, cos, sin])?;
    require_float("rotary", x)?;
    let s = x.shape();
    let d = s.last().copied().unwrap_or(1);
    let half = d / 2;
    if d % 2 == 1 {
        return Err(err::shape(format!("`rotary`: the last extent of {} must be even", x.ty())));
    }
    let last = s.len() - 1;
    let mut shape = s.to_vec();
    let (axis, at): (usize, [usize; 2]) = if pairs { (last + 1, [half, 2]) } else { (last, [2, half]) };
    shape.splice(last.., at);
    let mut angle = s.clone();
    angle[last] = half;
    for e in [cos, sin] {
        if crate::types::broadcast(&e.shape(), &angle).as_deref() != Some(&angle[..]) {
            return Err(err::shape(format!("`rotary`: the angles {} do not broadcast to half of {}", e.ty(), x.ty())));
        }
    }
    Ok(unit([x, cos, sin], |[x, c, s_]| {
        let x = x.reshape(&shape);
        let part = |i: usize| x.narrow(axis, i, 1).reshape(&angle);
        let (p, q) = (part(0), part(1));
        let (u, v) = (p * c - q * s_, q * c + p * s_);
        let both = [u, v].map(|e| e.unsqueeze(axis));
        super::join::cat(b, &both, axis as i64).map_or_else(|e| b.wrap(Err(e)), |y| y.reshape(&s))
    }))
}

macro_rules! pooling {
    ($max:literal, $n:literal) => {
        FnDef {
            name: $max,
            sig: "x, output_size: any, return_indices: bool = false",
            doc: "The largest of that many nearly equal parts of each spatial dimension of [batch, channel, ..] (or without \
                  batch), None keeping an extent; with return_indices also its position in the flattened dimensions, i64. \
                  Floats only; the gradient goes to the first largest.",
            build: |b, a| adaptive_max(b, a, $n),
        }
    };
}

macro_rules! power {
    ($name:literal, $n:literal) => {
        FnDef {
            name: $name,
            sig: "x, norm_type: float, kernel_size: ints, stride: ints? = None, ceil_mode: bool = false",
            doc: "(sum of x^norm_type)^(1 / norm_type) over windows of [batch, channel, ..] (or without batch). Floats only.",
            build: |b, a| Ok(lp_pool(b, a, $n)?.into()),
        }
    };
}

/// The functions.
pub static FNS: &[FnDef] = &[
    pooling!("adaptive_max_pool1d", 1),
    pooling!("adaptive_max_pool2d", 2),
    pooling!("adaptive_max_pool3d", 3),
    power!("lp_pool1d", 1),
    power!("lp_pool2d", 2),
    power!("lp_pool3d", 3),
    FnDef {
        name: "local_response_norm",
        sig: "x, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0",
        doc: "x / (k + alpha * the mean square of size neighbouring channels)^beta, for [batch, channel, ..]. Floats, \
              and i64, which gives f32.",
        build: |b, a| Ok(local_response_norm(b, a)?.into()),
    },
    FnDef {
        name: "bilinear",
        sig: "input1, input2, weight, bias = None",
        doc: "input1 @ weight[o] @ input2 + bias[o] for inputs [.., in1] and [.., in2] and a weight [out, in1, in2], as [.., \
              out]; rounded once. Numbers of one dtype.",
        build: |b, a| Ok(bilinear(b, a)?.into()),
    },
    FnDef {
        name: "rotary",
        sig: "x, cos, sin, interleaved: bool = false",
        doc: "Rotary position embedding: of [.., d], features i and i + d / 2 (2 i and 2 i + 1 if interleaved) turned by the \
              angle whose cosine and sine, [.., d / 2], broadcast. Floats of one dtype.",
        build: |b, a| Ok(rotary(b, a)?.into()),
    },
];

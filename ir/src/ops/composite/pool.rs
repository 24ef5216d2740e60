//! Pooling: the largest, the mean or a power mean of windows. Windows come from [`super::conv`]; parts of given number
//! are in [`super::adaptive`].

use super::conv::{Axis, spatial, windows};
use super::create::vector;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::reduce::ReduceKind;
use crate::ops::registry::{Args, FnDef, Out, require_float};
use crate::types::ShapeText;

/// The input with a batch dimension, its windows' axes, and how much each dimension grew for `ceil_mode`.
struct Pool<'b> {
    x: Ex<'b>,
    axes: Vec<Axis>,
    batched: bool,
}

/// Arguments 1 to 3: kernel size, stride (the kernel size if absent) and padding.
fn pool<'b>(b: &'b Builder, a: &Args<'b>, name: &str, n: usize, dilation: &[i64], ceil: bool) -> Result<Pool<'b>> {
    let x = a.tensor(b, 0)?;
    if x.rank() != n + 1 && x.rank() != n + 2 {
        return Err(not_image(name, x, n));
    }
    let kernel = spatial(name, "kernel_size", &a.ints(1)?, n, 1)?;
    let stride = match a.opt_ints(2)?.filter(|s| !s.is_empty()) {
        Some(s) => spatial(name, "stride", &s, n, 1)?,
        None => kernel.clone(),
    };
    let pad = spatial(name, "padding", &a.ints(3)?, n, 0)?;
    let dilation = spatial(name, "dilation", dilation, n, 1)?;
    let effective = |i: usize| dilation[i] * (kernel[i] - 1) + 1;
    if let Some(i) = (0..n).find(|i| pad[*i] > effective(*i) / 2) {
        return Err(err::shape(format!(
            "`{name}`: pad should be at most half of effective kernel size, but got pad={}, kernel_size={} and dilation={}",
            pad[i], kernel[i], dilation[i]
        )));
    }
    let batched = x.rank() == n + 2;
    check_not_empty(name, x, n)?;
    let x = if batched { x } else { x.unsqueeze(0) };
    let axis = |i: usize| {
        let a = Axis { kernel: kernel[i], stride: stride[i], dilation: dilation[i], pad: (pad[i], pad[i]) };
        if ceil { a.ceil(x.shape()[2 + i]) } else { a }
    };
    let axes: Vec<Axis> = (0..n).map(axis).collect();
    check_output(name, &x.shape(), &axes)?;
    Ok(Pool { x, axes, batched })
}

/// The error of an input without the dimensions of an image.
fn not_image(name: &str, x: Ex<'_>, n: usize) -> crate::Error {
    err::shape(format!(
        "`{name}`: Expected {}D or {}D (batch mode) tensor with optional 0 dim batch size for input, but got: {}",
        n + 1,
        n + 2,
        ShapeText(&x.shape())
    ))
}

/// Refuses an image without elements; a batch may have none.
fn check_not_empty(name: &str, x: Ex<'_>, n: usize) -> Result<()> {
    check_elements(name, x, n).map_err(|e| if n < 3 { not_image(name, x, n) } else { e })
}

/// The first of the `n` spatial dimensions and the channels before them that is empty.
pub fn first_empty(x: Ex<'_>, n: usize) -> Option<usize> {
    let s = x.shape();
    (s.len() - n - 1..s.len()).find(|d| s[*d] == 0)
}

/// As `check_not_empty`, in the words for windows of three dimensions and for adaptive ones.
pub fn check_elements(name: &str, x: Ex<'_>, n: usize) -> Result<()> {
    let s = x.shape();
    match first_empty(x, n) {
        None => Ok(()),
        Some(d) => Err(err::shape(format!(
            "`{name}`: Expected input to have non-zero size for non-batch dimensions, but input has sizes {} with dimension \
             {d} being empty",
            ShapeText(&s)
        ))),
    }
}

/// Refuses windows that are larger than the padded `[batch, channel, spatial..]`.
fn check_output(name: &str, s: &[usize], axes: &[Axis]) -> Result<()> {
    let out: Vec<i64> = axes
        .iter()
        .zip(&s[2..])
        .map(|(a, n)| ((n + a.pad.0 + a.pad.1) as i64 - a.span() as i64).div_euclid(a.stride as i64) + 1)
        .collect();
    if out.iter().all(|o| *o > 0) {
        return Ok(());
    }
    let text = |lead: usize, v: &[i64]| {
        let all: Vec<String> = std::iter::once(lead as i64).chain(v.iter().copied()).map(|v| v.to_string()).collect();
        all.join("x")
    };
    let given: Vec<i64> = s[2..].iter().map(|n| *n as i64).collect();
    Err(err::shape(match out.as_slice() {
        [o] => format!("`{name}`: Invalid computed output size: {o}, for an input size of {}", s[2]),
        out => format!(
            "`{name}`: Given input size: ({}). Calculated output size: ({}). Output size is too small",
            text(s[1], &given),
            text(s[1], out)
        ),
    }))
}

/// `[batch, channel, o]` with the windows' dimensions, and without an added batch.
fn shaped<'b>(p: &Pool<'b>, y: Ex<'b>, out: &[usize]) -> Ex<'b> {
    let s = p.x.shape();
    let mut shape = if p.batched { vec![s[0], s[1]] } else { vec![s[1]] };
    shape.extend(out);
    y.reshape(&shape)
}

/// The greatest value of a dtype.
pub fn greatest(dtype: DType) -> Scalar {
    match dtype {
        d if d.is_float() => Scalar::from_f64(d, f64::INFINITY),
        DType::U8 => Scalar::from_i64(dtype, 255),
        DType::Bool => Scalar::from_bool(true),
        d => Scalar::from_i64(d, !(-1i64 << (d.size() * 8 - 1))),
    }
}

/// The least value of a dtype.
pub fn least(dtype: DType) -> Scalar {
    match dtype {
        d if d.is_float() => Scalar::from_f64(d, f64::NEG_INFINITY),
        DType::U8 | DType::Bool => Scalar::from_i64(dtype, 0),
        d => Scalar::from_i64(d, -1i64 << (d.size() * 8 - 1)),
    }
}

fn max_pool<'b>(b: &'b Builder, a: &Args<'b>, name: &str, n: usize) -> Result<Out<'b>> {
    let p = pool(b, a, name, n, &a.ints(4)?, a.bool(5)?)?;
    if p.x.dtype() == DType::Bool {
        return Err(err::dtype(format!("`{name}` is not implemented for bool")));
    }
    let (cols, out) = windows(b, p.x, &p.axes, least(p.x.dtype()))?;
    // The gradient goes to the first largest, so the elements are picked by position.
    let indices = a.bool(6)?;
    let at = largest(cols, 2, first_inside(b, &p, &out), indices);
    let (at, y) = super::reduce::at_place(cols, 2, at, false);
    let y = shaped(&p, y, &out);
    if !indices {
        return Ok(y.into());
    }
    let mut full = vec![p.x.shape()[0], p.x.shape()[1]];
    full.extend(&out);
    let at = flat_places(b, &p, at.reshape(&full));
    Ok(Out::Many(vec![y, shaped(&p, at, &out)]))
}

/// The place of the first largest element along an axis, which stays with extent 1. Of elements that are all the least value
/// it is `first` if that is given. If the places are results, of several NaN it is the last one that counts, as in PyTorch.
pub fn largest<'b>(cols: Ex<'b>, axis: usize, first: Option<Ex<'b>>, exact: bool) -> Ex<'b> {
    let b = cols.builder();
    let at = cols.reduce(ReduceKind::ArgMax, &[axis], true);
    let at = first.map_or(at, |f| at.maximum(f));
    if !exact || !cols.dtype().is_float() {
        return at;
    }
    let k = b.iota(cols.dims()[axis]).laid_along(axis, cols.rank());
    let last = cols.isnan().select(k, b.int(-1)).reduce(ReduceKind::Max, &[axis], true);
    last.lt(b.int(0)).select(at, last)
}

/// The first element of each window that is no padding, `[1, 1, 1, o]`; `None` if that is always the window's first one.
/// Padding has the least value, so it is the largest only if it is first and no element is larger; and the places of
/// elements of the input are never below this one.
fn first_inside<'b>(b: &'b Builder, p: &Pool<'b>, out: &[usize]) -> Option<Ex<'b>> {
    if p.axes.iter().all(|a| a.pad.0 == 0) {
        return None;
    }
    let mut at = b.int(0);
    for (i, a) in p.axes.iter().enumerate() {
        let outside = (b.int(a.pad.0) - b.iota(out[i]) * b.int(a.stride)).maximum(b.int(0));
        let steps = match a.dilation {
            1 => outside,
            d => (outside + b.int(d - 1)).floor_divide(b.int(d)),
        };
        at = at * b.int(a.kernel) + steps.laid_along(i, out.len());
    }
    Some(at.reshape(&[1, 1, 1, out.iter().product()]))
}

/// The place in the flattened spatial dimensions of the input of element `at` of each window, `[batch, channel, o..]`.
fn flat_places<'b>(b: &'b Builder, p: &Pool<'b>, at: Ex<'b>) -> Ex<'b> {
    let mut flat = b.int(0);
    for (i, a) in p.axes.iter().enumerate() {
        let inner: usize = p.axes[i + 1..].iter().map(|a| a.kernel).product();
        let step: usize = p.x.shape()[3 + i..].iter().product();
        let in_window =
            at.floor_divide(b.int(inner as i64)).remainder(b.int(a.kernel as i64)) * b.int(a.dilation as i64);
        let start = b.iota(at.shape()[2 + i]) * b.int(a.stride as i64) + b.int(-(a.pad.0 as i64));
        flat = (start.laid_along(2 + i, at.rank()) + in_window) * b.int(step as i64) + flat;
    }
    flat
}

/// How many elements each window of one dimension counts.
fn counts(a: &Axis, len: usize, out: usize, include_pad: bool) -> Vec<f64> {
    let (p, len) = (a.pad.0 as i64, len as i64);
    (0..out as i64)
        .map(|o| {
            let start = o * a.stride as i64 - p;
            let end = (start + a.kernel as i64).min(len + p);
            (if include_pad { end - start } else { end.min(len) - start.max(0) }) as f64
        })
        .collect()
}

/// How many elements each window counts, row-major.
pub fn window_counts(axes: &[Axis], extents: &[usize], out: &[usize], include_pad: bool) -> Vec<f64> {
    let mut table = vec![1.0];
    for ((a, len), o) in axes.iter().zip(extents).zip(out) {
        let c = counts(a, *len, *o, include_pad);
        table = table.iter().flat_map(|t| c.iter().map(move |v| t * v)).collect();
    }
    table
}

fn avg_pool<'b>(b: &'b Builder, a: &Args<'b>, name: &str, n: usize) -> Result<Ex<'b>> {
    let p = pool(b, a, name, n, &[1], a.bool(4)?)?;
    if p.x.dtype() == DType::I64 {
        return int_avg_pool(b, a, &p);
    }
    require_float(name, p.x)?;
    let include = a.bool(5)?;
    let fixed = a.opt_int(6)?;
    if fixed == Some(0) {
        return Err(err::shape(format!("`{name}`: divisor must be not zero")));
    }
    let dtype = p.x.dtype();
    let wide = p.x.cast(dtype.compute());
    let (cols, out) = windows(b, wide, &p.axes, Scalar::from_f64(wide.dtype(), 0.0))?;
    let sums = cols.sum(&[2], false);
    let table = window_counts(&p.axes, &p.x.shape()[2..], &out, include);
    let y = match fixed {
        Some(d) => sums / d as f64,
        None if table.iter().all(|v| *v == table[0]) => sums / table.first().copied().unwrap_or(1.0),
        None => sums / vector(b, wide.dtype(), table.iter().map(|v| Scalar::from_f64(wide.dtype(), *v)).collect())?,
    };
    Ok(shaped(&p, y, &out).cast(dtype))
}

/// The mean of windows of integers, cut off toward zero, as PyTorch gives it for `i64`.
fn int_avg_pool<'b>(b: &'b Builder, a: &Args<'b>, p: &Pool<'b>) -> Result<Ex<'b>> {
    let (cols, out) = windows(b, p.x, &p.axes, Scalar::from_i64(DType::I64, 0))?;
    let sums = cols.sum(&[2], false);
    let table = window_counts(&p.axes, &p.x.shape()[2..], &out, a.bool(5)?);
    let divisor = a.opt_int(6)?;
    let each = table.iter().map(|v| Scalar::from_i64(DType::I64, divisor.unwrap_or(*v as i64))).collect();
    Ok(shaped(p, sums.map("trunc_divide", &[vector(b, DType::I64, each)?]), &out))
}

/// `(Σ x^p)^(1/p)` over windows, with PyTorch's sign for odd powers.
fn lp_pool<'b>(b: &'b Builder, a: &Args<'b>, n: usize) -> Result<Ex<'b>> {
    let (x, p, name) = (a.tensor(b, 0)?, a.float(1)?, a.name());
    let x = x.cast(x.dtype().to_float());
    let s = x.shape();
    if s.len() != n + 1 && s.len() != n + 2 {
        return Err(err::shape(format!(
            "`{name}`: Expected {}D or {}D (batch mode) tensor, but got {}",
            n + 1,
            n + 2,
            x.ty()
        )));
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
    let inside = window_counts(&axes, &s[lead..], &out, false);
    let inside = inside.iter().map(|v| Scalar::from_f64(image.dtype(), *v)).collect();
    let mean = cols.sum(&[2], false) / vector(b, image.dtype(), inside)?;
    let y = (mean.sign() * mean.abs().map("relu", &[]) * whole).map("pow", &[mean.number(1.0 / p)]);
    Ok(y.reshape(&[&s[..lead], &out[..]].concat()).cast(dtype))
}

macro_rules! pooling {
    ($max:literal, $avg:literal, $power:literal, $n:literal, $x:literal) => {
        [
            FnDef {
                name: $max,
                sig: "x, kernel_size: ints, stride: ints? = None, padding: ints = 0, dilation: ints = 1, \
                      ceil_mode: bool = false, return_indices: bool = false",
                example: concat!("x: D[1, 2", $x, "] => ", $max, "(x, 2, stride=1)"),
                doc: "The largest element of each window of [batch, channel, ..] (or without batch), NaN if any is; \
                      padding counts as minus infinity. The stride is the kernel's size if not given; with ceil_mode \
                      windows may reach beyond the end. With return_indices also the element's place (i64) in the \
                      flattened spatial dimensions. The gradient goes to the first largest. Not for bool.",
                build: |b, a| max_pool(b, a, $max, $n),
            },
            FnDef {
                name: $avg,
                sig: "x, kernel_size: ints, stride: ints? = None, padding: ints = 0, ceil_mode: bool = false, \
                      count_include_pad: bool = true, divisor_override: int? = None",
                example: concat!("x: D[1, 2", $x, "] => ", $avg, "(x, 2, stride=1)"),
                doc: "The mean of each window of [batch, channel, ..] (or without batch). The stride is the kernel's \
                      size if not given; with ceil_mode windows may reach beyond the end. Padding counts as zeros, \
                      without count_include_pad not at all; divisor_override divides instead. Floats, and i64 (cut off \
                      toward 0).",
                build: |b, a| Ok(avg_pool(b, a, $avg, $n)?.into()),
            },
            FnDef {
                name: $power,
                sig: "x, norm_type: float, kernel_size: ints, stride: ints? = None, ceil_mode: bool = false",
                example: concat!("x: D[1, 2", $x, "] => ", $power, "(x, 2.0, 2, stride=1)"),
                doc: "(sum of x^norm_type)^(1 / norm_type) over windows of [batch, channel, ..] (or without batch). The \
                      stride is the kernel's size if not given; with ceil_mode windows may reach beyond the end. \
                      Integers and bool become f32.",
                build: |b, a| Ok(lp_pool(b, a, $n)?.into()),
            },
        ]
    };
}

static ALL: [[FnDef; 3]; 3] = [
    pooling!("max_pool1d", "avg_pool1d", "lp_pool1d", 1, ", 4"),
    pooling!("max_pool2d", "avg_pool2d", "lp_pool2d", 2, ", 4, 3"),
    pooling!("max_pool3d", "avg_pool3d", "lp_pool3d", 3, ", 3, 2, 3"),
];

/// The functions.
pub static FNS: &[FnDef] = ALL.as_flattened();

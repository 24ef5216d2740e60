//! Pooling: the largest or the mean of windows. Windows come from [`super::conv`].

use super::conv::{Axis, spatial, windows};
use super::create::vector;
use super::unit;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::reduce::ReduceKind;
use crate::ops::registry::{Arg, Args, FnDef, Out, require_float};
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

/// As [`check_not_empty`], in the words for windows of three dimensions and for adaptive ones.
pub fn check_elements(name: &str, x: Ex<'_>, n: usize) -> Result<()> {
    let s = x.shape();
    match (s.len() - n - 1..s.len()).find(|d| s[*d] == 0) {
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

/// The greatest number of a float dtype.
pub fn greatest_finite(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 65504.0,
        DType::BF16 => 3.3895313892515355e38,
        DType::F32 => f64::from(f32::MAX),
        _ => f64::MAX,
    }
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
    let (at, y) = super::reduce::pick_along(cols, 2, ReduceKind::ArgMax, false);
    let y = shaped(&p, y, &out);
    if !a.bool(6)? {
        return Ok(y.into());
    }
    let mut full = vec![p.x.shape()[0], p.x.shape()[1]];
    full.extend(&out);
    let at = flat_places(b, &p, at.reshape(&full));
    Ok(Out::Many(vec![y, shaped(&p, at, &out)]))
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

fn adaptive_avg<'b>(b: &'b Builder, a: &Args<'b>, name: &str, n: usize) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    require_float(name, x)?;
    if x.rank() != n + 1 && x.rank() != n + 2 {
        return Err(not_adaptive(name, x, n));
    }
    let lead = x.rank() - n;
    let out = adaptive_size(name, a, x, n)?;
    check_elements(name, x, n)?;
    Ok(unit([x], |[x]| adaptive_means(b, x, lead, &out)))
}

/// The error of an input of another rank than an adaptive pool takes.
pub fn not_adaptive(name: &str, x: Ex<'_>, n: usize) -> crate::Error {
    let (low, high, s) = (n + 1, n + 2, x.shape());
    err::shape(format!(
        "`{name}`: Input dimension should be at least {low}: expected {low}D or {high}D tensor, but got {}",
        ShapeText(&s)
    ))
}

/// The error of an adaptive pool's `output_size` with another number of sizes.
pub fn size_count(name: &str, n: usize, got: usize) -> crate::Error {
    err::shape(match n {
        1 => format!("`{name}`: argument `output_size` should contain one int (got {got})"),
        _ => format!("`{name}`: output_size must be {n} numbers, or one (got {got})"),
    })
}

/// The `output_size` argument: one number, or one for each spatial dimension, which stays as it is where that is `None`.
pub fn adaptive_size(name: &str, a: &Args<'_>, x: Ex<'_>, n: usize) -> Result<Vec<usize>> {
    let own = |i: usize| x.shape()[x.rank() - n + i];
    let size = |v: &Arg<'_>, i: usize| match v {
        Arg::None => Some(own(i)),
        Arg::Int(v) => usize::try_from(*v).ok().filter(|v| *v < 1 << 40),
        _ => None,
    };
    let sizes: Option<Vec<usize>> = match a.raw(1) {
        Arg::List(l) if l.len() == n => l.iter().enumerate().map(|(i, v)| size(v, i)).collect(),
        Arg::List(l) if l.len() == 1 => (0..n).map(|i| size(&l[0], i)).collect(),
        v => (0..n).map(|i| size(v, i)).collect(),
    };
    if let Arg::List(l) = a.raw(1)
        && l.len() != n
        && l.len() != 1
    {
        return Err(size_count(name, n, l.len()));
    }
    sizes.ok_or_else(|| {
        let text = |v: &Arg<'_>| if let Arg::Int(v) = v { v.to_string() } else { "None".into() };
        let got = match a.raw(1) {
            Arg::List(l) => l.iter().map(text).collect::<Vec<_>>().join(", "),
            v => text(v),
        };
        err::shape(format!(
            "`{name}`: elements of output_size must be greater than or equal to 0 but received {{{got}}}"
        ))
    })
}

/// The means of nearly equal parts of the dimensions from `lead` on: part `i` of `out` is
/// `floor(i n / out) .. ceil((i + 1) n / out)`.
pub fn adaptive_means<'b>(b: &'b Builder, x: Ex<'b>, lead: usize, out: &[usize]) -> Ex<'b> {
    let mut y = x;
    for (i, o) in out.iter().enumerate() {
        let (d, len) = (lead + i, x.shape()[lead + i]);
        let mut s = y.shape();
        s[d] = *o;
        if *o == 0 {
            y = b.full(Scalar::from_f64(x.dtype(), 0.0), &s);
        } else if len % o == 0 {
            s.insert(d + 1, len / o);
            y = y.reshape(&s).sum(&[d + 1], false) / (len / o) as f64;
        } else {
            y = parts(b, y, d, len, *o);
        }
    }
    y
}

/// Means of unequal parts along one dimension, as the product with a matrix of weights.
fn parts<'b>(b: &'b Builder, x: Ex<'b>, d: usize, len: usize, out: usize) -> Ex<'b> {
    let i = b.iota(out);
    let start = (i * b.int(len)).floor_divide(b.int(out));
    let end = (i * b.int(len) + b.int(len + out - 1)).floor_divide(b.int(out));
    let at = b.iota(len).unsqueeze(1);
    let inside = at.ge(start).logical_and(at.lt(end)).cast(x.dtype());
    let weights = inside / (end - start).cast(x.dtype());
    super::resize::by_matrix(x, d, [len, out], weights)
}

macro_rules! pooling {
    ($max:literal, $avg:literal, $adaptive:literal, $n:literal, $x:literal) => {
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
                name: $adaptive,
                sig: "x, output_size: any",
                example: concat!("x: D[1, 2", $x, "] => ", $adaptive, "(x, 2)"),
                doc: "The means of output_size nearly equal parts of each spatial dimension of [batch, channel, ..] \
                      (or without batch), part i of n reaching from floor(i len / n) to ceil((i + 1) len / n); None \
                      leaves an extent as it is. Floats only.",
                build: |b, a| Ok(adaptive_avg(b, a, $adaptive, $n)?.into()),
            },
        ]
    };
}

static ALL: [[FnDef; 3]; 3] = [
    pooling!("max_pool1d", "avg_pool1d", "adaptive_avg_pool1d", 1, ", 4"),
    pooling!("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", 2, ", 4, 3"),
    pooling!("max_pool3d", "avg_pool3d", "adaptive_avg_pool3d", 3, ", 3, 2, 3"),
];

/// The functions.
pub static FNS: &[FnDef] = ALL.as_flattened();

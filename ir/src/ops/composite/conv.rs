//! Convolutions: every window of the input becomes a column, and the weight is a matrix that multiplies them.
//!
//! The windows are one gather from the flattened (padded) positions by an index that is arithmetic on counters, so a
//! convolution is a handful of nodes whatever the size of its kernel, and its gradient is the transposed scatter.

use super::join::pad_constant;
use super::matmul::matmul;
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, extents};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::gather::ScatterMode;
use crate::ops::registry::{Arg, Args, FnDef, require_float};
use crate::types::{ShapeText, checked_count, checked_numel};

/// Where the windows of one dimension lie.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Elements of a window.
    pub kernel: usize,
    /// Distance of neighbouring windows.
    pub stride: usize,
    /// Distance of neighbouring elements in a window.
    pub dilation: usize,
    /// Elements added before and after.
    pub pad: (usize, usize),
}

impl Axis {
    /// From the first to the last element of a window.
    pub fn span(&self) -> usize {
        self.dilation * (self.kernel.max(1) - 1) + 1
    }

    /// With room behind for one more window, if it starts before the padding behind the `n` elements (`ceil_mode`).
    pub fn ceil(mut self, n: usize) -> Axis {
        let padded = n + self.pad.0 + self.pad.1;
        if let Some(room) = padded.checked_sub(self.span()) {
            let more = room.div_ceil(self.stride);
            let more = if more * self.stride >= n + self.pad.0 { more - 1 } else { more };
            self.pad.1 += (more * self.stride + self.span()).saturating_sub(padded);
        }
        self
    }

    /// The number of windows in a dimension of extent `n`, if the first one fits.
    pub fn windows(&self, n: usize) -> Option<usize> {
        let room = (n + self.pad.0 + self.pad.1).checked_sub(self.span())?;
        Some(room / self.stride + 1)
    }
}

/// Positions in the flattened dimensions `extent`, row-major: one for each element of each window, `[k.., o..]`.
pub fn positions<'b>(b: &'b Builder, axes: &[Axis], extent: &[usize], out: &[usize]) -> Ex<'b> {
    let n = axes.len();
    let mut at = b.int(0);
    for (i, a) in axes.iter().enumerate() {
        let step: usize = extent[i + 1..].iter().product();
        let column = |len: usize, d: usize, by: usize| {
            let mut shape = vec![1; 2 * n];
            shape[d] = len;
            (b.iota(len) * b.int(by * step)).reshape(&shape)
        };
        at = at + column(a.kernel, i, a.dilation) + column(out[i], n + i, a.stride);
    }
    let count = axes.iter().map(|a| a.kernel).chain(out.iter().copied()).product();
    at.reshape::<usize>(&[count])
}

/// The windows of `x` `[batch, channel, spatial..]` as `[batch, channel, k, o]`, with what is outside being `fill`; and
/// the number of windows along each dimension.
///
/// # Errors
/// `shape` if a window is larger than the padded input.
pub fn windows<'b>(b: &'b Builder, x: Ex<'b>, axes: &[Axis], fill: Scalar) -> Result<(Ex<'b>, Vec<usize>)> {
    let s = x.dims();
    let inside = extents(&s[2..])?;
    let out =
        axes.iter().zip(&inside).map(|(a, n)| a.windows(*n)).collect::<Option<Vec<usize>>>().ok_or_else(|| {
            let text = |v: Vec<usize>| v.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
            let padded = axes.iter().zip(&inside).map(|(a, n)| n + a.pad.0 + a.pad.1).collect();
            err::shape(format!(
                "Calculated padded input size per channel: ({}). Kernel size: ({}). Kernel size can't be greater than actual \
                 input size",
                text(padded),
                text(axes.iter().map(Axis::span).collect())
            ))
        })?;
    let mut pads = vec![(0, 0); 2];
    pads.extend(axes.iter().map(|a| (a.pad.0 as i64, a.pad.1 as i64)));
    let padded = if axes.iter().all(|a| a.pad == (0, 0)) { x } else { pad_constant(b, x, &pads, fill)? };
    let extent = extents(&padded.dims()[2..])?;
    let (k, o): (usize, usize) = (axes.iter().map(|a| a.kernel).product(), out.iter().product());
    let (each, windows) = (Dim::from(k), Dim::from(o));
    checked_count(&[s[0], s[1], each, windows])?;
    let flat = padded.reshape(&[s[0], s[1], extent.iter().product::<usize>().into()]);
    let at = positions(b, axes, &extent, &out).expand(&[s[0], s[1], each * windows]);
    Ok((flat.gather(2, at).reshape(&[s[0], s[1], each, windows]), out))
}

/// One number for each spatial dimension: given as one, or as a list; at least `min`.
///
/// # Errors
/// `shape`.
pub fn spatial(name: &str, what: &str, given: &[i64], n: usize, min: i64) -> Result<Vec<usize>> {
    if given.len() != 1 && given.len() != n {
        return Err(err::shape(format!(
            "`{name}`: expected {what} to be a single integer value or a list of {n} values to match the spatial dimensions, \
             but got {what}={given:?}"
        )));
    }
    if let Some(v) = given.iter().find(|v| **v < min) {
        return Err(err::shape(match min {
            0 => format!("`{name}`: negative {what} is not supported, {what} must be non-negative, but got {v}"),
            _ => {
                format!("`{name}`: non-positive {what} is not supported, {what} must be greater than zero, but got {v}")
            }
        }));
    }
    if let Some(v) = given.iter().find(|v| **v > 1 << 40) {
        return Err(err::shape(format!("`{name}`: {what} {v} is too large")));
    }
    Ok((0..n).map(|i| given[if given.len() == 1 { 0 } else { i }] as usize).collect())
}

/// The arguments of a convolution, read and checked.
struct Conv<'b> {
    x: Ex<'b>,
    weight: Ex<'b>,
    bias: Option<Ex<'b>>,
    batched: bool,
    groups: usize,
}

fn operands<'b>(b: &'b Builder, a: &Args<'b>, name: &str, n: usize, groups: i64) -> Result<Conv<'b>> {
    let (x, weight, bias) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.opt_tensor(b, 2)?);
    if !x.dtype().is_int() {
        require_float(name, x)?;
    }
    for (what, e) in [("weight", Some(weight)), ("bias", bias)] {
        if let Some(e) = e.filter(|e| e.dtype() != x.dtype()) {
            return Err(err::dtype(format!(
                "`{name}`: Input type ({}) and {what} type ({}) should be the same",
                x.dtype(),
                e.dtype()
            )));
        }
    }
    let groups = usize::try_from(groups).ok().filter(|g| *g > 0);
    let groups = groups.ok_or_else(|| err::shape(format!("`{name}`: non-positive groups is not supported")))?;
    if weight.rank() < 3 {
        return Err(err::shape(format!("`{name}`: weight should have at least three dimensions, got {}", weight.ty())));
    }
    if weight.rank() != n + 2 || (x.rank() != n + 2 && x.rank() != n + 1) {
        let (w, r, xs) = (weight.dims(), weight.rank(), x.dims());
        return Err(err::shape(format!(
            "`{name}`: Expected {r}-dimensional input for {r}-dimensional weight {}, but got {}-dimensional input of size {} \
             instead: there are {n} spatial dimensions",
            ShapeText(&w),
            xs.len(),
            ShapeText(&xs)
        )));
    }
    let batched = x.rank() == n + 2;
    let wide = |e: Ex<'b>| e.cast(e.dtype().compute());
    let x = wide(if batched { x } else { x.unsqueeze(0) });
    Ok(Conv { x, weight: wide(weight), bias: bias.map(wide), batched, groups })
}

/// Adds the bias of each channel, takes an added batch dimension away and rounds.
fn finish<'b>(c: &Conv<'b>, y: Ex<'b>, dtype: DType) -> Result<Ex<'b>> {
    let mut y = y;
    if let Some(bias) = c.bias {
        let channels = y.dims()[1];
        if bias.dims().as_slice() != [channels] {
            return Err(err::shape(format!(
                "Given weight of size {}, expected bias to be 1-dimensional with {channels} elements, but got bias of size {} \
                 instead",
                ShapeText(&c.weight.dims()),
                ShapeText(&bias.dims())
            )));
        }
        let mut shape = vec![Dim::ONE; y.rank()];
        shape[1] = channels;
        y = y + bias.reshape(&shape);
    }
    let s = y.dims();
    Ok(if c.batched { y } else { y.reshape(&s[1..]) }.cast(dtype))
}

/// Refuses an input that has not the channels `want`, and a weight whose first dimension the groups do not divide.
fn check_channels(name: &str, c: &Conv<'_>, first: usize, want: usize) -> Result<()> {
    let (g, ws, xs) = (c.groups, c.weight.dims(), c.x.dims());
    let (w, x) = (ShapeText(&ws), ShapeText(if c.batched { &xs } else { &xs[1..] }));
    let why = if first < g {
        format!(
            "Given groups={g}, expected weight to be at least {g} at dimension 0, but got weight of size {w} instead"
        )
    } else if !first.is_multiple_of(g) {
        format!(
            "Given groups={g}, expected weight to be divisible by {g} at dimension 0, but got weight of size {w} instead"
        )
    } else if xs[1] != want {
        format!(
            "Given groups={g}, weight of size {w}, expected input {x} to have {want} channels, but got {} channels instead",
            xs[1]
        )
    } else {
        return Ok(());
    };
    Err(err::shape(format!("`{name}`: {why}")))
}

fn conv<'b>(b: &'b Builder, a: &Args<'b>, name: &str, n: usize) -> Result<Ex<'b>> {
    let c = operands(b, a, name, n, a.int(6)?)?;
    let (xs, ws) = (c.x.dims(), c.weight.shape());
    let stride = spatial(name, "stride", &a.ints(3)?, n, 1)?;
    let padding = match a.raw(4) {
        Arg::Str(_) => Vec::new(),
        _ => spatial(name, "padding", &a.ints(4)?, n, 0)?,
    };
    let dilation = spatial(name, "dilation", &a.ints(5)?, n, 1)?;
    check_channels(name, &c, ws[0], ws[1] * c.groups)?;
    if xs[1].is(0) || ws[2..].contains(&0) {
        return Err(err::shape(format!("`{name}`: a weight {} without elements", c.weight.ty())));
    }
    let mut axes: Vec<Axis> =
        (0..n).map(|i| Axis { kernel: ws[2 + i], stride: stride[i], dilation: dilation[i], pad: (0, 0) }).collect();
    match a.raw(4) {
        Arg::Str(s) if s == "valid" => {}
        Arg::Str(s) if s == "same" => {
            if stride.iter().any(|s| *s != 1) {
                return Err(err::shape(format!(
                    "`{name}`: padding=\"same\" is not supported for strided convolutions"
                )));
            }
            for x in &mut axes {
                let total = x.span() - 1;
                x.pad = (total / 2, total - total / 2);
            }
        }
        Arg::Str(s) => {
            return Err(err::ty(format!("`{name}`: Invalid padding string: {s:?}, expected \"same\" or \"valid\"")));
        }
        _ => {
            for (x, p) in axes.iter_mut().zip(padding) {
                x.pad = (p, p);
            }
        }
    }
    let zero = Scalar::from_f64(c.x.dtype(), 0.0);
    let (cols, out) = windows(b, c.x, &axes, zero)?;
    let k: usize = axes.iter().map(|a| a.kernel).product();
    let (rows, o) = (Dim::from(ws[1] * k), cols.dims()[3]);
    let y = if c.groups == 1 {
        let w = c.weight.reshape(&[1, ws[0], ws[1] * k]).expand(&[xs[0], ws[0].into(), rows]);
        w.bmm(cols.reshape(&[xs[0], rows, o]))
    } else {
        let g = c.groups;
        let w = c.weight.reshape(&[g, ws[0] / g, ws[1] * k]);
        matmul(w, cols.reshape(&[xs[0], g.into(), rows, o]))?
    };
    let mut shape = vec![xs[0], ws[0].into()];
    shape.extend(out.into_iter().map(Dim::from));
    finish(&c, y.reshape(&shape), a.tensor(b, 0)?.dtype())
}

/// Columns `[batch, channel, k * o]` added at the places of their windows in dimensions `full`, of which `pads` are cut
/// off again at both ends: the transpose of [`windows`].
///
/// # Errors
/// `shape` if that is too large or nothing is left.
pub fn overlaid<'b>(
    b: &'b Builder,
    cols: Ex<'b>,
    axes: &[Axis],
    full: &[usize],
    out: &[usize],
    pads: &[usize],
) -> Result<Ex<'b>> {
    let s = cols.shape();
    let flat = [s[0], s[1], full.iter().product()];
    checked_numel(&flat)?;
    let (at, zero) = (positions(b, axes, full, out).expand(&s), Scalar::from_f64(cols.dtype(), 0.0));
    let y = b.full(zero, &flat).scatter(2, ScatterMode::Add, at, cols);
    let cut: Vec<(i64, i64)> = [0, 0].into_iter().chain(pads.iter().map(|p| -(*p as i64))).map(|p| (p, p)).collect();
    pad_constant(b, y.reshape(&[&s[..2], full].concat()), &cut, zero)
}

/// The transpose of a convolution: each input element times the weight is added to its window of the output.
fn conv_transpose<'b>(b: &'b Builder, a: &Args<'b>, name: &str, n: usize) -> Result<Ex<'b>> {
    let c = operands(b, a, name, n, a.int(6)?)?;
    let (xs, ws) = (c.x.shape(), c.weight.shape());
    check_channels(name, &c, ws[0], ws[0])?;
    if xs[1] == 0 || ws[1..].contains(&0) {
        return Err(err::shape(format!("`{name}`: a weight {} without elements", c.weight.ty())));
    }
    let stride = spatial(name, "stride", &a.ints(3)?, n, 1)?;
    let pad = spatial(name, "padding", &a.ints(4)?, n, 0)?;
    let extra = spatial(name, "output_padding", &a.ints(5)?, n, 0)?;
    let dilation = spatial(name, "dilation", &a.ints(7)?, n, 1)?;
    let axes: Vec<Axis> =
        (0..n).map(|i| Axis { kernel: ws[2 + i], stride: stride[i], dilation: dilation[i], pad: (0, 0) }).collect();
    let fits = (0..n).all(|i| extra[i] < stride[i].max(dilation[i]) && xs[2 + i] > 0);
    if !fits {
        return Err(err::shape(format!(
            "`{name}`: output padding must be smaller than either stride or dilation, but got output_padding {extra:?}, stride \
             {stride:?}, dilation {dilation:?}"
        )));
    }
    // The extents before the padding is cut off again.
    let full: Vec<usize> = (0..n).map(|i| (xs[2 + i] - 1) * stride[i] + axes[i].span() + extra[i]).collect();
    let (g, k, o): (usize, usize, usize) = (c.groups, ws[2..].iter().product(), xs[2..].iter().product());
    let w = c.weight.reshape(&[g, ws[0] / g, ws[1] * k]).transpose(1, 2);
    let cols = matmul(w, c.x.reshape(&[xs[0], g, ws[0] / g, o]))?.reshape(&[xs[0], g * ws[1], k * o]);
    let y = overlaid(b, cols, &axes, &full, &xs[2..], &pad)?;
    finish(&c, y, a.tensor(b, 0)?.dtype())
}

macro_rules! convolution {
    ($name:literal, $transposed:literal, $n:literal, $x:literal, $w:literal) => {
        [
            FnDef {
                name: $name,
                sig: "x, weight, bias = None, stride: ints = 1, padding: any = 0, dilation: ints = 1, groups: int = 1",
                example: concat!("x: D[1, 2", $x, "], weight: D[3, 2", $w, "], bias: D[3] => ", $name, "(x, weight, bias)"),
                doc: "The cross-correlation of [batch, in, ..] (or without batch) with a weight [out, in / groups, ..] \
                      and a bias [out], as [batch, out, ..] with extents (n + 2 padding - dilation (k - 1) - 1) / \
                      stride + 1. padding is also \"valid\" or, for a stride of 1, \"same\". Numbers of one dtype, not \
                      bool; integers wrap.",
                build: |b, a| Ok(conv(b, a, $name, $n)?.into()),
            },
            FnDef {
                name: $transposed,
                sig: "x, weight, bias = None, stride: ints = 1, padding: ints = 0, output_padding: ints = 0, \
                      groups: int = 1, dilation: ints = 1",
                example: concat!("x: D[1, 2", $x, "], weight: D[2, 3", $w, "], bias: D[3] => ", $transposed, "(x, weight, bias)"),
                doc: "The transpose of a convolution, which is its gradient by the input, with a weight [in, out / \
                      groups, ..] and a bias [out], as [batch, out, ..] with extents (n - 1) stride - 2 padding + \
                      dilation (k - 1) + output_padding + 1. Numbers of one dtype, not bool; integers wrap.",
                build: |b, a| Ok(conv_transpose(b, a, $transposed, $n)?.into()),
            },
        ]
    };
}

static ALL: [[FnDef; 2]; 3] = [
    convolution!("conv1d", "conv_transpose1d", 1, ", 4", ", 3"),
    convolution!("conv2d", "conv_transpose2d", 2, ", 4, 3", ", 3, 2"),
    convolution!("conv3d", "conv_transpose3d", 3, ", 3, 2, 3", ", 2, 2, 2"),
];

/// The functions.
pub static FNS: &[FnDef] = ALL.as_flattened();

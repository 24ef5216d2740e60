//! `grid_sample` and `affine_grid`: images read at places that a tensor of coordinates names.
//!
//! Coordinates are in -1..1 over an image, the last of them along its rows. The corners around a place are gathered from
//! the flattened image, each weighed by how near it is; so the gradient is a scatter, and that of the coordinates follows
//! from the weights.

use super::{same_dtype, unit};
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef, require_float};
use crate::types::checked_numel;

/// What is outside of an image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// A coordinate in elements, from one in -1..1 over `n` of them.
fn unnormalized<'b>(x: Ex<'b>, n: usize, align: bool) -> Ex<'b> {
    if align { (x + 1.0) / 2.0 * (n as f64 - 1.0) } else { ((x + 1.0) * n as f64 - 1.0) / 2.0 }
}

/// Held inside `0..=n - 1`, with no gradient beyond.
fn clipped<'b>(x: Ex<'b>, n: usize) -> Ex<'b> {
    x.map("clamp_min", &[x.number(0.0)]).map("clamp_max", &[x.number(n as f64 - 1.0)])
}

/// Folded back at `low / 2` and `high / 2` as often as it takes.
fn reflected<'b>(x: Ex<'b>, low: f64, high: f64) -> Ex<'b> {
    if low == high {
        return x.zeros();
    }
    let (min, span) = (low / 2.0, (high - low) / 2.0);
    let x = (x - min).abs();
    let span_of = x.number(span);
    let extra = x.fmod(span_of);
    let even = (x / span).floor().remainder(x.number(2.0)).eq(x.number(0.0));
    even.select(extra + min, -extra + (span + min))
}

fn padded<'b>(x: Ex<'b>, n: usize, padding: Padding, align: bool) -> Ex<'b> {
    let m = n as f64;
    match padding {
        Padding::Zeros => x,
        Padding::Border => clipped(x, n),
        Padding::Reflection if align => clipped(reflected(x, 0.0, 2.0 * (m - 1.0)), n),
        Padding::Reflection => clipped(reflected(x, -1.0, 2.0 * m - 1.0), n),
    }
}

/// The image's elements at whole coordinates, `[n, c, places]`; 0 where one is outside.
fn pick<'b>(flat: Ex<'b>, at: &[Ex<'b>], extents: &[usize]) -> Ex<'b> {
    let b = flat.builder();
    let (s, places) = (flat.shape(), at[0].shape()[1]);
    let mut inside: Option<Ex<'b>> = None;
    let mut index: Option<Ex<'b>> = None;
    for (x, n) in at.iter().zip(extents) {
        let here = x.ge(x.number(0.0)).logical_and(x.lt(x.number(*n as f64)));
        let i = here.select(*x, x.zeros()).cast(DType::I64);
        inside = Some(inside.map_or(here, |all| all.logical_and(here)));
        index = Some(index.map_or(i, |outer| outer * b.int(*n) + i));
    }
    let (Some(inside), Some(index)) = (inside, index) else { return flat };
    let wide = [s[0], s[1], places];
    let v = flat.gather(2, index.unsqueeze(1).expand(&wide));
    inside.unsqueeze(1).expand(&wide).select(v, v.zeros())
}

/// The weighted sum over the corners of the cell around each place.
fn linear<'b>(flat: Ex<'b>, at: &[Ex<'b>], extents: &[usize]) -> Ex<'b> {
    let low: Vec<Ex<'b>> = at.iter().map(|x| x.floor()).collect();
    let corner = |corner: usize| {
        let upper = |d: usize| corner >> (at.len() - 1 - d) & 1 == 1;
        let place: Vec<Ex<'b>> = (0..at.len()).map(|d| if upper(d) { low[d] + 1.0 } else { low[d] }).collect();
        let weight = |d: usize| if upper(d) { at[d] - low[d] } else { low[d] + 1.0 - at[d] };
        let w = (1..at.len()).fold(weight(0), |w, d| w * weight(d));
        pick(flat, &place, extents) * w.unsqueeze(1)
    };
    (0..1usize << at.len()).map(corner).reduce(|s, v| s + v).unwrap_or(flat)
}

/// Keys' cubic convolution with a = -0.75, over four rows and columns around each place.
fn cubic<'b>(flat: Ex<'b>, at: &[Ex<'b>], extents: &[usize], hold: impl Fn(Ex<'b>, usize) -> Ex<'b>) -> Ex<'b> {
    const A: f64 = -0.75;
    let near = |x: Ex<'b>| ((x * (A + 2.0) - (A + 3.0)) * x) * x + 1.0;
    let far = |x: Ex<'b>| ((x * A - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let weights = |t: Ex<'b>| [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
    let low = [at[0].floor(), at[1].floor()];
    let [rows, columns] = [0, 1].map(|d| weights(at[d] - low[d]));
    let place = |d: usize, i: usize| hold(low[d] + (i as f64 - 1.0), d);
    let line = |(i, r): (usize, &Ex<'b>)| {
        let cell = |(j, c): (usize, &Ex<'b>)| pick(flat, &[place(0, i), place(1, j)], extents) * c.unsqueeze(1);
        columns.iter().enumerate().map(cell).reduce(|l, v| l + v).unwrap_or(flat) * r.unsqueeze(1)
    };
    rows.iter().enumerate().map(line).reduce(|s, l| s + l).unwrap_or(flat)
}

fn grid_sample<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, grid, align) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.bool(4)?);
    same_dtype("grid_sample", &[x, grid])?;
    require_float("grid_sample", x)?;
    let (s, g) = (x.shape(), grid.shape());
    let n = s.len().wrapping_sub(2);
    if !(n == 2 || n == 3) || g.len() != s.len() || g[0] != s[0] || g[g.len() - 1] != n {
        let (x, grid) = (x.ty(), grid.ty());
        return Err(err::shape(format!(
            "`grid_sample` expected grid to have size [batch, .., {n}] for an input {x}, got {grid}"
        )));
    }
    if let Some(d) = (1..s.len()).find(|d| s[*d] == 0) {
        return Err(err::shape(format!(
            "`grid_sample`: expected input to have non-empty spatial dimensions, but input has sizes {} with dimension {d} \
             being empty",
            crate::types::ShapeText(&s)
        )));
    }
    let padding = match a.str(3)? {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => {
            return Err(err::ty(format!(
                "`grid_sample` expected padding_mode to be 'zeros', 'border', or 'reflection', but got: '{other}'"
            )));
        }
    };
    let mode = a.str(2)?;
    if !matches!(mode, "bilinear" | "nearest" | "bicubic") || mode == "bicubic" && n == 3 {
        return Err(err::ty(format!(
            "`grid_sample` expected mode to be 'bilinear', 'nearest' or, for images, 'bicubic', but got: '{mode}'"
        )));
    }
    let places: usize = g[1..g.len() - 1].iter().product();
    checked_numel(&[s[0], s[1], places])?;
    let extents = &s[2..];
    let y = unit([x, grid], |[x, grid]| {
        let flat = x.reshape(&[s[0], s[1], extents.iter().product()]);
        let grid = grid.reshape(&[s[0], places, n]);
        // The last coordinate is that of the first spatial dimension.
        let of = |d: usize| unnormalized(grid.narrow(2, n - 1 - d, 1).reshape(&[s[0], places]), extents[d], align);
        let hold = |x: Ex<'b>, d: usize| padded(x, extents[d], padding, align);
        match mode {
            "bicubic" => cubic(flat, &[of(0), of(1)], extents, hold),
            "nearest" => {
                let at: Vec<Ex<'b>> = (0..n).map(|d| hold(of(d), d).round()).collect();
                pick(flat, &at, extents)
            }
            _ => linear(flat, &(0..n).map(|d| hold(of(d), d)).collect::<Vec<_>>(), extents),
        }
    });
    Ok(y.reshape(&[&s[..2], &g[1..g.len() - 1]].concat()))
}

/// Coordinates of `n` elements in -1..1.
fn base<'b>(b: &'b Builder, n: usize, align: bool, dtype: DType) -> Ex<'b> {
    if n <= 1 {
        return b.full(Scalar::from_f64(dtype, 0.0), &[n]);
    }
    let step = 2.0 / (n as f64 - 1.0);
    let at = b.iota(n).cast(dtype) * step - 1.0;
    if align { at } else { at * ((n as f64 - 1.0) / n as f64) }
}

fn affine_grid<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (theta, size, align) = (a.tensor(b, 0)?, super::create::known_sizes(&a.ints(1)?)?, a.bool(2)?);
    require_float("affine_grid", theta)?;
    let n = size.len().wrapping_sub(2);
    if !(n == 2 || n == 3) || theta.shape().as_slice() != [size[0], n, n + 1] || size.contains(&0) {
        return Err(err::shape(format!("`affine_grid`: a theta {} for an output of size {size:?}", theta.ty())));
    }
    let extents = &size[2..];
    let places: usize = extents.iter().product();
    checked_numel(&[size[0], places, n + 1])?;
    let y = unit([theta], |[theta]| {
        let mut columns: Vec<Ex<'b>> = (0..n)
            .rev()
            .map(|d| {
                let along = base(b, extents[d], align, theta.dtype()).laid_along(d, n);
                along.expand(extents).reshape(&[places])
            })
            .collect();
        columns.push(b.full(Scalar::from_f64(theta.dtype(), 1.0), &[places]));
        let points = super::join::stack(b, &columns, 1).unwrap_or_else(|e| b.wrap(Err(e)));
        points.unsqueeze(0).expand(&[size[0], places, n + 1]).bmm(theta.transpose(1, 2).copy())
    });
    Ok(y.reshape(&[&[size[0]], extents, &[n]].concat()))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "grid_sample",
        sig: "x, grid, mode: str = bilinear, padding_mode: str = zeros, align_corners: bool = false",
        example: "x: D[1, 2, 3, 3], grid: D[1, 2, 2, 2] => grid_sample(x, grid, align_corners=false)",
        doc: "Images [batch, channel, h, w] at the coordinates of a grid [batch, .., 2] in -1..1, (x, y) each, or \
              volumes at three: mode \"bilinear\", \"nearest\" or (images) \"bicubic\" (Keys' with a = -3/4). Outside \
              stands 0, or with padding_mode \"border\" the nearest element, with \"reflection\" the mirrored one. -1 \
              and 1 are the outer elements' centres if align_corners, else their edges. Floats of one dtype.",
        build: |b, a| Ok(grid_sample(b, a)?.into()),
    },
    FnDef {
        name: "affine_grid",
        sig: "theta, size: ints, align_corners: bool = false",
        example: "theta: D[1, 2, 3] => affine_grid(theta, [1, 1, 2, 3], align_corners=false)",
        doc: "The grid [batch, h, w, 2] for `grid_sample` of an affine map theta [batch, 2, 3] over an output of size \
              [batch, channel, h, w], or [batch, d, h, w, 3] of theta [batch, 3, 4] for volumes: theta times the \
              coordinates in -1..1 and 1. -1 and 1 are the outer elements' centres if align_corners, else their edges. \
              Floats.",
        build: |b, a| Ok(affine_grid(b, a)?.into()),
    },
];

//! Resizing of images and volumes: `interpolate`.
//!
//! Each spatial dimension is resized by itself. The elements that a result is made of, and their weights, are tables that
//! depend on extents only, so resizing is a few gathers and weighted sums, or for `antialias` a product with a matrix.
//! Places are computed as PyTorch does on the CPU: in f64 for f64, else in f32.

use super::create::vector;
use super::pick::along;
use super::unit;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Arg, Args, FnDef};

/// The distance between the places of neighbouring results, in elements of the input.
#[derive(Clone, Copy)]
struct Step {
    from: usize,
    to: usize,
    /// As the call gave it, if it is to be used as it is.
    scale: Option<f64>,
    align: bool,
    /// Whether places are computed in f64.
    wide: bool,
}

impl Step {
    fn round(self, v: f64) -> f64 {
        if self.wide { v } else { v as f32 as f64 }
    }

    fn size(self) -> f64 {
        if self.align {
            return if self.to > 1 { self.round((self.from - 1) as f64 / (self.to - 1) as f64) } else { 0.0 };
        }
        self.round(self.scale.map_or(self.from as f64 / self.to as f64, |s| 1.0 / s))
    }

    /// Where result `i` lies in the input.
    fn place(self, i: usize) -> f64 {
        let (s, i) = (self.size(), i as f64);
        if self.align { self.round(s * i) } else { self.round(self.round(s * (i + 0.5)) - 0.5) }
    }

    fn nearest(self, i: usize, exact: bool) -> i64 {
        let narrow = Step { wide: false, ..self };
        let at = narrow.round(narrow.size() * if exact { i as f64 + 0.5 } else { i as f64 });
        (at.floor() as i64).min(self.from as i64 - 1)
    }

    fn inside(self, at: i64) -> i64 {
        at.clamp(0, self.from as i64 - 1)
    }
}

/// A table of elements, one for each result, and of their weights.
type Tap = (Vec<i64>, Vec<f64>);

/// The two neighbours of each place.
fn linear(s: Step) -> Vec<Tap> {
    let places: Vec<f64> = (0..s.to).map(|i| s.place(i).max(0.0)).collect();
    let at: Vec<i64> = places.iter().map(|p| s.inside(*p as i64)).collect();
    let high = at.iter().map(|i| s.inside(i + 1)).collect();
    let w: Vec<f64> = places.iter().zip(&at).map(|(p, i)| (p - *i as f64).clamp(0.0, 1.0)).collect();
    vec![(at, w.iter().map(|w| 1.0 - w).collect()), (high, w)]
}

/// Keys' cubic convolution with a = -3/4: the weight of an element at distance `d`.
fn cubic(d: f64, a: f64) -> f64 {
    let d = d.abs();
    match d {
        _ if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
        _ if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
        _ => 0.0,
    }
}

/// The four neighbours of each place; those outside are the edge's.
fn bicubic(s: Step) -> Vec<Tap> {
    let tap = |k: i64| {
        let of = |i: usize| {
            let p = s.place(i);
            (s.inside(p.floor() as i64 + k), cubic(p - p.floor() - k as f64, -0.75))
        };
        (0..s.to).map(of).unzip()
    };
    (-1..=2).map(tap).collect()
}

/// The filter stretched over what a result covers when it shrinks, as a matrix `[from, to]`; `a` is -1/2 for cubics.
fn antialiased(s: Step, radius: f64, filter: fn(f64) -> f64) -> Vec<f64> {
    let step = s.size();
    let (stretch, reach) = (step.max(1.0), radius * step.max(1.0));
    let mut matrix = vec![0.0; s.from * s.to];
    for i in 0..s.to {
        let center = step * (i as f64 + 0.5);
        let low = ((center - reach + 0.5) as i64).max(0);
        let high = ((center + reach + 0.5) as i64).min(s.from as i64);
        let w: Vec<f64> = (low..high).map(|j| filter((j as f64 - center + 0.5) / stretch)).collect();
        let sum: f64 = w.iter().sum();
        for (j, w) in (low..high).zip(w) {
            matrix[j as usize * s.to + i] = if sum == 0.0 { w } else { w / sum };
        }
    }
    matrix
}

/// The sum of the taps along dimension `d`.
fn weighted<'b>(b: &'b Builder, x: Ex<'b>, d: usize, taps: &[Tap]) -> Result<Ex<'b>> {
    let mut sum: Option<Ex<'b>> = None;
    for (at, w) in taps {
        let w = vector(b, x.dtype(), w.iter().map(|w| Scalar::from_f64(x.dtype(), *w)).collect())?;
        let part = along(x, d, indices(b, at)?) * w.laid_along(d, x.rank());
        sum = Some(sum.map_or(part, |s| s + part));
    }
    Ok(sum.unwrap_or(x))
}

fn indices<'b>(b: &'b Builder, at: &[i64]) -> Result<Ex<'b>> {
    vector(b, DType::I64, at.iter().map(|i| Scalar::from_i64(DType::I64, *i)).collect())
}

fn product<'b>(b: &'b Builder, x: Ex<'b>, d: usize, s: Step, matrix: &[f64]) -> Result<Ex<'b>> {
    let w = vector(b, x.dtype(), matrix.iter().map(|w| Scalar::from_f64(x.dtype(), *w)).collect())?;
    Ok(by_matrix(x, d, [s.from, s.to], w))
}

/// Dimension `d` multiplied by a matrix `[from, to]`.
pub fn by_matrix<'b>(x: Ex<'b>, d: usize, [from, to]: [usize; 2], w: Ex<'b>) -> Ex<'b> {
    let last = x.rank() - 1;
    let rows = x.transpose(d, last);
    let mut shape = rows.shape();
    let n: usize = shape[..last].iter().product();
    let y = rows.reshape(&[1, n, from]).bmm(w.reshape(&[1, from, to]));
    shape[last] = to;
    y.reshape(&shape).transpose(d, last).copy()
}

/// Taps as a matrix `[from, to]`.
fn dense(s: Step, taps: &[Tap]) -> Vec<f64> {
    let mut matrix = vec![0.0; s.from * s.to];
    for (at, w) in taps {
        for (i, (at, w)) in at.iter().zip(w).enumerate() {
            matrix[*at as usize * s.to + i] += w;
        }
    }
    matrix
}

/// One dimension of bytes: weights are fixed-point numbers of 16 bits, as many of them behind the point as fit, and the sum
/// is rounded to the nearest byte, halves up. (PyTorch's CPU kernel, which rounds after each dimension.)
fn bytes<'b>(b: &'b Builder, x: Ex<'b>, d: usize, s: Step, matrix: &[f64]) -> Result<Ex<'b>> {
    let most = matrix.iter().fold(0.0f64, |m, w| m.max(*w));
    let bits = (0..22).take_while(|p| (0.5 + most * f64::from(1i32 << (p + 1))) < 32768.0).count() as u32;
    let one = f64::from(1u32 << bits);
    let fixed = matrix.iter().map(|w| Scalar::from_i64(DType::I64, (w * one).round() as i64)).collect();
    let w = vector(b, DType::I64, fixed)?;
    let y = by_matrix(x.cast(DType::I64), d, [s.from, s.to], w) + b.int((1 << bits) >> 1);
    let y = y.floor_divide(b.int(1 << bits));
    Ok(y.maximum(b.int(0)).minimum(b.int(255)).cast(DType::U8))
}

/// The sizes to resize to, and the scales that were given.
fn target(x: Ex<'_>, a: &Args<'_>, n: usize) -> Result<(Vec<usize>, Option<Vec<f64>>)> {
    let from = x.shape();
    let scales: Option<Vec<f64>> = match a.raw(2) {
        Arg::None => None,
        Arg::List(l) => Some(
            l.iter()
                .map(|v| match v {
                    Arg::Float(v) => Ok(*v),
                    Arg::Int(v) => Ok(*v as f64),
                    _ => Err(err::ty("`interpolate`: scale_factor is a number, or one for each spatial dimension")),
                })
                .collect::<Result<_>>()?,
        ),
        _ => Some(vec![a.float(2)?; n]),
    };
    match (a.opt_ints(1)?, scales) {
        (Some(_), Some(_)) => Err(err::ty("only one of size or scale_factor should be defined")),
        (None, None) => Err(err::ty("either size or scale_factor should be defined")),
        (Some(size), None) => {
            if size.len() != 1 && size.len() != n {
                return Err(err::shape(format!(
                    "Input and output must have the same number of spatial dimensions, but got input with spatial \
                     dimensions of {:?} and output size of {size:?}",
                    &from[2..]
                )));
            }
            Ok((super::conv::spatial("interpolate", "size", &size, n, 1)?, None))
        }
        (None, Some(scales)) => {
            if scales.len() != n {
                return Err(err::shape(format!(
                    "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial \
                     dimensions of {:?} and scale_factor of {scales:?}",
                    &from[2..]
                )));
            }
            let to: Vec<f64> = from[2..].iter().zip(&scales).map(|(n, s)| (*n as f64 * s).floor()).collect();
            if !to.iter().all(|v| (1.0..1e12).contains(v)) {
                return Err(err::shape(format!("`interpolate`: scale_factor {scales:?} for {}", x.ty())));
            }
            Ok((to.into_iter().map(|v| v as usize).collect(), Some(scales)))
        }
    }
}

/// What the arguments behind size and factors say.
struct How<'a> {
    mode: &'a str,
    align: Option<bool>,
    recompute: bool,
    antialias: bool,
}

/// The arguments `mode, align_corners` from `i` on.
fn how<'a>(a: &'a Args<'_>, i: usize) -> Result<How<'a>> {
    let align = if a.is_none(i + 1) { None } else { Some(a.bool(i + 1)?) };
    Ok(How { mode: a.str(i)?, align, recompute: false, antialias: false })
}

fn interpolate<'b>(b: &'b Builder, a: &Args<'b>, how: How<'_>) -> Result<Ex<'b>> {
    let (x, mode) = (a.tensor(b, 0)?, how.mode);
    let unsupported = || {
        err::shape(format!(
            "Input Error: Only 3D, 4D and 5D input Tensors supported (got {}D) for the modes: nearest | linear | bilinear | \
             bicubic | trilinear | area | nearest-exact (got {mode})",
            x.rank()
        ))
    };
    let n = x.rank().checked_sub(2).filter(|n| (1..=3).contains(n)).ok_or_else(unsupported)?;
    let smooth = match (mode, n) {
        ("nearest" | "nearest-exact" | "area", _) => false,
        ("linear", 1) | ("bilinear" | "bicubic", 2) | ("trilinear", 3) => true,
        _ => return Err(unsupported()),
    };
    if how.align.is_some() && !smooth {
        return Err(err::ty(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear",
        ));
    }
    let (align, antialias, recompute) = (how.align.unwrap_or(false), how.antialias, how.recompute);
    if antialias && !matches!(mode, "bilinear" | "bicubic") {
        return Err(err::ty(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input",
        ));
    }
    let (to, scales) = target(x, a, n)?;
    if recompute && scales.is_none() {
        return Err(err::ty("recompute_scale_factor is not meaningful with an explicit size."));
    }
    let from = x.shape();
    if from[1..].contains(&0) {
        return Err(err::shape(format!("`interpolate` of {}: nothing to resize", x.ty())));
    }
    let step = |i: usize| Step {
        from: from[2 + i],
        to: to[i],
        scale: scales.as_ref().map(|s| s[i]).filter(|s| !recompute && *s > 0.0),
        align,
        wide: matches!(x.dtype(), DType::F64 | DType::U8),
    };
    if !smooth && mode != "area" {
        let exact = mode == "nearest-exact";
        return (0..n).try_fold(x, |y, i| {
            let at: Vec<i64> = (0..to[i]).map(|k| step(i).nearest(k, exact)).collect();
            Ok(along(y, 2 + i, indices(b, &at)?))
        });
    }
    let bytes_too = smooth && x.dtype() == DType::U8;
    if !(x.dtype().is_float() || bytes_too) {
        return Err(err::dtype(format!("`interpolate` in mode {mode} is not implemented for {}", x.dtype())));
    }
    if mode == "area" {
        return Ok(unit([x], |[x]| super::adaptive::means(b, x, 2, &to)));
    }
    let resized = |x: Ex<'b>| {
        (0..n).rev().try_fold(x, |y, i| match (mode, antialias) {
            ("bicubic", false) => weighted(b, y, 2 + i, &bicubic(step(i))),
            ("bicubic", true) => product(b, y, 2 + i, step(i), &antialiased(step(i), 2.0, |d| cubic(d, -0.5))),
            (_, true) => product(b, y, 2 + i, step(i), &antialiased(step(i), 1.0, |d| (1.0 - d.abs()).max(0.0))),
            _ => weighted(b, y, 2 + i, &linear(step(i))),
        })
    };
    if x.dtype() == DType::U8 {
        return (0..n).rev().try_fold(x, |y, i| {
            let s = step(i);
            let matrix = match (mode, antialias) {
                ("bicubic", false) => dense(s, &bicubic(s)),
                ("bicubic", true) => antialiased(s, 2.0, |d| cubic(d, -0.5)),
                (_, true) => antialiased(s, 1.0, |d| (1.0 - d.abs()).max(0.0)),
                _ => dense(s, &linear(s)),
            };
            bytes(b, y, 2 + i, s, &matrix)
        });
    }
    Ok(resized(super::widen(x))?.cast(x.dtype()))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "interpolate",
        sig: "x, size: ints? = None, scale_factor: any = None, mode: str = nearest, align_corners: bool? = None, \
          recompute_scale_factor: bool? = None, antialias: bool = false",
        example: "x: D[1, 2, 3] => interpolate(x, size=[5])",
        doc: "[batch, channel, ..] resized, to sizes or by factors, one of the two. Modes: \"nearest\", \"nearest-exact\" \
              (any dtype), \"linear\", \"bilinear\", \"trilinear\" and \"bicubic\" (by the number of spatial \
              dimensions; floats and u8), \"area\" (means; floats). With align_corners the first and last elements stay \
              where they are. The cubic is Keys' with a = -3/4 (-1/2 with antialias, which widens the windows of \
              \"bilinear\" and \"bicubic\" when shrinking).",
        build: |b, a| {
            let recompute = !a.is_none(5) && a.bool(5)?;
            Ok(interpolate(b, a, How { recompute, antialias: a.bool(6)?, ..how(a, 3)? })?.into())
        },
    },
    FnDef {
        name: "upsample",
        sig: "x, size: ints? = None, scale_factor: any = None, mode: str = nearest, align_corners: bool? = None",
        example: "x: D[1, 2, 3] => upsample(x, size=[5])",
        doc: "As `interpolate`, which is its newer name.",
        build: |b, a| Ok(interpolate(b, a, how(a, 3)?)?.into()),
    },
    FnDef {
        name: "upsample_nearest",
        sig: "x, size: ints? = None, scale_factor: any = None",
        example: "x: D[1, 2, 3] => upsample_nearest(x, size=[5])",
        doc: "`interpolate` in mode \"nearest\": any dtype.",
        build: |b, a| {
            let how = How { mode: "nearest", align: None, recompute: false, antialias: false };
            Ok(interpolate(b, a, how)?.into())
        },
    },
    FnDef {
        name: "upsample_bilinear",
        sig: "x, size: ints? = None, scale_factor: any = None",
        example: "x: D[1, 2, 3, 2] => upsample_bilinear(x, size=[5, 3])",
        doc: "`interpolate` of [batch, channel, h, w] in mode \"bilinear\" with align_corners: floats and u8.",
        build: |b, a| {
            let how = How { mode: "bilinear", align: Some(true), recompute: false, antialias: false };
            Ok(interpolate(b, a, how)?.into())
        },
    },
];

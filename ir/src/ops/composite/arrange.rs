//! Grids, diagonals, rotations, and tensors with a part of them replaced.

use super::same_dtype;
use super::shape::view_of;
use crate::builder::{Builder, Ex};
use crate::dtype::Scalar;
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef, Out, write};
use crate::ops::{Op, view};
use crate::types::{Range, axis};

/// A copy of `x` whose part, a view that `part` makes, holds `src`.
fn replaced<'b>(
    b: &'b Builder,
    name: &str,
    x: Ex<'b>,
    src: Ex<'b>,
    part: impl FnOnce(Ex<'b>) -> Result<Ex<'b>>,
) -> Result<Out<'b>> {
    same_dtype(name, &[x, src])?;
    let out = x.copy();
    let place = part(out)?;
    if place.shape() != src.shape() {
        return Err(err::shape(format!(
            "`{name}`: expected src to have the shape of {}, got {}",
            place.ty(),
            src.ty()
        )));
    }
    write(b, name, place, src)?;
    Ok(out.into())
}

fn meshgrid<'b>(_: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let parts = a.tensors(0)?;
    let swap = match a.str(1)? {
        "ij" => false,
        "xy" => true,
        other => return Err(err::ty(format!("`meshgrid`: indexing must be \"xy\" or \"ij\", got {other:?}"))),
    };
    if let Some(p) = parts.iter().find(|p| p.rank() > 1) {
        return Err(err::shape(format!("`meshgrid` expects scalars and vectors, got {}", p.ty())));
    }
    let shape: Vec<usize> = parts.iter().map(|p| p.numel()).collect();
    let grids = parts.iter().enumerate().map(|(i, p)| {
        let g = p.laid_along(i, shape.len()).expand(&shape);
        if swap && shape.len() > 1 { g.transpose(0, 1) } else { g }
    });
    Ok(Out::Many(grids.collect()))
}

/// A vector as the `k`-th diagonal of a square of zeros, or the diagonal of a matrix, copied.
fn diag<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, k) = (a.tensor(b, 0)?, a.int(1)?);
    match x.rank() {
        1 => square(b, x, k),
        2 => Ok(view_of(x, Op::Diagonal(view::Diagonal { offset: k, dim1: 0, dim2: 1 }))?.copy()),
        _ => Err(err::shape(format!("`diag`: Supports 1D or 2D tensors. Got {}D", x.rank()))),
    }
}

/// Vectors (the last dimension) as the `k`-th diagonals of square matrices of zeros.
fn square<'b>(b: &'b Builder, x: Ex<'b>, k: i64) -> Result<Ex<'b>> {
    let mut shape = x.shape();
    let n = shape.pop().and_then(|n| n.checked_add(usize::try_from(k.unsigned_abs()).ok()?)).filter(|n| *n < 1 << 24);
    let n = n.ok_or_else(|| err::shape(format!("`diag`: diagonal {k} of {}", x.ty())))?;
    shape.extend([n, n]);
    let out = b.full(Scalar::from_i64(x.dtype(), 0), &shape).copy();
    let (dim1, dim2) = (shape.len() - 2, shape.len() - 1);
    let place = view_of(out, Op::Diagonal(view::Diagonal { offset: k, dim1, dim2 }))?;
    write(b, "diag", place, x)?;
    Ok(out)
}

fn rot90<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    let dims = a.opt_ints(2)?.unwrap_or_else(|| vec![0, 1]);
    let [p, q] = dims.as_slice() else {
        return Err(err::shape(format!("`rot90`: expected total rotation dims == 2, but got dims = {}", dims.len())));
    };
    if x.rank() < 2 {
        return Err(err::shape(format!("`rot90`: expected total dims >= 2, but got total dims = {}", x.rank())));
    }
    let (p, q) = (axis(*p, x.rank())?, axis(*q, x.rank())?);
    if p == q {
        return Err(err::shape(format!(
            "`rot90`: expected rotation dims to be different, but got dim0 = {} and dim1 = {}",
            dims[0], dims[1]
        )));
    }
    let flip = |x: Ex<'b>, d: usize| {
        let n = x.shape()[d];
        let mut r: Vec<Range> = x.shape().iter().map(|n| Range::all(*n)).collect();
        r[d] = Range { start: n.saturating_sub(1), len: n, step: -1 };
        x.slice(&r).copy()
    };
    Ok(match a.int(1)?.rem_euclid(4) {
        0 => x.copy(),
        1 => flip(x, q).transpose(p, q).copy(),
        2 => flip(flip(x, p), q),
        _ => flip(x, p).transpose(p, q).copy(),
    })
}

/// Leading dimensions, and channels, height and width of images.
fn image(name: &str, x: Ex<'_>) -> Result<(Vec<usize>, [usize; 3])> {
    let s = x.shape();
    match s.as_slice() {
        [lead @ .., c, h, w] => Ok((lead.to_vec(), [*c, *h, *w])),
        _ => Err(err::shape(format!("`{name}` expects input to have at least 3 dimensions, but got {}", x.ty()))),
    }
}

/// The factor of `pixel_shuffle` and its inverse.
fn factor(a: &Args<'_>, name: &str) -> Result<usize> {
    let r = usize::try_from(a.int(1)?).ok().filter(|r| *r > 0 && *r < 1 << 16);
    r.ok_or_else(|| err::shape(format!("`{name}` expects a positive factor")))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "meshgrid",
        sig: "tensors: tensors, indexing: str = ij",
        example: "x: D[2], y: D[3] => meshgrid(x, y, indexing=\"ij\")",
        doc: "Vectors (or scalars) spread over the grid of all of them, as many views of shape [n1, n2, ..]. indexing \
              \"xy\" swaps the first two dimensions.",
        build: meshgrid,
    },
    FnDef {
        name: "diag",
        sig: "x, diagonal: int = 0",
        example: "x: D[3] => diag(x)",
        doc: "A vector [n] as a diagonal of a matrix of zeros [n + |diagonal|, n + |diagonal|], or the diagonal of a \
              matrix; copied. An error for other ranks.",
        build: |b, a| Ok(diag(b, a)?.into()),
    },
    FnDef {
        name: "diag_embed",
        sig: "x, offset: int = 0, dim1: int = -2, dim2: int = -1",
        example: "x: D[2, 3] => diag_embed(x)",
        doc: "Vectors (the last dimension, of extent n) as diagonals of matrices of zeros of n + |offset| rows and \
              columns, which lie in the dimensions dim1 and dim2 of the result.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            if x.rank() == 0 {
                return Err(err::shape("`diag_embed` needs at least one dimension"));
            }
            let rank = x.rank() + 1;
            let (p, q) = (axis(a.int(2)?, rank)?, axis(a.int(3)?, rank)?);
            if p == q {
                let (p, q) = (a.int(2)?, a.int(3)?);
                return Err(err::index(format!("diagonal dimensions cannot be identical {p}, {q}")));
            }
            // The last two dimensions go to their places.
            let mut order: Vec<usize> = (0..rank - 2).collect();
            for (d, from) in if p < q { [(p, rank - 2), (q, rank - 1)] } else { [(q, rank - 1), (p, rank - 2)] } {
                order.insert(d, from);
            }
            Ok(square(b, x, a.int(1)?)?.permute(&order).into())
        },
    },
    FnDef {
        name: "diagflat",
        sig: "x, offset: int = 0",
        example: "x: D[2, 2] => diagflat(x)",
        doc: "The n elements, whatever the shape, as a diagonal of a matrix of zeros of n + |offset| rows and columns.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(square(b, x.reshape(&[x.numel()]), a.int(1)?)?.into())
        },
    },
    FnDef {
        name: "rot90",
        sig: "x, k: int = 1, dims: ints? = None",
        example: "x: D[2, 3] => rot90(x)",
        doc: "x turned by k quarters from the first of two dimensions toward the second (0 and 1 if none are given), \
              copied.",
        build: |b, a| Ok(rot90(b, a)?.into()),
    },
    FnDef {
        name: "select_scatter",
        sig: "x, src, dim: int, index: int",
        example: "x: D[2, 3], src: D[3] => select_scatter(x, src, 0, 1)",
        doc: "A copy of x with one index of a dimension replaced by src, which has the shape without it. Gradients \
              flow to both.",
        build: |b, a| {
            let (x, src, i) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.int(3)?);
            let d = axis(a.int(2)?, x.rank())?;
            replaced(b, "select_scatter", x, src, |e| match e.rank() {
                0 => Err(err::index("`select_scatter` of a 0-dim tensor")),
                _ => super::shape::selected(e, d, i),
            })
        },
    },
    FnDef {
        name: "slice_scatter",
        sig: "x, src, dim: int = 0, start: int? = None, end: int? = None, step: int = 1",
        example: "x: D[4, 3], src: D[2, 3] => slice_scatter(x, src, 0, 1, 3)",
        doc: "A copy of x with the slice start:end:step of a dimension replaced by src, of the slice's shape. \
              Gradients flow to both.",
        build: |b, a| {
            use super::index::{IndexItem, index};
            let (x, src) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            let d = axis(a.int(2)?, x.rank())?;
            let all = IndexItem::Slice { start: None, stop: None, step: None };
            let mut items = vec![all; d];
            let bound = |i: usize| if a.is_none(i) { Ok(None) } else { a.dim(i).map(Some) };
            items.push(IndexItem::Slice { start: bound(3)?, stop: bound(4)?, step: Some(a.int(5)?) });
            replaced(b, "slice_scatter", x, src, |e| index(b, e, &items))
        },
    },
    FnDef {
        name: "diagonal_scatter",
        sig: "x, src, offset: int = 0, dim1: int = 0, dim2: int = 1",
        example: "x: D[3, 3], src: D[2] => diagonal_scatter(x, src, 1)",
        doc: "A copy of x with a diagonal replaced by src, of the shape that `diagonal` gives. Gradients flow to both.",
        build: |b, a| {
            let (x, src, offset) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.int(2)?);
            let (dim1, dim2) = (axis(a.int(3)?, x.rank())?, axis(a.int(4)?, x.rank())?);
            let op = Op::Diagonal(view::Diagonal { offset, dim1, dim2 });
            replaced(b, "diagonal_scatter", x, src, |e| view_of(e, op))
        },
    },
    FnDef {
        name: "pixel_shuffle",
        sig: "x, upscale_factor: int",
        example: "x: D[1, 4, 2, 3] => pixel_shuffle(x, 2)",
        doc: "[.., c r^2, h, w] as [.., c, h r, w r]: channels become the pixels of blocks of r by r (Shi et al., \
              2016). An error if r^2 does not divide the channels.",
        build: |b, a| {
            let (x, r) = (a.tensor(b, 0)?, factor(a, "pixel_shuffle")?);
            let (lead, [c, h, w]) = image("pixel_shuffle", x)?;
            if c % (r * r) != 0 {
                return Err(err::shape(format!(
                    "`pixel_shuffle` expects its input's 'channel' dimension to be divisible by the square of \
                     upscale_factor, but {c} is not divisible by {}",
                    r * r
                )));
            }
            let (c, n) = (c / (r * r), lead.iter().product());
            let y = x.reshape(&[n, c, r, r, h, w]).permute(&[0, 1, 4, 2, 5, 3]).copy();
            Ok(y.reshape(&[&lead[..], &[c, h * r, w * r]].concat()).into())
        },
    },
    FnDef {
        name: "pixel_unshuffle",
        sig: "x, downscale_factor: int",
        example: "x: D[1, 1, 4, 6] => pixel_unshuffle(x, 2)",
        doc: "[.., c, h r, w r] as [.., c r^2, h, w]: the inverse of `pixel_shuffle`. An error if r does not divide h \
              r and w r.",
        build: |b, a| {
            let (x, r) = (a.tensor(b, 0)?, factor(a, "pixel_unshuffle")?);
            let (lead, [c, h, w]) = image("pixel_unshuffle", x)?;
            if h % r != 0 || w % r != 0 {
                return Err(err::shape(format!(
                    "`pixel_unshuffle` expects height and width to be divisible by downscale_factor, but {h} by {w} is not \
                     divisible by {r}"
                )));
            }
            let (h, w, n) = (h / r, w / r, lead.iter().product());
            let y = x.reshape(&[n, c, h, r, w, r]).permute(&[0, 1, 3, 5, 2, 4]).copy();
            Ok(y.reshape(&[&lead[..], &[c * r * r, h, w]].concat()).into())
        },
    },
    FnDef {
        name: "channel_shuffle",
        sig: "x, groups: int",
        example: "x: D[2, 4, 3] => channel_shuffle(x, 2)",
        doc: "Channels (dimension 1, of an extent that groups divide) in another order: the first of each group, then \
              the second of each, and so on (Zhang et al., ShuffleNet, 2018).",
        build: |b, a| {
            let (x, s) = (a.tensor(b, 0)?, a.tensor(b, 0)?.shape());
            let g = usize::try_from(a.int(1)?).ok().filter(|g| *g > 0);
            let g = g.ok_or_else(|| {
                err::shape("`channel_shuffle`: number of groups to divide channels in must be positive")
            })?;
            if s.len() < 3 {
                return Err(err::shape(format!(
                    "`channel_shuffle` expects input with > 2 dims, but got input {}",
                    x.ty()
                )));
            }
            if s[1] % g != 0 {
                return Err(err::shape(format!(
                    "`channel_shuffle`: number of channels must be divisible by groups. Got {} channels and {g} groups",
                    s[1]
                )));
            }
            let rest: usize = s[2..].iter().product();
            Ok(x.reshape(&[s[0], g, s[1] / g, rest]).transpose(1, 2).copy().reshape(&s).into())
        },
    },
];

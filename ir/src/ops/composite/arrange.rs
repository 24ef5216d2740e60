//! Grids, diagonals, rotations, and tensors with a part of them replaced.

use super::shape::view_of;
use super::{row, same_dtype};
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
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
    let shape: Vec<usize> = parts.iter().map(|p| p.ty().numel()).collect();
    let grids = parts.iter().enumerate().map(|(i, p)| {
        let mut thin = vec![1; shape.len()];
        thin[i] = shape[i];
        let g = p.reshape(&thin).expand(&shape);
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
        _ => Err(err::shape(format!("`diag` expects a vector or a matrix, got {}", x.ty()))),
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
        return Err(err::shape(format!("`rot90`: expected two dims, got {dims:?}")));
    };
    let (p, q) = (axis(*p, x.rank())?, axis(*q, x.rank())?);
    if p == q || x.rank() < 2 {
        return Err(err::shape("`rot90`: the dims must be two different ones"));
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

/// Rows of a matrix of distances between two sets of points `[.., m, d]` and `[.., n, d]`.
fn cdist<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, y, p) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.float(2)?);
    if x.rank() < 2 || y.rank() < 2 || x.shape().last() != y.shape().last() {
        return Err(err::shape(format!("`cdist`: points {} and {}", x.ty(), y.ty())));
    }
    let d = row("sub", &[x.unsqueeze(x.rank() - 1), y.unsqueeze(y.rank() - 2)])?;
    crate::ops::registry::require_float("cdist", d)?;
    Ok(super::stats::vector_norm(d, p, &[d.rank() - 1], false))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "meshgrid",
        sig: "tensors: tensors, indexing: str = ij",
        doc: "Vectors spread over the grid of all of them; views. indexing \"xy\" swaps the first two dimensions.",
        build: meshgrid,
    },
    FnDef {
        name: "diag",
        sig: "x, diagonal: int = 0",
        doc: "A vector as a diagonal of a matrix of zeros, or the diagonal of a matrix; copied.",
        build: |b, a| Ok(diag(b, a)?.into()),
    },
    FnDef {
        name: "diag_embed",
        sig: "x, offset: int = 0, dim1: int = -2, dim2: int = -1",
        doc: "Vectors (the last dimension) as diagonals of matrices of zeros, which lie in the dimensions dim1 and dim2.",
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
        name: "rot90",
        sig: "x, k: int = 1, dims: ints? = None",
        doc: "Turned by k quarters from the first dimension toward the second (0 and 1 if none are given), copied.",
        build: |b, a| Ok(rot90(b, a)?.into()),
    },
    FnDef {
        name: "select_scatter",
        sig: "x, src, dim: int, index: int",
        doc: "A copy of x with one index of a dimension replaced by src.",
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
        doc: "A copy of x with a slice of a dimension replaced by src.",
        build: |b, a| {
            use super::index::{IndexItem, index};
            let (x, src) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            let d = axis(a.int(2)?, x.rank())?;
            let all = IndexItem::Slice { start: None, stop: None, step: None };
            let mut items = vec![all; d];
            items.push(IndexItem::Slice { start: a.opt_int(3)?, stop: a.opt_int(4)?, step: Some(a.int(5)?) });
            replaced(b, "slice_scatter", x, src, |e| index(b, e, &items))
        },
    },
    FnDef {
        name: "diagonal_scatter",
        sig: "x, src, offset: int = 0, dim1: int = 0, dim2: int = 1",
        doc: "A copy of x with a diagonal replaced by src.",
        build: |b, a| {
            let (x, src, offset) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.int(2)?);
            let (dim1, dim2) = (axis(a.int(3)?, x.rank())?, axis(a.int(4)?, x.rank())?);
            let op = Op::Diagonal(view::Diagonal { offset, dim1, dim2 });
            replaced(b, "diagonal_scatter", x, src, |e| view_of(e, op))
        },
    },
    FnDef {
        name: "index_fill",
        sig: "x, dim: int, index, value: number",
        doc: "x with one value at the indices of a dimension that a vector names.",
        build: |b, a| {
            let (x, v) = (a.tensor(b, 0)?, a.tensor(b, 3)?);
            let i = super::pick::index_of("index_fill", a.tensor(b, 2)?)?;
            let d = axis(a.int(1)?, x.rank())?;
            if i.rank() > 1 || x.rank() == 0 || v.rank() > 0 {
                return Err(err::shape("`index_fill` takes a vector of indices and one value"));
            }
            let n = i.ty().numel();
            let at = row("wrap_index", &[i, b.number(Scalar::from_i64(DType::I64, x.shape()[d] as i64))])?;
            let (mut thin, mut wide) = (vec![1; x.rank()], x.shape());
            (thin[d], wide[d]) = (n, n);
            let at = at.reshape(&thin).expand(&wide);
            let v = v.cast(x.dtype()).expand(&wide);
            Ok(x.scatter(d, crate::ops::gather::ScatterMode::Set, at, v).into())
        },
    },
    FnDef {
        name: "cdist",
        sig: "x1, x2, p: float = 2.0",
        doc: "The p-norm distances between two sets of points [.., m, d] and [.., n, d]. Floats only.",
        build: |b, a| Ok(cdist(b, a)?.into()),
    },
    FnDef {
        name: "pixel_shuffle",
        sig: "x, upscale_factor: int",
        doc: "[.., c r^2, h, w] as [.., c, h r, w r].",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let r = usize::try_from(a.int(1)?).ok().filter(|r| *r > 0 && *r < 1 << 16);
            let s = x.shape();
            let n = s.len();
            let Some(r) = r.filter(|r| n >= 3 && s[n - 3] % (r * r) == 0) else {
                return Err(err::shape(format!("`pixel_shuffle`: the channels of {} do not divide", x.ty())));
            };
            let lead: usize = s[..n - 3].iter().product();
            let (c, h, w) = (s[n - 3] / (r * r), s[n - 2], s[n - 1]);
            let y = x.reshape(&[lead, c, r, r, h, w]).permute(&[0, 1, 4, 2, 5, 3]).copy();
            Ok(y.reshape(&[&s[..n - 3], &[c, h * r, w * r]].concat()).into())
        },
    },
];

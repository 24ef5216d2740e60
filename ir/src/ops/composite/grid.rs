//! Index sets and matrices made of them: products of vectors, combinations, triangles, blocks, powers.

use super::arith::common;
use super::compact::true_places;
use super::create::sizes;
use super::join::{cat, stack};
use crate::builder::{Builder, Ex};
use crate::dtype::{Category, DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef, Out};
use crate::ops::scan::ScanKind;
use crate::types::{Range, checked_numel};

/// Every choice of one element of each vector, the last one changing fastest, as rows.
fn cartesian_prod<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let parts = a.tensors(0)?;
    if let Some(p) = parts.iter().find(|p| p.rank() != 1) {
        return Err(err::shape(format!("`cartesian_prod`: expect a 1D vector, but got shape {}", p.ty())));
    }
    super::same_dtype("cartesian_prod", &parts)?;
    if let [one] = parts.as_slice() {
        return Ok(*one);
    }
    let shape: Vec<usize> = parts.iter().map(|p| p.shape()[0]).collect();
    let n = checked_numel(&shape)?;
    let column = |(i, p): (usize, &Ex<'b>)| p.laid_along(i, shape.len()).expand(&shape).reshape(&[n]);
    stack(b, &parts.iter().enumerate().map(column).collect::<Vec<_>>(), 1)
}

/// Choices of `r` elements of a vector in its order: a mask over all `n^r` tuples of positions says which ascend.
fn combinations<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, repeated) = (a.tensor(b, 0)?, a.bool(2)?);
    if x.rank() != 1 {
        return Err(err::shape(format!("`combinations`: expect a 1D vector, but got shape {}", x.ty())));
    }
    let r = usize::try_from(a.int(1)?).map_err(|_| err::shape("`combinations`: expect a non-negative number"))?;
    let n = x.shape()[0];
    let tuples = u32::try_from(r).ok().filter(|r| *r < 1 << 16).and_then(|r| n.checked_pow(r)).filter(|t| *t < 1 << 40);
    let tuples = tuples.ok_or_else(|| err::shape(format!("`combinations`: too many choices of {r} out of {n}")))?;
    if r == 0 || tuples == 0 {
        let shape: &[usize] = if r == 0 { &[0] } else { &[0, r] };
        return Ok(b.full(Scalar::from_i64(x.dtype(), 0), shape).copy());
    }
    // Position k of each tuple.
    let digit = |of: Ex<'b>, k: usize| of.floor_divide(b.int(n.pow((r - 1 - k) as u32))).remainder(b.int(n));
    let digits: Vec<Ex<'b>> = (0..r).map(|k| digit(b.iota(tuples), k)).collect();
    let ascend = |w: &[Ex<'b>]| if repeated { w[0].le(w[1]) } else { w[0].lt(w[1]) };
    let mask = digits.windows(2).map(ascend).reduce(Ex::logical_and);
    // n over r, or n + r - 1 over r.
    let top = if repeated { n + r - 1 } else { n };
    let shorter = r.min(top.saturating_sub(r));
    let count = if top < r { 0 } else { (0..shorter).fold(1, |c: u128, i| c * (top - i) as u128 / (i + 1) as u128) };
    let count = count as usize;
    let at = mask.map_or_else(|| b.iota(tuples), |m| true_places(m, count));
    stack(b, &(0..r).map(|k| x.gather(0, digit(at, k))).collect::<Vec<_>>(), 1)
}

/// Rows and columns of the elements of a triangle, row by row, `i64[2, n]`.
fn triangle<'b>(b: &'b Builder, a: &Args<'b>, lower: bool) -> Result<Ex<'b>> {
    let shape = crate::dim::extents(&sizes(&[a.int(0)?, a.int(1)?])?)?;
    let (rows, columns, offset) = (shape[0], shape[1], a.int(2)?);
    let dtype = a.opt_dtype(3)?.unwrap_or(DType::I64);
    Ok(stack(b, &triangle_places(b, rows, columns, offset, lower)?, 0)?.cast(dtype))
}

/// Rows and columns of the elements of a triangle, row by row.
///
/// # Errors
/// `shape` if the matrix is too large.
pub fn triangle_places<'b>(
    b: &'b Builder,
    rows: usize,
    columns: usize,
    offset: i64,
    lower: bool,
) -> Result<[Ex<'b>; 2]> {
    checked_numel(&[rows, columns])?;
    // Row r has r + k columns left of the diagonal's end, held between none and all: none before `from`, all after `to`.
    let k = offset.saturating_add(lower as i64).clamp(-(rows as i64), columns as i64);
    let from = (-k).clamp(0, rows as i64);
    let to = (columns as i64 - k).clamp(from, rows as i64);
    let left = (to - from) * (from + to - 1) / 2 + k * (to - from) + (rows as i64 - to) * columns as i64;
    let count = if lower { left as usize } else { rows * columns - left as usize };
    let edge = b.iota(rows).unsqueeze(1) + b.int(k - lower as i64);
    let mask = if lower { b.iota(columns).le(edge) } else { b.iota(columns).ge(edge) };
    let at = true_places(mask.reshape(&[rows * columns]), count);
    let width = b.int(columns.max(1) as i64);
    Ok([at.floor_divide(width), at.remainder(width)])
}

fn block_diag<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let parts = a.tensors(0)?;
    let mut blocks = Vec::new();
    for (i, p) in parts.iter().enumerate() {
        blocks.push(match p.rank() {
            0 => p.reshape(&[1, 1]),
            1 => p.unsqueeze(0),
            2 => *p,
            n => {
                return Err(err::shape(format!(
                    "`block_diag`: input tensors must have 2 or fewer dimensions. Input {i} has {n} dimensions"
                )));
            }
        });
    }
    let dtype = if parts.is_empty() { DType::F32 } else { common(&parts) };
    let total = |d: usize| blocks.iter().map(|p| p.shape()[d]).sum::<usize>();
    let shape = if blocks.is_empty() { [1, 0] } else { [total(0), total(1)] };
    checked_numel(&shape)?;
    let mut out = b.full(Scalar::from_i64(dtype, 0), &shape);
    let (mut r, mut c) = (0, 0);
    for p in &blocks {
        let s = p.shape();
        if p.numel() > 0 {
            let ranges = [Range { start: r, len: s[0], step: 1 }, Range { start: c, len: s[1], step: 1 }];
            out = out.slice_update(&ranges, p.cast(dtype));
        }
        (r, c) = (r + s[0], c + s[1]);
    }
    Ok(out)
}

/// Powers of the elements as columns, from the highest down, or from 0 up if increasing.
fn vander<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    if x.rank() != 1 {
        return Err(err::shape("`vander`: x must be a one-dimensional tensor"));
    }
    let len = x.shape()[0];
    let n = a.opt_int(1)?.unwrap_or(len as i64);
    let n = usize::try_from(n).map_err(|_| err::shape("`vander`: N must be non-negative"))?;
    let x = if x.dtype().category() < Category::Float { x.cast(DType::I64) } else { x };
    checked_numel(&[len, n])?;
    if n == 0 {
        return Ok(b.full(Scalar::from_i64(x.dtype(), 0), &[len, 0]).copy());
    }
    let one = b.full(Scalar::from_i64(x.dtype(), 1), &[len, 1]);
    let bases = cat(b, &[one, x.unsqueeze(1).expand(&[len, n - 1])], 1)?;
    let powers = super::unit([bases], |[v]| v.scan(ScanKind::Prod, 1));
    if a.bool(2)? {
        return Ok(powers);
    }
    Ok(powers.slice(&[Range::all(len), Range { start: n - 1, len: n, step: -1 }]).copy())
}

fn at_least<'b>(a: &Args<'b>, rank: usize) -> Result<Out<'b>> {
    let all: Vec<Ex<'b>> = a.tensors(0)?.into_iter().map(|x| super::join::at_least(x, rank)).collect();
    Ok(match all.as_slice() {
        [one] => Out::One(*one),
        _ => Out::Many(all),
    })
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "atleast_1d",
        sig: "tensors: tensors",
        example: "x: D => atleast_1d(x)",
        doc: "Scalars as vectors of one element, as views; others are themselves. One tensor, or several.",
        build: |_, a| at_least(a, 1),
    },
    FnDef {
        name: "atleast_2d",
        sig: "tensors: tensors",
        example: "x: D[3] => atleast_2d(x)",
        doc: "Scalars and vectors as matrices of one row, as views; others are themselves. One tensor, or several.",
        build: |_, a| at_least(a, 2),
    },
    FnDef {
        name: "atleast_3d",
        sig: "tensors: tensors",
        example: "x: D[2, 3] => atleast_3d(x)",
        doc: "Scalars, vectors [n] and matrices [m, n] as [1, 1, 1], [1, n, 1] and [m, n, 1], as views; others are \
              themselves. One tensor, or several.",
        build: |_, a| at_least(a, 3),
    },
    FnDef {
        name: "block_diag",
        sig: "tensors: tensors",
        example: "a: D[2, 3], b: D[1, 2] => block_diag(a, b)",
        doc: "Matrices [m, n] as blocks on the diagonal of zeros, [sum of m, sum of n]; vectors and scalars are rows. \
              Dtypes promote.",
        build: |b, a| Ok(block_diag(b, a)?.into()),
    },
    FnDef {
        name: "cartesian_prod",
        sig: "tensors: tensors",
        example: "a: D[2], b: D[3] => cartesian_prod(a, b)",
        doc: "Every choice of one element of each vector as a row, the last vector changing fastest, [n, vectors]; one vector \
              is itself. One dtype.",
        build: |b, a| Ok(cartesian_prod(b, a)?.into()),
    },
    FnDef {
        name: "combinations",
        sig: "x, r: int = 2, with_replacement: bool = false",
        example: "x: D[4] => combinations(x)",
        doc: "Every choice of r elements of a vector in its order, as rows [n over r, r]; the same element several times if \
              with_replacement.",
        build: |b, a| Ok(combinations(b, a)?.into()),
    },
    FnDef {
        name: "tri",
        sig: "n: int, m: int? = None, k: int = 0, dtype: dtype? = None",
        example: "=> tri(3, dtype=D)",
        doc: "An [n, m] matrix of ones at and below the k-th diagonal, else 0 (m is n if not given); f32 if no dtype \
              is given.",
        build: |b, a| {
            let n = a.int(0)?;
            let shape = sizes(&[n, a.opt_int(1)?.unwrap_or(n)])?;
            let edge = b.iota(shape[0]).unsqueeze(1) + b.number(Scalar::from_i64(DType::I64, a.int(2)?));
            Ok(b.iota(shape[1]).le(edge).cast(a.opt_dtype(3)?.unwrap_or(DType::F32)).into())
        },
    },
    FnDef {
        name: "tril_indices",
        sig: "row: int, col: int, offset: int = 0, dtype: dtype? = None",
        example: "=> tril_indices(3, 3, dtype=D)",
        doc: "Rows and columns of the elements at and below a diagonal of a row by col matrix, [2, n], i64 if no dtype is \
              given.",
        build: |b, a| Ok(triangle(b, a, true)?.into()),
    },
    FnDef {
        name: "triu_indices",
        sig: "row: int, col: int, offset: int = 0, dtype: dtype? = None",
        example: "=> triu_indices(3, 3, dtype=D)",
        doc: "Rows and columns of the elements at and above a diagonal of a row by col matrix, [2, n], i64 if no dtype is \
              given.",
        build: |b, a| Ok(triangle(b, a, false)?.into()),
    },
    FnDef {
        name: "vander",
        sig: "x, N: int? = None, increasing: bool = false",
        example: "x: D[3] => vander(x)",
        doc: "The powers 0 to N - 1 (the length, if not given) of a vector's elements, as columns [n, N]; the highest \
              first unless increasing. Integers give i64.",
        build: |b, a| Ok(vander(b, a)?.into()),
    },
];

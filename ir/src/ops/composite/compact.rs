//! Functions whose results have a size that depends on the data: `nonzero`, `masked_select`, `unique`.
//!
//! A graph has fixed sizes, so they are refused unless `size=n` bounds the result: then there are `n` places, the ones
//! that are left over hold 0, and more elements than places are an error when the program runs.

use super::row;
use crate::builder::{Builder, Ex};
use crate::dim::Dim;
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::gather::ScatterMode;
use crate::ops::registry::{Args, FnDef, Out};
use crate::types::{axis, broadcast, checked_numel};

/// The `size` argument.
fn size(a: &Args<'_>, i: usize, name: &str) -> Result<usize> {
    let Some(n) = a.opt_int(i)? else {
        return Err(err::unsupported(format!("`{name}`: the size of the result depends on the data"))
            .help("give a bound on it: `size=n`"));
    };
    let n = usize::try_from(n).map_err(|_| err::shape(format!("`{name}`: a size must not be negative, got {n}")))?;
    checked_numel(&[n])?;
    Ok(n)
}

/// Where the first `n` true elements of a vector stand, in order, as `i64[n]`; 0 in the places left over.
pub fn true_places<'b>(mask: Ex<'b>, n: usize) -> Ex<'b> {
    let b = mask.builder();
    let count = mask.numel();
    let place = mask.cast(DType::I64).scan(crate::ops::scan::ScanKind::Sum, 0) - b.int(1);
    // What is not wanted goes to one more place behind the others.
    let slot = mask.logical_and(place.lt(b.int(n))).select(place, b.int(n));
    let spots = b.full(Scalar::from_i64(DType::I64, 0), &[n + 1]);
    spots.scatter(0, ScatterMode::Set, slot, b.iota(count)).narrow(0, 0, n)
}

/// Where the true elements of a vector stand, in order, as `i64[n]`, and which of the `n` places are taken.
fn places<'b>(b: &'b Builder, mask: Ex<'b>, n: usize) -> Result<(Ex<'b>, Ex<'b>)> {
    let found = row("check_size", &[mask.cast(DType::I64).sum(&[0], false), b.int(n + 1)])?;
    let taken = b.iota(n).lt(found);
    Ok((taken.select(true_places(mask, n), b.int(0)), taken))
}

/// The elements of a vector where the mask holds; 0 in the places left over.
fn chosen<'b>(b: &'b Builder, x: Ex<'b>, mask: Ex<'b>, n: usize) -> Result<Ex<'b>> {
    let (at, taken) = places(b, mask, n)?;
    if x.numel() == 0 {
        return Ok(b.full(Scalar::from_i64(x.dtype(), 0), &[n]).copy());
    }
    let v = x.gather(0, at);
    Ok(taken.select(v, v.zeros()))
}

fn flat(x: Ex<'_>) -> Ex<'_> {
    x.reshape(&[x.numel()])
}

/// The indices of elements that are not 0, as columns of a matrix or as vectors.
fn nonzero<'b>(b: &'b Builder, x: Ex<'b>, n: usize, as_tuple: bool) -> Result<Out<'b>> {
    let (at, _) = places(b, flat(x.cast(DType::Bool)), n)?;
    let shape = x.shape();
    let mut columns = Vec::new();
    for (d, extent) in shape.iter().enumerate() {
        let inner: usize = shape[d + 1..].iter().product();
        columns.push(at.floor_divide(b.int(inner.max(1))).remainder(b.int((*extent).max(1))));
    }
    if as_tuple {
        // A number counts as a vector of one element.
        return Ok(Out::Many(if columns.is_empty() { vec![at] } else { columns }));
    }
    if columns.is_empty() {
        return Ok(b.full(Scalar::from_i64(DType::I64, 0), &[n, 0]).copy().into());
    }
    Ok(super::join::stack(b, &columns, 1)?.into())
}

fn masked_select<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, mask, n) = (a.tensor(b, 0)?, a.tensor(b, 1)?, size(a, 2, "masked_select")?);
    if mask.dtype() != DType::Bool {
        return Err(err::dtype(format!("`masked_select`: expected a bool mask, got {}", mask.dtype())));
    }
    let shape = broadcast(&x.shape(), &mask.shape())
        .ok_or_else(|| crate::builder::broadcast_error("masked_select", &[mask.ty(), x.ty()]))?;
    chosen(b, flat(x.expand(&shape)), flat(mask.expand(&shape)), n)
}

/// How often each of `0..n` stands in a vector.
pub fn counts<'b>(index: Ex<'b>, n: impl Into<Dim>) -> Ex<'b> {
    let b = index.builder();
    let ones = b.full(Scalar::from_i64(DType::I64, 1), &index.dims());
    b.full(Scalar::from_i64(DType::I64, 0), &[n.into()]).scatter(0, ScatterMode::Add, index, ones)
}

/// How long the first `n` runs are, by the run of each element.
fn lengths<'b>(run: Ex<'b>, n: usize) -> Ex<'b> {
    // Runs beyond the places are an error already; here they only must stay inside.
    counts(run.minimum(run.builder().int(n)), n + 1).narrow(0, 0, n).copy()
}

/// Values that differ from the one before, in order; with the run that each belongs to, and the runs' lengths if asked.
fn runs<'b>(b: &'b Builder, x: Ex<'b>, n: usize) -> Result<(Ex<'b>, Ex<'b>, Ex<'b>)> {
    let count = x.numel();
    let keys = if x.dtype() == DType::Bool { x.cast(DType::U8) } else { x };
    let first = b.full(Scalar::from_bool(true), &[count.min(1)]);
    let new = match count {
        0 | 1 => first,
        _ => super::join::cat(b, &[first, keys.narrow(0, 1, count - 1).ne(keys.narrow(0, 0, count - 1))], 0)?,
    };
    let values = chosen(b, x, new, n)?;
    let run = new.cast(DType::I64).scan(crate::ops::scan::ScanKind::Sum, 0) - b.int(1);
    Ok((values, run, lengths(run, n)))
}

/// `unique_consecutive`: the first element of each run of equal ones.
fn unique_consecutive<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    if !a.is_none(3) && x.rank() != 1 {
        let e = err::unsupported("`unique_consecutive` along a dimension");
        return Err(e.help("of the flattened tensor it is supported"));
    }
    let (values, inverse, counts) = runs(b, flat(x), size(a, 4, "unique_consecutive")?)?;
    let mut out = vec![values];
    if a.bool(1)? {
        out.push(inverse.reshape(&x.shape()));
    }
    if a.bool(2)? {
        out.push(counts);
    }
    Ok(if out.len() == 1 { Out::One(values) } else { Out::Many(out) })
}

/// `unique`: the sorted elements (or slices along a dimension, as rows in lexicographic order), the first of each run of
/// equal ones; for each element the place of its equal in the result; and the lengths of the runs.
fn unique<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let (x, n) = (a.tensor(b, 0)?, size(a, 5, "unique")?);
    let d = a.opt_int(4)?.map(|d| axis(d, x.rank())).transpose()?.filter(|_| x.rank() > 0);
    let (rows, shape) = match d {
        Some(d) => {
            let turned = x.transpose(0, d);
            (turned.reshape(&[x.shape()[d], x.numel() / x.shape()[d].max(1)]), turned.shape())
        }
        None => (x.reshape(&[x.numel(), 1]), [x.numel()].as_slice().into()),
    };
    let count = shape[0];
    let order = super::sort::lexicographic(rows);
    let sorted = super::pick::along(rows, 0, order);
    let first = if count < 2 {
        b.full(Scalar::from_bool(true), &[count])
    } else {
        let differs = sorted.narrow(0, 1, count - 1).ne(sorted.narrow(0, 0, count - 1));
        let new = differs.cast(DType::I64).sum(&[1], false).cast(DType::Bool);
        super::join::cat(b, &[b.full(Scalar::from_bool(true), &[1]), new], 0)?
    };
    let (at, taken) = places(b, first, n)?;
    let mut full = shape.clone();
    full[0] = n;
    let values = if count == 0 {
        b.full(Scalar::from_i64(x.dtype(), 0), &full)
    } else {
        let picked = super::pick::along(sorted, 0, at).reshape(&full);
        row("where", &[taken.laid_along(0, full.len()), picked, picked.zeros()])?
    };
    let mut out = vec![if let Some(d) = d { values.transpose(0, d).copy() } else { values }];
    let run = first.cast(DType::I64).scan(crate::ops::scan::ScanKind::Sum, 0) - b.int(1);
    if a.bool(2)? {
        let inverse = b.full(Scalar::from_i64(DType::I64, 0), &[count]).scatter(0, ScatterMode::Set, order, run);
        out.push(if d.is_some() { inverse } else { inverse.reshape(&x.shape()) });
    }
    if a.bool(3)? {
        out.push(lengths(run, n));
    }
    let one = out[0];
    Ok(if out.len() == 1 { one.into() } else { Out::Many(out) })
}

fn bincount<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, weights, n) = (a.tensor(b, 0)?, a.opt_tensor(b, 1)?, size(a, 3, "bincount")?);
    if !x.dtype().is_int() || x.rank() != 1 {
        return Err(err::dtype(format!("bincount only supports 1-d non-negative integral inputs, got {}", x.ty())));
    }
    let least = a.int(2)?;
    if least < 0 || least as usize > n {
        return Err(err::shape(format!("`bincount`: minlength {least} for size {n}")));
    }
    let ones = match weights {
        Some(w) if w.shape() != x.shape() => {
            return Err(err::shape(format!("weights should be 1-d and have the same length as input, got {}", w.ty())));
        }
        Some(w) if w.dtype() == DType::F32 => w,
        Some(w) => w.cast(DType::F64),
        None => b.full(Scalar::from_i64(DType::I64, 1), &x.shape()),
    };
    let zeros = b.full(Scalar::from_i64(ones.dtype(), 0), &[n]);
    Ok(zeros.scatter(0, ScatterMode::Add, x.cast(DType::I64), ones))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "nonzero",
        sig: "x, as_tuple: bool = false, size: int? = None",
        example: "x: D[2, 3] => nonzero(x, size=6)",
        doc: "The indices of elements that are not 0 in row-major order, i64 [size, rank], or as a tuple of vectors. \
              Refused without `size` where the data is not known. `size` is a bound: places that are left hold 0, \
              more elements are an error of the run.",
        build: |b, a| nonzero(b, a.tensor(b, 0)?, size(a, 2, "nonzero")?, a.bool(1)?),
    },
    FnDef {
        name: "masked_select",
        sig: "x, mask, size: int? = None",
        example: "x: D[2, 3] => masked_select(x, tensor([true, false, true]), size=4)",
        doc: "The elements where the bool mask holds, both broadcast, in row-major order, [size]. Refused without \
              `size` where the data is not known. `size` is a bound: places that are left hold 0, more elements are \
              an error of the run.",
        build: |b, a| Ok(masked_select(b, a)?.into()),
    },
    FnDef {
        name: "argwhere",
        sig: "x, size: int? = None",
        example: "x: D[2, 3] => argwhere(x, size=6)",
        doc: "`nonzero` by another name: the indices [size, rank] of elements that are not 0.",
        build: |b, a| nonzero(b, a.tensor(b, 0)?, size(a, 1, "argwhere")?, false),
    },
    FnDef {
        name: "unique",
        sig: "x, sorted: bool = true, return_inverse: bool = false, return_counts: bool = false, dim: int? = None, \
              size: int? = None",
        example: "x: D[6] => unique(x, size=6)",
        doc: "The different elements in ascending order, [size], or the different slices along a dimension; with \
              return_inverse also where each element went, with return_counts how often each occurs. Always sorted. \
              Refused without `size` where the data is not known (see `nonzero`).",
        build: unique,
    },
    FnDef {
        name: "unique_consecutive",
        sig: "x, return_inverse: bool = false, return_counts: bool = false, dim: int? = None, size: int? = None",
        example: "x: D[6] => unique_consecutive(x, size=6)",
        doc: "The elements that differ from the one before, [size]; with return_inverse the place of each element's \
              run, with return_counts the runs' lengths. Refused without `size` where the data is not known (see \
              `nonzero`).",
        build: unique_consecutive,
    },
    FnDef {
        name: "bincount",
        sig: "x, weights = None, minlength: int = 0, size: int? = None",
        example: "weights: D[4] => bincount(tensor([0, 2, 2, 3]), weights, size=5)",
        doc: "How often each of 0..size occurs in a vector of integers, i64 [size], or the sum of its weights (f64, of \
              f32 f32). A number outside is an error of the run. Refused without `size` where the data is not known \
              (see `nonzero`). The gradient goes to the weights.",
        build: |b, a| Ok(bincount(b, a)?.into()),
    },
];

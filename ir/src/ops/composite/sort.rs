//! Sorting and what is picked by order: `sort`, `topk`, `median`, `kthvalue`, `searchsorted`.
//!
//! An order is made by passes of a merge sort ([`crate::ops::merge`]), as many as the extent has binary digits, so sorting
//! n elements takes n log n steps. It is stable, and its gradient is that of a gather. NaN counts as larger than every
//! number. Searches are binary, a gather for each digit.

use crate::builder::{Builder, Ex};
use crate::dtype::{Category, DType, Scalar};
use crate::error::{Result, err};
use crate::ops::merge::Merge;
use crate::ops::reduce::ReduceKind;
use crate::ops::registry::{Arg, Args, FnDef, Out};
use crate::types::axis;

/// The positions that sort `x` along an axis, `i64` of its shape.
pub fn order<'b>(x: Ex<'b>, axis: usize, descending: bool) -> Ex<'b> {
    let keys = if x.dtype() == DType::Bool { x.cast(DType::U8) } else { x };
    let dims = x.dims();
    // There are as many passes as the extent has digits, so it must be known; the others need not be.
    let n = dims[axis].extent().unwrap_or_else(|| x.shape()[axis]);
    let start = x.builder().iota(n).laid_along(axis, x.rank()).expand(&dims);
    let sorted =
        super::running::widths(n).fold(start, |order, width| keys.merge(order, Merge { axis, width, descending }));
    if n < 2 { sorted.copy() } else { sorted }
}

/// Values and positions of a sort along an axis.
pub fn sorted<'b>(x: Ex<'b>, axis: usize, descending: bool) -> (Ex<'b>, Ex<'b>) {
    let at = order(x, axis, descending);
    (x.gather(axis, at), at)
}

/// The positions that sort the rows of a matrix in lexicographic order.
pub fn lexicographic(rows: Ex<'_>) -> Ex<'_> {
    let b = rows.builder();
    let (n, m) = (rows.shape()[0], rows.shape()[1]);
    if m == 0 {
        return b.iota(n);
    }
    // By the last column first, and stably by the ones before it.
    let mut at = b.iota(n);
    for c in (0..m).rev() {
        let key = rows.narrow(1, c, 1).reshape(&[n]).gather(0, at);
        at = at.gather(0, order(key, 0, false));
    }
    at
}

/// Scalars count as vectors of one element: `f` along an axis, and back.
///
/// # Errors
/// `index` if there is no such axis; what `f` says.
pub fn lifted<'b>(x: Ex<'b>, dim: i64, f: impl FnOnce(Ex<'b>, usize) -> Result<Vec<Ex<'b>>>) -> Result<Vec<Ex<'b>>> {
    let d = axis(dim, x.rank())?;
    if x.rank() > 0 {
        return f(x, d);
    }
    Ok(f(x.reshape(&[1]), 0)?.into_iter().map(|e| e.reshape::<usize>(&[])).collect())
}

fn sort<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Vec<Ex<'b>>> {
    let descending = a.bool(2)?;
    lifted(a.tensor(b, 0)?, a.int(1)?, |x, d| {
        let (values, at) = sorted(x, d, descending);
        Ok(vec![values, at])
    })
}

fn topk<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Vec<Ex<'b>>> {
    let (k, largest) = (a.int(1)?, a.bool(3)?);
    lifted(a.tensor(b, 0)?, a.int(2)?, |x, d| {
        let n = x.shape()[d];
        let Some(k) = usize::try_from(k).ok().filter(|k| *k <= n) else {
            return Err(err::index(format!(
                "`topk`: selected index k out of range: {k} of dimension {d} with size {n}"
            )));
        };
        let at = order(x, d, largest).narrow(d, 0, k).copy();
        Ok(vec![x.gather(d, at), at])
    })
}

/// The element at place `k` of the ascending order along an axis, and its position.
pub fn kth<'b>(x: Ex<'b>, d: usize, k: Ex<'b>, keepdim: bool) -> Vec<Ex<'b>> {
    let mut thin = x.shape();
    thin[d] = 1;
    let (at, v) = super::reduce::at_place(x, d, order(x, d, false).gather(d, k.expand(&thin)), keepdim);
    vec![v, at]
}

/// The lower median along an axis: the middle of the order, or the first NaN.
fn median_along<'b>(x: Ex<'b>, d: usize, keepdim: bool) -> Result<Vec<Ex<'b>>> {
    let n = x.shape()[d];
    if n == 0 {
        return Err(err::index(format!("`median`: Expected reduction dim {d} to have non-zero size")));
    }
    let int = |v: usize| x.builder().constant(Scalar::from_i64(DType::I64, v as i64));
    let mut k = int((n - 1) / 2);
    if x.dtype().is_float() {
        // NaN stand last; the first of them is where the numbers end.
        let numbers = x.eq(x).cast(DType::I64).sum(&[d], true);
        k = numbers.eq(int(n)).select(k, numbers);
    }
    Ok(kth(x, d, k, keepdim))
}

fn median<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let (dim, keepdim) = (a.opt_int(1)?, a.bool(2)?);
    if x.dtype() == DType::Bool {
        return Err(err::dtype("`median` is not implemented for bool"));
    }
    if let Some(d) = dim {
        return Ok(Out::Many(lifted(x, d, |x, d| median_along(x, d, keepdim))?));
    }
    let flat = x.reshape(&[x.numel()]);
    let v = median_along(flat, 0, false)?[0];
    if x.dtype().category() != Category::Float {
        return Ok(v.into());
    }
    // All elements that are equal to the median share its gradient, as those of a maximum do.
    let low = flat.number(f64::NEG_INFINITY);
    let shared = flat.eq(v).select(flat, low).reduce(ReduceKind::Max, &[0], false);
    Ok(v.isnan().select(v, shared).into())
}

/// Where each value would be inserted in a sorted last dimension: before equal ones, or if `right` behind them.
///
/// # Errors
/// `shape` if they do not fit.
pub fn searchsorted<'b>(sorted: Ex<'b>, values: Ex<'b>, right: bool) -> Result<Ex<'b>> {
    let (s, v) = (sorted.shape(), values.shape());
    let rows = sorted.rank() == 1 || s.len() == v.len() && s.split_last().map(|s| s.1) == v.split_last().map(|v| v.1);
    if sorted.rank() == 0 || !rows {
        let (s, v) = (sorted.ty(), values.ty());
        return Err(err::shape(format!(
            "`searchsorted`: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and \
             input value tensor must match, but we got boundaries tensor {s} and input value tensor {v}"
        )));
    }
    let dtype = super::arith::common(&[sorted, values]);
    let (keys, v) = (sorted.cast(dtype), values.cast(dtype));
    let (b, last, n) = (sorted.builder(), s.len() - 1, s[s.len() - 1]);
    let at = |i: Ex<'b>| match last {
        // One sequence for all values.
        0 => keys.gather(0, i.reshape(&[i.numel()])).reshape(&v.shape()),
        _ => keys.gather(last, i),
    };
    // Halves, as PyTorch has them: where NaN stands among the keys, which ones are looked at decides.
    let zero = b.full(Scalar::from_i64(DType::I64, 0), &v.shape());
    let (mut start, mut end) = (zero, zero + b.int(n));
    for _ in 0..usize::BITS - n.leading_zeros() {
        let middle = (start + end).map("bitwise_right_shift", &[b.int(1)]);
        let probe = at(middle.minimum(b.int(n - 1)));
        // No comparison with NaN holds, so that behind all numbers there is its place.
        let stays = if right { probe.gt(v) } else { probe.ge(v) };
        let open = start.lt(end);
        let (left, beyond) = (open.logical_and(stays), open.logical_and(stays.logical_not()));
        (start, end) = (beyond.select(middle + b.int(1), start), left.select(middle, end));
    }
    Ok(start.copy())
}

/// Places in the dtype asked for.
fn placed(at: Ex<'_>, narrow: bool) -> Ex<'_> {
    if narrow { at.cast(DType::I32) } else { at }
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "sort",
        sig: "x, dim: int = -1, descending: bool = false, stable: bool = false",
        example: "x: D[2, 3] => sort(x)",
        doc: "The elements in order along a dimension and their positions (i64) in x. It is always stable, whatever \
              stable says; NaN is the largest. The gradient goes to where the elements come from.",
        build: |b, a| Ok(Out::Many(sort(b, a)?)),
    },
    FnDef {
        name: "argsort",
        sig: "x, dim: int = -1, descending: bool = false, stable: bool = false",
        example: "x: D[2, 3] => argsort(x)",
        doc: "The positions (i64) that sort x along a dimension: the second result of `sort`.",
        build: |b, a| Ok(sort(b, a)?[1].into()),
    },
    FnDef {
        name: "msort",
        sig: "x",
        example: "x: D[3, 2] => msort(x)",
        doc: "The elements in order along dimension 0: the first result of `sort`.",
        build: |b, a| Ok(lifted(a.tensor(b, 0)?, 0, |x, d| Ok(vec![sorted(x, d, false).0]))?[0].into()),
    },
    FnDef {
        name: "topk",
        sig: "x, k: int, dim: int = -1, largest: bool = true, sorted: bool = true",
        example: "x: D[2, 3] => topk(x, 2)",
        doc: "The k largest (or smallest) elements along a dimension, always in order, and their positions (i64); of \
              equal ones the first. An error if k is larger than the extent. The gradient goes to where they come \
              from.",
        build: |b, a| Ok(Out::Many(topk(b, a)?)),
    },
    FnDef {
        name: "kthvalue",
        sig: "x, k: int, dim: int = -1, keepdim: bool = false",
        example: "x: D[2, 3] => kthvalue(x, 2)",
        doc: "The k-th smallest element along a dimension (k from 1), and its position (i64). An error if k is out of \
              range. The gradient goes to the element picked.",
        build: |b, a| {
            let (k, keep) = (a.int(1)?, a.bool(3)?);
            let both = lifted(a.tensor(b, 0)?, a.int(2)?, |x, d| {
                let n = x.shape()[d];
                if k < 1 || k as usize > n {
                    return Err(err::index(format!(
                        "`kthvalue`: selected number k out of range for dimension {d} with size {n}: {k}"
                    )));
                }
                let k = x.builder().constant(Scalar::from_i64(DType::I64, k - 1));
                Ok(kth(x, d, k, keep))
            })?;
            Ok(Out::Many(both))
        },
    },
    FnDef {
        name: "median",
        sig: "x, dim: int? = None, keepdim: bool = false",
        example: "x: D[2, 3] => median(x, 1)",
        doc: "The lower median: of all elements, where equal ones share the gradient, or along a dimension with its \
              position (i64), to which it goes. NaN if any is. Not bool.",
        build: median,
    },
    FnDef {
        name: "searchsorted",
        sig: "sorted_sequence, values, out_int32: bool = false, right: bool = false, side: str? = None, sorter = None",
        example: "values: D[2] => searchsorted(tensor([0, 1, 1, 3], dtype=D), values)",
        doc: "Where each element of values would be inserted to keep the last dimension of sorted_sequence in order, \
              i64 (i32 with out_int32): before equal ones, or behind them with right=true or side=\"right\". The \
              sequence is a vector or agrees with values in the other dimensions; sorter holds the positions that sort \
              it.",
        build: |b, a| {
            let right = match a.raw(4) {
                Arg::None => a.bool(3)?,
                _ => match a.str(4)? {
                    "left" if a.bool(3)? => {
                        return Err(err::ty(
                            "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True",
                        ));
                    }
                    "left" => false,
                    "right" => true,
                    s => {
                        return Err(err::ty(format!(
                            "torch.searchsorted(): side can only be 'left' or 'right' but got {s}"
                        )));
                    }
                },
            };
            let mut sequence = a.tensor(b, 0)?;
            if let Some(sorter) = a.opt_tensor(b, 5)? {
                if sorter.shape() != sequence.shape() || sequence.rank() == 0 || sorter.dtype() != DType::I64 {
                    let (s, t) = (sequence.ty(), sorter.ty());
                    return Err(err::shape(format!(
                        "torch.searchsorted(): boundary {s} and sorter {t} must have the same size"
                    )));
                }
                sequence = sequence.gather(sequence.rank() - 1, sorter);
            }
            Ok(placed(searchsorted(sequence, a.tensor(b, 1)?, right)?, a.bool(2)?).into())
        },
    },
    FnDef {
        name: "bucketize",
        sig: "x, boundaries, out_int32: bool = false, right: bool = false",
        example: "x: D[2, 3] => bucketize(x, tensor([0, 1, 3], dtype=D))",
        doc: "Between which boundaries, a vector in order, each element lies: `searchsorted(boundaries, x)`, i64 (i32 \
              with out_int32).",
        build: |b, a| {
            let boundaries = a.tensor(b, 1)?;
            if boundaries.rank() != 1 {
                return Err(err::shape(format!(
                    "boundaries tensor must be 1 dimension, but got dim({})",
                    boundaries.rank()
                )));
            }
            Ok(placed(searchsorted(boundaries, a.tensor(b, 0)?, a.bool(3)?)?, a.bool(2)?).into())
        },
    },
    FnDef {
        name: "quantile",
        sig: "x, q, dim: int? = None, keepdim: bool = false, interpolation: str = linear",
        example: "x: D[2, 3] => quantile(x, 0.4, 1)",
        doc: "The q-quantile along a dimension or of all elements; a vector q of quantiles, in 0..1, gives a first \
              dimension. At q (n - 1), between neighbours in order, it takes what interpolation says: \"linear\", \
              \"lower\", \"higher\", \"midpoint\" or \"nearest\". NaN if any is. f32 and f64, q of the same.",
        build: |b, a| Ok(quantile(b, a)?.into()),
    },
];

fn quantile<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, q, keep, mode) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.bool(3)?, a.str(4)?);
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        return Err(err::dtype(format!(
            "quantile() input tensor must be either float or double dtype, got {}",
            x.dtype()
        )));
    }
    if !q.ty().weak && q.dtype() != x.dtype() {
        return Err(err::dtype(format!(
            "quantile() q tensor must be same dtype as the input tensor, got {}",
            q.dtype()
        )));
    }
    if q.rank() > 1 {
        return Err(err::shape(format!("quantile() q must be a scalar or 1D tensor, got {}", q.ty())));
    }
    if let Some(v) = super::arith::constant(q).map(|c| c.to_f64()).filter(|v| !(0.0..=1.0).contains(v)) {
        return Err(err::data(format!("quantile() q must be in the range [0, 1] but got {v}")));
    }
    let (flat, d) = match a.opt_int(2)? {
        Some(d) if x.rank() > 0 => (x, axis(d, x.rank())?),
        _ => (x.reshape(&[x.numel()]), 0),
    };
    let n = flat.shape()[d];
    if n == 0 {
        return Err(err::shape("quantile() input tensor must be non-empty"));
    }
    // The quantiles go along the last dimension, and from there to the front.
    let last = flat.rank() - 1;
    let rows = sorted(flat.transpose(d, last), last, false).0;
    let count = q.numel();
    let place = q.cast(x.dtype()).reshape(&[count]) * (n - 1) as f64;
    let mut wide = rows.shape();
    wide[last] = count;
    let pick = |at: Ex<'b>| rows.gather(last, at.cast(DType::I64).expand(&wide));
    let y = match mode {
        "lower" => pick(place.floor()),
        "higher" => pick(place.ceil()),
        "nearest" => pick(place.round()),
        "linear" | "midpoint" => {
            let (low, high) = (pick(place.floor()), pick(place.ceil()));
            let w = if mode == "linear" { place - place.floor() } else { place.zeros() + 0.5 };
            super::arith::lerp([low, high, w])
        }
        other => {
            return Err(err::ty(format!(
                "quantile() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {other}"
            )));
        }
    };
    let nan = rows.isnan().cast(DType::I64).sum(&[last], true).cast(DType::Bool);
    let y = nan.select(y.number(f64::NAN), y);
    // [.., q] with the reduced dimension in its place (or not), and q first (or not).
    let mut back = y.shape();
    back.insert(last, 1);
    let y = y.reshape(&back).transpose(d, last);
    let mut order: Vec<usize> = (0..=last).collect();
    order.insert(0, last + 1);
    let y = y.permute(&order);
    let mut shape = if x.rank() == 0 || a.is_none(2) { vec![1; x.rank()] } else { flat.shape().to_vec() };
    if a.is_none(2) || x.rank() == 0 {
        if !keep {
            shape.clear();
        }
    } else {
        shape[d] = 1;
        if !keep {
            shape.remove(d);
        }
    }
    if q.rank() == 1 {
        shape.insert(0, count);
    }
    Ok(y.reshape(&shape))
}

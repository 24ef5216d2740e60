//! Reductions by PyTorch's names. Integers and bool sum in i64; half floats accumulate in f32.

use super::unit;
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, Dims, product};
use crate::dtype::{Category, DType};
use crate::error::{Result, err};
use crate::ops::reduce::ReduceKind;
use crate::ops::registry::{Arg, Args, FnDef, Out, require_float};
use crate::ops::scan::ScanKind;
use crate::types::axis;

/// One axis as a list: none for scalars, which have no axis to reduce.
pub fn one_axis(dim: i64, rank: usize) -> Result<Vec<usize>> {
    let a = axis(dim, rank)?;
    Ok(if rank == 0 { vec![] } else { vec![a] })
}

/// The dtype that sums and products are taken in.
fn accumulate(x: Ex<'_>, dtype: Option<DType>) -> Ex<'_> {
    x.cast(dtype.unwrap_or(if x.dtype().is_float() { x.dtype() } else { DType::I64 }))
}

/// How many elements the axes have.
pub fn count(x: Ex<'_>, axes: &[usize]) -> Dim {
    let dims = x.dims();
    // After a failed step there is a stand-in without these axes; its error is told at the end.
    product(&axes.iter().filter_map(|a| dims.get(*a).copied()).collect::<Dims>())
}

/// The mean over axes, of floats.
pub fn mean<'b>(x: Ex<'b>, axes: &[usize], keepdim: bool) -> Ex<'b> {
    unit([x], |[x]| x.sum(axes, keepdim) / x.extent(count(x, axes)))
}

/// `amax`, `amin`.
fn extreme<'b>(b: &'b Builder, a: &Args<'b>, kind: ReduceKind) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    Ok(x.reduce(kind, &a.axes(1, x.rank())?, a.bool(2)?).into())
}

/// `argmax`, `argmin`: along one axis, or over the flattened tensor.
fn position<'b>(b: &'b Builder, a: &Args<'b>, name: &str, kind: ReduceKind) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    if x.dtype() == DType::Bool {
        return Err(err::dtype(format!("`{name}` does not support bool input")));
    }
    let axes = match a.opt_int(1)? {
        Some(d) => one_axis(d, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    Ok(x.reduce(kind, &axes, a.bool(2)?).into())
}

/// `max`, `min`: of all elements, along an axis with positions, or of two tensors.
fn largest<'b>(b: &'b Builder, a: &Args<'b>, value: ReduceKind, arg: ReduceKind, pair: &str) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let dim = match a.raw(1) {
        Arg::None => {
            let axes: Vec<usize> = (0..x.rank()).collect();
            return Ok(x.reduce(value, &axes, false).into());
        }
        Arg::Tensor(y) => return Ok(x.map(pair, &[*y]).into()),
        _ => a.int(1)?,
    };
    let (at, picked) = pick_along(x, axis(dim, x.rank())?, arg, a.bool(2)?);
    Ok(Out::Many(vec![picked, at]))
}

/// Positions of the extremes along an axis and the elements there: the gradient goes to the one picked.
pub fn pick_along<'b>(x: Ex<'b>, axis: usize, arg: ReduceKind, keepdim: bool) -> (Ex<'b>, Ex<'b>) {
    if x.rank() == 0 {
        return (x.reduce(arg, &[], false), x.copy());
    }
    // Of truth values the positions are those of the largest as integers.
    let numbers = if x.dtype() == DType::Bool { x.cast(DType::U8) } else { x };
    at_place(x, axis, numbers.reduce(arg, &[axis], true), keepdim)
}

/// Places along an axis, of extent 1 there, and the elements at them.
pub fn at_place<'b>(x: Ex<'b>, axis: usize, at: Ex<'b>, keepdim: bool) -> (Ex<'b>, Ex<'b>) {
    let picked = x.gather(axis, at);
    if keepdim {
        return (at, picked);
    }
    let mut shape = x.dims();
    shape.remove(axis);
    (at.reshape(&shape), picked.reshape(&shape))
}

/// `all`, `any`: on truth values; uint8 stays uint8.
fn truth<'b>(b: &'b Builder, a: &Args<'b>, kind: ReduceKind) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let r = x.cast(DType::Bool).reduce(kind, &a.axes(1, x.rank())?, a.bool(2)?);
    Ok(if x.dtype() == DType::U8 { r.cast(DType::U8) } else { r }.into())
}

/// `cumsum`, `cumprod`.
fn running<'b>(b: &'b Builder, a: &Args<'b>, kind: ScanKind) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let d = axis(a.int(1)?, x.rank())?;
    let x = accumulate(x, a.opt_dtype(2)?);
    Ok(if x.rank() == 0 { x.copy() } else { x.scan(kind, d) }.into())
}

/// NaN as 0.
fn numbers(x: Ex<'_>) -> Ex<'_> {
    if x.dtype().is_float() { x.isnan().select(x.zeros(), x) } else { x }
}

fn diff<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let mut x = a.tensor(b, 0)?;
    if x.rank() == 0 {
        return Err(err::shape("diff expects input to be at least one-dimensional"));
    }
    let (n, d) = (a.int(1)?, axis(a.int(2)?, x.rank())?);
    if n < 0 {
        return Err(err::shape(format!("order must be non-negative but got {n}")));
    }
    if n > 0 && !(a.is_none(3) && a.is_none(4)) {
        let ends = [a.opt_tensor(b, 3)?, Some(x), a.opt_tensor(b, 4)?];
        let parts: Vec<Ex<'b>> = ends.into_iter().flatten().collect();
        if let Some(p) = parts.iter().find(|p| p.rank() != x.rank()) {
            return Err(err::shape(format!(
                "diff expects prepend or append to be the same dimension as input, got {} for {}",
                p.ty(),
                x.ty()
            )));
        }
        x = super::join::cat(b, &parts, d as i64)?;
    }
    let op = if x.dtype().category() == Category::Bool { "logical_xor" } else { "sub" };
    for _ in 0..n {
        let n = x.shape()[d];
        if n == 0 {
            break;
        }
        x = x.narrow(d, 1, n - 1).map(op, &[x.narrow(d, 0, n - 1)]);
    }
    Ok(x)
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "sum",
        sig: "x, dim: ints? = None, keepdim: bool = false, dtype: dtype? = None",
        example: "x: D[2, 3] => sum(x, 1)",
        doc: "The sum over dim, or over all dimensions if it is None or empty; keepdim leaves extents of 1. Integers \
              and bool give i64 (a dtype that is given is taken before the sum). Half floats add in f32. Of nothing: \
              0.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(accumulate(x, a.opt_dtype(3)?).sum(&a.axes(1, x.rank())?, a.bool(2)?).into())
        },
    },
    FnDef {
        name: "nansum",
        sig: "x, dim: ints? = None, keepdim: bool = false, dtype: dtype? = None",
        example: "x: D[2, 3] => nansum(x, 1)",
        doc: "The sum over dim with NaN as 0; the dtypes of `sum`. No gradient flows to a NaN.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(accumulate(numbers(x), a.opt_dtype(3)?).sum(&a.axes(1, x.rank())?, a.bool(2)?).into())
        },
    },
    FnDef {
        name: "mean",
        sig: "x, dim: ints? = None, keepdim: bool = false, dtype: dtype? = None",
        example: "x: D[2, 3] => mean(x, 1)",
        doc: "The mean over dim, or over all dimensions if it is None or empty. Floats only, unless a float dtype is \
              given, which is taken first. Of nothing: NaN.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let x = a.opt_dtype(3)?.map_or(x, |d| x.cast(d));
            require_float("mean", x)?;
            Ok(mean(x, &a.axes(1, x.rank())?, a.bool(2)?).into())
        },
    },
    FnDef {
        name: "nanmean",
        sig: "x, dim: ints? = None, keepdim: bool = false, dtype: dtype? = None",
        example: "x: D[2, 3] => nanmean(x, 1)",
        doc: "The mean over dim of what is not NaN; NaN if there is nothing. Floats only.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let x = a.opt_dtype(3)?.map_or(x, |d| x.cast(d));
            require_float("nanmean", x)?;
            let (axes, keep) = (a.axes(1, x.rank())?, a.bool(2)?);
            Ok(unit([x], |[x]| {
                let n = x.eq(x).cast(x.dtype()).sum(&axes, keep);
                numbers(x).sum(&axes, keep) / n
            })
            .into())
        },
    },
    FnDef {
        name: "prod",
        sig: "x, dim: int? = None, keepdim: bool = false, dtype: dtype? = None",
        example: "x: D[2, 3] => prod(x, 1)",
        doc: "The product along a dimension, or of all elements. Integers and bool give i64 (a dtype that is given is \
              taken before). Of nothing: 1. The gradient is exact with zeros.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let axes = match a.opt_int(1)? {
                Some(d) => one_axis(d, x.rank())?,
                None => (0..x.rank()).collect(),
            };
            Ok(accumulate(x, a.opt_dtype(3)?).reduce(ReduceKind::Prod, &axes, a.bool(2)?).into())
        },
    },
    FnDef {
        name: "amax",
        sig: "x, dim: ints? = None, keepdim: bool = false",
        example: "x: D[2, 3] => amax(x, 1)",
        doc: "The largest element over dim, or over all dimensions; NaN if any is. Equal ones share the gradient \
              evenly. An error if there is nothing to reduce.",
        build: |b, a| extreme(b, a, ReduceKind::Max),
    },
    FnDef {
        name: "amin",
        sig: "x, dim: ints? = None, keepdim: bool = false",
        example: "x: D[2, 3] => amin(x, 1)",
        doc: "The smallest element over dim, or over all dimensions; NaN if any is. Equal ones share the gradient \
              evenly. An error if there is nothing to reduce.",
        build: |b, a| extreme(b, a, ReduceKind::Min),
    },
    FnDef {
        name: "aminmax",
        sig: "x, dim: int? = None, keepdim: bool = false",
        example: "x: D[2, 3] => aminmax(x, dim=1)",
        doc: "Smallest and largest, as `amin` and `amax`, along one dimension or of all elements.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let axes = match a.opt_int(1)? {
                Some(d) => one_axis(d, x.rank())?,
                None => (0..x.rank()).collect(),
            };
            let keep = a.bool(2)?;
            let r = |kind| x.reduce(kind, &axes, keep);
            Ok(Out::Many(vec![r(ReduceKind::Min), r(ReduceKind::Max)]))
        },
    },
    FnDef {
        name: "argmax",
        sig: "x, dim: int? = None, keepdim: bool = false",
        example: "x: D[2, 3] => argmax(x, 1)",
        doc: "The position (i64) of the first largest element, or of the first NaN: along a dimension, or without one \
              in row-major order. Not bool. An error if there is nothing to reduce.",
        build: |b, a| position(b, a, "argmax", ReduceKind::ArgMax),
    },
    FnDef {
        name: "argmin",
        sig: "x, dim: int? = None, keepdim: bool = false",
        example: "x: D[2, 3] => argmin(x, 1)",
        doc: "The position (i64) of the first smallest element, or of the first NaN: along a dimension, or without one \
              in row-major order. Not bool. An error if there is nothing to reduce.",
        build: |b, a| position(b, a, "argmin", ReduceKind::ArgMin),
    },
    FnDef {
        name: "max",
        sig: "x, dim: any = None, keepdim: bool = false",
        example: "x: D[2, 3] => max(x, 1)",
        doc: "Without dim the largest element, NaN if any is, equal ones sharing the gradient. Along a dimension \
              values and positions (i64) of the first largest, to which the gradient goes. With a tensor instead of \
              dim `maximum`. An error if there is nothing to reduce.",
        build: |b, a| largest(b, a, ReduceKind::Max, ReduceKind::ArgMax, "maximum"),
    },
    FnDef {
        name: "min",
        sig: "x, dim: any = None, keepdim: bool = false",
        example: "x: D[2, 3] => min(x, 1)",
        doc: "Without dim the smallest element, NaN if any is, equal ones sharing the gradient. Along a dimension \
              values and positions (i64) of the first smallest, to which the gradient goes. With a tensor instead of \
              dim `minimum`. An error if there is nothing to reduce.",
        build: |b, a| largest(b, a, ReduceKind::Min, ReduceKind::ArgMin, "minimum"),
    },
    FnDef {
        name: "all",
        sig: "x, dim: ints? = None, keepdim: bool = false",
        example: "x: D[2, 3] => all(x, 1)",
        doc: "Whether all elements over dim, or all, are not 0; true for nothing. bool; u8 for u8.",
        build: |b, a| truth(b, a, ReduceKind::Prod),
    },
    FnDef {
        name: "any",
        sig: "x, dim: ints? = None, keepdim: bool = false",
        example: "x: D[2, 3] => any(x, 1)",
        doc: "Whether any element over dim, or any, is not 0; false for nothing. bool; u8 for u8.",
        build: |b, a| truth(b, a, ReduceKind::Sum),
    },
    FnDef {
        name: "count_nonzero",
        sig: "x, dim: ints? = None",
        example: "x: D[2, 3] => count_nonzero(x, 1)",
        doc: "How many elements over dim, or of all, are not 0; NaN is not 0. i64.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(x.cast(DType::Bool).cast(DType::I64).sum(&a.axes(1, x.rank())?, false).into())
        },
    },
    FnDef {
        name: "cumsum",
        sig: "x, dim: int, dtype: dtype? = None",
        example: "x: D[2, 3] => cumsum(x, 1)",
        doc: "The running sum along a dimension, of the shape of x. Integers and bool give i64 (a dtype that is given \
              is taken before).",
        build: |b, a| running(b, a, ScanKind::Sum),
    },
    FnDef {
        name: "cumprod",
        sig: "x, dim: int, dtype: dtype? = None",
        example: "x: D[2, 3] => cumprod(x, 1)",
        doc: "The running product along a dimension, of the shape of x. Integers and bool give i64 (a dtype that is \
              given is taken before). The gradient is exact with zeros.",
        build: |b, a| running(b, a, ScanKind::Prod),
    },
    FnDef {
        name: "diff",
        sig: "x, n: int = 1, dim: int = -1, prepend = None, append = None",
        example: "x: D[2, 3] => diff(x)",
        doc: "Differences of neighbours along a dimension, n times, which is n elements shorter; prepend and append \
              are laid before and behind x first. On bool: exclusive or.",
        build: |b, a| Ok(diff(b, a)?.into()),
    },
];

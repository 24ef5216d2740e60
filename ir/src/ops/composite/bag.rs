//! `embedding_bag`: rows of a table picked, and combined bag by bag.

use super::compact::counts;
use super::pick::{along, index_of};
use super::row;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::gather::ScatterMode;
use crate::ops::registry::{Args, FnDef, require_float};
use crate::ops::scan::ScanKind;
use crate::types::axis;

/// The bag that each of `n` indices is in, and the number of bags. An offset says where a bag begins; all but the last,
/// if that one is the end.
fn bags<'b>(b: &'b Builder, offsets: Ex<'b>, n: usize, ends: bool) -> Result<(Ex<'b>, usize)> {
    let o = index_of("embedding_bag", offsets)?;
    let count = o.numel();
    if o.rank() != 1 || count < ends as usize {
        return Err(err::shape(format!("`embedding_bag`: offsets has to be a 1D Tensor, got {}", offsets.ty())));
    }
    let o = row("check_offset", &[o, b.int(n as i64 + 1)])?;
    let bag = counts(o, n + 1).scan(ScanKind::Sum, 0).narrow(0, 0, n) - b.int(1);
    Ok((bag, count - ends as usize))
}

fn embedding_bag<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (mut x, mut w, offsets) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.opt_tensor(b, 2)?);
    if x.dtype().is_float() && w.dtype() == DType::I64 {
        // PyTorch still takes the two in their old order.
        std::mem::swap(&mut x, &mut w);
    }
    let x = index_of("embedding_bag", x)?;
    require_float("embedding_bag", w)?;
    let mode = a.str(6)?;
    let weights = a.opt_tensor(b, 8)?;
    if w.rank() != 2 {
        return Err(err::shape(format!(
            "`embedding_bag`: weight has to be a 2D Tensor, but got Tensor of dimension {}",
            w.rank()
        )));
    }
    if !matches!(mode, "sum" | "mean" | "max") {
        return Err(err::ty("`embedding_bag`: mode has to be one of sum, mean or max"));
    }
    if weights.is_some() && mode != "sum" {
        return Err(err::unsupported("`embedding_bag`: per_sample_weights is only supported for mode=\"sum\""));
    }
    let by_frequency = a.bool(5)?;
    if by_frequency && mode == "max" {
        return Err(err::ty("`embedding_bag`: max mode does not support scaling the gradient by the frequency"));
    }
    if weights.is_some_and(|s| s.shape() != x.shape() || s.dtype() != w.dtype()) {
        return Err(err::shape(
            "`embedding_bag`: per_sample_weights must have the shape of the input and the weight's dtype",
        ));
    }
    let (n, d, rows) = (x.numel(), w.shape()[1], w.shape()[0]);
    let (bag, count) = match (x.rank(), offsets) {
        (2, None) => {
            let (m, k) = (x.shape()[0], x.shape()[1]);
            (b.iota(n).floor_divide(b.int(k.max(1) as i64)), m)
        }
        (1, Some(o)) => bags(b, o, n, a.bool(9)?)?,
        (2, Some(_)) => return Err(err::ty("`embedding_bag`: if input is 2D, then offsets has to be None")),
        (1, None) => return Err(err::ty("`embedding_bag`: offsets has to be a 1D Tensor but got None")),
        _ => return Err(err::shape(format!("`embedding_bag`: input has to be 1D or 2D Tensor, but got {}", x.ty()))),
    };
    let picked = x.reshape(&[n]);
    if !a.is_none(3) {
        super::embedding::renorm(b, w, picked, a.float(3)?, a.float(4)?)?;
    }
    // What is padding, or lies before the first bag, goes to one more bag behind the others.
    let mut in_bag = bag.ge(b.int(0)).logical_and(bag.lt(b.int(count as i64)));
    if let Some(p) = a.opt_int(10)? {
        let p = axis(p, rows)? as i64;
        in_bag = in_bag.logical_and(picked.ne(b.int(p)));
    }
    let bag = in_bag.select(bag, b.int(count as i64));
    let work = w.dtype().compute();
    let mut values = along(w, 0, picked).cast(work);
    if by_frequency {
        values = super::embedding::by_frequency(values, picked, rows.into());
    }
    if let Some(s) = weights {
        values = values * s.reshape(&[n, 1]).cast(work);
    }
    let at = bag.unsqueeze(1).expand(&[n, d]);
    let fill = |v: Scalar| b.full(v, &[count + 1, d]);
    let y = match mode {
        "max" => fill(super::pool::least(work)).scatter(0, ScatterMode::Max, at, values),
        _ => fill(Scalar::from_f64(work, 0.0)).scatter(0, ScatterMode::Add, at, values),
    };
    let y = y.narrow(0, 0, count);
    let sizes = counts(bag, count + 1).narrow(0, 0, count).unsqueeze(1);
    let y = match mode {
        "sum" => y,
        "mean" => y / sizes.maximum(b.int(1)).cast(work),
        _ => row("where", &[sizes.eq(b.int(0)), y.zeros(), y])?,
    };
    Ok(y.cast(w.dtype()).copy())
}

/// The functions.
pub static FNS: &[FnDef] = &[FnDef {
    name: "embedding_bag",
    sig: "input, weight, offsets = None, max_norm: float? = None, norm_type: float = 2, scale_grad_by_freq: bool = false, \
          mode: str = mean, sparse: bool = false, per_sample_weights = None, include_last_offset: bool = false, \
          padding_idx: int? = None",
    example: "weight: D[4, 3] => embedding_bag(tensor([[0, 1], [3, 0]]), weight, mode=\"sum\")",
    doc: "The sum, mean or largest of rows of weight [n, d] for each bag of indices: a row of input [bags, k], or the indices \
          of a vector from one offset to the next. An empty bag gives 0. Indices padding_idx do not count. An index or an \
          offset out of range is an error. With max_norm, rows that are named are first scaled down in the memory of weight to \
          that norm_type-norm, which is no part of the gradient. With scale_grad_by_freq (not for \"max\") the gradient of a \
          row is divided by how often its index is there. Floats.",
    build: |b, a| Ok(embedding_bag(b, a)?.into()),
}];

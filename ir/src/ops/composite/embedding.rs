//! `embedding`: rows of a table.

use super::compact::counts;
use super::pick::{along, index_of};
use super::{row, unit};
use crate::builder::{Builder, Ex};
use crate::dim::Dim;
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::Op;
use crate::ops::registry::{Args, require_float, write};
use crate::types::axis;

/// The definition; the arguments are those of the table's `embedding`.
///
/// # Errors
/// `dtype` if the input is not of integers or the weight not of floats, `shape` if the weight is no matrix, `data` when it
/// runs if a row is out of range.
pub fn embedding<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (i, w) = (index_of("embedding", a.tensor(b, 0)?)?, a.tensor(b, 1)?);
    if w.rank() != 2 {
        return Err(err::shape(format!("`embedding`: `weight` must be 2-D, got {}", w.ty())));
    }
    let rows = w.dims()[0];
    let flat = i.reshape(&[i.count()]);
    if !a.is_none(3) {
        renorm(b, w, flat, a.float(3)?, a.float(4)?)?;
    }
    let table = match a.opt_int(2)? {
        Some(p) => {
            let p = axis(p, rows.value()? as usize)? as i64;
            let at = b.iota(rows).eq(b.number(Scalar::from_i64(DType::I64, p))).unsqueeze(1);
            row("where", &[at, w.apply(Op::Detach, &[]), w])?
        }
        None => w,
    };
    let mut y = along(table, 0, flat);
    if a.bool(5)? {
        y = by_frequency(y, flat, rows);
    }
    let mut shape = i.dims();
    shape.push(w.dims()[1]);
    Ok(y.reshape(&shape))
}

/// The rows `y` that a vector of indices has picked from so many, with gradients divided by how often each index is there.
pub fn by_frequency<'b>(y: Ex<'b>, index: Ex<'b>, rows: Dim) -> Ex<'b> {
    let count = counts(index, rows).gather(0, index).unsqueeze(1);
    // The value is y's, the gradient that of y / count. An infinity has no difference from itself.
    unit([y], |[y]| {
        let z = y / count.cast(y.dtype());
        let fixed = y.apply(Op::Detach, &[]);
        let moved = fixed + (z - z.apply(Op::Detach, &[]));
        fixed.map("isfinite", &[]).select(moved, fixed)
    })
}

/// Scales the rows that are named and whose norm is above the bound down to it, in the memory of `w`.
///
/// # Errors
/// `dtype` if `w` is not of floats, `alias` or `type` if it cannot be written to.
pub fn renorm<'b>(b: &'b Builder, w: Ex<'b>, index: Ex<'b>, most: f64, p: f64) -> Result<()> {
    require_float("embedding", w)?;
    let used = counts(index, w.dims()[0]).cast(DType::Bool).unsqueeze(1);
    let scaled = unit([w], |[w]| {
        let w = w.apply(Op::Detach, &[]);
        let norm = super::stats::vector_norm(w, p, &[1], true);
        let above = used.logical_and(norm.gt(norm.number(most)));
        above.select(w * (norm.number(most) / (norm + 1e-7)), w)
    });
    write(b, "embedding", w, scaled)
}

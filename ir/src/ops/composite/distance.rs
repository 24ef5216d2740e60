//! Distances between points: `pairwise_distance`, `cdist`, `pdist`. Half floats are rounded once.

use super::stats::vector_norm;
use super::{row, unit};
use crate::builder::{Builder, Ex};
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef, require_float};

/// The p-norm over the last dimension of `x - y + eps`; `x` and `y` broadcast.
///
/// # Errors
/// `shape` if they do not broadcast, or are scalars.
pub fn pairwise_distance<'b>(x: Ex<'b>, y: Ex<'b>, p: f64, eps: f64, keepdim: bool) -> Result<Ex<'b>> {
    let d = row("sub", &[x, y])? + eps;
    if d.rank() == 0 {
        return Err(err::shape("`pairwise_distance` of scalars: expected at least one dimension"));
    }
    Ok(vector_norm(d, p, &[d.rank() - 1], keepdim))
}

fn check_p(name: &str, p: f64) -> Result<()> {
    // Also NaN.
    if p >= 0.0 { Ok(()) } else { Err(err::ty(format!("`{name}` only supports non-negative p values"))) }
}

/// How PyTorch may compute Euclidean distances. A matrix product loses what two near points share, so that none is used.
const COMPUTE_MODES: [&str; 3] =
    ["use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"];

/// Distances between two sets of points `[.., m, d]` and `[.., n, d]`, `[.., m, n]`.
fn cdist<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, y, p) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.float(2)?);
    check_p("cdist", p)?;
    let mode = a.str(3)?;
    if !COMPUTE_MODES.contains(&mode) {
        return Err(err::ty(format!("{mode} is not a valid value for compute_mode"))
            .help(format!("one of {}, which all give the same", COMPUTE_MODES.join(", "))));
    }
    if x.rank() < 2 || y.rank() < 2 {
        return Err(err::shape(format!("`cdist` only supports at least 2D tensors, got {} and {}", x.ty(), y.ty())));
    }
    let columns = |e: Ex<'b>| e.shape()[e.rank() - 1];
    if columns(x) != columns(y) {
        let (m, n) = (columns(x), columns(y));
        return Err(err::shape(format!("`cdist`: X1 and X2 must have the same number of columns. X1: {m} X2: {n}")));
    }
    super::same_dtype("cdist", &[x, y])?;
    require_float("cdist", x)?;
    let (x, y) = (x.unsqueeze(x.rank() - 1), y.unsqueeze(y.rank() - 2));
    crate::types::broadcast(&x.shape(), &y.shape())
        .ok_or_else(|| crate::builder::broadcast_error("cdist", &[x.ty(), y.ty()]))?;
    Ok(unit([x, y], |[x, y]| {
        let d = x - y;
        vector_norm(d, p, &[d.rank() - 1], false)
    }))
}

/// Distances between the rows `i < j` of `[n, d]`, in that order.
fn pdist<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, p) = (a.tensor(b, 0)?, a.float(1)?);
    check_p("pdist", p)?;
    if x.rank() != 2 {
        return Err(err::shape(format!("`pdist` only supports 2D tensors, got: {}D", x.rank())));
    }
    require_float("pdist", x)?;
    let n = x.shape()[0];
    let [i, j] = super::grid::triangle_places(b, n, n, 1, false)?;
    let along = super::pick::along;
    Ok(unit([x], |[x]| vector_norm(along(x, 0, i) - along(x, 0, j), p, &[1], false)))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "pairwise_distance",
        sig: "x1, x2, p: float = 2.0, eps: float = 1e-6, keepdim: bool = false",
        example: "x1: D[2, 3], x2: D[2, 3] => pairwise_distance(x1, x2)",
        doc: "The p-norm over the last dimension of x1 - x2 + eps; they broadcast. Integers give f32. The gradient at distance 0 is 0.",
        build: |b, a| {
            let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            let dtype = super::arith::common(&[x, y]);
            let [x, y] = [x, y].map(|e| e.cast(dtype.compute()));
            Ok(pairwise_distance(x, y, a.float(2)?, a.float(3)?, a.bool(4)?)?.cast(dtype.to_float()).into())
        },
    },
    FnDef {
        name: "cdist",
        sig: "x1, x2, p: float = 2.0, compute_mode: str = use_mm_for_euclid_dist_if_necessary",
        example: "x1: D[2, 3], x2: D[4, 3] => cdist(x1, x2)",
        doc: "The p-norm distances between two sets of points [.., m, d] and [.., n, d], whose leading dimensions \
              broadcast, as [.., m, n]. Floats of one dtype. The gradient at distance 0 is 0. Differences are always \
              taken, whatever PyTorch's compute_mode says: a matrix product would lose what near points share.",
        build: |b, a| Ok(cdist(b, a)?.into()),
    },
    FnDef {
        name: "pdist",
        sig: "x, p: float = 2.0",
        example: "x: D[4, 3] => pdist(x)",
        doc: "The p-norm distances between the rows i < j of [n, d], row by row, as [n (n - 1) / 2]. Floats. The gradient at \
              distance 0 is 0.",
        build: |b, a| Ok(pdist(b, a)?.into()),
    },
];

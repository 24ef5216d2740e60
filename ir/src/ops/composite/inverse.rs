//! The inverse of matrices, by Gauss and Jordan's elimination with partial pivoting (Higham, Accuracy and Stability of
//! Numerical Algorithms, 14.4).
//!
//! One loop over the columns carries the matrix beside the identity, `[batch, n, 2n]`. Step `k` brings the largest element
//! of column `k`, from row `k` on, to row `k`, divides that row by it and takes multiples of it from all others. A pivot of
//! 0 is an error of the run. The derivative is that of the loop.

use super::row;
use crate::builder::{Builder, Ex};
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::ops::Op;
use crate::ops::control::{Body, Scan};
use crate::ops::reduce::ReduceKind;
use crate::ops::registry::{FnDef, require_float};
use crate::types::Type;

/// The rows with column `k` eliminated.
fn eliminate<'b>(b: &'b Builder, a: Ex<'b>, k: Ex<'b>, [m, n]: [usize; 2]) -> Result<Ex<'b>> {
    let thin = [m, n, 1];
    let index = |e: Ex<'b>, shape: &[usize]| e.reshape(&[1, 1, 1]).expand(shape);
    let here = |e: Ex<'b>| b.iota(n).unsqueeze(1).eq(e);
    let column = a.gather(2, index(k, &thin));
    let size = b.iota(n).unsqueeze(1).ge(k).select(column.abs(), column.number(-1.0));
    let p = size.apply(Op::Detach, &[]).reduce(ReduceKind::ArgMax, &[1], true);
    let of_row = |at: Ex<'b>| a.gather(1, at.expand(&[m, 1, 2 * n]));
    let (top, old) = (of_row(p), of_row(index(k, &[m, 1, 1])));
    let swapped = here(k).select(top, here(p).select(old, a));
    let pivot = top.gather(2, index(k, &[m, 1, 1]));
    // A singular matrix is beyond the last column, by which the check knows it.
    let singular = pivot.eq(pivot.number(0.0));
    let at = singular.select(index(k + b.int(n), &[m, 1, 1]), index(k, &[m, 1, 1]));
    let at = row("check_pivot", &[at, b.int(n)])?;
    let safe = at.eq(k).select(singular.select(pivot.number(1.0), pivot), pivot.number(1.0));
    let top = top / safe;
    Ok(here(k).select(top, swapped - swapped.gather(2, index(k, &thin)) * top))
}

/// The inverse of square matrices `[.., n, n]`.
///
/// # Errors
/// `shape` if they are not square, `dtype` unless of `f32` or `f64`.
pub fn inv<'b>(b: &'b Builder, x: Ex<'b>) -> Result<Ex<'b>> {
    let s = x.shape();
    let [.., rows, n] = *s else {
        return Err(err::shape("`inv`: The input tensor A must have at least 2 dimensions."));
    };
    if rows != n {
        return Err(err::shape(format!(
            "`inv`: A must be batches of square matrices, but they are {rows} by {n} matrices"
        )));
    }
    require_float("inv", x)?;
    let dtype = x.dtype();
    if dtype.is_half() {
        return Err(err::dtype(format!("`inv`: Low precision dtypes not supported. Got {dtype}")));
    }
    let m: usize = s[..s.len() - 2].iter().product();
    if m == 0 || n == 0 {
        return Ok(x.copy());
    }
    let params = [("a", Type::new(dtype, [m, n, 2 * n])), ("k", Type::new(DType::I64, [0usize; 0]))];
    let body = Body::written("inv_step", &params, |b, x| {
        let [a, k] = *x else { return Err(err::internal("`inv_step` has two parameters")) };
        Ok(vec![eliminate(b, a, k, [m, n])?])
    })?;
    let one = b.iota(n).unsqueeze(1).eq(b.iota(n)).cast(dtype).expand(&[m, n, n]);
    let start = super::join::cat(b, &[x.reshape(&[m, n, n]), one], 2)?;
    let scan = Scan { body, carries: 1, xs: 1, length: n.into(), reverse: false, save: false };
    Ok(start.apply(Op::Loop(scan), &[b.iota(n)]).narrow(2, n, n).reshape(&s))
}

/// The functions.
pub static FNS: &[FnDef] = &[FnDef {
    name: "inv",
    sig: "x",
    example: "x: D[2, 3, 3] => inv(x)",
    doc: "The inverse of square matrices [.., n, n], by elimination with partial pivoting. f32 or f64. A singular matrix is an \
          error of the run.",
    build: |b, a| Ok(inv(b, a.tensor(b, 0)?)?.into()),
}];

//! Composite functions: everything users call that is not an elementwise row, written over the builder.
//!
//! Each is declared once with PyTorch's name and argument order, and its definition is the decomposition into primitive
//! ops. On half floats a composite computes in `f32` and rounds once, at its end ([`unit`]).

pub mod activate;
pub mod arith;
pub mod create;
pub mod join;
pub mod pick;
pub mod reduce;
pub mod shape;
pub mod softmax;
pub mod split;
pub mod stats;

use super::elementwise::Row;
use super::registry::FnDef;
use crate::builder::Ex;
use crate::error::{Result, err};

/// All composites.
pub fn all() -> impl Iterator<Item = &'static FnDef> {
    let families = [
        activate::FNS,
        arith::FNS,
        create::FNS,
        join::FNS,
        pick::FNS,
        reduce::FNS,
        shape::FNS,
        softmax::FNS,
        split::FNS,
        stats::FNS,
    ];
    families.into_iter().flatten()
}

/// Computes one unit of rounding: if the first operand is of half floats, `f` gets the operands in `f32` and its result
/// is rounded to the first operand's dtype. Its gradient is rounded once likewise, since the cast's is a cast.
pub fn unit<'b, const N: usize>(x: [Ex<'b>; N], f: impl FnOnce([Ex<'b>; N]) -> Ex<'b>) -> Ex<'b> {
    let dtype = x[0].dtype();
    if !dtype.is_half() {
        return f(x);
    }
    f(x.map(widen)).cast(dtype)
}

/// Half floats as `f32`; anything else itself.
pub fn widen(x: Ex<'_>) -> Ex<'_> {
    if x.dtype().is_half() { x.cast(x.dtype().compute()) } else { x }
}

/// A row of the table on exactly these operands, with promotion and broadcasting.
///
/// # Errors
/// What the row says.
pub fn row<'b>(name: &'static str, x: &[Ex<'b>]) -> Result<Ex<'b>> {
    let values = x.iter().map(|e| e.value()).collect::<Result<Vec<_>>>()?;
    let r = Row::find(name).ok_or_else(|| err::name(format!("no elementwise function `{name}`")))?;
    let b = x[0].builder();
    Ok(b.ex(b.map(r, &values)?))
}

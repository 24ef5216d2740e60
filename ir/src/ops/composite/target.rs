//! The shapes that arguments name: with a -1 that is worked out, or that keeps an extent.

use super::create::sizes;
use crate::builder::Ex;
use crate::dim::{Dim, Dims, at_most, needs_sizes, product};
use crate::error::{Result, err};
use crate::types::{ShapeText, unstretched};

/// The target of `expand`: -1 keeps an extent.
pub fn expand_shape(dims: &[Dim], x: Ex<'_>) -> Result<Dims> {
    let from = x.dims();
    let lead = dims.len().checked_sub(from.len());
    let lead = lead.ok_or_else(|| err::shape(format!("`expand`: {}", unstretched(&from, dims))))?;
    let at = |(i, d): (usize, &Dim)| match *d {
        d if !d.is(-1) => Ok(d),
        _ if i >= lead => Ok(from[i - lead]),
        _ => Err(err::shape(format!(
            "`expand`: The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {i}"
        ))),
    };
    sizes(&dims.iter().enumerate().map(at).collect::<Result<Vec<Dim>>>()?)
}

/// A shape with its one -1 worked out.
///
/// # Errors
/// `shape` if it does not fit `numel` elements.
pub fn infer_shape(dims: &[Dim], numel: Dim) -> Result<Dims> {
    let text = ShapeText(dims);
    let invalid = || err::shape(format!("shape '{text}' is invalid for input of size {numel}"));
    if dims.iter().any(|d| d.known().is_some_and(|d| d < -1)) {
        return Err(err::shape(format!("invalid shape dimension in {text}")));
    }
    let is_hole = |d: &Dim| d.is(-1);
    let given: Dims = dims.iter().copied().filter(|d| !is_hole(d)).collect();
    for d in &given {
        if !at_most(0i64, *d)? {
            return Err(err::shape(format!("invalid shape dimension in {text}")));
        }
    }
    let known = product(&given);
    let holes = dims.len() - given.len();
    if holes > 1 {
        return Err(err::shape(format!("only one dimension can be inferred in {text}")));
    }
    if holes == 1 && known.is(0) && numel.known().is_some_and(|n| n != 0) {
        return Err(invalid());
    }
    if holes == 1 && known.is(0) {
        return Err(err::shape(format!(
            "cannot reshape tensor of {numel} elements into shape {text} because the unspecified dimension size -1 can be any \
             value and is ambiguous"
        )));
    }
    let hole = if holes == 0 {
        match known == numel {
            true => Dim::ZERO,
            // Other expressions may still be equal numbers.
            false if known.known().is_none() || numel.known().is_none() => return Err(needs_sizes(&numel.to_string())),
            false => return Err(invalid()),
        }
    } else {
        match numel.exact_div(known) {
            Some(d) => d,
            None if known.known().is_none() || numel.known().is_none() => return Err(needs_sizes(&numel.to_string())),
            None => return Err(invalid()),
        }
    };
    Ok(dims.iter().map(|d| if is_hole(d) { hole } else { *d }).collect())
}

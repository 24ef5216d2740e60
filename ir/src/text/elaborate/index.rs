//! Indexing with integers, slices, `...` and `None`: views.

use crate::builder::{Builder, Ex};
use crate::error::{Result, err};
use crate::ops::registry;
use crate::ops::{Op, view};
use crate::types::{Range, Shape};

/// One part of `x[…]`.
#[derive(Clone)]
pub enum IndexItem<'b> {
    /// One element; negative from the end.
    Int(i64),
    /// `start:stop:step`
    Slice {
        /// First element.
        start: Option<i64>,
        /// One past the last.
        stop: Option<i64>,
        /// Distance.
        step: Option<i64>,
    },
    /// `...`
    Ellipsis,
    /// `None`
    NewAxis,
    /// Elements named by a tensor.
    Tensor(Ex<'b>),
}

/// `x[items]`
///
/// # Errors
/// `index` if an item is out of range or there are too many.
pub fn index<'b>(b: &'b Builder, x: Ex<'b>, items: &[IndexItem<'b>]) -> Result<Ex<'b>> {
    let rank = x.rank();
    let taken = items.iter().filter(|i| !matches!(i, IndexItem::Ellipsis | IndexItem::NewAxis)).count();
    if taken > rank {
        return Err(err::index(format!("too many indices for tensor of dimension {rank}")));
    }
    let shape = x.shape();
    let mut ranges: Vec<Range> = Vec::new();
    let mut out = Shape::new();
    let all = |ranges: &mut Vec<Range>, out: &mut Shape| {
        let d = shape[ranges.len()];
        ranges.push(Range::all(d));
        out.push(d);
    };
    let mut open = true;
    for item in items {
        let d = ranges.len();
        match item {
            IndexItem::Int(i) => {
                let n = shape[d] as i64;
                if *i < -n || *i >= n {
                    return Err(err::index(format!("index {i} is out of bounds for dimension {d} with size {n}")));
                }
                ranges.push(Range { start: i.rem_euclid(n) as usize, len: 1, step: 1 });
            }
            IndexItem::Slice { start, stop, step } => {
                let n = shape[d] as i64;
                let step = step.unwrap_or(1);
                if step <= 0 {
                    return Err(err::index("slice step must be positive (step must be greater than zero)"));
                }
                let clip = |v: i64| if v < 0 { (v + n).max(0) } else { v.min(n) };
                let (from, to) = (clip(start.unwrap_or(0)), clip(stop.unwrap_or(n)));
                let len = if to > from { (to - from - 1) / step + 1 } else { 0 };
                ranges.push(Range { start: from as usize, len: len as usize, step: step as isize });
                out.push(len as usize);
            }
            IndexItem::Ellipsis if open => {
                open = false;
                for _ in 0..rank - taken {
                    all(&mut ranges, &mut out);
                }
            }
            IndexItem::Ellipsis => return Err(err::index("an index can only have a single ellipsis ('...')")),
            IndexItem::NewAxis => out.push(1),
            IndexItem::Tensor(_) => return Err(err::unsupported("indexing by a tensor")),
        }
    }
    while ranges.len() < rank {
        all(&mut ranges, &mut out);
    }
    let v = b.emit(Op::Slice(view::Slice(ranges.into())), &[x.value()?])?;
    if b.ty(v).shape == out {
        return Ok(b.ex(v));
    }
    Ok(b.ex(b.emit(Op::Reshape(view::Reshape(out)), &[v])?))
}

/// `x[items] = value`
///
/// # Errors
/// As [`index`], and what a write may not do.
pub fn set_index<'b>(b: &'b Builder, x: Ex<'b>, items: &[IndexItem<'b>], value: Ex<'b>) -> Result<()> {
    let view = index(b, x, items)?;
    registry::write(b, "=", view, value)
}

//! Indexing with Rust's own ranges: `x.i((1.., ..2))` is a view, `x.set((0,), 2.0)` writes through it.
//!
//! Negative numbers count from the end, ranges are clamped as in Python, `..` alone is a whole dimension,
//! [`IndexItem::Ellipsis`] stands for as many as fit, [`IndexItem::NewAxis`] adds a dimension.

use super::Repr;
use super::{Argument, Operand, Tensor, call, one, op};
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};
use std::sync::{Arc, LazyLock};
use tensorc_ir::error::err;
use tensorc_ir::{Loc, Result};

/// One entry of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexItem {
    /// One element; the dimension goes away.
    At(i64),
    /// `start..stop` by `step`, as Python's `start:stop:step`.
    Slice(Option<i64>, Option<i64>, i64),
    /// As many whole dimensions as are left.
    Ellipsis,
    /// A new dimension of extent 1.
    NewAxis,
}

/// What can stand in one place of an index.
pub trait Index {
    /// As an entry.
    fn item(&self) -> IndexItem;
}

macro_rules! index {
    ($($ty:ty: |$r:ident| $e:expr;)*) => {$(
        impl Index for $ty { fn item(&self) -> IndexItem { let $r = self; $e } }
    )*};
}

index! {
    i64: |i| IndexItem::At(*i);
    i32: |i| IndexItem::At(*i as i64);
    usize: |i| IndexItem::At(*i as i64);
    RangeFull: |_r| IndexItem::Slice(None, None, 1);
    Range<i64>: |r| IndexItem::Slice(Some(r.start), Some(r.end), 1);
    Range<i32>: |r| IndexItem::Slice(Some(r.start as i64), Some(r.end as i64), 1);
    Range<usize>: |r| IndexItem::Slice(Some(r.start as i64), Some(r.end as i64), 1);
    RangeFrom<i64>: |r| IndexItem::Slice(Some(r.start), None, 1);
    RangeFrom<i32>: |r| IndexItem::Slice(Some(r.start as i64), None, 1);
    RangeFrom<usize>: |r| IndexItem::Slice(Some(r.start as i64), None, 1);
    RangeTo<i64>: |r| IndexItem::Slice(None, Some(r.end), 1);
    RangeTo<i32>: |r| IndexItem::Slice(None, Some(r.end as i64), 1);
    RangeTo<usize>: |r| IndexItem::Slice(None, Some(r.end as i64), 1);
    RangeInclusive<usize>: |r| IndexItem::Slice(Some(*r.start() as i64), Some((*r.end() as i64).saturating_add(1)), 1);
    RangeToInclusive<usize>: |r| IndexItem::Slice(None, Some((r.end as i64).saturating_add(1)), 1);
    IndexItem: |i| *i;
}

/// A whole index: one entry or a tuple of them.
pub trait Indices {
    /// Its entries.
    fn items(&self) -> Vec<IndexItem>;
}

impl<T: Index> Indices for T {
    fn items(&self) -> Vec<IndexItem> {
        vec![self.item()]
    }
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),+);)*) => {$(
        impl<$($t: Index),+> Indices for ($($t,)+) {
            fn items(&self) -> Vec<IndexItem> { vec![$(self.$i.item()),+] }
        }
    )*};
}

tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
}

/// What an index is called after its last entry: made once, since indexing is done all the time.
static NAMES: LazyLock<[Arc<str>; 4]> = LazyLock::new(|| ["select", "slice", "unsqueeze", "alias"].map(Arc::from));

impl Tensor {
    /// The elements at an index, as a view that shares memory: `x.i((0, 1..3))?`.
    ///
    /// # Errors
    /// `index` if an element is out of range, there are more entries than dimensions, or a step is below 1.
    #[track_caller]
    pub fn i(&self, index: impl Indices) -> Result<Tensor> {
        // In a closure it would be the closure's own line.
        let loc = Loc::caller();
        self.view_at(&index.items()).map_err(|e| e.at(loc))
    }

    /// Writes a value to an index, broadcasting and casting it.
    ///
    /// # Errors
    /// As [`Tensor::i`]; `shape` if the value does not broadcast, `alias` if the memory may not be written.
    #[track_caller]
    pub fn set(&self, index: impl Indices, value: impl Operand) -> Result<()> {
        let loc = Loc::caller();
        let view = self.view_at(&index.items()).map_err(|e| e.at(loc))?;
        view.copy_(value).map(|_| ())
    }

    #[track_caller]
    fn view_at(&self, items: &[IndexItem]) -> Result<Tensor> {
        if let Repr::Traced(t) = &self.0
            && t.ty.extents().is_err()
        {
            return t.at(items);
        }
        let shape = self.shape();
        let taken = items.iter().filter(|i| matches!(i, IndexItem::At(_) | IndexItem::Slice(..))).count();
        let ellipses = items.iter().filter(|i| **i == IndexItem::Ellipsis).count();
        if ellipses > 1 {
            return Err(err::index("an index can only have a single ellipsis ('...')"));
        }
        if taken > shape.len() {
            return Err(err::index(format!("too many indices for tensor of dimension {}: got {taken}", shape.len())));
        }
        let (mut start, mut len, mut step) =
            (vec![0i64; shape.len()], vec![0i64; shape.len()], vec![1i64; shape.len()]);
        for (d, n) in shape.iter().enumerate() {
            len[d] = *n as i64;
        }
        let mut out: Vec<i64> = Vec::new();
        let mut d = 0;
        for item in items {
            match *item {
                IndexItem::At(i) => {
                    let n = shape[d] as i64;
                    if i < -n || i >= n {
                        return Err(err::index(format!("index {i} is out of bounds for dimension {d} with size {n}")));
                    }
                    (start[d], len[d]) = (if i < 0 { i + n } else { i }, 1);
                    d += 1;
                }
                IndexItem::Slice(from, to, by) => {
                    let n = shape[d] as i64;
                    if by < 1 {
                        return Err(err::index(format!("step must be greater than zero, got {by}")));
                    }
                    let clamp = |i: i64| if i < 0 { (i + n).max(0) } else { i.min(n) };
                    let (a, b) = (from.map_or(0, clamp), to.map_or(n, clamp));
                    let count = (b - a).max(0);
                    (start[d], step[d]) = (a, by);
                    len[d] = count / by + (count % by != 0) as i64;
                    out.push(len[d]);
                    d += 1;
                }
                IndexItem::Ellipsis => {
                    for _ in 0..shape.len() - taken {
                        out.push(shape[d] as i64);
                        d += 1;
                    }
                }
                IndexItem::NewAxis => out.push(1),
            }
        }
        out.extend(shape[d..].iter().map(|n| *n as i64));
        for (s, l) in start.iter_mut().zip(&len) {
            // An empty slice may begin at the end, where no element is.
            *s = if *l == 0 { 0 } else { *s };
        }
        let list = |v: &[i64]| Argument::from(v);
        let sliced = one(call(
            "slice",
            &[
                (None, self.into()),
                (Some("start"), list(&start)),
                (Some("len"), list(&len)),
                (Some("step"), list(&step)),
            ],
        )?)?;
        let view = op("view", [(&sliced).into(), list(&out)])?;
        let last = items.iter().rev().find(|i| **i != IndexItem::Ellipsis);
        Ok(view.made_by(
            &NAMES[last.map_or(3, |i| match i {
                IndexItem::At(_) => 0,
                IndexItem::Slice(..) => 1,
                IndexItem::NewAxis => 2,
                IndexItem::Ellipsis => 3,
            })],
        ))
    }
}

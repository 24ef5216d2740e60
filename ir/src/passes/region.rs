//! Which part of a base a view is, in the form in which a write to it is one `slice_update`.
//!
//! The idea: slices, permutations and reshapes that only add or drop dimensions of extent 1, in any order and number, come
//! down to one slice of the base whose dimensions are then reordered. So a write through such a chain touches its region
//! and nothing else, and whether two of them overlap is decided exactly, dimension by dimension. Chains that are more than
//! that (a reshape that merges dimensions, a diagonal) have no region; functionalize starts a new one behind them.

use crate::builder::Ex;
use crate::dim::{Dim, Dims};
use crate::error::Result;
use crate::graph::{Graph, NodeId, Value};
use crate::ops::{Op, view};
use crate::passes::fuse;
use crate::types::Span;
use smallvec::SmallVec;
use std::fmt;

/// A slice of a base with its dimensions reordered.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// The slice, one range for each dimension of the base.
    ranges: SmallVec<[Span; 4]>,
    /// For each dimension of the view, the dimension of the base that it walks; `None` for one that walks none, since it
    /// was added or stretched. Every dimension of the base with a range longer than 1 stands here.
    dims: SmallVec<[Option<usize>; 4]>,
    /// The view's extents.
    shape: Dims,
    /// The base's extents.
    base: Dims,
}

impl Region {
    /// All of a base of that shape.
    pub fn whole(base: &[Dim]) -> Region {
        Region {
            ranges: base.iter().map(|d| Span::all(*d)).collect(),
            dims: (0..base.len()).map(Some).collect(),
            shape: base.into(),
            base: base.into(),
        }
    }

    /// The value whose memory a value of a traced graph is a part of, and the part; no region if it is more than a slice
    /// and an order, or if that depends on sizes.
    pub fn of(g: &Graph, v: Value) -> (Value, Option<Region>) {
        let (root, views) = fuse::source(g, v);
        let through = |r: Region, n: &NodeId| r.through(g.op(*n), &g.ty((*n).into()).shape).ok().flatten();
        (root, views.iter().rev().try_fold(Region::whole(&g.ty(root).shape), through))
    }

    /// The region of a view of this view, which has the extents `shape`; `None` if it is more than a slice and an order.
    ///
    /// # Errors
    /// One that says that sizes must be known to tell.
    pub fn through(&self, op: &Op, shape: &[Dim]) -> Result<Option<Region>> {
        let mut out = Region { shape: shape.into(), ..self.clone() };
        match op {
            Op::Detach => {}
            Op::Permute(p) => out.dims = p.0.iter().map(|i| self.dims[*i]).collect(),
            Op::Slice(s) => {
                for (d, r) in self.dims.iter().zip(&s.0) {
                    if let Some(d) = d {
                        out.ranges[*d] = compose(self.ranges[*d], *r);
                    }
                }
            }
            Op::Reshape(view::Reshape(to)) => match self.regrouped(to) {
                Some(dims) => out.dims = dims,
                None => return Ok(None),
            },
            Op::Expand(view::Expand(to)) => {
                let lead = to.len() - self.shape.len();
                let kept = |i: usize| self.dims[i].filter(|_| self.shape[i] == to[i + lead]);
                out.dims = std::iter::repeat_n(None, lead).chain((0..self.shape.len()).map(kept)).collect();
            }
            _ => return Ok(None),
        }
        Ok(Some(out))
    }

    /// The dimensions in another shape that has the same extents but for ones.
    fn regrouped(&self, to: &[Dim]) -> Option<SmallVec<[Option<usize>; 4]>> {
        let mut long = self.shape.iter().zip(&self.dims).filter(|(d, _)| !d.is(1));
        let dims = to
            .iter()
            .map(|t| match t.is(1) {
                true => Some(None),
                false => long.next().filter(|(d, _)| *d == t).map(|(_, at)| *at),
            })
            .collect::<Option<_>>()?;
        long.next().is_none().then_some(dims)
    }

    /// Whether some element of the base stands here more than once.
    pub fn repeats(&self) -> bool {
        self.dims.iter().zip(&self.shape).any(|(d, n)| d.is_none() && !n.is(1) && !n.is(0))
    }

    /// The base with `value`, of this view's shape, written here. No element may stand here more than once.
    pub fn update<'b>(&self, base: Ex<'b>, value: Ex<'b>) -> Ex<'b> {
        let walked: Vec<(usize, Dim)> =
            self.dims.iter().enumerate().filter_map(|(i, d)| d.map(|d| (d, self.shape[i]))).collect();
        let kept: Vec<Dim> = walked.iter().map(|(_, n)| *n).collect();
        let mut order: Vec<usize> = (0..walked.len()).collect();
        order.sort_unstable_by_key(|i| walked[*i].0);
        let lens: Vec<Dim> = self.ranges.iter().map(|r| r.len).collect();
        let value = value.reshape(&kept).permute(&order).reshape(&lens);
        if self.ranges.iter().zip(&self.base).all(|(r, d)| *r == Span::all(*d)) {
            // A node of its own, so that what was written and the memory it was written to are different values.
            value.copy()
        } else {
            base.slice_update(&self.ranges, value)
        }
    }

    /// Whether two regions of one base have an element in common, or may have one for some sizes.
    pub fn overlaps(&self, other: &Region) -> bool {
        self.ranges.iter().zip(&other.ranges).all(|(a, b)| meet(*a, *b).unwrap_or(true))
    }
}

/// As an index of the base: `[2:4, :, ::2]`.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(r, d): (&Span, &Dim)| {
            let stop = r.start + (r.len - 1) * r.step + 1;
            let step = if r.step == 1 || r.len.is(1) { String::new() } else { format!(":{}", r.step) };
            match (*r == Span::all(*d), r.len.is(1)) {
                (true, _) => ":".to_string(),
                (_, true) => r.start.to_string(),
                _ => format!("{}:{stop}{step}", r.start),
            }
        };
        let all: Vec<String> = self.ranges.iter().zip(&self.base).map(one).collect();
        write!(f, "[{}]", all.join(", "))
    }
}

/// Elements `inner` of elements `outer`: `outer.start + (inner.start + i * inner.step) * outer.step`.
pub fn compose(outer: Span, inner: Span) -> Span {
    if inner.len.is(0) {
        return Span { start: Dim::ZERO, len: Dim::ZERO, step: 1 };
    }
    let start = outer.start + inner.start * outer.step;
    // The step of a single element says nothing; 1 makes equal spans equal.
    let step = if inner.len.is(1) { 1 } else { outer.step * inner.step };
    Span { start, len: inner.len, step }
}

/// Whether two arithmetic progressions have an element in common; `None` if that depends on sizes.
pub fn meet(a: Span, b: Span) -> Option<bool> {
    if a.len.is(0) || b.len.is(0) {
        return Some(false);
    }
    let known = |s: Span| Some((s.start.known()?, s.last().known()?, if s.len.is(1) { 1 } else { s.step }));
    let Some(((a0, a1, a2), (b0, b1, b2))) = known(a).zip(known(b)) else {
        // One ends before the other begins, whatever the sizes.
        let below = |a: Span, b: Span| a.step > 0 && b.step > 0 && (b.start - a.last() - 1).least() >= Some(0);
        return if below(a, b) || below(b, a) { Some(false) } else { None };
    };
    // Ascending, as (first, last, step).
    let (mut a, mut b) = ((a0.min(a1), a0.max(a1), a2.abs()), (b0.min(b1), b0.max(b1), b2.abs()));
    if a.2 < b.2 {
        std::mem::swap(&mut a, &mut b);
    }
    let (low, high) = (a.0.max(b.0), a.1.min(b.1));
    // Walk the coarser one; after as many elements as the finer one's step the remainders repeat.
    let first = a.0 + (low - a.0 + a.2 - 1).max(0) / a.2 * a.2;
    Some((0..b.2).map(|i| first + i * a.2).take_while(|x| *x <= high).any(|x| (x - b.0) % b.2 == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = Span> {
        (0i64..12, 0i64..5, prop_oneof![1i64..5, -4i64..0])
            .prop_filter("inside", |(s, n, t)| *n == 0 || s + (n - 1) * t >= 0)
            .prop_map(|(start, len, step)| Span { start: start.into(), len: len.into(), step })
    }

    fn elements(r: Span) -> Vec<i64> {
        (0..r.len.known().unwrap()).map(|i| r.start.known().unwrap() + i * r.step).collect()
    }

    proptest! {
        #[test]
        fn progressions_meet_where_they_share_an_element(a in range(), b in range()) {
            prop_assert_eq!(meet(a, b).unwrap(), elements(a).iter().any(|x| elements(b).contains(x)));
        }

        #[test]
        fn a_slice_of_a_slice_is_a_slice(outer in range(), start in 0i64..4, len in 0i64..4, step in 1i64..3) {
            prop_assume!(len == 0 || start + (len - 1) * step < outer.len.known().unwrap());
            let inner = Span { start: start.into(), len: len.into(), step };
            let all = elements(outer);
            let picked: Vec<i64> = elements(inner).iter().map(|i| all[*i as usize]).collect();
            prop_assert_eq!(elements(compose(outer, inner)), picked);
        }
    }

    fn span(start: i64, len: i64) -> Span {
        Span { start: start.into(), len: len.into(), step: 1 }
    }

    fn dims(shape: &[i64]) -> Dims {
        shape.iter().map(|d| Dim::from(*d)).collect()
    }

    #[test]
    fn a_chain_of_views_is_one_region() {
        // x[1:3].T.unsqueeze(1)[2, 0] of a 4 by 5 matrix: column 2 of rows 1 and 2.
        let rows = Op::Slice(view::Slice([span(1, 2), span(0, 5)].into_iter().collect()));
        let turned = Op::Permute(view::Permute([1, 0].into_iter().collect()));
        let wide = Op::Reshape(view::Reshape(dims(&[5, 1, 2])));
        let pick = Op::Slice(view::Slice([span(2, 1), span(0, 1), span(0, 2)].into_iter().collect()));
        let r = Region::whole(&dims(&[4, 5]))
            .through(&rows, &dims(&[2, 5]))
            .unwrap()
            .and_then(|r| r.through(&turned, &dims(&[5, 2])).unwrap())
            .and_then(|r| r.through(&wide, &dims(&[5, 1, 2])).unwrap())
            .and_then(|r| r.through(&pick, &dims(&[1, 1, 2])).unwrap())
            .unwrap();
        assert_eq!(r.ranges.as_slice(), [span(1, 2), span(2, 1)]);
        assert_eq!(r.dims.as_slice(), [Some(1), None, Some(0)]);
        assert_eq!(r.to_string(), "[1:3, 2]");
        // Merging dimensions is more than a region.
        let flat = Op::Reshape(view::Reshape(dims(&[20])));
        assert!(Region::whole(&dims(&[4, 5])).through(&flat, &dims(&[20])).unwrap().is_none());
    }
}

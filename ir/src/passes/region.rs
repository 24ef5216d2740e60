//! Which part of a base a view is, in the form in which a write to it is one `slice_update`.
//!
//! The idea: slices, permutations and reshapes that only add or drop dimensions of extent 1, in any order and number, come
//! down to one slice of the base whose dimensions are then reordered. So a write through such a chain touches its region
//! and nothing else, and whether two of them overlap is decided exactly, dimension by dimension. Chains that are more than
//! that (a reshape that merges dimensions, a diagonal) have no region; functionalize starts a new one behind them.

use crate::builder::Ex;
use crate::ops::{Op, view};
use crate::types::{Range, Shape};
use smallvec::SmallVec;

/// A slice of a base with its dimensions reordered.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// The slice, one range for each dimension of the base.
    ranges: SmallVec<[Range; 4]>,
    /// For each dimension of the view, the dimension of the base that it walks; `None` for one that walks none, since it
    /// was added or stretched. Every dimension of the base with a range longer than 1 stands here.
    dims: SmallVec<[Option<usize>; 4]>,
    /// The view's extents.
    shape: Shape,
    /// The base's extents.
    base: Shape,
}

impl Region {
    /// All of a base of that shape.
    pub fn whole(base: &[usize]) -> Region {
        Region {
            ranges: base.iter().map(|d| Range::all(*d)).collect(),
            dims: (0..base.len()).map(Some).collect(),
            shape: base.into(),
            base: base.into(),
        }
    }

    /// The region of a view of this view, which has the extents `shape`; `None` if it is more than a slice and an order.
    pub fn through(&self, op: &Op, shape: &[usize]) -> Option<Region> {
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
            Op::Reshape(view::Reshape(to)) => out.dims = self.regrouped(to)?,
            Op::Expand(view::Expand(to)) => {
                let lead = to.len() - self.shape.len();
                let kept = |i: usize| self.dims[i].filter(|_| self.shape[i] == to[i + lead]);
                out.dims = std::iter::repeat_n(None, lead).chain((0..self.shape.len()).map(kept)).collect();
            }
            _ => return None,
        }
        Some(out)
    }

    /// The dimensions in another shape that has the same extents but for ones.
    fn regrouped(&self, to: &[usize]) -> Option<SmallVec<[Option<usize>; 4]>> {
        let mut long = self.shape.iter().zip(&self.dims).filter(|(d, _)| **d != 1);
        let dims = to
            .iter()
            .map(|t| match *t {
                1 => Some(None),
                t => long.next().filter(|(d, _)| **d == t).map(|(_, at)| *at),
            })
            .collect::<Option<_>>()?;
        long.next().is_none().then_some(dims)
    }

    /// Whether some element of the base stands here more than once.
    pub fn repeats(&self) -> bool {
        self.dims.iter().zip(&self.shape).any(|(d, n)| d.is_none() && *n > 1)
    }

    /// The base with `value`, of this view's shape, written here. No element may stand here more than once.
    pub fn update<'b>(&self, base: Ex<'b>, value: Ex<'b>) -> Ex<'b> {
        let walked: Vec<(usize, usize)> =
            self.dims.iter().enumerate().filter_map(|(i, d)| d.map(|d| (d, self.shape[i]))).collect();
        let kept: Vec<usize> = walked.iter().map(|(_, n)| *n).collect();
        let mut order: Vec<usize> = (0..walked.len()).collect();
        order.sort_unstable_by_key(|i| walked[*i].0);
        let lens: Vec<usize> = self.ranges.iter().map(|r| r.len).collect();
        let value = value.reshape(&kept).permute(&order).reshape(&lens);
        if self.ranges.iter().zip(&self.base).all(|(r, d)| *r == Range::all(*d)) {
            // A node of its own, so that what was written and the memory it was written to are different values.
            value.copy()
        } else {
            base.slice_update(&self.ranges, value)
        }
    }

    /// Whether two regions of one base have an element in common.
    pub fn overlaps(&self, other: &Region) -> bool {
        self.ranges.iter().zip(&other.ranges).all(|(a, b)| meet(*a, *b))
    }
}

/// Elements `inner` of elements `outer`: `outer.start + (inner.start + i * inner.step) * outer.step`.
pub fn compose(outer: Range, inner: Range) -> Range {
    if inner.len == 0 {
        return Range { start: 0, len: 0, step: 1 };
    }
    let start = outer.start as isize + inner.start as isize * outer.step;
    // The step of a single element says nothing; 1 makes equal ranges equal.
    let step = if inner.len == 1 { 1 } else { outer.step * inner.step };
    Range { start: start as usize, len: inner.len, step }
}

/// Whether two arithmetic progressions have an element in common.
pub fn meet(a: Range, b: Range) -> bool {
    if a.len == 0 || b.len == 0 {
        return false;
    }
    // Ascending, as (first, last, step).
    let ascending = |r: Range| {
        let end = r.start as isize + (r.len as isize - 1) * r.step;
        (end.min(r.start as isize), end.max(r.start as isize), if r.len == 1 { 1 } else { r.step.abs() })
    };
    let (mut a, mut b) = (ascending(a), ascending(b));
    if a.2 < b.2 {
        std::mem::swap(&mut a, &mut b);
    }
    let (low, high) = (a.0.max(b.0), a.1.min(b.1));
    // Walk the coarser one; after as many elements as the finer one's step the remainders repeat.
    let first = a.0 + (low - a.0 + a.2 - 1).max(0) / a.2 * a.2;
    (0..b.2).map(|i| first + i * a.2).take_while(|x| *x <= high).any(|x| (x - b.0) % b.2 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = Range> {
        (0usize..12, 0usize..5, prop_oneof![1isize..5, -4isize..0])
            .prop_filter("inside", |(s, n, t)| *n == 0 || *s as isize + (*n as isize - 1) * t >= 0)
            .prop_map(|(start, len, step)| Range { start, len, step })
    }

    fn elements(r: Range) -> Vec<isize> {
        (0..r.len as isize).map(|i| r.start as isize + i * r.step).collect()
    }

    proptest! {
        #[test]
        fn progressions_meet_where_they_share_an_element(a in range(), b in range()) {
            prop_assert_eq!(meet(a, b), elements(a).iter().any(|x| elements(b).contains(x)));
        }

        #[test]
        fn a_slice_of_a_slice_is_a_slice(outer in range(), start in 0usize..4, len in 0usize..4, step in 1isize..3) {
            prop_assume!(len == 0 || start + (len - 1) * (step as usize) < outer.len);
            let inner = Range { start, len, step };
            let all = elements(outer);
            let picked: Vec<isize> = elements(inner).iter().map(|i| all[*i as usize]).collect();
            prop_assert_eq!(elements(compose(outer, inner)), picked);
        }
    }

    #[test]
    fn a_chain_of_views_is_one_region() {
        // x[1:3].T.unsqueeze(1)[2, 0] of a 4 by 5 matrix: column 2 of rows 1 and 2.
        let rows = Op::Slice(view::Slice([Range { start: 1, len: 2, step: 1 }, Range::all(5)].into_iter().collect()));
        let turned = Op::Permute(view::Permute([1, 0].into_iter().collect()));
        let wide = Op::Reshape(view::Reshape([5, 1, 2].into_iter().collect()));
        let pick = Op::Slice(view::Slice(
            [Range { start: 2, len: 1, step: 1 }, Range::all(1), Range::all(2)].into_iter().collect(),
        ));
        let r = Region::whole(&[4, 5])
            .through(&rows, &[2, 5])
            .and_then(|r| r.through(&turned, &[5, 2]))
            .and_then(|r| r.through(&wide, &[5, 1, 2]))
            .and_then(|r| r.through(&pick, &[1, 1, 2]))
            .unwrap();
        assert_eq!(r.ranges.as_slice(), [Range { start: 1, len: 2, step: 1 }, Range { start: 2, len: 1, step: 1 }]);
        assert_eq!(r.dims.as_slice(), [Some(1), None, Some(0)]);
        // Merging dimensions is more than a region.
        let flat = Op::Reshape(view::Reshape([20].into_iter().collect()));
        assert!(Region::whole(&[4, 5]).through(&flat, &[20]).is_none());
    }
}

//! One pass of a merge sort (von Neumann's, by way of Knuth, "Sorting and Searching", 5.2.4): of an order in which runs of
//! some width are sorted, the order in which runs of twice that width are.
//!
//! An order is `i64` positions along an axis. Starting from 0, 1, 2, …, passes of width 1, 2, 4, … sort the axis, in
//! n log n steps, and stably: of equal keys the one from the left run comes first. NaN is larger than every number, and
//! `-0.0` equals `0.0`. A pass is one loop over its results with one counter, so it is a kernel like any other, and the
//! same one for every width and extent. Nothing is written but the result, so it is also right where a backend finds
//! each place by searching instead.

use super::{Lanes, Structural};
use crate::builder::Ex;
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::interp::{Array, function};
use crate::scalar::{Block, V};
use crate::types::Type;
use smallvec::{SmallVec, smallvec};

/// Neighbouring runs of `width` elements of an order, each sorted by the keys, merged. Operands: `keys, order`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merge {
    /// The axis that is sorted.
    pub axis: usize,
    /// Elements of a run; the last one may be shorter.
    pub width: usize,
    /// Whether the largest key comes first.
    pub descending: bool,
}

impl Merge {
    /// Appends whether key `p` comes before key `q`, as bool.
    pub fn before(&self, b: &mut Block, p: V, q: V) -> V {
        let (p, q) = if self.descending { (q, p) } else { (p, q) };
        let below = b.lt(p, q);
        if !b.ty(p).is_float() {
            return below;
        }
        let (nan, number) = (b.ne(q, q), b.eq(p, p));
        let last = b.and(nan, number);
        b.or(below, last)
    }
}

impl Structural for Merge {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        let fits = self.axis < x[0].rank() && self.width > 0 && x[0].shape == x[1].shape && x[1].dtype == DType::I64;
        if !fits {
            return Err(err::ty(format!(
                "`merge_runs` of width {} along {} of {}, by {}",
                self.width, self.axis, x[0], x[1]
            )));
        }
        if x[0].dtype == DType::Bool {
            return Err(err::dtype("`merge_runs` takes numbers as keys"));
        }
        Ok(smallvec![Type::new(DType::I64, x[0].shape.iter().copied())])
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        let (keys, order, shape) = (x[0].bits(), x[1].bits(), x[0].shape());
        let n = shape[self.axis];
        let inner: usize = shape[self.axis + 1..].iter().product();
        let reg = x[0].dtype.reg();
        let mut before = function([reg; 2], |b, [p, q]| self.before(b, p, q));
        let mut out = order.clone();
        for row in 0..keys.len() / n.max(1) {
            // Element i of the row.
            let at = |i: usize| row / inner * n * inner + row % inner + i * inner;
            let key = |i: u64| keys[at((i as i64).clamp(0, n as i64 - 1) as usize)];
            for start in (0..n).step_by(self.width.saturating_mul(2)) {
                let middle = start.saturating_add(self.width).min(n);
                let end = middle.saturating_add(self.width).min(n);
                let (mut l, mut r) = (start, middle);
                for k in start..end {
                    let right = r < end && (l >= middle || before([key(order[at(r)]), key(order[at(l)])]) != 0);
                    let from = if right { &mut r } else { &mut l };
                    out[at(k)] = order[at(*from)];
                    *from += 1;
                }
            }
        }
        Ok(Array::new(DType::I64, shape, out))
    }

    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![None, None]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        let x = lanes.all(x);
        vec![x[0].merge(x[1], Merge { axis: self.axis + 1, ..*self })]
    }
    fn jvp_all<'b>(&self, _: &[Ex<'b>], _: &[Ex<'b>], _: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        Some(vec![None])
    }

    fn attrs(&self) -> String {
        format!("dim={}, width={}, descending={}", self.axis, self.width, self.descending)
    }
}

//! Shapes, and the type of a value.
//!
//! A [`Type`] (dtype and extents, which may be symbolic) belongs to a value of the graph; where its elements lie is a
//! [`crate::Layout`]'s to say, which belongs to memory and never to an edge of the graph.

use crate::dim::{Dim, Dims, at_most, extents, product};
use crate::dtype::DType;
use crate::error::{Result, err};
use smallvec::SmallVec;
use std::fmt;

/// The extents of a tensor, outermost first. No entry is a scalar.
pub type Shape = SmallVec<[usize; 4]>;

/// Strides in elements, outermost first.
pub type Strides = SmallVec<[isize; 4]>;

/// Dtype and shape of a value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Type {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Dims,
    /// Whether this is a plain number (a Rust or `.tc` literal): it takes part in promotion by its category only.
    pub weak: bool,
}

impl Type {
    /// A tensor type.
    pub fn new<D: Into<Dim>>(dtype: DType, shape: impl IntoIterator<Item = D>) -> Type {
        Type { dtype, shape: shape.into_iter().map(Into::into).collect(), weak: false }
    }

    /// The type of a plain number.
    pub fn number(dtype: DType) -> Type {
        Type { dtype, shape: Dims::new(), weak: true }
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn count(&self) -> Dim {
        product(&self.shape)
    }

    /// The extents, if they are known.
    ///
    /// # Errors
    /// One that says that sizes must be known.
    pub fn extents(&self) -> Result<Shape> {
        extents(&self.shape)
    }

    /// Whether it is known to have no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&Dim::ZERO)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, ShapeText(&self.shape))
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Prints a shape as `[2, 3]`.
pub struct ShapeText<'a, D>(pub &'a [D]);

impl<D: fmt::Display> fmt::Display for ShapeText<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, d) in self.0.iter().enumerate() {
            write!(f, "{}{d}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

/// The number of elements of a shape, or an error if it does not fit in memory on any machine.
pub fn checked_numel(shape: &[usize]) -> Result<usize> {
    shape
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(*d))
        .filter(|n| *n <= (1 << 47))
        .ok_or_else(|| err::shape(format!("a tensor of shape {} is too large", ShapeText(shape))))
}

/// As [`checked_numel`]; what is symbolic may be as large as it likes until it is known.
pub fn checked_count(dims: &[Dim]) -> Result<Dim> {
    match extents(dims) {
        Ok(shape) => checked_numel(&shape).map(Dim::from),
        Err(_) => Ok(product(dims)),
    }
}

/// The shape that `a` and `b` broadcast to, by the rule of NumPy and PyTorch: align at the right, 1 stretches.
///
/// A symbolic extent stretches no more than another: it goes with a known 1 or with an equal expression.
pub fn broadcast<D: Copy + PartialEq + PartialEq<usize> + From<usize>>(a: &[D], b: &[D]) -> Option<SmallVec<[D; 4]>> {
    let rank = a.len().max(b.len());
    let at = |s: &[D], i: usize| (i + s.len()).checked_sub(rank).map_or(D::from(1), |j| s[j]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (x, y) if x == 1usize => Some(y),
            (x, y) if y == 1usize => Some(x),
            _ => None,
        })
        .collect()
}

/// In what two shapes differ that do not broadcast, in PyTorch's words.
pub fn unequal<D: Copy + PartialEq + PartialEq<usize> + fmt::Display>(a: &[D], b: &[D]) -> String {
    let rank = a.len().max(b.len());
    let at = |s: &[D], i: usize| (i + s.len()).checked_sub(rank).map(|j| s[j]);
    let differs = |x: &D, y: &D| x != y && *x != 1usize && *y != 1usize;
    let pairs = (0..rank).rev().filter_map(|i| Some((i, at(a, i)?, at(b, i)?)));
    let found = pairs.into_iter().find(|(_, x, y)| differs(x, y));
    match found {
        Some((i, x, y)) => {
            format!("The size of tensor a ({x}) must match the size of tensor b ({y}) at non-singleton dimension {i}")
        }
        None => format!("{} and {} do not broadcast", ShapeText(a), ShapeText(b)),
    }
}

/// In what a shape differs from one that it does not stretch to, in PyTorch's words.
pub fn unstretched(from: &[Dim], to: &[Dim]) -> String {
    let Some(lead) = to.len().checked_sub(from.len()) else {
        return format!(
            "the number of sizes provided ({}) must be greater or equal to the number of dimensions in the tensor ({})",
            to.len(),
            from.len()
        );
    };
    let both = format!("Target sizes: {}. Tensor sizes: {}", ShapeText(to), ShapeText(from));
    match (0..from.len()).rev().find(|i| from[*i] != to[lead + i] && !from[*i].is(1)) {
        Some(i) => format!(
            "The expanded size of the tensor ({}) must match the existing size ({}) at non-singleton dimension {}. {both}",
            to[lead + i],
            from[i],
            lead + i
        ),
        None => both,
    }
}

/// The axis `dim` of a tensor of `rank` dimensions, negative ones counted from the end; scalars have one axis.
pub fn axis(dim: i64, rank: usize) -> Result<usize> {
    let r = rank.max(1) as i64;
    if dim < -r || dim >= r {
        return Err(err::index(format!(
            "Dimension out of range (expected to be in range of [-{r}, {}], but got {dim})",
            r - 1
        )));
    }
    Ok(if dim < 0 { (dim + r) as usize } else { dim as usize })
}

/// Which elements of a base a slice takes, one entry for each dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// First element taken.
    pub start: usize,
    /// How many.
    pub len: usize,
    /// Distance between them; negative only in copies (`flip`), never 0.
    pub step: isize,
}

impl Range {
    /// All of a dimension of that extent.
    pub fn all(extent: usize) -> Range {
        Range { start: 0, len: extent, step: 1 }
    }
}

/// Which elements of a base a slice takes in one dimension, where extents may be symbolic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// First element taken.
    pub start: Dim,
    /// How many.
    pub len: Dim,
    /// Distance between them; negative only in copies (`flip`), never 0.
    pub step: i64,
}

impl Span {
    /// All of a dimension of that extent.
    pub fn all(extent: impl Into<Dim>) -> Span {
        Span { start: Dim::ZERO, len: extent.into(), step: 1 }
    }

    /// One element.
    pub fn one(at: impl Into<Dim>) -> Span {
        Span { start: at.into(), len: Dim::ONE, step: 1 }
    }

    /// The last element taken, if there is one.
    pub fn last(self) -> Dim {
        self.start + (self.len - 1) * self.step
    }

    /// Whether all elements taken are elements of a dimension of that extent.
    ///
    /// # Errors
    /// One that says that sizes must be known.
    pub fn inside(self, extent: Dim) -> Result<bool> {
        if self.step == 0 {
            return Ok(false);
        }
        // None taken: there is no place to be wrong.
        if self.len.is(0) {
            return Ok(true);
        }
        let (low, high) = if self.step > 0 { (self.start, self.last()) } else { (self.last(), self.start) };
        if at_most(0i64, low)? && at_most(high + 1, extent)? {
            return Ok(true);
        }
        // A symbolic length may still be 0.
        Ok(self.len.known().is_none() && at_most(self.len, 0i64)?)
    }
}

impl From<Range> for Span {
    fn from(r: Range) -> Span {
        Span { start: r.start.into(), len: r.len.into(), step: r.step as i64 }
    }
}

impl From<&Range> for Span {
    fn from(r: &Range) -> Span {
        Span::from(*r)
    }
}

impl From<&Span> for Span {
    fn from(s: &Span) -> Span {
        *s
    }
}

/// The length of the `k`-th diagonal of `rows` by `cols`.
pub fn diagonal_len(rows: usize, cols: usize, k: i64) -> usize {
    let away = usize::try_from(k.unsigned_abs()).unwrap_or(usize::MAX);
    let (r, c) = if k < 0 { (away, 0) } else { (0, away) };
    rows.saturating_sub(r).min(cols.saturating_sub(c))
}

/// As [`diagonal_len`], where extents may be symbolic.
///
/// # Errors
/// One that says that sizes must be known.
pub fn diagonal_count(rows: Dim, cols: Dim, k: i64) -> Result<Dim> {
    if let (Some(r), Some(c)) = (rows.extent(), cols.extent()) {
        return Ok(diagonal_len(r, c, k).into());
    }
    let rows = if k < 0 { rows + k } else { rows };
    let cols = if k > 0 { cols - k } else { cols };
    let len = if at_most(rows, cols)? { rows } else { cols };
    Ok(if at_most(0i64, len)? { len } else { Dim::ZERO })
}

/// Row-major strides of a shape, in elements.
pub fn row_major(shape: &[usize]) -> Strides {
    let mut s = Strides::from_elem(1, shape.len());
    for i in (1..shape.len()).rev() {
        // Extents beside a 0 may be anything.
        s[i - 1] = s[i].saturating_mul(shape[i].max(1) as isize);
    }
    s
}

/// Calls `f` with every index of `shape` in row-major order.
pub fn for_each_index(shape: &[usize], mut f: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = Shape::from_elem(0, shape.len());
    loop {
        f(&index);
        let mut d = shape.len();
        loop {
            if d == 0 {
                return;
            }
            d -= 1;
            index[d] += 1;
            if index[d] < shape[d] {
                break;
            }
            index[d] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_aligns_at_the_right() {
        assert_eq!(broadcast(&[3usize, 1], &[4]).unwrap().as_slice(), [3, 4]);
        assert_eq!(broadcast(&[0usize], &[1]).unwrap().as_slice(), [0]);
        assert!(broadcast(&[2usize], &[3]).is_none());
    }
}

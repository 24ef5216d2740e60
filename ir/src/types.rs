//! Shapes, the type of a value, and strided layouts.
//!
//! A [`Type`] (dtype and shape) belongs to a value of the graph. A [`Layout`] (offset and strides) belongs to memory: to
//! buffers and to views of them, never to an edge of the graph.

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
    pub shape: Shape,
    /// Whether this is a plain number (a Rust or `.tc` literal): it takes part in promotion by its category only.
    pub weak: bool,
}

impl Type {
    /// A tensor type.
    pub fn new(dtype: DType, shape: impl IntoIterator<Item = usize>) -> Type {
        Type { dtype, shape: shape.into_iter().collect(), weak: false }
    }

    /// The type of a plain number.
    pub fn number(dtype: DType) -> Type {
        Type { dtype, shape: Shape::new(), weak: true }
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
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
pub struct ShapeText<'a>(pub &'a [usize]);

impl fmt::Display for ShapeText<'_> {
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

/// The shape that `a` and `b` broadcast to, by the rule of NumPy and PyTorch: align at the right, 1 stretches.
pub fn broadcast(a: &[usize], b: &[usize]) -> Option<Shape> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// The axis `dim` of a tensor of `rank` dimensions, negative ones counted from the end; scalars have one axis.
pub fn axis(dim: i64, rank: usize) -> Result<usize> {
    let r = rank.max(1) as i64;
    if dim < -r || dim >= r {
        return Err(err::index(format!(
            "dimension out of range: got {dim}, expected -{r} to {} for a tensor of {rank} dimensions",
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

/// How the elements of a tensor lie in a storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Extents.
    pub shape: Shape,
    /// Element strides.
    pub strides: Strides,
    /// Element index of the first element in its storage.
    pub offset: usize,
}

impl Layout {
    /// Row-major, from the start of the storage.
    pub fn contiguous(shape: &[usize]) -> Layout {
        Layout { shape: shape.into(), strides: row_major(shape), offset: 0 }
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the elements lie in row-major order without gaps. Dimensions of extent 1 do not matter.
    pub fn is_contiguous(&self) -> bool {
        let want = row_major(&self.shape);
        self.numel() == 0 || self.shape.iter().zip(self.strides.iter().zip(&want)).all(|(d, (s, w))| *d == 1 || s == w)
    }

    /// The lowest and highest element index in the storage, if there is any element.
    pub fn bounds(&self) -> Option<(isize, isize)> {
        if self.numel() == 0 {
            return None;
        }
        let (mut lo, mut hi) = (self.offset as isize, self.offset as isize);
        for (d, s) in self.shape.iter().zip(&self.strides) {
            let reach = (*d as isize - 1) * s;
            if reach < 0 { lo += reach } else { hi += reach }
        }
        Some((lo, hi))
    }

    /// Whether two indices lead to the same element (some stride 0, as after `expand`).
    pub fn overlaps_itself(&self) -> bool {
        self.numel() > 0 && self.shape.iter().zip(&self.strides).any(|(d, s)| *d > 1 && *s == 0)
    }

    /// The same memory with dimensions in another order.
    pub fn permute(&self, order: &[usize]) -> Layout {
        Layout {
            shape: order.iter().map(|i| self.shape[*i]).collect(),
            strides: order.iter().map(|i| self.strides[*i]).collect(),
            offset: self.offset,
        }
    }

    /// Stretches dimensions of extent 1 and adds leading ones, with stride 0. `shape` is a valid target.
    pub fn expand(&self, shape: &[usize]) -> Layout {
        let lead = shape.len() - self.shape.len();
        let strides = (0..shape.len())
            .map(|i| if i < lead || self.shape[i - lead] != shape[i] { 0 } else { self.strides[i - lead] })
            .collect();
        Layout { shape: shape.into(), strides, offset: self.offset }
    }

    /// Some elements of each dimension.
    pub fn slice(&self, ranges: &[Range]) -> Layout {
        let mut offset = self.offset as isize;
        let mut strides = Strides::new();
        for (r, s) in ranges.iter().zip(&self.strides) {
            if r.len > 0 {
                offset += r.start as isize * s;
            }
            // The step of at most one element does not matter, and may be anything.
            strides.push(if r.len > 1 { s * r.step } else { *s });
        }
        Layout { shape: ranges.iter().map(|r| r.len).collect(), strides, offset: offset as usize }
    }

    /// The diagonal of dimensions `d0` and `d1`, `k` to the right, as a new last dimension.
    pub fn diagonal(&self, k: i64, d0: usize, d1: usize) -> Layout {
        let len = diagonal_len(self.shape[d0], self.shape[d1], k);
        // Where there is a diagonal, `k` is less than an extent.
        let shift = match len {
            0 => 0,
            _ if k < 0 => -k as isize * self.strides[d0],
            _ => k as isize * self.strides[d1],
        };
        let keep: Vec<usize> = (0..self.shape.len()).filter(|i| *i != d0 && *i != d1).collect();
        let mut out = self.permute(&keep);
        out.shape.push(len);
        out.strides.push(self.strides[d0] + self.strides[d1]);
        out.offset = (self.offset as isize + shift) as usize;
        out
    }

    /// The same memory in another shape with as many elements, if strides can say it.
    pub fn reshape(&self, shape: &[usize]) -> Option<Layout> {
        if self.numel() == 0 {
            return Some(Layout { offset: self.offset, ..Layout::contiguous(shape) });
        }
        // Walk both shapes from the right in blocks of equal element count; inside a block the old dimensions
        // must be mergeable (each stride is the next one's stride times its extent).
        let old: Vec<(usize, isize)> =
            self.shape.iter().zip(&self.strides).map(|(d, s)| (*d, *s)).filter(|(d, _)| *d != 1).collect();
        let mut strides = Strides::from_elem(0, shape.len());
        let mut i = old.len();
        let mut j = shape.len();
        while j > 0 {
            if shape[j - 1] == 1 {
                j -= 1;
                strides[j] = if j + 1 < shape.len() { strides[j + 1] * shape[j + 1] as isize } else { 1 };
                continue;
            }
            i = i.checked_sub(1)?;
            let (mut have, base) = (old[i].0, old[i].1);
            let mut next = base;
            let mut want = 1usize;
            let mut expect = base * old[i].0 as isize;
            loop {
                while want < have && j > 0 {
                    j -= 1;
                    strides[j] = next;
                    next *= shape[j] as isize;
                    want *= shape[j];
                }
                if want == have {
                    break;
                }
                i = i.checked_sub(1)?;
                if old[i].1 != expect {
                    return None;
                }
                have *= old[i].0;
                expect *= old[i].0 as isize;
            }
        }
        Some(Layout { shape: shape.into(), strides, offset: self.offset })
    }

    /// The storage index of the element at `index`.
    pub fn at(&self, index: &[usize]) -> usize {
        let d: isize = index.iter().zip(&self.strides).map(|(i, s)| *i as isize * s).sum();
        (self.offset as isize + d) as usize
    }

    /// The storage indices of all elements in row-major order.
    pub fn indices(&self) -> Vec<usize> {
        let mut out = Vec::with_capacity(self.numel());
        for_each_index(&self.shape, |i| out.push(self.at(i)));
        out
    }
}

/// The length of the `k`-th diagonal of `rows` by `cols`.
pub fn diagonal_len(rows: usize, cols: usize, k: i64) -> usize {
    let away = usize::try_from(k.unsigned_abs()).unwrap_or(usize::MAX);
    let (r, c) = if k < 0 { (away, 0) } else { (0, away) };
    rows.saturating_sub(r).min(cols.saturating_sub(c))
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
    fn reshape_shares_memory_where_strides_can_say_it() {
        let x = Layout::contiguous(&[2, 3, 4]);
        assert_eq!(x.reshape(&[6, 4]).unwrap().strides.as_slice(), [4, 1]);
        assert_eq!(x.reshape(&[24]).unwrap().strides.as_slice(), [1]);
        assert_eq!(x.reshape(&[2, 1, 12]).unwrap().strides.as_slice(), [12, 12, 1]);
        let t = Layout::contiguous(&[3, 4]).permute(&[1, 0]);
        assert!(t.reshape(&[12]).is_none());
        assert_eq!(t.reshape(&[2, 2, 3]).unwrap().strides.as_slice(), [2, 1, 4]);
        let c = Layout::contiguous(&[4, 6]).slice(&[Range::all(4), Range { start: 1, len: 2, step: 2 }]);
        assert_eq!(c.reshape(&[2, 2, 2]).unwrap().strides.as_slice(), [12, 6, 2]);
        assert!(c.reshape(&[8]).is_none());
        assert!(Layout::contiguous(&[1]).reshape(&[]).is_some());
        assert!(Layout::contiguous(&[]).reshape(&[1, 1]).is_some());
    }

    #[test]
    fn broadcasting_aligns_at_the_right() {
        assert_eq!(broadcast(&[3, 1], &[4]).unwrap().as_slice(), [3, 4]);
        assert_eq!(broadcast(&[0], &[1]).unwrap().as_slice(), [0]);
        assert!(broadcast(&[2], &[3]).is_none());
    }
}

//! How the elements of a tensor lie in a storage: [`Layout`] with numbers, [`Strided`] where extents may be symbolic.
//!
//! Views are arithmetic on offset and strides, which is written once, for [`Strided`].

use crate::dim::{Dim, Dims, extents, needs_sizes};
use crate::error::Result;
use crate::types::{Range, Shape, Span, Strides, diagonal_count, for_each_index, row_major};

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
            // Strides may be any numbers before somebody has looked where they lead: far outside, no farther than that.
            let reach = (*d as isize - 1).saturating_mul(*s);
            if reach < 0 { lo = lo.saturating_add(reach) } else { hi = hi.saturating_add(reach) }
        }
        const FAR: isize = isize::MAX / 2;
        Some((lo.max(-FAR), hi.min(FAR)))
    }

    /// Whether two indices lead to the same element (some stride 0, as after `expand`).
    pub fn overlaps_itself(&self) -> bool {
        self.numel() > 0 && self.shape.iter().zip(&self.strides).any(|(d, s)| *d > 1 && *s == 0)
    }

    /// The same memory through a view, by the arithmetic of [`Strided`]; `None` if strides cannot say it.
    pub fn through(&self, view: impl FnOnce(&Strided) -> Result<Option<Strided>>) -> Option<Layout> {
        view(&Strided::from(self)).ok().flatten().and_then(|s| s.known().ok())
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
        let out = self.through(|l| Ok(Some(l.expand(&crate::dim::dims(shape)))));
        out.unwrap_or_else(|| self.clone())
    }

    /// Some elements of each dimension.
    pub fn slice(&self, ranges: &[Range]) -> Layout {
        self.through(|l| Ok(Some(l.slice(ranges)))).unwrap_or_else(|| self.clone())
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

/// As [`Layout`], where extents, strides and the offset may be symbolic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Strided {
    /// Extents.
    pub shape: Dims,
    /// Element strides.
    pub strides: Dims,
    /// Element index of the first element in its storage.
    pub offset: Dim,
}

impl From<&Layout> for Strided {
    fn from(l: &Layout) -> Strided {
        Strided {
            shape: l.shape.iter().map(Dim::from).collect(),
            strides: l.strides.iter().map(|s| Dim::from(*s)).collect(),
            offset: l.offset.into(),
        }
    }
}

impl Strided {
    /// Row-major, from the start of the storage.
    pub fn contiguous(shape: &[Dim]) -> Strided {
        Strided { shape: shape.into(), strides: row_major_dims(shape), offset: Dim::ZERO }
    }

    /// The same from offset 0.
    pub fn from_start(&self) -> Strided {
        Strided { offset: Dim::ZERO, ..self.clone() }
    }

    /// One slice along the first dimension, from offset 0.
    pub fn first_slice(&self) -> Strided {
        Strided { shape: self.shape[1..].into(), strides: self.strides[1..].into(), offset: Dim::ZERO }
    }

    /// Where the bytes of elements of that size lie.
    pub fn in_bytes(&self, size: usize) -> Strided {
        let mut out = Strided {
            shape: self.shape.clone(),
            strides: self.strides.iter().map(|s| *s * size).collect(),
            offset: self.offset * size,
        };
        out.shape.push(size.into());
        out.strides.push(Dim::ONE);
        out
    }

    /// The layout, if all is known.
    ///
    /// # Errors
    /// One that says that sizes must be known.
    pub fn known(&self) -> Result<Layout> {
        Ok(Layout {
            shape: extents(&self.shape)?,
            strides: self.strides.iter().map(|s| s.value().map(|v| v as isize)).collect::<Result<_>>()?,
            offset: self.offset.value()? as usize,
        })
    }

    /// Whether the elements lie in row-major order without gaps, whatever the sizes. Known extents of 1 do not matter.
    pub fn is_contiguous(&self) -> bool {
        let want = row_major_dims(&self.shape);
        let same = |(d, (s, w)): (&Dim, (&Dim, &Dim))| d.is(1) || s == w;
        self.shape.contains(&Dim::ZERO) || self.shape.iter().zip(self.strides.iter().zip(&want)).all(same)
    }

    /// Whether two indices may lead to the same element (some stride 0, as after `expand`).
    pub fn overlaps_itself(&self) -> bool {
        !self.shape.contains(&Dim::ZERO) && self.shape.iter().zip(&self.strides).any(|(d, s)| !d.is(1) && s.is(0))
    }

    /// The same memory with dimensions in another order.
    pub fn permute(&self, order: &[usize]) -> Strided {
        Strided {
            shape: order.iter().map(|i| self.shape[*i]).collect(),
            strides: order.iter().map(|i| self.strides[*i]).collect(),
            offset: self.offset,
        }
    }

    /// Stretches dimensions of extent 1 and adds leading ones, with stride 0. `shape` is a valid target.
    pub fn expand(&self, shape: &[Dim]) -> Strided {
        let lead = shape.len() - self.shape.len();
        let strides = (0..shape.len())
            .map(|i| if i < lead || self.shape[i - lead] != shape[i] { Dim::ZERO } else { self.strides[i - lead] })
            .collect();
        Strided { shape: shape.into(), strides, offset: self.offset }
    }

    /// Some elements of each dimension.
    pub fn slice<'s, S: 's>(&self, spans: &'s [S]) -> Strided
    where
        Span: From<&'s S>,
    {
        let mut offset = self.offset;
        let (mut shape, mut strides) = (Dims::new(), Dims::new());
        for (span, s) in spans.iter().map(Span::from).zip(&self.strides) {
            if !span.len.is(0) {
                offset = offset + span.start * *s;
            }
            // The step of at most one element does not matter, and may be anything.
            let still = span.len.is(0) || span.len.is(1);
            strides.push(if still { *s } else { *s * span.step });
            shape.push(span.len);
        }
        Strided { shape, strides, offset }
    }

    /// The diagonal of dimensions `d0` and `d1`, `k` to the right, as a new last dimension.
    ///
    /// # Errors
    /// One that says that sizes must be known.
    pub fn diagonal(&self, k: i64, d0: usize, d1: usize) -> Result<Strided> {
        let len = diagonal_count(self.shape[d0], self.shape[d1], k)?;
        // Where there is a diagonal, `k` is less than an extent.
        let shift = match k {
            _ if len.is(0) => Dim::ZERO,
            ..0 => self.strides[d0] * -k,
            _ => self.strides[d1] * k,
        };
        let keep: Vec<usize> = (0..self.shape.len()).filter(|i| *i != d0 && *i != d1).collect();
        let mut out = self.permute(&keep);
        out.shape.push(len);
        out.strides.push(self.strides[d0] + self.strides[d1]);
        out.offset = self.offset + shift;
        Ok(out)
    }

    /// The same memory in another shape with as many elements; `None` if strides cannot say it.
    ///
    /// # Errors
    /// One that says that sizes must be known to tell.
    pub fn reshape(&self, shape: &[Dim]) -> Result<Option<Strided>> {
        if self.is_contiguous() {
            return Ok(Some(Strided { offset: self.offset, ..Strided::contiguous(shape) }));
        }
        // Walk both shapes from the right in blocks of equal element count; inside a block the old dimensions
        // must be mergeable (each stride is the next one's stride times its extent).
        let old: Vec<(Dim, Dim)> =
            self.shape.iter().zip(&self.strides).map(|(d, s)| (*d, *s)).filter(|(d, _)| !d.is(1)).collect();
        let mut strides = Dims::from_elem(Dim::ZERO, shape.len());
        let mut i = old.len();
        let mut j = shape.len();
        while j > 0 {
            if shape[j - 1].is(1) {
                j -= 1;
                strides[j] = if j + 1 < shape.len() { strides[j + 1] * shape[j + 1] } else { Dim::ONE };
                continue;
            }
            let Some(last) = i.checked_sub(1) else { return Ok(None) };
            i = last;
            let (mut have, base) = old[i];
            let mut next = base;
            let mut want = Dim::ONE;
            let mut expect = base * have;
            loop {
                while want != have && j > 0 && fewer(want, have)? {
                    j -= 1;
                    strides[j] = next;
                    next = next * shape[j];
                    want = want * shape[j];
                }
                if want == have {
                    break;
                }
                let Some(further) = i.checked_sub(1) else { return Ok(None) };
                i = further;
                if old[i].1 != expect {
                    if old[i].1.known().is_none() || expect.known().is_none() {
                        return Err(needs_sizes(&(old[i].1 - expect).to_string()));
                    }
                    return Ok(None);
                }
                have = have * old[i].0;
                expect = expect * old[i].0;
            }
        }
        Ok(Some(Strided { shape: shape.into(), strides, offset: self.offset }))
    }

    /// With the sizes that are given in place of their names.
    pub fn bind(&self, sizes: &crate::dim::Sizes) -> Strided {
        Strided {
            shape: self.shape.iter().map(|d| d.bind(sizes)).collect(),
            strides: self.strides.iter().map(|d| d.bind(sizes)).collect(),
            offset: self.offset.bind(sizes),
        }
    }
}

/// Whether a block of `want` elements must grow to have `have`, which is another number: for symbolic ones, whether it
/// divides it.
fn fewer(want: Dim, have: Dim) -> Result<bool> {
    match (want.known(), have.known()) {
        (Some(w), Some(h)) => Ok(w < h),
        _ if have.exact_div(want).is_some() => Ok(true),
        _ if want.exact_div(have).is_some() => Ok(false),
        _ => Err(needs_sizes(&(have - want).to_string())),
    }
}

/// Row-major strides, in elements.
pub fn row_major_dims(shape: &[Dim]) -> Dims {
    let mut s = Dims::from_elem(Dim::ONE, shape.len());
    for i in (1..shape.len()).rev() {
        // Extents beside a 0 may be anything.
        s[i - 1] = s[i] * if shape[i].is(0) { Dim::ONE } else { shape[i] };
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(shape: &[i64]) -> Dims {
        shape.iter().map(|d| Dim::from(*d)).collect()
    }

    fn strides(s: Result<Option<Strided>>) -> Vec<i64> {
        s.unwrap().unwrap().strides.iter().map(|s| s.known().unwrap()).collect()
    }

    #[test]
    fn reshape_shares_memory_where_strides_can_say_it() {
        let x = Strided::contiguous(&dims(&[2, 3, 4]));
        assert_eq!(strides(x.reshape(&dims(&[6, 4]))), [4, 1]);
        assert_eq!(strides(x.reshape(&dims(&[24]))), [1]);
        assert_eq!(strides(x.reshape(&dims(&[2, 1, 12]))), [12, 12, 1]);
        let t = Strided::contiguous(&dims(&[3, 4])).permute(&[1, 0]);
        assert!(t.reshape(&dims(&[12])).unwrap().is_none());
        assert_eq!(strides(t.reshape(&dims(&[2, 2, 3]))), [2, 1, 4]);
        let c = Strided::contiguous(&dims(&[4, 6])).slice(&[Range::all(4), Range { start: 1, len: 2, step: 2 }]);
        assert_eq!(strides(c.reshape(&dims(&[2, 2, 2]))), [12, 6, 2]);
        assert!(c.reshape(&dims(&[8])).unwrap().is_none());
        assert!(Strided::contiguous(&dims(&[1])).reshape(&[]).unwrap().is_some());
        assert!(Strided::contiguous(&[]).reshape(&dims(&[1, 1])).unwrap().is_some());
    }

    #[test]
    fn symbolic_extents_are_blocks_like_others() {
        let (b, n) = (Dim::size("B"), Dim::size("N"));
        let of = |d: &[Dim]| Dims::from_slice(d);
        let x = Strided::contiguous(&of(&[b, n, 4.into()]));
        let flat = x.reshape(&of(&[b * n, 4.into()])).unwrap().unwrap();
        assert_eq!(flat.strides.as_slice(), [Dim::from(4), Dim::ONE]);
        // Every other row: rows split, but do not merge with their elements.
        let rows = x.slice(&[Span::all(b), Span::all(n), Span { start: Dim::ZERO, len: 2.into(), step: 2 }]);
        let split = rows.reshape(&of(&[b, n, 2.into(), Dim::ONE])).unwrap().unwrap();
        assert_eq!(split.strides.as_slice(), [n * 4, 4.into(), 2.into(), Dim::ONE]);
        let turned = x.permute(&[1, 0, 2]);
        assert!(turned.reshape(&of(&[b * n * 4])).is_err());
        assert_eq!(turned.reshape(&of(&[n, b, 2.into(), 2.into()])).unwrap().unwrap().strides[0], Dim::from(4));
    }
}

//! Memory lent for a scope: a closure gets a [`Storage`] over it, and when the closure ends the storage is revoked. A
//! handle that escaped finds an error from then on, never memory that is gone.
//!
//! The end of a scope must not come while someone uses the memory, or memory safety is lost. So it waits for them; they
//! are calls on other threads, which end. A hold that lives as long as its owner likes would wait for ever if that owner
//! is the thread of the scope. Therefore who gives such holds to users asks [`Storage::is_lent`] and refuses.

use std::ptr::NonNull;

use tensorc_ir::{Layout, Loc};

use crate::plain::{Native, bytes_of};
use crate::storage::{Owner, Storage};

/// Runs `f` on a storage that is the memory of `values`. When it returns (or panics) the storage is revoked; if another
/// thread is using it at that moment this waits until it is done.
pub fn with_borrowed<T: Native, R>(values: &mut [T], loc: Loc, f: impl FnOnce(&Storage) -> R) -> R {
    let layout = Layout::contiguous(&[values.len()]);
    let start = NonNull::from(values).cast();
    // SAFETY: the elements are exclusively ours until this returns.
    unsafe { scope::<T, R>(start, &layout, true, loc, f) }
}

/// As [`with_borrowed`], for memory that may be read only: every write is an error.
pub fn with_borrowed_ref<T: Native, R>(values: &[T], loc: Loc, f: impl FnOnce(&Storage) -> R) -> R {
    let layout = Layout::contiguous(&[values.len()]);
    let start = NonNull::from(bytes_of(values)).cast();
    // SAFETY: the elements are ours to read until this returns, and the storage is not writable.
    unsafe { scope::<T, R>(start, &layout, false, loc, f) }
}

/// As [`with_borrowed`], for elements that lie as `layout` says, of which the lowest one is at `start`.
///
/// # Safety
/// Those elements are valid until this returns, and until then nobody else writes them nor, if `writable`, reads them.
pub(crate) unsafe fn scope<T: Native, R>(
    start: NonNull<u8>,
    layout: &Layout,
    writable: bool,
    loc: Loc,
    f: impl FnOnce(&Storage) -> R,
) -> R {
    let len = layout.bounds().map_or(0, |(low, high)| (high - low) as usize + 1) * size_of::<T>();
    let storage = Storage::new(start, len, writable, is_dense(layout), Owner::Scope);
    let revoke = Revoke { storage, loc, bools: (writable && T::IS_BOOL).then_some(layout) };
    f(&revoke.storage)
}

struct Revoke<'l> {
    storage: Storage,
    loc: Loc,
    /// Where the `bool`s lie, if it is these that were lent to write.
    bools: Option<&'l Layout>,
}

impl Drop for Revoke<'_> {
    fn drop(&mut self) {
        // The memory is only ours until here: nothing may use it afterwards, so whoever does must finish first.
        while !self.storage.revoke(self.loc) {
            std::thread::yield_now();
        }
        // Through a view of another dtype any byte may have been written; the lender must find `bool`s again.
        for i in self.bools.map_or_else(Vec::new, Layout::indices) {
            let at = self.storage.as_ptr().wrapping_add(i);
            // SAFETY: the element is lent to write until this function returns, and after the revocation used by
            // nobody else.
            unsafe { at.write(u8::from(at.read() != 0)) }
        }
    }
}

/// Whether elements lie without gaps, in whatever order of dimensions, where indices of stride 0 are the same element.
pub(crate) fn is_dense(layout: &Layout) -> bool {
    let dims = layout.shape.iter().zip(&layout.strides).map(|(n, s)| (s.unsigned_abs(), *n));
    let mut dims: Vec<(usize, usize)> = dims.filter(|(s, n)| *s != 0 && *n != 1).collect();
    dims.sort_unstable();
    let mut expected = 1;
    layout.numel() == 0
        || dims.into_iter().all(|(stride, n)| {
            let fits = stride == expected;
            expected = expected.saturating_mul(n);
            fits
        })
}

/// The most elements that [`is_injective`] counts.
const MOST_COUNTED: usize = 1 << 24;

/// Whether all indices are different elements. Exact, unless that takes very long: then no.
pub fn is_injective(layout: &Layout) -> bool {
    let dims = layout.shape.iter().zip(&layout.strides).map(|(n, s)| (s.unsigned_abs(), *n));
    let mut dims: Vec<(usize, usize)> = dims.filter(|(_, n)| *n != 1).collect();
    dims.sort_unstable();
    // What the smaller strides reach stays below the next: then no two sums are equal.
    let mut reach = 0usize;
    let nested = dims.iter().all(|(stride, n)| {
        let apart = *stride > reach;
        reach = reach.saturating_add(stride.saturating_mul(n.saturating_sub(1)));
        apart
    });
    if nested || layout.numel() == 0 {
        return true;
    }
    if layout.overlaps_itself() || layout.numel() > MOST_COUNTED {
        return false;
    }
    let mut all = layout.indices();
    all.sort_unstable();
    all.windows(2).all(|w| w[0] != w[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lies(shape: &[usize], strides: &[isize], offset: usize) -> Layout {
        Layout { shape: shape.into(), strides: strides.into(), offset }
    }

    #[test]
    fn gaps_and_repeated_elements_are_seen() {
        for (layout, dense, injective) in [
            (lies(&[2, 3], &[3, 1], 0), true, true),
            (lies(&[3, 2], &[1, 3], 0), true, true),
            (lies(&[3, 2], &[-1, 3], 2), true, true),
            (lies(&[2, 3], &[4, 1], 0), false, true),
            (lies(&[2, 3, 4], &[3, 1, 0], 0), true, false),
            (lies(&[3, 2], &[1, 1], 0), false, false),
            // Two strides that no nesting explains, yet all elements differ.
            (lies(&[2, 3], &[3, 2], 0), false, true),
            (lies(&[0, 3], &[0, 0], 0), true, true),
            (lies(&[], &[], 0), true, true),
            (lies(&[1, 5], &[0, -2], 8), false, true),
        ] {
            assert_eq!((is_dense(&layout), is_injective(&layout)), (dense, injective), "{layout:?}");
        }
    }
}

//! The elements of a tensor in a storage, reached by their layout: copied out, kept as a snapshot, or held as a slice.
//!
//! What does not belong to the layout is not touched, not even read, since in memory that is not whole it is another's;
//! only a slice spans what lies between, and is refused there.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use tensorc_ir::error::err;
use tensorc_ir::types::for_each_index;
use tensorc_ir::{Layout, Loc, Result};

use crate::lend::is_dense;
use crate::plain::Native;
use crate::storage::{Access, Hold, Storage};

impl Storage {
    /// The memory of a vector, which is not copied.
    pub fn from_vec<T: Native>(mut values: Vec<T>) -> Storage {
        let start = NonNull::from(values.as_mut_slice()).cast();
        let len = values.len() * size_of::<T>();
        // SAFETY: the elements lie on the heap, where they stay when the vector is moved, as long as it lives; all bytes
        // are initialised, since elements have no padding. The vector is never used again but to be dropped, which
        // does not look at its elements.
        unsafe { Storage::from_owner(start, len, true, true, Box::new(values)) }
    }

    /// The bytes of elements of `size` bytes, row-major.
    ///
    /// # Errors
    /// As [`Storage::hold`]; `index` if one lies outside.
    pub fn elements(&self, layout: &Layout, size: usize, loc: Loc) -> Result<Vec<u8>> {
        let _hold = self.hold(Access::Read, loc)?;
        self.covers(layout, size, loc)?;
        let mut out = Vec::with_capacity(layout.numel() * size);
        // SAFETY: the elements lie inside of the storage, which is held to read; there is room for all of them, and
        // all of it is written.
        unsafe {
            gather(self.as_ptr(), layout, size, out.as_mut_ptr());
            out.set_len(layout.numel() * size);
        }
        Ok(out)
    }

    /// The elements, row-major.
    ///
    /// # Errors
    /// As [`Storage::elements`].
    pub fn to_vec<T: Native>(&self, layout: &Layout, loc: Loc) -> Result<Vec<T>> {
        let _hold = self.hold(Access::Read, loc)?;
        self.covers(layout, size_of::<T>(), loc)?;
        let n = layout.numel();
        let mut out: Vec<T> = Vec::with_capacity(n);
        let to = out.as_mut_ptr().cast::<u8>();
        // SAFETY: as in `elements`. Every pattern of bytes is a `T`, but for `bool`, where it is made one before the
        // vector says that it has elements.
        unsafe {
            gather(self.as_ptr(), layout, size_of::<T>(), to);
            if T::IS_BOOL {
                std::slice::from_raw_parts_mut(to, n).iter_mut().for_each(|b| *b = u8::from(*b != 0));
            }
            out.set_len(n);
        }
        Ok(out)
    }

    /// A storage of the same length that has those elements at the same places, as they are now.
    ///
    /// # Errors
    /// As [`Storage::elements`].
    pub fn snapshot(&self, layout: &Layout, size: usize, loc: Loc) -> Result<Storage> {
        if self.is_whole() {
            return Storage::from_bytes(&self.read(loc)?);
        }
        let _hold = self.hold(Access::Read, loc)?;
        self.covers(layout, size, loc)?;
        let copy = Storage::alloc_zeroed(self.len())?;
        for i in layout.indices() {
            // SAFETY: inside of both storages; this one is held to read, the new one is not shared yet.
            unsafe { self.as_ptr().add(i * size).copy_to_nonoverlapping(copy.as_ptr().add(i * size), size) };
        }
        Ok(copy)
    }

    /// The memory from the lowest to the highest of these elements, held to read. Only elements of the same size as those
    /// of the tensor make sense.
    ///
    /// # Errors
    /// As [`Storage::elements`]; `unsupported` if the memory is not aligned for `T`, or has gaps that belong to others;
    /// `data` if a byte is no `bool`.
    pub fn values<T: Native>(&self, layout: &Layout, loc: Loc) -> Result<Values<T>> {
        Span::take(self, layout, Access::Read, loc).map(Values)
    }

    /// As [`Storage::values`], held to write.
    ///
    /// # Errors
    /// As [`Storage::values`]; `alias` if the memory must not be written.
    pub fn values_mut<T: Native>(&self, layout: &Layout, loc: Loc) -> Result<ValuesMut<T>> {
        Span::take(self, layout, Access::Write, loc).map(ValuesMut)
    }

    /// Whether all elements lie inside.
    ///
    /// # Errors
    /// `index` if not.
    pub(crate) fn covers(&self, layout: &Layout, size: usize, loc: Loc) -> Result<()> {
        match layout.bounds() {
            Some((low, high)) if low < 0 || (high as usize + 1).saturating_mul(size) > self.len() => {
                Err(err::index("this tensor reaches outside its storage").at(loc))
            }
            _ => Ok(()),
        }
    }
}

/// Copies elements to `to`, row-major.
///
/// # Safety
/// The elements are valid to read, nobody writes them, and there is room for them at `to`, elsewhere.
unsafe fn gather(from: *const u8, layout: &Layout, size: usize, to: *mut u8) {
    // SAFETY: the caller's promise is the callees'.
    unsafe {
        match size {
            _ if layout.numel() == 0 => {}
            _ if layout.is_contiguous() => {
                from.add(layout.offset * size).copy_to_nonoverlapping(to, layout.numel() * size);
            }
            1 => strided::<1>(from.cast(), layout, to.cast()),
            2 => strided::<2>(from.cast(), layout, to.cast()),
            4 => strided::<4>(from.cast(), layout, to.cast()),
            8 => strided::<8>(from.cast(), layout, to.cast()),
            _ => {
                for (k, i) in layout.indices().into_iter().enumerate() {
                    from.add(i * size).copy_to_nonoverlapping(to.add(k * size), size);
                }
            }
        }
    }
}

/// [`gather`] for one size.
///
/// # Safety
/// As there.
unsafe fn strided<const N: usize>(from: *const [u8; N], layout: &Layout, mut to: *mut [u8; N]) {
    // A number has one index, the empty one, and no last dimension.
    let (n, stride) = match (layout.shape.last(), layout.strides.last()) {
        (Some(n), Some(s)) => (*n, *s),
        _ => (1, 1),
    };
    let outer = layout.shape.len().saturating_sub(1);
    for_each_index(&layout.shape[..outer], |index| {
        let row = from.wrapping_add(layout.at(index));
        for k in 0..n {
            // SAFETY: an element of the layout, and the next place of the target, by the caller's promise.
            unsafe {
                to.write(row.wrapping_offset(k as isize * stride).read());
                to = to.add(1);
            }
        }
    });
}

/// Part of a storage that is held.
struct Span<T> {
    _hold: Hold,
    start: NonNull<T>,
    len: usize,
    _values: PhantomData<T>,
}

// SAFETY: the memory is reached under the word that is held; the word may be given back by any thread.
unsafe impl<T: Native> Send for Span<T> {}
// SAFETY: a shared span only gives shared slices.
unsafe impl<T: Native> Sync for Span<T> {}

impl<T: Native> Span<T> {
    fn take(storage: &Storage, layout: &Layout, access: Access, loc: Loc) -> Result<Span<T>> {
        storage.covers(layout, size_of::<T>(), loc)?;
        let _hold = storage.hold(access, loc)?;
        let Some((low, high)) = layout.bounds() else {
            return Ok(Span { _hold, start: NonNull::dangling(), len: 0, _values: PhantomData });
        };
        if !storage.is_whole() && !is_dense(layout) {
            return Err(err::unsupported("between the elements of this tensor lies memory that belongs to others")
                .at(loc)
                .help("use a copy of the tensor"));
        }
        let start = storage.as_ptr().wrapping_add(low as usize * size_of::<T>()).cast::<T>();
        let (Some(start), true) = (NonNull::new(start), start.is_aligned()) else {
            return Err(err::unsupported(format!(
                "this tensor's memory is not aligned to the {} bytes of its elements",
                size_of::<T>()
            ))
            .at(loc)
            .help("use a copy of the tensor"));
        };
        let span = Span { _hold, start, len: (high - low) as usize + 1, _values: PhantomData };
        if T::IS_BOOL {
            // SAFETY: as in `slice`, for bytes, which may have any value.
            let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr().cast::<u8>(), span.len) };
            if bytes.iter().any(|b| *b > 1) {
                return Err(err::data("this bool tensor has a byte that is neither 0 nor 1")
                    .at(loc)
                    .help("it was written through a view of another dtype; take `ne(0)` of that view"));
            }
        }
        Ok(span)
    }

    fn slice(&self) -> &[T] {
        // SAFETY: `take` has seen to it that these are aligned, valid elements inside of the storage, without bytes of
        // others between; the word is held since then.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

/// Elements of a storage, and what lies between them, held to read.
pub struct Values<T>(Span<T>);

impl<T: Native> Deref for Values<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.slice()
    }
}

/// Elements of a storage, and what lies between them, held to write.
pub struct ValuesMut<T>(Span<T>);

impl<T: Native> Deref for ValuesMut<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.slice()
    }
}

impl<T: Native> DerefMut for ValuesMut<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `Span::slice`; the word is held to write, so this guard, borrowed exclusively, is the only user.
        unsafe { std::slice::from_raw_parts_mut(self.0.start.as_ptr(), self.0.len) }
    }
}

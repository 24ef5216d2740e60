//! Arrays of the crate `ndarray`: views lent as storages for a scope, and storages held and seen as views.
//!
//! An array's view is an address, extents and strides of any sign, as a [`Layout`] is; between its elements may lie those
//! of other views, which are left alone. `ndarray` makes a view from an address with strides from 0 on, so one with
//! negative strides is made from its lowest address and then has those axes inverted.

use std::marker::PhantomData;
use std::ptr::NonNull;

use ndarray::{ArrayView, ArrayViewMut, Axis, Dimension, IxDyn, RawData, ShapeBuilder, StrideShape};
use smallvec::SmallVec;
use tensorc_ir::error::err;
use tensorc_ir::types::ShapeText;
use tensorc_ir::{Layout, Loc, Result};

use crate::lend::{is_injective, scope};
use crate::plain::Native;
use crate::storage::{Access, Hold, Storage};

/// How an array lies, counted from its lowest element.
pub fn layout_of(shape: &[usize], strides: &[isize]) -> Layout {
    let from_start = Layout { shape: shape.into(), strides: strides.into(), offset: 0 };
    match from_start.bounds() {
        Some((low, _)) => Layout { offset: low.unsigned_abs(), ..from_start },
        None => Layout::contiguous(shape),
    }
}

fn lowest<T>(first: *const T, layout: &Layout) -> NonNull<u8> {
    NonNull::new(first.wrapping_sub(layout.offset).cast_mut().cast()).unwrap_or(NonNull::dangling())
}

/// Runs `f` on a storage that is the memory of the array, and how the array lies in it. Every write is an error. When it
/// returns (or panics) the storage is revoked, as [`crate::lend::with_borrowed`] says.
pub fn lend<T: Native, D: Dimension, R>(
    view: ArrayView<'_, T, D>,
    loc: Loc,
    f: impl FnOnce(&Storage, Layout) -> R,
) -> R {
    let layout = layout_of(view.shape(), view.strides());
    let start = lowest(view.as_ptr(), &layout);
    // SAFETY: the view borrows these elements until this returns, and nobody writes them; nor does the storage.
    unsafe { scope::<T, R>(start, &layout, false, loc, |s| f(s, layout.clone())) }
}

/// As [`lend`], to write too.
///
/// # Errors
/// `alias` if two indices of the array are the same element.
pub fn lend_mut<T: Native, D: Dimension, R>(
    mut view: ArrayViewMut<'_, T, D>,
    loc: Loc,
    f: impl FnOnce(&Storage, Layout) -> R,
) -> Result<R> {
    let layout = layout_of(view.shape(), view.strides());
    apart(&layout, loc)?;
    let start = lowest(view.as_mut_ptr(), &layout);
    // SAFETY: the view borrows these elements exclusively until this returns.
    Ok(unsafe { scope::<T, R>(start, &layout, true, loc, |s| f(s, layout.clone())) })
}

/// That all indices are different elements.
pub(crate) fn apart(layout: &Layout, loc: Loc) -> Result<()> {
    if is_injective(layout) {
        return Ok(());
    }
    Err(err::alias(
        "more than one index of this tensor refers to a single memory location, so it cannot be lent to write",
    )
    .at(loc)
    .help("clone the tensor first: `x.copy()?`"))
}

/// A tensor's elements held as an array.
pub struct Held<T, D> {
    hold: Hold,
    lowest: NonNull<T>,
    shape: D,
    /// Without their signs.
    strides: D,
    inverted: SmallVec<[usize; 4]>,
    _values: PhantomData<T>,
}

// SAFETY: the elements are reached under the word that is held; the word may be given back by any thread.
unsafe impl<T: Native, D: Send> Send for Held<T, D> {}
// SAFETY: shared, it gives shared views only.
unsafe impl<T: Native, D: Sync> Sync for Held<T, D> {}

impl<T: Native, D: Dimension> Held<T, D> {
    /// Holds elements of a storage.
    ///
    /// # Errors
    /// `shape` if `D` has another number of dimensions; `alias` if the storage is in use the other way, or, to write, if
    /// two indices are the same element; `unsupported` if the memory is not aligned for `T`; `data` if a byte is no `bool`.
    pub fn take(storage: &Storage, layout: &Layout, access: Access, loc: Loc) -> Result<Held<T, D>> {
        storage.covers(layout, size_of::<T>(), loc)?;
        if access == Access::Write {
            apart(layout, loc)?;
        }
        // Strides of no meaning may be anything, and are made what `ndarray` expects.
        let signed: Vec<isize> = match layout.numel() {
            0 => Layout::contiguous(&layout.shape).strides.to_vec(),
            _ => layout.shape.iter().zip(&layout.strides).map(|(n, s)| if *n == 1 { 0 } else { *s }).collect(),
        };
        let dims = |of: Vec<usize>| {
            D::from_dimension(&IxDyn(&of)).ok_or_else(|| {
                let wanted = D::NDIM.map_or_else(|| "another number of".into(), |n| n.to_string());
                let text = format!("a tensor of shape {} is no array of {wanted} dimensions", ShapeText(&layout.shape));
                err::shape(text).at(loc)
            })
        };
        let shape = dims(layout.shape.to_vec())?;
        let strides = dims(signed.iter().map(|s| s.unsigned_abs()).collect())?;
        let inverted = signed.iter().enumerate().filter(|(_, s)| **s < 0).map(|(i, _)| i).collect();
        let hold = storage.hold(access, loc)?;
        let lowest = match layout.bounds() {
            None => NonNull::dangling(),
            Some((low, _)) => {
                let at = storage.as_ptr().wrapping_add(low as usize * size_of::<T>()).cast::<T>();
                NonNull::new(at).filter(|p| p.is_aligned()).ok_or_else(|| {
                    let text = "this tensor's memory is not aligned to its elements";
                    err::unsupported(text).at(loc).help("use a copy of the tensor")
                })?
            }
        };
        if T::IS_BOOL {
            let is_bool = |i: usize| {
                // SAFETY: an element inside of the storage, which is held; read as a byte, which may have any value.
                unsafe { storage.as_ptr().add(i).read() <= 1 }
            };
            if !layout.indices().into_iter().all(is_bool) {
                return Err(err::data("this bool tensor has a byte that is neither 0 nor 1").at(loc));
            }
        }
        Ok(Held { hold, lowest, shape, strides, inverted, _values: PhantomData })
    }

    fn form(&self) -> StrideShape<D> {
        self.shape.clone().strides(self.strides.clone())
    }

    fn invert<S: RawData<Elem = T>>(&self, mut view: ndarray::ArrayBase<S, D>) -> ndarray::ArrayBase<S, D> {
        self.inverted.iter().for_each(|i| view.invert_axis(Axis(*i)));
        view
    }

    /// The array.
    pub fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: `take` has seen to it that the elements at these strides from the lowest one are aligned and valid and
        // lie inside of the storage, which is held; extents and strides are those of a tensor in memory.
        self.invert(unsafe { ArrayView::from_shape_ptr(self.form(), self.lowest.as_ptr()) })
    }
}

/// A tensor's elements held as an array, to write.
pub struct HeldMut<T, D>(Held<T, D>);

impl<T: Native, D: Dimension> HeldMut<T, D> {
    /// Holds elements of a storage to write.
    ///
    /// # Errors
    /// As [`Held::take`].
    pub fn take(storage: &Storage, layout: &Layout, loc: Loc) -> Result<HeldMut<T, D>> {
        Held::take(storage, layout, Access::Write, loc).map(HeldMut)
    }

    /// The array.
    pub fn view(&self) -> ArrayView<'_, T, D> {
        self.0.view()
    }

    /// The array, to write.
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        let held = &self.0;
        debug_assert!(held.hold.storage().is_writable());
        // SAFETY: as in `Held::view`; the storage is held to write, no two indices are the same element, and this guard is
        // borrowed exclusively.
        held.invert(unsafe { ArrayViewMut::from_shape_ptr(held.form(), held.lowest.as_ptr()) })
    }
}

//! Memory shared with arrays of the crate `ndarray`, of any strides and in both directions.
//!
//! An array's view enters for a scope, as a slice does in [`crate::with_borrowed`]; an owned array's memory is taken over;
//! a tensor is seen as an array through a guard, or within a closure. A view that is read-only in its type makes a tensor of
//! which every write is an error; a tensor that shows elements twice has no view to write.

use super::lent;
use crate::tensor::{Element, Tensor};
use ndarray::{Array, ArrayView, ArrayViewMut, Dimension, IxDyn};
use tensorc_ir::error::err;
use tensorc_ir::types::ShapeText;
use tensorc_ir::{Layout, Loc, Result};
use tensorc_runtime::executable::View;
use tensorc_runtime::ndarray::{Held, HeldMut, layout_of, lend, lend_mut};
use tensorc_runtime::storage::{Access, Storage};

/// Runs `f` on a tensor that is the memory of the array, with its strides: nothing is copied, and every write to the tensor
/// is an error. What happens at the end is what [`crate::with_borrowed`] says.
///
/// # Errors
/// What `f` gives.
#[track_caller]
pub fn with_ndarray<T: Element, D: Dimension, R>(
    view: ArrayView<'_, T, D>,
    f: impl FnOnce(&Tensor) -> Result<R>,
) -> Result<R> {
    lend(view, Loc::caller(), |s, layout| f(&lent::<T>(s, layout)))
}

/// As [`with_ndarray`], to write too: what is written to the tensor is written to the array, and to no element of the array
/// that the view was taken from but those that it shows.
///
/// ```
/// use ndarray::{array, s};
///
/// let mut a = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
/// // The last column first, and every second one.
/// tensorc::with_ndarray_mut(a.slice_mut(s![.., ..;-2]), |t| {
///     assert_eq!((t.shape(), t.strides()), (&[2, 2][..], vec![3, -2]));
///     t.i((.., 0))?.mul_(10.0)
/// })?;
/// assert_eq!(a, array![[1.0, 2.0, 30.0], [4.0, 5.0, 60.0]]);
/// # Ok::<(), tensorc::Error>(())
/// ```
///
/// # Errors
/// `alias` if two indices of the array are the same element; what `f` gives.
#[track_caller]
pub fn with_ndarray_mut<T: Element, D: Dimension, R>(
    view: ArrayViewMut<'_, T, D>,
    f: impl FnOnce(&Tensor) -> Result<R>,
) -> Result<R> {
    lend_mut(view, Loc::caller(), |s, layout| f(&lent::<T>(s, layout)))?
}

/// A tensor's elements as an array, held to read until this is dropped.
pub struct ArrayGuard<T: Element, D: Dimension>(Held<T, D>);

impl<T: Element, D: Dimension> ArrayGuard<T, D> {
    /// The array.
    pub fn view(&self) -> ArrayView<'_, T, D> {
        self.0.view()
    }
}

/// A tensor's elements as an array, held to write until this is dropped.
pub struct ArrayGuardMut<T: Element, D: Dimension>(HeldMut<T, D>);

impl<T: Element, D: Dimension> ArrayGuardMut<T, D> {
    /// The array.
    pub fn view(&self) -> ArrayView<'_, T, D> {
        self.0.view()
    }

    /// The array, to write.
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        self.0.view_mut()
    }
}

impl Tensor {
    /// The tensor that an array is. It takes the array's memory over, strides included: nothing is copied.
    ///
    /// # Errors
    /// `shape` if there are more elements than a tensor may have.
    #[track_caller]
    pub fn from_ndarray<T: Element, D: Dimension>(array: Array<T, D>) -> Result<Tensor> {
        let loc = Loc::caller();
        let layout = layout_of(array.shape(), array.strides());
        tensorc_ir::types::checked_numel(&layout.shape).map_err(|e| e.at(loc))?;
        let (values, first) = array.into_raw_vec_and_offset();
        let layout = Layout { offset: first.unwrap_or(0), ..layout };
        Ok(Tensor::of_numbers(View { storage: Storage::from_vec(values), dtype: T::DTYPE, layout }))
    }

    /// The elements as an array, in place, until the guard is dropped: other reads go on, writes are errors meanwhile.
    ///
    /// ```
    /// use ndarray::{Ix2, array};
    ///
    /// let t = tensorc::arange(6)?.view([2, 3])?.t()?;
    /// let guard = t.view_ndarray::<i64, Ix2>()?;
    /// assert_eq!(guard.view(), array![[0, 3], [1, 4], [2, 5]]);
    /// # Ok::<(), tensorc::Error>(())
    /// ```
    ///
    /// # Errors
    /// `dtype` if `T` is another type than the tensor's; `shape` if `D` has another number of dimensions; `alias` if the
    /// memory is being written, or lent for a scope (then use [`Tensor::with_view_ndarray`]); `unsupported` if imported
    /// memory is not aligned; `data` if a byte of a bool tensor is neither 0 nor 1; `type` while tracing.
    #[track_caller]
    pub fn view_ndarray<T: Element, D: Dimension>(&self) -> Result<ArrayGuard<T, D>> {
        let v = self.kept::<T>("view_ndarray", "with_view_ndarray")?;
        Held::take(&v.storage, &v.layout, Access::Read, Loc::caller()).map(ArrayGuard)
    }

    /// The elements as an array to write, in place, until the guard is dropped: every other use is an error meanwhile.
    ///
    /// # Errors
    /// As [`Tensor::view_ndarray`]; `alias` also if the memory is being read or must not be written, or if two indices
    /// are the same element (as after `expand`).
    #[track_caller]
    pub fn view_ndarray_mut<T: Element, D: Dimension>(&self) -> Result<ArrayGuardMut<T, D>> {
        let v = self.kept::<T>("view_ndarray_mut", "with_view_ndarray_mut")?;
        HeldMut::take(&v.storage, &v.layout, Loc::caller()).map(ArrayGuardMut)
    }

    /// Calls `f` with the elements as an array, in place. Also for memory that is lent for a scope.
    ///
    /// # Errors
    /// As [`Tensor::view_ndarray`], but for lent memory.
    #[track_caller]
    pub fn with_view_ndarray<T: Element, D: Dimension, R>(
        &self,
        f: impl FnOnce(ArrayView<'_, T, D>) -> R,
    ) -> Result<R> {
        let v = self.typed::<T>("with_view_ndarray")?;
        let held = Held::take(&v.storage, &v.layout, Access::Read, Loc::caller())?;
        Ok(f(held.view()))
    }

    /// Calls `f` with the elements as an array to write, in place. Also for memory that is lent for a scope.
    ///
    /// # Errors
    /// As [`Tensor::view_ndarray_mut`], but for lent memory.
    #[track_caller]
    pub fn with_view_ndarray_mut<T: Element, D: Dimension, R>(
        &self,
        f: impl FnOnce(ArrayViewMut<'_, T, D>) -> R,
    ) -> Result<R> {
        let v = self.typed::<T>("with_view_ndarray_mut")?;
        let mut held = HeldMut::take(&v.storage, &v.layout, Loc::caller())?;
        Ok(f(held.view_mut()))
    }

    /// A copy of the elements as an array in the standard order.
    ///
    /// # Errors
    /// `dtype` if `T` is another type than the tensor's; `shape` if `D` has another number of dimensions; `type` while
    /// tracing; `alias` if another use writes them.
    #[track_caller]
    pub fn to_ndarray<T: Element, D: Dimension>(&self) -> Result<Array<T, D>> {
        let loc = Loc::caller();
        let text = format!("a tensor of shape {} as an array", ShapeText(self.shape()));
        let array = Array::from_shape_vec(IxDyn(self.shape()), self.to_vec::<T>()?);
        let array = array.and_then(Array::into_dimensionality::<D>);
        array.map_err(|e| err::shape(format!("{text}: {e}")).at(loc))
    }
}

//! Memory shared with the rest of a Rust program: slices and vectors, in both directions and without a copy.
//!
//! | from | to a tensor | back |
//! |---|---|---|
//! | `&[T]` | [`Tensor::from_slice`] copies; [`with_borrowed_ref`] shares, read-only | [`Tensor::read`], [`Tensor::with_read`] |
//! | `&mut [T]` | [`with_borrowed`] shares | [`Tensor::write`], [`Tensor::with_write`] |
//! | `Vec<T>` | [`Tensor::from_vec`] takes the memory over | [`Tensor::to_vec`] copies |
//!
//! Where memory is shared, what one side writes the other sees. Each use holds the memory's borrow word, so a conflicting
//! one is an error that names both. Memory lent by [`with_borrowed`] is there until the closure ends. A guard could live
//! longer, so [`Tensor::read`] and [`Tensor::write`] refuse such memory; [`Tensor::with_read`] and [`Tensor::with_write`],
//! whose slices cannot leave a closure, take it as well.

#[cfg(feature = "dlpack")]
mod dlpack;
#[cfg(feature = "ndarray")]
mod ndarray;

#[cfg(feature = "ndarray")]
pub use self::ndarray::{ArrayGuard, ArrayGuardMut, with_ndarray, with_ndarray_mut};

use crate::tensor::{Element, Tensor};
use std::ops::{Deref, DerefMut};
use tensorc_ir::error::err;
use tensorc_ir::types::{ShapeText, checked_numel};
use tensorc_ir::{Layout, Loc, Result};
use tensorc_runtime::elements::{Values, ValuesMut};
use tensorc_runtime::executable::View;
use tensorc_runtime::lend;
use tensorc_runtime::storage::Storage;

/// Runs `f` on a tensor of that shape that is the memory of `values`: what is written to the tensor is written to the
/// slice. Give it a shape of as many elements; nothing is copied.
///
/// When `f` has returned, or panicked, the memory is the caller's alone again. A handle that was kept beyond then, in a
/// variable or captured by a jitted function, gives an error at each use. A call that another thread is running on the
/// memory at that moment is waited for.
///
/// ```
/// let mut values = [1.0f32, 2.0, 3.0, 4.0];
/// tensorc::with_borrowed(&mut values, &[2, 2], |t| t.t()?.i(1)?.mul_(10.0))?;
/// assert_eq!(values, [1.0, 20.0, 3.0, 40.0]);
/// # Ok::<(), tensorc::Error>(())
/// ```
///
/// # Errors
/// `shape` if there are more or fewer elements; what `f` gives.
#[track_caller]
pub fn with_borrowed<T: Element, R>(
    values: &mut [T],
    shape: &[usize],
    f: impl FnOnce(&Tensor) -> Result<R>,
) -> Result<R> {
    let (loc, layout) = (Loc::caller(), shaped(shape, values.len())?);
    lend::with_borrowed(values, loc, |s| f(&lent::<T>(s, layout)))
}

/// As [`with_borrowed`], for a slice that may only be read: every write to the tensor, or to a view of it, is an error.
///
/// ```
/// let values = [1.0f32, 2.0, 3.0];
/// let sum = tensorc::with_borrowed_ref(&values, &[3], |t| {
///     assert!(t.add_(1.0).is_err());
///     t.sum()?.item::<f32>()
/// })?;
/// assert_eq!(sum, 6.0);
/// # Ok::<(), tensorc::Error>(())
/// ```
///
/// # Errors
/// As [`with_borrowed`].
#[track_caller]
pub fn with_borrowed_ref<T: Element, R>(
    values: &[T],
    shape: &[usize],
    f: impl FnOnce(&Tensor) -> Result<R>,
) -> Result<R> {
    let (loc, layout) = (Loc::caller(), shaped(shape, values.len())?);
    lend::with_borrowed_ref(values, loc, |s| f(&lent::<T>(s, layout)))
}

fn lent<T: Element>(storage: &Storage, layout: Layout) -> Tensor {
    Tensor::concrete(View { storage: storage.clone(), dtype: T::DTYPE, layout })
}

/// The row-major layout of that shape, for so many elements.
#[track_caller]
fn shaped(shape: &[usize], len: usize) -> Result<Layout> {
    let loc = Loc::caller();
    if checked_numel(shape).map_err(|e| e.at(loc))? != len {
        return Err(err::shape(format!("shape '{}' is invalid for input of size {len}", ShapeText(shape))).at(loc));
    }
    Ok(Layout::contiguous(shape))
}

impl Tensor {
    /// A tensor of that shape with a copy of the elements, row-major. The dtype is the elements'.
    ///
    /// # Errors
    /// `shape` if there are more or fewer; `unsupported` if there is no memory.
    #[track_caller]
    pub fn from_slice<T: Element>(values: &[T], shape: &[usize]) -> Result<Tensor> {
        let layout = shaped(shape, values.len())?;
        let storage = Storage::from_slice(values).map_err(|e| e.at(Loc::caller()))?;
        Ok(Tensor::of_numbers(View { storage, dtype: T::DTYPE, layout }))
    }

    /// A tensor of that shape from its elements, row-major. It takes the vector's memory over: nothing is copied.
    ///
    /// # Errors
    /// `shape` if there are more or fewer.
    #[track_caller]
    pub fn from_vec<T: Element>(values: Vec<T>, shape: &[usize]) -> Result<Tensor> {
        let layout = shaped(shape, values.len())?;
        Ok(Tensor::of_numbers(View { storage: Storage::from_vec(values), dtype: T::DTYPE, layout }))
    }

    /// The elements in row-major order, copied.
    ///
    /// # Errors
    /// `dtype` if `T` is another type than the tensor's; `type` while tracing; `alias` if another use writes them.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let loc = Loc::caller();
        let v = self.typed::<T>("to_vec")?;
        v.storage.to_vec(&v.layout, loc)
    }

    /// The elements as a slice, in place, until the guard is dropped: other reads go on, writes are errors meanwhile. The
    /// guard keeps the memory alive. One that is never dropped (`mem::forget`) holds the memory for good.
    ///
    /// ```
    /// let t = tensorc::tensor([1.0f32, 2.0])?;
    /// let elements = t.read::<f32>()?;
    /// assert_eq!(*elements, [1.0, 2.0]);
    /// assert!(t.add_(1.0).is_err(), "it is being read");
    /// drop(elements);
    /// t.write::<f32>()?[0] = 7.0;
    /// assert_eq!(t.to_vec::<f32>()?, [7.0, 2.0]);
    /// # Ok::<(), tensorc::Error>(())
    /// ```
    ///
    /// # Errors
    /// `dtype` if `T` is another type than the tensor's; `shape` if the elements are not contiguous; `alias` if they are
    /// being written, or lent for a scope, which a guard could outlive (then use [`Tensor::with_read`]); `unsupported`
    /// if imported memory is not aligned for `T`; `data` if a byte of a bool tensor is neither 0 nor 1; `type` while
    /// tracing.
    #[track_caller]
    pub fn read<T: Element>(&self) -> Result<Elements<T>> {
        let v = self.kept::<T>("read", "with_read")?;
        row_major(v, "read", "read_strided")?;
        Ok(Elements { values: v.storage.values(&v.layout, Loc::caller())?, layout: v.layout.clone() })
    }

    /// The elements as a slice to write, in place, until the guard is dropped: every other use is an error meanwhile.
    ///
    /// # Errors
    /// As [`Tensor::read`]; `alias` also if they are being read, or must not be written; `grad` if a gradient flows to
    /// them, unless under [`no_grad`](crate::no_grad).
    #[track_caller]
    pub fn write<T: Element>(&self) -> Result<ElementsMut<T>> {
        self.no_gradient_for("write").map_err(|e| e.at(Loc::caller()))?;
        let v = self.kept::<T>("write", "with_write")?;
        row_major(v, "write", "write_strided")?;
        Ok(ElementsMut { values: v.storage.values_mut(&v.layout, Loc::caller())?, layout: v.layout.clone() })
    }

    /// As [`Tensor::read`] for a tensor of any strides: the slice is the memory from the lowest to the highest element, and
    /// the guard says where in it they are.
    ///
    /// ```
    /// let t = tensorc::arange(6)?.view([2, 3])?.t()?;
    /// let memory = t.read_strided::<i64>()?;
    /// assert_eq!((&*memory, memory.strides(), memory.offset()), (&[0, 1, 2, 3, 4, 5][..], &[1, 3][..], 0));
    /// # Ok::<(), tensorc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::read`], but for strides; `unsupported` if imported memory has gaps that belong to others.
    #[track_caller]
    pub fn read_strided<T: Element>(&self) -> Result<Elements<T>> {
        let v = self.kept::<T>("read_strided", "copy")?;
        Ok(Elements { values: v.storage.values(&v.layout, Loc::caller())?, layout: from_lowest(&v.layout) })
    }

    /// As [`Tensor::write`] for a tensor of any strides.
    ///
    /// # Errors
    /// As [`Tensor::read_strided`] and [`Tensor::write`].
    #[track_caller]
    pub fn write_strided<T: Element>(&self) -> Result<ElementsMut<T>> {
        self.no_gradient_for("write_strided").map_err(|e| e.at(Loc::caller()))?;
        let v = self.kept::<T>("write_strided", "with_write")?;
        Ok(ElementsMut { values: v.storage.values_mut(&v.layout, Loc::caller())?, layout: from_lowest(&v.layout) })
    }

    /// Calls `f` with the elements as a slice, in place. Also for memory that is lent for a scope.
    ///
    /// # Errors
    /// As [`Tensor::read`], but for lent memory.
    #[track_caller]
    pub fn with_read<T: Element, R>(&self, f: impl FnOnce(&[T]) -> R) -> Result<R> {
        let v = self.typed::<T>("with_read")?;
        row_major(v, "with_read", "copy")?;
        Ok(f(&v.storage.values(&v.layout, Loc::caller())?))
    }

    /// Calls `f` with the elements as a slice to write, in place. Also for memory that is lent for a scope.
    ///
    /// # Errors
    /// As [`Tensor::write`], but for lent memory.
    #[track_caller]
    pub fn with_write<T: Element, R>(&self, f: impl FnOnce(&mut [T]) -> R) -> Result<R> {
        self.no_gradient_for("with_write").map_err(|e| e.at(Loc::caller()))?;
        let v = self.typed::<T>("with_write")?;
        row_major(v, "with_write", "copy_")?;
        Ok(f(&mut v.storage.values_mut(&v.layout, Loc::caller())?))
    }

    /// The memory of a concrete tensor of that element type.
    #[track_caller]
    fn typed<T: Element>(&self, what: &str) -> Result<&View> {
        let loc = Loc::caller();
        if self.dtype() != T::DTYPE {
            return Err(err::dtype(format!("`{what}` of a tensor of {} as {}", self.dtype(), T::DTYPE))
                .at(loc)
                .help(format!("convert it first: `.to(tensorc::dtype::{:?})`", T::DTYPE)));
        }
        self.view_of(what).map_err(|e| e.at(loc))
    }

    /// As [`Tensor::typed`], for a guard: not of memory that a scope takes back.
    #[track_caller]
    fn kept<T: Element>(&self, what: &str, instead: &str) -> Result<&View> {
        let v = self.typed::<T>(what)?;
        if v.storage.is_lent() {
            return Err(err::alias(format!(
                "`{what}` of memory that is lent for a scope, which the guard could outlive"
            ))
            .at(Loc::caller())
            .help(format!("use `{instead}`, or read the memory where it was lent from")));
        }
        Ok(v)
    }
}

#[track_caller]
fn row_major(v: &View, what: &str, instead: &str) -> Result<()> {
    if v.layout.is_contiguous() {
        return Ok(());
    }
    let strides = v.layout.strides.as_slice();
    Err(err::shape(format!("`{what}` of a tensor of shape {} with strides {strides:?}", ShapeText(&v.layout.shape)))
        .at(Loc::caller())
        .help(format!("its elements are no slice; use `{instead}`, or a tensor made by `contiguous`")))
}

/// The layout counted from the lowest element.
fn from_lowest(layout: &Layout) -> Layout {
    let low = layout.bounds().map_or(layout.offset, |(low, _)| low.unsigned_abs());
    Layout { offset: layout.offset - low, ..layout.clone() }
}

macro_rules! guards {
    ($($(#[$doc:meta])* $name:ident: $values:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name<T: Element> {
            values: $values<T>,
            layout: Layout,
        }

        impl<T: Element> $name<T> {
            /// The tensor's extents.
            pub fn shape(&self) -> &[usize] {
                &self.layout.shape
            }

            /// The tensor's strides, in elements.
            pub fn strides(&self) -> &[isize] {
                &self.layout.strides
            }

            /// Where the tensor's first element is in the slice: not at its start if a stride is negative.
            pub fn offset(&self) -> usize {
                match self.layout.is_contiguous() {
                    true => 0,
                    false => self.layout.offset,
                }
            }
        }

        impl<T: Element> Deref for $name<T> {
            type Target = [T];

            fn deref(&self) -> &[T] {
                &self.values
            }
        }
    )*};
}

guards! {
    /// A tensor's elements held to read: what [`Tensor::read`] and [`Tensor::read_strided`] give.
    Elements: Values;
    /// A tensor's elements held to write: what [`Tensor::write`] and [`Tensor::write_strided`] give.
    ElementsMut: ValuesMut;
}

impl<T: Element> DerefMut for ElementsMut<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}

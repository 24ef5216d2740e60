//! Element types whose memory is nothing but bytes, so that slices of them and bytes are the same memory; and `bool`, whose
//! bytes are 0 or 1, which is checked wherever bytes become `bool`s.

use half::{bf16, f16};

mod sealed {
    pub trait Sealed {}
}

/// A number that every pattern of its bytes stands for: integers and floats, but not `bool`.
///
/// # Safety
/// No padding, no invalid pattern, no interior mutability. Sealed: this file lists all of them.
pub unsafe trait Plain: Copy + Send + Sync + 'static + sealed::Sealed {}

macro_rules! plain {
    ($($ty:ty)*) => {
        $(
            impl sealed::Sealed for $ty {}
            // SAFETY: a primitive integer or float, or a `repr(transparent)` wrapper of one.
            unsafe impl Plain for $ty {}
        )*
    };
}

plain!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 f16 bf16);

/// The Rust type of the elements of some dtype.
///
/// # Safety
/// No padding and no interior mutability; every pattern of bytes is valid, but for `bool`, for which it is 0 and 1.
/// Sealed: this file lists all of them.
pub unsafe trait Native: Copy + Send + Sync + 'static + sealed::Sealed {
    /// Whether this is `bool`.
    const IS_BOOL: bool = false;
}

macro_rules! native {
    ($($ty:ty)*) => {
        $(
            // SAFETY: it is `Plain`.
            unsafe impl Native for $ty {}
        )*
    };
}

native!(f64 f32 f16 bf16 i64 i32 i16 i8 u8);

impl sealed::Sealed for bool {}
// SAFETY: one byte, which is 0 or 1.
unsafe impl Native for bool {
    const IS_BOOL: bool = true;
}

/// The bytes of a slice.
pub fn bytes_of<T: Native>(values: &[T]) -> &[u8] {
    // SAFETY: the same memory; elements have no padding, so every byte is initialised.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bytes of a slice, to write.
pub fn bytes_of_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as above; whatever is written is a valid `T`.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// The bytes as values of `T`; `None` if their address or their number does not fit its size.
pub fn values_of<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    if bytes.is_empty() {
        return Some(&[]);
    }
    let fits = bytes.len().is_multiple_of(size_of::<T>()) && bytes.as_ptr().cast::<T>().is_aligned();
    // SAFETY: the same memory, aligned, and every pattern of bytes is a `T`.
    fits.then(|| unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) })
}

/// As [`values_of`], to write.
pub fn values_of_mut<T: Plain>(bytes: &mut [u8]) -> Option<&mut [T]> {
    if bytes.is_empty() {
        return Some(&mut []);
    }
    let fits = bytes.len().is_multiple_of(size_of::<T>()) && bytes.as_ptr().cast::<T>().is_aligned();
    // SAFETY: as above; the borrow is exclusive, and a `T` has no padding that writing it could leave uninitialised.
    fits.then(|| unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / size_of::<T>()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_values_are_the_same_memory() {
        let mut values = [1.0f32, -2.0];
        bytes_of_mut(&mut values)[3] |= 0x80;
        assert_eq!(values, [-1.0, -2.0]);
        let bytes = bytes_of(&values);
        assert_eq!(bytes.len(), 8);
        assert_eq!(values_of::<f32>(bytes), Some(&values[..]));
        assert_eq!(values_of::<f32>(&bytes[1..5]), None, "not aligned");
        assert_eq!(values_of::<f32>(&bytes[..6]), None, "one and a half");
        assert_eq!(values_of::<f64>(&bytes[1..1]), Some(&[][..]), "no values are aligned anywhere");
    }
}

//! Creating tensors.
//!
//! Random numbers are Philox4x32-10 with the element's index as counter, so the same seed gives the same numbers in every
//! mode and on every number of threads. Calls without a seed take the next one of a process-wide sequence that
//! [`manual_seed`] starts anew.

use super::{Argument, Element, Tensor, call, one, op};
use std::sync::atomic::{AtomicU64, Ordering};
use tensorc_ir::error::err;
use tensorc_ir::{DType, Loc, Result};

/// Nested arrays, vectors and slices of elements: what [`tensor`] takes.
pub trait Nested {
    /// The element type.
    type Item: Element;

    /// Appends the elements and gives the shape.
    ///
    /// # Errors
    /// `shape` if inner lists differ in length.
    fn gather(&self, out: &mut Vec<Self::Item>) -> Result<Vec<usize>>;
}

macro_rules! scalars {
    ($($ty:ty)*) => {$(
        impl Nested for $ty {
            type Item = $ty;
            fn gather(&self, out: &mut Vec<$ty>) -> Result<Vec<usize>> {
                out.push(*self);
                Ok(Vec::new())
            }
        }
    )*};
}

scalars! { f64 f32 half::f16 half::bf16 i64 i32 i16 i8 u8 bool }

impl<T: Nested> Nested for [T] {
    type Item = T::Item;

    fn gather(&self, out: &mut Vec<T::Item>) -> Result<Vec<usize>> {
        let mut shape: Option<Vec<usize>> = None;
        for t in self {
            let s = t.gather(out)?;
            match &shape {
                Some(first) if *first != s => {
                    return Err(err::shape(format!(
                        "a ragged list: expected a sequence of shape {first:?}, got {s:?}"
                    )));
                }
                _ => shape = Some(s),
            }
        }
        let mut shape = shape.unwrap_or_default();
        shape.insert(0, self.len());
        Ok(shape)
    }
}

macro_rules! lists {
    ($([$($g:tt)*] $ty:ty;)*) => {$(
        impl<T: Nested, $($g)*> Nested for $ty {
            type Item = T::Item;
            fn gather(&self, out: &mut Vec<T::Item>) -> Result<Vec<usize>> {
                self[..].gather(out)
            }
        }
    )*};
}

lists! { [const N: usize] [T; N]; [] Vec<T>; [] &[T]; }

/// A tensor of these elements; the dtype is theirs.
///
/// # Errors
/// `shape` if inner lists differ in length.
#[track_caller]
pub fn tensor<N: Nested>(values: N) -> Result<Tensor> {
    let mut out = Vec::new();
    let loc = Loc::caller();
    let shape = values.gather(&mut out).map_err(|e| e.at(loc))?;
    Tensor::from_vec(out, &shape)
}

#[track_caller]
fn sized(name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
    one(call(name, &[(None, shape.into()), (Some("dtype"), dtype.into())])?)
}

/// Zeros.
///
/// # Errors
/// `shape` if the tensor would be too large.
#[track_caller]
pub fn zeros(shape: &[usize], dtype: DType) -> Result<Tensor> {
    sized("zeros", shape, dtype)
}

/// Ones.
///
/// # Errors
/// `shape` if the tensor would be too large.
#[track_caller]
pub fn ones(shape: &[usize], dtype: DType) -> Result<Tensor> {
    sized("ones", shape, dtype)
}

/// A tensor to be written; reads as zeros until then.
///
/// # Errors
/// `shape` if the tensor would be too large.
#[track_caller]
pub fn empty(shape: &[usize], dtype: DType) -> Result<Tensor> {
    sized("empty", shape, dtype)
}

/// One value everywhere.
///
/// # Errors
/// `shape` if the tensor would be too large.
#[track_caller]
pub fn full(shape: &[usize], value: impl Into<Argument>, dtype: DType) -> Result<Tensor> {
    one(call("full", &[(None, shape.into()), (None, value.into()), (Some("dtype"), dtype.into())])?)
}

/// 0, 1, … up to but without `end`: `i64` for an integer, `f32` for a float.
///
/// # Errors
/// `shape` if there would be too many.
#[track_caller]
pub fn arange(end: impl Into<Argument>) -> Result<Tensor> {
    op("arange", [end.into()])
}

/// `start`, `start + step`, … up to but without `end`.
///
/// # Errors
/// `shape` if `step` is 0 or leads away from `end`.
#[track_caller]
pub fn arange_step(start: impl Into<Argument>, end: impl Into<Argument>, step: impl Into<Argument>) -> Result<Tensor> {
    op("arange", [start.into(), end.into(), step.into()])
}

/// `steps` numbers from `start` to `end`, both included.
///
/// # Errors
/// `shape` if `steps` is too large.
#[track_caller]
pub fn linspace(start: f64, end: f64, steps: usize) -> Result<Tensor> {
    op("linspace", [start.into(), end.into(), steps.into()])
}

/// The identity matrix.
///
/// # Errors
/// `shape` if the tensor would be too large.
#[track_caller]
pub fn eye(n: usize) -> Result<Tensor> {
    op("eye", [n.into()])
}

static SEED: AtomicU64 = AtomicU64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Starts the sequence of seeds anew from which every eager call of a random function without a `seed` takes the next
/// one, whichever thread it runs on.
pub fn manual_seed(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
    CALLS.store(0, Ordering::Relaxed);
}

/// A seed for one call: the process's seed mixed with the number of calls since it was set, as the finaliser of
/// SplitMix64 mixes (Steele, Lea and Flood, 2014).
fn next_seed() -> i64 {
    let n = CALLS.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let mut z = SEED.load(Ordering::Relaxed).wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as i64
}

/// The seed of an eager call that gives none.
///
/// # Errors
/// `type` while a function is traced: its program would draw the same numbers at every call.
pub(crate) fn drawn_seed(name: &str) -> Result<Tensor> {
    if crate::trace::current().is_some() {
        return Err(err::ty(format!("`{name}` needs a `seed` in a function that is traced"))
            .help("make it an argument, an i64 scalar: the traced program would draw the same numbers at every call"));
    }
    Tensor::scalar(next_seed())
}

/// A random function on a shape, with a seed or the process's next one.
#[track_caller]
fn random(name: &str, shape: &[usize], seed: Option<i64>) -> Result<Tensor> {
    let mut args: Vec<(Option<&str>, Argument)> = vec![(None, shape.into())];
    if let Some(s) = seed {
        args.push((Some("seed"), Tensor::scalar(s)?.into()));
    }
    one(call(name, &args)?)
}

/// Uniform numbers in `0.0..1.0`, `f32`. With `None` as seed, the next one of the process's sequence.
///
/// # Errors
/// `shape` if the tensor would be too large; `type` without a seed in a function that is traced.
#[track_caller]
pub fn rand(shape: &[usize], seed: Option<i64>) -> Result<Tensor> {
    random("rand", shape, seed)
}

/// Normal numbers of mean 0 and variance 1, `f32`. With `None` as seed, the next one of the process's sequence.
///
/// # Errors
/// `shape` if the tensor would be too large; `type` without a seed in a function that is traced.
#[track_caller]
pub fn randn(shape: &[usize], seed: Option<i64>) -> Result<Tensor> {
    random("randn", shape, seed)
}

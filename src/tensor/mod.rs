//! [`Tensor`]: a handle on memory, or on a value of a program being traced.
//!
//! All ops go through [`call`], by PyTorch's name. If any argument is traced the op is recorded; else it runs, as a
//! compiled program of one op ([`eager`]). In a function that control flow runs all are recorded: which of them run is not
//! known yet. Methods are thin wrappers.

pub(crate) mod concrete;
pub mod create;
mod eager;
pub mod index;
mod memo;
mod methods;
mod operators;
mod sized;

pub(crate) use eager::{compile_traced, number_view};
pub use operators::{Operand, add, div, mul, rem, sub};

use crate::trace::{self, Traced};
use concrete::Concrete;
use std::sync::Arc;
use tensorc_ir::error::err;
use tensorc_ir::ops::registry;
use tensorc_ir::{DType, Layout, Loc, Result, Scalar, Strided};
use tensorc_runtime::executable::View;
use tensorc_runtime::plain::Native;
use tensorc_runtime::storage::Storage;

/// A multi-dimensional array of one dtype.
///
/// `clone` makes another handle on the same memory; [`Tensor::copy`] makes new memory. Handles may be sent to and shared
/// by threads: a call takes the memory of its arguments without waiting, and is an error if another thread is using it.
#[derive(Clone)]
pub struct Tensor(pub(crate) Repr);

#[derive(Clone)]
pub(crate) enum Repr {
    Concrete(Arc<Concrete>),
    /// Behind a pointer, so that handles on memory, of which there are most, are small.
    Traced(Arc<Traced>),
}

/// An argument of an op.
#[derive(Clone)]
pub enum Argument {
    /// `None`.
    None,
    /// A tensor.
    Tensor(Tensor),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A dtype.
    DType(DType),
    /// Text.
    Str(String),
    /// A list.
    List(Vec<Argument>),
}

macro_rules! from {
    ($($ty:ty: $v:ident => $e:expr),* $(,)?) => {
        $(impl From<$ty> for Argument { fn from($v: $ty) -> Argument { $e } })*
    };
}

from! {
    Tensor: t => Argument::Tensor(t),
    &Tensor: t => Argument::Tensor(t.clone()),
    i64: v => Argument::Int(v),
    i32: v => Argument::Int(v as i64),
    usize: v => Argument::Int(v as i64),
    f64: v => Argument::Float(v),
    f32: v => Argument::Float(v as f64),
    bool: v => Argument::Bool(v),
    DType: v => Argument::DType(v),
    &str: v => Argument::Str(v.into()),
    &[i64]: v => Argument::List(v.iter().map(|i| Argument::Int(*i)).collect()),
    &[usize]: v => Argument::List(v.iter().map(|i| Argument::Int(*i as i64)).collect()),
    &[Tensor]: v => Argument::List(v.iter().map(|t| Argument::Tensor(t.clone())).collect()),
}

impl<T: Into<Argument>> From<Option<T>> for Argument {
    fn from(v: Option<T>) -> Argument {
        v.map_or(Argument::None, Into::into)
    }
}

impl<T: Into<Argument>, const N: usize> From<[T; N]> for Argument {
    fn from(v: [T; N]) -> Argument {
        Argument::List(v.into_iter().map(Into::into).collect())
    }
}

/// Calls an op by PyTorch's name, with positional arguments and keyword arguments.
///
/// # Errors
/// What the op refuses, with the caller's line.
#[track_caller]
pub fn call(name: &str, args: &[(Option<&str>, Argument)]) -> Result<Vec<Tensor>> {
    let loc = Loc::caller();
    if !trace::is_active()
        && let Some(found) = eager::run_known(name, args, loc)
    {
        return found.map_err(|e| e.at(loc));
    }
    let tensors = args.iter().flat_map(|(_, a)| match a {
        Argument::List(l) => l.as_slice(),
        a => std::slice::from_ref(a),
    });
    let tensors = tensors.filter_map(|a| if let Argument::Tensor(t) = a { Some(t) } else { None });
    match trace::of(tensors).or_else(trace::current) {
        Some(trace) => {
            if trace::current().is_some() && registry::lacks_seed(name, args.iter().map(|(k, _)| *k)) {
                create::drawn_seed(name).map_err(|e| e.at(loc))?;
            }
            trace.record(name, args, loc).map_err(|e| e.at(loc))
        }
        None if let Some(found) = sized::run(name, args).transpose() => found.map_err(|e| e.at(loc)),
        None if let Some(known) = sized::integers(name, args).transpose() => {
            eager::run(name, &known.map_err(|e| e.at(loc))?, loc).map_err(|e| e.at(loc))
        }
        None if registry::lacks_seed(name, args.iter().map(|(k, _)| *k)) => {
            let mut args = args.to_vec();
            args.push((Some("seed"), create::drawn_seed(name).map_err(|e| e.at(loc))?.into()));
            eager::run(name, &args, loc).map_err(|e| e.at(loc))
        }
        None => eager::run(name, args, loc).map_err(|e| e.at(loc)),
    }
}

/// Calls an op with positional arguments and one result.
#[track_caller]
pub(crate) fn op<const N: usize>(name: &str, args: [Argument; N]) -> Result<Tensor> {
    one(call(name, &args.map(|a| (None, a)))?)
}

pub(crate) fn one(mut results: Vec<Tensor>) -> Result<Tensor> {
    match (results.pop(), results.is_empty()) {
        (Some(t), true) => Ok(t),
        _ => Err(err::ty("expected one result")),
    }
}

/// The Rust type of an element.
pub trait Element: Native {
    /// The dtype.
    const DTYPE: DType;
    /// From a scalar, by the rule of casts.
    fn from_scalar(v: Scalar) -> Self;
    /// As a scalar of [`Element::DTYPE`].
    fn to_scalar(self) -> Scalar;
}

macro_rules! elements {
    ($($ty:ty, $dtype:ident, |$s:ident| $from:expr, |$v:ident| $to:expr;)*) => {$(
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            fn from_scalar($s: Scalar) -> $ty { $from }
            fn to_scalar(self) -> Scalar { let $v = self; $to }
        }
    )*};
}

elements! {
    f64, F64, |s| s.to_f64(), |v| Scalar::from_f64(DType::F64, v);
    f32, F32, |s| s.to_f64() as f32, |v| Scalar::from_f64(DType::F32, v as f64);
    half::f16, F16, |s| half::f16::from_f64(s.to_f64()), |v| Scalar::from_f64(DType::F16, v.to_f64());
    half::bf16, BF16, |s| half::bf16::from_f64(s.to_f64()), |v| Scalar::from_f64(DType::BF16, v.to_f64());
    i64, I64, |s| s.to_i64(), |v| Scalar::from_i64(DType::I64, v);
    i32, I32, |s| s.to_i64() as i32, |v| Scalar::from_i64(DType::I32, v as i64);
    i16, I16, |s| s.to_i64() as i16, |v| Scalar::from_i64(DType::I16, v as i64);
    i8, I8, |s| s.to_i64() as i8, |v| Scalar::from_i64(DType::I8, v as i64);
    u8, U8, |s| s.to_i64() as u8, |v| Scalar::from_i64(DType::U8, v as i64);
    bool, Bool, |s| s.to_bool(), |v| Scalar::from_bool(v);
}

/// The extents of a tensor; prints as PyTorch prints a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size(pub Vec<usize>);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tensorc.Size({:?})", self.0)
    }
}

impl Tensor {
    pub(crate) fn concrete(view: View) -> Tensor {
        Tensor(Repr::Concrete(Arc::new(Concrete::new(view))))
    }

    /// A row-major tensor from scalars of that dtype.
    pub(crate) fn from_scalars(dtype: DType, shape: &[usize], values: &[Scalar]) -> Result<Tensor> {
        let mut bytes = vec![0; values.len() * dtype.size()];
        values.iter().zip(bytes.chunks_mut(dtype.size())).for_each(|(v, b)| v.write(b));
        Tensor::from_bytes(dtype, shape, &bytes)
    }

    /// A row-major tensor from little-endian bytes.
    ///
    /// # Errors
    /// `shape` if the number of bytes does not fit.
    #[track_caller]
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor> {
        let loc = Loc::caller();
        let numel = tensorc_ir::types::checked_numel(shape).map_err(|e| e.at(loc))?;
        if numel * dtype.size() != bytes.len() {
            return Err(err::shape(format!("{} bytes for a tensor {dtype}{shape:?}", bytes.len())).at(Loc::caller()));
        }
        let storage = Storage::from_bytes(bytes)?;
        Ok(Tensor::of_numbers(View { storage, dtype, layout: Layout::contiguous(shape) }))
    }

    /// A tensor of memory that has just been made of numbers.
    pub(crate) fn of_numbers(view: View) -> Tensor {
        if let Some(trace) = trace::current() {
            trace.born(view.storage.clone());
        }
        Tensor::concrete(view)
    }

    /// A 0-d tensor: what to pass to a jitted function for a number that changes from call to call.
    ///
    /// # Errors
    /// `unsupported` if there is no memory.
    pub fn scalar<T: Element>(v: T) -> Result<Tensor> {
        Tensor::from_scalars(T::DTYPE, &[], &[v.to_scalar()])
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match &self.0 {
            Repr::Concrete(v) => v.dtype,
            Repr::Traced(t) => t.ty.dtype,
        }
    }

    /// Extents.
    pub fn shape(&self) -> &[usize] {
        match &self.0 {
            Repr::Concrete(v) => &v.layout.shape,
            Repr::Traced(t) => t.shape(),
        }
    }

    /// Extents, in a form that prints as PyTorch's `size()`.
    pub fn size(&self) -> Size {
        Size(self.shape().to_vec())
    }

    /// Number of dimensions.
    pub fn dim(&self) -> usize {
        match &self.0 {
            Repr::Concrete(v) => v.layout.shape.len(),
            Repr::Traced(t) => t.ty.rank(),
        }
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.shape().iter().product()
    }

    /// Where it lies, where extents may be symbolic.
    pub(crate) fn strided(&self) -> Strided {
        match &self.0 {
            Repr::Concrete(v) => Strided::from(&v.layout),
            Repr::Traced(t) => t.strided(),
        }
    }

    /// Element strides.
    pub fn strides(&self) -> Vec<isize> {
        self.layout().strides.to_vec()
    }

    /// Whether the elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.layout().is_contiguous()
    }

    /// The address of the first element, as a number to compare.
    ///
    /// # Errors
    /// `type` under trace, where a tensor has no memory yet.
    pub fn data_ptr(&self) -> Result<usize> {
        let v = self.view_of("data_ptr")?;
        Ok(v.storage.as_ptr().addr() + v.layout.offset * v.dtype.size())
    }

    /// Whether both share memory storage.
    pub fn shares_storage(&self, other: &Tensor) -> bool {
        match (&self.0, &other.0) {
            (Repr::Concrete(a), Repr::Concrete(b)) => a.storage.same(&b.storage),
            (Repr::Traced(a), Repr::Traced(b)) => a.shares(b),
            _ => false,
        }
    }

    /// Whether both are the same elements in memory, or the same value of a program.
    pub(crate) fn is(&self, other: &Tensor) -> bool {
        match (&self.0, &other.0) {
            (Repr::Concrete(a), Repr::Concrete(b)) => {
                a.storage.same(&b.storage) && a.layout == b.layout && a.dtype == b.dtype
            }
            (Repr::Traced(a), Repr::Traced(b)) => Arc::ptr_eq(&a.trace, &b.trace) && a.value == b.value,
            _ => false,
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        match &self.0 {
            Repr::Concrete(v) => v.layout.clone(),
            Repr::Traced(t) => t.layout(),
        }
    }

    /// The memory of a concrete tensor.
    pub(crate) fn view_of(&self, what: &str) -> Result<&View> {
        match &self.0 {
            Repr::Concrete(v) => Ok(&v.view),
            Repr::Traced(_) => {
                Err(err::ty(format!("`{what}` needs the elements, which a traced tensor does not have"))
                    .help("return the tensor from the traced function and read it outside"))
            }
        }
    }

    /// The elements in row-major order, as scalars.
    ///
    /// # Errors
    /// `type` while tracing, `alias` if another thread is writing them.
    #[track_caller]
    pub fn scalars(&self) -> Result<Vec<Scalar>> {
        let loc = Loc::caller();
        let v = self.view_of("reading").map_err(|e| e.at(loc))?;
        let bytes = v.storage.elements(&v.layout, v.dtype.size(), loc)?;
        Ok(bytes.chunks_exact(v.dtype.size()).map(|b| Scalar::read(v.dtype, b)).collect())
    }

    /// The one element, converted to `T`.
    ///
    /// # Errors
    /// `shape` if there is not exactly one; `type` while tracing.
    #[track_caller]
    pub fn item<T: Element>(&self) -> Result<T> {
        if self.numel() != 1 {
            return Err(err::shape(format!("a Tensor with {} elements cannot be converted to Scalar", self.numel()))
                .at(Loc::caller()));
        }
        Ok(T::from_scalar(self.scalars()?[0].cast(T::DTYPE)))
    }

    /// The elements' bytes, row-major.
    ///
    /// # Errors
    /// As [`Tensor::scalars`].
    #[track_caller]
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let loc = Loc::caller();
        let v = self.view_of("reading").map_err(|e| e.at(loc))?;
        v.storage.elements(&v.layout, v.dtype.size(), loc)
    }
}

//! [`Ex`]: a value with its builder, so that definitions read like the formulas they are.
//!
//! Operators and methods append nodes. A step that fails leaves its error with the builder and gives an empty `Ex`, on
//! which further steps do nothing.

use super::Builder;
use crate::dim::{Dim, Dims, extents, product};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::graph::Value;
use crate::ops::elementwise::Row;
use crate::ops::gather::{Gather, Scatter, ScatterMode};
use crate::ops::merge::Merge;
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::scan::{Scan, ScanKind};
use crate::ops::{Op, view};
use crate::types::{Shape, Span, Type};
use smallvec::SmallVec;

/// A value of the graph that a builder is making.
#[derive(Clone, Copy)]
pub struct Ex<'b> {
    b: &'b Builder,
    v: Option<Value>,
}

impl<'b> Ex<'b> {
    pub(super) fn new(b: &'b Builder, v: Option<Value>) -> Ex<'b> {
        Ex { b, v }
    }

    /// The builder.
    pub fn builder(self) -> &'b Builder {
        self.b
    }

    /// The value, or the error of the step that failed to make it.
    ///
    /// # Errors
    /// That error (the first one of the formula).
    pub fn value(self) -> Result<Value> {
        match self.v {
            Some(v) => Ok(v),
            None => Err(self.b.check().err().unwrap_or_else(|| crate::error::err::internal("an earlier error"))),
        }
    }

    /// The value's type; `f32[]` after an error.
    pub fn ty(self) -> Type {
        self.v.map_or_else(|| Type::new(DType::F32, [0usize; 0]), |v| self.b.ty(v))
    }

    /// Element type.
    pub fn dtype(self) -> DType {
        self.ty().dtype
    }

    /// Extents, some of which may be symbolic.
    pub fn dims(self) -> Dims {
        self.ty().shape
    }

    /// Extents that are known. Where one is symbolic, the formula fails with an error that says so, and the caller makes
    /// a program for the sizes at hand; [`Ex::dims`] does without that.
    pub fn shape(self) -> Shape {
        let dims = self.dims();
        extents(&dims).unwrap_or_else(|e| {
            self.b.fail(e);
            // Numbers to go on with, which nobody will see.
            dims.iter().map(|d| d.extent().unwrap_or(2)).collect()
        })
    }

    /// The number of elements, which may be symbolic.
    pub fn count(self) -> Dim {
        product(&self.dims())
    }

    /// The number of elements if it is known; see [`Ex::shape`].
    pub fn numel(self) -> usize {
        self.shape().iter().product()
    }

    /// Number of dimensions.
    pub fn rank(self) -> usize {
        self.dims().len()
    }

    /// Applies an op that takes these operands exactly.
    pub fn apply(self, op: Op, more: &[Ex<'b>]) -> Ex<'b> {
        let values: Option<Vec<Value>> = std::iter::once(self.v).chain(more.iter().map(|e| e.v)).collect();
        match values {
            Some(values) => self.b.wrap(self.b.emit(op, &values)),
            None => Ex { b: self.b, v: None },
        }
    }

    /// Applies an elementwise function by name, promoting and broadcasting.
    pub fn map(self, name: &str, more: &[Ex<'b>]) -> Ex<'b> {
        let Some(row) = Row::find(name) else {
            return self.b.wrap(Err(crate::error::err::internal(format!("no elementwise function `{name}`"))));
        };
        let values: Option<Vec<Value>> = std::iter::once(self.v).chain(more.iter().map(|e| e.v)).collect();
        match values {
            Some(values) => self.b.wrap(self.b.map(row, &values)),
            None => Ex { b: self.b, v: None },
        }
    }

    /// The elements in that dtype.
    pub fn cast(self, dtype: DType) -> Ex<'b> {
        match self.v {
            Some(v) => self.b.wrap(self.b.cast(v, dtype)),
            None => self,
        }
    }

    /// Stretched to that shape.
    pub fn expand<D: Copy + Into<Dim>>(self, shape: &[D]) -> Ex<'b> {
        match self.v {
            Some(v) => self.b.wrap(self.b.expand(v, &to_dims(shape))),
            None => self,
        }
    }

    /// In that shape, which has as many elements; shares memory if it can, else copies.
    pub fn reshape<D: Copy + Into<Dim>>(self, shape: &[D]) -> Ex<'b> {
        let Some(v) = self.v else { return self };
        let shape = to_dims(shape);
        if self.dims() == shape {
            return self;
        }
        let (_, layout) = self.b.storage(v);
        let from = match layout.reshape(&shape) {
            Err(e) => return self.b.wrap(Err(e)),
            Ok(None) if product(&layout.shape) == product(&shape) => self.copy(),
            Ok(_) => self,
        };
        from.apply(Op::Reshape(view::Reshape(shape)), &[])
    }

    /// A new contiguous tensor with the same elements.
    pub fn copy(self) -> Ex<'b> {
        self.apply(Op::Copy, &[])
    }

    /// Dimensions in that order.
    pub fn permute(self, order: &[usize]) -> Ex<'b> {
        if order.iter().enumerate().all(|(i, o)| i == *o) && order.len() == self.rank() {
            return self;
        }
        self.apply(Op::Permute(view::Permute(order.into())), &[])
    }

    /// Dimensions `a` and `b` swapped.
    pub fn transpose(self, a: usize, b: usize) -> Ex<'b> {
        if self.v.is_none() {
            return self;
        }
        let mut order: Vec<usize> = (0..self.rank()).collect();
        order.swap(a, b);
        self.permute(&order)
    }

    /// Some elements of each dimension.
    pub fn slice<S: Copy + Into<Span>>(self, spans: &[S]) -> Ex<'b> {
        self.apply(Op::Slice(view::Slice(to_spans(spans))), &[])
    }

    /// Elements `start..start + len` of one dimension.
    pub fn narrow(self, dim: usize, start: impl Into<Dim>, len: impl Into<Dim>) -> Ex<'b> {
        if self.v.is_none() {
            return self;
        }
        let mut spans: Vec<Span> = self.dims().iter().map(|d| Span::all(*d)).collect();
        spans[dim] = Span { start: start.into(), len: len.into(), step: 1 };
        self.slice(&spans)
    }

    /// With a slice replaced by `update`.
    pub fn slice_update<S: Copy + Into<Span>>(self, spans: &[S], update: Ex<'b>) -> Ex<'b> {
        self.apply(Op::SliceUpdate(view::SliceUpdate(view::Slice(to_spans(spans)))), &[update])
    }

    /// A new dimension of extent 1 before `dim`.
    pub fn unsqueeze(self, dim: usize) -> Ex<'b> {
        if self.v.is_none() {
            return self;
        }
        let mut shape = self.dims();
        shape.insert(dim, Dim::ONE);
        self.reshape(&shape)
    }

    /// Reduces axes away; with `keepdim` they stay with extent 1.
    pub fn reduce(self, kind: ReduceKind, axes: &[usize], keepdim: bool) -> Ex<'b> {
        let mut axes: Vec<usize> = axes.to_vec();
        axes.sort_unstable();
        let mut kept = self.dims();
        for a in &axes {
            if let Some(d) = kept.get_mut(*a) {
                *d = Dim::ONE;
            }
        }
        let r = self.apply(Op::Reduce(Reduce { kind, axes: axes.into() }), &[]);
        if keepdim { r.reshape(&kept) } else { r }
    }

    /// Sum over axes.
    pub fn sum(self, axes: &[usize], keepdim: bool) -> Ex<'b> {
        self.reduce(ReduceKind::Sum, axes, keepdim)
    }

    /// Sum over all axes.
    pub fn sum_all(self) -> Ex<'b> {
        let axes: Vec<usize> = (0..self.rank()).collect();
        self.sum(&axes, false)
    }

    /// A vector along dimension `dim` of `rank`, the others of extent 1.
    pub fn laid_along(self, dim: usize, rank: usize) -> Ex<'b> {
        let mut shape = vec![Dim::ONE; rank];
        shape[dim] = self.count();
        self.reshape(&shape)
    }

    /// Sums so that the result has that shape, which broadcasts to this one: the transpose of `expand`.
    pub fn sum_to<D: Copy + Into<Dim>>(self, shape: &[D]) -> Ex<'b> {
        let (mine, shape) = (self.dims(), to_dims(shape));
        let lead = mine.len() - shape.len().min(mine.len());
        let axes: Vec<usize> =
            (0..mine.len()).filter(|i| *i < lead || (shape[*i - lead].is(1) && !mine[*i].is(1))).collect();
        let r = if axes.is_empty() { self } else { self.sum(&axes, false) };
        r.reshape(&shape)
    }

    /// Batched matrix product `[b, m, k] @ [b, k, n]`.
    pub fn bmm(self, other: Ex<'b>) -> Ex<'b> {
        self.apply(Op::Dot, &[other])
    }

    /// Picks elements along an axis; see [`Gather`].
    pub fn gather(self, axis: usize, index: Ex<'b>) -> Ex<'b> {
        self.apply(Op::Gather(Gather { axis }), &[index])
    }

    /// Writes elements along an axis; see [`Scatter`].
    pub fn scatter(self, axis: usize, mode: ScatterMode, index: Ex<'b>, source: Ex<'b>) -> Ex<'b> {
        self.apply(Op::Scatter(Scatter { axis, mode }), &[index, source])
    }

    /// Running combination along an axis.
    pub fn scan(self, kind: ScanKind, axis: usize) -> Ex<'b> {
        self.apply(Op::Scan(Scan { kind, axis }), &[])
    }

    /// One pass of a merge sort of an order by these keys; see [`Merge`].
    pub fn merge(self, order: Ex<'b>, pass: Merge) -> Ex<'b> {
        self.apply(Op::Merge(pass), &[order])
    }

    /// `if self { a } else { b }` for each element.
    pub fn select(self, a: Ex<'b>, b: Ex<'b>) -> Ex<'b> {
        self.map("where", &[a, b])
    }

    /// Zeros of this type.
    pub fn zeros(self) -> Ex<'b> {
        self.b.zeros(&self.ty())
    }

    /// This extent as an operand of a formula of floats.
    pub fn extent(self, d: Dim) -> Ex<'b> {
        match d.known() {
            Some(v) => self.number(v as f64),
            None => self.b.int(d),
        }
    }

    /// This number as an operand of the formula.
    pub fn number(self, v: f64) -> Ex<'b> {
        self.b.number(Scalar::from_f64(DType::F64, v))
    }
}

/// Extents as dims.
fn to_dims<D: Copy + Into<Dim>>(shape: &[D]) -> Dims {
    shape.iter().map(|d| (*d).into()).collect()
}

fn to_spans<S: Copy + Into<Span>>(spans: &[S]) -> SmallVec<[Span; 4]> {
    spans.iter().map(|s| (*s).into()).collect()
}

macro_rules! binary {
    ($($trait:ident $method:ident $row:literal),*) => {$(
        impl<'b> std::ops::$trait<Ex<'b>> for Ex<'b> {
            type Output = Ex<'b>;
            fn $method(self, other: Ex<'b>) -> Ex<'b> {
                self.map($row, &[other])
            }
        }
        impl<'b> std::ops::$trait<f64> for Ex<'b> {
            type Output = Ex<'b>;
            fn $method(self, other: f64) -> Ex<'b> {
                self.map($row, &[self.number(other)])
            }
        }
        impl<'b> std::ops::$trait<Ex<'b>> for f64 {
            type Output = Ex<'b>;
            fn $method(self, other: Ex<'b>) -> Ex<'b> {
                other.number(self).map($row, &[other])
            }
        }
    )*};
}

binary!(Add add "add", Sub sub "sub", Mul mul "mul", Div div "div");

impl<'b> std::ops::Neg for Ex<'b> {
    type Output = Ex<'b>;
    fn neg(self) -> Ex<'b> {
        self.map("neg", &[])
    }
}

macro_rules! functions {
    ($($arity:tt: $($name:ident)*;)*) => {
        impl<'b> Ex<'b> { $($(functions!(@one $arity $name);)*)* }
    };
    (@one 1 $name:ident) => {
        #[doc = concat!("The elementwise function `", stringify!($name), "`.")]
        pub fn $name(self) -> Ex<'b> { self.map(stringify!($name), &[]) }
    };
    (@one 2 $name:ident) => {
        #[doc = concat!("The elementwise function `", stringify!($name), "`.")]
        pub fn $name(self, other: Ex<'b>) -> Ex<'b> { self.map(stringify!($name), &[other]) }
    };
}

functions! {
    1: exp log log1p expm1 sqrt rsqrt sin cos tan tanh sinh cosh sigmoid erf abs sign floor ceil round trunc logical_not
       isnan digamma;
    2: eq ne lt le gt ge maximum minimum pow logical_and logical_or floor_divide remainder fmod atan2;
}

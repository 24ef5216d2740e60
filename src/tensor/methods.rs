//! Methods: thin wrappers that call the op of the same name. The op table (`tensorc ops`) has the full documentation.

use super::operators::binary;
use super::{Argument, Operand, Tensor, call, one, op};
use tensorc_ir::{DType, Result};

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*);)*) => {
        impl Tensor {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// What the op of this name refuses.
            #[track_caller]
            pub fn $name(&self $(, $arg: $ty)*) -> Result<Tensor> {
                op(stringify!($name), [self.into() $(, $arg.into())*])
            }
        )*}
    };
}

macro_rules! unary {
    ($($name:ident $in_place:ident)*) => {
        impl Tensor {$(
            #[doc = concat!("The elementwise function `", stringify!($name), "`.")]
            ///
            /// # Errors
            /// `dtype` if it is not defined for this dtype.
            #[track_caller]
            pub fn $name(&self) -> Result<Tensor> {
                op(stringify!($name), [self.into()])
            }

            #[doc = concat!("`", stringify!($name), "` in this tensor's memory.")]
            ///
            /// # Errors
            /// As the function; `alias` if the memory may not be written.
            #[track_caller]
            pub fn $in_place(&self) -> Result<Tensor> {
                op(stringify!($in_place), [self.into()])
            }
        )*}
    };
}

macro_rules! binary {
    ($($name:ident)*) => {
        impl Tensor {$(
            #[doc = concat!("The function `", stringify!($name), "` of this tensor and another operand.")]
            ///
            /// # Errors
            /// `shape` if the shapes do not fit, `dtype` if it is not defined for the dtypes.
            #[track_caller]
            pub fn $name(&self, other: impl Operand) -> Result<Tensor> {
                binary(stringify!($name), self, other)
            }
        )*}
    };
}

unary! {
    abs abs_ acos acos_ asin asin_ atan atan_ ceil ceil_ cos cos_ cosh cosh_ erf erf_ exp exp_ exp2 exp2_ expm1 expm1_
    floor floor_ frac frac_ gelu gelu_ log log_ log10 log10_ log1p log1p_ log2 log2_ logical_not logical_not_
    reciprocal reciprocal_ relu relu_ relu6 relu6_ round round_ rsqrt rsqrt_ sigmoid sigmoid_ sign sign_ silu silu_ sin sin_
    sinh sinh_ sqrt sqrt_ square square_ tan tan_ tanh tanh_ trunc trunc_
}

binary! {
    maximum minimum pow floor_divide fmod remainder atan2 eq ne lt le gt ge logical_and logical_or logical_xor
    bitwise_and bitwise_or bitwise_xor matmul mm bmm dot copy_
}

methods! {
    /// The same memory in another shape; one extent may be -1.
    view(shape: impl Into<Argument>);
    /// In another shape; shares memory if it can, else copies.
    reshape(shape: impl Into<Argument>);
    /// Dimensions in another order, sharing memory.
    permute(dims: impl Into<Argument>);
    /// Two dimensions swapped, sharing memory.
    transpose(dim0: i64, dim1: i64);
    /// The transpose of a matrix, sharing memory.
    t();
    /// Dimensions of extent 1 stretched, sharing memory.
    expand(size: impl Into<Argument>);
    /// A dimension of extent 1 removed; all of them with `None`.
    squeeze(dim: Option<i64>);
    /// A dimension of extent 1 added.
    unsqueeze(dim: i64);
    /// Dimensions merged into one.
    flatten(start_dim: i64, end_dim: i64);
    /// `length` elements of a dimension from `start` on, sharing memory.
    narrow(dim: i64, start: i64, length: i64);
    /// One element of a dimension, sharing memory.
    select(dim: i64, index: i64);
    /// A diagonal, sharing memory.
    diagonal(offset: i64, dim1: i64, dim2: i64);
    /// The same memory, through which no gradient flows.
    detach();
    /// This tensor if it is contiguous, else a copy that is.
    contiguous();
    /// In another dtype, or in that of another tensor; this tensor itself if it has it.
    to(dtype: impl Into<Argument>);
    /// Softmax along a dimension.
    softmax(dim: i64);
    /// The logarithm of softmax along a dimension.
    log_softmax(dim: i64);
    /// Running sum along a dimension.
    cumsum(dim: i64);
    /// Running product along a dimension.
    cumprod(dim: i64);
    /// Elements picked along a dimension by an index tensor of the same rank.
    gather(dim: i64, index: &Tensor);
    /// Slices of a dimension picked by a 1-d index tensor.
    index_select(dim: i64, index: &Tensor);
    /// Elements of `src` written at an index along a dimension; of duplicates the last one stays.
    scatter(dim: i64, index: &Tensor, src: &Tensor);
    /// Elements of `src` added at an index along a dimension.
    scatter_add(dim: i64, index: &Tensor, src: &Tensor);
    /// Elements of `src` combined at an index along a dimension: "sum", "prod", "mean", "amax" or "amin".
    scatter_reduce(dim: i64, index: &Tensor, src: &Tensor, reduce: &str);
    /// Rows of `source` added at the indices of a dimension that a 1-d tensor names.
    index_add(dim: i64, index: &Tensor, source: &Tensor);
    /// Rows of `source` written at the indices of a dimension that a 1-d tensor names.
    index_copy(dim: i64, index: &Tensor, source: &Tensor);
    /// Elements of `source` written at positions of the flattened tensor.
    put(index: &Tensor, source: &Tensor);
    /// Elements of `source`, in order, where the mask is true.
    masked_scatter(mask: &Tensor, source: &Tensor);
    /// The elements where the mask is true. The size depends on the data: not in a traced function.
    masked_select(mask: &Tensor);
    /// The indices of the elements that are not 0, `[n, rank]`. The size depends on the data: not in a traced function.
    nonzero();
    /// The different elements in order. The size depends on the data: not in a traced function.
    unique();
    /// Elements at these strides from where this tensor begins, sharing memory.
    as_strided(size: impl Into<Argument>, stride: impl Into<Argument>);
    /// Windows of a dimension as a new last one, sharing memory.
    unfold(dimension: i64, size: i64, step: i64);
    /// The bits as elements of another dtype of the same size, sharing memory.
    view_dtype(dtype: DType);
    /// The positions that sort a dimension.
    argsort(dim: i64, descending: bool);
    /// The upper triangle, the rest zero.
    triu(diagonal: i64);
    /// The lower triangle, the rest zero.
    tril(diagonal: i64);
    /// `value` where the mask is true.
    masked_fill(mask: &Tensor, value: f64);
    /// Every element set to that number, in this tensor's memory.
    fill_(value: impl Into<Argument>);
    /// Every element set to 0, in this tensor's memory.
    zero_();
    /// Elements reversed along dimensions, in new memory.
    flip(dims: impl Into<Argument>);
    /// Repeated along every dimension.
    repeat(repeats: impl Into<Argument>);
    /// Zeros of this type.
    zeros_like();
    /// Ones of this type.
    ones_like();
}

/// Reductions over all dimensions, and over some with the `_dim` form.
macro_rules! reductions {
    ($($name:ident $over:ident $doc:literal;)*) => {
        impl Tensor {$(
            #[doc = concat!($doc, " over all elements.")]
            ///
            /// # Errors
            /// `dtype` if it is not defined for this dtype; `shape` if there is no element and no identity.
            #[track_caller]
            pub fn $name(&self) -> Result<Tensor> {
                op(stringify!($name), [self.into()])
            }

            #[doc = concat!($doc, " over some dimensions (a number or an array of them), which stay with extent 1 if `keepdim`.")]
            ///
            /// # Errors
            /// `index` if a dimension is out of range or named twice; as without dimensions.
            #[track_caller]
            pub fn $over(&self, dim: impl Into<Argument>, keepdim: bool) -> Result<Tensor> {
                one(call(
                    stringify!($name),
                    &[(None, self.into()), (Some("dim"), dim.into()), (Some("keepdim"), keepdim.into())],
                )?)
            }
        )*}
    };
}

reductions! {
    sum sum_dim "The sum";
    mean mean_dim "The mean";
    prod prod_dim "The product";
    amax amax_dim "The largest element";
    amin amin_dim "The smallest element";
    argmax argmax_dim "The position of the largest element";
    argmin argmin_dim "The position of the smallest element";
    all all_dim "Whether all elements are true";
    any any_dim "Whether some element is true";
    var var_dim "The variance (unbiased)";
    std std_dim "The standard deviation (unbiased)";
    logsumexp logsumexp_dim "The logarithm of the sum of exponentials";
    norm norm_dim "The Euclidean norm";
}

impl Tensor {
    /// A copy in new, contiguous memory (`clone` makes a handle on the same memory).
    ///
    /// # Errors
    /// `unsupported` if there is no memory.
    #[track_caller]
    pub fn copy(&self) -> Result<Tensor> {
        op("clone", [self.into()])
    }

    /// `x` where the condition (this tensor) holds, else `other`.
    ///
    /// # Errors
    /// `dtype` if this is not a bool tensor, `shape` if the shapes do not broadcast.
    #[track_caller]
    pub fn where_(&self, x: impl Operand, other: impl Operand) -> Result<Tensor> {
        op("where", [self.into(), x.into_argument()?, other.into_argument()?])
    }

    /// Elements limited to `min..=max`.
    ///
    /// # Errors
    /// `dtype` if it is not defined for this dtype.
    #[track_caller]
    pub fn clamp(&self, min: impl Into<Argument>, max: impl Into<Argument>) -> Result<Tensor> {
        op("clamp", [self.into(), min.into(), max.into()])
    }

    /// The cross entropy of these logits `[n, classes]` and target classes `i64[n]`, averaged.
    ///
    /// # Errors
    /// `shape` or `dtype` if they do not fit; `data` if a target is no class.
    #[track_caller]
    pub fn cross_entropy(&self, target: &Tensor) -> Result<Tensor> {
        op("cross_entropy", [self.into(), target.into()])
    }
}

impl Tensor {
    /// `-x` in this tensor's memory.
    ///
    /// # Errors
    /// `dtype` for bool, `alias` if the memory may not be written.
    #[track_caller]
    pub fn neg_(&self) -> Result<Tensor> {
        op("neg_", [self.into()])
    }
}

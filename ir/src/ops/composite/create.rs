//! Tensors from nothing: constants, ranges, the identity. Their memory is new, so that they may be written to.

use super::arith::constant;
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, Dims, at_most};
use crate::dtype::{Category, DType, Scalar};
use crate::error::{Result, err};
use crate::ops::Op;
use crate::ops::literal::Literal;
use crate::ops::registry::{Arg, Args, FnDef, Out};
use crate::types::{Shape, ShapeText, checked_count, checked_numel};
use std::sync::Arc;

/// Sizes that were given by a call: not negative, and few enough.
///
/// # Errors
/// `shape`.
pub fn sizes<D: Copy + Into<Dim>>(dims: &[D]) -> Result<Dims> {
    let dims: Dims = dims.iter().map(|d| (*d).into()).collect();
    for d in &dims {
        if !at_most(0i64, *d)? {
            return Err(err::shape(format!(
                "Trying to create tensor with negative dimension {d}: {}",
                ShapeText(&dims)
            )));
        }
    }
    checked_count(&dims)?;
    Ok(dims)
}

/// [`sizes`] where all are numbers.
///
/// # Errors
/// `shape`.
pub fn known_sizes(dims: &[i64]) -> Result<Shape> {
    crate::dim::extents(&sizes(dims)?)
}

/// A constant number among the arguments.
fn number<'b>(b: &'b Builder, a: &Args<'b>, i: usize) -> Result<Scalar> {
    if let Arg::Size(_) = a.raw(i) {
        return a.int(i).map(|v| Scalar::from_i64(DType::I64, v));
    }
    constant(a.tensor(b, i)?).ok_or_else(|| err::ty("this argument must be a number that is known when it is traced"))
}

/// A vector of those values.
///
/// # Errors
/// None: the values are of that dtype.
pub fn vector<'b>(b: &'b Builder, dtype: DType, values: Vec<Scalar>) -> Result<Ex<'b>> {
    let shape = [values.len()].as_slice().into();
    Ok(b.ex(b.emit(Op::Literal(Literal { dtype, shape, values: Arc::new(values) }), &[])?))
}

/// New memory of one value.
fn filled<'b>(b: &'b Builder, v: Scalar, shape: &[Dim]) -> Out<'b> {
    b.full(v, shape).copy().into()
}

/// `zeros`, `ones`, `empty`: sizes, then a dtype that is `f32` if not given.
fn sized<'b>(b: &'b Builder, a: &Args<'b>, v: f64) -> Result<Out<'b>> {
    let dtype = a.opt_dtype(1)?.unwrap_or(DType::F32);
    Ok(filled(b, Scalar::from_f64(dtype, v), &sizes(&a.dims(0)?)?))
}

/// `zeros_like` and the like: the shape of `x`, its dtype if none is given.
fn like<'b>(b: &'b Builder, a: &Args<'b>, v: f64) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let dtype = a.opt_dtype(1)?.unwrap_or(x.dtype());
    Ok(filled(b, Scalar::from_f64(dtype, v), &x.dims()))
}

/// A fill value, a number or a 0-d tensor, in `dtype` or its own.
fn fill<'b>(value: Ex<'b>, dtype: Option<DType>, shape: &[Dim]) -> Result<Ex<'b>> {
    if value.rank() > 0 {
        let ty = value.ty();
        return Err(err::shape(format!("the fill value must be a number or a 0-d tensor, got {ty}")));
    }
    let own = value.dtype();
    let dtype = dtype.unwrap_or(if value.ty().weak { DType::default_of(own.category()) } else { own });
    Ok(value.cast(dtype).expand(shape).copy())
}

fn arange<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    // `arange(B)` is as long as it says; other steps over symbolic sizes wait for them.
    if let (Arg::Size(n), Arg::None, Arg::Int(1)) = (a.raw(0), a.raw(1), a.raw(2)) {
        let n = sizes(&[*n])?[0];
        return Ok(b.iota(n).cast(a.opt_dtype(3)?.unwrap_or(DType::I64)).into());
    }
    let (start, end) = match a.raw(1) {
        Arg::None => (Scalar::from_i64(DType::I64, 0), number(b, a, 0)?),
        _ => (number(b, a, 0)?, number(b, a, 1)?),
    };
    let step = number(b, a, 2)?;
    let int = [start, end, step].iter().all(|s| s.dtype.category() < Category::Float);
    let dtype = a.opt_dtype(3)?.unwrap_or(if int { DType::I64 } else { DType::F32 });
    let (s, e, d) = (start.to_f64(), end.to_f64(), step.to_f64());
    if d == 0.0 {
        return Err(err::shape("`arange`: step must be nonzero"));
    }
    let n = ((e - s) / d).ceil();
    if (e - s) * d < 0.0 {
        return Err(err::shape(format!(
            "`arange`: upper bound and lower bound inconsistent with step sign: from {start} to {end} by {step}"
        )));
    }
    if !(n >= 0.0 && n < (1u64 << 47) as f64) {
        return Err(err::shape(format!("`arange`: unsupported range: {start} -> {end}")));
    }
    let i = b.iota(n as usize);
    let values = if int {
        let int = |v: i64| b.number(Scalar::from_i64(DType::I64, v));
        i * int(step.to_i64()) + int(start.to_i64())
    } else {
        i.cast(DType::F64) * d + s
    };
    Ok(values.cast(dtype).into())
}

/// From the nearer end, so that both ends are exact.
fn linspace<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (start, end) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    if start.rank() + end.rank() > 0 {
        return Err(err::shape(format!(
            "`{}` only supports 0-dimensional start and end tensors, but got start with {} dimension(s) and end with {} \
             dimension(s)",
            a.name(),
            start.rank(),
            end.rank()
        )));
    }
    let (start, end) = (start.cast(DType::F64), end.cast(DType::F64));
    let n = usize::try_from(a.int(2)?).map_err(|_| err::shape("number of steps must be non-negative"))?;
    checked_numel(&[n])?;
    let i = b.iota(n).cast(DType::F64);
    if n < 2 {
        return Ok(i + start);
    }
    let step = (end - start) / (n - 1) as f64;
    let low = i.lt(i.number((n / 2) as f64));
    Ok(low.select(i * step + start, end - ((n - 1) as f64 - i) * step))
}

fn eye<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let n = a.dim(0)?;
    let shape = sizes(&[n, if a.is_none(1) { n } else { a.dim(1)? }])?;
    let on = b.iota(shape[0]).unsqueeze(1).eq(b.iota(shape[1]));
    Ok(on.cast(a.opt_dtype(2)?.unwrap_or(DType::F32)).into())
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "zeros",
        sig: "size: ints, dtype: dtype? = None",
        example: "=> zeros([2, 3], dtype=D)",
        doc: "Zeros of that shape, f32 if no dtype is given. Extents may be symbolic sizes, and are not negative.",
        build: |b, a| sized(b, a, 0.0),
    },
    FnDef {
        name: "ones",
        sig: "size: ints, dtype: dtype? = None",
        example: "=> ones([2, 3], dtype=D)",
        doc: "Ones of that shape, f32 if no dtype is given. Extents may be symbolic sizes, and are not negative.",
        build: |b, a| sized(b, a, 1.0),
    },
    FnDef {
        name: "empty",
        sig: "size: ints, dtype: dtype? = None",
        example: "=> empty([2, 3], dtype=D)",
        doc: "Memory of that shape, f32 if no dtype is given. Unlike in PyTorch it reads as zeros until it is written.",
        build: |b, a| sized(b, a, 0.0),
    },
    FnDef {
        name: "full",
        sig: "size: ints, fill_value: number, dtype: dtype? = None",
        example: "=> full([2, 3], 1, dtype=D)",
        doc: "One value everywhere, a number or a tensor of no dimension. Without a dtype that of the value: i64, f32 \
              or bool.",
        build: |b, a| Ok(fill(a.tensor(b, 1)?, a.opt_dtype(2)?, &sizes(&a.dims(0)?)?)?.into()),
    },
    FnDef {
        name: "zeros_like",
        sig: "x, dtype: dtype? = None",
        example: "x: D[2, 3] => zeros_like(x)",
        doc: "Zeros of the shape of x, and of its dtype if none is given.",
        build: |b, a| like(b, a, 0.0),
    },
    FnDef {
        name: "ones_like",
        sig: "x, dtype: dtype? = None",
        example: "x: D[2, 3] => ones_like(x)",
        doc: "Ones of the shape of x, and of its dtype if none is given.",
        build: |b, a| like(b, a, 1.0),
    },
    FnDef {
        name: "empty_like",
        sig: "x, dtype: dtype? = None",
        example: "x: D[2, 3] => empty_like(x)",
        doc: "Memory of the shape of x, and of its dtype if none is given. Unlike in PyTorch it reads as zeros until \
              it is written.",
        build: |b, a| like(b, a, 0.0),
    },
    FnDef {
        name: "full_like",
        sig: "x, fill_value: number, dtype: dtype? = None",
        example: "x: D[2, 3] => full_like(x, 1)",
        doc: "One value everywhere, in the shape of x, and in its dtype if none is given.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(fill(a.tensor(b, 1)?, Some(a.opt_dtype(2)?.unwrap_or(x.dtype())), &x.dims())?.into())
        },
    },
    FnDef {
        name: "fill",
        sig: "x, value: number",
        example: "x: D[2, 3] => fill(x, 1)",
        doc: "One value everywhere, in the shape and dtype of x; `x.fill_(value)` writes it. The value is a number or \
              a tensor of no dimension.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(fill(a.tensor(b, 1)?, Some(x.dtype()), &x.dims())?.into())
        },
    },
    FnDef {
        name: "zero",
        sig: "x",
        example: "x: D[2, 3] => zero(x)",
        doc: "Zeros in the shape and dtype of x; `x.zero_()` writes them.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(filled(b, Scalar::from_i64(x.dtype(), 0), &x.dims()))
        },
    },
    FnDef {
        name: "copy_from",
        sig: "x, src",
        example: "x: D[2, 3], src: f32[3] => copy_from(x, src)",
        doc: "The elements of src, broadcast to the shape of x and in its dtype; `x.copy_(src)` writes them. The \
              gradient goes to src.",
        build: |b, a| {
            let (x, src) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            Ok(src.cast(x.dtype()).into())
        },
    },
    FnDef {
        name: "arange",
        sig: "start: number, end: number? = None, step: number = 1, dtype: dtype? = None",
        example: "=> arange(1, 10, 2, dtype=D)",
        doc: "start, start + step, ... before end, ceil((end - start) / step) elements; with one number, from 0 to it. \
              i64 if all are integers, else f32, if no dtype is given. An error if step is 0 or leads away from end.",
        build: arange,
    },
    FnDef {
        name: "linspace",
        sig: "start, end, steps: int, dtype: dtype? = None",
        example: "=> linspace(0, 3, 4, dtype=D)",
        doc: "steps values from start to end at equal distances, both included, computed from the nearer end. f32 if \
              no dtype is given.",
        build: |b, a| Ok(linspace(b, a)?.cast(a.opt_dtype(3)?.unwrap_or(DType::F32)).into()),
    },
    FnDef {
        name: "logspace",
        sig: "start, end, steps: int, base: float = 10.0, dtype: dtype? = None",
        example: "=> logspace(0, 1, 4, dtype=D)",
        doc: "base^v for the values v of `linspace(start, end, steps)`. f32 if no dtype is given.",
        build: |b, a| {
            let powers = linspace(b, a)?;
            let base = powers.number(a.float(3)?);
            Ok(base.pow(powers).cast(a.opt_dtype(4)?.unwrap_or(DType::F32)).into())
        },
    },
    FnDef {
        name: "eye",
        sig: "n: int, m: int? = None, dtype: dtype? = None",
        example: "=> eye(2, 3, dtype=D)",
        doc: "An [n, m] matrix of zeros with ones on the diagonal (m is n if not given), f32 if no dtype is given.",
        build: eye,
    },
];

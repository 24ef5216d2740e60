//! Views: `view`, `permute`, `expand`, `select` and their relatives share memory; `reshape` and `contiguous` do where they
//! can; `clone` never does.
//!
//! A view that changes nothing is a node of its own all the same: a gradient may be asked of it.

use super::target::{expand_shape, infer_shape};
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, Dims, at_most, needs_sizes, product};
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::ops::registry::{Arg, Args, FnDef, Out};
use crate::ops::{Op, view};
use crate::types::{Span, axis};
use smallvec::SmallVec;

/// One view op, also where it changes nothing.
pub fn view_of<'b>(x: Ex<'b>, op: Op) -> Result<Ex<'b>> {
    let b = x.builder();
    Ok(b.ex(b.emit(op, &[x.value()?])?))
}

/// The dimensions in that order, as a view.
fn permuted<'b>(x: Ex<'b>, order: &[usize]) -> Result<Out<'b>> {
    Ok(view_of(x, Op::Permute(view::Permute(order.into())))?.into())
}

/// The same memory in that shape, as a view.
///
/// # Errors
/// `shape` if strides cannot say it.
pub fn viewed<'b, D: Copy + Into<Dim>>(x: Ex<'b>, shape: &[D]) -> Result<Ex<'b>> {
    view_of(x, Op::Reshape(view::Reshape(shape.iter().map(|d| (*d).into()).collect())))
}

/// Dimensions `i` and `j` swapped.
fn swapped<'b>(x: Ex<'b>, i: usize, j: usize) -> Result<Out<'b>> {
    let mut order: Vec<usize> = (0..x.rank()).collect();
    if i != j {
        order.swap(i, j);
    }
    permuted(x, &order)
}

/// `len` elements of one dimension from `start`, `step` apart, as a view.
pub fn sliced<'b>(x: Ex<'b>, dim: usize, span: impl Into<Span>) -> Result<Ex<'b>> {
    let mut spans: SmallVec<[Span; 4]> = x.dims().iter().map(|d| Span::all(*d)).collect();
    spans[dim] = span.into();
    view_of(x, Op::Slice(view::Slice(spans)))
}

/// One index of one dimension, as a view without that dimension.
///
/// # Errors
/// `index` if it is out of range; negative ones count from the end.
pub fn selected<'b>(x: Ex<'b>, dim: usize, i: impl Into<Dim>) -> Result<Ex<'b>> {
    let (n, i) = (x.dims()[dim], i.into());
    let from_end = !at_most(0i64, i)?;
    let at = if from_end { i + n } else { i };
    if from_end && !at_most(0i64, at)? || !from_end && !at_most(at + 1, n)? {
        return Err(err::index(format!("index {i} is out of bounds for dimension {dim} with size {n}")));
    }
    let s = sliced(x, dim, Span::one(at))?;
    let mut shape = s.dims();
    shape.remove(dim);
    viewed(s, &shape)
}

/// An axis of a tensor that has one.
fn real_axis(name: &str, x: Ex<'_>, dim: i64) -> Result<usize> {
    if x.rank() == 0 {
        return Err(err::index(format!("`{name}` cannot be applied to a 0-dim tensor")));
    }
    axis(dim, x.rank())
}

fn squeeze<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let drop = match a.opt_ints(1)? {
        Some(dims) => dims.iter().map(|d| axis(*d, x.rank())).collect::<Result<Vec<_>>>()?,
        None => (0..x.rank()).collect(),
    };
    let mut shape = Dims::new();
    for (i, d) in x.dims().into_iter().enumerate() {
        // Whether a dimension of symbolic extent goes away is part of the program.
        if d.known().is_none() && drop.contains(&i) && !at_most(2i64, d)? {
            return Err(needs_sizes(&d.to_string()));
        }
        if !d.is(1) || !drop.contains(&i) {
            shape.push(d);
        }
    }
    Ok(viewed(x, &shape)?.into())
}

/// The shape with dimensions `start..=end` merged.
fn flat(x: Ex<'_>, start: i64, end: i64) -> Result<Dims> {
    let (s, e) = (axis(start, x.rank())?, axis(end, x.rank())?);
    if s > e {
        return Err(err::shape("`flatten`: start_dim cannot come after end_dim"));
    }
    if x.rank() == 0 {
        return Ok(Dims::from_elem(Dim::ONE, 1));
    }
    let shape = x.dims();
    let mut out: Dims = shape[..s].into();
    out.push(product(&shape[s..=e]));
    out.extend(shape[e + 1..].iter().copied());
    Ok(out)
}

fn movedim<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let (source, destination) = (a.ints(1)?, a.ints(2)?);
    if source.len() != destination.len() {
        return Err(err::shape(format!(
            "`movedim`: Invalid source or destination dims: source ({source:?} dims) should contain the same number of dims as \
             destination ({destination:?} dims)"
        )));
    }
    let axes = |what: &str, dims: &[i64]| {
        let axes = dims.iter().map(|d| axis(*d, x.rank())).collect::<Result<Vec<usize>>>()?;
        match axes.iter().enumerate().any(|(i, d)| axes[..i].contains(d)) {
            true => Err(err::shape(format!("`movedim`: repeated dim in `{what}` ({dims:?})"))),
            false => Ok(axes),
        }
    };
    let (from, to) = (axes("source", &source)?, axes("destination", &destination)?);
    let mut rest = (0..x.rank()).filter(|d| !from.contains(d));
    let order: Vec<usize> = (0..x.rank())
        .map(|d| to.iter().position(|t| *t == d).map_or_else(|| rest.next().unwrap_or(d), |i| from[i]))
        .collect();
    permuted(x, &order)
}

fn unflatten<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let d = real_axis("unflatten", x, a.int(1)?)?;
    let mut shape = x.dims();
    let parts = infer_shape(&a.dims(2)?, shape[d])?;
    shape.remove(d);
    shape.insert_many(d, parts);
    Ok(viewed(x, &shape)?.into())
}

fn diagonal<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let (dim1, dim2) = (real_axis("diagonal", x, a.int(2)?)?, real_axis("diagonal", x, a.int(3)?)?);
    if dim1 == dim2 {
        let (p, q) = (a.int(2)?, a.int(3)?);
        return Err(err::index(format!("`diagonal`: diagonal dimensions cannot be identical {p}, {q}")));
    }
    Ok(view_of(x, Op::Diagonal(view::Diagonal { offset: a.int(1)?, dim1, dim2 }))?.into())
}

/// `x` itself if its elements lie in row-major order, else a copy.
pub fn contiguous(x: Ex<'_>) -> Result<Ex<'_>> {
    let (_, layout) = x.builder().storage(x.value()?);
    Ok(if layout.is_contiguous() { x } else { x.copy() })
}

/// `to` under another name, for one dtype.
macro_rules! cast {
    ($name:literal, $dtype:expr, $doc:literal) => {
        FnDef {
            name: $name,
            sig: "x",
            example: concat!("x: D[2, 3] => ", $name, "(x)"),
            doc: $doc,
            build: |b, a| Ok(a.tensor(b, 0)?.cast($dtype).into()),
        }
    };
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "view",
        sig: "x, shape: ints",
        example: "x: D[2, 3] => view(x, 3, -1)",
        doc: "The same memory in another shape of as many elements; one extent may be -1, and is what is left. An \
              error if no strides say it for the memory of x, where `reshape` copies. Given a dtype it is \
              `view_dtype`.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let shape = infer_shape(&a.dims(1)?, x.count())?;
            let v = b.emit(Op::Reshape(view::Reshape(shape)), &[x.value()?])?;
            Ok(b.ex(v).into())
        },
    },
    FnDef {
        name: "reshape",
        sig: "x, shape: ints",
        example: "x: D[2, 3] => reshape(x, 3, -1)",
        doc: "x in another shape of as many elements; one extent may be -1, and is what is left. Shares memory if \
              strides can say it, else copies.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let shape = infer_shape(&a.dims(1)?, x.count())?;
            if shape == x.dims() {
                // An identity view is a node of its own: a gradient may be asked of it.
                let v = b.emit(Op::Reshape(view::Reshape(shape)), &[x.value()?])?;
                return Ok(b.ex(v).into());
            }
            Ok(x.reshape(&shape).into())
        },
    },
    FnDef {
        name: "view_as",
        sig: "x, other",
        example: "x: D[2, 3], other: D[3, 2] => view_as(x, other)",
        doc: "The same memory in the shape of other, of as many elements; see `view`.",
        build: |b, a| Ok(viewed(a.tensor(b, 0)?, &a.tensor(b, 1)?.dims())?.into()),
    },
    FnDef {
        name: "reshape_as",
        sig: "x, other",
        example: "x: D[2, 3], other: D[3, 2] => reshape_as(x, other)",
        doc: "x in the shape of other, of as many elements; see `reshape`.",
        build: |b, a| Ok(a.tensor(b, 0)?.reshape(&a.tensor(b, 1)?.dims()).into()),
    },
    FnDef {
        name: "clone",
        sig: "x",
        example: "x: D[2, 3] => clone(x)",
        doc: "A copy of x in new memory.",
        build: |b, a| Ok(a.tensor(b, 0)?.copy().into()),
    },
    FnDef {
        name: "contiguous",
        sig: "x",
        example: "x: D[2, 3] => contiguous(x)",
        doc: "x itself, the same memory, if its elements lie in row-major order, else a copy.",
        build: |b, a| Ok(contiguous(a.tensor(b, 0)?)?.into()),
    },
    FnDef {
        name: "detach",
        sig: "x",
        example: "x: D[2, 3] => detach(x)",
        doc: "x, the same memory, through which no gradient flows.",
        build: |b, a| Ok(view_of(a.tensor(b, 0)?, Op::Detach)?.into()),
    },
    FnDef {
        name: "permute",
        sig: "x, dims: ints",
        example: "x: D[2, 3, 4] => permute(x, 2, 0, 1)",
        doc: "The dimensions in that order, each once, as a view: extent i of the result is that of dimension dims[i].",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let order = a.ints(1)?.iter().map(|d| axis(*d, x.rank())).collect::<Result<Vec<_>>>()?;
            permuted(x, &order)
        },
    },
    FnDef {
        name: "transpose",
        sig: "x, dim0: int, dim1: int",
        example: "x: D[2, 3] => transpose(x, 0, 1)",
        doc: "Two dimensions swapped, as a view.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            swapped(x, axis(a.int(1)?, x.rank())?, axis(a.int(2)?, x.rank())?)
        },
    },
    FnDef {
        name: "t",
        sig: "x",
        example: "x: D[2, 3] => t(x)",
        doc: "A matrix [m, n] transposed to [n, m], as a view; vectors and scalars are themselves. An error for more \
              dimensions.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            if x.rank() > 2 {
                let n = x.rank();
                return Err(err::shape(format!("`t` expects a tensor with <= 2 dimensions, but self is {n}D")));
            }
            swapped(x, 0, x.rank().saturating_sub(1))
        },
    },
    FnDef {
        name: "T",
        sig: "x",
        example: "x: D[2, 3] => T(x)",
        doc: "The dimensions in reverse order, as a view. Also `x.T`.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            permuted(x, &(0..x.rank()).rev().collect::<Vec<_>>())
        },
    },
    FnDef {
        name: "mT",
        sig: "x",
        example: "x: D[2, 3, 4] => mT(x)",
        doc: "The last two dimensions swapped, as a view; an error for fewer. Also `x.mT`.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            match x.rank() {
                0 | 1 => Err(err::shape(format!("`mT` is for matrices or batches of them, got {}", x.ty()))),
                r => swapped(x, r - 2, r - 1),
            }
        },
    },
    FnDef {
        name: "expand",
        sig: "x, size: ints",
        example: "x: D[3] => expand(x, 2, 3)",
        doc: "Dimensions of extent 1 stretched to size and leading ones added, as a view of the same elements, which \
              cannot be written to; -1 keeps an extent. The gradient is summed.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let shape = expand_shape(&a.dims(1)?, x)?;
            Ok(view_of(x, Op::Expand(view::Expand(shape)))?.into())
        },
    },
    FnDef {
        name: "expand_as",
        sig: "x, other",
        example: "x: D[3], other: D[2, 3] => expand_as(x, other)",
        doc: "x expanded to the shape of other, as a view; see `expand`.",
        build: |b, a| {
            let shape = a.tensor(b, 1)?.dims();
            Ok(view_of(a.tensor(b, 0)?, Op::Expand(view::Expand(shape)))?.into())
        },
    },
    FnDef {
        name: "broadcast_to",
        sig: "x, size: ints",
        example: "x: D[3] => broadcast_to(x, 2, 3)",
        doc: "`expand` by another name.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let shape = expand_shape(&a.dims(1)?, x)?;
            Ok(view_of(x, Op::Expand(view::Expand(shape)))?.into())
        },
    },
    FnDef {
        name: "squeeze",
        sig: "x, dim: ints? = None",
        example: "x: D[2, 1, 3] => squeeze(x, 1)",
        doc: "x without dimensions of extent 1, all of them or those given (one of another extent stays), as a view.",
        build: squeeze,
    },
    FnDef {
        name: "unsqueeze",
        sig: "x, dim: int",
        example: "x: D[2, 3] => unsqueeze(x, 1)",
        doc: "x with a new dimension of extent 1 before dim, as a view; dim is in -rank - 1..rank.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let mut shape = x.dims();
            shape.insert(axis(a.int(1)?, x.rank() + 1)?, Dim::ONE);
            Ok(viewed(x, &shape)?.into())
        },
    },
    FnDef {
        name: "flatten",
        sig: "x, start_dim: int = 0, end_dim: int = -1",
        example: "x: D[2, 3, 4] => flatten(x, 1)",
        doc: "The dimensions start_dim to end_dim, both included, merged; a scalar gives [1]. A view if it can be, else a copy.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(x.reshape(&flat(x, a.int(1)?, a.int(2)?)?).into())
        },
    },
    FnDef {
        name: "ravel",
        sig: "x",
        example: "x: D[2, 3] => ravel(x)",
        doc: "All dimensions merged into one. A view if it can be, else a copy.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(x.reshape(&[x.count()]).into())
        },
    },
    FnDef {
        name: "unflatten",
        sig: "x, dim: int, sizes: ints",
        example: "x: D[2, 6] => unflatten(x, 1, [2, -1])",
        doc: "One dimension split into sizes, whose product is its extent, as a view; one size may be -1.",
        build: unflatten,
    },
    FnDef {
        name: "narrow",
        sig: "x, dim: int, start: int, length: int",
        example: "x: D[2, 3] => narrow(x, 1, 1, 2)",
        doc: "length elements of a dimension from start on (it may count from the end), as a view. An error if not all are there.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let d = real_axis("narrow", x, a.int(1)?)?;
            let (n, start, len) = (x.dims()[d], a.dim(2)?, a.dim(3)?);
            let from = if at_most(0i64, start)? { start } else { start + n };
            if !at_most(0i64, len)? {
                return Err(err::index("`narrow`: length must be non-negative"));
            }
            if !at_most(0i64, from)? || !at_most(from, n)? {
                return Err(err::index(format!(
                    "`narrow`: start out of range (expected to be in range of [-{n}, {n}], but got {start})"
                )));
            }
            if !at_most(from + len, n)? {
                return Err(err::index(format!(
                    "`narrow`: start ({start}) + length ({len}) exceeds dimension size ({n})"
                )));
            }
            Ok(sliced(x, d, Span { start: from, len, step: 1 })?.into())
        },
    },
    FnDef {
        name: "select",
        sig: "x, dim: int, index: int",
        example: "x: D[2, 3] => select(x, 1, -1)",
        doc: "One index of a dimension, which may count from the end, as a view without that dimension.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(selected(x, real_axis("select", x, a.int(1)?)?, a.dim(2)?)?.into())
        },
    },
    FnDef {
        name: "diagonal",
        sig: "x, offset: int = 0, dim1: int = 0, dim2: int = 1",
        example: "x: D[2, 3] => diagonal(x)",
        doc: "The diagonal of dim1 and dim2, offset above (or below, if negative) the main one, as a new last \
              dimension in place of the two; a view.",
        build: diagonal,
    },
    FnDef {
        name: "movedim",
        sig: "x, source: ints, destination: ints",
        example: "x: D[2, 3, 4] => movedim(x, 0, 2)",
        doc: "Dimensions moved to as many new places, as a view; the others keep their order.",
        build: movedim,
    },
    FnDef {
        name: "to",
        sig: "x, dtype: any, non_blocking: bool = false, copy: bool = false",
        example: "x: f32[2, 3] => to(x, D)",
        doc: "The elements in another dtype, or in that of another tensor; x itself if it has it, unless copy is true. \
              Floats to integers are cut off toward 0, integers wrap, anything but 0 is true. The gradient is cast back; \
              non_blocking means nothing here.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let y = match a.raw(1) {
                Arg::Tensor(other) => x.cast(other.dtype()),
                Arg::DType(d) => x.cast(*d),
                _ => return Err(a.not(1, "a dtype or a tensor")),
            };
            let new = y.dtype() != x.dtype() || !a.bool(3)?;
            Ok(if new { y } else { y.copy() }.into())
        },
    },
    FnDef {
        name: "type_as",
        sig: "x, other",
        example: "x: D[2, 3], other: f32[1] => type_as(x, other)",
        doc: "The elements in the dtype of other; see `to`.",
        build: |b, a| Ok(a.tensor(b, 0)?.cast(a.tensor(b, 1)?.dtype()).into()),
    },
    cast!("double", DType::F64, "The elements in f64: `to(x, f64)`."),
    cast!("float", DType::F32, "The elements in f32: `to(x, f32)`."),
    cast!("half", DType::F16, "The elements in f16: `to(x, f16)`."),
    cast!("bfloat16", DType::BF16, "The elements in bf16: `to(x, bf16)`."),
    cast!("long", DType::I64, "The elements in i64: `to(x, i64)`."),
    cast!("int", DType::I32, "The elements in i32: `to(x, i32)`."),
    cast!("short", DType::I16, "The elements in i16: `to(x, i16)`."),
    cast!("char", DType::I8, "The elements in i8: `to(x, i8)`."),
    cast!("byte", DType::U8, "The elements in u8: `to(x, u8)`."),
];

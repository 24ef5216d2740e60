//! Views by strides and windows (`as_strided`, `unfold` of a dimension), and `unfold` and `fold` of images: their windows
//! as columns, and the sum of columns back into the places they came from.

use super::conv::{Axis, overlaid, spatial, windows};
use super::shape::view_of;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::layout::Layout;
use crate::ops::registry::{Arg, Args, FnDef, Out, require_float};
use crate::ops::strided::{Strided, Unfold, ViewDtype, row_major_order, strides_of};
use crate::ops::{Op, view};
use crate::types::{ShapeText, axis};

/// The view by strides of a tensor that lies row-major in some order of its dimensions, if it reaches no further.
fn strided<'b>(x: Ex<'b>, own: &Layout, want: &Layout) -> Option<Result<Ex<'b>>> {
    let order = row_major_order(own)?;
    let offset = want.offset.checked_sub(own.offset)?;
    let inside = |(low, high): (isize, isize)| low >= own.offset as isize && high < (own.offset + own.numel()) as isize;
    if !want.bounds().is_none_or(inside) {
        return None;
    }
    let flat = match order.is_sorted() {
        true => Ok(x),
        false => view_of(x, Op::Permute(view::Permute(order.into()))),
    };
    Some(flat.and_then(|x| view_of(x, Op::Strided(Strided { layout: Layout { offset, ..want.clone() } }))))
}

fn as_strided<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, size, stride) = (a.tensor(b, 0)?, super::create::known_sizes(&a.ints(1)?)?, a.ints(2)?);
    if size.len() != stride.len() {
        return Err(err::shape("`as_strided`: mismatch in length of strides and shape"));
    }
    let Some(strides) = strides_of(&stride) else {
        return Err(err::shape(format!("`as_strided`: negative strides are not supported, got strides: {stride:?}")));
    };
    let (root, layout) = b.storage(x.value()?);
    let layout = layout.known()?;
    let offset = a.opt_int(3)?.map_or(Ok(layout.offset), usize::try_from);
    let offset = offset.map_err(|_| err::index("`as_strided`: a negative storage_offset"))?;
    let reach = size
        .iter()
        .zip(&stride)
        .filter(|(n, _)| **n > 1)
        .try_fold(offset as i64, |r, (n, s)| r.checked_add((*n as i64 - 1).checked_mul(*s)?));
    let want = Layout { shape: size, strides, offset };
    // The memory that x is a view of, in elements as x has them.
    let mut memory = b.ex(root);
    if memory.dtype() != x.dtype() {
        let view = ViewDtype { from: memory.dtype(), to: x.dtype() };
        memory = view_of(memory, Op::ViewDtype(view)).unwrap_or(x);
    }
    let held = b.storage(memory.value()?).1.known()?;
    let outside = || {
        let (size, each) = (ShapeText(&want.shape), x.dtype().size());
        let needs = reach.and_then(|r| (r + 1).checked_mul(each as i64)).map_or("more".into(), |n| n.to_string());
        err::index(format!(
            "`as_strided`: sizes {size}, strides {stride:?}, storage offset {offset}, and itemsize {each} requiring a storage \
             size of {needs} are out of bounds for storage of size {}",
            held.numel() * each
        ))
    };
    if reach.is_none() {
        return Err(outside());
    }
    if let Some(view) = strided(x, &layout, &want) {
        return view;
    }
    // More than x has: what it is a view of may have it.
    strided(memory, &held, &want).unwrap_or_else(|| Err(outside()))
}

/// `x.unfold(dimension, size, step)`.
fn unfold_dimension<'b>(x: Ex<'b>, d: i64, size: i64, step: i64) -> Result<Ex<'b>> {
    let d = axis(d, x.rank())?;
    let scalar = x.rank() == 0;
    let x = if scalar { super::shape::viewed(x, &[1])? } else { x };
    let n = x.shape()[d];
    if step <= 0 {
        return Err(err::index(format!("`unfold`: step is {step} but must be > 0")));
    }
    if size < 0 || size as u64 > n as u64 {
        return Err(err::index(format!(
            "`unfold`: maximum size for tensor at dimension {d} is {n} but size is {size}"
        )));
    }
    if scalar {
        // No dimension of windows: the element, or nothing.
        return super::shape::sliced(x, 0, crate::types::Range { start: 0, len: size as usize, step: 1 });
    }
    view_of(x, Op::Unfold(Unfold { axis: d, size: size as usize, step: step as usize }))
}

/// Kernel size, dilation, padding and stride of an image's two dimensions.
fn image_axes(name: &str, [kernel, dilation, padding, stride]: [&[i64]; 4]) -> Result<Vec<Axis>> {
    let kernel = spatial(name, "kernel_size", kernel, 2, 1)?;
    let dilation = spatial(name, "dilation", dilation, 2, 1)?;
    let pad = spatial(name, "padding", padding, 2, 0)?;
    let stride = spatial(name, "stride", stride, 2, 1)?;
    let one = |i: usize| Axis { kernel: kernel[i], stride: stride[i], dilation: dilation[i], pad: (pad[i], pad[i]) };
    Ok(vec![one(0), one(1)])
}

fn require_float_or_bool(name: &str, x: Ex<'_>) -> Result<()> {
    if x.dtype() == DType::Bool { Ok(()) } else { require_float(name, x) }
}

/// Windows of `[batch, channel, h, w]` as columns `[batch, channel * k, windows]`.
fn columns<'b>(x: Ex<'b>, axes: &[Axis]) -> Result<Ex<'b>> {
    require_float_or_bool("unfold", x)?;
    if x.rank() != 3 && x.rank() != 4 {
        return Err(err::shape(format!(
            "`unfold`: expected 3D or 4D input with possibly 0 batch size, but got: {}",
            x.ty()
        )));
    }
    let image = if x.rank() == 4 { x } else { x.unsqueeze(0) };
    let (cols, out) = windows(x.builder(), image, axes, Scalar::from_f64(x.dtype(), 0.0))?;
    let s = cols.shape();
    let flat = [s[0], s[1] * s[2], out.iter().product()];
    Ok(cols.reshape(if x.rank() == 4 { &flat } else { &flat[1..] }))
}

fn unfold<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    if let (Arg::Int(d), Arg::Int(size), Arg::Int(step), Arg::None, Arg::None) =
        (a.raw(1), a.raw(2), a.raw(3), a.raw(4), a.raw(5))
    {
        return Ok(unfold_dimension(x, *d, *size, *step)?.into());
    }
    // Positions are those of the image form: kernel_size, dilation, padding, stride.
    let either = |i: usize, j: usize, default: i64| match (a.raw(i), a.raw(j)) {
        (_, Arg::None) if !a.is_none(i) => a.ints(i),
        (Arg::None, _) if !a.is_none(j) => a.ints(j),
        (Arg::None, Arg::None) => Ok(vec![default]),
        _ => Err(err::ty("`unfold`: an argument is given twice")),
    };
    if a.is_none(1) && a.is_none(5) {
        return Err(err::ty("`unfold` takes dimension, size and step, or kernel_size"));
    }
    let (kernel, dilation, padding) = (either(1, 5, 0)?, either(2, 6, 1)?, either(3, 7, 0)?);
    let stride = a.opt_ints(4)?.unwrap_or_else(|| vec![1]);
    Ok(columns(x, &image_axes("unfold", [&kernel, &dilation, &padding, &stride])?)?.into())
}

fn fold<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    require_float_or_bool("fold", x)?;
    let out = spatial("fold", "output_size", &a.ints(1)?, 2, 1)?;
    let axes = image_axes("fold", [&a.ints(2)?, &a.ints(3)?, &a.ints(4)?, &a.ints(5)?])?;
    let full: Vec<usize> = out.iter().zip(&axes).map(|(n, a)| n + 2 * a.pad.0).collect();
    let windows: Option<Vec<usize>> = axes.iter().zip(&out).map(|(a, n)| a.windows(*n)).collect();
    let k: usize = axes.iter().map(|a| a.kernel).product();
    let s = if x.rank() == 3 { x.shape() } else { x.unsqueeze(0).shape() };
    let Some(windows) = windows.filter(|w| s.len() == 3 && s[1] % k == 0 && s[2] == w.iter().product::<usize>()) else {
        return Err(err::shape(format!(
            "`fold`: expected columns [batch, channels * {k}, windows] for an output of size {out:?}, got {}",
            x.ty()
        )));
    };
    let pads: Vec<usize> = axes.iter().map(|a| a.pad.0).collect();
    let cols = if x.dtype() == DType::Bool { x.cast(DType::F32) } else { super::widen(x) };
    let cols = cols.reshape(&[s[0], s[1] / k, s[2] * k]);
    let y = overlaid(b, cols, &axes, &full, &windows, &pads)?.cast(x.dtype());
    Ok(if x.rank() == 3 { y } else { y.reshape(&y.shape()[1..]) })
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "as_strided",
        sig: "x, size: ints, stride: ints, storage_offset: int? = None",
        example: "x: D[2, 3] => as_strided(x, [2, 2], [3, 1], 1)",
        doc: "A view of the memory of x with these extents and strides, in elements, from storage_offset on (by default \
              where x begins). The offset counts from the beginning of the tensor that x is a view of; for a parameter or an \
              eager tensor from its own. What the view reaches must be elements of x, or of that tensor if x leaves some \
              out. Of a write to elements that stand in it several times the last one stays. The gradient sums over them; \
              of such a write every value gets it, as in PyTorch.",
        build: |b, a| Ok(as_strided(b, a)?.into()),
    },
    FnDef {
        name: "unfold",
        sig: "x, dimension: any = None, size: any = None, step: any = None, stride: ints? = None, \
              kernel_size: ints? = None, dilation: ints? = None, padding: ints? = None",
        example: "x: D[2, 6] => unfold(x, 1, 3, 2)",
        doc: "With three integers, `x.unfold(dimension, size, step)`: windows of a dimension, step apart, as a new last \
              dimension; a view. Otherwise `unfold(x, kernel_size, dilation=1, padding=0, stride=1)`: the windows of images \
              [batch, channel, h, w] (or without batch) as columns [batch, channel * k, windows]; floats or bool. With three integers \
              the image form takes a list or names.",
        build: unfold,
    },
    FnDef {
        name: "fold",
        sig: "x, output_size: ints, kernel_size: ints, dilation: ints = 1, padding: ints = 0, stride: ints = 1",
        example: "x: D[2, 8, 4] => fold(x, [3, 3], [2, 2])",
        doc: "The sum of columns [batch, channel * k, windows] (or without batch) at the places in [batch, channel, h, w] \
              that `unfold` takes them from; of bool whether one of them is true. Floats or bool.",
        build: |b, a| Ok(fold(b, a)?.into()),
    },
];

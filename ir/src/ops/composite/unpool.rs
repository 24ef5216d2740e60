//! The largest elements of windows put back to where they came from: `max_unpool1d`, `max_unpool2d`, `max_unpool3d`.
//!
//! A scatter into zeros by the positions that `max_pool` gave. Of positions that occur twice the last write wins, and the
//! gradient of each is what flows to that place, as in PyTorch.

use super::conv::spatial;
use super::row;
use crate::builder::{Builder, Ex};
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::ops::gather::ScatterMode;
use crate::ops::registry::{Args, FnDef, require_float};
use crate::types::{ShapeText, checked_numel};

/// The spatial extents of the result: those from which windows of that kind give the input's, or `output_size`, which is
/// less than a stride away from them.
fn extents(a: &Args<'_>, name: &str, inside: &[usize]) -> Result<Vec<usize>> {
    let n = inside.len();
    let kernel = spatial(name, "kernel_size", &a.ints(2)?, n, 1)?;
    let stride = match a.opt_ints(3)?.filter(|s| !s.is_empty()) {
        Some(s) => spatial(name, "stride", &s, n, 1)?,
        None => kernel.clone(),
    };
    let pad = spatial(name, "padding", &a.ints(4)?, n, 0)?;
    let own = |i: usize| (inside[i] as i64 - 1) * stride[i] as i64 + kernel[i] as i64 - 2 * pad[i] as i64;
    let mut out: Vec<i64> = (0..n).map(own).collect();
    if let Some(given) = a.opt_ints(5)? {
        let given = if given.len() == n + 2 { &given[2..] } else { &given[..] };
        if given.len() != n {
            return Err(err::shape(format!(
                "`{name}`: output_size should be a sequence containing {n} or {} elements, but it has a length of '{}'",
                n + 2,
                given.len()
            )));
        }
        for (i, g) in given.iter().enumerate() {
            let (low, high) = (out[i] - stride[i] as i64, out[i] + stride[i] as i64);
            if !(low < *g && *g < high) {
                return Err(err::shape(format!(
                    "`{name}`: invalid output_size {given:?} (dim {i} must be between {low} and {high})"
                )));
            }
        }
        out = given.to_vec();
    }
    let size = |(i, v): (usize, &i64)| {
        usize::try_from(*v).map_err(|_| {
            err::shape(format!(
                "`{name}`: output_size must contain non-negative spatial dimensions, but got output_size[{i}]={v}"
            ))
        })
    };
    out.iter().enumerate().map(size).collect()
}

/// Refuses an input in which one of the `n` spatial dimensions, or the channels before them, is empty.
///
/// # Errors
/// `shape`, naming the first empty one.
pub(super) fn not_empty(name: &str, x: Ex<'_>, n: usize) -> Result<()> {
    match super::pool::first_empty(x, n) {
        Some(d) => Err(err::shape(format!(
            "`{name}`: Expected input to have non-zero size for non-batch dimensions, but got {} with dimension {d} being \
             empty",
            ShapeText(&x.shape())
        ))),
        None => Ok(()),
    }
}

fn max_unpool<'b>(b: &'b Builder, a: &Args<'b>, n: usize) -> Result<Ex<'b>> {
    let (x, at, name) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.name());
    require_float(name, x)?;
    if at.dtype() != DType::I64 {
        return Err(err::dtype(format!("`{name}`: elements in indices should be type i64 but got: {}", at.dtype())));
    }
    let s = x.shape();
    if s.len() != n + 1 && s.len() != n + 2 {
        return Err(err::shape(format!(
            "`{name}`: the input should be a {}d or {}d tensor, but got {}",
            n + 1,
            n + 2,
            x.ty()
        )));
    }
    if at.shape() != s {
        return Err(err::shape(format!(
            "`{name}`: expected shape of indices to be same as that of the input tensor ({}) but got indices tensor with \
             shape: {}",
            ShapeText(&s),
            ShapeText(&at.shape())
        )));
    }
    let lead = s.len() - n;
    not_empty(name, x, n)?;
    let out = extents(a, name, &s[lead..])?;
    let shape = [&s[..lead], &out[..]].concat();
    checked_numel(&shape)?;
    let (c, from, to): (usize, usize, usize) =
        (s[..lead].iter().product(), s[lead..].iter().product(), out.iter().product());
    let at = row("check_max_index", &[at.reshape(&[c, from]), b.int(to)])?;
    let zero = b.full(crate::dtype::Scalar::from_f64(x.dtype(), 0.0), &[c, to]);
    Ok(zero.scatter(1, ScatterMode::Set, at, x.reshape(&[c, from])).reshape(&shape))
}

macro_rules! unpooling {
    ($name:literal, $n:literal, $x:literal, $at:literal) => {
        FnDef {
            name: $name,
            sig: "x, indices: tensor, kernel_size: ints, stride: ints? = None, padding: ints = 0, output_size: ints? = None",
            example: concat!("x: D[1, ", $x, "] => ", $name, "(x, tensor(", $at, "), 2)"),
            doc: "Zeros with the elements of x, [batch, channel, ..] (or without batch), at the positions in the flattened \
                  spatial dimensions that indices (i64, of the shape of x) names, as the max_pool with return_indices gives \
                  them. Each spatial extent n becomes (n - 1) stride + kernel_size - 2 padding, or that of output_size, \
                  which differs by less than a stride. An index out of range is an error. Floats only; the gradient is \
                  picked from the same positions.",
            build: |b, a| Ok(max_unpool(b, a, $n)?.into()),
        }
    };
}

/// The functions.
pub static FNS: &[FnDef] = &[
    unpooling!("max_unpool1d", 1, "2, 2", "[[[1, 2], [0, 3]]]"),
    unpooling!("max_unpool2d", 2, "1, 2, 2", "[[[[0, 3], [9, 14]]]]"),
    unpooling!("max_unpool3d", 3, "1, 1, 2, 1", "[[[[[1], [14]]]]]"),
];

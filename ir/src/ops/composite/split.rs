//! One tensor as several: `split`, `chunk`, `unbind`. The parts are views.

use super::shape::{selected, sliced};
use crate::builder::{Builder, Ex};
use crate::error::{Result, err};
use crate::ops::registry::{Arg, Args, FnDef, Out};
use crate::types::{Range, axis};

/// Slices of those lengths along a dimension, one after the other.
fn parts<'b>(x: Ex<'b>, dim: usize, lengths: impl IntoIterator<Item = usize>) -> Result<Out<'b>> {
    let mut start = 0;
    let mut out = Vec::new();
    for len in lengths {
        out.push(sliced(x, dim, Range { start, len, step: 1 })?);
        start += len;
    }
    Ok(Out::Many(out))
}

/// The operand and the axis that argument `i` names.
fn operand<'b>(b: &'b Builder, a: &Args<'b>, i: usize, name: &str) -> Result<(Ex<'b>, usize)> {
    let x = a.tensor(b, 0)?;
    if x.rank() == 0 {
        return Err(match name {
            "unbind" => err::index(format!("Dimension specified as {} but tensor has no dimensions", a.int(i)?)),
            _ => err::shape(format!("`{name}` expects at least a 1-dimensional tensor")),
        });
    }
    Ok((x, axis(a.int(i)?, x.rank())?))
}

/// Lengths of equal pieces of `n`, the last one shorter; one empty piece if `n` is 0.
fn pieces(n: usize, size: usize) -> Vec<usize> {
    if n == 0 || size == 0 {
        return vec![n];
    }
    (0..n).step_by(size).map(|s| size.min(n - s)).collect()
}

fn split<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let (x, d) = operand(b, a, 2, "split")?;
    let n = x.shape()[d];
    let sizes = a.ints(1)?;
    if sizes.iter().any(|s| *s < 0) {
        return Err(err::shape(format!("`split` expects split_size be non-negative, but got split_size={sizes:?}")));
    }
    if let Arg::List(_) = a.raw(1) {
        if sizes.iter().try_fold(0i64, |s, v| s.checked_add(*v)) != Some(n as i64) {
            return Err(err::shape(format!(
                "`split` expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), but got \
                 split_sizes={sizes:?}"
            )));
        }
        return parts(x, d, sizes.into_iter().map(|s| s as usize));
    }
    if sizes[0] == 0 && n != 0 {
        return Err(err::shape(format!(
            "`split`: split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
        )));
    }
    parts(x, d, pieces(n, sizes[0] as usize))
}

fn tensor_split<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let (x, d) = operand(b, a, 2, "tensor_split")?;
    sections(x, d, a)
}

/// `hsplit`, `vsplit`, `dsplit`: equal pieces, or pieces that end at given indices, along a dimension of the name's own.
fn named<'b>(b: &'b Builder, a: &Args<'b>, name: &str, d: usize, rank: usize) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    let (d, least) = if name == "hsplit" { (d.min(x.rank().saturating_sub(1)), 1) } else { (d, rank) };
    if x.rank() < least {
        let n = x.rank();
        return Err(err::shape(format!(
            "`{name}` requires a tensor with at least {least} dimension, but got a tensor with {n} dimensions"
        )));
    }
    let n = x.shape()[d];
    if let Arg::Int(k) = a.raw(1)
        && (*k <= 0 || n as i64 % k != 0)
    {
        return Err(err::shape(format!(
            "`{name}` attempted to split along dimension {d}, but the size of the dimension {n} is not divisible by the \
             split_size {k}"
        )));
    }
    sections(x, d, a)
}

/// Pieces by the second argument: how many, or where they end.
fn sections<'b>(x: Ex<'b>, d: usize, a: &Args<'b>) -> Result<Out<'b>> {
    let n = x.shape()[d];
    if let Arg::Int(k) = a.raw(1) {
        let k = usize::try_from(*k).ok().filter(|k| *k > 0 && *k < 1 << 20);
        let k = k.ok_or_else(|| err::shape("`tensor_split`: number of sections must be larger than 0"))?;
        return parts(x, d, (0..k).map(|i| n / k + (i < n % k) as usize));
    }
    let mut out = Vec::new();
    let mut start = 0;
    for i in a.ints(1)?.into_iter().map(Some).chain([None]) {
        let end = match i {
            Some(i) if i < 0 => (i + n as i64).max(0) as usize,
            Some(i) => (i as usize).min(n),
            None => n,
        };
        out.push(sliced(x, d, Range { start: start.min(n), len: end.saturating_sub(start), step: 1 })?);
        start = end;
    }
    Ok(Out::Many(out))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "split",
        sig: "x, split_size: any, dim: int = 0",
        example: "x: D[5, 2] => split(x, 2)",
        doc: "Pieces of split_size along a dimension, the last one shorter, or of a list of sizes whose sum is its \
              extent; views, as a tuple.",
        build: split,
    },
    FnDef {
        name: "chunk",
        sig: "x, chunks: int, dim: int = 0",
        example: "x: D[5, 2] => chunk(x, 2)",
        doc: "At most that many pieces along a dimension, of equal size but for the last, which is shorter; views, as \
              a tuple.",
        build: |b, a| {
            let (x, d) = operand(b, a, 2, "chunk")?;
            let k = usize::try_from(a.int(1)?).ok().filter(|k| *k > 0);
            let k = k.ok_or_else(|| err::shape("`chunk` expects `chunks` to be greater than 0"))?;
            let n = x.shape()[d];
            match n {
                0 if k < 1 << 20 => parts(x, d, vec![0; k]),
                _ => parts(x, d, pieces(n, n.div_ceil(k))),
            }
        },
    },
    FnDef {
        name: "tensor_split",
        sig: "x, indices_or_sections: any, dim: int = 0",
        example: "x: D[5, 2] => tensor_split(x, 2)",
        doc: "That many pieces along a dimension, of which the first ones are one element longer if it does not come \
              out even, or the pieces between given indices; views, as a tuple.",
        build: tensor_split,
    },
    FnDef {
        name: "hsplit",
        sig: "x, indices_or_sections: any",
        example: "x: D[2, 4] => hsplit(x, 2)",
        doc: "`tensor_split` along dimension 1 (0 for vectors), whose extent the number of pieces divides; views, as a \
              tuple. Not for scalars.",
        build: |b, a| named(b, a, "hsplit", 1, 1),
    },
    FnDef {
        name: "vsplit",
        sig: "x, indices_or_sections: any",
        example: "x: D[4, 2] => vsplit(x, 2)",
        doc: "`tensor_split` along dimension 0 of at least two, whose extent the number of pieces divides; views, as a \
              tuple.",
        build: |b, a| named(b, a, "vsplit", 0, 2),
    },
    FnDef {
        name: "dsplit",
        sig: "x, indices_or_sections: any",
        example: "x: D[2, 3, 4] => dsplit(x, 2)",
        doc: "`tensor_split` along dimension 2 of at least three, whose extent the number of pieces divides; views, as \
              a tuple.",
        build: |b, a| named(b, a, "dsplit", 2, 3),
    },
    FnDef {
        name: "unbind",
        sig: "x, dim: int = 0",
        example: "x: D[2, 3] => unbind(x)",
        doc: "Every index of a dimension, as views without it, in a tuple.",
        build: |b, a| {
            let (x, d) = operand(b, a, 1, "unbind")?;
            Ok(Out::Many((0..x.shape()[d]).map(|i| selected(x, d, i as i64)).collect::<Result<_>>()?))
        },
    },
];

//! Attention: `softmax(q k^T scale + mask) v`, for each batch and head; and rotary position embedding.

use super::matmul::matmul;
use super::softmax::softmax;
use super::{row, same_dtype, unit};
use crate::builder::{Builder, Ex};
use crate::dim::Dim;
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::reduce::ReduceKind;
use crate::ops::registry::{Args, FnDef, require_float};

/// Heads of `x` repeated so that it has as many as there are queries (dimension -3).
fn spread<'b>(x: Ex<'b>, heads: Dim) -> Result<Ex<'b>> {
    let r = x.rank();
    let own = if r < 3 { Dim::ONE } else { x.dims()[r - 3] };
    let Some(each) = heads.exact_div(own).filter(|_| r >= 3) else {
        return Err(err::shape(format!("`scaled_dot_product_attention`: {heads} query heads for {}", x.ty())));
    };
    let mut wide = x.dims();
    wide.insert(r - 2, each);
    let mut out = x.dims();
    out[r - 3] = heads;
    Ok(x.unsqueeze(r - 2).expand(&wide).reshape(&out))
}

/// The softmax of scores over the last dimension, where a query that may see nothing gets zeros.
pub fn seeing(s: Ex<'_>) -> Ex<'_> {
    let last = s.rank() - 1;
    let none = s.reduce(ReduceKind::Max, &[last], true).eq(s.number(f64::NEG_INFINITY)).expand(&s.dims());
    let safe = none.select(s.zeros(), s);
    none.select(s.zeros(), softmax(safe, &[last]))
}

fn attention<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    const NAME: &str = "scaled_dot_product_attention";
    let (q, mut k, mut v) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?);
    let (mask, causal) = (a.opt_tensor(b, 3)?, a.bool(5)?);
    require_float(NAME, q)?;
    same_dtype(NAME, &[q, k, v])?;
    if q.rank() < 2 || k.rank() < 2 || v.rank() < 2 {
        return Err(err::shape(format!(
            "`{NAME}`: expected at least 2 dimensions, got {}, {}, {}",
            q.ty(),
            k.ty(),
            v.ty()
        )));
    }
    if causal && mask.is_some() {
        return Err(err::ty(format!("`{NAME}`: an explicit attn_mask must not be given when is_causal=true")));
    }
    if a.float(4)? != 0.0 {
        return Err(err::unsupported(format!("`{NAME}` with dropout")));
    }
    if a.bool(7)? {
        let heads = q.dims().iter().rev().nth(2).copied().unwrap_or(Dim::ONE);
        (k, v) = (spread(k, heads)?, spread(v, heads)?);
    }
    let width = q.dims()[q.rank() - 1].value()?;
    let scale = if a.is_none(6) { 1.0 / (width as f64).sqrt() } else { a.float(6)? };
    let dtype = q.dtype();
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    let mut s = matmul(wide(q), wide(k).transpose(k.rank() - 2, k.rank() - 1))? * scale;
    let low = s.number(f64::NEG_INFINITY);
    let last = s.rank() - 1;
    if causal {
        let (l, n) = (s.dims()[last - 1], s.dims()[last]);
        let seen = b.iota(n).le(b.iota(l).unsqueeze(1));
        s = row("where", &[seen, s, low])?;
    }
    let mut p = match mask {
        None => softmax(s, &[last]),
        Some(m) => {
            s = match m.dtype() {
                DType::Bool => row("where", &[m, s, low])?,
                d if d == dtype => row("add", &[s, wide(m)])?,
                d => return Err(err::dtype(format!("`{NAME}`: attn_mask is {d}, expected bool or {dtype}"))),
            };
            seeing(s)
        }
    };
    if s.dims()[s.rank() - 1].is(0) {
        p = b.full(Scalar::from_f64(p.dtype(), 0.0), &p.dims());
    }
    Ok(matmul(p, wide(v))?.cast(dtype))
}

/// Rotary position embedding (Su et al., "RoFormer", 2021): pairs of features turned by an angle.
fn rotary<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, cos, sin, pairs) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?, a.bool(3)?);
    same_dtype("rotary", &[x, cos, sin])?;
    require_float("rotary", x)?;
    let s = x.shape();
    let d = s.last().copied().unwrap_or(1);
    let half = d / 2;
    if d % 2 == 1 {
        return Err(err::shape(format!("`rotary`: the last extent of {} must be even", x.ty())));
    }
    let last = s.len() - 1;
    let mut shape = s.to_vec();
    let (axis, at): (usize, [usize; 2]) = if pairs { (last + 1, [half, 2]) } else { (last, [2, half]) };
    shape.splice(last.., at);
    let mut angle = s.clone();
    angle[last] = half;
    for e in [cos, sin] {
        if crate::types::broadcast(&e.shape(), &angle).as_deref() != Some(&angle[..]) {
            return Err(err::shape(format!("`rotary`: the angles {} do not broadcast to half of {}", e.ty(), x.ty())));
        }
    }
    Ok(unit([x, cos, sin], |[x, c, s_]| {
        let x = x.reshape(&shape);
        let part = |i: usize| x.narrow(axis, i, 1).reshape(&angle);
        let (p, q) = (part(0), part(1));
        let (u, v) = (p * c - q * s_, q * c + p * s_);
        let both = [u, v].map(|e| e.unsqueeze(axis));
        super::join::cat(b, &both, axis as i64).map_or_else(|e| b.wrap(Err(e)), |y| y.reshape(&s))
    }))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "scaled_dot_product_attention",
        sig: "query, key, value, attn_mask = None, dropout_p: float = 0.0, is_causal: bool = false, scale: float? = None, \
          enable_gqa: bool = false",
        example: "query: D[2, 3, 4], key: D[2, 5, 4], value: D[2, 5, 6] => scaled_dot_product_attention(query, key, value)",
        doc: "softmax(query key^T scale + mask) value over the last two dimensions of [.., l, e], [.., s, e] and [.., s, \
              v], as [.., l, v]; scale is 1 / sqrt(e) if not given. A bool mask tells what a query may see, another is \
              added; is_causal lets query i see keys up to i; enable_gqa repeats the heads of key and value. Floats of \
              one dtype.",
        build: |b, a| Ok(attention(b, a)?.into()),
    },
    FnDef {
        name: "rotary",
        sig: "x, cos, sin, interleaved: bool = false",
        example: "x: D[2, 4, 6], cos: D[4, 3], sin: D[4, 3] => rotary(x, cos, sin)",
        doc: "Rotary position embedding (Su et al., RoFormer, 2021): of [.., d], features i and i + d / 2 (2 i and 2 i \
              + 1 if interleaved) turned by the angle whose cosine and sine, [.., d / 2], broadcast. Floats of one \
              dtype.",
        build: |b, a| Ok(rotary(b, a)?.into()),
    },
];

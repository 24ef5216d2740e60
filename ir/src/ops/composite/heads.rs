//! Attention with several heads: `multi_head_attention_forward`, the function of PyTorch's `nn.MultiheadAttention`.
//!
//! Queries, keys and values are projected, cut into heads, attended for each head ([`super::attention`] says what that is)
//! and put together by another projection. Computed in `f32` for half floats, and rounded once.

use super::join::{cat, pad_constant};
use super::matmul::matmul;
use super::random::{draw, uniform};
use super::reduce::mean;
use super::row;
use super::same_dtype;
use super::softmax::softmax;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef, Out, require_float};

const NAME: &str = "multi_head_attention_forward";

fn wrong<T>(what: String) -> Result<T> {
    Err(err::shape(format!("`{NAME}`: {what}")))
}

/// `x @ weight^T + bias`.
fn project<'b>(x: Ex<'b>, weight: Ex<'b>, bias: Option<Ex<'b>>) -> Result<Ex<'b>> {
    let out = weight.dims()[0];
    if weight.rank() != 2 || weight.dims().last() != x.dims().last() {
        return wrong(format!("{} and the weight {} cannot be multiplied", x.ty(), weight.ty()));
    }
    let y = matmul(x, weight.transpose(0, 1))?;
    let Some(bias) = bias else { return Ok(y) };
    if bias.dims().as_slice() != [out] {
        return wrong(format!("a bias {} for the weight {}", bias.ty(), weight.ty()));
    }
    row("add", &[y, bias])
}

/// A part of a tensor of three parts along dimension 0.
fn third(x: Ex<'_>, i: usize, each: usize) -> Ex<'_> {
    x.narrow(0, i * each, each)
}

/// A mask as numbers to add to scores: minus infinity where a mask of truth values hides.
fn added<'b>(b: &'b Builder, mask: Ex<'b>, what: &str, dtype: DType) -> Result<Ex<'b>> {
    match mask.dtype() {
        DType::Bool => {
            let number = |v: f64| b.number(Scalar::from_f64(DType::F64, v)).cast(dtype);
            row("where", &[mask, number(f64::NEG_INFINITY), number(0.0)])
        }
        d if d.is_float() => Ok(mask.cast(dtype)),
        d => Err(err::dtype(format!("`{NAME}`: only bool and floating types of {what} are supported, got {d}"))),
    }
}

/// The operands of attention, with a batch: queries `[l, n, e]`, keys and values `[s, n, ..]`.
struct Heads<'b> {
    b: &'b Builder,
    heads: usize,
    /// Length of the queries, batch, width, width of a head.
    sizes: [usize; 4],
}

impl<'b> Heads<'b> {
    /// `[s, n, e]` as `[n heads, s, width of a head]`.
    fn cut(&self, x: Ex<'b>) -> Ex<'b> {
        let [_, n, _, d] = self.sizes;
        x.reshape(&[x.shape()[0], n * self.heads, d]).transpose(0, 1)
    }

    /// A key or value that is given for each head, checked.
    fn fixed(&self, x: Ex<'b>, what: &str) -> Result<Ex<'b>> {
        let ([_, n, _, d], s) = (self.sizes, x.shape());
        if s.len() != 3 || s[0] != n * self.heads || s[2] != d {
            return wrong(format!("expecting {what} [{}, s, {d}], but got {}", n * self.heads, x.ty()));
        }
        Ok(x)
    }

    /// One more row behind those of dimension 1 (of a mask: one more column).
    fn grown(&self, x: Ex<'b>, dim: usize) -> Result<Ex<'b>> {
        let mut pads = vec![(0, 0); x.rank()];
        pads[dim] = (0, 1);
        pad_constant(self.b, x, &pads, Scalar::from_f64(x.dtype(), 0.0))
    }
}

/// The projected queries, keys and values.
fn projected<'b>(b: &'b Builder, a: &Args<'b>, x: [Ex<'b>; 3], e: usize, dtype: DType) -> Result<[Ex<'b>; 3]> {
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    let bias = a.opt_tensor(b, 6)?.map(wide);
    if bias.is_some_and(|v| v.shape().as_slice() != [3 * e]) {
        return wrong(format!("in_proj_bias must have {} elements", 3 * e));
    }
    let weights: Vec<Ex<'b>> = if a.bool(17)? {
        let given = (18..21).map(|i| a.opt_tensor(b, i)).collect::<Result<Option<Vec<_>>>>();
        let given = match given? {
            Some(w) => w,
            None => {
                return Err(err::ty(format!(
                    "`{NAME}`: use_separate_proj_weight needs q_proj_weight, k_proj_weight and v_proj_weight"
                )));
            }
        };
        for (w, x) in given.iter().zip(&x) {
            if w.shape().as_slice() != [e, x.shape()[2]] {
                return wrong(format!("expecting weights of shape [{e}, {}], but got {}", x.shape()[2], w.ty()));
            }
        }
        given
    } else {
        let Some(w) = a.opt_tensor(b, 5)? else {
            return Err(err::ty(format!("`{NAME}`: use_separate_proj_weight is false but in_proj_weight is None")));
        };
        if w.shape().as_slice() != [3 * e, e] {
            return wrong(format!("expecting in_proj_weight [{}, {e}], but got {}", 3 * e, w.ty()));
        }
        (0..3).map(|i| third(w, i, e)).collect()
    };
    same_dtype(NAME, &[x[0], weights[0], weights[1], weights[2]])?;
    let of = |i: usize| project(wide(x[i]), wide(weights[i]), bias.map(|v| third(v, i, e)));
    Ok([of(0)?, of(1)?, of(2)?])
}

/// The mask of attention in three dimensions, as numbers to add.
fn mask<'b>(b: &'b Builder, m: Ex<'b>, [count, l, s]: [usize; 3], dtype: DType) -> Result<Ex<'b>> {
    let shape = m.shape();
    let fits = match shape.len() {
        2 => shape[..] == [l, s],
        3 => shape[..] == [count, l, s],
        _ => false,
    };
    if !fits {
        return wrong(format!("the attn_mask is {}, but should be [{l}, {s}] or [{count}, {l}, {s}]", m.ty()));
    }
    let m = added(b, m, "attn_mask", dtype)?;
    Ok(if shape.len() == 2 { m.unsqueeze(0) } else { m })
}

fn forward<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let given = [a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?];
    let dtype = given[0].dtype();
    require_float(NAME, given[0])?;
    same_dtype(NAME, &given)?;
    let rank = given[0].rank();
    if !(2..=3).contains(&rank) || given.iter().any(|x| x.rank() != rank) {
        return wrong(format!(
            "query, key and value should be unbatched 2D or batched 3D tensors but are {}, {}, {}",
            given[0].ty(),
            given[1].ty(),
            given[2].ty()
        ));
    }
    let batched = rank == 3;
    let x = given.map(|x| if batched { x } else { x.unsqueeze(1) });
    let [l, n, e] = *x[0].shape().as_slice() else { return wrong("no queries".into()) };
    let (embed, heads) = (a.int(3)?, a.int(4)?);
    if embed != e as i64 {
        return wrong(format!("was expecting embedding dimension of {embed}, but got {e}"));
    }
    let Some(heads) = usize::try_from(heads).ok().filter(|h| *h > 0 && e.is_multiple_of(*h)) else {
        return wrong(format!("embed_dim {e} not divisible by num_heads {heads}"));
    };
    let (ks, vs) = (x[1].shape(), x[2].shape());
    if ks[..2] != vs[..2] || ks[1] != n || (!a.bool(17)? && (ks != vs || ks[2] != e)) {
        return wrong(format!("key shape {} does not match value shape {}, or the query's", x[1].ty(), x[2].ty()));
    }
    let work = dtype.compute();
    let wide = |e: Ex<'b>| e.cast(work);
    let it = Heads { b, heads, sizes: [l, n, e, e / heads] };
    let [q, mut k, mut v] = projected(b, a, x, e, dtype)?;
    let s = ks[0];
    let weights = a.bool(15)?;
    let mut mask = match a.opt_tensor(b, 16)? {
        Some(m) => Some(mask(b, m, [n * heads, l, s], work)?),
        None if a.bool(24)? => {
            return Err(err::ty(format!("`{NAME}`: need attn_mask if specifying the is_causal hint")));
        }
        None => None,
    };
    let mut hidden = match a.opt_tensor(b, 14)? {
        Some(m) => {
            let want: &[usize] = if batched { &[n, s] } else { &[s] };
            if m.shape().as_slice() != want {
                return wrong(format!("expected key_padding_mask {want:?}, got {}", m.ty()));
            }
            Some(added(b, m.reshape(&[n, s]), "key_padding_mask", work)?)
        }
        None => None,
    };
    let mut grow = |it: &Heads<'b>| -> Result<()> {
        mask = mask.map(|m| it.grown(m, 2)).transpose()?;
        hidden = hidden.map(|m| it.grown(m, 1)).transpose()?;
        Ok(())
    };
    match (a.opt_tensor(b, 7)?, a.opt_tensor(b, 8)?) {
        (Some(p), Some(r)) => {
            if !a.is_none(21) || !a.is_none(22) {
                return Err(err::ty(format!("`{NAME}`: bias cannot be added to static key or value")));
            }
            for y in [p, r] {
                if y.shape().iter().product::<usize>() != e {
                    return wrong(format!("bias_k and bias_v have {e} elements, but one is {}", y.ty()));
                }
            }
            let last = |y: Ex<'b>| wide(y).reshape(&[1, 1, e]).expand(&[1, n, e]);
            k = cat(b, &[k, last(p)], 0)?;
            v = cat(b, &[v, last(r)], 0)?;
            grow(&it)?;
        }
        (None, None) => {}
        _ => return Err(err::ty(format!("`{NAME}`: bias_k and bias_v go together"))),
    }
    let q = it.cut(q);
    let mut k = match a.opt_tensor(b, 21)? {
        Some(k) => wide(it.fixed(k, "static_k")?),
        None => it.cut(k),
    };
    let mut v = match a.opt_tensor(b, 22)? {
        Some(v) => wide(it.fixed(v, "static_v")?),
        None => it.cut(v),
    };
    if a.bool(9)? {
        (k, v) = (it.grown(k, 1)?, it.grown(v, 1)?);
        grow(&it)?;
    }
    let s = k.shape()[1];
    let mut scores = matmul(q, k.transpose(1, 2))? * (1.0 / ((e / heads) as f64).sqrt());
    if let Some(m) = mask {
        scores = row("add", &[scores, m])?;
    }
    if let Some(m) = hidden {
        let m = m.reshape(&[n, 1, 1, m.shape()[1]]).expand(&[n, heads, 1, m.shape()[1]]);
        scores = row("add", &[scores, m.reshape(&[n * heads, 1, m.shape()[3]])])?;
    }
    // Without weights PyTorch takes the attention that gives a query that may see nothing zeros.
    let mut p = if weights { softmax(scores, &[2]) } else { super::attention::seeing(scores) };
    let drop = a.float(10)?;
    if !(0.0..=1.0).contains(&drop) {
        return Err(err::ty(format!("`{NAME}`: dropout probability has to be between 0 and 1, but got {drop}")));
    }
    if a.bool(13)? && drop > 0.0 {
        let u = draw(b, a, 25, &p.dims(), |w| uniform(w, DType::F32))?;
        let keep = u.ge(b.number(Scalar::from_f64(DType::F64, drop)));
        let scaled = if drop == 1.0 { p.zeros() } else { p / (1.0 - drop) };
        p = keep.select(scaled, p.zeros());
    }
    let y = matmul(p, v)?.transpose(0, 1).reshape(&[l, n, e]);
    let y = project(y, wide(a.tensor(b, 11)?), a.opt_tensor(b, 12)?.map(wide))?.cast(dtype);
    let y = if batched { y } else { y.reshape(&[l, y.shape()[2]]) };
    if !weights {
        return Ok(y.into());
    }
    let p = p.reshape(&[n, heads, l, s]);
    let p = if a.bool(23)? { mean(p, &[1], false) } else { p };
    let shape = p.shape();
    Ok(Out::Many(vec![y, if batched { p } else { p.reshape(&shape[1..]) }.cast(dtype)]))
}

/// The functions.
pub static FNS: &[FnDef] = &[FnDef {
    name: NAME,
    sig: "query, key, value, embed_dim_to_check: int, num_heads: int, in_proj_weight: tensor?, in_proj_bias: tensor?, bias_k: \
          tensor?, bias_v: tensor?, add_zero_attn: bool, dropout_p: float, out_proj_weight: tensor, out_proj_bias: tensor?, \
          training: bool = true, key_padding_mask = None, need_weights: bool = true, attn_mask = None, \
          use_separate_proj_weight: bool = false, q_proj_weight = None, k_proj_weight = None, v_proj_weight = None, static_k \
          = None, static_v = None, average_attn_weights: bool = true, is_causal: bool = false, seed: tensor? = None",
    example: "query: D[3, 2, 4], key: D[5, 2, 4], value: D[5, 2, 4], w: D[12, 4], bias: D[12], out: D[4, 4], \
              out_bias: D[4] => multi_head_attention_forward(query, key, value, 4, 2, w, bias, None, None, false, 0.0, out, \
              out_bias)",
    doc: "Attention of num_heads heads: query [l, n, e], key and value [s, n, e] (or without the batch n) are projected by \
          in_proj_weight [3 e, e] (or three weights), cut into heads of e / num_heads features, attended by softmax(q k^T / \
          sqrt(width) + masks) and projected by out_proj_weight. attn_mask [l, s] or [n num_heads, l, s] and key_padding_mask \
          [n, s] are numbers to add, or hide where true. bias_k, bias_v and add_zero_attn append a key and a value. Gives \
          the result [l, n, e] and, if need_weights, the weights [n, l, s], averaged over the heads or [n, num_heads, l, s]. \
          Dropout when training needs a seed; is_causal is a hint and changes nothing. Floats of one dtype, rounded once. \
          Vaswani et al., \"Attention Is All You Need\", 2017.",
    build: forward,
}];

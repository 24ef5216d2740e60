//! Losses with margins, of distances and of distributions. `reduction` is "mean", "sum" or "none"; half floats are rounded
//! once, after the reduction.
//!
//! Formulas and edge cases are PyTorch's: a hinge has gradient 0 at its corner.

use super::arith::common;
use super::distance::pairwise_distance;
use super::loss::{Reduction, pairwise, reduction};
use super::row;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::Op;
use crate::ops::elementwise::range::held;
use crate::ops::gather::ScatterMode;
use crate::ops::registry::{Args, FnDef, require_float};
use crate::types::{ShapeText, broadcast};

/// `max(x, 0)`.
fn hinge(x: Ex<'_>) -> Ex<'_> {
    x.map("clamp_min", &[x.number(0.0)])
}

/// `x` where the target is `label`, else 0.
fn where_label<'b>(target: Ex<'b>, label: f64, x: Ex<'b>) -> Ex<'b> {
    target.eq(target.number(label)).select(x, x.number(0.0))
}

/// Floats in the dtype that a formula computes in; anything else itself.
fn wide(x: Ex<'_>) -> Ex<'_> {
    if x.dtype().is_float() { x.cast(x.dtype().compute()) } else { x }
}

fn shapes_differ(name: &str, what: &str, x: &[Ex<'_>]) -> crate::Error {
    let sizes: Vec<String> = x.iter().map(|e| ShapeText(&e.shape()).to_string()).collect();
    err::shape(format!("`{name}`: {what} but got sizes: {}", sizes.join(", ")))
}

fn cosine_embedding<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, y, t) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?);
    let dtype = common(&[x, y]);
    if t.rank() > 1 {
        return Err(err::shape("`cosine_embedding_loss`: 0D or 1D target tensor expected, multi-target not supported"));
    }
    let want = t.rank() + 1;
    if x.rank() != want || y.rank() != want {
        let what = format!("{}D target tensor expects {want}D input tensors", t.rank());
        return Err(shapes_differ("cosine_embedding_loss", &what, &[x, y]));
    }
    let (p, q) = (wide(x.cast(dtype)), wide(y.cast(dtype)));
    // Products of integers are integers, and sum in i64.
    let sum = |e: Ex<'b>| if dtype.is_float() { e } else { e.cast(DType::I64) }.sum(&[e.rank() - 1], false);
    let length = |e: Ex<'b>| sum(e * e) + 1e-12;
    let cos = sum(row("mul", &[p, q])?) / (length(p) * length(q)).sqrt();
    let margin = a.float(3)?;
    let loss = where_label(t, 1.0, 1.0 - cos) + where_label(t, -1.0, hinge(cos - margin));
    Ok(reduction(a, 4)?.of(loss).cast(dtype.to_float()))
}

fn gaussian_nll<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, t, v) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?);
    require_float("gaussian_nll_loss", x)?;
    let (full, eps) = (a.bool(3)?, a.float(4)?);
    let (xs, vs) = (x.shape(), v.shape());
    let short = xs.split_last().is_some_and(|(_, lead)| lead == &vs[..]);
    let thin =
        xs.len() == vs.len() && xs.split_last().zip(vs.split_last()).is_some_and(|((_, p), (n, q))| p == q && *n == 1);
    let v = match v.rank() {
        0 if v.ty().weak => v.cast(x.dtype()).expand(&xs),
        _ if vs == xs || thin => v,
        _ if short => v.unsqueeze(v.rank()),
        _ => return Err(shapes_differ("gaussian_nll_loss", "var is of incorrect size", &[x, v])),
    };
    let dtype = common(&[x, t]);
    let (x, t, v) = (wide(x), wide(t), wide(v));
    let v = held("check_variance", v.lt(v.number(0.0)).logical_not(), v, 1.0);
    // PyTorch holds the variance above eps outside of the derivative.
    let held = v - v.apply(Op::Detach, &[]) + eps;
    let v = v.lt(v.number(eps)).select(held, v);
    let d = row("sub", &[x, t])?;
    let mut loss = row("add", &[v.log(), row("div", &[d * d, v])?])? * 0.5;
    if full {
        loss = loss + 0.5 * std::f64::consts::TAU.ln();
    }
    Ok(reduction(a, 5)?.of(loss).cast(dtype))
}

fn margin_ranking<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, y, t) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?);
    if x.rank() != y.rank() || x.rank() != t.rank() {
        let what = "all input tensors should have same dimension";
        return Err(shapes_differ("margin_ranking_loss", what, &[x, y, t]));
    }
    let dtype = common(&[x, y, t]);
    let d = row("sub", &[wide(x), wide(y)])?;
    let loss = hinge(row("mul", &[-wide(t), d])? + a.float(3)?);
    Ok(reduction(a, 4)?.of(loss).cast(dtype.to_float()))
}

/// Scores `[n, c]` (a vector is one row) with the rank of what was given.
fn scores<'b>(name: &str, x: Ex<'b>) -> Result<(Ex<'b>, usize, usize)> {
    require_float(name, x)?;
    match x.shape().as_slice() {
        [n, c] if *c > 0 => Ok((wide(x), *n, *c)),
        [] => Ok((wide(x).reshape(&[1, 1]), 1, 1)),
        [c] if *c > 0 => Ok((wide(x).reshape(&[1, *c]), 1, *c)),
        _ => Err(err::shape(format!(
            "`{name}`: Expected non-empty vector or matrix with optional 0-dim batch size, but got: {}",
            ShapeText(&x.shape())
        ))),
    }
}

/// The loss of each row, `[n]`, or the one number of a vector's.
fn per_row<'b>(a: &Args<'b>, i: usize, rows: Ex<'b>, x: Ex<'b>) -> Result<Ex<'b>> {
    let loss = match reduction(a, i)? {
        Reduction::None if x.rank() < 2 => rows.reshape::<usize>(&[]),
        r => r.of(rows),
    };
    Ok(loss.cast(x.dtype()))
}

/// Refuses classes that are not `i64`.
fn classes_of(name: &str, t: Ex<'_>) -> Result<()> {
    match t.dtype() {
        DType::I64 => Ok(()),
        d => Err(err::dtype(format!("`{name}`: expected scalar type i64 but found {d} for the target"))),
    }
}

fn multi_margin<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, t) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    let (p, margin, weight) = (a.float(2)?, a.float(3)?, a.opt_tensor(b, 4)?);
    reduction(a, 5)?;
    let (s, n, c) = scores("multi_margin_loss", x)?;
    if p != 1.0 && p != 2.0 {
        return Err(err::ty("`multi_margin_loss`: only p == 1 and p == 2 supported"));
    }
    if t.rank() > 1 || t.numel() != n {
        return Err(err::shape(format!(
            "`multi_margin_loss`: target tensor should be 1-D with size equal to the number of input samples (batch size). \
             Expected target size [{n}], but got {}. Input has shape {}",
            ShapeText(&t.shape()),
            ShapeText(&x.shape())
        )));
    }
    if let Some(w) = weight {
        if w.rank() != 1 {
            return Err(err::shape(format!("`multi_margin_loss`: weight must be one-dimensional, got {}", w.ty())));
        }
        if w.shape().as_slice() != [c] {
            return Err(err::shape(format!(
                "`multi_margin_loss`: inconsistent weight size, expected {c} but got {}",
                ShapeText(&w.shape())
            )));
        }
        super::same_dtype("multi_margin_loss", &[x, w])?;
    }
    classes_of("multi_margin_loss", t)?;
    let classes = b.number(Scalar::from_i64(DType::I64, c as i64));
    let t = row("check_target", &[t, classes])?.reshape(&[n, 1]);
    let mut z = hinge(margin - s.gather(1, t) + s);
    if p == 2.0 {
        z = z * z;
    }
    if let Some(w) = weight {
        z = z * wide(w).reshape(&[1, c]).expand(&[n, c]).gather(1, t);
    }
    let own = b.iota(c).eq(t);
    let rows = own.select(z.zeros(), z).sum(&[1], false) / c as f64;
    per_row(a, 5, rows, x)
}

fn multilabel_margin<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, t) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    reduction(a, 2)?;
    let (s, n, c) = scores("multilabel_margin_loss", x)?;
    if t.shape() != x.shape() {
        return Err(err::shape(format!(
            "`multilabel_margin_loss`: inconsistent target size: {} for input of size: {}",
            ShapeText(&t.shape()),
            ShapeText(&x.shape())
        )));
    }
    classes_of("multilabel_margin_loss", t)?;
    let t = t.reshape(&[n, c]);
    // Labels stand before the first -1.
    let ended = t.eq(b.int(-1)).cast(DType::I64).scan(crate::ops::scan::ScanKind::Sum, 1);
    let given = ended.eq(b.int(0));
    let label = row("check_target", &[given.select(t, b.int(0)), b.int(c as i64)])?;
    let marks = given.cast(DType::I64);
    let zero = b.full(Scalar::from_i64(DType::I64, 0), &[n, c]);
    let is_target = zero.scatter(1, ScatterMode::Add, label, marks).ne(b.int(0));
    // [n, label, class]: the hinge of each label's score against each class that is no label.
    let z = hinge(1.0 - s.gather(1, label).unsqueeze(2) + s.unsqueeze(1));
    let counts = row("logical_and", &[given.unsqueeze(2), is_target.logical_not().unsqueeze(1)])?;
    let rows = counts.select(z, z.zeros()).sum(&[1, 2], false) / c as f64;
    per_row(a, 2, rows, x)
}

fn multilabel_soft_margin<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, t, w) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.opt_tensor(b, 2)?);
    require_float("multilabel_soft_margin_loss", x)?;
    let Some(classes) = x.shape().last().copied() else {
        return Err(err::index("`multilabel_soft_margin_loss`: the input has no dimension of classes"));
    };
    let (s, t) = (wide(x), wide(t));
    let of = |e: Ex<'b>| e.map("logsigmoid", &[]);
    let mut loss = -row("add", &[row("mul", &[t, of(s)])?, row("mul", &[1.0 - t, of(-s)])?])?;
    if let Some(w) = w {
        loss = row("mul", &[loss, wide(w)])?;
    }
    let rows = loss.sum(&[loss.rank() - 1], false) / classes as f64;
    Ok(reduction(a, 3)?.of(rows).cast(x.dtype()))
}

fn poisson_nll<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (log_input, full, eps) = (a.bool(2)?, a.bool(3)?, a.float(4)?);
    let (x, t) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    let dtype = common(&[x, t]).to_float();
    let (x, t) = (wide(x), wide(t));
    let product = |p: Ex<'b>, q: Ex<'b>| row("mul", &[p, q]);
    let loss = match log_input {
        true => x.exp() - product(t, x)?,
        false => x - product(t, (x + eps).log())?,
    };
    let loss = match full {
        false => loss,
        true => {
            // Stirling's approximation of log t!, for t above 1.
            let stirling = t * t.log() - t + (t * std::f64::consts::TAU).log() * 0.5;
            loss + t.le(t.number(1.0)).select(stirling.zeros(), stirling)
        }
    };
    Ok(reduction(a, 5)?.of(loss).cast(dtype))
}

/// The loss of three tensors at that margin, with the `p`-norm of differences plus `eps` as distance.
fn triplet_margin<'b>(
    b: &'b Builder,
    a: &Args<'b>,
    [margin, p, eps]: [f64; 3],
    swap: bool,
    reduction: Reduction,
) -> Result<Ex<'b>> {
    let (anchor, pos, neg, name) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?, a.name());
    if anchor.rank() != pos.rank() || pos.rank() != neg.rank() {
        return Err(err::shape(format!(
            "`{name}`: The anchor, positive, and negative tensors are expected to have the same number of dimensions, but \
             got: anchor {}D, positive {}D, and negative {}D inputs",
            anchor.rank(),
            pos.rank(),
            neg.rank()
        )));
    }
    let dtype = common(&[anchor, pos, neg]);
    if margin <= 0.0 || margin.is_nan() {
        return Err(err::ty(format!("`{name}`: margin must be greater than 0, got {margin}")));
    }
    let distance = |x: Ex<'b>, y: Ex<'b>| pairwise_distance(wide(x.cast(dtype)), wide(y.cast(dtype)), p, eps, false);
    let near = distance(anchor, pos)?;
    let mut far = distance(anchor, neg)?;
    if swap {
        far = row("minimum", &[far, distance(pos, neg)?])?;
    }
    if broadcast(&near.shape(), &far.shape()).is_none() {
        return Err(shapes_differ(name, "the distances do not broadcast", &[near, far]));
    }
    Ok(reduction.of(hinge(margin + near - far)).cast(dtype.to_float()))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "cosine_embedding_loss",
        sig: "input1, input2, target, margin: float = 0.0, reduction: str = mean",
        example: "input1: D[2, 3], input2: D[2, 3] => cosine_embedding_loss(input1, input2, tensor([1, -1]))",
        doc: "1 - cos(input1, input2) where the target is 1, max(0, cos - margin) where it is -1, with the cosine over \
              the last dimension. Numbers [n, d] and a target [n], or [d] and a 0-d target; integers give f32. \
              reduction \"mean\", \"sum\" or \"none\".",
        build: |b, a| Ok(cosine_embedding(b, a)?.into()),
    },
    FnDef {
        name: "gaussian_nll_loss",
        sig: "x, target, var, full: bool = false, eps: float = 1e-6, reduction: str = mean",
        example: "x: D[2, 3], target: D[2, 3], var: D[2, 3] => gaussian_nll_loss(x, target, square(var))",
        doc: "(log var + (x - target)^2 / var) / 2 with var at least eps, plus log(2 pi) / 2 if full. var has the \
              shape of x, or 1 as last extent, or lacks that dimension; a negative one is an error. reduction \"mean\", \
              \"sum\" or \"none\". Floats. The gradient by var ignores that it was held at eps.",
        build: |b, a| Ok(gaussian_nll(b, a)?.into()),
    },
    FnDef {
        name: "hinge_embedding_loss",
        sig: "x, target, margin: float = 1.0, reduction: str = mean",
        example: "x: D[2, 3] => hinge_embedding_loss(x, tensor([1, -1, 1]))",
        doc: "x where the target is 1, max(0, margin - x) where it is -1; they broadcast. reduction \"mean\", \"sum\" \
              or \"none\". Floats.",
        build: |b, a| {
            let margin = a.float(2)?;
            Ok(pairwise(b, a, "hinge_embedding_loss", reduction(a, 3)?, |x, t| {
                let (far, zero) = (hinge(margin - x), x.number(0.0));
                t.ne(t.number(1.0)).select(far, zero) + t.ne(t.number(-1.0)).select(x, zero)
            })?
            .into())
        },
    },
    FnDef {
        name: "margin_ranking_loss",
        sig: "input1, input2, target, margin: float = 0.0, reduction: str = mean",
        example: "input1: D[3], input2: D[3] => margin_ranking_loss(input1, input2, tensor([1, -1, 1]))",
        doc: "max(0, -target (input1 - input2) + margin). Numbers with as many dimensions, that broadcast; integers \
              give f32. reduction \"mean\", \"sum\" or \"none\". The gradient at the kink is 0.",
        build: |b, a| Ok(margin_ranking(b, a)?.into()),
    },
    FnDef {
        name: "multi_margin_loss",
        sig: "x, target, p: float = 1, margin: float = 1.0, weight = None, reduction: str = mean",
        example: "x: D[2, 3] => multi_margin_loss(x, tensor([0, 2]))",
        doc: "The mean over the classes j but the target y of weight[y] max(0, margin - x[y] + x[j])^p, for p 1 or 2. \
              Floats [n, c] or [c] and i64 targets [n]; a target outside the classes is an error of the run. reduction \
              \"mean\", \"sum\" or \"none\".",
        build: |b, a| Ok(multi_margin(b, a)?.into()),
    },
    FnDef {
        name: "multilabel_margin_loss",
        sig: "x, target, reduction: str = mean",
        example: "x: D[2, 3] => multilabel_margin_loss(x, tensor([[0, 2, -1], [1, -1, 0]]))",
        doc: "The sum over labels y and classes j that are no label of max(0, 1 - x[y] + x[j]) / c. Floats [n, c] or \
              [c], and i64 labels of that shape, which end at the first -1; one outside the classes is an error of the \
              run. reduction \"mean\", \"sum\" or \"none\".",
        build: |b, a| Ok(multilabel_margin(b, a)?.into()),
    },
    FnDef {
        name: "multilabel_soft_margin_loss",
        sig: "x, target, weight = None, reduction: str = mean",
        example: "x: D[2, 3], target: D[2, 3] => multilabel_soft_margin_loss(x, target)",
        doc: "The mean over the last dimension of -weight (target log sigmoid(x) + (1 - target) log sigmoid(-x)). \
              reduction \"mean\", \"sum\" or \"none\". Floats.",
        build: |b, a| Ok(multilabel_soft_margin(b, a)?.into()),
    },
    FnDef {
        name: "poisson_nll_loss",
        sig: "x, target, log_input: bool = true, full: bool = false, eps: float = 1e-8, reduction: str = mean",
        example: "x: D[2, 3], target: D[2, 3] => poisson_nll_loss(x, target)",
        doc: "e^x - target x, or x - target log(x + eps) if not log_input; if full plus Stirling's approximation of \
              log(target!) for targets above 1. They broadcast; integers give f32. reduction \"mean\", \"sum\" or \
              \"none\".",
        build: |b, a| Ok(poisson_nll(b, a)?.into()),
    },
    FnDef {
        name: "soft_margin_loss",
        sig: "x, target, reduction: str = mean",
        example: "x: D[2, 3] => soft_margin_loss(x, tensor([1, -1, 1]))",
        doc: "log(1 + e^(-target x)), for targets -1 and 1; they broadcast. reduction \"mean\", \"sum\" or \"none\". \
              Floats.",
        build: |b, a| Ok(pairwise(b, a, "soft_margin_loss", reduction(a, 2)?, |x, t| (-t * x).exp().log1p())?.into()),
    },
    FnDef {
        name: "triplet_margin_loss",
        sig: "anchor, positive, negative, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = false, \
              reduction: str = mean",
        example: "anchor: D[2, 3], positive: D[2, 3], negative: D[2, 3] => triplet_margin_loss(anchor, positive, negative)",
        doc: "max(0, margin + d(anchor, positive) - d(anchor, negative)) with `pairwise_distance` over the last \
              dimension; with swap the smaller of d(anchor, negative) and d(positive, negative). Integers give f32. \
              reduction \"mean\", \"sum\" or \"none\".",
        build: |b, a| {
            let numbers = [a.float(3)?, a.float(4)?, a.float(5)?];
            Ok(triplet_margin(b, a, numbers, a.bool(6)?, reduction(a, 7)?)?.into())
        },
    },
    FnDef {
        name: "triplet_margin_with_distance_loss",
        sig: "anchor, positive, negative, distance_function: any = None, margin: float = 1.0, swap: bool = false, \
              reduction: str = mean",
        example: "anchor: D[2, 3], positive: D[2, 3], negative: D[2, 3] => \
                  triplet_margin_with_distance_loss(anchor, positive, negative)",
        doc: "`triplet_margin_loss` with the distance that PyTorch takes if none is given, `pairwise_distance`. Another \
              distance_function is unsupported: the loss of distances is max(0, margin + near - far).",
        build: |b, a| {
            if !a.is_none(3) {
                return Err(err::unsupported(format!("`{}` with a distance_function", a.name())).help(
                    "write the loss out: relu(margin + distance(anchor, positive) - distance(anchor, negative))",
                ));
            }
            Ok(triplet_margin(b, a, [a.float(4)?, 2.0, 1e-6], a.bool(5)?, reduction(a, 6)?)?.into())
        },
    },
];

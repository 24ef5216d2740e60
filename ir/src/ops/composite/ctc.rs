//! `ctc_loss`: connectionist temporal classification (Graves, Fernández, Gomez and Schmidhuber, 2006).
//!
//! The probability that a sequence of class probabilities spells a target, over all alignments with blanks and repeats, by
//! the forward recursion over the target with blanks between its labels, `l' = _ l1 _ l2 _`:
//!
//! ```text
//! a_t(s) = p_t(l'_s) (a_(t-1)(s) + a_(t-1)(s-1) + a_(t-1)(s-2))
//! ```
//!
//! in logarithms, where the last term is there only if `l'_s` is no blank and not `l'_(s-2)`. One scan over the time.

use super::loss::{Reduction, reduction};
use super::pick::index_of;
use super::row;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::ops::Op;
use crate::ops::control::{Body, Scan};
use crate::ops::registry::{Arg, Args, FnDef, require_float};
use crate::ops::scan::ScanKind;
use crate::types::Type;

const NAME: &str = "ctc_loss";

/// The logarithm of the sum of exponentials of tensors of one type. Where all are minus infinity it is that, and no gradient
/// flows.
fn log_sum<'b>(terms: &[Ex<'b>]) -> Ex<'b> {
    let first = terms[0].apply(Op::Detach, &[]);
    let most = terms[1..].iter().fold(first, |m, t| m.maximum(t.apply(Op::Detach, &[])));
    let none = most.eq(most.number(f64::NEG_INFINITY));
    let shift = none.select(most.zeros(), most);
    let sum = terms[1..].iter().fold((terms[0] - shift).exp(), |s, t| s + (*t - shift).exp());
    none.select(most, none.select(sum.number(1.0), sum).log() + shift)
}

/// Moved by `n` along the last axis, with minus infinity before.
fn behind<'b>(b: &'b Builder, x: Ex<'b>, n: usize) -> Result<Ex<'b>> {
    let wide = x.shape()[1];
    let low = Scalar::from_f64(x.dtype(), f64::NEG_INFINITY);
    let moved = super::join::pad_constant(b, x, &[(0, 0), (n as i64, 0)], low)?;
    Ok(moved.narrow(1, 0, wide))
}

/// One step of the recursion: `a` as carry, the log probabilities of the labels and whether the time counts as slices, where
/// a label may be skipped as constant.
fn step(dtype: DType, n: usize, wide: usize) -> Result<Body> {
    let of = |dtype: DType, columns: usize| Type::new(dtype, [n, columns]);
    let params = [
        ("a", of(dtype, wide)),
        ("p", of(dtype, wide)),
        ("counts", of(DType::Bool, 1)),
        ("skip", of(DType::Bool, wide)),
    ];
    Body::written("ctc_step", &params, |b, x| {
        let [a, p, counts, skip] = *x else { return Err(err::internal("`ctc_step` has four parameters")) };
        let over = behind(b, a, 2)?;
        let over = skip.select(over, over.number(f64::NEG_INFINITY));
        let next = log_sum(&[a, behind(b, a, 1)?, over]) + p;
        Ok(vec![counts.expand(&[n, wide]).select(next, a)])
    })
}

/// Lengths `[n]`, from 0 to `most`, which are checked: here if they are numbers, else when it runs.
fn lengths<'b>(b: &'b Builder, a: &Args<'b>, i: usize, [n, most]: [usize; 2], what: &str) -> Result<Ex<'b>> {
    let outside = |v: i64| {
        let (side, bound) = if v < 0 { ("least", 0) } else { ("most", most) };
        err::ty(format!("`{NAME}`: Expected {what} to have value at {side} {bound}, but got value {v}"))
    };
    let t = match a.raw(i) {
        Arg::Tensor(t) => {
            let t = index_of(NAME, *t)?;
            let t = row("check_length", &[t, b.int(most as i64 + 1)])?;
            if t.rank() == 0 { t.reshape(&[1]) } else { t }
        }
        _ => {
            let given = a.ints(i)?;
            if let Some(v) = given.iter().find(|v| !(0..=most as i64).contains(*v)) {
                return Err(outside(*v));
            }
            super::create::vector(b, DType::I64, given.iter().map(|v| Scalar::from_i64(DType::I64, *v)).collect())?
        }
    };
    if t.shape().as_slice() != [n] {
        return Err(err::shape(format!("`{NAME}`: {what} must be of size batch_size, {n}, but are {}", t.ty())));
    }
    Ok(t)
}

/// The targets `[n, most]` by sequence: as they are, or cut from one vector. What is behind a target's end is any label.
fn labels<'b>(b: &'b Builder, a: &Args<'b>, [n, classes]: [usize; 2]) -> Result<(Ex<'b>, Ex<'b>)> {
    let t = index_of(NAME, a.tensor(b, 1)?)?;
    let shape = t.shape();
    let (t, length) = match shape.as_slice() {
        [rows, most] if *rows == n => (t, lengths(b, a, 3, [n, *most], "target_lengths")?),
        [most] if n == 1 => (t.unsqueeze(0), lengths(b, a, 3, [1, *most], "target_lengths")?),
        [all] => {
            let length = lengths(b, a, 3, [n, *all], "target_lengths")?;
            let most = match a.raw(3) {
                Arg::Tensor(_) => *all,
                _ => a.ints(3)?.into_iter().max().unwrap_or(0) as usize,
            };
            if let Arg::List(_) | Arg::Int(_) = a.raw(3)
                && a.ints(3)?.iter().sum::<i64>() != *all as i64
            {
                return Err(err::shape(format!(
                    "`{NAME}`: the target_lengths do not add up to the targets {}",
                    t.ty()
                )));
            }
            let end = length.scan(ScanKind::Sum, 0);
            let at = (end - length).unsqueeze(1) + b.iota(most);
            let at = at.minimum(b.int((*all).saturating_sub(1)));
            let flat = if *all == 0 {
                b.full(Scalar::from_i64(DType::I64, 0), &[n, 0])
            } else {
                t.gather(0, at.reshape(&[n * most])).reshape(&[n, most])
            };
            (flat, length)
        }
        _ => return Err(err::shape(format!("`{NAME}`: the targets are {}, expected [{n}, s] or a vector", t.ty()))),
    };
    let inside = b.iota(t.shape()[1]).lt(length.unsqueeze(1));
    let t = row("check_target", &[inside.select(t, b.int(0)), b.int(classes)])?;
    Ok((t, length))
}

fn ctc_loss<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (given, blank, zero_infinity) = (a.tensor(b, 0)?, a.int(4)?, a.bool(6)?);
    require_float(NAME, given)?;
    let batched = given.rank() == 3;
    if !batched && given.rank() != 2 {
        return Err(err::shape(format!("`{NAME}`: log_probs [t, n, c] or [t, c] expected, got {}", given.ty())));
    }
    let x = given.cast(given.dtype().compute());
    let x = if batched { x } else { x.unsqueeze(1) };
    let [steps, n, classes] = *x.shape().as_slice() else { return Err(err::internal("`ctc_loss`: no log_probs")) };
    if blank < 0 || blank >= classes as i64 {
        return Err(err::ty(format!("`{NAME}`: blank must be in label range")));
    }
    if steps == 0 {
        return Err(err::shape(format!("`{NAME}`: log_probs {} have no time", given.ty())));
    }
    let input = lengths(b, a, 2, [n, steps], "input_lengths")?;
    let (target, length) = labels(b, a, [n, classes])?;
    // The labels with blanks between: at odd places.
    let (most, low) = (target.shape()[1], x.number(f64::NEG_INFINITY));
    let wide = 2 * most + 1;
    let blanks = b.full(Scalar::from_i64(DType::I64, blank), &[n, most]);
    let pairs = super::join::stack(b, &[blanks, target], 2)?.reshape(&[n, 2 * most]);
    let ends = b.full(Scalar::from_i64(DType::I64, blank), &[n, 1]);
    let spelled = super::join::cat(b, &[pairs, ends], 1)?;
    let before = super::join::pad_constant(b, spelled, &[(0, 0), (2, 0)], Scalar::from_i64(DType::I64, blank))?;
    let skip = spelled.ne(b.int(blank)).logical_and(spelled.ne(before.narrow(1, 0, wide)));
    let p = x.gather(2, spelled.unsqueeze(0).expand(&[steps, n, wide]));
    let start = b.iota(wide).lt(b.int(2)).expand(&[n, wide]).select(p.narrow(0, 0, 1).reshape(&[n, wide]), low);
    let time = b.iota(steps).unsqueeze(1).lt(input);
    let counts = time.narrow(0, 1, steps - 1).unsqueeze(2);
    let scan = Scan {
        body: step(x.dtype(), n, wide)?,
        carries: 1,
        xs: 2,
        length: (steps - 1).into(),
        reverse: false,
        save: false,
    };
    let last = start.apply(Op::Loop(scan), &[p.narrow(0, 1, steps - 1), counts, skip]);
    // An alignment ends with the last label or the blank behind it.
    let at = (length * b.int(2)).unsqueeze(1);
    let end = last.gather(1, at);
    let label = last.gather(1, (at - b.int(1)).maximum(b.int(0)));
    let label = at.gt(b.int(0)).select(label, low);
    let y = -log_sum(&[end, label]).reshape(&[n]);
    // Without any time only nothing can be spelled.
    let empty = length.eq(b.int(0)).select(x.number(0.0), x.number(f64::INFINITY)).cast(x.dtype());
    let y = input.eq(b.int(0)).select(empty, y);
    // The gradient is that of the scores before a log_softmax, as in PyTorch: e^x is added to it.
    let sums = time.unsqueeze(2).select(x.exp(), x.number(0.0)).sum(&[0, 2], false);
    let mut y = y + (sums - sums.apply(Op::Detach, &[]));
    if zero_infinity {
        y = y.eq(y.number(f64::INFINITY)).select(y.zeros(), y);
    }
    let y = match reduction(a, 5)? {
        Reduction::Mean => (y / length.maximum(b.int(1)).cast(x.dtype())).sum_all() / n as f64,
        Reduction::None if !batched => y.reshape::<usize>(&[]),
        r => r.of(y),
    };
    Ok(y.cast(given.dtype()))
}

/// The functions.
pub static FNS: &[FnDef] = &[FnDef {
    name: NAME,
    sig: "log_probs: tensor, targets: tensor, input_lengths: any, target_lengths: any, blank: int = 0, reduction: str = mean, \
          zero_infinity: bool = false",
    example: "x: D[5, 2, 4] => ctc_loss(log_softmax(x, -1), tensor([[1, 2], [3, 3]]), [5, 5], [2, 2])",
    doc: "Connectionist temporal classification: minus the log probability that log_probs [t, n, c] (or [t, c]), of \
          input_lengths steps each, spell the targets [n, s] (or one vector of them all), of target_lengths labels each, with \
          blanks and repeated labels between. Lengths are lists or i64 tensors [n]. \"mean\" divides by the target's length \
          first; zero_infinity makes losses of targets that cannot be spelled 0. Floats; a label or a length out of range is \
          an error. The gradient is that for the scores before a log_softmax, as in PyTorch, e^log_probs minus the \
          probability of the label. Graves et al., \"Connectionist Temporal Classification\", 2006.",
    build: |b, a| Ok(ctc_loss(b, a)?.into()),
}];

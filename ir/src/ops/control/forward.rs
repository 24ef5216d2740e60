//! Derivatives of control flow along tangents: the same control flow, whose bodies carry the tangents along.
//!
//! A branch gives the tangents of its results; a loop carries those of its carries beside them, so it may be of any length
//! that is not known before it has run. The op of the values themselves stays as it is, and what it computes is computed
//! once more beside the tangents: a body sees its parameters only.

use super::body::Draft;
use super::{Body, Cond, Scan, While};
use crate::builder::Ex;
use crate::dim::Dim;
use crate::error::Result;
use crate::graph::Value;
use crate::ops::{Op, or_zeros};
use crate::passes::autodiff::forward::push;
use crate::types::Type;

/// Which operands move.
fn moving(t: &[Option<Ex<'_>>]) -> Vec<bool> {
    t.iter().map(Option::is_some).collect()
}

/// The numbers of what is marked.
fn marked(marks: &[bool], range: std::ops::Range<usize>) -> Vec<usize> {
    range.filter(|i| marks[*i]).collect()
}

/// Tangents for the results of those numbers, made by `f`; what fails stays with the builder.
fn results<'b>(y: &[Ex<'b>], moves: &[usize], f: impl FnOnce() -> Result<Vec<Value>>) -> Vec<Option<Ex<'b>>> {
    let mut out = vec![None; y.len()];
    let Some(b) = y.first().map(|y| y.builder()) else { return out };
    match f() {
        Ok(values) => moves.iter().zip(values).for_each(|(i, v)| out[*i] = Some(b.ex(v))),
        Err(e) => b.fail(e),
    }
    out
}

fn values(all: impl IntoIterator<Item = Result<Value>>) -> Result<Vec<Value>> {
    all.into_iter().collect()
}

/// In a draft: the body's results on `args`, and the tangents of those that are named when arguments move by `tangents`.
fn inline<'d>(
    body: &Body,
    draft: &'d Draft,
    args: &[Value],
    tangents: &[(usize, Value)],
    wanted: &[usize],
) -> Result<(Vec<Value>, Vec<Value>)> {
    let y = draft.b.inline(body, args, Op::saving)?;
    let seeds: Vec<(Value, Ex<'d>)> = tangents.iter().map(|(i, t)| (args[*i], draft.b.ex(*t))).collect();
    let of: Vec<Value> = wanted.iter().map(|i| y[*i]).collect();
    let t = push(&draft.b, &seeds, &of)?;
    let t = values(t.into_iter().zip(&of).map(|(t, y)| draft.or_zeros(t, &draft.b.ty(*y)).value()))?;
    Ok((y, t))
}

/// Both branches give the tangents of the results that move in either of them.
pub(super) fn cond<'b>(op: &Cond, x: &[Ex<'b>], y: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Vec<Option<Ex<'b>>> {
    let moves = moving(&t[1..]);
    let depend = op.branches.each_ref().map(|f| f.depends(&moves));
    let wanted: Vec<usize> =
        (0..y.len()).filter(|i| y[*i].dtype().is_float() && depend.iter().any(|d| d[*i])).collect();
    if wanted.is_empty() {
        return vec![None; y.len()];
    }
    results(y, &wanted, || {
        let branch = |f: &Body| -> Result<Body> {
            let draft = Draft::of(f, "jvp");
            let types = f.param_types();
            let args = draft.params("x", &types);
            let which = marked(&moves, 0..types.len());
            let seeds = draft.params("t", which.iter().map(|i| &types[*i]));
            let seeds: Vec<(usize, Value)> = which.into_iter().zip(seeds).collect();
            let (_, tangents) = inline(f, &draft, &args, &seeds, &wanted)?;
            draft.finish(tangents)
        };
        let branches = [branch(&op.branches[0])?, branch(&op.branches[1])?];
        let b = x[0].builder();
        let operands = values(x.iter().chain(t[1..].iter().flatten()).map(|e| e.value()))?;
        let node = b.emit_all(Op::Cond(Cond { branches }), &operands)?;
        Ok(b.results(node).to_vec())
    })
}

/// Carries c and dc, the constants k and dk.
pub(super) fn while_loop<'b>(op: &While, x: &[Ex<'b>], y: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Vec<Option<Ex<'b>>> {
    let n = op.carries();
    let mut moves = moving(t);
    op.body.mark_carries(&mut moves, |i| x[i].dtype().is_float());
    let carried = marked(&moves, 0..n);
    results(y, &carried, || {
        let types = op.body.param_types();
        let consts = marked(&moves, n..x.len());
        // The parameters of both bodies: c, dc, k, dk.
        let params = |draft: &Draft| {
            let mut args = draft.params("c", &types[..n]);
            let dc = draft.params("dc", carried.iter().map(|i| &types[*i]));
            args.extend(draft.params("k", &types[n..]));
            let dk = draft.params("dk", consts.iter().map(|i| &types[*i]));
            (args, carried.iter().chain(&consts).copied().zip(dc.into_iter().chain(dk)).collect::<Vec<_>>())
        };
        let draft = Draft::of(&op.test, "jvp");
        let (args, _) = params(&draft);
        let go_on = draft.b.inline(&op.test, &args, |op| op)?;
        let test = draft.finish(go_on)?;
        let draft = Draft::of(&op.body, "jvp");
        let (args, seeds) = params(&draft);
        let (mut next, tangents) = inline(&op.body, &draft, &args, &seeds, &carried)?;
        next.extend(tangents);
        let body = draft.finish(next)?;
        let mut operands: Vec<Ex<'b>> = x[..n].to_vec();
        operands.extend(carried.iter().map(|i| or_zeros(t[*i], x[*i])));
        operands.extend(&x[n..]);
        operands.extend(consts.iter().filter_map(|i| t[*i]));
        let b = x[0].builder();
        let node = b.emit_all(Op::While(While { test, body }), &values(operands.into_iter().map(Ex::value))?)?;
        Ok(b.results(node)[n..].to_vec())
    })
}

/// Carries c and dc, slices x and dx, constants k and dk; the results of a step are followed by their tangents.
pub(super) fn scan<'b>(op: &Scan, x: &[Ex<'b>], y: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Vec<Option<Ex<'b>>> {
    let (n, m, q) = (op.carries, op.xs, op.ys());
    let mut moves = moving(t);
    op.body.mark_carries(&mut moves[..], |i| i < n && x[i].dtype().is_float());
    let carried = marked(&moves, 0..n);
    let depend = op.body.depends(&moves);
    let ys: Vec<usize> = (n..n + q).filter(|i| depend[*i] && y[*i].dtype().is_float()).collect();
    let saved: Vec<usize> = if op.save { carried.iter().map(|i| n + q + i).collect() } else { Vec::new() };
    let all: Vec<usize> = carried.iter().chain(&ys).chain(&saved).copied().collect();
    if all.is_empty() {
        return vec![None; y.len()];
    }
    results(y, &all, || {
        let types = op.body.param_types();
        let (slices, consts) = (marked(&moves, n..n + m), marked(&moves, n + m..x.len()));
        let ty = |i: &usize| -> &Type { &types[*i] };
        let draft = Draft::of(&op.body, "jvp");
        let mut args = draft.params("c", &types[..n]);
        let dc = draft.params("dc", carried.iter().map(ty));
        args.extend(draft.params("x", &types[n..n + m]));
        let dx = draft.params("dx", slices.iter().map(ty));
        args.extend(draft.params("k", &types[n + m..]));
        let dk = draft.params("dk", consts.iter().map(ty));
        let which = carried.iter().chain(&slices).chain(&consts).copied();
        let seeds: Vec<(usize, Value)> = which.zip(dc.into_iter().chain(dx).chain(dk)).collect();
        let wanted: Vec<usize> = carried.iter().chain(&ys).copied().collect();
        let (next, tangents) = inline(&op.body, &draft, &args, &seeds, &wanted)?;
        let (dc, dy) = tangents.split_at(carried.len());
        let body = draft.finish(next[..n].iter().chain(dc).chain(dy).copied().collect())?;

        let mut operands: Vec<Ex<'b>> = x[..n].to_vec();
        operands.extend(carried.iter().map(|i| or_zeros(t[*i], x[*i])));
        let carries = operands.len();
        operands.extend(&x[n..n + m]);
        operands.extend(slices.iter().filter_map(|i| t[*i]));
        let xs = operands.len() - carries;
        operands.extend(&x[n + m..]);
        operands.extend(consts.iter().filter_map(|i| t[*i]));
        let length: Dim = op.length;
        // `cleanup` takes the flag back where no gradient has asked.
        let new = Scan { body, carries, xs, length, reverse: op.reverse, save: true };
        let b = x[0].builder();
        let node = b.emit_all(Op::Loop(new), &values(operands.into_iter().map(Ex::value))?)?;
        let all = b.results(node);
        // The last dc, the stacked dy; and behind the stacked c, the stacked dc.
        let (last, stacked) = (carries + dy.len(), &all[n..carries + dy.len()]);
        let kept = if op.save { &all[last + n..] } else { &[] };
        Ok(stacked.iter().chain(kept).copied().collect())
    })
}

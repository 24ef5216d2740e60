//! A graph for many elements at once, and control flow in it.
//!
//! Nodes of which no operand differs between elements stay as they are; the others are appended by their own rule
//! ([`Structural::batch`](crate::ops::Structural::batch)). Control flow that is decided alike for all elements stays control
//! flow over batched bodies. A `cond` that they decide differently runs both branches and picks; a `while_loop` goes on
//! until all have ended, and keeps what has. Lanes that a branch or a step is not for are masked: nothing fails in them.

use super::body::Draft;
use super::{Body, Cond, Scan, While};
use crate::DType;
use crate::builder::{Builder, Ex};
use crate::dim::Dim;
use crate::error::{Result, err};
use crate::graph::{Graph, Value};
use crate::interp::may_fail;
use crate::ops::reduce::ReduceKind;
use crate::ops::{Lanes, Op};
use crate::types::Type;
use std::collections::HashMap;

/// A value, and whether it has the axis of the lanes.
pub(crate) type Lane<'b> = (Ex<'b>, bool);

/// Appends a graph for all lanes and gives its results. It is past derivatives, its parameters are `args`.
///
/// # Errors
/// Those of the rules.
pub(crate) fn batch<'b>(
    b: &'b Builder,
    g: &Graph,
    args: &[Lane<'b>],
    size: Dim,
    mask: Option<Ex<'b>>,
) -> Result<Vec<Lane<'b>>> {
    let lost = || err::internal(format!("`{}` lost a value on the way to many elements", g.name));
    let mut map: HashMap<Value, Lane<'b>> = HashMap::new();
    for n in g.nodes() {
        let node = g.node(n);
        if let Op::Input(i) = node.op {
            map.insert(n.into(), *args.get(i as usize).ok_or_else(lost)?);
            continue;
        }
        b.set_loc(node.loc);
        let x = g.operands(n).iter().map(|v| map.get(v).copied().ok_or_else(lost)).collect::<Result<Vec<_>>>()?;
        let (x, on): (Vec<Ex<'b>>, Vec<bool>) = x.into_iter().unzip();
        let differs = on.contains(&true) || mask.is_some() && may_fail(g, n);
        let results: Vec<Ex<'b>> = if differs {
            node.op.structural().batch(&x, &Lanes { on: &on, size, mask })
        } else {
            emit(b, node.op.clone().saving(), &x)?
        };
        b.check()?;
        // A scan may give more than it did: what it keeps.
        for (v, e) in g.results(n).zip(results) {
            map.insert(v, (e, differs));
        }
    }
    g.outputs.iter().map(|v| map.get(v).copied().ok_or_else(lost)).collect()
}

/// The results of a control op for all lanes, or none after an error, which is left with the builder.
pub(super) fn made<'b>(x: &[Ex<'b>], results: Result<Vec<Ex<'b>>>) -> Vec<Ex<'b>> {
    results.unwrap_or_else(|e| {
        if let Some(x) = x.first() {
            x.builder().fail(e);
        }
        Vec::new()
    })
}

pub(super) fn emit<'b>(b: &'b Builder, op: Op, operands: &[Ex<'b>]) -> Result<Vec<Ex<'b>>> {
    let operands = operands.iter().map(|e| e.value()).collect::<Result<Vec<_>>>()?;
    let node = b.emit_all(op, &operands)?;
    Ok(b.results(node).into_iter().map(|v| b.ex(v)).collect())
}

fn builder<'b>(x: &[Ex<'b>]) -> Result<&'b Builder> {
    x.first().map(|x| x.builder()).ok_or_else(|| err::internal("control flow of no operands for many elements"))
}

/// The type of all lanes of a value of this type.
fn wide(ty: &Type, size: Dim) -> Type {
    Type::new(ty.dtype, std::iter::once(size).chain(ty.shape.iter().copied()))
}

/// The parameters of a body under construction: those of `of`, with the axis where marked, and a mask if there is one.
pub(super) fn params<'d>(
    draft: &'d Draft,
    of: &Body,
    on: &[bool],
    lanes: &Lanes<'_, '_>,
) -> (Vec<Lane<'d>>, Option<Ex<'d>>) {
    let types = of.param_types();
    let types: Vec<Type> =
        types.iter().zip(on).map(|(t, on)| if *on { wide(t, lanes.size) } else { t.clone() }).collect();
    let args = draft.params("x", &types).into_iter().zip(on).map(|(v, on)| (draft.b.ex(v), *on)).collect();
    let mask = lanes.mask.map(|_| draft.b.ex(draft.params("mask", [&Type::new(DType::Bool, [lanes.size])])[0]));
    (args, mask)
}

/// The results as those that are marked have the axis, the others do not.
fn with_axis<'d>(results: Vec<Lane<'d>>, on: &[bool], lanes: &Lanes<'_, 'd>) -> Result<Vec<Value>> {
    let one = |((e, has), on): (Lane<'d>, &bool)| match (has, on) {
        (true, false) => Err(err::internal("a value that differs between elements where it must not")),
        (has, true) => lanes.one(e, has).value(),
        _ => e.value(),
    };
    results.into_iter().zip(on).map(one).collect()
}

/// A body for all lanes. Its parameters are the old ones and the mask.
pub(super) fn body(of: &Body, on: &[bool], results: &[bool], lanes: &Lanes<'_, '_>) -> Result<Body> {
    let draft = Draft::of(of, "vmap");
    let (args, mask) = params(&draft, of, on, lanes);
    let all = batch(&draft.b, of, &args, lanes.size, mask)?;
    let here = Lanes { on, size: lanes.size, mask };
    let all = with_axis(all, results, &here)?;
    draft.finish(all)
}

/// Which results differ between lanes. Where there is a mask, all are taken to.
fn differ(of: &Body, on: &[bool], lanes: &Lanes<'_, '_>) -> Vec<bool> {
    if lanes.mask.is_some() { vec![true; of.outputs.len()] } else { of.depends(on) }
}

/// A bool of one element for each lane, as a vector.
fn decisions<'b>(pred: Ex<'b>, lanes: &Lanes<'_, 'b>) -> Ex<'b> {
    pred.reshape(&[lanes.size])
}

fn both<'b>(a: Ex<'b>, mask: Option<Ex<'b>>) -> Ex<'b> {
    mask.map_or(a, |m| a.logical_and(m))
}

pub(super) fn cond<'b>(op: &Cond, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Result<Vec<Ex<'b>>> {
    let b = builder(x)?;
    let on = &lanes.on[1..];
    if !lanes.on[0] {
        let all = vec![true; op.branches[0].outputs.len()];
        let branches = [body(&op.branches[0], on, &all, lanes)?, body(&op.branches[1], on, &all, lanes)?];
        let operands: Vec<Ex<'b>> = x.iter().copied().chain(lanes.mask).collect();
        return emit(b, Op::Cond(Cond { branches }), &operands);
    }
    let pred = decisions(x[0], lanes);
    let args: Vec<Lane<'b>> = x[1..].iter().copied().zip(on.iter().copied()).collect();
    let branch = |f: &Body, mask: Ex<'b>| -> Result<Vec<Ex<'b>>> {
        let all = batch(b, f, &args, lanes.size, Some(both(mask, lanes.mask)))?;
        Ok(all.into_iter().map(|(e, on)| lanes.one(e, on)).collect())
    };
    let yes = branch(&op.branches[0], pred)?;
    let no = branch(&op.branches[1], pred.logical_not())?;
    Ok(yes.into_iter().zip(no).map(|(yes, no)| lanes.stretched(pred, yes).select(yes, no)).collect())
}

pub(super) fn while_loop<'b>(op: &While, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Result<Vec<Ex<'b>>> {
    let b = builder(x)?;
    let n = op.carries();
    let mut on = lanes.on.to_vec();
    if lanes.mask.is_some() {
        on[..n].fill(true);
    } else {
        op.body.mark_carries(&mut on, |_| true);
    }
    if !differ(&op.test, &on, lanes)[0] {
        // All lanes take as many steps.
        let test = body(&op.test, &on, &[false], lanes)?;
        let next = body(&op.body, &on, &on[..n], lanes)?;
        let operands: Vec<Ex<'b>> =
            (0..x.len()).map(|i| if on[i] { lanes.one(x[i], lanes.on[i]) } else { x[i] }).collect();
        let out = emit(b, Op::While(While { test, body: next }), &operands)?;
        return Ok(out.into_iter().zip(&on).map(|(e, on)| lanes.one(e, *on)).collect());
    }
    // The carries, and the lanes that go on.
    on[..n].fill(true);
    let first: Vec<Lane<'b>> =
        (0..x.len()).map(|i| (if i < n { lanes.one(x[i], lanes.on[i]) } else { x[i] }, on[i])).collect();
    let active = go_on(b, op, &first, lanes.size, lanes.mask)?;

    let draft = Draft::of(&op.test, "vmap");
    let (_, active_there, _) = masked(&draft, op, &on, lanes.size);
    let some = active_there.reduce(ReduceKind::Max, &[0], false).value()?;
    let test = draft.finish(vec![some])?;

    let draft = Draft::of(&op.body, "vmap");
    let (carries, active_there, consts) = masked(&draft, op, &on, lanes.size);
    let here = Lanes { on: &on, size: lanes.size, mask: Some(active_there) };
    let args: Vec<Lane<'_>> = carries.iter().chain(&consts).copied().collect();
    let next = batch(&draft.b, &op.body, &args, lanes.size, Some(active_there))?;
    let kept =
        |((new, has), (old, _)): (Lane<'_>, &Lane<'_>)| -> Result<Value> { pick(&here, active_there, new, has, *old) };
    let next = next.into_iter().zip(&carries).map(|(new, old)| kept((new, old))).collect::<Result<Vec<_>>>()?;
    let after: Vec<Lane<'_>> = next.iter().map(|v| (draft.b.ex(*v), true)).chain(consts.iter().copied()).collect();
    let active_next = go_on(&draft.b, op, &after, lanes.size, Some(active_there))?;
    let mut results = next;
    results.push(active_next.value()?);
    let next = draft.finish(results)?;

    let mut operands: Vec<Ex<'b>> = first[..n].iter().map(|(e, _)| *e).collect();
    operands.push(active);
    operands.extend(first[n..].iter().map(|(e, _)| *e));
    let mut out = emit(b, Op::While(While { test, body: next }), &operands)?;
    out.truncate(n);
    Ok(out)
}

/// The new carry in lanes that are active, the old one in the others.
fn pick<'d>(lanes: &Lanes<'_, 'd>, active: Ex<'d>, new: Ex<'d>, has: bool, old: Ex<'d>) -> Result<Value> {
    let new = lanes.one(new, has);
    lanes.stretched(active, new).select(new, old).value()
}

/// Which of the lanes that count go on.
fn go_on<'b>(b: &'b Builder, op: &While, args: &[Lane<'b>], size: Dim, mask: Option<Ex<'b>>) -> Result<Ex<'b>> {
    let all = batch(b, &op.test, args, size, mask)?;
    let (test, has) = *all.first().ok_or_else(|| err::internal("a test without a result"))?;
    let lanes = Lanes { on: &[], size, mask };
    Ok(both(decisions(lanes.one(test, has), &lanes), mask))
}

/// What a loop whose lanes end one by one hands to its bodies: carries, the lanes that are active, constants.
type Masked<'d> = (Vec<Lane<'d>>, Ex<'d>, Vec<Lane<'d>>);

fn masked<'d>(draft: &'d Draft, op: &While, on: &[bool], size: Dim) -> Masked<'d> {
    let n = op.carries();
    let types = op.body.param_types();
    let types: Vec<Type> = types.iter().zip(on).map(|(t, on)| if *on { wide(t, size) } else { t.clone() }).collect();
    let lane = |(v, on): (Value, &bool)| (draft.b.ex(v), *on);
    let carries = draft.params("c", &types[..n]).into_iter().zip(on).map(lane).collect();
    let active = draft.b.ex(draft.params("active", [&Type::new(DType::Bool, [size])])[0]);
    let consts = draft.params("k", &types[n..]).into_iter().zip(&on[n..]).map(lane).collect();
    (carries, active, consts)
}

pub(super) fn scan<'b>(op: &Scan, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Result<Vec<Ex<'b>>> {
    let b = builder(x)?;
    let (n, m, q) = (op.carries, op.xs, op.ys());
    let mut on = lanes.on.to_vec();
    if lanes.mask.is_some() {
        on[..n].fill(true);
    } else {
        op.body.mark_carries(&mut on, |i| i < n);
    }
    let mut results = differ(&op.body, &on, lanes);
    results[..n].copy_from_slice(&on[..n]);
    let step = body(&op.body, &on, &results, lanes)?;
    let operand = |i: usize| match i {
        i if i < n && on[i] => lanes.one(x[i], lanes.on[i]),
        // The steps first, then the lanes.
        i if i < n + m && on[i] => x[i].transpose(0, 1),
        i => x[i],
    };
    let operands: Vec<Ex<'b>> = (0..x.len()).map(operand).chain(lanes.mask).collect();
    let new = Scan { body: step, save: true, ..op.clone() };
    let out = emit(b, Op::Loop(new), &operands)?;
    let last = out[..n].iter().zip(&on).map(|(e, on)| lanes.one(*e, *on));
    let marks = results[n..].iter().chain(&on[..n]);
    let stacked = out[n..].iter().zip(marks).map(|(e, on)| if *on { e.transpose(0, 1) } else { lanes.one(*e, false) });
    let count = n + q + if op.save { n } else { 0 };
    Ok(last.chain(stacked).take(count).collect())
}

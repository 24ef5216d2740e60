//! A control op without what nothing uses: results that nobody reads, carries that are kept for nobody, and operands that
//! no body reads. A part of `cleanup`.
//!
//! What a loop carries stays, read or not: the next step may read it. Derivatives of bodies take all operands of the
//! body and all cotangents, so here is where most of this comes from.

use crate::error::Result;
use crate::graph::{Graph, Param, Value};
use crate::ops::Op;
use crate::ops::control::{Body, Cond, Scan, While};
use std::collections::HashMap;

/// The op without results that `used` says nothing reads, and the new number of each old result; any for one that is gone.
pub(super) fn results(op: &Op, used: &dyn Fn(usize) -> bool) -> (Op, Vec<usize>) {
    let mut numbers = Vec::new();
    let mut next = 0;
    let mut number = |stays: bool| {
        numbers.push(if stays { next } else { 0 });
        next += stays as usize;
        stays
    };
    let op = match op {
        Op::Cond(c) => {
            let stays: Vec<bool> = (0..c.branches[0].outputs.len()).map(|i| number(used(i))).collect();
            Op::Cond(Cond { branches: c.branches.each_ref().map(|b| with_outputs(b, &stays)) })
        }
        Op::Loop(s) => {
            let all = s.body.outputs.len();
            let stays: Vec<bool> = (0..all).map(|i| number(i < s.carries || used(i))).collect();
            let save = s.save && (all..all + s.carries).any(used);
            (0..s.carries).filter(|_| s.save).for_each(|_| {
                number(save);
            });
            Op::Loop(Scan { body: with_outputs(&s.body, &stays), save, ..s.clone() })
        }
        op => {
            let count = op.bodies().last().map_or(0, |b| b.outputs.len());
            (0..count).for_each(|_| {
                number(true);
            });
            op.clone()
        }
    };
    (op, numbers)
}

/// The op without operands that no body reads, with the numbers of those that stay.
pub(super) fn operands(op: Op, count: usize) -> Result<(Op, Vec<usize>)> {
    // Operands before the bodies' parameters, and those that stay whatever reads them.
    let (lead, carries) = match &op {
        Op::Cond(_) => (1, 0),
        Op::While(w) => (0, w.carries()),
        Op::Loop(s) => (0, s.carries),
        _ => return Ok((op, (0..count).collect())),
    };
    let read: Vec<Vec<bool>> = op.bodies().iter().map(|b| read(b)).collect();
    let params = count - lead;
    let stays = |i: &usize| *i < carries || read.iter().any(|r| r.get(*i).copied().unwrap_or(true));
    let kept: Vec<usize> = (0..params).filter(stays).collect();
    let numbers: Vec<usize> = (0..lead).chain(kept.iter().map(|i| i + lead)).collect();
    if kept.len() == params {
        return Ok((op, numbers));
    }
    let only = |b: &Body| b.map(|g| Ok(with_params(g, &kept)));
    let op = match op {
        Op::Cond(c) => Op::Cond(Cond { branches: [only(&c.branches[0])?, only(&c.branches[1])?] }),
        Op::While(w) => Op::While(While { test: only(&w.test)?, body: only(&w.body)? }),
        Op::Loop(s) => {
            let xs = kept.iter().filter(|i| (s.carries..s.carries + s.xs).contains(*i)).count();
            Op::Loop(Scan { body: only(&s.body)?, xs, ..s })
        }
        op => op,
    };
    Ok((op, numbers))
}

fn with_outputs(body: &Body, stays: &[bool]) -> Body {
    if stays.iter().all(|s| *s) {
        return body.clone();
    }
    let mut g = Graph::clone(body);
    let mut keep = stays.iter();
    g.outputs.retain(|_| keep.next().copied().unwrap_or(true));
    g.output_views = vec![None; g.outputs.len()];
    Body::new(g)
}

/// For each parameter whether something reads it.
fn read(g: &Graph) -> Vec<bool> {
    let mut read = vec![false; g.params.len()];
    for n in g.nodes() {
        if let Op::Input(i) = g.op(n) {
            read[*i as usize] = !g.users(n).is_empty() || g.outputs.iter().any(|v| v.node == n);
        }
    }
    read
}

/// The graph without parameters that nothing reads, and the numbers of those that stay.
pub(super) fn used_params(g: &Graph) -> (Graph, Vec<usize>) {
    let read = read(g);
    let kept: Vec<usize> = (0..g.params.len()).filter(|i| read[*i]).collect();
    (with_params(g, &kept), kept)
}

/// The graph with these of its parameters; nothing reads the others.
fn with_params(g: &Graph, kept: &[usize]) -> Graph {
    let mut new = g.like(g.phase);
    new.params = kept.iter().filter_map(|i| g.params.get(*i)).cloned().collect::<Vec<Param>>();
    let mut map: HashMap<Value, Value> = HashMap::new();
    for n in g.nodes() {
        let node = g.node(n);
        let op = match &node.op {
            Op::Input(i) => match kept.iter().position(|k| *k == *i as usize) {
                Some(i) => Op::Input(i as u32),
                None => continue,
            },
            op => op.clone(),
        };
        let operands: Vec<Value> = g.operands(n).iter().filter_map(|v| map.get(v).copied()).collect();
        let m = new.push(op, &operands, node.types.iter().cloned(), node.loc);
        map.extend(g.results(n).map(|v| (v, Value { node: m, result: v.result })));
    }
    new.outputs = g.outputs.iter().filter_map(|v| map.get(v).copied()).collect();
    new
}

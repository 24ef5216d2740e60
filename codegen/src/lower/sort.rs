//! The driver of a merge pass: a loop over pairs of runs, and in each a loop over its results that counts how many came
//! from the left run.

use super::groups::root;
use super::{Ix, Lin, Lower};
use crate::loopnest::{Combine, Extent, LoopKind, Stmt};
use crate::program::{LoopStep, Place};
use tensorc_ir::ops::Op;
use tensorc_ir::passes::fuse::Group;
use tensorc_ir::scalar::{Reg, V};
use tensorc_ir::{DType, Dim, Result, error::err};

/// The other axes outside, then the pairs, then the results of a pair in order.
pub(super) fn merge(mut l: Lower<'_>, group: &Group) -> Result<Option<LoopStep>> {
    let n = root(l.g, group)?;
    let Op::Merge(pass) = *l.g.op(n) else { return Err(err::internal("no merge")) };
    if group.domain.contains(&Dim::ZERO) {
        return Ok(None);
    }
    let x = l.g.operands(n);
    let stored = |p: Option<Place>| p.ok_or_else(|| err::internal("a merge reads a value that is not stored"));
    let (keys, order) = (stored(l.place(x[0]))?, stored(l.place(x[1]))?);
    let out = stored(l.places.get(&n.into()).cloned())?;
    let dtype = l.g.ty(x[0]).dtype;
    let (axis, extent) = (pass.axis, group.domain[pass.axis]);
    let width = Dim::from(pass.width).min(extent);

    let mut others = group.domain.clone();
    others.remove(axis);
    let mut ix = l.loops(&others, false);
    ix.insert(axis, Lin::default());
    let pair = l.open_whole(extent.ceil_div(width * 2), LoopKind::Serial);
    let acc = l.acc();
    l.push(Stmt::Acc { acc, combine: Combine::Sum, reg: Reg::I64, lanes: 1 });
    let first = Lin::var(pair).scale(width * 2);
    let start = l.index_value(&first);
    let [total, wide] = [extent, width].map(|v| l.index_value(&Lin::at(v)));
    // The lengths of the runs: the left one has an element at least, the right one may have none.
    let left = l.code(|b| {
        let rest = b.sub(total, start);
        b.min(wide, rest)
    });
    let right = l.code(|b| {
        let rest = b.sub(total, start);
        let rest = b.sub(rest, left);
        b.min(wide, rest)
    });

    let step = Extent::Block { var: pair, step: l.coef(width * 2), total: l.coef(extent) };
    let k = l.open(step, LoopKind::Serial);
    let taken = l.define(Reg::I64, l.here());
    l.push(Stmt::Read { dst: taken, acc });
    let place = l.index_value(&Lin::var(k));
    let from_right = l.code(|b| b.sub(place, taken));
    let at = |ix: &Ix, i: V| {
        let mut ix = ix.clone();
        ix[axis] = Lin { dynamic: Some(i), ..Lin::default() };
        ix
    };
    // The next element of each run, or its last one; its position, held inside; its key.
    let next = |l: &mut Lower<'_>, before: V, count: V, len: V| {
        let i = l.code(|b| {
            let one = b.int(Reg::I64, 1);
            let last = b.sub(len, one);
            let i = b.min(count, last);
            b.add(before, i)
        });
        let position = l.load(&order, DType::I64, &at(&ix, i));
        let inside = l.code(|b| {
            let (zero, one) = (b.int(Reg::I64, 0), b.int(Reg::I64, 1));
            let last = b.sub(total, one);
            let p = b.max(position, zero);
            b.min(p, last)
        });
        let key = l.load(&keys, dtype, &at(&ix, inside));
        (position, key)
    };
    let (p, left_key) = next(&mut l, start, taken, left);
    let middle = l.code(|b| b.add(start, left));
    let (q, right_key) = next(&mut l, middle, from_right, right);
    let take_right = l.code(|b| {
        let (has_right, no_left) = (b.lt(from_right, right), b.le(left, taken));
        let sooner = pass.before(b, right_key, left_key);
        let wins = b.or(no_left, sooner);
        b.and(has_right, wins)
    });
    let value = l.code(|b| b.select(take_right, q, p));
    let count = l.code(|b| {
        let (zero, one) = (b.int(Reg::I64, 0), b.int(Reg::I64, 1));
        b.select(take_right, zero, one)
    });
    l.push(Stmt::Update { acc, value: count, index: None });
    let mut to = first;
    to.add(&Lin::var(k));
    ix[axis] = to;
    l.store(&out, DType::I64, &ix, value);
    Ok(Some(l.finish()))
}

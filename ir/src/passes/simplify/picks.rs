//! Rules about gathers and scatters of one element of each row, as a loss picks the score of a class.
//!
//! The idea: to pick before computing instead of after it, and to say a row that is zero but for one place as a
//! comparison of places. Both are elementwise, so they run inside of whatever kernel goes over the rows, on all threads,
//! and neither the value picked from nor the row of zeros is ever in memory.

use super::{Rewrite, Rules};
use crate::dim::{Dim, Dims, product};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::graph::{Graph, NodeId, Value};
use crate::interp::may_fail;
use crate::ops::Op;
use crate::ops::elementwise::index;
use crate::ops::gather::{Gather, Scatter, ScatterMode};
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::view::Expand;
use crate::passes::fuse::{Along, DimMap, source};
use std::collections::HashMap;

/// The most functions that are computed of what is picked.
const MOST_FUNCTIONS: usize = 16;
/// Of how many elements one must be picked at least: what is picked from may be computed as a whole all the same.
const LEAST_EXTENT: i64 = 4;

/// Whether an index names one element of each row of `x` along the axis, and no row is left out.
fn is_one_of_each(r: Rules<'_>, axis: usize, x: Value, index: Value) -> bool {
    let (x, mut i) = (r.shape(x), r.shape(index));
    let one = i[axis].is(1);
    i[axis] = x[axis];
    one && i == x
}

/// `f(a, b)[i] = f(a[i], b[i])`, and `a[i] = a` where all elements of a row are one.
pub fn gather(r: Rules<'_>, op: Gather, x: Value, index: Value) -> Rewrite {
    let few = r.shape(x)[op.axis].known().is_none_or(|n| n >= LEAST_EXTENT);
    if !few || !is_one_of_each(r, op.axis, x, index) {
        return Ok(None);
    }
    let mut functions = HashMap::new();
    let picks = r.b.with_graph(|g| {
        let mut picks = false;
        let mut open = vec![x];
        while let Some(v) = open.pop() {
            if is_function(g, v.node) {
                if functions.insert(v, None).is_none() {
                    open.extend(g.operands(v.node));
                }
            } else {
                picks |= !is_row(g, v, op.axis);
            }
        }
        picks
    });
    // At least one gather has to stay: it checks the index.
    if functions.is_empty() || functions.len() > MOST_FUNCTIONS || !picks {
        return Ok(None);
    }
    Pick { r, op, index, shape: r.shape(index), functions }.of(x).map(Some)
}

/// Whether a node is a function of single elements, for which it does not matter of how many it is computed.
fn is_function(g: &Graph, n: NodeId) -> bool {
    matches!(g.op(n), Op::Map(_) | Op::Cast(_)) && !g.operands(n).is_empty() && !may_fail(g, n)
}

/// Whether all elements of each row along the axis are one that stands for them: the operand of an `expand`.
fn is_row(g: &Graph, v: Value, axis: usize) -> bool {
    let Op::Expand(_) = g.op(v.node) else { return false };
    let inner = g.ty(g.operands(v.node)[0]);
    let lead = g.ty(v).rank() - inner.rank();
    axis < lead || inner.shape[axis - lead].is(1)
}

struct Pick<'b> {
    r: Rules<'b>,
    op: Gather,
    index: Value,
    shape: Dims,
    /// What is picked of each function's result.
    functions: HashMap<Value, Option<Value>>,
}

impl Pick<'_> {
    fn of(&mut self, v: Value) -> Result<Value> {
        let r = self.r;
        let picked = match self.functions.get(&v) {
            Some(Some(picked)) => return Ok(*picked),
            Some(None) => {
                let operands = r.b.with_graph(|g| g.operands(v.node));
                let x = operands.into_iter().map(|x| self.of(x)).collect::<Result<Vec<_>>>()?;
                r.make(r.op(v), &x)?
            }
            None if r.b.with_graph(|g| is_row(g, v, self.op.axis)) => {
                r.make(Op::Expand(Expand(self.shape.clone())), &[r.operand(v, 0)])?
            }
            None => return r.make(Op::Gather(self.op), &[v, self.index]),
        };
        if let Some(known) = self.functions.get_mut(&v) {
            *known = Some(picked);
        }
        Ok(picked)
    }
}

/// The derivative of a gather: `full(c)` with one number of each row added at a place of it is
/// `where(places == index, c + source, c)`.
pub fn scatter(r: Rules<'_>, op: Scatter, x: &[Value]) -> Rewrite {
    let (base, mut at, source) = (x[0], x[1], x[2]);
    let Some(c) = r.number(base).filter(|c| c.dtype != DType::Bool) else { return Ok(None) };
    if op.mode != ScatterMode::Add || !is_one_of_each(r, op.axis, base, at) {
        return Ok(None);
    }
    let (shape, one) = (r.shape(base), r.shape(at));
    let extent = shape[op.axis];
    if !r.b.with_graph(|g| is_in_range(g, at, extent)) {
        let size = r.b.int(extent).expand(&one).value()?;
        let dim = r.b.full(Scalar::from_i64(DType::I64, op.axis as i64), &one).value()?;
        at = r.map("check_place", &[at, size, dim])?;
    }
    let wide = |v: Value| r.make(Op::Expand(Expand(shape.clone())), &[v]);
    let places = r.b.iota(extent).laid_along(op.axis, shape.len()).value()?;
    let hit = r.map("eq", &[wide(places)?, wide(at)?])?;
    let sum = r.map("add", &[r.b.full(c, &one).value()?, source])?;
    r.map("where", &[hit, wide(sum)?, base]).map(Some)
}

/// Whether a value is known to be an index of that extent: it was checked, or is the place of an extreme.
fn is_in_range(g: &Graph, v: Value, extent: Dim) -> bool {
    let (known, _) = source(g, v);
    match (g.op(known.node), g.operands(known.node).as_slice()) {
        (Op::Map(row), [_, size, ..]) if index::is_check(row.name()) => match g.op(source(g, *size).0.node) {
            Op::Const(c) => extent.is(c.to_i64()),
            Op::Size(d) => d.0 == extent,
            _ => false,
        },
        (Op::Reduce(r), [x]) => r.kind.is_arg() && product(&r.reduced(&g.ty(*x).shape)) == extent,
        _ => false,
    }
}

/// The sum along the axis of rows that are `a` at one place and zero elsewhere: `0 + a`. All lanes begin with 0.0, to
/// which zeros of any sign add nothing.
pub fn sum(r: Rules<'_>, op: &Reduce, x: Value) -> Rewrite {
    let (ReduceKind::Sum, [axis]) = (op.kind, op.axes.as_slice()) else { return Ok(None) };
    let ty = r.ty(x);
    if ty.dtype == DType::Bool {
        return Ok(None);
    }
    let negated = |v: Value| matches!(r.op(v), Op::Map(row) if row.name() == "neg").then(|| r.operand(v, 0));
    let (v, sign) = negated(x).map_or((x, false), |v| (v, true));
    let Op::Map(row) = r.op(v) else { return Ok(None) };
    if row.name() != "where" {
        return Ok(None);
    }
    let [hit, a, rest] = [0, 1, 2].map(|i| r.operand(v, i));
    let zero = r.number(rest).is_some_and(|c| c.to_f64() == 0.0);
    let alone = r.b.with_graph(|g| is_row(g, a, *axis) && is_one_place(g, hit, *axis));
    if !zero || !alone {
        return Ok(None);
    }
    let kept = op.kept(&ty.shape);
    let mut row = ty.shape.clone();
    row[*axis] = Dim::ONE;
    let a = r.make(Op::Expand(Expand(row)), &[r.operand(a, 0)])?;
    let mut a = r.reshape(a, &kept)?;
    if sign {
        a = r.map("neg", &[a])?;
    }
    let zero = r.b.full(Scalar::from_i64(ty.dtype, 0), &kept).value()?;
    r.map("add", &[zero, a]).map(Some)
}

/// Whether a condition holds at exactly one place of each row along the axis: `places == index` of an index in range.
fn is_one_place(g: &Graph, v: Value, axis: usize) -> bool {
    let shape = g.ty(v).shape.clone();
    let Op::Map(row) = g.op(v.node) else { return false };
    let [places, index] = *g.operands(v.node) else { return false };
    let along = |v: Value| {
        let (s, views) = source(g, v);
        (s, DimMap::through(g, &shape, &views))
    };
    let ((places, by), (_, at)) = (along(places), along(index));
    // The sum does without the index: a scatter's own check would go with it.
    let checked_here = matches!(g.op(source(g, index).0.node), Op::Map(row) if row.name() == "check_place");
    row.name() == "eq"
        && !checked_here
        && matches!(g.op(places.node), Op::Iota(_))
        && by.dims() == [Along::Same(axis)]
        && at.dims().iter().all(|d| !matches!(d, Along::Other) && *d != Along::Same(axis))
        && is_in_range(g, index, shape[axis])
}

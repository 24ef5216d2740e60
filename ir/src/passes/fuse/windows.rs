//! Operands of matrix products that are gathered by arithmetic on counters: the windows of a convolution.
//!
//! Such a gather only says where elements are, and the product can read them there. So it belongs to no group and is not
//! stored, and neither is its index; what lies behind it, the padded input say, is what the product reads.
//!
//! The place of an element is a sum over *atoms*: dimensions of the gathered value, of which the axis that the index counts
//! along is cut into the dimensions of the index. Reshapes only arrange atoms, so that each of the product's dimensions is a
//! row-major list of them.

use super::{Fusion, GroupKind, source};
use crate::graph::{Graph, NodeId, Value};
use crate::ops::Op;
use std::collections::HashMap;

/// A dimension: `step` times the index is counted along dimension `dim` of what is gathered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Atom {
    /// Its extent.
    pub extent: i64,
    /// Which dimension it moves along.
    pub dim: usize,
    /// How far.
    pub step: i64,
}

/// A value that is gathered from another by an index that is a sum of counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// What is gathered from.
    pub from: Value,
    /// The index where all counters are 0, and the axis it is along.
    pub first: (usize, i64),
    /// For each dimension of the value, the atoms it consists of, row-major.
    pub dims: Vec<Vec<Atom>>,
}

impl Windows {
    /// The value of a view of this, `views` from outside inwards; `None` if that is not a list of atoms for each dimension.
    pub fn through(&self, g: &Graph, views: &[NodeId]) -> Option<Windows> {
        views.iter().rev().try_fold(self.clone(), |w, n| {
            let dims = match g.op(*n) {
                Op::Reshape(r) => regroup(&w.dims, &r.0.iter().map(|d| d.known()).collect::<Option<Vec<i64>>>()?)?,
                Op::Permute(p) => p.0.iter().map(|d| w.dims[*d].clone()).collect(),
                _ => return None,
            };
            Some(Windows { dims, ..w })
        })
    }

    /// As an operand of a product of matrices, which has at most one dimension to count the matrices by.
    fn is_matrix(&self) -> bool {
        matches!(&self.dims[..], [batch, _, _] if batch.len() <= 1)
    }
}

/// The atoms of `dims`, cut where need be, as lists for dimensions of these extents.
fn regroup(dims: &[Vec<Atom>], extents: &[i64]) -> Option<Vec<Vec<Atom>>> {
    let mut atoms: Vec<Atom> = dims.iter().flatten().copied().rev().collect();
    let mut out = Vec::new();
    for extent in extents {
        let (mut list, mut left) = (Vec::new(), *extent);
        while left > 1 {
            let atom = atoms.pop()?;
            if left % atom.extent == 0 {
                list.push(atom);
                left /= atom.extent;
            } else if atom.extent % left == 0 {
                let inner = atom.extent / left;
                list.push(Atom { extent: left, step: atom.step * inner, ..atom });
                atoms.push(Atom { extent: inner, ..atom });
                left = 1;
            } else {
                return None;
            }
        }
        out.push(list);
    }
    atoms.is_empty().then_some(out)
}

/// An integer that is `offset` plus a factor times the index in each dimension.
struct Sum {
    offset: i64,
    factors: Vec<i64>,
}

/// A value as such a sum.
fn sum(g: &Graph, v: Value) -> Option<Sum> {
    let x = g.operands(v.node);
    let shape: Vec<i64> = g.ty(v).shape.iter().map(|d| d.known()).collect::<Option<_>>()?;
    let of = |i: usize| sum(g, *x.get(i)?);
    match g.op(v.node) {
        Op::Const(c) if !c.dtype.is_float() => Some(Sum { offset: c.to_i64(), factors: vec![0; shape.len()] }),
        Op::Iota(_) => Some(Sum { offset: 0, factors: vec![1] }),
        Op::Copy => of(0),
        Op::Map(row) if row.name() == "add" => {
            let (a, b) = (of(0)?, of(1)?);
            let factors = a.factors.iter().zip(&b.factors).map(|(a, b)| a.checked_add(*b)).collect::<Option<_>>()?;
            Some(Sum { offset: a.offset.checked_add(b.offset)?, factors })
        }
        Op::Map(row) if row.name() == "mul" => {
            let (a, b) = (of(0)?, of(1)?);
            let still = |s: &Sum| s.factors.iter().all(|f| *f == 0);
            let (s, by) = if still(&b) { (a, b.offset) } else { (still(&a).then_some(b)?, a.offset) };
            let factors = s.factors.iter().map(|f| f.checked_mul(by)).collect::<Option<_>>()?;
            Some(Sum { offset: s.offset.checked_mul(by)?, factors })
        }
        Op::Expand(_) => {
            let s = of(0)?;
            let inner = &g.ty(x[0]).shape;
            let lead = shape.len() - inner.len();
            let factor = |i: usize| match i.checked_sub(lead) {
                Some(k) if !inner[k].is(1) || shape[i] == 1 => s.factors[k],
                _ => 0,
            };
            Some(Sum { offset: s.offset, factors: (0..shape.len()).map(factor).collect() })
        }
        // Dimensions of extent 1 come and go.
        Op::Reshape(_) => {
            let s = of(0)?;
            let inner = g.ty(x[0]).shape.iter().map(|d| d.known()).collect::<Option<Vec<i64>>>()?;
            let mut real = inner.iter().zip(&s.factors).filter(|(n, _)| **n != 1);
            let factor = |n: &i64| match n {
                1 => Some(0),
                n => real.next().filter(|(m, _)| *m == n).map(|(_, f)| *f),
            };
            let factors = shape.iter().map(factor).collect::<Option<Vec<i64>>>()?;
            real.next().is_none().then_some(Sum { offset: s.offset, factors })
        }
        _ => None,
    }
}

/// A gather as windows.
fn windows(g: &Graph, n: NodeId) -> Option<Windows> {
    let Op::Gather(gather) = g.op(n) else { return None };
    let x = g.operands(n);
    let known = |v: Value| g.ty(v).shape.iter().map(|d| d.known()).collect::<Option<Vec<i64>>>();
    let (from, shape) = (known(x[0])?, known(n.into())?);
    // The index along the axis, the same for all others: its dimensions are what it was before it became one.
    let mut index = x[1];
    loop {
        let inner = g.operands(index.node);
        match g.op(index.node) {
            Op::Expand(_) => {
                let lead = shape.len() - known(inner[0])?.len();
                let kept = known(inner[0])?;
                let along = |(i, n): (usize, &i64)| i + lead == gather.axis || *n == 1;
                if !kept.iter().enumerate().all(along) {
                    return None;
                }
                index = inner[0];
            }
            Op::Reshape(_) if known(inner[0])?.iter().filter(|n| **n != 1).count() > 1 => {
                index = inner[0];
                break;
            }
            _ => break,
        }
    }
    let extents = known(index)?;
    if extents.iter().product::<i64>() != shape[gather.axis] || shape.contains(&0) {
        return None;
    }
    let s = sum(g, index)?;
    let last =
        extents.iter().zip(&s.factors).try_fold(s.offset, |at, (n, f)| at.checked_add((n - 1).checked_mul(*f)?))?;
    let inside = s.offset >= 0 && last < from[gather.axis] && s.factors.iter().all(|f| *f >= 0);
    if !inside {
        return None;
    }
    let own = |d: usize| vec![Atom { extent: shape[d], dim: d, step: 1 }];
    let along = extents.iter().zip(&s.factors).filter(|(n, _)| **n != 1);
    let along: Vec<Atom> = along.map(|(n, f)| Atom { extent: *n, dim: gather.axis, step: *f }).collect();
    let dims = (0..shape.len()).map(|d| if d == gather.axis { along.clone() } else { own(d) }).collect();
    Some(Windows { from: x[0], first: (gather.axis, s.offset), dims })
}

/// Takes the gathers that only products read, and what is only for them, out of their groups.
pub(super) fn find(g: &Graph, f: &mut Fusion, live: &[bool]) {
    let mut readers: HashMap<NodeId, Vec<(NodeId, Vec<NodeId>)>> = HashMap::new();
    for n in g.nodes().filter(|n| live[n.0 as usize] && !g.op(*n).is_view()) {
        for v in g.operands(n) {
            let (s, views) = source(g, v);
            readers.entry(s.node).or_default().push((n, views));
        }
    }
    let leaving: Vec<NodeId> = g.computed_roots().map(|v| source(g, v).0.node).collect();
    let written: Vec<usize> = g.mutated.iter().map(|(i, _)| *i).collect();
    for n in g.nodes().filter(|n| live[n.0 as usize] && !leaving.contains(n)) {
        let float = matches!(g.node(n).types[0].dtype, crate::DType::F32 | crate::DType::F64);
        let Some(w) = windows(g, n).filter(|_| float) else { continue };
        let products = readers.get(&n).is_some_and(|all| {
            all.iter().all(|(r, views)| {
                // One operand of a product may lie so, not both.
                let others = g.operands(*r).into_iter().filter(|v| source(g, *v).0.node == n).count() == 1;
                let product = matches!(g.op(*r), Op::Dot) && others;
                let other = g.operands(*r).into_iter().any(|v| f.windows.contains_key(&source(g, v).0.node));
                product && !other && w.through(g, views).is_some_and(|w| w.is_matrix())
            })
        });
        // Memory that changes has to be read when the gather would.
        let (from, _) = source(g, w.from);
        let changes = readers[&from.node].iter().any(|(r, _)| matches!(g.op(*r), Op::SliceUpdate(_) | Op::Scatter(_)));
        let changes = changes || matches!(g.op(from.node), Op::Input(i) if written.contains(&(*i as usize)));
        // So does memory that is shared with what else comes of an older value.
        let updated = matches!(g.op(from.node), Op::SliceUpdate(_) | Op::Scatter(_));
        let fresh = || matches!(g.op(source(g, g.operands(from.node)[0]).0.node), Op::Const(_));
        let changes = changes || updated && !fresh();
        let alone = f.group_of[n.0 as usize].is_some_and(|k| f.groups[k].kind == GroupKind::Map);
        if products && !changes && alone {
            f.windows.insert(n, w);
        }
    }
    if f.windows.is_empty() {
        return;
    }
    let gathers = &f.windows;
    f.apart.retain(|(_, read, _)| !gathers.contains_key(read));
    let mut needed = vec![false; g.len()];
    let mut todo: Vec<NodeId> = g.computed_roots().map(|v| v.node).collect();
    while let Some(n) = todo.pop() {
        if std::mem::replace(&mut needed[n.0 as usize], true) {
            continue;
        }
        match f.windows.get(&n) {
            Some(w) => todo.push(w.from.node),
            None => todo.extend(g.operands(n).into_iter().map(|v| v.node)),
        }
    }
    for n in g.nodes() {
        if (!needed[n.0 as usize] || f.windows.contains_key(&n))
            && let Some(k) = f.group_of[n.0 as usize].take()
        {
            f.groups[k].nodes.retain(|m| *m != n);
            f.level[n.0 as usize] = None;
            f.stored[n.0 as usize] = false;
        }
    }
}

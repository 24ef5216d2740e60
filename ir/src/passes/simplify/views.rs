//! Rules about views, and about reductions that are no more than one.

use super::super::region::compose;
use super::{Rewrite, Rules};
use crate::dim::{Dim, product};
use crate::graph::Value;
use crate::ops::Op;
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::view::{Expand, Permute, Slice};
use crate::types::Span;

/// Views of views, and views that are none.
pub fn view(r: Rules<'_>, op: &Op, x: Value) -> Rewrite {
    let shape = r.shape(x);
    match (op, r.unary(x)) {
        // view(x, shape of x) = x
        (Op::Reshape(s), _) if s.0 == shape => Ok(Some(x)),
        (Op::Expand(s), _) if s.0 == shape => Ok(Some(x)),
        (Op::Permute(p), _) if p.0.iter().enumerate().all(|(i, o)| i == *o) => Ok(Some(x)),
        // x[:] = x
        (Op::Slice(s), _) if whole(s, &shape) => Ok(Some(x)),
        // view(view(x, a), b) = view(x, b)
        (Op::Reshape(s), Some((Op::Reshape(_), inner))) => r.reshape(inner, &s.0).map(Some),
        // permute(permute(x, a), b) = permute(x, a[b])
        (Op::Permute(p), Some((Op::Permute(q), inner))) => {
            let order = p.0.iter().map(|i| q.0[*i]).collect();
            r.make(Op::Permute(Permute(order)), &[inner]).map(Some)
        }
        // A permutation that moves only dimensions of extent 1 = view
        (Op::Permute(p), _) if p.0.iter().filter(|o| !shape[**o].is(1)).is_sorted() => {
            let shape: Vec<Dim> = p.0.iter().map(|o| shape[*o]).collect();
            r.reshape(x, &shape).map(Some)
        }
        // expand(expand(x, a), b) = expand(x, b)
        (Op::Expand(s), Some((Op::Expand(_), inner))) => r.make(Op::Expand(Expand(s.0.clone())), &[inner]).map(Some),
        // A slice of one element steps by 1, so that equal slices look equal.
        (Op::Slice(s), _) if s.0.iter().any(|r| r.len.is(1) && r.step != 1) => {
            let ranges = s.0.iter().map(|r| compose(Span::all(r.start + 1), *r)).collect();
            r.make(Op::Slice(Slice(ranges)), &[x]).map(Some)
        }
        // x[a][b] = x[a of b]
        (Op::Slice(s), Some((Op::Slice(t), inner))) => {
            let ranges = t.0.iter().zip(&s.0).map(|(a, b)| compose(*a, *b)).collect();
            r.make(Op::Slice(Slice(ranges)), &[inner]).map(Some)
        }
        (Op::Slice(s), _) => super::updates::slice(r, s, x),
        // An expand that only adds dimensions of extent 1 = view
        (Op::Expand(s), _) if product(&s.0) == product(&shape) && !s.0.contains(&Dim::ZERO) => {
            r.reshape(x, &s.0).map(Some)
        }
        _ => Ok(None),
    }
}

/// Whether a slice takes everything.
pub fn whole(s: &Slice, shape: &[Dim]) -> bool {
    s.0.iter().zip(shape).all(|(r, d)| *r == Span::all(*d))
}

/// `reduce(x)` over axes of extent 1 = `view(x)`: a product starts from 1, extremes from the least and greatest value.
/// A sum starts from 0.0, and `0.0 + -0.0` is not `-0.0`, so float sums stay.
pub fn reduce(r: Rules<'_>, op: &Reduce, x: Value) -> Rewrite {
    let ty = r.ty(x);
    let keeps = match op.kind {
        ReduceKind::Sum => !ty.dtype.is_float(),
        ReduceKind::Prod | ReduceKind::Max | ReduceKind::Min => true,
        ReduceKind::ArgMax | ReduceKind::ArgMin => false,
    };
    if !keeps || op.axes.iter().any(|a| !ty.shape[*a].is(1)) {
        return Ok(None);
    }
    r.reshape(x, &op.kept(&ty.shape)).map(Some)
}

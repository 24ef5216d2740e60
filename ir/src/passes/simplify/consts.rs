//! Rules about numbers that are known: tensors all of whose elements are one constant.

use super::{Rewrite, Rules};
use crate::dim::dims;
use crate::dtype::Scalar;
use crate::graph::Value;
use crate::interp::Array;
use crate::ops::Op;
use crate::ops::literal::Literal;
use crate::types::Type;
use smallvec::SmallVec;

/// `f(full(a), full(b)) = full(f(a, b))`: the op's own definition on one element, then stretched. What would fail when it
/// runs (an integer division by 0) is left to fail there.
pub fn fold(r: Rules<'_>, op: &Op, x: &[Value]) -> Rewrite {
    let Some(numbers) = x.iter().map(|v| r.number(*v)).collect::<Option<Vec<Scalar>>>() else { return Ok(None) };
    let arrays: Vec<Array> = numbers.into_iter().map(|c| Array::full(c, &[0usize; 0])).collect();
    match (op.structural().eval(&arrays).ok(), x.first()) {
        (Some(y), Some(x)) => r.full(y.scalars()[0], &r.shape(*x)),
        _ => Ok(None),
    }
}

/// `view(full(c)) = full(c)`: a view of a stretched number is that number, stretched.
pub fn view(r: Rules<'_>, op: &Op, x: &[Value]) -> Rewrite {
    let Some(c) = r.number(x[0]) else { return Ok(None) };
    let shape = op.structural().infer(&[&r.ty(x[0])])?.remove(0).shape;
    if matches!((op, r.op(x[0])), (Op::Expand(_), Op::Const(_))) && !shape.is_empty() {
        // That is the form itself.
        return Ok(None);
    }
    r.full(c, &shape)
}

/// A tensor without elements is `full(0)` of its shape.
pub fn nothing(r: Rules<'_>, op: &Op, x: &[Value]) -> Rewrite {
    let types: SmallVec<[Type; 3]> = x.iter().map(|v| r.ty(*v)).collect();
    // Only these make nothing of something; an index may be empty too.
    let can = matches!(op, Op::Slice(_) | Op::Diagonal(_) | Op::Iota(_)) || types.iter().any(Type::is_empty);
    if !can {
        return Ok(None);
    }
    match op.structural().infer(&types.iter().collect::<SmallVec<[&Type; 3]>>())?.as_slice() {
        [ty] if ty.is_empty() => r.full(Scalar::from_i64(ty.dtype, 0), &ty.shape),
        _ => Ok(None),
    }
}

/// `tensor([c, c, c]) = full(c)`.
pub fn literal(r: Rules<'_>, l: &Literal) -> Rewrite {
    match l.values.split_first() {
        Some((c, rest)) if rest.iter().all(|v| v == c) => r.full(*c, &dims(&l.shape)),
        _ => Ok(None),
    }
}

//! `tensor([[1, 2], [3, 4]], dtype=f32)`: a constant tensor from nested lists of numbers.

use super::number::Num;
use super::value::Val;
use crate::dtype::{Category, DType, Scalar};
use crate::error::{Result, err};
use crate::ops::Op;
use crate::ops::literal::Literal;
use crate::types::Shape;
use std::sync::Arc;

/// The op that makes the tensor. Without a dtype: `f32` if there is a float (or nothing), else `i64`, or `bool`.
///
/// # Errors
/// `shape` for lists of different lengths, `dtype` if a number does not fit, `type` for what is no number.
pub(super) fn tensor(v: &Val<'_>, dtype: Option<DType>) -> Result<Op> {
    let mut shape = Shape::new();
    let mut at = v;
    while let Val::List(items) | Val::Tuple(items) = at {
        shape.push(items.len());
        let Some(first) = items.first() else { break };
        at = first;
    }
    let mut numbers = Vec::new();
    flatten(v, &shape, 0, &mut numbers)?;
    let category = numbers.iter().map(|n| n.category()).max().unwrap_or(Category::Float);
    let dtype = dtype.unwrap_or(DType::default_of(category));
    let values: Vec<Scalar> = numbers.iter().map(|n| n.element(dtype)).collect::<Result<_>>()?;
    match (values.as_slice(), shape.is_empty()) {
        ([one], true) => Ok(Op::Const(*one)),
        _ => Ok(Op::Literal(Literal { dtype, shape, values: Arc::new(values) })),
    }
}

fn flatten(v: &Val<'_>, shape: &[usize], dim: usize, out: &mut Vec<Num>) -> Result<()> {
    match (v, shape.split_first()) {
        (Val::Num(n), None) => {
            out.push(*n);
            Ok(())
        }
        (Val::List(items) | Val::Tuple(items), Some((n, rest))) => {
            if items.len() != *n {
                let got = items.len();
                return Err(err::shape(format!("expected sequence of length {n} at dim {dim} (got {got})")));
            }
            items.iter().try_for_each(|v| flatten(v, rest, dim + 1, out))
        }
        (Val::List(_) | Val::Tuple(_), None) => {
            Err(err::shape(format!("expected a number at dim {dim}, found {}", v.describe())))
        }
        (Val::Num(_), Some((n, _))) => {
            Err(err::shape(format!("expected a sequence of length {n} at dim {dim}, found {}", v.describe())))
        }
        (Val::Tensor(_), _) => Err(err::ty(format!("`tensor` takes numbers, found {}", v.describe()))
            .help("a copy of a tensor is `x.clone()`, several make one with `stack([a, b])`")),
        (Val::None | Val::Str(_) | Val::DType(_), _) => {
            Err(err::ty(format!("`tensor` takes numbers, found {}", v.describe())))
        }
    }
}

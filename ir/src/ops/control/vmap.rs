//! `Op::Vmap`: a body for each element along the first axis of some operands, the results stacked. No element sees another.
//!
//! Its meaning is that loop, which is what the interpreter runs. Autodiff removes it: when the derivatives inside of the body
//! have been worked out, its nodes are appended for all elements at once (`batch`), to the same bits. So derivatives of
//! and around it need no rule, and no later pass or backend knows it.

use super::{Body, run, takes};
use crate::builder::Ex;
use crate::dim::Dim;
use crate::error::{Result, err};
use crate::interp::Array;
use crate::layout::Layout;
use crate::ops::Structural;
use crate::types::Type;
use smallvec::SmallVec;

/// Operands: those that have an element for each run of the body, along their first axis, and those that are the same for
/// all. Results: those of the body, stacked.
#[derive(Clone, Debug, PartialEq)]
pub struct Vmap {
    /// What runs for each element.
    pub body: Body,
    /// The number of operands that have the axis, at least one.
    pub xs: usize,
}

impl Vmap {
    /// How many elements there are.
    ///
    /// # Errors
    /// `shape` if the operands do not agree.
    pub fn size(xs: &[&Type]) -> Result<Dim> {
        let first = |t: &&Type| t.shape.first().copied();
        let Some(size) = xs.first().and_then(first) else {
            return Err(err::shape("`vmap` goes along the first dimension of a tensor, and there is none"));
        };
        match xs.iter().find(|t| first(t) != Some(size)) {
            Some(t) => Err(err::shape(format!("`vmap`: {t} has no {size} elements along its first dimension"))),
            None => Ok(size),
        }
    }
}

impl Structural for Vmap {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        let size = Vmap::size(&x[..self.xs.min(x.len())])?;
        let inner = |t: &&Type| Type::new(t.dtype, t.shape[1..].iter().copied());
        let elements: Vec<Type> = x[..self.xs].iter().map(inner).collect();
        let operands: Vec<&Type> = elements.iter().chain(x[self.xs..].iter().copied()).collect();
        takes("vmap", &self.body, &operands)?;
        let stacked = |t: Type| Type::new(t.dtype, std::iter::once(size).chain(t.shape));
        Ok(self.body.result_types().into_iter().map(stacked).collect())
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        self.eval_all(x)?.into_iter().next().ok_or_else(|| err::internal("a `vmap` without a result"))
    }

    fn eval_all(&self, x: &[Array]) -> Result<Vec<Array>> {
        let size = x[0].shape()[0];
        let types = self.body.result_types();
        let mut stacks: Vec<Vec<u64>> = vec![Vec::new(); types.len()];
        for i in 0..size {
            let element = |a: &Array| {
                let l = &a.layout;
                a.view(Layout { shape: l.shape[1..].into(), strides: l.strides[1..].into(), offset: l.at(&[i]) })
            };
            let args: Vec<Array> = x[..self.xs].iter().map(element).chain(x[self.xs..].iter().cloned()).collect();
            for (stack, a) in stacks.iter_mut().zip(run(&self.body, &args)?) {
                stack.extend(a.bits());
            }
        }
        let whole = |(t, bits): (&Type, Vec<u64>)| {
            let shape: Vec<usize> = std::iter::once(size).chain(t.extents()?).collect();
            Ok(Array::new(t.dtype, &shape, bits))
        };
        types.iter().zip(stacks).map(whole).collect()
    }

    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![None; x.len()]
    }
}

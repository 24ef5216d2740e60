//! Ops that are more than a value: writing into memory, asking for a derivative, and saying that a value is at hand. Each
//! is gone after its pass.

use super::{Effect, Lanes, Op, Structural};
use crate::builder::Ex;
use crate::error::{Result, err};
use crate::interp::Array;
use crate::types::Type;
use smallvec::{SmallVec, smallvec};

/// `Op::Write`: the second operand into the memory of the first, which has the same shape and dtype.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Write;

impl Structural for Write {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        if x[0].shape != x[1].shape || x[0].dtype != x[1].dtype {
            return Err(err::internal(format!("a write into {} takes the same type, got {}", x[0], x[1])));
        }
        Ok(smallvec![])
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        x[0].write(&x[1].bits());
        Ok(x[0].clone())
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![None; x.len()]
    }
    fn effect(&self) -> Effect {
        Effect::Write
    }
}

/// `Op::Kept`: operand 1, a parameter, holds the value of operand 0.
///
/// A backward pass that is made of recorded ops reads what was kept of them. The recorded program stands in the graph as
/// it ran, so that derivatives of any order are those of the program; `simplify`, behind `autodiff`, puts the parameter in
/// the place of the value, and what would compute it is dead. The result is operand 1; nothing uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kept;

impl Structural for Kept {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        if x[0].shape != x[1].shape || x[0].dtype != x[1].dtype {
            return Err(err::internal(format!("{} kept as {}", x[0], x[1])));
        }
        Ok(smallvec![Type::new(x[0].dtype, x[0].shape.iter().copied())])
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        Ok(x[1].copied())
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![lanes.one(x[0], lanes.on[0]).apply(Op::Kept, &[lanes.one(x[1], lanes.on[1])])]
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![None; x.len()]
    }
}

/// `Op::Grad`: the gradient of operand 0 with respect to the last operands.
///
/// Operands: `y`, then the cotangent of `y` if `seeded`, then the values to differentiate by. Results: one gradient for
/// each of those, of its type.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Grad {
    /// Whether operand 1 is a cotangent; else `y` is a scalar and it is 1.
    pub seeded: bool,
    /// Whether a value that `y` does not use gets zeros instead of an error.
    pub allow_unused: bool,
    /// Whether a cotangent of zero stays zero through elementwise functions, whatever their derivative is: then the
    /// branch that a `where` does not take has no part in a gradient, also if its slope is infinite or NaN there. Not in
    /// the bodies of control flow.
    pub strong_zero: bool,
}

impl Grad {
    /// The number of operands before the values to differentiate by.
    pub fn lead(&self) -> usize {
        1 + self.seeded as usize
    }
}

impl Structural for Grad {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        let y = x[0];
        if !y.dtype.is_float() {
            return Err(err::grad(format!("`grad` of {y}: only floating point values have gradients")));
        }
        if self.seeded && (x[1].shape != y.shape || x[1].dtype != y.dtype) {
            return Err(err::grad(format!("`grad` of {y}: the seed is {}, expected the same type", x[1])));
        }
        if !self.seeded && !y.count().is(1) {
            return Err(err::grad(format!("`grad` of {y}: a gradient is implicit only for scalar outputs"))
                .help("sum it, or give a cotangent with `seed=`"));
        }
        let wrt = &x[self.lead()..];
        if let Some(t) = wrt.iter().find(|t| !t.dtype.is_float()) {
            return Err(err::grad(format!("`grad` with respect to {t}: only floating point values have gradients")));
        }
        Ok(wrt.iter().map(|t| Type::new(t.dtype, t.shape.iter().copied())).collect())
    }
    fn eval(&self, _: &[Array]) -> Result<Array> {
        Err(err::internal("`grad` is removed by autodiff before anything runs"))
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![None; x.len()]
    }
    fn attrs(&self) -> String {
        let flags = [("allow_unused", self.allow_unused), ("strong_zero", self.strong_zero)];
        let set = flags.iter().filter(|(_, set)| *set).map(|(name, _)| format!("{name}=true"));
        set.collect::<Vec<_>>().join(", ")
    }
}

/// `Op::Jvp`: the derivative of some values along a direction: the tangents of `y` when the values `x` move by `t`.
///
/// Operands: the values `y`, as many as `results`, then the values `x`, then a tangent for each of those, of its type.
/// Results: a tangent for each `y`, of its type; zeros where it does not depend on any `x`, or is no float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jvp {
    /// The number of values whose tangents are given.
    pub results: usize,
}

impl Jvp {
    /// The values, what they are differentiated by, and the tangents of that.
    pub fn parts<T>(self, operands: &[T]) -> (&[T], &[T], &[T]) {
        let (y, rest) = operands.split_at(self.results.min(operands.len()));
        let (x, t) = rest.split_at(rest.len() / 2);
        (y, x, t)
    }
}

impl Structural for Jvp {
    fn infer(&self, all: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        let (y, x, t) = self.parts(all);
        if self.results == 0 || y.len() < self.results || x.is_empty() || x.len() != t.len() {
            return Err(err::internal(format!("`jvp` of {} values by {}, along {}", y.len(), x.len(), t.len())));
        }
        if let Some(t) = x.iter().find(|t| !t.dtype.is_float()) {
            return Err(err::grad(format!("`jvp` with respect to {t}: only floating point values have derivatives")));
        }
        if let Some((x, t)) = x.iter().zip(t).find(|(x, t)| x.dtype != t.dtype || x.shape != t.shape) {
            return Err(err::grad(format!("`jvp` with respect to {x}: the tangent is {t}, expected the same type")));
        }
        Ok(y.iter().map(|t| Type::new(t.dtype, t.shape.iter().copied())).collect())
    }
    fn eval(&self, _: &[Array]) -> Result<Array> {
        Err(err::internal("`jvp` is removed by autodiff before anything runs"))
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![None; x.len()]
    }
}

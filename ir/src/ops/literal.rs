//! Ops without operands: parameters, constants, counters and random numbers.

use super::{Lanes, Op, Structural};
use crate::builder::Ex;
use crate::dim::Dim;
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::interp::Array;
use crate::types::{Shape, ShapeText, Type, checked_count, checked_numel};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

type Types = Result<SmallVec<[Type; 1]>>;

/// `Op::Input`: its type is given by whoever appends it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input;

impl Structural for Input {
    fn infer(&self, _: &[&Type]) -> Types {
        Err(err::internal("a parameter has no type of its own"))
    }
    fn eval(&self, _: &[Array]) -> Result<Array> {
        Err(err::internal("a parameter has no value of its own"))
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![]
    }
}

/// `Op::Const`: one element.
impl Structural for Scalar {
    fn infer(&self, _: &[&Type]) -> Types {
        Ok(smallvec![Type::new(self.dtype, [0usize; 0])])
    }
    fn eval(&self, _: &[Array]) -> Result<Array> {
        Ok(Array::full(*self, &[0usize; 0]))
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![]
    }
    fn attrs(&self) -> String {
        self.to_string()
    }
}

/// `Op::Cast`: the elements in another dtype.
impl Structural for DType {
    fn infer(&self, x: &[&Type]) -> Types {
        Ok(smallvec![Type::new(*self, x[0].shape.iter().copied())])
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        let out = Type::new(*self, x[0].shape().iter().copied());
        crate::interp::map(x, &out, |b, regs| {
            let v = b.convert(self.reg(), regs[0]);
            b.round_to(*self, v)
        })
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![(x[0].dtype().is_float() && self.is_float()).then(|| dy.cast(x[0].dtype()))]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], _: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![x[0].apply(Op::Cast(*self), &[])]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        let flows = x[0].dtype().is_float() && self.is_float();
        Some(vec![t[0].filter(|_| flows).map(|t| t.cast(*self))])
    }
    fn attrs(&self) -> String {
        self.name().into()
    }
}

/// `Op::Literal`: a constant tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
    /// The elements, row-major.
    pub values: Arc<Vec<Scalar>>,
}

impl Structural for Literal {
    fn infer(&self, _: &[&Type]) -> Types {
        if self.values.len() != checked_numel(&self.shape)? || self.values.iter().any(|v| v.dtype != self.dtype) {
            return Err(err::internal(format!("{} values for a tensor {}", self.values.len(), ShapeText(&self.shape))));
        }
        Ok(smallvec![Type::new(self.dtype, self.shape.iter().copied())])
    }
    fn eval(&self, _: &[Array]) -> Result<Array> {
        Ok(Array::from_scalars(self.dtype, &self.shape, self.values.iter().copied()))
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![]
    }
    fn attrs(&self) -> String {
        let mut text = nested(&self.shape, &self.values);
        text += &format!(", dtype={}", self.dtype);
        text
    }
}

fn nested(shape: &[usize], values: &[Scalar]) -> String {
    let Some((d, rest)) = shape.split_first() else { return values[0].to_string() };
    let n = rest.iter().product::<usize>();
    let items: Vec<String> = (0..*d).map(|i| nested(rest, &values[i * n..(i + 1) * n])).collect();
    format!("[{}]", items.join(", "))
}

/// `Op::Iota`: `i64[n]`, 0 to n - 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Iota(pub Dim);

impl Structural for Iota {
    fn infer(&self, _: &[&Type]) -> Types {
        checked_count(&[self.0])?;
        Ok(smallvec![Type::new(DType::I64, [self.0])])
    }
    fn eval(&self, _: &[Array]) -> Result<Array> {
        let n = self.0.value()? as usize;
        Ok(Array::new(DType::I64, &[n], (0..n as u64).collect()))
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![]
    }
    fn attrs(&self) -> String {
        self.0.to_string()
    }
}

/// `Op::Size`: an expression of symbolic sizes as an `i64` scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size(pub Dim);

impl Structural for Size {
    fn infer(&self, _: &[&Type]) -> Types {
        Ok(smallvec![Type::new(DType::I64, [0usize; 0])])
    }
    fn eval(&self, _: &[Array]) -> Result<Array> {
        Ok(Array::full(Scalar::from_i64(DType::I64, self.0.value()?), &[0usize; 0]))
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![]
    }
    fn attrs(&self) -> String {
        self.0.to_string()
    }
}

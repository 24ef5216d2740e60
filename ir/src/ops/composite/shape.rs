//! Shapes: `view`, `reshape`, `permute` and their relatives. All but `clone` and `contiguous` share memory where they can.

use crate::builder::{Builder, Ex};
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef, Out};
use crate::ops::{Op, view};
use crate::types::{Shape, ShapeText};

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "view",
        sig: "x, shape: ints",
        doc: "The same memory in another shape; one extent may be -1. An error if strides cannot say it.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let shape = infer_shape(&a.ints(1)?, x.ty().numel())?;
            let v = b.emit(Op::Reshape(view::Reshape(shape)), &[x.value()?])?;
            Ok(b.ex(v).into())
        },
    },
    FnDef {
        name: "reshape",
        sig: "x, shape: ints",
        doc: "In another shape; one extent may be -1. Shares memory if it can, else copies.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let shape = infer_shape(&a.ints(1)?, x.ty().numel())?;
            if shape == x.shape() {
                // An identity view is a node of its own: a gradient may be asked of it.
                let v = b.emit(Op::Reshape(view::Reshape(shape)), &[x.value()?])?;
                return Ok(b.ex(v).into());
            }
            Ok(x.reshape(&shape).into())
        },
    },
    FnDef { name: "clone", sig: "x", doc: "A copy in new memory.", build: |b, a| Ok(a.tensor(b, 0)?.copy().into()) },
];

/// A shape with its one -1 worked out.
///
/// # Errors
/// `shape` if it does not fit `numel` elements.
pub fn infer_shape(dims: &[i64], numel: usize) -> Result<Shape> {
    let text = || {
        let d: Vec<String> = dims.iter().map(i64::to_string).collect();
        format!("[{}]", d.join(", "))
    };
    let invalid = || err::shape(format!("shape '{}' is invalid for input of size {numel}", text()));
    if dims.iter().any(|d| *d < -1) {
        return Err(err::shape(format!("invalid shape dimension in {}", text())));
    }
    let known =
        dims.iter().filter(|d| **d >= 0).try_fold(1usize, |n, d| n.checked_mul(*d as usize)).ok_or_else(invalid)?;
    let holes = dims.iter().filter(|d| **d == -1).count();
    if holes > 1 {
        return Err(err::shape(format!("only one dimension can be inferred in {}", text())));
    }
    if holes == 1 && known == 0 {
        return Err(err::shape(format!(
            "cannot reshape tensor of {numel} elements into shape {} because the unspecified dimension size -1 can be any \
             value and is ambiguous",
            text()
        )));
    }
    if holes == 1 && numel % known != 0 || holes == 0 && known != numel {
        return Err(invalid());
    }
    Ok(dims.iter().map(|d| if *d == -1 { numel / known } else { *d as usize }).collect())
}

/// Names the shape in a message.
pub fn shape_text(x: Ex<'_>) -> String {
    ShapeText(&x.shape()).to_string()
}

/// The kind of function that maps one tensor to one tensor.
pub type Unary = for<'b> fn(&'b Builder, &Args<'b>) -> Result<Out<'b>>;

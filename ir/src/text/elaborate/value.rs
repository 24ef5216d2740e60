//! What an expression gives while a program is elaborated: a tensor of the graph, or something known right away.

use super::number::Num;
use crate::builder::{Builder, Ex};
use crate::dtype::{DType, Scalar};
use crate::ops::registry::Arg;
use crate::text::print::type_text;

/// The value of an expression.
#[derive(Clone)]
pub(super) enum Val<'b> {
    /// A tensor of the graph.
    Tensor(Ex<'b>),
    /// A number known now.
    Num(Num),
    /// `None`.
    None,
    /// Text.
    Str(String),
    /// A dtype.
    DType(DType),
    /// `[a, b]`
    List(Vec<Val<'b>>),
    /// `(a, b)`, also the results of a function that has several.
    Tuple(Vec<Val<'b>>),
}

impl<'b> Val<'b> {
    /// How messages name it.
    pub(super) fn describe(&self) -> String {
        match self {
            Val::Tensor(e) => format!("a tensor {}", type_text(&e.ty())),
            Val::Num(n) => n.describe(),
            Val::None => "`None`".into(),
            Val::Str(s) => format!("the text {s:?}"),
            Val::DType(d) => format!("the dtype {d}"),
            Val::List(l) => format!("a list of {}", l.len()),
            Val::Tuple(t) if t.is_empty() => "nothing".into(),
            Val::Tuple(t) => format!("a tuple of {}", t.len()),
        }
    }

    /// The type of a tensor, or the number: for labels.
    pub(super) fn short(&self) -> String {
        match self {
            Val::Tensor(e) => type_text(&e.ty()),
            Val::Num(n) => n.text(),
            v => v.describe(),
        }
    }

    /// The value as an argument of a function of the table.
    pub(super) fn arg(self) -> Arg<'b> {
        match self {
            Val::Tensor(e) => Arg::Tensor(e),
            Val::Num(Num::Int(v)) => Arg::Int(v),
            Val::Num(Num::Size(d)) => Arg::Size(d),
            Val::Num(Num::Float(v)) => Arg::Float(v),
            Val::Num(Num::Bool(v)) => Arg::Bool(v),
            Val::None => Arg::None,
            Val::Str(s) => Arg::Str(s),
            Val::DType(d) => Arg::DType(d),
            Val::List(l) | Val::Tuple(l) => Arg::List(l.into_iter().map(Val::arg).collect()),
        }
    }
}

/// A plain number of the graph.
pub(super) fn plain(b: &Builder, n: Num) -> Ex<'_> {
    b.number(match n {
        Num::Size(d) => return b.int(d),
        Num::Int(v) => Scalar::from_i64(DType::I64, v),
        Num::Float(v) => Scalar::from_f64(DType::F64, v),
        Num::Bool(v) => Scalar::from_bool(v),
    })
}

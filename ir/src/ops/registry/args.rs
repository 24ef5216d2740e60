//! Reading bound arguments: each accessor gives one kind and refuses the others.

use super::{Arg, Args};
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, needs_sizes};
use crate::dtype::{Category, DType, Scalar};
use crate::error::{Result, err};
use crate::ops::Op;

impl<'b> Args<'b> {
    fn bad(&self, i: usize) -> crate::Error {
        // What takes a number that is known can take a size once it is one.
        let symbolic = |a: &Arg<'b>| if let Arg::Size(d) = a { Some(*d) } else { None };
        let found = match &self.values[i] {
            Arg::List(l) => l.iter().find_map(symbolic),
            a => symbolic(a),
        };
        if let Some(d) = found {
            return needs_sizes(&d.to_string());
        }
        err::ty(format!("`{}`: argument {} is {}", self.name, i + 1, self.values[i].describe()))
    }

    /// The error of an argument that is something else than that.
    pub fn not(&self, i: usize, expected: &str) -> crate::Error {
        err::ty(format!("`{}`: argument {} is {}, expected {expected}", self.name, i + 1, self.values[i].describe()))
    }

    /// The function's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The argument as it was given.
    pub fn raw(&self, i: usize) -> &Arg<'b> {
        &self.values[i]
    }

    /// Whether it is `None`.
    pub fn is_none(&self, i: usize) -> bool {
        matches!(self.values[i], Arg::None)
    }

    /// A tensor, or a plain number.
    ///
    /// # Errors
    /// `type` if it is neither.
    pub fn tensor(&self, b: &'b Builder, i: usize) -> Result<Ex<'b>> {
        Ok(match &self.values[i] {
            Arg::Tensor(e) => *e,
            Arg::Int(v) => b.number(Scalar::from_i64(DType::I64, *v)),
            Arg::Size(d) => b.int(*d),
            Arg::Float(v) => b.number(Scalar::from_f64(DType::F64, *v)),
            Arg::Bool(v) => b.number(Scalar::from_bool(*v)),
            _ => return Err(self.bad(i)),
        })
    }

    /// A tensor that may be absent.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn opt_tensor(&self, b: &'b Builder, i: usize) -> Result<Option<Ex<'b>>> {
        if self.is_none(i) { Ok(None) } else { self.tensor(b, i).map(Some) }
    }

    /// A list of tensors.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn tensors(&self, i: usize) -> Result<Vec<Ex<'b>>> {
        let Arg::List(l) = &self.values[i] else { return Err(self.bad(i)) };
        l.iter().map(|a| if let Arg::Tensor(e) = a { Ok(*e) } else { Err(self.bad(i)) }).collect()
    }

    /// An integer.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn int(&self, i: usize) -> Result<i64> {
        if let Arg::Int(v) = self.values[i] { Ok(v) } else { Err(self.bad(i)) }
    }

    /// An integer that may be absent.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn opt_int(&self, i: usize) -> Result<Option<i64>> {
        if self.is_none(i) { Ok(None) } else { self.int(i).map(Some) }
    }

    /// A float, or an integer as one.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn float(&self, i: usize) -> Result<f64> {
        match self.values[i] {
            Arg::Float(v) => Ok(v),
            Arg::Int(v) => Ok(v as f64),
            _ => Err(self.bad(i)),
        }
    }

    /// A truth value.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn bool(&self, i: usize) -> Result<bool> {
        if let Arg::Bool(v) = self.values[i] { Ok(v) } else { Err(self.bad(i)) }
    }

    /// Text.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn str(&self, i: usize) -> Result<&str> {
        if let Arg::Str(v) = &self.values[i] { Ok(v) } else { Err(self.bad(i)) }
    }

    /// A dtype that may be absent.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn opt_dtype(&self, i: usize) -> Result<Option<DType>> {
        match self.values[i] {
            Arg::None => Ok(None),
            Arg::DType(d) => Ok(Some(d)),
            _ => Err(self.bad(i)),
        }
    }

    /// Integers: a list, or one.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>> {
        match &self.values[i] {
            Arg::Int(v) => Ok(vec![*v]),
            Arg::List(l) => l.iter().map(|a| if let Arg::Int(v) = a { Ok(*v) } else { Err(self.bad(i)) }).collect(),
            _ => Err(self.bad(i)),
        }
    }

    /// An integer, which may be a symbolic size.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn dim(&self, i: usize) -> Result<Dim> {
        self.one_dim(i, &self.values[i])
    }

    /// Integers, which may be symbolic sizes: a list, or one.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn dims(&self, i: usize) -> Result<Vec<Dim>> {
        match &self.values[i] {
            Arg::List(l) => l.iter().map(|a| self.one_dim(i, a)).collect(),
            a => Ok(vec![self.one_dim(i, a)?]),
        }
    }

    fn one_dim(&self, i: usize, a: &Arg<'b>) -> Result<Dim> {
        match a {
            Arg::Int(v) => Ok(Dim::from(*v)),
            Arg::Size(d) => Ok(*d),
            _ => Err(self.bad(i)),
        }
    }

    /// Integers that may be absent.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn opt_ints(&self, i: usize) -> Result<Option<Vec<i64>>> {
        if self.is_none(i) { Ok(None) } else { self.ints(i).map(Some) }
    }

    /// Axes of a tensor of that rank: a list or one, negative from the end, no duplicates; all of them if absent or
    /// empty.
    ///
    /// # Errors
    /// `index` if one is out of range or stands twice.
    pub fn axes(&self, i: usize, rank: usize) -> Result<Vec<usize>> {
        let all = || (0..rank).collect();
        let Some(dims) = self.opt_ints(i)? else { return Ok(all()) };
        if dims.is_empty() {
            return Ok(all());
        }
        let mut axes = Vec::new();
        for d in dims {
            let a = crate::types::axis(d, rank)?;
            if axes.contains(&a) {
                return Err(err::index(format!("`{}`: dim {a} appears multiple times in the list of dims", self.name)));
            }
            if rank > 0 {
                axes.push(a);
            }
        }
        axes.sort_unstable();
        Ok(axes)
    }
}

/// The integers of a constant scalar or vector.
pub(super) fn integers<'b>(e: Ex<'b>) -> Option<Arg<'b>> {
    let integer = |c: &Scalar| c.dtype.is_int().then(|| Arg::Int(c.to_i64()));
    match e.builder().node(e.value().ok()?.node).op {
        Op::Const(c) => integer(&c),
        Op::Literal(l) if l.shape.len() == 1 => l.values.iter().map(integer).collect::<Option<_>>().map(Arg::List),
        _ => None,
    }
}

/// Refuses dtypes that are not floats.
///
/// # Errors
/// `dtype`.
pub fn require_float(name: &str, x: Ex<'_>) -> Result<()> {
    if x.dtype().category() == Category::Float {
        return Ok(());
    }
    Err(crate::ops::elementwise::not_float(name, x.dtype()))
}

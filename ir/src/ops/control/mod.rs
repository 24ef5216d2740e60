//! Control flow: ops that run whole graphs, their *bodies*, once, as often as it takes, or once for each slice.
//!
//! The idea: a body is a graph like any other, in the phase of the graph around it, and goes through the same passes. It
//! sees nothing but its parameters: what a closure captures becomes an operand. It writes to none of its parameters, and
//! its results are new memory, so to the graph around it a control op is pure: [`Effect::Fresh`](super::Effect). Types
//! are decided before anything runs, so both branches of a [`Cond`] give the same ones, and what goes round a loop keeps
//! its type.
//!
//! Derivatives are control ops too, over bodies made by reverse accumulation of the original ones ([`Cond`], [`Scan`]), or
//! by forward accumulation (`forward`).

pub(crate) mod batch;
mod body;
mod cond;
mod custom;
mod forward;
mod scan;
mod vmap;
mod while_loop;

pub use body::Body;
pub use cond::Cond;
pub use custom::Custom;
pub use scan::Scan;
pub use vmap::Vmap;
pub use while_loop::While;

use super::Op;
use crate::builder::Ex;
use crate::error::{Result, err};
use crate::interp::Array;
use crate::text::print::type_text;
use crate::types::Type;
use smallvec::SmallVec;

impl Op {
    /// The graphs that a control op runs; none for other ops.
    pub fn bodies(&self) -> SmallVec<[&Body; 2]> {
        match self {
            Op::Cond(c) => c.branches.iter().collect(),
            Op::While(w) => [&w.test, &w.body].into_iter().collect(),
            Op::Loop(s) => std::iter::once(&s.body).collect(),
            Op::Vmap(v) => std::iter::once(&v.body).collect(),
            Op::Custom(c) => std::iter::once(&c.forward).chain(&c.backward).collect(),
            _ => SmallVec::new(),
        }
    }

    /// The op with other bodies, given by the old ones in the order of [`Op::bodies`].
    ///
    /// # Errors
    /// Those of `f`.
    pub fn with_bodies(&self, mut f: impl FnMut(&Body) -> Result<Body>) -> Result<Op> {
        Ok(match self {
            Op::Cond(c) => Op::Cond(Cond { branches: [f(&c.branches[0])?, f(&c.branches[1])?] }),
            Op::While(w) => Op::While(While { test: f(&w.test)?, body: f(&w.body)? }),
            Op::Loop(s) => Op::Loop(Scan { body: f(&s.body)?, ..s.clone() }),
            Op::Vmap(v) => Op::Vmap(Vmap { body: f(&v.body)?, ..*v }),
            Op::Custom(c) => {
                let forward = f(&c.forward)?;
                Op::Custom(Custom { forward, backward: c.backward.as_ref().map(f).transpose()?, args: c.args })
            }
            op => op.clone(),
        })
    }

    /// The op as it is copied where gradients are made: a scan keeps the carries of every step.
    pub(crate) fn saving(self) -> Op {
        match self {
            Op::Loop(s) => Op::Loop(Scan { save: true, ..s }),
            op => op,
        }
    }
}

/// The `count` derivatives that `f` gives, of an op on these operands; none after an error, which is left with the builder.
fn or_failed<'b>(x: &[Ex<'b>], count: usize, f: impl FnOnce() -> Result<Vec<Option<Ex<'b>>>>) -> Vec<Option<Ex<'b>>> {
    let Some(b) = x.first().map(|x| x.builder()) else { return vec![None; count] };
    f().unwrap_or_else(|e| {
        b.fail(e);
        vec![None; count]
    })
}

/// `f32[2, 3]`, or several in parentheses.
pub(crate) fn types_text<'a>(types: impl IntoIterator<Item = &'a Type>) -> String {
    let all: Vec<String> = types.into_iter().map(type_text).collect();
    match all.as_slice() {
        [one] => one.clone(),
        all => format!("({})", all.join(", ")),
    }
}

/// Whether both lists are the same types; plain numbers count as tensors.
pub(crate) fn same<'a>(a: impl IntoIterator<Item = &'a Type>, b: impl IntoIterator<Item = &'a Type>) -> bool {
    let plain = |t: &'a Type| (t.dtype, &t.shape);
    a.into_iter().map(plain).eq(b.into_iter().map(plain))
}

/// Whether a body takes operands of these types.
fn takes(op: &str, body: &Body, operands: &[&Type]) -> Result<()> {
    let want = body.param_types();
    if same(&want, operands.iter().copied()) {
        return Ok(());
    }
    Err(err::ty(format!(
        "`{op}`: `{}` takes {}, the operands are {}",
        body.name,
        types_text(&want),
        types_text(operands.iter().copied())
    )))
}

/// Whether an operand or result decides: one bool.
fn decides(op: &str, what: &str, ty: &Type) -> Result<()> {
    if ty.dtype == crate::DType::Bool && ty.count().is(1) {
        return Ok(());
    }
    let e = err::ty(format!("`{op}`: {what} is a bool tensor of one element, found {}", type_text(ty)));
    Err(if ty.dtype == crate::DType::Bool { e.help("`any()` or `all()` make one of it") } else { e })
}

/// The first element of a bool array.
fn is_true(a: &Array) -> bool {
    a.bits().first().is_some_and(|b| *b != 0)
}

/// What a body gives, as arrays of their own.
fn run(body: &Body, x: &[Array]) -> Result<Vec<Array>> {
    Ok(crate::interp::run(body, x)?.iter().map(Array::copied).collect())
}

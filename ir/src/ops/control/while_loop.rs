//! `Op::While`: a body applied to its own results for as long as a test of them says so.
//!
//! It has no derivative in reverse: going back takes what every step began with, and how many steps there are is not
//! known before they have run. Forward it has one: tangents go along with the carries.

use super::{Body, batch, decides, forward, is_true, run, same, takes, types_text};
use crate::builder::Ex;
use crate::error::{Result, err};
use crate::interp::Array;
use crate::ops::{Lanes, Structural};
use crate::types::Type;
use smallvec::SmallVec;

/// Operands: the first carries, then what both bodies get whole at every step. Results: the last carries.
#[derive(Clone, Debug, PartialEq)]
pub struct While {
    /// Gives a bool of one element: whether to go on.
    pub test: Body,
    /// Gives the next carries.
    pub body: Body,
}

impl While {
    /// The number of carries; the operands behind them stay the same.
    pub fn carries(&self) -> usize {
        self.body.outputs.len()
    }
}

impl Structural for While {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        takes("while_loop", &self.test, x)?;
        takes("while_loop", &self.body, x)?;
        match self.test.result_types().as_slice() {
            [one] => decides("while_loop", &format!("the result of `{}`", self.test.name), one)?,
            all => {
                let (name, got) = (&self.test.name, types_text(all));
                return Err(err::ty(format!("`while_loop`: `{name}` gives {got}, expected one bool")));
            }
        }
        let next = self.body.result_types();
        let carries = &x[..next.len().min(x.len())];
        if next.is_empty() || !same(&next, carries.iter().copied()) {
            return Err(err::ty(format!(
                "`while_loop`: `{}` gives {}, expected the types of what it takes, {}",
                self.body.name,
                types_text(&next),
                types_text(x.iter().copied())
            )));
        }
        Ok(next.into())
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        self.eval_all(x)?.into_iter().next().ok_or_else(|| err::internal("a `while_loop` without a carry"))
    }

    fn eval_all(&self, x: &[Array]) -> Result<Vec<Array>> {
        let n = self.carries();
        let mut x: Vec<Array> = x.to_vec();
        while run(&self.test, &x)?.first().is_some_and(is_true) {
            let next = run(&self.body, &x)?;
            x.splice(..n, next);
        }
        x.truncate(n);
        Ok(x.iter().map(Array::copied).collect())
    }

    fn jvp_all<'b>(&self, x: &[Ex<'b>], y: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        Some(forward::while_loop(self, x, y, t))
    }

    fn vjp<'b>(&self, x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        self.vjp_all(x, &[y], &[Some(dy)], &vec![true; x.len()])
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        batch::made(x, batch::while_loop(self, x, lanes))
    }

    fn vjp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], _: &[Option<Ex<'b>>], _: &[bool]) -> Vec<Option<Ex<'b>>> {
        if let Some(x) = x.first() {
            let e = err::grad("`while_loop` has no gradient: the number of its steps is not known before it runs");
            x.builder()
                .fail(e.help("a loop of known length is a `scan`, which has one; `jvp` goes through a `while_loop`"));
        }
        vec![None; x.len()]
    }
}

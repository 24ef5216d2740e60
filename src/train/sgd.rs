//! Stochastic gradient descent with momentum, as `torch.optim.SGD`.

use super::leaves::{Step, leaves, like, wide, zeros};
use crate::tensor::{Operand, Tensor};
use crate::tree::{Part, Tree};
use tensorc_ir::error::err;
use tensorc_ir::{DType, Loc, Result};

/// Stochastic gradient descent, with PyTorch's options and defaults. With g the gradient of a parameter p:
///
/// ```text
/// g = -g                     if maximize
/// g = g + weight_decay p
/// b = momentum b + (1 - dampening) g,  at the first step b = g
/// g = g + momentum b         if nesterov, else b
/// p = p - lr g
/// ```
///
/// (Sutskever, Martens, Dahl and Hinton, 2013, for Nesterov's form.)
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sgd {
    /// How much of the last step goes on.
    pub momentum: f64,
    /// By how much the gradient in the momentum is lessened.
    pub dampening: f64,
    /// The factor of the L2 penalty.
    pub weight_decay: f64,
    /// Nesterov's momentum: needs a momentum, and no dampening.
    pub nesterov: bool,
    /// Goes up instead of down.
    pub maximize: bool,
}

/// What [`Sgd`] remembers: a tree of tensors.
#[derive(Clone, Debug)]
pub struct SgdState<P> {
    /// Steps so far, `i64`.
    pub step: Tensor,
    /// Of the structure of the parameters; `None` without a momentum.
    pub momentum_buffer: Option<P>,
}

impl Sgd {
    fn check(&self) -> Result<()> {
        for (name, v) in [("momentum", self.momentum), ("weight_decay", self.weight_decay)] {
            if v < 0.0 {
                return Err(err::ty(format!("`Sgd`: Invalid {name} value: {v}")));
            }
        }
        if self.nesterov && (self.momentum <= 0.0 || self.dampening != 0.0) {
            return Err(err::ty("`Sgd`: Nesterov momentum requires a momentum and zero dampening"));
        }
        Ok(())
    }

    /// The state before the first step.
    ///
    /// # Errors
    /// `type` if an option is out of its range.
    #[track_caller]
    pub fn init<P: Tree>(&self, params: &P) -> Result<SgdState<P>> {
        let loc = Loc::caller();
        self.check().map_err(|e| e.at(loc))?;
        let momentum_buffer = if self.momentum != 0.0 { Some(zeros(params)?) } else { None };
        Ok(SgdState { step: Tensor::scalar(0i64)?, momentum_buffer })
    }

    /// New parameters and state. `lr` is a number or a 0-d tensor; what changes from call to call of a jitted function
    /// is a tensor.
    ///
    /// # Errors
    /// `type`, `shape` or `dtype` if the trees do not fit each other or the options.
    #[track_caller]
    pub fn step<P: Tree>(
        &self,
        params: &P,
        grads: &P,
        state: &SgdState<P>,
        lr: impl Operand,
    ) -> Result<(P, SgdState<P>)> {
        let new = self.run(params, grads, state, lr, false, Loc::caller())?;
        let mut new = new.into_iter();
        let step = new.next().ok_or_else(|| err::internal("an update without its count"))?;
        let p = like(params, &mut new)?;
        let momentum_buffer = state.momentum_buffer.as_ref().map(|b| like(b, &mut new)).transpose()?;
        Ok((p, SgdState { step, momentum_buffer }))
    }

    /// As [`Sgd::step`], in the memory of the parameters and the state.
    ///
    /// # Errors
    /// As [`Sgd::step`]; `alias` if the memory may not be written.
    #[track_caller]
    pub fn step_<P: Tree>(&self, params: &P, grads: &P, state: &SgdState<P>, lr: impl Operand) -> Result<()> {
        self.run(params, grads, state, lr, true, Loc::caller()).map(drop)
    }

    fn run<P: Tree>(
        &self,
        params: &P,
        grads: &P,
        state: &SgdState<P>,
        lr: impl Operand,
        in_place: bool,
        loc: Loc,
    ) -> Result<Vec<Tensor>> {
        let run = || {
            self.check()?;
            let mut trees = vec![leaves(params), leaves(grads)];
            match (&state.momentum_buffer, self.momentum != 0.0) {
                (Some(b), true) => trees.push(leaves(b)),
                (None, false) => {}
                _ => return Err(err::ty("`Sgd`: the state was made for another momentum")),
            }
            let names = &["params", "grads", "momentum_buffer"];
            let step = Step { op: "Sgd", names, trees, count: &state.step, in_place, loc };
            step.run(lr, |now, rows| {
                let first = now.before.eq(0i64)?;
                rows.iter().map(|row| self.update(row[0], row[1], row.get(2).copied(), now.lr, &first)).collect()
            })
        };
        run().map_err(|e| e.at(loc))
    }

    /// A parameter and its momentum after the step.
    fn update(
        &self,
        p: &Tensor,
        g: &Tensor,
        buffer: Option<&Tensor>,
        lr: &Tensor,
        first: &Tensor,
    ) -> Result<Vec<Tensor>> {
        let (stored, dtype) = (p.dtype(), wide(p));
        let (p, mut g) = (p.to(dtype)?, g.to(dtype)?);
        if self.maximize {
            g = (-g)?;
        }
        if self.weight_decay != 0.0 {
            g = g.add(p.mul(self.weight_decay)?)?;
        }
        let mut kept = None;
        if let Some(b) = buffer {
            let mut b = b.to(dtype)?.mul(self.momentum)?.add(g.mul(1.0 - self.dampening)?)?;
            if self.dampening != 0.0 {
                b = first.where_(&g, &b)?;
            }
            g = if self.nesterov { g.add(b.mul(self.momentum)?)? } else { b.clone() };
            kept = Some(b.to(stored)?);
        }
        let lr = lr.to(DType::F64)?.to(dtype)?;
        Ok([Some(p.sub(g.mul(&lr)?)?.to(stored)?), kept].into_iter().flatten().collect())
    }
}

impl<P: Tree> Tree for SgdState<P> {
    type Structure = Option<P::Structure>;

    fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
        leaves.push(self.step.clone());
        self.momentum_buffer.take_apart(leaves)
    }

    fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>)) {
        see(Part::Tensor(&self.step));
        self.momentum_buffer.walk(see);
    }

    fn has_structure(&self, structure: &Self::Structure) -> bool {
        self.momentum_buffer.has_structure(structure)
    }

    fn put_together(structure: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
        let step = Tensor::put_together(&(), leaves)?;
        Ok(SgdState { step, momentum_buffer: Option::put_together(structure, leaves)? })
    }

    fn name_leaves(&self, prefix: &str, names: &mut Vec<String>) {
        self.step.name_leaves(&crate::tree::joined(prefix, "step"), names);
        self.momentum_buffer.name_leaves(&crate::tree::joined(prefix, "momentum_buffer"), names);
    }
}

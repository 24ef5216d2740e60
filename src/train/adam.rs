//! Adam and AdamW, as `torch.optim.Adam` and `torch.optim.AdamW`.
//!
//! The numbers that all parameters share (the corrections of the bias, the size of the step) are computed once, in `f64`.

use super::leaves::{Step, leaves, like, wide, zeros};
use crate::tensor::{Operand, Tensor, call, one};
use crate::tree::{Part, Tree, joined};
use tensorc_ir::error::err;
use tensorc_ir::{DType, Loc, Result};

/// Adam (Kingma and Ba, 2015) with PyTorch's options and defaults. With g the gradient of a parameter p at step t,
/// counted from 1:
///
/// ```text
/// g = -g                     if maximize
/// g = g + weight_decay p
/// m = b1 m + (1 - b1) g
/// v = b2 v + (1 - b2) g^2
/// w = max(w, v)              if amsgrad, else v
/// p = p - lr / (1 - b1^t) m / (sqrt(w) / sqrt(1 - b2^t) + eps)
/// ```
///
/// (Reddi, Kale and Kumar, 2018, for `amsgrad`.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// How slowly the means of the gradient and of its square change.
    pub betas: (f64, f64),
    /// Keeps the denominator from 0.
    pub eps: f64,
    /// The factor of the L2 penalty.
    pub weight_decay: f64,
    /// Divides by the largest mean square seen so far.
    pub amsgrad: bool,
    /// Goes up instead of down.
    pub maximize: bool,
}

impl Default for Adam {
    fn default() -> Adam {
        Adam { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, amsgrad: false, maximize: false }
    }
}

/// Adam whose weight decay is apart from the gradient (Loshchilov and Hutter, 2019), with PyTorch's options and defaults:
/// instead of `g = g + weight_decay p`, first `p = (1 - lr weight_decay) p`; the rest as [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// How slowly the means of the gradient and of its square change.
    pub betas: (f64, f64),
    /// Keeps the denominator from 0.
    pub eps: f64,
    /// By how much of the learning rate parameters shrink at each step.
    pub weight_decay: f64,
    /// Divides by the largest mean square seen so far.
    pub amsgrad: bool,
    /// Goes up instead of down.
    pub maximize: bool,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 1e-2, amsgrad: false, maximize: false }
    }
}

/// What [`Adam`] and [`AdamW`] remember: a tree of tensors.
#[derive(Clone, Debug)]
pub struct AdamState<P> {
    /// Steps so far, `i64`.
    pub step: Tensor,
    /// The means of the gradients, of the structure of the parameters.
    pub exp_avg: P,
    /// The means of their squares.
    pub exp_avg_sq: P,
    /// The largest of those so far; `None` without `amsgrad`.
    pub max_exp_avg_sq: Option<P>,
}

macro_rules! optimiser {
    ($name:ident $text:literal $decoupled:literal) => {
        impl $name {
            fn formula(&self) -> Formula {
                Formula {
                    op: $text,
                    decoupled: $decoupled,
                    adam: Adam {
                        betas: self.betas,
                        eps: self.eps,
                        weight_decay: self.weight_decay,
                        amsgrad: self.amsgrad,
                        maximize: self.maximize,
                    },
                }
            }

            /// The state before the first step: zeros.
            ///
            /// # Errors
            /// `type` if an option is out of its range.
            #[track_caller]
            pub fn init<P: Tree>(&self, params: &P) -> Result<AdamState<P>> {
                let loc = Loc::caller();
                self.formula().init(params).map_err(|e| e.at(loc))
            }

            /// New parameters and state. `lr` is a number or a 0-d tensor; what changes from call to call of a jitted
            /// function is a tensor.
            ///
            /// # Errors
            /// `type`, `shape` or `dtype` if the trees do not fit each other or the options.
            #[track_caller]
            pub fn step<P: Tree>(
                &self,
                params: &P,
                grads: &P,
                state: &AdamState<P>,
                lr: impl Operand,
            ) -> Result<(P, AdamState<P>)> {
                let new = self.formula().run(params, grads, state, lr, false, Loc::caller())?;
                let mut new = new.into_iter();
                let step = new.next().ok_or_else(|| err::internal("an update without its count"))?;
                let p = like(params, &mut new)?;
                let (exp_avg, exp_avg_sq) = (like(&state.exp_avg, &mut new)?, like(&state.exp_avg_sq, &mut new)?);
                let max_exp_avg_sq = state.max_exp_avg_sq.as_ref().map(|w| like(w, &mut new)).transpose()?;
                Ok((p, AdamState { step, exp_avg, exp_avg_sq, max_exp_avg_sq }))
            }

            /// As `step`, in the memory of the parameters and the state.
            ///
            /// # Errors
            /// As `step`; `alias` if the memory may not be written.
            #[track_caller]
            pub fn step_<P: Tree>(&self, params: &P, grads: &P, state: &AdamState<P>, lr: impl Operand) -> Result<()> {
                self.formula().run(params, grads, state, lr, true, Loc::caller()).map(drop)
            }
        }
    };
}

optimiser! { Adam "Adam" false }
optimiser! { AdamW "AdamW" true }

/// Both optimisers.
struct Formula {
    op: &'static str,
    /// Whether the weight decay is apart from the gradient.
    decoupled: bool,
    adam: Adam,
}

/// The numbers that the updates of all parameters share, `f64` tensors.
struct Shared {
    /// lr / (1 - b1^t).
    step_size: Tensor,
    /// sqrt(1 - b2^t).
    root: Tensor,
    /// 1 - lr weight_decay.
    shrink: Tensor,
}

impl Formula {
    fn check(&self) -> Result<()> {
        let Adam { betas, eps, weight_decay, .. } = self.adam;
        let op = self.op;
        for (i, b) in [betas.0, betas.1].into_iter().enumerate() {
            if !(0.0..1.0).contains(&b) {
                return Err(err::ty(format!("`{op}`: Invalid beta parameter at index {i}: {b}")));
            }
        }
        for (name, v) in [("epsilon", eps), ("weight_decay", weight_decay)] {
            if !(0.0..).contains(&v) {
                return Err(err::ty(format!("`{op}`: Invalid {name} value: {v}")));
            }
        }
        Ok(())
    }

    fn init<P: Tree>(&self, params: &P) -> Result<AdamState<P>> {
        self.check()?;
        Ok(AdamState {
            step: Tensor::scalar(0i64)?,
            exp_avg: zeros(params)?,
            exp_avg_sq: zeros(params)?,
            max_exp_avg_sq: if self.adam.amsgrad { Some(zeros(params)?) } else { None },
        })
    }

    /// The new count and the new tensors, tree by tree; nothing if they are written in place.
    fn run<P: Tree>(
        &self,
        params: &P,
        grads: &P,
        state: &AdamState<P>,
        lr: impl Operand,
        in_place: bool,
        loc: Loc,
    ) -> Result<Vec<Tensor>> {
        let run = || {
            self.check()?;
            let mut trees = vec![leaves(params), leaves(grads), leaves(&state.exp_avg), leaves(&state.exp_avg_sq)];
            match (&state.max_exp_avg_sq, self.adam.amsgrad) {
                (Some(w), true) => trees.push(leaves(w)),
                (None, false) => {}
                _ => return Err(err::ty(format!("`{}`: the state was made for another `amsgrad`", self.op))),
            }
            let names = &["params", "grads", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
            let step = Step { op: self.op, names, trees, count: &state.step, in_place, loc };
            step.run(lr, |now, rows| {
                let shared = self.shared(now.lr, now.step)?;
                rows.iter().map(|row| self.update(row, &shared)).collect()
            })
        };
        run().map_err(|e| e.at(loc))
    }

    fn shared(&self, lr: &Tensor, step: &Tensor) -> Result<Shared> {
        let (lr, t) = (lr.to(DType::F64)?, step.to(DType::F64)?);
        let correction = |b: f64| Tensor::scalar(1.0)?.sub(Tensor::scalar(b)?.pow(&t)?);
        let (b1, b2) = self.adam.betas;
        Ok(Shared {
            step_size: lr.div(correction(b1)?)?,
            root: correction(b2)?.sqrt()?,
            shrink: Tensor::scalar(1.0)?.sub(lr.mul(self.adam.weight_decay)?)?,
        })
    }

    /// A parameter, m, v and perhaps w after the step, from the parameter, its gradient, m, v and perhaps w.
    fn update(&self, row: &[&Tensor], shared: &Shared) -> Result<Vec<Tensor>> {
        let Adam { betas: (b1, b2), eps, weight_decay, maximize, .. } = self.adam;
        let (stored, dtype) = (row[0].dtype(), wide(row[0]));
        let row = row.iter().map(|t| t.to(dtype)).collect::<Result<Vec<_>>>()?;
        let (mut p, mut g) = (row[0].clone(), row[1].clone());
        if maximize {
            g = (-g)?;
        }
        if weight_decay != 0.0 {
            if self.decoupled {
                p = p.mul(shared.shrink.to(dtype)?)?;
            } else {
                g = g.add(p.mul(weight_decay)?)?;
            }
        }
        let m = one(call("lerp", &[(None, (&row[2]).into()), (None, (&g).into()), (None, (1.0 - b1).into())])?)?;
        let v = row[3].mul(b2)?.add(g.mul(&g)?.mul(1.0 - b2)?)?;
        let w = row.get(4).map(|w| w.maximum(&v)).transpose()?;
        let denom = w.as_ref().unwrap_or(&v).sqrt()?.div(shared.root.to(dtype)?)?.add(eps)?;
        let p = p.sub(m.mul(shared.step_size.to(dtype)?)?.div(denom)?)?;
        [Some(p), Some(m), Some(v), w].into_iter().flatten().map(|t| t.to(stored)).collect()
    }
}

impl<P: Tree> Tree for AdamState<P> {
    type Structure = (P::Structure, P::Structure, Option<P::Structure>);

    fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
        leaves.push(self.step.clone());
        let (m, v) = (self.exp_avg.take_apart(leaves), self.exp_avg_sq.take_apart(leaves));
        (m, v, self.max_exp_avg_sq.take_apart(leaves))
    }

    fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>)) {
        see(Part::Tensor(&self.step));
        self.exp_avg.walk(see);
        self.exp_avg_sq.walk(see);
        self.max_exp_avg_sq.walk(see);
    }

    fn has_structure(&self, (m, v, w): &Self::Structure) -> bool {
        self.exp_avg.has_structure(m) && self.exp_avg_sq.has_structure(v) && self.max_exp_avg_sq.has_structure(w)
    }

    fn put_together((m, v, w): &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
        Ok(AdamState {
            step: Tensor::put_together(&(), leaves)?,
            exp_avg: P::put_together(m, leaves)?,
            exp_avg_sq: P::put_together(v, leaves)?,
            max_exp_avg_sq: Option::put_together(w, leaves)?,
        })
    }

    fn name_leaves(&self, prefix: &str, names: &mut Vec<String>) {
        self.step.name_leaves(&joined(prefix, "step"), names);
        self.exp_avg.name_leaves(&joined(prefix, "exp_avg"), names);
        self.exp_avg_sq.name_leaves(&joined(prefix, "exp_avg_sq"), names);
        self.max_exp_avg_sq.name_leaves(&joined(prefix, "max_exp_avg_sq"), names);
    }
}

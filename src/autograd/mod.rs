//! PyTorch's autograd: `requires_grad_`, `backward()`, `.grad`.
//!
//! While a tensor requires a gradient, ops on it are recorded as they run (`tape.rs`). `backward` puts the recorded ops into
//! a program as they ran, differentiates that like any other, and runs it on the values that were kept (`replay.rs`). So there
//! is one set of derivatives, the same bits as [`grad`](crate::grad) gives, and a program of the same structure as before,
//! which a training loop makes in every step, is compiled once.
//!
//! Memory that was written since a derivative's value was kept is found by its version, and is an error that names the line
//! of the write, the line that needs the value, and the line of `backward`.

mod backward;
mod check;
mod names;
pub(crate) mod program;
mod replay;
mod rule;
mod tape;
pub(crate) mod variable;

pub use backward::{Backward, backward, compilations, grad};
pub(crate) use rule::{Formula, Rules, next_id};
pub(crate) use tape::{Form, Recording};

use crate::tensor::{Repr, Tensor, concrete::Concrete};
use std::cell::Cell;
use std::sync::Arc;
use tensorc_ir::error::err;
use tensorc_ir::{Loc, Result};
use variable::Standing;

thread_local! {
    static OFF: Cell<bool> = const { Cell::new(false) };
}

/// Whether ops on tensors that require a gradient are recorded on this thread.
pub fn is_grad_enabled() -> bool {
    !OFF.get()
}

/// Runs a closure during which nothing is recorded on this thread: what it makes requires no gradient, and it may write to
/// leaves.
///
/// ```
/// # fn main() -> tensorc::Result<()> {
/// let w = tensorc::tensor([1.0f32, 2.0])?.requires_grad_(true)?;
/// w.square()?.sum()?.backward()?;
/// tensorc::no_grad(|| w.sub_(w.grad().map_or(tensorc::tensor([0.0f32]), |g| g.mul(0.1))))?;
/// assert_eq!(w.to_vec::<f32>()?, [0.8, 1.6]);
/// # Ok(())
/// # }
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    set(false, f)
}

/// Runs a closure during which ops are recorded on this thread, inside of [`no_grad`].
pub fn enable_grad<R>(f: impl FnOnce() -> R) -> R {
    set(true, f)
}

fn set<R>(enabled: bool, f: impl FnOnce() -> R) -> R {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            OFF.set(self.0);
        }
    }
    let _back = Back(OFF.replace(!enabled));
    f()
}

/// Whether an op on these tensors is recorded. Quick where no tensor has ever required a gradient.
pub(crate) fn records<'a>(tensors: impl IntoIterator<Item = &'a Arc<Concrete>>) -> bool {
    tensors.into_iter().any(|t| t.may_require_grad() && t.requires_grad()) && is_grad_enabled()
}

/// Whether an in-place op on these tensors may write to the first one.
///
/// # Errors
/// `grad` if gradients are recorded, one would flow, and the first tensor is a leaf, or a view that must not be written.
pub(crate) fn may_write(tensors: &[&Arc<Concrete>], loc: Loc) -> Result<()> {
    let Some(first) = tensors.first().filter(|_| records(tensors.iter().copied())) else { return Ok(()) };
    check::in_place(first, loc)
}

impl Tensor {
    /// Makes this tensor a leaf of the computations that follow: `backward` gives it a gradient, [`Tensor::grad`]. With
    /// `false`, it is one no longer. The result is another handle on it.
    ///
    /// # Errors
    /// `grad` if its elements are not floating point, or with `false` if it is the result of recorded ops; `type` while
    /// tracing.
    #[track_caller]
    pub fn requires_grad_(&self, requires_grad: bool) -> Result<Tensor> {
        let loc = Loc::caller();
        let c = self.concrete_for("requires_grad_").map_err(|e| e.at(loc))?;
        if requires_grad && !c.view.dtype.is_float() {
            return Err(err::grad("only Tensors of floating point dtype can require gradients").at(loc));
        }
        let computed = c.standing() == Standing::Computed;
        if computed && !requires_grad {
            return Err(err::grad(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a \
                 subgraph that doesn't require differentiation use var_no_grad = var.detach().",
            )
            .at(loc));
        }
        if !computed && (requires_grad || c.track.get().is_some()) {
            c.track().lock().requires = requires_grad;
        }
        Ok(self.clone())
    }

    /// Whether a gradient flows to this tensor.
    pub fn requires_grad(&self) -> bool {
        matches!(&self.0, Repr::Concrete(c) if c.requires_grad())
    }

    /// Whether it is no result of recorded ops.
    pub fn is_leaf(&self) -> bool {
        match &self.0 {
            Repr::Concrete(c) => c.standing() != Standing::Computed,
            Repr::Traced(_) => true,
        }
    }

    /// The gradient that [`Tensor::backward`] has accumulated for this tensor: of a leaf that requires one, or after
    /// [`Tensor::retain_grad`]. The tensor given is the one that is added to.
    pub fn grad(&self) -> Option<Tensor> {
        let Repr::Concrete(c) = &self.0 else { return None };
        c.track.get()?.lock().grad.clone()
    }

    /// Sets or, with `None`, clears what [`Tensor::grad`] gives.
    ///
    /// # Errors
    /// `grad` if the gradient's shape or dtype is another than this tensor's; `type` while tracing.
    #[track_caller]
    pub fn set_grad(&self, grad: Option<Tensor>) -> Result<()> {
        let loc = Loc::caller();
        let c = self.concrete_for("set_grad").map_err(|e| e.at(loc))?;
        if let Some(g) = &grad {
            let v = g.view_of("set_grad").map_err(|e| e.at(loc))?;
            if v.layout.shape != c.view.layout.shape {
                return Err(err::grad(format!(
                    "assigned grad has data of a different size: {:?} for a tensor of {:?}",
                    v.layout.shape, c.view.layout.shape
                ))
                .at(loc));
            }
            if v.dtype != c.view.dtype {
                return Err(err::grad(format!(
                    "assigned grad has data of a different type: {} for a tensor of {}",
                    v.dtype, c.view.dtype
                ))
                .at(loc));
            }
        }
        if grad.is_some() || c.track.get().is_some() {
            c.track().lock().grad = grad;
        }
        Ok(())
    }

    /// Keeps the gradient of a tensor that is no leaf, too, from the next `backward` on.
    ///
    /// # Errors
    /// `grad` if it requires none; `type` while tracing.
    #[track_caller]
    pub fn retain_grad(&self) -> Result<()> {
        let loc = Loc::caller();
        let c = self.concrete_for("retain_grad").map_err(|e| e.at(loc))?;
        if !c.requires_grad() {
            return Err(err::grad("can't retain_grad on Tensor that has requires_grad=False").at(loc));
        }
        if c.standing() == Standing::Computed {
            backward::retain(c);
        }
        Ok(())
    }

    /// The name of the recorded op that has made this tensor, as PyTorch prints it: `AddBackward0`.
    pub fn grad_fn(&self) -> Option<String> {
        let Repr::Concrete(c) = &self.0 else { return None };
        (c.standing() == Standing::Computed).then(|| names::of(c))
    }

    /// Whether autograd lets the elements be written by other means than ops, or handed to another library.
    ///
    /// # Errors
    /// `grad` if a gradient flows to them.
    pub(crate) fn no_gradient_for(&self, what: &str) -> Result<()> {
        if !self.requires_grad() || !is_grad_enabled() {
            return Ok(());
        }
        Err(err::grad(format!("can't call `{what}` on Tensor that requires grad. Use tensor.detach() instead."))
            .help("what is written in this way is not recorded"))
    }

    /// Calls a view that has just been made the result of that function.
    pub(crate) fn made_by(mut self, name: &Arc<str>) -> Tensor {
        if let Repr::Concrete(c) = &mut self.0
            && let Some(origin) = Arc::get_mut(c).and_then(|c| c.origin.as_mut())
        {
            origin.name = name.clone();
        }
        self
    }

    pub(crate) fn concrete_for(&self, what: &str) -> Result<&Arc<Concrete>> {
        match &self.0 {
            Repr::Concrete(c) => Ok(c),
            Repr::Traced(_) => Err(err::ty(format!("`{what}` of a traced tensor"))
                .help("in a traced function, `grad` and `value_and_grad` give gradients")),
        }
    }
}

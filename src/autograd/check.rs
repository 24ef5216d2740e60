//! Which in-place ops are refused while gradients are recorded.

use super::variable::Origin;
use crate::tensor::concrete::Concrete;
use std::sync::Arc;
use tensorc_ir::error::err;
use tensorc_ir::{Loc, Result};

/// Functions of which each result is one of several views.
const SEVERAL: &[&str] = &["split", "chunk", "unbind"];

/// Whether an in-place op through which a gradient flows may write to that tensor.
///
/// # Errors
/// `grad` if it is a leaf, a view of one, one of several views of one function, or a view made under `no_grad`.
pub(super) fn in_place(t: &Arc<Concrete>, loc: Loc) -> Result<()> {
    if t.is_required() {
        return Err(err::grad("a leaf Variable that requires grad is being used in an in-place operation.")
            .at(loc)
            .help("under `no_grad` it may be written; else write to a copy: `x.copy()?`"));
    }
    let Some(Origin { root, name, result, in_grad_mode, .. }) = &t.origin else { return Ok(()) };
    if SEVERAL.contains(&&**name) {
        let function = super::names::grad_fn(name);
        return Err(err::grad(format!(
            "Output {result} of {function} is a view and is being modified inplace. This view is the output of a function \
             that returns multiple views. Such functions do not allow the output views to be modified inplace. You should \
             replace the inplace operation by an out-of-place one."
        ))
        .at(loc));
    }
    if !in_grad_mode {
        return Err(err::grad(
            "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that this use \
             case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and the \
             inplace either both inside the no_grad block (if you don't want the inplace to be tracked) or both outside (if \
             you want the inplace to be tracked).",
        )
        .at(loc));
    }
    if root.is_required() {
        return Err(err::grad("a view of a leaf Variable that requires grad is being used in an in-place operation.")
            .at(loc)
            .help("under `no_grad` it may be written; else write to a copy: `x.copy()?`"));
    }
    Ok(())
}

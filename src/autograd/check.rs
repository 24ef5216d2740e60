//! Which in-place ops are refused while gradients are recorded.

use super::variable::{Created, Standing};
use crate::tensor::concrete::Concrete;
use tensorc_ir::error::err;
use tensorc_ir::{Loc, Result};

/// Whether an in-place op through which a gradient flows may write to that tensor.
///
/// # Errors
/// `grad` if it is a leaf, a view of one, one of several views of one function, or a view made under `no_grad`.
pub(super) fn in_place(t: &Concrete, loc: Loc) -> Result<()> {
    let leaf = |what: &str| {
        Err(err::grad(format!("{what} that requires grad is being used in an in-place operation."))
            .at(loc)
            .help("under `no_grad` it may be written; else write to a copy: `x.copy()?`"))
    };
    let standing = t.standing();
    if let Some(o) = &t.origin {
        // PyTorch has these two sentences for what it is and these two for why not.
        let what = match standing == Standing::Computed {
            true => {
                let (result, function) = (o.result, super::names::grad_fn(&o.name));
                format!("Output {result} of {function} is a view and is being modified inplace.")
            }
            false => "A view was created in no_grad mode and is being modified inplace with grad mode enabled.".into(),
        };
        let why = match o.created {
            Created::Plain => None,
            Created::OneOf => Some(
                "This view is the output of a function that returns multiple views. Such functions do not allow the output \
                 views to be modified inplace. You should replace the inplace operation by an out-of-place one.",
            ),
            Created::NoGrad => Some(
                "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving \
                 both the view and the inplace either both inside the no_grad block (if you don't want the inplace to be \
                 tracked) or both outside (if you want the inplace to be tracked).",
            ),
        };
        if let Some(why) = why {
            return Err(err::grad(format!("{what} {why}")).at(loc));
        }
        if standing != Standing::Plain && o.root.standing() != Standing::Computed {
            return leaf("a view of a leaf Variable");
        }
    }
    if matches!(standing, Standing::Leaf | Standing::Nominal) { leaf("a leaf Variable") } else { Ok(()) }
}

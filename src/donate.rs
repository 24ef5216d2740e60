//! Donated arguments: memory that a call may use for its results.
//!
//! The program writes one of its results into the argument, as its last step, and gives the argument itself back; what
//! makes that a store in place is what makes any update one. The runtime then moves the memory to a new handle.

use crate::tensor::Tensor;
use crate::trace::Trace;
use std::sync::Arc;
use tensorc_ir::{Op, Result, Value};

/// What `make` gives with donated memory used, or without where that would cost a copy.
pub(crate) fn unless_copied<T>(make: impl Fn(bool) -> Result<T>, copies: impl Fn(&T) -> bool) -> Result<T> {
    let made = make(true)?;
    if copies(&made) { make(false) } else { Ok(made) }
}

/// For each donated argument, makes the first result of its type that has memory of its own lie in it.
pub(crate) fn reuse(trace: &Arc<Trace>, args: &[Tensor], donated: &[usize], results: &mut [Tensor]) -> Result<()> {
    let values: Vec<Value> = results.iter().map(|t| trace.value_of(t)).collect::<Result<_>>()?;
    let mut free: Vec<bool> = vec![true; results.len()];
    for arg in donated.iter().filter_map(|k| args.get(*k)) {
        let x = trace.value_of(arg)?;
        let found = trace.with(|b| -> Result<Option<usize>> {
            // A result lies row by row.
            if !b.storage(x).1.is_contiguous() {
                return Ok(None);
            }
            let memory = |v: Value| b.with_graph(|g| g.parameter_of(v));
            if values.iter().any(|v| memory(*v) == memory(x)) {
                return Ok(None);
            }
            let fits = |i: &usize| {
                let (ty, of_x) = (b.ty(values[*i]), b.ty(x));
                free[*i] && memory(values[*i]).is_none() && ty.dtype == of_x.dtype && ty.shape == of_x.shape
            };
            let found = (0..values.len()).find(fits);
            if let Some(i) = found {
                b.emit_all(Op::Write, &[x, values[i]])?;
            }
            Ok(found)
        })??;
        if let Some(i) = found {
            free[i] = false;
            results[i] = arg.clone();
        }
    }
    Ok(())
}

//! Launches: which neighbouring kernels of a program run side by side, shared out to the threads together.
//!
//! The update of all parameters by an optimiser is one launch, however many tensors there are: their kernels are the same
//! machine code, and none waits for another. Kernels whose checks may fail are launched alone, so that it is known whose
//! check it was. Nothing here changes what a kernel computes.

use crate::loopnest::{LoopNest, Stmt};
use crate::program::{BufferArg, BufferKind, LoopStep, Program, Step};
use std::ops::Range;
use tensorc_ir::dim::Dim;
use tensorc_ir::scalar::Inst;

/// The most kernels of one launch.
const MOST: usize = 256;

/// The ranges of `steps`, in order, that are one launch each.
pub fn launches(program: &Program, steps: &[Step]) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for (k, step) in steps.iter().enumerate() {
        let joins = all.last().is_some_and(|last| {
            last.len() < MOST && steps[last.clone()].iter().all(|before| side_by_side(program, before, step))
        });
        match all.last_mut().filter(|_| joins) {
            Some(last) => last.end = k + 1,
            None => all.push(k..k + 1),
        }
    }
    all
}

/// Whether two kernels may run at the same time.
fn side_by_side(program: &Program, a: &Step, b: &Step) -> bool {
    match (a, b) {
        (Step::Loops(a), Step::Loops(b)) => {
            !may_fail(&a.nest.body) && !may_fail(&b.nest.body) && apart(program, a, b) && apart(program, b, a)
        }
        _ => false,
    }
}

/// Whether nothing that `a` writes is read or written by `b`.
fn apart(program: &Program, a: &LoopStep, b: &LoopStep) -> bool {
    let written = |nest: &LoopNest, i: usize| nest.bufs.get(i).is_none_or(|d| d.written);
    let stores = a.args.iter().enumerate().filter(|(i, _)| written(&a.nest, *i));
    stores.into_iter().all(|(_, x)| b.args.iter().all(|y| !may_share(program, x, y)))
}

/// Whether the memory of two buffers may be the same. A written parameter shares memory with no other argument of a call.
fn may_share(program: &Program, x: &BufferArg, y: &BufferArg) -> bool {
    if x.buffer == y.buffer {
        return true;
    }
    let of = |a: &BufferArg| program.buffers.get(a.buffer.0 as usize);
    let (Some(x), Some(y)) = (of(x), of(y)) else { return true };
    let (BufferKind::Temp(a), BufferKind::Temp(b)) = (&x.kind, &y.kind) else { return false };
    let end = |at: Dim, numel: Dim, size: usize| Some((at.known()?, at.known()? + numel.known()? * size as i64));
    match (end(*a, x.numel, x.dtype.size()), end(*b, y.numel, y.dtype.size())) {
        (Some((a, a_end)), Some((b, b_end))) => a < b_end && b < a_end,
        _ => true,
    }
}

/// Whether a kernel has a check.
fn may_fail(body: &[Stmt]) -> bool {
    body.iter().any(|s| match s {
        Stmt::Inst(_, i) => matches!(i, Inst::Check(..)),
        Stmt::For(l) => may_fail(&l.body),
        Stmt::Index(..) | Stmt::Load { .. } | Stmt::Store { .. } => false,
        Stmt::Acc { .. } | Stmt::Update { .. } | Stmt::Read { .. } => false,
    })
}

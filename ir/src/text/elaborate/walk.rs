//! Visits every expression of a function.

use crate::text::ast::{Expr, ExprKind, Fn, IndexKind, StmtKind};

/// Calls `visit` with every expression of the body, parts of an expression before the whole.
pub(super) fn expressions<'a>(f: &'a Fn, visit: &mut impl FnMut(&'a Expr)) {
    for s in &f.body.stmts {
        match &s.kind {
            StmtKind::Let { value, .. } | StmtKind::Expr(value) => parts(value, visit),
            StmtKind::Assign { place, value, .. } => {
                parts(place, visit);
                parts(value, visit);
            }
        }
    }
    f.body.result.iter().for_each(|e| parts(e, visit));
}

fn parts<'a>(e: &'a Expr, visit: &mut impl FnMut(&'a Expr)) {
    match &e.kind {
        ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Bool(_)
        | ExprKind::None
        | ExprKind::Str(_)
        | ExprKind::Name(_)
        | ExprKind::DType(_) => {}
        ExprKind::Binary { left, right, .. } => {
            parts(left, visit);
            parts(right, visit);
        }
        ExprKind::Unary { operand, .. } => parts(operand, visit),
        ExprKind::Tuple(items) | ExprKind::List(items) => items.iter().for_each(|e| parts(e, visit)),
        ExprKind::Index { base, indices } => {
            parts(base, visit);
            for i in indices {
                match &i.kind {
                    IndexKind::Expr(e) => parts(e, visit),
                    IndexKind::Slice { start, stop, step } => {
                        [start, stop, step].into_iter().flatten().for_each(|e| parts(e, visit));
                    }
                    IndexKind::Ellipsis | IndexKind::NewAxis => {}
                }
            }
        }
        ExprKind::Call { args, .. } => args.iter().for_each(|a| parts(&a.value, visit)),
        ExprKind::Method { receiver, args, .. } => {
            parts(receiver, visit);
            args.iter().for_each(|a| parts(&a.value, visit));
        }
        ExprKind::Member { base, .. } => parts(base, visit),
    }
    visit(e);
}

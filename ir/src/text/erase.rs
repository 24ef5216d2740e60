//! A tree without its places, so that two texts can be compared by what they say.

use super::ast::{
    Arg, Block, Dim, DimKind, Expr, ExprKind, Fn, Index, IndexKind, Name, Program, StmtKind, Type, Types,
};
use crate::error::Loc;

impl Program {
    /// The same program with every place unknown: two texts mean the same program to the parser, however they are laid
    /// out, if and only if these are equal.
    ///
    /// ```
    /// let parse = |src| tensorc_ir::text::parse(src).unwrap().without_locs();
    /// assert_eq!(parse("fn f(x: f32) { (x) + 1 }"), parse("fn f(\n    x: f32,\n) {\n    x+1 // one more\n}"));
    /// ```
    pub fn without_locs(mut self) -> Program {
        self.fns.iter_mut().for_each(function);
        self
    }
}

fn function(f: &mut Fn) {
    f.loc = Loc::Unknown;
    name(&mut f.name);
    for p in &mut f.params {
        p.loc = Loc::Unknown;
        name(&mut p.name);
        ty(&mut p.ty);
    }
    f.result.iter_mut().for_each(types);
    block(&mut f.body);
}

fn name(n: &mut Name) {
    n.loc = Loc::Unknown;
}

fn types(t: &mut Types) {
    t.loc = Loc::Unknown;
    t.items.iter_mut().for_each(ty);
}

fn ty(t: &mut Type) {
    t.loc = Loc::Unknown;
    t.dims.iter_mut().for_each(dim);
}

fn dim(d: &mut Dim) {
    d.loc = Loc::Unknown;
    if let DimKind::Bin(_, left, right) = &mut d.kind {
        dim(left);
        dim(right);
    }
}

fn block(b: &mut Block) {
    b.loc = Loc::Unknown;
    for stmt in &mut b.stmts {
        stmt.loc = Loc::Unknown;
        match &mut stmt.kind {
            StmtKind::Let { pattern, ty, value } => {
                pattern.loc = Loc::Unknown;
                pattern.names.iter_mut().for_each(name);
                ty.iter_mut().for_each(types);
                expr(value);
            }
            StmtKind::Assign { place, op: _, value } => {
                expr(place);
                expr(value);
            }
            StmtKind::Expr(e) => expr(e),
        }
    }
    b.result.iter_mut().for_each(expr);
}

fn expr(e: &mut Expr) {
    e.loc = Loc::Unknown;
    match &mut e.kind {
        ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Bool(_) | ExprKind::None | ExprKind::Str(_) => {}
        ExprKind::Name(_) | ExprKind::DType(_) => {}
        ExprKind::Binary { op: _, left, right } => {
            expr(left);
            expr(right);
        }
        ExprKind::Unary { op: _, operand } => expr(operand),
        ExprKind::Tuple(items) | ExprKind::List(items) => items.iter_mut().for_each(expr),
        ExprKind::Index { base, indices } => {
            expr(base);
            indices.iter_mut().for_each(index);
        }
        ExprKind::Call { callee, args } => {
            name(callee);
            args.iter_mut().for_each(arg);
        }
        ExprKind::Method { receiver, name: method, args } => {
            expr(receiver);
            name(method);
            args.iter_mut().for_each(arg);
        }
        ExprKind::Member { base, name: member } => {
            expr(base);
            name(member);
        }
    }
}

fn arg(a: &mut Arg) {
    a.name.iter_mut().for_each(name);
    expr(&mut a.value);
}

fn index(i: &mut Index) {
    i.loc = Loc::Unknown;
    match &mut i.kind {
        IndexKind::Expr(e) => expr(e),
        IndexKind::Slice { start, stop, step } => {
            [start, stop, step].into_iter().flatten().for_each(|e| expr(e));
        }
        IndexKind::Ellipsis | IndexKind::NewAxis => {}
    }
}

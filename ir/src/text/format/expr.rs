//! Expressions in canonical layout: the parentheses that precedence needs, and the breaks.

use super::{Formatter, close_of, tuple_comma};
use crate::text::ast::{Arg, BinaryOp, Expr, ExprKind, Index, IndexKind, UnaryOp};
use crate::text::bytes;
use crate::text::doc::{Doc, group, text};

/// How tightly indexing, members and calls bind: more than every operator.
const POSTFIX: u8 = 10;

impl Formatter<'_> {
    pub(super) fn expr(&mut self, e: &Expr) -> Doc {
        match &e.kind {
            ExprKind::Int(v) => text(v.to_string()),
            ExprKind::Float(f) => text(&f.text),
            ExprKind::Bool(b) => text(b.to_string()),
            ExprKind::None => text("None"),
            ExprKind::Str(s) => text(quoted(s)),
            ExprKind::Name(n) => text(n),
            ExprKind::DType(d) => text(d.name()),
            ExprKind::Binary { op: BinaryOp::Pow, left, right } => {
                // Right associative, with a right side that may have a sign.
                let left = self.operand(left, POSTFIX);
                Doc::Concat(vec![left, text(" ** "), self.operand(right, UnaryOp::PRECEDENCE)])
            }
            ExprKind::Binary { op, .. } => self.chain(e, op.precedence()),
            ExprKind::Unary { op, operand } => {
                Doc::Concat(vec![text(op.symbol()), self.operand(operand, UnaryOp::PRECEDENCE)])
            }
            ExprKind::Tuple(items) => {
                self.list("(", items, ")", close_of(e.loc), tuple_comma(items.len()), |i| i.loc, Self::expr)
            }
            ExprKind::List(items) => self.list_of(items, close_of(e.loc)),
            ExprKind::Index { base, indices } => {
                let base = self.operand(base, POSTFIX);
                let indices = self.list("[", indices, "]", close_of(e.loc), Doc::IfBroken(""), |i| i.loc, Self::index);
                Doc::Concat(vec![base, indices])
            }
            ExprKind::Call { callee, args } => Doc::Concat(vec![text(&callee.text), self.args(args, close_of(e.loc))]),
            ExprKind::Method { receiver, name, args } => {
                let receiver = self.receiver(receiver);
                Doc::Concat(vec![receiver, text(format!(".{}", name.text)), self.args(args, close_of(e.loc))])
            }
            ExprKind::Member { base, name } => Doc::Concat(vec![self.receiver(base), text(format!(".{}", name.text))]),
        }
    }

    /// `e` where what binds less tightly than `min` needs parentheses.
    fn operand(&mut self, e: &Expr, min: u8) -> Doc {
        let doc = self.expr(e);
        if precedence(e) < min { Doc::Concat(vec![text("("), doc, text(")")]) } else { doc }
    }

    /// `e` before a `.`, which would run into the digits of a number.
    fn receiver(&mut self, e: &Expr) -> Doc {
        let number = matches!(e.kind, ExprKind::Int(_) | ExprKind::Float(_));
        self.operand(e, if number { u8::MAX } else { POSTFIX })
    }

    /// Left-associative operators of one precedence: all on one line, or each on its own with its right side.
    fn chain(&mut self, e: &Expr, precedence: u8) -> Doc {
        let mut rest = Vec::new();
        let mut first = e;
        while let ExprKind::Binary { op, left, right } = &first.kind {
            let comparison_inside = op.is_comparison() && !rest.is_empty();
            if op.precedence() != precedence || comparison_inside {
                break;
            }
            rest.push((*op, right));
            first = left;
        }
        let comparison = rest.iter().any(|(op, _)| op.is_comparison());
        let head = self.operand(first, precedence + u8::from(comparison));
        let mut parts = Vec::new();
        for (op, right) in rest.into_iter().rev() {
            self.between(bytes(right.loc).start, Doc::Line, &mut parts);
            parts.push(text(format!("{} ", op.symbol())));
            parts.push(self.operand(right, precedence + 1));
        }
        group(vec![head, Doc::Nest(parts)])
    }

    fn args(&mut self, args: &[Arg], close_at: u32) -> Doc {
        if args.is_empty() && self.comments.get(self.next).is_none_or(|c| c.start >= close_at) {
            return text("()");
        }
        let comma = Doc::IfBroken(if args.is_empty() { "" } else { "," });
        self.list("(", args, ")", close_at, comma, Arg::loc, |f, a| {
            let value = f.expr(&a.value);
            match &a.name {
                Some(name) => Doc::Concat(vec![text(format!("{}=", name.text)), value]),
                None => value,
            }
        })
    }

    fn index(&mut self, i: &Index) -> Doc {
        match &i.kind {
            IndexKind::Expr(e) => self.expr(e),
            IndexKind::Slice { start, stop, step } => {
                let mut parts = Vec::new();
                parts.extend(start.as_deref().map(|e| self.expr(e)));
                parts.push(text(":"));
                parts.extend(stop.as_deref().map(|e| self.expr(e)));
                if let Some(step) = step {
                    parts.extend([text(":"), self.expr(step)]);
                }
                Doc::Concat(parts)
            }
            IndexKind::Ellipsis => text("..."),
            IndexKind::NewAxis => text("None"),
        }
    }

    /// `[a, b]`. A broken list of literals (the data of a tensor) fills its lines.
    fn list_of(&mut self, items: &[Expr], close_at: u32) -> Doc {
        let comments = self.comments.get(self.next).is_some_and(|c| c.start < close_at);
        if items.is_empty() && !comments {
            return text("[]");
        }
        if comments || !items.iter().all(is_literal) {
            let comma = Doc::IfBroken(if items.is_empty() { "" } else { "," });
            return self.list("[", items, "]", close_at, comma, |i| i.loc, Self::expr);
        }
        let mut inner = vec![Doc::Soft];
        for (i, item) in items.iter().enumerate() {
            let mut part = Vec::new();
            if i > 0 {
                part.extend([text(","), Doc::Line]);
            }
            part.push(self.expr(item));
            inner.push(if i > 0 { group(part) } else { Doc::Concat(part) });
        }
        inner.push(Doc::IfBroken(","));
        group(vec![text("["), Doc::Nest(inner), Doc::Soft, text("]")])
    }
}

fn precedence(e: &Expr) -> u8 {
    match &e.kind {
        ExprKind::Binary { op, .. } => op.precedence(),
        ExprKind::Unary { .. } => UnaryOp::PRECEDENCE,
        ExprKind::Int(v) if *v < 0 => UnaryOp::PRECEDENCE,
        _ => POSTFIX,
    }
}

/// Whether `e` is a number or a truth value, with a sign or without.
fn is_literal(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Bool(_) => true,
        ExprKind::Unary { op: UnaryOp::Neg, operand } => {
            matches!(operand.kind, ExprKind::Int(_) | ExprKind::Float(_))
        }
        _ => false,
    }
}

/// The string as a literal.
fn quoted(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

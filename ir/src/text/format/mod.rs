//! The canonical layout of a program.
//!
//! Four spaces, one statement a line, lines of at most 100 characters where breaks allow, no parentheses but those that
//! precedence needs, one blank line between functions, and at most one, where the writer had any, between statements.
//! Comments stay where they were: above a statement, behind it, or between the elements of a list, which is then broken
//! into lines. A comment at a place where the layout has no break (behind `let`, say) moves to the next break. Printing
//! twice changes nothing, and what is printed parses to the same tree.

mod expr;

use super::ast::{Block, Dim, DimKind, DimOp, Fn, Param, Pattern, Program, Stmt, StmtKind, Type, Types};
use super::bytes;
use super::doc::{Doc, group, print, text};
use super::lexer::{Comment, lex};
use crate::error::Loc;

/// The longest line that is not broken.
const WIDTH: usize = 100;

/// The program in canonical layout. `src` is the text it was parsed from, of which the comments are taken.
pub fn format(program: &Program, src: &str) -> String {
    let comments = lex(src).comments;
    let mut f = Formatter { src, comments, next: 0, out: String::new(), indent: 0, last_end: 0, fresh: true };
    for (i, function) in program.fns.iter().enumerate() {
        f.lead(bytes(function.loc).start, i > 0);
        f.function(function);
        let after = program.fns.get(i + 1).map_or(u32::MAX, |n| bytes(n.loc).start);
        f.trail(function.loc, after);
        f.out.push('\n');
    }
    f.own_lines(u32::MAX, !program.fns.is_empty());
    f.out
}

struct Formatter<'s> {
    src: &'s str,
    comments: Vec<Comment>,
    /// The first comment that has not been printed.
    next: usize,
    out: String,
    indent: usize,
    /// Where, in `src`, the last thing printed by lines ended.
    last_end: u32,
    /// Whether nothing has been printed in this block yet.
    fresh: bool,
}

impl Formatter<'_> {
    // Comments.

    fn comment(&self, c: Comment) -> String {
        self.src.get(c.start as usize..c.end as usize).unwrap_or_default().trim_end().to_string()
    }

    /// Whether something else stands before the comment on its line.
    fn is_trailing(&self, c: Comment) -> bool {
        let before = self.src.get(..c.start as usize).unwrap_or_default();
        let line = before.rfind('\n').map_or(before, |i| &before[i + 1..]);
        !line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}').is_empty()
    }

    /// Takes the next comment if it begins before byte `end`.
    fn take(&mut self, end: u32) -> Option<Comment> {
        let c = *self.comments.get(self.next)?;
        (c.start < end).then(|| {
            self.next += 1;
            c
        })
    }

    /// Parts for the comments before byte `end`, at a place where the layout has the break `line`: they come before it,
    /// each with its own break, but the last, which uses `line`.
    fn between(&mut self, end: u32, line: Doc, into: &mut Vec<Doc>) {
        let mut first = true;
        while let Some(c) = self.take(end) {
            if first && self.is_trailing(c) {
                into.push(Doc::Trailing(self.comment(c)));
            } else {
                into.extend([Doc::Hard, Doc::Comment(self.comment(c))]);
            }
            first = false;
        }
        into.push(line);
    }

    // Lines.

    fn print(&mut self, doc: &Doc) {
        print(&mut self.out, doc, self.indent, WIDTH);
    }

    fn start_line(&mut self) {
        self.out.extend(std::iter::repeat_n(' ', self.indent));
    }

    /// Prints the comments before byte `start`, each on its line, and blank lines: one where the text has any, or before
    /// the first line in any case if `blank`.
    fn lead(&mut self, start: u32, blank: bool) {
        let commented = self.own_lines(start, blank);
        self.blank_line(start, blank && !commented);
    }

    /// Prints the comments before byte `end`, each on its line. Returns whether there were any.
    fn own_lines(&mut self, end: u32, blank: bool) -> bool {
        let mut any = false;
        while let Some(c) = self.take(end) {
            self.blank_line(c.start, blank && !any);
            self.start_line();
            self.out.push_str(&self.comment(c));
            self.out.push('\n');
            self.last_end = c.end;
            (self.fresh, any) = (false, true);
        }
        any
    }

    fn blank_line(&mut self, start: u32, blank: bool) {
        let gap = self.src.get(self.last_end as usize..start as usize).unwrap_or_default();
        if blank || (!self.fresh && gap.matches('\n').count() > 1) {
            self.out.push('\n');
        }
    }

    /// Prints the comments inside the place `loc`, which has been printed, and those behind it on its last line, up to
    /// byte `next`.
    fn trail(&mut self, loc: Loc, next: u32) {
        let end = bytes(loc).end;
        let line_end = self.src.get(end as usize..).and_then(|s| s.find('\n')).map_or(u32::MAX, |i| end + i as u32);
        self.last_end = self.last_end.max(end);
        let mut first = true;
        while let Some(c) = self.take(next.min(line_end)) {
            if first && self.is_trailing(c) {
                self.out.push_str("  ");
            } else {
                self.out.push('\n');
                self.start_line();
            }
            self.out.push_str(&self.comment(c));
            self.last_end = self.last_end.max(c.end);
            first = false;
        }
        self.fresh = false;
    }

    // Functions.

    fn function(&mut self, f: &Fn) {
        let mut parts = vec![text("fn "), text(&f.name.text)];
        let close = f.result.as_ref().map_or(bytes(f.body.loc).start, |r| bytes(r.loc).start);
        if f.params.is_empty() {
            parts.push(text("()"));
        } else {
            parts.push(self.list("(", &f.params, ")", close, Doc::IfBroken(","), |p| p.loc, Self::param));
        }
        if let Some(result) = &f.result {
            parts.extend([text(" -> "), self.types(result)]);
        }
        parts.push(text(" {"));
        self.print(&Doc::Concat(parts));
        self.block(&f.body);
        self.out.push('}');
    }

    fn param(&mut self, p: &Param) -> Doc {
        text(format!("{}: {}{}", p.name.text, if p.mutable { "mut " } else { "" }, type_text(&p.ty)))
    }

    fn types(&mut self, t: &Types) -> Doc {
        if !t.tuple {
            return text(t.items.first().map(type_text).unwrap_or_default());
        }
        self.list("(", &t.items, ")", close_of(t.loc), tuple_comma(t.items.len()), |t| t.loc, |_, t| text(type_text(t)))
    }

    /// The statements of a block, each on its line, and the newline before the closing brace, if there is anything.
    fn block(&mut self, b: &Block) {
        let (start, end) = (bytes(b.loc).start, close_of(b.loc));
        self.last_end = self.last_end.max(start);
        let starts: Vec<u32> = b
            .stmts
            .iter()
            .map(|s| bytes(s.loc).start)
            .chain(b.result.iter().map(|r| bytes(r.loc).start))
            .chain([end])
            .collect();
        let comments = self.comments.get(self.next).is_some_and(|c| c.start < end);
        if starts.len() == 1 && !comments {
            return;
        }
        self.out.push('\n');
        self.indent = 4;
        self.fresh = true;
        for (i, stmt) in b.stmts.iter().enumerate() {
            self.lead(starts[i], false);
            self.start_line();
            let doc = self.stmt(stmt);
            self.print(&doc);
            self.trail(stmt.loc, starts[i + 1]);
            self.out.push('\n');
        }
        if let Some(result) = &b.result {
            self.lead(starts[starts.len() - 2], false);
            self.start_line();
            let doc = self.expr(result);
            self.print(&doc);
            self.trail(result.loc, end);
            self.out.push('\n');
        }
        self.own_lines(end, false);
        self.indent = 0;
    }

    fn stmt(&mut self, s: &Stmt) -> Doc {
        let parts = match &s.kind {
            StmtKind::Let { pattern, ty, value } => {
                let mut parts = vec![text("let "), self.pattern(pattern)];
                if let Some(ty) = ty {
                    parts.extend([text(": "), self.types(ty)]);
                }
                parts.extend([text(" = "), self.expr(value), text(";")]);
                parts
            }
            StmtKind::Assign { place, op, value } => {
                let place = self.expr(place);
                vec![place, text(format!(" {} ", op.symbol())), self.expr(value), text(";")]
            }
            StmtKind::Expr(e) => vec![self.expr(e), text(";")],
        };
        Doc::Concat(parts)
    }

    fn pattern(&mut self, p: &Pattern) -> Doc {
        if !p.tuple {
            return text(p.names.first().map(|n| n.text.as_str()).unwrap_or_default());
        }
        self.list("(", &p.names, ")", close_of(p.loc), tuple_comma(p.names.len()), |n| n.loc, |_, n| text(&n.text))
    }

    /// A bracketed list: on one line, or with each element on its own. `close` is the byte of the closing bracket;
    /// `comma` stands behind the last element.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one list; a struct would be built only to be taken apart"
    )]
    fn list<T>(
        &mut self,
        open: &str,
        items: &[T],
        close: &str,
        close_at: u32,
        comma: Doc,
        loc: impl std::ops::Fn(&T) -> Loc,
        mut item: impl FnMut(&mut Self, &T) -> Doc,
    ) -> Doc {
        let mut inner = Vec::new();
        for (i, it) in items.iter().enumerate() {
            if i > 0 {
                inner.push(text(","));
            }
            self.between_elements(i == 0, bytes(loc(it)).start, &mut inner);
            inner.push(item(self, it));
        }
        inner.push(comma);
        let mut last = Vec::new();
        self.between(close_at, Doc::Soft, &mut last);
        last.pop();
        inner.extend(last);
        group(vec![text(open), Doc::Nest(inner), Doc::Soft, text(close)])
    }

    /// The break before an element, with the comments there. Those before the first stand on lines of their own, since
    /// what is behind a bracket would look as if it were about what is before it.
    fn between_elements(&mut self, first: bool, start: u32, inner: &mut Vec<Doc>) {
        if !first {
            return self.between(start, Doc::Line, inner);
        }
        while let Some(c) = self.take(start) {
            inner.extend([Doc::Hard, Doc::Comment(self.comment(c))]);
        }
        inner.push(Doc::Soft);
    }
}

/// The byte of the bracket that ends the place.
fn close_of(loc: Loc) -> u32 {
    bytes(loc).end.saturating_sub(1)
}

/// The comma behind the last of `len` elements of a tuple.
fn tuple_comma(len: usize) -> Doc {
    if len == 1 { text(",") } else { Doc::IfBroken(",") }
}

fn type_text(t: &Type) -> String {
    if t.dims.is_empty() {
        return t.dtype.name().to_string();
    }
    let dims: Vec<String> = t.dims.iter().map(|d| dim_text(d, 0)).collect();
    format!("{}[{}]", t.dtype, dims.join(", "))
}

/// A dim inside operators that bind with `min`: 0 none, 1 `+` and `-`, 2 their right side or `*`, 3 the right side of `*`.
fn dim_text(d: &Dim, min: u8) -> String {
    match &d.kind {
        DimKind::Int(v) => v.to_string(),
        DimKind::Size(s) => s.clone(),
        DimKind::Bin(op, left, right) => {
            let prec = if *op == DimOp::Mul { 2 } else { 1 };
            let s = format!("{} {} {}", dim_text(left, prec), op.symbol(), dim_text(right, prec + 1));
            if prec < min { format!("({s})") } else { s }
        }
    }
}

#[cfg(test)]
mod tests;

//! Bracketed lists, and where to go on after an error.
//!
//! Every list of the grammar is parsed by [`Parser::list`]. The tokens at which dropping stops are those that cannot
//! stand inside an expression: `;`, `let`, `fn` and the braces.

use super::{Parsed, Parser, Skip};
use crate::error::Loc;
use crate::text::lexer::{Tok, Token};

/// The form of a list.
pub(super) struct ListForm {
    /// The closing bracket.
    pub(super) close: Tok,
    /// What an element is called in messages: "an argument".
    pub(super) element: &'static str,
    /// Whether a comma may stand before the closing bracket.
    pub(super) trailing: bool,
}

impl Parser<'_> {
    /// Parses elements up to the closing bracket; `open`, the opening one, has been taken. Returns the elements and
    /// whether a comma stood behind the last.
    ///
    /// Elements that fail are left out (an error has been reported then). `Err` only if the whole statement must be
    /// given up.
    pub(super) fn list<T>(
        &mut self,
        open: Token,
        form: &ListForm,
        mut element: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<(Vec<T>, bool)> {
        self.closers.push(form.close);
        let result = self.elements(open, form, &mut element);
        self.closers.pop();
        result
    }

    fn elements<T>(
        &mut self,
        open: Token,
        form: &ListForm,
        element: &mut impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<(Vec<T>, bool)> {
        let mut items = Vec::new();
        let mut comma = false;
        loop {
            if self.at(form.close) {
                if comma && !form.trailing {
                    self.expected(form.element);
                }
                self.next();
                return Ok((items, comma));
            }
            if self.stops_list() {
                self.unclosed(open, form);
                self.wrong_closer();
                return Ok((items, comma));
            }
            match element(self) {
                Ok(item) => items.push(item),
                Err(Skip::Stmt) => return Err(Skip::Stmt),
                Err(Skip::Element) => self.skip_element(),
            }
            comma = self.eat(Tok::Comma).is_some();
            if comma || self.at(form.close) {
                continue;
            }
            if self.starts_element() && !self.on_new_line_start() {
                // A missing comma: say so and go on as if it were there.
                let e = self
                    .expected_error(&format!("`,` or {}", form.close.quoted()))
                    .note(open.loc(), format!("{} opened here", open.tok.quoted()))
                    .help("a comma is missing");
                self.report(e);
                comma = true;
                continue;
            }
            self.unclosed(open, form);
            self.skip_element();
            if self.eat(Tok::Comma).is_some() || self.at(form.close) {
                continue;
            }
            self.wrong_closer();
            return Ok((items, comma));
        }
    }

    fn unclosed(&mut self, open: Token, form: &ListForm) {
        let e = self
            .expected_error(&format!("`,` or {}", form.close.quoted()))
            .note(open.loc(), format!("{} opened here", open.tok.quoted()));
        self.report(e);
    }

    /// A closing bracket of another sort ends a list too, unless a list further out waits for it.
    fn wrong_closer(&mut self) {
        if matches!(self.peek(), Tok::RParen | Tok::RBracket) && !self.closers.contains(&self.peek()) {
            self.next();
        }
    }

    /// Whether the token ends a list or begins what no list holds.
    fn stops_list(&self) -> bool {
        matches!(self.peek(), Tok::Semi | Tok::Let | Tok::Fn | Tok::LBrace | Tok::RBrace | Tok::Arrow | Tok::End)
            || matches!(self.peek(), Tok::RParen | Tok::RBracket)
    }

    fn starts_element(&self) -> bool {
        matches!(self.peek(), Tok::Name | Tok::Int | Tok::Float | Tok::Str | Tok::True | Tok::False | Tok::DType)
    }

    /// Whether the token begins a line and looks like a statement, so that a bracket rather than a comma is missing.
    fn on_new_line_start(&self) -> bool {
        let writes = matches!(self.ahead(1).tok, Tok::Set | Tok::AddSet | Tok::SubSet | Tok::MulSet | Tok::DivSet);
        self.on_new_line() && (writes || self.ahead(1).tok == Tok::Dot)
    }

    /// Drops tokens up to a comma or closing bracket of this level, or to what no list holds.
    fn skip_element(&mut self) {
        let mut inner = 0usize;
        loop {
            match self.peek() {
                Tok::LParen | Tok::LBracket => inner += 1,
                Tok::RParen | Tok::RBracket if inner > 0 => inner -= 1,
                Tok::Comma if inner == 0 => return,
                _ if self.stops_list() => return,
                _ => {}
            }
            self.next();
        }
    }

    /// Drops tokens up to where a statement may begin: behind the `;`, or at `let`, `fn`, the block's `}` or the end.
    /// Text in braces, which is some other language's block, is dropped with its braces.
    pub(super) fn skip_stmt(&mut self) {
        let mut braces = 0usize;
        loop {
            match self.peek() {
                Tok::End | Tok::Fn => return,
                Tok::Let | Tok::RBrace if braces == 0 => return,
                Tok::Semi if braces == 0 => {
                    self.next();
                    return;
                }
                Tok::LBrace => braces += 1,
                Tok::RBrace => {
                    braces -= 1;
                    let again = self.ahead(1);
                    if braces == 0 && !matches!(self.text(again), "else" | "elif") {
                        self.next();
                        return;
                    }
                }
                _ => {}
            }
            self.next();
        }
    }

    /// Drops tokens up to the next function, or up to a `{` if `brace`.
    pub(super) fn skip_to_fn(&mut self, brace: bool) {
        let here = |p: &Self| matches!(p.peek(), Tok::End | Tok::Fn) || brace && p.at(Tok::LBrace);
        while !here(self) {
            self.next();
        }
    }

    /// The place of a bracketed part that began at `open`.
    pub(super) fn bracketed(&self, open: Token) -> Loc {
        self.since(open.start)
    }
}

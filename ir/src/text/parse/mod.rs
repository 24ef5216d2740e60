//! Tokens to syntax tree, by recursive descent.
//!
//! The idea: one function for each rule of the grammar. A rule that fails reports once and returns [`Skip`], which says
//! how far up the error goes; the list or the statement that catches it drops tokens up to a place where it can go on
//! (the comma, the `;`, the closing bracket, the next `let` or `fn`), so that every mistake of a file is found in one
//! go. A tree comes out only if there was no error at all, so what stands in for a faulty part is never seen.

mod expr;
mod item;
mod list;
mod stmt;
#[cfg(test)]
mod tests;

use super::MAX_DEPTH;
use super::ast::{Expr, Name, Program};
use super::check;
use super::lexer::{Comment, Tok, Token, lex};
use crate::error::{Error, Loc, err};

/// No more errors than this are reported for one text.
const MAX_ERRORS: usize = 100;

/// Parses a file, and checks what can be checked without knowing any op: names defined twice, sizes that nothing binds.
///
/// # Errors
///
/// All errors of the text (the first hundred), in the order of their places, of kind `syntax` or `name`.
pub fn parse(src: &str) -> Result<Program, Vec<Error>> {
    let mut p = Parser::new(src);
    let program = p.program();
    check::functions(&program, &mut p.errors);
    p.finish(program)
}

/// Parses one expression, which must be all of the text: `x[1:]`, `2.5`.
///
/// # Errors
///
/// All syntax errors of the text, in the order of their places.
pub fn parse_expr(src: &str) -> Result<Expr, Vec<Error>> {
    let mut p = Parser::new(src);
    let Ok(expr) = p.expr() else { return Err(p.sorted_errors()) };
    if !p.at(Tok::End) {
        p.expected("the end of the expression");
    }
    p.finish(expr)
}

/// The error has been reported; this says who goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    /// The list around the faulty element, else the statement.
    Element,
    /// The statement, whatever lists are in between.
    Stmt,
}

type Parsed<T> = Result<T, Skip>;

struct Parser<'s> {
    src: &'s str,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
    pos: usize,
    errors: Vec<Error>,
    /// The position in `tokens` of the last report: a second complaint about the same token says nothing new.
    reported: Option<usize>,
    /// How deep the recursion is.
    depth: u32,
    /// The height of the tree that was made last.
    height: u32,
    /// The closing brackets that the lists being parsed wait for.
    closers: Vec<Tok>,
}

impl<'s> Parser<'s> {
    fn new(src: &'s str) -> Parser<'s> {
        let lexed = lex(src);
        Parser {
            src,
            tokens: lexed.tokens,
            comments: lexed.comments,
            pos: 0,
            errors: lexed.errors,
            reported: None,
            depth: 0,
            height: 0,
            closers: Vec::new(),
        }
    }

    fn finish<T>(self, tree: T) -> Result<T, Vec<Error>> {
        if self.errors.is_empty() { Ok(tree) } else { Err(self.sorted_errors()) }
    }

    fn sorted_errors(mut self) -> Vec<Error> {
        self.errors.sort_by_key(|e| super::bytes(e.diagnostic().loc).start);
        self.errors.truncate(MAX_ERRORS);
        self.errors
    }

    // Looking at tokens.

    /// The token `n` ahead. Behind the last one stands an empty [`Tok::End`].
    fn ahead(&self, n: usize) -> Token {
        self.tokens.get(self.pos + n).copied().unwrap_or_else(|| {
            let end = self.tokens.last().map_or(0, |t| t.end);
            Token { tok: Tok::End, start: end, end }
        })
    }

    fn token(&self) -> Token {
        self.ahead(0)
    }

    fn peek(&self) -> Tok {
        self.token().tok
    }

    fn at(&self, tok: Tok) -> bool {
        self.peek() == tok
    }

    fn next(&mut self) -> Token {
        let t = self.token();
        self.pos = (self.pos + 1).min(self.tokens.len());
        t
    }

    fn eat(&mut self, tok: Tok) -> Option<Token> {
        self.at(tok).then(|| self.next())
    }

    fn text(&self, t: Token) -> &'s str {
        &self.src[t.start as usize..t.end as usize]
    }

    /// Where the token before the current one ends.
    fn prev_end(&self) -> u32 {
        self.pos.checked_sub(1).and_then(|i| self.tokens.get(i)).map_or(0, |t| t.end)
    }

    /// From byte `start` to the end of the last token taken.
    fn since(&self, start: u32) -> Loc {
        Loc::Text { start, end: self.prev_end().max(start) }
    }

    /// The empty place behind the last token taken, where something is missing.
    fn gap(&self) -> Loc {
        Loc::Text { start: self.prev_end(), end: self.prev_end() }
    }

    /// Whether the current token is the first of its line.
    fn on_new_line(&self) -> bool {
        self.src[self.prev_end() as usize..self.token().start as usize].contains('\n')
    }

    /// How a message names the token.
    fn describe(&self, t: Token) -> String {
        match t.tok {
            Tok::Name => format!("name `{}`", self.text(t)),
            Tok::Fn | Tok::Let | Tok::Mut | Tok::True | Tok::False | Tok::None => {
                format!("keyword `{}`", self.text(t))
            }
            Tok::Str => "a string".to_string(),
            Tok::End => "the end of the text".to_string(),
            _ => format!("`{}`", self.text(t)),
        }
    }

    // Reporting.

    /// Reports an error about the current token, unless that token had one already.
    fn report(&mut self, e: Error) {
        if self.reported != Some(self.pos) && !self.at(Tok::Bad) && self.errors.len() < MAX_ERRORS {
            self.errors.push(e);
        }
        self.reported = Some(self.pos);
    }

    /// Reports an error about something else than the current token.
    fn report_at(&mut self, loc: Loc, e: Error) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(e.at(loc));
        }
    }

    /// Reports that the current token is not `what` is expected.
    fn expected(&mut self, what: &str) {
        let e = self.expected_error(what);
        self.report(e);
    }

    fn expected_error(&self, what: &str) -> Error {
        let t = self.token();
        err::syntax(format!("expected {what}, found {}", self.describe(t)))
            .at(t.loc())
            .label(format!("expected {what}"))
    }

    fn fail<T>(&mut self, what: &str) -> Parsed<T> {
        self.expected(what);
        Err(Skip::Element)
    }

    /// Takes the token `tok`; `where_` says what it belongs to.
    fn expect(&mut self, tok: Tok, where_: &str) -> Parsed<Token> {
        if self.at(tok) { Ok(self.next()) } else { self.fail(&format!("{} {where_}", tok.quoted())) }
    }

    /// Takes a name that the program defines or uses; `what` says which.
    fn name(&mut self, what: &str) -> Parsed<Name> {
        let t = self.token();
        if t.tok == Tok::Name {
            self.next();
            return Ok(Name { text: self.text(t).to_string(), loc: t.loc() });
        }
        let mut e = self.expected_error(what);
        if matches!(t.tok, Tok::Fn | Tok::Let | Tok::Mut | Tok::True | Tok::False | Tok::None)
            || matches!(self.text(t), "inf" | "nan")
        {
            e = e.help(format!("`{}` is a word of the language and cannot be a name", self.text(t)));
        } else if t.tok == Tok::DType {
            e = e.help(format!("`{}` is a dtype and cannot be a name", self.text(t)));
        }
        self.report(e);
        Err(Skip::Element)
    }

    // Bounds.

    /// Runs a rule one level deeper.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return self.too_deep(self.token().loc());
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    /// Notes that a tree was made above others, the highest of which has this height.
    fn grow(&mut self, below: u32, loc: Loc) -> Parsed<()> {
        self.height = below + 1;
        if self.height > MAX_DEPTH { self.too_deep(loc) } else { Ok(()) }
    }

    fn too_deep<T>(&mut self, loc: Loc) -> Parsed<T> {
        let e = err::syntax(format!("more than {MAX_DEPTH} levels of nesting"))
            .at(loc)
            .help("give names to the parts with `let`");
        self.report(e);
        Err(Skip::Stmt)
    }
}

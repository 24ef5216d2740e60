//! Blocks and statements.

use super::list::ListForm;
use super::{Parsed, Parser, Skip};
use crate::error::{Loc, err};
use crate::text::ast::{AssignOp, Block, Expr, ExprKind, Pattern, Stmt, StmtKind};
use crate::text::lexer::{Tok, Token};

const NAMES: ListForm = ListForm { close: Tok::RParen, element: "a name", trailing: true };

impl Parser<'_> {
    /// The statements up to the closing brace; the opening one has been taken.
    pub(super) fn block(&mut self, open: Token) -> Block {
        let mut block = Block { stmts: Vec::new(), result: None, loc: Loc::Unknown };
        loop {
            match self.peek() {
                Tok::RBrace => {
                    self.next();
                    break;
                }
                Tok::End | Tok::Fn => {
                    let e = self.expected_error("`}`").note(open.loc(), "`{` opened here");
                    self.report(e);
                    break;
                }
                Tok::Semi => {
                    let e = self.expected_error("a statement").help("remove the `;`");
                    self.report(e);
                    self.next();
                    continue;
                }
                _ => {}
            }
            let before = self.pos;
            let parsed = if self.at(Tok::Let) { self.let_stmt().map(Item::Stmt) } else { self.expr_stmt() };
            match parsed {
                Ok(Item::Stmt(stmt)) => block.stmts.push(stmt),
                Ok(Item::Result(expr)) => block.result = Some(expr),
                Err(_) => {
                    self.skip_stmt();
                    // A token at which skipping stops but no statement begins would be met for ever.
                    if self.pos == before {
                        self.next();
                    }
                }
            }
        }
        block.loc = self.since(open.start);
        block
    }

    fn let_stmt(&mut self) -> Parsed<Stmt> {
        let start = self.next().start;
        if self.at(Tok::Mut) {
            let e = err::syntax("`mut` belongs to parameters")
                .at(self.token().loc())
                .label("not needed here")
                .help("remove it: what `let` names may always be written to");
            self.report(e);
            self.next();
        }
        let pattern = self.pattern()?;
        let ty = if self.eat(Tok::Colon).is_some() { Some(self.types()?) } else { None };
        if self.eat(Tok::Set).is_none() {
            let mut e = self.expected_error("`=` and a value");
            if self.at(Tok::Eq) {
                e = e.help("`==` compares; `=` gives the name its value");
            }
            self.report(e);
            return Err(Skip::Element);
        }
        let value = self.expr()?;
        self.end_stmt()?;
        Ok(Stmt { kind: StmtKind::Let { pattern, ty, value }, loc: self.since(start) })
    }

    fn pattern(&mut self) -> Parsed<Pattern> {
        let Some(open) = self.eat(Tok::LParen) else {
            let name = self.name("a name")?;
            return Ok(Pattern { loc: name.loc, names: vec![name], tuple: false });
        };
        if self.at(Tok::RParen) {
            self.expected("a name");
        }
        let (names, comma) = self.list(open, &NAMES, |p| p.name("a name"))?;
        let tuple = comma || names.len() != 1;
        Ok(Pattern { names, tuple, loc: self.bracketed(open) })
    }

    /// An expression statement, an assignment, or the result of the block.
    fn expr_stmt(&mut self) -> Parsed<Item> {
        self.foreign()?;
        let first = self.token();
        let expr = self.expr()?;
        let op = match self.peek() {
            // At the end or `fn` the brace is missing, which the block reports.
            Tok::RBrace | Tok::End | Tok::Fn => return Ok(Item::Result(expr)),
            Tok::Set => AssignOp::Set,
            Tok::AddSet => AssignOp::Add,
            Tok::SubSet => AssignOp::Sub,
            Tok::MulSet => AssignOp::Mul,
            Tok::DivSet => AssignOp::Div,
            // The lexer has complained; the rest is parsed for its own errors.
            Tok::OtherSet => AssignOp::Add,
            _ => {
                self.end_stmt()?;
                return Ok(Item::Stmt(Stmt { kind: StmtKind::Expr(expr), loc: self.since(first.start) }));
            }
        };
        self.check_place(&expr, op);
        self.next();
        let value = self.expr()?;
        self.end_stmt()?;
        Ok(Item::Stmt(Stmt { kind: StmtKind::Assign { place: expr, op, value }, loc: self.since(first.start) }))
    }

    /// Takes the `;`. If it is missing where the statement plainly ends, reports that and goes on.
    fn end_stmt(&mut self) -> Parsed<()> {
        if self.eat(Tok::Semi).is_some() {
            return Ok(());
        }
        let ends = matches!(self.peek(), Tok::RBrace | Tok::Let | Tok::Fn | Tok::End);
        let begins = matches!(self.peek(), Tok::Name | Tok::Int | Tok::Float | Tok::Str | Tok::DType | Tok::None);
        let plain = self.on_new_line() || ends || begins;
        if plain {
            let gap = self.gap();
            let mut e = err::syntax(format!("expected `;`, found {}", self.describe(self.token()))).at(gap);
            e = e.label("expected `;`");
            e = if self.comment_may_be_division() {
                e.help("`//` begins a comment; the division is `floor_divide(a, b)`")
            } else {
                e.help("add `;` here")
            };
            self.report(e);
            return Ok(());
        }
        let mut e = self.expected_error("`;`");
        if self.at(Tok::Set) {
            e = e.help("`=` writes and has no value; to compare, write `==`");
        } else if self.at(Tok::LBrace) {
            e = e.help("a block stands only behind the header of a function");
        }
        self.report(e);
        Err(Skip::Element)
    }

    /// Whether a comment that ends as a statement does follows the last token: `a // b;`
    fn comment_may_be_division(&self) -> bool {
        let (from, to) = (self.prev_end(), self.token().start);
        let first = self.comments.partition_point(|c| c.start < from);
        self.comments.get(first).is_some_and(|c| {
            let before = &self.src[from as usize..c.start as usize];
            let text = &self.src[c.start as usize..c.end as usize];
            c.start < to && !before.contains('\n') && text.trim_end().ends_with(';')
        })
    }

    /// Reports a left side that cannot be written to; the current token is the operator.
    fn check_place(&mut self, place: &Expr, op: AssignOp) {
        let e = match &place.kind {
            ExprKind::Name(name) if op == AssignOp::Set => {
                err::syntax(format!("`{name} = …` does not rebind `{name}`")).label("a whole variable").help(format!(
                    "`let {name} = …;` for a new value, `{name}.copy_(…);` to write into {name}'s memory"
                ))
            }
            _ if is_place(place) => return,
            ExprKind::Tuple(_) | ExprKind::List(_) => err::syntax("a tuple cannot be written to")
                .help("`let (a, b) = …;` gives names to new values; write to one tensor at a time"),
            ExprKind::Call { callee, .. } => err::syntax("the result of a call cannot be written to")
                .help(format!("name it with `let`, or write it as a view of a variable: `x.{}(…)`", callee.text)),
            _ if op == AssignOp::Set => {
                err::syntax("this expression cannot be written to").help("to compare, write `==`")
            }
            _ => err::syntax("this expression cannot be written to")
                .help("write to a variable, or to an indexing or a view of one"),
        };
        self.report(e.at(place.loc));
    }

    /// Reports a statement that other languages have, where one is written.
    fn foreign(&mut self) -> Parsed<()> {
        let t = self.token();
        let next = self.ahead(1).tok;
        let used = matches!(next, Tok::Set | Tok::AddSet | Tok::SubSet | Tok::MulSet | Tok::DivSet | Tok::Dot)
            || matches!(next, Tok::Semi | Tok::RBrace);
        if t.tok != Tok::Name || used {
            return Ok(());
        }
        let flow = "control flow is `where(c, a, b)`, `cond(p, f, g, (a, b))`, `while_loop(f, g, (a, b))` and `scan`";
        match self.text(t) {
            "return" => {
                let e = err::syntax("there is no `return`").at(t.loc());
                self.report(e.help("the result of a function is the last expression of its block, without `;`"));
                self.next();
                Ok(())
            }
            word @ ("if" | "for" | "while" | "match" | "loop" | "with" | "else" | "elif") => {
                let e = err::syntax(format!("there is no `{word}` statement")).at(t.loc()).help(flow);
                self.report(e);
                Err(Skip::Stmt)
            }
            word @ ("var" | "const" | "val" | "auto") if next == Tok::Name => {
                let e = err::syntax(format!("there is no `{word}`")).at(t.loc()).help("write `let`");
                self.report(e);
                Err(Skip::Stmt)
            }
            _ => Ok(()),
        }
    }
}

/// What a statement that begins with an expression turned out to be.
enum Item {
    Stmt(Stmt),
    Result(Expr),
}

/// Whether `e` is a name, or indexing, members and methods of one.
fn is_place(mut e: &Expr) -> bool {
    loop {
        e = match &e.kind {
            ExprKind::Name(_) => return true,
            ExprKind::Index { base, .. } | ExprKind::Member { base, .. } => base,
            ExprKind::Method { receiver, .. } => receiver,
            _ => return false,
        }
    }
}

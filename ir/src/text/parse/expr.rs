//! Expressions, by precedence climbing.

use super::list::ListForm;
use super::{Parsed, Parser, Skip};
use crate::dtype::DType;
use crate::error::{Loc, err};
use crate::text::ast::{Arg, BinaryOp, Expr, ExprKind, Float, Index, IndexKind, Name, UnaryOp};
use crate::text::lexer::{Tok, Token};

const ARGS: ListForm = ListForm { close: Tok::RParen, element: "an argument", trailing: true };
const TUPLE: ListForm = ListForm { close: Tok::RParen, element: "an expression", trailing: true };
const LIST: ListForm = ListForm { close: Tok::RBracket, element: "an expression", trailing: true };
const INDICES: ListForm = ListForm { close: Tok::RBracket, element: "an index", trailing: false };

/// The digits of 2^63, which only fit behind a minus sign.
const MIN_DIGITS: &str = "9223372036854775808";

impl Parser<'_> {
    /// Any expression. Leaves its height in `self.height`, as every function here does.
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.nested(|p| p.binary(1))
    }

    /// Operators that bind at least as tightly as `min`.
    fn binary(&mut self, min: u8) -> Parsed<Expr> {
        let mut left = self.unary()?;
        let mut comparison: Option<Token> = None;
        while let Some(op) = binary_op(self.peek()).filter(|op| op.precedence() >= min) {
            let below = self.height;
            if op.is_comparison() {
                if let Some(first) = comparison {
                    let e = err::syntax("comparisons do not chain")
                        .at(self.token().loc())
                        .label("the second comparison")
                        .note(first.loc(), "the first comparison")
                        .help("write `(a < b) & (b < c)`, or parentheses around the comparison that is meant first");
                    self.report(e);
                }
                comparison = Some(self.token());
            }
            self.next();
            let right = self.nested(|p| p.binary(op.precedence() + 1))?;
            let loc = left.loc.to(right.loc);
            self.grow(below.max(self.height), loc)?;
            left = Expr { kind: ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) }, loc };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let t = self.token();
        let op = match t.tok {
            Tok::Minus => UnaryOp::Neg,
            Tok::Bang => UnaryOp::Not,
            _ => return self.power(),
        };
        self.next();
        if op == UnaryOp::Neg && self.at(Tok::Int) && self.text(self.token()) == MIN_DIGITS {
            let binds_tighter = matches!(self.ahead(1).tok, Tok::Pow | Tok::Dot | Tok::LBracket);
            if !binds_tighter {
                self.next();
                self.height = 1;
                return Ok(Expr { kind: ExprKind::Int(i64::MIN), loc: self.since(t.start) });
            }
        }
        let operand = self.nested(Self::unary)?;
        let loc = self.since(t.start);
        self.grow(self.height, loc)?;
        Ok(Expr { kind: ExprKind::Unary { op, operand: Box::new(operand) }, loc })
    }

    /// `a ** b`: right associative, and `b` may have a sign.
    fn power(&mut self) -> Parsed<Expr> {
        let left = self.postfix()?;
        if self.eat(Tok::Pow).is_none() {
            return Ok(left);
        }
        let below = self.height;
        let right = self.nested(Self::unary)?;
        let loc = left.loc.to(right.loc);
        self.grow(below.max(self.height), loc)?;
        Ok(Expr { kind: ExprKind::Binary { op: BinaryOp::Pow, left: Box::new(left), right: Box::new(right) }, loc })
    }

    /// Indexing, members and methods.
    fn postfix(&mut self) -> Parsed<Expr> {
        let mut base = self.primary()?;
        loop {
            let below = self.height;
            let Loc::Text { start, .. } = base.loc else { return Ok(base) };
            let kind = match self.peek() {
                Tok::LBracket => {
                    let indices = self.indices()?;
                    ExprKind::Index { base: Box::new(base), indices }
                }
                Tok::Dot => {
                    self.next();
                    let name = self.member_name()?;
                    if self.at(Tok::LParen) {
                        let args = self.args()?;
                        ExprKind::Method { receiver: Box::new(base), name, args }
                    } else {
                        self.height = 0;
                        ExprKind::Member { base: Box::new(base), name }
                    }
                }
                Tok::LParen if !self.on_new_line() => {
                    let e = err::syntax("only a function's name can be called").at(base.loc).label("this is called");
                    let e = match &base.kind {
                        ExprKind::DType(d) => e.help(format!("to convert, write `x.to({d})`")),
                        _ => e.help("an operator or a `;` may be missing"),
                    };
                    self.report(e);
                    self.args()?;
                    return Err(Skip::Element);
                }
                _ => return Ok(base),
            };
            let loc = self.since(start);
            self.grow(below.max(self.height), loc)?;
            base = Expr { kind, loc };
        }
    }

    fn member_name(&mut self) -> Parsed<Name> {
        if self.at(Tok::DType) {
            let dtype = self.text(self.token());
            let e = self.expected_error("a name").help(format!("to convert, write `x.to({dtype})`"));
            self.report(e);
            return Err(Skip::Element);
        }
        self.name("a name")
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let t = self.token();
        self.height = 1;
        let kind = match t.tok {
            Tok::Int => {
                self.next();
                ExprKind::Int(self.int(t))
            }
            Tok::Float => {
                self.next();
                ExprKind::Float(float(self.text(t)))
            }
            Tok::True | Tok::False => {
                self.next();
                ExprKind::Bool(t.tok == Tok::True)
            }
            Tok::None => {
                self.next();
                ExprKind::None
            }
            Tok::Str => {
                self.next();
                ExprKind::Str(self.string(t))
            }
            Tok::DType => {
                self.next();
                // The lexer's dtypes are `DType`'s, and a test holds it to that.
                ExprKind::DType(DType::from_name(self.text(t)).unwrap_or(DType::F32))
            }
            Tok::Name => {
                self.next();
                if !self.at(Tok::LParen) {
                    ExprKind::Name(self.text(t).to_string())
                } else {
                    let args = self.args()?;
                    let callee = Name { text: self.text(t).to_string(), loc: t.loc() };
                    self.grow(self.height, self.since(t.start))?;
                    ExprKind::Call { callee, args }
                }
            }
            Tok::LParen => return self.parenthesized(),
            Tok::LBracket => {
                self.next();
                let items = self.exprs(t, &LIST)?.0;
                self.grow(self.height, self.since(t.start))?;
                ExprKind::List(items)
            }
            Tok::Mut => {
                let e = err::syntax("`mut` stands only before the type of a parameter").at(t.loc());
                self.report(e.help("remove it: what may be written to is said where the parameter is declared"));
                return Err(Skip::Element);
            }
            Tok::Plus => {
                let e = self.expected_error("an expression").help("there is no `+` before an expression");
                self.report(e);
                return Err(Skip::Element);
            }
            _ => return self.fail("an expression"),
        };
        Ok(Expr { kind, loc: self.since(t.start) })
    }

    /// `(a)`, which is `a`, or a tuple.
    fn parenthesized(&mut self) -> Parsed<Expr> {
        let open = self.next();
        if self.at(Tok::RParen) {
            self.expected("an expression");
        }
        let (mut items, comma) = self.exprs(open, &TUPLE)?;
        let loc = self.bracketed(open);
        if items.len() == 1 && !comma {
            // `exprs` left the height of the one item.
            return Ok(Expr { kind: items.remove(0).kind, loc });
        }
        self.grow(self.height, loc)?;
        Ok(Expr { kind: ExprKind::Tuple(items), loc })
    }

    /// The expressions up to the closing bracket. Leaves the greatest height.
    fn exprs(&mut self, open: Token, form: &ListForm) -> Parsed<(Vec<Expr>, bool)> {
        let mut height = 0;
        let result = self.list(open, form, |p| {
            let e = p.expr()?;
            p.no_assignment()?;
            height = height.max(p.height);
            Ok(e)
        })?;
        self.height = height;
        Ok(result)
    }

    /// Refuses `=` behind an expression that is part of another.
    fn no_assignment(&mut self) -> Parsed<()> {
        if !self.at(Tok::Set) {
            return Ok(());
        }
        let e = err::syntax("`=` inside an expression").at(self.token().loc()).help("to compare, write `==`");
        self.report(e);
        Err(Skip::Element)
    }

    /// `(args)`. Leaves the greatest height.
    fn args(&mut self) -> Parsed<Vec<Arg>> {
        let open = self.next();
        let mut height = 0;
        let mut keywords: Vec<Name> = Vec::new();
        let (args, _) = self.list(open, &ARGS, |p| {
            let mut name = None;
            // `nan` is a word of the language, and a keyword of `nan_to_num`.
            let t = p.token();
            if (t.tok == Tok::Name || p.text(t) == "nan") && p.ahead(1).tok == Tok::Set {
                let keyword = Name { text: p.text(t).to_string(), loc: t.loc() };
                p.next();
                p.next();
                if let Some(first) = keywords.iter().find(|k| k.text == keyword.text) {
                    let e = err::name(format!("the argument `{}` is given twice", keyword.text))
                        .note(first.loc, "first given here");
                    p.report_at(keyword.loc, e);
                }
                keywords.push(keyword.clone());
                name = Some(keyword);
            }
            let value = p.expr()?;
            p.no_assignment()?;
            if let (None, Some(first)) = (&name, keywords.first()) {
                let e = err::syntax("a positional argument behind a keyword argument")
                    .label("this has no keyword")
                    .note(first.loc, "the first keyword argument")
                    .help("put it before the keywords; if the keyword was to compare, write `==`");
                p.report_at(value.loc, e);
            }
            height = height.max(p.height);
            Ok(Arg { name, value })
        })?;
        self.height = height;
        Ok(args)
    }

    /// `[indices]`. Leaves the greatest height.
    fn indices(&mut self) -> Parsed<Vec<Index>> {
        let open = self.next();
        if self.at(Tok::RBracket) {
            let e = self.expected_error("an index").help("`x[...]` is all of x");
            self.report(e);
        }
        let mut height = 0;
        let (indices, _) = self.list(open, &INDICES, |p| {
            p.height = 0;
            let start = p.token().start;
            let kind = p.index(&mut height)?;
            Ok(Index { kind, loc: p.since(start) })
        })?;
        self.height = height;
        Ok(indices)
    }

    fn index(&mut self, height: &mut u32) -> Parsed<IndexKind> {
        if self.eat(Tok::Ellipsis).is_some() {
            return Ok(IndexKind::Ellipsis);
        }
        let start = self.bound(height)?;
        if self.eat(Tok::Colon).is_none() {
            return match start {
                Some(e) if e.kind == ExprKind::None => Ok(IndexKind::NewAxis),
                Some(e) => Ok(IndexKind::Expr(*e)),
                None => self.fail("an index"),
            };
        }
        let stop = self.bound(height)?;
        let step = if self.eat(Tok::Colon).is_some() { self.bound(height)? } else { None };
        Ok(IndexKind::Slice { start: none(start), stop: none(stop), step: none(step) })
    }

    /// A bound of a slice, if one is written.
    fn bound(&mut self, height: &mut u32) -> Parsed<Option<Box<Expr>>> {
        if matches!(self.peek(), Tok::Colon | Tok::Comma | Tok::RBracket) {
            return Ok(None);
        }
        let e = self.expr()?;
        self.no_assignment()?;
        *height = (*height).max(self.height);
        Ok(Some(Box::new(e)))
    }

    /// The value of an integer token that has been taken.
    pub(super) fn int(&mut self, t: Token) -> i64 {
        let text = self.text(t);
        text.parse().unwrap_or_else(|_| {
            // Other digits than decimal ones were reported by the lexer.
            if text.bytes().all(|b| b.is_ascii_digit()) {
                let e = err::syntax(format!("the integer `{text}` does not fit in 64 bits"));
                self.report_at(t.loc(), e.help("write a float, `1.0` or `1e3`, if one is meant"));
            }
            0
        })
    }

    /// The value of a string token that has been taken.
    fn string(&mut self, t: Token) -> String {
        let text = self.text(t);
        let mut out = String::with_capacity(text.len());
        let inner = text.strip_prefix('"').unwrap_or("");
        let mut chars = inner.strip_suffix('"').unwrap_or(inner).char_indices();
        while let Some((i, c)) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, 'r')) => out.push('\r'),
                Some((_, '0')) => out.push('\0'),
                Some((_, c @ ('\\' | '"'))) => out.push(c),
                Some((_, c)) => {
                    let start = t.start + 1 + i as u32;
                    let loc = Loc::Text { start, end: start + 1 + c.len_utf8() as u32 };
                    let e = err::syntax(format!("there is no escape `\\{c}`"));
                    self.report_at(loc, e.help("the escapes are \\n \\t \\r \\0 \\\\ and \\\""));
                }
                // An unclosed string, already reported.
                None => {}
            }
        }
        out
    }
}

/// Drops a bound that is written as `None`.
fn none(bound: Option<Box<Expr>>) -> Option<Box<Expr>> {
    bound.filter(|e| e.kind != ExprKind::None)
}

fn float(text: &str) -> Float {
    let value = match text {
        "inf" => f64::INFINITY,
        "nan" => f64::NAN,
        // What does not parse was reported by the lexer.
        _ => text.parse().unwrap_or(0.0),
    };
    Float { value, text: text.to_string() }
}

fn binary_op(tok: Tok) -> Option<BinaryOp> {
    Some(match tok {
        Tok::At => BinaryOp::MatMul,
        Tok::Star => BinaryOp::Mul,
        Tok::Slash => BinaryOp::Div,
        Tok::Percent => BinaryOp::Rem,
        Tok::Plus => BinaryOp::Add,
        Tok::Minus => BinaryOp::Sub,
        Tok::Shl => BinaryOp::Shl,
        Tok::Shr => BinaryOp::Shr,
        Tok::And => BinaryOp::And,
        Tok::Xor => BinaryOp::Xor,
        Tok::Or => BinaryOp::Or,
        Tok::Eq => BinaryOp::Eq,
        Tok::Ne => BinaryOp::Ne,
        Tok::Lt => BinaryOp::Lt,
        Tok::Le => BinaryOp::Le,
        Tok::Gt => BinaryOp::Gt,
        Tok::Ge => BinaryOp::Ge,
        _ => return None,
    })
}

//! Functions, parameters and types.

use super::list::ListForm;
use super::{Parsed, Parser};
use crate::dtype::DType;
use crate::error::err;
use crate::text::ast::{self, Dim, DimKind, DimOp, Param, Program, Type, Types};
use crate::text::check;
use crate::text::lexer::{Tok, Token};

const PARAMS: ListForm = ListForm { close: Tok::RParen, element: "a parameter", trailing: true };
const TYPES: ListForm = ListForm { close: Tok::RParen, element: "a type", trailing: true };
const DIMS: ListForm = ListForm { close: Tok::RBracket, element: "a size", trailing: false };

impl Parser<'_> {
    pub(super) fn program(&mut self) -> Program {
        let mut fns = Vec::new();
        while !self.at(Tok::End) {
            if self.at(Tok::Fn) {
                let errors = self.errors.len();
                if let Ok(f) = self.function() {
                    if self.errors.len() == errors {
                        check::function(&f, &mut self.errors);
                    }
                    fns.push(f);
                }
                continue;
            }
            let mut e = self.expected_error("`fn`");
            if self.at(Tok::Name) && matches!(self.text(self.token()), "def" | "func" | "function" | "pub") {
                e = e.help("a function is written `fn name(x: f32[4]) -> f32[4] { … }`");
            } else if self.at(Tok::RBrace) {
                e = e.help("this brace closes nothing");
            } else {
                e = e.help("a file holds functions only");
            }
            self.report(e);
            self.next();
            self.skip_to_fn(false);
        }
        Program { fns }
    }

    fn function(&mut self) -> Parsed<ast::Fn> {
        let start = self.next().start;
        let header = self.header();
        if header.is_err() {
            self.skip_to_fn(true);
        }
        // The body is parsed after a faulty header too, for its own errors.
        let body = match self.eat(Tok::LBrace) {
            Some(open) => self.block(open),
            None => {
                self.expected("`{` before the body of the function");
                self.skip_to_fn(true);
                match self.eat(Tok::LBrace) {
                    Some(open) => self.block(open),
                    None => return Err(super::Skip::Stmt),
                }
            }
        };
        let (name, params, result) = header?;
        Ok(ast::Fn { name, params, result, body, loc: self.since(start) })
    }

    fn header(&mut self) -> Parsed<(ast::Name, Vec<Param>, Option<Types>)> {
        let name = self.name("the name of the function")?;
        let open = self.expect(Tok::LParen, "before the parameters")?;
        let (params, _) = self.list(open, &PARAMS, Self::param)?;
        let result = if self.eat(Tok::Arrow).is_some() { Some(self.types()?) } else { None };
        Ok((name, params, result))
    }

    fn param(&mut self) -> Parsed<Param> {
        let start = self.token().start;
        if self.at(Tok::Mut) {
            let e = err::syntax("`mut` stands before the type").at(self.token().loc()).help("write `x: mut f32[4]`");
            self.report(e);
            self.next();
        }
        let name = self.name("a parameter")?;
        if !self.at(Tok::Colon) {
            let e = self.expected_error("`:` and a type").help(format!("write `{}: f32[…]`", name.text));
            self.report(e);
            return Err(super::Skip::Element);
        }
        self.next();
        let mutable = self.eat(Tok::Mut).is_some();
        let ty = self.ty()?;
        if self.at(Tok::Set) {
            let e = err::syntax("parameters have no default values").at(self.token().loc());
            self.report(e);
            return Err(super::Skip::Element);
        }
        Ok(Param { name, mutable, ty, loc: self.since(start) })
    }

    /// One type, or several in parentheses.
    pub(super) fn types(&mut self) -> Parsed<Types> {
        let Some(open) = self.eat(Tok::LParen) else {
            let ty = self.ty()?;
            return Ok(Types { loc: ty.loc, items: vec![ty], tuple: false });
        };
        if self.at(Tok::RParen) {
            let e = self.expected_error("a type").help("a function without a result has no `->`");
            self.report(e);
        }
        let (items, comma) = self.list(open, &TYPES, Self::ty)?;
        let tuple = comma || items.len() != 1;
        Ok(Types { items, tuple, loc: self.bracketed(open) })
    }

    fn ty(&mut self) -> Parsed<Type> {
        let t = self.token();
        let dtype = match t.tok {
            Tok::DType => DType::from_name(self.text(t)),
            Tok::Mut => {
                let e = err::syntax("`mut` stands only before the type of a parameter").at(t.loc()).help("remove it");
                self.report(e);
                self.next();
                return self.ty_after_mut();
            }
            Tok::Name => {
                let mut e = self.expected_error("a type");
                let known = DType::ALL.map(DType::name).join(" ");
                e = match similar_dtype(self.text(t)) {
                    Some(d) => e.help(format!("the dtype is called `{d}`")),
                    None => e.help(format!("the dtypes are {known}")),
                };
                self.report(e);
                Some(DType::F32)
            }
            _ => None,
        };
        let Some(dtype) = dtype else { return self.fail("a type") };
        self.next();
        let dims = match self.eat(Tok::LBracket) {
            Some(open) => self.list(open, &DIMS, Self::dim)?.0,
            None => Vec::new(),
        };
        Ok(Type { dtype, dims, loc: self.since(t.start) })
    }

    /// A type behind a `mut` that was refused: any number of them is one error.
    fn ty_after_mut(&mut self) -> Parsed<Type> {
        while self.eat(Tok::Mut).is_some() {}
        self.ty()
    }

    /// `dim := term (("+" | "-") term)*`
    fn dim(&mut self) -> Parsed<Dim> {
        self.nested(|p| {
            let mut left = p.dim_term()?;
            loop {
                let op = match p.peek() {
                    Tok::Plus => DimOp::Add,
                    Tok::Minus => DimOp::Sub,
                    _ => return Ok(left),
                };
                let below = p.height;
                p.next();
                let right = p.dim_term()?;
                left = p.dim_bin(op, left, right, below)?;
            }
        })
    }

    /// `term := atom ("*" atom)*`
    fn dim_term(&mut self) -> Parsed<Dim> {
        let mut left = self.dim_atom()?;
        while self.at(Tok::Star) {
            let below = self.height;
            self.next();
            let right = self.dim_atom()?;
            left = self.dim_bin(DimOp::Mul, left, right, below)?;
        }
        Ok(left)
    }

    fn dim_bin(&mut self, op: DimOp, left: Dim, right: Dim, below: u32) -> Parsed<Dim> {
        let loc = left.loc.to(right.loc);
        self.grow(below.max(self.height), loc)?;
        Ok(Dim { kind: DimKind::Bin(op, Box::new(left), Box::new(right)), loc })
    }

    /// A constant, a size, or a dim in parentheses.
    fn dim_atom(&mut self) -> Parsed<Dim> {
        let t = self.token();
        self.height = 1;
        let kind = match t.tok {
            Tok::Int => {
                self.next();
                DimKind::Int(self.int(t))
            }
            Tok::Name => {
                let text = self.text(t);
                if !text.starts_with(|c: char| c.is_ascii_uppercase()) {
                    let e = err::syntax(format!("the name `{text}` is not a size"))
                        .at(t.loc())
                        .label("sizes begin upper-case")
                        .help(upper_case(text));
                    self.report(e);
                }
                self.next();
                DimKind::Size(text.to_string())
            }
            Tok::LParen => {
                self.next();
                let inner = self.dim()?;
                self.dim_close(t)?;
                return Ok(Dim { kind: inner.kind, loc: self.bracketed(t) });
            }
            Tok::Minus => {
                let e = self.expected_error("a size").help("sizes are not negative");
                self.report(e);
                return Err(super::Skip::Element);
            }
            _ => return self.fail("a size"),
        };
        Ok(Dim { kind, loc: t.loc() })
    }

    fn dim_close(&mut self, open: Token) -> Parsed<()> {
        if self.eat(Tok::RParen).is_some() {
            return Ok(());
        }
        let e = self.expected_error("`)`").note(open.loc(), "`(` opened here");
        self.report(e);
        Err(super::Skip::Element)
    }
}

/// The help for a size in lower case.
fn upper_case(text: &str) -> String {
    let upper = text.trim_start_matches('_').to_ascii_uppercase();
    if upper.starts_with(|c: char| c.is_ascii_uppercase()) {
        format!("write a number, or a size such as `{upper}` that is bound at the call")
    } else {
        "write a number, or a size such as `N` that is bound at the call".to_string()
    }
}

/// Our dtype for what other libraries call it.
fn similar_dtype(name: &str) -> Option<DType> {
    Some(match name {
        "float64" | "double" | "F64" => DType::F64,
        "float32" | "float" | "F32" => DType::F32,
        "float16" | "half" | "F16" => DType::F16,
        "bfloat16" | "BF16" => DType::BF16,
        "int64" | "long" | "int" | "I64" => DType::I64,
        "int32" | "I32" => DType::I32,
        "int16" | "short" | "I16" => DType::I16,
        "int8" | "I8" => DType::I8,
        "uint8" | "byte" | "U8" => DType::U8,
        "boolean" | "Bool" => DType::Bool,
        _ => return None,
    })
}

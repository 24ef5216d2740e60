//! The syntax tree: what was written, with the place of every part.
//!
//! The tree keeps no parentheses and no comments: the formatter puts back the parentheses that are needed, and finds the
//! comments again in the text. `f(x)` and `x.f()` stay different here although they mean the same. Every tree that the
//! parser makes is at most [`MAX_DEPTH`](super::MAX_DEPTH) high, so it may be walked by recursion.

use crate::dtype::DType;
use crate::error::Loc;

/// A file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The functions, in the order written.
    pub fns: Vec<Fn>,
}

/// A name where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where.
    pub loc: Loc,
}

/// A function.
#[derive(Clone, Debug, PartialEq)]
pub struct Fn {
    /// Its name.
    pub name: Name,
    /// Its parameters.
    pub params: Vec<Param>,
    /// The types behind `->`; `None` means that they are inferred.
    pub result: Option<Types>,
    /// The body.
    pub body: Block,
    /// From `fn` to the closing brace.
    pub loc: Loc,
}

/// `name: [mut] type`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: Name,
    /// Whether `mut` stands before the type: the function may write to the caller's memory.
    pub mutable: bool,
    /// Its type.
    pub ty: Type,
    /// The whole parameter.
    pub loc: Loc,
}

/// One type, or several in parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct Types {
    /// The types.
    pub items: Vec<Type>,
    /// Whether this is a tuple; if not, there is exactly one item.
    pub tuple: bool,
    /// Where, with the parentheses.
    pub loc: Loc,
}

/// `f32[B, 784]`; no dims is 0-d.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    /// The element type.
    pub dtype: DType,
    /// The sizes, outermost first.
    pub dims: Vec<Dim>,
    /// Where.
    pub loc: Loc,
}

/// A size in a type.
#[derive(Clone, Debug, PartialEq)]
pub struct Dim {
    /// What it is.
    pub kind: DimKind,
    /// Where.
    pub loc: Loc,
}

/// The forms of [`Dim`].
#[derive(Clone, Debug, PartialEq)]
pub enum DimKind {
    /// A constant, not negative.
    Int(i64),
    /// A symbolic size: a name that begins upper-case.
    Size(String),
    /// Two dims combined.
    Bin(DimOp, Box<Dim>, Box<Dim>),
}

/// The operators of dims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DimOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
}

impl DimOp {
    /// The sign.
    pub fn symbol(self) -> &'static str {
        match self {
            DimOp::Add => "+",
            DimOp::Sub => "-",
            DimOp::Mul => "*",
        }
    }
}

/// `{ stmts result }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The statements.
    pub stmts: Vec<Stmt>,
    /// The last expression, if it has no `;`.
    pub result: Option<Expr>,
    /// Where, with the braces.
    pub loc: Loc,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// Where, with the `;`.
    pub loc: Loc,
}

/// The forms of [`Stmt`].
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `let pattern: ty = value;`
    Let {
        /// The new names.
        pattern: Pattern,
        /// The types written, if any: a tuple of them for a tuple of names.
        ty: Option<Types>,
        /// The value.
        value: Expr,
    },
    /// `place op value;`, which writes into memory.
    Assign {
        /// What is written: a [`ExprKind::Name`], or [`ExprKind::Index`], [`ExprKind::Member`] or [`ExprKind::Method`]
        /// of a place. It is no plain name if `op` is [`AssignOp::Set`].
        place: Expr,
        /// The operator.
        op: AssignOp,
        /// The value.
        value: Expr,
    },
    /// `expr;`, for its effect.
    Expr(Expr),
}

/// The names that a `let` binds.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// The names.
    pub names: Vec<Name>,
    /// Whether a tuple is taken apart; if not, there is exactly one name.
    pub tuple: bool,
    /// Where, with the parentheses.
    pub loc: Loc,
}

/// The operators that write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignOp {
    /// `=`
    Set,
    /// `+=`
    Add,
    /// `-=`
    Sub,
    /// `*=`
    Mul,
    /// `/=`
    Div,
}

impl AssignOp {
    /// The sign.
    pub fn symbol(self) -> &'static str {
        match self {
            AssignOp::Set => "=",
            AssignOp::Add => "+=",
            AssignOp::Sub => "-=",
            AssignOp::Mul => "*=",
            AssignOp::Div => "/=",
        }
    }
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where, with parentheses around it if there are any.
    pub loc: Loc,
}

/// The forms of [`Expr`].
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// An integer, not negative but for `i64::MIN`: other negative ones are [`UnaryOp::Neg`] of it.
    Int(i64),
    /// A float.
    Float(Float),
    /// `true` or `false`.
    Bool(bool),
    /// `None`
    None,
    /// `"text"`, with its escapes resolved.
    Str(String),
    /// A variable, a size or (as an argument) a function.
    Name(String),
    /// `f32`, as an argument.
    DType(DType),
    /// `left op right`
    Binary {
        /// The operator.
        op: BinaryOp,
        /// The left side.
        left: Box<Expr>,
        /// The right side.
        right: Box<Expr>,
    },
    /// `op operand`
    Unary {
        /// The operator.
        op: UnaryOp,
        /// What it is applied to.
        operand: Box<Expr>,
    },
    /// `(a, b)`, `(a,)`
    Tuple(Vec<Expr>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `base[indices]`
    Index {
        /// What is indexed.
        base: Box<Expr>,
        /// At least one.
        indices: Vec<Index>,
    },
    /// `callee(args)`
    Call {
        /// The function.
        callee: Name,
        /// The arguments, positional ones first.
        args: Vec<Arg>,
    },
    /// `receiver.name(args)`
    Method {
        /// The first argument.
        receiver: Box<Expr>,
        /// The function.
        name: Name,
        /// The other arguments, positional ones first.
        args: Vec<Arg>,
    },
    /// `base.name`
    Member {
        /// The value.
        base: Box<Expr>,
        /// The member: `T`, `shape`.
        name: Name,
    },
}

/// A float literal. Two are equal if they are written alike (so that `nan` equals itself).
#[derive(Clone, Debug)]
pub struct Float {
    /// Its value, rounded to `f64`.
    pub value: f64,
    /// How it is written: `1e-3`, `inf`.
    pub text: String,
}

impl PartialEq for Float {
    fn eq(&self, other: &Float) -> bool {
        self.text == other.text
    }
}

/// One part of `x[…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// What it is.
    pub kind: IndexKind,
    /// Where.
    pub loc: Loc,
}

/// The forms of [`Index`].
#[derive(Clone, Debug, PartialEq)]
pub enum IndexKind {
    /// An integer or a tensor.
    Expr(Expr),
    /// `start:stop:step`; a bound written as `None` is left out.
    Slice {
        /// First element.
        start: Option<Box<Expr>>,
        /// One past the last.
        stop: Option<Box<Expr>>,
        /// Distance.
        step: Option<Box<Expr>>,
    },
    /// `...`
    Ellipsis,
    /// `None`: a new axis of size 1.
    NewAxis,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// The keyword, if it has one.
    pub name: Option<Name>,
    /// The value.
    pub value: Expr,
}

impl Arg {
    /// Where, with the keyword.
    pub fn loc(&self) -> Loc {
        self.name.as_ref().map_or(self.value.loc, |n| n.loc.to(self.value.loc))
    }
}

/// The operators between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `**`
    Pow,
    /// `@`
    MatMul,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `<<`
    Shl,
    /// `>>`
    Shr,
    /// `&`
    And,
    /// `^`
    Xor,
    /// `|`
    Or,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl BinaryOp {
    /// The sign.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Pow => "**",
            BinaryOp::MatMul => "@",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Rem => "%",
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Shl => "<<",
            BinaryOp::Shr => ">>",
            BinaryOp::And => "&",
            BinaryOp::Xor => "^",
            BinaryOp::Or => "|",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
        }
    }

    /// How tightly it binds: 1 for comparisons up to 9 for `**`; unary operators stand at [`UnaryOp::PRECEDENCE`].
    pub fn precedence(self) -> u8 {
        match self {
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => 1,
            BinaryOp::Or => 2,
            BinaryOp::Xor => 3,
            BinaryOp::And => 4,
            BinaryOp::Shl | BinaryOp::Shr => 5,
            BinaryOp::Add | BinaryOp::Sub => 6,
            BinaryOp::MatMul | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem => 7,
            BinaryOp::Pow => 9,
        }
    }

    /// Whether this is one of the six comparisons, which do not chain.
    pub fn is_comparison(self) -> bool {
        self.precedence() == 1
    }
}

/// The operators before an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
}

impl UnaryOp {
    /// Between `*` and `**`.
    pub const PRECEDENCE: u8 = 8;

    /// The sign.
    pub fn symbol(self) -> &'static str {
        match self {
            UnaryOp::Neg => "-",
            UnaryOp::Not => "!",
        }
    }
}

impl Expr {
    /// The value if this is an integer literal, with a minus sign or without.
    pub fn as_int(&self) -> Option<i64> {
        match &self.kind {
            ExprKind::Int(v) => Some(*v),
            ExprKind::Unary { op: UnaryOp::Neg, operand } => match operand.kind {
                ExprKind::Int(v) => v.checked_neg(),
                _ => None,
            },
            _ => None,
        }
    }

    /// The name if this is one.
    pub fn as_name(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Name(n) => Some(n),
            _ => None,
        }
    }
}

//! [`Expr`]: scalar code written as arithmetic, so that a formula in this module looks like the one it was taken from.
//!
//! An `Expr` is a register together with the block it belongs to; its operators append instructions. `a * b + c` is two
//! instructions with two roundings: nothing is contracted, [`Expr::fma`] is written where one rounding is meant. A
//! number on one side of an operator becomes a constant of the expression's type. The block is taken for the time of
//! one function ([`with`]) and given back, since operators cannot carry a `&mut Block`.

use crate::scalar::{Block, Reg, V};
use std::cell::RefCell;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Sub};

/// The block being written and the float type of the function.
pub(super) struct Ctx {
    block: RefCell<Block>,
    ty: Reg,
}

/// A register of a block under construction.
#[derive(Clone, Copy)]
pub(super) struct Expr<'a> {
    pub(super) ctx: &'a Ctx,
    v: V,
}

/// Appends what `f` builds from `args` (all of one float type) to `b`; returns the register of the result.
pub(super) fn with<const N: usize>(
    b: &mut Block,
    args: [V; N],
    f: impl for<'a> FnOnce([Expr<'a>; N]) -> Expr<'a>,
) -> V {
    let ty = args.first().map_or(Reg::F32, |v| b.ty(*v));
    debug_assert!(ty.is_float(), "elementary functions are of floats, not {}", ty.name());
    let ctx = Ctx { block: RefCell::new(std::mem::take(b)), ty };
    let v = f(args.map(|v| Expr { ctx: &ctx, v })).v;
    *b = ctx.block.into_inner();
    v
}

impl Ctx {
    /// Whether the function is being written for `f32`, else `f64`.
    pub(super) fn is32(&self) -> bool {
        self.ty == Reg::F32
    }

    /// The value meant for the function's type.
    pub(super) fn pick<T>(&self, f32: T, f64: T) -> T {
        if self.is32() { f32 } else { f64 }
    }

    /// Bits of the stored mantissa: 23 or 52.
    pub(super) fn mantissa(&self) -> i64 {
        self.pick(23, 52)
    }

    /// A float constant, rounded to the function's type.
    pub(super) fn f(&self, v: f64) -> Expr<'_> {
        self.wrap(self.block.borrow_mut().float(self.ty, v))
    }

    /// An integer constant as wide as the function's type.
    pub(super) fn i(&self, v: i64) -> Expr<'_> {
        self.wrap(self.block.borrow_mut().int(self.int_type(), v))
    }

    /// Plus infinity.
    pub(super) fn inf(&self) -> Expr<'_> {
        self.f(f64::INFINITY)
    }

    /// The bits of 1.0.
    pub(super) fn one_bits(&self) -> i64 {
        self.pick(0x3f80_0000, 0x3ff0_0000_0000_0000)
    }

    /// `1.5 * 2^mantissa`: added to a number below `2^(mantissa - 2)`, it rounds it to an integer, which then stands in
    /// the low bits of the sum.
    pub(super) fn magic(&self) -> f64 {
        self.pick(12_582_912.0, 6_755_399_441_055_744.0)
    }

    fn int_type(&self) -> Reg {
        self.pick(Reg::I32, Reg::I64)
    }

    fn wrap(&self, v: V) -> Expr<'_> {
        Expr { ctx: self, v }
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        impl<'a> Expr<'a> {
            $($(#[$doc])* pub(super) fn $name(self) -> Expr<'a> {
                self.ctx.wrap(self.ctx.block.borrow_mut().$name(self.v))
            })*
        }
    };
}

unary! {
    /// Clears the sign.
    abs;
    /// Square root.
    sqrt;
    /// Round toward minus infinity.
    floor;
    /// Round to nearest even.
    nearest;
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        impl<'a> Expr<'a> {
            $($(#[$doc])* pub(super) fn $name(self, other: impl Operand<'a>) -> Expr<'a> {
                let o = other.expr(self);
                self.ctx.wrap(self.ctx.block.borrow_mut().$name(self.v, o.v))
            })*
        }
    };
}

binary! {
    /// `self == other`.
    eq;
    /// `self != other`.
    ne;
    /// `self < other`.
    lt;
    /// `self <= other`.
    le;
    /// Remainder of the truncated quotient, exact.
    rem;
}

macro_rules! operators {
    ($($trait:ident $method:ident $name:ident;)*) => {
        $(impl<'a, T: Operand<'a>> $trait<T> for Expr<'a> {
            type Output = Expr<'a>;
            fn $method(self, other: T) -> Expr<'a> {
                let o = other.expr(self);
                self.ctx.wrap(self.ctx.block.borrow_mut().$name(self.v, o.v))
            }
        })*
    };
}

operators! {
    Add add add;
    Sub sub sub;
    Mul mul mul;
    Div div div;
    BitAnd bitand and;
    BitOr bitor or;
    BitXor bitxor xor;
}

impl<'a> Neg for Expr<'a> {
    type Output = Expr<'a>;
    fn neg(self) -> Expr<'a> {
        self.ctx.wrap(self.ctx.block.borrow_mut().neg(self.v))
    }
}

impl<'a> Not for Expr<'a> {
    type Output = Expr<'a>;
    fn not(self) -> Expr<'a> {
        self.ctx.wrap(self.ctx.block.borrow_mut().not(self.v))
    }
}

/// What can stand on the right of an operator: an expression, or a number as a constant of the left side's type.
pub(super) trait Operand<'a> {
    /// The operand as an expression of the type of `like`.
    fn expr(self, like: Expr<'a>) -> Expr<'a>;
}

impl<'a> Operand<'a> for Expr<'a> {
    fn expr(self, _: Expr<'a>) -> Expr<'a> {
        self
    }
}

impl<'a> Operand<'a> for f64 {
    fn expr(self, like: Expr<'a>) -> Expr<'a> {
        let ty = like.ty();
        like.ctx.wrap(like.ctx.block.borrow_mut().float(ty, self))
    }
}

impl<'a> Operand<'a> for i64 {
    fn expr(self, like: Expr<'a>) -> Expr<'a> {
        let ty = like.ty();
        like.ctx.wrap(like.ctx.block.borrow_mut().int(ty, self))
    }
}

impl<'a> Expr<'a> {
    /// The register's type.
    pub(super) fn ty(self) -> Reg {
        self.ctx.block.borrow().ty(self.v)
    }

    /// `self * m + a`, rounded once.
    pub(super) fn fma(self, m: impl Operand<'a>, a: impl Operand<'a>) -> Expr<'a> {
        let (m, a) = (m.expr(self), a.expr(self));
        self.ctx.wrap(self.ctx.block.borrow_mut().fma(self.v, m.v, a.v))
    }

    /// `if self { a } else { b }`; a number becomes a constant of the function's float type.
    pub(super) fn select(self, a: impl Operand<'a>, b: impl Operand<'a>) -> Expr<'a> {
        let like = self.ctx.f(0.0);
        let (a, b) = (a.expr(like), b.expr(like));
        self.ctx.wrap(self.ctx.block.borrow_mut().select(self.v, a.v, b.v))
    }

    /// The larger of `self` and the bound; NaN stays NaN.
    pub(super) fn at_least(self, bound: impl Operand<'a>) -> Expr<'a> {
        let o = bound.expr(self);
        self.ctx.wrap(self.ctx.block.borrow_mut().max(o.v, self.v))
    }

    /// The smaller of `self` and the bound; NaN stays NaN.
    pub(super) fn at_most(self, bound: impl Operand<'a>) -> Expr<'a> {
        let o = bound.expr(self);
        self.ctx.wrap(self.ctx.block.borrow_mut().min(o.v, self.v))
    }

    /// The bits of a float as an integer.
    pub(super) fn bits(self) -> Expr<'a> {
        let ty = self.ctx.int_type();
        self.ctx.wrap(self.ctx.block.borrow_mut().bitcast(ty, self.v))
    }

    /// The float with these bits.
    pub(super) fn float(self) -> Expr<'a> {
        let ty = self.ctx.ty;
        self.ctx.wrap(self.ctx.block.borrow_mut().bitcast(ty, self.v))
    }

    /// Integer shifted left by a constant.
    pub(super) fn shl(self, n: i64) -> Expr<'a> {
        let n = n.expr(self);
        self.ctx.wrap(self.ctx.block.borrow_mut().shl(self.v, n.v))
    }

    /// Integer shifted right by a constant, filling with zeros.
    pub(super) fn ushr(self, n: i64) -> Expr<'a> {
        let n = n.expr(self);
        self.ctx.wrap(self.ctx.block.borrow_mut().ushr(self.v, n.v))
    }

    /// The sign bit of a float, as an integer.
    pub(super) fn sign(self) -> Expr<'a> {
        self.bits() & self.ctx.pick(i32::MIN as i64, i64::MIN)
    }

    /// The float with the sign bit flipped where `sign` (from [`Expr::sign`]) has it set.
    pub(super) fn flip(self, sign: Expr<'a>) -> Expr<'a> {
        (self.bits() ^ sign).float()
    }

    /// The magnitude of `self` with the sign of `other`.
    pub(super) fn copysign(self, other: Expr<'a>) -> Expr<'a> {
        (self.abs().bits() | other.sign()).float()
    }

    /// The polynomial with these coefficients, lowest power first, by Horner's rule. The first table is for `f32`, the
    /// second for `f64`.
    pub(super) fn poly(self, f32: &[f64], f64: &[f64]) -> Expr<'a> {
        let table = self.ctx.pick(f32, f64);
        let (last, rest) = table.split_last().unwrap_or((&0.0, &[]));
        rest.iter().rev().fold(self.ctx.f(*last), |p, c| p.fma(self, *c))
    }
}

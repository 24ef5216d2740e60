//! [`Pair`]: an unevaluated sum `hi + lo` of two floats, for the places where one rounding too many would show.
//!
//! The error-free transformations of Dekker and Knuth, with fma for the product. `lo` is small against `hi` (a few
//! units of its last place) but not always normalised; each function says what it leaves.

use super::expr::{Expr, Operand};

/// `hi + lo`.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) hi: Expr<'a>,
    pub(super) lo: Expr<'a>,
}

/// `a + b` exactly, for any magnitudes (Knuth's TwoSum).
pub(super) fn two_sum<'a>(a: Expr<'a>, b: Expr<'a>) -> Pair<'a> {
    let hi = a + b;
    let bb = hi - a;
    let lo = (a - (hi - bb)) + (b - bb);
    Pair { hi, lo }
}

/// `a + b` exactly, if `|a| >= |b|` or `a == 0` (Dekker's FastTwoSum).
pub(super) fn fast_two_sum<'a>(a: Expr<'a>, b: Expr<'a>) -> Pair<'a> {
    let hi = a + b;
    Pair { hi, lo: b - (hi - a) }
}

/// `a * b` exactly, unless the low part underflows.
pub(super) fn two_prod<'a>(a: Expr<'a>, b: impl Operand<'a>) -> Pair<'a> {
    let b = b.expr(a);
    let hi = a * b;
    Pair { hi, lo: a.fma(b, -hi) }
}

/// The polynomial with these coefficients as a pair, its last two steps done in pairs; `rest` completes the first
/// coefficient. Each of these two coefficients is at least as large as what is added to it.
pub(super) fn poly_pair<'a>(u: Expr<'a>, f32: &[f64], f64: &[f64], rest: f64) -> Pair<'a> {
    let constant = |i: usize| u.ctx.f(u.ctx.pick(f32[i], f64[i]));
    let p = two_prod(u.poly(&f32[2..], &f64[2..]), u);
    let q = fast_two_sum(constant(1), p.hi);
    let t = two_prod(q.hi, u);
    let s = fast_two_sum(constant(0), t.hi);
    Pair { hi: s.hi, lo: (q.lo + p.lo).fma(u, t.lo) + (s.lo + rest) }
}

impl<'a> Pair<'a> {
    /// Rounded to one float.
    pub(super) fn sum(self) -> Expr<'a> {
        self.hi + self.lo
    }

    /// With `|lo|` at most half a unit in the last place of `hi`, given `|hi| >= |lo|`.
    pub(super) fn normal(self) -> Pair<'a> {
        fast_two_sum(self.hi, self.lo)
    }

    /// Times a pair, to a few units of the low part's last place.
    pub(super) fn times_pair(self, m: Pair<'a>) -> Pair<'a> {
        let p = two_prod(self.hi, m.hi);
        Pair { hi: p.hi, lo: self.hi.fma(m.lo, self.lo.fma(m.hi, p.lo)) }
    }

    /// Times a constant given in two parts.
    pub(super) fn times_constant(self, hi: f64, lo: f64) -> Pair<'a> {
        let p = two_prod(self.hi, hi);
        Pair { hi: p.hi, lo: self.hi.fma(lo, self.lo.fma(hi, p.lo)) }
    }

    /// Times a power of two, exactly.
    pub(super) fn scaled(self, s: impl Operand<'a>) -> Pair<'a> {
        let s = s.expr(self.hi);
        Pair { hi: self.hi * s, lo: self.lo * s }
    }

    /// `self / d`, rounded: one division, the quotient corrected by its remainder, so nearly correctly rounded.
    pub(super) fn over(self, d: Pair<'a>) -> Expr<'a> {
        let q = self.ratio(d);
        q.hi + q.lo
    }

    /// `self / d` as a pair.
    pub(super) fn ratio(self, d: Pair<'a>) -> Pair<'a> {
        let r = d.hi.ctx.f(1.0) / d.hi;
        let q = self.hi * r;
        let rest = (-q).fma(d.hi, self.hi) + (-q).fma(d.lo, self.lo);
        Pair { hi: q, lo: rest * r }
    }
}

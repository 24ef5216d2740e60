//! [`Dim`]: an extent, a stride or an offset, known or symbolic.
//!
//! A symbolic one is a polynomial with integer coefficients over *atoms*: sizes (`B`), and what is no polynomial of them
//! (`floor_div(B, 4)`, `max(1, B)`, `min(…)`). Polynomials are kept in a canonical form in one table of the process, so
//! that equal expressions are equal numbers: `==` on dims is equality of expressions, and a [`Dim`] is eight bytes. The
//! table only grows, by one entry for each different expression that was ever made.
//!
//! A size may be any integer from 0 on. So `B == 1` is false and `B == B` true, whatever a call will bring: that is the
//! rule of the language for broadcasting. What cannot be said of all sizes ([`at_most`]) is decided by the sizes at hand
//! (the *hints* of a [`Scope`]) and recorded there as an assumption, which later calls are checked against.
//! Dims have no order of their own: every comparison has to say what it does with sizes that are not known.

mod poly;
mod scope;

pub use scope::{Assumption, Scope, Sizes, at_most, hint, strongest};

use crate::error::{Result, err};
use poly::Poly;
use smallvec::SmallVec;
use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};

/// Extents that may be symbolic, outermost first.
pub type Dims = SmallVec<[Dim; 4]>;

/// An integer that may depend on symbolic sizes; 0 by default.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Dim(i64);

/// Known values lie between this and its negative; arithmetic stays there. Below are numbers of table entries.
const LIMIT: i64 = 1 << 61;

impl Dim {
    /// The number 0.
    pub const ZERO: Dim = Dim(0);
    /// The number 1.
    pub const ONE: Dim = Dim(1);

    /// A known number, cut off at ±2^61.
    pub fn known_to_be(v: i64) -> Dim {
        Dim(v.clamp(-LIMIT, LIMIT))
    }

    /// The symbolic size of that name. Equal names are one size.
    pub fn size(name: &str) -> Dim {
        poly::enter(Poly::atom(poly::Atom::Size(name.into())))
    }

    /// The value, if it is known.
    pub fn known(self) -> Option<i64> {
        (self.0 >= -LIMIT).then_some(self.0)
    }

    /// The value as an extent, if it is known and not negative.
    pub fn extent(self) -> Option<usize> {
        self.known().and_then(|v| usize::try_from(v).ok())
    }

    /// The value.
    ///
    /// # Errors
    /// One that says that sizes must be known ([`crate::Error::is_waiting_for_sizes`]).
    pub fn value(self) -> Result<i64> {
        self.known().or_else(|| scope::bound(self)).ok_or_else(|| needs_sizes(&self.to_string()))
    }

    /// Whether it is known to be that number.
    pub fn is(self, v: i64) -> bool {
        self.known() == Some(v)
    }

    /// The name, if it is a size that stands alone.
    pub fn as_size(self) -> Option<String> {
        self.entry().and_then(|i| poly::entry(i).as_size())
    }

    /// Its number in the table, if it is symbolic.
    fn entry(self) -> Option<u32> {
        (self.0 < -LIMIT).then(|| (self.0 - i64::MIN) as u32)
    }

    fn from_entry(i: u32) -> Dim {
        Dim(i64::MIN + i64::from(i))
    }

    fn poly(self) -> Poly {
        match self.entry() {
            Some(i) => poly::entry(i),
            None => Poly::number(self.0),
        }
    }

    /// The greatest number that it is never below, whatever the sizes; `None` if there is none that is easily seen.
    pub fn least(self) -> Option<i64> {
        match self.known() {
            Some(v) => Some(v),
            None => self.poly().least(),
        }
    }

    /// `self / by` rounded down, for a positive `by`.
    pub fn floor_div(self, by: Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.known(), by.known())
            && b > 0
        {
            return Dim(a.div_euclid(b));
        }
        match self.exact_div(by) {
            Some(d) => d,
            None => poly::enter(Poly::atom(poly::Atom::FloorDiv(self, by))),
        }
    }

    /// `self / by` rounded up, for a positive `by`.
    pub fn ceil_div(self, by: Dim) -> Dim {
        match self.exact_div(by) {
            Some(d) => d,
            None => (self + by - 1).floor_div(by),
        }
    }

    /// `self / by` if it is a polynomial, so that there is no remainder whatever the sizes (but for `by` = 0).
    pub fn exact_div(self, by: Dim) -> Option<Dim> {
        match (self.known(), by.known()) {
            (_, Some(0)) => None,
            (Some(a), Some(b)) => (a % b == 0).then(|| Dim(a / b)),
            _ => self.poly().exact_div(&by.poly()).map(poly::enter),
        }
    }

    /// The larger of both.
    pub fn max(self, other: Dim) -> Dim {
        self.extreme(other, true)
    }

    /// The smaller of both.
    pub fn min(self, other: Dim) -> Dim {
        self.extreme(other, false)
    }

    fn extreme(self, other: Dim, larger: bool) -> Dim {
        let (a, b) = (self, other);
        match ((b - a).least(), (a - b).least()) {
            (Some(0..), _) => return if larger { b } else { a },
            (_, Some(0..)) => return if larger { a } else { b },
            _ => {}
        }
        // One order, so that equal expressions are one.
        let (a, b) = if a.to_string() <= b.to_string() { (a, b) } else { (b, a) };
        poly::enter(Poly::atom(if larger { poly::Atom::Max(a, b) } else { poly::Atom::Min(a, b) }))
    }

    /// With the sizes that are given in place of their names.
    pub fn bind(self, sizes: &Sizes) -> Dim {
        match self.entry() {
            None => self,
            Some(i) => poly::entry(i).bind(sizes),
        }
    }

    /// Two expressions without negative terms, of which it is the second minus the first.
    fn sides(self) -> (Dim, Dim) {
        let (minus, plus) = self.poly().split();
        (poly::enter(minus), poly::enter(plus))
    }

    /// The names of the sizes that it depends on, each once.
    pub fn names(self, out: &mut Vec<String>) {
        if let Some(i) = self.entry() {
            poly::entry(i).names(out);
        }
    }
}

/// The error of what can only be done when the sizes are known.
pub fn needs_sizes(what: &str) -> crate::Error {
    err::unsupported(format!("this takes sizes that are known, and `{what}` is symbolic")).waiting_for_sizes()
}

/// The extents, if all are known.
///
/// # Errors
/// One that says that sizes must be known.
pub fn extents(dims: &[Dim]) -> Result<crate::types::Shape> {
    dims.iter().map(|d| d.value().map(|v| v as usize)).collect()
}

/// Known extents as dims.
pub fn dims(shape: &[usize]) -> Dims {
    shape.iter().map(|d| Dim::from(*d)).collect()
}

/// The product of all.
pub fn product(dims: &[Dim]) -> Dim {
    // A known 0 makes it 0, whatever else overflows.
    if dims.contains(&Dim::ZERO) {
        return Dim::ZERO;
    }
    dims.iter().fold(Dim::ONE, |n, d| n * *d)
}

impl From<usize> for Dim {
    fn from(v: usize) -> Dim {
        Dim::known_to_be(i64::try_from(v).unwrap_or(i64::MAX))
    }
}

impl From<&usize> for Dim {
    fn from(v: &usize) -> Dim {
        Dim::from(*v)
    }
}

impl From<&Dim> for Dim {
    fn from(v: &Dim) -> Dim {
        *v
    }
}

impl From<i64> for Dim {
    fn from(v: i64) -> Dim {
        Dim::known_to_be(v)
    }
}

impl From<i32> for Dim {
    fn from(v: i32) -> Dim {
        Dim::known_to_be(i64::from(v))
    }
}

impl From<isize> for Dim {
    fn from(v: isize) -> Dim {
        Dim::known_to_be(v as i64)
    }
}

impl PartialEq<usize> for Dim {
    fn eq(&self, v: &usize) -> bool {
        *self == Dim::from(*v)
    }
}

macro_rules! arithmetic {
    ($($trait:ident $method:ident $exact:ident),*) => {$(
        impl<D: Into<Dim>> $trait<D> for Dim {
            type Output = Dim;
            fn $method(self, other: D) -> Dim {
                let other = other.into();
                match (self.known(), other.known()) {
                    // Both are below 2^62: sums fit, and products stop at the limit.
                    (Some(a), Some(b)) => Dim::known_to_be(a.$exact(b)),
                    _ => poly::enter(self.poly().$method(&other.poly())),
                }
            }
        }
    )*};
}

arithmetic!(Add add saturating_add, Sub sub saturating_sub, Mul mul saturating_mul);

impl Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        Dim::ZERO - self
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry() {
            None => write!(f, "{}", self.0),
            Some(i) => write!(f, "{}", poly::entry(i)),
        }
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn b() -> Dim {
        Dim::size("B")
    }

    fn n() -> Dim {
        Dim::size("N")
    }

    #[test]
    fn equal_expressions_are_equal() {
        assert_eq!((b() + 1) * (b() - 1), b() * b() - 1);
        assert_eq!(b() * 784 - b() * 784, Dim::ZERO);
        assert_eq!(b() + n() - b(), n());
        assert_ne!(b(), n());
        assert!(!b().is(1) && b() != 1usize);
    }

    #[test]
    fn expressions_print_as_the_language_writes_them() {
        assert_eq!((b() * 784).to_string(), "B*784");
        assert_eq!((b() * n() * 2 + b() - 3).to_string(), "B*N*2 + B - 3");
        assert_eq!((-b()).to_string(), "-B");
        assert_eq!((Dim::ZERO - b() * 2).to_string(), "-B*2");
        assert_eq!(b().ceil_div(Dim::from(4096usize)).to_string(), "floor_div(B + 4095, 4096)");
    }

    #[test]
    fn exact_divisions_leave_no_trace() {
        assert_eq!((b() * 784).exact_div(Dim::from(16usize)), Some(b() * 49));
        assert_eq!((b() * n()).exact_div(n()), Some(b()));
        assert_eq!((b() * n() + n()).exact_div(n()), Some(b() + 1));
        assert_eq!(b().exact_div(Dim::from(2usize)), None);
        assert_eq!(((b() + 1) * n()).exact_div(b() + 1), Some(n()));
        assert_eq!((b() * 8).floor_div(Dim::from(4usize)), b() * 2);
    }

    #[test]
    fn what_all_sizes_agree_on_is_known() {
        assert_eq!((b() + n() * 2 + 3).least(), Some(3));
        assert_eq!((b() - 1).least(), Some(-1));
        assert_eq!((Dim::ONE - b()).least(), None);
        assert_eq!((b() + 1).max(b()), b() + 1);
        assert_eq!((b() + 1).min(Dim::ZERO), Dim::ZERO);
        assert_eq!(b().max(Dim::ONE).to_string(), "max(1, B)");
        assert_eq!(b().max(Dim::ONE).least(), Some(1));
    }

    #[test]
    fn numbers_stop_at_the_limit() {
        let large = Dim::from(usize::MAX);
        assert_eq!(large * large, large);
        assert_eq!(product(&[large, Dim::ZERO, large]), Dim::ZERO);
        assert!((b() * large * large).known().is_none());
    }

    #[derive(Clone, Debug)]
    enum Expr {
        B,
        N,
        Number(i64),
        Bin(u8, Box<Expr>, Box<Expr>),
    }

    impl Expr {
        fn dim(&self) -> Dim {
            match self {
                Expr::B => b(),
                Expr::N => n(),
                Expr::Number(v) => Dim::from(*v),
                Expr::Bin(op, x, y) => {
                    let (x, y) = (x.dim(), y.dim());
                    match op {
                        0 => x + y,
                        1 => x - y,
                        2 => x * y,
                        3 => x.floor_div(y.max(Dim::ONE)),
                        4 => x.ceil_div(y.max(Dim::ONE)),
                        5 => x.max(y),
                        _ => x.min(y),
                    }
                }
            }
        }

        fn value(&self, at: (i64, i64)) -> i64 {
            match self {
                Expr::B => at.0,
                Expr::N => at.1,
                Expr::Number(v) => *v,
                Expr::Bin(op, x, y) => {
                    let (x, y) = (x.value(at), y.value(at));
                    match op {
                        0 => x + y,
                        1 => x - y,
                        2 => x * y,
                        3 => x.div_euclid(y.max(1)),
                        4 => (x + y.max(1) - 1).div_euclid(y.max(1)),
                        5 => x.max(y),
                        _ => x.min(y),
                    }
                }
            }
        }
    }

    fn expr() -> impl Strategy<Value = Expr> {
        let leaf = prop_oneof![Just(Expr::B), Just(Expr::N), (-5i64..6).prop_map(Expr::Number)];
        leaf.prop_recursive(4, 12, 2, |e| {
            (0u8..7, e.clone(), e).prop_map(|(op, a, b)| Expr::Bin(op, Box::new(a), Box::new(b)))
        })
    }

    proptest! {
        /// What an expression is bound to is what its arithmetic gives, and never less than `least`.
        #[test]
        fn expressions_mean_their_arithmetic(e in expr(), at in (0i64..6, 0i64..6)) {
            let sizes = Sizes::new([("B", at.0), ("N", at.1)]);
            let d = e.dim();
            prop_assert_eq!(d.bind(&sizes).known(), Some(e.value(at)), "{}", d);
            prop_assert!(d.least().is_none_or(|l| l <= e.value(at)), "{}", d);
        }

        #[test]
        fn an_exact_quotient_times_the_divisor_is_the_dividend(x in expr(), y in expr()) {
            let (x, y) = (x.dim(), y.dim());
            if let Some(q) = x.exact_div(y) {
                prop_assert_eq!(q * y, x);
            }
            prop_assume!(!y.is(0));
            prop_assert!((x * y).exact_div(y).is_none_or(|q| q == x));
        }
    }
}

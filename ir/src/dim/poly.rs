//! Polynomials over atoms in canonical form, and the table that numbers them.

use super::{Dim, Sizes};
use std::collections::HashMap;
use std::fmt;
use std::sync::{OnceLock, PoisonError, RwLock};

/// What a polynomial is over.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Atom {
    /// A symbolic size.
    Size(String),
    /// `a / b` rounded down.
    FloorDiv(Dim, Dim),
    /// The larger.
    Max(Dim, Dim),
    /// The smaller.
    Min(Dim, Dim),
}

/// Atoms with their powers, in the order of their text.
type Monomial = Vec<(Atom, u32)>;

/// A sum of monomials with coefficients that are not 0, in the order in which it prints: higher degrees first.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Poly(Vec<(Monomial, i64)>);

#[derive(Default)]
struct Table {
    entries: Vec<Poly>,
    numbers: HashMap<Poly, u32>,
}

fn table() -> &'static RwLock<Table> {
    static TABLE: OnceLock<RwLock<Table>> = OnceLock::new();
    TABLE.get_or_init(RwLock::default)
}

/// The polynomial with that number.
pub(super) fn entry(i: u32) -> Poly {
    let table = table().read().unwrap_or_else(PoisonError::into_inner);
    table.entries.get(i as usize).cloned().unwrap_or_else(|| Poly::number(0))
}

/// The dim that a polynomial is: a number if it is one, else an entry of the table.
pub(super) fn enter(p: Poly) -> Dim {
    if let Some(v) = p.constant() {
        return Dim::known_to_be(v);
    }
    if let Some(i) = table().read().unwrap_or_else(PoisonError::into_inner).numbers.get(&p) {
        return Dim::from_entry(*i);
    }
    let mut table = table().write().unwrap_or_else(PoisonError::into_inner);
    let table = &mut *table;
    let i = *table.numbers.entry(p.clone()).or_insert_with(|| {
        table.entries.push(p);
        table.entries.len() as u32 - 1
    });
    Dim::from_entry(i)
}

impl Atom {
    fn bind(&self, sizes: &Sizes) -> Dim {
        match self {
            Atom::Size(name) => sizes.get(name).map_or_else(|| Dim::size(name), Dim::from),
            Atom::FloorDiv(a, b) => a.bind(sizes).floor_div(b.bind(sizes)),
            Atom::Max(a, b) => a.bind(sizes).max(b.bind(sizes)),
            Atom::Min(a, b) => a.bind(sizes).min(b.bind(sizes)),
        }
    }

    /// A number that it is never below.
    fn least(&self) -> Option<i64> {
        match self {
            Atom::Size(_) => Some(0),
            Atom::FloorDiv(a, b) => match (a.least(), b.known()) {
                (Some(a), Some(b)) if b > 0 => Some(a.div_euclid(b)),
                (Some(0..), None) => Some(0),
                _ => None,
            },
            Atom::Max(a, b) => a.least().max(b.least()),
            Atom::Min(a, b) => Some(a.least()?.min(b.least()?)),
        }
    }
}

impl Poly {
    pub(super) fn number(v: i64) -> Poly {
        Poly(if v == 0 { Vec::new() } else { vec![(Vec::new(), v)] })
    }

    pub(super) fn atom(a: Atom) -> Poly {
        Poly(vec![(vec![(a, 1)], 1)])
    }

    /// The name, if it is a size that stands alone.
    pub(super) fn as_size(&self) -> Option<String> {
        match self.0.as_slice() {
            [(m, 1)] => match m.as_slice() {
                [(Atom::Size(n), 1)] => Some(n.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    fn constant(&self) -> Option<i64> {
        match self.0.as_slice() {
            [] => Some(0),
            [(m, c)] if m.is_empty() => Some(*c),
            _ => None,
        }
    }

    fn from_terms(terms: impl IntoIterator<Item = (Monomial, i64)>) -> Poly {
        let mut sum: HashMap<Monomial, i64> = HashMap::new();
        for (m, c) in terms {
            let at = sum.entry(m).or_default();
            *at = at.saturating_add(c);
        }
        let mut all: Vec<(Monomial, i64)> = sum.into_iter().filter(|(_, c)| *c != 0).collect();
        all.sort_by_cached_key(|(m, _)| (std::cmp::Reverse(degree(m)), text(m)));
        Poly(all)
    }

    pub(super) fn add(&self, other: &Poly) -> Poly {
        Poly::from_terms(self.0.iter().chain(&other.0).cloned())
    }

    pub(super) fn sub(&self, other: &Poly) -> Poly {
        let minus = other.0.iter().map(|(m, c)| (m.clone(), c.saturating_neg()));
        Poly::from_terms(self.0.iter().cloned().chain(minus))
    }

    pub(super) fn mul(&self, other: &Poly) -> Poly {
        let pairs = self.0.iter().flat_map(|a| other.0.iter().map(move |b| (a, b)));
        Poly::from_terms(pairs.map(|((m, c), (n, d))| (times(m, n), c.saturating_mul(*d))))
    }

    /// Long division by the leading term; `None` if something is left.
    pub(super) fn exact_div(&self, by: &Poly) -> Option<Poly> {
        let (lead, c) = by.0.first()?;
        let mut rest = self.clone();
        let mut quotient = Vec::new();
        // Every step takes away the leading term; a quotient has no more terms than this.
        for _ in 0..64 {
            let Some((m, d)) = rest.0.first() else { return Some(Poly::from_terms(quotient)) };
            if d % c != 0 {
                return None;
            }
            let term = Poly(vec![(over(m, lead)?, d / c)]);
            rest = rest.sub(&term.mul(by));
            quotient.extend(term.0);
        }
        None
    }

    pub(super) fn least(&self) -> Option<i64> {
        self.0.iter().try_fold(0i64, |sum, (m, c)| {
            if m.is_empty() {
                return sum.checked_add(*c);
            }
            let least = m.iter().try_fold(1i64, |p, (a, power)| {
                let l = a.least().filter(|l| *l >= 0)?;
                p.checked_mul(l.checked_pow(*power)?)
            })?;
            if *c < 0 { None } else { sum.checked_add(c.checked_mul(least)?) }
        })
    }

    /// The negated negative terms, and the positive ones.
    pub(super) fn split(&self) -> (Poly, Poly) {
        let minus = self.0.iter().filter(|(_, c)| *c < 0).map(|(m, c)| (m.clone(), c.saturating_neg()));
        let plus = self.0.iter().filter(|(_, c)| *c > 0).cloned();
        (Poly(minus.collect()), Poly(plus.collect()))
    }

    pub(super) fn bind(&self, sizes: &Sizes) -> Dim {
        self.0.iter().fold(Dim::ZERO, |sum, (m, c)| {
            let product = m.iter().fold(Dim::from(*c), |p, (a, power)| {
                let v = a.bind(sizes);
                (0..*power).fold(p, |p, _| p * v)
            });
            sum + product
        })
    }

    pub(super) fn names(&self, out: &mut Vec<String>) {
        for (a, _) in self.0.iter().flat_map(|(m, _)| m) {
            match a {
                Atom::Size(n) if !out.contains(n) => out.push(n.clone()),
                Atom::Size(_) => {}
                Atom::FloorDiv(x, y) | Atom::Max(x, y) | Atom::Min(x, y) => {
                    x.names(out);
                    y.names(out);
                }
            }
        }
    }
}

fn degree(m: &Monomial) -> u32 {
    m.iter().map(|(_, p)| p).sum()
}

fn text(m: &Monomial) -> String {
    let factors: Vec<String> = m.iter().flat_map(|(a, p)| std::iter::repeat_n(a.to_string(), *p as usize)).collect();
    factors.join("*")
}

fn times(m: &Monomial, n: &Monomial) -> Monomial {
    let mut out = m.clone();
    for (a, p) in n {
        match out.iter_mut().find(|(b, _)| a == b) {
            Some((_, q)) => *q += p,
            None => out.push((a.clone(), *p)),
        }
    }
    out.sort_by_cached_key(|(a, _)| a.to_string());
    out
}

/// `m / n` if every power is there.
fn over(m: &Monomial, n: &Monomial) -> Option<Monomial> {
    let mut out = m.clone();
    for (a, p) in n {
        let (_, q) = out.iter_mut().find(|(b, _)| a == b)?;
        *q = q.checked_sub(*p)?;
    }
    out.retain(|(_, p)| *p > 0);
    Some(out)
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Atom::Size(n) => f.write_str(n),
            Atom::FloorDiv(a, b) => write!(f, "floor_div({a}, {b})"),
            Atom::Max(a, b) => write!(f, "max({a}, {b})"),
            Atom::Min(a, b) => write!(f, "min({a}, {b})"),
        }
    }
}

impl fmt::Display for Poly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("0");
        }
        for (i, (m, c)) in self.0.iter().enumerate() {
            f.write_str(match (i, *c < 0) {
                (0, false) => "",
                (0, true) => "-",
                (_, false) => " + ",
                (_, true) => " - ",
            })?;
            match (m.is_empty(), c.unsigned_abs()) {
                (true, c) => write!(f, "{c}")?,
                (false, 1) => f.write_str(&text(m))?,
                (false, c) => write!(f, "{}*{c}", text(m))?,
            }
        }
        Ok(())
    }
}

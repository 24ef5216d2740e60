//! Values of sizes, and what a program assumes of them.

use super::{Dim, needs_sizes};
use crate::error::Result;
use std::cell::RefCell;
use std::fmt;

/// Values of symbolic sizes, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sizes {
    entries: Vec<(String, i64)>,
}

impl Sizes {
    /// Sizes with their values.
    pub fn new<S: Into<String>>(entries: impl IntoIterator<Item = (S, i64)>) -> Sizes {
        Sizes { entries: entries.into_iter().map(|(n, v)| (n.into(), v)).collect() }
    }

    /// The value of a size.
    pub fn get(&self, name: &str) -> Option<i64> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.entries.iter().map(|(n, v)| (n.as_str(), *v))
    }
}

/// That an expression of sizes is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Assumption(Dim);

impl Assumption {
    /// Whether these sizes are as assumed.
    pub fn admits(&self, sizes: &Sizes) -> bool {
        self.0.bind(sizes).known().is_some_and(|d| d >= 0)
    }

    /// Whether it holds wherever the other one does.
    fn follows_from(&self, other: &Assumption) -> bool {
        (self.0 - other.0).least().is_some_and(|v| v >= 0)
    }
}

/// Prints as `10 <= B`.
impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (small, large) = self.0.sides();
        write!(f, "{small} <= {large}")
    }
}

/// Without those that follow from others.
pub fn strongest(all: &[Assumption]) -> Vec<Assumption> {
    let mut out: Vec<Assumption> = Vec::new();
    for a in all {
        if !out.iter().any(|b| a.follows_from(b)) {
            out.retain(|b| !b.follows_from(a));
            out.push(*a);
        }
    }
    out
}

/// What is assumed while a program with symbolic sizes is made.
#[derive(Debug)]
pub struct Scope {
    hints: Sizes,
    assumed: Vec<Assumption>,
    /// Whether the sizes are those of one run, in which every expression has a value.
    bound: bool,
}

thread_local! {
    static CURRENT: RefCell<Vec<Scope>> = const { RefCell::new(Vec::new()) };
}

impl Scope {
    /// Runs `f`, deciding what depends on sizes by `hints`; gives what was assumed.
    pub fn within<R>(hints: &Sizes, f: impl FnOnce() -> R) -> (R, Vec<Assumption>) {
        Scope::enter(hints, false, f)
    }

    /// Runs `f`, which runs a graph with symbolic sizes on arguments of these sizes: every expression has a value.
    pub fn bound<R>(sizes: &Sizes, f: impl FnOnce() -> R) -> R {
        Scope::enter(sizes, true, f).0
    }

    fn enter<R>(hints: &Sizes, bound: bool, f: impl FnOnce() -> R) -> (R, Vec<Assumption>) {
        struct Pop;
        impl Drop for Pop {
            fn drop(&mut self) {
                CURRENT.with(|c| c.borrow_mut().pop());
            }
        }
        CURRENT.with(|c| c.borrow_mut().push(Scope { hints: hints.clone(), assumed: Vec::new(), bound }));
        let pop = Pop;
        let r = f();
        let assumed = CURRENT.with(|c| c.borrow_mut().last_mut().map(|s| std::mem::take(&mut s.assumed)));
        drop(pop);
        (r, assumed.unwrap_or_default())
    }
}

/// The value of an extent for the sizes at hand, if there are any.
pub fn hint(d: Dim) -> Option<i64> {
    match d.known() {
        Some(v) => Some(v),
        None => CURRENT.with(|c| c.borrow().last().and_then(|s| d.bind(&s.hints).known())),
    }
}

/// The value of an expression in a run whose sizes are bound.
pub(super) fn bound(d: Dim) -> Option<i64> {
    CURRENT.with(|c| c.borrow().last().filter(|s| s.bound).and_then(|s| d.bind(&s.hints).known()))
}

/// Whether `a <= b`: for all sizes if that can be seen, else for the sizes at hand, which is then assumed.
///
/// # Errors
/// One that says that sizes must be known, if none are at hand.
pub fn at_most(a: impl Into<Dim>, b: impl Into<Dim>) -> Result<bool> {
    let (a, b) = (a.into(), b.into());
    let left = b - a;
    if left.least().is_some_and(|v| v >= 0) {
        return Ok(true);
    }
    if (-left).least().is_some_and(|v| v > 0) {
        return Ok(false);
    }
    CURRENT.with(|c| {
        let mut scopes = c.borrow_mut();
        let waiting = || needs_sizes(&left.to_string());
        let scope = scopes.last_mut().ok_or_else(waiting)?;
        let holds = left.bind(&scope.hints).known().ok_or_else(waiting)? >= 0;
        let assumption = Assumption(if holds { left } else { -left - 1 });
        if !scope.assumed.contains(&assumption) {
            scope.assumed.push(assumption);
        }
        Ok(holds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_sizes_is_assumed() {
        let b = Dim::size("B");
        assert!(at_most(Dim::ZERO, b).unwrap());
        assert!(!at_most(b + 1, b).unwrap());
        assert!(at_most(Dim::ONE, b).unwrap_err().is_waiting_for_sizes());
        let (r, assumed) = Scope::within(&Sizes::new([("B", 5)]), || (at_most(1i64, b), at_most(b, 4i64)));
        assert!(r.0.unwrap() && !r.1.unwrap());
        assert_eq!(assumed.iter().map(Assumption::to_string).collect::<Vec<_>>(), ["1 <= B", "5 <= B"]);
        assert_eq!(strongest(&assumed).iter().map(Assumption::to_string).collect::<Vec<_>>(), ["5 <= B"]);
        assert!(assumed.iter().all(|a| a.admits(&Sizes::new([("B", 7)]))));
        assert!(!assumed.iter().all(|a| a.admits(&Sizes::new([("B", 0)]))));
    }
}

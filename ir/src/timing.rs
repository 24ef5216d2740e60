//! What the parts of a compilation take, for who asks.
//!
//! Each part says its name where it is done ([`part`]); nothing is measured unless somebody collects. A part inside another
//! one is not counted twice. Only what the collecting thread does itself is seen.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Parts in the order in which they first came, with the time they took.
pub type Times = Vec<(&'static str, Duration)>;

#[derive(Default)]
struct Collected {
    times: Times,
    /// For each part that is going on, what the parts inside it have taken.
    inside: Vec<Duration>,
}

thread_local! {
    static COLLECTED: RefCell<Option<Collected>> = const { RefCell::new(None) };
}

/// Runs `f`, and gives what the parts of it took.
pub fn collect<T>(f: impl FnOnce() -> T) -> (T, Times) {
    let before = COLLECTED.replace(Some(Collected::default()));
    let result = f();
    let own = COLLECTED.replace(before);
    (result, own.unwrap_or_default().times)
}

/// Runs `f` as a part of that name.
pub fn part<T>(name: &'static str, f: impl FnOnce() -> T) -> T {
    let collecting = COLLECTED.with_borrow_mut(|c| c.as_mut().map(|c| c.inside.push(Duration::ZERO)).is_some());
    if !collecting {
        return f();
    }
    let start = Instant::now();
    let result = f();
    let took = start.elapsed();
    COLLECTED.with_borrow_mut(|c| {
        let Some(c) = c else { return };
        let own = took.saturating_sub(c.inside.pop().unwrap_or_default());
        if let Some(outer) = c.inside.last_mut() {
            *outer += took;
        }
        match c.times.iter_mut().find(|(n, _)| *n == name) {
            Some((_, t)) => *t += own,
            None => c.times.push((name, own)),
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_once_and_only_for_who_asks() {
        part("nobody", || ());
        let wait = || std::thread::sleep(Duration::from_millis(2));
        let (result, times) = collect(|| {
            part("outer", || {
                part("inner", wait);
                part("inner", wait);
                7
            })
        });
        assert_eq!(result, 7);
        let of = |name| times.iter().find(|(n, _)| *n == name).map(|(_, t)| *t).unwrap_or_default();
        assert_eq!(times.len(), 2);
        assert!(of("inner") >= Duration::from_millis(4) && of("outer") < of("inner"), "{times:?}");
    }
}

//! Numbers that stand for any size while a function is checked.
//!
//! A graph has concrete shapes, so a function with sizes is checked by tracing it with a distinct large prime for each.
//! Two sizes are then equal only if they are the same expression, and none is 1, which is the language's rule for
//! broadcasting. What cannot be known without the sizes (whether an index is inside, whether a shape divides) may fail
//! for one choice of primes although it is right for the sizes that will come; so there are two choices, the second one
//! larger and with many divisors, and only what fails for both is wrong. In messages the numbers become sizes again.

use super::sizes::Sizes;
use super::walk;
use crate::dim::Dim;
use crate::error::Error;
use crate::text::ast::{self, DimKind, ExprKind, Program};
use std::collections::HashSet;

/// The two choices of numbers that stand for a function's sizes; see the module's text.
pub(super) fn stand_ins(program: &Program, f: &ast::Fn) -> [Sizes; 2] {
    let mut order: Vec<&str> = Vec::new();
    for d in f.params.iter().flat_map(|p| &p.ty.dims) {
        if let DimKind::Size(n) = &d.kind
            && !order.contains(&n.as_str())
        {
            order.push(n);
        }
    }
    let mut literals = HashSet::new();
    program.fns.iter().for_each(|f| collect(f, &mut literals));
    let mut small: Vec<i64> = literals.iter().copied().filter(|v| (2..=64).contains(v)).collect();
    small.sort_unstable();
    let divisors = small.into_iter().fold(8, |m, v| {
        let l = lcm(m, v);
        if l <= 840 { l } else { m }
    });
    let beyond = literals.iter().copied().filter(|v| *v < 20_000).max().unwrap_or(0);
    let pick = |from: i64, apart: i64, scale: i64| {
        let mut at = from;
        let mut entries = Vec::new();
        for name in &order {
            while !is_prime(at) || literals.contains(&(at * scale)) {
                at += 1;
            }
            entries.push((name.to_string(), Dim::from(at * scale)));
            at += apart;
        }
        Sizes { entries }
    };
    // Small enough that a tensor with six of them as extents is no larger than tensors may be.
    [pick(101, 29, 1), pick((beyond / divisors).max(103), 31, divisors)]
}

fn lcm(a: i64, b: i64) -> i64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

fn is_prime(n: i64) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
}

/// The integer literals of a function.
fn collect(f: &ast::Fn, out: &mut HashSet<i64>) {
    fn dim(d: &ast::Dim, out: &mut HashSet<i64>) {
        match &d.kind {
            DimKind::Int(v) => {
                out.insert(*v);
            }
            DimKind::Size(_) => {}
            DimKind::Bin(_, a, b) => {
                dim(a, out);
                dim(b, out);
            }
        }
    }
    f.params.iter().flat_map(|p| &p.ty.dims).for_each(|d| dim(d, out));
    walk::expressions(f, &mut |e| {
        if let ExprKind::Int(v) = e.kind {
            out.insert(v);
        }
    });
}

/// The error with sizes in place of the numbers that stood for them.
pub(super) fn rename(e: Error, sizes: &Sizes) -> Error {
    let d = e.diagnostic();
    let message = numbers(&d.message, sizes);
    let stretches = d.message.contains("must match the size of tensor b") && message != d.message;
    let mut out = Error::new(d.kind, message).at(d.loc).label(numbers(&d.label, sizes));
    for (loc, note) in &d.notes {
        out = out.note(*loc, numbers(note, sizes));
    }
    match &d.help {
        _ if stretches => {
            out.help("a size broadcasts only with 1 or with the same size; to stretch it, write `expand`")
        }
        Some(h) => out.help(numbers(h, sizes)),
        None => out,
    }
}

/// Replaces every integer of the text that is a size or a simple expression of sizes.
fn numbers(text: &str, sizes: &Sizes) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Whether the text so far ends with a number.
    let mut number = false;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[at..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| at + n);
        let before = rest[..at].chars().next_back();
        let mut after = rest[end..].chars();
        // Matrices are `2x3`.
        let times = number && &rest[..at] == "x";
        let after = match (after.next(), after.next()) {
            (Some('x'), Some(c)) if c.is_ascii_digit() => None,
            (c, _) => c,
        };
        // Not the digits of `f32`, of a name or of a float.
        let alone = (times || !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.'))
            && !after.is_some_and(|c| c.is_alphabetic() || c == '_');
        number = alone;
        out.push_str(&rest[..at]);
        let digits = &rest[at..end];
        match digits.parse::<i64>().ok().filter(|_| alone).and_then(|n| expression(n, sizes)) {
            Some(e) => out.push_str(&e),
            None => out.push_str(digits),
        }
        rest = &rest[end..];
    }
    out + rest
}

/// `B`, `2*B`, `B*N`, `B*N*4`, `B + 1`: what the number most likely is.
fn expression(n: i64, sizes: &Sizes) -> Option<String> {
    let known = || sizes.iter().filter_map(|(name, v)| v.known().map(|v| (name, v)));
    if let Some((name, _)) = known().find(|(_, v)| *v == n) {
        return Some(name.into());
    }
    let mut left = n;
    let mut factors: Vec<&str> = Vec::new();
    for (name, v) in known().filter(|(_, v)| *v > 1) {
        while left > 0 && left % v == 0 {
            left /= v;
            factors.push(name);
        }
    }
    if !factors.is_empty() {
        let number = left.to_string();
        if left != 1 {
            factors.push(&number);
        }
        return Some(factors.join("*"));
    }
    known()
        .find(|(_, v)| (n - v).abs() <= 12)
        .map(|(name, v)| if n > v { format!("{name} + {}", n - v) } else { format!("{name} - {}", v - n) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::err;

    #[test]
    fn messages_name_the_sizes() {
        let sizes = Sizes { entries: vec![("B".into(), 101.into()), ("N".into(), 131.into())] };
        let e = err::shape("`add`: shapes [101, 3] and f32[13231, 130] at 202 (101x131 and 3x101)").help("101");
        let e = rename(e, &sizes);
        assert_eq!(e.diagnostic().message, "`add`: shapes [B, 3] and f32[B*N, N - 1] at B*2 (BxN and 3xB)");
        assert_eq!(e.diagnostic().help.as_deref(), Some("B"));
        assert_eq!(numbers("v101 1.101 101x 7", &sizes), "v101 1.101 101x 7");
    }

    #[test]
    fn stand_ins_are_no_literal_of_the_program() {
        let src = "fn f(x: f32[A, B, 101], y: f32[C, 131]) { x.view(-1, 12) + 160 }";
        let program = crate::text::parse(src).unwrap();
        for sizes in stand_ins(&program, &program.fns[0]) {
            let values: Vec<i64> = sizes.iter().map(|(_, v)| v.known().unwrap()).collect();
            assert_eq!(values.len(), 3);
            assert!(values.iter().all(|v| *v > 100 && ![101, 131, 160].contains(v)), "{values:?}");
            assert!(values.windows(2).all(|w| w[0] < w[1]));
        }
        let [_, divisible] = stand_ins(&program, &program.fns[0]);
        assert!(divisible.iter().all(|(_, v)| v.known().unwrap() % 12 == 0));
    }
}

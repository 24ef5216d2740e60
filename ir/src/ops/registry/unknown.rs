//! What to say of a name that no function has: the closest one.

use super::list;
use crate::error::err;

/// The error of a name that no function has, with the closest one.
pub fn unknown(name: &str) -> crate::Error {
    let base = name.trim_end_matches('_');
    let e = err::name(format!("there is no function `{name}`"));
    match list().into_iter().map(|(n, _, _)| (distance(n, base), n.len().abs_diff(base.len()), n)).min() {
        Some((d, _, n)) if d <= 2 && d < base.len() => e.help(format!("did you mean `{n}`?")),
        _ => e,
    }
}

/// How many characters to insert, delete or replace to get from one name to the other.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + (x != *y) as usize).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

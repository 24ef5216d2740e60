//! Rules about `slice_update`, the pure form of a write, and about slices of one.

use super::super::region::{compose, meet};
use super::views::whole;
use super::{Rewrite, Rules};
use crate::dim::Dim;
use crate::graph::Value;
use crate::ops::Op;
use crate::ops::view::{Slice, SliceUpdate};
use crate::types::Span;

/// `base` with the slice `s` replaced by `update`.
pub fn slice_update(r: Rules<'_>, s: &Slice, base: Value, update: Value) -> Rewrite {
    // Nothing written: the base.
    if s.0.iter().any(|span| span.len.is(0)) {
        return Ok(Some(base));
    }
    // x[:] = u is u.
    if whole(s, &r.shape(base)) {
        return Ok(Some(update));
    }
    // One number over the same number.
    if let (Some(a), Some(b)) = (r.number(base), r.number(update))
        && a == b
    {
        return Ok(Some(base));
    }
    match r.op(update) {
        // x[s] = x[s] is x.
        Op::Slice(t) if t == *s && r.operand(update, 0) == base => return Ok(Some(base)),
        // x[s] = (x[s])[t] = u is x[s of t] = u.
        Op::SliceUpdate(t) => {
            let old = r.operand(update, 0);
            if matches!(r.op(old), Op::Slice(o) if o == *s && r.operand(old, 0) == base) {
                let ranges = s.0.iter().zip(&t.0.0).map(|(a, b)| compose(*a, *b)).collect();
                let inner = r.operand(update, 1);
                return r.make(Op::SliceUpdate(SliceUpdate(Slice(ranges))), &[base, inner]).map(Some);
            }
        }
        _ => {}
    }
    // (x[t] = v)[s] = u is x[s] = u where s covers t.
    if let Op::SliceUpdate(t) = r.op(base)
        && covers(s, &t.0)
    {
        return r.make(Op::SliceUpdate(SliceUpdate(s.clone())), &[r.operand(base, 0), update]).map(Some);
    }
    Ok(None)
}

/// The slice `s` of `x`, where `x` was updated.
pub fn slice(r: Rules<'_>, s: &Slice, x: Value) -> Rewrite {
    let Op::SliceUpdate(t) = r.op(x) else { return Ok(None) };
    let t = &t.0;
    // (x[t] = u)[s] = u[s within t]
    if let Some(inside) = within(s, t) {
        return r.make(Op::Slice(inside), &[r.operand(x, 1)]).map(Some);
    }
    // (x[t] = u)[s] = x[s] where they do not meet.
    if s.0.iter().zip(&t.0).any(|(a, b)| meet(*a, *b) == Some(false)) {
        return r.make(Op::Slice(s.clone()), &[r.operand(x, 0)]).map(Some);
    }
    Ok(None)
}

/// Whether every element of `t` is one of `s`.
fn covers(s: &Slice, t: &Slice) -> bool {
    within(t, s).is_some()
}

/// The slice of slice `t` that takes the elements of `s`, if `t` has all of them.
fn within(s: &Slice, t: &Slice) -> Option<Slice> {
    s.0.iter().zip(&t.0).map(|(a, b)| range_within(*a, *b)).collect::<Option<_>>().map(Slice)
}

fn range_within(a: Span, b: Span) -> Option<Span> {
    // Seen for symbolic sizes too: all of something is all of it.
    if a == b && a.len != Dim::ZERO {
        return Some(Span::all(a.len));
    }
    let first = (a.start - b.start).known()?;
    let (alen, blen) = (a.len.known()?, b.len.known()?);
    let last = first + (alen - 1) * a.step;
    let on = |d: i64| d % b.step == 0 && d / b.step >= 0 && d / b.step < blen;
    let steps = alen == 1 || a.step % b.step == 0;
    (alen > 0 && steps && on(first) && on(last)).then(|| Span {
        start: (first / b.step).into(),
        len: a.len,
        step: if alen == 1 { 1 } else { a.step / b.step },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_within_another_takes_the_same_elements(
            s1 in 0i64..6, n1 in 1i64..4, t1 in 1i64..4,
            s2 in 0i64..6, n2 in 1i64..6, t2 in 1i64..4,
        ) {
            let span = |s: i64, n: i64, step| Span { start: s.into(), len: n.into(), step };
            let (a, b) = (span(s1, n1, t1), span(s2, n2, t2));
            let elements = |r: Span| {
                (0..r.len.known().unwrap()).map(|i| r.start.known().unwrap() + i * r.step).collect::<Vec<_>>()
            };
            let inside = elements(a).iter().all(|x| elements(b).contains(x));
            let got = range_within(a, b);
            prop_assert_eq!(got.is_some(), inside);
            if let Some(r) = got {
                prop_assert_eq!(elements(compose(b, r)), elements(a));
            }
        }
    }
}

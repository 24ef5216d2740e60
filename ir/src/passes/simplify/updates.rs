//! Rules about `slice_update`, the pure form of a write, and about slices of one.

use super::super::region::{compose, meet};
use super::views::whole;
use super::{Rewrite, Rules};
use crate::graph::Value;
use crate::ops::Op;
use crate::ops::view::{Slice, SliceUpdate};
use crate::types::Range;

/// `base` with the slice `s` replaced by `update`.
pub fn slice_update(r: Rules<'_>, s: &Slice, base: Value, update: Value) -> Rewrite {
    // Nothing written: the base.
    if s.0.iter().any(|range| range.len == 0) {
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
    if s.0.iter().zip(&t.0).any(|(a, b)| !meet(*a, *b)) {
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

fn range_within(a: Range, b: Range) -> Option<Range> {
    let first = a.start as isize - b.start as isize;
    let last = first + (a.len as isize - 1) * a.step;
    let on = |d: isize| d % b.step == 0 && d / b.step >= 0 && d / b.step < b.len as isize;
    let steps = a.len == 1 || a.step % b.step == 0;
    (a.len > 0 && steps && on(first) && on(last)).then(|| Range {
        start: (first / b.step) as usize,
        len: a.len,
        step: if a.len == 1 { 1 } else { a.step / b.step },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_within_another_takes_the_same_elements(
            s1 in 0usize..6, n1 in 1usize..4, t1 in 1isize..4,
            s2 in 0usize..6, n2 in 1usize..6, t2 in 1isize..4,
        ) {
            let (a, b) = (Range { start: s1, len: n1, step: t1 }, Range { start: s2, len: n2, step: t2 });
            let elements = |r: Range| (0..r.len as isize).map(|i| r.start as isize + i * r.step).collect::<Vec<_>>();
            let inside = elements(a).iter().all(|x| elements(b).contains(x));
            let got = range_within(a, b);
            prop_assert_eq!(got.is_some(), inside);
            if let Some(r) = got {
                prop_assert_eq!(elements(compose(b, r)), elements(a));
            }
        }
    }
}

//! Arguments that share elements, in programs that write to them: they become views of one parameter, the *base*.
//!
//! A program is first traced as if its arguments were apart. If it then writes to one that shares elements with another,
//! it is traced again with one parameter for all of those, of which each is a view. So the program knows what changes with
//! what by the rules of views that it makes itself, and there is one set of rules. Programs that only read have no bases.

use crate::jit::end;
use crate::tensor::concrete::Concrete;
use crate::tensor::{Repr, Tensor};
use crate::trace::Trace;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::sync::Arc;
use tensorc_ir::error::err;
use tensorc_ir::ops::{strided, view};
use tensorc_ir::types::{Shape, Span};
use tensorc_ir::{Dim, Graph, Layout, Op, Result, Strided};
use tensorc_runtime::executable::{Args, View, shares_donated};

/// What the parameters of a program are bound to.
pub(crate) struct Params {
    /// For each one, if they are not simply the arguments and then the captured tensors.
    each: Option<Vec<Param>>,
    /// The tensors that the function captured.
    pub(crate) captured: Vec<Arc<Concrete>>,
}

enum Param {
    /// The argument or captured tensor of that number.
    Own(usize),
    /// Memory that several share.
    Base(Base),
}

/// Memory that several tensors share, as one parameter.
struct Base {
    /// One of the tensors, and how many elements before its first one the base begins.
    of: usize,
    before: usize,
    /// How it lies, from offset 0: row-major, or as each of its members.
    layout: Layout,
    /// The tensors, each with the views that it is of the base, first applied first.
    members: Vec<(usize, Vec<Op>)>,
}

impl Params {
    /// Whether they are simply the arguments.
    pub(crate) fn are_arguments(&self) -> bool {
        self.each.is_none() && self.captured.is_empty()
    }

    /// The memory that several of these arguments and the captured tensors share, for each base.
    pub(crate) fn bases<'a>(&'a self, args: &[&'a View]) -> Vec<View> {
        let Some(each) = &self.each else { return Vec::new() };
        let all = self.all(args);
        each.iter().filter_map(|p| if let Param::Base(b) = p { Some(b.view(&all)) } else { None }).collect()
    }

    /// What to call the program with for these arguments, of which `bases` are the bases.
    pub(crate) fn of<'a>(&'a self, args: &[&'a View], bases: &'a [View]) -> Args<'a> {
        let all = self.all(args);
        let Some(each) = &self.each else { return all };
        let mut bases = bases.iter();
        let one = |p: &Param| if let Param::Own(i) = p { all.get(*i).copied() } else { bases.next() };
        each.iter().filter_map(one).collect()
    }

    /// The arguments and the captured tensors.
    fn all<'a>(&'a self, args: &[&'a View]) -> Args<'a> {
        let mut all = Args::from_slice(args);
        self.captured.iter().for_each(|c| all.push(&c.view));
        all
    }

    /// How arguments share elements with the captured tensors.
    pub(crate) fn sharing(&self, args: &[&View]) -> Words {
        let mut words = Words::new();
        for v in &self.captured {
            sharing(v, args, &mut words);
            words.push(u64::MAX);
        }
        words
    }

    /// For each parameter, the argument or captured tensor that it is; `None` for memory that several share.
    pub(crate) fn tensors(&self, args: &[&Arc<Concrete>]) -> Vec<Option<Arc<Concrete>>> {
        let all: Vec<_> = args.iter().copied().chain(&self.captured).cloned().map(Some).collect();
        match &self.each {
            None => all,
            Some(each) => each.iter().map(|p| if let Param::Own(i) = p { all[*i].clone() } else { None }).collect(),
        }
    }

    /// The parameter that an argument is.
    ///
    /// # Errors
    /// `alias` if it is a part of memory that others share.
    pub(crate) fn position(&self, argument: usize) -> Result<usize> {
        let Some(each) = &self.each else { return Ok(argument) };
        each.iter().position(|p| matches!(p, Param::Own(i) if *i == argument)).ok_or_else(shares_donated)
    }

    /// Whether the program has these bases.
    fn has(&self, bases: &[Base]) -> bool {
        let own = self.each.iter().flatten().filter_map(|p| if let Param::Base(b) = p { Some(b) } else { None });
        own.map(Base::numbers).eq(bases.iter().map(Base::numbers))
    }

    /// The arguments and captured tensors, of so many, that a program writes to if it writes to its parameters `written`.
    fn written(&self, written: &[usize]) -> Vec<usize> {
        let Some(each) = &self.each else { return written.to_vec() };
        let one = |p: &usize| match &each[*p] {
            Param::Own(i) => vec![*i],
            Param::Base(b) => b.numbers(),
        };
        written.iter().flat_map(one).collect()
    }
}

/// Words that say who shares elements with whom.
pub(crate) type Words = SmallVec<[u64; 8]>;

/// Adds to a signature which of `others` a tensor shares elements with, at which distance.
pub(crate) fn sharing(v: &View, others: &[&View], words: &mut Words) {
    for (i, other) in others.iter().enumerate() {
        if v.overlaps(other) {
            words.extend([1 << 40 | i as u64, v.layout.offset.wrapping_sub(other.layout.offset) as u64]);
        }
    }
}

/// The most times a function is traced until its bases are known; it takes two if it does the same each time.
const MOST_ATTEMPTS: usize = 4;

/// Traces a function of arguments: its program, what to bind its parameters to, and what `f` gives with the results.
///
/// # Errors
/// What `f` gives.
pub(crate) fn record<T>(
    args: &[&View],
    f: impl Fn(&Arc<Trace>, Vec<Tensor>) -> Result<(Vec<Tensor>, T)>,
) -> Result<(Graph, Params, T)> {
    let mut bases: Vec<Base> = Vec::new();
    let mut placed: Vec<Arc<Concrete>> = Vec::new();
    for _ in 0..MOST_ATTEMPTS {
        let trace = Trace::new("jit");
        // The arguments, then the captured tensors that are parts of bases.
        let all: Vec<&View> = args.iter().copied().chain(placed.iter().map(|c| &c.view)).collect();
        let mut tensors: Vec<Option<Tensor>> = vec![None; all.len()];
        for b in &bases {
            b.declare(&trace, &all)?.into_iter().for_each(|(i, t)| tensors[i] = Some(t));
        }
        let mut each: Vec<Param> = std::mem::take(&mut bases).into_iter().map(Param::Base).collect();
        for (i, v) in args.iter().enumerate().filter(|(i, _)| tensors[*i].is_none()).collect::<Vec<_>>() {
            tensors[i] = Some(trace.input(&format!("arg{i}"), v.dtype, &Strided::from(&v.layout))?);
            each.push(Param::Own(i));
        }
        for (v, t) in placed.iter().zip(&tensors[args.len()..]) {
            if let Some(t) = t {
                trace.place(Tensor(Repr::Concrete(v.clone())), trace.value_of(t)?);
            }
        }
        tensors.truncate(args.len());
        let (results, with) = f(&trace, tensors.into_iter().flatten().collect())?;
        let (graph, captured) = end(&trace, &results, each.len())?;
        each.extend((0..captured.len()).map(|k| Param::Own(all.len() + k)));
        let plain = placed.is_empty() && each.iter().enumerate().all(|(k, p)| matches!(p, Param::Own(i) if *i == k));
        let params = Params { each: (!plain).then_some(each), captured: placed.into_iter().chain(captured).collect() };
        let all = params.all(args).into_vec();
        let needed = self::bases(&all, &params.written(&graph.written()));
        if needed.iter().any(|b| b.has_gaps(&all)) {
            return Err(err::alias(
                "arguments share lent memory with gaps, which belong to others, and one is written",
            )
            .help("pass copies of them, or the whole tensor that they are parts of"));
        }
        if params.has(&needed) {
            return Ok((graph, params, with));
        }
        (bases, placed) = kept(needed, params.captured, args.len());
    }
    Err(err::unsupported("a function that captures other tensors each time it is traced"))
}

/// The captured tensors that are parts of bases, with the bases numbered for those only.
fn kept(mut bases: Vec<Base>, captured: Vec<Arc<Concrete>>, args: usize) -> (Vec<Base>, Vec<Arc<Concrete>>) {
    let mut number: Vec<usize> = (0..args).collect();
    let mut placed = Vec::new();
    for (k, v) in captured.into_iter().enumerate() {
        number.push(args + placed.len());
        if bases.iter().any(|b| b.numbers().contains(&(args + k))) {
            placed.push(v);
        }
    }
    for b in &mut bases {
        b.of = number[b.of];
        b.members.iter_mut().for_each(|(i, _)| *i = number[*i]);
    }
    (bases, placed)
}

/// Whether a program that writes to some of its tensors must know that they share memory with others.
pub(crate) fn writes_to_shared(all: &[&View], written: &[usize]) -> bool {
    !bases(all, written).is_empty()
}

impl Base {
    fn numbers(&self) -> Vec<usize> {
        self.members.iter().map(|(i, _)| *i).collect()
    }

    /// Its memory.
    fn view(&self, all: &[&View]) -> View {
        let of = all[self.of];
        let layout = Layout { offset: of.layout.offset - self.before, ..self.layout.clone() };
        View { storage: of.storage.clone(), dtype: of.dtype, layout }
    }

    /// Whether it has bytes that are no element of any of them and that others use.
    fn has_gaps(&self, all: &[&View]) -> bool {
        let memory = self.view(all);
        let is_it = |(i, _): &(usize, Vec<Op>)| {
            let (l, whole) = (&all[*i].layout, &memory.layout);
            l == whole || l.is_contiguous() && l.numel() == whole.numel()
        };
        !memory.storage.is_whole() && !self.members.iter().any(is_it)
    }

    /// Declares the parameter in a trace: its members, as tensors of the trace.
    fn declare(&self, trace: &Arc<Trace>, all: &[&View]) -> Result<Vec<(usize, Tensor)>> {
        let base = trace.input(&format!("memory{}", self.of), all[self.of].dtype, &Strided::from(&self.layout))?;
        let base = trace.value_of(&base)?;
        let member = |(i, ops): &(usize, Vec<Op>)| {
            let v = ops.iter().try_fold(base, |v, op| trace.with(|b| b.emit(op.clone(), &[v]))?)?;
            Ok((*i, trace.tensor(v)?))
        };
        self.members.iter().map(member).collect()
    }
}

/// The bases that a program needs which writes to the tensors `written`. Tensors of several dtypes have none in common.
fn bases(all: &[&View], written: &[usize]) -> Vec<Base> {
    let meets = |i: usize, j: usize| {
        (written.contains(&i) || written.contains(&j)) && all[i].dtype == all[j].dtype && all[i].overlaps(all[j])
    };
    let mut seen = vec![false; all.len()];
    let mut out: Vec<Base> = Vec::new();
    for first in 0..all.len() {
        if seen[first] {
            continue;
        }
        let mut members = vec![first];
        let mut at = 0;
        let mut found = None;
        loop {
            // What shares elements with a member.
            while let Some(i) = members.get(at).copied() {
                members.extend((0..all.len()).filter(|j| !members.contains(j) && meets(i, *j)).collect::<Vec<_>>());
                at += 1;
            }
            if members.len() > 1 {
                members.sort_unstable();
                found = base(all, &members);
            }
            // What lies in the base between them: it may be rewritten as a whole.
            let Some(memory) = found.as_ref().map(|b| b.view(all)) else { break };
            let other = out.iter().filter(|b| b.view(all).overlaps(&memory)).flat_map(Base::numbers);
            let within = (0..all.len()).filter(|j| memory.overlaps(all[*j]));
            let more: BTreeSet<usize> = other.chain(within).filter(|j| !members.contains(j)).collect();
            if more.is_empty() {
                break;
            }
            members.extend(more);
            at = 0;
        }
        members.iter().for_each(|i| seen[*i] = true);
        out.retain(|b| !b.numbers().iter().any(|i| members.contains(i)));
        out.extend(found);
    }
    out
}

/// The base of these tensors: one of them, if all are the same or it spans the others without gaps, or else all that lies
/// between as a vector.
fn base(all: &[&View], members: &[usize]) -> Option<Base> {
    let first = &all[*members.first()?].layout;
    if members.iter().all(|i| all[*i].layout == *first) {
        let members: Vec<_> = members.iter().map(|i| (*i, Vec::new())).collect();
        return Some(Base {
            of: members.first()?.0,
            before: 0,
            layout: Layout { offset: 0, ..first.clone() },
            members,
        });
    }
    let bounds = |i: &usize| all[*i].layout.bounds();
    let low = members.iter().filter_map(bounds).map(|(low, _)| low).min()?;
    let high = members.iter().filter_map(bounds).map(|(_, high)| high).max()?;
    let count = (high - low) as usize + 1;
    let place = |i: &usize| {
        let l = &all[*i].layout;
        Layout { offset: l.offset - low as usize, ..l.clone() }
    };
    let whole = |i: &&usize| place(i) == Layout::contiguous(&all[**i].layout.shape) && all[**i].layout.numel() == count;
    let parts = |base: &Layout| {
        let part = |i: &usize| Some((*i, part(base, &place(i))?));
        members.iter().map(part).collect::<Option<Vec<_>>>()
    };
    let owner = members.iter().find(whole).map(|i| Layout::contiguous(&all[*i].layout.shape));
    let owned = owner.and_then(|l| Some((parts(&l)?, l)));
    let (members, layout) = match owned {
        Some(found) => found,
        None => {
            let vector = Layout::contiguous(&[count]);
            let view = |i: &usize| (*i, part(&vector, &place(i)).unwrap_or_else(|| vec![by_strides(place(i))]));
            (members.iter().map(view).collect(), vector)
        }
    };
    let of = members.first()?.0;
    Some(Base { of, before: all[of].layout.offset - low as usize, layout, members })
}

fn by_strides(layout: Layout) -> Op {
    Op::Strided(strided::Strided { layout })
}

/// The views by which `l` is a part of the row-major `base`: a slice, an order of its dimensions, and dimensions of
/// extent 1 or stride 0 besides. `None` if it is more than that.
fn part(base: &Layout, l: &Layout) -> Option<Vec<Op>> {
    if l == base {
        return Some(Vec::new());
    }
    let span = |start: usize, len: usize, step: usize| Span { start: start.into(), len: len.into(), step: step as i64 };
    if base.shape.len() == 1 && l.is_contiguous() {
        let slice = Op::Slice(view::Slice([span(l.offset, l.numel(), 1)].into_iter().collect()));
        return Some(vec![slice, reshape(&l.shape)]);
    }
    let mut spans = Vec::new();
    let mut left = l.offset;
    for stride in &base.strides {
        let stride = usize::try_from(*stride).ok()?;
        spans.push((left / stride, 1, 1));
        left %= stride;
    }
    // Which dimension of the base each long dimension walks: the one of the largest stride that is not above its own.
    let mut order: Vec<usize> = Vec::new();
    let mut kept: Shape = Shape::new();
    for (n, stride) in l.shape.iter().zip(&l.strides) {
        let stride = usize::try_from(*stride).ok()?;
        if *n == 1 || stride == 0 {
            kept.push(1);
            continue;
        }
        let fits = |d: &usize| base.shape[*d] > 1 && base.strides[*d] as usize <= stride;
        let d = (0..base.shape.len()).find(fits)?;
        let by = base.strides[d] as usize;
        let (start, ..) = spans[d];
        if stride % by != 0 || order.contains(&d) || start + (n - 1) * (stride / by) >= base.shape[d] {
            return None;
        }
        spans[d] = (start, *n, stride / by);
        order.push(d);
        kept.push(*n);
    }
    order.extend((0..base.shape.len()).filter(|d| spans[*d].1 == 1));
    let slice = spans.iter().map(|(start, len, step)| span(*start, *len, *step)).collect();
    let mut ops =
        vec![Op::Slice(view::Slice(slice)), Op::Permute(view::Permute(order.into_iter().collect())), reshape(&kept)];
    if kept != l.shape {
        ops.push(Op::Expand(view::Expand(l.shape.iter().map(|n| Dim::from(*n)).collect())));
    }
    Some(ops)
}

fn reshape(shape: &[usize]) -> Op {
    Op::Reshape(view::Reshape(shape.iter().map(|n| Dim::from(*n)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorc_ir::types::Strides;

    /// Where the views lead, from the base.
    fn lands(base: &Layout, ops: &[Op]) -> Option<Layout> {
        ops.iter().try_fold(base.clone(), |l, op| op.layout(&l))
    }

    fn chain() -> impl Strategy<Value = (Layout, Layout)> {
        let base = proptest::collection::vec(1usize..5, 1..4).prop_map(|s| Layout::contiguous(&s));
        base.prop_flat_map(|base| {
            let ranges: Vec<_> = base.shape.iter().map(|n| (0..*n, 1..4usize, 1..4usize)).collect();
            let order = Just((0..base.shape.len()).collect::<Vec<_>>()).prop_shuffle();
            (Just(base), ranges, order, any::<bool>()).prop_map(|(base, ranges, order, wide)| {
                let range = |(n, (start, len, step)): (&usize, (usize, usize, usize))| {
                    let len = len.min((n - start).div_ceil(step));
                    tensorc_ir::types::Range { start, len, step: step as isize }
                };
                let ranges: Vec<_> = base.shape.iter().zip(ranges).map(range).collect();
                let mut l = base.slice(&ranges).permute(&order);
                if wide {
                    l = l.expand(&[&[3], &l.shape[..]].concat());
                }
                (base, l)
            })
        })
    }

    proptest! {
        /// Every slice, permutation and expansion of a base is found to be one again.
        #[test]
        fn a_part_of_a_base_is_the_views_that_lead_there((base, l) in chain()) {
            let found = part(&base, &l).and_then(|ops| lands(&base, &ops));
            prop_assert_eq!(found.map(|f| f.indices()), Some(l.indices()));
        }
    }

    #[test]
    fn a_diagonal_is_no_slice() {
        let (base, diagonal) = (
            Layout::contiguous(&[3, 3]),
            Layout { shape: Shape::from_slice(&[3]), strides: Strides::from_slice(&[4]), offset: 0 },
        );
        assert!(part(&base, &diagonal).is_none());
        let by = by_strides(diagonal.clone());
        assert_eq!(lands(&Layout::contiguous(&[9]), &[by]), Some(diagonal));
    }
}

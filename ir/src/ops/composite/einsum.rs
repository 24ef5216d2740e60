//! `einsum`: products summed over named dimensions.
//!
//! Operands are contracted from left to right, each pair by one batched product: dimensions of both that are still
//! needed are batches, those of both that are not are summed, the rest are rows and columns.

use super::{row, same_dtype, unit};
use crate::builder::{Builder, Ex};
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::ops::registry::{Arg, Args, FnDef};
use crate::ops::{Op, view};
use crate::types::ShapeText;
use std::collections::BTreeMap;

/// A named dimension: a letter, or the n-th from the last of those that `...` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Dots(usize),
    Letter(char),
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Label::Dots(_) => f.write_str("`...`"),
            Label::Letter(c) => write!(f, "`{c}`"),
        }
    }
}

/// A tensor with names for its dimensions.
#[derive(Clone)]
struct Named<'b> {
    x: Ex<'b>,
    labels: Vec<Label>,
}

/// The labels of one term, with `dots` dimensions for its ellipsis.
fn labels(term: &str, dots: usize) -> Result<Vec<Label>> {
    let mut out = Vec::new();
    let mut rest = term;
    let mut seen = false;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            if std::mem::replace(&mut seen, true) {
                return Err(err::ty(format!("`einsum`: two ellipses in {term:?}")));
            }
            out.extend((0..dots).rev().map(Label::Dots));
            rest = after;
        } else if c.is_ascii_alphabetic() {
            out.push(Label::Letter(c));
            rest = &rest[1..];
        } else {
            return Err(err::ty(format!("`einsum`: invalid subscript {c:?} in {term:?}")));
        }
    }
    Ok(out)
}

/// Names the dimensions of `x` by a term; a name that stands twice takes the diagonal.
fn named<'b>(x: Ex<'b>, term: &str) -> Result<Named<'b>> {
    let letters = term.replace("...", "").chars().count();
    let dots = x.rank().checked_sub(letters).filter(|d| *d == 0 || term.contains("..."));
    let Some(dots) = dots else {
        return Err(err::shape(format!("`einsum`: the subscripts {term:?} do not match the dimensions of {}", x.ty())));
    };
    let mut n = Named { x, labels: labels(term, dots)? };
    while let Some((i, j)) = twice(&n.labels) {
        let (r, c) = (n.x.shape()[i], n.x.shape()[j]);
        if r != c {
            return Err(err::shape(format!("`einsum`: {term:?} takes the diagonal of extents {r} and {c}")));
        }
        n.x = super::shape::view_of(n.x, Op::Diagonal(view::Diagonal { offset: 0, dim1: i, dim2: j }))?;
        let l = n.labels[i];
        n.labels.retain(|k| *k != l);
        n.labels.push(l);
    }
    Ok(n)
}

fn twice(labels: &[Label]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|j| labels[..j].iter().position(|l| *l == labels[j]).map(|i| (i, j)))
}

impl<'b> Named<'b> {
    /// Sums away the dimensions that nobody needs, and puts the others in that order.
    fn to(&self, order: &[Label]) -> Ex<'b> {
        let gone: Vec<usize> = (0..self.labels.len()).filter(|i| !order.contains(&self.labels[*i])).collect();
        let kept: Vec<Label> = self.labels.iter().copied().filter(|l| order.contains(l)).collect();
        let x = if gone.is_empty() { self.x } else { self.x.sum(&gone, false) };
        let at: Vec<usize> = order.iter().filter_map(|l| kept.iter().position(|k| k == l)).collect();
        x.permute(&at)
    }

    /// The product with another, over dimensions that are not needed any more.
    fn times(&self, other: &Named<'b>, needed: &[Label], size: &BTreeMap<Label, usize>) -> Named<'b> {
        let both = |l: &&Label| self.labels.contains(l) && other.labels.contains(l);
        let all: Vec<Label> = self.labels.clone();
        let batch: Vec<Label> = all.iter().filter(both).filter(|l| needed.contains(l)).copied().collect();
        let summed: Vec<Label> = all.iter().filter(both).filter(|l| !needed.contains(l)).copied().collect();
        let own = |n: &Named<'b>, o: &Named<'b>| -> Vec<Label> {
            n.labels.iter().filter(|l| !o.labels.contains(l) && needed.contains(l)).copied().collect()
        };
        let (left, right) = (own(self, other), own(other, self));
        let extent = |l: &[Label]| l.iter().map(|l| size[l]).product::<usize>();
        let operand = |n: &Named<'b>, a: &[Label], b: &[Label]| {
            let order: Vec<Label> = batch.iter().chain(a).chain(b).copied().collect();
            n.to(&order).reshape(&[extent(&batch), extent(a), extent(b)])
        };
        let product = operand(self, &left, &summed).bmm(operand(other, &summed, &right));
        let labels: Vec<Label> = batch.into_iter().chain(left).chain(right).collect();
        let shape: Vec<usize> = labels.iter().map(|l| size[l]).collect();
        Named { x: product.reshape(&shape), labels }
    }
}

/// The names of the result: what stands behind the arrow, or every letter that stands once, in alphabetical order.
fn result(output: Option<&str>, inputs: &str, terms: &[Named<'_>], dots: usize) -> Result<Vec<Label>> {
    let known = |l: &Label| terms.iter().any(|t| t.labels.contains(l));
    if let Some(o) = output {
        let out = labels(o, dots)?;
        if let Some(l) = out.iter().find(|l| !known(l)) {
            return Err(err::ty(format!("`einsum`: the output subscript {l} does not stand in any operand")));
        }
        if twice(&out).is_some() {
            return Err(err::ty(format!("`einsum`: the output subscripts {o:?} name a dimension twice")));
        }
        return Ok(out);
    }
    let mut letters: Vec<char> = inputs.chars().filter(char::is_ascii_alphabetic).collect();
    letters.sort_unstable();
    let once = |c: &char| letters.iter().filter(|d| *d == c).count() == 1;
    let single = letters.iter().filter(|c| once(c)).map(|c| Label::Letter(*c));
    Ok((0..dots).rev().map(Label::Dots).chain(single).collect())
}

/// Broadcasts named dimensions of extent 1 and checks that the others agree.
fn extents(terms: &mut [Named<'_>]) -> Result<BTreeMap<Label, usize>> {
    let mut size = BTreeMap::new();
    for t in terms.iter() {
        for (l, d) in t.labels.iter().zip(t.x.shape()) {
            let n = size.entry(*l).or_insert(d);
            if *n == 1 {
                *n = d;
            } else if d != 1 && d != *n {
                return Err(err::shape(format!("`einsum`: subscript {l} has extents {n} and {d}")));
            }
        }
    }
    for t in terms {
        let full: Vec<usize> = t.labels.iter().map(|l| size[l]).collect();
        t.x = t.x.expand(&full);
    }
    Ok(size)
}

fn einsum<'b>(_: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let text: String = a.str(0)?.chars().filter(|c| !c.is_whitespace()).collect();
    let operands = a.tensors(1)?;
    let (inputs, output) = text.split_once("->").map_or((text.as_str(), None), |(i, o)| (i, Some(o)));
    let parts: Vec<&str> = inputs.split(',').collect();
    if parts.len() != operands.len() || operands.is_empty() {
        let (n, m) = (parts.len(), operands.len());
        return Err(err::ty(format!("`einsum`: {n} subscripts for {m} operands")));
    }
    same_dtype("einsum", &operands)?;
    let mut terms = operands.iter().zip(&parts).map(|(x, t)| named(*x, t)).collect::<Result<Vec<_>>>()?;
    let dots =
        terms.iter().flat_map(|t| &t.labels).filter_map(|l| if let Label::Dots(i) = l { Some(i + 1) } else { None });
    let dots = dots.max().unwrap_or(0);
    let out = result(output, inputs, &terms, dots)?;
    let size = extents(&mut terms)?;
    // One rounding at the end for half floats.
    let dtype = operands[0].dtype();
    if terms.len() > 1 && dtype == DType::Bool {
        return Err(err::dtype("`einsum` is not implemented for bool"));
    }
    for t in &mut terms {
        t.x = t.x.cast(dtype.compute());
    }
    // A sum of one operand is a sum, which is of i64 for integers; products keep their dtype.
    if let [t] = terms.as_mut_slice()
        && !dtype.is_float()
        && t.labels.iter().any(|l| !out.contains(l))
    {
        return Ok(Named { x: t.x.cast(DType::I64), labels: t.labels.clone() }.to(&out));
    }
    let mut acc = terms[0].clone();
    for (i, t) in terms.iter().enumerate().skip(1) {
        let needed: Vec<Label> = terms[i + 1..].iter().flat_map(|t| &t.labels).chain(&out).copied().collect();
        acc = acc.times(t, &needed, &size);
    }
    Ok(acc.to(&out).cast(dtype))
}

/// `tensordot`: the last `n` dimensions of `x` with the first `n` of `y`, or two lists of them.
fn tensordot<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    let (p, q) = match a.raw(2) {
        Arg::List(l) if l.len() == 2 => {
            let dims = |v: &Arg<'b>, rank: usize| match v {
                Arg::List(l) => l.iter().map(|v| dim(v, rank)).collect::<Result<Vec<usize>>>(),
                v => Ok(vec![dim(v, rank)?]),
            };
            (dims(&l[0], x.rank())?, dims(&l[1], y.rank())?)
        }
        _ => {
            let n = usize::try_from(a.int(2)?).ok().filter(|n| *n <= x.rank().min(y.rank()));
            let n = n.ok_or_else(|| err::shape(format!("`tensordot`: dims for {} and {}", x.ty(), y.ty())))?;
            ((x.rank() - n..x.rank()).collect(), (0..n).collect())
        }
    };
    let extents = |e: Ex<'b>, d: &[usize]| -> Vec<usize> { d.iter().map(|d| e.shape()[*d]).collect() };
    // An extent of 1 broadcasts: the other one is summed up.
    let thin = |e: Ex<'b>, d: &[usize], other: Ex<'b>, o: &[usize]| {
        let axes: Vec<usize> =
            d.iter().zip(o).filter(|(i, j)| other.shape()[**j] == 1 && e.shape()[**i] != 1).map(|(i, _)| *i).collect();
        if axes.is_empty() { e } else { unit([e], |[e]| e.sum(&axes, true)) }
    };
    let (x, y) = (thin(x, &p, y, &q), thin(y, &q, x, &p));
    let (k, k2) = (extents(x, &p), extents(y, &q));
    let distinct = |d: &[usize]| (1..d.len()).all(|i| !d[..i].contains(&d[i]));
    if k != k2 || !distinct(&p) || !distinct(&q) {
        let (k, k2) = (ShapeText(&k), ShapeText(&k2));
        return Err(err::shape(format!(
            "`tensordot`: contracted dimensions {k} and {k2} must match, each dimension once"
        )));
    }
    let others = |e: Ex<'b>, d: &[usize]| -> Vec<usize> { (0..e.rank()).filter(|i| !d.contains(i)).collect() };
    let (left, right) = (others(x, &p), others(y, &q));
    let size = |v: &[usize]| v.iter().product::<usize>();
    let (ls, rs) = (extents(x, &left), extents(y, &right));
    let product = super::matmul::matmul(
        x.permute(&[left, p].concat()).reshape(&[size(&ls), size(&k)]),
        y.permute(&[q, right].concat()).reshape(&[size(&k), size(&rs)]),
    )?;
    Ok(product.reshape(&[ls, rs].concat()))
}

/// One of the dimensions of a list.
fn dim(v: &Arg<'_>, rank: usize) -> Result<usize> {
    match v {
        Arg::Int(d) if rank > 0 => crate::types::axis(*d, rank),
        _ => Err(err::ty("`tensordot`: dims is a number, or two lists of dimensions")),
    }
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "einsum",
        sig: "equation: str, operands: tensors",
        example: "a: D[2, 3], b: D[3, 4] => einsum(\"ij,jk->ik\", a, b)",
        doc: "The product of operands summed over the named dimensions that the result does not name: \
              einsum(\"bij,bjk->bik\", a, b). Without `->` the result has the names that occur once, in order; `...` \
              are dimensions that broadcast; a name twice in one operand is its diagonal. One dtype, not bool.",
        build: |b, a| Ok(einsum(b, a)?.into()),
    },
    FnDef {
        name: "tensordot",
        sig: "a, b, dims: any = 2",
        example: "a: D[2, 3, 4], b: D[3, 4, 2] => tensordot(a, b)",
        doc: "The product of a and b summed over the last dims dimensions of a and the first of b, or over those that \
              two lists name pair by pair; what is left of a, then of b. One dtype.",
        build: |b, a| Ok(tensordot(b, a)?.into()),
    },
    FnDef {
        name: "kron",
        sig: "x, other",
        example: "x: D[2, 3], other: D[2, 2] => kron(x, other)",
        doc: "The Kronecker product: every element of x times all of other, as blocks; extents multiply, the shorter \
              shape gets leading 1s, dtypes promote.",
        build: |b, a| {
            let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            let rank = x.rank().max(y.rank());
            let at = |e: Ex<'_>, i: usize| (i + e.rank()).checked_sub(rank).map_or(1, |j| e.shape()[j]);
            let (mut xs, mut ys, mut out) = (vec![], vec![], vec![]);
            for i in 0..rank {
                let (m, n) = (at(x, i), at(y, i));
                xs.extend([m, 1]);
                ys.extend([1, n]);
                out.push(m.saturating_mul(n));
            }
            crate::types::checked_numel(&out)?;
            Ok(row("mul", &[x.reshape(&xs), y.reshape(&ys)])?.reshape(&out).into())
        },
    },
];

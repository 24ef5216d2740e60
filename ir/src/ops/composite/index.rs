//! The indexing expression `x[…]`: reading, and writing through it.
//!
//! Integers, slices, `...` and `None` are views. Index tensors gather: several of them broadcast together; the result's
//! dimensions stand where the indexed ones stood if those are neighbours, else first (as in PyTorch, where an integer is
//! not an index tensor). Negative indices count from the end; one out of range is an error when the program runs. A bool
//! tensor is a mask: writing a value through it works; reading only with the number of elements, since the size would
//! depend on the data.

use super::shape::{selected, sliced, viewed};
use super::{pick, row};
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, Dims, at_most, product};
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::ops::elementwise::range::held;
use crate::ops::gather::ScatterMode;
use crate::ops::registry;
use crate::types::{ShapeText, Span, broadcast};

/// One item between the brackets.
#[derive(Clone, Copy)]
pub enum IndexItem<'b> {
    /// `3`: that index, without the dimension.
    Int(Dim),
    /// `start:stop:step`, each possibly absent.
    Slice {
        /// First element.
        start: Option<Dim>,
        /// One past the last.
        stop: Option<Dim>,
        /// Distance, at least 1.
        step: Option<i64>,
    },
    /// `...`: all dimensions that are not named.
    Ellipsis,
    /// `None`: a new dimension of extent 1.
    NewAxis,
    /// An index tensor (integers) or a mask (bool).
    Tensor(Ex<'b>),
}

/// The view that the basic items make, and the index tensors with the dimensions of it that they stand for.
struct Parsed<'b> {
    view: Ex<'b>,
    tensors: Vec<(usize, Ex<'b>)>,
}

/// How many dimensions of `x` an item uses up.
fn uses(item: &IndexItem<'_>) -> usize {
    match item {
        IndexItem::Int(_) | IndexItem::Slice { .. } => 1,
        IndexItem::Ellipsis | IndexItem::NewAxis => 0,
        IndexItem::Tensor(t) if t.dtype() == DType::Bool => t.rank(),
        IndexItem::Tensor(_) => 1,
    }
}

/// The elements of a dimension of extent `n` that a slice takes; bounds are held inside, as in Python.
fn range(n: Dim, start: Option<Dim>, stop: Option<Dim>, step: Option<i64>) -> Result<Span> {
    let step = step.unwrap_or(1);
    if step < 1 {
        return Err(
            err::index(format!("step must be greater than zero, got {step}")).help("use `flip` to go backwards")
        );
    }
    let at = |v: Dim| -> Result<Dim> {
        let v = if at_most(0i64, v)? { v } else { v + n };
        Ok(if !at_most(0i64, v)? {
            Dim::ZERO
        } else if at_most(v, n)? {
            v
        } else {
            n
        })
    };
    let start = start.map_or(Ok(Dim::ZERO), at)?;
    let stop = stop.map_or(Ok(n), at)?;
    let len = if at_most(start, stop)? { (stop - start).ceil_div(step.into()) } else { Dim::ZERO };
    // Nothing taken starts somewhere inside.
    let start = if len.is(0) && !at_most(start + 1, n)? { n.max(Dim::ONE) - 1 } else { start };
    Ok(Span { start, len, step })
}

fn parse<'b>(x: Ex<'b>, items: &[IndexItem<'b>]) -> Result<Parsed<'b>> {
    let used: usize = items.iter().map(uses).sum();
    let dots = items.iter().filter(|i| matches!(i, IndexItem::Ellipsis)).count();
    if dots > 1 {
        return Err(err::index("an index can only have a single ellipsis ('...')"));
    }
    let rank = x.rank();
    let Some(rest) = rank.checked_sub(used) else {
        return Err(err::index(format!("too many indices for tensor of dimension {rank}: got {used}")));
    };
    let mut view = x;
    let mut tensors = Vec::new();
    let mut d = 0;
    for item in items {
        match *item {
            IndexItem::Int(i) => view = selected(view, d, i)?,
            IndexItem::Slice { start, stop, step } => {
                view = sliced(view, d, range(view.dims()[d], start, stop, step)?)?;
                d += 1;
            }
            IndexItem::Ellipsis => d += rest,
            IndexItem::NewAxis => {
                let mut shape = view.dims();
                shape.insert(d, Dim::ONE);
                view = viewed(view, &shape)?;
                d += 1;
            }
            IndexItem::Tensor(t) => {
                tensors.push((d, t));
                d += uses(item);
            }
        }
    }
    if items.is_empty() || items.iter().all(|i| matches!(i, IndexItem::Tensor(_) | IndexItem::Ellipsis)) {
        // Nothing was viewed yet, and `x[...]` is a tensor of its own.
        if tensors.is_empty() {
            view = viewed(view, &view.dims())?;
        }
    }
    Ok(Parsed { view, tensors })
}

/// The index tensors joined: linear indices into the merged indexed dimensions.
struct Joined<'b> {
    /// `i64`, of the shape that the tensors broadcast to.
    index: Ex<'b>,
    /// The indexed dimensions, ascending.
    dims: Vec<usize>,
    /// Where the result's dimensions stand among the others.
    place: usize,
}

fn join<'b>(b: &'b Builder, x: Ex<'b>, tensors: &[(usize, Ex<'b>)]) -> Result<Joined<'b>> {
    let mut shape = Dims::new();
    for (_, t) in tensors {
        shape = broadcast(&shape, &t.dims()).ok_or_else(|| {
            let all: Vec<String> = tensors.iter().map(|(_, t)| ShapeText(&t.dims()).to_string()).collect();
            err::index(format!(
                "shape mismatch: indexing tensors could not be broadcast together with shapes {}",
                all.join(", ")
            ))
        })?;
    }
    let mut index: Option<Ex<'b>> = None;
    for (d, t) in tensors {
        if !matches!(t.dtype(), DType::I64 | DType::I32) {
            return Err(err::dtype(format!("tensors used as indices must be i64, i32 or bool, got {}", t.dtype())));
        }
        let n = x.dims()[*d];
        let i = row("wrap_index", &[t.cast(DType::I64), b.int(n)])?;
        index = Some(match index {
            Some(outer) => row("add", &[row("mul", &[outer, b.int(n)])?, i])?,
            None => i,
        });
    }
    let index = index.ok_or_else(|| err::internal("no index tensor"))?.expand(&shape);
    let dims: Vec<usize> = tensors.iter().map(|(d, _)| *d).collect();
    let neighbours = dims.windows(2).all(|w| w[1] == w[0] + 1);
    Ok(Joined { index, place: if neighbours { dims[0] } else { 0 }, dims })
}

impl Joined<'_> {
    /// How many elements the indexed dimensions have.
    fn count(&self, view: Ex<'_>) -> Dim {
        let dims = view.dims();
        product(&self.dims.iter().map(|d| dims[*d]).collect::<Dims>())
    }

    /// The view's dimensions with the indexed ones together at their place.
    fn order(&self, rank: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..rank).filter(|d| !self.dims.contains(d)).collect();
        let place = self.place.min(order.len());
        order.splice(place..place, self.dims.iter().copied());
        order
    }

    /// The shape `s` (in that order) with the indexed dimensions replaced by `by`.
    fn shape(&self, s: &[Dim], by: &[Dim]) -> Vec<Dim> {
        let mut out = s[..self.place].to_vec();
        out.extend(by);
        out.extend(&s[self.place + self.dims.len()..]);
        out
    }
}

fn is_mask(t: &Ex<'_>) -> bool {
    t.dtype() == DType::Bool
}

/// `x[items]`.
///
/// # Errors
/// `index` if there are too many items or one is out of range, `dtype` if an index tensor is of floats, `unsupported` for
/// masks, whose result has a size that depends on the data.
pub fn index<'b>(b: &'b Builder, x: Ex<'b>, items: &[IndexItem<'b>]) -> Result<Ex<'b>> {
    let Parsed { view, tensors } = parse(x, items)?;
    if tensors.is_empty() {
        return Ok(view);
    }
    if tensors.iter().any(|(_, t)| is_mask(t)) {
        return Err(err::unsupported("reading `x[mask]`: the size of the result depends on the data")
            .help("use `where(mask, x, 0)`, or `masked_fill`"));
    }
    let j = join(b, view, &tensors)?;
    let order = j.order(view.rank());
    let base = view.permute(&order);
    let s = base.dims();
    let flat = base.reshape(&j.shape(&s, &[j.count(view)]));
    let picked = pick::along(flat, j.place, j.index.reshape(&[j.index.count()]));
    Ok(picked.reshape(&j.shape(&s, &j.index.dims())))
}

/// `x[items] = value`: the value is cast to the dtype of `x` and broadcasts to the indexed part. Of duplicate indices the
/// last one stays.
///
/// # Errors
/// As [`index`]; `shape` if the value does not broadcast, `alias` if the write is not allowed.
pub fn set_index<'b>(b: &'b Builder, x: Ex<'b>, items: &[IndexItem<'b>], value: Ex<'b>) -> Result<()> {
    let Parsed { view, tensors } = parse(x, items)?;
    let new = changed(b, view, &tensors, value, ScatterMode::Set)?;
    registry::write(b, "=", view, new)
}

/// A copy of `x` in which the indexed part is set to, or has added, a value that broadcasts to it.
///
/// # Errors
/// As [`set_index`].
pub fn replaced<'b>(
    b: &'b Builder,
    x: Ex<'b>,
    items: &[IndexItem<'b>],
    value: Ex<'b>,
    mode: ScatterMode,
) -> Result<Ex<'b>> {
    let Parsed { view, tensors } = parse(x, items)?;
    if tensors.is_empty() {
        return Err(err::ty("at least one index tensor is needed"));
    }
    changed(b, view, &tensors, value, mode)
}

/// Leading dimensions of extent 1 of a value do not count.
fn trim(v: Ex<'_>, rank: usize) -> Ex<'_> {
    let s = v.dims();
    let lead = s.len().saturating_sub(rank).min(s.iter().take_while(|d| d.is(1)).count());
    if lead == 0 { v } else { v.reshape(&s[lead..]) }
}

/// The view with `value` at (or added to) the places that index tensors name.
fn changed<'b>(
    b: &'b Builder,
    view: Ex<'b>,
    tensors: &[(usize, Ex<'b>)],
    value: Ex<'b>,
    mode: ScatterMode,
) -> Result<Ex<'b>> {
    if tensors.is_empty() {
        return Ok(trim(value, view.rank()));
    }
    if tensors.iter().any(|(_, t)| is_mask(t)) {
        return set_mask(view, tensors, value, mode);
    }
    let j = join(b, view, tensors)?;
    let order = j.order(view.rank());
    let base = view.permute(&order);
    let s = base.dims();
    let part = j.shape(&s, &j.index.dims());
    let value = trim(value, part.len()).cast(view.dtype());
    if broadcast(&value.dims(), &part).as_deref() != Some(&part[..]) {
        return Err(err::shape(format!(
            "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of shape {}",
            ShapeText(&value.dims()),
            ShapeText(&part)
        )));
    }
    let count = j.index.count();
    let (flat, picked) = (j.shape(&s, &[j.count(view)]), j.shape(&s, &[count]));
    let at = j.index.reshape(&[count]).laid_along(j.place, flat.len()).expand(&picked);
    let value = value.expand(&part).reshape(&picked);
    let written = super::unit([base.reshape(&flat), value], |[x, v]| x.scatter(j.place, mode, at, v));
    let mut back = vec![0; order.len()];
    for (i, o) in order.iter().enumerate() {
        back[*o] = i;
    }
    Ok(written.reshape(&s).permute(&back))
}

/// `x[mask] = value`: a number, one value for each element of the dimensions behind the mask, or a vector of as many
/// elements as the mask has true ones.
fn set_mask<'b>(view: Ex<'b>, tensors: &[(usize, Ex<'b>)], value: Ex<'b>, mode: ScatterMode) -> Result<Ex<'b>> {
    let [(d, mask)] = tensors else {
        return Err(err::unsupported("a mask beside other index tensors"));
    };
    let shape = view.dims();
    let (m, after) = (mask.dims(), d + mask.rank());
    if shape[*d..after] != m[..] {
        return Err(err::index(format!(
            "The shape of the mask {} at index 0 does not match the shape of the indexed tensor {} at index {d}",
            ShapeText(&m),
            ShapeText(&shape)
        )));
    }
    let rest = &shape[after..];
    let each = broadcast(&value.dims(), rest).as_deref() == Some(rest) && *d == 0 || value.count().is(1);
    let mut wide = vec![Dim::ONE; shape.len()];
    wide[*d..after].copy_from_slice(&m);
    let wide = mask.reshape(&wide);
    let rows = value.rank() == 1 + rest.len() && value.dims()[1..] == *rest && *d == 0;
    if !each && rows && mode == ScatterMode::Set {
        return placed(view, wide.expand(&shape), value.cast(view.dtype()), true);
    }
    if !each {
        return Err(err::unsupported(format!(
            "`x[mask] = value` with a value {}: which element goes where depends on the data",
            value.ty()
        )));
    }
    let value = if value.count().is(1) && value.rank() > 0 { value.reshape::<usize>(&[]) } else { value };
    let value = value.cast(view.dtype());
    let new = if mode == ScatterMode::Add { row("add", &[view, value])? } else { value };
    row("where", &[wide, new, view])
}

/// `x` with the elements of `source`, in order, where the mask (of its shape) holds. There must be enough of them, and
/// if `exact` no more.
///
/// # Errors
/// `data` when the program runs, if there are not.
pub fn placed<'b>(x: Ex<'b>, mask: Ex<'b>, source: Ex<'b>, exact: bool) -> Result<Ex<'b>> {
    let b = x.builder();
    let (n, have) = (x.numel(), source.numel());
    if n == 0 {
        return match have {
            1.. if exact => Err(err::shape(format!(
                "shape mismatch: value tensor of shape [{have}] cannot be broadcast to indexing result of shape [0]"
            ))),
            _ => Ok(x),
        };
    }
    let ones = mask.reshape(&[n]).cast(DType::I64);
    let wanted = ones.sum(&[0], false);
    // The checked number takes part in the result, so that the check stays with it.
    let limit = if exact {
        let limit = row("check_places", &[wanted, b.int(have + 1)])?;
        let few = b.int(have) - row("check_values", &[b.int(have), wanted + b.int(1)])?;
        limit - few
    } else {
        held("check_source", wanted.le(b.int(have)), wanted, 0.0)
    };
    if have == 0 {
        return row("where", &[limit.eq(b.int(0)), x, x.zeros()]);
    }
    let place = ones.scan(crate::ops::scan::ScanKind::Sum, 0) - b.int(1);
    let mask = row("logical_and", &[mask, place.lt(limit).reshape(&x.shape())])?;
    let place = place.maximum(b.int(0)).minimum(b.int(have - 1));
    let picked = source.reshape(&[have]).gather(0, place).reshape(&x.shape());
    row("where", &[mask, picked, x])
}

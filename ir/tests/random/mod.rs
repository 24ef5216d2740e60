//! Random programs with views and writes, read off a list of choices, so that they shrink to short ones.

#[path = "cases.rs"]
pub mod cases;
#[path = "control.rs"]
pub mod control;
#[path = "transform.rs"]
pub mod transform;

use tensorc_ir::dim::dims;
use tensorc_ir::ops::elementwise::Row;
use tensorc_ir::ops::reduce::{Reduce, ReduceKind};
use tensorc_ir::ops::scan::ScanKind;
use tensorc_ir::ops::{Op, strided, view};
use tensorc_ir::types::{Range, Shape};
use tensorc_ir::{Builder, DType, Layout, Scalar, Value};

/// Reads choices off a list; 0 when it is used up.
pub struct Choices<'a>(pub std::slice::Iter<'a, u16>);

impl Choices<'_> {
    /// A number in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.next().map_or(0, |c| *c as usize % n.max(1))
    }

    /// One of these.
    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// Whether the list is used up.
    pub fn done(&self) -> bool {
        self.0.len() == 0
    }
}

/// Some shape with as many elements.
fn regrouped(c: &mut Choices<'_>, numel: usize) -> Shape {
    let mut rest = numel;
    let mut shape = Shape::new();
    for _ in 0..c.below(3) {
        let divisors: Vec<usize> = (1..=rest.max(1)).filter(|d| rest.is_multiple_of(*d)).collect();
        let d = c.of(&divisors);
        shape.push(d);
        rest /= d;
    }
    shape.push(rest);
    shape
}

/// Some elements of a dimension of that extent.
pub fn range(c: &mut Choices<'_>, extent: usize) -> Range {
    if extent == 0 || c.below(3) == 0 {
        return Range::all(extent);
    }
    let start = c.below(extent);
    let step = 1 + c.below(2);
    let most = (extent - start).div_ceil(step);
    Range { start, len: if c.below(8) == 0 { 0 } else { 1 + c.below(most) }, step: step as isize }
}

/// Some elements of every dimension.
fn some(c: &mut Choices<'_>, shape: &[usize]) -> view::Slice {
    view::Slice(shape.iter().map(|d| range(c, *d).into()).collect())
}

/// A view of a tensor of that shape, by an op that need not be possible.
pub fn view_op(c: &mut Choices<'_>, shape: &[usize]) -> Op {
    match c.below(10) {
        0 | 1 => Op::Slice(some(c, shape)),
        2 => Op::Reshape(view::Reshape(dims(&regrouped(c, shape.iter().product())))),
        3 => {
            let mut order: Vec<usize> = (0..shape.len()).collect();
            order.rotate_left(c.below(shape.len()));
            if c.below(2) == 0 && shape.len() > 1 {
                order.swap(0, 1);
            }
            Op::Permute(view::Permute(order.into()))
        }
        4 => {
            let mut to = Shape::from(shape);
            to.insert(c.below(shape.len() + 1), 1);
            Op::Reshape(view::Reshape(dims(&to)))
        }
        5 => {
            let mut to: Shape = shape.iter().map(|d| if *d == 1 { 1 + c.below(3) } else { *d }).collect();
            to.insert(0, 1 + c.below(2));
            Op::Expand(view::Expand(dims(&to)))
        }
        6 if shape.len() > 1 => {
            let offset = c.below(3) as i64 - 1;
            Op::Diagonal(view::Diagonal { offset, dim1: c.below(2), dim2: shape.len() - 1 })
        }
        7 if !shape.is_empty() => {
            let axis = c.below(shape.len());
            Op::Unfold(strided::Unfold { axis, size: 1 + c.below(2), step: 1 + c.below(2) })
        }
        8 => {
            let strides = [1 + c.below(3) as isize, 1 + c.below(2) as isize].into_iter().collect();
            let layout = Layout { shape: [2, 1 + c.below(2)].into_iter().collect(), strides, offset: c.below(2) };
            Op::Strided(strided::Strided { layout })
        }
        // An identity view.
        _ => Op::Reshape(view::Reshape(dims(shape))),
    }
}

/// What is asked of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Their values only.
    Values,
    /// Derivatives too.
    Derivatives,
    /// Derivatives that are those of differences: nothing is detached.
    Differences,
}

/// Appends one random step on values of one float dtype; what the builder refuses is left out.
pub fn step(b: &Builder, c: &mut Choices<'_>, pool: &mut Vec<Value>, want: Want) -> Option<()> {
    step_in(b, c, pool, want, 0)
}

/// The dtype of the pool: that of its first float.
fn float_of(b: &Builder, pool: &[Value]) -> Option<DType> {
    pool.iter().map(|v| b.ty(*v).dtype).find(|d| d.is_float())
}

fn op_operands(op: &Op) -> usize {
    if let Op::Map(row) = op { row.0.args.len() } else { 1 }
}

/// As [`step`], in a body of control flow that lies in so many others.
fn step_in(b: &Builder, c: &mut Choices<'_>, pool: &mut Vec<Value>, want: Want, level: usize) -> Option<()> {
    let smooth = want != Want::Values;
    let dtype = float_of(b, pool)?;
    let floats: Vec<Value> = pool.iter().copied().filter(|v| b.ty(*v).dtype == dtype).collect();
    // Derivatives of what holds functions are what may go wrong; values of it have less to them.
    let ways = if smooth { 10 } else { 16 };
    let way = ways - c.below(ways);
    if way < 3 && level < 3 {
        let mut inner = |b: &Builder, c: &mut Choices<'_>, pool: &mut Vec<Value>| {
            step_in(b, c, pool, want, level + 1);
        };
        let results = match way {
            1 => transform::transform(b, c, &floats, smooth, &mut inner).ok()?,
            _ => control::control(b, c, &floats, smooth, &mut inner).ok()?,
        };
        pool.extend(results.into_iter().filter(|v| b.ty(*v).dtype == dtype && b.ex(*v).numel() <= 64));
        return Some(());
    }
    let x = c.of(&floats);
    let ty = b.ty(x);
    let shape = &ty.extents().unwrap();
    let same: Vec<Value> = floats.iter().copied().filter(|v| b.ty(*v).shape == ty.shape).collect();
    let other = c.of(&same);
    let row = |name: &str| Op::Map(Row::find(name).unwrap());
    let axis = c.below(shape.len());
    // Of a write to an element that stands there twice the last one stays, and the gradient goes to both, as PyTorch's:
    // such programs are not smooth.
    let mut places = b.storage(x).1.known().unwrap().indices();
    places.sort_unstable();
    let twice = places.windows(2).any(|w| w[0] == w[1]);
    let write = |value: Value| match smooth && twice {
        true => Err(tensorc_ir::error::err::alias("a write to an element that stands there twice")),
        false => b.emit_all(Op::Write, &[x, value]).map(|_| x),
    };
    let v = match c.below(15) {
        0..=3 => b.emit(view_op(c, shape), &[x]),
        4 => write(other),
        5 => write(b.emit(row("neg"), &[other]).ok()?),
        6 => {
            let number = Scalar::from_f64(ty.dtype, c.below(5) as f64 - 2.0);
            let full = b.full(number, shape).value().ok()?;
            write(b.emit(row(c.of(&["add", "mul"])), &[x, full]).ok()?)
        }
        7 => b.emit(row(c.of(&["add", "sub", "mul", "maximum"])), &[x, other]),
        8 if smooth => b.emit(row("neg"), &[x]),
        8 => b.emit(row("div"), &[x, other]),
        9 if !shape.is_empty() => {
            let kind = c.of(&[ReduceKind::Sum, ReduceKind::Prod, ReduceKind::Max]);
            b.emit(Op::Reduce(Reduce { kind, axes: [axis].into_iter().collect() }), &[x])
        }
        10 if !shape.is_empty() => {
            let kind = c.of(&[ScanKind::Sum, ScanKind::Prod]);
            b.ex(x).scan(kind, axis).value()
        }
        11 => {
            // A strided update of a value that nothing else sees.
            let ranges: Vec<Range> = shape.iter().map(|d| range(c, *d)).collect();
            let part = b.ex(x).slice(&ranges);
            let updated = b.ex(other).slice_update(&ranges, part * part).value();
            // And another one of the same value, or of a part of it.
            if c.below(2) == 0
                && let Ok(part) = b.emit(Op::Slice(some(c, shape)), &[other])
            {
                let whole: Vec<Range> = b.ex(part).shape().iter().map(|d| range(c, *d)).collect();
                let new = b.ex(part).slice(&whole);
                pool.extend(b.ex(part).slice_update(&whole, new + new).value());
            }
            updated
        }
        12 if !shape.is_empty() && shape[axis] > 1 => {
            // A part of a tensor written to another part of it, which it may overlap.
            let len = 1 + c.below(shape[axis] - 1);
            let mut part = || {
                let mut ranges: Vec<Range> = shape.iter().map(|d| Range::all(*d)).collect();
                let most = if len > 1 { (shape[axis] - 1) / (len - 1) } else { 1 };
                let step = 1 + c.below(most);
                let start = c.below(shape[axis] - (len - 1) * step);
                ranges[axis] = Range { start, len, step: step as isize };
                b.emit(Op::Slice(view::Slice(ranges.iter().map(Into::into).collect())), &[x])
            };
            let (to, from, more) = (part().ok()?, part().ok()?, part().ok()?);
            let op = c.of(&[Op::Copy, row("neg"), row("add")]);
            let operands = [from, more];
            let value = b.emit(op.clone(), &operands[..op_operands(&op)]).ok()?;
            match smooth && twice {
                true => return None,
                false => b.emit_all(Op::Write, &[to, value]).and_then(|_| b.emit(Op::Slice(some(c, shape)), &[x])),
            }
        }
        13 if !shape.is_empty() => {
            // The same elements in another order, which may then be written over them.
            let square = shape.len() == 2 && shape[0] == shape[1];
            let turned = if square && c.below(2) == 0 {
                Op::Permute(view::Permute([1, 0].into_iter().collect()))
            } else {
                let mut ranges: Vec<Range> = shape.iter().map(|d| Range::all(*d)).collect();
                ranges[axis] = Range { start: shape[axis].saturating_sub(1), len: shape[axis], step: -1 };
                Op::Slice(view::Slice(ranges.iter().map(Into::into).collect()))
            };
            let turned = b.emit(turned, &[x]).and_then(|v| b.emit(Op::Copy, &[v])).ok()?;
            let sum = b.emit(row("add"), &[turned, other]).ok()?;
            if c.below(3) == 0 { Ok(sum) } else { write(sum) }
        }
        _ => b.emit(if want == Want::Differences { Op::Copy } else { c.of(&[Op::Copy, Op::Detach]) }, &[x]),
    };
    let v = v.ok()?;
    if !pool.contains(&v) && b.ty(v).extents().unwrap().iter().product::<usize>() <= 64 {
        pool.push(v);
    }
    Some(())
}

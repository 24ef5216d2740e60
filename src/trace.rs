//! Tracing: a program being recorded while a closure runs over tensors that have no elements yet.
//!
//! Every op of the closure is recorded, also one on captured tensors only. Concrete tensors that the closure has captured
//! become inputs when an op first meets them, one for each memory and layout; a tensor that it makes of numbers is an input
//! too, of which the program takes a copy where it writes. A trace is behind a mutex, so its tensors can be sent around like any other; ops of two traces do not mix,
//! except that a trace of a body of control flow sees the tensors of the traces around it, as inputs that it only reads.

use crate::tensor::index::IndexItem;
use crate::tensor::{Argument, Repr, Tensor};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tensorc_ir::error::err;
use tensorc_ir::ops::registry::{self, Arg, Out};
use tensorc_ir::{Builder, DType, Error, Graph, Kind, Layout, Loc, Op, Result, Scalar, Shape, Strided, Type, Value};
use tensorc_runtime::storage::Storage;

/// A value of a trace.
pub(crate) struct Traced {
    pub(crate) trace: Arc<Trace>,
    pub(crate) value: Value,
    pub(crate) ty: Type,
    /// The extents; of symbolic ones those of the call at hand.
    extents: Shape,
}

/// A program being recorded.
pub(crate) struct Trace {
    /// The trace that this one is a body in.
    outer: Option<Arc<Trace>>,
    state: Mutex<State>,
}

struct State {
    builder: Option<Builder>,
    captured: Vec<(Tensor, Value)>,
    /// Concrete tensors whose values were declared before.
    placed: Vec<(Tensor, Value)>,
    /// The memory of tensors that the closure has made of numbers: at each call of the program they are new.
    born: Vec<Storage>,
}

impl State {
    fn new(name: &str) -> Mutex<State> {
        Mutex::new(State {
            builder: Some(Builder::new(name)),
            captured: Vec::new(),
            placed: Vec::new(),
            born: Vec::new(),
        })
    }
}

/// How deeply traces may nest.
const MAX_DEPTH: usize = 24;

thread_local! {
    static CURRENT: RefCell<Vec<Arc<Trace>>> = const { RefCell::new(Vec::new()) };
}

/// The trace that a closure on this thread is being recorded into, if any.
pub(crate) fn current() -> Option<Arc<Trace>> {
    CURRENT.with(|c| c.borrow().last().cloned())
}

/// Whether there is one.
pub(crate) fn is_active() -> bool {
    CURRENT.with(|c| !c.borrow().is_empty())
}

/// The trace that an op on these tensors belongs to: of the traces that they are of, the one inside all others, or the
/// current one if it is inside of that. `None` if all are concrete.
pub(crate) fn of<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Option<Arc<Trace>> {
    let traced = tensors.into_iter().filter_map(|t| if let Repr::Traced(t) = &t.0 { Some(&t.trace) } else { None });
    let innermost = traced.max_by_key(|t| t.depth())?.clone();
    Some(current().filter(|c| c.is_inside(&innermost)).unwrap_or(innermost))
}

impl Traced {
    fn same_trace(&self, other: &Arc<Trace>) -> bool {
        Arc::ptr_eq(&self.trace, other)
    }

    pub(crate) fn shares(&self, other: &Traced) -> bool {
        self.same_trace(&other.trace)
            && self.trace.with(|b| b.storage(self.value).0 == b.storage(other.value).0).unwrap_or(false)
    }

    /// Where it lies in its memory; one that is not known is given as row-major.
    pub(crate) fn layout(&self) -> Layout {
        let known = self.trace.with(|b| b.storage(self.value).1).and_then(|l| l.known());
        known.unwrap_or_else(|_| Layout::contiguous(self.shape()))
    }

    /// As [`Traced::layout`], where extents may be symbolic.
    pub(crate) fn strided(&self) -> Strided {
        let known = self.trace.with(|b| b.storage(self.value).1);
        known.unwrap_or_else(|_| Strided::contiguous(&self.ty.shape))
    }

    /// The extents as numbers. Who looks at a symbolic one gets that of the call at hand, and the program is then one for
    /// this call's sizes: what the numbers are used for cannot be seen.
    pub(crate) fn shape(&self) -> &[usize] {
        if let Err(e) = self.ty.extents() {
            // An ended trace has no program to spoil.
            let _ = self.trace.with(|b| b.fail(e));
        }
        &self.extents
    }

    /// The part that these items name, where extents are symbolic.
    pub(crate) fn at(&self, items: &[IndexItem]) -> Result<Tensor> {
        use tensorc_ir::ops::composite::index::{IndexItem as Item, index};
        let item = |i: &IndexItem| match *i {
            IndexItem::At(i) => Item::Int(i.into()),
            IndexItem::Slice(start, stop, step) => {
                Item::Slice { start: start.map(Into::into), stop: stop.map(Into::into), step: Some(step) }
            }
            IndexItem::Ellipsis => Item::Ellipsis,
            IndexItem::NewAxis => Item::NewAxis,
        };
        let items: Vec<Item<'_>> = items.iter().map(item).collect();
        let value = self.trace.with(|b| index(b, b.ex(self.value), &items)?.value())??;
        self.trace.tensor(value)
    }
}

impl Trace {
    /// A new trace.
    pub(crate) fn new(name: &str) -> Arc<Trace> {
        Arc::new(Trace { outer: None, state: State::new(name) })
    }

    /// A new trace of a body of control flow in `outer`. It sees the tensors of the traces around it but does not write
    /// to them.
    ///
    /// # Errors
    /// `unsupported` if it lies in too many others.
    pub(crate) fn inside(name: &str, outer: &Arc<Trace>) -> Result<Arc<Trace>> {
        if outer.depth() >= MAX_DEPTH {
            return Err(err::unsupported("control flow nests too deeply"));
        }
        Ok(Arc::new(Trace { outer: Some(outer.clone()), state: State::new(name) }))
    }

    /// In how many other traces it lies.
    fn depth(&self) -> usize {
        self.outer.as_ref().map_or(0, |o| o.depth() + 1)
    }

    /// Whether it is `other` or lies inside of it.
    fn is_inside(&self, other: &Arc<Trace>) -> bool {
        std::ptr::eq(self, &**other) || self.outer.as_ref().is_some_and(|o| o.is_inside(other))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a closure with this as the current trace.
    pub(crate) fn within<R>(self: &Arc<Trace>, f: impl FnOnce() -> R) -> R {
        struct Pop;
        impl Drop for Pop {
            fn drop(&mut self) {
                CURRENT.with(|c| c.borrow_mut().pop());
            }
        }
        CURRENT.with(|c| c.borrow_mut().push(self.clone()));
        let _pop = Pop;
        f()
    }

    /// Does something with the builder.
    ///
    /// # Errors
    /// `type` if the trace has ended.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&Builder) -> R) -> Result<R> {
        self.lock().builder.as_ref().map(f).ok_or_else(ended)
    }

    /// A tensor of this trace for a value.
    pub(crate) fn tensor(self: &Arc<Trace>, value: Value) -> Result<Tensor> {
        let ty = self.with(|b| b.ty(value))?;
        let extents = ty.shape.iter().map(|d| tensorc_ir::dim::hint(*d).unwrap_or(2) as usize).collect();
        Ok(Tensor(Repr::Traced(Arc::new(Traced { trace: self.clone(), value, ty, extents }))))
    }

    /// Declares the next parameter, that lies like `view`.
    pub(crate) fn input(self: &Arc<Trace>, name: &str, dtype: DType, layout: &Strided) -> Result<Tensor> {
        let ty = Type::new(dtype, layout.shape.iter().copied());
        let mutable = self.outer.is_none();
        let value = self.with(|b| b.input(name, ty, mutable, Some(layout.from_start())))?;
        self.tensor(value)
    }

    /// The value of a tensor in this trace; one that is concrete or of a trace around this one becomes an input.
    ///
    /// # Errors
    /// `type` if the tensor belongs to another trace.
    pub(crate) fn value_of(&self, t: &Tensor) -> Result<Value> {
        match &t.0 {
            Repr::Traced(t) if std::ptr::eq(&*t.trace, self) => Ok(t.value),
            Repr::Traced(u) if self.is_inside(&u.trace) => {
                let layout = u.strided();
                self.capture(t, layout)
            }
            Repr::Traced(_) => Err(err::ty("a traced tensor was used outside the function that it belongs to")
                .help("return it from the traced function instead of keeping it")),
            Repr::Concrete(v) => self.capture(t, Strided::from(&v.layout)),
        }
    }

    /// The input that a tensor from outside is.
    fn capture(&self, t: &Tensor, layout: Strided) -> Result<Value> {
        let mut state = self.lock();
        if let Some((_, value)) = state.placed.iter().chain(&state.captured).find(|(u, _)| u.is(t)) {
            return Ok(*value);
        }
        let born = matches!(&t.0, Repr::Concrete(v) if state.born.iter().any(|s| s.same(&v.storage)));
        // A body writes to none of them, so they may share memory.
        let mutable = self.outer.is_none() && !born;
        let ty = Type::new(t.dtype(), layout.shape.iter().copied());
        let name = format!("captured{}", state.captured.len());
        let b = state.builder.as_ref().ok_or_else(ended)?;
        let input = b.input(name, ty, mutable, Some(layout.from_start()));
        // Writes go to a copy, which is dropped where there are none.
        let value = if born { b.emit(Op::Copy, &[input])? } else { input };
        state.captured.push((t.clone(), value));
        Ok(value)
    }

    /// Says which value a concrete tensor is, should the closure use it.
    pub(crate) fn place(&self, tensor: Tensor, value: Value) {
        self.lock().placed.push((tensor, value));
    }

    /// Notes memory that the closure fills with numbers while it is recorded.
    pub(crate) fn born(&self, storage: Storage) {
        self.lock().born.push(storage);
    }

    /// Records an op.
    pub(crate) fn record(
        self: &Arc<Trace>,
        name: &str,
        args: &[(Option<&str>, Argument)],
        loc: Loc,
    ) -> Result<Vec<Tensor>> {
        // Captures first: they need the lock that the builder's borrow below holds.
        let mut values = Vec::new();
        for (_, a) in args {
            self.collect(a, &mut values).map_err(|e| e.at(loc))?;
        }
        let results: Vec<Value> = {
            let state = self.lock();
            let b = state.builder.as_ref().ok_or_else(ended)?;
            b.set_loc(loc);
            let mut values = values.into_iter();
            let args = args.iter().map(|(n, a)| (*n, to_arg(b, a, &mut values))).collect();
            match registry::call(b, name, args).map_err(|e| self.explained(e))? {
                Out::One(e) => vec![e.value()?],
                Out::Many(l) => l.into_iter().map(|e| e.value()).collect::<Result<_>>()?,
            }
        };
        results.into_iter().map(|v| self.tensor(v)).collect()
    }

    /// What a write to a tensor from outside is in a body.
    fn explained(&self, e: Error) -> Error {
        if self.outer.is_none() || e.kind() != Kind::Alias || !e.diagnostic().message.contains("which is not `mut`") {
            return e;
        }
        err::alias("a write to a tensor from outside, in a function that control flow runs")
            .at(e.diagnostic().loc)
            .help("give the new value as a result instead, or write to a copy: `x.copy()?`")
    }

    fn collect(&self, a: &Argument, out: &mut Vec<Value>) -> Result<()> {
        match a {
            Argument::Tensor(t) => out.push(self.value_of(t)?),
            Argument::List(l) => l.iter().try_for_each(|a| self.collect(a, out))?,
            _ => {}
        }
        Ok(())
    }

    /// Ends the trace: the graph with these results, and what it captured.
    ///
    /// # Errors
    /// An error of a formula that nobody has seen yet.
    pub(crate) fn finish(&self, outputs: Vec<Value>) -> Result<(Graph, Vec<Tensor>)> {
        let mut state = self.lock();
        let builder = state.builder.take().ok_or_else(ended)?;
        builder.with_graph(|g| g.outputs = outputs);
        let captured = std::mem::take(&mut state.captured).into_iter().map(|(t, _)| t).collect();
        Ok((builder.finish()?, captured))
    }
}

fn ended() -> tensorc_ir::Error {
    err::ty("a traced tensor was used after its function had been traced")
        .help("return it from the traced function instead of keeping it")
}

/// An argument for the registry, tensors taken from `values` in order.
pub(crate) fn to_arg<'b>(b: &'b Builder, a: &Argument, values: &mut impl Iterator<Item = Value>) -> Arg<'b> {
    match a {
        Argument::None => Arg::None,
        Argument::Tensor(_) => values.next().map_or(Arg::None, |v| Arg::Tensor(b.ex(v))),
        Argument::Int(v) => Arg::Int(*v),
        Argument::Float(v) => Arg::Float(*v),
        Argument::Bool(v) => Arg::Bool(*v),
        Argument::DType(v) => Arg::DType(*v),
        Argument::Str(v) => Arg::Str(v.clone()),
        Argument::List(l) => Arg::List(l.iter().map(|a| to_arg(b, a, values)).collect()),
    }
}

/// A plain number as a scalar, if the argument is one.
pub(crate) fn number(a: &Argument) -> Option<Scalar> {
    match a {
        Argument::Int(v) => Some(Scalar::from_i64(DType::I64, *v)),
        Argument::Float(v) => Some(Scalar::from_f64(DType::F64, *v)),
        Argument::Bool(v) => Some(Scalar::from_bool(*v)),
        _ => None,
    }
}

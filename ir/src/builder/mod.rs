//! The builder: appends ops to a graph, inferring types, promoting dtypes, broadcasting, and tracking who shares memory.
//!
//! Everything that makes nodes goes through [`Builder::emit`]: traced closures, `.tc` text, composites, derivative rules
//! and passes. [`Ex`] is a value together with its builder, with operators, so that composites and derivatives read like
//! formulas; an error inside a formula is kept and comes out of [`Builder::finish`].

mod ex;

pub use ex::Ex;

use crate::alias::Aliases;
use crate::dim::{Dim, Dims};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Loc, Result, err};
use crate::graph::{Graph, Node, NodeId, Param, Phase, Value, Values};
use crate::layout::Strided;
use crate::ops::elementwise::Row;
use crate::ops::view::Expand;
use crate::ops::{Effect, Op, literal};
use crate::types::{ShapeText, Type, broadcast, unequal};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::HashMap;

/// A graph under construction.
#[derive(Debug)]
pub struct Builder {
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    graph: Graph,
    aliases: Aliases,
    loc: Loc,
    error: Option<Error>,
    strong_zero: bool,
}

impl Builder {
    /// An empty traced graph of that name.
    pub fn new(name: impl Into<String>) -> Builder {
        Builder::over(Graph::new(name))
    }

    /// Goes on with a graph that has no nodes yet (a pass's output).
    pub fn over(graph: Graph) -> Builder {
        let inner = Inner { graph, aliases: Aliases::default(), loc: Loc::Unknown, error: None, strong_zero: false };
        Builder { inner: RefCell::new(inner) }
    }

    /// The user's line that the next nodes come from.
    pub fn set_loc(&self, loc: Loc) {
        self.inner.borrow_mut().loc = loc;
    }

    /// Whether cotangents of zero that are pulled back now stay zero; see [`Grad::strong_zero`](crate::ops::effect::Grad).
    pub(crate) fn strong_zero(&self) -> bool {
        self.inner.borrow().strong_zero
    }

    /// Sets [`Builder::strong_zero`] and gives what it was.
    pub(crate) fn set_strong_zero(&self, to: bool) -> bool {
        std::mem::replace(&mut self.inner.borrow_mut().strong_zero, to)
    }

    /// The user's line that nodes come from now.
    pub fn loc(&self) -> Loc {
        self.inner.borrow().loc
    }

    /// The graph, or the first error of a formula.
    pub fn finish(self) -> Result<Graph> {
        let inner = self.inner.into_inner();
        match inner.error {
            Some(e) => Err(e),
            None => Ok(inner.graph),
        }
    }

    /// The first error of a formula since the last call, if any.
    pub fn check(&self) -> Result<()> {
        self.inner.borrow_mut().error.take().map_or(Ok(()), Err)
    }

    /// Keeps the error of a formula that cannot give it back.
    pub fn fail(&self, e: Error) {
        let mut inner = self.inner.borrow_mut();
        let loc = inner.loc;
        inner.error.get_or_insert(e.at(loc));
    }

    /// Reads or changes the graph (its outputs, say); nodes are appended by [`Builder::emit`] only.
    pub fn with_graph<R>(&self, f: impl FnOnce(&mut Graph) -> R) -> R {
        f(&mut self.inner.borrow_mut().graph)
    }

    /// The type of a value.
    pub fn ty(&self, v: Value) -> Type {
        self.inner.borrow().graph.ty(v).clone()
    }

    /// A copy of a node.
    pub fn node(&self, n: NodeId) -> Node {
        self.inner.borrow().graph.node(n).clone()
    }

    /// The results of a node.
    pub fn results(&self, n: NodeId) -> Values {
        self.inner.borrow().graph.results(n).collect()
    }

    /// The value whose memory `v` shares (itself if it is new), and where `v` lies in it.
    pub fn storage(&self, v: Value) -> (Value, Strided) {
        self.inner.borrow().aliases.get(v)
    }

    /// Where an element of `v` is first written after node `since`, if it is.
    ///
    /// # Errors
    /// One that says that sizes must be known to tell.
    pub fn written_since(&self, since: NodeId, v: Value) -> Result<Option<Loc>> {
        let inner = self.inner.borrow();
        let write = inner.aliases.written_since(&inner.graph, since, v)?;
        Ok(write.map(|n| inner.graph.node(n).loc))
    }

    /// Whether `value` may be read while `dst` is written.
    ///
    /// # Errors
    /// `alias` if they overlap in part.
    pub fn check_partial(&self, dst: Value, value: Value) -> Result<()> {
        let inner = self.inner.borrow();
        inner.aliases.check_partial(&inner.graph, dst, value)
    }

    /// A value with its builder.
    pub fn ex(&self, v: Value) -> Ex<'_> {
        Ex::new(self, Some(v))
    }

    /// Appends one op on operands that fit it exactly.
    ///
    /// # Errors
    /// What the op's type rule says; for views, that strides cannot say it; for writes, what aliasing forbids.
    pub fn emit_all(&self, op: Op, operands: &[Value]) -> Result<NodeId> {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let loc = inner.loc;
        let results = {
            let types: SmallVec<[&Type; 3]> = operands.iter().map(|v| inner.graph.ty(*v)).collect();
            op.structural().infer(&types).map_err(|e| e.at(loc))?
        };
        let alias = match op.effect() {
            // A pure graph has no memory, so strides have no say in it: every value is its own.
            Effect::View if inner.graph.phase != Phase::Traced => None,
            Effect::View => Some(inner.aliases.view(&op, operands[0]).map_err(|e| e.at(loc))?),
            Effect::Write => {
                inner.aliases.check_write(&inner.graph, operands[0], operands[1]).map_err(|e| e.at(loc))?;
                None
            }
            Effect::Fresh => None,
        };
        let n = inner.graph.push(op, operands, results, loc);
        inner.aliases.push(&inner.graph, n, alias);
        Ok(n)
    }

    /// Appends one op and gives its first result.
    ///
    /// # Errors
    /// As [`Builder::emit_all`].
    pub fn emit(&self, op: Op, operands: &[Value]) -> Result<Value> {
        self.emit_all(op, operands).map(Value::from)
    }

    /// Appends the nodes of another graph in its phase, its parameters replaced by `args` and its ops by `op` of them; gives
    /// the values of its results.
    ///
    /// # Errors
    /// As [`Builder::emit_all`]; `internal` if there are too few arguments.
    pub fn inline(&self, g: &Graph, args: &[Value], op: impl Fn(Op) -> Op) -> Result<Vec<Value>> {
        let lost = || err::internal(format!("`{}` lost a value", g.name));
        let mut map: HashMap<Value, Value> = HashMap::new();
        for n in g.nodes() {
            let node = g.node(n);
            if let Op::Input(i) = node.op {
                map.insert(n.into(), *args.get(i as usize).ok_or_else(lost)?);
                continue;
            }
            self.set_loc(node.loc);
            let operands =
                g.operands(n).iter().map(|v| map.get(v).copied().ok_or_else(lost)).collect::<Result<Vec<_>>>()?;
            let new = self.emit_all(op(node.op.clone()), &operands)?;
            map.extend(g.results(n).map(|v| (v, Value { node: new, result: v.result })));
        }
        g.outputs.iter().map(|v| map.get(v).copied().ok_or_else(lost)).collect()
    }

    /// Declares the next parameter, contiguous unless a layout is given.
    pub fn input(&self, name: impl Into<String>, ty: Type, mutable: bool, layout: Option<Strided>) -> Value {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let i = inner.graph.params.len() as u32;
        inner.graph.params.push(Param { name: name.into(), mutable });
        let shape = ty.shape.clone();
        let n = inner.graph.push(Op::Input(i), &[], [ty], inner.loc);
        let layout = layout.unwrap_or_else(|| Strided::contiguous(&shape));
        inner.aliases.push(&inner.graph, n, Some((n.into(), layout)));
        n.into()
    }

    /// Appends a parameter's node of a graph whose parameters are declared already (in passes).
    pub fn input_node(&self, i: u32, ty: Type) -> Value {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let n = inner.graph.push(Op::Input(i), &[], [ty], inner.loc);
        inner.aliases.push(&inner.graph, n, None);
        n.into()
    }

    /// A plain number: takes part in promotion by its category only.
    pub fn number(&self, v: Scalar) -> Ex<'_> {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let n = inner.graph.push(Op::Const(v), &[], [Type::number(v.dtype)], inner.loc);
        inner.aliases.push(&inner.graph, n, None);

        Ex::new(self, Some(n.into()))
    }

    /// An integer, which may be a symbolic size, as a plain number.
    pub fn int(&self, d: impl Into<Dim>) -> Ex<'_> {
        let d = d.into();
        if let Some(v) = d.known() {
            return self.number(Scalar::from_i64(DType::I64, v));
        }
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let n = inner.graph.push(Op::Size(literal::Size(d)), &[], [Type::number(DType::I64)], inner.loc);
        inner.aliases.push(&inner.graph, n, None);
        Ex::new(self, Some(n.into()))
    }

    /// A 0-d constant tensor.
    pub fn constant(&self, v: Scalar) -> Ex<'_> {
        self.wrap(self.emit(Op::Const(v), &[]))
    }

    /// `i64[n]`: 0, 1, …
    pub fn iota(&self, n: impl Into<Dim>) -> Ex<'_> {
        self.wrap(self.emit(Op::Iota(literal::Iota(n.into())), &[]))
    }

    /// Zeros of that type.
    pub fn zeros(&self, ty: &Type) -> Ex<'_> {
        self.full(Scalar::from_f64(ty.dtype, 0.0), &ty.shape)
    }

    /// A tensor filled with one value.
    pub fn full<D: Copy + Into<Dim>>(&self, v: Scalar, shape: &[D]) -> Ex<'_> {
        self.constant(v).expand(shape)
    }

    /// An extent as a 0-d value of that dtype, rounded to it if it must be: a constant if it is known, else read when
    /// the program runs.
    pub fn extent(&self, d: Dim, dtype: DType) -> Ex<'_> {
        match d.known() {
            Some(v) => self.constant(Scalar::from_i64(DType::I64, v).cast(dtype)),
            None => self.wrap(self.emit(Op::Size(literal::Size(d)), &[])).cast(dtype),
        }
    }

    /// Turns a failed step of a formula into a kept error.
    pub fn wrap(&self, v: Result<Value>) -> Ex<'_> {
        match v {
            Ok(v) => Ex::new(self, Some(v)),
            Err(e) => {
                self.fail(e);
                Ex::new(self, None)
            }
        }
    }

    /// The value in that dtype; itself if it has it and is no plain number.
    ///
    /// # Errors
    /// None for valid values.
    pub fn cast(&self, v: Value, dtype: DType) -> Result<Value> {
        let ty = self.ty(v);
        if ty.dtype == dtype && !ty.weak {
            return Ok(v);
        }
        let op = self.inner.borrow().graph.op(v.node).clone();
        match op {
            Op::Const(c) => self.emit(Op::Const(c.cast(dtype)), &[]),
            _ => self.emit(Op::Cast(dtype), &[v]),
        }
    }

    /// The value stretched to that shape; itself if it has it.
    ///
    /// # Errors
    /// `shape` if it does not broadcast to it.
    pub fn expand(&self, v: Value, shape: &[Dim]) -> Result<Value> {
        let ty = self.ty(v);
        if ty.shape.as_slice() == shape && !ty.weak {
            return Ok(v);
        }
        let v = if ty.weak { self.cast(v, ty.dtype)? } else { v };
        if ty.shape.as_slice() == shape {
            return Ok(v);
        }
        self.emit(Op::Expand(Expand(shape.into())), &[v])
    }

    /// An elementwise function with PyTorch's promotion and broadcasting.
    ///
    /// # Errors
    /// `dtype` if the function is not defined for the operands' dtypes, `shape` if they do not broadcast.
    pub fn map(&self, row: Row, operands: &[Value]) -> Result<Value> {
        let types: SmallVec<[Type; 3]> = operands.iter().map(|v| self.ty(*v)).collect();
        let refs: SmallVec<[&Type; 3]> = types.iter().collect();
        let loc = self.loc();
        let (dtypes, _) = row.dtypes(&refs).map_err(|e| e.at(loc))?;
        let mut shape = Dims::new();
        for t in &types {
            shape = broadcast(&shape, &t.shape).ok_or_else(|| broadcast_error(row.name(), &types).at(loc))?;
        }
        let operands: Result<SmallVec<[Value; 3]>> =
            operands.iter().zip(&dtypes).map(|(v, d)| self.expand(self.cast(*v, *d)?, &shape)).collect();
        self.emit(Op::Map(row), &operands?)
    }
}

/// Says which shapes an op could not broadcast.
pub fn broadcast_error(name: &str, types: &[Type]) -> Error {
    let mut shape = Dims::new();
    let mut what = String::new();
    for t in types {
        match broadcast(&shape, &t.shape) {
            Some(s) => shape = s,
            None => {
                what = unequal(&shape, &t.shape);
                break;
            }
        }
    }
    let shapes: Vec<String> = types.iter().map(|t| ShapeText(&t.shape).to_string()).collect();
    err::shape(format!("`{name}`: {what}")).help(format!(
        "{} are aligned at the right, and each pair of extents must be equal or have a 1",
        shapes.join(" and ")
    ))
}

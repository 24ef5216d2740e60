//! Expressions.

use super::function::{Got, Tracer};
use super::number::{self, Num};
use super::value::Val;
use crate::builder::Ex;
use crate::dim::Dim;
use crate::error::{Loc, err};
use crate::ops::composite::index::{self, IndexItem};
use crate::ops::literal::Literal;
use crate::ops::registry::{self, Arg};
use crate::ops::{Op, view};
use crate::text::ast::{BinaryOp, Expr, ExprKind, Index, IndexKind, Name, UnaryOp};
use crate::{DType, Scalar};
use std::sync::Arc;

impl<'m, 'b> Tracer<'m, 'b> {
    /// The value of an expression. Parts are evaluated even if others failed, so that all errors are found.
    pub(super) fn expr(&mut self, e: &'m Expr) -> Got<Val<'b>> {
        self.nested(e.loc, |t| t.expr_inner(e))
    }

    fn expr_inner(&mut self, e: &'m Expr) -> Got<Val<'b>> {
        match &e.kind {
            ExprKind::Int(v) => Ok(Val::Num(Num::Int(*v))),
            ExprKind::Float(v) => Ok(Val::Num(Num::Float(v.value))),
            ExprKind::Bool(v) => Ok(Val::Num(Num::Bool(*v))),
            ExprKind::None => Ok(Val::None),
            ExprKind::Str(s) => Ok(Val::Str(s.clone())),
            ExprKind::DType(d) => Ok(Val::DType(*d)),
            ExprKind::Name(name) => self.name(name, e.loc),
            ExprKind::Binary { op, left, right } => {
                let (l, r) = (self.expr(left), self.expr(right));
                self.binary(*op, l?, r?, e.loc)
            }
            ExprKind::Unary { op, operand } => {
                let v = self.expr(operand)?;
                self.unary(*op, v, e.loc)
            }
            ExprKind::Tuple(items) => self.all(items).map(Val::Tuple),
            ExprKind::List(items) => self.all(items).map(Val::List),
            ExprKind::Index { base, indices } => self.indexed(base, indices, e.loc),
            ExprKind::Call { callee, args } => {
                let args = args.iter().map(|a| (a.name.as_ref(), &a.value)).collect();
                self.call(callee, args, e.loc)
            }
            ExprKind::Method { receiver, name, args } => {
                let args = args.iter().map(|a| (a.name.as_ref(), &a.value));
                let args = std::iter::once((None, &**receiver)).chain(args).collect();
                self.call(name, args, e.loc)
            }
            ExprKind::Member { base, name } => {
                let v = self.expr(base)?;
                self.member(v, name, e.loc)
            }
        }
    }

    fn all(&mut self, items: &'m [Expr]) -> Got<Vec<Val<'b>>> {
        let items: Vec<Got<Val>> = items.iter().map(|e| self.expr(e)).collect();
        items.into_iter().collect()
    }

    fn name(&mut self, name: &str, loc: Loc) -> Got<Val<'b>> {
        if let Some(v) = self.frame().names.get(name) {
            return v.clone().ok_or(super::function::Reported);
        }
        if let Some(v) = self.frame().sizes.get(name) {
            return Ok(Val::Num(Num::of(v)));
        }
        let e = err::name(format!("there is no variable `{name}`"));
        let e = if self.module.own(name).is_some() || registry::exists(name) {
            e.label("the name of a function").help(format!("to call it, write `{name}(…)`"))
        } else {
            let mut known: Vec<&str> = self.frame().names.keys().copied().collect();
            known.extend(self.frame().sizes.iter().map(|(n, _)| n));
            known.sort_unstable();
            match known.into_iter().map(|n| (registry::distance(n, name), n)).min() {
                Some((d, close)) if d <= 2 && d < name.len() => e.help(format!("did you mean `{close}`?")),
                _ => e,
            }
        };
        self.fail(loc, e)
    }

    /// The value as a tensor; `what` says for what, if it is something else.
    pub(super) fn tensor(&mut self, v: Val<'b>, loc: Loc, what: &str) -> Got<Ex<'b>> {
        match v {
            Val::Tensor(e) => Ok(e),
            v => self.fail(loc, err::ty(format!("only a tensor {what}, found {}", v.describe()))),
        }
    }

    fn binary(&mut self, op: BinaryOp, l: Val<'b>, r: Val<'b>, loc: Loc) -> Got<Val<'b>> {
        match (l, r) {
            (Val::Num(a), Val::Num(b)) => {
                let n = number::binary(op, a, b);
                self.at(loc, n).map(Val::Num)
            }
            (l @ (Val::Tensor(_) | Val::Num(_)), r @ (Val::Tensor(_) | Val::Num(_))) => {
                let label = format!("{} {} {}", l.short(), op.symbol(), r.short());
                self.b.set_loc(loc);
                match self.try_table(number::function(op), vec![(None, l.arg()), (None, r.arg())]) {
                    Ok(v) => Ok(v),
                    Err(e) if e.diagnostic().label.is_empty() => self.fail(loc, e.label(label)),
                    Err(e) => self.fail(loc, e),
                }
            }
            (Val::List(mut a), Val::List(b)) if op == BinaryOp::Add => {
                a.extend(b);
                Ok(Val::List(a))
            }
            (l, r) => {
                let (s, l, r) = (op.symbol(), l.describe(), r.describe());
                self.fail(loc, err::ty(format!("`{s}` takes tensors and numbers, found {l} and {r}")))
            }
        }
    }

    fn unary(&mut self, op: UnaryOp, v: Val<'b>, loc: Loc) -> Got<Val<'b>> {
        match v {
            Val::Num(n) => {
                let n = number::unary(op, n);
                self.at(loc, n).map(Val::Num)
            }
            Val::Tensor(e) => {
                let name = match op {
                    UnaryOp::Neg => "neg",
                    UnaryOp::Not if e.dtype() == DType::Bool => "logical_not",
                    UnaryOp::Not => "bitwise_not",
                };
                self.call_table(name, vec![(None, Arg::Tensor(e))], loc)
            }
            v => {
                let e = err::ty(format!("`{}` takes a tensor or a number, found {}", op.symbol(), v.describe()));
                self.fail(loc, e)
            }
        }
    }

    fn indexed(&mut self, base: &'m Expr, indices: &'m [Index], loc: Loc) -> Got<Val<'b>> {
        let v = self.expr(base);
        let items = self.index_items(indices);
        let (v, items) = (v?, items?);
        match v {
            Val::Tensor(x) => {
                self.b.set_loc(loc);
                let r = index::index(self.b, x, &items);
                self.at(loc, r).map(Val::Tensor)
            }
            Val::List(l) | Val::Tuple(l) => self.element(l, &items, loc),
            v => self.fail(loc, err::ty(format!("only tensors and lists are indexed, found {}", v.describe()))),
        }
    }

    /// An element or a part of a list.
    fn element(&mut self, l: Vec<Val<'b>>, items: &[IndexItem<'b>], loc: Loc) -> Got<Val<'b>> {
        let n = l.len() as i64;
        match items {
            [IndexItem::Int(i)] if i.known().is_some_and(|i| (-n..n).contains(&i)) => {
                Ok(l[i.known().unwrap_or(0).rem_euclid(n) as usize].clone())
            }
            [IndexItem::Int(i)] => self.fail(loc, err::index(format!("index {i} is out of range for a list of {n}"))),
            [IndexItem::Slice { start, stop, step }] if step.unwrap_or(1) > 0 => {
                let clip = |v: &Option<Dim>, or: i64| {
                    let v = v.map_or(Ok(or), Dim::value)?;
                    Ok(if v < 0 { v.saturating_add(n).max(0) } else { v.min(n) } as usize)
                };
                let bounds = clip(start, 0).and_then(|from| Ok((from, clip(stop, n)?)));
                let (from, to) = self.at(loc, bounds)?;
                let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
                Ok(Val::List(l.into_iter().take(to).skip(from).step_by(step).collect()))
            }
            _ => self.fail(loc, err::ty("a list is indexed by one integer or one slice")),
        }
    }

    /// What stands between the brackets.
    pub(super) fn index_items(&mut self, indices: &'m [Index]) -> Got<Vec<IndexItem<'b>>> {
        let items: Vec<Got<IndexItem>> = indices.iter().map(|i| self.index_item(i)).collect();
        items.into_iter().collect()
    }

    fn index_item(&mut self, i: &'m Index) -> Got<IndexItem<'b>> {
        match &i.kind {
            IndexKind::Ellipsis => Ok(IndexItem::Ellipsis),
            IndexKind::NewAxis => Ok(IndexItem::NewAxis),
            IndexKind::Slice { start, stop, step } => {
                let mut bound = |e: &'m Option<Box<Expr>>| match e {
                    None => Ok(None),
                    Some(e) => match self.expr(e)? {
                        Val::Num(n @ (Num::Int(_) | Num::Size(_))) => Ok(n.dim()),
                        Val::None => Ok(None),
                        v => self.fail(e.loc, err::ty(format!("a slice takes integers, found {}", v.describe()))),
                    },
                };
                let (start, stop, given) = (bound(start), bound(stop), bound(step));
                let by = given?.map(Dim::value).transpose();
                let step = self.at(step.as_ref().map_or(i.loc, |e| e.loc), by)?;
                Ok(IndexItem::Slice { start: start?, stop: stop?, step })
            }
            IndexKind::Expr(e) => match self.expr(e)? {
                Val::Num(Num::Int(v)) => Ok(IndexItem::Int(v.into())),
                Val::Num(Num::Size(d)) => Ok(IndexItem::Int(d)),
                Val::None => Ok(IndexItem::NewAxis),
                Val::Tensor(t) => Ok(IndexItem::Tensor(t)),
                Val::List(l) => {
                    let int = |v: &Val| if let Val::Num(Num::Int(v)) = v { Some(*v) } else { None };
                    let Some(values) = l.iter().map(int).collect::<Option<Vec<i64>>>() else {
                        return self.fail(e.loc, err::ty("a list as an index holds integers"));
                    };
                    let values: Vec<Scalar> = values.into_iter().map(|v| Scalar::from_i64(DType::I64, v)).collect();
                    let shape = [values.len()].into_iter().collect();
                    self.b.set_loc(e.loc);
                    let op = Op::Literal(Literal { dtype: DType::I64, shape, values: Arc::new(values) });
                    let v = self.b.emit(op, &[]);
                    Ok(IndexItem::Tensor(self.b.ex(self.at(e.loc, v)?)))
                }
                v => {
                    let e2 = err::ty(format!("an index is an integer or a tensor, found {}", v.describe()));
                    self.fail(e.loc, e2)
                }
            },
        }
    }

    /// Whether the elements that an index names are a view.
    pub(super) fn is_view_index(&self, items: &[IndexItem<'b>]) -> bool {
        !items.iter().any(|i| matches!(i, IndexItem::Tensor(_)))
    }

    fn member(&mut self, v: Val<'b>, name: &'m Name, loc: Loc) -> Got<Val<'b>> {
        let x = self.tensor(v, loc, "has members")?;
        let shape = x.dims();
        let rank = shape.len();
        match name.text.as_str() {
            "shape" => Ok(Val::List(shape.iter().map(|d| Val::Num(Num::of(*d))).collect())),
            "dtype" => Ok(Val::DType(x.dtype())),
            "ndim" => Ok(Val::Num(Num::Int(rank as i64))),
            "T" => self.permuted(x, (0..rank).rev().collect(), loc),
            "mT" if rank >= 2 => {
                let mut order: Vec<usize> = (0..rank).collect();
                order.swap(rank - 2, rank - 1);
                self.permuted(x, order, loc)
            }
            "mT" => {
                let e = err::shape(format!("`mT` takes a tensor of at least 2 dimensions, this has {rank}"));
                self.fail(loc, e)
            }
            n => {
                let e = err::name(format!("a tensor has no member `{n}`"));
                let e = if registry::exists(n) || self.module.own(n).is_some() {
                    e.help(format!("to call the function, write `.{n}()`"))
                } else {
                    e.help("the members are `T`, `mT`, `shape`, `dtype` and `ndim`")
                };
                self.fail(name.loc, e)
            }
        }
    }

    fn permuted(&mut self, x: Ex<'b>, order: Vec<usize>, loc: Loc) -> Got<Val<'b>> {
        self.b.set_loc(loc);
        let v = x.value().and_then(|v| self.b.emit(Op::Permute(view::Permute(order.into())), &[v]));
        let v = self.at(loc, v)?;
        Ok(Val::Tensor(self.b.ex(v)))
    }
}

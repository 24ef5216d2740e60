//! A small elaborator of `.tc` text into graphs: enough of the language for the golden cases.
//!
//! It walks the syntax tree once, with a name bound to each value, and makes every call through the registry, which is
//! what is tested here. Sizes, functions that call functions, and control flow are not its business.

use std::collections::HashMap;
use tensorc_ir::error::err;
use tensorc_ir::ops::composite::index::{IndexItem, index, set_index};
use tensorc_ir::ops::effect::Grad;
use tensorc_ir::ops::registry::{self, Arg, Out};
use tensorc_ir::text::ast::{self, AssignOp, BinaryOp, DimKind, Expr, ExprKind, IndexKind, StmtKind, UnaryOp};
use tensorc_ir::text::{parse, parse_expr};
use tensorc_ir::{Builder, DType, Ex, Graph, Op, Result, Scalar, Type};

/// A function as a graph. A parameter that `bind` names is a view of another one, and no input of the graph.
pub fn elaborate(source: &str, bind: &HashMap<String, String>) -> Result<Graph> {
    let program = parse(source).map_err(|e| e[0].clone())?;
    let f = &program.fns[0];
    let b = Builder::new(f.name.text.clone());
    let mut env = Env { b: &b, names: HashMap::new() };
    for p in f.params.iter().filter(|p| !bind.contains_key(&p.name.text)) {
        b.set_loc(p.loc);
        let v = b.input(p.name.text.clone(), type_of(&p.ty)?, p.mutable, None);
        env.names.insert(p.name.text.clone(), Arg::Tensor(b.ex(v)));
    }
    for p in f.params.iter() {
        if let Some(view) = bind.get(&p.name.text) {
            let e = parse_expr(view).map_err(|e| e[0].clone())?;
            let v = env.expr(&e)?;
            env.names.insert(p.name.text.clone(), v);
        }
    }
    for s in &f.body.stmts {
        b.set_loc(s.loc);
        env.stmt(&s.kind)?;
    }
    let results = match &f.body.result {
        Some(e) => match env.expr(e)? {
            Arg::List(items) => items,
            one => vec![one],
        },
        None => vec![],
    };
    let mut outputs = Vec::new();
    for r in results {
        let e = env.tensor(r)?;
        // A plain number becomes a tensor.
        let e = if e.ty().weak { e.cast(DType::default_of(e.dtype().category())) } else { e };
        outputs.push(e.value()?);
    }
    let declared = f.result.as_ref().map(|t| t.items.iter().map(type_of).collect::<Result<Vec<_>>>()).transpose()?;
    if let Some(declared) = declared {
        let got: Vec<Type> = outputs.iter().map(|v| b.ty(*v)).collect();
        if got != declared {
            return Err(err::ty(format!("the results are {got:?}, declared as {declared:?}")));
        }
    }
    b.with_graph(|g| g.outputs = outputs);
    b.finish()
}

fn type_of(t: &ast::Type) -> Result<Type> {
    let dim = |d: &ast::Dim| match d.kind {
        DimKind::Int(n) => Ok(n as usize),
        _ => Err(err::unsupported("sizes")),
    };
    Ok(Type::new(t.dtype, t.dims.iter().map(dim).collect::<Result<Vec<_>>>()?))
}

struct Env<'b> {
    b: &'b Builder,
    names: HashMap<String, Arg<'b>>,
}

impl<'b> Env<'b> {
    fn stmt(&mut self, s: &StmtKind) -> Result<()> {
        match s {
            StmtKind::Let { pattern, value, .. } => {
                let v = self.expr(value)?;
                let values = if pattern.tuple {
                    let Arg::List(items) = v else { return Err(err::ty("a tuple of names for one value")) };
                    items
                } else {
                    vec![v]
                };
                if values.len() != pattern.names.len() {
                    return Err(err::ty("as many names as values"));
                }
                for (n, v) in pattern.names.iter().zip(values) {
                    self.names.insert(n.text.clone(), v);
                }
                Ok(())
            }
            StmtKind::Assign { place, op, value } => {
                let v = self.expr(value)?;
                let name = match op {
                    AssignOp::Set => return self.set(place, v),
                    AssignOp::Add => "add_",
                    AssignOp::Sub => "sub_",
                    AssignOp::Mul => "mul_",
                    AssignOp::Div => "div_",
                };
                let target = self.expr(place)?;
                registry::call(self.b, name, vec![(None, target), (None, v)]).map(|_| ())
            }
            StmtKind::Expr(e) => self.expr(e).map(|_| ()),
        }
    }

    fn set(&mut self, place: &Expr, value: Arg<'b>) -> Result<()> {
        let value = self.tensor(value)?;
        if let ExprKind::Index { base, indices } = &place.kind {
            let base = self.expr(base)?;
            let base = self.tensor(base)?;
            let items = self.items(indices)?;
            return set_index(self.b, base, &items, value);
        }
        let target = self.expr(place)?;
        registry::write(self.b, "=", self.tensor(target)?, value)
    }

    fn tensor(&self, a: Arg<'b>) -> Result<Ex<'b>> {
        Ok(match a {
            Arg::Tensor(e) => e,
            Arg::Int(v) => self.b.number(Scalar::from_i64(DType::I64, v)),
            Arg::Float(v) => self.b.number(Scalar::from_f64(DType::F64, v)),
            Arg::Bool(v) => self.b.number(Scalar::from_bool(v)),
            _ => return Err(err::ty("a tensor was expected")),
        })
    }

    fn items(&mut self, indices: &[ast::Index]) -> Result<Vec<IndexItem<'b>>> {
        indices
            .iter()
            .map(|i| {
                Ok(match &i.kind {
                    IndexKind::Ellipsis => IndexItem::Ellipsis,
                    IndexKind::NewAxis => IndexItem::NewAxis,
                    IndexKind::Slice { start, stop, step } => {
                        let mut bound = |e: &Option<Box<Expr>>| match e {
                            None => Ok(None),
                            Some(e) => match self.expr(e)? {
                                Arg::Int(v) => Ok(Some(v)),
                                _ => Err(err::ty("an integer was expected")),
                            },
                        };
                        IndexItem::Slice { start: bound(start)?, stop: bound(stop)?, step: bound(step)? }
                    }
                    IndexKind::Expr(e) => match self.expr(e)? {
                        Arg::Int(v) => IndexItem::Int(v),
                        Arg::Tensor(t) => IndexItem::Tensor(t),
                        _ => return Err(err::ty("an index is an integer, a slice or a tensor")),
                    },
                })
            })
            .collect()
    }

    fn call(&mut self, name: &str, args: Vec<(Option<&str>, Arg<'b>)>) -> Result<Arg<'b>> {
        Ok(match registry::call(self.b, name, args)? {
            Out::One(e) => Arg::Tensor(e),
            Out::Many(all) => Arg::List(all.into_iter().map(Arg::Tensor).collect()),
        })
    }

    fn args<'a>(&mut self, args: &'a [ast::Arg]) -> Result<Vec<(Option<&'a str>, Arg<'b>)>> {
        args.iter().map(|a| Ok((a.name.as_ref().map(|n| n.text.as_str()), self.expr(&a.value)?))).collect()
    }

    /// `grad(y, x, seed=v)`.
    fn grad(&mut self, args: &[ast::Arg]) -> Result<Arg<'b>> {
        let (mut plain, mut seed, mut allow_unused) = (Vec::new(), None, false);
        for (name, a) in self.args(args)? {
            match (name, a) {
                (None, a) => plain.push(a),
                (Some("seed"), a) => seed = Some(self.tensor(a)?.value()?),
                (Some("allow_unused"), Arg::Bool(v)) => allow_unused = v,
                (Some(n), _) => return Err(err::name(format!("`grad` has no argument `{n}`"))),
            }
        }
        let [y, x] = plain.as_slice() else { return Err(err::ty("`grad` takes a value and names")) };
        let (wrt, tuple) = match x {
            Arg::List(items) => (items.clone(), true),
            one => (vec![one.clone()], false),
        };
        let mut operands = vec![self.tensor(y.clone())?.value()?];
        operands.extend(seed);
        for w in wrt {
            operands.push(self.tensor(w)?.value()?);
        }
        let n = self.b.emit_all(Op::Grad(Grad { seeded: seed.is_some(), allow_unused }), &operands)?;
        let results = self.b.with_graph(|g| g.results(n).collect::<Vec<_>>());
        let mut all: Vec<Arg<'b>> = results.into_iter().map(|v| Arg::Tensor(self.b.ex(v))).collect();
        Ok(if tuple { Arg::List(all) } else { all.remove(0) })
    }

    fn expr(&mut self, e: &Expr) -> Result<Arg<'b>> {
        Ok(match &e.kind {
            ExprKind::Int(v) => Arg::Int(*v),
            ExprKind::Float(f) => Arg::Float(f.value),
            ExprKind::Bool(v) => Arg::Bool(*v),
            ExprKind::None => Arg::None,
            ExprKind::Str(s) => Arg::Str(s.clone()),
            ExprKind::DType(d) => Arg::DType(*d),
            ExprKind::Name(n) => match self.names.get(n) {
                Some(a) => a.clone(),
                None => return Err(err::name(format!("unknown name `{n}`"))),
            },
            ExprKind::Tuple(items) | ExprKind::List(items) => {
                Arg::List(items.iter().map(|i| self.expr(i)).collect::<Result<_>>()?)
            }
            ExprKind::Unary { op: UnaryOp::Neg, operand } => match self.expr(operand)? {
                Arg::Int(v) => Arg::Int(-v),
                Arg::Float(v) => Arg::Float(-v),
                x => self.call("neg", vec![(None, x)])?,
            },
            ExprKind::Unary { op: UnaryOp::Not, operand } => {
                let x = self.expr(operand)?;
                let name = if self.tensor(x.clone())?.dtype() == DType::Bool { "logical_not" } else { "bitwise_not" };
                self.call(name, vec![(None, x)])?
            }
            ExprKind::Binary { op, left, right } => {
                let (l, r) = (self.expr(left)?, self.expr(right)?);
                self.call(operator(*op), vec![(None, l), (None, r)])?
            }
            ExprKind::Index { base, indices } => {
                let base = self.expr(base)?;
                let items = self.items(indices)?;
                if let (Arg::List(all), [IndexItem::Int(i)]) = (&base, items.as_slice()) {
                    return all.get(*i as usize).cloned().ok_or_else(|| err::index("no such item of the tuple"));
                }
                let base = self.tensor(base)?;
                Arg::Tensor(index(self.b, base, &items)?)
            }
            ExprKind::Call { callee, args } if callee.text == "grad" => self.grad(args)?,
            ExprKind::Call { callee, args } => {
                let args = self.args(args)?;
                self.call(&callee.text, args)?
            }
            ExprKind::Method { receiver, name, args } => {
                let mut all = vec![(None, self.expr(receiver)?)];
                all.extend(self.args(args)?);
                self.call(&name.text, all)?
            }
            ExprKind::Member { base, name } => {
                let x = self.expr(base)?;
                self.call(&name.text, vec![(None, x)])?
            }
        })
    }
}

fn operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Pow => "pow",
        BinaryOp::MatMul => "matmul",
        BinaryOp::Mul => "mul",
        BinaryOp::Div => "div",
        BinaryOp::Rem => "remainder",
        BinaryOp::Add => "add",
        BinaryOp::Sub => "sub",
        BinaryOp::Shl => "bitwise_left_shift",
        BinaryOp::Shr => "bitwise_right_shift",
        BinaryOp::And => "bitwise_and",
        BinaryOp::Xor => "bitwise_xor",
        BinaryOp::Or => "bitwise_or",
        BinaryOp::Eq => "eq",
        BinaryOp::Ne => "ne",
        BinaryOp::Lt => "lt",
        BinaryOp::Le => "le",
        BinaryOp::Gt => "gt",
        BinaryOp::Ge => "ge",
    }
}

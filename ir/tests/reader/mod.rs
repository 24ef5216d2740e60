//! The least reader that a dump needs: one function, calls of the registry's functions on names, literals and calls.

use std::collections::HashMap;
use tensorc_ir::ops::Op;
use tensorc_ir::ops::composite::primitive;
use tensorc_ir::ops::effect::Grad;
use tensorc_ir::ops::literal::Literal;
use tensorc_ir::ops::registry::{Arg, Out};
use tensorc_ir::text::ast::{self, DimKind, ExprKind, StmtKind, UnaryOp};
use tensorc_ir::text::parse;
use tensorc_ir::text::restore::{phase, restore};
use tensorc_ir::{Builder, DType, Ex, Graph, Loc, Scalar, Shape, Type, Value};

/// What a name or literal stands for.
fn argument<'b>(b: &'b Builder, names: &HashMap<String, Ex<'b>>, e: &ast::Expr) -> Arg<'b> {
    match &e.kind {
        ExprKind::Int(i) => Arg::Int(*i),
        ExprKind::Float(f) => Arg::Float(f.value),
        ExprKind::Bool(v) => Arg::Bool(*v),
        ExprKind::DType(d) => Arg::DType(*d),
        ExprKind::Name(n) => Arg::Tensor(names[n]),
        ExprKind::Call { .. } | ExprKind::Method { .. } => Arg::Tensor(values(b, names, e, None)[0]),
        ExprKind::List(l) | ExprKind::Tuple(l) => Arg::List(l.iter().map(|e| argument(b, names, e)).collect()),
        ExprKind::Unary { op: UnaryOp::Neg, operand } => match argument(b, names, operand) {
            Arg::Int(i) => Arg::Int(-i),
            Arg::Float(f) => Arg::Float(-f),
            _ => panic!("a negated {e:?}"),
        },
        _ => panic!("no argument of a dump: {e:?}"),
    }
}

fn numbers(a: &Arg<'_>, dtype: DType, shape: &mut Shape, values: &mut Vec<Scalar>, depth: usize) {
    if let Arg::List(l) = a {
        if shape.len() == depth {
            shape.push(l.len());
        }
        l.iter().for_each(|a| numbers(a, dtype, shape, values, depth + 1));
    } else {
        values.push(scalar(a, dtype));
    }
}

fn scalar(a: &Arg<'_>, dtype: DType) -> Scalar {
    match a {
        Arg::Int(i) => Scalar::from_i64(dtype, *i),
        Arg::Float(f) => Scalar::from_f64(dtype, *f),
        Arg::Bool(v) => Scalar::from_bool(*v),
        _ => panic!("no number"),
    }
}

/// The values of an expression.
fn values<'b>(b: &'b Builder, names: &HashMap<String, Ex<'b>>, e: &ast::Expr, ty: Option<&ast::Types>) -> Vec<Ex<'b>> {
    let (name, receiver, args) = match &e.kind {
        ExprKind::Call { callee, args } => (&callee.text, None, args),
        ExprKind::Method { receiver, name, args } => (&name.text, Some(receiver), args),
        ExprKind::Name(n) => return vec![names[n]],
        ExprKind::Tuple(l) => return l.iter().flat_map(|e| values(b, names, e, None)).collect(),
        _ => return vec![b.constant(scalar(&argument(b, names, e), ty.unwrap().items[0].dtype))],
    };
    let mut all: Vec<(Option<&str>, Arg<'b>)> =
        receiver.iter().map(|r| (None, Arg::Tensor(values(b, names, r, None)[0]))).collect();
    all.extend(args.iter().map(|a| (a.name.as_ref().map(|n| n.text.as_str()), argument(b, names, &a.value))));
    let keyword = |name: &str| all.iter().find(|(n, _)| *n == Some(name)).map(|(_, a)| a.clone());
    match name.as_str() {
        "tensor" => {
            let Some(Arg::DType(dtype)) = keyword("dtype") else { panic!("a tensor without a dtype") };
            let (mut shape, mut values) = (Shape::new(), Vec::new());
            numbers(&all[0].1, dtype, &mut shape, &mut values, 0);
            let literal = Literal { dtype, shape, values: values.into() };
            vec![b.ex(b.emit(Op::Literal(literal), &[]).unwrap())]
        }
        "grad" => {
            let tensors = |a: &Arg<'b>| match a {
                Arg::Tensor(e) => vec![e.value().unwrap()],
                Arg::List(l) => {
                    l.iter().map(|a| if let Arg::Tensor(e) = a { e.value().unwrap() } else { panic!() }).collect()
                }
                _ => panic!("no tensors"),
            };
            let seed = keyword("seed");
            let grad = Grad { seeded: seed.is_some(), allow_unused: keyword("allow_unused").is_some() };
            let operands: Vec<Value> =
                [Some(&all[0].1), seed.as_ref(), Some(&all[1].1)].into_iter().flatten().flat_map(tensors).collect();
            let n = b.emit_all(Op::Grad(grad), &operands).unwrap();
            (0..all_results(b, n)).map(|result| b.ex(Value { node: n, result: result as u16 })).collect()
        }
        name => match primitive::call(b, name, all).unwrap() {
            Out::One(e) => vec![e],
            Out::Many(l) => l,
        },
    }
}

fn all_results(b: &Builder, n: tensorc_ir::NodeId) -> usize {
    b.node(n).types.len()
}

/// The graph that a dump of one function is.
pub fn read(text: &str) -> Graph {
    let program = parse(text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let f = &program.fns[0];
    let mut g = Graph::new(f.name.text.clone());
    g.phase = phase(text, text.find("fn ").unwrap());
    let b = Builder::over(g);
    let mut names = HashMap::new();
    for p in &f.params {
        let dims = p.ty.dims.iter().map(|d| if let DimKind::Int(n) = d.kind { n as usize } else { panic!("a size") });
        let v = b.input(p.name.text.clone(), Type::new(p.ty.dtype, dims), p.mutable, None);
        names.insert(p.name.text.clone(), b.ex(v));
    }
    for s in &f.body.stmts {
        b.set_loc(s.loc);
        match &s.kind {
            StmtKind::Let { pattern, ty, value } => {
                let values = values(&b, &names, value, ty.as_ref());
                names.extend(pattern.names.iter().map(|n| n.text.clone()).zip(values));
            }
            StmtKind::Expr(e) => drop(values(&b, &names, e, None)),
            StmtKind::Assign { .. } => panic!("no statement of a dump"),
        }
    }
    let result = f.body.result.as_ref();
    b.set_loc(result.map_or(Loc::Unknown, |e| e.loc));
    let outputs: Vec<Value> =
        result.map_or(vec![], |e| values(&b, &names, e, None)).iter().map(|e| e.value().unwrap()).collect();
    drop(names);
    b.with_graph(|g| {
        g.tuple = result.is_some_and(|e| matches!(e.kind, ExprKind::Tuple(_)));
        g.outputs = outputs;
    });
    restore(&b.finish().unwrap()).unwrap()
}

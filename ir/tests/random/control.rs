//! Random control flow: a `cond`, `while_loop` or `scan` over values of a program, with bodies of random steps.

use super::Choices;
use tensorc_ir::graph::Phase;
use tensorc_ir::ops::Op;
use tensorc_ir::ops::control::{Body, Cond, Scan, While};
use tensorc_ir::{Builder, DType, Graph, Result, Scalar, Strided, Type, Value};

/// Appends some steps to a body whose values are in the pool.
pub type Inner<'i> = &'i mut dyn FnMut(&Builder, &mut Choices<'_>, &mut Vec<Value>);

/// A parameter of a body: its type, and how it lies in memory.
pub type Arg = (Type, Strided);

pub fn whole(b: &Builder, v: Value) -> Arg {
    (plain(&b.ty(v)), b.storage(v).1.from_start())
}

pub fn carried(ty: &Type) -> Arg {
    (plain(ty), Strided::contiguous(&ty.shape))
}

pub fn slice(b: &Builder, v: Value) -> Arg {
    let (ty, l) = (b.ty(v), b.storage(v).1);
    (Type::new(ty.dtype, ty.shape[1..].iter().copied()), l.first_slice())
}

pub fn plain(ty: &Type) -> Type {
    Type::new(ty.dtype, ty.shape.iter().copied())
}

fn same(a: &Type, b: &Type) -> bool {
    a.dtype == b.dtype && a.shape == b.shape
}

/// A body of random steps. `results` gives its results from its values.
pub fn body(
    phase: Phase,
    name: &str,
    args: &[Arg],
    c: &mut Choices<'_>,
    inner: Inner<'_>,
    results: impl FnOnce(&Builder, &mut Choices<'_>, &[Value]) -> Result<Vec<Value>>,
) -> Result<Body> {
    let mut g = Graph::new(name);
    g.phase = phase;
    let b = Builder::over(g);
    let inputs = args.iter().enumerate();
    let mut pool: Vec<Value> =
        inputs.map(|(i, (ty, l))| b.input(format!("x{i}"), ty.clone(), false, Some(l.clone()))).collect();
    for _ in 0..c.below(4) {
        inner(&b, c, &mut pool);
        // A formula that was impossible leaves its error behind.
        let _ = b.check();
    }
    let outputs = results(&b, c, &pool)?;
    let outputs = Body::own_results(&b, &outputs)?;
    b.with_graph(|g| g.outputs = outputs);
    Ok(Body::new(b.finish()?))
}

/// The last value of that type, or zeros.
fn of_type(b: &Builder, pool: &[Value], ty: &Type) -> Result<Value> {
    match pool.iter().rev().find(|v| same(&b.ty(**v), ty)) {
        Some(v) => Ok(*v),
        None => b.zeros(ty).value(),
    }
}

fn of_types(b: &Builder, pool: &[Value], types: &[Type]) -> Result<Vec<Value>> {
    types.iter().map(|t| of_type(b, pool, t)).collect()
}

pub fn some(c: &mut Choices<'_>, pool: &[Value], most: usize) -> Vec<Value> {
    (0..c.below(most + 1)).map(|_| c.of(pool)).collect()
}

/// Whether the sum of a value is negative. With `fixed`, something that no small change of a value changes.
fn predicate(b: &Builder, c: &mut Choices<'_>, pool: &[Value], fixed: bool) -> Result<Value> {
    if fixed {
        return b.constant(Scalar::from_bool(c.below(2) == 0)).value();
    }
    let sum = b.ex(c.of(pool)).cast(DType::F32).sum_all();
    sum.map("lt", &[sum.zeros()]).value()
}

/// Appends a control op on values of the pool, and gives its results. `smooth` ones can be differentiated.
pub fn control(b: &Builder, c: &mut Choices<'_>, pool: &[Value], smooth: bool, inner: Inner<'_>) -> Result<Vec<Value>> {
    let phase = b.with_graph(|g| g.phase);
    let emit = |op: Op, x: &[Value]| -> Result<Vec<Value>> {
        let n = b.emit_all(op, x)?;
        Ok(b.results(n).into_vec())
    };
    match c.below(if smooth { 2 } else { 3 }) {
        0 => {
            let pred = predicate(b, c, pool, smooth)?;
            let x = some(c, pool, 3);
            let args: Vec<Arg> = x.iter().map(|v| whole(b, *v)).collect();
            let f = body(phase, "f", &args, c, inner, |b, _, pool| {
                let last: Vec<Value> = pool.iter().rev().take(2).copied().collect();
                if last.is_empty() {
                    Ok(vec![b.constant(Scalar::from_f64(DType::F32, 1.0)).value()?])
                } else {
                    Ok(last)
                }
            })?;
            let types = f.result_types();
            let g = body(phase, "g", &args, c, inner, |b, _, pool| of_types(b, pool, &types))?;
            let operands: Vec<Value> = std::iter::once(pred).chain(x).collect();
            emit(Op::Cond(Cond { branches: [f, g] }), &operands)
        }
        1 => {
            let along: Vec<Value> = pool.iter().copied().filter(|v| b.ty(*v).rank() > 0).collect();
            let first = (!along.is_empty()).then(|| c.of(&along));
            let length = first.map_or_else(|| c.below(4).into(), |v| b.ty(v).shape[0]);
            if length.known().is_none_or(|n| n > 8) {
                return Ok(Vec::new());
            }
            let along: Vec<Value> = along.into_iter().filter(|v| b.ty(*v).shape[0] == length).collect();
            let (init, consts) = (some(c, pool, 2), some(c, pool, 2));
            let more = if first.is_some() { some(c, &along, 1) } else { Vec::new() };
            let xs: Vec<Value> = first.into_iter().chain(more).collect();
            let args: Vec<Arg> = (init.iter().map(|v| carried(&b.ty(*v))))
                .chain(xs.iter().map(|v| slice(b, *v)))
                .chain(consts.iter().map(|v| whole(b, *v)))
                .collect();
            let types: Vec<Type> = args[..init.len()].iter().map(|(t, _)| t.clone()).collect();
            let body = body(phase, "step", &args, c, inner, |b, c, pool| {
                let mut out = of_types(b, pool, &types)?;
                out.extend(pool.iter().rev().take(c.below(3)));
                if out.is_empty() {
                    out.push(b.constant(Scalar::from_f64(DType::F32, 2.0)).value()?);
                }
                Ok(out)
            })?;
            let (reverse, save) = (c.below(2) == 1, c.below(4) == 1);
            let op = Scan { body, carries: init.len(), xs: xs.len(), length, reverse, save };
            let operands: Vec<Value> = init.into_iter().chain(xs).chain(consts).collect();
            emit(Op::Loop(op), &operands)
        }
        _ => {
            // A counter goes along, so that the loop ends.
            let most = c.below(4) as i64;
            let int = |b: &Builder, v: i64| b.constant(Scalar::from_i64(DType::I64, v)).value();
            let (init, consts) = (some(c, pool, 2), some(c, pool, 2));
            let mut args = vec![(Type::new(DType::I64, [0usize; 0]), Strided::contiguous(&[]))];
            args.extend(init.iter().map(|v| carried(&b.ty(*v))));
            let types: Vec<Type> = args[1..].iter().map(|(t, _)| t.clone()).collect();
            args.extend(consts.iter().map(|v| whole(b, *v)));
            let test = body(phase, "test", &args, c, inner, |b, _, pool| {
                let below = b.ex(pool[0]).map("lt", &[b.ex(int(b, most)?)]);
                Ok(vec![below.value()?])
            })?;
            let body = body(phase, "body", &args, c, inner, |b, _, pool| {
                let mut out = vec![(b.ex(pool[0]) + b.ex(int(b, 1)?)).value()?];
                out.extend(of_types(b, &pool[1..], &types)?);
                Ok(out)
            })?;
            let operands: Vec<Value> = std::iter::once(int(b, 0)?).chain(init).chain(consts).collect();
            Ok(emit(Op::While(While { test, body }), &operands)?.split_off(1))
        }
    }
}

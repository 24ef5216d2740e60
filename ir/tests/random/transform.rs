//! Random transforms of functions of random steps: `vmap`, `checkpoint` and `custom_vjp`, and where derivatives are taken
//! `jvp` and `grad` as parts of a program.

use super::Choices;
use super::control::{Arg, Inner, body, carried, plain, slice, some, whole};
use tensorc_ir::ops::Op;
use tensorc_ir::ops::control::{Body, Custom, Vmap};
use tensorc_ir::ops::effect::{Grad, Jvp};
use tensorc_ir::{Builder, DType, Graph, Result, Scalar, Type, Value};

/// Appends a transform of a function of values of the pool, and gives its results.
pub fn transform(
    b: &Builder,
    c: &mut Choices<'_>,
    pool: &[Value],
    derive: bool,
    inner: Inner<'_>,
) -> Result<Vec<Value>> {
    let emit = |op: Op, x: &[Value]| -> Result<Vec<Value>> {
        let n = b.emit_all(op, x)?;
        Ok(b.results(n).into_vec())
    };
    match c.below(if derive { 5 } else { 3 }) {
        0 => {
            let along: Vec<Value> = pool.iter().copied().filter(|v| b.ty(*v).rank() > 0).collect();
            if along.is_empty() {
                return Ok(Vec::new());
            }
            let first = c.of(&along);
            let size = b.ty(first).shape[0];
            if size.known().is_none_or(|n| n > 8) {
                return Ok(Vec::new());
            }
            let along: Vec<Value> = along.into_iter().filter(|v| b.ty(*v).shape[0] == size).collect();
            let xs: Vec<Value> = std::iter::once(first).chain(some(c, &along, 1)).collect();
            let consts = some(c, pool, 2);
            let args: Vec<Arg> = xs.iter().map(|v| slice(b, *v)).chain(consts.iter().map(|v| whole(b, *v))).collect();
            let body = body(b.with_graph(|g| g.phase), "each", &args, c, inner, last)?;
            let operands: Vec<Value> = xs.iter().chain(&consts).copied().collect();
            emit(Op::Vmap(Vmap { body, xs: xs.len() }), &operands)
        }
        1 => {
            let x: Vec<Value> = std::iter::once(c.of(pool)).chain(some(c, pool, 2)).collect();
            let args: Vec<Arg> = x.iter().map(|v| whole(b, *v)).collect();
            let forward = body(b.with_graph(|g| g.phase), "again", &args, c, inner, last)?;
            emit(Op::Custom(Custom { forward, backward: None, args: x.len() }), &x)
        }
        2 => {
            let x: Vec<Value> = std::iter::once(c.of(pool)).chain(some(c, pool, 2)).collect();
            let args: Vec<Arg> = x.iter().map(|v| whole(b, *v)).collect();
            // The rule makes the same steps once more, and says the derivative that they have.
            let mut same = Choices(c.0.clone());
            let forward = body(b.with_graph(|g| g.phase), "own", &args, c, inner, last)?;
            let backward = derive.then(|| rule(&args, &forward, &mut same, inner)).transpose()?;
            let backward = match backward {
                Some(rule) => rule,
                // Nobody asks for it.
                None => zeros(&args, &forward)?,
            };
            emit(Op::Custom(Custom { forward, backward: Some(backward), args: x.len() }), &x)
        }
        which => {
            // Variables of their own, which nothing is written to.
            let copy = |v: Value| b.emit(Op::Copy, &[v]);
            let x = (0..1 + c.below(2)).map(|_| copy(c.of(pool))).collect::<Result<Vec<Value>>>()?;
            let mut own = x.iter().map(|v| copy(*v)).collect::<Result<Vec<Value>>>()?;
            own.push(copy(c.of(pool))?);
            for _ in 0..1 + c.below(3) {
                inner(b, c, &mut own);
                let _ = b.check();
            }
            let y: Vec<Value> = own.iter().rev().take(1 + c.below(2)).copied().collect();
            if which == 3 {
                let tangents = x.iter().map(|v| {
                    let alike: Vec<Value> =
                        pool.iter().copied().filter(|o| plain(&b.ty(*o)) == plain(&b.ty(*v))).collect();
                    if alike.is_empty() { Ok(*v) } else { Ok(c.of(&alike)) }
                });
                let t = tangents.collect::<Result<Vec<Value>>>()?;
                let operands: Vec<Value> = y.iter().chain(&x).chain(&t).copied().collect();
                return emit(Op::Jvp(Jvp { results: y.len() }), &operands);
            }
            let sum = y.iter().map(|v| (b.ex(*v) * b.ex(*v)).sum_all()).reduce(|a, s| a + s);
            let Some(sum) = sum else { return Ok(Vec::new()) };
            let operands: Vec<Value> = std::iter::once(sum.value()?).chain(x).collect();
            emit(Op::Grad(Grad { allow_unused: true, ..Grad::default() }), &operands)
        }
    }
}

/// The last values, or a number.
fn last(b: &Builder, c: &mut Choices<'_>, pool: &[Value]) -> Result<Vec<Value>> {
    let results: Vec<Value> = pool.iter().rev().take(1 + c.below(2)).copied().collect();
    if !results.is_empty() {
        return Ok(results);
    }
    Ok(vec![b.constant(Scalar::from_f64(DType::F32, 1.0)).value()?])
}

/// The parameters of a rule: operands, results and cotangents.
fn params(b: &Builder, args: &[Arg], forward: &Body) -> [Vec<Value>; 3] {
    let own = |t: Type| b.input("y", t.clone(), false, Some(carried(&t).1));
    let x = args.iter().map(|(t, l)| b.input("x", t.clone(), false, Some(l.clone()))).collect();
    let types = || forward.result_types().into_iter();
    let y = types().map(own).collect();
    let dy = types().filter(|t| t.dtype.is_float()).map(own).collect();
    [x, y, dy]
}

fn finished(b: Builder, outputs: &[Value]) -> Result<Body> {
    let outputs = Body::own_results(&b, outputs)?;
    b.with_graph(|g| g.outputs = outputs);
    Ok(Body::new(b.finish()?))
}

fn builder(phase: &Body) -> Builder {
    let mut g = Graph::new("rule");
    g.phase = phase.phase;
    Builder::over(g)
}

/// The gradients of the steps of `forward`, for cotangents of its results.
fn rule(args: &[Arg], forward: &Body, c: &mut Choices<'_>, inner: Inner<'_>) -> Result<Body> {
    let b = builder(forward);
    let [x, _, dy] = params(&b, args, forward);
    let mut pool = x.clone();
    for _ in 0..c.below(4) {
        inner(&b, c, &mut pool);
        let _ = b.check();
    }
    let y = last(&b, c, &pool)?;
    let mut sums: Vec<Option<Value>> = vec![None; x.len()];
    for (y, dy) in y.iter().zip(dy) {
        let operands: Vec<Value> = [*y, dy].into_iter().chain(x.iter().copied()).collect();
        let n = b.emit_all(Op::Grad(Grad { seeded: true, allow_unused: true, ..Grad::default() }), &operands)?;
        for (sum, d) in sums.iter_mut().zip(b.results(n)) {
            *sum = Some(match *sum {
                Some(before) => (b.ex(before) + b.ex(d)).value()?,
                None => d,
            });
        }
    }
    let sums: Vec<Value> = sums.into_iter().flatten().collect();
    finished(b, &sums)
}

fn zeros(args: &[Arg], forward: &Body) -> Result<Body> {
    let b = builder(forward);
    params(&b, args, forward);
    let all = args.iter().filter(|(t, _)| t.dtype.is_float()).map(|(t, _)| b.zeros(t).copy().value());
    let all = all.collect::<Result<Vec<Value>>>()?;
    finished(b, &all)
}

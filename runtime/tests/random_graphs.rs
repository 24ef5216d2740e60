//! Random graphs of many ops and dtypes, and random programs with views and writes: compiled code, fused and one op at a
//! time, leaves the bits that the interpreter leaves, in all results and in all memory of all parameters.
//!
//! A graph is read off a list of choices, so that it shrinks to a small one.

#[path = "../../ir/tests/random/mod.rs"]
#[allow(dead_code)]
mod random;
mod support;

use proptest::prelude::*;
use random::cases::cases;
use random::{Choices, Want, range, step, view_op};
use support::{Param, Random, disagreement};
use tensorc_ir::graph::{NodeId, Phase};
use tensorc_ir::ops::effect::Grad;
use tensorc_ir::ops::elementwise::{Row, rows};
use tensorc_ir::ops::gather::ScatterMode;
use tensorc_ir::ops::reduce::{Reduce, ReduceKind};
use tensorc_ir::ops::scan::ScanKind;
use tensorc_ir::ops::strided;
use tensorc_ir::passes::{run_all, run_named};
use tensorc_ir::text::print::print;
use tensorc_ir::types::{Range, Shape};
use tensorc_ir::{Builder, DType, Ex, Graph, Layout, Op, Scalar, Strided, Value};

const EXTENTS: [usize; 12] = [3, 4, 1, 2, 5, 7, 16, 17, 33, 40, 0, 130];
/// Elements of a value, at most.
const MOST: usize = 6000;
const KINDS: [ReduceKind; 6] =
    [ReduceKind::Sum, ReduceKind::Max, ReduceKind::Prod, ReduceKind::Min, ReduceKind::ArgMax, ReduceKind::ArgMin];

/// Some way for a tensor of that shape to lie in memory; a written one has a place for every element.
fn layout(c: &mut Choices<'_>, shape: &[usize], written: bool) -> Layout {
    let rank = shape.len();
    match c.below(6) {
        1 if rank > 1 => {
            // The dimensions in another order in memory.
            let mut order: Vec<usize> = (0..rank).collect();
            order.rotate_left(1 + c.below(rank - 1));
            let moved: Vec<usize> = order.iter().map(|o| shape[*o]).collect();
            let back: Vec<usize> = (0..rank).map(|d| order.iter().position(|o| *o == d).unwrap_or(d)).collect();
            Layout::contiguous(&moved).permute(&back)
        }
        2 | 3 => {
            // A part of a larger tensor.
            let ranges: Vec<Range> =
                shape.iter().map(|d| Range { start: c.below(3), len: *d, step: 1 + c.below(2) as isize }).collect();
            let larger: Vec<usize> = ranges.iter().map(|r| r.start + r.len.max(1) * r.step as usize).collect();
            Layout::contiguous(&larger).slice(&ranges)
        }
        4 if rank > 0 && !written => {
            let mut narrow = shape.to_vec();
            narrow[c.below(rank)] = 1;
            Layout::contiguous(&narrow).expand(shape)
        }
        _ => Layout::contiguous(shape),
    }
}

/// The operand made harmless for rows that fail on some integers, or that see the sign of a NaN, which nothing defines.
fn tame<'b>(row: Row, i: usize, x: Ex<'b>) -> Ex<'b> {
    if [("signbit", 0), ("copysign", 1)].contains(&(row.name(), i)) && x.dtype().is_float() {
        return x.map("isnan", &[]).select(x.zeros(), x);
    }
    let risky = ["trunc_divide", "floor_divide", "fmod", "remainder", "pow"].contains(&row.name());
    if risky && i == 1 && !x.dtype().is_float() {
        return x.maximum(x.builder().number(Scalar::from_i64(DType::I64, 1)));
    }
    x
}

/// Indices in `0..extent` made from a tensor of that shape.
fn index<'b>(x: Ex<'b>, extent: usize) -> Ex<'b> {
    x.cast(DType::I64).map("remainder", &[x.builder().number(Scalar::from_i64(DType::I64, extent as i64))])
}

/// The value cut or repeated to that shape, if both have one rank.
fn fit<'b>(x: Ex<'b>, shape: &[usize]) -> Ex<'b> {
    let have = x.shape();
    let cut = |(h, s): (&usize, &usize)| Range { start: 0, len: if *h < *s { 1.min(*h) } else { *s }, step: 1 };
    let ranges: Vec<Range> = have.iter().zip(shape).map(cut).collect();
    x.slice(&ranges).expand(shape)
}

/// Appends one random op; what the builder refuses is left out.
fn pure_step(b: &Builder, c: &mut Choices<'_>, pool: &mut Vec<Value>, all: &[Row], level: usize) -> Option<()> {
    if pool.is_empty() {
        return None;
    }
    if c.below(16) == 15 && level < 3 {
        let mut inner = |b: &Builder, c: &mut Choices<'_>, pool: &mut Vec<Value>| {
            pure_step(b, c, pool, all, level + 1);
        };
        let results = random::control::control(b, c, pool, false, &mut inner).ok()?;
        pool.extend(results.into_iter().filter(|v| b.ex(*v).numel() <= MOST && b.ty(*v).rank() <= 4));
        return Some(());
    }
    let v = c.of(pool);
    let x = b.ex(v);
    let shape: Shape = x.shape();
    let rank = shape.len();
    let axis = c.below(rank);
    let y = match c.below(22) {
        0..=5 => {
            let row = c.of(all);
            let mut operands = vec![x];
            for _ in 1..row.0.args.len() {
                operands.push(b.ex(c.of(pool)));
            }
            if row.name() == "where" {
                operands[0] = operands[0].cast(DType::Bool);
            }
            let operands: Option<Vec<Value>> =
                operands.into_iter().enumerate().map(|(i, x)| tame(row, i, x).value().ok()).collect();
            let operands = operands?;
            let shapes = operands.iter().map(|v| b.ex(*v).shape());
            let most: usize =
                shapes.fold(Shape::new(), |a, s| tensorc_ir::types::broadcast(&a, &s).unwrap_or(a)).iter().product();
            if most > MOST {
                return None;
            }
            b.map(row, &operands)
        }
        6..=8 => {
            // Views by strides are others in a graph without memory.
            let op = view_op(c, &shape);
            op.structural().infer(&[&b.ty(v)]).and_then(|_| strided::pure(&op, b.ex(v)).value())
        }
        9 => b.cast(v, c.of(&DType::ALL)),
        10 | 11 if rank > 0 => {
            let axes: Vec<usize> = (0..rank).filter(|a| *a == axis || c.below(3) == 0).collect();
            let kind = c.of(&KINDS);
            // Nothing has no first largest element, and users cannot ask for it.
            if kind.is_arg() && axes.iter().any(|a| shape[*a] == 0) {
                return None;
            }
            b.emit(Op::Reduce(Reduce { kind, axes: axes.into() }), &[v])
        }
        12 if rank > 0 => {
            // What softmax and norms are made of.
            let kind = c.of(&KINDS[..4]);
            if shape[axis] == 0 || x.dtype() == DType::Bool {
                return None;
            }
            let r = x.reduce(kind, &[axis], true).expand(&shape);
            c.of(&[x - r, x * r, x.maximum(r)]).value()
        }
        13 if rank > 0 => x.scan(c.of(&[ScanKind::Sum, ScanKind::Prod]), axis).value(),
        14 | 15 if rank > 0 => {
            let other = c.of(&alike(b, pool, rank));
            let mut picked = b.ex(other).shape();
            (0..rank).filter(|d| *d != axis).for_each(|d| picked[d] = picked[d].min(shape[d]));
            if shape[axis] == 0 || picked.iter().product::<usize>() > MOST {
                return None;
            }
            let i = index(fit(b.ex(other), &picked), shape[axis]);
            match c.below(3) {
                0 => x.gather(axis, i).value(),
                k => {
                    let source = fit(b.ex(c.of(&alike(b, pool, rank))), &picked).cast(x.dtype());
                    let other = c.of(&[ScatterMode::Set, ScatterMode::Mul, ScatterMode::Max, ScatterMode::Min]);
                    let mode = if k == 1 { ScatterMode::Add } else { other };
                    if fits(source, &picked) { x.scatter(axis, mode, i, source).value() } else { return None }
                }
            }
        }
        16 => {
            let ranges: Vec<Range> = shape.iter().map(|d| range(c, *d)).collect();
            let part: Shape = ranges.iter().map(|r| r.len).collect();
            let source = fit(b.ex(c.of(&alike(b, pool, rank))), &part).cast(x.dtype());
            if !fits(source, &part) {
                return None;
            }
            x.slice_update(&ranges, source).value()
        }
        17 if rank > 0 && x.dtype() != DType::Bool => {
            let n = x.shape()[rank - 1];
            let numel = shape.iter().product::<usize>();
            if n == 0 || numel > 1200 {
                return None;
            }
            let (batch, rows) = if rank == 3 { (shape[0], shape[1]) } else { (1, numel / n) };
            let x = x.reshape(&[batch, rows, n]);
            match c.below(2) {
                0 => x.bmm(x.transpose(1, 2)).value(),
                _ => x.transpose(1, 2).bmm(x).value(),
            }
        }
        18 if rank > 0 && x.dtype() != DType::Bool => {
            let at = tensorc_ir::ops::composite::sort::order(x, axis, c.below(2) == 0);
            c.of(&[at, x.gather(axis, at)]).value()
        }
        19 => {
            let same: Vec<DType> = DType::ALL.into_iter().filter(|d| d.size() == x.dtype().size()).collect();
            // A NaN's bits are nobody's to promise.
            let x = if x.dtype().is_float() { x.eq(x).select(x, x.zeros()) } else { x };
            b.emit(Op::Bitcast(strided::Bitcast(c.of(&same))), &[x.value().ok()?])
        }
        20 if rank > 0 => {
            // A softmax: what it divides is worth being kept from one pass over a row to the next.
            let z = x.cast(x.dtype().to_float());
            if shape[axis] == 0 {
                return None;
            }
            let e = (z - z.reduce(ReduceKind::Max, &[axis], true).expand(&shape)).exp();
            let y = e / e.sum(&[axis], true).expand(&shape);
            c.of(&[y, e, y - e.log1p(), e * (y * e).sum(&[axis], true).expand(&shape)]).value()
        }
        21 if rank > 0 => {
            // One element of each row.
            let mut one = shape.clone();
            one[axis] = 1;
            let other = fit(b.ex(c.of(&alike(b, pool, rank))), &one);
            if shape[axis] == 0 || !fits(other, &one) {
                return None;
            }
            let i = index(other, shape[axis]);
            let picked = x.gather(axis, i);
            let row = x.zeros().scatter(axis, ScatterMode::Add, i, picked);
            c.of(&[picked, row, row.sum(&[axis], true), row.map("neg", &[]).sum(&[axis], false)]).value()
        }
        _ => b.emit(Op::Copy, &[v]),
    };
    let y = y.ok()?;
    if !pool.contains(&y) && b.ex(y).numel() <= MOST && b.ty(y).rank() <= 4 {
        pool.push(y);
    }
    Some(())
}

/// The values of that rank.
fn alike(b: &Builder, pool: &[Value], rank: usize) -> Vec<Value> {
    pool.iter().copied().filter(|v| b.ty(*v).rank() == rank).collect()
}

fn fits(x: Ex<'_>, shape: &[usize]) -> bool {
    x.value().is_ok() && x.shape().as_slice() == shape
}

/// The pure graph that the choices say, with its arguments.
fn pure(choices: &[u16], steps: &[Vec<u16>], seed: u64) -> (Graph, Vec<Param>, bool) {
    let mut c = Choices(choices.iter());
    let mut random = Random(seed);
    let (passes, begin) = (c.below(2) == 1, c.below(100));
    let b = Builder::new("f");
    b.with_graph(|g| g.phase = Phase::Differentiated);
    let extents: Vec<usize> = (0..3).map(|_| c.of(&EXTENTS)).collect();
    let dtypes: Vec<DType> = (0..2)
        .map(|_| {
            c.of(&[
                DType::F32,
                DType::F64,
                DType::F16,
                DType::BF16,
                DType::I64,
                DType::I32,
                DType::U8,
                DType::Bool,
                DType::I16,
                DType::I8,
            ])
        })
        .collect();
    let mut params = Vec::new();
    let mut pool = Vec::new();
    for _ in 0..2 + c.below(3) {
        let of = |d: &usize| match c.below(4) {
            0 => None,
            1 => Some(1),
            _ => Some(*d),
        };
        let shape: Shape = extents.iter().filter_map(of).collect();
        let param = Param::new(c.of(&dtypes), layout(&mut c, &shape, false), |d| random.special(d));
        pool.push(b.input("x", param.ty(), false, Some(Strided::from(&param.layout))));
        params.push(param);
    }
    let all: Vec<Row> = rows().filter(|r| !r.name().starts_with("check_") && r.name() != "wrap_index").collect();
    let given = pool.len();
    for s in steps {
        pure_step(&b, &mut Choices(s.iter()), &mut pool, &all, 0);
        // A formula that was impossible leaves its error behind.
        let _ = b.check();
    }
    let mut outputs: Vec<Value> = pool.iter().rev().take(3).copied().collect();
    outputs.push(pool[(given + seed as usize % 4) % pool.len()]);
    for v in &mut outputs {
        // A result is memory of its own.
        if b.with_graph(|g| g.parameter_of(*v)).is_some() {
            *v = b.emit(Op::Copy, &[*v]).unwrap();
        }
    }
    b.with_graph(|g| {
        g.outputs = outputs;
        g.tuple = true;
        // Wherever a derivative were said to begin, what is computed again after it must be the same.
        g.backward = Some(NodeId((g.len() * begin / 100) as u32));
    });
    (b.finish().unwrap(), params, passes)
}

/// The program with views and writes that the choices say, with its arguments. A training step computes on copies of
/// them, and writes a step down the slope into the first two.
fn traced(choices: &[u16], steps: &[Vec<u16>], seed: u64, training: bool) -> (Graph, Vec<Param>) {
    let mut c = Choices(choices.iter());
    let mut random = Random(seed);
    let b = Builder::new("p");
    let width = c.of(&[3, 4, 17]);
    let shapes: [(&[usize], bool); 3] = [(&[3, width], true), (&[2, width], true), (&[width], false)];
    let params = shapes.map(|(s, written)| Param::new(DType::F32, layout(&mut c, s, written), |d| random.special(d)));
    let inputs = params.iter().zip(shapes).map(|(p, (_, w))| b.input("x", p.ty(), w, Some(Strided::from(&p.layout))));
    let inputs: Vec<Value> = inputs.collect();
    let mut pool = inputs.clone();
    if training {
        pool.iter_mut().for_each(|v| *v = b.emit(Op::Copy, &[*v]).unwrap());
    }
    for s in steps {
        step(&b, &mut Choices(s.iter()), &mut pool, if training { Want::Differences } else { Want::Values });
    }
    let mut outputs: Vec<Value> = pool.iter().rev().take(4).copied().collect();
    if training {
        let loss = outputs.iter().map(|v| b.ex(*v)).map(|x| (x * x).sum_all()).reduce(|a, x| a + x).unwrap();
        let operands = [loss.value().unwrap(), inputs[0], inputs[1], inputs[2]];
        let n = b.emit_all(Op::Grad(Grad { seeded: false, allow_unused: true, ..Grad::default() }), &operands).unwrap();
        let slope = |result: u16| b.ex(Value { node: n, result });
        for (i, x) in inputs.iter().enumerate().take(2) {
            let new = b.ex(*x) - slope(i as u16) * 0.1;
            b.emit_all(Op::Write, &[*x, new.value().unwrap()]).unwrap();
        }
        outputs.push(slope(2).value().unwrap());
    }
    b.with_graph(|g| {
        g.outputs = outputs;
        g.tuple = true;
    });
    (b.finish().unwrap(), params.into())
}

fn describe(d: &str, g: &Graph, params: &[Param]) -> String {
    let layouts: Vec<&Layout> = params.iter().map(|p| &p.layout).collect();
    format!("{d}\n{layouts:?}\n{}", print(g))
}

/// The choices of each step, apart, so that one step can go and the others stay.
fn steps() -> impl Strategy<Value = Vec<Vec<u16>>> {
    prop::collection::vec(prop::collection::vec(any::<u16>(), 0..40), 0..41)
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: cases(400, 5000), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn pure_graphs_agree(head in prop::collection::vec(any::<u16>(), 30..31), steps in steps(), seed in any::<u64>()) {
        let (g, params, passes) = pure(&head, &steps, seed);
        let compiled = if passes { run_named(&g, &["simplify", "cleanup", "partition"]).unwrap() } else { g.clone() };
        let d = disagreement(&g, &compiled, &params);
        prop_assert!(d.is_none(), "{}", describe(&d.unwrap_or_default(), &compiled, &params));
    }

    #[test]
    fn programs_with_writes_agree(
        head in prop::collection::vec(any::<u16>(), 20..21),
        steps in steps(),
        seed in any::<u64>(),
    ) {
        let (g, params) = traced(&head, &steps, seed, false);
        let compiled = run_all(&g).unwrap();
        let d = disagreement(&g, &compiled, &params);
        prop_assert!(d.is_none(), "{}", describe(&d.unwrap_or_default(), &compiled, &params));
    }

    #[test]
    fn training_steps_agree(
        head in prop::collection::vec(any::<u16>(), 20..21),
        steps in steps(),
        seed in any::<u64>(),
    ) {
        let (g, params) = traced(&head, &steps, seed, true);
        // The interpreter knows gradients by the ops that compute them.
        let reference = run_named(&g, &["functionalize", "autodiff"]).unwrap();
        let compiled = run_all(&g).unwrap();
        let d = disagreement(&reference, &compiled, &params);
        prop_assert!(d.is_none(), "{}", describe(&d.unwrap_or_default(), &compiled, &params));
    }
}

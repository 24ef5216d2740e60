//! Gradients against central differences in `f64`, to second order: every elementwise row, every structural op, and
//! random programs with views and writes.

mod random;

use proptest::prelude::*;
use random::{Choices, Want, step};
use tensorc_ir::dim::dims;
use tensorc_ir::interp::{Array, run};
use tensorc_ir::ops::control::{Body, Cond, Custom, Scan};
use tensorc_ir::ops::effect::{Grad, Jvp};
use tensorc_ir::ops::elementwise::{Row, Rule, rows};
use tensorc_ir::ops::gather::ScatterMode;
use tensorc_ir::ops::reduce::ReduceKind;
use tensorc_ir::ops::scan::ScanKind;
use tensorc_ir::ops::{Op, Structural, strided, view};
use tensorc_ir::passes::run_all;
use tensorc_ir::text::{Module, Sizes};
use tensorc_ir::types::Range;
use tensorc_ir::{Builder, DType, Ex, Graph, Scalar, Type, Value};

/// A formula in values of the given shapes, all `f64`.
type Formula<'f> = &'f dyn for<'b> Fn(&[Ex<'b>]) -> Ex<'b>;

/// Numbers without pattern in `low..high`.
fn numbers(n: usize, low: f64, high: f64, seed: u64) -> Vec<f64> {
    let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..n).map(|_| low + (high - low) * next()).collect()
}

fn array(shape: &[usize], v: &[f64]) -> Array {
    Array::from_scalars(DType::F64, shape, v.iter().map(|x| Scalar::from_f64(DType::F64, *x)))
}

fn tensor(b: &Builder, shape: &[usize], v: Vec<f64>) -> Value {
    let values = v.into_iter().map(|x| Scalar::from_f64(DType::F64, x)).collect::<Vec<_>>();
    let literal = tensorc_ir::ops::literal::Literal { dtype: DType::F64, shape: shape.into(), values: values.into() };
    b.emit(Op::Literal(literal), &[]).unwrap()
}

/// A sum with weights, so that no gradient is the same for all elements.
fn weighted<'b>(x: Ex<'b>, seed: u64) -> Ex<'b> {
    let b = x.builder();
    let (shape, n) = (x.shape(), x.numel());
    let w = tensor(b, &shape, numbers(n, 0.5, 1.5, seed));
    (x * b.ex(w)).sum_all()
}

/// A weighted sum of the gradients of `y` by `x`; zeros for what `y` does not use.
fn weighted_gradient<'b>(y: Ex<'b>, x: &[Ex<'b>], seed: u64) -> Ex<'b> {
    let b = y.builder();
    let operands: Vec<Value> = [y].iter().chain(x).map(|e| e.value().unwrap()).collect();
    let n = b.emit_all(Op::Grad(Grad { seeded: false, allow_unused: true, ..Grad::default() }), &operands).unwrap();
    let of = |result: usize| weighted(b.ex(Value { node: n, result: result as u16 }), seed + result as u64);
    (1..x.len()).fold(of(0), |sum, k| sum + of(k))
}

/// The graph of `f` at order 0 (a weighted sum), 1 (a weighted sum of the gradients) or 2.
fn graph(f: Formula<'_>, shapes: &[Vec<usize>], order: usize) -> Graph {
    let b = Builder::new("f");
    let ty = |s: &Vec<usize>| Type::new(DType::F64, s.iter().copied());
    let x: Vec<Ex<'_>> =
        shapes.iter().enumerate().map(|(i, s)| b.ex(b.input(format!("x{i}"), ty(s), false, None))).collect();
    let mut y = weighted(f(&x), 11);
    for k in 0..order {
        y = weighted_gradient(y, &x, 23 + 7 * k as u64);
    }
    let y = y.value().unwrap();
    b.with_graph(|g| g.outputs = vec![y]);
    run_all(&b.finish().unwrap()).unwrap()
}

fn value(g: &Graph, shapes: &[Vec<usize>], x: &[Vec<f64>]) -> f64 {
    let inputs: Vec<Array> = shapes.iter().zip(x).map(|(s, v)| array(s, v)).collect();
    run(g, &inputs).unwrap()[0].scalars()[0].to_f64()
}

/// Whether the derivative of order `order - 1` changes along a direction as the one of order `order` says.
fn check(what: &str, f: Formula<'_>, shapes: &[Vec<usize>], x: &[Vec<f64>], order: usize) -> Result<(), String> {
    let lower = graph(f, shapes, order - 1);
    // The derivative along the weights of `weighted_gradient` is that weighted sum.
    let direction: Vec<Vec<f64>> = shapes
        .iter()
        .enumerate()
        .map(|(i, s)| numbers(s.iter().product(), 0.5, 1.5, 23 + 7 * (order as u64 - 1) + i as u64))
        .collect();
    let got = value(&graph(f, shapes, order), shapes, x);
    let at = |h: f64| {
        let moved: Vec<Vec<f64>> =
            x.iter().zip(&direction).map(|(x, d)| x.iter().zip(d).map(|(x, d)| x + h * d).collect()).collect();
        value(&lower, shapes, &moved)
    };
    // Two step widths, extrapolated: the error is of the fourth order.
    let slope = |h: f64| (at(h) - at(-h)) / (2.0 * h);
    // A kink may lie within a step, as where two operands of a maximum are almost the same: then a shorter one decides.
    let wants = [1e-4, 1e-5, 1e-6].map(|h| (4.0 * slope(h / 2.0) - slope(h)) / 3.0);
    let near = |want: &f64| (got - want).abs() <= 1e-7 * want.abs().max(at(0.0).abs()).max(1.0);
    if wants.iter().any(near) { Ok(()) } else { Err(format!("{what}, order {order}: {got} for {wants:?}")) }
}

#[test]
fn a_kink_within_a_step_is_stepped_around() {
    let shapes = [vec![2]];
    let largest: Formula<'_> = &|x| x[0].maximum(x[0].number(1.0)) * x[0];
    for x in [1.0 - 3e-5, 1.0 + 3e-5, 1.0 - 3e-6] {
        check("largest", largest, &shapes, &[vec![x, 0.5]], 1).unwrap();
    }
}

fn check_both(what: &str, f: Formula<'_>, shapes: &[Vec<usize>], x: &[Vec<f64>]) {
    for order in [1, 2] {
        check(what, f, shapes, x, order).unwrap();
    }
}

#[test]
fn a_wrong_derivative_is_found() {
    // x * detach(x) is x squared, but its gradient is only x.
    let wrong: Formula<'_> = &|x| x[0] * x[0].apply(Op::Detach, &[]);
    let shapes = [vec![3]];
    let x = [vec![0.5, 1.0, 2.0]];
    assert!(check("square", &|x| x[0] * x[0], &shapes, &x, 1).is_ok());
    assert!(check("half of it", wrong, &shapes, &x, 1).is_err());
}

/// Which operands of a row have a derivative; the others are settings, such as the threshold of `softplus`.
fn differentiable(row: Row, dtypes: &[DType]) -> Vec<bool> {
    let b = Builder::new("f");
    let x: Vec<Ex<'_>> = dtypes
        .iter()
        .enumerate()
        .map(|(i, d)| b.ex(b.input(format!("x{i}"), Type::new(*d, [2]), false, None)))
        .collect();
    let y = x[0].map(row.name(), &x[1..]);
    row.vjp(&x, y, y).iter().map(Option::is_some).collect()
}

#[test]
fn every_row_has_the_derivative_of_its_function() {
    let mut wrong = Vec::new();
    for row in rows().filter(|r| r.0.vjp.is_some()) {
        let (low, high) = row.0.domain;
        let margin = (high - low) * 0.02;
        let operand = |i: usize| numbers(8, low + margin, high - margin, 5 + i as u64);
        let n = row.0.args.len();
        let mut dtypes = vec![DType::F64; n];
        if row.0.rule == Rule::Select {
            dtypes[0] = DType::Bool;
        }
        let moves = differentiable(row, &dtypes);
        let moving: Vec<usize> = (0..n).filter(|i| moves[*i]).collect();
        let f: Formula<'_> = &|x| {
            let b = x[0].builder();
            let all: Vec<Ex<'_>> = (0..n)
                .map(|i| match moving.iter().position(|m| *m == i) {
                    Some(k) => x[k],
                    None if dtypes[i] == DType::Bool => {
                        b.ex(tensor(b, &[8], operand(i))).gt(x[0].number((low + high) / 2.0))
                    }
                    None => b.ex(tensor(b, &[8], operand(i))),
                })
                .collect();
            all[0].map(row.name(), &all[1..])
        };
        let x: Vec<Vec<f64>> = moving.iter().map(|i| operand(*i)).collect();
        let shapes = vec![vec![8]; moving.len()];
        wrong.extend([1, 2].into_iter().filter_map(|order| check(row.name(), f, &shapes, &x, order).err()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn ranges(r: &[(usize, usize, isize)]) -> Vec<Range> {
    r.iter().map(|(start, len, step)| Range { start: *start, len: *len, step: *step }).collect()
}

#[test]
fn every_view_has_the_derivative_of_its_function() {
    let x = [numbers(12, -2.0, 2.0, 1)];
    fn square(x: Ex<'_>) -> Ex<'_> {
        x * x
    }
    let cases: Vec<(&str, Op)> = vec![
        ("clone", Op::Copy),
        ("view", Op::Reshape(view::Reshape(dims(&[2, 6])))),
        ("permute", Op::Permute(view::Permute([1, 0].into_iter().collect()))),
        ("expand", Op::Expand(view::Expand(dims(&[2, 3, 4])))),
        ("slice", Op::Slice(view::Slice(ranges(&[(1, 2, 1), (3, 2, -2)]).into_iter().map(Into::into).collect()))),
        ("diagonal", Op::Diagonal(view::Diagonal { offset: 1, dim1: 0, dim2: 1 })),
        ("diagonal", Op::Diagonal(view::Diagonal { offset: -1, dim1: 1, dim2: 0 })),
    ];
    let overlapping = strided::Strided {
        layout: tensorc_ir::Layout {
            shape: [3, 2, 2].into_iter().collect(),
            strides: [2, 1, 3].into_iter().collect(),
            offset: 1,
        },
    };
    let cases = cases.into_iter().chain([
        ("strided", Op::Strided(overlapping)),
        ("unfold", Op::Unfold(strided::Unfold { axis: 1, size: 3, step: 1 })),
        ("unfold", Op::Unfold(strided::Unfold { axis: 0, size: 1, step: 2 })),
    ]);
    for (name, op) in cases {
        let f: Formula<'_> = &|x| square(square(x[0]).apply(op.clone(), &[]));
        check_both(name, f, &[vec![3, 4]], &x);
    }
    let turned: Formula<'_> = &|x| square(square(x[0]).permute(&[1, 2, 0]));
    check_both("permute", turned, &[vec![2, 3, 2]], &x);
    let f: Formula<'_> =
        &|x| square(square(x[0]).cast(DType::F64).slice_update(&ranges(&[(0, 2, 2), (1, 3, 1)]), x[1]));
    check_both("slice_update", f, &[vec![3, 4], vec![2, 3]], &[x[0].clone(), numbers(6, -2.0, 2.0, 2)]);
}

#[test]
fn every_reduction_and_scan_has_the_derivative_of_its_function() {
    let mut x = numbers(12, -2.0, 2.0, 3);
    for zeros in [0, 1, 2] {
        // Products are to be right with no, one and two zeros in a row.
        x[4..4 + zeros].fill(0.0);
        for axes in [&[0][..], &[1], &[0, 1]] {
            // Two zeros would be a tie, where extremes have no derivative.
            let all = [ReduceKind::Max, ReduceKind::Min, ReduceKind::Sum, ReduceKind::Prod];
            for kind in all.into_iter().skip(if zeros == 2 { 2 } else { 0 }) {
                let f: Formula<'_> = &|x| (x[0] * 1.5).reduce(kind, axes, false) * x[0].sum_all();
                check_both(kind.name(), f, &[vec![3, 4]], &[x.clone()]);
            }
        }
        for axis in [0, 1] {
            for kind in [ScanKind::Sum, ScanKind::Prod] {
                let f: Formula<'_> = &|x| (x[0] * 1.5).scan(kind, axis) * x[0].sum_all();
                check_both("scan", f, &[vec![3, 4]], &[x.clone()]);
            }
        }
    }
}

#[test]
fn products_gathers_and_scatters_have_the_derivatives_of_their_functions() {
    let (a, b) = (numbers(12, -2.0, 2.0, 4), numbers(12, -2.0, 2.0, 5));
    let f: Formula<'_> = &|x| (x[0] * x[0]).bmm(x[1]);
    check_both("bmm", f, &[vec![2, 2, 3], vec![2, 3, 2]], &[a.clone(), b.clone()]);
    // Along dimension 1; the second row picks one element twice.
    let index = |b: &Builder, at: &[i64]| {
        let values = at.iter().map(|i| Scalar::from_i64(DType::I64, *i)).collect::<Vec<_>>();
        let shape = [2, 2].into_iter().collect();
        let literal = tensorc_ir::ops::literal::Literal { dtype: DType::I64, shape, values: values.into() };
        b.emit(Op::Literal(literal), &[]).unwrap()
    };
    let gather: Formula<'_> = &|x| {
        let b = x[0].builder();
        (x[0] * x[0]).gather(1, b.ex(index(b, &[3, 0, 2, 2])))
    };
    check_both("gather", gather, &[vec![3, 4]], &[a.clone()]);
    let all = [
        (ScatterMode::Set, [3, 0, 2, 1]),
        (ScatterMode::Add, [3, 0, 2, 2]),
        (ScatterMode::Mul, [3, 0, 2, 2]),
        (ScatterMode::Max, [3, 0, 2, 2]),
        (ScatterMode::Min, [3, 0, 2, 2]),
    ];
    for (mode, at) in all {
        let scatter: Formula<'_> = &|x| {
            let b = x[0].builder();
            let y = (x[0] * x[0]).scatter(1, mode, b.ex(index(b, &at)), x[1] * x[1]);
            y * y
        };
        check_both(mode.name(), scatter, &[vec![3, 4], vec![2, 2]], &[a.clone(), numbers(4, -2.0, 2.0, 6)]);
    }
}

/// The body that the last function of a text is.
fn body(text: &str) -> Body {
    let m = Module::parse("body", text).unwrap();
    let f = m.functions().last().unwrap();
    Body::new(m.trace(f, &Sizes::default(), None).unwrap())
}

fn results<'b>(b: &'b Builder, op: Op, x: &[Ex<'b>]) -> Vec<Ex<'b>> {
    let x: Vec<Value> = x.iter().map(|e| e.value().unwrap()).collect();
    let n = b.emit_all(op, &x).unwrap();
    b.results(n).into_iter().map(|v| b.ex(v)).collect()
}

#[test]
fn a_cond_has_the_derivative_of_the_branch_that_runs() {
    let branches = [
        body("fn f(x: f64[3], w: f64[3]) -> (f64[3], f64) { (x * w * w, sum(exp(x))) }"),
        // The second operand is not used, and the first not for the second result.
        body("fn g(x: f64[3], w: f64[3]) -> (f64[3], f64) { (sin(x) * x, 3.0) }"),
    ];
    let x = [numbers(3, -1.0, 1.0, 1), numbers(3, -1.0, 1.0, 2)];
    for which in [true, false] {
        let f: Formula<'_> = &|x| {
            let b = x[0].builder();
            let pred = b.constant(Scalar::from_bool(which));
            let y = results(b, Op::Cond(Cond { branches: branches.clone() }), &[pred, x[0], x[1]]);
            y[0] * y[1]
        };
        check_both("cond", f, &[vec![3], vec![3]], &x);
    }
}

#[test]
fn a_checkpoint_has_the_derivatives_of_its_function() {
    let forward = body("fn f(x: f64[3], w: f64[3]) -> (f64[3], f64) { (sin(x * w), sum(exp(x) * w)) }");
    let f: Formula<'_> = &|x| {
        let op = Custom { forward: forward.clone(), backward: None, args: 2 };
        let y = results(x[0].builder(), Op::Custom(op), x);
        y[0] * y[1]
    };
    check_both("checkpoint", f, &[vec![3], vec![3]], &[numbers(3, -1.0, 1.0, 1), numbers(3, -1.0, 1.0, 2)]);
}

#[test]
fn a_scan_has_the_derivative_of_its_steps() {
    // A float carry and a counter; the slice, a constant, and a constant without derivative.
    let step = body(
        "fn step(c: f64[2], n: i64, x: f64[2], k: f64[2], shift: i64) -> (f64[2], i64, f64[2], f64) {
            let c2 = tanh(c * k + x) + (n + shift) * c * 0.1;
            (c2, n + 1, c2 * x, sum(c * c))
        }",
    );
    let (init, xs, k) = (numbers(2, -1.0, 1.0, 3), numbers(8, -1.0, 1.0, 4), numbers(2, -1.0, 1.0, 5));
    for (reverse, part) in [(false, 0), (true, 0), (false, 1), (true, 2)] {
        let f: Formula<'_> = &|x| {
            let b = x[0].builder();
            let int = |v| b.constant(Scalar::from_i64(DType::I64, v));
            let op = Scan { body: step.clone(), carries: 2, xs: 1, length: 4.into(), reverse, save: false };
            let y = results(b, Op::Loop(op), &[x[0], int(0), x[1], x[2], int(1)]);
            // All results, or one of them only.
            match part {
                0 => y[0].sum_all() * y[2].sum_all() + (y[3] * y[3]).sum_all(),
                1 => y[0],
                _ => y[2],
            }
        };
        check_both("scan", f, &[vec![2], vec![4, 2], vec![2]], &[init.clone(), xs.clone(), k.clone()]);
    }
}

#[test]
fn derivatives_flow_through_control_flow_in_control_flow() {
    let outer = body(
        "fn up(c: f64, x: f64) -> f64 { c * x + 1.0 }
        fn down(c: f64, x: f64) -> f64 { sin(c) - x }
        fn inner(c: f64, x: f64, w: f64) -> (f64, f64) {
            let c = cond(x > 0, up, down, (c, x * w));
            (c, c * w)
        }
        fn outer(c: f64, row: f64[3], w: f64) -> (f64, f64) {
            let (c, all) = scan(inner, c, row, consts=w, reverse=true);
            let slope = grad(sum(all * all), w);
            (tanh(c), slope * 0.1)
        }",
    );
    let f: Formula<'_> = &|x| {
        let op = Scan { body: outer.clone(), carries: 1, xs: 1, length: 2.into(), reverse: false, save: false };
        let y = results(x[0].builder(), Op::Loop(op), x);
        y[0] * y[1].sum_all()
    };
    let x = [vec![0.3], vec![0.5, -0.7, 0.2, -0.1, 0.9, 0.4], vec![0.8]];
    check_both("nested", f, &[vec![], vec![2, 3], vec![]], &x);
}

/// A formula of random steps on copies of its operands: what the last values and the copies hold at the end.
fn steps<'b>(x: &[Ex<'b>], choices: &[u16], want: Want) -> Ex<'b> {
    let b = x[0].builder();
    let mut pool: Vec<Value> = x.iter().map(|x| x.copy().value().unwrap()).collect();
    let mut c = Choices(choices.iter());
    while !c.done() {
        step(b, &mut c, &mut pool, want);
        // A formula that was impossible leaves its error behind.
        let _ = b.check();
    }
    let last = pool.iter().rev().take(3).chain(&pool[..x.len()]);
    last.fold(x[0].number(1.0).cast(DType::F64), |sum, v| {
        let v = b.ex(*v);
        sum + (v * v).sum_all()
    })
}

/// Shapes and numbers of the operands of random programs; three dimensions are as many as have orders that are not their
/// own reverse.
fn operands(seed: u64) -> (Vec<Vec<usize>>, Vec<Vec<f64>>) {
    let shapes = vec![vec![2, 3], vec![3], vec![2, 1, 3]];
    let count = |s: &Vec<usize>| s.iter().product();
    let x = shapes.iter().enumerate().map(|(i, s)| numbers(count(s), 0.3, 1.2, seed + i as u64)).collect();
    (shapes, x)
}

/// The derivative of a formula along a direction, forward and by its gradients, of order 1 or 2.
fn both_ways(f: Formula<'_>, shapes: &[Vec<usize>], x: &[Vec<f64>], order: usize) -> (f64, f64) {
    let b = Builder::new("f");
    let ty = |s: &Vec<usize>| Type::new(DType::F64, s.iter().copied());
    let given: Vec<Ex<'_>> =
        shapes.iter().enumerate().map(|(i, s)| b.ex(b.input(format!("x{i}"), ty(s), false, None))).collect();
    let mut y = weighted(f(&given), 11);
    for k in 1..order {
        y = weighted_gradient(y, &given, 23 + 7 * k as u64);
    }
    let seed = 101;
    let reverse = weighted_gradient(y, &given, seed);
    // The direction is that of the weights in `weighted_gradient`.
    let tangents = shapes.iter().enumerate().map(|(i, s)| {
        let n = s.iter().product();
        tensor(&b, s, numbers(n, 0.5, 1.5, seed + i as u64))
    });
    let x_values = given.iter().map(|e| e.value().unwrap());
    let operands: Vec<Value> = std::iter::once(y.value().unwrap()).chain(x_values).chain(tangents).collect();
    let forward = b.emit(Op::Jvp(Jvp { results: 1 }), &operands).unwrap();
    b.with_graph(|g| g.outputs = vec![forward, reverse.value().unwrap()]);
    let g = run_all(&b.finish().unwrap()).unwrap();
    let inputs: Vec<Array> = shapes.iter().zip(x).map(|(s, v)| array(s, v)).collect();
    let results = run(&g, &inputs).unwrap();
    (results[0].scalars()[0].to_f64(), results[1].scalars()[0].to_f64())
}

#[test]
fn random_programs_have_all_transforms() {
    let mut found = [0; 6];
    for seed in 0..400 {
        let choices: Vec<u16> = numbers(60, 0.0, 65535.0, seed + 1).into_iter().map(|v| v as u16).collect();
        let b = Builder::new("f");
        let ty = |shape: &[usize]| Type::new(DType::F64, shape.iter().copied());
        let x: Vec<Ex<'_>> = operands(1).0.iter().map(|s| b.ex(b.input("x", ty(s), false, None))).collect();
        steps(&x, &choices, Want::Derivatives);
        b.with_graph(|g| {
            for n in g.nodes() {
                let kinds = [
                    matches!(g.op(n), Op::Grad(_)),
                    matches!(g.op(n), Op::Jvp(_)),
                    matches!(g.op(n), Op::Vmap(_)),
                    matches!(g.op(n), Op::Custom(c) if c.backward.is_none()),
                    matches!(g.op(n), Op::Custom(c) if c.backward.is_some()),
                    matches!(g.op(n), Op::Detach),
                ];
                found.iter_mut().zip(kinds).for_each(|(n, is)| *n += is as usize);
            }
        });
    }
    assert!(found.iter().all(|n| *n > 20), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: random::cases::cases(200, 5000), failure_persistence: None, ..ProptestConfig::default() })]

    /// Views, and writes through them into copies of the parameters; control flow; transforms.
    #[test]
    fn gradients_flow_through_views_and_writes(choices in prop::collection::vec(any::<u16>(), 0..60), seed in 1u64..1000) {
        let f: Formula<'_> = &|x| steps(x, &choices, Want::Differences);
        let (shapes, x) = operands(seed);
        for order in [1, 2] {
            let size = value(&graph(f, &shapes, order), &shapes, &x).abs();
            // Towers of squares are too steep for differences.
            if size < 1e4 {
                check("a program", f, &shapes, &x, order).map_err(TestCaseError::fail)?;
            }
        }
    }

    /// The same and detached values, which differences do not know.
    #[test]
    fn forward_is_the_transpose_of_reverse(choices in prop::collection::vec(any::<u16>(), 0..60), seed in 1u64..1000) {
        let f: Formula<'_> = &|x| steps(x, &choices, Want::Derivatives);
        let (shapes, x) = operands(seed);
        for order in [1, 2] {
            let (forward, reverse) = both_ways(f, &shapes, &x, order);
            let close = (forward - reverse).abs() <= 1e-9 * (1.0 + forward.abs());
            prop_assert!(close || !forward.is_finite(), "order {}: forward {}, in reverse {}", order, forward, reverse);
        }
    }
}

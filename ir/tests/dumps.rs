//! Every printed graph parses back to the same graph, in every phase: random programs after every pass.

#[allow(dead_code)]
mod random;
mod reader;

use proptest::prelude::*;
use random::{Choices, Want, step};
use reader::read;
use tensorc_ir::graph::Phase;
use tensorc_ir::ops::effect::{Grad, Jvp};
use tensorc_ir::ops::elementwise::{Rule, rows};
use tensorc_ir::ops::literal::Literal;
use tensorc_ir::ops::{Op, view};
use tensorc_ir::passes::PASSES;
use tensorc_ir::text::print::print;
use tensorc_ir::types::Range;
use tensorc_ir::{Builder, DType, Ex, Graph, Kind, Scalar, Type, Value};

/// Checks that a graph reads back as it is.
fn round_trip(g: &Graph) {
    let text = print(g);
    let back = read(&text);
    assert_eq!(print(&back), text);
    assert_eq!(
        (back.len(), back.phase, &back.outputs, &back.mutated),
        (g.len(), g.phase, &g.outputs, &g.mutated),
        "{text}"
    );
    assert!(g.nodes().all(|n| g.op(n) == back.op(n) && g.operands(n) == back.operands(n)), "{text}");
    let views = |g: &Graph| g.output_views.iter().flatten().cloned().collect::<Vec<_>>();
    assert_eq!(views(g), views(&back), "{text}");
}

#[test]
fn every_row_prints_as_a_call_of_itself() {
    for row in rows() {
        let b = Builder::new("f");
        let n = row.0.args.len();
        let dtype = match row.0.rule {
            Rule::Logical => DType::Bool,
            Rule::Bits | Rule::Integer => DType::I32,
            _ => DType::F32,
        };
        let mut x: Vec<Value> = (0..n).map(|i| b.input(format!("x{i}"), Type::new(dtype, [2]), false, None)).collect();
        if row.0.rule == Rule::Select {
            x[0] = b.input("c", Type::new(DType::Bool, [2]), false, None);
        }
        let y = match b.emit(Op::Map(row), &x) {
            Ok(y) => y,
            Err(e) => panic!("{}: {e}", row.name()),
        };
        b.with_graph(|g| g.outputs = vec![y]);
        round_trip(&b.finish().unwrap());
    }
}

#[test]
fn literals_keep_their_bits() {
    let b = Builder::new("f");
    let cases: &[(DType, &[f64])] = &[
        (DType::F64, &[0.1, -0.0, 1e300, f64::MIN_POSITIVE / 8.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]),
        (DType::F32, &[0.1, -0.0, 1e30, 1e-45, 16777217.0, f64::INFINITY, f64::NAN]),
        (DType::F16, &[0.1, 65504.0, 6e-8]),
        (DType::BF16, &[0.1, 3e38, 1e-40]),
    ];
    let mut outputs = Vec::new();
    for (dtype, values) in cases {
        for v in *values {
            outputs.push(b.constant(Scalar::from_f64(*dtype, *v)).value().unwrap());
        }
        let values: Vec<Scalar> = values.iter().map(|v| Scalar::from_f64(*dtype, *v)).collect();
        let literal = Literal { dtype: *dtype, shape: [1, values.len()].into_iter().collect(), values: values.into() };
        outputs.push(b.emit(Op::Literal(literal), &[]).unwrap());
    }
    for (dtype, v) in
        [(DType::I64, i64::MIN), (DType::I64, i64::MAX), (DType::U8, 255), (DType::I8, -128), (DType::Bool, 1)]
    {
        outputs.push(b.constant(Scalar::from_i64(dtype, v)).value().unwrap());
    }
    b.with_graph(|g| {
        g.outputs = outputs;
        g.tuple = true;
    });
    round_trip(&b.finish().unwrap());
}

#[test]
fn names_that_are_none_become_names() {
    let b = Builder::new("a.b");
    let x = b.input("v7", Type::new(DType::F32, [2]), true, None);
    let y = b.input("layer.0", Type::new(DType::F32, [2]), false, None);
    let z = b.input("f32", Type::new(DType::F32, [0usize; 0]), false, None);
    let sum = (b.ex(x) + b.ex(y) + b.ex(z)).value().unwrap();
    b.emit_all(Op::Write, &[x, sum]).unwrap();
    b.with_graph(|g| {
        g.outputs = vec![x];
        g.tuple = true;
    });
    let g = b.finish().unwrap();
    assert_eq!(
        print(&g),
        "// phase: traced
fn a_b(v7: mut f32[2], layer_0: f32[2], f32_: f32) -> (f32[2],) {
    let vv3: f32[2] = add(v7, layer_0);
    let vv4: f32[2] = expand(f32_, [2]);
    let vv5: f32[2] = add(vv3, vv4);
    write_(v7, vv5);
    (v7,)
}
"
    );
}

#[test]
fn bodies_are_functions_with_names_of_their_own() {
    // Two bodies of one name, one of the table's name, one shared by two ops, bodies in bodies.
    let text = "fn step(x: f32[2]) -> f32[2] { x * 2 }
        fn relu6(x: f32[2]) -> f32[2] { x + 1 }
        fn inner(x: f32[2]) -> f32[2] { cond(sum(x) > 0, step, relu6, x) }
        fn below(x: f32[2]) -> bool { sum(x) < 1 }
        fn main(p: bool, x: f32[2], y: f32[3, 2]) -> f32[2] {
            let a = cond(p, inner, step, x);
            let b = cond(!p, step, inner, a);
            let (c, _) = scan(pair, b, y);
            while_loop(below, inner, c)
        }
        fn pair(c: f32[2], x: f32[2]) -> (f32[2], f32[2]) { (c + x, c) }";
    let m = tensorc_ir::text::Module::parse("file", text).unwrap();
    let f = m.main().unwrap();
    let mut g = m.trace(f, &Default::default(), None).unwrap();
    round_trip(&g);
    let text = print(&g);
    let names: Vec<&str> =
        text.lines().filter_map(|l| l.strip_prefix("fn ")).map(|l| l.split('(').next().unwrap()).collect();
    assert_eq!(names, ["step", "relu6_2", "inner", "pair", "below", "main"]);
    for pass in PASSES {
        g = pass.apply(&g).unwrap();
        round_trip(&g);
    }
}

/// A program with views, writes and gradients.
fn program(choices: &[u16]) -> Graph {
    let b = Builder::new("p");
    let ty = |dtype, shape: &[usize]| Type::new(dtype, shape.iter().copied());
    let x = b.input("x", ty(DType::F32, &[3, 4]), true, None);
    let y = b.input("y", ty(DType::F32, &[4]), true, None);
    let i = b.input("i", ty(DType::I64, &[3, 2]), false, None);
    let copy = b.ex(x).copy();
    let mut pool = vec![x, y, copy.value().unwrap()];
    let mut c = Choices(choices.iter());
    while !c.done() {
        step(&b, &mut c, &mut pool, Want::Values);
    }
    let picked = copy.gather(1, b.ex(i));
    let seed = picked * 2.0;
    let both = copy.scatter(1, tensorc_ir::ops::gather::ScatterMode::Add, b.ex(i), seed);
    let grad = |seeded, x: &[Ex<'_>]| {
        let x: Vec<Value> = x.iter().map(|e| e.value().unwrap()).collect();
        b.emit_all(Op::Grad(Grad { seeded, allow_unused: true, ..Grad::default() }), &x).unwrap()
    };
    let first = grad(true, &[picked, seed, copy, b.ex(y)]);
    let second = grad(false, &[both.sum_all(), copy]);
    let along: Vec<Value> = [both, copy.exp(), copy, b.ex(y), both, b.ex(y)].map(|e| e.value().unwrap()).into();
    let along = b.emit_all(Op::Jvp(Jvp { results: 2 }), &along).unwrap();
    let narrow = b.ex(first.into()).slice(&[Range { start: 2, len: 2, step: -1 }, Range::all(4)]);
    let last = narrow.cast(DType::F16).scan(tensorc_ir::ops::scan::ScanKind::Sum, 0);
    let mut outputs: Vec<Value> = pool.iter().rev().take(4).copied().collect();
    outputs.extend(b.results(along));
    outputs.extend([second.into(), last.value().unwrap(), x]);
    outputs.push(b.emit(Op::Permute(view::Permute([1, 0].into_iter().collect())), &[x]).unwrap());
    b.with_graph(|g| {
        g.outputs = outputs;
        g.tuple = true;
    });
    b.finish().unwrap()
}

/// Whether a graph has a `while_loop`, also in a body.
fn has_while(g: &Graph) -> bool {
    g.nodes().any(|n| matches!(g.op(n), Op::While(_)) || g.op(n).bodies().iter().any(|b| has_while(b)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dump_reads_back_as_the_same_graph(choices in prop::collection::vec(any::<u16>(), 0..80)) {
        let mut g = program(&choices);
        // Numbers that only took part in promotion are constants like any other once they are read.
        g = read(&print(&g));
        round_trip(&g);
        for pass in PASSES {
            g = match pass.apply(&g) {
                // The one gradient that does not exist.
                Err(e) if e.kind() == Kind::Grad && has_while(&g) => return Ok(()),
                g => g.unwrap(),
            };
            round_trip(&g);
        }
        prop_assert_eq!(g.phase, Phase::Differentiated);
    }
}

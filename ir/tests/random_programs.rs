//! Random programs with views and writes keep their meaning through every prefix of the pass list, and a random function for
//! many elements at once is a loop over them.
//!
//! The truth is the interpreter on the traced program, with real memory: all results and all inputs must have the same
//! bits after each pass. A program is read off a list of choices, so that it shrinks to a short one.

#[allow(dead_code)]
mod random;

use proptest::prelude::*;
use random::cases::cases;
use random::{Choices, Want, range, step};
use tensorc_ir::dim::dims;
use tensorc_ir::interp::{Array, run};
use tensorc_ir::ops::control::{Body, Vmap};
use tensorc_ir::ops::view;
use tensorc_ir::passes::{PASSES, run_all};
use tensorc_ir::text::print::print;
use tensorc_ir::types::Shape;
use tensorc_ir::{Builder, DType, Graph, Layout, Op, Scalar, Strided, Type, Value};

/// The program that the choices say: first how its parameters share memory, then a list for every step.
fn program(head: &[u16], steps: &[Vec<u16>]) -> Graph {
    let b = Builder::new("p");
    let ty = |shape: &[usize]| Type::new(DType::F32, shape.iter().copied());
    let turned = Layout::contiguous(&[6, 2]).permute(&[1, 0]);
    let x = b.input("x", ty(&[6, 6]), true, None);
    let y = b.input("y", ty(&[2, 6]), true, Some(Strided::from(&turned)));
    let z = b.input("z", ty(&[6]), false, None);
    let mut pool = vec![x, y, z];
    // Arguments that overlap come as views of one memory, and the memory itself is nobody's argument.
    let mut c = Choices(head.iter());
    let parts: Vec<Value> = (0..c.below(4)).filter_map(|_| argument(&b, &mut c, x)).collect();
    if !parts.is_empty() {
        pool.remove(0);
        pool.extend(parts);
    }
    for s in steps {
        step(&b, &mut Choices(s.iter()), &mut pool, Want::Values);
    }
    let outputs = pool.iter().rev().take(4).copied().collect();
    b.with_graph(|g| {
        g.outputs = outputs;
        g.tuple = true;
    });
    b.finish().unwrap()
}

/// Some rows by some columns of a matrix, perhaps turned.
fn argument(b: &Builder, c: &mut Choices<'_>, matrix: Value) -> Option<Value> {
    let ranges = b.ty(matrix).extents().ok()?.iter().map(|d| range(c, *d).into()).collect();
    let part = b.emit(Op::Slice(view::Slice(ranges)), &[matrix]).ok()?;
    let order: &[usize] = if c.below(2) == 0 { &[0, 1] } else { &[1, 0] };
    b.emit(Op::Permute(view::Permute(order.iter().copied().collect())), &[part]).ok()
}

fn inputs(seed: &[u16]) -> Vec<Array> {
    // Few different numbers, both zeros among them.
    let values = [0.0, -0.0, 1.0, 2.0, -1.5, 0.25, -3.0, f64::INFINITY];
    let mut c = Choices(seed.iter());
    let mut array = |shape: &[usize]| {
        let n = shape.iter().product();
        Array::from_scalars(DType::F32, shape, (0..n).map(|_| Scalar::from_f64(DType::F32, c.of(&values))))
    };
    let (x, y, z) = (array(&[6, 6]), array(&[6, 2]), array(&[6]));
    let turned = y.layout.permute(&[1, 0]);
    vec![x, y.view(turned), z]
}

/// Shapes and bits of results and inputs after a run; any NaN is the same.
fn outcome(g: &Graph, inputs: &[Array]) -> Vec<(Shape, Vec<u64>)> {
    let results = run(g, inputs).unwrap();
    let bits = |a: &Array| {
        let canonical = |b: u64| if f32::from_bits(b as u32).is_nan() { u64::MAX } else { b };
        (a.shape().into(), a.bits().into_iter().map(canonical).collect())
    };
    results.iter().chain(inputs).map(bits).collect()
}

/// A million, in about ten minutes: `TENSORC_CASES=1000000 cargo test --release -p tensorc-ir --test random_programs`.
fn config() -> ProptestConfig {
    ProptestConfig { cases: cases(1500, 100_000), failure_persistence: None, ..ProptestConfig::default() }
}

/// A function of random steps for each of three elements, of which some operands are the same for all.
fn lanes(steps: &[Vec<u16>]) -> Graph {
    let ty = |shape: &[usize]| Type::new(DType::F32, shape.iter().copied());
    let shapes: [&[usize]; 3] = [&[2, 3], &[3, 2, 2], &[3]];
    let inner = Builder::new("each");
    let mut pool: Vec<Value> =
        shapes.iter().map(|s| inner.input("x", ty(s), false, Some(Strided::contiguous(&dims(s))))).collect();
    for s in steps {
        step(&inner, &mut Choices(s.iter()), &mut pool, Want::Values);
        let _ = inner.check();
    }
    let last: Vec<Value> = pool.iter().rev().take(4).copied().collect();
    let last = Body::own_results(&inner, &last).unwrap();
    inner.with_graph(|g| g.outputs = last);
    let body = Body::new(inner.finish().unwrap());
    let b = Builder::new("p");
    let all = |s: &[usize]| [&[3], s].concat();
    let operands = [all(shapes[0]), all(shapes[1]), shapes[2].to_vec()];
    let operands = operands.map(|s| b.input("x", ty(&s), false, Some(Strided::contiguous(&dims(&s)))));
    let n = b.emit_all(Op::Vmap(Vmap { body, xs: 2 }), &operands).unwrap();
    b.with_graph(|g| {
        g.outputs = g.results(n).collect();
        g.tuple = true;
    });
    b.finish().unwrap()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_function_for_many_elements_is_a_loop(
        steps in prop::collection::vec(prop::collection::vec(any::<u16>(), 0..40), 0..21),
        data in prop::collection::vec(any::<u16>(), 57..58),
    ) {
        let g = lanes(&steps);
        let mut c = Choices(data.iter());
        let values = [0.0, -0.0, 1.0, 2.0, -1.5, 0.25, -3.0, f64::INFINITY];
        let mut array = |shape: &[usize]| {
            let n = shape.iter().product();
            Array::from_scalars(DType::F32, shape, (0..n).map(|_| Scalar::from_f64(DType::F32, c.of(&values))))
        };
        let inputs = [array(&[3, 2, 3]), array(&[3, 3, 2, 2]), array(&[3])];
        let after = run_all(&g).unwrap();
        prop_assert_eq!(outcome(&after, &inputs), outcome(&g, &inputs), "{}\n{}", print(&g), print(&after));
    }

    #[test]
    fn every_prefix_of_the_passes_keeps_every_bit(
        head in prop::collection::vec(any::<u16>(), 0..20),
        steps in prop::collection::vec(prop::collection::vec(any::<u16>(), 0..40), 0..41),
        data in prop::collection::vec(any::<u16>(), 54..55),
    ) {
        let mut g = program(&head, &steps);
        let want = outcome(&g, &inputs(&data));
        let mut text = print(&g);
        for pass in PASSES {
            g = pass.apply(&g).unwrap();
            let got = outcome(&g, &inputs(&data));
            prop_assert_eq!(&got, &want, "after {}\n{}\n{}", pass.name, text, print(&g));
            text += &print(&g);
        }
    }
}

#[test]
fn some_programs_have_control_flow_and_transforms() {
    let mut s = 1u64;
    let mut next = || {
        s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (s >> 40) as u16
    };
    let mut counts = [0; 6];
    for _ in 0..200 {
        let steps: Vec<Vec<u16>> = (0..20).map(|_| (0..40).map(|_| next()).collect()).collect();
        let g = program(&[], &steps);
        for n in g.nodes() {
            match g.op(n) {
                Op::Cond(_) => counts[0] += 1,
                Op::While(_) => counts[1] += 1,
                Op::Loop(_) => counts[2] += 1,
                Op::Vmap(_) => counts[4] += 1,
                Op::Custom(_) => counts[5] += 1,
                _ => {}
            }
            counts[3] += g.op(n).bodies().iter().flat_map(|b| b.nodes().map(|n| b.op(n).bodies().len())).sum::<usize>();
        }
    }
    assert!(counts.iter().all(|n| *n > 20), "{counts:?}");
}

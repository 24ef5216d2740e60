//! Random programs with views and writes keep their meaning through every prefix of the pass list.
//!
//! The truth is the interpreter on the traced program, with real memory: all results and all inputs must have the same
//! bits after each pass. A program is read off a list of choices, so that it shrinks to a short one.

mod random;

use proptest::prelude::*;
use random::{Choices, step};
use tensorc_ir::interp::{Array, run};
use tensorc_ir::passes::PASSES;
use tensorc_ir::text::print::print;
use tensorc_ir::types::Shape;
use tensorc_ir::{Builder, DType, Graph, Layout, Op, Scalar, Strided, Type};

/// The program that the choices say.
fn program(choices: &[u16]) -> Graph {
    let b = Builder::new("p");
    let ty = |shape: &[usize]| Type::new(DType::F32, shape.iter().copied());
    let turned = Layout::contiguous(&[4, 2]).permute(&[1, 0]);
    let mut pool = vec![
        b.input("x", ty(&[3, 4]), true, None),
        b.input("y", ty(&[2, 4]), true, Some(Strided::from(&turned))),
        b.input("z", ty(&[4]), false, None),
    ];
    let mut c = Choices(choices.iter());
    while !c.done() {
        step(&b, &mut c, &mut pool, false);
    }
    let outputs = pool.iter().rev().take(4).copied().collect();
    b.with_graph(|g| {
        g.outputs = outputs;
        g.tuple = true;
    });
    b.finish().unwrap()
}

fn inputs(seed: &[u16]) -> Vec<Array> {
    // Few different numbers, both zeros among them.
    let values = [0.0, -0.0, 1.0, 2.0, -1.5, 0.25, -3.0, f64::INFINITY];
    let mut c = Choices(seed.iter());
    let mut array = |shape: &[usize]| {
        let n = shape.iter().product();
        Array::from_scalars(DType::F32, shape, (0..n).map(|_| Scalar::from_f64(DType::F32, c.of(&values))))
    };
    let (x, y, z) = (array(&[3, 4]), array(&[4, 2]), array(&[4]));
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_prefix_of_the_passes_keeps_every_bit(
        choices in prop::collection::vec(any::<u16>(), 0..120),
        data in prop::collection::vec(any::<u16>(), 24..25),
    ) {
        let mut g = program(&choices);
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
fn some_programs_have_control_flow() {
    let mut s = 1u64;
    let mut next = || {
        s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (s >> 40) as u16
    };
    let mut counts = [0; 4];
    for _ in 0..200 {
        let choices: Vec<u16> = (0..120).map(|_| next()).collect();
        let g = program(&choices);
        for n in g.nodes() {
            match g.op(n) {
                Op::Cond(_) => counts[0] += 1,
                Op::While(_) => counts[1] += 1,
                Op::Loop(_) => counts[2] += 1,
                _ => {}
            }
            counts[3] += g.op(n).bodies().iter().flat_map(|b| b.nodes().map(|n| b.op(n).bodies().len())).sum::<usize>();
        }
    }
    assert!(counts.iter().all(|n| *n > 20), "{counts:?}");
}

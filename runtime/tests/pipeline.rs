//! Graphs through the whole back end: the compiled program and the reference interpreter agree to the bit, fused and
//! one op at a time.

mod support;

use support::{agree, f32s, graph, input, to_view};
use tensorc_ir::interp::Array;
use tensorc_ir::ops::gather::ScatterMode;
use tensorc_ir::ops::reduce::ReduceKind;
use tensorc_ir::ops::scan::ScanKind;
use tensorc_ir::types::Range;
use tensorc_ir::{DType, Ex, Layout, Loc, Scalar, Type};
use tensorc_runtime::executable::{Executable, Options};

#[test]
fn elementwise_with_broadcasting_and_views() {
    agree("chain", &[f32s(&[5, 7]), f32s(&[7])], |_, x| vec![(x[0] * x[1] + 1.0) / 3.0 - x[0]]);
    agree("two results", &[f32s(&[4, 33])], |_, x| vec![x[0] * 2.0, (x[0] * 2.0).sqrt()]);
    agree("transposed", &[f32s(&[5, 7]), f32s(&[7, 5])], |_, x| vec![x[0].transpose(0, 1) + x[1]]);
    agree("slices", &[f32s(&[9])], |_, x| vec![x[0].narrow(0, 1, 8) - x[0].narrow(0, 0, 8)]);
    agree("flip", &[f32s(&[9])], |_, x| vec![x[0].slice(&[Range { start: 8, len: 9, step: -1 }]).copy()]);
    agree("reshape", &[f32s(&[4, 6])], |_, x| vec![(x[0] + 1.0).reshape(&[3, 8]) * 2.0, (x[0] * x[0]).reshape(&[24])]);
    agree("reshape of transposed", &[f32s(&[4, 6])], |_, x| vec![x[0].transpose(0, 1).copy().reshape(&[24]) * 2.0]);
    agree("scalar", &[f32s(&[])], |_, x| vec![x[0] + 1.0]);
    agree("empty", &[f32s(&[0, 3])], |_, x| vec![x[0] + 1.0, x[0].sum(&[0], false)]);
    agree("iota", &[], |b, _| vec![b.iota(10).cast(DType::F32) * 0.5]);
    agree("constant", &[], |b, _| vec![b.full(Scalar::from_f64(DType::F32, 2.5), &[3, 2])]);
}

/// Loops over operands that lie the other way round are cut into tiles, whose last ones are not whole.
#[test]
fn transposed_operands_in_tiles() {
    for (m, n) in [(64, 64), (70, 130), (129, 67)] {
        for d in DType::ALL {
            let (a, b) = (Type::new(d, [m, n]), Type::new(d, [n, m]));
            agree(&format!("{d} {m}x{n}"), &[a, b], |_, x| {
                vec![x[0].transpose(0, 1) + x[1], x[1].transpose(0, 1).copy()]
            });
        }
    }
    let (a, row) = (f32s(&[3, 70, 80]), f32s(&[70]));
    agree("with a row", &[a, row], |_, x| vec![x[0].transpose(1, 2) * x[1] - x[0].transpose(1, 2)]);
}

#[test]
fn every_dtype_adds_and_casts() {
    for d in DType::ALL {
        let t = Type::new(d, [3, 11]);
        agree(d.name(), &[t.clone(), t.clone()], |_, x| vec![x[0] + x[1], x[0] * x[1], x[0].maximum(x[1])]);
        for to in DType::ALL {
            agree(&format!("{d} to {to}"), &[t.clone()], |_, x| vec![x[0].cast(to)]);
        }
    }
}

#[test]
fn reductions_in_the_defined_order() {
    for kind in
        [ReduceKind::Sum, ReduceKind::Prod, ReduceKind::Max, ReduceKind::Min, ReduceKind::ArgMax, ReduceKind::ArgMin]
    {
        for shape in [&[7][..], &[40], &[5, 7], &[3, 50], &[2, 3, 4], &[130, 3, 5], &[3, 5000], &[9000]] {
            for axes in [&[0][..], &[1], &[0, 1], &[2], &[0, 2], &[0, 1, 2]] {
                if axes.iter().all(|a| *a < shape.len()) {
                    let name = format!("{} {shape:?} {axes:?}", kind.name());
                    agree(&name, &[f32s(shape)], |_, x| vec![(x[0] * 0.37).reduce(kind, axes, false)]);
                }
            }
        }
        for d in DType::ALL {
            let name = format!("{} {d}", kind.name());
            agree(&name, &[Type::new(d, [6, 21])], |_, x| {
                vec![x[0].reduce(kind, &[1], false), x[0].reduce(kind, &[0], true)]
            });
        }
    }
}

#[test]
fn rows_fuse_and_keep_their_bits() {
    fn norm<'b>(x: Ex<'b>, axis: usize) -> Ex<'b> {
        let shape = x.shape();
        let m = x.reduce(ReduceKind::Max, &[axis], true);
        let e = (x - m.expand(&shape)).maximum(x.number(-3.0).cast(DType::F32).expand(&shape)) + 4.0;
        e / e.sum(&[axis], true).expand(&shape)
    }
    agree("rows", &[f32s(&[9, 33])], |_, x| vec![norm(x[0], 1)]);
    agree("columns", &[f32s(&[9, 33])], |_, x| vec![norm(x[0], 0)]);
    agree("middle", &[f32s(&[4, 9, 5])], |_, x| vec![norm(x[0] * 2.0 + 1.0, 1)]);
    agree("one row", &[f32s(&[33])], |_, x| vec![norm(x[0], 0), x[0].sum_all()]);
    agree("row and total", &[f32s(&[64, 128])], |_, x| vec![norm(x[0], 1).sum_all()]);
    let g = graph(&[f32s(&[64, 128])], |_, x| vec![norm(x[0] * 2.0 + 1.0, 1)]);
    let exe = Executable::compile(&g, &[Layout::contiguous(&[64, 128])], Options::default()).unwrap();
    assert_eq!(exe.program().steps.len(), 1, "{}", exe.program());
}

#[test]
fn reductions_of_everything_are_shared_out_and_keep_their_order() {
    let kinds = [ReduceKind::Sum, ReduceKind::Prod, ReduceKind::Max, ReduceKind::Min, ReduceKind::ArgMax];
    for shape in [&[1 << 17][..], &[300_000], &[3, 1 << 16], &[512, 512], &[1030, 250], &[4, 64, 1000]] {
        let axes: Vec<usize> = (0..shape.len()).collect();
        agree(&format!("computed {shape:?}"), &[f32s(shape)], |_, x| {
            kinds.map(|k| (x[0] * 0.37).reduce(k, &axes, false)).to_vec()
        });
        agree(&format!("{shape:?}"), &[f32s(shape)], |_, x| kinds.map(|k| x[0].reduce(k, &axes, false) * 2.0).to_vec());
    }
    for d in [DType::F64, DType::F16, DType::I32, DType::Bool] {
        agree(d.name(), &[Type::new(d, [300_000])], |_, x| {
            vec![x[0].reduce(ReduceKind::Sum, &[0], false), x[0].reduce(ReduceKind::Max, &[0], false)]
        });
    }
    agree("another order in memory", &[f32s(&[512, 300])], |_, x| vec![x[0].transpose(0, 1).sum(&[0, 1], false)]);
    // Negative zeros only, whose sum from 0 is 0.
    agree("zeros", &[f32s(&[1 << 17])], |_, x| vec![((x[0] * 0.0).abs() * -1.0).sum(&[0], false)]);
}

#[test]
fn products_scans_and_indices() {
    agree("bmm", &[f32s(&[2, 5, 300]), f32s(&[2, 300, 7])], |_, x| vec![x[0].bmm(x[1])]);
    agree("bmm transposed", &[f32s(&[1, 9, 17]), f32s(&[1, 9, 33])], |_, x| vec![x[0].transpose(1, 2).bmm(x[1]) + 1.0]);
    for d in [DType::F64, DType::F16, DType::BF16, DType::I64, DType::I32, DType::U8] {
        let (a, b) = (Type::new(d, [1, 4, 6]), Type::new(d, [1, 6, 3]));
        agree(&format!("bmm {d}"), &[a, b], |_, x| vec![x[0].bmm(x[1])]);
    }
    for axis in 0..3 {
        agree("scan", &[f32s(&[3, 17, 5])], |_, x| vec![(x[0] * 0.3).scan(ScanKind::Sum, axis) + 1.0]);
    }
    let index = Type::new(DType::I64, [4, 3]);
    agree("gather", &[f32s(&[5, 3]), index.clone()], |_, x| {
        let i = x[1].maximum(x[1].zeros()).minimum(x[1].zeros() + 4.0).cast(DType::I64);
        vec![x[0].gather(0, i) * 2.0, (x[0] + 1.0).gather(0, i)]
    });
    for mode in [ScatterMode::Set, ScatterMode::Add] {
        agree("scatter", &[f32s(&[5, 3]), index.clone(), f32s(&[4, 3])], |_, x| {
            let i = x[1].maximum(x[1].zeros()).minimum(x[1].zeros() + 4.0).cast(DType::I64);
            vec![x[0].scatter(0, mode, i, x[2] * 2.0), x[0].zeros().scatter(0, mode, i, x[2]) + 1.0]
        });
    }
    agree("slice update", &[f32s(&[6, 4]), f32s(&[2, 4])], |_, x| {
        let r = [Range { start: 1, len: 2, step: 3 }, Range::all(4)];
        vec![x[0].slice_update(&r, x[1] + 1.0), x[0].zeros().slice_update(&r, x[1]) * 2.0]
    });
}

/// Both updates of `a` could be stored over it, but not one after the other: `y` still needs the row that `z` changes.
#[test]
fn two_updates_of_one_value_and_of_a_part_of_it() {
    let rows = |start, len| [Range { start, len, step: 1 }, Range::all(4)];
    agree("updates", &[f32s(&[3, 4])], |_, x| {
        let a = x[0] + x[0];
        let y = a.slice_update(&rows(2, 1), a.slice(&rows(0, 1)));
        let part = a.slice(&rows(1, 1));
        let z = part.slice_update(&rows(0, 1), part * part);
        vec![y + x[0], z.map("exp", &[])]
    });
}

#[test]
fn running_sums_of_negative_zeros() {
    agree("scan", &[f32s(&[3])], |_, x| vec![((x[0] - x[0]) * -1.0).scan(ScanKind::Sum, 0)]);
}

#[test]
fn a_bad_index_is_an_error_and_changes_nothing() {
    let g = graph(&[f32s(&[5]), Type::new(DType::I64, [2])], |_, x| vec![x[0].gather(0, x[1])]);
    let layouts = [Layout::contiguous(&[5]), Layout::contiguous(&[2])];
    let exe = Executable::compile(&g, &layouts, Options::default()).unwrap();
    let x = input(&f32s(&[5]), 0);
    let i = Array::from_scalars(DType::I64, &[2], [1, 5].map(|v| Scalar::from_i64(DType::I64, v)));
    let e = exe.call(&[to_view(&x), to_view(&i)], Loc::Unknown).err().unwrap();
    assert_eq!(e.kind(), tensorc_ir::Kind::Data);
}

//! Every instruction on every register type: on lanes, on a lane and a constant, on scalars, with and without the CPU's
//! newer instructions.

use crate::data::{Random, fill};
use crate::machine::{Kernel, arm_isa, compare, compile_for};
use tensorc_codegen::loopnest::{
    Access, Affine, Buf, BufDecl, Coef, Extent, Loop, LoopKind, LoopNest, Stmt, Var, verify,
};
use tensorc_ir::DType;
use tensorc_ir::scalar::{Bin, Cmp, Inst, Reg, Un, V};
use tensorc_runtime::jit::{OptLevel, Target};

const REGS: [Reg; 8] = [Reg::F64, Reg::F32, Reg::I64, Reg::I32, Reg::I16, Reg::I8, Reg::U8, Reg::Bool];

fn dtype(reg: Reg) -> DType {
    DType::ALL.into_iter().find(|d| d.reg() == reg).unwrap()
}

/// A loop that loads operands of types `types` from stride `strides` (0 is a scalar), runs `insts` and stores the last.
fn nest(kind: LoopKind, types: &[Reg], strides: &[i64], insts: &[(Reg, Inst)]) -> LoopNest {
    let at = |stride: i64| {
        let terms = if stride == 0 { vec![] } else { vec![(Var(0), Coef::Const(stride))] };
        Access { affine: Affine { offset: Coef::Const(0), terms }, dynamic: None }
    };
    let mut nest = LoopNest { params: 1, ..LoopNest::default() };
    let mut body = Vec::new();
    for (i, (ty, stride)) in types.iter().zip(strides).enumerate() {
        nest.bufs.push(BufDecl { dtype: dtype(*ty), written: false });
        nest.regs.push(*ty);
        body.push(Stmt::Load { dst: V(i as u32), buf: Buf(i as u32), at: at(*stride) });
    }
    for (ty, inst) in insts {
        body.push(Stmt::Inst(V(nest.regs.len() as u32), *inst));
        nest.regs.push(*ty);
    }
    let out = *nest.regs.last().unwrap();
    nest.bufs.push(BufDecl { dtype: dtype(out), written: true });
    let value = V(nest.regs.len() as u32 - 1);
    body.push(Stmt::Store { buf: Buf(types.len() as u32), at: at(1), value });
    let extent = Extent::Whole(Coef::Param(0));
    nest.body = vec![Stmt::For(Loop { var: Var(0), extent, kind, parallel: false, body })];
    nest
}

/// Types of the parameters, and instructions with the types of their results.
type Code = (Vec<Reg>, Vec<(Reg, Inst)>);

/// Every well-typed instruction: operand types, instructions (the last is the one meant), which operands may be uniform.
fn all() -> Vec<Code> {
    let mut out = Vec::new();
    let (a, b, c) = (V(0), V(1), V(2));
    let uns = [Un::Neg, Un::Abs, Un::Sqrt, Un::Floor, Un::Ceil, Un::Trunc, Un::Nearest, Un::Not];
    let bins = [Bin::Add, Bin::Sub, Bin::Mul, Bin::Div, Bin::Rem, Bin::Min, Bin::Max, Bin::And, Bin::Or, Bin::Xor];
    for ty in REGS {
        uns.iter().for_each(|op| out.push((vec![ty], vec![(ty, Inst::Un(*op, a))])));
        bins.iter().for_each(|op| out.push((vec![ty, ty], vec![(ty, Inst::Bin(*op, a, b))])));
        for op in [Bin::Shl, Bin::Shr, Bin::UShr] {
            if ty.is_float() {
                continue;
            }
            // The amount is below the number of bits.
            let limit = if ty == Reg::Bool { 1 } else { u64::from(ty.bits() - 1) };
            let amount = [(ty, Inst::Const(ty, limit)), (ty, Inst::Bin(Bin::And, b, c))];
            out.push((vec![ty, ty], [&amount[..], &[(ty, Inst::Bin(op, a, V(3)))]].concat()));
        }
        for op in [Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le] {
            out.push((vec![ty, ty], vec![(Reg::Bool, Inst::Cmp(op, a, b))]));
            // A mask of one width selecting values of every other.
            for other in REGS {
                let select = (other, Inst::Select(V(4), c, V(3)));
                out.push((vec![ty, ty, other, other], vec![(Reg::Bool, Inst::Cmp(op, a, b)), select]));
            }
        }
        out.push((vec![ty, ty, ty], vec![(ty, Inst::Fma(a, b, c))]));
        out.push((vec![Reg::Bool, ty, ty], vec![(ty, Inst::Select(a, b, c))]));
        REGS.iter().for_each(|to| out.push((vec![ty], vec![(*to, Inst::Convert(*to, a))])));
        for half in [DType::F16, DType::BF16] {
            out.push((vec![ty], vec![(Reg::F32, Inst::Round(half, a))]));
        }
    }
    for (from, to) in [(Reg::I32, Reg::F32), (Reg::I64, Reg::F64)] {
        out.push((vec![from], vec![(to, Inst::Bitcast(to, a))]));
        // A NaN's bits are not defined, so it is replaced first.
        let finite = [
            (Reg::Bool, Inst::Cmp(Cmp::Eq, a, a)),
            (to, Inst::Const(to, 0)),
            (to, Inst::Select(V(1), a, V(2))),
            (from, Inst::Bitcast(from, V(3))),
        ];
        out.push((vec![to], finite.to_vec()));
    }
    out
}

/// Every `every`th of [`all`] on this machine without some of its features.
fn run(level: OptLevel, without: &[&str], every: usize) {
    let target = Target::host_without(without).unwrap();
    let mut checked = 0;
    for (types, insts) in all().into_iter().step_by(every) {
        let n = types.len();
        let mut shapes = vec![(LoopKind::Vector, vec![1; n]), (LoopKind::Serial, vec![1; n])];
        if n > 1 {
            // Lanes with a scalar on either side.
            shapes.push((LoopKind::Vector, (0..n as i64).map(|i| i64::from(i != 0)).collect()));
            shapes.push((LoopKind::Vector, (0..n as i64).map(|i| i64::from(i == 0)).collect()));
        }
        for (kind, strides) in shapes {
            let nest = nest(kind, &types, &strides, &insts);
            if verify::verify(&nest).is_err() {
                continue;
            }
            let kernel = Kernel::new(&nest, &target, level).unwrap_or_else(|e| panic!("{e}\n{nest}"));
            for seed in 1..6 {
                let mut random = Random::new(seed);
                let bufs: Vec<_> = nest.bufs.iter().map(|b| fill(b.dtype, 200, &mut random)).collect();
                compare(&nest, &kernel, &bufs, &[199], &[(0, 0)]);
            }
            checked += 1;
        }
    }
    assert!(checked > 100);
}

#[test]
fn on_this_machine() {
    run(OptLevel::None, &[], 1);
}

#[test]
fn optimised() {
    run(OptLevel::Speed, &[], 3);
}

#[test]
fn without_newer_instructions() {
    run(OptLevel::None, &["has_fma", "has_avx2", "has_avx", "has_avx512vl", "has_avx512dq", "has_avx512f"], 2);
}

/// Cranelift has rules for all that is emitted on the other architecture too.
#[test]
fn compiled_for_arm() {
    let isa = arm_isa();
    for (types, insts) in all() {
        for kind in [LoopKind::Vector, LoopKind::Serial] {
            let nest = nest(kind, &types, &vec![1; types.len()], &insts);
            if verify::verify(&nest).is_ok() {
                let size = compile_for(&nest, &isa).unwrap_or_else(|e| panic!("{e}\n{nest}"));
                assert!(size > 0);
            }
        }
    }
}

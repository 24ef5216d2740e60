//! Random loop nests: machine code and interpreter leave the same bits, and text is the same loop nest.
//!
//! A loop nest is made from a list of choices (all 0 when it runs out), so that shrinking the list shrinks the loop
//! nest. Indices are kept inside their buffers by computing each access's range; a store in a loop writes a place of its
//! own in each iteration, since iterations that run side by side must not meet in memory.

use crate::cases::cases;
use crate::data::{Random, fill};
use crate::machine::{Kernel, compare};
use proptest::prelude::*;
use tensorc_codegen::loopnest::{
    AccId, Access, Affine, Buf, BufDecl, Coef, Combine, Extent, Loop, LoopKind, LoopNest, Stmt, Var, parse, verify,
};
use tensorc_ir::DType;
use tensorc_ir::scalar::{Bin, Cmp, Fault, Inst, Reg, Un, V};
use tensorc_runtime::jit::{OptLevel, Target};

const REGS: [Reg; 8] = [Reg::F32, Reg::F64, Reg::I64, Reg::I32, Reg::Bool, Reg::U8, Reg::I16, Reg::I8];
const COMBINES: [Combine; 6] =
    [Combine::Sum, Combine::Max, Combine::Min, Combine::Prod, Combine::ArgMax, Combine::ArgMin];

#[derive(Clone)]
struct Open {
    var: Var,
    /// Iterations, at most.
    most: i64,
    kind: LoopKind,
}

struct Gen {
    choices: Vec<u32>,
    next: usize,
    nest: LoopNest,
    params: Vec<i64>,
    /// Elements that each buffer needs.
    lens: Vec<i64>,
    loops: Vec<Open>,
    pool: Vec<V>,
    accs: Vec<(AccId, Combine, Reg, u32, usize)>,
    next_acc: u32,
    next_var: u32,
    budget: usize,
}

impl Gen {
    fn pick(&mut self, n: usize) -> usize {
        let c = self.choices.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        c as usize % n
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.pick(one_in) == one_in - 1
    }

    fn coef(&mut self, value: i64) -> Coef {
        if self.chance(2) {
            self.params.push(value);
            Coef::Param(self.params.len() as u32 - 1)
        } else {
            Coef::Const(value)
        }
    }

    fn fresh(&mut self, ty: Reg) -> V {
        self.nest.regs.push(ty);
        V(self.nest.regs.len() as u32 - 1)
    }

    fn inst(&mut self, out: &mut Vec<Stmt>, ty: Reg, inst: Inst) -> V {
        let v = self.fresh(ty);
        out.push(Stmt::Inst(v, inst));
        v
    }

    fn ty(&self, v: V) -> Reg {
        self.nest.regs[v.0 as usize]
    }

    fn vector(&self) -> Option<usize> {
        self.loops.iter().position(|l| l.kind == LoopKind::Vector)
    }

    /// A register of type `ty`: one that exists, a constant or a conversion.
    fn value(&mut self, out: &mut Vec<Stmt>, ty: Reg) -> V {
        let fit: Vec<V> = self.pool.iter().copied().filter(|v| self.ty(*v) == ty).collect();
        match self.pick(6) {
            0..=3 if !fit.is_empty() => {
                let i = self.pick(fit.len());
                fit[fit.len() - 1 - i]
            }
            0..=4 if !self.pool.is_empty() => {
                let i = self.pick(self.pool.len());
                let from = self.pool[self.pool.len() - 1 - i];
                let v = self.inst(out, ty, Inst::Convert(ty, from));
                self.pool.push(v);
                v
            }
            _ => {
                let i = self.pick(5) as i64 - 1;
                let bits = match ty {
                    Reg::F64 => (i as f64 * 0.75).to_bits(),
                    Reg::F32 if i == 3 => u64::from(f32::NEG_INFINITY.to_bits()),
                    Reg::F32 => u64::from((i as f32 * 0.75).to_bits()),
                    Reg::Bool => u64::from(i > 0),
                    Reg::U8 => i.unsigned_abs(),
                    _ => i as u64,
                };
                self.inst(out, ty, Inst::Const(ty, bits))
            }
        }
    }

    fn instruction(&mut self, out: &mut Vec<Stmt>) {
        let ty = match self.pool.last().copied() {
            Some(v) if self.chance(2) => self.ty(v),
            _ => REGS[self.pick(REGS.len())],
        };
        let a = self.value(out, ty);
        let v = match self.pick(10) {
            0..=2 => {
                let ops = [Bin::Add, Bin::Mul, Bin::Sub, Bin::Min, Bin::Max, Bin::Div, Bin::Rem, Bin::And, Bin::Xor];
                let i = self.pick(if ty.is_float() { 7 } else { 9 });
                let b = self.value(out, ty);
                self.inst(out, ty, Inst::Bin(ops[i], a, b))
            }
            3 if ty.is_float() => {
                let (b, c) = (self.value(out, ty), self.value(out, ty));
                self.inst(out, ty, Inst::Fma(a, b, c))
            }
            3 => {
                let b = self.value(out, ty);
                let limit = if ty == Reg::Bool { 1 } else { u64::from(ty.bits() - 1) };
                let limit = self.inst(out, ty, Inst::Const(ty, limit));
                let b = self.inst(out, ty, Inst::Bin(Bin::And, b, limit));
                let i = self.pick(3);
                self.inst(out, ty, Inst::Bin([Bin::Shl, Bin::Shr, Bin::UShr][i], a, b))
            }
            4 | 5 => {
                let b = self.value(out, ty);
                let i = self.pick(4);
                self.inst(out, Reg::Bool, Inst::Cmp([Cmp::Lt, Cmp::Eq, Cmp::Le, Cmp::Ne][i], a, b))
            }
            6 => {
                let (c, b) = (self.value(out, Reg::Bool), self.value(out, ty));
                self.inst(out, ty, Inst::Select(c, a, b))
            }
            7 if ty == Reg::F32 => {
                let d = if self.chance(2) { DType::BF16 } else { DType::F16 };
                self.inst(out, ty, Inst::Round(d, a))
            }
            7 if matches!(ty, Reg::I32 | Reg::I64) => {
                let to = if ty == Reg::I32 { Reg::F32 } else { Reg::F64 };
                self.inst(out, to, Inst::Bitcast(to, a))
            }
            8 => {
                let ops = [Un::Neg, Un::Abs, Un::Sqrt, Un::Floor, Un::Ceil, Un::Trunc, Un::Nearest];
                let i = self.pick(if ty.is_float() { 7 } else { 2 });
                self.inst(out, ty, Inst::Un(ops[i], a))
            }
            9 if ty == Reg::Bool => {
                let v = self.fresh(Reg::Bool);
                out.push(Stmt::Inst(v, Inst::Check(Fault::Index, a)));
                return;
            }
            _ => {
                let i = self.pick(REGS.len());
                self.inst(out, REGS[i], Inst::Convert(REGS[i], a))
            }
        };
        self.pool.push(v);
    }

    /// An affine index with its least and greatest value.
    fn affine(&mut self, strides: &[(Var, i64, i64)]) -> (Affine, i64, i64) {
        let (mut least, mut greatest) = (0, 0);
        let mut terms = Vec::new();
        for (var, most, stride) in strides {
            let far = (most - 1).max(0) * stride;
            least += far.min(0);
            greatest += far.max(0);
            if *stride != 0 {
                terms.push((*var, self.coef(*stride)));
            }
        }
        let offset = self.pick(3) as i64 - least;
        let offset_coef = self.coef(offset);
        (Affine { offset: offset_coef, terms }, least + offset, greatest + offset)
    }

    fn load(&mut self, out: &mut Vec<Stmt>) {
        let dtype = DType::ALL[self.pick(DType::ALL.len())];
        let mut strides = Vec::new();
        for l in self.loops.clone() {
            let stride = [1, 0, 2, -1, -2, 3][self.pick(6)];
            strides.push((l.var, l.most, stride));
        }
        let (affine, _, mut greatest) = self.affine(&strides);
        let mut dynamic = None;
        if self.chance(5) {
            // Clamped to 0..=9.
            let v = self.value(out, Reg::I64);
            let zero = self.inst(out, Reg::I64, Inst::Const(Reg::I64, 0));
            let nine = self.inst(out, Reg::I64, Inst::Const(Reg::I64, 9));
            let v = self.inst(out, Reg::I64, Inst::Bin(Bin::Max, v, zero));
            dynamic = Some(self.inst(out, Reg::I64, Inst::Bin(Bin::Min, v, nine)));
            greatest += 9;
        }
        let buf = self.buffer(dtype, false, greatest + 1);
        let dst = self.fresh(dtype.reg());
        out.push(Stmt::Load { dst, buf, at: Access { affine, dynamic } });
        self.pool.push(dst);
    }

    fn buffer(&mut self, dtype: DType, written: bool, len: i64) -> Buf {
        self.nest.bufs.push(BufDecl { dtype, written });
        self.lens.push(len);
        Buf(self.nest.bufs.len() as u32 - 1)
    }

    fn store(&mut self, out: &mut Vec<Stmt>) {
        let mut dtype = DType::ALL[self.pick(DType::ALL.len())];
        if let Some(ty) = self.pool.last().map(|v| self.ty(*v)).filter(|ty| *ty != dtype.reg()) {
            dtype = DType::ALL.into_iter().find(|d| d.reg() == ty).unwrap_or(dtype);
        }
        // Mixed radix over the loops around in some order, so that no two iterations write one place.
        let mut strides = Vec::new();
        let mut size = [1, 1, 1, 2, 3][self.pick(5)];
        let reverse = self.chance(2);
        let mut loops = self.loops.clone();
        if reverse {
            loops.reverse();
        }
        for l in loops.iter().rev() {
            let sign = if self.chance(6) { -1 } else { 1 };
            strides.push((l.var, l.most, size * sign));
            size *= l.most.max(1);
        }
        // To one place, in order, is fine for a loop's own statement.
        if self.loops.len() == 1 && self.chance(8) {
            strides[0].2 = 0;
        }
        if size > 60_000 {
            return;
        }
        let (affine, _, greatest) = self.affine(&strides);
        let buf = self.buffer(dtype, true, greatest + 1);
        let at = Access { affine, dynamic: None };
        if strides.iter().all(|s| s.2 != 0) && self.chance(3) {
            let dst = self.fresh(dtype.reg());
            out.push(Stmt::Load { dst, buf, at: at.clone() });
            self.pool.push(dst);
        }
        let value = self.value(out, dtype.reg());
        out.push(Stmt::Store { buf, at, value });
    }

    /// Updates an accumulator if one may be updated here.
    fn update(&mut self, out: &mut Vec<Stmt>) {
        let vector = self.vector();
        let may = |(_, _, _, lanes, depth): &&(AccId, Combine, Reg, u32, usize)| match vector {
            Some(d) => (*lanes == 1) == (d < *depth),
            None => *lanes == 1,
        };
        let fit: Vec<_> = self.accs.iter().filter(may).copied().collect();
        if fit.is_empty() {
            return;
        }
        let i = self.pick(fit.len());
        let (acc, combine, reg, ..) = fit[fit.len() - 1 - i];
        let value = self.value(out, reg);
        let wants_index = matches!(combine, Combine::ArgMax | Combine::ArgMin);
        let index = wants_index.then(|| self.value(out, Reg::I64));
        out.push(Stmt::Update { acc, value, index });
    }

    fn read(&mut self, out: &mut Vec<Stmt>, acc: AccId, combine: Combine, reg: Reg) {
        let reg = if matches!(combine, Combine::ArgMax | Combine::ArgMin) { Reg::I64 } else { reg };
        let dst = self.fresh(reg);
        out.push(Stmt::Read { dst, acc });
        self.pool.push(dst);
    }

    fn for_loop(&mut self, out: &mut Vec<Stmt>, parallel: bool) {
        let kind = if self.vector().is_none() && self.chance(2) { LoopKind::Vector } else { LoopKind::Serial };
        let longest = match (self.loops.len(), kind) {
            (0, _) | (_, LoopKind::Vector) => [17, 1, 5, 4, 16, 35, 64, 70, 0, 33],
            _ => [3, 1, 2, 0, 4, 5, 2, 3, 1, 7],
        };
        let var = Var(self.next_var);
        self.next_var += 1;
        let serial = self.loops.iter().find(|l| l.kind == LoopKind::Serial).cloned();
        let n = longest[self.pick(10)];
        let (extent, most) = match serial {
            Some(outer) if self.chance(4) => {
                let step = n.min(16);
                let total = step * outer.most - self.pick(20) as i64;
                let (step_coef, total) = (self.coef(step), self.coef(total));
                (Extent::Block { var: outer.var, step: step_coef, total }, step)
            }
            _ => (Extent::Whole(self.coef(n)), n),
        };
        self.loops.push(Open { var, most, kind });
        let (pool, accs) = (self.pool.len(), self.accs.len());
        let body = self.body();
        self.pool.truncate(pool);
        self.accs.truncate(accs);
        self.loops.pop();
        out.push(Stmt::For(Loop { var, extent, kind, parallel, body }));
    }

    fn body(&mut self) -> Vec<Stmt> {
        let mut out = Vec::new();
        let mine = self.accs.len();
        for _ in 0..1 + self.pick(7) {
            if self.budget == 0 {
                break;
            }
            self.budget -= 1;
            match self.pick(10) {
                0 | 1 => self.load(&mut out),
                2..=4 => self.instruction(&mut out),
                5 => self.store(&mut out),
                6 if self.loops.len() < 3 => self.for_loop(&mut out, false),
                7 => {
                    let (c, r) = (self.pick(6), self.pick(REGS.len()));
                    let (combine, reg) = (COMBINES[c], REGS[r]);
                    let lanes = if self.vector().is_none() && self.chance(2) { 16 } else { 1 };
                    let acc = AccId(self.next_acc);
                    self.next_acc += 1;
                    self.accs.push((acc, combine, reg, lanes, self.loops.len()));
                    out.push(Stmt::Acc { acc, combine, reg, lanes });
                    // Something to combine.
                    if self.loops.len() < 3 {
                        self.for_loop(&mut out, false);
                    }
                }
                8 => {
                    let strides: Vec<_> = self.loops.iter().map(|l| (l.var, l.most, 1)).collect();
                    let strides: Vec<_> =
                        strides.into_iter().map(|(v, m, _)| (v, m, self.pick(7) as i64 - 3)).collect();
                    let (affine, ..) = self.affine(&strides);
                    let v = self.fresh(Reg::I64);
                    out.push(Stmt::Index(v, affine));
                    self.pool.push(v);
                }
                _ => self.update(&mut out),
            }
            if self.chance(3) {
                self.update(&mut out);
            }
        }
        for i in mine..self.accs.len() {
            let (acc, combine, reg, ..) = self.accs[i];
            self.read(&mut out, acc, combine, reg);
        }
        self.store(&mut out);
        out
    }
}

/// A loop nest with the parameters and the buffer lengths that it needs.
fn generate(choices: Vec<u32>) -> (LoopNest, Vec<i64>, Vec<i64>) {
    let mut g = Gen {
        choices,
        next: 0,
        nest: LoopNest::default(),
        params: Vec::new(),
        lens: Vec::new(),
        loops: Vec::new(),
        pool: Vec::new(),
        accs: Vec::new(),
        next_acc: 0,
        next_var: 0,
        budget: 40,
    };
    let body = if g.chance(3) {
        g.body()
    } else {
        let mut out = Vec::new();
        let parallel = g.chance(2);
        // What every thread runs for itself.
        for _ in 0..g.pick(4) {
            if g.chance(2) {
                g.load(&mut out);
            } else {
                g.instruction(&mut out);
            }
        }
        out.retain(|s| !matches!(s, Stmt::Inst(_, Inst::Check(..))));
        g.for_loop(&mut out, parallel);
        out
    };
    g.nest.body = body;
    g.nest.params = g.params.len() as u32;
    (g.nest, g.params, g.lens)
}

/// The range of the parallel loop in two pieces.
fn ranges(nest: &LoopNest, params: &[i64]) -> Vec<(i64, i64)> {
    match nest.body.as_slice() {
        [.., Stmt::For(Loop { parallel: true, extent: Extent::Whole(n), .. })] => {
            let n = match n {
                Coef::Const(n) => *n,
                Coef::Param(p) => params[*p as usize],
            };
            vec![(0, n / 2), (n / 2, n)]
        }
        _ => vec![(0, 0)],
    }
}

fn check(choices: Vec<u32>, level: OptLevel) {
    let seed = choices.iter().fold(1u64, |a, c| a.wrapping_mul(31).wrapping_add(u64::from(*c)));
    let (nest, params, lens) = generate(choices);
    verify::verify(&nest).unwrap_or_else(|e| panic!("the generator made what the verifier refuses: {e}\n{nest}"));
    assert_eq!(parse::parse(&nest.to_string()).unwrap(), nest);
    let mut random = Random::new(seed);
    let bufs: Vec<_> = nest.bufs.iter().zip(&lens).map(|(b, n)| fill(b.dtype, *n as usize, &mut random)).collect();
    // All emitters that the machine has.
    for without in [&[][..], &["has_avx512f"]] {
        let target = Target::host_without(without).unwrap();
        let kernel = Kernel::new(&nest, &target, level).unwrap_or_else(|e| panic!("{e}\n{nest}"));
        compare(&nest, &kernel, &bufs, &params, &ranges(&nest, &params));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300, 3000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn machine_code_agrees_with_the_interpreter(choices in prop::collection::vec(any::<u32>(), 0..300)) {
        check(choices, OptLevel::None);
    }

    #[test]
    fn optimised_code_agrees_with_the_interpreter(choices in prop::collection::vec(any::<u32>(), 0..300)) {
        check(choices, OptLevel::Speed);
    }
}

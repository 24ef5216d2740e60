//! Runs loop nests: slow and obvious, the definition that the emitters are tested against.
//!
//! Loops are loops, one iteration after the other; scalar instructions go to the scalar IR's own interpreter. Every
//! access is checked, so a wrong loop nest is an error here and never a panic.

use super::verify::verify;
use super::{AccId, Access, Affine, Buf, Coef, Combine, Extent, Loop, LoopKind, LoopNest, Stmt, Var};
use tensorc_ir::error::err;
use tensorc_ir::scalar::{Bin, Cmp, Inst, Reg, V, eval};
use tensorc_ir::{Result, Scalar};

/// Runs the whole kernel on `bufs` (the bytes of each buffer, element 0 first) with the run-time parameters `params`.
/// Returns the error word: 0, or the code of the first fault.
///
/// # Errors
/// What [`verify`] finds; `index` if the number of buffers or parameters is wrong or an access is outside its buffer.
pub fn run(nest: &LoopNest, bufs: &mut [Vec<u8>], params: &[i64]) -> Result<u64> {
    run_range(nest, bufs, params, None)
}

/// As [`run`], but only the iterations `range` (begin, end) of the parallel loop if there is one.
///
/// # Errors
/// As [`run`].
pub fn run_range(nest: &LoopNest, bufs: &mut [Vec<u8>], params: &[i64], range: Option<(i64, i64)>) -> Result<u64> {
    verify(nest)?;
    if bufs.len() != nest.bufs.len() || params.len() != nest.params as usize {
        return Err(err::index(format!(
            "the kernel takes {} buffers and {} parameters, not {} and {}",
            nest.bufs.len(),
            nest.params,
            bufs.len(),
            params.len()
        )));
    }
    let mut state = State {
        nest,
        bufs,
        params,
        range,
        regs: vec![0; nest.regs.len()],
        accs: Vec::new(),
        vars: Vec::new(),
        lane: 0,
        fault: 0,
    };
    state.body(&nest.body)?;
    Ok(state.fault)
}

/// A partial result: its bits, and for `ArgMax` and `ArgMin` its index.
type Part = (u64, i64);

struct Accumulator {
    combine: Combine,
    reg: Reg,
    lanes: Vec<Part>,
}

struct State<'a> {
    nest: &'a LoopNest,
    bufs: &'a mut [Vec<u8>],
    params: &'a [i64],
    range: Option<(i64, i64)>,
    regs: Vec<u64>,
    accs: Vec<(AccId, Accumulator)>,
    vars: Vec<(Var, i64)>,
    /// The iteration of the vector loop.
    lane: i64,
    fault: u64,
}

impl State<'_> {
    fn body(&mut self, stmts: &[Stmt]) -> Result<()> {
        stmts.iter().try_for_each(|s| self.stmt(s))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<()> {
        match stmt {
            Stmt::Inst(v, inst) => self.inst(*v, *inst),
            Stmt::Index(v, affine) => self.regs[v.0 as usize] = self.affine(affine) as u64,
            Stmt::Load { dst, buf, at } => {
                let dtype = self.nest.bufs[buf.0 as usize].dtype;
                let from = self.element(*buf, at)?;
                let bits = eval::to_bits(Scalar::read(dtype, &self.bufs[buf.0 as usize][from]));
                self.regs[dst.0 as usize] = bits;
            }
            Stmt::Store { buf, at, value } => {
                let dtype = self.nest.bufs[buf.0 as usize].dtype;
                let to = self.element(*buf, at)?;
                let element = eval::from_bits(dtype, self.regs[value.0 as usize]);
                element.write(&mut self.bufs[buf.0 as usize][to]);
            }
            Stmt::For(l) => self.for_loop(l)?,
            Stmt::Acc { acc, combine, reg, lanes } => {
                self.accs.retain(|(a, _)| a != acc);
                let part = (identity(*combine, *reg), i64::MAX);
                let state = Accumulator { combine: *combine, reg: *reg, lanes: vec![part; *lanes as usize] };
                self.accs.push((*acc, state));
            }
            Stmt::Update { acc, value, index } => {
                let new = (self.regs[value.0 as usize], index.map_or(0, |i| self.regs[i.0 as usize] as i64));
                let lane = self.lane;
                let a = self.acc(*acc)?;
                let lane = lane as usize % a.lanes.len();
                a.lanes[lane] = combine(a.combine, a.reg, a.lanes[lane], new);
            }
            Stmt::Read { dst, acc } => {
                let a = self.acc(*acc)?;
                let mut lanes = a.lanes.clone();
                while lanes.len() > 1 {
                    let upper = lanes.split_off(lanes.len() / 2);
                    lanes = lanes.iter().zip(&upper).map(|(l, u)| combine(a.combine, a.reg, *l, *u)).collect();
                }
                let bits = if takes_index(a.combine) { lanes[0].1 as u64 } else { lanes[0].0 };
                self.regs[dst.0 as usize] = bits;
            }
        }
        Ok(())
    }

    fn for_loop(&mut self, l: &Loop) -> Result<()> {
        let (begin, end) = match self.range {
            Some(range) if l.parallel => range,
            _ => (0, self.extent(l.extent)),
        };
        for i in begin..end {
            self.vars.push((l.var, i));
            if l.kind == LoopKind::Vector {
                self.lane = i;
            }
            self.body(&l.body)?;
            self.vars.pop();
        }
        Ok(())
    }

    fn inst(&mut self, v: V, inst: Inst) {
        let nest = self.nest;
        let fault = eval::run(&[(v, inst)], |r| nest.regs[r.0 as usize], &mut self.regs);
        if let Some(fault) = fault.filter(|_| self.fault == 0) {
            self.fault = u64::from(fault.code());
        }
    }

    fn acc(&mut self, acc: AccId) -> Result<&mut Accumulator> {
        let found = self.accs.iter_mut().find(|(a, _)| *a == acc);
        found.map(|(_, a)| a).ok_or_else(|| err::internal(format!("{acc} is not set up")))
    }

    fn coef(&self, c: Coef) -> i64 {
        match c {
            Coef::Const(c) => c,
            Coef::Param(p) => self.params[p as usize],
        }
    }

    fn var(&self, var: Var) -> i64 {
        self.vars.iter().rev().find(|(v, _)| *v == var).map_or(0, |(_, i)| *i)
    }

    fn affine(&self, a: &Affine) -> i64 {
        let terms = a.terms.iter().map(|(v, c)| self.var(*v).wrapping_mul(self.coef(*c)));
        terms.fold(self.coef(a.offset), i64::wrapping_add)
    }

    fn extent(&self, e: Extent) -> i64 {
        match e {
            Extent::Whole(n) => self.coef(n),
            Extent::Block { var, step, total } => {
                let (step, total) = (self.coef(step), self.coef(total));
                step.min(total.wrapping_sub(self.var(var).wrapping_mul(step)))
            }
        }
    }

    /// The bytes of the element at `at`.
    fn element(&self, buf: Buf, at: &Access) -> Result<std::ops::Range<usize>> {
        let index = self.affine(&at.affine).wrapping_add(at.dynamic.map_or(0, |d| self.regs[d.0 as usize] as i64));
        let (size, bytes) = (self.nest.bufs[buf.0 as usize].dtype.size(), self.bufs[buf.0 as usize].len());
        let start = usize::try_from(index).ok().and_then(|i| i.checked_mul(size));
        start
            .and_then(|s| Some(s..s.checked_add(size)?))
            .filter(|r| r.end <= bytes)
            .ok_or_else(|| err::index(format!("{buf} has {} elements; the access is to {index}", bytes / size)))
    }
}

/// Whether updates carry an index.
pub(super) fn takes_index(combine: Combine) -> bool {
    matches!(combine, Combine::ArgMax | Combine::ArgMin)
}

/// The bits of the value an accumulator starts from.
fn identity(combine: Combine, reg: Reg) -> u64 {
    let least = match reg {
        Reg::F64 => f64::NEG_INFINITY.to_bits(),
        Reg::F32 => u64::from(f32::NEG_INFINITY.to_bits()),
        Reg::I64 => i64::MIN as u64,
        Reg::I32 => i32::MIN as u64,
        Reg::I16 => i16::MIN as u64,
        Reg::I8 => i8::MIN as u64,
        Reg::U8 | Reg::Bool => 0,
    };
    let greatest = match reg {
        Reg::F64 => f64::INFINITY.to_bits(),
        Reg::F32 => u64::from(f32::INFINITY.to_bits()),
        Reg::I64 => i64::MAX as u64,
        Reg::I32 => i32::MAX as u64,
        Reg::I16 => i16::MAX as u64,
        Reg::I8 => i8::MAX as u64,
        Reg::U8 => 255,
        Reg::Bool => 1,
    };
    let one = match reg {
        Reg::F64 => 1f64.to_bits(),
        Reg::F32 => u64::from(1f32.to_bits()),
        _ => 1,
    };
    match combine {
        Combine::Sum => 0,
        Combine::Prod => one,
        Combine::Max | Combine::ArgMax => least,
        Combine::Min | Combine::ArgMin => greatest,
    }
}

fn combine(combine: Combine, reg: Reg, a: Part, x: Part) -> Part {
    // A scalar instruction of `a.0` and `x.0`.
    let of = |out: Reg, inst: Inst| {
        let mut regs = [a.0, x.0, 0];
        eval::run(&[(V(2), inst)], |v| if v == V(2) { out } else { reg }, &mut regs);
        regs[2]
    };
    let (va, vx) = (V(0), V(1));
    let cmp = |op: Cmp, l: V, r: V| of(Reg::Bool, Inst::Cmp(op, l, r)) != 0;
    let (a_nan, x_nan) = (!cmp(Cmp::Eq, va, va), !cmp(Cmp::Eq, vx, vx));
    match combine {
        Combine::Sum => (of(reg, Inst::Bin(Bin::Add, va, vx)), 0),
        Combine::Prod => (of(reg, Inst::Bin(Bin::Mul, va, vx)), 0),
        Combine::Max => (if cmp(Cmp::Lt, va, vx) || x_nan { x.0 } else { a.0 }, 0),
        Combine::Min => (if cmp(Cmp::Lt, vx, va) || x_nan { x.0 } else { a.0 }, 0),
        Combine::ArgMax | Combine::ArgMin => {
            let better = if combine == Combine::ArgMax { cmp(Cmp::Lt, va, vx) } else { cmp(Cmp::Lt, vx, va) };
            let equal = cmp(Cmp::Eq, va, vx) || (a_nan && x_nan);
            if better || (x_nan && !a_nan) || (equal && x.1 < a.1) { x } else { a }
        }
    }
}

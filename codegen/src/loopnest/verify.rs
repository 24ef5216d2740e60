//! Checks that a loop nest means something: after this, interpreting and emitting it cannot go wrong.
//!
//! Registers are defined once, before their uses, in the same loop or one around it, with the type their statement
//! gives; loops, accumulators and accesses keep the rules that [`super`] states. That indices stay inside their
//! buffers, and that a vector loop's iterations do not depend on each other through memory, is not checked here.

use super::interp::takes_index;
use super::{AccId, Access, Affine, Buf, Coef, Combine, Extent, Loop, LoopKind, LoopNest, Stmt, Var, print};
use tensorc_ir::error::err;
use tensorc_ir::scalar::{Bin, Inst, Reg, Un, V};
use tensorc_ir::{DType, Result};

/// Loops inside each other, at most.
pub const MAX_DEPTH: usize = 64;

/// Checks a loop nest.
///
/// # Errors
/// Kind `Type`: what is wrong, with the line of the printed loop nest at which it is.
pub fn verify(nest: &LoopNest) -> Result<()> {
    let mut v = Verifier {
        nest,
        defined: vec![Defined::No; nest.regs.len()],
        loops: Vec::new(),
        accs: Vec::new(),
        seen_accs: Vec::new(),
    };
    // Every thread runs the straight-line code before the parallel loop for itself.
    let straight = |s: &Stmt| matches!(s, Stmt::Inst(..) | Stmt::Index(..) | Stmt::Load { .. });
    if let Some((last @ Stmt::For(l), before)) = nest.body.split_last()
        && before.iter().all(straight)
    {
        before.iter().try_for_each(|s| v.stmt(s, false))?;
        return v.stmt(last, l.parallel);
    }
    nest.body.iter().try_for_each(|s| v.stmt(s, false))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Defined {
    No,
    /// In a loop that is open.
    Here,
    /// In a loop that has ended.
    Elsewhere,
}

struct OpenAcc {
    acc: AccId,
    combine: Combine,
    reg: Reg,
    lanes: u32,
    /// The number of loops around its `acc` statement.
    depth: usize,
}

struct Verifier<'a> {
    nest: &'a LoopNest,
    defined: Vec<Defined>,
    loops: Vec<(Var, LoopKind)>,
    accs: Vec<OpenAcc>,
    seen_accs: Vec<AccId>,
}

type Check<T = ()> = std::result::Result<T, String>;

fn ensure(ok: bool, message: impl FnOnce() -> String) -> Check {
    if ok { Ok(()) } else { Err(message()) }
}

impl Verifier<'_> {
    fn stmt(&mut self, stmt: &Stmt, may_be_parallel: bool) -> Result<()> {
        if let Err(why) = self.check(stmt, may_be_parallel) {
            return Err(err::ty(format!("in the loop nest line `{}`: {why}", print::line(self.nest, stmt))));
        }
        let Stmt::For(l) = stmt else { return Ok(()) };
        let (defined, accs) = (self.defined.clone(), self.accs.len());
        self.loops.push((l.var, l.kind));
        l.body.iter().try_for_each(|s| self.stmt(s, false))?;
        self.loops.pop();
        self.accs.truncate(accs);
        for (now, before) in self.defined.iter_mut().zip(defined) {
            if *now == Defined::Here && before != Defined::Here {
                *now = Defined::Elsewhere;
            }
        }
        Ok(())
    }

    fn check(&mut self, stmt: &Stmt, may_be_parallel: bool) -> Check {
        match stmt {
            Stmt::Inst(v, inst) => {
                let ty = self.inst(*inst)?;
                self.define(*v, ty)
            }
            Stmt::Index(v, affine) => {
                self.affine(affine)?;
                self.define(*v, Reg::I64)
            }
            Stmt::Load { dst, buf, at } => {
                let dtype = self.access(*buf, at)?;
                self.define(*dst, dtype.reg())
            }
            Stmt::Store { buf, at, value } => {
                let dtype = self.access(*buf, at)?;
                ensure(self.nest.bufs[buf.0 as usize].written, || format!("{buf} is not declared `mut`"))?;
                self.has_type(*value, dtype.reg())
            }
            Stmt::For(l) => self.for_loop(l, may_be_parallel),
            Stmt::Acc { acc, combine, reg, lanes } => {
                ensure(!self.seen_accs.contains(acc), || format!("{acc} is set up twice"))?;
                ensure(matches!(lanes, 1 | 16), || "an accumulator has 1 lane or 16".to_owned())?;
                ensure(*lanes == 1 || self.vector_depth().is_none(), || {
                    "in a vector loop an accumulator has one lane".to_owned()
                })?;
                self.seen_accs.push(*acc);
                let depth = self.loops.len();
                self.accs.push(OpenAcc { acc: *acc, combine: *combine, reg: *reg, lanes: *lanes, depth });
                Ok(())
            }
            Stmt::Update { acc, value, index } => self.update(*acc, *value, *index),
            Stmt::Read { dst, acc } => {
                let a = self.open_acc(*acc)?;
                let inside = self.vector_depth().is_some_and(|d| d >= a.depth);
                ensure(a.lanes == 1 || !inside, || format!("{acc} is read in the vector loop that updates it"))?;
                let ty = if takes_index(a.combine) { Reg::I64 } else { a.reg };
                self.define(*dst, ty)
            }
        }
    }

    fn for_loop(&mut self, l: &Loop, may_be_parallel: bool) -> Check {
        ensure(self.loops.len() < MAX_DEPTH, || format!("more than {MAX_DEPTH} loops inside each other"))?;
        ensure(!l.parallel || may_be_parallel, || {
            "a parallel loop is the only loop at the top of its kernel, and its last statement".to_owned()
        })?;
        ensure(l.kind == LoopKind::Serial || self.vector_depth().is_none(), || {
            "a vector loop inside a vector loop".to_owned()
        })?;
        ensure(self.loops.iter().all(|(v, _)| *v != l.var), || format!("{} is a loop around this one", l.var))?;
        match l.extent {
            Extent::Whole(n) => self.coef(n),
            Extent::Block { var, step, total } => {
                self.var(var)?;
                self.coef(step)?;
                self.coef(total)
            }
        }
    }

    fn update(&mut self, acc: AccId, value: V, index: Option<V>) -> Check {
        let a = self.open_acc(acc)?;
        let (reg, wants_index) = (a.reg, takes_index(a.combine));
        match (self.vector_depth(), a.lanes) {
            (Some(d), 1) => ensure(d < a.depth, || {
                format!(
                    "{acc} has one lane, is outside this vector loop, and its iterations would depend on each other"
                )
            })?,
            (Some(d), _) => ensure(d >= a.depth, || format!("{acc} has lanes but no vector loop inside its own"))?,
            (None, 1) => {}
            (None, _) => return Err(format!("{acc} has lanes, and this is in no vector loop")),
        }
        self.has_type(value, reg)?;
        ensure(index.is_some() == wants_index, || "an index belongs to argmax and argmin only".to_owned())?;
        index.map_or(Ok(()), |i| self.has_type(i, Reg::I64))
    }

    /// The number of loops around the vector loop, if there is one.
    fn vector_depth(&self) -> Option<usize> {
        self.loops.iter().position(|(_, k)| *k == LoopKind::Vector)
    }

    fn open_acc(&self, acc: AccId) -> Check<&OpenAcc> {
        self.accs.iter().find(|a| a.acc == acc).ok_or_else(|| format!("{acc} is not set up here"))
    }

    fn define(&mut self, v: V, ty: Reg) -> Check {
        let declared = self.nest.regs.get(v.0 as usize).ok_or_else(|| format!("there is no register {v:?}"))?;
        ensure(*declared == ty, || format!("{v:?} is {} and gets {}", declared.name(), ty.name()))?;
        ensure(self.defined[v.0 as usize] == Defined::No, || format!("{v:?} is defined twice"))?;
        self.defined[v.0 as usize] = Defined::Here;
        Ok(())
    }

    /// The type of a register that is read.
    fn ty(&self, v: V) -> Check<Reg> {
        match self.defined.get(v.0 as usize) {
            Some(Defined::Here) => Ok(self.nest.regs[v.0 as usize]),
            Some(Defined::Elsewhere) => Err(format!("{v:?} is defined in a loop that has ended")),
            Some(Defined::No) | None => Err(format!("{v:?} is not defined")),
        }
    }

    fn has_type(&self, v: V, ty: Reg) -> Check {
        let is = self.ty(v)?;
        ensure(is == ty, || format!("{v:?} is {}, not {}", is.name(), ty.name()))
    }

    fn var(&self, var: Var) -> Check {
        ensure(self.loops.iter().any(|(v, _)| *v == var), || format!("{var} is no loop around this"))
    }

    fn coef(&self, c: Coef) -> Check {
        let ok = match c {
            Coef::Const(_) => true,
            Coef::Param(p) => p < self.nest.params,
        };
        ensure(ok, || format!("there is no parameter {c}"))
    }

    fn affine(&self, a: &Affine) -> Check {
        self.coef(a.offset)?;
        for (i, (var, coef)) in a.terms.iter().enumerate() {
            self.var(*var)?;
            self.coef(*coef)?;
            ensure(a.terms[..i].iter().all(|(v, _)| v != var), || format!("{var} twice in one index"))?;
        }
        Ok(())
    }

    fn access(&self, buf: Buf, at: &Access) -> Check<DType> {
        let decl = self.nest.bufs.get(buf.0 as usize).ok_or_else(|| format!("there is no buffer {buf}"))?;
        self.affine(&at.affine)?;
        at.dynamic.map_or(Ok(()), |d| self.has_type(d, Reg::I64))?;
        Ok(decl.dtype)
    }

    /// The type of an instruction's result.
    fn inst(&self, inst: Inst) -> Check<Reg> {
        let refuse = |ty: Reg| Err(format!("not on {}", ty.name()));
        match inst {
            Inst::Param(_) => Err("a parameter of a scalar block in a loop nest".to_owned()),
            Inst::Const(ty, bits) => {
                ensure(is_canonical(ty, bits), || format!("{bits:#x} is no value of {}", ty.name()))?;
                Ok(ty)
            }
            Inst::Un(op, a) => {
                let ty = self.ty(a)?;
                match op {
                    Un::Neg | Un::Abs => Ok(ty),
                    Un::Not if !ty.is_float() => Ok(ty),
                    Un::Sqrt | Un::Floor | Un::Ceil | Un::Trunc | Un::Nearest if ty.is_float() => Ok(ty),
                    _ => refuse(ty),
                }
            }
            Inst::Bin(op, a, b) => {
                let ty = self.ty(a)?;
                self.has_type(b, ty)?;
                match op {
                    Bin::Add | Bin::Sub | Bin::Mul | Bin::Div | Bin::Rem | Bin::Min | Bin::Max => Ok(ty),
                    Bin::And | Bin::Or | Bin::Xor | Bin::Shl | Bin::Shr | Bin::UShr if !ty.is_float() => Ok(ty),
                    _ => refuse(ty),
                }
            }
            Inst::Cmp(_, a, b) => {
                self.has_type(b, self.ty(a)?)?;
                Ok(Reg::Bool)
            }
            Inst::Fma(a, b, c) => {
                let ty = self.ty(a)?;
                self.has_type(b, ty)?;
                self.has_type(c, ty)?;
                if ty.is_float() { Ok(ty) } else { refuse(ty) }
            }
            Inst::Select(c, a, b) => {
                self.has_type(c, Reg::Bool)?;
                let ty = self.ty(a)?;
                self.has_type(b, ty)?;
                Ok(ty)
            }
            Inst::Convert(to, a) => {
                self.ty(a)?;
                Ok(to)
            }
            Inst::Bitcast(to, a) => match (self.ty(a)?, to) {
                (Reg::F32, Reg::I32) | (Reg::I32, Reg::F32) | (Reg::F64, Reg::I64) | (Reg::I64, Reg::F64) => Ok(to),
                (from, to) => Err(format!("no bitcast from {} to {}", from.name(), to.name())),
            },
            Inst::Round(dtype, a) => {
                ensure(dtype.is_half(), || format!("no rounding to {dtype}"))?;
                self.has_type(a, Reg::F32)?;
                Ok(Reg::F32)
            }
            Inst::Check(_, c) => {
                self.has_type(c, Reg::Bool)?;
                Ok(Reg::Bool)
            }
        }
    }
}

/// Whether `bits` is how a value of type `ty` is written: floats by their own bits, integers extended, bool 0 or 1.
fn is_canonical(ty: Reg, bits: u64) -> bool {
    let v = bits as i64;
    match ty {
        Reg::F64 | Reg::I64 => true,
        Reg::F32 => bits <= u64::from(u32::MAX),
        Reg::I32 => i32::try_from(v).is_ok(),
        Reg::I16 => i16::try_from(v).is_ok(),
        Reg::I8 => i8::try_from(v).is_ok(),
        Reg::U8 => u8::try_from(v).is_ok(),
        Reg::Bool => bits <= 1,
    }
}

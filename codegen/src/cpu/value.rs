//! Where values live and where instructions go: scopes, levels and insertion points.
//!
//! The body of loop `k`, counted from outside, is *scope* `k`; the function's body is scope 0. Every value has a
//! *level*, the innermost scope it depends on. Pure code whose level is below the scope being written is put in front
//! of the outermost loop that does not change it. So constants, strides, partial addresses and anything else that a
//! loop does not change are computed once per change, whatever optimisation Cranelift does afterwards.
//!
//! Only code that cannot fault may move out by more than one loop: a loop's preheader runs only if the loop has an
//! iteration, but the loops inside may still have none.

use super::emit::Emitter;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{Block, BlockArg, Inst, InstBuilder, Value, types};
use smallvec::SmallVec;
use tensorc_ir::scalar::{Reg, V};

use crate::loopnest::Var;

/// The machine values of one group of four lanes: one for 32-bit lanes, two (low lanes first) for 64-bit lanes. A
/// scalar is a group with one value of scalar type.
pub(super) type Parts = SmallVec<[Value; 2]>;

/// What is known about a register of the loop nest.
#[derive(Clone, Debug)]
pub(super) enum Val {
    /// Not defined here.
    None,
    /// A constant, made where it is used.
    Const(Reg, u64),
    /// One scalar, the same for all lanes, and its level.
    Uniform(Value, usize),
    /// A value for each lane, group by group, and its level.
    Lanes(SmallVec<[Parts; 4]>, usize),
}

/// A loop being written (or, first of all, the function).
pub(super) struct Scope {
    /// Its variable.
    pub(super) var: Option<Var>,
    /// The variable's value (of the first lane in a vector loop).
    pub(super) counter: Value,
    /// The jump that ends its preheader: code in front of it runs once before the loop.
    pub(super) anchor: Inst,
}

/// Where the next instruction goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pos {
    /// To the end of the block being written.
    Here,
    /// In front of that instruction.
    Before(Inst),
}

impl Emitter<'_> {
    /// The innermost scope.
    pub(super) fn scope(&self) -> usize {
        self.scopes.len() - 1
    }

    /// The place for code of that level, and the scope that has to be open for its value to be available.
    pub(super) fn place(&self, level: usize) -> (Pos, usize) {
        match self.scopes.get(level + 1) {
            Some(inner) => (Pos::Before(inner.anchor), level + 1),
            None => (Pos::Here, self.scope()),
        }
    }

    /// Runs `f` with new instructions going to the place of that level.
    pub(super) fn at_level<T>(&mut self, level: usize, f: impl FnOnce(&mut Self) -> T) -> T {
        let (pos, _) = self.place(level);
        self.at(pos, f)
    }

    /// Runs `f` with new instructions going to `pos`.
    pub(super) fn at<T>(&mut self, pos: Pos, f: impl FnOnce(&mut Self) -> T) -> T {
        let saved = std::mem::replace(&mut self.pos, pos);
        let result = f(self);
        self.pos = saved;
        result
    }

    /// A cursor at the insertion point; `self.cur().ins()` builds the next instruction.
    pub(super) fn cur(&mut self) -> FuncCursor<'_> {
        match self.pos {
            Pos::Here => FuncCursor::new(&mut self.func).at_bottom(self.here),
            Pos::Before(inst) => FuncCursor::new(&mut self.func).at_inst(inst),
        }
    }

    /// A new block at the end of the function.
    pub(super) fn new_block(&mut self) -> Block {
        let block = self.func.dfg.make_block();
        self.func.layout.append_block(block);
        block
    }

    /// Goes on writing in `block`.
    pub(super) fn switch_to(&mut self, block: Block) {
        self.here = block;
    }

    /// Appends parameters of the types of `like` to `block`.
    pub(super) fn params_like(&mut self, block: Block, like: &[Value]) -> Vec<Value> {
        let add = |v: &Value| {
            let ty = self.func.dfg.value_type(*v);
            self.func.dfg.append_block_param(block, ty)
        };
        like.iter().map(add).collect()
    }

    /// Ends the block being written with a jump, and gives the jump.
    pub(super) fn jump(&mut self, to: Block, args: &[Value]) -> Inst {
        let args = block_args(args);
        self.cur().ins().jump(to, &args)
    }

    /// Ends the block being written with a branch.
    pub(super) fn branch(&mut self, cond: Value, yes: (Block, &[Value]), no: (Block, &[Value])) {
        let (y, n) = (block_args(yes.1), block_args(no.1));
        self.cur().ins().brif(cond, yes.0, &y, no.0, &n);
    }

    /// Forgets the cached values that only exist while scope `scope` is open.
    pub(super) fn forget(&mut self, scope: usize) {
        self.splats.retain(|s| s.valid < scope);
        self.addresses.retain(|a| a.valid < scope);
    }

    /// The machine type of a register's scalar: small integers are held in 32 bits, truth values in 8.
    pub(super) fn scalar_type(reg: Reg) -> types::Type {
        match reg {
            Reg::F64 => types::F64,
            Reg::F32 => types::F32,
            Reg::I64 => types::I64,
            Reg::I32 | Reg::I16 | Reg::I8 | Reg::U8 => types::I32,
            Reg::Bool => types::I8,
        }
    }

    /// The type of a register of the loop nest.
    pub(super) fn reg(&self, v: V) -> Reg {
        self.nest.regs[v.0 as usize]
    }

    /// What is known about a register.
    pub(super) fn val(&self, v: V) -> &Val {
        &self.regs[v.0 as usize]
    }

    /// The level of a register's value.
    pub(super) fn level(&self, v: V) -> usize {
        match self.val(v) {
            Val::None | Val::Const(..) => 0,
            Val::Uniform(_, level) | Val::Lanes(_, level) => *level,
        }
    }

    /// Whether the register differs from lane to lane.
    pub(super) fn varies(&self, v: V) -> bool {
        matches!(self.val(v), Val::Lanes(..))
    }

    /// Defines a register that is the same for all lanes.
    pub(super) fn define(&mut self, v: V, value: Value, level: usize) {
        self.regs[v.0 as usize] = Val::Uniform(value, level);
    }

    /// Defines the lanes of group `g`; groups come in order.
    pub(super) fn define_lanes(&mut self, v: V, g: usize, parts: Parts, level: usize) {
        match &mut self.regs[v.0 as usize] {
            Val::Lanes(groups, _) if g > 0 => groups.push(parts),
            slot => *slot = Val::Lanes(SmallVec::from_iter([parts]), level),
        }
    }

    /// The scalar of a register that is the same for all lanes.
    pub(super) fn scalar(&mut self, v: V) -> Value {
        match *self.val(v) {
            Val::Uniform(value, _) => value,
            Val::Const(reg, bits) => self.constant(Self::scalar_type(reg), bits),
            // Both are excluded by the verifier and by the callers' `varies`; zero keeps this total.
            Val::None | Val::Lanes(..) => self.constant(Self::scalar_type(self.reg(v)), 0),
        }
    }

    /// A constant of machine type `ty` from the bits of one lane.
    pub(super) fn constant(&mut self, ty: types::Type, bits: u64) -> Value {
        match ty {
            types::F64 => self.cur().ins().f64const(f64::from_bits(bits)),
            types::F32 => self.cur().ins().f32const(f32::from_bits(bits as u32)),
            types::I64 => self.cur().ins().iconst(ty, bits as i64),
            types::I32 => self.cur().ins().iconst(ty, i64::from(bits as u32)),
            types::I16 => self.cur().ins().iconst(ty, i64::from(bits as u16)),
            types::I8 => self.cur().ins().iconst(ty, i64::from(bits as u8)),
            _ => self.vector_constant(ty, bits),
        }
    }

    /// The constant `bits` of the same machine type as `like`.
    pub(super) fn constant_like(&mut self, like: Value, bits: u64) -> Value {
        let ty = self.func.dfg.value_type(like);
        self.constant(ty, bits)
    }
}

/// Values as block arguments.
fn block_args(values: &[Value]) -> SmallVec<[BlockArg; 8]> {
    values.iter().map(|v| BlockArg::Value(*v)).collect()
}

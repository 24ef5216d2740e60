//! [`emit`]: one loop nest as one Cranelift function.
//!
//! The function is written once, front to back: loops become blocks, accumulators become block parameters, and each
//! statement of a vector loop's body is written for groups of four lanes and, in the scalar tail, once more for one.
//! Invariant code is placed by its level as it is written (see `value.rs`), so there is no pass over the result.

use super::acc::Acc;
use super::loops::Vector;
use super::memory::{ARGS, Address};
use super::value::{Pos, Scope, Val};
use super::vector::Splat;
use super::wide::{self, Bytes};
use crate::loopnest::{LoopNest, Piece, Stmt, pieces, verify};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, MemFlagsData, Signature, StackSlotData,
    StackSlotKind, UserFuncName, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use std::collections::HashMap;
use tensorc_ir::error::err;
use tensorc_ir::scalar::{Fault, V};
use tensorc_ir::{DType, Result};

/// The helper that [`emit`]ted code calls for the remainder of two `f32`: `extern "C" fn(f32, f32) -> f32`, C's `fmodf`.
pub const FMODF: &str = "fmodf";
/// The helper that [`emit`]ted code calls for the remainder of two `f64`: `extern "C" fn(f64, f64) -> f64`, C's `fmod`.
pub const FMOD: &str = "fmod";

/// How the target converts `F32` lanes to 32-bit integers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IntLanes {
    /// By x86's own instruction.
    X86,
    /// By a saturating instruction.
    Saturating,
    /// Not.
    None,
}

/// The function being written. Its methods are spread over the files of this module.
pub(super) struct Emitter<'a> {
    pub(super) nest: &'a LoopNest,
    pub(super) func: Function,
    /// The block being written.
    pub(super) here: Block,
    pub(super) pos: Pos,
    pub(super) scopes: Vec<Scope>,
    pub(super) regs: Vec<Val>,
    /// The bits that a value of a half float was made from.
    pub(super) half_bits: HashMap<Value, (DType, Value)>,
    pub(super) accs: Vec<Option<Acc>>,
    /// The vector loop being written on lanes.
    pub(super) vector: Option<Vector>,
    /// The scope of the vector loop whose tail is being written.
    pub(super) tail: Option<usize>,
    pub(super) splats: Vec<Splat>,
    pub(super) addresses: Vec<Address>,
    pub(super) arguments: Vec<(usize, Value)>,
    helpers: Vec<(&'static str, FuncRef)>,
    /// The function's parameters.
    pub(super) args: Value,
    pub(super) begin: Value,
    pub(super) end: Value,
    pub(super) int_lanes: IntLanes,
    /// The function's name.
    pub(super) name: &'a str,
    /// Whether vector loops may have vectors of 512 bits.
    pub(super) wide: bool,
    /// Functions that it calls.
    pub(super) bytes: Vec<Bytes>,
    /// Whether one of them may store past the caches.
    pub(super) streams: bool,
}

/// The code of a loop nest.
pub struct Emitted {
    /// The function.
    pub function: Function,
    /// What it calls besides helpers of the host, by `ExternalName::testcase` of their names.
    pub bytes: Vec<Bytes>,
}

/// The Cranelift function of a loop nest, of type `extern "C" fn(args: *const u64, begin: u64, end: u64)`.
///
/// `args` points at one pointer for each buffer (to the element at index 0 of its accesses), then the run-time
/// parameters as `i64`, then a pointer to the `u64` error word: if it is 0, a failed check stores its fault's code; then
/// whether results are so large that they had better go past the caches (1, else 0).
/// `begin..end` is the range of the parallel loop; without one they are ignored. Integer division never traps and the
/// code has no other traps; indices are the loop nest's affair.
///
/// A remainder of floats calls the function named (`ExternalName::testcase`) [`FMODF`] or [`FMOD`]; nothing else is
/// called by name but [`Emitted::bytes`]. Cranelift's vectors are 128 bits wide; on x86 the ISA should have at least SSE4.1.
///
/// # Errors
/// What [`verify`](verify::verify) finds, or `unsupported` if pointers do not have 64 bits.
pub fn emit(nest: &LoopNest, isa: &dyn TargetIsa, name: &str) -> Result<Emitted> {
    verify::verify(nest)?;
    if isa.pointer_type() != types::I64 {
        return Err(err::unsupported("kernels need a 64-bit machine"));
    }
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(types::I64); 3];
    let mut func = Function::with_name_signature(UserFuncName::testcase(name), signature);
    let entry = func.dfg.make_block();
    func.layout.append_block(entry);
    let [args, begin, end] = [0; 3].map(|_| func.dfg.append_block_param(entry, types::I64));
    let mut e = Emitter {
        nest,
        func,
        here: entry,
        pos: Pos::Here,
        scopes: Vec::new(),
        regs: vec![Val::None; nest.regs.len()],
        half_bits: HashMap::new(),
        accs: Vec::new(),
        vector: None,
        tail: None,
        splats: Vec::new(),
        addresses: Vec::new(),
        arguments: Vec::new(),
        helpers: Vec::new(),
        args,
        begin,
        end,
        int_lanes: int_lanes(isa),
        name,
        wide: wide::available(isa),
        bytes: Vec::new(),
        streams: false,
    };
    let body = e.new_block();
    let anchor = e.jump(body, &[]);
    e.scopes.push(Scope { var: None, counter: args, anchor });
    e.switch_to(body);
    e.body(&nest.body)?;
    e.finish_streams();
    e.cur().ins().return_(&[]);
    Ok(Emitted { function: e.func, bytes: e.bytes })
}

/// Whether the target has a feature, by Cranelift's name for it.
pub(super) fn has(isa: &dyn TargetIsa, feature: &str) -> bool {
    isa.isa_flags().iter().any(|f| f.name == feature && f.as_bool() == Some(true))
}

fn int_lanes(isa: &dyn TargetIsa) -> IntLanes {
    match isa.name() {
        "x64" if has(isa, "has_sse41") => IntLanes::X86,
        "aarch64" => IntLanes::Saturating,
        _ => IntLanes::None,
    }
}

impl Emitter<'_> {
    /// Writes statements. Between loops all of one group's come before the next group's, so that few values are alive
    /// at a time.
    pub(super) fn body(&mut self, stmts: &[Stmt]) -> Result<()> {
        for piece in pieces(stmts) {
            match piece {
                Piece::Loop(l) => self.for_loop(l)?,
                Piece::Straight(run) => {
                    for g in 0..self.vector.as_ref().map_or(1, |v| v.groups) {
                        run.iter().try_for_each(|s| self.stmt(s, g))?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn stmt(&mut self, stmt: &Stmt, g: usize) -> Result<()> {
        match stmt {
            Stmt::Inst(v, inst) => self.inst(*v, *inst, g)?,
            Stmt::Index(v, affine) => self.index(*v, affine, g),
            Stmt::Load { dst, buf, at } => self.load(*dst, *buf, at, g),
            Stmt::Store { buf, at, value } => self.store(*buf, at, *value, g),
            Stmt::For(l) => self.for_loop(l)?,
            Stmt::Acc { acc, combine, reg, lanes } => self.acc(*acc, *combine, *reg, *lanes, g),
            Stmt::Update { acc, value, index } => self.update(*acc, *value, *index, g),
            Stmt::Read { dst, acc } => self.read(*dst, *acc, g),
        }
        Ok(())
    }

    /// The argument word that has the address of the error word.
    pub(super) fn error_word(&self) -> usize {
        self.nest.bufs.len() + self.nest.params as usize
    }

    /// The argument word that says whether results go past the caches.
    pub(super) fn streams_word(&self) -> usize {
        self.error_word() + 1
    }

    /// Stores that went past the caches are seen by other threads only behind a fence.
    fn finish_streams(&mut self) {
        if !self.streams {
            return;
        }
        let streams = self.argument(self.streams_word());
        let (fence, end) = (self.new_block(), self.new_block());
        self.branch(streams, (fence, &[]), (end, &[]));
        self.switch_to(fence);
        self.cur().ins().fence();
        self.jump(end, &[]);
        self.switch_to(end);
    }

    /// Records `fault` if `c` is true in some lane.
    pub(super) fn check(&mut self, fault: Fault, c: V, g: usize) {
        let any = if self.varies(c) {
            let mask = self.group(c, g);
            let mut all = mask[0];
            for m in &mask[1..] {
                all = self.cur().ins().bor(all, *m);
            }
            self.cur().ins().vany_true(all)
        } else {
            self.scalar(c)
        };
        let (failed, next) = (self.new_block(), self.new_block());
        self.func.layout.set_cold(failed);
        self.branch(any, (failed, &[]), (next, &[]));
        self.switch_to(failed);
        // Loaded here and not at the start: it is cold.
        let offset = self.error_word() * 8;
        let args = self.args;
        let word = self.cur().ins().load(types::I64, ARGS, args, i32::try_from(offset).unwrap_or(i32::MAX));
        let old = self.cur().ins().load(types::I64, MemFlagsData::trusted(), word, 0);
        let first = self.cur().ins().icmp_imm_s(IntCC::Equal, old, 0);
        let code = self.constant(types::I64, u64::from(fault.code()));
        let new = self.cur().ins().select(first, code, old);
        self.cur().ins().store(MemFlagsData::trusted(), new, word, 0);
        self.jump(next, &[]);
        self.switch_to(next);
    }

    /// A function of the host of type `fn(ty, ty) -> ty`.
    pub(super) fn helper(&mut self, name: &'static str, ty: types::Type) -> FuncRef {
        if let Some((_, f)) = self.helpers.iter().find(|(n, _)| *n == name) {
            return *f;
        }
        let f = self.import(name, &[ty; 2], &[ty]);
        self.helpers.push((name, f));
        f
    }

    /// A function of that name, with parameters and results of these types.
    pub(super) fn import(&mut self, name: &str, params: &[types::Type], returns: &[types::Type]) -> FuncRef {
        let mut signature = Signature::new(self.func.signature.call_conv);
        signature.params = params.iter().copied().map(AbiParam::new).collect();
        signature.returns = returns.iter().copied().map(AbiParam::new).collect();
        let signature = self.func.import_signature(signature);
        let name = ExternalName::testcase(name);
        self.func.import_function(ExtFuncData { name, signature, colocated: false, patchable: false })
    }

    /// The address of new memory on the stack, made at the function's start.
    pub(super) fn stack(&mut self, bytes: u32, align_shift: u8) -> Value {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, align_shift);
        let slot = self.func.create_sized_stack_slot(slot);
        let anchor = self.scopes[0].anchor;
        self.at(Pos::Before(anchor), |e| e.cur().ins().stack_addr(types::I64, slot, 0))
    }
}

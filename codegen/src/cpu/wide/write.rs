//! The bytes of a vector loop: `extern "C" fn(frame, first, end)`.
//!
//! ```text
//!   pointers, accumulators and invariants into registers
//!   if results go past the caches: one group under a mask, up to where a cache line of the first result begins
//!   while first <= end - width:  all groups; first += width
//!   while first < end:           one group under the mask of min(16, end - first) lanes; first += 16
//!   accumulators back
//! ```
//!
//! The iteration is in a register that all accesses with stride 1 add, scaled, to their pointers.

use super::alloc::{Numbers, Placed, register};
use super::body::{Body, GROUP};
use super::encode::{address, at_frame};
use super::inst::UNORDERED;
use super::legal::load;
use super::machine::{Base, Count, Def, Inner, Mem, Node, Op, Width};
use crate::cpu::asm::{Asm, Label, Masked, Operand};
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};
use std::collections::HashMap;
use tensorc_ir::scalar::Reg;

pub(super) const FRAME: Register = Register::RDI;
pub(super) const I: Register = Register::RSI;
const END: Register = Register::RDX;
/// The last iteration at which all groups have theirs, plus one.
const LIMIT: Register = Register::RCX;
pub(super) const SCRATCH: Register = Register::RAX;
/// Loops start at a multiple of so many bytes: what is fetched at once.
pub(super) const LINE: usize = 32;
/// What is left for pointers and counters: first those that are the callee's to change.
const GENERAL: [Register; 10] = [
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::RBX,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
    Register::RBP,
];
const FREE: usize = 4;

/// A body with its registers.
pub(super) struct Part<'a> {
    pub(super) body: Body<'a>,
    pub(super) placed: Placed,
}

/// The two bodies of a function.
pub(super) struct Function<'a> {
    /// All groups, and how many.
    pub(super) main: Part<'a>,
    pub(super) groups: usize,
    /// One group under a mask.
    pub(super) rest: Option<Part<'a>>,
    /// The machine registers of accumulators from outside, in order.
    pub(super) outer: Vec<Vec<u8>>,
    /// The byte of the frame that says whether large results go past the caches, if there are such; behind it is room for
    /// one number.
    pub(super) streams: Option<i32>,
}

impl<'a> Function<'a> {
    fn parts(&self) -> impl Iterator<Item = &Part<'a>> {
        std::iter::once(&self.main).chain(&self.rest)
    }
}

/// What the general registers hold.
pub(super) struct General {
    pub(super) pointers: HashMap<Base, Register>,
    pub(super) counters: HashMap<usize, Register>,
    /// Those that have to be as they were at the end.
    saved: Vec<Register>,
}

impl General {
    /// `None` if what inner loops move and count does not fit.
    fn of(f: &Function<'_>) -> Option<General> {
        let spills = f.parts().any(|p| p.placed.spilled > 0 || p.body.own > 0);
        let general = &GENERAL[..GENERAL.len() - spills as usize];
        let moving = f.parts().map(|p| p.body.moving).max().unwrap_or(0);
        let loops = f.parts().map(|p| p.body.loops).max().unwrap_or(0);
        let mut free = general.iter().copied();
        let mut g = General { pointers: HashMap::new(), counters: HashMap::new(), saved: Vec::new() };
        for n in 0..moving {
            g.pointers.insert(Base::Moving(n), free.next()?);
        }
        for n in 0..loops {
            g.counters.insert(n, free.next()?);
        }
        for node in f.parts().flat_map(|p| &p.placed.nodes) {
            let Node::Op(Op { mem: Some(Mem::Lanes(base, ..) | Mem::One(base, _) | Mem::Each(base, ..)), .. }) = node
            else {
                continue;
            };
            if !matches!(base, Base::Own(_))
                && !g.pointers.contains_key(base)
                && let Some(r) = free.next()
            {
                g.pointers.insert(*base, r);
            }
        }
        let used = general.len() - free.count();
        g.saved = general[FREE.min(used)..used].to_vec();
        if spills {
            g.saved.push(Register::RBP);
        }
        Some(g)
    }
}

/// A function being written.
pub(super) struct Writer<'a> {
    pub(super) asm: Asm,
    pub(super) general: &'a General,
    /// Code for faults, behind everything else: where it starts, its way back, the frame's byte and the code.
    pub(super) cold: Vec<(Label, Label, i32, u64)>,
    /// Inner loops that are open: their start, their end and themselves.
    pub(super) open: Vec<(Label, Label, Inner)>,
    /// Whether stores go past the caches.
    pub(super) streams: bool,
    /// The byte of the function's own memory from which on there is what had no register.
    pub(super) spilled: i32,
}

/// The bytes of `f`; `None` if it needs more registers than there are.
pub(super) fn write(asm: Asm, f: &Function<'_>) -> Result<Option<Vec<u8>>, IcedError> {
    let Some(general) = General::of(f) else { return Ok(None) };
    let mut w = Writer { asm, general: &general, cold: Vec::new(), open: Vec::new(), streams: false, spilled: 0 };
    w.function(f)?;
    Ok(Some(w.asm.finish()))
}

impl Writer<'_> {
    pub(super) fn two(&mut self, code: Code, a: Register, b: Register) -> Result<(), IcedError> {
        self.asm.put(Instruction::with2(code, a, b)?)
    }

    pub(super) fn read(&mut self, to: Register, byte: i32) -> Result<(), IcedError> {
        self.asm.put(Instruction::with2(Code::Mov_r64_rm64, to, at_frame(byte))?)
    }

    /// Lets a register be a number.
    pub(super) fn set(&mut self, to: Register, number: Count) -> Result<(), IcedError> {
        match number {
            Count::Known(n) => self.asm.put(Instruction::with2(Code::Mov_rm64_imm32, to, n as i32)?),
            Count::Frame(byte) => self.read(to, byte),
        }
    }

    /// Adds a number to a register.
    pub(super) fn add(&mut self, to: Register, number: Count) -> Result<(), IcedError> {
        match number {
            Count::Known(n) => self.asm.put(Instruction::with2(Code::Add_rm64_imm32, to, n as i32)?),
            Count::Frame(byte) => self.asm.put(Instruction::with2(Code::Add_r64_rm64, to, at_frame(byte))?),
        }
    }

    fn function(&mut self, f: &Function<'_>) -> Result<(), IcedError> {
        for r in &self.general.saved {
            self.asm.put(Instruction::with1(Code::Push_r64, *r)?)?;
        }
        self.spilled = f.parts().map(|p| p.body.own).max().unwrap_or(0);
        let memory = self.spilled + 64 * f.parts().map(|p| p.placed.spilled as i32).max().unwrap_or(0);
        let spilled = memory > 0;
        if spilled {
            self.two(Code::Mov_r64_rm64, Register::RBP, Register::RSP)?;
            self.asm.put(Instruction::with2(Code::Sub_rm64_imm32, Register::RSP, memory)?)?;
            self.asm.put(Instruction::with2(Code::And_rm64_imm8, Register::RSP, -64i32)?)?;
        }
        let mut pointers: Vec<(i32, Register)> = Vec::new();
        for (base, r) in &self.general.pointers {
            if let Base::Frame(byte) = base {
                pointers.push((*byte, *r));
            }
        }
        pointers.sort_unstable_by_key(|p| p.0);
        for (byte, r) in pointers {
            self.read(r, byte)?;
        }
        self.accumulators(f, true)?;
        let done = self.asm.label();
        let (rest, again, peel) = (self.asm.label(), self.asm.here(), self.asm.label());
        // A group at the start would shift the lanes of accumulators.
        let saved = f.streams.filter(|_| f.rest.is_some() && f.outer.is_empty()).map(|byte| byte + 8);
        let (main, width) = (&f.main, (f.groups * GROUP) as i32);
        let limit = MemoryOperand::with_base_displ(END, i64::from(1 - width));
        self.asm.put(Instruction::with2(Code::Lea_r64_m, LIMIT, limit)?)?;
        self.two(Code::Cmp_r64_rm64, I, LIMIT)?;
        self.asm.jump(Code::Jge_rel32_64, rest)?;
        self.before(main)?;
        let ordinary = self.asm.label();
        if let Some(byte) = f.streams {
            self.asm.put(Instruction::with2(Code::Cmp_rm64_imm8, at_frame(byte), 0)?)?;
            self.asm.jump(Code::Je_rel32_64, ordinary)?;
            if let Some(saved) = saved {
                self.peel(main, saved, peel, ordinary)?;
            }
            self.check_streams(main, ordinary)?;
            self.streams = true;
            self.turns(main, width)?;
            self.streams = false;
            self.asm.jump(Code::Jmp_rel32_64, rest)?;
        }
        self.asm.place(ordinary);
        self.turns(main, width)?;
        self.asm.place(rest);
        if let Some(part) = &f.rest {
            self.two(Code::Cmp_r64_rm64, I, END)?;
            self.asm.jump(Code::Jge_rel32_64, done)?;
            self.asm.place(peel);
            self.before(part)?;
            let turn = self.asm.here();
            self.tail(part)?;
            self.nodes(&part.placed)?;
            self.asm.put(Instruction::with2(Code::Add_rm64_imm32, I, GROUP as i32)?)?;
            self.two(Code::Cmp_r64_rm64, I, END)?;
            self.asm.jump(Code::Jl_rel32_64, turn)?;
            if let Some(saved) = saved {
                // It was the group at the start: what follows is the loop proper.
                self.asm.put(Instruction::with2(Code::Cmp_rm64_imm8, at_frame(saved), 0)?)?;
                self.asm.jump(Code::Je_rel32_64, done)?;
                self.two(Code::Mov_r64_rm64, I, END)?;
                self.read(END, saved)?;
                self.asm.put(Instruction::with2(Code::Mov_rm64_imm32, at_frame(saved), 0)?)?;
                self.asm.jump(Code::Jmp_rel32_64, again)?;
            }
        }
        self.asm.place(done);
        self.accumulators(f, false)?;
        self.asm.put(Instruction::with(Code::VEX_Vzeroupper))?;
        if spilled {
            self.two(Code::Mov_r64_rm64, Register::RSP, Register::RBP)?;
        }
        for r in self.general.saved.iter().rev() {
            self.asm.put(Instruction::with1(Code::Pop_r64, *r)?)?;
        }
        self.asm.put(Instruction::with(Code::Retnq))?;
        for (start, back, byte, code) in std::mem::take(&mut self.cold) {
            self.asm.place(start);
            self.read(SCRATCH, byte)?;
            let word = MemoryOperand::with_base(SCRATCH);
            self.asm.put(Instruction::with2(Code::Cmp_rm64_imm8, word, 0)?)?;
            // The first fault stays.
            self.asm.jump(Code::Jne_rel32_64, back)?;
            self.asm.put(Instruction::with2(Code::Mov_rm64_imm32, word, code as i32)?)?;
            self.asm.jump(Code::Jmp_rel32_64, back)?;
        }
        Ok(())
    }

    /// The main loop, whose first turn is known to be whole.
    fn turns(&mut self, part: &Part<'_>, width: i32) -> Result<(), IcedError> {
        self.asm.align(LINE)?;
        let turn = self.asm.here();
        self.nodes(&part.placed)?;
        self.asm.put(Instruction::with2(Code::Add_rm64_imm32, I, width)?)?;
        self.two(Code::Cmp_r64_rm64, I, LIMIT)?;
        self.asm.jump(Code::Jl_rel32_64, turn)
    }

    /// Goes on to `peel` with an end of its own if the first result's next cache line begins at a later iteration.
    fn peel(&mut self, part: &Part<'_>, saved: i32, peel: Label, ordinary: Label) -> Result<(), IcedError> {
        let store = |node: &Node| match node {
            Node::Op(Op { streams: true, mem: Some(Mem::Lanes(base @ Base::Frame(_), size, offset)), .. }) => {
                Some((*base, *size, *offset))
            }
            _ => None,
        };
        let Some((base, size, offset)) = part.placed.nodes.iter().find_map(store) else { return Ok(()) };
        let aligned = self.asm.label();
        let base = self.pointer(base)?;
        self.asm.put(Instruction::with2(Code::Lea_r64_m, SCRATCH, address(base, I, size, offset))?)?;
        self.asm.put(Instruction::with1(Code::Neg_rm64, SCRATCH)?)?;
        self.asm.put(Instruction::with2(Code::And_rm64_imm8, SCRATCH, 63)?)?;
        self.asm.jump(Code::Je_rel32_64, aligned)?;
        // An element across two lines.
        self.asm.put(Instruction::with2(Code::Test_AL_imm8, Register::AL, size as i32 - 1)?)?;
        self.asm.jump(Code::Jne_rel32_64, ordinary)?;
        self.asm.put(Instruction::with2(Code::Shr_rm64_imm8, SCRATCH, size.trailing_zeros() as i32)?)?;
        self.asm.put(Instruction::with2(Code::Mov_rm64_r64, at_frame(saved), END)?)?;
        let end = MemoryOperand::with_base_index(I, SCRATCH);
        self.asm.put(Instruction::with2(Code::Lea_r64_m, END, end)?)?;
        self.asm.jump(Code::Jmp_rel32_64, peel)?;
        self.asm.place(aligned);
        Ok(())
    }

    /// Goes on to `ordinary` unless all stores past the caches go to whole cache lines.
    fn check_streams(&mut self, part: &Part<'_>, ordinary: Label) -> Result<(), IcedError> {
        let inner = |node: &Node| match node {
            Node::Begin(inner) => inner.moving.clone(),
            _ => Vec::new(),
        };
        let moving: HashMap<usize, (Base, Count)> =
            part.placed.nodes.iter().flat_map(inner).map(|(n, from, step)| (n, (from, step))).collect();
        for node in &part.placed.nodes {
            let Node::Op(Op { streams: true, mem: Some(Mem::Lanes(base, size, offset)), .. }) = node else { continue };
            let mut base = *base;
            // Wherever inner loops move to is where a line begins.
            while let Base::Moving(n) = base {
                let Some((from, step)) = moving.get(&n) else { break };
                self.set(SCRATCH, *step)?;
                self.asm.put(Instruction::with2(Code::Test_AL_imm8, Register::AL, 63)?)?;
                self.asm.jump(Code::Jne_rel32_64, ordinary)?;
                base = *from;
            }
            let base = self.pointer(base)?;
            self.asm.put(Instruction::with2(Code::Lea_r64_m, SCRATCH, address(base, I, *size, *offset))?)?;
            self.asm.put(Instruction::with2(Code::Test_AL_imm8, Register::AL, 63)?)?;
            self.asm.jump(Code::Jne_rel32_64, ordinary)?;
        }
        Ok(())
    }

    /// Loads or stores the accumulators from outside. A truth value has lanes of 32 bits in memory, of ones or zeros.
    fn accumulators(&mut self, f: &Function<'_>, begin: bool) -> Result<(), IcedError> {
        for (o, numbers) in f.main.body.outer.iter().zip(&f.outer) {
            // A NaN that was met comes last.
            let (values, nans) = (o.pair.value.len(), o.pair.nan.len());
            for (value, nan) in numbers.iter().zip(&numbers[numbers.len() - nans..]).take(values.min(nans)) {
                let [value, nan] = [value, nan].map(|n| register(Width::Z, *n));
                if begin {
                    self.asm.put(Instruction::with3(Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, nan, nan, nan)?)?;
                    continue;
                }
                let double = o.reg == Reg::F64;
                let (compare, set) = match double {
                    true => (Code::EVEX_Vcmppd_kr_k1_zmm_zmmm512b64_imm8_sae, Code::EVEX_Vmovupd_zmm_k1z_zmmm512),
                    false => (Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae, Code::EVEX_Vmovups_zmm_k1z_zmmm512),
                };
                // The mask of the rest has no more use.
                let mask = register(Width::K, TAIL[0]);
                let [k, to, from] = [mask, value, nan].map(Operand::Register);
                self.asm.vector(compare, &[k, from, from, Operand::Imm(UNORDERED)], Masked::default())?;
                self.asm.vector(set, &[to, from], Masked { mask: Some(mask), ..Masked::default() })?;
            }
            let values = o.pair.value.iter().enumerate().map(|(i, r)| (0, i, *r));
            let indices = o.pair.index.iter().enumerate().map(|(i, r)| (1, i, *r));
            for ((which, i, r), n) in values.chain(indices).zip(numbers) {
                if let Some(start) = o.start.filter(|_| begin) {
                    if let Def::Invariant(place, form) = f.main.body.infos[start[which].0 as usize].def {
                        self.op(&load(r, place, form), &Numbers::from_slice(&[(r, *n)]))?;
                    }
                    continue;
                }
                self.read(SCRATCH, o.lanes[which])?;
                let at = MemoryOperand::with_base_displ(SCRATCH, 64 * i as i64);
                let mask = o.reg == Reg::Bool && which == 0;
                let r = register(Width::Z, if mask { 0 } else { *n });
                let k = register(Width::K, *n);
                if begin {
                    self.asm.put(Instruction::with2(Code::EVEX_Vmovups_zmm_k1z_zmmm512, r, at)?)?;
                    if mask {
                        self.asm.put(Instruction::with3(Code::EVEX_Vptestmd_kr_k1_zmm_zmmm512b32, k, r, r)?)?;
                    }
                } else {
                    if mask {
                        self.two(Code::EVEX_Vpmovm2d_zmm_kr, r, k)?;
                    }
                    self.asm.put(Instruction::with2(Code::EVEX_Vmovups_zmmm512_k1z_zmm, at, r)?)?;
                }
            }
        }
        Ok(())
    }

    fn before(&mut self, part: &Part<'_>) -> Result<(), IcedError> {
        part.placed.before.iter().try_for_each(|(op, n)| {
            let numbers = op.dst.iter().map(|(r, _)| (*r, *n)).collect();
            self.op(op, &numbers)
        })
    }

    /// The masks of the lanes that have an iteration.
    fn tail(&mut self, part: &Part<'_>) -> Result<(), IcedError> {
        if part.body.tail.is_none() {
            return Ok(());
        }
        self.two(Code::Mov_r64_rm64, SCRATCH, END)?;
        self.two(Code::Sub_r64_rm64, SCRATCH, I)?;
        self.asm.put(Instruction::with2(Code::Mov_r32_imm32, Register::ECX, -1i32)?)?;
        // Counts beyond the register leave all ones; they are below 256, of which the instruction takes no more notice.
        let (count, ones) = (Register::EAX, Register::ECX);
        self.asm.put(Instruction::with3(Code::VEX_Bzhi_r32_rm32_r32, ones, ones, count)?)?;
        let [all, high] = TAIL.map(|n| register(Width::K, n));
        self.two(Code::VEX_Kmovw_kr_r32, all, ones)?;
        self.asm.put(Instruction::with3(Code::VEX_Kshiftrw_kr_kr_imm8, high, all, 8)?)
    }

    fn nodes(&mut self, placed: &Placed) -> Result<(), IcedError> {
        placed.nodes.iter().zip(&placed.numbers).try_for_each(|(node, numbers)| self.node(node, numbers))
    }
}

/// Where the masks of the rest are.
pub(super) const TAIL: [u8; 2] = [7, 6];

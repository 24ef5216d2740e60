//! One node as the bytes of its instructions.

use super::alloc::{Numbers, register};
use super::legal::operands;
use super::machine::{Base, Count, Inner, Mem, Node, Op, Place, R, Width};
use super::write::{FRAME, I, LINE, SCRATCH, Writer};
use crate::cpu::asm::{Masked, Operand};
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

/// The machine register of `r`.
fn of(numbers: &Numbers, r: R) -> u8 {
    numbers.iter().find(|(v, _)| *v == r).map_or(0, |(_, n)| *n)
}

pub(super) fn at_frame(byte: i32) -> MemoryOperand {
    MemoryOperand::with_base_displ(FRAME, i64::from(byte))
}

impl Writer<'_> {
    pub(super) fn node(&mut self, node: &Node, numbers: &Numbers) -> Result<(), IcedError> {
        let dst = || operands(node).1.map_or(0, |r| of(numbers, r));
        match node {
            Node::Op(op) => self.op(op, numbers),
            Node::Zero(_) => {
                let r = register(Width::Z, dst());
                self.asm.put(Instruction::with3(Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, r, r, r)?)
            }
            Node::Turn(_) => self.two(Code::EVEX_Vpbroadcastq_zmm_k1z_r64, register(Width::Z, dst()), I),
            Node::Counter(_, number) => {
                let counter = self.counter(*number);
                self.two(Code::EVEX_Vpbroadcastq_zmm_k1z_r64, register(Width::Z, dst()), counter)
            }
            Node::Fault { lanes, code, word } => {
                let lanes = register(Width::K, of(numbers, *lanes));
                let start = self.asm.label();
                self.two(Code::VEX_Kortestw_kr_kr, lanes, lanes)?;
                self.asm.jump(Code::Jne_rel32_64, start)?;
                let back = self.asm.here();
                self.cold.push((start, back, *word, *code));
                Ok(())
            }
            // `legal` leaves none.
            Node::Fma { .. } => Ok(()),
            Node::Point(base, offset, step) => {
                self.set(SCRATCH, *step)?;
                self.two(Code::Imul_r64_rm64, SCRATCH, I)?;
                match (base, self.general.pointers.get(base)) {
                    (_, Some(base)) => self.two(Code::Add_r64_rm64, SCRATCH, *base)?,
                    (Base::Frame(byte), None) => {
                        self.asm.put(Instruction::with2(Code::Add_r64_rm64, SCRATCH, at_frame(*byte))?)?;
                    }
                    (Base::Moving(_) | Base::Own(_), None) => {}
                }
                self.asm.put(Instruction::with2(Code::Add_rm64_imm32, SCRATCH, *offset)?)
            }
            Node::Move(step) => self.add(SCRATCH, *step),
            Node::Ahead(number, step, steps) => {
                let pointer = self.pointer(Base::Moving(*number))?;
                self.set(pointer, *step)?;
                self.asm.put(Instruction::with3(Code::Imul_r64_rm64_imm32, pointer, pointer, *steps)?)?;
                self.two(Code::Add_r64_rm64, pointer, SCRATCH)
            }
            Node::Prefetch(number, step) => {
                let pointer = self.pointer(Base::Moving(*number))?;
                self.asm.put(Instruction::with1(Code::Prefetcht0_m8, MemoryOperand::with_base(pointer))?)?;
                self.add(pointer, *step)
            }
            Node::Upto(_, count) => {
                let low = Register::EAX;
                match count {
                    Count::Known(n) => self.asm.put(Instruction::with2(Code::Mov_r32_imm32, low, *n as i32)?)?,
                    Count::Frame(byte) => {
                        // None, if there are less than none.
                        self.asm.put(Instruction::with2(Code::Mov_r32_rm32, low, at_frame(*byte))?)?;
                        let some = self.asm.label();
                        self.asm.put(Instruction::with2(Code::Cmp_rm64_imm8, at_frame(*byte), 0)?)?;
                        self.asm.jump(Code::Jge_rel32_64, some)?;
                        self.asm.put(Instruction::with2(Code::Mov_r32_imm32, low, 0)?)?;
                        self.asm.place(some);
                    }
                }
                let ones = Operand::Pool(self.asm.constant(&[0xff; 4]));
                let low_of = [Operand::Register(low), ones, Operand::Register(low)];
                self.asm.vector(Code::VEX_Bzhi_r32_rm32_r32, &low_of, Masked::default())?;
                self.two(Code::VEX_Kmovw_kr_r32, register(Width::K, dst()), low)
            }
            Node::Begin(inner) => self.begin(inner),
            Node::End => self.end(),
        }
    }

    pub(super) fn pointer(&mut self, base: Base) -> Result<Register, IcedError> {
        if let Some(r) = self.general.pointers.get(&base) {
            return Ok(*r);
        }
        if let Base::Frame(byte) = base {
            self.read(SCRATCH, byte)?;
        }
        Ok(SCRATCH)
    }

    /// The counter of an inner loop.
    fn counter(&self, number: usize) -> Register {
        self.general.counters.get(&number).copied().unwrap_or(SCRATCH)
    }

    pub(super) fn begin(&mut self, inner: &Inner) -> Result<(), IcedError> {
        for (number, from, _) in &inner.moving {
            let to = self.pointer(Base::Moving(*number))?;
            match (from, self.general.pointers.get(from)) {
                (_, Some(from)) => self.two(Code::Mov_r64_rm64, to, *from)?,
                (Base::Frame(byte), None) => self.read(to, *byte)?,
                (Base::Own(byte), None) => {
                    let own = MemoryOperand::with_base_displ(Register::RSP, i64::from(*byte));
                    self.asm.put(Instruction::with2(Code::Lea_r64_m, to, own)?)?;
                }
                (Base::Moving(_), None) => {}
            }
        }
        if let (Some((outer, step, total)), Count::Frame(room)) = (inner.block, inner.count) {
            // min(step, total - outer * step)
            let outer = self.counter(outer);
            self.read(SCRATCH, step)?;
            self.two(Code::Imul_r64_rm64, SCRATCH, outer)?;
            self.asm.put(Instruction::with1(Code::Neg_rm64, SCRATCH)?)?;
            self.asm.put(Instruction::with2(Code::Add_r64_rm64, SCRATCH, at_frame(total))?)?;
            self.asm.put(Instruction::with2(Code::Cmp_r64_rm64, SCRATCH, at_frame(step))?)?;
            self.asm.put(Instruction::with2(Code::Cmovg_r64_rm64, SCRATCH, at_frame(step))?)?;
            self.asm.put(Instruction::with2(Code::Mov_rm64_r64, at_frame(room), SCRATCH)?)?;
        }
        let counter = self.counter(inner.number);
        let (start, end) = (self.asm.label(), self.asm.label());
        self.asm.put(Instruction::with2(Code::Mov_rm64_imm32, counter, 0)?)?;
        if let Count::Frame(byte) = inner.count {
            self.asm.put(Instruction::with2(Code::Cmp_r64_rm64, counter, at_frame(byte))?)?;
            self.asm.jump(Code::Jge_rel32_64, end)?;
        }
        self.asm.align(LINE)?;
        self.asm.place(start);
        self.open.push((start, end, inner.clone()));
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), IcedError> {
        let Some((start, end, inner)) = self.open.pop() else { return Ok(()) };
        for (number, _, step) in &inner.moving {
            let pointer = self.pointer(Base::Moving(*number))?;
            self.add(pointer, *step)?;
        }
        let counter = self.counter(inner.number);
        self.asm.put(Instruction::with2(Code::Add_rm64_imm8, counter, 1)?)?;
        match inner.count {
            Count::Frame(byte) => {
                self.asm.put(Instruction::with2(Code::Cmp_r64_rm64, counter, at_frame(byte))?)?;
            }
            Count::Known(n) => {
                self.asm.put(Instruction::with2(Code::Cmp_rm64_imm32, counter, n as i32)?)?;
            }
        }
        self.asm.jump(Code::Jl_rel32_64, start)?;
        self.asm.place(end);
        Ok(())
    }

    pub(super) fn op(&mut self, op: &Op, numbers: &Numbers) -> Result<(), IcedError> {
        let number = |r: &R| of(numbers, *r);
        let at = |r: &(R, Width)| Operand::Register(register(r.1, number(&r.0)));
        let mem = match op.mem {
            None => None,
            Some(Mem::Lanes(base, size, offset)) => {
                let base = self.pointer(base)?;
                Some(Operand::Memory(address(base, I, size, offset)))
            }
            Some(Mem::One(Base::Own(byte), offset)) => {
                Some(Operand::Memory(MemoryOperand::with_base_displ(Register::RSP, i64::from(byte + offset))))
            }
            Some(Mem::Pointed) => Some(Operand::Memory(MemoryOperand::with_base(SCRATCH))),
            Some(Mem::One(base, offset)) => {
                let base = self.pointer(base)?;
                Some(Operand::Memory(MemoryOperand::with_base_displ(base, i64::from(offset))))
            }
            Some(Mem::Each(base, index, size, offset)) => {
                let base = self.pointer(base)?;
                Some(Operand::Memory(address(base, register(Width::Z, number(&index)), size, offset)))
            }
            Some(Mem::At(Place::Pool(n))) => Some(Operand::Pool(n)),
            Some(Mem::At(Place::Frame(byte))) => Some(Operand::Memory(at_frame(byte))),
            Some(Mem::Spilled(n)) => Some(Operand::Memory(MemoryOperand::with_base_displ(
                Register::RSP,
                i64::from(self.spilled) + 64 * n as i64,
            ))),
        };
        let mut all: Vec<Operand> = op.dst.iter().map(&at).collect();
        if op.dst.is_none() {
            all.extend(mem);
        }
        all.extend(op.args.iter().map(&at));
        if op.dst.is_some() {
            all.extend(mem);
        }
        all.extend(op.imm.map(Operand::Imm));
        let mask = op.mask.as_ref().map(|r| register(Width::K, number(r)));
        let code = if self.streams && op.streams { Code::EVEX_Vmovntps_m512_zmm } else { op.code };
        self.asm.vector(code, &all, Masked { mask, zero: op.zero, splat: op.one })
    }
}

pub(super) fn address(base: Register, index: Register, size: u32, offset: i32) -> MemoryOperand {
    MemoryOperand::with_base_index_scale_displ_size(base, index, size, i64::from(offset), 1)
}

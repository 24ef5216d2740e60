//! Machine code of x86, instruction by instruction: jumps to labels, and constants behind the code.
//!
//! Cranelift knows no vectors wider than 128 bits. What needs them is written here, as functions of their own that only use
//! what their arguments point to, so that their bytes run wherever they are placed.

use iced_x86::{Code, Encoder, IcedError, Instruction, MemoryOperand, OpKind, Register};

/// A place in the code that jumps go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// An operand of an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    /// A register.
    Register(Register),
    /// Memory.
    Memory(MemoryOperand),
    /// The constant at that place of the pool.
    Pool(usize),
    /// A number of eight bits.
    Imm(u8),
}

/// What a vector instruction of AVX-512 does with the lanes of its result.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Masked {
    /// The lanes that are written.
    pub(super) mask: Option<Register>,
    /// Whether the others become 0; otherwise they stay.
    pub(super) zero: bool,
    /// Whether the operand in memory is one element, for all lanes.
    pub(super) splat: bool,
}

/// A function being written.
pub(super) struct Asm {
    out: Encoder,
    len: usize,
    labels: Vec<Option<usize>>,
    /// The places behind jumps, whose last four bytes count from there, and where they go.
    jumps: Vec<(usize, Label)>,
    pool: Vec<u8>,
    /// The four bytes that lead to a constant, where the instruction that has them ends, and the place in the pool.
    uses: Vec<(usize, usize, usize)>,
}

/// Bytes of the longest instruction that does nothing, as it is written here.
const LONG_NOP: usize = 8;

/// Constants are aligned to this.
const POOL: usize = 64;

impl Asm {
    pub(super) fn new() -> Asm {
        Asm { out: Encoder::new(64), len: 0, labels: Vec::new(), jumps: Vec::new(), pool: Vec::new(), uses: Vec::new() }
    }

    /// Writes an instruction.
    pub(super) fn put(&mut self, instruction: Instruction) -> Result<(), IcedError> {
        self.len += self.out.encode(&instruction, self.len as u64)?;
        Ok(())
    }

    /// Writes an instruction of a code that has these operands.
    pub(super) fn vector(&mut self, code: Code, operands: &[Operand], masked: Masked) -> Result<(), IcedError> {
        let mut i = Instruction::default();
        i.set_code(code);
        let (mut constant, mut number) = (None, 0);
        for (n, operand) in (0u32..).zip(operands) {
            match *operand {
                Operand::Register(r) => {
                    i.set_op_kind(n, OpKind::Register);
                    i.set_op_register(n, r);
                }
                Operand::Memory(m) => {
                    i.set_op_kind(n, OpKind::Memory);
                    i.set_memory_base(m.base);
                    i.set_memory_index(m.index);
                    i.set_memory_index_scale(m.scale);
                    i.set_memory_displ_size(m.displ_size);
                    i.set_memory_displacement64(m.displacement as u64);
                }
                Operand::Pool(at) => {
                    i.set_op_kind(n, OpKind::Memory);
                    i.set_memory_base(Register::RIP);
                    i.set_memory_displ_size(8);
                    i.set_memory_displacement64(self.len as u64);
                    constant = Some(at);
                }
                Operand::Imm(x) => {
                    i.set_op_kind(n, OpKind::Immediate8);
                    i.set_immediate8(x);
                    number = 1;
                }
            }
        }
        if let Some(mask) = masked.mask {
            i.set_op_mask(mask);
            i.set_zeroing_masking(masked.zero);
        }
        i.set_is_broadcast(masked.splat);
        self.put(i)?;
        if let Some(at) = constant {
            self.uses.push((self.len - number - 4, self.len, at));
        }
        Ok(())
    }

    /// Fills up to a multiple of so many bytes, where a loop is to start.
    pub(super) fn align(&mut self, to: usize) -> Result<(), IcedError> {
        let end = self.len.next_multiple_of(to);
        while end - self.len >= LONG_NOP {
            let (base, index) = (Register::RAX, Register::RAX);
            let at = MemoryOperand::new(base, index, 1, 0, 8, false, Register::None);
            self.put(Instruction::with1(Code::Nop_rm32, at)?)?;
        }
        while self.len < end {
            self.put(Instruction::with(Code::Nopd))?;
        }
        Ok(())
    }

    /// A place to be put later.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts a label here.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.len);
    }

    /// A label put here.
    pub(super) fn here(&mut self) -> Label {
        let label = self.label();
        self.place(label);
        label
    }

    /// A jump, by the code of its form with 32 bits.
    pub(super) fn jump(&mut self, code: Code, to: Label) -> Result<(), IcedError> {
        // The encoder shortens nothing, so the last four bytes are the way.
        self.put(Instruction::with_branch(code, self.len as u64)?)?;
        self.jumps.push((self.len, to));
        Ok(())
    }

    /// The place of a constant, of a power of two of bytes up to 64.
    pub(super) fn constant(&mut self, bytes: &[u8]) -> usize {
        let found = self.pool.chunks_exact(bytes.len()).position(|c| c == bytes);
        let at = found.map_or(self.pool.len().next_multiple_of(bytes.len()), |n| n * bytes.len());
        if found.is_none() {
            self.pool.resize(at, 0);
            self.pool.extend_from_slice(bytes);
        }
        at
    }

    /// The code, then the constants.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let mut code = self.out.take_buffer();
        let mut patch = |from: usize, at: usize, to: usize| {
            let way = to as i64 - from as i64;
            code[at..at + 4].copy_from_slice(&(way as i32).to_le_bytes());
        };
        for (from, label) in &self.jumps {
            if let Some(to) = self.labels[label.0] {
                patch(*from, from - 4, to);
            }
        }
        let pool = self.len.next_multiple_of(POOL);
        for (at, end, constant) in &self.uses {
            patch(*end, *at, pool + constant);
        }
        if !self.pool.is_empty() {
            code.resize(pool, 0xcc);
            code.extend_from_slice(&self.pool);
        }
        code
    }
}

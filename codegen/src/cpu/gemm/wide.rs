//! The tile on x86 with vectors of 256 or 512 bits, which Cranelift does not have: bytes, written instruction by
//! instruction.
//!
//! The same function as [`tile`](super::tile), with the same order of each sum; only more of C is in registers at once. A step
//! along k loads the registers of a row of B, then for each row spreads one element of A over a register and multiplies. Of
//! 32 registers of 512 bits 24 are sums, of 16 registers of 256 bits 12, which is more than the latency of a multiplication
//! asks for on both of a core's multipliers. Rows of A are addressed from a pointer for every three of them.
//!
//! Arguments come as System V has them; all registers that are used are the callee's to change.

use cranelift_codegen::isa::{CallConv, TargetIsa};
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};
use tensorc_ir::error::err;
use tensorc_ir::{DType, Error, Result};

use super::element::Element;
use crate::cpu::asm::Asm;
use crate::cpu::emit::has;

/// Steps of k in one turn of the main loop.
const UNROLL: i32 = 4;

/// Rows that share a pointer.
const SHARED: usize = 3;

/// The vectors that the tile uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wide {
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512.
    Avx512,
}

impl Wide {
    /// The widest vectors of the target that there is a tile of these elements for.
    pub(super) fn of(isa: &dyn TargetIsa, el: &Element) -> Option<Wide> {
        let has = |feature: &str| has(isa, feature);
        let known = isa.name() == "x64" && isa.default_call_conv() == CallConv::SystemV && el.dtype.is_float();
        match () {
            () if !known || !has("has_fma") => None,
            () if has("has_avx512f") => Some(Wide::Avx512),
            () if has("has_avx2") => Some(Wide::Avx2),
            () => None,
        }
    }

    /// Bytes of a register.
    fn bytes(self) -> i32 {
        match self {
            Wide::Avx2 => 32,
            Wide::Avx512 => 64,
        }
    }

    /// Elements in a register.
    pub(super) fn lanes(self, el: &Element) -> i64 {
        i64::from(self.bytes()) / el.size
    }

    /// The most rows of a tile of that many registers across.
    pub(super) fn rows(self, registers: usize) -> usize {
        match (self, registers) {
            (Wide::Avx512, 4) => 6,
            (Wide::Avx512, _) => 12,
            (Wide::Avx2, 4) => 2,
            (Wide::Avx2, 2) => 6,
            (Wide::Avx2, _) => 10,
        }
    }

    /// Vector register number `n`.
    fn register(self, n: usize) -> Register {
        let first = match self {
            Wide::Avx2 => Register::YMM0,
            Wide::Avx512 => Register::ZMM0,
        };
        first + n as u32
    }
}

/// The instructions on vectors of one width and element.
struct Codes {
    load: Code,
    store: Code,
    spread: Code,
    multiply: Code,
    add: Code,
    zero: Code,
}

impl Codes {
    fn of(wide: Wide, dtype: DType) -> Codes {
        match (wide, dtype) {
            (Wide::Avx512, DType::F64) => Codes {
                load: Code::EVEX_Vmovupd_zmm_k1z_zmmm512,
                store: Code::EVEX_Vmovupd_zmmm512_k1z_zmm,
                spread: Code::EVEX_Vbroadcastsd_zmm_k1z_xmmm64,
                multiply: Code::EVEX_Vfmadd231pd_zmm_k1z_zmm_zmmm512b64_er,
                add: Code::EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er,
                zero: Code::EVEX_Vpxorq_zmm_k1z_zmm_zmmm512b64,
            },
            (Wide::Avx512, _) => Codes {
                load: Code::EVEX_Vmovups_zmm_k1z_zmmm512,
                store: Code::EVEX_Vmovups_zmmm512_k1z_zmm,
                spread: Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32,
                multiply: Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
                add: Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
                zero: Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32,
            },
            (Wide::Avx2, DType::F64) => Codes {
                load: Code::VEX_Vmovupd_ymm_ymmm256,
                store: Code::VEX_Vmovupd_ymmm256_ymm,
                spread: Code::VEX_Vbroadcastsd_ymm_m64,
                multiply: Code::VEX_Vfmadd231pd_ymm_ymm_ymmm256,
                add: Code::VEX_Vaddpd_ymm_ymm_ymmm256,
                zero: Code::VEX_Vxorpd_ymm_ymm_ymmm256,
            },
            (Wide::Avx2, _) => Codes {
                load: Code::VEX_Vmovups_ymm_ymmm256,
                store: Code::VEX_Vmovups_ymmm256_ymm,
                spread: Code::VEX_Vbroadcastss_ymm_m32,
                multiply: Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256,
                add: Code::VEX_Vaddps_ymm_ymm_ymmm256,
                zero: Code::VEX_Vxorps_ymm_ymm_ymmm256,
            },
        }
    }
}

// Where the arguments are.
const A: Register = Register::RDI;
const A_ROW: Register = Register::RSI;
const B: Register = Register::RDX;
const B_ROW: Register = Register::RCX;
const K: Register = Register::R8;
const C: Register = Register::R9;
/// Bytes from the stack pointer to the row stride of C, and to whether to add.
const C_ROW_AT: i64 = 8;
const ADD_AT: i64 = 16;
/// Pointers to every third row of A.
const POINTERS: [Register; 4] = [A, Register::R10, Register::R11, Register::RAX];
/// The row stride of C, when A is done with.
const C_ROW: Register = Register::RSI;

/// A tile of `rows` rows by `registers` registers; see [`tile`](super::tile).
pub(super) fn tile(wide: Wide, el: &Element, rows: usize, registers: usize) -> Result<Vec<u8>> {
    let codes = Codes::of(wide, el.dtype);
    let mut t = Tile { wide, codes, size: el.size as i32, rows, registers, asm: Asm::new() };
    finished(t.write().map(|()| t.asm))
}

/// The bytes of a function, if it could be written.
fn finished(asm: Result<Asm, IcedError>) -> Result<Vec<u8>> {
    asm.map(Asm::finish).map_err(|e| -> Error { err::internal(format!("a matrix product: {e}")) })
}

/// `copy(to, from, from_row, k)`: `k` rows of `registers` registers, adjacent in `to`; `k` is not 0.
pub(super) fn copy(wide: Wide, el: &Element, registers: usize) -> Result<Vec<u8>> {
    let (to, from, from_row, k) = (Register::RDI, Register::RSI, Register::RDX, Register::RCX);
    let codes = Codes::of(wide, el.dtype);
    let row = |asm: &mut Asm| {
        for v in 0..registers {
            let (r, at) = (wide.register(v), i64::from(v as i32 * wide.bytes()));
            asm.put(Instruction::with2(codes.load, r, MemoryOperand::with_base_displ(from, at))?)?;
            asm.put(Instruction::with2(codes.store, MemoryOperand::with_base_displ(to, at), r)?)?;
        }
        let width = registers as i32 * wide.bytes();
        asm.put(Instruction::with2(Code::Add_rm64_imm32, to, width)?)?;
        asm.put(Instruction::with2(Code::Add_rm64_r64, from, from_row)?)
    };
    finished(times(k, row))
}

/// `column(to, to_row, from, rows, k)`: a register of each of `k` rows at offsets `rows[..]` from `from`; `k` is not 0.
pub(super) fn column(wide: Wide, el: &Element) -> Result<Vec<u8>> {
    let (to, to_row, from, table, k) = (Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8);
    let (codes, r) = (Codes::of(wide, el.dtype), wide.register(0));
    let row = |asm: &mut Asm| {
        asm.put(Instruction::with2(Code::Mov_r64_rm64, Register::RAX, MemoryOperand::with_base(table))?)?;
        asm.put(Instruction::with2(codes.load, r, MemoryOperand::with_base_index(from, Register::RAX))?)?;
        asm.put(Instruction::with2(codes.store, MemoryOperand::with_base(to), r)?)?;
        asm.put(Instruction::with2(Code::Add_rm64_r64, to, to_row)?)?;
        asm.put(Instruction::with2(Code::Add_rm64_imm8, table, 8)?)
    };
    finished(times(k, row))
}

/// A function that does `row` as often as the register `k` says.
fn times(k: Register, row: impl FnOnce(&mut Asm) -> Result<(), IcedError>) -> Result<Asm, IcedError> {
    let mut asm = Asm::new();
    let start = asm.here();
    row(&mut asm)?;
    asm.put(Instruction::with2(Code::Sub_rm64_imm8, k, 1)?)?;
    asm.jump(Code::Jne_rel32_64, start)?;
    asm.put(Instruction::with(Code::VEX_Vzeroupper))?;
    asm.put(Instruction::with(Code::Retnq))?;
    Ok(asm)
}

struct Tile {
    wide: Wide,
    codes: Codes,
    /// Bytes of an element.
    size: i32,
    rows: usize,
    registers: usize,
    asm: Asm,
}

impl Tile {
    fn put(&mut self, instruction: Instruction) -> Result<(), IcedError> {
        self.asm.put(instruction)
    }

    fn sum(&self, row: usize, v: usize) -> Register {
        self.wide.register(row * self.registers + v)
    }

    fn write(&mut self) -> Result<(), IcedError> {
        for n in 0..self.rows * self.registers {
            let r = self.wide.register(n);
            self.put(Instruction::with3(self.codes.zero, r, r, r)?)?;
        }
        let pointers = &POINTERS[..self.rows.div_ceil(SHARED)];
        for pair in pointers.windows(2) {
            let two_rows = MemoryOperand::with_base_index_scale(pair[0], A_ROW, 2);
            self.put(Instruction::with2(Code::Lea_r64_m, pair[1], two_rows)?)?;
            self.put(Instruction::with2(Code::Add_rm64_r64, pair[1], A_ROW)?)?;
        }
        let [short, none, first] = [(); 3].map(|()| self.asm.label());
        // The main loop.
        self.put(Instruction::with2(Code::Cmp_rm64_imm8, K, UNROLL)?)?;
        self.asm.jump(Code::Jl_rel32_64, short)?;
        let main = self.asm.here();
        for p in 0..UNROLL {
            self.step(p)?;
        }
        self.go_on(pointers, UNROLL)?;
        self.put(Instruction::with2(Code::Cmp_rm64_imm8, K, UNROLL)?)?;
        self.asm.jump(Code::Jge_rel32_64, main)?;
        self.asm.place(short);
        // What is left of k.
        self.put(Instruction::with2(Code::Test_rm64_r64, K, K)?)?;
        self.asm.jump(Code::Je_rel32_64, none)?;
        let rest = self.asm.here();
        self.step(0)?;
        self.go_on(pointers, 1)?;
        self.asm.jump(Code::Jne_rel32_64, rest)?;
        self.asm.place(none);
        // C, added to or not.
        let on_stack = |at: i64| MemoryOperand::with_base_displ(Register::RSP, at);
        self.put(Instruction::with2(Code::Mov_r64_rm64, C_ROW, on_stack(C_ROW_AT))?)?;
        self.put(Instruction::with2(Code::Mov_r64_rm64, Register::RAX, on_stack(ADD_AT))?)?;
        self.put(Instruction::with2(Code::Test_rm64_r64, Register::RAX, Register::RAX)?)?;
        self.asm.jump(Code::Je_rel32_64, first)?;
        self.store(true)?;
        self.asm.place(first);
        self.store(false)
    }

    /// One step along k, the `p`-th from where the pointers are; B's goes on.
    fn step(&mut self, p: i32) -> Result<(), IcedError> {
        let sums = self.rows * self.registers;
        let b = |t: &Tile, v: usize| t.wide.register(sums + v);
        for v in 0..self.registers {
            let at = MemoryOperand::with_base_displ(B, i64::from(v as i32 * self.wide.bytes()));
            self.put(Instruction::with2(self.codes.load, b(self, v), at)?)?;
        }
        self.put(Instruction::with2(Code::Add_rm64_r64, B, B_ROW)?)?;
        let a = self.wide.register(sums + self.registers);
        for row in 0..self.rows {
            let (pointer, displacement) = (POINTERS[row / SHARED], i64::from(p * self.size));
            let at = match row % SHARED {
                0 => MemoryOperand::with_base_displ(pointer, displacement),
                n => MemoryOperand::with_base_index_scale_displ_size(pointer, A_ROW, n as u32, displacement, 1),
            };
            self.put(Instruction::with2(self.codes.spread, a, at)?)?;
            for v in 0..self.registers {
                self.put(Instruction::with3(self.codes.multiply, self.sum(row, v), a, b(self, v))?)?;
            }
        }
        Ok(())
    }

    /// Moves the pointers into A by `steps` of k, and counts them; the flags are those of what is left.
    fn go_on(&mut self, pointers: &[Register], steps: i32) -> Result<(), IcedError> {
        for pointer in pointers {
            self.put(Instruction::with2(Code::Add_rm64_imm8, *pointer, steps * self.size)?)?;
        }
        self.put(Instruction::with2(Code::Sub_rm64_imm8, K, steps)?)
    }

    /// Stores all sums and returns.
    fn store(&mut self, add: bool) -> Result<(), IcedError> {
        for row in 0..self.rows {
            for v in 0..self.registers {
                let (sum, at) = (self.sum(row, v), i64::from(v as i32 * self.wide.bytes()));
                let at = MemoryOperand::with_base_displ(C, at);
                if add {
                    self.put(Instruction::with3(self.codes.add, sum, sum, at)?)?;
                }
                self.put(Instruction::with2(self.codes.store, at, sum)?)?;
            }
            if row + 1 < self.rows {
                self.put(Instruction::with2(Code::Add_rm64_r64, C, C_ROW)?)?;
            }
        }
        self.put(Instruction::with(Code::VEX_Vzeroupper))?;
        self.put(Instruction::with(Code::Retnq))
    }
}

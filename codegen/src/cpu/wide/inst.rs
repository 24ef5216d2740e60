//! Scalar-IR instructions on groups of sixteen lanes. Every one gives what [`tensorc_ir::scalar::eval`] gives.

use super::body::Parts;
use super::machine::{Def, File, Node, Op, R, Width};
use super::select::Select;
use iced_x86::Code;
use smallvec::{SmallVec, smallvec};
use tensorc_ir::DType;
use tensorc_ir::scalar::{Bin, Cmp, Inst, Reg, Un};

/// How a comparison compares, as the number in the instruction: without a signal for a NaN.
fn float_predicate(op: Cmp) -> u8 {
    match op {
        Cmp::Eq => 0,
        Cmp::Ne => 4,
        Cmp::Lt => 0x11,
        Cmp::Le => 0x12,
    }
}

/// True if an operand is NaN.
pub(super) const UNORDERED: u8 = 3;
/// Round the other way than the current mode: the mode, without a signal that the result is not exact.
const NEAREST: u8 = 0x8;

/// Bytes of a lane of a register.
pub(super) fn size_of(reg: Reg) -> u32 {
    if reg.bits() == 64 { 8 } else { 4 }
}

/// The instruction for lanes of that many bytes.
pub(super) fn by_size(size: u32, four: Code, eight: Code) -> Code {
    if size == 8 { eight } else { four }
}

fn bitwise(op: Bin, size: u32) -> Option<Code> {
    Some(match op {
        Bin::And => by_size(size, Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vpandq_zmm_k1z_zmm_zmmm512b64),
        Bin::Or => by_size(size, Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vporq_zmm_k1z_zmm_zmmm512b64),
        Bin::Xor => by_size(size, Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vpxorq_zmm_k1z_zmm_zmmm512b64),
        _ => return None,
    })
}

/// The instruction for a binary operation, if there is one. Of floats, the smaller and the larger are the second operand if
/// one is NaN or both are zeros.
pub(super) fn code(op: Bin, reg: Reg) -> Option<Code> {
    let (four, eight) = match (op, reg.is_float()) {
        (Bin::Add, true) => (Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er, Code::EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er),
        (Bin::Sub, true) => (Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er, Code::EVEX_Vsubpd_zmm_k1z_zmm_zmmm512b64_er),
        (Bin::Mul, true) => (Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er, Code::EVEX_Vmulpd_zmm_k1z_zmm_zmmm512b64_er),
        (Bin::Div, true) => (Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er, Code::EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er),
        (Bin::Min, true) => {
            (Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae, Code::EVEX_Vminpd_zmm_k1z_zmm_zmmm512b64_sae)
        }
        (Bin::Max, true) => {
            (Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae, Code::EVEX_Vmaxpd_zmm_k1z_zmm_zmmm512b64_sae)
        }
        (Bin::Add, false) => (Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vpaddq_zmm_k1z_zmm_zmmm512b64),
        (Bin::Sub, false) => (Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vpsubq_zmm_k1z_zmm_zmmm512b64),
        (Bin::Mul, false) => (Code::EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vpmullq_zmm_k1z_zmm_zmmm512b64),
        (Bin::Min, false) => (Code::EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vpminsq_zmm_k1z_zmm_zmmm512b64),
        (Bin::Max, false) => (Code::EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vpmaxsq_zmm_k1z_zmm_zmmm512b64),
        (Bin::Shl, false) => (Code::EVEX_Vpsllvd_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vpsllvq_zmm_k1z_zmm_zmmm512b64),
        (Bin::Shr, false) => (Code::EVEX_Vpsravd_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vpsravq_zmm_k1z_zmm_zmmm512b64),
        (Bin::UShr, false) => (Code::EVEX_Vpsrlvd_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vpsrlvq_zmm_k1z_zmm_zmmm512b64),
        (Bin::And | Bin::Or | Bin::Xor, false) => return bitwise(op, size_of(reg)),
        _ => return None,
    };
    Some(by_size(size_of(reg), four, eight))
}

impl Select<'_, '_> {
    pub(super) fn inst(&mut self, inst: Inst, g: usize) -> Option<Parts> {
        Some(match inst {
            Inst::Un(op, a) => {
                let (reg, x) = (self.reg(a), self.group(a, g)?);
                self.un(op, reg, &x)?
            }
            Inst::Bin(op, a, b) => {
                let (reg, x, y) = (self.reg(a), self.group(a, g)?, self.group(b, g)?);
                self.bin(op, reg, &x, &y)?
            }
            Inst::Cmp(op, a, b) => {
                let (reg, x, y) = (self.reg(a), self.group(a, g)?, self.group(b, g)?);
                let masks = self.cmp_parts(op, reg, &x, &y);
                smallvec![self.joined(&masks)]
            }
            Inst::Fma(a, b, c) => {
                let size = self.reg(a).bits() / 8;
                let (x, y, z) = (self.group(a, g)?, self.group(b, g)?, self.group(c, g)?);
                (0..x.len()).map(|i| self.fma(size, x[i], y[i], z[i])).collect()
            }
            Inst::Select(c, a, b) => {
                let (reg, c, x, y) = (self.reg(a), self.group(c, g)?[0], self.group(a, g)?, self.group(b, g)?);
                self.pick(reg, c, &x, &y)
            }
            Inst::Convert(to, a) => {
                let (from, x) = (self.reg(a), self.group(a, g)?);
                self.convert(from, to, &x)
            }
            // The lanes stay where they are.
            Inst::Bitcast(_, a) => self.group(a, g)?,
            Inst::Round(dtype, a) => {
                let x = self.group(a, g)?[0];
                smallvec![self.round(dtype, x)]
            }
            Inst::Const(..) | Inst::Param(_) | Inst::Check(..) => return None,
        })
    }

    fn fma(&mut self, size: u32, a: R, b: R, c: R) -> R {
        let dst = self.register(File::Vector, Def::Temp);
        self.nodes.push(Node::Fma { dst, a, b, c, size });
        dst
    }

    fn each(&mut self, code: Code, size: u32, x: &Parts, y: &Parts) -> Parts {
        (0..x.len()).map(|i| self.whole(code, size, &[x[i], y[i]], None)).collect()
    }

    /// As `each`, where the operands may change places.
    fn either(&mut self, code: Code, size: u32, x: &Parts, y: &Parts) -> Parts {
        let fixed = |s: &Self, r: R| matches!(s.infos[r.0 as usize].def, Def::Invariant(..));
        if fixed(self, x[0]) && !fixed(self, y[0]) { self.each(code, size, y, x) } else { self.each(code, size, x, y) }
    }

    fn ones(&mut self, code: Code, size: u32, x: &Parts, imm: Option<u8>) -> Parts {
        x.iter().map(|x| self.whole(code, size, &[*x], imm)).collect()
    }

    fn un(&mut self, op: Un, reg: Reg, x: &Parts) -> Option<Parts> {
        let wide = reg.bits() == 64;
        if reg.is_float() {
            let size = size_of(reg);
            let round = by_size(
                size,
                Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae,
                Code::EVEX_Vrndscalepd_zmm_k1z_zmmm512b64_imm8_sae,
            );
            let sign = if wide { 1 << 63 } else { 1 << 31 };
            return Some(match op {
                Un::Neg => {
                    let sign = self.constant(reg, sign);
                    self.each(bitwise(Bin::Xor, size)?, size, x, &sign)
                }
                Un::Abs => {
                    let number = self.constant(reg, !sign);
                    self.each(bitwise(Bin::And, size)?, size, x, &number)
                }
                Un::Sqrt => {
                    let (single, double) =
                        (Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er, Code::EVEX_Vsqrtpd_zmm_k1z_zmmm512b64_er);
                    self.ones(by_size(size, single, double), size, x, None)
                }
                Un::Nearest => self.ones(round, size, x, Some(NEAREST)),
                Un::Floor => self.ones(round, size, x, Some(NEAREST | 1)),
                Un::Ceil => self.ones(round, size, x, Some(NEAREST | 2)),
                Un::Trunc => self.ones(round, size, x, Some(NEAREST | 3)),
                Un::Not => return None,
            });
        }
        if reg == Reg::Bool {
            return match op {
                Un::Not => Some(smallvec![self.mask_op(Code::VEX_Knotw_kr_kr, &[x[0]])]),
                // Modulo 2 a truth value is its own negative.
                Un::Neg | Un::Abs => Some(x.clone()),
                _ => None,
            };
        }
        let size = size_of(reg);
        let r = match op {
            Un::Neg => {
                let zero = self.constant(reg, 0);
                self.each(code(Bin::Sub, reg)?, size, &zero, x)
            }
            Un::Abs if reg == Reg::U8 => return Some(x.clone()),
            Un::Abs => {
                let (narrow, long) = (Code::EVEX_Vpabsd_zmm_k1z_zmmm512b32, Code::EVEX_Vpabsq_zmm_k1z_zmmm512b64);
                self.ones(by_size(size, narrow, long), size, x, None)
            }
            Un::Not => {
                let all = self.constant(reg, if reg == Reg::U8 { 0xff } else { u64::MAX });
                self.each(code(Bin::Xor, reg)?, size, x, &all)
            }
            _ => return None,
        };
        Some(self.wrap(reg, r))
    }

    /// Brings the low bits of 32-bit lanes into the form in which type `reg` is held.
    pub(super) fn wrap(&mut self, reg: Reg, x: Parts) -> Parts {
        match reg {
            Reg::U8 => {
                let low = smallvec![self.splat4(0xff)];
                self.each(Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, 4, &x, &low)
            }
            Reg::I16 | Reg::I8 => {
                let by = Some(32 - reg.bits() as u8);
                let up = self.ones(Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8, 0, &x, by);
                self.ones(Code::EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8, 0, &up, by)
            }
            Reg::F64 | Reg::F32 | Reg::I64 | Reg::I32 | Reg::Bool => x,
        }
    }

    pub(super) fn bin(&mut self, op: Bin, reg: Reg, x: &Parts, y: &Parts) -> Option<Parts> {
        if reg == Reg::Bool {
            return Some(smallvec![self.bin_bool(op, x[0], y[0])]);
        }
        if matches!(op, Bin::Div | Bin::Rem) && !reg.is_float() {
            let r = self.divide(op, reg, x, y)?;
            return Some(self.wrap(reg, r));
        }
        let (code, size) = (code(op, reg)?, size_of(reg));
        let r = match op {
            Bin::Min | Bin::Max if reg.is_float() => self.each(code, size, x, y),
            Bin::UShr if matches!(reg, Reg::I16 | Reg::I8) => {
                let low = smallvec![self.splat4((1 << reg.bits()) - 1)];
                let x = self.each(Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, 4, x, &low);
                self.each(code, size, &x, y)
            }
            Bin::Add | Bin::Mul | Bin::Min | Bin::Max | Bin::And | Bin::Or | Bin::Xor => self.either(code, size, x, y),
            _ => self.each(code, size, x, y),
        };
        // Of these the results are held as the operands are.
        let held = matches!(op, Bin::Min | Bin::Max | Bin::And | Bin::Or | Bin::Xor);
        Some(if held { r } else { self.wrap(reg, r) })
    }

    /// Division of integers of up to 32 bits by way of `f64`, whose quotient is close enough that its integral part is
    /// exact. By 0 both results are 0.
    fn divide(&mut self, op: Bin, reg: Reg, x: &Parts, y: &Parts) -> Option<Parts> {
        if reg.bits() == 64 {
            return None;
        }
        let (a, b) = (self.convert(reg, Reg::F64, x), self.convert(reg, Reg::F64, y));
        let q = self.each(Code::EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er, 8, &a, &b);
        let halves: SmallVec<[R; 2]> = q
            .iter()
            .map(|q| {
                let op =
                    Op { args: smallvec![(*q, Width::Z)], ..Op::new(Code::EVEX_Vcvttpd2dq_ymm_k1z_zmmm512b64_sae) };
                self.push(op, Width::Y)
            })
            .collect();
        let q = self.both(halves[0], halves[1]);
        let zero = smallvec![self.splat4(0)];
        let there = self.cmp_parts(Cmp::Ne, reg, y, &zero)[0];
        let cleared = |s: &mut Self, code: Code, args: &[R]| {
            let args = args.iter().map(|r| (*r, Width::Z)).collect();
            s.push(Op { args, mask: Some(there), zero: true, ..Op::new(code) }, Width::Z)
        };
        if op == Bin::Div {
            return Some(smallvec![cleared(self, Code::EVEX_Vmovdqa32_zmm_k1z_zmmm512, &[q])]);
        }
        let back = self.whole(Code::EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32, 0, &[q, y[0]], None);
        Some(smallvec![cleared(self, Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32, &[x[0], back])])
    }

    /// Arithmetic modulo 2, where a shift by one and a remainder leave 0 (a quotient by 0 is 0).
    fn bin_bool(&mut self, op: Bin, x: R, y: R) -> R {
        match op {
            Bin::Add | Bin::Sub | Bin::Xor => self.mask_op(Code::VEX_Kxorw_kr_kr_kr, &[x, y]),
            Bin::Mul | Bin::Min | Bin::And | Bin::Div => self.mask_op(Code::VEX_Kandw_kr_kr_kr, &[x, y]),
            Bin::Max | Bin::Or => self.mask_op(Code::VEX_Korw_kr_kr_kr, &[x, y]),
            Bin::Rem => self.mask_op(Code::VEX_Kxorw_kr_kr_kr, &[x, x]),
            // Not the first, and the second.
            Bin::Shl | Bin::Shr | Bin::UShr => self.mask_op(Code::VEX_Kandnw_kr_kr_kr, &[y, x]),
        }
    }

    /// Comparisons: a mask for each part.
    pub(super) fn cmp_parts(&mut self, op: Cmp, reg: Reg, x: &Parts, y: &Parts) -> Parts {
        if reg == Reg::Bool {
            let (a, b) = (x[0], y[0]);
            return smallvec![match op {
                Cmp::Eq => self.mask_op(Code::VEX_Kxnorw_kr_kr_kr, &[a, b]),
                Cmp::Ne => self.mask_op(Code::VEX_Kxorw_kr_kr_kr, &[a, b]),
                Cmp::Lt => self.mask_op(Code::VEX_Kandnw_kr_kr_kr, &[a, b]),
                Cmp::Le => {
                    let greater = self.mask_op(Code::VEX_Kandnw_kr_kr_kr, &[b, a]);
                    self.mask_op(Code::VEX_Knotw_kr_kr, &[greater])
                }
            }];
        }
        let (code, size, predicate) = match reg {
            Reg::F64 => (Code::EVEX_Vcmppd_kr_k1_zmm_zmmm512b64_imm8_sae, 8, float_predicate(op)),
            Reg::F32 => (Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae, 4, float_predicate(op)),
            _ => {
                let predicate = match op {
                    Cmp::Eq => 0,
                    Cmp::Ne => 4,
                    Cmp::Lt => 1,
                    Cmp::Le => 2,
                };
                match reg {
                    Reg::I64 => (Code::EVEX_Vpcmpq_kr_k1_zmm_zmmm512b64_imm8, 8, predicate),
                    _ => (Code::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8, 4, predicate),
                }
            }
        };
        (0..x.len()).map(|i| self.compare(code, size, x[i], y[i], predicate)).collect()
    }

    pub(super) fn compare(&mut self, code: Code, size: u32, x: R, y: R, predicate: u8) -> R {
        let args = smallvec![(x, Width::Z), (y, Width::Z)];
        let op = Op { args, imm: Some(predicate), splat: (size != 0).then_some(size), ..Op::new(code) };
        self.push(op, Width::K)
    }

    /// Whether lanes are NaN, for each part.
    pub(super) fn unordered(&mut self, reg: Reg, x: &Parts) -> Parts {
        let code = match reg {
            Reg::F64 => Code::EVEX_Vcmppd_kr_k1_zmm_zmmm512b64_imm8_sae,
            _ => Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae,
        };
        x.iter().map(|x| self.compare(code, 0, *x, *x, UNORDERED)).collect()
    }

    /// `if c { a } else { b }`.
    pub(super) fn pick(&mut self, reg: Reg, c: R, a: &Parts, b: &Parts) -> Parts {
        if reg == Reg::Bool {
            let yes = self.mask_op(Code::VEX_Kandw_kr_kr_kr, &[c, a[0]]);
            let no = self.mask_op(Code::VEX_Kandnw_kr_kr_kr, &[c, b[0]]);
            return smallvec![self.mask_op(Code::VEX_Korw_kr_kr_kr, &[yes, no])];
        }
        let (code, size) = match reg.bits() {
            64 => (Code::EVEX_Vblendmpd_zmm_k1z_zmm_zmmm512b64, 8),
            _ => (Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32, 4),
        };
        (0..a.len())
            .map(|i| {
                let mask = Some(self.part(c, i));
                let args = smallvec![(b[i], Width::Z), (a[i], Width::Z)];
                self.push(Op { args, mask, splat: Some(size), ..Op::new(code) }, Width::Z)
            })
            .collect()
    }

    /// `x` rounded to the values of a half float; unchanged for another dtype.
    fn round(&mut self, dtype: DType, x: R) -> R {
        if !dtype.is_half() {
            return x;
        }
        let bits = self.to_half(dtype, x);
        self.from_half(dtype, bits)
    }
}

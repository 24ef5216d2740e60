//! Conversions between register types, and half floats.

use super::body::Parts;
use super::machine::{Op, R, Width};
use super::select::Select;
use iced_x86::Code;
use smallvec::smallvec;
use tensorc_ir::DType;
use tensorc_ir::scalar::{Cmp, Reg};

impl Select<'_, '_> {
    /// A group of type `from` as type `to`. Floats become integers by one rule (truncate; what does not fit 64 bits, and
    /// NaN, gives the least; narrower integers wrap), which is what the instruction to 64 bits does.
    pub(super) fn convert(&mut self, from: Reg, to: Reg, x: &Parts) -> Parts {
        match (from, to) {
            (a, b) if a == b => x.clone(),
            (Reg::Bool, _) => self.bool_to(to, x[0]),
            (_, Reg::Bool) => {
                let zero = self.constant(from, 0);
                let masks = self.cmp_parts(Cmp::Ne, from, x, &zero);
                smallvec![self.joined(&masks)]
            }
            (Reg::F32, Reg::F64) => self.doubled(Code::EVEX_Vcvtps2pd_zmm_k1z_ymmm256b32_sae, x[0]),
            (Reg::F64, Reg::F32) => self.halved(Code::EVEX_Vcvtpd2ps_ymm_k1z_zmmm512b64_er, x),
            (Reg::F32, Reg::I64) => self.doubled(Code::EVEX_Vcvttps2qq_zmm_k1z_ymmm256b32_sae, x[0]),
            (Reg::F64, Reg::I64) => {
                x.iter().map(|x| self.whole(Code::EVEX_Vcvttpd2qq_zmm_k1z_zmmm512b64_sae, 0, &[*x], None)).collect()
            }
            (Reg::F64 | Reg::F32, _) => {
                let long = self.convert(from, Reg::I64, x);
                self.convert(Reg::I64, to, &long)
            }
            (Reg::I64, Reg::F64) => {
                x.iter().map(|x| self.whole(Code::EVEX_Vcvtqq2pd_zmm_k1z_zmmm512b64_er, 0, &[*x], None)).collect()
            }
            (Reg::I64, Reg::F32) => self.halved(Code::EVEX_Vcvtqq2ps_ymm_k1z_zmmm512b64_er, x),
            (Reg::I64, _) => {
                let low = self.halved(Code::EVEX_Vpmovqd_ymmm256_k1z_zmm, x);
                self.wrap(to, low)
            }
            (_, Reg::F32) => smallvec![self.whole(Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er, 0, &[x[0]], None)],
            (_, Reg::F64) => self.doubled(Code::EVEX_Vcvtdq2pd_zmm_k1z_ymmm256b32_er, x[0]),
            (_, Reg::I64) => self.doubled(Code::EVEX_Vpmovsxdq_zmm_k1z_ymmm256, x[0]),
            (_, _) => self.wrap(to, x.clone()),
        }
    }

    /// The ones of a mask select the bits of one.
    fn bool_to(&mut self, to: Reg, mask: R) -> Parts {
        let bits = match to {
            Reg::F64 => 1f64.to_bits(),
            Reg::F32 => u64::from(1f32.to_bits()),
            _ => 1,
        };
        let one = self.constant(to, bits);
        let code =
            if to.bits() == 64 { Code::EVEX_Vmovdqa64_zmm_k1z_zmmm512 } else { Code::EVEX_Vmovdqa32_zmm_k1z_zmmm512 };
        (0..one.len())
            .map(|i| {
                let mask = Some(self.part(mask, i));
                self.push(Op { args: smallvec![(one[i], Width::Z)], mask, zero: true, ..Op::new(code) }, Width::Z)
            })
            .collect()
    }

    /// The lower and the upper half of the lanes of a vector.
    pub(super) fn halves(&mut self, x: R) -> [R; 2] {
        let upper = self.narrow(Code::EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8, Width::Y, x, Width::Z, Some(1));
        [x, upper]
    }

    /// A vector from two halves.
    pub(super) fn both(&mut self, low: R, high: R) -> R {
        let args = smallvec![(low, Width::Z), (high, Width::Y)];
        self.push(Op { args, imm: Some(1), ..Op::new(Code::EVEX_Vinsertf64x4_zmm_k1z_zmm_ymmm256_imm8) }, Width::Z)
    }

    /// Lanes of 32 bits as lanes of 64, by an instruction that does half of them.
    fn doubled(&mut self, code: Code, x: R) -> Parts {
        self.halves(x).iter().map(|x| self.narrow(code, Width::Z, *x, Width::Y, None)).collect()
    }

    /// Lanes of 64 bits as lanes of 32.
    fn halved(&mut self, code: Code, x: &Parts) -> Parts {
        let low = self.narrow(code, Width::Y, x[0], Width::Z, None);
        let high = self.narrow(code, Width::Y, x[1], Width::Z, None);
        smallvec![self.both(low, high)]
    }

    /// The 16 bits of the lanes rounded to `dtype`, side by side in a half vector.
    pub(super) fn to_half(&mut self, dtype: DType, x: R) -> R {
        if let Some((_, bits)) = self.cache.half.get(&x).filter(|(d, _)| *d == dtype) {
            return *bits;
        }
        if dtype == DType::F16 {
            // Rounded to nearest whatever the current mode.
            return self.narrow(Code::EVEX_Vcvtps2ph_ymmm256_k1z_zmm_imm8_sae, Width::Y, x, Width::Z, Some(0));
        }
        // Half a unit of the last place less one, plus the last bit kept, carries exactly when rounding to even goes up.
        let shift = |s: &mut Self, x: R| s.whole(Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8, 0, &[x], Some(16));
        let add = |s: &mut Self, a: R, b: R| s.whole(Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32, 4, &[a, b], None);
        let (one, half, quiet) = (self.splat4(1), self.splat4(0x7fff), self.splat4(0x0040_0000));
        let last = shift(self, x);
        let last = self.whole(Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, 4, &[last, one], None);
        let up = add(self, x, half);
        let up = add(self, up, last);
        // A NaN's payload might round to that of an infinity.
        let nan = self.unordered(Reg::F32, &smallvec![x])[0];
        let quiet = self.whole(Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32, 4, &[x, quiet], None);
        let bits = self.pick(Reg::F32, nan, &smallvec![quiet], &smallvec![up])[0];
        let bits = shift(self, bits);
        self.narrow(Code::EVEX_Vpmovdw_ymmm256_k1z_zmm, Width::Y, bits, Width::Z, None)
    }

    /// The values of 16 bits of `dtype` a lane, which are remembered for a store.
    pub(super) fn from_half(&mut self, dtype: DType, bits: R) -> R {
        let value = if dtype == DType::F16 {
            self.narrow(Code::EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae, Width::Z, bits, Width::Y, None)
        } else {
            let words = self.narrow(Code::EVEX_Vpmovzxwd_zmm_k1z_ymmm256, Width::Z, bits, Width::Y, None);
            self.whole(Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8, 0, &[words], Some(16))
        };
        self.cache.half.insert(value, (dtype, bits));
        value
    }
}

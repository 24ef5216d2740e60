//! Loads, stores and indices.
//!
//! An access with stride 1 is one or two vectors at `pointer + iteration * size`; one that is the same for all lanes is one
//! element; any other gathers or scatters elements of 32 or 64 bits by an index for each lane. Inner loops move pointers of
//! their own.

use super::body::{GROUP, Parts, Slot};
use super::machine::{Base, Count, Def, File, Form, Mem, Node, Op, Place, R, Width};
use super::select::Select;
use super::turn::TILE_ROW;
use crate::loopnest::{Access, Affine, Buf, Coef};
use iced_x86::Code;
use smallvec::smallvec;
use tensorc_ir::DType;
use tensorc_ir::scalar::{Reg, V};

/// How an access differs from lane to lane.
enum Lanes {
    /// Not.
    Same,
    /// By one element.
    Next,
    /// By an index each.
    Index(Parts),
}

impl Select<'_, '_> {
    /// The pointer that an access counts lanes from, and an offset in bytes.
    pub(super) fn pointer(&mut self, buf: Buf, at: &Access) -> Option<(Base, i32)> {
        let size = self.nest.bufs[buf.0 as usize].dtype.size() as u32;
        let (mut outer, mut offset) = (self.outer_part(&at.affine), 0);
        if let Coef::Const(c) = outer.offset {
            offset = c.checked_mul(i64::from(size))?;
            outer.offset = Coef::Const(0);
        }
        let dynamic = at.dynamic.filter(|d| !self.vals.contains_key(d));
        let base = Base::Frame(self.slot(Slot::Pointer { buf, outer, dynamic }));
        let strides: Vec<Coef> = self.inner.iter().map(|l| at.affine.stride(l.var)).collect();
        let mut moves = Vec::new();
        for (depth, stride) in strides.into_iter().enumerate().filter(|(_, s)| *s != Coef::Const(0)) {
            moves.push((depth, self.step(stride, size)?));
        }
        Some((self.moved(base, &moves), i32::try_from(offset).ok()?))
    }

    /// Where an access goes: a pointer, an offset in bytes, and how lanes differ.
    fn address(&mut self, buf: Buf, at: &Access, g: usize) -> Option<(Base, i32, Lanes)> {
        let (base, mut offset) = self.pointer(buf, at)?;
        let varies = at.dynamic.filter(|d| self.vals.contains_key(d));
        let lanes = match (varies, at.affine.stride(self.var)) {
            (None, Coef::Const(0)) => Lanes::Same,
            (None, Coef::Const(1)) => {
                offset = offset.checked_add((g * GROUP * self.nest.bufs[buf.0 as usize].dtype.size()) as i32)?;
                Lanes::Next
            }
            (None, stride) => {
                self.strided += 1;
                Lanes::Index(self.strides(stride, g))
            }
            (Some(d), Coef::Const(0)) => Lanes::Index(self.group(d, g)?),
            (Some(d), stride) => {
                let (own, d) = (self.strides(stride, g), self.group(d, g)?);
                Lanes::Index((0..2).map(|i| self.plus(d[i], own[i])).collect())
            }
        };
        // The second half of eight bytes a lane.
        offset.checked_add(64)?;
        Some((base, offset, lanes))
    }

    pub(super) fn step(&mut self, stride: Coef, size: u32) -> Option<Count> {
        Some(match stride {
            // What fits an instruction.
            Coef::Const(c) => Count::Known(i64::from(i32::try_from(c.checked_mul(i64::from(size))?).ok()?)),
            Coef::Param(_) => Count::Frame(self.slot(Slot::Step(stride, size))),
        })
    }

    fn plus(&mut self, a: R, b: R) -> R {
        self.whole(Code::EVEX_Vpaddq_zmm_k1z_zmm_zmmm512b64, 8, &[a, b], None)
    }

    fn times(&mut self, a: R, stride: Coef) -> R {
        let by = match stride {
            Coef::Const(1) => return a,
            Coef::Const(c) => self.splat8(c as u64),
            Coef::Param(_) => {
                let place = Place::Frame(self.slot(Slot::Step(stride, 1)));
                self.invariant(place, Form::Splat8)
            }
        };
        self.whole(Code::EVEX_Vpmullq_zmm_k1z_zmm_zmmm512b64, 8, &[a, by], None)
    }

    /// `iteration * stride` for the lanes of group `g`.
    fn strides(&mut self, stride: Coef, g: usize) -> Parts {
        let turn = self.counter(None);
        let half = |part: usize| std::array::from_fn(|lane| (g * GROUP + part * 8 + lane) as u64);
        (0..2)
            .map(|part| {
                let first = self.literal(half(part));
                let i = self.plus(turn, first);
                self.times(i, stride)
            })
            .collect()
    }

    /// The value of an affine expression.
    pub(super) fn index(&mut self, affine: &Affine, g: usize) -> Option<Parts> {
        let place = Place::Frame(self.slot(Slot::Index(self.outer_part(affine))));
        let mut same = self.invariant(place, Form::Splat8);
        for (var, number) in self.inner.iter().map(|l| (l.var, l.number)).collect::<Vec<_>>() {
            let stride = affine.stride(var);
            if stride != Coef::Const(0) {
                let counter = self.counter(Some(number));
                let term = self.times(counter, stride);
                same = self.plus(term, same);
            }
        }
        let stride = affine.stride(self.var);
        if stride == Coef::Const(0) {
            return Some(smallvec![same, same]);
        }
        let own = self.strides(stride, g);
        Some(own.iter().map(|x| self.plus(*x, same)).collect())
    }

    pub(super) fn load(&mut self, buf: Buf, at: &Access, g: usize) -> Option<Parts> {
        let dtype = self.nest.bufs[buf.0 as usize].dtype;
        if let Some(own) = self.turned_at(buf, at) {
            let base = self.moved(Base::Own(own), &[(self.inner.len() - 1, Count::Known(TILE_ROW))]);
            let mem = Some(Mem::One(base, 0));
            return Some(smallvec![self.push(Op { mem, ..Op::new(Code::EVEX_Vmovups_zmm_k1z_zmmm512) }, Width::Z)]);
        }
        let (base, offset, lanes) = self.address(buf, at, g)?;
        let mem = match lanes {
            Lanes::Index(index) => return self.gather(dtype, base, offset, &index),
            Lanes::Same => None,
            Lanes::Next => Some(Mem::Lanes(base, dtype.size() as u32, offset)),
        };
        let one = Mem::One(base, offset);
        // In the rest no lane is read that has no iteration.
        let load = |s: &mut Self, whole: Code, same: Code, width: Width| {
            let op = match mem {
                Some(mem) => {
                    let (mask, zero) = (s.tail_part(0), s.tail.is_some());
                    Op { mem: Some(mem), mask, zero, ..Op::new(whole) }
                }
                None => Op { mem: Some(one), ..Op::new(same) },
            };
            s.push(op, width)
        };
        Some(match dtype {
            DType::F32 | DType::I32 => {
                let (all, same) = (Code::EVEX_Vmovups_zmm_k1z_zmmm512, Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32);
                smallvec![load(self, all, same, Width::Z)]
            }
            DType::F64 | DType::I64 => {
                let Some(Mem::Lanes(base, size, offset)) = mem else {
                    let op = Op { mem: Some(one), ..Op::new(Code::EVEX_Vbroadcastsd_zmm_k1z_xmmm64) };
                    return Some(Parts::from_elem(self.push(op, Width::Z), 2));
                };
                (0..2)
                    .map(|part| {
                        let mem = Some(Mem::Lanes(base, size, offset + 64 * part as i32));
                        let (mask, zero) = (self.tail_part(part), self.tail.is_some());
                        self.push(Op { mem, mask, zero, ..Op::new(Code::EVEX_Vmovupd_zmm_k1z_zmmm512) }, Width::Z)
                    })
                    .collect()
            }
            DType::F16 | DType::BF16 => {
                let (all, same) = (Code::EVEX_Vmovdqu16_ymm_k1z_ymmm256, Code::EVEX_Vpbroadcastw_ymm_k1z_xmmm16);
                let bits = load(self, all, same, Width::Y);
                smallvec![self.from_half(dtype, bits)]
            }
            DType::I16 => {
                let (all, same) = (Code::EVEX_Vmovdqu16_ymm_k1z_ymmm256, Code::EVEX_Vpbroadcastw_ymm_k1z_xmmm16);
                let bits = load(self, all, same, Width::Y);
                smallvec![self.narrow(Code::EVEX_Vpmovsxwd_zmm_k1z_ymmm256, Width::Z, bits, Width::Y, None)]
            }
            DType::I8 | DType::U8 | DType::Bool => {
                let (all, same) = (Code::EVEX_Vmovdqu8_xmm_k1z_xmmm128, Code::EVEX_Vpbroadcastb_xmm_k1z_xmmm8);
                let bytes = load(self, all, same, Width::X);
                match dtype {
                    DType::I8 => {
                        smallvec![self.narrow(Code::EVEX_Vpmovsxbd_zmm_k1z_xmmm128, Width::Z, bytes, Width::X, None)]
                    }
                    DType::U8 => {
                        smallvec![self.narrow(Code::EVEX_Vpmovzxbd_zmm_k1z_xmmm128, Width::Z, bytes, Width::X, None)]
                    }
                    _ => {
                        let args = smallvec![(bytes, Width::X), (bytes, Width::X)];
                        let op = Op { args, ..Op::new(Code::EVEX_Vptestmb_kr_k1_xmm_xmmm128) };
                        smallvec![self.push(op, Width::K)]
                    }
                }
            }
        })
    }

    /// A mask of what has an iteration that an instruction may clear.
    fn spent(&mut self, part: usize) -> R {
        match self.tail_part(part) {
            Some(tail) => self.mask_op(Code::VEX_Kmovw_kr_km16, &[tail]),
            None => {
                let place = Place::Pool(self.asm.constant(&u16::MAX.to_le_bytes()));
                let all = self.invariant(place, Form::Bits);
                self.mask_op(Code::VEX_Kmovw_kr_km16, &[all])
            }
        }
    }

    fn gather(&mut self, dtype: DType, base: Base, offset: i32, index: &Parts) -> Option<Parts> {
        let size = dtype.size() as u32;
        let (code, width) = match dtype {
            DType::F64 | DType::I64 => (Code::EVEX_Vgatherqpd_zmm_k1_vm64z, Width::Z),
            DType::F32 | DType::I32 => (Code::EVEX_Vgatherqps_ymm_k1_vm64z, Width::Y),
            _ => return None,
        };
        let parts: Parts = (0..2)
            .map(|part| {
                // Lanes that are not read stay what they were, so they are made 0, which also breaks a dependence.
                let none = self.register(File::Vector, Def::Temp);
                self.nodes.push(Node::Zero(none));
                let mask = Some(self.spent(part));
                let mem = Some(Mem::Each(base, index[part], size, offset));
                self.push(Op { mem, mask, tied: Some(none), early: true, ..Op::new(code) }, width)
            })
            .collect();
        Some(if width == Width::Z { parts } else { smallvec![self.both(parts[0], parts[1])] })
    }

    pub(super) fn store(&mut self, buf: Buf, at: &Access, value: V, g: usize) -> Option<()> {
        let dtype = self.nest.bufs[buf.0 as usize].dtype;
        let x = self.group(value, g)?;
        let (base, offset, lanes) = self.address(buf, at, g)?;
        let size = dtype.size() as u32;
        let index = match lanes {
            // All lanes to one place, of which the last wins, is not for vectors.
            Lanes::Same => return None,
            Lanes::Index(index) => Some(index),
            Lanes::Next => None,
        };
        if let Some(index) = index {
            let (code, width, parts) = match dtype {
                DType::F64 | DType::I64 => (Code::EVEX_Vscatterqpd_vm64z_k1_zmm, Width::Z, [x[0], x[1]]),
                DType::F32 | DType::I32 => (Code::EVEX_Vscatterqps_vm64z_k1_ymm, Width::Y, self.halves(x[0])),
                _ => return None,
            };
            for part in 0..2 {
                let mask = Some(self.spent(part));
                let mem = Some(Mem::Each(base, index[part], size, offset));
                self.put(Op { args: smallvec![(parts[part], width)], mem, mask, ..Op::new(code) });
            }
            return Some(());
        }
        let mem = |part: i32| Some(Mem::Lanes(base, size, offset + 64 * part));
        let mask = self.tail_part(0);
        let streams = !self.read.contains(&buf);
        let (code, r, width) = match dtype {
            DType::F32 | DType::I32 => (Code::EVEX_Vmovups_zmmm512_k1z_zmm, x[0], Width::Z),
            DType::F64 | DType::I64 => {
                for part in 0..2 {
                    let (mask, mem) = (self.tail_part(part), mem(part as i32));
                    let args = smallvec![(x[part], Width::Z)];
                    self.put(Op { args, mem, mask, streams, ..Op::new(Code::EVEX_Vmovupd_zmmm512_k1z_zmm) });
                }
                return Some(());
            }
            DType::F16 | DType::BF16 => (Code::EVEX_Vmovdqu16_ymmm256_k1z_ymm, self.to_half(dtype, x[0]), Width::Y),
            DType::I16 => (Code::EVEX_Vpmovdw_ymmm256_k1z_zmm, x[0], Width::Z),
            DType::I8 | DType::U8 => (Code::EVEX_Vpmovdb_xmmm128_k1z_zmm, x[0], Width::Z),
            DType::Bool => {
                let ones = self.convert(Reg::Bool, Reg::I32, &x);
                (Code::EVEX_Vpmovdb_xmmm128_k1z_zmm, ones[0], Width::Z)
            }
        };
        let streams = streams && dtype.size() == 4;
        self.put(Op { args: smallvec![(r, width)], mem: mem(0), mask, streams, ..Op::new(code) });
        Some(())
    }

    /// Writes an instruction without a result.
    fn put(&mut self, op: Op) {
        self.nodes.push(Node::Op(op));
    }
}

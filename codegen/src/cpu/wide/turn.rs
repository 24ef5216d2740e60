//! Tiles of operands that lie the other way round.
//!
//! In a loop of up to sixteen iterations inside the vector loop, an operand whose lanes are a stride apart and whose
//! iterations are side by side is a tile of sixteen rows of a cache line. It is read row by row before that loop, turned in
//! registers by fours, and left in the function's own memory, where the loop reads vectors. That costs a fifth of a gather
//! in each iteration.

use super::body::GROUP;
use super::machine::{Base, Count, Def, File, Mem, Node, Op, Width};
use super::select::Select;
use crate::loopnest::{Access, Affine, Buf, Coef, Extent, Loop, Stmt};
use iced_x86::Code;
use smallvec::smallvec;
use tensorc_ir::DType;

/// Bytes of a turned row.
pub(super) const TILE_ROW: i64 = 64;

/// Turns from asking for a row to reading it.
const AHEAD: i32 = 4;

impl<'l> Select<'_, 'l> {
    /// Where the values of a load lie turned.
    pub(super) fn turned_at(&self, buf: Buf, at: &Access) -> Option<i32> {
        self.turned.iter().find(|(b, a, _)| *b == buf && *a == at).map(|(.., own)| *own)
    }

    /// Turns the tiles that `l` reads, which has `count` iterations. Only whole groups have whole tiles.
    pub(super) fn turn_tiles(&mut self, l: &'l Loop, count: Count) -> Option<()> {
        let short = matches!(l.extent, Extent::Block { step: Coef::Const(n), .. } if n <= GROUP as i64);
        if self.tail.is_some() || self.groups != 1 || !short {
            return Some(());
        }
        for stmt in &l.body {
            let Stmt::Load { buf, at, .. } = stmt else { continue };
            let (decl, stride) = (self.nest.bufs[buf.0 as usize], at.affine.stride(self.var));
            let apart = !matches!(stride, Coef::Const(0 | 1)) && at.affine.stride(l.var) == Coef::Const(1);
            let simple = at.dynamic.is_none() && !self.written.contains(buf) && self.turned_at(*buf, at).is_none();
            if apart && simple && matches!(decl.dtype, DType::F32 | DType::I32) {
                let own = self.own;
                self.own += GROUP as i32 * TILE_ROW as i32;
                self.turn(*buf, at, l, count, own)?;
                self.turned.push((*buf, at, own));
            }
        }
        Some(())
    }

    fn turn(&mut self, buf: Buf, at: &Access, l: &Loop, count: Count, own: i32) -> Option<()> {
        let stride = at.affine.stride(self.var);
        // The first lane of the turn: what a load of one lane after the other would begin with.
        let terms = at.affine.terms.iter().filter(|(v, _)| *v != l.var).copied();
        let first = Access { affine: Affine { offset: at.affine.offset, terms: terms.collect() }, dynamic: None };
        let (base, offset) = self.pointer(buf, &first)?;
        let step = self.step(stride, 4)?;
        let rows = self.register(File::Mask, Def::Temp);
        self.nodes.push(Node::Upto(rows, count));
        self.nodes.push(Node::Point(base, offset, step));
        // Each row is another page, where no hardware looks ahead.
        let ahead = self.new_pointer();
        self.nodes.push(Node::Ahead(ahead, step, AHEAD * GROUP as i32));
        for four in 0..GROUP as i32 / 4 {
            let r: [_; 4] = std::array::from_fn(|_| {
                let mem = Some(Mem::Pointed);
                let load = Op { mem, mask: Some(rows), zero: true, ..Op::new(Code::EVEX_Vmovups_zmm_k1z_zmmm512) };
                let r = self.push(load, Width::Z);
                self.nodes.push(Node::Move(step));
                self.nodes.push(Node::Prefetch(ahead, step));
                r
            });
            let (low, high) =
                (Code::EVEX_Vunpcklps_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vunpckhps_zmm_k1z_zmm_zmmm512b32);
            let pairs = [(low, 0), (low, 2), (high, 0), (high, 2)];
            let [a, b, c, d] = pairs.map(|(code, i)| self.whole(code, 0, &[r[i], r[i + 1]], None));
            let (low, high) =
                (Code::EVEX_Vunpcklpd_zmm_k1z_zmm_zmmm512b64, Code::EVEX_Vunpckhpd_zmm_k1z_zmm_zmmm512b64);
            let columns = [(low, a, b), (high, a, b), (low, c, d), (high, c, d)];
            let columns = columns.map(|(code, x, y)| self.whole(code, 0, &[x, y], None));
            for quarter in 0..4 {
                for (nth, column) in columns.iter().enumerate() {
                    let row = quarter * 4 + nth as i32;
                    let mem = Some(Mem::One(Base::Own(own), row * TILE_ROW as i32 + four * 16));
                    let args = smallvec![(*column, Width::Z)];
                    let code = Code::EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8;
                    self.nodes.push(Node::Op(Op { args, mem, imm: Some(quarter as u8), ..Op::new(code) }));
                }
            }
        }
        Some(())
    }
}

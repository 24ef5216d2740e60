//! Pulling: the register that holds a value at an index.

use super::{Ix, Lin, Lower};
use crate::loopnest::Stmt;
use crate::program::Place;
use tensorc_ir::layout::row_major_dims;
use tensorc_ir::ops::{Op, strided};
use tensorc_ir::passes::fuse::{blocks, source, through};
use tensorc_ir::scalar::{Fault, Reg, V};
use tensorc_ir::types::Span;
use tensorc_ir::{Dim, Dims, Error, Result, Scalar, Value, error::err};

fn internal(what: &str) -> Error {
    err::internal(format!("lowering: {what}"))
}

impl Lower<'_> {
    /// The value at that index.
    pub(super) fn eval(&mut self, v: Value, ix: &Ix) -> Result<V> {
        let key = (v, ix.clone());
        if let Some(r) = self.memo.get(&key) {
            return Ok(*r);
        }
        let r = self.compute(v, ix)?;
        self.memo.insert(key, r);
        Ok(r)
    }

    /// Where the value lies in memory, if what it is a view of is stored by another group.
    pub(super) fn place(&self, v: Value) -> Option<Place> {
        let (s, views) = source(self.g, v);
        if self.fusion.group_of[s.node.0 as usize] == Some(self.group) {
            return None;
        }
        let base = self.places.get(&s)?;
        // A view that strides cannot say, or not for all sizes, is computed at its index instead.
        let layout = through(self.g, Some(base.layout.clone()), &views).ok().flatten()?;
        Some(Place { buffer: base.buffer, layout })
    }

    pub(super) fn load(&mut self, place: &Place, dtype: tensorc_ir::DType, ix: &Ix) -> V {
        let (buf, at, depth) = self.access(place, dtype, ix, false);
        let dst = self.define(dtype.reg(), depth);
        self.scopes[depth].stmts.push(Stmt::Load { dst, buf, at });
        dst
    }

    /// Stores a value at an index, in the innermost loop.
    pub(super) fn store(&mut self, place: &Place, dtype: tensorc_ir::DType, ix: &Ix, value: V) {
        let (buf, at, _) = self.access(place, dtype, ix, true);
        self.push(Stmt::Store { buf, at, value });
    }

    fn compute(&mut self, v: Value, ix: &Ix) -> Result<V> {
        if let Some(place) = self.place(v) {
            let dtype = self.g.ty(v).dtype;
            return Ok(self.load(&place, dtype, ix));
        }
        let node = self.g.node(v.node);
        if let Some(place) = self.kept.get(&v.node).cloned() {
            return Ok(self.load(&place, node.types[0].dtype, ix));
        }
        let x = self.g.operands(v.node);
        let dtype = node.types[v.result as usize].dtype;
        match &node.op {
            Op::Const(c) => Ok(self.constant(*c)),
            Op::Map(row) => {
                let args = x.iter().map(|o| self.eval(*o, ix)).collect::<Result<Vec<V>>>()?;
                Ok(self.code(|b| row.lower(b, &args, dtype)))
            }
            Op::Cast(d) => {
                let a = self.eval(x[0], ix)?;
                Ok(self.code(|b| {
                    let v = b.convert(d.reg(), a);
                    b.round_to(*d, v)
                }))
            }
            Op::Bitcast(d) => {
                let (from, a) = (self.g.ty(x[0]).dtype, self.eval(x[0], ix)?);
                Ok(self.code(|b| strided::bitcast(b, from, d.0, a)))
            }
            Op::Copy | Op::Barrier => self.eval(x[0], ix),
            Op::Iota(_) => Ok(self.index_value(&ix[0])),
            Op::Size(d) => Ok(self.index_value(&Lin::at(d.0))),
            Op::Gather(g) => {
                let extent = self.g.ty(x[0]).shape[g.axis];
                let index = self.eval(x[1], ix)?;
                let at = self.checked_index(index, extent);
                let place = self.place(x[0]).ok_or_else(|| internal("gather reads a value that is not stored"))?;
                let mut ix = ix.clone();
                ix[g.axis] = Lin { dynamic: Some(at), ..Lin::default() };
                Ok(self.load(&place, dtype, &ix))
            }
            Op::Reduce(_) => {
                self.reduced.get(&v.node).copied().ok_or_else(|| internal("a reduction is read before its loop"))
            }
            op if op.is_view() => {
                let inner = self.through(op, &self.g.ty(x[0]).shape.clone(), ix)?;
                self.eval(x[0], &inner)
            }
            op => Err(internal(&format!("`{}` is not stored", op.name()))),
        }
    }

    /// A constant of the program. Floats are run-time parameters of the kernel, by their bits: another number (the
    /// extent that a mean divides by, say) is no other kernel. Integers are not: shifts by a constant are vector code.
    fn constant(&mut self, c: Scalar) -> V {
        match c.dtype.reg() {
            Reg::F64 => {
                let v = self.bits(c.to_f64().to_bits() as i64);
                self.code(|b| b.bitcast(Reg::F64, v))
            }
            Reg::F32 => {
                let v = self.bits(i64::from((c.to_f64() as f32).to_bits()));
                self.code(|b| {
                    let narrow = b.convert(Reg::I32, v);
                    b.bitcast(Reg::F32, narrow)
                })
            }
            reg => self.code(|b| b.scalar(reg, c)),
        }
    }

    /// Records an index outside `0..extent`, and gives one inside.
    pub(super) fn checked_index(&mut self, index: V, extent: Dim) -> V {
        let extent = self.index_value(&Lin::at(extent));
        self.code(|b| {
            let zero = b.int(Reg::I64, 0);
            let low = b.lt(index, zero);
            let high = b.le(extent, index);
            let bad = b.or(low, high);
            b.check(Fault::Index, bad);
            b.select(bad, zero, index)
        })
    }

    /// The operand's index at which a view reads its element `ix`.
    fn through(&mut self, view: &Op, inner: &[Dim], ix: &Ix) -> Result<Ix> {
        Ok(match view {
            Op::Detach => ix.clone(),
            Op::Permute(p) => {
                let mut out: Ix = Ix::from_elem(Lin::default(), p.0.len());
                for (i, o) in p.0.iter().enumerate() {
                    out[*o] = ix[i].clone();
                }
                out
            }
            Op::Expand(e) => {
                let lead = e.0.len() - inner.len();
                let at = |i: usize| if inner[i].is(1) { Lin::default() } else { ix[lead + i].clone() };
                (0..inner.len()).map(at).collect()
            }
            Op::Slice(s) => {
                let at = |(lin, r): (&Lin, &Span)| {
                    let mut l = lin.scale(r.step.into());
                    l.offset = l.offset + r.start;
                    l
                };
                ix.iter().zip(&s.0).map(at).collect()
            }
            Op::Diagonal(d) => {
                let last = ix[ix.len() - 1].clone();
                let mut rest = ix[..ix.len() - 1].iter();
                let shifted = |by: i64| Lin { offset: last.offset + by.max(0), ..last.clone() };
                let mut out = Ix::new();
                for i in 0..inner.len() {
                    out.push(if i == d.dim1 {
                        shifted(-d.offset)
                    } else if i == d.dim2 {
                        shifted(d.offset)
                    } else {
                        rest.next().cloned().unwrap_or_default()
                    });
                }
                out
            }
            Op::Reshape(r) => self.through_reshape(inner, &r.0, ix)?,
            op => return Err(internal(&format!("`{}` is no view", op.name()))),
        })
    }

    /// Every dimension of `inner` is made of whole dimensions of `outer`.
    fn through_reshape(&mut self, inner: &[Dim], outer: &[Dim], ix: &Ix) -> Result<Ix> {
        let blocks =
            blocks(inner, outer).ok_or_else(|| internal("a reshape that index arithmetic cannot say is not stored"))?;
        let along = |block: Vec<usize>| {
            let extents: Dims = block.iter().map(|j| outer[*j]).collect();
            let mut lin = Lin::default();
            for (j, s) in block.iter().zip(row_major_dims(&extents)) {
                lin.add(&ix[*j].scale(s));
            }
            lin
        };
        Ok(blocks.into_iter().map(along).collect())
    }
}

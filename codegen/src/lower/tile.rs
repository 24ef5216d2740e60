//! Loops over transposed operands go in tiles.
//!
//! Where one operand lies in memory the other way round, neither order of two loops suits both: the vectors of one operand
//! take one element from each of many cache lines, which are gone before the next of their elements is wanted. So the outer
//! loop is cut into blocks of as many iterations as a cache line has elements, and goes inside:
//!
//! ```text
//!   for i0 in 0..p0 { for vector i1 in 0..p1 { .. } }
//!   for i2 in 0..ceil(p0 / 16) { for vector i1 in 0..p1 { for i0 in block(i2, 16, p0) { .. } } }
//! ```
//!
//! Every iteration computes what it did, so nothing changes but the order.

use super::finish::Finish;
use crate::loopnest::{Affine, Coef, Extent, Loop, LoopKind, Stmt, Var};
use tensorc_ir::Dim;
use tensorc_ir::scalar::Inst;

/// Iterations of a block: a cache line of 32-bit elements.
const TILE: i64 = 16;
/// Loops with fewer iterations are left alone.
const LEAST: i64 = 64;

impl Finish {
    /// Cuts loops around vector loops into tiles where that is worth it.
    pub(super) fn tile(&mut self, body: Vec<Stmt>, next: &mut u32) -> Vec<Stmt> {
        let each = |s| match s {
            Stmt::For(l) if self.tiles(&l) => Stmt::For(self.tiled(l, next)),
            Stmt::For(mut l) => {
                l.body = self.tile(std::mem::take(&mut l.body), next);
                Stmt::For(l)
            }
            s => s,
        };
        body.into_iter().map(each).collect()
    }

    fn tiles(&self, outer: &Loop) -> bool {
        let Some((Stmt::For(inner), before)) = outer.body.split_last() else { return false };
        let simple = |s: &Stmt| match s {
            // The first iteration that fails is to be the same.
            Stmt::Inst(_, i) => !matches!(i, Inst::Check(..)),
            Stmt::Load { at, .. } | Stmt::Store { at, .. } => at.dynamic.is_none(),
            Stmt::Index(..) => true,
            _ => false,
        };
        let long = |l: &Loop| match l.extent {
            Extent::Whole(c) => self.value(&c).known().is_some_and(|n| n >= LEAST),
            Extent::Block { .. } => false,
        };
        let turned = |s: &Stmt| match s {
            Stmt::Load { at, .. } => {
                let stride = |v: Var| self.value(&at.affine.stride(v)).known();
                stride(outer.var) == Some(1) && stride(inner.var).is_some_and(|n| n.abs() >= TILE)
            }
            _ => false,
        };
        let kinds = outer.kind == LoopKind::Serial && inner.kind == LoopKind::Vector;
        kinds
            && long(outer)
            && long(inner)
            && before.iter().all(|s| simple(s) && !matches!(s, Stmt::Store { .. }))
            && inner.body.iter().all(simple)
            && inner.body.iter().any(turned)
    }

    fn tiled(&mut self, mut outer: Loop, next: &mut u32) -> Loop {
        let Extent::Whole(total) = outer.extent else { return outer };
        let Some(Stmt::For(inner)) = outer.body.pop() else { return outer };
        let blocks = Var(*next);
        *next += 1;
        let step = Coef::Const(TILE);
        let mut body = std::mem::take(&mut outer.body);
        body.extend(inner.body);
        body.iter_mut().for_each(|s| match s {
            Stmt::Index(_, a) => self.split(a, outer.var, blocks),
            Stmt::Load { at, .. } | Stmt::Store { at, .. } => self.split(&mut at.affine, outer.var, blocks),
            _ => {}
        });
        let count = self.word(self.value(&total).ceil_div(Dim::from(TILE)));
        let within = Loop { extent: Extent::Block { var: blocks, step, total }, body, ..outer };
        let across = Loop { body: vec![Stmt::For(within)], ..inner };
        Loop {
            var: blocks,
            extent: Extent::Whole(count),
            kind: LoopKind::Serial,
            parallel: false,
            body: vec![Stmt::For(across)],
        }
    }

    /// Puts `blocks * TILE + var` in the place of `var`.
    fn split(&mut self, a: &mut Affine, var: Var, blocks: Var) {
        let stride = a.stride(var);
        if stride == Coef::Const(0) {
            return;
        }
        let by = self.word(self.value(&stride) * Dim::from(TILE));
        a.terms.push((blocks, by));
    }
}

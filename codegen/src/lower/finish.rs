//! The last step of lowering: merges loops, decides the access class of each stride, and numbers the parameters.
//!
//! Two nested loops become one where every address moves on by the same step at the end of the inner loop: then a
//! contiguous tensor of any rank is one loop. Strides 0 disappear; the vector variable's stride 1 becomes a constant,
//! because it decides between a vector load and a gather. All else stays a run-time parameter, so that another shape of
//! the same class runs the same kernel.

use crate::loopnest::{Affine, Coef, Extent, Loop, LoopKind, LoopNest, Stmt, Var};
use crate::program::{BufferArg, LoopStep, Word};
use std::collections::HashSet;
use std::sync::Arc;
use tensorc_ir::{Dim, Loc};

/// The finished step of a nest whose parameters have these values.
pub fn finish(mut nest: LoopNest, values: Vec<Word>, args: Vec<BufferArg>, group: usize, loc: Loc) -> LoopStep {
    let mut f = Finish { values, params: Vec::new() };
    nest.body = f.merge(std::mem::take(&mut nest.body));
    let mut next = vars(&nest.body);
    nest.body = f.tile(std::mem::take(&mut nest.body), &mut next);
    mark_parallel(&mut nest.body);
    let (range, work) = match nest.body.last() {
        Some(Stmt::For(l)) if l.parallel => (f.extent(&l.extent), f.work(&l.body)),
        _ => (Dim::ONE, f.work(&nest.body)),
    };
    f.number(&mut nest.body, &mut HashSet::new());
    nest.params = f.params.len() as u32;
    LoopStep { nest: Arc::new(nest), args, params: f.params, range, work, group, loc }
}

pub(super) struct Finish {
    pub(super) values: Vec<Word>,
    params: Vec<Word>,
}

/// One more than the greatest number of a variable.
fn vars(body: &[Stmt]) -> u32 {
    let of = |s: &Stmt| match s {
        Stmt::For(l) => vars(&l.body).max(l.var.0 + 1),
        _ => 0,
    };
    body.iter().map(of).max().unwrap_or(0)
}

/// The one outermost loop, if straight-line code is all that stands before it, is shared out to threads.
fn mark_parallel(body: &mut [Stmt]) {
    let Some((Stmt::For(l), before)) = body.split_last_mut() else { return };
    let straight = |s: &Stmt| matches!(s, Stmt::Inst(..) | Stmt::Index(..) | Stmt::Load { .. });
    // A loop that updates an accumulator from outside, or stores at computed places, must run in order.
    if before.iter().all(straight) && !has_dynamic_store(&l.body) {
        l.parallel = true;
    }
}

fn has_dynamic_store(body: &[Stmt]) -> bool {
    body.iter().any(|s| match s {
        Stmt::Store { at, .. } => at.dynamic.is_some(),
        Stmt::For(l) => has_dynamic_store(&l.body),
        _ => false,
    })
}

impl Finish {
    pub(super) fn value(&self, c: &Coef) -> Dim {
        match c {
            Coef::Const(v) => Dim::from(*v),
            Coef::Param(p) => match self.values[*p as usize] {
                Word::Dim(d) => d,
                // The bits of a number are never compared; a number that no stride or extent is stands for them.
                Word::Bits(_) => Dim::from(i64::MIN),
            },
        }
    }

    /// A parameter with that value.
    pub(super) fn word(&mut self, value: Dim) -> Coef {
        self.values.push(Word::Dim(value));
        Coef::Param(self.values.len() as u32 - 1)
    }

    fn extent(&self, e: &Extent) -> Dim {
        match e {
            Extent::Whole(c) => self.value(c),
            Extent::Block { step, total, .. } => self.value(step).min(self.value(total)),
        }
    }

    /// How often the innermost statements run, about.
    fn work(&self, body: &[Stmt]) -> Dim {
        body.iter().fold(Dim::ZERO, |sum, s| match s {
            Stmt::For(l) => sum + self.extent(&l.extent) * self.work(&l.body).max(Dim::ONE),
            Stmt::Inst(..) | Stmt::Load { .. } | Stmt::Store { .. } => sum + 1,
            _ => sum,
        })
    }

    fn merge(&mut self, body: Vec<Stmt>) -> Vec<Stmt> {
        body.into_iter()
            .map(|s| match s {
                Stmt::For(l) => Stmt::For(self.merge_loop(l)),
                s => s,
            })
            .collect()
    }

    fn merge_loop(&mut self, mut outer: Loop) -> Loop {
        outer.body = self.merge(std::mem::take(&mut outer.body));
        let mergeable = match (&outer.body[..], &outer.extent) {
            ([Stmt::For(inner)], Extent::Whole(_)) => {
                outer.kind == LoopKind::Serial
                    && matches!(inner.extent, Extent::Whole(_))
                    && self.steps_on(&inner.body, outer.var, inner.var, self.extent(&inner.extent))
            }
            _ => false,
        };
        if !mergeable {
            return outer;
        }
        let Some(Stmt::For(mut inner)) = outer.body.pop() else { return outer };
        inner.extent = Extent::Whole(self.word(self.extent(&outer.extent) * self.extent(&inner.extent)));
        // The outer loop's variable stays, so that tensors of any rank give one kernel.
        drop_var(&mut inner.body, outer.var);
        rename(&mut inner.body, inner.var, outer.var);
        inner.var = outer.var;
        inner
    }

    /// Whether every address moves by `extent` inner steps when the outer variable moves by one.
    fn steps_on(&self, body: &[Stmt], outer: Var, inner: Var, extent: Dim) -> bool {
        let fits = |a: &Affine| self.value(&a.stride(outer)) == self.value(&a.stride(inner)) * extent;
        body.iter().all(|s| match s {
            Stmt::Index(_, a) => fits(a),
            Stmt::Load { at, .. } | Stmt::Store { at, .. } => fits(&at.affine),
            Stmt::For(l) => {
                let block = matches!(l.extent, Extent::Block { var, .. } if var == outer || var == inner);
                !block && self.steps_on(&l.body, outer, inner, extent)
            }
            _ => true,
        })
    }

    /// Rewrites values to constants where they decide the class, and to numbered parameters elsewhere.
    fn number(&mut self, body: &mut [Stmt], vectors: &mut HashSet<Var>) {
        for s in body {
            match s {
                Stmt::Index(_, a) => self.number_affine(a, vectors, true),
                Stmt::Load { at, .. } | Stmt::Store { at, .. } => self.number_affine(&mut at.affine, vectors, false),
                Stmt::For(l) => {
                    match &mut l.extent {
                        Extent::Whole(c) => *c = self.param(*c),
                        Extent::Block { step, total, .. } => {
                            // Blocks are as long as the definition says, for every shape of the class or for this one.
                            // Tiles are as long as a cache line, which is part of the class.
                            if !matches!(step, Coef::Const(_)) {
                                *step = self.param(*step);
                            }
                            *total = self.param(*total);
                        }
                    }
                    // So do the steps of a tile's rows.
                    let tile = !vectors.is_empty() && matches!(l.extent, Extent::Block { .. });
                    if l.kind == LoopKind::Vector || tile {
                        vectors.insert(l.var);
                    }
                    self.number(&mut l.body, vectors);
                }
                _ => {}
            }
        }
    }

    fn number_affine(&mut self, a: &mut Affine, vectors: &HashSet<Var>, counts: bool) {
        let nothing = a.offset == Coef::Const(0) || !counts && self.value(&a.offset).is(0);
        a.offset = if nothing { Coef::Const(0) } else { self.param(a.offset) };
        let terms = std::mem::take(&mut a.terms);
        for (v, c) in terms {
            match self.value(&c).known() {
                Some(0) => {}
                Some(1) if vectors.contains(&v) => a.terms.push((v, Coef::Const(1))),
                _ => a.terms.push((v, self.param(c))),
            }
        }
    }

    fn param(&mut self, c: Coef) -> Coef {
        self.params.push(match c {
            Coef::Const(v) => Word::Dim(v.into()),
            Coef::Param(p) => self.values[p as usize],
        });
        Coef::Param(self.params.len() as u32 - 1)
    }
}

/// Removes a merged loop's variable from every address.
fn drop_var(body: &mut [Stmt], var: Var) {
    for s in body {
        match s {
            Stmt::Index(_, a) => a.terms.retain(|(v, _)| *v != var),
            Stmt::Load { at, .. } | Stmt::Store { at, .. } => at.affine.terms.retain(|(v, _)| *v != var),
            Stmt::For(l) => drop_var(&mut l.body, var),
            _ => {}
        }
    }
}

/// Puts another variable in the place of one in every address.
fn rename(body: &mut [Stmt], from: Var, to: Var) {
    let affine = |a: &mut Affine| a.terms.iter_mut().filter(|(v, _)| *v == from).for_each(|(v, _)| *v = to);
    for s in body {
        match s {
            Stmt::Index(_, a) => affine(a),
            Stmt::Load { at, .. } | Stmt::Store { at, .. } => affine(&mut at.affine),
            Stmt::For(l) => rename(&mut l.body, from, to),
            _ => {}
        }
    }
}

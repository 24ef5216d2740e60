//! Lowering: one group of a fusion becomes one loop nest.
//!
//! The idea is to *pull*: to store a value at an index, evaluate its node there; a node evaluates its operands at
//! indices that follow from its own, views only change the index, and what is in memory is loaded. So broadcasts, slices
//! and permutations cost nothing and become strides. Loops are opened by the drivers in `groups`; an instruction goes
//! into the outermost loop in which its operands are known.
//!
//! While lowering, every extent, stride and offset is a run-time parameter with a known value; `finish` then merges
//! loops, fixes strides 0 and 1 where they decide the kind of memory access, and leaves the rest as parameters.

mod eval;
mod finish;
mod groups;
mod keep;
mod sort;
mod tile;
mod window;

pub use groups::{Store, lower_checks, lower_group, lower_stores};
pub use window::{Aside, Chunks, lower_window};

use crate::loopnest::{AccId, Access, Affine, Buf, BufDecl, Coef, Extent, Loop, LoopKind, LoopNest, Stmt, Var};
use crate::program::{BufferArg, LoopStep, Place, Word};
use smallvec::SmallVec;
use std::collections::HashMap;
use tensorc_ir::interp::may_fail;
use tensorc_ir::passes::fuse::Fusion;
use tensorc_ir::scalar::{Block, Inst, Reg, V};
use tensorc_ir::{Dim, Graph, Loc, NodeId, Value};

/// Where values lie in memory: the stored ones, parameters and literals.
pub type Places = HashMap<Value, Place>;

/// One index: `offset + Σ var * factor (+ register)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lin {
    pub offset: Dim,
    pub terms: SmallVec<[(Var, Dim); 2]>,
    pub dynamic: Option<V>,
}

impl Lin {
    pub(crate) fn at(offset: Dim) -> Lin {
        Lin { offset, terms: SmallVec::new(), dynamic: None }
    }

    pub(crate) fn var(v: Var) -> Lin {
        Lin { offset: Dim::ZERO, terms: SmallVec::from_elem((v, Dim::ONE), 1), dynamic: None }
    }

    pub(crate) fn scale(&self, by: Dim) -> Lin {
        if by.is(0) {
            return Lin::default();
        }
        Lin {
            offset: self.offset * by,
            terms: self.terms.iter().map(|(v, c)| (*v, *c * by)).collect(),
            dynamic: self.dynamic,
        }
    }

    pub(crate) fn add(&mut self, other: &Lin) {
        self.offset = self.offset + other.offset;
        for (v, c) in &other.terms {
            match self.terms.iter_mut().find(|(w, _)| w == v) {
                Some((_, d)) => *d = *d + *c,
                None => self.terms.push((*v, *c)),
            }
        }
        self.terms.retain(|(_, c)| !c.is(0));
        self.terms.sort_unstable_by_key(|(v, _)| *v);
        debug_assert!(self.dynamic.is_none() || other.dynamic.is_none());
        self.dynamic = self.dynamic.or(other.dynamic);
    }
}

/// The indices of a value, one for each dimension.
pub(crate) type Ix = SmallVec<[Lin; 4]>;

/// A loop (or the kernel itself) under construction.
struct Scope {
    header: Option<(Var, Extent, LoopKind)>,
    stmts: Vec<Stmt>,
    seen: HashMap<Inst, V>,
}

/// A kernel under construction.
pub struct Lower<'a> {
    g: &'a Graph,
    fusion: &'a Fusion,
    places: &'a Places,
    group: usize,
    block: Block,
    scopes: Vec<Scope>,
    depth: Vec<usize>,
    var_depth: Vec<usize>,
    memo: HashMap<(Value, Ix), V>,
    reduced: HashMap<NodeId, V>,
    /// Values of rows that wait in memory for the next pass.
    kept: HashMap<NodeId, Place>,
    args: Vec<BufferArg>,
    bufs: Vec<BufDecl>,
    values: Vec<Word>,
    accs: u32,
}

impl<'a> Lower<'a> {
    fn new(g: &'a Graph, fusion: &'a Fusion, places: &'a Places, group: usize) -> Lower<'a> {
        let root = Scope { header: None, stmts: Vec::new(), seen: HashMap::new() };
        Lower {
            g,
            fusion,
            places,
            group,
            block: Block::new(),
            scopes: vec![root],
            depth: Vec::new(),
            var_depth: Vec::new(),
            memo: HashMap::new(),
            reduced: HashMap::new(),
            kept: HashMap::new(),
            args: Vec::new(),
            bufs: Vec::new(),
            values: Vec::new(),
            accs: 0,
        }
    }

    /// A parameter of the kernel with that value.
    fn coef(&mut self, value: impl Into<Dim>) -> Coef {
        self.word(Word::Dim(value.into()))
    }

    fn word(&mut self, word: Word) -> Coef {
        self.values.push(word);
        Coef::Param(self.values.len() as u32 - 1)
    }

    fn open(&mut self, extent: Extent, kind: LoopKind) -> Var {
        let var = Var(self.var_depth.len() as u32);
        self.var_depth.push(self.scopes.len());
        let seen = self.block.save();
        self.scopes.push(Scope { header: Some((var, extent, kind)), stmts: Vec::new(), seen });
        var
    }

    fn open_whole(&mut self, extent: Dim, kind: LoopKind) -> Var {
        let e = Extent::Whole(self.coef(extent));
        self.open(e, kind)
    }

    fn close(&mut self) {
        let Some(scope) = self.scopes.pop() else { return };
        self.block.restore(scope.seen);
        let depth = self.scopes.len();
        self.memo.retain(|_, v| self.depth[v.0 as usize] < depth);
        if let Some((var, extent, kind)) = scope.header {
            self.push(Stmt::For(Loop { var, extent, kind, parallel: false, body: scope.stmts }));
        }
    }

    /// Closes loops until so many scopes are open.
    fn close_to(&mut self, scopes: usize) {
        while self.scopes.len() > scopes {
            self.close();
        }
    }

    fn push(&mut self, s: Stmt) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.stmts.push(s);
        }
    }

    fn here(&self) -> usize {
        self.scopes.len() - 1
    }

    /// A register that a statement at `depth` defines.
    fn define(&mut self, reg: Reg, depth: usize) -> V {
        let v = self.block.fresh(reg);
        self.depth.resize(self.block.len(), 0);
        self.depth[v.0 as usize] = depth;
        v
    }

    /// Moves the instructions written to the block into the scopes where their operands are known.
    fn flush(&mut self) {
        self.depth.resize(self.block.len(), 0);
        for (v, inst) in self.block.take() {
            let d = |x: V| self.depth[x.0 as usize];
            let at = match inst {
                // A check must not run for iterations that do not exist.
                Inst::Check(..) => self.here(),
                Inst::Param(_) | Inst::Const(..) => 0,
                Inst::Un(_, a) | Inst::Convert(_, a) | Inst::Bitcast(_, a) | Inst::Round(_, a) => d(a),
                Inst::Bin(_, a, b) | Inst::Cmp(_, a, b) => d(a).max(d(b)),
                Inst::Fma(a, b, c) | Inst::Select(a, b, c) => d(a).max(d(b)).max(d(c)),
            };
            self.depth[v.0 as usize] = at;
            self.scopes[at].stmts.push(Stmt::Inst(v, inst));
        }
    }

    /// Appends scalar code.
    fn code(&mut self, f: impl FnOnce(&mut Block) -> V) -> V {
        let v = f(&mut self.block);
        self.flush();
        v
    }

    fn lin_depth(&self, lin: &Lin) -> usize {
        let vars = lin.terms.iter().map(|(v, _)| self.var_depth[v.0 as usize]).max().unwrap_or(0);
        vars.max(lin.dynamic.map_or(0, |v| self.depth[v.0 as usize]))
    }

    fn affine(&mut self, lin: &Lin, offset: Dim) -> Affine {
        let offset = if offset.is(0) { Coef::Const(0) } else { self.coef(offset) };
        let terms = lin.terms.iter().map(|(v, c)| (*v, self.coef(*c))).collect();
        Affine { offset, terms }
    }

    /// The value of an index as an `i64` register.
    fn index_value(&mut self, lin: &Lin) -> V {
        let depth = self.lin_depth(&Lin { dynamic: None, ..lin.clone() });
        let affine = self.affine(lin, lin.offset);
        let v = self.define(Reg::I64, depth);
        self.scopes[depth].stmts.push(Stmt::Index(v, affine));
        match lin.dynamic {
            Some(d) => self.code(|b| b.add(v, d)),
            None => v,
        }
    }

    /// The bits of a number of the program as an `i64` register.
    fn bits(&mut self, bits: i64) -> V {
        let v = self.define(Reg::I64, 0);
        let affine = Affine { offset: self.word(Word::Bits(bits)), terms: Vec::new() };
        self.scopes[0].stmts.push(Stmt::Index(v, affine));
        v
    }

    /// The element index of `ix` in a layout, as an access of one of the kernel's buffers.
    fn access(&mut self, place: &Place, dtype: tensorc_ir::DType, ix: &Ix, written: bool) -> (Buf, Access, usize) {
        let mut sum = Lin::at(place.layout.offset);
        for (lin, stride) in ix.iter().zip(&place.layout.strides) {
            let dynamic = lin.dynamic.map(|d| {
                let s = self.index_value(&Lin::at(*stride));
                self.code(|b| b.mul(d, s))
            });
            let scaled = Lin { dynamic: None, ..lin.scale(*stride) };
            sum.add(&scaled);
            sum.dynamic = match (sum.dynamic, dynamic) {
                (Some(a), Some(b)) => Some(self.code(|block| block.add(a, b))),
                (a, b) => a.or(b),
            };
        }
        let arg = BufferArg { buffer: place.buffer, offset: sum.offset };
        let found = self.args.iter().zip(&self.bufs).position(|(a, b)| *a == arg && b.dtype == dtype);
        let i = found.unwrap_or_else(|| {
            self.args.push(arg);
            self.bufs.push(BufDecl { dtype, written: false });
            self.args.len() - 1
        });
        self.bufs[i].written |= written;
        let depth = self.lin_depth(&sum);
        let access = Access { affine: self.affine(&sum, Dim::ZERO), dynamic: sum.dynamic };
        (Buf(i as u32), access, depth)
    }

    fn acc(&mut self) -> AccId {
        self.accs += 1;
        AccId(self.accs - 1)
    }

    /// The line of the group's node that checks its operands, if one does; else of its last node.
    fn fault_loc(&self) -> Loc {
        let nodes = self.fusion.groups.get(self.group).map_or(&[][..], |g| &g.nodes);
        nodes.iter().find(|n| may_fail(self.g, **n)).or(nodes.last()).map_or(Loc::Unknown, |n| self.g.node(*n).loc)
    }

    /// The kernel as a step.
    fn finish(mut self) -> LoopStep {
        self.close_to(1);
        let body = self.scopes.pop().map(|s| s.stmts).unwrap_or_default();
        let regs = (0..self.block.len()).map(|i| self.block.ty(V(i as u32))).collect();
        let loc = self.fault_loc();
        let nest = LoopNest { bufs: self.bufs, params: self.values.len() as u32, regs, body };
        finish::finish(nest, self.values, self.args, self.group, loc)
    }
}

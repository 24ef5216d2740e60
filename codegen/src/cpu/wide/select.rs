//! Statements of a vector loop as instructions on virtual registers.
//!
//! A group is sixteen iterations. A 32-bit register of the loop nest is one vector, a 64-bit one is two (low lanes first);
//! narrower integers are held in 32-bit lanes, sign- or zero-extended as their type says; a truth value is a mask of sixteen
//! bits. The body is written for one group or several, and for the last iterations once more under a mask, by which memory
//! outside is neither read nor written and accumulators keep the lanes that have no iteration.
//!
//! What is the same for all iterations is not computed here: it is in the *frame*, whose [`Slot`]s the caller fills.

use super::body::{Acc, Body, Outer, OuterPair, Parts, Slot};
use super::machine::{Base, Count, Def, File, Form, Info, Inner, Node, Op, Place, R, Width};
use crate::cpu::asm::Asm;
use crate::loopnest::{AccId, Access, Affine, Buf, Coef, Extent, Loop, LoopKind, LoopNest, Piece, Stmt, Var, pieces};
use iced_x86::Code;
use smallvec::smallvec;
use std::collections::HashMap;
use tensorc_ir::DType;
use tensorc_ir::scalar::{Inst, Reg, V};

/// Statements of a run that are few enough to come group by group.
const WOVEN: usize = 24;

/// A loop's body being written.
pub(super) struct Select<'a, 'l> {
    pub(super) nest: &'a LoopNest,
    pub(super) var: Var,
    /// The bits of registers that are constants outside.
    pub(super) known: &'a dyn Fn(V) -> Option<u64>,
    pub(super) asm: &'a mut Asm,
    pub(super) slots: &'a mut Vec<Slot>,
    /// Buffers that the loop writes, and those that the kernel reads.
    pub(super) written: &'a [Buf],
    pub(super) read: &'a [Buf],
    pub(super) groups: usize,
    pub(super) tail: Option<[R; 2]>,
    pub(super) nodes: Vec<Node>,
    pub(super) infos: Vec<Info>,
    pub(super) vals: HashMap<V, Vec<Parts>>,
    pub(super) consts: HashMap<V, u64>,
    pub(super) accs: HashMap<AccId, Acc>,
    /// The inner loops around.
    pub(super) inner: Vec<Around>,
    pub(super) cache: Cache,
    invariants: HashMap<(Place, Form), R>,
    moving: usize,
    loops: usize,
    uniform: Vec<&'l Stmt>,
    pub(super) strided: usize,
    /// Loads of the inner loop whose values lie turned in the function's own memory, from that byte on.
    pub(super) turned: Vec<(Buf, &'l Access, i32)>,
    /// Bytes of that memory.
    pub(super) own: i32,
}

/// An inner loop around what is being written.
pub(super) struct Around {
    pub(super) var: Var,
    pub(super) number: usize,
    /// Pointers that it moves, as [`Inner::moving`].
    pub(super) moves: Vec<(usize, Base, Count)>,
}

/// Values that are there already, as long as the loop around them is open.
#[derive(Clone, Default)]
pub(super) struct Cache {
    /// The upper eight bits of masks.
    pub(super) high: HashMap<R, R>,
    /// The first iteration of the turn, and counters of inner loops.
    pub(super) counters: HashMap<Option<usize>, R>,
    /// The bits in memory that values of half floats were made from.
    pub(super) half: HashMap<R, (DType, R)>,
}

impl<'a, 'l> Select<'a, 'l> {
    #[expect(clippy::too_many_arguments, reason = "what both bodies of a loop share, and how they differ")]
    pub(super) fn new(
        nest: &'a LoopNest,
        var: Var,
        known: &'a dyn Fn(V) -> Option<u64>,
        asm: &'a mut Asm,
        slots: &'a mut Vec<Slot>,
        [written, read]: [&'a [Buf]; 2],
        groups: usize,
        rest: bool,
    ) -> Select<'a, 'l> {
        let mut s = Select {
            nest,
            var,
            known,
            asm,
            slots,
            written,
            read,
            groups,
            tail: None,
            nodes: Vec::new(),
            infos: Vec::new(),
            vals: HashMap::new(),
            consts: HashMap::new(),
            accs: HashMap::new(),
            inner: Vec::new(),
            cache: Cache::default(),
            invariants: HashMap::new(),
            moving: 0,
            loops: 0,
            uniform: Vec::new(),
            strided: 0,
            turned: Vec::new(),
            own: 0,
        };
        if rest {
            let tail = [s.register(File::Mask, Def::Variable), s.register(File::Mask, Def::Variable)];
            s.cache.high.insert(tail[0], tail[1]);
            s.tail = Some(tail);
        }
        s
    }

    /// Writes the body of `l`; `None` if something in it has no form here.
    pub(super) fn body(mut self, l: &'l Loop, outer: &[Outer]) -> Option<Body<'l>> {
        let mut frame = Vec::new();
        for o in outer {
            let pair = self.outer_pair(o.combine, o.reg);
            let lanes = self.slot(Slot::Lanes(o.acc, false));
            let indices = if pair.index.is_empty() { lanes } else { self.slot(Slot::Lanes(o.acc, true)) };
            let identity = crate::cpu::acc::identity(o.combine, o.reg);
            let start = [self.constant(o.reg, identity)[0], self.constant(Reg::I64, i64::MAX as u64)[0]];
            let start = o.fresh.then_some(start);
            frame.push(OuterPair { reg: o.reg, pair: pair.clone(), lanes: [lanes, indices], start });
            self.accs.insert(o.acc, Acc { combine: o.combine, reg: o.reg, groups: vec![pair] });
        }
        self.stmts(&l.body)?;
        Some(Body {
            nodes: self.nodes,
            infos: self.infos,
            tail: self.tail,
            outer: frame,
            moving: self.moving,
            loops: self.loops,
            uniform: self.uniform,
            strided: self.strided,
            own: self.own,
        })
    }

    /// Between loops all statements of one group come before those of the next, but for long runs of statements.
    fn stmts(&mut self, stmts: &'l [Stmt]) -> Option<()> {
        for piece in pieces(stmts) {
            match piece {
                Piece::Loop(l) => self.for_loop(l)?,
                // Long ones are woven together, so that one waits while the other is computed.
                Piece::Straight(run) if run.len() > WOVEN => {
                    for s in run {
                        (0..self.groups).try_for_each(|g| self.stmt(s, g))?;
                    }
                }
                Piece::Straight(run) => {
                    for g in 0..self.groups {
                        run.iter().try_for_each(|s| self.stmt(s, g))?;
                    }
                }
            }
        }
        Some(())
    }

    fn stmt(&mut self, stmt: &'l Stmt, g: usize) -> Option<()> {
        if self.is_uniform(stmt) {
            // A check in an inner loop would have to know whether it runs.
            let check = matches!(stmt, Stmt::Inst(_, Inst::Check(..)));
            if g == 0 {
                self.uniform.push(stmt);
            }
            return (!check || self.inner.is_empty()).then_some(());
        }
        match stmt {
            Stmt::Inst(v, Inst::Const(_, bits)) => {
                self.consts.insert(*v, *bits);
                if g == 0 {
                    self.uniform.push(stmt);
                }
            }
            Stmt::Inst(_, Inst::Check(fault, c)) => {
                let lanes = self.group(*c, g)?[0];
                let lanes = match self.tail {
                    Some([tail, _]) => self.mask_op(Code::VEX_Kandw_kr_kr_kr, &[lanes, tail]),
                    None => lanes,
                };
                let word = self.slot(Slot::Word);
                self.nodes.push(Node::Fault { lanes, code: u64::from(fault.code()), word });
            }
            Stmt::Inst(v, inst) => {
                let parts = self.inst(*inst, g)?;
                self.define(*v, g, parts);
            }
            Stmt::Index(v, affine) => {
                let parts = self.index(affine, g)?;
                self.define(*v, g, parts);
            }
            Stmt::Load { dst, buf, at } => {
                let parts = self.load(*buf, at, g)?;
                self.define(*dst, g, parts);
            }
            Stmt::Store { buf, at, value } => self.store(*buf, at, *value, g)?,
            Stmt::Acc { acc, combine, reg, lanes } => {
                if g == 0 {
                    (*lanes == 1).then_some(())?;
                    self.acc(*acc, *combine, *reg)?;
                }
            }
            Stmt::Update { acc, value, index } => self.update(*acc, *value, *index, g)?,
            Stmt::Read { dst, acc } => {
                let parts = self.read(*acc, g)?;
                self.define(*dst, g, parts);
            }
            Stmt::For(_) => return None,
        }
        Some(())
    }

    /// Whether the caller does that statement: it is the same for all iterations, and cannot fault.
    pub(super) fn is_uniform(&self, stmt: &Stmt) -> bool {
        let same = |v: &V| !self.vals.contains_key(v);
        let still = |a: &Affine| !a.terms.iter().any(|(v, c)| self.is_own(*v) && *c != Coef::Const(0));
        match stmt {
            Stmt::Inst(_, Inst::Const(..)) => false,
            Stmt::Inst(_, inst) => crate::cpu::inst::operands(*inst).iter().all(same),
            Stmt::Index(_, affine) => still(affine),
            Stmt::Load { buf, at, .. } => {
                // In an inner loop it may not be reached.
                let first = self.inner.is_empty() && !self.written.contains(buf);
                first && still(&at.affine) && at.dynamic.as_ref().is_none_or(same)
            }
            _ => false,
        }
    }

    /// Whether a variable is that of the vector loop or of an inner loop around.
    fn is_own(&self, v: Var) -> bool {
        v == self.var || self.inner.iter().any(|l| l.var == v)
    }

    /// The part of an affine expression that the caller knows.
    pub(super) fn outer_part(&self, affine: &Affine) -> Affine {
        let terms = affine.terms.iter().filter(|(v, _)| !self.is_own(*v)).copied();
        Affine { offset: affine.offset, terms: terms.collect() }
    }

    fn for_loop(&mut self, l: &'l Loop) -> Option<()> {
        (l.kind == LoopKind::Serial && !l.parallel).then_some(())?;
        let number = self.loops;
        let mut block = None;
        let count = match l.extent {
            Extent::Whole(Coef::Const(n)) if n <= 0 => return Some(()),
            Extent::Whole(Coef::Const(n)) => Count::Known(i64::from(i32::try_from(n).ok()?)),
            Extent::Block { var, .. } if var == self.var => return None,
            Extent::Block { var, step, total } if self.inner.iter().any(|l| l.var == var) => {
                let outer = self.inner.iter().find(|l| l.var == var)?.number;
                block = Some((outer, self.slot(Slot::Step(step, 1)), self.slot(Slot::Step(total, 1))));
                Count::Frame(self.slot(Slot::Room(number + 1)))
            }
            extent => Count::Frame(self.slot(Slot::Count(extent))),
        };
        self.loops += 1;
        let outside = self.turned.clone();
        self.turned.clear();
        if block.is_none() {
            self.turn_tiles(l, count)?;
        }
        let (begin, cache) = (self.nodes.len(), self.cache.clone());
        let inner = Inner { count, block, moving: Vec::new(), number };
        self.nodes.push(Node::Begin(inner.clone()));
        self.inner.push(Around { var: l.var, number, moves: Vec::new() });
        self.stmts(&l.body)?;
        let moving = self.inner.pop()?.moves;
        self.nodes[begin] = Node::Begin(Inner { moving, ..inner });
        self.nodes.push(Node::End);
        self.cache = cache;
        self.turned = outside;
        Some(())
    }

    /// A new virtual register.
    pub(super) fn register(&mut self, file: File, def: Def) -> R {
        self.infos.push(Info { file, def });
        R(self.infos.len() as u32 - 1)
    }

    /// The byte of a slot in the frame.
    pub(super) fn slot(&mut self, slot: Slot) -> i32 {
        let at = self.slots.iter().position(|s| *s == slot).unwrap_or_else(|| {
            self.slots.push(slot);
            self.slots.len() - 1
        });
        at as i32 * 8
    }

    /// A pointer that the loops around move, for inner loops from `from` on.
    pub(super) fn moved(&mut self, mut base: Base, steps: &[(usize, Count)]) -> Base {
        for (depth, step) in steps {
            let known = self.inner[*depth].moves.iter().find(|(_, from, s)| *from == base && s == step);
            let number = match known {
                Some((number, ..)) => *number,
                None => {
                    let number = self.new_pointer();
                    self.inner[*depth].moves.push((number, base, *step));
                    number
                }
            };
            base = Base::Moving(number);
        }
        base
    }

    /// The number of a new pointer that moves.
    pub(super) fn new_pointer(&mut self) -> usize {
        self.moving += 1;
        self.moving - 1
    }

    pub(super) fn invariant(&mut self, place: Place, form: Form) -> R {
        if let Some(r) = self.invariants.get(&(place, form)) {
            return *r;
        }
        let file = if form == Form::Bits { File::Mask } else { File::Vector };
        let r = self.register(file, Def::Invariant(place, form));
        self.invariants.insert((place, form), r);
        r
    }

    /// The number `bits` of four bytes in all lanes.
    pub(super) fn splat4(&mut self, bits: u32) -> R {
        let place = Place::Pool(self.asm.constant(&bits.to_le_bytes()));
        self.invariant(place, Form::Splat4)
    }

    /// The number `bits` of eight bytes in all lanes.
    pub(super) fn splat8(&mut self, bits: u64) -> R {
        let place = Place::Pool(self.asm.constant(&bits.to_le_bytes()));
        self.invariant(place, Form::Splat8)
    }

    /// Eight numbers.
    pub(super) fn literal(&mut self, numbers: [u64; 8]) -> R {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let place = Place::Pool(self.asm.constant(&bytes));
        self.invariant(place, Form::Full)
    }

    /// A constant of that type.
    pub(super) fn constant(&mut self, reg: Reg, bits: u64) -> Parts {
        match reg {
            Reg::F64 | Reg::I64 => Parts::from_elem(self.splat8(bits), 2),
            Reg::Bool => {
                let bits: u16 = if bits != 0 { u16::MAX } else { 0 };
                let place = Place::Pool(self.asm.constant(&bits.to_le_bytes()));
                smallvec![self.invariant(place, Form::Bits)]
            }
            _ => smallvec![self.splat4(bits as u32)],
        }
    }

    pub(super) fn reg(&self, v: V) -> Reg {
        self.nest.regs[v.0 as usize]
    }

    fn define(&mut self, v: V, g: usize, parts: Parts) {
        let groups = self.vals.entry(v).or_default();
        groups.truncate(g);
        groups.push(parts);
    }

    /// Group `g` of a register.
    pub(super) fn group(&mut self, v: V, g: usize) -> Option<Parts> {
        if let Some(groups) = self.vals.get(&v) {
            return groups.get(g).cloned();
        }
        let reg = self.reg(v);
        if let Some(bits) = self.consts.get(&v).copied().or_else(|| (self.known)(v)) {
            return Some(self.constant(reg, bits));
        }
        let place = Place::Frame(self.slot(Slot::Value(v)));
        Some(match reg {
            Reg::F64 | Reg::I64 => Parts::from_elem(self.invariant(place, Form::Splat8), 2),
            Reg::Bool => smallvec![self.invariant(place, Form::Bits)],
            _ => smallvec![self.invariant(place, Form::Splat4)],
        })
    }

    /// Writes `op`, whose result is a new register.
    pub(super) fn push(&mut self, mut op: Op, width: Width) -> R {
        let file = if width == Width::K { File::Mask } else { File::Vector };
        let r = self.register(file, Def::Temp);
        op.dst = Some((r, width));
        self.nodes.push(Node::Op(op));
        r
    }

    /// An instruction on whole vectors, whose last argument may be an element of `size` bytes in memory.
    pub(super) fn whole(&mut self, code: Code, size: u32, args: &[R], imm: Option<u8>) -> R {
        let args = args.iter().map(|r| (*r, Width::Z)).collect();
        self.push(Op { args, imm, splat: (size != 0).then_some(size), ..Op::new(code) }, Width::Z)
    }

    /// An instruction of one argument and result of these widths.
    pub(super) fn narrow(&mut self, code: Code, to: Width, x: R, from: Width, imm: Option<u8>) -> R {
        self.push(Op { args: smallvec![(x, from)], imm, ..Op::new(code) }, to)
    }

    /// An instruction on masks.
    pub(super) fn mask_op(&mut self, code: Code, args: &[R]) -> R {
        let args = args.iter().map(|r| (*r, Width::K)).collect();
        self.push(Op { args, ..Op::new(code) }, Width::K)
    }

    /// The upper eight bits of a mask.
    pub(super) fn high(&mut self, mask: R) -> R {
        if let Some(r) = self.cache.high.get(&mask) {
            return *r;
        }
        let op = Op { args: smallvec![(mask, Width::K)], imm: Some(8), ..Op::new(Code::VEX_Kshiftrw_kr_kr_imm8) };
        let r = self.push(op, Width::K);
        self.cache.high.insert(mask, r);
        r
    }

    /// Part `part` of `parts` of a mask.
    pub(super) fn part(&mut self, mask: R, part: usize) -> R {
        if part == 0 { mask } else { self.high(mask) }
    }

    /// The mask of what has an iteration, of a part of `parts`.
    pub(super) fn tail_part(&self, part: usize) -> Option<R> {
        self.tail.map(|t| t[part])
    }

    /// A mask of sixteen from one or two.
    pub(super) fn joined(&mut self, masks: &[R]) -> R {
        match masks {
            [low, high] => self.mask_op(Code::VEX_Kunpckbw_kr_kr_kr, &[*high, *low]),
            _ => masks[0],
        }
    }

    /// The iteration that group 0 starts with, or the counter of an inner loop, in all lanes of 64 bits.
    pub(super) fn counter(&mut self, inner: Option<usize>) -> R {
        if let Some(r) = self.cache.counters.get(&inner) {
            return *r;
        }
        let r = self.register(File::Vector, Def::Temp);
        self.nodes.push(match inner {
            None => Node::Turn(r),
            Some(number) => Node::Counter(r, number),
        });
        self.cache.counters.insert(inner, r);
        r
    }
}

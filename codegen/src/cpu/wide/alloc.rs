//! Machine registers for virtual ones, in one walk over straight-line code.
//!
//! A temporary has a register from its definition to its last use; a variable from its first definition on. What does not
//! fit is written to memory, that first which is used last. In code with inner loops that is not done: there everything has
//! to fit.

use super::body::Body;
use super::legal::{Life, legal, load, operands};
use super::machine::{Def, File, Form, Info, Mem, Node, Op, R, Width};
use iced_x86::{Code, Register};
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;

/// A body whose operands have machine registers.
pub(super) struct Placed {
    pub(super) nodes: Vec<Node>,
    /// The machine registers of the virtual ones at each node.
    pub(super) numbers: Vec<Numbers>,
    /// Loads in front of the loop.
    pub(super) before: Vec<(Op, u8)>,
    /// Vectors' worth of memory for what had no register.
    pub(super) spilled: usize,
}

/// The machine registers of some virtual ones.
pub(super) type Numbers = SmallVec<[(R, u8); 5]>;

/// Vector registers.
const VECTORS: u8 = 32;
/// Mask registers; the first cannot mask.
const MASKS: std::ops::Range<u8> = 1..8;

/// The machine register of a file with that number.
pub(super) fn register(width: Width, number: u8) -> Register {
    let first = match width {
        Width::X => Register::XMM0,
        Width::Y => Register::YMM0,
        Width::Z => Register::ZMM0,
        Width::K => Register::K0,
    };
    first + u32::from(number)
}

/// Gives a body registers; `fixed` have theirs. `None` if there are too few.
pub(super) fn place(body: &Body<'_>, fixed: &HashMap<R, u8>) -> Option<Placed> {
    let mut infos = body.infos.clone();
    let first = legal(&body.nodes, &mut infos, &[]);
    let kept = keep(body, &first, &infos);
    let mut infos = body.infos.clone();
    let nodes = legal(&body.nodes, &mut infos, &kept);
    let life = Life::of(&nodes, infos.len());
    let mut a = Alloc {
        loops: nodes.iter().any(|n| matches!(n, Node::Begin(_))),
        life,
        infos,
        at: Vec::new(),
        free: [(0..VECTORS).rev().collect(), MASKS.rev().collect()],
        slots: HashMap::new(),
        out: Placed { nodes: Vec::new(), numbers: Vec::new(), before: Vec::new(), spilled: 0 },
    };
    a.at.resize(a.infos.len(), None);
    for (r, n) in fixed {
        a.at[r.0 as usize] = Some(*n);
        let file = a.infos[r.0 as usize].file;
        a.free[file as usize].retain(|f| f != n);
    }
    for r in kept {
        let Def::Invariant(place, form) = a.infos[r.0 as usize].def else { continue };
        let n = a.free[File::Vector as usize].pop()?;
        a.at[r.0 as usize] = Some(n);
        a.out.before.push((load(r, place, form), n));
    }
    for (at, node) in nodes.into_iter().enumerate() {
        a.node(at, node)?;
    }
    Some(a.out)
}

/// The invariants that get registers: as many as the body leaves free, the most used first.
fn keep(body: &Body<'_>, nodes: &[Node], infos: &[Info]) -> Vec<R> {
    let life = Life::of(nodes, infos.len());
    let vector = |r: R| infos[r.0 as usize].file == File::Vector;
    let outer = body.outer.iter().flat_map(|o| o.pair.all());
    let mut alive: Vec<R> = outer.filter(|r| vector(*r)).collect();
    let mut most = alive.len();
    for (at, node) in nodes.iter().enumerate() {
        let (_, defines) = operands(node);
        alive.retain(|r: &R| life.last[r.0 as usize] > at || infos[r.0 as usize].def == Def::Variable);
        if let Some(r) = defines.filter(|r| vector(*r) && !alive.contains(r)) {
            alive.push(r);
        }
        // An instruction's result and what dies there may both be wanted.
        most = most.max(alive.len() + 1);
    }
    let mut uses: HashMap<R, usize> = HashMap::new();
    let mut depth = 0;
    for node in &body.nodes {
        match node {
            Node::Begin(_) => depth += 1,
            Node::End => depth -= 1,
            _ => {}
        }
        for r in operands(node).0 {
            if matches!(body.infos[r.0 as usize].def, Def::Invariant(_, form) if form != Form::Bits) {
                *uses.entry(r).or_default() += if depth > 0 { 8 } else { 1 };
            }
        }
    }
    let mut all: Vec<(R, usize)> = uses.into_iter().collect();
    all.sort_by_key(|(r, n)| (usize::MAX - n, *r));
    all.truncate((VECTORS as usize).saturating_sub(most));
    all.into_iter().map(|(r, _)| r).collect()
}

struct Alloc {
    loops: bool,
    life: Life,
    infos: Vec<Info>,
    /// What is in which register, by virtual register.
    at: Vec<Option<u8>>,
    free: [Vec<u8>; 2],
    /// What is in memory.
    slots: HashMap<R, usize>,
    out: Placed,
}

impl Alloc {
    fn file(&self, r: R) -> File {
        self.infos[r.0 as usize].file
    }

    fn number(&self, r: R) -> Option<u8> {
        self.at[r.0 as usize]
    }

    fn node(&mut self, at: usize, node: Node) -> Option<()> {
        let (reads, defines) = operands(&node);
        for r in &reads {
            if self.number(*r).is_none() {
                let slot = *self.slots.get(r)?;
                let n = self.take(self.file(*r), at, &reads, defines)?;
                self.at[r.0 as usize] = Some(n);
                self.spill(slot, *r, n, false);
            }
        }
        let mut numbers: Numbers = reads.iter().filter_map(|r| Some((*r, self.number(*r)?))).collect();
        let early = matches!(&node, Node::Op(op) if op.early);
        let tied = match &node {
            Node::Op(op) => op.tied.filter(|t| Some(*t) != defines),
            _ => None,
        };
        if let (Some(tied), Some(dst)) = (tied, defines) {
            // The result takes over the register.
            let n = self.at[tied.0 as usize].take()?;
            self.at[dst.0 as usize] = Some(n);
            numbers.push((dst, n));
            self.release(at, &reads);
        } else if let Some(dst) = defines {
            if !early {
                self.release(at, &reads);
            }
            if self.number(dst).is_none() {
                let n = self.take(self.file(dst), at, &reads, defines)?;
                self.at[dst.0 as usize] = Some(n);
            }
            numbers.push((dst, self.number(dst)?));
            if early {
                self.release(at, &reads);
            }
        } else {
            self.release(at, &reads);
        }
        if let Some(dst) = defines.filter(|d| self.infos[d.0 as usize].def == Def::Temp) {
            // A result that nobody reads.
            if self.life.uses[dst.0 as usize].is_empty() {
                self.let_go(dst);
            }
        }
        // At the end of a loop go those that were kept for its next turn.
        if matches!(node, Node::End) {
            let all = (0..self.at.len() as u32).map(R);
            let ending: Vec<R> = all.filter(|r| self.number(*r).is_some() && self.ends(*r, at)).collect();
            ending.into_iter().for_each(|r| self.let_go(r));
        }
        self.out.nodes.push(node);
        self.out.numbers.push(numbers);
        Some(())
    }

    fn ends(&self, r: R, at: usize) -> bool {
        self.infos[r.0 as usize].def == Def::Temp && self.life.last[r.0 as usize] == at
    }

    fn release(&mut self, at: usize, reads: &[R]) {
        for r in reads {
            if self.ends(*r, at) {
                self.let_go(*r);
            }
        }
    }

    fn let_go(&mut self, r: R) {
        if let Some(n) = self.at[r.0 as usize].take() {
            self.free[self.file(r) as usize].push(n);
        }
    }

    /// A free register, or one whose content goes to memory.
    fn take(&mut self, file: File, at: usize, reads: &[R], defines: Option<R>) -> Option<u8> {
        if let Some(n) = self.free[file as usize].pop() {
            return Some(n);
        }
        if self.loops {
            return None;
        }
        let next = |r: R| self.life.uses[r.0 as usize].iter().copied().find(|u| *u >= at);
        let candidates = (0..self.at.len() as u32).map(R).filter(|r| {
            let busy = reads.contains(r) || defines == Some(*r);
            self.number(*r).is_some() && !busy && self.file(*r) == file && self.infos[r.0 as usize].def == Def::Temp
        });
        let victim = candidates.max_by_key(|r| (next(*r).unwrap_or(usize::MAX), *r))?;
        let n = self.at[victim.0 as usize].take()?;
        if !self.slots.contains_key(&victim) {
            let slot = self.out.spilled;
            self.out.spilled += 1;
            self.slots.insert(victim, slot);
            self.spill(slot, victim, n, true);
        }
        Some(n)
    }

    /// Writes a register to its place in memory, or reads it back.
    fn spill(&mut self, slot: usize, r: R, n: u8, store: bool) {
        let mem = Some(Mem::Spilled(slot));
        let (code, width) = match (self.file(r), store) {
            (File::Vector, true) => (Code::EVEX_Vmovups_zmmm512_k1z_zmm, Width::Z),
            (File::Vector, false) => (Code::EVEX_Vmovups_zmm_k1z_zmmm512, Width::Z),
            (File::Mask, true) => (Code::VEX_Kmovw_m16_kr, Width::K),
            (File::Mask, false) => (Code::VEX_Kmovw_kr_km16, Width::K),
        };
        let op = if store {
            Op { args: smallvec![(r, width)], mem, ..Op::new(code) }
        } else {
            Op { dst: Some((r, width)), mem, ..Op::new(code) }
        };
        self.out.nodes.push(Node::Op(op));
        self.out.numbers.push(smallvec![(r, n)]);
    }
}

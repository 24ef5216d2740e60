//! Instructions as the machine has them: which invariants are in registers, which are operands in memory, and which of its
//! three forms a multiplication with addition takes.

use super::inst::by_size;
use super::machine::{Def, File, Form, Info, Mem, Node, Op, Place, R, Width};
use iced_x86::Code;
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;

/// When registers are used.
pub(super) struct Life {
    /// The last position at which a temporary is read: behind the loop, if it is read in one and was defined outside.
    pub(super) last: Vec<usize>,
    /// All positions at which registers are read.
    pub(super) uses: Vec<Vec<usize>>,
}

/// The registers that a node reads, and the one that it defines.
pub(super) fn operands(node: &Node) -> (SmallVec<[R; 5]>, Option<R>) {
    match node {
        Node::Op(op) => (op.reads().collect(), op.dst.map(|d| d.0)),
        Node::Fma { dst, a, b, c, .. } => (smallvec![*a, *b, *c], Some(*dst)),
        Node::Zero(r) | Node::Turn(r) | Node::Counter(r, _) => (smallvec![], Some(*r)),
        Node::Fault { lanes, .. } => (smallvec![*lanes], None),
        Node::Upto(r, _) => (smallvec![], Some(*r)),
        Node::Begin(_) | Node::End | Node::Point(..) | Node::Move(_) | Node::Ahead(..) | Node::Prefetch(..) => {
            (smallvec![], None)
        }
    }
}

impl Life {
    pub(super) fn of(nodes: &[Node], registers: usize) -> Life {
        let mut defined = vec![0; registers];
        let mut life = Life { last: vec![0; registers], uses: vec![Vec::new(); registers] };
        // The loops around each position: where they begin and end.
        let mut open = Vec::new();
        let mut ends = HashMap::new();
        for (at, node) in nodes.iter().enumerate() {
            match node {
                Node::Begin(_) => open.push(at),
                Node::End => {
                    if let Some(begin) = open.pop() {
                        ends.insert(begin, at);
                    }
                }
                _ => {}
            }
        }
        for (at, node) in nodes.iter().enumerate() {
            let (reads, defines) = operands(node);
            for r in reads {
                let r = r.0 as usize;
                // The outermost loop around that the definition is not in.
                let loops = open.iter().find(|begin| **begin > defined[r]);
                life.last[r] = life.last[r].max(loops.map_or(at, |begin| ends[begin]));
                life.uses[r].push(at);
            }
            if let Some(r) = defines {
                defined[r.0 as usize] = at;
            }
            match node {
                Node::Begin(_) => open.push(at),
                Node::End => _ = open.pop(),
                _ => {}
            }
        }
        life
    }
}

/// The nodes in legal form; `kept` are the invariants that have registers. New registers are appended to `infos`.
pub(super) fn legal(nodes: &[Node], infos: &mut Vec<Info>, kept: &[R]) -> Vec<Node> {
    let life = Life::of(nodes, infos.len());
    let mut l = Legal { infos, kept, out: Vec::with_capacity(nodes.len() + 16) };
    for (at, node) in nodes.iter().enumerate() {
        let dies = |r: R| life.last[r.0 as usize] == at;
        match node {
            Node::Op(op) => l.op(op.clone()),
            Node::Fma { dst, a, b, c, size } => l.fma(*dst, [*a, *b, *c], *size, &dies),
            Node::Fault { lanes, code, word } => {
                let lanes = l.in_register(*lanes);
                l.out.push(Node::Fault { lanes, code: *code, word: *word });
            }
            other => l.out.push(other.clone()),
        }
    }
    l.out
}

struct Legal<'a> {
    infos: &'a mut Vec<Info>,
    kept: &'a [R],
    out: Vec<Node>,
}

/// The load of an invariant into a register.
pub(super) fn load(to: R, place: Place, form: Form) -> Op {
    let (code, width) = match form {
        Form::Splat4 => (Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32, Width::Z),
        Form::Splat8 => (Code::EVEX_Vbroadcastsd_zmm_k1z_xmmm64, Width::Z),
        Form::Full => (Code::EVEX_Vmovups_zmm_k1z_zmmm512, Width::Z),
        Form::Bits => (Code::VEX_Kmovw_kr_km16, Width::K),
    };
    Op { dst: Some((to, width)), mem: Some(Mem::At(place)), ..Op::new(code) }
}

impl Legal<'_> {
    /// Where an invariant without a register is.
    fn loose(&self, r: R) -> Option<(Place, Form)> {
        match self.infos[r.0 as usize].def {
            Def::Invariant(place, form) if !self.kept.contains(&r) => Some((place, form)),
            _ => None,
        }
    }

    fn temp(&mut self, file: File) -> R {
        self.infos.push(Info { file, def: Def::Temp });
        R(self.infos.len() as u32 - 1)
    }

    fn in_register(&mut self, r: R) -> R {
        let Some((place, form)) = self.loose(r) else { return r };
        let to = self.temp(if form == Form::Bits { File::Mask } else { File::Vector });
        self.out.push(Node::Op(load(to, place, form)));
        to
    }

    /// The operand in memory of an instruction on elements of that size, and whether it is one element.
    fn in_memory(&self, r: R, size: u32) -> Option<(Mem, bool)> {
        match self.loose(r)? {
            (place, Form::Splat4) if size == 4 => Some((Mem::At(place), true)),
            (place, Form::Splat8) if size == 8 => Some((Mem::At(place), true)),
            (place, Form::Full) => Some((Mem::At(place), false)),
            _ => None,
        }
    }

    fn op(&mut self, mut op: Op) {
        if let (Some(size), None, Some((last, _))) = (op.splat, op.mem, op.args.last().copied())
            && let Some((mem, one)) = self.in_memory(last, size)
        {
            op.args.pop();
            (op.mem, op.one) = (Some(mem), one);
        }
        for n in 0..op.args.len() {
            op.args[n].0 = self.in_register(op.args[n].0);
        }
        if let Some(Mem::Each(base, index, size, offset)) = op.mem {
            op.mem = Some(Mem::Each(base, self.in_register(index), size, offset));
        }
        if let Some(mask) = op.mask {
            op.mask = Some(self.in_register(mask));
        }
        self.out.push(Node::Op(op));
    }

    fn fma(&mut self, dst: R, [mut a, mut b, c]: [R; 3], size: u32, dies: &dyn Fn(R) -> bool) {
        let by_sum = by_size(
            size,
            Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
            Code::EVEX_Vfmadd231pd_zmm_k1z_zmm_zmmm512b64_er,
        );
        let by_factor = by_size(
            size,
            Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
            Code::EVEX_Vfmadd213pd_zmm_k1z_zmm_zmmm512b64_er,
        );
        let by_other = by_size(
            size,
            Code::EVEX_Vfmadd132ps_zmm_k1z_zmm_zmmm512b32_er,
            Code::EVEX_Vfmadd132pd_zmm_k1z_zmm_zmmm512b64_er,
        );
        // At most one operand in memory.
        let mem_c = self.in_memory(c, size);
        if mem_c.is_none() && self.in_memory(a, size).is_some() {
            (a, b) = (b, a);
        }
        let mem_b = if mem_c.is_none() { self.in_memory(b, size) } else { None };
        // What is loaded only for this dies here.
        let ends = |l: &mut Self, r: R| {
            let new = l.in_register(r);
            (new, new != r || (matches!(l.infos[r.0 as usize].def, Def::Temp) && dies(r)))
        };
        let (ra, a_dies) = ends(self, a);
        let (tied, code, args, mem) = if let Some(mem) = mem_c {
            let (rb, b_dies) = ends(self, b);
            if !a_dies && b_dies {
                (rb, by_factor, vec![ra], Some(mem))
            } else {
                (self.own(ra, a_dies), by_factor, vec![rb], Some(mem))
            }
        } else if let Some(mem) = mem_b {
            let (rc, c_dies) = ends(self, c);
            if !c_dies && a_dies {
                (ra, by_other, vec![rc], Some(mem))
            } else {
                (self.own(rc, c_dies), by_sum, vec![ra], Some(mem))
            }
        } else {
            let ((rb, b_dies), (rc, c_dies)) = (ends(self, b), ends(self, c));
            match (c_dies, a_dies, b_dies) {
                (false, true, _) => (ra, by_factor, vec![rb, rc], None),
                (false, false, true) => (rb, by_factor, vec![ra, rc], None),
                _ => (self.own(rc, c_dies), by_sum, vec![ra, rb], None),
            }
        };
        let args = args.into_iter().map(|r| (r, Width::Z)).collect();
        let (mem, one) = mem.map_or((None, false), |(mem, one)| (Some(mem), one));
        let op = Op { dst: Some((dst, Width::Z)), args, mem, one, tied: Some(tied), ..Op::new(code) };
        self.out.push(Node::Op(op));
    }

    /// A register that may be overwritten.
    fn own(&mut self, r: R, dies: bool) -> R {
        if dies {
            return r;
        }
        let to = self.temp(File::Vector);
        let args = smallvec![(r, Width::Z)];
        self.out.push(Node::Op(Op { dst: Some((to, Width::Z)), args, ..Op::new(Code::EVEX_Vmovups_zmm_k1z_zmmm512) }));
        to
    }
}

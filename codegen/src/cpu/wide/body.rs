//! A loop's body on virtual registers, and what it expects of its caller.

use super::machine::{Info, Node, R};
use crate::loopnest::{AccId, Affine, Buf, Coef, Combine, Extent, Stmt};
use smallvec::SmallVec;
use tensorc_ir::scalar::{Reg, V};

/// Iterations of a group.
pub(super) const GROUP: usize = 16;

/// The vectors of a group of a register, or its mask.
pub(super) type Parts = SmallVec<[R; 2]>;

/// What the caller writes into eight bytes of the frame before the call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Slot {
    /// The address of an access where the loop's own variables are 0.
    Pointer { buf: Buf, outer: Affine, dynamic: Option<V> },
    /// A register of the loop nest; of a truth value all bits.
    Value(V),
    /// A stride in units of so many bytes.
    Step(Coef, u32),
    /// An affine expression where the loop's own variables are 0.
    Index(Affine),
    /// The address of the sixteen lanes of an accumulator's values, or of its indices.
    Lanes(AccId, bool),
    /// The number of iterations of an inner loop.
    Count(Extent),
    /// The address of the error word.
    Word,
    /// Whether large results go past the caches.
    Streams,
    /// Zero, which the function may change as long as it runs, by number.
    Room(usize),
}

/// An accumulator's lanes, with those of its indices.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) value: Parts,
    pub(super) index: Parts,
    /// The last NaN that an extreme has met, if that is kept apart so that lanes wait for one instruction only. At the end
    /// it takes the value's place.
    pub(super) nan: Parts,
}

impl Pair {
    /// All variables.
    pub(super) fn all(&self) -> impl Iterator<Item = R> + '_ {
        self.value.iter().chain(&self.index).chain(&self.nan).copied()
    }
}

/// An accumulator.
pub(super) struct Acc {
    pub(super) combine: Combine,
    pub(super) reg: Reg,
    /// One for all groups, or one for each.
    pub(super) groups: Vec<Pair>,
}

/// An accumulator that is set up outside.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Outer {
    pub(in crate::cpu) acc: AccId,
    pub(in crate::cpu) combine: Combine,
    pub(in crate::cpu) reg: Reg,
    /// Whether nothing has been combined into it.
    pub(in crate::cpu) fresh: bool,
}

/// The variables of an accumulator from outside.
pub(super) struct OuterPair {
    pub(super) reg: Reg,
    pub(super) pair: Pair,
    /// The bytes of the frame where the addresses of its values and of its indices are.
    pub(super) lanes: [i32; 2],
    /// The invariants that values and indices start as, unless they are in memory.
    pub(super) start: Option<[R; 2]>,
}

/// The body of a loop on virtual registers.
pub(super) struct Body<'l> {
    pub(super) nodes: Vec<Node>,
    pub(super) infos: Vec<Info>,
    /// The masks of the lanes that have an iteration, of sixteen and of the upper eight, if there is a rest.
    pub(super) tail: Option<[R; 2]>,
    /// Accumulators from outside.
    pub(super) outer: Vec<OuterPair>,
    /// How many pointers inner loops move.
    pub(super) moving: usize,
    /// How many inner loops there are.
    pub(super) loops: usize,
    /// What the caller computes before the call, in order.
    pub(super) uniform: Vec<&'l Stmt>,
    /// Accesses of a group whose lanes are a stride apart.
    pub(super) strided: usize,
    /// Bytes of memory of its own.
    pub(super) own: i32,
}

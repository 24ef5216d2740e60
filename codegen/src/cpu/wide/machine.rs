//! Instructions on virtual registers: what [`select`](super::select) makes of a loop and [`write`](super::write) gives
//! registers to.

use iced_x86::Code;
use smallvec::SmallVec;

/// A virtual register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct R(pub(super) u32);

/// The two files of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    /// Vectors.
    Vector,
    /// Masks of one bit a lane.
    Mask,
}

/// How much of a vector register an instruction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// 128 bits.
    X,
    /// 256 bits.
    Y,
    /// 512 bits.
    Z,
    /// A mask.
    K,
}

/// A value in memory that the loop does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// In the pool of constants.
    Pool(usize),
    /// In the frame, at that byte.
    Frame(i32),
}

/// How a value in memory becomes that of all lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Four bytes for all lanes.
    Splat4,
    /// Eight bytes for all lanes.
    Splat8,
    /// Each lane its own.
    Full,
    /// The bits of a mask.
    Bits,
}

/// What a virtual register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Def {
    /// Defined by one instruction.
    Temp,
    /// Changed by several, from its first definition to the end.
    Variable,
    /// In memory before the loop starts.
    Invariant(Place, Form),
}

/// A virtual register's kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    pub(super) file: File,
    pub(super) def: Def,
}

/// A pointer: by position in the frame's list, or in an inner loop's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Base {
    /// The pointer at that byte of the frame.
    Frame(i32),
    /// Number of a pointer that an inner loop moves.
    Moving(usize),
    /// That byte of the function's own memory.
    Own(i32),
}

/// An operand in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mem {
    /// `base + iteration * size + offset`.
    Lanes(Base, u32, i32),
    /// `base + offset`, the same for all lanes.
    One(Base, i32),
    /// `base + index * size + offset` for each lane of a register.
    Each(Base, R, u32, i32),
    /// An invariant.
    At(Place),
    /// What had no register, by number.
    Spilled(usize),
    /// Where [`Node::Point`] points.
    Pointed,
}

/// One machine instruction. Operands are the result, the arguments, then memory if it is read (or memory first if it is
/// written), then the number.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) code: Code,
    pub(super) dst: Option<(R, Width)>,
    pub(super) args: SmallVec<[(R, Width); 3]>,
    pub(super) mem: Option<Mem>,
    pub(super) imm: Option<u8>,
    /// The lanes that are computed, and whether the others are 0.
    pub(super) mask: Option<R>,
    pub(super) zero: bool,
    /// A register that the result starts as, being the same machine register. It must not be used afterwards, unless it
    /// is the result's own virtual register.
    pub(super) tied: Option<R>,
    /// Bytes of an element, if the last argument may be one element in memory.
    pub(super) splat: Option<u32>,
    /// Whether `mem` is one element for all lanes.
    pub(super) one: bool,
    /// Whether it stores what this kernel does not read, so that large results may go past the caches.
    pub(super) streams: bool,
    /// Whether the result must not share a register with an argument.
    pub(super) early: bool,
}

impl Op {
    pub(super) fn new(code: Code) -> Op {
        Op {
            code,
            dst: None,
            args: SmallVec::new(),
            mem: None,
            imm: None,
            mask: None,
            zero: false,
            tied: None,
            splat: None,
            one: false,
            streams: false,
            early: false,
        }
    }

    /// The registers it reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = R> + '_ {
        let index = match self.mem {
            Some(Mem::Each(_, index, ..)) => Some(index),
            _ => None,
        };
        self.args.iter().map(|(r, _)| *r).chain(index).chain(self.mask).chain(self.tied)
    }
}

/// A loop inside the vector loop: one iteration after the other.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    /// The number of iterations: in the frame, or known.
    pub(super) count: Count,
    /// If that number is to be found out: the inner loop whose counter counts blocks, and the bytes of the frame where the
    /// iterations of a block and of all blocks are.
    pub(super) block: Option<(usize, i32, i32)>,
    /// Pointers that it moves: number, what it starts as, and the bytes of a step.
    pub(super) moving: Vec<(usize, Base, Count)>,
    /// Its number among the inner loops, by which its counter is known.
    pub(super) number: usize,
}

/// A number of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Known(i64),
    /// At that byte of the frame.
    Frame(i32),
}

/// A piece of the body.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Op(Op),
    /// Zeros, in all lanes.
    Zero(R),
    /// `dst = a * b + c`, of elements of that many bytes.
    Fma {
        dst: R,
        a: R,
        b: R,
        c: R,
        size: u32,
    },
    /// The iteration that a turn starts at, in all lanes of 64 bits.
    Turn(R),
    /// The counter of an inner loop, likewise.
    Counter(R, usize),
    /// A fault in one of these lanes, with its code; the error word is at the pointer at that byte of the frame.
    Fault {
        lanes: R,
        code: u64,
        word: i32,
    },
    /// Lets [`Mem::Pointed`] be at a pointer plus an offset plus the turn's first iteration times a step.
    Point(Base, i32, Count),
    /// Moves it on by so many bytes.
    Move(Count),
    /// Lets the pointer of that number be so many such steps behind where [`Mem::Pointed`] is.
    Ahead(usize, Count, i32),
    /// Asks for the cache line at the pointer of that number, and moves it on by a step.
    Prefetch(usize, Count),
    /// The mask of as many lanes as a number says.
    Upto(R, Count),
    /// The start of an inner loop.
    Begin(Inner),
    /// The end of the innermost.
    End,
}

//! The loop-nest IR: what one kernel does, as loops over scalar code, the same for every backend.
//!
//! A [`LoopNest`] is a list of statements over *variables* (loop counters), *registers* (the scalar IR's values),
//! *accumulators* and *buffers*. Extents and strides are constants or run-time parameters, so one compiled kernel
//! serves every shape of its layout class. Addresses are affine in the loop variables, plus at most one register for
//! gathers. Nothing here knows tensors or machine instructions.
//!
//! ```text
//! kernel(b0: f32, b1: mut f32; p0, p1, p2) {
//!   for parallel i0 in 0..p0 {
//!     acc a0: f32 = sum, lanes 16
//!     for vector i1 in 0..p1 {
//!       %0: f32 = load b0[i0*p2 + i1]
//!       a0 += %0
//!     }
//!     %1: f32 = read a0
//!     store b1[i0] = %1
//!   }
//! }
//! ```
//!
//! **Order.** Loops run in ascending order, except that a parallel loop's iterations may run in any order and a vector
//! loop's iterations run side by side: they must not depend on each other but through an accumulator with lanes.
//! An accumulator with 16 lanes keeps sixteen partial results; iteration `i` of the vector loop around the update adds
//! into lane `i % 16` in ascending order of `i`; [`Stmt::Read`] combines lane `j` with lane `j + 8`, then `j + 4`,
//! `j + 2`, `j + 1`, always `lower (op) upper`. So the result does not depend on the width a backend chooses.

pub mod interp;
pub mod parse;
pub mod print;
pub mod verify;

use std::fmt;
use tensorc_ir::DType;
use tensorc_ir::scalar::{Bin, Inst, Reg, V};

/// A loop variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub u32);

/// A buffer of the kernel, by position in its argument list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Buf(pub u32);

/// An accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccId(pub u32);

/// A number known at compile time, or a run-time parameter of the kernel by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coef {
    /// A constant.
    Const(i64),
    /// Run-time parameter `p<n>`, an `i64`.
    Param(u32),
}

/// `offset + Σ var * coef`, in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Affine {
    /// The part that no variable scales.
    pub offset: Coef,
    /// Variables with their strides; each variable at most once, zero strides left out.
    pub terms: Vec<(Var, Coef)>,
}

/// Where a load or store goes: an affine element index plus, for gathers and scatters, an `I64` register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// The affine part.
    pub affine: Affine,
    /// A register added to it (elements).
    pub dynamic: Option<V>,
}

/// How many iterations a loop has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// That many.
    Whole(Coef),
    /// Block number `var` of `total` cut into blocks of `step`: `min(step, total - var * step)`.
    Block {
        /// The variable of the loop over blocks.
        var: Var,
        /// Iterations of a full block.
        step: Coef,
        /// Iterations of all blocks together.
        total: Coef,
    },
}

/// How a loop's iterations run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoopKind {
    /// One after the other.
    Serial,
    /// Side by side in vector lanes. Contains no other vector loop.
    Vector,
}

/// A counted loop from 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loop {
    /// Its counter.
    pub var: Var,
    /// Its extent.
    pub extent: Extent,
    /// Serial or vector.
    pub kind: LoopKind,
    /// Whether the caller splits it: then only straight-line code stands before it in the kernel (and every thread runs
    /// that), nothing after it, and the kernel's `begin..end` arguments are its range.
    pub parallel: bool,
    /// What it runs.
    pub body: Vec<Stmt>,
}

/// How an accumulator combines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combine {
    /// `a + x` from 0.
    Sum,
    /// `a * x` from 1.
    Prod,
    /// The larger: `x` if `a < x` or `x` is NaN, else `a`; from minus infinity (the least integer; false).
    Max,
    /// The smaller: `x` if `x < a` or `x` is NaN, else `a`; from infinity (the greatest integer; true).
    Min,
    /// The index of the first largest (first NaN if any). Its updates carry an index, its read gives the index (`I64`).
    /// Of two equal values (or two NaNs) the one with the lower index wins, whatever the order of updates; from
    /// `i64::MAX`, so that is what reading gives when nothing was combined.
    ArgMax,
    /// The index of the first smallest (first NaN if any); otherwise as `ArgMax`.
    ArgMin,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stmt {
    /// A scalar instruction ([`Inst::Param`] does not occur).
    Inst(V, Inst),
    /// The value of an affine expression of the loop variables, as `I64`.
    Index(V, Affine),
    /// Reads an element, widened to its register: `f16` and `bf16` to `F32`, bool bytes to `Bool`.
    Load {
        /// Register defined.
        dst: V,
        /// From.
        buf: Buf,
        /// Where.
        at: Access,
    },
    /// Writes an element, narrowed from its register: `F32` rounded to nearest even for `f16` and `bf16`.
    Store {
        /// To.
        buf: Buf,
        /// Where.
        at: Access,
        /// What.
        value: V,
    },
    /// A loop.
    For(Loop),
    /// Sets up an accumulator at its identity. In a vector loop (and then with one lane) each iteration has its own.
    Acc {
        /// Name.
        acc: AccId,
        /// How it combines.
        combine: Combine,
        /// Register type of its values.
        reg: Reg,
        /// 16: updated in a vector loop inside, by its index modulo 16. 1: plain.
        lanes: u32,
    },
    /// Combines a value into an accumulator.
    Update {
        /// Which.
        acc: AccId,
        /// The value.
        value: V,
        /// The `I64` index that belongs to it; with `ArgMax` and `ArgMin` only.
        index: Option<V>,
    },
    /// The accumulator's result so far. It may be read again after more updates when it has one lane.
    Read {
        /// Register defined.
        dst: V,
        /// Which.
        acc: AccId,
    },
}

/// What a kernel does with one of its buffers. Buffers of one kernel do not overlap, unless one is `Update`d in place
/// at exactly the addresses it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufDecl {
    /// The element type in memory.
    pub dtype: DType,
    /// Whether the kernel stores to it.
    pub written: bool,
}

/// One kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LoopNest {
    /// Its buffers, in argument order.
    pub bufs: Vec<BufDecl>,
    /// The number of run-time parameters.
    pub params: u32,
    /// The types of all registers.
    pub regs: Vec<Reg>,
    /// What it does.
    pub body: Vec<Stmt>,
}

/// A loop, or statements between loops.
pub enum Piece<'s> {
    /// A loop.
    Loop(&'s Loop),
    /// Statements that are none, at least one.
    Straight(&'s [Stmt]),
}

/// Statements in order, cut at loops.
pub fn pieces(stmts: &[Stmt]) -> impl Iterator<Item = Piece<'_>> {
    let is_loop = |s: &Stmt| matches!(s, Stmt::For(_));
    stmts.chunk_by(move |a, b| !is_loop(a) && !is_loop(b)).map(|run| match run {
        [Stmt::For(l)] => Piece::Loop(l),
        run => Piece::Straight(run),
    })
}

impl Combine {
    /// The instruction that combines two values, but for NaNs among extremes; `None` if indices go with them.
    pub fn op(self) -> Option<Bin> {
        match self {
            Combine::Sum => Some(Bin::Add),
            Combine::Prod => Some(Bin::Mul),
            Combine::Max => Some(Bin::Max),
            Combine::Min => Some(Bin::Min),
            Combine::ArgMax | Combine::ArgMin => None,
        }
    }
}

impl Affine {
    /// A constant index.
    pub fn constant(offset: i64) -> Affine {
        Affine { offset: Coef::Const(offset), terms: Vec::new() }
    }

    /// The stride of `var`.
    pub fn stride(&self, var: Var) -> Coef {
        self.terms.iter().find(|(v, _)| *v == var).map_or(Coef::Const(0), |(_, c)| *c)
    }
}

impl fmt::Display for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

impl fmt::Display for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", self.0)
    }
}

impl fmt::Display for AccId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

impl fmt::Display for Coef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Coef::Const(c) => write!(f, "{c}"),
            Coef::Param(p) => write!(f, "p{p}"),
        }
    }
}

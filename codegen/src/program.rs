//! A program ready to run: buffers, and steps that fill them in order. What the runtime executes and objects contain.

use crate::loopnest::LoopNest;
use std::fmt;
use std::sync::Arc;
use tensorc_ir::dim::{Dim, Sizes};
use tensorc_ir::ops::literal::Literal;
use tensorc_ir::{DType, Loc, Strided};

/// A buffer of the program, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);

/// Where a buffer's memory comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum BufferKind {
    /// The caller's memory of that parameter (its layout's storage, from element 0 on).
    Param(usize),
    /// New memory that goes to the caller.
    Output,
    /// Scratch memory at that byte offset of the program's arena.
    Temp(Dim),
    /// A constant tensor.
    Literal(Literal),
}

/// One buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferDecl {
    /// Element type.
    pub dtype: DType,
    /// Elements.
    pub numel: Dim,
    /// Where it comes from.
    pub kind: BufferKind,
}

/// A buffer with where a value lies in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The buffer.
    pub buffer: BufferId,
    /// The value's layout.
    pub layout: Strided,
}

/// A buffer argument of a kernel: the pointer to its element `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferArg {
    /// The buffer.
    pub buffer: BufferId,
    /// In elements.
    pub offset: Dim,
}

/// A run-time parameter of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// An extent, a stride or an offset.
    Dim(Dim),
    /// The bits of a number of the program.
    Bits(i64),
}

/// A loop nest with its arguments.
#[derive(Clone, Debug)]
pub struct LoopStep {
    /// The kernel, the same for all shapes of its layout class.
    pub nest: Arc<LoopNest>,
    /// Its buffers.
    pub args: Vec<BufferArg>,
    /// Its run-time parameters.
    pub params: Vec<Word>,
    /// The extent of its parallel loop; 1 without one.
    pub range: Dim,
    /// Elements that one iteration of that loop works on, for the decision whether to split.
    pub work: Dim,
    /// Which group of the fusion it comes from.
    pub group: usize,
    /// The user's line that a failed check of this step points at.
    pub loc: Loc,
}

/// A batched matrix product `c[b] = a[b] @ b[b]`.
#[derive(Clone, Debug)]
pub struct DotStep {
    /// Element type.
    pub dtype: DType,
    /// `[batch, m, k]`.
    pub a: Place,
    /// `[batch, k, n]`.
    pub b: Place,
    /// `[batch, m, n]`, rows contiguous.
    pub c: Place,
    /// Which group of the fusion it comes from.
    pub group: usize,
    /// The user's line that a failed check of this step points at.
    pub loc: Loc,
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// A kernel made of loops.
    Loops(LoopStep),
    /// A matrix product.
    Dot(Box<DotStep>),
}

/// Where a result is found after the last step.
#[derive(Clone, Debug)]
pub enum Output {
    /// In a buffer of the program.
    Place(Place),
    /// It is a view of that parameter, with this dtype and layout over its storage.
    View(usize, DType, Strided),
}

/// A compiled program, but for machine code.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its buffers.
    pub buffers: Vec<BufferDecl>,
    /// What it does.
    pub steps: Vec<Step>,
    /// Steps that write final values into parameters' memory; they run when no step before has failed.
    pub write_back: Vec<Step>,
    /// Its results.
    pub outputs: Vec<Output>,
    /// Which parameters are written.
    pub mutated: Vec<usize>,
    /// Bytes of scratch memory.
    pub arena: Dim,
}

impl Program {
    /// The program for these sizes: the same kernels, with numbers in place of symbolic sizes.
    pub fn bind(&self, sizes: &Sizes) -> Program {
        let mut p = self.clone();
        let bind = |d: &mut Dim| *d = d.bind(sizes);
        for b in &mut p.buffers {
            bind(&mut b.numel);
            if let BufferKind::Temp(at) = &mut b.kind {
                bind(at);
            }
        }
        let place = |p: &mut Place| p.layout = p.layout.bind(sizes);
        for s in p.steps.iter_mut().chain(&mut p.write_back) {
            match s {
                Step::Loops(l) => {
                    l.args.iter_mut().for_each(|a| bind(&mut a.offset));
                    for w in &mut l.params {
                        if let Word::Dim(d) = w {
                            bind(d);
                        }
                    }
                    bind(&mut l.range);
                    bind(&mut l.work);
                }
                Step::Dot(d) => {
                    let d = &mut **d;
                    [&mut d.a, &mut d.b, &mut d.c].into_iter().for_each(place);
                }
            }
        }
        for o in &mut p.outputs {
            match o {
                Output::Place(p) => place(p),
                Output::View(_, _, l) => *l = l.bind(sizes),
            }
        }
        bind(&mut p.arena);
        p
    }
}

impl Default for Program {
    fn default() -> Program {
        Program {
            buffers: Vec::new(),
            steps: Vec::new(),
            write_back: Vec::new(),
            outputs: Vec::new(),
            mutated: Vec::new(),
            arena: Dim::ZERO,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Dim(d) => write!(f, "{d}"),
            Word::Bits(b) => write!(f, "{b}"),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, b) in self.buffers.iter().enumerate() {
            let kind = match &b.kind {
                BufferKind::Param(p) => format!("param {p}"),
                BufferKind::Output => "output".into(),
                BufferKind::Temp(at) => format!("temp at {at}"),
                BufferKind::Literal(_) => "literal".into(),
            };
            writeln!(f, "buffer {i}: {}[{}] {kind}", b.dtype, b.numel)?;
        }
        for (name, steps) in [("step", &self.steps), ("write back", &self.write_back)] {
            for s in steps {
                match s {
                    Step::Loops(l) => {
                        let args: Vec<String> = l.args.iter().map(|a| format!("{}+{}", a.buffer.0, a.offset)).collect();
                        let params: Vec<String> = l.params.iter().map(Word::to_string).collect();
                        let (args, params) = (args.join(", "), params.join(", "));
                        writeln!(f, "{name}: loops({args}) params [{params}] range {}", l.range)?;
                    }
                    Step::Dot(d) => writeln!(f, "{name}: dot {} {} -> {}", d.a.buffer.0, d.b.buffer.0, d.c.buffer.0)?,
                }
            }
        }
        Ok(())
    }
}

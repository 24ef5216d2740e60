//! A program ready to run: buffers, and steps that fill them in order. What the runtime executes and objects contain.

use crate::loopnest::LoopNest;
use std::fmt;
use std::sync::Arc;
use tensorc_ir::dim::{Dim, Sizes};
use tensorc_ir::ops::literal::Literal;
use tensorc_ir::{DType, Loc, Strided, Value};

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
    /// How one of the operands lies in memory if strides cannot say it; its matrices' strides are 0 then.
    pub windows: Option<Offsets>,
    /// Which group of the fusion it comes from.
    pub group: usize,
    /// The user's line that a failed check of this step points at.
    pub loc: Loc,
}

/// An operand whose element in row `i` and column `j` is at `rows[i] + columns[j]`, in elements.
#[derive(Clone, Debug)]
pub struct Offsets {
    /// Whether it is the second operand.
    pub second: bool,
    /// For each row.
    pub rows: Arc<[i64]>,
    /// For each column.
    pub columns: Arc<[i64]>,
}

/// A value that a loop carries. Each step reads one of two buffers and writes the other.
#[derive(Clone, Copy, Debug)]
pub struct Carry {
    /// Holds the value that the loop begins with, and at the end the last one.
    pub at: BufferId,
    /// The second buffer.
    pub other: BufferId,
    /// The size of both.
    pub bytes: Dim,
}

/// A tensor of which each step of a loop takes or makes the slice at its index of the first axis.
#[derive(Clone, Copy, Debug)]
pub struct Slices {
    /// The slice at index 0.
    pub first: BufferArg,
    /// Elements from one slice to the next.
    pub stride: Dim,
    /// Bytes of one slice, if it is contiguous.
    pub bytes: Dim,
}

/// What a control step does with its programs. Their parameters are in the order of the fields here, and so are their
/// results.
#[derive(Clone, Debug)]
pub enum Control {
    /// The first program if the predicate is true, else the second.
    Cond {
        /// One bool.
        pred: BufferArg,
        /// What both take.
        operands: Vec<BufferArg>,
        /// What both make.
        results: Vec<BufferArg>,
        /// The branches.
        branches: Box<[Program; 2]>,
    },
    /// The second program again and again as long as the first says so.
    While {
        /// What goes round.
        carries: Vec<Carry>,
        /// What both take besides.
        consts: Vec<BufferArg>,
        /// Where the test leaves its one bool.
        verdict: BufferArg,
        /// The test and the body.
        programs: Box<[Program; 2]>,
    },
    /// One program for each slice.
    Scan {
        /// What goes from step to step.
        carries: Vec<Carry>,
        /// What is taken slice by slice.
        xs: Vec<Slices>,
        /// What every step takes besides.
        consts: Vec<BufferArg>,
        /// What is made slice by slice.
        ys: Vec<Slices>,
        /// Where the carries before each step are kept; empty, or one for each carry.
        saved: Vec<Slices>,
        /// The number of steps.
        length: Dim,
        /// Whether the last slice is the first to be taken.
        reverse: bool,
        /// The body.
        body: Box<Program>,
    },
}

/// A step that runs programs inside of the program. What they need is in buffers of the program around them: a program's
/// parameters are bound to its operands, its results to places in the results of the step.
#[derive(Clone, Debug)]
pub struct ControlStep {
    /// What it does.
    pub control: Control,
    /// Memory for the temporary buffers of the programs, of which one runs at a time.
    pub scratch: BufferId,
    /// Which group of the fusion it comes from.
    pub group: usize,
    /// The user's line.
    pub loc: Loc,
}

impl ControlStep {
    /// The programs that it runs.
    pub fn programs(&self) -> Vec<&Program> {
        match &self.control {
            Control::Cond { branches: both, .. } | Control::While { programs: both, .. } => both.iter().collect(),
            Control::Scan { body, .. } => vec![body],
        }
    }
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// A kernel made of loops.
    Loops(LoopStep),
    /// A matrix product.
    Dot(Box<DotStep>),
    /// Programs, run by what the data say.
    Control(Box<ControlStep>),
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
#[derive(Clone, Debug, Default)]
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
    /// The copies of whole values that it makes because of writes.
    pub copies: Vec<Copied>,
}

/// A copy of a whole value that a write needs.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The value after the write, in the graph that was planned.
    pub value: Value,
    /// The parameter that it is copied to at the end, or else it is the base of an update that is copied.
    pub param: Option<usize>,
    /// How much.
    pub bytes: Dim,
    /// The write.
    pub loc: Loc,
    /// Why it is needed.
    pub why: Why,
}

/// Why a value is not written in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A call may fail at that place, and must then have changed nothing.
    MayFail(Loc),
    /// The value is a result too, with memory of its own.
    IsResult,
    /// The argument's elements lie on one another.
    OnItself,
    /// Several parameters end with this value.
    OfSeveral,
    /// What was there before is read afterwards, at that place.
    ReadLater(Loc),
    /// It is not computed element by element from what is there.
    Elsewhere,
    /// What is written to belongs to the caller, and the final value is another one.
    OfCaller,
    /// What is written to is a constant.
    Constant,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::MayFail(_) => "a call that fails must change nothing, and one may fail",
            Why::IsResult => "it is a result too",
            Why::OnItself => "elements of the argument share memory",
            Why::OfSeveral => "several parameters end with this value",
            Why::ReadLater(_) => "what was there before is read later",
            Why::Elsewhere => "it is not computed element by element from what was there",
            Why::OfCaller => "what it is written to is the caller's, and is not the final value",
            Why::Constant => "what it is written to is a constant",
        })
    }
}

impl Program {
    /// Whether the final value of one of these parameters is computed elsewhere and copied there at the end.
    pub fn writes_back(&self, params: &[usize]) -> bool {
        self.copies.iter().filter_map(|c| c.param).any(|p| params.contains(&p))
    }

    /// The program for these sizes: the same kernels, with numbers in place of symbolic sizes.
    pub fn bind(&self, sizes: &Sizes) -> Program {
        let mut p = self.clone();
        p.bind_in_place(sizes);
        p
    }

    fn bind_in_place(&mut self, sizes: &Sizes) {
        let bind = |d: &mut Dim| *d = d.bind(sizes);
        for b in &mut self.buffers {
            bind(&mut b.numel);
            if let BufferKind::Temp(at) = &mut b.kind {
                bind(at);
            }
        }
        let place = |p: &mut Place| p.layout = p.layout.bind(sizes);
        for s in self.steps.iter_mut().chain(&mut self.write_back) {
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
                Step::Control(c) => c.control.bind(sizes),
            }
        }
        for o in &mut self.outputs {
            match o {
                Output::Place(p) => place(p),
                Output::View(_, _, l) => *l = l.bind(sizes),
            }
        }
        bind(&mut self.arena);
    }
}

impl Control {
    /// With numbers in place of symbolic sizes.
    fn bind(&mut self, sizes: &Sizes) {
        let bind = |d: &mut Dim| *d = d.bind(sizes);
        let args = |all: &mut [BufferArg]| all.iter_mut().for_each(|a| bind(&mut a.offset));
        let go_round = |all: &mut [Carry]| all.iter_mut().for_each(|c| bind(&mut c.bytes));
        let slices = |all: &mut [Slices]| {
            for s in all {
                bind(&mut s.first.offset);
                bind(&mut s.stride);
                bind(&mut s.bytes);
            }
        };
        match self {
            Control::Cond { pred, operands, results, branches } => {
                bind(&mut pred.offset);
                args(operands);
                args(results);
                branches.iter_mut().for_each(|p| p.bind_in_place(sizes));
            }
            Control::While { carries, consts, verdict, programs } => {
                go_round(carries);
                args(consts);
                bind(&mut verdict.offset);
                programs.iter_mut().for_each(|p| p.bind_in_place(sizes));
            }
            Control::Scan { carries, xs, consts, ys, saved, length, body, .. } => {
                go_round(carries);
                args(consts);
                slices(xs);
                slices(ys);
                slices(saved);
                bind(length);
                body.bind_in_place(sizes);
            }
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

impl Program {
    /// All kernels made of loops, those of programs inside included, in the order of the steps.
    pub fn loops(&self) -> Vec<&LoopStep> {
        let mut all = Vec::new();
        for step in self.steps.iter().chain(&self.write_back) {
            match step {
                Step::Loops(l) => all.push(l),
                Step::Dot(_) => {}
                Step::Control(c) => c.programs().into_iter().for_each(|p| all.extend(p.loops())),
            }
        }
        all
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args = |all: &[BufferArg]| all.iter().map(|a| format!("{}+{}", a.buffer.0, a.offset)).collect::<Vec<_>>();
        let slices = |all: &[Slices]| {
            let one = |s: &Slices| format!("{}+{} by {}", s.first.buffer.0, s.first.offset, s.stride);
            all.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let carries =
            |all: &[Carry]| all.iter().map(|c| format!("{}/{}", c.at.0, c.other.0)).collect::<Vec<_>>().join(", ");
        match self {
            Control::Cond { pred, operands, results, .. } => {
                let (operands, results) = (args(operands).join(", "), args(results).join(", "));
                write!(f, "cond {}+{}({operands}) -> {results}", pred.buffer.0, pred.offset)
            }
            Control::While { carries: c, consts, verdict, .. } => {
                write!(f, "while_loop {}({}; {})", verdict.buffer.0, carries(c), args(consts).join(", "))
            }
            Control::Scan { carries: c, xs, consts, ys, saved, length, reverse, .. } => {
                let (way, consts) = (if *reverse { " in reverse" } else { "" }, args(consts).join(", "));
                write!(f, "scan {length}{way}({}; {}; {consts}) -> {}", carries(c), slices(xs), slices(ys))?;
                if saved.is_empty() { Ok(()) } else { write!(f, ", saved {}", slices(saved)) }
            }
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
                    Step::Control(c) => {
                        writeln!(f, "{name}: {}", c.control)?;
                        for program in c.programs() {
                            let text = program.to_string();
                            writeln!(f, "  program")?;
                            text.lines().try_for_each(|l| writeln!(f, "    {l}"))?;
                        }
                    }
                    Step::Dot(d) => writeln!(f, "{name}: dot {} {} -> {}", d.a.buffer.0, d.b.buffer.0, d.c.buffer.0)?,
                }
            }
        }
        Ok(())
    }
}

//! [`Executable`]: a program with its machine code, ready to be called on memory.
//!
//! It is made from a [`Template`] by putting numbers in the place of sizes. All that a call needs besides its arguments is
//! worked out then: where each buffer is, how each argument is used, which memory becomes which result. What a call does is
//! in `call.rs`.

pub use crate::call::{Args, Results, same, share_storage, shares_donated};
use crate::control::Flow;
use crate::kernels::{Kernel, kernels};
use crate::step::{Ready, Together, dot, loops};
use crate::storage::{Access, Storage};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tensorc_codegen::launches::launches;
use tensorc_codegen::plan::plan;
use tensorc_codegen::program::{BufferDecl, BufferKind, Output, Program, Step};
use tensorc_ir::dim::{Assumption, Scope, Sizes, strongest};
use tensorc_ir::error::err;
use tensorc_ir::interp::may_fail;
use tensorc_ir::passes::fuse::Mode;
use tensorc_ir::{DType, Graph, Layout, Result, Strided, alias};

/// A tensor in memory: a storage, and how its elements lie in it.
#[derive(Clone)]
pub struct View {
    /// The memory.
    pub storage: Storage,
    /// Element type.
    pub dtype: DType,
    /// Where its elements lie, in elements from the start of the storage.
    pub layout: Layout,
}

impl View {
    /// Whether both have a byte in common. Exact, unless that takes very long: then yes.
    pub fn overlaps(&self, other: &View) -> bool {
        if !self.storage.same(&other.storage) {
            return false;
        }
        if self.dtype.size() == other.dtype.size() {
            return alias::overlap(&self.layout, &other.layout);
        }
        let bytes = |v: &View| v.layout.through(|l| Ok(Some(l.in_bytes(v.dtype.size()))));
        bytes(self).zip(bytes(other)).is_none_or(|(a, b)| alias::overlap(&a, &b))
    }
}

/// What to do when a written argument shares memory with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Overlap {
    /// Refuse the call: the program was compiled for arguments that are apart.
    #[default]
    Refuse,
    /// Read the other argument as it was before the call: right for a single op.
    Snapshot,
}

/// How to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Whether to fuse.
    pub mode: Mode,
    /// What to do when arguments overlap.
    pub overlap: Overlap,
}

impl Default for Options {
    fn default() -> Options {
        Options { mode: Mode::Fused, overlap: Overlap::Refuse }
    }
}

/// A compiled program whose sizes may be symbolic: everything but numbers.
pub struct Template {
    program: Program,
    kernels: Vec<Kernel>,
    params: Vec<Strided>,
    assumptions: Vec<Assumption>,
    constants: Vec<(usize, Storage)>,
    checked: Option<Arc<Graph>>,
    overlap: Overlap,
}

/// A compiled program.
pub struct Executable {
    pub(crate) program: Program,
    /// Where each buffer is.
    pub(crate) buffers: Vec<Place>,
    /// The bytes of all temporaries.
    pub(crate) arena: usize,
    pub(crate) steps: Vec<Stage>,
    pub(crate) write_back: Vec<Stage>,
    pub(crate) outputs: Vec<Found>,
    pub(crate) params: Vec<Param>,
    /// The graph, if some check in it can fail, and its sizes: by them a failure is put into words.
    pub(crate) checked: Option<(Arc<Graph>, Sizes)>,
    pub(crate) overlap: Overlap,
}

/// What an argument must be, and how it is used.
pub(crate) struct Param {
    pub(crate) dtype: DType,
    /// With offset 0.
    pub(crate) layout: Layout,
    /// The lowest and highest of its elements, if there are any.
    pub(crate) bounds: Option<(isize, isize)>,
    pub(crate) access: Access,
}

/// Where a buffer is.
pub(crate) enum Place {
    /// That argument.
    Param(usize),
    /// New memory of so many bytes, for a result.
    New(usize),
    /// So many bytes behind the start of the memory of temporaries.
    Temp(usize),
    /// Memory of the program's own.
    Constant(Storage),
}

/// Where a result is found, in numbers.
pub(crate) enum Found {
    /// In the new memory of that number; and whether no later result is there.
    New(usize, bool, DType, Layout),
    /// In a constant: the buffer.
    Constant(usize, DType, Layout),
    /// A view of that parameter.
    View(usize, DType, Layout),
}

/// A step with its machine code.
#[expect(clippy::large_enum_variant, reason = "nearly all steps are kernels")]
pub(crate) enum Stage {
    Kernel(Ready),
    Together(Together),
    Control(Box<Flow>),
}

impl Template {
    /// Compiles a pure graph for parameters that lie as `layouts` say, which may be symbolic (their offsets do not
    /// matter). `hints` are the sizes of the call at hand, and `assumed` is what the graph was made under; what planning
    /// assumes besides is added.
    ///
    /// # Errors
    /// `unsupported` if some part of it cannot be compiled, or takes sizes that are known.
    pub fn compile(
        graph: &Graph,
        layouts: &[Strided],
        hints: &Sizes,
        assumed: &[Assumption],
        options: Options,
    ) -> Result<Template> {
        let params: Vec<Strided> = layouts.iter().map(Strided::from_start).collect();
        let (program, more) = Scope::within(hints, || plan(graph, &params, options.mode));
        let program = program?;
        let assumptions = strongest(&assumed.iter().copied().chain(more).collect::<Vec<_>>());
        let nests: Vec<_> = program.loops().into_iter().map(|l| l.nest.clone()).collect();
        let kernels = kernels(&nests)?;
        let constants = constants(&program)?;
        let checked = graph.nodes().any(|n| may_fail(graph, n)).then(|| Arc::new(graph.clone()));
        Ok(Template { program, kernels, params, assumptions, constants, checked, overlap: options.overlap })
    }

    /// The program, for dumps and figures.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What it assumes of its sizes.
    pub fn assumptions(&self) -> &[Assumption] {
        &self.assumptions
    }

    /// The sizes that these arguments have, if they lie as the parameters do and the sizes are as assumed.
    pub fn sizes_of(&self, args: &[View]) -> Option<Sizes> {
        if args.len() != self.params.len() {
            return None;
        }
        let mut entries: Vec<(String, i64)> = Vec::new();
        for (a, p) in args.iter().zip(&self.params) {
            if a.layout.shape.len() != p.shape.len() {
                return None;
            }
            for (n, d) in a.layout.shape.iter().zip(&p.shape) {
                if let Some(name) = d.as_size()
                    && !entries.iter().any(|(m, _)| *m == name)
                {
                    entries.push((name, *n as i64));
                }
            }
        }
        let sizes = Sizes::new(entries);
        let lies = |(a, p): (&View, &Strided)| {
            let p = p.bind(&sizes).known();
            p.is_ok_and(|p| p.shape == a.layout.shape && p.strides == a.layout.strides)
        };
        let fits = args.iter().zip(&self.params).all(lies) && self.assumptions.iter().all(|a| a.admits(&sizes));
        fits.then_some(sizes)
    }

    /// The program for these sizes. It compiles nothing.
    ///
    /// # Errors
    /// `unsupported` if a size is missing, or a matrix product of these sizes cannot be planned; `shape` if the sizes
    /// are not as assumed.
    pub fn bind(&self, sizes: &Sizes) -> Result<Executable> {
        if let Some(a) = self.assumptions.iter().find(|a| !a.admits(sizes)) {
            return Err(err::shape(format!("this program assumes {a}")));
        }
        let program = self.program.bind(sizes);
        let mut ready = self.kernels.iter().cloned();
        let steps = together(&program, &program.steps, stages(&program, &program.steps, &mut ready)?);
        let write_back = stages(&program, &program.write_back, &mut ready)?;
        let place = |(i, b): (usize, &BufferDecl)| {
            Ok(match &b.kind {
                BufferKind::Param(p) => Place::Param(*p),
                BufferKind::Temp(at) => Place::Temp(at.value()? as usize),
                BufferKind::Output => Place::New((b.numel * b.dtype.size()).value()? as usize),
                BufferKind::Literal(_) => {
                    let of = self.constants.iter().find(|(k, _)| *k == i);
                    Place::Constant(of.ok_or_else(|| err::internal("a constant without its memory"))?.1.clone())
                }
            })
        };
        let buffers = program.buffers.iter().enumerate().map(place).collect::<Result<Vec<_>>>()?;
        let is_last = |i: usize, of: usize| {
            let mut later = program.outputs[i + 1..].iter();
            !later.any(|o| matches!(o, Output::Place(p) if p.buffer.0 as usize == of))
        };
        let found = |(i, o): (usize, &Output)| match o {
            Output::View(p, dtype, l) => Ok(Found::View(*p, *dtype, l.known()?)),
            Output::Place(p) => {
                let (of, layout) = (p.buffer.0 as usize, p.layout.known()?);
                let dtype = program.buffers[of].dtype;
                match &buffers[of] {
                    Place::New(_) => {
                        let slot = buffers[..of].iter().filter(|b| matches!(b, Place::New(_))).count();
                        Ok(Found::New(slot, is_last(i, of), dtype, layout))
                    }
                    Place::Constant(_) => Ok(Found::Constant(of, dtype, layout)),
                    Place::Param(_) | Place::Temp(_) => Err(err::internal("a result without memory")),
                }
            }
        };
        let outputs = program.outputs.iter().enumerate().map(found).collect::<Result<_>>()?;
        let types = program.buffers.iter().filter(|b| matches!(b.kind, BufferKind::Param(_))).map(|b| b.dtype);
        let param = |(i, (dtype, layout)): (usize, (DType, &Strided))| {
            let access = if program.mutated.contains(&i) { Access::Write } else { Access::Read };
            let layout = layout.bind(sizes).known()?;
            Ok(Param { dtype, bounds: layout.bounds(), layout, access })
        };
        let params = types.zip(&self.params).enumerate().map(param).collect::<Result<_>>()?;
        Ok(Executable {
            buffers,
            arena: program.arena.value()? as usize,
            steps,
            write_back,
            outputs,
            params,
            checked: self.checked.clone().map(|g| (g, sizes.clone())),
            overlap: self.overlap,
            program,
        })
    }
}

impl Executable {
    /// Compiles a pure graph for parameters that lie as `layouts` say (their offsets do not matter).
    ///
    /// # Errors
    /// `unsupported` if some part of it cannot be compiled.
    pub fn compile(graph: &Graph, layouts: &[Layout], options: Options) -> Result<Executable> {
        let layouts: Vec<Strided> = layouts.iter().map(Strided::from).collect();
        Template::compile(graph, &layouts, &Sizes::default(), &[], options)?.bind(&Sizes::default())
    }

    /// The program, for dumps and figures.
    pub fn program(&self) -> &Program {
        &self.program
    }
}

/// Steps of a program with their machine code; `kernels` gives those of [`Program::loops`] in order.
pub(crate) fn stages(
    program: &Program,
    steps: &[Step],
    kernels: &mut dyn Iterator<Item = Kernel>,
) -> Result<Vec<Stage>> {
    let one = |s: &Step| match s {
        Step::Loops(l) => {
            let kernel = kernels.next().ok_or_else(|| err::internal("a step without its kernel"))?;
            loops(program, l, kernel).map(Stage::Kernel)
        }
        Step::Dot(d) => dot(d).map(Stage::Kernel),
        Step::Control(c) => Ok(Stage::Control(Box::new(Flow::new(c, &program.buffers, kernels)?))),
    };
    steps.iter().map(one).collect()
}

/// The same with the kernels of each launch in one stage.
fn together(program: &Program, steps: &[Step], stages: Vec<Stage>) -> Vec<Stage> {
    let mut stages = stages.into_iter();
    let mut out = Vec::with_capacity(stages.len());
    for launch in launches(program, steps) {
        let mut kernels = Vec::new();
        for stage in stages.by_ref().take(launch.len()) {
            match stage {
                Stage::Kernel(k) if launch.len() > 1 => kernels.push(k),
                alone => out.push(alone),
            }
        }
        if !kernels.is_empty() {
            out.push(Stage::Together(Together(kernels)));
        }
    }
    out
}

/// The constant tensors of a program in memory, with their buffers.
pub(crate) fn constants(program: &Program) -> Result<Vec<(usize, Storage)>> {
    let mut all = Vec::new();
    for (i, b) in program.buffers.iter().enumerate() {
        if let BufferKind::Literal(l) = &b.kind {
            let size = l.dtype.size();
            let mut bytes = vec![0; l.values.len() * size];
            l.values.iter().zip(bytes.chunks_mut(size)).for_each(|(v, to)| v.write(to));
            all.push((i, Storage::from_bytes(&bytes)?));
        }
    }
    Ok(all)
}

impl Stage {
    /// Runs the step; `bases` are the addresses of the program's buffers.
    pub(crate) fn run(&self, bases: &[*mut u8], error: &AtomicU64) -> Result<()> {
        match self {
            Stage::Kernel(k) => k.run(bases, error),
            Stage::Together(all) => {
                all.run(bases, error);
                Ok(())
            }
            Stage::Control(c) => c.run(bases, error),
        }
    }
}

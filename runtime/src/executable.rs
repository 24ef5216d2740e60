//! [`Executable`]: a program with its machine code, ready to be called on memory.
//!
//! A call takes the borrow words of all arguments, gives every buffer its memory (the arguments', recycled memory for
//! results, one block for temporaries), runs the steps, and looks at the error word after each: a failed check ends the
//! call before anything is written back.

use crate::control::Flow;
use crate::kernels::{Kernel, kernels};
use crate::step::{Ready, Together, dot, loops};
use crate::storage::{Access, Borrows, Storage};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tensorc_codegen::launches::launches;
use tensorc_codegen::plan::plan;
use tensorc_codegen::program::{BufferDecl, BufferKind, Output, Program, Step};
use tensorc_ir::dim::{Assumption, Scope, Sizes, strongest};
use tensorc_ir::error::err;
use tensorc_ir::interp::{self, Array, may_fail};
use tensorc_ir::ops::strided::ViewDtype;
use tensorc_ir::passes::fuse::Mode;
use tensorc_ir::{DType, Error, Graph, Kind, Layout, Loc, Result, Scalar, Strided, alias};

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
    program: Program,
    /// For each buffer, its bytes: of the buffer itself, or before it in the arena if it is a temporary.
    bytes: Vec<usize>,
    arena: usize,
    steps: Vec<Stage>,
    write_back: Vec<Stage>,
    outputs: Vec<Found>,
    /// For each parameter, its dtype and layout with offset 0.
    params: Vec<(DType, Layout)>,
    constants: Vec<(usize, Storage)>,
    /// The graph, if some check in it can fail, and its sizes: by them a failure is put into words.
    checked: Option<(Arc<Graph>, Sizes)>,
    overlap: Overlap,
}

/// Where a result is found, in numbers.
enum Found {
    /// In that buffer.
    Buffer(usize, Layout),
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
        let bytes = |b: &BufferDecl| match &b.kind {
            BufferKind::Temp(at) => at.value(),
            // Nobody allocates a parameter.
            BufferKind::Param(_) => Ok(0),
            BufferKind::Output | BufferKind::Literal(_) => (b.numel * b.dtype.size()).value(),
        };
        let bytes = program.buffers.iter().map(|b| bytes(b).map(|n| n as usize)).collect::<Result<_>>()?;
        let found = |o: &Output| match o {
            Output::Place(p) => Ok(Found::Buffer(p.buffer.0 as usize, p.layout.known()?)),
            Output::View(p, dtype, l) => Ok(Found::View(*p, *dtype, l.known()?)),
        };
        let outputs = program.outputs.iter().map(found).collect::<Result<_>>()?;
        let types = program.buffers.iter().filter(|b| matches!(b.kind, BufferKind::Param(_))).map(|b| b.dtype);
        let layouts = self.params.iter().map(|l| l.bind(sizes).known()).collect::<Result<Vec<_>>>()?;
        Ok(Executable {
            bytes,
            arena: program.arena.value()? as usize,
            steps,
            write_back,
            outputs,
            params: types.zip(layouts).collect(),
            constants: self.constants.clone(),
            checked: self.checked.clone().map(|g| (g, sizes.clone())),
            overlap: self.overlap,
            program,
        })
    }
}

/// The error of a donated argument whose memory another tensor of the call shares.
pub fn shares_donated() -> Error {
    err::alias("a donated argument shares its memory with another argument or a captured tensor").help("donate a copy")
}

/// Whether an argument can be donated.
fn donatable(args: &[View], i: usize, loc: Loc) -> Result<()> {
    let a = args.get(i).ok_or_else(|| err::index(format!("there is no argument {i} to donate")).at(loc))?;
    let shares = |(j, b): (usize, &View)| j != i && b.storage.same(&a.storage);
    if args.iter().enumerate().any(shares) {
        return Err(shares_donated().at(loc));
    }
    if a.storage.is_lent() || a.storage.is_listed() {
        let e = err::alias("memory that is lent for a scope, or comes from another library, cannot be donated");
        return Err(e.at(loc).help("donate a copy"));
    }
    Ok(())
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

    /// Runs the program. Written parameters change; results that are views of a parameter share its storage.
    ///
    /// # Errors
    /// `type` if the arguments are not what it was compiled for; `alias` if one is in use elsewhere, or overlaps a
    /// written one; `data` if a check fails, and then no argument has changed.
    pub fn call(&self, args: &[View], loc: Loc) -> Result<Vec<View>> {
        self.call_donating(args, &[], loc)
    }

    /// As [`Executable::call`]. When the call has succeeded, the storages of the arguments `donated` are of no more use,
    /// and results in their memory have storages of their own.
    ///
    /// # Errors
    /// As [`Executable::call`], and `alias` if a donated argument is in use elsewhere, is lent, or shares its storage with
    /// another one.
    pub fn call_donating(&self, args: &[View], donated: &[usize], loc: Loc) -> Result<Vec<View>> {
        self.check(args)?;
        donated.iter().try_for_each(|i| donatable(args, *i, loc))?;
        let mut args: SmallVec<[View; 8]> = args.iter().cloned().collect();
        self.separate(&mut args, loc)?;
        let writes = |i: &usize| self.program.mutated.contains(i) || donated.contains(i);
        let access = |i: usize| if writes(&i) { Access::Write } else { Access::Read };
        let mut borrows = Borrows::take(args.iter().enumerate().map(|(i, a)| (&a.storage, access(i))), loc)?;

        let arena = if self.arena > 0 { Some(Storage::alloc(self.arena)?) } else { None };
        let mut outputs: SmallVec<[(usize, Storage); 4]> = SmallVec::new();
        let mut bases: SmallVec<[*mut u8; 16]> = SmallVec::new();
        for (i, b) in self.program.buffers.iter().enumerate() {
            bases.push(match &b.kind {
                BufferKind::Param(p) => {
                    let a = &args[*p];
                    a.storage.as_ptr().wrapping_add(a.layout.offset * a.dtype.size())
                }
                BufferKind::Output => {
                    let s = Storage::alloc(self.bytes[i])?;
                    let at = s.as_ptr();
                    outputs.push((i, s));
                    at
                }
                BufferKind::Temp(_) => {
                    arena.as_ref().map_or(std::ptr::null_mut(), |a| a.as_ptr().wrapping_add(self.bytes[i]))
                }
                BufferKind::Literal(_) => {
                    self.constants.iter().find(|(k, _)| *k == i).map_or(std::ptr::null_mut(), |(_, s)| s.as_ptr())
                }
            });
        }

        let error = AtomicU64::new(0);
        let mut steps = self.steps.iter().chain(&self.write_back);
        if let Err(e) = steps.try_for_each(|step| step.run(&bases, &error)) {
            drop(borrows);
            return Err(self.explained(&args, e));
        }
        borrows.wrote(loc);
        let mut results = self.outputs.iter().map(|o| self.output(o, &args, &outputs)).collect::<Result<Vec<_>>>()?;
        for i in donated {
            let old = &args[*i].storage;
            let Some(new) = borrows.donate(old, loc) else { continue };
            results.iter_mut().filter(|r| r.storage.same(old)).for_each(|r| r.storage = new.clone());
        }
        Ok(results)
    }

    /// The error of a failed check, with the numbers that were wrong. The arguments are still as they were.
    fn explained(&self, args: &[View], e: Error) -> Error {
        let Some((graph, sizes)) = self.checked.as_ref().filter(|_| e.kind() == Kind::Data) else { return e };
        let input = |i: usize| {
            let a = args.get(i).ok_or_else(|| err::internal("a program without its argument"))?;
            let size = a.dtype.size();
            let bytes = a.storage.elements(&a.layout, size, Loc::Unknown)?;
            let scalars = bytes.chunks_exact(size).map(|b| Scalar::read(a.dtype, b));
            Ok(Array::from_scalars(a.dtype, &a.layout.shape, scalars))
        };
        match Scope::bound(sizes, || interp::checks(graph, input)) {
            Err(said) if said.kind() == Kind::Data => said,
            // Someone has changed an argument in between.
            _ => e,
        }
    }

    fn output(&self, o: &Found, args: &[View], outputs: &[(usize, Storage)]) -> Result<View> {
        match o {
            Found::View(p, dtype, layout) => {
                let a = &args[*p];
                let before = a.layout.offset * a.dtype.size();
                if !before.is_multiple_of(dtype.size()) {
                    return Err(ViewDtype { from: a.dtype, to: *dtype }.refused(&Strided::from(&a.layout)));
                }
                let layout = Layout { offset: layout.offset + before / dtype.size(), ..layout.clone() };
                Ok(View { storage: a.storage.clone(), dtype: *dtype, layout })
            }
            Found::Buffer(i, layout) => {
                let i = *i;
                let storage = outputs.iter().find(|(k, _)| *k == i).map(|(_, s)| s.clone());
                let storage = match storage {
                    Some(s) => s,
                    // A constant, as it is: the caller may write to what it gets.
                    None => {
                        let (_, s) = self
                            .constants
                            .iter()
                            .find(|(k, _)| *k == i)
                            .ok_or_else(|| err::internal("a result without memory"))?;
                        Storage::from_bytes(&s.read(Loc::Unknown)?)?
                    }
                };
                Ok(View { storage, dtype: self.program.buffers[i].dtype, layout: layout.clone() })
            }
        }
    }

    fn check(&self, args: &[View]) -> Result<()> {
        if args.len() != self.params.len() {
            return Err(err::ty(format!("{} arguments, expected {}", args.len(), self.params.len())));
        }
        for (i, (a, (dtype, layout))) in args.iter().zip(&self.params).enumerate() {
            if a.dtype != *dtype || a.layout.shape != layout.shape || a.layout.strides != layout.strides {
                return Err(err::ty(format!(
                    "argument {i} is {}{:?} with strides {:?}, compiled for {dtype}{:?} with strides {:?}",
                    a.dtype,
                    a.layout.shape.as_slice(),
                    a.layout.strides.as_slice(),
                    layout.shape.as_slice(),
                    layout.strides.as_slice()
                )));
            }
            if let Some((lo, hi)) = a.layout.bounds()
                && (lo < 0 || (hi as usize + 1) * dtype.size() > a.storage.len())
            {
                return Err(err::index(format!("argument {i} reaches outside its storage")));
            }
        }
        Ok(())
    }

    /// Sees to arguments that share memory with a written one.
    fn separate(&self, args: &mut [View], loc: Loc) -> Result<()> {
        for m in &self.program.mutated {
            for i in 0..args.len() {
                if i == *m || !args[*m].overlaps(&args[i]) {
                    continue;
                }
                if self.overlap == Overlap::Refuse || self.program.mutated.contains(&i) {
                    return Err(err::alias(format!("arguments {m} and {i} share memory, and argument {m} is written"))
                        .at(loc)
                        .help("pass a copy of one of them"));
                }
                let a = &args[i];
                args[i].storage = a.storage.snapshot(&a.layout, a.dtype.size(), loc)?;
            }
        }
        Ok(())
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

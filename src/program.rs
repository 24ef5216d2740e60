//! Running functions of `.tc` files on tensors.
//!
//! ```
//! use tensorc::program::{Mode, Program};
//!
//! let program = Program::parse("double.tc", "fn double(x: mut f32[N]) { x.mul_(2); x.sum() }").unwrap();
//! let x = tensorc::tensor([1.0f32, 2.0]).unwrap();
//! let results = program.run(None, &[x.clone()], Mode::Fused).unwrap();
//! assert_eq!(results[0].item::<f32>().unwrap(), 6.0);
//! assert_eq!(x.to_vec::<f32>().unwrap(), [2.0, 4.0]);
//! ```

use crate::dynamic::{Table, Variant, Variants};
use crate::tensor::Tensor;
use std::sync::{Arc, Mutex, PoisonError};
use tensorc_ir::dim::Sizes;
use tensorc_ir::error::err;
use tensorc_ir::graph::Phase;
use tensorc_ir::interp::{self, Array};
use tensorc_ir::passes::{fuse, run_for, run_named};
use tensorc_ir::scalar::eval;
use tensorc_ir::text::{Bound, FnId, Module, view_of};
use tensorc_ir::{Error, Graph, Layout, Loc, Result, Scalar, Strided, Type};
use tensorc_runtime::executable::{Executable, Options, Overlap, View};
use tensorc_runtime::storage::Storage;

/// How a function runs. All three give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// All passes, fused kernels.
    #[default]
    Fused,
    /// One compiled kernel for each op (gradients after differentiation).
    Eager,
    /// The reference interpreter, with real mutation.
    Interpret,
}

/// A parsed `.tc` file.
pub struct Program {
    module: Module,
    /// Programs with symbolic sizes, by function and mode.
    compiled: Table<(FnId, fuse::Mode), ()>,
}

impl Program {
    /// Parses a file; `name` is for messages.
    ///
    /// # Errors
    /// All errors of the text.
    pub fn parse(name: &str, text: &str) -> Result<Program, Vec<Error>> {
        Ok(Program { module: Module::parse(name, text)?, compiled: Mutex::default() })
    }

    /// The parsed file: its functions, their parameters, the text for messages.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The function of that name, or without one `main`, or the only one.
    ///
    /// # Errors
    /// `name` if there is none.
    pub fn function(&self, name: Option<&str>) -> Result<FnId> {
        match name {
            Some(n) => self.module.function(n),
            None => self.module.main(),
        }
    }

    /// Runs a function on tensors. `mut` parameters are written in the arguments' memory.
    ///
    /// # Errors
    /// All errors of the function, or the one of the run; after an error no argument has changed.
    pub fn run(&self, name: Option<&str>, args: &[Tensor], mode: Mode) -> Result<Vec<Tensor>, Vec<Error>> {
        let f = self.function(name).map_err(|e| vec![e])?;
        let given: Vec<Given> = args.iter().map(|t| Given::Tensor(t.clone())).collect();
        self.call(f, &self.bind(f, &given)?, mode)
    }

    /// Works out the arguments of a call, of which some may be views of others.
    ///
    /// # Errors
    /// `type` or `dtype` if they do not fit the parameters; what is wrong with a view expression.
    pub fn bind(&self, f: FnId, given: &[Given]) -> Result<Call, Vec<Error>> {
        let one = |e: Error| vec![e];
        let params = self.module.params(f);
        if params.len() != given.len() {
            let name = &self.module.decl(f).name.text;
            return Err(one(err::ty(format!("`{name}` takes {} arguments, got {}", params.len(), given.len()))));
        }
        let mut tensors: Vec<Option<Tensor>> = vec![None; given.len()];
        let mut memory = Vec::new();
        let mut owners = Vec::new();
        for (i, (p, g)) in params.iter().zip(given).enumerate() {
            let Given::Tensor(t) = g else { continue };
            let v = t.view_of("run").map_err(one)?;
            let ty = Type::new(v.dtype, v.layout.shape.iter().copied());
            memory.push((p.name.text.as_str(), ty, v.layout.clone()));
            owners.push(i);
            tensors[i] = Some(t.clone());
        }
        let mut bound = Vec::new();
        for (param, g) in given.iter().enumerate() {
            let Given::View(text) = g else { continue };
            let v = view_of(text, &memory)?;
            let of = owners[v.of];
            if let Some(base) = &tensors[of] {
                let base = base.view_of("run").map_err(one)?;
                let view = View { storage: base.storage.clone(), dtype: v.ty.dtype, layout: v.layout };
                tensors[param] = Some(Tensor::concrete(view));
            }
            bound.push(Bound { param, of, views: v.views });
        }
        let tensors: Vec<Tensor> = tensors.into_iter().flatten().collect();
        for (p, t) in params.iter().zip(&tensors) {
            if p.ty.dtype != t.dtype() {
                let (name, want, got) = (&p.name.text, p.ty.dtype, t.dtype());
                return Err(one(err::dtype(format!("parameter `{name}` is {want}, its argument is {got}")).at(p.loc)));
            }
        }
        Ok(Call { tensors, bound })
    }

    /// Runs a function on arguments that were worked out before.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn call(&self, f: FnId, call: &Call, mode: Mode) -> Result<Vec<Tensor>, Vec<Error>> {
        let one = |e: Error| vec![e];
        let views: Vec<View> =
            call.tensors.iter().map(|t| t.view_of("run").cloned()).collect::<Result<_>>().map_err(one)?;
        let shapes: Vec<&[usize]> = call.tensors.iter().map(Tensor::shape).collect();
        let sizes = self.module.bind_sizes(f, &shapes).map_err(one)?;
        let fusion = match mode {
            Mode::Interpret => None,
            Mode::Fused => Some(fuse::Mode::Fused),
            Mode::Eager => Some(fuse::Mode::Eager),
        };
        if let (Some(mode), true, false) = (fusion, call.bound.is_empty(), sizes.is_empty())
            && let Some(results) = self.symbolic(f, &sizes, &views, mode)?
        {
            return Ok(results);
        }
        let layouts: Vec<Layout> = views.iter().map(|v| v.layout.clone()).collect();
        let strided: Vec<Strided> = layouts.iter().map(Strided::from).collect();
        let graph = self.module.trace_bound(f, &sizes, Some(&strided), &call.bound)?;
        // Parameters that are views of others are none of the graph's.
        let own = |i: &usize| call.bound.iter().all(|b| b.param != *i);
        let views: Vec<View> = (0..views.len()).filter(own).map(|i| views[i].clone()).collect();
        let layouts: Vec<Layout> = views.iter().map(|v| v.layout.clone()).collect();
        let results = match mode {
            Mode::Interpret => interpret(&graph, &views),
            Mode::Fused => compiled(&graph, &layouts, &views, fuse::Mode::Fused),
            Mode::Eager => compiled(&graph, &layouts, &views, fuse::Mode::Eager),
        };
        Ok(results.map_err(one)?.into_iter().map(Tensor::concrete).collect())
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("module", &self.module).finish_non_exhaustive()
    }
}

impl Program {
    /// Runs a function on arguments of these sizes by a program with symbolic sizes; `None` if there can be none.
    fn symbolic(
        &self,
        f: FnId,
        sizes: &tensorc_ir::text::Sizes,
        views: &[View],
        mode: fuse::Mode,
    ) -> Result<Option<Vec<Tensor>>, Vec<Error>> {
        let one = |e: Error| vec![e];
        let hints = || Sizes::new(sizes.iter().filter_map(|(n, v)| v.known().map(|v| (n, v))));
        let found = self
            .variants(f, mode)
            .find_or_make(|()| views.to_vec(), || self.compile_symbolic(f, &hints(), mode))
            .map_err(one)?;
        let Some(found) = found else { return Ok(None) };
        let results = found.exe.call(&found.args, Loc::Unknown).map_err(one)?;
        Ok(Some(results.into_iter().map(Tensor::concrete).collect()))
    }

    fn variants(&self, f: FnId, mode: fuse::Mode) -> Arc<Variants<()>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).entry((f, mode)).or_default().clone()
    }

    fn compile_symbolic(&self, f: FnId, hints: &Sizes, mode: fuse::Mode) -> Result<Variant<()>> {
        Variant::compile(hints, Options { mode, overlap: Overlap::Refuse }, || {
            let sizes = self.module.symbolic_sizes(f);
            let graph = self.module.trace(f, &sizes, None).map_err(first)?;
            let types = self.module.param_types(f, &sizes)?;
            Ok((graph, types.iter().map(|t| Strided::contiguous(&t.shape)).collect(), ()))
        })
    }

    /// What a function's program for symbolic sizes assumes of them when it is made for these, each as `10 <= B`.
    ///
    /// # Errors
    /// Why there is no such program: what takes sizes that are known.
    pub fn assumptions(&self, f: FnId, hints: &[(String, usize)]) -> Result<Vec<String>> {
        let hints = Sizes::new(hints.iter().map(|(n, v)| (n.as_str(), *v as i64)));
        let variant = self.compile_symbolic(f, &hints, fuse::Mode::Fused)?;
        Ok(variant.assumptions().iter().map(ToString::to_string).collect())
    }

    /// Why a function is compiled for each choice of sizes, if it was found out to be.
    pub fn refused(&self, f: FnId) -> Option<Error> {
        self.variants(f, fuse::Mode::Fused).refused().cloned()
    }

    /// How many programs with symbolic sizes a function has been compiled to so far, in that mode.
    pub fn compilations(&self, f: FnId, mode: Mode) -> usize {
        match mode {
            Mode::Interpret => 0,
            Mode::Fused => self.variants(f, fuse::Mode::Fused).count(),
            Mode::Eager => self.variants(f, fuse::Mode::Eager).count(),
        }
    }
}

fn first(errors: Vec<Error>) -> Error {
    errors.into_iter().next().unwrap_or_else(|| err::ty("an error without a text"))
}

/// An argument as it is given.
pub enum Given {
    /// A tensor.
    Tensor(Tensor),
    /// A view of another argument, sharing its memory: `x[1:]`.
    View(String),
}

/// The arguments of a call.
pub struct Call {
    tensors: Vec<Tensor>,
    bound: Vec<Bound>,
}

impl Call {
    /// The arguments, views included, in the order of the parameters.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }
}

fn compiled(g: &Graph, layouts: &[Layout], args: &[View], mode: fuse::Mode) -> Result<Vec<View>> {
    let g = run_for(g, mode)?;
    Executable::compile(&g, layouts, Options { mode, overlap: Overlap::Refuse })?.call(args, Loc::Unknown)
}

/// Runs the traced program itself; one with gradients after they have been worked out.
fn interpret(g: &Graph, args: &[View]) -> Result<Vec<View>> {
    let has_grad = g.phase == Phase::Traced && g.has_grad();
    let g = if has_grad { run_named(g, &["functionalize", "autodiff"])? } else { g.clone() };
    // One array for each storage, so that arguments which share memory do so in the interpreter too.
    let mut storages: Vec<(Storage, Array)> = Vec::new();
    let mut arrays = Vec::new();
    for v in args {
        let size = v.dtype.size();
        let known = storages.iter().find(|(s, a)| s.same(&v.storage) && a.dtype == v.dtype).map(|(_, a)| a.clone());
        let whole = match known {
            Some(a) => a,
            None => {
                let bytes = v.storage.read(Loc::Unknown)?;
                let scalars: Vec<Scalar> = bytes.chunks_exact(size).map(|b| Scalar::read(v.dtype, b)).collect();
                let a = Array::from_scalars(v.dtype, &[scalars.len()], scalars);
                storages.push((v.storage.clone(), a.clone()));
                a
            }
        };
        arrays.push(whole.view(v.layout.clone()));
    }
    let results = interp::run(&g, &arrays)?;
    for (s, a) in &storages {
        let bytes = bytes_of(a);
        if !s.read(Loc::Unknown)?.starts_with(&bytes) {
            s.copy_in(0, &bytes, Loc::Unknown)?;
        }
    }
    results
        .into_iter()
        .map(|r| match storages.iter().find(|(_, a)| a.shares(&r)) {
            Some((s, _)) => Ok(View { storage: s.clone(), dtype: r.dtype, layout: r.layout.clone() }),
            None => {
                let layout = Layout::contiguous(r.shape());
                Ok(View { storage: Storage::from_bytes(&bytes_of(&r))?, dtype: r.dtype, layout })
            }
        })
        .collect()
}

/// The elements of an array, row-major, as bytes.
fn bytes_of(a: &Array) -> Vec<u8> {
    let size = a.dtype.size();
    let bits = a.bits();
    let mut bytes = vec![0; bits.len() * size];
    bits.iter().zip(bytes.chunks_mut(size)).for_each(|(b, to)| eval::from_bits(a.dtype, *b).write(to));
    bytes
}

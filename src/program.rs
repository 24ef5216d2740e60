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

use crate::tensor::Tensor;
use tensorc_ir::error::err;
use tensorc_ir::graph::Phase;
use tensorc_ir::interp::{self, Array};
use tensorc_ir::passes::{fuse, run_all, run_named};
use tensorc_ir::scalar::eval;
use tensorc_ir::text::{FnId, Module};
use tensorc_ir::{Error, Graph, Layout, Loc, Op, Result, Scalar};
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
#[derive(Debug)]
pub struct Program {
    module: Module,
}

impl Program {
    /// Parses a file; `name` is for messages.
    ///
    /// # Errors
    /// All errors of the text.
    pub fn parse(name: &str, text: &str) -> Result<Program, Vec<Error>> {
        Ok(Program { module: Module::parse(name, text)? })
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

    /// Runs a function. `mut` parameters are written in the arguments' memory.
    ///
    /// # Errors
    /// All errors of the function, or the one of the run; after an error no argument has changed.
    pub fn run(&self, name: Option<&str>, args: &[Tensor], mode: Mode) -> Result<Vec<Tensor>, Vec<Error>> {
        let one = |e: Error| vec![e];
        let f = self.function(name).map_err(one)?;
        let views = self.arguments(f, args).map_err(one)?;
        let shapes: Vec<Vec<usize>> = args.iter().map(|t| t.shape().to_vec()).collect();
        let sizes = self.module.bind_sizes(f, &shapes).map_err(one)?;
        let layouts: Vec<Layout> = views.iter().map(|v| Layout { offset: 0, ..v.layout.clone() }).collect();
        let graph = self.module.trace(f, &sizes, Some(&layouts))?;
        let results = match mode {
            Mode::Interpret => interpret(&graph, &views),
            Mode::Fused => compiled(&graph, &layouts, &views, fuse::Mode::Fused),
            Mode::Eager => compiled(&graph, &layouts, &views, fuse::Mode::Eager),
        };
        Ok(results.map_err(one)?.into_iter().map(Tensor::concrete).collect())
    }

    /// The memory of the arguments, their number and dtypes checked.
    fn arguments(&self, f: FnId, args: &[Tensor]) -> Result<Vec<View>> {
        let params = self.module.params(f);
        if params.len() != args.len() {
            return Err(err::ty(format!(
                "`{}` takes {} arguments, got {}",
                self.module.decl(f).name.text,
                params.len(),
                args.len()
            )));
        }
        params
            .iter()
            .zip(args)
            .map(|(p, t)| {
                if p.ty.dtype != t.dtype() {
                    let (name, want, got) = (&p.name.text, p.ty.dtype, t.dtype());
                    return Err(err::dtype(format!("parameter `{name}` is {want}, its argument is {got}")).at(p.loc));
                }
                t.view_of("run").map(|v| (**v).clone())
            })
            .collect()
    }
}

fn compiled(g: &Graph, layouts: &[Layout], args: &[View], mode: fuse::Mode) -> Result<Vec<View>> {
    let g = run_all(g)?;
    Executable::compile(&g, layouts, Options { mode, overlap: Overlap::Refuse })?.call(args, Loc::Unknown)
}

/// Runs the traced program itself; one with gradients after they have been worked out.
fn interpret(g: &Graph, args: &[View]) -> Result<Vec<View>> {
    let has_grad = g.phase == Phase::Traced && g.nodes().any(|n| matches!(g.op(n), Op::Grad(_)));
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

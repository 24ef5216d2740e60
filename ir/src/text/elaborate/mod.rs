//! Elaboration of `.tc`: from syntax trees to graphs.
//!
//! A [`Module`] is a parsed file. [`Module::trace`] runs one of its functions on symbolic tensors, statement by statement,
//! and every operation appends to a graph through the builder, as a traced Rust closure does; so shapes, promotion and
//! aliasing have one definition. Calls of functions of the same file are inlined. What is known while tracing (numbers,
//! sizes, lists, dtypes) is computed right away. A statement that fails leaves its names poisoned: what uses them is
//! skipped without a word, so that all errors of a function are reported, each once.

mod bind;
mod call;
mod callgraph;
mod control;
mod derivative;
mod expr;
mod function;
mod literal;
mod number;
mod sizes;
mod standin;
mod stmt;
#[cfg(test)]
mod tests;
mod transform;
mod value;
mod walk;

use super::{Source, ast, parse};
use crate::dim::{Dim, Dims, dims};
use crate::error::{Error, Kind, Loc, Result, err};
use crate::graph::{Graph, Phase};
use crate::layout::Strided;
use crate::passes;
use crate::types::Type;
use callgraph::CallGraph;
use function::Call;
use std::collections::HashMap;
use std::sync::OnceLock;

pub use bind::{Bound, ViewOf, view_of};
pub use control::{FORMS, Form};
pub use sizes::Sizes;

/// A parsed file, whose functions can be traced.
#[derive(Debug)]
pub struct Module {
    source: Source,
    program: ast::Program,
    by_name: HashMap<String, usize>,
    calls: CallGraph,
    checked: Vec<OnceLock<Checked>>,
}

/// What is wrong with a function whatever its sizes are.
#[derive(Debug)]
struct Checked {
    /// Errors of the function, not those of functions that it calls.
    errors: Vec<Error>,
    /// Whether nothing is wrong with it or what it calls.
    sound: bool,
}

/// A function of a [`Module`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FnId(usize);

impl Module {
    /// Parses a file. `name` says where it came from, for messages.
    ///
    /// # Errors
    /// All that is wrong with the text: `syntax`, `name` for what is defined twice, `unsupported` for recursion.
    pub fn parse(name: impl Into<String>, text: impl Into<String>) -> Result<Module, Vec<Error>> {
        Module::from_source(Source::new(name, text))
    }

    /// Parses a file that is at hand as a [`Source`] (which is needed to draw the errors).
    ///
    /// # Errors
    /// As [`Module::parse`].
    pub fn from_source(source: Source) -> Result<Module, Vec<Error>> {
        let program = parse(source.text())?;
        let by_name = program.fns.iter().enumerate().map(|(i, f)| (f.name.text.clone(), i)).collect();
        let (calls, errors) = CallGraph::new(&program, &by_name);
        if !errors.is_empty() {
            return Err(errors);
        }
        let checked = program.fns.iter().map(|_| OnceLock::new()).collect();
        Ok(Module { source, program, by_name, calls, checked })
    }

    /// The text, with its name.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The syntax tree.
    pub fn program(&self) -> &ast::Program {
        &self.program
    }

    /// All functions, in the order written.
    pub fn functions(&self) -> impl Iterator<Item = FnId> + use<> {
        (0..self.program.fns.len()).map(FnId)
    }

    /// The function of that name.
    ///
    /// # Errors
    /// `name` if there is none.
    pub fn function(&self, name: &str) -> Result<FnId> {
        let missing = || err::name(format!("there is no function `{name}` in {}", self.source.name()));
        self.own(name).ok_or_else(|| match self.names().as_slice() {
            [] => missing(),
            all => missing().help(format!("its functions are {}", all.join(", "))),
        })
    }

    /// The function to run if none is named: `main`, or else the only one.
    ///
    /// # Errors
    /// `name` if there is neither.
    pub fn main(&self) -> Result<FnId> {
        match (self.by_name.get("main"), self.program.fns.len()) {
            (Some(i), _) => Ok(FnId(*i)),
            (None, 1) => Ok(FnId(0)),
            (None, 0) => Err(err::name(format!("there is no function in {}", self.source.name()))),
            (None, _) => Err(err::name(format!("there is no function `main` in {}", self.source.name()))
                .help(format!("name one of its functions: {}", self.names().join(", ")))),
        }
    }

    /// Whether control flow of the file runs that function: then it is printed with the functions that do.
    pub fn is_body(&self, f: FnId) -> bool {
        self.calls.is_body(f.0)
    }

    /// The function of that name, if there is one.
    fn own(&self, name: &str) -> Option<FnId> {
        self.by_name.get(name).map(|i| FnId(*i))
    }

    fn names(&self) -> Vec<&str> {
        self.program.fns.iter().map(|f| f.name.text.as_str()).collect()
    }

    /// The declaration of a function.
    pub fn decl(&self, f: FnId) -> &ast::Fn {
        &self.program.fns[f.0]
    }

    /// The parameters of a function: name, whether it may be written to, dtype and dims.
    pub fn params(&self, f: FnId) -> &[ast::Param] {
        &self.decl(f).params
    }

    /// The sizes that a function has when its arguments have these shapes, one for each parameter. All other dims are
    /// checked; dtypes are the caller's to check.
    ///
    /// # Errors
    /// `shape`, with the parameter, what it expects and what it got; `type` if the number of shapes is wrong.
    pub fn bind_sizes<S: AsRef<[usize]>>(&self, f: FnId, shapes: &[S]) -> Result<Sizes> {
        let shapes: Vec<Dims> = shapes.iter().map(|s| dims(s.as_ref())).collect();
        Sizes::bind(self.decl(f), &shapes.iter().map(Dims::as_slice).collect::<Vec<_>>())
    }

    /// The sizes of a function as symbols, so that [`Module::trace`] makes one graph for all of them.
    pub fn symbolic_sizes(&self, f: FnId) -> Sizes {
        Sizes::symbols(self.decl(f))
    }

    /// The sizes of a function, given by name instead of by arguments.
    ///
    /// # Errors
    /// `name` if one is missing.
    pub fn sizes(&self, f: FnId, given: &[(String, usize)]) -> Result<Sizes> {
        let given: Vec<(String, Dim)> = given.iter().map(|(n, v)| (n.clone(), Dim::from(*v))).collect();
        Sizes::named(self.decl(f), &given)
    }

    /// The types of the parameters for these sizes.
    ///
    /// # Errors
    /// `name` if a size is missing, `shape` if a dim is negative or a tensor too large.
    pub fn param_types(&self, f: FnId, sizes: &Sizes) -> Result<Vec<Type>> {
        self.params(f).iter().map(|p| Ok(Type::new(p.ty.dtype, sizes.shape(&p.ty)?))).collect()
    }

    /// The graph of a function for these sizes. With `layouts`, the arguments lie in memory so (else they are
    /// contiguous); one for each parameter, of its shape.
    ///
    /// A function with a header `// phase: …` before it is a printed graph: it is read back in that phase.
    ///
    /// # Errors
    /// All errors of the function and of those that it calls, in the order of the text.
    pub fn trace(&self, f: FnId, sizes: &Sizes, layouts: Option<&[Strided]>) -> Result<Graph, Vec<Error>> {
        self.trace_bound(f, sizes, layouts, &[])
    }

    /// As [`Module::trace`], where some parameters are views of others. Those are no parameters of the graph.
    ///
    /// # Errors
    /// As [`Module::trace`].
    pub fn trace_bound(
        &self,
        f: FnId,
        sizes: &Sizes,
        layouts: Option<&[Strided]>,
        bound: &[Bound],
    ) -> Result<Graph, Vec<Error>> {
        // With symbolic sizes first: a size that happens to be 1 in this call broadcasts no more than another. And with
        // parameters of their own: one that is not `mut` may not be written by its name, whatever it is a view of.
        let reachable = self.calls.reachable(f.0);
        let checked = |g: &usize| *g != f.0 || !sizes.is_empty() || !bound.is_empty();
        let before: Vec<Error> =
            reachable.into_iter().filter(checked).flat_map(|g| self.errors(FnId(g)).iter().cloned()).collect();
        if !before.is_empty() {
            return Err(in_order(before));
        }
        function::trace(self, f, &Call { sizes, layouts, bound, generic: false, level: None }).map_err(|errors| {
            // Symbols are no call.
            let known = sizes.iter().all(|(_, v)| v.known().is_some());
            let with = |e: Error| match sizes.is_empty() || !known || e.diagnostic().loc == Loc::Unknown {
                true => e,
                false => e.note(Loc::Unknown, format!("in a call with {}", sizes.describe())),
            };
            in_order(errors.into_iter().map(with).collect())
        })
    }

    /// All errors of all functions, in the order of the text: types, shapes, aliasing, gradients that do not exist.
    pub fn check(&self) -> Vec<Error> {
        let mut all = Vec::new();
        for f in self.calls.order().iter().map(|f| FnId(*f)) {
            all.extend(self.errors(f).iter().cloned());
            if self.sound(f) {
                all.extend(self.grad_errors(f));
            }
        }
        in_order(all)
    }

    fn generic(&self, f: FnId, sizes: &Sizes) -> Result<Graph, Vec<Error>> {
        function::trace(self, f, &Call { sizes, layouts: None, bound: &[], generic: true, level: None })
    }

    /// What is wrong with a function whatever its sizes are. Errors of the functions that it calls are theirs.
    fn errors(&self, f: FnId) -> &[Error] {
        &self.checked(f).errors
    }

    /// Whether nothing is wrong with a function or with those that it calls.
    fn sound(&self, f: FnId) -> bool {
        self.checked(f).sound
    }

    fn checked(&self, f: FnId) -> &Checked {
        self.checked[f.0].get_or_init(|| {
            let errors = self.generic_errors(f);
            let sound = errors.is_empty() && self.calls.callees(f.0).all(|g| self.sound(FnId(g)));
            Checked { errors, sound }
        })
    }

    fn generic_errors(&self, f: FnId) -> Vec<Error> {
        let [first, second] = standin::stand_ins(&self.program, self.decl(f));
        let Err(errors) = self.generic(f, &first) else { return Vec::new() };
        if first.is_empty() || errors.is_empty() {
            return in_order(errors);
        }
        let Err(again) = self.generic(f, &second) else { return Vec::new() };
        // The larger numbers may make a tensor that is too large, which hides what else is wrong.
        let hidden = again.iter().any(|e| e.diagnostic().message.contains("is too large"));
        let both = |e: &Error| hidden || again.iter().any(|a| a.diagnostic().loc == e.diagnostic().loc);
        in_order(errors.into_iter().filter(both).map(|e| standin::rename(e, &first)).collect())
    }

    /// Gradients of a function that do not exist; they are found by the passes.
    fn grad_errors(&self, f: FnId) -> Option<Error> {
        let [sizes, _] = standin::stand_ins(&self.program, self.decl(f));
        let g = self.generic(f, &sizes).ok()?;
        if !g.has_grad() {
            return None;
        }
        let before =
            passes::PASSES.iter().filter(|p| p.from >= g.phase && p.from < Phase::Differentiated).map(|p| p.name);
        let e = passes::run_named(&g, &before.collect::<Vec<_>>()).err()?;
        (e.kind() == Kind::Grad).then(|| standin::rename(e, &sizes))
    }
}

/// Errors by place, each once.
fn in_order(mut errors: Vec<Error>) -> Vec<Error> {
    let place = |e: &Error| match e.diagnostic().loc {
        Loc::Text { start, end } => (start, end),
        Loc::Unknown | Loc::Rust(_) => (u32::MAX, u32::MAX),
    };
    errors.sort_by_key(place);
    errors.dedup_by(|a, b| {
        let (a, b) = (a.diagnostic(), b.diagnostic());
        a.loc == b.loc && a.message == b.message
    });
    errors
}

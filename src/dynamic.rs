//! Programs for symbolic sizes: compiled once, bound to the sizes of each call.
//!
//! A program is traced with symbols in place of sizes, and the sizes of the call at hand as hints: where something must be
//! decided that not all sizes agree on (is `10 <= B` in `x[:10]`?), the hints decide, and the decision is recorded as an
//! assumption. A later call whose sizes are as assumed runs the same machine code, with its numbers in place of the
//! symbols; one whose sizes are not gets a variant of its own. What cannot be done without numbers at all (a `sort` whose
//! network depends on the length, say) is refused by the trace with an error that says so, and the caller compiles for
//! the sizes at hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tensorc_ir::dim::{Assumption, Scope, Sizes};
use tensorc_ir::passes::run_for;
use tensorc_ir::{Error, Graph, Result, Strided};
use tensorc_runtime::executable::{Executable, Options, Template, View};

/// The most variants of one program; further calls are compiled for their sizes.
const MOST_VARIANTS: usize = 8;

/// The most sizes that one variant stays bound to; with more it starts anew.
const MOST_BOUND: usize = 256;

/// A compiled program with symbolic sizes, and what belongs to it.
pub(crate) struct Variant<T> {
    template: Template,
    bound: Mutex<HashMap<Sizes, Arc<Executable>>>,
    /// What the owner keeps with it.
    pub(crate) with: T,
}

impl<T> Variant<T> {
    /// Compiles what `trace` gives under these hints.
    ///
    /// # Errors
    /// Those of `trace`, and of the passes.
    pub(crate) fn compile<E: From<tensorc_ir::Error>>(
        hints: &Sizes,
        options: Options,
        trace: impl FnOnce() -> Result<(Graph, Vec<Strided>, T), E>,
    ) -> Result<Variant<T>, E> {
        let (made, assumed) = Scope::within(hints, || {
            let (graph, layouts, with) = trace()?;
            Ok::<_, E>((run_for(&graph, options.mode)?, layouts, with))
        });
        let (graph, layouts, with) = made?;
        let template = Template::compile(&graph, &layouts, hints, &assumed, options)?;
        Ok(Variant { template, bound: Mutex::default(), with })
    }

    /// What it assumes of its sizes.
    pub(crate) fn assumptions(&self) -> &[Assumption] {
        self.template.assumptions()
    }

    /// Whether the final value of one of these parameters is computed elsewhere and copied there.
    pub(crate) fn writes_back(&self, params: &[usize]) -> bool {
        self.template.program().writes_back(params)
    }

    /// The program for these arguments, if it is one for them.
    pub(crate) fn executable(&self, args: &[View]) -> Result<Option<Arc<Executable>>> {
        let Some(sizes) = self.template.sizes_of(args) else { return Ok(None) };
        let bound = || self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exe) = bound().get(&sizes) {
            return Ok(Some(exe.clone()));
        }
        let exe = Arc::new(self.template.bind(&sizes)?);
        let mut bound = bound();
        if bound.len() >= MOST_BOUND {
            bound.clear();
        }
        bound.insert(sizes, exe.clone());
        Ok(Some(exe))
    }
}

/// The variants of programs.
pub(crate) type Table<K, T> = Mutex<HashMap<K, Arc<Variants<T>>>>;

/// The variants of one program.
pub(crate) struct Variants<T> {
    made: Mutex<Vec<Arc<Variant<T>>>>,
    /// Why there is a program for each choice of sizes instead.
    refused: OnceLock<Error>,
}

impl<T> Default for Variants<T> {
    fn default() -> Variants<T> {
        Variants { made: Mutex::default(), refused: OnceLock::new() }
    }
}

impl<T> Variants<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Variant<T>>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A variant for arguments, which `args` gives for what belongs to it, with its program and those arguments.
    fn find(&self, args: impl Fn(&T) -> Vec<View>) -> Result<Option<Found<T>>> {
        let all = self.lock().clone();
        for variant in all {
            let args = args(&variant.with);
            if let Some(exe) = variant.executable(&args)? {
                return Ok(Some(Found { variant, exe, args }));
            }
        }
        Ok(None)
    }

    /// As [`Variants::find`], where a variant that is not there yet is what `make` compiles. `None` if there can be none
    /// for these arguments: the caller compiles for their sizes, and what is wrong with them comes out there.
    pub(crate) fn find_or_make(
        &self,
        args: impl Fn(&T) -> Vec<View>,
        make: impl FnOnce() -> Result<Variant<T>>,
    ) -> Result<Option<Found<T>>> {
        let found = self.find(&args)?;
        if found.is_some() || self.refused.get().is_some() || self.count() >= MOST_VARIANTS {
            return Ok(found);
        }
        match make() {
            Ok(v) => self.lock().push(Arc::new(v)),
            Err(e) if e.is_waiting_for_sizes() => {
                let _ = self.refused.set(e);
            }
            // With other sizes it may be right.
            Err(_) => {}
        }
        self.find(args)
    }

    /// Why there is a program for each choice of sizes instead, if that was found out.
    pub(crate) fn refused(&self) -> Option<&Error> {
        self.refused.get()
    }

    /// Something of each.
    pub(crate) fn each<V>(&self, f: impl Fn(&Variant<T>) -> V) -> Vec<V> {
        self.lock().iter().map(|v| f(v)).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }
}

/// A program for the arguments of a call.
pub(crate) struct Found<T> {
    /// The variant that it is bound from.
    pub(crate) variant: Arc<Variant<T>>,
    /// The program.
    pub(crate) exe: Arc<Executable>,
    /// The arguments.
    pub(crate) args: Vec<View>,
}

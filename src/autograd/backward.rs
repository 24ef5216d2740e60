//! `backward` and `autograd::grad`: a replay, differentiated, compiled once for its structure, and run on what was kept.

use super::no_grad;
use super::replay::{Bound, Replay, given_back};
use super::rule::{Formula, Rule};
use super::tape::{Kept, Node, Operand, Value};
use super::variable::{Link, next_place};
use crate::tensor::concrete::Concrete;
use crate::tensor::{Repr, Tensor, number_view};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tensorc_ir::error::err;
use tensorc_ir::passes::{run_all, without_unused_params};
use tensorc_ir::types::ShapeText;
use tensorc_ir::{Error, Layout, Loc, Result, Scalar};
use tensorc_runtime::executable::{Executable, Options, View};

/// How a backward pass goes.
#[derive(Clone, Debug, Default)]
pub struct Backward {
    /// The cotangent of each output, of its shape and dtype. One that is not given is 1, for an output of one element.
    pub gradients: Vec<Tensor>,
    /// Whether what was kept for it stays, so that it can run again. By default as `create_graph`.
    pub retain_graph: Option<bool>,
    /// Whether the gradients are recorded themselves, so that they have gradients.
    pub create_graph: bool,
    /// The tensors whose `.grad` is accumulated; all leaves if there are none.
    pub inputs: Vec<Tensor>,
    /// Whether a cotangent of zero stays zero through elementwise functions, as in
    /// [`value_and_grad_strong_zero`](crate::value_and_grad_strong_zero).
    pub strong_zero: bool,
    /// Of [`grad`]: whether an input that the outputs do not depend on has no gradient instead of being an error.
    pub allow_unused: bool,
}

impl Tensor {
    /// Adds the gradients of this tensor of one element to the `.grad` of all leaves that it depends on; PyTorch's
    /// `backward`. What was kept for it is given back.
    ///
    /// ```
    /// # fn main() -> tensorc::Result<()> {
    /// let x = tensorc::tensor([1.0f32, 2.0, 3.0])?.requires_grad_(true)?;
    /// let y = x.square()?.sum()?;
    /// y.backward()?;
    /// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [2.0, 4.0, 6.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `grad` if it requires no gradient, has more elements than one, if a value that a derivative reads was written since,
    /// or if there is no derivative; no `.grad` has changed then. `alias` if a `.grad` is in use elsewhere; others may have
    /// been added to.
    #[track_caller]
    pub fn backward(&self) -> Result<()> {
        self.backward_with(Backward::default())
    }

    /// As [`Tensor::backward`], with a cotangent or other choices.
    ///
    /// # Errors
    /// As [`Tensor::backward`]; `grad` also if the cotangent has another shape or dtype.
    #[track_caller]
    pub fn backward_with(&self, options: Backward) -> Result<()> {
        backward(std::slice::from_ref(self), &options)
    }
}

/// Adds the gradients of several tensors, together, to the `.grad` of leaves; see [`Tensor::backward`].
///
/// # Errors
/// As [`Tensor::backward_with`].
#[track_caller]
pub fn backward(outputs: &[Tensor], options: &Backward) -> Result<()> {
    let loc = Loc::caller();
    let run = || {
        let targets = match options.inputs.is_empty() {
            true => Targets::Leaves,
            false => Targets::These(&options.inputs),
        };
        let found = gradients(outputs, targets, options, loc)?;
        for (c, d) in found {
            let Some(d) = d else { continue };
            let track = c.track();
            let _adding = track.adding.lock().unwrap_or_else(PoisonError::into_inner);
            let before = track.lock().grad.clone();
            let sum = match before {
                None => d,
                Some(before) if options.create_graph => before.add(&d)?,
                Some(before) => no_grad(|| before.add_(&d))?,
            };
            track.lock().grad = Some(sum);
        }
        Ok(())
    };
    run().map_err(|e: Error| e.at(loc))
}

/// The gradients of `outputs` by `inputs`, none of whose `.grad` changes; PyTorch's `autograd.grad`. With
/// [`Backward::allow_unused`], `None` for an input that the outputs do not depend on.
///
/// ```
/// use tensorc::autograd::{Backward, grad};
///
/// # fn main() -> tensorc::Result<()> {
/// let x = tensorc::tensor(2.0f32)?.requires_grad_(true)?;
/// let y = x.pow(3)?;
/// let again = Backward { create_graph: true, ..Backward::default() };
/// let dx = grad(&[y], &[x.clone()], &again)?.remove(0).unwrap();
/// let second = grad(&[dx.clone()], &[x], &Backward::default())?.remove(0).unwrap();
/// assert_eq!((dx.item::<f32>()?, second.item::<f32>()?), (12.0, 12.0));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Tensor::backward_with`]; `grad` also if an input requires no gradient or, unless it is allowed, is not used.
#[track_caller]
pub fn grad(outputs: &[Tensor], inputs: &[Tensor], options: &Backward) -> Result<Vec<Option<Tensor>>> {
    let loc = Loc::caller();
    let run = || {
        let found = gradients(outputs, Targets::These(inputs), options, loc)?;
        if !options.allow_unused && found.iter().any(|(_, d)| d.is_none()) {
            return Err(err::grad(
                "One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True if \
                 this is the desired behavior.",
            ));
        }
        Ok(found.into_iter().map(|(_, d)| d).collect())
    };
    run().map_err(|e| e.at(loc))
}

enum Targets<'a> {
    /// All leaves, and all tensors whose gradients are retained.
    Leaves,
    These(&'a [Tensor]),
}

/// Tensors whose gradients are retained: a list for all, since a tape does not know the tensors it made.
fn retained() -> &'static Mutex<Vec<Weak<Concrete>>> {
    static RETAINED: OnceLock<Mutex<Vec<Weak<Concrete>>>> = OnceLock::new();
    RETAINED.get_or_init(Mutex::default)
}

/// Notes a tensor whose gradient is retained.
pub(super) fn retain(c: &Arc<Concrete>) {
    let already = std::mem::replace(&mut c.track().lock().retains, true);
    if !already {
        let mut all = retained().lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|w| w.strong_count() > 0);
        all.push(Arc::downgrade(c));
    }
}

/// A compiled backward pass.
struct Compiled {
    exe: Executable,
    /// The parameters of the replay that it reads.
    used: Vec<usize>,
}

/// The most structures that are kept compiled; when there are more the cache starts anew.
const MOST_PROGRAMS: usize = 1024;

static COMPILATIONS: AtomicUsize = AtomicUsize::new(0);

/// How many backward passes this process has compiled. One of the same structure as an earlier one, as each step of a
/// training loop makes, adds nothing.
pub fn compilations() -> usize {
    COMPILATIONS.load(Ordering::Relaxed)
}

fn compiled(words: &[u64], make: impl FnOnce() -> Result<Compiled>) -> Result<Arc<Compiled>> {
    static PROGRAMS: OnceLock<Mutex<HashMap<Vec<u64>, Arc<Compiled>>>> = OnceLock::new();
    let programs = || PROGRAMS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(c) = programs().get(words) {
        return Ok(c.clone());
    }
    let c = Arc::new(make()?);
    COMPILATIONS.fetch_add(1, Ordering::Relaxed);
    let mut programs = programs();
    if programs.len() >= MOST_PROGRAMS {
        programs.clear();
    }
    programs.insert(words.to_vec(), c.clone());
    Ok(c)
}

type Found = Vec<(Arc<Concrete>, Option<Tensor>)>;

/// The gradients of outputs, each with the tensor that it is of.
fn gradients(outputs: &[Tensor], targets: Targets<'_>, options: &Backward, loc: Loc) -> Result<Found> {
    let mut ys: Vec<&Arc<Concrete>> = Vec::new();
    for (k, y) in outputs.iter().enumerate() {
        let c = y.concrete_for("backward")?;
        if !c.gradient_flows() {
            return Err(err::grad(format!("element {k} of tensors does not require grad and does not have a grad_fn")));
        }
        ys.push(c);
    }
    let seeds = seeds(&ys, &options.gradients)?;
    let links: Vec<Link> = ys.iter().map(|c| c.link()).collect();
    let mut replay = Replay::of(&links.iter().collect::<Vec<_>>())?;
    let (all, used): (Vec<Arc<Concrete>>, Vec<bool>) = match targets {
        Targets::Leaves => {
            let mut all = replay.leaves.clone();
            let kept: Vec<_> = {
                let retained = retained().lock().unwrap_or_else(PoisonError::into_inner);
                retained.iter().filter_map(Weak::upgrade).collect()
            };
            all.extend(kept.into_iter().filter(|c| replay.has(&c.link())));
            let used = vec![true; all.len()];
            (all, used)
        }
        Targets::These(inputs) => {
            let mut all = Vec::new();
            for x in inputs {
                let c = x.concrete_for("grad")?;
                if !c.requires_grad() {
                    return Err(err::grad("One of the differentiated Tensors does not require grad"));
                }
                all.push(c.clone());
            }
            let used = all.iter().map(|c| replay.has(&c.link())).collect();
            (all, used)
        }
    };
    let wrt_links: Vec<Link> = all.iter().zip(&used).filter(|(_, used)| **used).map(|(c, _)| c.link()).collect();
    let (of, wrt): (Vec<&Link>, Vec<&Link>) = (links.iter().collect(), wrt_links.iter().collect());
    replay.ask(&of, &seeds, &wrt, options.strong_zero);
    let program = compiled(&replay.words, || {
        let graph = run_all(&replay.program(&of, &wrt, options.strong_zero, loc)?)?;
        let (graph, used) = without_unused_params(&graph)?;
        let layouts: Vec<Layout> = used.iter().map(|i| replay.params[*i].layout.clone()).collect();
        Ok(Compiled { exe: Executable::compile(&graph, &layouts, Options::default())?, used })
    })?;
    let mut args = Vec::with_capacity(program.used.len());
    for i in &program.used {
        args.push(bound(&replay, *i, &seeds)?);
    }
    let results = program.exe.call(&args, loc)?;
    let mut results: Vec<Tensor> = results.into_iter().map(Tensor::concrete).collect();
    if options.create_graph && super::is_grad_enabled() {
        record(&mut results, links, wrt_links, &seeds, options.strong_zero, loc)?;
    }
    if !options.retain_graph.unwrap_or(options.create_graph) {
        for n in replay.nodes.iter().filter(|n| n.rule.reads()) {
            *n.kept() = None;
        }
    }
    let mut results = results.into_iter();
    Ok(all.into_iter().zip(used).map(|(c, used)| (c, if used { results.next() } else { None })).collect())
}

/// The cotangents of the outputs.
fn seeds(ys: &[&Arc<Concrete>], given: &[Tensor]) -> Result<Vec<Arc<Concrete>>> {
    if given.len() > ys.len() {
        return Err(err::grad(format!("got {} tensors and {} gradients", ys.len(), given.len())));
    }
    let mut seeds = Vec::new();
    for (k, y) in ys.iter().enumerate() {
        let Some(g) = given.get(k) else {
            if y.view.layout.numel() != 1 {
                return Err(err::grad("grad can be implicitly created only for scalar outputs")
                    .help("sum it, or give its cotangent in `Backward::gradients`"));
            }
            let dtype = y.view.dtype;
            let one = Tensor::from_scalars(dtype, &y.view.layout.shape, &[Scalar::from_f64(dtype, 1.0)])?;
            seeds.push(one.concrete_for("backward")?.clone());
            continue;
        };
        let g = g.concrete_for("backward")?;
        let (of, want) = (&g.view.layout.shape, &y.view.layout.shape);
        if of != want {
            return Err(err::grad(format!(
                "Mismatch in shape: grad_output[{k}] has a shape of {} and output[{k}] has a shape of {}.",
                ShapeText(of),
                ShapeText(want)
            )));
        }
        if g.view.dtype != y.view.dtype {
            return Err(err::grad(format!("grad_output[{k}] is {} and output[{k}] is {}", g.view.dtype, y.view.dtype)));
        }
        // The program takes cotangents row by row.
        let contiguous = g.view.layout.is_contiguous();
        seeds.push(match contiguous {
            true => g.clone(),
            false => {
                let copy = no_grad(|| Tensor(Repr::Concrete(g.clone())).copy())?;
                copy.concrete_for("backward")?.clone()
            }
        });
    }
    Ok(seeds)
}

/// What a parameter is bound to.
///
/// # Errors
/// `grad` if the value was written since it was kept.
fn bound(replay: &Replay, i: usize, seeds: &[Arc<Concrete>]) -> Result<View> {
    match &replay.params[i].bound {
        Bound::Value(v, node) => {
            check(v, node.as_ref())?;
            Ok(v.view.clone())
        }
        Bound::Number(n) => number_view(*n),
        Bound::Seed(k) => Ok(seeds.get(*k).ok_or_else(given_back)?.view.clone()),
        Bound::Nothing => Err(err::internal("a derivative reads a value that was not kept")),
    }
}

/// Whether a kept value is still what it was; `node` needs it.
fn check(v: &Value, node: Option<&Arc<Node>>) -> Result<()> {
    let now = v.view.storage.version();
    if now == v.version {
        return Ok(());
    }
    let made_by = node.map_or_else(String::new, |n| made_by(v, n));
    let e = err::grad(format!(
        "one of the variables needed for gradient computation has been modified by an inplace operation: \
         [tensorc.{}Tensor {}]{made_by} is at version {now}; expected version {} instead.",
        v.view.dtype.torch_name(),
        ShapeText(&v.view.layout.shape),
        v.version
    ))
    .note(v.view.storage.last_write(), "it was written here");
    let e = match node {
        Some(n) => e.note(n.loc, format!("the derivative of `{}` needs the value that it had", n.name)),
        None => e,
    };
    Err(e.help("write to a copy, or use an out-of-place function"))
}

/// Of which op a kept value is a result: of the one that needs it, or of an earlier one.
fn made_by(v: &Value, node: &Node) -> String {
    let kept = node.kept();
    let same = |k: &Option<Value>| {
        k.as_ref().is_some_and(|k| k.view.storage.same(&v.view.storage) && k.view.layout == v.view.layout)
    };
    let kept = kept.as_ref();
    let result = kept.and_then(|k| k.results.iter().position(same));
    let operand = kept.and_then(|k| k.operands.iter().position(same));
    let link = operand.and_then(|i| node.operands[i].link.as_ref());
    let creator = link.and_then(|l| l.after.as_ref().or(l.creator.as_ref()));
    let name = |n: &Node| super::names::of_op(&n.name, &n.formula);
    match (result, creator) {
        (Some(k), _) => format!(", which is output {k} of {},", name(node)),
        (None, Some(n)) => format!(", which is output 0 of {},", name(n)),
        (None, None) => String::new(),
    }
}

/// Records a backward pass, so that its results have gradients.
fn record(
    results: &mut [Tensor],
    ys: Vec<Link>,
    wrt: Vec<Link>,
    seeds: &[Arc<Concrete>],
    strong_zero: bool,
    loc: Loc,
) -> Result<()> {
    let operand = |link: Option<Link>, layout: &Layout, dtype| Operand {
        dtype,
        layout: Layout { offset: 0, ..layout.clone() },
        link,
        number: None,
    };
    let linked = |l: Link| {
        let (layout, dtype) = (l.root.layout.clone(), l.root.dtype);
        operand(Some(l), &layout, dtype)
    };
    let outputs = ys.len();
    // The outputs, their cotangents, and what they are differentiated by.
    let mut operands: Vec<Operand> = ys.into_iter().map(linked).collect();
    for seed in seeds {
        operands.push(operand(seed.gradient_flows().then(|| seed.link()), &seed.view.layout, seed.view.dtype));
    }
    operands.extend(wrt.into_iter().map(linked));
    let seed = |i: usize| i.checked_sub(outputs).and_then(|k| seeds.get(k));
    let kept = (0..operands.len()).map(|i| seed(i).map(|s| Value::of(&s.view))).collect();
    let mut roots = Vec::new();
    let mut made = Vec::new();
    for t in results.iter() {
        let c = t.concrete_for("grad")?.clone();
        roots.push(Some(c.track().root.clone()));
        made.push(c);
    }
    let node = Arc::new(Node {
        place: next_place(),
        name: "grad".into(),
        formula: Formula::Grad { outputs, strong_zero },
        rule: Arc::new(Rule::grad(outputs, operands.len(), strong_zero)),
        operands,
        results: roots,
        loc,
        kept: Mutex::new(Some(Kept { operands: kept, results: Vec::new() })),
    });
    for (k, c) in made.iter().enumerate() {
        c.track().lock().creator = Some((node.clone(), k));
    }
    Ok(())
}

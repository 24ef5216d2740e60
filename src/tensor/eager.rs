//! Eager execution: an op on concrete tensors is a program of one op, compiled once for its signature.
//!
//! The signature is the op's name, the dtypes, shapes and strides of its tensors, and the values of what is no tensor.
//! Numbers that stand where a tensor could (`x + 0.1`) are run-time inputs, so another number compiles nothing; a new
//! shape traces the op again but finds its kernels compiled. Ops that only make a view run nothing at all.

use super::concrete::Concrete;
use super::memo::{self, Inputs};
use super::{Argument, Repr, Tensor};
use crate::autograd::variable::{ViewOfParam, views_of_params};
use crate::autograd::{self, Form, Formula, Recording, Rules};
use crate::trace::{number, to_arg};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tensorc_ir::error::err;
use tensorc_ir::ops::registry::{self, Out};
use tensorc_ir::passes::{fuse::Mode, run_all};
use tensorc_ir::{Builder, Graph, Layout, Loc, Op, Result, Scalar, Strided, Type, Value};
use tensorc_runtime::executable::{Args, Executable, Options, Overlap, View};
use tensorc_runtime::storage::Storage;

/// Compiles a traced graph for parameters that lie like `layouts`.
///
/// # Errors
/// What a pass finds wrong with the program, or `unsupported`.
pub(crate) fn compile_traced(graph: &Graph, layouts: &[Layout], options: Options) -> Result<Executable> {
    Executable::compile(&run_all(graph)?, layouts, options)
}

/// The most ops that are kept compiled; when there are more the cache starts anew.
const MOST_OPS: usize = 4096;

pub(super) struct Compiled {
    body: Body,
    /// Whether numbers are inputs.
    numbers: bool,
    /// No other has this number.
    id: u64,
    name: Arc<str>,
    /// Whether it is an in-place form.
    writes: bool,
    /// What derivatives of it read.
    rules: Rules,
}

enum Body {
    /// Views of parameters, with the ops that make them.
    Views(Vec<ViewOfParam>),
    Run(Box<Executable>),
    /// Numbers cannot be inputs: there is a program for each, under a signature that holds them.
    Constants,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    name: String,
    words: Vec<u64>,
}

type Cache = Mutex<HashMap<Key, Arc<Compiled>>>;

fn cache() -> &'static Cache {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    CACHE.get_or_init(Mutex::default)
}

/// The arguments of a call, flattened: the inputs, and words that tell two signatures apart.
struct Signature<'a> {
    words: Vec<u64>,
    inputs: Inputs<'a>,
}

/// Runs an op that this thread has run before, if it has.
pub(super) fn run_known(name: &str, args: &[(Option<&str>, Argument)], loc: Loc) -> Option<Result<Vec<Tensor>>> {
    let (known, inputs) = memo::find(name, args)?;
    Some(checked(name, &inputs, loc).and_then(|()| recorded(&known.compiled, args, &inputs, loc)))
}

/// Refuses an in-place op that must not write, or reads part of what it writes.
fn checked(name: &str, inputs: &Inputs<'_>, loc: Loc) -> Result<()> {
    if name.ends_with('_') {
        autograd::may_write(&inputs.tensors, loc)?;
        check_overlap(&inputs.tensors)?;
    }
    Ok(())
}

/// Runs an op on concrete tensors.
pub(crate) fn run(name: &str, args: &[(Option<&str>, Argument)], loc: Loc) -> Result<Vec<Tensor>> {
    let mut s = Signature { words: Vec::with_capacity(32), inputs: Inputs::default() };
    for (i, (keyword, a)) in args.iter().enumerate() {
        if let Some(k) = keyword {
            s.words.push(1 << 32 | k.len() as u64);
            s.words.extend(k.bytes().map(u64::from));
        }
        let runtime = registry::takes_tensor(name, i, *keyword);
        add(&mut s, a, runtime);
    }
    let Signature { words, inputs } = s;
    checked(name, &inputs, loc)?;
    let numbers = &inputs.numbers;
    let key = Key { name: name.into(), words };
    let compiled = match cached(&key) {
        Some(c) => c,
        None => match compile(name, args, loc, true) {
            Ok(c) => insert(key.clone(), c),
            Err(e) if numbers.is_empty() => return Err(e),
            // Some functions look at a number while they are traced; then it is a part of the program, if that is what
            // was wrong.
            Err(e) => {
                let constant = Compiled::new(name, Body::Constants, false);
                let c = compile(name, args, loc, false).map_err(|_| e)?;
                insert(with_numbers(&key, numbers), c);
                insert(key.clone(), constant)
            }
        },
    };
    if !matches!(compiled.body, Body::Constants) {
        memo::note(name, args, &compiled, |i, keyword| registry::takes_tensor(name, i, keyword));
        return recorded(&compiled, args, &inputs, loc);
    }
    let key = with_numbers(&key, numbers);
    let compiled = match cached(&key) {
        Some(c) => c,
        None => insert(key, compile(name, args, loc, false)?),
    };
    recorded(&compiled, args, &inputs, loc)
}

impl Compiled {
    fn new(name: &str, body: Body, numbers: bool) -> Compiled {
        let (id, writes) = (autograd::next_id(), registry::is_in_place(name));
        Compiled { body, numbers, id, name: name.into(), writes, rules: Rules::default() }
    }
}

/// Runs an op, and records it if a gradient flows through it. The result of an in-place op is its first operand itself.
fn recorded(c: &Compiled, args: &[(Option<&str>, Argument)], s: &Inputs<'_>, loc: Loc) -> Result<Vec<Tensor>> {
    let Body::Run(_) = c.body else { return execute(c, &s.tensors, &s.numbers, loc) };
    let numbers = if c.numbers { s.numbers.as_slice() } else { &[] };
    let formula = || {
        let form = |(i, (k, a)): (usize, &(Option<&str>, Argument))| {
            let number = c.numbers && registry::takes_tensor(&c.name, i, *k);
            (k.map(str::to_string), Form::of(a, number))
        };
        Formula::call(&c.name, args.iter().enumerate().map(form).collect())
    };
    let recording = Recording::begin(&c.name, formula, c.writes, &s.tensors, numbers, &c.rules, loc)?;
    let mut results = execute(c, &s.tensors, &s.numbers, loc)?;
    if let (true, Some(to), [result]) = (c.writes, s.tensors.first(), results.as_mut_slice()) {
        *result = Tensor(Repr::Concrete((*to).clone()));
    }
    if let Some(r) = recording {
        r.finish(&results, |_| true)?;
    }
    Ok(results)
}

fn cached(key: &Key) -> Option<Arc<Compiled>> {
    cache().lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
}

fn insert(key: Key, compiled: Compiled) -> Arc<Compiled> {
    let compiled = Arc::new(compiled);
    let mut cache = cache().lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= MOST_OPS {
        cache.clear();
    }
    cache.insert(key, compiled.clone());
    compiled
}

/// The signature of a call whose numbers are a part of the program.
fn with_numbers(key: &Key, numbers: &[Scalar]) -> Key {
    let mut key = key.clone();
    for n in numbers {
        let bits = if n.dtype.is_float() { n.to_f64().to_bits() } else { n.to_i64() as u64 };
        key.words.extend([12, bits]);
    }
    key
}

fn execute(c: &Compiled, tensors: &[&Arc<Concrete>], numbers: &[Scalar], loc: Loc) -> Result<Vec<Tensor>> {
    match &c.body {
        Body::Views(views) => views
            .iter()
            .enumerate()
            .map(|(result, (p, ops))| {
                let base = tensors.get(*p).ok_or_else(|| err::ty("a view of no tensor"))?;
                let seen = ops.iter().try_fold(base.layout.clone(), |l, op| match (op.layout(&l), op) {
                    (Some(l), _) => Ok(l),
                    // The offset of the tensor is not a part of what the op was compiled for.
                    (None, Op::ViewDtype(d)) => Err(d.refused(&Strided::from(&l)).at(loc)),
                    (None, _) => Err(err::shape("a view that strides cannot say")),
                });
                let layout = seen?;
                let retyped = ops.iter().rev().find_map(|op| if let Op::ViewDtype(d) = op { Some(d.to) } else { None });
                let dtype = retyped.unwrap_or(base.dtype);
                let view = View { storage: base.storage.clone(), dtype, layout };
                Ok(Tensor::viewing(base, view, ops, c.id, (&c.name, result)))
            })
            .collect(),
        Body::Constants => Err(err::unsupported("an op without its program")),
        Body::Run(exe) => {
            let numbers = if c.numbers { numbers } else { &[] };
            let numbers: SmallVec<[View; 2]> = numbers.iter().map(|n| number_view(*n)).collect::<Result<_>>()?;
            let args: Args<'_> = tensors.iter().map(|t| &t.view).chain(&numbers).collect();
            // It may have been compiled for a call at another line.
            let results = exe.call_donating(&args, &[], loc, Tensor::concrete).map_err(|e| e.moved(loc))?;
            Ok(results.into_vec())
        }
    }
}

/// A plain number in memory, for a program that takes it at run time.
pub(crate) fn number_view(n: Scalar) -> Result<View> {
    let mut bytes = [0; 8];
    n.write(&mut bytes);
    Ok(View { storage: Storage::from_bytes(&bytes)?, dtype: n.dtype, layout: Layout::contiguous(&[]) })
}

fn add<'a>(s: &mut Signature<'a>, a: &'a Argument, runtime: bool) {
    match a {
        Argument::None => s.words.push(2),
        Argument::Tensor(Tensor(Repr::Concrete(v))) => {
            s.words.push(3 << 32 | (v.dtype as u64) << 16 | v.layout.shape.len() as u64);
            s.words.extend(v.layout.shape.iter().map(|d| *d as u64));
            s.words.extend(v.layout.strides.iter().map(|d| *d as u64));
            s.inputs.tensors.push(v);
        }
        // The caller has looked for traced ones.
        Argument::Tensor(_) => s.words.push(4),
        Argument::Int(_) | Argument::Float(_) | Argument::Bool(_) if runtime => {
            if let Some(n) = number(a) {
                s.words.push(5 << 32 | n.dtype as u64);
                s.inputs.numbers.push(n);
            }
        }
        Argument::Int(v) => s.words.extend([6, *v as u64]),
        Argument::Float(v) => s.words.extend([7, v.to_bits()]),
        Argument::Bool(v) => s.words.extend([8, *v as u64]),
        Argument::DType(d) => s.words.extend([9, *d as u64]),
        Argument::Str(t) => {
            s.words.extend([10, t.len() as u64]);
            s.words.extend(t.bytes().map(u64::from));
        }
        Argument::List(l) => {
            s.words.extend([11, l.len() as u64]);
            l.iter().for_each(|a| add(s, a, false));
        }
    }
}

/// Refuses an in-place op that reads part of what it writes.
fn check_overlap(tensors: &[&Arc<Concrete>]) -> Result<()> {
    let Some((to, rest)) = tensors.split_first() else { return Ok(()) };
    let partial = |from: &&&Arc<Concrete>| {
        (from.layout != to.layout || from.dtype.size() != to.dtype.size()) && from.overlaps(to)
    };
    match rest.iter().find(partial) {
        Some(_) => Err(err::alias(
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory \
             location",
        )
        .help("copy the input before the write")),
        None => Ok(()),
    }
}

fn compile(name: &str, args: &[(Option<&str>, Argument)], loc: Loc, numbers: bool) -> Result<Compiled> {
    let b = Builder::new(name);
    b.set_loc(loc);
    let mut values: Vec<Value> = Vec::new();
    let mut layouts: Vec<Layout> = Vec::new();
    for (_, a) in args {
        declare(&b, a, &mut values, &mut layouts);
    }
    let mut tensors = values.into_iter();
    let mut given = Vec::new();
    for (i, (keyword, a)) in args.iter().enumerate() {
        let arg = match number(a) {
            Some(n) if numbers && registry::takes_tensor(name, i, *keyword) => {
                let v = b.input("number", Type::number(n.dtype), false, None);
                layouts.push(Layout::contiguous(&[]));
                registry::Arg::Tensor(b.ex(v))
            }
            _ => to_arg(&b, a, &mut tensors),
        };
        given.push((*keyword, arg));
    }
    let outputs = match registry::call(&b, name, given)? {
        Out::One(e) => vec![e.value()?],
        Out::Many(l) => l.into_iter().map(|e| e.value()).collect::<Result<_>>()?,
    };
    b.with_graph(|g| g.outputs = outputs);
    let g = run_all(&b.finish()?)?;
    let views: Option<Vec<ViewOfParam>> = views_of_params(&g).into_iter().collect();
    let body = match views {
        Some(views) if g.mutated.is_empty() && views.len() == g.outputs.len() => Body::Views(views),
        _ => {
            let options = Options { mode: Mode::Fused, overlap: Overlap::Snapshot };
            Body::Run(Box::new(Executable::compile(&g, &layouts, options)?))
        }
    };
    Ok(Compiled::new(name, body, numbers))
}

/// Declares the tensors of an argument as inputs.
fn declare(b: &Builder, a: &Argument, values: &mut Vec<Value>, layouts: &mut Vec<Layout>) {
    match a {
        Argument::Tensor(Tensor(Repr::Concrete(v))) => {
            let layout = Layout { offset: 0, ..v.layout.clone() };
            let ty = Type::new(v.dtype, layout.shape.iter().copied());
            values.push(b.input(format!("x{}", values.len()), ty, true, Some(Strided::from(&layout))));
            layouts.push(layout);
        }
        Argument::List(l) => l.iter().for_each(|a| declare(b, a, values, layouts)),
        _ => {}
    }
}

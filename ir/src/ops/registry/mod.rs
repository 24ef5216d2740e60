//! What users call: every function by PyTorch's name, with its signature, bound and applied in one place.
//!
//! `.tc` calls, `Tensor` methods and traced closures all end in [`call`]. A name is an elementwise row, a [`FnDef`] of
//! [`super::composite`], or either with an underscore: its in-place form, which writes the result into the first operand.

mod args;
mod entry;
mod unknown;

pub use args::require_float;
pub use entry::{Entry, entries};
pub(crate) use unknown::distance;
pub use unknown::unknown;

use super::composite;
use super::elementwise::{Row, rows};
use crate::builder::{Builder, Ex};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::ops::Op;
use crate::types::ShapeText;
use std::collections::HashMap;
use std::sync::OnceLock;

/// An argument of a call.
#[derive(Clone)]
pub enum Arg<'b> {
    /// `None`.
    None,
    /// A tensor of the graph.
    Tensor(Ex<'b>),
    /// An integer.
    Int(i64),
    /// An expression of symbolic sizes, which stands where an integer may.
    Size(Dim),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A dtype.
    DType(DType),
    /// Text.
    Str(String),
    /// A list or tuple.
    List(Vec<Arg<'b>>),
}

/// What a function gives: one tensor or a tuple.
pub enum Out<'b> {
    /// One.
    One(Ex<'b>),
    /// A tuple.
    Many(Vec<Ex<'b>>),
}

impl<'b> From<Ex<'b>> for Out<'b> {
    fn from(e: Ex<'b>) -> Out<'b> {
        Out::One(e)
    }
}

/// A function of the table.
pub struct FnDef {
    /// PyTorch's name.
    pub name: &'static str,
    /// Its parameters: `x: tensor, dim: ints? = None, keepdim: bool = false`. Kinds: `tensor tensors int ints float
    /// number bool str dtype any`, each optional with `?`.
    pub sig: &'static str,
    /// A call with its operands declared, of which documentation and tests are made: [`crate::describe`] has its form.
    pub example: &'static str,
    /// For people: what it computes, of which shapes; what it refuses; its derivative where that is a choice.
    pub doc: &'static str,
    /// The definition.
    pub build: for<'b> fn(&'b Builder, &Args<'b>) -> Result<Out<'b>>,
}

/// Bound arguments, one for each parameter.
pub struct Args<'b> {
    name: &'static str,
    values: Vec<Arg<'b>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Param {
    name: &'static str,
    kind: &'static str,
    optional: bool,
    default: Option<&'static str>,
}

#[derive(Clone)]
struct Callable {
    name: &'static str,
    params: Vec<Param>,
    body: Body,
}

#[derive(Clone, Copy)]
enum Body {
    Row(Row),
    Fn(&'static FnDef),
}

fn table() -> &'static HashMap<&'static str, Callable> {
    static TABLE: OnceLock<HashMap<&'static str, Callable>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut t = HashMap::new();
        for r in rows() {
            let param = |name: &&'static str| Param { name, kind: "tensor", optional: false, default: None };
            let params = r.0.args.iter().map(param).collect();
            t.insert(r.name(), Callable { name: r.name(), params, body: Body::Row(r) });
        }
        // A composite of the same name stands before the row: it adds arguments to it (`add(x, y, alpha=…)`).
        for d in composite::all() {
            t.insert(d.name, Callable { name: d.name, params: parse_sig(d.sig), body: Body::Fn(d) });
        }
        for (alias, name) in composite::ALIASES {
            if let Some(c) = t.get(name).cloned() {
                t.insert(*alias, Callable { name: alias, ..c });
            }
        }
        t
    })
}

fn parse_sig(sig: &'static str) -> Vec<Param> {
    sig.split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|p| {
            let (p, default) = p.split_once('=').map_or((p, None), |(p, d)| (p.trim(), Some(d.trim())));
            let (name, kind) = p.split_once(':').map_or((p, "tensor"), |(n, k)| (n.trim(), k.trim()));
            let optional = kind.ends_with('?');
            Param { name, kind: kind.trim_end_matches('?'), optional, default }
        })
        .collect()
}

/// Name, signature and doc of every function, sorted by name.
pub fn list() -> Vec<(&'static str, String, &'static str)> {
    let mut all: Vec<_> = table()
        .values()
        .map(|c| match &c.body {
            Body::Row(r) => (c.name, r.0.args.join(", "), r.0.doc),
            Body::Fn(d) => (c.name, d.sig.to_string(), d.doc),
        })
        .collect();
    all.sort_unstable_by_key(|(n, _, _)| *n);
    all
}

/// Whether that argument of a function may be a tensor, so that a number in its place can be given at run time.
pub fn takes_tensor(name: &str, position: usize, keyword: Option<&str>) -> bool {
    let Some(c) = table().get(name).or_else(|| in_place_base(name)) else { return false };
    let p = match keyword {
        Some(k) => c.params.iter().find(|p| p.name == k || p.name == other_name(c.name, k)),
        None => c.params.get(position),
    };
    p.is_some_and(|p| p.kind == "tensor")
}

/// Whether that argument of a function is of integers, so that a tensor of them in its place has to be known.
pub fn takes_integers(name: &str, position: usize, keyword: Option<&str>) -> bool {
    let Some(c) = table().get(name) else { return false };
    let p = match keyword {
        Some(k) => c.params.iter().find(|p| p.name == k),
        None => c.params.get(position),
    };
    p.is_some_and(of_integers)
}

fn of_integers(p: &Param) -> bool {
    matches!(p.kind, "int" | "ints") || p.name == "indices_or_sections"
}

/// Whether a call with these arguments is of a random function that has got no seed.
pub fn lacks_seed<'a>(name: &str, keywords: impl Iterator<Item = Option<&'a str>>) -> bool {
    let Some(c) = table().get(name).or_else(|| in_place_base(name)) else { return false };
    let Some(at) = c.params.iter().position(|p| p.name == "seed" && p.optional) else { return false };
    let mut positional = 0;
    for k in keywords {
        match k {
            Some("seed") => return false,
            Some(_) => {}
            None => positional += 1,
        }
    }
    positional <= at
}

/// Whether that is the name of an in-place form.
pub fn is_in_place(name: &str) -> bool {
    !table().contains_key(name) && in_place_base(name).is_some()
}

/// Whether some function has that name, in-place forms included.
pub fn exists(name: &str) -> bool {
    table().contains_key(name) || in_place_base(name).is_some()
}

fn in_place_base(name: &str) -> Option<&'static Callable> {
    let base = name.strip_suffix('_')?;
    let base = match base {
        "copy" => "copy_from",
        // PyTorch's functions of these names draw for parameters, and their in-place forms for the tensor's places.
        "normal" => "normal_fill",
        "bernoulli" => "bernoulli_fill",
        b => b,
    };
    table().get(base)
}

/// Calls a function on the builder's graph.
///
/// # Errors
/// `name` if there is no such function, `type` if the arguments do not fit its signature, and what its definition says.
pub fn call<'b>(b: &'b Builder, name: &str, args: Vec<(Option<&str>, Arg<'b>)>) -> Result<Out<'b>> {
    let r = call_inner(b, name, args);
    // A formula's failed step may have left its error behind: it is the reason, and the place is this call.
    let kept = b.check();
    let out = match kept {
        // What followed it says nothing.
        Err(e) if e.is_waiting_for_sizes() => Err(e),
        kept => r.and_then(|out| kept.map(|()| out)),
    };
    out.map_err(|e| e.at(b.loc()))
}

fn call_inner<'b>(b: &'b Builder, name: &str, args: Vec<(Option<&str>, Arg<'b>)>) -> Result<Out<'b>> {
    // `x.view(dtype)` is another function than `x.view(sizes)`.
    let retypes = |(k, a): &(Option<&str>, Arg<'b>)| *k == Some("dtype") || matches!(a, Arg::DType(_));
    let name = if name == "view" && args.get(1).is_some_and(retypes) { "view_dtype" } else { name };
    if let Some(c) = table().get(name) {
        return apply(b, c, bind(c, args)?);
    }
    let Some(c) = in_place_base(name) else {
        return Err(unknown(name));
    };
    let args = bind(c, args)?;
    let Some(Arg::Tensor(x)) = args.values.first() else {
        return Err(err::ty(format!("`{name}` writes into its first argument, which must be a tensor")));
    };
    let x = *x;
    if x.ty().weak {
        return Err(err::ty(format!("`{name}` writes into its first argument, which is a number")));
    }
    for a in &args.values[1..] {
        if let Arg::Tensor(e) = a {
            let (dst, other) = (x.value()?, e.value()?);
            b.check_partial(dst, other)?;
        }
    }
    let out = match apply(b, c, args)? {
        Out::One(e) => e,
        Out::Many(_) => {
            return Err(err::name(format!("`{name}`: a function with several results has no in-place form")));
        }
    };
    write(b, name, x, out)?;
    Ok(Out::One(x))
}

/// Writes `value` into `x` by the rules of in-place operations: the dtype stays, its category may not fall; `x` does
/// not broadcast, `value` does.
///
/// # Errors
/// `dtype`, `shape` or `alias`.
pub fn write<'b>(b: &'b Builder, name: &str, x: Ex<'b>, value: Ex<'b>) -> Result<()> {
    let (to, from) = (x.ty(), value.ty());
    // Copies cast silently (also to a lower category); arithmetic does not.
    let copies = matches!(name, "copy_" | "fill_" | "zero_" | "=" | "masked_fill_");
    let (torch_from, torch_to) = (from.dtype.torch_name(), to.dtype.torch_name());
    if name == "float_power_" && from.dtype != to.dtype {
        return Err(err::dtype(format!(
            "the base given to float_power_ has dtype {torch_to} but the operation's result requires dtype {torch_from}"
        )));
    }
    if crate::types::broadcast(&from.shape, &to.shape).as_deref() != Some(&to.shape[..]) {
        let both = crate::types::broadcast(&from.shape, &to.shape);
        let why = match both {
            _ if copies => crate::types::unstretched(&from.shape, &to.shape),
            Some(s) => {
                format!(
                    "output with shape {} doesn't match the broadcast shape {}",
                    ShapeText(&to.shape),
                    ShapeText(&s)
                )
            }
            None => crate::types::unequal(&to.shape, &from.shape),
        };
        return Err(err::shape(format!("`{name}`: {why}")));
    }
    if !copies && from.dtype.category() > to.dtype.category() {
        return Err(err::dtype(format!(
            "`{name}`: result type {torch_from} can't be cast to the desired output type {torch_to}"
        )));
    }
    let value = value.cast(to.dtype).expand(&to.shape);
    b.emit_all(Op::Write, &[x.value()?, value.value()?]).map(|_| ())
}

fn apply<'b>(b: &'b Builder, c: &Callable, args: Args<'b>) -> Result<Out<'b>> {
    match &c.body {
        Body::Fn(d) => (d.build)(b, &args),
        Body::Row(r) => {
            let values = (0..args.values.len()).map(|i| args.tensor(b, i)?.value()).collect::<Result<Vec<_>>>()?;
            Ok(Out::One(b.ex(b.map(*r, &values)?)))
        }
    }
}

fn bind<'b>(c: &Callable, args: Vec<(Option<&str>, Arg<'b>)>) -> Result<Args<'b>> {
    let mut values: Vec<Option<Arg<'b>>> = vec![None; c.params.len()];
    let given = args.iter().filter(|(n, _)| n.is_none()).count();
    let mut position = 0;
    let mut args = args.into_iter().peekable();
    while let Some((name, arg)) = args.next() {
        let at = match name {
            Some(n) => c
                .params
                .iter()
                .position(|p| p.name == n || p.name == other_name(c.name, n))
                .ok_or_else(|| err::name(format!("`{}` has no argument `{n}`", c.name)).help(signature(c)))?,
            None => {
                position += 1;
                position - 1
            }
        };
        let Some(p) = c.params.get(at) else {
            let n = c.params.len();
            return Err(err::ty(format!("`{}` takes at most {n} arguments, got {given}", c.name)).help(signature(c)));
        };
        // Sizes and axes may be a list or trailing integers.
        let arg = match arg {
            Arg::Int(_) | Arg::Size(_) if p.kind == "ints" && name.is_none() => {
                let mut all = vec![arg];
                let rest = c.params.len() - at - 1;
                while matches!(args.peek(), Some((None, Arg::Int(_) | Arg::Size(_))))
                    && (rest == 0 || given > c.params.len() || is_varargs(c))
                {
                    all.extend(args.next().map(|(_, a)| a));
                }
                Arg::List(all)
            }
            Arg::Tensor(_) if p.kind == "tensors" && name.is_none() => {
                let mut all = vec![arg];
                while matches!(args.peek(), Some((None, Arg::Tensor(_)))) {
                    all.extend(args.next().map(|(_, a)| a));
                }
                Arg::List(all)
            }
            a => a,
        };
        if values[at].replace(arg).is_some() {
            return Err(err::ty(format!("`{}`: argument `{}` is given twice", c.name, p.name)));
        }
    }
    let values = c
        .params
        .iter()
        .zip(values)
        .map(|(p, v)| match (v, p.default) {
            (Some(v), _) => check(c, p, v),
            (None, Some(d)) => Ok(default(d)),
            (None, None) if p.optional => Ok(Arg::None),
            (None, None) => Err(err::ty(format!("`{}`: argument `{}` is missing", c.name, p.name)).help(signature(c))),
        })
        .collect::<Result<_>>()?;
    Ok(Args { name: c.name, values })
}

/// PyTorch also takes NumPy's names of these arguments, its own of the first one, and has two names for some.
fn other_name<'a>(function: &str, name: &'a str) -> &'a str {
    match (function, name) {
        ("searchsorted", "input" | "self") => "values",
        ("max" | "min", "other") => "dim",
        ("view", "size") => "shape",
        ("split", "tensor") => "x",
        (_, "axis") => "dim",
        (_, "keepdims") => "keepdim",
        (_, "input" | "self" | "x1") => "x",
        (_, "x2") => "other",
        (_, "axis0") => "dim0",
        (_, "axis1") => "dim1",
        (_, "sections" | "indices" | "tensor_indices_or_sections") => "indices_or_sections",
        (_, "split_size_or_sections" | "split_sizes") => "split_size",
        (_, "train") => "training",
        (_, n) => n,
    }
}

/// Functions whose sizes or axes come as trailing integers, all of them.
fn is_varargs(c: &Callable) -> bool {
    matches!(
        c.name,
        "view"
            | "reshape"
            | "permute"
            | "expand"
            | "broadcast_to"
            | "repeat"
            | "zeros"
            | "ones"
            | "rand"
            | "randn"
            | "empty"
            | "flip"
            | "tile"
    )
}

fn signature(c: &Callable) -> String {
    match &c.body {
        Body::Row(r) => format!("{}({})", c.name, r.0.args.join(", ")),
        Body::Fn(d) => format!("{}({})", c.name, d.sig),
    }
}

fn default<'b>(text: &str) -> Arg<'b> {
    match text {
        "None" => Arg::None,
        "true" => Arg::Bool(true),
        "false" => Arg::Bool(false),
        t => match (t.parse::<i64>(), t.parse::<f64>()) {
            (Ok(i), _) => Arg::Int(i),
            (_, Ok(f)) => Arg::Float(f),
            _ => DType::from_name(t).map_or_else(|| Arg::Str(t.trim_matches('"').into()), Arg::DType),
        },
    }
}

fn check<'b>(c: &Callable, p: &Param, v: Arg<'b>) -> Result<Arg<'b>> {
    // A constant of integers is as good as the integers.
    let v = match v {
        Arg::Tensor(e) if of_integers(p) => args::integers(e).unwrap_or(v),
        v => v,
    };
    let fits = match (&v, p.kind) {
        (Arg::None, _) => p.optional || p.default == Some("None"),
        (_, "any") => true,
        (Arg::Tensor(_) | Arg::Int(_) | Arg::Size(_) | Arg::Float(_) | Arg::Bool(_), "tensor" | "number") => true,
        (Arg::Int(_) | Arg::Size(_), "int" | "float") | (Arg::Float(_), "float") => true,
        (Arg::Bool(_), "bool") | (Arg::Str(_), "str") | (Arg::DType(_), "dtype") => true,
        (Arg::Int(_) | Arg::Size(_), "ints") => true,
        (Arg::List(l), "ints") => l.iter().all(|a| matches!(a, Arg::Int(_) | Arg::Size(_))),
        (Arg::List(l), "tensors") => l.iter().all(|a| matches!(a, Arg::Tensor(_))),
        _ => false,
    };
    if !fits {
        let got = match &v {
            Arg::List(l) if p.kind == "tensors" => {
                match l.iter().enumerate().find(|(_, a)| !matches!(a, Arg::Tensor(_))) {
                    Some((i, a)) => format!("a list whose element {i} is {}", a.describe()),
                    None => v.describe(),
                }
            }
            v => v.describe(),
        };
        return Err(
            err::ty(format!("`{}`: argument `{}` is {got}, expected {}", c.name, p.name, p.kind)).help(signature(c))
        );
    }
    Ok(v)
}

impl Arg<'_> {
    fn describe(&self) -> String {
        match self {
            Arg::None => "None".into(),
            Arg::Tensor(e) => format!("a tensor {}", e.ty()),
            Arg::Int(i) => format!("the integer {i}"),
            Arg::Size(d) => format!("the size {d}"),
            Arg::Float(f) => format!("the float {f}"),
            Arg::Bool(v) => format!("{v}"),
            Arg::DType(d) => format!("the dtype {d}"),
            Arg::Str(s) => format!("{s:?}"),
            Arg::List(l) => format!("a list of {}", l.len()),
        }
    }
}

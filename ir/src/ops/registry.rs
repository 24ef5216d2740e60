//! What users call: every function by PyTorch's name, with its signature, bound and applied in one place.
//!
//! `.tc` calls, `Tensor` methods and traced closures all end in [`call`]. A name is an elementwise row, a [`FnDef`] of
//! [`super::composite`], or either with an underscore: its in-place form, which writes the result into the first operand.

use super::composite;
use super::elementwise::{Row, rows};
use crate::builder::{Builder, Ex};
use crate::dtype::{Category, DType, Scalar};
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
    /// An integer, also a size.
    Int(i64),
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
    /// One line for people, then shapes, dtypes, errors.
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

struct Callable {
    name: &'static str,
    params: Vec<Param>,
    body: Body,
}

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

/// Whether some function has that name, in-place forms included.
pub fn exists(name: &str) -> bool {
    table().contains_key(name) || in_place_base(name).is_some()
}

fn in_place_base(name: &str) -> Option<&'static Callable> {
    let base = name.strip_suffix('_')?;
    let base = match base {
        "copy" => "copy_from",
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
    let out = r.and_then(|out| kept.map(|()| out));
    out.map_err(|e| e.at(b.loc()))
}

fn call_inner<'b>(b: &'b Builder, name: &str, args: Vec<(Option<&str>, Arg<'b>)>) -> Result<Out<'b>> {
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
    if !copies && from.dtype.category() > to.dtype.category() {
        return Err(err::dtype(format!(
            "`{name}`: result type {} can't be cast to the desired output type {}",
            from.dtype.torch_name(),
            to.dtype.torch_name()
        )));
    }
    if crate::types::broadcast(&from.shape, &to.shape).as_deref() != Some(&to.shape[..]) {
        return Err(err::shape(format!(
            "`{name}`: output with shape {} doesn't match the broadcast shape {}",
            ShapeText(&to.shape),
            crate::types::broadcast(&from.shape, &to.shape)
                .map_or_else(|| ShapeText(&from.shape).to_string(), |s| ShapeText(&s).to_string())
        )));
    }
    let value = value.cast(to.dtype).expand(&to.shape);
    b.emit_all(Op::Write, &[x.value()?, value.value()?]).map(|_| ())
}

/// The error of a name that no function has, with the closest one.
pub fn unknown(name: &str) -> crate::Error {
    let base = name.trim_end_matches('_');
    let e = err::name(format!("there is no function `{name}`"));
    match list().into_iter().map(|(n, _, _)| (distance(n, base), n.len().abs_diff(base.len()), n)).min() {
        Some((d, _, n)) if d <= 2 && d < base.len() => e.help(format!("did you mean `{n}`?")),
        _ => e,
    }
}

/// How many characters to insert, delete or replace to get from one name to the other.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + (x != *y) as usize).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
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
                .position(|p| p.name == n)
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
            Arg::Int(_) if p.kind == "ints" && name.is_none() => {
                let mut all = vec![arg];
                let rest = c.params.len() - at - 1;
                while matches!(args.peek(), Some((None, Arg::Int(_))))
                    && (rest == 0 || given > c.params.len() || is_varargs(c))
                {
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

/// Functions whose sizes or axes come as trailing integers, all of them.
fn is_varargs(c: &Callable) -> bool {
    matches!(
        c.name,
        "view"
            | "reshape"
            | "permute"
            | "expand"
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
    let fits = match (&v, p.kind) {
        (Arg::None, _) => p.optional || p.default == Some("None"),
        (_, "any") => true,
        (Arg::Tensor(_) | Arg::Int(_) | Arg::Float(_) | Arg::Bool(_), "tensor" | "number") => true,
        (Arg::Int(_), "int" | "float") | (Arg::Float(_), "float") => true,
        (Arg::Bool(_), "bool") | (Arg::Str(_), "str") | (Arg::DType(_), "dtype") => true,
        (Arg::Int(_), "ints") => true,
        (Arg::List(l), "ints") => l.iter().all(|a| matches!(a, Arg::Int(_))),
        (Arg::List(l), "tensors") => l.iter().all(|a| matches!(a, Arg::Tensor(_))),
        _ => false,
    };
    if !fits {
        let got = v.describe();
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
            Arg::Float(f) => format!("the float {f}"),
            Arg::Bool(v) => format!("{v}"),
            Arg::DType(d) => format!("the dtype {d}"),
            Arg::Str(s) => format!("{s:?}"),
            Arg::List(l) => format!("a list of {}", l.len()),
        }
    }
}

impl<'b> Args<'b> {
    fn bad(&self, i: usize) -> crate::Error {
        err::ty(format!("`{}`: argument {} is {}", self.name, i + 1, self.values[i].describe()))
    }

    /// The argument as it was given.
    pub fn raw(&self, i: usize) -> &Arg<'b> {
        &self.values[i]
    }

    /// Whether it is `None`.
    pub fn is_none(&self, i: usize) -> bool {
        matches!(self.values[i], Arg::None)
    }

    /// A tensor, or a plain number.
    ///
    /// # Errors
    /// `type` if it is neither.
    pub fn tensor(&self, b: &'b Builder, i: usize) -> Result<Ex<'b>> {
        Ok(match &self.values[i] {
            Arg::Tensor(e) => *e,
            Arg::Int(v) => b.number(Scalar::from_i64(DType::I64, *v)),
            Arg::Float(v) => b.number(Scalar::from_f64(DType::F64, *v)),
            Arg::Bool(v) => b.number(Scalar::from_bool(*v)),
            _ => return Err(self.bad(i)),
        })
    }

    /// A tensor that may be absent.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn opt_tensor(&self, b: &'b Builder, i: usize) -> Result<Option<Ex<'b>>> {
        if self.is_none(i) { Ok(None) } else { self.tensor(b, i).map(Some) }
    }

    /// A list of tensors.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn tensors(&self, i: usize) -> Result<Vec<Ex<'b>>> {
        let Arg::List(l) = &self.values[i] else { return Err(self.bad(i)) };
        l.iter().map(|a| if let Arg::Tensor(e) = a { Ok(*e) } else { Err(self.bad(i)) }).collect()
    }

    /// An integer.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn int(&self, i: usize) -> Result<i64> {
        if let Arg::Int(v) = self.values[i] { Ok(v) } else { Err(self.bad(i)) }
    }

    /// An integer that may be absent.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn opt_int(&self, i: usize) -> Result<Option<i64>> {
        if self.is_none(i) { Ok(None) } else { self.int(i).map(Some) }
    }

    /// A float, or an integer as one.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn float(&self, i: usize) -> Result<f64> {
        match self.values[i] {
            Arg::Float(v) => Ok(v),
            Arg::Int(v) => Ok(v as f64),
            _ => Err(self.bad(i)),
        }
    }

    /// A truth value.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn bool(&self, i: usize) -> Result<bool> {
        if let Arg::Bool(v) = self.values[i] { Ok(v) } else { Err(self.bad(i)) }
    }

    /// Text.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn str(&self, i: usize) -> Result<&str> {
        if let Arg::Str(v) = &self.values[i] { Ok(v) } else { Err(self.bad(i)) }
    }

    /// A dtype that may be absent.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn opt_dtype(&self, i: usize) -> Result<Option<DType>> {
        match self.values[i] {
            Arg::None => Ok(None),
            Arg::DType(d) => Ok(Some(d)),
            _ => Err(self.bad(i)),
        }
    }

    /// Integers: a list, or one.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>> {
        match &self.values[i] {
            Arg::Int(v) => Ok(vec![*v]),
            Arg::List(l) => l.iter().map(|a| if let Arg::Int(v) = a { Ok(*v) } else { Err(self.bad(i)) }).collect(),
            _ => Err(self.bad(i)),
        }
    }

    /// Integers that may be absent.
    ///
    /// # Errors
    /// `type` if it is something else.
    pub fn opt_ints(&self, i: usize) -> Result<Option<Vec<i64>>> {
        if self.is_none(i) { Ok(None) } else { self.ints(i).map(Some) }
    }

    /// Axes of a tensor of that rank: a list or one, negative from the end, no duplicates; all of them if absent or
    /// empty.
    ///
    /// # Errors
    /// `index` if one is out of range or stands twice.
    pub fn axes(&self, i: usize, rank: usize) -> Result<Vec<usize>> {
        let all = || (0..rank).collect();
        let Some(dims) = self.opt_ints(i)? else { return Ok(all()) };
        if dims.is_empty() {
            return Ok(all());
        }
        let mut axes = Vec::new();
        for d in dims {
            let a = crate::types::axis(d, rank)?;
            if axes.contains(&a) {
                return Err(err::index(format!("`{}`: dim {a} appears multiple times in the list of dims", self.name)));
            }
            if rank > 0 {
                axes.push(a);
            }
        }
        axes.sort_unstable();
        Ok(axes)
    }
}

/// Refuses dtypes that are not floats.
///
/// # Errors
/// `dtype`.
pub fn require_float(name: &str, x: Ex<'_>) -> Result<()> {
    if x.dtype().category() == Category::Float {
        return Ok(());
    }
    Err(err::dtype(format!("`{name}` is not defined for {}: only floating point dtypes", x.dtype())))
}

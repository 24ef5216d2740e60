//! What a function takes and gives, found out by building its example: nothing here is written by hand, so nothing can
//! be out of date.
//!
//! An example is the parameters and the call, `x: D[2, 3] => softmax(x, 1)`, where `D` stands for the dtype that varies;
//! functions of the file that it names stand before the parameters. It is built in each of the ten dtypes, which says
//! which are accepted and what they give, and differentiated once and twice, which says what its derivatives are. Only
//! graphs are made: nothing is run here.

use crate::dtype::DType;
use crate::error::{Error, Kind, Result, err};
use crate::graph::Graph;
use crate::passes;
use crate::text::print::type_text;
use crate::text::{Module, Sizes};
use crate::types::Type;
use std::fmt::Write;

/// The dtypes, in the order in which they are shown.
pub const DTYPES: [DType; 10] = [
    DType::F64,
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::U8,
    DType::Bool,
];

/// An example of a function.
#[derive(Clone, Debug)]
pub struct Example {
    functions: String,
    params: String,
    body: String,
}

/// A parameter of an example in one dtype.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Whether the example writes to it.
    pub mutable: bool,
}

impl Example {
    /// Reads an example.
    ///
    /// # Errors
    /// `syntax` if it has no `=>`.
    pub fn parse(text: &str) -> Result<Example> {
        let (head, body) =
            text.split_once("=>").ok_or_else(|| err::internal(format!("an example without `=>`: {text}")))?;
        let (functions, params) = match head.rfind('}') {
            Some(end) => head.split_at(end + 1),
            None => ("", head),
        };
        let own = |s: &str| s.trim().to_string();
        Ok(Example { functions: own(functions), params: own(params), body: own(body) })
    }

    /// The call, in a dtype.
    pub fn body(&self, dtype: DType) -> String {
        typed(&self.body, dtype)
    }

    /// The declarations of the parameters, in a dtype.
    pub fn params(&self, dtype: DType) -> String {
        typed(&self.params, dtype)
    }

    /// Functions of the file that the call names, in a dtype.
    pub fn functions(&self, dtype: DType) -> String {
        typed(&self.functions, dtype)
    }

    /// Whether the dtype makes a difference.
    pub fn varies(&self) -> bool {
        let x = |d| self.program(d);
        x(DType::F64) != x(DType::F32)
    }

    /// The example as a file, of which `example` is the function.
    pub fn program(&self, dtype: DType) -> String {
        let (functions, params, body) = (self.functions(dtype), self.params(dtype), self.body(dtype));
        format!("{functions}\nfn example({params}) {{\n    {body}\n}}\n")
    }

    /// Its parameters and the types of its results.
    ///
    /// # Errors
    /// Why the example does not work in that dtype: the first error.
    pub fn types(&self, dtype: DType) -> Result<(Vec<Param>, Vec<Type>)> {
        let (module, graph) = traced(&self.program(dtype), "example")?;
        let f = module.function("example")?;
        let types = module.param_types(f, &Sizes::default())?;
        let param =
            |(p, ty): (&crate::text::ast::Param, Type)| Param { name: p.name.text.clone(), ty, mutable: p.mutable };
        let params = module.params(f).iter().zip(types).map(param).collect();
        Ok((params, graph.outputs.iter().map(|v| graph.ty(*v).clone()).collect()))
    }

    /// The example with functions that differentiate it: `slope` gives the gradients of a scalar made of the float results
    /// with respect to these parameters, `curve` gradients of a scalar made of those. `None` if no result is of floats.
    pub fn differentiated(&self, dtype: DType, params: &[Param], outs: &[Type], wrt: &[&Param]) -> Option<String> {
        let names = |all: &[&Param]| all.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
        let all: Vec<&Param> = params.iter().collect();
        let results: Vec<String> = (0..outs.len()).map(|i| format!("y{i}")).collect();
        let terms: Vec<String> =
            outs.iter().zip(&results).filter(|(t, _)| t.dtype.is_float()).map(|(t, y)| weighted(y, t)).collect();
        if terms.is_empty() || wrt.is_empty() {
            return None;
        }
        let (declared, wrt_names) = (self.params(dtype), names(wrt));
        let pattern = match results.as_slice() {
            [one] => one.clone(),
            many => format!("({})", many.join(", ")),
        };
        let loss = format!("    let {pattern} = example({});\n    let loss = {};\n", names(&all), terms.join(" + "));
        let mut text = self.program(dtype);
        let _ = write!(text, "\nfn loss({declared}) {{\n{loss}    loss\n}}\n");
        let _ = write!(text, "\nfn slope({declared}) {{\n{loss}    grad(loss, ({wrt_names},))\n}}\n");
        let gradients: Vec<String> = (0..wrt.len()).map(|i| format!("g{i}")).collect();
        let again: Vec<String> = wrt.iter().zip(&gradients).map(|(p, g)| weighted(g, &p.ty)).collect();
        let _ = write!(
            text,
            "\nfn curve({declared}) {{\n{loss}    let ({},) = grad(loss, ({wrt_names},));\n    let again = {};\n    \
             grad(again, ({wrt_names},), allow_unused=true)\n}}\n",
            gradients.join(", "),
            again.join(" + ")
        );
        Some(text)
    }
}

/// A sum of the elements in which each has a weight of its own, so that no gradient cancels by symmetry.
fn weighted(name: &str, ty: &Type) -> String {
    let (dims, count) = match (ty.extents(), ty.rank()) {
        (Ok(s), 1..) => (s.to_vec(), s.iter().product::<usize>()),
        _ => return format!("sum({name}.double())"),
    };
    format!("sum({name}.double() * cos(arange({count}, dtype=f64)).reshape({dims:?}))")
}

/// The text with a dtype for each `D` that is a word.
fn typed(text: &str, dtype: DType) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c == 'D' && !word(before) && !rest.peek().is_some_and(|n| word(*n)) {
            true => out.push_str(dtype.name()),
            false => out.push(c),
        }
        before = c;
    }
    out
}

fn first(errors: Vec<Error>) -> Error {
    errors.into_iter().next().unwrap_or_else(|| err::internal("an example that fails without an error"))
}

fn traced(text: &str, function: &str) -> Result<(Module, Graph)> {
    let module = Module::parse("example", text).map_err(first)?;
    let f = module.function(function)?;
    let graph = module.trace(f, &Sizes::default(), None).map_err(first)?;
    Ok((module, graph))
}

/// Whether there is a derivative with respect to one parameter.
#[derive(Clone, Debug)]
pub enum Derivative {
    /// No gradient flows: the function is constant between its steps, or the parameter decides no float.
    None,
    /// Gradients of gradients exist.
    AnyOrder,
    /// That order (1 or 2) is refused, and why.
    Refused(usize, Error),
}

/// What was found out about a function.
#[derive(Clone, Debug)]
pub struct Description {
    /// The example in a dtype that it takes: the declarations, the call, the types of the results.
    pub shown: Option<(String, String, Vec<Type>)>,
    /// The dtypes it takes, with the types of the results.
    pub accepted: Vec<(DType, Vec<Type>)>,
    /// The dtypes it refuses, and why.
    pub refused: Vec<(DType, Error)>,
    /// Whether the dtype varies at all.
    pub varies: bool,
    /// For each parameter of floats of the example (in `f64`, or else the first dtype that gives one).
    pub derivatives: Vec<(String, Derivative)>,
}

/// Describes an example.
///
/// # Errors
/// `syntax` if it is none.
pub fn describe(example: &str) -> Result<Description> {
    let example = Example::parse(example)?;
    let varies = example.varies();
    let mut d = Description { shown: None, accepted: Vec::new(), refused: Vec::new(), varies, derivatives: Vec::new() };
    let mut shown: Option<DType> = None;
    let mut floats: Option<(DType, Vec<Param>, Vec<Type>)> = None;
    for dtype in DTYPES.into_iter().take(if varies { 10 } else { 1 }) {
        match example.types(dtype) {
            Ok((params, outs)) => {
                // The default dtype says most to a reader.
                if shown.is_none_or(|s| s != DType::F32 && dtype == DType::F32) {
                    shown = Some(dtype);
                    let call = format!("{} {}", example.functions(dtype), example.body(dtype)).trim_start().to_string();
                    d.shown = Some((example.params(dtype), call, outs.clone()));
                }
                if floats.is_none() && params.iter().any(|p| p.ty.dtype.is_float()) {
                    floats = Some((dtype, params, outs.clone()));
                }
                d.accepted.push((dtype, outs));
            }
            Err(e) => d.refused.push((dtype, e)),
        }
    }
    if let Some((dtype, params, outs)) = &floats {
        for p in params.iter().filter(|p| p.ty.dtype.is_float() && !p.mutable) {
            d.derivatives.push((p.name.clone(), derivative(&example, *dtype, params, outs, p)));
        }
    }
    Ok(d)
}

fn derivative(example: &Example, dtype: DType, params: &[Param], outs: &[Type], wrt: &Param) -> Derivative {
    let Some(text) = example.differentiated(dtype, params, outs, &[wrt]) else { return Derivative::None };
    let made = |function: &str| traced(&text, function).and_then(|(_, g)| passes::run_all(&g));
    match made("slope") {
        // A gradient that is not there, rather than one that cannot be made.
        Err(e) if e.kind() == Kind::Grad && e.diagnostic().message.contains("not have been used") => Derivative::None,
        Err(e) => Derivative::Refused(1, e),
        Ok(_) => match made("curve") {
            Ok(_) => Derivative::AnyOrder,
            Err(e) => Derivative::Refused(2, e),
        },
    }
}

impl Description {
    /// What was found out, as lines of a label and a text.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        if let Some((params, body, outs)) = &self.shown {
            let types: Vec<String> = outs.iter().map(type_text).collect();
            let gives = if types.len() == 1 { types.concat() } else { format!("({})", types.join(", ")) };
            let of = if params.is_empty() { String::new() } else { format!(" of `{params}`") };
            lines.push(("shapes", format!("`{body}`{of} gives `{gives}`")));
        }
        if self.varies {
            lines.push(("dtypes", self.dtypes()));
        }
        for (dtypes, why) in self.refusals() {
            lines.push(("refused", format!("{dtypes}: {why}")));
        }
        lines.push(("derivative", self.derivative()));
        lines
    }

    fn dtypes(&self) -> String {
        let results = self.accepted.first().map_or(0, |(_, outs)| outs.len());
        // What a result is in all dtypes: the dtype itself (`None`), or one and the same.
        let rule = |i: usize| {
            let outs = || self.accepted.iter().map(|(d, outs)| (*d, outs[i].dtype));
            let fixed = outs().next().map(|(_, o)| o);
            match (outs().all(|(d, o)| d == o), outs().all(|(_, o)| Some(o) == fixed)) {
                (true, _) => Some(None),
                (_, true) => Some(fixed),
                _ => None,
            }
        };
        let mut groups: Vec<(Vec<Option<DType>>, Vec<&str>)> = Vec::new();
        for (d, outs) in &self.accepted {
            let own = |(i, t): (usize, &Type)| rule(i).unwrap_or_else(|| Some(t.dtype).filter(|o| o != d));
            let gives: Vec<Option<DType>> = outs.iter().enumerate().map(own).collect();
            match groups.iter_mut().find(|(other, _)| *other == gives) {
                Some((_, all)) => all.push(d.name()),
                None => groups.push((gives, vec![d.name()])),
            }
        }
        let text = |(gives, all): &(Vec<Option<DType>>, Vec<&str>)| {
            let names: Vec<&str> = gives.iter().map(|d| d.map_or("the same", DType::name)).collect();
            let all = all.join(" ");
            match results {
                _ if gives.iter().all(Option::is_none) => all,
                1 => format!("{all} give {}", names.concat()),
                _ => format!("{all} give ({})", names.join(", ")),
            }
        };
        groups.iter().map(text).collect::<Vec<_>>().join("; ")
    }

    /// Refused dtypes with their reason, the first one's where they differ in the dtype only.
    fn refusals(&self) -> Vec<(String, String)> {
        let mut groups: Vec<(String, Vec<&str>, String)> = Vec::new();
        for (d, e) in &self.refused {
            let message = &e.diagnostic().message;
            let key = [d.torch_name(), d.name()].iter().fold(message.clone(), |m, n| m.replace(n, "D"));
            match groups.iter_mut().find(|(k, _, m)| *k == key || m == message) {
                Some((_, all, _)) => all.push(d.name()),
                None => groups.push((key, vec![d.name()], message.clone())),
            }
        }
        groups.into_iter().map(|(_, all, why)| (all.join(" "), why)).collect()
    }

    fn derivative(&self) -> String {
        let with = |f: &dyn Fn(&Derivative) -> bool| -> Vec<&str> {
            self.derivatives.iter().filter(|(_, d)| f(d)).map(|(n, _)| n.as_str()).collect()
        };
        let any = with(&|d| matches!(d, Derivative::AnyOrder));
        let none = with(&|d| matches!(d, Derivative::None));
        let mut parts = Vec::new();
        if !any.is_empty() {
            parts.push(format!("of any order, with respect to {}", any.join(", ")));
        }
        if !none.is_empty() {
            let of = if any.is_empty() { String::new() } else { format!(" with respect to {}", none.join(", ")) };
            parts.push(format!("none{of}"));
        }
        for (name, d) in &self.derivatives {
            if let Derivative::Refused(order, e) = d {
                parts.push(format!("order {order} is refused with respect to {name}: {}", e.diagnostic().message));
            }
        }
        if parts.is_empty() { "none".into() } else { parts.join("; ") }
    }
}

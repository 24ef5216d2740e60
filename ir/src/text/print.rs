//! Prints a graph as a `.tc` function: one `let` for each node, every value with its type, attributes as keywords.
//!
//! The text is a program. A header names the phase, `// phase: pure`, and where derivatives begin; past functionalize the
//! final value of a written parameter prints as `x.copy_(v12);` before the result, and a result that is a view of a
//! parameter as that view, so that the text also says what the program does to memory. Values are called `v` and their
//! node's number; parameters keep their names, made into valid ones where they are not. The bodies of control ops are
//! functions of their own before the first one that names them.

use crate::dtype::{DType, Scalar};
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::control::Body;
use crate::ops::{Op, registry};
use crate::types::Type;
use std::collections::HashSet;
use std::fmt::Write;

/// The whole graph as a `.tc` function, with a newline at the end.
pub fn print(g: &Graph) -> String {
    print_all(&[g])
}

/// Several graphs as one program, a blank line between two functions.
pub fn print_all(graphs: &[&Graph]) -> String {
    let taken = graphs.iter().map(|g| name(&g.name)).collect();
    let mut fns = Fns { all: Vec::new(), taken };
    let mut out: Vec<String> = Vec::new();
    for g in graphs {
        let before = fns.all.len();
        fns.collect(g);
        out.extend(fns.all[before..].iter().map(|(body, name)| function(body, name, &fns)));
        out.push(function(g, &name(&g.name), &fns));
    }
    out.join("\n")
}

/// The bodies of control ops, each behind those that it uses, with the names of their functions.
#[derive(Default)]
struct Fns {
    all: Vec<(Body, String)>,
    taken: HashSet<String>,
}

impl Fns {
    fn collect(&mut self, g: &Graph) {
        for n in g.nodes() {
            for body in g.op(n).bodies() {
                if self.name(body).is_none() {
                    self.collect(body);
                    let name = self.unused(&body.name);
                    self.all.push((body.clone(), name));
                }
            }
        }
    }

    /// The name of a body that was met before, or of one that prints the same.
    fn name(&self, body: &Body) -> Option<&str> {
        let same = |(b, _): &&(Body, String)| b.is(body) || (b.name == body.name && b == body);
        self.all.iter().find(same).map(|(_, name)| name.as_str())
    }

    /// A name like this one that no other function has, nor one of the table: that would be called in its place.
    fn unused(&mut self, text: &str) -> String {
        let base = name(text);
        let free = |n: &String| !self.taken.contains(n) && !registry::exists(n) && !SPECIAL.contains(&n.as_str());
        let all = (1..).map(|i| if i == 1 { base.clone() } else { format!("{base}_{i}") });
        let name = all.into_iter().find(free).unwrap_or(base.clone());
        self.taken.insert(name.clone());
        name
    }
}

/// Calls that the language answers itself.
const SPECIAL: &[&str] = &[
    "cond",
    "while_loop",
    "scan",
    "vmap",
    "custom_vjp",
    "checkpoint",
    "grad",
    "jvp",
    "tensor",
    "size",
    "dim",
    "ndimension",
    "numel",
];

/// One graph as a function.
fn function(g: &Graph, as_name: &str, fns: &Fns) -> String {
    let names = Names::new(g, fns);
    let backward = g.backward.map_or(String::new(), |n| format!(", backward from {}{}", names.prefix, n.0));
    let mut out = format!("// phase: {}{backward}\nfn {as_name}({})", g.phase.name(), names.parameters(g));
    let types: Vec<String> = g.outputs.iter().map(|v| type_text(g.ty(*v))).collect();
    if !types.is_empty() {
        let _ = write!(out, " -> {}", tuple(&types, g.tuple));
    }
    out.push_str(" {\n");
    for n in g.nodes().take(body_len(g)) {
        if !matches!(g.op(n), Op::Input(_)) {
            let _ = writeln!(out, "    {}", names.statement(g, n));
        }
    }
    for (i, v) in &g.mutated {
        let _ = writeln!(out, "    {}.copy_({});", names.parameter(*i), names.value(g, *v));
    }
    let results: Vec<String> = (0..g.outputs.len()).map(|k| names.result(g, k)).collect();
    if !results.is_empty() {
        let _ = writeln!(out, "    {}", tuple(&results, g.tuple));
    }
    out.push_str("}\n");
    out
}

/// The line of one node, for messages.
pub fn line(g: &Graph, n: NodeId) -> String {
    Names::new(g, &Fns::default()).statement(g, n)
}

/// How a type is written: `f32[2, 3]`, and `f32` for a scalar.
pub fn type_text(ty: &Type) -> String {
    if ty.rank() == 0 { ty.dtype.to_string() } else { ty.to_string() }
}

/// A literal that reads back as the same bits (any NaN as a NaN).
pub fn literal(v: Scalar) -> String {
    let text = v.to_string();
    let exact = v.to_f64();
    // The shortest decimal of a narrow float is read as an `f64` and then rounded: make sure that it is not rounded twice.
    let same = |t: &str| t.parse::<f64>().is_ok_and(|x| Scalar::from_f64(v.dtype, x) == v);
    if !v.dtype.is_float() || v.dtype == DType::F64 || !exact.is_finite() || same(&text) {
        text
    } else {
        format!("{exact:?}")
    }
}

/// The nodes that print: all but the last ones of a pure graph, which rebuild the results that are views of parameters
/// and print as part of the result.
fn body_len(g: &Graph) -> usize {
    if g.phase == Phase::Traced {
        return g.len();
    }
    let mut len = g.len();
    for (k, v) in g.outputs.iter().enumerate().rev() {
        let Some(Some(view)) = g.output_views.get(k) else { continue };
        let n = view.views.len();
        if n > 0 && v.node.0 as usize + 1 == len && is_tail(g, len - n..len) {
            len -= n;
        }
    }
    len
}

/// Whether these nodes are a chain of views that nothing else uses.
fn is_tail(g: &Graph, nodes: std::ops::Range<usize>) -> bool {
    let first = nodes.start;
    let mutated = |n: usize| g.mutated.iter().any(|(_, v)| v.node.0 as usize == n);
    nodes.into_iter().all(|n| {
        let id = NodeId(n as u32);
        let follows = n == first || g.operands(id).first().is_some_and(|v| v.node.0 as usize == n - 1);
        g.op(id).is_view() && follows && !mutated(n)
    })
}

/// Items in parentheses, or the only one without them.
fn tuple(items: &[String], always: bool) -> String {
    match items {
        [one] if always => format!("({one},)"),
        [one] => one.clone(),
        all => format!("({})", all.join(", ")),
    }
}

/// A name that the grammar takes: letters, digits and underscores, not beginning with a digit, no keyword.
fn name(text: &str) -> String {
    let mut out: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let reserved = ["fn", "let", "mut", "true", "false", "None", "inf", "nan"];
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, 'p');
    } else if reserved.contains(&out.as_str()) || DType::from_name(&out).is_some() {
        out.push('_');
    }
    out
}

struct Names<'f> {
    parameters: Vec<String>,
    prefix: String,
    fns: &'f Fns,
}

impl<'f> Names<'f> {
    fn new(g: &Graph, fns: &'f Fns) -> Names<'f> {
        let mut seen = HashSet::new();
        let mut parameters = Vec::new();
        for p in &g.params {
            let mut text = name(&p.name);
            while !seen.insert(text.clone()) {
                text.push('_');
            }
            parameters.push(text);
        }
        // Values are `v7` unless a parameter could be called so.
        let mut prefix = String::from("v");
        let taken = |prefix: &str| {
            let number =
                |p: &String| p.strip_prefix(prefix).is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
            parameters.iter().any(number)
        };
        while taken(&prefix) {
            prefix.push('v');
        }
        Names { parameters, prefix, fns }
    }

    fn parameter(&self, i: usize) -> &str {
        self.parameters.get(i).map_or("?", |n| n)
    }

    fn parameters(&self, g: &Graph) -> String {
        let mut types = vec![String::from("?"); g.params.len()];
        for n in g.nodes() {
            if let (Op::Input(i), Some(ty)) = (g.op(n), g.node(n).types.first())
                && let Some(t) = types.get_mut(*i as usize)
            {
                *t = type_text(ty);
            }
        }
        let one = |(i, p): (usize, &crate::graph::Param)| {
            format!("{}: {}{}", self.parameter(i), if p.mutable { "mut " } else { "" }, types[i])
        };
        g.params.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
    }

    fn value(&self, g: &Graph, v: Value) -> String {
        match g.op(v.node) {
            Op::Input(i) => self.parameter(*i as usize).into(),
            _ if g.node(v.node).types.len() > 1 => format!("{}{}_{}", self.prefix, v.node.0, v.result),
            _ => format!("{}{}", self.prefix, v.node.0),
        }
    }

    fn statement(&self, g: &Graph, n: NodeId) -> String {
        let node = g.node(n);
        let call = self.call(g, n);
        match node.types.as_slice() {
            [] => format!("{call};"),
            [ty] => format!("let {}: {} = {call};", self.value(g, n.into()), type_text(ty)),
            _ => {
                let names: Vec<String> = g.results(n).map(|v| self.value(g, v)).collect();
                format!("let ({}) = {call};", names.join(", "))
            }
        }
    }

    /// The name of the function that a body is.
    fn function(&self, body: &Body) -> String {
        self.fns.name(body).map_or_else(|| name(&body.name), String::from)
    }

    /// `cond(p, f, g, (a, b))` and its like.
    fn control(&self, op: &Op, operands: &[String]) -> Option<String> {
        let mut args: Vec<String> = op.bodies().into_iter().map(|b| self.function(b)).collect();
        // One value stands for itself, as the results of a body do.
        let group = |items: &[String]| if items.is_empty() { "None".into() } else { tuple(items, false) };
        let consts = match op {
            Op::Cond(_) => {
                args.insert(0, operands[0].clone());
                if operands.len() > 1 {
                    args.push(group(&operands[1..]));
                }
                &[]
            }
            Op::While(w) => {
                args.push(group(&operands[..w.carries()]));
                &operands[w.carries()..]
            }
            Op::Custom(c) => {
                args.push(group(&operands[..c.args]));
                &operands[c.args..]
            }
            Op::Vmap(v) => {
                args.push(group(&operands[..v.xs]));
                &operands[v.xs..]
            }
            Op::Loop(s) => {
                let (init, rest) = operands.split_at(s.carries);
                args.extend([group(init), group(&rest[..s.xs])]);
                &rest[s.xs..]
            }
            _ => return None,
        };
        if !consts.is_empty() {
            args.push(format!("consts={}", group(consts)));
        }
        let attrs = op.structural().attrs();
        args.extend((!attrs.is_empty()).then_some(attrs));
        Some(format!("{}({})", op.name(), args.join(", ")))
    }

    fn call(&self, g: &Graph, n: NodeId) -> String {
        let operands: Vec<String> = g.operands(n).into_iter().map(|v| self.value(g, v)).collect();
        match g.op(n) {
            Op::Const(v) => literal(*v),
            Op::Literal(l) => {
                format!("tensor({}, dtype={})", nested(&l.shape, &l.values), l.dtype)
            }
            Op::Grad(grad) => {
                let wrt = &operands[grad.lead().min(operands.len())..];
                let mut text = format!("grad({}, {}", operands[0], tuple(wrt, false));
                if grad.seeded {
                    let _ = write!(text, ", seed={}", operands[1]);
                }
                let flags = crate::ops::Structural::attrs(grad);
                text + &if flags.is_empty() { ")".to_string() } else { format!(", {flags})") }
            }
            Op::Jvp(jvp) => {
                let (y, x, t) = jvp.parts(&operands);
                format!("jvp({}, {}, {})", tuple(y, false), tuple(x, false), tuple(t, false))
            }
            // PyTorch's argument order has the dimension first.
            Op::Gather(gather) => format!("gather({}, dim={}, index={})", operands[0], gather.axis, operands[1]),
            Op::Scatter(s) => {
                let [x, index, src] = [0, 1, 2].map(|i| &operands[i]);
                format!("{}({x}, dim={}, index={index}, src={src})", s.mode.name(), s.axis)
            }
            op => self.control(op, &operands).unwrap_or_else(|| call(op, operands)),
        }
    }

    /// The expression of result `k`.
    fn result(&self, g: &Graph, k: usize) -> String {
        match g.output_views.get(k) {
            Some(Some(view)) => {
                view.views.iter().fold(self.parameter(view.param).into(), |base: String, op| call(op, vec![base]))
            }
            _ => self.value(g, g.outputs[k]),
        }
    }
}

/// `name(operands, attributes)`.
fn call(op: &Op, mut args: Vec<String>) -> String {
    let attrs = op.structural().attrs();
    if !attrs.is_empty() {
        args.push(attrs);
    }
    format!("{}({})", op.name(), args.join(", "))
}

fn nested(shape: &[usize], values: &[Scalar]) -> String {
    let Some((d, rest)) = shape.split_first() else { return values.first().map_or(String::from("?"), |v| literal(*v)) };
    let n = rest.iter().product::<usize>();
    let items: Vec<String> = (0..*d).map(|i| nested(rest, values.get(i * n..(i + 1) * n).unwrap_or(&[]))).collect();
    format!("[{}]", items.join(", "))
}

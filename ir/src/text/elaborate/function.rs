//! Traces one function: parameters in, statements in order, results out; calls of other functions are inlined.

use super::number::Num;
use super::sizes::{Sizes, type_text};
use super::value::Val;
use super::{Bound, FnId, Module};
use crate::builder::{Builder, Ex};
use crate::dim::Dim;
use crate::dtype::Scalar;
use crate::error::{Error, Kind, Loc, Result, err};
use crate::graph::{Graph, Phase, Value};
use crate::layout::Strided;
use crate::ops::Op;
use crate::ops::control::Body;
use crate::text::ast;
use crate::text::print::type_text as graph_type_text;
use crate::text::restore;
use crate::types::Type;
use crate::verify::verify;
use std::collections::HashMap;

/// How deeply expressions and calls may nest in all. It keeps the recursion of this module on the stack.
const MAX_NESTING: u32 = 320;

/// How many nodes a graph may get by inlining and by bodies.
pub(super) const MAX_NODES: usize = 1 << 16;

/// An error has been reported; what depends on the value is skipped.
pub(super) struct Reported;

/// A value, or the fact that an error has been reported.
pub(super) type Got<T> = std::result::Result<T, Reported>;

/// A function under way.
pub(super) struct Frame<'m, 'b> {
    pub(super) f: &'m ast::Fn,
    /// Variables; poisoned ones are `None`.
    pub(super) names: HashMap<&'m str, Option<Val<'b>>>,
    pub(super) sizes: Sizes,
    /// The place of the call, for functions that are inlined.
    call: Option<Loc>,
}

/// A trace under way.
pub(super) struct Tracer<'m, 'b> {
    pub(super) module: &'m Module,
    pub(super) b: &'b Builder,
    pub(super) frames: Vec<Frame<'m, 'b>>,
    errors: Vec<Error>,
    /// Errors here, and calls of functions that have some.
    failures: usize,
    depth: u32,
    /// Whether inlining has stopped.
    too_large: bool,
    /// In how many functions, each a body of the one around it, this one runs.
    pub(super) level: u32,
    /// Nodes of bodies.
    pub(super) inside: usize,
    /// Whether the sizes only stand for others.
    pub(super) generic: bool,
    /// Whether this is a printed graph, in which a call of a row is that row.
    pub(super) dump: bool,
}

/// What a function is traced for.
pub(super) struct Call<'a> {
    pub(super) sizes: &'a Sizes,
    /// How the arguments lie in memory; contiguous without.
    pub(super) layouts: Option<&'a [Strided]>,
    /// Parameters that are views of others.
    pub(super) bound: &'a [Bound],
    /// Whether the sizes only stand for others.
    pub(super) generic: bool,
    /// For a body of control flow, in how many others it lies.
    pub(super) level: Option<u32>,
}

/// The graph of `f`, or all errors.
pub(super) fn trace(module: &Module, f: FnId, call: &Call<'_>) -> Result<Graph, Vec<Error>> {
    let decl = module.decl(f);
    let header = match decl.loc {
        Loc::Text { start, .. } => restore::header(module.source().text(), start as usize),
        Loc::Unknown | Loc::Rust(_) => None,
    };
    let (phase, backward) = (header.map(|(phase, _)| phase), header.and_then(|(_, n)| n));
    let mut g = Graph::new(decl.name.text.clone());
    g.phase = phase.unwrap_or(Phase::Traced);
    let b = Builder::over(g);
    let mut t = Tracer {
        module,
        b: &b,
        frames: Vec::new(),
        errors: Vec::new(),
        failures: 0,
        depth: 0,
        too_large: false,
        level: call.level.unwrap_or(0),
        inside: 0,
        generic: call.generic,
        dump: phase.is_some(),
    };
    let outputs = t.outermost(f, call);
    let errors = t.errors;
    // If only a function that it calls is wrong, there is no error here.
    let Ok((outputs, tuple)) = outputs else { return Err(errors) };
    let outputs = match (call.level, phase.unwrap_or(Phase::Traced)) {
        (Some(_), Phase::Traced) => {
            b.set_loc(result_loc(decl));
            Body::own_results(&b, &outputs).map_err(|e| vec![e])?
        }
        _ => outputs,
    };
    b.with_graph(|g| {
        g.outputs = outputs;
        g.tuple = tuple;
        g.backward = backward.filter(|n| n.0 as usize <= g.len());
    });
    let finish = || {
        let g = restore::restore(&b.finish()?)?;
        if phase.is_some() {
            verify(&g)?;
        }
        Ok(g)
    };
    finish().map_err(|e: Error| vec![e.at(decl.name.loc)])
}

impl<'m, 'b> Tracer<'m, 'b> {
    /// Keeps an error, with the calls that led to it.
    pub(super) fn report(&mut self, e: Error) {
        let mut e = e;
        for f in self.frames.iter().rev() {
            if let Some(call) = f.call {
                e = e.note(call, format!("in this call of `{}`", f.f.name.text));
            }
        }
        self.errors.push(e);
        self.failures += 1;
    }

    /// Keeps an error at that place (unless it has one).
    pub(super) fn fail<T>(&mut self, loc: Loc, e: Error) -> Got<T> {
        // A formula's failed step may have left its error with the builder, too.
        let _ = self.b.check();
        self.report(e.at(loc));
        Err(Reported)
    }

    /// The value, or keeps the error.
    pub(super) fn at<T>(&mut self, loc: Loc, r: Result<T>) -> Got<T> {
        match r {
            Ok(v) => Ok(v),
            Err(e) => self.fail(loc, e),
        }
    }

    /// Gives up on a value without an error, which stands elsewhere or may not be one.
    pub(super) fn unknown<T>(&mut self) -> Got<T> {
        self.failures += 1;
        Err(Reported)
    }

    /// Whether the sizes stand for others and `n` is a multiple of one of them.
    pub(super) fn is_symbolic(&self, n: usize) -> bool {
        let of = |(_, v): (&str, Dim)| v.known().is_some_and(|v| v > 1 && n > 0 && n as i64 % v == 0);
        self.generic && self.frames[0].sizes.iter().any(of)
    }

    /// Goes one level down, unless that is too deep.
    pub(super) fn nested<T>(&mut self, loc: Loc, f: impl FnOnce(&mut Self) -> Got<T>) -> Got<T> {
        if self.depth >= MAX_NESTING {
            let e = err::unsupported("expressions and calls nest too deeply");
            return self.fail(loc, e.help("give names to parts with `let`"));
        }
        self.depth += 1;
        let r = f(self);
        self.depth -= 1;
        r
    }

    pub(super) fn frame(&self) -> &Frame<'m, 'b> {
        // There is one from the first parameter on, and only `call` takes one away again.
        self.frames.last().expect("a function is under way")
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame<'m, 'b> {
        self.frames.last_mut().expect("a function is under way")
    }

    fn outermost(&mut self, f: FnId, call: &Call<'_>) -> Got<(Vec<Value>, bool)> {
        let decl = self.module.decl(f);
        let types = self.module.param_types(f, call.sizes);
        let types = self.at(decl.name.loc, types)?;
        if let Some(l) = call.layouts
            && (l.len() != types.len() || l.iter().zip(&types).any(|(l, t)| l.shape != t.shape))
        {
            let e = err::internal(format!("`{}`: the layouts are not the parameters'", decl.name.text));
            return self.fail(decl.name.loc, e);
        }
        let mut values: Vec<Option<Ex<'b>>> = Vec::new();
        for (i, (p, ty)) in decl.params.iter().zip(&types).enumerate() {
            self.b.set_loc(p.loc);
            let input = || {
                let layout = call.layouts.map(|l| l[i].clone());
                self.b.ex(self.b.input(p.name.text.clone(), ty.clone(), p.mutable, layout))
            };
            values.push((!call.bound.iter().any(|b| b.param == i)).then(input));
        }
        for bound in call.bound {
            let (Some(p), Some(Some(of))) = (decl.params.get(bound.param), values.get(bound.of)) else {
                let e = err::internal(format!("`{}`: a parameter is bound to no other", decl.name.text));
                return self.fail(decl.name.loc, e);
            };
            self.b.set_loc(p.loc);
            let view = bound.views.iter().fold(*of, |x, op| x.apply(op.clone(), &[]));
            let v = view.value();
            self.at(p.loc, v)?;
            if view.ty() != types[bound.param] {
                let (want, got) = (graph_type_text(&types[bound.param]), graph_type_text(&view.ty()));
                let e = err::shape(format!("parameter `{}`: expected {want}, got {got}", p.name.text));
                return self.fail(p.loc, e);
            }
            values[bound.param] = Some(view);
        }
        let names = decl.params.iter().zip(values).map(|(p, v)| (p.name.text.as_str(), v.map(Val::Tensor))).collect();
        self.frames.push(Frame { f: decl, names, sizes: call.sizes.clone(), call: None });
        let result = self.body(decl);
        let outputs = result.and_then(|v| self.outputs(decl, v));
        self.frames.pop();
        outputs
    }

    /// The values that leave the graph, and whether they are a tuple.
    fn outputs(&mut self, f: &'m ast::Fn, v: Val<'b>) -> Got<(Vec<Value>, bool)> {
        let loc = result_loc(f);
        let (items, tuple) = match v {
            Val::Tuple(items) => (items, true),
            v => (vec![v], false),
        };
        let mut out = Vec::new();
        for (i, v) in items.into_iter().enumerate() {
            out.push(match v {
                Val::Tensor(e) => self.at(loc, e.value())?,
                v => {
                    let what = v.describe();
                    let which = if tuple { format!("result {i}") } else { "the result".into() };
                    let e = err::ty(format!("{which} of `{}` is {what}, expected a tensor", f.name.text));
                    return self.fail(loc, e);
                }
            });
        }
        Ok((out, tuple))
    }

    /// Runs the statements and gives the result, which has the types declared. Numbers become tensors.
    fn body(&mut self, f: &'m ast::Fn) -> Got<Val<'b>> {
        let before = self.failures;
        for s in &f.body.stmts {
            self.statement(s);
        }
        let result = match &f.body.result {
            Some(e) => self.expr(e),
            None => Ok(Val::Tuple(Vec::new())),
        };
        let result = result.and_then(|v| self.declared(f, v));
        if self.failures > before { Err(Reported) } else { result }
    }

    fn declared(&mut self, f: &'m ast::Fn, v: Val<'b>) -> Got<Val<'b>> {
        let loc = result_loc(f);
        self.b.set_loc(loc);
        let Some(want) = &f.result else {
            return Ok(match v {
                Val::Num(n) => Val::Tensor(self.constant(n, n.default_dtype(), loc)?),
                Val::Tuple(items) => {
                    let tensor = |v| match v {
                        Val::Num(n) => Ok(Val::Tensor(self.constant(n, n.default_dtype(), loc)?)),
                        v => Ok(v),
                    };
                    Val::Tuple(items.into_iter().map(tensor).collect::<Got<_>>()?)
                }
                v => v,
            });
        };
        let place = |i: usize| match f.body.result.as_ref().map(|e| &e.kind) {
            Some(ast::ExprKind::Tuple(items)) if want.tuple => items.get(i).map_or(loc, |e| e.loc),
            _ => loc,
        };
        match (v, want.tuple) {
            (Val::Tuple(items), true) if items.len() == want.items.len() => {
                let of = |(i, (v, ty))| self.typed(v, ty, place(i), "the declared result");
                let items: Vec<Got<_>> = items.into_iter().zip(&want.items).enumerate().map(of).collect();
                items.into_iter().collect::<Got<_>>().map(Val::Tuple)
            }
            (v, false) if !matches!(v, Val::Tuple(_)) => self.typed(v, &want.items[0], loc, "the declared result"),
            (v, _) => {
                let types: Vec<String> = want.items.iter().map(type_text).collect();
                let types = if want.tuple { format!("a tuple ({})", types.join(", ")) } else { types.join(", ") };
                let got = v.describe();
                let mut e = err::ty(format!("`{}` gives {got}, expected {types}", f.name.text));
                if f.body.result.is_none() {
                    e = e.help("the result is the last expression of the block, without `;`");
                }
                self.fail(loc, e.note(want.loc, "the declared result"))
            }
        }
    }

    /// The value, which must be of the type written; a number becomes a constant of it.
    pub(super) fn typed(&mut self, v: Val<'b>, ty: &'m ast::Type, loc: Loc, what: &str) -> Got<Val<'b>> {
        let shape = self.frame().sizes.shape(ty);
        let shape = self.at(ty.loc, shape)?;
        let want = Type::new(ty.dtype, shape);
        let text = graph_type_text(&want);
        match v {
            Val::Num(n) if want.rank() == 0 => Ok(Val::Tensor(self.constant(n, want.dtype, loc)?)),
            Val::Tensor(e) if e.ty() == want => Ok(v),
            Val::Tensor(e) => {
                let got = e.ty();
                let message = format!("expected {text}, found {}", graph_type_text(&got));
                let e = if got.shape == want.shape { err::dtype(message) } else { err::shape(message) };
                let e = if e.kind() == Kind::Dtype {
                    e.help(format!("to convert, write `.to({})`", want.dtype))
                } else {
                    e
                };
                self.fail(loc, e.note(ty.loc, what))
            }
            v => {
                let e = err::ty(format!("expected {text}, found {}", v.describe())).note(ty.loc, what);
                let e = match v {
                    Val::Num(n) => {
                        e.help(format!("`full([…], {}, dtype={})` is a tensor of one number", n.text(), want.dtype))
                    }
                    Val::List(_) => e.help("a tensor is written `tensor([…])`"),
                    _ => e,
                };
                self.fail(loc, e)
            }
        }
    }

    /// A 0-d constant of that dtype.
    pub(super) fn constant(&mut self, n: Num, dtype: crate::DType, loc: Loc) -> Got<Ex<'b>> {
        let v: Scalar = self.at(loc, n.typed(dtype))?;
        self.b.set_loc(loc);
        let v = self.b.emit(Op::Const(v), &[]);
        Ok(self.b.ex(self.at(loc, v)?))
    }

    /// Inlines a call. The arguments have been bound to the parameters, with the place of each.
    pub(super) fn inline(&mut self, f: FnId, args: Vec<(Val<'b>, Loc)>, call: Loc) -> Got<Val<'b>> {
        if !self.module.sound(f) {
            // They are reported where they are.
            return self.unknown();
        }
        let decl = self.module.decl(f);
        if self.b.with_graph(|g| g.len()) > MAX_NODES {
            if std::mem::replace(&mut self.too_large, true) {
                return self.unknown();
            }
            return self.fail(call, err::unsupported("the program is too large when its calls are inlined"));
        }
        let mut tensors = Vec::new();
        for (p, (v, loc)) in decl.params.iter().zip(args) {
            let (want, name) = (type_text(&p.ty), &p.name.text);
            let e = match v {
                Val::Tensor(e) if e.dtype() == p.ty.dtype => {
                    tensors.push((e, loc));
                    continue;
                }
                Val::Num(n) if p.ty.dims.is_empty() => {
                    tensors.push((self.constant(n, p.ty.dtype, loc)?, loc));
                    continue;
                }
                Val::Tensor(e) => {
                    err::dtype(format!("argument `{name}`: expected {want}, found {}", graph_type_text(&e.ty())))
                        .help(format!("to convert, write `.to({})`", p.ty.dtype))
                }
                v => err::ty(format!("argument `{name}`: expected {want}, found {}", v.describe())),
            };
            return self.fail(loc, e.note(p.loc, "the parameter"));
        }
        let types: Vec<(Type, Loc)> = tensors.iter().map(|(e, loc)| (e.ty(), *loc)).collect();
        let sizes = self.bind_sizes(decl, &types, call)?;
        let values = tensors.into_iter().map(|(e, _)| Some(Val::Tensor(e)));
        let names = decl.params.iter().map(|p| p.name.text.as_str()).zip(values).collect();
        self.nested(call, |t| {
            t.frames.push(Frame { f: decl, names, sizes, call: Some(call) });
            let result = t.body(decl);
            t.frames.pop();
            t.b.set_loc(call);
            result
        })
    }
}

impl<'m> Tracer<'m, '_> {
    /// The sizes of a function for arguments of these types.
    pub(super) fn bind_sizes(&mut self, decl: &'m ast::Fn, args: &[(Type, Loc)], call: Loc) -> Got<Sizes> {
        let shapes: Vec<&[Dim]> = args.iter().map(|(t, _)| t.shape.as_slice()).collect();
        Sizes::bind(decl, &shapes).or_else(|e| {
            if e.is_waiting_for_sizes() {
                return self.fail(call, e);
            }
            // The error stands at the parameter: show the argument first.
            let d = e.diagnostic();
            let i = decl.params.iter().position(|p| p.loc == d.loc);
            let loc = i.map_or(call, |i| args[i].1);
            let at = crate::Error::new(d.kind, d.message.replacen("parameter", "argument", 1)).at(loc);
            let at = at.note(d.loc, "the parameter");
            let at = d.notes.iter().fold(at, |at, (loc, note)| at.note(*loc, note.clone()));
            self.fail(loc, at)
        })
    }
}

fn result_loc(f: &ast::Fn) -> Loc {
    f.body.result.as_ref().map_or_else(
        || match f.body.loc {
            // The closing brace.
            Loc::Text { start, end } => Loc::Text { start: end.saturating_sub(1).max(start), end },
            loc => loc,
        },
        |e| e.loc,
    )
}

//! `cond`, `while_loop` and `scan`: calls whose first arguments are names of functions of the file.
//!
//! Each function is traced on its own for the operands' types and becomes a body. Its parameters are the operands one
//! after the other (carries, slices, constants), its results are flat likewise: the next carries, then what is stacked.
//! The result of the call is a tuple if the function's is one.

use super::FnId;
use super::call::Written;
use super::function::{self, Got, MAX_NODES, Tracer};
use super::number::Num;
use super::sizes::type_text;
use super::value::Val;
use crate::builder::Ex;
use crate::error::{Error, Loc, err};
use crate::layout::Strided;
use crate::ops::control::{Body, Cond, Scan, While};
use crate::ops::view::Permute;
use crate::ops::{Op, registry};
use crate::text::ast::{Expr, ExprKind, Name};
use crate::text::print::type_text as graph_type_text;
use crate::types::{Type, axis};
use std::ops::Range;

/// A call that is answered here.
pub struct Form {
    /// Its name.
    pub name: &'static str,
    /// Its signature, as in the table of functions.
    pub sig: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// An example, in the form of [`crate::describe`].
    pub example: &'static str,
    params: &'static [&'static str],
    /// Which of them are names of functions.
    functions: Range<usize>,
    /// How many must be given.
    needed: usize,
}

/// The calls that are answered here.
pub static FORMS: [Form; 6] = [
    Form {
        name: "cond",
        sig: "pred, true_fn: function, false_fn: function, operands = None",
        doc: "true_fn(*operands) if pred, a bool of one element, is true, else false_fn(*operands); only the one runs. Both \
              are functions of the file and give the same types. The derivative is that of the one that ran.",
        example: "fn low(x: D[3]) { amin(x) } fn high(x: D[3]) { amax(x) } p: bool, x: D[3] => cond(p, low, high, x)",
        params: &["pred", "true_fn", "false_fn", "operands"],
        functions: 1..3,
        needed: 3,
    },
    Form {
        name: "while_loop",
        sig: "cond_fn: function, body_fn: function, carried_inputs, consts = None",
        doc: "carried_inputs = body_fn(*carried_inputs, *consts) as long as cond_fn of the same gives true, a bool of one \
              element. Both are functions of the file; the carries keep their types. A loop of known length is a scan, which \
              has a derivative; asking for this one's is an error.",
        example: "fn small(x: D[3]) { sum(x) < 100 } fn more(x: D[3]) { x + 30 } x: D[3] => while_loop(small, more, x)",
        params: &["cond_fn", "body_fn", "carried_inputs", "consts"],
        functions: 0..2,
        needed: 3,
    },
    Form {
        name: "scan",
        sig: "combine_fn: function, init, xs, dim: int = 0, reverse: bool = false, length: int? = None, consts = None, \
              save: bool = false",
        doc: "Calls combine_fn(*carries, *slices, *consts), a function of the file, for each slice of xs along dim. It gives \
              the next carries, which begin as init and keep their types, and results of the step. Gives the last carries, \
              then those results stacked along dim; with save also the carries before each step. The derivative is a \
              scan the other way, which keeps the carries of all steps.",
        example: "fn step(h: D[2], x: D[2]) { (h * x, h + x) } h: D[2], xs: D[3, 2] => scan(step, h, xs)",
        params: &["combine_fn", "init", "xs", "dim", "reverse", "length", "consts", "save"],
        functions: 0..1,
        needed: 3,
    },
    Form {
        name: "vmap",
        sig: "f: function, xs, consts = None",
        doc: "f(*elements, *consts), a function of the file, for each element along the first dimension of xs, its results \
              stacked along a new first dimension. No element sees another: it is one program for all of them, with the bits \
              of one after the other. Derivatives are those of f.",
        example: "fn pairs(x: D[2], w: D[2, 2]) { (w @ x, x.sum()) } xs: D[3, 2], w: D[2, 2] => vmap(pairs, xs, consts=w)",
        params: &["f", "xs", "consts"],
        functions: 0..1,
        needed: 2,
    },
    Form {
        name: "custom_vjp",
        sig: "f: function, backward: function, args, consts = None",
        doc: "f(*args, *consts), with the derivative that backward says: it takes the arguments, the results, a cotangent for \
              each result of floats, and the constants, and gives a cotangent for each argument of floats. Constants have no \
              derivative; asking for it is an error. Both are functions of the file.",
        example: "fn cubed(x: D[3]) { x ** 3 } fn back(x: D[3], y: D[3], dy: D[3]) { 3 * x * x * dy } x: D[3] => \
                  custom_vjp(cubed, back, x)",
        params: &["f", "backward", "args", "consts"],
        functions: 0..2,
        needed: 3,
    },
    Form {
        name: "checkpoint",
        sig: "f: function, args, consts = None",
        doc: "f(*args, *consts), a function of the file, whose derivative computes it again in place of keeping what it \
              computed: less memory for more work.",
        example: "fn layer(x: D[3], w: D[3]) { sin(x * w) } x: D[3], w: D[3] => checkpoint(layer, (x, w))",
        params: &["f", "args", "consts"],
        functions: 0..1,
        needed: 2,
    },
];

/// The form of that name.
pub(super) fn form(name: &str) -> Option<&'static Form> {
    FORMS.iter().find(|f| f.name == name)
}

/// How deeply bodies may nest in bodies. It keeps the recursion of everything that walks them on the stack.
const MAX_LEVEL: u32 = 24;

/// The functions that an expression names as bodies, with the places of the names.
pub(super) fn bodies(e: &Expr) -> Vec<(&str, Loc)> {
    let mut args: Vec<(Option<&Name>, &Expr)> = Vec::new();
    let (name, rest) = match &e.kind {
        ExprKind::Call { callee, args } => (callee, args),
        ExprKind::Method { receiver, name, args: rest } => {
            args.push((None, receiver));
            (name, rest)
        }
        _ => return Vec::new(),
    };
    let Some(form) = form(&name.text) else { return Vec::new() };
    args.extend(rest.iter().map(|a| (a.name.as_ref(), &a.value)));
    let mut out = Vec::new();
    for (i, (keyword, e)) in args.into_iter().enumerate() {
        let slot = keyword.map_or(Some(i), |k| form.params.iter().position(|n| *n == k.text));
        if let (Some(name), true) = (e.as_name(), slot.is_some_and(|s| form.functions.contains(&s))) {
            out.push((name, e.loc));
        }
    }
    out
}

/// A function named as a body.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) f: FnId,
    pub(super) loc: Loc,
}

/// A tensor with the place of its expression.
pub(super) type Operand<'b> = (Ex<'b>, Loc);

impl<'m, 'b> Tracer<'m, 'b> {
    /// A call of one of [`FORMS`].
    pub(super) fn control(&mut self, form: &'static Form, args: Written<'m>, loc: Loc) -> Got<Val<'b>> {
        let (name, names, functions) = (form.name, form.params, &form.functions);
        let help = || format!("{name}({})", form.sig);
        let mut slots: Vec<Option<&'m Expr>> = vec![None; names.len()];
        for (i, (keyword, e)) in args.into_iter().enumerate() {
            let slot = keyword.map_or(Some(i), |k| names.iter().position(|n| *n == k.text));
            let Some(slot) = slot.and_then(|i| slots.get_mut(i)) else {
                let what = keyword.map_or(format!("argument {i}"), |k| format!("argument `{}`", k.text));
                let e2 = err::name(format!("`{name}` has no {what}")).help(help());
                return self.fail(keyword.map_or(e.loc, |k| k.loc), e2);
            };
            if slot.replace(e).is_some() {
                return self.fail(e.loc, err::ty(format!("`{name}`: an argument is given twice")));
            }
        }
        if let Some(i) = (0..form.needed).find(|i| slots[*i].is_none()) {
            let e = err::ty(format!("`{name}`: argument `{}` is missing", names[i]));
            return self.fail(loc, e.help(help()));
        }
        let named: Vec<Got<Named>> = functions.clone().map(|i| self.named(name, slots[i])).collect();
        // Values are evaluated even if a function is not there, so that all errors are found.
        let mut values: Vec<Option<(Got<Val<'b>>, Loc)>> = Vec::new();
        for (i, e) in slots.iter().enumerate() {
            let value = e.filter(|_| !functions.contains(&i));
            values.push(value.map(|e| (self.expr(e), e.loc)));
        }
        let named: Vec<Named> = named.into_iter().collect::<Got<_>>()?;
        let mut given: Vec<Option<(Val<'b>, Loc)>> = Vec::new();
        for v in values {
            given.push(v.map(|(v, at)| Ok((v?, at))).transpose()?);
        }
        if self.level >= MAX_LEVEL {
            return self.fail(loc, err::unsupported("control flow nests too deeply"));
        }
        match name {
            "cond" => self.cond(&named, given, loc),
            "while_loop" => self.while_loop(&named, given, loc),
            "vmap" => self.vmap(&named, given, loc),
            "custom_vjp" | "checkpoint" => self.custom(name, &named, given, loc),
            _ => self.scan(&named, given, loc),
        }
    }

    fn named(&mut self, form: &str, e: Option<&'m Expr>) -> Got<Named> {
        let Some(e) = e else { return self.unknown() };
        let Some(name) = e.as_name() else {
            let e2 = err::ty(format!("`{form}` takes the name of a function of the file here"));
            return self.fail(e.loc, e2.help("write the expression as a function: `fn f(x: f32[N]) { … }`"));
        };
        let Some(f) = self.module.own(name) else {
            let e2 = err::name(format!("there is no function `{name}` in the file"));
            let own = self.module.names();
            let close = own.iter().map(|n| (registry::distance(n, name), *n)).min();
            let e2 = match close {
                Some((d, close)) if d <= 2 && d < name.len() => e2.help(format!("did you mean `{close}`?")),
                _ if registry::exists(name) => {
                    e2.help(format!("wrap the table's: `fn my_{name}(x: f32[N]) {{ {name}(x) }}`"))
                }
                _ => e2,
            };
            return self.fail(e.loc, e2);
        };
        let decl = self.module.decl(f);
        if let Some(p) = decl.params.iter().find(|p| p.mutable) {
            let e2 = err::alias(format!("`{form}`: `{name}` has a parameter that is `mut`, `{}`", p.name.text))
                .note(p.loc, "the parameter")
                .help("a function that control flow runs writes to none of its parameters; return the new value");
            return self.fail(e.loc, e2);
        }
        Ok(Named { f, loc: e.loc })
    }

    /// The tensors of a value: itself, or those of a tuple. A number becomes a constant of the dtype that the function
    /// has at its place, `first` being the first one's.
    pub(super) fn operands(
        &mut self,
        f: Named,
        first: usize,
        given: Option<(Val<'b>, Loc)>,
        what: &str,
    ) -> Got<Vec<Operand<'b>>> {
        let Some((v, loc)) = given else { return Ok(Vec::new()) };
        let items = match v {
            Val::Tuple(items) | Val::List(items) => items,
            Val::None => Vec::new(),
            v => vec![v],
        };
        let mut out = Vec::new();
        for (i, v) in items.into_iter().enumerate() {
            out.push(match v {
                Val::Tensor(e) => (e, loc),
                Val::Num(n) => {
                    let param = self.module.decl(f.f).params.get(first + i).filter(|p| p.ty.dims.is_empty());
                    (self.constant(n, param.map_or(n.default_dtype(), |p| p.ty.dtype), loc)?, loc)
                }
                v => {
                    let e = err::ty(format!("{what} are tensors, found {}", v.describe()));
                    return self.fail(loc, e);
                }
            });
        }
        Ok(out)
    }

    /// A function as a body for operands of these types, which lie in memory so; and whether its result is a tuple.
    pub(super) fn traced(
        &mut self,
        form: &str,
        f: Named,
        args: &[(Type, Strided, Loc)],
        call: Loc,
    ) -> Got<(Body, bool)> {
        let decl = self.module.decl(f.f);
        let name = &decl.name.text;
        if decl.params.len() != args.len() {
            let (want, got) = (decl.params.len(), args.len());
            let e = err::ty(format!("`{form}`: `{name}` takes {want} arguments, it would get {got}"));
            let types: Vec<String> = args.iter().map(|(t, ..)| graph_type_text(t)).collect();
            let e = e.note(decl.name.loc, "the function");
            let e = if types.is_empty() { e } else { e.help(format!("they are {}", types.join(", "))) };
            return self.fail(f.loc, e);
        }
        for (p, (ty, _, at)) in decl.params.iter().zip(args) {
            if p.ty.dtype != ty.dtype {
                let (want, got) = (type_text(&p.ty), graph_type_text(ty));
                let e = err::dtype(format!("`{form}`: `{name}` takes `{}: {want}`, found {got}", p.name.text));
                return self.fail(*at, e.note(p.loc, "the parameter"));
            }
        }
        if !self.module.sound(f.f) {
            // It is reported where it is.
            return self.unknown();
        }
        let types: Vec<(Type, Loc)> = args.iter().map(|(t, _, at)| (t.clone(), *at)).collect();
        let sizes = self.bind_sizes(decl, &types, call)?;
        let layouts: Vec<Strided> = args.iter().map(|(_, l, _)| l.from_start()).collect();
        let how = function::Call {
            sizes: &sizes,
            layouts: Some(&layouts),
            bound: &[],
            generic: self.generic,
            level: Some(self.level + 1),
        };
        let g = match function::trace(self.module, f.f, &how) {
            Ok(g) => g,
            Err(errors) => {
                for e in errors {
                    self.report(e.note(call, format!("in this call, which runs `{name}`")));
                }
                return self.unknown();
            }
        };
        let (is, want) = (g.phase, self.b.with_graph(|g| g.phase));
        if is != want {
            let e = err::ty(format!("`{name}` is {}, what runs it is {}", is.name(), want.name()));
            return self.fail(f.loc, e.note(decl.name.loc, "the function").help("both have the same `// phase` line"));
        }
        self.inside += g.size();
        if self.b.with_graph(|g| g.len()) + self.inside > MAX_NODES {
            return self.fail(call, err::unsupported("the program is too large with all its bodies"));
        }
        let tuple = g.tuple;
        Ok((Body::new(g), tuple))
    }

    /// Appends the op and gives its first `count` results. Errors show where the functions are.
    pub(super) fn emit_control(&mut self, op: Op, operands: &[Ex<'b>], fns: &[Named], loc: Loc) -> Got<Vec<Ex<'b>>> {
        self.b.set_loc(loc);
        let values = operands.iter().map(|e| e.value()).collect::<crate::Result<Vec<_>>>();
        let node = values.and_then(|values| self.b.emit_all(op, &values));
        let node = node.map_err(|e: Error| {
            let other = |i: &usize| fns[..*i].iter().all(|g| g.f != fns[*i].f);
            (0..fns.len()).filter(other).fold(e, |e, i| {
                let f = &fns[i];
                let name = &self.module.decl(f.f).name;
                e.note(name.loc, format!("`{}`", name.text))
            })
        });
        let node = self.at(loc, node)?;
        Ok(self.b.results(node).into_iter().map(|v| self.b.ex(v)).collect())
    }

    /// How an operand lies in memory when it is handed on whole.
    pub(super) fn whole(&self, (e, loc): &Operand<'b>) -> (Type, Strided, Loc) {
        let layout = e.value().map(|v| self.b.storage(v).1);
        (e.ty(), layout.unwrap_or_else(|_| Strided::contiguous(&e.dims())), *loc)
    }

    fn cond(&mut self, fns: &[Named], mut given: Vec<Option<(Val<'b>, Loc)>>, loc: Loc) -> Got<Val<'b>> {
        let operands = given[3].take();
        let operands = self.operands(fns[0], 0, operands, "the operands of `cond`")?;
        let pred = match given[0].take() {
            Some((Val::Tensor(e), _)) => e,
            Some((Val::Num(n @ Num::Bool(_)), at)) => self.constant(n, crate::DType::Bool, at)?,
            Some((v, at)) => {
                return self.fail(at, err::ty(format!("the predicate of `cond` is a bool, found {}", v.describe())));
            }
            None => return self.unknown(),
        };
        let args: Vec<_> = operands.iter().map(|o| self.whole(o)).collect();
        let (f, g) = (self.traced("cond", fns[0], &args, loc), self.traced("cond", fns[1], &args, loc));
        let ((f, tuple), (g, other)) = (f?, g?);
        if tuple != other {
            let e = err::ty("`cond`: one branch gives a tuple, the other one does not");
            return self.fail(loc, e.note(fns[0].loc, "one").note(fns[1].loc, "the other"));
        }
        let all: Vec<Ex<'b>> = std::iter::once(pred).chain(operands.iter().map(|(e, _)| *e)).collect();
        let out = self.emit_control(Op::Cond(Cond { branches: [f, g] }), &all, fns, loc)?;
        Ok(value(out, tuple))
    }

    fn while_loop(&mut self, fns: &[Named], mut given: Vec<Option<(Val<'b>, Loc)>>, loc: Loc) -> Got<Val<'b>> {
        let (init, consts) = (given[2].take(), given[3].take());
        let init = self.operands(fns[1], 0, init, "the carries of `while_loop`")?;
        let consts = self.operands(fns[1], init.len(), consts, "the constants of `while_loop`")?;
        let mut args: Vec<_> = init.iter().map(carried).collect();
        args.extend(consts.iter().map(|o| self.whole(o)));
        let (test, body) =
            (self.traced("while_loop", fns[0], &args, loc), self.traced("while_loop", fns[1], &args, loc));
        let ((test, _), (body, tuple)) = (test?, body?);
        if body.outputs.len() != init.len() {
            let (name, got, want) = (&body.name, body.outputs.len(), init.len());
            let e = err::ty(format!("`while_loop`: `{name}` gives {got} values for {want} carries"));
            return self.fail(fns[1].loc, e.note(self.module.decl(fns[1].f).name.loc, "the function"));
        }
        let all: Vec<Ex<'b>> = init.iter().chain(&consts).map(|(e, _)| *e).collect();
        let out = self.emit_control(Op::While(While { test, body }), &all, fns, loc)?;
        Ok(value(out, tuple))
    }

    fn scan(&mut self, fns: &[Named], mut given: Vec<Option<(Val<'b>, Loc)>>, loc: Loc) -> Got<Val<'b>> {
        let flag = |t: &mut Self, v: Option<(Val<'b>, Loc)>, name: &str| match v {
            None => Ok(false),
            Some((Val::Num(Num::Bool(v)), _)) => Ok(v),
            Some((v, at)) => t.fail(at, err::ty(format!("`{name}` is true or false, found {}", v.describe()))),
        };
        let (reverse, save) = (given[4].take(), given[7].take());
        let (reverse, save) = (flag(self, reverse, "reverse")?, flag(self, save, "save")?);
        let (init, xs, consts) = (given[1].take(), given[2].take(), given[6].take());
        let init = self.operands(fns[0], 0, init, "the carries of `scan`")?;
        let mut xs = self.operands(fns[0], init.len(), xs, "what `scan` goes along")?;
        let consts = self.operands(fns[0], init.len() + xs.len(), consts, "the constants of `scan`")?;
        let dim = match given[3].take() {
            None => 0,
            Some((Val::Num(Num::Int(d)), at)) => {
                let rank = xs.first().map_or(1, |(e, _)| e.rank());
                self.at(at, axis(d, rank))?
            }
            Some((v, at)) => return self.fail(at, err::ty(format!("`dim` is an integer, found {}", v.describe()))),
        };
        for (x, at) in &mut xs {
            let rank = x.rank();
            if dim >= rank {
                let e = err::shape(format!("`scan` along dimension {dim} of {}", graph_type_text(&x.ty())));
                return self.fail(*at, e);
            }
            if dim > 0 {
                let order = std::iter::once(dim).chain((0..rank).filter(|d| *d != dim)).collect::<Vec<_>>();
                self.b.set_loc(*at);
                *x = x.apply(Op::Permute(Permute(order.into())), &[]);
            }
        }
        let length = match (given[5].take(), xs.first()) {
            (None | Some((Val::None, _)), Some((x, _))) => x.dims()[0],
            (None | Some((Val::None, _)), None) => {
                return self.fail(loc, err::ty("`scan` goes along no tensor").help("say how often: `length=`"));
            }
            (Some((Val::Num(n @ (Num::Int(_) | Num::Size(_))), at)), x) => match n.dim() {
                Some(n) if n.known().is_none_or(|n| n >= 0) && x.is_none_or(|(x, _)| x.dims()[0] == n) => n,
                _ => {
                    let n = n.text();
                    let e = err::shape(format!("`scan`: `length={n}` is not the extent of dimension {dim}"));
                    return self.fail(at, e);
                }
            },
            (Some((v, at)), _) => {
                return self.fail(at, err::ty(format!("`length` is an integer, found {}", v.describe())));
            }
        };
        let mut args: Vec<_> = init.iter().map(carried).collect();
        for x in &xs {
            let (ty, layout, at) = self.whole(x);
            if ty.shape[0] != length {
                let e = err::shape(format!("`scan`: {} has no {length} slices", graph_type_text(&ty)));
                return self.fail(at, e.label(format!("along dimension {dim}")).note(xs[0].1, "the first has"));
            }
            args.push((Type::new(ty.dtype, ty.shape[1..].iter().copied()), layout.first_slice(), at));
        }
        args.extend(consts.iter().map(|o| self.whole(o)));
        let (body, tuple) = self.traced("scan", fns[0], &args, loc)?;
        if body.outputs.len() < init.len() {
            let (name, got, want) = (&body.name, body.outputs.len(), init.len());
            let e = err::ty(format!("`scan`: `{name}` gives {got} values for {want} carries"));
            return self.fail(fns[0].loc, e.note(self.module.decl(fns[0].f).name.loc, "the function"));
        }
        let op = Scan { body, carries: init.len(), xs: xs.len(), length, reverse, save };
        let (carries, last) = (op.carries, op.body.outputs.len());
        let all: Vec<Ex<'b>> = init.iter().chain(&xs).chain(&consts).map(|(e, _)| *e).collect();
        let mut out = self.emit_control(Op::Loop(op), &all, fns, loc)?;
        for y in &mut out[carries..last] {
            // The stacked axis goes to where it was in what it was taken from.
            if dim > 0 && dim < y.rank() {
                let mut order: Vec<usize> = (1..y.rank()).collect();
                order.insert(dim, 0);
                *y = y.apply(Op::Permute(Permute(order.into())), &[]);
            }
        }
        let tuple = tuple || out.len() != 1;
        Ok(value(out, tuple))
    }
}

/// A carry is contiguous from the second step on, so it is taken for that from the first.
fn carried<'b>((e, loc): &Operand<'b>) -> (Type, Strided, Loc) {
    (e.ty(), Strided::contiguous(&e.dims()), *loc)
}

pub(super) fn value<'b>(out: Vec<Ex<'b>>, tuple: bool) -> Val<'b> {
    match out.as_slice() {
        [one] if !tuple => Val::Tensor(*one),
        _ => Val::Tuple(out.into_iter().map(Val::Tensor).collect()),
    }
}

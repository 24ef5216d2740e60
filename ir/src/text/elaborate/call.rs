//! Calls: functions of the file, `grad`, `tensor`, questions about shapes, and the table.

use super::control;
use super::function::{Got, Tracer};
use super::literal;
use super::number::{self, Num};
use super::value::Val;
use crate::DType;
use crate::builder::Ex;
use crate::dim::{Dim, needs_sizes};
use crate::error::{Loc, err};
use crate::ops::composite::primitive;
use crate::ops::registry::{self, Arg, Out};
use crate::text::ast::{BinaryOp, Expr, Name};
use crate::types::axis;

/// Arguments as they are written, with their keywords.
pub(super) type Written<'m> = Vec<(Option<&'m Name>, &'m Expr)>;

/// Arguments with their values.
type Given<'m, 'b> = Vec<(Option<&'m Name>, Val<'b>, Loc)>;

impl<'m, 'b> Tracer<'m, 'b> {
    /// `name(args)`.
    pub(super) fn call(&mut self, name: &'m Name, args: Written<'m>, loc: Loc) -> Got<Val<'b>> {
        let text = name.text.as_str();
        if let (Some(form), None) = (control::form(text), self.module.own(text)) {
            return self.control(form, args, loc);
        }
        if matches!(text, "grad" | "jvp") && self.module.own(text).is_none() {
            return if text == "grad" { self.grad(args, loc) } else { self.jvp(args, loc) };
        }
        let given: Vec<Got<_>> = args.into_iter().map(|(n, e)| Ok((n, self.expr(e)?, e.loc))).collect();
        // A name that nothing has is an error whatever the arguments are.
        if self.module.own(text).is_none() && !registry::exists(text) && !self.is_question(text) {
            let e = registry::unknown(text);
            return self.fail(name.loc, e);
        }
        let given: Given = given.into_iter().collect::<Got<_>>()?;
        if let Some(f) = self.module.own(text) {
            let args = self.bind_params(f, given, loc)?;
            return self.inline(f, args, loc);
        }
        if text == "tensor" {
            return self.tensor_literal(given, loc);
        }
        if let Some(v) = self.question(text, &given, loc)? {
            return Ok(v);
        }
        if self.waits_for_sizes(text, &given) {
            return self.unknown();
        }
        let args = given.into_iter().map(|(n, v, _)| (n.map(|n| n.text.as_str()), v.arg())).collect();
        if self.dump {
            self.b.set_loc(loc);
            let out = primitive::call(self.b, text, args).and_then(|out| self.out(out));
            return self.at(loc, out);
        }
        self.call_table(text, args, loc)
    }

    /// Whether a call can only be judged when the sizes are known. A `view` whose -1 does not divide, `x.view(B, H, -1)`
    /// of `f32[B, D]`: what is left of the elements when the known extents are divided out is a multiple of a size. And
    /// an `expand` of a size to another: it may be 1.
    fn waits_for_sizes(&self, name: &str, given: &Given<'m, 'b>) -> bool {
        let Some(((None, Val::Tensor(x), _), rest)) = given.split_first() else { return false };
        if !self.generic || !matches!(name, "view" | "reshape" | "expand" | "broadcast_to") {
            return false;
        }
        let dims = match rest {
            [(_, Val::List(l) | Val::Tuple(l), _)] => l.iter().collect(),
            all => all.iter().map(|(_, v, _)| v).collect::<Vec<_>>(),
        };
        if x.ty().extents().is_err() {
            return false;
        }
        let int = |v: &&Val| if let Val::Num(Num::Int(v)) = v { Some(*v) } else { None };
        let Some(dims) = dims.iter().map(int).collect::<Option<Vec<i64>>>() else { return false };
        if matches!(name, "view" | "reshape") {
            let known = dims.iter().filter(|d| **d > 0).try_fold(1i64, |n, d| n.checked_mul(*d)).unwrap_or(1);
            let (have, known) = (x.numel(), known as usize);
            return dims.contains(&-1) && have % known != 0 && self.is_symbolic(have / gcd(have, known));
        }
        let shape = x.shape();
        let pairs = shape.iter().rev().zip(dims.iter().rev());
        let other = |(have, want): (&usize, &i64)| *want >= 0 && *have != 1 && *have as i64 != *want;
        let unlike: Vec<_> = pairs.filter(|(have, want)| other((have, want))).collect();
        !unlike.is_empty()
            && unlike.iter().all(|(have, want)| self.is_symbolic(**have) || self.is_symbolic(**want as usize))
    }

    /// Calls a function of the table.
    pub(super) fn call_table(&mut self, name: &str, args: Vec<(Option<&str>, Arg<'b>)>, loc: Loc) -> Got<Val<'b>> {
        self.b.set_loc(loc);
        let v = self.try_table(name, args);
        self.at(loc, v)
    }

    /// Calls a function of the table at the builder's place.
    pub(super) fn try_table(&mut self, name: &str, args: Vec<(Option<&str>, Arg<'b>)>) -> crate::Result<Val<'b>> {
        let out = registry::call(self.b, name, args)?;
        self.out(out)
    }

    fn out(&self, out: Out<'b>) -> crate::Result<Val<'b>> {
        let tensor = |e: Ex<'b>| {
            let v = e.value()?;
            let ty = self.b.ty(v);
            // A function that gives a number back unchanged: make a tensor of it.
            let v = if ty.weak { self.b.cast(v, DType::default_of(ty.dtype.category()))? } else { v };
            Ok(Val::Tensor(self.b.ex(v)))
        };
        match out {
            Out::One(e) => tensor(e),
            Out::Many(all) => all.into_iter().map(tensor).collect::<crate::Result<_>>().map(Val::Tuple),
        }
    }

    /// The arguments in the order of the parameters of a function of the file.
    fn bind_params(&mut self, f: super::FnId, given: Given<'m, 'b>, loc: Loc) -> Got<Vec<(Val<'b>, Loc)>> {
        let decl = self.module.decl(f);
        let (name, n) = (&decl.name.text, decl.params.len());
        let mut bound: Vec<Option<(Val<'b>, Loc)>> = vec![None; n];
        let count = given.len();
        for (i, (keyword, v, at)) in given.into_iter().enumerate() {
            let slot = match keyword {
                None => i,
                Some(k) => match decl.params.iter().position(|p| p.name.text == k.text) {
                    Some(i) => i,
                    None => {
                        let e = err::name(format!("`{name}` has no parameter `{}`", k.text));
                        return self.fail(k.loc, e.note(decl.name.loc, "the function"));
                    }
                },
            };
            match bound.get_mut(slot) {
                None => {
                    let e = err::ty(format!("`{name}` takes {n} arguments, got {count}"));
                    return self.fail(at, e.note(decl.name.loc, "the function"));
                }
                Some(Some(_)) => {
                    let e = err::ty(format!("`{name}`: argument `{}` is given twice", decl.params[slot].name.text));
                    return self.fail(at, e);
                }
                Some(free) => *free = Some((v, at)),
            }
        }
        if let Some(i) = bound.iter().position(Option::is_none) {
            let p = &decl.params[i];
            let e = err::ty(format!("`{name}`: argument `{}` is missing", p.name.text)).note(p.loc, "the parameter");
            return self.fail(loc, e);
        }
        Ok(bound.into_iter().flatten().collect())
    }

    /// `tensor(data, dtype=None)`.
    fn tensor_literal(&mut self, given: Given<'m, 'b>, loc: Loc) -> Got<Val<'b>> {
        let (mut data, mut dtype) = (None, None);
        for (i, (keyword, v, at)) in given.into_iter().enumerate() {
            match (keyword.map(|k| k.text.as_str()), i, v) {
                (None | Some("data"), 0, v) => data = Some(v),
                (Some("dtype"), _, Val::DType(d)) => dtype = Some(d),
                (Some("dtype"), _, Val::None) => {}
                (Some("dtype"), _, v) => {
                    return self.fail(at, err::ty(format!("`dtype` is a dtype, found {}", v.describe())));
                }
                (Some(k), _, _) => {
                    return self.fail(
                        at,
                        err::name(format!("`tensor` has no argument `{k}`")).help("tensor(data, dtype=None)"),
                    );
                }
                (None, _, _) => {
                    return self
                        .fail(at, err::ty("`tensor` takes one list of numbers").help("tensor([1, 2], dtype=f32)"));
                }
            }
        }
        let Some(data) = data else {
            return self.fail(loc, err::ty("`tensor` takes a list of numbers, or one"));
        };
        let op = literal::tensor(&data, dtype);
        let op = self.at(loc, op)?;
        self.b.set_loc(loc);
        let v = self.b.emit(op, &[]);
        Ok(Val::Tensor(self.b.ex(self.at(loc, v)?)))
    }

    /// Whether a name is answered here and not by the table.
    fn is_question(&self, name: &str) -> bool {
        matches!(name, "tensor" | "size" | "dim" | "ndimension" | "numel")
    }

    /// Functions whose result is known while tracing: questions about shapes, and integer arithmetic.
    fn question(&mut self, name: &str, given: &Given<'m, 'b>, loc: Loc) -> Got<Option<Val<'b>>> {
        let int = |v: Dim| Val::Num(Num::of(v));
        let dim = |v: &Val<'b>| if let Val::Num(n) = v { n.dim() } else { None };
        Ok(Some(match (name, given.as_slice()) {
            ("size", [(None, Val::Tensor(x), _)]) => Val::List(x.dims().iter().map(|d| int(*d)).collect()),
            ("size", [(None, Val::Tensor(x), _), (_, Val::Num(Num::Int(d)), at)]) => {
                let d = axis(*d, x.rank())
                    .and_then(|d| x.dims().get(d).copied().ok_or_else(|| err::index("a 0-d tensor has no dimension")));
                int(self.at(*at, d)?)
            }
            ("dim" | "ndimension", [(None, Val::Tensor(x), _)]) => int(x.rank().into()),
            ("numel", [(None, Val::Tensor(x), _)]) => int(x.count()),
            ("size" | "dim" | "ndimension" | "numel", _) => {
                let e =
                    err::ty(format!("`{name}` is asked of one tensor")).help("x.size(), x.size(0), x.dim(), x.numel()");
                return self.fail(loc, e);
            }
            ("floor_divide", [(None, Val::Num(Num::Int(a)), _), (None, Val::Num(Num::Int(b)), _)]) => {
                let symbolic = |n: i64| usize::try_from(n).is_ok_and(|n| self.is_symbolic(n));
                if symbolic(*a) && symbolic(*b) && a % b != 0 {
                    // It is to divide at the call: `x.view(B, H, floor_divide(D, H))`.
                    return self.unknown();
                }
                let r = number::binary(BinaryOp::Rem, Num::Int(*a), Num::Int(*b));
                let Num::Int(r) = self.at(loc, r)? else { return Ok(None) };
                Val::Num(Num::Int((i128::from(*a) - i128::from(r)).div_euclid(i128::from(*b)) as i64))
            }
            ("floor_divide", [(None, a, _), (None, b, _)]) if dim(a).is_some() && dim(b).is_some() => {
                let (a, b) = (dim(a).unwrap_or(Dim::ZERO), dim(b).unwrap_or(Dim::ONE));
                let quotient = a.exact_div(b).ok_or_else(|| needs_sizes(&a.to_string()));
                int(self.at(loc, quotient)?)
            }
            ("maximum", [(None, Val::Num(Num::Int(a)), _), (None, Val::Num(Num::Int(b)), _)]) => {
                Val::Num(Num::Int(*a.max(b)))
            }
            ("minimum", [(None, Val::Num(Num::Int(a)), _), (None, Val::Num(Num::Int(b)), _)]) => {
                Val::Num(Num::Int(*a.min(b)))
            }
            _ => return Ok(None),
        }))
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

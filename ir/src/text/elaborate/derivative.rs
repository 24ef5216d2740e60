//! Derivatives in programs: `grad(y, x)` and `jvp(y, x, t)`, which append the ops that autodiff works out.

use super::call::Written;
use super::function::{Got, Reported, Tracer};
use super::number::Num;
use super::value::Val;
use crate::error::{Loc, err};
use crate::graph::{NodeId, Value};
use crate::ops::Op;
use crate::ops::effect::{Grad, Jvp};
use crate::text::ast::{Expr, ExprKind};

/// The items of a tuple, and whether it is one; else the expression itself.
fn names(e: &Expr) -> (bool, Vec<&Expr>) {
    match &e.kind {
        ExprKind::Tuple(items) | ExprKind::List(items) => (true, items.iter().collect()),
        _ => (false, vec![e]),
    }
}

impl<'m, 'b> Tracer<'m, 'b> {
    /// `grad(y, x, seed=…, allow_unused=…, strong_zero=…)`: see [`Grad`].
    pub(super) fn grad(&mut self, args: Written<'m>, loc: Loc) -> Got<Val<'b>> {
        let (mut positional, mut seed, mut allow_unused, mut strong_zero) = (Vec::new(), None, None, None);
        for (keyword, e) in args {
            match keyword.map(|k| k.text.as_str()) {
                None => positional.push(e),
                Some("seed") => seed = Some(e),
                Some("allow_unused") => allow_unused = Some(e),
                Some("strong_zero") => strong_zero = Some(e),
                Some(k) => {
                    let e2 = err::name(format!("`grad` has no argument `{k}`"));
                    return self.fail(
                        keyword.map_or(loc, |k| k.loc),
                        e2.help("grad(y, x, seed=…, allow_unused=…, strong_zero=…)"),
                    );
                }
            }
        }
        let [y, wrt] = positional[..] else {
            let e = err::ty(format!("`grad` takes 2 arguments, got {}", positional.len()));
            return self.fail(loc, e.help("grad(y, x) or grad(y, (x, w)), and seed=… for a `y` that is no scalar"));
        };
        let (y_loc, y) = (y.loc, self.expr(y));
        let (many, names) = names(wrt);
        let x: Vec<Got<_>> = names.into_iter().map(|e| self.differentiated(e)).collect();
        let seed = seed.map(|e| Ok((self.expr(e)?, e.loc))).transpose();
        let allow_unused = self.flag("allow_unused", allow_unused)?;
        let strong_zero = self.flag("strong_zero", strong_zero)?;
        let y = match y? {
            Val::Tensor(y) => y,
            Val::Num(n) => {
                let e = err::grad(format!("`grad` of {}, which is constant", n.describe()));
                return self.fail(y_loc, e);
            }
            v => return self.fail(y_loc, err::ty(format!("`grad` of a tensor, found {}", v.describe()))),
        };
        let mut operands = vec![self.at(y_loc, y.value())?];
        let seeded = match seed? {
            None => false,
            Some((Val::Tensor(s), at)) => {
                operands.push(self.at(at, s.value())?);
                true
            }
            Some((Val::Num(n), at)) => {
                let s = self.at(at, n.typed(y.dtype()))?;
                self.b.set_loc(at);
                let full = self.b.full(s, &y.dims()).value();
                operands.push(self.at(at, full)?);
                true
            }
            Some((v, at)) => return self.fail(at, err::ty(format!("the seed is a tensor, found {}", v.describe()))),
        };
        for x in x {
            operands.push(x?);
        }
        self.b.set_loc(loc);
        let node = self.b.emit_all(Op::Grad(Grad { seeded, allow_unused, strong_zero }), &operands);
        let node = self.at(loc, node)?;
        Ok(self.given(node, many))
    }

    /// The results of a node: a tuple if many were asked for.
    fn given(&self, node: NodeId, many: bool) -> Val<'b> {
        let mut all = self.b.results(node).into_iter().map(|v| Val::Tensor(self.b.ex(v)));
        match (many, all.next()) {
            (false, Some(one)) => one,
            (_, first) => Val::Tuple(first.into_iter().chain(all).collect()),
        }
    }

    /// An argument that is true or false; false if it is not given.
    fn flag(&mut self, name: &str, given: Option<&'m Expr>) -> Got<bool> {
        match given.map(|e| Ok::<_, Reported>((self.expr(e)?, e.loc))).transpose()? {
            None => Ok(false),
            Some((Val::Num(Num::Bool(v)), _)) => Ok(v),
            Some((v, at)) => self.fail(at, err::ty(format!("`{name}` is true or false, found {}", v.describe()))),
        }
    }

    /// A name that a gradient is asked for.
    fn differentiated(&mut self, e: &'m Expr) -> Got<crate::Value> {
        if e.as_name().is_none() {
            let e2 = err::grad("a gradient is with respect to a name or a tuple of names");
            return self.fail(e.loc, e2.help("give the value a name with `let` before it is used"));
        }
        match self.expr(e)? {
            Val::Tensor(x) => self.at(e.loc, x.value()),
            v => {
                let e2 = err::grad(format!("a gradient is with respect to tensors, found {}", v.describe()));
                self.fail(e.loc, e2)
            }
        }
    }

    /// `jvp(y, x, t)`: see [`Jvp`]. Each of them is a tensor or a tuple, `x` of names.
    pub(super) fn jvp(&mut self, args: Written<'m>, loc: Loc) -> Got<Val<'b>> {
        if let Some(k) = args.iter().find_map(|(keyword, _)| *keyword) {
            let e = err::name(format!("`jvp` has no argument `{}`", k.text));
            return self.fail(k.loc, e.help("jvp(y, x, t)"));
        }
        let [(_, y), (_, x), (_, t)] = args[..] else {
            let e = err::ty(format!("`jvp` takes 3 arguments, got {}", args.len()));
            return self.fail(loc, e.help("jvp(y, x, t), or jvp(y, (x, w), (t, u)): how y moves when x moves by t"));
        };
        let values = self.tensors(y, "`jvp` is of tensors");
        let x: Vec<Got<Value>> = names(x).1.into_iter().map(|e| self.differentiated(e)).collect();
        let (_, t) = self.tensors(t, "a tangent is a tensor")?;
        let (many, y) = values?;
        let (results, x) = (y.len(), x.into_iter().collect::<Got<Vec<Value>>>()?);
        if x.len() != t.len() {
            let e =
                err::ty(format!("`jvp` with respect to {} values takes as many tangents, got {}", x.len(), t.len()));
            return self.fail(loc, e);
        }
        let operands: Vec<Value> = y.into_iter().chain(x).chain(t).collect();
        self.b.set_loc(loc);
        let node = self.b.emit_all(Op::Jvp(Jvp { results }), &operands);
        let node = self.at(loc, node)?;
        Ok(self.given(node, many))
    }

    /// The tensors of a value, and whether it is a tuple of them.
    fn tensors(&mut self, e: &'m Expr, what: &str) -> Got<(bool, Vec<Value>)> {
        let (many, items) = match self.expr(e)? {
            Val::Tuple(items) | Val::List(items) => (true, items),
            v => (false, vec![v]),
        };
        let mut out = Vec::new();
        for v in items {
            match v {
                Val::Tensor(t) => out.push(self.at(e.loc, t.value())?),
                v => return self.fail(e.loc, err::ty(format!("{what}, found {}", v.describe()))),
            }
        }
        Ok((many, out))
    }
}

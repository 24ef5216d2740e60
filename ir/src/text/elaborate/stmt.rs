//! Statements: names, writes, and expressions for their effect.

use super::function::{Got, Reported, Tracer};
use super::value::Val;
use crate::error::{Kind, err};
use crate::ops::composite::index;
use crate::ops::registry::{self, Arg};
use crate::text::ast::{AssignOp, Expr, ExprKind, Pattern, Stmt, StmtKind, Types};

impl<'m, 'b> Tracer<'m, 'b> {
    /// Runs a statement. If it fails, its names are poisoned.
    pub(super) fn statement(&mut self, s: &'m Stmt) {
        match &s.kind {
            StmtKind::Let { pattern, ty, value } => {
                let v = self.expr(value).and_then(|v| self.annotated(v, ty.as_ref(), value));
                match v.and_then(|v| self.taken_apart(pattern, v, value)) {
                    Ok(values) => {
                        for (name, v) in pattern.names.iter().zip(values) {
                            self.bind(&name.text, Some(v));
                        }
                    }
                    Err(Reported) => pattern.names.iter().for_each(|name| self.bind(&name.text, None)),
                }
            }
            StmtKind::Assign { place, op, value } => {
                let v = self.expr(value);
                // The error of a write has been kept, and nothing has a name for it.
                let _ = self.assign(place, *op, v, s);
            }
            StmtKind::Expr(e) => {
                let _ = self.expr(e);
            }
        }
    }

    fn bind(&mut self, name: &'m str, v: Option<Val<'b>>) {
        if name != "_" {
            self.frame_mut().names.insert(name, v);
        }
    }

    /// The value with the type written behind the names.
    fn annotated(&mut self, v: Val<'b>, ty: Option<&'m Types>, value: &'m Expr) -> Got<Val<'b>> {
        let Some(types) = ty else { return Ok(v) };
        match (v, types.tuple) {
            (v, false) => self.typed(v, &types.items[0], value.loc, "the type written"),
            (Val::Tuple(items) | Val::List(items), true) if items.len() == types.items.len() => {
                let of = |(v, ty)| self.typed(v, ty, value.loc, "the type written");
                let items: Vec<Got<Val>> = items.into_iter().zip(&types.items).map(of).collect();
                items.into_iter().collect::<Got<_>>().map(Val::Tuple)
            }
            (v, true) => {
                let n = types.items.len();
                let e = err::ty(format!("expected a tuple of {n}, found {}", v.describe()));
                self.fail(value.loc, e.note(types.loc, "the types written"))
            }
        }
    }

    fn taken_apart(&mut self, pattern: &'m Pattern, v: Val<'b>, value: &'m Expr) -> Got<Vec<Val<'b>>> {
        if !pattern.tuple {
            return match v {
                Val::Tuple(items) if items.is_empty() => {
                    self.fail(value.loc, err::ty("this gives nothing that could have a name"))
                }
                v => Ok(vec![v]),
            };
        }
        let n = pattern.names.len();
        match v {
            Val::Tuple(items) | Val::List(items) if items.len() == n => Ok(items),
            v => {
                let what = if n == 1 { "1 name".into() } else { format!("{n} names") };
                let e = err::ty(format!("{} for {what}", v.describe())).note(pattern.loc, "the names");
                self.fail(value.loc, e)
            }
        }
    }

    /// `place op v`: writes through the views that `place` names.
    fn assign(&mut self, place: &'m Expr, op: AssignOp, v: Got<Val<'b>>, s: &'m Stmt) -> Got<()> {
        let (name, function) = match op {
            AssignOp::Set => ("=", "copy_"),
            AssignOp::Add => ("+=", "add_"),
            AssignOp::Sub => ("-=", "sub_"),
            AssignOp::Mul => ("*=", "mul_"),
            AssignOp::Div => ("/=", "div_"),
        };
        let root = self.place_root(place);
        if let (Ok(Val::Tensor(_)), ExprKind::Index { base, indices }) = (&root, &place.kind) {
            let x = self.expr(base).and_then(|x| self.tensor(x, base.loc, "is indexed"));
            let items = self.index_items(indices);
            let (x, items, v) = (x?, items?, v?);
            self.check_memory(place, base, x)?;
            if op != AssignOp::Set && !self.is_view_index(&items) {
                // No view has these elements: read them, compute, write them back.
                self.b.set_loc(s.loc);
                let old = index::index(self.b, x, &items);
                let old = self.at(place.loc, old)?;
                let copy = self.call_table("clone", vec![(None, Arg::Tensor(old))], s.loc)?;
                let Val::Tensor(new) = self.call_table(function, vec![(None, copy.arg()), (None, v.arg())], s.loc)?
                else {
                    return Ok(());
                };
                let r = index::set_index(self.b, x, &items, new);
                return self.at(s.loc, r);
            }
            self.b.set_loc(s.loc);
            if op == AssignOp::Set {
                let value = self.operand(v, name, s)?;
                let r = index::set_index(self.b, x, &items, value);
                return self.write_done(r, s);
            }
            let view = index::index(self.b, x, &items);
            let view = self.at(place.loc, view)?;
            return self.in_place(view, function, v, s);
        }
        let x = self.expr(place).and_then(|x| match x {
            Val::Tensor(e) => Ok(e),
            Val::Num(_) => {
                let n = x.describe();
                let e = err::ty(format!("`{name}` writes into memory, and this is {n}")).label("a plain number");
                let e = match place.as_name() {
                    Some(n) => e.help(format!("`let {n}: f32 = …;` makes a tensor of it")),
                    None => e,
                };
                self.fail(place.loc, e)
            }
            v => self.fail(place.loc, err::ty(format!("`{name}` writes into a tensor, and this is {}", v.describe()))),
        });
        let (x, v) = (x?, v?);
        root?;
        self.check_memory(place, place, x)?;
        if op == AssignOp::Set {
            self.b.set_loc(s.loc);
            let value = self.operand(v, name, s)?;
            let r = registry::write(self.b, name, x, value);
            return self.write_done(r, s);
        }
        self.in_place(x, function, v, s)
    }

    fn in_place(&mut self, x: crate::Ex<'b>, function: &'static str, v: Val<'b>, s: &'m Stmt) -> Got<()> {
        self.call_table(function, vec![(None, Arg::Tensor(x)), (None, v.arg())], s.loc).map(|_| ())
    }

    fn write_done(&mut self, r: crate::Result<()>, s: &'m Stmt) -> Got<()> {
        let kept = self.b.check();
        self.at(s.loc, r.and(kept))
    }

    /// The value of a write as a tensor or plain number.
    fn operand(&mut self, v: Val<'b>, name: &str, s: &'m Stmt) -> Got<crate::Ex<'b>> {
        match v {
            Val::Tensor(e) => Ok(e),
            Val::Num(n) => Ok(super::value::plain(self.b, n)),
            v => {
                let e = err::ty(format!("`{name}` writes a tensor or a number, found {}", v.describe()));
                self.fail(s.loc, e)
            }
        }
    }

    /// The variable that a place is a view of.
    fn place_root(&mut self, place: &'m Expr) -> Got<Val<'b>> {
        let mut e = place;
        loop {
            e = match &e.kind {
                ExprKind::Index { base, .. } | ExprKind::Member { base, .. } => base,
                ExprKind::Method { receiver, .. } => receiver,
                _ => return self.expr(e),
            };
        }
    }

    /// Refuses a write into memory that is not the variable's: it would have no effect.
    fn check_memory(&mut self, place: &'m Expr, written: &'m Expr, x: crate::Ex<'b>) -> Got<()> {
        let mut e = written;
        loop {
            e = match &e.kind {
                ExprKind::Index { base, .. } | ExprKind::Member { base, .. } => base,
                ExprKind::Method { receiver, .. } => receiver,
                ExprKind::Name(name) => {
                    let Some(Some(Val::Tensor(root))) = self.frame().names.get(name.as_str()) else { return Ok(()) };
                    let (Ok(x), Ok(root)) = (x.value(), root.value()) else { return Ok(()) };
                    if self.b.storage(x).0 == self.b.storage(root).0 {
                        return Ok(());
                    }
                    let e = crate::Error::new(Kind::Alias, format!("the write goes to a copy, not to `{name}`"));
                    let e = e.label("no view of it").help("name the copy with `let` if that is meant");
                    return self.fail(place.loc, e);
                }
                _ => return Ok(()),
            };
        }
    }
}

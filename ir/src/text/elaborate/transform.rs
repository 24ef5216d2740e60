//! `vmap`, `custom_vjp` and `checkpoint`: calls that hand functions of the file to ops, as control flow does.

use super::control::{Named, value};
use super::function::{Got, Tracer};
use super::value::Val;
use crate::builder::Ex;
use crate::error::Loc;
use crate::layout::Strided;
use crate::ops::Op;
use crate::ops::control::{Custom, Vmap};
use crate::types::Type;

impl<'m, 'b> Tracer<'m, 'b> {
    pub(super) fn vmap(&mut self, fns: &[Named], mut given: Vec<Option<(Val<'b>, Loc)>>, loc: Loc) -> Got<Val<'b>> {
        let (xs, consts) = (given[1].take(), given[2].take());
        let xs = self.operands(fns[0], 0, xs, "what `vmap` goes along")?;
        let consts = self.operands(fns[0], xs.len(), consts, "the constants of `vmap`")?;
        let types: Vec<Type> = xs.iter().map(|(e, _)| e.ty()).collect();
        let mut args = Vec::new();
        for x in &xs {
            let (ty, layout, at) = self.whole(x);
            // Each must have a first dimension before its elements have a type.
            let fits = Vmap::size(&types.iter().collect::<Vec<_>>());
            self.at(at, fits)?;
            args.push((Type::new(ty.dtype, ty.shape[1..].iter().copied()), layout.first_slice(), at));
        }
        args.extend(consts.iter().map(|o| self.whole(o)));
        let (body, tuple) = self.traced("vmap", fns[0], &args, loc)?;
        let all: Vec<Ex<'b>> = xs.iter().chain(&consts).map(|(e, _)| *e).collect();
        let out = self.emit_control(Op::Vmap(Vmap { body, xs: xs.len() }), &all, fns, loc)?;
        Ok(value(out, tuple))
    }

    pub(super) fn custom(
        &mut self,
        name: &str,
        fns: &[Named],
        mut given: Vec<Option<(Val<'b>, Loc)>>,
        loc: Loc,
    ) -> Got<Val<'b>> {
        let (args, consts) = (given[fns.len()].take(), given[fns.len() + 1].take());
        let args = self.operands(fns[0], 0, args, "the arguments")?;
        let consts = self.operands(fns[0], args.len(), consts, "the constants")?;
        let first: Vec<_> = args.iter().map(|o| self.whole(o)).collect();
        let last: Vec<_> = consts.iter().map(|o| self.whole(o)).collect();
        let all: Vec<_> = first.iter().chain(&last).cloned().collect();
        let (forward, tuple) = self.traced(name, fns[0], &all, loc)?;
        let backward = match fns.get(1) {
            None => None,
            Some(rule) => {
                let y = forward.result_types();
                let own = |t: &Type| (t.clone(), Strided::contiguous(&t.shape), loc);
                let dy = y.iter().filter(|t| t.dtype.is_float()).map(own);
                let all: Vec<_> = first.into_iter().chain(y.iter().map(own)).chain(dy).chain(last).collect();
                Some(self.traced(name, *rule, &all, loc)?.0)
            }
        };
        let operands: Vec<Ex<'b>> = args.iter().chain(&consts).map(|(e, _)| *e).collect();
        let op = Op::Custom(Custom { forward, backward, args: args.len() });
        let out = self.emit_control(op, &operands, fns, loc)?;
        Ok(value(out, tuple))
    }
}

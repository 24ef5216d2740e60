//! Arguments that are views of other arguments: `y=x[1:]` on a command line.

use super::{Module, Sizes};
use crate::error::{Error, Loc, err};
use crate::graph::Graph;
use crate::layout::{Layout, Strided};
use crate::ops::Op;
use crate::text::parse_expr;
use crate::types::Type;

/// A parameter that is a view of another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Which parameter.
    pub param: usize,
    /// The parameter whose memory it shares; it is bound to none itself.
    pub of: usize,
    /// The views of that one, first applied first.
    pub views: Vec<Op>,
}

/// What a view expression of an argument is.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewOf {
    /// Which argument.
    pub of: usize,
    /// The views of it, first applied first.
    pub views: Vec<Op>,
    /// Its type.
    pub ty: Type,
    /// Where it lies in the argument's storage.
    pub layout: Layout,
}

/// Works out a view expression, such as `x[1:]` or `x.T`, of one of these arguments: name, type and place in memory.
///
/// # Errors
/// What is wrong with the expression, with places in its text; `alias` if it does not share an argument's memory.
pub fn view_of(expr: &str, args: &[(&str, Type, Layout)]) -> Result<ViewOf, Vec<Error>> {
    parse_expr(expr)?;
    let types: Vec<String> = args.iter().map(|(n, t, _)| format!("{n}: {t}")).collect();
    // A name that no expression calls.
    let before = format!("fn view_expression_of_arguments({}) {{ ", types.join(", ").replace("[]", ""));
    // Errors have places in the text of that function.
    let moved = |e: &Error| {
        let d = e.diagnostic();
        let within = |at: u32| (at as usize).saturating_sub(before.len()).min(expr.len());
        let loc = match d.loc {
            Loc::Text { start, end } => Loc::text(within(start)..within(end)),
            loc => loc,
        };
        let out = Error::new(d.kind, d.message.clone()).at(loc).label(d.label.clone());
        d.help.iter().fold(out, |e, h| e.help(h.clone()))
    };
    let all_moved = |errors: Vec<Error>| errors.iter().map(moved).collect::<Vec<_>>();
    let m = Module::parse("view", format!("{before}{expr}\n}}")).map_err(all_moved)?;
    let layouts: Vec<Layout> = args.iter().map(|(_, _, l)| l.clone()).collect();
    let f = m.main().map_err(|e| vec![e])?;
    let g = m
        .trace(f, &Sizes::default(), Some(&layouts.iter().map(Strided::from).collect::<Vec<_>>()))
        .map_err(all_moved)?;
    view(&g, &layouts).ok_or_else(|| vec![err::alias(format!("`{expr}` is no view of an argument"))])
}

fn view(g: &Graph, layouts: &[Layout]) -> Option<ViewOf> {
    let [out] = g.outputs.as_slice() else { return None };
    let mut at = *out;
    let mut views = Vec::new();
    while g.op(at.node).is_view() {
        views.push(g.op(at.node).clone());
        at = *g.operands(at.node).first()?;
    }
    views.reverse();
    let Op::Input(of) = g.op(at.node) else { return None };
    let of = *of as usize;
    let layout = views.iter().try_fold(layouts.get(of)?.clone(), |l, op| op.layout(&l))?;
    Some(ViewOf { of, views, ty: g.ty(*out).clone(), layout })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    fn args() -> [(&'static str, Type, Layout); 2] {
        let (x, n) = (Type::new(DType::F32, [4, 3]), Type::new(DType::I64, [0usize; 0]));
        let (at_x, at_n) = (Layout::contiguous(&[4, 3]), Layout::contiguous(&[]));
        [("x", x, at_x), ("n", n, at_n)]
    }

    #[test]
    fn a_view_is_a_place_in_an_arguments_memory() {
        let v = view_of("x[1:, 2]", &args()).unwrap();
        assert_eq!((v.of, v.ty, v.layout.offset, v.layout.strides[0]), (0, Type::new(DType::F32, [3]), 5, 3));
        assert_eq!(
            view_of("n", &args()).unwrap(),
            ViewOf { of: 1, views: vec![], ty: args()[1].1.clone(), layout: args()[1].2.clone() }
        );
    }

    #[test]
    fn what_is_no_view_is_refused() {
        let message = |e: &str| view_of(e, &args()).unwrap_err()[0].diagnostic().clone();
        assert_eq!(message("x + 1").message, "`x + 1` is no view of an argument");
        assert_eq!(message("1").message, "`1` is no view of an argument");
        assert_eq!(message("x[9]").loc, Loc::text(0..4));
        assert_eq!(message("y").message, "there is no variable `y`");
        assert!(view_of("x }; fn g() { 1", &args()).is_err());
    }
}

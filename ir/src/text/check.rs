//! What can be checked on the tree alone: names defined twice, and sizes that nothing binds.
//!
//! What needs to know an op or a value's type (unknown names, writes to parameters that are not `mut`) is not checked
//! here.

use std::collections::HashMap;

use super::ast::{Dim, DimKind, Fn, Name, Program, StmtKind, Type};
use crate::error::{Error, Loc, err};

/// Reports functions with the same name.
pub(super) fn functions(program: &Program, errors: &mut Vec<Error>) {
    twice("function", program.fns.iter().map(|f| &f.name), errors);
}

/// Reports names that one parameter list or pattern defines twice, and sizes in types that no parameter binds.
pub(super) fn function(f: &Fn, errors: &mut Vec<Error>) {
    twice("parameter", f.params.iter().map(|p| &p.name), errors);
    let mut bound: HashMap<&str, Loc> = HashMap::new();
    for dim in f.params.iter().flat_map(|p| &p.ty.dims) {
        if let DimKind::Size(size) = &dim.kind {
            bound.entry(size).or_insert(dim.loc);
        }
    }
    for p in &f.params {
        if let Some(&size) = bound.get(p.name.text.as_str()) {
            let e = err::name(format!("`{}` is a parameter and a size", p.name.text)).at(p.name.loc);
            errors.push(e.note(size, "the size").help("give one of them another name"));
        }
        sizes(&p.ty, &bound, errors);
    }
    f.result.iter().flat_map(|r| &r.items).for_each(|t| sizes(t, &bound, errors));
    for stmt in &f.body.stmts {
        if let StmtKind::Let { pattern, ty, .. } = &stmt.kind {
            // `_` names what is not used, so it may stand more than once.
            twice("name", pattern.names.iter().filter(|n| n.text != "_"), errors);
            ty.iter().flat_map(|t| &t.items).for_each(|t| sizes(t, &bound, errors));
        }
    }
}

fn twice<'a>(what: &str, names: impl Iterator<Item = &'a Name>, errors: &mut Vec<Error>) {
    let mut first: HashMap<&str, Loc> = HashMap::new();
    for name in names {
        if let Some(&before) = first.get(name.text.as_str()) {
            let e = err::name(format!("the {what} `{}` is defined twice", name.text)).at(name.loc);
            errors.push(e.label("again here").note(before, "first defined here"));
        } else {
            first.insert(&name.text, name.loc);
        }
    }
}

fn sizes(ty: &Type, bound: &HashMap<&str, Loc>, errors: &mut Vec<Error>) {
    fn walk(dim: &Dim, bound: &HashMap<&str, Loc>, errors: &mut Vec<Error>) {
        match &dim.kind {
            DimKind::Int(_) => {}
            DimKind::Size(size) => {
                if !bound.contains_key(size.as_str()) {
                    let e = err::name(format!("nothing gives the size `{size}` a value")).at(dim.loc);
                    errors.push(e.help(format!("a size stands alone in the type of some parameter: `f32[{size}]`")));
                }
            }
            DimKind::Bin(_, left, right) => {
                walk(left, bound, errors);
                walk(right, bound, errors);
            }
        }
    }
    ty.dims.iter().for_each(|d| walk(d, bound, errors));
}

#[cfg(test)]
mod tests {
    use crate::error::Kind;
    use crate::text::parse;

    fn messages(src: &str) -> Vec<String> {
        let errors = parse(src).expect_err(src);
        assert!(errors.iter().all(|e| e.kind() == Kind::Name), "{errors:?}");
        errors.iter().map(|e| e.diagnostic().message.clone()).collect()
    }

    #[test]
    fn names_are_defined_once() {
        assert_eq!(messages("fn f() { 1 } fn f() { 2 }"), ["the function `f` is defined twice"]);
        assert_eq!(messages("fn f(x: f32, x: i64) { x }"), ["the parameter `x` is defined twice"]);
        assert_eq!(messages("fn f(x: f32) { let (a, a) = g(x); a }"), ["the name `a` is defined twice"]);
        assert!(parse("fn f(x: f32) { let (_, _) = g(x); let x = x; x }").is_ok(), "shadowing and `_` are fine");
    }

    #[test]
    fn every_size_stands_alone_in_some_parameter() {
        assert_eq!(messages("fn f(x: f32[B + 1]) -> f32[N] { x }").len(), 2);
        assert_eq!(messages("fn f(x: f32) { let y: f32[N] = x; y }"), ["nothing gives the size `N` a value"]);
        assert_eq!(messages("fn f(B: i64, x: f32[B]) { x }"), ["`B` is a parameter and a size"]);
        assert!(parse("fn f(y: f32[2 * B], x: f32[B, 3]) -> f32[B * 3] { x }").is_ok());
    }
}

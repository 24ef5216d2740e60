//! Loop nests as text. What is printed parses back to the same loop nest; the grammar is in [`super::parse`].

use super::{Access, Affine, Coef, Combine, Extent, Loop, LoopKind, LoopNest, Stmt};
use std::fmt;
use tensorc_ir::scalar::V;

impl fmt::Display for LoopNest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("kernel(")?;
        for (i, b) in self.bufs.iter().enumerate() {
            let sep = if i > 0 { ", " } else { "" };
            write!(f, "{sep}b{i}: {}{}", if b.written { "mut " } else { "" }, b.dtype)?;
        }
        for i in 0..self.params {
            write!(f, "{}p{i}", if i > 0 { ", " } else { "; " })?;
        }
        f.write_str(") {\n")?;
        let mut defined = vec![false; self.regs.len()];
        mark(&self.body, &mut defined);
        for (i, reg) in self.regs.iter().enumerate().filter(|(i, _)| !defined[*i]) {
            writeln!(f, "  unused %{i}: {}", reg.name())?;
        }
        body(f, self, &self.body, 1)?;
        f.write_str("}\n")
    }
}

/// Marks the registers that some statement defines.
fn mark(stmts: &[Stmt], defined: &mut [bool]) {
    for s in stmts {
        match s {
            Stmt::Inst(v, _) | Stmt::Index(v, _) | Stmt::Load { dst: v, .. } | Stmt::Read { dst: v, .. } => {
                if let Some(d) = defined.get_mut(v.0 as usize) {
                    *d = true;
                }
            }
            Stmt::For(l) => mark(&l.body, defined),
            Stmt::Store { .. } | Stmt::Acc { .. } | Stmt::Update { .. } => {}
        }
    }
}

fn body(f: &mut fmt::Formatter<'_>, nest: &LoopNest, stmts: &[Stmt], depth: usize) -> fmt::Result {
    for s in stmts {
        writeln!(f, "{:1$}{2}", "", depth * 2, line(nest, s))?;
        if let Stmt::For(l) = s {
            body(f, nest, &l.body, depth + 1)?;
            writeln!(f, "{:1$}}}", "", depth * 2)?;
        }
    }
    Ok(())
}

/// The line of one statement (of a loop, its first), without indentation.
pub fn line(nest: &LoopNest, stmt: &Stmt) -> String {
    let typed = |v: &V| match nest.regs.get(v.0 as usize) {
        Some(reg) => format!("{v:?}: {}", reg.name()),
        None => format!("{v:?}: ?"),
    };
    match stmt {
        Stmt::Inst(v, i) => format!("{} = {i}", typed(v)),
        Stmt::Index(v, a) => format!("{} = index {}", typed(v), affine(a, None)),
        Stmt::Load { dst, buf, at } => format!("{} = load {buf}[{}]", typed(dst), access(at)),
        Stmt::Store { buf, at, value } => format!("store {buf}[{}] = {value:?}", access(at)),
        Stmt::For(l) => for_line(l),
        Stmt::Acc { acc, combine, reg, lanes } => {
            let lanes = if *lanes == 1 { String::new() } else { format!(", lanes {lanes}") };
            format!("acc {acc}: {} = {}{lanes}", reg.name(), combine_name(*combine))
        }
        Stmt::Update { acc, value, index: None } => format!("{acc} += {value:?}"),
        Stmt::Update { acc, value, index: Some(i) } => format!("{acc} += {value:?} at {i:?}"),
        Stmt::Read { dst, acc } => format!("{} = read {acc}", typed(dst)),
    }
}

fn for_line(l: &Loop) -> String {
    let parallel = if l.parallel { "parallel " } else { "" };
    let vector = if l.kind == LoopKind::Vector { "vector " } else { "" };
    let extent = match l.extent {
        Extent::Whole(n) => n.to_string(),
        Extent::Block { var, step, total } => format!("block({var}, {step}, {total})"),
    };
    format!("for {parallel}{vector}{} in 0..{extent} {{", l.var)
}

fn access(at: &Access) -> String {
    affine(&at.affine, at.dynamic)
}

fn affine(a: &Affine, dynamic: Option<V>) -> String {
    let mut s = String::new();
    for (var, coef) in &a.terms {
        s += if s.is_empty() { "" } else { " + " };
        s += &match coef {
            Coef::Const(1) => var.to_string(),
            c => format!("{var}*{c}"),
        };
    }
    match a.offset {
        Coef::Const(0) if !s.is_empty() => {}
        Coef::Const(c) if c < 0 && !s.is_empty() => s += &format!(" - {}", c.unsigned_abs()),
        c => s += &format!("{}{c}", if s.is_empty() { "" } else { " + " }),
    }
    match dynamic {
        Some(d) => format!("{s} + {d:?}"),
        None => s,
    }
}

/// The names of the ways to combine.
pub(super) const COMBINE: &[(&str, Combine)] = &[
    ("sum", Combine::Sum),
    ("prod", Combine::Prod),
    ("max", Combine::Max),
    ("min", Combine::Min),
    ("argmax", Combine::ArgMax),
    ("argmin", Combine::ArgMin),
];

fn combine_name(c: Combine) -> &'static str {
    COMBINE.iter().find(|(_, d)| *d == c).map_or("?", |(n, _)| n)
}

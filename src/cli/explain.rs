//! `tensorc explain`: what becomes of a function. What its program assumes of symbolic sizes, or why it is compiled for
//! each choice of them; which ops each kernel computes, with their lines; why neighbours are apart; what each write touches,
//! and which copies writes need and why; which kernels are one launch; how much memory it takes.

use super::read_text;
use super::report::Failure;
use crate::program::Program;
use std::collections::BTreeSet;
use std::fmt::Write;
use tensorc_codegen::launches::launches;
use tensorc_codegen::plan::plan;
use tensorc_codegen::program::{self as planned, BufferKind, Step, Why};
use tensorc_ir::dim::{self, Scope, strongest};
use tensorc_ir::passes::fuse::{self, GroupKind, fuse, legalize};
use tensorc_ir::passes::partition::{Partition, decide, parted};
use tensorc_ir::passes::region::Region;
use tensorc_ir::passes::run_for;
use tensorc_ir::text::print::line;
use tensorc_ir::text::{FnId, Sizes};
use tensorc_ir::{Error, Graph, Loc, Op, Strided, Value};

/// Prints what becomes of one function, or of all of a file.
pub fn explain(path: &str, function: Option<&str>, sizes: &[String]) -> Result<(), Failure> {
    let text = read_text(path)?;
    let failed = |errors: Vec<Error>| Failure::errors(path, &text, errors);
    let program = Program::parse(path, &text).map_err(failed)?;
    let module = program.module();
    let functions = match function {
        Some(name) => vec![module.function(name).map_err(Failure::usage)?],
        None => module.functions().collect(),
    };
    let given = super::opt::sizes(sizes).map_err(Failure::usage)?;
    let mut out = String::new();
    for f in functions {
        out += &one(&program, f, &given, &text).map_err(failed)?;
        out.push('\n');
    }
    super::report::say(format_args!("{}", out.trim_end()))
}

fn one(program: &Program, f: FnId, given: &[(String, usize)], text: &str) -> Result<String, Vec<Error>> {
    let module = program.module();
    let symbols = module.symbolic_sizes(f);
    // Sizes that are not given are some, none of them special.
    let size = |(i, name): (usize, &str)| {
        let named = given.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        (name.to_string(), named.unwrap_or(1024 + 16 * i))
    };
    let hints: Vec<(String, usize)> = symbols.iter().map(|(n, _)| n).enumerate().map(size).collect();
    let mut out = format!("fn {}\n", module.decl(f).name.text);
    let symbolic = shown(program, f, &symbols, &hints, text);
    match symbolic {
        Ok(s) => {
            if !hints.is_empty() {
                out += "  one program for all sizes\n";
            }
            Ok(out + &s)
        }
        Err(errors) if errors.iter().any(Error::is_waiting_for_sizes) => {
            for e in errors.iter().filter(|e| e.is_waiting_for_sizes()) {
                let d = e.diagnostic();
                let at = at_line(d.loc, text);
                let _ = writeln!(out, "  a program for each choice of sizes: {}{at}", d.message);
            }
            let text_of: Vec<String> = hints.iter().map(|(n, v)| format!("{n} = {v}")).collect();
            let _ = writeln!(out, "  this one is for {}", text_of.join(", "));
            let sizes = module.sizes(f, &hints).map_err(|e| vec![e])?;
            Ok(out + &shown(program, f, &sizes, &hints, text)?)
        }
        Err(errors) => Err(errors),
    }
}

/// The line of the text that a place is in, from 1.
fn line_of(loc: Loc, text: &str) -> Option<usize> {
    match loc {
        Loc::Text { start, .. } => Some(text.get(..start as usize).unwrap_or(text).matches('\n').count() + 1),
        Loc::Rust(_) | Loc::Unknown => None,
    }
}

fn shown(
    program: &Program,
    f: FnId,
    sizes: &Sizes,
    hints: &[(String, usize)],
    text: &str,
) -> Result<String, Vec<Error>> {
    let module = program.module();
    let one = |e: Error| vec![e];
    let values = dim::Sizes::new(hints.iter().map(|(n, v)| (n.as_str(), *v as i64)));
    let (made, assumed) = Scope::within(&values, || {
        let types = module.param_types(f, sizes).map_err(one)?;
        let layouts: Vec<Strided> = types.iter().map(|t| Strided::contiguous(&t.shape)).collect();
        let traced = module.trace(f, sizes, None)?;
        let whole = run_for(&traced, fuse::Mode::Eager).map_err(one)?;
        let decision = decide(&whole);
        let g = parted(&whole, &decision).map_err(one)?;
        let planned = plan(&g, &layouts, fuse::Mode::Fused).map_err(one)?;
        let kept = kept(&whole, decision, &layouts, text).map_err(one)?;
        let g = legalize(&g, &layouts).map_err(one)?;
        let fusion = fuse(&g, fuse::Mode::Fused);
        Ok::<_, Vec<Error>>((traced, planned, kept, g, fusion))
    });
    let (traced, planned, kept, g, fusion) = made?;
    let mut out = String::new();
    for a in strongest(&assumed) {
        let _ = writeln!(out, "  assumes {a}");
    }
    for (k, group) in fusion.groups.iter().enumerate() {
        let _ = write!(out, "  kernel {k}: {} {:?}", group.kind.name(), group.domain.as_slice());
        if group.kind == GroupKind::Rows {
            let _ = write!(out, " over {:?}", group.axes.as_slice());
        }
        out.push('\n');
        for n in fusion.with_views(&g, &group.nodes) {
            let stored = if fusion.stored[n.0 as usize] { ", stored" } else { "" };
            let from = line_of(g.node(n).loc, text).map_or(String::new(), |l| format!("  (from line {l})"));
            let _ = writeln!(out, "    {}{from}{stored}", line(&g, n));
        }
    }
    for (reader, read, why) in &fusion.apart {
        let _ = writeln!(out, "  apart: v{} from v{}: {why}", reader.0, read.0);
    }
    for launch in launches(&planned, &planned.steps).into_iter().filter(|l| l.len() > 1) {
        let kernels =
            planned.steps[launch].iter().filter_map(|s| if let Step::Loops(l) = s { Some(l.group) } else { None });
        let kernels: Vec<String> = kernels.map(|k| k.to_string()).collect();
        let _ = writeln!(out, "  one launch: kernels {}", kernels.join(", "));
    }
    out += &writes(&traced, text);
    out += &copies(&planned, &g, text);
    let count = |kind: fn(&BufferKind) -> bool| planned.buffers.iter().filter(|b| kind(&b.kind)).count();
    let _ = writeln!(
        out,
        "  memory: {} results, {} temporary values in {} bytes",
        count(|b| matches!(b, BufferKind::Output)),
        count(|b| matches!(b, BufferKind::Temp(_))),
        planned.arena
    );
    Ok(out + &kept)
}

/// What is kept for the backward computation and what is computed again there, and the memory it would take to keep all.
fn kept(g: &Graph, decision: Partition, layouts: &[Strided], text: &str) -> Result<String, Error> {
    let Partition { kept, again, .. } = decision;
    let mut out = String::new();
    let bytes = |v: Value| g.ty(v).count() * g.ty(v).dtype.size();
    let mut all = |what: &str, values: BTreeSet<Value>| {
        for v in values {
            let (op, at) = (g.op(v.node).name(), at_line(g.loc(v), text));
            let _ = writeln!(out, "  {what}: {op}, {}, {} bytes{at}", g.ty(v), bytes(v));
        }
    };
    let some = !again.is_empty();
    all("kept for the backward computation", kept);
    all("computed again in it", again);
    if some {
        let arena = plan(g, layouts, fuse::Mode::Fused)?.arena;
        let _ = writeln!(out, "  memory if all that were kept: temporary values in {arena} bytes");
    }
    Ok(out)
}

/// Every write of the program as it was traced, and which part of what it touches.
fn writes(g: &Graph, text: &str) -> String {
    let mut out = String::new();
    for n in g.nodes().filter(|n| matches!(g.op(*n), Op::Write)) {
        let to = g.operands(n)[0];
        let (root, region) = Region::of(g, to);
        let name = match g.op(root.node) {
            Op::Input(i) => g.params[*i as usize].name.clone(),
            _ => format!("v{}", root.node.0),
        };
        let part = region.map_or_else(|| " at places that are no slice".into(), |r| r.to_string());
        let bytes = |v: Value| g.ty(v).count() * g.ty(v).dtype.size();
        let (some, all) = (bytes(to), bytes(root));
        let _ = writeln!(out, "  writes {name}{part}, {some} of {all} bytes{}", at_line(g.node(n).loc, text));
    }
    out
}

/// Every copy of a whole value that a write needs, and why.
fn copies(program: &planned::Program, g: &Graph, text: &str) -> String {
    let mut out = String::new();
    for c in &program.copies {
        let what = match c.param {
            Some(i) => format!("v{} to {} at the end", c.value.node.0, g.params[i].name),
            None => format!("the base of v{}", c.value.node.0),
        };
        let because = match c.why {
            Why::MayFail(at) | Why::ReadLater(at) => at_line(at, text),
            _ => String::new(),
        };
        let (bytes, line) = (c.bytes, at_line(c.loc, text));
        let _ = writeln!(out, "  copies {what}, {bytes} bytes{line}: {}{because}", c.why);
    }
    out
}

fn at_line(loc: Loc, text: &str) -> String {
    line_of(loc, text).map_or(String::new(), |l| format!(" (line {l})"))
}

//! `tensorc opt`: programs after passes.

use super::read_text;
use super::report::{Failure, say};
use crate::program::Program;
use tensorc_codegen::plan::plan;
use tensorc_ir::error::err;
use tensorc_ir::passes::{PASSES, fuse, run_named};
use tensorc_ir::text::print::print_all;
use tensorc_ir::{Error, Graph, Strided};

/// Prints functions after passes.
pub fn opt(
    path: &str,
    passes: &[String],
    function: Option<&str>,
    sizes: &[String],
    loops: bool,
) -> Result<(), Failure> {
    let text = read_text(path)?;
    let failed = |errors: Vec<Error>| Failure::errors(path, &text, errors);
    let program = Program::parse(path, &text).map_err(failed)?;
    let module = program.module();
    let functions = match function {
        Some(name) => vec![module.function(name).map_err(Failure::usage)?],
        None => module.functions().filter(|f| !module.is_body(*f)).collect(),
    };
    let all: Vec<&str> = PASSES.iter().map(|p| p.name).collect();
    let names: Vec<&str> = match passes {
        [one] if one == "all" => all.clone(),
        some => some.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = names.iter().find(|n| !all.contains(n)) {
        let e = err::name(format!("there is no pass `{unknown}`")).help(format!("the passes are {}", all.join(", ")));
        return Err(Failure::usage(e));
    }
    let given = self::sizes(sizes).map_err(Failure::usage)?;
    let help = |e: Error| if e.is_waiting_for_sizes() { e.help("give them with --size NAME=N") } else { e };
    let failed = |errors: Vec<Error>| failed(errors.into_iter().map(help).collect());
    let mut graphs = Vec::new();
    for f in functions {
        // Without sizes the program is one for all of them, and assumes nothing.
        let sizes = match given.is_empty() {
            true => module.symbolic_sizes(f),
            false => module.sizes(f, &given).map_err(|e| failed(vec![e]))?,
        };
        let g = module.trace(f, &sizes, None).map_err(failed)?;
        let g = run_named(&g, &names).map_err(|e| failed(vec![e]))?;
        let types = module.param_types(f, &sizes).map_err(|e| failed(vec![e]))?;
        graphs.push((g, types));
    }
    let text = |all: &[&Graph]| print_all(all).trim_end_matches('\n').to_string();
    if !loops {
        return say(format_args!("{}", text(&graphs.iter().map(|(g, _)| g).collect::<Vec<_>>())));
    }
    for (i, (g, types)) in graphs.iter().enumerate() {
        let gap = if i > 0 { "\n" } else { "" };
        say(format_args!("{gap}{}", text(&[g])))?;
        let layouts: Vec<Strided> = types.iter().map(|t| Strided::contiguous(&t.shape)).collect();
        let program = plan(g, &layouts, fuse::Mode::Fused).map_err(|e| failed(vec![e]))?;
        say(format_args!("\n{program}"))?;
        for l in program.loops() {
            say(format_args!("{}", l.nest))?;
        }
    }
    Ok(())
}

/// Sizes as they are given on the command line.
///
/// # Errors
/// `name` if one is not of the form `NAME=N`.
pub fn sizes(given: &[String]) -> Result<Vec<(String, usize)>, Error> {
    let one = |s: &String| {
        let (name, n) = s.split_once('=').ok_or_else(|| err::name(format!("`{s}` is not of the form NAME=N")))?;
        let n = n.parse::<usize>().map_err(|_| err::name(format!("`{n}` is no size")))?;
        Ok((name.to_string(), n))
    };
    given.iter().map(one).collect()
}

//! `tensorc opt` and `tensorc ops`: programs after passes, and the op table.

use super::read_text;
use super::report::{Failure, say};
use crate::program::Program;
use tensorc_codegen::plan::plan;
use tensorc_ir::error::err;
use tensorc_ir::ops::elementwise::Row;
use tensorc_ir::ops::registry;
use tensorc_ir::passes::{PASSES, fuse, run_named};
use tensorc_ir::text::FORMS;
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

/// Prints the op table, or one function of it.
pub fn list(name: Option<&str>) -> Result<(), Failure> {
    let mut all = registry::list();
    all.extend(FORMS.iter().map(|f| (f.name, f.sig.to_string(), f.doc)));
    all.sort_unstable_by_key(|(n, _, _)| *n);
    let Some(n) = name else {
        for (name, sig, doc) in &all {
            say(format_args!("{name}({sig})\n    {doc}"))?;
        }
        return say(format_args!(
            "\n{} functions; each but {} has an in-place form with `_` where its result fits its first operand",
            all.len(),
            FORMS.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")
        ));
    };
    let base = n.strip_suffix('_').unwrap_or(n);
    let form = |m: &str| FORMS.iter().find(|f| f.name == m);
    let Some((name, sig, doc)) = all.iter().find(|(m, _, _)| *m == n || (*m == base && form(m).is_none())) else {
        return Err(Failure::error(err::name(format!("there is no function `{n}`"))));
    };
    say(format_args!("{name}({sig})\n    {doc}"))?;
    if let Some(form) = form(name) {
        return say(format_args!("    control flow; {}", form.derivative));
    }
    match Row::find(name) {
        Some(row) => describe(row),
        None => say(format_args!("    composite or structural; its derivative is that of its parts")),
    }
}

fn describe(row: Row) -> Result<(), Failure> {
    say(format_args!("    elementwise; dtypes: {:?}", row.0.rule))?;
    let narrow = promise(row.0.ulp as f64, measured(row.name(), 2));
    say(format_args!("    accuracy in f32: {narrow}; in f64: {}", promise(row.ulp64(), measured(row.name(), 5))))?;
    let derivative = if row.0.vjp.is_some() { "yes, of any order" } else { "none (zero or not a float)" };
    say(format_args!("    derivative: {derivative}"))
}

fn promise(ulp: f64, measured: Option<&str>) -> String {
    match measured {
        _ if ulp == 0.0 => "correctly rounded or exact".into(),
        Some(m) => format!("{ulp} ULP (measured: {m})"),
        None => format!("{ulp} ULP"),
    }
}

/// A cell of the line of a function in the table of measured errors.
fn measured(name: &str, column: usize) -> Option<&'static str> {
    let table = include_str!("../../docs/accuracy.md");
    let start = format!("| `{name}` |");
    table.lines().find(|l| l.starts_with(&start))?.split('|').nth(column).map(str::trim)
}

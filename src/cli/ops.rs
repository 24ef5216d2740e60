//! `tensorc opt` and `tensorc ops`: programs after passes, and the op table.

use super::read_text;
use super::report::Failure;
use crate::program::Program;
use tensorc_codegen::plan::plan;
use tensorc_codegen::program::Step;
use tensorc_ir::error::err;
use tensorc_ir::ops::elementwise::Row;
use tensorc_ir::ops::registry;
use tensorc_ir::passes::{PASSES, fuse, run_named};
use tensorc_ir::text::print::print;
use tensorc_ir::{Error, Strided};

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
        None => module.functions().collect(),
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
    for (i, f) in functions.into_iter().enumerate() {
        let help = |e: Error| if e.is_waiting_for_sizes() { e.help("give them with --size NAME=N") } else { e };
        let failed = |errors: Vec<Error>| failed(errors.into_iter().map(help).collect());
        // Without sizes the program is one for all of them, and assumes nothing.
        let sizes = match given.is_empty() {
            true => module.symbolic_sizes(f),
            false => module.sizes(f, &given).map_err(|e| failed(vec![e]))?,
        };
        let g = module.trace(f, &sizes, None).map_err(failed)?;
        let g = run_named(&g, &names).map_err(|e| failed(vec![e]))?;
        if i > 0 {
            println!();
        }
        print!("{}", print(&g));
        if loops {
            let types = module.param_types(f, &sizes).map_err(|e| failed(vec![e]))?;
            let layouts: Vec<Strided> = types.iter().map(|t| Strided::contiguous(&t.shape)).collect();
            let program = plan(&g, &layouts, fuse::Mode::Fused).map_err(|e| failed(vec![e]))?;
            println!("\n{program}");
            for step in program.steps.iter().chain(&program.write_back) {
                if let Step::Loops(l) = step {
                    println!("{}", l.nest);
                }
            }
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
    let all = registry::list();
    match name {
        None => {
            for (name, sig, doc) in &all {
                println!("{name}({sig})\n    {doc}");
            }
            println!(
                "\n{} functions; each has an in-place form with `_` where its result fits its first operand",
                all.len()
            );
            Ok(())
        }
        Some(n) => {
            let base = n.strip_suffix('_').unwrap_or(n);
            let Some((name, sig, doc)) = all.iter().find(|(m, _, _)| *m == n || *m == base) else {
                return Err(Failure::error(err::name(format!("there is no function `{n}`"))));
            };
            println!("{name}({sig})\n    {doc}");
            if let Some(Row(row)) = Row::find(name) {
                println!("    elementwise; dtypes: {:?}", row.rule);
                let accuracy =
                    if row.ulp == 0.0 { "correctly rounded or exact".into() } else { format!("{} ULP", row.ulp) };
                println!("    accuracy in f32: {accuracy}");
                println!(
                    "    derivative: {}",
                    if row.vjp.is_some() { "yes, of any order" } else { "none (zero or not a float)" }
                );
            } else {
                println!("    composite or structural; its derivative is that of its parts");
            }
            Ok(())
        }
    }
}

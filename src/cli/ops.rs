//! `tensorc opt` and `tensorc ops`: programs after passes, and the op table.

use super::read_text;
use super::report::Failure;
use crate::program::Program;
use tensorc_codegen::plan::plan;
use tensorc_ir::error::err;
use tensorc_ir::ops::elementwise::Row;
use tensorc_ir::ops::registry;
use tensorc_ir::passes::{PASSES, fuse, run_named};
use tensorc_ir::text::FORMS;
use tensorc_ir::text::print::print_all;
use tensorc_ir::{Error, Layout};

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
    let given = sizes
        .iter()
        .map(|s| {
            let (name, n) = s.split_once('=').ok_or_else(|| err::name(format!("`{s}` is not of the form NAME=N")))?;
            let n = n.parse::<usize>().map_err(|_| err::name(format!("`{n}` is no size")))?;
            Ok((name.to_string(), n))
        })
        .collect::<Result<Vec<_>, Error>>()
        .map_err(Failure::usage)?;
    let mut graphs = Vec::new();
    for f in functions {
        let sizes = module.sizes(f, &given).map_err(|e| failed(vec![e.help("give it with --size NAME=N")]))?;
        let g = module.trace(f, &sizes, None).map_err(failed)?;
        let g = run_named(&g, &names).map_err(|e| failed(vec![e]))?;
        let types = module.param_types(f, &sizes).map_err(|e| failed(vec![e]))?;
        graphs.push((g, types));
    }
    if !loops {
        print!("{}", print_all(&graphs.iter().map(|(g, _)| g).collect::<Vec<_>>()));
        return Ok(());
    }
    for (i, (g, types)) in graphs.iter().enumerate() {
        if i > 0 {
            println!();
        }
        print!("{}", print_all(&[g]));
        let layouts: Vec<Layout> = types.iter().map(|t| Layout::contiguous(&t.shape)).collect();
        let program = plan(g, &layouts, fuse::Mode::Fused).map_err(|e| failed(vec![e]))?;
        println!("\n{program}");
        program.loops().into_iter().for_each(|l| println!("{}", l.nest));
    }
    Ok(())
}

/// Prints the op table, or one function of it.
pub fn list(name: Option<&str>) -> Result<(), Failure> {
    let mut all = registry::list();
    all.extend(FORMS.iter().map(|f| (f.name, f.sig.to_string(), f.doc)));
    all.sort_unstable_by_key(|(n, _, _)| *n);
    match name {
        None => {
            for (name, sig, doc) in &all {
                println!("{name}({sig})\n    {doc}");
            }
            println!(
                "\n{} functions; each but {} has an in-place form with `_` where its result fits its first operand",
                all.len(),
                FORMS.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")
            );
            Ok(())
        }
        Some(n) => {
            let base = n.strip_suffix('_').unwrap_or(n);
            let form = |m: &str| FORMS.iter().any(|f| f.name == m);
            let Some((name, sig, doc)) = all.iter().find(|(m, _, _)| *m == n || (*m == base && !form(m))) else {
                return Err(Failure::error(err::name(format!("there is no function `{n}`"))));
            };
            println!("{name}({sig})\n    {doc}");
            if let Some(form) = FORMS.iter().find(|f| f.name == *name) {
                println!("    control flow; {}", form.derivative);
            } else if let Some(Row(row)) = Row::find(name) {
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

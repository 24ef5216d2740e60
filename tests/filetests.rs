//! Programs with what the compiler makes of them, one file each under `tests/filetests/STAGE`.
//!
//! A file is a program, a line `// ---` and the expected text. Its first line names the stage, `// test: fuse`: a pass
//! (the graph after it and all before it), `fuse` (the groups, what is stored, why the rest is apart), `lower` (the
//! buffers, steps and loop nests), `run` (results and written parameters after interpreting, running eagerly and running
//! fused, which must give the same bits), `check` (the errors), `refuse` (the error of each function; see
//! [`show_refusals`]) or `fmt`. Header lines give sizes, `// size: B=32`, and
//! arguments, `// x = [[1, 2]]` or `// y = x[1:]` for a view of another one. `BLESS=1` writes what came out into the files:
//! read it before it is committed.

#[path = "cases/wording.rs"]
mod wording;

use libtest_mimic::{Arguments, Failed, Trial};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tensorc::program::{Given, Mode, Program};
use tensorc::{DType, Error, Kind, Tensor};
use tensorc_codegen::plan::plan;
use tensorc_codegen::program::BufferKind;
use tensorc_ir::passes::fuse::{self, GroupKind, fuse, legalize};
use tensorc_ir::passes::{PASSES, run_all, run_named};
use tensorc_ir::text::print::{line, print};
use tensorc_ir::text::{FnId, Module, Source, format, parse, render_plain};
use tensorc_ir::{Graph, Strided};

const SEPARATOR: &str = "// ---";

/// What a stage prints for a case.
type Stage = fn(&Case) -> Result<String, Vec<Error>>;

/// What happens to the programs in a folder besides the passes.
const STAGES: &[(&str, Stage)] = &[
    ("fuse", show_fusion),
    ("lower", show_loops),
    ("run", show_run),
    ("check", show_check),
    ("refuse", show_refusals),
    ("fmt", show_format),
];

/// A file up to the separator.
struct Case {
    name: String,
    stage: String,
    /// The whole text, headers included, so that errors name the lines of the file.
    text: String,
    sizes: Vec<(String, usize)>,
    args: Vec<(String, String)>,
}

impl Case {
    fn read(name: String, text: &str) -> Result<Case, String> {
        let mut case = Case { name, stage: String::new(), text: text.into(), sizes: Vec::new(), args: Vec::new() };
        for l in text.lines() {
            let Some(header) = l.strip_prefix("//").map(str::trim) else { break };
            if let Some(stage) = header.strip_prefix("test:") {
                case.stage = stage.trim().into();
            } else if let Some(size) = header.strip_prefix("size:") {
                let (n, v) = size.split_once('=').ok_or_else(|| format!("`{l}` is not of the form `// size: B=32`"))?;
                let v = v.trim().parse().map_err(|e| format!("`{l}`: {e}"))?;
                case.sizes.push((n.trim().into(), v));
            } else if let Some((n, v)) = argument(header) {
                case.args.push((n.into(), v.into()));
            }
        }
        Ok(case)
    }

    fn module(&self) -> Result<Module, Vec<Error>> {
        Module::parse(self.name.as_str(), self.text.as_str())
    }

    fn sizes(&self, module: &Module, f: FnId) -> Result<tensorc_ir::text::Sizes, Vec<Error>> {
        let used: Vec<&str> = self.sizes.iter().map(|(n, _)| n.as_str()).collect();
        module.sizes(f, &self.sizes).map_err(|e| vec![e.help(format!("the sizes given are {used:?}"))])
    }

    /// Shows every function of the file but those that control flow runs, which come with others; a blank line between
    /// two.
    fn each(&self, show: impl Fn(&Graph, &[Strided]) -> Result<String, Error>) -> Result<String, Vec<Error>> {
        let module = self.module()?;
        let mut out = Vec::new();
        for f in module.functions().filter(|f| !module.is_body(*f)) {
            let sizes = self.sizes(&module, f)?;
            let g = module.trace(f, &sizes, None)?;
            let types = module.param_types(f, &sizes).map_err(one)?;
            let layouts: Vec<Strided> = types.iter().map(|t| Strided::contiguous(&t.shape)).collect();
            out.push(show(&g, &layouts).map_err(one)?);
        }
        Ok(out.join("\n"))
    }

    fn show(&self) -> Result<String, Vec<Error>> {
        if let Some((_, show)) = STAGES.iter().find(|(n, _)| *n == self.stage) {
            return show(self);
        }
        let until = PASSES.iter().position(|p| p.name == self.stage).map_or(PASSES.len(), |i| i + 1);
        self.each(|g, _| {
            // A printed graph goes through the passes that are left for its phase.
            let names: Vec<&str> = PASSES[..until].iter().filter(|p| p.from >= g.phase).map(|p| p.name).collect();
            Ok(print(&run_named(g, &names)?))
        })
    }
}

/// `NAME = VALUE`, if the header is one.
fn argument(header: &str) -> Option<(&str, &str)> {
    let (name, value) = header.split_once(" = ")?;
    name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some((name, value.trim()))
}

fn one(e: Error) -> Vec<Error> {
    vec![e]
}

/// The groups with their nodes, the views and constants that they read included; then why neighbours are apart.
fn show_fusion(case: &Case) -> Result<String, Vec<Error>> {
    case.each(|g, layouts| {
        let g = run_all(g)?;
        let program = plan(&g, layouts, fuse::Mode::Fused)?;
        let g = legalize(&g, layouts)?;
        let f = fuse(&g, fuse::Mode::Fused);
        let mut out = format!("fn {}\n", g.name);
        for (k, group) in f.groups.iter().enumerate() {
            let _ = write!(out, "group {k}: {} {:?}", group.kind.name(), group.domain.as_slice());
            if group.kind == GroupKind::Rows {
                let _ = write!(out, " over {:?}", group.axes.as_slice());
            }
            out.push('\n');
            for n in f.with_views(&g, &group.nodes) {
                let stored = if f.stored[n.0 as usize] { "  // stored" } else { "" };
                let _ = writeln!(out, "    {}{stored}", line(&g, n));
            }
        }
        for (reader, read, why) in &f.apart {
            let _ = writeln!(out, "apart: v{} from v{}: {why}", reader.0, read.0);
        }
        let count = |kind: fn(&BufferKind) -> bool| program.buffers.iter().filter(|b| kind(&b.kind)).count();
        let _ = writeln!(out, "kernels: {}, written back: {}", program.steps.len(), program.write_back.len());
        let _ = writeln!(
            out,
            "buffers: {} parameters, {} outputs, {} temporary, {} literals; {} bytes of scratch",
            count(|b| matches!(b, BufferKind::Param(_))),
            count(|b| matches!(b, BufferKind::Output)),
            count(|b| matches!(b, BufferKind::Temp(_))),
            count(|b| matches!(b, BufferKind::Literal(_))),
            program.arena
        );
        Ok(out)
    })
}

/// Buffers, steps and loop nests.
fn show_loops(case: &Case) -> Result<String, Vec<Error>> {
    case.each(|g, layouts| {
        let program = plan(&run_all(g)?, layouts, fuse::Mode::Fused)?;
        let mut out = program.to_string();
        for l in program.loops() {
            let _ = write!(out, "\n{}", l.nest);
        }
        Ok(out)
    })
}

/// A literal as the language reads it.
fn tensor(text: &str, dtype: DType) -> Result<Tensor, Vec<Error>> {
    let source = format!("fn main() {{ tensor({text}, dtype={dtype}) }}");
    let mut results = Program::parse("argument", &source)?.run(None, &[], Mode::Interpret)?;
    Ok(results.remove(0))
}

/// A program, the number of one of its functions, and arguments for it by the header lines.
fn called(case: &Case, name: Option<&str>) -> Result<(Program, FnId, tensorc::program::Call), Vec<Error>> {
    let program = Program::parse(&case.name, &case.text)?;
    let f = program.function(name).map_err(one)?;
    let params = program.module().params(f);
    let mut given = Vec::new();
    for p in params {
        let missing = || one(tensorc_ir::error::err::io(format!("no line `// {} = …`", p.name.text)));
        let (_, value) = case.args.iter().find(|(n, _)| *n == p.name.text).ok_or_else(missing)?;
        let base = value.split(['[', '.']).next().unwrap_or("");
        given.push(match params.iter().any(|q| q.name.text == base) {
            true => Given::View(value.clone()),
            false => Given::Tensor(tensor(value, p.ty.dtype)?),
        });
    }
    let call = program.bind(f, &given)?;
    Ok((program, f, call))
}

/// What one mode gives as text, and the bits of results and arguments. After an error the arguments are as they were,
/// which the text shows.
fn run(case: &Case, mode: Mode) -> Result<(String, Vec<Vec<u8>>), Vec<Error>> {
    let (program, f, call) = called(case, None)?;
    let params = program.module().params(f);
    let (mut text, results) = match program.call(f, &call, mode) {
        Ok(results) => (results.iter().map(|t| format!("{t}\n")).collect(), results),
        Err(e) => (render(case, &e), Vec::new()),
    };
    for (p, t) in params.iter().zip(call.tensors()).filter(|(p, _)| p.mutable) {
        let _ = writeln!(text, "{} = {t}", p.name.text);
    }
    let bits = results.iter().chain(call.tensors()).map(|t| t.to_bytes().map_err(one)).collect::<Result<_, _>>()?;
    Ok((text, bits))
}

fn show_run(case: &Case) -> Result<String, Vec<Error>> {
    let (text, bits) = run(case, Mode::Interpret)?;
    for mode in [Mode::Eager, Mode::Fused] {
        let (other, other_bits) = run(case, mode)?;
        if other != text || other_bits != bits {
            let differs = format!("{mode:?} gives other bits than the interpreter");
            let e = tensorc_ir::error::err::unsupported(differs);
            return Err(one(e.help(format!("interpreted:\n{text}{mode:?}:\n{other}"))));
        }
    }
    Ok(text)
}

fn show_check(case: &Case) -> Result<String, Vec<Error>> {
    let errors = match case.module() {
        Ok(module) => module.check(),
        Err(errors) => errors,
    };
    Ok(if errors.is_empty() { "no errors\n".into() } else { render(case, &errors) })
}

/// The error of each function of the file but those whose names begin with `ok`, which others need. A function in which
/// nothing is wrong is run with the arguments of the header: all modes must fail by the same error. Lines
/// `// PyTorch: …` right before a function hold PyTorch's text for the same call, which ours must agree with
/// (`cases/wording.rs`); `// PyTorch, otherwise: …` one that it need not agree with.
fn show_refusals(case: &Case) -> Result<String, Vec<Error>> {
    let module = case.module()?;
    let errors = module.check();
    let mut out: Vec<String> = Vec::new();
    let (mut begin, mut placed, mut torch) = (0, 0, None);
    let mut problems: Vec<String> = Vec::new();
    for l in case.text.split_inclusive('\n') {
        let end = begin + l.len();
        if let Some(text) = l.strip_prefix("// PyTorch: ") {
            torch = Some(text.trim_end());
        }
        if let Some(rest) = l.strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or("");
            // Up to the line that closes the body.
            let body =
                case.text[begin..].find("\n}\n").filter(|_| !l.trim_end().ends_with('}')).map_or(end, |n| begin + n);
            let here = |e: &&Error| match e.diagnostic().loc {
                tensorc_ir::Loc::Text { start, .. } => (begin..body).contains(&(start as usize)),
                _ => false,
            };
            let mut own: Vec<Error> = errors.iter().filter(here).cloned().collect();
            placed += own.len();
            if own.is_empty() && !name.starts_with("ok") {
                match failure(case, name)? {
                    Ok(errors) if errors.iter().any(|e| e.kind() == Kind::Io) => {
                        problems.push(format!("`{name}` is not refused unless it runs, and there are no arguments"));
                    }
                    Ok(errors) => own = errors,
                    Err(what) => problems.push(what),
                }
            }
            if !own.is_empty() && name.starts_with("ok") {
                problems.push(format!("`{name}` is refused: {}", render(case, &own)));
            }
            if let (Some(torch), Some(e)) = (torch.take(), own.first()) {
                let d = e.diagnostic();
                let ours = format!("{} {}", d.message, d.help.as_deref().unwrap_or(""));
                if let Some(why) = wording::lacks(torch, &ours).filter(|_| !wording::excepted(torch)) {
                    problems.push(format!("`{name}`: PyTorch says: {torch}\nwe say: {ours}\n{why}"));
                }
            }
            out.extend(own.iter().map(|e| render(case, std::slice::from_ref(e))));
        }
        begin = end;
    }
    if placed < errors.len() {
        problems.push(format!("{} errors are in no function", errors.len() - placed));
    }
    if !problems.is_empty() {
        return Err(one(tensorc_ir::error::err::unsupported(problems.join("\n\n"))));
    }
    Ok(out.join("\n"))
}

/// The error by which a run of a function fails, in all modes the same; else what is wrong.
fn failure(case: &Case, name: &str) -> Result<Result<Vec<Error>, String>, Vec<Error>> {
    let mut all: Vec<Vec<Error>> = Vec::new();
    for mode in [Mode::Interpret, Mode::Eager, Mode::Fused] {
        // What is wrong with an argument is the same in all modes.
        let (program, f, call) = match called(case, Some(name)) {
            Ok(c) => c,
            Err(e) => return Ok(Ok(e)),
        };
        match program.call(f, &call, mode) {
            Ok(_) => return Ok(Err(format!("`{name}` is not refused by {mode:?}"))),
            Err(e) => all.push(e),
        }
    }
    Ok(match all.iter().find(|e| **e != all[0]) {
        Some(e) => Err(format!("`{name}`: {}\nin another mode: {}", render(case, &all[0]), render(case, e))),
        None => Ok(all.swap_remove(0)),
    })
}

fn show_format(case: &Case) -> Result<String, Vec<Error>> {
    // Without the header.
    let text = case.text.split_once('\n').map_or("", |(_, rest)| rest);
    let out = format(&parse(text)?, text);
    if format(&parse(&out)?, &out) != out {
        return Err(one(tensorc_ir::error::err::syntax("formatting twice gives another text")));
    }
    Ok(out)
}

fn render(case: &Case, errors: &[Error]) -> String {
    let source = Source::new(case.name.as_str(), case.text.as_str());
    let all: Vec<String> = errors.iter().map(|e| render_plain(&source, e)).collect();
    all.join("\n")
}

/// The lines of both texts: `-` was expected and is gone, `+` is new.
fn difference(want: &str, got: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (want.lines().collect(), got.lines().collect());
    // The longest common subsequence of what is left from each pair of lines on.
    let mut common = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        let (mark, text) = if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
            (' ', a[i - 1])
        } else if j == b.len() || i < a.len() && common[i + 1][j] >= common[i][j + 1] {
            i += 1;
            ('-', a[i - 1])
        } else {
            j += 1;
            ('+', b[j - 1])
        };
        let _ = writeln!(out, "{mark} {text}");
    }
    out
}

/// Runs one file.
fn check(path: &Path, folder: &str, bless: bool) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path)?;
    let lines = format!("\n{SEPARATOR}\n");
    let (program, want) = match text.split_once(&lines) {
        Some((program, want)) => (format!("{program}\n"), want),
        None if bless => (text.clone(), ""),
        None => return Err(format!("no line `{SEPARATOR}`").into()),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let case = Case::read(name, &program)?;
    if case.stage != folder {
        return Err(format!("the first line says `test: {}`, the folder is `{folder}`", case.stage).into());
    }
    let got = case.show().map_err(|e| render(&case, &e))?;
    if got == want {
        return Ok(());
    }
    if bless {
        return Ok(std::fs::write(path, format!("{}{lines}{got}", program.trim_end_matches('\n')))?);
    }
    Err(format!("another output than expected:\n{}", difference(want, &got)).into())
}

fn main() {
    let args = Arguments::from_args();
    let bless = std::env::var("BLESS").is_ok_and(|v| v == "1");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let list = |dir: &Path| -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
        all.sort();
        all
    };
    let mut trials = Vec::new();
    for folder in list(&root) {
        let stage = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let known = PASSES.iter().any(|p| p.name == stage) || STAGES.iter().any(|(n, _)| *n == stage);
        for path in list(&folder).into_iter().filter(|p| p.extension().is_some_and(|e| e == "tc")) {
            let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let stage = stage.clone();
            trials.push(Trial::test(format!("{stage}/{file}"), move || match known {
                true => check(&path, &stage, bless),
                false => Err(format!("there is no stage `{stage}`").into()),
            }));
        }
    }
    libtest_mimic::run(&args, trials).exit();
}

//! Every kind of refusal has a case: each text that the sources give an error, by its longest piece that is the same for
//! all programs, stands in a test or in what a file test expects. `err::internal` is for what no program can lead to; what
//! else has no case is in [`WITHOUT`], with the reason.

use std::path::{Path, PathBuf};

/// Files and parts of texts that have no case, and why none can be written here. Fails if an entry is not needed.
const WITHOUT: &[(&str, &str, &str)] = &[
    ("codegen/src/cpu/emit.rs", "64-bit machine", "a machine"),
    ("codegen/src/cpu/gemm/plan.rs", "not fit in memory", "more memory than there is"),
    ("codegen/src/loopnest", "", "the text of loop nests, which only tests write"),
    ("ir/src/passes", "", "between passes: what one has broken, another or the verifier finds"),
    ("ir/src/verify.rs", "", "what a pass has broken"),
    ("ir/src/text/lexer.rs", "longer than 4 GiB", "more memory than a test takes"),
    ("runtime/src/buffer.rs", "", "the machine's memory, and when its allocator is set up"),
    ("runtime/src/call.rs", "arguments, expected", "callers look for a program of their arguments first"),
    ("runtime/src/call.rs", "compiled for", "the same"),
    ("runtime/src/call.rs", "reaches outside its storage", "views that were checked when they were made"),
    ("runtime/src/dlpack.rs", "DLPack cannot describe", "extents and strides that fit, as those of tensors do"),
    ("runtime/src/elements.rs", "reaches outside its storage", "views that were checked when they were made"),
    ("runtime/src/executable.rs", "this program assumes", "callers look for a program that holds for the sizes first"),
    ("runtime/src/jit.rs", "", "a machine without machine code or features"),
    ("runtime/src/pool.rs", "by a task of the pool", "tasks are the runtime's own"),
    ("runtime/src/storage.rs", "", "borrowed memory, which its own tests refuse by kind"),
    ("src/cli/report.rs", "standard output", "an output that cannot be written"),
    ("src/control.rs", "a function was lost", "a closure between its trace and its use"),
    ("src/control.rs", "a function that was not traced", "the same"),
    ("src/grad.rs", "without its value", "the value that the trace of a gradient gives"),
    ("src/jit.rs", "lost a parameter", "the parameters of a trace"),
    ("src/jit.rs", "a captured tensor shares memory", "not said: the function is traced again for its sizes"),
    ("src/program.rs", "an error without a text", "an empty list of errors"),
    ("src/sharing.rs", "captures other tensors", "a closure that is another one at each call"),
    ("src/tensor/eager.rs", "a view of no tensor", "the views that an op has given"),
    ("src/tensor/eager.rs", "a view that strides cannot say", "the same"),
    ("src/tensor/eager.rs", "an op without its program", "numbers that a program has for constants"),
    ("src/tensor/mod.rs", "expected one result", "an op that gives more than it does"),
    ("src/tree.rs", "", "a structure that does not fit the tensors taken from it"),
];

const KINDS: &[&str] =
    &["syntax", "name", "ty", "shape", "dtype", "index", "alias", "grad", "data", "device", "unsupported", "io"];

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    for e in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match e.path() {
            p if p.is_dir() => walk(&p, out),
            p if p.extension().is_some_and(|e| e == "rs" || e == "tc") => out.push(p),
            _ => {}
        }
    }
    out.sort();
}

/// A literal's text, or a source with its literals' line breaks and escapes undone.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\n')) => while chars.next_if(|c| c.is_whitespace()).is_some() {},
            ('\\', Some('"' | '\\')) | ('{', Some('{')) | ('}', Some('}')) => out.extend(chars.next()),
            (c, _) if c.is_whitespace() => {
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
                out.push(' ');
            }
            (c, _) => out.push(c),
        }
    }
    out
}

/// The pieces of a format string between what it fills in.
fn pieces(literal: &str) -> Vec<String> {
    let hidden = literal.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let fixed = hidden.split('{').enumerate().map(|(i, part)| match i {
        0 => part,
        _ => part.split_once('}').map_or("", |(_, rest)| rest),
    });
    fixed.map(|p| plain(&p.replace('\u{1}', "{").replace('\u{2}', "}")).trim().to_string()).collect()
}

/// The string literals of an argument list that begins here.
fn literals(code: &str) -> Vec<&str> {
    let (mut depth, mut out) = (1, Vec::new());
    let mut at = 0;
    let bytes = code.as_bytes();
    while depth > 0 && at < bytes.len() {
        match bytes[at] {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'"' => {
                let start = at + 1;
                at = start;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                out.push(&code[start..at.min(code.len())]);
            }
            _ => {}
        }
        at += 1;
    }
    out
}

#[test]
fn every_kind_of_refusal_has_a_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut sources, mut tests) = (Vec::new(), Vec::new());
    ["src", "ir/src", "codegen/src", "runtime/src"].iter().for_each(|d| walk(&root.join(d), &mut sources));
    ["tests", "ir/tests", "codegen/tests", "runtime/tests"].iter().for_each(|d| walk(&root.join(d), &mut tests));
    tests.retain(|p| !p.ends_with("kinds.rs"));
    let read = |p: &PathBuf| std::fs::read_to_string(p).unwrap();
    let mut cases: String = tests.iter().map(read).collect();
    let mut code: Vec<(String, String)> = Vec::new();
    for path in &sources {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let text = read(path);
        let own = if name.contains("/tests") { 0 } else { text.find("#[cfg(test)]").unwrap_or(text.len()) };
        cases += &text[own..];
        code.push((name, text[..own].to_string()));
    }
    let cases = plain(&cases);
    let mut found = 0;
    let mut used = vec![false; WITHOUT.len()];
    let mut missing = Vec::new();
    for (name, text) in &code {
        for (at, _) in text.match_indices("err::") {
            let rest = &text[at + 5..];
            let Some((kind, args)) = rest.split_once('(') else { continue };
            let line = text[..at].lines().last().unwrap_or("").trim_start();
            if !KINDS.contains(&kind) || line.starts_with("//") {
                continue;
            }
            // One that is put together elsewhere has no text of its own here.
            let longest = literals(args).into_iter().flat_map(pieces).max_by_key(String::len);
            let Some(piece) = longest.filter(|p| p.len() >= 6) else { continue };
            found += 1;
            if cases.contains(&piece) {
                continue;
            }
            match WITHOUT.iter().position(|(file, part, _)| name.starts_with(file) && piece.contains(part)) {
                Some(i) => used[i] = true,
                None => missing.push(format!("{name}:{}: {piece}", text[..at].lines().count())),
            }
        }
    }
    assert!(found > 500, "found only {found} texts");
    assert!(missing.is_empty(), "{} kinds of refusal have no case:\n{}", missing.len(), missing.join("\n"));
    let idle: Vec<_> = WITHOUT.iter().zip(&used).filter(|(_, u)| !**u).map(|(w, _)| w).collect();
    assert!(idle.is_empty(), "these need no entry: {idle:?}");
}

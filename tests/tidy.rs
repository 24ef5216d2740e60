//! What the repository promises about itself: who may import whom, how long a file is, where `unsafe` may stand, and
//! which dependencies there are. ARCHITECTURE.md holds the tables; this reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for e in entries.flatten() {
            let path = e.path();
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut out = Vec::new();
    for dir in ["src", "ir", "codegen", "runtime", "tests", "benches", "examples"] {
        walk(&root().join(dir), &mut out);
    }
    out.sort();
    assert!(out.len() > 60, "found only {} source files", out.len());
    out
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn files_open_with_their_argument_and_stay_short() {
    let mut bad = Vec::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.starts_with("//!") {
            bad.push(format!("{}: does not open with `//!`", name(&path)));
        }
        let lines = text.lines().count();
        if lines > 500 {
            bad.push(format!("{}: {lines} lines, at most 500", name(&path)));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn unsafe_stands_in_runtime_only_and_says_why() {
    let mut bad = Vec::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let uses = ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"].iter().any(|u| code.contains(u));
            if !uses || code.contains('"') {
                continue;
            }
            if !name(&path).starts_with("runtime/") {
                bad.push(format!("{}:{}: unsafe outside `runtime`", name(&path), i + 1));
            }
            // A block or an impl has its argument above; a function states its contract, a type carries none.
            let block = code.contains("unsafe {") || code.contains("unsafe impl");
            let before = &lines[i.saturating_sub(12)..i];
            if block && !before.iter().any(|l| l.contains("SAFETY:")) {
                bad.push(format!("{}:{}: unsafe without a `SAFETY:` comment", name(&path), i + 1));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// The rows `| crate | … |` of the table under that heading in ARCHITECTURE.md: first and second column.
fn table(heading: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split(&format!("## {heading}")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap_or("");
    section
        .lines()
        .filter(|l| l.starts_with('|'))
        .skip(2)
        .map(|l| {
            let cells: Vec<&str> = l.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].trim_matches('`').to_string(), cells[1].to_string())
        })
        .collect()
}

#[test]
fn crates_import_only_what_is_to_their_left() {
    let layers = table("Layers");
    assert_eq!(layers.len(), 4, "{layers:?}");
    let folder =
        |c: &str| if c == "tensorc" { "src".to_string() } else { format!("{}/src", c.trim_start_matches("tensorc-")) };
    let mut bad = Vec::new();
    for (krate, allowed) in &layers {
        let dir = root().join(folder(krate));
        for path in sources().iter().filter(|p| p.starts_with(&dir)) {
            let text = std::fs::read_to_string(path).unwrap();
            for other in layers.keys().filter(|o| *o != krate) {
                let ident = format!("{}::", other.replace('-', "_"));
                let used = text.lines().filter(|l| !l.trim_start().starts_with("//")).any(|l| {
                    l.match_indices(&ident).any(|(at, _)| !l[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
                });
                if used && !allowed.contains(&format!("`{other}`")) {
                    bad.push(format!("{} imports {other}", name(path)));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn petgraph_does_not_leave_its_files() {
    let its = ["ir/src/graph.rs", "ir/src/passes/partition/flow.rs"];
    for path in sources().into_iter().filter(|p| name(p) != "tests/tidy.rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let used =
            text.lines().any(|l| l.trim_start().starts_with("use petgraph") || l.contains(concat!(" petgraph", "::")));
        assert!(!used || its.contains(&name(&path).as_str()), "{} uses petgraph", name(&path));
    }
}

#[test]
fn passes_stand_in_the_documented_order() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut from = 0;
    for pass in tensorc_ir::passes::PASSES {
        let at = text[from..].find(&format!("`{}`", pass.name));
        from += at.unwrap_or_else(|| panic!("ARCHITECTURE.md does not name `{}` in its place", pass.name));
    }
}

/// The packages that a build with these features takes, by name and version, with their licences.
fn dependencies(features: &[&str]) -> BTreeMap<String, String> {
    let mut args = vec!["metadata", "--format-version=1", "--offline", "--filter-platform=x86_64-unknown-linux-gnu"];
    args.extend(features);
    let out = Command::new(env!("CARGO")).args(&args).current_dir(root()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let meta: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let nodes: BTreeMap<&str, &serde_json::Value> =
        meta["resolve"]["nodes"].as_array().unwrap().iter().map(|n| (n["id"].as_str().unwrap(), n)).collect();
    let mut todo = vec![meta["resolve"]["root"].as_str().unwrap()];
    let mut seen = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if !seen.insert(id) {
            continue;
        }
        for d in nodes[id]["deps"].as_array().unwrap() {
            let kinds = d["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|k| k["kind"].as_str() != Some("dev")) {
                todo.push(d["pkg"].as_str().unwrap());
            }
        }
    }
    meta["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| seen.contains(p["id"].as_str().unwrap()) && !p["source"].is_null())
        .map(|p| {
            let name = format!("{} {}", p["name"].as_str().unwrap(), p["version"].as_str().unwrap());
            (name, p["license"].as_str().unwrap_or("none").to_string())
        })
        .collect()
}

#[test]
fn dependencies_are_few_and_freely_licensed() {
    let all = dependencies(&[]);
    let library = dependencies(&["--no-default-features"]);
    println!("{} crates with the command, {} without", all.len(), library.len());
    assert!(all.len() <= 130, "{} crates with the command: {all:?}", all.len());
    assert!(library.len() <= 90, "{} crates without the command: {library:?}", library.len());
    let free = [
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unicode-3.0",
        "0BSD",
        "Unlicense",
        "CC0-1.0",
        "BSL-1.0",
        "Apache-2.0 WITH LLVM-exception",
    ];
    for (name, licence) in &dependencies(&["--all-features"]) {
        // One of the alternatives must be free as a whole.
        let fine = licence.replace('/', " OR ").split(" OR ").any(|alternative| {
            let alternative = alternative.trim_matches(['(', ')', ' ']);
            free.contains(&alternative)
                || alternative.split(" AND ").all(|l| free.contains(&l.trim_matches(['(', ')', ' '])))
        });
        assert!(fine, "{name} has the licence {licence}");
    }
}

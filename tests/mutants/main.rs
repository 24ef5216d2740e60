//! Do the tests find what they are for? A copy of the sources has a bug at each of the places in `list.txt`, asleep until
//! an environment variable wakes one of them. So there is one compilation, and each bug is a run of the test that is named
//! with it, which must fail, one of random programs within 1,000 of them; with all bugs asleep it must pass.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One bug.
struct Mutant {
    name: String,
    file: String,
    right: String,
    wrong: String,
    /// Package, test file and test that must fail.
    test: [String; 3],
}

/// The variable that wakes a bug, by its number from 1 on.
const VARIABLE: &str = "TENSORC_MUTANT";
const PROGRAMS: &str = "1000";
/// The variable that chooses bugs: those with this in their name or in that of their test.
const ONLY: &str = "MUTANTS";

fn list() -> Vec<Mutant> {
    let text = include_str!("list.txt");
    let mutants = text.split("\n== ").skip(1).map(|part| {
        let line = |k: usize, mark: &str| {
            let line = part.lines().nth(k).and_then(|l| l.strip_prefix(mark));
            line.unwrap_or_else(|| panic!("line {k} of `{part}` does not begin with `{mark}`")).to_string()
        };
        let test: Vec<String> = line(4, "~ ").split(' ').map(str::to_string).collect();
        let test = test.try_into().unwrap_or_else(|t| panic!("{t:?} is not a crate, a test file and a test"));
        Mutant { name: line(0, ""), file: line(1, ""), right: line(2, "- "), wrong: line(3, "+ "), test }
    });
    mutants.collect()
}

/// The files of the project, relative to its root.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(root.join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (dir.join(entry.file_name()), entry.file_type().unwrap());
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if kind.is_dir() && !hidden && !["target", "out"].contains(&path.to_string_lossy().as_ref()) {
                todo.push(path);
            } else if kind.is_file() && !hidden {
                all.push(path);
            }
        }
    }
    all
}

/// A manifest or lock file in which the project's crates, and none else, have another version.
fn renamed(text: &str) -> String {
    let mut out =
        text.replace("[workspace.package]\nversion = \"0.1.0\"", "[workspace.package]\nversion = \"0.1.0-mutants\"");
    for name in ["tensorc", "tensorc-ir", "tensorc-codegen", "tensorc-runtime"] {
        let entry = format!("name = \"{name}\"\nversion = \"0.1.0");
        out = out.replace(&format!("{entry}\""), &format!("{entry}-mutants\""));
        let path = name.trim_start_matches("tensorc-");
        let member = format!("path = \"{path}\", version = \"0.1.0");
        out = out.replace(&format!("{member}\""), &format!("{member}-mutants\""));
    }
    out
}

/// The sources with all bugs in them, asleep.
fn copy(root: &Path, to: &Path, mutants: &[Mutant]) {
    let files = sources(root);
    for file in &files {
        let mut text = std::fs::read(root.join(file)).unwrap();
        for (i, m) in mutants.iter().enumerate().filter(|(_, m)| Path::new(&m.file) == file) {
            let old = String::from_utf8(text).unwrap();
            assert_eq!(old.matches(&m.right).count(), 1, "`{}` stands once in {}: {}", m.right, m.file, m.name);
            let wakes = format!("{}::mutant({})", if file.starts_with("ir") { "crate" } else { "tensorc_ir" }, i + 1);
            let both = format!("(if {wakes} {{ {} }} else {{ {} }})", m.wrong, m.right);
            text = old.replace(&m.right, &both).into_bytes();
        }
        if file == Path::new("ir/src/lib.rs") {
            text.extend_from_slice(
                format!(
                    "\n/// Whether that bug is awake.\npub fn mutant(number: u32) -> bool {{\n    static AWAKE: \
                     std::sync::OnceLock<Option<u32>> = std::sync::OnceLock::new();\n    let read = || \
                     std::env::var(\"{VARIABLE}\").ok().and_then(|n| n.parse().ok());\n    *AWAKE.get_or_init(read) == \
                     Some(number)\n}}\n"
                )
                .as_bytes(),
            );
        }
        if file == Path::new("Cargo.toml") || file == Path::new("Cargo.lock") {
            // Other versions are other crates, so that they share what is built of their dependencies and nothing else.
            let old = String::from_utf8(text).unwrap();
            text = renamed(&old).into_bytes();
            assert!(text.len() > old.len(), "the version of the crates is another one");
        }
        // A file that stays as it was is not compiled again.
        let to = to.join(file);
        if std::fs::read(&to).ok().as_ref() != Some(&text) {
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, text).unwrap();
        }
    }
    let files: HashSet<PathBuf> = files.into_iter().collect();
    for old in sources(to).into_iter().filter(|f| !files.contains(f)) {
        std::fs::remove_file(to.join(old)).unwrap();
    }
}

/// Runs a test of the copy: whether it passed, and what it said. Packages are chosen as for the tests around this one, since
/// features of dependencies follow from the choice, and with others Cranelift would be built once more.
fn run(copy: &Path, test: &[String; 3], awake: usize) -> (bool, String) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(copy).args(["test", "--quiet", "--locked", "--offline", "--workspace", "--test", &test[1]]);
    if cfg!(all(feature = "cli", feature = "dlpack", feature = "ndarray")) {
        cargo.arg("--all-features");
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo.args(["--", "--exact", &test[2]]);
    cargo.env("CARGO_TARGET_DIR", target).env(VARIABLE, awake.to_string());
    cargo.env("TENSORC_CASES", PROGRAMS).env("PROPTEST_MAX_SHRINK_ITERS", "0");
    let out = cargo.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), text)
}

#[test]
fn planted_bugs_are_caught() {
    let mutants = list();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    copy(root, &to, &mutants);
    let mut asleep = HashSet::new();
    let mut missed = Vec::new();
    let only = std::env::var(ONLY).unwrap_or_default();
    for (i, m) in mutants.iter().enumerate().filter(|(_, m)| m.name.contains(&only) || m.test.join(" ").contains(&only))
    {
        if asleep.insert(m.test.clone()) {
            let (passed, text) = run(&to, &m.test, 0);
            assert!(passed && text.contains("1 passed"), "with all bugs asleep {:?} says\n{text}", m.test);
        }
        let (passed, text) = run(&to, &m.test, i + 1);
        // Wrong machine code may end the process, which is noticed as well.
        let failed = !passed && (text.contains("test result: FAILED") || text.contains("(signal: "));
        match text.split("successes: ").nth(1).and_then(|t| t.split_whitespace().next()) {
            Some(n) if failed => println!("caught after {n} programs: {}", m.name),
            None if failed => println!("caught: {}", m.name),
            _ => {
                println!("missed: {}", m.name);
                missed.push(format!("{}\n{text}", m.name));
            }
        }
    }
    assert!(missed.is_empty(), "missed:\n{}", missed.join("\n"));
}

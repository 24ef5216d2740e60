//! The table of `docs/accuracy.md`: written by sweeps, a line a function, and checked against the op table.

use crate::is_of_floats;
use crate::measure::Worst;
use crate::reference;
use libtest_mimic::Failed;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use tensorc_ir::ops::elementwise::rows;

const SEPARATOR: &str = "|---|---|---|---|---|---|\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/accuracy.md")
}

/// The text before the table's lines, and the lines by the function's name.
fn read() -> Result<(String, BTreeMap<String, String>), Failed> {
    let text = std::fs::read_to_string(path())?;
    let (head, table) = text.split_once(SEPARATOR).ok_or("docs/accuracy.md has no table")?;
    let name = |line: &str| Some(line.split('`').nth(1)?.to_string());
    Ok((head.into(), table.lines().filter_map(|l| Some((name(l)?, l.to_string()))).collect()))
}

/// The commit that is measured, with a plus if something is changed on top of it; as it was when first asked.
pub fn commit() -> &'static str {
    static COMMIT: OnceLock<String> = OnceLock::new();
    COMMIT.get_or_init(head)
}

fn head() -> String {
    let git = |args: &[&str]| {
        let out = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        Some(String::from_utf8_lossy(&out.stdout).trim().to_string())
    };
    let Some(head) = git(&["rev-parse", "--short=7", "HEAD"]) else { return "unknown".into() };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no", "--", "ir/src/scalar", "ir/src/ops/elementwise"]);
    if changed.is_some_and(|c| !c.is_empty()) { format!("{head}+") } else { head }
}

/// Writes the line of a function.
pub fn record(name: &str, all: bool, narrow: &Worst, wide: &Worst) -> Result<(), Failed> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock();
    let (head, mut lines) = read()?;
    if !all && lines.get(name).is_some_and(|l| l.contains("| all |")) {
        return Ok(());
    }
    let at = |w: &Worst| {
        let x: Vec<String> = w.at.iter().map(|x| format!("{x:e}")).collect();
        if x.is_empty() { "no operand".to_string() } else { x.join(", ") }
    };
    let how = if all { "all".to_string() } else { format!("{:.1e}", narrow.count as f64) };
    let line = format!("| `{name}` | {:.3} | {} | {how} | {:.0} | {} |", narrow.ulp, at(narrow), wide.ulp, commit());
    lines.insert(name.into(), line);
    let table: String = lines.values().map(|l| format!("{l}\n")).collect();
    Ok(std::fs::write(path(), format!("{head}{SEPARATOR}{table}"))?)
}

/// Every row of floats stands in the table, with errors that its promise allows.
pub fn check() -> Result<(), Failed> {
    let (_, lines) = read()?;
    for row in rows().filter(is_of_floats) {
        let line = lines.get(row.name()).ok_or_else(|| format!("docs/accuracy.md has no line for `{}`", row.name()))?;
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = |i: usize| cells.get(i).and_then(|c| c.parse::<f64>().ok());
        let (narrow, wide) = (number(2).ok_or("no number for f32")?, number(5).ok_or("no number for f64")?);
        let own = reference::find(row.name()).map_or(0.0, |r| r.own);
        if narrow > row.0.ulp as f64 || wide > row.ulp64() + own {
            return Err(format!("`{}` promises {} units, the table says {line}", row.name(), row.0.ulp).into());
        }
    }
    Ok(())
}

//! `tensorc ops`: the table of functions, one of them, or all of it as Markdown, which is `docs/ops.md`.
//!
//! What a function takes and gives is found out by building its example ([`tensorc_ir::describe`]).

use super::report::{Failure, say};
use tensorc_ir::Result;
use tensorc_ir::describe::describe;
use tensorc_ir::error::err;
use tensorc_ir::ops::elementwise::Row;
use tensorc_ir::ops::registry::{Entry, entries};

/// Prints signature and meaning of every function.
pub fn list() -> Result<(), Failure> {
    let mut all = entries();
    all.sort_unstable_by_key(|e| e.name);
    for e in &all {
        say(format_args!("{}\n    {}", e.signature, e.doc))?;
    }
    let forms: Vec<&str> = all.iter().filter(|e| e.is_form).map(|e| e.name).collect();
    say(format_args!(
        "\n{} functions; each but {} has an in-place form with `_` where its result fits its first operand",
        all.len(),
        forms.join(", ")
    ))
}

/// Prints all about one function.
pub fn one(name: &str) -> Result<(), Failure> {
    let all = entries();
    let base = name.strip_suffix('_').unwrap_or(name);
    let found = all.iter().find(|e| e.name == name).or_else(|| all.iter().find(|e| e.name == base && !e.is_form));
    let Some(e) = found else {
        return Err(Failure::error(err::name(format!("there is no function `{name}`"))));
    };
    say(format_args!("{}\n    {}", e.signature, e.doc))?;
    if let Some(of) = e.alias_of {
        say(format_args!("    another name of {of}"))?;
    }
    for (label, text) in about(e, true).map_err(Failure::error)? {
        say(format_args!("    {label}: {}", text.replace('`', "")))?;
    }
    Ok(())
}

/// What is found out about a function, and the accuracy of a row: labels and texts.
fn about(e: &Entry, measured: bool) -> Result<Vec<(&'static str, String)>> {
    let mut lines = describe(&e.example)?.lines();
    if let Some(row) = e.row {
        lines.push(("accuracy", accuracy(row, measured)));
    }
    Ok(lines)
}

fn accuracy(row: Row, measured: bool) -> String {
    if row.0.ulp == 0.0 {
        return "correctly rounded or exact".into();
    }
    let promise = |ulp: f64, column: usize| match cell(row.name(), column).filter(|_| measured) {
        Some(m) => format!("{ulp} ULP (measured: {m})"),
        None => format!("{ulp} ULP"),
    };
    format!("{} in f32; {} in f64", promise(row.0.ulp as f64, 2), promise(row.ulp64(), 5))
}

/// A cell of the line of a function in the table of measured errors.
fn cell(name: &str, column: usize) -> Option<&'static str> {
    let table = include_str!("../../docs/accuracy.md");
    let start = format!("| `{name}` |");
    table.lines().find(|l| l.starts_with(&start))?.split('|').nth(column).map(str::trim)
}

const HEAD: &str = "\
# Functions

Made by `tensorc ops --markdown` from the table of functions; a test compares it with the table. `tensorc ops NAME` prints
one of them.

A signature gives the parameters in order, with their kinds: a tensor (or a number) if no kind is named, `tensors` a list
of them, `int`, `ints` (one or several, as a list or as trailing arguments), `float`, `number` (a number that may be a
tensor), `bool`, `str`, `dtype`, `any` what the text says. `?` may be `None`. `f(x, a, k=v)` and `x.f(a, k=v)` are the same
call, and `x.f_(a)` writes the result into `x` where it fits: its dtype is that of `x`, or of no higher category, and it
broadcasts to the shape of `x`.

Each function has an example, of which the rest is found out. *Shapes*: what it takes and gives. *Dtypes*: those in which
the example works, and what it gives where that is another dtype. *Refused*: the other dtypes with the error.
*Derivative*: with respect to which operands of floats the example has one, and of which order; `none` where no gradient
flows. *Accuracy*: the largest error of an elementwise function in units in the last place; what was measured is in
[accuracy.md](accuracy.md). Operands broadcast and promote as in PyTorch where the text does not say else. A call that does
not fit its signature is an error of the kind `type` or `name`, shapes that do not fit one of the kind `shape`, axes and
indices out of range of the kind `index` (`data` if only the run can know).
";

/// Prints the table as Markdown.
pub fn markdown() -> Result<(), Failure> {
    let all = entries();
    let mut out = HEAD.to_string();
    let mut subject = "";
    for e in &all {
        if e.subject != subject {
            subject = e.subject;
            out += &format!("\n## {subject}\n");
        }
        out += &format!("\n### `{}`\n\n", e.name);
        if let Some(of) = e.alias_of {
            out += &format!("Another name of [`{of}`](#{}).\n", of.to_lowercase());
            continue;
        }
        out += &format!("`{}`\n\n{}\n\n", e.signature, e.doc);
        for (label, text) in about(e, false).map_err(Failure::error)? {
            out += &format!("- *{label}*: {text}\n");
        }
    }
    say(format_args!("{}", out.trim_end_matches('\n')))
}

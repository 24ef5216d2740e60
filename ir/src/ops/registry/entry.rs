//! The table of functions as documentation and tests walk it: an entry for each name, the language's own forms included.
//!
//! An elementwise row needs no example of its own: it is called on operands of its names that broadcast.

use super::{Body, signature, table};
use crate::ops::composite;
use crate::ops::elementwise::{self, Row};
use crate::text::{FORMS, WORDS};

/// A function by one of its names.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name.
    pub name: &'static str,
    /// The name with the parameters: `softmax(x, dim: int)`.
    pub signature: String,
    /// What it does.
    pub doc: &'static str,
    /// An example in the form of [`crate::describe`], by this name.
    pub example: String,
    /// What it is about: a heading of the documentation.
    pub subject: &'static str,
    /// The function of which this is another name.
    pub alias_of: Option<&'static str>,
    /// The elementwise row, if it is nothing else.
    pub row: Option<Row>,
    /// Whether it is one of the language itself and not of the table: it has no in-place form.
    pub is_form: bool,
}

/// All functions, by subject, in a subject by name.
pub fn entries() -> Vec<Entry> {
    let composites = composite::families().into_iter().flat_map(|(s, fns)| fns.iter().map(move |f| (s, f.name)));
    let rows = elementwise::families().into_iter().flat_map(|(s, rows)| rows.iter().map(move |r| (s, r.name)));
    let mut subjects: Vec<&str> = vec!["The language"];
    let mut all: Vec<Entry> = Vec::new();
    for (subject, name) in rows.chain(composites) {
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
        // A composite stands before the row of its name.
        all.retain(|e| e.name != name);
        all.extend(entry(name, subject, None));
    }
    for (alias, name) in composite::ALIASES {
        let subject = all.iter().find(|e| e.name == *name).map_or("", |e| e.subject);
        all.extend(entry(alias, subject, Some(name)));
    }
    for f in FORMS.iter().map(|f| (f.name, f.sig, f.doc, f.example)).chain(WORDS.iter().copied()) {
        let (name, sig, doc, example) = f;
        all.push(Entry {
            name,
            signature: format!("{name}({sig})"),
            doc,
            example: example.into(),
            subject: subjects[0],
            alias_of: None,
            row: None,
            is_form: true,
        });
    }
    let place = |s: &str| subjects.iter().position(|t| *t == s);
    all.sort_by_key(|e| (place(e.subject), e.name));
    all
}

fn entry(name: &'static str, subject: &'static str, alias_of: Option<&'static str>) -> Option<Entry> {
    let c = table().get(name)?;
    let (doc, row, example) = match c.body {
        Body::Row(r) => (r.0.doc, Some(r), call_of(name, r.0.args)),
        Body::Fn(d) => (d.doc, None, d.example.replacen(&format!("=> {}(", d.name), &format!("=> {name}("), 1)),
    };
    Some(Entry { name, signature: signature(c), doc, example, subject, alias_of, row, is_form: false })
}

/// A row on operands of which all but the first broadcast.
fn call_of(name: &str, args: &[&str]) -> String {
    let shape = |i: usize| if i == 0 { "[2, 3]" } else { "[3]" };
    let params: Vec<String> = args.iter().enumerate().map(|(i, a)| format!("{a}: D{}", shape(i))).collect();
    // Index checks take a size that no operand's element reaches.
    let size = |a: &&str| if *a == "size" { "100".to_string() } else { a.to_string() };
    let given: Vec<String> = args.iter().map(size).collect();
    let params: Vec<String> = params.into_iter().filter(|p| !p.starts_with("size:")).collect();
    format!("{} => {name}({})", params.join(", "), given.join(", "))
}

//! A text with its name, and errors drawn as text.
//!
//! The form is that of rustc: the message, the place, the line with the span underlined, then notes and help, each with
//! its own line of the source if it has a place. This renderer needs nothing but the text; a command that wants colours
//! draws the same [`Error`] by other means.

use std::fmt::Write;

use crate::error::{Error, Loc};

/// Lines longer than this are shown in part.
const MAX_LINE: usize = 160;

/// A text and where it came from.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    /// The byte at which each line begins.
    lines: Vec<usize>,
}

impl Source {
    /// The text `text` of the file `name` (any words that say where it came from, if it is no file).
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Source { name: name.into(), text, lines }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte, both from 1; columns count characters. A byte beyond the text counts as its end, one
    /// inside a character as its start.
    pub fn line_column(&self, byte: usize) -> (usize, usize) {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let line = self.lines.partition_point(|&start| start <= byte);
        let start = self.lines[line - 1];
        (line, self.text[start..byte].chars().count() + 1)
    }

    /// The line of that number (from 1) without its end; empty if there is none.
    pub fn line(&self, number: usize) -> &str {
        let Some(&start) = number.checked_sub(1).and_then(|i| self.lines.get(i)) else { return "" };
        let end = self.lines.get(number).map_or(self.text.len(), |&next| next - 1);
        self.text[start..end].trim_end_matches('\r')
    }
}

/// Draws the error with the lines of `source` that it is about. Ends in a newline.
///
/// ```
/// use tensorc_ir::text::{Source, parse, render_plain};
/// let source = Source::new("a.tc", "fn f(x: f32[4]) {\n    let y = x + ;\n    y\n}\n");
/// let errors = parse(source.text()).unwrap_err();
/// assert_eq!(
///     render_plain(&source, &errors[0]),
///     "error[syntax]: expected an expression, found `;`\n --> a.tc:2:17\n  |\n2 |     let y = x + ;\n  |                 ^ expected an expression\n"
/// );
/// ```
pub fn render_plain(source: &Source, error: &Error) -> String {
    let d = error.diagnostic();
    let lines = std::iter::once(d.loc).chain(d.notes.iter().map(|n| n.0)).filter_map(|loc| match loc {
        Loc::Text { start, .. } => Some(source.line_column(start as usize).0),
        _ => None,
    });
    let width = lines.max().unwrap_or(1).to_string().len();
    let mut out = format!("error[{}]: {}\n", d.kind.name(), d.message);
    place(&mut out, source, d.loc, &d.label, '^', width);
    for (loc, note) in &d.notes {
        if *loc == Loc::Unknown {
            push(&mut out, format_args!("{:width$} = note: {note}\n", ""));
        } else {
            push(&mut out, format_args!("note: {note}\n"));
            place(&mut out, source, *loc, "", '-', width);
        }
    }
    if let Some(help) = &d.help {
        push(&mut out, format_args!("{:width$} = help: {help}\n", ""));
    }
    out
}

fn push(out: &mut String, args: std::fmt::Arguments) {
    out.write_fmt(args).expect("a string takes everything");
}

/// Writes ` --> file:line:column` and, for a place in the text, the line with the span underlined.
fn place(out: &mut String, source: &Source, loc: Loc, label: &str, mark: char, width: usize) {
    let (start, end) = match loc {
        Loc::Text { start, end } => (start as usize, end as usize),
        Loc::Rust(l) => {
            return push(out, format_args!("{:width$}--> {}:{}:{}\n", "", l.file(), l.line(), l.column()));
        }
        Loc::Unknown => return,
    };
    let (line, column) = source.line_column(start);
    let (last, end_column) = source.line_column(end);
    let text: Vec<char> = source.line(line).chars().collect();
    // A span of several lines is underlined to the end of its first.
    let end_column = if last > line { text.len() + 1 } else { end_column };
    let (from, to) = (column - 1, (end_column - 1).max(column));
    let (first, shown) = window(&text, from);
    push(out, format_args!("{:width$}--> {}:{line}:{column}\n", "", source.name));
    push(out, format_args!("{:width$} |\n", ""));
    let (dots, more) = (if first > 0 { "..." } else { "" }, if shown < text.len() { "..." } else { "" });
    let visible: String = text[first..shown].iter().map(|&c| printable(c)).collect();
    push(out, format_args!("{line:>width$} | {dots}{visible}{more}\n"));
    // Tabs stay tabs, so that the marks stand under the text whatever a tab is wide.
    let before: String = text[first..from.min(shown)].iter().map(|&c| if c == '\t' { '\t' } else { ' ' }).collect();
    let marks = mark.to_string().repeat(to.min(shown.max(from + 1)) - from);
    let under = format!("{:width$} | {:dots$}{before}{marks} {label}", "", "", dots = dots.len());
    push(out, format_args!("{}\n", under.trim_end()));
}

/// The part of a long line that is shown: around character `at`.
fn window(text: &[char], at: usize) -> (usize, usize) {
    if text.len() <= MAX_LINE {
        return (0, text.len());
    }
    let first = at.saturating_sub(MAX_LINE / 2).min(text.len() - MAX_LINE);
    (first, first + MAX_LINE)
}

/// Control characters would act on the terminal.
fn printable(c: char) -> char {
    if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::err;

    fn text(range: std::ops::Range<usize>) -> Loc {
        Loc::text(range)
    }

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let s = Source::new("a", "aé\r\nb\n");
        assert_eq!(
            [0, 1, 2, 3, 5, 6, 7, 99].map(|b| s.line_column(b)),
            [(1, 1), (1, 2), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (3, 1)]
        );
        assert_eq!([0, 1, 2, 3, 4].map(|l| s.line(l)), ["", "aé", "b", "", ""]);
    }

    #[test]
    fn notes_show_their_own_line_and_help_comes_last() {
        let s = Source::new("a.tc", "fn f(x: f32[2]) {\n\tx.add_(1\n}\n");
        let e = err::syntax("expected `)`").at(text(29..30)).label("here").note(text(25..26), "`(` opened here");
        let e = e.note(Loc::Unknown, "and so on").help("close it");
        assert_eq!(
            render_plain(&s, &e),
            "error[syntax]: expected `)`\n --> a.tc:3:2\n  |\n3 | }\n  |  ^ here\nnote: `(` opened here\n --> a.tc:2:8\n  |\n\
             2 | \tx.add_(1\n  | \t      -\n  = note: and so on\n  = help: close it\n"
        );
    }

    #[test]
    fn a_span_of_several_lines_is_underlined_to_the_end_of_the_first() {
        let s = Source::new("a", "let x = f(\n1)");
        assert!(render_plain(&s, &err::ty("no").at(text(8..13))).contains("\n  |         ^^\n"));
    }

    #[test]
    fn odd_places_and_texts_are_drawn_too() {
        let long = format!("{}ERR{}", "a".repeat(1000), "b".repeat(1000));
        let s = Source::new("a", long);
        let shown = render_plain(&s, &err::ty("no").at(text(1000..1003)));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[3].find("ERR"), lines[4].find("^^^"));
        assert!(shown.len() < 600, "{shown}");
        let s = Source::new("a", "\x1b[2J\u{0}é");
        for start in 0..9 {
            for end in start..9 {
                assert!(!render_plain(&s, &err::ty("no").at(text(start..end))).contains('\x1b'));
            }
        }
        assert_eq!(render_plain(&s, &err::io("no place")), "error[io]: no place\n");
    }
}

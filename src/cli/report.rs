//! What the command says when something fails: errors with their source line, drawn as rustc draws them.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;
use std::io::{ErrorKind, IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;
use tensorc_ir::error::err;
use tensorc_ir::{Error, Loc};

/// Why the command ends with another status than 0.
pub struct Failure {
    source: Option<(String, String)>,
    errors: Vec<Error>,
    status: u8,
}

impl Failure {
    /// Errors about the text of a file.
    pub fn errors(path: &str, text: &str, errors: Vec<Error>) -> Failure {
        Failure { source: Some((path.into(), text.into())), errors, status: 1 }
    }

    /// An error about no text.
    pub fn error(e: Error) -> Failure {
        Failure { source: None, errors: vec![e], status: 1 }
    }

    /// A wrong command line.
    pub fn usage(e: Error) -> Failure {
        Failure { source: None, errors: vec![e], status: 2 }
    }

    /// Everything has been said already.
    pub fn silent() -> Failure {
        Failure { source: None, errors: Vec::new(), status: 1 }
    }

    /// Whoever reads standard output has closed it: there is nothing left to do, and nothing wrong.
    pub fn closed() -> Failure {
        Failure { source: None, errors: Vec::new(), status: 0 }
    }

    /// Prints the errors to standard error and gives the exit status.
    pub fn print(&self) -> ExitCode {
        let renderer = if std::io::stderr().is_terminal() { Renderer::styled() } else { Renderer::plain() };
        for e in &self.errors {
            complain(format_args!("{}\n", render(&renderer, self.source.as_ref(), e)));
        }
        if let n @ 2.. = self.errors.len() {
            complain(format_args!("{n} errors"));
        }
        ExitCode::from(self.status)
    }
}

/// Prints a line to standard output. A pipe that its reader has closed ends the command, quietly: `tensorc ops | head`.
///
/// # Errors
/// [`Failure::closed`], or `io`.
pub fn say(text: fmt::Arguments<'_>) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::closed()),
        r => r.map_err(|e| Failure::error(err::io(format!("standard output: {e}")))),
    }
}

/// Prints a line to standard error, if somebody is there to read it.
pub fn complain(text: fmt::Arguments<'_>) {
    // There is no place left to report a failure to.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn render(renderer: &Renderer, source: Option<&(String, String)>, e: &Error) -> String {
    let d = e.diagnostic();
    let span = |loc: Loc, text: &str| -> Option<Range<usize>> {
        let Loc::Text { start, end } = loc else { return None };
        let floor = |i: usize| (0..=i.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        Some(floor(start as usize)..floor(end as usize).max(floor(start as usize)))
    };
    let title = Level::ERROR.primary_title(&d.message).id(d.kind.name());
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut first = Group::with_title(title);
    if let Some((path, text)) = source {
        let mut snippet = Snippet::source(text.as_str()).path(path.as_str()).fold(true);
        let mut any = false;
        if let Some(s) = span(d.loc, text) {
            snippet = snippet.annotation(AnnotationKind::Primary.span(s).label(&d.label));
            any = true;
        }
        for (loc, note) in &d.notes {
            if let Some(s) = span(*loc, text) {
                snippet = snippet.annotation(AnnotationKind::Context.span(s).label(note));
                any = true;
            }
        }
        if any {
            first = first.element(snippet);
        }
    }
    for (loc, note) in &d.notes {
        if source.is_none_or(|(_, text)| span(*loc, text).is_none()) {
            first = first.element(Level::NOTE.message(note));
        }
    }
    if let Some(help) = &d.help {
        first = first.element(Level::HELP.message(help));
    }
    groups.push(first);
    renderer.render(&groups)
}

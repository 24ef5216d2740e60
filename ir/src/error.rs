//! Errors: one type for everything that can be wrong with a program, an input or a run.
//!
//! An [`Error`] has a [`Kind`] (the `KIND` of `error[KIND]: …`), a message that names the op and the shapes, the place
//! in the user's own text, and notes that point at second places. It renders as one paragraph by `Display`; the command
//! draws it with the source line.

use std::fmt;
use std::panic::Location;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in the user's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Loc {
    /// Not known.
    #[default]
    Unknown,
    /// A line of the caller's Rust.
    Rust(&'static Location<'static>),
    /// Bytes `start..end` of the `.tc` text being compiled.
    Text {
        /// First byte.
        start: u32,
        /// One past the last byte.
        end: u32,
    },
}

impl Loc {
    /// The line of Rust that called the function which calls this (and is marked `#[track_caller]`).
    #[track_caller]
    pub fn caller() -> Loc {
        Loc::Rust(Location::caller())
    }

    /// The bytes `span` of the `.tc` text.
    pub fn text(span: std::ops::Range<usize>) -> Loc {
        Loc::Text { start: span.start as u32, end: span.end as u32 }
    }

    /// The smallest place that covers both, when both are text; else the first.
    pub fn to(self, other: Loc) -> Loc {
        match (self, other) {
            (Loc::Text { start: a, end: b }, Loc::Text { start: c, end: d }) => {
                Loc::Text { start: a.min(c), end: b.max(d) }
            }
            _ => self,
        }
    }
}

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loc::Unknown => f.write_str("?"),
            Loc::Rust(l) => write!(f, "{}:{}:{}", l.file(), l.line(), l.column()),
            Loc::Text { start, end } => write!(f, "bytes {start}..{end}"),
        }
    }
}

/// The kinds of error, as the command prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The text does not parse.
    Syntax,
    /// An unknown name, or one defined twice.
    Name,
    /// A value of the wrong sort: a tuple for a tensor, too many arguments.
    Type,
    /// Shapes that do not fit.
    Shape,
    /// Dtypes that do not fit.
    Dtype,
    /// An index or axis out of range.
    Index,
    /// A write that is not allowed, or memory that is shared where it may not be.
    Alias,
    /// A derivative that does not exist.
    Grad,
    /// A failure that depends on the data: an index out of range, an integer division by zero.
    Data,
    /// A device that is missing or mixed up.
    Device,
    /// Something known that this version does not do.
    Unsupported,
    /// A file.
    Io,
}

impl Kind {
    /// The word in brackets after `error`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Syntax => "syntax",
            Kind::Name => "name",
            Kind::Type => "type",
            Kind::Shape => "shape",
            Kind::Dtype => "dtype",
            Kind::Index => "index",
            Kind::Alias => "alias",
            Kind::Grad => "grad",
            Kind::Data => "data",
            Kind::Device => "device",
            Kind::Unsupported => "unsupported",
            Kind::Io => "io",
        }
    }
}

/// Everything that is known about one error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The kind.
    pub kind: Kind,
    /// What is wrong, with the op and the shapes.
    pub message: String,
    /// Where.
    pub loc: Loc,
    /// What stands at `loc`, shown under the underlined span; may be empty.
    pub label: String,
    /// Second places: the write, the definition.
    pub notes: Vec<(Loc, String)>,
    /// What to do.
    pub help: Option<String>,
    /// Whether nothing is wrong but that symbolic sizes are not known: with numbers in their place it may be right.
    pub waits_for_sizes: bool,
}

/// An error; see [`Diagnostic`] for what it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", render(.0))]
pub struct Error(Box<Diagnostic>);

impl Error {
    /// An error of that kind, at no place yet.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error(Box::new(Diagnostic {
            kind,
            message: message.into(),
            loc: Loc::Unknown,
            label: String::new(),
            notes: Vec::new(),
            help: None,
            waits_for_sizes: false,
        }))
    }

    /// Sets the place, unless the error already has one.
    pub fn at(mut self, loc: Loc) -> Error {
        if self.0.loc == Loc::Unknown {
            self.0.loc = loc;
        }
        self
    }

    /// Sets the place, whatever it was.
    pub fn moved(mut self, loc: Loc) -> Error {
        self.0.loc = loc;
        self
    }

    /// Sets the text under the underlined span.
    pub fn label(mut self, label: impl Into<String>) -> Error {
        self.0.label = label.into();
        self
    }

    /// Adds a second place.
    pub fn note(mut self, loc: Loc, note: impl Into<String>) -> Error {
        self.0.notes.push((loc, note.into()));
        self
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Error {
        self.0.help = Some(help.into());
        self
    }

    /// Says that nothing is wrong but that symbolic sizes are not known.
    pub fn waiting_for_sizes(mut self) -> Error {
        self.0.waits_for_sizes = true;
        self
    }

    /// Whether nothing is wrong but that symbolic sizes are not known.
    pub fn is_waiting_for_sizes(&self) -> bool {
        self.0.waits_for_sizes
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Everything that is known.
    pub fn diagnostic(&self) -> &Diagnostic {
        &self.0
    }
}

fn render(d: &Diagnostic) -> String {
    let mut s = format!("error[{}]: {}", d.kind.name(), d.message);
    if d.loc != Loc::Unknown {
        s += &format!("\n  at {}", d.loc);
        if !d.label.is_empty() {
            s += &format!(": {}", d.label);
        }
    }
    for (loc, note) in &d.notes {
        s += &format!("\n  note: {note}");
        if *loc != Loc::Unknown {
            s += &format!(" (at {loc})");
        }
    }
    if let Some(help) = &d.help {
        s += &format!("\n  help: {help}");
    }
    s
}

macro_rules! kinds {
    ($($name:ident = $kind:ident),* $(,)?) => {
        $(#[doc = concat!("An error of kind [`Kind::", stringify!($kind), "`].")]
        pub fn $name(message: impl Into<String>) -> Error {
            Error::new(Kind::$kind, message)
        })*
    };
}

/// Constructors with the kind's name: `err::shape("…")`.
pub mod err {
    use super::{Error, Kind};

    /// What no program, input or call can lead to: a mistake of the compiler's own, kept from becoming a panic.
    pub fn internal(what: impl std::fmt::Display) -> Error {
        Error::new(Kind::Unsupported, format!("internal error: {what}")).help("please report it, with the program")
    }

    kinds! {
        syntax = Syntax, name = Name, ty = Type, shape = Shape, dtype = Dtype, index = Index, alias = Alias,
        grad = Grad, data = Data, device = Device, unsupported = Unsupported, io = Io,
    }
}

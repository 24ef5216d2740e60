//! The `.tc` language: text to tokens to syntax tree, the tree back to canonical text, the tree to graphs and graphs to
//! text, and errors drawn with the line they are about.
//!
//! The idea: the parser is written by hand, one function for each rule of the grammar, and goes on after an error, so
//! that a file's errors are all reported at once. The tree says what was written and knows no op and no shape; turning
//! it into a graph is [`elaborate`]'s work, and nobody else's. No input, however broken, panics here.

pub mod ast;
mod check;
mod doc;
pub mod elaborate;
mod erase;
mod format;
mod lexer;
mod parse;
pub mod print;
pub mod restore;
mod source;
mod words;

use crate::error::Loc;

pub use elaborate::{Bound, FORMS, FnId, Form, Module, Sizes, ViewOf, view_of};
pub use format::format;
pub use parse::{parse, parse_expr};
pub use source::{Source, render_plain};
pub use words::WORDS;

/// How deeply expressions may nest: the height of every tree that the parser makes, and the depth of its own recursion.
/// It keeps everything that walks a tree by recursion off the end of the stack.
pub const MAX_DEPTH: u32 = 256;

/// The bytes of a place in the text; empty, at the front, for other places.
fn bytes(loc: Loc) -> std::ops::Range<u32> {
    match loc {
        Loc::Text { start, end } => start..end,
        _ => 0..0,
    }
}

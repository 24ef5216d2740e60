//! Layout: a document of texts and possible line breaks, printed within a width.
//!
//! The idea is Wadler's: a [`Doc::Group`] stands on one line if it fits there, otherwise its own breaks (not those of
//! the groups inside) become newlines. A comment ends its line, so every group around one is broken. The work is linear
//! in the document, but for a look ahead of at most one line at each group.

/// A document.
#[derive(Clone, Debug)]
pub(super) enum Doc {
    /// Text without a newline.
    Text(String),
    /// A space, or a newline in a broken group.
    Line,
    /// Nothing, or a newline in a broken group.
    Soft,
    /// A newline always.
    Hard,
    /// Text that is printed in a broken group only.
    IfBroken(&'static str),
    /// A comment behind what stands on the line. A break must follow.
    Trailing(String),
    /// A comment at the start of a line. A break must follow.
    Comment(String),
    /// Parts in a row.
    Concat(Vec<Doc>),
    /// Parts whose newlines are followed by four spaces more.
    Nest(Vec<Doc>),
    /// Parts on one line if they fit; built by [`group`].
    Group {
        /// The parts.
        parts: Vec<Doc>,
        /// Whether it must be broken.
        broken: bool,
    },
}

/// A group of parts.
pub(super) fn group(parts: Vec<Doc>) -> Doc {
    let broken = parts.iter().any(must_break);
    Doc::Group { parts, broken }
}

/// A text.
pub(super) fn text(s: impl Into<String>) -> Doc {
    Doc::Text(s.into())
}

fn must_break(doc: &Doc) -> bool {
    match doc {
        Doc::Hard | Doc::Trailing(_) | Doc::Comment(_) => true,
        Doc::Text(_) | Doc::Line | Doc::Soft | Doc::IfBroken(_) => false,
        Doc::Concat(parts) | Doc::Nest(parts) => parts.iter().any(must_break),
        Doc::Group { broken, .. } => *broken,
    }
}

/// Prints `doc`, which begins `indent` columns from the left, in lines of `width` characters where that can be done.
pub(super) fn print(out: &mut String, doc: &Doc, indent: usize, width: usize) {
    let mut column = indent;
    let mut stack = vec![(indent, true, doc)];
    while let Some((indent, broken, doc)) = stack.pop() {
        let mut put = |s: &str| {
            out.push_str(s);
            column += s.chars().count();
        };
        match doc {
            Doc::Text(s) | Doc::Comment(s) => put(s),
            Doc::Trailing(s) => {
                put("  ");
                put(s);
            }
            Doc::IfBroken(s) if broken => put(s),
            Doc::Line if !broken => put(" "),
            Doc::IfBroken(_) | Doc::Soft if !broken => {}
            Doc::IfBroken(_) => {}
            Doc::Line | Doc::Soft | Doc::Hard => {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            }
            Doc::Concat(parts) => stack.extend(parts.iter().rev().map(|d| (indent, broken, d))),
            Doc::Nest(parts) => stack.extend(parts.iter().rev().map(|d| (indent + 4, broken, d))),
            Doc::Group { parts, broken } => {
                let broken = *broken || !fits(parts, &stack, width.saturating_sub(column));
                stack.extend(parts.iter().rev().map(|d| (indent, broken, d)));
            }
        }
    }
}

/// Whether `parts` on one line, and what follows up to the next possible break, fit in `room` characters.
fn fits(parts: &[Doc], rest: &[(usize, bool, &Doc)], room: usize) -> bool {
    let mut room = room;
    let mut stack: Vec<(bool, &Doc)> = parts.iter().rev().map(|d| (false, d)).collect();
    let mut rest = rest.iter().rev();
    loop {
        let (may_break, doc) = match stack.pop() {
            Some(top) => top,
            // What follows may break at its own breaks only if the group that holds them is broken.
            None => match rest.next() {
                Some(&(_, broken, doc)) => (broken, doc),
                None => return true,
            },
        };
        let len = match doc {
            Doc::Text(s) => s.chars().count(),
            Doc::Line | Doc::Soft if may_break => return true,
            Doc::Hard | Doc::Trailing(_) | Doc::Comment(_) => return true,
            Doc::Line => 1,
            Doc::Soft => 0,
            Doc::IfBroken(s) => usize::from(may_break) * s.len(),
            Doc::Concat(parts) | Doc::Nest(parts) | Doc::Group { parts, .. } => {
                stack.extend(parts.iter().rev().map(|d| (may_break, d)));
                0
            }
        };
        if len > room {
            return false;
        }
        room -= len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, args: Vec<Doc>) -> Doc {
        let mut inner = vec![Doc::Soft];
        for (i, a) in args.into_iter().enumerate() {
            if i > 0 {
                inner.extend([text(","), Doc::Line]);
            }
            inner.push(a);
        }
        inner.push(Doc::IfBroken(","));
        group(vec![text(name), text("("), Doc::Nest(inner), Doc::Soft, text(")")])
    }

    fn printed(doc: &Doc, width: usize) -> String {
        let mut out = String::new();
        print(&mut out, doc, 0, width);
        out
    }

    #[test]
    fn the_outer_group_breaks_first() {
        let doc = call("f", vec![call("g", vec![text("a"), text("b")]), text("c")]);
        assert_eq!(printed(&doc, 12), "f(\n    g(a, b),\n    c,\n)");
        assert_eq!(printed(&doc, 13), "f(g(a, b), c)");
    }

    #[test]
    fn a_comment_breaks_every_group_around_it() {
        let doc =
            call("f", vec![text("a"), call("g", vec![Doc::Concat(vec![Doc::Comment("// c".into()), Doc::Hard])])]);
        assert_eq!(printed(&doc, 80), "f(\n    a,\n    g(\n        // c\n        ,\n    ),\n)");
    }

    #[test]
    fn what_follows_a_group_counts_up_to_its_first_break() {
        let doc = Doc::Concat(vec![call("f", vec![text("a")]), call(".g", vec![text("bbbbbb")])]);
        assert_eq!(printed(&doc, 8), "f(a).g(\n    bbbbbb,\n)");
    }
}

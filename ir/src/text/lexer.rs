//! Text to tokens.
//!
//! Logos finds the tokens; a loop around it does what a regular expression does badly: numbers (`1.` is a float but
//! `1.T` is a member of `1`), block comments, and spellings of other languages (`&&`, `#`, `'text'`), each of which is
//! reported once with what to write instead and then stands for what was meant. Comments are kept on the side, for the
//! formatter. A token holds no value: the parser reads it from the text.

use logos::Logos;

use crate::error::{Error, Loc, err};

/// The sorts of token.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(skip r"[ \t\r\n\x0b\x0c\u{feff}]+")]
pub(super) enum Tok {
    #[token("fn")]
    Fn,
    #[token("let")]
    Let,
    #[token("mut")]
    Mut,
    #[token("true")]
    True,
    #[token("false")]
    False,
    #[token("None")]
    None,
    #[token("inf")]
    #[token("nan")]
    #[regex(r"\.[0-9]+")]
    Float,
    #[regex("[0-9]+")]
    Int,
    #[regex("f64|f32|f16|bf16|i64|i32|i16|i8|u8|bool")]
    DType,
    #[regex("[A-Za-z_][A-Za-z0-9_]*")]
    Name,
    #[regex(r#""([^"\\\n]|\\[^\n])*""#)]
    Str,
    /// A string without its closing quote. Becomes [`Tok::Str`].
    #[regex(r#""([^"\\\n]|\\[^\n])*\\?"#)]
    OpenStr,
    /// `'text'`. Becomes [`Tok::Str`].
    #[regex(r"'[^'\n]*'?")]
    Quoted,
    #[token("(")]
    LParen,
    #[token(")")]
    RParen,
    #[token("[")]
    LBracket,
    #[token("]")]
    RBracket,
    #[token("{")]
    LBrace,
    #[token("}")]
    RBrace,
    #[token(",")]
    Comma,
    #[token(";")]
    Semi,
    #[token(":")]
    Colon,
    #[token("->")]
    Arrow,
    #[token(".")]
    Dot,
    #[token("...")]
    Ellipsis,
    #[token("=")]
    Set,
    #[token("+=")]
    AddSet,
    #[token("-=")]
    SubSet,
    #[token("*=")]
    MulSet,
    #[token("/=")]
    DivSet,
    /// An assignment operator that the language does not have.
    #[token("**=")]
    #[token("%=")]
    #[token("@=")]
    #[token("&=")]
    #[token("|=")]
    #[token("^=")]
    #[token("<<=")]
    #[token(">>=")]
    OtherSet,
    #[token("==")]
    Eq,
    #[token("!=")]
    Ne,
    #[token("<")]
    Lt,
    #[token("<=")]
    Le,
    #[token(">")]
    Gt,
    #[token(">=")]
    Ge,
    #[token("|")]
    #[token("||")]
    Or,
    #[token("^")]
    Xor,
    #[token("&")]
    #[token("&&")]
    And,
    #[token("<<")]
    Shl,
    #[token(">>")]
    Shr,
    #[token("+")]
    Plus,
    #[token("-")]
    Minus,
    #[token("*")]
    Star,
    #[token("/")]
    Slash,
    #[token("%")]
    Percent,
    #[token("@")]
    At,
    #[token("**")]
    Pow,
    #[token("!")]
    #[token("~")]
    Bang,
    /// Dropped from the tokens.
    #[regex("//[^\n]*", allow_greedy = true)]
    Comment,
    /// A Python comment. Dropped from the tokens.
    #[regex("#[^\n]*", allow_greedy = true)]
    Hash,
    /// The start of a block comment. Dropped, with the comment, from the tokens.
    #[token("/*")]
    Block,
    /// Characters that begin no token; already reported.
    Bad,
    /// What the parser sees behind the last token.
    End,
}

impl Tok {
    /// How messages name the token; names, numbers and strings are named by the parser, with their text.
    pub(super) fn quoted(self) -> &'static str {
        match self {
            Tok::LParen => "`(`",
            Tok::RParen => "`)`",
            Tok::LBracket => "`[`",
            Tok::RBracket => "`]`",
            Tok::LBrace => "`{`",
            Tok::RBrace => "`}`",
            Tok::Comma => "`,`",
            Tok::Semi => "`;`",
            Tok::Colon => "`:`",
            Tok::Arrow => "`->`",
            Tok::Set => "`=`",
            Tok::Fn => "`fn`",
            Tok::Name => "a name",
            Tok::End => "the end of the file",
            _ => "a token",
        }
    }
}

/// One token: its sort and its bytes `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) tok: Tok,
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Token {
    pub(super) fn loc(self) -> Loc {
        Loc::Text { start: self.start, end: self.end }
    }
}

/// A `// …` comment: the bytes `start..end`, without the line's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comment {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// Everything found in a text.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    pub(super) tokens: Vec<Token>,
    pub(super) comments: Vec<Comment>,
    pub(super) errors: Vec<Error>,
}

/// Splits `src` into tokens and comments. Text beyond 4 GiB is refused, since places are 32 bits wide.
pub(super) fn lex(src: &str) -> Lexed {
    let mut out = Lexed::default();
    if u32::try_from(src.len()).is_err() {
        out.errors.push(err::syntax("the text is longer than 4 GiB"));
        return out;
    }
    let mut lexer = Tok::lexer(src);
    while let Some(found) = lexer.next() {
        let mut tok = found.unwrap_or(Tok::Bad);
        if tok == Tok::Int {
            let (len, float) = number(src, lexer.span().start);
            lexer.bump(len - lexer.slice().len());
            tok = if float { Tok::Float } else { Tok::Int };
        } else if tok == Tok::Block {
            let rest = lexer.remainder();
            lexer.bump(rest.find("*/").map_or(rest.len(), |i| i + 2));
        }
        let (span, text) = (lexer.span(), lexer.slice());
        let loc = Loc::text(span.clone());
        match tok {
            Tok::Comment => {
                out.comments.push(Comment { start: span.start as u32, end: span.end as u32 });
                continue;
            }
            // One error for a run of strange characters.
            Tok::Bad if out.tokens.last().is_some_and(|t| t.tok == Tok::Bad && t.end as usize == span.start) => {
                let last = out.tokens.len() - 1;
                out.tokens[last].end = span.end as u32;
                continue;
            }
            _ => {}
        }
        if let Some(e) = complaint(tok, text) {
            out.errors.push(e.at(loc));
        }
        match tok {
            Tok::Hash | Tok::Block => continue,
            Tok::OpenStr | Tok::Quoted => tok = Tok::Str,
            _ => {}
        }
        out.tokens.push(Token { tok, start: span.start as u32, end: span.end as u32 });
    }
    out
}

/// The length of the number at byte `at`, which is a digit, and whether it is a float. Letters that follow belong to it
/// (`0x1f`, `1_000`), so that they are one error.
fn number(src: &str, at: usize) -> (usize, bool) {
    let bytes = &src.as_bytes()[at..];
    let digits = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let exponent = |from: usize| {
        let sign = from + 1 + usize::from(matches!(bytes.get(from + 1), Some(b'+' | b'-')));
        let starts = matches!(bytes.get(from), Some(b'e' | b'E'));
        (starts && bytes.get(sign).is_some_and(u8::is_ascii_digit)).then(|| digits(sign))
    };
    let mut end = digits(0);
    let mut float = false;
    if bytes.get(end) == Some(&b'.') {
        // `1.T` and `1...` are not floats, `1.`, `1.5` and `1.e5` are.
        let stops = bytes.get(end + 1).is_some_and(|&b| b == b'.' || (word(b) && !b.is_ascii_digit()));
        if !stops || exponent(end + 1).is_some() {
            end = digits(end + 1);
            float = true;
        }
    }
    if let Some(e) = exponent(end) {
        end = e;
        float = true;
    }
    end += bytes[end..].iter().take_while(|&&b| word(b)).count();
    (end, float)
}

/// What is wrong with a token by itself, if anything is.
fn complaint(tok: Tok, text: &str) -> Option<Error> {
    let written =
        |want: &str| err::syntax(format!("`{text}` is not part of the language")).help(format!("write {want}"));
    match (tok, text) {
        (Tok::Int | Tok::Float, _) => bad_number(tok, text),
        (Tok::OpenStr, _) => Some(
            err::syntax("a string without its closing quote").help("a string ends with `\"` on the line it began on"),
        ),
        (Tok::Quoted, _) => Some(err::syntax("strings stand between double quotes").help("write `\"` for `'`")),
        (Tok::Hash, _) => {
            Some(err::syntax("`#` does not begin a comment").label("here").help("a comment begins with `//`"))
        }
        (Tok::Block, _) => Some(
            err::syntax("block comments are not part of the language").help("begin each line of a comment with `//`"),
        ),
        (Tok::Or, "||") => Some(written("`|` or `logical_or(a, b)`")),
        (Tok::And, "&&") => Some(written("`&` or `logical_and(a, b)`")),
        (Tok::Bang, "~") => Some(written("`!`")),
        (Tok::OtherSet, _) => {
            let op = text.trim_end_matches('=');
            Some(written(&format!("`x.copy_(x {op} …);` (the writing operators are `=`, `+=`, `-=`, `*=` and `/=`)")))
        }
        (Tok::Bad, _) => Some(match text.chars().next() {
            Some(c) if !c.is_control() && !c.is_whitespace() => err::syntax(format!("no token begins with `{c}`")),
            Some(c) => err::syntax(format!("no token begins with the character U+{:04X}", c as u32)),
            None => err::internal("a character that begins no token"),
        }),
        _ => None,
    }
}

fn bad_number(tok: Tok, text: &str) -> Option<Error> {
    if text == "inf" || text == "nan" {
        return None;
    }
    let bad = |help: &str| Some(err::syntax(format!("`{text}` is not a number")).help(help));
    let Ok(value) = text.parse::<f64>() else {
        return bad(if text.contains('_') {
            "write the digits without `_`"
        } else {
            "an operator or a space is missing, or digits that are not decimal"
        });
    };
    if tok == Tok::Float && value.is_infinite() {
        return Some(err::syntax(format!("`{text}` is beyond the largest float")).help("write `inf` for infinity"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toks(src: &str) -> Vec<(Tok, &str)> {
        lex(src).tokens.iter().map(|t| (t.tok, &src[t.start as usize..t.end as usize])).collect()
    }

    #[test]
    fn numbers_stop_where_python_stops_them() {
        assert_eq!(
            toks("1 1. 1.5e-3 .5 1e3 1.e5").iter().map(|t| t.0).collect::<Vec<_>>(),
            [Tok::Int, Tok::Float, Tok::Float, Tok::Float, Tok::Float, Tok::Float]
        );
        assert_eq!(toks("1.T"), [(Tok::Int, "1"), (Tok::Dot, "."), (Tok::Name, "T")]);
        assert_eq!(toks("1..."), [(Tok::Int, "1"), (Tok::Ellipsis, "...")]);
        assert_eq!(toks("1.0.T").last(), Some(&(Tok::Name, "T")));
    }

    #[test]
    fn a_malformed_number_is_one_error() {
        for src in ["1_000", "0x1f", "12abc", "1e", "1.5f", "1e999"] {
            let lexed = lex(src);
            assert_eq!((lexed.tokens.len(), lexed.errors.len()), (1, 1), "{src}");
        }
    }

    #[test]
    fn names_keywords_and_dtypes() {
        assert_eq!(
            toks("fn fnx f32 f32x bf16 None nan nano _").iter().map(|t| t.0).collect::<Vec<_>>(),
            [Tok::Fn, Tok::Name, Tok::DType, Tok::Name, Tok::DType, Tok::None, Tok::Float, Tok::Name, Tok::Name]
        );
    }

    #[test]
    fn comments_are_kept_beside_the_tokens() {
        let lexed = lex("a // one\n// two");
        assert_eq!(lexed.tokens.len(), 1);
        assert_eq!(lexed.comments, [Comment { start: 2, end: 8 }, Comment { start: 9, end: 15 }]);
    }

    #[test]
    fn spellings_of_other_languages_say_what_to_write() {
        for (src, help) in [
            ("a && b", "`&`"),
            ("~a", "`!`"),
            ("# hm\n", "`//`"),
            ("'s'", "`\"`"),
            ("/* x */ a", "`//`"),
            ("\"abc\n", "`\"`"),
            ("a %= b", "copy_"),
        ] {
            let errors = lex(src).errors;
            assert_eq!(errors.len(), 1, "{src}");
            assert!(errors[0].diagnostic().help.as_deref().unwrap_or_default().contains(help), "{src}: {}", errors[0]);
        }
    }

    #[test]
    fn a_run_of_strange_characters_is_one_error() {
        let lexed = lex("a $$?é b");
        assert_eq!((lexed.tokens.len(), lexed.errors.len()), (3, 1));
    }
}

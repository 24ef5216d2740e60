//! The language's front on whole programs: texts that people wrote, and random ones.
//!
//! What is held here: nothing panics, whatever the text; every error can be drawn; and whatever parses is the same
//! program after the formatter, which changes nothing the second time and loses no comment. The random tests draw a few
//! hundred cases each, so that they cost a second together.

use proptest::prelude::*;
use tensorc_ir::text::ast::Program;
use tensorc_ir::text::{Module, Source, format, parse, render_plain};

/// Programs of the golden cases, one a line.
const SOURCES: &str = include_str!("text/sources.tc");

/// The examples of the language's description.
const EXAMPLES: &str = "
// A whole training step. `mut` parameters are updated in place in the caller's memory.
fn train_step(
    x: f32[B, 784], target: i64[B],
    w1: mut f32[784, 512], b1: mut f32[512],
    w2: mut f32[512, 10],  b2: mut f32[10],
    lr: f32,
) -> f32 {
    let h = relu(x @ w1 + b1);
    let loss = cross_entropy(h @ w2 + b2, target);
    let (dw1, db1, dw2, db2) = grad(loss, (w1, b1, w2, b2));   // symbolic, fused, differentiable again
    w1 -= lr * dw1;  b1 -= lr * db1;
    w2 -= lr * dw2;  b2 -= lr * db2;
    loss
}

fn views(x: mut f32[4, 4]) -> (f32[2, 8], f32) {
    let y = x.view(-1, 8);        // shares x's memory
    x[0] = 2;                     // y sees it
    x[1:3, ::2].mul_(10);         // and this
    let z = x.clone();            // a copy
    z.add_(1);                    // x does not see it
    (y, x[1, 2])                  // y is returned as a view of x
}
";

/// Parses, formats and parses again; returns the canonical text.
fn round_trip(src: &str, program: Program) -> String {
    let out = format(&program, src);
    let again = parse(&out).unwrap_or_else(|e| panic!("does not parse again: {}\n{src}\n---\n{out}", e[0]));
    assert_eq!(format(&again, &out), out, "the second time differs, for\n{src}");
    assert_eq!(again.without_locs(), program.without_locs(), "another program:\n{src}\n---\n{out}");
    out
}

/// Parses a text of any kind. Errors must be drawable; a program must survive the formatter.
fn survive(src: &str) {
    match parse(src) {
        Ok(program) => {
            round_trip(src, program);
        }
        Err(errors) => {
            assert!((1..=100).contains(&errors.len()));
            let source = Source::new("soup", src);
            for e in &errors {
                assert!(render_plain(&source, e).starts_with("error["), "{e}");
            }
        }
    }
}

#[test]
fn golden_sources_parse_and_survive_the_formatter() {
    let mut count = 0;
    for src in SOURCES.lines() {
        let program = parse(src).unwrap_or_else(|e| panic!("{}", render_plain(&Source::new("golden", src), &e[0])));
        round_trip(src, program);
        count += 1;
    }
    assert!(count >= 60, "only {count} sources");
}

#[test]
fn the_examples_of_the_description_are_nearly_canonical() {
    let program = parse(EXAMPLES).unwrap_or_else(|e| panic!("{}", e[0]));
    let out = round_trip(EXAMPLES, program);
    assert_eq!(out.matches("//").count(), EXAMPLES.matches("//").count());
    assert!(out.contains(
        "    let (dw1, db1, dw2, db2) = grad(loss, (w1, b1, w2, b2));  // symbolic, fused, differentiable again\n    w1 -= lr * dw1;\n"
    ));
}

#[test]
fn every_prefix_of_a_program_is_answered() {
    for end in (0..EXAMPLES.len()).step_by(7).filter(|&i| EXAMPLES.is_char_boundary(i)) {
        survive(&EXAMPLES[..end]);
    }
}

const TOKENS: &[&str] = &[
    "fn",
    "let",
    "mut",
    "true",
    "None",
    "inf",
    "f32",
    "i64",
    "bool",
    "x",
    "y_",
    "B",
    "_",
    "0",
    "1",
    "2.5",
    "1.",
    ".5",
    "1e3",
    "99999999999999999999",
    "9223372036854775808",
    "\"s\"",
    "\"",
    "'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    ":",
    "->",
    ".",
    "...",
    "=",
    "+=",
    "==",
    "!=",
    "<",
    "|",
    "^",
    "&",
    "<<",
    "+",
    "-",
    "*",
    "/",
    "%",
    "@",
    "**",
    "!",
    "// c\n",
    "/*",
    "*/",
    "#",
    "é",
    "\\",
    "\n",
    "return",
    "if",
];

fn soup(len: usize) -> impl Strategy<Value = String> {
    prop::collection::vec((prop::sample::select(TOKENS), prop::bool::weighted(0.7)), 0..len)
        .prop_map(|ts| ts.into_iter().map(|(t, space)| format!("{t}{}", if space { " " } else { "" })).collect())
}

/// Space, sometimes with a comment, between any two tokens of a random program.
fn gap() -> BoxedStrategy<String> {
    prop_oneof![12 => Just(" "), 2 => Just("\n"), 1 => Just("\n\n\n"), 1 => Just(" // c\n"), 1 => Just("\n// d\n")]
        .prop_map(str::to_string)
        .boxed()
}

/// The tokens joined by random gaps.
fn spaced(parts: Vec<BoxedStrategy<String>>) -> BoxedStrategy<String> {
    let n = parts.len();
    (parts, prop::collection::vec(gap(), n))
        .prop_map(|(p, g)| p.into_iter().zip(g).map(|(p, g)| p + &g).collect())
        .boxed()
}

fn word(s: &str) -> BoxedStrategy<String> {
    Just(s.to_string()).boxed()
}

fn one_of(items: &'static [&'static str]) -> BoxedStrategy<String> {
    prop::sample::select(items).prop_map(str::to_string).boxed()
}

/// A random expression, by the grammar.
fn expr() -> BoxedStrategy<String> {
    let leaf =
        one_of(&["x", "yy", "0", "17", "1.5", "2.", "nan", "true", "None", "\"s\\n\"", "f32", "a_long_name_for_lines"]);
    leaf.prop_recursive(5, 40, 4, |e| {
        let op = one_of(&["+", "-", "*", "@", "/", "%", "**", "<<", ">>", "&", "^", "|"]);
        let several = prop::collection::vec((e.clone(), gap()), 1..5)
            .prop_map(|v| v.into_iter().map(|(e, g)| e + &g).collect::<Vec<_>>().join(","))
            .boxed();
        let index = prop_oneof![
            2 => e.clone(),
            1 => spaced(vec![e.clone(), word(":"), e.clone(), word(":"), e.clone()]),
            1 => one_of(&[":", "::", "...", "None", "1:", ":-1"]),
        ];
        prop_oneof![
            4 => spaced(vec![e.clone(), op, e.clone()]),
            1 => spaced(vec![word("("), e.clone(), one_of(&["<", "==", ">="]), e.clone(), word(")")]),
            1 => spaced(vec![one_of(&["-", "!"]), e.clone()]),
            2 => spaced(vec![word("("), e.clone(), word(")")]),
            1 => spaced(vec![word("("), e.clone(), word(",)")]),
            1 => spaced(vec![word("["), several.clone(), word("]")]),
            2 => spaced(vec![word("x"), word("["), index.clone().boxed(), word(","), index.boxed(), word("]")]),
            1 => spaced(vec![word("g("), several.clone(), word(", k ="), e.clone(), one_of(&[")", ",)"])]),
            2 => spaced(vec![word("("), e.clone(), word(")"), word("."), word("view"), word("("), several, word(")")]),
            1 => spaced(vec![word("("), e, word(")"), word("."), word("T")]),
        ]
        .boxed()
    })
    .boxed()
}

fn program() -> BoxedStrategy<String> {
    let stmt = prop_oneof![
        spaced(vec![
            word("let"),
            one_of(&["a", "(a, b)", "(a,)", "a: f32[2, 3 * (1 + 4)]"]),
            word("="),
            expr(),
            word(";")
        ]),
        spaced(vec![word("x"), word("["), expr(), word("]"), one_of(&["=", "+=", "/="]), expr(), word(";")]),
        spaced(vec![expr(), word(";")]),
    ];
    let head = one_of(&[
        "fn f(x: mut f32[N]) {",
        "fn f(\nx: i64, // c\ny: f32) -> (f32, i64) {",
        "fn f() -> bool {",
        "// h\n\nfn f() -> (f32,){",
    ]);
    (head, prop::collection::vec(stmt, 0..4), prop::option::of(expr()), gap())
        .prop_map(|(h, s, r, g)| format!("{h}{}{}}}{g}", s.concat(), r.unwrap_or_default()))
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survive(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_tokens_never_panic(soup in soup(120)) {
        survive(&soup);
        survive(&format!("fn f(x: f32) {{ {soup} }}"));
    }

    #[test]
    fn a_program_with_tokens_lost_or_put_in_never_panics(
        line in 0usize..60, at in 0usize..1000, lost in 0usize..6, put in soup(4),
    ) {
        let src = SOURCES.lines().nth(line).unwrap_or_default();
        let at = at % (src.len() + 1);
        let end = (at + lost).min(src.len());
        survive(&format!("{}{put}{}\nfn g(x: f32) {{ x }}", &src[..at], &src[end..]));
    }

    #[test]
    fn random_programs_survive_the_formatter_with_their_comments(src in program()) {
        let program = parse(&src).unwrap_or_else(|e| panic!("{}", render_plain(&Source::new("random", src.as_str()), &e[0])));
        let out = round_trip(&src, program);
        for c in ["// c", "// d", "// h"] {
            prop_assert_eq!(out.matches(c).count(), src.matches(c).count(), "{}\n---\n{}", src, out);
        }
    }
}

/// The error of tracing the one function of a text.
fn untraced(text: &str) -> String {
    let first = |e: Vec<tensorc_ir::Error>| e.into_iter().next().expect("an error");
    let m = Module::parse("test", text).map_err(first).expect("parses");
    let f = m.main().expect("a function");
    let traced = m.sizes(f, &[]).and_then(|sizes| m.trace(f, &sizes, None).map_err(first));
    traced.map(|_| ()).expect_err("a refusal").diagnostic().message.clone()
}

#[test]
fn a_pure_graph_ends_with_its_final_values() {
    let pure = |body: &str| untraced(&format!("// phase: pure\nfn f(x: mut f32[2]) -> f32[2] {{ {body} }}"));
    assert_eq!(
        pure("let y: f32[2] = neg(x); let v: f32[2] = permute(y, 0); v.copy_(y); y"),
        "a pure graph writes to whole parameters only"
    );
    assert_eq!(
        pure("let y: f32[2] = neg(x); x.copy_(y); let z: f32[2] = exp(x); z"),
        "parameter `x` is read after its final value"
    );
    assert_eq!(pure("let y: f32[2] = neg(x); x.copy_(y); x.copy_(y); y"), "a parameter has two final values");
    assert_eq!(untraced("fn f(x: f32[N]) { x }"), "`f` has the size `N`, which has no value");
}

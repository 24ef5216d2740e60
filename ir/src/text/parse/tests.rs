//! What parses to what, and what every sort of mistake is answered with.

use crate::error::{Error, Kind, Loc};
use crate::text::ast::*;
use crate::text::{MAX_DEPTH, Source, parse, parse_expr, render_plain};

/// The expression with all its parentheses.
fn shape(src: &str) -> String {
    fn list(items: &[Expr]) -> String {
        items.iter().map(show).collect::<Vec<_>>().join(" ")
    }
    fn show(e: &Expr) -> String {
        let bound = |b: &Option<Box<Expr>>| b.as_deref().map(show).unwrap_or_default();
        let args = |args: &[Arg]| {
            let one = |a: &Arg| a.name.as_ref().map_or(String::new(), |n| format!("{}=", n.text)) + &show(&a.value);
            args.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        match &e.kind {
            ExprKind::Int(v) => v.to_string(),
            ExprKind::Float(f) => format!("{:?}", f.value),
            ExprKind::Bool(b) => b.to_string(),
            ExprKind::None => "None".into(),
            ExprKind::Str(s) => format!("{s:?}"),
            ExprKind::Name(n) => n.clone(),
            ExprKind::DType(d) => format!("<{d}>"),
            ExprKind::Binary { op, left, right } => format!("({} {} {})", show(left), op.symbol(), show(right)),
            ExprKind::Unary { op, operand } => format!("({}{})", op.symbol(), show(operand)),
            ExprKind::Tuple(items) => format!("tuple({})", list(items)),
            ExprKind::List(items) => format!("[{}]", list(items)),
            ExprKind::Index { base, indices } => {
                let indices = indices.iter().map(|i| match &i.kind {
                    IndexKind::Expr(e) => show(e),
                    IndexKind::Slice { start, stop, step } => {
                        format!("{}:{}:{}", bound(start), bound(stop), bound(step))
                    }
                    IndexKind::Ellipsis => "...".into(),
                    IndexKind::NewAxis => "new".into(),
                });
                format!("{}[{}]", show(base), indices.collect::<Vec<_>>().join(" "))
            }
            ExprKind::Call { callee, args: a } => format!("{}({})", callee.text, args(a)),
            ExprKind::Method { receiver, name, args: a } => format!("{}.{}({})", show(receiver), name.text, args(a)),
            ExprKind::Member { base, name } => format!("{}.{}", show(base), name.text),
        }
    }
    show(&parse_expr(src).unwrap_or_else(|e| panic!("{src}: {}", e[0])))
}

#[test]
fn operators_bind_as_in_python() {
    for (src, want) in [
        ("a + b * c @ d", "(a + ((b * c) @ d))"),
        ("a - b - c", "((a - b) - c)"),
        ("-x ** 2", "(-(x ** 2))"),
        ("x ** -y ** z", "(x ** (-(y ** z)))"),
        ("a ** b ** c", "(a ** (b ** c))"),
        ("!a == b", "((!a) == b)"),
        ("a | b ^ c & d << e + f", "(a | (b ^ (c & (d << (e + f)))))"),
        ("a & b == c", "((a & b) == c)"),
        ("(a < b) < c", "((a < b) < c)"),
        ("-a.T[0]", "(-a.T[0])"),
        ("--a", "(-(-a))"),
        ("a - -1", "(a - (-1))"),
    ] {
        assert_eq!(shape(src), want, "{src}");
    }
}

#[test]
fn postfixes_literals_tuples_and_lists() {
    for (src, want) in [
        ("x.view(-1, 8).T[1:, ::2, ..., None]", "x.view((-1) 8).T[1:: ::2 ... new]"),
        ("x[None:3, a:None:b]", "x[:3: a::b]"),
        ("x[i, m > 0]", "x[i (m > 0)]"),
        ("sum(x, dim=[0, -1], keepdim=true,)", "sum(x dim=[0 (-1)] keepdim=true)"),
        ("x.to(i32)", "x.to(<i32>)"),
        ("(a)", "a"),
        ("(a,)", "tuple(a)"),
        ("(a, b,)", "tuple(a b)"),
        ("[]", "[]"),
        ("[inf, -inf, nan, 1., .5, 1e-3]", "[inf (-inf) NaN 1.0 0.5 0.001]"),
        (r#"einsum("ij->ji\n\"", x)"#, r#"einsum("ij->ji\n\"" x)"#),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775807", "9223372036854775807"),
        ("f(None, true, \"\")", "f(None true \"\")"),
    ] {
        assert_eq!(shape(src), want, "{src}");
    }
}

#[test]
fn a_function_with_everything() {
    let src = "// head\nfn f(x: mut f32[B, 2 * (B + 1)], y_: bool,) -> (f32[B], i64) {\n\
               let (a, _) = g(x); let z: f32[B] = a; x[0] = 1; z.T /= 2; x.view(-1)[1] += 1; x.add_(1); (z, 0) }";
    let p = parse(src).unwrap();
    let f = &p.fns[0];
    assert!(f.params[0].mutable && !f.params[1].mutable);
    assert_eq!(f.params[0].ty.dims.len(), 2);
    assert_eq!(f.result.as_ref().map(|r| (r.tuple, r.items.len())), Some((true, 2)));
    let stmts = f.body.stmts.iter().map(|s| match &s.kind {
        StmtKind::Let { pattern, ty, .. } => format!("let {} {}", pattern.names.len(), ty.is_some()),
        StmtKind::Assign { op, .. } => op.symbol().to_string(),
        StmtKind::Expr(_) => "expr".to_string(),
    });
    assert_eq!(stmts.collect::<Vec<_>>(), ["let 2 false", "let 1 true", "=", "/=", "+=", "expr"]);
    assert!(matches!(f.body.result, Some(Expr { kind: ExprKind::Tuple(_), .. })));
    assert_eq!(parse("fn f(){}").unwrap().fns[0].body.result, None);
    assert_eq!(parse("").unwrap(), Program::default());
}

#[test]
fn places_cover_what_they_name() {
    let src = "fn f(x: f32) { let y = (x + 1) * g(x, k=2); y }";
    let p = parse(src).unwrap();
    let at = |loc| match loc {
        Loc::Text { start, end } => &src[start as usize..end as usize],
        _ => panic!("no place"),
    };
    let f = &p.fns[0];
    assert_eq!(at(f.loc), src);
    assert_eq!(at(f.body.stmts[0].loc), "let y = (x + 1) * g(x, k=2);");
    let StmtKind::Let { value, .. } = &f.body.stmts[0].kind else { panic!("a let") };
    assert_eq!(at(value.loc), "(x + 1) * g(x, k=2)");
    let ExprKind::Binary { left, right, .. } = &value.kind else { panic!("a product") };
    assert_eq!((at(left.loc), at(right.loc)), ("(x + 1)", "g(x, k=2)"));
    let ExprKind::Call { args, .. } = &right.kind else { panic!("a call") };
    assert_eq!(at(args[1].loc()), "k=2");
}

/// All errors of a body: the text underlined, the message, the help.
fn errors(body: &str) -> Vec<(String, String, String)> {
    let src = format!("fn f(x: mut f32[4]) {{ {body} }}");
    all_errors(&src)
}

fn all_errors(src: &str) -> Vec<(String, String, String)> {
    let show = |e: &Error| {
        let d = e.diagnostic();
        let Loc::Text { start, end } = d.loc else { panic!("{src}: no place") };
        assert!(matches!(d.kind, Kind::Syntax | Kind::Name));
        assert!(!render_plain(&Source::new("a", src), e).is_empty());
        (src[start as usize..end as usize].to_string(), d.message.clone(), d.help.clone().unwrap_or_default())
    };
    parse(src).expect_err(src).iter().map(show).collect()
}

/// One error, about `at`, whose message has the words `message` and whose help has `help`.
fn check(body: &str, at: &str, message: &str, help: &str) {
    let e = errors(body);
    assert_eq!(e.len(), 1, "{body}: {e:?}");
    assert_eq!(e[0].0, at, "{body}: {e:?}");
    assert!(e[0].1.contains(message) && e[0].2.contains(help), "{body}: {e:?}");
}

#[test]
fn mistakes_in_statements_say_what_to_write() {
    check("let y = x\n y", "", "expected `;`", "add `;`");
    check("x.add_(1)\n (x, x)", "", "expected `;`", "add `;`");
    check("let y = x", "", "expected `;`", "");
    check("x = x + 1; x", "x", "does not rebind", "`let x = …;` for a new value, `x.copy_(…);`");
    check("let y == x; y", "==", "expected `=`", "`==` compares");
    check("let y = x = 3; y", "=", "expected `;`", "write `==`");
    check("let mut y = x; y", "mut", "belongs to parameters", "remove it");
    check("let y; y", ";", "expected `=`", "");
    check("(x, y) = g(x); x", "(x, y)", "tuple", "let (a, b)");
    check("transpose(x, 0, 1)[0] = 1; x", "transpose(x, 0, 1)[0]", "cannot be written", "");
    check("x + 1 = 2; x", "x + 1", "cannot be written", "write `==`");
    check("x;; x", ";", "expected a statement", "remove");
    check("return x; ", "return", "no `return`", "last expression");
    check("return (x, x)", "return", "no `return`", "last expression");
    check("if (x > 0) { x.add_(1); } else { x.neg_(); } x", "if", "no `if`", "while_loop");
    check("for i in x { i; } x", "for", "no `for`", "scan");
    check("x %= 2; x", "%=", "not part of the language", "copy_");
    check("let y = x // 2;\n y", "", "expected `;`", "floor_divide");
    check("let f32 = x; x", "f32", "expected a name", "dtype");
    check("let inf = x; x", "inf", "expected a name", "word of the language");
}

#[test]
fn mistakes_in_expressions_say_what_to_write() {
    check("f(x, k=1, x)", "x", "positional argument behind", "before the keywords");
    check("f(x, k=1, k=2)", "k", "given twice", "");
    check("0 < x < 1", "<", "do not chain", "(a < b) & (b < c)");
    check("f(x[0] = 1)", "=", "`=` inside", "write `==`");
    check("x + ", "}", "expected an expression", "");
    check("x.bool()", "bool", "expected a name", "x.to(bool)");
    check("f32(x)", "f32", "only a function", "x.to(f32)");
    check("g(x)(x)", "g(x)", "only a function", "");
    check("9223372036854775808", "9223372036854775808", "does not fit", "float");
    check("x[]", "]", "expected an index", "");
    check("x[1,]", "]", "expected an index", "");
    check("g(mut x)", "mut", "`mut` stands only", "remove");
    check(r#"g("\q")"#, r"\q", "no escape", "\\n");
    check("()", ")", "expected an expression", "");
    check("g(x x)", "x", "expected `,` or `)`", "comma");
    check("x ++ x", "+", "expected an expression", "");
    check("x $ x", "$", "no token begins with `$`", "");
}

#[test]
fn an_unclosed_bracket_is_one_error_with_the_place_it_opened() {
    for (body, found) in [
        ("let y = f(x[0); y", ")"),
        ("let y = f(x, 1; y", ";"),
        ("let y = f(x]; y", "]"),
        ("let y = [x, (x, x]; y", "]"),
        ("let y = f(x, ; y", ";"),
        ("f(\n x\n x.add_(1); x", "x"),
    ] {
        let src = format!("fn f(x: f32) {{ {body} }}");
        let e = parse(&src).expect_err(&src);
        assert_eq!(e.len(), 1, "{body}: {e:?}");
        assert!(e[0].diagnostic().message.ends_with(&format!("{found}`")), "{e:?}");
        assert!(e[0].diagnostic().notes[0].1.contains("opened here"), "{e:?}");
    }
    let e = all_errors("fn f(x: f32) { x\nfn g(x: f32) { y }");
    assert_eq!(e.len(), 1, "{e:?}");
    assert!(e[0].1.contains("expected `}`"));
}

#[test]
fn mistakes_in_headers_say_what_to_write() {
    for (src, at, help) in [
        ("fn f(x) { x }", ")", "x: f32[…]"),
        ("fn f(mut x: f32) { x }", "mut", "x: mut f32[4]"),
        ("fn f(x: float32[4]) { x }", "float32", "`f32`"),
        ("fn f(x: tensor) { x }", "tensor", "f64 f32"),
        ("fn f(x: f32[n]) { x }", "n", "`N`"),
        ("fn f(x: f32[-1]) { x }", "-", "not negative"),
        ("fn f(x: f32) -> mut f32 { x }", "mut", "remove"),
        ("fn f(x: f32) -> () { x; }", ")", "no `->`"),
        ("fn f(x: f32 = 1) { x }", "=", ""),
        ("fn f(x: f32[4] -> f32 { x }", "->", ""),
        ("fn f(x: f32) f32 { x }", "f32", ""),
        ("fn (x: f32) { x }", "(", ""),
        ("fn let(x: f32) { x }", "let", "word of the language"),
        ("def f(x): x", "def", "fn name"),
        ("fn f(x: f32) { x } }", "}", "closes nothing"),
        ("let x = 1;", "let", "functions only"),
        ("fn f(x: f32)", "", ""),
    ] {
        let e = all_errors(src);
        assert_eq!(e.len(), 1, "{src}: {e:?}");
        assert_eq!(e[0].0, at, "{src}: {e:?}");
        assert!(e[0].2.contains(help), "{src}: {e:?}");
    }
}

#[test]
fn all_errors_of_a_file_are_reported_in_order() {
    let src = "fn f(x: f32[4], y) -> f32 {\n let a = x +;\n let b = f(x, y z);\n x = 3;\n a + b\n}\n\
               fn g(x: f32) {\n let = 2;\n x && x\n}\nfn g() { 1 }\n";
    let at: Vec<String> = all_errors(src).into_iter().map(|e| e.0).collect();
    assert_eq!(at, [")", ";", "z", "x", "=", "&&", "g"]);
}

#[test]
fn nesting_is_bounded_however_it_is_written() {
    let ok = MAX_DEPTH as usize / 2;
    let many = 100_000;
    let forms: [&dyn std::ops::Fn(usize) -> String; 12] = [
        &|n| "(".repeat(n) + "x" + &")".repeat(n),
        &|n| "[".repeat(n) + "x" + &"]".repeat(n),
        &|n| "-".repeat(n) + "x",
        &|n| "!".repeat(n) + "x",
        &|n| "x".to_string() + &" + x".repeat(n),
        &|n| "x".to_string() + &" ** x".repeat(n),
        &|n| "x".to_string() + &"[0]".repeat(n),
        &|n| "x".to_string() + &".T".repeat(n),
        &|n| "x".to_string() + &".neg()".repeat(n),
        &|n| "f(".repeat(n) + "x" + &")".repeat(n),
        &|n| "x[".repeat(n) + "x" + &"]".repeat(n),
        &|n| "x[0:".repeat(n) + "x" + &"]".repeat(n),
    ];
    for form in forms {
        assert!(parse_expr(&form(ok / 2)).is_ok(), "{}", form(2));
        for n in [ok * 2 + 2, many] {
            let e = parse_expr(&form(n)).expect_err(&form(2));
            assert!(e.len() == 1 && e[0].to_string().contains("nesting"), "{}: {}", form(2), e[0]);
        }
        let src = format!("fn f(x: f32) {{ let y = {}; y = 2; }}", form(many));
        assert_eq!(parse(&src).expect_err("two errors").len(), 2, "parsing goes on behind {}", form(2));
    }
    // Half-height chains inside one another: the limit is on the tree, not on each loop.
    let chain = (0..3).fold("x".to_string(), |inner, _| format!("({inner}{})", " + 1".repeat(ok)));
    assert!(parse_expr(&chain).is_err());
    for dims in ["(".repeat(many) + "1", "1".to_string() + &" + 1".repeat(many), "1".to_string() + &"*1".repeat(many)] {
        assert!(parse(&format!("fn f(x: f32[{dims}]) {{ x }}")).is_err());
    }
}

#[test]
fn broken_brackets_in_bulk_neither_hang_nor_overflow() {
    for piece in
        ["(", ")", "[", "]", "{", "}", "f(", "x[", "fn f(", "let (", ",", ";", "\"", "'", "/*", "=", "f(x,", "-> ("]
    {
        let errors = parse(&piece.repeat(20_000)).expect_err(piece).len();
        assert!((1..=100).contains(&errors), "{piece}: {errors}");
        assert!(parse(&format!("fn f(x: f32) {{ {} }}", piece.repeat(20_000))).is_err() || piece == ",", "{piece}");
    }
}

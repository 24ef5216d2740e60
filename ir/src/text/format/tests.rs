//! The layout, shown by texts before and after.

use crate::text::{format, parse};

fn formatted(src: &str) -> String {
    let program = parse(src).unwrap_or_else(|e| panic!("{src}: {}", e[0]));
    let out = format(&program, src);
    let again = parse(&out).unwrap_or_else(|e| panic!("{out}: {}", e[0]));
    assert_eq!(again.clone().without_locs(), program.without_locs(), "{out}");
    assert_eq!(format(&again, &out), out, "not the same when printed again");
    out
}

/// The layout of a body of one line.
fn line(body: &str) -> String {
    let out = formatted(&format!("fn f(x: f32) {{ {body} }}"));
    out.lines().skip(1).map(str::trim_start).take_while(|l| *l != "}").collect::<Vec<_>>().join("\n")
}

#[test]
fn the_layout_of_a_program() {
    let src = "// Head.\n\n\nfn f( x:mut f32[ B,2*B+1 ],y : i64 )->(f32[B],i64,){let (a,b)=g( x,k = 1 );x[ 0 , : ]+=1;\n\n\n\n  x.add_( 1 ) ;(a,b)}\nfn g()\
               {}  // empty\n// Tail.";
    assert_eq!(
        formatted(src),
        "\
// Head.

fn f(x: mut f32[B, 2 * B + 1], y: i64) -> (f32[B], i64) {
    let (a, b) = g(x, k=1);
    x[0, :] += 1;

    x.add_(1);
    (a, b)
}

fn g() {}  // empty

// Tail.
"
    );
}

#[test]
fn only_the_parentheses_that_precedence_needs() {
    for src in [
        "(a + b) * c",
        "a - (b - c)",
        "a ** b ** -c",
        "(a ** b) ** c",
        "(-a) ** b",
        "-a ** b",
        "(a < b) & (b < c)",
        "(a < b) < c",
        "a < (b < c)",
        "-(a + b)",
        "!(a == b)",
        "(a + b).T[0]",
        "(-a).abs()",
        "(1).add(2)",
        "(1.).add(2)",
        "(1).e5",
        "-1[0]",
        "(-1)[0]",
        "(a,)",
        "((a, b), c)",
        "[a, [b]]",
        "x[1:, ::2, ..., None, a + 1:b:-1]",
        "f(a, k=b == c, d=[1, -2])",
        "-9223372036854775808",
        "g(\"a\\n\\\"\")",
        "a @ b * c / d % e",
        "a | b ^ c & d << e + f",
    ] {
        assert_eq!(line(src), src);
    }
    for (src, want) in [
        ("((a)) + (b * c)", "a + b * c"),
        ("(a + b) + c", "a + b + c"),
        ("a ** (b ** c)", "a ** b ** c"),
        ("a ** (-b)", "a ** -b"),
        ("-(a ** b)", "-a ** b"),
        ("(a.T).T", "a.T.T"),
        ("x[None:3:None, (None)]", "x[:3, None]"),
        ("x[(a, b)]", "x[(a, b)]"),
        ("g((a), k=(b))", "g(a, k=b)"),
    ] {
        assert_eq!(line(src), want);
    }
}

#[test]
fn long_lines_break_at_the_outermost_place() {
    let name = "a_name_of_twenty_two__";
    assert_eq!(
        line(&format!("let y = g({name}, {name} + {name}, h({name}), k={name}); y")),
        format!("let y = g(\n{name},\n{name} + {name},\nh({name}),\nk={name},\n);\ny")
    );
    assert_eq!(
        line(&format!("{name} * {name} + {name} - g({name}, {name}, {name})")),
        format!("{name} * {name}\n+ {name}\n- g({name}, {name}, {name})")
    );
    let numbers = (0..60).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let body = line(&format!("tensor([{numbers}])"));
    assert_eq!(body.lines().count(), 7, "numbers fill their lines: {body}");
    let params = (0..9).map(|i| format!("{name}{i}: f32[4]")).collect::<Vec<_>>().join(", ");
    assert!(formatted(&format!("fn f({params}) -> f32 {{ 1 }}")).starts_with("fn f(\n    a_name"));
}

#[test]
fn comments_stay_where_they_were() {
    let src = "\
// Above the function.
fn f(
    x: f32[4],  // behind a parameter
    // above a parameter
    y: f32[4],
    // below the parameters
) -> f32[4] {
    // above a statement
    let z = g(
        // above an argument
        x,  // behind an argument
        y,
        // below the arguments
    );  // behind a statement

    // alone

    let w = x  // behind an operand
        // above an operator
        + y;
    let t = (
        x,  // in a tuple
    );
    w  // behind the result
    // at the end
}  // behind the function

// Tail.
";
    assert_eq!(formatted(src), src);
}

#[test]
fn comments_at_odd_places_are_kept() {
    let src = "fn // a\n f // b\n ( // c\n x // d\n : // e\n mut // f\n f32 // g\n [ // h\n 4 // i\n ] // j\n ) // k\n -> // l\n \
               ( // m\n f32 // n\n ,i64 // o\n ) // p\n { // q\n let // r\n ( // s\n y // t\n ,z) // u\n : f32 // v\n = // w\n - // x\n x // y\n \
               . // z\n view // A\n ( // B\n 1 // C\n , // D\n k // E\n = // F\n 2 // G\n ) // H\n [ // I\n 0 // J\n : // K\n ] // L\n ** // M\n \
               2 // N\n ; // O\n x // P\n += // Q\n [ // R\n ] // S\n ; g( // T\n ) // U\n ; ( // V\n y // W\n , // X\n ) // Y\n } // Z";
    let out = formatted(src);
    let marks: String = out.lines().filter_map(|l| l.split_once("// ")).map(|(_, c)| c).collect();
    assert_eq!(marks, ('a'..='z').chain('A'..='Z').collect::<String>(), "{out}");
    assert_eq!(formatted("// only\n\n\n// comments"), "// only\n\n// comments\n");
    assert_eq!(formatted("fn f() { // c\n }"), "fn f() {\n    // c\n}\n");
    assert_eq!(formatted("fn f() // c\n {}"), "fn f() {\n    // c\n}\n");
}

//! Errors as people see them, and that all of them are seen.

use super::{errors, messages, module};

#[test]
fn a_write_to_a_parameter_shows_the_write_and_the_parameter() {
    assert_eq!(
        errors("fn f(x: f32[3]) {\n    let y = x[1:];\n    y += 1;\n}\n"),
        "error[alias]: a write to parameter `x`, which is not `mut`
 --> test.tc:3:5
  |
3 |     y += 1;
  |     ^^^^^^^
note: `x` is declared here
 --> test.tc:1:6
  |
1 | fn f(x: f32[3]) {
  |      ---------
  = help: declare it `x: mut …`, or write to a copy: `x.clone()`
"
    );
}

#[test]
fn an_error_in_a_call_shows_the_callee_and_the_call() {
    assert_eq!(
        errors("fn f(x: f32[3]) {\n    g(x);\n}\nfn g(w: mut f32[N]) {\n    w += 1;\n}\n"),
        "error[alias]: a write to parameter `x`, which is not `mut`
 --> test.tc:5:5
  |
5 |     w += 1;
  |     ^^^^^^^
note: `x` is declared here
 --> test.tc:1:6
  |
1 | fn f(x: f32[3]) {
  |      ---------
note: in this call of `g`
 --> test.tc:2:5
  |
2 |     g(x);
  |     ^^^^
  = help: declare it `x: mut …`, or write to a copy: `x.clone()`
"
        .replace("  |     ^^^^\n  = help", "  |     ----\n  = help")
    );
    // What is wrong with the callee by itself is said once, and not of its callers.
    let src = "fn f(x: f32[3]) { g(x) + g(x) } fn g(x: f32[N]) { x + undefined } fn h(x: f32[3]) { f(x) }";
    assert_eq!(messages(src), ["name: there is no variable `undefined`"]);
}

#[test]
fn shapes_that_do_not_fit_stand_under_the_expression() {
    assert_eq!(
        errors("fn f(x: f32[B, 784], w: f32[512, 10]) -> f32[B, 10] {\n    relu(x @ w)\n}\n"),
        "error[shape]: `matmul`: mat1 and mat2 shapes cannot be multiplied (Bx784 and 512x10)
 --> test.tc:2:10
  |
2 |     relu(x @ w)
  |          ^^^^^ f32[B, 784] @ f32[512, 10]
  = help: the last extent of the first must be the last but one of the second
"
    );
    assert_eq!(
        errors("fn f(x: f32[B, 3]) -> (f32[B], i64[B, 3]) {\n    (x.sum(0), x)\n}\n"),
        "error[shape]: expected f32[B], found f32[3]
 --> test.tc:2:6
  |
2 |     (x.sum(0), x)
  |      ^^^^^^^^
note: the declared result
 --> test.tc:1:24
  |
1 | fn f(x: f32[B, 3]) -> (f32[B], i64[B, 3]) {
  |                        ------

error[dtype]: expected i64[B, 3], found f32[B, 3]
 --> test.tc:2:16
  |
2 |     (x.sum(0), x)
  |                ^
note: the declared result
 --> test.tc:1:32
  |
1 | fn f(x: f32[B, 3]) -> (f32[B], i64[B, 3]) {
  |                                ---------
  = help: to convert, write `.to(i64)`
"
    );
}

#[test]
fn all_errors_of_a_file_are_found_and_what_follows_from_them_is_not() {
    let src = "
        fn f(x: f32[3]) -> f32[3] {
            let a = wrong + 1;
            let b = a * x;          // follows from it
            let (c, d) = b;         // and this
            let e: i64[3] = x;
            let g = e + 1;          // and this
            x.foo(c, rleu(x));
            b[0] = 1;
            d
        }
        fn h(y: i64[2]) { exp(y, 3); y.nope; softmax(y, dmi=0) }";
    assert_eq!(
        messages(src),
        [
            "name: there is no variable `wrong`",
            "dtype: expected i64[3], found f32[3]",
            "name: there is no function `foo`",
            "name: there is no function `rleu`",
            "type: `exp` takes at most 1 arguments, got 2",
            "name: a tensor has no member `nope`",
            "name: `softmax` has no argument `dmi`",
        ]
    );
}

#[test]
fn names_come_with_advice() {
    let help = |body: &str| {
        let m = module(&format!("fn f(value: f32[3]) {{ {body} }} fn step(x: f32[3]) {{ x }}"));
        let e = m.check().remove(0);
        format!("{}: {}", e.kind().name(), e.diagnostic().help.clone().unwrap_or_default())
    };
    assert_eq!(help("valeu + 1"), "name: did you mean `value`?");
    assert_eq!(help("relu + value"), "name: to call it, write `relu(…)`");
    assert_eq!(help("step"), "name: to call it, write `step(…)`");
    assert_eq!(help("sofmax(value, 0)"), "name: did you mean `softmax`?");
    assert_eq!(help("value.relu"), "name: to call the function, write `.relu()`");
    assert_eq!(help("let k = 1; k += 1; value"), "type: `let k: f32 = …;` makes a tensor of it");
    assert_eq!(help("let k: f32[3] = 1; k"), "type: `full([…], 1, dtype=f32)` is a tensor of one number");
    assert_eq!(help("let k: f32[2] = [1, 2]; k"), "type: a tensor is written `tensor([…])`");
}

#[test]
fn what_this_version_does_not_do_is_said_so() {
    let bad = |body: &str| messages(&format!("fn f(x: f32[3], m: bool[3]) {{ {body} }}")).join("; ");
    assert!(bad("nonzero(x)").starts_with("unsupported: "), "{}", bad("nonzero(x)"));
    assert_eq!(bad("x.uniform_()"), "type: `uniform` needs a `seed`");
    assert_eq!(bad("poisson(x)"), "type: `poisson` needs a `seed`");
    assert!(bad("x[m]").starts_with("unsupported: "), "{}", bad("x[m]"));
}

#[test]
fn writes_need_memory_that_is_the_variables() {
    let bad = |stmt: &str| messages(&format!("fn f(x: mut f32[2, 3], n: i64) {{ {stmt} }}")).join("; ");
    assert_eq!(bad("x.clone()[0] = 1;"), "alias: the write goes to a copy, not to `x`");
    assert_eq!(bad("x.exp() += 1;"), "alias: the write goes to a copy, not to `x`");
    assert_eq!(bad("x.T.reshape(6) += 1;"), "alias: the write goes to a copy, not to `x`");
    assert_eq!(bad("x.reshape(6)[0] += 1;"), "");
    assert!(bad("x.expand(4, 2, 3)[0] = 1;").is_empty(), "one of the four");
    assert!(bad("x.expand(4, 2, 3) += 1;").starts_with("alias: unsupported operation: more than one element"));
    assert!(bad("x[:, 1:] += x[:, :-1];").starts_with("alias: unsupported operation: some elements"));
    assert_eq!(bad("x[0] += tensor([1, 2]);").split(':').next(), Some("shape"));
    assert_eq!(
        bad("n += 1.5;"),
        "dtype: `add_`: result type Float can't be cast to the desired output type Long; alias: a write to parameter `n`, \
         which is not `mut`"
            .split("; ")
            .next()
            .unwrap()
    );
    assert_eq!(bad("x.shape += 1;"), "type: `+=` writes into a tensor, and this is a list of 2");
    assert_eq!(bad("x[1.5] = 1;"), "type: an index is an integer or a tensor, found the float 1.5");
    assert_eq!(bad("x[0] = \"a\";"), "type: `=` writes a tensor or a number, found the text \"a\"");
}

#[test]
fn calls_are_checked_against_the_parameters() {
    let bad = |call: &str| {
        let src = format!("fn f(x: f32[3], i: i64[3]) {{ {call} }} fn g(a: f32[N], lr: f32) -> f32[N] {{ a * lr }}");
        messages(&src).join("; ")
    };
    assert_eq!(bad("g(x, 0.1) + x.g(lr=2)"), "");
    assert_eq!(bad("g(x)"), "type: `g`: argument `lr` is missing");
    assert_eq!(bad("g(x, 1, 2)"), "type: `g` takes 2 arguments, got 3");
    assert_eq!(bad("g(x, a=x)"), "type: `g`: argument `a` is given twice");
    assert_eq!(bad("g(x, rate=1)"), "name: `g` has no parameter `rate`");
    assert_eq!(bad("g(i, 1)"), "dtype: argument `a`: expected f32[N], found i64[3]");
    assert_eq!(bad("g(x[0], 1)"), "shape: argument `a`: expected f32[N], got shape []");
    assert_eq!(bad("g(x, x)"), "shape: argument `lr`: expected f32, got shape [3]");
    assert_eq!(bad("g(x, true)"), "");
    assert_eq!(bad("g([1], 1)"), "type: argument `a`: expected f32[N], found a list of 1");
    assert_eq!(messages("fn f(x: f32) { g(x) } fn g(x: f32) { f(x) }"), ["unsupported: recursion: `f` calls itself"]);
}

#[test]
fn gradients_that_do_not_exist() {
    let bad = |body: &str| {
        let src = format!("fn f(x: mut f32[3], w: f32[3], i: i64[3]) {{ let y = (x * x).sum(); {body} }}");
        messages(&src).join("; ")
    };
    assert_eq!(bad("grad(y, x)"), "");
    assert_eq!(bad("grad(y, w, allow_unused=true)"), "");
    assert_eq!(bad("grad(y, x[0])"), "grad: a gradient is with respect to a name or a tuple of names");
    assert_eq!(bad("let n = 1; grad(y, n)"), "grad: a gradient is with respect to tensors, found the integer 1");
    assert_eq!(bad("grad(1, x)"), "grad: `grad` of the integer 1, which is constant");
    assert!(bad("grad(y, i)").starts_with("grad: `grad` with respect to i64[3]"));
    assert!(bad("grad(i, x)").starts_with("grad: `grad` of i64[3]"));
    assert!(bad("grad(x, w)").starts_with("grad: `grad` of f32[3]: a gradient is implicit only for scalar"));
    assert!(bad("grad(y, w)").starts_with("grad: "), "unused: {}", bad("grad(y, w)"));
    assert!(bad("x[0] = 1; grad(y, x)").starts_with("grad: "), "written: {}", bad("x[0] = 1; grad(y, x)"));
    assert_eq!(bad("grad(y, x, sed=1)"), "name: `grad` has no argument `sed`");
    assert_eq!(bad("grad(y)"), "type: `grad` takes 2 arguments, got 1");
}

#[test]
fn no_program_is_too_deep_or_too_large_to_be_refused() {
    let chain: String = (0..2000).map(|i| format!("fn s{i}(x: f32) {{ s{}(x) + 1 }}\n", i + 1)).collect();
    let all = messages(&format!("{chain}fn s2000(x: f32) {{ x }}"));
    assert_eq!(all, ["unsupported: expressions and calls nest too deeply"]);
    let twice: String = (0..40).map(|i| format!("fn s{i}(x: f32) {{ s{n}(x) + s{n}(x) }}\n", n = i + 1)).collect();
    let all = messages(&format!("{twice}fn s40(x: f32) {{ x }}"));
    assert_eq!(all, ["unsupported: the program is too large when its calls are inlined"]);
    let deep = |inner: &str| format!("{}{inner}{}", "(-".repeat(120), ")".repeat(120));
    let src = format!("fn f(x: f32) {{ {} }} fn g(x: f32) {{ {} }}", deep("g(x)"), deep("x"));
    assert_eq!(messages(&src), [""; 0]);
}

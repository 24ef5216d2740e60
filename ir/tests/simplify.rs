//! Every rule of `simplify`: what it rewrites, and what looks alike and must stay.

mod reader;

use reader::read;
use tensorc_ir::passes::run_named;
use tensorc_ir::text::print::print;

const PARAMETERS: &str =
    "x: f32[2, 3], y: f32[2, 3], i: i32[2, 3], c: bool[2, 3], u: f32[2, 1], h: f16[2], z: f32[2, 0]";

/// Names for stretched numbers, and how they print.
const NUMBERS: &[(&str, &str, &str)] = &[
    ("ONE", "f32", "1.0"),
    ("ZERO", "f32", "0.0"),
    ("MINUS_0", "f32", "-0.0"),
    ("TWO", "f32", "2.0"),
    ("INT_1", "i32", "1"),
    ("INT_0", "i32", "0"),
    ("YES", "bool", "true"),
    ("NO", "bool", "false"),
];

/// Checks what an expression becomes, written as one expression.
fn check(body: &str, want: &str) {
    let numbers: String = NUMBERS
        .iter()
        .map(|(name, dtype, v)| format!("let n: {dtype} = {v}; let {name}: {dtype}[2, 3] = expand(n, [2, 3]);"))
        .collect();
    let text = format!("// phase: differentiated\nfn f({PARAMETERS}) {{ {numbers} ({body},) }}");
    let text = print(&run_named(&read(&text), &["simplify", "cleanup"]).unwrap());
    let mut values: Vec<(String, String)> = Vec::new();
    let mut result = String::new();
    for line in text.lines().skip(2).map(str::trim) {
        // Later names first, so that `v12` is not taken for `v1`.
        let written_out = |e: &str| values.iter().rev().fold(e.to_string(), |e, (name, v)| e.replace(name.as_str(), v));
        if let Some((name, value)) = line.strip_prefix("let ").and_then(|l| l.split_once(" = ")) {
            values.push((name.split(':').next().unwrap().into(), written_out(value.trim_end_matches(';'))));
        } else if let Some(e) = line.strip_prefix('(') {
            result = written_out(e.strip_suffix(",)").unwrap());
        }
    }
    let spelled = |e: &str| {
        NUMBERS.iter().fold(e.to_string(), |e, (name, _, v)| e.replace(name, &format!("expand({v}, [2, 3])")))
    };
    assert_eq!(result, spelled(want), "{body}\n{text}");
}

fn stays(body: &str) {
    check(body, body);
}

/// `slice(x, …)` with the given start and len, step 1.
fn part(x: &str, start: [usize; 2], len: [usize; 2]) -> String {
    format!("slice({x}, start={start:?}, len={len:?}, step=[1, 1])")
}

fn update(x: &str, u: &str, start: [usize; 2], len: [usize; 2]) -> String {
    format!("slice_update({x}, {u}, start={start:?}, len={len:?}, step=[1, 1])")
}

#[test]
fn neutral_operands_go_away() {
    check("neg(mul(x, ONE))", "neg(x)");
    check("neg(mul(ONE, x))", "neg(x)");
    check("neg(mul(i, INT_1))", "neg(i)");
    check("logical_not(mul(c, YES))", "logical_not(c)");
    check("neg(div(x, ONE))", "neg(x)");
    check("neg(add(x, MINUS_0))", "neg(x)");
    check("neg(sub(x, ZERO))", "neg(x)");
    check("neg(add(i, INT_0))", "neg(i)");
    check("logical_not(add(c, NO))", "logical_not(c)");
    // -0.0 + 0.0 is 0.0, and -0.0 - -0.0 too.
    stays("neg(add(x, ZERO))");
    stays("neg(sub(x, MINUS_0))");
    // Not for NaN and infinities.
    stays("neg(mul(x, ZERO))");
    // Not the same rounding.
    stays("div(x, TWO)");
}

#[test]
fn things_done_twice_undo_themselves() {
    check("mul(neg(neg(x)), y)", "mul(x, y)");
    check("where(logical_not(logical_not(c)), x, y)", "where(c, x, y)");
    check("mul(maximum(x, x), y)", "mul(x, y)");
    // On integers the inner one is a cast to bool first.
    check("where(logical_not(logical_not(i)), x, y)", "where(to(i, bool), x, y)");
}

#[test]
fn a_known_condition_picks_its_side() {
    check("neg(where(YES, x, y))", "neg(x)");
    check("neg(where(NO, x, y))", "neg(y)");
    check("neg(where(c, x, x))", "neg(x)");
}

#[test]
fn casts_that_lose_nothing_merge() {
    check("to(to(h, f32), f64)", "to(h, f64)");
    check("neg(to(to(h, f32), f16))", "neg(h)");
    check("to(to(i, i64), u8)", "to(i, u8)");
    check("to(to(c, f16), i64)", "to(c, i64)");
    stays("to(to(x, f16), f32)");
    stays("to(to(x, i64), f32)");
    stays("to(to(i, f32), f64)");
}

#[test]
fn known_numbers_are_computed() {
    check("mul(x, add(ONE, ONE))", "mul(x, TWO)");
    check("to(TWO, i64)", "expand(2, [2, 3])");
    check("view(permute(TWO, [1, 0]), [6])", "expand(2.0, [6])");
    check("tensor([[2.0, 2.0]], dtype=f32)", "expand(2.0, [1, 2])");
    check("neg(z)", "expand(0.0, [2, 0])");
    // It is to fail when it runs.
    stays("remainder(INT_1, INT_0)");
}

#[test]
fn views_of_views_merge() {
    check("neg(view(view(x, [6]), [3, 2]))", "neg(view(x, [3, 2]))");
    check("neg(view(view(x, [6]), [2, 3]))", "neg(x)");
    check("neg(permute(permute(x, [1, 0]), [1, 0]))", "neg(x)");
    check("neg(permute(view(x, [1, 2, 3]), [1, 2, 0]))", "neg(view(x, [2, 3, 1]))");
    check("neg(expand(expand(u, [2, 3]), [4, 2, 3]))", "neg(expand(u, [4, 2, 3]))");
    check("neg(expand(u, [1, 2, 1]))", "neg(view(u, [1, 2, 1]))");
    check(
        "neg(slice(slice(x, start=[0, 2], len=[2, 3], step=[1, -1]), start=[1, 1], len=[1, 2], step=[1, 1]))",
        "neg(slice(x, start=[1, 1], len=[1, 2], step=[1, -1]))",
    );
    check(&format!("neg({})", part("x", [0, 0], [2, 3])), "neg(x)");
    check("neg(clone(detach(x)))", "neg(x)");
    stays("neg(view(permute(x, [1, 0]), [6]))");
}

#[test]
fn reductions_of_one_element_are_views() {
    check("neg(reduce_prod(u, dim=[1]))", "neg(view(u, [2]))");
    check("neg(reduce_max(u, dim=[1]))", "neg(view(u, [2]))");
    check("neg(reduce_sum(to(u, i32), dim=[1]))", "neg(view(to(u, i32), [2]))");
    // 0.0 + -0.0 is 0.0.
    stays("reduce_sum(u, dim=[1])");
    stays("reduce_argmax(u, dim=[1])");
}

#[test]
fn updates_of_everything_nothing_or_the_same_go_away() {
    check(&format!("neg({})", update("x", "y", [0, 0], [2, 3])), "neg(y)");
    check(&format!("neg({})", update("x", "z", [0, 0], [2, 0])), "neg(x)");
    check(&format!("neg({})", update("x", &part("x", [0, 1], [2, 1]), [0, 1], [2, 1])), "neg(x)");
    check(&update("ZERO", &part("ZERO", [0, 1], [2, 1]), [0, 1], [2, 1]), "ZERO");
    stays(&update("x", &part("y", [0, 1], [2, 1]), [0, 1], [2, 1]));
    // -0.0 over 0.0 is an update.
    let minus = part("MINUS_0", [0, 1], [2, 1]);
    check(&update("ZERO", &minus, [0, 1], [2, 1]), &update("ZERO", "expand(-0.0, [2, 1])", [0, 1], [2, 1]));
}

#[test]
fn updates_of_updates_merge() {
    // The later one covers the earlier one.
    let twice = |inner, outer| update(&update("x", "exp(u)", inner, [2, 1]), &part("y", [0, 1], [2, 2]), outer, [2, 2]);
    check(&twice([0, 2], [0, 1]), &update("x", &part("y", [0, 1], [2, 2]), [0, 1], [2, 2]));
    stays(&twice([0, 0], [0, 1]));
    // An update of a part of a part.
    let rows = part("x", [1, 0], [1, 3]);
    let within = update(&rows, &part("y", [0, 0], [1, 1]), [0, 2], [1, 1]);
    check(&update("x", &within, [1, 0], [1, 3]), &update("x", &part("y", [0, 0], [1, 1]), [1, 2], [1, 1]));
    stays(&update("y", &within, [1, 0], [1, 3]));
}

#[test]
fn a_slice_of_an_update_looks_past_it() {
    let updated = update("x", "exp(u)", [0, 1], [2, 1]);
    check(&part(&updated, [0, 1], [2, 1]), "exp(u)");
    check(&part(&updated, [1, 1], [1, 1]), &part("exp(u)", [1, 0], [1, 1]));
    check(&format!("neg({})", part(&updated, [0, 2], [2, 1])), &format!("neg({})", part("x", [0, 2], [2, 1])));
    stays(&part(&updated, [0, 1], [2, 2]));
}

#[test]
fn what_is_computed_twice_is_computed_once() {
    let body = "// phase: differentiated
        fn f(x: f32[2]) -> (f32[2], f32[2], f32[2]) {
            let unused = exp(x);
            let zero: f32 = 0.0;
            let minus: f32 = -0.0;
            let a = add(neg(x), expand(zero, [2]));
            let b = add(neg(x), expand(minus, [2]));
            let c = add(neg(x), expand(zero, [2]));
            (a, b, c)
        }";
    // Zeros of different sign are different numbers.
    let text = print(&run_named(&read(body), &["cleanup"]).unwrap());
    assert_eq!(
        text.lines().skip(2).map(str::trim).collect::<Vec<_>>(),
        [
            "let v1: f32 = 0.0;",
            "let v2: f32 = -0.0;",
            "let v3: f32[2] = neg(x);",
            "let v4: f32[2] = expand(v1, [2]);",
            "let v5: f32[2] = add(v3, v4);",
            "let v6: f32[2] = expand(v2, [2]);",
            "let v7: f32[2] = add(v3, v6);",
            "(v5, v7, v5)",
            "}",
        ]
    );
}

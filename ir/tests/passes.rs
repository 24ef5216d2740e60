//! What each pass makes of small programs, as text.

mod reader;

use reader::read;
use tensorc_ir::passes::{PASSES, run_all, run_named};
use tensorc_ir::text::print::print;
use tensorc_ir::{Kind, Loc};

/// The body of a function after the passes of these names, without indentation.
fn after(passes: &[&str], text: &str) -> String {
    let g = run_named(&read(text), passes).unwrap();
    let text = print(&g);
    let body: Vec<&str> = text.lines().skip(2).map(str::trim).filter(|l| *l != "}").collect();
    body.join("\n")
}

fn check(passes: &[&str], text: &str, want: &[&str]) {
    assert_eq!(after(passes, text), want.join("\n"), "{text}");
}

const PURE: &[&str] = &["functionalize"];
const GRADIENT: &[&str] = &["functionalize", "autodiff", "simplify", "cleanup"];

#[test]
fn a_write_through_a_chain_of_views_updates_one_region() {
    // x[1:3].T[2] = z
    check(
        PURE,
        "fn f(x: mut f32[4, 5], z: f32[2]) {
            let rows = slice(x, start=[1, 0], len=[2, 5], step=[1, 1]);
            let line = view(slice(permute(rows, [1, 0]), start=[2, 0], len=[1, 2], step=[1, 1]), [2]);
            write_(line, z);
        }",
        &[
            "let v2: f32[2, 5] = slice(x, start=[1, 0], len=[2, 5], step=[1, 1]);",
            "let v3: f32[5, 2] = permute(v2, [1, 0]);",
            "let v4: f32[1, 2] = slice(v3, start=[2, 0], len=[1, 2], step=[1, 1]);",
            "let v5: f32[2] = view(v4, [2]);",
            "let v6: f32[2, 1] = view(z, [2, 1]);",
            "let v7: f32[4, 5] = slice_update(x, v6, start=[1, 2], len=[2, 1], step=[1, 1]);",
            "x.copy_(v7);",
        ],
    );
}

#[test]
fn a_view_is_derived_anew_after_a_write_and_only_then() {
    check(
        PURE,
        "fn f(x: mut f32[2, 2]) -> (f32[4], f32[4], f32[4]) {
            let flat = view(x, [4]);
            let before = neg(flat);
            let again = neg(flat);
            write_(x, neg(x));
            (before, neg(flat), neg(flat))
        }",
        &[
            "let v1: f32[4] = view(x, [4]);",
            "let v2: f32[4] = neg(v1);",
            "let v3: f32[4] = neg(v1);",
            "let v4: f32[2, 2] = neg(x);",
            "let v5: f32[2, 2] = clone(v4);",
            "let v6: f32[4] = view(v5, [4]);",
            "let v7: f32[4] = neg(v6);",
            "let v8: f32[4] = neg(v6);",
            "x.copy_(v5);",
            "(v2, v7, v8)",
        ],
    );
}

#[test]
fn a_write_to_a_diagonal_touches_its_elements() {
    check(
        &["functionalize", "autodiff", "simplify", "cleanup"],
        "fn f(x: mut f32[3, 4], z: f32[3]) {
            write_(diagonal(x, offset=1), z);
        }",
        &[
            "let v2: i64 = 1;",
            "let v3: i64[3] = iota(3);",
            "let v4: i64 = 5;",
            "let v5: i64[3] = expand(v4, [3]);",
            "let v6: i64[3] = mul(v3, v5);",
            "let v7: i64[3] = expand(v2, [3]);",
            "let v8: i64[3] = add(v7, v6);",
            "let v9: f32[12] = view(x, [12]);",
            "let v10: f32[12] = scatter(v9, dim=0, index=v8, src=z);",
            "let v11: f32[3, 4] = view(v10, [3, 4]);",
            "x.copy_(v11);",
        ],
    );
}

#[test]
fn results_that_are_views_of_parameters_say_so() {
    // The second result is new memory, although its value is a view's.
    check(
        GRADIENT,
        "fn f(x: mut f32[2, 2], y: f32[4]) -> (f32[4], f32[4], f32[4]) {
            let flat = view(x, [4]);
            write_(flat, y);
            (flat, clone(y), y)
        }",
        &[
            "let v2: f32[2, 2] = view(y, [2, 2]);",
            "let v3: f32[4] = clone(y);",
            "x.copy_(v2);",
            "(view(x, [4]), v3, y)",
        ],
    );
}

#[test]
fn a_gradient_by_memory_written_since_shows_the_write() {
    let text = "fn f(x: f32[2]) -> f32[2] {
        let w = clone(x);
        let y = reduce_sum(mul(w, w), dim=[0]);
        write_(w, x);
        grad(y, w)
    }";
    let e = run_all(&read(text)).unwrap_err();
    assert_eq!(e.kind(), Kind::Grad);
    let shown = |loc: Loc| match loc {
        Loc::Text { start, end } => &text[start as usize..end as usize],
        _ => "",
    };
    assert_eq!(shown(e.diagnostic().loc), "grad(y, w)");
    assert_eq!(shown(e.diagnostic().notes[0].0), "write_(w, x)");
}

#[test]
fn a_gradient_adds_the_uses_before_and_after_a_write_elsewhere() {
    // a = w[0:1] is used before and after w[1:2] is written; its memory is not.
    check(
        GRADIENT,
        "fn f(x: f32[2]) -> f32[1] {
            let w = clone(x);
            let a = slice(w, start=[0], len=[1], step=[1]);
            let b = slice(w, start=[1], len=[1], step=[1]);
            let first = mul(a, a);
            write_(b, a);
            let y = reduce_sum(mul(first, a), dim=[0]);
            grad(y, a)
        }",
        &[
            "let v1: f32[1] = slice(x, start=[0], len=[1], step=[1]);",
            "let v2: f32[1] = mul(v1, v1);",
            // Nothing reaches a through what was written.
            "let v3: f32 = 0.0;",
            "let v4: f32[1] = expand(v3, [1]);",
            // Twice by the uses before, then by the one after.
            "let v5: f32[1] = add(v4, v2);",
            "let v6: f32[1] = add(v5, v2);",
            "let v7: f32[1] = add(v6, v2);",
            "v7",
        ],
    );
}

#[test]
fn cotangents_of_a_fan_out_are_added_last_use_first() {
    check(
        GRADIENT,
        "fn f(x: f32[2], a: f32[2], b: f32[2], c: f32[2]) -> f32[2] {
            let y = add(add(mul(x, a), mul(x, b)), mul(x, c));
            grad(reduce_sum(y, dim=[0]), x)
        }",
        &["let v4: f32[2] = add(c, b);", "let v5: f32[2] = add(v4, a);", "v5"],
    );
}

#[test]
fn gradients_nest() {
    // d/dx of (d/dx of x * x * x) squared, summed.
    check(
        GRADIENT,
        "fn f(x: f32) -> f32 {
            let d = grad(mul(mul(x, x), x), x);
            grad(mul(d, d), x)
        }",
        &[
            "let v1: f32 = mul(x, x);",
            "let v2: f32 = add(v1, v1);",
            // d = 3 x^2
            "let v3: f32 = add(v2, v1);",
            "let v4: f32 = add(v3, v3);",
            "let v5: f32 = mul(v4, x);",
            "let v6: f32 = add(v5, v5);",
            "let v7: f32 = add(v6, v6);",
            "let v8: f32 = add(v7, v5);",
            "let v9: f32 = add(v8, v5);",
            // 36 x^3
            "v9",
        ],
    );
}

#[test]
fn a_value_that_is_not_used_has_no_gradient_unless_allowed() {
    let text = |how: &str| format!("fn f(x: f32[2], y: f32[2]) -> f32[2] {{ grad(reduce_sum(x, dim=[0]), y{how}) }}");
    let e = run_all(&read(&text(""))).unwrap_err();
    assert_eq!(e.kind(), Kind::Grad);
    assert!(e.to_string().contains("`y` appears to not have been used"), "{e}");
    check(GRADIENT, &text(", allow_unused=true"), &["let v2: f32 = 0.0;", "let v3: f32[2] = expand(v2, [2]);", "v3"]);
    // Nothing flows through a comparison or a detach.
    let detached = "fn f(x: f32) -> f32 { grad(detach(x), x) }";
    assert_eq!(run_all(&read(detached)).unwrap_err().kind(), Kind::Grad);
}

#[test]
fn the_gradient_of_a_seed_is_the_seed() {
    // The result is new memory: a parameter's value, cloned.
    check(
        GRADIENT,
        "fn f(x: f32[2], s: f32[2]) -> f32[2] { grad(x, x, seed=s) }",
        &["let v2: f32[2] = clone(s);", "v2"],
    );
}

#[test]
fn passes_run_by_name_in_their_phase() {
    let g = read("fn f(x: f32) -> f32 { neg(x) }");
    let e = run_named(&g, &["autodiff"]).unwrap_err();
    assert!(e.to_string().contains("the pass `autodiff` takes a graph in phase pure, this one is traced"), "{e}");
    let e = run_named(&g, &["simplfy"]).unwrap_err();
    assert_eq!(e.kind(), Kind::Name);
    let names: Vec<&str> = PASSES.iter().map(|p| p.name).collect();
    assert_eq!(print(&run_named(&g, &names).unwrap()), print(&run_all(&g).unwrap()));
    // What is left of the list for a graph that has come some way.
    let pure = run_named(&g, &["functionalize"]).unwrap();
    assert_eq!(print(&run_all(&pure).unwrap()), print(&run_all(&g).unwrap()));
}

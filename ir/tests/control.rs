//! Limits of control flow in text: how deeply it nests, how large it grows, and what a printed graph may hold.

use tensorc_ir::passes::run_all;
use tensorc_ir::text::print::print;
use tensorc_ir::text::{Module, Sizes};
use tensorc_ir::{Error, Graph};

fn trace(text: &str) -> Result<Graph, Vec<Error>> {
    let m = Module::parse("test.tc", text)?;
    m.trace(m.functions().last().expect("a function"), &Sizes::default(), None)
}

#[track_caller]
fn refused(text: &str, part: &str) {
    let errors = trace(text).map(|g| print(&g)).expect_err("an error");
    assert!(errors.iter().any(|e| e.to_string().contains(part)), "{errors:?}");
}

/// `level` functions, each one run by the next.
fn nested(levels: usize, call: &str) -> String {
    let mut text = String::from("fn g0(x: f32[2]) -> f32[2] { sin(x) * x }\n");
    for i in 1..=levels {
        text += &format!("fn g{i}(x: f32[2]) -> f32[2] {{ {} }}\n", call.replace('@', &format!("g{}", i - 1)));
    }
    text
}

#[test]
fn bodies_nest_to_a_limit() {
    let step = "scan(@, x, None, length=1)";
    let text = nested(24, step);
    // All passes and the text on the small stack of a test, twice differentiated.
    let main = "fn main(x: f32[2]) -> f32[2] { let s = sum(g23(x)); grad(sum(grad(s, x)), x) }";
    let g = run_all(&trace(&format!("{text}{main}")).expect("a graph")).expect("derivatives");
    let again = trace(&print(&g)).expect("a dump");
    assert_eq!(print(&again), print(&g));
    refused(
        &format!("{text}fn main(x: f32[2]) -> f32[2] {{ scan(g24, x, None, length=1) }}"),
        "control flow nests too deeply",
    );
}

#[test]
fn what_doubles_with_each_level_is_refused_in_time() {
    let text = nested(15, "cond(sum(x) > 0, @, @, x)");
    let errors = Module::parse("test.tc", text).expect("a module").check();
    assert!(
        errors.iter().any(|e| e.to_string().contains("the program is too large with all its bodies")),
        "{errors:?}"
    );
}

#[test]
fn printed_bodies_keep_the_rules_of_bodies() {
    let main = "// phase: pure\nfn main(p: bool, x: f32[2]) -> f32[2] { let y: f32[2] = cond(p, f, f, x); y }";
    assert!(
        trace(&format!("// phase: pure\nfn f(x: f32[2]) -> f32[2] {{ let y: f32[2] = neg(x); y }}\n{main}")).is_ok()
    );
    // In another phase, giving a parameter's memory, writing to it.
    refused(&format!("fn f(x: f32[2]) -> f32[2] {{ -x }}\n{main}"), "`f` is traced, what runs it is pure");
    refused(&format!("// phase: pure\nfn f(x: f32[2]) -> f32[2] {{ x }}\n{main}"), "gives its memory");
    let writes = "// phase: pure\nfn f(x: mut f32[2]) -> f32[2] { let y: f32[2] = neg(x); x.copy_(y); y }";
    refused(&format!("{writes}\n{main}"), "has a parameter that is `mut`");
    let pure = "// phase: pure\nfn f(x: f32[2]) -> f32[2] { let y: f32[2] = neg(x); y }";
    refused(
        &format!("{pure}\nfn main(p: bool, x: f32[2]) {{ cond(p, f, f, x) }}"),
        "`f` is pure, what runs it is traced",
    );
}

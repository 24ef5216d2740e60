//! Symbolic sizes: bound at the call, checked before it.

use super::{counting, floats, messages, module, results, traced, value};
use crate::text::{Sizes, render_plain};

#[test]
fn sizes_are_numbers_and_shapes() {
    let src = "fn f(x: f32[B, N], y: f32[2 * B]) { x.view(B * N)[1:] * (N - B) + x.shape[0] / x.size(-1) + x.ndim }";
    let r = results(src, &[counting(&[2, 3]), counting(&[4])]);
    let want: Vec<f64> = (1..6).map(|i| (i as f32 + (2. / 3.) as f32 + 2.) as f64).collect();
    assert_eq!(floats(&r[0]), want);
    assert_eq!(value("fn f(x: f32[B]) { B }", &[counting(&[5])]), [5.]);
}

/// The error of binding the only function's sizes.
fn refused(src: &str, shapes: &[&[usize]]) -> String {
    let m = module(src);
    let e = m.bind_sizes(m.main().unwrap(), shapes).unwrap_err();
    render_plain(m.source(), &e)
}

#[test]
fn every_dim_is_checked_at_the_call() {
    let src = "fn f(x: f32[B, 3], y: f32[2 * B, N - 1], z: i64[N, B]) { x }";
    let m = module(src);
    let bind = |shapes: &[[usize; 2]]| m.bind_sizes(m.main().unwrap(), shapes);
    let sizes = bind(&[[2, 3], [4, 6], [7, 2]]).unwrap();
    assert_eq!(sizes.iter().collect::<Vec<_>>(), [("B", 2.into()), ("N", 7.into())]);
    assert!(bind(&[[0, 3], [0, 0], [1, 0]]).is_ok(), "sizes may be 0");
    assert_eq!(
        refused(src, &[&[2, 3], &[5, 6], &[7, 2]]),
        "error[shape]: parameter `y`: expected f32[2 * B, N - 1] with B = 2, N = 7, got shape [5, 6]
 --> test.tc:1:20
  |
1 | fn f(x: f32[B, 3], y: f32[2 * B, N - 1], z: i64[N, B]) { x }
  |                    ^^^^^^^^^^^^^^^^^^^^
"
    );
    assert_eq!(
        refused(src, &[&[2, 3], &[4, 6], &[7, 9]]),
        "error[shape]: parameter `z`: expected i64[N, B] with B = 2, N = 7, got shape [7, 9]
 --> test.tc:1:42
  |
1 | fn f(x: f32[B, 3], y: f32[2 * B, N - 1], z: i64[N, B]) { x }
  |                                          ^^^^^^^^^^^^
note: `x` makes B = 2
 --> test.tc:1:6
  |
1 | fn f(x: f32[B, 3], y: f32[2 * B, N - 1], z: i64[N, B]) { x }
  |      ------------
"
    );
    assert!(refused(src, &[&[2], &[4, 6], &[7, 2]]).contains("expected f32[B, 3], got shape [2]"));
    assert!(refused(src, &[&[2, 3]]).contains("`f` takes 3 inputs, got 1"));
    assert!(refused("fn f(x: f32[N, N, N, N]) { x }", &[&[1 << 20; 4]]).contains("too large"));
    assert!(refused("fn f(x: f32[N, N - 2]) { x }", &[&[1, 0]]).contains("expected f32[N, N - 2] with N = 1"));
}

#[test]
fn a_size_broadcasts_only_with_1_or_itself_also_when_it_is_1_at_the_call() {
    let refused = |src: &str| messages(src).join("; ");
    assert_eq!(
        refused("fn f(x: f32[B], y: f32[3]) { x + y }"),
        "shape: `add`: The size of tensor a (B) must match the size of tensor b (3) at non-singleton dimension 0"
    );
    assert_eq!(
        refused("fn f(x: f32[B], y: f32[N]) { x + y }"),
        "shape: `add`: The size of tensor a (B) must match the size of tensor b (N) at non-singleton dimension 0"
    );
    assert_eq!(
        refused("fn f(x: f32[B], y: f32[B, 4]) { cat([x, x]) * y[1:, 0] }"),
        "shape: `mul`: The size of tensor a (B*2) must match the size of tensor b (B - 1) at non-singleton dimension 0"
    );
    for fine in [
        "fn f(x: f32[B], y: f32[1]) { x + y }",
        "fn f(x: f32[B], y: f32[N, 1]) { x + y }",
        "fn f(x: f32[B + N], y: f32[B], z: f32[N]) { x + cat([y, z]) }",
        "fn f(x: f32[B, N]) { x.view(-1) + x.view(B * N) }",
        "fn f(x: f32[1], y: f32[B]) { x.expand(B) + y }",
    ] {
        assert_eq!(refused(fine), "", "{fine}");
    }
    let inputs = [counting(&[1]), counting(&[3])];
    let e = traced("fn f(x: f32[B], y: f32[3]) { x + y }", &inputs).unwrap_err();
    assert_eq!(
        e[0].diagnostic().help.as_deref(),
        Some("a size broadcasts only with 1 or with the same size; to stretch it, write `expand`")
    );
    assert_eq!(value("fn f(x: f32[B], y: f32[3]) { x.expand(3) + y }", &inputs), [0., 1., 2.]);
}

#[test]
fn what_depends_on_the_size_is_checked_at_the_call() {
    for src in [
        "fn f(x: f32[N]) { x.view(-1, 8) }",
        "fn f(x: f32[N, 4]) { x.view(-1, 2, N) + 1 }",
        "fn f(x: f32[N, 4]) { x[200] }",
        "fn f(x: f32[B, D], h: f32[H]) { x.view(B, H, -1) * h[:, None] }",
        "fn f(x: f32[B, D], h: f32[H]) { x.view(B, H, floor_divide(D, H)).sum() }",
        "fn f(x: f32[N]) { let (a, b) = x.view(2, floor_divide(N, 2)).unbind(); a + b }",
    ] {
        assert_eq!(messages(src), [""; 0], "{src}");
    }
    let m = module("fn f(x: f32[N]) { x.view(-1, 8) }");
    let sizes = m.bind_sizes(m.main().unwrap(), &[[12usize]]).unwrap();
    let e = m.trace(m.main().unwrap(), &sizes, None).unwrap_err();
    assert_eq!(
        render_plain(m.source(), &e[0]),
        "error[shape]: shape '[-1, 8]' is invalid for input of size 12
 --> test.tc:1:19
  |
1 | fn f(x: f32[N]) { x.view(-1, 8) }
  |                   ^^^^^^^^^^^^^
  = note: in a call with N = 12
"
    );
    // These are wrong for every size.
    for src in ["fn f(x: f32[B, 3]) { x.view(B, 2, -1) }", "fn f(x: f32[B, 3]) { x[:, 3] }"] {
        assert_eq!(messages(src).len(), 1, "{src}");
    }
}

#[test]
fn a_function_is_found_by_name_or_is_the_main_one() {
    assert!(module("fn f() { 1 } fn main() { 2 }").main().is_ok());
    assert!(module("fn only() { 1 }").main().is_ok());
    let m = module("fn f() { 1 } fn g() { 2 }");
    assert_eq!(m.main().unwrap_err().diagnostic().help.as_deref(), Some("name one of its functions: f, g"));
    assert!(m.function("g").is_ok_and(|g| m.decl(g).name.text == "g"));
    assert!(m.function("h").is_err() && module("").main().is_err());
    assert_eq!(m.trace(m.function("g").unwrap(), &Sizes::default(), None).unwrap().name, "g");
}

//! Loop nests as text: what prints parses back, what is wrong is refused with the line at which it is.

use tensorc_codegen::cpu;
use tensorc_codegen::loopnest::{LoopNest, interp, parse, verify};
use tensorc_ir::Kind;

/// A statement of every form.
const ALL_FORMS: &str = "kernel(b0: f32, b1: mut f16, b2: mut i64; p0, p1, p2) {
  unused %3: u8
  for parallel i0 in 0..p0 {
    acc a0: f32 = argmax, lanes 16
    for vector i1 in 0..block(i0, 32, p1) {
      %0: f32 = load b0[i0*p2 + i1 - 3]
      %1: i64 = index i0*-2 + i1 + p1
      a0 += %0 at %1
    }
    %2: i64 = read a0
    store b2[i0] = %2
    acc a1: bool = max
    for i2 in 0..7 {
      %4: f32 = load b0[4 + %2]
      %5: f32 = const f32 -1.5e-7
      %6: f32 = const f32 0x7fc00000
      %7: f32 = fma %4, %5, %6
      %8: f32 = sqrt %7
      %9: bool = le %7, %8
      %10: f32 = select %9, %8, %4
      %11: f32 = round bf16 %10
      %12: i32 = bitcast i32 %11
      %13: i8 = convert i8 %12
      %14: i8 = const i8 -128
      %15: i8 = shl %13, %14
      %16: bool = check negative_power %9
      %17: bool = const bool true
      a1 += %9
      store b1[i2*3 + 1] = %11
    }
    %18: bool = read a1
  }
}
";

#[test]
fn text_is_the_loop_nest() {
    let nest = parse::parse(ALL_FORMS).unwrap();
    verify::verify(&nest).unwrap();
    assert_eq!(nest.to_string(), ALL_FORMS);
    let comments = ALL_FORMS.replace('\n', " # comment }\n");
    assert_eq!(parse::parse(&comments).unwrap(), nest);
}

/// Cut anywhere, the text is an error and not a panic, at a place inside the text.
#[test]
fn half_a_text_is_an_error() {
    for end in 0..ALL_FORMS.trim_end().len() {
        let error = parse::parse(&ALL_FORMS[..end]).unwrap_err();
        assert_eq!(error.kind(), Kind::Syntax);
    }
}

#[test]
fn syntax_errors() {
    for (text, message) in [
        ("kernel(b1: f32) {}", "expected `)`, found `b1`"),
        ("kernel(b0: f33) {}", "expected a dtype, found `f33`"),
        ("kernel(;) { for i0 in 0..99999999999999999999 {} }", "an integer of 64 bits"),
        ("kernel(;) { %0: f32 = frobnicate %1 }", "expected an instruction, found `frobnicate`"),
        ("kernel(;) { %7: bool = const bool true }", "%0 has no type"),
        ("kernel(;) { %99999999: bool = const bool true }", "expected a register below"),
        ("kernel(;) { %0: i64 = index %0 }", "no register in the index"),
        ("kernel(;) { %0: i64 = index 1 + 2 }", "one constant part"),
        ("kernel(;) { } }", "expected the end, found `}`"),
        ("kernel(;) { ä }", "expected a statement, found `ä`"),
        (&"for i0 in 0..1 {".repeat(1000).replacen("for", "kernel(;) { for", 1), "fewer loops"),
    ] {
        let error = parse::parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// The error for a kernel with buffers `b0: f32, b1: mut f32`, a parameter and this body.
fn refused(body: &str) -> String {
    let nest = parse::parse(&format!("kernel(b0: f32, b1: mut f32; p0) {{ {body} }}")).unwrap();
    let error = verify::verify(&nest).unwrap_err();
    assert_eq!(error.kind(), Kind::Type);
    // Nothing runs or compiles what is refused.
    assert_eq!(interp::run(&nest, &mut [vec![], vec![]], &[1]).unwrap_err(), error);
    error.to_string()
}

#[test]
fn what_the_verifier_refuses() {
    for (body, why) in [
        ("%0: f32 = neg %0", "line `%0: f32 = neg %0`: %0 is not defined"),
        ("for i0 in 0..2 { %0: f32 = const f32 1.0 } store b1[0] = %0", "%0 is defined in a loop that has ended"),
        ("%0: f32 = const f32 1.0 %0: f32 = const f32 2.0", "%0 is defined twice"),
        ("%0: f64 = const f64 1.0 %1: f32 = sqrt %0", "%1 is f32 and gets f64"),
        ("%0: i8 = const i8 300", "is no value of i8"),
        ("%0: i32 = const i32 1 %1: i32 = sqrt %0", "not on i32"),
        ("%0: f32 = const f32 1.0 %1: f32 = and %0, %0", "not on f32"),
        ("%0: f32 = const f32 1.0 %1: f32 = select %0, %0, %0", "%0 is f32, not bool"),
        ("%0: f32 = const f32 1.0 %1: i64 = bitcast i64 %0", "no bitcast from f32 to i64"),
        ("%0: f32 = param f32", "a parameter of a scalar block"),
        ("%0: f32 = load b0[i0]", "i0 is no loop around this"),
        ("%0: f32 = load b2[0]", "there is no buffer b2"),
        ("%0: f32 = load b0[p1]", "there is no parameter p1"),
        ("%0: f64 = load b0[0]", "%0 is f64 and gets f32"),
        ("%0: f32 = const f32 1.0 store b0[0] = %0", "b0 is not declared `mut`"),
        ("%0: f32 = const f32 1.0 %1: f32 = load b0[0 + %0]", "%0 is f32, not i64"),
        ("for i0 in 0..2 { %0: i64 = index i0 + i0 }", "i0 twice in one index"),
        ("for i0 in 0..2 { for i0 in 0..2 {} }", "i0 is a loop around this one"),
        ("for vector i0 in 0..2 { for vector i1 in 0..2 {} }", "a vector loop inside a vector loop"),
        ("for parallel i0 in 0..2 {} for i1 in 0..2 {}", "a parallel loop is the only loop at the top"),
        ("for i1 in 0..2 { for parallel i0 in 0..2 {} }", "a parallel loop is the only loop at the top"),
        ("for i1 in 0..block(i0, 1, 2) { }", "i0 is no loop around this"),
        ("acc a0: f32 = sum, lanes 8", "has 1 lane or 16"),
        ("for vector i0 in 0..2 { acc a0: f32 = sum, lanes 16 }", "in a vector loop an accumulator has one lane"),
        ("acc a0: f32 = sum acc a0: f32 = sum", "a0 is set up twice"),
        ("%0: f32 = const f32 1.0 a0 += %0", "a0 is not set up here"),
        ("for i0 in 0..2 { acc a0: f32 = sum } %0: f32 = read a0", "a0 is not set up here"),
        ("acc a0: f32 = sum for vector i0 in 0..2 { %0: f32 = const f32 1.0 a0 += %0 }", "would depend on each other"),
        ("acc a0: f32 = sum, lanes 16 %0: f32 = const f32 1.0 a0 += %0", "in no vector loop"),
        ("acc a0: f32 = sum, lanes 16 for vector i0 in 0..2 { %0: f32 = read a0 }", "read in the vector loop"),
        ("acc a0: f32 = sum %0: f64 = const f64 1.0 a0 += %0", "%0 is f64, not f32"),
        ("acc a0: f32 = argmin %0: f32 = const f32 1.0 a0 += %0", "an index belongs to argmax and argmin"),
        ("acc a0: f32 = argmin %0: f32 = read a0", "%0 is f32 and gets i64"),
    ] {
        let error = refused(body);
        assert!(error.contains(why), "{body}: {error}");
    }
}

/// A register table may be too short for the registers used; that is an error as well.
#[test]
fn registers_out_of_range() {
    let mut nest = parse::parse(ALL_FORMS).unwrap();
    nest.regs.truncate(5);
    assert!(verify::verify(&nest).unwrap_err().to_string().contains("there is no register %5"));
}

#[test]
fn the_interpreter_checks_its_arguments() {
    let nest = parse::parse("kernel(b0: mut i32; p0) { %0: i32 = const i32 7 store b0[p0] = %0 }").unwrap();
    let mut bufs = vec![vec![0; 9]];
    assert_eq!(interp::run(&nest, &mut bufs, &[1]), Ok(0));
    assert_eq!(bufs[0], [0, 0, 0, 0, 7, 0, 0, 0, 0]);
    for (len, params) in [(8, &[2][..]), (8, &[-1]), (8, &[i64::MAX]), (8, &[]), (7, &[1])] {
        assert_eq!(interp::run(&nest, &mut [vec![0; len]], params).unwrap_err().kind(), Kind::Index);
    }
    assert_eq!(interp::run(&nest, &mut [], &[0]).unwrap_err().kind(), Kind::Index);
}

/// The order of a sum with lanes is its own: sixteen partial sums, then a tree.
#[test]
fn a_sum_has_one_order() {
    let nest = parse::parse(
        "kernel(b0: f32, b1: mut f32; p0) {
           acc a0: f32 = sum, lanes 16
           for vector i0 in 0..p0 { %0: f32 = load b0[i0] a0 += %0 }
           %1: f32 = read a0
           store b1[0] = %1
         }",
    )
    .unwrap();
    let x: Vec<f32> = (0..50).map(|i| 1.0 / (i as f32 + 0.3)).collect();
    let mut lanes = [0f32; 16];
    x.iter().enumerate().for_each(|(i, x)| lanes[i % 16] += x);
    for half in [8, 4, 2, 1] {
        (0..half).for_each(|i| lanes[i] += lanes[i + half]);
    }
    let mut bufs = vec![x.iter().flat_map(|x| x.to_le_bytes()).collect(), vec![0; 4]];
    interp::run(&nest, &mut bufs, &[50]).unwrap();
    assert_eq!(bufs[1], lanes[0].to_le_bytes());
}

/// The same loop nest gives the same function.
#[test]
fn emitting_is_a_function() {
    let isa = cranelift_native::builder().unwrap().finish(cranelift_flags()).unwrap();
    let nest: LoopNest = parse::parse(ALL_FORMS).unwrap();
    let text = |n: &LoopNest| cpu::emit(n, &*isa, "k").unwrap().function.display().to_string();
    assert_eq!(text(&nest), text(&nest));
    assert!(cpu::emit(&LoopNest { params: 0, ..nest }, &*isa, "k").is_err());
}

fn cranelift_flags() -> cranelift_codegen::settings::Flags {
    cranelift_codegen::settings::Flags::new(cranelift_codegen::settings::builder())
}

//! Where writes go: what is written in place, which copies remain and why, and that a call that fails has written nothing.

use tensorc::dtype::F32;
use tensorc::program::{Mode, Program};
use tensorc::{Kind, Result, Tensor, arange, grad, jit, tensor, value_and_grad};
use tensorc_codegen::plan::plan;
use tensorc_ir::passes::{fuse, run_all};
use tensorc_ir::{Dim, Strided};

/// The copies that the program of a function makes because of writes, with their reasons, and the bytes of its scratch
/// memory.
fn copies(text: &str) -> (Vec<String>, Dim) {
    let program = Program::parse("test", text).unwrap_or_else(|e| panic!("{e:?}"));
    let (module, f) = (program.module(), program.function(None).unwrap());
    let sizes = module.symbolic_sizes(f);
    let graph = run_all(&module.trace(f, &sizes, None).unwrap()).unwrap();
    let types = module.param_types(f, &sizes).unwrap();
    let layouts: Vec<Strided> = types.iter().map(|t| Strided::contiguous(&t.shape)).collect();
    let planned = plan(&graph, &layouts, fuse::Mode::Fused).unwrap();
    (planned.copies.iter().map(|c| c.why.to_string()).collect(), planned.arena)
}

#[test]
fn writes_of_parts_are_in_place() {
    for text in [
        "fn f(x: mut f32[64, 8]) { x[0] += 1.0; x[2:4] *= x[0:2]; x[:, 3] = 0.0; }",
        "fn f(x: mut f32[N, 8]) { x[:, 2] += 1.0; x *= 2.0; }",
        "fn f(x: mut f32[64, 8]) { let t = x.T; t[3:] -= 2.0; x.view(512)[7] = 1.0; }",
        "fn f(x: mut f32[64, 8], b: mut f32[8]) { x += 1.0; x[0] = b; b += sum(x, 0); }",
        // The row is known when it runs: its check runs before anything is written.
        "fn f(x: mut f32[64, 8], i: i64[1], row: f32[1, 8]) { x[0] = 2.0; x.index_copy_(0, i, row); x *= 3.0; }",
        "fn f(x: mut f32[64, 8], i: mut i64[64]) { x.copy_(softmax(x, 1)); i += argmax(x, 1); }",
        "fn f(n: mut i64[8], d: i64[8]) { n += 1; n.floor_divide_(d); }",
        // A result that is also the final value is a copy of it.
        "fn f(x: mut f32[64]) -> f32[64] { x[1:3] += 1.0; x.clone() }",
        // A local tensor that becomes a result is made where it will be.
        "fn f(x: f32[64]) -> f32[64] { let y = x * 2.0; y[0] = 1.0; y[3:5] += 1.0; y }",
    ] {
        assert_eq!(copies(text), (vec![], Dim::ZERO), "{text}");
    }
}

/// What is computed from what it overwrites is made first: the part, not all.
#[test]
fn a_part_written_over_what_it_reads_is_made_first() {
    let (why, scratch) = copies("fn f(x: mut f32[64, 8]) { x[1:3] = x[:2] * 2.0; x[3] += 1.0; }");
    assert_eq!((why, scratch), (vec![], Dim::from(64)));
    let (why, scratch) = copies("fn f(x: mut f32[64, 8]) { x[1:3] = x[:2].clone(); }");
    assert_eq!((why, scratch), (vec![], Dim::from(64)));
}

#[test]
fn copies_that_remain_say_why() {
    let late = "fn f(x: mut f32[64], i: i64[2]) -> f32 { x += 1.0; sum(x[i]) }";
    assert_eq!(copies(late).0, ["a call that fails must change nothing, and one may fail"]);
    let older = "fn f(x: mut f32[8, 8]) -> f32[8, 8] { let old = x.clone(); x[0] = 1.0; old @ x }";
    assert_eq!(copies(older).0, ["what was there before is read later"; 2]);
}

/// In every mode, and whether the failing step comes before or after the writes.
#[test]
fn a_call_that_fails_has_written_nothing() -> Result<()> {
    for text in [
        "fn f(x: mut f32[4], i: mut i64[1]) { x[0] = 9.0; i += 7; x.index_copy_(0, i, x[1:2].clone()); }",
        "fn f(x: mut f32[4], i: mut i64[1]) { x *= 2.0; i *= 0; x += floor_divide(3, i).to(f32); }",
        "fn f(x: mut f32[4], i: mut i64[1]) { x.index_fill_(0, i, 1.0); x.index_fill_(0, i + 4, 2.0); }",
        "fn f(x: mut f32[4], i: mut i64[1]) { i += 1; x[1:2] = x[i]; i -= 1; x[i + 9] = 0.0; }",
    ] {
        let program = Program::parse("test", text).unwrap_or_else(|e| panic!("{e:?}"));
        for mode in [Mode::Interpret, Mode::Eager, Mode::Fused] {
            let (x, i) = (arange(4)?.to(F32)?, tensor([0i64])?);
            let e = program.run(None, &[x.clone(), i.clone()], mode).unwrap_err();
            assert_eq!(e[0].kind(), Kind::Data, "{mode:?}: {text}: {e:?}");
            if mode != Mode::Interpret {
                assert_eq!(x.to_vec::<f32>()?, [0.0, 1.0, 2.0, 3.0], "{mode:?}: {text}");
                assert_eq!(i.to_vec::<i64>()?, [0], "{mode:?}: {text}");
            }
        }
    }
    Ok(())
}

/// The gradient by an argument is that of the function of what was passed, so the function must leave it alone.
#[test]
fn a_function_does_not_write_to_what_it_is_differentiated_by() -> Result<()> {
    let write = line!() + 2;
    let f = |(x, y): (Tensor, Tensor)| {
        x.i(1..)?.mul_(2.0)?;
        x.mul(&y)?.sum()
    };
    let x = tensor([1f32, 2.0])?;
    for e in [grad(f)((x.clone(), x.copy()?)).err(), jit(grad(f)).call((x.clone(), x.copy()?)).err()] {
        let text = e.unwrap().to_string();
        assert!(text.contains("a leaf Variable that requires grad is being used in an in-place operation."), "{text}");
        assert!(text.contains(&format!("tests/writes.rs:{write}:")), "{text}");
    }
    assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0]);
    // What is not differentiated by may be written, and so may copies, and the argument itself afterwards.
    let w = tensor([3f32, 4.0])?;
    let step = jit(|w: Tensor| {
        let (loss, dw) = value_and_grad(|w: Tensor| {
            x.add_(1.0)?;
            let h = w.copy()?;
            h.mul_(&x)?;
            h.sum()
        })(w.clone())?;
        w.sub_(&dw)?;
        Ok(loss)
    });
    assert_eq!(step.call(w.clone())?.item::<f32>()?, 18.0);
    assert_eq!((w.to_vec::<f32>()?, x.to_vec::<f32>()?), (vec![1.0, 1.0], vec![2.0, 3.0]));
    Ok(())
}

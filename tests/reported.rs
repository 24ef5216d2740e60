//! What users of other compilers have reported as silently wrong with views and writes, each as a test: the program as
//! text in all three modes (interpreter, one op at a time, fused), or as a closure under `jit`.

use tensorc::dtype::F32;
use tensorc::program::{Mode, Program};
use tensorc::{Result, Tensor, arange, grad, jit, tensor, zeros};
use tensorc_codegen::plan::plan;
use tensorc_codegen::program::{Step, Word};
use tensorc_ir::passes::{fuse, run_all};
use tensorc_ir::{Layout, Strided};

fn numbers(n: usize) -> Result<Tensor> {
    arange(n)?.to(F32)
}

fn vec(t: &Tensor) -> Vec<f32> {
    t.to(F32).unwrap().to_vec().unwrap()
}

/// Runs a program on `0, 1, 2, …` of the shapes given, in all modes: its results, and the arguments afterwards.
fn run(text: &str, shapes: &[&[usize]]) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let program = Program::parse("test", text).unwrap_or_else(|e| panic!("{e:?}"));
    let mut all = Vec::new();
    for mode in [Mode::Interpret, Mode::Eager, Mode::Fused] {
        let args: Vec<Tensor> =
            shapes.iter().map(|s| numbers(s.iter().product()).unwrap().view(*s).unwrap().copy().unwrap()).collect();
        let results = program.run(None, &args, mode).unwrap_or_else(|e| panic!("{mode:?}: {e:?}"));
        all.push((results.iter().map(vec).collect(), args.iter().map(vec).collect()));
    }
    assert_eq!(all[0], all[1], "one op at a time");
    assert_eq!(all[0], all[2], "fused");
    all.swap_remove(0)
}

/// pytorch#198101: what a view in another dtype gave is computed after a later write to the input.
#[test]
fn a_view_in_another_dtype_is_read_before_a_later_write() {
    let (y, x) = run("fn f(x: mut f32[4]) { let bits = x.view(i32) + 0; x += 1.0; bits.view(f32) + 0.0 }", &[&[4]]);
    assert_eq!((y, x), (vec![vec![0.0, 1.0, 2.0, 3.0]], vec![vec![1.0, 2.0, 3.0, 4.0]]));
    // A view that is read afterwards sees the write.
    let (y, _) = run("fn f(x: mut f32[2]) { let bits = x.view(i32); x += 1.0; (bits + 0).view(f32) + 0.0 }", &[&[2]]);
    assert_eq!(y, [[1.0, 2.0]]);
}

/// pytorch#198131: `dst[:] = src[:]; src.add_(1)` copies what `src` is only later.
#[test]
fn a_copy_is_of_what_its_source_was() {
    let (_, args) = run("fn f(dst: mut f32[3], src: mut f32[3]) { dst[:] = src[:]; src += 1.0; }", &[&[3], &[3]]);
    assert_eq!(args, [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]);
}

/// pytorch#94777: a write changes the result of an earlier op; pytorch#94773: a name made by `t[:]` is not seen as one.
#[test]
fn a_write_changes_what_shares_memory_and_nothing_else() {
    let (y, x) = run("fn f(x: mut f32[3]) { let before = x * 2.0; x += 10.0; (before, x * 2.0) }", &[&[3]]);
    assert_eq!(y, [[0.0, 2.0, 4.0], [20.0, 22.0, 24.0]]);
    assert_eq!(x, [[10.0, 11.0, 12.0]]);
    let (y, x) = run("fn f(x: mut f32[3]) { let same = x[:]; same += 1.0; x *= 2.0; same + 0.0 }", &[&[3]]);
    assert_eq!((y, x), (vec![vec![2.0, 4.0, 6.0]], vec![vec![2.0, 4.0, 6.0]]));
}

/// pytorch#113793: views modified in place do not compile; pytorch#191002: a result is the wrong slice of an input.
#[test]
fn views_of_views_are_written_and_returned() -> Result<()> {
    let text = "fn f(x: mut f32[4, 3]) { let v = x[1:].T; v[0] += 100.0; v[:, 1:][1:] *= 2.0; x[2:, 1] }";
    let (y, x) = run(text, &[&[4, 3]]);
    assert_eq!(x, [[0.0, 1.0, 2.0, 103.0, 4.0, 5.0, 106.0, 14.0, 16.0, 109.0, 20.0, 22.0]]);
    assert_eq!(y, [[14.0, 20.0]]);
    let f = jit(|x: Tensor| {
        x.add_(1.0)?;
        Ok((x.i((.., 2))?, x.i(1)?.i(1..)?))
    });
    let x = numbers(6)?.view([2, 3])?;
    let (column, rest) = f.call(x.clone())?;
    x.mul_(10.0)?;
    assert_eq!((vec(&column), vec(&rest)), (vec![30.0, 60.0], vec![50.0, 60.0]));
    Ok(())
}

/// pytorch#184543, #184542: a write to a row of a cache copies the whole cache.
#[test]
fn a_write_of_a_row_moves_a_row() -> Result<()> {
    let text = "fn f(cache: mut f32[64, 128], row: f32[128]) { cache[5] = row; }";
    let program = Program::parse("cache", text).map_err(|e| e[0].clone())?;
    let (module, f) = (program.module(), program.function(None)?);
    let graph = run_all(&module.trace(f, &module.symbolic_sizes(f), None).map_err(|e| e[0].clone())?)?;
    let layouts = [Layout::contiguous(&[64, 128]), Layout::contiguous(&[128])].map(|l| Strided::from(&l));
    let planned = plan(&graph, &layouts, fuse::Mode::Fused)?;
    assert!(planned.write_back.is_empty() && planned.arena.value()? == 0, "{planned}");
    let [Step::Loops(l)] = &planned.steps[..] else { panic!("{planned}") };
    assert!(matches!(l.params[..], [Word::Dim(d)] if d.is(128)), "{planned}");
    Ok(())
}

/// tinygrad#7020, #2417, #14689: results of later calls are written into those of earlier ones.
#[test]
fn results_of_two_calls_are_two_memories() -> Result<()> {
    let f = jit(|x: Tensor| Ok((x.add(1.0)?, x.mul(2.0)?)));
    let (a, b) = f.call(numbers(3)?)?;
    let (c, d) = f.call(a.clone())?;
    a.zero_()?;
    assert_eq!((vec(&b), vec(&c), vec(&d)), (vec![0.0, 2.0, 4.0], vec![2.0, 3.0, 4.0], vec![2.0, 4.0, 6.0]));
    Ok(())
}

/// tinygrad#16618, #16620: a write to an argument is dropped at later calls; #15698: two writes and reads get mixed up.
#[test]
fn writes_to_arguments_happen_at_every_call() -> Result<()> {
    let step = jit(|(w, g): (Tensor, Tensor)| {
        let old = w.mul(1.0)?;
        w.sub_(&g)?;
        g.copy_(&old)?;
        w.add(&g)
    });
    let (w, g) = (numbers(3)?, tensor([1f32; 3])?);
    for _ in 0..3 {
        let (was, by) = (vec(&w), vec(&g));
        let sum = vec(&step.call((w.clone(), g.clone()))?);
        for i in 0..3 {
            assert_eq!((vec(&w)[i], vec(&g)[i], sum[i]), (was[i] - by[i], was[i], was[i] - by[i] + was[i]));
        }
    }
    Ok(())
}

/// tinygrad#9940: `t[:3] *= 10` is two assignments; #17508: a write through a view changes what was read before;
/// #4574, #3394: a slice that is set is not differentiable.
#[test]
fn a_slice_is_updated_once_and_differentiates() -> Result<()> {
    let (y, x) = run("fn f(x: mut f32[5]) { let before = x + 0.0; x[:3] *= 10.0; before }", &[&[5]]);
    assert_eq!((y, x), (vec![vec![0.0, 1.0, 2.0, 3.0, 4.0]], vec![vec![0.0, 10.0, 20.0, 3.0, 4.0]]));
    let f = |(x, v): (Tensor, Tensor)| {
        let y = x.mul(1.0)?;
        y.i(1..)?.copy_(&v)?;
        y.i(..2)?.mul_(&x.i(..2)?)?;
        y.square()?.sum()
    };
    let args = || Ok((numbers(3)?.add(1.0)?, tensor([5f32, 6.0])?));
    // y = [x0^2, v0 x1, v1]
    for (dx, dv) in [grad(f)(args()?)?, jit(grad(f)).call(args()?)?] {
        assert_eq!((vec(&dx), vec(&dv)), (vec![4.0, 100.0, 0.0], vec![40.0, 12.0]));
    }
    Ok(())
}

/// lightning-thunder#2793: a write to a clone changes the original; #1454: writes to views of parts are refused.
#[test]
fn a_clone_is_apart_and_a_part_is_not() {
    let (y, x) = run("fn f(x: mut f32[4]) { let c = x.clone(); c += 5.0; x[1:3][0] = 9.0; c }", &[&[4]]);
    assert_eq!((y, x), (vec![vec![5.0, 6.0, 7.0, 8.0]], vec![vec![0.0, 9.0, 2.0, 3.0]]));
}

/// pytorch#46820: views that come several at a time (`split`, `unbind`) may not be written; xla#1718: gradients after a
/// slice was assigned are wrong.
#[test]
fn several_views_at_once_are_written_and_differentiate() -> Result<()> {
    let text =
        "fn f(x: mut f32[4, 2]) { let (a, b) = split(x, 2); a += b; let (c, d) = unbind(x, 1); c *= d; x + 0.0 }";
    let (y, _) = run(text, &[&[4, 2]]);
    assert_eq!(y, [[24.0, 6.0, 80.0, 10.0, 20.0, 5.0, 42.0, 7.0]]);
    let text = "fn f(x: f32[3]) { let y = x * 1.0; y[0] = y[1] * y[2]; y[1] = 7.0; grad(sum(y * y), x) }";
    let (g, _) = run(text, &[&[3]]);
    // y = [x1 x2, 7, x2]
    assert_eq!(g, [[0.0, 8.0, 8.0]]);
    Ok(())
}

/// candle#1351, #663, #1279, burn#976: slices cannot be assigned.
#[test]
fn slices_with_steps_are_assigned_in_every_spelling() -> Result<()> {
    let (_, x) = run("fn f(x: mut f32[2, 6], v: f32[2, 3]) { x[:, ::2] = v; x[1, -1] = -1.0; }", &[&[2, 6], &[2, 3]]);
    assert_eq!(x[0], [0.0, 1.0, 1.0, 3.0, 2.0, 5.0, 3.0, 7.0, 4.0, 9.0, 5.0, -1.0]);
    let x = zeros(&[2, 3], F32)?;
    x.set((1, ..), tensor([1f32, 2.0, 3.0])?)?;
    x.set((.., 0), 8.0)?;
    assert_eq!(vec(&x), [8.0, 0.0, 0.0, 8.0, 2.0, 3.0]);
    Ok(())
}

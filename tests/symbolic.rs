//! Programs with symbolic sizes: compiled once, and the same bits as the interpreter for every size, 0 and 1 included.
//!
//! The programs of the golden cases serve a second time: every extent of their parameters becomes a size. What the
//! language's rules then refuse is passed over; the rest runs at its own sizes, at larger ones, and at 0 and 1.

use std::collections::BTreeMap;
use tensorc::program::{Mode, Program};
use tensorc::{DType, Kind, Tensor, jit, value_and_grad};

/// A tensor of small numbers, integers below 3.
fn tensor(dtype: DType, shape: &[usize], seed: usize) -> Tensor {
    let n: usize = shape.iter().product();
    let value = |i: usize| match dtype.is_float() {
        true => ((i * 37 + seed * 11 + 5) % 29) as f64 * 0.25 - 3.0,
        false => ((i * 7 + seed) % 3) as f64,
    };
    Tensor::from_vec((0..n).map(value).collect::<Vec<f64>>(), shape).unwrap().to(dtype).unwrap()
}

type Sizes = Vec<(String, usize)>;

/// Results and arguments after a run, by bits but for NaN, or the kind of error.
type Ran = Result<Vec<(DType, Vec<usize>, Vec<String>)>, Kind>;

fn ran(program: &Program, args: &[Tensor], mode: Mode) -> Ran {
    let results = program.run(None, args, mode).map_err(|e| e[0].kind())?;
    let text = |t: &Tensor| t.scalars().unwrap().iter().map(ToString::to_string).collect();
    Ok(results.iter().chain(args).map(|t| (t.dtype(), t.shape().to_vec(), text(t))).collect())
}

/// Runs a program at sizes in the interpreter and compiled.
fn agree(program: &Program, sizes: &Sizes, seed: usize, modes: &[Mode]) -> Result<(), String> {
    let f = program.function(None).unwrap();
    let Ok(bound) = program.module().sizes(f, sizes) else { return Ok(()) };
    let Ok(types) = program.module().param_types(f, &bound) else { return Ok(()) };
    let args = || -> Vec<Tensor> {
        types.iter().enumerate().map(|(i, t)| tensor(t.dtype, &t.extents().unwrap(), i + seed)).collect()
    };
    let want = ran(program, &args(), Mode::Interpret);
    for mode in modes {
        let got = ran(program, &args(), *mode);
        if got != want {
            return Err(format!("{mode:?} at {sizes:?}: {got:?}\nwant {want:?}"));
        }
    }
    Ok(())
}

#[track_caller]
fn once(src: &str, sizes: &[&[(&str, usize)]]) -> Program {
    let program = Program::parse("t.tc", src).unwrap_or_else(|e| panic!("{e:?}"));
    for (k, sizes) in sizes.iter().enumerate() {
        let sizes = sizes.iter().map(|(n, v)| (n.to_string(), *v)).collect();
        agree(&program, &sizes, k, &[Mode::Fused, Mode::Eager]).unwrap();
    }
    let f = program.function(None).unwrap();
    assert!(program.refused(f).is_none(), "{}", program.refused(f).unwrap());
    assert_eq!((program.compilations(f, Mode::Fused), program.compilations(f, Mode::Eager)), (1, 1));
    program
}

#[test]
fn a_batch_of_any_size_runs_one_program() {
    let src = "fn f(x: f32[B, 784], w: f32[784, 10], b: f32[10], t: i64[B]) {
        let h = relu(x @ w + b);
        let loss = cross_entropy(h, t);
        let dw = grad(loss, w);
        (loss, softmax(h, dim=1), dw, h.mean(dim=0), x.sum())
    }";
    once(src, &[&[("B", 7)], &[("B", 1)], &[("B", 2)], &[("B", 0)], &[("B", 64)], &[("B", 4500)]]);
}

#[test]
fn a_training_step_writes_in_place_for_any_batch() {
    let src = "fn step(x: f32[B, 3], t: f32[B], w: mut f32[3], b: mut f32) -> f32 {
        let loss = mean((x @ w + b - t) ** 2);
        let (dw, db) = grad(loss, (w, b));
        w -= 0.1 * dw;
        b -= 0.1 * db;
        loss
    }";
    once(src, &[&[("B", 4)], &[("B", 1)], &[("B", 100)], &[("B", 0)]]);
}

#[test]
fn rows_and_columns_of_any_length_reduce_in_the_defined_order() {
    // Long rows are cut into blocks, short ones are taken several at a time: both by one kernel.
    let src = "fn f(x: f32[M, N]) { (x.sum(), x.sum(dim=1), x.mean(dim=0), var(x, dim=1), x.prod(), x.argmax(dim=0)) }";
    let at = |m, n| [("M", m), ("N", n)];
    once(src, &[&at(3, 5), &at(1, 1), &at(2, 9000), &at(4097, 3), &at(70, 70), &at(1, 4096)]);
}

#[test]
fn layers_take_any_batch() {
    let src = "fn f(x: f32[B, 4, 6, 6], w: f32[8, 4, 3, 3], q: f32[B, 2, L, 8], g: f32[6], i: i64[B, L], e: f32[5, 7]) {
        let y = conv2d(x, w, padding=1);
        let a = scaled_dot_product_attention(q, q, q, is_causal=true);
        (y.flatten(1), a, layer_norm(x, [6], weight=g), embedding(i, e), cat([x, x], dim=0), pad(x, [1, 2]),
         one_hot(i, 5), x.view(-1, 6), dropout(x, p=0.5, training=true, seed=1), rand([B, 3], seed=2), eye(L), x[:, 1:, ::2])
    }";
    let at = |b, l| [("B", b), ("L", l)];
    once(src, &[&at(2, 3), &at(1, 1), &at(5, 1), &at(1, 9)]);
}

#[test]
fn a_size_is_a_number_of_the_program() {
    let src = "fn f(x: f32[N]) { (x * N, x.sum() / N, arange(N), zeros([N, 2 * N + 1]), full([2], N), x.view(N, 1)) }";
    once(src, &[&[("N", 3)], &[("N", 1)], &[("N", 0)], &[("N", 100)]]);
}

#[test]
fn what_is_assumed_is_said_and_checked() {
    let src = "fn f(x: f32[B, 4]) { (x[:10], x[1:], x.amax(dim=0)) }";
    let program = Program::parse("t.tc", src).unwrap();
    let f = program.function(None).unwrap();
    assert_eq!(program.assumptions(f, &[("B".into(), 64)]).unwrap(), ["10 <= B"]);
    // Below 10 there is another program; without a row there is nothing to take the largest of.
    for (b, programs) in [(64, 1), (12, 1), (5, 2), (10, 2), (1, 2), (3, 2)] {
        agree(&program, &vec![("B".into(), b)], b, &[Mode::Fused]).unwrap();
        assert_eq!(program.compilations(f, Mode::Fused), programs, "at B = {b}");
    }
    agree(&program, &vec![("B".into(), 0)], 0, &[Mode::Fused, Mode::Eager]).unwrap();
}

#[test]
fn what_takes_a_number_is_compiled_for_each() {
    let src = "fn f(x: f32[N]) { cumprod(x, 0).sum() + sort(x, 0)[0] }";
    let program = Program::parse("t.tc", src).unwrap();
    let f = program.function(None).unwrap();
    for n in [4, 1, 9] {
        agree(&program, &vec![("N".into(), n)], n, &[Mode::Fused, Mode::Eager]).unwrap();
    }
    assert_eq!(program.compilations(f, Mode::Fused), 0);
    assert!(program.refused(f).unwrap().to_string().contains("takes sizes that are known"));
}

/// Calls a jitted function with marks and one without, on the same arguments.
#[track_caller]
fn same<A: tensorc::Tree + Clone>(
    marked: &tensorc::Jit<A, Vec<Tensor>, impl Fn(A) -> tensorc::Result<Vec<Tensor>>>,
    plain: &tensorc::Jit<A, Vec<Tensor>, impl Fn(A) -> tensorc::Result<Vec<Tensor>>>,
    args: A,
) {
    let text = |r: Vec<Tensor>| r.iter().map(|t| (t.shape().to_vec(), t.scalars().unwrap())).collect::<Vec<_>>();
    let (got, want) = (marked.call(args.clone()).unwrap(), plain.call(args).unwrap());
    assert_eq!(format!("{:?}", text(got)), format!("{:?}", text(want)));
}

#[test]
fn a_marked_axis_of_a_closure_compiles_once() {
    let w = tensor(DType::F32, &[3, 2], 1);
    let f = |(x, w): (Tensor, Tensor)| {
        let y = x.matmul(&w)?.relu()?;
        Ok(vec![y.softmax(1)?, y.mean()?, x.i((.., 1..))?.sum()?, x.clone()])
    };
    let (marked, plain) = (jit(f).dynamic(0, 0, "batch"), jit(f));
    for batch in [4, 1, 0, 7, 300] {
        same(&marked, &plain, (tensor(DType::F32, &[batch, 3], batch), w.clone()));
    }
    assert_eq!((marked.compilations(), plain.compilations()), (1, 5));
    assert_eq!(marked.assumptions(), [Vec::<String>::new()]);
    // A view of an argument is a view of it, for every extent.
    let x = tensor(DType::F32, &[2, 3], 0);
    assert!(marked.call((x.clone(), w)).unwrap()[3].shares_storage(&x));
}

#[test]
fn gradients_and_captured_tensors_go_with_marks() {
    let w = tensor(DType::F32, &[3], 2);
    let f = |x: Tensor| {
        let (y, dx) = value_and_grad(|x: Tensor| x.mul(&w)?.exp()?.sum())(x)?;
        Ok(vec![y, dx])
    };
    let (marked, plain) = (jit(f).dynamic(0, 0, "n"), jit(f));
    for n in [5, 1, 2] {
        same(&marked, &plain, tensor(DType::F32, &[n, 3], n));
    }
    assert_eq!(marked.compilations(), 1);
}

#[test]
fn a_closure_that_looks_at_the_number_is_compiled_for_it() {
    let f = |x: Tensor| {
        let n = x.shape()[0];
        Ok(vec![x.sum()?.mul(n as f64)?])
    };
    let (marked, plain) = (jit(f).dynamic(0, 0, "n"), jit(f));
    for n in [3, 4, 3] {
        same(&marked, &plain, tensor(DType::F32, &[n], n));
    }
    assert_eq!(marked.compilations(), 2);
    assert!(marked.assumptions()[0][0].contains("takes sizes that are known"), "{:?}", marked.assumptions());
}

#[test]
fn marks_that_do_not_fit_are_errors() {
    let f = jit(|(x, y): (Tensor, Tensor)| x.add(&y)).dynamic(0, 0, "n").dynamic(1, 0, "n");
    let (x, y) = (tensor(DType::F32, &[3], 0), tensor(DType::F32, &[4], 0));
    let e = f.call((x.clone(), y)).unwrap_err();
    assert!(e.to_string().contains("`n` is 3 in one argument and 4 in argument 1"), "{e}");
    let e = jit(|x: Tensor| x.exp()).dynamic(0, 1, "n").call(x).unwrap_err();
    assert!(e.to_string().contains("there is no axis 1 of argument 0 to be `n`"), "{e}");
}

/// The source with every extent of its parameters from `least` on as a size named after it, without its result types.
fn symbolize(source: &str, least: usize) -> Option<String> {
    let open = source.find('(')?;
    let mut depth = 0;
    let close = open
        + source[open..].find(|c| {
            depth += (c == '(') as i32 - (c == ')') as i32;
            depth == 0
        })?;
    let mut params = String::new();
    let mut number = String::new();
    let mut inside = false;
    for c in source[open..=close].chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ => {}
        }
        if inside && c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        if !number.is_empty() {
            let n: usize = number.parse().ok()?;
            params += &if n >= least { format!("D{n}") } else { number.clone() };
            number.clear();
        }
        params.push(c);
    }
    let body = close + source[close..].find('{')?;
    Some(format!("{}{params} {}", &source[..open], &source[body..]))
}

/// Runs the programs of a group with sizes in place of extents; gives how many were compiled once for all sizes.
fn group(name: &str, least: usize) -> usize {
    let json = std::fs::read(format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let all: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
    let (mut symbolic, mut numbers, mut failed) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    for case in all.iter().filter(|c| c["error"] != true && c["bind"].is_null()) {
        let Some(src) = symbolize(case["source"].as_str().unwrap(), least) else { continue };
        let Ok(program) = Program::parse("case", &src) else { continue };
        if !program.module().check().is_empty() {
            continue;
        }
        let f = program.function(None).unwrap();
        let own: Sizes =
            program.module().symbolic_sizes(f).iter().map(|(n, _)| (n.to_string(), n[1..].parse().unwrap())).collect();
        if own.is_empty() {
            continue;
        }
        let with = |g: fn(usize) -> usize| own.iter().map(|(n, v)| (n.clone(), g(*v))).collect::<Sizes>();
        let at = [own.clone(), with(|v| v + 1), with(|v| v * 3), with(|_| 1), with(|_| 0)];
        for (k, sizes) in at.iter().enumerate() {
            let modes = if k == 1 { vec![Mode::Fused, Mode::Eager] } else { vec![Mode::Fused] };
            if let Err(e) = agree(&program, sizes, k, &modes) {
                failed.push(format!("{}\n    {src}\n    {e}", case["name"]));
                break;
            }
        }
        match program.refused(f) {
            None => symbolic += (program.compilations(f, Mode::Fused) > 0) as usize,
            Some(e) => *numbers.entry(e.to_string().lines().next().unwrap_or("").to_string()).or_default() += 1,
        }
    }
    println!("{name}: {symbolic} compiled for all sizes; for each choice of sizes: {numbers:?}");
    assert!(failed.is_empty(), "{} fail:\n{}", failed.len(), failed.join("\n"));
    symbolic
}

#[test]
fn elementwise_programs_of_any_size() {
    assert!(group("unary", 2) + group("binary", 2) > 500);
}

#[test]
fn reductions_of_any_size() {
    assert!(group("reduce", 2) > 300);
}

#[test]
fn views_and_writes_of_any_size() {
    assert!(group("view", 2) + group("alias", 2) > 50);
}

#[test]
fn layers_of_any_size() {
    assert!(group("contract", 2) > 20);
}

//! Programs with symbolic sizes: compiled once, the same bits as the interpreter for every size, 0 and 1 included.

use tensorc::Tensor;
use tensorc::program::{Mode, Program};

/// A tensor of small numbers, integers below 3.
fn tensor(dtype: tensorc::DType, shape: &[usize], seed: usize) -> Tensor {
    let n: usize = shape.iter().product();
    let value = |i: usize| ((i * 37 + seed * 11 + 5) % 29) as f64 * 0.25 - 3.0;
    let values: Vec<f64> =
        (0..n).map(|i| if dtype.is_float() { value(i) } else { ((i * 7 + seed) % 3) as f64 }).collect();
    Tensor::from_vec(values, shape).unwrap().to(dtype).unwrap()
}

/// Runs a function at several sizes in all modes, compares the bits, and gives how many programs were compiled.
fn agree(src: &str, sizes: &[&[(&str, usize)]]) -> (usize, usize) {
    let program = Program::parse("t.tc", src).unwrap();
    let f = program.function(None).unwrap();
    for (k, sizes) in sizes.iter().enumerate() {
        let named: Vec<(String, usize)> = sizes.iter().map(|(n, v)| (n.to_string(), *v)).collect();
        let bound = program.module().sizes(f, &named).unwrap();
        let types = program.module().param_types(f, &bound).unwrap();
        let args = || -> Vec<Tensor> {
            types.iter().enumerate().map(|(i, t)| tensor(t.dtype, &t.extents().unwrap(), i + k)).collect()
        };
        let run = |mode| {
            let args = args();
            let results = program.run(None, &args, mode);
            let all = results.map(|r| {
                r.iter().chain(&args).map(|t| (t.shape().to_vec(), t.to_bytes().unwrap())).collect::<Vec<_>>()
            });
            all.map_err(|e| e[0].kind())
        };
        let want = run(Mode::Interpret);
        for mode in [Mode::Fused, Mode::Eager] {
            let got = run(mode);
            assert!(got == want, "{mode:?} at {sizes:?}: {got:?}\nwant {want:?}\nof {src}");
        }
    }
    if let Some(e) = program.refused(f) {
        println!("refused: {e}");
    }
    (program.compilations(f, Mode::Fused), program.compilations(f, Mode::Eager))
}

#[test]
fn a_batch_of_any_size_runs_one_program() {
    let src = "fn f(x: f32[B, 784], w: f32[784, 10], b: f32[10], t: i64[B]) {
        let h = relu(x @ w + b);
        let loss = cross_entropy(h, t);
        let dw = grad(loss, w);
        (loss, softmax(h, dim=1), dw, h.mean(dim=0), x.sum())
    }";
    let sizes: Vec<Vec<(&str, usize)>> = [7, 1, 2, 0, 64, 5000].iter().map(|b| vec![("B", *b)]).collect();
    let sizes: Vec<&[(&str, usize)]> = sizes.iter().map(Vec::as_slice).collect();
    assert_eq!(agree(src, &sizes), (1, 1));
}

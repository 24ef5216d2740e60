//! Programs traced and run in the interpreter, whose memory is real.

mod errors;
mod sizes;

use super::Module;
use crate::error::Error;
use crate::interp::{Array, run};
use crate::layout::{Layout, Strided};
use crate::text::render_plain;
use crate::{DType, Scalar};

/// `shape` of `f32`: 0, 1, 2, …
fn counting(shape: &[usize]) -> Array {
    let n = shape.iter().product::<usize>();
    Array::from_scalars(DType::F32, shape, (0..n).map(|i| Scalar::from_f64(DType::F32, i as f64)))
}

fn floats(a: &Array) -> Vec<f64> {
    a.scalars().into_iter().map(Scalar::to_f64).collect()
}

fn module(src: &str) -> Module {
    Module::parse("test.tc", src).unwrap_or_else(|e| panic!("{e:?}"))
}

fn traced(src: &str, inputs: &[Array]) -> Result<crate::Graph, Vec<Error>> {
    let m = module(src);
    let f = m.main().map_err(|e| vec![e])?;
    let shapes: Vec<&[usize]> = inputs.iter().map(Array::shape).collect();
    let sizes = m.bind_sizes(f, &shapes).map_err(|e| vec![e])?;
    let g = m.trace(f, &sizes, None)?;
    crate::verify::verify(&g).unwrap_or_else(|e| panic!("{e}"));
    Ok(g)
}

fn results(src: &str, inputs: &[Array]) -> Vec<Array> {
    let g = traced(src, inputs).unwrap_or_else(|e| panic!("{src}: {e:?}"));
    run(&g, inputs).unwrap_or_else(|e| panic!("{src}: {e}"))
}

/// The elements of the only result.
fn value(src: &str, inputs: &[Array]) -> Vec<f64> {
    let r = results(src, inputs);
    assert_eq!(r.len(), 1, "{src}");
    floats(&r[0])
}

/// The one result of a function without parameters, with its type.
fn constant(body: &str) -> (Vec<f64>, String) {
    let src = format!("fn f() {{ {body} }}");
    let g = traced(&src, &[]).unwrap_or_else(|e| panic!("{src}: {e:?}"));
    let r = run(&g, &[]).unwrap();
    (floats(&r[0]), crate::text::print::type_text(g.ty(g.outputs[0])))
}

/// All errors of a file, drawn.
fn errors(src: &str) -> String {
    let m = module(src);
    m.check().iter().map(|e| render_plain(m.source(), e)).collect::<Vec<_>>().join("\n")
}

/// `kind: message` of each.
fn messages(src: &str) -> Vec<String> {
    let one = |e: &Error| format!("{}: {}", e.kind().name(), e.diagnostic().message);
    match Module::parse("test.tc", src) {
        Ok(m) => m.check().iter().map(one).collect(),
        Err(e) => e.iter().map(one).collect(),
    }
}

#[test]
fn the_views_of_the_language_page() {
    let src = "
        fn views(x: mut f32[4, 4]) -> (f32[2, 8], f32) {
            let y = x.view(-1, 8);        // shares x's memory
            x[0] = 2;                     // y sees it
            x[1:3, ::2].mul_(10);         // and this
            let z = x.clone();            // a copy
            z.add_(1);                    // x does not see it
            (y, x[1, 2])                  // y is returned as a view of x
        }";
    let x = counting(&[4, 4]);
    let r = results(src, std::slice::from_ref(&x));
    let want = [2., 2., 2., 2., 40., 5., 60., 7., 80., 9., 100., 11., 12., 13., 14., 15.];
    assert_eq!(floats(&x), want);
    assert_eq!((r[0].shape(), floats(&r[0])), (&[2, 8][..], want.to_vec()));
    assert!(r[0].shares(&x), "a view is returned as a view");
    assert_eq!(floats(&r[1]), [60.]);
}

#[test]
fn writes_go_through_views_of_views() {
    let x = counting(&[2, 3]);
    results(
        "fn f(x: mut f32[2, 3]) { x.T[0] = 7; x.T[1:][1] += 1; x[0][1] *= 5; x.view(-1)[1:2] -= 0.5; }",
        &[x.clone()],
    );
    assert_eq!(floats(&x), [7., 4.5, 3., 7., 4., 6.]);
    let x = counting(&[4]);
    results(
        "fn f(x: mut f32[4]) { let y = x[1:]; let z = y[::2]; z = 0; }".replace("z = 0", "z[:] = 0").as_str(),
        &[x.clone()],
    );
    assert_eq!(floats(&x), [0., 0., 2., 0.]);
    let x = counting(&[2, 2]);
    results("fn f(x: mut f32[2, 2]) { x.T = tensor([[1, 2], [3, 4]]); x /= 2; }", &[x.clone()]);
    assert_eq!(floats(&x), [0.5, 1.5, 1., 2.]);
}

#[test]
fn indices() {
    let x = counting(&[2, 3, 4]);
    for (index, want) in [
        ("x[1, -1, 2]", vec![22.]),
        ("x[0, 1:, ::2]", vec![4., 6., 8., 10.]),
        ("x[..., 0]", vec![0., 4., 8., 12., 16., 20.]),
        ("x[1, :, None, 3]", vec![15., 19., 23.]),
        ("x[:1, -2:, 10:]", vec![]),
        ("x[1][2][3]", vec![23.]),
    ] {
        assert_eq!(value(&format!("fn f(x: f32[2, 3, 4]) {{ {index} }}"), &[x.clone()]), want, "{index}");
    }
    let shape =
        |index: &str| results(&format!("fn f(x: f32[2, 3, 4]) {{ {index} }}"), &[x.clone()])[0].shape().to_vec();
    assert_eq!(shape("x[None, :, 1]"), [1, 2, 4]);
    assert_eq!(shape("x[..., None]"), [2, 3, 4, 1]);
    assert_eq!(shape("x[:, 0:0]"), [2, 0, 4]);
}

#[test]
fn numbers_fold_and_get_their_default_dtype_as_results() {
    for (body, want, ty) in [
        ("1 + 2 * 3", 7., "i64"),
        ("7 / 2", 3.5, "f32"),
        ("-2 ** 2", -4., "i64"),
        ("2 ** -1", 0.5, "f32"),
        ("-7 % 3", 2., "i64"),
        ("1 << 4 | 1", 17., "i64"),
        ("!3", -4., "i64"),
        ("(1 < 2) & !false", 1., "bool"),
        ("1e-3 * 1000", 1., "f32"),
    ] {
        assert_eq!(constant(body), (vec![want], ty.to_string()), "{body}");
    }
}

#[test]
fn a_number_beside_a_tensor_counts_by_its_category() {
    let ty = |src: &str| {
        let g = traced(src, &[]).unwrap_or_else(|e| panic!("{e:?}"));
        crate::text::print::type_text(g.ty(g.outputs[0]))
    };
    assert_eq!(ty("fn f() { tensor([1, 2], dtype=i8) + 1 }"), "i8[2]");
    assert_eq!(ty("fn f() { tensor([1, 2], dtype=i8) + 1.5 }"), "f32[2]");
    assert_eq!(ty("fn f() { let a = 2 * 0.5; tensor([1], dtype=f16) * a }"), "f16[1]");
    assert_eq!(ty("fn f() { let a: f64 = 2; tensor([1], dtype=f16) * a }"), "f16[1]");
    assert_eq!(ty("fn f() { let a: f64 = 2; a }"), "f64");
    assert_eq!(ty("fn f() -> f16 { 1 }"), "f16");
}

#[test]
fn tensor_literals() {
    assert_eq!(constant("tensor([[1, 2], [3, 4]])"), (vec![1., 2., 3., 4.], "i64[2, 2]".into()));
    assert_eq!(constant("tensor([1, 2.5])"), (vec![1., 2.5], "f32[2]".into()));
    assert_eq!(constant("tensor([true, false])").1, "bool[2]");
    assert_eq!(constant("tensor([])").1, "f32[0]");
    assert_eq!(constant("tensor([[], []])").1, "f32[2, 0]");
    assert_eq!(constant("tensor(3)").1, "i64");
    assert_eq!(constant("tensor([1.7, -inf], dtype=f64)"), (vec![1.7, f64::NEG_INFINITY], "f64[2]".into()));
    let bad = |body: &str| messages(&format!("fn f() {{ {body} }}")).join("; ");
    assert_eq!(bad("tensor([[1], [2, 3]])"), "shape: expected sequence of length 1 at dim 1 (got 2)");
    assert_eq!(bad("tensor([[1], 2])"), "shape: expected a sequence of length 1 at dim 1, found the integer 2");
    assert_eq!(bad("tensor([300], dtype=u8)"), "dtype: the integer 300 does not fit in u8");
    assert_eq!(bad("tensor([tensor(1)])"), "type: `tensor` takes numbers, found a tensor i64");
}

#[test]
fn tuples_lists_and_shadowing() {
    let x = counting(&[4]);
    let src = "fn f(x: f32[4]) {
        let (a, b) = split(x, 2);
        let (_, c) = (1, 2);
        let a = a + c;
        let l = [a, b];
        cat(l + [l[0]])
    }";
    assert_eq!(value(src, &[x.clone()]), [2., 3., 2., 3., 2., 3.]);
    let r = results("fn f(x: f32[4]) { (x[0], 1.5) }", &[x.clone()]);
    assert_eq!((floats(&r[0]), floats(&r[1]), r[1].dtype), (vec![0.], vec![1.5], DType::F32));
    let g = traced("fn f(x: f32[4]) { (x,) }", &[x.clone()]).unwrap();
    assert!(g.tuple && g.outputs.len() == 1);
    assert!(results("fn f(x: mut f32[4]) { x += 1; }", &[x.clone()]).is_empty());
    assert_eq!(floats(&x), [1., 2., 3., 4.]);
}

#[test]
fn functions_are_inlined_and_mut_parameters_are_the_callers_memory() {
    let src = "
        fn main(x: mut f32[2, 3], lr: f32) -> f32[3] {
            step(x[1], x[0], lr=2.0);
            x[0].twice()
        }
        fn step(w: mut f32[N], d: f32[N], lr: f32) { w -= lr * d; }
        fn twice(x: f32[M]) -> f32[M] { x * 2 }";
    let x = counting(&[2, 3]);
    assert_eq!(value(src, &[x.clone(), counting(&[])]), [0., 2., 4.]);
    assert_eq!(floats(&x), [0., 1., 2., 3., 2., 1.]);
}

#[test]
fn gradients_are_nodes_that_the_passes_remove() {
    let src = "fn f(x: f32[3], w: f32[3]) {
        let y = (x * x * w).sum();
        let (dx, dw) = grad(y, (x, w));
        let d2 = grad((dx ** 2).sum(), x);
        (dx, dw, d2, grad(x * w, w, seed=2), y.grad(x))
    }";
    let inputs = [counting(&[3]), counting(&[3])];
    let g = crate::passes::run_all(&traced(src, &inputs).unwrap()).unwrap();
    let r = run(&g, &inputs).unwrap();
    assert_eq!(floats(&r[0]), [0., 2., 8.]);
    assert_eq!(floats(&r[1]), [0., 1., 4.]);
    assert_eq!(floats(&r[2]), [0., 8., 64.]);
    assert_eq!(floats(&r[3]), [0., 2., 4.]);
    assert_eq!(floats(&r[4]), [0., 2., 8.]);
}

#[test]
fn layouts_say_how_the_arguments_lie() {
    let m = module("fn f(x: f32[6]) { x.view(2, 3) }");
    let (f, shape) = (m.main().unwrap(), [6usize]);
    let sizes = m.bind_sizes(f, &[shape]).unwrap();
    let strided = Layout { shape: [6].into_iter().collect(), strides: [2].into_iter().collect(), offset: 1 };
    let g = m.trace(f, &sizes, Some(&[Strided::from(&strided)])).unwrap();
    let base = counting(&[12]);
    assert_eq!(floats(&run(&g, &[base.view(strided)]).unwrap()[0]), [1., 3., 5., 7., 9., 11.]);
    let column = Layout { shape: [6].into_iter().collect(), strides: [2].into_iter().collect(), offset: 0 };
    let m2 = module("fn f(x: f32[2, 3]) { x.view(6) }");
    let f2 = m2.main().unwrap();
    let sizes2 = m2.bind_sizes(f2, &[[2usize, 3]]).unwrap();
    let transposed = Layout::contiguous(&[3, 2]).permute(&[1, 0]);
    assert!(m2.trace(f2, &sizes2, Some(&[Strided::from(&transposed)])).is_err());
    assert!(m2.trace(f2, &sizes2, Some(&[Strided::from(&column)])).is_err());
}

//! What has run once compiles nothing again: other numbers, other values, other shapes.

use tensorc::dtype::*;
use tensorc::train::AdamW;
use tensorc::{Result, Tensor, full, jit, no_grad, ones, value_and_grad};
use tensorc_runtime::kernels::compiled;

// The counter is the process's: a second test here would disturb it.
#[test]
fn warm_calls_and_new_shapes_compile_nothing() -> Result<()> {
    let step = jit(|(w, x, y, rate): (Tensor, Tensor, Tensor, Tensor)| {
        let loss = value_and_grad(|w: Tensor| x.matmul(&w)?.sub(&y)?.square()?.mean());
        let (loss, dw) = loss(w.clone())?;
        w.sub_(dw.mul(&rate)?)?;
        Ok(loss)
    });
    let w = ones(&[5, 3], F32)?;
    let (x, y) = (full(&[7, 5], 0.5, F32)?, ones(&[7, 3], F32)?);
    let run = |rate: f32| step.call((w.clone(), x.clone(), y.clone(), Tensor::scalar(rate)?))?.item::<f32>();
    let first = run(0.1)?;
    let before = compiled();
    let second = run(0.05)?;
    let third = run(0.025)?;
    assert_eq!(compiled(), before, "a jitted call with another rate");
    assert_eq!(step.compilations(), 1);
    assert!(first > second && second > third, "{first} {second} {third}");

    // A gradient outside `jit` is traced at each call, and finds its program.
    let slope = |at: f32| value_and_grad(|x: Tensor| x.tanh()?.mul(&x)?.sum())(full(&[9], at, F32)?)?.1.to_vec::<f32>();
    slope(0.5)?;
    let before = compiled();
    slope(0.25)?;
    assert_eq!(compiled(), before, "a gradient of the same function");

    // A training loop with `backward`: each step after the first finds the pass compiled, whatever the rate.
    let w = full(&[5, 3], 0.25, F32)?.requires_grad_(true)?;
    let train = |rate: f32| -> Result<f32> {
        let loss = x.matmul(&w)?.tanh()?.sub(&y)?.square()?.mean()?;
        loss.backward()?;
        no_grad(|| w.sub_(w.grad().map_or_else(|| w.zeros_like(), |g| g.mul(rate))))?;
        w.set_grad(None)?;
        loss.item::<f32>()
    };
    let first = train(0.5)?;
    let before = (compiled(), tensorc::autograd::compilations());
    let (second, third) = (train(0.25)?, train(0.125)?);
    assert!(first > second && second > third, "{first} {second} {third}");
    assert_eq!((compiled(), tensorc::autograd::compilations()), before, "the second backward of a loop");
    assert_eq!(before.1, 1);

    let eager = |rows: usize, cols: usize, number: f32| -> Result<Vec<f32>> {
        let x = full(&[rows, cols], 2.0, F32)?;
        ((&x * number)? + &x)?.tanh()?.mean_dim(1i64, false)?.to_vec::<f32>()
    };
    eager(33, 65, 0.5)?;
    let before = compiled();
    assert_eq!(eager(40, 90, 0.5)?.len(), 40);
    assert_eq!(eager(7, 130, 0.25)?.len(), 7);
    assert_eq!(eager(40, 90, 0.125)?.len(), 40);
    assert_eq!(compiled(), before, "eager ops with other shapes and numbers");

    // One kernel updates the parameters, whatever their shapes; the other computes the numbers that they share.
    let adamw = AdamW::default();
    let update = jit(|(p, g, s): (Vec<Tensor>, Vec<Tensor>, _)| adamw.step_(&p, &g, &s, 0.1));
    let shapes: [&[usize]; 4] = [&[5, 3], &[7], &[2, 3, 4], &[4, 1, 3, 3]];
    let p = shapes.iter().map(|s| ones(s, F32)).collect::<Result<Vec<_>>>()?;
    let (g, state) = (p.iter().map(Tensor::copy).collect::<Result<Vec<_>>>()?, adamw.init(&p)?);
    let before = compiled();
    update.call((p, g, state))?;
    assert_eq!(compiled() - before, 2, "kernels of an optimiser's step");

    let product = |m: usize, k: usize, n: usize| ones(&[m, k], F32)?.matmul(&ones(&[k, n], F32)?)?.to_vec::<f32>();
    product(4, 8, 16)?;
    let before = compiled();
    assert_eq!(product(33, 300, 17)?, vec![300.0; 33 * 17]);
    assert_eq!(compiled(), before, "an eager product of another shape");

    let layers = jit(|(x, w): (Tensor, Tensor)| x.matmul(&w)?.add(1.0)?.relu()?.softmax(-1)?.mean_dim(1i64, false));
    layers.call((ones(&[6, 4], F32)?, ones(&[4, 9], F32)?))?;
    let before = compiled();
    layers.call((ones(&[12, 7], F32)?, ones(&[7, 33], F32)?))?;
    assert_eq!(compiled(), before, "a jitted function with other shapes");
    assert_eq!(layers.compilations(), 2);
    Ok(())
}

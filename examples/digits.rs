//! Trains a two-layer perceptron on 1,797 real handwritten digits and tests it on a fifth that it has not seen.
//!
//! One jitted function computes the loss, its gradients and the update of all parameters in one call: it is traced once,
//! differentiated symbolically, fused and compiled. Run it with `cargo run --release --example digits`; `--quick` trains
//! for a few epochs only; `--save FILE.safetensors` writes the first parameters and all digits to learn from, as
//! `examples/digits.tc` takes them, and stops. The loss curve goes to `out/digits-loss.svg`. The last line is the accuracy
//! on the held-out digits.

mod chart;
mod handwritten;

use handwritten::{Digits, PIXELS, shuffle};
use indicatif::{ProgressBar, ProgressStyle};
use safetensors::tensor::{Dtype, TensorView};
use std::error::Error;
use tensorc::dtype::F32;
use tensorc::{Tensor, jit, randn, value_and_grad, zeros};

tensorc::tree! {
    /// The parameters: two matrices and two biases.
    #[derive(Clone)]
    struct Params { w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor }
}

impl Params {
    /// He's initialisation: normal, with variance 2 / inputs.
    fn new(inputs: usize, hidden: usize, classes: usize) -> tensorc::Result<Params> {
        let layer = |n: usize, m: usize, seed: i64| randn(&[n, m], Some(seed))?.mul((2.0 / n as f64).sqrt());
        Ok(Params {
            w1: layer(inputs, hidden, 1)?,
            b1: zeros(&[hidden], F32)?,
            w2: layer(hidden, classes, 2)?,
            b2: zeros(&[classes], F32)?,
        })
    }

    /// The scores of every class, `[n, classes]`, for images `[n, inputs]`.
    fn logits(&self, x: &Tensor) -> tensorc::Result<Tensor> {
        let hidden = x.matmul(&self.w1)?.add(&self.b1)?.relu()?;
        hidden.matmul(&self.w2)?.add(&self.b2)
    }
}

/// Writes what the program `digits.tc` reads.
fn save(path: &str, p: &Params, x: Tensor, target: Tensor) -> Result<(), Box<dyn Error>> {
    let named = [("x", &x), ("target", &target), ("w1", &p.w1), ("b1", &p.b1), ("w2", &p.w2), ("b2", &p.b2)];
    let bytes = named.iter().map(|(_, t)| t.to_bytes()).collect::<tensorc::Result<Vec<_>>>()?;
    let mut views = Vec::new();
    for ((name, t), bytes) in named.iter().zip(&bytes) {
        let dtype = if t.dtype() == F32 { Dtype::F32 } else { Dtype::I64 };
        views.push((*name, TensorView::new(dtype, t.shape().to_vec(), bytes)?));
    }
    if let Some(folder) = std::path::Path::new(path).parent() {
        std::fs::create_dir_all(folder)?;
    }
    safetensors::serialize_to_file(views, None, path.as_ref())?;
    println!("{} digits and the first parameters are in {path}", x.shape()[0]);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|a| a == "--quick");
    let (epochs, batch, lr) = (if quick { 20 } else { 60 }, 32, 0.1);
    let digits = Digits::read()?;
    let mut seed = 42;
    let (mut train, test) = digits.split(&mut seed);
    println!("{} digits to learn from, {} to test on", train.len(), test.len());

    // The whole step is one compiled program; the parameters are updated in their own memory.
    let step = jit(|(params, x, target, lr): (Params, Tensor, Tensor, Tensor)| {
        let loss = |p: Params| p.logits(&x)?.cross_entropy(&target);
        let (loss, d) = value_and_grad(loss)(params.clone())?;
        for (p, dp) in [(&params.w1, d.w1), (&params.b1, d.b1), (&params.w2, d.w2), (&params.b2, d.b2)] {
            p.sub_(dp.mul(&lr)?)?;
        }
        Ok(loss)
    });

    let params = Params::new(PIXELS, 128, 10)?;
    if let Some(path) = std::env::args().skip_while(|a| a != "--save").nth(1) {
        let (x, target) = digits.batch(&train)?;
        return save(&path, &params, x, target);
    }
    let lr = Tensor::scalar::<f32>(lr)?;
    let bar = ProgressBar::new(epochs)
        .with_style(ProgressStyle::with_template("{bar:40} epoch {pos}/{len}  {msg}  {elapsed} elapsed, {eta} left")?);
    let mut losses = Vec::new();
    for _ in 0..epochs {
        shuffle(&mut train, &mut seed);
        let mut sum = 0.0;
        for at in train.chunks_exact(batch) {
            let (x, target) = digits.batch(at)?;
            let loss = step.call((params.clone(), x, target, lr.clone()))?.item::<f32>()?;
            sum += loss;
            losses.push(loss);
        }
        bar.set_message(format!("loss {:.4}", sum / (train.len() / batch) as f32));
        bar.inc(1);
    }
    bar.finish();

    std::fs::create_dir_all("out")?;
    std::fs::write("out/digits-loss.svg", chart::line("Digits: training loss", "step", "cross entropy", &losses))?;
    println!(
        "loss {:.4} after the first step, {:.4} after the last; curve in out/digits-loss.svg",
        losses[0],
        losses[losses.len() - 1]
    );
    println!("the step was compiled {} time(s)", step.compilations());

    let (x, target) = digits.batch(&test)?;
    let right = params.logits(&x)?.argmax_dim(1, false)?.eq(&target)?.to(F32)?.mean()?.item::<f64>()?;
    println!("test accuracy: {:.1} %", right * 100.0);
    Ok(())
}

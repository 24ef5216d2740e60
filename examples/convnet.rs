//! Trains a convolutional net on the handwritten digits and tests it on a fifth that it has not seen.
//!
//! The parts of training are those of `tensorc::train`: AdamW, clipped gradients and a one-cycle schedule, in one compiled
//! program with the net and its gradients. Run it with `cargo run --release --example convnet`; `--quick` trains for two
//! epochs only. It fails if fewer than 98 of 100 test digits are right (`--quick`: 90).

mod curve;
mod handwritten;

use handwritten::{Digits, shuffle};
use std::error::Error;
use tensorc::dtype::F32;
use tensorc::train::init::{self, Fan, Nonlinearity};
use tensorc::train::{AdamW, clip_grad_norm, schedule};
use tensorc::{Argument, Tensor, call, jit, value_and_grad};

tensorc::tree! {
    /// Two convolutions and a linear layer.
    #[derive(Clone)]
    struct Net { conv1: Tensor, bias1: Tensor, conv2: Tensor, bias2: Tensor, linear: Tensor, bias3: Tensor }
}

/// An op that is no method of tensors, with one result.
fn op(name: &str, args: &[(Option<&str>, Argument)]) -> tensorc::Result<Tensor> {
    Ok(call(name, args)?.swap_remove(0))
}

impl Net {
    fn new() -> tensorc::Result<Net> {
        let layer = |shape: &[usize], seed| init::kaiming_normal(shape, Fan::In, Nonlinearity::Relu, Some(seed));
        Ok(Net {
            conv1: layer(&[16, 1, 3, 3], 1)?,
            bias1: init::zeros(&[16])?,
            conv2: layer(&[32, 16, 3, 3], 2)?,
            bias2: init::zeros(&[32])?,
            linear: init::xavier_uniform(&[10, 32 * 4 * 4], 1.0, Some(3))?,
            bias3: init::zeros(&[10])?,
        })
    }

    /// The scores of every class, `[n, 10]`, for images `[n, 64]`.
    fn logits(&self, x: &Tensor) -> tensorc::Result<Tensor> {
        let conv = |x: Tensor, w: &Tensor, b: &Tensor| {
            op("conv2d", &[(None, x.into()), (None, w.into()), (None, b.into()), (Some("padding"), 1i64.into())])?
                .relu()
        };
        let x = conv(x.view([-1, 1, 8, 8])?, &self.conv1, &self.bias1)?;
        let x = conv(x, &self.conv2, &self.bias2)?;
        let x = op("max_pool2d", &[(None, x.into()), (None, 2i64.into())])?;
        x.flatten(1, -1)?.matmul(&self.linear.t()?)?.add(&self.bias3)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|a| a == "--quick");
    let (epochs, batch, least) = if quick { (2, 64, 90.0) } else { (12, 64, 98.0) };
    let digits = Digits::read()?;
    let mut seed = 42;
    let (mut train, test) = digits.split(&mut seed);
    println!("{} digits to learn from, {} to test on", train.len(), test.len());

    let (net, adamw) = (Net::new()?, AdamW::default());
    let state = adamw.init(&net)?;
    let step = jit(|(net, state, x, target, lr): (Net, _, Tensor, Tensor, Tensor)| {
        let (loss, d) = value_and_grad(|net: Net| net.logits(&x)?.cross_entropy(&target))(net.clone())?;
        let (d, _) = clip_grad_norm(&d, 1.0, 2.0)?;
        adamw.step_(&net, &d, &state, &lr)?;
        Ok(loss)
    });
    let steps = epochs * (train.len() / batch);
    let rate = schedule::one_cycle(schedule::OneCycle { max_lr: 5e-3, total_steps: steps, ..Default::default() });

    let start = std::time::Instant::now();
    let mut losses = Vec::new();
    for epoch in 1..=epochs {
        shuffle(&mut train, &mut seed);
        let first = losses.len();
        for at in train.chunks_exact(batch) {
            let (x, target) = digits.batch(at)?;
            let lr = Tensor::scalar(rate(losses.len()) as f32)?;
            losses.push(step.call((net.clone(), state.clone(), x, target, lr))?.item::<f32>()?);
        }
        let mean = losses[first..].iter().sum::<f32>() / (losses.len() - first) as f32;
        println!("epoch {epoch:2} of {epochs}  loss {mean:.4}  {:.1} s", start.elapsed().as_secs_f32());
    }
    print!("{}", curve::text("cross entropy by step", &losses));
    println!("the step was compiled {} time(s)", step.compilations());

    let (x, target) = digits.batch(&test)?;
    let classes = jit(|(net, x): (Net, Tensor)| net.logits(&x)?.argmax_dim(1, false));
    let right = classes.call((net, x))?.eq(&target)?.to(F32)?.mean()?.item::<f64>()? * 100.0;
    println!("test accuracy: {right:.1} %");
    if right < least {
        return Err(format!("expected at least {least} %").into());
    }
    Ok(())
}

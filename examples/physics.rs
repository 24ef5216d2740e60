//! A physics-informed neural net: a net u(x, t) is trained to satisfy the heat equation, and compared with the solution.
//!
//! The problem is u_t = u_xx for x in 0..pi and t in 0..1, with u(x, 0) = sin x and u = 0 at both ends; its solution is
//! exp(-t) sin x (Raissi, Perdikaris and Karniadakis, 2019, for the method). The equation needs the first derivative of the
//! net in t and the second in x, and training needs the gradient of all that with respect to the parameters: three times
//! `grad`, all in one compiled program. Run it with `cargo run --release --example physics`; `--quick` trains for 300
//! steps only. It fails if the net is further than 0.01 from the solution anywhere (`--quick`: 0.3).

mod curve;

use std::error::Error;
use std::f64::consts::PI;
use tensorc::train::{Adam, init, schedule};
use tensorc::{Result, Tensor, grad, jit, value_and_grad, zeros};

tensorc::tree! {
    /// A perceptron of two hidden layers.
    #[derive(Clone)]
    struct Net { w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor }
}

const HIDDEN: usize = 32;

impl Net {
    fn new() -> Result<Net> {
        Ok(Net {
            w1: init::xavier_normal(&[2, HIDDEN], 1.0, Some(1))?,
            b1: init::zeros(&[HIDDEN])?,
            w2: init::xavier_normal(&[HIDDEN, HIDDEN], 1.0, Some(2))?,
            b2: init::zeros(&[HIDDEN])?,
            w3: init::xavier_normal(&[HIDDEN, 1], 1.0, Some(3))?,
            b3: init::zeros(&[1])?,
        })
    }

    /// u at points whose coordinates are the columns `x` and `t`, `[n, 1]`.
    fn at(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let first = x.mul(self.w1.i(0)?)?.add(t.mul(self.w1.i(1)?)?)?.add(&self.b1)?.tanh()?;
        first.matmul(&self.w2)?.add(&self.b2)?.tanh()?.matmul(&self.w3)?.add(&self.b3)
    }

    /// u_t - u_xx at these points. Since each value depends on its own point only, the gradient of the sum of all holds
    /// their derivatives.
    fn residual(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let slopes = grad(|(x, t): (Tensor, Tensor)| self.at(&x, &t)?.sum());
        let u_t = slopes((x.clone(), t.clone()))?.1;
        let u_xx = grad(|x: Tensor| slopes((x, t.clone()))?.0.sum())(x.clone())?;
        u_t.sub(&u_xx)
    }
}

/// The mean square of the equation's residual inside, and of what is wrong at the start and at both ends.
fn loss(net: &Net, (x, t): (&Tensor, &Tensor)) -> Result<Tensor> {
    let inside = net.residual(x, t)?.square()?.mean()?;
    let zero = t.zeros_like()?;
    let start = net.at(x, &zero)?.sub(x.sin()?)?.square()?.mean()?;
    let ends = net.at(&zero, t)?.square()?.mean()?.add(net.at(&zero.add(PI)?, t)?.square()?.mean()?)?;
    inside.add(start.add(ends)?.mul(10.0)?)
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|a| a == "--quick");
    let (steps, most) = if quick { (300, 0.3) } else { (10_000, 0.01) };
    let (net, adam) = (Net::new()?, Adam::default());
    let state = adam.init(&net)?;
    let step = jit(|(net, state, x, t, lr): (Net, _, Tensor, Tensor, Tensor)| {
        let (loss, d) = value_and_grad(|net: Net| loss(&net, (&x, &t)))(net.clone())?;
        adam.step_(&net, &d, &state, &lr)?;
        Ok(loss)
    });
    let rate = schedule::cosine_annealing(5e-3, steps, 1e-5);

    let clock = std::time::Instant::now();
    let mut losses = Vec::new();
    for k in 0..steps {
        // Other points at each step.
        let seed = 10 + 2 * k as i64;
        let x = init::uniform(&[128, 1], 0.0, PI, Some(seed))?;
        let t = init::uniform(&[128, 1], 0.0, 1.0, Some(seed + 1))?;
        let lr = Tensor::scalar(rate(k) as f32)?;
        losses.push(step.call((net.clone(), state.clone(), x, t, lr))?.item::<f32>()?);
        if (k + 1) % (steps / 10) == 0 {
            println!("step {:5} of {steps}  loss {:.2e}  {:.1} s", k + 1, losses[k], clock.elapsed().as_secs_f32());
        }
    }
    let orders: Vec<f32> = losses.iter().map(|l| l.log10()).collect();
    print!("{}", curve::text("logarithm of the loss (base 10) by step", &orders));
    println!("the step was compiled {} time(s)", step.compilations());

    // On a grid of 33 by 33 points, the net against the solution.
    let axis = |to: f64| tensorc::linspace(0.0, to, 33);
    let grid = zeros(&[33, 33], tensorc::dtype::F32)?;
    let x = grid.add(axis(PI)?.unsqueeze(1)?)?.reshape([-1, 1])?;
    let t = grid.add(axis(1.0)?)?.reshape([-1, 1])?;
    let solution = (-&t)?.exp()?.mul(x.sin()?)?;
    let error = net.at(&x, &t)?.sub(&solution)?.abs()?.amax()?.item::<f64>()?;
    println!("largest error on 33 x 33 points: {error:.4}");
    if error.is_nan() || error > most {
        return Err(format!("expected at most {most}").into());
    }
    Ok(())
}

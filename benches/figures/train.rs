//! Figures of training: what a step costs beside its own matrix products, what recording costs, how compile time grows with
//! depth.

use super::median_us;
use std::time::Instant;
use tensorc::dtype::F32;
use tensorc::{Result, Tensor, full, jit, no_grad, ones, rand, value_and_grad, zeros};

/// Widths of the layers.
const WIDTHS: [usize; 4] = [784, 512, 512, 10];
const BATCH: usize = 256;

fn forward(x: &Tensor, params: &[Tensor]) -> Result<Tensor> {
    let mut x = x.clone();
    for (i, p) in params.chunks(2).enumerate() {
        x = x.matmul(&p[0])?.add(&p[1])?;
        if i + 1 < WIDTHS.len() - 1 {
            x = x.relu()?;
        }
    }
    Ok(x)
}

fn params() -> Result<Vec<Tensor>> {
    let mut all = Vec::new();
    for (i, w) in WIDTHS.windows(2).enumerate() {
        all.push(rand(&[w[0], w[1]], Some(i as i64))?.sub(0.5)?.mul(0.05)?);
        all.push(zeros(&[w[1]], F32)?);
    }
    Ok(all)
}

/// A perceptron's training step in microseconds: in one compiled call; its own matrix products alone; its memory traffic at
/// that speed of a copy in bytes per microsecond; recorded op by op with `backward`.
pub(crate) fn perceptron(copy: f64) -> Result<(f64, f64, f64, f64)> {
    let x = rand(&[BATCH, WIDTHS[0]], Some(7))?;
    let target = rand(&[BATCH], Some(8))?.mul(10.0)?.to(tensorc::dtype::I64)?;
    let p = params()?;
    let step = jit(|(p, x, target): (Vec<Tensor>, Tensor, Tensor)| {
        let loss = value_and_grad(|p: Vec<Tensor>| forward(&x, &p)?.cross_entropy(&target));
        let (loss, dp) = loss(p.clone())?;
        for (p, dp) in p.iter().zip(&dp) {
            p.sub_(dp.mul(0.01)?)?;
        }
        Ok(loss)
    });
    let compiled = median_us(15, 3, || step.call((p.clone(), x.clone(), target.clone())).map(drop))?;

    // Forward one product a layer, backward two, but none for the gradient of the input.
    let mut products = 0.0;
    for (i, w) in WIDTHS.windows(2).enumerate() {
        let (a, b, dy) = (ones(&[BATCH, w[0]], F32)?, ones(&[w[0], w[1]], F32)?, ones(&[BATCH, w[1]], F32)?);
        let (at, bt) = (a.t()?, b.t()?);
        products += median_us(15, 3, || a.matmul(&b).map(drop))?;
        products += median_us(15, 3, || at.matmul(&dy).map(drop))?;
        if i > 0 {
            products += median_us(15, 3, || dy.matmul(&bt).map(drop))?;
        }
    }
    // The update reads parameter and gradient and writes the parameter; each activation is written and read, twice with its
    // gradient.
    let weights: usize = WIDTHS.windows(2).map(|w| (w[0] + 1) * w[1]).sum();
    let activations: usize = WIDTHS[1..].iter().map(|w| BATCH * w).sum();
    let traffic = 4.0 * (3 * weights + 4 * activations) as f64 / copy;

    let leaves = params()?.into_iter().map(|p| p.requires_grad_(true)).collect::<Result<Vec<_>>>()?;
    let recorded = median_us(15, 3, || {
        forward(&x, &leaves)?.cross_entropy(&target)?.backward()?;
        for p in &leaves {
            let Some(dp) = p.grad() else { continue };
            no_grad(|| p.sub_(dp.mul(0.01)))?;
            p.set_grad(None)?;
        }
        Ok(())
    })?;
    Ok((compiled, products, traffic, recorded))
}

/// An eager op on eight numbers that is recorded, in microseconds; and `backward` through ten of them.
pub(crate) fn tape() -> Result<(f64, f64)> {
    let x = rand(&[8], Some(1))?.requires_grad_(true)?;
    let op = median_us(21, 2000, || x.mul(1.5).map(drop))?;
    let pass = median_us(21, 200, || {
        let mut y = x.clone();
        for _ in 0..10 {
            y = y.mul(1.5)?;
        }
        y.sum()?.backward()?;
        x.set_grad(None)
    })?;
    Ok((op, pass))
}

const MODEL: usize = 64;
const HEADS: usize = 4;
const TOKENS: usize = 32;

/// One layer: attention and a feed-forward net, each behind a norm.
fn layer(x: &Tensor, p: &[Tensor]) -> Result<Tensor> {
    let norm = |x: &Tensor| {
        let d = x.sub(x.mean_dim(-1, true)?)?;
        d.div(d.square()?.mean_dim(-1, true)?.add(1e-5)?.sqrt()?)
    };
    let heads = |t: Tensor| t.reshape([TOKENS, HEADS, MODEL / HEADS])?.transpose(0, 1);
    let h = norm(x)?;
    let (q, k, v) = (heads(h.matmul(&p[0])?)?, heads(h.matmul(&p[1])?)?, heads(h.matmul(&p[2])?)?);
    let scores = q.matmul(k.transpose(1, 2))?.mul(0.25)?.softmax(-1)?;
    let mixed = scores.matmul(&v)?.transpose(0, 1)?.reshape([TOKENS, MODEL])?.matmul(&p[3])?;
    let x = x.add(&mixed)?;
    x.add(norm(&x)?.matmul(&p[4])?.gelu()?.matmul(&p[5])?)
}

/// The first call of a transformer's forward and backward pass of that many layers, in milliseconds.
pub(crate) fn transformer(layers: usize) -> Result<f64> {
    let shapes = [[MODEL, MODEL]; 4].into_iter().chain([[MODEL, 4 * MODEL], [4 * MODEL, MODEL]]);
    let shapes: Vec<[usize; 2]> = shapes.collect();
    let p = (0..layers * 6).map(|i| full(&shapes[i % 6], 0.02, F32)).collect::<Result<Vec<_>>>()?;
    let x = rand(&[TOKENS, MODEL], Some(3))?;
    let f = jit(|(p, x): (Vec<Tensor>, Tensor)| {
        value_and_grad(|p: Vec<Tensor>| {
            let mut x = x.clone();
            for p in p.chunks(6) {
                x = layer(&x, p)?;
            }
            x.square()?.mean()
        })(p)
    });
    let start = Instant::now();
    f.call((p, x))?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

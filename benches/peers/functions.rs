//! The functions of the workloads, each as a user writes it. [`job`] finds one by its name in the suite and binds it to its
//! inputs. What the suite updates is updated in its own memory here, and given back as the first results.

use super::job::{Job, prepare};
use std::ops::Range;
use tensorc::dtype::{F32, I64};
use tensorc::train::{AdamState, AdamW};
use tensorc::{Argument, Result, Tensor, call, value_and_grad};

/// An op that is no method of tensors, with one result.
fn op(name: &str, args: &[(Option<&str>, Argument)]) -> Result<Tensor> {
    Ok(call(name, args)?.swap_remove(0))
}

fn add((x, y): (Tensor, Tensor)) -> Result<Tensor> {
    x + y
}

/// Ten operations on each number.
fn chain(x: Tensor) -> Result<Tensor> {
    let y = x.mul(1.5)?.add(0.5)?.tanh()?.mul(&x)?;
    (-y)?.exp()?.add(1.0)?.sqrt()?.sub(x.mul(0.25))
}

fn bias_gelu((x, b): (Tensor, Tensor)) -> Result<Tensor> {
    op("gelu", &[(None, x.add(&b)?.into()), (Some("approximate"), "tanh".into())])
}

/// The prices of a call and a put for spot `s`, strike `k` and time `t`, at a rate of 0.02 and a volatility of 0.3.
fn black_scholes((s, k, t): (Tensor, Tensor, Tensor)) -> Result<(Tensor, Tensor)> {
    let cdf = |d: &Tensor| d.mul(std::f64::consts::FRAC_1_SQRT_2)?.erf()?.add(1.0)?.mul(0.5);
    let vt = t.sqrt()?.mul(0.3)?;
    let d1 = (&s / &k)?.log()?.add(0.065 * &t)?.div(&vt)?;
    let disc = t.mul(-0.02)?.exp()?.mul(&k)?;
    let call = (&s * cdf(&d1)?)?.sub(&disc * cdf(&d1.sub(&vt)?)?)?;
    let put = call.sub(&s)?.add(&disc)?;
    Ok((call, put))
}

fn add_transpose(x: Tensor) -> Result<Tensor> {
    x.add(&x.t()?)
}

/// Each inner number becomes the mean of itself and its four neighbours, all of them as they were.
fn jacobi(a: Tensor) -> Result<Tensor> {
    let n = a.shape()[0] as i64;
    let (inner, before, after) = (1..n - 1, 0..n - 2, 2..n);
    let at = |rows: &Range<i64>, columns: &Range<i64>| a.i((rows.clone(), columns.clone()));
    let sum = at(&inner, &inner)?.add(at(&before, &inner)?)?.add(at(&after, &inner)?)?;
    let sum = sum.add(at(&inner, &before)?)?.add(at(&inner, &after)?)?;
    a.set((inner.clone(), inner), sum.mul(0.2)?)?;
    Ok(a)
}

fn layernorm((x, g, b): (Tensor, Tensor, Tensor)) -> Result<Tensor> {
    let shape = [x.shape()[1]];
    op("layer_norm", &[(None, x.into()), (None, shape.into()), (None, g.into()), (None, b.into())])
}

fn rmsnorm((x, g): (Tensor, Tensor)) -> Result<Tensor> {
    let shape = [x.shape()[1]];
    op("rms_norm", &[(None, x.into()), (None, shape.into()), (None, g.into()), (None, 1e-5.into())])
}

/// The mean cross entropy and its gradient.
fn ce_grad((x, y): (Tensor, Tensor)) -> Result<(Tensor, Tensor)> {
    value_and_grad(|x: Tensor| x.cross_entropy(&y))(x)
}

/// Three layers of a matrix and a bias.
fn mlp((p, x): ([Tensor; 6], Tensor)) -> Result<Tensor> {
    let [w1, b1, w2, b2, w3, b3] = &p;
    let h = x.matmul(w1)?.add(b1)?.relu()?;
    let h = h.matmul(w2)?.add(b2)?.relu()?;
    h.matmul(w3)?.add(b3)
}

fn mlp_train((p, x, y): ([Tensor; 6], Tensor, Tensor)) -> Result<([Tensor; 6], Tensor)> {
    let loss = |p: [Tensor; 6]| mlp((p, x.clone()))?.cross_entropy(&y);
    let (loss, dp) = value_and_grad(loss)(p.clone())?;
    for (p, dp) in p.iter().zip(&dp) {
        p.sub_(dp.mul(0.01)?)?;
    }
    Ok((p, loss))
}

fn attention((q, k, v): (Tensor, Tensor, Tensor)) -> Result<Tensor> {
    op("scaled_dot_product_attention", &[(None, q.into()), (None, k.into()), (None, v.into())])
}

fn conv2d((x, w): (Tensor, Tensor)) -> Result<Tensor> {
    op("conv2d", &[(None, x.into()), (None, w.into()), (Some("padding"), 1i64.into())])
}

/// The parameter, the two means and the count of steps, and the gradient.
fn adamw((p, state, g): (Tensor, AdamState<Tensor>, Tensor)) -> Result<[Tensor; 4]> {
    AdamW::default().step_(&p, &g, &state, 1e-3)?;
    Ok([p, state.exp_avg, state.exp_avg_sq, state.step])
}

/// That function of the suite on these inputs, or `None` if there is none of this name and number of inputs.
pub fn job(function: &str, inputs: &[Tensor]) -> Result<Option<Box<dyn Job>>> {
    let own = |t: &Tensor| t.clone();
    Ok(Some(match (function, inputs) {
        ("add", [x, y]) => prepare(add, (own(x), own(y))),
        ("chain", [x]) => prepare(chain, own(x)),
        ("bias_gelu", [x, b]) => prepare(bias_gelu, (own(x), own(b))),
        ("black_scholes", [s, k, t]) => prepare(black_scholes, (own(s), own(k), own(t))),
        ("add_transpose", [x]) => prepare(add_transpose, own(x)),
        ("jacobi", [a]) => prepare(jacobi, own(a)),
        ("sum", [x]) => prepare(|x: Tensor| x.sum(), own(x)),
        ("row_sum", [x]) => prepare(|x: Tensor| x.sum_dim(1, false), own(x)),
        ("col_sum", [x]) => prepare(|x: Tensor| x.sum_dim(0, false), own(x)),
        ("softmax", [x]) => prepare(|x: Tensor| x.softmax(-1), own(x)),
        ("layernorm", [x, g, b]) => prepare(layernorm, (own(x), own(g), own(b))),
        ("rmsnorm", [x, g]) => prepare(rmsnorm, (own(x), own(g))),
        ("ce_grad", [x, y]) => prepare(ce_grad, (own(x), y.to(I64)?)),
        ("matmul", [x, y]) => prepare(|(x, y): (Tensor, Tensor)| x.matmul(&y), (own(x), own(y))),
        ("mlp", [p @ .., x]) if p.len() == 6 => prepare(mlp, (six(p), own(x))),
        ("mlp_train", [p @ .., x, y]) if p.len() == 6 => prepare(mlp_train, (six(p), own(x), y.to(I64)?)),
        ("attention", [q, k, v]) => prepare(attention, (own(q), own(k), own(v))),
        ("conv2d", [x, w]) => prepare(conv2d, (own(x), own(w))),
        ("adamw", [p, m, v, t, g]) => {
            let step = t.to(F32)?.sum()?.to(I64)?;
            let state = AdamState { step, exp_avg: own(m), exp_avg_sq: own(v), max_exp_avg_sq: None };
            prepare(adamw, (own(p), state, own(g)))
        }
        _ => return Ok(None),
    }))
}

/// The parameters of three layers.
fn six(p: &[Tensor]) -> [Tensor; 6] {
    std::array::from_fn(|i| p[i].clone())
}

//! Functions whose second derivatives are known, by every way to ask for them: `hessian`, Jacobians of gradients and of
//! Jacobians, products with a direction, gradients of gradients, traced, jitted and on the tape.

use crate::near::{close, numbers};
use tensorc::autograd::{Backward, grad as backward};
use tensorc::{
    Argument, Result, Tensor, call, grad, hessian, hvp, jacfwd, jacrev, jit, jvp, tensor, value_and_grad, vmap,
};

/// A function of a vector.
trait Function: Fn(Tensor) -> Result<Tensor> + Copy + Send + Sync + 'static {}
impl<F: Fn(Tensor) -> Result<Tensor> + Copy + Send + Sync + 'static> Function for F {}

/// Holds value, gradient and Hessian (by rows) of `f` at `x` against formulas.
#[track_caller]
fn holds(f: impl Function, x: &[f64], value: f64, slope: &[f64], curve: &[f64]) -> Result<()> {
    let n = x.len();
    let at = Tensor::from_vec(x.to_vec(), &[n])?;
    let (y, dy) = value_and_grad(f)(at.clone())?;
    close(&y, &[value]);
    close(&dy, slope);
    close(&jacrev(f)(at.clone())?, slope);
    close(&jacfwd(f)(at.clone())?, slope);
    // Matrices: forward over reverse, and all other orders.
    let whole = [
        hessian(f)(at.clone())?,
        jacfwd(jacrev(f))(at.clone())?,
        jacrev(jacfwd(f))(at.clone())?,
        jacrev(jacrev(f))(at.clone())?,
        jacfwd(jacfwd(f))(at.clone())?,
        jit(move |x: Tensor| hessian(f)(x)).call(at.clone())?,
    ];
    for h in &whole {
        assert_eq!(h.shape(), [n, n]);
        close(h, curve);
    }
    // Along a direction: a row of products.
    let v: Vec<f64> = (0..n).map(|i| 1.0 - 0.75 * i as f64).collect();
    let want: Vec<f64> = (0..n).map(|i| (0..n).map(|j| curve[i * n + j] * v[j]).sum()).collect();
    let v = Tensor::from_vec(v, &[n])?;
    close(&hvp(f)(at.clone(), v.clone())?, &want);
    close(&grad(|x: Tensor| grad(f)(x)?.mul(&v)?.sum())(at.clone())?, &want);
    close(&grad(|x: Tensor| Ok(jvp(f)(x, v.clone())?.1))(at.clone())?, &want);
    close(&jvp(grad(f))(at.clone(), v.clone())?.1, &want);
    // On the tape, by a gradient that is recorded.
    let leaf = at.copy()?.requires_grad_(true)?;
    let again = Backward { create_graph: true, ..Backward::default() };
    let slopes = backward(&[f(leaf.clone())?], &[leaf.clone()], &again)?.remove(0).unwrap();
    close(&slopes, slope);
    // Of a function that is linear the gradient requires none.
    if slopes.requires_grad() {
        slopes.mul(&v)?.sum()?.backward()?;
        close(&leaf.grad().unwrap(), &want);
    } else {
        assert!(want.iter().all(|v| *v == 0.0));
    }
    // For many points at once, each as alone.
    let points = at.unsqueeze(0)?.expand([3, n as i64].as_slice())?.copy()?;
    let all = vmap(hessian(f))(points)?;
    close(&all, &curve.repeat(3));
    Ok(())
}

/// The function of the table of that name.
fn of(name: &str, args: &[Argument]) -> Result<Tensor> {
    Ok(call(name, &args.iter().map(|a| (None, a.clone())).collect::<Vec<_>>())?.remove(0))
}

/// Rows one after the other.
fn matrix(n: usize, f: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    (0..n * n).map(|k| f(k / n, k % n)).collect()
}

#[test]
fn of_a_linear_function_it_is_zero() -> Result<()> {
    let f = |x: Tensor| x.mul(tensor([2.0, -3.0, 0.5])?)?.sum()?.add(7.0);
    holds(f, &[1.0, 2.0, 4.0], 5.0, &[2.0, -3.0, 0.5], &[0.0; 9])
}

#[test]
fn of_a_quadratic_form_it_is_the_matrix_and_its_transpose() -> Result<()> {
    const A: [[f64; 3]; 3] = [[2.0, -1.0, 0.5], [3.0, 1.0, 0.0], [-2.0, 4.0, 5.0]];
    let f = |x: Tensor| x.dot(tensor(A)?.matmul(&x)?);
    let x = [1.0, -2.0, 0.5];
    let both = |i: usize, j: usize| A[i][j] + A[j][i];
    let slope: Vec<f64> = (0..3).map(|i| (0..3).map(|j| both(i, j) * x[j]).sum()).collect();
    let value = slope.iter().zip(x).map(|(s, x)| s * x).sum::<f64>() / 2.0;
    holds(f, &x, value, &slope, &matrix(3, both))
}

#[test]
fn of_log_sum_exp_it_is_that_of_the_shares() -> Result<()> {
    let f = |x: Tensor| of("logsumexp", &[(&x).into(), 0.into()]);
    let x = [0.5f64, -1.0, 2.0, 0.25];
    let sum: f64 = x.iter().map(|v| v.exp()).sum();
    let p: Vec<f64> = x.iter().map(|v| v.exp() / sum).collect();
    let curve = matrix(4, |i, j| if i == j { p[i] } else { 0.0 } - p[i] * p[j]);
    holds(f, &x, sum.ln(), &p, &curve)
}

#[test]
fn of_rosenbrocks_function_it_is_the_formulas() -> Result<()> {
    let f = |x: Tensor| {
        let (a, b) = (x.narrow(0, 0, 1)?, x.narrow(0, 1, 1)?);
        b.sub(a.square()?)?.square()?.mul(100.0)?.add(a.mul(-1.0)?.add(1.0)?.square()?)?.sum()
    };
    let (a, b) = (-1.25f64, 0.5f64);
    let r = b - a * a;
    let slope = [-400.0 * a * r - 2.0 * (1.0 - a), 200.0 * r];
    let curve = [1200.0 * a * a - 400.0 * b + 2.0, -400.0 * a, -400.0 * a, 200.0];
    holds(f, &[a, b], 100.0 * r * r + (1.0 - a).powi(2), &slope, &curve)
}

#[test]
fn of_logistic_regression_it_is_the_weighted_products_of_the_data() -> Result<()> {
    const X: [[f64; 2]; 4] = [[1.0, 2.0], [-0.5, 0.3], [0.7, -1.1], [2.0, 0.1]];
    const Y: [f64; 4] = [1.0, 0.0, 1.0, 0.0];
    // The mean over the data of log(1 + e^z) - y z.
    let f = |w: Tensor| {
        let z = tensor(X)?.matmul(&w)?;
        of("binary_cross_entropy_with_logits", &[(&z).into(), (&tensor(Y)?).into()])
    };
    let w = [0.3, -0.8];
    let z: Vec<f64> = X.iter().map(|x| x[0] * w[0] + x[1] * w[1]).collect();
    let s: Vec<f64> = z.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
    let value = z.iter().zip(Y).map(|(z, y)| z.exp().ln_1p() - y * z).sum::<f64>() / 4.0;
    let mean = |f: &dyn Fn(usize) -> f64| (0..4).map(f).sum::<f64>() / 4.0;
    let slope = [mean(&|k| (s[k] - Y[k]) * X[k][0]), mean(&|k| (s[k] - Y[k]) * X[k][1])];
    let curve = matrix(2, |i, j| mean(&|k| s[k] * (1.0 - s[k]) * X[k][i] * X[k][j]));
    holds(f, &w, value, &slope, &curve)
}

#[test]
fn of_the_norm_it_is_what_is_across_by_the_length() -> Result<()> {
    let f = |x: Tensor| of("norm", &[(&x).into()]);
    let x = [1.0, -2.0, 2.0];
    let curve = matrix(3, |i, j| (if i == j { 1.0 } else { 0.0 } - x[i] * x[j] / 9.0) / 3.0);
    holds(f, &x, 3.0, &[1.0 / 3.0, -2.0 / 3.0, 2.0 / 3.0], &curve)
}

#[test]
fn of_a_product_it_is_the_product_of_the_others_also_with_zeros() -> Result<()> {
    for x in [[2.0, 3.0, 5.0, -1.0], [0.0, 3.0, 5.0, -1.0], [0.0, 0.0, 5.0, -1.0]] {
        let others = |skip: &[usize]| (0..4).filter(|k| !skip.contains(k)).map(|k| x[k]).product::<f64>();
        let slope: Vec<f64> = (0..4).map(|i| others(&[i])).collect();
        let curve = matrix(4, |i, j| if i == j { 0.0 } else { others(&[i, j]) });
        holds(|x: Tensor| x.prod(), &x, others(&[]), &slope, &curve)?;
    }
    Ok(())
}

#[test]
fn of_the_entropy_it_is_diagonal() -> Result<()> {
    let f = |x: Tensor| x.mul(x.log()?)?.sum();
    let x = [0.25f64, 1.0, 3.0];
    let value = x.iter().map(|x| x * x.ln()).sum();
    let slope = x.map(|x| x.ln() + 1.0);
    holds(f, &x, value, &slope, &matrix(3, |i, j| if i == j { 1.0 / x[i] } else { 0.0 }))
}

#[test]
fn of_the_inverse_of_a_matrix_the_trace_follows_from_the_inverse() -> Result<()> {
    // tr(X⁻¹): the gradient is -(X⁻²)ᵀ; along E_kl and E_mn the second derivative is
    // (X⁻²)_nk (X⁻¹)_lm + (X⁻²)_lm (X⁻¹)_nk.
    let f = |x: Tensor| {
        let inverse = of("inv", &[(&x.view([2, 2])?).into()])?;
        inverse.diagonal(0, 0, 1)?.sum()
    };
    let x = [2.0, 1.0, -1.0, 3.0];
    let det = 7.0;
    let v = [[3.0 / det, -1.0 / det], [1.0 / det, 2.0 / det]];
    let square = |i: usize, j: usize| v[i][0] * v[0][j] + v[i][1] * v[1][j];
    let slope: Vec<f64> = (0..4).map(|k| -square(k % 2, k / 2)).collect();
    let curve = matrix(4, |a, b| {
        let (k, l, m, n) = (a / 2, a % 2, b / 2, b % 2);
        square(n, k) * v[l][m] + square(l, m) * v[n][k]
    });
    holds(f, &x, v[0][0] + v[1][1], &slope, &curve)
}

#[test]
fn harmonic_functions_have_no_laplacian() -> Result<()> {
    // Real parts of functions of a complex number, and the potential of a point in space.
    let cube = |x: Tensor| {
        let (a, b) = (x.select(0, 0)?, x.select(0, 1)?);
        a.pow(3)?.sub(a.mul(b.square()?)?.mul(3.0)?)
    };
    let wave = |x: Tensor| x.select(0, 0)?.exp()?.mul(x.select(0, 1)?.cos()?);
    let potential = |x: Tensor| x.square()?.sum()?.rsqrt();
    let laplacian = |h: Tensor| h.diagonal(0, 0, 1)?.sum();
    let plane = tensor([0.75, -1.5])?;
    let zero = |h: Tensor| -> Result<()> {
        let size = numbers(&h).iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let sum = numbers(&laplacian(h)?)[0];
        assert!(size > 0.1 && sum.abs() <= 1e-14 * size, "{sum} of {size}");
        Ok(())
    };
    zero(hessian(cube)(plane.clone())?)?;
    zero(hessian(wave)(plane.clone())?)?;
    zero(jacrev(jacrev(wave))(plane)?)?;
    let space = tensor([0.5, -1.0, 0.25])?;
    zero(hessian(potential)(space.clone())?)?;
    zero(jacfwd(jacfwd(potential))(space)?)?;
    Ok(())
}

//! Transforms of functions: derivatives along directions, in any nesting, inside and outside of `jit`.

mod near;

use near::{close, numbers};
use tensorc::dtype::{F32, F64, I64};
use tensorc::{Kind, Result, Tensor, cond, full, grad, hvp, jit, jvp, ones, scan, tensor, vjp, while_loop, zeros};

fn number(t: &Tensor) -> f64 {
    numbers(t)[0]
}

#[test]
fn jvp_gives_value_and_directional_derivative() -> Result<()> {
    let f = |(x, w): (Tensor, Tensor)| Ok((x.mul(&w)?.sin()?, w.exp()?.sum()?));
    let (x, w) = (tensor([0.5, -1.0])?, tensor([2.0, 3.0])?);
    let (dx, dw) = (tensor([1.0, 0.5])?, tensor([-1.0, 0.25])?);
    let ((y, s), (dy, ds)) = jvp(f)((x, w), (dx, dw))?;
    close(&y, &[1f64.sin(), (-3f64).sin()]);
    close(&s, &[2f64.exp() + 3f64.exp()]);
    close(&dy, &[1f64.cos() * (2.0 - 0.5), (-3f64).cos() * (1.5 - 0.25)]);
    close(&ds, &[-(2f64.exp()) + 0.25 * 3f64.exp()]);
    Ok(())
}

#[test]
fn jvp_of_what_does_not_depend_or_is_no_float_is_zero() -> Result<()> {
    let c = tensor([4.0, 5.0])?;
    let f = |x: Tensor| Ok((x.argmax()?, c.clone(), x.detach()?));
    let (_, (index, constant, detached)) = jvp(f)(tensor([1.0, 2.0])?, tensor([1.0, 1.0])?)?;
    assert_eq!((index.dtype(), numbers(&index)), (I64, vec![0.0]));
    assert_eq!((numbers(&constant), numbers(&detached)), (vec![0.0; 2], vec![0.0; 2]));
    // An integer argument does not move.
    let g = |(x, i): (Tensor, Tensor)| x.index_select(0, &i);
    let (_, d) = jvp(g)((tensor([1.0, 2.0])?, tensor([1i64])?), (tensor([3.0, 4.0])?, tensor([0i64])?))?;
    assert_eq!(numbers(&d), [4.0]);
    Ok(())
}

#[test]
fn jvp_refuses_tangents_that_do_not_fit() -> Result<()> {
    let f = |x: Tensor| x.exp();
    let e = jvp(f)(tensor([1.0, 2.0])?, tensor([1.0])?).unwrap_err();
    assert_eq!(e.kind(), Kind::Grad);
    let e = jvp(f)(tensor([1.0, 2.0])?, tensor([1.0f32, 2.0])?).unwrap_err();
    assert_eq!(e.kind(), Kind::Grad);
    let e = jvp(|x: Vec<Tensor>| x[0].exp())(vec![tensor([1.0])?], vec![]).unwrap_err();
    assert!(e.to_string().contains("`jvp`: the tangents are a tree of another structure than the argument"), "{e}");
    let e = vjp(|x: Tensor| Ok(vec![x]))(tensor([1.0])?, vec![]).unwrap_err();
    assert!(e.to_string().contains("`vjp`: the cotangents are a tree of another structure than the result"), "{e}");
    let writes = |x: Tensor| {
        x.add_(1.0)?;
        x.exp()
    };
    let e = jvp(writes)(tensor([1.0])?, tensor([1.0])?).unwrap_err();
    assert_eq!(e.kind(), Kind::Grad);
    Ok(())
}

#[test]
fn vjp_is_the_gradient_weighted_by_a_cotangent() -> Result<()> {
    let f = |x: Tensor| Ok((x.square()?, x.sum()?));
    let ((y, s), dx) = vjp(f)(tensor([1.0, 3.0])?, (tensor([10.0, 100.0])?, tensor(0.5)?))?;
    close(&y, &[1.0, 9.0]);
    close(&s, &[4.0]);
    close(&dx, &[20.5, 600.5]);
    Ok(())
}

#[test]
fn derivatives_nest_in_any_order() -> Result<()> {
    let f = |x: Tensor| x.pow(4)?.sum();
    let (x, v) = (tensor([1.0, 2.0])?, tensor([1.0, 10.0])?);
    // 12 x^2 v, by each way.
    let want = [12.0, 480.0];
    close(&hvp(f)(x.clone(), v.clone())?, &want);
    let along = |x: Tensor| Ok(jvp(f)(x, v.clone())?.1);
    close(&grad(along)(x.clone())?, &want);
    let slope = |x: Tensor| grad(f)(x)?.mul(&v)?.sum();
    close(&grad(slope)(x.clone())?, &want);
    // Forward over forward: v² f''.
    close(&jvp(along)(x.clone(), v.clone())?.1, &[12.0 + 48.0 * 100.0]);
    // Third order: 24 x v w, forward over forward over reverse.
    let third = |x: Tensor| hvp(f)(x, v.clone());
    close(&jvp(third)(x.clone(), v.clone())?.1, &[24.0, 4800.0]);
    close(&grad(|x: Tensor| third(x)?.sum())(x)?, &[24.0, 480.0]);
    Ok(())
}

#[test]
fn jvp_inside_of_jit_is_one_program_with_the_same_bits() -> Result<()> {
    let f = |x: Tensor| x.softmax(0)?.log()?.mul(&x);
    let both = jit(|(x, v): (Tensor, Tensor)| jvp(f)(x, v));
    for i in 0..3 {
        let x = tensor([0.1, 0.2 + i as f64, -0.3])?;
        let v = tensor([1.0, -1.0, 0.5])?;
        let (y, dy) = both.call((x.clone(), v.clone()))?;
        let (y2, dy2) = jvp(f)(x, v)?;
        assert_eq!((numbers(&y), numbers(&dy)), (numbers(&y2), numbers(&dy2)));
    }
    assert_eq!(both.compilations(), 1);
    // A jitted function is differentiated as any other.
    let inner = jit(|x: Tensor| x.square());
    let (_, d) = jvp(|x: Tensor| inner.call(x))(tensor([3.0])?, tensor([2.0])?)?;
    close(&d, &[12.0]);
    Ok(())
}

#[test]
fn jvp_goes_through_a_while_loop() -> Result<()> {
    // Newton's iteration for the square root: the derivative of what it converges to is 1 / (2 √a).
    let root = |a: Tensor| {
        let start = (a.clone(), ones(&[], F64)?);
        let far = |(a, x): (Tensor, Tensor)| x.square()?.sub(&a)?.abs()?.gt(1e-14);
        let next = |(a, x): (Tensor, Tensor)| Ok((a.clone(), x.add(&a.div(&x)?)?.mul(0.5)?));
        Ok(while_loop(far, next, start)?.1)
    };
    let (y, dy) = jvp(root)(tensor(2.0)?, tensor(3.0)?)?;
    assert!((number(&y) - 2f64.sqrt()).abs() < 1e-14);
    assert!((number(&dy) - 3.0 / (2.0 * 2f64.sqrt())).abs() < 1e-12);
    // Forward over forward, and inside of `jit`.
    let along = |a: Tensor| Ok(jvp(root)(a, tensor(1.0)?)?.1);
    let (_, dd) = jit(move |a: Tensor| jvp(along)(a, tensor(1.0)?)).call(tensor(2.0)?)?;
    assert!((number(&dd) + 0.25 * 2f64.powf(-1.5)).abs() < 1e-10);
    Ok(())
}

#[test]
fn jvp_through_a_while_loop_carries_integers_and_captured_tensors() -> Result<()> {
    let step = tensor([2.0, 3.0])?;
    let f = |(x, k): (Tensor, Tensor)| {
        let init = (x.clone(), zeros(&[], I64)?);
        let out = while_loop(
            |(_, i): (Tensor, Tensor)| i.lt(3),
            |(x, i): (Tensor, Tensor)| Ok((x.mul(&k)?.add(&step)?, i.add(1)?)),
            init,
        )?;
        Ok(out.0)
    };
    let (x, k) = (tensor([1.0, 2.0])?, full(&[], 0.5, F64)?);
    let (_, dy) = jvp(f)((x, k), (tensor([1.0, 0.0])?, tensor(1.0)?))?;
    // y = k³ x + s (k² + k + 1), dy = k³ dx + 3 k² x dk + s (2 k + 1) dk
    close(&dy, &[0.125 + 0.75 + 4.0, 1.5 + 6.0]);
    Ok(())
}

#[test]
fn jvp_goes_through_cond_and_scan_as_grad_does() -> Result<()> {
    let f = |(c, xs): (Tensor, Tensor)| {
        let (last, ys) = scan(
            |c: Tensor, x: Tensor| {
                let big = c.sum()?.gt(2.0)?;
                let c = cond(&big, |(c, x): (Tensor, Tensor)| c.mul(&x), |(c, x)| c.add(&x.sin()?), (c, x))?;
                Ok((c.clone(), c.square()?))
            },
            c,
            xs,
        )?;
        Ok((last, ys))
    };
    let (c, xs) = (tensor([0.5, 0.75])?, tensor([[1.0, 2.0], [0.3, 0.7], [1.5, 0.1], [0.2, 0.9]])?);
    let (tc, txs) = (tensor([1.0, -2.0])?, tensor([[0.1, 0.2], [0.3, -0.4], [0.5, 0.6], [-0.7, 0.8]])?);
    let (u, us) = (tensor([0.3, 0.4])?, tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])?);
    let (_, (d, ds)) = jvp(f)((c.clone(), xs.clone()), (tc.clone(), txs.clone()))?;
    let (_, (gc, gxs)) = vjp(f)((c, xs), (u.clone(), us.clone()))?;
    let dot = |a: &Tensor, b: &Tensor| numbers(a).iter().zip(numbers(b)).map(|(a, b)| a * b).sum::<f64>();
    let (forward, reverse) = (dot(&u, &d) + dot(&us, &ds), dot(&gc, &tc) + dot(&gxs, &txs));
    assert!((forward - reverse).abs() <= 1e-12 * forward.abs(), "{forward} {reverse}");
    Ok(())
}

#[test]
fn hvp_through_a_scan_is_that_of_the_unrolled_function() -> Result<()> {
    let looped = |x: Tensor| {
        let xs = x.clone();
        scan(|c: Tensor, x: Tensor| Ok((c.mul(&x)?.sin()?, ())), ones(&[], F64)?, xs)?.0.sum()
    };
    let unrolled = |x: Tensor| {
        let mut c = ones(&[], F64)?;
        for i in 0..3 {
            c = c.mul(&x.select(0, i)?)?.sin()?;
        }
        c.sum()
    };
    let (x, v) = (tensor([0.9, 1.1, 0.7])?, tensor([1.0, -0.5, 2.0])?);
    let want = numbers(&hvp(unrolled)(x.clone(), v.clone())?);
    close(&hvp(looped)(x.clone(), v.clone())?, &want);
    // Reverse over forward.
    let along = |x: Tensor| Ok(jvp(looped)(x, v.clone())?.1);
    close(&grad(along)(x)?, &want);
    Ok(())
}

#[test]
fn half_floats_round_a_tangent_once() -> Result<()> {
    let x = tensor([1.0f32, 2.5])?.to(tensorc::dtype::F16)?;
    let (y, dy) = jvp(|x: Tensor| x.exp())(x.clone(), x.clone())?;
    assert_eq!((y.dtype(), dy.dtype()), (tensorc::dtype::F16, tensorc::dtype::F16));
    // y * x in f32, rounded to f16.
    let want = tensor([numbers(&y)[0] as f32, numbers(&y)[1] as f32 * 2.5])?.to(tensorc::dtype::F16)?;
    assert_eq!(numbers(&dy), numbers(&want));
    assert_eq!(tensor([1.0f32])?.dtype(), F32);
    Ok(())
}

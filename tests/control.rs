//! `cond`, `while_loop` and `scan` from Rust: inside and outside of `jit`, with captured tensors, nested, differentiated.

use tensorc::dtype::{F32, F64};
use tensorc::{
    Kind, Result, ScanOptions, Tensor, cond, grad, jit, scan, scan_with, tensor, value_and_grad, while_loop,
};

fn vec(t: &Tensor) -> Vec<f64> {
    t.scalars().unwrap().into_iter().map(|s| s.to_f64()).collect()
}

#[test]
fn a_branch_is_chosen_by_the_data() -> Result<()> {
    let f = |x: Tensor| cond(&x.sum()?.lt(0.0)?, |x: Tensor| x.exp(), |x| x.mul(2.0)?.add(1.0), x);
    let compiled = jit(f);
    for x in [tensor([1.0f32, 2.0])?, tensor([-1.0f32, -2.0])?] {
        assert_eq!(vec(&f(x.clone())?), vec(&compiled.call(x)?));
    }
    assert_eq!(compiled.compilations(), 1);
    assert_eq!(vec(&f(tensor([1.0f32, 2.0])?)?), [3.0, 5.0]);
    assert_eq!(vec(&f(tensor([-1.0f32, 0.0])?)?)[1], 1.0);
    Ok(())
}

#[test]
fn only_one_branch_runs() -> Result<()> {
    // The other one would divide by zero.
    let safe = |n: i64, d: i64| {
        let (n, d) = (Tensor::scalar(n)?, Tensor::scalar(d)?);
        let f = |(n, d): (Tensor, Tensor)| n.floor_divide(&d);
        cond(&d.ne(0)?, f, |(n, _): (Tensor, Tensor)| n.mul(-1), (n, d.clone()))?.item::<i64>()
    };
    assert_eq!((safe(7, 2)?, safe(7, 0)?), (3, -7));
    Ok(())
}

#[test]
fn what_a_function_captures_is_an_operand() -> Result<()> {
    let scale = tensor([2.0f32, 3.0])?;
    let f = |x: Tensor| {
        let twice = x.mul(2.0)?;
        let pick = x.sum()?.gt(0.0)?;
        // One captures a tensor of the program, the other one both and concrete memory.
        cond(&pick, |()| twice.add(1.0), |()| twice.mul(&scale), ())
    };
    let g = jit(f);
    assert_eq!(vec(&g.call(tensor([1.0f32, 2.0])?)?), [3.0, 5.0]);
    assert_eq!(vec(&g.call(tensor([-1.0f32, -2.0])?)?), [-4.0, -12.0]);
    assert_eq!(vec(&f(tensor([-1.0f32, -2.0])?)?), [-4.0, -12.0]);
    // Captured memory is read at each call.
    scale.fill_(1.0)?;
    assert_eq!(vec(&g.call(tensor([-1.0f32, -2.0])?)?), [-2.0, -4.0]);
    Ok(())
}

#[test]
fn newton_goes_on_until_it_is_there() -> Result<()> {
    // The square root of a: x - (x^2 - a) / (2 x).
    let root = |a: Tensor| {
        let far = |x: Tensor| x.mul(&x)?.sub(&a)?.abs()?.gt(1e-12);
        let step = |x: Tensor| x.sub(x.mul(&x)?.sub(&a)?.div(x.mul(2.0)?)?);
        while_loop(far, step, a.copy()?)
    };
    for a in [2.0f64, 9.0, 1e6] {
        let x = root(Tensor::scalar(a)?)?.item::<f64>()?;
        assert!((x - a.sqrt()).abs() < 1e-9, "{a}: {x}");
        assert_eq!(jit(root).call(Tensor::scalar(a)?)?.item::<f64>()?, x);
    }
    Ok(())
}

#[test]
fn a_loop_may_have_no_steps() -> Result<()> {
    let none = |x: Tensor| while_loop(|x: Tensor| x.gt(5.0), |x| x.sub(1.0), x);
    assert_eq!(vec(&none(Tensor::scalar(3.0f32)?)?), [3.0]);
    assert_eq!(vec(&none(Tensor::scalar(7.5f32)?)?), [4.5]);
    let xs = tensorc::zeros(&[0, 2], F32)?;
    let (c, ys) = scan(|c: Tensor, x: Tensor| Ok((c.add(&x)?, x.exp()?)), tensor([1.0f32, 2.0])?, xs)?;
    assert_eq!((vec(&c), ys.shape()), (vec![1.0, 2.0], &[0, 2][..]));
    Ok(())
}

#[test]
fn scans_stack_their_results() -> Result<()> {
    let f = |c: Tensor, x: Tensor| {
        let c = c.mul(0.5)?.add(&x)?;
        Ok((c.clone(), c))
    };
    let xs = tensor([[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]])?;
    let zero = tensorc::zeros(&[2], F32)?;
    let (last, all) = scan(f, zero.clone(), xs.clone())?;
    assert_eq!(vec(&all), [1.0, 2.0, 3.5, 5.0, 6.75, 8.5]);
    assert_eq!(vec(&last), [6.75, 8.5]);
    // In reverse, y at the place of its x.
    let reverse = ScanOptions { reverse: true, ..ScanOptions::default() };
    let (last, all) = scan_with(reverse, f, zero, xs.clone())?;
    assert_eq!(vec(&all), [3.75, 5.5, 5.5, 7.0, 5.0, 6.0]);
    assert_eq!(vec(&last), [3.75, 5.5]);
    // Along the last dimension.
    let columns = ScanOptions { dim: -1, ..ScanOptions::default() };
    let (last, all) = scan_with(columns, f, tensorc::zeros(&[3], F32)?, xs)?;
    assert_eq!((all.shape(), vec(&all)), (&[3, 2][..], vec![1.0, 2.5, 3.0, 5.5, 5.0, 8.5]));
    assert_eq!(vec(&last), [2.5, 5.5, 8.5]);
    // Without tensors to go along.
    let five = ScanOptions { length: Some(5), ..ScanOptions::default() };
    let (last, powers) = scan_with(five, |c: Tensor, ()| Ok((c.mul(2.0)?, c)), Tensor::scalar(1.0f32)?, ())?;
    assert_eq!((vec(&powers), vec(&last)), (vec![1.0, 2.0, 4.0, 8.0, 16.0], vec![32.0]));
    Ok(())
}

/// A recurrent net over `xs`, and the sum of the squares of its states.
fn rnn((w, u, xs): (Tensor, Tensor, Tensor)) -> Result<Tensor> {
    let step = |h: Tensor, x: Tensor| {
        let h = w.matmul(&h)?.add(u.matmul(&x)?)?.tanh()?;
        Ok((h.clone(), h))
    };
    let (_, hs) = scan(step, tensorc::zeros(&[2], F64)?, xs)?;
    hs.square()?.sum()
}

#[test]
fn gradients_flow_through_a_scan_to_what_it_captures() -> Result<()> {
    let w = tensor([[0.5f64, 0.1], [0.2, 0.3]])?;
    let u = tensor([[1.0f64, -1.0, 0.5], [0.3, 0.2, 0.1]])?;
    let xs = tensor([[0.1f64, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9], [1.0, 1.1, 1.2]])?;
    let (y, (dw, du, dx)) = value_and_grad(rnn)((w.clone(), u.clone(), xs.clone()))?;
    let both = jit(value_and_grad(rnn));
    let (z, (ew, eu, ex)) = both.call((w.clone(), u.clone(), xs.clone()))?;
    for (a, b) in [(&y, &z), (&dw, &ew), (&du, &eu), (&dx, &ex)] {
        assert_eq!(vec(a), vec(b));
    }
    // Written out step by step it is the same function.
    let unrolled = |(w, u, xs): (Tensor, Tensor, Tensor)| {
        let mut h = tensorc::zeros(&[2], F64)?;
        let mut sum = Tensor::scalar(0.0f64)?;
        for t in 0..4 {
            h = w.matmul(&h)?.add(u.matmul(xs.select(0, t)?)?)?.tanh()?;
            sum = sum.add(h.square()?.sum()?)?;
        }
        Ok(sum)
    };
    let (x, (fw, fu, fx)) = value_and_grad(unrolled)((w, u, xs))?;
    for (a, b) in [(&y, &x), (&dw, &fw), (&du, &fu), (&dx, &fx)] {
        assert!(vec(a).iter().zip(vec(b)).all(|(a, b)| (a - b).abs() < 1e-12), "{a} {b}");
    }
    Ok(())
}

#[test]
fn second_derivatives_flow_too() -> Result<()> {
    // y = x^8 by three squarings, if x is positive; else x^2.
    let eighth = |x: Tensor| {
        let three = ScanOptions { length: Some(3), ..ScanOptions::default() };
        Ok(scan_with(three, |c: Tensor, ()| Ok((c.mul(&c)?, ())), x, ())?.0)
    };
    let f = |x: Tensor| cond(&x.gt(0.0)?, eighth, |x: Tensor| x.square(), x);
    let d2 = grad(grad(f));
    for (x, want) in [(1.5f64, 56.0 * 1.5f64.powi(6)), (-3.0, 2.0)] {
        let got = d2(Tensor::scalar(x)?)?.item::<f64>()?;
        assert!((got - want).abs() < 1e-9 * want, "{x}: {got} {want}");
        assert_eq!(jit(&d2).call(Tensor::scalar(x)?)?.item::<f64>()?, got);
    }
    Ok(())
}

#[test]
fn bodies_nest() -> Result<()> {
    // Scans inside of a while loop, each with a cond in every step.
    let f = |(x, limit): (Tensor, Tensor)| {
        let sweep = |total: Tensor| {
            let step = |c: Tensor, x: Tensor| {
                let c = cond(&x.gt(0.0)?, |c: Tensor| c.add(&x), |c| c.sub(x.mul(&limit)?), c)?;
                Ok((c.clone(), c))
            };
            let (total, all) = scan(step, total, x.clone())?;
            total.add(all.amax()?)
        };
        while_loop(|t: Tensor| t.lt(&limit), sweep, limit.mul(0.0)?)
    };
    let reference = |x: &[f32], limit: f32| {
        let mut t = 0.0;
        while t < limit {
            let mut all = Vec::new();
            for x in x {
                t = if *x > 0.0 { t + x } else { t - x * limit };
                all.push(t);
            }
            t += all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        }
        t
    };
    let x = [1.0f32, -0.25, 0.5];
    for limit in [1.0f32, 10.0, 100.0] {
        let args = || Ok::<_, tensorc::Error>((tensor(x)?, Tensor::scalar(limit)?));
        let want = f64::from(reference(&x, limit));
        assert_eq!(vec(&f(args()?)?), [want]);
        assert_eq!(vec(&jit(f).call(args()?)?), [want]);
    }
    Ok(())
}

#[test]
fn locals_may_be_written_and_views_may_be_returned() -> Result<()> {
    let step = |c: Tensor, x: Tensor| {
        let own = c.copy()?;
        own.add_(&x)?;
        own.t()?.mul_(2.0)?;
        // A view of a local, a parameter as it is, and a value twice.
        Ok((own.clone(), (own.t()?, x, own)))
    };
    let xs = tensor([[[1.0f32, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, 0.0]]])?;
    let (last, (a, b, c)) = scan(step, tensorc::zeros(&[2, 2], F32)?, xs.clone())?;
    assert_eq!(vec(&c), [2.0, 4.0, 6.0, 8.0, 4.0, 10.0, 12.0, 16.0]);
    assert_eq!(vec(&a), [2.0, 6.0, 4.0, 8.0, 4.0, 12.0, 10.0, 16.0]);
    assert_eq!((vec(&b), vec(&last)), (vec(&xs), vec![4.0, 10.0, 12.0, 16.0]));
    assert!(!b.shares_storage(&xs));
    // Nothing of a function runs while it is traced, on whatever tensors it works.
    let (shift, yes) = (tensor([1.0f32, 2.0])?, Tensor::scalar(true)?);
    let made = |()| {
        let own = tensorc::zeros(&[2], F32)?;
        own.add_(&shift)?;
        own.mul_(&shift)
    };
    let f = jit(|yes: Tensor| cond(&yes, made, |()| shift.mul(-1.0), ()));
    assert_eq!(vec(&f.call(yes.clone())?), [1.0, 4.0]);
    shift.fill_(3.0)?;
    assert_eq!(vec(&f.call(yes)?), [9.0, 9.0]);
    assert_eq!(vec(&f.call(Tensor::scalar(false)?)?), [-3.0, -3.0]);
    // Nor does a compiled function that it calls.
    let bump = jit(|x: Tensor| x.add_(1.0));
    let e = cond(&Tensor::scalar(false)?, |()| bump.call(shift.clone()), |()| shift.mul(1.0), ());
    fails(e, Kind::Alias, "a write to a tensor from outside");
    assert_eq!(vec(&shift), [3.0, 3.0]);
    Ok(())
}

#[track_caller]
fn fails<T>(r: Result<T>, kind: Kind, part: &str) {
    let e = r.err().expect("an error");
    assert!(e.kind() == kind && e.to_string().contains(part), "{e}");
    assert!(e.to_string().contains("tests/control.rs"), "no place: {e}");
}

#[test]
fn errors_say_what_is_wrong() -> Result<()> {
    let x = tensor([1.0f32, 2.0])?;
    let yes = x.sum()?.gt(0.0)?;
    let f = |x: Tensor| x.exp();
    fails(cond(&x, f, f, x.clone()), Kind::Type, "the predicate is a bool tensor of one element, found f32[2]");
    let e = cond(&yes, f, |x: Tensor| x.sum(), x.clone());
    fails(e, Kind::Type, "`true_fn` gives f32[2], `false_fn` gives f32; both branches give the same types");
    let e = cond(&yes, |x: Tensor| Ok(vec![x]), |x: Tensor| Ok(vec![x.clone(), x]), x.clone());
    fails(e, Kind::Type, "trees of different structure");
    let e = while_loop(|x: Tensor| x.sum()?.lt(5.0), |x: Tensor| x.to(F64), x.clone());
    fails(e, Kind::Type, "`body_fn` gives f64[2], expected the types of what it takes, f32[2]");
    let e = while_loop(|x: Tensor| x.lt(5.0), f, x.clone());
    fails(e, Kind::Type, "the result of `cond_fn` is a bool tensor of one element, found bool[2]");
    let e = scan(|c: Tensor, x: Tensor| Ok((c.add(&x)?, ())), x.clone(), tensorc::zeros(&[3, 4, 2], F32)?);
    fails(e, Kind::Type, "`combine_fn` carries f32[4, 2] on, expected the types that it began with, f32[2]");
    let pair = (x.clone(), tensorc::zeros(&[3], F32)?);
    let e = scan(|c: Tensor, (x, _): (Tensor, Tensor)| Ok((c.add(&x)?, ())), Tensor::scalar(0.0f32)?, pair);
    fails(e, Kind::Shape, "has no 2 slices");
    // Writes to what comes from outside, be it an argument, captured, or of the program around.
    let e = cond(&yes, |x: Tensor| x.add_(1.0), Ok, x.clone());
    fails(e, Kind::Alias, "a write to a tensor from outside");
    let e = cond(&yes, |y: Tensor| x.add_(&y), Ok, x.clone());
    fails(e, Kind::Alias, "a write to a tensor from outside");
    let e = cond(&yes, |()| x.add_(1.0), |()| x.copy(), ());
    fails(e, Kind::Alias, "a write to a tensor from outside");
    let g = jit(|x: Tensor| {
        let y = x.mul(2.0)?;
        while_loop(|c: Tensor| c.sum()?.lt(5.0), |c| c.add(y.add_(1.0)?), x)
    });
    fails(g.call(x.clone()), Kind::Alias, "a write to a tensor from outside");
    // No gradient.
    let g = grad(|x: Tensor| while_loop(|x: Tensor| x.sum()?.lt(50.0), |x| x.mul(2.0), x)?.sum());
    fails(g(x.clone()), Kind::Grad, "`while_loop` has no gradient");
    // A check in a body.
    let table = tensor([1.0f32, 2.0, 3.0])?;
    let look = |c: Tensor, i: Tensor| Ok((c.add(table.gather(0, &i.reshape([1])?)?)?, ()));
    let at = |i: [i64; 3]| scan(look, tensorc::zeros(&[1], F32)?, tensor(i)?);
    assert_eq!(vec(&at([0, 2, 1])?.0), [6.0]);
    assert_eq!(at([0, 3, 1]).err().map(|e| e.kind()), Some(Kind::Data));
    Ok(())
}

#[test]
fn a_failed_call_changes_nothing() -> Result<()> {
    let f = jit(|(x, i): (Tensor, Tensor)| {
        let (sum, _) = scan(|c: Tensor, i: Tensor| Ok((c.add(x.gather(0, &i)?)?, ())), tensorc::zeros(&[1], F32)?, i)?;
        x.add_(sum)?;
        Ok(())
    });
    let x = tensor([1.0f32, 2.0])?;
    let e = f.call((x.clone(), tensor([[0i64], [5]])?)).unwrap_err();
    assert_eq!((e.kind(), vec(&x)), (Kind::Data, vec![1.0, 2.0]));
    f.call((x.clone(), tensor([[0i64], [1]])?))?;
    assert_eq!(vec(&x), [4.0, 5.0]);
    Ok(())
}

#[test]
fn half_floats_and_gradients_inside_of_bodies() -> Result<()> {
    // Gradient descent on (c - x)^2 inside of a scan.
    let step = |c: Tensor, x: Tensor| {
        let slope = grad(|c: Tensor| c.sub(&x)?.square()?.sum())(c.clone())?;
        let c = c.sub(slope.mul(0.25)?)?;
        Ok((c.clone(), c))
    };
    let f = |xs: Tensor| scan(step, tensorc::zeros(&[2], tensorc::dtype::BF16)?, xs);
    let xs = tensor([[1.0f32, 2.0], [3.0, 4.0]])?.to(tensorc::dtype::BF16)?;
    let (_, all) = f(xs.clone())?;
    assert_eq!(vec(&all), [0.5, 1.0, 1.75, 2.5]);
    assert_eq!(vec(&jit(f).call(xs)?.1), vec(&all));
    Ok(())
}

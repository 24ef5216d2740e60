//! `vmap`, `jacobian` and `hessian` from Rust, against loops and formulas.

mod near;

use near::{close, numbers};
use tensorc::dtype::I64;
use tensorc::{
    Argument, Kind, Result, Tensor, VmapOptions, cond, grad, hessian, hvp, jacfwd, jacobian, jacrev, jit, scan, tensor,
    vmap, vmap_with, while_loop, zeros,
};

/// The function for each element, one after the other, stacked.
fn looped(f: impl Fn(Tensor) -> Result<Tensor>, xs: &Tensor) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for i in 0..xs.shape()[0] {
        all.extend(numbers(&f(xs.select(0, i as i64)?.copy()?)?));
    }
    Ok(all)
}

#[test]
fn vmap_goes_along_all_tensors_of_a_tree() -> Result<()> {
    let f = |(x, ys): (Tensor, Vec<Tensor>)| Ok((x.mul(&ys[0])?.sum()?, ys[1].clone()));
    let x = tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])?;
    let (dots, same) = vmap(f)((x.clone(), vec![x.clone(), tensor([1i64, 2, 3])?]))?;
    assert_eq!((dots.shape(), numbers(&dots)), (&[3][..], vec![5.0, 25.0, 61.0]));
    assert_eq!((same.dtype(), numbers(&same)), (I64, vec![1.0, 2.0, 3.0]));
    // What does not depend on the element is repeated.
    let constant = vmap(|_: Tensor| tensor([7.0, 8.0]))(x.clone())?;
    assert_eq!((constant.shape(), numbers(&constant)), (&[3, 2][..], [7.0, 8.0].repeat(3)));
    let e = vmap(f)((x.clone(), vec![x, tensor([1i64, 2])?])).unwrap_err();
    assert_eq!(e.kind(), Kind::Shape);
    let e = vmap(|x: Tensor| x.exp())(tensor(1.0)?).unwrap_err();
    assert!(e.to_string().contains("`vmap`: a tensor without dimensions has none to go along"), "{e}");
    Ok(())
}

#[test]
fn vmap_goes_along_other_dimensions() -> Result<()> {
    let dims = VmapOptions { in_dims: Some(vec![Some(-1), None]), out_dim: 1 };
    let f = vmap_with(dims, |(x, w): (Tensor, Tensor)| x.mul(&w));
    let y = f((tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])?, tensor([10.0, 100.0])?))?;
    assert_eq!((y.shape(), numbers(&y)), (&[2, 3][..], vec![10.0, 20.0, 30.0, 400.0, 500.0, 600.0]));
    let few = VmapOptions { in_dims: Some(vec![None]), out_dim: 0 };
    let e = vmap_with(few.clone(), |(x, _): (Tensor, Tensor)| Ok(x))((tensor([1.0])?, tensor([1.0])?)).unwrap_err();
    assert!(e.to_string().contains("1 `in_dims` for an argument of 2 tensors"), "{e}");
    let e = vmap_with(few, |x: Tensor| Ok(x))(tensor([1.0])?).unwrap_err();
    assert!(e.to_string().contains("`vmap` goes along no tensor"), "{e}");
    Ok(())
}

#[test]
fn vmap_nests_and_lies_inside_of_jit() -> Result<()> {
    let (a, b) = (tensor([[1.0, 2.0], [3.0, 4.0]])?, tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])?);
    // All pairs of rows.
    let pairs = |(a, b): (Tensor, Tensor)| vmap(|x: Tensor| vmap(|y: Tensor| x.mul(&y)?.sum())(b.clone()))(a);
    let want = [1.0, 3.0, 4.0, 3.0, 7.0, 8.0];
    assert_eq!(numbers(&pairs((a.clone(), b.clone()))?), want);
    let compiled = jit(pairs);
    assert_eq!(numbers(&compiled.call((a, b))?), want);
    Ok(())
}

#[test]
fn gradients_of_each_example_are_those_of_one_after_the_other() -> Result<()> {
    let (w, b) = (tensor([[0.1, -0.2], [0.3, 0.4]])?, tensor([0.5, -0.5])?);
    let (x, y) = (tensor([[1.0, 2.0], [-3.0, 0.5], [0.2, 0.7]])?, tensor([0i64, 1, 1])?);
    let loss = |w: Tensor, b: Tensor, x: Tensor, y: Tensor| {
        let logits = x.unsqueeze(0)?.matmul(&w)?.add(&b)?;
        logits.log_softmax(1)?.gather(1, &y.reshape([1, 1])?)?.mul(-1.0)?.sum()
    };
    let one = |(x, y): (Tensor, Tensor)| {
        grad(|(w, b): (Tensor, Tensor)| loss(w, b, x.clone(), y.clone()))((w.clone(), b.clone()))
    };
    let (dw, db) = vmap(one)((x.clone(), y.clone()))?;
    let (mut all_w, mut all_b) = (Vec::new(), Vec::new());
    for i in 0..3 {
        let (dw, db) = one((x.select(0, i)?.copy()?, y.select(0, i)?.copy()?))?;
        all_w.extend(numbers(&dw));
        all_b.extend(numbers(&db));
    }
    assert_eq!((dw.shape(), numbers(&dw)), (&[3, 2, 2][..], all_w));
    assert_eq!((db.shape(), numbers(&db)), (&[3, 2][..], all_b));
    // The gradient of a sum over elements, the other way around.
    let total = |w: Tensor| {
        let each = vmap(|(x, y): (Tensor, Tensor)| loss(w.clone(), b.clone(), x, y));
        each((x.clone(), y.clone()))?.sum()
    };
    let sum = dw.sum_dim(0, false);
    close(&grad(total)(w.clone())?, &numbers(&sum?));
    Ok(())
}

#[test]
fn elements_decide_differently() -> Result<()> {
    let xs = tensor([[1.0, 2.0], [-1.0, 0.5], [0.0, 3.0], [-4.0, 1.0]])?;
    let branch = |x: Tensor| cond(&x.sum()?.gt(0.0)?, |x: Tensor| x.exp(), |x| x.mul(2.0), x);
    assert_eq!(numbers(&vmap(branch)(xs.clone())?), looped(branch, &xs)?);
    // Each element takes its own number of steps.
    let doubled = |x: Tensor| {
        let (x, n) = while_loop(
            |(x, _): (Tensor, Tensor)| x.abs()?.sum()?.lt(100.0),
            |(x, n): (Tensor, Tensor)| Ok((x.mul(2.0)?.add(0.25)?, n.add(1)?)),
            (x, zeros(&[], I64)?),
        )?;
        x.mul(&n)
    };
    assert_eq!(numbers(&vmap(doubled)(xs.clone())?), looped(doubled, &xs)?);
    // A loop in a branch in a scan.
    let nested = |x: Tensor| {
        let start = tensor(1.0)?;
        let step = |c: Tensor, x: Tensor| {
            let far = |c: Tensor| c.abs()?.lt(50.0);
            let yes = |(c, x): (Tensor, Tensor)| while_loop(far, |c: Tensor| c.mul(3.0), c.add(&x)?.add(1.0)?);
            let c = cond(&x.gt(0.75)?, yes, |(c, x): (Tensor, Tensor)| c.mul(&x), (c, x))?;
            Ok((c.clone(), c))
        };
        let (last, all) = scan(step, start, x)?;
        all.add(&last)
    };
    assert_eq!(numbers(&vmap(nested)(xs.clone())?), looped(nested, &xs)?);
    assert_eq!(numbers(&jit(move |x: Tensor| vmap(nested)(x)).call(xs.clone())?), looped(nested, &xs)?);
    Ok(())
}

#[test]
fn nothing_fails_for_elements_that_a_branch_is_not_for() -> Result<()> {
    // 12 / n, but not of 0; element n of three, but only where there is one.
    let (numbers_of, table) = (tensor([3i64, 0, 4, -2])?, tensor([10.0, 20.0, 30.0])?);
    let safe = |n: Tensor| {
        let twelve = tensor(12i64)?;
        cond(&n.ne(0)?, |n: Tensor| twelve.floor_divide(&n), |n| n.sub(1), n)
    };
    assert_eq!(numbers(&vmap(safe)(numbers_of.clone())?), [4.0, -1.0, 3.0, -6.0]);
    let pick = |n: Tensor| {
        let inside = n.abs()?.lt(3)?;
        cond(&inside, |n: Tensor| table.index_select(0, &n.abs()?.reshape([1])?), |_| tensor([-1.0]), n)
    };
    assert_eq!(numbers(&vmap(pick)(numbers_of.clone())?), [-1.0, 10.0, -1.0, 30.0]);
    // Where it is asked for, it does fail.
    let unsafe_one = |n: Tensor| tensor(12i64)?.floor_divide(&n);
    assert_eq!(vmap(unsafe_one)(numbers_of).unwrap_err().kind(), Kind::Data);
    Ok(())
}

#[test]
fn a_jacobian_is_the_formulas() -> Result<()> {
    // Polar coordinates.
    let f = |x: Tensor| {
        let (r, t) = (x.select(0, 0)?, x.select(0, 1)?);
        let both = [r.mul(t.cos()?)?, r.mul(t.sin()?)?].iter().map(Argument::from).collect();
        Ok(tensorc::call("stack", &[(None, Argument::List(both))])?.remove(0))
    };
    let (r, t) = (2.0, 0.7f64);
    let want = [t.cos(), -r * t.sin(), t.sin(), r * t.cos()];
    let x = tensor([r, t])?;
    close(&jacobian(f)(x.clone())?, &want);
    close(&jacrev(f)(x.clone())?, &want);
    close(&jacfwd(f)(x.clone())?, &want);
    close(&jit(move |x: Tensor| jacfwd(f)(x)).call(x)?, &want);
    Ok(())
}

#[test]
fn a_jacobian_has_the_shapes_of_result_and_argument() -> Result<()> {
    let x = tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])?;
    let f = |x: Tensor| x.matmul(x.transpose(0, 1)?);
    let (rev, fwd) = (jacrev(f)(x.clone())?, jacfwd(f)(x)?);
    assert_eq!((rev.shape(), fwd.shape()), (&[2, 2, 2, 3][..], &[2, 2, 2, 3][..]));
    close(&rev, &numbers(&fwd));
    // Of scalars.
    let d = jacobian(|x: Tensor| x.exp())(tensor(0.0)?)?;
    assert_eq!((d.shape(), numbers(&d)), (&[][..], vec![1.0]));
    Ok(())
}

#[test]
fn a_hessian_is_the_formulas() -> Result<()> {
    // Rosenbrock's function.
    let f = |x: Tensor| {
        let (a, b) = (x.narrow(0, 0, 2)?, x.narrow(0, 1, 2)?);
        b.sub(a.square()?)?.square()?.mul(100.0)?.add(a.sub(1.0)?.square()?)?.sum()
    };
    let p = [1.5, -0.5, 2.0];
    let at = |i: usize| 1200.0 * p[i] * p[i] - 400.0 * p[i + 1] + 2.0;
    let want = [at(0), -400.0 * p[0], 0.0, -400.0 * p[0], 200.0 + at(1), -400.0 * p[1], 0.0, -400.0 * p[1], 200.0];
    let x = tensor(p)?;
    let h = hessian(f)(x.clone())?;
    close(&h, &want);
    close(&jacobian(grad(f))(x.clone())?, &want);
    let v = tensor([1.0, 2.0, -1.0])?;
    close(&hvp(f)(x.clone(), v.clone())?, &numbers(&h.matmul(&v)?));
    close(&jit(move |x: Tensor| hessian(f)(x)).call(x)?, &want);
    Ok(())
}

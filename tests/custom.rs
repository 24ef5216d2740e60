//! Functions with a derivative of their own: `custom_vjp`, `checkpoint`, `stop_gradient`.

#[allow(dead_code)]
mod near;

use near::numbers;
use tensorc::dtype::F64;
use tensorc::program::{Mode, Program};
use tensorc::{
    Kind, Result, Tensor, checkpoint, cond, custom_vjp, grad, hvp, jit, jvp, ones, scan, stop_gradient, tensor,
    value_and_grad, vjp, vmap,
};

/// x² with a derivative that says 5 x instead of 2 x, so that it can be told apart.
fn odd(x: Tensor) -> Result<Tensor> {
    custom_vjp(|x: Tensor| x.square(), |x: Tensor, _, dy: Tensor| x.mul(5.0)?.mul(&dy))(x)
}

#[test]
fn a_given_derivative_takes_the_place_of_the_functions() -> Result<()> {
    let x = tensor([1.0, -2.0])?;
    assert_eq!(numbers(&odd(x.clone())?), [1.0, 4.0]);
    let loss = |x: Tensor| odd(x)?.mul(3.0)?.sum();
    let (value, dx) = value_and_grad(loss)(x.clone())?;
    assert_eq!((numbers(&value), numbers(&dx)), (vec![15.0], vec![15.0, -30.0]));
    let compiled = jit(move |x: Tensor| grad(loss)(x));
    assert_eq!(numbers(&compiled.call(x.clone())?), [15.0, -30.0]);
    // Second order: what `backward` computes is differentiated.
    let slope = |x: Tensor| grad(loss)(x)?.sum();
    assert_eq!(numbers(&grad(slope)(x.clone())?), [15.0, 15.0]);
    assert_eq!(numbers(&hvp(loss)(x.clone(), tensor([1.0, 10.0])?)?), [15.0, 150.0]);
    // Forward mode is its transpose.
    let (y, dy) = jvp(odd)(x, tensor([1.0, 1.0])?)?;
    assert_eq!((numbers(&y), numbers(&dy)), (vec![1.0, 4.0], vec![5.0, -10.0]));
    Ok(())
}

#[test]
fn a_given_derivative_holds_inside_of_vmap_cond_and_scan() -> Result<()> {
    let xs = tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])?;
    let loss = |x: Tensor| odd(x)?.sum();
    let each = vmap(grad(loss))(xs.clone())?;
    assert_eq!(numbers(&each), [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
    // Outside of it: an operand that all elements share gets the sum.
    let scaled = custom_vjp(
        |(x, w): (Tensor, Tensor)| x.mul(&w),
        |(x, w): (Tensor, Tensor), _, dy: Tensor| Ok((dy.mul(&w)?, x.mul(&dy)?.mul(10.0)?)),
    );
    let all = |w: Tensor| vmap(|x: Tensor| scaled((x, w.clone())))(xs.clone())?.sum();
    assert_eq!(numbers(&grad(all)(ones(&[2], F64)?)?), [90.0, 120.0]);
    let looped = |x: Tensor| Ok(scan(|c: Tensor, x: Tensor| Ok((c.add(odd(x)?.sum()?)?, ())), tensor(0.0)?, x)?.0);
    assert_eq!(numbers(&grad(looped)(xs.clone())?), [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
    let chosen = |x: Tensor| cond(&x.sum()?.gt(0.0)?, odd, |x: Tensor| x.exp(), x)?.sum();
    assert_eq!(numbers(&grad(chosen)(tensor([1.0, 2.0])?)?), [5.0, 10.0]);
    Ok(())
}

#[test]
fn a_given_derivative_is_of_trees_and_skips_integers() -> Result<()> {
    let pick = custom_vjp(
        |(x, i): (Tensor, Tensor)| Ok((x.index_select(0, &i)?, i.add(1)?)),
        |(x, i): (Tensor, Tensor), (y, _): (Tensor, Tensor), (dy, di): (Tensor, Tensor)| {
            assert_eq!(di.dtype(), i.dtype());
            Ok((x.mul(dy.sum()?)?.add(y.sum()?)?, i))
        },
    );
    let i = tensor([1i64])?;
    let loss = |x: Tensor| pick((x, i.clone()))?.0.sum();
    assert_eq!(numbers(&grad(loss)(tensor([2.0, 3.0])?)?), [5.0, 6.0]);
    Ok(())
}

#[test]
fn wrong_derivatives_are_refused() -> Result<()> {
    let x = || tensor([1.0, 2.0]);
    let shape = custom_vjp(|x: Tensor| x.sin(), |_, _, dy: Tensor| dy.sum());
    assert_eq!(shape(x()?).unwrap_err().kind(), Kind::Type);
    let structure = custom_vjp(|x: Vec<Tensor>| x[0].sin(), |_, _, _: Tensor| Ok(vec![]));
    let e = structure(vec![x()?]).unwrap_err();
    assert!(e.to_string().contains("`backward` gives a tree of another structure than the argument"), "{e}");
    let captured = |w: Tensor| custom_vjp(move |x: Tensor| x.mul(&w), |_, _, dy: Tensor| Ok(dy));
    let e = grad(|w: Tensor| captured(w)(x()?)?.sum())(x()?).unwrap_err();
    assert_eq!(e.kind(), Kind::Grad);
    assert!(e.to_string().contains("captures"), "{e}");
    Ok(())
}

#[test]
fn a_checkpoint_has_the_bits_of_the_function() -> Result<()> {
    let w = tensor([0.3, -0.7])?;
    let f = |x: Tensor| x.mul(&w)?.sin()?.exp()?.tanh();
    let kept = checkpoint(f);
    let x = tensor([0.5, 1.5])?;
    let loss = |x: Tensor| f(f(x)?)?.sum();
    let again = |x: Tensor| kept(kept(x)?)?.sum();
    assert_eq!(numbers(&kept(x.clone())?), numbers(&f(x.clone())?));
    assert_eq!(numbers(&grad(again)(x.clone())?), numbers(&grad(loss)(x.clone())?));
    let compiled = jit(move |x: Tensor| grad(again)(x));
    assert_eq!(numbers(&compiled.call(x.clone())?), numbers(&grad(loss)(x.clone())?));
    let v = tensor([1.0, -1.0])?;
    let (a, b) = (hvp(again)(x.clone(), v.clone())?, hvp(loss)(x.clone(), v.clone())?);
    numbers(&a).iter().zip(numbers(&b)).for_each(|(a, b)| assert!((a - b).abs() < 1e-14, "{a} {b}"));
    assert_eq!(numbers(&jvp(again)(x.clone(), v.clone())?.1), numbers(&jvp(loss)(x.clone(), v)?.1));
    // Of what it captures, too; and for many elements.
    let by_w = |w: Tensor| checkpoint(|x: Tensor| x.mul(&w)?.sin())(x.clone())?.sum();
    assert_eq!(numbers(&grad(by_w)(w.clone())?), numbers(&grad(|w: Tensor| x.mul(&w)?.sin()?.sum())(w.clone())?));
    let xs = tensor([[0.5, 1.5], [1.0, 2.0]])?;
    assert_eq!(numbers(&vmap(grad(again))(xs.clone())?), numbers(&vmap(grad(loss))(xs)?));
    let (_, dx) = vjp(checkpoint(|(x, y): (Tensor, Tensor)| Ok((x.mul(&y)?, x.exp()?))))(
        (tensor(2.0)?, tensor(3.0)?),
        (tensor(1.0)?, tensor(0.0)?),
    )?;
    assert_eq!((numbers(&dx.0), numbers(&dx.1)), (vec![3.0], vec![2.0]));
    Ok(())
}

#[test]
fn no_derivative_flows_through_stop_gradient() -> Result<()> {
    let loss = |x: Tensor| x.mul(stop_gradient(x.clone())?)?.sum();
    assert_eq!(numbers(&grad(loss)(tensor([2.0, 3.0])?)?), [2.0, 3.0]);
    let (_, d) = jvp(loss)(tensor([2.0, 3.0])?, tensor([1.0, 1.0])?)?;
    assert_eq!(numbers(&d), [5.0]);
    let p = Program::parse("p", "fn f(x: f64[2]) { grad(sum(x * stop_gradient(x) + x * x.detach()), x) }").unwrap();
    let d = p.run(None, &[tensor([2.0, 3.0])?], Mode::Fused).unwrap();
    assert_eq!(numbers(&d[0]), [4.0, 6.0]);
    Ok(())
}

/// The bytes of temporary values that `tensorc explain` says a function of a file needs.
fn temporary_bytes(text: &str) -> u64 {
    let path = std::env::temp_dir().join(format!("tensorc-checkpoint-{}-{}.tc", std::process::id(), text.len()));
    std::fs::write(&path, text).unwrap();
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_tensorc"))
        .args(["explain", path.to_str().unwrap(), "--fn", "main"])
        .output()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let line = text.lines().find(|l| l.contains("temporary values in")).unwrap_or_else(|| panic!("{text}"));
    line.split_whitespace().rev().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_checkpoint_keeps_fewer_bytes() {
    // Eight layers of six products each, and the gradient of all of them.
    let program = |call: &dyn Fn(&str) -> String| {
        let mut text = String::from("fn layer(x: f32[64, 64], w: f32[64, 64]) -> f32[64, 64] {\n    let h = x;\n");
        text += &"    let h = tanh(h @ w);\n".repeat(6);
        text += "    h\n}\nfn main(x: f32[64, 64], w: f32[64, 64]) -> f32[64, 64] {\n    let y = x;\n";
        for _ in 0..8 {
            text += &format!("    let y = {};\n", call("y"));
        }
        text + "    grad(sum(y * y), x)\n}\n"
    };
    let kept = temporary_bytes(&program(&|y| format!("layer({y}, w)")));
    let again = temporary_bytes(&program(&|y| format!("checkpoint(layer, ({y}, w))")));
    // 48 values against 8 borders and the 6 of the layer at hand, beside what the products need at a time.
    assert!(again * 2 < kept, "{again} bytes with checkpoints, {kept} without");
}

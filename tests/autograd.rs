//! PyTorch's autograd on eager tensors: leaves, `.grad`, `backward`, what is kept and what is refused.

use tensorc::autograd::{Backward, grad};
use tensorc::dtype::{F32, F64, I64};
use tensorc::{Error, Kind, Result, Tensor, enable_grad, no_grad, tensor};

fn leaf(values: &[f32]) -> Result<Tensor> {
    tensor(values)?.requires_grad_(true)
}

fn f32s(t: &Tensor) -> Result<Vec<f32>> {
    t.to_vec::<f32>()
}

fn grad_of(t: &Tensor) -> Result<Vec<f32>> {
    f32s(&t.grad().expect("a gradient"))
}

fn message(r: Result<impl Sized>) -> Error {
    r.err().expect("an error")
}

#[test]
fn backward_adds_to_the_gradients_of_leaves() -> Result<()> {
    let x = leaf(&[1.0, 2.0, 3.0])?;
    let w = leaf(&[4.0, 5.0, 6.0])?;
    assert!(x.grad().is_none() && x.is_leaf() && x.requires_grad());
    let y = (&x * &w)?.add(&x)?.sum()?;
    assert!(!y.is_leaf() && y.requires_grad());
    y.backward()?;
    assert_eq!(grad_of(&x)?, [5.0, 6.0, 7.0]);
    assert_eq!(grad_of(&w)?, [1.0, 2.0, 3.0]);
    // Another pass adds, also to what was taken before.
    let held = x.grad().unwrap();
    x.sum()?.backward()?;
    assert_eq!(f32s(&held)?, [6.0, 7.0, 8.0]);
    x.set_grad(None)?;
    assert!(x.grad().is_none());
    Ok(())
}

#[test]
fn it_prints_as_pytorch_does() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    assert_eq!(x.to_string(), "tensor([1., 2.], requires_grad=True)");
    assert_eq!(x.add(1.0)?.to_string(), "tensor([2., 3.], grad_fn=<AddBackward0>)");
    assert_eq!(x.to(F64)?.to_string(), "tensor([1., 2.], dtype=tensorc.f64, grad_fn=<ToCopyBackward0>)");
    assert_eq!(x.i(0)?.grad_fn().as_deref(), Some("SelectBackward0"));
    assert_eq!(x.i(1..)?.grad_fn().as_deref(), Some("SliceBackward0"));
    assert_eq!(x.detach()?.to_string(), "tensor([1., 2.])");
    assert_eq!(x.grad_fn(), None);
    Ok(())
}

#[test]
fn a_cotangent_may_be_given() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    let y = x.square()?;
    let e = message(y.backward());
    assert_eq!(e.kind(), Kind::Grad);
    assert!(e.to_string().contains("grad can be implicitly created only for scalar outputs"), "{e}");
    y.backward_with(Backward { gradients: vec![tensor([1.0f32, 10.0])?], ..Backward::default() })?;
    assert_eq!(grad_of(&x)?, [2.0, 40.0]);
    let y = x.square()?;
    let e = message(y.backward_with(Backward { gradients: vec![tensor([1.0f32])?], ..Backward::default() }));
    assert!(e.to_string().contains("Mismatch in shape: grad_output[0] has a shape of [1]"), "{e}");
    Ok(())
}

#[test]
fn what_was_kept_is_given_back() -> Result<()> {
    let x = leaf(&[3.0])?;
    let y = x.exp()?;
    y.backward()?;
    let e = message(y.backward());
    assert!(e.to_string().contains("Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after calling backward."), "{e}");
    // A sum keeps nothing, so there is nothing to give back.
    let y = x.add(&x)?;
    y.backward()?;
    y.backward()?;
    let y = x.exp()?;
    y.backward_with(Backward { retain_graph: Some(true), ..Backward::default() })?;
    y.backward()?;
    Ok(())
}

#[test]
fn a_write_to_a_kept_value_names_three_lines() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    let y = x.exp()?;
    let needed = line!() - 1;
    y.mul_(2.0)?;
    let written = line!() - 1;
    let e = message(y.sum()?.backward());
    let asked = line!() - 1;
    let text = e.to_string();
    assert!(
        text.contains(
            "one of the variables needed for gradient computation has been modified by an inplace operation: \
             [tensorc.FloatTensor [2]], which is output 0 of ExpBackward0, is at version 1; expected version 0 instead."
        ),
        "{text}"
    );
    for line in [needed, written, asked] {
        assert!(text.contains(&format!("autograd.rs:{line}:")), "line {line} in {text}");
    }
    assert!(x.grad().is_none());
    Ok(())
}

#[test]
fn a_write_to_what_no_derivative_reads_is_fine() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    let c = tensor([3.0f32, 4.0])?;
    let y = x.add(&c)?;
    c.mul_(2.0)?;
    y.add_(1.0)?;
    y.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [1.0, 1.0]);
    // `mul` reads the other factor, and only if its own has a gradient.
    let y = x.mul(&c)?;
    let z = y.mul(2.0)?;
    y.zero_()?;
    z.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [13.0, 17.0]);
    let y = x.mul(&c)?;
    c.add_(1.0)?;
    assert!(message(y.sum()?.backward()).to_string().contains("is at version 2; expected version 1"));
    Ok(())
}

#[test]
fn leaves_may_be_written_under_no_grad_only() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    let e = message(x.add_(1.0));
    assert!(
        e.to_string().contains("a leaf Variable that requires grad is being used in an in-place operation."),
        "{e}"
    );
    let e = message(x.i(0)?.add_(1.0));
    assert!(e.to_string().contains("a view of a leaf Variable that requires grad"), "{e}");
    no_grad(|| x.add_(1.0))?;
    assert_eq!(f32s(&x)?, [2.0, 3.0]);
    assert!(x.is_leaf() && x.requires_grad());
    assert!(!no_grad(|| x.mul(2.0))?.requires_grad());
    assert!(no_grad(|| enable_grad(|| x.mul(2.0)))?.requires_grad());
    Ok(())
}

#[test]
fn writes_are_a_part_of_history() -> Result<()> {
    let x = leaf(&[1.0, 2.0, 3.0])?;
    let y = x.mul(2.0)?;
    y.i(1)?.mul_(10.0)?;
    assert_eq!(y.grad_fn().as_deref(), Some("CopySlices"));
    y.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [2.0, 20.0, 2.0]);
    // Into a tensor that required none.
    let buffer = tensorc::zeros(&[2, 3], F32)?;
    let row = buffer.i(1)?;
    buffer.set(1, &x.square()?)?;
    assert!(buffer.requires_grad() && row.requires_grad());
    x.set_grad(None)?;
    row.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [2.0, 4.0, 6.0]);
    Ok(())
}

#[test]
fn an_element_may_be_overwritten_by_a_function_of_itself() -> Result<()> {
    // pytorch#55980: `x[i] = x[i] * y` fails there while `x[i] *= y` works.
    let w = leaf(&[1.0, 2.0, 3.0])?;
    let x = w.mul(1.0)?;
    let y = leaf(&[5.0])?;
    x.i(0..1)?.mul_(&y)?;
    x.sum()?.backward()?;
    assert_eq!(grad_of(&w)?, [5.0, 1.0, 1.0]);
    assert_eq!(grad_of(&y)?, [1.0]);
    // Here the product reads memory that is then written, as there.
    let x = w.mul(1.0)?;
    x.set(0..1, x.i(0..1)?.mul(&y)?)?;
    assert!(message(x.sum()?.backward()).to_string().contains("modified by an inplace operation"));
    // In a traced function every version is at hand.
    let both = tensorc::grad(|(w, y): (Tensor, Tensor)| {
        let x = w.mul(1.0)?;
        x.set(0..1, x.i(0..1)?.mul(&y)?)?;
        x.sum()
    });
    let (dw, dy) = both((w, y))?;
    assert_eq!((f32s(&dw)?, f32s(&dy)?), (vec![5.0, 1.0, 1.0], vec![1.0]));
    Ok(())
}

#[test]
fn overwriting_all_of_a_tensor_ends_its_history() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    let y = x.exp()?;
    y.copy_(&x)?;
    assert_eq!(y.grad_fn().as_deref(), Some("CopyBackwards"));
    y.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [1.0, 1.0]);
    // So it does not matter that what the old one had kept was given back.
    let z = x.exp()?;
    z.sum()?.backward()?;
    x.set_grad(None)?;
    z.copy_(x.mul(2.0)?)?;
    z.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [2.0, 2.0]);
    Ok(())
}

#[test]
fn derivatives_of_derivatives() -> Result<()> {
    let x = leaf(&[2.0, 3.0])?;
    let again = || Backward { create_graph: true, ..Backward::default() };
    let y = x.pow(4)?.sum()?;
    let dx = grad(&[y], &[x.clone()], &again())?.remove(0).unwrap();
    assert_eq!(f32s(&dx)?, [32.0, 108.0]);
    let ddx = grad(&[dx.sum()?], &[x.clone()], &again())?.remove(0).unwrap();
    assert_eq!(f32s(&ddx)?, [48.0, 108.0]);
    ddx.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [48.0, 72.0]);
    // A penalty on a gradient.
    let w = leaf(&[0.5, -1.5])?;
    let loss = w.tanh()?.mul(&x)?.sum()?;
    let dw = grad(&[loss.clone()], &[w.clone()], &again())?.remove(0).unwrap();
    loss.add(&dw.square()?.sum()?)?.backward()?;
    let want = |w: f64, x: f64| {
        let (t, s) = (w.tanh(), 1.0 - w.tanh().powi(2));
        (x * s + 2.0 * x * s * x * (-2.0 * t * s)) as f32
    };
    let got = grad_of(&w)?;
    for (got, want) in got.iter().zip([want(0.5, 2.0), want(-1.5, 3.0)]) {
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
    Ok(())
}

#[test]
fn what_is_refused() -> Result<()> {
    let i = tensor([1i64, 2])?;
    assert!(
        message(i.requires_grad_(true))
            .to_string()
            .contains("only Tensors of floating point dtype can require gradients")
    );
    let x = leaf(&[1.0])?;
    let y = x.mul(2.0)?;
    assert!(message(y.requires_grad_(false)).to_string().contains("you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."));
    let c = tensor([1.0f32])?;
    assert!(message(c.backward()).to_string().contains("does not require grad and does not have a grad_fn"));
    let e = message(grad(&[y.clone()], &[leaf(&[1.0])?], &Backward::default()));
    assert!(e.to_string().contains("One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior."), "{e}");
    let none = grad(&[y], &[leaf(&[1.0])?], &Backward { allow_unused: true, ..Backward::default() })?;
    assert!(none[0].is_none());
    let parts = tensorc::call("unbind", &[(None, (&leaf(&[1.0, 2.0])?.mul(1.0)?).into())])?;
    let e = message(parts[1].add_(1.0));
    assert!(e.to_string().contains("Output 1 of UnbindBackward0 is a view and is being modified inplace"), "{e}");
    let y = x.mul(2.0)?;
    let view = no_grad(|| y.i(0))?;
    let e = message(view.add_(&leaf(&[1.0])?.i(0)?));
    assert!(e.to_string().contains("A view was created in no_grad mode"), "{e}");
    assert!(!x.to(I64)?.requires_grad());
    Ok(())
}

#[test]
fn what_has_a_gradient_is_not_written_by_hand() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    let e = message(x.write::<f32>());
    assert!(
        e.to_string().contains("can't call `write` on Tensor that requires grad. Use tensor.detach() instead."),
        "{e}"
    );
    assert_eq!(*x.read::<f32>()?, [1.0, 2.0]);
    no_grad(|| x.write::<f32>().map(|mut v| v[0] = 5.0))?;
    let y = x.mul(&x)?;
    x.detach()?.write::<f32>()?[1] = 7.0;
    assert!(message(y.sum()?.backward()).to_string().contains("is at version 2; expected version 1 instead"));
    let e = message(x.set_grad(Some(tensor([1.0f32])?)));
    assert!(e.to_string().contains("assigned grad has data of a different size:"), "{e}");
    let e = message(x.set_grad(Some(tensor([1.0f64, 2.0])?)));
    assert!(e.to_string().contains("assigned grad has data of a different type:"), "{e}");
    assert!(
        message(tensor([1.0f32])?.retain_grad())
            .to_string()
            .contains("can't retain_grad on Tensor that has requires_grad=False")
    );
    let e = message(grad(&[x.sum()?], &[tensor([1.0f32])?], &Backward::default()));
    assert!(e.to_string().contains("One of the differentiated Tensors does not require grad"), "{e}");
    let seeds = |g: Tensor| Backward { gradients: vec![g], ..Backward::default() };
    let e = message(x.sum()?.backward_with(seeds(Tensor::scalar(1.0f64)?)));
    assert!(e.to_string().contains("grad_output[0] is f64 and output[0] is f32"), "{e}");
    let e = message(tensorc::autograd::backward(&[], &seeds(Tensor::scalar(1.0f32)?)));
    assert!(e.to_string().contains("got 0 tensors and 1 gradients"), "{e}");
    let e = message(tensorc::jit(|x: Tensor| x.requires_grad_(true)).call(tensor([1.0f32])?));
    assert!(e.to_string().contains("`requires_grad_` of a traced tensor"), "{e}");
    let writes = tensorc::jit(|x: Tensor| x.add_(1.0));
    let e = message(writes.call(x.mul(1.0)?));
    assert!(
        e.to_string()
            .contains("a compiled function that writes to its arguments was called with a tensor that requires grad")
    );
    Ok(())
}

#[test]
fn a_gradient_that_is_in_use_is_not_lost() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    x.sum()?.backward()?;
    let held = x.grad().unwrap();
    let reading = held.read::<f32>()?;
    assert_eq!(message(x.sum()?.backward()).kind(), Kind::Alias);
    drop(reading);
    x.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [2.0, 2.0]);
    // Also one that is the tensor itself, or a view of it.
    x.set_grad(Some(x.i(..)?))?;
    x.sum()?.backward()?;
    assert_eq!(f32s(&x)?, [2.0, 3.0]);
    Ok(())
}

#[test]
fn several_outputs_are_differentiated_together() -> Result<()> {
    let x = leaf(&[2.0, 3.0])?;
    let (y, z) = (x.square()?.sum()?, x.pow(3)?.sum()?);
    let dx = grad(&[y, z], &[x.clone()], &Backward { create_graph: true, ..Backward::default() })?.remove(0).unwrap();
    assert_eq!(f32s(&dx)?, [16.0, 33.0]);
    dx.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [14.0, 20.0]);
    Ok(())
}

#[test]
fn tensors_and_their_gradients_go_to_other_threads() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..20 {
                    let y = x.exp().unwrap().sum().unwrap();
                    let dx = grad(&[y], &[x.clone()], &Backward::default()).unwrap().remove(0).unwrap();
                    assert_eq!(dx.to_vec::<f32>().unwrap(), x.exp().unwrap().to_vec::<f32>().unwrap());
                }
            });
        }
    });
    // What is recorded is a matter of each thread.
    assert!(!no_grad(tensorc::autograd::is_grad_enabled));
    assert!(no_grad(|| std::thread::spawn(tensorc::autograd::is_grad_enabled).join().unwrap()));
    Ok(())
}

#[test]
fn gradients_of_other_tensors_are_kept_when_asked_for() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    let y = x.square()?;
    assert!(y.grad().is_none());
    y.retain_grad()?;
    y.mul(3.0)?.sum()?.backward()?;
    assert_eq!(grad_of(&y)?, [3.0, 3.0]);
    assert_eq!(grad_of(&x)?, [6.0, 12.0]);
    Ok(())
}

#[test]
fn a_compiled_function_is_one_recorded_op() -> Result<()> {
    let w = leaf(&[1.0, -2.0])?;
    let scale = leaf(&[3.0])?;
    // What a closure captures has gradients, too.
    let f = tensorc::jit(|x: Tensor| x.tanh()?.mul(&scale));
    let y = f.call(w.mul(0.5)?)?;
    assert_eq!(y.grad_fn().as_deref(), Some("JitBackward0"));
    y.sum()?.backward()?;
    let (dw, dscale) = (grad_of(&w)?, grad_of(&scale)?);
    let plain =
        tensorc::grad(|(w, s): (Tensor, Tensor)| w.mul(0.5)?.tanh()?.mul(&s)?.sum())((w.copy()?, scale.copy()?))?;
    assert_eq!((dw, dscale), (f32s(&plain.0)?, f32s(&plain.1)?));
    assert_eq!(f.compilations(), 1);
    // A result that is a view of an argument is a view of it for autograd, too.
    let rows = tensorc::jit(|x: Tensor| Ok((x.i(0)?, x.mul(2.0)?)));
    let x = leaf(&[1.0, 2.0])?;
    let base = x.mul(1.0)?.view([2, 1])?;
    let (row, twice) = rows.call(base.clone())?;
    row.mul_(7.0)?;
    base.sum()?.add(&twice.sum()?)?.backward()?;
    assert_eq!(grad_of(&x)?, [9.0, 3.0]);
    let writes = tensorc::jit(|x: Tensor| x.add_(1.0));
    assert_eq!(message(writes.call(x.mul(1.0)?)).kind(), Kind::Unsupported);
    no_grad(|| writes.call(x.clone()))?;
    assert_eq!(f32s(&x)?, [2.0, 3.0]);
    Ok(())
}

#[test]
fn gradients_go_through_control_flow_and_grad() -> Result<()> {
    let x = leaf(&[0.5, 2.0])?;
    let flag = x.detach()?.sum()?.gt(0.0)?;
    let y = tensorc::cond(&flag, |x: Tensor| x.square(), |x| x.exp(), x.clone())?;
    y.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [1.0, 4.0]);
    x.set_grad(None)?;
    let (last, _) = tensorc::scan(|c: Tensor, x: Tensor| Ok((c.mul(&x)?, c)), Tensor::scalar(1.0f32)?, x.clone())?;
    last.backward()?;
    assert_eq!(grad_of(&x)?, [2.0, 0.5]);
    x.set_grad(None)?;
    let dx = tensorc::grad(|x: Tensor| x.pow(3)?.sum())(x.clone())?;
    assert_eq!(f32s(&dx)?, [0.75, 12.0]);
    dx.sum()?.backward()?;
    assert_eq!(grad_of(&x)?, [3.0, 12.0]);
    let grown = tensorc::while_loop(|x: Tensor| x.sum()?.lt(9.0), |x: Tensor| x.mul(2.0), x.clone())?;
    assert!(message(grown.sum()?.backward()).to_string().contains("while_loop"));
    Ok(())
}

#[test]
fn what_a_where_masks_may_have_no_part() -> Result<()> {
    let masked = |x: &Tensor| x.gt(0.0)?.where_(x.sqrt(), 0.0)?.sum();
    let x = leaf(&[-1.0, 4.0])?;
    masked(&x)?.backward()?;
    assert!(grad_of(&x)?[0].is_nan(), "as in PyTorch");
    x.set_grad(None)?;
    masked(&x)?.backward_with(Backward { strong_zero: true, ..Backward::default() })?;
    assert_eq!(grad_of(&x)?, [0.0, 0.25]);
    // To second order, too.
    let again = || Backward { strong_zero: true, create_graph: true, ..Backward::default() };
    let dx = grad(&[masked(&x)?], &[x.clone()], &again())?.remove(0).unwrap();
    let ddx = grad(&[dx.sum()?], &[x.clone()], &again())?.remove(0).unwrap();
    assert_eq!(f32s(&ddx)?, [0.0, -0.03125]);
    Ok(())
}

#[test]
fn optimisers_write_to_leaves() -> Result<()> {
    let w = leaf(&[1.0, -2.0])?;
    let sgd = tensorc::train::Sgd::default();
    let state = sgd.init(&w)?;
    for _ in 0..50 {
        w.sub(&tensor([3.0f32, 0.5])?)?.square()?.sum()?.backward()?;
        sgd.step_(&w, &w.grad().unwrap(), &state, 0.2)?;
        w.set_grad(None)?;
    }
    assert!(w.is_leaf() && w.requires_grad());
    let (a, b) = (f32s(&w)?[0], f32s(&w)?[1]);
    assert!((a - 3.0).abs() < 1e-5 && (b - 0.5).abs() < 1e-5, "{a} {b}");
    Ok(())
}

#[test]
fn a_long_tape_ends_without_a_deep_stack() -> Result<()> {
    let x = leaf(&[1.0])?;
    let mut y = x.mul(1.0)?;
    for _ in 0..200_000 {
        y = y.add(0.0)?;
    }
    drop(y);
    Ok(())
}

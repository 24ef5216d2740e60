//! A first walk through tensorc, chapter by chapter: tensors, arithmetic, indexing, views, gradients, compiled functions,
//! control flow, in-place writes, shared memory.
//!
//! Run it with `cargo run --example tutorial`. Every line that starts with `>` is code of this file, and below it stands
//! what it gives, which is what PyTorch prints for the same steps. Each of these claims is also asserted, so a wrong one
//! ends the program with an error.

#![expect(clippy::reversed_empty_ranges, reason = "a negative end counts from the end, as in Python")]

use std::fmt::Display;
use tensorc::dtype::{Bool, F16, F32, F64, I64};
use tensorc::{DType, Error, Kind, Result, Tensor, grad, hessian, jacobian, jit, jvp, value_and_grad, vmap};

fn main() -> Result<()> {
    creating()?;
    dtypes_and_sizes()?;
    arithmetic()?;
    broadcasting()?;
    indexing()?;
    views()?;
    gradients()?;
    recording()?;
    compiling()?;
    control_flow()?;
    in_place()?;
    shared_memory()?;
    mistakes()?;
    println!("\nNext: cargo run --release --example digits. A chapter on devices will follow.");
    Ok(())
}

fn chapter(title: &str) {
    println!("\n{title}\n{}", "-".repeat(title.len()));
}

/// Prints code with what it gives, and holds that against what it should be.
fn claim(code: &str, got: impl Display, expected: &str) {
    println!("> {code}\n{got}");
    assert_eq!(got.to_string(), expected, "{code}");
}

/// `show!(code, expected)`: the code itself is printed, so that it cannot differ from what ran.
macro_rules! show {
    ($code:expr, $expected:expr $(,)?) => {
        claim(stringify!($code), &$code, $expected)
    };
}

/// `given!(let x = …)`, `given!(…)`: a definition or a call, printed too.
macro_rules! given {
    (let $name:pat = $code:expr) => {
        println!("> let {} = {};", stringify!($name), stringify!($code));
        let $name = $code;
    };
    ($code:expr) => {
        println!("> {};", stringify!($code));
        $code;
    };
}

/// A dtype as it prints in a tensor's text.
fn name(dtype: DType) -> String {
    format!("tensorc.{dtype}")
}

fn creating() -> Result<()> {
    chapter("1. Creating tensors");
    show!(tensorc::zeros(&[2, 3], F32)?, "tensor([[0., 0., 0.],\n        [0., 0., 0.]])");
    show!(tensorc::ones(&[3], I64)?, "tensor([1, 1, 1])");
    show!(tensorc::full(&[2, 2], 2.5, F32)?, "tensor([[2.5000, 2.5000],\n        [2.5000, 2.5000]])");
    show!(tensorc::arange(5)?, "tensor([0, 1, 2, 3, 4])");
    show!(tensorc::arange_step(1.0, 2.5, 0.5)?, "tensor([1.0000, 1.5000, 2.0000])");
    show!(tensorc::linspace(0.0, 1.0, 5)?, "tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])");
    show!(tensorc::eye(3)?, "tensor([[1., 0., 0.],\n        [0., 1., 0.],\n        [0., 0., 1.]])");
    show!(tensorc::tensor([[1.0f32, -2.0], [3.5, 4.0]])?, "tensor([[ 1.0000, -2.0000],\n        [ 3.5000,  4.0000]])");
    show!(tensorc::tensor([true, false])?, "tensor([ True, False])");

    // Equal seeds give equal numbers, in every mode and on any number of threads.
    given!(let a = tensorc::rand(&[100], Some(7))?);
    given!(let b = tensorc::rand(&[100], Some(7))?);
    show!(a.eq(&b)?.all()?, "tensor(True)");
    show!(a.ge(0.0)?.logical_and(a.lt(1.0))?.all()?, "tensor(True)");
    // Without one, the process's seed and the number of calls since decide.
    given!(tensorc::manual_seed(0));
    given!(let first = tensorc::randn(&[2, 3], None)?);
    given!(tensorc::manual_seed(0));
    show!(first.eq(tensorc::randn(&[2, 3], None))?.all()?, "tensor(True)");
    show!(first.eq(tensorc::randn(&[2, 3], None))?.all()?, "tensor(False)");
    Ok(())
}

fn dtypes_and_sizes() -> Result<()> {
    chapter("2. Dtypes and sizes");
    given!(let x = tensorc::rand(&[2, 3], Some(1))?);
    show!(x.size(), "tensorc.Size([2, 3])");
    show!(name(x.dtype()), "tensorc.f32");
    show!(x.dim(), "2");
    show!(x.numel(), "6");
    // Integers are i64, floats f32 unless their Rust type says otherwise.
    show!(name(tensorc::arange(3)?.dtype()), "tensorc.i64");
    show!(name(tensorc::tensor([1.0f64])?.dtype()), "tensorc.f64");
    // What is not the default of its kind is printed with its dtype.
    show!(tensorc::zeros(&[2], F64)?, "tensor([0., 0.], dtype=tensorc.f64)");
    show!(tensorc::tensor([1.9f32, -1.9])?.to(I64)?, "tensor([ 1, -1])");
    show!(tensorc::tensor([0i64, 2])?.to(Bool)?, "tensor([False,  True])");
    show!(tensorc::full(&[1], 0.1, F16)?, "tensor([0.1000], dtype=tensorc.f16)");
    Ok(())
}

fn arithmetic() -> Result<()> {
    chapter("3. Arithmetic");
    given!(let x = tensorc::tensor([1.0f32, 2.0, 3.0])?);
    given!(let y = tensorc::tensor([10.0f32, 20.0, 30.0])?);
    show!((&x + &y)?, "tensor([11., 22., 33.])");
    // The same as a function and as a method.
    show!(tensorc::add(&x, &y)?, "tensor([11., 22., 33.])");
    show!(x.add(&y)?, "tensor([11., 22., 33.])");
    show!(tensorc::sub(&y, &x)?, "tensor([ 9., 18., 27.])");
    show!(tensorc::mul(&x, &y)?, "tensor([10., 40., 90.])");
    show!(tensorc::div(&x, &y)?, "tensor([0.1000, 0.1000, 0.1000])");
    show!(tensorc::rem(&y, 7.0)?, "tensor([3., 6., 2.])");
    // Every step may fail, and one `?` ends a whole expression.
    show!((2.0 * &x)?.add(&y * &x)?, "tensor([12., 44., 96.])");
    show!((-&x)?.exp()?, "tensor([0.3679, 0.1353, 0.0498])");
    show!(x.pow(2)?.sum()?, "tensor(14.)");
    show!(x.gt(1.5)?, "tensor([False,  True,  True])");
    given!(let m = tensorc::tensor([[1.0f32, 2.0], [3.0, 4.0]])?);
    show!(m.matmul(&m)?, "tensor([[ 7., 10.],\n        [15., 22.]])");
    show!(m.mean_dim(0, false)?, "tensor([2., 3.])");
    show!(m.argmax_dim(1, true)?, "tensor([[1],\n        [1]])");
    Ok(())
}

fn broadcasting() -> Result<()> {
    chapter("4. Broadcasting and promotion");
    given!(let column = tensorc::tensor([[0i64], [10], [20]])?);
    given!(let row = tensorc::arange(4)?);
    show!((&column + &row)?, "tensor([[ 0,  1,  2,  3],\n        [10, 11, 12, 13],\n        [20, 21, 22, 23]])");
    show!((&column + &row)?.size(), "tensorc.Size([3, 4])");
    // Integers with a float become floats; a plain number never widens a float tensor.
    show!((&row + 0.5)?, "tensor([0.5000, 1.5000, 2.5000, 3.5000])");
    show!((&row / 2)?, "tensor([0.0000, 0.5000, 1.0000, 1.5000])");
    show!((&row * true)?, "tensor([0, 1, 2, 3])");
    show!((tensorc::ones(&[2], F16)? * 3.0)?, "tensor([3., 3.], dtype=tensorc.f16)");
    show!((tensorc::ones(&[2], F32)? + tensorc::ones(&[2], F64))?, "tensor([2., 2.], dtype=tensorc.f64)");
    // A 0-d tensor counts as a plain number does.
    show!((tensorc::ones(&[2], F32)? + Tensor::scalar(1.0f64))?, "tensor([2., 2.])");
    Ok(())
}

fn indexing() -> Result<()> {
    chapter("5. Indexing");
    given!(let x = tensorc::arange(12)?.view([3, 4])?);
    show!(x, "tensor([[ 0,  1,  2,  3],\n        [ 4,  5,  6,  7],\n        [ 8,  9, 10, 11]])");
    show!(x.i(0)?, "tensor([0, 1, 2, 3])");
    show!(x.i((1.., ..2))?, "tensor([[4, 5],\n        [8, 9]])");
    show!(x.i((.., -1))?, "tensor([ 3,  7, 11])");
    show!(x.i((-2.., 1..-1))?, "tensor([[ 5,  6],\n        [ 9, 10]])");
    show!(x.i((1, 2))?, "tensor(6)");
    // One element as a Rust number.
    show!(x.i((1, 2))?.item::<i64>()?, "6");
    show!(x.i(-1)?.to_vec::<i64>()?.len(), "4");
    Ok(())
}

fn views() -> Result<()> {
    chapter("6. Views");
    given!(let x = tensorc::arange(16)?.view([4, 4])?);
    show!(x.size(), "tensorc.Size([4, 4])");
    given!(let y = x.view([16])?);
    show!(y.size(), "tensorc.Size([16])");
    // One extent may be left to the others.
    given!(let z = x.view([-1, 8])?);
    show!(z.size(), "tensorc.Size([2, 8])");
    show!(z, "tensor([[ 0,  1,  2,  3,  4,  5,  6,  7],\n        [ 8,  9, 10, 11, 12, 13, 14, 15]])");
    // All three are the same memory; a transpose only walks it in another order.
    show!(x.shares_storage(&z), "true");
    show!(x.t()?.i(0)?, "tensor([ 0,  4,  8, 12])");
    show!(format!("{:?}", x.t()?.strides()), "[1, 4]");
    show!(x.copy()?.shares_storage(&x), "false");
    Ok(())
}

fn gradients() -> Result<()> {
    chapter("7. Gradients");
    given!(let x = tensorc::ones(&[5], F32)?);
    // z = sum(x + 2) grows by one with every element of x.
    given!(let dz = grad(|x: Tensor| (&x + 2.0)?.sum()));
    show!(dz(x.clone())?, "tensor([1., 1., 1., 1., 1.])");

    given!(let x = tensorc::tensor([1.0f32, 2.0, 3.0])?);
    given!(let (value, slope) = value_and_grad(|x: Tensor| x.pow(3)?.sum())(x.clone())?);
    show!(value, "tensor(36.)");
    show!(slope, "tensor([ 3., 12., 27.])");

    // A gradient is a function like any other, so it has a gradient.
    given!(let second = grad(|x: Tensor| grad(|x: Tensor| x.pow(3)?.sum())(x)?.sum()));
    show!(second(x.clone())?, "tensor([ 6., 12., 18.])");

    // Several arguments have as many gradients.
    given!(let (dx, dw) = grad(|(x, w): (Tensor, Tensor)| (&x * &w)?.sum())((x.clone(), tensorc::full(&[3], 5.0, F32)?))?);
    show!(dx, "tensor([5., 5., 5.])");
    show!(dw, "tensor([1., 2., 3.])");

    // Along a direction, forward: the value, and how it moves when x moves.
    given!(let (y, dy) = jvp(|x: Tensor| x.pow(3)?.sum())(x.clone(), tensorc::ones(&[3], F32)?)?);
    show!(y, "tensor(36.)");
    show!(dy, "tensor(42.)");
    // All derivatives of all results, and all second derivatives.
    given!(let square = |x: Tensor| x.square());
    show!(jacobian(square)(x.narrow(0, 0, 2)?)?, "tensor([[2., 0.],\n        [0., 4.]])");
    given!(let product = |x: Tensor| x.prod());
    show!(hessian(product)(x.narrow(0, 1, 2)?)?, "tensor([[0., 1.],\n        [1., 0.]])");
    // A function of one element for many at once: here its gradient for each.
    given!(let each = vmap(grad(|x: Tensor| x.square()?.sum())));
    show!(each(tensorc::tensor([[1.0f32, 2.0], [3.0, 4.0]])?)?, "tensor([[2., 4.],\n        [6., 8.]])");
    Ok(())
}

fn recording() -> Result<()> {
    chapter("8. Gradients as in PyTorch: requires_grad, grad_fn, backward(), .grad");
    given!(let x = tensorc::ones(&[5], F32)?.requires_grad_(true)?);
    show!(x, "tensor([1., 1., 1., 1., 1.], requires_grad=True)");
    // Ops on it are recorded as they run; each result knows what made it.
    given!(let y = (&x + 2.0)?);
    show!(y, "tensor([3., 3., 3., 3., 3.], grad_fn=<AddBackward0>)");
    given!(let z = y.mul(&y)?.mean()?);
    show!(z, "tensor(9., grad_fn=<MeanBackward0>)");
    show!(format!("{:?}", x.grad().is_none()), "true");
    // dz/dx = 2 (x + 2) / 5, added to the gradient of the leaf.
    given!(z.backward()?);
    show!(x.grad().unwrap(), "tensor([1.2000, 1.2000, 1.2000, 1.2000, 1.2000])");
    given!((&x * 3.0)?.sum()?.backward()?);
    show!(x.grad().unwrap(), "tensor([4.2000, 4.2000, 4.2000, 4.2000, 4.2000])");

    // A step of gradient descent writes to the leaf, so it is not recorded.
    given!(tensorc::no_grad(|| x.sub_(x.grad().unwrap().mul(0.5)))?);
    show!(x, "tensor([-1.1000, -1.1000, -1.1000, -1.1000, -1.1000], requires_grad=True)");
    given!(x.set_grad(None)?);
    // `detach` shares the memory, and is a constant.
    show!(x.detach()?.requires_grad(), "false");

    // In-place ops are a part of the history, also through views.
    given!(let y = (&x * 2.0)?);
    given!(y.i(0)?.mul_(10.0)?);
    show!(y, "tensor([-22.0000,  -2.2000,  -2.2000,  -2.2000,  -2.2000], grad_fn=<CopySlices>)");
    given!(y.sum()?.backward()?);
    show!(x.grad().unwrap(), "tensor([20.,  2.,  2.,  2.,  2.])");

    // What a derivative will read must not be written before.
    given!(let y = x.exp()?);
    given!(y.add_(1.0)?);
    let e = y.sum()?.backward().unwrap_err();
    println!("> y.sum()?.backward()\n{e}");
    assert!(e.to_string().contains("has been modified by an inplace operation"));
    Ok(())
}

fn compiling() -> Result<()> {
    chapter("9. Compiled functions");
    // Written once; called op by op, or traced and compiled to one kernel.
    given!(let f = |(x, w): (Tensor, Tensor)| (&x * &w)?.sigmoid()?.sum_dim(1, false));
    given!(let fused = jit(f));
    given!(let x = tensorc::rand(&[3, 4], Some(1))?);
    given!(let w = tensorc::rand(&[4], Some(2))?);
    given!(let together = fused.call((x.clone(), w.clone()))?);
    given!(let one_by_one = f((x.clone(), w.clone()))?);
    show!(together.size(), "tensorc.Size([3])");
    // The same bits, not nearly the same numbers.
    show!(together.to_bytes()? == one_by_one.to_bytes()?, "true");

    // A second call of the same signature compiles nothing, another shape is another signature.
    given!(fused.call((x.clone(), w.clone()))?);
    show!(fused.compilations(), "1");
    given!(fused.call((tensorc::rand(&[5, 4], Some(3))?, w.clone()))?);
    show!(fused.compilations(), "2");

    // Gradients are compiled with the function.
    given!(let step = jit(value_and_grad(|x: Tensor| x.mul(&x)?.mean())));
    given!(let (loss, slope) = step.call(tensorc::tensor([2.0f32, -4.0])?)?);
    show!(loss, "tensor(10.)");
    show!(slope, "tensor([ 2., -4.])");
    Ok(())
}

fn control_flow() -> Result<()> {
    chapter("10. Control flow");
    // A Rust `if` is decided while a function is traced; `cond` is decided by the elements, at each call.
    given!(let f = jit(|x: Tensor| tensorc::cond(&x.sum()?.gt(0.0)?, |x: Tensor| x.sqrt(), |x| x.square(), x)));
    show!(f.call(tensorc::tensor([4.0f32, 9.0])?)?, "tensor([2., 3.])");
    show!(f.call(tensorc::tensor([-4.0f32, 1.0])?)?, "tensor([16.,  1.])");
    show!(f.compilations(), "1");

    // Newton's iteration for a square root, until it is there. What the functions capture is handed to them.
    given!(let a = Tensor::scalar(2.0f64)?);
    given!(let far = |x: Tensor| x.square()?.sub(&a)?.abs()?.gt(1e-10));
    given!(let newton = |x: Tensor| x.add(a.div(&x)?)?.div(2));
    show!(tensorc::while_loop(far, newton, a.copy()?)?, "tensor(1.4142, dtype=tensorc.f64)");

    // A recurrent net: one step for each row of xs, the state h carried along, all states stacked.
    given!(let w = tensorc::tensor([[0.5f32, -0.5], [0.25, 0.75]])?);
    given!(let xs = tensorc::tensor([[1.0f32, 0.0], [0.0, 1.0], [0.5, 0.5]])?);
    let net = |w: Tensor| {
        let step = |h: Tensor, x: Tensor| {
            let h = w.matmul(&h)?.add(&x)?.tanh()?;
            Ok((h.clone(), h))
        };
        let (_last, states) = tensorc::scan(step, tensorc::zeros(&[2], F32)?, xs.clone())?;
        Ok::<Tensor, Error>(states)
    };
    show!(net(w.clone())?, "tensor([[0.7616, 0.0000],\n        [0.3634, 0.8307],\n        [0.2602, 0.8378]])");
    // Its gradient is a scan in the other direction.
    given!(let (loss, dw) = value_and_grad(|w: Tensor| net(w)?.square()?.mean())(w.clone())?);
    show!(loss, "tensor(0.3620)");
    show!(dw, "tensor([[0.1499, 0.0672],\n        [0.1008, 0.0691]])");
    Ok(())
}

fn in_place() -> Result<()> {
    chapter("11. In-place writes");
    given!(let a = tensorc::tensor([1.0f32, 2.0, 3.0])?);
    // What is assignment in Python is `clone`: another handle on the same memory. `copy` is new memory.
    given!(let a1 = a.clone());
    given!(let b = a.copy()?);
    // An underscore at the end of a name: the result goes into the memory of the first operand, and all handles see it.
    show!(a.add_(1.0)?, "tensor([2., 3., 4.])");
    show!(a1, "tensor([2., 3., 4.])");
    show!(b, "tensor([1., 2., 3.])");
    show!(a.sub_(&b)?, "tensor([1., 1., 1.])");
    show!(a.mul_(6.0)?, "tensor([6., 6., 6.])");
    show!(a.div_(&b)?, "tensor([6., 3., 2.])");
    show!(a1, "tensor([6., 3., 2.])");
    show!(a1.shares_storage(&a), "true");
    // Without the underscore nothing is written.
    show!(a.add(1.0)?, "tensor([7., 4., 3.])");
    show!(a, "tensor([6., 3., 2.])");
    // A view is a part of the same memory.
    given!(a.i(1..)?.fill_(0)?);
    show!(a1, "tensor([6., 0., 0.])");

    // A quotient of floats by 0 is an infinity or NaN. A safe division computes where the divisor is not 0, and puts
    // something else there; the mask is taken before it is changed.
    show!(b.div(&a)?, "tensor([0.1667,    inf,    inf])");
    given!(let zero = a.eq(0.0)?);
    show!(b.div(zero.where_(1.0, &a)?)?.masked_fill(&zero, 0.0)?, "tensor([0.1667, 0.0000, 0.0000])");
    // In place: first the divisor, then the quotient, then what has none.
    given!(a.copy_(zero.where_(1.0, &a)?)?);
    given!(b.div_(&a)?.copy_(zero.where_(0.0, &b)?)?);
    show!(b, "tensor([0.1667, 0.0000, 0.0000])");
    // Integers have no infinity: division by 0 is an error, and nothing has been written.
    given!(let n = tensorc::tensor([7i64, 8])?);
    let e = n.floor_divide(tensorc::tensor([2i64, 0])?).err();
    println!(
        "> n.floor_divide(tensorc::tensor([2i64, 0])?)\n{}",
        e.as_ref().map(ToString::to_string).unwrap_or_default()
    );
    assert_eq!(e.map(|e| e.kind()), Some(Kind::Data));

    // The dtype of the memory stays: what would need another one is refused.
    show!(n.add_(0.5).is_err(), "true");
    show!(n.add_(1)?, "tensor([8, 9])");
    Ok(())
}

fn shared_memory() -> Result<()> {
    chapter("12. Shared memory");
    // `tensor` and `from_slice` copy, so both sides go their own ways.
    given!(let mut values = [1.0f32, 2.0, 3.0, 4.0]);
    given!(let t = Tensor::from_slice(&values, &[2, 2])?);
    given!(values[0] = 10.0);
    show!(t, "tensor([[1., 2.],\n        [3., 4.]])");

    // From Rust to a tensor: for a scope a slice is a tensor's memory.
    println!("> tensorc::with_borrowed(&mut values, &[2, 2], |t| {{");
    tensorc::with_borrowed(&mut values, &[2, 2], |t| {
        show!(t, "tensor([[10.,  2.],\n        [ 3.,  4.]])");
        given!(t.mul_(2.0)?);
        given!(t.i((.., 1))?.fill_(0)?);
        Ok(())
    })?;
    println!("> }})?;");
    show!(format!("{values:?}"), "[20.0, 0.0, 6.0, 0.0]");
    // A slice that is not `mut` can only be read.
    show!(tensorc::with_borrowed_ref(&values, &[4], |t| t.sum())?, "tensor(26.)");
    show!(tensorc::with_borrowed_ref(&values, &[4], |t| t.add_(1.0)).is_err(), "true");
    // What escapes from the scope finds the memory gone, and says so.
    given!(let escaped = tensorc::with_borrowed(&mut values, &[4], |t| Ok(t.clone()))?);
    show!(escaped.sum().is_err(), "true");

    // A vector's memory is taken over, not copied.
    given!(let v = vec![1i64, 2, 3]);
    given!(let address = v.as_ptr());
    given!(let t = Tensor::from_vec(v, &[3])?);
    show!(t.read::<i64>()?.as_ptr() == address, "true");

    // From a tensor to Rust: guards are slices of its memory. While one lives, uses that conflict are errors.
    given!(let elements = t.read::<i64>()?);
    show!(format!("{:?}", &*elements), "[1, 2, 3]");
    show!(t.sum()?, "tensor(6)");
    show!(t.add_(1).is_err(), "true");
    given!(drop(elements));
    given!(let mut elements = t.write::<i64>()?);
    given!(elements[0] = 100);
    show!(t.sum().is_err(), "true");
    given!(drop(elements));
    show!(t, "tensor([100,   2,   3])");
    // A tensor in another order has no slice; the guard says where its elements are.
    given!(let turned = tensorc::arange(6)?.view([2, 3])?.t()?);
    show!(turned.read::<i64>().is_err(), "true");
    given!(let memory = turned.read_strided::<i64>()?);
    show!(format!("{:?} {:?}", &*memory, memory.strides()), "[0, 1, 2, 3, 4, 5] [1, 3]");
    // `to_vec` copies.
    show!(format!("{:?}", turned.to_vec::<i64>()?), "[0, 3, 1, 4, 2, 5]");
    Ok(())
}

fn mistakes() -> Result<()> {
    chapter("13. Mistakes");
    // Nothing panics: an error says what does not fit, with the line that asked for it.
    let line = line!() + 1;
    let refused = tensorc::zeros(&[2, 3], F32)?.add(tensorc::zeros(&[4], F32)?);
    let Err(e) = refused else { return Err(Error::new(Kind::Shape, "sizes 3 and 4 were added")) };
    println!("> tensorc::zeros(&[2, 3], F32)?.add(tensorc::zeros(&[4], F32)?)\n{e}");
    assert_eq!(e.kind(), Kind::Shape);
    assert!(e.to_string().contains(&format!("tutorial.rs:{line}")), "{e}");
    Ok(())
}

//! Tensors, eager and traced, as a user meets them.

use tensorc::dtype::*;
use tensorc::{
    Kind, Result, Tensor, arange, eye, full, grad, jit, linspace, ones, rand, randn, tensor, value_and_grad, zeros,
};

#[test]
fn creation_gives_what_pytorch_gives() -> Result<()> {
    assert_eq!(tensor([1i64, 2, 3])?.dtype(), I64);
    assert_eq!(tensor([[1.0f32, 2.0], [3.0, 4.0]])?.shape(), [2, 2]);
    assert_eq!(zeros(&[2, 3], F32)?.to_vec::<f32>()?, [0.0; 6]);
    assert_eq!(ones(&[2], I32)?.to_vec::<i32>()?, [1, 1]);
    assert_eq!(full(&[2], 2.5, F64)?.to_vec::<f64>()?, [2.5, 2.5]);
    assert_eq!(arange(4)?.to_vec::<i64>()?, [0, 1, 2, 3]);
    assert_eq!(arange(3.0)?.to_vec::<f32>()?, [0.0, 1.0, 2.0]);
    assert_eq!(linspace(0.0, 1.0, 5)?.to_vec::<f32>()?, [0.0, 0.25, 0.5, 0.75, 1.0]);
    assert_eq!(eye(2)?.to_vec::<f32>()?, [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(tensor(vec![vec![1.0f32], vec![]]).unwrap_err().kind(), Kind::Shape);
    Ok(())
}

#[test]
fn promotion_is_pytorchs() -> Result<()> {
    let (i32s, f16s) = (ones(&[2], I32)?, ones(&[2], F16)?);
    assert_eq!((&i32s + 1.5)?.dtype(), F32);
    assert_eq!((&i32s + Tensor::scalar(1i64)?)?.dtype(), I32);
    assert_eq!((&i32s + Tensor::scalar(1f64)?)?.dtype(), F64);
    assert_eq!((&f16s + &i32s)?.dtype(), F16);
    assert_eq!((&f16s + 1e10)?.to(F32)?.to_vec::<f32>()?, [f32::INFINITY; 2]);
    assert_eq!((ones(&[2], Bool)? + 1)?.dtype(), I64);
    assert_eq!((tensor([7i64, -7])? / 2)?.to_vec::<f32>()?, [3.5, -3.5]);
    Ok(())
}

#[test]
fn operators_take_tensors_numbers_and_results() -> Result<()> {
    let x = tensor([1.0f32, 2.0])?;
    assert_eq!((&x * (&x + 1.0))?.to_vec::<f32>()?, [2.0, 6.0]);
    assert_eq!((2.0 * &x)?.sub(&x)?.to_vec::<f32>()?, [1.0, 2.0]);
    assert_eq!((1.0 - &x)?.to_vec::<f32>()?, [0.0, -1.0]);
    assert_eq!((-&x)?.to_vec::<f32>()?, [-1.0, -2.0]);
    Ok(())
}

#[test]
fn views_share_memory_and_in_place_ops_write_through_them() -> Result<()> {
    let x = arange(16.0)?;
    let y = x.view([4, 4])?;
    let v = y.i((1.., ..2))?;
    assert!(v.shares_storage(&x));
    v.mul_(10.0)?;
    assert_eq!(x.to_vec::<f32>()?[..6], [0.0, 1.0, 2.0, 3.0, 40.0, 50.0]);
    y.set((0,), 7)?;
    assert_eq!(x.to_vec::<f32>()?[..5], [7.0, 7.0, 7.0, 7.0, 40.0]);
    let z = x.copy()?;
    z.add_(1.0)?;
    assert_eq!(x.i(0)?.item::<f32>()?, 7.0);
    assert_eq!(x.i(1..)?.add_(x.i(..-1i64)?).unwrap_err().kind(), Kind::Alias);
    assert_eq!(y.expand([2, 4, 4])?.add_(1.0).unwrap_err().kind(), Kind::Alias);
    x.mul_(&x)?;
    assert_eq!(x.i(0)?.item::<f32>()?, 49.0);
    Ok(())
}

#[test]
fn errors_name_the_op_the_shapes_and_this_line() {
    let x = zeros(&[2, 3], F32).unwrap();
    let y = zeros(&[4], F32).unwrap();
    let line = line!() + 1;
    let e = (&x + &y).unwrap_err();
    assert_eq!(e.kind(), Kind::Shape);
    let text = e.to_string();
    assert!(text.contains("[2, 3] and [4]") && text.contains(&format!("tests/tensor.rs:{line}:")), "{text}");
    let line = line!() + 1;
    let text = x.matmul(&y).unwrap_err().to_string();
    assert!(text.contains(&format!("tests/tensor.rs:{line}:")), "{text}");
    assert_eq!(tensor([1i64, 2]).unwrap().floor_divide(0).unwrap_err().kind(), Kind::Data);
    assert_eq!(tensor([1i64]).unwrap().add_(1.5).unwrap_err().kind(), Kind::Dtype);
    assert_eq!(tensor([1i64]).unwrap().to_vec::<f32>().unwrap_err().kind(), Kind::Dtype);
}

#[test]
fn jit_compiles_once_for_each_signature() -> Result<()> {
    let f = jit(|(x, w): (Tensor, Tensor)| x.matmul(&w)?.add(1.0)?.relu());
    for n in [2, 2, 3, 2] {
        let y = f.call((ones(&[n, 4], F32)?, ones(&[4, 5], F32)?))?;
        assert_eq!(y.to_vec::<f32>()?, vec![5.0; n * 5]);
    }
    assert_eq!(f.compilations(), 2);
    assert_eq!(f.call((ones(&[2, 3], F32)?, ones(&[4, 5], F32)?)).unwrap_err().kind(), Kind::Shape);
    Ok(())
}

/// Ops on captured tensors only are a part of the program: they run at each call, not while it is traced.
#[test]
fn jit_records_ops_on_captured_tensors() -> Result<()> {
    let (w, calls) = (tensor([1f32, 2.0])?, tensor([0f32])?);
    let f = jit(|x: Tensor| {
        calls.add_(1.0)?;
        let doubled = w.mul(2.0)?;
        w.i(0)?.add_(10.0)?;
        x.add(&doubled)
    });
    assert_eq!(f.call(tensor([0f32, 0.0])?)?.to_vec::<f32>()?, [2.0, 4.0]);
    assert_eq!((w.to_vec::<f32>()?, calls.to_vec::<f32>()?), (vec![11.0, 2.0], vec![1.0]));
    assert_eq!(f.call(tensor([0f32, 0.0])?)?.to_vec::<f32>()?, [22.0, 4.0]);
    assert_eq!((w.to_vec::<f32>()?, calls.to_vec::<f32>()?), (vec![21.0, 2.0], vec![2.0]));
    Ok(())
}

/// What a closure makes, of numbers or by a function, is new at each call: writes to it do not add up.
#[test]
fn jit_makes_what_its_closure_makes_at_each_call() -> Result<()> {
    let f = jit(|x: Tensor| {
        let (sum, made, ones) = (tensor([0f32, 1.0])?, zeros(&[2], F32)?, Tensor::ones_like(&x)?);
        sum.add_(&x)?;
        made.i(0)?.add_(&x.i(0)?)?;
        ones.add_(&x)?;
        let kept = tensor([7f32])?;
        Ok((sum, made, ones, kept))
    });
    for _ in 0..3 {
        let (sum, made, ones, kept) = f.call(tensor([5f32, 6.0])?)?;
        assert_eq!((sum.to_vec::<f32>()?, made.to_vec::<f32>()?), (vec![5.0, 7.0], vec![5.0, 0.0]));
        assert_eq!((ones.to_vec::<f32>()?, kept.to_vec::<f32>()?), (vec![6.0, 7.0], vec![7.0]));
        kept.add_(1.0)?;
    }
    Ok(())
}

#[test]
fn jit_reads_captured_tensors_at_each_call_and_writes_arguments() -> Result<()> {
    let c = ones(&[3], F32)?;
    let f = jit(|x: Tensor| x.add_(&c));
    let x = zeros(&[3], F32)?;
    let y = f.call(x.clone())?;
    assert!(y.shares_storage(&x));
    c.mul_(10.0)?;
    f.call(x.clone())?;
    assert_eq!(x.to_vec::<f32>()?, [11.0; 3]);
    let first = jit(|x: Tensor| x.i((0, 1..)));
    let x = arange(6.0)?.view([2, 3])?;
    assert!(first.call(x.clone())?.shares_storage(&x));
    Ok(())
}

#[test]
fn overlapping_written_arguments_are_refused_not_wrong() -> Result<()> {
    let f = jit(|(x, y): (Tensor, Tensor)| {
        x.add_(&y)?;
        y.mul(2.0)
    });
    let x = ones(&[4], F32)?;
    f.call((x.i(..2)?, x.i(2..)?))?;
    assert_eq!(x.to_vec::<f32>()?, [2.0, 2.0, 1.0, 1.0]);
    assert_eq!(f.call((x.i(..2)?, x.i(1..3)?)).unwrap_err().kind(), Kind::Alias);
    assert_eq!(x.to_vec::<f32>()?, [2.0, 2.0, 1.0, 1.0]);
    Ok(())
}

tensorc::tree! {
    #[derive(Clone)]
    struct Params { w: Tensor, layers: Vec<(Tensor, Option<Tensor>)>, scale: f64 }
}

#[test]
fn trees_of_every_kind() -> Result<()> {
    let params = Params { w: ones(&[2], F32)?, layers: vec![(ones(&[2], F32)?, None)], scale: 3.0 };
    let f = jit(|p: Params| {
        let y = (&p.w * p.scale)?.add(&p.layers[0].0)?;
        Ok(Params { w: y.clone(), layers: vec![(y, Some(p.w.clone()))], scale: p.scale + 1.0 })
    });
    let out = f.call(params.clone())?;
    assert_eq!(out.w.to_vec::<f32>()?, [4.0, 4.0]);
    assert_eq!((out.scale, out.layers[0].1.is_some()), (4.0, true));
    let map =
        std::collections::HashMap::from([("a".to_string(), ones(&[1], F32)?), ("b".to_string(), zeros(&[1], F32)?)]);
    let g = jit(|m: std::collections::HashMap<String, Tensor>| &m["a"] - &m["b"]);
    assert_eq!(g.call(map)?.item::<f32>()?, 1.0);
    Ok(())
}

#[test]
fn gradients_inside_and_outside_jit_to_any_order() -> Result<()> {
    let x = ones(&[5], F32)?;
    let dx = grad(|x: Tensor| (x + 2)?.sum())(x)?;
    assert_eq!(dx.to_vec::<f32>()?, [1.0; 5]);

    let cube = |x: Tensor| x.mul(&x)?.mul(&x)?.sum();
    let x = tensor([1.0f32, 2.0])?;
    assert_eq!(grad(cube)(x.clone())?.to_vec::<f32>()?, [3.0, 12.0]);
    let second = grad(|x: Tensor| grad(cube)(x)?.sum());
    assert_eq!(second(x.clone())?.to_vec::<f32>()?, [6.0, 12.0]);
    let third = jit(grad(|x: Tensor| grad(|x: Tensor| grad(cube)(x)?.sum())(x)?.sum()));
    assert_eq!(third.call(x.clone())?.to_vec::<f32>()?, [6.0, 6.0]);

    let step = jit(|(x, w): (Tensor, Tensor)| {
        let (loss, dw) = value_and_grad(|w: Tensor| x.matmul(&w)?.square()?.mean())(w.clone())?;
        w.sub_(dw.mul(0.1)?)?;
        Ok(loss)
    });
    let (a, w) = (rand(&[8, 4], Some(1))?, randn(&[4, 2], Some(2))?);
    let losses: Vec<f32> = (0..20).map(|_| step.call((a.clone(), w.clone()))?.item()).collect::<Result<_>>()?;
    assert!(losses.windows(2).all(|l| l[1] < l[0]), "{losses:?}");
    assert_eq!(step.compilations(), 1);
    Ok(())
}

#[test]
fn random_numbers_follow_their_seed() -> Result<()> {
    let x = rand(&[1000], Some(7))?;
    assert_eq!(x.to_vec::<f32>()?, rand(&[1000], Some(7))?.to_vec::<f32>()?);
    assert!(x.to_vec::<f32>()?.iter().all(|v| (0.0..1.0).contains(v)));
    let n = randn(&[10000], Some(3))?;
    assert!(n.mean()?.item::<f32>()?.abs() < 0.05 && (n.std()?.item::<f32>()? - 1.0).abs() < 0.05);
    tensorc::manual_seed(1);
    let (a, b) = (rand(&[3], None)?.to_vec::<f32>()?, rand(&[3], None)?.to_vec::<f32>()?);
    tensorc::manual_seed(1);
    assert_eq!(a, rand(&[3], None)?.to_vec::<f32>()?);
    assert_ne!(a, b);
    // The sequence of seeds is the process's, so the one test that draws from it does all.
    tensorc::manual_seed(5);
    let draw = || tensorc::call("randint", &[(None, 100.into()), (None, [50usize].into())]);
    let (a, b) = (draw()?[0].to_vec::<i64>()?, draw()?[0].to_vec::<i64>()?);
    tensorc::manual_seed(5);
    assert_eq!(a, draw()?[0].to_vec::<i64>()?);
    assert_ne!(a, b);
    let f = jit(|x: Tensor| x.add(&rand(&[3], None)?));
    let e = f.call(tensor([1f32, 2.0, 3.0])?).map(|_| ()).unwrap_err();
    assert_eq!(e.kind(), Kind::Type);
    let g = jit(|(x, s): (Tensor, Tensor)| {
        let noise = tensorc::call("rand_like", &[(None, (&x).into()), (Some("seed"), (&s).into())])?;
        x.add(&noise[0])
    });
    let x = tensor([1f32, 2.0, 3.0])?;
    let one = g.call((x.clone(), Tensor::scalar(1i64)?))?.to_vec::<f32>()?;
    let want = x.add(&rand(&[3], Some(1))?)?.to_vec::<f32>()?;
    assert_eq!(one, want);
    assert_ne!(g.call((x, Tensor::scalar(2i64)?))?.to_vec::<f32>()?, one);
    assert_eq!(g.compilations(), 1);
    Ok(())
}

#[test]
fn integers_in_a_tensor_are_read_by_eager_calls() -> Result<()> {
    let (x, i) = (arange(5.0)?, tensor([1i64, 3])?);
    let start = i.select(0, 0)?;
    let call = |name: &str, args: &[tensorc::Argument]| {
        tensorc::call(name, &args.iter().map(|a| (None, a.clone())).collect::<Vec<_>>())
    };
    let y = call("narrow", &[(&x).into(), 0.into(), (&start).into(), 2.into()])?;
    assert_eq!(y[0].to_vec::<f32>()?, [1.0, 2.0]);
    let parts = call("tensor_split", &[(&x).into(), (&i).into()])?;
    assert_eq!(parts.len(), 3);
    // They are views.
    parts[1].add_(10.0)?;
    assert_eq!(x.to_vec::<f32>()?, [0.0, 11.0, 12.0, 3.0, 4.0]);
    Ok(())
}

#[test]
fn sizes_that_depend_on_data_are_counted_in_eager_calls() -> Result<()> {
    let x = tensor([[0i64, 5, 5], [2, 0, 5]])?;
    assert_eq!(x.nonzero()?.to_vec::<i64>()?, [0, 1, 0, 2, 1, 0, 1, 2]);
    assert_eq!(x.unique()?.to_vec::<i64>()?, [0, 2, 5]);
    assert_eq!(x.masked_select(&x.gt(2)?)?.to_vec::<i64>()?, [5, 5, 5]);
    assert_eq!(x.masked_select(&tensor([true, false, true])?)?.to_vec::<i64>()?, [0, 5, 2, 5]);
    let f = jit(|x: Tensor| x.nonzero());
    assert_eq!(f.call(x).map(|_| ()).unwrap_err().kind(), Kind::Unsupported);
    Ok(())
}

#[test]
fn views_by_strides_and_bits_share_memory() -> Result<()> {
    let x = tensor([1f32, 2.0, 3.0, 4.0])?;
    let windows = x.unfold(0, 2, 1)?;
    let bits = x.view_dtype(I32)?;
    let every = x.as_strided([2usize], [2usize])?;
    assert!(windows.shares_storage(&x) && bits.shares_storage(&x) && every.shares_storage(&x));
    x.mul_(2.0)?;
    assert_eq!(windows.to_vec::<f32>()?, [2.0, 4.0, 4.0, 6.0, 6.0, 8.0]);
    assert_eq!(every.to_vec::<f32>()?, [2.0, 6.0]);
    assert_eq!(bits.to_vec::<i32>()?[0], 2f32.to_bits() as i32);
    bits.fill_(0)?;
    assert_eq!(x.to_vec::<f32>()?, [0.0; 4]);
    Ok(())
}

/// Ops that were called before are found by their arguments: everything about them counts, but the values of inputs.
#[test]
fn an_op_called_again_looks_at_its_arguments_anew() -> Result<()> {
    let (x, n) = (tensor([1.0f32, 2.0, 3.0])?, tensor([1i64, 2, 3])?);
    for i in 0..6i64 {
        let f = i as f64;
        assert_eq!(x.add(f)?.to_vec::<f32>()?, [1.0, 2.0, 3.0].map(|v| v + f as f32));
        assert_eq!(x.add(i)?.to_vec::<f32>()?, [1.0, 2.0, 3.0].map(|v| v + f as f32));
        assert_eq!((n.add(i)?.dtype(), n.add(f)?.dtype()), (I64, F32));
        assert_eq!(n.add(true)?.to_vec::<i64>()?, [2, 3, 4]);
        assert_eq!(x.narrow(0, i % 3, 1)?.to_vec::<f32>()?, [(i % 3 + 1) as f32]);
        let clamp = |name| tensorc::call("clamp", &[(None, (&x).into()), (Some(name), f.into())]);
        assert_eq!(clamp("min")?[0].to_vec::<f32>()?, [1.0, 2.0, 3.0].map(|v: f32| v.max(f as f32)));
        assert_eq!(clamp("max")?[0].to_vec::<f32>()?, [1.0, 2.0, 3.0].map(|v: f32| v.min(f as f32)));
        let both = |a: &Tensor, b: &Tensor| {
            tensorc::call("cat", &[(None, [a.clone(), b.clone()].into()), (None, 0i64.into())])
        };
        assert_eq!(both(&x, &x.narrow(0, 0, 1 + i % 2)?)?[0].shape(), [4 + i as usize % 2]);
        // The same two tensors, but once they share elements.
        let y = x.copy()?;
        y.i(0..2)?.copy_(&x.i(1..3)?)?;
        assert_eq!(y.to_vec::<f32>()?, [2.0, 3.0, 3.0]);
        assert_eq!(y.i(0..2)?.copy_(&y.i(1..3)?).unwrap_err().kind(), Kind::Alias);
        let leaf = x.copy()?.requires_grad_(i % 2 == 1)?;
        assert_eq!(leaf.add_(1.0).is_err(), i % 2 == 1);
    }
    Ok(())
}

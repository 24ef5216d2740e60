//! Refusals of the Rust interface: each kind once, with its text, at the user's own line. What a program in text is refused
//! for is in `tests/filetests/refuse`, with the same texts.

use tensorc::dtype::*;
use tensorc::{Error, Kind, Loc, Result, Tensor, arange, cond, grad, jit, ones, rand, scan, tensor, while_loop, zeros};

/// The error, and the line that it must name: the one on which this stands.
macro_rules! refused {
    ($e:expr) => {
        ($e.map(|_| ()).unwrap_err(), line!())
    };
}

/// The kind and the text, after it is seen that the place is that line of this file.
#[track_caller]
fn said((e, line): (Error, u32)) -> String {
    let d = e.diagnostic();
    match d.loc {
        Loc::Rust(l) => assert_eq!((l.file(), l.line()), (file!(), line), "{e}"),
        _ => panic!("an error without its line: {e}"),
    }
    format!("{}: {}", d.kind.name(), d.message)
}

fn x() -> Tensor {
    ones(&[2, 3], F32).unwrap()
}

#[test]
fn methods_operators_and_functions_name_the_callers_line() {
    let (x, y) = (x(), ones(&[2], F32).unwrap());
    let broadcast = "The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension 1";
    assert_eq!(said(refused!(x.add(&y))), format!("shape: `add`: {broadcast}"));
    assert_eq!(said(refused!(&x + &y)), format!("shape: `add`: {broadcast}"));
    assert_eq!(said(refused!(&x * (&x - &y))), format!("shape: `sub`: {broadcast}"));
    assert_eq!(said(refused!(tensorc::add(&x, &y))), format!("shape: `add`: {broadcast}"));
    assert_eq!(said(refused!(x.maximum(&y))), format!("shape: `maximum`: {broadcast}"));
    assert_eq!(
        said(refused!(tensorc::call("add", &[(None, (&x).into()), (None, (&y).into())]))),
        format!("shape: `add`: {broadcast}")
    );
    assert_eq!(said(refused!(x.sub_(&y))), format!("shape: `sub`: {broadcast}"));
    assert_eq!(
        said(refused!(x.matmul(&x))),
        "shape: `matmul`: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"
    );
    assert_eq!(said(refused!(x.view([4, 2]))), "shape: shape '[4, 2]' is invalid for input of size 6");
    assert_eq!(
        said(refused!(x.softmax(2))),
        "index: Dimension out of range (expected to be in range of [-2, 1], but got 2)"
    );
    assert_eq!(said(refused!(x.where_(&x, &x))), {
        "dtype: `where` expected condition to be a boolean tensor, but got a tensor with dtype f32"
    });
    assert_eq!(
        said(refused!(-ones(&[2], Bool).unwrap())),
        "dtype: `neg`: Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use \
         the `!` or `logical_not()` operator instead"
    );
    assert_eq!(said(refused!(tensorc::call("tahn", &[(None, (&x).into())]))), "name: there is no function `tahn`");
}

#[test]
fn indices_name_the_callers_line() {
    let x = x();
    assert_eq!(said(refused!(x.i(5))), "index: index 5 is out of bounds for dimension 0 with size 2");
    assert_eq!(said(refused!(x.i((0, 0, 0)))), "index: too many indices for tensor of dimension 2: got 3");
    assert_eq!(said(refused!(x.set((0, 3), 1.0))), "index: index 3 is out of bounds for dimension 1 with size 3");
    let row = ones(&[2], F32).unwrap();
    assert_eq!(
        said(refused!(x.set(0, &row))),
        "shape: `copy_`: The expanded size of the tensor (3) must match the existing size (2) at non-singleton dimension 0. \
         Target sizes: [3]. Tensor sizes: [2]"
    );
}

#[test]
fn tensors_from_data_and_data_from_tensors() {
    let x = x();
    assert_eq!(said(refused!(Tensor::from_vec(vec![1f32; 5], &[2, 3]))), {
        "shape: shape '[2, 3]' is invalid for input of size 5"
    });
    assert_eq!(said(refused!(Tensor::from_vec(vec![1f32], &[1 << 40, 1 << 40]))), {
        "shape: a tensor of shape [1099511627776, 1099511627776] is too large"
    });
    assert_eq!(said(refused!(Tensor::from_bytes(F32, &[2], &[0; 7]))), "shape: 7 bytes for a tensor f32[2]");
    assert_eq!(said(refused!(tensor(vec![vec![1f32], vec![]]))), {
        "shape: a ragged list: expected a sequence of shape [1], got [0]"
    });
    assert_eq!(said(refused!(x.item::<f32>())), "shape: a Tensor with 6 elements cannot be converted to Scalar");
    assert_eq!(said(refused!(x.to_vec::<i64>())), "dtype: `to_vec` of a tensor of f32 as i64");
}

#[test]
fn failures_that_depend_on_data_name_the_line_of_the_call_at_hand() {
    let (x, i) = (arange(3.0).unwrap(), tensor([1i64, 7]).unwrap());
    let pick =
        |x: &Tensor, i: &Tensor| tensorc::call("gather", &[(None, x.into()), (None, 0.into()), (None, i.into())]);
    let text = "data: `gather`: index 7 is out of bounds for dimension 0 with size 3";
    assert_eq!(said((pick(&x, &i).unwrap_err(), line!() - 2)), text);
    // Compiled for the line above, called from others.
    let (a, zero) = (tensor([1i64, 2]).unwrap(), tensor([1i64, 0]).unwrap());
    let division = "data: integer division or modulo by zero (ZeroDivisionError)";
    assert_eq!(said(refused!(a.floor_divide(&zero))), division);
    assert_eq!(said(refused!(a.floor_divide(&zero))), division);
    assert_eq!(said(refused!(a.remainder(&zero))), division);
}

#[test]
fn jit_names_the_line_in_the_closure_and_the_call_for_its_arguments() {
    let mut line = 0;
    let f = jit(|(x, y): (Tensor, Tensor)| x.add(&y));
    let e = f.call((x(), ones(&[2], F32).unwrap())).unwrap_err();
    line += line!() - 2;
    assert_eq!(said((e, line)), {
        "shape: `add`: The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension 1"
    });
    let g = jit(|(a, b): (Tensor, Tensor)| a.floor_divide(&b));
    let e = g.call((tensor([1i64]).unwrap(), tensor([0i64]).unwrap())).unwrap_err();
    assert_eq!(said((e, line!() - 2)), "data: integer division or modulo by zero (ZeroDivisionError)");
    let h = jit(|x: Tensor| x.item::<f32>().map(|_| x.clone()));
    assert_eq!(said((h.call(zeros(&[], F32).unwrap()).unwrap_err(), line!() - 1)), {
        "type: `reading` needs the elements, which a traced tensor does not have"
    });
    let k = jit(|x: Tensor| x.exp()).dynamic(0, 3, "batch");
    assert_eq!(said(refused!(k.call(x()))), "index: there is no axis 3 of argument 0 to be `batch`");
    let m = jit(|(x, y): (Tensor, Tensor)| x.add(&y)).dynamic(0, 0, "batch").dynamic(1, 0, "batch");
    let (p, q) = (ones(&[2], F32).unwrap(), ones(&[3], F32).unwrap());
    assert_eq!(said(refused!(m.call((p, q)))), "shape: `batch` is 2 in one argument and 3 in argument 1");
    let r = jit(|x: Tensor| rand(&[2], None).and_then(|r| x.add(r)));
    assert_eq!(said((r.call(zeros(&[2], F32).unwrap()).unwrap_err(), line!() - 1)), {
        "type: `rand` needs a `seed` in a function that is traced"
    });
}

#[test]
fn memory_that_is_shared_where_it_may_not_be() {
    let x = arange(4.0).unwrap();
    assert_eq!(said(refused!(x.i(1..).unwrap().add_(x.i(..3).unwrap()))), {
        "alias: unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory \
         location"
    });
    let wide = zeros(&[1, 2], F32).unwrap().expand([3, 2]).unwrap();
    assert_eq!(said(refused!(wide.add_(1.0))), {
        "alias: unsupported operation: more than one element of the written-to tensor refers to a single memory location"
    });
    let f = jit(|(a, b): (Tensor, Tensor)| a.add_(&b));
    let e = f.call((x.i(1..).unwrap(), x.i(..3).unwrap())).unwrap_err();
    assert_eq!(e.kind(), Kind::Alias);
    assert!(matches!(e.diagnostic().loc, Loc::Rust(l) if l.file() == file!()), "{e}");
}

#[test]
fn gradients_and_control_flow_name_the_callers_line() {
    let x = x();
    let f = grad(|x: Tensor| x.exp());
    assert_eq!(said((f(x.clone()).map(|_| ()).unwrap_err(), line!() - 1)), {
        "grad: `grad` of f32[2, 3]: a gradient is implicit only for scalar outputs"
    });
    let g = grad(|x: Tensor| x.sum());
    let e = g(ones(&[2], I64).unwrap()).map(|_| ()).unwrap_err();
    assert_eq!(said((e, line!() - 2)), "grad: `grad` of i64[]: only floating point values have gradients");
    let p = ones(&[2], Bool).unwrap();
    let (one, zero) = (ones(&[], Bool).unwrap(), zeros(&[], F32).unwrap());
    assert_eq!(said(refused!(cond(&p, |x: Tensor| x.exp(), |x: Tensor| x.log(), x.clone()))), {
        "type: `cond`: the predicate is a bool tensor of one element, found bool[2]"
    });
    assert_eq!(said(refused!(cond(&one, |x: Tensor| x.exp(), |x: Tensor| x.sum(), x.clone()))), {
        "type: `cond`: `true_fn` gives f32[2, 3], `false_fn` gives f32; both branches give the same types"
    });
    assert_eq!(said(refused!(while_loop(|x: Tensor| x.lt(1.0), |x: Tensor| x.exp(), x.clone()))), {
        "type: `while_loop`: the result of `cond_fn` is a bool tensor of one element, found bool[2, 3]"
    });
    let step = |c: Tensor, x: Tensor| -> Result<(Tensor, Tensor)> { Ok((c.add(&x)?, x)) };
    assert_eq!(said(refused!(scan(step, zero.clone(), zero.clone()))), {
        "shape: `scan`: a tensor of shape [] has no dimension 0"
    });
    let outside = zeros(&[3], F32).unwrap();
    let writes = |c: Tensor, x: Tensor| -> Result<(Tensor, Tensor)> {
        outside.add_(1.0)?;
        Ok((c.add(&x)?, x))
    };
    let e = scan(writes, outside.copy().unwrap(), x.clone()).map(|_| ()).unwrap_err();
    assert_eq!(said((e, line!() - 4)), {
        "alias: a write to a tensor from outside, in a function that control flow runs"
    });
}

#[test]
fn traced_tensors_stay_in_their_function() {
    let kept = std::sync::Mutex::new(None);
    let f = jit(|x: Tensor| {
        *kept.lock().unwrap() = Some(x.clone());
        x.exp()
    });
    f.call(x()).unwrap();
    let escaped = kept.lock().unwrap().take().unwrap();
    assert_eq!(said(refused!(escaped.exp())), "type: a traced tensor was used after its function had been traced");
    let one = ones(&[], Bool).unwrap();
    let longer = |c: Vec<Tensor>, x: Tensor| Ok(([c.clone(), c].concat(), x));
    assert_eq!(said(refused!(scan(longer, vec![x()], x()))), {
        "type: `scan`: the carry that the function gives has another structure than the one it takes"
    });
    let lists = cond(&one, |x: Tensor| Ok(vec![x]), |x: Tensor| Ok(vec![x.clone(), x]), x());
    assert_eq!(said((lists.map(|_| ()).unwrap_err(), line!() - 1)), {
        "type: `cond`: the two functions give trees of different structure"
    });
}

#[test]
fn what_is_too_much_or_missing() {
    let one = ones(&[1, 1], F32).unwrap();
    let many = vec![one.clone(); 257];
    assert_eq!(said(refused!(tensorc::call("chain_matmul", &[(None, (&many[..]).into())]))), {
        "unsupported: `chain_matmul` of more than 256 matrices"
    });
    assert_eq!(said(refused!(tensorc::call("add_", &[(None, 2.0.into()), (None, (&one).into())]))), {
        "type: `add_` writes into its first argument, which is a number"
    });
    let step = |c: Tensor, _: Vec<Tensor>| -> Result<(Tensor, Vec<Tensor>)> { Ok((c.exp()?, Vec::new())) };
    assert_eq!(said(refused!(scan(step, one.clone(), Vec::new()))), "type: `scan`: there is no tensor to go along");
    let program = tensorc::program::Program::parse("p", "fn f(x: f32[2]) { x }").unwrap();
    let f = program.function(None).unwrap();
    let given = [tensorc::program::Given::Tensor(ones(&[2], I64).unwrap())];
    let e = program.bind(f, &given).map(|_| ()).unwrap_err();
    assert_eq!(e[0].diagnostic().message, "parameter `x` is f32, its argument is i64");
}

/// `cond` inside of `cond`, so deep.
fn nested(depth: usize, p: &Tensor, x: &Tensor) -> Result<Tensor> {
    if depth == 0 {
        return x.exp();
    }
    let inner = p.clone();
    cond(p, move |x: Tensor| nested(depth - 1, &inner, &x), |x: Tensor| x.log(), x.clone())
}

#[test]
fn control_flow_that_nests_too_deeply() {
    let (p, x) = (ones(&[], Bool).unwrap(), x());
    let e = nested(100, &p, &x).map(|_| ()).unwrap_err();
    assert_eq!((e.kind(), e.diagnostic().message.as_str()), (Kind::Unsupported, "control flow nests too deeply"));
}

#[test]
fn arguments_of_two_dtypes_that_share_memory_of_which_one_is_written() {
    let x = arange(4.0).unwrap();
    let f = jit(|(a, b): (Tensor, Tensor)| a.add_(&b));
    let e = f.call((x.clone(), x.view_dtype(I32).unwrap())).map(|_| ()).unwrap_err();
    assert_eq!(e.diagnostic().message, "arguments 0 and 1 share memory, and argument 0 is written");
    let wide = x.view_dtype(U8).unwrap();
    let e = f.call((x.clone(), wide.i(..4).unwrap())).map(|_| ()).unwrap_err();
    assert_eq!(e.kind(), Kind::Alias);
    let writes = jit(|x: Tensor| x.view_dtype(U8)?.zero_());
    assert_eq!(said((writes.call(x.clone()).map(|_| ()).unwrap_err(), line!() - 1)), {
        "unsupported: a write through a view that has elements of another size: u8 in the memory of f32"
    });
    // One op at a time there is memory: it is written, and what it reads of itself is refused.
    wide.i(3..4).unwrap().fill_(64).unwrap();
    assert_eq!(x.to_vec::<f32>().unwrap(), [2.0, 1.0, 2.0, 3.0]);
    assert_eq!(said(refused!(x.add_(wide.i(..4).unwrap()))), {
        "alias: unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory \
         location"
    });
    // The offset is no part of what a function is compiled for.
    let doubles = jit(|x: Tensor| x.view_dtype(F64));
    assert_eq!(doubles.call(x.i(..2).unwrap()).unwrap().shape(), [1]);
    let e = doubles.call(x.i(1..3).unwrap()).map(|_| ()).unwrap_err();
    assert_eq!(
        e.diagnostic().message,
        "`view`: self.storage_offset() must be divisible by 2 to view f32 as f64 (different element sizes), but got 1"
    );
    assert_eq!(said(refused!(x.i(1..3).unwrap().view_dtype(F64))), {
        "shape: `view`: self.storage_offset() must be divisible by 2 to view f32 as f64 (different element sizes), but got 1"
    });
}

#[test]
fn a_traced_tensor_in_another_function() {
    // Another thread knows nothing of the trace under way.
    let f = jit(|x: Tensor| {
        let inner = jit(|y: Tensor| y.add(&x));
        std::thread::scope(|s| s.spawn(|| inner.call(ones(&[2], F32)?)).join().expect("no panic"))
    });
    let e = f.call(ones(&[2], F32).unwrap()).map(|_| ()).unwrap_err();
    assert_eq!(e.diagnostic().message, "a traced tensor was used outside the function that it belongs to");
}

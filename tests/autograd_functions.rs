//! Every function of the table: `backward` on eager tensors gives the bits that `grad` of the traced function gives, and so
//! do gradients of gradients. The calls are the examples of the documentation.

mod calls;

use calls::Reader;
use tensorc::autograd::{Backward, grad};
use tensorc::{DType, Result, Tensor, call};
use tensorc_ir::describe::{Example, Param};
use tensorc_ir::ops::registry::entries;

/// Numbers between 0.1 and 0.9, all different, the same in every run.
fn values(n: usize, k: usize) -> Vec<f64> {
    (0..n).map(|i| 0.1 + 0.8 * ((i * 37 + k * 11 + 5) % 101) as f64 / 101.0).collect()
}

fn input(p: &Param, k: usize) -> Result<Tensor> {
    let shape = p.ty.extents()?;
    let n = shape.iter().product();
    match p.ty.dtype {
        d if d.is_float() => Tensor::from_vec(values(n, k), &shape)?.to(d),
        d => Tensor::from_vec((0..n as i64).map(|i| i % 2).collect(), &shape)?.to(d),
    }
}

/// A sum of the elements in which each has a weight of its own.
fn weighted(t: &Tensor) -> Result<Tensor> {
    let n = t.numel();
    let weights = Tensor::from_vec((0..n).map(|i| (i as f64).cos()).collect::<Vec<_>>(), t.shape())?;
    t.to(DType::F64)?.mul(&weights)?.sum()
}

fn total(all: &[Tensor]) -> Result<Option<Tensor>> {
    let mut sum: Option<Tensor> = None;
    for t in all.iter().filter(|t| t.dtype().is_float()) {
        let w = weighted(t)?;
        sum = Some(match sum {
            Some(s) => s.add(&w)?,
            None => w,
        });
    }
    Ok(sum)
}

fn bits(t: &Tensor) -> Vec<u64> {
    let nan = |v: f64| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() };
    t.to(DType::F64).unwrap().to_vec::<f64>().unwrap().into_iter().map(nan).collect()
}

#[test]
fn backward_agrees_with_grad_on_every_function() {
    let mut compared = 0;
    let mut second = 0;
    let mut skipped = Vec::new();
    let functions = entries().into_iter().filter(|e| !e.is_form && e.alias_of.is_none());
    for (k, e) in functions.enumerate() {
        let example = Example::parse(&e.example).unwrap();
        // Half floats in some: what is special about them is in few places.
        let dtypes: &[DType] = if k % 4 == 0 { &[DType::F64, DType::F16] } else { &[DType::F64] };
        for &dtype in dtypes {
            let Ok((params, _)) = example.types(dtype) else { continue };
            match compare(&example, &params, dtype) {
                Ok(Some((first, again))) => {
                    compared += first as usize;
                    second += again as usize;
                }
                Ok(None) => {}
                Err(why) => skipped.push(format!("{} {dtype}: {why}", e.name)),
            }
        }
    }
    println!("{compared} gradients and {second} second gradients agree; apart:\n{}", skipped.join("\n"));
    assert!(compared > 300, "{compared}");
    assert!(second > 200, "{second}");
    // A seed that is drawn, a matrix that has no inverse, and the write that is a function of its own.
    let known = |s: &String| ["needs a `seed`", "singular", "a leaf Variable"].iter().any(|w| s.contains(w));
    let unknown: Vec<&String> = skipped.iter().filter(|s| !known(s)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// Whether the gradients, and those of them, were compared; `Err` says why the call could not be made.
fn compare(example: &Example, params: &[Param], dtype: DType) -> std::result::Result<Option<(bool, bool)>, String> {
    let text = example.body(dtype);
    let inputs: Vec<Tensor> = params.iter().enumerate().map(|(k, p)| input(p, k).unwrap()).collect();
    let wrt: Vec<usize> = (0..inputs.len()).filter(|i| inputs[*i].dtype().is_float()).collect();
    if wrt.is_empty() {
        return Ok(None);
    }
    let plain = params.iter().map(|p| p.name.as_str()).zip(inputs.clone()).collect();
    if Reader::new(&text, plain).call().is_none() {
        return Err(format!("another form of call: {text}"));
    }
    let run = |x: &[Tensor]| -> Result<Vec<Tensor>> {
        let mut all: Vec<Tensor> = inputs.clone();
        wrt.iter().zip(x).for_each(|(i, t)| all[*i] = t.clone());
        let names = params.iter().map(|p| p.name.as_str()).zip(all).collect();
        let (name, args) = Reader::new(&text, names).call().expect("the example is a call");
        call(name, &args)
    };
    let floats: Vec<Tensor> = wrt.iter().map(|i| inputs[*i].copy().unwrap()).collect();
    // What the traced function gives.
    let loss = |x: Vec<Tensor>| total(&run(&x)?).map(|t| t.unwrap_or_else(|| Tensor::scalar(0.0f64).unwrap()));
    let traced = tensorc::grad(loss)(floats.clone());
    let twice = |x: Vec<Tensor>| {
        let all = tensorc::grad(loss)(x)?;
        total(&all).map(|t| t.unwrap_or_else(|| Tensor::scalar(0.0f64).unwrap()))
    };
    // Eager.
    let leaves: Vec<Tensor> = floats.iter().map(|t| t.copy().unwrap().requires_grad_(true).unwrap()).collect();
    let results = run(&leaves).map_err(|e| e.to_string())?;
    let Some(loss) = total(&results).map_err(|e| e.to_string())? else { return Ok(None) };
    if !loss.requires_grad() {
        return Ok(None);
    }
    let options = Backward { create_graph: true, allow_unused: true, ..Backward::default() };
    let eager = grad(&[loss], &leaves, &options);
    let (traced, eager) = match (traced, eager) {
        (Ok(t), Ok(e)) => (t, e),
        (Err(_), Err(_)) => return Ok(None),
        (Err(t), Ok(_)) => return Err(format!("traced: {t}")),
        (Ok(_), Err(e)) => panic!("{text}: {e}"),
    };
    for (t, e) in traced.iter().zip(&eager) {
        match e {
            Some(e) => assert_eq!(bits(t), bits(e), "{text} in {dtype}"),
            None => assert!(bits(t).iter().all(|b| *b == 0), "{text}"),
        }
    }
    let given: Vec<Tensor> = eager.into_iter().flatten().collect();
    let again = total(&given).unwrap().filter(|t| dtype == DType::F64 && t.requires_grad());
    let Some(again) = again else { return Ok(Some((true, false))) };
    let Ok(twice) = tensorc::grad(twice)(floats) else { return Ok(Some((true, false))) };
    let eager = grad(&[again], &leaves, &Backward { allow_unused: true, ..Backward::default() });
    let eager = eager.unwrap_or_else(|e| panic!("{text} twice: {e}"));
    for (t, e) in twice.iter().zip(&eager) {
        match e {
            Some(e) => assert_eq!(bits(t), bits(e), "{text} twice in {dtype}"),
            None => assert!(bits(t).iter().all(|b| *b == 0), "{text} twice"),
        }
    }
    Ok(Some((true, true)))
}

//! Random programs of views, writes and functions on eager tensors that require gradients, against what PyTorch 2.15 makes
//! of them: the gradients, which writes it refuses, and exactly when `backward` finds a value that was written since a
//! derivative's reading of it. Where nothing is refused, the traced function has the same gradients to the bit.
//!
//! `autograd/programs.json` is made by `tools/autograd/programs.py`. `AUTOGRAD_PROGRAMS` names another file.

use serde_json::Value as Json;
use tensorc::{DType, Result, Tensor, call, no_grad};

fn floats(v: &Json) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn number(s: &Json, key: &str) -> usize {
    s[key].as_u64().unwrap() as usize
}

fn step(pool: &[Tensor], s: &Json) -> Result<Tensor> {
    let x = &pool[number(s, "x")];
    let arg = |i: usize| s["args"][i].as_i64().unwrap();
    let op = s["op"].as_str().unwrap();
    match op {
        "row" => x.select(0, arg(0)),
        "rows" => x.narrow(0, arg(0), arg(1)),
        "cols" => x.narrow(1, arg(0), arg(1)),
        "t" => x.t(),
        "unsqueeze" => x.unsqueeze(arg(0)),
        "flat" => x.view([-1]),
        "detach" => x.detach(),
        "diagonal" => x.diagonal(0, 0, 1),
        "expand" => {
            let shape: Vec<i64> = std::iter::once(2).chain(x.shape().iter().map(|n| *n as i64)).collect();
            x.expand(shape.as_slice())
        }
        "unbind" => Ok(call("unbind", &[(None, x.into())])?.swap_remove(arg(0) as usize)),
        "sum" => x.sum_dim(arg(0), false),
        op => {
            let mut args = vec![(None, x.into())];
            if let Some(y) = s["y"].as_u64() {
                args.push((None, (&pool[y as usize]).into()));
            }
            if let Some(c) = s["c"].as_f64() {
                args.push((None, c.into()));
            }
            Ok(call(op, &args)?.remove(0))
        }
    }
}

/// The sum at the end of a program on those leaves.
fn run(program: &Json, leaves: &[Tensor], check: bool) -> std::result::Result<(Tensor, Vec<Tensor>), String> {
    let text = |e: tensorc::Error| e.to_string();
    let plain = Tensor::from_vec(floats(&program["values"][2]), &[3, 4]).map_err(text)?;
    let mut pool = vec![leaves[0].clone(), leaves[1].clone(), plain.clone(), leaves[0].mul(1.0).map_err(text)?];
    for (k, s) in program["steps"].as_array().unwrap().iter().enumerate() {
        let off = s["no_grad"].as_bool().unwrap_or(false);
        let made = if off && check { no_grad(|| step(&pool, s)) } else { step(&pool, s) };
        if let Some(why) = s["refused"].as_str() {
            if check {
                let e = made.err().ok_or_else(|| format!("step {k} is not refused: {s}"))?;
                if !e.to_string().contains(why) {
                    return Err(format!("step {k}: {s}: {e}"));
                }
            }
            continue;
        }
        let made = made.map_err(|e| format!("step {k}: {s}: {e}"))?;
        if check && Some(made.requires_grad()) != s["requires_grad"].as_bool() {
            return Err(format!("step {k}: {s}: requires_grad is {}", made.requires_grad()));
        }
        if !s["op"].as_str().unwrap().ends_with('_') {
            pool.push(made);
        }
    }
    let mut total: Option<Tensor> = None;
    for (k, i) in program["sum"].as_array().unwrap().iter().enumerate() {
        let part = pool[i.as_u64().unwrap() as usize].mul(1.0 + 0.25 * k as f64).and_then(|t| t.sum()).map_err(text)?;
        total = Some(match total {
            Some(t) => t.add(&part).map_err(text)?,
            None => part,
        });
    }
    Ok((total.unwrap(), pool))
}

fn near(got: &[f64], want: &[f64]) -> bool {
    got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 1e-9 * (1.0 + w.abs()))
}

/// What is wrong with a program, if anything.
fn check(program: &Json) -> std::result::Result<Went, String> {
    let values: Vec<Vec<f64>> = program["values"].as_array().unwrap().iter().map(floats).collect();
    let new = |k: usize| Tensor::from_vec(values[k].clone(), &[3, 4]).unwrap();
    let leaves: Vec<Tensor> = (0..2).map(|k| new(k).requires_grad_(true).unwrap()).collect();
    let (total, pool) = run(program, &leaves, true)?;
    for (i, t) in pool.iter().enumerate() {
        for (name, got) in [("requires_grad", t.requires_grad()), ("is_leaf", t.is_leaf())] {
            if program[name][i].as_bool() != Some(got) {
                return Err(format!("{name} of tensor {i} is {got}"));
            }
        }
    }
    if !near(&total.to_vec::<f64>().unwrap(), &[program["value"].as_f64().unwrap()]) {
        return Err(format!("the value is {total}, PyTorch's {}", program["value"]));
    }
    let ran = total.backward();
    let steps = program["steps"].as_array().unwrap();
    let refused = program["error"].as_str();
    if let Some(why) = refused {
        // PyTorch also goes back, with zeros, through what was overwritten as a whole and through functions of views made
        // under `no_grad`; and it copies what `x.mul_(x)` writes to as one operand and not as the other.
        let overwrites = |s: &Json| {
            matches!(s["op"].as_str(), Some("zero_" | "fill_" | "copy_")) || s["x"] == s["y"] || !s["no_grad"].is_null()
        };
        match ran {
            Ok(()) if steps.iter().any(overwrites) => {}
            Ok(()) => return Err("backward is not refused".into()),
            Err(e) if e.to_string().contains(why) => return Ok(Went::Refused),
            Err(e) => return Err(format!("backward: {e}")),
        }
    } else {
        ran.map_err(|e| format!("backward: {e}"))?;
    }
    // What is written through a `detach` is a constant in a traced function, and unknown to eager autograd.
    let plain = |s: &Json| s["refused"].is_null() && s["no_grad"].is_null() && s["op"] != "detach";
    let plain = steps.iter().all(plain);
    let traced = plain.then(|| {
        let f =
            |x: (Tensor, Tensor)| run(program, &[x.0, x.1], false).map(|(t, _)| t).map_err(|e| panic!("traced: {e}"));
        tensorc::grad(f)((new(0), new(1)))
    });
    let traced = traced.transpose().map_err(|e| format!("traced: {e}"))?;
    for (k, leaf) in leaves.iter().enumerate() {
        let got = leaf.grad().map(|g| g.to_vec::<f64>().unwrap());
        let want = program["grads"][k].as_array().map(|_| floats(&program["grads"][k]));
        match (&got, &want) {
            _ if refused.is_some() => {}
            (Some(g), Some(w)) if near(g, w) => {}
            (None, None) => {}
            // What a program overwrites is a constant or a zero.
            (Some(z), None) | (None, Some(z)) if z.iter().all(|v| *v == 0.0) => {}
            _ => return Err(format!("gradient {k} is {got:?}, PyTorch's {want:?}")),
        }
        if let (Some(g), Some((a, b))) = (&got, &traced) {
            let t = if k == 0 { a } else { b }.to(DType::F64).unwrap().to_vec::<f64>().unwrap();
            let bits = |v: &[f64]| v.iter().map(|v| (v + 0.0).to_bits()).collect::<Vec<_>>();
            if bits(g) != bits(&t) {
                return Err(format!("gradient {k} is {g:?}, traced {t:?}"));
            }
        }
    }
    Ok(if refused.is_some() { Went::Further } else { Went::Through })
}

/// How `backward` of a program went.
enum Went {
    Through,
    Refused,
    /// PyTorch refuses it, for a value that only counts for what was overwritten.
    Further,
}

#[test]
fn programs_behave_as_in_pytorch() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/autograd/programs.json");
    let path = std::env::var("AUTOGRAD_PROGRAMS").unwrap_or_else(|_| own.into());
    let all: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    let (mut through, mut refused, mut further) = (0, 0, 0);
    for (k, p) in all.as_array().unwrap().iter().enumerate() {
        match check(p) {
            Ok(Went::Through) => through += 1,
            Ok(Went::Refused) => refused += 1,
            Ok(Went::Further) => further += 1,
            Err(why) => wrong.push(format!("program {k}: {why}")),
        }
    }
    println!("{through} differentiated, {refused} refused, {further} differentiated that PyTorch refuses");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    assert!(through > 100 && refused > 20 && further < refused / 2, "{through} {refused} {further}");
}

//! Cases of golden form (`tests/golden/README.md`): small programs with what PyTorch computes for them, run by the
//! reference interpreter and through compiled code, fused and one op at a time. Values are compared with PyTorch's within
//! the case's tolerance, and the modes with each other to the bit. What PyTorch refuses is refused in all modes, by the same
//! text at the same place, which says what PyTorch's does (`wording`). A case that panics is a case that fails.

mod wording;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value as Json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tensorc::program::{Given, Mode, Program};
use tensorc::{DType, Error, Kind, Tensor};

fn tensor(file: &SafeTensors<'_>, key: &str) -> Tensor {
    let t = file.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
    let dtype = match t.dtype() {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool,
        d => panic!("a golden tensor of {d:?}"),
    };
    Tensor::from_bytes(dtype, t.shape(), t.data()).unwrap()
}

/// What is different between two tensors, if anything.
fn difference(got: &Tensor, want: &Tensor, rtol: f64, atol: f64) -> Option<String> {
    if got.dtype() != want.dtype() || got.shape() != want.shape() {
        return Some(format!("{} {:?}, expected {} {:?}", got.dtype(), got.shape(), want.dtype(), want.shape()));
    }
    let (g, w) = (got.scalars().unwrap(), want.scalars().unwrap());
    let close = |i: usize| {
        if rtol == 0.0 && atol == 0.0 && !got.dtype().is_float() {
            return g[i].to_i64() == w[i].to_i64();
        }
        let (g, w) = (g[i].to_f64(), w[i].to_f64());
        if w.is_nan() || w.is_infinite() {
            g.is_nan() && w.is_nan() || g == w
        } else {
            (g - w).abs() <= atol + rtol * w.abs()
        }
    };
    (0..g.len()).find(|i| !close(*i)).map(|i| format!("element {i} is {}, expected {}", g[i], w[i]))
}

/// Whether two tensors have the same bits; any NaN equals any NaN.
fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    let (x, y) = (a.scalars().unwrap(), b.scalars().unwrap());
    a.dtype() == b.dtype()
        && a.shape() == b.shape()
        && x.iter().zip(&y).all(|(x, y)| x == y || x.to_f64().is_nan() && y.to_f64().is_nan())
}

/// Results, and the arguments by name afterwards.
type Ran = (Vec<Tensor>, Vec<(String, Tensor)>);

/// Runs a case in one mode.
fn run(case: &Json, file: &SafeTensors<'_>, mode: Mode) -> Result<Ran, Error> {
    let first = |e: Vec<Error>| e[0].clone();
    let program = Program::parse("case", case["source"].as_str().unwrap()).map_err(first)?;
    let f = program.function(None)?;
    let names: Vec<String> = program.module().params(f).iter().map(|p| p.name.text.clone()).collect();
    let given: Vec<Given> = names
        .iter()
        .map(|n| match case["bind"][n].as_str() {
            Some(view) => Given::View(view.to_string()),
            None => Given::Tensor(tensor(file, case["inputs"][n].as_str().unwrap())),
        })
        .collect();
    let call = program.bind(f, &given).map_err(first)?;
    let results = program.call(f, &call, mode).map_err(first)?;
    Ok((results, names.into_iter().zip(call.tensors().to_vec()).collect()))
}

fn check(case: &Json, file: &SafeTensors<'_>) -> Result<(), String> {
    let number = |f: &str| case[f].as_f64().unwrap_or(0.0);
    let (rtol, atol) = (number("rtol"), number("atol"));
    let mut all = Vec::new();
    let mut refused: Option<Error> = None;
    for mode in [Mode::Interpret, Mode::Eager, Mode::Fused] {
        let (results, args) = match (run(case, file, mode), case["error"] == true) {
            (Ok(r), false) => r,
            (Ok(_), true) => return Err(format!("{mode:?}: was not refused ({})", case["why"])),
            (Err(e), false) => return Err(format!("{mode:?}: refused: {e}")),
            (Err(e), true) => match e.kind() {
                Kind::Syntax | Kind::Name | Kind::Unsupported => {
                    return Err(format!("{mode:?}: refused for another reason: {e}"));
                }
                _ => {
                    if let Some(other) = refused.as_ref().filter(|other| **other != e) {
                        return Err(format!("{mode:?}: refused by {e}, in another mode by {other}"));
                    }
                    refused = Some(e);
                    continue;
                }
            },
        };
        let wanted = case["outputs"].as_array().unwrap();
        if results.len() != wanted.len() {
            return Err(format!("{mode:?}: {} results, expected {}", results.len(), wanted.len()));
        }
        for (i, (r, w)) in results.iter().zip(wanted).enumerate() {
            if let Some(d) = difference(r, &tensor(file, w.as_str().unwrap()), rtol, atol) {
                return Err(format!("{mode:?}: result {i}: {d}"));
            }
        }
        for (name, key) in case["mutated"].as_object().into_iter().flatten() {
            let (_, arg) = args.iter().find(|(n, _)| n == name).unwrap();
            if let Some(d) = difference(arg, &tensor(file, key.as_str().unwrap()), rtol, atol) {
                return Err(format!("{mode:?}: `{name}` afterwards: {d}"));
            }
        }
        let tensors: Vec<Tensor> = results.into_iter().chain(args.into_iter().map(|(_, t)| t)).collect();
        all.push((mode, tensors));
    }
    if let Some(e) = refused {
        return worded(case["why"].as_str().unwrap(), &e);
    }
    if let Some(((_, truth), others)) = all.split_first() {
        for (mode, tensors) in others {
            if let Some(i) = truth.iter().zip(tensors).position(|(a, b)| !same_bits(a, b)) {
                return Err(format!(
                    "{mode:?}: tensor {i} has other bits than in the interpreter: {} and {}",
                    tensors[i], truth[i]
                ));
            }
        }
    }
    Ok(())
}

/// Whether an error says what PyTorch does, or is one that deliberately says something else.
fn worded(torch: &str, e: &Error) -> Result<(), String> {
    let d = e.diagnostic();
    let ours = format!("{} {}", d.message, d.help.as_deref().unwrap_or(""));
    match (wording::lacks(torch, &ours), wording::excepted(torch)) {
        (None, false) | (Some(_), true) => Ok(()),
        (Some(why), false) => Err(format!("PyTorch says: {torch}\n    we say: {ours}\n    {why}")),
        (None, true) => Err(format!("it says what PyTorch does, and is listed in wording.txt: {torch}")),
    }
}

/// Runs the cases of `dir/name.json`. In the project's own folders the exceptions must fail: one that passes is to be taken
/// off its list.
///
/// # Panics
/// If a case fails that is no exception, or one passes that must fail, after all have run.
pub fn group(dir: &Path, name: &str, exceptions: &[&str]) {
    let read =
        |ext: &str| std::fs::read(dir.join(format!("{name}.{ext}"))).unwrap_or_else(|e| panic!("{name}.{ext}: {e}"));
    let cases: Vec<Json> = serde_json::from_slice(&read("json")).unwrap();
    let bytes = read("safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let own = dir.starts_with(env!("CARGO_MANIFEST_DIR"));
    let mut failed = Vec::new();
    let mut excepted = 0;
    for c in &cases {
        let result = catch_unwind(AssertUnwindSafe(|| check(c, &file)));
        let result = result.unwrap_or_else(|_| Err("crash: it panicked".into()));
        let said = match (result, exceptions.contains(&c["name"].as_str().unwrap())) {
            (Ok(()), false) => continue,
            (Err(_), true) => {
                excepted += 1;
                continue;
            }
            (Ok(()), true) if !own => continue,
            (Ok(()), true) => "it passes, and is listed as an exception".into(),
            (Err(e), false) => e,
        };
        failed.push(format!("{}\n    {}\n    {said}", c["name"], c["source"]));
    }
    println!("{name}: {} of {} cases, {excepted} exceptions", cases.len() - failed.len() - excepted, cases.len());
    assert!(failed.is_empty(), "{} of {} cases fail:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// The folder that a variable names, or else one beside the tests.
pub fn folder(variable: &str, own: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(own),
    }
}

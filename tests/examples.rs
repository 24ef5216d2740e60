//! Every function of the table by its example: it runs in each dtype that it takes, in all modes to the same bits, its
//! gradients are there as the documentation says and agree with central differences, and its in-place form writes what
//! the function gives. `docs/ops.md` is compared with the table; `BLESS=1` writes it.

mod table;

use std::path::PathBuf;
use std::process::Command;
use table::{Values, agree, arguments, part, run, same_bits, tried};
use tensorc::program::{Mode, Program};
use tensorc::{DType, Error, Tensor};
use tensorc_ir::Type;
use tensorc_ir::describe::{Derivative, Example, Param, describe};
use tensorc_ir::ops::registry::{Entry, entries};

/// Compares gradients in `f64` with central differences of the loss.
fn differences(
    p: &Program,
    params: &[Param],
    args: &[Vec<f64>],
    wrt: &[usize],
    slope: &[Tensor],
) -> Result<(), String> {
    let loss = |args: &[Vec<f64>]| -> f64 {
        run(p, "loss", params, args, Mode::Interpret).map_or(f64::NAN, |r| r[0].scalars().unwrap()[0].to_f64())
    };
    let here = loss(args);
    if !here.is_finite() {
        return Ok(());
    }
    for (param, gradient) in wrt.iter().zip(slope).filter(|(i, _)| params[**i].ty.dtype == DType::F64) {
        for (i, got) in gradient.scalars().unwrap().iter().map(|s| s.to_f64()).enumerate() {
            let at = |step: f64| {
                let mut args = args.to_vec();
                args[*param][i] += step;
                loss(&args)
            };
            let step = 1e-6;
            let want = (at(step) - at(-step)) / (2.0 * step);
            if !want.is_finite() && !got.is_finite() {
                continue;
            }
            let close = (want - got).abs() <= 2e-6 * (1.0 + want.abs() + here.abs());
            if !close {
                let name = &params[*param].name;
                return Err(format!("the gradient of `{name}` at {i} is {got}, differences say {want}"));
            }
        }
    }
    Ok(())
}

/// The file with a function `in_place` that calls the in-place form, if the result fits the first operand.
fn in_place(e: &Entry, example: &Example, dtype: DType, params: &[Param], outs: &[Type]) -> Option<String> {
    let (first, [out]) = (params.first()?, outs) else { return None };
    // `normal_` and `bernoulli_` draw for the places of the tensor: other functions than those without underscore.
    let other = matches!(e.name, "normal" | "bernoulli");
    if e.is_form || other || first.mutable || *out != first.ty {
        return None;
    }
    let body = example.body(dtype);
    let rest = body.strip_prefix(&format!("{}({}", e.name, first.name))?.strip_suffix(')')?;
    let rest = if rest.is_empty() { "" } else { rest.strip_prefix(", ")? };
    let declared = example.params(dtype).replacen(": ", ": mut ", 1);
    let (x, name, functions) = (&first.name, e.name, example.functions(dtype));
    Some(format!("{functions}\nfn in_place({declared}) {{\n    {x}.{name}_({rest});\n    {x}\n}}\n"))
}

fn parse(text: &str) -> Result<Program, String> {
    Program::parse("example", text).map_err(|e| format!("{}\n{text}", e[0]))
}

/// All of one function in one dtype.
fn one(e: &Entry, dtype: DType, derivatives: &[(String, Derivative)]) -> Result<(), String> {
    let said = |e: Error| e.to_string();
    let example = Example::parse(&e.example).map_err(said)?;
    let (params, outs) = example.types(dtype).map_err(said)?;
    let by = |p: &Param| p.ty.dtype.is_float() && !p.mutable;
    let of = |p: &Param| derivatives.iter().any(|(n, d)| *n == p.name && matches!(d, Derivative::AnyOrder));
    let wrt: Vec<usize> = (0..params.len()).filter(|i| by(&params[*i]) && of(&params[*i])).collect();
    let names: Vec<&Param> = wrt.iter().map(|i| &params[*i]).collect();
    let differentiated = example.differentiated(dtype, &params, &outs, &names);
    let program = parse(differentiated.as_ref().unwrap_or(&example.program(dtype)))?;
    let written = in_place(e, &example, dtype, &params, &outs).map(|t| parse(&t)).transpose()?;
    // Differences of a cast to a narrower float are those of its steps.
    let narrow = outs.iter().any(|t| t.dtype.is_float() && t.dtype != DType::F64);
    let smooth = dtype == DType::F64 && !narrow && !e.example.contains("seed=");
    let mut works = false;
    for values in [Values::Signed, Values::Domain] {
        // The second choice is for what the first leaves out; the dtypes of a category differ little in it.
        if values == Values::Domain && works && dtype != DType::F64 {
            break;
        }
        let args = arguments(e, &params, values);
        let with = |e: String| format!("{values:?} values: {e}");
        let result = agree(&program, "example", &params, &args).map_err(with)?;
        let Ok(result) = result else { continue };
        works = true;
        if let Some(p) = &written {
            let all = agree(p, "in_place", &params, &args).map_err(with)?.map_err(said).map_err(with)?;
            if !same_bits(&all[0], &result[0]) || !same_bits(&all[1], &result[0]) {
                return Err(with(format!("in place it is {}, else {}", all[0], result[0])));
            }
        }
        if differentiated.is_some() {
            let slope = agree(&program, "slope", &params, &args).map_err(with)?.map_err(said).map_err(with)?;
            if smooth {
                differences(&program, &params, &args, &wrt, &slope).map_err(with)?;
            }
            if dtype == DType::F64 {
                agree(&program, "curve", &params, &args).map_err(with)?.map_err(said).map_err(with)?;
            }
        }
        if params.is_empty() {
            break;
        }
    }
    if works { Ok(()) } else { Err("no values work".into()) }
}

fn holds(e: &Entry) -> Vec<String> {
    match describe(&e.example) {
        Ok(d) if !d.accepted.is_empty() => {
            let tried = |dtype: DType| tried(&format!("{} in {dtype}", e.name), || one(e, dtype, &d.derivatives));
            d.accepted.iter().filter_map(|(dtype, _)| tried(*dtype)).collect()
        }
        Ok(d) => vec![format!("{}: works in no dtype: {:?}", e.name, d.refused.first())],
        Err(error) => vec![format!("{}: {error}", e.name)],
    }
}

#[test]
fn examples_hold_first_quarter() {
    part(0, 4, holds);
}

#[test]
fn examples_hold_second_quarter() {
    part(1, 4, holds);
}

#[test]
fn examples_hold_third_quarter() {
    part(2, 4, holds);
}

#[test]
fn examples_hold_fourth_quarter() {
    part(3, 4, holds);
}

#[test]
fn aliases_have_the_examples_of_their_functions() {
    for e in entries().iter().filter(|e| e.alias_of.is_some()) {
        let d = describe(&e.example).unwrap();
        assert!(e.example.contains(&format!("=> {}(", e.name)), "{}: {}", e.name, e.example);
        assert!(!d.accepted.is_empty(), "{}: {:?}", e.name, d.refused.first());
    }
}

#[test]
fn the_documentation_is_that_of_the_table() {
    let out = Command::new(env!("CARGO_BIN_EXE_tensorc")).args(["ops", "--markdown"]).output().unwrap();
    assert!(out.status.success());
    let now = String::from_utf8(out.stdout).unwrap();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/ops.md");
    if std::env::var("BLESS").is_ok_and(|v| v == "1") {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(now.lines()).find(|(a, b)| a != b);
    assert!(kept == now, "docs/ops.md is not what the table says: write it with BLESS=1; {differs:?}");
}

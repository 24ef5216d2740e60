//! Derivatives along a direction (`jvp`) of every function of the table: transposed to those in reverse, to first and to
//! second order, and the same bits in all modes.

#[allow(dead_code)]
mod table;

use std::cell::Cell;
use table::{Values, agree, arguments, numbers, part, tried};
use tensorc::DType;
use tensorc::program::Program;
use tensorc_ir::Type;
use tensorc_ir::describe::{Derivative, Example, Param, describe};
use tensorc_ir::ops::registry::Entry;

/// How far the two may differ, relative to their size: both are sums of products that are rounded to the narrowest dtype
/// among results and operands, where a function casts.
fn rounding<'a>(types: impl Iterator<Item = &'a Type>) -> f64 {
    let of = |t: &Type| match t.dtype {
        DType::F32 => 1e-6,
        DType::F16 => 4e-3,
        DType::BF16 => 3e-2,
        _ => 1e-9,
    };
    types.map(of).fold(1e-9, f64::max)
}

/// A file whose function `both` gives <u, J t>, <J^T u, t> and J t; `again` the same of the gradient of <u, y>.
fn program(example: &Example, params: &[Param], outs: &[Type], wrt: &[usize]) -> Option<(String, Vec<Param>)> {
    let dtype = DType::F64;
    let list = |prefix: &str, all: &mut dyn Iterator<Item = usize>| -> String {
        all.map(|i| format!("{prefix}{i},")).collect::<Vec<_>>().join(" ")
    };
    let floats: Vec<usize> = (0..outs.len()).filter(|i| outs[*i].dtype.is_float()).collect();
    if floats.is_empty() || wrt.is_empty() {
        return None;
    }
    let mut all = params.to_vec();
    let with = |name: String, ty: &Type| Param { name, ty: ty.clone(), mutable: false };
    all.extend(wrt.iter().map(|i| with(format!("tan{i}"), &params[*i].ty)));
    all.extend(floats.iter().map(|i| with(format!("cot{i}"), &outs[*i])));
    let declared = |p: &Param| {
        format!("{}: {}{}", p.name, if p.mutable { "mut " } else { "" }, tensorc_ir::text::print::type_text(&p.ty))
    };
    let declared = all.iter().map(declared).collect::<Vec<_>>().join(", ");
    let names: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();
    let x: String = wrt.iter().map(|i| format!("{}, ", params[*i].name)).collect();
    let pattern = match outs.len() {
        1 => "out0".into(),
        n => format!("({})", list("out", &mut (0..n))),
    };
    let dots = |a: &str, b: &str, all: &[usize]| -> String {
        all.iter().map(|i| format!("sum({a}{i}.double() * {b}{i}.double())")).collect::<Vec<_>>().join(" + ")
    };
    let (y, t) = (list("out", &mut floats.iter().copied()), list("tan", &mut wrt.iter().copied()));
    let (dy, dx) = (list("dout", &mut floats.iter().copied()), list("dx", &mut wrt.iter().copied()));
    let (second, g2) = (list("ddx", &mut wrt.iter().copied()), list("gg", &mut wrt.iter().copied()));
    let call = format!(
        "    let {pattern} = example({});\n    let loss = {};\n",
        names.join(", "),
        dots("out", "cot", &floats)
    );
    let text = format!(
        "{}\nfn both({declared}) {{\n{call}    let ({dy}) = jvp(({y}), ({x}), ({t}));\n    let ({dx}) = grad(loss, ({x}));\n    \
         ({}, {}, {dy})\n}}\n\nfn again({declared}) {{\n{call}    let ({dx}) = grad(loss, ({x}));\n    let ({second}) = \
         jvp(({dx}), ({x}), ({t}));\n    let ({g2}) = grad({}, ({x}), allow_unused=true);\n    ({}, {}, {second})\n}}\n",
        example.program(dtype),
        dots("cot", "dout", &floats),
        dots("tan", "dx", wrt),
        dots("dx", "tan", wrt),
        dots("tan", "ddx", wrt),
        dots("tan", "gg", wrt),
    );
    Some((text, all))
}

fn one(e: &Entry, derivatives: &[(String, Derivative)]) -> Result<(), String> {
    let example = Example::parse(&e.example).map_err(|e| e.to_string())?;
    let Ok((params, outs)) = example.types(DType::F64) else { return Ok(()) };
    let by = |p: &Param| p.ty.dtype.is_float() && !p.mutable;
    let of = |p: &Param| derivatives.iter().any(|(n, d)| *n == p.name && matches!(d, Derivative::AnyOrder));
    let wrt: Vec<usize> = (0..params.len()).filter(|i| by(&params[*i]) && of(&params[*i])).collect();
    let Some((text, all)) = program(&example, &params, &outs, &wrt) else { return Ok(()) };
    let p = Program::parse("example", &text).map_err(|e| format!("{}\n{text}", e[0]))?;
    let rounding = rounding(outs.iter().chain(params.iter().map(|p| &p.ty)));
    let mut works = false;
    for values in [Values::Signed, Values::Domain] {
        let mut args = arguments(e, &params, values);
        for (i, p) in all.iter().enumerate().skip(params.len()) {
            args.push(numbers(i, table::count(&p.ty), p.ty.dtype, Values::Signed, (0.0, 1.0)));
        }
        for function in ["both", "again"] {
            let Ok(out) = agree(&p, function, &all, &args)? else { continue };
            works = true;
            let number = |i: usize| out[i].scalars().map(|s| s[0].to_f64()).map_err(|e| e.to_string());
            let (left, right) = (number(0)?, number(1)?);
            let close = (left - right).abs() <= rounding * (1.0 + left.abs().max(right.abs()));
            if !close && left.is_finite() && right.is_finite() {
                return Err(format!("{function}, {values:?} values: forward {left}, in reverse {right}"));
            }
        }
    }
    if works { Ok(()) } else { Err("no values work".into()) }
}

fn half(number: usize) {
    let compared = Cell::new(0);
    part(number, 2, |e| {
        let Ok(d) = describe(&e.example) else { return Vec::new() };
        if d.derivatives.iter().any(|(_, d)| matches!(d, Derivative::AnyOrder)) {
            compared.set(compared.get() + 1);
        }
        tried(e.name, || one(e, &d.derivatives)).into_iter().collect()
    });
    let compared = compared.get();
    assert!(std::env::var("EXAMPLE").is_ok() || compared > 50, "only {compared} functions have derivatives");
}

#[test]
fn jvp_is_the_transpose_of_grad_for_the_first_half_of_the_table() {
    half(0);
}

#[test]
fn jvp_is_the_transpose_of_grad_for_the_second_half_of_the_table() {
    half(1);
}

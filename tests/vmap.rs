//! `vmap` against a loop: every function of the table, and its gradient, for several elements at once gives each of them the
//! bits that it has alone.

#[allow(dead_code)]
mod table;

use table::{Values, arguments, domain, numbers, part, same_bits, tried};
use tensorc::program::{Mode, Program};
use tensorc::{DType, Tensor};
use tensorc_ir::Type;
use tensorc_ir::describe::{Derivative, Example, Param, describe};
use tensorc_ir::ops::registry::Entry;
use tensorc_ir::text::print::type_text;

/// How many elements there are.
const LANES: usize = 3;

/// How operands of `function` differ between elements: all of them do, or the first one only.
const WHICH: [(&str, bool); 2] = [("all_differ", true), ("one_differs", false)];

/// The file with functions `all_differ` and `one_differs` that run `function` for every element.
fn program(text: &str, function: &str, params: &[Param]) -> String {
    let mut text = text.to_string();
    for (name, all) in WHICH {
        let count = if all { params.len() } else { 1 };
        let declared: Vec<String> = params
            .iter()
            .enumerate()
            .map(|(i, p)| format!("{}: {}", p.name, type_text(&lanes(&p.ty, i < count))))
            .collect();
        let list = |params: &[Param]| params.iter().map(|p| format!("{},", p.name)).collect::<String>();
        let consts =
            if count < params.len() { format!(", consts=({})", list(&params[count..])) } else { String::new() };
        let (declared, xs) = (declared.join(", "), list(&params[..count]));
        text += &format!("\nfn {name}({declared}) {{\n    vmap({function}, ({xs}){consts})\n}}\n");
    }
    text
}

fn lanes(ty: &Type, on: bool) -> Type {
    if !on {
        return ty.clone();
    }
    let shape = ty.extents().unwrap();
    Type::new(ty.dtype, std::iter::once(LANES).chain(shape))
}

/// The elements of each operand, for every lane. Lanes have other numbers, in another order.
fn elements(e: &Entry, params: &[Param], values: Values) -> Vec<Vec<Vec<f64>>> {
    let first = arguments(e, params, values);
    let lane = |l: usize| -> Vec<Vec<f64>> {
        let turned = |(i, a): (usize, &Vec<f64>)| {
            let dtype = params[i].ty.dtype;
            match dtype.is_float() {
                true => numbers(i + 5 * l, a.len(), dtype, values, domain(e)),
                false => (0..a.len()).map(|k| a[(k + l) % a.len()]).collect(),
            }
        };
        first.iter().enumerate().map(turned).collect()
    };
    (0..LANES).map(lane).collect()
}

/// Runs `function` for all lanes at once and one by one, and compares.
fn compare(p: &Program, function: &str, params: &[Param], data: &[Vec<Vec<f64>>]) -> Result<bool, String> {
    let mut works = false;
    for (name, all) in WHICH {
        let differs = |i: usize| all || i == 0;
        let mut alone = Vec::new();
        for lane in data {
            let args = params.iter().enumerate().map(|(i, p)| {
                let from = if differs(i) { lane } else { &data[0] };
                table::tensor(&p.ty, &from[i])
            });
            alone.push(p.run(Some(function), &args.collect::<Vec<_>>(), Mode::Interpret));
        }
        let args = params.iter().enumerate().map(|(i, p)| {
            let own: Vec<f64> = data.iter().flat_map(|lane| lane[i].clone()).collect();
            table::tensor(&lanes(&p.ty, differs(i)), if differs(i) { &own } else { &data[0][i] })
        });
        let args: Vec<Tensor> = args.collect();
        let together = p.run(Some(name), &args, Mode::Fused);
        let failed = alone.iter().find_map(|r| r.as_ref().err());
        let together = match (together, failed) {
            (Ok(t), None) => t,
            (Err(_), Some(_)) => continue,
            (Ok(_), Some(e)) => return Err(format!("{name}: together there is no error, alone {}", e[0])),
            (Err(e), None) => return Err(format!("{name}: together it fails: {}", e[0])),
        };
        works = true;
        for (l, one) in alone.iter().flatten().enumerate() {
            for (k, (whole, one)) in together.iter().zip(one).enumerate() {
                let mine = whole.select(0, l as i64).map_err(|e| e.to_string())?;
                if !same_bits(&mine, one) {
                    return Err(format!("{name}: result {k} of element {l} is {mine}, alone {one}"));
                }
            }
        }
    }
    Ok(works)
}

fn one(e: &Entry, dtype: DType, derivatives: &[(String, Derivative)]) -> Result<(), String> {
    let said = |e: tensorc::Error| e.to_string();
    let example = Example::parse(&e.example).map_err(said)?;
    let (params, outs) = example.types(dtype).map_err(said)?;
    if params.is_empty() || params.iter().any(|p| p.mutable) {
        return Ok(());
    }
    let parse = |text: &str| Program::parse("example", text).map_err(|e| format!("{}\n{text}", e[0]));
    let p = parse(&program(&example.program(dtype), "example", &params))?;
    let by = |p: &&Param| derivatives.iter().any(|(n, d)| *n == p.name && matches!(d, Derivative::AnyOrder));
    let wrt: Vec<&Param> = params.iter().filter(|p| p.ty.dtype.is_float()).filter(by).collect();
    let slopes = match dtype {
        DType::F64 => example.differentiated(dtype, &params, &outs, &wrt),
        _ => None,
    };
    let slopes = slopes.map(|text| parse(&program(&text, "slope", &params))).transpose()?;
    let mut works = false;
    for values in [Values::Signed, Values::Domain] {
        let data = elements(e, &params, values);
        works |= compare(&p, "example", &params, &data).map_err(|e| format!("{values:?} values: {e}"))?;
        if let Some(p) = &slopes {
            compare(p, "slope", &params, &data).map_err(|e| format!("the gradient, {values:?} values: {e}"))?;
        }
    }
    if works { Ok(()) } else { Err("no values work".into()) }
}

fn holds(e: &Entry) -> Vec<String> {
    let Ok(d) = describe(&e.example) else { return Vec::new() };
    // Of a function of all dtypes a float, an integer and bool; of another those of its example.
    let dtypes = [DType::F64, DType::F16, DType::I64, DType::Bool];
    let dtypes = d.accepted.iter().map(|(t, _)| *t).filter(|t| !d.varies || dtypes.contains(t));
    dtypes.filter_map(|t| tried(&format!("{} in {t}", e.name), || one(e, t, &d.derivatives))).collect()
}

#[test]
fn vmap_is_a_loop_for_the_first_half_of_the_table() {
    part(0, 2, holds);
}

#[test]
fn vmap_is_a_loop_for_the_second_half_of_the_table() {
    part(1, 2, holds);
}

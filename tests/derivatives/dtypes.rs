//! The derivatives of every function of the table in narrow floats, backward and forward, against those in `f64` at the
//! same numbers; and that there are none with respect to integers and truth values.
//!
//! How near they must be is derived from the dtype and from the gradient itself. Let `u` be half a unit in the last place
//! of 1. A computation of which each step is rounded by at most `u` is, to first order, the exact one of numbers that are
//! off by some `u`, with a result that is off by some `u`. So an element of the gradients `g` is off by at most
//!
//! ```text
//! STEPS (u max |g| + the most that g changes when all numbers are changed by u) + a step of the smallest numbers
//! ```
//!
//! where `STEPS` is how many roundings follow upon each other. Numbers are the operands, and the cotangents of the results.
//! How much `g` changes is found out in `f64`.

use crate::differences::{evaluate, graph, narrow_unit, ways};
use crate::near;
use crate::table::{MODES, Values, arguments, count, numbers, part, run, same_bits, tried};
use std::cell::Cell;
use tensorc::program::{Mode, Program};
use tensorc::{DType, Kind};
use tensorc_ir::describe::{Derivative, Example, Param, describe};
use tensorc_ir::ops::registry::Entry;
use tensorc_ir::text::print::type_text;
use tensorc_ir::{Graph, Scalar, Type};

/// Enough for all functions but those below; the farthest is `corrcoef`, off by about 14.
const STEPS: f64 = 16.0;

/// Functions for which it is not enough, and why.
const FARTHER: [(&str, f64, &str); 1] =
    [("rms_norm", 32.0, "its epsilon is that of the dtype, so it is another function in each")];

/// In how many ways the numbers are changed.
const TURNS: usize = 3;

/// The distance of the smallest numbers.
fn smallest(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => 2f64.powi(-149),
        DType::F16 => 2f64.powi(-24),
        _ => 2f64.powi(-133),
    }
}

/// The file with each cotangent of the results changed by `u`.
fn cotangents_moved(text: &str, turn: usize, u: f64) -> String {
    let moved = format!("cos(i) * (1.0 + {u:e} * sign(cos(i * 2.3 + {turn})))");
    text.replace("* cos(arange(", "* moved(arange(") + &format!("\nfn moved(i: f64[N]) -> f64[N] {{ {moved} }}\n")
}

/// The operands with each number of that dtype changed by `u`.
fn operands_moved(params: &[Param], args: &[Vec<f64>], dtype: DType, turn: usize, u: f64) -> Vec<Vec<f64>> {
    let moved = |(i, a): (usize, &Vec<f64>)| -> Vec<f64> {
        let signs = numbers(i + 3 * turn, a.len(), DType::F64, Values::Signed, (0.0, 1.0));
        let by = if params[i].ty.dtype == dtype { u } else { 0.0 };
        a.iter().zip(signs).map(|(v, s)| v * (1.0 + by * s.signum())).collect()
    };
    args.iter().enumerate().map(moved).collect()
}

/// The gradients of a function in `f64`, and those of changed cotangents.
struct Exact {
    params: Vec<Param>,
    slope: Graph,
    moved: Vec<Graph>,
}

impl Exact {
    /// The gradients, and how much each changes; `None` where the function is not defined.
    fn at(&self, args: &[Vec<f64>], u: f64) -> Option<(Vec<f64>, Vec<f64>)> {
        let finite = |g: &Vec<f64>| g.iter().all(|v| v.is_finite());
        let g = evaluate(&self.slope, &self.params, args).filter(finite)?;
        let mut change = vec![0.0f64; g.len()];
        for (turn, moved) in self.moved.iter().enumerate() {
            // The function in the narrow dtype has parameters of that dtype where this one's are of `f64`.
            let args = operands_moved(&self.params, args, DType::F64, turn, u);
            let other = evaluate(moved, &self.params, &args).filter(finite)?;
            change.iter_mut().zip(other.iter().zip(&g)).for_each(|(c, (o, g))| *c = c.max((o - g).abs()));
        }
        Some((g, change))
    }
}

/// The file with a function `along` that gives the derivative of `loss` along a direction, and its parameters.
fn with_forward(text: &str, params: &[Param], wrt: &[usize]) -> (String, Vec<Param>) {
    let tangent = |i: &usize| Param { name: format!("t_{}", params[*i].name), ..params[*i].clone() };
    let all: Vec<Param> = params.iter().cloned().chain(wrt.iter().map(tangent)).collect();
    let list = |all: &[Param]| all.iter().map(|p| format!("{}, ", p.name)).collect::<String>();
    let mutable = |p: &Param| if p.mutable { "mut " } else { "" };
    let declared: String = all.iter().map(|p| format!("{}: {}{}, ", p.name, mutable(p), type_text(&p.ty))).collect();
    let x: Vec<Param> = wrt.iter().map(|i| params[*i].clone()).collect();
    let (args, x, t) = (list(params), list(&x), list(&all[params.len()..]));
    let along = format!("fn along({declared}) {{\n    let total = loss({args});\n    jvp(total, ({x}), ({t}))\n}}\n");
    (format!("{text}\n{along}"), all)
}

/// How many bounds the gradients, and the derivative along a direction, are off at most.
fn farthest(e: &Entry, example: &Example, dtype: DType, derivatives: &[(String, Derivative)]) -> Result<f64, String> {
    let said = |e: tensorc::Error| e.to_string();
    let (params, outs) = example.types(dtype).map_err(said)?;
    let (wide, wide_outs) = example.types(DType::F64).map_err(said)?;
    let of = |p: &Param| derivatives.iter().any(|(n, d)| *n == p.name && matches!(d, Derivative::AnyOrder));
    let wrt: Vec<usize> = (0..wide.len()).filter(|i| wide[*i].ty.dtype == DType::F64 && of(&wide[*i])).collect();
    if wrt.is_empty() {
        return Ok(0.0);
    }
    let text = |dtype: DType, params: &[Param], outs: &[Type]| {
        let by: Vec<&Param> = wrt.iter().map(|i| &params[*i]).collect();
        example.differentiated(dtype, params, outs, &by).ok_or("there is nothing to differentiate")
    };
    let (narrow_text, wide_text) = (text(dtype, &params, &outs)?, text(DType::F64, &wide, &wide_outs)?);
    let (narrow_text, all) = with_forward(&narrow_text, &params, &wrt);
    let p = Program::parse("example", &narrow_text).map_err(|e| format!("{}\n{narrow_text}", e[0]))?;
    let (u, tiny) = (narrow_unit(dtype).ok_or("it is not narrow")?, smallest(dtype));
    let moved = (0..TURNS).map(|turn| graph(&cotangents_moved(&wide_text, turn, u), "slope"));
    let exact = Exact { slope: graph(&wide_text, "slope")?, moved: moved.collect::<Result<_, _>>()?, params: wide };
    let (mut farthest, mut told) = (0.0f64, 0);
    for (values, domain) in ways(e) {
        if told == 2 {
            break;
        }
        let mut args = arguments(e, &params, values);
        for (i, p) in params.iter().enumerate().filter(|(_, p)| p.ty.dtype.is_float()) {
            let all = numbers(i, args[i].len(), p.ty.dtype, values, domain);
            args[i] = all.into_iter().map(|v| Scalar::from_f64(p.ty.dtype, v).to_f64()).collect();
        }
        let Some((want, change)) = exact.at(&args, u) else { continue };
        let results = run(&p, "slope", &params, &args, Mode::Fused).map_err(said)?;
        if results[..wrt.len()].iter().any(|g| g.dtype() != dtype) {
            return Err("a gradient has another dtype than its operand".into());
        }
        let got: Vec<f64> = results[..wrt.len()].iter().flat_map(near::numbers).collect();
        told += 1;
        let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for ((got, want), change) in got.iter().zip(&want).zip(&change) {
            // What is too large is infinite.
            if got.is_infinite() && *got == Scalar::from_f64(dtype, *want).to_f64() {
                continue;
            }
            let off = (got - want).abs() / (u * size + change + tiny / STEPS);
            if off.is_nan() {
                return Err(format!("{got}, in f64 it is {want}, at {args:?}"));
            }
            farthest = farthest.max(off);
        }
        // The derivative along a direction, of which each number may be off as its part of the gradients is.
        let way: Vec<f64> = (0..want.len()).map(|k| [1.0, -0.5, 0.25, -1.0][k % 4]).collect();
        let mut rest = way.as_slice();
        let tangents = wrt.iter().map(|i| {
            let (own, others) = rest.split_at(count(&params[*i].ty));
            rest = others;
            own.to_vec()
        });
        let args: Vec<Vec<f64>> = args.iter().cloned().chain(tangents).collect();
        let along = near::numbers(&run(&p, "along", &all, &args, Mode::Fused).map_err(said)?[0])[0];
        let sum = |of: &dyn Fn(usize) -> f64| (0..want.len()).map(of).sum::<f64>();
        // A result of a still narrower dtype rounds it.
        let u = outs.iter().filter_map(|t| narrow_unit(t.dtype)).fold(u, f64::max);
        let off = (along - sum(&|k| want[k] * way[k])).abs() / sum(&|k| (u * size + change[k] + tiny) * way[k].abs());
        if along.is_infinite() && size > 65504.0 {
            continue;
        }
        if off.is_nan() {
            return Err(format!("along a direction {along}, in f64 {want:?} along {way:?}"));
        }
        farthest = farthest.max(off);
    }
    if told > 0 { Ok(farthest) } else { Err("no numbers do".into()) }
}

fn near_enough(e: &Entry) -> Vec<String> {
    let Ok(example) = Example::parse(&e.example) else { return vec![format!("{}: no example", e.name)] };
    let Ok(d) = describe(&e.example) else { return vec![format!("{}: no description", e.name)] };
    let takes = |t: DType| d.accepted.iter().any(|(a, _)| *a == t);
    if !d.varies || !takes(DType::F64) || !d.derivatives.iter().any(|(_, d)| matches!(d, Derivative::AnyOrder)) {
        return Vec::new();
    }
    let listed = FARTHER.iter().find(|(n, ..)| *n == e.name);
    let most = listed.map_or(STEPS, |(_, steps, _)| *steps);
    let reached = Cell::new(0.0f64);
    let check = |dtype: DType| {
        let off = farthest(e, &example, dtype, &d.derivatives)?;
        reached.set(reached.get().max(off));
        if off <= most { Ok(()) } else { Err(format!("off by {off:.1} steps of {most}")) }
    };
    let floats = [DType::F32, DType::F16, DType::BF16].into_iter().filter(|t| takes(*t));
    let wrong = floats.filter_map(|t| tried(&format!("{} in {t}", e.name), || check(t)));
    let mut wrong: Vec<String> = wrong.collect();
    if listed.is_some() && reached.get() <= STEPS {
        wrong.push(format!("{}: is listed, but is off by {:.1} steps only", e.name, reached.get()));
    }
    wrong
}

#[test]
fn gradients_in_narrow_floats_are_those_in_f64_for_the_first_half_of_the_table() {
    part(0, 2, near_enough);
}

#[test]
fn gradients_in_narrow_floats_are_those_in_f64_for_the_second_half_of_the_table() {
    part(1, 2, near_enough);
}

#[test]
fn nothing_has_a_gradient_with_respect_to_integers_or_truth_values() {
    let compared = Cell::new(0);
    part(0, 1, |e| {
        let (Ok(example), Ok(d)) = (Example::parse(&e.example), describe(&e.example)) else { return Vec::new() };
        let mut wrong = Vec::new();
        for dtype in d.accepted.iter().map(|(t, _)| *t) {
            let Ok((params, outs)) = example.types(dtype) else { continue };
            for p in params.iter().filter(|p| !p.ty.dtype.is_float() && !p.mutable) {
                let Some(text) = example.differentiated(dtype, &params, &outs, &[p]) else { continue };
                compared.set(compared.get() + 1);
                let module = tensorc_ir::text::Module::parse("example", &text).unwrap();
                let f = module.function("slope").unwrap();
                match module.trace(f, &tensorc_ir::text::Sizes::default(), None) {
                    Ok(_) => wrong.push(format!("{}: there is a gradient by `{}` of {}", e.name, p.name, p.ty.dtype)),
                    Err(e) if e[0].kind() == Kind::Grad => {}
                    Err(other) => wrong.push(format!("{}: {}", e.name, other[0])),
                }
            }
        }
        wrong
    });
    assert!(compared.get() > 500 || std::env::var("EXAMPLE").is_ok(), "{} operands only", compared.get());
}

/// Runs the function `f` of a program, of operands of these types, which gives two results that are one to the bit.
fn the_same(text: &str, types: &[Type]) {
    let p = Program::parse("half", text).unwrap_or_else(|e| panic!("{}\n{text}", e[0]));
    let params: Vec<Param> = types.iter().map(|t| Param { name: "x".into(), ty: t.clone(), mutable: false }).collect();
    let args: Vec<Vec<f64>> =
        types.iter().enumerate().map(|(i, t)| numbers(i, count(t), t.dtype, Values::Signed, (0.0, 1.0))).collect();
    for mode in MODES {
        let both = run(&p, "f", &params, &args, mode).unwrap();
        assert!(same_bits(&both[0], &both[1]), "{mode:?}: {} and {}\n{text}", both[0], both[1]);
    }
}

#[test]
fn a_rule_on_half_floats_is_rounded_once() {
    // What the rule says of operand x, result y and cotangent d, in f32.
    let rules = [
        ("tanh(x)", "d * (1.0 - y * y)"),
        ("sigmoid(x)", "d * (y * (1.0 - y))"),
        ("atan(x)", "d / (x * x + 1.0)"),
        ("square(x)", "d * (x * 2.0)"),
        ("silu(x)", "d * (sigmoid(x) * (x * (1.0 - sigmoid(x)) + 1.0))"),
    ];
    for dtype in [DType::F16, DType::BF16] {
        let ty = |n: usize| Type::new(dtype, [n]);
        for (function, rule) in rules {
            let text = format!(
                "fn rule(x: f32[97], y: f32[97], d: f32[97]) {{ {rule} }}\nfn f(x: {dtype}[97], d: {dtype}[97]) {{\n    let y \
                 = {function};\n    let g = grad(y, x, seed=d);\n    (g, rule(x.float(), y.float(), \
                 d.float()).to({dtype}))\n}}\n"
            );
            the_same(&text, &[ty(97), ty(97)]);
        }
        // What was picked often gets one sum.
        let text = format!(
            "fn f(x: {dtype}[2], d: {dtype}[97]) {{\n    let i = remainder(arange(97), 2);\n    let y = index_select(x, 0, \
             i);\n    (grad(y, x, seed=d), index_add(zeros([2]), 0, i, d.float()).to({dtype}))\n}}\n"
        );
        the_same(&text, &[ty(2), ty(97)]);
    }
}

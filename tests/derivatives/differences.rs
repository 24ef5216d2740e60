//! Every function of the table against central differences in `f64`, along a random direction of all its operands, to
//! first and to second order. Differences are those of the interpreter, gradients those of fused kernels.
//!
//! Whether differences can be trusted at some numbers, they say themselves: those of a step, of its half and of its quarter
//! must agree. So no kink near by is taken for a wrong derivative, and none hides one. Every function must be smooth at
//! some numbers at least. What no gradient is said to flow through must stay the same where it is smooth, or stand in a
//! list with the reason; what stands there without need fails too.

use crate::near;
use crate::table::{Values, arguments, count, domain, numbers, part, run, tried};
use tensorc::DType;
use tensorc::program::{Mode, Program};
use tensorc_ir::describe::{Derivative, Example, Param, describe};
use tensorc_ir::interp::{self, Array};
use tensorc_ir::ops::registry::Entry;
use tensorc_ir::passes::run_all;
use tensorc_ir::text::print::type_text;
use tensorc_ir::text::{Module, Sizes};
use tensorc_ir::{Graph, Scalar, Type};

/// Functions that change with an operand to which no gradient flows, and why.
const CUT: [(&str, &str); 6] = [
    ("detach", "to cut is what it is for"),
    ("stop_gradient", "to cut is what it is for"),
    ("kept", "what was kept is read by derivatives only, and has its own in its place"),
    ("bitcast", "the same bits as another dtype are no function that has a derivative"),
    ("view_dtype", "the same bits as another dtype are no function that has a derivative"),
    ("zeta", "the derivative by x is no elementary function of zeta; PyTorch has none either"),
];

/// Functions without a gradient that have a derivative along a direction.
const FORWARD: [&str; 1] = ["while_loop"];

/// A function of a file for the interpreter.
pub fn graph(text: &str, function: &str) -> Result<Graph, String> {
    let first = |e: Vec<tensorc::Error>| format!("{}\n{text}", e[0]);
    let m = Module::parse("example", text).map_err(first)?;
    let f = m.function(function).map_err(|e| e.to_string())?;
    run_all(&m.trace(f, &Sizes::default(), None).map_err(first)?).map_err(|e| e.to_string())
}

/// The elements of all results one after the other; `None` where the function fails.
pub fn evaluate(g: &Graph, params: &[Param], args: &[Vec<f64>]) -> Option<Vec<f64>> {
    let array = |(p, a): (&Param, &Vec<f64>)| {
        let elements = a.iter().map(|v| Scalar::from_f64(p.ty.dtype, *v));
        Array::from_scalars(p.ty.dtype, &p.ty.extents().unwrap(), elements)
    };
    let inputs: Vec<Array> = params.iter().zip(args).map(array).collect();
    let results = interp::run(g, &inputs).ok()?;
    Some(results.iter().flat_map(Array::scalars).map(Scalar::to_f64).collect())
}

/// Where a function is tried.
struct Point {
    args: Vec<Vec<f64>>,
    /// The rounding unit of the narrowest float that the function has to do with, if that is not `f64`.
    narrow: Option<f64>,
}

/// Half a unit in the last place of 1, if that is more than in `f64`.
pub fn narrow_unit(dtype: DType) -> Option<f64> {
    match dtype {
        DType::F32 => Some(2f64.powi(-24)),
        DType::F16 => Some(2f64.powi(-11)),
        DType::BF16 => Some(2f64.powi(-8)),
        _ => None,
    }
}

/// Where the numbers of operands lie: on both sides of 0, where the function is defined, and above 1.
pub fn ways(e: &Entry) -> [(Values, (f64, f64)); 3] {
    let domain = domain(e);
    [(Values::Signed, domain), (Values::Domain, domain), (Values::Domain, (1.2, 3.8))]
}

/// Several points: on both sides of 0, where the function is defined, and above 1.
///
/// A function that casts to a narrower float is a staircase. On a grid of sixteenths, which such floats hold, it is the identity, and a
/// wide step stays on the grid; but its cotangents are rounded.
fn points(e: &Entry, params: &[Param], outs: &[Type]) -> Vec<Point> {
    let types = outs.iter().chain(params.iter().map(|p| &p.ty));
    let narrow = types.filter_map(|t| narrow_unit(t.dtype)).reduce(f64::max);
    let point = |turn: usize, (values, domain): (Values, (f64, f64))| {
        let mut args = arguments(e, params, values);
        for (i, p) in params.iter().enumerate().filter(|(_, p)| p.ty.dtype.is_float()) {
            args[i] = numbers(i + 5 * turn, args[i].len(), p.ty.dtype, values, domain);
            if narrow.is_some() {
                args[i].iter_mut().for_each(|v| *v = (*v * 16.0).round() / 16.0);
            }
        }
        Point { args, narrow }
    };
    (0..3).flat_map(|turn| ways(e).map(|w| point(turn, w))).collect()
}

/// How `f` changes, with its size, if differences can tell.
fn slope(f: impl Fn(f64) -> Option<f64>, h: f64) -> Option<(f64, f64)> {
    let here = f(0.0)?;
    let central = |h: f64| Some((f(h)? - f(-h)?) / (2.0 * h));
    let (wide, half, quarter) = (central(h)?, central(h / 2.0)?, central(h / 4.0)?);
    // The error of each is of the fourth order.
    let (coarse, fine) = ((4.0 * half - wide) / 3.0, (4.0 * quarter - half) / 3.0);
    let size = fine.abs().max(1e-3 * here.abs()).max(1e-3);
    (here.abs() < 1e6 && (coarse - fine).abs() <= 2e-7 * size).then_some((fine, size))
}

fn dot(a: &[f64], b: &[Vec<f64>]) -> f64 {
    a.iter().zip(b.iter().flatten()).map(|(a, b)| a * b).sum()
}

/// A function with what it is differentiated by.
struct Case<'a> {
    params: &'a [Param],
    wrt: &'a [usize],
}

impl Case<'_> {
    /// A direction: numbers of both signs, none of them small.
    fn direction(&self, order: usize, point: &Point) -> Vec<Vec<f64>> {
        let one = |i: &usize| -> Vec<f64> {
            let all = numbers(*i + 7 * order, count(&self.params[*i].ty), DType::F64, Values::Signed, (0.0, 1.0));
            let long = |v: &f64| if point.narrow.is_some() { 1.0 } else { 0.5 + v.abs() / 2.0 };
            all.iter().map(|v| v.signum() * long(v)).collect()
        };
        self.wrt.iter().map(one).collect()
    }

    /// Holds the derivative `got` along a direction against differences of `f`; false where those do not tell.
    fn compare(
        &self,
        order: usize,
        point: &Point,
        f: impl Fn(&[Vec<f64>]) -> Option<f64>,
        got: impl Fn(&[Vec<f64>]) -> Result<f64, String>,
    ) -> Result<bool, String> {
        let way = self.direction(order, point);
        let at = |h: f64| {
            let mut args = point.args.clone();
            for (i, d) in self.wrt.iter().zip(&way) {
                args[*i].iter_mut().zip(d).for_each(|(x, d)| *x += h * d);
            }
            f(&args).filter(|v| v.is_finite())
        };
        let step = if point.narrow.is_some() { 0.25 } else { 1e-3 };
        let Some((want, size)) = slope(at, step) else { return Ok(false) };
        let got = got(&way)?;
        // Each weight of a result, which is at most 1, may be off by a rounding. NaN is not close.
        let rounded = point.narrow.map_or(0.0, |u| u * way.iter().flatten().map(|d| d.abs()).sum::<f64>());
        let close = (got - want).abs() <= 1e-6 * size + rounded;
        if close { Ok(true) } else { Err(format!("order {order}: {got}, differences say {want} at {:?}", point.args)) }
    }

    /// The sum of the gradients' elements as the function `curve` weighs them.
    fn weighted(&self, gradients: &[f64]) -> f64 {
        let mut all = gradients.iter();
        let one = |i: &usize| -> f64 {
            let own = all.by_ref().take(count(&self.params[*i].ty)).enumerate();
            own.map(|(k, g)| g * (k as f64).cos()).sum()
        };
        self.wrt.iter().map(one).sum()
    }
}

fn parse(text: &str) -> Result<Program, String> {
    Program::parse("example", text).map_err(|e| format!("{}\n{text}", e[0]))
}

/// At how many points differences told something, for each order. Some such points are enough.
#[derive(Debug, Default)]
struct Told([usize; 2]);

impl Told {
    fn add(&mut self, order: usize, told: bool) {
        self.0[order - 1] += told as usize;
    }

    fn is_enough(&self) -> bool {
        self.0.iter().all(|n| *n >= 4)
    }
}

/// Gradients, and gradients of them.
fn reverse(case: &Case<'_>, text: &str, points: &[Point]) -> Result<Told, String> {
    let p = parse(text)?;
    let (loss, gradient) = (graph(text, "loss")?, graph(text, "slope")?);
    let fused = |function: &str, args: &[Vec<f64>]| -> Result<Vec<f64>, String> {
        let results = run(&p, function, case.params, args, Mode::Fused).map_err(|e| e.to_string())?;
        Ok(results[..case.wrt.len()].iter().flat_map(near::numbers).collect())
    };
    let mut told = Told::default();
    for point in points {
        if told.is_enough() {
            break;
        }
        let value = |args: &[Vec<f64>]| evaluate(&loss, case.params, args).map(|v| v[0]);
        told.add(1, case.compare(1, point, value, |way| Ok(dot(&fused("slope", &point.args)?, way)))?);
        let slope = |args: &[Vec<f64>]| evaluate(&gradient, case.params, args).map(|g| case.weighted(&g));
        told.add(2, case.compare(2, point, slope, |way| Ok(dot(&fused("curve", &point.args)?, way)))?);
    }
    Ok(told)
}

/// That a function stays the same, where differences tell.
fn constant(case: &Case<'_>, text: &str, points: &[Point]) -> Result<Told, String> {
    let loss = graph(text, "loss")?;
    let value = |args: &[Vec<f64>]| evaluate(&loss, case.params, args).map(|v| v[0]);
    let mut told = Told::default();
    for point in points {
        let stays = case.compare(1, point, value, |_| Ok(0.0))?;
        [1, 2].into_iter().for_each(|order| told.add(order, stays));
    }
    Ok(told)
}

/// Derivatives along directions, and of them, as [`reverse`].
fn forward(case: &Case<'_>, text: &str, points: &[Point]) -> Result<Told, String> {
    let names =
        |prefix: &str| case.wrt.iter().map(|i| format!("{prefix}{},", case.params[*i].name)).collect::<String>();
    let tangents = |prefix: &str| -> Vec<Param> {
        let one = |p: &Param| Param { name: format!("{prefix}{}", p.name), ..p.clone() };
        case.wrt.iter().map(|i| one(&case.params[*i])).collect()
    };
    let all: Vec<Param> = [case.params, &tangents("t_"), &tangents("s_")].concat();
    let declared = all.iter().map(|p| format!("{}: {}", p.name, type_text(&p.ty))).collect::<Vec<_>>().join(", ");
    let args = case.params.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
    let (x, t, s) = (names(""), names("t_"), names("s_"));
    let along = format!("    let y = loss({args});\n    let along = jvp(y, ({x}), ({t}));\n");
    let text = format!(
        "{text}\nfn along({declared}) {{\n{along}    along\n}}\n\nfn again({declared}) {{\n{along}    jvp(along, ({x}), \
         ({s}))\n}}\n"
    );
    let p = parse(&text)?;
    let (loss, slope) = (graph(&text, "loss")?, graph(&text, "along")?);
    let mut told = Told::default();
    for point in points {
        if told.is_enough() {
            break;
        }
        let (first, second) = (case.direction(1, point), case.direction(2, point));
        let with = |args: &[Vec<f64>]| [args, &first, &second].concat();
        let fused = |function: &str| -> Result<f64, String> {
            let results = run(&p, function, &all, &with(&point.args), Mode::Fused).map_err(|e| e.to_string())?;
            Ok(near::numbers(&results[0])[0])
        };
        let value = |args: &[Vec<f64>]| evaluate(&loss, case.params, args).map(|v| v[0]);
        told.add(1, case.compare(1, point, value, |_| fused("along"))?);
        let slope = |args: &[Vec<f64>]| evaluate(&slope, &all, &with(args)).map(|v| v[0]);
        told.add(2, case.compare(2, point, slope, |_| fused("again"))?);
    }
    Ok(told)
}

/// One function with respect to the operands whose derivative is of that kind.
fn one(e: &Entry, example: &Example, params: &[Param], wrt: &[usize], kind: &Derivative) -> Result<(), String> {
    let (_, outs) = example.types(DType::F64).map_err(|e| e.to_string())?;
    let by: Vec<&Param> = wrt.iter().map(|i| &params[*i]).collect();
    // Nothing to compare: no result is of floats.
    let Some(text) = example.differentiated(DType::F64, params, &outs, &by) else { return Ok(()) };
    let (case, points) = (Case { params, wrt }, points(e, params, &outs));
    let told = match kind {
        Derivative::AnyOrder => reverse(&case, &text, &points)?,
        Derivative::None => constant(&case, &text, &points)?,
        Derivative::Refused(1, _) if FORWARD.contains(&e.name) => forward(&case, &text, &points)?,
        Derivative::Refused(order, why) => return Err(format!("order {order} is refused: {why}")),
    };
    if !told.0.contains(&0) { Ok(()) } else { Err(format!("differences say nothing, by order: {told:?}")) }
}

fn holds(e: &Entry) -> Vec<String> {
    let Ok(example) = Example::parse(&e.example) else { return vec![format!("{}: no example", e.name)] };
    let Ok(d) = describe(&e.example) else { return vec![format!("{}: no description", e.name)] };
    let Ok((params, _)) = example.types(DType::F64) else { return Vec::new() };
    let mut wrong = Vec::new();
    let kinds = |d: &Derivative| std::mem::discriminant(d);
    let mut seen = Vec::new();
    for (_, kind) in &d.derivatives {
        if seen.contains(&kinds(kind)) {
            continue;
        }
        seen.push(kinds(kind));
        let alike = |p: &Param| d.derivatives.iter().any(|(n, d)| *n == p.name && kinds(d) == kinds(kind));
        let wrt: Vec<usize> = (0..params.len()).filter(|i| alike(&params[*i])).collect();
        let cut = matches!(kind, Derivative::None) && CUT.iter().any(|(n, _)| *n == e.name);
        match (tried(e.name, || one(e, &example, &params, &wrt, kind)), cut) {
            (Some(error), false) => wrong.push(error),
            (None, true) => wrong.push(format!("{}: is said to be cut, but does not change", e.name)),
            _ => {}
        }
    }
    wrong
}

#[test]
fn derivatives_are_those_of_differences_for_the_first_half_of_the_table() {
    part(0, 2, holds);
}

#[test]
fn derivatives_are_those_of_differences_for_the_second_half_of_the_table() {
    part(1, 2, holds);
}

#[test]
fn only_functions_of_the_table_are_listed() {
    let names: Vec<&str> = tensorc_ir::ops::registry::entries().iter().map(|e| e.name).collect();
    for name in CUT.iter().map(|(n, _)| n).chain(&FORWARD) {
        assert!(names.contains(name), "{name}");
    }
}

//! Derivatives where a function has none: PyTorch 2.15's, in every way to write the function and to ask for them.
//!
//! The rule is PyTorch's: the exact derivative; at a kink of a convex function the subgradient of least norm, of a concave
//! one the supergradient; else the limit, which may be infinite. Each row is a call, its operands and the derivatives of
//! its result (of the sum of all elements) by each of them. A row is differentiated as a function, as a method, in place,
//! in place through a view and of a view, in programs in all modes and dtypes, traced from Rust and on the tape, backward
//! and forward.

use crate::calls::Reader;
use crate::near;
use std::fmt::Write;
use tensorc::autograd::{Backward, grad as backward};
use tensorc::program::{Mode, Program};
use tensorc::{DType, Result, Tensor, call, grad, jit, jvp, value_and_grad_strong_zero};
use tensorc_ir::Scalar;
use tensorc_ir::describe::Example;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;
const NAMES: [&str; 2] = ["x", "y"];

/// Elementwise functions: at which operands which slopes.
type Each = (&'static str, &'static [(&'static [f64], &'static [f64])]);

/// Functions of whole tensors: the operands, the gradients.
type Whole = (&'static str, &'static [&'static [f64]], &'static [&'static [f64]]);

const EACH: &[Each] = &[
    ("abs(x)", &[(&[-2.0], &[-1.0]), (&[-0.0], &[0.0]), (&[0.0], &[0.0]), (&[INF], &[1.0]), (&[NAN], &[0.0])]),
    ("sqrt(x)", &[(&[0.0], &[INF]), (&[4.0], &[0.25]), (&[-1.0], &[NAN])]),
    ("rsqrt(x)", &[(&[0.0], &[-INF])]),
    ("log(x)", &[(&[0.0], &[INF]), (&[2.0], &[0.5])]),
    ("acos(x)", &[(&[1.0], &[-INF]), (&[-1.0], &[-INF])]),
    ("asin(x)", &[(&[1.0], &[INF]), (&[-1.0], &[INF])]),
    ("floor(x)", &[(&[1.5], &[0.0]), (&[2.0], &[0.0])]),
    ("round(x)", &[(&[1.5], &[0.0]), (&[2.0], &[0.0])]),
    ("sign(x)", &[(&[1.5], &[0.0]), (&[0.0], &[0.0])]),
    ("relu6(x)", &[(&[0.0], &[0.0]), (&[6.0], &[0.0]), (&[3.0], &[1.0]), (&[7.0], &[0.0])]),
    ("hardtanh(x)", &[(&[-1.0], &[0.0]), (&[1.0], &[0.0]), (&[0.0], &[1.0]), (&[2.0], &[0.0])]),
    ("hardsigmoid(x)", &[(&[-3.0], &[0.0]), (&[3.0], &[0.0]), (&[4.0], &[0.0])]),
    ("clamp(x, 0.0, 1.0)", &[(&[0.0], &[0.0]), (&[1.0], &[0.0]), (&[0.5], &[1.0]), (&[2.0], &[0.0]), (&[NAN], &[0.0])]),
    ("clamp(x, max=1.0)", &[(&[1.0], &[0.0]), (&[0.5], &[1.0]), (&[-INF], &[1.0]), (&[NAN], &[0.0])]),
    ("clamp(x, min=y)", &[(&[2.0, 2.0], &[0.5, 0.5]), (&[3.0, 2.0], &[1.0, 0.0]), (&[1.0, 2.0], &[0.0, 1.0])]),
    ("clamp(x, max=y)", &[(&[2.0, 2.0], &[0.5, 0.5]), (&[3.0, 2.0], &[0.0, 1.0]), (&[1.0, 2.0], &[1.0, 0.0])]),
    ("leaky_relu(x, 0.125)", &[(&[0.0], &[0.125]), (&[-1.0], &[0.125]), (&[1.0], &[1.0])]),
    ("pow(x, 2)", &[(&[0.0], &[0.0]), (&[-0.0], &[0.0]), (&[3.0], &[6.0])]),
    ("pow(x, 0)", &[(&[0.0], &[0.0]), (&[3.0], &[0.0])]),
    ("pow(x, y)", &[(&[0.0, 0.0], &[0.0, 0.0]), (&[-1.0, 2.0], &[-2.0, NAN]), (&[0.0, 2.0], &[0.0, 0.0])]),
    ("maximum(x, y)", &[(&[2.0, 2.0], &[0.5, 0.5]), (&[0.0, -0.0], &[0.5, 0.5]), (&[3.0, 2.0], &[1.0, 0.0])]),
    ("maximum(x, y)", &[(&[INF, INF], &[0.5, 0.5]), (&[-INF, 1.0], &[0.0, 1.0])]),
    ("minimum(x, y)", &[(&[2.0, 2.0], &[0.5, 0.5]), (&[0.0, -0.0], &[0.5, 0.5]), (&[3.0, 2.0], &[0.0, 1.0])]),
    ("fmax(x, y)", &[(&[2.0, 2.0], &[0.5, 0.5]), (&[NAN, 1.0], &[0.0, 1.0]), (&[1.0, NAN], &[1.0, 0.0])]),
    ("fmin(x, y)", &[(&[2.0, 2.0], &[0.5, 0.5]), (&[NAN, 1.0], &[0.0, 1.0]), (&[1.0, NAN], &[1.0, 0.0])]),
    ("xlogy(x, y)", &[(&[0.0, 0.0], &[0.0, NAN]), (&[0.0, 1.0], &[0.0, 0.0])]),
    ("hypot(x, y)", &[(&[0.0, 0.0], &[NAN, NAN]), (&[3.0, 0.0], &[1.0, 0.0])]),
    ("atan2(x, y)", &[(&[0.0, 0.0], &[0.0, 0.0]), (&[0.0, 2.0], &[0.5, 0.0])]),
    ("fmod(x, y)", &[(&[7.0, 2.0], &[1.0, -3.0]), (&[-7.0, 2.0], &[1.0, 3.0]), (&[6.0, 2.0], &[1.0, -3.0])]),
    ("remainder(x, y)", &[(&[7.0, 2.0], &[1.0, -3.0]), (&[-7.0, 2.0], &[1.0, 4.0]), (&[6.0, 2.0], &[1.0, -3.0])]),
];

const WHOLE: &[Whole] = &[
    // The largest of all, and along dimensions by `amax`: split evenly among equals.
    ("max(x)", &[&[1.0, 3.0, 3.0]], &[&[0.0, 0.5, 0.5]]),
    ("min(x)", &[&[1.0, 3.0, 1.0]], &[&[0.5, 0.0, 0.5]]),
    ("amax(x, 0)", &[&[1.0, 3.0, 3.0]], &[&[0.0, 0.5, 0.5]]),
    ("amin(x, 0)", &[&[1.0, 1.0, 1.0, 1.0]], &[&[0.25, 0.25, 0.25, 0.25]]),
    ("median(x)", &[&[2.0, 1.0, 2.0, 5.0]], &[&[0.5, 0.0, 0.5, 0.0]]),
    ("scatter_reduce(x, 0, tensor([0, 0]), y, \"amax\")", &[&[1.0, 1.0], &[2.0, 2.0]], &[&[0.0, 1.0], &[0.5, 0.5]]),
    // With an index: the element that was picked.
    ("max(x, 0)", &[&[1.0, 3.0, 3.0]], &[&[0.0, 1.0, 0.0]]),
    ("min(x, 0)", &[&[3.0, 1.0, 1.0]], &[&[0.0, 1.0, 0.0]]),
    ("topk(x, 1)", &[&[1.0, 3.0, 2.0]], &[&[0.0, 1.0, 0.0]]),
    ("kthvalue(x, 2)", &[&[4.0, 1.0, 3.0]], &[&[0.0, 0.0, 1.0]]),
    ("median(x, 0)", &[&[4.0, 1.0, 3.0]], &[&[0.0, 0.0, 1.0]]),
    ("narrow(msort(x), 0, 1, 1)", &[&[3.0, 1.0, 3.0]], &[&[1.0, 0.0, 0.0]]),
    ("norm(x)", &[&[0.0, 0.0]], &[&[0.0, 0.0]]),
    ("norm(x, 1)", &[&[0.0, -2.0]], &[&[0.0, -1.0]]),
    ("dist(x, y)", &[&[1.0, 2.0], &[1.0, 2.0]], &[&[0.0, 0.0], &[0.0, 0.0]]),
    ("std(x)", &[&[2.0, 2.0, 2.0]], &[&[0.0, 0.0, 0.0]]),
    ("std(x)", &[&[2.0]], &[&[NAN]]),
    ("prod(x)", &[&[0.0, 3.0, 2.0]], &[&[6.0, 0.0, 0.0]]),
    ("prod(x)", &[&[0.0, 3.0, 0.0]], &[&[0.0, 0.0, 0.0]]),
    ("cumprod(x, 0)", &[&[0.0, 3.0, 2.0]], &[&[10.0, 0.0, 0.0]]),
    ("logsumexp(x, 0)", &[&[-INF, -INF]], &[&[NAN, NAN]]),
];

/// Where `x` and 0 are compared.
const SIDES: [f64; 7] = [-1.0, -0.0, 0.0, 1.0, INF, -INF, NAN];

/// What of `x` is above 0, in many ways, with its slopes at those places. As functions they are one except for NaN. Those
/// that pick one of the two have 0 where both are equal; `maximum` and `fmax` split the slope; and of NaN each one says
/// what its comparison does.
const RAMPS: [(&str, [f64; 7]); 13] = [
    ("relu(x)", [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]),
    ("threshold(x, 0.0, 0.0)", [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]),
    ("where(le(x, 0), 0, x)", [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]),
    ("clamp(x, min=0)", [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
    ("clamp_min(x, 0)", [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
    ("where(gt(x, 0), x, 0)", [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
    ("mul(x, gt(x, 0))", [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
    ("leaky_relu(x, 0.0)", [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
    ("max(stack([zeros_like(x), x]), 0)", [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]),
    ("maximum(x, 0)", [0.0, 0.5, 0.5, 1.0, 1.0, 0.0, 1.0]),
    ("maximum(0, x)", [0.0, 0.5, 0.5, 1.0, 1.0, 0.0, 1.0]),
    ("fmax(x, 0)", [0.0, 0.5, 0.5, 1.0, 1.0, 0.0, 0.0]),
    ("amax(stack([zeros_like(x), x]), 0)", [0.0, 0.5, 0.5, 1.0, 1.0, 0.0, NAN]),
];

/// A row of the tables.
struct Kink {
    call: &'static str,
    args: Vec<Vec<f64>>,
    slopes: Vec<Vec<f64>>,
    /// Whether elements do not know of each other.
    elementwise: bool,
}

fn kinks() -> Vec<Kink> {
    let column = |points: &[(&[f64], &[f64])], which: usize, k: usize| -> Vec<f64> {
        points.iter().map(|(x, d)| if which == 0 { x[k] } else { d[k] }).collect()
    };
    let each = EACH.iter().map(|(call, points)| {
        let columns = |which: usize| (0..points[0].0.len()).map(|k| column(points, which, k)).collect();
        Kink { call, args: columns(0), slopes: columns(1), elementwise: true }
    });
    let ramps = RAMPS.iter().map(|(call, slopes)| Kink {
        call,
        args: vec![SIDES.to_vec()],
        slopes: vec![slopes.to_vec()],
        elementwise: true,
    });
    let owned = |all: &[&[f64]]| all.iter().map(|a| a.to_vec()).collect();
    let whole = WHOLE.iter().map(|(call, args, slopes)| Kink {
        call,
        args: owned(args),
        slopes: owned(slopes),
        elementwise: false,
    });
    each.chain(ramps).chain(whole).collect()
}

impl Kink {
    /// The name of the function and its other arguments, if `x` is the first one.
    fn on_x(&self) -> Option<(&str, &str)> {
        let (name, args) = self.call.strip_suffix(')')?.split_once('(')?;
        if args == "x" { Some((name, "")) } else { Some((name, args.strip_prefix("x, ")?)) }
    }

    fn declared(&self, dtype: DType) -> String {
        let one = |(i, a): (usize, &Vec<f64>)| format!("{}: {dtype}[{}]", NAMES[i], a.len());
        self.args.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
    }

    /// The types of the results.
    fn outs(&self, dtype: DType) -> Vec<tensorc_ir::Type> {
        let example = Example::parse(&format!("{} => {}", self.declared(dtype), self.call)).unwrap();
        example.types(dtype).unwrap_or_else(|e| panic!("{}: {e}", self.call)).1
    }

    /// Whether there is an in-place form: the result is of the operand's type, whatever the dtype.
    fn is_in_place(&self) -> bool {
        let out = &self.outs(DType::F32)[..];
        out.len() == 1 && out[0].dtype == DType::F32 && out[0].extents().unwrap().as_slice() == [self.args[0].len()]
    }

    /// The bodies of programs that compute the same.
    fn spellings(&self) -> Vec<String> {
        let n = self.args[0].len();
        let mut all = vec![self.call.to_string(), format!("let x = x.view([1, {n}])[0];\n    {}", self.call)];
        let Some((name, rest)) = self.on_x() else { return all };
        all.push(format!("x.{name}({rest})"));
        if self.is_in_place() {
            all.push(format!("let w = x.clone();\n    w.{name}_({rest});\n    w"));
            all.push(format!("let w = stack([x * 2, x]);\n    w[1].{name}_({rest});\n    w[1]"));
        }
        all
    }

    /// Holds a derivative by operand `k` against the table.
    fn check(&self, what: &str, k: usize, dtype: DType, got: &[f64]) {
        let want = self.slopes[k].iter().map(|v| Scalar::from_f64(dtype, *v).to_f64());
        let same = |(g, w): (&f64, f64)| *g == w || g.is_nan() && w.is_nan();
        let all = got.len() == self.slopes[k].len() && got.iter().zip(want).all(same);
        let (call, args, want) = (self.call, &self.args, &self.slopes[k]);
        assert!(all, "{call} at {args:?}, {what} in {dtype}: by {} it is {got:?}, expected {want:?}", NAMES[k]);
    }

    fn tensors(&self, dtype: DType) -> Vec<Tensor> {
        let one = |a: &Vec<f64>| Tensor::from_vec(a.clone(), &[a.len()]).unwrap().to(dtype).unwrap();
        self.args.iter().map(one).collect()
    }

    /// Directions by which derivatives along them give those by the elements: all at once if those do not know of each
    /// other, since 0 times infinity is NaN, else one by one.
    fn directions(&self, k: usize, dtype: DType) -> Vec<Tensor> {
        let n = self.args[k].len();
        let one = |at: Option<usize>| -> Tensor {
            let all: Vec<f64> = (0..n).map(|i| f64::from(at.is_none_or(|at| at == i))).collect();
            Tensor::from_vec(all, &[n]).unwrap().to(dtype).unwrap()
        };
        if self.elementwise { vec![one(None)] } else { (0..n).map(|i| one(Some(i))).collect() }
    }

    /// The elements of what comes of all directions.
    fn along(&self, tangents: &[Tensor]) -> Vec<f64> {
        let sum = |t: &Tensor| near::numbers(t).iter().sum::<f64>();
        if self.elementwise { near::numbers(&tangents[0]) } else { tangents.iter().map(sum).collect() }
    }

    /// A file that differentiates one spelling.
    fn program(&self, body: &str, dtype: DType) -> Program {
        let names = NAMES[..self.args.len()].join(", ");
        let declared = self.declared(dtype);
        let more: String = (1..self.outs(dtype).len()).map(|i| format!(", more{i}")).collect();
        let pattern = if more.is_empty() { "v".into() } else { format!("(v{more})") };
        let mut text = format!(
            "fn value({declared}) {{\n    {body}\n}}\nfn slope({declared}) {{\n    let {pattern} = value({names});\n    let s \
             = sum(v);\n    grad(s, ({names},), allow_unused=true)\n}}\n"
        );
        for (k, a) in self.args.iter().enumerate() {
            let (name, n) = (NAMES[k], a.len());
            let _ = write!(
                text,
                "fn along_{name}({declared}, t: {dtype}[{n}]) {{\n    let {pattern} = value({names});\n    jvp(v, ({name},), \
                 (t,))\n}}\n"
            );
        }
        Program::parse("kink", &text).unwrap_or_else(|e| panic!("{}\n{text}", e[0]))
    }

    fn in_programs(&self, body: &str, dtype: DType, mode: Mode) {
        let p = self.program(body, dtype);
        let run = |name: &str, args: &[Tensor]| {
            p.run(Some(name), args, mode).unwrap_or_else(|e| panic!("{} as {body}: {}", self.call, e[0]))
        };
        let args = self.tensors(dtype);
        for (k, g) in run("slope", &args).iter().enumerate() {
            self.check(&format!("`grad` of {body}, {mode:?}"), k, dtype, &near::numbers(g));
        }
        for (k, name) in NAMES.iter().enumerate().take(args.len()) {
            let along = |t: Tensor| -> Tensor {
                let args: Vec<Tensor> = args.iter().cloned().chain([t]).collect();
                run(&format!("along_{name}"), &args).remove(0)
            };
            let all: Vec<Tensor> = self.directions(k, dtype).into_iter().map(along).collect();
            self.check(&format!("`jvp` of {body}, {mode:?}"), k, dtype, &self.along(&all));
        }
    }

    /// The call on tensors.
    fn value(&self, args: &[Tensor]) -> Result<Tensor> {
        let names = NAMES.into_iter().zip(args.iter().cloned()).collect();
        let (name, args) = Reader::new(self.call, names).call().expect("the row is a call");
        Ok(call(name, &args)?.remove(0))
    }

    /// The call in place, on a copy or on a part of one.
    fn value_in_place(&self, args: &[Tensor], part: bool) -> Result<Tensor> {
        let copy = if part { args[0].mul(1.0)?.unsqueeze(0)?.copy()? } else { args[0].copy()? };
        let written = if part { copy.select(0, 0)? } else { copy.clone() };
        let names = NAMES.into_iter().zip([&[written], &args[1..]].concat()).collect();
        let (name, args) = Reader::new(self.call, names).call().expect("the row is a call");
        call(&format!("{name}_"), &args)?;
        if part { copy.select(0, 0) } else { Ok(copy) }
    }

    fn in_rust(&self, dtype: DType, what: &str, f: &dyn Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
        let args = self.tensors(dtype);
        let traced = grad(|x: Vec<Tensor>| f(&x)?.sum())(args.clone())?;
        let leaves = args.iter().map(|t| t.copy()?.requires_grad_(true)).collect::<Result<Vec<_>>>()?;
        let loss = f(&leaves)?.sum()?;
        let taped = match loss.requires_grad() {
            true => backward(&[loss], &leaves, &Backward { allow_unused: true, ..Backward::default() })?,
            false => vec![None; leaves.len()],
        };
        for k in 0..args.len() {
            self.check(&format!("traced, {what}"), k, dtype, &near::numbers(&traced[k]));
            let zeros = || vec![0.0; self.args[k].len()];
            self.check(&format!("on the tape, {what}"), k, dtype, &taped[k].as_ref().map_or_else(zeros, near::numbers));
            let along = |t: Tensor| -> Result<Tensor> {
                let of = |x: Tensor| {
                    let mut args = args.clone();
                    args[k] = x;
                    f(&args)
                };
                Ok(jvp(of)(args[k].clone(), t)?.1)
            };
            let all = self.directions(k, dtype).into_iter().map(along).collect::<Result<Vec<_>>>()?;
            self.check(&format!("forward, {what}"), k, dtype, &self.along(&all));
        }
        Ok(())
    }
}

#[test]
fn kinks_have_their_slopes_in_programs_of_all_modes_and_dtypes() {
    for k in kinks() {
        for mode in [Mode::Fused, Mode::Eager, Mode::Interpret] {
            for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
                k.in_programs(k.call, dtype, mode);
            }
        }
    }
}

#[test]
fn kinks_have_their_slopes_as_methods_in_place_and_through_views() {
    let mut spellings = 0;
    for k in kinks() {
        for body in k.spellings() {
            spellings += 1;
            for mode in [Mode::Fused, Mode::Interpret] {
                k.in_programs(&body, DType::F64, mode);
            }
        }
    }
    assert!(spellings > 3 * kinks().len(), "{spellings}");
}

#[test]
fn kinks_have_their_slopes_from_rust_traced_and_on_the_tape() -> Result<()> {
    for k in kinks() {
        for dtype in [DType::F64, DType::F16] {
            k.in_rust(dtype, "a call", &|x| k.value(x))?;
            // A jitted function is one op to the tape, and part of the program to a trace.
            let jitted = jit(|x: Vec<Tensor>| k.value(&x));
            k.in_rust(dtype, "jitted", &|x| jitted.call(x.to_vec()))?;
        }
        if k.on_x().is_some() && k.is_in_place() {
            k.in_rust(DType::F64, "in place", &|x| k.value_in_place(x, false))?;
            k.in_rust(DType::F64, "in place through a view", &|x| k.value_in_place(x, true))?;
        }
    }
    Ok(())
}

/// Backward, what a choice masks is 0 times its slope, so NaN if that is infinite; forward, it is left out.
#[test]
fn what_a_choice_masks_is_nan_backward_unless_asked_for_and_zero_forward() -> Result<()> {
    let body = "let y = where(x > 0, sqrt(x), 0);\n    let s = sum(y);\n    ";
    let text =
        format!("fn f(x: f64[2], t: f64[2]) {{ {body} (grad(s, x), grad(s, x, strong_zero=true), jvp(y, x, t)) }}");
    let p = Program::parse("masked", &text).unwrap();
    let x = tensorc::tensor([-1.0, 4.0])?;
    let ones = tensorc::tensor([1.0, 1.0])?;
    for mode in [Mode::Fused, Mode::Eager, Mode::Interpret] {
        let all = p.run(None, &[x.clone(), ones.clone()], mode).unwrap();
        assert!(near::numbers(&all[0])[0].is_nan());
        assert_eq!((near::numbers(&all[1]), near::numbers(&all[2])), (vec![0.0, 0.25], vec![0.0, 0.25]));
    }
    let f = |x: Tensor| x.gt(0.0)?.where_(x.sqrt()?, 0.0);
    let sum = |x: Tensor| f(x)?.sum();
    assert!(near::numbers(&grad(sum)(x.clone())?)[0].is_nan());
    assert_eq!(near::numbers(&value_and_grad_strong_zero(sum)(x.clone())?.1), [0.0, 0.25]);
    assert_eq!(near::numbers(&jvp(f)(x.clone(), ones)?.1), [0.0, 0.25]);
    let leaf = x.requires_grad_(true)?;
    sum(leaf.clone())?.backward()?;
    assert!(near::numbers(&leaf.grad().unwrap())[0].is_nan());
    let options = Backward { strong_zero: true, ..Backward::default() };
    assert_eq!(near::numbers(backward(&[sum(leaf.clone())?], &[leaf], &options)?[0].as_ref().unwrap()), [0.0, 0.25]);
    Ok(())
}

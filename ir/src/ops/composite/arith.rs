//! Arithmetic with options: scaled sums, division with a rounding mode, powers with constant exponents, bounds, blends.

use super::{row, same_dtype, unit, widen};
use crate::builder::{Builder, Ex};
use crate::dtype::{Category, DType, Scalar};
use crate::error::{Result, err};
use crate::ops::Op;
use crate::ops::elementwise::promote;
use crate::ops::registry::{Args, FnDef, Out, require_float};

/// The value of a plain number or constant, if it is one.
pub fn constant(x: Ex<'_>) -> Option<Scalar> {
    match x.builder().node(x.value().ok()?.node).op {
        Op::Const(c) => Some(c),
        _ => None,
    }
}

/// The dtype that operands promote to.
pub fn common(x: &[Ex<'_>]) -> DType {
    let types: Vec<_> = x.iter().map(|e| e.ty()).collect();
    promote(&types.iter().collect::<Vec<_>>())
}

/// A formula on operands promoted to one dtype, with one rounding for half floats.
fn formula<'b, const N: usize>(x: [Ex<'b>; N], f: impl FnOnce([Ex<'b>; N]) -> Ex<'b>) -> Ex<'b> {
    let dtype = common(&x);
    f(x.map(|e| if e.ty().weak { e } else { e.cast(dtype.compute()) })).cast(dtype)
}

/// The error of a factor of a higher category than what it scales.
pub fn scale_error(name: &str, what: &str, dtype: DType, factor: DType) -> crate::Error {
    err::dtype(match factor.is_float() {
        true => format!(
            "`{name}`: For integral input tensors, argument {what} must not be a floating point number: it is {factor}, the \
             operands are {dtype}"
        ),
        false => format!("`{name}`: for {dtype} operands argument {what} must not be {factor}"),
    })
}

/// `x ± alpha * other`.
fn scaled<'b>([x, other]: [Ex<'b>; 2], alpha: Ex<'b>, name: &'static str) -> Result<Out<'b>> {
    if constant(alpha).is_some_and(|c| c.to_f64() == 1.0) {
        return Ok(row(name, &[x, other])?.into());
    }
    let dtype = common(&[x, other]);
    if alpha.dtype().category() > dtype.category() {
        return Err(scale_error(name, "alpha", dtype, alpha.dtype()));
    }
    Ok(formula([x, other], |[x, o]| x.map(name, &[o * alpha])).into())
}

/// `x^n`, by cheaper functions for the exponents that have one.
fn pow<'b>(x: Ex<'b>, n: Ex<'b>) -> Result<Ex<'b>> {
    let dtype = common(&[x, n]);
    let Some(c) = constant(n).filter(|_| n.ty().weak) else { return row("pow", &[x, n]) };
    if dtype.is_int() {
        return match c.to_i64() {
            i if i < 0 => Err(err::dtype("`pow`: integers to negative integer powers are not allowed")
                .help("convert the base to a float dtype")),
            2 => row("square", &[x.cast(dtype)]),
            3 => row("cube", &[x.cast(dtype)]),
            _ => row("pow", &[x, n]),
        };
    }
    if !dtype.is_float() {
        return row("pow", &[x, n]);
    }
    let x = x.cast(dtype);
    let v = c.to_f64();
    let simple = [(2.0, "square"), (3.0, "cube"), (0.5, "sqrt"), (-0.5, "rsqrt"), (-1.0, "reciprocal")];
    if let Some((_, name)) = simple.iter().find(|(e, _)| *e == v) {
        return row(name, &[x]);
    }
    if v == -2.0 {
        return Ok(unit([x], |[x]| x.map("square", &[]).map("reciprocal", &[])));
    }
    Ok(row("pow", &[widen(x), n])?.cast(dtype))
}

fn div<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    let name = match a.is_none(2) {
        true => "div",
        false => match a.str(2)? {
            "trunc" => "trunc_divide",
            "floor" => "floor_divide",
            other => {
                return Err(err::ty(format!(
                    "`div` expected rounding_mode to be one of None, \"trunc\" or \"floor\" but found \"{other}\""
                )));
            }
        },
    };
    Ok(row(name, &[x, y])?.into())
}

/// `x + w (end - x)`, taken from the nearer end, so that weights 0 and 1 give the ends exactly.
pub fn lerp<'b>([x, end, w]: [Ex<'b>; 3]) -> Ex<'b> {
    let near = w.abs().lt(w.number(0.5));
    let d = end - x;
    near.select(x + w * d, end - d * (1.0 - w))
}

fn nan_to_num<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Out<'b>> {
    let x = a.tensor(b, 0)?;
    if !x.dtype().is_float() {
        return Ok(x.copy().into());
    }
    let max = match x.dtype() {
        DType::F64 => f64::MAX,
        DType::F16 => 65504.0,
        DType::BF16 => f32::from_bits(0x7f7f_0000) as f64,
        _ => f32::MAX as f64,
    };
    let to = |i: usize, default: f64| -> Result<Ex<'b>> {
        let v = if a.is_none(i) { default } else { a.float(i)? };
        Ok(b.constant(Scalar::from_f64(x.dtype(), v)))
    };
    let (nan, high, low) = (to(1, 0.0)?, to(2, max)?, to(3, -max)?);
    let inf = x.number(f64::INFINITY);
    let x = x.isnan().select(nan, x);
    let x = x.eq(inf).select(high, x);
    Ok(x.eq(-inf).select(low, x).into())
}

fn isclose<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    same_dtype("isclose", &[x, y])?;
    let (rtol, atol) = (a.float(2)?, a.float(3)?);
    if let Some((what, v)) = [("rtol", rtol), ("atol", atol)].iter().find(|(_, v)| *v < 0.0) {
        return Err(err::data(format!("{what} must be greater than or equal to zero, but got {v}")));
    }
    let equal = x.eq(y);
    let equal = if a.bool(4)? { equal.logical_or(x.isnan().logical_and(y.isnan())) } else { equal };
    let d = common(&[x, y]).to_float().compute();
    let (x, y) = (x.cast(d), y.cast(d));
    let gap = (x - y).abs();
    let near = gap.le((y * rtol).abs() + atol).logical_and(gap.map("isfinite", &[]));
    Ok(equal.logical_or(near))
}

/// The next half float after `x` on the side of `y`.
///
/// Half floats have no bits of their own here, so the step is taken by rounding: `x` is moved by 0.6 of the step above the
/// power of two at or below it, which is 0.6 to 1.2 steps (at a power of two, 1.2 of the finer ones below), and the result
/// is rounded to the nearest half float. Below the normal numbers the step is the least positive number.
fn half_after<'b>(x: Ex<'b>, y: Ex<'b>, dtype: DType) -> Ex<'b> {
    let (digits, least, most) = match dtype {
        DType::F16 => (10, 2f64.powi(-24), 65504.0),
        _ => (7, 2f64.powi(-133), f64::from(f32::from_bits(0x7f7f_0000))),
    };
    let b = x.builder();
    let f32s = |e: Ex<'b>| e.cast(dtype).cast(DType::F32);
    let (x, y) = (f32s(x), f32s(y).apply(Op::Detach, &[]));
    let number = |v: f64| b.number(Scalar::from_f64(DType::F64, v));
    let still = x.apply(Op::Detach, &[]);
    let step = (still.abs() * (0.6 * 2f64.powi(-digits))).maximum(number(0.75 * least));
    let step = y.gt(still).select(step, -step);
    // An infinity moves to the largest number.
    let finite = still.abs().ne(number(f64::INFINITY));
    let moved = finite.select(x + step, still.sign() * most);
    let next = still.ne(y).select(moved, y);
    still.isnan().logical_or(y.isnan()).select(number(f64::NAN), next).cast(dtype)
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "add",
        sig: "x, other, alpha: number = 1",
        example: "x: D[2, 3], other: D[3] => add(x, other)",
        doc: "x + alpha * other, broadcast and promoted; integers wrap. On bool: or, without an alpha. An integer \
              result takes no float alpha.",
        build: |b, a| scaled([a.tensor(b, 0)?, a.tensor(b, 1)?], a.tensor(b, 2)?, "add"),
    },
    FnDef {
        name: "sub",
        sig: "x, other, alpha: number = 1",
        example: "x: D[2, 3], other: D[3] => sub(x, other)",
        doc: "x - alpha * other, broadcast and promoted; integers wrap. Not for two bools. An integer result takes no \
              float alpha.",
        build: |b, a| scaled([a.tensor(b, 0)?, a.tensor(b, 1)?], a.tensor(b, 2)?, "sub"),
    },
    FnDef {
        name: "rsub",
        sig: "x, other, alpha: number = 1",
        example: "x: D[2, 3], other: D[3] => rsub(x, other)",
        doc: "other - alpha * x. Not for two bools.",
        build: |b, a| scaled([a.tensor(b, 1)?, a.tensor(b, 0)?], a.tensor(b, 2)?, "sub"),
    },
    FnDef {
        name: "div",
        sig: "x, other, rounding_mode: str? = None",
        example: "x: D[2, 3], other: D[3] => div(x, other)",
        doc: "x / other, in f32 if both are integers or bool; x / 0 is infinite or NaN. With rounding_mode \"trunc\" \
              or \"floor\" the quotient rounded so, in the promoted dtype: then an integer divisor 0 is an error of \
              the run, and no gradient flows.",
        build: div,
    },
    FnDef {
        name: "pow",
        sig: "x, exponent",
        example: "x: D[2, 3] => pow(x, 2)",
        doc: "x to a power, a number or a tensor, in the promoted dtype; 0^0 and NaN^0 are 1. An integer to a negative \
              integer number is an error; of tensors such elements are 0 or ±1. The gradient by x at exponent 0 is 0, \
              that by the exponent at x = 0 and exponents from 0 on too; it is NaN for a negative x.",
        build: |b, a| Ok(pow(a.tensor(b, 0)?, a.tensor(b, 1)?)?.into()),
    },
    FnDef {
        name: "float_power",
        sig: "x, exponent",
        example: "x: D[2, 3] => float_power(x, 2)",
        doc: "x to a power, both in f64, whatever they are. In place x must be f64.",
        build: |b, a| Ok(pow(a.tensor(b, 0)?.cast(DType::F64), a.tensor(b, 1)?.cast(DType::F64))?.into()),
    },
    FnDef {
        name: "square",
        sig: "x",
        example: "x: D[2, 3] => square(x)",
        doc: "x * x; i64 for bool.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            Ok(row("square", &[if x.dtype() == DType::Bool { x.cast(DType::I64) } else { x }])?.into())
        },
    },
    FnDef {
        name: "round",
        sig: "x, decimals: int = 0",
        example: "x: D[2, 3] => round(x)",
        doc: "To the nearest multiple of 10^-decimals, ties to even. Integers are themselves, with decimals of 0 only; \
              not bool. No gradient flows.",
        build: |b, a| {
            let (x, d) = (a.tensor(b, 0)?, a.int(1)?);
            if d == 0 || !x.dtype().is_float() {
                return Ok(row("round", &[x])?.into());
            }
            let ten = 10f64.powi(d.unsigned_abs().min(400) as i32);
            Ok(unit([x], |[x]| if d > 0 { (x * ten).round() / ten } else { (x / ten).round() * ten }).into())
        },
    },
    FnDef {
        name: "clamp",
        sig: "x, min: any = None, max: any = None",
        example: "x: D[2, 3] => clamp(x, 0, 1)",
        doc: "x held between min and max, numbers or tensors of which one may be None; the promoted dtype of all. NaN \
              stays, max wins over a larger min; not bool. No gradient flows at or beyond a number; at a tie with a \
              tensor each gets half.",
        build: |b, a| clamp(b, a).map(Out::One),
    },
    FnDef {
        name: "lerp",
        sig: "x, end, weight",
        example: "x: D[2, 3], end: D[2, 3] => lerp(x, end, 0.25)",
        doc: "x + weight (end - x), from the nearer end. weight is a number or a tensor; all broadcast. Floats of one \
              dtype.",
        build: |b, a| {
            let all = [a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?];
            require_float("lerp", all[0])?;
            same_dtype("lerp", &all)?;
            Ok(formula(all, lerp).into())
        },
    },
    FnDef {
        name: "addcmul",
        sig: "x, tensor1, tensor2, value: number = 1",
        example: "x: D[2, 3], tensor1: D[2, 3], tensor2: D[3] => addcmul(x, tensor1, tensor2, value=2)",
        doc: "x + value * tensor1 * tensor2, broadcast and promoted. An integer result takes no float value.",
        build: |b, a| {
            let v = a.tensor(b, 3)?;
            Ok(formula([a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?], |[x, s, t]| x + v * s * t).into())
        },
    },
    FnDef {
        name: "addcdiv",
        sig: "x, tensor1, tensor2, value: number = 1",
        example: "x: D[2, 3], tensor1: D[2, 3], tensor2: D[3] => addcdiv(x, tensor1, tensor2, value=2)",
        doc: "x + value * (tensor1 / tensor2), broadcast and promoted. Not for two integers, which `tensor1 / tensor2` \
              must make floats first.",
        build: |b, a| {
            let (x, s, t, v) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?, a.tensor(b, 3)?);
            if common(&[s, t]).category() < Category::Float {
                return Err(err::dtype("`addcdiv` of integers: convert them to a float dtype first"));
            }
            Ok(formula([x, s, t], |[x, s, t]| x + v * (s / t)).into())
        },
    },
    FnDef {
        name: "nan_to_num",
        sig: "x, nan: float? = None, posinf: float? = None, neginf: float? = None",
        example: "x: D[2, 3] => nan_to_num(x, nan=1.0)",
        doc: "NaN as nan (0 if not given), infinities as posinf and neginf (the largest and the least number of the \
              dtype). Integers and bool are themselves. No gradient flows where an element is replaced.",
        build: nan_to_num,
    },
    FnDef {
        name: "isclose",
        sig: "x, other, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = false",
        example: "x: D[2, 3], other: D[3] => isclose(x, other)",
        doc: "Whether |x - other| <= atol + rtol |other|, or both are equal; with equal_nan also where both are NaN. \
              bool of the broadcast shape. Operands of one dtype; rtol and atol are not negative.",
        build: |b, a| Ok(isclose(b, a)?.into()),
    },
    FnDef {
        name: "allclose",
        sig: "x, other, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = false",
        example: "x: D[2, 3], other: D[3] => allclose(x, other)",
        doc: "Whether `isclose` holds for all elements: a bool of no dimension.",
        build: |b, a| {
            let close = isclose(b, a)?;
            let axes: Vec<usize> = (0..close.rank()).collect();
            Ok(close.reduce(crate::ops::reduce::ReduceKind::Prod, &axes, false).into())
        },
    },
    FnDef {
        name: "deg2rad",
        sig: "x",
        example: "x: D[2, 3] => deg2rad(x)",
        doc: "Degrees as radians, x pi / 180. Integers and bool become f32.",
        build: |b, a| {
            Ok(formula([a.tensor(b, 0)?.map("div", &[b.number(Scalar::from_f64(DType::F64, 1.0))])], |[x]| {
                x * (std::f64::consts::PI / 180.0)
            })
            .into())
        },
    },
    FnDef {
        name: "rad2deg",
        sig: "x",
        example: "x: D[2, 3] => rad2deg(x)",
        doc: "Radians as degrees, x 180 / pi. Integers and bool become f32.",
        build: |b, a| {
            Ok(formula([a.tensor(b, 0)?.map("div", &[b.number(Scalar::from_f64(DType::F64, 1.0))])], |[x]| {
                x * (180.0 / std::f64::consts::PI)
            })
            .into())
        },
    },
    FnDef {
        name: "logit",
        sig: "x, eps: float? = None",
        example: "x: D[2, 3] => logit(x, eps=0.01)",
        doc: "log(x / (1 - x)), with x held between eps and 1 - eps if given; infinite at 0 and 1, NaN beyond. \
              Integers become f32. No gradient flows where x is held.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            let x = x.cast(x.dtype().to_float());
            let eps = if a.is_none(1) { None } else { Some(a.float(1)?) };
            Ok(unit([x], |[x]| {
                // The lower bound is looked at first, should they cross; no gradient flows beyond them.
                let x = eps.map_or(x, |e| {
                    let (low, high) = (x.number(e), x.number(1.0 - e));
                    x.lt(low).select(low, x.gt(high).select(high, x))
                });
                (x / (1.0 - x)).log()
            })
            .into())
        },
    },
    FnDef {
        name: "nextafter",
        sig: "x, other",
        example: "x: D[2, 3], other: D[3] => nextafter(x, other)",
        doc: "The next float after x on the side of other, in steps of the dtype that both promote to; NaN if either \
              is. Floats only. The derivative by x is 1, and 0 where the two are equal; none flows to other.",
        build: |b, a| {
            let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            match common(&[x, y]) {
                d if d.is_half() => Ok(half_after(x, y, d).into()),
                _ => Ok(row("nextafter", &[x, y])?.into()),
            }
        },
    },
    FnDef {
        name: "positive",
        sig: "x",
        example: "x: D[2, 3] => positive(x)",
        doc: "x itself. Not for bool.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            match x.dtype() {
                DType::Bool => Err(err::dtype("`positive`: The `+` operator, on a bool tensor is not supported")),
                _ => Ok(x.into()),
            }
        },
    },
];

fn clamp<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let x = a.tensor(b, 0)?;
    if a.is_none(1) && a.is_none(2) {
        return Err(err::ty("`clamp`: at least one of `min` and `max` must not be None"));
    }
    let (low, high) = (a.opt_tensor(b, 1)?, a.opt_tensor(b, 2)?);
    // Bounds take part in promotion together, before any of them is applied.
    let all: Vec<_> = [Some(x), low, high].into_iter().flatten().map(|e| e.ty()).collect();
    let dtype = crate::ops::elementwise::promote(&all.iter().collect::<Vec<_>>());
    if dtype.category() == Category::Bool {
        return Err(err::dtype("`clamp` is not implemented for bool"));
    }
    let step = |x: Ex<'b>, bound: Option<Ex<'b>>, number: &'static str, tensor: &'static str| match bound {
        Some(e) => row(if e.ty().weak { number } else { tensor }, &[x, e]),
        None => Ok(x),
    };
    let wide = if dtype.is_half() { crate::DType::F32 } else { dtype };
    let y = step(x.cast(wide), low, "clamp_min", "maximum")?;
    Ok(step(y, high, "clamp_max", "minimum")?.cast(dtype))
}

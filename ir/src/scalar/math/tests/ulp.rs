//! The ULP harness and the accuracy sweep over [`MATH`].

use crate::scalar::math::{MATH, MathFn};
use crate::scalar::{Block, Inst, Reg, V, eval};

/// A function's code in one type, ready to run.
pub(super) struct Compiled {
    insts: Vec<(V, Inst)>,
    types: Vec<Reg>,
    args: Vec<V>,
    result: V,
}

impl Compiled {
    pub(super) fn new(f: &MathFn, ty: Reg) -> Compiled {
        let mut b = Block::new();
        let args: Vec<V> = (0..f.arity).map(|_| b.param(ty)).collect();
        let result = (f.f)(&mut b, &args);
        let types = (0..b.len()).map(|i| b.ty(V(i as u32))).collect();
        Compiled { insts: b.take(), types, args, result }
    }

    /// The number of instructions that compute something.
    pub(super) fn len(&self) -> usize {
        self.insts.iter().filter(|(_, i)| !matches!(i, Inst::Const(..) | Inst::Param(_))).count()
    }

    fn run(&self, regs: &mut [u64]) -> u64 {
        eval::run(&self.insts, |v| self.types[v.0 as usize], regs);
        regs[self.result.0 as usize]
    }

    pub(super) fn regs(&self) -> Vec<u64> {
        vec![0; self.types.len()]
    }

    pub(super) fn f32(&self, regs: &mut [u64], x: &[f32]) -> f32 {
        for (a, x) in self.args.iter().zip(x) {
            regs[a.0 as usize] = x.to_bits() as u64;
        }
        f32::from_bits(self.run(regs) as u32)
    }

    pub(super) fn f64(&self, regs: &mut [u64], x: &[f64]) -> f64 {
        for (a, x) in self.args.iter().zip(x) {
            regs[a.0 as usize] = x.to_bits();
        }
        f64::from_bits(self.run(regs))
    }
}

/// The row of a function.
pub(super) fn row(name: &str) -> &'static MathFn {
    MATH.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no function {name}"))
}

/// `|got - exact|` in units in the last place of `exact` (or of `floor`, if that is larger) as an `f32`; infinity
/// counts as 2^128. NaN matches NaN only, an exact zero needs a zero of the same sign.
pub(super) fn ulps32(got: f32, exact: f64, floor: f64) -> f64 {
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if exact == 0.0 && floor == 0.0 {
        let same = got == 0.0 && got.is_sign_negative() == exact.is_sign_negative();
        return if same { 0.0 } else { f64::INFINITY };
    }
    let top = 2f64.powi(128);
    let finite = |v: f64| v.clamp(-top, top);
    let exponent = ((exact.abs().max(floor).to_bits() >> 52) as i32 - 1023).clamp(-126, 127);
    (finite(got as f64) - finite(exact)).abs() / 2f64.powi(exponent - 23)
}

/// The number of `f64` values between `got` and `want`, or `|got - want|` in units in the last place of `floor` if that
/// is larger than `want`.
pub(super) fn ulps64(got: f64, want: f64, floor: f64) -> f64 {
    if got.is_nan() || want.is_nan() {
        return if got.is_nan() && want.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if want.abs() < floor {
        return (got - want).abs() / (floor * f64::EPSILON);
    }
    if want == 0.0 && got == 0.0 && got.is_sign_negative() != want.is_sign_negative() {
        return f64::INFINITY;
    }
    let ordered = |v: f64| {
        let b = v.to_bits() as i64;
        if b < 0 { i64::MIN - b } else { b }
    };
    ordered(got).abs_diff(ordered(want)) as f64
}

/// Infinite if the bits differ, where any NaN is like any other.
fn different(got: f64, want: f64) -> f64 {
    if got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan() { 0.0 } else { f64::INFINITY }
}

/// What a function is measured against, and where it is interesting: intervals that get their own dense samples.
pub(super) enum Reference {
    One(fn(f64) -> f64, &'static [(f64, f64)]),
    Two(fn(f64, f64) -> f64, &'static [(f64, f64)]),
    /// The same bits in each type.
    Exact(fn(f32, f32) -> f32, fn(f64, f64) -> f64, &'static [(f64, f64)]),
}

pub(super) fn reference(name: &str) -> Option<Reference> {
    use Reference::{Exact, One, Two};
    Some(match name {
        "exp" => One(pxfm::f_exp, &[(-104.0, 89.0), (-746.0, 710.0), (-1.0, 1.0)]),
        "exp2" => One(pxfm::f_exp2, &[(-151.0, 129.0), (-1076.0, 1025.0), (-1.0, 1.0)]),
        "expm1" => One(pxfm::f_expm1, &[(-20.0, 89.0), (-40.0, 710.0), (-1.0, 1.0)]),
        "sigmoid" => One(logistic, &[(-110.0, 20.0), (-746.0, 40.0), (-3.0, 3.0)]),
        "tanh" => One(pxfm::f_tanh, &[(-10.0, 10.0), (-20.0, 20.0), (-1.0, 1.0)]),
        "sinh" => One(pxfm::f_sinh, &[(-90.0, 90.0), (-711.0, 711.0), (-1.0, 1.0)]),
        "cosh" => One(pxfm::f_cosh, &[(-90.0, 90.0), (-711.0, 711.0), (-1.0, 1.0)]),
        "log" => One(pxfm::f_log, &[(0.0, 3.0), (0.99, 1.01)]),
        "log2" => One(pxfm::f_log2, &[(0.0, 3.0), (0.99, 1.01)]),
        "log10" => One(pxfm::f_log10, &[(0.0, 3.0), (0.99, 1.01)]),
        "log1p" => One(pxfm::f_log1p, &[(-1.0, 3.0), (-0.01, 0.01)]),
        "asinh" => One(pxfm::f_asinh, &[(-10.0, 10.0), (-0.1, 0.1)]),
        "acosh" => One(pxfm::f_acosh, &[(1.0, 10.0), (1.0, 1.01)]),
        "atanh" => One(pxfm::f_atanh, &[(-1.0, 1.0), (-0.1, 0.1)]),
        "logaddexp" => Two(logaddexp, &[(-10.0, 10.0), (-1.0, 1.0), (-200.0, 200.0)]),
        "pow" => Two(pxfm::f_pow, &[(0.0, 10.0), (0.9, 1.1), (-300.0, 300.0), (0.0, 1e9)]),
        "sin" => One(pxfm::f_sin, &[(-4.0, 4.0), (-1e4, 1e4), (-1e9, 1e9)]),
        "cos" => One(pxfm::f_cos, &[(-4.0, 4.0), (-1e4, 1e4), (-1e9, 1e9)]),
        "tan" => One(pxfm::f_tan, &[(-4.0, 4.0), (-1e4, 1e4), (-1e9, 1e9)]),
        "asin" => One(pxfm::f_asin, &[(-1.0, 1.0), (0.49, 0.51)]),
        "acos" => One(pxfm::f_acos, &[(-1.0, 1.0), (0.49, 0.51)]),
        "atan" => One(pxfm::f_atan, &[(-3.0, 3.0), (0.41, 0.42), (0.99, 1.01)]),
        "atan2" => Two(pxfm::f_atan2, &[(-3.0, 3.0), (0.9, 1.1), (-1e6, 1e6)]),
        "rsqrt" => One(pxfm::f_rsqrt, &[(0.0, 4.0)]),
        "hypot" => Two(pxfm::f_hypot, &[(-3.0, 3.0), (0.0, 1e20), (-1e-30, 1e-30)]),
        "copysign" => Exact(f32::copysign, f64::copysign, &[]),
        "nextafter" => Exact(nextafter32, nextafter64, &[(-2.0, 2.0), (-1e-44, 1e-44)]),
        "fmod" => Exact(|x, y| x % y, |x, y| x % y, &[(-9.0, 9.0), (-1e30, 1e30)]),
        "remainder" => Exact(remainder, remainder, &[(-9.0, 9.0), (-1e30, 1e30)]),
        "floor_divide" => Exact(floor_divide, floor_divide, &[(-9.0, 9.0), (-1e30, 1e30)]),
        "erf" => One(pxfm::f_erf, &[(-4.0, 4.0), (-6.0, 6.0), (-1.0, 1.0)]),
        "erfc" => One(pxfm::f_erfc, &[(-4.0, 10.5), (-6.0, 28.0), (-1.0, 1.0)]),
        "erfinv" => One(pxfm::f_erfinv, &[(-1.0, 1.0), (0.999, 1.0), (-1.0, -0.9999999)]),
        "lgamma" => One(lgamma, &[(0.0, 3.2), (-10.0, 10.0), (0.0, 1e6), (0.9, 1.1), (1.9, 2.1), (-300.0, 0.0)]),
        "digamma" => One(digamma, &[(0.0, 3.0), (-10.0, 10.0), (0.0, 1e6), (1.4, 1.5), (-300.0, 0.0)]),
        _ => return None,
    })
}

/// pxfm's function is only good down to about -700.
fn logistic(x: f64) -> f64 {
    if x < -40.0 { pxfm::f_exp(x) } else { pxfm::f_logistic(x) }
}

/// pxfm gives NaN for huge operands, where the first terms of the series are all there is.
fn lgamma(x: f64) -> f64 {
    if x > 1e200 && x < 1e306 { x * (pxfm::f_log(x) - 1.0) } else { pxfm::f_lgamma(x) }
}

fn digamma(x: f64) -> f64 {
    if x > 1e200 { pxfm::f_log(x) } else { pxfm::f_digamma(x) }
}

fn logaddexp(x: f64, y: f64) -> f64 {
    if x == y && x.is_infinite() { x } else { x.max(y) + pxfm::f_log1p(pxfm::f_exp(-(x - y).abs())) }
}

fn nextafter32(x: f32, y: f32) -> f32 {
    match x.partial_cmp(&y) {
        None => f32::NAN,
        Some(std::cmp::Ordering::Equal) => y,
        Some(std::cmp::Ordering::Less) => x.next_up(),
        Some(std::cmp::Ordering::Greater) => x.next_down(),
    }
}

fn nextafter64(x: f64, y: f64) -> f64 {
    match x.partial_cmp(&y) {
        None => f64::NAN,
        Some(std::cmp::Ordering::Equal) => y,
        Some(std::cmp::Ordering::Less) => x.next_up(),
        Some(std::cmp::Ordering::Greater) => x.next_down(),
    }
}

/// The two remainders as PyTorch writes them, with branches.
trait Float:
    Copy
    + PartialOrd
    + std::ops::Rem<Output = Self>
    + std::ops::Add<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Sub<Output = Self>
    + From<f32>
{
    fn down(self) -> Self;
    fn signed(self, sign: Self) -> Self;
}

impl Float for f32 {
    fn down(self) -> f32 {
        self.floor()
    }
    fn signed(self, sign: f32) -> f32 {
        self.copysign(sign)
    }
}

impl Float for f64 {
    fn down(self) -> f64 {
        self.floor()
    }
    fn signed(self, sign: f64) -> f64 {
        self.copysign(sign)
    }
}

fn remainder<T: Float>(x: T, y: T) -> T {
    let zero = T::from(0.0);
    let r = x % y;
    if r != zero && (r < zero) != (y < zero) { r + y } else { r }
}

fn floor_divide<T: Float>(x: T, y: T) -> T {
    let (zero, one) = (T::from(0.0), T::from(1.0));
    if y == zero {
        return x / y;
    }
    let r = x % y;
    let mut q = (x - r) / y;
    if r != zero && (r < zero) != (y < zero) {
        q = q - one;
    }
    if q == zero {
        return zero.signed(x / y);
    }
    let f = q.down();
    if q - f > T::from(0.5) { f + one } else { f }
}

/// Where the result of a function at `x` can cancel to any small number, its error is measured against this magnitude
/// (a power of two) instead of smaller results: about that of the terms.
pub(super) fn floor(name: &str, x: f64) -> f64 {
    let terms = match name {
        "logaddexp" => return 0.25,
        "lgamma" if x < 0.0 => pxfm::f_lgamma(-x),
        "digamma" if x < 0.0 => pxfm::f_digamma(1.0 - x),
        _ => return 0.0,
    };
    terms.abs().clamp(1.0, 1e300).log2().floor().exp2()
}

/// Bit patterns spread over all of 64 bits: Weyl's sequence with the golden ratio, mixed a little.
fn spread(i: u64) -> u64 {
    let z = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// The `i`-th operand: a third over all bit patterns, the rest over the intervals.
fn sample(i: u64, ranges: &[(f64, f64)], ty: Reg) -> f64 {
    let bits = spread(i);
    if i.is_multiple_of(3) || ranges.is_empty() {
        return if ty == Reg::F32 { f32::from_bits((bits >> 32) as u32) as f64 } else { f64::from_bits(bits) };
    }
    let (a, b) = ranges[(i / 3 % ranges.len() as u64) as usize];
    let x = a + (b - a) * ((bits >> 11) as f64 * 2f64.powi(-53));
    if ty == Reg::F32 { x as f32 as f64 } else { x }
}

fn samples() -> u64 {
    std::env::var("TENSORC_SWEEP").ok().and_then(|s| s.parse().ok()).unwrap_or(60_000)
}

/// The largest error of `f` in `ty` over the samples, and where.
fn worst(f: &MathFn, reference: &Reference, ty: Reg) -> (f64, Vec<f64>) {
    let code = Compiled::new(f, ty);
    let mut regs = code.regs();
    let mut worst = (0.0, vec![]);
    for i in 0..samples() {
        let ranges = match reference {
            Reference::One(_, r) | Reference::Two(_, r) | Reference::Exact(_, _, r) => r,
        };
        let (x, y) = (sample(i, ranges, ty), sample(i + (1 << 40), ranges, ty));
        let x = if f.arity == 1 { vec![x] } else { vec![x, y] };
        let got = if ty == Reg::F32 {
            let x: Vec<f32> = x.iter().map(|x| *x as f32).collect();
            code.f32(&mut regs, &x) as f64
        } else {
            code.f64(&mut regs, &x)
        };
        let error = match (reference, ty) {
            (Reference::Exact(g, _, _), Reg::F32) => different(got, g(x[0] as f32, y as f32) as f64),
            (Reference::Exact(_, g, _), _) => different(got, g(x[0], y)),
            (Reference::One(g, _), Reg::F32) => ulps32(got as f32, g(x[0]), floor(f.name, x[0])),
            (Reference::Two(g, _), Reg::F32) => ulps32(got as f32, g(x[0], y), floor(f.name, x[0])),
            (Reference::One(g, _), _) => ulps64(got, g(x[0]), floor(f.name, x[0])),
            (Reference::Two(g, _), _) => ulps64(got, g(x[0], y), floor(f.name, x[0])),
        };
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

#[test]
fn accuracy() {
    let only = std::env::var("TENSORC_FUNCTION").ok();
    let mut failures = vec![];
    for f in MATH {
        if only.as_deref().is_some_and(|o| !o.split(',').any(|o| o == f.name)) {
            continue;
        }
        let reference = reference(f.name).unwrap_or_else(|| panic!("{} has no reference", f.name));
        let (e32, x32) = worst(f, &reference, Reg::F32);
        let (e64, x64) = worst(f, &reference, Reg::F64);
        let (n32, n64) = (Compiled::new(f, Reg::F32).len(), Compiled::new(f, Reg::F64).len());
        println!("{:12} f32 {e32:.3} at {x32:?} ({n32} instructions), f64 {e64} at {x64:?} ({n64})", f.name);
        if e32 > f.ulp_f32 || e64 > f.ulp_f64 {
            failures.push(format!("{}: f32 {e32} at {x32:?}, f64 {e64} at {x64:?}", f.name));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

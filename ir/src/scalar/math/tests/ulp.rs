//! Runs one function of [`MATH`] in the interpreter and measures its error. The sweeps over all operands run compiled
//! kernels: `tests/accuracy` of the workspace.

use super::units::{digamma, lgamma, logistic, ndtri};
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

/// A function in `f64` that those of one operand are measured against at their seams.
pub(super) fn reference(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "exp" => pxfm::f_exp,
        "exp2" => pxfm::f_exp2,
        "expm1" => pxfm::f_expm1,
        "sigmoid" => logistic,
        "tanh" => pxfm::f_tanh,
        "sinh" => pxfm::f_sinh,
        "cosh" => pxfm::f_cosh,
        "log" => pxfm::f_log,
        "log2" => pxfm::f_log2,
        "log10" => pxfm::f_log10,
        "log1p" => pxfm::f_log1p,
        "asinh" => pxfm::f_asinh,
        "acosh" => pxfm::f_acosh,
        "atanh" => pxfm::f_atanh,
        "sin" => pxfm::f_sin,
        "cos" => pxfm::f_cos,
        "tan" => pxfm::f_tan,
        "asin" => pxfm::f_asin,
        "acos" => pxfm::f_acos,
        "atan" => pxfm::f_atan,
        "rsqrt" => pxfm::f_rsqrt,
        "erf" => pxfm::f_erf,
        "erfc" => pxfm::f_erfc,
        "erfcx" => pxfm::f_erfcx,
        "erfinv" => pxfm::f_erfinv,
        "lgamma" => lgamma,
        "digamma" => digamma,
        "sinc" => pxfm::f_sincpi,
        "i0" => pxfm::f_i0,
        "i1" => pxfm::f_i1,
        "i0e" => pxfm::f_i0e,
        "i1e" => pxfm::f_i1e,
        "ndtri" => ndtri,
        _ => return None,
    })
}

/// Where the result of a function at `x` can cancel to any small number, its error is measured against this magnitude
/// (a power of two) instead of smaller results: about that of the terms.
pub(super) fn floor(name: &str, x: f64) -> f64 {
    let terms = match name {
        "lgamma" if x < 0.0 => pxfm::f_lgamma(-x),
        "digamma" if x < 0.0 => pxfm::f_digamma(1.0 - x),
        _ => return 0.0,
    };
    terms.abs().clamp(1.0, 1e300).log2().floor().exp2()
}

//! Runs eager kernels over operands in large chunks and finds the largest error.

use crate::reference::{Reference, Value};
use crate::units::{ulps32, ulps64};
use libtest_mimic::Failed;
use tensorc::{Argument, DType, Tensor, call};

/// The largest error, in units in the last place, and the operands that have it.
#[derive(Default)]
pub struct Worst {
    pub ulp: f64,
    pub at: Vec<f64>,
    /// How many operands were compared.
    pub count: u64,
}

impl Worst {
    fn add(&mut self, ulp: f64, at: impl FnOnce() -> Vec<f64>) {
        if ulp > self.ulp {
            *self = Worst { ulp, at: at(), count: self.count };
        }
    }
}

/// Infinite if the bits differ, where any NaN is like any other.
pub fn different(got: f64, want: f64) -> f64 {
    if got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan() { 0.0 } else { f64::INFINITY }
}

/// A float as bytes, since billions of them go through here.
pub trait Float: Copy + 'static {
    const DTYPE: DType;
    fn put(self, out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! float {
    ($ty:ty, $dtype:ident) => {
        impl Float for $ty {
            const DTYPE: DType = DType::$dtype;
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_ne_bytes());
            }
            fn take(bytes: &[u8]) -> Vec<$ty> {
                let (all, _) = bytes.as_chunks();
                all.iter().map(|b| <$ty>::from_ne_bytes(*b)).collect()
            }
        }
    };
}

float!(f32, F32);
float!(f64, F64);

/// A function on operands given by position.
pub fn apply<T: Float>(name: &str, x: &[Vec<T>]) -> Result<Vec<T>, Failed> {
    let mut args = Vec::new();
    for v in x {
        let mut bytes = Vec::with_capacity(8 * v.len());
        v.iter().for_each(|v| v.put(&mut bytes));
        let t = Tensor::from_bytes(T::DTYPE, &[v.len()], &bytes).map_err(|e| e.to_string())?;
        args.push((None, Argument::Tensor(t)));
    }
    let results = call(name, &args).map_err(|e| e.to_string())?;
    Ok(T::take(&results[0].to_bytes().map_err(|e| e.to_string())?))
}

const CHUNK: usize = 1 << 16;

/// Applies the function to chunks of operands and passes each operand and its result on.
fn chunks<T: Float>(name: &str, x: impl Iterator<Item = Vec<T>>, mut each: impl FnMut(&[T], T)) -> Result<(), Failed> {
    let mut x = x.peekable();
    while x.peek().is_some() {
        let part: Vec<Vec<T>> = x.by_ref().take(CHUNK).collect();
        let columns: Vec<Vec<T>> = (0..part[0].len()).map(|k| part.iter().map(|v| v[k]).collect()).collect();
        for (x, y) in part.iter().zip(apply(name, &columns)?) {
            each(x, y);
        }
    }
    Ok(())
}

/// The error of a result at operands, which are also given as `f64`.
fn error_f32(r: &Reference, x: &[f32], wide: &[f64], got: f32) -> f64 {
    match r.value {
        Value::Exact(f, _) => different(got as f64, f(x) as f64),
        Value::Real(f) => ulps32(got, r.within(f(wide), f32::MAX.into()), r.terms(wide)),
    }
}

/// Compares at `f32` operands.
pub fn f32_at(name: &str, r: &Reference, x: impl Iterator<Item = Vec<f32>>, worst: &mut Worst) -> Result<(), Failed> {
    chunks(name, x, |x, got| {
        let wide: Vec<f64> = x.iter().map(|v| *v as f64).collect();
        worst.count += 1;
        worst.add(error_f32(r, x, &wide, got), || wide.clone());
    })
}

/// Compares at `f64` operands.
pub fn f64_at(name: &str, r: &Reference, x: impl Iterator<Item = Vec<f64>>, worst: &mut Worst) -> Result<(), Failed> {
    chunks(name, x, |x, got| {
        let error = match r.value {
            Value::Exact(_, f) => different(got, f(x)),
            Value::Real(f) => ulps64(got, r.within(f(x), f64::MAX), r.terms(x)),
        };
        worst.count += 1;
        worst.add(error, || x.to_vec());
    })
}

/// Compares at every `f32`. A result that is the correctly rounded one, which `quick` gives where there is one, is at
/// most half a unit off; only the others are measured.
pub fn whole_f32(name: &str, r: &Reference, worst: &mut Worst) -> Result<(), Failed> {
    // Small enough to stay in the cache.
    const STEP: u32 = 1 << 14;
    for start in (0..=u32::MAX).step_by(STEP as usize) {
        let x: Vec<f32> = (start..=start + (STEP - 1)).map(f32::from_bits).collect();
        for (x, got) in x.iter().zip(apply(name, std::slice::from_ref(&x))?) {
            if r.quick.is_some_and(|q| q(*x).to_bits() == got.to_bits()) {
                worst.add(0.5, || vec![*x as f64]);
                continue;
            }
            let wide = [*x as f64];
            worst.add(error_f32(r, &[*x], &wide, got), || wide.to_vec());
        }
        worst.count += u64::from(STEP);
    }
    Ok(())
}

/// A function that is NaN at infinity, as PyTorch's `i0` and `i1`.
pub fn finite<T: Copy + Into<f64> + From<f32>>(x: T, f: fn(T) -> T) -> T {
    if x.into().is_infinite() { f32::NAN.into() } else { f(x) }
}

/// `i1` with the sign of zero.
pub fn i1(x: f64) -> f64 {
    pxfm::f_i1(x.abs()).copysign(x)
}

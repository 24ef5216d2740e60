//! First values of parameters, as `torch.nn.init`: tensors of `f32` from a shape, an option or two, and a seed.
//!
//! A seed gives the same numbers everywhere (Philox4x32-10, as [`rand`](crate::rand)); with `None` the next one of the
//! process's sequence is taken. A weight is `[out, in, ..]`, as PyTorch's layers have it: its *fan-in* is `in` and its
//! fan-out `out`, each times the rest of the extents. Orthogonal matrices are not here: there is no QR decomposition.

use crate::tensor::{Tensor, call, create, one};
use tensorc_ir::error::err;
use tensorc_ir::{DType, Loc, Result};

/// Which end of a weight its scale is taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fan {
    /// Keeps the variance of what goes forward.
    #[default]
    In,
    /// Keeps the variance of gradients.
    Out,
}

/// What follows a layer, for [`calculate_gain`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Nonlinearity {
    /// Nothing, a convolution, or a sigmoid.
    #[default]
    Linear,
    /// tanh.
    Tanh,
    /// max(0, x).
    Relu,
    /// x, or this slope times x where it is negative.
    LeakyRelu(f64),
    /// Selu.
    Selu,
}

/// The factor by which a layer before that function makes up for what it takes from the variance; PyTorch's numbers.
pub fn calculate_gain(nonlinearity: Nonlinearity) -> f64 {
    match nonlinearity {
        Nonlinearity::Linear => 1.0,
        Nonlinearity::Tanh => 5.0 / 3.0,
        Nonlinearity::Relu => 2f64.sqrt(),
        Nonlinearity::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
        Nonlinearity::Selu => 3.0 / 4.0,
    }
}

/// Zeros.
///
/// # Errors
/// `shape` if the tensor would be too large.
#[track_caller]
pub fn zeros(shape: &[usize]) -> Result<Tensor> {
    create::zeros(shape, DType::F32)
}

/// Ones.
///
/// # Errors
/// `shape` if the tensor would be too large.
#[track_caller]
pub fn ones(shape: &[usize]) -> Result<Tensor> {
    create::ones(shape, DType::F32)
}

/// One value everywhere.
///
/// # Errors
/// `shape` if the tensor would be too large.
#[track_caller]
pub fn constant(shape: &[usize], value: f64) -> Result<Tensor> {
    create::full(shape, value, DType::F32)
}

/// Uniform numbers from `a` up to `b`.
///
/// # Errors
/// `shape` if the tensor would be too large; `type` without a seed in a function that is traced.
#[track_caller]
pub fn uniform(shape: &[usize], a: f64, b: f64, seed: Option<i64>) -> Result<Tensor> {
    create::rand(shape, seed)?.mul(b - a)?.add(a)
}

/// Normal numbers.
///
/// # Errors
/// As [`uniform`].
#[track_caller]
pub fn normal(shape: &[usize], mean: f64, std: f64, seed: Option<i64>) -> Result<Tensor> {
    create::randn(shape, seed)?.mul(std)?.add(mean)
}

/// Normal numbers of which only those from `a` to `b` occur: the inverse of the distribution function of uniform numbers
/// between its values at both ends, which are where `erf` is monotone and exact enough.
///
/// # Errors
/// `type` if `a` is not below `b`, or both are more than 5 standard deviations on one side of the mean, where next to
/// nothing is left to draw from; as [`uniform`].
#[track_caller]
pub fn trunc_normal(shape: &[usize], mean: f64, std: f64, a: f64, b: f64, seed: Option<i64>) -> Result<Tensor> {
    let (low, high) = ((a - mean) / std, (b - mean) / std);
    // Written so that NaN is refused too.
    let some_left = low < high && low < 5.0 && high > -5.0;
    if !some_left {
        let e =
            err::ty(format!("`trunc_normal`: no normal numbers of mean {mean} and deviation {std} from {a} to {b}"));
        return Err(e.at(Loc::caller()));
    }
    // 2 P(z) - 1 at both ends.
    let ends = crate::tensor([low / 2f64.sqrt(), high / 2f64.sqrt()])?.erf()?.to_vec::<f64>()?;
    let z = uniform(shape, ends[0], ends[1], seed)?;
    let x = one(call("erfinv", &[(None, z.into())])?)?.mul(std * 2f64.sqrt())?.add(mean)?;
    x.clamp(a, b)
}

/// Fan-in and fan-out of a weight of that shape.
///
/// # Errors
/// `shape` if it has fewer than 2 dimensions.
#[track_caller]
pub fn fans(shape: &[usize]) -> Result<(usize, usize)> {
    match shape {
        [out, inputs, rest @ ..] => {
            let field: usize = rest.iter().product();
            Ok((inputs * field, out * field))
        }
        _ => {
            let e = "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions";
            Err(err::shape(e).at(Loc::caller()))
        }
    }
}

/// Uniform numbers of variance gain^2 2 / (fan-in + fan-out) (Glorot and Bengio, 2010).
///
/// # Errors
/// `shape` for fewer than 2 dimensions; as [`uniform`].
#[track_caller]
pub fn xavier_uniform(shape: &[usize], gain: f64, seed: Option<i64>) -> Result<Tensor> {
    let (fan_in, fan_out) = fans(shape)?;
    let bound = gain * (6.0 / (fan_in + fan_out) as f64).sqrt();
    uniform(shape, -bound, bound, seed)
}

/// Normal numbers of variance gain^2 2 / (fan-in + fan-out) (Glorot and Bengio, 2010).
///
/// # Errors
/// As [`xavier_uniform`].
#[track_caller]
pub fn xavier_normal(shape: &[usize], gain: f64, seed: Option<i64>) -> Result<Tensor> {
    let (fan_in, fan_out) = fans(shape)?;
    normal(shape, 0.0, gain * (2.0 / (fan_in + fan_out) as f64).sqrt(), seed)
}

#[track_caller]
fn kaiming(shape: &[usize], fan: Fan, nonlinearity: Nonlinearity) -> Result<f64> {
    let (fan_in, fan_out) = fans(shape)?;
    let n = if fan == Fan::In { fan_in } else { fan_out };
    Ok(calculate_gain(nonlinearity) / (n as f64).sqrt())
}

/// Uniform numbers of variance gain^2 / fan (He, Zhang, Ren and Sun, 2015).
///
/// # Errors
/// As [`xavier_uniform`].
#[track_caller]
pub fn kaiming_uniform(shape: &[usize], fan: Fan, nonlinearity: Nonlinearity, seed: Option<i64>) -> Result<Tensor> {
    let bound = 3f64.sqrt() * kaiming(shape, fan, nonlinearity)?;
    uniform(shape, -bound, bound, seed)
}

/// Normal numbers of variance gain^2 / fan (He, Zhang, Ren and Sun, 2015).
///
/// # Errors
/// As [`xavier_uniform`].
#[track_caller]
pub fn kaiming_normal(shape: &[usize], fan: Fan, nonlinearity: Nonlinearity, seed: Option<i64>) -> Result<Tensor> {
    normal(shape, 0.0, kaiming(shape, fan, nonlinearity)?, seed)
}

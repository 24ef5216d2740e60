//! The names by which PyTorch prints what made a tensor: `AddBackward0`.
//!
//! A name is that of the function in camel case with `Backward` and the number of the overload; the exceptions, where
//! PyTorch calls another function of its own, are a table, made by asking PyTorch 2.15.

use super::rule::Formula;
use super::tape::Form;
use crate::tensor::Argument;
use crate::tensor::concrete::Concrete;

/// Functions whose name in PyTorch's graph is another one than theirs.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("adaptive_avg_pool2d", "AdaptiveAvgPool2DBackward0"),
    ("adaptive_max_pool2d", "AdaptiveMaxPool2DBackward0"),
    ("avg_pool2d", "AvgPool2DBackward0"),
    ("batch_norm", "NativeBatchNormBackward0"),
    ("chunk", "SplitBackward0"),
    ("clamp", "ClampBackward1"),
    ("conv1d", "ConvolutionBackward0"),
    ("conv2d", "ConvolutionBackward0"),
    ("conv3d", "ConvolutionBackward0"),
    ("conv_transpose1d", "ConvolutionBackward0"),
    ("conv_transpose2d", "ConvolutionBackward0"),
    ("conv_transpose3d", "ConvolutionBackward0"),
    ("copy", "CopyBackwards"),
    ("cosine_similarity", "SumBackward1"),
    ("cross", "LinalgCrossBackward0"),
    ("cross_entropy", "NllLossBackward0"),
    ("det", "LinalgDetBackward0"),
    ("diagonal_copy", "DiagonalBackward0_copy"),
    ("dropout", "MulBackward0"),
    ("einsum", "ViewBackward0"),
    ("flatten", "ViewBackward0"),
    ("fmod", "FmodBackward1"),
    ("fold", "Col2ImBackward0"),
    ("grad", "GradBackward0"),
    ("grid_sample", "GridSampler2DBackward0"),
    ("group_norm", "NativeGroupNormBackward0"),
    ("instance_norm", "ViewBackward0"),
    ("interpolate", "UpsampleNearest2DBackward0"),
    ("inv", "LinalgInvExBackward0"),
    ("inverse", "LinalgInvExBackward0"),
    ("kl_div", "SubBackward0"),
    ("kron", "UnsafeViewBackward0"),
    ("l1_loss", "MeanBackward0"),
    ("layer_norm", "NativeLayerNormBackward0"),
    ("linear", "AddmmBackward0"),
    ("log1p", "Log1PBackward0"),
    ("logsigmoid", "LogSigmoidBackward0"),
    ("matmul", "MmBackward0"),
    ("max_pool2d", "MaxPool2DWithIndicesBackward0"),
    ("movedim", "PermuteBackward0"),
    ("nanmean", "DivBackward0"),
    ("narrow", "SliceBackward0"),
    ("norm", "LinalgVectorNormBackward0"),
    ("normalize", "DivBackward0"),
    ("outer", "MulBackward0"),
    ("pad", "ConstantPadNdBackward0"),
    ("pairwise_distance", "NormBackward1"),
    ("prelu", "PreluKernelBackward0"),
    ("relu6", "HardtanhBackward0"),
    ("remainder", "RemainderBackward1"),
    ("reshape", "ViewBackward0"),
    ("rms_norm", "MulBackward0"),
    ("scaled_dot_product_attention", "SqueezeBackward1"),
    ("selu", "EluBackward0"),
    ("softsign", "DivBackward0"),
    ("square", "PowBackward0"),
    ("swapaxes", "TransposeBackward0"),
    ("tanhshrink", "SubBackward0"),
    ("tile", "RepeatBackward0"),
    ("to", "ToCopyBackward0"),
];

/// Functions whose overload with a dimension has the number 1.
const DIM_IS_1: &[&str] = &["sum", "mean", "prod", "squeeze", "median", "nanmedian"];

/// Functions whose overload without a dimension has the number 1.
const FULL_IS_1: &[&str] = &["max", "min"];

/// What PyTorch calls the derivative of a function, or of its in-place form.
pub(super) fn grad_fn(name: &str) -> String {
    numbered(name, 0)
}

fn numbered(name: &str, overload: usize) -> String {
    let name = name.strip_suffix('_').unwrap_or(name);
    if let Some((_, found)) = EXCEPTIONS.iter().find(|(n, _)| *n == name) {
        return (*found).to_string();
    }
    let mut out = String::new();
    for part in name.split('_') {
        let mut letters = part.chars();
        out.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        out.extend(letters);
    }
    format!("{out}Backward{overload}")
}

/// As [`grad_fn`], of an op with its arguments.
pub(super) fn of_op(name: &str, formula: &Formula) -> String {
    let Formula::Call { args, .. } = formula else { return grad_fn(name) };
    let more = args.iter().skip(1).any(|(_, f)| !matches!(f, Form::Other(Argument::None)));
    let tensor = |i: usize| matches!(args.get(i), Some((_, Form::Operand)));
    let overload = match name.strip_suffix('_').unwrap_or(name) {
        n if DIM_IS_1.contains(&n) => more as usize,
        n if FULL_IS_1.contains(&n) => !more as usize,
        "pow" if !tensor(0) => 2,
        "pow" => tensor(1) as usize,
        _ => 0,
    };
    numbered(name, overload)
}

/// The name of what made a tensor that requires a gradient.
pub(super) fn of(c: &Concrete) -> String {
    if let Some(track) = c.track.get() {
        let state = track.lock();
        match (&state.last_write, &state.creator) {
            (Some((_, true)), _) => return "CopySlices".into(),
            (Some((n, false)), _) | (None, Some((n, _))) => return of_op(&n.name, &n.formula),
            (None, None) => {}
        }
    }
    let Some(origin) = &c.origin else { return "AccumulateGrad".into() };
    let written = origin.root.track.get().and_then(|t| t.lock().last_write.as_ref().map(|(n, _)| n.place));
    match written {
        Some(place) if place > origin.view.place => "AsStridedBackward0".into(),
        _ => grad_fn(&origin.name),
    }
}

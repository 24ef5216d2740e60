//! Composite functions: everything users call that is not an elementwise row, written over the builder.
//!
//! Each is declared once with PyTorch's name and argument order, and its definition is the decomposition into primitive
//! ops. On half floats a composite computes in `f32` and rounds once, at its end ([`unit()`]).

pub mod activate;
pub mod adaptive;
pub mod algebra;
pub mod arith;
pub mod arrange;
pub mod attention;
pub mod bag;
pub mod compact;
pub mod conv;
pub mod create;
pub mod ctc;
pub mod distance;
pub mod distribution;
pub mod einsum;
pub mod embedding;
pub mod fold;
pub mod fractional;
pub mod grid;
pub mod grid_sample;
pub mod heads;
pub mod index;
pub mod inverse;
pub mod join;
pub mod layers;
pub mod loss;
pub mod loss_margin;
pub mod matmul;
pub mod pick;
pub mod poisson;
pub mod pool;
pub mod primitive;
pub mod random;
pub mod reduce;
pub mod resize;
pub mod running;
pub mod scatter;
pub mod shape;
pub mod softmax;
pub mod sort;
pub mod special;
pub mod split;
pub mod statistic;
pub mod stats;
mod target;
pub mod unpool;

use super::elementwise::Row;
use super::registry::FnDef;
use crate::builder::Ex;
use crate::error::{Result, err};

/// All composites.
pub fn all() -> impl Iterator<Item = &'static FnDef> {
    families().into_iter().flat_map(|(_, fns)| fns)
}

/// All composites by subject, in the order of the documentation.
pub fn families() -> [(&'static str, &'static [FnDef]); 42] {
    [
        ("Creation", create::FNS),
        ("Random numbers", random::FNS),
        ("Random numbers", distribution::FNS),
        ("Random numbers", poisson::FNS),
        ("Arithmetic", arith::FNS),
        ("Special functions", special::FNS),
        ("Activations", activate::FNS),
        ("Reductions", reduce::FNS),
        ("Statistics", stats::FNS),
        ("Statistics", statistic::FNS),
        ("Running results", running::FNS),
        ("Sorting and searching", sort::FNS),
        ("Results of a size that data decides", compact::FNS),
        ("Shapes and views", shape::FNS),
        ("Shapes and views", split::FNS),
        ("Joining and repeating", join::FNS),
        ("Grids and triangles", grid::FNS),
        ("Grids and triangles", arrange::FNS),
        ("Indexing", pick::FNS),
        ("Scattering", scatter::FNS),
        ("Products", matmul::FNS),
        ("Products", einsum::FNS),
        ("Products", algebra::FNS),
        ("Products", inverse::FNS),
        ("Distances", distance::FNS),
        ("Softmax", softmax::FNS),
        ("Normalization", layers::FNS),
        ("Attention", attention::FNS),
        ("Attention", heads::FNS),
        ("Embeddings", bag::FNS),
        ("Convolution", conv::FNS),
        ("Pooling", pool::FNS),
        ("Pooling", adaptive::FNS),
        ("Pooling", fractional::FNS),
        ("Pooling", unpool::FNS),
        ("Windows", fold::FNS),
        ("Resizing and sampling", resize::FNS),
        ("Resizing and sampling", grid_sample::FNS),
        ("Losses", loss::FNS),
        ("Losses", loss_margin::FNS),
        ("Losses", ctc::FNS),
        ("Nodes of the graph", primitive::FNS),
    ]
}

/// Other names that PyTorch has for a function.
pub static ALIASES: &[(&str, &str)] = &[
    ("absolute", "abs"),
    ("arccos", "acos"),
    ("arccosh", "acosh"),
    ("arcsin", "asin"),
    ("arcsinh", "asinh"),
    ("arctan", "atan"),
    ("arctan2", "atan2"),
    ("arctanh", "atanh"),
    ("clip", "clamp"),
    ("concat", "cat"),
    ("concatenate", "cat"),
    ("divide", "div"),
    ("expit", "sigmoid"),
    ("fix", "trunc"),
    ("floor_div", "floor_divide"),
    ("gammaln", "lgamma"),
    ("ger", "outer"),
    ("greater", "gt"),
    ("greater_equal", "ge"),
    ("inverse", "inv"),
    ("less", "lt"),
    ("less_equal", "le"),
    ("moveaxis", "movedim"),
    ("multigammaln", "mvlgamma"),
    ("multiply", "mul"),
    ("negative", "neg"),
    ("not_equal", "ne"),
    ("psi", "digamma"),
    ("row_stack", "vstack"),
    ("sgn", "sign"),
    ("stop_gradient", "detach"),
    ("subtract", "sub"),
    ("swapaxes", "transpose"),
    ("swapdims", "transpose"),
    ("true_divide", "div"),
];

/// Computes one unit of rounding: if the first operand is of half floats, `f` gets the operands in `f32` and its result
/// is rounded to the first operand's dtype. Its gradient is rounded once likewise, since the cast's is a cast.
pub fn unit<'b, const N: usize>(x: [Ex<'b>; N], f: impl FnOnce([Ex<'b>; N]) -> Ex<'b>) -> Ex<'b> {
    let dtype = x[0].dtype();
    if !dtype.is_half() {
        return f(x);
    }
    f(x.map(widen)).cast(dtype)
}

/// Half floats as `f32`; anything else itself.
pub fn widen(x: Ex<'_>) -> Ex<'_> {
    if x.dtype().is_half() { x.cast(x.dtype().compute()) } else { x }
}

/// A row of the table on exactly these operands, with promotion and broadcasting.
///
/// # Errors
/// What the row says.
pub fn row<'b>(name: &'static str, x: &[Ex<'b>]) -> Result<Ex<'b>> {
    let values = x.iter().map(|e| e.value()).collect::<Result<Vec<_>>>()?;
    let r = Row::find(name).ok_or_else(|| err::internal(format!("no elementwise function `{name}`")))?;
    let b = x[0].builder();
    Ok(b.ex(b.map(r, &values)?))
}

/// Refuses operands of several dtypes, for functions that do not promote.
///
/// # Errors
/// `dtype`.
pub fn same_dtype(name: &str, x: &[Ex<'_>]) -> Result<()> {
    match x.iter().skip(1).find(|e| !e.ty().weak && e.dtype() != x[0].dtype()) {
        Some(e) => {
            let (want, got) = (x[0].dtype(), e.dtype());
            Err(err::dtype(format!(
                "`{name}`: expected the operands to have the same dtype, expected scalar type {want} but found {got}"
            )))
        }
        None => Ok(()),
    }
}

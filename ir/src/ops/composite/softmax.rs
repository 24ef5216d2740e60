//! Softmax and its relatives: rows shifted by their largest element, exponentials, and their sum.
//!
//! No gradient flows through the shift, which does not change the value.

use super::unit;
use crate::builder::Ex;
use crate::error::Result;
use crate::ops::Op;
use crate::ops::reduce::ReduceKind;
use crate::ops::registry::{Args, FnDef, Out, require_float};

/// `x` minus its largest along the axes.
fn shifted<'b>(x: Ex<'b>, axes: &[usize]) -> Ex<'b> {
    let m = x.reduce(ReduceKind::Max, axes, true).apply(Op::Detach, &[]);
    x - m.expand(&x.dims())
}

/// `e^x / sum(e^x)` along an axis.
pub fn softmax<'b>(x: Ex<'b>, axes: &[usize]) -> Ex<'b> {
    unit([x], |[x]| {
        if x.ty().is_empty() {
            return x.copy();
        }
        let e = shifted(x, axes).exp();
        e / e.sum(axes, true).expand(&x.dims())
    })
}

/// `x - log(sum(e^x))` along an axis.
pub fn log_softmax<'b>(x: Ex<'b>, axes: &[usize]) -> Ex<'b> {
    unit([x], |[x]| {
        if x.ty().is_empty() {
            return x.copy();
        }
        let z = shifted(x, axes);
        z - z.exp().sum(axes, true).log().expand(&x.dims())
    })
}

/// `x` in the dtype asked for, and the axis.
fn along<'b>(x: Ex<'b>, a: &Args<'b>, name: &str) -> Result<(Ex<'b>, Vec<usize>)> {
    let x = a.opt_dtype(2)?.map_or(x, |d| x.cast(d));
    require_float(name, x)?;
    let axes = super::reduce::one_axis(a.int(1)?, x.rank())?;
    Ok((x, axes))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "softmax",
        sig: "x, dim: int, dtype: dtype? = None",
        example: "x: D[2, 3] => softmax(x, 1)",
        doc: "e^x / sum(e^x) along a dimension, computed with x - max(x). A dtype that is given is taken before. \
              Floats only.",
        build: |b, a| along(a.tensor(b, 0)?, a, "softmax").map(|(x, axes)| Out::One(softmax(x, &axes))),
    },
    FnDef {
        name: "softmin",
        sig: "x, dim: int, dtype: dtype? = None",
        example: "x: D[2, 3] => softmin(x, 1)",
        doc: "softmax(-x). Floats only.",
        build: |b, a| {
            // The sign changes before the dtype does.
            let x = -a.tensor(b, 0)?;
            b.check()?;
            along(x, a, "softmin").map(|(x, axes)| Out::One(softmax(x, &axes)))
        },
    },
    FnDef {
        name: "log_softmax",
        sig: "x, dim: int, dtype: dtype? = None",
        example: "x: D[2, 3] => log_softmax(x, 1)",
        doc: "log(softmax(x)) = x - log(sum(e^x)) along a dimension, without overflow. A dtype that is given is taken \
              before. Floats only.",
        build: |b, a| along(a.tensor(b, 0)?, a, "log_softmax").map(|(x, axes)| Out::One(log_softmax(x, &axes))),
    },
];

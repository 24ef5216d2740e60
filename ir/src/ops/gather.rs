//! Gather and scatter: elements picked from, and written to, places that an index tensor names along one axis.
//!
//! Indices are `i64` in `0..extent`; anything else is an error when it runs. Scatters go over the indices in row-major
//! order, so duplicates are deterministic: the last write wins, additions happen in that order.

use super::{Lanes, Op, Structural, linear, or_zeros};
use crate::builder::Ex;
use crate::dim::at_most;
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::interp::{Array, function};
use crate::layout::Layout;
use crate::ops::reduce::ReduceKind;
use crate::types::{Shape, ShapeText, Type, for_each_index};
use smallvec::{SmallVec, smallvec};

/// `out[.., i, ..] = x[.., index[.., i, ..], ..]`: `index` has the rank of `x` and no larger extents on other axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gather {
    /// The axis that the indices count along.
    pub axis: usize,
}

/// How a scatter meets the element that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScatterMode {
    /// Replaces it.
    Set,
    /// Adds to it.
    Add,
    /// Multiplies it.
    Mul,
    /// Replaces it if larger, or NaN.
    Max,
    /// Replaces it if smaller, or NaN.
    Min,
}

impl ScatterMode {
    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            ScatterMode::Set => "scatter",
            ScatterMode::Add => "scatter_add",
            ScatterMode::Mul => "scatter_mul",
            ScatterMode::Max => "scatter_max",
            ScatterMode::Min => "scatter_min",
        }
    }

    /// The combination of what is there with what comes, if it is more than replacing.
    pub fn combiner(self) -> Option<ReduceKind> {
        match self {
            ScatterMode::Set => None,
            ScatterMode::Add => Some(ReduceKind::Sum),
            ScatterMode::Mul => Some(ReduceKind::Prod),
            ScatterMode::Max => Some(ReduceKind::Max),
            ScatterMode::Min => Some(ReduceKind::Min),
        }
    }
}

/// `x` with `source[.., i, ..]` set at, or combined with, `[.., index[.., i, ..], ..]`. Operands: `x, index, source`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scatter {
    /// The axis that the indices count along.
    pub axis: usize,
    /// How elements meet.
    pub mode: ScatterMode,
}

fn check(name: &str, axis: usize, x: &Type, index: &Type) -> Result<()> {
    if index.dtype != DType::I64 {
        return Err(err::internal(format!("`{name}` by an index of {}", index.dtype)));
    }
    if x.rank() != index.rank() || axis >= x.rank() {
        return Err(err::internal(format!(
            "`{name}`: Index tensor must have the same number of dimensions as input tensor: {index} for {x}"
        )));
    }
    for d in (0..x.rank()).filter(|d| *d != axis) {
        if !at_most(index.shape[d], x.shape[d])? {
            return Err(err::shape(format!(
                "`{name}`: Size does not match at dimension {d} expected index {} to be no larger than self {} apart from \
                 dimension {axis}",
                ShapeText(&index.shape),
                ShapeText(&x.shape)
            )));
        }
    }
    Ok(())
}

/// Refuses an index outside the dimension `axis`, which has that extent; the first one is named.
///
/// # Errors
/// `data`.
pub fn in_range(name: &str, axis: usize, extent: i64, index: &Array) -> Result<()> {
    match index.bits().into_iter().map(|b| b as i64).find(|at| !(0..extent).contains(at)) {
        Some(at) => {
            Err(err::data(format!("`{name}`: index {at} is out of bounds for dimension {axis} with size {extent}")))
        }
        None => Ok(()),
    }
}

/// The places in `x` that each index names, in row-major order of the index.
fn places(name: &str, axis: usize, x: &Layout, index: &Array) -> Result<Vec<usize>> {
    in_range(name, axis, x.shape[axis] as i64, index)?;
    let bits = index.bits();
    let mut out = Vec::with_capacity(bits.len());
    for_each_index(index.shape(), |i| {
        let mut i: Shape = i.into();
        i[axis] = bits[out.len()] as usize;
        out.push(x.at(&i));
    });
    Ok(out)
}

impl Structural for Gather {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        check("gather", self.axis, x[0], x[1])?;
        Ok(smallvec![Type::new(x[0].dtype, x[1].shape.iter().copied())])
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        let base = Layout::contiguous(x[0].shape());
        let bits = x[0].bits();
        let at = places("gather", self.axis, &base, &x[1])?;
        Ok(Array::new(x[0].dtype, x[1].shape(), at.into_iter().map(|i| bits[i]).collect()))
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![Some(x[0].zeros().scatter(self.axis, ScatterMode::Add, x[1], dy)), None]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        let x = lanes.all(x);
        vec![x[0].gather(self.axis + 1, lanes.harmless(x[1], 0.0))]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        linear(Op::Gather(*self), x, t)
    }
    fn attrs(&self) -> String {
        format!("dim={}", self.axis)
    }
}

impl Structural for Scatter {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        check(self.mode.name(), self.axis, x[0], x[1])?;
        if x[2].dtype != x[0].dtype || x[2].shape != x[1].shape {
            return Err(err::ty(format!("`{}`: source {} for {} and index {}", self.mode.name(), x[2], x[0], x[1])));
        }
        Ok(smallvec![Type::new(x[0].dtype, x[0].shape.iter().copied())])
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        let mut bits = x[0].bits();
        let at = places(self.mode.name(), self.axis, &Layout::contiguous(x[0].shape()), &x[1])?;
        let Some(kind) = self.mode.combiner() else {
            at.into_iter().zip(x[2].bits()).for_each(|(i, s)| bits[i] = s);
            return Ok(Array::new(x[0].dtype, x[0].shape(), bits));
        };
        let dtype = x[0].dtype;
        let mut both = function([dtype.reg(); 2], |b, [a, v]| {
            let r = kind.combine(b, a, v);
            b.round_to(dtype, r)
        });
        for (i, s) in at.into_iter().zip(x[2].bits()) {
            bits[i] = both([bits[i], s]);
        }
        Ok(Array::new(x[0].dtype, x[0].shape(), bits))
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        let pick = |e: Ex<'b>| e.gather(self.axis, x[1]);
        let (dx, ds) = match self.mode {
            ScatterMode::Add => (dy, pick(dy)),
            // Where something was written, nothing flows to what was there. (Of duplicates PyTorch gives each the
            // gradient too.)
            ScatterMode::Set => (dy.scatter(self.axis, ScatterMode::Set, x[1], x[2].zeros()), pick(dy)),
            // The product of the others: that of all factors but zeros, by this factor; 0 if another one is 0.
            ScatterMode::Mul => {
                let one = |e: Ex<'b>| e.eq(e.zeros()).select(e.number(1.0), e);
                let count = |e: Ex<'b>| e.eq(e.zeros()).cast(DType::I64);
                let (mine, theirs) = (count(x[0]), count(x[2]));
                let zeros = mine.scatter(self.axis, ScatterMode::Add, x[1], theirs);
                let product = dy * one(x[0]).scatter(self.axis, ScatterMode::Mul, x[1], one(x[2]));
                let flows = |all: Ex<'b>, own: Ex<'b>, d: Ex<'b>| all.eq(own).select(d, d.zeros());
                (flows(zeros, mine, product / one(x[0])), flows(pick(zeros), theirs, pick(product) / one(x[2])))
            }
            // All that are equal to the extreme share its gradient.
            ScatterMode::Max | ScatterMode::Min => {
                let is = |e: Ex<'b>, y: Ex<'b>| e.eq(y).cast(dy.dtype());
                let (mine, theirs) = (is(x[0], y), is(x[2], pick(y)));
                let share = dy / mine.scatter(self.axis, ScatterMode::Add, x[1], theirs);
                (mine * share, theirs * pick(share))
            }
        };
        vec![Some(dx), None, Some(ds)]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        let x = lanes.all(x);
        vec![x[0].scatter(self.axis + 1, self.mode, lanes.harmless(x[1], 0.0), x[2])]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        // Replacing and adding are linear in both operands together.
        if !matches!(self.mode, ScatterMode::Set | ScatterMode::Add) {
            return None;
        }
        let (t, source) = (or_zeros(t[0], x[0]), or_zeros(t[2], x[2]));
        Some(vec![Some(t.scatter(self.axis, self.mode, x[1], source))])
    }
    fn attrs(&self) -> String {
        format!("dim={}", self.axis)
    }
}

//! Views: ops whose result shares its operand's memory, and the two that move elements instead (`clone`, `slice_update`).

use super::{Effect, Lanes, Op, Structural, linear, or_zeros};
use crate::builder::Ex;
use crate::dim::{Dim, Dims, at_most, extents};
use crate::error::{Result, err};
use crate::interp::Array;
use crate::layout::Strided;
use crate::types::{ShapeText, Span, Type, checked_count, diagonal_count, unstretched};
use smallvec::{SmallVec, smallvec};

type Types = Result<SmallVec<[Type; 1]>>;

fn one(ty: &Type, shape: Dims) -> Types {
    Ok(smallvec![Type::new(ty.dtype, shape)])
}

/// The elements of a view as new memory.
pub(super) fn copied(view: &impl Structural, x: &Array) -> Result<Array> {
    let l = x.layout.through(|l| view.layout(l)).ok_or_else(|| err::internal("a view that strides cannot say"))?;
    Ok(x.view(l).copied())
}

/// `Op::Copy`: a new contiguous tensor with the operand's elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Copy;

impl Structural for Copy {
    fn infer(&self, x: &[&Type]) -> Types {
        one(x[0], x[0].shape.clone())
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        Ok(x[0].copied())
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![Some(dy)]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], _: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![x[0].apply(Op::Copy, &[])]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        linear(Op::Copy, x, t)
    }
}

/// `Op::Detach`: the same tensor, through which no gradient flows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detach;

impl Structural for Detach {
    fn infer(&self, x: &[&Type]) -> Types {
        one(x[0], x[0].shape.clone())
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        Ok(x[0].clone())
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![None]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], _: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![x[0].apply(Op::Detach, &[])]
    }
    fn jvp_all<'b>(&self, _: &[Ex<'b>], _: &[Ex<'b>], _: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        Some(vec![None])
    }
    fn effect(&self) -> Effect {
        Effect::View
    }
    fn layout(&self, x: &Strided) -> Result<Option<Strided>> {
        Ok(Some(x.clone()))
    }
}

/// `Op::Reshape`: the elements, in row-major order, in another shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshape(pub Dims);

impl Structural for Reshape {
    fn infer(&self, x: &[&Type]) -> Types {
        if checked_count(&self.0)? != x[0].count() {
            let (to, n) = (ShapeText(&self.0), x[0].count());
            return Err(err::shape(format!("shape '{to}' is invalid for input of size {n}")));
        }
        one(x[0], self.0.clone())
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        Ok(Array::new(x[0].dtype, &extents(&self.0)?, x[0].bits()))
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![Some(dy.reshape(&x[0].dims()))]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![x[0].apply(Op::Reshape(Reshape(lanes.shape(&self.0))), &[])]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        linear(Op::Reshape(self.clone()), x, t)
    }
    fn attrs(&self) -> String {
        format!("{}", ShapeText(&self.0))
    }
    fn effect(&self) -> Effect {
        Effect::View
    }
    fn layout(&self, x: &Strided) -> Result<Option<Strided>> {
        x.reshape(&self.0)
    }
}

/// `Op::Permute`: dimension `i` of the result is dimension `order[i]` of the operand.
#[derive(Clone, Debug, PartialEq)]
pub struct Permute(pub SmallVec<[usize; 4]>);

impl Structural for Permute {
    fn infer(&self, x: &[&Type]) -> Types {
        let mut seen: SmallVec<[bool; 4]> = smallvec![false; x[0].rank()];
        let valid = self.0.len() == x[0].rank()
            && self.0.iter().all(|o| seen.get_mut(*o).is_some_and(|s| !std::mem::replace(s, true)));
        if !valid {
            let (order, n, m) = (ShapeText(&self.0), x[0].rank(), self.0.len());
            let why = if n == m {
                format!("duplicate dims are not allowed: {order}")
            } else {
                format!(
                    "number of dimensions in the tensor input does not match the length of the desired ordering of \
                     dimensions {order}: input.dim() = {n} is not equal to len(dims) = {m}"
                )
            };
            return Err(err::shape(format!("`permute`: {why}")));
        }
        one(x[0], self.0.iter().map(|i| x[0].shape[*i]).collect())
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        copied(self, &x[0])
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        let mut back: SmallVec<[usize; 4]> = smallvec![0; self.0.len()];
        for (i, o) in self.0.iter().enumerate() {
            back[*o] = i;
        }
        vec![Some(dy.permute(&back))]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], _: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        let order = std::iter::once(0).chain(self.0.iter().map(|o| o + 1)).collect();
        vec![x[0].apply(Op::Permute(Permute(order)), &[])]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        linear(Op::Permute(self.clone()), x, t)
    }
    fn attrs(&self) -> String {
        format!("{}", ShapeText(&self.0))
    }
    fn effect(&self) -> Effect {
        Effect::View
    }
    fn layout(&self, x: &Strided) -> Result<Option<Strided>> {
        Ok(Some(x.permute(&self.0)))
    }
}

/// `Op::Expand`: dimensions of extent 1 stretched, and leading ones added, without copying.
#[derive(Clone, Debug, PartialEq)]
pub struct Expand(pub Dims);

impl Structural for Expand {
    fn infer(&self, x: &[&Type]) -> Types {
        checked_count(&self.0)?;
        let lead = self.0.len().checked_sub(x[0].rank());
        let fits = lead.is_some_and(|l| x[0].shape.iter().zip(&self.0[l..]).all(|(a, b)| a == b || a.is(1)));
        if !fits {
            return Err(err::shape(format!("`expand`: {}", unstretched(&x[0].shape, &self.0))));
        }
        one(x[0], self.0.clone())
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        copied(self, &x[0])
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![Some(dy.sum_to(&x[0].dims()))]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        // New dimensions come between the axis of the elements and those that there are.
        let own = x[0].dims();
        let mut wide = lanes.shape(&[]);
        wide.extend(std::iter::repeat_n(Dim::ONE, (self.0.len() + 1).saturating_sub(own.len())));
        wide.extend(own.iter().skip(1).copied());
        vec![x[0].reshape(&wide).apply(Op::Expand(Expand(lanes.shape(&self.0))), &[])]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        linear(Op::Expand(self.clone()), x, t)
    }
    fn attrs(&self) -> String {
        format!("{}", ShapeText(&self.0))
    }
    fn effect(&self) -> Effect {
        Effect::View
    }
    fn layout(&self, x: &Strided) -> Result<Option<Strided>> {
        Ok(Some(x.expand(&self.0)))
    }
}

/// `Op::Slice`: some elements of each dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice(pub SmallVec<[Span; 4]>);

impl Slice {
    fn check(&self, shape: &[Dim]) -> Result<()> {
        let mut inside = self.0.len() == shape.len();
        for (span, extent) in self.0.iter().zip(shape) {
            inside = inside && span.inside(*extent)?;
        }
        if !inside {
            return Err(err::index(format!("slice {} is outside {}", self.attrs(), ShapeText(shape))));
        }
        // A symbolic length that comes out negative at a call is no length.
        self.0.iter().try_for_each(|s| match at_most(0i64, s.len)? {
            true => Ok(()),
            false => Err(err::internal(format!("slice {} has a negative length", self.attrs()))),
        })
    }

    fn shape(&self) -> Dims {
        self.0.iter().map(|r| r.len).collect()
    }
}

impl Structural for Slice {
    fn infer(&self, x: &[&Type]) -> Types {
        self.check(&x[0].shape)?;
        one(x[0], self.shape())
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        copied(self, &x[0])
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![Some(x[0].zeros().slice_update(&self.0, dy))]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![x[0].slice(&lanes.spans(self))]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        linear(Op::Slice(self.clone()), x, t)
    }
    fn attrs(&self) -> String {
        let list = |f: fn(&Span) -> Dim| {
            let items: Vec<String> = self.0.iter().map(|r| f(r).to_string()).collect();
            format!("[{}]", items.join(", "))
        };
        format!("start={}, len={}, step={}", list(|r| r.start), list(|r| r.len), list(|r| r.step.into()))
    }
    fn effect(&self) -> Effect {
        Effect::View
    }
    fn layout(&self, x: &Strided) -> Result<Option<Strided>> {
        Ok(Some(x.slice(&self.0)))
    }
}

/// `Op::SliceUpdate`: the first operand with a slice replaced by the second; the pure form of a write.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceUpdate(pub Slice);

impl Structural for SliceUpdate {
    fn infer(&self, x: &[&Type]) -> Types {
        self.0.check(&x[0].shape)?;
        if x[1].dtype != x[0].dtype || x[1].shape != self.0.shape() {
            return Err(err::ty(format!(
                "`slice_update` of {} takes {}, got {}",
                x[0],
                ShapeText(&self.0.shape()),
                x[1]
            )));
        }
        one(x[0], x[0].shape.clone())
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        let out = x[0].copied();
        let part = out.layout.through(|l| self.0.layout(l));
        let part = part.ok_or_else(|| err::internal("a slice that strides cannot say"))?;
        out.view(part).write(&x[1].bits());
        Ok(out)
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![Some(dy.slice_update(&self.0.0, x[1].zeros())), Some(dy.slice(&self.0.0))]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        let x = lanes.all(x);
        vec![x[0].slice_update(&lanes.spans(&self.0), x[1])]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        let both = [or_zeros(t[0], x[0]), or_zeros(t[1], x[1])];
        Some(vec![Some(both[0].slice_update(&self.0.0, both[1]))])
    }
    fn attrs(&self) -> String {
        self.0.attrs()
    }
}

/// `Op::Diagonal`: elements `[i, i + offset]` of two dimensions as a new last one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diagonal {
    /// How far to the right of the main diagonal; negative is below.
    pub offset: i64,
    /// The rows' dimension.
    pub dim1: usize,
    /// The columns' dimension.
    pub dim2: usize,
}

impl Structural for Diagonal {
    fn infer(&self, x: &[&Type]) -> Types {
        let s = &x[0].shape;
        if self.dim1 == self.dim2 || self.dim1.max(self.dim2) >= s.len() {
            return Err(err::index(format!(
                "`diagonal`: diagonal dimensions cannot be identical {}, {} ({})",
                self.dim1, self.dim2, x[0]
            )));
        }
        let mut shape: Dims = (0..s.len()).filter(|i| *i != self.dim1 && *i != self.dim2).map(|i| s[i]).collect();
        shape.push(diagonal_count(s[self.dim1], s[self.dim2], self.offset)?);
        one(x[0], shape)
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        copied(self, &x[0])
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        // Zeros with the diagonal added: where row index + offset equals column index, dy stretched over the columns.
        let b = dy.builder();
        let shape = x[0].dims();
        let (r, c) = (shape[self.dim1], shape[self.dim2]);
        let last = dy.rank() - 1;
        let mut rows = dy.dims();
        let len = std::mem::replace(&mut rows[last], r);
        let start = if self.offset < 0 && !len.is(0) { -self.offset } else { 0 };
        let mut ranges: Vec<Span> = rows.iter().map(|d| Span::all(*d)).collect();
        ranges[last] = Span { start: start.into(), len, step: 1 };
        let zero = b.full(crate::Scalar::from_f64(dy.dtype(), 0.0), &rows);
        let by_row = zero.slice_update(&ranges, dy).unsqueeze(last + 1);
        rows.push(c);
        let on = (b.iota(r).unsqueeze(1) + self.offset as f64).cast(crate::DType::I64).eq(b.iota(c));
        let full =
            on.expand(&rows).select(by_row.expand(&rows), b.full(crate::Scalar::from_f64(dy.dtype(), 0.0), &rows));
        // Move the last two dimensions back to where they came from.
        let keep: Vec<usize> = (0..shape.len()).filter(|i| *i != self.dim1 && *i != self.dim2).collect();
        let order: Vec<usize> = (0..shape.len())
            .map(|i| match i {
                i if i == self.dim1 => keep.len(),
                i if i == self.dim2 => keep.len() + 1,
                i => keep.iter().position(|k| *k == i).unwrap_or(0),
            })
            .collect();
        vec![Some(full.permute(&order))]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], _: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        let wide = Diagonal { dim1: self.dim1 + 1, dim2: self.dim2 + 1, ..*self };
        vec![x[0].apply(Op::Diagonal(wide), &[])]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        linear(Op::Diagonal(*self), x, t)
    }
    fn attrs(&self) -> String {
        format!("offset={}, dim1={}, dim2={}", self.offset, self.dim1, self.dim2)
    }
    fn effect(&self) -> Effect {
        Effect::View
    }
    fn layout(&self, x: &Strided) -> Result<Option<Strided>> {
        x.diagonal(self.offset, self.dim1, self.dim2).map(Some)
    }
}

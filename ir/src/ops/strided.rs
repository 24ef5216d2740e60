//! Views by strides (`as_strided`), by overlapping windows (`unfold`), and in another dtype.
//!
//! They exist while a program is traced, where memory is shared: the layout says all there is to say. A pure graph has no
//! memory, so functionalize replaces a read through one by [`pure`]: elements picked by their numbers, or [`Bitcast`]. A
//! write through one is a scatter by those numbers. Through a view of elements of another size programs only read.

use super::view::copied;
use super::{Effect, Lanes, Op, Structural, linear};
use crate::builder::Ex;
use crate::dim::{Dim, Dims, at_most, needs_sizes};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, err};
use crate::interp::Array;
use crate::layout::{self, Layout};
use crate::ops::gather::ScatterMode;
use crate::scalar::{Block, Reg, V};
use crate::types::{ShapeText, Strides, Type, checked_count, checked_numel};
use smallvec::{SmallVec, smallvec};

/// `Op::Strided`: elements of a tensor in row-major order at `offset + Σ index * stride`, none of them outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Strided {
    /// Extents, strides and offset, in elements.
    pub layout: Layout,
}

impl Structural for Strided {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        checked_numel(&self.layout.shape)?;
        let inside = match self.layout.bounds() {
            Some((low, high)) => low >= 0 && at_most(Dim::from(high) + 1, x[0].count())?,
            None => true,
        };
        if !inside || self.layout.shape.len() != self.layout.strides.len() {
            return Err(err::index(format!("`strided` {} reaches outside {}", self.attrs(), x[0])));
        }
        Ok(smallvec![Type::new(x[0].dtype, self.layout.shape.iter().copied())])
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        copied(self, &x[0].copied())
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        let n = x[0].count();
        let index = numbers(dy, &layout::Strided::from(&self.layout));
        let flat = x[0].zeros().reshape(&[n]).scatter(0, ScatterMode::Add, index, dy.reshape(&[dy.count()]));
        vec![Some(flat.reshape(&x[0].dims()))]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        // Where elements lie says nothing about many of them: they are picked by their numbers instead.
        let flat = x[0].reshape(&lanes.shape(&[crate::dim::product(&x[0].dims()[1..])]));
        let index = numbers(x[0], &layout::Strided::from(&self.layout));
        let index = lanes.one(index, false);
        vec![flat.gather(1, index).reshape(&lanes.shape(&crate::dim::dims(&self.layout.shape)))]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        linear(Op::Strided(self.clone()), x, t)
    }
    fn attrs(&self) -> String {
        let l = &self.layout;
        format!("size={}, stride={:?}, offset={}", ShapeText(&l.shape), l.strides.as_slice(), l.offset)
    }
    fn effect(&self) -> Effect {
        Effect::View
    }
    fn layout(&self, x: &layout::Strided) -> Result<Option<layout::Strided>> {
        let own = layout::Strided::from(&self.layout);
        Ok(x.is_contiguous().then(|| layout::Strided { offset: x.offset + own.offset, ..own }))
    }
}

/// The element number of each index of a layout, in row-major order, as an `i64` vector.
pub fn numbers<'b>(x: Ex<'b>, layout: &layout::Strided) -> Ex<'b> {
    let b = x.builder();
    let int = |v: Dim| b.extent(v, DType::I64);
    let mut index = int(layout.offset);
    for (i, (n, stride)) in layout.shape.iter().zip(&layout.strides).enumerate() {
        let mut along: Dims = SmallVec::from_elem(Dim::ONE, layout.shape.len());
        along[i] = *n;
        index = index + (b.iota(*n) * int(*stride)).reshape(&along);
    }
    let index = index.expand(&layout.shape);
    index.reshape(&[index.count()])
}

/// `Op::Unfold`: windows of `size` elements along an axis, `step` apart, as a new last dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unfold {
    /// The axis that the windows lie along.
    pub axis: usize,
    /// Elements of a window.
    pub size: usize,
    /// From the start of one to that of the next.
    pub step: usize,
}

impl Unfold {
    fn windows(&self, n: Dim) -> Dim {
        (n - self.size).floor_div(self.step.into()) + 1
    }
}

impl Structural for Unfold {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        if self.axis >= x[0].rank() || self.step == 0 || !at_most(self.size, x[0].shape[self.axis])? {
            return Err(err::index(format!("`unfold`: {} of {}", self.attrs(), x[0])));
        }
        let mut shape = x[0].shape.clone();
        shape[self.axis] = self.windows(shape[self.axis]);
        shape.push(self.size.into());
        checked_count(&shape)?;
        Ok(smallvec![Type::new(x[0].dtype, shape)])
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        copied(self, &x[0])
    }
    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        // Every element is the sum over the windows it stands in: the transpose of the gather in `pure`.
        let (index, wide) = self.places(x[0]);
        let mut order: Vec<usize> = (0..x[0].rank()).collect();
        order.insert(self.axis + 1, x[0].rank());
        let flat = dy.permute(&order).reshape(&wide);
        vec![Some(x[0].zeros().scatter(self.axis, ScatterMode::Add, index, flat))]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], _: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![x[0].apply(Op::Unfold(Unfold { axis: self.axis + 1, ..*self }), &[])]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        linear(Op::Unfold(*self), x, t)
    }
    fn attrs(&self) -> String {
        format!("dimension={}, size={}, step={}", self.axis, self.size, self.step)
    }
    fn effect(&self) -> Effect {
        Effect::View
    }
    fn layout(&self, x: &layout::Strided) -> Result<Option<layout::Strided>> {
        let mut out = x.clone();
        out.shape[self.axis] = self.windows(x.shape[self.axis]);
        out.strides[self.axis] = x.strides[self.axis] * self.step;
        out.shape.push(self.size.into());
        out.strides.push(x.strides[self.axis]);
        Ok(Some(out))
    }
}

impl Unfold {
    /// The index along the axis of every element of every window, one window after the other, stretched over the other
    /// axes; and its shape.
    fn places<'b>(&self, x: Ex<'b>) -> (Ex<'b>, Dims) {
        let b = x.builder();
        let step = b.constant(Scalar::from_i64(DType::I64, self.step as i64));
        let windows = self.windows(x.dims()[self.axis]);
        let index = b.iota(self.size) + (b.iota(windows) * step).unsqueeze(1);
        let (mut thin, mut wide): (Dims, Dims) = (SmallVec::from_elem(Dim::ONE, x.rank()), x.dims());
        thin[self.axis] = windows * self.size;
        wide[self.axis] = windows * self.size;
        (index.reshape(&thin).expand(&wide), wide)
    }
}

/// `Op::ViewDtype`: the same bits as elements of another dtype. If their sizes differ, the last dimension has more elements
/// or fewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViewDtype {
    /// The dtype that they have.
    pub from: DType,
    /// The dtype that they get.
    pub to: DType,
}

/// `Op::Bitcast`: what [`ViewDtype`] reads, as new elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bitcast(pub DType);

fn same_size(to: DType, x: &Type) -> Result<SmallVec<[Type; 1]>> {
    if to.size() != x.dtype.size() {
        let (from, to) = (x.dtype, to);
        return Err(err::dtype(format!("the bits of {from} elements as {to}: the sizes differ")));
    }
    Ok(smallvec![Type::new(to, x.shape.iter().copied())])
}

impl ViewDtype {
    /// Whether elements have another size than before.
    pub fn resizes(&self) -> bool {
        self.from.size() != self.to.size()
    }

    /// How many small elements a large one has.
    fn ratio(&self) -> usize {
        let (a, b) = (self.from.size(), self.to.size());
        a.max(b) / a.min(b)
    }

    fn error(&self, what: &str, got: Option<i64>) -> crate::Error {
        let got = got.map_or(String::new(), |v| format!(", but got {v}"));
        err::shape(format!("`view`: {what} to view {} as {} (different element sizes){got}", self.from, self.to))
    }

    /// The last extent.
    fn last(&self, shape: &[Dim]) -> Result<Dim> {
        let k = self.ratio();
        let Some(n) = shape.last() else { return Err(self.error("self.dim() cannot be 0", None)) };
        match n.exact_div(k.into()) {
            _ if self.to.size() < self.from.size() => Ok(*n * k),
            Some(n) => Ok(n),
            None if n.known().is_none() => Err(needs_sizes(&n.to_string())),
            None => Err(self.error(&format!("self.size(-1) must be divisible by {k}"), n.known())),
        }
    }

    /// The extents of elements of another size.
    fn shape(&self, shape: &[Dim]) -> Result<Dims> {
        let last = self.last(shape)?;
        Ok(shape[..shape.len() - 1].iter().copied().chain([last]).collect())
    }

    /// Why elements that lie so are none of the other dtype.
    pub fn refused(&self, l: &layout::Strided) -> crate::Error {
        let k = Dim::from(self.ratio());
        let stride = l.strides.last().filter(|s| !s.is(1));
        let uneven = |v: &&Dim| v.exact_div(k).is_none();
        let not = |what: &str, v: &Dim| match v.known() {
            v @ Some(_) => self.error(&format!("{what} must be divisible by {k}"), v),
            None => needs_sizes(&v.to_string()),
        };
        let larger = self.to.size() > self.from.size();
        if let Some(offset) = Some(&l.offset).filter(|v| larger && uneven(v)) {
            return not("self.storage_offset()", offset);
        }
        match (stride, l.strides.iter().enumerate().find(|(_, s)| uneven(s))) {
            (Some(s), _) if s.known().is_none() => needs_sizes(&s.to_string()),
            (Some(s), _) => self.error("self.stride(-1) must be 1", s.known()),
            (None, Some((d, s))) => not(&format!("self.stride({d})"), s),
            (None, None) => self.error("strides must count elements of both", None),
        }
    }
}

impl Structural for ViewDtype {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        if x[0].dtype != self.from {
            return Err(err::internal(format!("`view_dtype` of {} elements, got {}", self.from, x[0])));
        }
        if !self.resizes() {
            return Ok(smallvec![Type::new(self.to, x[0].shape.clone())]);
        }
        let shape = self.shape(&x[0].shape)?;
        checked_count(&shape)?;
        Ok(smallvec![Type::new(self.to, shape)])
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        if !self.resizes() {
            return Bitcast(self.to).eval(x);
        }
        let shape = crate::dim::extents(&self.shape(&crate::dim::dims(x[0].shape()))?)?;
        Ok(x[0].copied().view(Layout::contiguous(&shape)).retyped(self.to).copied())
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![None]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], _: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![x[0].apply(Op::ViewDtype(*self), &[])]
    }
    fn jvp_all<'b>(&self, _: &[Ex<'b>], _: &[Ex<'b>], _: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        Some(vec![None])
    }
    fn attrs(&self) -> String {
        self.to.to_string()
    }
    fn effect(&self) -> Effect {
        Effect::View
    }
    fn layout(&self, x: &layout::Strided) -> Result<Option<layout::Strided>> {
        if !self.resizes() {
            return Ok(Some(x.clone()));
        }
        let mut out = x.clone();
        let (Some(n), Some(one)) = (out.shape.pop(), out.strides.pop()) else { return Ok(None) };
        if !one.is(1) {
            return Ok(None);
        }
        let k = Dim::from(self.ratio());
        let smaller = self.to.size() < self.from.size();
        let scaled = |v: Dim| if smaller { Some(v * k) } else { v.exact_div(k) };
        let strides: Option<Dims> = out.strides.iter().map(|s| scaled(*s)).collect();
        let (Some(n), Some(offset), Some(mut strides)) = (scaled(n), scaled(out.offset), strides) else {
            return Ok(None);
        };
        out.shape.push(n);
        strides.push(Dim::ONE);
        Ok(Some(layout::Strided { shape: out.shape, strides, offset }))
    }
}

impl Structural for Bitcast {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        same_size(self.0, x[0])
    }
    fn eval(&self, x: &[Array]) -> Result<Array> {
        Ok(Array::new(self.0, x[0].shape(), x[0].clone().retyped(self.0).bits()))
    }
    fn vjp<'b>(&self, _: &[Ex<'b>], _: Ex<'b>, _: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![None]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], _: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![x[0].apply(Op::Bitcast(*self), &[])]
    }
    fn jvp_all<'b>(&self, _: &[Ex<'b>], _: &[Ex<'b>], _: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        Some(vec![None])
    }
    fn attrs(&self) -> String {
        self.0.to_string()
    }
}

/// Appends the bits of an element of dtype `from` as an element of dtype `to`, in registers of their dtypes.
pub fn bitcast(b: &mut Block, from: DType, to: DType, v: V) -> V {
    if from == to {
        return v;
    }
    // To an integer of that width, and from it.
    let bits = match from {
        DType::F64 => b.bitcast(Reg::I64, v),
        DType::F32 => b.bitcast(Reg::I32, v),
        DType::F16 => half_bits(b, v),
        DType::BF16 => {
            let wide = b.bitcast(Reg::I32, v);
            let by = b.int(Reg::I32, 16);
            let high = b.ushr(wide, by);
            b.convert(Reg::I16, high)
        }
        _ => v,
    };
    match to {
        DType::F64 => b.bitcast(Reg::F64, bits),
        DType::F32 => b.bitcast(Reg::F32, bits),
        DType::F16 => half_value(b, bits),
        DType::BF16 => {
            let wide = b.convert(Reg::I32, bits);
            let by = b.int(Reg::I32, 16);
            let high = b.shl(wide, by);
            b.bitcast(Reg::F32, high)
        }
        d => b.convert(d.reg(), bits),
    }
}

/// The `i16` bits of an `f16` value held in `f32`: the exponent moves by 112, subnormals count 2^-24.
fn half_bits(b: &mut Block, v: V) -> V {
    let int = |b: &mut Block, v: i64| b.int(Reg::I32, v);
    let bits = b.bitcast(Reg::I32, v);
    let (sixteen, thirteen) = (int(b, 16), int(b, 13));
    let (sign_mask, magnitude_mask) = (int(b, 0x8000), int(b, 0x7fff_ffff));
    let sign = b.ushr(bits, sixteen);
    let sign = b.and(sign, sign_mask);
    let a = b.and(bits, magnitude_mask);
    let (bias, infinity, most) = (int(b, 112 << 23), int(b, 0x7f80_0000), int(b, 0x7c00));
    let moved = b.sub(a, bias);
    let normal = b.ushr(moved, thirteen);
    let payload_mask = int(b, 0x03ff);
    let payload = b.ushr(a, thirteen);
    let payload = b.and(payload, payload_mask);
    let special = b.or(payload, most);
    let magnitude = b.bitcast(Reg::F32, a);
    let least = b.float(Reg::F32, 2f64.powi(24));
    let count = b.mul(magnitude, least);
    // Only of small numbers, so that it fits whatever else is held.
    let (small, zero) = (int(b, 113 << 23), b.float(Reg::F32, 0.0));
    let is_small = b.lt(a, small);
    let count = b.select(is_small, count, zero);
    let subnormal = b.convert(Reg::I32, count);
    let is_special = b.le(infinity, a);
    let h = b.select(is_special, special, normal);
    let h = b.select(is_small, subnormal, h);
    let h = b.or(h, sign);
    b.convert(Reg::I16, h)
}

/// The `f16` value, in `f32`, of `i16` bits.
fn half_value(b: &mut Block, v: V) -> V {
    let int = |b: &mut Block, v: i64| b.int(Reg::I32, v);
    let h = b.convert(Reg::I32, v);
    let (sign_mask, magnitude_mask) = (int(b, 0x8000), int(b, 0x7fff));
    let (sixteen, thirteen) = (int(b, 16), int(b, 13));
    let sign = b.and(h, sign_mask);
    let sign = b.shl(sign, sixteen);
    let a = b.and(h, magnitude_mask);
    let wide = b.shl(a, thirteen);
    let (bias, more) = (int(b, 112 << 23), int(b, 224 << 23));
    let normal = b.add(wide, bias);
    let special = b.add(wide, more);
    let count = b.convert(Reg::F32, a);
    let least = b.float(Reg::F32, 2f64.powi(-24));
    let subnormal = b.mul(count, least);
    let subnormal = b.bitcast(Reg::I32, subnormal);
    let (first_normal, first_special) = (int(b, 0x0400), int(b, 0x7c00));
    let is_small = b.lt(a, first_normal);
    let is_special = b.le(first_special, a);
    let bits = b.select(is_special, special, normal);
    let bits = b.select(is_small, subnormal, bits);
    let bits = b.or(bits, sign);
    b.bitcast(Reg::F32, bits)
}

/// The integers of that many bytes whose bits are shifted and joined.
fn integers(bytes: usize) -> DType {
    match bytes {
        8 => DType::I64,
        4 => DType::I32,
        2 => DType::I16,
        _ => DType::U8,
    }
}

/// The bits of the elements as elements of another dtype, the lowest bytes first: as they lie in memory.
fn resized<'b>(x: Ex<'b>, to: DType) -> Ex<'b> {
    let (from, b) = (x.dtype(), x.builder());
    let bits = |x: Ex<'b>, to: DType| if x.dtype() == to { x } else { x.apply(Op::Bitcast(Bitcast(to)), &[]) };
    let (large, small) = (integers(from.size().max(to.size())), integers(from.size().min(to.size())));
    let k = (large.size() / small.size()) as i64;
    if k == 1 {
        return x.apply(Op::Bitcast(Bitcast(to)), &[]);
    }
    // What part j of a large element is shifted by.
    let places = b.iota(k as usize) * b.int(8 * small.size() as i64);
    let places = places.cast(large);
    let mut shape = x.dims();
    let Some(last) = shape.pop() else { return x };
    if to.size() < from.size() {
        shape.extend([last, k.into()]);
        let wide = bits(x, large).unsqueeze(x.rank()).expand(&shape);
        let parts = wide.map("bitwise_right_shift", &[places]).cast(small);
        shape.truncate(x.rank() - 1);
        shape.push(last * k);
        return bits(parts.reshape(&shape), to);
    }
    let Some(count) = last.exact_div(k.into()) else { return b.wrap(Err(needs_sizes(&last.to_string()))) };
    shape.extend([count, k.into()]);
    let mask = b.number(Scalar::from_i64(large, (1 << (8 * small.size())) - 1));
    let parts = bits(x, small).reshape(&shape).cast(large).map("bitwise_and", &[mask]);
    // No two have a bit in common, so their sum joins them.
    let whole = parts.map("bitwise_left_shift", &[places]).sum(&[x.rank()], false).cast(large);
    bits(whole, to)
}

/// What a view op of a traced graph is in a pure one: the op itself, or what picks the same elements without memory.
pub fn pure<'b>(op: &Op, x: Ex<'b>) -> Ex<'b> {
    match op {
        Op::Strided(s) => {
            let flat = x.reshape(&[x.count()]);
            flat.gather(0, numbers(x, &layout::Strided::from(&s.layout))).reshape(&s.layout.shape)
        }
        Op::Unfold(u) => {
            let (index, wide) = u.places(x);
            let mut shape = wide;
            shape[u.axis] = u.windows(x.dims()[u.axis]);
            shape.insert(u.axis + 1, u.size.into());
            let mut order: Vec<usize> = (0..shape.len()).collect();
            let window = order.remove(u.axis + 1);
            order.push(window);
            x.gather(u.axis, index).reshape(&shape).permute(&order)
        }
        Op::ViewDtype(d) => resized(x, d.to),
        op => x.apply(op.clone(), &[]),
    }
}

/// Whether reading through this view is something else in a pure graph.
pub fn needs_memory(op: &Op) -> bool {
    matches!(op, Op::Strided(_) | Op::Unfold(_) | Op::ViewDtype(_))
}

/// The dimensions in the order in which a layout is row-major, if there is one.
pub fn row_major_order(l: &Layout) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..l.shape.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(l.strides[*i]), l.shape[*i] == 1));
    l.permute(&order).is_contiguous().then_some(order)
}

/// Strides as they were asked for, if none is negative.
pub fn strides_of(strides: &[i64]) -> Option<Strides> {
    strides.iter().map(|s| isize::try_from(*s).ok().filter(|s| *s >= 0)).collect()
}

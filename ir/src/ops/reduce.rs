//! Reductions: sum, product, extremes and their positions along axes, each in one defined order.
//!
//! The order of a floating point sum is part of its meaning (so fused, eager and threaded runs agree to the bit). The
//! reduced elements of one result are walked in row-major order of the reduced axes, as rows of `n` (the innermost
//! reduced axis). If that axis is the last axis of the operand, sixteen lanes each take every sixteenth element of a row,
//! else there is one lane. Lanes are combined by a fixed tree (`j` with `j + 8`, then 4, 2, 1) into a partial result
//! after every block, and partial results are combined in order. A block is [`block_rows`] consecutive rows along the
//! next reduced axis (a new index of the axes further out begins a new block), or [`BLOCK`] elements of a longer row.
//! `argmax` and `argmin` have no order: the first extreme wins. Half floats accumulate in `f32` and round at the end.

use super::{Lanes, Op, Structural, linear};
use crate::builder::Ex;
use crate::dim::{Dim, Dims, at_most, product};
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::interp::Array;
use crate::scalar::{Block, Reg, V, eval};
use crate::types::{Type, for_each_index};
use smallvec::{SmallVec, smallvec};

/// Elements that go into one partial result.
pub const BLOCK: usize = 4096;

/// Lanes of a reduction along the last axis.
pub const LANES: usize = 16;

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceKind {
    /// Sum, from 0.
    Sum,
    /// Product, from 1.
    Prod,
    /// Largest, NaN if any is. From minus infinity, the least integer, false.
    Max,
    /// Smallest, NaN if any is. From infinity, the greatest integer, true.
    Min,
    /// Position of the first largest (or first NaN) along the one axis or, with several, in row-major order. `i64`.
    ArgMax,
    /// Position of the first smallest (or first NaN). `i64`.
    ArgMin,
}

impl ReduceKind {
    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            ReduceKind::Sum => "reduce_sum",
            ReduceKind::Prod => "reduce_prod",
            ReduceKind::Max => "reduce_max",
            ReduceKind::Min => "reduce_min",
            ReduceKind::ArgMax => "reduce_argmax",
            ReduceKind::ArgMin => "reduce_argmin",
        }
    }

    /// Whether the result is a position.
    pub fn is_arg(self) -> bool {
        matches!(self, ReduceKind::ArgMax | ReduceKind::ArgMin)
    }

    /// The value from which it starts, in a register type (not for positions).
    pub fn identity(self, b: &mut Block, reg: Reg) -> V {
        let least = match reg {
            Reg::I64 => i64::MIN,
            Reg::I32 => i32::MIN as i64,
            Reg::I16 => i16::MIN as i64,
            Reg::I8 => i8::MIN as i64,
            Reg::U8 | Reg::Bool | Reg::F32 | Reg::F64 => 0,
        };
        let greatest = if reg == Reg::Bool {
            1
        } else if reg == Reg::U8 {
            255
        } else {
            !least
        };
        match self {
            ReduceKind::Sum => b.int(reg, 0),
            ReduceKind::Prod => b.int(reg, 1),
            ReduceKind::Max | ReduceKind::ArgMax if reg.is_float() => b.float(reg, f64::NEG_INFINITY),
            ReduceKind::Min | ReduceKind::ArgMin if reg.is_float() => b.float(reg, f64::INFINITY),
            ReduceKind::Max | ReduceKind::ArgMax => b.int(reg, least),
            ReduceKind::Min | ReduceKind::ArgMin => b.int(reg, greatest),
        }
    }

    /// `a` combined with the next value `x` (for positions: whether `x` replaces `a`, as bool).
    pub fn combine(self, b: &mut Block, a: V, x: V) -> V {
        match self {
            ReduceKind::Sum if b.ty(a) == Reg::Bool => b.or(a, x),
            ReduceKind::Prod if b.ty(a) == Reg::Bool => b.and(a, x),
            ReduceKind::Sum => b.add(a, x),
            ReduceKind::Prod => b.mul(a, x),
            ReduceKind::Max | ReduceKind::Min => {
                let better = if self == ReduceKind::Max { b.lt(a, x) } else { b.lt(x, a) };
                let take = if b.ty(a).is_float() {
                    let nan = b.ne(x, x);
                    b.or(better, nan)
                } else {
                    better
                };
                b.select(take, x, a)
            }
            ReduceKind::ArgMax | ReduceKind::ArgMin => {
                let better = if self == ReduceKind::ArgMax { b.lt(a, x) } else { b.lt(x, a) };
                if !b.ty(a).is_float() {
                    return better;
                }
                // The first NaN wins over all numbers and over later NaNs.
                let (nan, have) = (b.ne(x, x), b.eq(a, a));
                let first_nan = b.and(nan, have);
                b.or(better, first_nan)
            }
        }
    }
}

/// A reduction of `axes` (ascending, no duplicates), which the result does not have.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// What is computed.
    pub kind: ReduceKind,
    /// Which axes go away.
    pub axes: SmallVec<[usize; 4]>,
}

/// Rows of `n` elements that go into one partial result: as many as make [`BLOCK`] elements.
pub fn block_rows(n: usize) -> usize {
    (BLOCK / n.max(1)).max(1)
}

impl Reduce {
    /// The shape of the result.
    pub fn kept<D: Copy>(&self, shape: &[D]) -> SmallVec<[D; 4]> {
        (0..shape.len()).filter(|i| !self.axes.contains(i)).map(|i| shape[i]).collect()
    }

    /// The extents of the reduced axes, outermost first.
    pub fn reduced<D: Copy>(&self, shape: &[D]) -> SmallVec<[D; 4]> {
        self.axes.iter().map(|i| shape[*i]).collect()
    }

    /// Lanes of the defined order for an operand of that rank.
    pub fn lanes(&self, rank: usize) -> usize {
        if self.axes.last().is_some_and(|a| a + 1 == rank) { LANES } else { 1 }
    }
}

impl Structural for Reduce {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        let shape = &x[0].shape;
        if self.axes.iter().any(|a| *a >= shape.len()) || self.axes.windows(2).any(|w| w[0] >= w[1]) {
            return Err(err::index(format!("`{}`: axes {:?} of {}", self.kind.name(), self.axes.as_slice(), x[0])));
        }
        let n = product(&self.reduced(shape));
        let sums = matches!(self.kind, ReduceKind::Sum | ReduceKind::Prod);
        let no_identity = self.kind.is_arg() || !sums && x[0].dtype != DType::Bool;
        if no_identity && !self.kept(shape).contains(&Dim::ZERO) && !at_most(1i64, n)? {
            let name = self.kind.name().trim_start_matches("reduce_");
            let empty = self.axes.iter().find(|a| shape[**a].is(0));
            let why = match empty {
                Some(a) if self.axes.len() < shape.len() || shape.len() == 1 => {
                    format!("Expected reduction dim {a} to have non-zero size")
                }
                _ => {
                    "Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the \
                      `dim` argument"
                        .into()
                }
            };
            return Err(err::shape(format!("`{name}` of {}: {why}", x[0])));
        }
        let dtype = if self.kind.is_arg() { DType::I64 } else { x[0].dtype };
        Ok(smallvec![Type::new(dtype, self.kept(shape))])
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        let x = &x[0];
        let rank = x.shape().len();
        let (kept, reduced) = (self.kept(x.shape()), self.reduced(x.shape()));
        let kept_axes: Vec<usize> = (0..rank).filter(|i| !self.axes.contains(i)).collect();
        // Bring the reduced axes to the back, so that each result reads one run of elements.
        let order: Vec<usize> = kept_axes.iter().chain(&self.axes).copied().collect();
        let bits = x.view(x.layout.permute(&order)).bits();
        let per: usize = reduced.iter().product();
        let step = Step::new(self.kind, x.dtype);
        let round = |b: u64| match x.dtype.is_half() {
            true => eval::round_half(x.dtype, f32::from_bits(b as u32)).to_bits() as u64,
            false => b,
        };
        let mut out = Vec::new();
        let mut k = 0;
        for_each_index(&kept, |_| {
            let run = &bits[k * per..(k + 1) * per];
            let n = reduced.last().copied().unwrap_or(1);
            let rows = if reduced.len() > 1 { reduced[reduced.len() - 2] } else { 1 };
            out.push(match self.kind.is_arg() {
                true => step.position(run),
                false => round(step.fold(run, n, rows, self.lanes(rank))),
            });
            k += 1;
        });
        let dtype = if self.kind.is_arg() { DType::I64 } else { x.dtype };
        if dtype.is_half() {
            // Accumulated in f32, rounded once.
            for v in &mut out {
                *v = eval::round_half(dtype, f32::from_bits(*v as u32)).to_bits() as u64;
            }
        }
        Ok(Array::new(dtype, &kept, out))
    }

    fn vjp<'b>(&self, x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        let shape = x[0].dims();
        let mut keep = shape.clone();
        for a in &self.axes {
            keep[*a] = Dim::ONE;
        }
        let wide = |e: Ex<'b>| e.reshape(&keep).expand(&shape);
        vec![match self.kind {
            ReduceKind::Sum => Some(wide(dy)),
            ReduceKind::Prod => Some(prod_vjp(x[0], dy, &self.axes)),
            ReduceKind::Max | ReduceKind::Min => {
                // Ties share the gradient evenly.
                let at = x[0].eq(wide(y)).cast(x[0].dtype());
                let ties = at.sum(&self.axes, false);
                Some(at * wide(dy / ties))
            }
            ReduceKind::ArgMax | ReduceKind::ArgMin => None,
        }]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], _: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        let axes = self.axes.iter().map(|a| a + 1).collect();
        vec![x[0].apply(Op::Reduce(Reduce { axes, ..self.clone() }), &[])]
    }

    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        match self.kind {
            ReduceKind::Sum => linear(Op::Reduce(self.clone()), x, t),
            ReduceKind::ArgMax | ReduceKind::ArgMin => Some(vec![None]),
            ReduceKind::Prod | ReduceKind::Max | ReduceKind::Min => None,
        }
    }

    fn attrs(&self) -> String {
        format!("dim={:?}", self.axes.as_slice())
    }
}

/// The gradient of a product, exact with zeros: dy times the product of all other elements, which is the running
/// product from the left times the running product from the right.
fn prod_vjp<'b>(x: Ex<'b>, dy: Ex<'b>, axes: &[usize]) -> Ex<'b> {
    use crate::ops::scan::ScanKind;
    use crate::types::Span;
    let shape = x.dims();
    let kept: Vec<usize> = (0..shape.len()).filter(|i| !axes.contains(i)).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let n = product(&axes.iter().map(|a| shape[*a]).collect::<Dims>());
    let mut flat: Vec<Dim> = kept.iter().map(|a| shape[*a]).collect();
    flat.push(n);
    let last = flat.len() - 1;
    let rows = x.permute(&order).copy().reshape(&flat);
    let shifted = |e: Ex<'b>| {
        // 1, e0, e0 e1, …: the running product up to the element before.
        let one = e.builder().full(crate::Scalar::from_f64(e.dtype(), 1.0), &flat);
        // An empty dimension has no product to shift: nothing is written then.
        if n.known().is_some_and(|n| n < 2) {
            return one;
        }
        let mut to: Vec<Span> = flat.iter().map(|d| Span::all(*d)).collect();
        to[last] = Span { start: Dim::ONE, len: n - 1, step: 1 };
        one.slice_update(&to, e.scan(ScanKind::Prod, last).narrow(last, 0, n - 1))
    };
    let flip = |e: Ex<'b>| {
        let mut r: Vec<Span> = flat.iter().map(|d| Span::all(*d)).collect();
        r[last] = Span { start: n.max(Dim::ONE) - 1, len: n, step: -1 };
        e.slice(&r).copy()
    };
    let others = shifted(rows) * flip(shifted(flip(rows)));
    let mut permuted: Vec<Dim> = order.iter().map(|a| shape[*a]).collect();
    let mut back = vec![0; order.len()];
    for (i, o) in order.iter().enumerate() {
        back[*o] = i;
    }
    let mut wide = shape.clone();
    for a in axes {
        wide[*a] = Dim::ONE;
    }
    permuted.truncate(order.len());
    others.reshape(&permuted).permute(&back) * dy.reshape(&wide).expand(&shape)
}

/// The combiner as scalar code, ready to evaluate.
struct Step {
    kind: ReduceKind,
    block: Block,
    insts: Vec<(V, crate::scalar::Inst)>,
    a: V,
    x: V,
    out: V,
    identity: u64,
}

impl Step {
    fn new(kind: ReduceKind, dtype: DType) -> Step {
        let reg = dtype.reg();
        let mut block = Block::new();
        let identity = kind.identity(&mut block, reg);
        let (a, x) = (block.param(reg), block.param(reg));
        let out = kind.combine(&mut block, a, x);
        let insts = block.take();
        let mut regs = vec![0; block.len()];
        eval::run(&insts, |v| block.ty(v), &mut regs);
        let identity = regs[identity.0 as usize];
        Step { kind, block, insts, a, x, out, identity }
    }

    fn combine(&self, a: u64, x: u64) -> u64 {
        let mut regs = vec![0; self.block.len()];
        regs[self.a.0 as usize] = a;
        regs[self.x.0 as usize] = x;
        eval::run(&self.insts, |v| self.block.ty(v), &mut regs);
        regs[self.out.0 as usize]
    }

    /// The defined order, over `rows` rows of `n` for each index of the axes further out.
    fn fold(&self, run: &[u64], n: usize, rows: usize, lanes: usize) -> u64 {
        debug_assert_ne!(self.kind, ReduceKind::ArgMax);
        let n = n.max(1);
        let mut total = self.identity;
        let blocks: Vec<&[u64]> = if n >= BLOCK {
            run.chunks(n).flat_map(|row| row.chunks(BLOCK)).collect()
        } else {
            run.chunks(n * rows.max(1)).flat_map(|slab| slab.chunks(n * block_rows(n))).collect()
        };
        for block in blocks {
            let mut lane = [self.identity; LANES];
            for row in block.chunks(n) {
                for (i, x) in row.iter().enumerate() {
                    let j = i % lanes;
                    lane[j] = self.combine(lane[j], *x);
                }
            }
            let mut width = lanes / 2;
            while width > 0 {
                for j in 0..width {
                    lane[j] = self.combine(lane[j], lane[j + width]);
                }
                width /= 2;
            }
            total = self.combine(total, lane[0]);
        }
        total
    }

    fn position(&self, run: &[u64]) -> u64 {
        let mut best = 0;
        for (i, x) in run.iter().enumerate().skip(1) {
            if self.combine(run[best], *x) != 0 {
                best = i;
            }
        }
        best as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scalar;

    #[test]
    fn a_sum_of_half_floats_is_rounded_once() {
        // 2048 + 1 + 1: each step alone would round back to 2048.
        let values = [2048.0, 1.0, 1.0].map(|v| Scalar::from_f64(DType::F16, v));
        let x = Array::from_scalars(DType::F16, &[3], values);
        let sum = Reduce { kind: ReduceKind::Sum, axes: [0].into_iter().collect() };
        assert_eq!(sum.eval(&[x]).unwrap().scalars(), [Scalar::from_f64(DType::F16, 2050.0)]);
        let values = [2048.0, 0.5, 0.25].map(|v| Scalar::from_f64(DType::F16, v));
        let x = Array::from_scalars(DType::F16, &[3], values);
        // 2048.75 is no f16.
        let bits = Array::from_scalars(DType::F16, &[], [Scalar::from_f64(DType::F16, 2048.0)]).bits();
        assert_eq!(sum.eval(&[x]).unwrap().bits(), bits);
    }
}

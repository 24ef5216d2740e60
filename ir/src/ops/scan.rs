//! Scans: the running sum, product or extreme along one axis, in ascending order, one rounding a step.

use super::Structural;
use crate::builder::Ex;
use crate::error::{Result, err};
use crate::interp::Array;
use crate::ops::reduce::ReduceKind;
use crate::scalar::{Block, eval};
use crate::types::{Range, Type};
use smallvec::{SmallVec, smallvec};

/// What a scan accumulates; the combiners of [`ReduceKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanKind {
    /// Running sum.
    Sum,
    /// Running product.
    Prod,
}

impl ScanKind {
    /// The reduction with the same combiner.
    pub fn combiner(self) -> ReduceKind {
        match self {
            ScanKind::Sum => ReduceKind::Sum,
            ScanKind::Prod => ReduceKind::Prod,
        }
    }
}

/// `out[.., i, ..]` combines `x[.., 0..=i, ..]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scan {
    /// What accumulates.
    pub kind: ScanKind,
    /// Along which axis.
    pub axis: usize,
}

impl Scan {
    /// The name in text.
    pub fn name(&self) -> &'static str {
        match self.kind {
            ScanKind::Sum => "scan_sum",
            ScanKind::Prod => "scan_prod",
        }
    }
}

impl Structural for Scan {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        if self.axis >= x[0].rank() {
            return Err(err::index(format!("`{}`: axis {} of {}", self.name(), self.axis, x[0])));
        }
        Ok(smallvec![Type::new(x[0].dtype, x[0].shape.iter().copied())])
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        let x = &x[0];
        let mut bits = x.bits();
        let shape = x.shape();
        let inner: usize = shape[self.axis + 1..].iter().product();
        let reg = x.dtype.reg();
        let mut block = Block::new();
        let (a, v) = (block.param(reg), block.param(reg));
        let out = self.kind.combiner().combine(&mut block, a, v);
        let insts = block.take();
        let mut regs = vec![0; block.len()];
        for i in 0..bits.len() {
            if (i / inner.max(1)) % shape[self.axis] > 0 {
                (regs[a.0 as usize], regs[v.0 as usize]) = (bits[i - inner], bits[i]);
                eval::run(&insts, |r| block.ty(r), &mut regs);
                bits[i] = regs[out.0 as usize];
            }
        }
        if x.dtype.is_half() {
            for b in &mut bits {
                *b = eval::round_half(x.dtype, f32::from_bits(*b as u32)).to_bits() as u64;
            }
        }
        Ok(Array::new(x.dtype, shape, bits))
    }

    fn vjp<'b>(&self, x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        let flip = |e: Ex<'b>| {
            let mut r: Vec<Range> = e.shape().iter().map(|d| Range::all(*d)).collect();
            let n = r[self.axis].len;
            r[self.axis] = Range { start: n.saturating_sub(1), len: n, step: -1 };
            e.slice(&r).copy()
        };
        let suffix_sum = |e: Ex<'b>| flip(flip(e).scan(ScanKind::Sum, self.axis));
        vec![Some(match self.kind {
            ScanKind::Sum => suffix_sum(dy),
            ScanKind::Prod => cumprod_vjp(x[0], y, dy, self.axis, suffix_sum(dy * y)),
        })]
    }

    fn attrs(&self) -> String {
        format!("dim={}", self.axis)
    }
}

/// dx_j = sum over i >= j of dy_i times the product of x_0..=x_i without x_j. Where no element is 0 that is the suffix
/// sum of dy * y, divided by x_j; with zeros the products are taken out one by one (n of them), as PyTorch does.
fn cumprod_vjp<'b>(x: Ex<'b>, y: Ex<'b>, dy: Ex<'b>, axis: usize, sums: Ex<'b>) -> Ex<'b> {
    let b = x.builder();
    let n = x.shape()[axis];
    let mut column = vec![1; x.rank()];
    column[axis] = n;
    let position = b.iota(n).reshape(&column);
    let mut slow = x.zeros();
    for j in 0..n {
        // The running product with x_j taken as 1, from j on.
        let here = position.eq(b.number(crate::Scalar::from_i64(crate::DType::I64, j as i64)));
        let without = here.select(x.number(1.0), x).scan(ScanKind::Prod, axis);
        let from = position.ge(b.number(crate::Scalar::from_i64(crate::DType::I64, j as i64)));
        let d = from.select(dy * without, x.number(0.0)).sum(&[axis], false).unsqueeze(axis);
        slow = here.select(d.expand(&x.shape()), slow);
    }
    let _ = y;
    let zero = x.eq(x.number(0.0)).cast(crate::DType::I64).sum(&[axis], false).unsqueeze(axis);
    zero.eq(b.number(crate::Scalar::from_i64(crate::DType::I64, 0))).select(sums / x, slow)
}

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
        vec![Some(match self.kind {
            ScanKind::Sum => suffix_sum(dy, self.axis),
            ScanKind::Prod => cumprod_vjp(x[0], y, dy, self.axis),
        })]
    }

    fn attrs(&self) -> String {
        format!("dim={}", self.axis)
    }
}

/// The most elements that the gradient of a running product may spend on being exact in every order.
const QUADRATIC: usize = 1 << 22;

/// dx_j = sum over i >= j of dy_i times the product of x_0..=x_i without x_j.
fn cumprod_vjp<'b>(x: Ex<'b>, y: Ex<'b>, dy: Ex<'b>, axis: usize) -> Ex<'b> {
    let n = x.shape()[axis];
    match x.ty().numel().checked_mul(n) {
        Some(all) if all <= QUADRATIC => quadratic_vjp(x, y, dy, axis),
        _ => linear_vjp(x, y, dy, axis),
    }
}

fn flip<'b>(x: Ex<'b>, axis: usize) -> Ex<'b> {
    let mut r: Vec<Range> = x.shape().iter().map(|d| Range::all(*d)).collect();
    let n = r[axis].len;
    r[axis] = Range { start: n.saturating_sub(1), len: n, step: -1 };
    x.slice(&r).copy()
}

/// The sum of an element and all after it.
fn suffix_sum<'b>(x: Ex<'b>, axis: usize) -> Ex<'b> {
    flip(flip(x, axis).scan(ScanKind::Sum, axis), axis)
}

/// With the products written out, quadratic in the length, but without a division or a case for 0, so that this formula's
/// own derivatives are right with zeros too: the product before j, times the sum of dy_i (x_j+1 … x_i).
fn quadratic_vjp<'b>(x: Ex<'b>, y: Ex<'b>, dy: Ex<'b>, axis: usize) -> Ex<'b> {
    let b = x.builder();
    let last = x.rank() - 1;
    let (rows, y, dy) = (x.transpose(axis, last), y.transpose(axis, last), dy.transpose(axis, last));
    let shape = rows.shape();
    let n = shape[last];
    let mut square = shape.clone();
    square.push(n);
    // Row j of the square: 1 up to j, then x_j+1, x_j+1 x_j+2, ….
    let (j, i) = (b.iota(n).unsqueeze(1), b.iota(n));
    let products = i.gt(j).select(rows.unsqueeze(last), x.number(1.0)).scan(ScanKind::Prod, last + 1);
    let weights = i.ge(j).expand(&square).select(dy.unsqueeze(last).expand(&square), x.number(0.0));
    let after = (weights * products).sum(&[last + 1], false);
    let one = b.full(crate::Scalar::from_f64(x.dtype(), 1.0), &shape);
    let before = if n < 2 {
        one
    } else {
        let mut to: Vec<Range> = shape.iter().map(|d| Range::all(*d)).collect();
        to[last] = Range { start: 1, len: n - 1, step: 1 };
        one.slice_update(&to, y.narrow(last, 0, n - 1))
    };
    (before * after).transpose(axis, last)
}

/// Linear in the length, as in PyTorch. Before the first 0 of a row it is the suffix sum of dy * y, divided by x_j (y is 0
/// from the first 0 on). At the first 0 it is the sum of dy_i times the running product with that element taken as 1.
/// After it every product holds the 0.
fn linear_vjp<'b>(x: Ex<'b>, y: Ex<'b>, dy: Ex<'b>, axis: usize) -> Ex<'b> {
    let count = |v: i64| x.builder().number(crate::Scalar::from_i64(crate::DType::I64, v));
    let is_zero = x.eq(x.number(0.0));
    let zeros = is_zero.cast(crate::DType::I64).scan(ScanKind::Sum, axis);
    let before = zeros.eq(count(0));
    let first = is_zero.logical_and(zeros.eq(count(1)));
    let without = first.select(x.number(1.0), x).scan(ScanKind::Prod, axis);
    let at_first = before.select(x.zeros(), dy * without).sum(&[axis], true).expand(&x.shape());
    let safe = is_zero.select(x.number(1.0), x);
    before.select(suffix_sum(dy * y, axis) / safe, first.select(at_first, x.zeros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use crate::dtype::{DType, Scalar};
    use crate::interp::run;

    /// The gradient of the sum of `cumprod(x)`, by one of the rules.
    fn gradient(x: &[f64], rule: for<'b> fn(Ex<'b>, Ex<'b>, Ex<'b>, usize) -> Ex<'b>) -> Vec<f64> {
        let b = Builder::new("f");
        let v = b.ex(b.input("x", Type::new(DType::F64, [x.len()]), false, None));
        let ones = b.full(Scalar::from_f64(DType::F64, 1.0), &[x.len()]);
        let dx = rule(v, v.scan(ScanKind::Prod, 0), ones, 0).value().expect("no error");
        b.with_graph(|g| g.outputs = vec![dx]);
        let input = Array::from_scalars(DType::F64, &[x.len()], x.iter().map(|v| Scalar::from_f64(DType::F64, *v)));
        let out = run(&b.finish().expect("a graph"), &[input]).expect("runs");
        out[0].scalars().into_iter().map(Scalar::to_f64).collect()
    }

    #[test]
    fn the_gradient_of_cumprod_is_exact_with_zeros() {
        for rule in [quadratic_vjp, linear_vjp] {
            // x0 + x0 x1 + x0 x1 x2 + …
            assert_eq!(gradient(&[2.0, 3.0, 4.0], rule), [16.0, 10.0, 6.0]);
            assert_eq!(gradient(&[2.0, 0.0, 4.0], rule), [1.0, 10.0, 0.0]);
            assert_eq!(gradient(&[0.0, 3.0, 0.0, 5.0], rule), [4.0, 0.0, 0.0, 0.0]);
            assert_eq!(gradient(&[7.0], rule), [1.0]);
        }
    }
}

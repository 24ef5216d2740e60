//! Scans: the running sum, product or extreme along one axis, in ascending order from the
//! combiner's identity, one rounding a step.

use super::{Lanes, Op, Structural, linear};
use crate::builder::Ex;
use crate::error::{Result, err};
use crate::interp::{Array, function};
use crate::ops::reduce::ReduceKind;
use crate::scalar::eval;
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
            return Err(err::internal(format!("`{}`: axis {} of {}", self.name(), self.axis, x[0])));
        }
        Ok(smallvec![Type::new(x[0].dtype, x[0].shape.iter().copied())])
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        let x = &x[0];
        let mut bits = x.bits();
        let shape = x.shape();
        let inner: usize = shape[self.axis + 1..].iter().product();
        let reg = x.dtype.reg();
        let kind = self.kind.combiner();
        let identity = function([], |b, []| kind.identity(b, reg))([]);
        let mut next = function([reg; 2], |b, [a, v]| kind.combine(b, a, v));
        for i in 0..bits.len() {
            let first = (i / inner.max(1)).is_multiple_of(shape[self.axis]);
            let before = if first { identity } else { bits[i - inner] };
            bits[i] = next([before, bits[i]]);
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
            ScanKind::Prod => cumprod_vjp(x[0], y, dy, self.axis),
        })]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], _: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        vec![x[0].scan(self.kind, self.axis + 1)]
    }

    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        match self.kind {
            ScanKind::Sum => linear(Op::Scan(*self), x, t),
            ScanKind::Prod => None,
        }
    }

    fn attrs(&self) -> String {
        format!("dim={}", self.axis)
    }
}

/// dx_j = sum over i >= j of dy_i times the product of x_0..=x_i without x_j: the running product up to the element
/// before (`y`, shifted) times s_j = dy_j + x_(j+1) s_(j+1).
///
/// The recurrence is composed by doubling: after the step of width d, `b` holds it over d elements and `a` the product by
/// which the rest enters. Nothing is divided, so zeros are exact, and so is every further derivative; the graph grows
/// with the logarithm of the length.
fn cumprod_vjp<'b>(x: Ex<'b>, y: Ex<'b>, dy: Ex<'b>, axis: usize) -> Ex<'b> {
    let shape = x.shape();
    let n = shape[axis];
    if n < 2 {
        return dy;
    }
    let all: Vec<Range> = shape.iter().map(|d| Range::all(*d)).collect();
    let with = |start: usize, len: usize| {
        let mut ranges = all.clone();
        ranges[axis] = Range { start, len, step: 1 };
        ranges
    };
    // The elements d places further on; zeros beyond the end.
    let ahead = |e: Ex<'b>, d: usize| x.zeros().slice_update(&with(0, n - d), e.slice(&with(d, n - d)));
    let one = x.builder().full(crate::Scalar::from_f64(x.dtype(), 1.0), &shape);
    let before = one.slice_update(&with(1, n - 1), y.slice(&with(0, n - 1)));
    let (mut a, mut b) = (ahead(x, 1), dy);
    let mut d = 1;
    while d < n {
        b = b + a * ahead(b, d);
        a = a * ahead(a, d);
        d *= 2;
    }
    before * b
}

#[cfg(test)]
mod tests {
    use crate::builder::Builder;
    use crate::dtype::{DType, Scalar};
    use crate::interp::{Array, run};
    use crate::ops::Structural;
    use crate::ops::scan::{Scan, ScanKind};
    use crate::types::Type;

    /// The gradient of the sum of `cumprod(x)`, by the rule.
    fn gradient(x: &[f64]) -> Vec<f64> {
        let b = Builder::new("f");
        let v = b.ex(b.input("x", Type::new(DType::F64, [x.len()]), false, None));
        let scan = Scan { kind: ScanKind::Prod, axis: 0 };
        let ones = b.full(Scalar::from_f64(DType::F64, 1.0), &[x.len()]);
        let dx = scan.vjp(&[v], v.scan(ScanKind::Prod, 0), ones)[0].expect("a gradient").value().expect("no error");
        b.with_graph(|g| g.outputs = vec![dx]);
        let input = Array::from_scalars(DType::F64, &[x.len()], x.iter().map(|v| Scalar::from_f64(DType::F64, *v)));
        let out = run(&b.finish().expect("a graph"), &[input]).expect("runs");
        out[0].scalars().into_iter().map(Scalar::to_f64).collect()
    }

    #[test]
    fn the_gradient_of_cumprod_is_exact_with_zeros() {
        // x0 + x0 x1 + x0 x1 x2 + …
        assert_eq!(gradient(&[2.0, 3.0, 4.0]), [16.0, 10.0, 6.0]);
        assert_eq!(gradient(&[2.0, 0.0, 4.0]), [1.0, 10.0, 0.0]);
        assert_eq!(gradient(&[0.0, 3.0, 0.0, 5.0]), [4.0, 0.0, 0.0, 0.0]);
    }
}

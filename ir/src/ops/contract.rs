//! Contraction: the batched matrix product, to which matmul, linear, einsum and attention come down.
//!
//! The order is part of the meaning: each element is, for floats, one chain of fused multiply-adds over `k` ascending
//! within blocks of [`K_BLOCK`], starting from 0, and the blocks are added in order. Half floats are widened to `f32`
//! first and rounded once, at the end. Integers wrap.

use super::{Lanes, Structural};
use crate::builder::Ex;
use crate::dim::{Dim, Dims};
use crate::error::{Result, err};
use crate::interp::Array;
use crate::scalar::{Reg, eval};
use crate::types::Type;
use smallvec::{SmallVec, smallvec};

/// Steps of `k` in one accumulation chain.
pub const K_BLOCK: usize = 256;

/// `Op::Dot`: `[b, m, k] @ [b, k, n]` gives `[b, m, n]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot;

impl Structural for Dot {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        let (a, b) = (&x[0].shape, &x[1].shape);
        if a.len() != 3 || b.len() != 3 || a[0] != b[0] || a[2] != b[1] {
            return Err(err::shape(format!("`bmm`: {} and {} cannot be multiplied", x[0], x[1])));
        }
        if x[0].dtype != x[1].dtype {
            return Err(err::internal(format!(
                "`bmm`: expected the same dtype, got {} and {}",
                x[0].dtype, x[1].dtype
            )));
        }
        Ok(smallvec![Type::new(x[0].dtype, [a[0], a[1], b[2]])])
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        let (batch, m, k) = (x[0].shape()[0], x[0].shape()[1], x[0].shape()[2]);
        let n = x[1].shape()[2];
        let (a, b) = (x[0].bits(), x[1].bits());
        let dtype = x[0].dtype;
        let mut out = Vec::with_capacity(batch * m * n);
        for i in 0..batch * m {
            for j in 0..n {
                let pair = |p: usize| (a[i * k + p], b[((i / m) * k + p) * n + j]);
                out.push(chain(dtype.reg(), k, pair));
            }
        }
        if dtype.is_half() {
            for v in &mut out {
                *v = eval::round_half(dtype, f32::from_bits(*v as u32)).to_bits() as u64;
            }
        }
        Ok(Array::new(dtype, &[batch, m, n], out))
    }

    fn vjp<'b>(&self, x: &[Ex<'b>], _: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        vec![Some(dy.bmm(x[1].transpose(1, 2))), Some(x[0].transpose(1, 2).bmm(dy))]
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        let own = |i: usize| -> Dims { x[i].dims().iter().skip(lanes.on[i] as usize).copied().collect() };
        let (a, b) = (own(0), own(1));
        if !lanes.on[1] && a[0].is(1) {
            // One right factor for all: the elements are further rows. Each result is the same chain.
            let rows = x[0].reshape(&[Dim::ONE, lanes.size * a[1], a[2]]);
            return vec![rows.bmm(x[1]).reshape(&lanes.shape(&[Dim::ONE, a[1], b[2]]))];
        }
        if !lanes.on[0] && b[0].is(1) {
            // One left factor for all: as above with both sides transposed, and each product has its factors swapped.
            let columns = x[1].reshape(&[lanes.size, b[1], b[2]]).transpose(1, 2);
            let rows = columns.reshape(&[Dim::ONE, lanes.size * b[2], b[1]]).bmm(x[0].transpose(1, 2));
            let turned = rows.reshape(&[lanes.size, b[2], a[1]]).transpose(1, 2);
            return vec![turned.reshape(&lanes.shape(&[Dim::ONE, a[1], b[2]]))];
        }
        let x = lanes.all(x);
        let flat = |e: Ex<'b>, s: &Dims| e.reshape(&[lanes.size * s[0], s[1], s[2]]);
        vec![flat(x[0], &a).bmm(flat(x[1], &b)).reshape(&lanes.shape(&[a[0], a[1], b[2]]))]
    }
    fn jvp_all<'b>(&self, x: &[Ex<'b>], _: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        let (left, right) = (t[0].map(|t| t.bmm(x[1])), t[1].map(|t| x[0].bmm(t)));
        Some(vec![match (left, right) {
            (Some(l), Some(r)) => Some(l + r),
            (l, r) => l.or(r),
        }])
    }
}

/// One element of the product, in the defined order.
fn chain(reg: Reg, k: usize, pair: impl Fn(usize) -> (u64, u64)) -> u64 {
    let blocks = (0..k).step_by(K_BLOCK).map(|s| s..(s + K_BLOCK).min(k));
    match reg {
        Reg::F32 => {
            let f = |v: u64| f32::from_bits(v as u32);
            let parts = blocks.map(|r| r.map(&pair).fold(0f32, |acc, (x, y)| f(x).mul_add(f(y), acc)));
            parts.reduce(|a, b| a + b).unwrap_or(0.0).to_bits() as u64
        }
        Reg::F64 => {
            let f = f64::from_bits;
            let parts = blocks.map(|r| r.map(&pair).fold(0f64, |acc, (x, y)| f(x).mul_add(f(y), acc)));
            parts.reduce(|a, b| a + b).unwrap_or(0.0).to_bits()
        }
        Reg::Bool => (0..k).any(|p| pair(p).0 & pair(p).1 & 1 == 1) as u64,
        _ => {
            let sum = (0..k).fold(0i64, |s, p| s.wrapping_add((pair(p).0 as i64).wrapping_mul(pair(p).1 as i64)));
            eval::wrap(reg, sum)
        }
    }
}

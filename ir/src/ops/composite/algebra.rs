//! Products of vectors and chains of matrices: `cross`, `addr`, `matrix_power`, `chain_matmul`, and `renorm`.

use super::arith::common;
use super::matmul::matmul;
use super::stats::vector_norm;
use super::{same_dtype, unit};
use crate::builder::{Builder, Ex};
use crate::dtype::DType;
use crate::error::{Result, err};
use crate::ops::registry::{Args, FnDef, require_float};
use crate::types::{axis, broadcast};

fn cross<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    same_dtype("cross", &[x, y])?;
    if x.rank() != y.rank() {
        return Err(err::shape("`cross`: inputs must have the same number of dimensions"));
    }
    let d = match a.opt_int(2)? {
        Some(d) => axis(d, x.rank())?,
        None => x.shape().iter().position(|n| *n == 3).ok_or_else(|| err::shape("no dimension of size 3 in input"))?,
    };
    if x.rank() == 0 || x.shape()[d] != 3 || y.shape()[d] != 3 {
        let n = |e: Ex<'b>| e.shape().get(d).copied().unwrap_or(1);
        return Err(err::shape(format!("`cross`: inputs dimension {d} must have length 3. Got {} and {}", n(x), n(y))));
    }
    if x.dtype() == DType::Bool {
        return Err(err::dtype("`cross` is not implemented for bool"));
    }
    let shape =
        broadcast(&x.shape(), &y.shape()).ok_or_else(|| crate::builder::broadcast_error("cross", &[x.ty(), y.ty()]))?;
    Ok(unit([x.expand(&shape), y.expand(&shape)], |[x, y]| {
        let at = |e: Ex<'b>, i: usize| e.narrow(d, i % 3, 1);
        let part = |i: usize| at(x, i + 1) * at(y, i + 2) - at(x, i + 2) * at(y, i + 1);
        super::join::cat(b, &[0, 1, 2].map(part), d as i64).unwrap_or_else(|e| b.wrap(Err(e)))
    }))
}

fn addr<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, u, v) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?);
    let (beta, alpha) = (a.tensor(b, 3)?, a.tensor(b, 4)?);
    if u.rank() != 1 || v.rank() != 1 {
        let (u, v) = (u.rank(), v.rank());
        return Err(err::shape(format!("`addr`: expected 1-D argument vec1 and vec2, but got {u}-D and {v}-D")));
    }
    let dtype = common(&[x, u, v]);
    let shape = [u.shape()[0], v.shape()[0]];
    if broadcast(&x.shape(), &shape).as_deref() != Some(&shape[..]) {
        let want = crate::dim::dims(&shape);
        return Err(err::shape(format!("`addr`: {}", crate::types::unstretched(&x.dims(), &want))));
    }
    for (name, e) in [("beta", beta), ("alpha", alpha)] {
        if e.dtype().category() > dtype.category() && dtype != DType::Bool {
            return Err(super::arith::scale_error("addr", name, dtype, e.dtype()));
        }
    }
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    let outer = wide(u).unsqueeze(1) * wide(v);
    if dtype == DType::Bool {
        let on = |e: Ex<'b>| e.cast(DType::Bool);
        return Ok(on(beta).logical_and(wide(x)).logical_or(on(alpha).logical_and(outer)));
    }
    Ok(super::matmul::blend(wide(x), beta, outer, alpha).cast(dtype))
}

/// `x^n` for `n` at least 0, by squaring.
fn matrix_power<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, n) = (a.tensor(b, 0)?, a.int(1)?);
    let s = x.shape();
    let r = s.len();
    if r < 2 || s[r - 1] != s[r - 2] {
        return Err(err::shape(format!(
            "`matrix_power`: A must be batches of square matrices, but they are {}",
            x.ty()
        )));
    }
    let (x, n) = if n < 0 { (super::inverse::inv(b, x)?, n.unsigned_abs()) } else { (x, n.unsigned_abs()) };
    if n == 0 {
        let one = b.iota(s[r - 1]).unsqueeze(1).eq(b.iota(s[r - 1])).cast(x.dtype());
        return Ok(one.expand(&s).copy());
    }
    let (mut left, mut square, mut out) = (n, x, None);
    loop {
        if left % 2 == 1 {
            out = Some(out.map_or(Ok(square), |o| matmul(o, square))?);
        }
        left /= 2;
        match out {
            Some(out) if left == 0 => return Ok(if n == 1 { out.copy() } else { out }),
            _ => square = matmul(square, square)?,
        }
    }
}

/// The product of matrices in the order of the least multiplications (Cormen, Leiserson, Rivest and Stein, "Introduction
/// to Algorithms", the matrix chain).
fn chain<'b>(parts: &[Ex<'b>]) -> Result<Ex<'b>> {
    let n = parts.len();
    let extent = |i: usize| if i == 0 { parts[0].shape()[0] } else { parts[i - 1].shape()[1] } as f64;
    // cost[i][j] of the product of i..=j, and the split that has it.
    let mut cost = vec![vec![0.0; n]; n];
    let mut split = vec![vec![0; n]; n];
    for len in 1..n {
        for i in 0..n - len {
            let j = i + len;
            cost[i][j] = f64::INFINITY;
            for k in i..j {
                let c = cost[i][k] + cost[k + 1][j] + extent(i) * extent(k + 1) * extent(j + 1);
                if c < cost[i][j] {
                    (cost[i][j], split[i][j]) = (c, k);
                }
            }
        }
    }
    fn product<'b>(parts: &[Ex<'b>], split: &[Vec<usize>], i: usize, j: usize) -> Result<Ex<'b>> {
        if i == j {
            return Ok(parts[i]);
        }
        let k = split[i][j];
        matmul(product(parts, split, i, k)?, product(parts, split, k + 1, j)?)
    }
    product(parts, &split, 0, n - 1)
}

fn chain_matmul<'b>(a: &Args<'b>, name: &str, vectors: bool) -> Result<Ex<'b>> {
    let parts = a.tensors(0)?;
    if parts.len() > 256 {
        return Err(err::unsupported(format!("`{name}` of more than 256 matrices")));
    }
    let (Some(first), Some(last)) = (parts.first().copied(), parts.last().copied()) else {
        return Err(err::shape(format!("`{name}`: expecting at least 1 matrix")));
    };
    if vectors && parts.len() < 2 {
        return Err(err::shape("`multi_dot`: expected at least 2 tensors but got 1"));
    }
    let edge = |i: usize| vectors && (i == 0 || i + 1 == parts.len());
    if let Some((i, p)) = parts.iter().enumerate().find(|(i, p)| p.rank() != 2 && !(edge(*i) && p.rank() == 1)) {
        return Err(err::shape(format!("`{name}`: tensor {i} is expected to be a matrix, but it is {}", p.ty())));
    }
    let mut all = parts.clone();
    all[0] = if first.rank() == 1 { first.unsqueeze(0) } else { first };
    let end = all.len() - 1;
    all[end] = if last.rank() == 1 { last.unsqueeze(1) } else { all[end] };
    let y = chain(&all)?;
    let mut shape = y.shape();
    if last.rank() == 1 {
        shape.pop();
    }
    if first.rank() == 1 {
        shape.remove(0);
    }
    Ok(y.reshape(&shape))
}

/// Each index of a dimension held to a norm over the others.
fn renorm<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, p, most) = (a.tensor(b, 0)?, a.float(1)?, a.float(3)?);
    require_float("renorm", x)?;
    if x.rank() < 2 {
        return Err(err::shape(format!("`renorm`: input needs at least 2 dimensions, got {} dimensions", x.rank())));
    }
    if !(p > 0.0 && most >= 0.0) {
        return Err(err::ty("`renorm`: non-positive norm, or a negative maxnorm, is not supported"));
    }
    let d = axis(a.int(2)?, x.rank())?;
    let others: Vec<usize> = (0..x.rank()).filter(|i| *i != d).collect();
    Ok(unit([x], |[x]| {
        let norm = vector_norm(x, p, &others, true);
        let most = norm.number(most);
        x * norm.gt(most).select(most / (norm + 1e-7), norm.number(1.0))
    }))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "cross",
        sig: "x, other, dim: int? = None",
        example: "x: D[2, 3], other: D[2, 3] => cross(x, other)",
        doc: "The cross product of 3-vectors along a dimension, which broadcast: of one dtype, not bool. Without a \
              dimension along the first of extent 3.",
        build: |b, a| Ok(cross(b, a)?.into()),
    },
    FnDef {
        name: "addr",
        sig: "x, vec1, vec2, beta: number = 1, alpha: number = 1",
        example: "x: D[2, 3], vec1: D[2], vec2: D[3] => addr(x, vec1, vec2)",
        doc: "beta * x + alpha * outer(vec1, vec2), rounded once; x broadcasts to the product [m, n] and does not \
              count if beta is 0. On bool: or of ands.",
        build: |b, a| Ok(addr(b, a)?.into()),
    },
    FnDef {
        name: "matrix_power",
        sig: "x, n: int",
        example: "x: D[2, 3, 3] => matrix_power(x, 3)",
        doc: "Square matrices [.., m, m] to a power, by squaring; the 0th is the identity, negative ones are powers of \
              the inverse (`inv`: f32 and f64). Not bool.",
        build: |b, a| Ok(matrix_power(b, a)?.into()),
    },
    FnDef {
        name: "chain_matmul",
        sig: "matrices: tensors",
        example: "a: D[2, 3], b: D[3, 4], c: D[4, 2] => chain_matmul(a, b, c)",
        doc: "The product of matrices, in the order that takes the least multiplications. One dtype.",
        build: |_, a| Ok(chain_matmul(a, "chain_matmul", false)?.into()),
    },
    FnDef {
        name: "multi_dot",
        sig: "tensors: tensors",
        example: "a: D[3], b: D[3, 4], c: D[4] => multi_dot([a, b, c])",
        doc: "As `chain_matmul`, of at least two; the first may be a row, the last a column vector, and that dimension \
              is dropped.",
        build: |_, a| Ok(chain_matmul(a, "multi_dot", true)?.into()),
    },
    FnDef {
        name: "renorm",
        sig: "x, p: float, dim: int, maxnorm: float",
        example: "x: D[2, 3] => renorm(x, 2.0, 0, 1.0)",
        doc: "x with every index of a dimension whose p-norm over the others is larger than maxnorm scaled down to it. Floats \
              of at least 2 dimensions.",
        build: |b, a| Ok(renorm(b, a)?.into()),
    },
];

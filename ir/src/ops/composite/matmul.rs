//! Matrix products of all ranks, which come down to the batched product [`Op::Dot`]. Dtypes do not promote.

use super::{row, same_dtype, unit};
use crate::builder::{Builder, Ex};
use crate::dim::{Dim, Dims, product};
use crate::dtype::DType;
use crate::error::{Error, Result, err};
use crate::ops::Op;
use crate::ops::registry::{Args, FnDef};
use crate::types::{broadcast, unequal, unstretched};

fn mismatch(name: &str, x: Ex<'_>, y: Ex<'_>) -> Error {
    let (xs, ys) = (x.dims(), y.dims());
    if let ([n], [m]) = (xs.as_slice(), ys.as_slice()) {
        return err::shape(format!(
            "`{name}`: inconsistent tensor size, expected tensor [{n}] and src [{m}] to have the same number of elements, but \
             got {n} and {m} elements respectively"
        ));
    }
    let text = |s: &[Dim]| s[s.len().saturating_sub(2)..].iter().map(Dim::to_string).collect::<Vec<_>>().join("x");
    err::shape(format!("`{name}`: mat1 and mat2 shapes cannot be multiplied ({} and {})", text(&xs), text(&ys)))
        .help("the last extent of the first must be the last but one of the second")
}

fn check_dtypes(name: &str, x: Ex<'_>, y: Ex<'_>) -> Result<()> {
    if x.dtype() != y.dtype() || y.ty().weak {
        let (x, y) = (x.dtype(), y.dtype());
        if matches!(name, "dot" | "vdot") {
            return Err(err::dtype(format!(
                "`{name}`: expected both vectors to have same dtype, but found {x} and {y}"
            )));
        }
        return Err(err::dtype(format!("`{name}`: expected m1 and m2 to have the same dtype, but got: {x} != {y}")));
    }
    if x.dtype() == DType::Bool {
        return Err(err::dtype(format!("`{name}` is not implemented for bool")));
    }
    Ok(())
}

/// The matrix product by the rules of `torch.matmul`: vectors count as rows on the left and columns on the right,
/// dimensions before the last two are batches that broadcast.
///
/// # Errors
/// `shape` or `dtype`.
pub fn matmul<'b>(x: Ex<'b>, y: Ex<'b>) -> Result<Ex<'b>> {
    if x.rank() == 0 || y.rank() == 0 {
        let (x, y) = (x.rank(), y.rank());
        return Err(err::shape(format!("both arguments to matmul need to be at least 1D, but they are {x}D and {y}D")));
    }
    check_dtypes("matmul", x, y)?;
    let (xs, ys) = (x.dims(), y.dims());
    let a = if xs.len() == 1 { x.unsqueeze(0) } else { x };
    let c = if ys.len() == 1 { y.unsqueeze(1) } else { y };
    let (r, q) = (a.rank(), c.rank());
    let (m, k, n) = (a.dims()[r - 2], a.dims()[r - 1], c.dims()[q - 1]);
    if c.dims()[q - 2] != k {
        return Err(mismatch("matmul", x, y));
    }
    let mut shape: Dims = broadcast(&a.dims()[..r - 2], &c.dims()[..q - 2])
        .ok_or_else(|| err::shape(format!("`matmul`: {}", unequal(&a.dims()[..r - 2], &c.dims()[..q - 2]))))?;
    let batch = product(&shape);
    let product = if q == 2 {
        // One right side for all batches: they are more rows.
        a.reshape(&[Dim::ONE, batch * m, k]).bmm(c.unsqueeze(0))
    } else {
        let wide = |e: Ex<'b>, rows: Dim, columns: Dim| {
            let mut full = shape.clone();
            full.extend([rows, columns]);
            e.expand(&full).reshape(&[batch, rows, columns])
        };
        wide(a, m, k).bmm(wide(c, k, n))
    };
    if xs.len() > 1 {
        shape.push(m);
    }
    if ys.len() > 1 {
        shape.push(n);
    }
    Ok(product.reshape(&shape))
}

/// Refuses operands of other ranks.
fn ranks(name: &str, x: &[(Ex<'_>, usize)]) -> Result<()> {
    match x.iter().find(|(e, r)| e.rank() != *r) {
        Some((e, 2)) => Err(err::shape(format!(
            "`{name}`: expected a matrix, but got tensor with dim {} ({}-D)",
            e.rank(),
            e.rank()
        ))),
        Some((_, r)) => {
            let ranks: Vec<String> = x.iter().map(|(e, _)| format!("{}D", e.rank())).collect();
            Err(err::shape(format!("`{name}`: {r}D tensors expected, but got {} tensors", ranks.join(" and "))))
        }
        None => Ok(()),
    }
}

/// Refuses a second batch of matrices that the first does not multiply with.
fn same_batches(name: &str, x: Ex<'_>, y: Ex<'_>) -> Result<()> {
    let (xs, ys) = (x.dims(), y.dims());
    if xs[0] == ys[0] && xs[2] == ys[1] {
        return Ok(());
    }
    Err(err::shape(format!(
        "`{name}`: Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: [{}, {}]",
        xs[0], xs[2], ys[0], ys[1]
    )))
}

/// A product of operands of given ranks.
fn strict<'b>(b: &'b Builder, a: &Args<'b>, name: &str, left: usize, right: usize) -> Result<Ex<'b>> {
    let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    ranks(name, &[(x, left), (y, right)])?;
    check_dtypes(name, x, y)?;
    if left == 3 {
        same_batches(name, x, y)?;
    }
    matmul(x, y)
}

/// `beta * x + alpha * (y @ z)`, rounded once.
fn scaled_sum<'b>(b: &'b Builder, a: &Args<'b>, name: &str, left: usize, right: usize) -> Result<Ex<'b>> {
    let (x, y, z) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?);
    ranks(name, &[(y, left), (z, right)])?;
    same_dtype(name, &[y, z, x])?;
    check_dtypes(name, y, z)?;
    let (beta, alpha) = (a.tensor(b, 3)?, a.tensor(b, 4)?);
    let wide = |e: Ex<'b>| e.cast(e.dtype().compute());
    let product = matmul(wide(y), wide(z))?;
    let shape = product.dims();
    if broadcast(&x.dims(), &shape).as_ref() != Some(&shape) {
        return Err(err::shape(format!("`{name}`: {}", unstretched(&x.dims(), &shape))));
    }
    Ok(blend(wide(x), beta, product, alpha).cast(y.dtype()))
}

/// `beta * x + alpha * product`. With beta = 0 nothing of x is read, not even NaN.
pub fn blend<'b>(x: Ex<'b>, beta: Ex<'b>, product: Ex<'b>, alpha: Ex<'b>) -> Ex<'b> {
    use super::arith::constant;
    let dtype = product.dtype();
    // Integers are scaled by integers: a float is cut off.
    let number = |s: Ex<'b>| if dtype.is_int() { s.cast(dtype) } else { s };
    let scale = |e: Ex<'b>, s: Ex<'b>| match constant(s) {
        Some(c) if c.to_f64() == 1.0 => e,
        _ => e * number(s),
    };
    let scaled = scale(product, alpha);
    if constant(beta).is_some_and(|c| c.to_f64() == 0.0) { scaled } else { scale(x, beta) + scaled }
}

/// `x @ weight^T + bias`, with `weight` `[out, in]` (or `[in]`), rounded once.
fn linear<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, w) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
    let bias = a.opt_tensor(b, 2)?;
    same_dtype("linear", &[x, w, bias.unwrap_or(w)])?;
    if w.rank() > 2 || w.rank() == 0 || x.rank() == 0 {
        return Err(err::shape(format!("`linear`: a weight {} for {}", w.ty(), x.ty())));
    }
    let fits = x.dims().last() == w.dims().last();
    if !fits {
        let text = |s: Vec<String>| s[s.len().saturating_sub(2)..].join("x");
        let (x, w) = (x.dims(), w.dims());
        let (x, w) = (x.iter().map(Dim::to_string).collect(), w.iter().rev().map(Dim::to_string).collect());
        return Err(err::shape(format!(
            "`linear`: mat1 and mat2 shapes cannot be multiplied ({} and {})",
            text(x),
            text(w)
        ))
        .help("the weight is [out, in], and mat2 its transpose"));
    }
    let turned = |w: Ex<'b>| if w.rank() == 2 { w.transpose(0, 1) } else { w };
    let Some(bias) = bias else { return matmul(x, turned(w)) };
    let dtype = x.dtype();
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    let y = matmul(wide(x), turned(wide(w)))?;
    Ok(row("add", &[y, wide(bias)])?.cast(dtype))
}

/// `y[o] = x1 W[o] x2 + bias[o]`.
fn bilinear<'b>(b: &'b Builder, a: &Args<'b>) -> Result<Ex<'b>> {
    let (x, y, w, bias) = (a.tensor(b, 0)?, a.tensor(b, 1)?, a.tensor(b, 2)?, a.opt_tensor(b, 3)?);
    same_dtype("bilinear", &[x, y, w, bias.unwrap_or(w)])?;
    if x.dtype() == DType::Bool {
        return Err(err::dtype("`bilinear` is not implemented for bool"));
    }
    let (xs, ys) = (x.shape(), y.shape());
    let lead = &xs[..xs.len().saturating_sub(1)];
    if xs.is_empty() || xs.len() != ys.len() || lead != &ys[..ys.len() - 1] {
        return Err(err::shape(format!(
            "`bilinear`: input batch dimensions do not match: got {} and {}",
            x.ty(),
            y.ty()
        )));
    }
    let [o, p, q] = *w.shape().as_slice() else {
        return Err(err::shape(format!("`bilinear`: a weight {}, expected [out, in1, in2]", w.ty())));
    };
    if xs[xs.len() - 1] != p || ys[ys.len() - 1] != q || bias.is_some_and(|b| b.shape().as_slice() != [o]) {
        let (x, y, w) = (x.ty(), y.ty(), w.ty());
        return Err(err::shape(format!("`bilinear`: inputs {x} and {y}, or the bias, do not fit the weight {w}")));
    }
    let n: usize = lead.iter().product();
    let dtype = x.dtype();
    let wide = |e: Ex<'b>| e.cast(dtype.compute());
    // [n, in1] @ [in1, out * in2], then the product with the second input summed over in2.
    let turned = wide(w).transpose(0, 1).reshape(&[1, p, o * q]);
    let left = wide(x).reshape(&[1, n, p]).bmm(turned).reshape(&[n, o, q]);
    let z = (left * wide(y).reshape(&[n, 1, q])).sum(&[2], false);
    let z = bias.map_or(z, |b| z + wide(b));
    Ok(z.cast(dtype).reshape(&[lead, &[o]].concat()))
}

/// The functions.
pub static FNS: &[FnDef] = &[
    FnDef {
        name: "matmul",
        sig: "x, other",
        example: "x: D[2, 3], other: D[3, 4] => matmul(x, other)",
        doc: "The matrix product `x @ other`: of matrices [.., m, k] and [.., k, n], whose leading dimensions are \
              batches that broadcast; a vector is a row on the left, a column on the right, and that dimension is \
              dropped. Operands of one dtype, not bool, not scalars. One chain of fused multiply-adds, half floats in \
              f32.",
        build: |b, a| Ok(matmul(a.tensor(b, 0)?, a.tensor(b, 1)?)?.into()),
    },
    FnDef {
        name: "mm",
        sig: "x, mat2",
        example: "x: D[2, 3], mat2: D[3, 4] => mm(x, mat2)",
        doc: "The product [m, n] of two matrices [m, k] and [k, n] of one dtype; see `matmul`.",
        build: |b, a| Ok(strict(b, a, "mm", 2, 2)?.into()),
    },
    FnDef {
        name: "bmm",
        sig: "x, mat2",
        example: "x: D[2, 2, 3], mat2: D[2, 3, 4] => bmm(x, mat2)",
        doc: "The products [b, m, n] of two batches of matrices [b, m, k] and [b, k, n] of one dtype; see `matmul`.",
        build: |b, a| {
            let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            ranks("bmm", &[(x, 3), (y, 3)])?;
            check_dtypes("bmm", x, y)?;
            same_batches("bmm", x, y)?;
            Ok(b.ex(b.emit(Op::Dot, &[x.value()?, y.value()?])?).into())
        },
    },
    FnDef {
        name: "mv",
        sig: "x, vec",
        example: "x: D[2, 3], vec: D[3] => mv(x, vec)",
        doc: "The product [m] of a matrix [m, k] and a vector [k] of one dtype; see `matmul`.",
        build: |b, a| Ok(strict(b, a, "mv", 2, 1)?.into()),
    },
    FnDef {
        name: "dot",
        sig: "x, tensor",
        example: "x: D[3], tensor: D[3] => dot(x, tensor)",
        doc: "sum(x tensor) of two vectors of one length and dtype; see `matmul`.",
        build: |b, a| Ok(strict(b, a, "dot", 1, 1)?.into()),
    },
    FnDef {
        name: "vdot",
        sig: "x, other",
        example: "x: D[3], other: D[3] => vdot(x, other)",
        doc: "sum(x other) of two vectors of one length and dtype; see `matmul`.",
        build: |b, a| Ok(strict(b, a, "vdot", 1, 1)?.into()),
    },
    FnDef {
        name: "outer",
        sig: "x, vec2",
        example: "x: D[2], vec2: D[3] => outer(x, vec2)",
        doc: "x[i] * vec2[j] for two vectors [m] and [n], as [m, n]; dtypes promote.",
        build: |b, a| {
            let (x, y) = (a.tensor(b, 0)?, a.tensor(b, 1)?);
            ranks("outer", &[(x, 1), (y, 1)])?;
            Ok(row("mul", &[x.unsqueeze(1), y.unsqueeze(0)])?.into())
        },
    },
    FnDef {
        name: "addmm",
        sig: "x, mat1, mat2, beta: number = 1, alpha: number = 1",
        example: "x: D[4], mat1: D[2, 3], mat2: D[3, 4] => addmm(x, mat1, mat2)",
        doc: "beta * x + alpha * (mat1 @ mat2), rounded once; x broadcasts to the product [m, n]. x does not count if \
              beta is 0. One dtype, not bool.",
        build: |b, a| Ok(scaled_sum(b, a, "addmm", 2, 2)?.into()),
    },
    FnDef {
        name: "addmv",
        sig: "x, mat, vec, beta: number = 1, alpha: number = 1",
        example: "x: D[2], mat: D[2, 3], vec: D[3] => addmv(x, mat, vec)",
        doc: "beta * x + alpha * (mat @ vec), rounded once; x broadcasts to the product [m]. x does not count if beta \
              is 0. One dtype, not bool.",
        build: |b, a| Ok(scaled_sum(b, a, "addmv", 2, 1)?.into()),
    },
    FnDef {
        name: "baddbmm",
        sig: "x, batch1, batch2, beta: number = 1, alpha: number = 1",
        example: "x: D[4], batch1: D[2, 2, 3], batch2: D[2, 3, 4] => baddbmm(x, batch1, batch2)",
        doc: "beta * x + alpha * (batch1 @ batch2), rounded once; x broadcasts to the product [b, m, n]. x does not \
              count if beta is 0. One dtype, not bool.",
        build: |b, a| Ok(scaled_sum(b, a, "baddbmm", 3, 3)?.into()),
    },
    FnDef {
        name: "linear",
        sig: "x, weight, bias = None",
        example: "x: D[2, 3], weight: D[4, 3], bias: D[4] => linear(x, weight, bias)",
        doc: "x @ weight^T + bias for x [.., in], a weight [out, in] and a bias [out], as [.., out]; rounded once. One \
              dtype. See `matmul`.",
        build: |b, a| Ok(linear(b, a)?.into()),
    },
    FnDef {
        name: "trace",
        sig: "x",
        example: "x: D[2, 3] => trace(x)",
        doc: "The sum of the diagonal of a matrix. Integers and bool give i64.",
        build: |b, a| {
            let x = a.tensor(b, 0)?;
            ranks("trace", &[(x, 2)])?;
            let d = super::shape::view_of(x, Op::Diagonal(crate::ops::view::Diagonal { offset: 0, dim1: 0, dim2: 1 }))?;
            let d = if d.dtype().is_float() { d } else { d.cast(DType::I64) };
            Ok(unit([d], |[d]| d.sum(&[0], false)).into())
        },
    },
    FnDef {
        name: "bilinear",
        sig: "input1, input2, weight, bias = None",
        example: "input1: D[2, 3], input2: D[2, 4], weight: D[5, 3, 4], bias: D[5] => bilinear(input1, input2, weight, bias)",
        doc: "input1 @ weight[o] @ input2 + bias[o] for inputs [.., in1] and [.., in2] and a weight [out, in1, in2], as [.., \
              out]; rounded once. Numbers of one dtype.",
        build: |b, a| Ok(bilinear(b, a)?.into()),
    },
];

//! Convolutions, of whole numbers against their definition and fused against eager, to the bit. A product reads the windows
//! where they lie.

use tensorc::dtype::{F32, F64};
use tensorc::{Argument, DType, Result, Tensor, call, grad, jit, randn};

/// What a convolution is given besides its operands.
#[derive(Clone, Copy)]
struct Case {
    x: [usize; 4],
    w: [usize; 4],
    stride: i64,
    padding: i64,
    dilation: i64,
    groups: i64,
}

const PLAIN: Case = Case { x: [2, 3, 9, 11], w: [4, 3, 3, 3], stride: 1, padding: 0, dilation: 1, groups: 1 };

fn cases() -> Vec<(&'static str, Case)> {
    vec![
        ("plain", PLAIN),
        ("padded", Case { padding: 1, ..PLAIN }),
        ("with a stride", Case { stride: 2, padding: 2, ..PLAIN }),
        ("spread", Case { dilation: 2, padding: 1, ..PLAIN }),
        ("of one element", Case { w: [5, 3, 1, 1], ..PLAIN }),
        ("in groups", Case { x: [2, 4, 9, 11], w: [6, 2, 3, 2], groups: 2, ..PLAIN }),
        ("each channel alone", Case { x: [2, 4, 9, 11], w: [4, 1, 3, 3], groups: 4, ..PLAIN }),
        ("one image", Case { x: [1, 3, 9, 11], ..PLAIN }),
        ("of more terms than a block", Case { x: [2, 40, 8, 37], w: [20, 40, 3, 3], padding: 1, ..PLAIN }),
        ("of the whole input", Case { w: [4, 3, 9, 11], ..PLAIN }),
        ("of many windows", Case { x: [2, 3, 20, 23], w: [15, 3, 3, 3], padding: 1, ..PLAIN }),
    ]
}

fn conv2d((x, w): (Tensor, Tensor), c: Case) -> Result<Tensor> {
    let number = |name, n: i64| (Some(name), Argument::from(n));
    let numbers = [number("stride", c.stride), number("padding", c.padding), number("dilation", c.dilation)];
    let args = [(None, x.into()), (None, w.into())].into_iter().chain(numbers).chain([number("groups", c.groups)]);
    Ok(call("conv2d", &args.collect::<Vec<_>>())?.swap_remove(0))
}

fn bits(t: &Tensor) -> Result<Vec<u64>> {
    Ok(t.to(F64)?.to_vec::<f64>()?.into_iter().map(f64::to_bits).collect())
}

fn agree(what: &str, c: Case, dtype: DType) -> Result<()> {
    let number = |shape: &[usize], seed| randn(shape, Some(seed))?.to(dtype);
    let (x, w) = (number(&c.x, 1)?, number(&c.w, 2)?);
    let eager = conv2d((x.clone(), w.clone()), c)?;
    let fused = jit(move |xw: (Tensor, Tensor)| conv2d(xw, c)).call((x.clone(), w.clone()))?;
    assert_eq!(bits(&eager)?, bits(&fused)?, "{what}");
    // Squares, so that the gradients depend on both operands.
    let loss = move |xw: (Tensor, Tensor)| {
        let y = conv2d(xw, c)?;
        (&y * &y)?.sum()
    };
    let (dx, dw) = grad(loss)((x.clone(), w.clone()))?;
    let (fx, fw) = jit(move |xw: (Tensor, Tensor)| grad(loss)(xw)).call((x, w))?;
    assert_eq!(bits(&dx)?, bits(&fx)?, "{what}: by the input");
    assert_eq!(bits(&dw)?, bits(&fw)?, "{what}: by the weight");
    Ok(())
}

/// The definition, on whole numbers, of which every sum is exact.
fn defined(x: &[f64], w: &[f64], c: Case) -> Vec<f64> {
    let ([batch, channels, height, width], [out, each, kh, kw]) = (c.x, c.w);
    let (stride, padding, dilation) = (c.stride as usize, c.padding as usize, c.dilation as usize);
    let windows = |n: usize, k: usize| (n + 2 * padding - dilation * (k - 1) - 1) / stride + 1;
    let (rows, columns) = (windows(height, kh), windows(width, kw));
    let mut y = Vec::new();
    for (b, o) in (0..batch).flat_map(|b| (0..out).map(move |o| (b, o))) {
        let first = o / (out / c.groups as usize) * each;
        for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
            let mut sum = 0.0;
            for (k, di, dj) in (0..each * kh * kw).map(|n| (n / (kh * kw), n / kw % kh, n % kw)) {
                let (r, s) = (i * stride + di * dilation, j * stride + dj * dilation);
                let inside = (padding..padding + height).contains(&r) && (padding..padding + width).contains(&s);
                if inside {
                    let at = ((b * channels + first + k) * height + r - padding) * width + s - padding;
                    sum += x[at] * w[((o * each + k) * kh + di) * kw + dj];
                }
            }
            y.push(sum);
        }
    }
    y
}

#[test]
fn whole_numbers_are_convolved_exactly() -> Result<()> {
    for (what, c) in cases() {
        let whole = |shape: &[usize], seed| randn(shape, Some(seed))?.mul(3.0)?.round();
        let (x, w) = (whole(&c.x, 3)?, whole(&c.w, 4)?);
        let want = defined(&x.to(F64)?.to_vec::<f64>()?, &w.to(F64)?.to_vec::<f64>()?, c);
        let got = conv2d((x, w), c)?.to(F64)?.to_vec::<f64>()?;
        assert_eq!(got, want, "{what}");
    }
    Ok(())
}

#[test]
fn fused_and_eager_have_the_same_bits() -> Result<()> {
    for (what, case) in cases() {
        for dtype in [F32, F64] {
            agree(&format!("{what}, {dtype}"), case, dtype)?;
        }
    }
    Ok(())
}

/// An input that is no row-major tensor, windows that several products read, and an input that is written afterwards.
#[test]
fn windows_of_what_lies_otherwise_or_changes() -> Result<()> {
    let (x, w) = (randn(&[2, 3, 12, 10], Some(1))?, randn(&[4, 3, 3, 3], Some(2))?);
    let turned = move |(x, w): (Tensor, Tensor)| conv2d((x.transpose(2, 3)?, w), Case { padding: 1, ..PLAIN });
    assert_eq!(bits(&turned((x.clone(), w.clone()))?)?, bits(&jit(turned).call((x.clone(), w.clone()))?)?);

    let twice = |(x, w): (Tensor, Tensor)| {
        let y = conv2d((x.clone(), w.clone()), PLAIN)?;
        x.add_(1.0)?;
        let z = conv2d((x.clone(), w), PLAIN)?;
        Ok((x, y, z))
    };
    let (a, b) = (x.copy()?, x.copy()?);
    let (eager, fused) = (twice((a, w.clone()))?, jit(twice).call((b, w))?);
    assert_eq!(bits(&eager.0)?, bits(&fused.0)?);
    assert_eq!(bits(&eager.1)?, bits(&fused.1)?);
    assert_eq!(bits(&eager.2)?, bits(&fused.2)?);
    Ok(())
}

//! Loop nests as text, over lengths around the vector widths: what a kernel looks like, and what is hard about it.

use crate::data::{Random, fill};
use crate::machine::{Kernel, compare};
use tensorc_codegen::loopnest::{LoopNest, parse};
use tensorc_ir::{DType, Scalar};
use tensorc_runtime::jit::{OptLevel, Target};

/// Compares `text` for each set of parameters, with buffers of `len` elements.
fn check(text: &str, len: usize, params: &[Vec<i64>]) {
    let nest: LoopNest = parse::parse(text).unwrap();
    assert_eq!(parse::parse(&nest.to_string()).unwrap(), nest);
    for level in [OptLevel::None, OptLevel::Speed] {
        let kernel = Kernel::new(&nest, Target::host().unwrap(), level).unwrap();
        for p in params {
            let mut random = Random::new(7);
            let bufs: Vec<_> = nest.bufs.iter().map(|b| fill(b.dtype, len, &mut random)).collect();
            let n = p.first().copied().unwrap_or(0);
            compare(&nest, &kernel, &bufs, p, &[(0, n / 3), (n / 3, n)]);
        }
    }
}

fn lengths() -> Vec<Vec<i64>> {
    (0..=36).chain([63, 64, 65, 70]).map(|n| vec![n]).collect()
}

#[test]
fn elementwise() {
    check(
        "kernel(b0: f32, b1: f32, b2: mut f32; p0) {
           for parallel vector i0 in 0..p0 {
             %0: f32 = load b0[i0]
             %1: f32 = load b1[0]
             %2: f32 = const f32 2.5
             %3: f32 = fma %0, %2, %1
             %4: f32 = const f32 0.0
             %5: f32 = max %3, %4
             store b2[i0] = %5
           }
         }",
        70,
        &lengths(),
    );
}

#[test]
fn in_place() {
    for dtype in DType::ALL {
        let ty = dtype.reg().name();
        check(
            &format!(
                "kernel(b0: mut {dtype}; p0) {{
                   for vector i0 in 0..p0 {{
                     %0: {ty} = load b0[i0]
                     %1: {ty} = add %0, %0
                     store b0[i0] = %1
                   }}
                 }}"
            ),
            70,
            &lengths(),
        );
    }
}

#[test]
fn every_combination_over_rows() {
    for (ty, combine) in [
        ("f32", "sum"),
        ("f32", "max"),
        ("f64", "sum"),
        ("f64", "min"),
        ("i32", "prod"),
        ("i16", "sum"),
        ("i8", "min"),
        ("u8", "max"),
        ("bool", "max"),
        ("bool", "sum"),
        ("i64", "max"),
    ] {
        check(
            &format!(
                "kernel(b0: {ty}, b1: mut {ty}; p0) {{
                   for i0 in 0..3 {{
                     acc a0: {ty} = {combine}, lanes 16
                     for vector i1 in 0..p0 {{
                       %0: {ty} = load b0[i0*p0 + i1]
                       a0 += %0
                     }}
                     %1: {ty} = read a0
                     store b1[i0] = %1
                   }}
                 }}"
            ),
            210,
            &lengths(),
        );
    }
}

#[test]
fn index_of_the_best() {
    for (ty, combine) in [("f32", "argmax"), ("f64", "argmin"), ("i32", "argmin"), ("i64", "argmax"), ("u8", "argmax")]
    {
        check(
            &format!(
                "kernel(b0: {ty}, b1: mut i64; p0) {{
                   acc a0: {ty} = {combine}, lanes 16
                   for vector i1 in 0..p0 {{
                     %0: {ty} = load b0[i1]
                     %1: i64 = index i1*3 + 1
                     a0 += %0 at %1
                   }}
                   %2: i64 = read a0
                   store b1[0] = %2
                 }}"
            ),
            70,
            &lengths(),
        );
    }
}

/// A long body keeps the lanes in memory; the row is read twice, which a serial loop around makes a carried slot.
#[test]
fn lanes_in_memory() {
    let chain: String = (1..20).map(|i| format!("%{i}: f32 = fma %{0}, %{i0}, %0\n", i - 1, i0 = 21)).collect();
    check(
        &format!(
            "kernel(b0: f32, b1: mut f32; p0) {{
               acc a0: f32 = sum, lanes 16
               for i0 in 0..3 {{
                 for vector i1 in 0..p0 {{
                   %22: f32 = load b0[i1 + i0*p0]
                   %23: f32 = const f32 9.0
                   %24: f32 = const f32 -9.0
                   %25: f32 = min %22, %23
                   %0: f32 = max %24, %25
                   %21: f32 = const f32 0.3
                   {chain}
                   a0 += %19
                 }}
               }}
               %20: f32 = read a0
               store b1[0] = %20
             }}"
        ),
        210,
        &lengths(),
    );
}

#[test]
fn columns() {
    check(
        "kernel(b0: f32, b1: f64, b2: mut f32, b3: mut f64; p0) {
           for vector i0 in 0..p0 {
             acc a0: f32 = sum
             acc a1: f64 = max
             acc a2: f32 = argmax
             for i1 in 0..5 {
               %0: f32 = load b0[i1*p0 + i0]
               %1: f64 = load b1[i0*5 + i1]
               a0 += %0
               a1 += %1
               %7: i64 = index i1
               a2 += %0 at %7
             }
             %2: f32 = read a0
             %3: f64 = read a1
             %4: i64 = read a2
             %5: f64 = convert f64 %4
             %6: f64 = add %3, %5
             store b2[i0] = %2
             store b3[i0] = %6
           }
         }",
        350,
        &lengths(),
    );
}

/// What a loop writes, it reads anew each time, though the address stays.
#[test]
fn running_sum_in_memory() {
    check(
        "kernel(b0: mut i32, b1: i32; p0) {
           for vector i0 in 0..20 {
             for i1 in 0..p0 {
               %0: i32 = load b0[i0]
               %1: i32 = load b1[i1]
               %2: i32 = add %0, %1
               store b0[i0] = %2
             }
           }
           for i2 in 0..p0 {
             %3: i32 = load b0[3]
             %4: i32 = add %3, %3
             store b0[3] = %4
           }
         }",
        70,
        &lengths(),
    );
}

#[test]
fn blocks_and_strides() {
    let params = (0..=70).step_by(7).map(|n| vec![(n + 15) / 16, n, 16, -2, 140]).collect::<Vec<_>>();
    check(
        "kernel(b0: f32, b1: mut f32; p0, p1, p2, p3, p4) {
           for parallel i0 in 0..p0 {
             for vector i1 in 0..block(i0, p2, p1) {
               %0: f32 = load b0[i1*p3 + i0*-32 + p4]
               %1: i64 = index i0*p2 + i1
               %2: f32 = convert f32 %1
               %3: f32 = add %0, %2
               store b1[i0*32 + i1*2] = %3
             }
           }
         }",
        160,
        &params,
    );
}

/// A tile whose rows are side by side in one operand, and whose columns are in the other.
#[test]
fn tiles() {
    for ty in ["f32", "i32", "f64", "u8"] {
        let sizes = [(1, 1), (16, 16), (17, 40), (35, 16), (32, 64)];
        let params: Vec<Vec<i64>> = sizes.iter().map(|(m, n)| vec![(m + 15) / 16, *n, 16, *m, 70, 80]).collect();
        check(
            &format!(
                "kernel(b0: {ty}, b1: {ty}, b2: mut {ty}; p0, p1, p2, p3, p4, p5) {{
                   for parallel i2 in 0..p0 {{
                     for vector i1 in 0..p1 {{
                       for i0 in 0..block(i2, 16, p3) {{
                         %0: {ty} = load b0[i2*16 + i1*p4 + i0 + 3]
                         %1: {ty} = load b1[i2*1280 + i1 + i0*p5]
                         %2: {ty} = load b0[i2*16 + i1*p4 + i0]
                         %3: {ty} = sub %0, %1
                         %4: {ty} = max %3, %2
                         store b2[i2*1280 + i1 + i0*p5] = %4
                       }}
                     }}
                   }}
                 }}"
            ),
            64 * 80,
            &params,
        );
    }
}

/// Forty values at a time, and as many truth values.
#[test]
fn more_values_than_registers() {
    let n = 40;
    let loads: String = (0..n).map(|i| format!("%{i}: f32 = load b0[i0 + {}]\n", i * 3 % n)).collect();
    let compares: String = (0..n).map(|i| format!("%{}: bool = lt %{i}, %{}\n", n + i, (i + 1) % n)).collect();
    // From the last to the first.
    let sums: String = (0..n)
        .map(|i| {
            let (sum, before) = (2 * n + 2 * i, if i == 0 { 0 } else { 2 * n + 2 * i - 1 });
            let x = n - 1 - i;
            format!("%{sum}: f32 = sub %{x}, %{before}\n%{}: f32 = select %{}, %{sum}, %{x}\n", sum + 1, n + x)
        })
        .collect();
    let text = format!(
        "kernel(b0: f32, b1: mut f32; p0) {{
           for parallel vector i0 in 0..p0 {{
             {loads}{compares}{sums}
             store b1[i0] = %{}
           }}
         }}",
        4 * n - 1
    );
    check(&text, 120, &lengths());
}

/// Each lane gets all of an iteration before what a later one has for it.
#[test]
fn lanes_updated_in_an_inner_loop_and_twice() {
    check(
        "kernel(b0: f32, b1: mut f32; p0) {
           acc a0: f32 = sum, lanes 16
           for vector i0 in 0..64 {
             for i1 in 0..3 {
               %0: f32 = load b0[i0 + i1*64]
               a0 += %0
             }
           }
           %1: f32 = read a0
           store b1[0] = %1
           acc a1: f32 = sum, lanes 16
           for vector i2 in 0..64 {
             %2: f32 = load b0[i2]
             a1 += %2
             %3: f32 = load b0[i2 + 64]
             a1 += %3
           }
           %4: f32 = read a1
           store b1[1] = %4
         }",
        200,
        &[vec![0]],
    );
}

#[test]
fn gather_and_check() {
    check(
        "kernel(b0: i64, b1: f32, b2: mut f32; p0) {
           for parallel vector i0 in 0..p0 {
             %0: i64 = load b0[i0]
             %1: i64 = const i64 0
             %2: i64 = const i64 69
             %3: bool = lt %0, %1
             %4: bool = lt %2, %0
             %5: bool = or %3, %4
             %6: bool = check index %5
             %7: i64 = max %0, %1
             %8: i64 = min %7, %2
             %9: f32 = load b1[0 + %8]
             store b2[i0] = %9
           }
         }",
        70,
        &lengths(),
    );
}

/// Two vector loops in one parallel loop, where the second uses what the first found.
#[test]
fn softmax() {
    check(
        "kernel(b0: f32, b1: mut f32; p0) {
           for parallel i0 in 0..p0 {
             acc a0: f32 = max, lanes 16
             for vector i1 in 0..37 {
               %0: f32 = load b0[i0*37 + i1]
               a0 += %0
             }
             %1: f32 = read a0
             acc a1: f32 = sum, lanes 16
             for vector i1 in 0..37 {
               %2: f32 = load b0[i0*37 + i1]
               %3: f32 = sub %2, %1
               a1 += %3
               store b1[i0*37 + i1] = %3
             }
             %4: f32 = read a1
             for vector i1 in 0..37 {
               %5: f32 = load b1[i0*37 + i1]
               %6: f32 = div %5, %4
               store b1[i0*37 + i1] = %6
             }
           }
         }",
        370,
        &[vec![0], vec![1], vec![10]],
    );
}

/// Every half-precision value, the midpoints between neighbours and what lies just beside those.
#[test]
fn half_precision() {
    for dtype in [DType::F16, DType::BF16] {
        let text = format!(
            "kernel(b0: f32, b1: mut {dtype}, b2: {dtype}, b3: mut f32, b4: mut {dtype}; p0) {{
               for vector i0 in 0..p0 {{
                 %0: f32 = load b0[i0]
                 store b1[i0] = %0
                 %1: f32 = load b2[i0]
                 store b3[i0] = %1
                 store b4[i0] = %1
               }}
             }}"
        );
        let nest = parse::parse(&text).unwrap();
        let mut wide = Vec::new();
        let mut narrow = Vec::new();
        for h in 0..=u16::MAX {
            let value = |h: u16| Scalar::read(dtype, &h.to_le_bytes()).to_f64();
            let middle = ((value(h) + value(h.wrapping_add(1))) / 2.0) as f32;
            for x in [value(h) as f32, middle, middle.next_up(), middle.next_down()] {
                wide.extend(x.to_le_bytes());
                narrow.extend(h.to_le_bytes());
            }
        }
        let n = narrow.len() / 2;
        let bufs = [wide, narrow.clone(), narrow.clone(), vec![0; n * 4], narrow];
        let kernel = Kernel::new(&nest, Target::host().unwrap(), OptLevel::None).unwrap();
        compare(&nest, &kernel, &bufs, &[n as i64], &[(0, 0)]);
    }
}

//! Speed of emitted loop nests against hand-written Rust of the same vector width, and what compiling them costs:
//! `cargo run -p tensorc-runtime --example loopnest_bench [filter]`.
//!
//! Times are the best of many runs on one thread; the Rust column needs `--release` to mean anything, the others do not.
//! After each level: emitting, emitting and compiling, all with loading; then the size of the code. The Rust side uses SSE intrinsics with AVX encodings, four elements
//! at a time and unrolled as a compiler would: the bar for 128-bit code.

use std::hint::black_box;
use std::time::Instant;

use tensorc_codegen::cpu;
use tensorc_codegen::loopnest::{
    Access, Affine, Buf, BufDecl, Coef, Extent, Loop, LoopKind, LoopNest, Stmt, Var, parse,
};
use tensorc_ir::DType;
use tensorc_ir::scalar::{Block, Reg, math};
use tensorc_runtime::buffer::Allocator;
use tensorc_runtime::jit::{Code, Item, OptLevel, Options, Target};

/// The best time of `f` in nanoseconds.
fn best(mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    f();
    let once = start.elapsed().as_secs_f64().max(1e-8);
    let inner = (2e-4 / once).clamp(1.0, 1e5) as usize;
    (0..200)
        .map(|_| {
            let start = Instant::now();
            (0..inner).for_each(|_| f());
            start.elapsed().as_secs_f64() / inner as f64 * 1e9
        })
        .fold(f64::INFINITY, f64::min)
}

/// Memory as numbers.
fn floats(bytes: &mut [u8]) -> &mut [f32] {
    // SAFETY: any four bytes are a number, and blocks of the allocator are aligned for them.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / 4) }
}

/// `b1[i] = f(b0[i])` for a function of the scalar IR.
fn map(f: impl Fn(&mut Block, &[tensorc_ir::scalar::V]) -> tensorc_ir::scalar::V) -> LoopNest {
    let mut b = Block::new();
    let x = b.fresh(Reg::F32);
    let y = f(&mut b, &[x]);
    let at =
        || Access { affine: Affine { offset: Coef::Const(0), terms: vec![(Var(0), Coef::Const(1))] }, dynamic: None };
    let mut body = vec![Stmt::Load { dst: x, buf: Buf(0), at: at() }];
    body.extend(b.take().into_iter().map(|(v, i)| Stmt::Inst(v, i)));
    body.push(Stmt::Store { buf: Buf(1), at: at(), value: y });
    let extent = Extent::Whole(Coef::Param(0));
    let buf = |written| BufDecl { dtype: DType::F32, written };
    LoopNest {
        bufs: vec![buf(false), buf(true)],
        params: 1,
        regs: (0..b.len()).map(|i| b.ty(tensorc_ir::scalar::V(i as u32))).collect(),
        body: vec![Stmt::For(Loop { var: Var(0), extent, kind: LoopKind::Vector, parallel: true, body })],
    }
}

/// The same computation in Rust, compiled with the same width.
type Reference = fn(&[f32], &mut [f32], &[i64]);

struct Case {
    name: &'static str,
    nest: LoopNest,
    /// Elements of the two buffers, run-time parameters, end of the parallel loop.
    sizes: (usize, usize),
    params: Vec<i64>,
    end: u64,
    /// Elements to divide the time by.
    elements: usize,
    rust: Option<Reference>,
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    println!(
        "{:24} {:>9} {:>9} {:>9} ps/element, {:>8} {:>8} µs to compile, bytes",
        "", "wide", "128 bits", "rust", "wide", "128 bits"
    );
    for case in cases().into_iter().filter(|c| c.name.contains(&filter)) {
        // In memory as programs have it: in huge pages, if it is large.
        let mut memory = [case.sizes.0, case.sizes.1].map(|n| {
            let bytes = n.max(case.elements * 2) * 4;
            Allocator::global().alloc(bytes).unwrap()
        });
        let [x, y] = &mut memory;
        let [x, y] = [floats(x.as_mut_slice()), floats(y.as_mut_slice())];
        x.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 1000) as f32 / 250.0 - 2.0);
        y.fill(0.0);
        let per = 1e3 / case.elements as f64;
        let mut row = String::new();
        let mut compile = String::new();
        let level = OptLevel::None;
        let narrow = Target::host_without(&["has_avx512f"]).unwrap();
        for target in [Target::host().unwrap(), &narrow] {
            let build = || {
                let emitted = cpu::emit(&case.nest, &**target.isa(level), "k").unwrap();
                Code::build(target, Item::emitted("k", emitted, level), &[], Options { verify: false }).unwrap()
            };
            let code = build();
            let entry = code.kernel("k").unwrap();
            let mut fault = 0u64;
            let mut args = vec![x.as_ptr().expose_provenance() as u64, y.as_mut_ptr().expose_provenance() as u64];
            args.extend(case.params.iter().map(|p| *p as u64));
            args.extend([(&raw mut fault).expose_provenance() as u64, u64::from(case.elements > 1 << 22)]);
            // SAFETY: the buffers have the sizes that the case's parameters make the kernel touch.
            let time = best(|| unsafe { entry.call(black_box(args.as_ptr()), 0, case.end) });
            row += &format!(" {:9.1}", time * per);
            let emit = best(|| drop(black_box(cpu::emit(&case.nest, &**target.isa(level), "k"))));
            let mut context = cranelift_codegen::Context::new();
            let machine = best(|| {
                context.clear();
                context.func = cpu::emit(&case.nest, &**target.isa(level), "k").unwrap().function;
                let size = context.compile(&**target.isa(level), &mut Default::default()).unwrap().code_buffer().len();
                black_box(size);
            });
            let all = best(|| drop(black_box(build())));
            compile += &format!(
                " {:4.0}/{:4.0}/{:4.0} {:5}",
                emit / 1e3,
                machine / 1e3,
                all / 1e3,
                code.bytes("k").map_or(0, <[u8]>::len)
            );
            if let Ok(dir) = std::env::var("LOOPNEST_DUMP") {
                for name in ["k", "k_loop0", "k_loop1"] {
                    if let Some(bytes) = code.bytes(name) {
                        std::fs::write(format!("{dir}/{}-{name}.bin", case.name), bytes).unwrap();
                    }
                }
            }
        }
        let rust = case.rust.map_or(f64::NAN, |f| {
            let (nx, ny) = case.sizes;
            best(|| f(black_box(&x[..nx]), black_box(&mut y[..ny]), &case.params))
        });
        println!("{:24}{row} {:9.1}            {compile}", case.name, rust * per);
    }
}

fn cases() -> Vec<Case> {
    let text = |t: &str| parse::parse(t).unwrap();
    let relu = "kernel(b0: f32, b1: mut f32; p0) {
        %1: f32 = const f32 1.5 %2: f32 = const f32 -0.25 %5: f32 = const f32 0.0
        for parallel vector i0 in 0..p0 {
            %0: f32 = load b0[i0] %3: f32 = mul %0, %1 %4: f32 = add %3, %2 %6: f32 = max %4, %5
            store b1[i0] = %6
        }
    }";
    let rows = "kernel(b0: f32, b1: mut f32; p0, p1) {
        for parallel i0 in 0..p0 {
            acc a0: f32 = sum, lanes 16
            for vector i1 in 0..p1 { %0: f32 = load b0[i0*p1 + i1] a0 += %0 }
            %1: f32 = read a0
            store b1[i0] = %1
        }
    }";
    let max = rows.replace("sum", "max");
    let columns = "kernel(b0: f32, b1: mut f32; p0, p1) {
        for parallel vector i0 in 0..p0 {
            acc a0: f32 = sum
            for i1 in 0..p1 { %0: f32 = load b0[i1*p0 + i0] a0 += %0 }
            %1: f32 = read a0
            store b1[i0] = %1
        }
    }";
    // In the order in which reductions are defined, with blocks of one row.
    let blocks = "kernel(b0: f32, b1: mut f32; p0, p1) {
        for parallel vector i0 in 0..p0 {
            acc a0: f32 = sum
            for i1 in 0..p1 {
                acc a1: f32 = sum
                for i2 in 0..block(i1, 1, p1) { %0: f32 = load b0[i0 + i1*p0 + i2*p0] a1 += %0 }
                %1: f32 = read a1
                a0 += %1
            }
            %2: f32 = read a0
            store b1[i0] = %2
        }
    }";
    let tiles = "kernel(b0: f32, b1: mut f32; p0, p1, p2, p3, p4, p5) {
        for parallel i2 in 0..p0 {
            for vector i1 in 0..p1 {
                for i0 in 0..block(i2, 16, p3) {
                    %0: f32 = load b0[i0*p4 + i1 + i2*p5]
                    %1: f32 = load b0[i0 + i1*p4 + i2*p2]
                    %2: f32 = add %0, %1
                    store b1[i0*p4 + i1 + i2*p5] = %2
                }
            }
        }
    }";
    let map_case = |name, nest, n: usize, rust: Option<Reference>| Case {
        name,
        nest,
        sizes: (n, n),
        params: vec![n as i64],
        end: n as u64,
        elements: n,
        rust,
    };
    let row_case = |name, nest, m: usize, n: usize, rust: Option<Reference>| Case {
        name,
        nest,
        sizes: (m * n, m),
        params: vec![m as i64, n as i64],
        end: m as u64,
        elements: m * n,
        rust,
    };
    let bf16 = "kernel(b0: bf16, b1: mut bf16; p0) {
        for parallel vector i0 in 0..p0 {
            %0: f32 = load b0[i0] %1: f32 = add %0, %0 %2: f32 = round bf16 %1
            store b1[i0] = %2
        }
    }";
    let f16 = bf16.replace("bf16", "f16");
    let u8 = "kernel(b0: u8, b1: mut f32; p0) {
        %1: f32 = const f32 0.00392
        for parallel vector i0 in 0..p0 {
            %0: u8 = load b0[i0] %2: f32 = convert f32 %0 %3: f32 = mul %2, %1
            store b1[i0] = %3
        }
    }";
    let select = "kernel(b0: f32, b1: mut bool; p0) {
        %1: f32 = const f32 0.00392
        for parallel vector i0 in 0..p0 {
            %0: f32 = load b0[i0] %2: bool = lt %0, %1 store b1[i0] = %2
        }
    }";
    let transposed = "kernel(b0: f32, b1: mut f32; p0, p1) {
        for parallel i0 in 0..p0 {
            for vector i1 in 0..p1 { %0: f32 = load b0[i1*p0 + i0] store b1[i0*p1 + i1] = %0 }
        }
    }";
    let double = bf16.replace("bf16", "f64").replace("f32", "f64").replace("round f64 %1", "mul %1, %0");
    let long = double.replace("f64", "i64");
    vec![
        map_case("bf16 add 4k", text(bf16), 4096, None),
        map_case("f16 add 4k", text(&f16), 4096, None),
        map_case("u8 to f32 4k", text(u8), 4096, None),
        map_case("f32 to bool 4k", text(select), 4096, None),
        map_case("f64 2x*x 2k", text(&double), 2048, None),
        map_case("i64 2x*x 2k", text(&long), 2048, None),
        Case { sizes: (4096, 4096), ..row_case("transpose 64x64", text(transposed), 64, 64, None) },
        map_case("relu(ax+b) 4k", text(relu), 4096, Some(sse::relu)),
        map_case("relu(ax+b) 1M", text(relu), 1 << 20, Some(sse::relu)),
        map_case("relu(ax+b) 20", text(relu), 20, Some(sse::relu)),
        map_case("polynomial 4k", map(polynomial), 4096, Some(sse::polynomial)),
        map_case("exp 4k", map(|b, x| math::exp(b, x[0])), 4096, None),
        map_case("tanh 4k", map(|b, x| math::tanh(b, x[0])), 4096, None),
        map_case("erf 4k", map(|b, x| math::erf(b, x[0])), 4096, None),
        row_case("row sum 64x64", text(rows), 64, 64, Some(sse::row_sum)),
        row_case("row sum 64x70", text(rows), 64, 70, Some(sse::row_sum)),
        row_case("row sum 4x4096", text(rows), 4, 4096, Some(sse::row_sum)),
        row_case("row max 4x4096", text(&max), 4, 4096, None),
        row_case("column sum 64x64", text(columns), 64, 64, Some(sse::column_sum)),
        row_case("column sum 1024x1024", text(columns), 1024, 1024, Some(sse::column_sum)),
        row_case("column sum 4096x4096", text(columns), 4096, 4096, Some(sse::column_sum)),
        Case {
            params: vec![256, 4096, 16, 4096, 4096, 65536],
            sizes: (1 << 24, 1 << 24),
            end: 256,
            ..row_case("plus transposed 4096x4096", text(tiles), 4096, 4096, None)
        },
        row_case("blocks of columns 4096x4096", text(blocks), 4096, 4096, Some(sse::column_sum)),
    ]
}

const COEFFICIENTS: [f32; 12] = [0.5, 0.16, 0.041, 0.0083, 0.0013, 0.4, 0.3, 0.2, 0.15, 0.12, 0.11, 0.7];

/// A chain of multiply-adds.
fn polynomial(b: &mut Block, x: &[tensorc_ir::scalar::V]) -> tensorc_ir::scalar::V {
    let mut p = b.float(Reg::F32, 1.0);
    for c in COEFFICIENTS {
        let c = b.float(Reg::F32, f64::from(c));
        p = b.fma(p, x[0], c);
    }
    p
}

#[cfg(target_arch = "x86_64")]
mod sse {
    use std::arch::x86_64::*;

    /// Calls `f`, compiled for AVX and FMA, if this machine has them.
    macro_rules! with_features {
        ($(fn $name:ident($x:ident, $y:ident, $p:ident) $body:block)*) => {
            $(pub fn $name(x: &[f32], y: &mut [f32], p: &[i64]) {
                #[target_feature(enable = "avx,fma")]
                fn inner($x: &[f32], $y: &mut [f32], $p: &[i64]) $body
                if is_x86_feature_detected!("avx") && is_x86_feature_detected!("fma") {
                    // SAFETY: the features were just detected.
                    unsafe { inner(x, y, p) }
                }
            })*
        };
    }

    #[inline]
    #[target_feature(enable = "avx,fma")]
    fn load(x: &[f32]) -> __m128 {
        debug_assert!(x.len() >= 4);
        // SAFETY: callers pass at least four elements.
        unsafe { _mm_loadu_ps(x.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx,fma")]
    fn store(y: &mut [f32], v: __m128) {
        debug_assert!(y.len() >= 4);
        // SAFETY: callers pass at least four elements.
        unsafe { _mm_storeu_ps(y.as_mut_ptr(), v) }
    }

    with_features! {
        fn relu(x, y, _p) {
            let (a, b, z) = (_mm_set1_ps(1.5), _mm_set1_ps(-0.25), _mm_setzero_ps());
            let (xs, ys) = (x.chunks_exact(16), y.chunks_exact_mut(16));
            let (xr, main) = (xs.remainder(), x.len() / 16 * 16);
            for (x, y) in xs.zip(ys) {
                for k in 0..4 {
                    store(&mut y[4 * k..], _mm_max_ps(_mm_add_ps(_mm_mul_ps(load(&x[4 * k..]), a), b), z));
                }
            }
            for (x, y) in xr.iter().zip(&mut y[main..]) {
                *y = (x * 1.5 - 0.25).max(0.0);
            }
        }

        fn polynomial(x, y, _p) {
            for (x, y) in x.chunks_exact(4).zip(y.chunks_exact_mut(4)) {
                let x = load(x);
                let mut p = _mm_set1_ps(1.0);
                for c in super::COEFFICIENTS {
                    p = _mm_fmadd_ps(p, x, _mm_set1_ps(c));
                }
                store(y, p);
            }
        }

        fn row_sum(x, y, p) {
            let n = p[1] as usize;
            for (x, y) in x.chunks_exact(n).zip(y) {
                let mut acc = [_mm_setzero_ps(); 4];
                let chunks = x.chunks_exact(16);
                let rest = chunks.remainder();
                for x in chunks {
                    for (k, a) in acc.iter_mut().enumerate() {
                        *a = _mm_add_ps(*a, load(&x[4 * k..]));
                    }
                }
                let v = _mm_add_ps(_mm_add_ps(acc[0], acc[2]), _mm_add_ps(acc[1], acc[3]));
                let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
                let v = _mm_add_ss(v, _mm_shuffle_ps(v, v, 1));
                *y = _mm_cvtss_f32(v) + rest.iter().sum::<f32>();
            }
        }

        fn column_sum(x, y, p) {
            let n = p[0] as usize;
            for (j, y) in y.chunks_exact_mut(16).enumerate() {
                let mut acc = [_mm_setzero_ps(); 4];
                for x in x.chunks_exact(n) {
                    let x = &x[16 * j..16 * j + 16];
                    for (k, a) in acc.iter_mut().enumerate() {
                        *a = _mm_add_ps(*a, load(&x[4 * k..]));
                    }
                }
                acc.iter().enumerate().for_each(|(k, a)| store(&mut y[4 * k..], *a));
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod sse {
    //! Nothing to compare with on this machine.
    pub fn relu(_: &[f32], _: &mut [f32], _: &[i64]) {}
    pub use relu as polynomial;
    pub use relu as row_sum;
    pub use relu as column_sum;
}

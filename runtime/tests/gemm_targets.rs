//! Matrix products for other machines than this one has to be: with its widest vectors, with narrower ones, and with none
//! but Cranelift's. All leave the bits of the sums that are defined, whatever lies between and behind the operands' rows.

#[path = "../../ir/tests/random/cases.rs"]
mod cases;

use cases::cases;
use tensorc_codegen::cpu::gemm::{GemmPlan, GemmShape, K_BLOCK, build_gemm, gemm_name, gemm_pack_name};
use tensorc_ir::DType;
use tensorc_runtime::jit::{Code, Item, KernelPtr, OptLevel, Options, Target};

/// The features that each target does without.
const TARGETS: [&[&str]; 3] = [&[], &["has_avx512f"], &["has_avx512f", "has_avx2"]];

/// A float, as memory has it.
trait Float: Copy + PartialEq + std::fmt::Debug {
    const DTYPE: DType;
    fn of(x: f64) -> Self;
    fn mul_add(self, b: Self, c: Self) -> Self;
    fn add(self, b: Self) -> Self;
}

macro_rules! float {
    ($t:ty, $dtype:expr) => {
        impl Float for $t {
            const DTYPE: DType = $dtype;
            fn of(x: f64) -> Self {
                x as $t
            }
            fn mul_add(self, b: Self, c: Self) -> Self {
                <$t>::mul_add(self, b, c)
            }
            fn add(self, b: Self) -> Self {
                self + b
            }
        }
    };
}

float!(f32, DType::F32);
float!(f64, DType::F64);

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn numbers<T: Float>(&mut self, n: usize) -> Vec<T> {
        (0..n).map(|_| T::of(self.below(1 << 20) as f64 / (1 << 19) as f64 - 1.0)).collect()
    }
}

/// A matrix somewhere in memory: strides of rows and columns, and the number of elements around it.
fn place(r: &mut Random, rows: u64, cols: u64) -> ([i64; 3], usize) {
    let (pad, turned) = (r.below(3), r.below(3) == 0);
    let (outer, inner) = if turned { (cols, rows) } else { (rows, cols) };
    let pitch = (inner + pad) as i64;
    let strides = if turned { [0, 1, pitch] } else { [0, pitch, 1] };
    (strides, (outer as i64 * pitch) as usize + 1)
}

/// The product of that shape as it is defined.
fn reference<T: Float>(s: &GemmShape, a: &[T], b: &[T], c: &mut [T]) {
    for i in 0..s.m as i64 {
        for j in 0..s.n as i64 {
            let mut total = None;
            for block in (0..s.k as i64).step_by(K_BLOCK as usize) {
                let terms = block..(block + K_BLOCK).min(s.k as i64);
                let sum = terms.fold(T::of(0.0), |sum, p| {
                    let at = |strides: [i64; 3], x: i64, y: i64| (x * strides[1] + y * strides[2]) as usize;
                    a[at(s.a, i, p)].mul_add(b[at(s.b, p, j)], sum)
                });
                total = Some(total.map_or(sum, |t: T| t.add(sum)));
            }
            c[(i * s.c[1] + j * s.c[2]) as usize] = total.unwrap_or(T::of(0.0));
        }
    }
}

/// The functions of a target.
fn functions(without: &[&str], dtype: DType) -> (Code, [KernelPtr; 2]) {
    let target = Target::host_without(without).unwrap();
    let items = build_gemm(&**target.isa(OptLevel::None), dtype).unwrap().into_iter().map(Item::from).collect();
    let code = Code::build(&target, items, &[], Options::default()).unwrap();
    let entries = [gemm_pack_name(dtype), gemm_name(dtype)].map(|name| code.kernel(&name).unwrap());
    (code, entries)
}

/// What stands in `c` after a product of that plan; `tables` are the addresses of the tables of a plan with offsets.
fn product<T: Float>(
    entries: &[KernelPtr; 2],
    plan: &GemmPlan,
    operands: [&[T]; 2],
    c: &[T],
    tables: [u64; 2],
) -> Vec<T> {
    let [pack, compute] = entries;
    let mut c = c.to_vec();
    let mut scratch = vec![0u64; plan.scratch_bytes as usize / 8 + 16];
    let scratch = scratch.as_mut_ptr().map_addr(|p| p.next_multiple_of(64));
    let [a, b] = operands.map(|x| x.as_ptr() as u64);
    let args = plan.args_with(a, b, c.as_mut_ptr() as u64, scratch as u64, tables);
    // SAFETY: the plan's words, with operands and tables of the shape's extents and as much scratch as it asks for.
    unsafe {
        pack.call(args.as_ptr(), 0, plan.pack_units);
        compute.call(args.as_ptr(), 0, plan.units);
    }
    c
}

fn check<T: Float>(seed: u64) {
    let all = TARGETS.map(|without| functions(without, T::DTYPE));
    let mut r = Random(seed);
    for case in 0..cases(60, 3000) {
        let mut size = || match r.below(4) {
            0 => 1 + r.below(4),
            1 => 1 + r.below(40),
            2 => [12, 13, 24, 32, 33, 64, 65][r.below(7) as usize],
            _ => 1 + r.below(130),
        };
        let (m, n, k) = (size(), size(), size() * 3);
        let ((sa, na), (sb, nb), (sc, nc)) = (place(&mut r, m, k), place(&mut r, k, n), place(&mut r, m, n));
        let shape = GemmShape { batch: 1, m, n, k, a: sa, b: sb, c: sc };
        let (a, b): (Vec<T>, Vec<T>) = (r.numbers(na), r.numbers(nb));
        let before: Vec<T> = r.numbers(nc);
        let mut want = before.clone();
        reference(&shape, &a, &b, &mut want);
        let plan = GemmPlan::new(T::DTYPE, &shape, 1 + r.below(4)).unwrap();
        for ((_code, entries), without) in all.iter().zip(TARGETS) {
            let c = product(entries, &plan, [&a, &b], &before, [0; 2]);
            assert!(c == want, "{} case {case}: {shape:?} without {without:?}", T::DTYPE);
        }
    }
}

/// Operands whose elements are at the sum of two offsets: in runs, one after the other or in any order.
#[test]
fn operands_by_offsets() {
    fn check<T: Float>(seed: u64) {
        let all = TARGETS.map(|without| functions(without, T::DTYPE));
        let mut r = Random(seed);
        for case in 0..cases(40, 2000) {
            let (m, n, k) = (1 + r.below(70), 1 + r.below(70), 1 + r.below(600));
            let second = r.below(2) == 0;
            let (rows, columns) = if second { (k, n) } else { (m, k) };
            let mut table = |count: u64| -> Vec<i64> {
                let (run, gap) = (1 + r.below(40) as i64, r.below(5) as i64);
                let mut all: Vec<i64> = (0..count as i64).map(|i| i + i / run * gap).collect();
                if r.below(3) == 0 {
                    let (a, b) = (r.below(count) as usize, r.below(count) as usize);
                    all.swap(a, b);
                }
                all
            };
            let tables = [table(rows), table(columns)];
            let reach = |t: &[i64]| *t.iter().max().unwrap() as usize + 1;
            let windowed: Vec<T> = r.numbers(reach(&tables[0]) + reach(&tables[1]));
            let other: Vec<T> = r.numbers((if second { m * k } else { k * n }) as usize);
            let pick = |i: u64, j: u64| windowed[(tables[0][i as usize] + tables[1][j as usize]) as usize];
            let dense: Vec<T> =
                (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| pick(i, j)).collect();
            let shape = GemmShape::row_major(m, n, k);
            let (a, b) = if second { (&other, &dense) } else { (&dense, &other) };
            let mut want: Vec<T> = r.numbers((m * n) as usize);
            let before = want.clone();
            reference(&shape, a, b, &mut want);

            let mut by_offsets = shape;
            *(if second { &mut by_offsets.b } else { &mut by_offsets.a }) = [0; 3];
            let ascend = [0, 1].map(|i: usize| tables[i].windows(2).all(|w| w[0] < w[1]));
            let plan = GemmPlan::with_offsets(T::DTYPE, &by_offsets, 1 + r.below(4), second, ascend).unwrap();
            let bytes = tables.map(|t| t.iter().map(|o| o * size_of::<T>() as i64).collect::<Vec<i64>>());
            let (a, b) = if second { (&other, &windowed) } else { (&windowed, &other) };
            for ((_code, entries), without) in all.iter().zip(TARGETS) {
                let addresses = [0, 1].map(|i: usize| bytes[i].as_ptr() as u64);
                let c = product(entries, &plan, [a, b], &before, addresses);
                assert!(c == want, "{} case {case}: {m}x{n}x{k} second {second} without {without:?}", T::DTYPE);
            }
        }
    }
    check::<f32>(5);
    check::<f64>(6);
}

#[test]
fn products_have_the_same_bits_with_vectors_of_any_width() {
    check::<f32>(1);
    check::<f64>(2);
}

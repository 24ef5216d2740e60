//! What the tests of compiled graphs share: parameters in memory, runs of either kind, and their comparison to the bit.

// Each test file uses a part of this.
#![allow(dead_code)]

use tensorc_ir::graph::Phase;
use tensorc_ir::interp::{Array, run};
use tensorc_ir::passes::fuse::Mode;
use tensorc_ir::{Builder, DType, Error, Ex, Graph, Layout, Loc, Scalar, Type};
use tensorc_runtime::executable::{Executable, Options, View};
use tensorc_runtime::pool::Pool;
use tensorc_runtime::storage::Storage;

/// A deterministic input: small values with a few ties, all exactly representable in every dtype.
pub fn input(ty: &Type, seed: usize) -> Array {
    let value = |i: usize| ((i * 37 + seed * 11) % 29) as i64 - 9;
    let one = |i: usize| match ty.dtype {
        d if d.is_float() => Scalar::from_f64(d, value(i) as f64 * 0.25),
        DType::Bool => Scalar::from_bool(value(i) % 3 == 0),
        DType::U8 => Scalar::from_i64(ty.dtype, value(i).abs()),
        d => Scalar::from_i64(d, value(i)),
    };
    let shape = ty.extents().expect("known sizes");
    Array::from_scalars(ty.dtype, &shape, (0..shape.iter().product()).map(one))
}

/// The array's elements in contiguous memory of their own.
pub fn to_view(a: &Array) -> View {
    View { storage: storage(a), dtype: a.dtype, layout: Layout::contiguous(a.shape()) }
}

fn storage(a: &Array) -> Storage {
    let size = a.dtype.size();
    let mut bytes = vec![0; a.layout.numel() * size];
    a.scalars().iter().zip(bytes.chunks_mut(size)).for_each(|(s, b)| s.write(b));
    Storage::from_bytes(&bytes).unwrap()
}

/// The elements of a tensor, row-major.
pub fn scalars(v: &View) -> Vec<Scalar> {
    let size = v.dtype.size();
    let bytes = v.storage.read(Loc::Unknown).unwrap();
    v.layout.indices().into_iter().map(|i| Scalar::read(v.dtype, &bytes[i * size..])).collect()
}

/// The same bits; any NaN is any other.
pub fn same(a: &Scalar, b: &Scalar) -> bool {
    a == b || (a.to_f64().is_nan() && b.to_f64().is_nan())
}

/// Numbers from a seed, spread well enough for test data.
pub struct Random(pub u64);

impl Random {
    /// 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.word() % n.max(1) as u64) as usize
    }

    /// One of these.
    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// A number of about unit size whose sums round.
    pub fn ordinary(&mut self, dtype: DType) -> Scalar {
        match dtype {
            d if d.is_float() => Scalar::from_f64(d, (self.word() >> 11) as f64 / (1u64 << 52) as f64 - 1.0),
            DType::Bool => Scalar::from_bool(self.below(2) == 0),
            // Integers wrap: large ones are as good as small ones.
            d if self.below(4) == 0 => Scalar::from_i64(d, self.word() as i64),
            d => Scalar::from_i64(d, self.below(19) as i64 - 9),
        }
    }

    /// A number that is often where functions change their branch.
    pub fn special(&mut self, dtype: DType) -> Scalar {
        let floats = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e30, -1e-40, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        let integers = [0, 1, -1, 2, 3, 7, 64, i64::MAX, i64::MIN, i32::MIN as i64, 255];
        match self.below(2) {
            0 => self.ordinary(dtype),
            _ if dtype.is_float() => Scalar::from_f64(dtype, self.of(&floats)),
            _ if dtype == DType::Bool => self.ordinary(dtype),
            _ => Scalar::from_i64(dtype, self.of(&integers)),
        }
    }
}

/// A tensor as an argument: memory, and how the tensor lies in it.
pub struct Param {
    /// All the memory, also what lies between the tensor's elements.
    pub memory: Array,
    /// The tensor in it.
    pub layout: Layout,
}

impl Param {
    /// Memory just large enough for the layout.
    pub fn new(dtype: DType, layout: Layout, mut value: impl FnMut(DType) -> Scalar) -> Param {
        let n = layout.bounds().map_or(0, |(_, hi)| hi as usize + 1);
        Param { memory: Array::from_scalars(dtype, &[n], (0..n).map(|_| value(dtype))), layout }
    }

    /// Its type.
    pub fn ty(&self) -> Type {
        Type::new(self.memory.dtype, self.layout.shape.iter().copied())
    }
}

/// Everything that can be seen after a run: the shape and elements of each result, then all memory of each parameter.
pub type Outcome = Vec<(Vec<usize>, Vec<Scalar>)>;

/// What the interpreter does.
pub fn interpreted(g: &Graph, params: &[Param]) -> Result<Outcome, Error> {
    let memory: Vec<Array> = params.iter().map(|p| p.memory.copied()).collect();
    let inputs: Vec<Array> = params.iter().zip(&memory).map(|(p, m)| m.view(p.layout.clone())).collect();
    let results = run(g, &inputs)?;
    Ok(results.iter().chain(&memory).map(|a| (a.shape().to_vec(), a.scalars())).collect())
}

/// What the compiled program does.
pub fn compiled(g: &Graph, params: &[Param], mode: Mode) -> Result<Outcome, Error> {
    let layouts: Vec<Layout> = params.iter().map(|p| p.layout.clone()).collect();
    let exe = Executable::compile(g, &layouts, Options { mode, ..Options::default() })?;
    let view = |p: &Param| View { storage: storage(&p.memory), dtype: p.memory.dtype, layout: p.layout.clone() };
    let args: Vec<View> = params.iter().map(view).collect();
    let results = exe.call(&args, Loc::Unknown)?;
    let memory = args.iter().zip(params).map(|(a, p)| View { layout: p.memory.layout.clone(), ..a.clone() });
    Ok(results.into_iter().chain(memory).map(|v| (v.layout.shape.to_vec(), scalars(&v))).collect())
}

/// The first thing in which two outcomes differ.
pub fn difference(got: &Outcome, want: &Outcome) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("{} tensors, expected {}", got.len(), want.len()));
    }
    for (k, ((shape, got), (want_shape, want))) in got.iter().zip(want).enumerate() {
        if shape != want_shape {
            return Some(format!("tensor {k} has shape {shape:?}, expected {want_shape:?}"));
        }
        if let Some(i) = (0..want.len()).find(|i| !same(&got[*i], &want[*i])) {
            return Some(format!("tensor {k} {shape:?} element {i}: {:?}, expected {:?}", got[i], want[i]));
        }
    }
    None
}

/// How the compiled program of a graph differs from the reference on the interpreter. A data error is an outcome, too.
pub fn disagreement(reference: &Graph, g: &Graph, params: &[Param]) -> Option<String> {
    let want = interpreted(reference, params);
    [(Mode::Eager, false), (Mode::Fused, false), (Mode::Fused, true)].into_iter().find_map(|(mode, reversed)| {
        // Chunks of a kernel may run in any order.
        Pool::global().set_reversed(reversed);
        let got = compiled(g, params, mode);
        Pool::global().set_reversed(false);
        let what = match (got, &want) {
            (Ok(got), Ok(want)) => difference(&got, want)?,
            (Err(e), Err(w)) if e.kind() == w.kind() => return None,
            (Err(e), Ok(_)) => format!("failed: {e}"),
            (got, Err(w)) => format!("gave {:?}, expected the error {w}", got.map(|_| ()).map_err(|e| e.to_string())),
        };
        Some(format!("{mode:?}{}: {what}", if reversed { ", backwards" } else { "" }))
    })
}

/// Builds a graph of these parameters and compares every way to run it.
pub fn agree(name: &str, params: &[Type], f: impl for<'b> Fn(&'b Builder, &[Ex<'b>]) -> Vec<Ex<'b>>) {
    let g = graph(params, f);
    let param = |(i, t): (usize, &Type)| Param {
        memory: {
            let a = input(t, i);
            Array::new(a.dtype, &[a.layout.numel()], a.bits())
        },
        layout: Layout::contiguous(&t.extents().expect("known sizes")),
    };
    let params: Vec<Param> = params.iter().enumerate().map(param).collect();
    interpreted(&g, &params).unwrap_or_else(|e| panic!("{name}: {e}"));
    if let Some(d) = disagreement(&g, &g, &params) {
        panic!("{name} {d}");
    }
}

/// The graph of these parameters.
pub fn graph(params: &[Type], f: impl for<'b> Fn(&'b Builder, &[Ex<'b>]) -> Vec<Ex<'b>>) -> Graph {
    let b = Builder::new("f");
    let values: Vec<_> = params.iter().map(|t| b.input("x", t.clone(), false, None)).collect();
    let x: Vec<Ex<'_>> = values.iter().map(|v| b.ex(*v)).collect();
    let out = f(&b, &x).iter().map(|e| e.value().unwrap()).collect();
    b.with_graph(|g| {
        g.outputs = out;
        g.phase = Phase::Differentiated;
    });
    b.finish().unwrap()
}

/// The type of an `f32` tensor.
pub fn f32s(shape: &[usize]) -> Type {
    Type::new(DType::F32, shape.iter().copied())
}

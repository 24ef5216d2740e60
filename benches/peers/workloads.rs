//! The 24 workloads: their functions, shapes, and the least memory traffic and matrix products that each of them needs.
//!
//! Names, shapes, distributions and figures are those of the suite of CPU tensor peers that [`super::worker`] speaks to.

use tensorc::dtype::{F32, F64, I64};
use tensorc::{Result, Tensor, call, rand, randn, zeros};

/// A random input.
#[derive(Clone, Copy)]
pub enum Input {
    /// Normal, with that standard deviation.
    Normal(&'static [usize], f64),
    /// Uniform between two numbers.
    Uniform(&'static [usize], f64, f64),
    /// So many classes out of so many.
    Labels(usize, i64),
    /// State before the first step.
    Zeros(&'static [usize]),
}

use Input::{Labels, Normal, Uniform, Zeros};

/// A function on inputs of certain shapes.
pub struct Workload {
    /// What the suite calls it.
    pub name: &'static str,
    /// What it computes: a name in [`super::functions::job`].
    pub function: &'static str,
    /// What it gets.
    pub inputs: &'static [Input],
    /// Every input read once and every result written once, where that is more than caches hold.
    pub bytes: f64,
    /// Those of matrix products and convolutions.
    pub flops: f64,
}

const M: usize = 1 << 20;
const N: usize = 16 * M;
const ADAM: usize = 10_000_000;
const LINE: Input = Normal(&[N], 1.0);
const GRID: Input = Normal(&[4096, 4096], 1.0);
const POSITIVE: Input = Uniform(&[4096, 4096], 0.0, 1.0);
const ROWS: Input = Normal(&[4096, 1024], 1.0);
const ROW: Input = Normal(&[1024], 1.0);
const HEADS: Input = Normal(&[2, 8, 512, 64], 1.0);
const PRICE: Input = Uniform(&[4 * M], 10.0, 50.0);

// Weights are divided by the root of the number of inputs.
const W1: Input = Normal(&[784, 512], 1.0 / 28.0);
const B1: Input = Normal(&[512], 1.0);
const W2: Input = Normal(&[512, 512], 0.044_194_173_824_159_22);
const W3: Input = Normal(&[512, 10], 0.044_194_173_824_159_22);
const B3: Input = Normal(&[10], 1.0);
const BATCH: Input = Normal(&[32, 784], 1.0);
const WEIGHTS: usize = 784 * 512 + 512 * 512 + 512 * 10;

const fn of(
    name: &'static str,
    function: &'static str,
    inputs: &'static [Input],
    bytes: usize,
    flops: usize,
) -> Workload {
    Workload { name, function, inputs, bytes: bytes as f64, flops: flops as f64 }
}

/// All of them, in the suite's order.
pub const WORKLOADS: [Workload; 24] = [
    of("add_16m", "add", &[LINE, LINE], 12 * N, 0),
    of("tiny_8", "chain", &[Normal(&[8], 1.0)], 0, 0),
    of("chain_1k", "chain", &[Normal(&[1000], 1.0)], 0, 0),
    of("chain_100k", "chain", &[Normal(&[100_000], 1.0)], 0, 0),
    of("chain_16m", "chain", &[LINE], 8 * N, 0),
    of("bias_gelu", "bias_gelu", &[GRID, Normal(&[4096], 1.0)], 8 * N, 0),
    of("black_scholes_4m", "black_scholes", &[PRICE, PRICE, Uniform(&[4 * M], 0.2, 2.0)], 20 * 4 * M, 0),
    of("add_transpose", "add_transpose", &[GRID], 8 * N, 0),
    of("jacobi", "jacobi", &[GRID], 8 * N, 0),
    of("sum_16m", "sum", &[Uniform(&[N], 0.0, 1.0)], 4 * N, 0),
    of("row_sum", "row_sum", &[POSITIVE], 4 * N, 0),
    of("col_sum", "col_sum", &[POSITIVE], 4 * N, 0),
    of("softmax", "softmax", &[ROWS], 8 * 4096 * 1024, 0),
    of("layernorm", "layernorm", &[ROWS, ROW, ROW], 8 * 4096 * 1024, 0),
    of("rmsnorm", "rmsnorm", &[ROWS, ROW], 8 * 4096 * 1024, 0),
    of("ce_fwd_bwd", "ce_grad", &[Normal(&[4096, 1000], 1.0), Labels(4096, 1000)], 8 * 4096 * 1000, 0),
    of("matmul_64", "matmul", &[Normal(&[64, 64], 1.0); 2], 12 * 64 * 64, 2 * 64 * 64 * 64),
    of("matmul_512", "matmul", &[Normal(&[512, 512], 1.0); 2], 12 * 512 * 512, 2 * 512 * 512 * 512),
    of("matmul_2048", "matmul", &[Normal(&[2048, 2048], 1.0); 2], 12 * 2048 * 2048, 2 * 2048 * 2048 * 2048),
    of("mlp_fwd", "mlp", &[W1, B1, W2, B1, W3, B3, BATCH], 0, 2 * 32 * WEIGHTS),
    // One product a layer forward and two backward, but none for the gradient of the input.
    of(
        "mlp_train",
        "mlp_train",
        &[W1, B1, W2, B1, W3, B3, BATCH, Labels(32, 10)],
        0,
        2 * 32 * (3 * WEIGHTS - 784 * 512),
    ),
    of("attention", "attention", &[HEADS, HEADS, HEADS], 0, 2 * 2 * 2 * 8 * 512 * 512 * 64),
    of(
        "conv2d",
        "conv2d",
        &[Normal(&[8, 64, 56, 56], 1.0), Normal(&[64, 64, 3, 3], 1.0 / 24.0)],
        0,
        2 * 8 * 64 * 64 * 9 * 56 * 56,
    ),
    of(
        "adamw_10m",
        "adamw",
        &[Normal(&[ADAM], 1.0), Zeros(&[ADAM]), Zeros(&[ADAM]), Zeros(&[1]), Normal(&[ADAM], 1.0)],
        28 * ADAM,
        0,
    ),
];

impl Workload {
    /// Its inputs, the same at each call.
    pub fn inputs(&self) -> Result<Vec<Tensor>> {
        (0i64..).zip(self.inputs).map(|(seed, input)| input.draw(seed)).collect()
    }

    /// The same numbers in `f64`.
    pub fn wide_inputs(&self) -> Result<Vec<Tensor>> {
        let widen = |t: Tensor| if t.dtype() == F32 { t.to(F64) } else { Ok(t) };
        self.inputs()?.into_iter().map(widen).collect()
    }
}

impl Input {
    fn draw(self, seed: i64) -> Result<Tensor> {
        match self {
            Normal(shape, 1.0) => randn(shape, Some(seed)),
            Normal(shape, deviation) => randn(shape, Some(seed))?.mul(deviation),
            Uniform(shape, low, high) => rand(shape, Some(seed))?.mul(high - low)?.add(low),
            Labels(n, classes) => {
                let seed = Tensor::scalar(seed)?;
                let (low, size) = ((None, 0i64.into()), (None, [n].into()));
                let labels = call("randint", &[low, (None, classes.into()), size, (Some("seed"), seed.into())])?;
                labels[0].to(I64)
            }
            Zeros(shape) => zeros(shape, F32),
        }
    }
}

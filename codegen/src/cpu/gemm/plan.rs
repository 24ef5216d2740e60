//! What one product does, decided on the host before the call: orientation, blocking, packing, and the words that the
//! machine code reads.
//!
//! The code is the same for every size; this file turns sizes and strides into its arguments. Nothing decided here can
//! change a bit of the result (the order of the sums is fixed, see [`super`]), so the choices are free to follow the
//! shape and the number of threads.
//!
//! A product may be computed as its transpose, `Cᵀ = Bᵀ Aᵀ`, with the same products in the same order: then the operand
//! called A here is the caller's B. What follows speaks of A, B and C after that choice.

use tensorc_ir::DType;
use tensorc_ir::Result;

use super::K_BLOCK;
use super::element::Element;

/// The sizes and strides of `C[b, i, j] = sum over p of A[b, i, p] * B[b, p, j]`, with `i < m`, `j < n`, `p < k`.
///
/// Strides are in elements and may be anything, 0 and negative ones included, as long as the elements of C are
/// distinct and C overlaps neither operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GemmShape {
    /// How many products.
    pub batch: u64,
    /// Rows of A and C.
    pub m: u64,
    /// Columns of B and C.
    pub n: u64,
    /// Columns of A, rows of B.
    pub k: u64,
    /// Strides of A: batch, row, column.
    pub a: [i64; 3],
    /// Strides of B: batch, row, column.
    pub b: [i64; 3],
    /// Strides of C: batch, row, column.
    pub c: [i64; 3],
}

impl GemmShape {
    /// One product of row-major matrices without gaps.
    pub fn row_major(m: u64, n: u64, k: u64) -> GemmShape {
        let (n1, k1) = (n as i64, k as i64);
        GemmShape { batch: 1, m, n, k, a: [0, k1, 1], b: [0, n1, 1], c: [0, n1, 1] }
    }

    /// The same numbers as `Cᵀ = Bᵀ Aᵀ`.
    fn transposed(&self) -> GemmShape {
        let swap = |s: [i64; 3]| [s[0], s[2], s[1]];
        GemmShape { m: self.n, n: self.m, a: swap(self.b), b: swap(self.a), c: swap(self.c), ..*self }
    }

    /// The same product with strides that nothing depends on made canonical, and a batch folded into the rows where
    /// B is common to it.
    fn normal(mut self) -> GemmShape {
        if self.batch <= 1 {
            (self.a[0], self.b[0], self.c[0]) = (0, 0, 0);
        }
        let rows = |s: [i64; 3]| s[0] == s[1].wrapping_mul(self.m as i64);
        if self.batch > 1 && self.b[0] == 0 && rows(self.a) && rows(self.c) && self.m.checked_mul(self.batch).is_some()
        {
            self.m *= self.batch;
            self.batch = 1;
            (self.a[0], self.c[0]) = (0, 0);
        }
        if self.k <= 1 {
            (self.a[2], self.b[1]) = (1, 1);
        }
        if self.n == 1 {
            (self.b[2], self.c[2]) = (1, 1);
        }
        self
    }
}

/// A word of the argument array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GemmArg {
    /// A number: a size, or a stride in elements.
    Value(i64),
    /// The address of the caller's A.
    A,
    /// The address of the caller's B.
    B,
    /// The address of C.
    C,
    /// The address of the scratch area.
    Scratch,
    /// The address of the offsets of rows of the operand that has them ([`GemmPlan::with_offsets`]).
    Rows,
    /// The address of the offsets of its columns.
    Columns,
}

/// The places of the words in the argument array; strides are in elements.
pub(super) mod word {
    /// A as the compute stage reads it (its columns are adjacent), B and C.
    pub const A: usize = 0;
    pub const B: usize = 1;
    pub const C: usize = 2;
    pub const M: usize = 3;
    pub const N: usize = 4;
    pub const K: usize = 5;
    pub const A_BATCH: usize = 6;
    pub const A_ROW: usize = 7;
    pub const B_BATCH: usize = 8;
    pub const B_ROW: usize = 9;
    pub const B_COL: usize = 10;
    pub const C_BATCH: usize = 11;
    pub const C_ROW: usize = 12;
    pub const C_COL: usize = 13;
    /// Rows and columns of C in one unit, and how many units lie side by side and one below the other.
    pub const UNIT_ROWS: usize = 14;
    pub const UNIT_COLS: usize = 15;
    pub const UNITS_ALONG: usize = 16;
    pub const UNITS_DOWN: usize = 17;
    /// Not zero if full strips of B are read where they lie.
    pub const DIRECT: usize = 18;
    /// The packing stage: A as the caller has it, and its strides. It writes to `A`.
    pub const FROM: usize = 19;
    pub const FROM_BATCH: usize = 20;
    pub const FROM_ROW: usize = 21;
    pub const FROM_COL: usize = 22;
    /// The addresses of the offsets of B's rows and columns, in bytes, if strides cannot say where they are; else 0.
    pub const ROWS: usize = 23;
    pub const COLUMNS: usize = 24;
    /// Not zero if the offsets of columns ascend, so that the first and the last of some tell whether they are adjacent.
    pub const ASCEND: usize = 25;
    /// How many words there are.
    pub const COUNT: usize = 26;
}

/// Rows of A copied by one unit of the packing stage.
pub(super) const PACK_ROWS: i64 = 64;

/// How to run one product.
///
/// First, if [`pack_units`](GemmPlan::pack_units) is not zero, the function `gemm_pack_…` over `0..pack_units`; when all
/// of that is done, the function `gemm_…` over `0..units`. The units of one stage are independent: ranges of them may
/// run in any order and at the same time. Both stages take the same [`args`](GemmPlan::args).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GemmPlan {
    /// Units of the packing stage; often none.
    pub pack_units: u64,
    /// Units of the compute stage: blocks of C, each about the same work.
    pub units: u64,
    /// Bytes of scratch, shared by all units and aligned to 64 bytes; often none.
    pub scratch_bytes: u64,
    /// Multiplications in one compute unit at most, for deciding how many are worth a thread.
    pub unit_work: u64,
    words: [GemmArg; word::COUNT],
}

impl GemmPlan {
    /// How many words [`GemmPlan::args`] gives.
    pub const WORDS: usize = word::COUNT;

    /// Plans the product of that shape, to be run by about `threads` threads (the result does not depend on it).
    ///
    /// # Errors
    /// `dtype` for dtypes without a kernel (`f16`, `bf16`, `bool`); `shape` if a size does not fit in memory.
    pub fn new(dtype: DType, shape: &GemmShape, threads: u64) -> Result<GemmPlan> {
        Self::oriented(dtype, shape, threads, None)
    }

    /// Plans a product where one operand, the second one or not, has its elements at the sum of an offset of their row and
    /// one of their column, in bytes. Its strides, but for the one from matrix to matrix, are 0. `ascend` says whether its
    /// offsets of rows, and those of columns, ascend.
    ///
    /// # Errors
    /// As [`GemmPlan::new`].
    pub fn with_offsets(
        dtype: DType,
        shape: &GemmShape,
        threads: u64,
        second: bool,
        ascend: [bool; 2],
    ) -> Result<GemmPlan> {
        let mut plan = Self::oriented(dtype, shape, threads, Some(second))?;
        // The rows of the first operand are the columns of what is packed.
        plan.words[word::ASCEND] = GemmArg::Value(ascend[second as usize] as i64);
        Ok(plan)
    }

    fn oriented(dtype: DType, shape: &GemmShape, threads: u64, offsets: Option<bool>) -> Result<GemmPlan> {
        let el = Element::new(dtype)?;
        for size in [shape.batch, shape.m, shape.n, shape.k] {
            if size > i64::MAX as u64 / 64 {
                return Err(tensorc_ir::error::err::shape(format!("matmul: a size of {size} does not fit in memory")));
            }
        }
        // Offsets stay what they are, and belong to the operand that is packed strip by strip.
        let normal = |s: GemmShape| if offsets.is_some() { s } else { s.normal() };
        let (straight, turned) = (normal(*shape), normal(shape.transposed()));
        let swap = offsets.map_or_else(|| cost(&el, &turned) < cost(&el, &straight), |second| !second);
        let s = if swap { turned } else { straight };
        let (from, b) = if swap { (GemmArg::B, GemmArg::A) } else { (GemmArg::A, GemmArg::B) };

        let pack = s.a[2] != 1 && s.m * s.n > 0;
        let pitch = row_pitch(&el, s.k as i64);
        let matrices = if s.a[0] == 0 { 1 } else { s.batch };
        let rows_down = s.m.div_ceil(PACK_ROWS as u64);
        let packed_bytes = s.m.checked_mul(pitch as u64 * el.size as u64).and_then(|b| b.checked_mul(matrices));
        let too_large = || tensorc_ir::error::err::shape("matmul: the copy of an operand does not fit in memory");
        let (unit_rows, unit_cols) = unit_size(&el, &s, threads.max(1));
        let (down, along) = (s.m.div_ceil(unit_rows), s.n.div_ceil(unit_cols));
        let units = down.checked_mul(along).and_then(|u| u.checked_mul(s.batch)).ok_or_else(too_large)?;

        use GemmArg::Value;
        let mut words = [Value(0); word::COUNT];
        let a_strides = if pack { [if s.a[0] == 0 { 0 } else { pitch * s.m as i64 }, pitch] } else { [s.a[0], s.a[1]] };
        for (place, arg) in [
            (word::A, if pack { GemmArg::Scratch } else { from }),
            (word::B, b),
            (word::C, GemmArg::C),
            (word::M, Value(s.m as i64)),
            (word::N, Value(s.n as i64)),
            (word::K, Value(s.k as i64)),
            (word::A_BATCH, Value(a_strides[0])),
            (word::A_ROW, Value(a_strides[1])),
            (word::B_BATCH, Value(s.b[0])),
            (word::B_ROW, Value(s.b[1])),
            (word::B_COL, Value(s.b[2])),
            (word::C_BATCH, Value(s.c[0])),
            (word::C_ROW, Value(s.c[1])),
            (word::C_COL, Value(s.c[2])),
            (word::UNIT_ROWS, Value(unit_rows as i64)),
            (word::UNIT_COLS, Value(unit_cols as i64)),
            (word::UNITS_ALONG, Value(along as i64)),
            (word::UNITS_DOWN, Value(down as i64)),
            (word::DIRECT, Value((offsets.is_none() && direct(&el, &s, unit_rows)) as i64)),
            (
                word::ROWS,
                if offsets.is_none() {
                    Value(0)
                } else if swap {
                    GemmArg::Columns
                } else {
                    GemmArg::Rows
                },
            ),
            (
                word::COLUMNS,
                if offsets.is_none() {
                    Value(0)
                } else if swap {
                    GemmArg::Rows
                } else {
                    GemmArg::Columns
                },
            ),
            (word::FROM, from),
            (word::FROM_BATCH, Value(s.a[0])),
            (word::FROM_ROW, Value(s.a[1])),
            (word::FROM_COL, Value(s.a[2])),
        ] {
            words[place] = arg;
        }
        Ok(GemmPlan {
            pack_units: if pack { rows_down.checked_mul(matrices).ok_or_else(too_large)? } else { 0 },
            units,
            scratch_bytes: if pack { packed_bytes.ok_or_else(too_large)? } else { 0 },
            unit_work: unit_rows.min(s.m).saturating_mul(unit_cols.min(s.n)).saturating_mul(s.k),
            words,
        })
    }

    /// The argument array, symbolically: what object files and other callers that do not know the addresses yet fill in.
    pub fn words(&self) -> &[GemmArg; GemmPlan::WORDS] {
        &self.words
    }

    /// The argument array for these addresses (of the element at index 0, 0, 0 of each operand). Both stages take it.
    pub fn args(&self, a: u64, b: u64, c: u64, scratch: u64) -> [u64; GemmPlan::WORDS] {
        self.args_with(a, b, c, scratch, [0; 2])
    }

    /// As [`GemmPlan::args`], with the addresses of the offsets of rows and columns, `i64` in bytes.
    pub fn args_with(&self, a: u64, b: u64, c: u64, scratch: u64, tables: [u64; 2]) -> [u64; GemmPlan::WORDS] {
        self.words.map(|word| match word {
            GemmArg::Value(v) => v as u64,
            GemmArg::A => a,
            GemmArg::B => b,
            GemmArg::C => c,
            GemmArg::Scratch => scratch,
            GemmArg::Rows => tables[0],
            GemmArg::Columns => tables[1],
        })
    }
}

/// Elements from one row of packed A to the next: whole cache lines, an odd number of them, so that equal columns of
/// neighbouring rows fall into different cache sets.
fn row_pitch(el: &Element, k: i64) -> i64 {
    let line = 64 / el.size;
    ((k / line + 1) | 1) * line
}

/// About how many cycles a shape takes; only the comparison of a product with its transpose matters.
fn cost(el: &Element, s: &GemmShape) -> f64 {
    let lanes = el.lanes as f64;
    let (m, n, k) = (s.m as f64, s.n as f64, s.k as f64);
    // Registers of C across, a lone one being half as fast as one of a pair.
    let across = (n / lanes).ceil();
    let across = if across <= 1.0 { 1.5 } else { across };
    let compute = m * across * k / 2.0;
    // Elements that must go through a transpose, or through one copy, before the loop.
    let pack_a = if s.a[2] == 1 { 0.0 } else { m * k };
    let pack_b = if s.b[2] == 1 { 0.0 } else { 0.7 * n * k };
    let scattered = if s.c[2] == 1 { 0.0 } else { m * n * (k / K_BLOCK as f64).ceil() * 2.0 };
    s.batch as f64 * (compute + pack_a + pack_b + scattered)
}

/// Rows and columns of one unit.
///
/// A unit keeps its block of A (rows by [`K_BLOCK`]) in the second-level cache and packs a strip of B for it, so it
/// wants many rows; threads want many units.
fn unit_size(el: &Element, s: &GemmShape, threads: u64) -> (u64, u64) {
    let most_rows = (384 * 4 / el.size as u64).max(48);
    let (tall, wide) = unit_multiple(el);
    let mut rows = even(s.m, most_rows, tall);
    let mut cols = even(s.n, 256, wide);
    let units = |rows: u64, cols: u64| s.m.div_ceil(rows) * s.n.div_ceil(cols);
    while threads > 1 && s.batch.saturating_mul(units(rows, cols)) < 4 * threads {
        if cols > 64 && cols >= rows {
            cols = even(s.n, cols / 2, wide);
        } else if rows > 24 {
            rows = even(s.m, rows / 2, tall);
        } else if cols > 32 {
            cols = even(s.n, cols / 2, wide);
        } else {
            break;
        }
    }
    (rows, cols)
}

/// What rows and columns of a unit are multiples of, so that tiles of all targets are whole in it: the largest has 12 rows
/// and two registers of 64 bytes.
fn unit_multiple(el: &Element) -> (u64, u64) {
    (12, (128 / el.size as u64).min(32))
}

/// The largest step not above `most` that divides `size` into about equal steps, all but the last a multiple of `unit`.
fn even(size: u64, most: u64, unit: u64) -> u64 {
    let steps = size.max(1).div_ceil(most.max(unit));
    size.max(1).div_ceil(steps).next_multiple_of(unit)
}

/// Whether full strips of B are better read where they lie than copied: if few rows use a copy, or B is small.
fn direct(el: &Element, s: &GemmShape, unit_rows: u64) -> bool {
    let block = s.k.min(K_BLOCK as u64).saturating_mul(s.b[1].unsigned_abs()).saturating_mul(el.size as u64);
    s.b[2] == 1 && (unit_rows.min(s.m) <= 12 || block <= 16 * 1024)
}

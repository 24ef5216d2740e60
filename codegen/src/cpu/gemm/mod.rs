//! Matrix multiplication as generated machine code, one set of functions for each dtype, all sizes at run time.
//!
//! ```text
//! C[b, i, j] = sum over p of A[b, i, p] * B[b, p, j]
//! ```
//!
//! **The order of the sum is part of the meaning.** k is cut into blocks of [`K_BLOCK`]; in each, `acc = 0`, then
//! `acc = fma(A, B, acc)` for ascending p; the blocks are added in order, `total = block0`, `total = total + block1`, ….
//! An empty sum is zero. Integers wrap. Neither tile nor thread nor orientation can change a bit.
//!
//! The layers, from inside out: a `tile` of C lives in registers over one block of k; a `strip` is one tile wide and as
//! high as a unit, and copies its part of B to the stack first if many tiles use it or B's rows are not adjacent; a
//! *unit* is the block of C that one call of the whole function can be asked for. A is read in place, row by row, unless
//! its columns are not adjacent, in which case a first function copies it to scratch memory. [`GemmPlan`] has the sizes.
//!
//! The tile alone has vectors wider than Cranelift's where the target has them (`wide`): all of the time is spent in it.
//!
//! Without FMA in the target's flags the code is right but slow: Cranelift calls `fma` and `fmaf` of the C library.

mod driver;
mod element;
mod emit;
mod plan;
mod strip;
mod tile;
mod transpose;
mod wide;

use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;
use tensorc_ir::{DType, Result};

use element::Element;
use wide::Wide;

pub use plan::{GemmArg, GemmPlan, GemmShape};

/// Terms that are summed in one chain; see the module's order of the sum.
pub const K_BLOCK: i64 = 256;

/// One function of the set.
pub struct GemmFn {
    /// Its name, by which the others call it: an `ExternalName::testcase`, printed as `%name`.
    pub name: String,
    /// What it is.
    pub code: GemmCode,
}

/// The code of a function of the set.
pub enum GemmCode {
    /// A Cranelift function. Compile it with `opt_level=none`: reordering makes the tiles spill.
    Function(Box<Function>),
    /// Position-independent machine code of the target.
    Bytes(Vec<u8>),
}

/// The name of the function that computes: `extern "C" fn(args: *const u64, begin: u64, end: u64)`.
pub fn gemm_name(dtype: DType) -> String {
    names::compute(dtype)
}

/// The name of the function that packs, run before it when [`GemmPlan::pack_units`] is not zero; the same signature.
pub fn gemm_pack_name(dtype: DType) -> String {
    names::pack(dtype)
}

/// The functions for one dtype: [`gemm_name`], [`gemm_pack_name`], and those that they call, all in one module.
///
/// # Errors
/// `dtype` if it is `f16`, `bf16` or `bool`, which have no kernel of their own.
pub fn build_gemm(isa: &dyn TargetIsa, dtype: DType) -> Result<Vec<GemmFn>> {
    let el = Element::new(dtype)?;
    let tiles = Tiles::new(&el, Wide::of(isa, &el));
    let function = |name, f| GemmFn { name, code: GemmCode::Function(Box::new(f)) };
    let mut functions = vec![
        function(names::compute(dtype), driver::compute(isa, &el, &tiles)),
        function(names::pack(dtype), driver::pack(isa, &el)),
        function(names::transpose(dtype), transpose::transpose(isa, &el)),
    ];
    if let Some(wide) = tiles.wide {
        functions.push(GemmFn { name: names::column(dtype), code: GemmCode::Bytes(wide::column(wide, &el)?) });
    }
    for registers in Tiles::WIDTHS {
        if let Some(wide) = tiles.wide {
            let name = names::copy(dtype, registers);
            functions.push(GemmFn { name, code: GemmCode::Bytes(wide::copy(wide, &el, registers)?) });
        }
        functions.push(function(names::strip(dtype, registers), strip::strip(isa, &el, &tiles, registers)));
        for rows in 1..=tiles.rows(registers) {
            let name = names::tile(dtype, rows, registers);
            functions.push(match tiles.wide {
                Some(wide) => GemmFn { name, code: GemmCode::Bytes(wide::tile(wide, &el, rows, registers)?) },
                None => function(name, tile::tile(isa, &el, rows, registers)),
            });
        }
    }
    Ok(functions)
}

/// Which tiles there are.
struct Tiles {
    /// Elements in one register of a tile.
    lanes: i64,
    scalar: bool,
    /// Vectors that Cranelift does not have.
    wide: Option<Wide>,
}

impl Tiles {
    /// Registers across: one for a few columns, two for most of C, four when there are few rows.
    const WIDTHS: [usize; 3] = [1, 2, 4];

    fn new(el: &Element, wide: Option<Wide>) -> Tiles {
        Tiles { lanes: wide.map_or(el.lanes, |w| w.lanes(el)), scalar: el.lanes == 1, wide }
    }

    /// The most rows of a tile of that width: of Cranelift's, 12 accumulators of the 16 vector registers, 4 of the scalar
    /// ones.
    fn rows(&self, registers: usize) -> usize {
        if let Some(wide) = self.wide {
            return wide.rows(registers);
        }
        match (self.scalar, registers) {
            (true, 4) => 1,
            (true, _) => 2,
            (false, 4) => 3,
            (false, _) => 4,
        }
    }
}

/// The names of the functions.
mod names {
    use tensorc_ir::DType;

    pub(super) fn compute(dtype: DType) -> String {
        format!("gemm_{dtype}")
    }

    pub(super) fn pack(dtype: DType) -> String {
        format!("gemm_pack_{dtype}")
    }

    pub(super) fn transpose(dtype: DType) -> String {
        format!("gemm_transpose_{dtype}")
    }

    pub(super) fn copy(dtype: DType, registers: usize) -> String {
        format!("gemm_copy_{dtype}_x{registers}")
    }

    pub(super) fn column(dtype: DType) -> String {
        format!("gemm_column_{dtype}")
    }

    pub(super) fn strip(dtype: DType, registers: usize) -> String {
        format!("gemm_strip_{dtype}_x{registers}")
    }

    pub(super) fn tile(dtype: DType, rows: usize, registers: usize) -> String {
        format!("gemm_tile_{dtype}_{rows}x{registers}")
    }
}

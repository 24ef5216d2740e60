//! Stencils stored over what they read, with a window of rows: every shift of the reads, every layout of the memory, and
//! the bits of the interpreter.

#[path = "../../ir/tests/random/cases.rs"]
mod cases;
mod support;

use cases::cases;
use proptest::prelude::*;
use support::{Param, Random, disagreement};
use tensorc_codegen::plan::plan;
use tensorc_ir::passes::fuse::Mode;
use tensorc_ir::passes::run_all;
use tensorc_ir::text::print::print;
use tensorc_ir::types::Range;
use tensorc_ir::{Builder, DType, Graph, Layout, Op, Strided, Value};

/// A step over a grid: which part is written, and by which shifts of it the values are read that are added up.
#[derive(Clone, Debug)]
struct Stencil {
    shape: [usize; 3],
    /// How many elements at each end of a dimension are not written.
    margin: [usize; 3],
    shifts: Vec<[isize; 3]>,
    dtype: DType,
    /// How the grid lies: row-major, in another order, or as a part of something larger.
    lies: usize,
    /// Whether a copy of the grid is updated and returned, or the grid itself.
    local: bool,
    /// How often.
    times: usize,
}

fn stencil() -> impl Strategy<Value = Stencil> {
    let dtypes = prop_oneof![Just(DType::F32), Just(DType::F64), Just(DType::F16), Just(DType::I32), Just(DType::U8)];
    let rows = prop_oneof![3 => 5usize..120, 1 => 200usize..500];
    let extents = (prop_oneof![3 => Just(1usize), 1 => 2usize..6], rows, 66usize..140);
    let shift = prop::array::uniform3(-2isize..3);
    let margin = prop::array::uniform3(0usize..3);
    (extents, margin, prop::collection::vec(shift, 1..5), dtypes, 0usize..4, any::<bool>(), 1usize..3).prop_map(
        |((a, b, c), mut margin, mut shifts, dtype, lies, local, times)| {
            let shape = [a, b, c];
            // Reads stay inside.
            for d in 0..3 {
                margin[d] = margin[d].min((shape[d] - 1) / 2);
                shifts.iter_mut().for_each(|s| s[d] = s[d].clamp(-(margin[d] as isize), margin[d] as isize));
            }
            Stencil { shape, margin, shifts, dtype, lies, local, times }
        },
    )
}

impl Stencil {
    fn layout(&self) -> Layout {
        let [a, b, c] = self.shape;
        match self.lies {
            1 => Layout::contiguous(&[c, a, b]).permute(&[1, 2, 0]),
            2 => Layout::contiguous(&[a, b + 3, c + 2]).slice(&self.shape.map(|len| Range { start: 0, len, step: 1 })),
            3 => {
                let ranges = self.shape.map(|len| Range { start: len - 1, len, step: -1 });
                Layout::contiguous(&self.shape).slice(&ranges)
            }
            _ => Layout::contiguous(&self.shape),
        }
    }

    fn ranges(&self, shift: [isize; 3]) -> [Range; 3] {
        std::array::from_fn(|d| Range {
            start: self.margin[d].checked_add_signed(shift[d]).unwrap(),
            len: self.shape[d] - 2 * self.margin[d],
            step: 1,
        })
    }

    /// The program, and its parameters.
    fn program(&self, seed: u64) -> (Graph, Vec<Param>) {
        let mut random = Random(seed);
        let param = Param::new(self.dtype, self.layout(), |d| random.special(d));
        let b = Builder::new("stencil");
        let x = b.input("x", param.ty(), true, Some(Strided::from(&param.layout)));
        let grid = if self.local { b.emit(Op::Copy, &[x]).unwrap() } else { x };
        for _ in 0..self.times {
            let read = |shift: &[isize; 3]| b.ex(grid).slice(&self.ranges(*shift)).copy();
            let sum = self.shifts.iter().map(read).reduce(|sum, x| sum + x).unwrap();
            let part = b.ex(grid).slice(&self.ranges([0; 3]));
            let operands: [Value; 2] = [part.value().unwrap(), sum.value().unwrap()];
            b.emit_all(Op::Write, &operands).unwrap();
        }
        b.with_graph(|g| g.outputs = if self.local { vec![grid] } else { Vec::new() });
        b.with_graph(|g| g.tuple = !self.local);
        (b.finish().unwrap(), vec![param])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300, 3000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stencils_in_place_leave_the_same_bits(s in stencil(), seed in any::<u64>()) {
        let (g, params) = s.program(seed);
        let compiled = run_all(&g).unwrap();
        let d = disagreement(&g, &compiled, &params);
        prop_assert!(d.is_none(), "{}\n{}", d.unwrap_or_default(), print(&compiled));
    }
}

/// The memory that a program takes besides its arguments.
fn memory(s: &Stencil) -> i64 {
    let g = run_all(&s.program(1).0).unwrap();
    let program = plan(&g, &[Strided::from(&s.layout())], Mode::Fused).unwrap();
    assert!(program.copies.is_empty() && program.write_back.is_empty());
    program.arena.known().unwrap()
}

#[test]
fn five_points_take_a_few_rows_of_memory() {
    let shifts = vec![[0, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]];
    let (margin, dtype) = ([0, 1, 1], DType::F32);
    let s = Stencil { shape: [1, 4096, 1024], margin, shifts, dtype, lies: 0, local: false, times: 1 };
    let row = 4 * 1022;
    // Two rows for each chunk's edges and two for its window, of at most 16 chunks; fewer than 16 rows are left over.
    assert!(memory(&s) < 80 * row, "{}", memory(&s));
    // In a grid of a few rows there is one chunk.
    assert!(memory(&Stencil { shape: [1, 20, 1024], ..s }) < 6 * row);
}

/// Grids of several chunks: none reads rows that another has stored.
#[test]
fn chunks_run_in_any_order() {
    for shifts in [vec![[0, 2, 0], [0, 0, 1]], vec![[0, -2, 0]], vec![[0, 1, -1], [0, -1, 0]]] {
        let (margin, dtype) = ([0, 2, 1], DType::F32);
        let s = Stencil { shape: [1, 400, 70], margin, shifts, dtype, lies: 0, local: false, times: 1 };
        let (g, params) = s.program(3);
        assert_eq!(disagreement(&g, &run_all(&g).unwrap(), &params), None, "{s:?}");
    }
}

//! Matrix products of random shapes, layouts and dtypes: compiled code and interpreter agree to the bit, and the number
//! of threads does not matter.

#[path = "../../ir/tests/random/cases.rs"]
mod cases;
mod support;

use cases::cases;
use support::{Outcome, Param, Random, compiled, difference, interpreted};
use tensorc_ir::graph::Phase;
use tensorc_ir::passes::fuse::Mode;
use tensorc_ir::text::print::print;
use tensorc_ir::types::Range;
use tensorc_ir::{Builder, DType, Ex, Graph, Layout};
use tensorc_runtime::pool::Pool;

const DTYPES: [DType; 7] = [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I64, DType::I32, DType::U8];
const EXTENTS: [usize; 14] = [0, 1, 2, 3, 5, 8, 16, 17, 33, 64, 130, 257, 300, 520];
/// Multiplications in one case, at most: the interpreter is slow.
const MOST: usize = 1 << 20;

/// A parameter, and how the operand of that shape is made from it inside the graph.
struct Operand {
    param: Param,
    ranges: Option<Vec<Range>>,
    order: [usize; 3],
    expand: bool,
    shape: [usize; 3],
}

impl Operand {
    fn random(r: &mut Random, dtype: DType, shape: [usize; 3]) -> Operand {
        let order = r.of(&[[0, 1, 2], [0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0]]);
        // The operand is `permute(slice(expand(parameter)))`; so make these from the back.
        let mut before = [0; 3];
        order.iter().enumerate().for_each(|(i, o)| before[*o] = shape[i]);
        let ranges = (r.below(3) == 0).then(|| {
            let range = |len: &mut usize| {
                let (start, step) = (r.below(3), 1 + r.below(3));
                let range = Range { start, len: *len, step: step as isize };
                *len = start + (*len).max(1) * step;
                range
            };
            before.iter_mut().map(range).collect::<Vec<_>>()
        });
        let expand = r.below(4) == 0;
        let own = if expand { [1, before[1], before[2]] } else { before };
        let mut layout = Layout::contiguous(&own);
        match r.below(4) {
            // Columns first, gaps between rows, rows that are all one row.
            0 => layout = Layout::contiguous(&[own[0], own[2], own[1]]).permute(&[0, 2, 1]),
            1 => {
                let wide = Layout::contiguous(&[own[0], own[1], own[2] + 3]);
                layout =
                    wide.slice(&[Range::all(own[0]), Range::all(own[1]), Range { start: 2, len: own[2], step: 1 }]);
            }
            2 if r.below(3) == 0 => layout = Layout::contiguous(&[own[0], 1, own[2]]).expand(&own),
            _ => {}
        }
        let param = Param::new(dtype, layout, |d| r.ordinary(d));
        Operand { param, ranges, order, expand, shape: before }
    }

    fn apply<'b>(&self, x: Ex<'b>) -> Ex<'b> {
        let x = if self.expand { x.expand(&self.shape) } else { x };
        let x = match &self.ranges {
            Some(r) => x.slice(r),
            None => x,
        };
        x.permute(&self.order)
    }
}

/// A product, sometimes with something before and after it.
fn program(r: &mut Random, a: &Operand, b: &Operand) -> Graph {
    let builder = Builder::new("product");
    let [x, y] = [a, b].map(|o| builder.input("x", o.param.ty(), false, None));
    let (mut x, y) = (a.apply(builder.ex(x)), b.apply(builder.ex(y)));
    if r.below(4) == 0 {
        x = x + x;
    }
    let mut z = x.bmm(y);
    if r.below(3) == 0 {
        z = (z * z).maximum(z);
    }
    let out = vec![z.value().unwrap()];
    builder.with_graph(|g| {
        g.outputs = out;
        g.phase = Phase::Differentiated;
    });
    builder.finish().unwrap()
}

/// Runs one case with each number of threads.
fn check(seed: u64, dtype: DType) {
    let mut r = Random(seed);
    let batch = 1 + r.below(3);
    let mut extents = [0; 3].map(|_: usize| r.of(&EXTENTS));
    while batch * extents.iter().product::<usize>() > MOST {
        // Keep one large extent: any of the three.
        let i = r.below(3);
        extents[i] = r.of(&EXTENTS[..10]);
    }
    let [m, n, k] = extents;
    let a = Operand::random(&mut r, dtype, [batch, m, k]);
    let b = Operand::random(&mut r, dtype, [batch, k, n]);
    let g = program(&mut r, &a, &b);
    let params = [a.param, b.param];
    let want: Outcome = interpreted(&g, &params).unwrap();
    for mode in [Mode::Eager, Mode::Fused] {
        for threads in [1, 2] {
            Pool::global().set_threads(threads).unwrap();
            let name = format!("{dtype} seed {seed} {mode:?} {threads} threads");
            let got = compiled(&g, &params, mode).unwrap_or_else(|e| panic!("{name}: {e}\n{}", print(&g)));
            if let Some(d) = difference(&got, &want) {
                let layouts = params.each_ref().map(|p| &p.layout);
                panic!("{name}: {d}\n{layouts:?}\n{}", print(&g));
            }
        }
    }
}

// The threads are the process's: so all is one test.
#[test]
fn products_agree_to_the_bit_in_any_layout_and_with_any_number_of_threads() {
    for case in 0..cases(60, 400) as u64 {
        for dtype in DTYPES {
            check(case, dtype);
        }
    }
}

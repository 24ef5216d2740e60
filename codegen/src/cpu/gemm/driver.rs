//! The two functions that the outside calls: packing A, and the loops over units, blocks of k and strips.

use cranelift_codegen::ir::{Function, InstBuilder, Value, types::I64};
use cranelift_codegen::isa::TargetIsa;

use super::element::Element;
use super::emit::{Emit, function};
use super::plan::{PACK_ROWS, word};
use super::{K_BLOCK, Tiles, names};

/// `gemm_pack(args, begin, end)`: copies those blocks of [`PACK_ROWS`] rows of A to the scratch area, row by row.
pub(super) fn pack(isa: &dyn TargetIsa, el: &Element) -> Function {
    function(isa, |e, [args, begin, end]: [Value; 3]| {
        let [m, k] = [word::M, word::K].map(|w| e.word(args, w));
        let strides = [word::A_BATCH, word::A_ROW, word::FROM_BATCH, word::FROM_ROW, word::FROM_COL];
        let [to_batch, to_row, from_batch, from_row, from_col] = strides.map(|w| bytes(e, el, args, w));
        let [to, from] = [word::A, word::FROM].map(|w| e.word(args, w));
        let rounded = e.add_const(m, PACK_ROWS - 1);
        let block = e.int(PACK_ROWS);
        let down = e.b.ins().udiv(rounded, block);
        let zero = e.int(0);
        e.for_loop(begin, end, 1, |e, unit| {
            let (matrix, i) = divide(e, unit, down);
            let i = e.mul(i, block);
            let rest = e.sub(m, i);
            let rows = e.min(rest, block);
            let to = e.at(to, matrix, to_batch);
            let to = e.at(to, i, to_row);
            let from = e.at(from, matrix, from_batch);
            let from = e.at(from, i, from_row);
            // A few columns at a time, so that the rows being written stay in the cache.
            e.for_loop(zero, k, K_BLOCK, |e, p| {
                let count = block_of(e, k, p);
                let from = e.at(from, p, from_col);
                let p = e.scale(p, el.size);
                let to = e.add(to, p);
                e.call(&names::transpose(el.dtype), &[to, to_row, from, from_col, from_row, count, rows]);
            });
        });
    })
}

/// `gemm(args, begin, end)`: computes those units of C.
pub(super) fn compute(isa: &dyn TargetIsa, el: &Element, tiles: &Tiles) -> Function {
    function(isa, |e, [args, begin, end]: [Value; 3]| {
        let [m, n, k] = [word::M, word::N, word::K].map(|w| e.word(args, w));
        let [unit_rows, unit_cols, along, down] =
            [word::UNIT_ROWS, word::UNIT_COLS, word::UNITS_ALONG, word::UNITS_DOWN].map(|w| e.word(args, w));
        let [a, b, c] = [word::A, word::B, word::C].map(|w| e.word(args, w));
        e.for_loop(begin, end, 1, |e, unit| {
            let (unit, across) = divide(e, unit, along);
            let (matrix, below) = divide(e, unit, down);
            let (i, j) = (e.mul(below, unit_rows), e.mul(across, unit_cols));
            let (rest_rows, rest_cols) = (e.sub(m, i), e.sub(n, j));
            let (rows, cols) = (e.min(rest_rows, unit_rows), e.min(rest_cols, unit_cols));
            let a = offset(e, el, args, a, [(word::A_BATCH, matrix), (word::A_ROW, i)]);
            let b = offset(e, el, args, b, [(word::B_BATCH, matrix), (word::B_COL, j)]);
            let c = offset(e, el, args, c, [(word::C_BATCH, matrix), (word::C_ROW, i)]);
            let c = offset(e, el, args, c, [(word::C_COL, j)]);
            let nothing = e.equal_const(k, 0);
            e.if_else(
                nothing,
                |e| clear(e, el, args, c, rows, cols),
                |e| blocks(e, el, tiles, Unit { args, a, b, c, k, rows, cols, first: j }),
            );
        });
    })
}

/// The addresses of a unit's first elements, and its sizes.
struct Unit {
    args: Value,
    a: Value,
    b: Value,
    c: Value,
    k: Value,
    rows: Value,
    cols: Value,
    /// Its first column.
    first: Value,
}

/// The blocks of k in ascending order, and in each the strips: the widest tile that fits what is left.
fn blocks(e: &mut Emit, el: &Element, tiles: &Tiles, u: Unit) {
    let zero = e.int(0);
    let [b_row, b_col, c_col] = [word::B_ROW, word::B_COL, word::C_COL].map(|w| bytes(e, el, u.args, w));
    let wide_rows = tiles.rows(4) as i64 + 1;
    let few_rows = e.less_const(u.rows, wide_rows);
    let few_rows = e.b.ins().uextend(I64, few_rows);
    e.for_loop(zero, u.k, K_BLOCK, |e, p| {
        let count = block_of(e, u.k, p);
        let a_bytes = e.scale(p, el.size);
        let a = e.add(u.a, a_bytes);
        let b = e.at(u.b, p, b_row);
        let j = e.var(I64, zero);
        e.while_loop(
            |e| {
                let j = e.get(j);
                e.less(j, u.cols)
            },
            |e| {
                let at = e.get(j);
                let left = e.sub(u.cols, at);
                let b = e.at(b, at, b_col);
                let c = e.at(u.c, at, c_col);
                let strip = |e: &mut Emit, registers: usize| {
                    let width = registers as i64 * tiles.lanes;
                    let most = e.int(width);
                    let cols = e.min(left, most);
                    let name = names::strip(el.dtype, registers);
                    let column = e.add(u.first, at);
                    e.call(&name, &[u.args, a, b, c, count, u.rows, cols, p, column]);
                    let next = e.add_const(at, width);
                    e.set(j, next);
                };
                let four = e.less_const(left, 4 * tiles.lanes);
                let four = e.b.ins().uextend(I64, four);
                let four = e.b.ins().bnot(four);
                let wide = e.and(few_rows, four);
                e.if_else(
                    wide,
                    |e| strip(e, 4),
                    |e| {
                        let narrow = e.less_const(left, tiles.lanes + 1);
                        e.if_else(narrow, |e| strip(e, 1), |e| strip(e, 2));
                    },
                );
            },
        );
    });
}

/// Zeros in the unit's part of C, which an empty sum is.
fn clear(e: &mut Emit, el: &Element, args: Value, c: Value, rows: Value, cols: Value) {
    let [c_row, c_col] = [word::C_ROW, word::C_COL].map(|w| bytes(e, el, args, w));
    let zero = e.int(0);
    let value = el.scalar_zero(e);
    e.for_loop(zero, rows, 1, |e, i| {
        let row = e.at(c, i, c_row);
        e.for_loop(zero, cols, 1, |e, j| {
            let p = e.at(row, j, c_col);
            el.store_scalar(e, value, p);
        });
    });
}

/// The stride in that word, in bytes.
fn bytes(e: &mut Emit, el: &Element, args: Value, place: usize) -> Value {
    let stride = e.word(args, place);
    e.scale(stride, el.size)
}

/// `base` moved by each index times the stride in its word.
fn offset<const N: usize>(e: &mut Emit, el: &Element, args: Value, base: Value, by: [(usize, Value); N]) -> Value {
    by.into_iter().fold(base, |base, (place, index)| {
        let stride = bytes(e, el, args, place);
        e.at(base, index, stride)
    })
}

/// Quotient and remainder.
fn divide(e: &mut Emit, x: Value, by: Value) -> (Value, Value) {
    let quotient = e.b.ins().udiv(x, by);
    let back = e.mul(quotient, by);
    let remainder = e.sub(x, back);
    (quotient, remainder)
}

/// The length of the block of k that starts at `p`.
fn block_of(e: &mut Emit, k: Value, p: Value) -> Value {
    let rest = e.sub(k, p);
    let block = e.int(K_BLOCK);
    e.min(rest, block)
}

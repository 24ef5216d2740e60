//! A strip of C: the columns of one tile, all rows of a unit, one block of k.
//!
//! `strip(args, a, b, c, k, rows, cols, add, column)` with the addresses of the first elements; `add` is the first k as well,
//! and `column` the first column. The strip of B is read where it
//! lies if the plan says so and it is full; else it is copied to this call's stack, padded with zeros to the tile's
//! width. Tiles store straight to C if it has whole rows for them; else to the stack, from where the columns that exist
//! are copied (and added) one by one.

use cranelift_codegen::ir::{Function, InstBuilder, JumpTableData, Value, types::I64};
use cranelift_codegen::isa::TargetIsa;

use super::element::Element;
use super::emit::{Emit, function};
use super::plan::word;
use super::{K_BLOCK, Tiles, names};

/// The strip function for tiles of that many registers across.
pub(super) fn strip(isa: &dyn TargetIsa, el: &Element, tiles: &Tiles, registers: usize) -> Function {
    let width = registers as i64 * tiles.lanes;
    let row_bytes = width * el.size;
    let most = tiles.rows(registers);
    function(isa, |e, [args, a, b, c, k, rows, cols, add, column]: [Value; 9]| {
        let [a_row, b_row, b_col, c_row, c_col] = [word::A_ROW, word::B_ROW, word::B_COL, word::C_ROW, word::C_COL]
            .map(|w| {
                let stride = e.word(args, w);
                e.scale(stride, el.size)
            });
        let direct = e.word(args, word::DIRECT);
        let panel = e.stack(K_BLOCK * row_bytes);
        let spare = e.stack(most as i64 * row_bytes);
        let packed_row = e.int(row_bytes);
        let full = e.equal_const(cols, width);
        let full = e.b.ins().uextend(I64, full);
        let adjacent = e.equal_const(b_col, el.size);
        let adjacent = e.b.ins().uextend(I64, adjacent);

        let (from, from_row) = (e.var(I64, b), e.var(I64, b_row));
        let in_place = e.and(full, direct);
        e.if_else(
            in_place,
            |_| (),
            |e| {
                let whole = e.and(full, adjacent);
                let tables = [word::ROWS, word::COLUMNS].map(|w| e.word(args, w));
                e.if_else(
                    tables[0],
                    |e| {
                        e.if_else(full, |_| (), |e| clear(e, el, panel, k, width));
                        let [rows, columns] = [(tables[0], add), (tables[1], column)].map(|(table, first)| {
                            let first = e.scale(first, 8);
                            e.add(table, first)
                        });
                        let ascend = e.word(args, word::ASCEND);
                        let picked = Picked { panel, row: row_bytes, b, rows, columns, k, cols, ascend };
                        pick(e, el, tiles, picked);
                    },
                    |e| {
                        e.if_else(
                            whole,
                            |e| match tiles.wide {
                                Some(_) => e.call(&names::copy(el.dtype, registers), &[panel, b, b_row, k]),
                                None => copy_rows(e, el, panel, b, b_row, k, width),
                            },
                            |e| {
                                e.if_else(full, |_| (), |e| clear(e, el, panel, k, width));
                                e.call(&names::transpose(el.dtype), &[panel, packed_row, b, b_col, b_row, cols, k]);
                            },
                        );
                    },
                );
                e.set(from, panel);
                e.set(from_row, packed_row);
            },
        );
        let (b, b_row) = (e.get(from), e.get(from_row));

        let c_adjacent = e.equal_const(c_col, el.size);
        let c_adjacent = e.b.ins().uextend(I64, c_adjacent);
        let whole_c = e.and(full, c_adjacent);
        let (a_now, c_now, left) = (e.var(I64, a), e.var(I64, c), e.var(I64, rows));
        let none = e.int(0);
        e.while_loop(
            |e| {
                let left = e.get(left);
                e.b.ins().icmp(cranelift_codegen::ir::condcodes::IntCC::SignedGreaterThan, left, none)
            },
            |e| {
                let (a, c, rest) = (e.get(a_now), e.get(c_now), e.get(left));
                let count = share(e, rest, most as i64);
                e.if_else(
                    whole_c,
                    |e| call_tile(e, el, most, registers, count, &[a, a_row, b, b_row, k, c, c_row, add]),
                    |e| {
                        let store = e.int(0);
                        call_tile(e, el, most, registers, count, &[a, a_row, b, b_row, k, spare, packed_row, store]);
                        merge(e, el, Part { spare, packed_row, c, c_row, c_col, count, cols, add });
                    },
                );
                let a = e.at(a, count, a_row);
                e.set(a_now, a);
                let c = e.at(c, count, c_row);
                e.set(c_now, c);
                let rest = e.sub(rest, count);
                e.set(left, rest);
            },
        );
    })
}

/// How many of the rows that are left the next tile takes: all, if it can; never leaving a sliver for the last.
fn share(e: &mut Emit, left: Value, most: i64) -> Value {
    let most_value = e.int(most);
    let full = e.min(left, most_value);
    if most < 6 {
        return full;
    }
    // 7 = 4 + 3 and 8 = 4 + 4, rather than 6 + 1 and 6 + 2.
    let four = e.int(4);
    let some = e.b.ins().icmp_imm_s(cranelift_codegen::ir::condcodes::IntCC::SignedGreaterThan, left, most);
    let few = e.less_const(left, most + 3);
    let split = e.and(some, few);
    e.b.ins().select(split, four, full)
}

/// Calls the tile of `count` rows, `1 <= count <= most`.
fn call_tile(e: &mut Emit, el: &Element, most: usize, registers: usize, count: Value, args: &[Value]) {
    let after = e.b.create_block();
    let blocks: Vec<_> = (0..most).map(|_| e.b.create_block()).collect();
    let calls: Vec<_> = blocks.iter().map(|&b| e.b.func.dfg.block_call(b, &[])).collect();
    let index = e.add_const(count, -1);
    let index = e.b.ins().ireduce(cranelift_codegen::ir::types::I32, index);
    let table = e.b.create_jump_table(JumpTableData::new(calls[most - 1], &calls[..most - 1]));
    e.b.ins().br_table(index, table);
    for (i, &block) in blocks.iter().enumerate() {
        e.b.seal_block(block);
        e.b.switch_to_block(block);
        e.call(&names::tile(el.dtype, i + 1, registers), args);
        e.b.ins().jump(after, &[]);
    }
    e.b.seal_block(after);
    e.b.switch_to_block(after);
}

/// `panel[p, ..] = b[p, ..width]` for whole rows of adjacent elements.
fn copy_rows(e: &mut Emit, el: &Element, panel: Value, b: Value, b_row: Value, k: Value, width: i64) {
    let (to, from) = (e.var(I64, panel), e.var(I64, b));
    let zero = e.int(0);
    e.for_loop(zero, k, 1, |e, _| {
        let (t, f) = (e.get(to), e.get(from));
        for lane in (0..width).step_by(el.lanes as usize) {
            let v = el.load(e, f, lane * el.size);
            el.store(e, v, t, lane * el.size);
        }
        let t = e.add_const(t, width * el.size);
        e.set(to, t);
        let f = e.add(f, b_row);
        e.set(from, f);
    });
}

/// A strip of B whose elements are found by offsets of rows and columns.
struct Picked {
    panel: Value,
    /// Bytes of a row of the panel.
    row: i64,
    b: Value,
    /// The offsets of the first row and of the first column.
    rows: Value,
    columns: Value,
    k: Value,
    cols: Value,
    /// 1 if the offsets of columns ascend, else 0.
    ascend: Value,
}

/// `panel[p, j] = b[rows[p] + columns[j]]` for the columns that exist, vectors of them where they are adjacent.
fn pick(e: &mut Emit, el: &Element, tiles: &Tiles, p: Picked) {
    let zero = e.int(0);
    let ascend = e.b.ins().ineg(p.ascend);
    let vectors = if el.can_transpose() { e.b.ins().band_imm_s(p.cols, -el.lanes) } else { zero };
    let vectors = e.and(vectors, ascend);
    // Down all rows of some columns.
    let down = |e: &mut Emit, column: Value, vector: bool| {
        let offset = e.at_word(p.columns, column);
        let from = e.add(p.b, offset);
        let at = e.scale(column, el.size);
        let to = e.add(p.panel, at);
        let to = e.var(I64, to);
        let next = e.var(I64, p.rows);
        e.for_loop(zero, p.k, 1, |e, _| {
            let (target, table) = (e.get(to), e.get(next));
            let row = e.word(table, 0);
            let from = e.add(from, row);
            if vector {
                let value = el.load(e, from, 0);
                el.store(e, value, target, 0);
            } else {
                let value = el.load_scalar(e, from);
                el.store_scalar(e, value, target);
            }
            let target = e.add_const(target, p.row);
            e.set(to, target);
            let table = e.add_const(table, 8);
            e.set(next, table);
        });
    };
    let some = |e: &mut Emit, start: Value, end: Value| {
        e.for_loop(start, end, el.lanes, |e, column| {
            let adjacent = adjacent(e, el, p.columns, column, el.lanes);
            e.if_else(
                adjacent,
                |e| down(e, column, true),
                |e| {
                    let end = e.add_const(column, el.lanes);
                    e.for_loop(column, end, 1, |e, column| down(e, column, false));
                },
            );
        });
    };
    let done = e.var(I64, zero);
    if tiles.wide.is_some() {
        // Vectors of the width of tiles first, as long as they are adjacent; what is not goes by narrower ones.
        let whole = e.b.ins().band_imm_s(vectors, -tiles.lanes);
        e.for_loop(zero, whole, tiles.lanes, |e, column| {
            let end = e.add_const(column, tiles.lanes);
            let adjacent = adjacent(e, el, p.columns, column, tiles.lanes);
            e.if_else(
                adjacent,
                |e| {
                    let offset = e.at_word(p.columns, column);
                    let from = e.add(p.b, offset);
                    let at = e.scale(column, el.size);
                    let to = e.add(p.panel, at);
                    let row = e.int(p.row);
                    e.call(&names::column(el.dtype), &[to, row, from, p.rows, p.k]);
                },
                |e| some(e, column, end),
            );
        });
        e.set(done, whole);
    }
    let start = e.get(done);
    some(e, start, vectors);
    e.for_loop(vectors, p.cols, 1, |e, column| down(e, column, false));
}

/// Whether so many columns from that one on are adjacent, if their offsets ascend.
fn adjacent(e: &mut Emit, el: &Element, columns: Value, column: Value, count: i64) -> Value {
    let last = e.add_const(column, count - 1);
    let (first, last) = (e.at_word(columns, column), e.at_word(columns, last));
    let span = e.sub(last, first);
    e.equal_const(span, (count - 1) * el.size)
}

/// Zeros in the first `k` rows of the panel.
fn clear(e: &mut Emit, el: &Element, panel: Value, k: Value, width: i64) {
    let to = e.var(I64, panel);
    let value = el.zero(e);
    let zero = e.int(0);
    e.for_loop(zero, k, 1, |e, _| {
        let t = e.get(to);
        for lane in (0..width).step_by(el.lanes as usize) {
            el.store(e, value, t, lane * el.size);
        }
        let t = e.add_const(t, width * el.size);
        e.set(to, t);
    });
}

/// A tile on the stack, and where it belongs.
struct Part {
    spare: Value,
    packed_row: Value,
    c: Value,
    c_row: Value,
    c_col: Value,
    count: Value,
    cols: Value,
    add: Value,
}

/// `c[i, j] = add ? c[i, j] + spare[i, j] : spare[i, j]` for the rows and columns that exist.
fn merge(e: &mut Emit, el: &Element, part: Part) {
    let zero = e.int(0);
    e.for_loop(zero, part.count, 1, |e, i| {
        let from = e.at(part.spare, i, part.packed_row);
        let to = e.at(part.c, i, part.c_row);
        let to = e.var(I64, to);
        e.for_loop(zero, part.cols, 1, |e, j| {
            let j = e.scale(j, el.size);
            let from = e.add(from, j);
            let value = el.load_scalar(e, from);
            let target = e.get(to);
            e.if_else(
                part.add,
                |e| {
                    let old = el.load_scalar(e, target);
                    let total = el.sum(e, old, value);
                    el.store_scalar(e, total, target);
                },
                |e| el.store_scalar(e, value, target),
            );
            let next = e.add(target, part.c_col);
            e.set(to, next);
        });
    });
}

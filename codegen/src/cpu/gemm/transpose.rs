//! Copying a strided matrix so that its other index becomes the adjacent one.
//!
//! `transpose(to, to_row, from, from_x, from_y, xs, ys)`: `to[y * to_row + x] = from[x * from_x + y * from_y]` for
//! `x < xs`, `y < ys`; the strides are in bytes, x is adjacent in `to`. If y is adjacent in `from`, squares of elements
//! go through registers; all else, and the edges, go one element at a time. It reads and writes exactly what it names.

use cranelift_codegen::ir::{Function, InstBuilder, Value, types::I64};
use cranelift_codegen::isa::TargetIsa;

use super::element::Element;
use super::emit::{Emit, function};

/// The function described above.
pub(super) fn transpose(isa: &dyn TargetIsa, el: &Element) -> Function {
    function(isa, |e, [to, to_row, from, from_x, from_y, xs, ys]: [Value; 7]| {
        let scalars = |e: &mut Emit, x: Value, y_begin: Value| {
            let from = e.at(from, x, from_x);
            let x = e.scale(x, el.size);
            let to = e.add(to, x);
            e.for_loop(y_begin, ys, 1, |e, y| {
                let source = e.at(from, y, from_y);
                let value = el.load_scalar(e, source);
                let target = e.at(to, y, to_row);
                el.store_scalar(e, value, target);
            });
        };
        let zero = e.int(0);
        let done = e.var(I64, zero);
        if el.can_transpose() {
            let adjacent = e.equal_const(from_y, el.size);
            let squares = |e: &mut Emit| {
                let mask = -el.lanes;
                let whole_x = e.b.ins().band_imm_s(xs, mask);
                let whole_y = e.b.ins().band_imm_s(ys, mask);
                e.for_loop(zero, whole_x, el.lanes, |e, x| {
                    let mut rows = vec![e.at(from, x, from_x)];
                    for i in 1..el.lanes as usize {
                        let next = e.add(rows[i - 1], from_x);
                        rows.push(next);
                    }
                    let x_bytes = e.scale(x, el.size);
                    let to = e.add(to, x_bytes);
                    let to = e.var(I64, to);
                    e.for_loop(zero, whole_y, el.lanes, |e, y| {
                        let y = e.scale(y, el.size);
                        let square = rows
                            .iter()
                            .map(|&row| {
                                let p = e.add(row, y);
                                el.load(e, p, 0)
                            })
                            .collect();
                        let mut p = e.get(to);
                        for row in el.transpose(e, square) {
                            el.store(e, row, p, 0);
                            p = e.add(p, to_row);
                        }
                        e.set(to, p);
                    });
                    for i in 0..el.lanes {
                        let x = e.add_const(x, i);
                        scalars(e, x, whole_y);
                    }
                });
                e.set(done, whole_x);
            };
            e.if_else(adjacent, squares, |_| ());
        }
        let done = e.get(done);
        e.for_loop(done, xs, 1, |e, x| scalars(e, x, zero));
    })
}

//! The innermost loop: a tile of C, a few rows by a few registers, kept in registers over one block of k.
//!
//! `tile(a, a_row, b, b_row, k, c, c_row, add)`: for each of the tile's rows `i` and columns `j`
//!
//! ```text
//! acc = 0;  for p in 0..k { acc = fma(A[i, p], B[p, j], acc) };  C[i, j] = add ? C[i, j] + acc : acc
//! ```
//!
//! Strides are in bytes; A's elements are adjacent along k, B's and C's along j. The tile reads exactly the elements
//! that it names. `k` must be positive and is at most [`super::K_BLOCK`].
//!
//! The loads of one step of k come first, then the multiplications in the order of the rows, which keeps the registers
//! in use at accumulators + B + one: Cranelift does not reorder, and anything more would spill.

use cranelift_codegen::ir::{Function, InstBuilder, Value, condcodes::IntCC, types::I64};
use cranelift_codegen::isa::TargetIsa;

use super::element::Element;
use super::emit::{Emit, Var, function};

/// Steps of k in one turn of the main loop.
const UNROLL: i64 = 8;

/// A tile of `rows` rows by `registers` registers.
pub(super) fn tile(isa: &dyn TargetIsa, el: &Element, rows: usize, registers: usize) -> Function {
    function(isa, |e, [a, a_row, b, b_row, k, c, c_row, add]: [Value; 8]| {
        let mut a_rows = vec![a];
        for i in 1..rows {
            let next = e.add(a_rows[i - 1], a_row);
            a_rows.push(next);
        }
        let zero = el.zero(e);
        let acc: Vec<Var> = (0..rows * registers).map(|_| e.var(el.register(), zero)).collect();
        let start = e.int(0);
        let along = e.var(I64, start);
        let (b, left) = (e.var(I64, b), e.var(I64, k));

        let step = |e: &mut Emit, a_now: &[Value], b_now: Value, p: i64| {
            let bs: Vec<Value> = (0..registers).map(|v| el.load(e, b_now, v as i64 * el.lanes * el.size)).collect();
            for (i, &row) in a_now.iter().enumerate() {
                for (v, &y) in bs.iter().enumerate() {
                    let x = el.broadcast(e, row, p * el.size);
                    let acc = acc[i * registers + v];
                    let old = e.get(acc);
                    let new = el.mul_add(e, x, y, old);
                    e.set(acc, new);
                }
            }
        };
        for unroll in [UNROLL, 1] {
            e.while_loop(
                |e| {
                    let left = e.get(left);
                    e.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, left, unroll)
                },
                |e| {
                    let offset = e.get(along);
                    // The sum is part of the address in each load, not an instruction.
                    let a_now: Vec<Value> = a_rows.iter().map(|&row| e.add(row, offset)).collect();
                    let mut b_now = e.get(b);
                    for p in 0..unroll {
                        step(e, &a_now, b_now, p);
                        b_now = e.add(b_now, b_row);
                    }
                    e.set(b, b_now);
                    let next = e.add_const(offset, unroll * el.size);
                    e.set(along, next);
                    let now = e.get(left);
                    let fewer = e.add_const(now, -unroll);
                    e.set(left, fewer);
                },
            );
        }

        let store = |e: &mut Emit, add: bool| {
            let mut row = c;
            for i in 0..rows {
                for v in 0..registers {
                    let offset = v as i64 * el.lanes * el.size;
                    let mut value = e.get(acc[i * registers + v]);
                    if add {
                        let old = el.load(e, row, offset);
                        value = el.sum(e, old, value);
                    }
                    el.store(e, value, row, offset);
                }
                row = e.add(row, c_row);
            }
        };
        e.if_else(add, |e| store(e, true), |e| store(e, false));
    })
}

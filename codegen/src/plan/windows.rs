//! Operands of products that are windows of what is stored.

use super::Planner;
use crate::program::Place;
use std::sync::Arc;
use tensorc_ir::passes::fuse::{Atom, source};
use tensorc_ir::{Dim, Dims, Result, Strided, Value, error::err};

/// Where an operand's matrices are, and where in them its rows and columns are, in elements.
type Matrix = (Place, Arc<[i64]>, Arc<[i64]>);

impl Planner<'_> {
    /// An operand whose elements are found by offsets of rows and columns.
    pub(super) fn windows(&self, v: Value) -> Result<Option<Matrix>> {
        let (s, views) = source(self.g, v);
        let Some(w) = self.fusion.windows.get(&s.node) else { return Ok(None) };
        let internal = || err::internal("windows that are no matrix");
        let from = self.place(w.from)?;
        let layout = from.layout.known()?;
        let stride = |a: &Atom| layout.strides[a.dim] as i64 * a.step;
        let w = w.through(self.g, &views).ok_or_else(internal)?;
        let [batch, rows, columns] = &w.dims[..] else { return Err(internal()) };
        let offsets = |atoms: &[Atom]| -> Arc<[i64]> {
            let each = |all: Vec<i64>, a: &Atom| {
                let (n, by) = (a.extent, stride(a));
                all.into_iter().flat_map(|at| (0..n).map(move |i| at + i * by)).collect()
            };
            atoms.iter().fold(vec![0], each).into()
        };
        let (rows, columns) = (offsets(rows), offsets(columns));
        let matrices = batch.first().map_or((1, 0), |a| (a.extent, stride(a)));
        let first = layout.offset as i64 + w.first.1 * layout.strides[w.first.0] as i64;
        let dims = |v: [i64; 3]| -> Dims { v.into_iter().map(Dim::from).collect() };
        let layout = Strided {
            shape: dims([matrices.0, rows.len() as i64, columns.len() as i64]),
            strides: dims([matrices.1, 0, 0]),
            offset: Dim::from(first),
        };
        Ok(Some((Place { buffer: from.buffer, layout }, rows, columns)))
    }
}

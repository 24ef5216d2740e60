//! A stencil that is stored over what it reads, in one pass: see [`Window`] for when that is possible.
//!
//! The rows are cut into chunks, which run in any order. The rows at the edges of chunks are computed aside first, so that
//! the others of a chunk read that chunk only; the *window* then goes through a chunk from top to bottom. It computes a new
//! row aside and stores the one that was computed `back` rows ago, which no later row reads. At last the rows from the
//! edges are stored.
//!
//! ```text
//! chunk:  head: `back` rows | rows the window stores | tail: `ahead` rows
//! ```

use super::groups::{Store, updated};
use super::{Ix, Lin, Lower, Places};
use crate::loopnest::LoopKind;
use crate::program::{LoopStep, Place};
use tensorc_ir::passes::fuse::{Fusion, Window};
use tensorc_ir::{DType, Dim, Graph, Result, Value};

/// The most chunks: enough for threads to take turns, few enough that edges cost nothing.
const MOST_CHUNKS: usize = 16;
/// A chunk has so many rows for each at its edges, at least.
const LEAST_ROWS: usize = 16;

/// How the rows of an update are cut.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    window: Window,
    count: usize,
    rows: usize,
    /// Rows after the last chunk, fewer than chunks; they are treated as an edge.
    rest: usize,
}

/// The memory that a window needs besides that of the update.
#[derive(Clone, Debug)]
pub struct Aside {
    /// How the rows are cut.
    pub chunks: Chunks,
    /// The rows at the edges: `[rows, row..]`.
    pub edges: Place,
    /// The rows that are kept back: `[chunks, back, row..]`.
    pub kept: Place,
    /// The newest row: `[chunks, row..]`.
    pub fresh: Place,
}

impl Chunks {
    /// The chunks of so many rows.
    pub fn of(window: Window, n: usize) -> Chunks {
        let count = (n / (LEAST_ROWS * (window.back + window.ahead + 1))).clamp(1, MOST_CHUNKS);
        Chunks { window, count, rows: n / count, rest: n % count }
    }

    /// The extents before a row's of [`Aside::edges`], [`Aside::kept`] and [`Aside::fresh`].
    pub fn extents(&self) -> [Vec<usize>; 3] {
        let Window { back, ahead, .. } = self.window;
        [vec![self.count * (back + ahead) + self.rest], vec![self.count, back], vec![self.count]]
    }

    /// The edges: how many there are, how many rows each has, and the first row of the first one in the update and aside.
    fn edges(&self) -> [[usize; 4]; 3] {
        let Window { back, ahead, .. } = self.window;
        [
            [self.count, back, 0, 0],
            [self.count, ahead, self.rows - ahead, back],
            [1, self.rest, self.count * self.rows, self.count * (back + ahead)],
        ]
    }
}

/// The nests of an update whose new rows go to `place`.
///
/// # Errors
/// `unsupported` if a value cannot be pulled.
pub fn lower_window(g: &Graph, fusion: &Fusion, places: &Places, k: usize, aside: &Aside) -> Result<Vec<LoopStep>> {
    let Store { value, place } = updated(g, places, &fusion.groups[k])?;
    let job = Job { g, fusion, places, k, value, dtype: g.ty(value).dtype, aside, place };
    let edges = |computes| aside.chunks.edges().into_iter().filter(|e| e[1] > 0).map(move |e| (e, computes));
    let edge = |(edge, computes)| job.edge(edge, computes);
    edges(true).map(edge).chain([job.window()]).chain(edges(false).map(edge)).collect()
}

struct Job<'a> {
    g: &'a Graph,
    fusion: &'a Fusion,
    places: &'a Places,
    k: usize,
    value: Value,
    dtype: DType,
    aside: &'a Aside,
    /// Where the new rows go.
    place: Place,
}

/// `first + chunk * every + row`.
fn row(first: usize, chunk: &Lin, every: usize, row: &Lin) -> Lin {
    let mut at = Lin::at(first.into());
    at.add(&chunk.scale(every.into()));
    at.add(row);
    at
}

impl<'a> Job<'a> {
    fn lower(&self) -> Lower<'a> {
        Lower::new(self.g, self.fusion, self.places, self.k)
    }

    fn tail(&self) -> &'a [Dim] {
        &self.g.ty(self.value).shape[self.aside.chunks.window.axis + 1..]
    }

    /// The index of the update at a row.
    fn index(&self, row: Lin, tail: &Ix) -> Ix {
        let axis = self.aside.chunks.window.axis;
        std::iter::repeat_n(Lin::default(), axis).chain([row]).chain(tail.iter().cloned()).collect()
    }

    /// Computes rows at edges, or stores them where they belong.
    fn edge(&self, [count, of_edge, first, aside]: [usize; 4], computes: bool) -> Result<LoopStep> {
        let mut l = self.lower();
        let Chunks { window, rows, .. } = self.aside.chunks;
        let chunk = Lin::var(l.open_whole(count.into(), LoopKind::Serial));
        let k = Lin::var(l.open_whole(of_edge.into(), LoopKind::Serial));
        let tail = l.loops(self.tail(), true);
        let there = self.index(row(first, &chunk, rows, &k), &tail);
        let here: Ix =
            std::iter::once(row(aside, &chunk, window.back + window.ahead, &k)).chain(tail.iter().cloned()).collect();
        if computes {
            let value = l.eval(self.value, &there)?;
            l.store(&self.aside.edges, self.dtype, &here, value);
        } else {
            let value = l.load(&self.aside.edges, self.dtype, &here);
            l.store(&self.place, self.dtype, &there, value);
        }
        Ok(l.finish())
    }

    /// The window's way through all chunks.
    fn window(&self) -> Result<LoopStep> {
        let Aside { chunks: Chunks { window, count, rows, .. }, kept, fresh, .. } = self.aside;
        let Window { back, ahead, .. } = *window;
        let mut l = self.lower();
        let chunk = Lin::var(l.open_whole((*count).into(), LoopKind::Serial));
        let with = |lead: &[Lin], tail: &Ix| -> Ix { lead.iter().chain(tail).cloned().collect() };
        let depth = l.scopes.len();
        if back > 0 {
            // The first rows of the window are kept, and nothing is stored yet.
            let k = Lin::var(l.open_whole(back.into(), LoopKind::Serial));
            let tail = l.loops(self.tail(), true);
            let value = l.eval(self.value, &self.index(row(back, &chunk, *rows, &k), &tail))?;
            l.store(kept, self.dtype, &with(&[chunk.clone(), k], &tail), value);
            l.close_to(depth);
        }
        let i = Lin::var(l.open_whole((rows - 2 * back - ahead).into(), LoopKind::Serial));
        let inside = l.scopes.len();
        let tail = l.loops(self.tail(), true);
        let value = l.eval(self.value, &self.index(row(2 * back, &chunk, *rows, &i), &tail))?;
        l.store(fresh, self.dtype, &with(std::slice::from_ref(&chunk), &tail), value);
        l.close_to(inside);
        // The oldest row leaves, the others move up, the newest follows.
        let tail = l.loops(self.tail(), true);
        let mut moving = Vec::new();
        for k in 0..back {
            moving.push(l.load(kept, self.dtype, &with(&[chunk.clone(), Lin::at(k.into())], &tail)));
        }
        moving.push(l.load(fresh, self.dtype, &with(std::slice::from_ref(&chunk), &tail)));
        let mut moving = moving.into_iter();
        if let Some(oldest) = moving.next() {
            let there = self.index(row(back, &chunk, *rows, &i), &tail);
            l.store(&self.place, self.dtype, &there, oldest);
        }
        for (k, value) in moving.enumerate() {
            l.store(kept, self.dtype, &with(&[chunk.clone(), Lin::at(k.into())], &tail), value);
        }
        l.close_to(depth);
        if back > 0 {
            let k = Lin::var(l.open_whole(back.into(), LoopKind::Serial));
            let tail = l.loops(self.tail(), true);
            let value = l.load(kept, self.dtype, &with(&[chunk.clone(), k.clone()], &tail));
            let there = self.index(row(rows - ahead - back, &chunk, *rows, &k), &tail);
            l.store(&self.place, self.dtype, &there, value);
            l.close_to(depth);
        }
        Ok(l.finish())
    }
}

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

use super::groups::root;
use super::{Ix, Lin, Lower, Places};
use crate::loopnest::{LoopKind, Stmt};
use crate::program::{LoopStep, Place};
use tensorc_ir::ops::Op;
use tensorc_ir::passes::fuse::{Fusion, Window};
use tensorc_ir::{DType, Dim, Graph, Result, Value, error::err};

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

    /// Rows of [`Aside::edges`], [`Aside::kept`] and [`Aside::fresh`].
    pub fn rows_aside(&self) -> [usize; 3] {
        let edge = self.window.back + self.window.ahead;
        [self.count * edge + self.rest, self.count * self.window.back, self.count]
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
    let n = root(g, &fusion.groups[k])?;
    let Op::SliceUpdate(s) = g.op(n) else { return Err(err::internal("no slice update")) };
    let whole = places.get(&n.into()).ok_or_else(|| err::internal("an update without a place"))?;
    let place = Place { buffer: whole.buffer, layout: whole.layout.slice(&s.0.0) };
    let value = g.operands(n)[1];
    let job = Job { g, fusion, places, k, value, dtype: g.ty(value).dtype, aside, place };
    let mut steps = Vec::new();
    for edge in aside.chunks.edges().into_iter().filter(|e| e[1] > 0) {
        steps.push(job.edge(edge, true)?);
    }
    steps.push(job.window()?);
    for edge in aside.chunks.edges().into_iter().filter(|e| e[1] > 0) {
        steps.push(job.edge(edge, false)?);
    }
    Ok(steps)
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

    fn store(&self, l: &mut Lower<'a>, place: &Place, ix: &Ix, value: tensorc_ir::scalar::V) {
        let (buf, at, _) = l.access(place, self.dtype, ix, true);
        l.push(Stmt::Store { buf, at, value });
    }

    /// Computes rows at edges, or stores them where they belong.
    fn edge(&self, [count, rows, first, aside]: [usize; 4], computes: bool) -> Result<LoopStep> {
        let mut l = self.lower();
        let chunk = Lin::var(l.open_whole(count.into(), LoopKind::Serial));
        let k = Lin::var(l.open_whole(rows.into(), LoopKind::Serial));
        let tail = l.loops(self.tail(), true);
        let Chunks { window, rows, .. } = self.aside.chunks;
        let there = self.index(row(first, &chunk, rows, &k), &tail);
        let here: Ix =
            std::iter::once(row(aside, &chunk, window.back + window.ahead, &k)).chain(tail.iter().cloned()).collect();
        if computes {
            let value = l.eval(self.value, &there)?;
            self.store(&mut l, &self.aside.edges, &here, value);
        } else {
            let value = l.load(&self.aside.edges, self.dtype, &here);
            self.store(&mut l, &self.place, &there, value);
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
        let close = |l: &mut Lower<'a>, depth: usize| {
            while l.scopes.len() > depth {
                l.close();
            }
        };
        if back > 0 {
            // The first rows of the window are kept, and nothing is stored yet.
            let k = Lin::var(l.open_whole(back.into(), LoopKind::Serial));
            let tail = l.loops(self.tail(), true);
            let value = l.eval(self.value, &self.index(row(back, &chunk, *rows, &k), &tail))?;
            self.store(&mut l, kept, &with(&[chunk.clone(), k], &tail), value);
            close(&mut l, depth);
        }
        let i = Lin::var(l.open_whole((rows - 2 * back - ahead).into(), LoopKind::Serial));
        let inside = l.scopes.len();
        let tail = l.loops(self.tail(), true);
        let value = l.eval(self.value, &self.index(row(2 * back, &chunk, *rows, &i), &tail))?;
        self.store(&mut l, fresh, &with(std::slice::from_ref(&chunk), &tail), value);
        close(&mut l, inside);
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
            self.store(&mut l, &self.place, &there, oldest);
        }
        for (k, value) in moving.enumerate() {
            self.store(&mut l, kept, &with(&[chunk.clone(), Lin::at(k.into())], &tail), value);
        }
        close(&mut l, depth);
        if back > 0 {
            let k = Lin::var(l.open_whole(back.into(), LoopKind::Serial));
            let tail = l.loops(self.tail(), true);
            let value = l.load(kept, self.dtype, &with(&[chunk.clone(), k.clone()], &tail));
            let there = self.index(row(rows - ahead - back, &chunk, *rows, &k), &tail);
            self.store(&mut l, &self.place, &there, value);
            close(&mut l, depth);
        }
        Ok(l.finish())
    }
}

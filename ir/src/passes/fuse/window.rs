//! Rows that are kept back: how a stencil is stored over what it reads, in one pass over memory.
//!
//! `x[1:-1] = x[:-2] + x[2:]` reads rows before and after the one that it writes. Memory is cut into blocks, one for each
//! row written, such that every read for row `i` lies in the block of some row `i + k`, with the same `k` for all rows.
//! Then a new row may be stored as soon as the last row that reads its block has been computed: `-k` rows later.

use crate::layout::Layout;

/// The rows that are kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The axis of the update whose indices are rows. Axes before it have one element.
    pub axis: usize,
    /// How many rows before its own a row reads.
    pub back: usize,
    /// How many rows after its own a row reads.
    pub ahead: usize,
}

/// The fewest elements in a row, the most in the rows that are kept back, and the most rows before and after.
const FEWEST: usize = 64;
const MOST: usize = 1 << 16;
const MOST_ROWS: usize = 8;

impl Window {
    /// The window of an update that writes elements like `written` and reads elements like `reads` for each; `None` if
    /// there is none, or none that pays.
    pub fn of(written: &Layout, reads: &[Layout]) -> Option<Window> {
        let axis = written.shape.iter().position(|n| *n > 1)?;
        let stride = written.strides[axis] as i128;
        let all = || std::iter::once(written).chain(reads);
        if stride <= 0 || all().any(|l| l.shape != written.shape || l.strides[axis] as i128 != stride) {
            return None;
        }
        // The first row of each: its lowest and highest element.
        let row = |l: &Layout| {
            let ends = (axis + 1..l.shape.len()).map(|d| l.strides[d] as i128 * (l.shape[d] as i128 - 1));
            ends.fold((l.offset as i128, l.offset as i128), |(low, high), e| (low + e.min(0), high + e.max(0)))
        };
        let rows: Vec<(i128, i128)> = all().map(row).collect();
        let block = |at: i128, start: i128| (at - start).div_euclid(stride);
        let fits = |start: &i128| rows.iter().all(|(low, high)| block(*low, *start) == block(*high, *start));
        let start = rows.iter().map(|(low, _)| *low).find(fits)?;
        let shifts: Vec<i128> = rows.iter().map(|(low, _)| block(*low, start) - block(rows[0].0, start)).collect();
        let back = usize::try_from(shifts.iter().map(|k| -k).max()?.max(0)).ok()?;
        let ahead = usize::try_from(shifts.iter().copied().max()?.max(0)).ok()?;
        let elements: usize = written.shape[axis + 1..].iter().product();
        let pays = elements >= FEWEST
            && back + ahead <= MOST_ROWS
            && (back + 1) * elements <= MOST
            && written.shape[axis] > 2 * (back + ahead);
        pays.then_some(Window { axis, back, ahead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Range;

    fn part(l: &Layout, rows: usize, columns: usize) -> Layout {
        l.slice(&[Range { start: rows, len: 98, step: 1 }, Range { start: columns, len: 98, step: 1 }])
    }

    #[test]
    fn five_points_keep_one_row_back() {
        let grid = Layout::contiguous(&[100, 100]);
        let reads = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)].map(|(i, j)| part(&grid, i, j));
        let window = Some(Window { axis: 0, back: 1, ahead: 1 });
        assert_eq!(Window::of(&part(&grid, 1, 1), &reads), window);
        // The whole grid, turned: columns are rows.
        let turned = grid.permute(&[1, 0]);
        let reads = [(1, 1), (0, 1), (2, 1)].map(|(i, j)| part(&turned, i, j));
        assert_eq!(Window::of(&part(&turned, 1, 1), &reads), None);
    }

    #[test]
    fn a_shift_keeps_rows_back_in_one_direction() {
        let grid = Layout::contiguous(&[100, 100]);
        let rows = |start| grid.slice(&[Range { start, len: 97, step: 1 }, Range::all(100)]);
        assert_eq!(Window::of(&rows(3), &[rows(0)]), Some(Window { axis: 0, back: 3, ahead: 0 }));
        assert_eq!(Window::of(&rows(0), &[rows(3)]), Some(Window { axis: 0, back: 0, ahead: 3 }));
    }

    #[test]
    fn rows_that_lie_in_two_blocks_have_none() {
        let line = Layout::contiguous(&[10_000]);
        // Rows of 100 out of blocks of 100: half a row to the right is in two of them.
        let cut = |start| line.slice(&[Range { start, len: 9_000, step: 1 }]);
        let rows = |l: Layout| Layout {
            shape: [90, 100].as_slice().into(),
            strides: [100, 1].as_slice().into(),
            offset: l.offset,
        };
        assert_eq!(Window::of(&rows(cut(100)), &[rows(cut(50))]), None);
        assert!(Window::of(&rows(cut(100)), &[rows(cut(0))]).is_some());
    }
}

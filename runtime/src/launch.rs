//! Running a kernel on the pool: how its items are split into chunks.
//!
//! A chunk must be worth the handing out, and there should be several for each thread, so that one that is held up does
//! not hold up all. Items are split at multiples of a grain (a vector, a tile, a row block), which the kernel was
//! compiled for; a kernel's results do not depend on the split.

use crate::jit::KernelPtr;
use crate::pool::Pool;
use smallvec::SmallVec;

/// The least work of a chunk, in nanoseconds: some ten times what it takes to hand one out.
const CHUNK_NS: f64 = 5_000.0;

/// Chunks for each thread, if there is work enough.
const CHUNKS_A_THREAD: u64 = 4;

/// The most pieces of a kernel that runs backwards.
const MOST_REVERSED: u64 = 256;

/// How much there is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Items of the kernel's outermost loop.
    pub total: u64,
    /// Chunks begin at multiples of this many items.
    pub grain: u64,
    /// What one item takes on one thread, in nanoseconds, as far as it is known.
    pub item_ns: f64,
}

impl Work {
    /// How many chunks would be worth the handing out.
    #[inline]
    fn worth(&self) -> f64 {
        self.total as f64 * self.item_ns / CHUNK_NS
    }

    /// How many chunks to make for that many threads; 1 for work that is not worth sharing.
    fn chunks(&self, threads: usize) -> u64 {
        if threads <= 1 {
            return 1;
        }
        // A float cast saturates, and takes NaN for zero.
        (self.worth() as u64).min(threads as u64 * CHUNKS_A_THREAD).min(self.grains()).max(1)
    }

    /// The items `begin..end` of a chunk out of `chunks`; the sizes differ by one grain at most.
    fn range(&self, chunk: u64, chunks: u64) -> (u64, u64) {
        let (each, more) = (self.grains() / chunks, self.grains() % chunks);
        let start = |chunk: u64| (chunk * each + chunk.min(more)).saturating_mul(self.grain.max(1)).min(self.total);
        (start(chunk), start(chunk + 1))
    }

    fn grains(&self) -> u64 {
        self.total.div_ceil(self.grain.max(1))
    }
}

/// A kernel to run, with its argument words and how much there is to do.
#[derive(Clone, Copy)]
pub struct Job {
    /// The kernel.
    pub kernel: KernelPtr,
    /// Its argument words.
    pub args: *const u64,
    /// How much there is to do.
    pub work: Work,
}

// SAFETY: kernels only read the words, and whoever launches them answers for what they point to.
unsafe impl Sync for Job {}

impl Job {
    /// Runs some of its items.
    ///
    /// # Safety
    /// As for [`KernelPtr::call`].
    unsafe fn call(&self, begin: u64, end: u64) {
        // SAFETY: the caller's promise.
        unsafe { self.kernel.call(self.args, begin, end) };
    }
}

impl Pool {
    /// Runs the kernel on the items `0..work.total`: on this thread if there is little to do, else in chunks on all.
    ///
    /// # Safety
    /// As for [`KernelPtr::call`] with `0..work.total`. Items of different chunks must not touch the same memory where
    /// one of them writes it.
    pub unsafe fn launch(&self, kernel: KernelPtr, args: *const u64, work: Work) {
        // As a whole, which threads may share; the pointer alone they may not.
        let job = &Job { kernel, args, work };
        if self.is_reversed() {
            let chunks = work.grains().min(MOST_REVERSED);
            for (begin, end) in (0..chunks).rev().map(|chunk| work.range(chunk, chunks)) {
                // SAFETY: the caller's promise; the chunks are apart, and cover all items.
                unsafe { job.call(begin, end) };
            }
            return;
        }
        let chunks = if work.worth() < 2.0 { 1 } else { work.chunks(self.threads()) };
        if chunks <= 1 {
            if work.total > 0 {
                // SAFETY: the caller's promise.
                unsafe { job.call(0, work.total) };
            }
            return;
        }
        self.run(chunks as usize, &|chunk| {
            let (begin, end) = work.range(chunk as u64, chunks);
            // SAFETY: the caller's promise; each item is in one chunk, and each chunk is run once.
            unsafe { job.call(begin, end) };
        });
    }

    /// Runs several kernels, the chunks of all of them shared out together: on this thread if there is little to do in all,
    /// else on all threads.
    ///
    /// # Safety
    /// As for [`Pool::launch`], for each of them; and no two of them may touch the same memory where one writes it.
    pub unsafe fn launch_all(&self, jobs: &[Job]) {
        let worth: f64 = jobs.iter().map(|j| j.work.worth()).sum();
        let alone = self.is_reversed() || self.threads() <= 1 || worth.is_nan() || worth < 2.0;
        if alone || jobs.len() == 1 {
            // SAFETY: the caller's promise.
            jobs.iter().for_each(|j| unsafe { self.launch(j.kernel, j.args, j.work) });
            return;
        }
        // For each job, the chunks of those before it.
        let mut before: SmallVec<[u64; 64]> = SmallVec::with_capacity(jobs.len());
        let mut all = 0;
        for j in jobs {
            before.push(all);
            all += j.work.chunks(self.threads());
        }
        self.run(all as usize, &|chunk| {
            let chunk = chunk as u64;
            let k = before.partition_point(|b| *b <= chunk) - 1;
            let end = before.get(k + 1).copied().unwrap_or(all);
            let (begin, end) = jobs[k].work.range(chunk - before[k], end - before[k]);
            if begin < end {
                // SAFETY: the caller's promise; each item of each job is in one chunk, and each chunk is run once.
                unsafe { jobs[k].call(begin, end) };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_work_stays_together() {
        let work = Work { total: 1000, grain: 8, item_ns: 1.0 };
        assert_eq!(work.chunks(8), 1);
        assert_eq!(Work { total: 10_000, ..work }.chunks(8), 2);
        assert_eq!(Work { total: 1 << 20, ..work }.chunks(8), 32);
        assert_eq!(Work { total: 1 << 20, ..work }.chunks(1), 1);
        assert_eq!(Work { total: 3, grain: 1, item_ns: 1e6 }.chunks(8), 3);
        assert_eq!(Work { item_ns: f64::NAN, ..work }.chunks(8), 1);
    }

    #[test]
    fn chunks_cover_all_items_and_begin_at_grains() {
        for (total, grain, chunks) in [(100, 8, 4), (100, 0, 7), (7, 8, 1), (u64::MAX, 1 << 40, 9), (64, 16, 4)] {
            let work = Work { total, grain, item_ns: 1.0 };
            let mut at = 0;
            for chunk in 0..chunks {
                let (begin, end) = work.range(chunk, chunks);
                assert!(begin == at && end > begin && begin % grain.max(1) == 0, "{work:?} {chunk}");
                at = end;
            }
            assert_eq!(at, total);
        }
    }
}

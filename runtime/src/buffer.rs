//! Memory for results and temporaries: aligned, and recycled.
//!
//! A [`Buffer`] that is dropped goes to a free list of its size class in its [`Allocator`]; the next of that class takes
//! it from there, already paged in. Classes are a quarter of a power of two apart, so at most a fifth of a block is
//! unused. What the lists hold is bounded: beyond the limit the blocks that have lain longest go back to the system.
//! A recycled block holds old values, never uninitialised memory; zeroes are written only if asked for.
//!
//! Of the global allocator, small blocks go to the thread that drops them first (`kept.rs`), without a lock.
//!
//! A buffer has one owner. Sharing, and who may write when, is [`crate::storage`]'s part.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tensorc_ir::Result;
use tensorc_ir::error::err;

use crate::kept;
use crate::system::{self, ALIGN, Guarded};

/// No buffer is larger: 128 TiB is what a process can address.
const MAX_BYTES: usize = 1 << 47;

/// Classes in a doubling of size.
const STEPS: usize = 4;

/// How an [`Allocator`] works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many bytes the free lists hold at most. Besides, if it is that much, each thread keeps 1 MiB at most for itself.
    pub limit: usize,
    /// For tests: each buffer starts at a multiple of this (a power of two, at most 4096) and ends at a page that must
    /// not be touched, is filled with ones unless zeroes are asked for, and is not recycled, so that a kernel that
    /// reads or writes outside its buffer faults there and then. Ignored where the system has no such pages.
    pub guard: Option<usize>,
}

impl Default for Options {
    fn default() -> Options {
        Options { limit: 1 << 30, guard: None }
    }
}

/// What an [`Allocator`] has done. Bytes count whole blocks; those that threads keep for themselves count as alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes in buffers that are alive.
    pub live: usize,
    /// Bytes in the free lists.
    pub cached: usize,
    /// Buffers whose memory came from the system.
    pub fresh: u64,
    /// Buffers whose memory came from a free list.
    pub reused: u64,
}

/// Gives out buffers and recycles them. A handle: clones share the free lists.
#[derive(Clone)]
pub struct Allocator(Arc<Shared>);

struct Shared {
    options: Options,
    /// Whether threads keep blocks for themselves. Only those of the global allocator can: it is there when they end.
    keeps: bool,
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    /// By class; each list from the block that has lain longest to the latest, with the time it came.
    classes: Vec<VecDeque<(u64, Block)>>,
    /// Counts blocks that came back.
    clock: u64,
    stats: Stats,
}

/// A block of `capacity(class)` bytes from [`system::allocate`].
pub(crate) struct Block {
    start: NonNull<u8>,
    class: usize,
}

// SAFETY: a block is memory with one owner and no ties to a thread.
unsafe impl Send for Block {}

static GLOBAL: OnceLock<Allocator> = OnceLock::new();

impl Allocator {
    /// An allocator with free lists of its own.
    pub fn new(options: Options) -> Allocator {
        Allocator(Arc::new(Shared { options, keeps: false, lists: Mutex::default() }))
    }

    fn for_all(options: Options) -> Allocator {
        let keeps = options.guard.is_none() && options.limit >= kept::MOST_BYTES;
        Allocator(Arc::new(Shared { options, keeps, lists: Mutex::default() }))
    }

    /// The allocator that everything uses which is not given another.
    pub fn global() -> &'static Allocator {
        GLOBAL.get_or_init(|| Allocator::for_all(Options::default()))
    }

    /// Sets how [`Allocator::global`] works. To be called before anything is allocated.
    ///
    /// # Errors
    /// `unsupported` if the global allocator is in use.
    pub fn set_global(options: Options) -> Result<()> {
        let set = GLOBAL.set(Allocator::for_all(options));
        set.map_err(|_| err::unsupported("the allocator is in use, too late to set its options"))
    }

    /// `bytes` bytes with any values.
    ///
    /// # Errors
    /// `unsupported` if there is not so much memory.
    pub fn alloc(&self, bytes: usize) -> Result<Buffer> {
        self.take(bytes).map(|(buffer, _)| buffer).ok_or_else(|| no_memory(bytes))
    }

    /// `bytes` zeroes.
    ///
    /// # Errors
    /// As [`Allocator::alloc`].
    pub fn alloc_zeroed(&self, bytes: usize) -> Result<Buffer> {
        let (mut buffer, zero) = self.take(bytes).ok_or_else(|| no_memory(bytes))?;
        if !zero {
            buffer.as_mut_slice().fill(0);
        }
        Ok(buffer)
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.lists().stats
    }

    /// Gives all memory of the free lists back to the system.
    pub fn trim(&self) {
        let mut lists = self.lists();
        let old = std::mem::take(&mut lists.classes);
        lists.stats.cached = 0;
        drop(lists);
        for (_, block) in old.into_iter().flatten() {
            block.free();
        }
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Nothing panics while it is held, and the lists are consistent between any two steps.
        self.0.lists.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A buffer, and whether it is known to be zero.
    fn take(&self, len: usize) -> Option<(Buffer, bool)> {
        if len > MAX_BYTES {
            return None;
        }
        let guard = self.0.options.guard.map(|align| align.clamp(1, 4096).next_power_of_two());
        if let Some(guarded) = guard.and_then(|align| Guarded::allocate(len, align)) {
            let mut lists = self.lists();
            lists.stats.fresh += 1;
            lists.stats.live += len;
            let memory = Memory::Guarded(guarded);
            return Some((Buffer { memory, len, allocator: Some(self.clone()) }, false));
        }
        let class = class(len);
        if self.0.keeps
            && let Some(block) = kept::take(class)
        {
            return Some((Buffer { memory: Memory::Block(block), len, allocator: None }, false));
        }
        let allocator = || (!self.0.keeps).then(|| self.clone());
        let mut lists = self.lists();
        lists.stats.live += capacity(class);
        let old = lists.classes.get_mut(class).and_then(|list| list.pop_back());
        if let Some((_, block)) = old {
            lists.stats.reused += 1;
            lists.stats.cached -= capacity(class);
            drop(lists);
            return Some((Buffer { memory: Memory::Block(block), len, allocator: allocator() }, false));
        }
        drop(lists);
        let start = system::allocate(capacity(class)).or_else(|| {
            // What lies in other classes may be what is missing.
            self.trim();
            system::allocate(capacity(class))
        });
        let mut lists = self.lists();
        let Some(start) = start else {
            lists.stats.live -= capacity(class);
            return None;
        };
        lists.stats.fresh += 1;
        drop(lists);
        let memory = Memory::Block(Block { start, class });
        Some((Buffer { memory, len, allocator: allocator() }, true))
    }

    fn give_back(&self, block: Block) {
        let block = if self.0.keeps { kept::put(block) } else { Some(block) };
        if let Some(block) = block {
            self.share(block);
        }
    }

    /// Puts a block into the free lists.
    pub(crate) fn share(&self, block: Block) {
        let size = capacity(block.class);
        let mut lists = self.lists();
        lists.stats.live -= size;
        if size > self.0.options.limit {
            drop(lists);
            return block.free();
        }
        lists.stats.cached += size;
        lists.clock += 1;
        let (now, class) = (lists.clock, block.class);
        if lists.classes.len() <= class {
            lists.classes.resize_with(class + 1, VecDeque::new);
        }
        lists.classes[class].push_back((now, block));
        if lists.stats.cached <= self.0.options.limit {
            return;
        }
        let evicted = lists.evict(self.0.options.limit);
        drop(lists);
        evicted.into_iter().for_each(Block::free);
    }
}

impl Lists {
    /// Takes the oldest blocks out until at most `limit` bytes are left.
    fn evict(&mut self, limit: usize) -> Vec<Block> {
        let mut evicted = Vec::new();
        while self.stats.cached > limit {
            let age = |list: &VecDeque<(u64, Block)>| list.front().map_or(u64::MAX, |(time, _)| *time);
            let oldest = self.classes.iter_mut().min_by_key(|list| age(list)).and_then(VecDeque::pop_front);
            let Some((_, block)) = oldest else { break };
            self.stats.cached -= capacity(block.class);
            evicted.push(block);
        }
        evicted
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let lists = self.lists.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        for (_, block) in std::mem::take(&mut lists.classes).into_iter().flatten() {
            block.free();
        }
    }
}

impl Block {
    pub(crate) fn class(&self) -> usize {
        self.class
    }

    fn free(self) {
        // SAFETY: the block came from `system::allocate` with this capacity, and this was its owner.
        unsafe { system::free(self.start, capacity(self.class)) }
    }
}

/// The smallest class whose blocks hold `bytes`, which is at most [`MAX_BYTES`].
fn class(bytes: usize) -> usize {
    let units = bytes.div_ceil(ALIGN).max(1);
    if units <= STEPS {
        return units - 1;
    }
    // With `units - 1` between 2^e and 2^(e+1): the next of the four steps in between.
    let shift = (units - 1).ilog2() as usize - 2;
    STEPS * (shift + 1) + ((units - 1) >> shift) - STEPS
}

/// The size of the blocks of a class in bytes.
pub(crate) fn capacity(class: usize) -> usize {
    match class / STEPS {
        0 => (class + 1) * ALIGN,
        shift => ((class % STEPS + STEPS + 1) << (shift - 1)) * ALIGN,
    }
}

fn no_memory(bytes: usize) -> tensorc_ir::Error {
    err::unsupported(format!("there is no memory for a buffer of {bytes} bytes"))
}

/// Owned memory of fixed length, at a multiple of 64 bytes (but see [`Options::guard`]). Recycled when dropped.
pub struct Buffer {
    memory: Memory,
    len: usize,
    /// Without one, the global allocator.
    allocator: Option<Allocator>,
}

enum Memory {
    Block(Block),
    Guarded(Guarded),
    /// Only while it is dropped.
    None,
}

// SAFETY: the memory has one owner and no ties to a thread; through a shared buffer safe code only reads.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// The length in bytes, as asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the length is zero.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it starts. Never null; valid for [`Buffer::len`] bytes while the buffer lives.
    pub fn as_ptr(&self) -> *mut u8 {
        match &self.memory {
            Memory::Block(block) => block.start.as_ptr(),
            Memory::Guarded(guarded) => guarded.start.as_ptr(),
            Memory::None => NonNull::dangling().as_ptr(),
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes of this owner's; whoever writes through `as_ptr` answers for references.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len) }
    }

    /// The bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and this borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let allocator = self.allocator.as_ref().unwrap_or_else(|| Allocator::global());
        match std::mem::replace(&mut self.memory, Memory::None) {
            Memory::Block(block) => allocator.give_back(block),
            Memory::Guarded(guarded) => {
                allocator.lists().stats.live -= self.len;
                drop(guarded);
            }
            Memory::None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator(limit: usize) -> Allocator {
        Allocator::new(Options { limit, guard: None })
    }

    #[test]
    fn classes_cover_every_size_with_little_waste() {
        let mut last = 0;
        for class_index in 0..120 {
            let size = capacity(class_index);
            assert!(size > last && size.is_multiple_of(ALIGN));
            assert_eq!(class(size), class_index);
            assert_eq!(class(last + 1), class_index, "one more than {last}");
            assert!(last < 4 * ALIGN || size - last <= size / 5, "{last} {size}");
            assert!(size < system::LARGE || size.is_multiple_of(4096));
            last = size;
        }
        assert_eq!(class(0), 0);
        assert!(capacity(class(MAX_BYTES)) <= MAX_BYTES);
    }

    #[test]
    fn a_dropped_buffer_is_the_next_one() {
        let a = allocator(1 << 20);
        let first = a.alloc(1000).unwrap();
        let address = first.as_ptr();
        assert_eq!(address.addr() % 64, 0);
        assert_eq!(first.len(), 1000);
        drop(first);
        assert_eq!(a.stats(), Stats { live: 0, cached: 1024, fresh: 1, reused: 0 });
        let second = a.alloc(1001).unwrap();
        assert_eq!(second.as_ptr(), address);
        assert_eq!(a.stats(), Stats { live: 1024, cached: 0, fresh: 1, reused: 1 });
        // Another class, so another block.
        assert_ne!(a.alloc(2000).unwrap().as_ptr(), address);
    }

    #[test]
    fn zeroes_only_if_asked_for() {
        let a = allocator(1 << 24);
        for bytes in [100, 3 << 20] {
            let mut first = a.alloc_zeroed(bytes).unwrap();
            assert!(first.as_slice().iter().all(|&b| b == 0));
            first.as_mut_slice().fill(7);
            drop(first);
            assert!(a.alloc(bytes).unwrap().as_slice().iter().all(|&b| b == 7));
            assert!(a.alloc_zeroed(bytes).unwrap().as_slice().iter().all(|&b| b == 0));
        }
    }

    #[test]
    fn beyond_the_limit_the_oldest_go() {
        let a = allocator(3000);
        let [x, y, z] = [0; 3].map(|_| a.alloc(1024).unwrap());
        let (first, others) = (x.as_ptr(), [y.as_ptr(), z.as_ptr()]);
        drop((x, y));
        assert_eq!(a.stats().cached, 2048);
        drop(z);
        assert_eq!(a.stats().cached, 2048, "three do not fit");
        let kept = [0; 2].map(|_| a.alloc(1024).unwrap());
        assert!(kept.iter().all(|b| others.contains(&b.as_ptr()) && b.as_ptr() != first));
        // Another size needs the room of these.
        drop(kept);
        drop(a.alloc(2560).unwrap());
        assert_eq!(a.stats().cached, 2560);
        // And one that never fits is not kept at all.
        drop(a.alloc(1 << 20).unwrap());
        assert_eq!(a.stats(), Stats { live: 0, cached: 2560, fresh: 5, reused: 2 });
        a.trim();
        assert_eq!(a.stats().cached, 0);
    }

    #[test]
    fn too_much_is_an_error() {
        let a = allocator(0);
        assert!(a.alloc(usize::MAX).is_err());
        assert!(a.alloc(MAX_BYTES).is_err());
        assert_eq!(a.stats().live, 0);
        assert!(a.alloc(0).unwrap().is_empty());
    }

    #[test]
    fn threads_share_the_lists() {
        let a = allocator(1 << 20);
        std::thread::scope(|s| {
            for t in 0..4u8 {
                let a = &a;
                s.spawn(move || {
                    for i in 0..200 {
                        let mut b = a.alloc(64 << (i % 5)).unwrap();
                        b.as_mut_slice().fill(t);
                        assert!(b.as_slice().iter().all(|&x| x == t));
                    }
                });
            }
        });
        let stats = a.stats();
        assert_eq!((stats.live, stats.fresh + stats.reused), (0, 800));
        assert!(stats.fresh <= 4 * 5);
    }

    #[cfg(all(unix, not(miri)))]
    #[test]
    fn in_tests_a_buffer_ends_at_a_guard_page() {
        let a = Allocator::new(Options { guard: Some(1), ..Options::default() });
        let b = a.alloc(100).unwrap();
        assert_eq!((b.as_ptr().addr() + 100) % 4096, 0);
        assert!(b.as_slice().iter().all(|&x| x == 0xff));
        assert!(a.alloc_zeroed(100).unwrap().as_slice().iter().all(|&x| x == 0));
        drop(b);
        assert_eq!(a.stats(), Stats { live: 0, cached: 0, fresh: 2, reused: 0 });
    }
}

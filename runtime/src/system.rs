//! Blocks of memory from the operating system, and back.
//!
//! Touching a fresh page costs more than computing with it, and a page of 2 MiB costs a fifth of the small pages it
//! stands for; so on Linux large blocks are mapped at a multiple of 2 MiB and marked for huge pages. Elsewhere, and for
//! small blocks, the process's allocator serves. Every block is zero when it comes, so that all memory that is ever
//! handed out has been initialised. Nothing is recycled here: that is [`crate::buffer`]'s part.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::OnceLock;

/// The alignment of a block in bytes: a cache line, and the widest vector.
pub(crate) const ALIGN: usize = 64;

/// Blocks of this size and more are mapped, at a multiple of it: the size of a huge page on x86-64 and aarch64.
pub(crate) const LARGE: usize = 2 << 20;

// Miri knows no `madvise`.
const MAPPED: bool = cfg!(all(target_os = "linux", not(miri)));

/// `capacity` zero bytes, or `None` if there are none. `capacity` is at least 1 and, from [`LARGE`] on, a multiple of
/// the page size.
pub(crate) fn allocate(capacity: usize) -> Option<NonNull<u8>> {
    if MAPPED && capacity >= LARGE {
        return map_large(capacity);
    }
    let layout = Layout::from_size_align(capacity, ALIGN).ok().filter(|l| l.size() > 0)?;
    // SAFETY: the layout is not empty.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })
}

/// Gives a block back.
///
/// # Safety
/// `start` is what [`allocate`] gave for this `capacity`, and the block is not used again.
pub(crate) unsafe fn free(start: NonNull<u8>, capacity: usize) {
    if MAPPED && capacity >= LARGE {
        // SAFETY: the whole mapping, by the caller's promise.
        unsafe { unmap(start, capacity) };
    } else if let Ok(layout) = Layout::from_size_align(capacity, ALIGN) {
        // SAFETY: the layout is the one it was allocated with, by the caller's promise.
        unsafe { std::alloc::dealloc(start.as_ptr(), layout) };
    }
}

/// The bytes of the largest cache, as far as the system tells.
pub(crate) fn last_level_cache() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let size = |level: u32| {
            let text = std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{level}/size")).ok()?;
            let kilobytes: usize = text.trim().strip_suffix('K')?.parse().ok()?;
            Some(kilobytes << 10)
        };
        (0..5).filter_map(size).max().unwrap_or(32 << 20)
    })
}

fn map_large(capacity: usize) -> Option<NonNull<u8>> {
    // The system aligns to small pages only: map more, and cut both ends off.
    let start = map(capacity.checked_add(LARGE)?)?;
    let head = start.as_ptr().align_offset(LARGE);
    // SAFETY: `head < LARGE`, so the block and the tail behind it lie inside the mapping; both are whole pages that
    // nobody uses.
    unsafe {
        let block = start.add(head);
        if head > 0 {
            unmap(start, head);
        }
        unmap(block.add(capacity), LARGE - head);
        // Advice may be refused (no huge pages in this kernel): the memory is as good, only slower to touch.
        #[cfg(target_os = "linux")]
        libc::madvise(block.as_ptr().cast(), capacity, libc::MADV_HUGEPAGE);
        Some(block)
    }
}

/// Bytes that end where a page begins that must not be touched, and begin a little behind another one.
pub(crate) struct Guarded {
    /// The first byte handed out.
    pub(crate) start: NonNull<u8>,
    base: NonNull<u8>,
    mapped: usize,
    page: usize,
}

/// What fills the bytes between the first guard page and the start.
const CANARY: u8 = 0xa5;

impl Guarded {
    /// `len` bytes, of no particular value, that end at a guard page, or fewer than `align` bytes before it so that
    /// the start is a multiple of `align` (a power of two, at most the page size). `None` where the system has no guard
    /// pages or no memory.
    pub(crate) fn allocate(len: usize, align: usize) -> Option<Guarded> {
        let page = page_size()?;
        let data = len.checked_next_multiple_of(page)?;
        let mapped = data.checked_add(page.checked_mul(2)?)?;
        let base = map(mapped)?;
        let offset = (page + data - len) & !(align - 1);
        // SAFETY: `offset + len <= page + data`, inside the mapping; the first and last page are whole pages of it.
        unsafe {
            let start = base.add(offset);
            // Memory that a kernel forgets to write is NaN in every float type.
            base.add(page).write_bytes(0xff, data);
            base.add(page).write_bytes(CANARY, offset - page.min(offset));
            let guarded = Guarded { start, base, mapped, page };
            (protect(base, page) && protect(base.add(page + data), page)).then_some(guarded)
        }
    }

    /// Whether something wrote to the bytes before the start.
    fn underrun(&self) -> bool {
        // SAFETY: from the end of the first guard page to the start lie initialised bytes of this mapping.
        let front = unsafe {
            let first = self.base.add(self.page);
            std::slice::from_raw_parts(first.as_ptr(), self.start.addr().get().saturating_sub(first.addr().get()))
        };
        front.iter().any(|&byte| byte != CANARY)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let underrun = self.underrun();
        // SAFETY: the whole mapping; its owner is going.
        unsafe { unmap(self.base, self.mapped) };
        assert!(!underrun || std::thread::panicking(), "a buffer was written before its start");
    }
}

#[cfg(all(unix, not(miri)))]
mod os {
    use std::ptr::NonNull;

    pub(super) fn page_size() -> Option<usize> {
        // SAFETY: no arguments in memory.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size).ok().filter(|s| s.is_power_of_two())
    }

    pub(super) fn map(len: usize) -> Option<NonNull<u8>> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new private mapping at an address of the system's choice touches no other memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_PRIVATE | libc::MAP_ANON, -1, 0) };
        (start != libc::MAP_FAILED).then(|| NonNull::new(start.cast())).flatten()
    }

    /// # Safety
    /// Whole pages of a mapping of [`map`], not used again.
    pub(super) unsafe fn unmap(start: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise. It can fail only for want of memory to split a mapping: then the pages leak.
        unsafe { libc::munmap(start.as_ptr().cast(), len) };
    }

    /// Makes every access to those pages a fault; whether that worked.
    ///
    /// # Safety
    /// Whole pages of a mapping of [`map`], to which no reference exists.
    pub(super) unsafe fn protect(start: NonNull<u8>, len: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { libc::mprotect(start.as_ptr().cast(), len, libc::PROT_NONE) == 0 }
    }
}

/// Where there are no mappings: nothing is large, nothing is guarded.
#[cfg(not(all(unix, not(miri))))]
mod os {
    use std::ptr::NonNull;

    pub(super) fn page_size() -> Option<usize> {
        None
    }

    pub(super) fn map(_: usize) -> Option<NonNull<u8>> {
        None
    }

    pub(super) unsafe fn unmap(_: NonNull<u8>, _: usize) {}

    pub(super) unsafe fn protect(_: NonNull<u8>, _: usize) -> bool {
        false
    }
}

use os::{map, page_size, protect, unmap};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blocks_are_zero_and_aligned_to_huge_pages() {
        let capacity = LARGE + LARGE / 4;
        let block = allocate(capacity).unwrap();
        assert_eq!(block.as_ptr().addr() % if MAPPED { LARGE } else { ALIGN }, 0);
        // SAFETY: the block is `capacity` initialised bytes, and freed once.
        unsafe {
            assert_eq!(block.add(capacity - 1).read(), 0);
            block.add(capacity - 1).write(1);
            free(block, capacity);
        }
        assert!(allocate(1 << 62).is_none());
    }

    /// Whether there is a byte: the system, asked to copy it, says so where reading it here would be a crash.
    #[cfg(all(unix, not(miri)))]
    fn readable(byte: *const u8) -> bool {
        let mut pipe = [0; 2];
        // SAFETY: two new descriptors, closed once; `write` answers a bad address with an error.
        unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            let written = libc::write(pipe[1], byte.cast(), 1);
            for end in pipe {
                libc::close(end);
            }
            written == 1
        }
    }

    #[cfg(all(unix, not(miri)))]
    #[test]
    fn a_guarded_block_ends_at_the_page_and_notices_writes_before_it() {
        let block = Guarded::allocate(100, 4).unwrap();
        let end = block.start.addr().get() + 100;
        assert_eq!(end % page_size().unwrap(), 0);
        // SAFETY: 100 bytes from the start are the block's; the byte before it belongs to the mapping.
        unsafe {
            assert_eq!(block.start.read(), 0xff);
            block.start.sub(1).write(0);
        }
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(block)));
        assert!(panic.is_err());

        let block = Guarded::allocate(100, 64).unwrap();
        assert!(readable(block.start.as_ptr()));
        assert!(!readable(block.start.as_ptr().wrapping_add(128)), "the page after it");
        assert!(!readable(block.base.as_ptr().wrapping_add(block.page - 1)), "the page before it");
        assert_eq!(block.start.addr().get() % 64, 0);
        drop(Guarded::allocate(0, 64).unwrap());
        drop(Guarded::allocate(1 << 20, 1).unwrap());
    }
}

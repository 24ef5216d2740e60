//! Small blocks that a thread keeps for itself: what it has dropped it takes again, and asks nobody.
//!
//! The free lists of the global allocator are behind a lock, which two threads that call small programs would pass to and
//! fro. So a block of up to 64 KiB goes to a few of its class that belong to the thread that drops it; only when these are
//! full, or there are none, are the shared lists asked. What a thread keeps is bounded, and goes to the shared lists when
//! the thread ends.

use crate::buffer::{Allocator, Block, capacity};
use std::cell::RefCell;

/// The classes of blocks that are kept: those of at most 64 KiB.
const CLASSES: usize = 36;

/// The most blocks of one class.
const MOST_OF_A_CLASS: usize = 8;

/// The most bytes that a thread keeps.
pub(crate) const MOST_BYTES: usize = 1 << 20;

struct Kept {
    classes: [Class; CLASSES],
    bytes: usize,
}

/// Some blocks, the latest last.
struct Class {
    blocks: [Option<Block>; MOST_OF_A_CLASS],
    count: usize,
}

thread_local! {
    static KEPT: RefCell<Kept> = const {
        RefCell::new(Kept {
            classes: [const { Class { blocks: [const { None }; MOST_OF_A_CLASS], count: 0 } }; CLASSES],
            bytes: 0,
        })
    };
}

/// A block of that class, if this thread keeps one.
pub(crate) fn take(class: usize) -> Option<Block> {
    if class >= CLASSES {
        return None;
    }
    // None when the thread is ending.
    let taken = KEPT.try_with(|kept| {
        let mut kept = kept.try_borrow_mut().ok()?;
        let of_class = kept.classes.get_mut(class)?;
        let last = of_class.count.checked_sub(1)?;
        let block = of_class.blocks.get_mut(last)?.take();
        of_class.count = last;
        kept.bytes -= capacity(class);
        block
    });
    taken.ok().flatten()
}

/// Keeps a block, or gives it back if it is too large or there are enough.
pub(crate) fn put(block: Block) -> Option<Block> {
    let class = block.class();
    if class >= CLASSES {
        return Some(block);
    }
    let mut block = Some(block);
    let _ = KEPT.try_with(|kept| {
        let Ok(mut kept) = kept.try_borrow_mut() else { return };
        let bytes = kept.bytes + capacity(class);
        let Some(of_class) = kept.classes.get_mut(class) else { return };
        if bytes > MOST_BYTES {
            return;
        }
        let count = of_class.count;
        if let Some(free) = of_class.blocks.get_mut(count) {
            *free = block.take();
            of_class.count = count + 1;
            kept.bytes = bytes;
        }
    });
    block
}

impl Drop for Kept {
    fn drop(&mut self) {
        for block in self.classes.iter_mut().flat_map(|c| &mut c.blocks).filter_map(Option::take) {
            Allocator::global().share(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_what_it_dropped_and_gives_it_up_when_it_ends() {
        // A class that no other test of this process uses.
        let bytes = 57_000;
        let ended = std::thread::spawn(move || {
            let first = Allocator::global().alloc(bytes).unwrap();
            let address = first.as_ptr().addr();
            drop(first);
            let second = Allocator::global().alloc(bytes - 1).unwrap();
            assert_eq!(second.as_ptr().addr(), address);
            address
        });
        let address = ended.join().unwrap();
        assert_eq!(Allocator::global().alloc(bytes).unwrap().as_ptr().addr(), address);
    }

    #[test]
    fn so_many_and_so_large_only() {
        let (large, small) = (1 << 20, 40_000);
        std::thread::spawn(move || {
            let all: Vec<_> = (0..40).map(|_| Allocator::global().alloc(small).unwrap()).collect();
            drop(all);
            drop(Allocator::global().alloc(large).unwrap());
            let (count, bytes) = KEPT.with_borrow(|k| (k.classes.iter().map(|c| c.count).sum::<usize>(), k.bytes));
            assert!(count == MOST_OF_A_CLASS && bytes <= MOST_BYTES, "{count} {bytes}");
        })
        .join()
        .unwrap();
    }
}

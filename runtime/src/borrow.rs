//! The borrow word: many readers or one writer, taken without waiting.
//!
//! A call that finds a storage in use the other way must fail and say by what, not wait: waiting would hide a program
//! that shares memory by mistake, and could deadlock. So the word is one atomic count, and beside it lies the place of
//! the first of the uses that hold it now. That place is for messages only: it is written after the word is taken, so
//! another thread may in that moment see the previous one.

use std::panic::Location;

use tensorc_ir::Loc;

use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// The word's value while there is a writer; below [`DONATED`] it is the number of readers.
const WRITER: u32 = u32::MAX;
/// The word's value when the memory is gone.
const REVOKED: u32 = u32::MAX - 1;
/// The word's value when the memory has gone to another handle.
const DONATED: u32 = u32::MAX - 2;

/// What a use does with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Reads only. Any number of these at a time.
    Read,
    /// Reads and writes. Alone.
    Write,
}

/// Why a word could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// Someone uses it: how, and since where.
    Held(Access, Loc),
    /// The memory was lent, by the scope at that place, and is gone.
    Revoked(Loc),
    /// The memory was given away, at that place.
    Donated(Loc),
}

/// See the module's description.
pub(crate) struct BorrowWord {
    word: AtomicU32,
    place: Place,
}

impl BorrowWord {
    /// A word that nobody holds.
    pub(crate) fn new() -> BorrowWord {
        BorrowWord { word: AtomicU32::new(0), place: Place::new() }
    }

    /// Takes the word for that access. It must then be released for the same.
    pub(crate) fn acquire(&self, access: Access, loc: Loc) -> Result<(), Conflict> {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            let next = match access {
                // One below `DONATED` is never reached by counting: the readers would not fit into memory.
                Access::Read if seen < DONATED - 1 => seen + 1,
                Access::Write if seen == 0 => WRITER,
                _ => return Err(self.conflict(seen)),
            };
            // Acquire: what the last writer (or, for a writer, the last readers) did is before what we do.
            match self.word.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        if seen == 0 {
            self.place.set(loc);
        }
        Ok(())
    }

    /// Gives back what [`BorrowWord::acquire`] took.
    pub(crate) fn release(&self, access: Access) {
        match access {
            Access::Read => drop(self.word.fetch_sub(1, Ordering::Release)),
            Access::Write => self.word.store(0, Ordering::Release),
        }
    }

    /// Ends all use for good, unless someone holds the word at this moment: whether that worked. `loc` is the place
    /// that later conflicts name.
    pub(crate) fn revoke(&self, loc: Loc) -> bool {
        let revoked = self.word.compare_exchange(0, REVOKED, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if revoked {
            self.place.set(loc);
        }
        revoked
    }

    /// Ends all use for good, by who holds the word to write. `loc` is the place that later conflicts name.
    pub(crate) fn donate(&self, loc: Loc) {
        self.place.set(loc);
        self.word.store(DONATED, Ordering::Release);
    }

    fn conflict(&self, seen: u32) -> Conflict {
        let first = self.place.get();
        match seen {
            WRITER => Conflict::Held(Access::Write, first),
            REVOKED => Conflict::Revoked(first),
            DONATED => Conflict::Donated(first),
            _ => Conflict::Held(Access::Read, first),
        }
    }
}

/// A [`Loc`] that can be written and read at the same time. What is read was written, but not always last.
pub(crate) struct Place {
    /// The line of Rust, or null.
    rust: AtomicPtr<Location<'static>>,
    /// The bytes of text, start in the high half; [`NO_TEXT`] for none. Means something only if `rust` is null.
    text: AtomicU64,
}

/// No text ends before it starts.
const NO_TEXT: u64 = 1 << 32;

impl Place {
    pub(crate) fn new() -> Place {
        Place { rust: AtomicPtr::new(std::ptr::null_mut()), text: AtomicU64::new(NO_TEXT) }
    }

    pub(crate) fn set(&self, loc: Loc) {
        let (rust, text) = match loc {
            Loc::Rust(location) => (std::ptr::from_ref(location).cast_mut(), NO_TEXT),
            Loc::Text { start, end } => (std::ptr::null_mut(), u64::from(start) << 32 | u64::from(end)),
            Loc::Unknown => (std::ptr::null_mut(), NO_TEXT),
        };
        // Relaxed: nothing is read through these but what lives for ever.
        self.text.store(text, Ordering::Relaxed);
        self.rust.store(rust, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Loc {
        let rust = self.rust.load(Ordering::Relaxed);
        // SAFETY: null, or made from a `&'static Location` in `set`; nobody writes through it.
        if let Some(location) = unsafe { rust.as_ref() } {
            return Loc::Rust(location);
        }
        match self.text.load(Ordering::Relaxed) {
            NO_TEXT => Loc::Unknown,
            text => Loc::Text { start: (text >> 32) as u32, end: text as u32 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_readers_or_one_writer() {
        let (word, here, there) = (BorrowWord::new(), Loc::caller(), Loc::text(3..9));
        word.acquire(Access::Read, here).unwrap();
        word.acquire(Access::Read, there).unwrap();
        assert_eq!(word.acquire(Access::Write, there), Err(Conflict::Held(Access::Read, here)));
        word.release(Access::Read);
        assert!(word.acquire(Access::Write, there).is_err());
        word.release(Access::Read);
        word.acquire(Access::Write, there).unwrap();
        assert_eq!(word.acquire(Access::Read, here), Err(Conflict::Held(Access::Write, there)));
        assert_eq!(word.acquire(Access::Write, here), Err(Conflict::Held(Access::Write, there)));
        assert!(!word.revoke(here));
        word.release(Access::Write);
        assert!(word.revoke(here));
        assert_eq!(word.acquire(Access::Read, there), Err(Conflict::Revoked(here)));
        assert_eq!(word.acquire(Access::Write, there), Err(Conflict::Revoked(here)));
        let given = BorrowWord::new();
        given.acquire(Access::Write, here).unwrap();
        given.donate(there);
        assert_eq!(given.acquire(Access::Read, here), Err(Conflict::Donated(there)));
        assert!(!given.revoke(here));
    }

    #[test]
    fn places_come_back_as_they_were() {
        let place = Place::new();
        for loc in [Loc::Unknown, Loc::caller(), Loc::text(0..0), Loc::text(7..1 << 31), Loc::Unknown] {
            place.set(loc);
            assert_eq!(place.get(), loc);
        }
    }
}

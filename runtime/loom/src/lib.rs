//! The runtime's lock-free files, compiled as they are against loom's atomics and threads instead of `std`'s.
//!
//! The models that drive them are in `tests/`. This crate may not contain any of the code under test: only what the
//! files find under the name `crate::sync`.

#[path = "../../src/borrow.rs"]
mod borrow;
#[path = "../../src/pool.rs"]
mod pool;
mod sync;

pub use borrow::Access;
use borrow::BorrowWord;
pub use pool::Pool;
use tensorc_ir::Loc;

/// A borrow word that the models can reach.
pub struct Word(BorrowWord);

impl Default for Word {
    fn default() -> Word {
        Word(BorrowWord::new())
    }
}

impl Word {
    /// Whether the word could be taken.
    pub fn acquire(&self, access: Access, loc: Loc) -> bool {
        self.0.acquire(access, loc).is_ok()
    }

    /// Gives it back.
    pub fn release(&self, access: Access) {
        self.0.release(access);
    }

    /// Whether it could be revoked.
    pub fn revoke(&self) -> bool {
        self.0.revoke(Loc::Unknown)
    }
}

/// A pool whose threads sleep at once, without spinning.
pub fn pool(threads: usize) -> Pool {
    Pool::with_spins(threads, 0)
}

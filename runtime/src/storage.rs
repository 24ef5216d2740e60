//! Storage: memory that several handles share, each use announced in its borrow word.
//!
//! Every access goes through a guard that holds the word: [`ReadGuard`] and [`WriteGuard`] for one storage,
//! [`Borrows`] for all arguments of a call. Taking a word never waits; if the memory is in use the other way the answer
//! is an error that names both uses.
//!
//! Memory that is not ours enters for a scope ([`crate::lend`]), after which its storage is revoked, or with an owner that
//! keeps it alive. Between its elements may lie bytes that belong to others; such memory is not *whole*: it is reached
//! by the layout of its elements only ([`crate::elements`], kernels), never as a slice of bytes.

use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use crate::sync::{AtomicU64, Ordering};
use smallvec::SmallVec;
use tensorc_ir::error::err;
use tensorc_ir::{Error, Loc, Result};

use crate::borrow::{BorrowWord, Conflict, Place};
use crate::buffer::{Allocator, Buffer};
use crate::plain::{Native, Plain, bytes_of, values_of, values_of_mut};

pub use crate::borrow::Access;
pub use crate::lend::{with_borrowed, with_borrowed_ref};

/// A handle on shared memory of fixed length. `clone` makes another handle on the same memory.
#[derive(Clone)]
pub struct Storage(Arc<Shared>);

struct Shared {
    word: BorrowWord,
    /// How often it was written, and where last.
    version: AtomicU64,
    written: Place,
    start: NonNull<u8>,
    len: usize,
    writable: bool,
    whole: bool,
    /// Behind a lock, since it leaves when the memory is given to another handle.
    owner: Mutex<Owner>,
}

/// What keeps the memory alive; here only to be dropped.
#[expect(dead_code, reason = "the fields are never read")]
pub(crate) enum Owner {
    Buffer(Buffer),
    Foreign(Box<dyn Any + Send + Sync>),
    Scope,
    /// Another handle.
    Given,
}

// SAFETY: the memory is reached only under the borrow word, which gives readers or one writer; nothing else here is
// tied to a thread.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Storage {
    /// `bytes` bytes with any values, from the global allocator.
    ///
    /// # Errors
    /// `unsupported` if there is not so much memory.
    pub fn alloc(bytes: usize) -> Result<Storage> {
        Allocator::global().alloc(bytes).map(Storage::from)
    }

    /// `bytes` zeroes, from the global allocator.
    ///
    /// # Errors
    /// As [`Storage::alloc`].
    pub fn alloc_zeroed(bytes: usize) -> Result<Storage> {
        Allocator::global().alloc_zeroed(bytes).map(Storage::from)
    }

    /// A copy of those bytes.
    ///
    /// # Errors
    /// As [`Storage::alloc`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Storage> {
        let mut buffer = Allocator::global().alloc(bytes.len())?;
        buffer.as_mut_slice().copy_from_slice(bytes);
        Ok(Storage::from(buffer))
    }

    /// A copy of those values.
    ///
    /// # Errors
    /// As [`Storage::alloc`].
    pub fn from_slice<T: Native>(values: &[T]) -> Result<Storage> {
        Storage::from_bytes(bytes_of(values))
    }

    /// Memory that belongs to `owner`: a mapped file, an array of another library. It may have any alignment. `whole`
    /// says that all of it is elements; where it is not, what lies between them is left alone.
    ///
    /// # Safety
    /// The elements, or if `whole` all of the `len` bytes from `start`, are initialised and valid, to write too if
    /// `writable`, as long as `owner` lives. While the borrow word is held nobody else writes them nor, if it is held to
    /// write, reads them.
    pub unsafe fn from_owner(
        start: NonNull<u8>,
        len: usize,
        writable: bool,
        whole: bool,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Storage {
        Storage::new(start, len, writable, whole, Owner::Foreign(owner))
    }

    pub(crate) fn new(start: NonNull<u8>, len: usize, writable: bool, whole: bool, owner: Owner) -> Storage {
        let (word, version, written) = (BorrowWord::new(), AtomicU64::new(0), Place::new());
        Storage(Arc::new(Shared { word, version, written, start, len, writable, whole, owner: Mutex::new(owner) }))
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether the length is zero.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Where the memory starts. Valid, for [`Storage::len`] bytes and the access asked for, while a guard is held.
    pub fn as_ptr(&self) -> *mut u8 {
        self.0.start.as_ptr()
    }

    /// Whether both are handles on the same memory.
    pub fn same(&self, other: &Storage) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A number that no other memory has while there is a handle on this one.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// How often the memory was written so far: a value kept from it is still there as long as this number is the same.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Relaxed)
    }

    /// Where the memory was last written.
    pub fn last_write(&self) -> Loc {
        self.0.written.get()
    }

    /// Counts a write, by who holds the word.
    fn wrote(&self, loc: Loc) {
        // Relaxed: who looks at it later has the word in between, or does not care which of two came first.
        self.0.version.fetch_add(1, Ordering::Relaxed);
        self.0.written.set(loc);
    }

    /// Whether the memory is lent for a scope, whose end waits for whoever holds it, so that it cannot be given away.
    pub fn is_lent(&self) -> bool {
        matches!(*self.0.owner.lock().unwrap_or_else(PoisonError::into_inner), Owner::Scope)
    }

    /// Whether this handle's memory is known elsewhere by its address, as that of another library is.
    pub fn is_listed(&self) -> bool {
        Arc::weak_count(&self.0) > 0
    }

    /// Whether this is the only handle, so that a call may reuse the memory for its result.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Whether the memory may be written at all.
    pub fn is_writable(&self) -> bool {
        self.0.writable
    }

    /// Whether all of the memory is elements, none of it another's.
    pub fn is_whole(&self) -> bool {
        self.0.whole
    }

    /// Takes the memory, until the result is dropped.
    ///
    /// # Errors
    /// `alias` if someone is using it the other way, or if it must not be written; `loc` is the place that the message
    /// gives for this use.
    pub fn hold(&self, access: Access, loc: Loc) -> Result<Hold> {
        self.acquire(access, loc)?;
        if access == Access::Write {
            self.wrote(loc);
        }
        Ok(Hold { storage: self.clone(), access })
    }

    /// Takes the memory to read its bytes.
    ///
    /// # Errors
    /// As [`Storage::hold`]; `unsupported` if the memory is not whole.
    pub fn read(&self, loc: Loc) -> Result<ReadGuard> {
        self.all_of_it(loc)?;
        self.hold(Access::Read, loc).map(ReadGuard)
    }

    /// Takes the memory to write its bytes.
    ///
    /// # Errors
    /// As [`Storage::read`].
    pub fn write(&self, loc: Loc) -> Result<WriteGuard> {
        self.all_of_it(loc)?;
        self.hold(Access::Write, loc).map(WriteGuard)
    }

    fn all_of_it(&self, loc: Loc) -> Result<()> {
        if self.0.whole {
            return Ok(());
        }
        Err(err::unsupported("this tensor's memory has gaps, which belong to others, and cannot be used as bytes")
            .at(loc)
            .help("use a copy of the tensor"))
    }

    /// Copies the bytes from `offset` on to `to`.
    ///
    /// # Errors
    /// As [`Storage::read`]; `index` if the storage ends before.
    pub fn copy_out(&self, offset: usize, to: &mut [u8], loc: Loc) -> Result<()> {
        let guard = self.read(loc)?;
        let from = guard.get(offset..).and_then(|rest| rest.get(..to.len()));
        to.copy_from_slice(from.ok_or_else(|| self.outside(offset, to.len(), loc))?);
        Ok(())
    }

    /// Copies `from` to the bytes from `offset` on.
    ///
    /// # Errors
    /// As [`Storage::write`]; `index` if the storage ends before.
    pub fn copy_in(&self, offset: usize, from: &[u8], loc: Loc) -> Result<()> {
        let mut guard = self.write(loc)?;
        let to = guard.get_mut(offset..).and_then(|rest| rest.get_mut(..from.len()));
        to.ok_or_else(|| self.outside(offset, from.len(), loc))?.copy_from_slice(from);
        Ok(())
    }

    fn outside(&self, offset: usize, len: usize, loc: Loc) -> Error {
        err::index(format!("{len} bytes from {offset} on are not inside a storage of {} bytes", self.len())).at(loc)
    }

    /// Ends all use for good, unless someone holds the word at this moment: whether that worked.
    pub(crate) fn revoke(&self, loc: Loc) -> bool {
        self.0.word.revoke(loc)
    }

    fn acquire(&self, access: Access, loc: Loc) -> Result<()> {
        if access == Access::Write && !self.0.writable {
            return Err(err::alias("this tensor's memory is lent to read only, and cannot be written")
                .at(loc)
                .help("write to a copy"));
        }
        self.0.word.acquire(access, loc).map_err(|conflict| explain(access, conflict, loc))
    }
}

/// A storage that this does not keep alive.
#[cfg(feature = "dlpack")]
pub(crate) struct WeakStorage(std::sync::Weak<Shared>);

#[cfg(feature = "dlpack")]
impl WeakStorage {
    /// The storage, if there still is a handle on it.
    pub(crate) fn upgrade(&self) -> Option<Storage> {
        self.0.upgrade().map(Storage)
    }

    /// Whether there still is a handle on the storage.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

#[cfg(feature = "dlpack")]
impl Storage {
    /// A reference that does not keep the memory alive.
    pub(crate) fn downgrade(&self) -> WeakStorage {
        WeakStorage(Arc::downgrade(&self.0))
    }
}

impl From<Buffer> for Storage {
    fn from(buffer: Buffer) -> Storage {
        let start = NonNull::new(buffer.as_ptr()).unwrap_or(NonNull::dangling());
        Storage::new(start, buffer.len(), true, true, Owner::Buffer(buffer))
    }
}

fn explain(access: Access, conflict: Conflict, loc: Loc) -> Error {
    let want = match access {
        Access::Read => "read",
        Access::Write => "written",
    };
    match conflict {
        Conflict::Held(held, first) => {
            let does = match held {
                Access::Read => "read",
                Access::Write => "written",
            };
            err::alias(format!("this tensor cannot be {want} while it is being {does}"))
                .at(loc)
                .note(first, format!("it is being {does} here"))
        }
        Conflict::Revoked(scope) => {
            err::alias(format!("this tensor cannot be {want}: its memory was borrowed for a scope that has ended"))
                .at(loc)
                .note(scope, "the scope was here")
                .help("copy the tensor inside the scope")
        }
        Conflict::Donated(call) => err::alias(format!("this tensor cannot be {want}: it was donated to a call"))
            .at(loc)
            .note(call, "the call was here")
            .help("use what the call gave, or donate a copy"),
    }
}

/// A storage that is held; dropping this gives it back.
pub struct Hold {
    storage: Storage,
    access: Access,
}

impl Hold {
    /// What is held.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.storage.0.word.release(self.access);
    }
}

/// A storage held to read: the bytes. One kept beyond the scope for which the memory is lent makes its end wait.
pub struct ReadGuard(Hold);

impl ReadGuard {
    /// The bytes as values of `T`; `None` if their address or number does not fit.
    pub fn values<T: Plain>(&self) -> Option<&[T]> {
        values_of(self)
    }
}

impl Deref for ReadGuard {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let storage = self.0.storage();
        // SAFETY: the word is held to read, so the memory, which is whole, is there, initialised, and nobody writes it.
        unsafe { std::slice::from_raw_parts(storage.as_ptr(), storage.len()) }
    }
}

/// A storage held to write: the bytes. One kept beyond the scope for which the memory is lent makes its end wait.
pub struct WriteGuard(Hold);

impl WriteGuard {
    /// The bytes as values of `T`; `None` if their address or number does not fit.
    pub fn values<T: Plain>(&mut self) -> Option<&mut [T]> {
        values_of_mut(self)
    }
}

impl Deref for WriteGuard {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let storage = self.0.storage();
        // SAFETY: the word is held to write, so the memory, which is whole, is there, initialised, and this guard's
        // alone.
        unsafe { std::slice::from_raw_parts(storage.as_ptr(), storage.len()) }
    }
}

impl DerefMut for WriteGuard {
    fn deref_mut(&mut self) -> &mut [u8] {
        let storage = self.0.storage();
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(storage.as_ptr(), storage.len()) }
    }
}

/// The words of all arguments of one call, held until this is dropped. Allocates nothing up to eight arguments.
pub struct Borrows<'s> {
    held: SmallVec<[(&'s Storage, Access); 8]>,
}

impl<'s> Borrows<'s> {
    /// Takes all of them or none, without waiting. A storage that occurs more than once is taken once: to write, if any
    /// of its uses writes.
    ///
    /// # Errors
    /// As [`Storage::read`] and [`Storage::write`], for the first that cannot be taken.
    pub fn take(uses: impl IntoIterator<Item = (&'s Storage, Access)>, loc: Loc) -> Result<Borrows<'s>> {
        let mut wanted: SmallVec<[(&'s Storage, Access); 8]> = SmallVec::new();
        uses.into_iter().for_each(|one| wanted.push(one));
        if wanted.len() > 1 {
            // One storage's uses next to each other, the write first.
            wanted.sort_unstable_by_key(|(storage, access)| (storage.id(), std::cmp::Reverse(*access)));
            wanted.dedup_by(|later, first| later.0.same(first.0));
        }
        for (i, (storage, access)) in wanted.iter().enumerate() {
            if let Err(e) = storage.acquire(*access, loc) {
                // The drop gives back what was taken before.
                wanted.truncate(i);
                drop(Borrows { held: wanted });
                return Err(e);
            }
        }
        Ok(Borrows { held: wanted })
    }

    /// Says that what is held to write has been written: once, however many of the uses write. `loc` is the place that
    /// [`Storage::last_write`] gives.
    pub fn wrote(&self, loc: Loc) {
        self.held.iter().filter(|(_, access)| *access == Access::Write).for_each(|(storage, _)| storage.wrote(loc));
    }

    /// Moves memory that is held to write to a new handle, and ends the use of all that there are; `None` if it is not
    /// held so. `loc` is the place that later errors name.
    pub fn donate(&mut self, storage: &Storage, loc: Loc) -> Option<Storage> {
        let at = self.held.iter().position(|(s, access)| s.same(storage) && *access == Access::Write)?;
        let shared = &self.held.swap_remove(at).0.0;
        let mut owner = shared.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = std::mem::replace(&mut *owner, Owner::Given);
        shared.word.donate(loc);
        Some(Storage::new(shared.start, shared.len, shared.writable, shared.whole, owner))
    }
}

impl Drop for Borrows<'_> {
    fn drop(&mut self) {
        for (storage, access) in &self.held {
            storage.0.word.release(*access);
        }
    }
}

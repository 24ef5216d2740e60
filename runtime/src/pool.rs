//! The thread pool: one parallel loop at a time, joined in well under a microsecond while it is warm.
//!
//! A loop is published by bumping the *epoch*, on which the workers spin for some microseconds and then sleep. Whoever
//! comes enters the loop by counting itself in `state`, claims chunks from a shared counter until there are none, and
//! counts itself out. The caller claims chunks like everyone; when none are left it closes the loop and waits only for
//! those who are inside. A worker that wakes too late finds the loop closed and costs nobody anything, so a short loop
//! is never slower than the time the caller alone would need plus one wake-up call.
//!
//! Loops do not nest and do not queue: inside a task, or while another thread uses the pool, `run` does all chunks on
//! the thread it is called from. Nothing here allocates after the workers are started. Which thread does which chunk is
//! not defined; results must not depend on it.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tensorc_ir::Result;
use tensorc_ir::error::err;

use crate::sync::{
    Arc, AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Builder, JoinHandle, Mutex, MutexGuard, Ordering, TryLockError,
    fence, per_thread, spin_loop, wait, wake_all, wake_one,
};

/// How long a worker looks for the next loop, and a caller for the end of its own, before it sleeps. Longer would serve
/// loops further apart, and take the core from whoever shares it.
const SPIN: Duration = Duration::from_micros(30);

/// More threads than any machine has use for.
const MAX_THREADS: usize = 1024;

/// Flag of `state`: workers may enter.
const OPEN: u32 = 1 << 31;
/// Flag of `state`: the caller sleeps until the count is zero.
const WAITING: u32 = 1 << 30;
/// The rest of `state`: how many workers are inside.
const COUNT: u32 = WAITING - 1;

/// What a loop does with a chunk.
type Task<'t> = &'t (dyn Fn(usize) + Sync);

/// Threads that run parallel loops. Dropping it ends them.
pub struct Pool {
    shared: Arc<Shared>,
    /// Held by the thread whose loop is running.
    control: Mutex<Control>,
    /// `Control::threads`, to read without the lock.
    threads: AtomicUsize,
    /// Whether kernels run backwards, on the caller alone.
    reversed: AtomicBool,
}

struct Control {
    /// How many threads there are to be, the caller among them.
    threads: usize,
    /// Those that are started, all others than the caller.
    workers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The number of the latest loop.
    epoch: Line<AtomicU32>,
    /// How many workers sleep on `epoch`, or are about to.
    sleepers: AtomicU32,
    /// The workers are to end.
    stop: AtomicBool,
    /// Spins before a sleep.
    spins: u32,
    /// [`OPEN`], [`WAITING`] and the count of workers inside. Everything below changes only while this is zero, that
    /// is closed and empty.
    state: Line<AtomicU32>,
    /// The loop: a `Task` on the caller's stack, and how many chunks.
    task: AtomicPtr<Task<'static>>,
    chunks: AtomicUsize,
    /// The first panic of a task.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// The next chunk that nobody has claimed.
    next: Line<AtomicUsize>,
}

/// A value alone on its cache lines (two, since processors fetch them in pairs).
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

per_thread! {
    /// Whether this thread is running a task, so that a loop inside it is serial.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Pool {
    /// A pool of that many threads, of which the caller of [`Pool::run`] is one; at least 1, at most 1024. The others
    /// are started by the first loop that needs them.
    pub fn new(threads: usize) -> Pool {
        // More threads than cores: a spinning one would only keep a working one from its core.
        let crowded = threads > cores();
        Pool::with_spins(threads, if crowded { 0 } else { spins(SPIN) })
    }

    /// As [`Pool::new`], but workers look `spins` times for work before they sleep.
    pub(crate) fn with_spins(threads: usize, spins: u32) -> Pool {
        let threads = threads.clamp(1, MAX_THREADS);
        Pool {
            shared: Arc::new(Shared { spins, ..Shared::default() }),
            control: Mutex::new(Control { threads, workers: Vec::new() }),
            threads: AtomicUsize::new(threads),
            reversed: AtomicBool::new(false),
        }
    }

    /// The pool of the process: a thread for every core that it may use.
    pub fn global() -> &'static Pool {
        static GLOBAL: OnceLock<Pool> = OnceLock::new();
        GLOBAL.get_or_init(|| Pool::new(cores()))
    }

    /// How many threads share a loop, the caller among them.
    pub fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }

    /// Whether kernels are cut as finely as can be and run from the last piece to the first. A kernel gives the same
    /// results in any order, so a wrong result then shows one that does not, without waiting for a race. For tests.
    pub fn set_reversed(&self, reversed: bool) {
        self.reversed.store(reversed, Ordering::Relaxed);
    }

    /// See [`Pool::set_reversed`].
    pub(crate) fn is_reversed(&self) -> bool {
        self.reversed.load(Ordering::Relaxed)
    }

    /// Sets the number of threads, from 1 to 1024, waiting for a loop that is running.
    ///
    /// # Errors
    /// `unsupported` inside a task.
    pub fn set_threads(&self, threads: usize) -> Result<()> {
        if INSIDE.with(Cell::get) {
            return Err(err::unsupported("the number of threads cannot be changed by a task of the pool"));
        }
        let mut control = self.control.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.shared.end(&mut control.workers);
        control.threads = threads.clamp(1, MAX_THREADS);
        self.threads.store(control.threads, Ordering::Relaxed);
        Ok(())
    }

    /// Runs `task(0)` to `task(chunks - 1)`, each once, on this thread and those of the pool, and returns when all are
    /// done.
    ///
    /// # Panics
    /// If a task does: no further chunk is begun, and when those under way have ended the first panic goes on here.
    pub fn run(&self, chunks: usize, task: &(dyn Fn(usize) + Sync)) {
        if chunks > 1
            && !INSIDE.with(Cell::get)
            && let Some(control) = self.workers()
        {
            let panic = self.shared.run(chunks, task);
            // Unlocked before the panic goes on, which would poison it.
            drop(control);
            return if let Some(panic) = panic {
                resume_unwind(panic)
            };
        }
        (0..chunks).for_each(task);
    }

    /// The right to publish a loop, with at least one worker to help; `None` if there is no one or another thread is
    /// running a loop.
    fn workers(&self) -> Option<MutexGuard<'_, Control>> {
        if self.threads() == 1 {
            return None;
        }
        let mut control = match self.control.try_lock() {
            Ok(control) => control,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        while control.workers.len() + 1 < control.threads {
            let shared = self.shared.clone();
            let name = format!("tensorc-{}", control.workers.len() + 1);
            let seen = shared.epoch.0.load(Ordering::Relaxed);
            match Builder::new().name(name).spawn(move || shared.work(seen)) {
                Ok(worker) => control.workers.push(worker),
                Err(_) => {
                    // The system has no more threads: go on with those there are.
                    control.threads = control.workers.len() + 1;
                    self.threads.store(control.threads, Ordering::Relaxed);
                }
            }
        }
        (!control.workers.is_empty()).then_some(control)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut control = self.control.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.shared.end(&mut control.workers);
    }
}

impl Shared {
    /// Runs a loop; the caller has the control. Gives the first panic of a task.
    fn run(&self, chunks: usize, task: Task<'_>) -> Option<Box<dyn Any + Send>> {
        // This takes the lifetime away. The pointer is followed only by threads inside the loop (see `help`), and this
        // function does not return before the last of them has left.
        self.task.store((&raw const task).cast_mut().cast(), Ordering::Relaxed);
        self.chunks.store(chunks, Ordering::Relaxed);
        self.next.0.store(0, Ordering::Relaxed);
        // Release: who enters sees the above.
        self.state.0.store(OPEN, Ordering::Release);
        self.bump(chunks - 1);

        INSIDE.with(|inside| inside.set(true));
        self.claim(task, chunks);
        INSIDE.with(|inside| inside.set(false));

        // Acquire, here and in `wait_until_empty`: what the workers wrote is ours to read.
        if self.state.0.fetch_and(!OPEN, Ordering::Acquire) & COUNT != 0 {
            self.wait_until_empty();
        }
        self.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }

    /// Starts the next epoch, and wakes as many sleepers as have something to do.
    fn bump(&self, wanted: usize) {
        self.epoch.0.fetch_add(1, Ordering::Release);
        // Either we see a sleeper counted here, or it sees the new epoch before it sleeps: each side writes one word,
        // fences, and reads the other.
        fence(Ordering::SeqCst);
        let sleepers = self.sleepers.load(Ordering::Relaxed) as usize;
        if wanted >= sleepers {
            if sleepers > 0 {
                wake_all(&self.epoch.0);
            }
        } else {
            (0..wanted).for_each(|_| wake_one(&self.epoch.0));
        }
    }

    /// What a worker does all its life. `seen` is the epoch when it was started.
    fn work(&self, mut seen: u32) {
        INSIDE.with(|inside| inside.set(true));
        loop {
            seen = self.next_epoch(seen);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            self.help();
        }
    }

    /// Waits until the epoch is another than `seen`.
    fn next_epoch(&self, seen: u32) -> u32 {
        for _ in 0..self.spins {
            let now = self.epoch.0.load(Ordering::Acquire);
            if now != seen {
                return now;
            }
            spin_loop();
        }
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // see `bump`
        let mut now = self.epoch.0.load(Ordering::Acquire);
        while now == seen {
            wait(&self.epoch.0, seen);
            now = self.epoch.0.load(Ordering::Acquire);
        }
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        now
    }

    /// Enters the loop if it is open, and leaves it when no chunk is left.
    fn help(&self) {
        // Only a hint, to keep the latecomers of many away from `state`.
        if self.next.0.load(Ordering::Relaxed) >= self.chunks.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.0.load(Ordering::Relaxed);
        loop {
            if state & OPEN == 0 {
                return;
            }
            match self.state.0.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        // SAFETY: we are counted in, so the caller is still in `run`, where the task lives on the stack.
        let task = unsafe { *self.task.load(Ordering::Relaxed) };
        self.claim(task, self.chunks.load(Ordering::Relaxed));
        // Release: the caller sees what we did. From here on the loop's data is the caller's again; the pool's own
        // words live on in the `Arc` that this thread holds.
        if self.state.0.fetch_sub(1, Ordering::Release) == WAITING + 1 {
            wake_all(&self.state.0);
        }
    }

    /// Claims and does chunks until none is left.
    fn claim(&self, task: Task<'_>, chunks: usize) {
        let all = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let chunk = self.next.0.fetch_add(1, Ordering::Relaxed);
                if chunk >= chunks {
                    return;
                }
                task(chunk);
            }
        }));
        if let Err(panic) = all {
            self.next.0.store(chunks, Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(panic);
        }
    }

    /// Waits until no worker is inside; the loop is closed.
    fn wait_until_empty(&self) {
        for _ in 0..self.spins {
            if self.state.0.load(Ordering::Acquire) & COUNT == 0 {
                return;
            }
            spin_loop();
        }
        let mut state = self.state.0.fetch_or(WAITING, Ordering::Acquire) | WAITING;
        while state & COUNT != 0 {
            wait(&self.state.0, state);
            state = self.state.0.load(Ordering::Acquire);
        }
    }

    /// Ends the workers; the caller has the control, so no loop is running.
    fn end(&self, workers: &mut Vec<JoinHandle<()>>) {
        self.stop.store(true, Ordering::Relaxed);
        self.bump(workers.len());
        for worker in workers.drain(..) {
            // A worker catches the panics of its tasks, so it has none of its own to tell.
            drop(worker.join());
        }
        self.stop.store(false, Ordering::Relaxed);
    }
}

/// How many threads the process can run at a time.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// How many times round a waiting loop take that long on this machine: a `spin_loop` takes from 1 to 50 ns.
fn spins(time: Duration) -> u32 {
    static PER_ROUND: OnceLock<Duration> = OnceLock::new();
    let rounds = 256;
    let measure = || {
        let (start, word) = (Instant::now(), AtomicU32::new(0));
        for _ in 0..rounds {
            if word.load(Ordering::Acquire) != 0 {
                break;
            }
            spin_loop();
        }
        start.elapsed()
    };
    // The least of some, since any of them may have been interrupted.
    let taken = *PER_ROUND.get_or_init(|| (0..5).map(|_| measure()).min().unwrap_or(time));
    (time.as_nanos() * rounds / taken.as_nanos().max(1)).clamp(64, 1 << 16) as u32
}

//! What a warm call costs, counted: it asks the system's allocator for a handle on each result, and for nothing else.

mod support;

use std::alloc::{GlobalAlloc, Layout as Bytes, System};
use std::cell::Cell;
use support::{f32s, graph};
use tensorc_ir::{DType, Layout, Loc};
use tensorc_runtime::executable::{Args, Executable, Options, View};
use tensorc_runtime::storage::Storage;

/// The system's allocator, counting what each thread takes from it.
struct Counting;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: what it gives is the system's; the counter is a plain number that needs no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Bytes) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Bytes) {
        // SAFETY: the caller's promise; it came from the system.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often `f` takes memory, once it has run before.
fn taken(mut f: impl FnMut()) -> usize {
    (0..3).for_each(|_| f());
    let before = TAKEN.get();
    f();
    TAKEN.get() - before
}

fn view(shape: &[usize]) -> View {
    let storage = Storage::from_slice(&vec![1.5f32; shape.iter().product()]).unwrap();
    View { storage, dtype: DType::F32, layout: Layout::contiguous(shape) }
}

#[test]
fn a_warm_call_takes_memory_for_its_results_only() {
    let (x, y) = (view(&[3, 8]), view(&[8]));
    let types = [f32s(&[3, 8]), f32s(&[8])];
    let layouts = [x.layout.clone(), y.layout.clone()];
    let compile = |g| Executable::compile(&g, &layouts, Options::default()).unwrap();
    let one = compile(graph(&types, |_, x| vec![(x[0] * x[1]).tanh()]));
    let two = compile(graph(&types, |_, x| vec![x[0] + x[1], x[0].sum(&[1], false) * 2.0]));
    // One sum goes before the other, and has a place for it.
    let sums = compile(graph(&types, |_, x| vec![x[0].sum(&[0], false) + (x[0] - x[1]).sum(&[0], false)]));
    for (exe, results) in [(&one, 1), (&two, 2), (&sums, 1)] {
        let args: Args<'_> = [&x, &y].into_iter().collect();
        let call = || drop(exe.call_donating(&args, &[], Loc::Unknown, |v| v).unwrap());
        assert_eq!(taken(call), results);
    }
}

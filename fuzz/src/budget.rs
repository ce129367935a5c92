//! Budgets of memory and time: what takes more is a finding.
//!
//! A budget bounds the bytes that are allocated at one time through Rust's allocator, beyond those that were there
//! before. C code in the process is not counted. Time is the thread's processor time, so that a busy machine finds
//! nothing. The code has coverage and checks of overflows, which cost several times what the library's own build costs:
//! `SLOWDOWN` allows for that.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

/// How many times slower the fuzzed build may be than the library's.
const SLOWDOWN: u32 = 8;

thread_local! {
    /// Bytes that are allocated, the most so far, and the most that may be.
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static LIMIT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The allocator of all fuzz targets. Counts per thread: a budget's code runs on one.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    /// Whether so many bytes more are allowed. What is refused counts as taken: the budget then fails.
    fn take(bytes: usize) -> bool {
        let live = LIVE.get().saturating_add(bytes);
        PEAK.set(PEAK.get().max(live));
        if live > LIMIT.get() {
            return false;
        }
        LIVE.set(live);
        true
    }

    /// A thread may free what another has allocated.
    fn give_back(bytes: usize) {
        LIVE.set(LIVE.get().saturating_sub(bytes));
    }
}

// SAFETY: all memory is the system allocator's. Refusing an allocation is allowed.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !Self::take(layout.size()) {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !Self::take(layout.size()) {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        Self::give_back(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there while bytes are copied.
        if !Self::take(size) {
            return core::ptr::null_mut();
        }
        Self::give_back(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs `what` and panics if it takes more memory at one time or more processor time than it may. Memory beyond that is
/// refused, so that a finding does not take the machine.
pub fn within<T>(bytes: usize, time: Duration, what: impl FnOnce() -> T) -> T {
    let before = LIVE.get();
    PEAK.set(before);
    LIMIT.set(before.saturating_add(bytes));
    let begin = processor_time();
    let result = what();
    let taken = processor_time() - begin;
    LIMIT.set(usize::MAX);
    let peak = PEAK.get() - before;
    assert!(peak <= bytes, "{peak} bytes were asked for, {bytes} are allowed");
    assert!(taken <= time * SLOWDOWN, "it took {taken:?}, {time:?} times {SLOWDOWN} is allowed");
    result
}

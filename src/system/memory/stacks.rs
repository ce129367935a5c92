//! Stacks for guests with a guard below each: one from the host's allocator or a pool cut from one block.
//!
//! ```text
//! guard │ stack ─────────▶ top │ guard │ stack ─────────▶ top │ …
//! ```
//!
//! `MADV_GUARD_INSTALL` (Linux 6.13) makes a guard without a mapping of its own. On older kernels `mprotect` makes two
//! mappings of each stack. A process has 65,530 mappings by default. All stacks of a thread lie in one block, so their
//! guards do not break up huge pages elsewhere.
#![allow(unsafe_code)]

use super::block::{Block, Missing, Source, page};
use core::ops::Range;
use core::ptr::NonNull;
use parking_lot::Mutex;

/// Bytes of a guard. More than a page: code compiled without stack probes can step over one page.
fn guard_size() -> usize {
    page().max(16 << 10)
}

const MADV_GUARD_INSTALL: libc::c_int = 102;
const MADV_GUARD_REMOVE: libc::c_int = 103;

/// How a guard was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    Advice,
    Protection,
}

/// Makes the guard that begins at `start`.
///
/// # Safety
///
/// The range is part of a block of ours and has no user.
unsafe fn protect(start: NonNull<u8>) -> Result<Guard, Missing> {
    let start = start.as_ptr().cast();
    // SAFETY: says the caller.
    unsafe {
        if libc::madvise(start, guard_size(), MADV_GUARD_INSTALL) == 0 {
            return Ok(Guard::Advice);
        }
        if libc::mprotect(start, guard_size(), libc::PROT_NONE) == 0 {
            return Ok(Guard::Protection);
        }
        Err(Missing::Guard(std::io::Error::last_os_error()))
    }
}

/// Makes the guard ordinary memory again before the host gets it back.
///
/// # Safety
///
/// As for `protect`, which made the guard.
unsafe fn unprotect(start: NonNull<u8>, guard: Guard) {
    let start = start.as_ptr().cast();
    // SAFETY: says the caller.
    unsafe {
        match guard {
            Guard::Advice => libc::madvise(start, guard_size(), MADV_GUARD_REMOVE),
            Guard::Protection => libc::mprotect(start, guard_size(), libc::PROT_READ | libc::PROT_WRITE),
        };
    }
}

/// One block with `count` stacks.
struct Stacks {
    block: Block,
    /// Bytes from one guard to the next.
    stride: usize,
    /// The guards that were made so far.
    guards: Vec<Guard>,
}

impl Stacks {
    /// `count` stacks of `size` bytes.
    fn new(source: &Source, size: usize, count: u32) -> Result<Self, Missing> {
        let stride = size.checked_next_multiple_of(page()).and_then(|size| size.checked_add(guard_size()));
        let whole = stride.and_then(|stride| stride.checked_mul(count as usize));
        let (Some(stride), Some(whole)) = (stride, whole) else { return Err(Missing::Block(usize::MAX)) };
        let block = source.allocate(whole, page())?;
        if block.is_system() {
            // SAFETY: a whole mapping of ours. Only a few pages at the top of a stack are used. A huge page would be
            // wasted, and the guards would break it up anyway. A kernel without huge pages may refuse.
            unsafe { libc::madvise(block.start().as_ptr().cast(), block.bytes(), libc::MADV_NOHUGEPAGE) };
        }
        let mut stacks = Self { block, stride, guards: Vec::with_capacity(count as usize) };
        for index in 0..count {
            // SAFETY: the first bytes of a stack that has no user yet.
            let guard = unsafe { protect(stacks.start(index)) }?;
            stacks.guards.push(guard);
        }
        Ok(stacks)
    }

    /// Where the guard of stack `index` begins.
    fn start(&self, index: u32) -> NonNull<u8> {
        // SAFETY: `index` is below the count. The result is inside of the block.
        unsafe { self.block.start().add(index as usize * self.stride) }
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        if self.block.is_system() {
            return;
        }
        for (index, &guard) in self.guards.iter().enumerate() {
            // SAFETY: made by `protect`. The stacks are no longer used.
            unsafe { unprotect(self.start(index as u32), guard) };
        }
        // Stacks need not read as zero.
        self.block.set_used(self.block.bytes());
    }
}

/// A pool of stacks.
pub struct StackPool {
    stacks: Stacks,
    /// The stack used last is taken first because it is warm.
    free: Mutex<Vec<u32>>,
}

impl StackPool {
    /// A pool of `count` stacks of `size` bytes.
    pub fn new(source: &Source, size: usize, count: u32) -> Result<Self, Missing> {
        let stacks = Stacks::new(source, size, count)?;
        Ok(Self { stacks, free: Mutex::new((0..count).rev().collect()) })
    }

    /// A stack if one is free.
    pub fn take(&self) -> Option<u32> {
        self.free.lock().pop()
    }

    /// Takes back a stack.
    pub fn give_back(&self, index: u32) {
        self.free.lock().push(index);
    }

    /// How many are free.
    pub fn free(&self) -> u32 {
        self.free.lock().len() as u32
    }

    /// The position of stack `index`.
    pub fn place(&self, index: u32) -> StackRange {
        StackRange::new(self.stacks.start(index), self.stacks.stride)
    }
}

/// A stack with a block of its own.
pub struct SingleStack(Stacks);

impl SingleStack {
    /// A stack of `size` bytes.
    pub fn new(source: &Source, size: usize) -> Result<Self, Missing> {
        Stacks::new(source, size, 1).map(Self)
    }

    /// Its position.
    pub fn place(&self) -> StackRange {
        StackRange::new(self.0.start(0), self.0.stride)
    }
}

/// The position of a stack in Wasmtime's terms.
pub struct StackRange {
    guard: usize,
    bottom: usize,
    top: usize,
}

impl StackRange {
    fn new(start: NonNull<u8>, stride: usize) -> Self {
        let guard = start.as_ptr().expose_provenance();
        Self { guard, bottom: guard + guard_size(), top: guard + stride }
    }

    /// One past the highest address.
    pub fn top(&self) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.top)
    }

    /// Without the guard.
    pub fn range(&self) -> Range<usize> {
        self.bottom..self.top
    }

    /// The guard.
    pub fn guard_range(&self) -> Range<*mut u8> {
        core::ptr::with_exposed_provenance_mut(self.guard)..core::ptr::with_exposed_provenance_mut(self.bottom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a byte can be read. The kernel copies it, so a bad address causes no signal.
    fn is_readable(at: usize) -> bool {
        let mut byte = 0u8;
        let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let remote = libc::iovec { iov_base: core::ptr::with_exposed_provenance_mut(at), iov_len: 1 };
        // SAFETY: reads from this process. A bad address is an error and not a fault.
        unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) == 1 }
    }

    #[test]
    fn stacks_have_guards_and_do_not_overlap() {
        let size = 64 << 10;
        let pool = StackPool::new(&Source::System, size, 3).unwrap();
        let mut last = 0;
        for expected in 0..3 {
            let index = pool.take().unwrap();
            assert_eq!(index, expected);
            let place = pool.place(index);
            let range = place.range();
            assert_eq!(range.len(), size);
            assert_eq!(place.top().addr(), range.end);
            assert!(range.start >= last);
            last = range.end;
            assert!(is_readable(range.start) && is_readable(range.end - 1));
            assert!(!is_readable(range.start - 1) && !is_readable(range.start - guard_size()));
        }
        assert_eq!(pool.take(), None);
        pool.give_back(1);
        assert_eq!((pool.free(), pool.take()), (1, Some(1)));
    }

    #[test]
    fn the_host_gets_back_memory_that_it_can_use() {
        for make in [MADV_GUARD_INSTALL, 0] {
            let block = Source::System.allocate(guard_size() + page(), page()).unwrap();
            let start = block.start();
            // SAFETY: the block has no other user.
            unsafe {
                let guard = if make == 0 {
                    assert_eq!(libc::mprotect(start.as_ptr().cast(), guard_size(), libc::PROT_NONE), 0);
                    Guard::Protection
                } else {
                    protect(start).unwrap()
                };
                assert!(!is_readable(start.addr().get()));
                unprotect(start, guard);
                start.as_ptr().write(7);
                assert_eq!(start.as_ptr().read(), 7);
            }
        }
    }
}

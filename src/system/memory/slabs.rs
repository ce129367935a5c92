//! A pool of linear memories of one size cut from one block.
//!
//! Invariant: a free slab reads as zero from its first byte to its last. A memory only ever grows, so its final size
//! bounds the bytes that can have been written. A returned slab is *dirty* up to there until [`SlabPool::clean`] has
//! wiped it. The pages of a slab are not protected: guests of these memories check every access.
#![allow(unsafe_code)]

use super::block::{Block, Missing, Source, page};
use core::ptr::NonNull;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Bytes cleaned between two checks of the budget. Some 5 µs of work.
const STEP: usize = 64 << 10;

/// Bytes that can be given back to the system in that time.
const STEP_GIVEN: usize = 1 << 20;

/// Bytes that a stop cleans. A start cleans as many at each poll. Some 20 µs of work.
pub const AT_ONCE: usize = 256 << 10;

/// Size from which on slabs are aligned so that the kernel can use huge pages.
const HUGE: usize = 2 << 20;

/// The pool.
pub struct SlabPool {
    block: Block,
    slab: usize,
    keep_resident: usize,
    state: Mutex<SlabState>,
}

struct SlabState {
    /// The slab used last is taken first because it is warm.
    free: Vec<u32>,
    dirty: VecDeque<Dirty>,
    in_use: u32,
}

/// A slab with the range that is still to be cleaned.
struct Dirty {
    index: u32,
    from: usize,
    to: usize,
}

/// How many slabs are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Can be taken.
    pub free: u32,
    /// Must be cleaned first.
    pub dirty: u32,
    /// Are some engine's.
    pub in_use: u32,
    /// Bytes that cleaning has still to look at.
    pub dirty_bytes: u64,
}

impl SlabPool {
    /// A pool of `count` slabs of `slab` bytes.
    ///
    /// The first `keep_resident` bytes of a returned slab are wiped in place. The pages behind them are given back to
    /// the system if they are the system's.
    pub fn new(source: &Source, slab: usize, count: u32, keep_resident: usize) -> Result<Self, Missing> {
        let alignment = if slab >= HUGE { HUGE } else { page() };
        let block = source.allocate(slab.saturating_mul(count as usize) / page() * page(), alignment)?;
        let keep_resident = if block.is_system() { keep_resident.next_multiple_of(page()) } else { usize::MAX };
        let free = (0..count).rev().collect();
        let state = SlabState { free, dirty: VecDeque::with_capacity(count as usize), in_use: 0 };
        Ok(Self { block, slab, keep_resident, state: Mutex::new(state) })
    }

    /// Bytes of each slab.
    pub fn slab(&self) -> usize {
        self.slab
    }

    /// A clean slab if there is one.
    pub fn take(&self) -> Option<u32> {
        let mut state = self.state.lock();
        let index = state.free.pop()?;
        state.in_use += 1;
        Some(index)
    }

    /// Whether `take` would succeed.
    pub fn has_free(&self) -> bool {
        !self.state.lock().free.is_empty()
    }

    /// Takes back slab `index`. Its first `used` bytes may have been written.
    pub fn give_back(&self, index: u32, used: usize) {
        let mut state = self.state.lock();
        state.in_use -= 1;
        let used = used.next_multiple_of(page()).min(self.slab);
        let dirty = Dirty { index, from: 0, to: used };
        // Small slabs are soon clean. They do not wait for large ones.
        if used <= AT_ONCE { state.dirty.push_front(dirty) } else { state.dirty.push_back(dirty) }
    }

    /// Where slab `index` begins.
    pub fn start(&self, index: u32) -> NonNull<u8> {
        // SAFETY: `index` is below the count. The result is inside of the block.
        unsafe { self.block.start().add(index as usize * self.slab) }
    }

    /// The slabs.
    pub fn counts(&self) -> Counts {
        let state = self.state.lock();
        Counts {
            free: state.free.len() as u32,
            dirty: state.dirty.len() as u32,
            in_use: state.in_use,
            dirty_bytes: state.dirty.iter().map(|dirty| (dirty.to - dirty.from) as u64).sum(),
        }
    }

    /// Cleans at most `budget` bytes rounded up to steps of 64 KiB. Bytes that are given back to the system count as
    /// a sixteenth. True if dirty bytes are left.
    pub fn clean(&self, budget: usize) -> bool {
        let mut left = budget;
        let mut state = self.state.lock();
        while let Some(dirty) = state.dirty.front_mut() {
            if left == 0 {
                return true;
            }
            let step = match self.keep_resident.saturating_sub(dirty.from) {
                0 => STEP_GIVEN,
                wiped => STEP.min(wiped),
            };
            let step = step.min(dirty.to - dirty.from);
            let start = self.start(dirty.index);
            // SAFETY: a range of a slab that is neither free nor in use. It has no other user. `give` sees pages of the
            // system's only: for a block of the host's `keep_resident` is the maximum, so all of it is wiped.
            unsafe {
                let start = start.add(dirty.from).as_ptr();
                if dirty.from < self.keep_resident { wipe(start, step) } else { give(start, step) }
            }
            dirty.from += step;
            left = left.saturating_sub(STEP);
            if dirty.from == dirty.to
                && let Some(done) = state.dirty.pop_front()
            {
                state.free.push(done.index);
            }
        }
        false
    }

    /// Tells the host which part of its returned block is not zero.
    fn used(&self) -> usize {
        let state = self.state.lock();
        // Slabs in use keep the pool alive, so all dirty slabs are in the list.
        state.dirty.iter().map(|dirty| dirty.index as usize * self.slab + dirty.to).max().unwrap_or(0)
    }
}

impl Drop for SlabPool {
    fn drop(&mut self) {
        let used = self.used();
        self.block.set_used(used);
    }
}

/// Makes a range read as zero in place.
///
/// # Safety
///
/// The range is whole pages of one slab that has no user.
unsafe fn wipe(start: *mut u8, bytes: usize) {
    for at in (0..bytes).step_by(page()) {
        // SAFETY: a page of the range.
        let page = unsafe { core::slice::from_raw_parts_mut(start.add(at), page()) };
        // Pages that were never written are not written now. They would become resident.
        if !is_zero(page) {
            page.fill(0);
        }
    }
}

/// Makes a range read as zero by giving its pages back to the system.
///
/// # Safety
///
/// As for `wipe`. The pages are part of a private anonymous mapping of ours.
unsafe fn give(start: *mut u8, bytes: usize) {
    // SAFETY: such pages read as zero afterwards.
    let given = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) };
    if given != 0 {
        // Locked memory cannot be given back. SAFETY: guaranteed by the caller.
        unsafe { wipe(start, bytes) };
    }
}

/// Whether a page is all zero. The loop has no early exit, so the compiler vectorizes it.
fn is_zero(page: &[u8]) -> bool {
    page.chunks_exact(8).fold(0, |all, word| all | word.iter().fold(0, |all, byte| all | byte)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: u32, keep_resident: usize) -> SlabPool {
        SlabPool::new(&Source::System, 256 << 10, count, keep_resident).unwrap()
    }

    #[allow(clippy::mut_from_ref)] // each test looks at a slab through one reference at a time
    fn bytes(pool: &SlabPool, index: u32) -> &mut [u8] {
        // SAFETY: tests look at one slab at a time.
        unsafe { core::slice::from_raw_parts_mut(pool.start(index).as_ptr(), pool.slab()) }
    }

    #[test]
    fn a_slab_is_zero_whenever_it_is_taken() {
        for keep_resident in [0, 100 << 10, usize::MAX >> 1] {
            let pool = pool(1, keep_resident);
            for used in [0, 1, 5000, 130 << 10, 256 << 10] {
                let index = pool.take().unwrap();
                assert!(bytes(&pool, index).iter().all(|&byte| byte == 0), "{keep_resident} {used}");
                bytes(&pool, index)[..used].fill(0xaa);
                pool.give_back(index, used);
                assert_eq!(pool.take(), None, "the slab must be cleaned first");
                while pool.clean(1) {}
            }
        }
    }

    #[test]
    fn cleaning_is_bounded() {
        let pool = pool(2, usize::MAX >> 1);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        bytes(&pool, a).fill(1);
        bytes(&pool, b).fill(1);
        pool.give_back(a, 256 << 10);
        pool.give_back(b, 256 << 10);
        assert_eq!(pool.counts().dirty_bytes, 512 << 10);
        assert!(pool.clean(64 << 10));
        assert_eq!(pool.counts().dirty_bytes, 448 << 10);
        assert!(pool.clean(192 << 10));
        assert_eq!(pool.counts(), Counts { free: 1, dirty: 1, in_use: 0, dirty_bytes: 256 << 10 });
        assert!(!pool.clean(usize::MAX));
        assert_eq!(pool.counts(), Counts { free: 2, dirty: 0, in_use: 0, dirty_bytes: 0 });
    }

    #[test]
    fn an_exhausted_pool_has_no_slab() {
        let pool = pool(2, 0);
        assert_eq!((pool.take(), pool.take(), pool.take()), (Some(0), Some(1), None));
        pool.give_back(1, 0);
        // Nothing was written, but `clean` has to find that out.
        assert!(!pool.clean(1));
        assert_eq!(pool.take(), Some(1));
    }

    #[test]
    fn one_byte_that_is_not_zero_is_found() {
        let mut page = vec![0u8; 4096];
        assert!(is_zero(&page));
        for at in [0, 7, 8, 2049, 4095] {
            page[at] = 0x80;
            assert!(!is_zero(&page));
            page[at] = 0;
        }
    }
}

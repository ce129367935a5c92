//! The emergency reserve: what allocations get that cannot fail when the allocator of the process refuses them.
//!
//! Rust's own code, Wasmtime, Cranelift and the codecs abort if an allocation fails. So small ones are served from here
//! until the current call has returned. Calls that would begin something new are refused meanwhile with
//! `WASM_STATUS_OUT_OF_MEMORY` ([`check`]). Large ones get a mapping of their own. `super::malloc` is the way in.
//!
//! The first region is in the library's data. It exists since the library was loaded, so nothing can refuse it. It is
//! not touched before it is needed. Further regions are mapped as long as the system has any. What allocates much and
//! cannot fail leases one beforehand ([`lease`]).
#![allow(unsafe_code)]

use super::block::page;
use crate::base::error::{Error, Result};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of the first region.
const FIRST_SIZE: usize = 1 << 20;
/// Bytes of the next ones. Each has twice as many as the one before up to …
const SECOND_SIZE: usize = 1 << 20;
/// … this.
const LARGEST_GROWTH: usize = 16 << 20;
/// Regions beside the first.
const MOST_REGIONS: usize = 255;
/// The place of the first region.
const FIRST_PLACE: usize = MOST_REGIONS;
/// Mappings for large blocks.
const MOST_MAPPINGS: usize = 512;
/// Blocks have the size of a power of two: from 32 bytes …
const SMALLEST: u32 = 5;
/// … to 256 MiB.
const LARGEST: u32 = 28;
const CLASSES: usize = (LARGEST - SMALLEST + 1) as usize;
/// Above this a mapping of its own is tried before a block.
const MAPPED_FIRST: usize = 16 << 10;
/// Above this the reserve is not grown for a block.
const LARGEST_GROWN: usize = 64 << 10;
/// Blocks are aligned to their size but to no more than this. So are regions.
const MOST_ALIGNED: usize = 4096;
/// Bytes that were never given out which a call must find that begins something.
const ROOM: usize = FIRST_SIZE / 2;
/// What the allocator must have then.
const PROBE: usize = 16 << 10;

#[repr(C, align(4096))]
struct First(UnsafeCell<[MaybeUninit<u8>; FIRST_SIZE]>);

// SAFETY: the bytes belong to whoever was given a block of them. The lock of `HEAP` decides who that is.
unsafe impl Sync for First {}

static FIRST: First = First(UnsafeCell::new([MaybeUninit::uninit(); FIRST_SIZE]));

/// Regions beside the first and mappings that exist. Nearly always none.
static OUTSIDE: AtomicUsize = AtomicUsize::new(0);
/// Addresses of regions with the logarithm of their sizes below. 0 if there is none. In one piece because `free` reads
/// them without the lock.
static REGIONS: [AtomicUsize; MOST_REGIONS] = [const { AtomicUsize::new(0) }; MOST_REGIONS];
/// Addresses of mappings for large blocks. 0 if there is none.
static MAPPINGS: [AtomicUsize; MOST_MAPPINGS] = [const { AtomicUsize::new(0) }; MOST_MAPPINGS];
/// Their sizes.
static MAPPED: [AtomicUsize; MOST_MAPPINGS] = [const { AtomicUsize::new(0) }; MOST_MAPPINGS];
/// The reserve was used since a call last found that all is well.
static PRESSED: AtomicBool = AtomicBool::new(false);

static HEAP: Mutex<Heap> =
    Mutex::new(Heap { free: [null_mut(); CLASSES], regions: [const { Region::NONE }; MOST_REGIONS + 1] });

/// A block that was given back. It stands at the block's beginning.
struct FreeBlock {
    next: *mut FreeBlock,
}

/// Where a region's blocks are. It begins with a byte for each place where a block may begin: the block's class.
struct Region {
    /// The part that was never given out.
    next: usize,
    end: usize,
    /// Blocks in use.
    blocks: usize,
    /// It stays although it has none.
    is_leased: bool,
}

impl Region {
    const NONE: Self = Self { next: 0, end: 0, blocks: 0, is_leased: false };

    fn new(start: usize, size: usize, is_leased: bool) -> Self {
        Self { next: start + (size >> SMALLEST), end: start + size, blocks: 0, is_leased }
    }
}

/// Blocks by size. What was never given out is cut off from the regions.
struct Heap {
    free: [*mut FreeBlock; CLASSES],
    /// As in `REGIONS`. The last place is the first region's.
    regions: [Region; MOST_REGIONS + 1],
}

// SAFETY: the pointers lead to memory that the heap alone uses.
unsafe impl Send for Heap {}

fn lock() -> MutexGuard<'static, Heap> {
    // Nothing in here panics.
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lock. It is held over a fork so that the child's copy of the heap is consistent.
pub struct HeldLock(#[allow(dead_code)] MutexGuard<'static, Heap>);

/// Before a fork: takes the lock.
pub fn hold() -> HeldLock {
    HeldLock(lock())
}

#[inline]
fn is_in_first(address: usize) -> bool {
    address.wrapping_sub(FIRST.0.get().addr()) < FIRST_SIZE
}

/// Start and size of a region. The start is 0 if there is none.
fn bounds(place: usize) -> (usize, usize) {
    match REGIONS.get(place) {
        Some(region) => {
            let region = region.load(Relaxed);
            (region & !(MOST_ALIGNED - 1), 1 << (region % MOST_ALIGNED))
        }
        None => (FIRST.0.get().expose_provenance(), FIRST_SIZE),
    }
}

/// The place of the region in which an address is. A region with a block in use is in the table, whoever changes it.
fn region_of(address: usize) -> Option<usize> {
    if is_in_first(address) {
        return Some(FIRST_PLACE);
    }
    if OUTSIDE.load(Relaxed) == 0 {
        return None;
    }
    (0..MOST_REGIONS).find(|&place| {
        let (start, size) = bounds(place);
        start != 0 && address.wrapping_sub(start) < size
    })
}

/// The size class of a block. None if it would be too large.
fn class(size: usize, align: usize) -> Option<usize> {
    if align > MOST_ALIGNED || size > 1 << LARGEST {
        return None;
    }
    let bits = size.max(align).max(1 << SMALLEST).next_power_of_two().trailing_zeros();
    Some((bits - SMALLEST) as usize)
}

fn class_size(class: usize) -> usize {
    1 << (class + SMALLEST as usize)
}

/// New memory from the system. It is zero.
fn map(bytes: usize) -> *mut u8 {
    // Leases are larger than what is used of them.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let mapped = unsafe { libc::mmap(null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if mapped == libc::MAP_FAILED { null_mut() } else { mapped.cast() }
}

/// # Safety
///
/// A mapping of `map` with so many bytes. Nobody uses it.
unsafe fn unmap(start: usize, bytes: usize) {
    // SAFETY: the caller says so.
    unsafe { libc::munmap(core::ptr::with_exposed_provenance_mut(start), bytes) };
}

/// Whether a block may be one of the reserve's. Nearly always false.
#[inline(always)]
pub fn may_own(block: *mut u8) -> bool {
    is_in_first(block.addr()) || OUTSIDE.load(Relaxed) != 0
}

/// Memory that the process's allocator has refused. NULL if the reserve is used up, too. The alignment is a power of
/// two.
#[cold]
pub fn take(size: usize, align: usize) -> *mut u8 {
    let mapped = if size > MAPPED_FIRST { take_mapping(size, align) } else { null_mut() };
    if !mapped.is_null() {
        return mapped;
    }
    PRESSED.store(true, Relaxed);
    let Some(class) = class(size, align) else { return null_mut() };
    lock().take(class)
}

/// Takes a block back. False if it is not one of the reserve's.
///
/// # Safety
///
/// Nobody uses the block any more.
#[cold]
pub unsafe fn give_back(block: NonNull<u8>) -> bool {
    let address = block.addr().get();
    if let Some(place) = mapping_of(address) {
        // Out of the table first: the system may give the address to somebody else at once.
        let bytes = MAPPED[place].load(Relaxed);
        MAPPINGS[place].store(0, Release);
        // SAFETY: the mapping of this block. Its owner gives it up.
        unsafe { unmap(address, bytes) };
        OUTSIDE.fetch_sub(1, Relaxed);
        return true;
    }
    let Some(place) = region_of(address) else { return false };
    // SAFETY: the block lies in a region, so the heap gave it out.
    unsafe { lock().give_back(block, place) };
    true
}

/// The size of a block. None if it is not the reserve's.
#[cold]
pub fn size(block: NonNull<u8>) -> Option<usize> {
    let address = block.addr().get();
    if let Some(place) = mapping_of(address) {
        return Some(MAPPED[place].load(Relaxed));
    }
    let place = region_of(address)?;
    Some(class_size(lock().class_of(address, place)))
}

/// The place of the mapping that begins at an address. A mapping in use is in the table, whoever changes others.
fn mapping_of(address: usize) -> Option<usize> {
    if OUTSIDE.load(Relaxed) == 0 || !address.is_multiple_of(MOST_ALIGNED) {
        return None;
    }
    MAPPINGS.iter().position(|mapping| mapping.load(Relaxed) == address)
}

fn take_mapping(size: usize, align: usize) -> *mut u8 {
    let page = page();
    let Some(bytes) = size.checked_next_multiple_of(page) else { return null_mut() };
    if align > page {
        return null_mut();
    }
    // Counted first: whoever has the block must find the count.
    OUTSIDE.fetch_add(1, Relaxed);
    let mapped = map(bytes);
    if !mapped.is_null() {
        let address = mapped.expose_provenance();
        // Acquires what `give_back` released: its read of the place's size comes before the write below.
        let is_taken = |place: &AtomicUsize| place.compare_exchange(0, address, Acquire, Relaxed).is_ok();
        if let Some(place) = MAPPINGS.iter().position(is_taken) {
            MAPPED[place].store(bytes, Relaxed);
            return mapped;
        }
        // SAFETY: made above and given to nobody.
        unsafe { unmap(address, bytes) };
    }
    OUTSIDE.fetch_sub(1, Relaxed);
    null_mut()
}

impl Heap {
    fn take(&mut self, class: usize) -> *mut u8 {
        self.renew_first();
        if let Some(block) = self.reuse(class) {
            return block;
        }
        // Leased regions last.
        let cut = |heap: &mut Self, leased| (0..=MOST_REGIONS).rev().find_map(|place| heap.cut(place, class, leased));
        if let Some(block) = cut(self, false) {
            return block;
        }
        if class_size(class) <= LARGEST_GROWN
            && let Some(place) = self.grow()
            && let Some(block) = self.cut(place, class, false)
        {
            return block;
        }
        if let Some(block) = cut(self, true) {
            return block;
        }
        (class + 1..CLASSES).find_map(|larger| self.split(larger, class)).unwrap_or(null_mut())
    }

    /// Where the class of a block stands.
    fn entry(&self, address: usize, place: usize) -> *mut u8 {
        let (start, _) = bounds(place);
        core::ptr::with_exposed_provenance_mut(start + ((address - start) >> SMALLEST))
    }

    fn class_of(&self, address: usize, place: usize) -> usize {
        // SAFETY: the region's table. It was written when the block was given out.
        usize::from(unsafe { self.entry(address, place).read() }).min(CLASSES - 1)
    }

    fn note_taken(&mut self, block: *mut u8, class: usize) -> *mut u8 {
        if let Some(place) = region_of(block.addr()) {
            self.regions[place].blocks += 1;
            // SAFETY: the region's table. The heap alone uses it.
            unsafe { self.entry(block.addr(), place).write(class as u8) };
        }
        block
    }

    fn pop(&mut self, class: usize) -> Option<*mut u8> {
        let block = NonNull::new(self.free[class])?;
        // SAFETY: what is in a free list is a free block of the heap's.
        self.free[class] = unsafe { block.read().next };
        Some(block.as_ptr().cast())
    }

    fn reuse(&mut self, class: usize) -> Option<*mut u8> {
        let block = self.pop(class)?;
        Some(self.note_taken(block, class))
    }

    /// A block of what was never given out.
    fn cut(&mut self, place: usize, class: usize, leased: bool) -> Option<*mut u8> {
        let (region, size) = (&mut self.regions[place], class_size(class));
        let at = region.next.next_multiple_of(size.min(MOST_ALIGNED));
        if region.next == 0 || region.is_leased != leased || at + size > region.end {
            return None;
        }
        region.next = at + size;
        Some(self.note_taken(core::ptr::with_exposed_provenance_mut(at), class))
    }

    /// Cuts a free block of class `larger` in halves.
    fn split(&mut self, larger: usize, class: usize) -> Option<*mut u8> {
        let block = self.pop(larger)?;
        for half in class..larger {
            // SAFETY: the second half of the block's first `2 * class_size(half)` bytes.
            unsafe { self.put(block.add(class_size(half)), half) };
        }
        Some(self.note_taken(block, class))
    }

    /// # Safety
    ///
    /// The block is of this class and nobody uses it.
    unsafe fn put(&mut self, block: *mut u8, class: usize) {
        let block = block.cast::<FreeBlock>();
        // SAFETY: blocks have room for this and are aligned for it.
        unsafe { block.write(FreeBlock { next: self.free[class] }) };
        self.free[class] = block;
    }

    /// # Safety
    ///
    /// The block is in use and of this region. Its owner gives it up.
    unsafe fn give_back(&mut self, block: NonNull<u8>, place: usize) {
        let class = self.class_of(block.addr().get(), place);
        // SAFETY: the caller says so.
        unsafe { self.put(block.as_ptr(), class) };
        self.regions[place].blocks = self.regions[place].blocks.saturating_sub(1);
    }

    /// The first region, without blocks in use, is as if none had ever been given out.
    fn renew_first(&mut self) {
        let (start, size) = bounds(FIRST_PLACE);
        let whole = Region::new(start, size, false);
        let first = &self.regions[FIRST_PLACE];
        if first.blocks == 0 && first.next != whole.next {
            self.forget(start, size);
            self.regions[FIRST_PLACE] = whole;
        }
    }

    /// Takes the free blocks of a region out of the lists.
    fn forget(&mut self, start: usize, size: usize) {
        for list in &mut self.free {
            let mut link: *mut *mut FreeBlock = list;
            // SAFETY: `link` is the list's head or the link in one of its blocks. All of them are free blocks of the
            // heap's.
            unsafe {
                while let Some(block) = NonNull::new(*link) {
                    if block.as_ptr().addr().wrapping_sub(start) < size {
                        *link = block.read().next;
                    } else {
                        link = &raw mut (*block.as_ptr()).next;
                    }
                }
            }
        }
    }

    /// Another region to cut from.
    fn grow(&mut self) -> Option<usize> {
        let regions = self.regions[..MOST_REGIONS].iter().filter(|region| region.end != 0 && !region.is_leased).count();
        let largest = (SECOND_SIZE << regions.min(8)).min(LARGEST_GROWTH);
        self.map(largest, false).or_else(|| self.map(SECOND_SIZE, false))
    }

    /// A new region. Its size is a power of two.
    fn map(&mut self, size: usize, is_leased: bool) -> Option<usize> {
        let place = REGIONS.iter().position(|region| region.load(Relaxed) == 0)?;
        OUTSIDE.fetch_add(1, Relaxed);
        let mapped = map(size);
        if mapped.is_null() {
            OUTSIDE.fetch_sub(1, Relaxed);
            return None;
        }
        let start = mapped.expose_provenance();
        REGIONS[place].store(start | size.trailing_zeros() as usize, Relaxed);
        self.regions[place] = Region::new(start, size, is_leased);
        Some(place)
    }

    /// Gives a region that has no block in use back to the system.
    fn unmap_if_unused(&mut self, place: usize) {
        let (start, size) = bounds(place);
        let region = &self.regions[place];
        if start == 0 || region.blocks > 0 || region.is_leased {
            return;
        }
        self.forget(start, size);
        self.regions[place] = Region::NONE;
        // Out of the table first, as with mappings.
        REGIONS[place].store(0, Release);
        // SAFETY: a region of `map` and in no list any more.
        unsafe { unmap(start, size) };
        OUTSIDE.fetch_sub(1, Relaxed);
    }

    /// Whether a call finds room enough that it may begin something. Returns what is not used any more.
    fn is_ready(&mut self) -> bool {
        self.renew_first();
        for place in 0..MOST_REGIONS {
            self.unmap_if_unused(place);
        }
        let has_room = |region: &Region| !region.is_leased && region.end - region.next >= ROOM;
        self.regions.iter().any(has_room) || self.grow().is_some()
    }
}

/// A region that nothing else uses up while there are others. What is in use of it at the end stays.
pub struct Lease(usize);

/// Leases so many bytes for something that allocates much and cannot fail. Untouched they take no memory. What is
/// allocated comes from the process's allocator as long as that has any.
pub fn lease(bytes: usize) -> Result<Lease> {
    let size = bytes.max(SECOND_SIZE).checked_next_power_of_two();
    size.and_then(|size| lock().map(size, true)).map(Lease).ok_or_else(Error::out_of_memory)
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut heap = lock();
        heap.regions[self.0].is_leased = false;
        heap.unmap_if_unused(self.0);
    }
}

/// Refuses to begin something while memory is short. One load if the reserve was not used.
#[inline]
pub fn check() -> Result<()> {
    if PRESSED.load(Relaxed) { recover() } else { Ok(()) }
}

/// Whether the process's allocator has refused memory since a call last found that all is well.
pub fn was_used() -> bool {
    PRESSED.load(Relaxed)
}

/// As `check` for calls that are not made for each batch: also asks the process's allocator for some memory.
pub fn check_now() -> Result<()> {
    check()?;
    if is_there(PROBE) { Ok(()) } else { Err(Error::out_of_memory()) }
}

/// Whether the process's allocator has memory again and the reserve is whole or has been extended.
#[cold]
fn recover() -> Result<()> {
    if !is_there(PROBE) {
        return Err(Error::out_of_memory());
    }
    // Whoever uses the reserve from here on says so again.
    PRESSED.store(false, Relaxed);
    if lock().is_ready() {
        return Ok(());
    }
    PRESSED.store(true, Relaxed);
    Err(Error::out_of_memory())
}

/// Whether the process's allocator has so many bytes now.
fn is_there(bytes: usize) -> bool {
    let block = super::malloc::of_process(bytes);
    let is_there = !block.is_null();
    // SAFETY: it was just allocated.
    unsafe { super::malloc::free_of_process(block) };
    is_there
}

#[cfg(test)]
mod tests;

//! The emergency reserve: what allocations get that cannot fail when the allocator of the process refuses them.
//!
//! Rust's own code, Wasmtime, Cranelift and the codecs abort if an allocation fails. So small ones are served from here
//! until the current call has returned. Calls that would begin something new are refused meanwhile with
//! `WASM_STATUS_OUT_OF_MEMORY` ([`check`]). Large ones get a mapping of their own. `super::malloc` is the way in.
//!
//! The first part is in the library's data. It exists since the library was loaded, so nothing can refuse it. It is not
//! touched before it is needed. Further chunks are mapped as long as the system has any.
#![allow(unsafe_code)]

use super::block::page;
use crate::base::error::{Error, Result};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of the first part and of each further chunk.
pub const CHUNK: usize = 1 << 20;
/// Chunks beside the first part.
const MOST_CHUNKS: usize = 255;
/// Mappings for large blocks.
const MOST_MAPPINGS: usize = 512;
/// Blocks have the size of a power of two: from 32 bytes …
const SMALLEST: u32 = 5;
/// … to 64 KiB. Larger ones are mapped.
const LARGEST: u32 = 16;
const CLASSES: usize = (LARGEST - SMALLEST + 1) as usize;
/// From here on a mapping of its own is tried before a block.
const MAPPED_FIRST: usize = 16 << 10;
/// Blocks are aligned to their size but to no more than this.
const MOST_ALIGNED: usize = 4096;
/// A chunk begins with a byte for each place where a block may begin: the block's class.
const TABLE: usize = CHUNK >> SMALLEST;
/// Bytes that were never given out which a call must find that begins something.
const ROOM: usize = CHUNK / 2;
/// What the allocator must have then.
const PROBE: usize = 16 << 10;

#[repr(C, align(4096))]
struct First(UnsafeCell<[MaybeUninit<u8>; CHUNK]>);

// SAFETY: the bytes belong to whoever was given a block of them. The lock of `HEAP` decides who that is.
unsafe impl Sync for First {}

static FIRST: First = First(UnsafeCell::new([MaybeUninit::uninit(); CHUNK]));

/// Chunks and mappings that exist. Nearly always none.
static OUTSIDE: AtomicUsize = AtomicUsize::new(0);
/// Addresses of chunks. 0 if there is none.
static CHUNKS: [AtomicUsize; MOST_CHUNKS] = [const { AtomicUsize::new(0) }; MOST_CHUNKS];
/// Addresses of mappings for large blocks. 0 if there is none.
static MAPPINGS: [AtomicUsize; MOST_MAPPINGS] = [const { AtomicUsize::new(0) }; MOST_MAPPINGS];
/// Their sizes.
static MAPPED: [AtomicUsize; MOST_MAPPINGS] = [const { AtomicUsize::new(0) }; MOST_MAPPINGS];
/// The reserve was used since a call last found that all is well.
static PRESSED: AtomicBool = AtomicBool::new(false);

static HEAP: Mutex<Heap> =
    Mutex::new(Heap { free: [null_mut(); CLASSES], next: 0, end: 0, chunks: 0, blocks: [0; MOST_CHUNKS + 1], all: 0 });

/// A block that was given back. It stands at the block's beginning.
struct FreeBlock {
    next: *mut FreeBlock,
}

/// Blocks by size. What was never given out is cut off from the newest chunk.
struct Heap {
    free: [*mut FreeBlock; CLASSES],
    /// The part of the newest chunk that was never given out.
    next: usize,
    end: usize,
    /// How many places of `CHUNKS` were ever used.
    chunks: usize,
    /// Blocks in use by chunk. The last place is the first part's.
    blocks: [u32; MOST_CHUNKS + 1],
    /// Blocks in use.
    all: usize,
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

fn first() -> usize {
    FIRST.0.get().addr()
}

#[inline]
fn is_in_first(address: usize) -> bool {
    address.wrapping_sub(first()) < CHUNK
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
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
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

/// Memory that the process's allocator has refused. NULL if the reserve is used up, too. The alignment is a power of two.
#[cold]
pub fn take(size: usize, align: usize) -> *mut u8 {
    let mapped = if size > MAPPED_FIRST { take_mapping(size, align) } else { null_mut() };
    if !mapped.is_null() {
        return mapped;
    }
    let Some(class) = class(size, align) else { return null_mut() };
    PRESSED.store(true, Relaxed);
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
    let Some(chunk) = chunk_of(address) else { return false };
    // SAFETY: the block lies in a chunk, so the heap gave it out.
    unsafe { lock().give_back(block, chunk) };
    true
}

/// The size of a block. None if it is not the reserve's.
#[cold]
pub fn size(block: NonNull<u8>) -> Option<usize> {
    let address = block.addr().get();
    if let Some(place) = mapping_of(address) {
        return Some(MAPPED[place].load(Relaxed));
    }
    let chunk = chunk_of(address)?;
    Some(class_size(lock().class_of(address, chunk)))
}

/// The place of the mapping that begins at an address. A mapping in use is in the table, whoever changes others.
fn mapping_of(address: usize) -> Option<usize> {
    if OUTSIDE.load(Relaxed) == 0 || !address.is_multiple_of(MOST_ALIGNED) {
        return None;
    }
    MAPPINGS.iter().position(|mapping| mapping.load(Relaxed) == address)
}

/// The place of the chunk in which an address is. A chunk with a block in use is in the table, whoever changes it.
fn chunk_of(address: usize) -> Option<usize> {
    if is_in_first(address) {
        return Some(MOST_CHUNKS);
    }
    if OUTSIDE.load(Relaxed) == 0 {
        return None;
    }
    CHUNKS.iter().position(|chunk| {
        let start = chunk.load(Relaxed);
        start != 0 && address.wrapping_sub(start) < CHUNK
    })
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
        let is_taken = |place: &AtomicUsize| place.compare_exchange(0, address, Relaxed, Relaxed).is_ok();
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

/// Where a chunk begins.
fn start(chunk: usize) -> *mut u8 {
    match CHUNKS.get(chunk) {
        Some(start) => core::ptr::with_exposed_provenance_mut(start.load(Relaxed)),
        None => FIRST.0.get().cast(),
    }
}

impl Heap {
    fn take(&mut self, class: usize) -> *mut u8 {
        self.reset_if_unused();
        if let Some(block) = self.reuse(class) {
            return block;
        }
        if let Some(block) = self.cut(class).or_else(|| self.grow().and_then(|()| self.cut(class))) {
            return block;
        }
        // A block of a larger class stays one of that class only until it is given back. So it is cut to size.
        (class + 1..CLASSES).find_map(|larger| self.split(larger, class)).unwrap_or(null_mut())
    }

    /// Where the class of a block stands.
    fn entry(&self, address: usize, chunk: usize) -> *mut u8 {
        let start = start(chunk);
        start.wrapping_add((address - start.addr()) >> SMALLEST)
    }

    fn class_of(&self, address: usize, chunk: usize) -> usize {
        // SAFETY: the chunk's table. It was written when the block was given out.
        usize::from(unsafe { self.entry(address, chunk).read() }).min(CLASSES - 1)
    }

    fn note_taken(&mut self, block: *mut u8, class: usize) -> *mut u8 {
        if let Some(chunk) = chunk_of(block.addr()) {
            self.blocks[chunk] += 1;
            // SAFETY: the chunk's table. The heap alone uses it.
            unsafe { self.entry(block.addr(), chunk).write(class as u8) };
        }
        self.all += 1;
        block
    }

    fn reuse(&mut self, class: usize) -> Option<*mut u8> {
        let block = NonNull::new(self.free[class])?;
        // SAFETY: what is in a free list is a free block of the heap's.
        self.free[class] = unsafe { block.read().next };
        Some(self.note_taken(block.as_ptr().cast(), class))
    }

    /// A block of what was never given out.
    fn cut(&mut self, class: usize) -> Option<*mut u8> {
        let size = class_size(class);
        let at = self.next.next_multiple_of(size.min(MOST_ALIGNED));
        if self.next == 0 || at + size > self.end {
            return None;
        }
        self.next = at + size;
        Some(self.note_taken(core::ptr::with_exposed_provenance_mut(at), class))
    }

    /// Cuts a free block of class `larger`.
    fn split(&mut self, larger: usize, class: usize) -> Option<*mut u8> {
        let block = NonNull::new(self.free[larger])?;
        // SAFETY: as in `reuse`.
        self.free[larger] = unsafe { block.read().next };
        let block = block.as_ptr().cast::<u8>();
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
    /// The block is in use and of this chunk. Its owner gives it up.
    unsafe fn give_back(&mut self, block: NonNull<u8>, chunk: usize) {
        let class = self.class_of(block.addr().get(), chunk);
        // SAFETY: the caller says so.
        unsafe { self.put(block.as_ptr(), class) };
        self.blocks[chunk] = self.blocks[chunk].saturating_sub(1);
        self.all = self.all.saturating_sub(1);
    }

    /// Without blocks in use all of the first part is as if it had never been given out.
    fn reset_if_unused(&mut self) {
        if self.all > 0 {
            return;
        }
        self.free = [null_mut(); CLASSES];
        let start = FIRST.0.get().expose_provenance();
        self.next = start + TABLE;
        self.end = start + CHUNK;
        for chunk in &CHUNKS[..self.chunks] {
            remove(chunk);
        }
        self.chunks = 0;
    }

    /// Another chunk to cut from. What is left of the one before stays unused until that is empty.
    fn grow(&mut self) -> Option<()> {
        let place = CHUNKS.iter().position(|chunk| chunk.load(Relaxed) == 0)?;
        OUTSIDE.fetch_add(1, Relaxed);
        let mapped = map(CHUNK);
        if mapped.is_null() {
            OUTSIDE.fetch_sub(1, Relaxed);
            return None;
        }
        let start = mapped.expose_provenance();
        self.next = start + TABLE;
        self.end = start + CHUNK;
        CHUNKS[place].store(start, Relaxed);
        self.blocks[place] = 0;
        self.chunks = self.chunks.max(place + 1);
        Some(())
    }

    /// Gives chunks without a block in use back to the system.
    fn trim(&mut self) {
        for (chunk, blocks) in CHUNKS[..self.chunks].iter().zip(self.blocks) {
            let start = chunk.load(Relaxed);
            if start == 0 || blocks > 0 || self.end == start + CHUNK {
                continue;
            }
            for list in &mut self.free {
                let mut link: *mut *mut FreeBlock = list;
                // SAFETY: `link` is the list's head or the link in one of its blocks. All of them are free blocks of the
                // heap's.
                unsafe {
                    while let Some(block) = NonNull::new(*link) {
                        if block.as_ptr().addr().wrapping_sub(start) < CHUNK {
                            *link = block.read().next;
                        } else {
                            link = &raw mut (*block.as_ptr()).next;
                        }
                    }
                }
            }
            remove(chunk);
        }
    }

    /// Whether a call finds room enough that it may begin something.
    fn is_ready(&mut self) -> bool {
        self.reset_if_unused();
        self.trim();
        self.end - self.next >= ROOM || self.grow().is_some()
    }
}

/// Gives a chunk back that has no block in use.
fn remove(chunk: &AtomicUsize) {
    // Out of the table first, as with mappings.
    let start = chunk.swap(0, Release);
    if start != 0 {
        // SAFETY: a chunk of `grow` and in no list any more.
        unsafe { unmap(start, CHUNK) };
        OUTSIDE.fetch_sub(1, Relaxed);
    }
}

/// Refuses to begin something while memory is short. One load if the reserve was not used.
#[inline]
pub fn check() -> Result<()> {
    if PRESSED.load(Relaxed) { recover() } else { Ok(()) }
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
    super::malloc::free_of_process(block);
    is_there
}

#[cfg(test)]
mod tests;

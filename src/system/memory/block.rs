//! Blocks of memory from the host's allocator or from the system.
#![allow(unsafe_code)]

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::host::owned::{Owned, host_data};
use core::ffi::c_void;
use core::ptr::NonNull;
use std::sync::Arc;

/// The host's allocator for linear memories or for guests' stacks.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_allocator {
    /// `sizeof(wasm_allocator)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`. Called once for each config field that names the table: when the runtime and everything made
    /// from it are gone or when `wasm_runtime_create` fails. Called on any thread including the library's. May be
    /// NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Returns `bytes` readable and writable bytes or NULL if there are none. They begin at a multiple of
    /// `alignment`, a power of two. A block for linear memory must read as zero. A block for stacks need not. Called
    /// on the thread that prepares itself or that starts an engine. Must not throw.
    pub allocate: Option<unsafe extern "C" fn(data: *mut c_void, bytes: usize, alignment: usize) -> *mut c_void>,
    /// Takes back a block from `allocate`. Only the first `used` bytes of a block for linear memory may differ from
    /// zero. Called on the thread that the block was allocated on: when the engine stops, in `wasm_thread_release` or
    /// as the thread ends. Blocks that are left when a runtime goes are released on the thread that drops the last
    /// reference. This may be a compile thread. Must not throw.
    pub release: Option<unsafe extern "C" fn(data: *mut c_void, memory: *mut c_void, bytes: usize, used: usize)>,
}

host_data!(wasm_allocator: AnyThread, "The header says: prepared threads call it concurrently. `drop` runs on any.");

/// A complete allocator that is owned.
pub struct Allocator {
    table: Owned<wasm_allocator>,
    allocate: unsafe extern "C" fn(data: *mut c_void, bytes: usize, alignment: usize) -> *mut c_void,
    release: unsafe extern "C" fn(data: *mut c_void, memory: *mut c_void, bytes: usize, used: usize),
}

impl Allocator {
    /// Takes over a host's table. `name` is for the error message.
    pub fn new(table: Owned<wasm_allocator>, name: &str) -> Result<Self> {
        match (table.allocate, table.release) {
            (Some(allocate), Some(release)) => Ok(Self { table, allocate, release }),
            _ => Err(Error::new(Status::NullArgument, format!("{name}: allocate and release are both required"))),
        }
    }
}

/// Why there is no block or no stack in it.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// The source has none that large.
    #[error("the allocator or the system has no block of {0} bytes")]
    Block(usize),
    /// The host's mistake. The host got its block back.
    #[error("the host's allocator returned a block that is not aligned to {0} bytes as requested")]
    Alignment(usize),
    /// The system refused a guard.
    #[error(
        "no guard could be made below a stack ({0}). Stacks need ordinary pages and (before Linux 6.13) two mappings each \
         (vm.max_map_count)"
    )]
    Guard(std::io::Error),
}

/// Where blocks come from.
#[derive(Clone)]
pub enum Source {
    /// Mapped without a claim on memory until the first access.
    System,
    /// The host.
    Host(Arc<Allocator>),
}

/// A block. Dropping it returns the memory.
pub struct Block {
    source: Source,
    start: NonNull<u8>,
    bytes: usize,
    /// The argument `used` of `release`.
    used: usize,
}

// SAFETY: nothing else refers to the block's memory. Its allocator may be called on any thread.
unsafe impl Send for Block {}
// SAFETY: a shared reference cannot read or write the block without `unsafe` and a reason.
unsafe impl Sync for Block {}

/// Bytes of a page of the system's.
pub fn page() -> usize {
    // SAFETY: has no requirements.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

impl Source {
    /// A block of `bytes` at a multiple of `alignment`. Both are multiples of the page size.
    pub fn allocate(&self, bytes: usize, alignment: usize) -> Result<Block, Missing> {
        let start = match self {
            Self::System => map(bytes, alignment).ok_or(Missing::Block(bytes))?,
            Self::Host(host) => {
                // SAFETY: the host passed function and data together.
                let given = unsafe { (host.allocate)(host.table.data, bytes, alignment) };
                let start = NonNull::new(given.cast::<u8>()).ok_or(Missing::Block(bytes))?;
                if start.addr().get() % alignment != 0 {
                    // SAFETY: as above, with the result of `allocate`.
                    unsafe { (host.release)(host.table.data, start.as_ptr().cast(), bytes, 0) };
                    return Err(Missing::Alignment(alignment));
                }
                start
            }
        };
        Ok(Block { source: self.clone(), start, bytes, used: 0 })
    }

    /// Whether the source is the system.
    pub fn is_system(&self) -> bool {
        matches!(self, Self::System)
    }
}

/// Maps `bytes` at a multiple of `alignment`. The kernel need not reserve memory: most of the mapping stays
/// untouched.
fn map(bytes: usize, alignment: usize) -> Option<NonNull<u8>> {
    let spare = if alignment > page() { alignment } else { 0 };
    let whole = bytes.checked_add(spare)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let mapped = unsafe { libc::mmap(core::ptr::null_mut(), whole, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return None;
    }
    let start = mapped.addr().next_multiple_of(alignment.max(1));
    let before = start - mapped.addr();
    let after = spare - before;
    // SAFETY: both ranges are parts of the mapping made above on either side of the kept part.
    unsafe {
        if before > 0 {
            libc::munmap(mapped, before);
        }
        if after > 0 {
            libc::munmap(mapped.byte_add(before + bytes), after);
        }
        NonNull::new(mapped.byte_add(before).cast())
    }
}

impl Block {
    /// Its first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the block is the system's. Its pages can then be given back to the system.
    pub fn is_system(&self) -> bool {
        self.source.is_system()
    }

    /// So many bytes from the start may differ from zero.
    pub fn set_used(&mut self, used: usize) {
        self.used = used;
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        match &self.source {
            Source::System => {
                // SAFETY: the whole of a mapping that `map` made. It is unmapped once.
                unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
            }
            Source::Host(host) => {
                // SAFETY: the block came from `allocate` and is given back once.
                unsafe { (host.release)(host.table.data, self.start.as_ptr().cast(), self.bytes, self.used) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_gives_aligned_blocks_that_can_be_written() {
        for alignment in [page(), 64 << 10, 2 << 20] {
            let block = Source::System.allocate(3 * page(), alignment).unwrap();
            assert_eq!(block.start().addr().get() % alignment, 0);
            // SAFETY: inside of the block. The block has no other user.
            unsafe {
                block.start().as_ptr().write(1);
                block.start().as_ptr().add(block.bytes() - 1).write(1);
            }
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(Source::System.allocate((usize::MAX / 2) & !(page() - 1), 2 << 20).is_err());
    }
}

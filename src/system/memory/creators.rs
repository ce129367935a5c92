//! What Wasmtime asks for memories and stacks in the modes in which the library provides them.
#![allow(unsafe_code)]

use super::block::{Block, Missing, Source, page};
use super::mapping::Mapping;
use super::pools::{Pools, ThreadPool, not_prepared};
use super::slabs;
use super::stacks::{SingleStack, StackRange};
use super::windows;
use crate::base::error::Error;
use crate::base::status::wasm_status as Status;
use core::cell::Cell;
use core::ops::Range;
use std::sync::Arc;
use wasmtime::{LinearMemory, MemoryCreator, MemoryType, StackCreator, StackMemory};

thread_local! {
    /// Why this thread was last refused a memory or a stack. Wasmtime passes on only text.
    static REFUSAL: Cell<Option<Error>> = const { Cell::new(None) };
}

/// Takes the reason why this thread was last refused a memory or a stack.
pub fn take_refusal() -> Option<Error> {
    // Engines may be polled at the very end of a thread, when this is gone.
    REFUSAL.try_with(Cell::take).ok().flatten()
}

fn refuse(error: Error) -> String {
    let message = error.message.clone();
    let _ = REFUSAL.try_with(|refusal| refusal.set(Some(error)));
    message
}

/// Where an engine's memory and stack come from.
#[derive(Clone)]
pub enum Provider {
    /// A mapping for each engine. Stacks are Wasmtime's own.
    Mapped,
    /// The thread's pool.
    Pool(Arc<Pools>),
    /// The host for each engine.
    Host {
        /// Memories.
        memories: Source,
        /// Stacks.
        stacks: Source,
        /// Bytes of a memory.
        memory: usize,
    },
}

/// What `Missing` means for an engine that starts.
fn missing(why: Missing, what: &str) -> Error {
    match why {
        Missing::Block(bytes) => Error::new(
            Status::PoolExhausted,
            format!("the allocator has no {what} of {bytes} bytes: stop an engine or give the allocator more memory"),
        ),
        other => Error::new(Status::System, other.to_string()),
    }
}

/// The system has no memory or no address space left.
fn unmapped(bytes: usize, why: &std::io::Error) -> Error {
    Error::new(Status::System, format!("a memory of {bytes} bytes could not be mapped: {why}"))
}

// SAFETY: memories are at least as large as requested and do not move. They are zeroed: a mapping by the system, those
// of a pool by the pool, a block of `Provider::Host` by the host, whose header demands it. An image in a mapping is
// data of the module that Wasmtime then need not copy. A mapping has the reservation and the guard that are asked for.
// The others have no guard. For them the runtime's configuration promises Wasmtime neither a guard
// (`Config::memory_guard_size`) nor a reservation, so compiled code checks each access against the memory's current
// size. Windows are what `windows` says.
unsafe impl MemoryCreator for Provider {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if windows::is_window(&ty) {
            return windows::take(&ty, minimum);
        }
        if matches!(self, Self::Mapped) {
            let image = windows::image();
            let mapping = Mapping::new(minimum, reserved.unwrap_or(0).max(minimum), guard, image.as_deref());
            let mapping = mapping.map_err(|e| refuse(unmapped(minimum, &e)))?;
            return Ok(Box::new(mapping));
        }
        if guard != 0 {
            return Err(refuse(Error::new(Status::Internal, "a memory with a guard was requested")));
        }
        let holder = match self {
            Self::Mapped => return Err(refuse(Error::new(Status::Internal, "a memory was not mapped"))),
            Self::Pool(pools) => {
                let pool = pools.mine().ok_or_else(|| refuse(not_prepared()))?;
                let index = pool.slabs.take().ok_or_else(|| refuse(pool.exhausted("memory")))?;
                Holder::Slab { pool, index }
            }
            Self::Host { memories, memory, .. } => {
                // No more than the module's own maximum and the transform's limit.
                let most = windows::limit().unwrap_or(usize::MAX).min(maximum.unwrap_or(usize::MAX));
                let bytes = (*memory).min(most).max(page());
                Holder::Block(memories.allocate(bytes, page()).map_err(|why| refuse(missing(why, "memory")))?)
            }
        };
        let mut memory = SlabMemory { holder, size: 0 };
        if memory.byte_capacity() < minimum {
            return Err(refuse(Error::new(
                Status::GuestMemoryLimit,
                format!("a memory of {minimum} bytes was requested but memories have {}", memory.byte_capacity()),
            )));
        }
        memory.size = minimum;
        Ok(Box::new(memory))
    }
}

/// One linear memory.
struct SlabMemory {
    holder: Holder,
    size: usize,
}

enum Holder {
    Slab { pool: Arc<ThreadPool>, index: u32 },
    Block(Block),
}

// SAFETY: `as_ptr` is the start of a slab or block of `byte_capacity` bytes that is ours until the drop.
unsafe impl LinearMemory for SlabMemory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        match &self.holder {
            Holder::Slab { pool, .. } => pool.slabs.slab(),
            Holder::Block(block) => block.bytes(),
        }
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        if size > self.byte_capacity() {
            wasmtime::bail!("the memory cannot grow to {size} bytes: it has {}", self.byte_capacity());
        }
        self.size = size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        match &self.holder {
            Holder::Slab { pool, index } => pool.slabs.start(*index).as_ptr(),
            Holder::Block(block) => block.start().as_ptr(),
        }
    }
}

impl Drop for SlabMemory {
    fn drop(&mut self) {
        let size = self.size;
        match &mut self.holder {
            Holder::Slab { pool, index } => {
                pool.slabs.give_back(*index, size);
                // A small memory can then be reused at once while it is warm. The rest is left for idle moments.
                pool.slabs.clean(slabs::AT_ONCE);
            }
            Holder::Block(block) => block.set_used(size),
        }
    }
}

// SAFETY: stacks are whole pages without another user and with a guard below. Those of a pool have the size that is
// asked for, because both are of one configuration. None needs to be zero: `Config::async_stack_zeroing` is off.
unsafe impl StackCreator for Provider {
    fn new_stack(&self, size: usize, _zeroed: bool) -> Result<Box<dyn StackMemory>, wasmtime::Error> {
        let refuse = |error| wasmtime::Error::msg(refuse(error));
        Ok(match self {
            Self::Mapped => {
                return Err(wasmtime::Error::msg(refuse(Error::new(Status::Internal, "stacks are Wasmtime's own"))));
            }
            Self::Pool(pools) => {
                let pool = pools.mine().ok_or_else(|| refuse(not_prepared()))?;
                let index = pool.stacks.take().ok_or_else(|| refuse(pool.exhausted("stack")))?;
                Box::new(Stack { place: pool.stacks.place(index), holder: StackHolder::Pool(pool, index) })
            }
            Self::Host { stacks, .. } => {
                let single = SingleStack::new(stacks, size).map_err(|why| refuse(missing(why, "stack")))?;
                Box::new(Stack { place: single.place(), holder: StackHolder::Host(single) })
            }
        })
    }
}

/// One stack.
struct Stack {
    place: StackRange,
    holder: StackHolder,
}

enum StackHolder {
    Pool(Arc<ThreadPool>, u32),
    /// Kept until the drop.
    Host(#[allow(dead_code)] SingleStack),
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let StackHolder::Pool(pool, index) = &self.holder {
            pool.stacks.give_back(*index);
        }
    }
}

// SAFETY: the stack owns its memory until the drop.
unsafe impl StackMemory for Stack {
    fn top(&self) -> *mut u8 {
        self.place.top()
    }

    fn range(&self) -> Range<usize> {
        self.place.range()
    }

    fn guard_range(&self) -> Range<*mut u8> {
        self.place.guard_range()
    }
}

//! A memory of its own for a guest: address space for all it can ever have with a guard behind, of which it can access
//! its current size.
#![allow(unsafe_code)]

use super::image::Image;
use core::ptr::NonNull;
use std::io::Error;
use wasmtime::LinearMemory;

/// A mapping.
pub struct Mapping {
    start: NonNull<u8>,
    /// Bytes of address space without the guard.
    capacity: usize,
    guard: usize,
    size: usize,
}

// SAFETY: the mapping has no other owner.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference cannot read or write the memory without `unsafe` and a reason.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// All sizes are multiples of the page size. The image is what it begins with.
    pub fn new(size: usize, capacity: usize, guard: usize, image: Option<&Image>) -> Result<Self, Error> {
        let whole = capacity.checked_add(guard).ok_or(Error::from_raw_os_error(libc::ENOMEM))?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { libc::mmap(core::ptr::null_mut(), whole.max(1), libc::PROT_NONE, flags, -1, 0) };
        let Some(start) = NonNull::new(start.cast()).filter(|_| start != libc::MAP_FAILED) else {
            return Err(Error::last_os_error());
        };
        let mut mapping = Self { start, capacity, guard, size: 0 };
        mapping.set_size(size)?;
        if let Some(image) = image {
            // SAFETY: the mapping is new. Nothing else knows it.
            unsafe { image.map(start, size) }?;
        }
        Ok(mapping)
    }

    fn set_size(&mut self, size: usize) -> Result<(), Error> {
        if size > self.size {
            // SAFETY: within the mapping, behind what is in use.
            let more = unsafe { self.start.as_ptr().add(self.size) };
            // SAFETY: as above.
            let done = unsafe { libc::mprotect(more.cast(), size - self.size, libc::PROT_READ | libc::PROT_WRITE) };
            if done != 0 {
                return Err(Error::last_os_error());
            }
        }
        self.size = size;
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the whole of a mapping that `new` made. It is unmapped once.
        unsafe { libc::munmap(self.start.as_ptr().cast(), (self.capacity + self.guard).max(1)) };
    }
}

// SAFETY: `as_ptr` is the start of `byte_capacity` bytes of address space and a guard that are ours until the drop. The
// first `byte_size` of them can be accessed. They were zero but for an image, which has what Wasmtime would have copied
// there before any code of the guest runs.
unsafe impl LinearMemory for Mapping {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        if size > self.capacity {
            wasmtime::bail!("the memory cannot grow to {size} bytes: it has {}", self.capacity);
        }
        Ok(self.set_size(size)?)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

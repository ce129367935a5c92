//! Memories for plain Wasmtime that begin with an image, as the library's do: Wasmtime then applies the segments that stay.

use std::cell::RefCell;
use std::sync::Arc;
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

thread_local!(static NEXT: RefCell<Option<(u32, Arc<[u8]>)>> = const { RefCell::new(None) });

/// What this thread's next memory begins with: an address and bytes.
pub fn prepare(image: Option<(u32, Arc<[u8]>)>) {
    NEXT.set(image);
}

/// Makes memories that can have so many bytes.
pub struct Creator {
    /// These.
    pub bytes: usize,
}

// SAFETY: a memory has as many bytes as it says, which stay where they are and are zero but for the image.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        _reserved: Option<usize>,
        _guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if minimum > self.bytes {
            return Err("the memory is too large".into());
        }
        // Pages that are not used take no memory.
        let mut bytes = vec![0; self.bytes];
        if let Some((start, image)) = NEXT.take() {
            let (start, end) = (start as usize, start as usize + image.len());
            assert!(end <= minimum, "the image is within the memory");
            bytes[start..end].copy_from_slice(&image);
        }
        let start = bytes.as_mut_ptr().expose_provenance();
        Ok(Box::new(Memory { bytes, start, size: minimum }))
    }
}

struct Memory {
    bytes: Vec<u8>,
    start: usize,
    size: usize,
}

// SAFETY: as above. The bytes are not resized.
unsafe impl LinearMemory for Memory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.bytes.len()
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        if size > self.bytes.len() {
            wasmtime::bail!("there is no room");
        }
        self.size = size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.start)
    }
}

//! Chunks: buffers of one size from the thread's free list.
//!
//! Whatever a batch needs for a while is taken in chunks: no allocation on the way of a batch is larger than one. An
//! allocator with little or fragmented memory has them when it has nothing larger. Only a record that is larger than a
//! chunk gets a buffer of its own size.

use crate::error::{Error, Kind, Result};
use crate::fallible;
use core::cell::RefCell;

/// Bytes of a chunk. It stays in a core's second-level cache between the write and the read.
pub const SIZE: usize = 64 << 10;

/// Chunks that a thread keeps: 1 MiB.
const MOST_KEPT: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of `SIZE` bytes. Returned to the free list of the thread that drops it.
#[derive(Debug)]
pub struct Chunk(Vec<u8>);

impl Chunk {
    /// A chunk with any content.
    pub fn take() -> Result<Self> {
        let kept = FREE.try_with(|free| free.try_borrow_mut().ok().and_then(|mut free| free.pop()));
        match kept {
            Ok(Some(bytes)) => Ok(Self(bytes)),
            _ => zeroed(SIZE).map(Self),
        }
    }

    /// All of it.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As `bytes`.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let bytes = core::mem::take(&mut self.0);
        let _ = FREE.try_with(|free| {
            if let Ok(mut free) = free.try_borrow_mut()
                && free.len() < MOST_KEPT
                && fallible::reserve(&mut free, 1).is_ok()
            {
                free.push(bytes);
            }
        });
    }
}

/// Frees the chunks that this thread keeps.
pub fn release_kept() {
    let _ = FREE.try_with(|free| free.take());
}

/// So many zero bytes.
pub fn zeroed(bytes: usize) -> Result<Vec<u8>> {
    let mut buffer = reserved(bytes)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}

/// An empty vector that has room for so many elements.
pub fn reserved<T>(count: usize) -> Result<Vec<T>> {
    fallible::vec(count).map_err(|_| refused(count.saturating_mul(size_of::<T>())))
}

/// The allocator refused so many bytes.
#[cold]
pub fn refused(bytes: usize) -> Error {
    Error::new(Kind::OutOfMemory, format!("the allocator refused {bytes} bytes; try again later"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_a_megabyte() {
        release_kept();
        let taken: Vec<_> = (0..MOST_KEPT + 5).map(|_| Chunk::take().unwrap()).collect();
        drop(taken);
        FREE.with(|free| assert_eq!(free.borrow().len(), MOST_KEPT));
        let mut one = Chunk::take().unwrap();
        one.bytes_mut()[SIZE - 1] = 7;
        FREE.with(|free| assert_eq!(free.borrow().len(), MOST_KEPT - 1));
        drop(one);
        assert_eq!(Chunk::take().unwrap().bytes()[SIZE - 1], 7, "the last one returned is the next one taken");
        release_kept();
        FREE.with(|free| assert!(free.borrow().is_empty()));
    }

    #[test]
    fn a_size_that_cannot_be_had_is_an_error() {
        assert_eq!(zeroed(isize::MAX as usize).unwrap_err().kind, Kind::OutOfMemory);
    }
}

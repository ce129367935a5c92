//! Memory whose size comes from input or from a guest. A refusal is an error and not the end of the process.
//!
//! The library's allocator has a reserve for allocations that cannot fail (`system::memory::reserve`). What is asked
//! for here must not use that up. So a mark says that a refusal is welcome.

use core::cell::Cell;
use std::collections::{TryReserveError, VecDeque};

thread_local! {
    /// What this thread allocates may be refused. Without a destructor, so that an allocator may read it at any time.
    static WELCOME: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread's allocation may be refused.
#[inline]
pub fn is_refusal_welcome() -> bool {
    WELCOME.get()
}

/// Runs `allocate`, whose allocations may be refused. It must allocate by functions that report that and by nothing
/// else.
#[inline]
fn fallibly<T>(allocate: impl FnOnce() -> T) -> T {
    /// Resets the mark on every path.
    struct Mark(bool);
    impl Drop for Mark {
        fn drop(&mut self) {
            WELCOME.set(self.0);
        }
    }
    let _mark = Mark(WELCOME.replace(true));
    allocate()
}

/// Room for `more` elements beside those that are there. More than asked for, as a vector that grows has it.
#[inline]
pub fn reserve<T>(vec: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
    if vec.capacity() - vec.len() >= more { Ok(()) } else { fallibly(|| vec.try_reserve(more)) }
}

/// Room for one element more at the end of a queue.
#[inline]
pub fn reserve_back<T>(queue: &mut VecDeque<T>) -> Result<(), TryReserveError> {
    if queue.len() < queue.capacity() { Ok(()) } else { fallibly(|| queue.try_reserve(1)) }
}

/// Room for exactly `more` elements beside those that are there.
#[inline]
pub fn reserve_exact<T>(vec: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
    if vec.capacity() - vec.len() >= more { Ok(()) } else { fallibly(|| vec.try_reserve_exact(more)) }
}

/// An empty vector with room for `count` elements.
pub fn vec<T>(count: usize) -> Result<Vec<T>, TryReserveError> {
    let mut vec = Vec::new();
    reserve_exact(&mut vec, count)?;
    Ok(vec)
}

/// A copy of a slice.
pub fn copy<T: Copy>(slice: &[T]) -> Result<Vec<T>, TryReserveError> {
    let mut copy = vec(slice.len())?;
    copy.extend_from_slice(slice);
    Ok(copy)
}

/// A copy of something large and rare, such as a module. The library may map memory for it past an allocator that has
/// no block that large.
pub fn copy_large(slice: &[u8]) -> Result<Vec<u8>, TryReserveError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(slice.len())?;
    copy.extend_from_slice(slice);
    Ok(copy)
}

/// Appends a slice.
pub fn extend<T: Copy>(vec: &mut Vec<T>, slice: &[T]) -> Result<(), TryReserveError> {
    reserve(vec, slice.len())?;
    vec.extend_from_slice(slice);
    Ok(())
}

/// Appends an element.
pub fn push<T>(vec: &mut Vec<T>, element: T) -> Result<(), TryReserveError> {
    reserve(vec, 1)?;
    vec.push(element);
    Ok(())
}

/// An empty string with room for `length` bytes.
pub fn string(length: usize) -> Result<String, TryReserveError> {
    let mut string = String::new();
    fallibly(|| string.try_reserve_exact(length))?;
    Ok(string)
}

/// A copy of a text.
pub fn text(text: &str) -> Result<String, TryReserveError> {
    let mut copy = string(text.len())?;
    copy.push_str(text);
    Ok(copy)
}

/// Appends a text.
pub fn extend_text(string: &mut String, text: &str) -> Result<(), TryReserveError> {
    if string.capacity() - string.len() < text.len() {
        fallibly(|| string.try_reserve(text.len()))?;
    }
    string.push_str(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_holds_for_one_allocation_and_is_gone_after_a_panic() {
        assert!(!is_refusal_welcome());
        fallibly(|| assert!(is_refusal_welcome()));
        assert!(!is_refusal_welcome());
        assert!(std::panic::catch_unwind(|| fallibly(|| panic!("within"))).is_err());
        assert!(!is_refusal_welcome());
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        assert!(vec::<u64>(usize::MAX / 2).is_err());
        assert!(reserve(&mut vec![0u8], usize::MAX).is_err());
        assert_eq!(copy(b"abc").unwrap(), b"abc");
        assert_eq!(text("abc").unwrap(), "abc");
        let mut grown = Vec::new();
        extend(&mut grown, b"ab").unwrap();
        push(&mut grown, b'c').unwrap();
        assert_eq!(grown, b"abc");
    }
}

//! The allocator of the whole library: that of the process, which a host may have replaced, with a reserve behind it.
#![allow(unsafe_code)]

use super::reserve;
use crate::batch::fallible::is_refusal_welcome;
use core::alloc::Layout;
use core::ptr::{NonNull, copy_nonoverlapping, null_mut};
use std::alloc::{GlobalAlloc, System};

/// The allocator.
struct Global;

#[global_allocator]
static GLOBAL: Global = Global;

/// The process's allocator has refused.
#[cold]
#[inline(never)]
fn refused(layout: Layout) -> *mut u8 {
    if is_refusal_welcome() { null_mut() } else { reserve::take(layout) }
}

// SAFETY: blocks come from the process's allocator or from the reserve. Both give what a layout asks for. `may_own` and
// `owns` tell them apart: what is in the reserve's first part or in its tables is the reserve's.
unsafe impl GlobalAlloc for Global {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that are asked for here.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { refused(layout) } else { block }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let block = unsafe { System.alloc_zeroed(layout) };
        if block.is_null() { refused_zeroed(layout) } else { block }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if reserve::may_own(block)
            && let Some(block) = NonNull::new(block)
            // SAFETY: the caller gives the block up.
            && unsafe { reserve::give_back(block, layout) }
        {
            return;
        }
        // SAFETY: it is not the reserve's, so it is the process's.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !reserve::may_own(block) || !reserve::owns(block, layout) {
            // SAFETY: as in `dealloc`. The caller's other promises are those that are asked for here.
            let moved = unsafe { System.realloc(block, layout, size) };
            if !moved.is_null() {
                return moved;
            }
        }
        // SAFETY: the caller's promises. The block is still there.
        unsafe { moved(block, layout, size) }
    }
}

#[cold]
fn refused_zeroed(layout: Layout) -> *mut u8 {
    let block = refused(layout);
    if !block.is_null() {
        // SAFETY: a new block with so many bytes.
        unsafe { block.write_bytes(0, layout.size()) };
    }
    block
}

/// Moves a block out of the reserve or into it.
///
/// # Safety
///
/// As of `realloc`.
#[cold]
unsafe fn moved(block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    // SAFETY: the caller says that the size, rounded up to the alignment, is valid and not zero. Both blocks have the
    // bytes that are copied. The old one is given up only when there is another.
    unsafe {
        let wanted = Layout::from_size_align_unchecked(size, layout.align());
        let to = GLOBAL.alloc(wanted);
        if !to.is_null() {
            copy_nonoverlapping(block, to, layout.size().min(size));
            GLOBAL.dealloc(block, layout);
        }
        to
    }
}

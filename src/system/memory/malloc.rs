//! `malloc` as everything that is linked into the library calls it: that of the process, which a host may have
//! replaced, with a reserve behind it.
//!
//! The linker binds calls of `malloc` to `__wrap_malloc` and calls of `__real_malloc` to `malloc`: `--wrap` in
//! build.rs. A `#[global_allocator]` would not do: parts of Rust's standard library (a thread's handle, the list of its
//! destructors) and codecs in C go past it.
#![allow(unsafe_code)]

use super::reserve;
use crate::batch::fallible::is_refusal_welcome;
use core::ffi::{c_int, c_void};
use core::ptr::{NonNull, copy_nonoverlapping, null_mut};

// What the linker binds to the functions of the process. No part of the header.
#[allow(unused_doc_comments)]
/// cbindgen:ignore
unsafe extern "C" {
    fn __real_malloc(size: usize) -> *mut c_void;
    fn __real_calloc(count: usize, size: usize) -> *mut c_void;
    fn __real_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn __real_posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int;
    fn __real_aligned_alloc(align: usize, size: usize) -> *mut c_void;
    fn __real_free(block: *mut c_void);
}

/// The alignment of what `malloc` gives.
const ALIGN: usize = 16;

/// A hidden symbol. An attribute would export it.
macro_rules! symbol {
    ($name:literal, $function:path) => {
        #[cfg(target_arch = "x86_64")]
        symbol!($name, "jmp", $function);
        #[cfg(target_arch = "aarch64")]
        symbol!($name, "b", $function);
    };
    ($name:literal, $jump:literal, $function:path) => {
        core::arch::global_asm!(
            concat!(".pushsection .text.", $name, ",\"ax\",@progbits"),
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ",@function"),
            concat!($name, ": ", $jump, " {}"),
            concat!(".size ", $name, ", .-", $name),
            ".popsection",
            sym $function,
        );
    };
}
symbol!("__wrap_malloc", malloc);
symbol!("__wrap_calloc", calloc);
symbol!("__wrap_realloc", realloc);
symbol!("__wrap_posix_memalign", posix_memalign);
symbol!("__wrap_aligned_alloc", aligned_alloc);
symbol!("__wrap_free", free);

/// The process's allocator has refused.
#[cold]
#[inline(never)]
fn refused(size: usize, align: usize) -> *mut c_void {
    if is_refusal_welcome() { null_mut() } else { reserve::take(size, align).cast() }
}

unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: the caller's promises are those of the function that it meant. So it is in all of these.
    let block = unsafe { __real_malloc(size) };
    if block.is_null() { refused(size, ALIGN) } else { block }
}

unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    // SAFETY: as in `malloc`.
    let block = unsafe { __real_calloc(count, size) };
    if block.is_null() { refused_zeroed(count, size) } else { block }
}

#[cold]
fn refused_zeroed(count: usize, size: usize) -> *mut c_void {
    let Some(size) = count.checked_mul(size) else { return null_mut() };
    let block = refused(size, ALIGN);
    if !block.is_null() {
        // SAFETY: a new block with so many bytes.
        unsafe { block.write_bytes(0, size) };
    }
    block
}

unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    match owned(block) {
        // SAFETY: as in `malloc`. The block is one of the reserve's.
        Some(block) => unsafe { move_out(block, size) },
        None => {
            // SAFETY: as in `malloc`.
            let moved = unsafe { __real_realloc(block, size) };
            // SAFETY: as above. The block is still there.
            if moved.is_null() && size > 0 { unsafe { move_in(block, size) } } else { moved }
        }
    }
}

/// The block if it is the reserve's.
#[inline]
fn owned(block: *mut c_void) -> Option<NonNull<u8>> {
    if !reserve::may_own(block.cast()) {
        return None;
    }
    NonNull::new(block.cast::<u8>()).filter(|&block| reserve::size(block).is_some())
}

/// # Safety
///
/// The block is the reserve's and in use.
#[cold]
unsafe fn move_out(block: NonNull<u8>, size: usize) -> *mut c_void {
    let has = reserve::size(block).unwrap_or(0);
    // SAFETY: both blocks have the bytes that are copied. The old one is given up only when there is another.
    unsafe {
        let to = malloc(size);
        if !to.is_null() {
            copy_nonoverlapping(block.as_ptr(), to.cast(), has.min(size));
            reserve::give_back(block);
        }
        to
    }
}

/// # Safety
///
/// The block is the process's and in use, or NULL.
#[cold]
unsafe fn move_in(block: *mut c_void, size: usize) -> *mut c_void {
    let to = refused(size, ALIGN);
    if !to.is_null() && !block.is_null() {
        // SAFETY: the old block has as many bytes as the C library says. The new one has `size`.
        unsafe {
            copy_nonoverlapping(block.cast::<u8>(), to.cast(), libc::malloc_usable_size(block).min(size));
            __real_free(block);
        }
    }
    to
}

unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int {
    // SAFETY: as in `malloc`.
    let failed = unsafe { __real_posix_memalign(out, align, size) };
    if failed != libc::ENOMEM {
        return failed;
    }
    let block = refused(size, align);
    if block.is_null() {
        return failed;
    }
    // SAFETY: as in `malloc`.
    unsafe { out.write(block) };
    0
}

unsafe extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    // SAFETY: as in `malloc`.
    let block = unsafe { __real_aligned_alloc(align, size) };
    if block.is_null() && align.is_power_of_two() { refused(size, align) } else { block }
}

unsafe extern "C" fn free(block: *mut c_void) {
    if reserve::may_own(block.cast())
        && let Some(block) = NonNull::new(block.cast())
        // SAFETY: the caller gives the block up.
        && unsafe { reserve::give_back(block) }
    {
        return;
    }
    // SAFETY: it is not the reserve's, so it is the process's.
    unsafe { __real_free(block) }
}

/// A block of the process's allocator and not of the reserve. NULL if it refuses.
pub fn of_process(size: usize) -> *mut c_void {
    // SAFETY: has no requirements. The compiler may leave out an allocation that nobody looks at.
    core::hint::black_box(unsafe { __real_malloc(size) })
}

/// Frees such a block.
///
/// # Safety
///
/// `of_process` returned it and nobody has freed it.
pub unsafe fn free_of_process(block: *mut c_void) {
    // SAFETY: as the caller promises.
    unsafe { __real_free(block) };
}

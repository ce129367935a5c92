//! The C ABI: one file per noun and one boundary that every export passes.
//!
//! The boundary turns a Rust `Result` into a status and an owned error. It turns a panic into a status. Behind the
//! boundary arguments have been checked for NULL. So the rest of the library is safe Rust.
//!
//! The exports are `unsafe` for Rust because they trust their caller. The contract stands at the top of
//! `include/wasm_engine.h` and at each function there. It is not repeated in safety sections.
#![allow(unsafe_code, clippy::missing_safety_doc)]

pub mod artifact;
pub mod batch;
pub mod bytes;
pub mod code_cache;
pub mod custom_engine;
pub mod engine;
pub mod error;
pub mod factory;
pub mod factory_cache;
pub mod future;
pub mod host_function;
pub mod library;
pub mod metrics;
pub mod policy;
pub mod profile;
pub mod progress;
pub mod promise;
pub mod runtime;
pub mod schema_registry;
pub mod task;
pub mod thread;
mod transform;
pub mod transform_many;
pub mod transform_records;

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status;
use crate::host::owned::{HostData, Owned};
use crate::host::slice::CallScope;
pub(crate) use crate::system::memory::reserve::{check as memory_is_not_short, check_now as memory_is_there};
use core::panic::AssertUnwindSafe;
use error::wasm_error;
use std::panic::catch_unwind;

/// Runs the body of an export. `error` may be NULL.
#[inline]
pub(crate) fn boundary(error: *mut *mut wasm_error, body: impl FnOnce(&CallScope) -> Result<()>) -> wasm_status {
    // SAFETY: only exports call this, with their own arguments. The header has the contract.
    let scope = unsafe { CallScope::new() };
    match catch_unwind(AssertUnwindSafe(|| body(&scope))) {
        Ok(Ok(())) => wasm_status::Ok,
        Ok(Err(e)) => report(error, e),
        Err(panic) => {
            let what = panic
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            // Freeing the payload may run its own code.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
            report(error, Error::new(wasm_status::Panic, format!("the library panicked, please report it: {what}")))
        }
    }
}

#[cold]
fn report(out: *mut *mut wasm_error, error: Error) -> wasm_status {
    let status = error.status;
    if !out.is_null() {
        let boxed = Box::into_raw(Box::new(wasm_error::new(error)));
        // SAFETY: not NULL, and the header asks for a pointer that can be written to.
        unsafe { out.write(boxed) }
    }
    status
}

/// As `boundary` for exports that cannot fail.
#[inline]
pub(crate) fn lent<T>(body: impl FnOnce(&CallScope) -> T) -> T {
    // SAFETY: as in `boundary`.
    body(&unsafe { CallScope::new() })
}

impl CallScope {
    /// A handle that must not be NULL.
    #[inline]
    pub(crate) fn handle<T>(&self, pointer: *const T, name: &str) -> Result<&T> {
        // SAFETY: the header says that a handle which is not NULL came from the library and was not released. It lives
        // until the call returns or the host releases it in a callback of this call. Exports whose callbacks may do
        // that keep a reference of their own or do not use it any more.
        unsafe { pointer.as_ref() }.ok_or_else(|| null(name))
    }

    /// As `handle` for objects that only one thread may use at a time.
    #[inline]
    #[allow(clippy::mut_from_ref)] // borrows the scope, which does not change
    pub(crate) fn handle_mut<T>(&self, pointer: *mut T, name: &str) -> Result<&mut T> {
        // SAFETY: as for `handle`. The header says that no other call uses the object at the same time.
        unsafe { pointer.as_mut() }.ok_or_else(|| null(name))
    }
}

/// An out-parameter that must not be NULL. The pointer is checked before anything happens. It is written on success
/// only.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Checks the pointer.
    #[inline]
    pub(crate) fn new(pointer: *mut T, name: &str) -> Result<Self> {
        if pointer.is_null() { Err(null(name)) } else { Ok(Self(pointer)) }
    }

    /// Writes the result.
    #[inline]
    pub(crate) fn set(self, value: T) {
        // SAFETY: checked not to be NULL; the header asks for a pointer that can be written to.
        unsafe { self.0.write(value) }
    }
}

#[cold]
fn null(name: &str) -> Error {
    Error::new(wasm_status::NullArgument, format!("argument {name} is NULL"))
}

/// The size of a struct's first version, given its last field in that version. Later fields are appended. Callers that
/// do not know them must still be understood.
macro_rules! first_size {
    ($struct:ty, $last:ident) => {{
        const fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
            size_of::<F>()
        }
        core::mem::offset_of!($struct, $last) + size_of_field(|s: &$struct| &s.$last)
    }};
}
pub(crate) use first_size;

/// Reads a struct that begins with its size. Callers compiled against an older header have a shorter struct. Those
/// compiled against a newer header have a longer one. Missing fields read as zero, which means the default. Unknown
/// fields are ignored but must be zero.
///
/// # Safety
///
/// `pointer` is NULL or points to a struct whose first field is its size in bytes as a `size_t`. `T` is valid with all
/// bytes zero.
#[inline(always)]
pub(crate) unsafe fn sized<T: Copy>(pointer: *const T, minimum: usize, name: &str) -> Result<T> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: the first field is the size.
    let size = unsafe { pointer.cast::<usize>().read() };
    const { assert!(align_of::<T>() <= align_of::<usize>()) };
    if size == size_of::<T>() {
        // Nearly always: the caller was compiled against this header.
        // SAFETY: its size says that it is a whole `T`. It is aligned like its first field, which is enough for `T`.
        return Ok(unsafe { pointer.read() });
    }
    // SAFETY: as here.
    unsafe { sized_otherwise(pointer, size, minimum, name) }
}

/// Reads a struct of another version.
///
/// # Safety
///
/// As of `sized`. The pointer is not NULL and `size` is what the first field says.
#[cold]
#[inline(never)]
unsafe fn sized_otherwise<T: Copy>(pointer: *const T, size: usize, minimum: usize, name: &str) -> Result<T> {
    if size < minimum {
        return Err(Error::new(
            wasm_status::InvalidStructSize,
            format!(
                "{name}: its size field says {size}, but the struct has at least {minimum} bytes; set it to sizeof"
            ),
        ));
    }
    // A size that was never set is unlikely to pass this check.
    if size > 64 << 10 {
        return Err(Error::new(
            wasm_status::InvalidStructSize,
            format!("{name}: its size field says {size}; set it to sizeof"),
        ));
    }
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    let known = size.min(size_of::<T>());
    // SAFETY: the caller says that `size` bytes can be read. `value` has room for `known` bytes, which is no more than
    // either.
    unsafe { core::ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr().cast::<u8>(), known) };
    // SAFETY: the part that this version does not know. The caller says that it can be read.
    let unknown = unsafe { core::slice::from_raw_parts(pointer.cast::<u8>().add(known), size - known) };
    if unknown.iter().any(|&byte| byte != 0) {
        return Err(Error::new(
            wasm_status::InvalidStructSize,
            format!("{name} sets fields that this version of the library does not know"),
        ));
    }
    // SAFETY: zeroed and then overwritten with the front part of a value of the same type.
    Ok(unsafe { value.assume_init() })
}

/// Reads a struct of the host with data that the library takes over. So the data is dropped on every later path.
///
/// # Safety
///
/// As of `sized`. The host passed data and callbacks together and gives the data up.
#[inline]
pub(crate) unsafe fn take<T: HostData>(pointer: *const T, minimum: usize, name: &str) -> Result<Owned<T>> {
    // SAFETY: the caller says so.
    Ok(unsafe { Owned::new(sized(pointer, minimum, name)?) })
}

/// Writes a struct whose caller has set its size: as much as the caller's version has. The size field is not changed.
///
/// # Safety
///
/// `pointer` is NULL or points to a struct whose first field is its size in bytes as a `size_t`.
pub(crate) unsafe fn fill_sized<T: Copy>(pointer: *mut T, minimum: usize, name: &str, value: T) -> Result<()> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: the first field is the size.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size < minimum || size > 64 << 10 {
        return Err(Error::new(
            wasm_status::InvalidStructSize,
            format!("{name}: its size field says {size}; set it to sizeof"),
        ));
    }
    let known = size.min(size_of::<T>());
    // SAFETY: the caller says that `size` bytes can be written. `value` has `known` bytes or more. What a newer version
    // of the struct has beyond is zeroed.
    unsafe {
        let bytes = pointer.cast::<u8>();
        let skip = size_of::<usize>();
        core::ptr::copy_nonoverlapping((&raw const value).cast::<u8>().add(skip), bytes.add(skip), known - skip);
        bytes.add(known).write_bytes(0, size - known);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body that ends in `panic` comes to: the status, and the message of the error.
    fn after(panic: impl FnOnce() + 'static) -> (wasm_status, String) {
        let mut error = core::ptr::null_mut();
        let status = boundary(&raw mut error, |_| {
            panic();
            Ok(())
        });
        // SAFETY: the boundary wrote an owned error, because the status is not OK.
        (status, unsafe { Box::from_raw(error) }.error.message)
    }

    #[test]
    fn a_panic_becomes_a_status_with_its_message() {
        for (status, message) in [after(|| panic!("a literal")), after(|| panic!("formatted: {}", 7))] {
            assert_eq!(status, wasm_status::Panic);
            assert!(message.ends_with("a literal") || message.ends_with("formatted: 7"), "{message}");
        }
    }

    #[test]
    fn what_was_thrown_may_panic_when_it_is_dropped() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("once more");
            }
        }
        assert_eq!(after(|| std::panic::panic_any(Bomb)).0, wasm_status::Panic);
    }

    #[test]
    fn an_error_that_is_not_asked_for_is_dropped() {
        assert_eq!(boundary(core::ptr::null_mut(), |_| Err(Error::invalid("no"))), wasm_status::InvalidArgument);
    }
}

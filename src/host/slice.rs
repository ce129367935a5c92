//! Bytes and text that are borrowed for a call.
#![allow(unsafe_code)]

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status;
use crate::base::text;
use crate::batch::fallible;

/// Bytes of a reason that are kept.
const LONGEST_REASON: usize = 8 << 10;

/// Borrowed bytes. `(NULL, 0)` is empty. Text is UTF-8 without a final NUL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_slice {
    /// The first byte. May be NULL when `size` is 0.
    pub data: *const u8,
    /// Number of bytes.
    pub size: usize,
}

/// What an export was lent: arguments can be read until it returns, and no longer. So references to them live as long
/// as a borrow of this.
pub struct CallScope(());

impl CallScope {
    /// The scope of a call of the host's, or of a callback.
    ///
    /// # Safety
    ///
    /// What the arguments point to is as the header says, until the scope goes.
    #[inline]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

impl wasm_slice {
    /// A view of bytes that live on.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), size: bytes.len() }
    }

    /// The bytes for as long as the caller of the export lends them.
    pub(crate) fn bytes<'a>(self, _: &'a CallScope, name: &str) -> Result<&'a [u8]> {
        // SAFETY: the header says that the slices in arguments can be read for the call.
        unsafe { bytes(self.data, self.size, name) }
    }

    /// The bytes, for as long as the caller wants.
    ///
    /// # Safety
    ///
    /// They can be read and do not change for `'a`.
    #[inline]
    pub(crate) unsafe fn outliving<'a>(self, name: &str) -> Result<&'a [u8]> {
        // SAFETY: promised by the caller.
        unsafe { bytes(self.data, self.size, name) }
    }

    /// A reason as readable text. Bytes that are not UTF-8 are escaped: losing a reason would be worse. Cut, because
    /// errors with it are copied where nothing may fail.
    pub(crate) fn reason(self, scope: &CallScope) -> Result<String> {
        Ok(text::shortened(self.bytes(scope, "reason")?, LONGEST_REASON))
    }

    /// A copy of the bytes as text.
    pub(crate) fn owned(self, scope: &CallScope, name: &str) -> Result<String> {
        Ok(fallible::text(self.text(scope, name)?)?)
    }

    /// The bytes as text.
    pub(crate) fn text<'a>(self, scope: &'a CallScope, name: &str) -> Result<&'a str> {
        core::str::from_utf8(self.bytes(scope, name)?)
            .map_err(|e| Error::new(wasm_status::InvalidUtf8, format!("{name} is not UTF-8: {e}")))
    }
}

/// A slice from its parts.
///
/// # Safety
///
/// `size` bytes at `data` can be read for `'a`.
#[inline]
pub(crate) unsafe fn bytes<'a>(data: *const u8, size: usize, name: &str) -> Result<&'a [u8]> {
    // SAFETY: promised by the caller.
    unsafe { array(data, size, name) }
}

/// A slice of structs from its parts.
///
/// # Safety
///
/// `count` items at `data` can be read for `'a`.
#[inline]
pub(crate) unsafe fn array<'a, T>(data: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Error::new(wasm_status::NullArgument, format!("{name} is NULL but its size is {count}")));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) || !data.is_aligned() {
        return Err(Error::invalid(format!("{name}: {count} items at {data:p} cannot be in memory")));
    }
    // SAFETY: neither NULL nor misaligned nor too long. The caller guarantees that the memory can be read.
    Ok(unsafe { core::slice::from_raw_parts(data, count) })
}

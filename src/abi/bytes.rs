//! Bytes and text: `wasm_slice` borrows them, and `wasm_bytes` are the library's, for whoever was given them to release.

use super::lent;
use crate::host::slice::wasm_slice;

/// Bytes that the library made: text, or an artifact. Owned; belongs to no thread and never changes.
pub struct wasm_bytes(Vec<u8>);

impl wasm_bytes {
    /// As C owns them.
    pub(crate) fn of(bytes: impl Into<Vec<u8>>) -> *mut Self {
        Box::into_raw(Box::new(Self(bytes.into())))
    }
}

/// A view of the bytes; text is UTF-8 without a final NUL. Lives as long as its owner. For NULL empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_bytes_view(bytes: *const wasm_bytes) -> wasm_slice {
    lent(|scope| scope.handle(bytes, "bytes").map_or(wasm_slice::of(&[]), |bytes| wasm_slice::of(&bytes.0)))
}

/// Frees the bytes. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_bytes_release(bytes: *mut wasm_bytes) {
    if !bytes.is_null() {
        // SAFETY: the header says that the library gave them out, and that they are released once.
        drop(unsafe { Box::from_raw(bytes) });
    }
}

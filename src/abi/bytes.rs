//! How bytes and text pass the boundary. A `wasm_slice` borrows them. A `wasm_bytes` is owned by the host, which
//! releases it.

use super::lent;
use crate::host::slice::wasm_slice;

/// Bytes that the library made: text or an artifact. Owned by the host. Any thread may use it. It never changes.
pub struct wasm_bytes(Vec<u8>);

impl wasm_bytes {
    /// As C owns them.
    pub(crate) fn of(bytes: impl Into<Vec<u8>>) -> *mut Self {
        Box::into_raw(Box::new(Self(bytes.into())))
    }
}

/// A view of the bytes. Text is UTF-8 without a final NUL. The view lives as long as `bytes`. Empty for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_bytes_view(bytes: *const wasm_bytes) -> wasm_slice {
    lent(|scope| scope.handle(bytes, "bytes").map_or(wasm_slice::of(&[]), |bytes| wasm_slice::of(&bytes.0)))
}

/// Frees the bytes. Any thread. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_bytes_release(bytes: *mut wasm_bytes) {
    if !bytes.is_null() {
        // SAFETY: the header says that the bytes came from the library and are released once.
        drop(unsafe { Box::from_raw(bytes) });
    }
}

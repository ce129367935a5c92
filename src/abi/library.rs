//! What concerns the library as a whole.

use core::ffi::c_char;

/// The library's version, such as `0.1.0`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_library_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

//! The version of the loaded library. A host that was compiled against another header compares the two at its start.

use core::ffi::c_char;

/// The version of the library that the program has loaded. For example `0.1.0`. Static. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_library_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// The same as a number. It is at least the header's `WASM_ENGINE_VERSION_NUMBER` if the library has everything that is
/// in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_library_version_number() -> u32 {
    const fn number(text: &str) -> u32 {
        let (mut number, mut rest) = (0, text.as_bytes());
        while let [digit, tail @ ..] = rest {
            number = number * 10 + (*digit - b'0') as u32;
            rest = tail;
        }
        number
    }
    const NUMBER: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
        | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
        | number(env!("CARGO_PKG_VERSION_PATCH"));
    NUMBER
}

//! What concerns the library as a whole, or a thread.

use super::border;
use super::error::wasm_error;
use crate::error::Error;
use crate::status::wasm_status;
use core::ffi::c_char;

/// The library's version, such as `0.1.0`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_library_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Unblocks, on this thread, the signals by which Wasmtime notices traps of guests: SIGSEGV, SIGILL and SIGFPE.
///
/// A host that blocks signals on its threads, as Seastar does, must call this on each thread that polls engines, before
/// the first poll and after everything that may block them again. A trap while its signal is blocked kills the process,
/// even with a handler in place. Other signals, and their handlers, stay as they are. `error` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_unblock_signals(error: *mut *mut wasm_error) -> wasm_status {
    border(error, || {
        // SAFETY: `set` is initialized by sigemptyset before anything reads it; the calls have no other requirements.
        let failed = unsafe {
            let mut set = core::mem::MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            for signal in [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE] {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), core::ptr::null_mut())
        };
        if failed == 0 {
            return Ok(());
        }
        let why = std::io::Error::from_raw_os_error(failed);
        Err(Error::new(wasm_status::System, format!("the signals could not be unblocked: {why}")))
    })
}

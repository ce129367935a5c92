//! `wasm_error_*`: the story behind a status.

use super::{Out, border, handle};
use crate::base::error::{Error, GuestDetail, Result, wasm_trap};
use crate::base::status::wasm_status;
use crate::host::slice::wasm_slice;
use core::ffi::c_char;
use std::ffi::CString;

/// An error, owned by whoever got it. It belongs to no thread and changes never.
pub struct wasm_error {
    error: Error,
    message: CString,
}

/// A frame of a guest's call stack.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_frame {
    /// Demangled name of the function; empty if the module has no names. Lives as long as the error.
    pub function: wasm_slice,
    /// Index of the function in the module's function index space.
    pub function_index: u32,
}

impl wasm_error {
    /// Takes over an error. A NUL inside the message is shown as a blank.
    pub(crate) fn new(error: Error) -> Self {
        let message = CString::new(error.message.replace('\0', " ")).unwrap_or_default();
        Self { error, message }
    }

    fn guest(&self) -> Option<&GuestDetail> {
        self.error.guest.as_deref()
    }
}

/// What an export reported, as a result again.
pub(crate) fn take(status: wasm_status, error: *mut wasm_error) -> Result<()> {
    if status == wasm_status::Ok {
        return Ok(());
    }
    if error.is_null() {
        return Err(Error::new(status, "no story came with it"));
    }
    // SAFETY: an export wrote it, so it is an owned error.
    Err(unsafe { Box::from_raw(error) }.error)
}

/// The status that came with the error; `WASM_STATUS_NULL_ARGUMENT` for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_status(error: *const wasm_error) -> wasm_status {
    handle(error, "error").map_or(wasm_status::NullArgument, |e| e.error.status)
}

/// What happened, to which transform, at which record, and what to do: UTF-8, several lines if there is a backtrace, ended
/// by a NUL. Lives as long as the error. For NULL an empty string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_message(error: *const wasm_error) -> *const c_char {
    handle(error, "error").map_or(c"".as_ptr(), |e| e.message.as_ptr())
}

/// Which trap ended the guest; `WASM_TRAP_NONE` if none did, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_trap(error: *const wasm_error) -> wasm_trap {
    let trap = handle(error, "error").ok().and_then(|e| e.guest()?.trap);
    trap.unwrap_or(wasm_trap::None)
}

/// Whether the guest ended by itself; if so, writes its exit code to `exit_code`, which may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_exit_code(error: *const wasm_error, exit_code: *mut i32) -> bool {
    let code = handle(error, "error").ok().and_then(|e| e.guest()?.exit_code);
    if let (Some(code), Ok(out)) = (code, Out::new(exit_code, "exit_code")) {
        out.set(code);
    }
    code.is_some()
}

/// Whether the guest was working on a record; if so, writes its index in the batch, from 0, and its offset. Either pointer
/// may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_record(error: *const wasm_error, index: *mut u32, offset: *mut i64) -> bool {
    let Some(record) = handle(error, "error").ok().and_then(|e| e.guest()?.record) else { return false };
    if let Ok(out) = Out::new(index, "index") {
        out.set(record.index);
    }
    if let Ok(out) = Out::new(offset, "offset") {
        out.set(record.offset);
    }
    true
}

/// Number of frames of the guest's call stack at its end; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_frame_count(error: *const wasm_error) -> usize {
    handle(error, "error").ok().and_then(|e| e.guest()).map_or(0, |guest| guest.frames.len())
}

/// Writes frame `index`, counted from the innermost, to `frame`. `WASM_STATUS_INVALID_ARGUMENT` if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_frame(
    error: *const wasm_error,
    index: usize,
    frame: *mut wasm_frame,
) -> wasm_status {
    border(core::ptr::null_mut(), || {
        let error = handle(error, "error")?;
        let out = Out::new(frame, "frame")?;
        let found = error.guest().and_then(|guest| guest.frames.get(index));
        let found = found.ok_or_else(|| Error::invalid(format!("there is no frame {index}")))?;
        out.set(wasm_frame {
            function: wasm_slice::of(found.function.as_deref().unwrap_or("").as_bytes()),
            function_index: found.index,
        });
        Ok(())
    })
}

/// Whether the error has a core dump of its guest; if so, writes it to `dump`, which may be NULL. It lives as long as the
/// error.
///
/// Guests have one that trapped, were ended, or exited with a code other than 0, if `core_dumps` was set for their runtime,
/// and if their memory has no more than 1 GiB. It is a WebAssembly module in the format for core dumps of WebAssembly's tool
/// conventions: memory, globals, and the stack with the indices of functions, of which it has the innermost 10,000. Where
/// in a function a frame is, and the values of its variables, are not known. What the memory holds is in it, secrets
/// included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_coredump(error: *const wasm_error, dump: *mut wasm_slice) -> bool {
    let Some(found) = handle(error, "error").ok().and_then(|e| e.guest()?.core_dump.as_ref()) else { return false };
    if let Ok(out) = Out::new(dump, "dump") {
        out.set(wasm_slice::of(found.bytes()));
    }
    true
}

/// Frees the error. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_release(error: *mut wasm_error) {
    if !error.is_null() {
        // SAFETY: the header says that it is an error that the library gave out, released once.
        drop(unsafe { Box::from_raw(error) });
    }
}

/// The name of a status, such as `guest-trap`: fixed, fit for metrics labels; `unknown` for a number that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_status_name(status: u32) -> *const c_char {
    wasm_status::from_number(status).map_or(c"unknown", wasm_status::name).as_ptr()
}

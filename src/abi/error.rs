//! `wasm_error_*`: the story behind a status.

use super::{Out, boundary, fill_sized, first_size, lent};
use crate::base::error::{Error, GuestDetail, Result, wasm_trap};
use crate::base::number::wasm_status_number;
use crate::base::status::wasm_status;
use crate::host::slice::wasm_slice;
use core::ffi::c_char;
use std::ffi::CString;

/// An error, owned by whoever got it. It belongs to no thread and changes never.
pub struct wasm_error {
    pub(super) error: Error,
    message: CString,
}

/// What is known of an error.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_error_info {
    /// `sizeof(wasm_error_info)`, set by the caller.
    pub size: usize,
    /// The status that came with it.
    pub status: wasm_status,
    /// Which trap ended the guest; `WASM_TRAP_NONE` if none did.
    pub trap: wasm_trap,
    /// The text of `wasm_error_message`.
    pub message: wasm_slice,
    /// Whether the guest ended by itself.
    pub has_exit_code: bool,
    /// Whether the guest was working on a record.
    pub has_record: bool,
    /// The guest's exit code, if it ended by itself.
    pub exit_code: i32,
    /// The record's index in the batch, from 0.
    pub record_index: u32,
    /// The record's Kafka offset.
    pub record_offset: i64,
    /// Frames of the guest's call stack at its end, for `wasm_error_frame`.
    pub frame_count: usize,
    /// The guest's core dump; empty if there is none.
    ///
    /// Guests have one that trapped, were ended, or exited with a code other than 0, if `core_dumps` was set for their
    /// runtime, and if their memory has no more than 1 GiB. It is a WebAssembly module in the format for core dumps of
    /// WebAssembly's tool conventions: memory, globals, and the stack with the indices of functions, of which it has
    /// the innermost 10,000. Where in a function a frame is, and the values of its variables, are not known. What the
    /// memory holds is in it, secrets included.
    pub core_dump: wasm_slice,
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
    lent(|scope| scope.handle(error, "error").map_or(wasm_status::NullArgument, |e| e.error.status))
}

/// What happened, to which transform, at which record, and what to do: UTF-8, several lines if there is a backtrace, ended
/// by a NUL. Lives as long as the error. For NULL an empty string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_message(error: *const wasm_error) -> *const c_char {
    lent(|scope| scope.handle(error, "error").map_or(c"".as_ptr(), |e| e.message.as_ptr()))
}

/// Fills `info`, whose `size` the caller has set, with all that is known. What it points to lives as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_get_info(error: *const wasm_error, info: *mut wasm_error_info) -> wasm_status {
    boundary(core::ptr::null_mut(), |scope| {
        let error = scope.handle(error, "error")?;
        let guest = error.guest();
        let exit_code = guest.and_then(|guest| guest.exit_code);
        let record = guest.and_then(|guest| guest.record);
        let core_dump = guest.and_then(|guest| guest.core_dump.as_ref());
        let value = wasm_error_info {
            size: 0,
            status: error.error.status,
            message: wasm_slice::of(error.message.as_bytes()),
            trap: guest.and_then(|guest| guest.trap).unwrap_or(wasm_trap::None),
            has_exit_code: exit_code.is_some(),
            exit_code: exit_code.unwrap_or_default(),
            has_record: record.is_some(),
            record_index: record.map_or(0, |record| record.index),
            record_offset: record.map_or(0, |record| record.offset),
            frame_count: guest.map_or(0, |guest| guest.frames.len()),
            core_dump: core_dump.map_or(wasm_slice::of(&[]), |dump| wasm_slice::of(dump.bytes())),
        };
        // SAFETY: the header says that `size` is set.
        unsafe { fill_sized(info, first_size!(wasm_error_info, core_dump), "info", value) }
    })
}

/// Writes frame `index`, counted from the innermost, to `frame`. `WASM_STATUS_INVALID_ARGUMENT` if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_frame(
    error: *const wasm_error,
    index: usize,
    frame: *mut wasm_frame,
) -> wasm_status {
    boundary(core::ptr::null_mut(), |scope| {
        let error = scope.handle(error, "error")?;
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
pub unsafe extern "C" fn wasm_status_name(status: wasm_status_number) -> *const c_char {
    wasm_status::from_number(status).map_or(c"unknown", wasm_status::name).as_ptr()
}

//! The details behind a status. Almost every function can write a `wasm_error`: log its message and release it.

use super::{Out, boundary, fill_sized, first_size, lent};
use crate::base::error::{Error, GuestDetail, Result, wasm_trap};
use crate::base::number::wasm_status_number;
use crate::base::status::wasm_status;
use crate::host::slice::wasm_slice;
use core::ffi::c_char;
use std::ffi::CString;

/// An error. Owned by the host that received it. Any thread may use it. It never changes.
pub struct wasm_error {
    pub(super) error: Error,
    message: CString,
}

/// What is known about an error.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_error_info {
    /// `sizeof(wasm_error_info)`, set by the caller.
    pub size: usize,
    /// The status of the call that reported the error.
    pub status: wasm_status,
    /// The trap that ended the guest. `WASM_TRAP_NONE` if none did.
    pub trap: wasm_trap,
    /// The text of `wasm_error_message`.
    pub message: wasm_slice,
    /// Whether the guest ended by itself. `exit_code` is valid then.
    pub has_exit_code: bool,
    /// Whether the guest was working on a record. `record_index` and `record_offset` are valid then.
    pub has_record: bool,
    /// The guest's exit code.
    pub exit_code: i32,
    /// The record's index in the batch. Counted from 0.
    pub record_index: u32,
    /// The record's Kafka offset.
    pub record_offset: i64,
    /// Frames of the guest's call stack at its end. `wasm_error_frame` reads them.
    pub frame_count: usize,
    /// The guest's core dump. Empty if there is none.
    ///
    /// A guest has a core dump if it trapped or was ended or exited with a code other than 0. `core_dumps` must be set
    /// for its runtime and its memory must have no more than 1 GiB. There must be memory for the dump. The dump is a
    /// WebAssembly module in the core dump format of WebAssembly's tool conventions. It has the memory and the globals
    /// and the stack with the indices of functions. Of the stack it has the innermost 1,000 frames. Positions within
    /// functions and values of variables are not known. **The dump contains what the memory contains, secrets
    /// included.**
    pub core_dump: wasm_slice,
    /// What the guest wrote to standard error last while it worked on the record, or outside of one. Usually the
    /// reason of its end. UTF-8 of at most 1,024 bytes without control characters but newlines and tabs. Empty if the
    /// guest wrote nothing. Kept also if the log's limit left the lines out.
    ///
    /// A line that begins with `panic: ` or `fatal error: ` (Go) or that is `thread … panicked at …` (Rust) is here
    /// with the lines behind it up to an empty line or a note about backtraces. Otherwise this is the last line that is
    /// not indented, or the first one if all are. Empty lines and such notes do not count.
    pub guest_stderr: wasm_slice,
    /// Why a host call returned an error code to the guest last while it worked on the record, or outside of one.
    /// UTF-8. For example `write_record returned -3: the record has 70000 bytes and output_buffer_limit is 65536`.
    /// Empty if none did. The guest may have ended for another reason.
    pub refusal: wasm_slice,
    /// Bytes of the guest's memory at its end. 0 if no guest ended.
    pub memory_size: u64,
    /// Bytes that the guest's memory was last refused to grow to while it worked on the record. 0 if it was not.
    pub memory_wanted: u64,
    /// Index of the batch in its `wasm_engine_transform_many`. Counted from 0. The batches before it have completed.
    /// The number of batches if all have and the guest could not be started again. 0 if there was one batch or none
    /// and with `WASM_STATUS_CANCELLED` and `WASM_STATUS_PANIC`.
    pub batch_index: u64,
    /// With `WASM_STATUS_POLICY_THRESHOLD`: the status with which the guest failed last. Otherwise `WASM_STATUS_OK`.
    pub cause: wasm_status,
}

/// A frame of a guest's call stack.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_frame {
    /// Demangled name of the function. Empty if the module has no names. Lives as long as the error.
    pub function: wasm_slice,
    /// Index of the function in the module's function index space.
    pub function_index: u32,
}

/// A place in the source of a guest.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_location {
    /// `sizeof(wasm_location)`, set by the caller.
    pub size: usize,
    /// The file's name as the compiler was given it. Empty if the place is not known. Lives as long as the error.
    pub file: wasm_slice,
    /// The line. Counted from 1. 0 if the place is not known.
    pub line: u32,
    /// The column. Counted from 1. 0 if it is not known.
    pub column: u32,
}

impl wasm_error {
    /// Takes over an error. A NUL inside the message is replaced by a blank.
    pub(crate) fn new(error: Error) -> Self {
        let message = CString::new(error.message.replace('\0', " ")).unwrap_or_default();
        Self { error, message }
    }

    fn guest(&self) -> Option<&GuestDetail> {
        self.error.guest.as_deref()
    }
}

/// Turns what an export reported into a result again.
pub(crate) fn take(status: wasm_status, error: *mut wasm_error) -> Result<()> {
    if status == wasm_status::Ok {
        return Ok(());
    }
    if error.is_null() {
        return Err(Error::new(status, "there are no details"));
    }
    // SAFETY: an export wrote it, so it is an owned error.
    Err(unsafe { Box::from_raw(error) }.error)
}

/// The status of the call that reported the error. `WASM_STATUS_NULL_ARGUMENT` for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_status(error: *const wasm_error) -> wasm_status {
    lent(|scope| scope.handle(error, "error").map_or(wasm_status::NullArgument, |e| e.error.status))
}

/// What happened, to which transform, at which record and what to do. UTF-8 with a final NUL. Several lines if there is
/// a backtrace. Lives as long as the error. An empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_message(error: *const wasm_error) -> *const c_char {
    lent(|scope| scope.handle(error, "error").map_or(c"".as_ptr(), |e| e.message.as_ptr()))
}

/// Fills `info` with everything that is known. The caller has set `info->size`. The slices in `info` live as long as
/// the error.
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
            guest_stderr: wasm_slice::of(guest.map_or("", |guest| &guest.stderr).as_bytes()),
            refusal: wasm_slice::of(guest.map_or("", |guest| &guest.refusal).as_bytes()),
            memory_size: guest.map_or(0, |guest| guest.memory_size),
            memory_wanted: guest.map_or(0, |guest| guest.memory_wanted),
            batch_index: error.error.batch.into(),
            cause: guest.and_then(|guest| guest.cause).unwrap_or(wasm_status::Ok),
        };
        // SAFETY: the header says that `size` is set.
        unsafe { fill_sized(info, first_size!(wasm_error_info, core_dump), "info", value) }
    })
}

/// Writes frame `index` to `frame`. Frame 0 is the innermost. `WASM_STATUS_INVALID_ARGUMENT` if there is no such frame.
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

/// Writes where the guest was in its source in frame `index` to `location`. The caller has set `location->size`. The
/// place is known if `debug_info` is set for the runtime and the module has debug information (DWARF) for that
/// function. In a frame with inlined functions this is the place in the innermost of them. Where the compiler says that
/// an instruction has no line, this is the line before. `WASM_STATUS_INVALID_ARGUMENT` if there is no such frame.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_location(
    error: *const wasm_error,
    index: usize,
    location: *mut wasm_location,
) -> wasm_status {
    boundary(core::ptr::null_mut(), |scope| {
        let error = scope.handle(error, "error")?;
        let frame = error.guest().and_then(|guest| guest.frames.get(index));
        let frame = frame.ok_or_else(|| Error::invalid(format!("there is no frame {index}")))?;
        let known = frame.location.as_ref();
        let value = wasm_location {
            size: 0,
            file: wasm_slice::of(known.map_or("", |known| &known.file).as_bytes()),
            line: known.map_or(0, |known| known.line),
            column: known.map_or(0, |known| known.column),
        };
        // SAFETY: the header says that `size` is set.
        unsafe { fill_sized(location, first_size!(wasm_location, column), "location", value) }
    })
}

/// Frees the error. Any thread. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_error_release(error: *mut wasm_error) {
    if !error.is_null() {
        // SAFETY: the header says that the error came from the library and is released once.
        drop(unsafe { Box::from_raw(error) });
    }
}

/// The name of a status. For example `guest-trap`. Names are fixed and fit for metrics labels. `unknown` for a number
/// that is no status. Static.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_status_name(status: wasm_status_number) -> *const c_char {
    wasm_status::from_number(status).map_or(c"unknown", wasm_status::name).as_ptr()
}

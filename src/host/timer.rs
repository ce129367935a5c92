//! The host's timer: how an engine that failed waits before it starts again.
#![allow(unsafe_code)]

use super::call::{Ended, wasm_call};
use super::owned::{Owned, host_data};
use crate::base::error::{Error, Result};
use crate::base::number::wasm_callback_result_number;
use crate::base::status::wasm_status as Status;
use core::ffi::c_void;
use std::time::Duration;

/// The host's clock, for waiting before a guest is started again. No thread of the library's waits.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_timer {
    /// `sizeof(wasm_timer)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`, once: when the engine is released, when another policy is set, or when `wasm_engine_set_policy` fails.
    /// May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Nanoseconds of a clock that never goes back.
    pub now: Option<unsafe extern "C" fn(data: *mut c_void) -> u64>,
    /// Lets time pass: takes the call's promise, answers `WASM_CALLBACK_RESULT_PENDING`, and resolves the promise after
    /// `nanoseconds`. A promise that is never resolved means that the engine never starts again by itself; one that is
    /// rejected or dropped, or another answer than pending or done, that the operation fails.
    pub sleep: Option<
        unsafe extern "C" fn(data: *mut c_void, nanoseconds: u64, call: *mut wasm_call) -> wasm_callback_result_number,
    >,
}

host_data!(wasm_timer);

/// A timer that is owned, and complete.
pub struct Timer {
    table: Owned<wasm_timer>,
    now: unsafe extern "C" fn(data: *mut c_void) -> u64,
    sleep: unsafe extern "C" fn(data: *mut c_void, nanoseconds: u64, call: *mut wasm_call) -> u32,
}

impl Timer {
    /// Takes over a host's table.
    pub fn new(table: Owned<wasm_timer>) -> Result<Self> {
        match (table.now, table.sleep) {
            (Some(now), Some(sleep)) => Ok(Self { table, now, sleep }),
            _ => Err(Error::new(Status::NullArgument, "timer: now and sleep must both be there")),
        }
    }

    /// The host's clock.
    pub fn now(&self) -> Duration {
        // SAFETY: function and data came together from the host.
        Duration::from_nanos(unsafe { (self.now)(self.table.data) })
    }

    /// Lets the host wait.
    pub fn sleep(&self, time: Duration) -> Ended {
        let mut call = wasm_call::of_sink();
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: as above; the call outlives the function.
        let answer = unsafe { (self.sleep)(self.table.data, nanoseconds, &raw mut call) };
        call.ended(answer, "the timer")
    }
}

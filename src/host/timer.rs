//! The host's timer: how a failed engine waits before its restart.
#![allow(unsafe_code)]

use super::call::{Ended, wasm_call};
use super::owned::{Owned, host_data};
use crate::base::error::{Error, Result};
use crate::base::number::wasm_callback_result_number;
use crate::base::status::wasm_status as Status;
use core::ffi::c_void;
use std::time::Duration;

/// The host's clock and timer for the delay before a guest is restarted. No thread of the library waits.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_timer {
    /// `sizeof(wasm_timer)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`. Called once: when the engine is released, when another policy is set or when
    /// `wasm_engine_set_policy` fails. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Nanoseconds of a clock that never goes back.
    pub now: Option<unsafe extern "C" fn(data: *mut c_void) -> u64>,
    /// Starts a delay. Takes the call's promise, returns `WASM_CALLBACK_RESULT_PENDING` and resolves the promise
    /// after `nanoseconds`. If the promise is never resolved, the engine never restarts by itself. If the promise is
    /// rejected or dropped, the operation fails. So it does if the result is neither pending nor done. Done means that
    /// the delay has passed.
    ///
    /// An engine has at most one delay in progress. A delay is not called off: a host may resolve its promise at any
    /// time, which has no effect if the engine no longer waits. Under a timer a start whose guest always fails is tried
    /// again forever. A host that wants to give up stops the engine or releases the future.
    pub sleep: Option<
        unsafe extern "C" fn(data: *mut c_void, nanoseconds: u64, call: *mut wasm_call) -> wasm_callback_result_number,
    >,
}

host_data!(wasm_timer);

/// A complete timer that is owned.
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
            _ => Err(Error::new(Status::NullArgument, "timer: now and sleep are both required")),
        }
    }

    /// The host's clock.
    pub fn now(&self) -> Duration {
        // SAFETY: the host passed function and data together.
        Duration::from_nanos(unsafe { (self.now)(self.table.data) })
    }

    /// Lets the host wait.
    pub fn sleep(&self, time: Duration) -> Ended {
        let mut call = wasm_call::of_timer();
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: as above. The call outlives the function.
        let answer = unsafe { (self.sleep)(self.table.data, nanoseconds, &raw mut call) };
        call.ended(answer, "the timer")
    }
}

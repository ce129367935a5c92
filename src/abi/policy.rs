//! `wasm_engine_set_policy`: what becomes of an engine whose guest fails.

use super::engine::{engine_on_this_thread, wasm_engine};
use super::error::wasm_error;
use super::{Out, boundary, first_size, sized, take};
use crate::base::error::Error;
use crate::base::number::wasm_on_error_number;
use crate::base::status::wasm_status;
use crate::engine::policy::{Backoff, Policy, wasm_on_error};
use crate::host::timer::{Timer, wasm_timer};
use std::time::Duration;

/// What becomes of an engine whose guest fails. Zero in any field but `size` means the default.
///
/// What is promised, with at-least-once hosts in mind. Output comes once and in the order of the input records. Each
/// record's output comes whole or not at all, unless it exceeds `output_buffer_limit` and comes in parts. When a transform
/// is *ready*, each record's output was taken by the sink, or the record was dropped and counted, or went to the dead
/// letters. When it *failed* at a record that its error names (`has_record`), the same holds for all records before
/// that one, and the sink has nothing of it or from behind it. When it failed with an error that names no record, because
/// the sink failed, or the guest ended between two records or did not start again, or when it was cancelled, the same holds
/// for the records up to the last `input_offset` that the sink took. A guest that is started again has forgotten all that
/// it knew.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_engine_policy {
    /// `sizeof(wasm_engine_policy)`.
    pub size: usize,
    /// What happens when the guest ends at a record.
    ///
    /// Only for what the guest did itself: `WASM_STATUS_GUEST_…`, and `WASM_STATUS_CUSTOM_ENGINE_FAILED`. Failures of the host's (`WASM_STATUS_HOST_FUNCTION_FAILED`,
    /// `WASM_STATUS_OUTPUT_REJECTED`, `WASM_STATUS_SYSTEM`, …) always fail the transform, because another record would
    /// fare no better. So does a guest that ends without having taken a record. One that ends between two records is
    /// started again, and no record is lost.
    pub on_error: wasm_on_error_number,
    /// Nanoseconds from a failure to the next start. They double with each further failure in a row, up to
    /// `backoff_max_ns`; what is waited is a random time between half of that and all of it. Default 1 s.
    pub backoff_min_ns: u64,
    /// The longest wait. Default 30 s.
    pub backoff_max_ns: u64,
    /// A guest that ran for so long since it last started, before it failed, begins a new row. Default 10 s.
    pub healthy_after_ns: u64,
    /// For waiting. With it, a start that fails is tried again until it succeeds or the engine is stopped, its future
    /// pending meanwhile (`wasm_engine_get_last_error` says why); and `wasm_engine_start` after a transform that failed
    /// waits first. A guest that is started again within a batch, to go on behind a lost record, does not wait, unless that
    /// start fails. NULL: a start that fails has failed, and none waits. The table is copied.
    pub timer: *const wasm_timer,
}

/// How an engine has fared since it was made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_engine_stats {
    /// `sizeof(wasm_engine_stats)`, set by the caller.
    pub size: usize,
    /// Starts after the first one, also those that failed.
    pub restarts: u64,
    /// Records that `WASM_ON_ERROR_SKIP` dropped.
    pub skipped: u64,
    /// Records that the sink took as dead letters.
    pub dead_lettered: u64,
    /// Failures in a row, as far as they make starts wait: 0 without a timer.
    pub failures: u64,
}

/// Says what happens from now on when the engine's guest fails. Without a policy, every failure is its host's affair.
///
/// `WASM_STATUS_INVALID_STATE` if the engine is not stopped. The timer's `data` is taken over in any case, unless with
/// `WASM_STATUS_INVALID_STRUCT_SIZE`, when it cannot be read. `now` and `sleep` are called on the engine's thread, from
/// within polls; they must not throw. Functions that would change the state of the same engine, or poll or release a future
/// of it, answer `WASM_STATUS_BUSY`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_set_policy(
    engine: *mut wasm_engine,
    policy: *const wasm_engine_policy,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // First of all, so that the timer is dropped whatever comes next.
        // SAFETY: the header says so; and all zeros is a valid policy.
        let policy = unsafe { sized(policy, first_size!(wasm_engine_policy, timer), "policy")? };
        let mut timer = None;
        if !policy.timer.is_null() {
            // SAFETY: as above.
            timer = Some(Timer::new(unsafe { take(policy.timer, first_size!(wasm_timer, sleep), "timer")? })?);
        }
        let time =
            |value: u64, default| if value == 0 { Duration::from_secs(default) } else { Duration::from_nanos(value) };
        let on_error = match policy.on_error {
            0 => wasm_on_error::Fail,
            1 => wasm_on_error::Skip,
            2 => wasm_on_error::DeadLetter,
            other => {
                return Err(Error::invalid(format!("policy field on_error is {other}; it must be between 0 and 2")));
            }
        };
        let backoff = match timer {
            Some(timer) => Some(Backoff::new(
                timer,
                time(policy.backoff_min_ns, 1),
                time(policy.backoff_max_ns, 30),
                time(policy.healthy_after_ns, 10),
            )?),
            None => None,
        };
        engine_on_this_thread(scope, engine)?.engine.set_policy(Policy { on_error, backoff })
    })
}

/// Tells how the engine has fared. `stats.size` must be set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_get_stats(
    engine: *const wasm_engine,
    stats: *mut wasm_engine_stats,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let counted = engine_on_this_thread(scope, engine)?.engine.stats();
        let filled = wasm_engine_stats {
            size: 0,
            restarts: counted.restarts,
            skipped: counted.skipped,
            dead_lettered: counted.dead_lettered,
            failures: counted.failures.into(),
        };
        // SAFETY: the header says that `size` is set.
        unsafe { super::fill_sized(stats, first_size!(wasm_engine_stats, failures), "stats", filled) }
    })
}

/// Why a start or a transform failed last, also when the host was not told because the policy goes on: an owned error, or
/// NULL if none has failed under a policy yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_get_last_error(
    engine: *const wasm_engine,
    last: *mut *mut wasm_error,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let found = engine_on_this_thread(scope, engine)?.engine.last_error();
        let out = Out::new(last, "last")?;
        out.set(found.map_or(core::ptr::null_mut(), |e| Box::into_raw(Box::new(wasm_error::new(e)))));
        Ok(())
    })
}

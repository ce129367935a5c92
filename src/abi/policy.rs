//! A policy lets an engine survive failures of its guest. It decides which records may be lost and when the guest
//! starts again. Without one a failed engine is stopped and the rest is up to the host.

use super::engine::{engine_on_this_thread, wasm_engine};
use super::error::wasm_error;
use super::{Out, boundary, first_size, memory_is_there, sized, take};
use crate::base::error::Error;
use crate::base::number::wasm_on_error_number;
use crate::base::status::wasm_status;
use crate::engine::circuit::{Circuit, Thresholds, wasm_circuit};
use crate::engine::policy::{Backoff, Policy, wasm_on_error};
use crate::host::timer::{Timer, wasm_timer};
use std::time::Duration;

/// What an engine does when its guest fails. Zero in any field but `size` means the default.
///
/// These are the delivery guarantees for at-least-once hosts. Output is delivered once and in the order of the input
/// records. The output of a record is delivered as a whole or not at all unless it exceeds `output_buffer_limit`. A
/// transform is *ready*: for each record either the sink took the output, or the record was dropped and counted, or the
/// sink took it as a dead letter. A transform *failed* at a record that its error names (`has_record` of
/// `wasm_error_info`): the same holds for all records before that one. The sink has nothing of that record or of later
/// ones. A transform failed without naming a record, or it was cancelled: the same holds for the records before the one
/// that `wasm_engine_get_progress` names. This happens if the sink fails, if the guest ends between two records or if
/// it does not start again. A guest that is started again has lost its state.
///
/// Thresholds make the policy a *circuit breaker*. Before the policy loses more records, or starts the guest again more
/// often, than a threshold allows, it stops: the operation fails with `WASM_STATUS_POLICY_THRESHOLD` and the circuit is
/// *open*. The record at which the guest failed is not lost and the sink has nothing of it. All before it is delivered,
/// dropped and counted, or taken as dead letters. So progress is exact: the host continues from that record, or behind
/// it if the record may be lost. The next `wasm_engine_start` waits until `open_ns` have passed, if there is a timer,
/// and makes the circuit *half-open*. Then the first failure after which the policy would continue opens it again.
/// `half_open_records` records without one *close* it, and what happened before does not count any more. So it is after
/// a hot swap and with a new policy. Stopping and starting an engine changes nothing while its circuit is closed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_engine_policy {
    /// `sizeof(wasm_engine_policy)`.
    pub size: usize,
    /// What happens when the guest ends at a record.
    ///
    /// Applies only to failures of the guest itself: `WASM_STATUS_GUEST_…` and `WASM_STATUS_CUSTOM_ENGINE_FAILED`.
    /// Failures of the host always fail the transform because another record would fail too:
    /// `WASM_STATUS_HOST_FUNCTION_FAILED`, `WASM_STATUS_OUTPUT_REJECTED`, `WASM_STATUS_SYSTEM`, … A guest that ends
    /// without having taken a record also fails the transform. A guest that ends between two records is started again
    /// and no record is lost.
    pub on_error: wasm_on_error_number,
    /// Nanoseconds from a failure to the next start. The delay doubles with each consecutive failure up to
    /// `backoff_max_ns`. The actual delay is random: between half of that and all of it. Default 1 s.
    pub backoff_min_ns: u64,
    /// The longest delay. Default 30 s.
    pub backoff_max_ns: u64,
    /// A guest that ran for this time between its last start and its failure resets the failure streak. Default 10 s.
    pub healthy_after_ns: u64,
    /// The host's timer for the delay. With it a start that fails is tried again until it succeeds or the engine is
    /// stopped. Its future stays pending in the meantime and `wasm_engine_get_last_error` returns the reason. A
    /// `wasm_engine_start` after a failed transform waits first. A guest that is started again within a batch behind a
    /// lost record does not wait unless that start fails. NULL: no start is tried again and none waits. The table is
    /// copied.
    pub timer: *const wasm_timer,
    /// Records that may be lost, skipped or as dead letters, of any `lost_window` consecutive records since the circuit
    /// was last closed. Records of all batches count in the order in which this engine's guests took them, also over
    /// several batches in one call. Those that a cancelled transform took since its last loss do not. At most 65,535
    /// and less than `lost_window`. 0: the policy stops before the first loss.
    pub lost_max: u32,
    /// 0: any number of records may be lost. `WASM_STATUS_INVALID_ARGUMENT` with `WASM_ON_ERROR_FAIL`: it loses none.
    pub lost_window: u32,
    /// Restarts by the policy that may come in `restart_window_ns`: behind a lost record, between two records and after
    /// a start that failed. Starts by the host do not count. At most 65,535.
    pub restart_max: u32,
    /// Records that close a half-open circuit. Default 100.
    pub half_open_records: u32,
    /// Nanoseconds by `now` of the timer. 0: any number of restarts. `WASM_STATUS_INVALID_ARGUMENT` without a timer.
    pub restart_window_ns: u64,
    /// Nanoseconds for which the circuit stays open. Default 60 s. Without a timer the host decides when it starts the
    /// engine again and any other value than 0 is `WASM_STATUS_INVALID_ARGUMENT`.
    pub open_ns: u64,
}

/// Statistics of an engine since it was made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_engine_stats {
    /// `sizeof(wasm_engine_stats)`, set by the caller.
    pub size: usize,
    /// Starts after the first one. Those that failed count too.
    pub restarts: u64,
    /// Records that `WASM_ON_ERROR_SKIP` dropped.
    pub skipped: u64,
    /// Records that the sink took as dead letters.
    pub dead_lettered: u64,
    /// Consecutive failures as far as they delay starts. 0 without a timer.
    pub failures: u64,
    /// How often a threshold of the policy stopped the engine.
    pub stops: u64,
    /// The state of the policy's circuit breaker.
    pub circuit: wasm_circuit,
}

/// Sets what the engine does from now on when its guest fails. Without a policy every failure is up to the host.
///
/// The memory of thresholds is taken here: 8 bytes for each of `lost_max` and `restart_max`. Nothing is done for a
/// record that is not lost.
///
/// `WASM_STATUS_INVALID_STATE` if the engine is not stopped. The timer's `data` is taken over in any case except
/// `WASM_STATUS_INVALID_STRUCT_SIZE`, where it cannot be read. `now` and `sleep` are called on the engine's thread
/// during polls. They must not throw. Functions that would change the state of the same engine return
/// `WASM_STATUS_BUSY` there. So do polling and releasing a future of the engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_set_policy(
    engine: *mut wasm_engine,
    policy: *const wasm_engine_policy,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // First of all, so that the timer is dropped on every path.
        // SAFETY: the header says so. All zeros is a valid policy.
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
        memory_is_there()?;
        let (has_timer, loses) = (timer.is_some(), on_error != wasm_on_error::Fail);
        let circuit = Circuit::new(
            Thresholds {
                lost_max: policy.lost_max,
                lost_window: policy.lost_window,
                restart_max: policy.restart_max,
                restart_window: Duration::from_nanos(policy.restart_window_ns),
                half_open_records: policy.half_open_records,
                open: Duration::from_nanos(policy.open_ns),
            },
            has_timer,
            loses,
        )?;
        let backoff = match timer {
            Some(timer) => Some(Backoff::new(
                timer,
                time(policy.backoff_min_ns, 1),
                time(policy.backoff_max_ns, 30),
                time(policy.healthy_after_ns, 10),
            )?),
            None => None,
        };
        engine_on_this_thread(scope, engine)?.engine.set_policy(Policy { on_error, backoff, circuit })
    })
}

/// Writes the engine's statistics. The caller has set `stats->size`.
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
            stops: counted.stops,
            circuit: counted.circuit,
        };
        // SAFETY: the header says that `size` is set.
        unsafe { super::fill_sized(stats, first_size!(wasm_engine_stats, failures), "stats", filled) }
    })
}

/// Writes why a start or a transform last failed under a policy. Also if the host was not told because the policy
/// continued. The error is owned by the host. NULL if nothing has failed under a policy yet.
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

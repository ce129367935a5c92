//! What an engine does when its guest fails: which records it may lose and when it starts again.

use super::circuit::Circuit;
use crate::base::error::{Error, Result};
use crate::host::call::Ended;
use crate::host::timer::Timer;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use std::time::Duration;

/// What happens when the guest ends at a record. It may trap, exit, exceed its time, hit a limit or make a bad call.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_on_error {
    /// The transform fails and the engine is stopped. The error has the record's index and offset. The sink has the
    /// output of all records before that one. The host may continue from any record with `first_record` of
    /// `wasm_transform_args`.
    Fail = 0,
    /// The record is dropped and counted. The guest is started again and continues with the next record of the batch.
    Skip = 1,
    /// As `WASM_ON_ERROR_SKIP`, but first the sink gets the input record in a block of its own. It is an output record
    /// whose topic is the number of the factory's output topics. Headers follow the record's own.
    /// `wasm-transform`: the transform's name. `wasm-offset`: the offset in decimal. `wasm-error`: the name of the
    /// status. `wasm-error-message`: the message with at most 1,024 characters. `wasm-stderr`: what the guest wrote to
    /// standard error last at that record, as in `wasm_error_info`. Absent if nothing. The record is counted after the
    /// sink has taken it. If the sink fails, the transform fails.
    DeadLetter = 2,
}

/// A validated policy.
pub struct Policy {
    /// What happens at a record.
    pub on_error: wasm_on_error,
    /// The delay before a start if there is one.
    pub backoff: Option<Backoff>,
    /// What stops the policy if there is a threshold.
    pub circuit: Option<Circuit>,
}

/// Delays that double with each consecutive failure.
pub struct Backoff {
    timer: Timer,
    shortest: Duration,
    longest: Duration,
    healthy_after: Duration,
    failures: u32,
    last_failure: Duration,
    last_start: Duration,
    random: SmallRng,
}

impl Backoff {
    /// Nothing has failed yet.
    pub fn new(timer: Timer, shortest: Duration, longest: Duration, healthy_after: Duration) -> Result<Self> {
        if shortest > longest {
            return Err(Error::invalid(format!(
                "backoff_min_ns is {}, more than backoff_max_ns, {}",
                shortest.as_nanos(),
                longest.as_nanos()
            )));
        }
        // So that engines that failed together do not always start together.
        let random = rand::make_rng();
        let (last_failure, last_start) = (Duration::ZERO, Duration::ZERO);
        Ok(Self { timer, shortest, longest, healthy_after, failures: 0, last_failure, last_start, random })
    }

    /// The guest has started.
    pub fn started(&mut self) {
        self.last_start = self.timer.now();
    }

    /// The guest has failed. `was_running` if it had started.
    pub fn failed(&mut self, was_running: bool) {
        self.last_failure = self.timer.now();
        if was_running && self.last_failure.saturating_sub(self.last_start) >= self.healthy_after {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// Consecutive failures.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The host's clock.
    pub fn now(&self) -> Duration {
        self.timer.now()
    }

    /// Waits until the guest may start again, and for `least`. `None` if it may start now.
    ///
    /// The delay is between half and all of what the failures require, minus the time since the last failure.
    pub fn wait(&mut self, least: Duration) -> Option<Ended> {
        let left = self.left().max(least);
        (!left.is_zero()).then(|| self.timer.sleep(left))
    }

    fn left(&mut self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else { return Duration::ZERO };
        // Both are below 2^64. So nothing is lost.
        let doubled = self.shortest.as_nanos() << doublings.min(63);
        let whole = Duration::from_nanos(doubled.min(self.longest.as_nanos()) as u64);
        let wanted = whole / 2 + whole.mul_f64(self.random.random::<f64>() / 2.0);
        let passed = self.timer.now().saturating_sub(self.last_failure);
        wanted.saturating_sub(passed)
    }
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;
    use crate::host::call::wasm_call;
    use crate::host::owned::Owned;
    use crate::host::timer::wasm_timer;
    use core::cell::Cell;
    use core::ffi::c_void;

    /// A clock that tests set and the last requested sleep.
    #[derive(Default)]
    struct Clock {
        now: Cell<u64>,
        slept: Cell<u64>,
    }

    unsafe extern "C" fn now(data: *mut c_void) -> u64 {
        // SAFETY: tests pass a clock.
        unsafe { &*data.cast::<Clock>() }.now.get()
    }

    unsafe extern "C" fn sleep(data: *mut c_void, nanoseconds: u64, _call: *mut wasm_call) -> u32 {
        // SAFETY: as above.
        unsafe { &*data.cast::<Clock>() }.slept.set(nanoseconds);
        0
    }

    fn timer(table: wasm_timer) -> Timer {
        // SAFETY: the clock outlives the timer and is not dropped by it.
        Timer::new(unsafe { Owned::new(table) }).unwrap()
    }

    fn backoff(clock: &Clock) -> Backoff {
        let data = core::ptr::from_ref(clock).cast_mut().cast();
        let table = wasm_timer { size: size_of::<wasm_timer>(), data, drop: None, now: Some(now), sleep: Some(sleep) };
        let seconds = Duration::from_secs;
        Backoff::new(timer(table), seconds(1), seconds(30), seconds(10)).unwrap()
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn delays_double_up_to_the_longest_and_reset_after_health() {
        let clock = Clock::default();
        let mut backoff = backoff(&clock);
        assert!(backoff.wait(Duration::ZERO).is_none(), "the first start does not wait");
        for whole in [1, 2, 4, 8, 16, 30, 30, 30] {
            backoff.started();
            clock.now.set(clock.now.get() + 9 * SECOND);
            backoff.failed(true);
            assert!(backoff.wait(Duration::ZERO).is_some());
            let slept = clock.slept.get();
            assert!((whole * SECOND / 2..=whole * SECOND).contains(&slept), "{slept} of {whole} s");
        }
        backoff.started();
        clock.now.set(clock.now.get() + 10 * SECOND);
        backoff.failed(true);
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn the_shortest_time_doubles_for_as_long_as_it_takes() {
        let clock = Clock::default();
        let data = core::ptr::from_ref(&clock).cast_mut().cast();
        let table = wasm_timer { size: size_of::<wasm_timer>(), data, drop: None, now: Some(now), sleep: Some(sleep) };
        let longest = Duration::from_nanos(u64::MAX);
        let mut backoff = Backoff::new(timer(table), Duration::from_nanos(2), longest, Duration::MAX).unwrap();
        for failures in 1..200u32 {
            backoff.failed(false);
            assert!(backoff.wait(Duration::ZERO).is_some());
            let whole = 1u64.checked_shl(failures).unwrap_or(u64::MAX);
            let slept = clock.slept.get();
            // Beyond 2^53 the random part is rounded.
            assert!((whole / 2..=whole.saturating_add(whole >> 50)).contains(&slept), "{slept} of {whole}");
        }
    }

    #[test]
    fn a_start_that_fails_is_no_health_however_long_it_took() {
        let clock = Clock::default();
        let mut backoff = backoff(&clock);
        for failures in 1..4 {
            clock.now.set(clock.now.get() + 100 * SECOND);
            backoff.failed(false);
            assert_eq!(backoff.failures(), failures);
        }
    }

    #[test]
    fn time_that_has_passed_is_not_waited_for_again() {
        let clock = Clock::default();
        let mut backoff = backoff(&clock);
        backoff.failed(false);
        clock.now.set(SECOND);
        assert!(backoff.wait(Duration::ZERO).is_none());
    }

    #[test]
    fn waiting_times_differ() {
        let clock = Clock::default();
        let mut times: Vec<u64> = (0..8)
            .map(|_| {
                let mut backoff = backoff(&clock);
                backoff.failed(false);
                backoff.wait(Duration::ZERO);
                clock.slept.get()
            })
            .collect();
        times.dedup();
        assert!(times.len() > 1, "{times:?}");
    }
}

//! A circuit breaker: stops a policy before it loses too many records or starts the guest again too often.
//!
//! Nothing is done for a record that is not lost. What passed is counted when the guest fails or a transform is ready.
//! Only the positions of the last lost records and the times of the last restarts are kept.

use crate::base::error::{Error, Result};
use crate::batch::fallible;
use core::fmt;
use std::time::Duration;

/// Records, or restarts, of which a circuit keeps position or time.
const MOST_KEPT: u32 = 65_535;

/// What `half_open_records` is by default.
const HALF_OPEN_RECORDS: u32 = 100;

/// What `open` is by default with a timer.
const OPEN: Duration = Duration::from_secs(60);

/// The state of a policy's circuit breaker.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum wasm_circuit {
    /// The policy continues after failures. Always without a threshold.
    #[default]
    Closed = 0,
    /// A threshold was reached. The engine was stopped and has not been started again.
    Open = 1,
    /// The engine was started again. The next failure opens the circuit and enough records without one close it.
    HalfOpen = 2,
}

/// When a circuit opens and closes. Zero in the last two fields means the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Records that may be lost of `lost_window`.
    pub lost_max: u32,
    /// 0: any number may be lost.
    pub lost_window: u32,
    /// Restarts in `restart_window`.
    pub restart_max: u32,
    /// Zero: any number.
    pub restart_window: Duration,
    /// Records that close a half-open circuit.
    pub half_open_records: u32,
    /// How long a circuit stays open if there is a timer.
    pub open: Duration,
}

/// Why a circuit opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trip {
    /// Another record would be lost.
    Losses(u32, u32),
    /// The guest would be started again once more.
    Restarts(u32, Duration),
    /// The guest failed while the circuit was half-open. So many of so many records had passed.
    HalfOpen(u64, u32),
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Losses(0, _) => f.write_str("no record may be lost (lost_max is 0)"),
            Self::Losses(max, window) => {
                write!(f, "{max} of the last {window} records were lost and no more may be (lost_max, lost_window)")
            }
            Self::Restarts(0, _) => f.write_str("it may not be started again (restart_max is 0)"),
            Self::Restarts(max, window) => {
                write!(
                    f,
                    "{max} restarts in {window:?} are behind it and no more may be (restart_max, restart_window_ns)"
                )
            }
            Self::HalfOpen(passed, wanted) => {
                write!(f, "it failed again while the circuit was half-open, after {passed} of {wanted} records")
            }
        }
    }
}

/// When the last things of a kind were: at most `max` of them.
struct Window {
    max: usize,
    length: u64,
    /// A ring once it has `max`.
    at: Vec<u64>,
    /// The oldest one then.
    oldest: usize,
}

impl Window {
    fn new(max: u32, length: u64) -> Result<Self> {
        let max = max as usize;
        Ok(Self { max, length, at: fallible::vec(max)?, oldest: 0 })
    }

    /// Whether one more at `now` would be more than `max` in the window that ends there.
    fn is_full(&self, now: u64) -> bool {
        if self.at.len() < self.max {
            return false;
        }
        self.at.get(self.oldest).is_none_or(|&oldest| now.saturating_sub(oldest) < self.length)
    }

    fn add(&mut self, now: u64) {
        if self.at.len() < self.max {
            self.at.push(now);
        } else if let Some(oldest) = self.at.get_mut(self.oldest) {
            *oldest = now;
            self.oldest = (self.oldest + 1) % self.max;
        }
    }

    fn clear(&mut self) {
        self.at.clear();
        self.oldest = 0;
    }
}

enum State {
    Closed,
    /// Until then by the timer.
    Open(Option<Duration>),
    /// Records that have passed.
    HalfOpen(u64),
}

/// A circuit breaker of one engine.
pub struct Circuit {
    thresholds: Thresholds,
    losses: Option<Window>,
    restarts: Option<Window>,
    state: State,
    /// Records that passed or were lost.
    position: u64,
}

impl Circuit {
    /// A closed circuit. None without a threshold. `has_timer` and `loses` are what the rest of the policy has.
    pub fn new(thresholds: Thresholds, has_timer: bool, loses: bool) -> Result<Option<Self>> {
        let Thresholds { lost_max, lost_window, restart_max, restart_window, half_open_records, open } = thresholds;
        let refused = |why: String| Err(Error::invalid(why));
        if lost_max > 0 && lost_max >= lost_window {
            return refused(format!("lost_max is {lost_max}; it must be less than lost_window, {lost_window}"));
        }
        if restart_max > 0 && restart_window.is_zero() {
            return refused(format!("restart_max is {restart_max}, but restart_window_ns is 0"));
        }
        if lost_max.max(restart_max) > MOST_KEPT {
            return refused(format!("lost_max and restart_max must be at most {MOST_KEPT}"));
        }
        if lost_window > 0 && !loses {
            return refused("lost_window needs an on_error that loses records: no record is lost by this one".into());
        }
        if !restart_window.is_zero() && !has_timer {
            return refused("restart_window_ns needs a timer, by whose now it is measured".into());
        }
        if !open.is_zero() && !has_timer {
            return refused("open_ns needs a timer; without one the next start tries again".into());
        }
        if lost_window == 0 && restart_window.is_zero() {
            if half_open_records > 0 || !open.is_zero() {
                return refused("half_open_records and open_ns need lost_window or restart_window_ns".into());
            }
            return Ok(None);
        }
        let window = |max, length: u64| (length > 0).then(|| Window::new(max, length)).transpose();
        Ok(Some(Self {
            losses: window(lost_max, lost_window.into())?,
            restarts: window(restart_max, nanoseconds(restart_window))?,
            state: State::Closed,
            position: 0,
            thresholds: Thresholds {
                half_open_records: if half_open_records == 0 { HALF_OPEN_RECORDS } else { half_open_records },
                open: if open.is_zero() { OPEN } else { open },
                ..thresholds
            },
        }))
    }

    /// The state.
    pub fn state(&self) -> wasm_circuit {
        match self.state {
            State::Closed => wasm_circuit::Closed,
            State::Open(_) => wasm_circuit::Open,
            State::HalfOpen(_) => wasm_circuit::HalfOpen,
        }
    }

    /// Records passed: their output was delivered.
    pub fn pass(&mut self, records: u64) {
        self.position += records;
        if let State::HalfOpen(passed) = &mut self.state {
            *passed += records;
            if *passed >= u64::from(self.thresholds.half_open_records) {
                self.close();
            }
        }
    }

    /// The guest failed. Whether the policy may lose a record, if it would, and start the guest again, which counts.
    pub fn go_on(&mut self, loses: bool, now: Duration) -> Result<(), Trip> {
        if let Some(trip) = self.half_open() {
            return Err(trip);
        }
        if loses && self.losses.as_ref().is_some_and(|losses| losses.is_full(self.position + 1)) {
            return Err(Trip::Losses(self.thresholds.lost_max, self.thresholds.lost_window));
        }
        if let Some(restarts) = &mut self.restarts {
            let now = nanoseconds(now);
            if restarts.is_full(now) {
                return Err(Trip::Restarts(self.thresholds.restart_max, self.thresholds.restart_window));
            }
            restarts.add(now);
        }
        Ok(())
    }

    /// What a failure does if the circuit is half-open.
    pub fn half_open(&self) -> Option<Trip> {
        match self.state {
            State::HalfOpen(passed) => Some(Trip::HalfOpen(passed, self.thresholds.half_open_records)),
            _ => None,
        }
    }

    /// A record was lost.
    pub fn lose(&mut self) {
        self.position += 1;
        if let Some(losses) = &mut self.losses {
            losses.add(self.position);
        }
    }

    /// The policy stops. With a timer the circuit stays open for some time from `now` on.
    pub fn open(&mut self, now: Option<Duration>) {
        self.state = State::Open(now.map(|now| now.saturating_add(self.thresholds.open)));
    }

    /// How long a start must wait. Zero unless the circuit is open and there is a timer.
    pub fn left(&self, now: Duration) -> Duration {
        match self.state {
            State::Open(Some(until)) => until.saturating_sub(now),
            _ => Duration::ZERO,
        }
    }

    /// The guest is started. An open circuit is half-open from here on.
    pub fn try_again(&mut self) {
        if let State::Open(_) = self.state {
            self.state = State::HalfOpen(0);
        }
    }

    /// Begins anew: what happened before does not count any more.
    pub fn close(&mut self) {
        self.state = State::Closed;
        for window in [&mut self.losses, &mut self.restarts].into_iter().flatten() {
            window.clear();
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

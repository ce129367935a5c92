//! How long a guest has been running in time that it is accountable for: only while it had the thread.

use super::fault::Fault;
use super::monotonic::Monotonic;
use crate::base::config::Config;
use crate::system::ticker::{self, ActivePolls};
use core::cell::Cell;
use std::time::Duration;

/// Ticks of the epoch in a time slice. A guest's deadline is this many ticks ahead. The guest therefore runs for
/// between one and two halves of its slice and never longer.
pub const TICKS_PER_SLICE: u64 = 2;

/// The time between two ticks of a runtime's epoch.
pub fn tick(config: &Config) -> Duration {
    config.time_slice.min(config.record_time_limit) / TICKS_PER_SLICE as u32
}

/// Adds up running time and compares it with the limit by the ticker's run clock.
#[derive(Debug)]
pub struct RunTime {
    /// What the guest itself sees.
    pub monotonic: Monotonic,
    polls: ActivePolls,
    limit: u64,
    slice: u64,
    /// Nanoseconds of earlier turns.
    used: Cell<u64>,
    /// Run clock at the start of this turn or of the record if the record began in this turn.
    since: Cell<u64>,
    /// Run clock at the start of this turn.
    turn: Cell<u64>,
}

impl RunTime {
    /// A stopped clock.
    pub fn new(config: &Config) -> Self {
        Self {
            monotonic: Monotonic::new(config.replay.is_some()),
            polls: ActivePolls::of_this_thread(),
            limit: config.record_time_limit.as_nanos() as u64,
            slice: config.time_slice.as_nanos() as u64,
            used: Cell::new(0),
            since: Cell::new(0),
            turn: Cell::new(0),
        }
    }

    /// The host gives the guest the thread.
    #[inline]
    pub fn begin_turn(&self) {
        self.polls.begin();
        let now = ticker::run_clock();
        self.since.set(now);
        self.turn.set(now);
        self.monotonic.begin_turn();
    }

    /// The host has the thread again.
    #[inline]
    pub fn end_turn(&self) {
        self.monotonic.end_turn();
        self.polls.end();
    }

    /// The guest continues in the same turn after its host took some output.
    pub fn resume(&self) {
        self.since.set(ticker::run_clock());
    }

    /// Whether this turn has lasted for a slice.
    #[inline]
    pub fn turn_is_over(&self) -> bool {
        self.long_turn().is_some()
    }

    /// Nanoseconds of this turn if it has lasted a slice or more.
    #[inline]
    pub fn long_turn(&self) -> Option<u64> {
        let passed = ticker::run_clock().wrapping_sub(self.turn.get());
        (passed >= self.slice).then_some(passed)
    }

    /// The run clock when this turn began.
    pub fn turn_began(&self) -> u64 {
        self.turn.get()
    }

    /// The guest loses the thread.
    pub fn pause(&self) {
        let now = ticker::run_clock();
        self.used.set(self.used.get() + now.wrapping_sub(self.since.get()));
        self.since.set(now);
    }

    /// Restarts the count: for a record or a start.
    #[inline]
    pub fn restart(&self) {
        self.used.set(0);
        self.since.set(ticker::run_clock());
    }

    /// Fails when the limit is exceeded.
    #[inline]
    pub fn check(&self) -> Result<(), Fault> {
        let used = self.used.get() + ticker::run_clock().wrapping_sub(self.since.get());
        if used <= self.limit { Ok(()) } else { Err(Fault::Timeout { limit_ms: self.limit / 1_000_000 }) }
    }
}

//! How long a guest has been running in time that it is accountable for: only while it had the thread, and the thread
//! a processor.
//!
//! Two clocks measure it. The ticker's run clock costs one load, so it may be read per record. It counts time in which
//! the kernel had preempted the thread too. So it never ends a guest. When it has passed the limit, the thread's
//! processor time is looked at, which takes a system call. That clock is also read at the turns of a record that has
//! lasted for a sixteenth of its limit. A guest is ended when it has used more processor time than its limit since
//! then.

use super::fault::Fault;
use super::monotonic::Monotonic;
use crate::base::config::Config;
use crate::system::processor_time;
use crate::system::ticker::{self, ActivePolls};
use core::cell::Cell;
use std::time::Duration;

/// Ticks of the epoch in a time slice. A guest's deadline is this many ticks ahead. The guest therefore runs for
/// between one and two halves of its slice and never longer.
pub const TICKS_PER_SLICE: u64 = 2;

/// The share of its limit in which a record's processor time is not looked at. That is given to the record. Looking
/// takes a system call per turn and another one at its end.
const UNMEASURED_SHARE: u32 = 16;

/// The time between two ticks of a runtime's epoch.
pub fn tick(config: &Config) -> Duration {
    config.time_slice.min(config.record_time_limit) / TICKS_PER_SLICE as u32
}

/// Adds up running time and compares it with the limit.
#[derive(Debug)]
pub struct RunTime {
    /// What the guest itself sees.
    pub monotonic: Monotonic,
    polls: ActivePolls,
    limit: u64,
    slice: u64,
    /// A record that lasts longer is measured.
    measured_from: u64,
    /// Nanoseconds of earlier turns by the run clock. Of processor time while that is measured and then never 0.
    used: Cell<u64>,
    /// Run clock at the start of this turn or of the record if the record began in this turn.
    since: Cell<u64>,
    /// Run clock at the start of this turn.
    turn: Cell<u64>,
    /// Whether a record's processor time is measured. Left as it is when the next record begins: for that record
    /// `used` is still 0.
    measures: Cell<bool>,
    /// Nanoseconds of processor time of earlier turns since the measuring began.
    processor: Cell<u64>,
    /// The thread's processor time when it was last read.
    processor_since: Cell<u64>,
}

impl RunTime {
    /// A stopped clock for guests with this limit.
    pub fn new(config: &Config, limit: Duration) -> Self {
        Self {
            monotonic: Monotonic::new(config.replay.is_some()),
            polls: ActivePolls::of_this_thread(),
            limit: limit.as_nanos() as u64,
            slice: config.time_slice.as_nanos() as u64,
            measured_from: (limit / UNMEASURED_SHARE).max(tick(config)).as_nanos() as u64,
            used: Cell::new(0),
            since: Cell::new(0),
            turn: Cell::new(0),
            measures: Cell::new(false),
            processor: Cell::new(0),
            processor_since: Cell::new(0),
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

    /// The guest continues: after its host took some output, or in another turn.
    pub fn resume(&self) {
        self.since.set(ticker::run_clock());
        if self.measures.get() {
            self.processor_since.set(processor_time());
        }
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
        let before = self.used.get();
        self.used.set(before + now.wrapping_sub(self.since.get()));
        self.since.set(now);
        if self.measures.get() {
            if before == 0 {
                // The record that was measured is done.
                self.measures.set(false);
            } else {
                self.add_processor_time();
            }
        }
    }

    /// A time slice is over. A record that has lasted for so long is measured from its next turn on.
    pub fn end_slice(&self) {
        if self.used.get() > self.measured_from && !self.is_measured() {
            self.begin_measuring();
        }
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
        if used <= self.limit { Ok(()) } else { self.check_processor_time() }
    }

    /// The limit has passed by the run clock.
    #[cold]
    fn check_processor_time(&self) -> Result<(), Fault> {
        if self.is_measured() {
            self.add_processor_time();
        } else {
            self.begin_measuring();
            self.processor_since.set(processor_time());
        }
        let used = self.processor.get();
        if used > self.limit {
            return Err(Fault::Timeout { limit: self.limit });
        }
        // Processor time cannot pass faster. So the rest of the limit may pass before the next look.
        self.used.set(used.max(1));
        self.since.set(ticker::run_clock());
        Ok(())
    }

    fn is_measured(&self) -> bool {
        self.measures.get() && self.used.get() != 0
    }

    fn begin_measuring(&self) {
        self.measures.set(true);
        self.used.set(self.used.get().max(1));
        self.processor.set(0);
    }

    fn add_processor_time(&self) {
        let now = processor_time();
        let used = now.saturating_sub(self.processor_since.get());
        self.processor.set(self.processor.get() + used);
        self.processor_since.set(now);
    }
}

/// The thread's processor time. Where there is none, time limits count by the run clock.
fn processor_time() -> u64 {
    processor_time::of_this_thread().unwrap_or_else(ticker::run_clock)
}

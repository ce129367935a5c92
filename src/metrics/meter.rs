//! An engine's side of its metrics: decides what is counted when.
//!
//! Not every short operation is timed, because reading the clock would cost up to a tenth of it. After an operation
//! that took less than [`SHORT`], the next [`UNTIMED`] are assumed to take as long. If one of these runs for a time
//! slice or longer, the run clock shows that and its time is counted. Large batches and everything after a first poll
//! are always timed. The numbers of records and bytes are always exact.

use super::clock;
use super::counters::{Counter, Counters};
use super::registry::{MetricsRegistry, Series};
use crate::base::status::wasm_status as Status;
use core::cell::Cell;
use std::sync::Arc;

/// Nanoseconds. For longer operations, reading the clock costs less than 1 %.
pub const SHORT: u64 = 4_000;

/// Operations after a short one that are not timed.
pub const UNTIMED: u32 = 7;

/// A batch of at least this many bytes is always timed.
pub const LARGE: usize = 32 << 10;

/// What passed through an engine since the last flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Records.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// Counts for one engine. Dropping it removes the engine from the registry.
pub struct Meter {
    counters: Arc<Counters>,
    series: Arc<Series>,
    registry: Arc<MetricsRegistry>,
    joined: Cell<bool>,
    started: Cell<bool>,
    /// The operation is timed from here on.
    timed: Cell<bool>,
    /// The operation is a transform that is timed from its beginning.
    sample: Cell<bool>,
    /// Ticks at which the clock was last read.
    since: Cell<u64>,
    /// Ticks of the operation so far.
    spent: Cell<u64>,
    /// Records of the operation so far.
    records: Cell<u64>,
    /// Operations that are not to be timed.
    untimed: Cell<u32>,
    /// Batches of the last operation.
    batches: Cell<usize>,
    /// Ticks of the last sample.
    usual: Cell<u64>,
}

impl Meter {
    /// For an engine that counts in `counters` of `series` if `joined`.
    pub(super) fn new(
        registry: Arc<MetricsRegistry>,
        series: Arc<Series>,
        counters: Arc<Counters>,
        joined: bool,
    ) -> Self {
        Self {
            counters,
            series,
            registry,
            joined: Cell::new(joined),
            started: Cell::new(false),
            timed: Cell::new(false),
            sample: Cell::new(false),
            since: Cell::new(0),
            spent: Cell::new(0),
            records: Cell::new(0),
            untimed: Cell::new(0),
            batches: Cell::new(1),
            usual: Cell::new(0),
        }
    }

    /// The engine's transform and shard.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// Bytes of linear memory.
    pub fn memory(&self) -> &super::counters::Count {
        &self.counters.memory
    }

    /// A record is dropped because of the policy.
    pub fn skip(&self) {
        self.counters.add(Counter::Skipped, 1);
    }

    /// A record is sent to the dead letters because of the policy.
    pub fn dead_letter(&self) {
        self.counters.add(Counter::DeadLettered, 1);
    }

    /// So many more batches wait for the engine (or fewer). On the engine's thread only.
    pub fn queued(&self, change: i64) {
        let queued = &self.counters.queued;
        queued.set(queued.get().saturating_add_signed(change));
    }

    /// A start begins.
    pub fn begin_start(&self) {
        if self.started.replace(true) {
            self.series.note_restart();
        }
        self.timed.set(true);
        self.sample.set(false);
        self.spent.set(0);
    }

    /// A number of batches comes, with so many bytes.
    #[inline]
    pub fn begin_transform(&self, bytes: usize, batches: usize) {
        let untimed = self.untimed.get();
        // Another number of batches takes another time.
        let others = self.batches.replace(batches) != batches;
        let timed = untimed == 0 || bytes >= LARGE || others;
        self.timed.set(timed);
        self.sample.set(timed);
        self.spent.set(0);
        if !timed {
            self.untimed.set(untimed - 1);
        }
    }

    /// A poll begins.
    #[inline]
    pub fn begin_turn(&self) {
        if self.timed.get() {
            self.since.set(clock::ticks());
        }
    }

    /// A poll ends. `long` is its length in nanoseconds of the run clock if it took a time slice or more.
    #[inline]
    pub fn end_turn(&self, long: Option<u64>) {
        let spent = if self.timed.replace(true) {
            clock::ticks().wrapping_sub(self.since.get())
        } else if let Some(nanoseconds) = long {
            self.untimed.set(0);
            clock::from_nanoseconds(nanoseconds)
        } else {
            self.usual.get()
        };
        self.spend(spent);
    }

    #[inline]
    fn spend(&self, ticks: u64) {
        self.spent.set(self.spent.get() + ticks);
        self.counters.add(Counter::Cpu, ticks);
    }

    /// Publishes input and output since the last call.
    #[inline]
    pub fn pass(&self, input: Passed, output: Passed) {
        self.records.set(self.records.get() + input.records);
        self.counters.add(Counter::RecordsIn, input.records);
        self.counters.add(Counter::BytesIn, input.bytes);
        self.counters.add(Counter::RecordsOut, output.records);
        self.counters.add(Counter::BytesOut, output.bytes);
    }

    /// The operation has completed with any result.
    #[inline]
    pub fn end(&self) {
        let (spent, records) = (self.spent.get(), self.records.replace(0));
        if records > 0 {
            let nanoseconds = clock::nanoseconds(spent);
            self.counters.add(Counter::Latency, spent);
            self.counters.observe(if records == 1 { nanoseconds } else { nanoseconds / records }, records);
        }
        if self.sample.replace(false) {
            self.usual.set(spent);
            self.untimed.set(if clock::nanoseconds(spent) < SHORT { UNTIMED } else { 0 });
        }
    }

    /// The operation failed or could not begin.
    #[cold]
    pub fn fail(&self, status: Status) {
        self.series.errors.count(status);
        self.sample.set(false);
        self.end();
    }

    /// The engine is released: leaves the registry unless it has left already. True for the last engine of its
    /// series.
    pub fn leave(&self) -> bool {
        self.joined.replace(false) && self.registry.leave(&self.series, &self.counters)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_as_long_as_they_are_now_and_go_with_their_engine() {
        let registry = MetricsRegistry::new();
        let queued = || {
            let mut all = Vec::new();
            registry.series(&mut all).unwrap();
            all[0].sums().0.queued
        };
        let (one, other) = (registry.join("t", 1), registry.join("t", 1));
        one.queued(3);
        one.queued(-1);
        other.queued(5);
        assert_eq!(queued(), 7);
        one.queued(-9);
        assert_eq!(queued(), 5, "no queue is shorter than none");
        other.leave();
        assert_eq!(queued(), 0);
    }

    #[test]
    fn records_that_a_policy_takes_out_stay_counted() {
        let registry = MetricsRegistry::new();
        let (one, other) = (registry.join("t", 1), registry.join("t", 1));
        one.skip();
        one.skip();
        other.dead_letter();
        let sums = || one.series().sums().0;
        assert_eq!((sums().get(Counter::Skipped), sums().get(Counter::DeadLettered)), (2, 1));
        other.leave();
        assert_eq!((sums().get(Counter::Skipped), sums().get(Counter::DeadLettered)), (2, 1));
    }
}

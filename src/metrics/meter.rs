//! An engine's side of its metrics: decides what is counted when.
//!
//! Not every short operation is timed, because reading the clock would cost up to a tenth of it. After an operation
//! that took less than [`SHORT`], the next [`UNTIMED`] are assumed to take as long. If one of these runs for a time
//! slice or longer, the run clock shows that and its time is counted. Large batches and everything after a first poll
//! are always timed. The numbers of records and bytes are always exact.

use super::clock;
use super::counters::{Condition, Counter, Counters};
use super::registry::{BrokenCircuit, MetricsRegistry, Series};
use crate::base::status::wasm_status as Status;
use crate::host::sink::wasm_output_record;
use crate::system::ticker;
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
    /// Records of the last operation that was ended.
    finished: Cell<u64>,
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
            finished: Cell::new(0),
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
        let again = [Condition::Failed, Condition::Restarting].map(|condition| condition as u64);
        let again = again.contains(&self.counters.condition.get());
        self.note(if again { Condition::Restarting } else { Condition::Starting });
    }

    /// What the engine does from here on.
    pub fn note(&self, condition: Condition) {
        self.counters.condition.set(condition as u64);
    }

    /// An engine that failed is to start again. Nothing if another user of it has started it meanwhile.
    pub fn note_restarting(&self) {
        if self.counters.condition.get() == Condition::Failed as u64 {
            self.note(Condition::Restarting);
        }
    }

    /// Records that the last operation took if they were not asked for before.
    pub fn take_finished(&self) -> u64 {
        self.finished.take()
    }

    /// The policy stops the engine.
    pub fn stop_by_policy(&self) {
        self.series.note_stop();
    }

    /// A circuit that is open or half-open, as long as the result lives.
    pub fn broken_circuit(&self, is_half_open: bool) -> BrokenCircuit {
        BrokenCircuit::new(self.series.clone(), is_half_open)
    }

    /// The host says from which offset the engine continues, unless it has progressed, and where the input ends.
    pub fn tell_offsets(&self, next: u64, end: u64) {
        self.counters.next_offset.set(self.counters.next_offset.get().max(next + 1));
        self.counters.end_offset.set(end + 1);
    }

    /// Forgets where the input ends.
    pub fn forget_offsets(&self) {
        self.counters.end_offset.set(0);
        self.counters.next_offset.set(0);
    }

    /// The engine of `old` is replaced by this one, which continues where that was.
    pub fn continue_from(&self, old: &Self) {
        self.counters.next_offset.set(old.counters.next_offset.get());
        self.counters.end_offset.set(old.counters.end_offset.get());
        // The lag is that of one of them.
        old.counters.end_offset.set(0);
    }

    /// Whether output is counted by topic. The only topic has all output anyway.
    #[inline]
    pub fn has_topics(&self) -> bool {
        !self.counters.topics.is_empty()
    }

    /// A sink accepted these records. Runs of one topic are counted in one.
    #[inline(never)]
    pub fn count_topics(&self, records: &[wasm_output_record]) {
        for run in records.chunk_by(|one, other| one.topic == other.topic) {
            let Some(topic) = run.first().and_then(|first| self.counters.topics.get(first.topic as usize)) else {
                continue;
            };
            topic.records.add(run.len() as u64);
            topic.bytes.add(run.iter().map(|record| u64::from(record.payload_size)).sum());
        }
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
            // Counters of two processors may differ by a little.
            clock::ticks().saturating_sub(self.since.get())
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

    /// The engine continues from this offset.
    #[inline]
    pub fn note_next(&self, offset: i64) {
        self.counters.next_offset.set((offset as u64).wrapping_add(1));
    }

    /// Publishes input and output since the last call.
    #[inline]
    pub fn pass(&self, input: Passed, output: Passed) {
        if input.records > 0 {
            self.counters.progressed.set(ticker::recent());
        }
        self.records.set(self.records.get() + input.records);
        self.counters.add(Counter::RecordsIn, input.records);
        self.counters.add(Counter::BytesIn, input.bytes);
        self.counters.add(Counter::RecordsOut, output.records);
        self.counters.add(Counter::BytesOut, output.bytes);
    }

    /// The operation has completed with any result. Returns how many records it took.
    #[inline]
    pub fn end(&self) -> u64 {
        let (spent, records) = (self.spent.get(), self.records.replace(0));
        self.finished.set(records);
        if records > 0 {
            let nanoseconds = clock::nanoseconds(spent);
            self.counters.add(Counter::Latency, spent);
            self.counters.observe(if records == 1 { nanoseconds } else { nanoseconds / records }, records);
        }
        if self.sample.replace(false) {
            self.usual.set(spent);
            self.untimed.set(if clock::nanoseconds(spent) < SHORT { UNTIMED } else { 0 });
        }
        records
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
    use crate::base::description::Description;
    use crate::metrics::counters::Sums;

    fn named(name: &str, topics: &[&str]) -> Description {
        let output_topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Description { name: name.into(), output_topics, ..Description::default() }
    }

    fn sums(meter: &Meter) -> Sums {
        meter.series().sums(&mut Vec::new(), &mut Vec::new()).sums
    }

    #[test]
    fn queues_are_as_long_as_they_are_now_and_go_with_their_engine() {
        let registry = MetricsRegistry::new();
        let queued = || {
            let mut all = Vec::new();
            registry.series(&mut all).unwrap();
            all[0].sums(&mut Vec::new(), &mut Vec::new()).sums.queued
        };
        let (one, other) =
            (registry.join(&named("t", &[]), None).unwrap(), registry.join(&named("t", &[]), None).unwrap());
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
        let (one, other) =
            (registry.join(&named("t", &[]), None).unwrap(), registry.join(&named("t", &[]), None).unwrap());
        one.skip();
        one.skip();
        other.dead_letter();
        let sums = || sums(&one);
        assert_eq!((sums().get(Counter::Skipped), sums().get(Counter::DeadLettered)), (2, 1));
        other.leave();
        assert_eq!((sums().get(Counter::Skipped), sums().get(Counter::DeadLettered)), (2, 1));
    }
}

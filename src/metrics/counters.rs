//! What one engine has counted.

use super::clock;
use crate::base::error::Result;
use crate::batch::fallible;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to the counter. Only its one writer may: the processor's locked addition would cost twenty times as much.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// Replaces the value. Only its one writer may.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The number.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What engines count on the data path. To add a counter: append it here, in `text.rs` and to
/// `wasm_transform_metrics`.
#[derive(Clone, Copy, Debug)]
pub enum Counter {
    /// Ticks for which the engine had the thread.
    Cpu,
    /// Ticks of these that went to transforms that took records.
    Latency,
    /// Records that guests took.
    RecordsIn,
    /// Bytes of their payloads.
    BytesIn,
    /// Records that sinks accepted.
    RecordsOut,
    /// Bytes of their payloads.
    BytesOut,
    /// Records dropped because of the policy.
    Skipped,
    /// Records sent to the dead letters because of the policy.
    DeadLettered,
}

/// How many there are.
pub const COUNTERS: usize = 8;
const _: () = assert!(COUNTERS == Counter::DeadLettered as usize + 1);

/// The first bucket of the latency histogram ends at 2⁸ ns. Each further bucket ends at twice the end of the previous
/// one.
const FIRST_BUCKET_BITS: u32 = 8;

/// Buckets of the latency histogram. The last but one ends at 2³² ns. The last one has no end.
pub const BUCKETS: usize = 26;

/// The bucket of a latency.
#[inline]
pub fn bucket(nanoseconds: u64) -> usize {
    let bits = u64::BITS - nanoseconds.saturating_sub(1).leading_zeros();
    (bits.saturating_sub(FIRST_BUCKET_BITS) as usize).min(BUCKETS - 1)
}

/// The longest latency that belongs into a bucket.
pub fn bucket_end(index: usize) -> u64 {
    if index + 1 < BUCKETS { 1 << (FIRST_BUCKET_BITS as usize + index) } else { u64::MAX }
}

/// What an engine does, as far as that lasts.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It was not started or was stopped by its host.
    Stopped = 0,
    /// The guest starts.
    Starting,
    /// The guest is started: it waits for a batch or works on one.
    Running,
    /// It failed and starts again or waits for that.
    Restarting,
    /// It was stopped by a failure.
    Failed,
}

impl Condition {
    /// All of them with their names in metrics.
    pub const ALL: [(Self, &str); 5] = [
        (Self::Stopped, "stopped"),
        (Self::Starting, "starting"),
        (Self::Running, "running"),
        (Self::Restarting, "restarting"),
        (Self::Failed, "failed"),
    ];
}

/// What went to one topic.
#[derive(Debug, Default)]
pub struct TopicCounters {
    /// Records that sinks accepted.
    pub records: Count,
    /// Bytes of their payloads.
    pub bytes: Count,
}

/// One engine's counters in cache lines of their own. 128 bytes because processors fetch lines in pairs.
#[repr(align(128))]
#[derive(Debug, Default)]
pub struct Counters {
    /// Current bytes of linear memory.
    pub memory: Count,
    /// Bytes of linear memory that the engine may have.
    pub memory_limit: Count,
    /// Batches that currently wait.
    pub queued: Count,
    counters: [Count; COUNTERS],
    latency: [Count; BUCKETS],
    /// A `Condition`.
    pub condition: Count,
    /// When records last passed by the ticker's clock, or when the engine was made.
    pub progressed: Count,
    /// The offset from which the engine continues, plus 1. 0 if none is known.
    pub next_offset: Count,
    /// The end of the input, plus 1. 0 if the host has not told it.
    pub end_offset: Count,
    /// Output by topic. Empty with one topic, which has all of it.
    pub topics: Box<[TopicCounters]>,
}

impl Counters {
    /// For an engine with so many output topics.
    pub fn new(topics: usize) -> Result<Self> {
        let count = if topics > 1 { topics } else { 0 };
        let mut topics = fallible::vec(count)?;
        topics.resize_with(count, TopicCounters::default);
        Ok(Self { topics: topics.into(), ..Self::default() })
    }

    /// Records and bytes that went to topic `index`.
    pub fn topic(&self, index: usize) -> (u64, u64) {
        match self.topics.get(index) {
            Some(topic) => (topic.records.get(), topic.bytes.get()),
            None => {
                (self.counters[Counter::RecordsOut as usize].get(), self.counters[Counter::BytesOut as usize].get())
            }
        }
    }

    /// Records between the engine and the end of its input. None if the host has not told the end.
    pub fn lag(&self) -> Option<u64> {
        let (next, end) = (self.next_offset.get(), self.end_offset.get());
        (end > 0).then(|| end.saturating_sub(next))
    }

    /// Adds to a counter.
    #[inline]
    pub fn add(&self, counter: Counter, more: u64) {
        self.counters[counter as usize].add(more);
    }

    /// Counts records of one latency.
    #[inline]
    pub fn observe(&self, nanoseconds: u64, records: u64) {
        self.latency[bucket(nanoseconds)].add(records);
    }
}

/// The summed counters of several engines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// Bytes of linear memory of current engines.
    pub memory: u64,
    /// Bytes of linear memory that current engines may have.
    pub memory_limit: u64,
    /// Batches that wait for a current engine.
    pub queued: u64,
    /// Current engines by condition.
    pub conditions: [u64; Condition::ALL.len()],
    /// When a current engine last progressed.
    pub progressed: u64,
    /// The lag of current engines whose hosts told the end of their input.
    pub lag: Option<u64>,
    counters: [u64; COUNTERS],
    /// Records in each bucket.
    pub latency: [u64; BUCKETS],
}

impl Sums {
    /// Adds an engine's.
    pub fn add(&mut self, counters: &Counters) {
        self.memory += counters.memory.get();
        self.memory_limit += counters.memory_limit.get();
        self.queued += counters.queued.get();
        if let Some(engines) = self.conditions.get_mut(counters.condition.get() as usize) {
            *engines += 1;
        }
        self.progressed = self.progressed.max(counters.progressed.get());
        if let Some(lag) = counters.lag() {
            self.lag = Some(self.lag.unwrap_or(0) + lag);
        }
        self.retire(counters);
    }

    /// Adds the counts of a released engine without its memory and its queue.
    pub fn retire(&mut self, counters: &Counters) {
        for (sum, count) in self.counters.iter_mut().zip(&counters.counters) {
            *sum += count.get();
        }
        for (sum, count) in self.latency.iter_mut().zip(&counters.latency) {
            *sum += count.get();
        }
    }

    /// A counter. Times are nanoseconds here.
    pub fn get(&self, counter: Counter) -> u64 {
        let sum = self.counters[counter as usize];
        match counter {
            Counter::Cpu | Counter::Latency => clock::nanoseconds(sum),
            _ => sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two_and_have_their_ends() {
        assert_eq!((bucket(0), bucket(1), bucket(256), bucket(257), bucket(512), bucket(513)), (0, 0, 0, 1, 1, 2));
        for i in 0..BUCKETS - 1 {
            assert_eq!((bucket(bucket_end(i)), bucket(bucket_end(i) + 1)), (i, i + 1));
        }
        assert_eq!(
            (bucket_end(BUCKETS - 2), bucket(u64::MAX), bucket_end(BUCKETS - 1)),
            (1 << 32, BUCKETS - 1, u64::MAX)
        );
    }

    #[test]
    fn engines_share_no_pair_of_cache_lines() {
        assert_eq!((align_of::<Counters>(), size_of::<Counters>() % 128), (128, 0));
        let shared = std::sync::Arc::new(Counters::default());
        let count = std::sync::Arc::as_ptr(&shared).addr() - 16;
        assert_ne!(
            count / 128,
            std::sync::Arc::as_ptr(&shared).addr() / 128,
            "readers' references are counted elsewhere"
        );
    }

    #[test]
    fn a_released_engine_leaves_its_counts_but_not_its_memory() {
        let counters = Counters::default();
        counters.memory.set(10);
        counters.queued.set(4);
        counters.add(Counter::RecordsIn, 3);
        counters.observe(300, 3);
        let mut sums = Sums::default();
        sums.add(&counters);
        sums.retire(&counters);
        assert_eq!((sums.memory, sums.queued, sums.get(Counter::RecordsIn), sums.latency[1]), (10, 4, 6, 6));
    }
}

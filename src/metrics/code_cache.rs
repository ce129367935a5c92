//! What a runtime counts about its code cache and about loading.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A runtime's counters of compilations and its code cache. Compile threads write them and any thread reads them.
/// They only grow.
#[derive(Debug, Default)]
pub struct CodeCacheCounters {
    hits: AtomicU64,
    misses: AtomicU64,
    stores: AtomicU64,
    evictions: AtomicU64,
    rejected: AtomicU64,
    faults: AtomicU64,
    loads: AtomicU64,
    load_ns: AtomicU64,
}

/// The counters at one moment. Each is exact, but they are not read at the same instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeCacheCounts {
    /// Modules that were found in the cache and loaded.
    pub hits: u64,
    /// Modules that were looked for in the cache and had to be compiled.
    pub misses: u64,
    /// Entries written.
    pub stores: u64,
    /// Entries removed because the cache was larger than its limit.
    pub evictions: u64,
    /// Entries ignored because they were damaged or foreign or not to be trusted.
    pub rejected: u64,
    /// Faults of the directory or the disk. None of these made a compilation fail.
    pub faults: u64,
    /// Modules loaded from the cache or from an artifact.
    pub loads: u64,
    /// Nanoseconds that these took including hashing and checking.
    pub load_ns: u64,
}

/// What is counted one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeCacheEvent {
    /// See `CodeCacheCounts` for the meaning of each.
    Hit,
    /// A module that was not in the cache.
    Miss,
    /// An entry written.
    Store,
    /// An entry ignored.
    Rejected,
    /// A fault of the directory or the disk.
    Fault,
}

impl CodeCacheCounters {
    /// Counts one.
    pub fn count(&self, event: CodeCacheEvent) {
        let counter = match event {
            CodeCacheEvent::Hit => &self.hits,
            CodeCacheEvent::Miss => &self.misses,
            CodeCacheEvent::Store => &self.stores,
            CodeCacheEvent::Rejected => &self.rejected,
            CodeCacheEvent::Fault => &self.faults,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Counts entries removed to make room.
    pub fn evicted(&self, entries: u64) {
        self.evictions.fetch_add(entries, Relaxed);
    }

    /// Counts a module that was loaded.
    pub fn loaded(&self, time: Duration) {
        self.loads.fetch_add(1, Relaxed);
        self.load_ns.fetch_add(nanoseconds(time), Relaxed);
    }

    /// The counters now.
    pub fn read(&self) -> CodeCacheCounts {
        let value = |counter: &AtomicU64| counter.load(Relaxed);
        CodeCacheCounts {
            hits: value(&self.hits),
            misses: value(&self.misses),
            stores: value(&self.stores),
            evictions: value(&self.evictions),
            rejected: value(&self.rejected),
            faults: value(&self.faults),
            loads: value(&self.loads),
            load_ns: value(&self.load_ns),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

//! All metrics of a runtime at one moment as numbers.

use super::clock;
use super::code_cache::CodeCacheCounts;
use super::counters::{BUCKETS, Counter, Sums, bucket_end};
use super::registry::{CodeHash, FactoryLookup, MetricsRegistry, Series, SeriesSums, TopicSums};
use crate::base::error::Result;
use crate::base::status::wasm_status;
use crate::batch::fallible;
use crate::system::memory::pools::Pooled;
use crate::system::ticker;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Records whose latency is in one range.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct wasm_latency_bucket {
    /// The range's inclusive end in nanoseconds. The range begins after the end of the previous bucket. The end of
    /// the last bucket is `UINT64_MAX`.
    pub end_ns: u64,
    /// Records in this range. Other buckets are not included.
    pub records: u64,
}

/// Failures of one kind.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct wasm_error_count {
    /// A `wasm_status`. `wasm_status_name` has its name.
    pub status: wasm_status,
    /// Operations that failed with this status. Never 0.
    pub count: u64,
}

/// One transform on one shard.
#[derive(Debug)]
pub struct TransformMetrics {
    /// The name.
    pub transform: Arc<str>,
    /// The shard.
    pub shard: u32,
    /// Current engines.
    pub engines: u64,
    /// Bytes of memory that these may have together.
    pub memory_limit: u64,
    /// What was counted.
    pub sums: Sums,
    /// Starts after an engine's first.
    pub restarts: u64,
    /// Log lines that were suppressed.
    pub log_suppressed: u64,
    /// The latency histogram.
    pub latency: [wasm_latency_bucket; BUCKETS],
    /// Kinds of failures that happened.
    pub errors: Vec<wasm_error_count>,
    /// How often policies stopped engines.
    pub stops: u64,
    /// Circuits that are open and half-open.
    pub broken: [u64; 2],
    /// Nanoseconds since an engine last progressed. None without engines.
    pub since_progress: Option<u64>,
    /// Output by topic.
    pub topics: Vec<TopicSums>,
    /// The code of current engines and how many have it.
    pub codes: Vec<(CodeHash, u64)>,
}

/// Memory of a transform that was read before.
#[derive(Default)]
struct Spare {
    errors: Vec<wasm_error_count>,
    topics: Vec<TopicSums>,
    codes: Vec<(CodeHash, u64)>,
}

impl TransformMetrics {
    /// A counter. Times are nanoseconds.
    pub fn get(&self, counter: Counter) -> u64 {
        self.sums.get(counter)
    }

    /// The numbers and how many engines the series has had.
    fn read(series: &Series, now: u64, spare: Spare) -> (Self, u64) {
        let Spare { mut errors, mut topics, mut codes } = spare;
        let SeriesSums { sums, engines, joined } = series.sums(&mut topics, &mut codes);
        errors.clear();
        errors.extend(series.errors.counted().map(|(status, count)| wasm_error_count { status, count }));
        let read = Self {
            transform: series.transform.clone(),
            shard: series.shard,
            engines,
            memory_limit: sums.memory_limit,
            sums,
            restarts: series.restarts(),
            log_suppressed: series.log.suppressed(),
            latency: core::array::from_fn(|i| wasm_latency_bucket { end_ns: bucket_end(i), records: sums.latency[i] }),
            errors,
            stops: series.stops(),
            broken: series.broken(),
            since_progress: (engines > 0).then(|| now.saturating_sub(sums.progressed)),
            topics,
            codes,
        };
        (read, joined)
    }
}

/// A runtime's own.
#[derive(Debug, Default)]
pub struct RuntimeMetrics {
    /// Current engines.
    pub engines: u64,
    /// Factories, also those of custom engines.
    pub factories: u64,
    /// Compiled modules in memory.
    pub modules: u64,
    /// Factories that got the code of another one.
    pub shared_modules: u64,
    /// Bytes of their code.
    pub executable: u64,
    /// Compilations that are over.
    pub compilations: u64,
    /// Nanoseconds that they took.
    pub compile_ns: u64,
    /// The code cache and loads.
    pub code_cache: CodeCacheCounts,
    /// Requests to factory caches that found the factory.
    pub factory_hits: u64,
    /// Those that waited for a compilation that another one had begun.
    pub factory_joined: u64,
    /// Those that found neither.
    pub factory_misses: u64,
    /// Factories that factory caches dropped.
    pub factories_collected: u64,
    /// Compilations that failed.
    pub compile_errors: Vec<wasm_error_count>,
    /// Pools.
    pub pools: Pooled,
}

impl RuntimeMetrics {
    /// Reads the counts into existing memory.
    pub fn read(&mut self, registry: &MetricsRegistry, pools: Pooled) {
        self.engines = registry.engines.load(Relaxed);
        self.factories = registry.factories.load(Relaxed);
        self.modules = registry.modules.load(Relaxed);
        self.shared_modules = registry.shared_modules.load(Relaxed);
        self.executable = registry.executable.load(Relaxed);
        self.compilations = registry.compilations.load(Relaxed);
        self.compile_ns = clock::nanoseconds(registry.compile_ticks.load(Relaxed));
        self.code_cache = registry.code_cache.read();
        self.factory_hits = registry.factory_lookups(FactoryLookup::Hit);
        self.factory_joined = registry.factory_lookups(FactoryLookup::Joined);
        self.factory_misses = registry.factory_lookups(FactoryLookup::Miss);
        self.factories_collected = registry.factories_collected.load(Relaxed);
        self.compile_errors.clear();
        let errors = registry.compile_errors.counted();
        self.compile_errors.extend(errors.map(|(status, count)| wasm_error_count { status, count }));
        self.pools = pools;
    }
}

/// A snapshot. Each number is right by itself, but engines run on while the numbers are read one by one.
#[derive(Default)]
pub struct Snapshot {
    /// The runtime's own.
    pub runtime: RuntimeMetrics,
    /// By name and shard.
    pub transforms: Vec<TransformMetrics>,
    series: Vec<Arc<Series>>,
    spare: Vec<Spare>,
    /// Series without engines that were read, and how many engines they had had.
    told: Vec<(Arc<Series>, u64)>,
}

impl Snapshot {
    /// Reads all numbers again. Allocates only if there are more than before. If that is refused, nothing changes.
    pub fn update(&mut self, registry: &MetricsRegistry, pools: Pooled) -> Result<()> {
        registry.series(&mut self.series)?;
        let (series, transforms) = (self.series.len(), self.transforms.len());
        fallible::reserve(&mut self.transforms, series.saturating_sub(transforms))?;
        self.spare.clear();
        fallible::reserve(&mut self.spare, series.max(transforms))?;
        self.told.clear();
        fallible::reserve(&mut self.told, series)?;
        for (series, old) in self.series.iter().zip(&mut self.transforms) {
            series.reserve(&mut old.topics, &mut old.codes)?;
        }
        for series in self.series.iter().skip(transforms) {
            let mut spare = Spare::default();
            series.reserve(&mut spare.topics, &mut spare.codes)?;
            self.spare.push(spare);
        }
        self.runtime.read(registry, pools);
        let now = ticker::now();
        let spare = |old: TransformMetrics| Spare { errors: old.errors, topics: old.topics, codes: old.codes };
        self.spare.extend(self.transforms.drain(..).map(spare));
        // In the same order, so that each series reuses its memory. What is new was put in front.
        self.spare.rotate_left(series.saturating_sub(transforms));
        let mut spare = self.spare.drain(..);
        for series in self.series.drain(..) {
            let (read, joined) = TransformMetrics::read(&series, now, spare.next().unwrap_or_default());
            if read.engines == 0 {
                self.told.push((series, joined));
            }
            self.transforms.push(read);
        }
        drop(spare);
        Ok(())
    }

    /// The host gets the numbers: what was released before them need not be kept.
    pub fn forget_released(&mut self, registry: &MetricsRegistry) {
        for (series, joined) in self.told.drain(..) {
            registry.forget(&series, joined);
        }
    }
}

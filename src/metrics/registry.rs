//! A runtime's metrics: its own counts and one series per transform and shard.

use super::clock;
use super::code_cache::CodeCacheCounters;
use super::counters::{Counters, Sums};
use super::meter::Meter;
use crate::base::error::Result;
use crate::base::status::wasm_status as Status;
use crate::batch::fallible;
use crate::metrics::log_limit::{LogLimit, Throttle};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Failures by status.
#[derive(Debug)]
pub struct Errors([AtomicU64; Status::ALL.len()]);

impl Default for Errors {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Status::ALL.len()])
    }
}

impl Errors {
    /// Counts one.
    pub fn count(&self, status: Status) {
        if let Some(at) = Status::ALL.iter().position(|&other| other == status) {
            self.0[at].fetch_add(1, Relaxed);
        }
    }

    /// Those that happened.
    pub fn counted(&self) -> impl Iterator<Item = (Status, u64)> {
        let counts = self.0.iter().map(|count| count.load(Relaxed));
        Status::ALL.iter().copied().zip(counts).filter(|&(_, count)| count > 0)
    }
}

/// The engines of one transform on one shard. They usually belong to one thread, but several are possible.
pub struct Series {
    /// The transform's name.
    pub transform: Arc<str>,
    /// The label of the engines' threads.
    pub shard: u32,
    /// Failed operations.
    pub errors: Errors,
    /// Limits what its guests write to the log.
    pub log: LogLimit,
    /// Limits lines about host calls that returned an error code.
    pub refusals: Throttle,
    restarts: AtomicU64,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    engines: Vec<Arc<Counters>>,
    /// What engines counted that are gone.
    gone: Sums,
}

impl Series {
    fn new(transform: &str, shard: u32) -> Self {
        Self {
            transform: transform.into(),
            shard,
            errors: Errors::default(),
            log: LogLimit::default(),
            refusals: Throttle::default(),
            restarts: AtomicU64::new(0),
            members: Mutex::default(),
        }
    }

    /// A start that is not an engine's first.
    pub fn note_restart(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    /// Such starts.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Relaxed)
    }

    /// The sums over all engines and the number of current engines.
    pub fn sums(&self) -> (Sums, u64) {
        let members = self.members.lock();
        let mut sums = members.gone;
        for counters in &members.engines {
            sums.add(counters);
        }
        (sums, members.engines.len() as u64)
    }
}

type SeriesKey = (String, u32);

/// A runtime's metrics.
pub struct MetricsRegistry {
    series: Mutex<BTreeMap<SeriesKey, Arc<Series>>>,
    pub(super) engines: AtomicU64,
    pub(super) factories: AtomicU64,
    pub(super) modules: AtomicU64,
    pub(super) shared_modules: AtomicU64,
    pub(super) executable: AtomicU64,
    pub(super) compilations: AtomicU64,
    pub(super) compile_ticks: AtomicU64,
    /// Written by the code cache, too.
    pub code_cache: Arc<CodeCacheCounters>,
    pub(super) factory_lookups: [AtomicU64; 3],
    pub(super) factories_collected: AtomicU64,
    pub(super) compile_errors: Errors,
}

/// What a request to a factory cache found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactoryLookup {
    /// The factory.
    Hit,
    /// A compilation that another request began.
    Joined,
    /// Nothing.
    Miss,
}

/// Compiled code. Counted as long as it exists.
pub struct Executable {
    registry: Arc<MetricsRegistry>,
    bytes: u64,
}

impl Executable {
    /// Bytes of the code.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        self.registry.executable.fetch_sub(self.bytes, Relaxed);
        self.registry.modules.fetch_sub(1, Relaxed);
    }
}

/// A factory. Counted as long as it exists.
pub struct FactoryCount(Arc<MetricsRegistry>);

impl Drop for FactoryCount {
    fn drop(&mut self) {
        self.0.factories.fetch_sub(1, Relaxed);
    }
}

impl MetricsRegistry {
    /// No engines and no compiled code.
    pub fn new() -> Arc<Self> {
        clock::calibrate();
        Arc::new(Self {
            series: Mutex::default(),
            engines: AtomicU64::new(0),
            factories: AtomicU64::new(0),
            modules: AtomicU64::new(0),
            shared_modules: AtomicU64::new(0),
            executable: AtomicU64::new(0),
            compilations: AtomicU64::new(0),
            compile_ticks: AtomicU64::new(0),
            code_cache: Arc::default(),
            factory_lookups: Default::default(),
            factories_collected: AtomicU64::new(0),
            compile_errors: Errors::default(),
        })
    }

    /// A meter for a new engine of this thread, which may have so many bytes of memory.
    pub fn join(self: &Arc<Self>, transform: &str, memory_limit: usize) -> Meter {
        let counters = Arc::new(Counters::default());
        counters.memory_limit.set(memory_limit as u64);
        let key = (transform.to_owned(), super::shard());
        let mut all = self.series.lock();
        let shard = key.1;
        let series = all.entry(key).or_insert_with(|| Arc::new(Series::new(transform, shard))).clone();
        // With the lock still held: else the series might go meanwhile.
        series.members.lock().engines.push(counters.clone());
        drop(all);
        self.engines.fetch_add(1, Relaxed);
        Meter::new(self.clone(), series, counters, true)
    }

    /// A meter that is never read.
    pub fn detached(self: &Arc<Self>) -> Meter {
        let series = Arc::new(Series::new("", 0));
        Meter::new(self.clone(), series, Arc::new(Counters::default()), false)
    }

    /// Removes an engine. Its counts stay as long as its series. The series ends with its last engine: true then.
    pub(super) fn leave(&self, series: &Series, counters: &Arc<Counters>) -> bool {
        let mut all = self.series.lock();
        let mut members = series.members.lock();
        if let Some(at) = members.engines.iter().position(|other| Arc::ptr_eq(other, counters)) {
            members.engines.swap_remove(at);
            members.gone.retire(counters);
            self.engines.fetch_sub(1, Relaxed);
        }
        let last = members.engines.is_empty();
        drop(members);
        let gone = if last { all.remove(&(series.transform.to_string(), series.shard)) } else { None };
        drop(all);
        drop(gone);
        last
    }

    /// All series by name and shard.
    pub fn series(&self, into: &mut Vec<Arc<Series>>) -> Result<()> {
        into.clear();
        let all = self.series.lock();
        fallible::reserve(into, all.len())?;
        into.extend(all.values().cloned());
        Ok(())
    }

    /// Runs, times and counts a compilation. A compilation avoided by a cache is counted in `code_cache` alone. One
    /// that was given up has not failed.
    pub fn compiling<T>(&self, compile: impl FnOnce() -> Result<T>) -> Result<T> {
        /// Counts also when a panic passes.
        struct CompileTimer<'a>(&'a MetricsRegistry, u64, Option<Status>);
        impl Drop for CompileTimer<'_> {
            fn drop(&mut self) {
                self.0.compilations.fetch_add(1, Relaxed);
                self.0.compile_ticks.fetch_add(clock::ticks().wrapping_sub(self.1), Relaxed);
                if let Some(status) = self.2 {
                    self.0.compile_errors.count(status);
                }
            }
        }
        let mut timer = CompileTimer(self, clock::ticks(), Some(Status::Panic));
        let outcome = compile();
        timer.2 = outcome.as_ref().err().map(|e| e.status).filter(|&status| status != Status::Cancelled);
        outcome
    }

    /// Counts a request to a factory cache.
    pub fn note_factory_lookup(&self, lookup: FactoryLookup) {
        self.factory_lookups[lookup as usize].fetch_add(1, Relaxed);
    }

    /// Such requests.
    pub fn factory_lookups(&self, lookup: FactoryLookup) -> u64 {
        self.factory_lookups[lookup as usize].load(Relaxed)
    }

    /// Counts factories that a factory cache dropped because they were unused.
    pub fn note_factories_collected(&self, count: u64) {
        self.factories_collected.fetch_add(count, Relaxed);
    }

    /// Counts `bytes` of compiled code until the result is dropped.
    pub fn executable(self: &Arc<Self>, bytes: usize) -> Executable {
        let bytes = bytes as u64;
        self.executable.fetch_add(bytes, Relaxed);
        self.modules.fetch_add(1, Relaxed);
        Executable { registry: self.clone(), bytes }
    }

    /// Counts a factory until the result is dropped.
    pub fn factory(self: &Arc<Self>) -> FactoryCount {
        self.factories.fetch_add(1, Relaxed);
        FactoryCount(self.clone())
    }

    /// Counts a factory that got the code of another one.
    pub fn note_shared(&self) {
        self.shared_modules.fetch_add(1, Relaxed);
    }
}

//! A runtime's metrics: its own counts and one series per transform and shard.

use super::clock;
use super::code_cache::CodeCacheCounters;
use super::counters::{Counters, Sums};
use super::meter::Meter;
use crate::base::description::Description;
use crate::base::error::Result;
use crate::base::status::wasm_status as Status;
use crate::batch::fallible;
use crate::metrics::log_limit::{LogLimit, Throttle};
use crate::system::ticker;
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

/// Topics of engines that are gone for which a series has counts of their own. The output of others is summed up under
/// an empty name, which no topic has.
const MOST_TOPICS: usize = 256;

/// Series whose engines are gone and that wait to be read.
const MOST_RELEASED: usize = 1_024;

/// Names of output topics.
type Topics = Arc<Vec<Arc<str>>>;

/// SHA-256 of a module.
pub type CodeHash = [u8; 32];

/// Output to one topic.
#[derive(Clone, Debug)]
pub struct TopicSums {
    /// The topic's name.
    pub name: Arc<str>,
    /// Records that sinks accepted.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
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
    stops: AtomicU64,
    /// Circuits that are open and half-open.
    broken: [AtomicU64; 2],
    members: Mutex<Members>,
}

/// An engine of a series.
struct Member {
    counters: Arc<Counters>,
    /// Its output topics.
    topics: Topics,
    /// Its code unless it is a custom engine.
    code: Option<CodeHash>,
}

#[derive(Default)]
struct Members {
    engines: Vec<Member>,
    /// What engines counted that are gone.
    gone: Sums,
    /// The same by topic.
    gone_topics: Vec<TopicSums>,
    /// The topics of the newest engine. The next one has the same as a rule.
    topics: Topics,
    /// Engines so far.
    joined: u64,
    /// Place among the series whose engines are gone.
    released: Option<u64>,
}

impl Members {
    /// The names, shared with the engine before if they are the same.
    fn topics(&mut self, names: &Topics) -> Topics {
        if *names != self.topics {
            self.topics = names.clone();
        }
        self.topics.clone()
    }

    /// Topics that `sums` may find.
    fn topic_count(&self) -> usize {
        let mut last: Option<&Topics> = None;
        let lists = self.engines.iter().filter_map(|member| {
            let is_same = last.replace(&member.topics).is_some_and(|last| Arc::ptr_eq(last, &member.topics));
            (!is_same).then_some(member.topics.len())
        });
        lists.sum::<usize>() + self.gone_topics.len()
    }
}

/// Adds an engine's output to that of a topic. `most`: names that may be in `sums`.
fn add_topics(sums: &mut Vec<TopicSums>, member: &Member, most: usize) {
    for (index, name) in member.topics.iter().enumerate() {
        let (records, bytes) = member.counters.topic(index);
        // As a rule all engines have the same topics.
        let same = |sum: &TopicSums| sum.name == *name;
        let found = if sums.get(index).is_some_and(same) { Some(index) } else { sums.iter().position(same) };
        let at = match found {
            Some(at) => at,
            None if sums.len() < most => {
                sums.push(TopicSums { name: name.clone(), records: 0, bytes: 0 });
                sums.len() - 1
            }
            None => sums.iter().position(|sum| sum.name.is_empty()).unwrap_or_else(|| {
                sums.push(TopicSums { name: "".into(), records: 0, bytes: 0 });
                sums.len() - 1
            }),
        };
        if let Some(sum) = sums.get_mut(at) {
            sum.records += records;
            sum.bytes += bytes;
        }
    }
}

/// A circuit that is open or half-open. Counted as long as it exists.
pub struct BrokenCircuit {
    series: Arc<Series>,
    is_half_open: bool,
}

impl BrokenCircuit {
    /// One of a series.
    pub fn new(series: Arc<Series>, is_half_open: bool) -> Self {
        let new = Self { series, is_half_open };
        new.count().fetch_add(1, Relaxed);
        new
    }

    fn count(&self) -> &AtomicU64 {
        let [open, half_open] = &self.series.broken;
        if self.is_half_open { half_open } else { open }
    }
}

impl Drop for BrokenCircuit {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Relaxed);
    }
}

/// What a series has at one moment beside its own counts.
#[derive(Debug)]
pub struct SeriesSums {
    /// Over all engines.
    pub sums: Sums,
    /// Current engines.
    pub engines: u64,
    /// Engines so far.
    pub joined: u64,
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
            stops: AtomicU64::new(0),
            broken: Default::default(),
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

    /// A policy stopped an engine.
    pub fn note_stop(&self) {
        self.stops.fetch_add(1, Relaxed);
    }

    /// How often policies stopped engines.
    pub fn stops(&self) -> u64 {
        self.stops.load(Relaxed)
    }

    /// Circuits that are open and half-open.
    pub fn broken(&self) -> [u64; 2] {
        [0, 1].map(|i: usize| self.broken.get(i).map_or(0, |count| count.load(Relaxed)))
    }

    /// Makes room for what `sums` writes.
    pub fn reserve(&self, topics: &mut Vec<TopicSums>, codes: &mut Vec<(CodeHash, u64)>) -> Result<()> {
        let members = self.members.lock();
        fallible::reserve(topics, members.topic_count().saturating_sub(topics.len()))?;
        // A series has the code of one version or of two. More of them are few.
        Ok(fallible::reserve(codes, 2usize.saturating_sub(codes.len()))?)
    }

    /// The sums over all engines. `topics` and `codes` are written anew: output by topic, and how many of the current
    /// engines have which code.
    pub fn sums(&self, topics: &mut Vec<TopicSums>, codes: &mut Vec<(CodeHash, u64)>) -> SeriesSums {
        let members = self.members.lock();
        let mut sums = members.gone;
        topics.clear();
        topics.extend_from_slice(&members.gone_topics);
        codes.clear();
        for member in &members.engines {
            sums.add(&member.counters);
            // What is there now is bounded by itself.
            add_topics(topics, member, usize::MAX);
            if let Some(code) = member.code {
                match codes.iter_mut().find(|(other, _)| *other == code) {
                    Some((_, engines)) => *engines += 1,
                    None => codes.push((code, 1)),
                }
            }
        }
        SeriesSums { sums, engines: members.engines.len() as u64, joined: members.joined }
    }
}

type SeriesKey = (String, u32);

/// All series by name and shard.
#[derive(Default)]
struct AllSeries {
    all: BTreeMap<SeriesKey, Arc<Series>>,
    /// Those whose engines are gone, in that order. What they counted stays until it was read.
    released: BTreeMap<u64, SeriesKey>,
    /// Series that were released so far.
    count: u64,
}

/// A runtime's metrics.
pub struct MetricsRegistry {
    series: Mutex<AllSeries>,
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

    /// A meter for a new engine of this thread. `code` is that of a guest.
    pub fn join(self: &Arc<Self>, transform: &Description, code: Option<CodeHash>) -> Result<Meter> {
        let mut names = fallible::vec(transform.output_topics.len())?;
        names.extend(transform.output_topics.iter().map(|name| Arc::from(name.as_str())));
        let names = Arc::new(names);
        let counters = Counters::new(names.len())?;
        counters.memory_limit.set(transform.limits.memory as u64);
        counters.progressed.set(ticker::now());
        let counters = Arc::new(counters);
        let name = &*transform.name;
        let key = (name.to_owned(), super::shard());
        let mut all = self.series.lock();
        let shard = key.1;
        let series = all.all.entry(key).or_insert_with(|| Arc::new(Series::new(name, shard))).clone();
        // With the lock still held: else the series might go meanwhile.
        let mut members = series.members.lock();
        if let Some(place) = members.released.take() {
            all.released.remove(&place);
        }
        let topics = members.topics(&names);
        members.engines.push(Member { counters: counters.clone(), topics, code });
        members.joined += 1;
        drop(members);
        drop(all);
        self.engines.fetch_add(1, Relaxed);
        Ok(Meter::new(self.clone(), series, counters, true))
    }

    /// A meter that is never read.
    pub fn detached(self: &Arc<Self>) -> Meter {
        let series = Arc::new(Series::new("", 0));
        Meter::new(self.clone(), series, Arc::new(Counters::default()), false)
    }

    /// Removes an engine. Its counts stay as long as its series. True for the last engine of the series, which stays
    /// until it was read. Of very many such series the oldest one goes.
    pub(super) fn leave(&self, series: &Series, counters: &Arc<Counters>) -> bool {
        let mut all = self.series.lock();
        let mut members = series.members.lock();
        if let Some(at) = members.engines.iter().position(|other| Arc::ptr_eq(&other.counters, counters)) {
            let member = members.engines.swap_remove(at);
            members.gone.retire(counters);
            add_topics(&mut members.gone_topics, &member, MOST_TOPICS);
            self.engines.fetch_sub(1, Relaxed);
        }
        let last = members.engines.is_empty();
        let mut gone = None;
        if last {
            all.count += 1;
            let place = all.count;
            members.released = Some(place);
            drop(members);
            all.released.insert(place, (series.transform.to_string(), series.shard));
            if all.released.len() > MOST_RELEASED {
                gone = all.released.pop_first().and_then(|(_, key)| all.all.remove(&key));
            }
        } else {
            drop(members);
        }
        drop(all);
        drop(gone);
        last
    }

    /// All series by name and shard.
    pub fn series(&self, into: &mut Vec<Arc<Series>>) -> Result<()> {
        into.clear();
        let all = self.series.lock();
        fallible::reserve(into, all.all.len())?;
        into.extend(all.all.values().cloned());
        Ok(())
    }

    /// A series was read without engines when it had had `joined`: its counts are told. It goes if that is still so.
    pub fn forget(&self, series: &Series, joined: u64) {
        let mut all = self.series.lock();
        let place = {
            let members = series.members.lock();
            members.released.filter(|_| members.joined == joined)
        };
        let Some(place) = place else { return };
        // It may have been the oldest of too many, and another one may have its name.
        let gone = all.released.remove(&place).and_then(|key| all.all.remove(&key));
        drop(all);
        drop(gone);
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

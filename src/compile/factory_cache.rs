//! A cache of factories. Each key is compiled once for all concurrent requests. A factory stays as long as it is used
//! and after that until it is collected.
//!
//! Uses are not counted. The cache keeps a copy of its own and lends another copy to all users. The lent copy reports
//! when its last user has dropped it. A use therefore costs nothing. Time is read only when a use ends, when
//! factories are collected and (with automatic collection) at each request.
//!
//! The lock is held for lookups. Compiling, waking and freeing code happen outside of it.

use crate::base::config::Config;
use crate::base::description::Description;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::base::text::hex;
use crate::batch::fallible;
use crate::compile::code_cache::key::digest;
use crate::compile::compilation::{Compilation, Interest, Pending};
use crate::compile::compiler::Source;
use crate::compile::factory::{Compiled, LastReleased};
use crate::compile::job::{self, FactoryOutcome};
use crate::compile::request::{FactoryRequest, FunctionTable};
use crate::compile::runtime::Runtime;
use crate::compile::threads::Delivery;
use crate::host::waker::Waker;
use crate::metrics::registry::FactoryLookup;
use crate::module::artifact::Digest;
use crate::promise::oneshot::{self, Sender, Wake as _};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long a factory must have been unused before its automatic collection if the embedder does not say.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(300);

/// A cache of a runtime's factories.
pub struct FactoryCache {
    runtime: Arc<Runtime>,
    idle: Duration,
    /// How often it collects automatically, if at all.
    interval: Option<Duration>,
    state: Mutex<CacheState>,
}

struct CacheState {
    entries: HashMap<CacheKey, CacheEntry>,
    collected_at: Instant,
    counted: FactoryCacheCounts,
}

/// What a factory is found by.
#[derive(Clone, PartialEq, Eq, Hash)]
enum CacheKey {
    /// The embedder's.
    Given(Box<[u8]>),
    /// What the factory is made of.
    Content(Content),
}

/// All that makes factories of one runtime differ.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Content {
    module: Digest,
    transform: Arc<Description>,
    functions: Arc<FunctionTable>,
}

struct CacheEntry {
    content: Content,
    progress: Progress,
}

enum Progress {
    /// It is being compiled.
    Compiling(Compiling),
    /// The factory exists.
    Compiled(CachedFactory),
}

/// A compilation for the cache.
struct Compiling {
    compilation: Arc<Compilation>,
    /// The requests that wait for it.
    senders: Vec<Sender<FactoryOutcome, Waker>>,
}

/// A factory in the cache.
struct CachedFactory {
    own: Compiled,
    lent: Weak<Compiled>,
    last_released: LastReleased,
}

/// The result of a request.
pub enum Lookup {
    /// The factory exists.
    Now(Arc<Compiled>),
    /// The factory is being compiled.
    Soon(Pending<FactoryOutcome, Waker>),
}

/// A cache's counts since its creation. The first two are current values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactoryCacheCounts {
    /// Factories in the cache.
    pub entries: u64,
    /// Compilations in progress.
    pub compiling: u64,
    /// Requests that found the factory.
    pub hits: u64,
    /// Requests that joined a compilation in progress.
    pub joined: u64,
    /// Requests that found neither.
    pub misses: u64,
    /// Compilations that were begun.
    pub compilations: u64,
    /// Factories dropped because they were unused.
    pub collected: u64,
}

impl CachedFactory {
    fn new(own: Compiled) -> Self {
        Self { own, lent: Weak::new(), last_released: LastReleased::default() }
    }

    /// The factory for a user.
    fn lend(&mut self) -> Arc<Compiled> {
        self.lent.upgrade().unwrap_or_else(|| {
            // A separate copy: the last users of the previous one may be dropping it at this moment.
            self.last_released = LastReleased::default();
            let lent = Arc::new(self.own.lend(self.last_released.clone()));
            self.lent = Arc::downgrade(&lent);
            lent
        })
    }

    /// Whether its last user had dropped it at that time.
    fn is_idle_since(&self, time: Instant) -> bool {
        self.last_released.get().is_some_and(|&last_released| last_released <= time)
    }
}

impl Content {
    fn new(module: &[u8], request: &FactoryRequest) -> Self {
        Self { module: digest(module), transform: request.transform.clone(), functions: request.table.clone() }
    }

    /// Refuses different content under the same key.
    fn check(&self, requested: &Self) -> Result<()> {
        if self == requested {
            return Ok(());
        }
        let (ours, theirs) = (&*self.transform, &*requested.transform);
        let what = if self.module != requested.module {
            let [ours, theirs] = [self, requested].map(|content| hex(&content.module[..8]));
            format!("module (its SHA-256 begins with {ours} instead of {theirs})")
        } else if ours.name != theirs.name {
            format!("name, \"{}\"", ours.name)
        } else if ours.input_topic != theirs.input_topic {
            format!("input_topic, \"{}\"", ours.input_topic)
        } else if ours.output_topics != theirs.output_topics {
            "list of output_topics".to_owned()
        } else if ours.environment != theirs.environment {
            "environment".to_owned()
        } else if ours.limits != theirs.limits {
            format!("set of limits ({:?})", ours.limits)
        } else if ours.rights != theirs.rights {
            "set of rights".to_owned()
        } else {
            "list of functions or other data for them".to_owned()
        };
        let what = format_args!("the factory with this key has another {what}. A different factory needs another key");
        Err(theirs.error(Status::InvalidArgument, what))
    }
}

impl FactoryCache {
    /// An empty cache. `idle` is for automatic collection, which runs at most once per `interval`.
    pub fn new(runtime: Arc<Runtime>, idle: Duration, interval: Option<Duration>) -> Arc<Self> {
        let state = CacheState {
            entries: HashMap::new(),
            collected_at: Instant::now(),
            counted: FactoryCacheCounts::default(),
        };
        Arc::new(Self { runtime, idle, interval, state: Mutex::new(state) })
    }

    /// The factory with this key or, without a key, the one of this module and request. It is compiled if it does not
    /// exist. Without a module, only an existing factory or one being compiled is returned.
    pub fn get(self: &Arc<Self>, key: &[u8], requested: Option<(&[u8], FactoryRequest)>) -> Result<Lookup> {
        // No host function can be added to the runtime from here on.
        let linked = self.runtime.shared.linked()?;
        let content = requested.as_ref().map(|(module, request)| Content::new(module, request));
        if let Some((_, request)) = &requested {
            request.check_names(linked)?;
        }
        let key = match (key, &content) {
            ([], None) => return Err(Error::invalid("a key or a module or both are required")),
            ([], Some(content)) => CacheKey::Content(content.clone()),
            _ => CacheKey::Given(key.into()),
        };
        let mut state = self.state.lock();
        let mut job = None;
        let (lookup, found) = match (state.entries.get_mut(&key), content) {
            (Some(entry), content) => {
                content.map_or(Ok(()), |requested| entry.content.check(&requested))?;
                entry.get()
            }
            (None, Some(content)) => {
                let compilation = Arc::<Compilation>::default();
                let (sender, pending) = waiting(compilation.join());
                let senders = vec![sender];
                let progress = Progress::Compiling(Compiling { compilation: compilation.clone(), senders });
                state.entries.insert(key.clone(), CacheEntry { content: content.clone(), progress });
                state.counted.compiling += 1;
                job = Some((key, compilation, content.module));
                (FactoryLookup::Miss, Ok(Lookup::Soon(pending)))
            }
            (None, None) => {
                let what = "the cache has no factory with this key: pass the module to have it compiled";
                (FactoryLookup::Miss, Err(Error::new(Status::NotCached, what)))
            }
        };
        match lookup {
            FactoryLookup::Hit => state.counted.hits += 1,
            FactoryLookup::Joined => state.counted.joined += 1,
            FactoryLookup::Miss => state.counted.misses += 1,
        }
        let idle = self.collect_automatically(&mut state);
        drop(state);
        drop(idle);
        self.runtime.shared.metrics.note_factory_lookup(lookup);
        // What is not used of the request is dropped from here on, without the lock: the data is the host's.
        if let (Some((key, compilation, hash)), Some((module, request))) = (job, requested) {
            match fallible::copy_large(module) {
                Ok(module) => self.begin(key, compilation, (module, hash), request),
                // Other requests may wait already.
                Err(e) => self.finish(&key, &compilation, Err(e.into())),
            }
        }
        found
    }

    /// Starts the compilation for this key on a compile thread.
    fn begin(
        self: &Arc<Self>,
        key: CacheKey,
        compilation: Arc<Compilation>,
        (module, hash): (Vec<u8>, Digest),
        request: FactoryRequest,
    ) {
        let (cache, again, in_job) = (self.clone(), key.clone(), compilation.clone());
        let job = move || -> Delivery {
            let made = cache.compile(&again, &in_job, Source::new(&module, Some(hash)), request);
            drop(module);
            Box::new(move || {
                if let Some(made) = made {
                    // Wakers are foreign code.
                    let finish = || cache.finish(&again, &in_job, made);
                    let _ = catch_unwind(AssertUnwindSafe(finish));
                }
            })
        };
        if let Err(e) = self.runtime.threads.run_for(&compilation, job) {
            // Other requests may wait already.
            self.finish(&key, &compilation, Err(e));
        }
    }

    /// Compiles unless all requests were released.
    fn compile(
        &self,
        key: &CacheKey,
        compilation: &Arc<Compilation>,
        module: Source<'_>,
        request: FactoryRequest,
    ) -> Option<Result<Compiled>> {
        loop {
            let mut state = self.state.lock();
            if !state.has_requests(key, compilation) {
                let skipped = state.remove_compiling(key, compilation);
                drop(state);
                drop(skipped);
                return None;
            }
            state.counted.compilations += 1;
            drop(state);
            let shared = &self.runtime.shared;
            let compile = || job::compile_now(shared, module, &request, compilation);
            let code = catch_unwind(AssertUnwindSafe(compile)).unwrap_or_else(|_| Err(job::panicked()));
            if !code.as_ref().is_err_and(|e| e.status == Status::Cancelled) {
                let make = || Compiled::new(shared.clone(), request, code?);
                return Some(catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| Err(job::panicked())));
            }
            // It was given up. Somebody may have asked again since.
        }
    }

    /// A compilation has completed. A factory is kept and a failure is not. All waiting requests get the result.
    fn finish(&self, key: &CacheKey, compilation: &Arc<Compilation>, made: Result<Compiled>) {
        let mut state = self.state.lock();
        let waiting = state.remove_compiling(key, compilation);
        let (content, mut senders) = match waiting {
            Some(CacheEntry { content, progress: Progress::Compiling(compiling) }) => (content, compiling.senders),
            _ => return,
        };
        let outcome = made.map(|own| {
            let mut cached = CachedFactory::new(own);
            let lent = cached.lend();
            state.entries.insert(key.clone(), CacheEntry { content, progress: Progress::Compiled(cached) });
            state.counted.entries += 1;
            lent
        });
        drop(state);
        let Some(mut last) = senders.pop() else { return };
        let mut wakers = Vec::with_capacity(senders.len() + 1);
        for mut sender in senders {
            wakers.extend(sender.send(outcome.clone()).flatten());
        }
        // Not a copy: only the waiting requests use the factory from here on.
        wakers.extend(last.send(outcome).flatten());
        drop(last);
        for waker in wakers {
            waker.wake();
        }
    }

    /// Drops the factories that were unused for this long. Returns how many.
    pub fn collect(&self, min_idle: Duration) -> u64 {
        let mut state = self.state.lock();
        let idle = self.collect_at(&mut state, Instant::now(), min_idle);
        drop(state);
        idle.len() as u64
    }

    /// Drops the factories that are due for automatic collection, if any is configured and the last one was long
    /// enough ago.
    fn collect_automatically(&self, state: &mut CacheState) -> Vec<CacheEntry> {
        let Some(interval) = self.interval else { return Vec::new() };
        let now = Instant::now();
        if now.saturating_duration_since(state.collected_at) < interval {
            return Vec::new();
        }
        self.collect_at(state, now, self.idle)
    }

    /// Takes out the factories that were not used since `min_idle` before `now`. The caller drops them after the lock
    /// is released.
    fn collect_at(&self, state: &mut CacheState, now: Instant, min_idle: Duration) -> Vec<CacheEntry> {
        state.collected_at = now;
        let Some(since) = now.checked_sub(min_idle) else { return Vec::new() };
        let idle: Vec<_> = state.entries.extract_if(|_, entry| entry.is_idle_since(since)).map(|(_, e)| e).collect();
        let count = idle.len() as u64;
        state.counted.entries -= count;
        state.counted.collected += count;
        self.runtime.shared.metrics.note_factories_collected(count);
        idle
    }

    /// The runtime's settings.
    pub fn config(&self) -> &Config {
        &self.runtime.shared.config
    }

    /// The cache's counts.
    pub fn counted(&self) -> FactoryCacheCounts {
        self.state.lock().counted
    }
}

/// A slot for a waiting request.
fn waiting(interest: Interest) -> (Sender<FactoryOutcome, Waker>, Pending<FactoryOutcome, Waker>) {
    let (sender, receiver) = oneshot::channel(|| Err(job::panicked()));
    (sender, Pending::new(receiver, interest))
}

impl CacheEntry {
    fn get(&mut self) -> (FactoryLookup, Result<Lookup>) {
        match &mut self.progress {
            Progress::Compiled(cached) => (FactoryLookup::Hit, Ok(Lookup::Now(cached.lend()))),
            Progress::Compiling(Compiling { compilation, senders }) => {
                let interest = compilation.join();
                if senders.len() == senders.capacity() {
                    // Not each time, because all slots are checked.
                    senders.retain(|sender| !sender.is_cancelled());
                }
                let (sender, pending) = waiting(interest);
                senders.push(sender);
                (FactoryLookup::Joined, Ok(Lookup::Soon(pending)))
            }
        }
    }

    fn is_idle_since(&self, time: Instant) -> bool {
        matches!(&self.progress, Progress::Compiled(cached) if cached.is_idle_since(time))
    }
}

impl CacheState {
    /// Whether a request still waits for the compilation.
    fn has_requests(&self, key: &CacheKey, of: &Arc<Compilation>) -> bool {
        match self.entries.get(key) {
            Some(CacheEntry { progress: Progress::Compiling(Compiling { compilation, senders }), .. }) => {
                Arc::ptr_eq(compilation, of) && senders.iter().any(|s| !s.is_cancelled())
            }
            _ => false,
        }
    }

    /// Takes out the entry whose compilation ends.
    fn remove_compiling(&mut self, key: &CacheKey, of: &Arc<Compilation>) -> Option<CacheEntry> {
        let is_its = |entry: &CacheEntry| match &entry.progress {
            Progress::Compiling(compiling) => Arc::ptr_eq(&compiling.compilation, of),
            Progress::Compiled(_) => false,
        };
        if !self.entries.get(key).is_some_and(is_its) {
            return None;
        }
        self.counted.compiling -= 1;
        self.entries.remove(key)
    }
}

#[cfg(test)]
mod tests;

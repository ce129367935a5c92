//! A cache of factories. Each key is compiled once for all concurrent requests. A factory stays as long as it is used
//! and after that until it is collected.
//!
//! Uses are not counted. The cache keeps a copy of its own and lends another copy to all users. The lent copy reports
//! when its last user has dropped it. A use therefore costs nothing. Time is read only when a use ends, when
//! factories are collected and (with automatic collection) at each request.
//!
//! The lock is held for lookups. Compiling, waking and freeing code happen outside of it.

use crate::base::description::Transform;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::base::text::hex;
use crate::compile::code_cache::key::digest;
use crate::compile::factory::{self, CameBack, Compiled, Outcome};
use crate::compile::runtime::Runtime;
use crate::host::waker::Waker;
use crate::metrics::registry::FactoryLookup;
use crate::module::artifact::Digest;
use crate::promise::oneshot::{self, Receiver, Sender, Wake as _};
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
    state: Mutex<State>,
}

struct State {
    entries: HashMap<Key, Entry>,
    collected_at: Instant,
    counted: Counted,
}

/// By what a factory is found.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    /// The embedder's.
    Given(Box<[u8]>),
    /// What the factory is made of.
    Content(Content),
}

/// All that makes factories of one runtime differ.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Content {
    module: Digest,
    transform: Arc<Transform>,
}

struct Entry {
    content: Content,
    progress: Progress,
}

enum Progress {
    /// The requests that wait for it.
    Compiling(Vec<Sender<Outcome, Waker>>),
    /// The factory exists.
    Compiled(Shelf),
}

/// A factory that is there.
struct Shelf {
    own: Compiled,
    lent: Weak<Compiled>,
    came_back: CameBack,
}

/// A factory that was asked for.
pub enum Found {
    /// The factory exists.
    Now(Arc<Compiled>),
    /// The factory is being compiled.
    Soon(Receiver<Outcome, Waker>),
}

/// A cache's counts since its creation. The first two are current values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Factories that are there.
    pub entries: u64,
    /// Factories that are being compiled.
    pub compiling: u64,
    /// Requests for a factory that was there.
    pub hits: u64,
    /// Requests that waited for a compilation which another one had begun.
    pub joined: u64,
    /// Requests for a factory that was neither there nor being compiled.
    pub misses: u64,
    /// Compilations that were begun.
    pub compilations: u64,
    /// Factories dropped because they were unused.
    pub collected: u64,
}

impl Shelf {
    fn new(own: Compiled) -> Self {
        Self { own, lent: Weak::new(), came_back: CameBack::default() }
    }

    /// The factory for a user.
    fn lend(&mut self) -> Arc<Compiled> {
        self.lent.upgrade().unwrap_or_else(|| {
            // A separate copy: the last users of the previous one may be dropping it at this moment.
            self.came_back = CameBack::default();
            let lent = Arc::new(self.own.lend(self.came_back.clone()));
            self.lent = Arc::downgrade(&lent);
            lent
        })
    }

    /// Whether its last user had dropped it at that time.
    fn is_idle_since(&self, time: Instant) -> bool {
        self.came_back.get().is_some_and(|&came_back| came_back <= time)
    }
}

impl Content {
    fn new(module: &[u8], transform: Transform) -> Result<Self> {
        transform.check()?;
        Ok(Self { module: digest(module), transform: Arc::new(transform) })
    }

    /// Refuses different content under the same key.
    fn check(&self, wanted: &Self) -> Result<()> {
        if self == wanted {
            return Ok(());
        }
        let (ours, theirs) = (&*self.transform, &*wanted.transform);
        let what = if self.module != wanted.module {
            let [ours, theirs] = [self, wanted].map(|content| hex(&content.module[..8]));
            format!("module, whose SHA-256 begins with {ours} instead of {theirs}")
        } else if ours.name != theirs.name {
            format!("name, \"{}\"", ours.name)
        } else if ours.input_topic != theirs.input_topic {
            format!("input_topic, \"{}\"", ours.input_topic)
        } else if ours.output_topics != theirs.output_topics {
            "list of output_topics".to_owned()
        } else {
            "environment".to_owned()
        };
        Err(Error::invalid(format!(
            "transform \"{}\": the factory with this key has another {what}; what differs needs a key of its own",
            theirs.name
        )))
    }
}

impl FactoryCache {
    /// An empty cache. `idle` is for automatic collection, which runs at most once per `interval`.
    pub fn new(runtime: Arc<Runtime>, idle: Duration, interval: Option<Duration>) -> Arc<Self> {
        let state = State { entries: HashMap::new(), collected_at: Instant::now(), counted: Counted::default() };
        Arc::new(Self { runtime, idle, interval, state: Mutex::new(state) })
    }

    /// The factory with this key or, without a key, the one of this module and description. It is compiled if it does
    /// not exist. Without a module, only an existing factory or one being compiled is returned.
    pub fn get(self: &Arc<Self>, key: &[u8], wanted: Option<(&[u8], Transform)>) -> Result<Found> {
        // No host function can be added from here on.
        self.runtime.shared.linked()?;
        let module = wanted.as_ref().map_or(&[][..], |(module, _)| module);
        let content = wanted.map(|(module, transform)| Content::new(module, transform)).transpose()?;
        let key = match (key, &content) {
            ([], None) => return Err(Error::invalid("there must be a key, or a module, or both")),
            ([], Some(content)) => Key::Content(content.clone()),
            _ => Key::Given(key.into()),
        };
        let mut state = self.state.lock();
        let mut job = None;
        let (lookup, found) = match (state.entries.get_mut(&key), content) {
            (Some(entry), content) => {
                content.map_or(Ok(()), |wanted| entry.content.check(&wanted))?;
                entry.get()
            }
            (None, Some(content)) => {
                let (sender, receiver) = waiting();
                let progress = Progress::Compiling(vec![sender]);
                state.entries.insert(key.clone(), Entry { content: content.clone(), progress });
                state.counted.compiling += 1;
                job = Some((key, content.transform));
                (FactoryLookup::Miss, Ok(Found::Soon(receiver)))
            }
            (None, None) => {
                let what = "the cache has no factory with this key; get it with its module to have it compiled";
                (FactoryLookup::Miss, Err(Error::new(Status::NotCached, what)))
            }
        };
        match lookup {
            FactoryLookup::Hit => state.counted.hits += 1,
            FactoryLookup::Joined => state.counted.joined += 1,
            FactoryLookup::Miss => state.counted.misses += 1,
        }
        let idle = self.collect_by_itself(&mut state);
        drop(state);
        drop(idle);
        self.runtime.shared.metrics.note_factory_lookup(lookup);
        if let Some((key, transform)) = job {
            self.begin(key, module.to_vec(), transform);
        }
        found
    }

    /// Compiles on a compile thread what has this key.
    fn begin(self: &Arc<Self>, key: Key, module: Vec<u8>, transform: Arc<Transform>) {
        let (cache, again) = (self.clone(), key.clone());
        let job = move || {
            // Rayon would abort if a panic came through.
            let _ = catch_unwind(AssertUnwindSafe(|| cache.compile(&again, &module, transform)));
        };
        if let Err(e) = self.runtime.compile(job) {
            // Others may wait already.
            self.finish(&key, Err(e));
        }
    }

    /// Compiles unless all requests were released.
    fn compile(&self, key: &Key, module: &[u8], transform: Arc<Transform>) {
        let mut state = self.state.lock();
        if state.is_wanted(key) {
            state.counted.compilations += 1;
            drop(state);
            let compile = || factory::compile_now(self.runtime.shared.clone(), transform, module);
            self.finish(key, catch_unwind(AssertUnwindSafe(compile)).unwrap_or_else(|_| Err(factory::panicked())));
        } else {
            let skipped = state.remove_compiling(key);
            drop(state);
            drop(skipped);
        }
    }

    /// A compilation has completed. A factory is kept and a failure is not. All waiting requests get the result.
    fn finish(&self, key: &Key, made: Result<Compiled>) {
        let mut state = self.state.lock();
        let waiting = state.remove_compiling(key);
        let (content, mut senders) = match waiting {
            Some(Entry { content, progress: Progress::Compiling(senders) }) => (content, senders),
            _ => return,
        };
        let outcome = made.map(|own| {
            let mut shelf = Shelf::new(own);
            let lent = shelf.lend();
            state.entries.insert(key.clone(), Entry { content, progress: Progress::Compiled(shelf) });
            state.counted.entries += 1;
            lent
        });
        drop(state);
        let Some(mut last) = senders.pop() else { return };
        let mut wakers = Vec::with_capacity(senders.len() + 1);
        for mut sender in senders {
            wakers.extend(sender.send(outcome.clone()).flatten());
        }
        // Not a copy: from here on only those who waited use the factory.
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
    fn collect_by_itself(&self, state: &mut State) -> Vec<Entry> {
        let Some(interval) = self.interval else { return Vec::new() };
        let now = Instant::now();
        if now.saturating_duration_since(state.collected_at) < interval {
            return Vec::new();
        }
        self.collect_at(state, now, self.idle)
    }

    /// Takes out the factories that were not used since `min_idle` before `now`. The caller drops them after the lock
    /// is released.
    fn collect_at(&self, state: &mut State, now: Instant, min_idle: Duration) -> Vec<Entry> {
        state.collected_at = now;
        let Some(since) = now.checked_sub(min_idle) else { return Vec::new() };
        let idle: Vec<_> = state.entries.extract_if(|_, entry| entry.is_idle_since(since)).map(|(_, e)| e).collect();
        let count = idle.len() as u64;
        state.counted.entries -= count;
        state.counted.collected += count;
        self.runtime.shared.metrics.note_factories_collected(count);
        idle
    }

    /// The cache's counts.
    pub fn counted(&self) -> Counted {
        self.state.lock().counted
    }
}

/// A slot for a waiting request.
fn waiting() -> (Sender<Outcome, Waker>, Receiver<Outcome, Waker>) {
    oneshot::channel(|| Err(factory::panicked()))
}

impl Entry {
    fn get(&mut self) -> (FactoryLookup, Result<Found>) {
        match &mut self.progress {
            Progress::Compiled(shelf) => (FactoryLookup::Hit, Ok(Found::Now(shelf.lend()))),
            Progress::Compiling(senders) => {
                if senders.len() == senders.capacity() {
                    // Not each time, because all slots are checked.
                    senders.retain(|sender| !sender.is_cancelled());
                }
                let (sender, receiver) = waiting();
                senders.push(sender);
                (FactoryLookup::Joined, Ok(Found::Soon(receiver)))
            }
        }
    }

    fn is_idle_since(&self, time: Instant) -> bool {
        matches!(&self.progress, Progress::Compiled(shelf) if shelf.is_idle_since(time))
    }
}

impl State {
    /// Whether a request still waits for the compilation.
    fn is_wanted(&self, key: &Key) -> bool {
        match self.entries.get(key) {
            Some(Entry { progress: Progress::Compiling(senders), .. }) => senders.iter().any(|s| !s.is_cancelled()),
            _ => false,
        }
    }

    /// Takes out what is no longer being compiled.
    fn remove_compiling(&mut self, key: &Key) -> Option<Entry> {
        let compiling = matches!(self.entries.get(key), Some(Entry { progress: Progress::Compiling(_), .. }));
        if !compiling {
            return None;
        }
        self.counted.compiling -= 1;
        self.entries.remove(key)
    }
}

#[cfg(test)]
mod tests;

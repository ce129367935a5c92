//! One thread for the process that advances time for running guests.
//!
//! It does two things at each tick. It moves the epoch of every registered Wasmtime engine whose period has elapsed.
//! Guests past their deadline then yield. It also advances the *run clock*: the coarse clock that says when a time
//! limit may have passed. Reading the run clock is one relaxed load and may be done per record.
//!
//! The child of a fork has no such thread. The first guest that runs in the child starts one (`crate::system::fork`).
//! The lock here is the standard library's for this reason: its whole state is its own memory.
//!
//! While no guest runs, no ticks are needed and the thread sleeps. Polls announce themselves with
//! [`ActivePolls::begin`]. This costs a store to a cache line of the thread's own and a load of a line that all
//! threads share but hardly ever write.

use crate::system::processors::{self, Processors};
use crate::system::scheduling::SchedulingPolicy;
use core::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*, compiler_fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The thread's name as `ps -L` shows it.
pub const THREAD_NAME: &str = "wasm-ticker";

/// How long the thread continues without a poll before it sleeps. Much longer than a store takes to reach other
/// cores.
const IDLE: Duration = Duration::from_millis(20);

/// How late a tick may be for the run clock to count all of the delay. The process may have been stopped. The machine
/// may have been suspended or overloaded. The whole delay would then be charged to the guest that happened to run. A
/// limit that comes late is better than one that stops an innocent guest.
const LATEST: Duration = Duration::from_millis(10);

/// The shortest time between ticks for which the thread may be in real time.
const SHORTEST_IN_REAL_TIME: Duration = Duration::from_micros(50);

/// The longest sleep between two ticks, whatever the periods.
const LONGEST: Duration = Duration::from_secs(1);

/// Nanoseconds during which the ticker was awake. Stands still while no guest runs.
static RUN_CLOCK: AtomicU64 = AtomicU64::new(0);
/// What `recent` returns.
static RECENT: AtomicU64 = AtomicU64::new(0);
/// A poll has taken place since the ticker last looked.
static ACTIVE: AtomicBool = AtomicBool::new(false);

static TICKER: Ticker = Ticker {
    state: Mutex::new(TickerState { entries: Vec::new(), polls: Vec::new(), thread: None }),
    changed: Condvar::new(),
};

struct Ticker {
    state: Mutex<TickerState>,
    changed: Condvar,
}

struct TickerState {
    entries: Vec<RegisteredEngine>,
    polls: Vec<Weak<AtomicU32>>,
    thread: Option<JoinHandle<()>>,
}

struct RegisteredEngine {
    id: u64,
    period: Duration,
    due: Instant,
    real_time: bool,
    processors: Option<Processors>,
    engine: wasmtime::Engine,
}

/// Keeps an engine's epoch moving until dropped.
#[derive(Debug)]
pub struct Registration(u64);

/// Nanoseconds of the run clock at the resolution of a tick.
#[inline]
pub fn run_clock() -> u64 {
    RUN_CLOCK.load(Relaxed)
}

/// Nanoseconds of the system's monotonic clock since some time before the first poll.
pub fn now() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// As `now` in one load. During a poll it is at most a tick or `IDLE` old.
#[inline]
pub fn recent() -> u64 {
    RECENT.load(Relaxed)
}

/// The number of nested polls in progress on one thread. While any thread has one, the ticker stays awake.
#[derive(Clone, Debug)]
pub struct ActivePolls(Arc<AtomicU32>);

thread_local! {
    static ACTIVE_POLLS: ActivePolls = ActivePolls::new();
    /// This thread's count if it has one.
    static MINE: Cell<*const AtomicU32> = const { Cell::new(core::ptr::null()) };
}

impl ActivePolls {
    /// The calling thread's counter. All engines of a thread share it.
    pub fn of_this_thread() -> Self {
        // At the very end of a thread its own counter is gone. Engines then have one each.
        ACTIVE_POLLS.try_with(Clone::clone).unwrap_or_else(|_| Self::new())
    }

    /// Whether this thread is at its very end, where libraries' thread-local data is gone.
    pub fn thread_is_ending() -> bool {
        ACTIVE_POLLS.try_with(|_| ()).is_err()
    }

    fn new() -> Self {
        let polls = Arc::new(AtomicU32::new(0));
        MINE.set(Arc::as_ptr(&polls));
        let mut state = TICKER.lock();
        state.polls.retain(|other| other.strong_count() > 0);
        state.polls.push(Arc::downgrade(&polls));
        Self(polls)
    }

    /// A guest is about to run. Paired with `end`. Only this thread writes, so no read-modify-write is needed.
    #[inline]
    pub fn begin(&self) {
        self.0.store(self.0.load(Relaxed) + 1, Relaxed);
        // The store comes first, at least in the code. The processor has `IDLE` to catch up.
        compiler_fence(SeqCst);
        if !ACTIVE.load(Relaxed) {
            wake();
        }
    }

    /// The guest no longer runs.
    #[inline]
    pub fn end(&self) {
        self.0.store(self.0.load(Relaxed) - 1, Relaxed);
    }
}

/// At most once per `IDLE` and process. It may take a lock.
#[cold]
fn wake() {
    RECENT.fetch_max(now(), Relaxed);
    // The thread reads ACTIVE under the lock before it sleeps, so it cannot miss this.
    let mut state = TICKER.lock();
    if state.thread.is_none() {
        // This process was forked. Without the thread there is no time limit. The next poll tries again.
        let Ok(thread) = spawn(state.processors()) else { return };
        state.thread = Some(thread);
    }
    ACTIVE.store(true, SeqCst);
    drop(state);
    TICKER.changed.notify_all();
}

fn spawn(processors: Option<Processors>) -> std::io::Result<JoinHandle<()>> {
    let work = move || {
        processors::settle_this_thread(processors.as_ref());
        run();
    };
    std::thread::Builder::new().name(THREAD_NAME.into()).spawn(work)
}

impl TickerState {
    /// Those that the first of the runtimes has named, if it has.
    fn processors(&self) -> Option<Processors> {
        self.entries.first()?.processors.clone()
    }
}

impl Ticker {
    fn lock(&self) -> MutexGuard<'_, TickerState> {
        // What could panic with the lock held leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock. It is held over a fork so that the child's copy of the state is consistent.
pub struct HeldLock(MutexGuard<'static, TickerState>);

/// Before a fork: takes the lock.
pub fn hold() -> HeldLock {
    HeldLock(TICKER.lock())
}

impl HeldLock {
    /// In the child of a fork on its only thread.
    pub fn in_child(mut self) {
        // The thread exists only in the parent. Its handle must not be joined or used in any other way.
        core::mem::forget(self.0.thread.take());
        // The next poll calls `wake`.
        ACTIVE.store(false, SeqCst);
        // Other threads' polls will never end here.
        let mine = MINE.get();
        self.0.polls.retain(|polls| core::ptr::eq(polls.as_ptr(), mine));
    }
}

/// Starts to move the engine's epoch once per `period`. The thread may be real-time while all registered engines
/// allow it. It runs on the processors that the runtime names for which it is started, else on those of the process.
pub fn register(
    engine: &wasmtime::Engine,
    period: Duration,
    real_time: bool,
    processors: Option<&Processors>,
) -> std::io::Result<Registration> {
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    let id = NEXT_ID.fetch_add(1, Relaxed);
    let mut state = TICKER.lock();
    if state.thread.is_none() {
        state.thread = Some(spawn(processors.cloned())?);
    }
    // What ticks more often than that takes too much of a processor to go before everybody else.
    let real_time = real_time && period >= SHORTEST_IN_REAL_TIME;
    state.entries.push(RegisteredEngine {
        id,
        period,
        due: Instant::now() + period,
        real_time,
        processors: processors.cloned(),
        engine: engine.clone(),
    });
    drop(state);
    TICKER.changed.notify_all();
    Ok(Registration(id))
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = TICKER.lock();
        let at = state.entries.iter().position(|entry| entry.id == self.0);
        // Dropped without the lock. This may be the engine's last reference, and dropping that gives memory back to
        // the host.
        let _entry = at.map(|at| state.entries.remove(at));
        if !state.entries.is_empty() {
            drop(state);
            // The removed entry may have been the one that required an ordinary thread.
            TICKER.changed.notify_all();
            return;
        }
        // The thread ends when nothing is registered. Joining guarantees that no thread is left. This takes
        // microseconds: the thread holds nothing that it would have to wait for.
        let thread = state.thread.take();
        drop(state);
        TICKER.changed.notify_all();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn run() {
    let mut policy = SchedulingPolicy::of_this_thread();
    let mut last = Instant::now();
    let mut quiet_since = last;
    let mut state = TICKER.lock();
    let me = std::thread::current().id();
    // A registration during the end of this thread has started another thread.
    while !state.entries.is_empty() && state.thread.as_ref().is_some_and(|t| t.thread().id() == me) {
        // On a busy machine a late tick makes a time slice last too long.
        policy.ask(state.entries.iter().all(|entry| entry.real_time));
        let now = Instant::now();
        let period = state.entries.iter().map(|entry| entry.period).max().unwrap_or_default();
        let passed = now.saturating_duration_since(last).min(period.min(LONGEST) + LATEST);
        last = now;
        RUN_CLOCK.fetch_add(passed.as_nanos() as u64, Relaxed);
        RECENT.fetch_max(self::now(), Relaxed);

        let mut next = now + LONGEST;
        for entry in &mut state.entries {
            if entry.due <= now {
                entry.engine.increment_epoch();
                entry.due = now + entry.period;
            }
            next = next.min(entry.due);
        }

        // A poll that began before ACTIVE was last cleared has had `IDLE` for its count to become visible here. A
        // later poll has set ACTIVE again.
        if now.saturating_duration_since(quiet_since) >= IDLE {
            quiet_since = now;
            let running = state.polls.iter().filter_map(Weak::upgrade).any(|polls| polls.load(Relaxed) > 0);
            if !ACTIVE.swap(false, SeqCst) && !running {
                if !ACTIVE.load(SeqCst) {
                    state = TICKER.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                last = Instant::now();
                continue;
            }
        }
        let left = next.saturating_duration_since(Instant::now());
        state = TICKER.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The ticker belongs to the process. The claims of this test hold whatever other tests do with it.

    fn advances(by: Duration) {
        let begun = Instant::now();
        let start = run_clock();
        while run_clock() < start + by.as_nanos() as u64 {
            assert!(begun.elapsed() < Duration::from_secs(30), "the clock does not run");
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    #[test]
    fn the_clock_runs_during_long_polls_and_slow_ticks_of_others() {
        let engine = wasmtime::Engine::default();
        let _fast = register(&engine, Duration::from_micros(100), true, None).unwrap();
        let slow = register(&engine, Duration::from_millis(200), true, None).unwrap();
        let polls = ActivePolls::of_this_thread();
        polls.begin();
        // Ten times as long as falling asleep takes, with a single poll in progress.
        advances(IDLE * 10);
        polls.end();
        drop(slow);
    }

    #[test]
    fn a_slow_period_is_counted_whole() {
        let engine = wasmtime::Engine::default();
        let _registration = register(&engine, Duration::from_millis(500), true, None).unwrap();
        let polls = ActivePolls::of_this_thread();
        polls.begin();
        let begun = Instant::now();
        advances(Duration::from_millis(1500));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        polls.end();
    }

    #[test]
    fn a_poll_after_a_long_pause_wakes_it() {
        let engine = wasmtime::Engine::default();
        let _registration = register(&engine, Duration::from_micros(100), true, None).unwrap();
        std::thread::sleep(IDLE * 5);
        let polls = ActivePolls::of_this_thread();
        polls.begin();
        advances(IDLE);
        polls.end();
    }
}

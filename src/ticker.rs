//! One thread for the process that lets time pass for running guests.
//!
//! It does two things at each tick: it moves the epoch of every registered Wasmtime engine whose period is over, which
//! makes guests past their deadline yield, and it advances the *run clock*, the coarse clock by which time limits are
//! measured. Reading the run clock is one relaxed load, so it may be done per record.
//!
//! While no guest runs, nobody needs ticks, and the thread sleeps. Polls tell it with `keep_awake`, which costs a load
//! when the ticker knows already; that it knows is forgotten once every `IDLE_TICKS`.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The name of the thread, as `ps -L` shows it.
pub const THREAD_NAME: &str = "wasm-ticker";

/// Ticks without a poll after which the thread goes to sleep.
const IDLE_TICKS: u32 = 64;

/// The most that one tick adds to the run clock. A process that was stopped, or a machine that was suspended, would
/// otherwise charge the whole pause to whichever guest was running.
const MOST_PER_TICK: Duration = Duration::from_millis(100);

/// Nanoseconds during which the ticker was awake. Stands still while no guest runs.
static RUN_CLOCK: AtomicU64 = AtomicU64::new(0);
/// A poll has taken place since the ticker last looked.
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// The thread waits for `ACTIVE`.
static ASLEEP: AtomicBool = AtomicBool::new(false);

static TICKER: Ticker =
    Ticker { state: Mutex::new(State { entries: Vec::new(), thread: None }), changed: Condvar::new() };

struct Ticker {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    entries: Vec<Entry>,
    thread: Option<JoinHandle<()>>,
}

struct Entry {
    id: u64,
    period: Duration,
    due: Instant,
    engine: wasmtime::Engine,
}

/// Keeps an engine's epoch moving until dropped.
#[derive(Debug)]
pub struct Registration(u64);

/// Nanoseconds of the run clock, with the resolution of a tick.
#[inline]
pub fn run_clock() -> u64 {
    RUN_CLOCK.load(Relaxed)
}

/// To be called when a guest is about to run.
#[inline]
pub fn keep_awake() {
    if !ACTIVE.load(Relaxed) {
        wake();
    }
}

#[cold]
fn wake() {
    // In this order, against `sleep`, which stores ASLEEP and then loads ACTIVE: one of the two sees the other.
    ACTIVE.store(true, SeqCst);
    if ASLEEP.load(SeqCst) {
        drop(TICKER.state.lock());
        TICKER.changed.notify_one();
    }
}

/// Starts to move the engine's epoch once per `period`.
pub fn register(engine: &wasmtime::Engine, period: Duration) -> std::io::Result<Registration> {
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    let id = NEXT_ID.fetch_add(1, Relaxed);
    let mut state = TICKER.state.lock();
    if state.thread.is_none() {
        state.thread = Some(std::thread::Builder::new().name(THREAD_NAME.into()).spawn(run)?);
    }
    state.entries.push(Entry { id, period, due: Instant::now() + period, engine: engine.clone() });
    drop(state);
    TICKER.changed.notify_one();
    Ok(Registration(id))
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = TICKER.state.lock();
        state.entries.retain(|entry| entry.id != self.0);
        if !state.entries.is_empty() {
            return;
        }
        // The thread ends when nothing is registered. Waiting for it keeps the promise that no thread is left over;
        // it takes microseconds, as the thread holds nothing that it would have to wait for.
        let thread = state.thread.take();
        drop(state);
        TICKER.changed.notify_one();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn run() {
    let mut last = Instant::now();
    let mut ticks = 0;
    let mut state = TICKER.state.lock();
    let me = std::thread::current().id();
    // A registration that came while this thread was ending has started another one.
    while !state.entries.is_empty() && state.thread.as_ref().is_some_and(|t| t.thread().id() == me) {
        let now = Instant::now();
        let passed = now.saturating_duration_since(last).min(MOST_PER_TICK);
        last = now;
        RUN_CLOCK.fetch_add(passed.as_nanos() as u64, Relaxed);

        let mut next = now + Duration::from_secs(1);
        for entry in &mut state.entries {
            if entry.due <= now {
                entry.engine.increment_epoch();
                entry.due = now + entry.period;
            }
            next = next.min(entry.due);
        }

        ticks += 1;
        if ticks >= IDLE_TICKS {
            ticks = 0;
            if !ACTIVE.swap(false, SeqCst) {
                ASLEEP.store(true, SeqCst);
                if !ACTIVE.load(SeqCst) {
                    TICKER.changed.wait(&mut state);
                }
                ASLEEP.store(false, SeqCst);
                last = Instant::now();
                continue;
            }
        }
        TICKER.changed.wait_until(&mut state, next);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_while_polls_come_and_stands_still_without_them() {
        let engine = wasmtime::Engine::default();
        let registration = register(&engine, Duration::from_micros(100)).unwrap();
        let begun = Instant::now();
        let start = run_clock();
        while run_clock() < start + 5_000_000 {
            keep_awake();
            assert!(begun.elapsed() < Duration::from_secs(20), "the clock does not run");
            std::thread::sleep(Duration::from_micros(50));
        }
        // Other tests of this process may keep the ticker awake; all that is claimed here is that it ends.
        drop(registration);
    }
}

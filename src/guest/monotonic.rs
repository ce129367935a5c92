//! The monotonic clock of a guest: how long the engine has really run, plus what the guest has slept.
//!
//! A sleep returns at once and advances this clock by what was asked. The rest is the processor's tick counter while
//! the engine has the thread. The run clock would be too coarse: Go's garbage collector compares times of a few
//! microseconds. The counter is read per turn only for guests that have looked at the clock.
//!
//! A guest that is replayed has a clock that depends on nothing but what the guest did. It advances with each look and
//! with each batch. Looks alone are not enough: Go's collector looks far more often than the program that it serves. It
//! would believe that it used most of the processor and would stop.

use crate::metrics::clock::{nanoseconds, ticks};
use core::cell::Cell;

/// Where the clock starts: a day, in nanoseconds. Programs subtract from the time and some fail below zero. Go takes a
/// zero for an error.
const ORIGIN: u64 = 86_400_000_000_000;

/// Go and others keep nanoseconds in 64 bits with a sign.
const LATEST: u64 = i64::MAX as u64;

/// Replay: nanoseconds of a look at the clock, and of a record.
const STEP: u64 = 1_000;

/// One guest's clock.
#[derive(Debug)]
pub struct Monotonic {
    replayed: bool,
    /// The guest has looked at the clock, so turns are measured.
    watched: Cell<bool>,
    /// Ticks of earlier turns.
    ran: Cell<u64>,
    /// Ticks when this turn or the watching began.
    since: Cell<u64>,
    /// Nanoseconds that the guest has slept, with the origin. In a replay also all others.
    added: Cell<u64>,
    /// The latest reading.
    shown: Cell<u64>,
}

impl Monotonic {
    /// A clock for the first guest.
    pub fn new(replayed: bool) -> Self {
        Self {
            replayed,
            watched: Cell::new(false),
            ran: Cell::new(0),
            since: Cell::new(0),
            added: Cell::new(ORIGIN),
            shown: Cell::new(ORIGIN),
        }
    }

    /// For the next guest.
    pub fn reset(&self) {
        self.watched.set(false);
        self.ran.set(0);
        self.added.set(ORIGIN);
        self.shown.set(ORIGIN);
    }

    /// The engine gets the thread.
    #[inline]
    pub fn begin_turn(&self) {
        if self.watched.get() {
            self.since.set(ticks());
        }
    }

    /// The host has the thread again.
    #[inline]
    pub fn end_turn(&self) {
        if self.watched.get() {
            self.ran.set(self.ran.get() + self.this_turn());
        }
    }

    /// The guest takes a batch of so many records.
    #[inline]
    pub fn take_batch(&self, records: u32) {
        if self.replayed {
            self.sleep(STEP * u64::from(records));
        }
    }

    /// Nanoseconds that another look would differ by at least.
    pub fn resolution(&self) -> u64 {
        if self.replayed { STEP } else { 1 }
    }

    /// What the guest sees, in nanoseconds. Never less than before.
    pub fn now(&self) -> u64 {
        if self.replayed {
            self.sleep(STEP);
            return self.added.get();
        }
        if !self.watched.replace(true) {
            self.since.set(ticks());
        }
        let ran = nanoseconds(self.ran.get() + self.this_turn());
        let now = self.added.get().saturating_add(ran).min(LATEST).max(self.shown.get());
        self.shown.set(now);
        now
    }

    /// The guest sleeps for so many nanoseconds.
    pub fn sleep(&self, nanoseconds: u64) {
        self.added.set(self.added.get().saturating_add(nanoseconds).min(LATEST));
    }

    /// Ticks of this turn so far. Counters of two processors may differ by a little.
    #[inline]
    fn this_turn(&self) -> u64 {
        ticks().saturating_sub(self.since.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::clock::calibrate;
    use std::time::{Duration, Instant};

    fn spin(time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            core::hint::spin_loop();
        }
    }

    #[test]
    fn turns_count_and_what_is_between_them_does_not() {
        calibrate();
        let clock = Monotonic::new(false);
        let whole = Instant::now();
        clock.begin_turn();
        let first = clock.now();
        for _ in 0..3 {
            spin(Duration::from_millis(2));
            clock.end_turn();
            std::thread::sleep(Duration::from_millis(20));
            clock.begin_turn();
        }
        let passed = clock.now() - first;
        let outside = 3 * 20_000_000;
        assert!(passed >= 6_000_000 - 100_000, "{passed}");
        assert!(u128::from(passed + outside) <= whole.elapsed().as_nanos() * 1001 / 1000, "{passed}");
    }

    #[test]
    fn it_never_goes_back() {
        calibrate();
        let clock = Monotonic::new(false);
        let mut last = 0;
        for turn in 0..1_000 {
            clock.begin_turn();
            for look in 0..turn % 7 {
                let now = clock.now();
                assert!(now >= last && now > 0, "{now} after {last}");
                last = now;
                clock.sleep(look);
            }
            clock.end_turn();
        }
    }

    #[test]
    fn a_sleep_adds_what_was_asked_and_stops_at_the_end_of_time() {
        let clock = Monotonic::new(true);
        let before = clock.now();
        clock.sleep(3_600_000_000_000);
        assert_eq!(clock.now(), before + 3_600_000_000_000 + STEP);
        for clock in [clock, Monotonic::new(false)] {
            clock.sleep(u64::MAX);
            clock.sleep(u64::MAX);
            assert_eq!((clock.now(), clock.now()), (LATEST, LATEST));
            clock.reset();
            assert!(clock.now() < LATEST);
        }
    }

    #[test]
    fn a_replay_depends_on_nothing_but_looks_batches_and_sleeps() {
        let look = || {
            let clock = Monotonic::new(true);
            clock.begin_turn();
            let first = clock.now();
            spin(Duration::from_micros(50));
            clock.take_batch(10);
            clock.end_turn();
            (first, clock.now())
        };
        assert_eq!(look(), (ORIGIN + STEP, ORIGIN + 12 * STEP));
        assert_eq!(look(), look());
    }
}

//! How many lines a transform may write to its host's log, and how often the library tells of what it left out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Nanoseconds between two lines of the library about the same thing.
pub const INTERVAL: u64 = 1_000_000_000;

/// Admits one line per interval and counts those in between. May be used on any thread.
#[derive(Debug, Default)]
pub struct Throttle {
    /// From when on the next one is admitted.
    next: AtomicU64,
    /// Those that were not admitted since.
    more: AtomicU64,
}

impl Throttle {
    /// Whether a line may pass at `now` (nanoseconds of any clock) and how many were not admitted before. None if this
    /// one may not.
    pub fn admit(&self, now: u64) -> Option<u64> {
        if self.is_due(now) {
            return Some(self.more.swap(0, Relaxed));
        }
        self.more.fetch_add(1, Relaxed);
        None
    }

    /// Whether a line may pass now. If so none may until the interval has passed.
    fn is_due(&self, now: u64) -> bool {
        let next = self.next.load(Relaxed);
        let after = now.saturating_add(INTERVAL);
        now >= next && self.next.compare_exchange(next, after, Relaxed, Relaxed).is_ok()
    }
}

/// Limits log lines per second with a burst. Shared by the engines of one transform and shard. May be used on any
/// thread.
#[derive(Debug, Default)]
pub struct LogLimit {
    /// When the admitted lines would all have come at the permitted rate.
    next: AtomicU64,
    suppressed: AtomicU64,
    /// Suppressed lines that were not reported to the host yet.
    untold: AtomicU64,
    /// When their number is reported.
    reports: Throttle,
}

/// How many lines pass. Factories of one transform may differ in it.
#[derive(Clone, Copy, Debug)]
pub struct LogRate {
    /// Nanoseconds per line.
    interval: u64,
    /// How far `next` may be ahead of the clock.
    ahead: u64,
}

impl LogRate {
    /// Admits `burst` lines at once and one more line every `1 / rate` seconds. Both are at least 1.
    pub fn new(rate: u32, burst: u32) -> Self {
        let interval = 1_000_000_000 / u64::from(rate.max(1));
        Self { interval, ahead: interval * u64::from(burst.saturating_sub(1)) }
    }
}

impl LogLimit {
    /// Whether a line may pass at `now` (nanoseconds of any clock). Counts the lines that may not.
    pub fn admit(&self, now: u64, rate: &LogRate) -> bool {
        let next = |next: u64| (next <= now.saturating_add(rate.ahead)).then(|| next.max(now) + rate.interval);
        if self.next.fetch_update(Relaxed, Relaxed, next).is_ok() {
            return true;
        }
        self.suppressed.fetch_add(1, Relaxed);
        self.untold.fetch_add(1, Relaxed);
        false
    }

    /// Lines that were suppressed.
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Relaxed)
    }

    /// Lines suppressed since they were last reported, if their number may be reported at `now`. Otherwise 0: they are
    /// reported later.
    pub fn take_untold_at(&self, now: u64) -> u64 {
        if self.untold.load(Relaxed) > 0 && self.reports.is_due(now) { self.take_untold() } else { 0 }
    }

    /// Lines suppressed since they were last reported.
    pub fn take_untold(&self) -> u64 {
        if self.untold.load(Relaxed) == 0 { 0 } else { self.untold.swap(0, Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn new(rate: u32, burst: u32) -> (LogLimit, LogRate) {
        (LogLimit::default(), LogRate::new(rate, burst))
    }

    fn admitted((limit, rate): &(LogLimit, LogRate), now: u64, lines: u32) -> u32 {
        (0..lines).map(|_| u32::from(limit.admit(now, rate))).sum()
    }

    #[test]
    fn a_burst_passes_and_then_as_many_as_the_rate_permits() {
        let limit = new(10, 50);
        assert_eq!(admitted(&limit, 7 * SECOND, 200), 50);
        assert_eq!(limit.0.suppressed(), 150);
        assert_eq!(admitted(&limit, 8 * SECOND, 200), 10);
        assert_eq!(admitted(&limit, 8 * SECOND + SECOND / 10, 200), 1);
        assert_eq!(admitted(&limit, 1000 * SECOND, 200), 50, "what is not used adds up to a burst and no more");
    }

    #[test]
    fn a_steady_stream_below_the_rate_is_never_suppressed() {
        let limit = new(1000, 1);
        assert!((0..10_000).all(|line| limit.0.admit(line * SECOND / 1000, &limit.1)));
        assert_eq!(limit.0.take_untold(), 0);
    }

    #[test]
    fn two_rates_share_what_passes() {
        let (fast, slow) = (new(1000, 10), LogRate::new(10, 2));
        assert_eq!(admitted(&fast, SECOND, 100), 10);
        assert!(fast.0.admit(SECOND, &slow), "ten lines of the fast one are ahead by less than one of the slow one");
        assert!(!fast.0.admit(SECOND, &slow));
        assert!(!fast.0.admit(SECOND, &fast.1), "the line of the slow one took the time of a hundred");
        assert!(fast.0.admit(SECOND + SECOND / 8, &fast.1));
    }

    #[test]
    fn every_suppressed_line_is_told_once() {
        let limit = new(1, 1);
        assert_eq!(admitted(&limit, SECOND, 5), 1);
        assert_eq!((limit.0.take_untold(), limit.0.take_untold()), (4, 0));
        assert_eq!(admitted(&limit, SECOND, 2), 0);
        assert_eq!((limit.0.take_untold(), limit.0.suppressed()), (2, 6));
    }

    #[test]
    fn reports_come_once_per_interval_and_miss_no_line() {
        let limit = new(1000, 1);
        let (mut reports, mut told, mut last) = (0, 0, None);
        for step in 1..=1_000_000_u64 {
            let now = step * SECOND / 100_000;
            if limit.0.admit(now, &limit.1) {
                let lines = limit.0.take_untold_at(now);
                if lines > 0 {
                    assert!(last.is_none_or(|last| now - last >= INTERVAL));
                    (reports, told, last) = (reports + 1, told + lines, Some(now));
                }
            }
        }
        assert!((9..=11).contains(&reports), "{reports}");
        assert_eq!(told + limit.0.take_untold(), limit.0.suppressed());
    }

    #[test]
    fn a_throttle_admits_the_first_and_counts_the_others() {
        let throttle = Throttle::default();
        assert_eq!(throttle.admit(5), Some(0));
        assert_eq!([6, 7, INTERVAL + 4].map(|now| throttle.admit(now)), [None; 3]);
        assert_eq!(throttle.admit(INTERVAL + 5), Some(3));
        assert_eq!(throttle.admit(3 * INTERVAL), Some(0));
        assert_eq!(throttle.admit(u64::MAX), Some(0));
    }

    #[test]
    fn the_highest_numbers_do_not_overflow() {
        let limit = new(u32::MAX, u32::MAX);
        assert_eq!(admitted(&limit, u64::MAX / 2, 100), 100);
        let limit = new(1, u32::MAX);
        assert_eq!(admitted(&limit, u64::MAX / 4, 100), 100);
    }

    #[test]
    fn threads_together_get_no_more_than_the_burst() {
        let limit = new(1, 1000);
        let passed: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| admitted(&limit, SECOND, 1000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((passed, limit.0.suppressed()), (1000, 3000));
    }
}

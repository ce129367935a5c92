//! How much processor time a thread has used.

/// Nanoseconds in which the calling thread has had a processor. Time in which it was preempted or blocked is not among
/// them. A system call, so nothing for the path of a record. None if the system refuses.
#[allow(unsafe_code)]
pub fn of_this_thread() -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time` only.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    (failed == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn work_counts_and_waiting_does_not() {
        let before = of_this_thread().unwrap();
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(50));
        let slept = of_this_thread().unwrap() - before;
        assert!(u128::from(slept) + 40_000_000 < begun.elapsed().as_nanos(), "{slept}");
        while of_this_thread().unwrap() - before < 5_000_000 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the clock does not run");
        }
    }
}

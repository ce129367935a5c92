//! A clock that can be read twice per batch: the processor's time stamp counter where the counter runs at one speed.
//!
//! Reading it takes some 10 ns. A system clock takes twice as much. Durations are stored in ticks and converted when
//! they are read. The crates for this calibrate against the system's clock for up to 200 ms, and a host's loop would
//! stand still for that long. A fifth of a millisecond is precise enough for metrics.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Nanoseconds per tick times 2³². 0: ticks are nanoseconds of the system's clock.
static SCALE: AtomicU64 = AtomicU64::new(0);

/// How long ticks are compared with the system's clock. Reading that clock is off by some 20 ns, so the result is off
/// by 0.01 %.
const COMPARED: Duration = Duration::from_micros(200);

/// Measures the length of a tick once per process. Before that, and where there is no such counter, a tick is a
/// nanosecond.
pub fn calibrate() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        if has_counter() {
            let (begin, begin_ticks) = pair();
            while begin.elapsed() < COMPARED {
                core::hint::spin_loop();
            }
            let (end, end_ticks) = pair();
            let time = end.saturating_duration_since(begin).as_nanos() << 32;
            let scale = time / u128::from(end_ticks.wrapping_sub(begin_ticks).max(1));
            SCALE.store(u64::try_from(scale).unwrap_or(0), Relaxed);
        }
    });
}

/// Both clocks at the same moment: of some readings the one that was interrupted least.
fn pair() -> (Instant, u64) {
    let read = || {
        let before = counter();
        let now = Instant::now();
        let after = counter();
        (after.wrapping_sub(before), (now, before + after.wrapping_sub(before) / 2))
    };
    let mut best = read();
    for _ in 0..7 {
        let next = read();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

/// The clock in ticks.
#[inline]
pub fn ticks() -> u64 {
    if SCALE.load(Relaxed) == 0 { system() } else { counter() }
}

/// The length of so many ticks.
#[inline]
pub fn nanoseconds(ticks: u64) -> u64 {
    match SCALE.load(Relaxed) {
        0 => ticks,
        scale => ((u128::from(ticks) * u128::from(scale)) >> 32) as u64,
    }
}

/// Ticks that last so long.
pub fn from_nanoseconds(nanoseconds: u64) -> u64 {
    match SCALE.load(Relaxed) {
        0 => nanoseconds,
        scale => ((u128::from(nanoseconds) << 32) / u128::from(scale)) as u64,
    }
}

#[cold]
fn system() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code)]
fn counter() -> u64 {
    // SAFETY: every x86-64 processor has this instruction. Linux lets programs execute it. A host that forbids it to
    // itself (PR_SET_TSC of prctl) gets a signal, which is no undefined behaviour.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Whether the counter runs at one speed even while the processor sleeps or saves power.
#[cfg(target_arch = "x86_64")]
fn has_counter() -> bool {
    use core::arch::x86_64::__cpuid;
    const POWER: u32 = 0x8000_0007;
    __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx & (1 << 8) != 0
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    system()
}

#[cfg(not(target_arch = "x86_64"))]
fn has_counter() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_as_long_as_the_systems_clock_says() {
        calibrate();
        let (begin, begin_ticks) = pair();
        std::thread::sleep(Duration::from_millis(20));
        let (end, end_ticks) = pair();
        let (ours, theirs) = (nanoseconds(end_ticks - begin_ticks), (end - begin).as_nanos() as u64);
        assert!(ours.abs_diff(theirs) < theirs / 20, "{ours} {theirs}");
        assert!(from_nanoseconds(ours).abs_diff(end_ticks - begin_ticks) <= 4);
    }

    #[test]
    fn a_century_of_cpu_time_is_no_overflow() {
        calibrate();
        let century = 100 * 365 * 86_400 * 1_000_000_000;
        assert!(nanoseconds(from_nanoseconds(century)).abs_diff(century) < century / 1_000_000);
    }
}

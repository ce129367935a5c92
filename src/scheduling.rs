//! How soon a thread gets a processor.
#![allow(unsafe_code)]

/// Nanoseconds; the shortest slice that Linux takes.
const SHORTEST: u64 = 100_000;

/// The lowest of the real-time priorities: before all ordinary threads, behind whatever else is in real time.
const LOWEST: u32 = 1;

/// Linux's `struct sched_attr`, as of its first version.
#[repr(C)]
#[derive(Clone, Debug, Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

impl Attributes {
    /// The calling thread's.
    fn get() -> Option<Self> {
        let mut attributes = Self::default();
        let size = size_of::<Self>() as u32;
        // SAFETY: the call is given a struct of the size that it is told, and fills it, for the calling thread (0).
        let failed = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
        (failed == 0).then_some(attributes)
    }

    /// Gives them to the calling thread, if it may have them.
    fn set(&self) -> bool {
        // SAFETY: as above; the call only reads.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, core::ptr::from_ref(self), 0) == 0 }
    }
}

/// Makes the calling thread, if it is an ordinary one, run soon after it wakes, also where every processor computes. For a
/// thread that has next to nothing to do.
///
/// A thread in real time (SCHED_FIFO) takes a processor from an ordinary one at once. That takes CAP_SYS_NICE, or a limit
/// RLIMIT_RTPRIO of at least 1, as brokers have it whose reactors keep time the same way. Without, it asks for short slices,
/// for which nothing is needed: Linux's scheduler lets a thread that wakes take a processor from one that wants it for longer;
/// with slices of the same length it waits for the end of the other's, some three milliseconds. Kernels before 6.12 ignore
/// that wish. A refusal changes nothing, so nobody is told.
pub fn be_punctual() {
    let Some(ordinary) = Attributes::get() else { return };
    if ordinary.policy != libc::SCHED_OTHER as u32 {
        return;
    }
    let real_time = Attributes {
        policy: libc::SCHED_FIFO as u32,
        // Should the process fork, its child gets ordinary threads.
        flags: libc::SCHED_FLAG_RESET_ON_FORK as u64,
        nice: 0,
        priority: LOWEST,
        ..ordinary.clone()
    };
    if !real_time.set() {
        Attributes { runtime: SHORTEST, ..ordinary }.set();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What a thread that may be in real time, or may not, has then.
    fn after(may: bool) -> Option<(Attributes, Attributes)> {
        std::thread::spawn(move || {
            let before = Attributes::get().unwrap();
            if !may && !give_up_real_time() {
                return None;
            }
            be_punctual();
            Some((before, Attributes::get().unwrap()))
        })
        .join()
        .unwrap()
    }

    /// Takes CAP_SYS_NICE from the calling thread; false if it may have real time all the same.
    fn give_up_real_time() -> bool {
        const CAP_SYS_NICE: u32 = 23;
        const VERSION_3: u32 = 0x2008_0522;
        let mut header = [VERSION_3, 0];
        let mut sets = [0u32; 6];
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: header and sets are what version 3 of these calls takes: two words, and two times three. The limit is read.
        unsafe {
            assert_eq!(libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()), 0);
            sets[0] &= !(1 << CAP_SYS_NICE);
            assert_eq!(libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_mut_ptr()), 0);
            assert_eq!(libc::getrlimit(libc::RLIMIT_RTPRIO, &raw mut limit), 0);
        }
        limit.rlim_cur == 0
    }

    #[test]
    fn a_thread_that_may_is_in_real_time_and_others_have_their_policy_and_nice_value() {
        let (before, now) = after(true).unwrap();
        if now.policy != before.policy {
            assert_eq!((now.policy, now.priority), (libc::SCHED_FIFO as u32, LOWEST));
        }
        if let Some((before, now)) = after(false) {
            assert_eq!((now.policy, now.nice, now.priority), (before.policy, before.nice, before.priority));
        }
    }

    #[test]
    fn what_is_in_real_time_already_is_left_alone() {
        std::thread::spawn(|| {
            let wanted =
                Attributes { policy: libc::SCHED_RR as u32, nice: 0, priority: 7, ..Attributes::get().unwrap() };
            if wanted.set() {
                be_punctual();
                let now = Attributes::get().unwrap();
                assert_eq!((now.policy, now.priority), (libc::SCHED_RR as u32, 7));
            }
        })
        .join()
        .unwrap();
    }
}

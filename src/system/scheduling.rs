//! How soon a thread gets a processor.
#![allow(unsafe_code)]

/// Nanoseconds. The shortest slice that Linux accepts.
const SHORTEST: u64 = 100_000;

/// The lowest real-time priority: before all ordinary threads and behind all other real-time threads.
const LOWEST: u32 = 1;

/// Linux's `struct sched_attr` in its first version.
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
        // SAFETY: the call gets a struct and its size and fills it for the calling thread (0).
        let failed = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
        (failed == 0).then_some(attributes)
    }

    /// Sets the policy of the calling thread if that is permitted.
    fn set(&self) -> bool {
        // SAFETY: as above. The call only reads.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, core::ptr::from_ref(self), 0) == 0 }
    }
}

/// The scheduling policy of the thread that created this: how soon the thread runs after a wake-up even if every
/// processor is busy. For a thread that has next to no work.
///
/// A real-time thread (SCHED_FIFO) preempts an ordinary one at once. This needs CAP_SYS_NICE or RLIMIT_RTPRIO of at
/// least 1. Brokers whose reactors use real-time timers have that limit. Without it the thread asks for short slices,
/// which needs no permission. Linux lets a waking thread preempt one with a longer slice. With equal slices the
/// thread would wait about three milliseconds for the end of the other's slice. Kernels before 6.12 ignore the
/// request. A refusal changes nothing and is not reported.
pub struct SchedulingPolicy {
    /// The thread's own policy. None if the thread is not an ordinary one. Such a thread is left alone.
    ordinary: Option<Attributes>,
    /// The last request.
    asked: Option<bool>,
}

impl SchedulingPolicy {
    /// No request yet.
    pub fn of_this_thread() -> Self {
        let ordinary = Attributes::get().filter(|attributes| attributes.policy == libc::SCHED_OTHER as u32);
        Self { ordinary, asked: None }
    }

    /// Asks for real time or only for short slices. Call this on the thread that created this.
    pub fn ask(&mut self, real_time: bool) {
        if self.asked.replace(real_time) == Some(real_time) {
            return;
        }
        let Some(ordinary) = &self.ordinary else { return };
        let first = Attributes { policy: libc::SCHED_FIFO as u32, nice: 0, priority: LOWEST, ..ordinary.clone() };
        if !real_time || !first.set() {
            Attributes { runtime: SHORTEST, ..ordinary.clone() }.set();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Runs before, in real time and without it. The thread may have real time. If the second value is false, it
    /// perhaps may not.
    fn asked(may: bool) -> Option<[Attributes; 3]> {
        let work = move || {
            if !may && !give_up_real_time() {
                return None;
            }
            let get = || Attributes::get().unwrap();
            let before = get();
            let mut policy = SchedulingPolicy::of_this_thread();
            policy.ask(true);
            let first = get();
            policy.ask(false);
            Some([before, first, get()])
        };
        std::thread::spawn(work).join().unwrap()
    }

    /// Takes CAP_SYS_NICE from the calling thread. False if the thread may have real time anyway.
    fn give_up_real_time() -> bool {
        const CAP_SYS_NICE: u32 = 23;
        const VERSION_3: u32 = 0x2008_0522;
        let mut header = [VERSION_3, 0];
        let mut sets = [0u32; 6];
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: header and sets are what version 3 of these calls takes: two words and two times three. The limit
        // is read.
        unsafe {
            if libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) != 0 {
                return false;
            }
            sets[0] &= !(1 << CAP_SYS_NICE);
            libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_mut_ptr()) == 0
                && libc::getrlimit(libc::RLIMIT_RTPRIO, &raw mut limit) == 0
                && limit.rlim_cur == 0
        }
    }

    fn ways(attributes: &Attributes) -> (u32, i32, u32) {
        (attributes.policy, attributes.nice, attributes.priority)
    }

    #[test]
    fn a_permitted_thread_is_real_time_while_requested() {
        let [before, first, after] = asked(true).unwrap();
        if first.policy != before.policy {
            assert_eq!((first.policy, first.priority), (libc::SCHED_FIFO as u32, LOWEST));
        }
        assert_eq!(ways(&after), ways(&before));
    }

    #[test]
    fn a_thread_without_permission_stays_ordinary() {
        if let Some([before, first, after]) = asked(false) {
            assert_eq!((ways(&first), ways(&after)), (ways(&before), ways(&before)));
        }
    }

    #[test]
    fn what_is_in_real_time_already_is_left_alone() {
        let work = || {
            let policy = libc::SCHED_RR as u32;
            let wanted = Attributes { policy, nice: 0, priority: 7, ..Attributes::get().unwrap() };
            if wanted.set() {
                SchedulingPolicy::of_this_thread().ask(true);
                let now = Attributes::get().unwrap();
                assert_eq!((now.policy, now.priority), (policy, 7));
            }
        };
        std::thread::spawn(work).join().unwrap();
    }
}

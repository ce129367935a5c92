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

/// How soon the thread that made this runs after it wakes, also where every processor computes. For a thread that has next to
/// nothing to do.
///
/// A thread in real time (SCHED_FIFO) takes a processor from an ordinary one at once. That takes CAP_SYS_NICE, or a limit
/// RLIMIT_RTPRIO of at least 1, as brokers have it whose reactors keep time the same way. Else the thread asks for short slices,
/// for which nothing is needed: Linux lets a thread that wakes take a processor from one that wants it for longer; with
/// slices of the same length it waits for the end of the other's, some three milliseconds. Kernels before 6.12 ignore that
/// wish. A refusal changes nothing, so nobody is told.
pub struct Punctuality {
    /// The thread's own ways; none if they are not those of an ordinary one, which is then left alone.
    ordinary: Option<Attributes>,
    /// What was asked for last.
    asked: Option<bool>,
}

impl Punctuality {
    /// Nothing is asked for yet.
    pub fn of_this_thread() -> Self {
        let ordinary = Attributes::get().filter(|attributes| attributes.policy == libc::SCHED_OTHER as u32);
        Self { ordinary, asked: None }
    }

    /// Asks for real time, or for no more than short slices. On the thread that made this.
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

    /// Before, in real time, and without it, on a thread that may have it or, if the second value is false, perhaps not.
    fn asked(may: bool) -> Option<[Attributes; 3]> {
        let work = move || {
            if !may && !give_up_real_time() {
                return None;
            }
            let get = || Attributes::get().unwrap();
            let before = get();
            let mut punctuality = Punctuality::of_this_thread();
            punctuality.ask(true);
            let first = get();
            punctuality.ask(false);
            Some([before, first, get()])
        };
        std::thread::spawn(work).join().unwrap()
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
    fn a_thread_that_may_is_in_real_time_for_as_long_as_it_is_asked() {
        let [before, first, after] = asked(true).unwrap();
        if first.policy != before.policy {
            assert_eq!((first.policy, first.priority), (libc::SCHED_FIFO as u32, LOWEST));
        }
        assert_eq!(ways(&after), ways(&before));
    }

    #[test]
    fn a_thread_that_may_not_stays_what_it_is() {
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
                Punctuality::of_this_thread().ask(true);
                let now = Attributes::get().unwrap();
                assert_eq!((now.policy, now.priority), (policy, 7));
            }
        };
        std::thread::spawn(work).join().unwrap();
    }
}

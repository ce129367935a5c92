//! How soon a thread gets a processor.
#![allow(unsafe_code)]

/// Nanoseconds; the shortest slice that Linux takes.
const SHORTEST: u64 = 100_000;

/// Linux's `struct sched_attr`, as of its first version.
#[repr(C)]
#[derive(Default)]
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

/// Asks for short slices for the calling thread, if it is an ordinary one. It needs no privilege.
///
/// Linux's scheduler lets a thread that wakes take a processor from one that computes if it wants it for a shorter time;
/// with slices of the same length it waits for the end of the other's, some three milliseconds. Kernels before 6.12 ignore
/// the wish. A refusal changes nothing, so nobody is told.
pub fn ask_for_short_slices() {
    let mut attributes = Attributes::default();
    let size = size_of::<Attributes>() as u32;
    // SAFETY: both calls are given a struct of the size that they are told, for the calling thread (0); the first fills it.
    unsafe {
        if libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) == 0
            && attributes.policy == libc::SCHED_OTHER as u32
        {
            attributes.runtime = SHORTEST;
            libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_wish_leaves_policy_and_nice_value_alone() {
        std::thread::spawn(|| {
            let read = || {
                let mut attributes = Attributes::default();
                let size = size_of::<Attributes>() as u32;
                // SAFETY: as above.
                let failed = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
                assert_eq!(failed, 0);
                attributes
            };
            let before = read();
            ask_for_short_slices();
            let after = read();
            assert_eq!((after.policy, after.nice, after.priority), (before.policy, before.nice, before.priority));
        })
        .join()
        .unwrap();
    }
}

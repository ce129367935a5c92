//! The processors on which the library's own threads may run.
//!
//! A thread inherits the set of its creator. In a thread-per-core host that is often one processor, on which a reactor
//! runs. So the library's threads choose their set themselves.
#![allow(unsafe_code)]

use core::ffi::c_long;
use std::io;

/// Processors that Linux can have.
const MOST: usize = 8192;
const BITS: usize = u64::BITS as usize;

/// A set of processors.
#[derive(Clone, PartialEq, Eq)]
pub struct Processors(Box<[u64; MOST / BITS]>);

impl core::fmt::Debug for Processors {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.numbers()).finish()
    }
}

impl Processors {
    fn none() -> Self {
        Self(Box::new([0; MOST / BITS]))
    }

    /// A list as in `taskset --cpu-list`: `0-3,8`. The error is what is wrong with it.
    pub fn parse(list: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let known = text.parse().ok().filter(|&number: &usize| number < MOST);
            known.ok_or_else(|| format!("\"{}\" is no number from 0 to {}", text.escape_default(), MOST - 1))
        };
        let mut set = Self::none();
        for range in list.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("{first}-{last} ends before it begins"));
            }
            (first..=last).for_each(|number| set.0[number / BITS] |= 1 << (number % BITS));
        }
        Ok(set)
    }

    /// Those on which some thread of this process may run at present. `None` if /proc does not tell the threads.
    pub fn of_process() -> Option<Self> {
        let mut all = Self::none();
        for thread in std::fs::read_dir("/proc/self/task").ok()? {
            let Some(thread) = thread.ok().and_then(|thread| thread.file_name().to_str()?.parse().ok()) else {
                continue;
            };
            // A thread may have ended meanwhile.
            if let Ok(its) = Self::of_thread(thread) {
                all.0.iter_mut().zip(*its.0).for_each(|(all, its)| *all |= its);
            }
        }
        Some(all)
    }

    /// Those on which a thread may run. 0 is the calling thread.
    fn of_thread(thread: c_long) -> io::Result<Self> {
        let mut set = Self::none();
        // SAFETY: the call writes at most the size that it is told.
        let written =
            unsafe { libc::syscall(libc::SYS_sched_getaffinity, thread, size_of_val(&*set.0), set.0.as_mut_ptr()) };
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(set) }
    }

    /// The calling thread runs on these from now on.
    pub fn confine_this_thread(&self) -> io::Result<()> {
        // SAFETY: the call reads the size that it is told.
        let failed = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&*self.0), self.0.as_ptr()) };
        if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Whether the system lets a thread of this process run on some of them. It is a failure of the check if no thread
    /// can be started.
    pub fn check(&self) -> io::Result<io::Result<()>> {
        std::thread::scope(|scope| {
            let tried = std::thread::Builder::new().spawn_scoped(scope, || self.confine_this_thread())?;
            Ok(tried.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
        })
    }

    fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        (0..MOST).filter(|number| self.0[number / BITS] & 1 << (number % BITS) != 0)
    }
}

/// Where a thread of the library begins: it leaves the processors of its creator for those that were named or else for
/// those of the process.
pub fn settle_this_thread(named: Option<&Processors>) {
    if named.is_some_and(|named| named.confine_this_thread().is_ok()) {
        return;
    }
    // None was named, or the process has lost them since. A refusal leaves the thread where it is.
    let _ = Processors::of_process().map_or(Ok(()), |all| all.confine_this_thread());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn numbers(list: &str) -> Vec<usize> {
        Processors::parse(list).unwrap().numbers().collect()
    }

    #[test]
    fn lists_are_those_of_taskset() {
        assert_eq!(numbers("0"), [0]);
        assert_eq!(numbers("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(numbers("63-64,8191"), [63, 64, 8191]);
        for (list, why) in [
            ("", "\"\" is no number from 0 to 8191"),
            ("0,", "\"\" is no number"),
            ("3-1", "3-1 ends before it begins"),
            ("8192", "\"8192\" is no number"),
            ("0-", "\"\" is no number"),
            ("-1", "\"\" is no number"),
            ("0x1", "\"0x1\" is no number"),
            ("1\n", "\"1\\n\" is no number"),
        ] {
            let found = Processors::parse(list).unwrap_err();
            assert!(found.contains(why), "{list}: {found}");
        }
    }

    #[test]
    fn what_the_system_does_not_have_is_refused() {
        assert!(Processors::parse("8191").unwrap().check().unwrap().is_err());
        assert!(Processors::of_process().unwrap().check().unwrap().is_ok());
    }

    #[test]
    fn a_thread_leaves_the_processor_of_its_creator() {
        let all = Processors::of_process().unwrap();
        let first = all.numbers().next().unwrap();
        let one = Processors::parse(&first.to_string()).unwrap();
        std::thread::spawn(move || {
            one.confine_this_thread().unwrap();
            let of = |named: Option<Processors>| {
                let work = move || {
                    settle_this_thread(named.as_ref());
                    Processors::of_thread(0).unwrap()
                };
                std::thread::spawn(work).join().unwrap()
            };
            assert_eq!(of(None), all);
            assert_eq!(of(Some(one.clone())), one);
        })
        .join()
        .unwrap();
    }
}

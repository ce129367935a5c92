//! The signals that report guests' traps on the calling thread.
#![allow(unsafe_code)]

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::system::signal_stack;
use core::cell::Cell;
use core::mem::MaybeUninit;

/// Exactly the signals for which this version of Wasmtime installs handlers on this platform (its
/// `sys/unix/signals.rs`) with their names.
#[cfg(target_arch = "x86_64")]
const NEEDED: [(libc::c_int, &str); 3] =
    [(libc::SIGSEGV, "SIGSEGV"), (libc::SIGILL, "SIGILL"), (libc::SIGFPE, "SIGFPE")];
#[cfg(not(target_arch = "x86_64"))]
const NEEDED: [(libc::c_int, &str); 2] = [(libc::SIGSEGV, "SIGSEGV"), (libc::SIGILL, "SIGILL")];

thread_local! {
    /// The run clock when `check_sampled` last found all well on this thread.
    static CHECKED: Cell<u64> = const { Cell::new(u64::MAX) };
    /// Wasmtime has what it keeps for this thread.
    static INITIALIZED: Cell<bool> = const { Cell::new(false) };
}

/// Unblocks these signals. Others stay as they are.
pub fn unblock() -> Result<()> {
    // SAFETY: `set` is initialized by sigemptyset before anything reads it. The calls have no other requirements.
    let failed = unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for (signal, _) in NEEDED {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), core::ptr::null_mut())
    };
    if failed == 0 {
        return Ok(());
    }
    let why = std::io::Error::from_raw_os_error(failed);
    Err(Error::new(Status::System, format!("the signals could not be unblocked: {why}")))
}

/// Makes what Wasmtime wants of each thread: an alternate signal stack and what it keeps itself.
pub fn initialize_thread() -> Result<()> {
    if !INITIALIZED.get() {
        signal_stack::ensure()?;
        wasmtime::Engine::tls_eager_initialize();
        INITIALIZED.set(true);
    }
    Ok(())
}

/// Refuses a thread on which one of them is blocked. A system call.
pub fn check() -> Result<()> {
    // SAFETY: with no set given, the mask is only read into `mask`. The call initializes `mask` unless it fails. It
    // fails for bad arguments only.
    let mask = unsafe {
        let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, core::ptr::null(), mask.as_mut_ptr());
        mask.assume_init()
    };
    // SAFETY: an initialized set and a valid signal.
    let is_blocked = |signal| unsafe { libc::sigismember(&raw const mask, signal) == 1 };
    let blocked: Vec<_> = NEEDED.iter().filter(|(signal, _)| is_blocked(*signal)).map(|(_, name)| *name).collect();
    if blocked.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Status::SignalsBlocked,
        format!(
            "{} blocked on this thread, so a trap of the guest would kill the process: call \
             wasm_thread_unblock_signals on this thread, then poll again",
            match &blocked[..] {
                [one] => format!("{one} is"),
                several => format!("{} are", several.join(" and ")),
            }
        ),
    ))
}

/// As `check` but only if the run clock has moved since the last check on this thread.
#[inline]
pub fn check_sampled(run_clock: u64) -> Result<()> {
    if CHECKED.get() == run_clock {
        return Ok(());
    }
    check()?;
    CHECKED.set(run_clock);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(signal: libc::c_int) {
        // SAFETY: as in `unblock`.
        unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), core::ptr::null_mut());
        }
    }

    #[test]
    fn blocked_signals_are_named_and_unblocked() {
        std::thread::spawn(|| {
            check().unwrap();
            check_sampled(7).unwrap();
            block(libc::SIGUSR1);
            check().unwrap();
            for (signal, name) in NEEDED {
                block(signal);
                let error = check().unwrap_err();
                assert_eq!(error.status, Status::SignalsBlocked);
                assert!(error.message.starts_with(&format!("{name} is")), "{}", error.message);
                unblock().unwrap();
                check().unwrap();
            }
            block(libc::SIGFPE);
            check_sampled(7).unwrap();
            check_sampled(8).unwrap_err();
            check_sampled(8).unwrap_err();
            unblock().unwrap();
            check_sampled(8).unwrap();
        })
        .join()
        .unwrap();
    }
}

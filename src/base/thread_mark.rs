//! Which thread something belongs to.

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;

/// A number that no other living thread has: the address of something of the thread's own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ThreadMark(usize);

impl ThreadMark {
    /// This thread's.
    #[inline]
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub fn current() -> Self {
        let thread: usize;
        // SAFETY: on Linux the register points to the thread's control block. The first word of the block is its own
        // address, which is unique among living threads. In a library that is loaded at run time each access to a
        // thread-local variable is a call. This is one load, and each call from the host needs it several times.
        #[allow(unsafe_code)]
        unsafe {
            core::arch::asm!("mov {}, fs:[0]", out(reg) thread, options(nostack, preserves_flags, readonly, pure));
        }
        Self(thread)
    }

    /// This thread's.
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    pub fn current() -> Self {
        thread_local!(static MARK: core::cell::Cell<u8> = const { core::cell::Cell::new(0) });
        MARK.with(|mark| Self(core::ptr::from_ref(mark).addr()))
    }

    /// Refuses every other thread.
    #[inline]
    pub fn check(self) -> Result<()> {
        if self == Self::current() {
            return Ok(());
        }
        Err(Error::new(Status::WrongThread, "an engine and its futures can only be used on the thread that made it"))
    }
}

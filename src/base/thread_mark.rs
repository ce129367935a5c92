//! Which thread something belongs to.

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU64, Ordering};

/// A number that no other thread of the process has or will have. A thread's address is no such number: a thread that
/// starts may get the address of one that has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ThreadMark(NonZeroU64);

impl ThreadMark {
    /// This thread's.
    #[inline]
    pub fn current() -> Self {
        Self(NonZeroU64::new(local::get()).unwrap_or_else(number))
    }

    /// Refuses every other thread.
    #[inline]
    pub fn check(self) -> Result<()> {
        // A thread without a number has made nothing.
        if self.0.get() == local::get() {
            return Ok(());
        }
        Err(Error::new(Status::WrongThread, "an engine and its futures can only be used on the thread that made it"))
    }
}

/// Numbers this thread.
#[cold]
fn number() -> NonZeroU64 {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    let number = NonZeroU64::MIN.saturating_add(LATEST.fetch_add(1, Ordering::Relaxed));
    local::set(number.get());
    number
}

/// The thread's number or 0.
///
/// Each call from the host reads it several times. In a library that is loaded at run time Rust's `thread_local!` is a
/// call of `__tls_get_addr`, which saves and may clobber registers. A TLS descriptor takes four instructions. It also
/// works where the process has no static thread-local memory left, which an access without a call would need.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[allow(unsafe_code)]
mod local {
    core::arch::global_asm!(
        ".pushsection .tbss.wasm_engine_thread_mark,\"awT\",@nobits",
        ".balign 8",
        ".hidden wasm_engine_thread_mark",
        ".globl wasm_engine_thread_mark",
        ".type wasm_engine_thread_mark,@object",
        ".size wasm_engine_thread_mark, 8",
        "wasm_engine_thread_mark: .zero 8",
        ".popsection",
    );

    /// The number's place relative to the thread's control block.
    macro_rules! place {
        ($place:ident) => {
            core::arch::asm!(
                "lea rax, [rip + wasm_engine_thread_mark@tlsdesc]",
                "call [rax + wasm_engine_thread_mark@tlscall]",
                out("rax") $place,
                // The resolver keeps all other registers by the psABI. Old ones of glibc lose vector registers on its
                // slow path. Rust is compiled for the first x86-64, so it has no others of them to lose: neither
                // xmm16 to xmm31 nor masks nor the upper parts.
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            )
        };
    }

    #[inline]
    pub fn get() -> u64 {
        let (place, number): (usize, u64);
        // SAFETY: the psABI's sequence for a thread-local variable. `fs` with the place is this thread's copy.
        unsafe {
            place!(place);
            core::arch::asm!("mov {}, fs:[{}]", out(reg) number, in(reg) place,
                options(nostack, preserves_flags, readonly));
        }
        number
    }

    pub fn set(number: u64) {
        let place: usize;
        // SAFETY: as in `get`. Nothing else refers to the variable.
        unsafe {
            place!(place);
            core::arch::asm!("mov fs:[{}], {}", in(reg) place, in(reg) number, options(nostack, preserves_flags));
        }
    }
}

/// The thread's number or 0.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod local {
    use core::cell::Cell;

    thread_local!(static NUMBER: Cell<u64> = const { Cell::new(0) });

    #[inline]
    pub fn get() -> u64 {
        NUMBER.get()
    }

    pub fn set(number: u64) {
        NUMBER.set(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_are_not_used_again() {
        let mut seen = HashSet::from([ThreadMark::current().0]);
        for _ in 0..200 {
            // Each takes the place of the one before it.
            let mark = std::thread::spawn(|| {
                let mark = ThreadMark::current();
                assert!(mark == ThreadMark::current() && mark.check().is_ok());
                mark
            });
            let mark = mark.join().unwrap();
            assert!(mark.check().is_err());
            assert!(seen.insert(mark.0));
        }
    }
}

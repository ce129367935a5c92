//! Seeds for random numbers from the system.

use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

/// A seed that nobody can guess. Never blocks, opens nothing and does not fail: where the system has no random numbers,
/// early at its start or under a filter of system calls, the seed is one that differs from all others.
pub fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    if !from_system(&mut seed) {
        seed = makeshift();
    }
    seed
}

#[allow(unsafe_code)]
fn from_system(seed: &mut [u8; 32]) -> bool {
    // SAFETY: the call writes no more than so many bytes to the buffer.
    let written = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), libc::GRND_NONBLOCK) };
    // Fewer than 256 bytes come whole or not at all.
    usize::try_from(written) == Ok(seed.len())
}

/// From what differs between processes, threads and calls.
#[cold]
fn makeshift() -> [u8; 32] {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let on_the_stack = core::ptr::from_ref(&time).addr();
    let parts = [
        time.as_nanos() as u64,
        std::process::id().into(),
        on_the_stack as u64,
        core::ptr::from_ref(&CALLS).addr() as u64,
        CALLS.fetch_add(1, Relaxed),
    ];
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.to_le_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_wherever_they_come_from() {
        assert_ne!(seed(), seed());
        assert_ne!(makeshift(), makeshift());
        let mut bytes = [0; 32];
        assert!(from_system(&mut bytes));
        assert_ne!(bytes, [0; 32]);
    }
}

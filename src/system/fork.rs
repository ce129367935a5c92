//! Support for forks. The child has only the thread that forked, so neither the ticker's thread nor the compile
//! threads exist in it. Everything else that the child inherited still works. Threads are started again when they are
//! needed.
//!
//! A host must not fork while another thread is inside the library or while a module is being compiled. A lock held
//! by such a thread would stay locked in the child forever.
#![allow(unsafe_code)]

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::system::memory::reserve;
use crate::system::ticker;
use core::cell::Cell;
use core::mem::ManuallyDrop;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Forks between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The locks between the handlers. They have no destructor, so they exist as long as their thread can fork.
    static HELD: Cell<Option<ManuallyDrop<(ticker::HeldLock, reserve::HeldLock)>>> = const { Cell::new(None) };
}

/// A number that differs between a process and its children: threads made in another generation do not exist.
pub fn generation() -> u64 {
    GENERATION.load(Relaxed)
}

/// Makes sure that forks are noticed from now on.
pub fn watch() -> Result<()> {
    static WATCHING: OnceLock<libc::c_int> = OnceLock::new();
    let failed = *WATCHING.get_or_init(|| {
        // SAFETY: each function does only what its comment says. The functions stay loaded because the library does.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) }
    });
    if failed == 0 {
        return Ok(());
    }
    let why = std::io::Error::from_raw_os_error(failed);
    Err(Error::new(Status::System, format!("the fork handlers could not be registered: {why}")))
}

/// Takes the locks: the reserve's last, because whoever has the ticker's may allocate.
unsafe extern "C" fn before() {
    let ticker = ticker::hold();
    HELD.set(Some(ManuallyDrop::new((ticker, reserve::hold()))));
}

/// Releases the locks.
unsafe extern "C" fn in_parent() {
    drop(HELD.take().map(ManuallyDrop::into_inner));
}

/// Releases the locks after the state has forgotten the threads that do not exist here.
unsafe extern "C" fn in_child() {
    GENERATION.fetch_add(1, Relaxed);
    if let Some(held) = HELD.take() {
        let (ticker, reserve) = ManuallyDrop::into_inner(held);
        // First: what follows may free memory.
        drop(reserve);
        ticker.in_child();
    }
}

//! A host's waker: what to call when it is worth polling again.
#![allow(unsafe_code)]

use super::owned::{Owned, host_data};
use crate::promise::oneshot::Wake;
use core::ffi::c_void;

/// What to call when a pending future is worth polling again.
///
/// Each waker that is given to a poll is used up: exactly one of `wake` and `drop` is called with its `data`, exactly
/// once. `wake` is called, from any thread and outside of every lock, if the poll answered pending and what it waits for
/// has come; on another thread that may be before the poll has returned. It may call the library, but not poll or release
/// the future itself: it schedules that. In all other cases `drop` is called: before the poll returns if it did not answer
/// pending, else when the future is polled again or released, or its engine stopped or released. `drop` may be NULL, for
/// data that nobody has to free.
///
/// This struct has no `size`, because it is read with every poll: it will not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_waker {
    /// The host's own.
    pub data: *mut c_void,
    /// Schedules a poll. NULL for a host that polls anyway.
    pub wake: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Frees `data` without waking.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
}

host_data!(wasm_waker: AnyThread, "The header says that `wake` and `drop` are called from any thread.");

/// A waker that is owned: dropped or woken, once.
pub struct Waker(Owned<wasm_waker>);

impl Waker {
    /// Takes over a host's waker.
    #[inline]
    pub fn new(waker: Owned<wasm_waker>) -> Self {
        Self(waker)
    }

    /// A waker for a host that does not want to be woken.
    #[inline]
    pub fn none() -> Self {
        // SAFETY: there are no callbacks.
        Self(unsafe { Owned::new(wasm_waker { data: core::ptr::null_mut(), wake: None, drop: None }) })
    }
}

impl Wake for Waker {
    fn wake(self) {
        let waker = self.0.into_inner();
        if let Some(wake) = waker.wake.or(waker.drop) {
            // SAFETY: the host gave function and data together; ownership of the data goes with this one call.
            unsafe { wake(waker.data) }
        }
    }
}

//! A host's waker: what to call when it is worth polling again.
#![allow(unsafe_code)]

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

/// A waker that is owned: dropped or woken, once.
pub struct Waker(wasm_waker);

// SAFETY: the header says that `wake` and `drop` are called from any thread.
unsafe impl Send for Waker {}

impl Waker {
    /// Takes over a host's waker.
    pub fn new(waker: wasm_waker) -> Self {
        Self(waker)
    }

    /// A waker for a host that does not want to be woken.
    pub fn none() -> Self {
        Self(wasm_waker { data: core::ptr::null_mut(), wake: None, drop: None })
    }
}

impl Wake for Waker {
    fn wake(self) {
        let waker = self.0;
        core::mem::forget(self);
        if let Some(wake) = waker.wake {
            // SAFETY: the host gave function and data together; ownership of the data goes with this one call, since
            // `forget` keeps `drop` from being called.
            unsafe { wake(waker.data) }
        } else if let Some(drop) = waker.drop {
            // SAFETY: as above.
            unsafe { drop(waker.data) }
        }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        if let Some(drop) = self.0.drop {
            // SAFETY: `wake` was not called, or this would have been forgotten; so the data is still ours to hand back.
            unsafe { drop(self.0.data) }
        }
    }
}

//! A host's waker: tells the host to poll a future again.
#![allow(unsafe_code)]

use super::owned::{Owned, host_data};
use crate::promise::oneshot::Wake;
use core::ffi::c_void;

/// Tells the host that a pending future is worth polling again.
///
/// Each waker that is passed to a poll is consumed: exactly one of `wake` and `drop` is called with its `data`,
/// exactly once. `wake` is called if the poll returned pending and the awaited event has happened. It is called on
/// any thread and outside of every lock. On another thread this may be before the poll has returned. `wake` may call
/// the library but must not poll or release the future itself. It should schedule that. In all other cases `drop` is
/// called. If the poll did not return pending, this happens before the poll returns. Otherwise it happens when the
/// future is polled again or released or when its engine is stopped or released. `drop` may be NULL for data that
/// need not be freed.
///
/// The library does not wait for a `wake` that runs on another thread: it may still run when the future is polled again
/// or released. So what `data` points to must live until `wake` or `drop` returns. Let each waker own a reference.
///
/// This struct has no `size` because it is read with every poll. It will not grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_waker {
    /// The host's own.
    pub data: *mut c_void,
    /// Schedules a poll. NULL for a host that polls anyway: then `drop` is called instead.
    pub wake: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Frees `data` without waking.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
}

host_data!(wasm_waker: AnyThread, "The header says that `wake` and `drop` are called from any thread.");

/// A waker that is owned. It is woken or dropped exactly once.
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

impl Waker {
    /// Takes the waker and leaves one for a host that does not want to be woken.
    #[inline]
    #[must_use]
    pub fn take(&mut self) -> Self {
        core::mem::replace(self, Self::none())
    }
}

impl Wake for Waker {
    fn wake(self) {
        let waker = self.0.into_inner();
        if let Some(wake) = waker.wake.or(waker.drop) {
            // SAFETY: the host passed function and data together. Ownership of the data is transferred with this one
            // call.
            unsafe { wake(waker.data) }
        }
    }
}

//! The synchronization types of `oneshot` and `task`. The model checker replaces them by its own.

#[cfg(not(loom))]
mod real {
    pub use core::sync::atomic::{AtomicU32, Ordering};
    pub use parking_lot::{Condvar, Mutex, MutexGuard};
    pub use std::sync::Arc;

    /// Waits until `condvar` is notified.
    pub fn wait<'a, T>(condvar: &Condvar, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(&mut guard);
        guard
    }
}

#[cfg(loom)]
mod model {
    pub use loom::sync::atomic::{AtomicU32, Ordering};
    pub use loom::sync::{Arc, Condvar, MutexGuard};

    /// Loom's mutex with the interface of parking_lot's.
    #[derive(Debug)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// An unlocked mutex.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// Locks the mutex.
        #[allow(clippy::unwrap_used)] // a lock is poisoned only after the model panicked
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    /// Waits until `condvar` is notified.
    #[allow(clippy::unwrap_used)] // as above
    pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(guard).unwrap()
    }
}

#[cfg(loom)]
pub use model::*;
#[cfg(not(loom))]
pub use real::*;

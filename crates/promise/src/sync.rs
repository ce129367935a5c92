//! The synchronization types of `oneshot` and `task`. The model checker replaces them by its own.

#[cfg(not(loom))]
mod real {
    pub use core::sync::atomic::{AtomicU8, Ordering};
    pub use parking_lot::Mutex;
    pub use std::sync::Arc;
}

#[cfg(loom)]
mod model {
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicU8, Ordering};

    /// Loom's mutex with the interface of parking_lot's.
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// An unlocked mutex.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// Locks the mutex.
        #[allow(clippy::unwrap_used)] // a lock is poisoned only after the model panicked
        pub fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

#[cfg(loom)]
pub use model::*;
#[cfg(not(loom))]
pub use real::*;

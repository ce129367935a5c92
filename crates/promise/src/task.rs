//! The states of a task: a future that is polled on an executor of the host's.
//!
//! At any time a task is scheduled at most once, and it is never polled by two threads. `wake` may come at any time, on any
//! thread; whoever gets `true` from a method must hand the task to the executor.

use crate::sync::{AtomicU8, Ordering::*};

/// It waits for a wake-up.
const WAITING: u8 = 0;
/// The executor has it.
const SCHEDULED: u8 = 1;
/// It is being polled.
const RUNNING: u8 = 2;
/// It was woken while it was being polled.
const WOKEN: u8 = 3;
/// It is over.
const DONE: u8 = 4;

/// The state of one task.
#[derive(Debug)]
pub struct TaskState(AtomicU8);

impl TaskState {
    /// The state of a task that its maker hands to the executor.
    pub fn scheduled() -> Self {
        Self(AtomicU8::new(SCHEDULED))
    }

    /// It is worth polling again.
    #[must_use]
    pub fn wake(&self) -> bool {
        // A write also where nothing changes: it makes what happened before the wake-up visible to the poll that follows,
        // as the model checker in `loom/` insists.
        let step = self.0.fetch_update(AcqRel, Acquire, |state| match state {
            WAITING | SCHEDULED => Some(SCHEDULED),
            RUNNING | WOKEN => Some(WOKEN),
            _ => None,
        });
        step == Ok(WAITING)
    }

    /// Its waker was dropped. Outside of a poll that means that what it waited for is gone, and a poll will tell.
    #[must_use]
    pub fn abandon(&self) -> bool {
        self.0.compare_exchange(WAITING, SCHEDULED, AcqRel, Acquire).is_ok()
    }

    /// The executor runs it. False if it is not scheduled.
    #[must_use]
    pub fn begin(&self) -> bool {
        self.0.compare_exchange(SCHEDULED, RUNNING, AcqRel, Acquire).is_ok()
    }

    /// The poll answered pending.
    #[must_use]
    pub fn pend(&self) -> bool {
        if self.0.compare_exchange(RUNNING, WAITING, AcqRel, Acquire).is_ok() {
            return false;
        }
        self.again();
        true
    }

    /// It is to be polled again: the guest yielded, or this was the wrong thread.
    pub fn again(&self) {
        self.0.swap(SCHEDULED, AcqRel);
    }

    /// It is over.
    pub fn finish(&self) {
        self.0.store(DONE, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_scheduled_once_however_often_it_is_woken() {
        let task = TaskState::scheduled();
        assert!(!task.wake(), "it is scheduled already");
        assert!(task.begin());
        assert!(!task.begin());
        assert!(!task.pend());
        assert!(task.wake());
        assert!(!task.wake());
        assert!(task.begin());
    }

    #[test]
    fn a_wake_during_the_poll_schedules_it_again() {
        let task = TaskState::scheduled();
        assert!(task.begin());
        assert!(!task.wake());
        assert!(!task.abandon());
        assert!(task.pend());
        assert!(task.begin());
        task.finish();
        assert!(!task.wake());
        assert!(!task.abandon());
    }

    #[test]
    fn a_waker_that_is_dropped_outside_of_a_poll_schedules_it() {
        let task = TaskState::scheduled();
        assert!(task.begin());
        assert!(!task.abandon());
        assert!(!task.pend());
        assert!(task.abandon());
        assert!(!task.wake());
    }
}

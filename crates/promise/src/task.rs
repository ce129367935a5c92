//! The states of a task: a future that is polled on an executor of the host.
//!
//! A task is scheduled at most once at any time and is never polled by two threads. `wake` may be called at any time
//! on any thread. A caller that gets `true` from a method must hand the task to the executor.

use crate::sync::{AtomicU8, Ordering::*};

/// The task waits for a wake-up.
const WAITING: u8 = 0;
/// The executor has the task.
const SCHEDULED: u8 = 1;
/// The task is being polled.
const RUNNING: u8 = 2;
/// The task was woken during its poll.
const WOKEN: u8 = 3;
/// The task has completed.
const DONE: u8 = 4;

/// The state of one task.
#[derive(Debug)]
pub struct TaskState(AtomicU8);

impl TaskState {
    /// The state of a task that its maker hands to the executor.
    pub fn scheduled() -> Self {
        Self(AtomicU8::new(SCHEDULED))
    }

    /// The task is worth polling again.
    #[must_use]
    pub fn wake(&self) -> bool {
        // Writes even if the state stays the same. The write makes everything before the wake-up visible to the next
        // poll. The model checker fails without it.
        let step = self.0.fetch_update(AcqRel, Acquire, |state| match state {
            WAITING | SCHEDULED => Some(SCHEDULED),
            RUNNING | WOKEN => Some(WOKEN),
            _ => None,
        });
        step == Ok(WAITING)
    }

    /// The task's waker was dropped. Outside of a poll this means that the awaited event is gone. The next poll
    /// reports that.
    #[must_use]
    pub fn abandon(&self) -> bool {
        self.0.compare_exchange(WAITING, SCHEDULED, AcqRel, Acquire).is_ok()
    }

    /// The executor runs the task. False if the task is not scheduled.
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

    /// The task must be polled again: the guest yielded or this was the wrong thread.
    pub fn again(&self) {
        self.0.swap(SCHEDULED, AcqRel);
    }

    /// The task has completed.
    pub fn finish(&self) {
        self.0.store(DONE, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_wakes_schedule_a_task_once() {
        let task = TaskState::scheduled();
        assert!(!task.wake(), "the task is scheduled already");
        assert!(task.begin());
        assert!(!task.begin());
        assert!(!task.pend());
        assert!(task.wake());
        assert!(!task.wake());
        assert!(task.begin());
    }

    #[test]
    fn a_wake_during_a_poll_schedules_the_task_again() {
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
    fn a_waker_dropped_outside_of_a_poll_schedules_the_task() {
        let task = TaskState::scheduled();
        assert!(task.begin());
        assert!(!task.abandon());
        assert!(!task.pend());
        assert!(task.abandon());
        assert!(!task.wake());
    }
}

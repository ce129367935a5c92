//! The states of a task: a future that is polled on an executor of the host.
//!
//! A task is scheduled at most once at any time and is never polled by two threads. `wake` may be called at any time
//! on any thread. A caller that is told to schedule must hand the task to the executor and say `called` afterwards. So
//! a thread that ends the task can wait until no other one is inside of the host's callback.

use crate::sync::{AtomicU32, Condvar, Mutex, Ordering::*, wait};

/// The task waits for a wake-up.
const WAITING: u32 = 0;
/// The executor has the task.
const SCHEDULED: u32 = 1;
/// The task is being polled.
const RUNNING: u32 = 2;
/// The task was woken during its poll.
const WOKEN: u32 = 3;
/// The task has completed or was aborted.
const DONE: u32 = 4;
/// The task was aborted during its poll.
const ABORTING: u32 = 5;
/// The task was aborted and the executor still has it.
const ABORTED: u32 = 6;
/// The task was aborted during a poll that was refused. The executor still has it and its next run cancels it.
const DOOMED: u32 = 7;

/// The bits of the state.
const STATE: u32 = 0b111;
/// A thread waits for calls to return.
const AWAITED: u32 = 0b1000;
/// The last of the calls drops the executor.
const LEFT: u32 = 0b1_0000;
/// One call of the host's callbacks. They are counted in the bits from here on.
const CALL: u32 = 0b10_0000;

/// What an executor is to do with a task that it runs.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun {
    /// Poll it.
    Poll,
    /// Let it go: it was aborted.
    Aborted,
    /// Cancel it: it was aborted during a poll that was refused.
    Cancel,
    /// Nothing. The executor does not have it.
    Refused,
}

/// What follows a poll that did not complete.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The task waits for its waker.
    Wait,
    /// The task is handed to the executor. `called` follows.
    Schedule,
    /// The task was aborted: its runner cancels it.
    Aborted,
}

/// What an abort found.
#[derive(Debug, PartialEq, Eq)]
pub enum Abort {
    /// A waiting task, which now belongs to the caller. `called` follows.
    Waiting,
    /// A task that the executor has. Its future now belongs to the caller. `called` follows.
    Queued,
    /// A task during its poll. Its runner cancels it.
    Running,
    /// A task that has completed or was aborted before.
    Over,
}

/// The state of one task.
#[derive(Debug)]
pub struct TaskState {
    word: AtomicU32,
    gate: Mutex<()>,
    returned: Condvar,
}

impl TaskState {
    /// The state of a task that its maker hands to the executor. `called` follows.
    pub fn scheduled() -> Self {
        Self { word: AtomicU32::new(SCHEDULED + CALL), gate: Mutex::new(()), returned: Condvar::new() }
    }

    /// Goes from one state to another and counts a call. None if `next` has none for the state.
    fn step(&self, next: impl Fn(u32) -> Option<(u32, u32)>) -> Option<u32> {
        let step = |word: u32| next(word & STATE).map(|(state, call)| (word & !STATE | state) + call);
        self.word.fetch_update(AcqRel, Acquire, step).ok().map(|word| word & STATE)
    }

    /// The task is worth polling again. True: schedule it.
    #[must_use]
    pub fn wake(&self) -> bool {
        // Writes even if the state stays the same. The write makes everything before the wake-up visible to the next
        // poll. The model checker fails without it.
        let found = self.step(|state| match state {
            WAITING => Some((SCHEDULED, CALL)),
            SCHEDULED => Some((SCHEDULED, 0)),
            RUNNING | WOKEN => Some((WOKEN, 0)),
            _ => None,
        });
        found == Some(WAITING)
    }

    /// The task's waker was dropped. Outside of a poll this means that the awaited event is gone. The next poll
    /// reports that. True: schedule it.
    #[must_use]
    pub fn abandon(&self) -> bool {
        self.step(|state| (state == WAITING).then_some((SCHEDULED, CALL))).is_some()
    }

    /// A call has returned. True: it is the last one and has the executor left to it. Its thread drops the executor and
    /// says `called` again.
    #[must_use]
    pub fn called(&self) -> bool {
        let is_left = |word: u32| word & LEFT != 0 && word / CALL == 1;
        let step = |word: u32| Some(if is_left(word) { word & !LEFT } else { word - CALL });
        let (Ok(found) | Err(found)) = self.word.fetch_update(AcqRel, Acquire, step);
        if is_left(found) {
            return true;
        }
        if found & AWAITED != 0 {
            // Whoever has set the bit holds the lock until it waits.
            drop(self.gate.lock());
            self.returned.notify_all();
        }
        false
    }

    /// Waits until at most `calls` of the callbacks have not returned.
    pub fn await_calls(&self, calls: u32) {
        if self.word.load(Acquire) / CALL <= calls {
            return;
        }
        let mut gate = self.gate.lock();
        while self.word.fetch_or(AWAITED, AcqRel) / CALL > calls {
            gate = wait(&self.returned, gate);
        }
    }

    /// Whether callbacks have not returned.
    pub fn is_called(&self) -> bool {
        self.word.load(Acquire) >= CALL
    }

    /// Whether the task has completed or was aborted. Then an abort finds it over.
    pub fn is_over(&self) -> bool {
        self.word.load(Acquire) & STATE >= DONE
    }

    /// Leaves the executor to the last of the calls. For a thread that ends the task from within one of them: it cannot
    /// wait for itself. The others may wait for its call.
    pub fn leave(&self) {
        self.word.fetch_or(LEFT, AcqRel);
    }

    /// The executor runs the task.
    pub fn begin(&self) -> Begun {
        let found = self.step(|state| match state {
            SCHEDULED => Some((RUNNING, 0)),
            ABORTED => Some((DONE, 0)),
            DOOMED => Some((ABORTING, 0)),
            _ => None,
        });
        match found {
            Some(SCHEDULED) => Begun::Poll,
            Some(DOOMED) => Begun::Cancel,
            Some(_) => Begun::Aborted,
            None => Begun::Refused,
        }
    }

    /// The poll answered pending.
    pub fn pend(&self) -> Next {
        self.after_poll((WAITING, 0))
    }

    /// The poll answered yielded.
    pub fn yielded(&self) -> Next {
        self.after_poll((SCHEDULED, CALL))
    }

    fn after_poll(&self, unless_woken: (u32, u32)) -> Next {
        let found = self.step(|state| match state {
            RUNNING => Some(unless_woken),
            WOKEN => Some((SCHEDULED, CALL)),
            _ => Some((DONE, 0)),
        });
        match found {
            Some(RUNNING) if unless_woken.1 == 0 => Next::Wait,
            Some(RUNNING | WOKEN) => Next::Schedule,
            _ => Next::Aborted,
        }
    }

    /// The task could not be polled or cancelled. The executor still has it. An abort meanwhile stays in force.
    pub fn refuse(&self) {
        let _ = self.step(|state| Some((if state == ABORTING { DOOMED } else { SCHEDULED }, 0)));
    }

    /// The executor has given the task up without polling it.
    pub fn end(&self) {
        let _ = self.step(|_| Some((DONE, 0)));
    }

    /// The task has completed. Counts the call of the completion. False if the task was aborted: then nothing is
    /// called.
    #[must_use]
    pub fn finish(&self) -> bool {
        self.step(|state| Some((DONE, if state == ABORTING { 0 } else { CALL }))) != Some(ABORTING)
    }

    /// Ends the task from outside. Counts a call unless the task is being run: whoever lets the task go meanwhile waits
    /// until the completion is dropped.
    pub fn abort(&self) -> Abort {
        let found = self.step(|state| match state {
            WAITING => Some((DONE, CALL)),
            SCHEDULED => Some((ABORTED, CALL)),
            RUNNING | WOKEN => Some((ABORTING, 0)),
            _ => None,
        });
        match found {
            Some(WAITING) => Abort::Waiting,
            Some(SCHEDULED) => Abort::Queued,
            Some(_) => Abort::Running,
            None => Abort::Over,
        }
    }

    /// A task that was waiting or queued could not be aborted. True: schedule it, because it may have been woken. This
    /// counts as another call.
    #[must_use]
    pub fn keep(&self) -> bool {
        let found = self.step(|state| Some((SCHEDULED, if state == DONE { CALL } else { 0 })));
        found == Some(DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::SeqCst;

    /// A task whose executor has it and has returned.
    fn scheduled() -> TaskState {
        let task = TaskState::scheduled();
        assert!(!task.called());
        task
    }

    #[test]
    fn many_wakes_schedule_a_task_once() {
        let task = scheduled();
        assert!(!task.wake(), "the task is scheduled already");
        assert_eq!(task.begin(), Begun::Poll);
        assert_eq!(task.begin(), Begun::Refused);
        assert_eq!(task.pend(), Next::Wait);
        assert!(task.wake());
        assert!(!task.wake());
        assert_eq!(task.begin(), Begun::Poll);
    }

    #[test]
    fn a_wake_during_a_poll_schedules_the_task_again() {
        let task = scheduled();
        assert_eq!(task.begin(), Begun::Poll);
        assert!(!task.wake());
        assert!(!task.abandon());
        assert_eq!(task.pend(), Next::Schedule);
        assert_eq!(task.begin(), Begun::Poll);
        assert!(task.finish());
        assert!(!task.wake());
        assert!(!task.abandon());
    }

    #[test]
    fn a_waker_dropped_outside_of_a_poll_schedules_the_task() {
        let task = scheduled();
        assert_eq!(task.begin(), Begun::Poll);
        assert!(!task.abandon());
        assert_eq!(task.pend(), Next::Wait);
        assert!(task.abandon());
        assert!(!task.wake());
    }

    #[test]
    fn a_task_that_was_refused_is_still_the_executors() {
        let task = scheduled();
        assert_eq!(task.begin(), Begun::Poll);
        task.refuse();
        assert!(!task.is_called());
        assert_eq!(task.begin(), Begun::Poll);
        assert_eq!(task.yielded(), Next::Schedule);
        assert!(task.is_called());
    }

    #[test]
    fn an_abort_while_waiting_ends_the_task() {
        let task = scheduled();
        assert_eq!(task.begin(), Begun::Poll);
        assert_eq!(task.pend(), Next::Wait);
        assert_eq!(task.abort(), Abort::Waiting);
        assert!(task.is_called());
        assert!(!task.called());
        assert!(!task.wake());
        assert!(!task.abandon());
        assert_eq!(task.begin(), Begun::Refused);
        assert_eq!(task.abort(), Abort::Over);
    }

    #[test]
    fn an_abort_in_the_queue_is_seen_by_the_executor() {
        let task = scheduled();
        assert_eq!(task.abort(), Abort::Queued);
        assert!(!task.wake());
        assert_eq!(task.abort(), Abort::Over);
        assert_eq!(task.begin(), Begun::Aborted);
        assert_eq!(task.begin(), Begun::Refused);
    }

    #[test]
    fn an_abort_during_a_poll_is_seen_at_its_end() {
        for end in [TaskState::pend, TaskState::yielded] {
            let task = scheduled();
            assert_eq!(task.begin(), Begun::Poll);
            assert!(!task.wake());
            assert_eq!(task.abort(), Abort::Running);
            assert!(!task.wake());
            assert_eq!(end(&task), Next::Aborted);
            assert!(!task.wake());
            assert!(!task.is_called());
        }
        let task = scheduled();
        assert_eq!(task.begin(), Begun::Poll);
        assert_eq!(task.abort(), Abort::Running);
        assert!(!task.finish());
        assert_eq!(task.abort(), Abort::Over);
    }

    #[test]
    fn an_abort_that_fails_leaves_the_task_scheduled() {
        let task = scheduled();
        assert_eq!(task.abort(), Abort::Queued);
        assert!(!task.keep(), "the executor has the task");
        assert!(!task.called());
        assert!(!task.is_called());
        assert_eq!(task.begin(), Begun::Poll);
        assert_eq!(task.pend(), Next::Wait);
        assert_eq!(task.abort(), Abort::Waiting);
        assert!(!task.wake());
        assert!(task.keep(), "the wake-up is made up for");
        assert!(!task.called());
        assert!(task.is_called(), "the executor is called");
        assert_eq!(task.begin(), Begun::Poll);
    }

    #[test]
    fn an_abort_during_a_poll_that_is_refused_stays_in_force() {
        let task = scheduled();
        assert_eq!(task.begin(), Begun::Poll);
        assert_eq!(task.abort(), Abort::Running);
        for _ in 0..2 {
            task.refuse();
            assert!(!task.wake());
            assert_eq!(task.abort(), Abort::Over);
            assert_eq!(task.begin(), Begun::Cancel, "nothing has cancelled it");
            assert_eq!(task.begin(), Begun::Refused);
        }
        task.end();
        assert_eq!(task.begin(), Begun::Refused);
        assert!(task.is_over());
    }

    #[test]
    fn the_last_call_of_a_task_that_ended_inside_has_the_executor_left_to_it() {
        let task = TaskState::scheduled();
        assert_eq!(task.abort(), Abort::Queued);
        assert_eq!(task.begin(), Begun::Aborted);
        task.leave();
        assert!(!task.called(), "there is another call");
        assert!(task.called());
        assert!(task.is_called(), "the executor is being dropped");
        assert!(!task.called());
        assert!(!task.is_called());
    }

    #[test]
    fn whoever_lets_an_aborted_task_go_waits_for_the_abort() {
        let task = scheduled();
        let dropped = std::sync::atomic::AtomicBool::new(false);
        assert_eq!(task.abort(), Abort::Queued);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                assert_eq!(task.begin(), Begun::Aborted);
                task.await_calls(0);
                assert!(dropped.load(SeqCst));
            });
            std::thread::sleep(std::time::Duration::from_millis(5));
            dropped.store(true, SeqCst);
            assert!(!task.called());
        });
    }

    #[test]
    fn calls_are_awaited() {
        let task = TaskState::scheduled();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                assert_eq!(task.abort(), Abort::Queued);
                task.await_calls(1);
                assert!(!task.called());
                assert!(!task.is_called());
            });
            std::thread::yield_now();
            assert!(!task.called());
        });
    }
}

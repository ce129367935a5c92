//! A call that is behind the gate of a seat: drives the operation and ends it.

use super::seat::{Seat, SeatState};
use super::wakers::Wakers;
use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::base::status::wasm_status as Status;
use crate::guest::batch::Batch;
use crate::guest::context::Context;
use crate::host::waker::Waker;
use crate::metrics::counters::Condition;
use core::cell::RefMut;

/// A call that has passed the gate. Wakers are called when it leaves.
pub(super) struct Entered<'a> {
    pub(super) seat: &'a Seat,
    pub(super) inside: RefMut<'a, SeatState>,
    /// A panic during this call makes the engine unusable. False if the thread was panicking before.
    pub(super) poisons: bool,
    /// After `inside` so that the gate is open again when they are called.
    pub(super) wakers: Wakers,
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.poisons && std::thread::panicking() {
            poison(&self.inside.context);
        }
    }
}

/// Marks the engine of a context as unusable after a panic. Its operation has ended, so it lets go of the host's batch.
#[cold]
pub(super) fn poison(context: &Context) {
    context.poisoned.set(true);
    // What had borrowed it was dropped before, by the same panic.
    if let Some(mut work) = context.try_work() {
        work.note_progress();
        work.batch = Batch::default();
    }
    context.meter.fail(Status::Panic);
    context.meter.note(Condition::Failed);
}

impl Entered<'_> {
    #[inline]
    pub(super) fn drive(&mut self, waker: &mut Waker) -> Result<wasm_poll> {
        if self.inside.supervisor.is_some() {
            return self.supervise(waker);
        }
        let SeatState { engine, sink, .. } = &mut *self.inside;
        engine.poll(sink.as_ref(), waker, &mut self.wakers)
    }

    /// As `drive` under a policy.
    fn supervise(&mut self, waker: &mut Waker) -> Result<wasm_poll> {
        let waits = self.inside.supervisor.as_ref().is_some_and(|supervisor| supervisor.waits_to_start());
        // A new version starts instead of a guest that waits or cannot start.
        let replaced = waits && self.replace();
        let SeatState { engine, supervisor: Some(supervisor), sink, .. } = &mut *self.inside else {
            return Err(Error::new(Status::Internal, "the policy is gone"));
        };
        if replaced {
            return Ok(supervisor.go_on(self.seat, engine.as_mut()));
        }
        supervisor.poll(self.seat, engine.as_mut(), sink.as_ref(), waker, &mut self.wakers)
    }

    /// The operation has completed.
    #[inline(always)]
    pub(super) fn end(&mut self, state: State) {
        self.seat.state.set(state);
        // The sink's drop is the host's code. It runs while the engine counts as busy. So it cannot release the engine
        // during this call.
        self.inside.sink = None;
        let SeatState { engine, supervisor, .. } = &mut *self.inside;
        if let Some(supervisor) = supervisor {
            supervisor.end();
        }
        engine.finish(&mut self.wakers);
    }

    #[cold]
    pub(super) fn fail(&mut self, error: &Error) {
        if self.inside.supervisor.is_some() {
            self.seat.last_error.replace(Some(error.clone()));
        }
        self.stop();
        // The guest of a shared engine may run for others.
        let context = &self.inside.context;
        if context.state.get() == State::Stopped {
            context.meter.note(Condition::Failed);
        }
    }

    /// Stops the engine in any state.
    pub(super) fn stop(&mut self) {
        self.seat.keep_progress();
        // First, because the engine's stop runs callbacks that may ask for the state.
        self.seat.state.set(State::Stopped);
        self.inside.engine.stop();
        self.end(State::Stopped);
    }
}

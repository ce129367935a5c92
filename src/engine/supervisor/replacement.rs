//! A new version in an engine's place: started beside it, then put there between two operations.

use super::{Inner, Step, Supervisor};
use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::base::status::wasm_status as Status;
use crate::compile::factory::Compiled;
use crate::engine::policy::Backoff;
use crate::host::waker::Waker;
use crate::promise::oneshot::Wake as _;
use core::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// A replacement as its future knows it.
#[derive(Default)]
pub struct Switch {
    outcome: Cell<Outcome>,
    /// Of the future, while the new version waits for the end of what is going on.
    waker: Cell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Outcome {
    #[default]
    GoingOn,
    /// The new version is there, and the future was not told yet.
    Switched,
    /// Whatever came of it, the future was told, or is to be told that it was cancelled.
    Over,
}

impl Switch {
    /// Whether the future is worth another poll.
    pub fn is_going_on(&self) -> bool {
        self.outcome.get() != Outcome::Over
    }
}

/// A new version that is starting, or started.
pub struct Replacement {
    switch: Rc<Switch>,
    pub(super) new: Inner,
    /// Its start.
    number: u64,
}

impl Supervisor {
    /// Begins to replace what is there by an engine of the same kind from another factory.
    pub fn replace(&self, compiled: &Arc<Compiled>) -> Result<Rc<Switch>> {
        let _busy = self.enter()?;
        let engine = self.engine.borrow();
        engine.check_free()?;
        if self.replacement.borrow().is_some() {
            let name = &engine.compiled().transform.name;
            let why = format!("transform \"{name}\": the engine cannot be replaced: a replacement is going on already");
            return Err(Error::new(Status::InvalidState, why));
        }
        let new = engine.like(compiled)?;
        self.attach(&new);
        let number = new.start()?;
        let switch = Rc::new(Switch::default());
        *self.replacement.borrow_mut() = Some(Replacement { switch: switch.clone(), new, number });
        Ok(switch)
    }

    /// Drives a replacement. An error means that it is over, and everything as before, unless the error is one of misuse.
    pub fn poll_replacement(&self, switch: &Rc<Switch>, waker: Waker) -> Result<wasm_poll> {
        let mut waiting = None;
        let polled = self.drive_replacement(switch, waker, &mut waiting);
        // When the supervisor is no longer busy.
        if let Some(waker) = waiting {
            waker.wake();
        }
        polled
    }

    fn drive_replacement(&self, switch: &Rc<Switch>, waker: Waker, waiting: &mut Option<Waker>) -> Result<wasm_poll> {
        self.check_thread()?;
        drop(switch.waker.take());
        match switch.outcome.get() {
            Outcome::GoingOn => {}
            Outcome::Switched => {
                switch.outcome.set(Outcome::Over);
                return Ok(wasm_poll::Ready);
            }
            Outcome::Over => {
                return Err(Error::new(Status::Cancelled, "the engine was stopped or released before it was replaced"));
            }
        }
        let _busy = self.enter()?;
        if let Err(e) = self.engine.borrow().check_free() {
            if e.status == Status::Poisoned {
                self.drop_replacement(None);
            }
            return Err(e);
        }
        let mut waker = Some(waker);
        if !self.replacement_due.get() {
            let polled = {
                let slot = self.replacement.borrow();
                let Some(replacement) = &*slot else {
                    return Err(Error::new(Status::Internal, "a replacement is going on, but there is none"));
                };
                replacement.new.poll(replacement.number, waker.take().unwrap_or_else(Waker::none))
            };
            match polled {
                Ok(wasm_poll::Ready) => {
                    self.replacement_due.set(true);
                    *waiting = self.give_up_waiting();
                }
                Err(e) if !e.status.is_misuse() => {
                    self.drop_replacement(None);
                    return Err(e);
                }
                other => return other,
            }
        }
        self.switch_if_due();
        if switch.outcome.get() == Outcome::Switched {
            switch.outcome.set(Outcome::Over);
            return Ok(wasm_poll::Ready);
        }
        match waker {
            Some(waker) => {
                switch.waker.set(Some(waker));
                Ok(wasm_poll::Pending)
            }
            // It was used up by the start.
            None => Ok(wasm_poll::Yielded),
        }
    }

    /// An operation that waits for the policy's timer need not any more: its waker, which is to be called.
    fn give_up_waiting(&self) -> Option<Waker> {
        let mut slot = self.operation.try_borrow_mut().ok()?;
        let step = &mut slot.as_mut()?.step;
        if !matches!(step, Step::Waiting(_)) {
            return None;
        }
        // Should the new version be given up before the next poll, that waits for what is left.
        match core::mem::replace(step, Step::Start) {
            Step::Waiting(waiting) => waiting.give_up(),
            _ => None,
        }
    }

    /// Gives a replacement up, if it is going on.
    pub fn cancel_replacement(&self, switch: &Rc<Switch>) -> Result<()> {
        let _busy = self.enter()?;
        self.engine.borrow().check_not_busy()?;
        self.drop_replacement(Some(switch));
        Ok(())
    }

    /// Gives a replacement up: this one, or any.
    pub(super) fn drop_replacement(&self, only: Option<&Rc<Switch>>) {
        let dropped = {
            let mut slot = self.replacement.borrow_mut();
            match (&*slot, only) {
                (Some(replacement), Some(only)) if !Rc::ptr_eq(&replacement.switch, only) => None,
                _ => slot.take(),
            }
        };
        let Some(dropped) = dropped else { return };
        self.replacement_due.set(false);
        dropped.switch.outcome.set(Outcome::Over);
        let waker = dropped.switch.waker.take();
        // These run callbacks, which find everything in order.
        drop(dropped);
        drop(waker);
    }

    /// Puts a new version that is started in the engine's place, unless an operation is going on. The supervisor is busy.
    pub(super) fn switch_if_due(&self) {
        if self.replacement_due.get() && !matches!(self.state(), State::Starting | State::Transforming) {
            self.switch();
        }
    }

    /// The same whatever the host's operation is: it is between two of the engine's. False if there is no new version, or
    /// the old one is at work further up the call stack.
    pub(super) fn switch(&self) -> bool {
        if !self.replacement_due.get() {
            return false;
        }
        let (old, switch) = {
            let (Ok(mut slot), Ok(mut engine)) = (self.replacement.try_borrow_mut(), self.engine.try_borrow_mut())
            else {
                return false;
            };
            let Some(replacement) = slot.take() else { return false };
            replacement.new.continue_from(engine.number());
            (core::mem::replace(&mut *engine, replacement.new), replacement.switch)
        };
        self.replacement_due.set(false);
        // Also if its host has not come to start the version before, which was to be started for it.
        let left_stopped = old.state() == State::Stopped || self.started_for_host.get();
        self.started_for_host.set(left_stopped);
        self.has_started.set(true);
        self.backoff(Backoff::started);
        switch.outcome.set(Outcome::Switched);
        // Stops it, which runs callbacks; they are told that the engine is busy.
        drop(old);
        if let Some(waker) = switch.waker.take() {
            waker.wake();
        }
        true
    }
}

//! Hot swap: a new version is started beside the engine's guest, and takes its place between two operations.

use super::Engine;
use super::seat::{Entered, Seat};
use super::wakers::WakerSlot;
use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::base::status::wasm_status as Status;
use crate::compile::factory::Compiled;
use crate::host::waker::Waker;
use core::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// A replacement as its future knows it.
#[derive(Default)]
pub struct Switch {
    outcome: Cell<Outcome>,
    /// Of the future, while the new version waits for the end of the operation in progress.
    waker: Rc<WakerSlot>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Outcome {
    #[default]
    InProgress,
    /// The new version is there, and the future was not told yet.
    Switched,
    /// Whatever came of it, the future was told, or is to be told that it was cancelled.
    Over,
}

impl Switch {
    /// Whether the future is worth another poll.
    pub fn is_in_progress(&self) -> bool {
        self.outcome.get() != Outcome::Over
    }
}

/// A new version.
pub struct Replacement {
    switch: Rc<Switch>,
    engine: Box<dyn Engine>,
    /// It is started, and waits for the end of the operation in progress.
    is_due: bool,
}

impl Seat {
    /// Begins to replace the engine by one of the same kind from another factory.
    pub fn replace(&self, compiled: &Arc<Compiled>) -> Result<Rc<Switch>> {
        let mut entered = self.enter()?;
        if entered.inside.replacement.is_some() {
            let name = &entered.inside.engine.compiled().transform.name;
            let why =
                format!("transform \"{name}\": the engine cannot be replaced: a replacement is in progress already");
            return Err(Error::new(Status::InvalidState, why));
        }
        let mut engine = self.kind.make(compiled, &self.attached)?;
        self.attach(engine.context());
        engine.start()?;
        let switch = Rc::new(Switch::default());
        self.new_context.replace(Some(engine.context().clone()));
        entered.inside.replacement = Some(Box::new(Replacement { switch: switch.clone(), engine, is_due: false }));
        Ok(switch)
    }

    /// Drives a replacement. An error means that it is over, and everything as before, unless the error is one of misuse.
    pub fn poll_replacement(&self, switch: &Rc<Switch>, waker: Waker) -> Result<wasm_poll> {
        self.check_thread()?;
        switch.waker.clear();
        match switch.outcome.get() {
            Outcome::InProgress => {}
            Outcome::Switched => {
                switch.outcome.set(Outcome::Over);
                return Ok(wasm_poll::Ready);
            }
            Outcome::Over => {
                return Err(Error::new(Status::Cancelled, "the engine was stopped or released before it was replaced"));
            }
        }
        match self.enter() {
            Ok(mut entered) => entered.drive_replacement(switch, waker),
            Err(e) => {
                if e.status == Status::Poisoned {
                    self.enter_to_stop()?.drop_replacement(None);
                }
                Err(e)
            }
        }
    }

    /// Cancels a replacement, if it is in progress.
    pub fn cancel_replacement(&self, switch: &Rc<Switch>) -> Result<()> {
        self.enter_to_stop()?.drop_replacement(Some(switch));
        Ok(())
    }
}

impl Entered<'_> {
    fn drive_replacement(&mut self, switch: &Rc<Switch>, waker: Waker) -> Result<wasm_poll> {
        let Some(replacement) = &mut self.inside.replacement else {
            return Err(Error::new(Status::Internal, "a replacement is in progress, but there is none"));
        };
        let mut waker = Some(waker);
        if !replacement.is_due {
            let waker = waker.take().unwrap_or_else(Waker::none);
            match replacement.engine.poll(None, waker, &mut self.wakers) {
                Ok(wasm_poll::Ready) => {
                    replacement.is_due = true;
                    replacement.engine.finish(&mut self.wakers);
                    // An operation that waits for the policy's timer need not any more.
                    if let Some(supervisor) = &mut self.inside.supervisor
                        && let Some(waiting) = supervisor.give_up_waiting()
                    {
                        self.wakers.add_waker(waiting);
                    }
                }
                Err(e) if !e.status.had_no_effect() => {
                    self.drop_replacement(None);
                    return Err(e);
                }
                other => return other,
            }
        }
        self.replace_if_due();
        if switch.outcome.get() == Outcome::Switched {
            switch.outcome.set(Outcome::Over);
            return Ok(wasm_poll::Ready);
        }
        match waker {
            Some(waker) => {
                switch.waker.set(waker);
                Ok(wasm_poll::Pending)
            }
            // It was consumed by the start.
            None => Ok(wasm_poll::Yielded),
        }
    }

    /// Cancels a replacement: this one, or any.
    pub(super) fn drop_replacement(&mut self, only: Option<&Rc<Switch>>) {
        let is_it = |replacement: &mut Box<Replacement>| only.is_none_or(|only| Rc::ptr_eq(&replacement.switch, only));
        let Some(mut dropped) = self.inside.replacement.take_if(is_it) else { return };
        self.seat.new_context.replace(None);
        dropped.switch.outcome.set(Outcome::Over);
        dropped.engine.stop();
        dropped.engine.finish(&mut self.wakers);
        // These run callbacks, which find everything in order.
        let switch = dropped.switch.clone();
        drop(dropped);
        switch.waker.clear();
    }

    /// Puts a new version that is started in the engine's place, unless an operation is in progress.
    #[inline]
    pub(super) fn replace_if_due(&mut self) {
        if self.inside.replacement.is_some() && !self.seat.is_working() && self.replace() {
            self.seat.state.set(State::Idle);
        }
    }

    /// The same also within the host's operation: between two of the engine's. False if there is no new version.
    pub(super) fn replace(&mut self) -> bool {
        let Some(replacement) = self.inside.replacement.take_if(|replacement| replacement.is_due) else { return false };
        let Replacement { switch, engine, .. } = *replacement;
        let seat = self.seat;
        // Also if its host has not come to start the version before, which was to be started for it.
        let left_stopped = seat.state.get() == State::Stopped || seat.started_for_host.get();
        let old = core::mem::replace(&mut self.inside.engine, engine);
        self.inside.context = self.inside.engine.context().clone();
        seat.context.replace(self.inside.context.clone());
        seat.new_context.replace(None);
        seat.started_for_host.set(left_stopped);
        seat.note_started();
        if let Some(supervisor) = &mut self.inside.supervisor {
            supervisor.note_started();
        }
        switch.outcome.set(Outcome::Switched);
        // Stops it, which runs callbacks. They are told that the engine is busy.
        drop(old);
        self.wakers.add(&switch.waker);
        true
    }

    /// Whether a replacement has started the engine, which its host left stopped. Asked once.
    pub(super) fn take_started(&self) -> bool {
        self.seat.started_for_host.take()
    }
}

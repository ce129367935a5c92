//! Hot swap: a new version is started beside the engine's guest and replaces it between two operations.

use super::Engine;
use super::entered::{Entered, poison};
use super::seat::{EngineKind, Seat};
use super::wakers::WakerSlot;
use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::base::status::wasm_status as Status;
use crate::compile::factory::Compiled;
use crate::guest::context::Context;
use crate::host::waker::Waker;
use core::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// A replacement as its future knows it.
#[derive(Default)]
pub struct ReplacementState {
    outcome: Cell<ReplacementOutcome>,
    /// The future's waker while the new version waits for the end of the operation in progress.
    waker: Rc<WakerSlot>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum ReplacementOutcome {
    #[default]
    InProgress,
    /// The new version is active. The future has not reported it yet.
    Replaced,
    /// The future has reported the result or is to report that it was cancelled.
    Completed,
}

impl ReplacementState {
    /// Whether the future needs another poll.
    pub fn is_in_progress(&self) -> bool {
        self.outcome.get() != ReplacementOutcome::Completed
    }
}

/// A new version.
pub struct Replacement {
    state: Rc<ReplacementState>,
    engine: Box<dyn Engine>,
    /// The new version is started and waits for the end of the operation in progress.
    is_due: bool,
}

impl Seat {
    /// Begins to replace the engine by one of the same kind from another factory.
    pub fn replace(&self, compiled: &Arc<Compiled>) -> Result<Rc<ReplacementState>> {
        let mut entered = self.enter()?;
        self.check_open()?;
        if entered.inside.replacement.is_some() {
            let why = "the engine cannot be replaced: a replacement is in progress already";
            return Err(entered.inside.engine.compiled().transform.error(Status::InvalidState, why));
        }
        let mut engine = self.kind.make(compiled, &self.attached)?;
        self.attach(engine.context());
        engine.start()?;
        let state = Rc::new(ReplacementState::default());
        self.new_context.replace(Some(engine.context().clone()));
        entered.inside.replacement = Some(Box::new(Replacement { state: state.clone(), engine, is_due: false }));
        Ok(state)
    }

    /// Drives a replacement. After an error the replacement has ended and the engine is unchanged, unless the call had
    /// no effect.
    pub fn poll_replacement(&self, state: &Rc<ReplacementState>, waker: Waker) -> Result<wasm_poll> {
        self.check_thread()?;
        match state.outcome.get() {
            ReplacementOutcome::InProgress => {}
            ReplacementOutcome::Replaced => {
                state.waker.clear();
                state.outcome.set(ReplacementOutcome::Completed);
                return Ok(wasm_poll::Ready);
            }
            ReplacementOutcome::Completed => {
                state.waker.clear();
                return Err(Error::new(Status::Cancelled, "the engine was stopped or released before it was replaced"));
            }
        }
        match self.enter() {
            Ok(mut entered) => {
                // Not before: a poll that is refused leaves the waker of the one before.
                state.waker.clear();
                entered.drive_replacement(state, waker)
            }
            Err(e) => {
                if e.status == Status::Poisoned {
                    self.enter_to_stop()?.drop_replacement(None);
                }
                Err(e)
            }
        }
    }

    /// Cancels a replacement if it is in progress.
    pub fn cancel_replacement(&self, state: &Rc<ReplacementState>) -> Result<()> {
        self.enter_to_stop()?.drop_replacement(Some(state));
        Ok(())
    }
}

/// Marks a new version as unusable if a panic ends its poll.
struct PoisonOnPanic(Rc<Context>);

impl Drop for PoisonOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            poison(&self.0);
        }
    }
}

impl Entered<'_> {
    fn drive_replacement(&mut self, state: &Rc<ReplacementState>, waker: Waker) -> Result<wasm_poll> {
        let Some(replacement) = &mut self.inside.replacement else {
            return Err(Error::new(Status::Internal, "a replacement is in progress, but there is none"));
        };
        let mut waker = Some(waker);
        if !replacement.is_due {
            let mut waker = waker.take().unwrap_or_else(Waker::none);
            // A panic is one of the new version. The engine that is there goes on.
            self.poisons = false;
            let guard = PoisonOnPanic(replacement.engine.context().clone());
            let polled = match guard.0.poisoned.get() {
                false => replacement.engine.poll(None, &mut waker, &mut self.wakers),
                true => Err(Error::new(Status::Poisoned, "the new version is unusable after a panic")),
            };
            drop(guard);
            self.poisons = true;
            match polled {
                Ok(wasm_poll::Ready) => {
                    replacement.is_due = true;
                    replacement.engine.finish(&mut self.wakers);
                    // An operation need not wait for the policy's timer any more.
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
        if state.outcome.get() == ReplacementOutcome::Replaced {
            state.outcome.set(ReplacementOutcome::Completed);
            return Ok(wasm_poll::Ready);
        }
        match waker {
            Some(waker) => {
                state.waker.set(waker);
                Ok(wasm_poll::Pending)
            }
            // The start consumed the waker.
            None => Ok(wasm_poll::Yielded),
        }
    }

    /// Cancels this replacement or any.
    pub(super) fn drop_replacement(&mut self, only: Option<&Rc<ReplacementState>>) {
        let is_it = |replacement: &mut Box<Replacement>| only.is_none_or(|only| Rc::ptr_eq(&replacement.state, only));
        let Some(mut dropped) = self.inside.replacement.take_if(is_it) else { return };
        self.seat.new_context.replace(None);
        dropped.state.outcome.set(ReplacementOutcome::Completed);
        dropped.engine.stop();
        dropped.engine.finish(&mut self.wakers);
        // These run callbacks. The state is consistent by then.
        let state = dropped.state.clone();
        drop(dropped);
        state.waker.clear();
    }

    /// Replaces the engine by a started new version unless an operation is in progress.
    #[inline]
    pub(super) fn replace_if_due(&mut self) {
        if self.inside.replacement.is_some() && !self.seat.is_working() && self.replace() {
            self.seat.state.set(State::Idle);
        }
    }

    /// As `replace_if_due`, also within the host's operation: between two of the engine's. False if there is no new
    /// version.
    pub(super) fn replace(&mut self) -> bool {
        let Some(replacement) = self.inside.replacement.take_if(|replacement| replacement.is_due) else { return false };
        let Replacement { state, engine, .. } = *replacement;
        let seat = self.seat;
        seat.keep_progress();
        // Also if its host has not yet started the previous version, which a replacement had started.
        let left_stopped = seat.state.get() == State::Stopped || seat.started_for_host.get();
        let mut old = core::mem::replace(&mut self.inside.engine, engine);
        let context = self.inside.engine.context().clone();
        if seat.kind == EngineKind::Own {
            context.meter.continue_from(&self.inside.context.meter);
        }
        self.inside.context = context;
        seat.context.replace(self.inside.context.clone());
        seat.new_context.replace(None);
        seat.started_for_host.set(left_stopped);
        seat.note_started();
        if let Some(supervisor) = &mut self.inside.supervisor {
            supervisor.note_replaced(seat);
        }
        state.outcome.set(ReplacementOutcome::Replaced);
        // This stops it and runs callbacks. For them the engine is busy.
        old.stop();
        old.finish(&mut self.wakers);
        drop(old);
        self.wakers.add(&state.waker);
        true
    }
}

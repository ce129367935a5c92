//! How an operation goes on, poll by poll.

use super::body::Body;
use super::{Engine, Operation};
use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::base::status::wasm_status as Status;
use crate::guest::context::{Context, HostCall, Suspended};
use crate::guest::fault;
use crate::guest::program::Program;
use crate::host::call::{Ended, Settled, Waiting};
use crate::host::waker::Waker;
use crate::system::memory::creators;
use core::task::Poll as TaskPoll;

/// The guest's turn on the thread.
struct Turn<'a>(&'a Context);

impl<'a> Turn<'a> {
    #[inline]
    fn begin(context: &'a Context) -> Self {
        context.run_time.begin_turn();
        context.meter.begin_turn();
        Self(context)
    }
}

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.run_time.end_turn();
        self.0.meter.end_turn(self.0.run_time.long_turn());
    }
}

impl Engine {
    /// Drives operation `number`. An error means that it is over, and the engine stopped, unless the error is one of
    /// misuse.
    #[inline]
    pub fn poll(&self, number: u64, waker: Waker) -> Result<wasm_poll> {
        let _busy = self.enter()?;
        if !self.is_going_on(number) {
            return Err(Error::new(Status::Cancelled, "the engine was stopped or released before this was done"));
        }
        let shared = &self.compiled.shared;
        if self.is_guest() {
            let begins = self.state.get() == State::Starting && self.body.borrow().is_none();
            shared.check_signals(begins)?;
            if begins {
                self.check_pool()?;
            }
        }
        let mut operation = self.operation.borrow_mut();
        let outcome = self.drive(&mut operation, waker);
        self.context.count_passed();
        match &outcome {
            Ok(wasm_poll::Ready) => {
                self.context.meter.end();
                let finished = operation.sink.take();
                drop(operation);
                self.state.set(State::Idle);
                self.trim();
                // The sink's drop is the host's code: it runs while the engine still counts as busy, so that it cannot
                // release what this call stands on.
                drop(finished);
            }
            Ok(wasm_poll::Pending | wasm_poll::Yielded) => {}
            Err(e) => {
                self.context.meter.fail(e.status);
                drop(operation);
                self.drop_guest(());
            }
        }
        outcome
    }

    fn drive(&self, operation: &mut Operation, waker: Waker) -> Result<wasm_poll> {
        let mut waker = Some(waker);
        let _turn = Turn::begin(&self.context);
        loop {
            if let Some(receiver) = &operation.hand_over {
                match receiver.poll(|| waker.take().unwrap_or_else(Waker::none)) {
                    None => return Ok(wasm_poll::Pending),
                    Some(Settled::Rejected(why)) => return Err(self.rejected(&why)),
                    Some(_) => {
                        operation.hand_over = None;
                        self.context.work.borrow_mut().output.consume();
                    }
                }
            }
            if let Some(receiver) = &operation.host_call {
                let Some(settled) = receiver.poll(|| waker.take().unwrap_or_else(Waker::none)) else {
                    return Ok(wasm_poll::Pending);
                };
                operation.host_call = None;
                self.context.host_call.set(HostCall::Settled(settled));
            }
            if core::mem::take(&mut operation.output_due)
                && let Some(receiver) = self.hand_over(operation)?
            {
                operation.hand_over = Some(receiver);
                continue;
            }
            if let Some(outcome) = operation.outcome.take() {
                return outcome.map(|()| wasm_poll::Ready);
            }
            if !self.run(operation)? {
                return Ok(wasm_poll::Yielded);
            }
        }
    }

    /// Lets the guest run until there is something to do for the host: true; or until its slice is over: false.
    fn run(&self, operation: &mut Operation) -> Result<bool> {
        if self.context.run_time.turn_is_over() {
            return Ok(false);
        }
        self.context.run_time.resume();
        let mut slot = self.body.borrow_mut();
        let body = match &mut *slot {
            Some(body) => body,
            None => match self.new_body()? {
                Some(body) => slot.insert(body),
                None => return Ok(false),
            },
        };
        let guest = match body {
            Body::Guest(guest) => guest,
            Body::Custom(engagement) => return Ok(self.step(engagement, operation)),
        };
        match guest.resume() {
            TaskPoll::Pending => match self.context.suspended.take() {
                Some(Suspended::ForBatch) => {
                    self.context.note_started();
                    operation.outcome = Some(Ok(()));
                    operation.output_due = true;
                    Ok(true)
                }
                Some(Suspended::ForOutput) => {
                    operation.output_due = true;
                    Ok(true)
                }
                Some(Suspended::ForHost) => {
                    if let HostCall::Waiting(waiting) = self.context.host_call.take() {
                        operation.host_call = Some(waiting);
                    }
                    Ok(true)
                }
                Some(Suspended::SliceOver) => Ok(false),
                None => Err(Error::new(Status::Internal, "the guest was suspended for no reason")),
            },
            TaskPoll::Ready(ended) => {
                if let Some(refusal) = creators::take_refusal() {
                    return Err(self.refused(refusal));
                }
                let Program::Module(code) = &self.compiled.program else {
                    return Err(Error::new(Status::Internal, "a guest without code"));
                };
                let error = fault::explain(ended, &self.context, &code.wrappers);
                self.context.work.borrow_mut().output.drop_unfinished();
                operation.outcome = Some(Err(error));
                operation.output_due = true;
                Ok(true)
            }
        }
    }

    /// Gives the host what output there is. A receiver if it wants time for it.
    #[inline]
    fn hand_over(&self, operation: &Operation) -> Result<Option<Waiting>> {
        let mut work = self.context.work.borrow_mut();
        if work.output.is_empty() {
            return Ok(None);
        }
        let Some(sink) = &operation.sink else { return Ok(None) };
        match sink.accept(work.output.block()) {
            Ended::Done => {
                work.output.consume();
                Ok(None)
            }
            Ended::Pending(receiver) => Ok(Some(receiver)),
            Ended::Failed(why) => Err(self.rejected(&why)),
        }
    }
}

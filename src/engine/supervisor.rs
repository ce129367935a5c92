//! What a policy makes of failures: one operation of the host's may be several of the engine's, when a record is skipped or
//! a start tried again. There is none without a policy.

use super::Engine;
use super::dead_letter::DeadLetter;
use super::drive::rejected;
use super::policy::{Backoff, Policy, wasm_on_error};
use super::seat::Seat;
use super::wakers::Wakers;
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status as Status;
use crate::guest::batch::Batch;
use crate::host::call::{Ended, Settled, Waiting};
use crate::host::sink::OutputSink;
use crate::host::waker::Waker;

/// What comes next in the host's operation. Where one step ends and another begins, the host gets the thread back, since
/// the waker may be consumed.
#[derive(Default)]
enum Step {
    /// There is no operation.
    #[default]
    Idle,
    /// The guest is to start, as soon as the failures before it allow.
    Start,
    /// Time passes until it may.
    Waiting(Waiting),
    /// It is to start at the next poll.
    StartNow,
    /// The engine starts.
    Starting,
    /// The engine transforms.
    Transforming,
    /// The host has not finished with a dead letter, which it reads until then.
    DeadLetter(Waiting, #[allow(dead_code)] DeadLetter),
}

/// A policy at work.
pub struct Supervisor {
    policy: Policy,
    step: Step,
    /// What is left of a batch while the guest is started again. It is not checked again.
    rest: Option<Box<Batch>>,
}

/// A poll of a supervisor: what it drives, and with what.
struct Turn<'a> {
    seat: &'a Seat,
    engine: &'a mut dyn Engine,
    sink: Option<&'a OutputSink>,
    wakers: &'a mut Wakers,
}

impl Supervisor {
    /// No operation yet.
    pub fn new(policy: Policy) -> Self {
        Self { policy, step: Step::Idle, rest: None }
    }

    /// The host begins a start.
    pub fn start(&mut self) {
        self.step = Step::Start;
    }

    /// The host began a transform, which the engine began as well.
    pub fn transform(&mut self) {
        self.step = Step::Transforming;
    }

    /// The host's operation is over.
    pub fn end(&mut self) {
        self.step = Step::Idle;
        self.rest = None;
    }

    /// Whether the guest is not started, for some time to come.
    pub fn waits_to_start(&self) -> bool {
        matches!(self.step, Step::Start | Step::Waiting(_))
    }

    /// The guest was started.
    pub fn note_started(&mut self) {
        if let Some(backoff) = &mut self.policy.backoff {
            backoff.started();
        }
    }

    /// The operation need not wait for the timer any more: its waker, which is to be called. Should the new version be
    /// given up before the next poll, that waits for what is left.
    pub fn give_up_waiting(&mut self) -> Option<Waker> {
        match core::mem::take(&mut self.step) {
            Step::Waiting(waiting) => {
                self.step = Step::Start;
                waiting.close()
            }
            step => {
                self.step = step;
                None
            }
        }
    }

    /// The guest has started. In the middle of a batch, that goes on.
    pub fn go_on(&mut self, engine: &mut dyn Engine) -> wasm_poll {
        match self.rest.take_if(|rest| rest.left() > 0) {
            Some(rest) => {
                engine.resume(rest);
                self.step = Step::Transforming;
                wasm_poll::Yielded
            }
            None => wasm_poll::Ready,
        }
    }

    /// Takes one step of the operation.
    pub fn poll(
        &mut self,
        seat: &Seat,
        engine: &mut dyn Engine,
        sink: Option<&OutputSink>,
        waker: Waker,
        wakers: &mut Wakers,
    ) -> Result<wasm_poll> {
        let mut turn = Turn { seat, engine, sink, wakers };
        match &self.step {
            Step::Idle => Err(Error::new(Status::Internal, "an operation is in progress, but there is none")),
            Step::Start => {
                let ended = self.policy.backoff.as_mut().and_then(Backoff::wait);
                self.wait(&turn, ended)
            }
            Step::Waiting(waiting) => match waiting.poll(|| waker) {
                None => Ok(wasm_poll::Pending),
                // A host that does not want to wait: the guest stays as it is, stopped.
                Some(Settled::Rejected(why)) => Err(not_waited(turn.seat, &why)),
                Some(_) => {
                    self.step = Step::StartNow;
                    self.start_now(&mut turn)
                }
            },
            Step::StartNow => self.start_now(&mut turn),
            Step::Starting => match turn.poll(waker) {
                Ok(wasm_poll::Ready) => {
                    turn.engine.finish(turn.wakers);
                    self.note_started();
                    Ok(self.go_on(turn.engine))
                }
                Err(e) if !e.status.had_no_effect() => self.start_failed(&mut turn, e),
                other => other,
            },
            Step::Transforming => match turn.poll(waker) {
                Err(e) if !e.status.had_no_effect() => self.transform_failed(&mut turn, e),
                other => other,
            },
            Step::DeadLetter(waiting, _) => match waiting.poll(|| waker) {
                None => Ok(wasm_poll::Pending),
                Some(Settled::Rejected(why)) => Err(self.not_taken(&turn, &why)),
                Some(_) => {
                    turn.note_dead_letter();
                    self.step = Step::StartNow;
                    Ok(wasm_poll::Yielded)
                }
            },
        }
    }

    fn start_now(&mut self, turn: &mut Turn<'_>) -> Result<wasm_poll> {
        turn.engine.start()?;
        self.step = Step::Starting;
        turn.seat.count_start();
        Ok(wasm_poll::Yielded)
    }

    /// Starts when the timer says so; now if there is nothing to wait for.
    fn wait(&mut self, turn: &Turn<'_>, ended: Option<Ended>) -> Result<wasm_poll> {
        self.step = match ended {
            None | Some(Ended::Done) => Step::StartNow,
            Some(Ended::Pending(waiting)) => Step::Waiting(waiting),
            Some(Ended::Failed(why)) => return Err(not_waited(turn.seat, &why)),
        };
        Ok(wasm_poll::Yielded)
    }

    /// A start failed. There is another one after a while, if there is a timer.
    fn start_failed(&mut self, turn: &mut Turn<'_>, error: Error) -> Result<wasm_poll> {
        turn.engine.finish(turn.wakers);
        turn.seat.last_error.replace(Some(error.clone()));
        self.note_failure(turn.seat, false);
        match &mut self.policy.backoff {
            Some(backoff) => {
                let ended = backoff.wait();
                self.wait(turn, ended)
            }
            None => Err(error),
        }
    }

    /// The guest failed within a batch.
    fn transform_failed(&mut self, turn: &mut Turn<'_>, error: Error) -> Result<wasm_poll> {
        turn.seat.last_error.replace(Some(error.clone()));
        let on_error = self.policy.on_error;
        let Some(guest) = &error.guest else { return Err(self.failed(turn.seat, error)) };
        if on_error == wasm_on_error::Fail || !error.status.is_guests() {
            return Err(self.failed(turn.seat, error));
        }
        let rest = turn.engine.take_batch();
        // A guest that is started again in the middle of a batch lost a record, which is no reason to wait.
        let next = match guest.record {
            Some(_) if on_error == wasm_on_error::DeadLetter => self.send_dead_letter(turn, &rest, &error)?,
            Some(_) => {
                turn.note_skip();
                Step::StartNow
            }
            // Between two records: nothing is lost, as long as the guest gets on at all.
            None if rest.taken > rest.first => Step::StartNow,
            None => return Err(self.failed(turn.seat, error)),
        };
        turn.engine.finish(turn.wakers);
        self.rest = Some(rest);
        self.step = next;
        Ok(wasm_poll::Yielded)
    }

    /// Gives the sink the record at which the guest failed.
    fn send_dead_letter(&mut self, turn: &Turn<'_>, batch: &Batch, error: &Error) -> Result<Step> {
        let letter =
            DeadLetter::new(&turn.engine.compiled().transform, batch, error).map_err(|e| self.failed(turn.seat, e))?;
        let Some(sink) = turn.sink else {
            return Err(self.failed(turn.seat, Error::new(Status::Internal, "a transform without a sink")));
        };
        match sink.accept(letter.block()) {
            Ended::Done => {
                turn.note_dead_letter();
                Ok(Step::StartNow)
            }
            Ended::Pending(waiting) => Ok(Step::DeadLetter(waiting, letter)),
            Ended::Failed(why) => Err(self.not_taken(turn, &why)),
        }
    }

    fn not_taken(&mut self, turn: &Turn<'_>, why: &str) -> Error {
        self.failed(turn.seat, rejected(&turn.engine.compiled().transform.name, why))
    }

    /// Notes that a transform failed, so that the next start waits.
    fn failed(&mut self, seat: &Seat, error: Error) -> Error {
        self.note_failure(seat, true);
        error
    }

    fn note_failure(&mut self, seat: &Seat, was_running: bool) {
        let failures = self.policy.backoff.as_mut().map(|backoff| {
            backoff.failed(was_running);
            backoff.failures()
        });
        seat.count(|stats| stats.failures = failures.unwrap_or(0));
    }
}

impl Turn<'_> {
    fn poll(&mut self, waker: Waker) -> Result<wasm_poll> {
        self.engine.poll(self.sink, waker, self.wakers)
    }

    fn note_skip(&self) {
        self.seat.count(|stats| stats.skipped += 1);
        self.engine.context().meter.skip();
    }

    fn note_dead_letter(&self) {
        self.seat.count(|stats| stats.dead_lettered += 1);
        self.engine.context().meter.dead_letter();
    }
}

fn not_waited(seat: &Seat, why: &str) -> Error {
    let last = seat.last_error.borrow();
    let (status, details) =
        last.as_ref().map_or((Status::System, String::new()), |e| (e.status, format!("\nIt failed with: {e}")));
    Error::new(status, format!("the guest is not started again, because the timer failed: {why}{details}"))
}

//! Applies a policy to failures. One operation of the host may be several of the engine: a record is skipped or a start
//! is tried again. Exists only with a policy.

use super::Engine;
use super::circuit::{Circuit, Trip, wasm_circuit};
use super::dead_letter::DeadLetter;
use super::drive::rejected;
use super::policy::{Backoff, Policy, wasm_on_error};
use super::seat::Seat;
use super::wakers::Wakers;
use crate::base::description::{Description, in_call};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status as Status;
use crate::guest::batch::Batch;
use crate::host::call::{Ended, Settled, Waiting};
use crate::host::sink::OutputSink;
use crate::host::waker::Waker;
use crate::metrics::registry::BrokenCircuit;
use std::time::Duration;

/// What comes next in the host's operation. The host gets the thread back between two phases because the waker may be
/// consumed.
#[derive(Default)]
enum Phase {
    /// There is no operation.
    #[default]
    Idle,
    /// The guest is to start as soon as the failures before it allow.
    Start,
    /// The guest waits for its start.
    Waiting(Waiting),
    /// The guest is to start at the next poll.
    StartNow,
    /// The engine starts.
    Starting,
    /// The engine transforms.
    Transforming,
    /// A dead letter is taken apart for the sink, a step in each poll.
    TakeApart(DeadLetter, Option<u32>),
    /// The host has not finished with a dead letter. It reads the letter until then.
    DeadLetter(Waiting, #[allow(dead_code)] DeadLetter, Option<u32>),
}

/// A policy and its state.
pub struct Supervisor {
    policy: Policy,
    phase: Phase,
    /// The rest of a batch, and the batches behind it, while the guest is started again. It is not checked again.
    rest: Option<Box<Batch>>,
    /// Counts the circuit in the metrics unless it is closed.
    broken: Option<BrokenCircuit>,
}

/// A poll of a supervisor: what it drives and with what.
struct SupervisedPoll<'a> {
    seat: &'a Seat,
    engine: &'a mut dyn Engine,
    sink: Option<&'a OutputSink>,
    wakers: &'a mut Wakers,
}

impl Supervisor {
    /// No operation yet.
    pub fn new(policy: Policy) -> Self {
        Self { policy, phase: Phase::Idle, rest: None, broken: None }
    }

    /// The host begins a start.
    pub fn start(&mut self) {
        self.phase = Phase::Start;
    }

    /// The host and the engine have begun a transform.
    pub fn transform(&mut self) {
        self.phase = Phase::Transforming;
    }

    /// The host's operation has completed.
    pub fn end(&mut self) {
        self.phase = Phase::Idle;
        self.rest = None;
    }

    /// Whether the guest is not started and waits for that.
    pub fn waits_to_start(&self) -> bool {
        matches!(self.phase, Phase::Start | Phase::Waiting(_))
    }

    /// The guest was started.
    pub fn note_started(&mut self) {
        if let Some(backoff) = &mut self.policy.backoff {
            backoff.started();
        }
    }

    /// A new version has replaced the guest. What the old one lost does not speak against the new one.
    pub fn note_replaced(&mut self, seat: &Seat) {
        self.note_started();
        if let Some(circuit) = &mut self.policy.circuit {
            circuit.close();
        }
        self.show(seat, None);
    }

    /// The operation need not wait for the timer any more. Returns its waker, which is to be called. If the new version
    /// is dropped before the next poll, that poll waits for the rest of the delay.
    pub fn give_up_waiting(&mut self) -> Option<Waker> {
        match core::mem::take(&mut self.phase) {
            Phase::Waiting(waiting) => {
                self.phase = Phase::Start;
                waiting.close()
            }
            phase => {
                self.phase = phase;
                None
            }
        }
    }

    /// The guest has started. If there is the rest of a batch or another batch, the transform continues.
    pub fn go_on(&mut self, seat: &Seat, engine: &mut dyn Engine) -> wasm_poll {
        match self.rest.take_if(|rest| rest.has_more()) {
            Some(rest) => {
                seat.note_running();
                engine.resume(rest);
                self.phase = Phase::Transforming;
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
        waker: &mut Waker,
        wakers: &mut Wakers,
    ) -> Result<wasm_poll> {
        let mut poll = SupervisedPoll { seat, engine, sink, wakers };
        match &self.phase {
            Phase::Idle => Err(Error::new(Status::Internal, "an operation is in progress, but there is none")),
            Phase::Start => {
                let least = self.left();
                let ended = self.policy.backoff.as_mut().and_then(|backoff| backoff.wait(least));
                self.wait(&poll, ended)
            }
            Phase::Waiting(waiting) => match waiting.poll(|| waker.take()) {
                None => Ok(wasm_poll::Pending),
                // The host refused to wait: the guest stays stopped.
                Some(Settled::Rejected(why)) => Err(self.at_rest(not_waited(poll.seat, &why))),
                Some(_) => {
                    self.phase = Phase::StartNow;
                    self.start_now(&mut poll)
                }
            },
            Phase::StartNow => self.start_now(&mut poll),
            Phase::Starting => match poll.poll(waker) {
                Ok(wasm_poll::Ready) => {
                    poll.engine.finish(poll.wakers);
                    self.note_started();
                    Ok(self.go_on(poll.seat, poll.engine))
                }
                Err(e) if !e.status.had_no_effect() => self.start_failed(&mut poll, e),
                other => other,
            },
            Phase::Transforming => match poll.poll(waker) {
                // The batch was refused and the guest is still there. Those before it have passed.
                Err(e) if poll.engine.context().refused.get() => {
                    self.note_passed(&poll, None);
                    Err(e)
                }
                Err(e) if !e.status.had_no_effect() => self.transform_failed(&mut poll, e),
                Ok(wasm_poll::Ready) => {
                    self.note_passed(&poll, None);
                    Ok(wasm_poll::Ready)
                }
                other => other,
            },
            Phase::TakeApart(..) => match core::mem::take(&mut self.phase) {
                Phase::TakeApart(letter, batch) => {
                    self.phase = self.deliver_letter(&poll, letter, batch)?;
                    if matches!(self.phase, Phase::StartNow) {
                        self.note_progress(&poll);
                    }
                    Ok(wasm_poll::Yielded)
                }
                _ => Err(Error::new(Status::Internal, "the dead letter is lost")),
            },
            Phase::DeadLetter(waiting, _, batch) => match waiting.poll(|| waker.take()) {
                None => Ok(wasm_poll::Pending),
                Some(Settled::Rejected(why)) => {
                    let batch = *batch;
                    Err(self.not_taken(&poll, batch, &why))
                }
                Some(_) => {
                    if let Some(sink) = poll.sink {
                        sink.consume();
                    }
                    self.note_dead_letter(&poll);
                    self.note_progress(&poll);
                    self.phase = Phase::StartNow;
                    Ok(wasm_poll::Yielded)
                }
            },
        }
    }

    fn start_now(&mut self, poll: &mut SupervisedPoll<'_>) -> Result<wasm_poll> {
        poll.engine.start().map_err(|e| self.at_rest(e))?;
        self.phase = Phase::Starting;
        poll.seat.count_start();
        if let Some(circuit) = &mut self.policy.circuit
            && circuit.state() == wasm_circuit::Open
        {
            circuit.try_again();
            self.show(poll.seat, Some(poll.engine));
        }
        Ok(wasm_poll::Yielded)
    }

    /// Starts when the timer says so. Starts at once if there is nothing to wait for.
    fn wait(&mut self, poll: &SupervisedPoll<'_>, ended: Option<Ended>) -> Result<wasm_poll> {
        self.phase = match ended {
            None | Some(Ended::Done) => Phase::StartNow,
            Some(Ended::Pending(waiting)) => Phase::Waiting(waiting),
            Some(Ended::Failed(why)) => return Err(self.at_rest(not_waited(poll.seat, &why))),
        };
        Ok(wasm_poll::Yielded)
    }

    /// A start failed. With a timer there is another one after a delay.
    fn start_failed(&mut self, poll: &mut SupervisedPoll<'_>, error: Error) -> Result<wasm_poll> {
        poll.engine.finish(poll.wakers);
        poll.seat.last_error.replace(Some(error.clone()));
        self.note_failure(poll.seat, false);
        if let Err(trip) = self.may_go_on(false) {
            let error = self.at_rest(error);
            return Err(self.open(poll, trip, error));
        }
        if self.policy.backoff.is_none() {
            return Err(self.at_rest(error));
        }
        let ended = self.policy.backoff.as_mut().and_then(|backoff| backoff.wait(Duration::ZERO));
        poll.engine.context().meter.note_restarting();
        self.wait(poll, ended)
    }

    /// The error of a guest that is not there while its batch waits: it names the batch that would have come next.
    fn at_rest(&self, error: Error) -> Error {
        match &self.rest {
            Some(rest) => error.in_batch(rest.index().map(|index| index + u32::from(rest.left() == 0))),
            None => error,
        }
    }

    /// The guest failed within a batch.
    fn transform_failed(&mut self, poll: &mut SupervisedPoll<'_>, error: Error) -> Result<wasm_poll> {
        poll.seat.last_error.replace(Some(error.clone()));
        let on_error = self.policy.on_error;
        self.note_passed(poll, Some(&error));
        let Some(guest) = &error.guest else { return Err(self.failed(poll.seat, error)) };
        if on_error == wasm_on_error::Fail || !error.status.is_guests() {
            let error = match self.half_open() {
                Some(trip) if error.status.is_guests() => self.open(poll, trip, error),
                _ => error,
            };
            return Err(self.failed(poll.seat, error));
        }
        let loses = guest.record.is_some();
        poll.seat.keep_progress();
        let rest = poll.engine.take_batch();
        // Between two records nothing is lost. The guest must have made progress.
        if !loses && rest.taken <= rest.first {
            return Err(self.failed(poll.seat, error));
        }
        if let Err(trip) = self.may_go_on(loses) {
            let error = self.open(poll, trip, error);
            return Err(self.failed(poll.seat, error));
        }
        // A guest that is started again in the middle of a batch lost a record. That is no reason to wait.
        let next = match on_error {
            wasm_on_error::DeadLetter if loses => self.send_dead_letter(poll, &rest, &error)?,
            _ => {
                if loses {
                    self.note_skip(poll);
                }
                Phase::StartNow
            }
        };
        poll.engine.context().meter.note_restarting();
        poll.engine.finish(poll.wakers);
        self.rest = Some(rest);
        // A dead letter that the sink has not taken yet is not lost.
        if matches!(next, Phase::StartNow) {
            self.note_progress(poll);
        }
        self.phase = next;
        Ok(wasm_poll::Yielded)
    }

    /// Gives the sink the record at which the guest failed.
    fn send_dead_letter(&mut self, poll: &SupervisedPoll<'_>, batch: &Batch, error: &Error) -> Result<Phase> {
        let letter = DeadLetter::new(&poll.engine.compiled().transform, batch, error)
            .map_err(|e| self.failed(poll.seat, e.in_batch(batch.index())))?;
        self.deliver_letter(poll, letter, batch.index())
    }

    /// Gives the sink a dead letter, or takes some of it apart before.
    fn deliver_letter(&mut self, poll: &SupervisedPoll<'_>, letter: DeadLetter, batch: Option<u32>) -> Result<Phase> {
        let Some(sink) = poll.sink else {
            return Err(self.failed(poll.seat, Error::new(Status::Internal, "a transform without a sink")));
        };
        let is_ready = !sink.wants_parts() || {
            sink.take_apart(letter.block()).map_err(|e| self.failed(poll.seat, e.in_batch(batch)))?
        };
        if !is_ready {
            return Ok(Phase::TakeApart(letter, batch));
        }
        match sink.accept(letter.block(), letter.batches()) {
            Ended::Done => {
                self.note_dead_letter(poll);
                Ok(Phase::StartNow)
            }
            Ended::Pending(waiting) => Ok(Phase::DeadLetter(waiting, letter, batch)),
            Ended::Failed(why) => Err(self.not_taken(poll, batch, &why)),
        }
    }

    /// The operation goes on behind what the guest had when it failed.
    fn note_progress(&mut self, poll: &SupervisedPoll<'_>) {
        if let Some(rest) = &mut self.rest {
            let progress = rest.progress_behind();
            if let Some(next) = progress.offset {
                poll.engine.context().meter.note_next(next);
            }
            poll.seat.attached.progress.set(Some(progress));
        }
    }

    fn not_taken(&mut self, poll: &SupervisedPoll<'_>, batch: Option<u32>, why: &str) -> Error {
        self.failed(poll.seat, rejected(&poll.engine.compiled().transform, batch, why))
    }

    /// Notes that a transform failed so that the next start waits.
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

    fn note_skip(&mut self, poll: &SupervisedPoll<'_>) {
        poll.seat.count(|stats| stats.skipped += 1);
        poll.engine.context().meter.skip();
        if let Some(circuit) = &mut self.policy.circuit {
            circuit.lose();
        }
    }

    fn note_dead_letter(&mut self, poll: &SupervisedPoll<'_>) {
        poll.seat.count(|stats| stats.dead_lettered += 1);
        poll.engine.context().meter.dead_letter();
        if let Some(circuit) = &mut self.policy.circuit {
            circuit.lose();
        }
    }

    /// The records of a transform have passed or those before the one at which the guest failed.
    fn note_passed(&mut self, poll: &SupervisedPoll<'_>, error: Option<&Error>) {
        let Some(circuit) = &mut self.policy.circuit else { return };
        let fails_at_record = error.and_then(|e| e.guest.as_ref()).is_some_and(|guest| guest.record.is_some());
        let before = circuit.state();
        circuit.pass(poll.engine.context().meter.take_finished().saturating_sub(u64::from(fails_at_record)));
        if circuit.state() != before {
            self.show(poll.seat, Some(&*poll.engine));
        }
    }

    /// Whether the policy may go on after a failure at which a record is lost or none.
    fn may_go_on(&mut self, loses: bool) -> Result<(), Trip> {
        let Some(circuit) = &mut self.policy.circuit else { return Ok(()) };
        let now = self.policy.backoff.as_ref().map_or(Duration::ZERO, Backoff::now);
        circuit.go_on(loses, now)
    }

    /// Why a failure opens a circuit that is half-open.
    fn half_open(&self) -> Option<Trip> {
        self.policy.circuit.as_ref().and_then(Circuit::half_open)
    }

    /// How long an open circuit is to stay open.
    fn left(&self) -> Duration {
        match (&self.policy.circuit, &self.policy.backoff) {
            (Some(circuit), Some(backoff)) if circuit.state() == wasm_circuit::Open => circuit.left(backoff.now()),
            _ => Duration::ZERO,
        }
    }

    /// A threshold was reached: opens the circuit. The failure in other words.
    #[cold]
    fn open(&mut self, poll: &SupervisedPoll<'_>, trip: Trip, cause: Error) -> Error {
        let Some(circuit) = &mut self.policy.circuit else { return cause };
        let now = self.policy.backoff.as_ref().map(Backoff::now);
        circuit.open(now);
        let next = match now.map(|now| circuit.left(now)) {
            Some(left) => format!("the next start waits {left:?} and then tries again"),
            None => "the next start tries again".into(),
        };
        poll.seat.count(|stats| stats.stops += 1);
        poll.engine.context().meter.stop_by_policy();
        self.show(poll.seat, Some(&*poll.engine));
        stopped(&poll.engine.compiled().transform, &trip, &next, cause)
    }

    /// Shows the circuit's state to the host.
    fn show(&mut self, seat: &Seat, engine: Option<&dyn Engine>) {
        let circuit = self.policy.circuit.as_ref().map_or(wasm_circuit::Closed, Circuit::state);
        seat.count(|stats| stats.circuit = circuit);
        // First, so that no circuit counts twice.
        drop(self.broken.take());
        self.broken = match (circuit, engine) {
            (wasm_circuit::Closed, _) | (_, None) => None,
            (state, Some(engine)) => Some(engine.context().meter.broken_circuit(state == wasm_circuit::HalfOpen)),
        };
    }
}

/// The error of a policy that stops. Its details are those of the failure.
fn stopped(transform: &Description, trip: &Trip, next: &str, cause: Error) -> Error {
    let batch = in_call(Some(cause.batch).filter(|&batch| batch > 0));
    let at = cause.guest.as_ref().and_then(|guest| guest.record).map_or_else(String::new, |record| {
        format!(" at record {} of the batch (offset {}), which is not lost", record.index, record.offset)
    });
    let what = if at.is_empty() { "" } else { ", or continue behind the record if it may be lost" };
    let failure = cause.status.name().to_string_lossy();
    let message = format!(
        "{transform}{batch}: the policy stopped the guest{at}: {trip}. The circuit is open: {next}. Correct the guest \
         and replace it{what}\nIt failed with {failure}: {}",
        cause.message
    );
    let mut guest = cause.guest.unwrap_or_default();
    guest.cause = Some(cause.status);
    Error { status: Status::PolicyThreshold, message, batch: cause.batch, guest: Some(guest) }
}

impl SupervisedPoll<'_> {
    fn poll(&mut self, waker: &mut Waker) -> Result<wasm_poll> {
        self.engine.poll(self.sink, waker, self.wakers)
    }
}

fn not_waited(seat: &Seat, why: &str) -> Error {
    let last = seat.last_error.borrow();
    let (status, details) =
        last.as_ref().map_or((Status::System, String::new()), |e| (e.status, format!("\nIt failed with: {e}")));
    Error::new(status, format!("the guest is not started again because the timer failed: {why}{details}"))
}

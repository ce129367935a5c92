//! What an operation does, step by step.

use super::{Operation, Step, Supervisor, Transform};
use crate::base::error::{Error, RecordAt, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status as Status;
use crate::batch::header::wasm_batch_header;
use crate::engine::dead_letter::Letter;
use crate::engine::policy::{Backoff, wasm_on_error};
use crate::host::call::{Ended, Settled};
use crate::host::waker::Waker;

impl Supervisor {
    /// One step. Where one ends and another begins, the host gets the thread back, since the waker may be used up.
    pub(super) fn drive(&self, operation: &mut Operation, waker: Waker) -> Result<wasm_poll> {
        if matches!(operation.step, Step::Start | Step::Waiting(_)) && self.switch() {
            // Instead of the guest that may not, or cannot, start.
            self.started_for_host.set(false);
            return self.go_on(operation);
        }
        match &mut operation.step {
            Step::Start => {
                let ended = self.backoff(Backoff::wait).flatten();
                self.wait(operation, ended)
            }
            Step::Waiting(waiting) => match waiting.poll(|| waker) {
                None => Ok(wasm_poll::Pending),
                // A host that does not want to wait: the guest stays as it is, stopped.
                Some(Settled::Rejected(why)) => Err(self.not_waited(&why)),
                Some(_) => {
                    operation.step = Step::StartNow;
                    self.start_now(operation)
                }
            },
            Step::StartNow => self.start_now(operation),
            Step::Starting(inner) => {
                let polled = self.engine.borrow().poll(*inner, waker);
                match polled {
                    Ok(wasm_poll::Ready) => {
                        self.backoff(Backoff::started);
                        self.go_on(operation)
                    }
                    Err(e) if !e.status.is_misuse() => self.start_failed(operation, e),
                    other => other,
                }
            }
            Step::Transforming(inner) => {
                let polled = self.engine.borrow().poll(*inner, waker);
                match polled {
                    Err(e) if !e.status.is_misuse() => self.transform_failed(operation, e),
                    other => other,
                }
            }
            Step::Letter(waiting, _) => match waiting.poll(|| waker) {
                None => Ok(wasm_poll::Pending),
                Some(Settled::Rejected(why)) => Err(self.failed(self.rejected(&why))),
                Some(_) => {
                    self.note_dead_letter();
                    operation.step = Step::StartNow;
                    Ok(wasm_poll::Yielded)
                }
            },
        }
    }

    /// The guest has started. In the middle of a batch, that goes on.
    fn go_on(&self, operation: &mut Operation) -> Result<wasm_poll> {
        let Some(transform) = &operation.transform else { return Ok(wasm_poll::Ready) };
        if transform.next >= wasm_batch_header::parse(transform.batch)?.record_count as u32 {
            return Ok(wasm_poll::Ready);
        }
        #[allow(unsafe_code)]
        // SAFETY: the engine's operation ends before this one, which owns the sink.
        let sink = unsafe { transform.sink.lent() };
        let inner = self.engine.borrow().transform(transform.batch, transform.next, sink)?;
        operation.step = Step::Transforming(inner);
        Ok(wasm_poll::Yielded)
    }

    fn start_now(&self, operation: &mut Operation) -> Result<wasm_poll> {
        operation.step = Step::Starting(self.engine.borrow().start()?);
        self.count_start();
        Ok(wasm_poll::Yielded)
    }

    /// Starts when the timer says so; now if there is nothing to wait for.
    fn wait(&self, operation: &mut Operation, ended: Option<Ended>) -> Result<wasm_poll> {
        operation.step = match ended {
            None | Some(Ended::Done) => Step::StartNow,
            Some(Ended::Pending(waiting)) => Step::Waiting(waiting),
            Some(Ended::Failed(why)) => return Err(self.not_waited(&why)),
        };
        Ok(wasm_poll::Yielded)
    }

    fn rejected(&self, why: &str) -> Error {
        self.engine.borrow().compiled().rejected(why)
    }

    fn not_waited(&self, why: &str) -> Error {
        let last = self.last_error.borrow();
        let (status, story) =
            last.as_ref().map_or((Status::System, String::new()), |e| (e.status, format!("\nIt failed with: {e}")));
        Error::new(status, format!("the guest is not started again, because the timer failed: {why}{story}"))
    }

    /// A start failed: it is tried again after a while, if there is a timer.
    fn start_failed(&self, operation: &mut Operation, error: Error) -> Result<wasm_poll> {
        self.last_error.replace(Some(error.clone()));
        self.note_failure(false);
        match self.backoff(Backoff::wait) {
            Some(ended) => self.wait(operation, ended),
            None => Err(error),
        }
    }

    /// The guest ended within a batch.
    fn transform_failed(&self, operation: &mut Operation, error: Error) -> Result<wasm_poll> {
        self.last_error.replace(Some(error.clone()));
        let on_error = self.policy.borrow().as_ref().map_or(wasm_on_error::Fail, |policy| policy.on_error);
        let (Some(transform), Some(guest)) = (&mut operation.transform, &error.guest) else {
            return Err(self.failed(error));
        };
        if on_error == wasm_on_error::Fail || !error.status.is_guests() {
            return Err(self.failed(error));
        }
        let next = match guest.record {
            Some(record) => {
                transform.next = record.index + 1;
                match on_error {
                    wasm_on_error::DeadLetter => self.send_letter(transform, record, &error)?,
                    _ => {
                        self.note_skip();
                        Step::StartNow
                    }
                }
            }
            // Between two records: nothing is lost, as long as the guest gets on at all.
            None if guest.taken > transform.next => {
                transform.next = guest.taken;
                Step::StartNow
            }
            None => return Err(self.failed(error)),
        };
        // A guest that is started again in the middle of a batch lost a record, which is no reason to wait.
        operation.step = next;
        Ok(wasm_poll::Yielded)
    }

    /// Gives the sink the record at which the guest ended.
    fn send_letter(&self, transform: &Transform, record: RecordAt, error: &Error) -> Result<Step> {
        let letter =
            Letter::new(self.engine.borrow().compiled(), transform.batch, record, error).map_err(|e| self.failed(e))?;
        match transform.sink.accept(letter.block()) {
            Ended::Done => {
                self.note_dead_letter();
                Ok(Step::StartNow)
            }
            // The host reads a pending block until it has settled its promise.
            Ended::Pending(waiting) => Ok(Step::Letter(waiting, letter)),
            Ended::Failed(why) => Err(self.failed(self.rejected(&why))),
        }
    }

    /// Notes that a transform failed, so that the next start waits.
    fn failed(&self, error: Error) -> Error {
        self.note_failure(true);
        error
    }

    fn note_failure(&self, was_running: bool) {
        let failures = self.backoff(|backoff| {
            backoff.failed(was_running);
            backoff.failures()
        });
        self.count(|stats| stats.failures = failures.unwrap_or(0));
    }

    pub(super) fn backoff<T>(&self, act: impl FnOnce(&mut Backoff) -> T) -> Option<T> {
        self.policy.borrow_mut().as_mut()?.backoff.as_mut().map(act)
    }
}

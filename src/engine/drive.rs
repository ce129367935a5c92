//! How polls drive an operation.

use super::body::Body;
use super::runner::Runner;
use crate::base::description::Description;
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status as Status;
use crate::compile::factory::Compiled;
use crate::guest::context::{Context, HostCall, Suspended};
use crate::guest::custom::Instance;
use crate::guest::fault;
use crate::guest::instance::GuestEnd;
use crate::guest::program::Program;
use crate::guest::work::Work;
use crate::host::call::{Ended, Settled, Waiting};
use crate::host::sink::{OutputSink, wasm_output_record};
use crate::host::waker::Waker;
use crate::system::memory::creators;
use core::task::Poll as TaskPoll;
use std::rc::Rc;
use std::sync::Arc;

/// What comes next in an operation.
#[derive(Default)]
pub enum Next {
    /// The batch is checked.
    Check,
    /// The memory of a large batch is given back. Then the operation has completed. An error is that of a refused
    /// batch.
    Free(Result<(), Box<Error>>),
    /// The guest runs.
    #[default]
    Run,
    /// The promise of the host call in the context must be settled.
    HostCall,
    /// Output goes to the host.
    Deliver(Then),
    /// The host has not finished with a block of output. Its promise is in the runner: this is moved with each step.
    Delivering(Then),
}

/// What comes after the host has the output.
pub enum Then {
    /// The guest continues.
    Run,
    /// The next batch is checked.
    Check,
    /// The guest waits for the host.
    HostCall,
    /// Other tasks run.
    Yield,
    /// The operation fails because its next batch was refused.
    Refuse(Box<Error>),
    /// The operation has completed. Boxed for the same reason.
    End(Result<(), Box<Error>>),
}

/// How far the available output has come.
enum Delivered {
    /// The host has all of it.
    All,
    /// The host needs time for a block.
    Waits(Waiting),
    /// The slice has ended while a block was taken apart.
    SliceOver,
}

/// One poll of the guest's thread time: from the poll's beginning to its end.
pub struct ActivePoll<'a> {
    compiled: &'a Arc<Compiled>,
    context: &'a Rc<Context>,
    instance: &'a Option<Rc<Instance>>,
    sink: Option<&'a OutputSink>,
}

impl Drop for ActivePoll<'_> {
    #[inline]
    fn drop(&mut self) {
        self.context.run_time.end_turn();
        self.context.meter.end_turn(self.context.run_time.long_turn());
    }
}

impl Runner {
    /// Drives the operation until it completes or has to wait.
    #[inline]
    pub(super) fn drive(&mut self, sink: Option<&OutputSink>, waker: &mut Waker) -> Result<wasm_poll> {
        let Self { compiled, context, body, instance, next, taking } = self;
        context.run_time.begin_turn();
        context.meter.begin_turn();
        ActivePoll { compiled, context, instance, sink }.drive(body, next, taking, waker)
    }
}

impl ActivePoll<'_> {
    /// If an error ends this, the next operation begins with `Run`. `later` is left as that unless the batch was
    /// refused. `taking` has the promise of a block that the host has not finished with.
    fn drive(
        &self,
        body: &mut Option<Body>,
        later: &mut Next,
        taking: &mut Option<Waiting>,
        waker: &mut Waker,
    ) -> Result<wasm_poll> {
        let mut next = core::mem::take(later);
        loop {
            let then = match next {
                Next::Check => match self.check() {
                    Ok(true) => Then::Run,
                    Ok(false) if self.context.see().holds_completed() => {
                        next = Next::Deliver(Then::Check);
                        continue;
                    }
                    Ok(false) => {
                        *later = next;
                        return Ok(wasm_poll::Yielded);
                    }
                    Err(e) => {
                        // A custom engine's output may wait for that of this batch.
                        next = Next::Deliver(Then::Refuse(Box::new(e)));
                        continue;
                    }
                },
                Next::Free(outcome) => {
                    if !self.free() {
                        *later = Next::Free(outcome);
                        return Ok(wasm_poll::Yielded);
                    }
                    return match outcome {
                        Ok(()) if self.context.work().begin_next() => {
                            next = Next::Check;
                            continue;
                        }
                        Ok(()) => Ok(wasm_poll::Ready),
                        Err(refused) => {
                            *later = Next::Check;
                            Err(*refused)
                        }
                    };
                }
                Next::Run => match self.run(body)? {
                    Some(something) => {
                        next = something;
                        continue;
                    }
                    None => return Ok(wasm_poll::Yielded),
                },
                Next::HostCall => {
                    if !poll_host_call(self.context, waker) {
                        *later = next;
                        return Ok(wasm_poll::Pending);
                    }
                    Then::Run
                }
                Next::Deliver(then) => match self.deliver()? {
                    Delivered::All => then,
                    Delivered::Waits(waiting) => {
                        *taking = Some(waiting);
                        next = Next::Delivering(then);
                        continue;
                    }
                    Delivered::SliceOver => {
                        *later = Next::Deliver(then);
                        return Ok(wasm_poll::Yielded);
                    }
                },
                Next::Delivering(then) => {
                    if !self.poll_delivery(taking, waker)? {
                        *later = Next::Delivering(then);
                        return Ok(wasm_poll::Pending);
                    }
                    if self.consume(&mut self.context.work()) {
                        next = Next::Deliver(then);
                        continue;
                    }
                    then
                }
            };
            match then {
                Then::Run => next = Next::Run,
                Then::Check => next = Next::Check,
                Then::HostCall => next = Next::HostCall,
                Then::Yield => return Ok(wasm_poll::Yielded),
                Then::Refuse(e) => next = Next::Free(Err(e)),
                Then::End(Ok(())) => next = Next::Free(Ok(())),
                Then::End(Err(e)) => return Err(*e),
            }
        }
    }

    /// Checks the batch. False if the slice has ended before.
    #[inline]
    fn check(&self) -> Result<bool> {
        let work = &mut *self.context.work();
        if let Some(refusal) = work.batch.take_refusal() {
            return Err(self.refused(work.batch.index(), refusal));
        }
        loop {
            if work.check(self.context.rules).map_err(|e| self.refused(work.batch.index(), e))? {
                return Ok(true);
            }
            if self.context.run_time.turn_is_over() {
                return Ok(false);
            }
        }
    }

    #[cold]
    fn refused(&self, batch: Option<u32>, why: Error) -> Error {
        self.compiled.transform.error_in_batch(batch, why.status, why.message)
    }

    /// Gives the memory of the batch back. False if the slice has ended before.
    #[inline]
    fn free(&self) -> bool {
        let records = &mut self.context.work().batch.records;
        while !records.free_some() {
            if self.context.run_time.turn_is_over() {
                return false;
            }
        }
        true
    }

    /// Lets the guest run until there is work for the host. None if its slice has ended.
    #[inline]
    fn run(&self, slot: &mut Option<Body>) -> Result<Option<Next>> {
        if self.context.run_time.turn_is_over() {
            return Ok(self.before_pause(None));
        }
        self.context.run_time.resume();
        let body = match slot {
            Some(body) => body,
            None => match Body::new(self.compiled, self.context, self.instance)? {
                Some(body) => slot.insert(body),
                None => return Ok(None),
            },
        };
        let guest = match body {
            Body::Guest(guest) => guest,
            Body::Custom(engine) => return Ok(self.before_pause(engine.take_step(self.context))),
        };
        self.context.note_between(false);
        match guest.resume() {
            TaskPoll::Pending => match self.context.suspended.take() {
                Some(Suspended::ForBatch) => {
                    self.context.note_started();
                    Ok(Some(Next::Deliver(Then::End(Ok(())))))
                }
                Some(Suspended::ForCheck) => Ok(Some(Next::Deliver(Then::Check))),
                Some(Suspended::ForOutput) => Ok(Some(Next::Deliver(Then::Run))),
                Some(Suspended::ForHost) => Ok(self.before_pause(Some(Next::HostCall))),
                Some(Suspended::SliceOver) => {
                    self.context.note_between(true);
                    Ok(self.before_pause(None))
                }
                None => Err(Error::new(Status::Internal, "the guest was suspended without a reason")),
            },
            TaskPoll::Ready(ended) => self.explain(ended).map(Some),
        }
    }

    /// The poll may end before the batch does. The output of the batches before goes to the host first.
    #[inline]
    fn before_pause(&self, next: Option<Next>) -> Option<Next> {
        if !self.context.see().holds_completed() {
            return next;
        }
        match next {
            // The guest's code may be about to publish a record. Nothing may move then.
            None if self.context.is_open() => None,
            None => Some(Next::Deliver(Then::Yield)),
            Some(Next::HostCall) => Some(Next::Deliver(Then::HostCall)),
            other => other,
        }
    }

    /// The guest ended.
    #[cold]
    fn explain(&self, ended: GuestEnd) -> Result<Next> {
        if let Some(refusal) = creators::take_refusal() {
            return Err(not_started(self.compiled, refusal));
        }
        let Program::Module(code) = &self.compiled.program else {
            return Err(Error::new(Status::Internal, "a guest without code"));
        };
        Ok(Next::failed(self.context, fault::explain(ended, self.context, code)))
    }

    /// Delivers the available output to the host.
    #[inline]
    fn deliver(&self) -> Result<Delivered> {
        let mut work = self.context.work();
        let (false, Some(sink)) = (work.output.is_empty(), self.sink) else { return Ok(Delivered::All) };
        loop {
            work.prepare_block();
            drop(work);
            // Lent, not taken: the callback may ask for the progress.
            let seen = self.context.see();
            let (records, batches) = seen.block();
            if sink.wants_parts() && !self.take_apart(sink, records)? {
                return Ok(Delivered::SliceOver);
            }
            let ended = sink.accept(records, batches);
            drop(seen);
            match ended {
                Ended::Done => {
                    work = self.context.work();
                    if !self.consume(&mut work) {
                        return Ok(Delivered::All);
                    }
                }
                Ended::Pending(waiting) => return Ok(Delivered::Waits(waiting)),
                Ended::Failed(why) => return Err(self.rejected(&why)),
            }
        }
    }

    /// Whether the host has finished with the block that it wanted time for.
    #[inline(never)]
    fn poll_delivery(&self, taking: &mut Option<Waiting>, waker: &mut Waker) -> Result<bool> {
        let settled = match taking {
            Some(waiting) => waiting.poll(|| waker.take()),
            None => return Err(Error::new(Status::Internal, "the promise of a block is lost")),
        };
        if settled.is_some() {
            *taking = None;
        }
        match settled {
            None => Ok(false),
            Some(Settled::Rejected(why)) => Err(self.rejected(&why)),
            Some(_) => {
                if let Some(sink) = self.sink {
                    sink.consume();
                }
                Ok(true)
            }
        }
    }

    /// Takes a block apart for a sink that wants that. False if the slice has ended before.
    #[cold]
    fn take_apart(&self, sink: &OutputSink, records: &[wasm_output_record]) -> Result<bool> {
        while !sink.take_apart(records)? {
            if self.context.run_time.turn_is_over() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The host has the block. Whether there is another one.
    #[inline(always)]
    fn consume(&self, work: &mut Work) -> bool {
        if self.context.meter.has_topics() {
            self.context.meter.count_topics(work.output.block());
        }
        work.consume()
    }

    #[cold]
    fn rejected(&self, why: &str) -> Error {
        rejected(&self.compiled.transform, self.context.see().delivered_batch(), why)
    }
}

impl Next {
    /// The guest failed: the host gets the output of the records before and then the error.
    pub fn failed(context: &Context, error: Error) -> Self {
        context.work().drop_unfinished();
        Self::Deliver(Then::End(Err(Box::new(error))))
    }
}

/// A start for which there was no memory or stack.
pub fn not_started(compiled: &Compiled, why: Error) -> Error {
    Error::new(why.status, format!("{} could not start: {}", compiled.transform, why.message))
}

/// Whether the host call that the guest waits for is settled. Promise and result stay where the host function finds
/// them.
fn poll_host_call(context: &Context, waker: &mut Waker) -> bool {
    let HostCall::Waiting(waiting) = context.host_call.take() else { return true };
    match waiting.poll(|| waker.take()) {
        None => {
            context.host_call.set(HostCall::Waiting(waiting));
            false
        }
        Some(settled) => {
            context.host_call.set(HostCall::Settled(settled));
            true
        }
    }
}

/// The error of a sink that did not take its output. `batch` is the first one whose output that was.
pub fn rejected(transform: &Description, batch: Option<u32>, why: &str) -> Error {
    transform.error_in_batch(batch, Status::OutputRejected, format_args!("its output was not taken: {why}"))
}

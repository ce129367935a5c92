//! One engine of a factory for all of its users on a thread.
//!
//! Each user has the contract of an engine of its own. Their operations share one queue: starts while the guest does
//! not run and transforms. The user at the front drives the engine with its own polls.

mod queue;

use super::Engine;
use super::attached::Attached;
use super::runner::check_start;
use super::wakers::Wakers;
use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::base::status::wasm_status as Status;
use crate::batch::input::Input;
use crate::compile::factory::Compiled;
use crate::guest::batch::{Batch, check_first};
use crate::guest::batches::Batches;
use crate::guest::context::Context;
use crate::guest::progress::Progress;
use crate::host::sink::OutputSink;
use crate::host::waker::Waker;
use queue::{SharedEngine, Ticket};
use std::rc::Rc;
use std::sync::Arc;

/// A user's operation.
struct QueuedOperation {
    ticket: Rc<Ticket>,
    /// The batch of a transform that has not begun.
    waiting: Option<WaitingBatch>,
    /// The runner works for this operation.
    runs: bool,
}

/// A batch that waits for the engine.
enum WaitingBatch {
    /// As the host gave it, and the first record. All batches if there are several.
    New(Input<'static>, u32, Option<Box<Batches>>),
    /// The rest of one that was checked.
    Rest(Box<Batch>),
}

impl WaitingBatch {
    /// How many batches wait.
    fn count(&self) -> i64 {
        match self {
            Self::New(_, _, batches) => batches.as_ref().map_or(1, |batches| batches.left() as i64),
            Self::Rest(batch) => batch.batches_left() as i64,
        }
    }
}

/// A user of a thread's shared engine.
pub struct SharedUser {
    shared: Rc<SharedEngine>,
    /// Unique among the engine's users.
    id: u64,
    attached: Rc<Attached>,
    operation: Option<QueuedOperation>,
    /// Counted among the users that are not stopped.
    is_started: bool,
    /// The user stops when the operation has completed.
    ends: bool,
    has_left: bool,
}

impl SharedUser {
    /// A stopped user of this thread's engine from `compiled`.
    pub fn new(compiled: &Arc<Compiled>, attached: Rc<Attached>) -> Result<Self> {
        let shared = SharedEngine::of_thread(compiled)?;
        let id = shared.newest.get() + 1;
        shared.newest.set(id);
        Ok(Self { shared, id, attached, operation: None, is_started: false, ends: false, has_left: false })
    }

    fn take_turn(&self) {
        self.shared.turn.set(self.id);
        self.attached.take_turn(&self.shared.context);
    }

    /// A transform that waits for its turn.
    fn wait(&mut self, batch: WaitingBatch) {
        self.shared.context.meter.queued(batch.count());
        self.enqueue(Some(batch));
    }

    fn enqueue(&mut self, waiting: Option<WaitingBatch>) {
        let runs = waiting.is_none();
        if runs {
            self.attached.progress.set(None);
        }
        self.operation = Some(QueuedOperation { ticket: self.shared.enqueue(false), waiting, runs });
    }

    /// The user has the turn: begins the first step.
    fn begin_turn(&mut self) -> Result<()> {
        self.take_turn();
        // What another user's operation left is not this one's.
        self.shared.context.meter.take_finished();
        let mut runner = self.shared.runner()?;
        let Some(operation) = &mut self.operation else { return Ok(()) };
        if self.shared.context.state.get() == State::Stopped {
            runner.start()?;
        } else {
            let missing = || Error::new(Status::Internal, "the shared engine runs but a start was not notified");
            let batch = operation.waiting.take().ok_or_else(missing)?;
            self.shared.context.meter.queued(-batch.count());
            match batch {
                WaitingBatch::New(input, first, batches) => runner.transform(input, first, batches)?,
                WaitingBatch::Rest(batch) => runner.resume(batch),
            }
            self.attached.progress.set(None);
        }
        operation.runs = true;
        Ok(())
    }
}

impl Engine for SharedUser {
    fn context(&self) -> &Rc<Context> {
        &self.shared.context
    }

    fn compiled(&self) -> &Arc<Compiled> {
        &self.shared.compiled
    }

    fn check_start(&self) -> Result<()> {
        check_start(&self.shared.compiled)
    }

    fn start(&mut self) -> Result<()> {
        self.check_start()?;
        let ticket = if self.shared.runs() { Ticket::new(true, true) } else { self.shared.enqueue(true) };
        self.shared.started.set(self.shared.started.get() + 1);
        self.is_started = true;
        self.operation = Some(QueuedOperation { ticket, waiting: None, runs: false });
        Ok(())
    }

    fn transform(&mut self, input: Input<'static>, first: u32, batches: Option<Box<Batches>>) -> Result<()> {
        if self.shared.is_free() {
            self.take_turn();
            self.shared.runner()?.transform(input, first, batches)?;
            self.enqueue(None);
            return Ok(());
        }
        check_first(input, first)?;
        self.attached.progress.set(Some(Progress::waiting(first)));
        self.wait(WaitingBatch::New(input, first, batches));
        Ok(())
    }

    fn resume(&mut self, batch: Box<Batch>) {
        self.wait(WaitingBatch::Rest(batch));
    }

    fn poll(&mut self, sink: Option<&OutputSink>, waker: &mut Waker, wakers: &mut Wakers) -> Result<wasm_poll> {
        let Some(QueuedOperation { ticket, runs, .. }) = &self.operation else {
            return Err(Error::new(Status::Internal, "an operation is in progress, but there is none"));
        };
        ticket.waker.clear();
        if ticket.done.get() || self.is_start_done() {
            return Ok(wasm_poll::Ready);
        }
        if !self.shared.is_first(ticket) {
            ticket.waker.set(waker.take());
            return Ok(wasm_poll::Pending);
        }
        if !*runs {
            self.begin_turn()?;
        }
        let starts = self.shared.context.state.get() == State::Starting;
        let polled = self.shared.runner()?.poll(sink, waker, wakers);
        match &polled {
            Ok(wasm_poll::Ready) if starts => {
                self.shared.note_started(wakers);
                if let Some(operation) = &mut self.operation
                    && operation.waiting.is_some()
                {
                    // The batch comes next. The waker is consumed. So that needs another poll.
                    operation.runs = false;
                    return Ok(wasm_poll::Yielded);
                }
            }
            // A user whose batch was refused goes on.
            Err(e) if !e.status.had_no_effect() && !self.shared.context.refused.get() => self.ends = true,
            _ => {}
        }
        polled
    }

    fn take_batch(&mut self) -> Box<Batch> {
        // This user has the turn until `finish` and the runner has returned.
        self.shared.runner().map(|mut runner| runner.take_batch()).unwrap_or_default()
    }

    fn stop(&mut self) {
        let runs = self.operation.as_ref().is_some_and(|operation| operation.runs);
        if runs && let Ok(mut runner) = self.shared.runner() {
            // The guest has seen part of a batch that is no longer valid. So the guest is dropped too.
            runner.stop();
        }
        self.ends = true;
    }

    fn finish(&mut self, wakers: &mut Wakers) {
        if let Some(operation) = self.operation.take() {
            if operation.runs
                && let Ok(mut runner) = self.shared.runner()
            {
                // The context goes to others. That of a new version which only starts knows nothing of this operation.
                if !operation.ticket.is_start() && self.attached.progress.get().is_none() {
                    self.attached.progress.set(self.shared.context.progress());
                }
                runner.finish(wakers);
            }
            self.shared.dequeue(&operation.ticket, wakers);
            operation.ticket.waker.clear();
            if let Some(waiting) = &operation.waiting {
                self.shared.context.meter.queued(-waiting.count());
            }
        }
        if core::mem::take(&mut self.ends) && core::mem::take(&mut self.is_started) {
            let started = self.shared.started.get() - 1;
            self.shared.started.set(started);
            if started == 0 {
                self.take_turn();
                // Nothing can be in progress: that would belong to a user that is not stopped.
                if let Ok(mut runner) = self.shared.runner() {
                    runner.stop();
                    runner.finish(wakers);
                }
            }
        }
    }

    fn leave(&mut self) {
        if core::mem::replace(&mut self.has_left, true) {
            return;
        }
        if self.shared.part() {
            self.take_turn();
            self.shared.close();
        }
        if self.shared.turn.get() == self.id {
            // Its host may free what this points to.
            self.shared.context.attach(core::ptr::null_mut(), core::ptr::null_mut());
        }
    }
}

impl SharedUser {
    /// Whether this user only waits for a start that others have completed.
    fn is_start_done(&self) -> bool {
        let waits = |operation: &QueuedOperation| operation.ticket.is_start() && !operation.runs;
        self.operation.as_ref().is_some_and(waits) && self.shared.runs()
    }
}

impl Drop for SharedUser {
    fn drop(&mut self) {
        let mut wakers = Wakers::default();
        self.stop();
        self.finish(&mut wakers);
        self.leave();
    }
}

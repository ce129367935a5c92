//! A guest on its thread or a custom engine of the host: started, given batches, stopped and started again.

use super::Engine;
use super::body::Body;
use super::drive::Next;
use super::wakers::Wakers;
use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::base::status::wasm_status as Status;
use crate::batch::input::Input;
use crate::compile::factory::Compiled;
use crate::guest::batch::{Batch, check_first};
use crate::guest::batches::Batches;
use crate::guest::context::Context;
use crate::guest::custom::Instance;
use crate::guest::program::Program;
use crate::host::call::Waiting;
use crate::host::sink::OutputSink;
use crate::host::waker::Waker;
use crate::metrics::counters::Condition;
use crate::system::memory::pools::not_prepared;
use crate::system::signals;
use crate::system::ticker::ActivePolls;
use std::rc::Rc;
use std::sync::Arc;

/// One guest or custom engine with its work. What the outside asks during a call is in the context.
pub struct Runner {
    pub(super) compiled: Arc<Compiled>,
    pub(super) context: Rc<Context>,
    pub(super) body: Option<Body>,
    /// The host's custom engine if there is one. Until this runner leaves.
    pub(super) instance: Option<Rc<Instance>>,
    /// What comes next in the operation.
    pub(super) next: Next,
    /// The promise of a block of output that the host has not finished with.
    pub(super) taking: Option<Waiting>,
}

impl Runner {
    /// A stopped runner on this thread. Fails only if the host's custom engine cannot be made.
    pub fn new(compiled: Arc<Compiled>) -> Result<Self> {
        let instance = match &compiled.program {
            Program::Module(_) => None,
            Program::Custom(callbacks) => Some(Rc::new(Instance::create(callbacks, &compiled.transform)?)),
        };
        let shared = &compiled.shared;
        let code = match &compiled.program {
            Program::Module(module) => Some(module.code.hash),
            Program::Custom(_) => None,
        };
        let meter = shared.metrics.join(&compiled.transform, code)?;
        let context = Context::new(compiled.transform.clone(), &shared.config, shared.log.clone(), meter);
        Ok(Self { compiled, context: Rc::new(context), body: None, instance, next: Next::Run, taking: None })
    }

    /// Whether a start or a transform is in progress.
    pub fn is_in_progress(&self) -> bool {
        matches!(self.context.state.get(), State::Starting | State::Transforming)
    }

    /// Refuses a thread on which a guest cannot run now.
    #[inline]
    fn check_run(&self) -> Result<()> {
        if is_guest(&self.compiled) {
            let begins = self.context.state.get() == State::Starting && self.body.is_none();
            self.compiled.shared.check_signals(begins)?;
            if begins {
                check_pool(&self.compiled)?;
            }
        }
        Ok(())
    }

    /// Drops the guest. Its output stays because the host may be reading it.
    fn drop_guest(&mut self) {
        self.context.state.set(State::Stopped);
        self.context.meter.note(Condition::Stopped);
        // First because its stack may still hold records of the batch.
        drop(self.body.take());
        self.context.note_between(false);
        self.context.note_memory_size(0);
        self.context.flush_log();
        self.context.forget();
        drop(self.context.host_call.take());
        drop(self.taking.take());
        self.next = Next::Run;
    }
}

impl Engine for Runner {
    fn context(&self) -> &Rc<Context> {
        &self.context
    }

    fn compiled(&self) -> &Arc<Compiled> {
        &self.compiled
    }

    fn check_start(&self) -> Result<()> {
        check_start(&self.compiled)
    }

    fn start(&mut self) -> Result<()> {
        self.check_start()?;
        self.context.reset();
        self.context.meter.begin_start();
        self.context.state.set(State::Starting);
        Ok(())
    }

    #[inline]
    fn transform(&mut self, input: Input<'static>, first: u32, batches: Option<Box<Batches>>) -> Result<()> {
        check_first(input, first)?;
        let mut work = self.context.work();
        work.batch.begin(input, first);
        work.batch.batches = batches;
        work.batch.ended = 0;
        work.left_at = None;
        self.context.meter.begin_transform(work.batch.bytes_left(), work.batch.batches_left());
        drop(work);
        self.next = Next::Check;
        self.context.state.set(State::Transforming);
        Ok(())
    }

    fn resume(&mut self, mut batch: Box<Batch>) {
        self.context.meter.begin_transform(batch.bytes_left(), batch.batches_left());
        if batch.left() > 0 {
            batch.give();
        } else if batch.begin_next(0) {
            self.next = Next::Check;
        }
        let mut work = self.context.work();
        work.batch = *batch;
        work.left_at = None;
        drop(work);
        self.context.state.set(State::Transforming);
    }

    #[inline]
    fn poll(&mut self, sink: Option<&OutputSink>, waker: &mut Waker, _: &mut Wakers) -> Result<wasm_poll> {
        self.check_run()?;
        let outcome = self.drive(sink, waker);
        self.context.count_passed();
        match &outcome {
            Ok(wasm_poll::Ready) => {
                if self.context.meter.end() == 0 {
                    // A start, as a rule.
                    self.context.meter.note(Condition::Running);
                }
                self.context.state.set(State::Idle);
            }
            Ok(wasm_poll::Pending | wasm_poll::Yielded) => {}
            // The batch was refused before the guest saw it. The engine is as it was.
            Err(e) if matches!(self.next, Next::Check) => {
                self.context.meter.fail(e.status);
                self.next = Next::Run;
                self.context.refused.set(true);
                self.context.state.set(State::Idle);
            }
            Err(e) => {
                self.context.meter.fail(e.status);
                self.drop_guest();
                self.context.meter.note(Condition::Failed);
            }
        }
        outcome
    }

    fn take_batch(&mut self) -> Box<Batch> {
        Box::new(core::mem::take(&mut self.context.work().batch))
    }

    fn stop(&mut self) {
        // After a panic this failure was counted already.
        if self.is_in_progress() && !self.context.poisoned.get() {
            self.context.meter.fail(Status::Cancelled);
        }
        self.drop_guest();
    }

    #[inline]
    fn finish(&mut self, _: &mut Wakers) {
        let mut work = self.context.work();
        if self.context.state.get() == State::Stopped {
            work.release();
        } else {
            work.trim();
        }
    }

    fn leave(&mut self) {
        self.context.leave();
        drop(self.instance.take());
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
        self.finish(&mut Wakers::default());
        self.leave();
    }
}

fn is_guest(compiled: &Compiled) -> bool {
    matches!(compiled.program, Program::Module(_))
}

/// Refuses a thread on which no engine of a factory can start.
pub fn check_start(compiled: &Compiled) -> Result<()> {
    if ActivePolls::thread_is_ending() {
        // For example the random seed of wasmtime-wasi is thread-local.
        let why = "the thread or the program is ending: no guest can start any more";
        return Err(Error::new(Status::InvalidState, why));
    }
    if is_guest(compiled) {
        signals::initialize_thread()?;
    }
    check_pool(compiled)
}

/// Refuses a thread without a pool for a guest if there must be one.
fn check_pool(compiled: &Compiled) -> Result<()> {
    if let Some(pools) = &compiled.shared.pools
        && is_guest(compiled)
    {
        pools.mine().ok_or_else(not_prepared)?;
    }
    Ok(())
}

//! What runs in an engine: a guest or the host's callbacks.

use super::drive::{Next, Then, not_started};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_engine_state as State;
use crate::base::status::wasm_status as Status;
use crate::compile::factory::Compiled;
use crate::guest::context::{Context, HostCall};
use crate::guest::custom::{Instance, RunningEngine, StepResult};
use crate::guest::instance::Guest;
use crate::guest::program::Program;
use crate::system::memory::creators;
use std::rc::Rc;

/// What runs in an engine.
pub enum Body {
    /// A guest.
    Guest(Guest),
    /// A custom engine of the host.
    Custom(RunningEngine),
}

impl Body {
    /// What is to be started. None as long as its memory is not ready.
    #[cold]
    pub fn new(compiled: &Compiled, context: &Rc<Context>, instance: &Option<Rc<Instance>>) -> Result<Option<Self>> {
        let shared = &compiled.shared;
        match &compiled.program {
            Program::Module(code) => {
                if let Some(pools) = &shared.pools
                    && !pools.ready().map_err(|e| not_started(compiled, e))?
                {
                    return Ok(None);
                }
                drop(creators::take_refusal());
                Ok(Some(Self::Guest(Guest::new(code, context, &shared.config))))
            }
            Program::Custom(_) => {
                let gone = || Error::new(Status::Internal, "the custom engine is gone");
                Ok(Some(Self::Custom(RunningEngine::new(instance.clone().ok_or_else(gone)?))))
            }
        }
    }
}

impl RunningEngine {
    /// Lets the custom engine take a step. Returns what comes next. None if other tasks do.
    pub(super) fn take_step(&self, context: &Context) -> Option<Next> {
        let settled = match context.host_call.take() {
            HostCall::Settled(settled) => Some(settled),
            _ => None,
        };
        let transforms = context.state.get() == State::Transforming;
        match self.step(context, transforms, settled) {
            StepResult::Done => {
                context.note_started();
                let mut work = context.work();
                if work.batch.has_next()
                    && work.can_hold()
                    && work.batch.records.free_some()
                    && !context.run_time.turn_is_over()
                {
                    // The output can wait for that of the next batch.
                    return Some(Next::Free(Ok(())));
                }
                Some(Next::Deliver(Then::End(Ok(()))))
            }
            StepResult::Full => Some(Next::Deliver(Then::Run)),
            StepResult::Again => None,
            StepResult::Pending(waiting) => {
                context.host_call.set(HostCall::Waiting(waiting));
                Some(Next::HostCall)
            }
            StepResult::Failed(error) => Some(Next::failed(context, error)),
        }
    }
}

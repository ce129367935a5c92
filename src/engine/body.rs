//! What runs in an engine: a guest, or the embedder's callbacks.

use super::{Engine, Operation};
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::guest::context::HostCall;
use crate::guest::custom::{Engagement, Step};
use crate::guest::instance::Guest;
use crate::guest::program::Program;
use crate::system::memory::creators;

/// What runs in an engine.
pub(super) enum Body {
    Guest(Guest),
    Custom(Engagement),
}

impl Engine {
    /// What is to be started; nothing yet if it needs memory that takes time.
    pub(super) fn new_body(&self) -> Result<Option<Body>> {
        let shared = &self.compiled.shared;
        match &self.compiled.program {
            Program::Module(code) => {
                if let Some(pools) = &shared.pools
                    && !pools.ready().map_err(|e| self.refused(e))?
                {
                    return Ok(None);
                }
                drop(creators::take_refusal());
                Ok(Some(Body::Guest(Guest::new(code, &self.context, &shared.config))))
            }
            Program::Custom(_) => {
                let instance = self.instance.borrow().clone();
                let gone = || Error::new(Status::Internal, "the embedder's engine is gone");
                Ok(Some(Body::Custom(Engagement::new(instance.ok_or_else(gone)?))))
            }
        }
    }

    /// Lets the embedder's engine work; as `run`.
    pub(super) fn step(&self, engagement: &Engagement, operation: &mut Operation) -> bool {
        let settled = match self.context.host_call.take() {
            HostCall::Settled(settled) => Some(settled),
            _ => None,
        };
        match engagement.step(&self.context, operation.sink.is_some(), settled) {
            Step::Done => {
                self.context.note_started();
                operation.outcome = Some(Ok(()));
                operation.output_due = true;
            }
            Step::Full => operation.output_due = true,
            Step::Again => return false,
            Step::Pending(waiting) => operation.host_call = Some(waiting),
            Step::Failed(error) => {
                self.context.work.borrow_mut().output.drop_unfinished();
                operation.outcome = Some(Err(error));
                operation.output_due = true;
            }
        }
        true
    }
}

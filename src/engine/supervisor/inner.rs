//! What a supervisor drives: an engine of its own, or its share of one.

use crate::base::error::Result;
use crate::base::state::{wasm_engine_state as State, wasm_poll};
use crate::compile::factory::Compiled;
use crate::engine::Engine;
use crate::engine::shared::User;
use crate::host::sink::OutputSink;
use crate::host::waker::Waker;
use crate::metrics::meter::Meter;
use core::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

/// An engine, as a supervisor sees it. All methods are `Engine`'s.
#[allow(clippy::large_enum_variant)] // there is one in each engine, where it is
pub enum Inner {
    /// It is the supervisor's alone.
    Own(Engine),
    /// It is shared with others on the thread.
    Shared(User),
}

macro_rules! both {
    ($self:ident, $engine:ident => $call:expr) => {
        match $self {
            Self::Own($engine) => $call,
            Self::Shared($engine) => $call,
        }
    };
}

impl Inner {
    /// A stopped one of the same kind from another factory.
    pub fn like(&self, compiled: &Arc<Compiled>) -> Result<Self> {
        Ok(match self {
            Self::Own(_) => Self::Own(Engine::new(compiled.clone())?),
            Self::Shared(_) => Self::Shared(User::new(compiled)?),
        })
    }

    /// Says what the engine is called in C, and what its host attached to it.
    pub fn attach(&self, owner: *mut c_void, user_data: *mut c_void) {
        match self {
            Self::Own(engine) => {
                engine.context().owner.set(owner);
                engine.context().user_data.set(user_data);
            }
            Self::Shared(user) => user.attach(owner, user_data),
        }
    }

    /// Refuses callbacks of this very engine, and one that panicked.
    #[inline]
    pub fn check_free(&self) -> Result<()> {
        both!(self, engine => engine.check_free())
    }

    /// Refuses callbacks of this very engine.
    pub fn check_not_busy(&self) -> Result<()> {
        both!(self, engine => engine.check_not_busy())
    }

    /// What it is made from.
    pub fn compiled(&self) -> &Arc<Compiled> {
        both!(self, engine => engine.compiled())
    }

    /// Number of the operation that is going on, or of the last one.
    pub fn number(&self) -> u64 {
        both!(self, engine => engine.number())
    }

    /// Goes on with the numbers of the engine before.
    pub fn continue_from(&self, number: u64) {
        both!(self, engine => engine.continue_from(number));
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        both!(self, engine => engine.state())
    }

    /// Bytes of its memory.
    pub fn memory_size(&self) -> usize {
        both!(self, engine => engine.memory_size())
    }

    /// What is counted.
    pub fn meter(&self) -> &Meter {
        both!(self, engine => &engine.context().meter)
    }

    /// Begins to profile its guest.
    pub fn start_profile(&self, interval: Duration) -> Result<()> {
        both!(self, engine => engine.start_profile(interval))
    }

    /// Ends the profile, and gives it as JSON.
    pub fn finish_profile(&self) -> Result<String> {
        both!(self, engine => engine.finish_profile())
    }

    /// Whether `start` would begin.
    pub fn check_start(&self) -> Result<()> {
        both!(self, engine => engine.check_start())
    }

    /// Begins a start; gives the operation's number.
    pub fn start(&self) -> Result<u64> {
        both!(self, engine => engine.start())
    }

    /// Begins to transform a batch; gives the operation's number.
    #[inline]
    pub fn transform(&self, batch: &'static [u8], first: u32, sink: OutputSink) -> Result<u64> {
        both!(self, engine => engine.transform(batch, first, sink))
    }

    /// Stops, whatever is going on.
    pub fn stop<T>(&self, lender: T) -> Result<()> {
        both!(self, engine => engine.stop(lender))
    }

    /// It is stopped for good.
    pub fn leave(&self) {
        both!(self, engine => engine.leave());
    }

    /// Cancels operation `number`, if it is going on.
    pub fn cancel(&self, number: u64) -> Result<()> {
        both!(self, engine => engine.cancel(number))
    }

    /// Whether operation `number` is not over.
    #[inline]
    pub fn is_going_on(&self, number: u64) -> bool {
        both!(self, engine => engine.is_going_on(number))
    }

    /// Drives operation `number`.
    #[inline]
    pub fn poll(&self, number: u64, waker: Waker) -> Result<wasm_poll> {
        both!(self, engine => engine.poll(number, waker))
    }
}

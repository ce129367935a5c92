//! Engines. What C holds is a [`seat`], the only gate: thread, re-entrancy, state and numbers of operations are its business.
//! Below it is an [`Engine`], which is used by one caller at a time and need not check: a [`runner`] with a guest or the
//! embedder's callbacks, or a [`shared`] place in front of a runner that others use as well. A [`supervisor`] is there only
//! when a policy was set, and makes of the failures of a guest what the policy says.

mod attached;
mod body;
mod dead_letter;
mod drive;
pub mod policy;
mod profile;
mod replacement;
mod runner;
pub mod seat;
mod shared;
mod supervisor;
mod wakers;

pub use replacement::Switch;

use crate::base::error::Result;
use crate::base::state::wasm_poll;
use crate::compile::factory::Compiled;
use crate::guest::batch::Batch;
use crate::guest::context::Context;
use crate::host::sink::OutputSink;
use crate::host::waker::Waker;
use std::rc::Rc;
use std::sync::Arc;
use wakers::Wakers;

/// What a seat drives. Used on one thread, by one caller at a time; no callback of the host comes back to it.
///
/// An operation begins with `start`, `transform` or `resume`, is driven by `poll`, and completes when that is ready, or fails,
/// or with `stop`. Then the sink is dropped, by whoever owns it, and then comes `finish`: until the sink's drop returns, the
/// host may read a block of output.
trait Engine {
    /// Where the host's data about this engine is kept.
    fn context(&self) -> &Rc<Context>;

    /// What its guest is made from.
    fn compiled(&self) -> &Arc<Compiled>;

    /// Refuses a thread on which it cannot start.
    fn check_start(&self) -> Result<()>;

    /// Begins a start. The engine is stopped.
    fn start(&mut self) -> Result<()>;

    /// Begins to transform a batch from record `first` on. The engine is started and idle. The batch is checked here: with an
    /// error, nothing has begun.
    fn transform(&mut self, batch: &'static [u8], first: u32) -> Result<()>;

    /// Begins to transform the rest of a batch that `take_batch` gave.
    fn resume(&mut self, batch: Box<Batch>);

    /// Drives the operation. `sink` gets the output of a transform. An error means that the operation is over and the engine
    /// stopped, unless the error is one of misuse. `wakers` are to be woken when the seat is left.
    fn poll(&mut self, sink: Option<&OutputSink>, waker: Waker, wakers: &mut Wakers) -> Result<wasm_poll>;

    /// Takes the batch of a transform that failed, with the records that were not taken.
    fn take_batch(&mut self) -> Box<Batch>;

    /// Stops the guest, and cancels the operation if there is one.
    fn stop(&mut self);

    /// The operation is over, and its sink is dropped.
    fn finish(&mut self, wakers: &mut Wakers);

    /// The engine's metrics go, and the embedder's engine. It is stopped for good.
    fn leave(&mut self);
}

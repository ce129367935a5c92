//! Engines. C holds a [`seat`]. The seat is the only gate: it checks thread, re-entrancy, state and numbers of
//! operations. Below it is an [`Engine`], which is used by one caller at a time and need not check. It is a [`runner`]
//! with a guest or with the host's callbacks. Or it is a user of a [`shared`] engine. A [`supervisor`] exists only when
//! a policy is set. It applies the policy to failures of the guest.

mod attached;
mod body;
pub mod circuit;
mod dead_letter;
mod drive;
mod entered;
pub mod policy;
mod profile;
mod replacement;
mod runner;
pub mod seat;
mod shared;
mod supervisor;
mod wakers;

pub use replacement::ReplacementState;

use crate::base::error::Result;
use crate::base::state::wasm_poll;
use crate::batch::input::Input;
use crate::compile::factory::Compiled;
use crate::guest::batch::Batch;
use crate::guest::batches::Batches;
use crate::guest::context::Context;
use crate::host::sink::OutputSink;
use crate::host::waker::Waker;
use std::rc::Rc;
use std::sync::Arc;
use wakers::Wakers;

/// What a seat drives. Used on one thread by one caller at a time. No callback of the host can call it again.
///
/// An operation begins with `start`, `transform` or `resume`. `poll` drives it. It completes when `poll` is ready or
/// fails or with `stop`. Then the owner of the sink drops it and calls `finish`. The host may read a block of output
/// until the sink's drop returns.
trait Engine {
    /// Where the host's data about this engine is kept.
    fn context(&self) -> &Rc<Context>;

    /// What the guest is made from.
    fn compiled(&self) -> &Arc<Compiled>;

    /// Refuses a thread on which the engine cannot start.
    fn check_start(&self) -> Result<()>;

    /// Begins a start. The engine is stopped.
    fn start(&mut self) -> Result<()>;

    /// Begins to transform a batch, or records, from record `first` on. The engine is started and idle. After an error
    /// nothing has begun. The batch is checked by the polls. If there are several, `batches` has all of them.
    fn transform(&mut self, input: Input<'static>, first: u32, batches: Option<Box<Batches>>) -> Result<()>;

    /// Begins to transform the rest of a batch from `take_batch` and the batches behind it.
    fn resume(&mut self, batch: Box<Batch>);

    /// Drives the operation. `sink` gets the output of a transform. After an error the operation has completed and the
    /// engine is stopped, unless the call had no effect. If the batch was refused, the engine is idle. `wakers` are
    /// woken when the seat is left. `waker` is taken if the operation waits. By reference because it passes several
    /// callers.
    fn poll(&mut self, sink: Option<&OutputSink>, waker: &mut Waker, wakers: &mut Wakers) -> Result<wasm_poll>;

    /// Takes the batch of a transform that failed with the records that were not taken.
    fn take_batch(&mut self) -> Box<Batch>;

    /// Stops the guest and cancels the operation if there is one.
    fn stop(&mut self);

    /// The operation has completed and its sink is dropped.
    fn finish(&mut self, wakers: &mut Wakers);

    /// Removes the engine's metrics and frees the host's custom engine. The engine is stopped for good.
    fn leave(&mut self);
}

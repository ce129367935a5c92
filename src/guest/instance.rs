//! One guest from instantiation to its end, as a future.

use super::clock::TICKS_PER_SLICE;
use super::context::{Context, GuestState, Local, Suspended};
use super::limits::Limits;
use super::wasi;
use crate::factory::Linked;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll, Waker};
use std::rc::Rc;
use wasmtime::{Error, Store, StoreContextMut, UpdateDeadline};

/// A guest that is running or suspended. Dropping it unwinds its stack and frees its store.
pub struct Guest(Pin<Box<dyn Future<Output = Result<(), Error>>>>);

impl Guest {
    /// A guest that will begin with its first poll.
    pub fn new(code: &Linked, context: &Rc<Context>, table_limit: usize) -> Self {
        let local = Local::new(context);
        let state = GuestState {
            memory: None,
            random: wasi::random(),
            limits: Limits { context: local.clone(), previous_size: 0, table_elements: 0, table_limit },
            wasi: wasi::context(context.transform(), &local),
            context: local,
        };
        let mut store = Store::new(code.pre.module().engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(TICKS_PER_SLICE);
        store.epoch_deadline_callback(deadline_passed);
        let pre = code.pre.clone();
        Self(Box::pin(async move {
            let instance = pre.instantiate_async(&mut store).await?;
            store.data().context.note_instance();
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
            start.call_async(&mut store, ()).await
        }))
    }

    /// Lets the guest run until it suspends or ends.
    pub fn resume(&mut self) -> Poll<Result<(), Error>> {
        // Nothing inside ever waits for a Rust waker: why the guest suspended is in `Context::suspended`.
        self.0.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()))
    }
}

/// Called inside the guest when its epoch deadline has passed: because its slice is over, or because a host function set
/// the deadline to now in order to suspend it.
fn deadline_passed(store: StoreContextMut<'_, GuestState>) -> Result<UpdateDeadline, Error> {
    let context = &store.data().context;
    context.run_time.pause();
    match context.suspended.get() {
        None => {
            context.run_time.check()?;
            context.suspended.set(Some(Suspended::SliceOver));
        }
        // A guest that does nothing but wait for the host comes by nowhere else.
        Some(Suspended::ForHost) => context.run_time.check()?,
        Some(_) => {}
    }
    Ok(UpdateDeadline::Yield(TICKS_PER_SLICE))
}

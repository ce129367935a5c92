//! One guest from instantiation to its end as a future.

use super::clock::TICKS_PER_SLICE;
use super::context::{Context, GuestState, Local, Suspended};
use super::ending::Ending;
use super::limits::Limits;
use super::program::LinkedModule;
use super::random::Random;
use super::wasi;
use crate::base::config::{Config, WASM_PAGE};
use crate::base::error::CoreDump;
use crate::system::memory::image::Image;
use crate::system::memory::windows::Offer;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll, Waker};
use std::rc::Rc;
use std::sync::Arc;
use wasmtime::{Error, Instance, InstancePre, Store, StoreContextMut, UpdateDeadline};

/// A guest that is running or suspended. Dropping it unwinds its stack and frees its store.
pub struct Guest(Pin<Box<dyn Future<Output = GuestEnd>>>);

/// How a guest ended.
pub struct GuestEnd {
    /// Why it ended unless it returned from `_start`.
    pub result: Result<(), Error>,
    /// Its core dump if that was asked for.
    pub core_dump: Option<CoreDump>,
}

impl Guest {
    /// A guest that will begin with its first poll.
    pub fn new(code: &LinkedModule, context: &Rc<Context>, config: &Config) -> Self {
        let local = Local::new(context);
        let state = GuestState {
            random: Random::new(config.replay),
            limits: Limits { context: local.clone(), growing: (0, 0), table_elements: 0, memory: None },
            wasi: wasi::context(context.transform()),
            context: local,
        };
        let mut store = Store::new(code.pre.module().engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(ticks(context));
        store.epoch_deadline_callback(deadline_passed);
        let (pre, image) = (code.pre.clone(), code.code.image.clone());
        let ending = Ending::new(config, &code.code.wrappers);
        Self(Box::pin(async move {
            let mut instance = None;
            let result = run(&mut store, pre, image, &mut instance).await;
            // Here because it needs the store, which is dropped with this future.
            ending.finish(&mut store, instance, result).await
        }))
    }

    /// Lets the guest run until it suspends or ends.
    pub fn resume(&mut self) -> Poll<GuestEnd> {
        // Nothing inside ever waits for a Rust waker. `Context::suspended` has the reason of a suspension.
        self.0.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()))
    }
}

async fn run(
    store: &mut Store<GuestState>,
    pre: InstancePre<GuestState>,
    image: Option<Arc<Image>>,
    place: &mut Option<Instance>,
) -> Result<(), Error> {
    let context = &store.data().context;
    let windows = Offer::new(context.control.attach(), image, context.memory_limit() / WASM_PAGE * WASM_PAGE);
    let instance = *place.insert(pre.instantiate_async(&mut *store).await?);
    if windows.hide() {
        store.data().context.note_expanded();
    }
    drop(windows);
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    start.call_async(&mut *store, ()).await
}

/// How far ahead the guest's deadline is. A guest that is profiled passes here at each tick even if it never has the
/// thread for two.
fn ticks(context: &Context) -> u64 {
    if context.profile.is_on() { 1 } else { TICKS_PER_SLICE }
}

/// Called inside the guest when its epoch deadline has passed. Either its slice has ended or a host function set the
/// deadline to now in order to suspend it.
fn deadline_passed(store: StoreContextMut<'_, GuestState>) -> Result<UpdateDeadline, Error> {
    let context = &store.data().context;
    context.run_time.pause();
    match context.suspended.get() {
        None => {
            context.check_time()?;
            if context.profile.is_on() {
                context.profile.sample(&store);
                if !context.run_time.turn_is_over() {
                    return Ok(UpdateDeadline::Continue(ticks(context)));
                }
            }
            context.run_time.end_slice();
            context.suspended.set(Some(Suspended::SliceOver));
        }
        // A guest that does nothing but wait for the host passes nowhere else.
        Some(Suspended::ForHost) => context.check_time()?,
        Some(_) => {}
    }
    Ok(UpdateDeadline::Yield(ticks(context)))
}

//! A future is an operation in progress. The host polls it until it is ready or has failed. `wasm_future_spawn` below
//! does that for a host with an event loop.

use super::bytes::wasm_bytes;
use super::engine::wasm_engine;
use super::error::wasm_error;
use super::factory::wasm_factory;
use super::{Out, boundary};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status;
use crate::base::thread_mark::ThreadMark;
use crate::compile::compilation::Pending;
use crate::compile::factory::Compiled;
use crate::engine::ReplacementState;
use crate::host::owned::Owned;
use crate::host::waker::{Waker, wasm_waker};
use core::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

/// An operation in progress. Owned by the host. Used by one thread at a time. A future of an engine is used only on the
/// engine's thread.
pub struct wasm_future {
    /// Mark of the only thread that may access the rest. None for a compilation.
    thread: Option<ThreadMark>,
    /// Borrowed while the future is polled or released. Callbacks of the host run at that time and may use the future
    /// again.
    inner: RefCell<FutureState>,
}

struct FutureState {
    /// The engine whose operation this is. It keeps the future's memory. None for a compilation.
    engine: Option<Rc<wasm_engine>>,
    source: FutureSource,
    result: Option<Product>,
}

/// What a future may have for its owner.
enum Product {
    Factory(Arc<Compiled>),
    Artifact(Vec<u8>),
}

/// A kind of product.
trait Made: Into<Product> {
    const NAME: &'static str;
}

impl Made for Arc<Compiled> {
    const NAME: &'static str = FACTORY;
}

impl Made for Vec<u8> {
    const NAME: &'static str = ARTIFACT;
}

const FACTORY: &str = "factory";
const ARTIFACT: &str = "artifact";

impl From<Arc<Compiled>> for Product {
    fn from(compiled: Arc<Compiled>) -> Self {
        Self::Factory(compiled)
    }
}

impl From<Vec<u8>> for Product {
    fn from(artifact: Vec<u8>) -> Self {
        Self::Artifact(artifact)
    }
}

/// What a compile thread does.
trait Job {
    /// The result. None if the job is in progress: then `waker` is called later.
    fn poll(&self, waker: Waker) -> Option<Result<Product>>;

    /// What the job makes.
    fn makes(&self) -> &'static str;
}

impl<T: Made> Job for Pending<Result<T>, Waker> {
    fn makes(&self) -> &'static str {
        T::NAME
    }

    fn poll(&self, waker: Waker) -> Option<Result<Product>> {
        Pending::poll(self, || waker).map(|outcome| outcome.map(T::into))
    }
}

/// What a future waits for.
enum FutureSource {
    /// A compile thread.
    Job(Box<dyn Job>),
    /// The operation of the engine with this number.
    Operation(u64),
    /// A hot swap of the engine.
    Replacement(Rc<ReplacementState>),
    /// The operation has completed: the next poll is ready.
    Ready,
    /// The operation has completed and must not be polled again.
    Completed,
}

impl wasm_future {
    /// For a job on a compile thread.
    #[allow(private_bounds)]
    pub(crate) fn job<T: Made + 'static>(pending: Pending<Result<T>, Waker>) -> *mut Self {
        Self::of_no_thread(FutureSource::Job(Box::new(pending)), None)
    }

    /// For a factory that is available already.
    pub(crate) fn compiled(compiled: Arc<Compiled>) -> *mut Self {
        Self::of_no_thread(FutureSource::Ready, Some(Product::Factory(compiled)))
    }

    fn of_no_thread(source: FutureSource, result: Option<Product>) -> *mut Self {
        Box::into_raw(Box::new(Self {
            thread: None,
            inner: RefCell::new(FutureState { engine: None, source, result }),
        }))
    }

    /// For operation `number` of an engine. Without a number the operation has completed already.
    #[inline]
    pub(crate) fn operation(engine: Rc<wasm_engine>, number: Option<u64>) -> *mut Self {
        Self::of_engine(engine, number.map_or(FutureSource::Ready, FutureSource::Operation))
    }

    /// For the replacement of an engine.
    pub(crate) fn replacement(engine: Rc<wasm_engine>, state: Rc<ReplacementState>) -> *mut Self {
        Self::of_engine(engine, FutureSource::Replacement(state))
    }

    /// Each batch has a future. So each engine keeps the memory of one.
    #[inline]
    fn of_engine(engine: Rc<wasm_engine>, source: FutureSource) -> *mut Self {
        let future = match engine.spare.take() {
            Some(mut future) => {
                let inner = future.inner.get_mut();
                (inner.engine, inner.source) = (Some(engine), source);
                future
            }
            None => {
                let inner = RefCell::new(FutureState { engine: Some(engine), source, result: None });
                Box::new(Self { thread: Some(ThreadMark::current()), inner })
            }
        };
        Box::into_raw(future)
    }

    /// The only thread that may use the future. None for a compilation.
    pub(crate) fn thread(&self) -> Option<ThreadMark> {
        self.thread
    }

    /// Refuses a thread to which the future does not belong.
    pub(crate) fn check_thread(&self) -> Result<()> {
        self.thread.map_or(Ok(()), ThreadMark::check)
    }

    /// Refuses a future that has completed or is not this thread's.
    pub(crate) fn check_in_progress(&self) -> Result<()> {
        match self.enter()?.source {
            FutureSource::Completed => Err(completed()),
            _ => Ok(()),
        }
    }

    /// Passes the future's own gate: on its thread only and not from a callback of its poll.
    #[inline]
    fn enter(&self) -> Result<RefMut<'_, FutureState>> {
        self.check_thread()?;
        self.inner.try_borrow_mut().map_err(|_| busy())
    }

    #[inline]
    fn poll(&self, waker: Waker) -> Result<wasm_poll> {
        let mut inner = self.enter()?;
        let FutureState { engine, source, result } = &mut *inner;
        match (&*source, &*engine) {
            (&FutureSource::Operation(number), Some(engine)) => {
                let polled = engine.engine.poll(number, waker);
                if has_completed(&polled) && !engine.engine.is_in_progress(number) {
                    *source = FutureSource::Completed;
                }
                polled
            }
            (FutureSource::Replacement(state), Some(engine)) => {
                let polled = engine.engine.poll_replacement(state, waker);
                if has_completed(&polled) && !state.is_in_progress() {
                    *source = FutureSource::Completed;
                }
                polled
            }
            (FutureSource::Job(job), _) => match job.poll(waker) {
                None => Ok(wasm_poll::Pending),
                Some(outcome) => {
                    *source = FutureSource::Completed;
                    *result = Some(outcome?);
                    *source = FutureSource::Ready;
                    Ok(wasm_poll::Ready)
                }
            },
            (FutureSource::Ready, _) => {
                // A future with a result stays ready until the result is taken.
                if result.is_none() {
                    *source = FutureSource::Completed;
                }
                Ok(wasm_poll::Ready)
            }
            _ => Err(completed()),
        }
    }

    /// Takes the result if it has the kind that `take` accepts.
    fn take<T>(&self, what: &str, take: impl FnOnce(Product) -> core::result::Result<T, Product>) -> Result<T> {
        let mut inner = self.enter()?;
        if let FutureSource::Job(job) = &inner.source
            && job.makes() == what
        {
            let why = format!("the {what} is not ready; poll the future until it is");
            return Err(Error::new(wasm_status::InvalidState, why));
        }
        match inner.result.take().map(take) {
            Some(Ok(taken)) => {
                inner.source = FutureSource::Completed;
                return Ok(taken);
            }
            Some(Err(other)) => inner.result = Some(other),
            None => {}
        }
        Err(Error::new(wasm_status::NoResult, format!("the future has no {what}, or it was taken before")))
    }
}

/// Whether a poll told how the operation has ended. A call that had no effect did not, and neither did one that found
/// it in progress, whatever the wakers that it woke have done since.
fn has_completed(polled: &Result<wasm_poll>) -> bool {
    match polled {
        Ok(found) => *found == wasm_poll::Ready,
        Err(e) => !e.status.had_no_effect(),
    }
}

#[cold]
fn busy() -> Error {
    Error::new(wasm_status::Busy, "the future is busy: this call comes from a callback of its poll or release")
}

#[cold]
fn completed() -> Error {
    Error::new(wasm_status::InvalidState, "the future has completed: it was ready, had failed, or its result was taken")
}

/// Polls the operation: lets the guest run or asks for the result of a job.
///
/// With `WASM_STATUS_OK` the call writes `state`. `WASM_POLL_READY`: the operation completed successfully. `…_PENDING`:
/// the operation waits and its waker will be called. `…_YIELDED`: the guest used its time slice or there is another
/// step (`wasm_poll`). With a status from 1 to 19 the call was wrong and the operation stays in progress as if the call
/// had not been made. That includes `WASM_STATUS_SIGNALS_BLOCKED` and `WASM_STATUS_THREAD_NOT_PREPARED` on a thread
/// that cannot run guests. Prepare the thread and poll again. With any other status the operation has failed and
/// `error` has the details. An engine whose batch was refused is idle: its guest has seen nothing of it. Otherwise an
/// engine is stopped and can be started again. `wasm_engine_get_state` tells which.
///
/// The future must be released in every case, at once or later: a ready transform leaves its engine idle. A poll after
/// it was ready or has failed returns `WASM_STATUS_INVALID_STATE`.
///
/// `waker` may be NULL for a host that polls anyway. It is consumed in every case: see `wasm_waker`. The sink of a
/// transform is called during this call. A future of an engine must be polled on the engine's thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_future_poll(
    future: *mut wasm_future,
    waker: *const wasm_waker,
    state: *mut wasm_poll,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so.
        let waker = unsafe { taken(waker) };
        let future = scope.handle(future, "future")?;
        let out = Out::new(state, "state")?;
        out.set(future.poll(waker)?);
        Ok(())
    })
}

/// Takes a host's waker over so that it is dropped also when the call was wrong.
///
/// # Safety
///
/// NULL or a waker that can be read.
#[inline]
pub(crate) unsafe fn taken(waker: *const wasm_waker) -> Waker {
    // SAFETY: the caller says so.
    unsafe { waker.as_ref().map_or_else(Waker::none, |&waker| Waker::new(Owned::new(waker))) }
}

/// Takes the factory from a future that is ready. The host releases both: the factory with `wasm_factory_release` and
/// the future with `wasm_future_release`. `WASM_STATUS_NO_RESULT` if the factory was taken before or the future is of
/// another kind. `WASM_STATUS_INVALID_STATE` if the future is not ready.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_future_take_factory(
    future: *mut wasm_future,
    factory: *mut *mut wasm_factory,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let future = scope.handle(future, "future")?;
        let out = Out::new(factory, "factory")?;
        let compiled = future.take(FACTORY, |product| match product {
            Product::Factory(compiled) => Ok(compiled),
            other => Err(other),
        })?;
        out.set(Arc::into_raw(Arc::new(wasm_factory { compiled })).cast_mut());
        Ok(())
    })
}

/// Takes the artifact from a ready future of `wasm_runtime_precompile`. Release the artifact with `wasm_bytes_release`.
/// Errors are those of `wasm_future_take_factory`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_future_take_artifact(
    future: *mut wasm_future,
    artifact: *mut *mut wasm_bytes,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let future = scope.handle(future, "future")?;
        let out = Out::new(artifact, "artifact")?;
        let bytes = future.take(ARTIFACT, |product| match product {
            Product::Artifact(bytes) => Ok(bytes),
            other => Err(other),
        })?;
        out.set(wasm_bytes::of(bytes));
        Ok(())
    })
}

/// Frees the future. Allowed in every state of its operation. NULL does nothing.
///
/// An operation in progress is cancelled. A start or a transform ends with a stopped engine because its guest has seen
/// part of a batch that is no longer valid. The engine can be started again. The same holds for a user of a shared
/// engine, also before its turn. A replacement is dropped and the engine stays as it was. A compilation that has not
/// begun is left out. One that has begun continues and its result is dropped or kept by the factory cache that was
/// asked. It no longer counts as one of `compile_threads`: the next compilation begins at once on another thread,
/// unless eight such compilations run already. With `compile_helper` it ends at once.
///
/// `WASM_STATUS_WRONG_THREAD` if a future of an engine is released on another thread. `WASM_STATUS_BUSY` from one of
/// the engine's own callbacks. Nothing is freed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_future_release(future: *mut wasm_future, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| {
        if future.is_null() {
            return Ok(());
        }
        {
            // Cancelling runs callbacks. Their calls on this future return busy.
            let inner = scope.handle(future, "future")?.enter()?;
            match (&inner.source, &inner.engine) {
                (FutureSource::Operation(number), Some(engine)) => engine.engine.cancel(*number)?,
                (FutureSource::Replacement(state), Some(engine)) => engine.engine.cancel_replacement(state)?,
                _ => {}
            }
        }
        // SAFETY: the header says that the future came from the library and is released once.
        let mut future = unsafe { Box::from_raw(future) };
        let inner = future.inner.get_mut();
        (inner.result, inner.source) = (None, FutureSource::Completed);
        if let Some(engine) = inner.engine.take() {
            engine.spare.set(Some(future));
        }
        Ok(())
    })
}

//! `wasm_future_*`: an operation that is going on.

use super::bytes::wasm_bytes;
use super::engine::wasm_engine;
use super::error::wasm_error;
use super::factory::wasm_factory;
use super::{Out, boundary};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status;
use crate::base::thread_mark::ThreadMark;
use crate::compile::factory::Compiled;
use crate::engine::Switch;
use crate::host::owned::Owned;
use crate::host::waker::{Waker, wasm_waker};
use crate::promise::oneshot::Receiver;
use core::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

/// An operation in progress. Owned by the caller that got it; used by one thread at a time, and if it is an engine's, only
/// by the engine's thread.
pub struct wasm_future {
    /// Mark of the only thread that may look at the rest; none for a compilation.
    thread: Option<ThreadMark>,
    /// Borrowed while the future is polled or released: callbacks of the host run then, and may come back to it.
    inside: RefCell<Inside>,
}

struct Inside {
    source: Source,
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
    /// What it came to; none if it is in progress, then `waker` is called later.
    fn poll(&self, waker: Waker) -> Option<Result<Product>>;

    /// What it makes.
    fn makes(&self) -> &'static str;
}

impl<T: Made> Job for Receiver<Result<T>, Waker> {
    fn makes(&self) -> &'static str {
        T::NAME
    }

    fn poll(&self, waker: Waker) -> Option<Result<Product>> {
        Receiver::poll(self, || waker).map(|outcome| outcome.map(T::into))
    }
}

/// What a future waits for.
enum Source {
    /// A compile thread.
    Job(Box<dyn Job>),
    /// An operation of an engine.
    Operation { engine: Rc<wasm_engine>, number: u64 },
    /// A new version that is to take an engine's place.
    Replacement { engine: Rc<wasm_engine>, switch: Rc<Switch> },
    /// Nothing: the next poll is ready.
    Ready { engine: Option<Rc<wasm_engine>> },
    /// Nothing, and it must not be polled any more.
    Completed { engine: Option<Rc<wasm_engine>> },
}

impl Source {
    /// The engine, which keeps the future's memory.
    fn into_engine(self) -> Option<Rc<wasm_engine>> {
        match self {
            Self::Job(_) => None,
            Self::Operation { engine, .. } | Self::Replacement { engine, .. } => Some(engine),
            Self::Ready { engine } | Self::Completed { engine } => engine,
        }
    }
}

impl wasm_future {
    /// For a job on a compile thread.
    #[allow(private_bounds)]
    pub(crate) fn job<T: Made + 'static>(receiver: Receiver<Result<T>, Waker>) -> *mut Self {
        Self::of_no_thread(Source::Job(Box::new(receiver)), None)
    }

    /// For a factory that is there already.
    pub(crate) fn compiled(compiled: Arc<Compiled>) -> *mut Self {
        Self::of_no_thread(Source::Ready { engine: None }, Some(Product::Factory(compiled)))
    }

    fn of_no_thread(source: Source, result: Option<Product>) -> *mut Self {
        Box::into_raw(Box::new(Self { thread: None, inside: RefCell::new(Inside { source, result }) }))
    }

    /// For operation `number` of an engine; for one that is done already if there is no number.
    #[inline]
    pub(crate) fn operation(engine: Rc<wasm_engine>, number: Option<u64>) -> *mut Self {
        let spare = engine.spare.take();
        let source = match number {
            Some(number) => Source::Operation { engine, number },
            None => Source::Ready { engine: Some(engine) },
        };
        Self::reuse(spare, source)
    }

    /// For the replacement of an engine.
    pub(crate) fn replacement(engine: Rc<wasm_engine>, switch: Rc<Switch>) -> *mut Self {
        let spare = engine.spare.take();
        Self::reuse(spare, Source::Replacement { engine, switch })
    }

    /// An engine's futures come and go with each batch, so each engine keeps the memory of one.
    #[inline]
    fn reuse(spare: Option<Box<Self>>, source: Source) -> *mut Self {
        let future = match spare {
            Some(mut future) => {
                future.inside.get_mut().source = source;
                future
            }
            None => {
                let inside = RefCell::new(Inside { source, result: None });
                Box::new(Self { thread: Some(ThreadMark::current()), inside })
            }
        };
        Box::into_raw(future)
    }

    /// Refuses a thread to which the future does not belong.
    pub(crate) fn check_thread(&self) -> Result<()> {
        self.thread.map_or(Ok(()), ThreadMark::check)
    }

    /// Refuses a future that has completed, or is not this thread's.
    pub(crate) fn check_in_progress(&self) -> Result<()> {
        match self.enter()?.source {
            Source::Completed { .. } => Err(completed()),
            _ => Ok(()),
        }
    }

    /// Passes the future's own gate: on its thread only, and not from a callback of its poll.
    #[inline]
    fn enter(&self) -> Result<RefMut<'_, Inside>> {
        self.check_thread()?;
        self.inside.try_borrow_mut().map_err(|_| busy())
    }

    #[inline]
    fn poll(&self, waker: Waker) -> Result<wasm_poll> {
        let mut inside = self.enter()?;
        let inside = &mut *inside;
        match &inside.source {
            Source::Operation { engine, number } => {
                let polled = engine.engine.poll(*number, waker);
                // Errors of misuse leave the operation as it was.
                if !engine.engine.is_in_progress(*number) && !had_no_effect(&polled) {
                    inside.source = Source::Completed { engine: Some(engine.clone()) };
                }
                polled
            }
            Source::Replacement { engine, switch } => {
                let polled = engine.engine.poll_replacement(switch, waker);
                if !switch.is_in_progress() && !had_no_effect(&polled) {
                    inside.source = Source::Completed { engine: Some(engine.clone()) };
                }
                polled
            }
            Source::Job(job) => match job.poll(waker) {
                None => Ok(wasm_poll::Pending),
                Some(outcome) => {
                    inside.source = Source::Completed { engine: None };
                    inside.result = Some(outcome?);
                    inside.source = Source::Ready { engine: None };
                    Ok(wasm_poll::Ready)
                }
            },
            Source::Ready { engine } => {
                // One with a result stays ready until that is taken.
                if inside.result.is_none() {
                    inside.source = Source::Completed { engine: engine.clone() };
                }
                Ok(wasm_poll::Ready)
            }
            Source::Completed { .. } => Err(completed()),
        }
    }

    /// Takes the result, if it is what `take` wants.
    fn take<T>(&self, what: &str, take: impl FnOnce(Product) -> core::result::Result<T, Product>) -> Result<T> {
        let mut inside = self.enter()?;
        if let Source::Job(job) = &inside.source
            && job.makes() == what
        {
            let why = format!("the {what} is not ready; poll the future until it is");
            return Err(Error::new(wasm_status::InvalidState, why));
        }
        match inside.result.take().map(take) {
            Some(Ok(taken)) => {
                inside.source = Source::Completed { engine: None };
                return Ok(taken);
            }
            Some(Err(other)) => inside.result = Some(other),
            None => {}
        }
        Err(Error::new(wasm_status::NoResult, format!("the future has no {what}, or it was taken before")))
    }
}

fn had_no_effect(polled: &Result<wasm_poll>) -> bool {
    matches!(polled, Err(e) if e.status.had_no_effect())
}

#[cold]
fn busy() -> Error {
    Error::new(wasm_status::Busy, "the future is busy: this is a callback of its poll or release")
}

#[cold]
fn completed() -> Error {
    Error::new(wasm_status::InvalidState, "the future has completed: it was ready, had failed, or its result was taken")
}

/// Drives the operation on.
///
/// With `WASM_STATUS_OK`, `state` is written: `WASM_POLL_READY` when the operation is over and succeeded, `…_PENDING` when
/// it waits for what its waker will tell of, `…_YIELDED` when the guest used up its time slice or there is another step
/// (`wasm_poll`). With a status from 1
/// to 19 the call was wrong and the operation goes on as if it had not been made; so it does on a thread that cannot run
/// guests (`WASM_STATUS_SIGNALS_BLOCKED`, `WASM_STATUS_THREAD_NOT_PREPARED`), to be polled again when that is mended. With any other status the operation is
/// over and failed, `error` has the story, and an engine is stopped and can be started again.
///
/// `waker` may be NULL for a host that polls anyway; see `wasm_waker` for what becomes of it, in every case. The sink of a
/// transform is called from here. A future of an engine must be polled on the engine's thread.
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

/// Takes a host's waker over, so that it is dropped also when the call was wrong.
///
/// # Safety
///
/// NULL, or a waker that can be read.
#[inline]
pub(crate) unsafe fn taken(waker: *const wasm_waker) -> Waker {
    // SAFETY: the caller says so.
    unsafe { waker.as_ref().map_or_else(Waker::none, |&waker| Waker::new(Owned::new(waker))) }
}

/// Takes the factory out of a future that is ready. `WASM_STATUS_NO_RESULT` if it was taken before, or the future is of
/// another kind; `WASM_STATUS_INVALID_STATE` if it is not ready. The future must still be released.
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

/// Takes the artifact out of a future of `wasm_runtime_precompile` that is ready, to be released with
/// `wasm_bytes_release`. Errors as of `wasm_future_take_factory`.
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

/// Frees the future, at any time. NULL is fine.
///
/// An operation that is going on is cancelled: a start or a transform ends with a stopped engine, which can be started
/// again, because its guest has seen part of a batch that goes away, and so does that of a shared engine's user, whether its
/// turn had come or not; a replacement is given up, and the engine stays as it was; a compilation that has not
/// begun is left out; one that has goes on, and its result is dropped, or kept by the factory cache that was asked.
/// `WASM_STATUS_WRONG_THREAD` or `WASM_STATUS_BUSY`, and nothing is freed, when a future of an engine is released on
/// another thread or from a callback of that engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_future_release(future: *mut wasm_future, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| {
        if future.is_null() {
            return Ok(());
        }
        {
            // Cancelling runs callbacks. Those that come back to this future are told that it is busy.
            let inside = scope.handle(future, "future")?.enter()?;
            match &inside.source {
                Source::Operation { engine, number } => engine.engine.cancel(*number)?,
                Source::Replacement { engine, switch } => engine.engine.cancel_replacement(switch)?,
                _ => {}
            }
        }
        // SAFETY: the header says that it is a future that the library gave out, released once.
        let mut future = unsafe { Box::from_raw(future) };
        let inside = future.inside.get_mut();
        inside.result = None;
        let source = core::mem::replace(&mut inside.source, Source::Completed { engine: None });
        if let Some(engine) = source.into_engine() {
            engine.spare.set(Some(future));
        }
        Ok(())
    })
}

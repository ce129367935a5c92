//! `wasm_future_*`: an operation that is going on.

use super::artifact::wasm_artifact;
use super::engine::wasm_engine;
use super::error::wasm_error;
use super::factory::wasm_factory;
use super::{Out, border, handle};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status;
use crate::base::thread_mark::ThreadMark;
use crate::compile::factory::{self, Compiled};
use crate::engine::Switch;
use crate::host::owned::Owned;
use crate::host::waker::{Waker, wasm_waker};
use crate::promise::oneshot::Receiver;
use core::cell::{Cell, RefCell, RefMut};
use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

/// An operation that is going on. Owned by whoever got it; used by one thread at a time, and if it is an engine's, only by
/// the engine's thread.
pub struct wasm_future {
    /// Mark of the only thread that may look at `kind`; none for a compilation.
    thread: Option<ThreadMark>,
    /// It is being polled, further up the call stack.
    polling: Cell<bool>,
    /// In a cell, because callbacks of the host run while a future is polled, and may come back to it.
    kind: RefCell<Kind>,
}

enum Kind {
    /// A factory is being made.
    Compiling(Receiver<factory::Outcome, Waker>),
    /// A factory is there.
    Compiled(Arc<wasm_factory>),
    /// An artifact is being made.
    Precompiling(Receiver<factory::Precompiled, Waker>),
    /// An artifact is there.
    Precompiled(Vec<u8>),
    /// An engine works.
    Working { engine: Rc<wasm_engine>, number: u64 },
    /// A new version is to take an engine's place.
    Replacing { engine: Rc<wasm_engine>, switch: Rc<Switch> },
    /// It was done from the beginning.
    Done { engine: Rc<wasm_engine> },
    /// It is over: polled until ready or failed.
    Over { engine: Option<Rc<wasm_engine>> },
}

impl wasm_future {
    pub(crate) fn compiling(receiver: Receiver<factory::Outcome, Waker>) -> *mut Self {
        Self::of_no_thread(Kind::Compiling(receiver))
    }

    /// For a factory that is there already.
    pub(crate) fn compiled(compiled: Arc<Compiled>) -> *mut Self {
        Self::of_no_thread(Kind::Compiled(Arc::new(wasm_factory { compiled })))
    }

    pub(crate) fn precompiling(receiver: Receiver<factory::Precompiled, Waker>) -> *mut Self {
        Self::of_no_thread(Kind::Precompiling(receiver))
    }

    fn of_no_thread(kind: Kind) -> *mut Self {
        Box::into_raw(Box::new(Self { thread: None, polling: Cell::new(false), kind: RefCell::new(kind) }))
    }

    pub(crate) fn working(engine: Rc<wasm_engine>, number: u64) -> *mut Self {
        let spare = engine.spare.take();
        Self::reuse(spare, Kind::Working { engine, number })
    }

    pub(crate) fn replacing(engine: Rc<wasm_engine>, switch: Rc<Switch>) -> *mut Self {
        let spare = engine.spare.take();
        Self::reuse(spare, Kind::Replacing { engine, switch })
    }

    pub(crate) fn done(engine: Rc<wasm_engine>) -> *mut Self {
        let spare = engine.spare.take();
        Self::reuse(spare, Kind::Done { engine })
    }

    /// An engine's futures come and go with each batch, so each engine keeps the memory of one.
    #[inline]
    fn reuse(spare: Option<Box<Self>>, kind: Kind) -> *mut Self {
        let future = match spare {
            Some(mut future) => {
                *future.kind.get_mut() = kind;
                future
            }
            None => Box::new(Self {
                thread: Some(ThreadMark::current()),
                polling: Cell::new(false),
                kind: RefCell::new(kind),
            }),
        };
        Box::into_raw(future)
    }

    /// Refuses a thread to which the future does not belong.
    pub(crate) fn check_thread(&self) -> Result<()> {
        self.thread.map_or(Ok(()), ThreadMark::check)
    }

    /// Refuses a future that is over, or is not this thread's.
    pub(crate) fn check_going_on(&self) -> Result<()> {
        match &*self.kind()? {
            Kind::Over { .. } => {
                Err(Error::new(wasm_status::InvalidState, "the future is over: it was ready or had failed"))
            }
            _ => Ok(()),
        }
    }

    /// The state, on the right thread only.
    #[inline]
    fn kind(&self) -> Result<RefMut<'_, Kind>> {
        let busy = || Error::new(wasm_status::Busy, "the future is being polled further up this call stack");
        self.check_thread()?;
        if self.polling.get() {
            return Err(busy());
        }
        self.kind.try_borrow_mut().map_err(|_| busy())
    }

    /// The host's callbacks (sink, log, waker and their drops) run in here and may come back to this future, also after the
    /// engine is no longer busy: until the poll is over, they are told that it is.
    #[inline]
    fn polling(&self, poll: impl FnOnce() -> Result<wasm_poll>) -> Result<wasm_poll> {
        self.polling.set(true);
        let polled = catch_unwind(AssertUnwindSafe(poll));
        self.polling.set(false);
        polled.unwrap_or_else(|panic| resume_unwind(panic))
    }

    #[inline]
    fn poll(&self, waker: Waker) -> Result<wasm_poll> {
        let mut kind = self.kind()?;
        match &*kind {
            Kind::Working { engine, number } => {
                let (engine, number) = (engine.clone(), *number);
                drop(kind);
                let polled = self.polling(|| engine.engine.poll(number, waker));
                // Errors of misuse leave the operation as it was.
                let misuse = matches!(&polled, Err(e) if e.status.is_misuse());
                if !misuse && !engine.engine.is_in_progress(number) {
                    *self.kind()? = Kind::Over { engine: Some(engine) };
                }
                polled
            }
            Kind::Replacing { engine, switch } => {
                let (engine, switch) = (engine.clone(), switch.clone());
                drop(kind);
                let polled = self.polling(|| engine.engine.poll_replacement(&switch, waker));
                let misuse = matches!(&polled, Err(e) if e.status.is_misuse());
                if !misuse && !switch.is_in_progress() {
                    *self.kind()? = Kind::Over { engine: Some(engine) };
                }
                polled
            }
            Kind::Compiling(receiver) => match receiver.poll(|| waker) {
                None => Ok(wasm_poll::Pending),
                Some(outcome) => {
                    *kind = Kind::Over { engine: None };
                    *kind = Kind::Compiled(Arc::new(wasm_factory { compiled: outcome? }));
                    Ok(wasm_poll::Ready)
                }
            },
            Kind::Precompiling(receiver) => match receiver.poll(|| waker) {
                None => Ok(wasm_poll::Pending),
                Some(outcome) => {
                    *kind = Kind::Over { engine: None };
                    *kind = Kind::Precompiled(outcome?);
                    Ok(wasm_poll::Ready)
                }
            },
            Kind::Compiled(_) | Kind::Precompiled(_) => Ok(wasm_poll::Ready),
            Kind::Done { engine } => {
                let engine = engine.clone();
                *kind = Kind::Over { engine: Some(engine) };
                Ok(wasm_poll::Ready)
            }
            Kind::Over { .. } => {
                Err(Error::new(wasm_status::InvalidState, "the future was polled after it was ready or had failed"))
            }
        }
    }
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
    border(error, || {
        // SAFETY: the header says so.
        let waker = unsafe { taken(waker) };
        let future = handle(future, "future")?;
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
    border(error, || {
        let mut kind = handle(future, "future")?.kind()?;
        let out = Out::new(factory, "factory")?;
        match &*kind {
            Kind::Compiled(factory) => {
                out.set(Arc::into_raw(factory.clone()).cast_mut());
                *kind = Kind::Over { engine: None };
                Ok(())
            }
            Kind::Compiling(_) => {
                Err(Error::new(wasm_status::InvalidState, "the factory is not ready; poll the future until it is"))
            }
            _ => Err(Error::new(wasm_status::NoResult, "the future has no factory, or it was taken before")),
        }
    })
}

/// Takes the artifact out of a future of `wasm_runtime_precompile` that is ready. Errors as of
/// `wasm_future_take_factory`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_future_take_artifact(
    future: *mut wasm_future,
    artifact: *mut *mut wasm_artifact,
    error: *mut *mut wasm_error,
) -> wasm_status {
    border(error, || {
        let mut kind = handle(future, "future")?.kind()?;
        let out = Out::new(artifact, "artifact")?;
        match &mut *kind {
            Kind::Precompiled(bytes) => {
                out.set(Box::into_raw(Box::new(wasm_artifact(core::mem::take(bytes)))));
                *kind = Kind::Over { engine: None };
                Ok(())
            }
            Kind::Precompiling(_) => {
                Err(Error::new(wasm_status::InvalidState, "the artifact is not ready; poll the future until it is"))
            }
            _ => Err(Error::new(wasm_status::NoResult, "the future has no artifact, or it was taken before")),
        }
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
    border(error, || {
        if future.is_null() {
            return Ok(());
        }
        // In two steps, because cancelling runs callbacks that may come back to this future.
        enum Cancel {
            Operation(Rc<wasm_engine>, u64),
            Replacement(Rc<wasm_engine>, Rc<Switch>),
            Nothing,
        }
        let cancel = match &*handle(future, "future")?.kind()? {
            Kind::Working { engine, number } => Cancel::Operation(engine.clone(), *number),
            Kind::Replacing { engine, switch } => Cancel::Replacement(engine.clone(), switch.clone()),
            _ => Cancel::Nothing,
        };
        match cancel {
            Cancel::Operation(engine, number) => engine.engine.cancel(number)?,
            Cancel::Replacement(engine, switch) => engine.engine.cancel_replacement(&switch)?,
            Cancel::Nothing => {}
        }
        // SAFETY: the header says that it is a future that the library gave out, released once.
        let mut future = unsafe { Box::from_raw(future) };
        let kind = core::mem::replace(future.kind.get_mut(), Kind::Over { engine: None });
        if let Kind::Working { engine, .. }
        | Kind::Replacing { engine, .. }
        | Kind::Done { engine }
        | Kind::Over { engine: Some(engine) } = kind
        {
            engine.spare.set(Some(future));
        }
        Ok(())
    })
}

//! `wasm_engine_*`: one running guest on one core.

use super::error::wasm_error;
use super::factory::wasm_factory;
use super::future::{taken, wasm_future};
use super::{Out, boundary, first_size, sized, take};
use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state, wasm_poll};
use crate::base::status::wasm_status;
use crate::engine::seat::{Kind, Seat};
use crate::host::sink::{OutputSink, wasm_output_sink};
use crate::host::slice::{CallScope, wasm_slice};
use crate::host::waker::wasm_waker;
use core::cell::Cell;
use core::ffi::c_void;
use std::rc::Rc;

/// An engine. Owned by whoever made it, and used only on the thread that made it.
pub struct wasm_engine {
    pub(crate) engine: Seat,
    /// Memory for the next future.
    pub(crate) spare: Cell<Option<Box<wasm_future>>>,
}

/// An engine that the calling thread may use.
#[inline]
pub(crate) fn engine_on_this_thread(scope: &CallScope, engine: *const wasm_engine) -> Result<&wasm_engine> {
    let engine = scope.handle(engine, "engine")?;
    engine.engine.check_thread()?;
    Ok(engine)
}

/// Another reference, for a future. To be called after `owned`: the count is not for several threads.
#[inline]
fn reference(engine: *const wasm_engine) -> Rc<wasm_engine> {
    // SAFETY: `engine` is the inside of an `Rc` that the host keeps alive, and this is the thread that made it.
    unsafe {
        Rc::increment_strong_count(engine);
        Rc::from_raw(engine)
    }
}

/// Settings of an engine.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_engine_config {
    /// `sizeof(wasm_engine_config)`.
    pub size: usize,
    /// 1: a user of the one engine that the calling thread shares for this factory. The first user makes that, the last
    /// one takes it along. To its host each user is an engine of its own, and stopped; what is shared is the guest,
    /// with its memory. Default 0.
    ///
    /// Starting starts the guest if no user has it running, else is over at once, or when the start that is going on
    /// is. Transforms queue, first come, first served. The user at the front drives the guest with its own polls; the
    /// others' futures are pending until it is their turn. So a user that does not poll its future, or whose sink does
    /// not settle its promise, holds the others up; releasing the future, or the user, lets them go on.
    ///
    /// A failure is that of the user whose batch it was, and so is a cancelled transform: this user is stopped. The
    /// next one in the queue starts the guest again before its batch, as part of its own operation, and if that start
    /// fails, so does this operation. Stopping a user leaves the guest to the others; with the last one that is started
    /// it goes, and its memory.
    ///
    /// Policies and statistics are each user's own. Host functions and log lines see the engine and the user data of
    /// the user whose turn it is, or was last. `wasm_engine_get_memory_size` is the guest's. The metrics know one
    /// engine, whose restarts and errors count once.
    pub shared: u32,
}

/// Makes an engine that belongs to the calling thread. It is stopped. Cheap: nothing is instantiated yet. `config` may
/// be NULL for the defaults.
///
/// `WASM_STATUS_INVALID_STATE` for a shared one if the thread is at its very end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_create(
    factory: *const wasm_factory,
    config: *const wasm_engine_config,
    engine: *mut *mut wasm_engine,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let factory = scope.handle(factory, "factory")?;
        let shared = match config.is_null() {
            true => 0,
            // SAFETY: the header says so; and all zeros is a valid config.
            false => unsafe { sized(config, first_size!(wasm_engine_config, shared), "config")? }.shared,
        };
        let out = Out::new(engine, "engine")?;
        let kind = match shared {
            0 => Kind::Own,
            1 => Kind::Shared,
            other => return Err(Error::invalid(format!("config field shared is {other}; it must be 0 or 1"))),
        };
        out.set(made(Seat::new(kind, &factory.compiled)?));
        Ok(())
    })
}

fn made(engine: Seat) -> *mut wasm_engine {
    let engine = Rc::new(wasm_engine { engine, spare: Cell::new(None) });
    let raw = Rc::as_ptr(&engine).cast_mut();
    engine.engine.set_owner(raw.cast());
    Rc::into_raw(engine).cast_mut()
}

/// Puts a new version in the engine's place while it works: make before break.
///
/// The guest of `factory` is started, by polls of `future`, while the old one goes on to be fed. When it is started and
/// no operation of the engine is going on, or at the end of the one that is, the engine is the new one's, and the old
/// guest is stopped and freed. `future` is ready then. If the new guest fails to start, `future` fails with the reason,
/// and the old one stays. An engine that was stopped is started then, and a `wasm_engine_start` after that is over at
/// once. Under a policy, a start that waits because the old guest failed is over with the new one's: its
/// waker is called, whatever the timer does.
///
/// Releasing `future` early gives the new guest up; so do stopping and releasing the engine, with
/// `WASM_STATUS_CANCELLED` for `future`. A user of a shared engine becomes one of the new factory's. Policy, tally and
/// user data stay. Metrics go on under the new factory's name.
///
/// For that while there are two guests: a pool must have room for both, else `future` fails with
/// `WASM_STATUS_POOL_EXHAUSTED`. `WASM_STATUS_INVALID_STATE` while another replacement is going on; and as
/// `wasm_engine_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_replace(
    engine: *mut wasm_engine,
    factory: *const wasm_factory,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let inner = engine_on_this_thread(scope, engine)?;
        let factory = scope.handle(factory, "factory")?;
        let out = Out::new(future, "future")?;
        let switch = inner.engine.replace(&factory.compiled)?;
        out.set(wasm_future::replacement(reference(engine), switch));
        Ok(())
    })
}

/// Starts the guest: instantiates the module and lets it run until it waits for a batch.
///
/// `future` becomes ready when it does, or fails: with a `WASM_STATUS_GUEST_…`, or with `WASM_STATUS_POOL_EXHAUSTED` if there is
/// no memory or stack for it. `WASM_STATUS_INVALID_STATE` if the engine is not stopped, or the thread is at its very end,
/// where what libraries keep for each thread is gone; and in memory mode
/// `WASM_MEMORY_MODE_THREAD_POOL` `WASM_STATUS_THREAD_NOT_PREPARED` on a thread without a pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_start(
    engine: *mut wasm_engine,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let inner = engine_on_this_thread(scope, engine)?;
        let out = Out::new(future, "future")?;
        out.set(wasm_future::operation(reference(engine), inner.engine.start()?));
        Ok(())
    })
}

/// A transform: a batch for the guest, and where the output goes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_transform_args {
    /// `sizeof(wasm_transform_args)`.
    pub size: usize,
    /// A Kafka record batch, magic 2, as it is on the wire, compressed or not, and nothing after it. It is borrowed, not
    /// copied, and must stay unchanged until the operation is over: until its future is ready, has failed, or is
    /// released, or the engine is stopped or released.
    pub batch: wasm_slice,
    /// Gets the guest's output, in the order of its writes, while the operation is polled. It is copied, and dropped when
    /// the operation is over, or when the call fails.
    pub sink: *const wasm_output_sink,
    /// The index of the first record that the guest gets. Default 0. After a failure, to go on behind the record that
    /// failed, or to try that one again. The guest is told how many records are left; indices in errors still count
    /// from the batch's first record.
    pub first_record: u32,
}

/// Gives the guest one record batch.
///
/// It is checked here, as a whole: with a `WASM_STATUS_BATCH_…` nothing has reached the guest and the engine is as it
/// was. A compressed one is decompressed here, on the calling thread.
///
/// What an input record gave rise to is handed over to the sink whole, after the guest has finished that record; only if
/// it exceeds `output_buffer_limit` it comes in parts.
///
/// `future` becomes ready when the guest asks for the next batch and the sink has everything. It fails with a
/// `WASM_STATUS_GUEST_…` when the guest ends; the sink then has the output of all records before the one that the error
/// names. It fails with `WASM_STATUS_OUTPUT_REJECTED` when the sink fails. In both cases the engine is stopped.
///
/// Errors of the call itself: `WASM_STATUS_INVALID_STATE` if the engine is not idle, `WASM_STATUS_INVALID_ARGUMENT` if the
/// batch has no record `first_record`. With `WASM_STATUS_INVALID_STRUCT_SIZE` the sink is not dropped, because `args` or
/// the sink cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_transform(
    engine: *mut wasm_engine,
    args: *const wasm_transform_args,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so.
        let (args, sink) = unsafe { read(args)? };
        let inner = engine_on_this_thread(scope, engine)?;
        let out = Out::new(future, "future")?;
        let number = begin(inner, args, sink)?;
        out.set(wasm_future::operation(reference(engine), Some(number)));
        Ok(())
    })
}

/// First of all in a call, so that the sink is dropped whatever comes next.
///
/// # Safety
///
/// As the header says.
#[inline]
unsafe fn read(args: *const wasm_transform_args) -> Result<(wasm_transform_args, OutputSink)> {
    // SAFETY: the header says so; and all zeros is valid for both.
    unsafe {
        let args = sized(args, first_size!(wasm_transform_args, first_record), "args")?;
        Ok((args, OutputSink::new(take(args.sink, first_size!(wasm_output_sink, records), "sink")?)))
    }
}

/// Begins a transform; gives the operation's number.
#[inline]
fn begin(engine: &wasm_engine, args: wasm_transform_args, sink: OutputSink) -> Result<u64> {
    if !sink.is_complete() {
        return Err(Error::new(wasm_status::NullArgument, "the sink's callback records is NULL"));
    }
    // SAFETY: the header asks for a batch that stays as it is until the operation has completed, which is what `'static`
    // stands for here: the engine drops its references when it has, or when it is cancelled.
    let batch = unsafe { args.batch.outliving("batch")? };
    engine.engine.transform(batch, args.first_record, sink)
}

/// `wasm_engine_transform` and the first `wasm_future_poll` in one call. A batch whose transform is over at once, as that
/// of nearly every small batch is, needs no future and saves a tenth of its time.
///
/// `state` gets what the poll found, and `future` gets NULL if that is ready, else the future, to be polled on. `waker`,
/// which may be NULL, is consumed as by `wasm_future_poll`, also when this call fails.
///
/// Errors as of both calls; then the operation is over, there is no future, and the sink has been dropped. Only what a
/// later poll can mend, such as `WASM_STATUS_SIGNALS_BLOCKED`, is left to that one to tell: the state is yielded then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_transform_and_poll(
    engine: *mut wasm_engine,
    args: *const wasm_transform_args,
    waker: *const wasm_waker,
    state: *mut wasm_poll,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so.
        let waker = unsafe { taken(waker) };
        // SAFETY: the header says so.
        let (args, sink) = unsafe { read(args)? };
        engine_on_this_thread(scope, engine)?;
        // Callbacks may release the engine while this call stands on it.
        let engine = reference(engine);
        let state = Out::new(state, "state")?;
        let future = Out::new(future, "future")?;
        let number = begin(&engine, args, sink)?;
        let polled = match engine.engine.poll(number, waker) {
            Ok(wasm_poll::Ready) => {
                future.set(core::ptr::null_mut());
                state.set(wasm_poll::Ready);
                return Ok(());
            }
            Ok(polled) => polled,
            Err(e) if e.status.had_no_effect() => wasm_poll::Yielded,
            Err(e) => return Err(e),
        };
        future.set(wasm_future::operation(engine, Some(number)));
        state.set(polled);
        Ok(())
    })
}

/// Stops the guest, whatever it is doing, and frees its memory and stack. A start or transform that is going on fails with
/// `WASM_STATUS_CANCELLED`. Stopping a stopped engine is fine.
///
/// `future` is ready at the first poll; it may be released unpolled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_stop(
    engine: *mut wasm_engine,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let inner = engine_on_this_thread(scope, engine)?;
        let out = Out::new(future, "future")?;
        inner.engine.stop()?;
        out.set(wasm_future::operation(reference(engine), None));
        Ok(())
    })
}

/// Attaches a pointer of the host's to the engine, which host functions get from `wasm_call_user_data`. The library never
/// follows it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_set_user_data(
    engine: *mut wasm_engine,
    user_data: *mut c_void,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        engine_on_this_thread(scope, engine)?.engine.set_user_data(user_data);
        Ok(())
    })
}

/// What the engine is doing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_get_state(
    engine: *const wasm_engine,
    state: *mut wasm_engine_state,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let inner = engine_on_this_thread(scope, engine)?;
        Out::new(state, "state")?.set(inner.engine.state());
        Ok(())
    })
}

/// Bytes of linear memory that the guest has; 0 if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_get_memory_size(
    engine: *const wasm_engine,
    bytes: *mut u64,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let inner = engine_on_this_thread(scope, engine)?;
        Out::new(bytes, "bytes")?.set(inner.engine.memory_size() as u64);
        Ok(())
    })
}

/// Stops and frees the engine. Futures of it may be released later; polling them gives `WASM_STATUS_CANCELLED`. NULL is
/// fine.
///
/// `WASM_STATUS_WRONG_THREAD` or `WASM_STATUS_BUSY`, and nothing is freed, on another thread or from one of the engine's
/// own callbacks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_release(engine: *mut wasm_engine, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| {
        if engine.is_null() {
            return Ok(());
        }
        engine_on_this_thread(scope, engine)?.engine.close()?;
        // SAFETY: the header says that it is an engine that the library gave out, released once; and this is its thread.
        drop(unsafe { Rc::from_raw(engine.cast_const()) });
        Ok(())
    })
}

//! An engine is one running guest on one thread. A host makes it, starts it and gives it one batch after another.

use super::error::wasm_error;
use super::factory::wasm_factory;
use super::future::wasm_future;
use super::transform::{TransformArgs, begin_and_poll, begin_with_future};
use super::{Out, boundary, first_size, memory_is_there, sized};
use crate::base::error::{Error, Result};
use crate::base::state::{wasm_engine_state, wasm_poll};
use crate::base::status::wasm_status;
use crate::engine::seat::{EngineKind, Seat};
use crate::host::sink::{OutputSink, wasm_output_sink};
use crate::host::slice::{CallScope, wasm_slice};
use crate::host::waker::wasm_waker;
use core::cell::Cell;
use core::ffi::c_void;
use std::rc::Rc;

/// An engine. Owned by the host that made it. Used and released only on the thread that made it.
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

/// The same, kept for a future. Taken before anything else is done: callbacks may release the engine during the call.
#[inline]
pub(super) fn reference(scope: &CallScope, engine: *const wasm_engine) -> Result<Rc<wasm_engine>> {
    engine_on_this_thread(scope, engine)?;
    // SAFETY: `engine` is the inside of an `Rc` that the host keeps alive, and this is the thread that made it.
    Ok(unsafe {
        Rc::increment_strong_count(engine);
        Rc::from_raw(engine)
    })
}

/// Settings of an engine.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_engine_config {
    /// `sizeof(wasm_engine_config)`.
    pub size: usize,
    /// 1: a user of the one engine that the calling thread shares for this factory. The first user makes that engine
    /// and the last one frees it. To its host each user is an engine of its own, stopped at first. The users share the
    /// guest and its memory. Default 0.
    ///
    /// Starting a user starts the guest if no user has it running. Otherwise the start completes at once or with the
    /// start in progress. Transforms queue in the order of their calls. The user at the front drives the guest with its
    /// own polls. The futures of the others are pending until their turn. So a user holds the others up if it does not
    /// poll its future or if its sink does not settle its promise. Releasing the future or the user lets the others
    /// continue.
    ///
    /// A failure belongs to the user whose batch it was. So does a cancelled transform. That user is stopped. The next
    /// user in the queue starts the guest again before its batch, as part of its own operation. If that start fails, so
    /// does that operation. Stopping a user leaves the guest to the others. When the last started user stops, the guest
    /// ends and its memory is freed.
    ///
    /// Each user has its own policy and statistics. Host functions and log lines see the engine and the user data of
    /// the user that has the turn or had it last. `wasm_engine_get_memory_size` reports the guest's memory. The metrics
    /// know one engine whose restarts and errors count once.
    pub shared: u32,
}

/// Makes an engine that belongs to the calling thread. It is stopped. Cheap because nothing is instantiated yet.
/// `config` may be NULL for the defaults. The engine keeps what it needs of the factory. Release it with
/// `wasm_engine_release` on this thread.
///
/// `WASM_STATUS_INVALID_STATE` for a shared engine if the thread is at its very end.
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
            // SAFETY: the header says so. All zeros is a valid config.
            false => unsafe { sized(config, first_size!(wasm_engine_config, shared), "config")? }.shared,
        };
        let out = Out::new(engine, "engine")?;
        let kind = match shared {
            0 => EngineKind::Own,
            1 => EngineKind::Shared,
            other => return Err(Error::invalid(format!("config field shared is {other}; it must be 0 or 1"))),
        };
        memory_is_there()?;
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

/// Hot swap: replaces the engine by one of another factory without a stop.
///
/// Polls of `future` start the guest of `factory`. The old guest continues to take batches in the meantime. The engine
/// switches as soon as the new guest has started and no operation is in progress: at once or at the end of the current
/// operation. Then the old guest is stopped and freed and `future` is ready. If the new guest fails to start, `future`
/// fails with the reason and the old guest stays. An engine that was stopped is started by the switch and its next
/// `wasm_engine_start` completes at once. A start that waits under a policy completes with the start of the new guest.
/// Its waker is called whatever the timer does.
///
/// Releasing `future` early drops the new guest. So do stopping and releasing the engine. Then `future` fails with
/// `WASM_STATUS_CANCELLED`. A user of a shared engine becomes a user of the new factory's shared engine. Policy,
/// statistics and user data stay. Metrics continue under the new factory's name.
///
/// Two guests exist during the replacement. A pool must have room for both, else `future` fails with
/// `WASM_STATUS_POOL_EXHAUSTED`. `WASM_STATUS_INVALID_STATE` while another replacement is in progress. Other errors are
/// those of `wasm_engine_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_replace(
    engine: *mut wasm_engine,
    factory: *const wasm_factory,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let engine = reference(scope, engine)?;
        let factory = scope.handle(factory, "factory")?;
        let out = Out::new(future, "future")?;
        memory_is_there()?;
        let state = engine.engine.replace(&factory.compiled)?;
        out.set(wasm_future::replacement(engine, state));
        Ok(())
    })
}

/// Starts the guest. The module is instantiated and runs until it waits for a batch.
///
/// `future` becomes ready when the guest waits for a batch. It fails with a `WASM_STATUS_GUEST_…` if the guest ends. It
/// fails with `WASM_STATUS_POOL_EXHAUSTED` if there is no memory or stack for the guest.
///
/// Errors of the call itself: `WASM_STATUS_INVALID_STATE` if the engine is not stopped or the thread is at its very
/// end, where thread-local data is gone already. `WASM_STATUS_THREAD_NOT_PREPARED` in memory mode
/// `WASM_MEMORY_MODE_THREAD_POOL` on a thread without a pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_start(
    engine: *mut wasm_engine,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let engine = reference(scope, engine)?;
        let out = Out::new(future, "future")?;
        memory_is_there()?;
        let number = engine.engine.start()?;
        out.set(wasm_future::operation(engine, number));
        Ok(())
    })
}

/// A batch for the guest and the destination of its output.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_transform_args {
    /// `sizeof(wasm_transform_args)`.
    pub size: usize,
    /// A Kafka record batch with magic 2 as it is on the wire, compressed or not, and nothing after it. It is borrowed
    /// and not copied. It must stay unchanged until the operation has completed: its future is ready, has failed or is
    /// released, or the engine is stopped or released.
    pub batch: wasm_slice,
    /// Receives the guest's output in the order of its writes while the operation is polled. The struct is copied. The
    /// sink is dropped when the operation completes or when the call fails.
    pub sink: *const wasm_output_sink,
    /// The index of the first record that the guest gets. Default 0. After a failure a host continues behind the failed
    /// record with it or tries that record again. The engine must be started again before. The guest is told how many
    /// records are left. Indices in errors still count from the batch's first record. Behind the batch's last record
    /// there is nothing to continue with: that is `WASM_STATUS_INVALID_ARGUMENT`.
    pub first_record: u32,
}

/// Gives the guest one record batch.
///
/// The whole batch is checked and decompressed before the guest sees anything of it. That is done by the polls, which
/// yield as a guest does: no batch keeps the thread for longer than a time slice. `future` fails with a
/// `WASM_STATUS_BATCH_…` if the batch is refused. It fails with `WASM_STATUS_OUT_OF_MEMORY` if the allocator refuses
/// memory for it. In both cases nothing has reached the guest and the engine is idle as before.
///
/// The output of an input record is delivered to the sink as a whole after the guest has finished that record: in one
/// block, or in several if it has more than 1,638 records. Only output that exceeds `output_buffer_limit` is delivered
/// in parts.
///
/// `future` becomes ready when the guest asks for the next batch and the sink has all output. It fails with a
/// `WASM_STATUS_GUEST_…` when the guest ends. The sink then has the output of all records before the one that the error
/// names. It fails with `WASM_STATUS_OUTPUT_REJECTED` when the sink fails. In both cases the engine is stopped: start
/// it again for the next batch or set a policy. The same holds for `WASM_STATUS_OUT_OF_MEMORY` when there is no memory
/// for the guest's output.
///
/// Errors of the call itself: `WASM_STATUS_INVALID_STATE` if the engine is not idle. `WASM_STATUS_INVALID_ARGUMENT` if
/// the batch has no record `first_record`. With `WASM_STATUS_INVALID_STRUCT_SIZE` the sink is not dropped because
/// `args` or the sink cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_transform(
    engine: *mut wasm_engine,
    args: *const wasm_transform_args,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    // SAFETY: the header says so.
    unsafe { begin_with_future(engine, args, future, error) }
}

// SAFETY: integers and pointers, the size first.
unsafe impl TransformArgs for wasm_transform_args {
    const FIRST_SIZE: usize = first_size!(wasm_transform_args, first_record);

    #[inline(always)]
    fn sink(&self) -> *const wasm_output_sink {
        self.sink
    }

    #[inline(always)]
    unsafe fn begin(self, engine: &Seat, sink: OutputSink) -> Result<u64> {
        // SAFETY: the header asks for a batch that stays unchanged until the operation has completed. `'static` stands
        // for that here: the engine drops its references when the operation completes, is cancelled or ends with a
        // panic.
        let batch = unsafe { self.batch.outliving("batch")? };
        engine.transform(batch.into(), self.first_record, None, sink)
    }
}

/// `wasm_engine_transform` and the first `wasm_future_poll` in one call. The transform of nearly every small batch
/// completes at once. Such a batch needs no future and saves a tenth of its time.
///
/// `state` gets the result of the poll. `future` gets NULL if that is ready. Otherwise it gets the future, which the
/// host continues to poll. `waker` may be NULL. It is consumed as by `wasm_future_poll`, also when this call fails.
///
/// Errors are those of both calls. After an error the operation has completed, there is no future and the sink has been
/// dropped. One exception: errors that a later poll can still avoid are left to that poll.
/// `WASM_STATUS_SIGNALS_BLOCKED` is one. The state is yielded then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_transform_and_poll(
    engine: *mut wasm_engine,
    args: *const wasm_transform_args,
    waker: *const wasm_waker,
    state: *mut wasm_poll,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    // SAFETY: the header says so.
    unsafe { begin_and_poll(engine, args, waker, state, future, error) }
}

/// Stops the guest in any state and frees its memory and stack. A start or transform in progress fails with
/// `WASM_STATUS_CANCELLED`. Stopping a stopped engine does nothing.
///
/// `future` is ready at the first poll. It may be released unpolled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_stop(
    engine: *mut wasm_engine,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let engine = reference(scope, engine)?;
        let out = Out::new(future, "future")?;
        engine.engine.stop()?;
        out.set(wasm_future::operation(engine, None));
        Ok(())
    })
}

/// Attaches a pointer of the host to the engine. Host functions get it from `wasm_call_user_data`. The library never
/// dereferences or frees it.
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

/// Writes what the engine is doing.
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

/// Writes the bytes of linear memory that the guest has. 0 if there is no guest.
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

/// Stops and frees the engine. Its futures may be released later. Polling them returns `WASM_STATUS_CANCELLED`. NULL
/// does nothing.
///
/// `WASM_STATUS_WRONG_THREAD` on another thread. `WASM_STATUS_BUSY` from one of the engine's own callbacks. Nothing is
/// freed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_release(engine: *mut wasm_engine, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| {
        if engine.is_null() {
            return Ok(());
        }
        engine_on_this_thread(scope, engine)?.engine.close()?;
        // SAFETY: the header says that the engine came from the library and is released once. This is its thread.
        drop(unsafe { Rc::from_raw(engine.cast_const()) });
        Ok(())
    })
}

//! A custom engine of the host: callbacks instead of a guest. The rest is as with guests. The batch is checked before
//! the callbacks see it. Output collects in the same buffer. Policies and metrics make no difference.
#![allow(unsafe_code)]

use crate::base::description::{Description, in_call};
use crate::base::error::{Error, GuestDetail, Result};
use crate::base::number::wasm_callback_result_number;
use crate::base::status::wasm_status as Status;
use crate::batch::reader::Record;
use crate::guest::context::Context;
use crate::guest::output::Pushed;
use crate::guest::work::Work;
use crate::host::call::{Ended, Settled, Waiting, wasm_call, wasm_callback_result};
use crate::host::owned::{Owned, host_data};
use crate::host::slice::wasm_slice;
use core::cell::Cell;
use core::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

/// A custom engine: remote, in native code or a dummy for tests.
///
/// `start` and `transform` are steps. `wasm_future_poll` calls them and each returns a `wasm_callback_result`: done,
/// failed, again or pending with a promise from its call. When that promise is resolved on any thread, the same step is
/// called again with the same arguments until it returns done or failed. A rejected promise fails the step. Failures
/// have the status `WASM_STATUS_CUSTOM_ENGINE_FAILED` and stop the engine. Policies treat them as a guest's. One that
/// is nobody's fault has `WASM_STATUS_CUSTOM_ENGINE_LOST`: see `wasm_call_lose_engine`.
///
/// All callbacks but `drop` are called on the engine's thread. They must not throw or block because no time limit
/// applies to them. Functions that would change the state of the same engine return `WASM_STATUS_BUSY` there. Their
/// calls have the engine and its user data (`wasm_call_engine`, `wasm_call_user_data`; not in `create`) but no guest
/// memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_custom_engine {
    /// `sizeof(wasm_custom_engine)`.
    pub size: usize,
    /// The host's own. Shared by all engines of the factory, whose threads may use it at once.
    pub data: *mut c_void,
    /// Frees `data`. Called once: when the factory, its last engine and that engine's futures are gone, on the thread
    /// that releases the last of them. Or when `wasm_factory_create_custom` fails. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Makes an engine. Writes the engine's own data to `engine_data`, which is NULL before. Must return done or failed
    /// at once. Called by `wasm_engine_create`. If the result is not done, data that was written is never freed. NULL:
    /// the other callbacks get `data` and `release` is not called.
    pub create: Option<
        unsafe extern "C" fn(
            data: *mut c_void,
            engine_data: *mut *mut c_void,
            call: *mut wasm_call,
        ) -> wasm_callback_result_number,
    >,
    /// Starts the engine. NULL: the engine is started at once.
    pub start:
        Option<unsafe extern "C" fn(engine_data: *mut c_void, call: *mut wasm_call) -> wasm_callback_result_number>,
    /// Transforms the records of `batch` from the one with index `first_record` on. Must not be NULL.
    ///
    /// `batch` is the checked batch of `wasm_engine_transform`. It can be read until the last callback result or
    /// `stop`. `work` returns the records one by one and decompressed. It also takes the output. It is valid until the
    /// callback returns. Output and a failure belong to the record that was taken last unless `wasm_call_fail_record`
    /// names another.
    pub transform: Option<
        unsafe extern "C" fn(
            engine_data: *mut c_void,
            batch: wasm_slice,
            first_record: u32,
            work: *mut wasm_work,
            call: *mut wasm_call,
        ) -> wasm_callback_result_number,
    >,
    /// Stops an engine whose `start` was called or would have been. Called in any state and also after a failure. When
    /// it returns, the batch must not be accessed any more. Promises may still be settled without effect. May be NULL.
    pub stop: Option<unsafe extern "C" fn(engine_data: *mut c_void)>,
    /// Frees what `create` made. Called once on the stopped engine when it is released. May be NULL.
    pub release: Option<unsafe extern "C" fn(engine_data: *mut c_void)>,
    /// Bytes of memory that the engine has now. For `wasm_engine_get_memory_size` and the metrics. Called after each
    /// step. NULL: 0.
    pub memory_size: Option<unsafe extern "C" fn(engine_data: *mut c_void) -> u64>,
}

host_data!(wasm_custom_engine: AnyThread, "The header says: on the threads of all engines, and `drop` on any.");

/// A table that is owned.
pub struct Callbacks(Owned<wasm_custom_engine>);

impl Callbacks {
    /// Takes over a host's table.
    pub fn new(table: Owned<wasm_custom_engine>) -> Self {
        Self(table)
    }

    /// Whether the required callbacks are set.
    pub fn is_complete(&self) -> bool {
        self.0.transform.is_some()
    }
}

/// One custom engine of the host.
pub struct Instance {
    callbacks: Arc<Callbacks>,
    data: *mut c_void,
}

impl Instance {
    /// Has the host make one.
    pub fn create(callbacks: &Arc<Callbacks>, transform: &Description) -> Result<Self> {
        let table = &callbacks.0;
        let mut data = table.data;
        if let Some(create) = table.create {
            data = core::ptr::null_mut();
            let mut call = wasm_call::of_custom(core::ptr::null_mut(), core::ptr::null_mut());
            // SAFETY: the host gave function and data together; the other arguments outlive the call.
            let result = unsafe { create(table.data, &raw mut data, &raw mut call) };
            let why = match call.ended(result, "the custom engine's create") {
                Ended::Done => None,
                Ended::Pending(_) => Some("its create must return done or failed at once".to_owned()),
                Ended::Failed(why) => Some(why),
            };
            if let Some(why) = why {
                let why = format_args!("no engine could be made: {why}");
                return Err(transform.error(Status::CustomEngineFailed, why));
            }
        }
        Ok(Self { callbacks: callbacks.clone(), data })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.callbacks.0.create.is_some()
            && let Some(release) = self.callbacks.0.release
        {
            // SAFETY: `create` gave the data, and this runs once.
            unsafe { release(self.data) }
        }
    }
}

/// The result of a step.
pub enum StepResult {
    /// The operation has completed.
    Done,
    /// The output must go to the host before the next step.
    Full,
    /// The next step may come after other tasks.
    Again,
    /// The next step comes when this is settled.
    Pending(Waiting),
    /// The operation failed.
    Failed(Error),
}

/// A custom engine of the host from its start to its stop.
pub struct RunningEngine(Rc<Instance>);

impl RunningEngine {
    /// For an engine that is about to be started.
    pub fn new(instance: Rc<Instance>) -> Self {
        Self(instance)
    }

    /// The next step of a start or of a transform of the current batch. `settled` is the result of the promise that it
    /// waited for.
    pub fn step(&self, context: &Context, transforms: bool, settled: Option<Settled>) -> StepResult {
        let step = match settled {
            Some(Settled::Rejected(why)) => StepResult::Failed(failure(context, FAILED, &why, None)),
            Some(Settled::RejectedAt(why, index)) => StepResult::Failed(failure(context, FAILED, &why, Some(index))),
            _ if transforms => self.transform(context),
            _ => self.start(context),
        };
        if let Some(memory_size) = self.0.callbacks.0.memory_size {
            // SAFETY: the host gave function and data together.
            context.note_memory_size(unsafe { memory_size(self.0.data) } as usize);
        }
        step
    }

    fn start(&self, context: &Context) -> StepResult {
        let Some(start) = self.0.callbacks.0.start else { return StepResult::Done };
        let mut call = wasm_call::of_custom(context.owner.get(), context.user_data.get());
        // SAFETY: the host gave function and data together; the call outlives it.
        let result = unsafe { start(self.0.data, &raw mut call) };
        ended(context, &mut call, result, "its start")
    }

    fn transform(&self, context: &Context) -> StepResult {
        let (there, bytes, first) = {
            let batch = &context.see().batch;
            (batch.is_there(), batch.input.batch(), batch.first)
        };
        let (Some(transform), true) = (self.0.callbacks.0.transform, there) else {
            return StepResult::Failed(Error::new(
                Status::Internal,
                "a transform is in progress but there is no batch",
            ));
        };
        let mut call = wasm_call::of_custom(context.owner.get(), context.user_data.get());
        let mut work = wasm_work { context: core::ptr::from_ref(context), full: Cell::new(false) };
        // SAFETY: the host passed function and data together. The batch outlives the operation. The rest outlives this
        // call.
        let result = unsafe { transform(self.0.data, wasm_slice::of(bytes), first, &raw mut work, &raw mut call) };
        match ended(context, &mut call, result, "its transform") {
            StepResult::Again if work.full.get() => StepResult::Full,
            StepResult::Done => {
                let mut work = context.work();
                // Records that it did not take one by one are done as a whole.
                while next(&mut work, context).is_some() {}
                context.finish_record(&mut work.output);
                work.batch.end();
                StepResult::Done
            }
            step => step,
        }
    }
}

impl Drop for RunningEngine {
    fn drop(&mut self) {
        if let Some(stop) = self.0.callbacks.0.stop {
            // SAFETY: the host gave function and data together.
            unsafe { stop(self.0.data) }
        }
    }
}

/// The status of a step that failed for a reason of its own.
const FAILED: Status = Status::CustomEngineFailed;

/// Reads the result of a step.
fn ended(context: &Context, call: &mut wasm_call, result: u32, who: &str) -> StepResult {
    if result == wasm_callback_result::Again as u32 {
        return StepResult::Again;
    }
    match call.ended(result, who) {
        Ended::Done => StepResult::Done,
        Ended::Pending(waiting) => StepResult::Pending(waiting),
        Ended::Failed(why) => {
            let status = if call.is_lost() { Status::CustomEngineLost } else { FAILED };
            StepResult::Failed(failure(context, status, &why, call.failed_at()))
        }
    }
}

/// The error of a step that failed at a record that it named or at the current one.
fn failure(context: &Context, status: Status, why: &str, named: Option<u32>) -> Error {
    // While it starts there is no record.
    let unknown = named.filter(|&index| context.has_started() && !take_until(context, index));
    let record = if unknown.is_some() { None } else { context.record() };
    let transform = context.transform();
    let place = match (unknown, record) {
        (Some(index), _) => format!(", at record {index}, which it was not given or has finished"),
        (None, Some(at)) => format!(", record {} of the batch (offset {})", at.index, at.offset),
        (None, None) if context.has_started() => ", between records".to_owned(),
        (None, None) => ", while it started".to_owned(),
    };
    let detail = GuestDetail { record, ..GuestDetail::default() };
    // There is no record to continue behind.
    let guest = unknown.is_none().then(|| Box::new(detail));
    let batch = context.batch();
    let message = format!("{transform}{}{place}: {why}", in_call(batch));
    Error { status, message, batch: batch.unwrap_or(0), guest }
}

/// Makes the record with index `index` the current one. False if it does not exist or was finished.
fn take_until(context: &Context, index: u32) -> bool {
    let mut work = context.work();
    loop {
        let batch = &work.batch;
        if !batch.is_there() {
            return false;
        }
        match (batch.in_record, batch.taken) {
            (true, taken) if taken.checked_sub(1) == Some(index) => return true,
            (_, taken) if taken > index => return false,
            _ => {}
        }
        if next(&mut work, context).is_none() {
            return false;
        }
    }
}

/// Takes the next record. The one before is finished.
fn next(work: &mut Work, context: &Context) -> Option<(u32, Record<'static>)> {
    let Work { batch, output, taken, .. } = work;
    if !batch.is_there() {
        return None;
    }
    if core::mem::take(&mut batch.in_record) {
        context.finish_record(output);
    }
    let record = batch.peek()?;
    batch.take(&record);
    taken.records += 1;
    taken.bytes += record.payload.len() as u64;
    context.set_wall_clock(record.timestamp);
    Some((batch.taken - 1, record))
}

/// The batch that a custom engine works on. Valid until its `transform` returns. Used on its thread only.
pub struct wasm_work {
    context: *const Context,
    /// Output was refused because there was no room.
    full: Cell<bool>,
}

impl wasm_work {
    fn context(&self) -> &Context {
        // SAFETY: made from a reference that outlives the callback. This must not be used after the callback.
        unsafe { &*self.context }
    }

    /// The next record with its index if there is one.
    pub fn next(&self) -> Option<(u32, Record<'static>)> {
        next(&mut self.context().work(), self.context())
    }

    /// Takes output for the current record. `topic` is an index. `payload` was checked.
    pub fn write(&self, payload: &[u8], topic: u32) -> Result<()> {
        let context = self.context();
        let topics = context.transform().output_topics.len();
        if topic as usize >= topics {
            return Err(Error::invalid(format!("topic is {topic}; the factory has {topics} output topics")));
        }
        let mut work = context.work();
        let Work { batch, output, .. } = &mut *work;
        if !batch.is_there() {
            return Err(Error::new(Status::InvalidState, "there is no current batch"));
        }
        let timestamp = if batch.taken == batch.first { batch.first_timestamp } else { context.latest_time() };
        match output.push(payload, topic, batch.origin(timestamp)) {
            Pushed::Stored => {
                batch.position = batch.position.next();
                Ok(())
            }
            Pushed::TooLarge => Err(Error::invalid(format!(
                "the record has {} bytes and output_buffer_limit is {}",
                payload.len(),
                context.transform().limits.output_buffer
            ))),
            Pushed::OutOfMemory => Err(Error::new(
                Status::OutOfMemory,
                format!("the allocator refused memory for a record of {} bytes; try again later", payload.len()),
            )),
            Pushed::Full => {
                self.full.set(true);
                Err(Error::new(
                    Status::OutputFull,
                    "the output must go to the host first: return again and then write the record",
                ))
            }
        }
    }
}

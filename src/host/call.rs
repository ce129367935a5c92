//! The call that a callback of the host belongs to: the guest's memory and the promise for a later result.
#![allow(unsafe_code)]

use super::owned::{Owned, host_data};
use crate::base::number::wasm_callback_result_number;
use crate::host::schema::SubjectSchema;
use crate::host::sink::wasm_output_batch;
use crate::host::value::{MAX_RESULTS, wasm_value, wasm_value_type};
use crate::host::waker::Waker;
use crate::promise::oneshot::{self, Receiver, Sender};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::sync::Arc;

/// What a callback returns.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_callback_result {
    /// The call has completed.
    Done = 0,
    /// The call completes when the promise that the callback took from its `wasm_call` is settled.
    Pending = 1,
    /// The call failed. `wasm_call_fail` has given the reason.
    Failed = 2,
    /// Call again. Only for `transform` and `start` of a `wasm_custom_engine`. If `wasm_work_write` reported that the
    /// output is full, the host's sink gets the output first. Otherwise other tasks run first.
    Again = 3,
}

/// What a call may be settled with. As `Expected` but without shared ownership of the types: most calls complete
/// synchronously.
#[derive(Clone, Copy, Debug, Default)]
enum Wanted {
    #[default]
    Nothing,
    /// Points into the host function. The function outlives its calls.
    Values(NonNull<Arc<[wasm_value_type]>>),
    Schema,
    SchemaId,
    Step,
    /// Nothing, in an output sink. The batches of its block: how many and where they are. They outlive the call.
    Taken {
        count: u32,
        batches: NonNull<wasm_output_batch>,
    },
}

/// What kind of value settles a promise.
#[derive(Clone, Debug, Default)]
pub enum Expected {
    /// No results: the call has completed.
    #[default]
    Nothing,
    /// A host function's results.
    Values(Arc<[wasm_value_type]>),
    /// A schema of a registry.
    Schema,
    /// The number of a schema.
    SchemaId,
    /// No results, but a rejection may name a record. The step of a custom engine.
    Step,
}

/// What a promise is settled with.
#[derive(Debug)]
pub enum Settled {
    /// Results. None for a promise that expects nothing.
    Values(Vec<wasm_value>),
    /// The host continues when it has the engine's thread again.
    Continue(Continuation),
    /// A schema.
    Schema(Box<SubjectSchema>),
    /// A failure with its reason.
    Rejected(String),
    /// A failure at a record of the current batch.
    RejectedAt(String, u32),
}

/// The rest of a host function after its promise was settled. It runs on the engine's thread and may use the guest's
/// memory.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct wasm_continuation {
    /// `sizeof(wasm_continuation)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`. Called exactly once on any thread, whether `run` was called or not. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Finishes the host function. It may use the guest's memory through `call`. It writes `results` and returns a
    /// `wasm_callback_result`: done or failed or pending with a new promise. Called at most once. Must not throw.
    pub run: Option<
        unsafe extern "C" fn(
            data: *mut c_void,
            call: *mut wasm_call,
            results: *mut wasm_value,
        ) -> wasm_callback_result_number,
    >,
}

host_data!(wasm_continuation: AnyThread, "The header says that `drop` runs on any thread; `run` has the engine's.");

/// A continuation that is owned.
#[derive(Debug)]
pub struct Continuation(Owned<wasm_continuation>);

impl Continuation {
    /// Takes over a host's continuation.
    pub fn new(continuation: Owned<wasm_continuation>) -> Self {
        Self(continuation)
    }

    /// Runs the continuation. `results` has room for as many values as any function returns.
    pub fn run(self, call: &mut wasm_call, results: &mut [MaybeUninit<wasm_value>; MAX_RESULTS]) -> u32 {
        let Some(run) = self.0.run else { return wasm_callback_result::Failed as u32 };
        // SAFETY: the host passed function and data together. Both arguments live until after the call.
        unsafe { run(self.0.data, call, results.as_mut_ptr().cast()) }
    }
}

/// The receiving end of a promise.
pub type Waiting = Receiver<Settled, Waker>;

/// The call that a callback belongs to. Valid until the callback returns and only on its thread.
#[derive(Default)]
pub struct wasm_call {
    /// The guest's memory. NULL if there is no guest, as in an output sink.
    memory: Option<NonNull<[u8]>>,
    /// The engine's handle in C.
    engine: Option<NonNull<c_void>>,
    user_data: Option<NonNull<c_void>>,
    wanted: Wanted,
    waiting: Option<Waiting>,
    /// Why the call failed.
    failure: Option<String>,
    /// At which record of the batch.
    failed_at: Option<u32>,
    /// A custom engine lost what it runs on.
    lost: bool,
    /// What a schema registry found at once.
    schema: Option<Settled>,
}

/// The promise of a callback that returned pending. Any thread may use it but only one at a time. It may outlive the
/// engine.
pub struct wasm_promise {
    /// The end that settles.
    pub sender: Sender<Settled, Waker>,
    /// What the promise must be settled with.
    pub expected: Expected,
}

/// How a call ended.
pub enum Ended {
    /// Done.
    Done,
    /// The call continues when this promise is settled.
    Pending(Waiting),
    /// The call failed with this reason.
    Failed(String),
}

impl wasm_call {
    /// A call without a guest: of an output sink that gets records of `batches`, which outlive the call.
    #[inline]
    pub fn of_sink(batches: &[wasm_output_batch]) -> Self {
        let wanted = Wanted::Taken { count: batches.len() as u32, batches: NonNull::from(batches).cast() };
        Self { wanted, ..Self::default() }
    }

    /// A call without a guest: of a timer.
    pub fn of_timer() -> Self {
        Self::default()
    }

    /// The batches of an output sink's block. None in other calls.
    pub fn output_batches(&self) -> Option<(NonNull<wasm_output_batch>, usize)> {
        match self.wanted {
            Wanted::Taken { count, batches } => Some((batches, count as usize)),
            _ => None,
        }
    }

    /// A call of a schema registry. It does not use the guest's memory.
    pub fn of_registry(engine: *mut c_void, user_data: *mut c_void, creates: bool) -> Self {
        let wanted = if creates { Wanted::SchemaId } else { Wanted::Schema };
        Self { engine: NonNull::new(engine), user_data: NonNull::new(user_data), wanted, ..Self::default() }
    }

    /// A call of an engine that is a table of callbacks.
    pub fn of_custom(engine: *mut c_void, user_data: *mut c_void) -> Self {
        let wanted = Wanted::Step;
        Self { engine: NonNull::new(engine), user_data: NonNull::new(user_data), wanted, ..Self::default() }
    }

    /// A call of a guest.
    ///
    /// # Safety
    ///
    /// The memory must not move and nothing else may use it until the call ends. `results` must outlive the call.
    #[inline]
    pub unsafe fn of_guest(
        memory: &mut [u8],
        engine: *mut c_void,
        user_data: *mut c_void,
        results: &Arc<[wasm_value_type]>,
    ) -> Self {
        Self {
            memory: Some(NonNull::from(memory)),
            engine: NonNull::new(engine),
            user_data: NonNull::new(user_data),
            wanted: Wanted::Values(NonNull::from(results)),
            ..Self::default()
        }
    }

    /// The engine. NULL in an output sink.
    pub fn engine(&self) -> *mut c_void {
        self.engine.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    /// What the host attached to the engine.
    pub fn user_data(&self) -> *mut c_void {
        self.user_data.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    /// A range of the guest's memory. A range outside of the memory is recorded as the reason why the call fails.
    pub fn range(&mut self, start: u32, length: u32) -> Result<NonNull<u8>, String> {
        let Some(memory) = self.memory else {
            return Err("this call has no guest and no guest's memory".into());
        };
        let (start_, end) = (start as usize, start as usize + length as usize);
        if end > memory.len() {
            let why = format!(
                "the guest gave a pointer outside of its memory: {length} bytes at {start:#x}, of {} bytes",
                memory.len()
            );
            self.failure = Some(why.clone());
            return Err(why);
        }
        // SAFETY: `start` is not past the end of the memory. The memory is one allocation.
        Ok(unsafe { memory.cast::<u8>().add(start_) })
    }

    /// Says why the call fails.
    pub fn fail(&mut self, why: String) {
        self.failure = Some(why);
        self.failed_at = None;
        self.lost = false;
    }

    /// Records at which record a step of a custom engine fails and why. False for other calls: they have no records.
    pub fn fail_at(&mut self, why: String, index: u32) -> bool {
        let knows = matches!(self.wanted, Wanted::Step);
        if knows {
            self.failure = Some(why);
            self.failed_at = Some(index);
            self.lost = false;
        }
        knows
    }

    /// Records that a custom engine lost what it runs on, why, and from which record to continue. False for other
    /// calls.
    pub fn lose_at(&mut self, why: String, index: u32) -> bool {
        let knows = self.fail_at(why, index);
        self.lost = knows;
        knows
    }

    /// Whether `lose_at` was the last to say why.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// The record that `fail_at` named.
    pub fn failed_at(&self) -> Option<u32> {
        self.failed_at
    }

    /// The promise of this call. Taking a second one makes the first worthless.
    pub fn promise(&mut self) -> wasm_promise {
        let (sender, receiver) = oneshot::channel(|| {
            Settled::Rejected("the host dropped its promise without resolving or rejecting it".to_owned())
        });
        self.waiting = Some(receiver);
        wasm_promise { sender, expected: self.expected() }
    }

    /// What the call may be settled with.
    pub fn expected(&self) -> Expected {
        match self.wanted {
            Wanted::Nothing | Wanted::Taken { .. } => Expected::Nothing,
            // SAFETY: `of_guest` got the pointer from a reference that outlives the call.
            Wanted::Values(types) => Expected::Values(unsafe { types.as_ref() }.clone()),
            Wanted::Schema => Expected::Schema,
            Wanted::SchemaId => Expected::SchemaId,
            Wanted::Step => Expected::Step,
        }
    }

    /// Answers a schema registry's call at once.
    pub fn set_schema(&mut self, settled: Settled) {
        self.schema = Some(settled);
    }

    /// What `set_schema` gave.
    pub fn take_schema(&mut self) -> Option<Settled> {
        self.schema.take()
    }

    /// As `ended` if the callback was done and did nothing else, as nearly every sink. Otherwise gives the call back.
    #[inline(always)]
    #[allow(clippy::result_large_err)] // It is inlined: nothing is moved.
    pub fn ended_at_once(self, answer: u32) -> Result<Ended, Self> {
        // All by name: what owns something must be empty, since nothing is dropped below.
        let Self {
            waiting: None,
            failure: None,
            schema: None,
            memory: _,
            engine: _,
            user_data: _,
            wanted: _,
            failed_at: _,
            lost: _,
        } = &self
        else {
            return Err(self);
        };
        if answer != wasm_callback_result::Done as u32 {
            return Err(self);
        }
        // There is nothing to be dropped.
        core::mem::forget(self);
        Ok(Ended::Done)
    }

    /// Reads a callback's result. `who` names the callback for the message.
    pub fn ended(&mut self, answer: u32, who: &str) -> Ended {
        const DONE: u32 = wasm_callback_result::Done as u32;
        const PENDING: u32 = wasm_callback_result::Pending as u32;
        const FAILED: u32 = wasm_callback_result::Failed as u32;
        const AGAIN: u32 = wasm_callback_result::Again as u32;
        match (answer, self.waiting.take()) {
            (DONE, _) => Ended::Done,
            (PENDING, Some(waiting)) => Ended::Pending(waiting),
            (PENDING, None) => Ended::Failed(format!("{who} returned pending without taking a promise")),
            (FAILED, _) => Ended::Failed(self.failure.take().unwrap_or_else(|| format!("{who} failed"))),
            (AGAIN, _) => {
                Ended::Failed(format!("{who} returned again: only start and transform of a custom engine may"))
            }
            (other, _) => Ended::Failed(format!("{who} returned {other}: this is not a wasm_callback_result")),
        }
    }
}

impl Expected {
    /// Refuses a value of the wrong kind. The text says which kind is expected.
    pub fn check(&self, settled: &Settled) -> Result<(), String> {
        let wanted = match (self, settled) {
            (_, Settled::Rejected(_)) | (Self::Step, Settled::RejectedAt(..)) => return Ok(()),
            (Self::Nothing | Self::Step, Settled::Values(values)) if values.is_empty() => return Ok(()),
            (Self::Values(types), Settled::Values(values)) if values.len() == types.len() => return Ok(()),
            (Self::Values(_), Settled::Continue(_)) => return Ok(()),
            (Self::Schema, Settled::Schema(_)) => return Ok(()),
            (Self::SchemaId, Settled::Values(values)) if values.len() == 1 => return Ok(()),
            (Self::Nothing | Self::Step, _) => "no value".to_owned(),
            (Self::Values(types), _) => format!("{} values or a continuation", types.len()),
            (Self::Schema, _) => "a schema".to_owned(),
            (Self::SchemaId, _) => "one value (the schema's id)".to_owned(),
        };
        let given = match settled {
            Settled::Values(values) => format!("{} values", values.len()),
            Settled::Continue(_) => "a continuation".to_owned(),
            Settled::Schema(_) => "a schema".to_owned(),
            Settled::Rejected(_) => "a rejection".to_owned(),
            Settled::RejectedAt(..) => "a rejection at a record".to_owned(),
        };
        Err(format!("the promise expects {wanted}, but got {given}"))
    }
}

//! Where an engine's output goes: the host's callback, and the promise with which it answers later.
#![allow(unsafe_code)]

use crate::oneshot::{self, Receiver, Sender};
use crate::output::wasm_output_record;
use crate::waker::Waker;
use core::ffi::c_void;

/// How a callback answers.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_answer {
    /// It is done.
    Done = 0,
    /// It will be done when the promise that the callback took from its `wasm_call` is settled.
    Pending = 1,
    /// It cannot be done.
    Failed = 2,
}

/// Receives the output of one `wasm_engine_transform`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_output_sink {
    /// `sizeof(wasm_output_sink)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`; called exactly once for every sink that was given to `wasm_engine_transform`, also if that failed.
    /// May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Takes a block of `count` records, at least one, in the order in which the guest wrote them, and answers with a
    /// `wasm_answer`.
    ///
    /// Called by `wasm_future_poll`, on the engine's thread and the host's own stack. The records and their payloads can
    /// be read until the callback returns. If it answers pending, they can be read, and the guest does not run, until the
    /// promise is settled or the operation ends because its future was released or its engine stopped or released; `drop`
    /// tells of that end, so whoever reads the records on another thread must have finished when `drop` returns.
    ///
    /// The callback must not throw. Functions that would change the state of the same engine, or poll or release a future of
    /// it, answer `WASM_STATUS_BUSY`.
    pub records: Option<
        unsafe extern "C" fn(
            data: *mut c_void,
            records: *const wasm_output_record,
            count: usize,
            call: *mut wasm_call,
        ) -> u32,
    >,
}

/// What a promise is settled with: nothing, or why not.
pub type Settled = Result<(), String>;

/// The call that a callback is in; valid until the callback returns.
pub struct wasm_call {
    receiver: Option<Receiver<Settled, Waker>>,
}

/// A callback's promise to answer later. It may be used on any thread, and outlive the engine.
pub struct wasm_promise {
    /// The end that settles.
    pub sender: Sender<Settled, Waker>,
}

impl wasm_call {
    /// The promise of this call. Taking a second one makes the first worthless.
    pub fn promise(&mut self) -> wasm_promise {
        let (sender, receiver) =
            oneshot::channel(|| Err("the host dropped its promise without settling it".to_owned()));
        self.receiver = Some(receiver);
        wasm_promise { sender }
    }
}

/// A sink that is owned: its `drop` runs when this goes.
pub struct OutputSink(wasm_output_sink);

/// A sink's answer to a block.
pub enum Accepted {
    /// The block may be reused.
    Done,
    /// Not yet.
    Pending(Receiver<Settled, Waker>),
    /// The transform cannot go on.
    Failed(String),
}

impl OutputSink {
    /// Takes over a host's sink.
    pub fn new(sink: wasm_output_sink) -> Self {
        Self(sink)
    }

    /// Whether there is a callback.
    pub fn is_complete(&self) -> bool {
        self.0.records.is_some()
    }

    /// Hands a block over.
    pub fn accept(&self, records: &[wasm_output_record]) -> Accepted {
        let Some(callback) = self.0.records else { return Accepted::Failed("the output sink has no callback".into()) };
        let mut call = wasm_call { receiver: None };
        // SAFETY: the host gave function and data together, and promised that it may be called on this thread until
        // `drop`. The records are a slice that outlives the call, and so does `call`.
        let answer = unsafe { callback(self.0.data, records.as_ptr(), records.len(), &raw mut call) };
        match (answer, call.receiver) {
            (0, _) => Accepted::Done,
            (1, Some(receiver)) => Accepted::Pending(receiver),
            (1, None) => Accepted::Failed("the output sink answered pending without taking a promise".into()),
            (2, _) => Accepted::Failed("the output sink failed".into()),
            (other, _) => Accepted::Failed(format!("the output sink answered {other}, which is no wasm_answer")),
        }
    }
}

impl Drop for OutputSink {
    fn drop(&mut self) {
        if let Some(drop) = self.0.drop {
            // SAFETY: an `OutputSink` is made once from each sink that the host gives, so this runs once.
            unsafe { drop(self.0.data) }
        }
    }
}
